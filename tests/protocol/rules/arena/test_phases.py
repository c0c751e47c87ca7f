"""What ends a phase: every expected act, or a deadline that neither an outage nor a censor can abuse."""

import pytest
from msgspec.structs import replace

from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena.records import Phase, get_places, get_task
from protocol.transactions import Attest, CreateTask, Leave, Role
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML, Person

GAP_MS = DEVNET.max_block_gap_ms


@pytest.fixture
def play() -> Play:
    return Play().begin()


def pass_deadline(play: Play, proposer: Person) -> None:
    """Let one replica make blocks until the deadline has passed."""
    while play.ledger.before.head.time_ms < play.record.deadline_ms:
        play.block_by(proposer, after_ms=STEP_MS)


# --- deadlines -------------------------------------------------------------------------------------------------------


def test_a_deadline_needs_blocks_of_more_than_a_third(play):
    """Of eight equal replicas one or two alone end no phase, however late it is; the third does."""
    pass_deadline(play, play.stranger)
    play.block_by(play.creator)
    play.block_by(play.stranger)
    assert play.phase is Phase.SUBMIT
    play.block_by(play.trainers[0])
    assert play.phase is Phase.OPEN


def test_a_deadline_does_not_come_early(play):
    """With all proposers heard the phase still lasts its time, to the millisecond."""
    for person in play.ledger.people:
        play.block_by(person)
    rest_ms = play.record.deadline_ms - play.ledger.before.head.time_ms
    while rest_ms > STEP_MS:
        play.ledger.block(after_ms=STEP_MS)
        rest_ms -= STEP_MS
    play.ledger.block(after_ms=rest_ms - 1)
    assert play.phase is Phase.SUBMIT
    play.ledger.block(after_ms=1)
    assert play.phase is Phase.OPEN


def test_a_block_says_whether_a_phase_began_or_ended(play):
    """An empty one too, so that its state gets certified: by a deadline within a task, and by the one that ends it."""
    seen = []
    while play.phase is not Phase.FINISHED:
        before = (play.epoch, play.phase)
        play.ledger.block(after_ms=STEP_MS)
        assert play.ledger.is_phase_changed == ((play.epoch, play.phase) != before)
        seen.append(play.ledger.is_phase_changed)
    assert seen[-1]
    assert {True, False} <= set(seen)
    play.ledger.block()
    assert not play.ledger.is_phase_changed


def test_the_block_that_ends_a_phase_does_not_count_for_the_next(play):
    """Who proposed it had no chance to include an act of the new phase."""
    play.submit(play.trainers[:2])
    assert play.record.block_proposers == ()
    play.ledger.block()
    assert len(play.record.block_proposers) == 1


@pytest.mark.parametrize(("gap_ms", "is_shifted"), [(GAP_MS, False), (GAP_MS + 1, True), (10**9, True)])
def test_an_outage_moves_the_deadline_by_its_length(play, gap_ms, is_shifted):
    """A gap above the bound does not count against anybody; a shorter one is part of the time."""
    before = play.record.deadline_ms
    play.ledger.block(after_ms=gap_ms)
    assert play.record.deadline_ms == before + gap_ms * is_shifted


def test_an_outage_before_a_task_does_not_prolong_its_opening():
    """The first block after one creates a task: its time begins there."""
    play = Play()
    play.ledger.send(play.creator, CreateTask(play.record.spec, 100 * FML, 1_000 * FML))
    play.ledger.block(after_ms=10**9)
    created = get_task(play.ledger.state, 2)
    assert created.deadline_ms == play.ledger.before.head.time_ms + DEVNET.opening_phase_ms


def test_nobody_is_late_after_an_outage():
    """All blocks stop for a day in the middle of scoring: who acts right after it is in time, nobody is slashed."""
    play = Play().begin().submit().open()
    play.ledger.block(after_ms=86_400_000)
    assert play.phase is Phase.SCORE
    play.commit().reveal().claim()
    assert all(payout.slashed == 0 for payout in play.result(0).validators)


def test_blocks_far_apart_do_not_stall_a_task_for_ever():
    """Should each block take longer than the gap, acts still end phases: nothing waits for the clock alone."""
    play = Play().begin()
    for person in play.trainers:
        play.ledger.submit(person, play.task, 0)
    play.ledger.block(after_ms=GAP_MS + 1)
    assert play.phase is Phase.OPEN


