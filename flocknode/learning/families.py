"""The registry of model families: a name with numbers becomes a module.

Operators add families through the entry-point group `flocknode.models`: a name with a dot in it, and a function from
the settings to a module. A family may compute what it likes, but its parameters are float32, and equal settings give
equal names and shapes.
"""

from collections.abc import Callable, Mapping
from importlib.metadata import entry_points

import torch
from torch import nn

from flocknode.learning.errors import LearningError
from flocknode.learning.networks import Cnn, Gpt, Mlp
from protocol.models import ModelSpec, check_model, get_settings

ENTRY_POINT_GROUP = "flocknode.models"

Settings = Mapping[str, tuple[int, ...]]
Builder = Callable[[Settings], nn.Module]


def build_linear(settings: Settings) -> nn.Module:
    """Return an affine map: least squares on real targets, logistic regression on classes."""
    return nn.Linear(settings["inputs"][0], settings["outputs"][0])


def build_mlp(settings: Settings) -> nn.Module:
    """Return a multilayer perceptron with the widths of `layers`."""
    return Mlp(settings["layers"])


def build_cnn(settings: Settings) -> nn.Module:
    """Return a convolutional network for rows that hold an image of shape `image`."""
    channels, height, width = settings["image"]
    return Cnn((channels, height, width), settings["channels"], settings["outputs"][0])


def build_gpt(settings: Settings) -> nn.Module:
    """Return a decoder-only transformer."""
    return Gpt(**{name: values[0] for name, values in settings.items()})


BUILT_IN: Mapping[str, Builder] = {"linear": build_linear, "mlp": build_mlp, "cnn": build_cnn, "gpt": build_gpt}


def build_model(model: ModelSpec) -> nn.Module:
    """Return a freshly initialised module, from torch's random state, of the architecture that a spec declares.

    Raises `OutOfBounds` for a spec the log would not accept, `LearningError` if this node lacks the family.
    """
    check_model(model)
    module = (BUILT_IN.get(model.family) or _load_builder(model.family))(get_settings(model))
    odd = [name for name, tensor in module.state_dict().items() if tensor.dtype != torch.float32]
    if odd:
        raise LearningError(f"family {model.family!r} has tensors that are not float32: {', '.join(odd)}")
    return module


def _load_builder(family: str) -> Builder:
    found = tuple(entry_points(group=ENTRY_POINT_GROUP, name=family))
    if len(found) != 1:
        raise LearningError(f"{len(found)} installed packages offer the model family {family!r}, one is needed")
    builder: Builder = found[0].load()
    return builder
