"""Exact sums of integer vectors, by numpy: products of limbs in float64 that never need rounding.

A coefficient below 2^128 is 8 limbs of 16 bits, a signed 64-bit value 4, of which the highest keeps the sign. So a
product of limbs is below 2^32, a sum of `BLOCK_ROWS` of them below 2^40, far from the 2^53 up to which every integer is
a float64: however a matrix product orders its additions, it is exact. Blocks also bound the memory: 2 MiB a limb.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

LIMB_BITS = 16
COEFFICIENT_LIMBS = 8
BLOCK_ROWS = 256
# Limbs of a value: 2 for int32, 4 for int64.
_LIMB_MASK = 2**LIMB_BITS - 1
# Block sums below 2^40 add up to less than 2^63.
MAX_BLOCKS = 2**22

Vector32 = NDArray[np.int32]
Vector64 = NDArray[np.int64]


def to_rows(values: Vector32 | Vector64, width: int) -> Vector32 | Vector64:
    """Return the values (d,) as rows (K, width), the last padded with zeros."""
    rows = -(-len(values) // width)
    if len(values) == rows * width:
        return values.reshape(rows, width)
    padded = np.zeros(rows * width, values.dtype)
    padded[: len(values)] = values
    return padded.reshape(rows, width)


def combine_rows(coefficients: Sequence[int], vectors: Sequence[Vector32 | Vector64], *, width: int) -> list[int]:
    """Return sum_k c_k row_k, exactly, as integers (width,), over the rows of all vectors (d,) in order.

    Coefficients are below 2^128. There must be one for each row, the padded last one of each vector included.
    """
    assert sum(-(-len(vector) // width) for vector in vectors) == len(coefficients), "a coefficient for each row"
    limbs = _coefficient_limbs(coefficients)
    total = np.zeros((4, COEFFICIENT_LIMBS, width), np.int64)
    for count, (start, block) in enumerate(_iterate_blocks(vectors, width)):
        assert count < MAX_BLOCKS, "too many rows"
        factors = limbs[:, start : start + len(block)]
        for place, limb in enumerate(_value_limbs(block)):
            total[place] += (factors @ limb).astype(np.int64)
    return _join_limbs(total)


def _coefficient_limbs(coefficients: Sequence[int]) -> NDArray[np.float64]:
    """Return the limbs (8, N), lowest first."""
    encoded = b"".join(value.to_bytes(2 * COEFFICIENT_LIMBS, "little") for value in coefficients)
    return np.frombuffer(encoded, "<u2").reshape(-1, COEFFICIENT_LIMBS).T.astype(np.float64)


def _iterate_blocks(vectors: Sequence[Vector32 | Vector64], width: int) -> Iterator[tuple[int, Vector32 | Vector64]]:
    """Yield blocks of rows (B, width), each with the number of its first row; no vector is copied as a whole."""
    start = 0
    for vector in vectors:
        for at in range(0, len(vector), BLOCK_ROWS * width):
            block = to_rows(vector[at : at + BLOCK_ROWS * width], width)
            yield start, block
            start += len(block)


def _value_limbs(block: Vector32 | Vector64) -> Iterator[NDArray[np.float64]]:
    """Yield the limbs (K, width) of values, lowest first; the last is signed."""
    count = block.dtype.itemsize * 8 // LIMB_BITS
    for place in range(count):
        shifted = block >> (LIMB_BITS * place)
        yield (shifted if place == count - 1 else shifted & _LIMB_MASK).astype(np.float64)


def _join_limbs(total: NDArray[np.int64]) -> list[int]:
    """Return the integers (width,) whose limb products these are, by place of the value and of the coefficient."""
    joined = [0] * total.shape[2]
    for place, factors in enumerate(total.tolist()):
        for limb, sums in enumerate(factors):
            shift = LIMB_BITS * (place + limb)
            joined = [value + (part << shift) for value, part in zip(joined, sums, strict=True)]
    return joined
