"""Pedersen commitments to whole updates (formula Z1, white paper VI.H: Enc(w) = g^w h^s), and their weighted product.

An update of d values is cut into K = ceil(d / m) rows of m, the last padded with zeros; each row is one point
C_k = sum_j W_kj G_j + s_k H, and a commitment is their encodings one after the other. It hides perfectly, and binds as
long as nobody knows a relation between the generators.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from msgspec import Meta

from protocol.errors import InvalidProof
from protocol.zk.group import POINT_BYTES, SCALAR_BYTES, Point, decode_points, encode_points, multiply
from protocol.zk.parameters import ZkParameters

# What a transaction has room for: 1,365 rows.
MAX_COMMITMENT_BYTES = 64 * 1024
# Decoding a point costs a square root and a check of the subgroup, 0.14 ms; so what was decoded when it entered the log
# is remembered until its round is over: at most as many commitments as two rounds have, 0.3 MB each.
MAX_REMEMBERED = 128

# What a value takes in an opening: int32 of an update, int64 of a sum.
UPDATE_VALUE_BYTES, SUM_VALUE_BYTES = 4, 8

# All points C_1 .. C_K of one update, or of the aggregate.
Commitment = Annotated[bytes, Meta(min_length=POINT_BYTES, max_length=MAX_COMMITMENT_BYTES)]


def row_count(parameters: ZkParameters, values: int) -> int:
    """Return K: how many rows an update of so many values has. Raises `InvalidProof` for none and for too many."""
    if not 1 <= values <= parameters.max_values:
        raise InvalidProof(f"updates of {values} values; 1 to {parameters.max_values} can be proven")
    rows = -(-values // parameters.width)
    if rows * POINT_BYTES > MAX_COMMITMENT_BYTES:
        raise InvalidProof(
            f"{values} values in rows of {parameters.width} are {rows} points, too many for a commitment"
        )
    return rows


def count_points(commitment: bytes) -> int:
    """Return how many rows a commitment of this length has, whole or not."""
    return -(-len(commitment) // POINT_BYTES)


def reveal_bytes(parameters: ZkParameters, values: int) -> int:
    """Return the exact length of an encoded update with its blindings (`opening`)."""
    return UPDATE_VALUE_BYTES * values + SCALAR_BYTES * row_count(parameters, values)


def aggregate_bytes(parameters: ZkParameters, values: int) -> int:
    """Return the exact length of an encoded aggregate, or of a masked update, with its blindings (`opening`)."""
    return SUM_VALUE_BYTES * values + SCALAR_BYTES * row_count(parameters, values)


def count_aggregate_rows(parameters: ZkParameters, length: int) -> int:
    """Return how many rows an encoded aggregate of so many bytes has; only the last may be shorter than the others."""
    return -(-length // (SUM_VALUE_BYTES * parameters.width + SCALAR_BYTES))


def decode_commitment(commitment: bytes, rows: int) -> tuple[Point, ...]:
    """Return the points of a commitment. Raises `InvalidProof` for another number of rows, or what is no point."""
    if len(commitment) != rows * POINT_BYTES:
        raise InvalidProof(f"a commitment of {len(commitment)} bytes; {rows} points of {POINT_BYTES} are needed")
    return decode_remembered(commitment)


@lru_cache(maxsize=MAX_REMEMBERED)
def decode_remembered(commitment: bytes) -> tuple[Point, ...]:
    """Return the points whose encodings stand one after the other. Raises `InvalidProof` for what is no point."""
    return decode_points(commitment)


def multiply_commitments(commitments: Sequence[Sequence[Point]], weights: Sequence[int]) -> bytes:
    """Return Enc(w): C_k = sum_i a_i C_ik for every row k. Formula Z2, white paper VI.H."""
    return encode_points([multiply(column, weights) for column in zip(*commitments, strict=True)])
