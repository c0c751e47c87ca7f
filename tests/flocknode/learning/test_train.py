"""Training on real data: it learns, it repeats itself byte for byte, and it refuses what cannot work."""

from pathlib import Path

import pytest
import torch

from flocknode.jobs import DatasetPart, SplitDataset, Train, Trained, TrainSettings
from flocknode.learning.datasets import save_dataset
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.splits import split_dataset
from flocknode.learning.train import train_model
from protocol.models import ModelSpec, linear_model, mlp_model

DIGITS_MODEL = mlp_model(64, 64, 10)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder with digits cut into thirds."""
    directory = tmp_path_factory.mktemp("digits")
    parts = tuple(DatasetPart(name, 1) for name in ("first", "second", "third"))
    split_dataset(SplitDataset("digits", 0, parts, str(directory)), lambda done, total: None)
    return directory


def _train(
    directory: Path,
    output: Path,
    *,
    initial: Path | None = None,
    model: ModelSpec = DIGITS_MODEL,
    passes: int = 3,
    rate: int = 300_000,
    seed: int = 5,
    progress: list[int] | None = None,
) -> Trained:
    job = Train(
        model,
        str(directory / "first.safetensors"),
        TrainSettings(passes, rate, 16, seed),
        str(output),
        str(initial) if initial else None,
    )
    return train_model(job, lambda done, total: progress.append(done) if progress is not None else None)


def test_the_same_job_gives_the_same_bytes(digits: Path, tmp_path: Path) -> None:
    """Two trainings agree in every byte and figure; another seed does not. Each pass is reported."""
    progress: list[int] = []
    first = _train(digits, tmp_path / "first", progress=progress)
    torch.rand(7)
    assert _train(digits, tmp_path / "again") == first
    assert _train(digits, tmp_path / "other", seed=6) != first
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    assert progress == [1, 2, 3]


def test_training_goes_on_from_given_weights(digits: Path, tmp_path: Path) -> None:
    """A warm start begins where the earlier training ended, and lowers its loss further."""
    cold = _train(digits, tmp_path / "cold")
    warm = _train(digits, tmp_path / "warm", initial=tmp_path / "cold", seed=6)
    assert warm.loss_millionths < cold.loss_millionths
    with pytest.raises(UnusableFile):
        _train(digits, tmp_path / "wrong", initial=tmp_path / "cold", model=mlp_model(64, 32, 10))


def test_divergence_is_an_error(tmp_path: Path) -> None:
    """A learning rate that blows up fails with advice, and writes no weights."""
    save_dataset(torch.ones(4, 2), torch.ones(4, 1), tmp_path / "first.safetensors")
    with pytest.raises(LearningError, match="learning rate"):
        _train(tmp_path, tmp_path / "weights", model=linear_model(inputs=2, outputs=1), rate=10_000_000, passes=200)
    assert not (tmp_path / "weights").exists()


def test_a_model_that_does_not_fit_is_refused(digits: Path, tmp_path: Path) -> None:
    """Data with 64 features do not train a model of ten."""
    with pytest.raises(LearningError, match="64 features"):
        _train(digits, tmp_path / "weights", model=linear_model(inputs=10, outputs=10))
