"""Training: plain gradient descent in batches, the same bytes for the same job (white paper V.C)."""

from pathlib import Path

import torch
from torch import nn

from flocknode.jobs import ProgressReport, Train, Trained, TrainSettings
from flocknode.learning.datasets import Dataset, check_fit, load_dataset
from flocknode.learning.device import get_device
from flocknode.learning.errors import LearningError
from flocknode.learning.evaluate import compute_outputs
from flocknode.learning.families import build_model
from flocknode.learning.formulas import MILLION, accuracy, gradient_step, loss, r_squared, to_millionths
from flocknode.learning.weights import load_weights, save_weights


def train_model(job: Train, report: ProgressReport) -> Trained:
    """Train on the job's dataset, write the weights, and say how they do on that dataset."""
    device = get_device()
    dataset = load_dataset(Path(job.dataset), device)
    torch.manual_seed(job.settings.seed)
    module = build_model(job.model)
    if job.initial is not None:
        load_weights(module, Path(job.initial))
    module.to(device)
    check_fit(module, dataset)
    descend(module, dataset, job.settings, report)
    outputs = compute_outputs(module, dataset.features)
    if not all(torch.isfinite(tensor).all() for tensor in (outputs, *module.state_dict().values())):
        raise LearningError("training diverged: lower the learning rate")
    save_weights(module, Path(job.output))
    measure, metric = (accuracy, "accuracy") if dataset.is_classes else (r_squared, "r2")
    return Trained(
        rows=dataset.rows,
        loss_millionths=to_millionths(float(loss(outputs, dataset.targets))),
        metric=metric,
        metric_millionths=measure(outputs, dataset.targets),
    )


def descend(module: nn.Module, dataset: Dataset, settings: TrainSettings, report: ProgressReport) -> None:
    """Take one gradient step per batch; every pass visits each row once, in an order drawn from the seed."""
    generator = torch.Generator().manual_seed(settings.seed)
    for finished in range(settings.passes):
        order = torch.randperm(dataset.rows, generator=generator).to(dataset.features.device)
        for rows in order.split(settings.batch_size):
            loss(module(dataset.features[rows]), dataset.targets[rows]).backward()
            gradient_step(module, settings.learning_rate_millionths / MILLION)
        report(finished + 1, settings.passes)
