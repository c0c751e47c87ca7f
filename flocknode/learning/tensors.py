"""Safetensors files from strangers: the header is judged before anything is allocated, the numbers after.

Format: 8 bytes little endian with the header's length, a JSON object {name: {dtype, shape, data_offsets}}, then the
tensors' bytes without gaps (https://huggingface.co/docs/safetensors). Nothing in it can run; what can hurt is a size.
"""

import math
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from flocknode.learning.errors import UnusableFile

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1024 * 1024
MAX_DIMENSIONS = 8
# The only types in use: real numbers, and the numbers of classes.
ELEMENT_BYTES = {"F32": 4, "I64": 8}


class TensorInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor as a header declares it; offsets count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header(path: Path) -> dict[str, TensorInfo]:
    """Return what a file declares, after checking it against the file's length; allocates at most the header.

    Raises `UnusableFile` for a truncated or oversized header, unknown types, and tensors that do not fill the file
    exactly.
    """
    length = path.stat().st_size
    with path.open("rb") as file:
        header_length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        if length < LENGTH_BYTES or header_length > min(MAX_HEADER_BYTES, length - LENGTH_BYTES):
            raise UnusableFile(f"a header of {header_length} bytes in a file of {length}, at most {MAX_HEADER_BYTES}")
        tensors = _parse_header(file.read(header_length))
    _check_layout(tensors, length - LENGTH_BYTES - header_length)
    return tensors


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


def save_tensors(tensors: Mapping[str, Tensor], path: Path) -> None:
    """Write the canonical file of some tensors, whole or not at all: sorted by name, no metadata."""
    partial = path.with_name(path.name + ".partial")
    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    save_file(plain, partial)
    os.replace(partial, path)


def _parse_header(header: bytes) -> dict[str, TensorInfo]:
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata: Any = entries.pop("__metadata__", None)
        if metadata is not None:
            msgspec.json.decode(metadata, type=dict[str, str])
        return {name: msgspec.json.decode(entry, type=TensorInfo) for name, entry in entries.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise UnusableFile(f"the header does not decode: {error}") from error


def _check_layout(tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        if tensor.dtype not in ELEMENT_BYTES:
            raise UnusableFile(f"tensor {name!r} has type {tensor.dtype}, allowed are {', '.join(ELEMENT_BYTES)}")
        if len(tensor.shape) > MAX_DIMENSIONS or min(tensor.shape, default=0) < 0:
            raise UnusableFile(f"tensor {name!r} has an impossible shape")
        begin, end = tensor.data_offsets
        if begin != position or end - begin != math.prod(tensor.shape) * ELEMENT_BYTES[tensor.dtype]:
            raise UnusableFile(f"tensor {name!r} does not lie where its shape and its neighbours say")
        position = end
    if position != data_bytes:
        raise UnusableFile(f"the header declares {position} bytes of tensors, the file holds {data_bytes}")
