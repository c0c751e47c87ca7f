"""Models of an alliance: vectors of integers, so that all who add them up come to the same bytes (alliance.md, zk.md).

A weight x becomes q = clip(round(x 2^16)), half to even, with |q| < 2^31. In memory a model is one vector int32 [d],
its tensors one after the other in the order of their names; on disk it is a safetensors file with the model's own names
and shapes, of the type I32. Sums of such models that are too wide for it have the type I64.
"""

from itertools import accumulate
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from flocknode.learning.errors import LearningError, UnusableFile
from flocknode.learning.tensors import load_model, save_tensors
from flocknode.learning.weights import get_module_shapes
from protocol.models import Shapes
from protocol.tensor_files import ElementType

FRACTION_BITS = 16
ONE = 2**FRACTION_BITS
MAX_MAGNITUDE = 2**31 - 1

# A model as integers [d], or a sum of models.
Vector = NDArray[np.int32]
Sums = NDArray[np.int64]


def quantise(module: nn.Module) -> tuple[Vector, int]:
    """Return a module's weights as integers [d], and how many of them were clipped.

    Raises `LearningError` for a weight that is no number.
    """
    weights = torch.cat([tensor.detach().cpu().flatten() for _, tensor in sorted(module.state_dict().items())])
    if not torch.isfinite(weights).all():
        raise LearningError("the weights hold NaN or infinity")
    # Exact in float64: 24 bits of a float32, shifted. torch rounds half to even.
    rounded = (weights.double() * ONE).round()
    clipped = int((rounded.abs() > MAX_MAGNITUDE).sum())
    return rounded.clamp(-MAX_MAGNITUDE, MAX_MAGNITUDE).to(torch.int32).numpy(), clipped


def dequantise(vector: Vector, module: nn.Module) -> None:
    """Fill a module with the nearest float32 of each q / 2^16, half to even; the vector must have its size."""
    shapes = get_module_shapes(module)
    weights = torch.from_numpy((vector.astype(np.float64) / ONE).astype(np.float32))
    module.load_state_dict(_cut(weights, shapes), strict=True)


def load_fixed(path: Path, shapes: Shapes, element: ElementType = "I32") -> Vector:
    """Return a model's integers [d] from a file; raise `UnusableFile` unless it has exactly these tensors.

    With the type I64 it is a sum of models, and no value is out of range.
    """
    tensors = load_model(path, shapes, element)
    vector: Vector = torch.cat([tensors[name].flatten() for name in sorted(shapes)]).numpy()
    if element == "I32" and int(vector.min(initial=0)) < -MAX_MAGNITUDE:
        raise UnusableFile(f"a weight lies below {-MAX_MAGNITUDE}")
    return vector


def save_fixed(vector: Vector | Sums, shapes: Shapes, path: Path) -> None:
    """Write the canonical file of a model, int32 [d], or of a sum, int64 [d]: equal numbers are equal bytes."""
    save_tensors(_cut(torch.from_numpy(vector), shapes), path)


def _cut(vector: torch.Tensor, shapes: Shapes) -> dict[str, Any]:
    """Return a model's tensors from a vector [d] that holds them in the order of their names."""
    names = sorted(shapes)
    sizes = [prod(shapes[name]) for name in names]
    assert len(vector) == sum(sizes), f"{len(vector)} numbers for a model of {sum(sizes)}"
    ends = accumulate(sizes)
    return {
        name: vector[end - size : end].reshape(shapes[name]) for name, size, end in zip(names, sizes, ends, strict=True)
    }
