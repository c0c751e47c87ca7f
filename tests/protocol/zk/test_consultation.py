"""CONSULT: the model in clear is tied to the digest on the log."""

from collections.abc import Callable

import numpy as np
import pytest
from msgspec.structs import replace

from protocol.errors import InvalidProof
from protocol.zk.aggregation import aggregate_digest
from protocol.zk.consultation import consult
from protocol.zk.group import ORDER
from protocol.zk.opening import Aggregate, add_openings
from protocol.zk.statement import RoundContext
from tests.zk_round import filled, play

ROUND = play(3)
PRODUCT = ROUND.aggregation.product
AGGREGATE = add_openings(ROUND.openings, ROUND.weights)


def ask(
    aggregate: Aggregate = AGGREGATE,
    *,
    context: RoundContext = ROUND.context,
    product: bytes = PRODUCT,
    digest: bytes | None = None,
    weights: tuple[int, ...] = ROUND.weights,
) -> None:
    """Consult, by default about what the log has."""
    digest = aggregate_digest(context, product) if digest is None else digest
    consult(context, digest=digest, weights=weights, product=product, aggregate=aggregate, randomness=filled("own"))


def with_value(index: int, value: int) -> Aggregate:
    """Return the aggregate with one value replaced."""
    values = AGGREGATE.values.copy()
    values[index] = value
    return AGGREGATE._replace(values=values)


def test_the_aggregate_of_the_round_is_accepted() -> None:
    """Values and blindings open the product whose digest the log has."""
    ask()


@pytest.mark.parametrize(
    "change",
    [
        lambda: with_value(4, int(AGGREGATE.values[4]) + 1),
        lambda: with_value(19, int(AGGREGATE.values[19]) - 1),
        lambda: AGGREGATE._replace(blindings=((AGGREGATE.blindings[0] + 1) % ORDER, *AGGREGATE.blindings[1:])),
        lambda: AGGREGATE._replace(blindings=AGGREGATE.blindings[::-1]),
        lambda: add_openings(ROUND.openings, (1, 1, 1)),
        lambda: AGGREGATE._replace(values=-AGGREGATE.values),
    ],
    ids=["a value", "the last value", "a blinding", "blindings swapped", "other weights", "every sign"],
)
def test_another_model_is_refused(change: Callable[[], Aggregate]) -> None:
    """Whatever differs from what was summed does not open the product."""
    with pytest.raises(InvalidProof, match="does not open"):
        ask(change())


def test_another_product_than_the_logs_is_refused() -> None:
    """Another round's product, with an aggregate that opens it, is not what the log vouches for."""
    other = play(3, round=8)
    total = add_openings(other.openings, other.weights)
    ask(total, context=other.context, product=other.aggregation.product)
    with pytest.raises(InvalidProof, match="whose digest"):
        ask(total, product=other.aggregation.product, digest=aggregate_digest(ROUND.context, PRODUCT))
    with pytest.raises(InvalidProof, match="whose digest"):
        ask(context=replace(ROUND.context, round=8), digest=aggregate_digest(ROUND.context, PRODUCT))


def test_values_beyond_any_sum_are_refused() -> None:
    """What updates within their range cannot add up to is refused by size alone, of either sign."""
    bound = sum(ROUND.weights) * 2**31
    for value in (bound + 1, -bound - 1, 2**63 - 1, -(2**63)):
        with pytest.raises(InvalidProof, match="no updates add up"):
            ask(with_value(0, value))
    with pytest.raises(InvalidProof, match="does not open"):
        ask(with_value(0, bound))


@pytest.mark.parametrize("count", [0, 19, 21])
def test_a_model_of_another_size_is_refused(count: int) -> None:
    """Fewer values, more values, none."""
    values = np.resize(AGGREGATE.values, count)
    with pytest.raises(InvalidProof, match="for a model of 20"):
        ask(AGGREGATE._replace(values=values))