# --- early ends ------------------------------------------------------------------------------------------------------


def test_each_phase_ends_with_the_last_expected_act(play):
    """In the very block that brings it; the draw alone takes further blocks."""
    for person in play.trainers:
        assert play.phase is Phase.SUBMIT
        play.ledger.submit(person, play.task, 0)
        play.ledger.block()
    assert play.phase is Phase.OPEN
    for person in play.trainers:
        play.ledger.open(person, play.task, 0)
    play.ledger.block()
    play.draw()
    assert play.phase is Phase.OPEN
    play.ledger.release_key(play.creator, play.task)
    play.ledger.block()
    entries = play.entries()
    for person in play.validators:
        assert play.phase is Phase.SCORE
        play.ledger.commit_scores(person, play.task, 0, entries)
        play.ledger.block()
    for person in play.validators:
        assert play.phase is Phase.REVEAL
        play.ledger.reveal_scores(person, play.task, 0, entries)
        play.ledger.block()
    for person in play.trainers:
        assert play.phase is Phase.CLAIM
        play.ledger.claim(person, play.task, 0)
        play.ledger.block()
    assert (play.phase, play.epoch) == (Phase.SUBMIT, 1)


def test_the_open_phase_waits_for_the_key_and_every_opening(play):
    """With one of them missing it lasts until its deadline, which counts from the draw."""
    play.submit().draw()
    assert play.record.deadline_ms == play.ledger.before.head.time_ms + DEVNET.task.open_phase_ms
    play.ledger.release_key(play.creator, play.task)
    for person in play.trainers[:2]:
        play.ledger.open(person, play.task, 0)
    play.ledger.block()
    assert play.phase is Phase.OPEN
    play.ledger.open(play.trainers[2], play.task, 0)
    play.ledger.block()
    assert play.phase is Phase.SCORE


def test_without_commitments_there_is_nothing_to_reveal(play):
    """Nobody scored: revealing ends with the next block, and the claims begin."""
    play.submit().open()
    play.wait(Phase.REVEAL)
    play.ledger.block()
    assert play.phase is Phase.CLAIM


# --- opening ---------------------------------------------------------------------------------------------------------


def test_a_task_opens_with_its_last_attestation():
    """Three of each are enough, but a validator that has not attested is waited for until the deadline."""
    play = Play(validators=4)
    for person in play.trainers:
        play.ledger.join(person, play.task, Role.TRAINER)
    for person in play.validators:
        play.ledger.join(person, play.task, Role.VALIDATOR)
    play.ledger.block()
    for person in play.validators[:3]:
        play.send(person, Attest(play.task))
    assert play.phase is Phase.OPENING
    play.send(play.validators[3], Attest(play.task))
    assert play.phase is Phase.SUBMIT


def test_who_did_not_attest_is_released_at_the_deadline():
    """The task begins without it, and its stake unbonds."""
    play = Play(validators=4)
    late = play.validators[3]
    play.begin(attesting=play.validators[:3])
    assert play.phase is Phase.SUBMIT
    assert play.stake(late) == 0
    assert get_places(play.ledger.state, play.task).validators == 3
    assert sum(units for _, units in purses.scan_purses(play.ledger.state, b"u")) == 100 * FML
    assert play.send(late, Attest(play.task)).error != 0


@pytest.mark.parametrize(("trainers", "validators"), [(2, 3), (3, 2)])
def test_a_task_with_too_few_members_expires(trainers, validators):
    """Two of either role will not do."""
    play = Play(trainers=trainers, validators=validators)
    play.begin()
    assert play.phase is Phase.EXPIRED
    play.expect_conserved()


# --- the draw --------------------------------------------------------------------------------------------------------


def test_the_draw_waits_for_beacons_of_more_than_a_third(play):
    """The block that closed entering does not seed it, nor do one or two proposers after it."""
    play.submit()
    for _ in range(3):
        play.block_by(play.stranger)
        play.block_by(play.creator)
    assert not play.epoch_record.is_drawn
    assert play.record.deadline_ms is None
    play.block_by(play.trainers[0])
    assert play.epoch_record.is_drawn


