"""The aggregation rules: known answers, exactness against Python's own integers, order, ties and threads."""

import json
import math
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from flocknode.jobs import AGGREGATION_RULES, AggregationRule
from flocknode.learning.aggregate import (
    MAX_TOTAL_WEIGHT,
    NU,
    RULES,
    WEISZFELD_STEPS,
    divide,
    fedavg,
    fit_weights,
    geometric_median,
    krum,
    median,
    multi_krum,
    rank_by_neighbours,
    squared_distance,
    trimmed_mean,
    weiszfeld,
)
from flocknode.learning.fixed_point import MAX_MAGNITUDE, ONE

VECTORS: dict[str, Any] = json.loads((Path(__file__).parents[2] / "vectors/aggregation.json").read_text())
MAX = MAX_MAGNITUDE

exactly = settings(max_examples=60, deadline=None)
integers = st.one_of(st.integers(-MAX, MAX), st.integers(-3, 3), st.sampled_from((-MAX, MAX)))
models = st.integers(1, 5).flatmap(
    lambda width: st.lists(st.lists(integers, min_size=width, max_size=width), min_size=1, max_size=9)
)


def _array(rows: list[list[float]]) -> np.ndarray:
    return np.array([[round(value * ONE) for value in row] for row in rows], dtype=np.int32)


def _half_even(number: Fraction) -> int:
    return round(number)


@pytest.mark.parametrize("case", VECTORS["rules"], ids=lambda case: f"{case['rule']}-{case['result'][0]}")
def test_known_answers(case: dict[str, Any]) -> None:
    """Every rule gives what ByzFL gives for its rows; the geometric median gives the point that is meant."""
    result = RULES[case["rule"]](_array(case["rows"]), case["weights"], case["faulty"])
    assert result.dtype == np.int32
    assert (result / ONE).tolist() == case["result"]


def test_three_steps_from_zero_are_what_byzfl_prints() -> None:
    """The same three smoothed steps with nu = 0.1 end at 3.78788764, to the last of the 16 bits."""
    case = VECTORS["weiszfeld"]
    assert pytest.approx(0.1, abs=2**-17) == NU / ONE
    point = weiszfeld(_array(case["rows"]), np.zeros(3, dtype=np.int32), case["steps"])
    assert point.tolist() == case["result_units"]
    assert (point / ONE).tolist() == pytest.approx([3.78788764, 4.78788764, 5.78788764], abs=2**-17)


def test_quotients_are_rounded_half_to_even() -> None:
    """The known answers, on both sides of zero."""
    case = VECTORS["half_even"]
    assert divide(np.array(case["sums"]), case["divisor"]).tolist() == case["quotients"]


def test_every_rule_is_there() -> None:
    """What a job can name is implemented, and nothing else."""
    assert tuple(RULES) == AGGREGATION_RULES


@exactly
@given(models, st.data())
def test_fedavg_is_the_exact_weighted_mean(rows: list[list[int]], data: st.DataObject) -> None:
    """Against fractions, for the largest values and weights that there can be."""
    largest = MAX_TOTAL_WEIGHT // len(rows)
    weights = data.draw(st.lists(st.integers(1, largest), min_size=len(rows), max_size=len(rows)))
    expected = [
        _half_even(Fraction(sum(w * q for w, q in zip(weights, column, strict=True)), sum(weights)))
        for column in zip(*rows, strict=True)
    ]
    assert fedavg(np.array(rows, dtype=np.int32), weights).tolist() == expected


def test_weights_that_could_overflow_are_halved() -> None:
    """Up to 2^32 - 1 in sum weights count as they are; beyond that in the same proportion, none below 1."""
    rows = np.array([[MAX], [MAX]], dtype=np.int32)
    for sign in (1, -1):
        assert fedavg(sign * rows, [2**31, 2**31 - 1]).tolist() == [sign * MAX]
        assert fedavg(sign * rows, [2**63 - 1, 2**63 - 1]).tolist() == [sign * MAX]
    assert fit_weights([2**31, 2**31 - 1]) == [2**31, 2**31 - 1]
    assert fit_weights([2**31, 2**31]) == [2**30, 2**30]
    assert fit_weights([3 * 2**40, 2**40, 5]) == [3 * 2**29, 2**29, 1]


