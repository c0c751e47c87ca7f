"""One test per line of Algorithm 1 (arXiv 1807.04938), on the pure rules."""

import msgspec
import pytest

from protocol.tendermint import machine
from protocol.tendermint.events import Decide, GetBlock, ScheduleTimeout, SignProposal, SignVote, TimeoutKind
from protocol.tendermint.machine import State, Step, apply, get_timeouts
from protocol.tendermint.messages import Commit, VoteKind

V, W = b"v" * 32, b"w" * 32
PROPOSE, PREVOTE, PRECOMMIT = TimeoutKind.PROPOSE, TimeoutKind.PREVOTE, TimeoutKind.PRECOMMIT


def at(step: Step, round: int = 2, **fields: object) -> State:
    return msgspec.structs.replace(State(7), step=step, round=round, **fields)


def test_l03_to_l09_a_height_begins_without_lock_or_valid_block() -> None:
    """L3 to L9: nothing is locked, valid or decided."""
    state = State(7)
    assert (state.round, state.locked_round, state.locked_block, state.valid_round, state.valid_block) == (
        0,
        *[None] * 4,
    )


def test_l10_start_enters_round_zero() -> None:
    """L10: the height starts with round 0, once."""
    state, effects = apply(State(7), machine.RoundZero(False))
    assert (state.round, state.step) == (0, Step.PROPOSE)
    assert effects == [ScheduleTimeout(PROPOSE, 7, 0)]
    assert apply(state, machine.RoundZero(False)) == (state, [])


def test_l11_to_l13_a_round_starts_in_step_propose_with_fresh_flags() -> None:
    """L11 to L13: round and step are set, what happened for the first time may happen again, locks stay."""
    before = at(
        Step.PRECOMMIT, has_any_prevotes=True, has_polka=True, has_any_precommits=True, locked_round=1, locked_block=V
    )
    state, _ = apply(before, machine.LaterRound(5, False))
    assert state == at(Step.PROPOSE, 5, locked_round=1, locked_block=V)


def test_l14_to_l16_l19_the_proposer_repeats_its_valid_block() -> None:
    """L14 to L16, L19: a valid block is proposed again with its round."""
    _, effects = apply(at(Step.PRECOMMIT, valid_round=1, valid_block=V), machine.LaterRound(3, True))
    assert effects == [ScheduleTimeout(PROPOSE, 7, 3), SignProposal(7, 3, 1, V)]


def test_l14_who_is_not_the_proposer_repeats_nothing() -> None:
    """L14: a valid block is no reason to propose out of turn."""
    _, effects = apply(at(Step.PRECOMMIT, valid_round=1, valid_block=V), machine.LaterRound(3, False))
    assert effects == [ScheduleTimeout(PROPOSE, 7, 3)]


def test_l18_l19_the_proposer_asks_for_a_block_and_proposes_it() -> None:
    """L18, L19: without a valid block a new one is made."""
    state, effects = apply(State(7), machine.RoundZero(True))
    assert effects == [ScheduleTimeout(PROPOSE, 7, 0), GetBlock(7, 0)]
    assert apply(state, machine.OwnBlock(0, V)) == (state, [SignProposal(7, 0, None, V)])


def test_l19_a_block_that_comes_too_late_is_not_proposed() -> None:
    """L19: building took longer than the round's step propose."""
    for state in (at(Step.PREVOTE, 0), at(Step.PROPOSE, 1)):
        assert apply(state, machine.OwnBlock(0, V)) == (state, [])


def test_l21_others_wait_for_the_proposal() -> None:
    """L21: the propose timeout is scheduled for the round."""
    assert apply(at(Step.PREVOTE), machine.LaterRound(4, False))[1] == [ScheduleTimeout(PROPOSE, 7, 4)]


def test_l22_to_l24_a_valid_fresh_proposal_is_prevoted() -> None:
    """L22 to L24, L27: unlocked, the block gets the prevote."""
    state, effects = apply(at(Step.PROPOSE), machine.FreshProposal(V, True))
    assert (state.step, effects) == (Step.PREVOTE, [SignVote(VoteKind.PREVOTE, 7, 2, V)])


def test_l22_only_in_step_propose() -> None:
    """L22: a second proposal of the round changes nothing."""
    for step in (Step.WAITING, Step.PREVOTE, Step.PRECOMMIT, Step.DECIDED):
        assert apply(at(step), machine.FreshProposal(V, True)) == (at(step), [])


