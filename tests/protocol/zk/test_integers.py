"""Exact sums by limbs, compared with Python's integers."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.zk.integers import MAX_ROWS, combine_rows, to_rows

EXTREMES_32 = [-(2**31), -(2**31) + 1, -65_537, -65_536, -1, 0, 1, 65_535, 65_536, 2**31 - 1]
EXTREMES_64 = [-(2**63), -(2**48) - 1, -(2**48), *EXTREMES_32, 2**48 - 1, 2**48, 2**63 - 1]
coefficients = st.one_of(st.integers(0, 2**128 - 1), st.sampled_from([0, 1, 65_535, 65_536, 2**128 - 1]))


def by_hand(factors: Sequence[int], vectors: Sequence[Any], width: int) -> list[int]:
    """Return the same sums in Python's integers."""
    padded = [vector.tolist() + [0] * (-len(vector) % width) for vector in vectors]
    rows = [vector[at : at + width] for vector in padded for at in range(0, len(vector), width)]
    return [
        sum(factor * value for factor, value in zip(factors, column, strict=True)) for column in zip(*rows, strict=True)
    ]


@settings(max_examples=50)
@given(data=st.data(), bits=st.sampled_from([32, 64]), sizes=st.lists(st.integers(1, 12), min_size=1, max_size=3))
def test_sums_are_exact(data: st.DataObject, bits: int, sizes: list[int]) -> None:
    """Any coefficients below 2^128 and any values, the extremes above all, over vectors whose last rows are padded."""
    kind, extremes = (np.int32, EXTREMES_32) if bits == 32 else (np.int64, EXTREMES_64)
    value = st.one_of(st.sampled_from(extremes), st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1))
    vectors = [np.array(data.draw(st.lists(value, min_size=size, max_size=size)), kind) for size in sizes]
    rows = sum(-(-size // 3) for size in sizes)
    factors = data.draw(st.lists(coefficients, min_size=rows, max_size=rows))
    assert combine_rows(factors, vectors, width=3) == by_hand(factors, vectors, 3)


@pytest.mark.parametrize("kind", [np.int32, np.int64])
def test_the_largest_sums_are_exact(kind: Any) -> None:
    """All limbs at their largest, of both signs, over as many rows as one vector may have."""
    limits = np.iinfo(kind)
    vector = np.array([limits.min, limits.max] * MAX_ROWS, kind)[:-1]
    factors = [2**128 - 1] * (2 * MAX_ROWS)
    assert combine_rows(factors, [vector, vector], width=2) == by_hand(factors, [vector, vector], 2)
    with pytest.raises(AssertionError, match="32769 rows"):
        combine_rows([0] * (MAX_ROWS + 1), [np.zeros(MAX_ROWS + 1, kind)], width=1)


@pytest.mark.parametrize("count", [1, 3])
def test_a_coefficient_for_each_row(count: int) -> None:
    """Fewer or more are a bug."""
    with pytest.raises(AssertionError, match="a coefficient for each row"):
        combine_rows([1] * count, [np.zeros(4, np.int32)], width=3)


@pytest.mark.parametrize(("count", "rows"), [(1, 1), (3, 1), (4, 2), (6, 2), (7, 3)])
def test_values_become_rows_padded_with_zeros(count: int, rows: int) -> None:
    """Row by row, in order, zeros at the end."""
    values = np.arange(1, count + 1, dtype=np.int32)
    made = to_rows(values, 3)
    assert made.shape == (rows, 3)
    assert made.flatten().tolist() == [*range(1, count + 1), *[0] * (3 * rows - count)]
