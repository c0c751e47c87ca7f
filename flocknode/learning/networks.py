"""The architectures of the built-in families. Shapes in comments: n rows, t tokens, w the width of the model."""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional


class Mlp(nn.Module):
    """A multilayer perceptron: affine layers with ReLU between them."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(inputs, outputs) for inputs, outputs in pairwise(widths))

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs [n, outputs] of features [n, inputs]."""
        *hidden, last = self.layers
        for layer in hidden:
            features = torch.relu(layer(features))
        return last(features)  # type: ignore[no-any-return]


class Cnn(nn.Module):
    """A convolutional network: blocks of a 3 x 3 convolution, ReLU and the maximum of 2 x 2, then an affine map."""

    def __init__(self, image: tuple[int, int, int], channels: tuple[int, ...], outputs: int) -> None:
        super().__init__()
        self.image = image
        widths = pairwise((image[0], *channels))
        self.blocks = nn.ModuleList(nn.Conv2d(before, after, 3, padding=1) for before, after in widths)
        height, width = (side >> len(channels) for side in image[1:])
        self.head = nn.Linear(channels[-1] * height * width, outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return the outputs [n, outputs] of features [n, channels * height * width]."""
        images = features.unflatten(1, self.image)
        for block in self.blocks:
            images = functional.max_pool2d(torch.relu(block(images)), 2)
        return self.head(images.flatten(start_dim=1))  # type: ignore[no-any-return]


class Block(nn.Module):
    """One layer of a transformer, each half added to what came in: attention to earlier tokens, then a perceptron.

    Norms come first (Xiong et al., 2020), as in GPT-2.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_attention, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        # Queries, keys and values of all heads at once.
        self.attention = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.widen, self.narrow = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, states: Tensor) -> Tensor:
        """Return the next states [n, t, w]."""
        states = states + self.attend(self.norm_attention(states))
        hidden = functional.gelu(self.widen(self.norm_mlp(states)))
        return states + self.narrow(hidden)  # type: ignore[no-any-return]

    def attend(self, states: Tensor) -> Tensor:
        """Return for each token the mean of the values up to it, weighted by how its query meets their keys.

        softmax(QK^T / sqrt(d)) V of Vaswani et al. (2017), eq. 1, in plain products: fused forms differ by device.
        """
        n, t, w = states.shape
        # [n, t, 3w] -> three of [n, heads, t, w / heads]
        parts = self.attention(states).split(w, dim=-1)
        query, key, value = (part.view(n, t, self.heads, w // self.heads).transpose(1, 2) for part in parts)
        scores = query @ key.transpose(-2, -1) / math.sqrt(w // self.heads)
        later = torch.ones(t, t, dtype=torch.bool, device=states.device).triu(diagonal=1)
        weights = scores.masked_fill(later, -math.inf).softmax(dim=-1)
        return self.project((weights @ value).transpose(1, 2).reshape(n, t, w))  # type: ignore[no-any-return]


class Gpt(nn.Module):
    """A decoder-only transformer over tokens (Radford et al., 2019), small enough for a processor."""

    def __init__(self, *, vocabulary: int, context: int, width: int, layers: int, heads: int) -> None:
        super().__init__()
        self.vocabulary, self.context = vocabulary, context
        self.tokens, self.positions = nn.Embedding(vocabulary, width), nn.Embedding(context, width)
        self.blocks = nn.ModuleList(Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary)

    def forward(self, features: Tensor) -> Tensor:
        """Return for each token of features [n, t] the outputs [n, t, vocabulary] about the one after it."""
        states = self.tokens(features) + self.positions(torch.arange(features.shape[1], device=features.device))
        for block in self.blocks:
            states = block(states)
        return self.head(self.norm(states))  # type: ignore[no-any-return]
