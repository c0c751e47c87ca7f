"""Named scenarios on one core: what it asks for when messages come in this or that order."""

from msgspec.structs import replace

from protocol.tendermint import events
from protocol.tendermint.core import MAX_ROUNDS_AHEAD, Core
from protocol.tendermint.events import Decide, EvidenceFound, GetBlock, ScheduleTimeout, SignProposal, TimeoutKind
from protocol.tendermint.machine import Step
from protocol.tendermint.messages import Vote, VoteKind
from protocol.tendermint.proposer import advance_priorities

# The replica under test is 3: it proposes in round 3, so the rounds before are other replicas'.
ME = 3


def expire(kind: TimeoutKind, round: int) -> events.TimeoutExpired:
    return events.TimeoutExpired(kind, 1, round)


def votes_of(effects: list[events.Effect]) -> list[events.Effect]:
    return [effect for effect in effects if isinstance(effect, events.SignVote | SignProposal)]


def test_a_height_is_decided_in_round_zero(cast) -> None:
    """The common case: proposal, polka, precommits; the commit is sorted and holds the precommits."""
    core = cast.core(ME)
    assert cast.feed(core, events.HeightStarted(1)) == [ScheduleTimeout(TimeoutKind.PROPOSE, 1, 0)]
    effects = cast.feed(core, cast.proposal(0, "v"))
    assert [type(effect) for effect in effects] == [events.ValidateBlock]
    assert votes_of(cast.feed(core, cast.valid("v"))) == [cast.prevoted(0, "v")]
    polka = [cast.prevote(who, 0, "v") for who in (0, 1, 3)]
    assert votes_of(cast.feed(core, *polka)) == [cast.precommitted(0, "v")]
    effects = cast.feed(core, *(cast.precommit(who, 0, "v") for who in (2, 0, 3)))
    assert effects[-1] == Decide(cast.commit(0, "v", (0, 2, 3)))
    assert core.last_commit == effects[-1].commit
    assert cast.feed(core, cast.precommit(1, 0, "v"), expire(TimeoutKind.PRECOMMIT, 0)) == []


def test_the_proposer_builds_and_proposes(cast) -> None:
    """Round 0 of replica 0."""
    core = cast.core(0)
    assert GetBlock(1, 0) in cast.feed(core, events.HeightStarted(1))
    [signed] = cast.feed(core, events.BlockBuilt(1, 0, b"v" * 32))
    assert signed == SignProposal(1, 0, None, b"v" * 32)


def test_any_valid_message_ends_the_wait(cast) -> None:
    """A vote or a proposal of the height starts round 0; messages of other heights do not."""
    for message in (cast.prevote(0, 0, None), cast.proposal(0, "v")):
        core = cast.core(ME)
        cast.feed(core, cast.vote(VoteKind.PREVOTE, 0, 0, None, height=2))
        assert core.state.step == Step.WAITING
        cast.feed(core, message)
        assert core.state.step == Step.PROPOSE


def test_proposals_count_only_from_the_rounds_proposer(cast) -> None:
    """L22: a proposal of somebody else's turn is ignored, and one absurdly far ahead costs nothing."""
    core = cast.core(ME)
    cast.feed(core, events.HeightStarted(1))
    far = MAX_ROUNDS_AHEAD + 1
    assert cast.feed(core, cast.proposal(0, "v", who=1), cast.proposal(far, "v", who=far % 4)) == []
    assert len(core._proposers) <= 1, "whose turn it is then was not computed"
    assert cast.feed(core, cast.proposal(far - 1, "v")) != []


def test_a_nil_polka_is_precommitted_nil_at_once(cast) -> None:
    """L44: without waiting for the prevote timeout."""
    core = cast.core(ME)
    cast.feed(core, events.HeightStarted(1), expire(TimeoutKind.PROPOSE, 0))
    effects = cast.feed(core, *(cast.prevote(who, 0, None) for who in (0, 1, 3)))
    assert votes_of(effects) == [cast.precommitted(0, None)]


