"""Weights files: into a module and out of one."""

from pathlib import Path

from torch import nn

from flocknode.learning.errors import UnusableFile
from flocknode.learning.tensors import load_tensors, read_header, save_tensors

# The type and shape of each tensor, by name.
Layout = dict[str, tuple[str, tuple[int, ...]]]


def get_layout(module: nn.Module) -> Layout:
    """Return the tensors that a weights file of this architecture has, no more and no less."""
    return {name: ("F32", tuple(tensor.shape)) for name, tensor in module.state_dict().items()}


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a file; raise `UnusableFile` unless the file has exactly the module's tensors, all finite.

    The header is compared before anything is allocated, so a file costs what the declared architecture costs.
    """
    header = read_header(path)
    found: Layout = {name: (tensor.dtype, tensor.shape) for name, tensor in header.items()}
    expected = get_layout(module)
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise UnusableFile(f"tensor {name!r} should be {expected.get(name)}, is {found.get(name)}")
    module.load_state_dict(load_tensors(path, header), strict=True)


def save_weights(module: nn.Module, path: Path) -> None:
    """Write a module's weights in canonical form: equal weights are equal bytes."""
    save_tensors(module.state_dict(), path)
