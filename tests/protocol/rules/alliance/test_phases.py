"""The way through a round: early when all have acted, at the deadline otherwise, and what each missing party costs."""

import pytest

from protocol.alliance_settings import Attribution
from protocol.formulas import alliance as formulas
from protocol.formulas.arena import draw
from protocol.ledger import is_block_due
from protocol.params import DEVNET
from protocol.rules.alliance.records import AlliancePhase, scan_active_alliances
from protocol.rules.alliance.results import Outcome
from protocol.rules.voters import get_voters
from tests.alliance_play import STEP_MS, AlliancePlay
from tests.ledger_invariants import expect_sound

ABSENCE = DEVNET.absence_slash_millionths


def losses(play: AlliancePlay, round: int = 0) -> dict[str, int]:
    """Return what everybody selected lost in a round, by name; who lost nothing is left out."""
    names = {person.address: person.name for person in play.participants}
    return {names[one.address]: one.slashed for one in play.result(round).settled if one.slashed}


def absence_of(*people) -> dict[str, int]:
    """Return what people lose that are absent with a stake of 64 FML."""
    return {person.name: 64 * 10**9 * ABSENCE // 1_000_000 for person in people}


# --- the draw --------------------------------------------------------------------------------------------------------


def test_the_draw_waits_for_the_beacon_and_gives_everybody_the_same_chance():
    """It takes the beacon of a block after proposers with more than 1/3 of the power; weights are all one."""
    play = AlliancePlay(participants=10)
    for person in play.participants:
        play.join(person)
    play.ledger.block()
    assert play.phase is AlliancePhase.DRAW
    assert is_block_due(play.ledger.state, 0)
    candidates = [one.address for one in play.round_record.candidates]
    assert candidates == sorted(person.address for person in play.participants)
    blocks = 0
    while play.phase is AlliancePhase.DRAW:
        play.ledger.block()
        blocks += 1
    # Twelve replicas of equal power: five of them are more than a third.
    assert blocks == 5
    beacon = get_voters(play.ledger.state).beacon
    drawn = draw(formulas.role_seed(beacon, alliance=1, round=0), weights=dict.fromkeys(candidates, 1), count=7)
    assert {one.address for one in play.round_record.proposers} == set(drawn[:4])
    assert {one.address for one in play.round_record.voters} == set(drawn[4:])
    assert play.round_record.candidates == ()
    assert all(one.stake == 64 * 10**9 for one in play.round_record.voters)


def test_roles_change_with_the_rounds():
    """Over some rounds everybody gets a role, and nobody always the same."""
    play = AlliancePlay(participants=6, rounds=8).begin()
    proposed, selected = set(), set()
    for _ in range(8):
        play.draw()
        proposed |= {person.name for person in play.proposers()}
        selected |= set(play.round_record.stakes())
        play.train([])
    assert len(selected) == 6
    assert len(proposed) >= 5


def test_alliances_force_blocks_and_count_as_phase_changes():
    """A passed deadline makes a block due, and a draw is a change of phase."""
    play = AlliancePlay()
    assert not is_block_due(play.ledger.state, play.record.deadline_ms - 1)
    assert is_block_due(play.ledger.state, play.record.deadline_ms)
    for person in play.participants:
        play.join(person)
    play.ledger.block()
    assert play.ledger.is_phase_changed
    play.draw()
    assert play.ledger.is_phase_changed
    play.ledger.block()
    assert not play.ledger.is_phase_changed
    assert not is_block_due(play.ledger.state, play.record.deadline_ms - 1)


# --- all act: no waiting ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attribution", Attribution)
def test_a_round_ends_as_soon_as_all_have_acted(attribution):
    """Each step closes in the block that holds the last act of it; two rounds pass in a few seconds of block time."""
    play = AlliancePlay(attribution=attribution).begin()
    begun_ms = play.ledger.before.head.time_ms
    for _ in range(2):
        play.draw()
        steps = [
            (play.train, AlliancePhase.HOLD),
            (play.hold, AlliancePhase.VOTE),
            (play.commit, AlliancePhase.REVEAL),
            (play.reveal, AlliancePhase.CONFIRM if attribution is Attribution.PER_PROPOSAL else None),
            (play.confirm, None),
        ]
        for step, phase in steps:
            height = play.ledger.before.head.height
            step()
            assert play.ledger.before.head.height <= height + 1
            if phase is not None:
                assert play.phase is phase
    assert play.phase is AlliancePhase.FINISHED
    assert play.ledger.before.head.time_ms < begun_ms + STEP_MS * 4
    assert not scan_active_alliances(play.ledger.state)
    expect_sound(play.ledger.state)


# --- somebody is missing ---------------------------------------------------------------------------------------------


def test_a_missing_proposer_delays_by_the_deadline_and_is_slashed():
    """The round goes on with the others' updates; the absent one loses 5 % and earns nothing."""
    play = AlliancePlay().begin()
    gone, worker = play.proposers()
    deadline_ms = play.record.deadline_ms
    assert deadline_ms == play.ledger.before.head.time_ms + DEVNET.alliance.settings.train_phase_ms
    play.train([worker])
    assert play.ledger.before.head.time_ms >= deadline_ms
    assert play.phase is AlliancePhase.HOLD
    play.hold().commit().reveal().confirm()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == absence_of(gone)
    assert play.settled(0, gone).is_absent
    assert play.settled(0, gone).earned == 0
    assert play.settled(0, worker).earned == 100 * 10**9


def test_without_any_update_the_round_is_void():
    """The proposers are slashed for absence; the voters were never asked."""
    play = AlliancePlay().begin()
    proposers = play.proposers()
    play.train([])
    assert play.result(0).outcome is Outcome.VOID
    assert play.result(0).last_phase is AlliancePhase.TRAIN
    assert losses(play) == absence_of(*proposers)
    assert all(one.earned == 0 for one in play.result(0).settled)
    assert (play.round, play.phase) == (1, AlliancePhase.DRAW)
    assert play.record.latest is None


def test_an_update_that_too_few_hold_is_out_and_its_proposer_absent():
    """It serves one voter of three: the others' round goes on without it."""
    play = AlliancePlay().begin().train()
    hidden, open_one = play.proposers()
    voters = play.voters()
    play.hold({voters[0]: [hidden, open_one], voters[1]: [open_one], voters[2]: [open_one]})
    assert play.phase is AlliancePhase.VOTE
    assert play.round_record.frozen == (open_one.address,)
    play.commit().reveal().confirm()
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == absence_of(hidden)


def test_two_thirds_of_the_voters_freeze_an_update():
    """Two of three hold it: it is voted on, and the third can fetch it from them."""
    play = AlliancePlay().begin().train()
    voters = play.voters()
    play.hold({voters[0]: play.proposers(), voters[1]: play.proposers(), voters[2]: []})
    assert len(play.round_record.frozen) == 2
    play.commit().reveal().confirm()
    assert losses(play) == {}


def test_with_nothing_frozen_the_round_is_void():
    """Nobody holds anything and all say so: the proposers are absent."""
    play = AlliancePlay().begin().train()
    proposers = play.proposers()
    play.hold(dict.fromkeys(play.voters(), ()))
    assert play.result(0).outcome is Outcome.VOID
    assert losses(play) == absence_of(*proposers)


def test_silent_voters_are_no_fault_of_the_proposers():
    """Two of three voters say nothing, so nothing freezes: they are absent, the proposers and the third are not."""
    play = AlliancePlay().begin().train()
    voters = play.voters()
    play.hold({voters[0]: play.proposers()})
    assert play.result(0).outcome is Outcome.VOID
    assert play.result(0).last_phase is AlliancePhase.HOLD
    assert losses(play) == absence_of(*voters[1:])


def test_an_update_that_silent_voters_keep_out_costs_its_proposer_nothing():
    """One voter lacks it and one is silent: the silent one could have frozen it, so only that one is absent."""
    play = AlliancePlay().begin().train()
    kept_out, frozen = play.proposers()
    voters = play.voters()
    play.hold({voters[0]: [kept_out, frozen], voters[1]: [frozen]})
    assert play.round_record.frozen == (frozen.address,)
    play.commit(dict.fromkeys(voters[:2], play.ballot())).reveal().confirm(
        dict.fromkeys(voters[:2], play.confirmation())
    )
    assert play.result(0).outcome is Outcome.ACCEPTED
    assert losses(play) == absence_of(voters[2])
    settled = play.settled(0, kept_out)
    assert (settled.is_absent, settled.earned, settled.slashed) == (False, 0, 0)


def test_a_voter_that_holds_nothing_delays_no_later_step():
    """Once it missed a step nobody waits for it: the vote closes with the others' acts."""
    play = AlliancePlay().begin().train()
    voters = play.voters()
    play.hold(dict.fromkeys(voters[:2], play.proposers()))
    height = play.ledger.before.head.height
    play.commit(dict.fromkeys(voters[:2], play.ballot())).reveal()
    play.confirm(dict.fromkeys(voters[:2], play.confirmation()))
    assert play.ledger.before.head.height == height + 3
    assert losses(play) == absence_of(voters[2])


@pytest.mark.parametrize("missing", [1, 2])
def test_a_voter_that_does_not_commit(missing):
    """Two of three votes decide; with one alone the round is void without asking for it, and only absence costs."""
    play = AlliancePlay().begin().train().hold()
    voters = play.voters()
    deadline_ms = play.record.deadline_ms
    play.commit(dict.fromkeys(voters[missing:], play.ballot()))
    assert play.ledger.before.head.time_ms >= deadline_ms
    if missing == 1:
        assert play.phase is AlliancePhase.REVEAL
        play.reveal().confirm(dict.fromkeys(voters[1:], play.confirmation()))
    assert play.result(0).outcome is (Outcome.ACCEPTED if missing == 1 else Outcome.VOID)
    assert losses(play) == absence_of(*voters[:missing])


@pytest.mark.parametrize("missing", [1, 2])
def test_a_voter_that_does_not_reveal(missing):
    """It was right in nothing, so it loses what that costs (12.5 %), in a void round what absence costs."""
    play = AlliancePlay().begin().train().hold().commit()
    voters = play.voters()
    play.reveal(voters[missing:])
    if missing == 1:
        play.confirm(dict.fromkeys(voters[1:], play.confirmation()))
        assert losses(play) == {voters[0].name: 8 * 10**9}
        return
    assert play.result(0).outcome is Outcome.VOID
    assert play.result(0).last_phase is AlliancePhase.REVEAL
    assert losses(play) == absence_of(*voters[:2])


@pytest.mark.parametrize("missing", [1, 2])
def test_a_voter_that_does_not_confirm(missing):
    """Two of three name the aggregate; with one alone the round is void, and the accepted updates are for nothing."""
    play = AlliancePlay().begin().train().hold().commit().reveal()
    voters = play.voters()
    play.confirm(dict.fromkeys(voters[missing:], play.confirmation()))
    assert play.result(0).outcome is (Outcome.ACCEPTED if missing == 1 else Outcome.VOID)
    assert play.result(0).last_phase is AlliancePhase.CONFIRM
    assert [one.is_accepted for one in play.result(0).updates] == [True, True]
    assert losses(play) == absence_of(*voters[:missing])
    assert (play.record.latest is None) == (missing == 2)


def test_staying_away_saves_no_slash():
    """A voter that was wrong in all and then does not confirm loses what its votes cost, not the less for absence."""
    play = AlliancePlay().begin().train().hold()
    voters = play.voters()
    play.commit({**dict.fromkeys(voters, play.ballot()), voters[0]: play.ballot(good=[])}).reveal()
    play.confirm(dict.fromkeys(voters[1:], play.confirmation()))
    assert losses(play) == {voters[0].name: 8 * 10**9}
    assert play.settled(0, voters[0]).is_absent


def test_deadlines_wait_for_enough_proposers_and_move_with_outages():
    """A gap between two blocks above the bound moves the deadline by its length: nobody is late by an outage."""
    play = AlliancePlay().begin()
    deadline_ms = play.record.deadline_ms
    play.ledger.block(after_ms=DEVNET.max_block_gap_ms + 1)
    assert play.record.deadline_ms == deadline_ms + DEVNET.max_block_gap_ms + 1
    play.ledger.block(after_ms=10**8)
    assert play.phase is AlliancePhase.TRAIN
    assert play.record.deadline_ms == deadline_ms + DEVNET.max_block_gap_ms + 1 + 10**8


def test_an_alliance_that_everybody_left_ends_by_itself():
    """Nobody acts in any round: all are void, the stakes shrink by absence only, and the escrow is the treasury's."""
    play = AlliancePlay(rounds=3).begin()
    for _ in range(3):
        play.skip_round()
    assert play.phase is AlliancePhase.FINISHED
    assert play.closing().paid == ()
    assert play.closing().parts.escrow == 1_000 * 10**9
    expect_sound(play.ledger.state)