@exactly
@given(models, st.integers(0, 9))
def test_medians_and_trimmed_means_are_exact(rows: list[list[int]], faulty: int) -> None:
    """Against sorted columns of Python's integers; `faulty` counts up to less than half."""
    trimmed = min(faulty, (len(rows) - 1) // 2)
    columns = [sorted(column) for column in zip(*rows, strict=True)]
    kept = [column[trimmed : len(column) - trimmed] for column in columns]
    array = np.array(rows, dtype=np.int32)
    assert trimmed_mean(array, faulty).tolist() == [_half_even(Fraction(sum(c), len(c))) for c in kept]
    middle = [(column[(len(column) - 1) // 2], column[len(column) // 2]) for column in columns]
    assert median(array).tolist() == [_half_even(Fraction(sum(pair), 2)) for pair in middle]


@exactly
@given(models)
def test_squared_distances_are_exact(rows: list[list[int]]) -> None:
    """Beyond 64 bits, against Python's integers."""
    for first in rows:
        expected = sum((a - b) ** 2 for a, b in zip(first, rows[0], strict=True))
        assert squared_distance(np.array(first, dtype=np.int32), np.array(rows[0], dtype=np.int32)) == expected


@exactly
@given(models, st.integers(0, 9))
def test_krum_ranks_as_defined(rows: list[list[int]], faulty: int) -> None:
    """Against the definition on Python's integers: sums over n - f - 1 nearest others, ties to the earlier one."""
    neighbours = len(rows) - min(faulty, (len(rows) - 1) // 2) - 1
    sums = []
    for index, row in enumerate(rows):
        others = [other for place, other in enumerate(rows) if place != index]
        distances = sorted(sum((a - b) ** 2 for a, b in zip(row, other, strict=True)) for other in others)
        sums.append((sum(distances[:neighbours]), index))
    ranked = [index for _, index in sorted(sums)]
    array = np.array(rows, dtype=np.int32)
    assert rank_by_neighbours(array, faulty) == ranked
    assert krum(array, faulty).tolist() == rows[ranked[0]]
    chosen = [rows[index] for index in ranked[: neighbours + 1]]
    expected = [_half_even(Fraction(sum(column), len(chosen))) for column in zip(*chosen, strict=True)]
    assert multi_krum(array, faulty).tolist() == expected


@exactly
@given(models)
def test_weiszfeld_is_exact(rows: list[list[int]]) -> None:
    """Against the same steps on fractions and Python's integers."""
    array = np.array(rows, dtype=np.int32)
    point, largest = median(array).tolist(), max(2**bits for bits in range(32) if len(rows) * 2**bits < 2**32)
    for _ in range(WEISZFELD_STEPS):
        roots = [math.isqrt(sum((a - b) ** 2 for a, b in zip(row, point, strict=True))) for row in rows]
        distances = [max(NU, root) for root in roots]
        weights = [_half_even(Fraction(min(distances) * largest, distance)) for distance in distances]
        point = [
            _half_even(Fraction(sum(w * q for w, q in zip(weights, column, strict=True)), sum(weights)))
            for column in zip(*rows, strict=True)
        ]
    assert geometric_median(array).tolist() == point


@exactly
@given(models, st.randoms(use_true_random=False))
def test_order_matters_to_ties_of_krum_alone(rows: list[list[int]], random: Any) -> None:
    """Shuffled models give the same aggregate; of equal claims, Krum's rules take the earlier model."""
    shuffled = random.sample(rows, len(rows))
    first, second = (np.array(some, dtype=np.int32) for some in (rows, shuffled))
    rules: tuple[AggregationRule, ...] = ("fedavg", "median", "trimmed_mean", "geometric_median")
    for rule in rules:
        equal = [1] * len(rows)
        assert RULES[rule](first, equal, 2).tolist() == RULES[rule](second, equal, 2).tolist()
    mirrored = np.array([[1], [-1]], dtype=np.int32)
    assert krum(mirrored, 0).tolist() == [1]
    assert krum(mirrored[::-1], 0).tolist() == [-1]


def test_an_outlier_moves_robust_rules_little() -> None:
    """Two of seven models far off: all rules but the mean stay where the five are."""
    generator = np.random.default_rng(0)
    rows = generator.integers(-ONE, ONE, (7, 50)).astype(np.int32)
    rows[2:4] = MAX
    for rule, function in RULES.items():
        result = function(rows, [1] * 7, 2)
        assert (np.abs(result).max() < 2 * ONE) == (rule != "fedavg"), rule


def test_the_number_of_threads_does_not_show() -> None:
    """One thread or four, the bytes are the same."""
    rows = np.random.default_rng(1).integers(-MAX, MAX, (7, 20_000)).astype(np.int32)
    found = []
    for threads in (4, 1):
        torch.set_num_threads(threads)
        found.append([function(rows, [3] * 7, 2).tobytes() for function in RULES.values()])
    assert found[0] == found[1]
