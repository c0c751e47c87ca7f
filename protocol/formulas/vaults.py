"""The arithmetic of delegated stake (white paper II.D.4): shares of a vault, and the points that reward B goes by.

A vault holds units, its delegators hold shares of them. Every rounding is in the vault's favour, and none is worth more
than a unit: who delegates pays the price of the shares it gets, rounded up, and keeps the rest. So whoever makes a
share dear before others buy in (the inflation attack on ERC-4626 vaults) takes nothing from them.
"""

from collections.abc import Mapping

from protocol.fixed import MILLION
from protocol.formulas.arena import operator_and_delegators

# An index counts points per share in parts of 2^20, so that a share of one unit still collects some.
INDEX_BITS = 20
# Who holds the points of those that left: nobody, so its part is not paid.
GONE = b""


def shares_for_units(units: int, *, vault_units: int, vault_shares: int) -> int:
    """Return how many shares these units can buy, rounded down; a share of a fresh vault costs one unit."""
    return units * vault_shares // vault_units if vault_shares else units


def price_of_shares(shares: int, *, vault_units: int, vault_shares: int) -> int:
    """Return what shares cost in units, rounded up: at most what `shares_for_units` counted for them."""
    return -(-shares * vault_units // vault_shares) if vault_shares else shares


def units_for_shares(shares: int, *, vault_units: int, vault_shares: int) -> int:
    """Return what shares are worth in units, rounded down: never more than their part of what the vault holds."""
    assert 0 <= shares <= vault_shares, f"{shares} of {vault_shares} shares"
    return shares * vault_units // vault_shares if vault_shares else 0


def collected_points(vault_units: int, *, reward_share_millionths: int) -> int:
    """Return the points that a vault collects in an epoch: its stake times the reward share, in millionths of units."""
    return vault_units * reward_share_millionths


def next_index(index: int, *, points: int, vault_shares: int) -> int:
    """Return the index of points per share, after these points came to the shares of a vault; rounded down."""
    return index + (points << INDEX_BITS) // vault_shares if vault_shares else index


def points_of_shares(points: int, *, shares: int, index_before: int, index: int) -> int:
    """Return the points of a delegation that had `points` at an earlier index and kept its shares since."""
    assert index_before <= index, "an index falls"
    return points + (shares * (index - index_before) >> INDEX_BITS)


def kept_points(points: int, *, shares: int, leaving: int) -> int:
    """Return the points left to a delegation that gives some of its shares back: those of the shares that stay."""
    assert 0 < leaving <= shares, f"{leaving} of {shares} shares leave"
    return points * (shares - leaving) // shares


def split_accrued(
    reward: int, *, stake_sum: int, points: Mapping[bytes, int], points_of_all: int
) -> tuple[int, dict[bytes, int]]:
    """Return (operator's part, each delegator's part) of a reward that accrued over the epochs (A7 and A11, over time).

    `stake_sum` adds up the operator's stake, delegation included, over the epochs; `points` are those of the delegators
    that are still there, `points_of_all` also of those that left: their part is in neither result, it stays unpaid.
    With the same stakes and reward share in each epoch this is what one epoch pays.
    """
    left = points_of_all - sum(points.values())
    assert left >= 0, "points from nowhere"
    operator, parts = operator_and_delegators(
        reward,
        own_stake=stake_sum * MILLION - points_of_all,
        delegations={**points, GONE: left},
        reward_share_millionths=MILLION,
    )
    del parts[GONE]
    return operator, parts
