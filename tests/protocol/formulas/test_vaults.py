"""Known answers and properties of the arithmetic of delegated stake."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.formulas import arena, vaults
from protocol.types import MAX_INTEGER

VECTORS: dict[str, list[dict[str, Any]]] = json.loads(
    (Path(__file__).parents[2] / "vectors" / "vaults.json").read_text()
)
CASES = [pytest.param(name, case, id=f"{name}-{case['note']}") for name, cases in VECTORS.items() for case in cases]

UNITS = st.integers(1, 10**18)
VAULTS = st.tuples(st.integers(1, 10**18), st.integers(1, 10**18))


@pytest.mark.parametrize(("name", "case"), CASES)
def test_known_answer(name: str, case: dict[str, Any]) -> None:
    """Every vector's arguments give its result."""
    arguments = {
        key: {bytes.fromhex(who): units for who, units in value.items()} if isinstance(value, dict) else value
        for key, value in case["arguments"].items()
    }
    result = getattr(vaults, name)(**arguments)
    if isinstance(result, tuple):
        result = [result[0], {key.hex(): units for key, units in result[1].items()}]
    assert result == case["result"]


def buy(units: int, held: int, shares: int) -> tuple[int, int]:
    """Return (shares bought, what they cost)."""
    bought = vaults.shares_for_units(units, vault_units=held, vault_shares=shares)
    return bought, vaults.price_of_shares(bought, vault_units=held, vault_shares=shares)


@given(VAULTS, UNITS)
def test_delegating_takes_nothing_from_anybody(vault: tuple[int, int], units: int) -> None:
    """A share is worth no less after somebody bought in, and the buyer's what it paid for them but for a unit."""
    held, shares = vault
    bought, price = buy(units, held, shares)
    assert price <= units
    assert (held + price) * shares >= held * (shares + bought)
    worth = vaults.units_for_shares(bought, vault_units=held + price, vault_shares=shares + bought)
    assert price - 1 <= worth <= price


@given(VAULTS, st.data())
def test_taking_back_takes_nothing_from_others(vault: tuple[int, int], data: st.DataObject) -> None:
    """A share is worth no less after somebody left, and who holds all shares gets all there is."""
    held, shares = vault
    leaving = data.draw(st.integers(0, shares))
    paid = vaults.units_for_shares(leaving, vault_units=held, vault_shares=shares)
    assert 0 <= paid <= held
    assert (held - paid) * shares >= held * (shares - leaving)
    assert vaults.units_for_shares(shares, vault_units=held, vault_shares=shares) == held


@given(
    first=st.integers(1, 10**12),
    kept=st.integers(1, 10**12),
    donated=st.integers(0, 10**15),
    victim=st.integers(1, 10**16),
)
def test_making_shares_dear_does_not_pay(first: int, kept: int, donated: int, victim: int) -> None:
    """The inflation attack on ERC-4626: buy first, raise the price, let others' shares round down, take all back.

    Nobody can give to a vault but by rewards; yet even of one share that is worth a fortune the victim pays for what it
    gets and keeps the rest, so the attacker has not a unit more than before, and the victim at most one less.
    """
    shares = min(first, kept)
    held = shares + donated
    bought, price = buy(victim, held, shares)
    after = {"vault_units": held + price, "vault_shares": shares + bought}
    assert vaults.units_for_shares(shares, **after) <= held + 1
    assert victim - price + vaults.units_for_shares(bought, **after) >= victim - 1


@given(
    st.lists(st.tuples(st.integers(1, 10**18), st.integers(0, 500_000)), min_size=1, max_size=6),
    st.integers(1, 10**9),
)
def test_points_add_up(epochs: list[tuple[int, int]], shares: int) -> None:
    """What the shares of a vault collected is never more than the vault did, and less only by rounding."""
    index, points = 0, 0
    for units, share in epochs:
        collected = vaults.collected_points(units, reward_share_millionths=share)
        index = vaults.next_index(index, points=collected, vault_shares=shares)
        points += collected
    parts = [
        vaults.points_of_shares(0, shares=part, index_before=0, index=index)
        for part in (shares // 3, shares - shares // 3)
    ]
    assert points - len(epochs) * shares - 2 <= sum(parts) <= points


@given(
    reward=st.integers(0, 10**18),
    own=st.integers(1, 10**18),
    delegated=st.integers(1, 10**18),
    share=st.integers(0, 500_000),
    epochs=st.integers(1, 365),
)
def test_over_time_pays_what_each_epoch_does(reward: int, own: int, delegated: int, share: int, epochs: int) -> None:
    """With the same stakes in each epoch, A7 over all of them is A7."""
    points = epochs * vaults.collected_points(delegated, reward_share_millionths=share)
    once = arena.operator_and_delegators(
        reward, own_stake=own, delegations={b"d": delegated}, reward_share_millionths=share
    )
    assert once == vaults.split_accrued(
        reward, stake_sum=epochs * (own + delegated), points={b"d": points}, points_of_all=points
    )


def test_points_of_the_largest_stake_fit_into_their_record() -> None:
    """All money of a chain in one vault for the longest task: 16 bytes hold its points, and the index of one share."""
    points = 10_000 * vaults.collected_points(MAX_INTEGER, reward_share_millionths=500_000)
    assert points < 2**128
    assert vaults.next_index(0, points=points, vault_shares=1) < 2**128
