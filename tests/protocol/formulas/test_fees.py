"""Fees and slashes."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.formulas import fees

UNITS = st.integers(0, 2**63 - 1)
RATIOS = st.integers(0, 1_000_000)


@given(units=UNITS, ratio=RATIOS)
def test_a_fee_is_burned_and_passed_on_whole(units: int, ratio: int) -> None:
    """Both parts add up to the fee, and the burned one is less than a unit above its exact part."""
    burned, passed_on = fees.split_fee(units, burn_millionths=ratio)
    assert burned + passed_on == units
    assert passed_on >= 0
    assert 0 <= burned * 1_000_000 - units * ratio < 1_000_000


@given(stake=UNITS, ratio=RATIOS)
def test_a_slash_never_exceeds_the_stake(stake: int, ratio: int) -> None:
    """Rounded up, so that no stake is too small to lose something, and never more than is there."""
    slashed = fees.slash_amount(stake, slash_millionths=ratio)
    assert 0 <= slashed <= stake
    assert (slashed > 0) == (stake > 0 and ratio > 0)


@pytest.mark.parametrize(("units", "ratio"), [(-1, 500_000), (1, -1), (1, 1_000_001)])
def test_nonsense_is_a_bug(units: int, ratio: int) -> None:
    """Negative amounts and ratios above one are never rounded away."""
    with pytest.raises(AssertionError):
        fees.split_fee(units, burn_millionths=ratio)
