"""The header of a safetensors file: judged before anything is allocated, by validators and by the ledger alike.

Format: 8 bytes little endian with the header's length, a JSON object {name: {dtype, shape, data_offsets}}, then the
tensors' bytes without gaps (https://huggingface.co/docs/safetensors). Nothing in it can run; what can hurt is a size.
"""

import math
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from protocol.errors import Malformed
from protocol.models import Shapes

LENGTH_BYTES = 8
MAX_HEADER_BYTES = 1024 * 1024
MAX_DIMENSIONS = 8
# The only types in use: real numbers, numbers of classes and exact sums, and the fixed-point numbers of an alliance.
ELEMENT_BYTES = {"F32": 4, "I32": 4, "I64": 8}
ElementType = Literal["F32", "I32", "I64"]


class TensorInfo(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One tensor as a header declares it; offsets count from the end of the header."""

    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


def read_header_length(start: bytes, file_bytes: int) -> int:
    """Return the length of the header of a file that begins like this; raise `Malformed` for an impossible one."""
    header_length = int.from_bytes(start[:LENGTH_BYTES], "little")
    if file_bytes < LENGTH_BYTES or header_length > min(MAX_HEADER_BYTES, file_bytes - LENGTH_BYTES):
        raise Malformed(f"a header of {header_length} bytes in a file of {file_bytes}, at most {MAX_HEADER_BYTES}")
    return header_length


def parse_header(header: bytes, file_bytes: int) -> dict[str, TensorInfo]:
    """Return what a file of this length declares.

    Raises `Malformed` for what does not decode, unknown types, and tensors that do not fill the file exactly.
    """
    try:
        entries = msgspec.json.decode(header, type=dict[str, msgspec.Raw])
        metadata: Any = entries.pop("__metadata__", None)
        if metadata is not None:
            msgspec.json.decode(metadata, type=dict[str, str])
        tensors = {name: msgspec.json.decode(entry, type=TensorInfo) for name, entry in entries.items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise Malformed(f"the header does not decode: {error}") from error
    _check_layout(tensors, file_bytes - LENGTH_BYTES - len(header))
    return tensors


def check_shapes(tensors: Mapping[str, TensorInfo], shapes: Shapes, element: ElementType = "F32") -> None:
    """Return if a file has exactly the tensors of a model, all of one type; raise `Malformed` otherwise."""
    expected = {name: (element, shape) for name, shape in shapes.items()}
    found = {name: (tensor.dtype, tensor.shape) for name, tensor in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if found.get(name) != expected.get(name):
            raise Malformed(f"tensor {name!r} should be {expected.get(name)}, is {found.get(name)}")


def _check_layout(tensors: Mapping[str, TensorInfo], data_bytes: int) -> None:
    position = 0
    for name, tensor in sorted(tensors.items(), key=lambda item: item[1].data_offsets):
        if tensor.dtype not in ELEMENT_BYTES:
            raise Malformed(f"tensor {name!r} has type {tensor.dtype}, allowed are {', '.join(ELEMENT_BYTES)}")
        if len(tensor.shape) > MAX_DIMENSIONS or min(tensor.shape, default=0) < 0:
            raise Malformed(f"tensor {name!r} has an impossible shape")
        begin, end = tensor.data_offsets
        if begin != position or end - begin != math.prod(tensor.shape) * ELEMENT_BYTES[tensor.dtype]:
            raise Malformed(f"tensor {name!r} does not lie where its shape and its neighbours say")
        position = end
    if position != data_bytes:
        raise Malformed(f"the header declares {position} bytes of tensors, the file holds {data_bytes}")