def test_a_polka_without_the_rounds_own_proposal_locks_nothing(cast) -> None:
    """L36: the block is known and valid from an earlier round, but nobody proposed it in this one yet."""
    core = cast.core(ME)
    cast.feed(core, cast.proposal(0, "v"), cast.valid("v"), *(cast.prevote(who, 0, None) for who in (0, 1, 2)))
    cast.feed(core, *(cast.precommit(who, 0, None) for who in (0, 1, 2)), expire(TimeoutKind.PRECOMMIT, 0))
    cast.feed(core, expire(TimeoutKind.PROPOSE, 1), *(cast.prevote(who, 1, "v") for who in (0, 1, 2)))
    assert (core.state.round, core.state.valid_round, core.state.step) == (1, None, Step.PREVOTE)


def test_strangers_neither_start_a_height_nor_take_room(cast, make_cast) -> None:
    """A vote of no member changes nothing, of this height or the next; a key outside the set signs nothing."""
    core, stranger = cast.core(ME), make_cast(1, 1, 1, 1, 1).keys[-1]
    for height in (1, 2):
        vote = Vote(VoteKind.PREVOTE, height, 0, None, stranger, bytes(64))
        assert cast.feed(core, events.VoteReceived(vote)) == []
        assert not core.holds(vote)
    assert core.state.step == Step.WAITING
    outside = Core(stranger, 1, cast.replicas, cast.priorities)
    assert votes_of(cast.feed(outside, cast.proposal(0, "v"), cast.valid("v"))) == []


def test_inputs_of_other_heights_change_nothing(cast) -> None:
    """Late timers and verdicts of the height before, and whatever is of a height to come."""
    for height in (0, 2):
        core = cast.core(0)
        assert cast.feed(core, events.HeightStarted(height)) == []
        cast.feed(core, events.HeightStarted(1))
        before = core.state
        late = [
            events.TimeoutExpired(TimeoutKind.PROPOSE, height, 0),
            events.BlockBuilt(height, 0, b"v" * 32),
            events.CommitReceived(replace(cast.commit(0, "v", (0, 1, 2)), height=height)),
        ]
        assert cast.feed(core, *late) == []
        cast.feed(core, cast.proposal(1, "v"))
        cast.feed(core, events.BlockChecked(height, cast.proposal(1, "v").proposal.block_id, True))
        assert core.proposals.verdicts == {}
        assert core.state == before


def test_a_decided_height_takes_nothing_more_in(cast) -> None:
    """Neither evidence nor proposals are looked for in what comes too late."""
    core = cast.core(ME)
    cast.feed(core, cast.prevote(0, 0, "v"), events.CommitReceived(cast.commit(0, "v", (0, 1, 2))))
    assert cast.feed(core, cast.prevote(0, 0, "w"), cast.proposal(1, "w")) == []
    assert core.block_ids() == set()


def test_what_is_held_and_signed_is_known(cast) -> None:
    """`holds` tells this very message, of this height and the next; `has_signed` the own message of its place."""
    core = cast.core(ME)
    cast.feed(core, cast.proposal(0, "v"), cast.prevote(ME, 0, "v"))
    next_height = cast.vote(VoteKind.PREVOTE, 0, 0, "v", height=2)
    cast.feed(core, next_height)
    held = [cast.proposal(0, "v").proposal, cast.prevote(ME, 0, "v").vote, next_height.vote]
    others = [cast.proposal(0, "w").proposal, cast.prevote(ME, 0, "w").vote, cast.prevote(0, 0, "v").vote]
    others.append(cast.vote(VoteKind.PREVOTE, 1, 0, "v", height=2).vote)
    assert [core.holds(message) for message in (*held, *others)] == [True] * 3 + [False] * 4
    assert core.has_signed(cast.prevoted(0, "v"))
    assert core.has_signed(cast.prevoted(0, None)), "one in its place"
    assert not core.has_signed(cast.precommitted(0, "v"))
    assert not core.has_signed(SignProposal(1, 0, None, b"v" * 32)), "the proposal is another replica's"
    assert cast.core(0).has_signed(SignProposal(2, 0, None, b"v" * 32)), "another height has passed"
    proposer = cast.core(0)
    cast.feed(proposer, cast.proposal(0, "v"))
    assert proposer.has_signed(SignProposal(1, 0, None, b"w" * 32))


