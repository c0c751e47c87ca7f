"""The models of an alliance: how one begins, how a proposer improves it, how updates become one (VI.C, VI.D).

All of them are fixed-point files; only training itself computes with floats.
"""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from flocknode.jobs import (
    DIVERGED,
    Aggregated,
    AggregateUpdates,
    MakeModel,
    Paused,
    ProgressReport,
    Quantised,
    QuantiseWeights,
    Refused,
    Trained,
    TrainUpdate,
    shorten,
)
from flocknode.learning.aggregate import RULES
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import MAX_MAGNITUDE, ONE, dequantise, load_fixed, quantise, save_fixed
from flocknode.learning.train import train_module
from flocknode.learning.weights import get_module_shapes, load_weights


def make_model(job: MakeModel, report: ProgressReport) -> Quantised:
    """Write a model as torch initialises it from the job's seed."""
    torch.manual_seed(job.seed)
    return _write_model(build_model(job.model), Path(job.output), report)


def quantise_weights(job: QuantiseWeights, report: ProgressReport) -> Quantised:
    """Write the fixed-point form of float32 weights; raises `UnusableFile` when the source is no such file."""
    module = build_model(job.model)
    load_weights(module, Path(job.source))
    return _write_model(module, Path(job.output), report)


def train_update(job: TrainUpdate, report: ProgressReport) -> Trained | Paused:
    """Train from the alliance's model on one's own data, and write the update.

    Raises `LearningError` when training diverged, be it to weights that fixed point does not hold.
    """
    module = build_model(job.model)
    dequantise(load_fixed(Path(job.start), get_module_shapes(module)), module)
    torch.manual_seed(job.settings.seed)
    ended = train_module(module, job, report)
    if isinstance(ended, Trained):
        vector, clipped = quantise(module)
        if clipped:
            bound = (MAX_MAGNITUDE + 1) // ONE
            raise LearningError(f"{DIVERGED}: {clipped} weights beyond {bound:,}; lower the learning rate")
        save_fixed(vector, get_module_shapes(module), Path(job.output))
    return ended


def aggregate_updates(job: AggregateUpdates, report: ProgressReport) -> Aggregated:
    """Write what the job's rule makes of the updates, and name those that are no models; all others count.

    Raises `LearningError` when none is left.
    """
    shapes = get_module_shapes(build_model(job.model))
    vectors, weights, refused = [], [], []
    for index, update in enumerate(job.updates):
        try:
            vectors.append(load_fixed(Path(update.path), shapes))
            weights.append(update.weight)
        except UnusableFile as error:
            refused.append(Refused(index, shorten(str(error))))
        report(index, len(job.updates))
    if not vectors:
        raise LearningError(f"none of {len(refused)} updates is a model of the declared shape: {refused[0].reason}")
    save_fixed(RULES[job.rule](np.stack(vectors), weights, job.faulty), shapes, Path(job.output))
    report(len(job.updates), len(job.updates))
    return Aggregated(tuple(refused))


def _write_model(module: nn.Module, output: Path, report: ProgressReport) -> Quantised:
    vector, clipped = quantise(module)
    save_fixed(vector, get_module_shapes(module), output)
    report(1, 1)
    return Quantised(parameters=len(vector), clipped=clipped)
