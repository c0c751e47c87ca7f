"""Whose money is in an alliance's pool, and what the emission brings to verified ones."""

import pytest
from msgspec.structs import replace

from protocol.alliance_acts import FundAlliance
from protocol.params import DEVNET
from protocol.rules import purses
from protocol.rules.alliance import pool
from protocol.rules.alliance.pool import PoolParts, divide_by_source, get_parts
from protocol.rules.alliance.records import AlliancePhase, get_counter
from protocol.rules.emission import get_emission
from protocol.transactions import CreateTask, VerifyTask
from tests.alliance_play import AlliancePlay, run_task, verified
from tests.arena_play import Play
from tests.ledger_driver import FML, Person
from tests.ledger_invariants import expect_sound

# C0 of the devnet without the hosts' tenth.
FIRST = 900 * FML


def pass_boundary(play) -> None:
    """Make the block in which the next emission is due."""
    play.ledger.block(after_ms=get_emission(play.ledger.state).next_ms - play.ledger.before.head.time_ms)


def parts(play: AlliancePlay) -> PoolParts:
    return get_parts(play.ledger.state, play.alliance)


# --- sources ---------------------------------------------------------------------------------------------------------


def test_parts_add_up_and_payments_leave_them_in_proportion():
    """Escrow and a gift pay rewards together; a slash comes in under its own name."""
    play = AlliancePlay().begin()
    play.send(play.stranger, FundAlliance(1, 500 * FML))
    assert parts(play) == PoolParts(emission=0, escrow=1_000 * FML, bounties=500 * FML, slashes=0)
    gone, *others = play.proposers()
    play.train(others).hold().commit().reveal().confirm()
    left = 1_500 * FML - 4 * 150 * FML
    kept = play.settled(0, gone).slashed * 9 // 10
    assert parts(play) == PoolParts(emission=0, escrow=left * 2 // 3, bounties=left // 3, slashes=kept)
    assert play.pool() == left + kept


def test_units_are_divided_to_the_last():
    """Largest remainder; and nothing comes out of an empty pool."""
    some = PoolParts(emission=1, escrow=1, bounties=1, slashes=0)
    divided = divide_by_source(5, some)
    assert divided == PoolParts(emission=2, escrow=2, bounties=1, slashes=0)
    assert divided.origins().total() == 5
    assert divide_by_source(0, pool.EMPTY) == pool.EMPTY
    with pytest.raises(AssertionError, match="from nowhere"):
        divide_by_source(1, pool.EMPTY)


# --- emission --------------------------------------------------------------------------------------------------------


def test_the_emission_fills_the_pool_of_a_verified_alliance():
    """Not while it opens; then all of it, for no task is at work; rounds are paid from it."""
    play = verified()
    pass_boundary(play)
    assert play.pool() == 0
    play.begin()
    minted, held, periods = purses.get_supply(play.ledger.state).minted, play.pool(), play.record.periods
    pass_boundary(play)
    assert play.pool() - held == FIRST == purses.get_supply(play.ledger.state).minted - minted
    assert parts(play).emission == play.pool()
    assert play.record.periods == periods + 1
    held = play.pool()
    play.run_round()
    assert play.result(0).reward == held // 10
    assert play.settled(0, play.participants[0]).earned == held // 50
    expect_sound(play.ledger.state)


def test_alliances_share_by_their_stakes():
    """Five and ten participants with 64 FML each, and two creators with 100: 420 to 740 (E3), to the unit."""
    people = [Person(f"participant {place}") for place in range(10)]
    small = verified(ledger=run_task(people, params=DEVNET))
    large = verified(ledger=small.ledger, participants=10, number=2)
    small.begin()
    large.begin()
    before = small.pool(), large.pool()
    pass_boundary(large)
    gained = small.pool() - before[0], large.pool() - before[1]
    assert gained == (325_862_068_966, 574_137_931_034)
    assert get_counter(small.ledger.state).verified == 2


def test_arena_and_alliance_share_by_their_stakes():
    """A verified task at work and a verified alliance: by all that is staked in each (E1, E2)."""
    people = [Person(f"participant {place}") for place in range(5)]
    task = Play(is_governed=True, bystanders=people).begin().run_epoch().run_epoch()
    play = verified(ledger=task.ledger)
    task.send(task.creator, CreateTask(task.record.spec, 100 * FML, 0))
    task.task = 2
    assert task.send(task.governor, VerifyTask(2)).error == 0
    task.begin()
    play.begin()
    before = task.units(purses.emission_of(2)), play.pool()
    pass_boundary(play)
    stakes = purses.count_task_stake(play.ledger.state, 2), purses.count_alliance_stake(play.ledger.state, 1)
    assert stakes == (700 * FML, 420 * FML)
    assert task.units(purses.emission_of(2)) - before[0] == FIRST * 700 // 1_120
    assert play.pool() - before[1] == FIRST * 420 // 1_120


def test_an_alliance_stops_receiving_after_its_periods():
    """Its maximal lifecycle (IV.A.2): then nothing is minted for it."""
    params = replace(DEVNET, alliance=replace(DEVNET.alliance, max_periods=2))
    play = verified(params=params).begin()
    for _ in range(3):
        pass_boundary(play)
    assert play.record.periods == 2
    assert play.pool() == 2 * FIRST
    expect_sound(play.ledger.state)


def test_what_was_emitted_for_nobody_returns_to_the_reserve():
    """All rounds void: the emission goes back, the slashes are the treasury's."""
    settings = replace(DEVNET.alliance.settings, rounds=2)
    params = replace(DEVNET, alliance=replace(DEVNET.alliance, settings=settings))
    play = verified(params=params).begin()
    pass_boundary(play)
    treasury, reserve = play.units(purses.TREASURY), play.units(purses.RESERVE)
    play.skip_round().skip_round()
    assert play.phase is AlliancePhase.FINISHED
    closing = play.closing()
    assert closing.parts.emission >= FIRST
    assert play.units(purses.RESERVE) == reserve + closing.parts.emission
    assert play.units(purses.TREASURY) == treasury + closing.parts.slashes
    assert get_counter(play.ledger.state).verified == 0
    expect_sound(play.ledger.state)
