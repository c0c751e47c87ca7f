"""What poisoners do to files: labels turned around before training, updates turned around or drowned after it.

On the bytes of safetensors files, since nothing outside the learning worker computes with tensors. Only poisoners need
this, so it lives here, not in the worker.
"""

import sys
from array import array
from collections.abc import Callable, Iterable
from pathlib import Path
from random import Random
from typing import Literal, get_args

from protocol.tensor_files import LENGTH_BYTES, TensorInfo, parse_header, read_header_length

Attack = Literal["label-flip", "sign-flip", "noise"]
ATTACKS: tuple[Attack, ...] = get_args(Attack)

SIGN_FLIP_FACTOR = 3
# The noise's deviation, in weights; those of a trained layer are about 0.1.
NOISE_DEVIATION = 0.5
ONE = 2**16
MAX_MAGNITUDE = 2**31 - 1
INT32, INT64 = "i", "q"


def flip_labels(source: Path, target: Path, classes: int) -> None:
    """Write a dataset whose label c is classes - 1 - c."""
    head, tensors, data = read_tensors(source)
    begin, end = tensors["targets"].data_offsets
    labels = decode(INT64, data[begin:end])
    flipped = encode(array(INT64, (classes - 1 - label for label in labels)))
    target.write_bytes(head + data[:begin] + flipped + data[end:])


def flip_sign(start: Path, update: Path) -> None:
    """Turn an update around, three times as far: start - 3 (update - start)."""
    base = decode(INT32, read_tensors(start)[2])
    _change(update, lambda values: (a - SIGN_FLIP_FACTOR * (b - a) for a, b in zip(base, values, strict=True)))


def add_noise(update: Path, seed: int) -> None:
    """Add to each weight of an update a number from a normal distribution of deviation 0.5."""
    random = Random(seed)
    _change(update, lambda values: (value + round(random.gauss(0, NOISE_DEVIATION * ONE)) for value in values))


def read_tensors(path: Path) -> tuple[bytes, dict[str, TensorInfo], bytes]:
    """Return a safetensors file's bytes up to the data, what its header says, and the data."""
    content = path.read_bytes()
    begin = LENGTH_BYTES + read_header_length(content, len(content))
    return content[:begin], parse_header(content[LENGTH_BYTES:begin], len(content)), content[begin:]


def decode(code: str, data: bytes) -> "array[int]":
    """Return the integers that lie in some bytes, little endian."""
    values = array(code, data)
    if sys.byteorder == "big":
        values.byteswap()
    return values


def encode(values: "array[int]") -> bytes:
    """Return integers as bytes, little endian; their order in the array may change."""
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def _change(path: Path, change: Callable[["array[int]"], Iterable[int]]) -> None:
    head, _, data = read_tensors(path)
    changed = change(decode(INT32, data))
    path.write_bytes(head + encode(array(INT32, (min(max(v, -MAX_MAGNITUDE), MAX_MAGNITUDE) for v in changed))))
