"""Dataset files: safetensors with `features` and `targets`, checked on load like weights are.

`features` is float32 [n, d]; `targets` is int64 [n] for classes or float32 [n, k] for real values, and so decides which
loss and which metrics apply. A dataset of sequences has int64 [n, t] for both: t tokens, and the token after each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import torch
from torch import Tensor, nn

from flocknode.jobs import DatasetPart
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.tensors import load_tensors, read_header, save_tensors
from protocol.tensor_files import TensorInfo


@dataclass(frozen=True)
class Dataset:
    """n rows of features with their targets, on one device."""

    features: Tensor
    targets: Tensor

    @property
    def rows(self) -> int:
        """The number of samples."""
        return len(self.features)

    @property
    def is_classes(self) -> bool:
        """Whether the targets are numbers of classes, tokens among them; real values otherwise."""
        return self.targets.dtype == torch.int64

    @property
    def is_sequences(self) -> bool:
        """Whether each row is a sequence of tokens."""
        return self.features.dtype == torch.int64


def load_dataset(path: Path, device: torch.device) -> Dataset:
    """Return the dataset of a file; raise `UnusableFile` unless it follows the schema of this module."""
    header = read_header(path)
    if set(header) != {"features", "targets"}:
        raise UnusableFile(f"a dataset has the tensors features and targets, not {', '.join(sorted(header))}")
    _check_schema(header["features"], header["targets"])
    tensors = load_tensors(path, header)
    dataset = Dataset(tensors["features"].to(device), tensors["targets"].to(device))
    for name, tensor in (("class", dataset.targets), ("token", dataset.features)):
        if tensor.dtype == torch.int64 and int(tensor.min()) < 0:
            raise UnusableFile(f"a {name} has a negative number")
    return dataset


def save_dataset(features: Tensor, targets: Tensor, path: Path) -> None:
    """Write a dataset file in canonical form."""
    save_tensors({"features": features, "targets": targets}, path)


def get_part_names(parts: Sequence[DatasetPart]) -> list[str]:
    """Return the names of the parts of a split; raise `LearningError` for one that comes twice."""
    names = [part.name for part in parts]
    if len(set(names)) != len(names):
        raise LearningError("two parts have the same name")
    return names


def get_part_sizes(rows: int, weights: Sequence[int]) -> list[int]:
    """Return how many rows each part gets, in proportion to the weights; they add up to `rows`."""
    bounds = [rows * passed // sum(weights) for passed in accumulate(weights, initial=0)]
    return [end - begin for begin, end in pairwise(bounds)]


def check_fit(module: nn.Module, dataset: Dataset) -> None:
    """Return if the module takes the dataset's features and speaks of its targets; raise `LearningError` otherwise."""
    if dataset.is_sequences:
        _check_tokens(module, dataset)
    try:
        with torch.inference_mode():
            outputs = module(dataset.features[:1])
    except RuntimeError as error:
        raise LearningError(f"the model does not take the dataset's {dataset.features.shape[1]} features") from error
    needed = int(dataset.targets.max()) + 1 if dataset.is_classes else dataset.targets.shape[1]
    given = outputs.shape[-1]
    if given < needed or (given > needed and not dataset.is_classes):
        raise LearningError(f"the model has {given} outputs, the dataset's targets need {needed}")


def _check_tokens(module: nn.Module, dataset: Dataset) -> None:
    # First: a token that an embedding does not have is no error that torch could be caught at on every device.
    vocabulary, context = getattr(module, "vocabulary", 0), getattr(module, "context", 0)
    if not vocabulary:
        raise LearningError("the dataset holds sequences of tokens, which the model does not take")
    length, largest = dataset.features.shape[1], int(dataset.features.max())
    if length > context or largest >= vocabulary:
        raise LearningError(
            f"the dataset has {length} tokens in a row up to number {largest}, "
            f"the model takes {context} of a vocabulary of {vocabulary}"
        )


def _check_schema(features: TensorInfo, targets: TensorInfo) -> None:
    if (features.dtype, len(features.shape)) not in (("F32", 2), ("I64", 2)) or 0 in features.shape:
        raise UnusableFile(f"features are {features.dtype} {list(features.shape)}, not F32 [n, d] or I64 [n, t]")
    if features.dtype == "I64":
        if targets.dtype != "I64" or targets.shape != features.shape:
            raise UnusableFile(f"targets of sequences are {targets.dtype} {list(targets.shape)}, not like the features")
        return
    if (targets.dtype, len(targets.shape)) not in (("I64", 1), ("F32", 2)) or 0 in targets.shape:
        raise UnusableFile(f"targets are {targets.dtype} {list(targets.shape)}, not I64 [n] or F32 [n, k]")
    if targets.shape[0] != features.shape[0]:
        raise UnusableFile(f"{features.shape[0]} rows of features, {targets.shape[0]} of targets")
