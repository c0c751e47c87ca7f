"""The built-in architectures: the tensors that the log expects of them, and what they may look at."""

import pytest
import torch

from flocknode.learning.families import build_model
from flocknode.learning.weights import get_module_shapes
from protocol.models import ModelSpec, cnn_model, get_shapes, gpt_model, linear_model, mlp_model

CNN = cnn_model(image=(2, 9, 8), channels=(3, 5), outputs=4)
GPT = gpt_model(vocabulary=11, context=6, width=8, layers=2, heads=2)


@pytest.mark.parametrize("model", [linear_model(inputs=3, outputs=2), mlp_model(4, 3, 2), CNN, GPT])
def test_modules_have_the_tensors_that_the_log_expects(model: ModelSpec) -> None:
    """Names and shapes are those that follow from the settings alone, so that a header can be judged without torch."""
    shapes = get_shapes(model)
    assert shapes is not None
    assert get_module_shapes(build_model(model)) == shapes


def test_a_convolutional_network_reads_images_from_rows() -> None:
    """Rows of 2 x 9 x 8 numbers give four outputs each; a pixel that moves with its neighbours moves little."""
    torch.manual_seed(0)
    module = build_model(CNN)
    assert module(torch.randn(7, 2 * 9 * 8)).shape == (7, 4)
    with pytest.raises(RuntimeError):
        module(torch.randn(7, 2 * 9 * 8 - 1))


def test_a_gpt_sees_no_later_token() -> None:
    """Another token at place 3 changes what is said from there on, and nothing of what was said before."""
    torch.manual_seed(0)
    module = build_model(GPT)
    tokens = torch.tensor([[1, 2, 3, 4, 5, 6]])
    other = tokens.clone()
    other[0, 3] = 9
    first, second = module(tokens)[0], module(other)[0]
    assert torch.equal(first[:3], second[:3])
    assert all(not torch.equal(first[place], second[place]) for place in range(3, 6))


def test_a_gpt_knows_places() -> None:
    """Of equal tokens each is told apart by where it stands; shorter sequences are the beginnings of longer ones."""
    torch.manual_seed(0)
    module = build_model(GPT)
    tokens = torch.tensor([[7, 7, 7, 7]])
    said = module(tokens)[0]
    assert not torch.allclose(said[0], said[1])
    assert torch.allclose(module(tokens[:, :2])[0], said[:2], atol=1e-6)
