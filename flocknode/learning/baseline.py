"""What a dataset gives away to whoever learned nothing: the score of the best constant answer (arena.md "Attacks").

The commonest class for the accuracy, how frequent each class or token is for the loss, the mean of real targets.
"""

from pathlib import Path

import torch
from torch import Tensor

from flocknode.jobs import Baseline, MeasureBaseline, ProgressReport
from flocknode.learning.datasets import load_dataset
from flocknode.learning.evaluate import choose_measure
from flocknode.learning.formulas import MILLION, mean_squared_error, r_squared, to_millionths
from protocol.models import to_score


def measure_baseline(job: MeasureBaseline, report: ProgressReport) -> Baseline:
    """Return the score of the constant answer that does best on a dataset; the scale is that of submissions."""
    dataset = load_dataset(Path(job.dataset), torch.device("cpu"))
    choose_measure(job.metric, dataset)
    baseline = Baseline(to_score(CONSTANTS[job.metric.name](dataset.targets), job.metric))
    report(1, 1)
    return baseline


def constant_accuracy(targets: Tensor) -> int:
    """Return the share of the commonest class or token, in millionths, rounded down."""
    return int(torch.bincount(targets.flatten()).max()) * MILLION // targets.numel()


def constant_loss(targets: Tensor) -> int:
    """Return the entropy of the classes or tokens in millionths of a nat: the loss of saying how frequent each is."""
    counts = torch.bincount(targets.flatten()).double()
    return to_millionths(float(torch.special.entr(counts / targets.numel()).sum()))


def constant_error(targets: Tensor) -> int:
    """Return the mean squared error of the mean target [k] on targets [n, k], in millionths."""
    return mean_squared_error(targets.double().mean(dim=0).expand_as(targets), targets)


def constant_r_squared(targets: Tensor) -> int:
    """Return R^2 of the mean target [k] on targets [n, k], in millionths: 0 where no column has one value only."""
    return r_squared(targets.double().mean(dim=0).expand_as(targets), targets)


CONSTANTS = {
    "accuracy": constant_accuracy,
    "loss": constant_loss,
    "mse": constant_error,
    "r2": constant_r_squared,
}
