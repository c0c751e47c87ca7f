"""Safetensors files from strangers: the header is judged before anything is allocated, the numbers after.

What a header may say, `protocol.tensor_files` knows.
"""

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flocknode.learning.errors import UnusableFile
from protocol.errors import Malformed
from protocol.models import Shapes
from protocol.tensor_files import (
    LENGTH_BYTES,
    ElementType,
    TensorInfo,
    check_shapes,
    parse_header,
    read_header_length,
)


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return what a file declares, after checking it against the file's length; allocates at most the header.

    Raises `UnusableFile` for a truncated or oversized header, unknown types, and tensors that do not fill the file
    exactly.
    """
    length = path.stat().st_size
    try:
        with path.open("rb") as file:
            header_length = read_header_length(file.read(LENGTH_BYTES), length)
            return parse_header(file.read(header_length), length)
    except Malformed as error:
        raise UnusableFile(error.message) from error


def load_tensors(path: Path, header: Mapping[str, TensorInfo]) -> dict[str, Tensor]:
    """Return the tensors of a file; raise `UnusableFile` if they are not what its header said, or not finite.

    Compare the header with what is expected first: this allocates whatever it says.
    """
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except SafetensorError as error:
        raise UnusableFile(f"not a safetensors file: {error}") from error
    # A name that stands twice in the header may be read differently here and there.
    if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != {n: t.shape for n, t in header.items()}:
        raise UnusableFile("the header contradicts itself")
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise UnusableFile(f"tensor {name!r} holds NaN or infinity")
    return tensors


def load_model(path: Path, shapes: Shapes, element: ElementType) -> dict[str, Tensor]:
    """Return the tensors of a model's file; raise `UnusableFile` unless it has exactly these, of this type, all finite.

    The header is compared before anything is allocated, so a file costs what the declared architecture costs.
    """
    header = read_header(path)
    try:
        check_shapes(header, shapes, element)
    except Malformed as error:
        raise UnusableFile(error.message) from error
    return load_tensors(path, header)


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the canonical file of some tensors, whole or not at all: sorted by name, no metadata."""
    partial = path.with_name(path.name + ".partial")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, partial)
    os.replace(partial, path)
