"""Specs of models and metrics: what the log accepts, and how a value becomes a score."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.errors import Malformed, OutOfBounds
from protocol.models import (
    MAX_METRIC_MILLIONTHS,
    MetricSpec,
    ModelSpec,
    Setting,
    check_metric,
    check_model,
    cnn_model,
    count_values,
    get_shapes,
    gpt_model,
    linear_model,
    mlp_model,
    to_score,
)

ACCURACY = MetricSpec("accuracy", True, 0, 1_000_000)
BOUNDS = st.integers(-MAX_METRIC_MILLIONTHS, MAX_METRIC_MILLIONTHS)


CNN = cnn_model(image=(1, 28, 28), channels=(8, 16), outputs=10)
GPT = gpt_model(vocabulary=96, context=64, width=48, layers=2, heads=4)


def changed(model: ModelSpec, name: str, *values: int) -> ModelSpec:
    """Return the spec with other values of one setting."""
    settings = (Setting(one.name, values) if one.name == name else one for one in model.settings)
    return ModelSpec(model.family, tuple(settings))


@pytest.mark.parametrize(
    "model", [linear_model(inputs=10, outputs=1), mlp_model(64, 64, 10), CNN, GPT, ModelSpec("acme.net", ())]
)
def test_good_models_pass_and_survive_the_wire(model: ModelSpec) -> None:
    """Built-in families with their own settings and foreign ones with a dot are accepted, and encode canonically."""
    check_model(model)
    assert decode(encode(model), ModelSpec) == model


@pytest.mark.parametrize(
    "model",
    [
        ModelSpec("resnet", ()),
        ModelSpec("linear", (Setting("inputs", (10,)),)),
        ModelSpec("linear", (Setting("outputs", (1,)), Setting("inputs", (10,)))),
        ModelSpec("linear", (Setting("inputs", (10, 10)), Setting("outputs", (1,)))),
        linear_model(inputs=0, outputs=1),
        linear_model(inputs=2**16 + 1, outputs=1),
        mlp_model(64),
        mlp_model(*([2] * 17)),
        ModelSpec("mlp", (Setting("depth", (3,)), Setting("layers", (64, 10)))),
        ModelSpec("acme.net", (Setting("a", (1,)), Setting("a", (1,)))),
        ModelSpec("cnn", CNN.settings[1:]),
        changed(CNN, "image", 28, 28),
        changed(CNN, "image", 0, 28, 28),
        changed(CNN, "image", 1, 3, 28),
        changed(CNN, "image", 1, 1025, 28),
        changed(CNN, "image", 1, 1024, 1024),
        changed(CNN, "channels", 8, 1025),
        changed(CNN, "channels", 8, 0),
        changed(CNN, "channels", *([1] * 17)),
        changed(CNN, "outputs", 10, 10),
        changed(CNN, "outputs", 2**16 + 1),
        ModelSpec("gpt", GPT.settings[1:]),
        changed(GPT, "heads", 5),
        changed(GPT, "heads", 0),
        changed(changed(GPT, "width", 65), "heads", 65),
        changed(GPT, "width", 4100),
        changed(GPT, "layers", 49),
        changed(GPT, "layers", 2, 2),
        changed(GPT, "context", 4097),
        changed(GPT, "vocabulary", 2**16 + 1),
    ],
)
def test_bad_models_are_refused(model: ModelSpec) -> None:
    """Unknown families, missing, extra, unsorted or repeated settings, and widths out of bounds are refused."""
    with pytest.raises(OutOfBounds):
        check_model(model)


@pytest.mark.parametrize(
    "metric",
    [
        MetricSpec("vibes", True, 0, 1),
        MetricSpec("mse", True, 0, 1),
        MetricSpec("accuracy", False, 0, 1),
        MetricSpec("loss", True, 0, 1),
        MetricSpec("r2", True, 1, 1),
    ],
)
def test_bad_metrics_are_refused(metric: MetricSpec) -> None:
    """Unknown metrics, the wrong direction and empty intervals are refused."""
    with pytest.raises(OutOfBounds):
        check_metric(metric)


def test_shapes_follow_from_the_settings() -> None:
    """The tensors of small models, counted by hand; a foreign family's are not known here."""
    assert get_shapes(mlp_model(3, 2, 1)) == {
        "layers.0.weight": (2, 3),
        "layers.0.bias": (2,),
        "layers.1.weight": (1, 2),
        "layers.1.bias": (1,),
    }
    assert get_shapes(cnn_model(image=(3, 5, 4), channels=(2,), outputs=7)) == {
        "blocks.0.weight": (2, 3, 3, 3),
        "blocks.0.bias": (2,),
        "head.weight": (7, 2 * 2 * 2),
        "head.bias": (7,),
    }
    shapes = get_shapes(GPT)
    assert shapes is not None
    assert len(shapes) == 2 + 2 * 12 + 4
    assert (shapes["tokens.weight"], shapes["blocks.1.widen.weight"]) == ((96, 48), (192, 48))
    assert get_shapes(ModelSpec("acme.net", ())) is None


def test_empty_setting_does_not_decode() -> None:
    """A setting without values is not a record."""
    with pytest.raises(Malformed):
        decode(encode(("layers", ())), Setting)


def test_known_scores() -> None:
    """Accuracy maps straight, R^2 from [-1, 1], and a loss is turned around; everything outside is clipped."""
    r_squared = MetricSpec("r2", True, -1_000_000, 1_000_000)
    loss = MetricSpec("loss", False, 0, 2_000_000)
    for metric in (ACCURACY, r_squared, loss):
        check_metric(metric)
    assert to_score(941_700, ACCURACY) == 941_700
    assert to_score(359_400, r_squared) == 679_700
    assert to_score(500_000, loss) == 750_000
    assert to_score(9_000_000, loss) == 0
    assert to_score(-5_000_000, r_squared) == 0
    assert to_score(1, MetricSpec("mse", False, 0, 3)) == 666_666


@given(BOUNDS, BOUNDS, BOUNDS, BOUNDS, st.booleans())
def test_score_is_in_range_and_monotone(first: int, second: int, low: int, high: int, higher: bool) -> None:
    """A better value never scores lower, and every score lies in [0, 1]."""
    if low >= high:
        low, high = high, low + 1
    metric = MetricSpec("r2" if higher else "mse", higher, low, high)
    worse, better = sorted((first, second), reverse=not higher)
    assert 0 <= to_score(worse, metric) <= to_score(better, metric) <= 1_000_000


def test_a_model_says_how_many_numbers_it_has():
    """All tensors together; of a family with a dot nobody here knows."""
    assert count_values(mlp_model(64, 8, 10)) == 64 * 8 + 8 + 8 * 10 + 10
    assert count_values(linear_model(inputs=3, outputs=2)) == 8
    assert count_values(ModelSpec("acme.resnet", ())) is None
