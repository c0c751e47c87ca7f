"""Exact sums of integer vectors, by numpy: products of limbs that fit 64 bits, so that nothing is rounded or wraps.

A coefficient below 2^128 is 8 limbs of 16 bits, a value its signed upper and unsigned lower 32 bits. So a product is
below 2^48 in size, and a sum of it over `MAX_ROWS` rows below 2^63. No floats, although they would be quicker: numpy
multiplies those by a library that starts threads of its own, which on a busy machine costs ten times what it saves.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

LIMB_BITS = 16
COEFFICIENT_LIMBS = 8
HALF_BITS = 32
MAX_ROWS = 2**15

Vector32 = NDArray[np.int32]
Vector64 = NDArray[np.int64]


def to_rows(values: Vector32 | Vector64, width: int) -> Vector32 | Vector64:
    """Return the values (d,) as rows (K, width), the last padded with zeros."""
    rows = -(-len(values) // width)
    padded = np.zeros(rows * width, values.dtype)
    padded[: len(values)] = values
    return padded.reshape(rows, width)


def combine_rows(coefficients: Sequence[int], vectors: Sequence[Vector32 | Vector64], *, width: int) -> list[int]:
    """Return sum_k c_k row_k, exactly, as integers (width,), over the rows of all vectors (d,) in order.

    Coefficients are below 2^128. There must be one for each row, the padded last one of each vector included.
    """
    assert sum(-(-len(vector) // width) for vector in vectors) == len(coefficients), "a coefficient for each row"
    limbs, total, start = _coefficient_limbs(coefficients), [0] * width, 0
    for vector in vectors:
        rows = to_rows(vector, width)
        combined = _combine(limbs[:, start : start + len(rows)], rows)
        total = [value + part for value, part in zip(total, combined, strict=True)]
        start += len(rows)
    return total


def _coefficient_limbs(coefficients: Sequence[int]) -> Vector64:
    """Return the limbs (8, N), lowest first."""
    encoded = b"".join(value.to_bytes(COEFFICIENT_LIMBS * LIMB_BITS // 8, "little") for value in coefficients)
    return np.frombuffer(encoded, "<u2").reshape(-1, COEFFICIENT_LIMBS).T.astype(np.int64)


def _combine(limbs: Vector64, rows: Vector32 | Vector64) -> list[int]:
    """Return the sums (width,) over the rows (K, width) of one vector, given the limbs (8, K) of their coefficients."""
    assert len(rows) <= MAX_ROWS, f"{len(rows)} rows, {MAX_ROWS} at most"
    combined = [0] * rows.shape[1]
    for half_shift, half in _halves(rows):
        for limb, sums in enumerate((limbs @ half).tolist()):
            shift = half_shift + LIMB_BITS * limb
            combined = [value + (part << shift) for value, part in zip(combined, sums, strict=True)]
    return combined


def _halves(rows: Vector32 | Vector64) -> Iterator[tuple[int, Vector64]]:
    """Yield what to shift by, and values of at most 32 bits (K, width), that add up to the rows."""
    if rows.dtype == np.int32:
        yield 0, rows.astype(np.int64)
    else:
        yield 0, rows & np.int64(2**HALF_BITS - 1)
        yield HALF_BITS, rows >> np.int64(HALF_BITS)
