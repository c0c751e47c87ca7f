"""Training: gradient descent in batches, the same bytes for the same job, however often it was interrupted (V.C)."""

import math
import time
from pathlib import Path

import torch
from torch import nn

from flocknode.jobs import DIVERGED, Paused, ProgressReport, Train, Trained
from flocknode.learning.checkpoints import Descent, Training, digest_job
from flocknode.learning.datasets import Dataset, check_fit, load_dataset
from flocknode.learning.device import get_device
from flocknode.learning.errors import LearningError
from flocknode.learning.evaluate import compute_outputs
from flocknode.learning.families import build_model
from flocknode.learning.formulas import (
    MILLION,
    accuracy,
    adam_step,
    cross_entropy,
    gradient_step,
    loss,
    r_squared,
    to_millionths,
)
from flocknode.learning.weights import load_weights, save_weights

# How much of a training an interruption costs at most.
CHECKPOINT_S = 5.0
# The decay of the loss that is told while training runs.
LOSS_DECAY = 0.9


def train_model(job: Train, report: ProgressReport) -> Trained | Paused:
    """Train on the job's dataset, write the weights, and say how they do on that dataset."""
    torch.manual_seed(job.settings.seed)
    module = build_model(job.model)
    if job.initial is not None:
        load_weights(module, Path(job.initial))
    ended = train_module(module, job, report)
    if isinstance(ended, Trained):
        save_weights(module, Path(job.output))
    return ended


def train_module(module: nn.Module, job: Training, report: ProgressReport) -> Trained | Paused:
    """Train a module from where it is, and say how it does on the job's dataset; raises `LearningError` if it diverged.

    The module ends on the accelerator when there is one.
    """
    device = get_device()
    dataset = load_dataset(Path(job.dataset), device)
    module.to(device)
    check_fit(module, dataset)
    descent = Descent.begin(module, job, device)
    total = job.settings.passes * count_batches(dataset, job)
    if descend(descent, dataset, job, total, report):
        return Paused(descent.steps, total)
    outputs = compute_outputs(module, dataset.features)
    if not all(torch.isfinite(tensor).all() for tensor in (outputs, *module.state_dict().values())):
        raise LearningError(f"{DIVERGED}: lower the learning rate")
    name, measure = ("accuracy", accuracy) if dataset.is_classes else ("r2", r_squared)
    if dataset.is_sequences:
        name, measure = "loss", cross_entropy
    return Trained(
        rows=dataset.rows,
        loss_millionths=to_millionths(float(loss(outputs, dataset.targets))),
        metric=name,
        metric_millionths=measure(outputs, dataset.targets),
    )


def count_batches(dataset: Dataset, job: Training) -> int:
    """Return the steps of one pass over the data."""
    return -(-dataset.rows // job.settings.batch_size)


def descend(descent: Descent, dataset: Dataset, job: Training, total: int, report: ProgressReport) -> bool:
    """Take the steps that are left; returns whether it stopped before the last, to make room for another job.

    One step per batch; every pass visits each row once, in an order drawn from the seed.
    """
    checkpoint = None if job.checkpoint is None else Path(job.checkpoint)
    digest = digest_job(job)
    if checkpoint is not None:
        descent.resume(checkpoint, digest)
    report(descent.steps, total, None)
    saved_at = time.monotonic()
    generator = torch.Generator().manual_seed(job.settings.seed)
    seen = 0
    for _ in range(job.settings.passes):
        order = torch.randperm(dataset.rows, generator=generator).to(dataset.features.device)
        for rows in order.split(job.settings.batch_size):
            seen += 1
            if seen <= descent.steps:
                continue
            take_step(descent, dataset.features[rows], dataset.targets[rows], job)
            is_asked = report(descent.steps, total, read_loss(descent))
            is_pausing = is_asked and checkpoint is not None and seen < total
            if checkpoint is not None and (is_pausing or time.monotonic() - saved_at >= CHECKPOINT_S):
                descent.save(checkpoint, digest)
                saved_at = time.monotonic()
            if is_pausing:
                return True
    return False


def read_loss(descent: Descent) -> int:
    """Return the training's loss in millionths; raises `LearningError` once it is no number."""
    value = float(descent.loss)
    if not math.isfinite(value):
        raise LearningError(f"{DIVERGED} after {descent.steps} steps: lower the learning rate")
    return to_millionths(value)


def take_step(descent: Descent, features: torch.Tensor, targets: torch.Tensor, job: Training) -> None:
    """Take one step of the job's rule along a batch."""
    rate = job.settings.learning_rate_millionths / MILLION
    batch_loss = loss(descent.module(features), targets)
    batch_loss.backward()
    descent.steps += 1
    if job.settings.optimizer == "adam":
        adam_step(descent.module, descent.moments, descent.steps, rate)
    else:
        gradient_step(descent.module, rate)
    share = 1 - LOSS_DECAY if descent.steps > 1 else 1.0
    descent.loss.lerp_(batch_loss.detach(), share)