@pytest.mark.parametrize(("locked", "is_valid"), [(None, False), (W, True), (V, False)])
def test_l25_l26_an_invalid_block_or_one_against_the_lock_gets_nil(locked: bytes | None, is_valid: bool) -> None:
    """L23, L25, L26: invalid, or locked on another block: nil."""
    before = at(Step.PROPOSE, locked_round=None if locked is None else 1, locked_block=locked)
    state, effects = apply(before, machine.FreshProposal(V, is_valid))
    assert (state.step, effects) == (Step.PREVOTE, [SignVote(VoteKind.PREVOTE, 7, 2, None)])


def test_l23_the_locked_block_itself_is_prevoted() -> None:
    """L23: a fresh proposal of what this replica is locked on."""
    before = at(Step.PROPOSE, locked_round=1, locked_block=V)
    assert apply(before, machine.FreshProposal(V, True))[1] == [SignVote(VoteKind.PREVOTE, 7, 2, V)]


@pytest.mark.parametrize(("locked_round", "locked_block"), [(None, None), (0, W), (1, W), (3, V)])
def test_l28_to_l30_a_repeated_proposal_unlocks(locked_round: int | None, locked_block: bytes | None) -> None:
    """L28 to L30, L33: a polka no older than the lock, or the locked block itself."""
    before = at(Step.PROPOSE, 4, locked_round=locked_round, locked_block=locked_block)
    state, effects = apply(before, machine.ReproposalAndPolka(V, 1, True))
    assert (state.step, effects) == (Step.PREVOTE, [SignVote(VoteKind.PREVOTE, 7, 4, V)])


@pytest.mark.parametrize(("locked_round", "is_valid"), [(2, True), (None, False)])
def test_l31_l32_an_older_polka_does_not_unlock(locked_round: int | None, is_valid: bool) -> None:
    """L29, L31, L32: a lock of a later round, or an invalid block: nil."""
    before = at(Step.PROPOSE, 4, locked_round=locked_round, locked_block=W if locked_round else None)
    _, effects = apply(before, machine.ReproposalAndPolka(V, 1, is_valid))
    assert effects == [SignVote(VoteKind.PREVOTE, 7, 4, None)]


def test_l28_the_valid_round_lies_before_the_current_one() -> None:
    """L28: vr < round_p."""
    assert apply(at(Step.PROPOSE, 1), machine.ReproposalAndPolka(V, 1, True)) == (at(Step.PROPOSE, 1), [])


def test_l28_only_in_step_propose() -> None:
    """L28: whoever has prevoted in the round does not do so again."""
    for step in (Step.WAITING, Step.PREVOTE, Step.PRECOMMIT, Step.DECIDED):
        assert apply(at(step), machine.ReproposalAndPolka(V, 1, True)) == (at(step), [])


def test_l34_l35_any_quorum_of_prevotes_starts_the_prevote_timeout_once() -> None:
    """L34, L35: in step prevote, for the first time."""
    state, effects = apply(at(Step.PREVOTE), machine.AnyPrevotes())
    assert effects == [ScheduleTimeout(PREVOTE, 7, 2)]
    assert apply(state, machine.AnyPrevotes()) == (state, [])
    assert apply(at(Step.PROPOSE), machine.AnyPrevotes()) == (at(Step.PROPOSE), [])


def test_l36_to_l41_a_polka_locks_and_is_precommitted() -> None:
    """L36 to L43 in step prevote: lock, remember as valid, precommit."""
    state, effects = apply(at(Step.PREVOTE), machine.ProposalAndPolka(V))
    assert effects == [SignVote(VoteKind.PRECOMMIT, 7, 2, V)]
    assert (state.step, state.locked_round, state.locked_block) == (Step.PRECOMMIT, 2, V)
    assert (state.valid_round, state.valid_block) == (2, V)


def test_l42_l43_a_late_polka_is_remembered_as_valid_only() -> None:
    """L36, L42, L43 in step precommit: no lock, no second precommit."""
    state, effects = apply(at(Step.PRECOMMIT), machine.ProposalAndPolka(V))
    assert effects == []
    assert (state.locked_round, state.valid_round, state.valid_block) == (None, 2, V)
    for block_id in (V, W):
        assert apply(state, machine.ProposalAndPolka(block_id)) == (state, []), "for the first time"


def test_l36_not_before_the_own_prevote() -> None:
    """L36: step >= prevote."""
    assert apply(at(Step.PROPOSE), machine.ProposalAndPolka(V)) == (at(Step.PROPOSE), [])


