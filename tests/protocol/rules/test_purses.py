"""Money moves between purses and nowhere else."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import InsufficientFunds
from protocol.rules import purses
from protocol.state import MemoryState, Overlay

ALICE, BOB = purses.balance_of(b"a" * 32), purses.balance_of(b"b" * 32)
STAKE, OTHER = purses.stake_of(1, b"o" * 32), purses.stake_of(1, b"p" * 32)


def state_with(units: int) -> Overlay:
    state = Overlay(MemoryState())
    purses.mint(state, ALICE, units)
    return state


def test_a_move_takes_from_one_and_gives_to_the_other():
    """What one loses the other has, and an empty purse leaves no record."""
    state = state_with(5)
    purses.move(state, ALICE, BOB, 2)
    assert (purses.get_units(state, ALICE), purses.get_units(state, BOB)) == (3, 2)
    purses.move_all(state, ALICE, BOB)
    assert dict(purses.scan_purses(state)) == {BOB: 5}


def test_a_move_to_oneself_changes_nothing():
    """Source and target may be the same purse, as when a proposer pays its own fee."""
    state = state_with(5)
    purses.move(state, ALICE, ALICE, 5)
    purses.move_all(state, ALICE, ALICE)
    assert purses.get_units(state, ALICE) == 5


@pytest.mark.parametrize("act", [lambda s: purses.move(s, ALICE, BOB, 6), lambda s: purses.burn(s, ALICE, 6)])
def test_nobody_spends_more_than_there_is(act):
    """The refusal says what is there and what is needed, and nothing has moved."""
    state = state_with(5)
    with pytest.raises(InsufficientFunds) as caught:
        act(state)
    assert caught.value.data == {"have": 5, "need": 6}
    assert dict(purses.scan_purses(state)) == {ALICE: 5}
    assert purses.get_supply(state) == purses.Supply(minted=5, burned=0)


def test_the_supply_counts_what_was_made_and_destroyed():
    """Minted and burned are kept apart."""
    state = state_with(5)
    purses.burn(state, ALICE, 2)
    purses.mint(state, BOB, 1)
    assert purses.get_supply(state) == purses.Supply(minted=6, burned=2)


def test_unbonded_stakes_return_at_their_time_and_not_before():
    """Only what is due is paid out, to each its own, however the times compare as bytes."""
    state = state_with(11)
    for bond, release_ms, address, units in (
        (STAKE, 255, b"a" * 32, 1),
        (STAKE, 256, b"b" * 32, 2),
        (OTHER, 256, b"b" * 32, 1),
        (OTHER, 257, b"b" * 32, 3),
        (STAKE, 2**40, b"b" * 32, 4),
        (STAKE, 2**40, b"b" * 32, 0),
    ):
        purses.unbond(state, ALICE, units, bond=bond, begun=1, release_ms=release_ms, owner=address)
    purses.release_unbonded(state, 256)
    assert (purses.get_units(state, ALICE), purses.get_units(state, BOB)) == (1, 3)
    purses.release_unbonded(state, 2**40 - 1)
    assert purses.get_units(state, BOB) == 6
    left = purses.unbonding_of(STAKE, begun=1, release_ms=2**40, owner=b"b" * 32)
    assert dict(purses.scan_purses(state, b"u")) == {left: 4}
    purses.burn(state, left, 4)
    purses.release_unbonded(state, 2**40)
    assert purses.get_units(state, BOB) == 6
    assert list(purses.DUE.scan(state)) == []


def test_units_answer_for_the_epochs_in_which_they_were_there():
    """What left after the second of some epochs stands for the first two, not for the third, and for no other bond."""
    state = state_with(10)
    for bond, begun in ((STAKE, 0), (STAKE, 2), (STAKE, 300), (OTHER, 300)):
        purses.unbond(state, ALICE, 1, bond=bond, begun=begun, release_ms=5, owner=b"b" * 32)
    early, late = (purses.unbonding_of(STAKE, begun=begun, release_ms=5, owner=b"b" * 32) for begun in (2, 300))
    found = {number: purses.find_unbonding(state, STAKE, number=number) for number in (0, 1, 2, 299, 300)}
    assert found == {0: [early, late], 1: [early, late], 2: [late], 299: [late], 300: []}


def test_purses_of_different_purposes_never_meet():
    """Each purpose has its own purse, also for equal tasks, times and addresses."""
    address = bytes(32)
    names = [
        purses.TREASURY,
        purses.balance_of(address),
        purses.replica_bond_of(address),
        purses.stake_of(0, address),
        purses.stake_of(1, address),
        purses.deposit_of(0, address),
        purses.pot_of(0),
        purses.reward_b_of(0),
        purses.unbonding_of(purses.stake_of(0, address), begun=0, release_ms=0, owner=address),
        purses.unbonding_of(purses.stake_of(0, address), begun=1, release_ms=0, owner=address),
        purses.unbonding_of(purses.stake_of(0, address), begun=0, release_ms=1, owner=address),
    ]
    assert len(set(names)) == len(names)


STEPS = st.lists(st.tuples(st.sampled_from(["move", "mint", "burn", "forge"]), st.integers(0, 9)), max_size=8)


@given(steps=STEPS)
def test_drift_is_what_appeared_from_nowhere(steps):
    """Moves, mints and burns leave no drift; a purse that was simply set shows up with its amount."""
    below = state_with(20)
    state, forged = Overlay(below), 0
    for kind, units in steps:
        try:
            match kind:
                case "move":
                    purses.move(state, ALICE, BOB, units)
                case "mint":
                    purses.mint(state, BOB, units)
                case "burn":
                    purses.burn(state, ALICE, units)
                case "forge":
                    purses._put(state, purses.TREASURY, purses.get_units(state, purses.TREASURY) + units)
                    forged += units
        except InsufficientFunds:
            continue
    assert purses.compute_drift(below, state) == forged
