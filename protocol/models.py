"""How a task names a model and a metric: a family with a configuration, never code (arena.md "Task").

Records, their stateless checks, and the map from a metric's value to a score. What a family computes lives in
`flocknode.learning`; here it is only a name with numbers.
"""

from collections.abc import Callable
from typing import Annotated

from msgspec import Meta

from protocol.errors import OutOfBounds
from protocol.types import Name, Record

MAX_SETTINGS = 16
MAX_SETTING_VALUES = 64
MAX_WIDTH = 2**16
MAX_LAYERS = 16
MAX_METRIC_MILLIONTHS = 10**12
SCORE_ONE = 1_000_000

# The metrics that validators compute, and whether a higher value is better.
METRICS = {"accuracy": True, "mse": False, "r2": True}

# A configuration value; what it means is the family's business.
SettingValue = Annotated[int, Meta(ge=0, le=2**53)]
# The value of a metric in millionths; negative for a poor R^2.
MetricValue = Annotated[int, Meta(ge=-MAX_METRIC_MILLIONTHS, le=MAX_METRIC_MILLIONTHS)]


class Setting(Record):
    """One named entry of a model's configuration."""

    name: Name
    values: Annotated[tuple[SettingValue, ...], Meta(min_length=1, max_length=MAX_SETTING_VALUES)]


class ModelSpec(Record):
    """A model's architecture: a family of the registry and its settings, sorted by name, each name once.

    A family of this repository has a plain name (`mlp`), one that operators added a name with a dot (`acme.resnet`).
    """

    family: Name
    settings: Annotated[tuple[Setting, ...], Meta(max_length=MAX_SETTINGS)]


class MetricSpec(Record):
    """What a task measures: the metric, its direction, and the values that become the scores 0 and 1."""

    name: Name
    higher_is_better: bool
    low_millionths: MetricValue
    high_millionths: MetricValue


def linear_model(*, inputs: int, outputs: int) -> ModelSpec:
    """Return the spec of an affine map: least squares on real targets, logistic regression on classes."""
    return ModelSpec("linear", (Setting("inputs", (inputs,)), Setting("outputs", (outputs,))))


def mlp_model(*layers: int) -> ModelSpec:
    """Return the spec of a multilayer perceptron with ReLU between its layers; widths from input to output."""
    return ModelSpec("mlp", (Setting("layers", layers),))


def get_settings(model: ModelSpec) -> dict[str, tuple[int, ...]]:
    """Return a model's settings by name."""
    return {setting.name: setting.values for setting in model.settings}


def check_model(model: ModelSpec) -> None:
    """Return if the spec is one that the log accepts; raise `OutOfBounds` otherwise.

    Families of this repository must be known and have exactly their settings, within their bounds. A family with a dot
    in its name is judged by the nodes that installed it, so here only its form counts.
    """
    names = [setting.name for setting in model.settings]
    if names != sorted(set(names)):
        raise OutOfBounds("the model's settings are not sorted and distinct", family=model.family)
    if "." in model.family:
        return
    is_within_bounds = _FAMILIES.get(model.family)
    if is_within_bounds is None:
        raise OutOfBounds(f"unknown model family {model.family!r}, known are {', '.join(sorted(_FAMILIES))}")
    if not is_within_bounds(get_settings(model)):
        raise OutOfBounds(f"the settings do not describe a model of family {model.family!r}", family=model.family)


def check_metric(metric: MetricSpec) -> None:
    """Return if the metric is known, has its own direction and bounds in order; raise `OutOfBounds` otherwise."""
    if metric.name not in METRICS:
        raise OutOfBounds(f"unknown metric {metric.name!r}, known are {', '.join(sorted(METRICS))}")
    if metric.higher_is_better != METRICS[metric.name]:
        raise OutOfBounds(f"the direction of {metric.name!r} is the other one", metric=metric.name)
    if metric.low_millionths >= metric.high_millionths:
        raise OutOfBounds("the metric's lower bound is not below its upper bound", metric=metric.name)


def to_score(value_millionths: int, metric: MetricSpec) -> int:
    """Return the score in millionths, 0 at the worse bound and 1,000,000 at the better one; values outside are clipped.

    Rounds down, so that a full score means that the better bound was reached.
    """
    value = min(max(value_millionths, metric.low_millionths), metric.high_millionths)
    gained = value - metric.low_millionths if metric.higher_is_better else metric.high_millionths - value
    return gained * SCORE_ONE // (metric.high_millionths - metric.low_millionths)


def _is_width(width: int) -> bool:
    return 1 <= width <= MAX_WIDTH


def _is_linear(settings: dict[str, tuple[int, ...]]) -> bool:
    return set(settings) == {"inputs", "outputs"} and all(
        len(values) == 1 and _is_width(values[0]) for values in settings.values()
    )


def _is_mlp(settings: dict[str, tuple[int, ...]]) -> bool:
    layers = settings.get("layers", ())
    return set(settings) == {"layers"} and 2 <= len(layers) <= MAX_LAYERS and all(map(_is_width, layers))


_FAMILIES: dict[str, Callable[[dict[str, tuple[int, ...]]], bool]] = {"linear": _is_linear, "mlp": _is_mlp}
