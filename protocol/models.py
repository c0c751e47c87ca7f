"""How a task names a model and a metric: a family with a configuration, never code (arena.md "Task").

Records, their stateless checks, and the map from a metric's value to a score. What a family computes lives in
`flocknode.learning`; here it is a name with numbers, and the shapes of the tensors that such a model has.
"""

import math
from collections.abc import Callable
from itertools import pairwise
from typing import Annotated

from msgspec import Meta

from protocol.errors import OutOfBounds
from protocol.types import Name, Record

MAX_SETTINGS = 16
MAX_SETTING_VALUES = 64
MAX_WIDTH = 2**16
MAX_LAYERS = 16
MAX_CHANNELS = 1024
MAX_SIDE = 1024
MAX_TOKENS = 4096
MAX_BLOCKS = 48
MAX_HEADS = 64
MAX_METRIC_MILLIONTHS = 10**12
SCORE_ONE = 1_000_000

# The metrics that validators compute, and whether a higher value is better.
# `loss` is the mean cross-entropy in nats, of classes or of each next token.
METRICS = {"accuracy": True, "loss": False, "mse": False, "r2": True}

Settings = dict[str, tuple[int, ...]]
# The shape of each tensor of a model, all of them float32, by name.
Shapes = dict[str, tuple[int, ...]]

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


def cnn_model(*, image: tuple[int, int, int], channels: tuple[int, ...], outputs: int) -> ModelSpec:
    """Return the spec of a convolutional network: per entry of `channels` a 3 x 3 convolution, ReLU, halving by max.

    `image` is (channels, height, width) of what a row of features holds.
    """
    settings = (Setting("channels", channels), Setting("image", image), Setting("outputs", (outputs,)))
    return ModelSpec("cnn", settings)


def gpt_model(*, vocabulary: int, context: int, width: int, layers: int, heads: int) -> ModelSpec:
    """Return the spec of a decoder-only transformer that predicts each next token of `context` ones."""
    values = {"context": context, "heads": heads, "layers": layers, "vocabulary": vocabulary, "width": width}
    return ModelSpec("gpt", tuple(Setting(name, (value,)) for name, value in values.items()))


def get_settings(model: ModelSpec) -> Settings:
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


def get_shapes(model: ModelSpec) -> Shapes | None:
    """Return the tensors that weights of this model have, no more and no less; None for a family with a dot.

    The spec must have passed `check_model`.
    """
    shapes_of = _SHAPES.get(model.family)
    return None if shapes_of is None else shapes_of(get_settings(model))


def count_values(model: ModelSpec) -> int | None:
    """Return how many numbers weights of this model have; None for a family with a dot."""
    shapes = get_shapes(model)
    return None if shapes is None else sum(math.prod(shape) for shape in shapes.values())


def _is_width(width: int) -> bool:
    return 1 <= width <= MAX_WIDTH


def _are_single(settings: Settings, *names: str) -> bool:
    return set(settings) == set(names) and all(len(values) == 1 and values[0] >= 1 for values in settings.values())


def _is_linear(settings: Settings) -> bool:
    return _are_single(settings, "inputs", "outputs") and all(_is_width(values[0]) for values in settings.values())


def _is_mlp(settings: Settings) -> bool:
    layers = settings.get("layers", ())
    return set(settings) == {"layers"} and 2 <= len(layers) <= MAX_LAYERS and all(map(_is_width, layers))


def _is_cnn(settings: Settings) -> bool:
    if set(settings) != {"channels", "image", "outputs"}:
        return False
    image, channels, outputs = settings["image"], settings["channels"], settings["outputs"]
    if len(image) != 3 or len(outputs) != 1 or not _is_width(outputs[0]):
        return False
    # Each block halves the sides; what is left at the end are the inputs of an affine map, at least one.
    sides = all(side <= MAX_SIDE for side in image[1:])
    widths = all(1 <= width <= MAX_CHANNELS for width in (*channels, image[0]))
    return len(channels) <= MAX_LAYERS and sides and widths and _is_width(_count_last(settings))


def _is_gpt(settings: Settings) -> bool:
    if not _are_single(settings, "context", "heads", "layers", "vocabulary", "width"):
        return False
    context, heads, layers, vocabulary, width = (values[0] for _, values in sorted(settings.items()))
    within = context <= MAX_TOKENS and layers <= MAX_BLOCKS and heads <= MAX_HEADS and _is_width(vocabulary)
    return within and width <= MAX_TOKENS and width % heads == 0


def _count_last(settings: Settings) -> int:
    """Return how many values the last block of a convolutional network puts out."""
    image, channels = settings["image"], settings["channels"]
    height, width = (side >> len(channels) for side in image[1:])
    return channels[-1] * height * width


def _affine(name: str, inputs: int, outputs: int) -> Shapes:
    return {f"{name}weight": (outputs, inputs), f"{name}bias": (outputs,)}


def _shapes_of_linear(settings: Settings) -> Shapes:
    return _affine("", settings["inputs"][0], settings["outputs"][0])


def _shapes_of_mlp(settings: Settings) -> Shapes:
    shapes: Shapes = {}
    for number, (inputs, outputs) in enumerate(pairwise(settings["layers"])):
        shapes |= _affine(f"layers.{number}.", inputs, outputs)
    return shapes


def _shapes_of_cnn(settings: Settings) -> Shapes:
    shapes: Shapes = {}
    for number, (inputs, outputs) in enumerate(pairwise((settings["image"][0], *settings["channels"]))):
        shapes |= {f"blocks.{number}.weight": (outputs, inputs, 3, 3), f"blocks.{number}.bias": (outputs,)}
    return shapes | _affine("head.", _count_last(settings), settings["outputs"][0])


def _shapes_of_gpt(settings: Settings) -> Shapes:
    width, vocabulary = settings["width"][0], settings["vocabulary"][0]
    shapes: Shapes = {"tokens.weight": (vocabulary, width), "positions.weight": (settings["context"][0], width)}
    for number in range(settings["layers"][0]):
        block = f"blocks.{number}."
        for norm in ("norm_attention", "norm_mlp"):
            shapes |= {f"{block}{norm}.weight": (width,), f"{block}{norm}.bias": (width,)}
        shapes |= _affine(f"{block}attention.", width, 3 * width) | _affine(f"{block}project.", width, width)
        shapes |= _affine(f"{block}widen.", width, 4 * width) | _affine(f"{block}narrow.", 4 * width, width)
    return shapes | {"norm.weight": (width,), "norm.bias": (width,)} | _affine("head.", width, vocabulary)


_FAMILIES: dict[str, Callable[[Settings], bool]] = {
    "cnn": _is_cnn,
    "gpt": _is_gpt,
    "linear": _is_linear,
    "mlp": _is_mlp,
}
_SHAPES: dict[str, Callable[[Settings], Shapes]] = {
    "cnn": _shapes_of_cnn,
    "gpt": _shapes_of_gpt,
    "linear": _shapes_of_linear,
    "mlp": _shapes_of_mlp,
}
