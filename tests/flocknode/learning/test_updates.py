"""The models of an alliance through the worker's jobs: begin, train, aggregate, and measure what came of it."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from flocknode.jobs import (
    AggregateUpdates,
    AggregationRule,
    DatasetPart,
    MakeModel,
    Paused,
    QuantiseWeights,
    ScoreModels,
    SplitDataset,
    SplitFile,
    SplitRows,
    Trained,
    TrainSettings,
    TrainUpdate,
    Update,
)
from flocknode.learning import train
from flocknode.learning.datasets import load_dataset, save_dataset
from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import load_fixed, save_fixed
from flocknode.learning.own_split import split_file, split_rows
from flocknode.learning.scores import score_models
from flocknode.learning.splits import split_dataset
from flocknode.learning.tensors import save_tensors
from flocknode.learning.updates import aggregate_updates, make_model, quantise_weights, train_update
from flocknode.learning.weights import get_module_shapes, save_weights
from protocol.models import MetricSpec, linear_model, mlp_model

MODEL = mlp_model(64, 32, 10)
ACCURACY = MetricSpec("accuracy", True, 0, 1_000_000)
R_SQUARED = MetricSpec("r2", True, -1_000_000, 1_000_000)
SHAPES = get_module_shapes(build_model(MODEL))
PROPOSERS = ("one", "two", "three")
PASSES = 15


def _ignore(done: int, total: int, loss: int | None = None) -> bool:
    """Take a progress report; nobody waits."""
    return False


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with parts of digits for three proposers and a voter, a model, and each proposer's update."""
    home = tmp_path_factory.mktemp("home")
    parts = tuple(DatasetPart(name, 1) for name in (*PROPOSERS, "voter"))
    split_dataset(SplitDataset("digits", 0, parts, str(home)), _ignore)
    make_model(MakeModel(MODEL, 3, str(home / "start")), _ignore)
    for name in PROPOSERS:
        _train(home, name, home / f"{name}.update")
    return home


def _train(
    home: Path,
    part: str,
    output: Path,
    *,
    start: str = "start",
    rate: int = 300_000,
    checkpoint: Path | None = None,
    report: Callable[[int, int, int | None], bool] = _ignore,
) -> Trained | Paused:
    settings = TrainSettings(PASSES, rate, 16, 1, "sgd")
    dataset, kept = str(home / f"{part}.safetensors"), str(checkpoint) if checkpoint else None
    return train_update(TrainUpdate(MODEL, dataset, settings, str(home / start), str(output), kept), report)


def _aggregate(home: Path, output: Path, *names: str, rule: AggregationRule = "fedavg") -> tuple[int, ...]:
    updates = tuple(Update(str(home / name), 1 + index) for index, name in enumerate(names))
    result = aggregate_updates(AggregateUpdates(MODEL, updates, rule, 1, str(output)), _ignore)
    assert all(refused.reason for refused in result.refused)
    return tuple(refused.index for refused in result.refused)


def _score(home: Path, *paths: Path) -> list[int | None]:
    job = ScoreModels(MODEL, ACCURACY, str(home / "voter.safetensors"), tuple(map(str, paths)))
    return [score.value_millionths for score in score_models(job, _ignore).scores]


def test_a_round_improves_the_model(home: Path, tmp_path: Path) -> None:
    """Three updates become one model that is better on a voter's data than the start, and than each of them alone."""
    assert _aggregate(home, tmp_path / "aggregate", *(f"{name}.update" for name in PROPOSERS)) == ()
    start, aggregate, *alone = _score(
        home, home / "start", tmp_path / "aggregate", *(home / f"{n}.update" for n in PROPOSERS)
    )
    assert start < 250_000
    assert aggregate > 850_000
    assert aggregate >= max(alone) - 20_000


def test_the_same_job_gives_the_same_bytes(home: Path, tmp_path: Path) -> None:
    """A model and an update repeat themselves byte for byte; another seed makes another model."""
    for seed, name in ((3, "again"), (4, "other")):
        made = make_model(MakeModel(MODEL, seed, str(tmp_path / name)), _ignore)
        assert (made.parameters, made.clipped) == (64 * 32 + 32 + 32 * 10 + 10, 0)
    assert (tmp_path / "again").read_bytes() == (home / "start").read_bytes() != (tmp_path / "other").read_bytes()
    _train(home, "one", tmp_path / "update")
    assert (tmp_path / "update").read_bytes() == (home / "one.update").read_bytes()


