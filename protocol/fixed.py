"""Exact arithmetic: one pinned decimal context, and the division of a pot so that the parts add up to it.

Every digit is the same on every machine: 34 digits, half even, with the correctly rounded `exp` and `ln` of the decimal
arithmetic specification. Sums round, so their order matters: callers add in the order of sorted keys. No floats.
"""

import decimal
import functools
import math
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

MILLION = 1_000_000
DIGITS = 34

CONTEXT = decimal.Context(
    prec=DIGITS,
    rounding=decimal.ROUND_HALF_EVEN,
    Emin=-999_999,
    Emax=999_999,
    capitals=1,
    clamp=0,
    flags=[],
    traps=[
        decimal.InvalidOperation,
        decimal.DivisionByZero,
        decimal.Overflow,
        decimal.Underflow,
        decimal.FloatOperation,
    ],
)


def pinned(function: Callable[P, R]) -> Callable[P, R]:
    """Run a function under the pinned context, whatever context its caller has."""

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        with decimal.localcontext(CONTEXT):
            return function(*args, **kwargs)

    return wrapper


@pinned
def from_millionths(millionths: int | Decimal) -> Decimal:
    """Return a ratio or score in millionths as a number."""
    return Decimal(millionths) / MILLION


@pinned
def scaled(number: Decimal, *, scale: int) -> int:
    """Return the number times a scale as an integer, half even: how the ledger keeps weights, shares and scores."""
    return int((number * scale).to_integral_value())


@pinned
def power(base: Decimal | int, *, exponent_millionths: int) -> Decimal:
    """Return base^exponent for a base above zero: by multiplication for whole exponents, else exp(exponent ln base).

    x^0 is 1. Asserts that the base is above zero: whoever has no stake is left out before.
    """
    assert base > 0, f"no power of {base}"
    assert exponent_millionths >= 0, "no negative exponents"
    whole, rest = divmod(exponent_millionths, MILLION)
    if rest:
        return (from_millionths(exponent_millionths) * Decimal(base).ln()).exp()
    return math.prod([Decimal(base)] * whole, start=Decimal(1))


def split(pot: int, weights: Sequence[Decimal | int], keys: Sequence[bytes]) -> tuple[int, ...]:
    """Return whole parts of a pot in proportion to the weights, adding up to the pot exactly.

    Largest remainder: each part is rounded down, and what is left goes unit by unit to the largest remainders, ties to
    the smaller key. Exact for any weights. Asserts distinct keys, no negative weight, and one above zero: a pot that
    nobody has a claim to follows the caller's rule of undistributable pots.
    """
    assert pot >= 0, f"a pot of {pot}"
    assert len(weights) == len(keys) == len(set(keys)), "each weight needs a key of its own"
    assert all(weight >= 0 for weight in weights), "a negative weight"
    whole = _to_integers(weights)
    total = sum(whole)
    assert total > 0, "nobody has a claim to the pot"
    parts = [pot * weight // total for weight in whole]
    remainders = [pot * weight % total for weight in whole]
    by_claim = sorted(range(len(keys)), key=lambda index: (-remainders[index], keys[index]))
    for index in by_claim[: pot - sum(parts)]:
        parts[index] += 1
    assert sum(parts) == pot, "the parts do not add up to the pot"
    return tuple(parts)


def split_by_key(pot: int, weights: Mapping[bytes, Decimal | int]) -> dict[bytes, int]:
    """Return the parts of a pot by key, in key order; empty when nobody has a weight above zero.

    The parts add up to the pot, or there are none: then the caller's rule of undistributable pots decides.
    """
    keys = sorted(key for key, weight in weights.items() if weight)
    if not keys:
        return {}
    return dict(zip(keys, split(pot, [weights[key] for key in keys], keys), strict=True))


def _to_integers(numbers: Sequence[Decimal | int]) -> list[int]:
    """Return integers in the same proportion."""
    ratios = [number.as_integer_ratio() for number in numbers]
    scale = math.lcm(*(denominator for _, denominator in ratios))
    return [numerator * (scale // denominator) for numerator, denominator in ratios]
