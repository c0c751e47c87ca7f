"""Public datasets, cut into named parts for trainers and evaluation."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from flocknode.jobs import DatasetFile, DatasetSplit, ProgressReport, SplitDataset
from flocknode.learning.datasets import get_part_names, get_part_sizes, save_dataset
from flocknode.learning.errors import LearningError
from flocknode.learning.sources import load_arrays


def split_dataset(job: SplitDataset, report: ProgressReport) -> DatasetSplit:
    """Write one file per part: together they hold every row once; classes keep their proportions in each part."""
    features, targets = load_arrays(job.name)
    names = get_part_names(job.parts)
    sizes = get_part_sizes(len(features), [part.weight for part in job.parts])
    directory = Path(job.directory)
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, rows in zip(names, _choose_rows(targets, sizes, job.seed), strict=True):
        path = directory / f"{name}.safetensors"
        save_dataset(torch.from_numpy(features[rows]), torch.from_numpy(targets[rows]), path)
        files.append(DatasetFile(part=name, path=str(path), rows=len(rows)))
        report(len(files), len(names))
    return DatasetSplit(tuple(files))


def _choose_rows(targets: NDArray[np.generic], sizes: Sequence[int], seed: int) -> list[NDArray[np.int64]]:
    remaining, chosen = np.arange(len(targets)), []
    for size in sizes[:-1]:
        labels = targets[remaining] if targets.ndim == 1 else None
        try:
            part, remaining = train_test_split(remaining, train_size=size, random_state=seed, stratify=labels)
        except ValueError as error:
            raise LearningError(f"the dataset does not split like this: {error}") from error
        chosen.append(part)
    return [*chosen, remaining]
