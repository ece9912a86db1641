"""Networks that the demonstrations and experiments train: from perceptron to Transformer."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

import numpy as np

from fmtlib.arguments import not_one_of, whole_number
from fmtlib.training.layers import (
    GELU,
    GRU,
    LSTM,
    BatchNorm,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    MultiHeadAttention,
    PositionEmbedding,
    ReLU,
    Residual,
)
from fmtlib.training.network import Network


def mlp(inputs: int, hidden: int | Sequence[int], classes: int, seed: int = 0) -> Network:
    """A perceptron with ReLU between its layers.

    Parameters
    ----------
    inputs : int
        Values per sample; samples of any shape are flattened.
    hidden : int or sequence of int
        Neurons of each hidden layer.
    classes : int
    seed : int
        Of the initial weights (He).

    Returns
    -------
    Network

    Examples
    --------
    >>> from fmtlib import training
    >>> training.mlp(64, [32, 16], 10).products
    3
    """
    generator = np.random.default_rng(seed)
    sizes = [inputs, *([hidden] if isinstance(hidden, int) else hidden), classes]
    layers: list[Layer] = [Flatten()]
    for before, after in pairwise(sizes):
        layers += [Linear(before, after, generator), ReLU()]
    return Network(layers[:-1])


def cnn(
    image: tuple[int, int, int] = (1, 8, 8),
    channels: tuple[int, int] = (16, 32),
    classes: int = 10,
    seed: int = 0,
) -> Network:
    """Two convolutions of 3 × 3 with ReLU, a max-pool of 2 × 2, and a linear layer.

    Parameters
    ----------
    image : (int, int, int)
        Channels, height and width of the samples; the latter two even.
    channels : (int, int)
        Filters of the convolutions.
    classes : int
    seed : int
        Of the initial weights (He).

    Returns
    -------
    Network

    Examples
    --------
    >>> from fmtlib import training
    >>> [layer.weight.value.shape for layer in training.cnn().weighted]
    [(16, 1, 3, 3), (32, 16, 3, 3), (10, 512)]
    """
    generator = np.random.default_rng(seed)
    depth, height, width = image
    if len(channels) != 2:
        raise ValueError(f"channels must be of two convolutions, such as (16, 32), got {channels}")
    first, second = channels
    if height % 2 or width % 2:
        raise ValueError(f"image must have an even height and width, got {height} × {width}")
    return Network(
        [
            Conv2d(depth, first, 3, generator, padding=1),
            ReLU(),
            Conv2d(first, second, 3, generator, padding=1),
            ReLU(),
            MaxPool2d(2),
            Flatten(),
            Linear(second * (height // 2) * (width // 2), classes, generator),
        ]
    )


def resnet(
    image: tuple[int, int, int] = (1, 28, 28),
    channels: Sequence[int] = (16, 32, 64),
    blocks: int = 1,
    classes: int = 10,
    seed: int = 0,
) -> Network:
    """A small residual network: stages of blocks of two 3 × 3 convolutions with batch norm.

    Each stage but the first halves height and width in its first block, whose shortcut is then a
    1 × 1 convolution; global average pooling and a linear layer come last.

    Parameters
    ----------
    image : (int, int, int)
        Channels, height and width of the samples.
    channels : sequence of int
        Filters of each stage.
    blocks : int
        In each stage.
    classes : int
    seed : int
        Of the initial weights (He).

    Returns
    -------
    Network

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", arXiv
    1512.03385, section 4.2.

    Examples
    --------
    >>> from fmtlib import training
    >>> network = training.resnet(channels=(8, 16))
    >>> network.products, sum(p.value.size for p in network.parameters)
    (7, 5122)
    """
    generator = np.random.default_rng(seed)
    if not channels:
        raise ValueError("channels must name one stage at least")
    whole_number("blocks", blocks, 1)

    def conv(before: int, after: int, size: int, stride: int = 1) -> Conv2d:
        padding = size // 2
        return Conv2d(before, after, size, generator, stride=stride, padding=padding, bias=False)

    width = channels[0]
    layers: list[Layer] = [conv(image[0], width, 3), BatchNorm(width), ReLU()]
    for stage, after in enumerate(channels):
        for block in range(blocks):
            stride = 2 if stage and not block else 1
            body = [
                conv(width, after, 3, stride), BatchNorm(after), ReLU(),
                conv(after, after, 3), BatchNorm(after),
            ]  # fmt: skip
            same = stride == 1 and width == after
            shortcut = [] if same else [conv(width, after, 1, stride), BatchNorm(after)]
            layers += [Residual(body, shortcut), ReLU()]
            width = after
    layers += [GlobalAveragePool(), Linear(width, classes, generator)]
    return Network(layers)


def recurrent(
    vocabulary: int,
    units: int = 128,
    depth: int = 1,
    *,
    kind: Literal["lstm", "gru"] = "lstm",
    width: int = 32,
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """A network that predicts the next character of a text with LSTM or GRU.

    Parameters
    ----------
    vocabulary : int
        Number of different characters.
    units : int
        Of each recurrent layer.
    depth : int
        Number of recurrent layers.
    kind : {"lstm", "gru"}
    width : int
        Of the embedding.
    dropout : float
        Rate after each recurrent layer.
    seed : int
        Of the initial weights.

    Returns
    -------
    Network
        Of sequences of integers, (N, T), to logits, (N, T, vocabulary).

    Examples
    --------
    >>> from fmtlib import training
    >>> training.recurrent(90, 64, kind="gru").products
    3
    """
    cells = {"lstm": LSTM, "gru": GRU}
    if kind not in cells:
        raise ValueError(not_one_of("kind", kind, cells))
    generator = np.random.default_rng(seed)
    layers: list[Layer] = [Embedding(vocabulary, width, generator)]
    for _ in range(whole_number("depth", depth, 1)):
        layers.append(cells[kind](width, units, generator))
        if dropout:
            layers.append(Dropout(dropout))
        width = units
    return Network([*layers, Linear(width, vocabulary, generator, spread=width**-0.5)])


def transformer(
    vocabulary: int,
    length: int = 64,
    width: int = 64,
    heads: int = 4,
    depth: int = 2,
    *,
    dropout: float = 0.0,
    seed: int = 0,
) -> Network:
    """A network that predicts the next character of a text with causal self-attention.

    Each block adds to its input what attention, and then two linear layers with GELU between them
    (four times as wide), make of its layer norm (pre-norm, as in GPT-2).

    Parameters
    ----------
    vocabulary : int
        Number of different characters.
    length : int
        The longest sequence.
    width : int
        Of the embedding and everything after it.
    heads : int
        Of each attention; divides the width.
    depth : int
        Number of blocks.
    dropout : float
        Rate at the end of each branch.
    seed : int
        Of the initial weights.

    Returns
    -------
    Network
        Of sequences of integers, (N, T), to logits, (N, T, vocabulary).

    Examples
    --------
    >>> from fmtlib import training
    >>> training.transformer(90).products  # 6 of each attention, 2 layers after it, and the last
    17
    """
    generator = np.random.default_rng(seed)
    drop = [Dropout(dropout) for _ in range(2 * whole_number("depth", depth, 1))] if dropout else []
    layers: list[Layer] = [
        Embedding(vocabulary, width, generator, spread=0.02),
        PositionEmbedding(length, width, generator),
    ]
    for block in range(depth):
        attention = MultiHeadAttention(width, heads, generator, causal=True)
        into = Linear(width, 4 * width, generator)
        back = Linear(4 * width, width, generator, spread=(4 * width) ** -0.5)
        layers += [
            Residual([LayerNorm(width), attention, *drop[2 * block : 2 * block + 1]]),
            Residual([LayerNorm(width), into, GELU(), back, *drop[2 * block + 1 : 2 * block + 2]]),
        ]
    last = Linear(width, vocabulary, generator, spread=width**-0.5)
    return Network([*layers, LayerNorm(width), last])
