"""A participant's own data, cut once into a training and a test file that nobody else sees (white paper VI.B)."""

from pathlib import Path

import torch

from flocknode.jobs import ProgressReport, RowsSplit, SplitRows
from flocknode.learning.datasets import load_dataset, save_dataset
from flocknode.learning.errors import LearningError
from flocknode.learning.formulas import MILLION


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
