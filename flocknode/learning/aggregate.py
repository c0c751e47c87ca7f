"""Aggregation rules on exact integers: models int32 [n, d] become one int32 [d], the same bytes for everybody.

Nothing here is a float, so neither the processor nor the number of threads can show in a result: sums are int64 with
room to spare, squared distances and roots Python's integers, every quotient is rounded half to even. `fedavg` weighs
models (L1, white paper VI.D); the other rules count each model once, since sizes of datasets are the proposers' own
word. The order of the models decides ties of Krum alone, where the earlier one wins: callers sort by the proposers'
addresses.

Definitions are those of the library ByzFL (https://byzfl.epfl.ch), so Krum looks at n - f - 1 neighbours. Of n models
at most f = min(faulty, (n - 1) / 2) can be wrong without deciding, so `faulty` counts no further than that.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from flocknode.jobs import AggregationRule
from flocknode.learning.fixed_point import ONE, Sums, Vector

# Models int32 [n, d].
Models = NDArray[np.int32]

# |q| < 2^31, so that a sum of weighted models stays below 2^63.
MAX_TOTAL_WEIGHT = 2**32 - 1
LIMB_BITS = 16

# Smoothed Weiszfeld: steps, and nu (0.1, as in ByzFL) in units of the vectors.
WEISZFELD_STEPS = 8
NU = round(ONE / 10)


def fedavg(models: Models, weights: Sequence[int]) -> Vector:
    """L1 (VI.D): sum of beta_p theta_p with beta_p = weight / sum of the weights.

    Weights that add up to 2^32 or more, which only lies about sizes can, are halved until they do not.
    """
    fitting = fit_weights(weights)
    sums = np.zeros(models.shape[1], dtype=np.int64)
    for model, weight in zip(models, fitting, strict=True):
        sums += model.astype(np.int64) * weight
    return divide(sums, sum(fitting))


def fit_weights(weights: Sequence[int]) -> list[int]:
    """Return weights of at least 1 as they are, or divided by the least power of 2 that brings their sum below 2^32.

    Rounded down, but not below 1.
    """
    assert all(weight >= 1 for weight in weights), "a model without weight"
    fitting = list(weights)
    while sum(fitting) > MAX_TOTAL_WEIGHT:
        fitting = [max(1, weight // 2) for weight in fitting]
    return fitting


def median(models: Models) -> Vector:
    """Return the median of each coordinate, of an even number the mean of the two in the middle."""
    return trimmed_mean(models, (len(models) - 1) // 2)


def trimmed_mean(models: Models, faulty: int) -> Vector:
    """Return the mean of each coordinate without its f largest and f smallest values."""
    trimmed = _clamp(len(models), faulty)
    kept = np.sort(models, axis=0)[trimmed : len(models) - trimmed]
    return divide(kept.sum(axis=0, dtype=np.int64), len(kept))


def krum(models: Models, faulty: int) -> Vector:
    """Return the model that is nearest to its n - f - 1 nearest others, by the sum of squared distances.

    Blanchard et al. (2017).
    """
    nearest: Vector = models[rank_by_neighbours(models, faulty)[0]].copy()
    return nearest


def multi_krum(models: Models, faulty: int) -> Vector:
    """Return the mean of the n - f models that are first by Krum's order."""
    chosen = rank_by_neighbours(models, faulty)[: len(models) - _clamp(len(models), faulty)]
    return divide(models[chosen].sum(axis=0, dtype=np.int64), len(chosen))


def geometric_median(models: Models) -> Vector:
    """Return the point whose distances to all models have the least sum, nearly (Pillutla et al., 2019).

    8 smoothed steps of Weiszfeld from the median of the coordinates, with nu = 0.1.
    """
    return weiszfeld(models, median(models), WEISZFELD_STEPS)


def weiszfeld(models: Models, start: Vector, steps: int) -> Vector:
    """Return where so many steps lead from a point: each goes to the mean, weighted by 1 / max(nu, distance).

    Distances are integer roots, rounded down; nu is 6554 (0.1). The nearest model's weight is 2^b, with the largest b
    for which n of them stay below 2^32; the others' are rounded half to even, and so is every point.
    """
    point, bits = start, 32 - len(models).bit_length()
    for _ in range(steps):
        distances = [max(NU, math.isqrt(squared_distance(model, point))) for model in models]
        nearest = min(distances) << bits
        weights = [_divide_integer(nearest, distance) for distance in distances]
        near = [index for index, weight in enumerate(weights) if weight]
        point = fedavg(models[near], [weights[index] for index in near])
    return point


def rank_by_neighbours(models: Models, faulty: int) -> list[int]:
    """Return the models' indices by the sum of squared distances to their n - f - 1 nearest others, ties by index."""
    count = len(models)
    distances = [[0] * count for _ in range(count)]
    for one in range(count):
        for other in range(one):
            distances[one][other] = distances[other][one] = squared_distance(models[one], models[other])
    # The first of a sorted row is a model's distance to itself.
    sums = [sum(sorted(row)[: count - _clamp(count, faulty)]) for row in distances]
    return sorted(range(count), key=lambda index: (sums[index], index))


def squared_distance(first: Vector, second: Vector) -> int:
    """Return the exact sum of (a_j - b_j)^2, which 64 bits do not hold.

    With a - b = 2^16 h + l it is 2^32 sum h^2 + 2^17 sum h l + sum l^2, each sum below 2^32 d.
    """
    difference = first.astype(np.int64) - second
    high, low = difference >> LIMB_BITS, difference & (2**LIMB_BITS - 1)
    squares, mixed, rest = (int(np.dot(a, b)) for a, b in ((high, high), (high, low), (low, low)))
    return (squares << 2 * LIMB_BITS) + (mixed << LIMB_BITS + 1) + rest


def divide(sums: Sums, divisor: int) -> Vector:
    """Return each of the sums divided by a number from 1 to 2^32 - 1, rounded half to even."""
    quotients, remainders = np.divmod(sums, divisor)
    is_odd = (quotients & 1) == 1
    rounds_up = (2 * remainders > divisor) | ((2 * remainders == divisor) & is_odd)
    rounded: Vector = (quotients + rounds_up).astype(np.int32)
    return rounded


def _divide_integer(dividend: int, divisor: int) -> int:
    quotient, remainder = divmod(dividend, divisor)
    return quotient + (2 * remainder + (quotient & 1) > divisor)


def _clamp(count: int, faulty: int) -> int:
    return min(faulty, (count - 1) // 2)


RULES: dict[AggregationRule, Callable[[Models, Sequence[int], int], Vector]] = {
    "fedavg": lambda models, weights, faulty: fedavg(models, weights),
    "median": lambda models, weights, faulty: median(models),
    "trimmed_mean": lambda models, weights, faulty: trimmed_mean(models, faulty),
    "krum": lambda models, weights, faulty: krum(models, faulty),
    "multi_krum": lambda models, weights, faulty: multi_krum(models, faulty),
    "geometric_median": lambda models, weights, faulty: geometric_median(models),
}
