"""Dataset files and the splits that make them."""

from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from flocknode.jobs import DatasetPart, DatasetSplit, SplitDataset
from flocknode.learning.datasets import Dataset, check_fit, load_dataset, save_dataset
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.splits import get_part_sizes, load_digits_arrays, split_dataset
from protocol.models import linear_model, mlp_model

CPU = torch.device("cpu")
PARTS = tuple(DatasetPart(name, 1) for name in ("a", "b", "train0", "train1", "train2"))


def _split(name: str, seed: int, directory: Path, parts: tuple[DatasetPart, ...] = PARTS) -> DatasetSplit:
    return split_dataset(SplitDataset(name, seed, parts, str(directory)), lambda done, total: None)


def _rows(split: DatasetSplit) -> list[bytes]:
    datasets = [load_dataset(Path(file.path), CPU) for file in split.files]
    assert [dataset.rows for dataset in datasets] == [file.rows for file in split.files]
    return [row.numpy().tobytes() for dataset in datasets for row in dataset.features]


def test_digits_split_covers_the_set_once(tmp_path: Path) -> None:
    """The parts together hold every image once, scaled to [0, 1]; each part has each digit in its proportion."""
    split = _split("digits", 1, tmp_path)
    assert [file.part for file in split.files] == ["a", "b", "train0", "train1", "train2"]
    assert sorted(_rows(split)) == sorted(row.tobytes() for row in load_digits_arrays()[0])
    for file in split.files:
        dataset = load_dataset(Path(file.path), CPU)
        assert 0 <= dataset.features.min() <= dataset.features.max() <= 1
        assert all(33 <= int(count) <= 39 for count in dataset.targets.bincount())


def test_splits_depend_on_the_seed_alone(tmp_path: Path) -> None:
    """The same seed gives the same bytes, another one other bytes."""
    first, again, other = (_split("digits", seed, tmp_path / str(n)) for n, seed in enumerate((1, 1, 2)))
    same = [
        Path(a.path).read_bytes() == Path(b.path).read_bytes() for a, b in zip(first.files, again.files, strict=True)
    ]
    assert all(same)
    assert Path(first.files[0].path).read_bytes() != Path(other.files[0].path).read_bytes()


def test_diabetes_is_standardised(tmp_path: Path) -> None:
    """Over the whole set each feature and the target have mean 0 and deviation 1; three quarters are 331 rows."""
    parts = (DatasetPart("train", 3), DatasetPart("test", 1))
    split = _split("diabetes", 0, tmp_path, parts)
    datasets = [load_dataset(Path(file.path), CPU) for file in split.files]
    assert [dataset.rows for dataset in datasets] == [331, 111]
    for columns in (torch.cat([d.features for d in datasets]), torch.cat([d.targets for d in datasets])):
        assert columns.mean(dim=0).abs().max() < 1e-5
        assert (columns.std(dim=0, correction=0) - 1).abs().max() < 1e-5


@pytest.mark.parametrize("rest", [10**6, 400])
def test_impossible_splits_are_refused(tmp_path: Path, rest: int) -> None:
    """A part that would be empty, or too small to hold every class, fails with a reason."""
    with pytest.raises(LearningError, match="does not split"):
        _split("digits", 0, tmp_path, (DatasetPart("tiny", 1), DatasetPart("rest", rest)))


def test_repeated_part_names_are_refused(tmp_path: Path) -> None:
    """Two parts of one name would overwrite each other."""
    with pytest.raises(LearningError, match="same name"):
        _split("digits", 0, tmp_path, (PARTS[0], PARTS[0]))


@given(st.integers(1, 5000), st.lists(st.integers(1, 1000), min_size=1, max_size=10))
def test_part_sizes_add_up(rows: int, weights: list[int]) -> None:
    """Sizes add up to all rows, and none is a whole row off its share."""
    sizes = get_part_sizes(rows, weights)
    assert sum(sizes) == rows
    assert all(abs(size - rows * weight / sum(weights)) < 1 for size, weight in zip(sizes, weights, strict=True))


GOOD = {"features": torch.ones(3, 2), "targets": torch.tensor([0, 1, 1])}


@pytest.mark.parametrize(
    "change",
    [
        {"targets": None},
        {"extra": torch.ones(1)},
        {"features": torch.ones(3, 2, 1)},
        {"features": torch.ones(3, 2, dtype=torch.int64)},
        {"features": torch.ones(0, 2), "targets": torch.ones(0, dtype=torch.int64)},
        {"features": torch.full((3, 2), torch.inf)},
        {"targets": torch.ones(3)},
        {"targets": torch.ones(4, dtype=torch.int64)},
        {"targets": torch.tensor([0, -1, 1])},
        {"targets": torch.full((3, 1), torch.nan)},
    ],
)
def test_wrong_dataset_files_are_refused(tmp_path: Path, change: dict[str, torch.Tensor | None]) -> None:
    """Missing and extra tensors, wrong types and shapes, no rows, negative classes and NaN are refused."""
    save_file(GOOD, tmp_path / "good")
    assert load_dataset(tmp_path / "good", CPU).rows == 3
    save_file({name: tensor for name, tensor in (GOOD | change).items() if tensor is not None}, tmp_path / "bad")
    with pytest.raises(UnusableFile):
        load_dataset(tmp_path / "bad", CPU)


def test_a_dataset_must_fit_the_model() -> None:
    """Too many features, too few classes and a wrong number of real targets are named, not left to crash later."""
    classes = Dataset(torch.ones(3, 2), torch.tensor([0, 1, 3]))
    real = Dataset(torch.ones(3, 2), torch.ones(3, 2))
    check_fit(build_model(mlp_model(2, 8, 4)), classes)
    check_fit(build_model(linear_model(inputs=2, outputs=2)), real)
    for model, dataset in (
        (mlp_model(3, 4), classes),
        (mlp_model(2, 3), classes),
        (linear_model(inputs=2, outputs=1), real),
        (linear_model(inputs=2, outputs=3), real),
    ):
        with pytest.raises(LearningError):
            check_fit(build_model(model), dataset)


def test_a_saved_dataset_comes_back(tmp_path: Path) -> None:
    """Saving and loading keep rows and kind."""
    save_dataset(GOOD["features"], GOOD["targets"], tmp_path / "d")
    dataset = load_dataset(tmp_path / "d", CPU)
    assert dataset.is_classes
    assert torch.equal(dataset.features, GOOD["features"])