def test_l44_to_l46_a_nil_polka_is_precommitted_nil_and_keeps_the_lock() -> None:
    """L44 to L46."""
    state, effects = apply(at(Step.PREVOTE, locked_round=1, locked_block=V), machine.NilPolka())
    assert effects == [SignVote(VoteKind.PRECOMMIT, 7, 2, None)]
    assert state == at(Step.PRECOMMIT, locked_round=1, locked_block=V)
    assert apply(state, machine.NilPolka()) == (state, [])


def test_l47_l48_any_quorum_of_precommits_starts_the_precommit_timeout_once() -> None:
    """L47, L48: in whatever step of the round, for the first time."""
    for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
        state, effects = apply(at(step), machine.AnyPrecommits())
        assert effects == [ScheduleTimeout(PRECOMMIT, 7, 2)]
        assert apply(state, machine.AnyPrecommits()) == (state, [])
    assert apply(at(Step.WAITING), machine.AnyPrecommits()) == (at(Step.WAITING), [])


@pytest.mark.parametrize("step", [Step.WAITING, Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT])
def test_l49_to_l54_a_commit_decides_in_every_step_and_only_once(step: Step) -> None:
    """L49 to L54: whatever round the commit is of; afterwards no rule applies."""
    commit = Commit(7, 0, V, ())
    state, effects = apply(at(step), machine.BlockAndCommit(commit))
    assert (state.step, effects) == (Step.DECIDED, [Decide(commit)])
    for event in (machine.BlockAndCommit(commit), machine.LaterRound(9, True), machine.Expired(PRECOMMIT, 2, True)):
        assert apply(state, event) == (state, [])


def test_l55_l56_a_later_round_is_joined_an_earlier_one_is_not() -> None:
    """L55, L56: round > round_p."""
    assert apply(at(Step.PRECOMMIT), machine.LaterRound(6, False))[0].round == 6
    for round in (1, 2):
        assert apply(at(Step.PREVOTE), machine.LaterRound(round, True)) == (at(Step.PREVOTE), [])


def test_l57_to_l60_the_propose_timeout_prevotes_nil() -> None:
    """L57 to L60: only in the round and step it was scheduled for."""
    state, effects = apply(at(Step.PROPOSE), machine.Expired(PROPOSE, 2, False))
    assert (state.step, effects) == (Step.PREVOTE, [SignVote(VoteKind.PREVOTE, 7, 2, None)])
    for other in (at(Step.PREVOTE), at(Step.PROPOSE, 3)):
        assert apply(other, machine.Expired(PROPOSE, 2, False)) == (other, [])


def test_l61_to_l64_the_prevote_timeout_precommits_nil() -> None:
    """L61 to L64: only in the round and step it was scheduled for."""
    state, effects = apply(at(Step.PREVOTE), machine.Expired(PREVOTE, 2, False))
    assert (state.step, effects) == (Step.PRECOMMIT, [SignVote(VoteKind.PRECOMMIT, 7, 2, None)])
    for other in (at(Step.PRECOMMIT), at(Step.PREVOTE, 3)):
        assert apply(other, machine.Expired(PREVOTE, 2, False)) == (other, [])


def test_l65_to_l67_the_precommit_timeout_starts_the_next_round() -> None:
    """L65 to L67: in whatever step of that round."""
    for step in (Step.PROPOSE, Step.PREVOTE, Step.PRECOMMIT):
        state, effects = apply(at(step), machine.Expired(PRECOMMIT, 2, True))
        assert (state.round, state.step) == (3, Step.PROPOSE)
        assert GetBlock(7, 3) in effects
    for other in (at(Step.PREVOTE, 3), at(Step.WAITING)):
        assert apply(other, machine.Expired(PRECOMMIT, 2, False)) == (other, [])


def test_the_timeouts_of_a_state_are_those_that_were_asked_for_and_have_not_passed() -> None:
    """L21, L35, L48: what runs follows from the step and from what was seen in the round."""
    flags = {"has_any_prevotes": True, "has_any_precommits": True}
    for state, kinds in (
        (at(Step.WAITING, 0), []),
        (at(Step.PROPOSE), [PROPOSE]),
        (at(Step.PREVOTE), []),
        (at(Step.PREVOTE, **flags), [PREVOTE, PRECOMMIT]),
        (at(Step.PROPOSE, has_any_precommits=True), [PROPOSE, PRECOMMIT]),
        (at(Step.PRECOMMIT, **flags), [PRECOMMIT]),
        (at(Step.PRECOMMIT, has_any_prevotes=True), []),
        (at(Step.DECIDED, **flags), []),
    ):
        assert get_timeouts(state) == [ScheduleTimeout(kind, 7, state.round) for kind in kinds]
