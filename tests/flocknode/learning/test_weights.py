"""Weights files from strangers: everything that is not exactly the declared architecture is refused."""

import math
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from flocknode.learning.errors import UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.tensors import read_header, save_tensors
from flocknode.learning.weights import load_weights, save_weights
from protocol.models import linear_model
from protocol.tensor_files import MAX_HEADER_BYTES

WriteRaw = Callable[..., Path]
# Weights [1, 2] and bias [1] of a linear model with two inputs and one output.
WEIGHT = {"dtype": "F32", "shape": [1, 2], "data_offsets": [4, 12]}
BIAS = {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}
HEADER = {"bias": BIAS, "weight": WEIGHT}
DATA = struct.pack("<3f", 0.5, 1.0, -1.0)
NAN, INFINITY = struct.pack("<f", math.nan), struct.pack("<f", math.inf)


@pytest.fixture
def module() -> nn.Module:
    """Return the module that the hand-made files are for."""
    return build_model(linear_model(inputs=2, outputs=1))


def test_a_good_file_fills_the_module(module: nn.Module, write_raw: WriteRaw) -> None:
    """Names, types and shapes as declared: the numbers arrive; metadata in the header does not matter."""
    load_weights(module, write_raw({"__metadata__": {"format": "pt"}, **HEADER}, DATA))
    assert module(torch.tensor([[1.0, 1.0]])).item() == 0.5


HOSTILE = {
    "empty": (b"", b"", {"length": 0}),
    "huge header": (HEADER, DATA, {"length": 2**63}),
    "header over its limit": (b" " * (MAX_HEADER_BYTES + 1), b"", {}),
    "header longer than the file": (HEADER, DATA, {"length": 5000}),
    "header cut": (HEADER, DATA, {"length": 40}),
    "not json": (b"\x80\x04pickle", DATA, {}),
    "not utf-8": (b'{"\xff\xfe": 1}', DATA, {}),
    "nesting bomb": (b'{"bias":' + b"[" * 500_000, b"", {}),
    "integer bomb": (b'{"bias":{"dtype":"F32","shape":[1' + b"0" * 5000 + b'],"data_offsets":[0,4]}}', b"", {}),
    "claims a terabyte": ({**HEADER, "weight": {**WEIGHT, "shape": [2**38], "data_offsets": [4, 4 + 2**40]}}, DATA, {}),
    "negative shape": ({**HEADER, "weight": {**WEIGHT, "shape": [-1, -2]}}, DATA, {}),
    "overlapping": ({**HEADER, "weight": {**WEIGHT, "data_offsets": [0, 8]}}, DATA, {}),
    "wrong shape": ({**HEADER, "weight": {**WEIGHT, "shape": [2, 1]}}, DATA, {}),
    "wrong type": ({**HEADER, "weight": {**WEIGHT, "dtype": "F64", "shape": [1]}}, DATA, {}),
    "other type": ({**HEADER, "weight": {**WEIGHT, "dtype": "I64", "shape": [1]}}, DATA, {}),
    "missing tensor": ({"bias": BIAS}, DATA[:4], {}),
    "extra tensor": ({**HEADER, "x": {"dtype": "F32", "shape": [1], "data_offsets": [12, 16]}}, DATA + DATA[:4], {}),
    "extra empty": ({**HEADER, "x": {"dtype": "F32", "shape": [0], "data_offsets": [12, 12]}}, DATA, {}),
    "other name": ({"bias": BIAS, "weights": WEIGHT}, DATA, {}),
    "metadata that is no text": ({"__metadata__": {"a": 1}, **HEADER}, DATA, {}),
    "said twice": (
        b'{"bias":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"weight":{"dtype":"F32","shape":[2,1],"data_offsets"'
        b':[4,12]},"weight":{"dtype":"F32","shape":[1,2],"data_offsets":[4,12]}}',
        DATA[:8] + NAN,
        {},
    ),
    "unknown field": ({**HEADER, "bias": {**BIAS, "code": "import os"}}, DATA, {}),
    "truncated": (HEADER, DATA[:-1], {}),
    "trailing bytes": (HEADER, DATA + b"\0", {}),
    "nan": (HEADER, DATA[:8] + NAN, {}),
    "infinity": (HEADER, INFINITY + DATA[4:], {}),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_refused(module: nn.Module, write_raw: WriteRaw, case: str) -> None:
    """Each way to lie in a file is refused, says so, and leaves the module as it was."""
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    header, data, extra = HOSTILE[case]
    with pytest.raises(UnusableFile):
        load_weights(module, write_raw(header, data, **extra))
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())


def test_a_large_lie_allocates_nothing(write_raw: WriteRaw) -> None:
    """A file that claims 2^63 bytes of header is refused before memory is asked for it."""
    path = write_raw(HEADER, DATA, length=2**63)
    tracemalloc.start()
    with pytest.raises(UnusableFile):
        read_header(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 256 * 1024


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200, deadline=None)
@given(position=st.integers(0, 200), value=st.integers(0, 255), cut=st.integers(0, 200))
def test_any_damage_is_refused_or_harmless(tmp_path: Path, position: int, value: int, cut: int) -> None:
    """A changed or missing byte anywhere ends in a refusal or in finite weights, never in another error."""
    module = build_model(linear_model(inputs=2, outputs=1))
    path = tmp_path / "damaged"
    save_weights(module, path)
    data = bytearray(path.read_bytes())
    data[position % len(data)] = value
    path.write_bytes(data[: len(data) - cut])
    try:
        load_weights(module, path)
    except UnusableFile:
        return
    assert all(torch.isfinite(tensor).all() for tensor in module.state_dict().values())


def test_saving_is_canonical(tmp_path: Path) -> None:
    """The order of names and the layout in memory do not change the bytes; no half-written file stays behind."""
    first, second = torch.arange(6.0).reshape(2, 3), torch.ones(2)
    save_tensors({"a": first, "b": second}, tmp_path / "one")
    save_tensors({"b": second, "a": first.t().contiguous().t()}, tmp_path / "two")
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one", "two"]


def test_files_of_other_tools_are_read(module: nn.Module, tmp_path: Path) -> None:
    """What plain safetensors writes, metadata included, is a weights file."""
    save_file(module.state_dict(), tmp_path / "weights", metadata={"format": "pt"})
    load_weights(module, tmp_path / "weights")
    assert set(read_header(tmp_path / "weights")) == {"weight", "bias"}
