"""What a dataset gives away to whoever learned nothing."""

import pytest
import torch

from flocknode.jobs import MeasureBaseline
from flocknode.learning.baseline import measure_baseline
from flocknode.learning.datasets import Dataset, save_dataset
from flocknode.learning.errors import LearningError
from flocknode.learning.evaluate import choose_measure
from protocol.models import METRICS, MetricSpec, to_score

CLASSES = torch.tensor([2, 0, 2, 2, 1, 2, 0, 2])
REALS = torch.tensor([[1.0, 5.0], [2.0, 5.5], [6.0, 9.0]])
# A vocabulary of four, of which one never comes.
TOKENS = torch.tensor([[0, 1, 1, 3], [3, 3, 3, 1]])
FEATURES = {id(CLASSES): torch.zeros(8, 2), id(REALS): torch.zeros(3, 2), id(TOKENS): TOKENS.clone()}


def metric_of(name: str) -> MetricSpec:
    """Return a metric with bounds that leave room on both sides."""
    return MetricSpec(name, METRICS[name], -1_000_000, 19_000_000)


def baseline_of(targets, name, tmp_path) -> int:
    """Return the baseline that the worker measures on targets, for one row of features each."""
    save_dataset(FEATURES[id(targets)], targets, tmp_path / "data")
    return measure_baseline(MeasureBaseline(metric_of(name), str(tmp_path / "data")), lambda done, total: False).score


def constant_outputs(targets) -> torch.Tensor:
    """Return the outputs of a model that answers the same in every place, as well as it can."""
    if not targets.is_floating_point():
        likelihoods = torch.bincount(targets.flatten()).double() / targets.numel()
        return likelihoods.log().clamp(min=-100).expand(*targets.shape, -1)
    return targets.mean(dim=0).expand_as(targets)


@pytest.mark.parametrize(
    ("targets", "name"), [(CLASSES, "accuracy"), (CLASSES, "loss"), (REALS, "mse"), (REALS, "r2"), (TOKENS, "loss")]
)
def test_the_baseline_is_the_score_of_the_best_constant_model(targets, name, tmp_path):
    """What validators would give a model with constant outputs is the baseline, on classes, reals and tokens alike."""
    dataset = Dataset(FEATURES[id(targets)], targets)
    measured = choose_measure(metric_of(name), dataset)(constant_outputs(targets), targets)
    assert abs(baseline_of(targets, name, tmp_path) - to_score(measured, metric_of(name))) <= 1


def test_the_baselines_of_a_small_dataset(tmp_path):
    """By hand: 5 of 8 in the commonest class; the variances 14/3 and 19/6 give 3.916667; R^2 of the mean is 0."""
    assert baseline_of(CLASSES, "accuracy", tmp_path) == to_score(625_000, metric_of("accuracy"))
    assert baseline_of(REALS, "mse", tmp_path) == to_score(3_916_667, metric_of("mse"))
    assert baseline_of(REALS, "r2", tmp_path) == to_score(0, metric_of("r2"))


def test_a_metric_that_does_not_apply_is_refused(tmp_path):
    """Before anything is paid for a task that nobody could judge."""
    with pytest.raises(LearningError, match="does not apply"):
        baseline_of(REALS, "accuracy", tmp_path)