def test_the_newest_vote_of_a_replica_is_found_wherever_it_is(cast) -> None:
    """In the last commit, in this height, or held for the next: what a replica that lost its memory must know."""
    core = cast.core(ME)
    assert core.newest_vote_of(cast.keys[0]) is None
    core.last_commit = replace(cast.commit(2, "v", (0, 1, 2)), height=0)
    assert core.newest_vote_of(cast.keys[0]) == cast.vote(VoteKind.PRECOMMIT, 0, 2, "v", height=0).vote
    assert core.newest_vote_of(cast.keys[3]) is None
    for event in (
        cast.prevote(0, 0, "v"),
        cast.precommit(0, 0, None),
        cast.vote(VoteKind.PREVOTE, 0, 0, "v", height=2),
    ):
        cast.feed(core, event)
        assert core.newest_vote_of(cast.keys[0]) == event.vote


def test_an_untimely_fresh_proposal_gets_nil_but_its_polka_counts(cast) -> None:
    """The clock judges fresh proposals only; what others locked on is not judged by it."""
    core = cast.core(ME)
    effects = cast.feed(core, cast.proposal(0, "v", timely=False), cast.valid("v"))
    assert votes_of(effects) == [cast.prevoted(0, None)]
    effects = cast.feed(core, *(cast.prevote(who, 0, "v") for who in (0, 1, 2)))
    assert votes_of(effects) == [cast.precommitted(0, "v")]


def test_an_invalid_block_gets_nil_and_never_a_precommit(cast) -> None:
    """A bad proposal halts nobody, not even with a polka."""
    core = cast.core(ME)
    effects = cast.feed(core, cast.proposal(0, "v"), cast.valid("v", False))
    assert votes_of(effects) == [cast.prevoted(0, None)]
    effects = cast.feed(core, *(cast.prevote(who, 0, "v") for who in (0, 1, 2)))
    assert effects == [ScheduleTimeout(TimeoutKind.PREVOTE, 1, 0)]


def locked_on_v(cast):
    """Return a core locked on v in round 0 and now in round 1."""
    core = cast.core(ME)
    cast.feed(core, cast.proposal(0, "v"), cast.valid("v"), *(cast.prevote(who, 0, "v") for who in (0, 1, 2)))
    assert core.state.locked_round == 0
    cast.feed(core, *(cast.precommit(who, 0, None) for who in (0, 1, 2)), expire(TimeoutKind.PRECOMMIT, 0))
    assert core.state.round == 1
    return core


def test_lock_holds_against_a_fresh_proposal(cast) -> None:
    """Locked on v, a new block gets nil."""
    core = locked_on_v(cast)
    assert votes_of(cast.feed(core, cast.proposal(1, "w"), cast.valid("w"))) == [cast.prevoted(1, None)]


def test_unlock_by_a_later_polka(cast) -> None:
    """Locked on v in round 0, a polka for w in round 1 moves the lock, in round 2 w is prevoted."""
    core = locked_on_v(cast)
    cast.feed(core, cast.proposal(1, "w"), cast.valid("w"))
    effects = cast.feed(core, *(cast.prevote(who, 1, "w") for who in (0, 1, 2)))
    assert votes_of(effects) == [cast.precommitted(1, "w")]
    assert (core.state.locked_round, core.state.valid_round) == (1, 1)
    cast.feed(core, *(cast.precommit(who, 1, None) for who in (0, 1, 2)), expire(TimeoutKind.PRECOMMIT, 1))
    assert votes_of(cast.feed(core, cast.proposal(2, "w", valid_round=1))) == [cast.prevoted(2, "w")]


def test_hidden_lock_is_released_by_the_polka_of_the_valid_round(cast) -> None:
    """Locked on v in round 0; others saw a polka for w in round 1 that was hidden; it comes with the proposal."""
    core = locked_on_v(cast)
    cast.feed(core, expire(TimeoutKind.PROPOSE, 1), *(cast.precommit(who, 1, None) for who in (0, 1, 2)))
    cast.feed(core, expire(TimeoutKind.PRECOMMIT, 1))
    effects = cast.feed(core, cast.proposal(2, "w", valid_round=1), cast.valid("w"))
    assert votes_of(effects) == []
    effects = cast.feed(core, *(cast.prevote(who, 1, "w") for who in (0, 1, 2)))
    assert votes_of(effects) == [cast.prevoted(2, "w")]


