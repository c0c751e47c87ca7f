"""Public datasets, cut into named parts for trainers and evaluation. The only importer of scikit-learn."""

from collections.abc import Sequence
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_digits
from sklearn.model_selection import train_test_split

from flocknode.jobs import DatasetFile, DatasetSplit, ProgressReport, SplitDataset
from flocknode.learning.datasets import save_dataset
from flocknode.learning.errors import LearningError

Arrays = tuple[NDArray[np.float32], NDArray[np.float32] | NDArray[np.int64]]


def split_dataset(job: SplitDataset, report: ProgressReport) -> DatasetSplit:
    """Write one file per part: together they hold every row once; classes keep their proportions in each part."""
    features, targets = _LOADERS[job.name]()
    names = [part.name for part in job.parts]
    if len(set(names)) != len(names):
        raise LearningError("two parts have the same name")
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


def get_part_sizes(rows: int, weights: Sequence[int]) -> list[int]:
    """Return how many rows each part gets, in proportion to the weights; they add up to `rows`."""
    bounds = [rows * passed // sum(weights) for passed in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(bounds)]


def load_digits_arrays() -> Arrays:
    """Return 1,797 images of 8 x 8 pixels in [0, 1], and their digits."""
    digits = load_digits()
    return (digits.data / 16).astype(np.float32), digits.target.astype(np.int64)


def load_diabetes_arrays() -> Arrays:
    """Return 442 patients with 10 measurements, and the disease's progression [n, 1]; every column standardised."""
    diabetes = load_diabetes()
    columns = np.column_stack([diabetes.data, diabetes.target])
    columns = ((columns - columns.mean(axis=0)) / columns.std(axis=0)).astype(np.float32)
    return columns[:, :-1].copy(), columns[:, -1:].copy()


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


_LOADERS = {"digits": load_digits_arrays, "diabetes": load_diabetes_arrays}
