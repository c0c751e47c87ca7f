"""Division of pots and the pinned decimal context."""

import decimal
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import fixed

WEIGHTS = st.one_of(
    st.integers(0, 2**63),
    st.decimals(min_value=0, max_value=1, allow_nan=False, allow_infinity=False, places=34),
    st.integers(0, 10**34).map(lambda digits: Decimal(digits).scaleb(-400)),
)
CLAIMS = st.dictionaries(st.binary(min_size=1, max_size=3), WEIGHTS, min_size=1, max_size=12).filter(
    lambda claims: any(claims.values())
)


@given(pot=st.integers(0, 2**63), claims=CLAIMS)
def test_split_adds_up_and_is_fair(pot: int, claims: dict[bytes, Decimal | int]) -> None:
    """Parts add up to the pot, and each is within one unit of its exact part; nothing for no weight."""
    parts = fixed.split(pot, list(claims.values()), list(claims))
    total = sum(map(Fraction, claims.values()))
    assert sum(parts) == pot
    for part, weight in zip(parts, claims.values(), strict=True):
        assert abs(part - pot * Fraction(weight) / total) < 1
        assert weight > 0 or part == 0


@given(pot=st.integers(0, 2**63), claims=CLAIMS)
def test_split_does_not_depend_on_the_order(pot: int, claims: dict[bytes, Decimal | int]) -> None:
    """The same claims in the opposite order give everybody the same part."""
    parts = fixed.split_by_key(pot, claims)
    assert parts == fixed.split_by_key(pot, dict(reversed(claims.items())))
    assert list(parts) == sorted(key for key, weight in claims.items() if weight)


def test_ties_go_to_the_smaller_key() -> None:
    """Three equal claims to two units: the two smallest keys get them, wherever they stand."""
    assert fixed.split(2, [1, 1, 1], [b"c", b"a", b"b"]) == (0, 1, 1)


def test_nobody_with_a_claim_leaves_the_pot_undivided() -> None:
    """`split_by_key` says so with an empty result; `split` must not be asked."""
    assert fixed.split_by_key(5, {b"a": 0, b"b": Decimal(0)}) == {}
    with pytest.raises(AssertionError, match="nobody"):
        fixed.split(5, [0, 0], [b"a", b"b"])


@pytest.mark.parametrize(
    ("pot", "weights", "keys"),
    [(5, [1, -1], [b"a", b"b"]), (-1, [1], [b"a"]), (5, [1, 1], [b"a", b"a"]), (5, [1], [b"a", b"b"])],
)
def test_split_refuses_nonsense(pot: int, weights: list[int], keys: list[bytes]) -> None:
    """Negative weights and pots, a key twice, and a missing weight are bugs of the caller."""
    with pytest.raises(AssertionError):
        fixed.split(pot, weights, keys)


@pytest.mark.parametrize(
    ("base", "exponent_millionths", "expected"),
    [
        (7, 0, "1"),
        (7, 1_000_000, "7"),
        (7, 2_000_000, "49"),
        (2, 500_000, "1.414213562373095048801688724209698"),
        (10**18, 1_500_000, "1000000000000000000000000000.000006"),
        (Decimal("0.85"), 3_000_000, "0.614125"),
    ],
)
def test_power(base: Decimal | int, exponent_millionths: int, expected: str) -> None:
    """Whole exponents are exact, others are exp(a ln x) to about 32 digits."""
    assert str(fixed.power(base, exponent_millionths=exponent_millionths)) == expected


def test_scaled_rounds_half_even() -> None:
    """Ties go to the even neighbour; 34 digits are looked at."""
    assert [fixed.scaled(Decimal(text), scale=1) for text in ("0.5", "1.5", "2.5000000001")] == [0, 2, 3]
    assert fixed.scaled(Decimal(1) / 3, scale=10**9) == 333_333_333


def test_floats_are_refused() -> None:
    """A float that strays into exact arithmetic is an error, not a rounding."""

    @fixed.pinned
    def careless() -> bool:
        return Decimal("0.1") < 0.2

    with pytest.raises(decimal.FloatOperation):
        careless()


def test_the_pinned_context_is_left_behind() -> None:
    """The caller's context is its own again afterwards, and our shared one carries no flags."""
    with decimal.localcontext(prec=7) as context:
        fixed.power(3, exponent_millionths=500_000)
        assert context.prec == decimal.getcontext().prec == 7
    assert not any(fixed.CONTEXT.flags.values())
