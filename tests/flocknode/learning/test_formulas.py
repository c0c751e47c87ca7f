"""The equations A1 to A3 and the metrics, against values worked out by hand."""

import math

import pytest
import torch
from torch import nn

from flocknode.learning.formulas import (
    MAX_COMPARED_VALUES,
    accuracy,
    adam_step,
    cross_entropy,
    gradient_step,
    loss,
    make_moments,
    mean_squared_error,
    output_distance,
    r_squared,
    to_comparable,
    to_millionths,
)


def test_a1_loss() -> None:
    """A1: the mean cross-entropy of uniform outputs is ln k, the mean squared error the mean of squares."""
    assert loss(torch.zeros(3, 10), torch.tensor([0, 5, 9])).item() == pytest.approx(math.log(10))
    assert loss(torch.tensor([[1.0], [4.0]]), torch.tensor([[0.0], [2.0]])).item() == pytest.approx(2.5)


def test_a2_gradient_step() -> None:
    """A2: with f(x) = w x, x = 2, y = 3 and w = 1, dL/dw = 2 (2 - 3) 2 = -4, so a step of 0.1 gives w = 1.4."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    loss(module(torch.tensor([[2.0]])), torch.tensor([[3.0]])).backward()
    gradient_step(module, 0.1)
    assert module.weight.item() == pytest.approx(1.4)
    assert module.weight.grad is None


def test_adam_step() -> None:
    """Kingma and Ba's algorithm 1 by hand: gradients -4 and then 2 at a step of 0.1 move w from 1 to 1.1 to 1.1266."""
    module = nn.Linear(1, 1, bias=False)
    nn.init.ones_(module.weight)
    moments = make_moments(module.parameters())
    for step, (gradient, expected) in enumerate(((-4.0, 1.1), (2.0, 1.126624)), start=1):
        module.weight.grad = torch.tensor([[gradient]])
        adam_step(module, moments, step, 0.1)
        assert module.weight.item() == pytest.approx(expected, abs=1e-5)
        assert module.weight.grad is None


def test_cross_entropy() -> None:
    """Uniform outputs cost ln k nats a target, of rows and of sequences; a sure hit nothing, a sure miss much."""
    uniform = round(math.log(4) * 1e6)
    assert cross_entropy(torch.zeros(3, 4), torch.tensor([0, 1, 3])) == uniform
    assert cross_entropy(torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.int64)) == uniform
    assert loss(torch.zeros(2, 5, 4), torch.zeros(2, 5, dtype=torch.int64)).item() == pytest.approx(math.log(4))
    sure = torch.tensor([[100.0, 0.0]])
    assert cross_entropy(sure, torch.tensor([0])) == 0
    assert cross_entropy(sure, torch.tensor([1])) == 100_000_000
    assert accuracy(torch.tensor([[[1.0, 0.0], [0.0, 1.0]]]), torch.tensor([[0, 0]])) == 500_000


def test_many_outputs_are_compared_by_evenly_spaced_rows() -> None:
    """What is kept of a model's outputs is bounded, and two models still differ by as much."""
    outputs = torch.randn(4096, 1024, generator=torch.Generator().manual_seed(0))
    targets = torch.zeros(4096, dtype=torch.int64)
    first, second = to_comparable(outputs, targets), to_comparable(outputs + 0.01 * outputs.roll(1, 1), targets)
    assert first.numel() == MAX_COMPARED_VALUES
    assert output_distance(first, second) == pytest.approx(0.01 * math.sqrt(2 / math.pi), rel=0.05)


def test_a3_accuracy() -> None:
    """A3: two of three right is 666,666 millionths; on a tie the lower class is the prediction."""
    outputs = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    assert accuracy(outputs, torch.tensor([0, 1, 1])) == 666_666
    assert accuracy(outputs, torch.tensor([0, 1, 0])) == 1_000_000


def test_metrics_of_regression() -> None:
    """The mean predicts with R^2 0, the truth with 1, worse than the mean is negative; columns count equally."""
    targets = torch.tensor([[1.0], [2.0], [3.0]])
    assert r_squared(torch.full((3, 1), 2.0), targets) == 0
    assert r_squared(targets, targets) == 1_000_000
    assert r_squared(targets.flip(0), targets) == -3_000_000
    assert r_squared(torch.ones(3, 1), torch.ones(3, 1)) == 1_000_000
    assert r_squared(torch.zeros(3, 1), torch.ones(3, 1)) == 0
    two = torch.cat([targets, targets], dim=1)
    assert r_squared(torch.cat([targets, torch.full((3, 1), 2.0)], dim=1), two) == 500_000
    assert mean_squared_error(torch.zeros(3, 1), targets) == 4_666_667


def test_millionths_are_clipped() -> None:
    """A wild loss becomes the largest value that a metric's bounds can express."""
    assert to_millionths(1e30) == 10**12
    assert to_millionths(-1e30) == -(10**12)


def test_disguised_outputs_are_recognised() -> None:
    """Scaling all logits, or shifting a row of them, changes no prediction and no distance; another model differs."""
    generator = torch.Generator().manual_seed(0)
    outputs, other = torch.randn(50, 10, generator=generator), torch.randn(50, 10, generator=generator)
    targets = torch.zeros(50, dtype=torch.int64)
    disguised = outputs * 7 + torch.randn(50, 1, generator=generator)
    plain = to_comparable(outputs, targets)
    assert output_distance(plain, to_comparable(disguised, targets)) < 1e-6
    assert output_distance(plain, to_comparable(other, targets)) > 0.5


def test_constant_outputs_compare() -> None:
    """A model without an opinion has finite comparable outputs, and so has any model on constant targets."""
    classes = torch.zeros(3, dtype=torch.int64)
    assert torch.equal(to_comparable(torch.ones(3, 4), classes), torch.zeros(3, 4, dtype=torch.float64))
    assert output_distance(to_comparable(torch.ones(3, 1), torch.ones(3, 1)), torch.zeros(3, 1)) == 1