def test_polka_on_a_delayed_block(cast) -> None:
    """The polka is there before the block: prevoted nil by timeout, precommitted when the block is checked."""
    core = cast.core(ME)
    cast.feed(core, *(cast.prevote(who, 0, "v") for who in (0, 1, 2)))
    assert votes_of(cast.feed(core, expire(TimeoutKind.PROPOSE, 0))) == [cast.prevoted(0, None)]
    assert votes_of(cast.feed(core, cast.proposal(0, "v"))) == []
    assert votes_of(cast.feed(core, cast.valid("v"))) == [cast.precommitted(0, "v")]


def test_valid_block_is_repeated_by_the_next_proposer(cast) -> None:
    """L15: the replica saw the polka too late to lock, and proposes its block when its turn comes."""
    core = cast.core(ME)
    cast.feed(core, cast.proposal(0, "v"), cast.valid("v"), *(cast.prevote(who, 0, None) for who in (0, 1)))
    cast.feed(core, cast.prevote(3, 0, "v"), expire(TimeoutKind.PREVOTE, 0))
    # Replica 0 equivocates: with its second vote there is a polka.
    cast.feed(core, cast.prevote(0, 0, "v"), cast.prevote(2, 0, "v"))
    assert (core.state.locked_round, core.state.valid_round) == (None, 0)
    effects = cast.feed(core, cast.prevote(0, 3, None), cast.prevote(1, 3, None))
    assert votes_of(effects) == [SignProposal(1, 3, 0, cast.proposal(0, "v").proposal.block_id)]


def test_reproposal_after_a_long_outage(cast) -> None:
    """A locked block that is old by now is proposed again: the clock judges fresh blocks only."""
    core = locked_on_v(cast)
    cast.feed(core, *(cast.precommit(who, 1, None) for who in (0, 1, 2)), expire(TimeoutKind.PRECOMMIT, 1))
    effects = cast.feed(core, cast.proposal(2, "v", valid_round=0, timely=False))
    assert votes_of(effects) == [cast.prevoted(2, "v")]
    # Unlocked replicas accept it by its polka just the same.
    other = cast.core(2)
    cast.feed(other, *(cast.prevote(who, 0, "v") for who in (0, 1, 2)), *(cast.prevote(who, 2, None) for who in (0, 1)))
    effects = cast.feed(other, cast.proposal(2, "v", valid_round=0, timely=False), cast.valid("v"))
    assert cast.prevoted(2, "v") in effects


def test_past_round_decision(cast) -> None:
    """L49: precommits of round 0 that come in round 1 decide."""
    core = locked_on_v(cast)
    effects = cast.feed(core, *(cast.precommit(who, 0, "v") for who in (0, 1, 2)))
    # Replicas 0 to 2 had precommitted nil: all three equivocate, so the bound is broken, and yet it is a quorum.
    assert effects[-1] == Decide(cast.commit(0, "v", (0, 1, 2)))


def test_a_decision_waits_for_the_block(cast) -> None:
    """L49: precommits alone do not decide; the block's proposal of that round completes them."""
    core = cast.core(ME)
    effects = cast.feed(core, *(cast.precommit(who, 0, "v") for who in (0, 1, 2)))
    assert not any(isinstance(effect, Decide) for effect in effects)
    assert isinstance(cast.feed(core, cast.proposal(0, "v"))[-1], Decide)


def test_round_skip(cast) -> None:
    """L55: f + 1 voters of a later round take us there, and what is known of that round counts at once."""
    core = cast.core(ME)
    cast.feed(core, events.HeightStarted(1), cast.proposal(2, "v"), cast.prevote(0, 2, "v"))
    assert core.state.round == 0
    effects = cast.feed(core, cast.valid("v"), cast.prevote(1, 2, "v"))
    assert core.state.round == 2
    assert votes_of(effects) == [cast.prevoted(2, "v")]