def test_who_may_be_drawn_is_frozen_when_entering_closes():
    """Who attests afterwards is not drawn, who leaves afterwards may be; so nobody picks a seed that suits it."""
    play = Play(validators=5)
    play.begin(attesting=play.validators[:4])
    late, leaver = play.validators[4], play.validators[0]
    play.ledger.join(late, play.task, Role.VALIDATOR)
    play.submit()
    assert play.send(late, Attest(play.task)).error == 0
    assert play.send(leaver, Leave(play.task)).error == 0
    play.draw()
    drawn = {juror.address for juror in play.epoch_record.drawn}
    assert drawn == {person.address for person in play.validators[:4]}
    assert play.epoch_record.candidates == ()


def test_no_more_are_drawn_than_the_chain_says():
    """Three of six, each once, and not the same three in every epoch of a long task."""
    play = Play(validators=6, epochs=6, params=replace(DEVNET, validators_per_epoch=3)).begin()
    draws = set()
    for _ in range(6):
        play.submit().draw()
        drawn = play.epoch_record.drawn
        assert len({juror.address for juror in drawn}) == len(drawn) == 3
        draws.add(frozenset(juror.address for juror in drawn))
        play.open().commit().reveal().claim()
    assert len(draws) > 1


def test_who_leaves_before_the_freeze_is_not_drawn(play):
    """A validator on its way out is no candidate."""
    assert play.send(play.validators[0], Leave(play.task)).error == 0
    play.submit().draw()
    assert len(play.epoch_record.drawn) == 2


# --- what is missing -------------------------------------------------------------------------------------------------


def test_an_epoch_without_eligible_validators_is_void(play):
    """Nobody could have judged it: nothing is paid, the pot waits for the next epoch, claims save the deposits."""
    for person in play.validators:
        play.ledger.send(person, Leave(play.task))
    play.submit().open()
    assert play.phase is Phase.CLAIM
    assert play.epoch_record.drawn == ()
    pot = play.units(purses.pot_of(play.task))
    play.claim()
    assert play.units(purses.pot_of(play.task)) == pot
    assert play.result(0).weights == ()
    assert all(ranked.reward_a == 0 for ranked in play.result(0).ranking)
    assert all(play.deposit(person) == DEVNET.seat_deposit_units for person in play.trainers)
    assert play.deposit(play.creator) == DEVNET.creator_deposit_units


def test_an_epoch_without_submissions_passes(play):
    """Nobody trains: the epoch ends by its deadlines, costs the deposits, and nobody else is slashed."""
    play.submit([]).open([], key=False)
    assert play.phase is Phase.CLAIM
    play.claim()
    assert play.deposit(play.creator) == DEVNET.creator_deposit_units
    assert all(payout.slashed == payout.earned == 0 for payout in play.result(0).validators)
    assert play.epoch == 1


def test_a_task_without_trainers_reaches_its_end(play):
    """All trainers leave: the remaining epochs have no seats, and the task finishes by its deadlines."""
    for person in play.trainers:
        play.ledger.send(person, Leave(play.task))
    play.run_epoch()
    assert play.epoch_record.seats == ()
    play.submit([]).open([], key=False).claim([])
    assert play.phase is Phase.FINISHED
    play.expect_conserved()


def test_a_withheld_key_skips_scoring_and_costs_the_creator_alone(play):
    """Its whole deposit; the validators could not score and lose nothing."""
    play.submit().open(key=False)
    assert play.phase is Phase.CLAIM
    assert play.deposit(play.creator) == 0
    play.claim()
    assert all(payout.slashed == 0 for payout in play.result(0).validators)
    play.expect_conserved()


def test_a_trainer_without_money_for_the_deposit_gets_no_seat():
    """A lost deposit is taken anew from the balance; where that does not suffice the trainer sits out, unpunished."""
    play = Play().begin()
    poor, rich = play.trainers[0], play.trainers[1]
    play.submit(play.trainers[2:])
    assert play.deposit(poor) == DEVNET.seat_deposit_units
    play.ledger.transfer(poor, rich, play.balance(poor) - FML // 100)
    play.open(play.trainers[2:]).commit().reveal().claim(play.trainers[2:])
    seats = {seat.address for seat in play.epoch_record.seats}
    assert seats == {person.address for person in play.trainers[1:]}
    assert play.deposit(poor) == 0
    assert play.deposit(rich) == DEVNET.seat_deposit_units
    assert play.stake(poor) == 100 * FML
    play.expect_conserved()
