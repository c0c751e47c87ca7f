"""What opens a commitment: an update, or a sum of updates, with the numbers that hide it. COMMIT, REVEAL and SUM.

On the wire (a blob, sealed by whoever moves it) an opening is its d values, int32 of an update and int64 of an
aggregate, then its K scalars of 32 bytes; so its length is known before it is read. Padding is not sent: it is zero.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from protocol.crypto import hash_parts
from protocol.errors import InvalidProof
from protocol.zk.commitment import aggregate_bytes, reveal_bytes, row_count
from protocol.zk.expansion import RANDOMNESS_BYTES, expand_factors, expand_scalars
from protocol.zk.group import (
    ORDER,
    SCALAR_BYTES,
    Point,
    decode_scalar,
    encode_point,
    encode_scalars,
    multiply,
    multiply_encoded,
    scale,
)
from protocol.zk.integers import Vector32, Vector64, combine_rows, to_rows
from protocol.zk.parameters import VALUE_LIMIT, WEIGHTS_LIMIT, Generators, ZkParameters, get_generators
from protocol.zk.statement import RoundContext, context_digest


class Opening(NamedTuple):
    """An update W (d,), and s_k for each of the K rows of its commitment."""

    values: Vector32
    blindings: tuple[int, ...]


class Aggregate(NamedTuple):
    """A weighted sum of updates w (d,), and s_k for each of the K rows of its commitment."""

    values: Vector64
    blindings: tuple[int, ...]


# --- COMMIT ----------------------------------------------------------------------------------------------------------


def blind(context: RoundContext, key: bytes, values: Vector32, *, randomness: bytes) -> Opening:
    """Return an update (d,) with fresh blindings, which the commitment hides behind.

    `randomness` is 32 secret bytes. Values, round and client are hashed along, so that even bytes used twice never
    blind two different updates alike.
    """
    assert len(randomness) == RANDOMNESS_BYTES, f"{RANDOMNESS_BYTES} bytes of randomness"
    assert values.dtype == np.int32, "an update is int32"
    assert len(values) == context.values, f"an update of {len(values)} values for a model of {context.values}"
    assert int(values.min(initial=0)) > -VALUE_LIMIT, f"values lie above {-VALUE_LIMIT}"
    rows = row_count(context.parameters, context.values)
    content = hash_parts("flock/zk/values", values.astype(">i4").tobytes())
    parts = (randomness, context_digest(context), key, content)
    return Opening(values, tuple(expand_scalars("flock/zk/blindings", *parts, count=rows)))


def commit(parameters: ZkParameters, opening: Opening) -> bytes:
    """Return the commitment to an update. Formula Z1, white paper VI.H. 5 to 8 ms a row."""
    table = get_generators(parameters)
    rows = to_rows(opening.values, parameters.width)
    return b"".join(
        encode_point(_commit_row(table, row, blinding)) for row, blinding in zip(rows, opening.blindings, strict=True)
    )


def _commit_row(table: Generators, row: NDArray[Any], blinding: int) -> Point:
    """Return the point of one row of int32: shifted to be positive and short, and the shift taken off the point."""
    shift = 1 << int(np.abs(row.astype(np.int64)).max()).bit_length()
    padded = np.zeros((len(row), SCALAR_BYTES), np.uint8)
    padded[:, -4:] = (row + np.int64(shift)).astype(">u4").view(np.uint8).reshape(-1, 4)
    encoded = padded.tobytes()
    scalars = [encoded[at : at + SCALAR_BYTES] for at in range(0, len(encoded), SCALAR_BYTES)]
    # By itself, for one long scalar among short ones makes them all as dear.
    hidden = scale(table.points[-1], blinding)
    return multiply_encoded(table.points[:-1], scalars) - scale(table.total, shift) + hidden


# --- REVEAL ----------------------------------------------------------------------------------------------------------


def encode_opening(opening: Opening | Aggregate) -> bytes:
    """Return the bytes of an opening, of whichever width."""
    values = opening.values
    return values.astype(values.dtype.newbyteorder(">")).tobytes() + encode_scalars(opening.blindings)


def decode_reveal(parameters: ZkParameters, values: int, data: bytes) -> Opening:
    """Return the update of `values` numbers that a client revealed.

    Raises `InvalidProof` for another length, a scalar that is not canonical, or a value of -2^31.
    """
    _check_length(data, reveal_bytes(parameters, values), values)
    numbers, blindings = _decode(values, data, np.dtype(">i4"))
    if int(numbers.min()) <= -VALUE_LIMIT:
        raise InvalidProof(f"a value of {-VALUE_LIMIT}, the least allowed is one more")
    return Opening(numbers.astype(np.int32), blindings)


def decode_aggregate(parameters: ZkParameters, values: int, data: bytes) -> Aggregate:
    """Return the sum of updates that an aggregator distributes. Raises `InvalidProof` as `decode_reveal` does."""
    _check_length(data, aggregate_bytes(parameters, values), values)
    numbers, blindings = _decode(values, data, np.dtype(">i8"))
    return Aggregate(numbers.astype(np.int64), blindings)


def _check_length(data: bytes, expected: int, values: int) -> None:
    if len(data) != expected:
        raise InvalidProof(f"an opening of {len(data)} bytes, {expected} are needed for {values} values")


def _decode(values: int, data: bytes, kind: np.dtype[Any]) -> tuple[NDArray[Any], tuple[int, ...]]:
    starts = range(kind.itemsize * values, len(data), SCALAR_BYTES)
    blindings = tuple(decode_scalar(data[at : at + SCALAR_BYTES]) for at in starts)
    return np.frombuffer(data, kind, count=values), blindings


def opens(
    parameters: ZkParameters,
    commitments: Sequence[Sequence[Point]],
    openings: Sequence[Opening | Aggregate],
    *,
    randomness: bytes,
) -> bool:
    """Return whether every opening opens its commitment, all rows of all at once.

    `randomness` is 32 bytes unknown to whoever made openings and commitments; a false one passes once in 2^128 tries.
    """
    points = [point for commitment in commitments for point in commitment]
    vectors = [opening.values for opening in openings]
    blindings = [blinding for opening in openings for blinding in opening.blindings]
    factors = expand_factors(randomness, count=len(points))
    vector = [value % ORDER for value in combine_rows(factors, vectors, width=parameters.width)]
    blinding = sum(factor * value for factor, value in zip(factors, blindings, strict=True)) % ORDER
    return multiply(get_generators(parameters).points, [*vector, blinding]) == multiply(points, factors)


def find_false_openings(
    parameters: ZkParameters,
    commitments: Sequence[Sequence[Point]],
    openings: Sequence[Opening],
    *,
    randomness: bytes,
) -> tuple[int, ...]:
    """Return which openings do not open their commitments: one check if none, else a search by halves."""
    assert len(commitments) == len(openings), "an opening for each commitment"
    if not openings or opens(parameters, commitments, openings, randomness=randomness):
        return ()
    if len(openings) == 1:
        return (0,)
    half = len(openings) // 2
    lower = find_false_openings(parameters, commitments[:half], openings[:half], randomness=randomness)
    upper = find_false_openings(parameters, commitments[half:], openings[half:], randomness=randomness)
    return (*lower, *(half + index for index in upper))


# --- SUM -------------------------------------------------------------------------------------------------------------


def add_openings(openings: Sequence[Opening], weights: Sequence[int]) -> Aggregate:
    """Return w = sum_i a_i W_i, exactly, and s_k = sum_i a_i s_ik mod r: what opens Enc(w)."""
    assert min(weights) > 0, "weights are positive"
    assert sum(weights) < WEIGHTS_LIMIT, "the weighted sum of updates must fit 64 bits"
    total = np.zeros(len(openings[0].values), np.int64)
    for opening, weight in zip(openings, weights, strict=True):
        total += opening.values.astype(np.int64) * weight
    columns = zip(*(opening.blindings for opening in openings), strict=True)
    return Aggregate(total, tuple(_weigh(column, weights) for column in columns))


def _weigh(blindings: Sequence[int], weights: Sequence[int]) -> int:
    return sum(weight * blinding for weight, blinding in zip(weights, blindings, strict=True)) % ORDER
