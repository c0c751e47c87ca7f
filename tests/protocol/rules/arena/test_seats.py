"""More trainers than seats: who is drawn, when, and what becomes of the others."""

import pytest
from msgspec.structs import replace

from protocol.errors import InvalidProof, NotEligible, OutOfBounds, ProtocolError
from protocol.formulas import arena as formulas
from protocol.ledger import check_anonymous, is_block_due
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.arena import seats
from protocol.rules.arena.records import Phase
from protocol.rules.duties import EnterSubmission, get_duties
from protocol.rules.voters import get_voters
from protocol.transactions import CancelTask, Leave, Submit
from tests.arena_play import STEP_MS, Play
from tests.ledger_driver import FML

PARAMS = replace(DEVNET, max_trainers=3, max_trainer_members=6)


@pytest.fixture
def play() -> Play:
    """Five trainers for three seats, at the beginning of the first epoch."""
    return Play(trainers=5, params=PARAMS).begin()


def seated(play: Play) -> list[bytes]:
    return [seat.address for seat in play.epoch_record.seats]


def wait_for_seats(play: Play) -> list:
    """Make blocks until the seats are drawn, and return who has one."""
    play.ledger.run_until(lambda: bool(play.epoch_record.seats))
    chosen = seated(play)
    return [person for person in play.trainers if person.address in chosen]


def test_seats_wait_for_the_beacon(play):
    """Frozen first: nobody has a seat, no deadline runs, and a block is due until the draw."""
    assert play.phase is Phase.SUBMIT
    assert seated(play) == []
    assert play.record.deadline_ms is None
    assert is_block_due(play.ledger.state, 0)
    frozen = play.ledger.before.head.height
    chosen = wait_for_seats(play)
    assert play.ledger.before.head.height > frozen + 1
    assert len(chosen) == PARAMS.max_trainers
    assert play.record.deadline_ms == play.ledger.before.head.time_ms + PARAMS.task.submit_phase_ms
    assert not seats.has_queue(play.ledger.state, play.record)
    assert not is_block_due(play.ledger.state, 0)


def test_the_seats_are_drawn_by_the_beacon_of_the_block_that_draws(play):
    """The same as A16's draw over the frozen candidates, and sorted by key as a ring is."""
    weights = {
        member.vrf_key: formulas.selection_weight(
            100 * FML, min_stake=PARAMS.min_stake_trainer_units, max_stake=PARAMS.max_selection_stake_units
        )
        for member in map(play.member, play.trainers)
    }
    wait_for_seats(play)
    seed = formulas.seat_seed(get_voters(play.ledger.state).beacon, task=play.task, epoch=0)
    drawn = formulas.draw(seed, weights=weights, count=3)
    keys = [seat.vrf_key for seat in play.epoch_record.seats]
    assert keys == sorted(drawn)


def test_nobody_enters_anything_before_the_seats_are_drawn(play):
    """There is no ring to prove membership of."""
    payload = Submit(play.task, 0, bytes(32), bytes(32), play.record.spec.dataset_a.blob, bytes(32), bytes(64))
    with pytest.raises(ProtocolError) as refusal:
        check_anonymous(play.ledger.before, payload)
    assert isinstance(refusal.value, (InvalidProof, NotEligible, OutOfBounds))


def test_only_who_has_a_seat_has_a_duty(play):
    """The others wait, keep stake and deposit, and lose nothing."""
    chosen = wait_for_seats(play)
    for person in play.trainers:
        duties = get_duties(play.ledger.state, person.address, lambda task, epoch, p=person: play.tag(p, epoch))
        assert (EnterSubmission(play.task, 0) in duties) == (person in chosen)
    play.submit(chosen).open(chosen).commit().reveal().claim(chosen)
    assert len(play.result(0).ranking) == 3
    for person in play.trainers:
        assert play.stake(person) == 100 * FML
        assert play.deposit(person) == PARAMS.seat_deposit_units
        assert play.member(person).epochs_claimed == (person in chosen)
    play.expect_conserved()


def test_every_epoch_draws_anew():
    """Over some epochs the ring changes, and every epoch has as many seats as there are."""
    play = Play(trainers=5, params=PARAMS, epochs=6).begin()
    rings = set()
    while play.phase is not Phase.FINISHED:
        chosen = wait_for_seats(play)
        rings.add(frozenset(person.name for person in chosen))
        play.submit(chosen).open(chosen).commit().reveal().claim(chosen)
    assert all(len(ring) == 3 for ring in rings)
    assert len(rings) > 1
    play.expect_conserved()


def test_without_more_trainers_than_seats_nobody_waits():
    """All sit at once and the phase has its deadline."""
    play = Play(trainers=3, params=PARAMS).begin()
    assert len(seated(play)) == 3
    assert play.record.deadline_ms is not None


def test_who_cannot_pay_its_seat_is_no_candidate():
    """A trainer whose lost deposit its balance does not cover leaves its chance to others."""
    play = Play(trainers=4, params=PARAMS, epochs=3).begin()
    chosen = wait_for_seats(play)
    loser = chosen[0]
    play.submit(chosen[1:]).open(chosen[1:])
    balance = play.balance(loser)
    play.ledger.transfer(loser, play.stranger, balance - 10 * DEVNET.fee_floor_units)
    play.ledger.block()
    play.commit().reveal().claim(chosen[1:])
    assert play.deposit(loser) == 0
    assert loser.address not in seated(play)
    assert len(seated(play)) == 3
    assert play.record.deadline_ms is not None


def test_who_leaves_before_the_draw_serves_the_epoch(play):
    """Leaving acts when the epoch settles, for candidates too; the draw is not changed by it."""
    assert play.send(play.trainers[0], Leave(play.task)).error == 0
    chosen = wait_for_seats(play)
    play.submit(chosen).open(chosen).commit().reveal().claim(chosen)
    assert play.stake(play.trainers[0]) == 0
    wait_for_seats(play)
    assert play.trainers[0].address not in seated(play)


def test_a_task_may_be_cancelled_while_seats_are_drawn(play):
    """The queue goes with it."""
    assert play.send(play.creator, CancelTask(play.task)).error == 0
    assert not seats.has_queue(play.ledger.state, play.record)
    play.ledger.block(after_ms=STEP_MS)
    assert play.phase is Phase.CANCELLED
    assert purses.get_units(play.ledger.state, purses.pot_of(play.task)) == 0
    play.expect_conserved()


def test_a_larger_stake_is_drawn_more_often():
    """A hundredfold stake weighs ten times as much: it sits in almost every ring."""
    sat = 0
    rich = Play(trainers=6, params=PARAMS, epochs=12)
    rich.begin(stakes=dict.fromkeys(rich.trainers[1:], 10 * FML) | {rich.trainers[0]: 1_000 * FML})
    for _ in range(8):
        chosen = wait_for_seats(rich)
        sat += rich.trainers[0] in chosen
        rich.submit(chosen).open(chosen).commit().reveal().claim(chosen)
    assert sat >= 7
