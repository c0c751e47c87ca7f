"""Training on real data: it learns, it repeats itself byte for byte, and it refuses what cannot work."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from flocknode.jobs import DatasetPart, Optimizer, Paused, SplitDataset, Train, Trained, TrainSettings
from flocknode.learning import train
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
    optimizer: Optimizer = "sgd",
    checkpoint: Path | None = None,
    report: Callable[[int, int, int | None], bool] = lambda done, total, loss: False,
) -> Trained | Paused:
    job = Train(
        model,
        str(directory / "first.safetensors"),
        TrainSettings(passes, rate, 16, seed, optimizer),
        str(output),
        str(initial) if initial else None,
        str(checkpoint) if checkpoint else None,
    )
    return train_model(job, report)


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 300_000), ("adam", 3_000)])
def test_the_same_job_gives_the_same_bytes(digits: Path, tmp_path: Path, optimizer: Optimizer, rate: int) -> None:
    """Two trainings agree in every byte and figure; another seed does not. Each step is reported, with the loss."""
    told: list[tuple[int, int, int | None]] = []

    def report(*found: int | None) -> bool:
        told.append(found)  # type: ignore[arg-type]
        return False

    first = _train(digits, tmp_path / "first", optimizer=optimizer, rate=rate, report=report)
    torch.rand(7)
    assert _train(digits, tmp_path / "again", optimizer=optimizer, rate=rate) == first
    assert _train(digits, tmp_path / "other", optimizer=optimizer, rate=rate, seed=6) != first
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()
    steps = 3 * -(-599 // 16)
    assert [done for done, _, _ in told] == [*range(steps + 1)]
    losses = [loss for _, _, loss in told[1:]]
    assert told[0] == (0, steps, None)
    assert losses[-1] < losses[0] / 2


class Killed(BaseException):
    """What ends the worker in a test."""


def _kill_after(steps: int) -> Callable[[int, int, int | None], bool]:
    def report(done: int, total: int, loss: int | None) -> bool:
        if done == steps:
            raise Killed
        return False

    return report


@pytest.mark.parametrize(("optimizer", "rate"), [("sgd", 300_000), ("adam", 3_000)])
def test_an_interrupted_training_comes_to_the_same_bytes(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, optimizer: Optimizer, rate: int
) -> None:
    """Killed in the middle of a pass, and again, it goes on from its checkpoint, and nobody can tell."""
    monkeypatch.setattr(train, "CHECKPOINT_S", 0)
    whole = _train(digits, tmp_path / "whole", optimizer=optimizer, rate=rate)
    begun: list[int] = []
    for steps in (50, 90):
        checkpoint = tmp_path / "checkpoint"
        with pytest.raises(Killed):
            _train(
                digits, tmp_path / "w", optimizer=optimizer, rate=rate, checkpoint=checkpoint, report=_kill_after(steps)
            )

    def report(done: int, total: int, loss: int | None) -> bool:
        begun.append(done)
        return False

    options = {"optimizer": optimizer, "rate": rate, "checkpoint": tmp_path / "checkpoint"}
    assert _train(digits, tmp_path / "w", report=report, **options) == whole
    assert begun[0] == 89
    assert (tmp_path / "w").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_warm_start_resumes_when_its_start_was_fetched_again(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same weights in a new file are the same start; other weights are another training."""
    monkeypatch.setattr(train, "CHECKPOINT_S", 0)
    start, checkpoint = tmp_path / "start", tmp_path / "checkpoint"
    _train(digits, start, seed=1)
    with pytest.raises(Killed):
        _train(digits, tmp_path / "w", initial=start, checkpoint=checkpoint, report=_kill_after(50))
    begun: list[int] = []

    def report(done: int, total: int, loss: int | None) -> bool:
        begun.append(done)
        raise Killed

    for seed, at in ((1, 49), (2, 0)):
        start.unlink()
        _train(digits, start, seed=seed)
        with pytest.raises(Killed):
            _train(digits, tmp_path / "w", initial=start, checkpoint=checkpoint, report=report)
        assert begun[-1] == at


def test_a_training_that_gives_way_is_paused_where_it_is(digits: Path, tmp_path: Path) -> None:
    """Asked for at every step, it takes one step at a time to the same weights; without a checkpoint it goes on."""
    whole = _train(digits, tmp_path / "whole", passes=1)
    assert _train(digits, tmp_path / "deaf", passes=1, report=lambda *_: True) == whole
    found = [
        _train(digits, tmp_path / "w", passes=1, checkpoint=tmp_path / "checkpoint", report=lambda *_: True)
        for _ in range(38)
    ]
    assert found == [*(Paused(step, 38) for step in range(1, 38)), whole]
    assert (tmp_path / "w").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_foreign_or_broken_checkpoint_is_begun_anew(
    digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A checkpoint of another seed, rule or model, and one that is garbage, change nothing."""
    monkeypatch.setattr(train, "CHECKPOINT_S", 0)
    whole, checkpoint = _train(digits, tmp_path / "whole"), tmp_path / "checkpoint"
    model = mlp_model(64, 32, 10)
    for change in ({"seed": 6}, {"optimizer": "adam", "rate": 3_000}, {"model": model}, None):
        if change is None:
            checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
        else:
            with pytest.raises(Killed):
                _train(digits, tmp_path / "w", checkpoint=checkpoint, report=_kill_after(40), **change)
        assert _train(digits, tmp_path / "w", checkpoint=checkpoint) == whole
        assert (tmp_path / "w").read_bytes() == (tmp_path / "whole").read_bytes()


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
