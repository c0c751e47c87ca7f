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

CLASS_METRICS = {"accuracy": accuracy}
REAL_METRICS = {"mse": mean_squared_error, "r2": r_squared}


@dataclass(frozen=True)
class _Original:
    tag: bytes
    root: bytes
    outputs: Tensor


def evaluate_submissions(job: Evaluate, report: ProgressReport) -> Evaluated:
    """Judge every submission on the dataset, in the order given; copies point to the first of their cluster."""
    device = get_device()
    dataset = load_dataset(Path(job.dataset), device)
    measure = _choose_measure(job.metric, dataset)
    module = build_model(job.model).to(device)
    check_fit(module, dataset)
    originals: list[_Original] = []
    assessments = []
    for submission in job.submissions:
        root = compute_root(Path(submission.path))
        try:
            outputs = _run_submission(module, Path(submission.path), dataset)
        except UnusableFile as error:
            assessments.append(_invalid(submission, root, error))
        else:
            candidate = _Original(submission.tag, root, to_comparable(outputs, dataset.targets))
            copied = _find_original(candidate, originals, job.near_duplicate_millionths)
            if copied is None:
                originals.append(candidate)
            score = to_score(measure(outputs, dataset.targets), job.metric)
            assessments.append(Assessment(ScoreEntry(submission.tag, Verdict.SCORED, score, root, copied), ""))
        report(len(assessments), len(job.submissions))
    return Evaluated(tuple(assessments))


def compute_outputs(module: nn.Module, features: Tensor) -> Tensor:
    """Return the outputs [n, k] of features [n, d], batch by batch in their order."""
    module.eval()
    with torch.inference_mode():
        return torch.cat([module(rows) for rows in features.split(BATCH_ROWS)])


def compute_root(path: Path) -> bytes:
    """Return the root that names a file's bytes in clear: that of the blob it would be."""
    with path.open("rb") as file:
        return blob_root([run_root(run) for run in iter(lambda: file.read(RUN_BYTES), b"")])


def _choose_measure(metric: MetricSpec, dataset: Dataset) -> Callable[[Tensor, Tensor], int]:
    check_metric(metric)
    measure = (CLASS_METRICS if dataset.is_classes else REAL_METRICS).get(metric.name)
    if measure is None:
        raise LearningError(f"the metric {metric.name!r} does not apply to the dataset's targets")
    return measure


def _run_submission(module: nn.Module, path: Path, dataset: Dataset) -> Tensor:
    load_weights(module, path)
    outputs = compute_outputs(module, dataset.features)
    if not torch.isfinite(outputs).all():
        raise UnusableFile("the outputs on this dataset are not finite")
    return outputs


def _find_original(candidate: _Original, originals: list[_Original], near_millionths: int) -> bytes | None:
    for original in originals:
        distance = output_distance(candidate.outputs, original.outputs)
        # Equal outputs are a copy at any threshold: a changed header makes another root of the same weights.
        if candidate.root == original.root or distance == 0 or distance * MILLION < near_millionths:
            return original.tag
    return None


def _invalid(submission: Submitted, root: bytes, error: UnusableFile) -> Assessment:
    return Assessment(ScoreEntry(submission.tag, Verdict.INVALID, 0, root, None), shorten(str(error)))