def test_an_update_goes_on_after_an_interruption(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One step at a time it comes to the same bytes; with another model to start from it begins anew."""
    monkeypatch.setattr(train, "CHECKPOINT_S", 0)
    kept, steps = tmp_path / "checkpoint", PASSES * -(-449 // 16)
    paused = [_train(home, "one", tmp_path / "w", checkpoint=kept, report=lambda *_: True) for _ in range(3)]
    assert paused == [Paused(step, steps) for step in (1, 2, 3)]
    begun: list[int] = []
    for start, at in (("two.update", 0), ("start", 0)):
        begun.clear()
        note = lambda done, total, loss=None: bool(begun.append(done))  # noqa: E731
        _train(home, "one", tmp_path / "w", start=start, checkpoint=kept, report=note)
        assert begun[0] == at
    assert (tmp_path / "w").read_bytes() == (home / "one.update").read_bytes()


def test_training_that_diverges_is_an_error(home: Path, tmp_path: Path) -> None:
    """A rate that blows up fails with advice, also when weights only leave the range; no update is written."""
    with pytest.raises(LearningError, match="learning rate"):
        _train(home, "one", tmp_path / "update", rate=10**9)
    save_dataset(torch.full((1, 1), 300.0), torch.full((1, 1), 300.0), tmp_path / "data")
    model = linear_model(inputs=1, outputs=1)
    make_model(MakeModel(model, 0, str(tmp_path / "start")), _ignore)
    settings = TrainSettings(1, 1_000_000, 1, 0, "sgd")
    job = TrainUpdate(model, str(tmp_path / "data"), settings, str(tmp_path / "start"), str(tmp_path / "update"), None)
    with pytest.raises(LearningError, match="beyond 32,768"):
        train_update(job, _ignore)
    assert not (tmp_path / "update").exists()


def test_a_start_of_another_shape_is_refused(home: Path, tmp_path: Path) -> None:
    """An update of another architecture, or float weights, are nothing to begin with."""
    make_model(MakeModel(mlp_model(64, 10), 0, str(home / "narrow")), _ignore)
    save_weights(build_model(MODEL), home / "float")
    for name in ("narrow", "float"):
        with pytest.raises(UnusableFile):
            _train(home, "one", tmp_path / "update", start=name)


def test_an_arena_winner_becomes_a_model(tmp_path: Path) -> None:
    """Weights in float32 become the fixed-point form that scores the same; a file that is none is refused."""
    split_dataset(SplitDataset("diabetes", 0, (DatasetPart("voter", 1),), str(tmp_path)), _ignore)
    model = linear_model(inputs=10, outputs=1)
    save_tensors({"weight": torch.full((1, 10), 0.125), "bias": torch.tensor([40_000.0])}, tmp_path / "winner")
    made = quantise_weights(QuantiseWeights(model, str(tmp_path / "winner"), str(tmp_path / "model")), _ignore)
    assert (made.parameters, made.clipped) == (11, 1)
    assert load_fixed(tmp_path / "model", get_module_shapes(build_model(model))).tolist() == [2**31 - 1] + [8192] * 10
    with pytest.raises(UnusableFile):
        quantise_weights(QuantiseWeights(model, str(tmp_path / "model"), str(tmp_path / "twice")), _ignore)


def test_files_that_are_no_updates_are_named_and_left_out(home: Path, tmp_path: Path) -> None:
    """Garbage, a file of floats and another shape are refused by place; the aggregate is that of the others."""
    (home / "garbage").write_bytes(b"no model")
    save_weights(build_model(MODEL), home / "float")
    make_model(MakeModel(mlp_model(64, 10), 0, str(home / "narrow")), _ignore)
    assert _aggregate(home, tmp_path / "good", "one.update") == ()
    assert _aggregate(home, tmp_path / "mixed", "one.update", "garbage", "float", "narrow") == (1, 2, 3)
    assert (tmp_path / "mixed").read_bytes() == (tmp_path / "good").read_bytes()
    with pytest.raises(LearningError, match="none of 2 updates"):
        _aggregate(home, tmp_path / "none", "garbage", "narrow")


@pytest.mark.parametrize("rule", ["median", "trimmed_mean", "krum", "multi_krum", "geometric_median"])
def test_robust_rules_withstand_a_poisoner(home: Path, tmp_path: Path, rule: AggregationRule) -> None:
    """One update turned against the others, three times as far, spoils the mean, but not what a robust rule makes."""
    start, honest = (load_fixed(home / name, SHAPES).astype(np.int64) for name in ("start", "three.update"))
    save_fixed((start - 3 * (honest - start)).astype(np.int32), SHAPES, home / "poison")
    names = ("one.update", "two.update", "poison")
    _aggregate(home, tmp_path / "mean", *names)
    _aggregate(home, tmp_path / "robust", *names, rule=rule)
    mean, robust = _score(home, tmp_path / "mean", tmp_path / "robust")
    assert robust > 800_000
    assert mean < robust - 200_000


def test_one_job_measures_many_candidates(home: Path, tmp_path: Path) -> None:
    """Candidates that are no models get no value, but a reason; those after them are measured as if alone."""
    (tmp_path / "garbage").write_bytes(b"no model")
    paths = (home / "one.update", tmp_path / "garbage", home / "start")
    one, none, start = _score(home, *paths)
    assert none is None
    assert [one, start] == [_score(home, home / "one.update")[0], _score(home, home / "start")[0]]
    job = ScoreModels(MODEL, ACCURACY, str(home / "voter.safetensors"), tuple(map(str, paths)))
    reasons = [score.reason for score in score_models(job, _ignore).scores]
    assert reasons[::2] == ["", ""]
    assert "header" in reasons[1]


def test_values_of_a_metric_keep_their_sign(tmp_path: Path) -> None:
    """R^2 of a model that is worse than the mean is negative, and beyond the bounds that scores are cut to."""
    split_dataset(SplitDataset("diabetes", 0, (DatasetPart("voter", 1),), str(tmp_path)), _ignore)
    model = linear_model(inputs=10, outputs=1)
    save_tensors(
        {"weight": torch.zeros(1, 10, dtype=torch.int32), "bias": torch.full((1,), 2**17, dtype=torch.int32)},
        tmp_path / "two",
    )
    job = ScoreModels(model, R_SQUARED, str(tmp_path / "voter.safetensors"), (str(tmp_path / "two"),))
    assert score_models(job, _ignore).scores[0].value_millionths == pytest.approx(-4_000_000, abs=2)
    with pytest.raises(LearningError, match="does not apply"):
        score_models(ScoreModels(model, ACCURACY, job.dataset, job.candidates), _ignore)


def test_own_data_are_cut_once(home: Path, tmp_path: Path) -> None:
    """Every row is in one of the two files; the same seed gives the same files, another one others."""
    whole = load_dataset(home / "one.safetensors", torch.device("cpu"))
    for seed, name in ((1, "a"), (1, "b"), (2, "c")):
        train, test = tmp_path / f"{name}.train", tmp_path / f"{name}.test"
        job = SplitRows(str(home / "one.safetensors"), seed, 250_000, str(train), str(test))
        split = split_rows(job, _ignore)
        assert (split.train_rows, split.test_rows) == (337, 112)
        both = [load_dataset(path, torch.device("cpu")) for path in (train, test)]
        rows = [row.numpy().tobytes() for dataset in both for row in dataset.features]
        assert sorted(rows) == sorted(row.numpy().tobytes() for row in whole.features)
    assert (tmp_path / "a.test").read_bytes() == (tmp_path / "b.test").read_bytes()
    assert (tmp_path / "a.test").read_bytes() != (tmp_path / "c.test").read_bytes()


def test_a_file_is_cut_into_parts(home: Path, tmp_path: Path) -> None:
    """Every row is in one of the parts, in proportion to the weights; a part without rows and a twin are refused."""
    parts = (DatasetPart("large", 2), DatasetPart("small", 1))
    files = split_file(SplitFile(str(home / "one.safetensors"), 4, parts, str(tmp_path / "new")), _ignore).files
    assert [(file.part, file.rows) for file in files] == [("large", 299), ("small", 150)]
    whole = load_dataset(home / "one.safetensors", torch.device("cpu"))
    found = [load_dataset(Path(file.path), torch.device("cpu")) for file in files]
    rows = [row.numpy().tobytes() for dataset in found for row in dataset.features]
    assert sorted(rows) == sorted(row.numpy().tobytes() for row in whole.features)
    for wrong, reason in ((DatasetPart("tiny", 1), "none are left for tiny"), (DatasetPart("large", 1), "same name")):
        job = SplitFile(str(home / "one.safetensors"), 4, (wrong, DatasetPart("large", 999)), str(tmp_path))
        with pytest.raises(LearningError, match=reason):
            split_file(job, _ignore)


def test_too_few_rows_to_cut_are_refused(home: Path, tmp_path: Path) -> None:
    """A share that comes to no row is an error with the numbers in it."""
    job = SplitRows(str(home / "one.safetensors"), 1, 2_000, str(tmp_path / "train"), str(tmp_path / "test"))
    with pytest.raises(LearningError, match="449 rows"):
        split_rows(job, _ignore)


def test_leave_one_out_takes_one_measurement(home: Path, tmp_path: Path) -> None:
    """Aggregates without each of the updates are one batch of candidates; without a poisoner the model is best."""
    start, honest = (load_fixed(home / name, SHAPES).astype(np.int64) for name in ("start", "three.update"))
    save_fixed((start - 3 * (honest - start)).astype(np.int32), SHAPES, home / "poison")
    names = ["one.update", "two.update", "poison"]
    for left_out in names:
        _aggregate(home, tmp_path / left_out, *(name for name in names if name != left_out))
    scores = _score(home, *(tmp_path / name for name in names))
    assert scores.index(max(scores)) == 2
