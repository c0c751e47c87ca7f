"""The white paper's equations of learning (V.C, V.D; tags A1 A2 A3), and the metrics of regression.

Shapes: outputs [n, k]; targets int64 [n] for classes, float32 [n, k] for real values. For sequences of t tokens
outputs [n, t, k] and targets int64 [n, t]: each token is a class.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

MILLION = 1_000_000
MAX_MILLIONTHS = 10**12

# Kingma & Ba, "Adam" (ICLR 2015): decay of both moments, and what keeps a division from zero.
FIRST_DECAY = 0.9
SECOND_DECAY = 0.999
EPSILON = 1e-8

# More of two models' outputs than this says nothing new about how far they are apart.
MAX_COMPARED_VALUES = 2**20


def loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """A1 (V.C): L = 1/N sum l(f(x_i), y_i), with l the cross-entropy on classes, the squared error on real values."""
    if targets.dtype == torch.int64:
        return functional.cross_entropy(outputs.flatten(end_dim=-2), targets.flatten())
    return functional.mse_loss(outputs, targets)


def gradient_step(module: nn.Module, learning_rate: float) -> None:
    """A2 (V.C): theta_new = theta_old - eta grad L, for the gradients that the last backward pass left; clears them."""
    with torch.no_grad():
        for parameter in module.parameters():
            if parameter.grad is not None:
                parameter.sub_(parameter.grad, alpha=learning_rate)
                parameter.grad = None


@dataclass(frozen=True)
class Moments:
    """What Adam remembers of one parameter's gradients: the decayed means of them and of their squares."""

    first: Tensor
    second: Tensor


def make_moments(parameters: Iterable[Tensor]) -> list[Moments]:
    """Return the moments before the first step."""
    return [Moments(torch.zeros_like(one), torch.zeros_like(one)) for one in parameters]


def adam_step(module: nn.Module, moments: list[Moments], step: int, learning_rate: float) -> None:
    """Adam's algorithm 1 for its `step`-th step (from 1), with the gradients of the last backward pass; clears them.

    By hand: torch's own optimisers load its compiler, which costs each worker 2 s and 70 MB.
    """
    first_scale = learning_rate / (1 - FIRST_DECAY**step)
    second_scale = 1 / math.sqrt(1 - SECOND_DECAY**step)
    with torch.no_grad():
        for parameter, moment in zip(module.parameters(), moments, strict=True):
            if parameter.grad is not None:
                moment.first.mul_(FIRST_DECAY).add_(parameter.grad, alpha=1 - FIRST_DECAY)
                moment.second.mul_(SECOND_DECAY).addcmul_(parameter.grad, parameter.grad, value=1 - SECOND_DECAY)
                size = moment.second.sqrt().mul_(second_scale).add_(EPSILON)
                parameter.addcdiv_(moment.first, size, value=-first_scale)
                parameter.grad = None


def accuracy(outputs: Tensor, targets: Tensor) -> int:
    """A3 (V.D): the share of targets that have the largest output, in millionths, rounded down. Exact."""
    correct = int((outputs.argmax(dim=-1) == targets).sum())
    return correct * MILLION // targets.numel()


def cross_entropy(outputs: Tensor, targets: Tensor) -> int:
    """Return A1 on classes: the mean of -ln of what softmax gives each target, in millionths of a nat."""
    likelihoods = functional.log_softmax(outputs.double(), dim=-1).gather(-1, targets.unsqueeze(-1))
    return to_millionths(-float(likelihoods.mean()))


def mean_squared_error(outputs: Tensor, targets: Tensor) -> int:
    """Return the mean of (f(x_i) - y_i)^2 in millionths."""
    return to_millionths(float((outputs.double() - targets.double()).square().mean()))


def r_squared(outputs: Tensor, targets: Tensor) -> int:
    """Return R^2 = 1 - residual / total variance in millionths, the mean over the columns of the targets.

    A column without variance counts 1 when it is met exactly and 0 otherwise, as in scikit-learn.
    """
    wanted = targets.double()
    residual = (outputs.double() - wanted).square().sum(dim=0)
    total = (wanted - wanted.mean(dim=0)).square().sum(dim=0)
    explained = torch.where(total > 0, 1 - residual / total, (residual == 0).double())
    return to_millionths(float(explained.mean()))


def to_millionths(value: float) -> int:
    """Return a finite value in millionths, rounded to nearest and clipped to what a metric's bounds can express."""
    return round(min(max(value * MILLION, -MAX_MILLIONTHS), MAX_MILLIONTHS))


def to_comparable(outputs: Tensor, targets: Tensor) -> Tensor:
    """Return outputs in a form in which the same model looks the same, however its author disguised it.

    On classes only differences between a row's outputs matter, and their common scale changes no prediction: rows are
    centred and the whole divided by its root mean square. Real outputs are measured in deviations of the targets. Of
    many rows, evenly spaced ones are taken.
    """
    stride = math.ceil(outputs.numel() / MAX_COMPARED_VALUES)
    values = outputs[::stride].double()
    if targets.dtype == torch.int64:
        values = values - values.mean(dim=-1, keepdim=True)
        scale = values.square().mean().sqrt()
    else:
        scale = targets.double().std(dim=0, correction=0)
    return values / torch.where(scale > 0, scale, 1.0)


def output_distance(first: Tensor, second: Tensor) -> float:
    """Return the mean absolute difference of two models' comparable outputs on the same rows."""
    return float((first - second).abs().mean())
