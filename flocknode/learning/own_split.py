"""Dataset files cut at random: into parts for several owners, and by an owner into training and test rows (VI.B)."""

from pathlib import Path

import numpy as np
import torch

from flocknode.jobs import DatasetFile, DatasetSplit, ProgressReport, RowsSplit, SplitFile, SplitRows
from flocknode.learning.datasets import get_part_names, get_part_sizes, load_dataset, save_dataset
from flocknode.learning.errors import LearningError
from flocknode.learning.formulas import MILLION


def split_file(job: SplitFile, report: ProgressReport) -> DatasetSplit:
    """Write one file per part: together they hold every row once. Raises `LearningError` for a part without rows.

    The order is that of numpy's first generator, which no version of numpy changes.
    """
    dataset, names = load_dataset(Path(job.dataset), torch.device("cpu")), get_part_names(job.parts)
    order = torch.from_numpy(np.random.RandomState(job.seed).permutation(dataset.rows))
    pieces = order.split(get_part_sizes(dataset.rows, [part.weight for part in job.parts]))
    directory, files = Path(job.directory), []
    directory.mkdir(parents=True, exist_ok=True)
    for name, rows in zip(names, pieces, strict=True):
        if len(rows) == 0:
            raise LearningError(f"of {dataset.rows} rows none are left for {name}")
        path = directory / f"{name}.safetensors"
        save_dataset(dataset.features[rows], dataset.targets[rows], path)
        files.append(DatasetFile(part=name, path=str(path), rows=len(rows)))
        report(len(files), len(names))
    return DatasetSplit(tuple(files))


def split_rows(job: SplitRows, report: ProgressReport) -> RowsSplit:
    """Write both files: every row is in one of them. The test file gets its share of the rows, rounded down.

    Raises `LearningError` when one of them would be empty.
    """
    dataset = load_dataset(Path(job.dataset), torch.device("cpu"))
    test_rows = dataset.rows * job.test_millionths // MILLION
    if test_rows == 0:
        raise LearningError(f"of {dataset.rows} rows none are left to test on")
    order = torch.randperm(dataset.rows, generator=torch.Generator().manual_seed(job.seed))
    for rows, path in ((order[test_rows:], job.train_output), (order[:test_rows], job.test_output)):
        save_dataset(dataset.features[rows], dataset.targets[rows], Path(path))
    report(1, 1)
    return RowsSplit(train_rows=dataset.rows - test_rows, test_rows=test_rows)
