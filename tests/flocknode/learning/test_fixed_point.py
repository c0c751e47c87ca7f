"""Models as integers: exact rounding, canonical bytes, and files that are something else."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.families import build_model
from flocknode.learning.fixed_point import (
    MAX_MAGNITUDE,
    dequantise,
    load_fixed,
    quantise,
    save_fixed,
)
from flocknode.learning.tensors import read_header, save_tensors
from flocknode.learning.weights import get_module_shapes, save_weights
from protocol.models import linear_model, mlp_model

VECTORS = json.loads((Path(__file__).parents[2] / "vectors/aggregation.json").read_text())
SHAPES = {"weight": (1, 2), "bias": (1,)}


def _linear(*weights: float) -> nn.Module:
    module = nn.Linear(len(weights), 1, bias=False)
    module.weight.data = torch.tensor([weights])
    return module


def test_weights_are_rounded_half_to_even_and_clipped() -> None:
    """The known answers; both weights beyond the range are counted."""
    case = VECTORS["quantised"]
    vector, clipped = quantise(_linear(*case["weights"]))
    assert vector.tolist() == case["integers"]
    assert clipped == 2


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(-MAX_MAGNITUDE, MAX_MAGNITUDE), min_size=1, max_size=20))
def test_a_model_comes_back_within_the_precision_of_float32(integers: list[int]) -> None:
    """Integers of up to 24 bits come back as they were, larger ones within 2^-24 of their size."""
    vector = np.array(integers, dtype=np.int32)
    module = _linear(*[0.0] * len(integers))
    dequantise(vector, module)
    again, _ = quantise(module)
    for before, after in zip(integers, again.tolist(), strict=True):
        assert abs(before - after) <= abs(before) >> 24


def test_no_number_is_no_model() -> None:
    """NaN and infinity are refused, not clipped."""
    for value in (float("nan"), float("inf")):
        with pytest.raises(LearningError, match="NaN"):
            quantise(_linear(1.0, value))


def test_tensors_lie_in_the_order_of_their_names(tmp_path: Path) -> None:
    """A vector holds the bias before the weight, in memory and on disk; equal models are equal bytes."""
    save_fixed(np.array([7, 1, 2], dtype=np.int32), SHAPES, tmp_path / "one")
    save_tensors(
        {"weight": torch.tensor([[1, 2]], dtype=torch.int32), "bias": torch.tensor([7], dtype=torch.int32)},
        tmp_path / "two",
    )
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert load_fixed(tmp_path / "one", SHAPES).tolist() == [7, 1, 2]
    assert {info.dtype for info in read_header(tmp_path / "one").values()} == {"I32"}


def test_a_module_survives_the_file(tmp_path: Path) -> None:
    """Quantised, written, read and dequantised, a module has weights within half a unit of its own."""
    module, again = build_model(mlp_model(3, 4, 2)), build_model(mlp_model(3, 4, 2))
    shapes = get_module_shapes(module)
    save_fixed(quantise(module)[0], shapes, tmp_path / "model")
    dequantise(load_fixed(tmp_path / "model", shapes), again)
    for name, tensor in module.state_dict().items():
        assert (tensor - again.state_dict()[name]).abs().max() <= 2**-17


def test_sums_are_wider(tmp_path: Path) -> None:
    """A sum of models is a file of its own type, whose values are not bounded; neither passes for the other."""
    save_fixed(np.array([2**62, -(2**62), 0], dtype=np.int64), SHAPES, tmp_path / "sum")
    assert load_fixed(tmp_path / "sum", SHAPES, "I64").tolist() == [2**62, -(2**62), 0]
    with pytest.raises(UnusableFile, match="I32"):
        load_fixed(tmp_path / "sum", SHAPES)


def test_what_is_no_fixed_point_model_is_refused(tmp_path: Path) -> None:
    """Float weights, another shape, a missing tensor and the one integer without a counterpart are refused."""
    save_weights(build_model(linear_model(inputs=2, outputs=1)), tmp_path / "float")
    good = {"weight": torch.tensor([[1, 2]], dtype=torch.int32), "bias": torch.tensor([7], dtype=torch.int32)}
    save_tensors({**good, "bias": torch.tensor([7, 8], dtype=torch.int32)}, tmp_path / "shape")
    save_tensors({"weight": good["weight"]}, tmp_path / "missing")
    save_tensors({**good, "bias": torch.tensor([-(2**31)], dtype=torch.int32)}, tmp_path / "least")
    for name in ("float", "shape", "missing", "least"):
        with pytest.raises(UnusableFile):
            load_fixed(tmp_path / name, SHAPES)
