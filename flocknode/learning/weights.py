"""Weights files: into a module and out of one."""

from pathlib import Path

from torch import nn

from flocknode.learning.tensors import load_model, save_tensors
from protocol.models import Shapes


def get_module_shapes(module: nn.Module) -> Shapes:
    """Return the tensors that a file of this architecture has, no more and no less."""
    return {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a file; raise `UnusableFile` unless the file has exactly the module's tensors, all finite.

    The header is compared before anything is allocated, so a file costs what the declared architecture costs.
    """
    module.load_state_dict(load_model(path, get_module_shapes(module), "F32"), strict=True)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights in canonical form: equal weights are equal bytes."""
    save_tensors(module.state_dict(), path)
