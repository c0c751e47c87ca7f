"""Blind evaluation: scores on real data, verdicts with reasons, and who copied whom."""

import math
from collections.abc import Sequence
from pathlib import Path

import pytest
import torch

from flocknode.jobs import Assessment, DatasetPart, Evaluate, SplitDataset, Submitted, Train, Trained, TrainSettings
from flocknode.learning.errors import LearningError
from flocknode.learning.evaluate import compute_root, evaluate_submissions
from flocknode.learning.families import build_model
from flocknode.learning.splits import split_dataset
from flocknode.learning.tensors import save_tensors
from flocknode.learning.train import train_model
from flocknode.learning.weights import load_weights, save_weights
from protocol.blobs import compute_blob_id
from protocol.models import MetricSpec, ModelSpec, gpt_model, linear_model, mlp_model
from protocol.transactions import Verdict, check_entries

DIGITS_MODEL = mlp_model(64, 64, 10)
DIABETES_MODEL = linear_model(inputs=10, outputs=1)
ACCURACY = MetricSpec("accuracy", True, 0, 1_000_000)
R_SQUARED = MetricSpec("r2", True, -1_000_000, 1_000_000)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with digits in thirds, diabetes in quarters, and two trained models of each."""
    home = tmp_path_factory.mktemp("home")
    thirds = tuple(DatasetPart(name, 1) for name in ("train", "more", "test"))
    split_dataset(SplitDataset("digits", 0, thirds, str(home / "digits")), _ignore)
    quarters = (DatasetPart("train", 3), DatasetPart("test", 1))
    split_dataset(SplitDataset("diabetes", 0, quarters, str(home / "diabetes")), _ignore)
    for part in ("train", "more"):
        settings = TrainSettings(30, 300_000, 16, 1, "sgd")
        train_model(
            Train(DIGITS_MODEL, str(home / f"digits/{part}.safetensors"), settings, str(home / part), None, None),
            _ignore,
        )
    settings = TrainSettings(300, 100_000, 331, 1, "sgd")
    dataset = str(home / "diabetes/train.safetensors")
    train_model(Train(DIABETES_MODEL, dataset, settings, str(home / "linear"), None, None), _ignore)
    return home


def _ignore(done: int, total: int, loss: int | None = None) -> bool:
    """Take a progress report; nobody waits."""
    return False


def _tag(number: int) -> bytes:
    return bytes([number]) * 32


def _judge(home: Path, *paths: Path, near: int = 1000, earlier: Sequence[Path] = ()) -> tuple[Assessment, ...]:
    submissions = tuple(Submitted(_tag(n), str(path)) for n, path in enumerate(paths))
    before = tuple(Submitted(_tag(100 + n), str(path)) for n, path in enumerate(earlier))
    dataset = str(home / "digits/test.safetensors")
    job = Evaluate(DIGITS_MODEL, ACCURACY, dataset, submissions, before, near, 1000)
    assessments = evaluate_submissions(job, _ignore).assessments
    check_entries(tuple(assessment.entry for assessment in assessments))
    return assessments


def _weights(path: Path) -> dict[str, torch.Tensor]:
    module = build_model(DIGITS_MODEL)
    load_weights(module, path)
    return dict(module.state_dict())


def test_digits_score_above_ninety_percent(home: Path) -> None:
    """Trained on a third of digits, 64-64-10 reads more than 90 % of another third; two such models are no copies."""
    first, second = _judge(home, home / "train", home / "more")
    assert first.entry.score > 900_000
    assert second.entry.score > 900_000
    assert first.entry.duplicate_of is second.entry.duplicate_of is None
    assert first.entry.root == compute_blob_id((home / "train").read_bytes()).root
    assert _judge(home, home / "train", home / "more") == (first, second)


def test_diabetes_reaches_least_squares(home: Path) -> None:
    """Gradient descent comes to the R^2 of central least squares on the 75/25 split with seed 0: 0.3594."""
    submissions = (Submitted(_tag(0), str(home / "linear")),)
    job = Evaluate(DIABETES_MODEL, R_SQUARED, str(home / "diabetes/test.safetensors"), submissions, (), 1000, 0)
    score = evaluate_submissions(job, _ignore).assessments[0].entry.score
    assert 2 * score - 1_000_000 == pytest.approx(359_400, abs=3_000)


def _permuted(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    order = torch.arange(63, -1, -1)
    return weights | {
        "layers.0.weight": weights["layers.0.weight"][order],
        "layers.0.bias": weights["layers.0.bias"][order],
        "layers.1.weight": weights["layers.1.weight"][:, order],
    }


def _scaled(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return weights | {name: weights[name] * 3 for name in ("layers.1.weight", "layers.1.bias")}


def _noisy(weights: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {name: tensor + 1e-4 * torch.randn(tensor.shape, generator=generator) for name, tensor in weights.items()}


@pytest.mark.parametrize("disguise", [dict, _permuted, _scaled, _noisy])
def test_copies_point_to_the_first_author(home: Path, tmp_path: Path, disguise: object) -> None:
    """The same file, permuted neurons, scaled outputs and a little noise are copies of what came earlier."""
    assert callable(disguise)
    save_tensors(disguise(_weights(home / "more")), tmp_path / "copy")
    entries = [a.entry for a in _judge(home, home / "train", home / "more", tmp_path / "copy", home / "more")]
    assert [entry.duplicate_of for entry in entries] == [None, None, _tag(1), _tag(1)]
    assert (entries[2].root == entries[1].root) == (disguise is dict)


@pytest.mark.parametrize("disguise", [dict, _permuted, _scaled, _noisy])
@pytest.mark.parametrize("gain", [0, 1])
def test_what_resembles_an_earlier_epochs_model_points_to_it(
    home: Path, tmp_path: Path, disguise: object, gain: int
) -> None:
    """Unless its score is better by the minimum, which none is here, or, with a minimum of 0, every one of them."""
    assert callable(disguise)
    save_tensors(disguise(_weights(home / "more")), tmp_path / "copy")
    earlier = (Submitted(_tag(8), str(tmp_path / "broken")), Submitted(_tag(9), str(home / "more")))
    (tmp_path / "broken").write_bytes(b"no model")
    submissions = (Submitted(_tag(0), str(tmp_path / "copy")), Submitted(_tag(1), str(home / "train")))
    dataset = str(home / "digits/test.safetensors")
    job = Evaluate(DIGITS_MODEL, ACCURACY, dataset, submissions, earlier, 1000, gain)
    copy, other = (assessment.entry for assessment in evaluate_submissions(job, _ignore).assessments)
    assert copy.duplicate_of == (_tag(9) if gain else None)
    assert other.duplicate_of is None


def test_threshold_zero_leaves_exact_copies(home: Path, tmp_path: Path) -> None:
    """Without a threshold, noise makes another model; equal outputs stay copies even under another root."""
    save_tensors(_noisy(_weights(home / "train")), tmp_path / "noisy")
    data = (home / "train").read_bytes()
    length = int.from_bytes(data[:8], "little")
    respelled = (length + 8).to_bytes(8, "little") + data[8 : 8 + length] + b" " * 8 + data[8 + length :]
    (tmp_path / "respelled").write_bytes(respelled)
    entries = [a.entry for a in _judge(home, home / "train", tmp_path / "noisy", tmp_path / "respelled", near=0)]
    assert [entry.duplicate_of for entry in entries] == [None, None, _tag(0)]
    assert entries[2].root != entries[0].root


def test_what_was_opened_earlier_is_owned_by_its_first_author(home: Path, tmp_path: Path) -> None:
    """A model of an earlier epoch under a new tag is a copy of that one, disguised or not."""
    save_tensors(_permuted(_weights(home / "train")), tmp_path / "permuted")
    (tmp_path / "garbage").write_bytes(b"nobody could run it")
    found = _judge(home, tmp_path / "permuted", home / "more", earlier=(tmp_path / "garbage", home / "train"))
    assert [one.entry.duplicate_of for one in found] == [_tag(101), None]
    assert [one.entry.score for one in found] == [
        one.entry.score for one in _judge(home, home / "train", home / "more")
    ]


def test_a_gpt_is_judged_by_its_loss(tmp_path: Path) -> None:
    """Trained on text, it scores better than an untrained one, which knows next to nothing: ln 96 of at most 5 nats."""
    model = gpt_model(vocabulary=96, context=64, width=16, layers=1, heads=2)
    parts = tuple(DatasetPart(name, weight) for name, weight in (("train", 1), ("test", 1), ("rest", 30)))
    split_dataset(SplitDataset("text", 0, parts, str(tmp_path)), _ignore)
    settings = TrainSettings(3, 10_000, 8, 1, "adam")
    job = Train(model, str(tmp_path / "train.safetensors"), settings, str(tmp_path / "trained"), None, None)
    trained = train_model(job, _ignore)
    assert isinstance(trained, Trained)
    assert trained.metric == "loss"
    torch.manual_seed(0)
    save_weights(build_model(model), tmp_path / "untrained")
    submissions = (Submitted(_tag(0), str(tmp_path / "trained")), Submitted(_tag(1), str(tmp_path / "untrained")))
    metric = MetricSpec("loss", False, 0, 5_000_000)
    evaluation = Evaluate(model, metric, str(tmp_path / "test.safetensors"), submissions, (), 1000, 1000)
    first, second = (one.entry for one in evaluate_submissions(evaluation, _ignore).assessments)
    assert second.score == pytest.approx((1 - math.log(96) / 5) * 1e6, abs=40_000)
    assert first.score > second.score + 150_000
    assert [one.entry for one in evaluate_submissions(evaluation, _ignore).assessments] == [first, second]


def test_unusable_files_get_a_verdict(home: Path, tmp_path: Path) -> None:
    """Garbage, a foreign architecture, NaN and overflowing outputs are invalid with a root and a reason; no harm."""
    weights = _weights(home / "train")
    (tmp_path / "garbage").write_bytes(b"\x80\x04pickle" * 100)
    save_tensors({"layers.0.weight": torch.ones(2, 2)}, tmp_path / "foreign")
    save_tensors(weights | {"layers.1.bias": torch.full((10,), math.nan)}, tmp_path / "nan")
    save_tensors({name: torch.full_like(tensor, 3e38) for name, tensor in weights.items()}, tmp_path / "overflow")
    (tmp_path / "empty").touch()
    names = ["garbage", "foreign", "nan", "overflow", "empty"]
    *invalid, good = _judge(home, *(tmp_path / name for name in names), home / "train")
    for name, assessment in zip(names, invalid, strict=True):
        assert assessment.entry.verdict is Verdict.INVALID, name
        assert assessment.entry.root == compute_root(tmp_path / name)
        assert assessment.reason
    assert good.entry.score == _judge(home, home / "train")[0].entry.score


@pytest.mark.parametrize(
    ("model", "metric", "dataset"),
    [
        (DIGITS_MODEL, R_SQUARED, "digits"),
        (DIABETES_MODEL, ACCURACY, "diabetes"),
        (DIABETES_MODEL, R_SQUARED, "digits"),
    ],
)
def test_metric_model_and_dataset_must_go_together(
    home: Path, model: ModelSpec, metric: MetricSpec, dataset: str
) -> None:
    """Accuracy of real values, R^2 of classes, and a model for other features fail the job: the task is at fault."""
    with pytest.raises(LearningError):
        evaluate_submissions(Evaluate(model, metric, str(home / dataset / "test.safetensors"), (), (), 0, 0), _ignore)
