"""Known answers and properties of the equations of the emission."""

import inspect
import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.formulas import emission
from protocol.params import MAINNET

VECTORS = Path(__file__).parents[2] / "vectors"
EMISSION: dict[str, list[dict[str, Any]]] = json.loads((VECTORS / "emission.json").read_text())
CASES = [pytest.param(case, id=f"{tag}-{case['note']}") for tag, cases in EMISSION.items() for case in cases]
UNITS = st.integers(0, 10**17)
STAKES = st.dictionaries(st.binary(min_size=8, max_size=8), st.integers(0, 10**18), max_size=8)


def read(value: Any) -> Any:
    """Return an argument of the vectors as Python has it: keys in hex."""
    return {bytes.fromhex(key): item for key, item in value.items()} if isinstance(value, dict) else value


def write(value: Any) -> Any:
    """Return a result as the vectors have it."""
    if isinstance(value, dict):
        return {key.hex(): item for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


@pytest.mark.parametrize("case", CASES)
def test_known_answer(case: dict[str, Any]) -> None:
    """Every vector's arguments give its result, to the unit."""
    function = getattr(emission, case["function"])
    bound = inspect.signature(function).bind_partial(**{k: read(v) for k, v in case["arguments"].items()})
    assert write(function(*bound.args, **bound.kwargs)) == case["result"]


@given(units=UNITS, arena=st.integers(0, 10**18), alliance=st.integers(0, 10**18))
def test_both_kinds_of_tasks_share_all_of_it_or_there_is_no_stake(units: int, arena: int, alliance: int) -> None:
    """The parts add up to the emission, and without stake on a side that side has nothing."""
    parts = emission.emission_split(units, arena_stake=arena, alliance_stake=alliance)
    assert sum(parts) == (units if arena + alliance else 0)
    assert arena or not parts[0]
    assert alliance or not parts[1]


@given(units=UNITS, stakes=STAKES, exponent=st.integers(0, 2_000_000))
def test_the_tasks_parts_add_up_and_grow_with_stake(units: int, stakes: dict[bytes, int], exponent: int) -> None:
    """To the unit; nobody without stake gets any, and more stake never gets more than a unit of rounding less."""
    parts = emission.task_emission(units, stakes=stakes, stake_exponent_millionths=exponent)
    assert sum(parts.values()) == (units if any(stakes.values()) else 0)
    assert all(stakes[task] > 0 for task in parts)
    by_stake = sorted(parts, key=lambda task: stakes[task])
    assert all(parts[low] <= parts[high] + 1 for low, high in pairwise(by_stake))


@given(units=UNITS, stakes=STAKES)
def test_splitting_a_stake_over_tasks_gains_nothing_at_p_1(units: int, stakes: dict[bytes, int]) -> None:
    """A task cut in two gets what the whole would have got, but for units of rounding."""
    whole = emission.task_emission(units, stakes={**stakes, b"whole": 10**9}, stake_exponent_millionths=10**6)
    halves = {b"half a": 5 * 10**8, b"half b": 5 * 10**8}
    parts = emission.task_emission(units, stakes={**stakes, **halves}, stake_exponent_millionths=10**6)
    assert abs(parts[b"half a"] + parts[b"half b"] - whole[b"whole"]) <= 2


@given(period=st.integers(0, 10**6), initial=UNITS, halving=st.integers(1, 10**5))
def test_the_emission_only_falls(period: int, initial: int, halving: int) -> None:
    """From C0 on, by a half at each halving; the hosts' part stays within it."""
    now = emission.period_emission(period, initial_units=initial, halving_periods=halving)
    assert now <= initial
    assert emission.period_emission(period + halving, initial_units=initial, halving_periods=halving) == now // 2
    assert 0 <= emission.host_part(now, period=period, slice_millionths=200_000, halving_periods=365) <= now


@pytest.mark.parametrize(("initial", "halving"), [(1, 1), (1_023, 3), (10**6, 7)])
def test_all_that_is_ever_emitted_stays_below_the_bound(initial: int, halving: int) -> None:
    """The sum over all periods until nothing is left."""
    emitted = sum(
        emission.period_emission(period, initial_units=initial, halving_periods=halving)
        for period in range(halving * (initial.bit_length() + 2))
    )
    assert initial * halving <= emitted <= emission.total_emission(initial_units=initial, halving_periods=halving)


@given(pot=UNITS, period=st.integers(0, 800))
def test_a_verified_pot_is_shared_out_whole(pot: int, period: int) -> None:
    """Whatever the schedule says, the three parts add up; trainers and validators stay as they are to each other."""
    share = emission.creator_share(
        period,
        initial_millionths=MAINNET.creator_slice_millionths,
        fade_periods=MAINNET.creator_slice_periods,
    )
    creator, trainers, validators = emission.verified_pots(
        pot, creator_share_millionths=share, trainer_share_millionths=500_000, validator_share_millionths=500_000
    )
    assert creator + trainers + validators == pot
    assert abs(trainers - validators) <= 1
    assert creator <= pot * MAINNET.creator_slice_millionths // 10**6 + 1


@given(time_ms=st.integers(0, 10**9), period_ms=st.integers(1, 10**6))
def test_emissions_stay_on_their_grid(time_ms: int, period_ms: int) -> None:
    """The next one is later than the block, by a period at most, and a whole number of periods after the last."""
    following = emission.next_boundary(500 + time_ms, due_ms=500, period_ms=period_ms)
    assert 500 + time_ms < following <= 500 + time_ms + period_ms
    assert (following - 500) % period_ms == 0