def test_equivocation_of_votes_is_kept_as_evidence_once(cast) -> None:
    """Two prevotes of one replica: told once, with both."""
    core = cast.core(ME)
    first, second = cast.prevote(0, 0, "v"), cast.prevote(0, 0, "w")
    effects = cast.feed(core, first, second, second, cast.prevote(0, 0, None))
    assert [e for e in effects if isinstance(e, EvidenceFound)] == [EvidenceFound(first.vote, second.vote)]


def test_an_equivocating_proposer_is_shown_and_outvoted(cast) -> None:
    """Two proposals of a round: the first is prevoted, the one with the polka is precommitted, a flood is bounded."""
    core = cast.core(ME)
    effects = cast.feed(core, cast.proposal(0, "v"), cast.valid("v"), cast.proposal(0, "w"), cast.valid("w"))
    assert votes_of(effects) == [cast.prevoted(0, "v")]
    evidence = EvidenceFound(cast.proposal(0, "v").proposal, cast.proposal(0, "w").proposal)
    assert [e for e in effects if isinstance(e, EvidenceFound)] == [evidence]
    for index in range(50):
        assert cast.feed(core, cast.proposal(0, f"x{index}")) == []
    polka = [cast.prevote(who, 0, "x7") for who in (0, 1, 2)]
    effects = cast.feed(core, *polka, cast.proposal(0, "x7"), cast.valid("x7"))
    assert votes_of(effects) == [cast.precommitted(0, "x7")]


def test_catch_up_in_the_middle_of_a_round(cast) -> None:
    """A verified commit decides the height in whatever step; nothing is signed at that height any more."""
    core = cast.core(ME)
    cast.feed(core, cast.proposal(0, "v"))
    commit = cast.commit(4, "w", (0, 1, 2))
    assert cast.feed(core, events.CommitReceived(commit)) == [Decide(commit)]
    assert cast.feed(core, cast.valid("v"), expire(TimeoutKind.PROPOSE, 0)) == []


def test_messages_of_the_next_height_are_held_until_it_begins(cast) -> None:
    """One round per member of the next height; nothing of heights further ahead."""
    core = cast.core(ME)
    early = [cast.vote(VoteKind.PREVOTE, 0, 0, "v", height=2), cast.vote(VoteKind.PREVOTE, 0, 3, "v", height=2)]
    cast.feed(core, *early, cast.vote(VoteKind.PREVOTE, 1, 0, "v", height=3))
    cast.feed(core, events.CommitReceived(cast.commit(0, "v", (0, 1, 2))))
    priorities = advance_priorities(cast.replicas, cast.priorities)
    assert cast.feed(core, events.HeightAdvanced(2, cast.replicas, priorities)) == []
    assert core.state.step == Step.WAITING
    assert core.take_held_inputs() == early[1:]
    assert core.take_held_inputs() == []


def test_a_follower_signs_nothing_and_decides(cast) -> None:
    """Without a key of the set the core follows the same rules in silence."""
    core = cast.core(None)
    inputs = [cast.proposal(0, "v"), cast.valid("v")]
    inputs += [cast.prevote(who, 0, "v") for who in (0, 1, 2)] + [cast.precommit(who, 0, "v") for who in (0, 1, 2)]
    effects = cast.feed(core, *inputs)
    assert votes_of(effects) == []
    assert isinstance(effects[-1], Decide)


def test_the_same_inputs_give_the_same_effects(cast) -> None:
    """Replay from the write-ahead log."""
    inputs = [events.HeightStarted(1), cast.proposal(0, "v"), cast.valid("v"), cast.prevote(0, 0, "v")]
    inputs += [cast.prevote(1, 0, None), cast.prevote(2, 0, "v"), cast.prevote(1, 0, "v")]
    inputs += [expire(TimeoutKind.PREVOTE, 0), cast.precommit(0, 2, None), cast.precommit(1, 1, None)]
    first, second = cast.core(ME), cast.core(ME)
    assert [first.step(event) for event in inputs] == [second.step(event) for event in inputs]
    assert first.state == second.state
