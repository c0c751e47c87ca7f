"""Blind evaluation: a score per submission, and who copied whom (white paper V.D; arena.md "Validators").

A file that cannot be used is a verdict with its reason, never a failure of the job.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from flocknode.jobs import Assessment, Evaluate, Evaluated, ProgressReport, Submitted, shorten
from flocknode.learning.datasets import Dataset, check_fit, load_dataset
from flocknode.learning.device import get_device
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.formulas import (
    MILLION,
    accuracy,
    cross_entropy,
    mean_squared_error,
    output_distance,
    r_squared,
    to_comparable,
)
from flocknode.learning.weights import load_weights
from protocol.blobs import RUN_BYTES, blob_root, run_root
from protocol.models import MetricSpec, check_metric, to_score
from protocol.transactions import ScoreEntry, Verdict

# Fixed, because the order of additions inside a batch is part of the result.
BATCH_ROWS = 1024
BATCH_TOKENS = 16_384

CLASS_METRICS = {"accuracy": accuracy, "loss": cross_entropy}
REAL_METRICS = {"mse": mean_squared_error, "r2": r_squared}


@dataclass(frozen=True)
class _Original:
    tag: bytes
    root: bytes
    outputs: Tensor
    score: int


def evaluate_submissions(job: Evaluate, report: ProgressReport) -> Evaluated:
    """Judge every submission on the dataset, in the order given; copies point to the first of their cluster.

    The models that were opened earlier come before all of them.
    """
    device = get_device()
    dataset = load_dataset(Path(job.dataset), device)
    measure = choose_measure(job.metric, dataset)
    module = build_model(job.model).to(device)
    check_fit(module, dataset)
    earlier = _run_earlier(module, job, dataset, measure)
    originals: list[_Original] = []
    assessments = []
    for submission in job.submissions:
        root = compute_root(Path(submission.path))
        try:
            outputs = run_submission(module, Path(submission.path), dataset)
        except UnusableFile as error:
            assessments.append(_invalid(submission, root, error))
        else:
            score = to_score(measure(outputs, dataset.targets), job.metric)
            candidate = _Original(submission.tag, root, to_comparable(outputs, dataset.targets), score)
            # Of two models of this epoch the log holds both scores, and decides whether one beats the other.
            unbeaten = [original for original in earlier if score < original.score + job.min_improvement_millionths]
            copied = _find_original(candidate, [*unbeaten, *originals], job.near_duplicate_millionths)
            if copied is None:
                originals.append(candidate)
            assessments.append(Assessment(ScoreEntry(submission.tag, Verdict.SCORED, score, root, copied), ""))
        report(len(assessments), len(job.submissions))
    return Evaluated(tuple(assessments))


def compute_outputs(module: nn.Module, features: Tensor) -> Tensor:
    """Return the outputs [n, k] of features [n, d], or [n, t, k] of tokens [n, t], batch by batch in their order."""
    is_tokens = features.dtype == torch.int64
    batch = max(1, BATCH_TOKENS // features.shape[1]) if is_tokens else BATCH_ROWS
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(rows) for rows in features.split(batch)])


def compute_root(path: Path) -> bytes:
    """Return the root that names a file's bytes in clear: that of the blob it would be."""
    with path.open("rb") as file:
        return blob_root([run_root(run) for run in iter(lambda: file.read(RUN_BYTES), b"")])


def choose_measure(metric: MetricSpec, dataset: Dataset) -> Callable[[Tensor, Tensor], int]:
    """Return what computes a metric in millionths; raise `LearningError` if it does not apply to the dataset."""
    check_metric(metric)
    measure = (CLASS_METRICS if dataset.is_classes else REAL_METRICS).get(metric.name)
    if measure is None:
        raise LearningError(f"the metric {metric.name!r} does not apply to the dataset's targets")
    return measure


def run_submission(module: nn.Module, path: Path, dataset: Dataset) -> Tensor:
    """Return the outputs of the weights in a file; raise `UnusableFile` if they are not what was declared."""
    load_weights(module, path)
    return compute_finite_outputs(module, dataset)


def compute_finite_outputs(module: nn.Module, dataset: Dataset) -> Tensor:
    """Return a module's outputs on a dataset; raise `UnusableFile` if they are not finite."""
    outputs = compute_outputs(module, dataset.features)
    if not torch.isfinite(outputs).all():
        raise UnusableFile("the outputs on this dataset are not finite")
    return outputs


def _run_earlier(
    module: nn.Module, job: Evaluate, dataset: Dataset, measure: Callable[[Tensor, Tensor], int]
) -> list[_Original]:
    originals = []
    for submission in job.earlier:
        path = Path(submission.path)
        try:
            outputs = run_submission(module, path, dataset)
        except UnusableFile:
            # It was invalid then, and what nobody can run nobody can copy.
            continue
        score = to_score(measure(outputs, dataset.targets), job.metric)
        comparable = to_comparable(outputs, dataset.targets)
        originals.append(_Original(submission.tag, compute_root(path), comparable, score))
    return originals


def _find_original(candidate: _Original, originals: list[_Original], near_millionths: int) -> bytes | None:
    for original in originals:
        distance = output_distance(candidate.outputs, original.outputs)
        # Equal outputs are a copy at any threshold: a changed header makes another root of the same weights.
        if candidate.root == original.root or distance == 0 or distance * MILLION < near_millionths:
            return original.tag
    return None


def _invalid(submission: Submitted, root: bytes, error: UnusableFile) -> Assessment:
    return Assessment(ScoreEntry(submission.tag, Verdict.INVALID, 0, root, None), shorten(str(error)))
