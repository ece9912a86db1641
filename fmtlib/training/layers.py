"""Layers with explicit forward and backward passes.

A layer keeps what its backward pass needs from its last forward pass.  The layers with weights do
all their multiplications as matrix products of a `Run`, one for each of the three GEMMs of
training: ``O = A·W`` forward, ``dW = Aᵀ·dO`` and ``dA = dO·Wᵀ`` backward.  A convolution is the
same three products of its patches (im2col).  Biases, ReLU, pooling and the loss stay float32.

Arrays keep their dtype: a network is float32, and a gradient check can make it float64.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from fmtlib.arguments import whole_number

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run

Floats: TypeAlias = NDArray[np.floating[Any]]


@dataclass(eq=False)
class Parameter:
    """A trained array, in full precision, and the gradient of the loss with respect to it.

    Attributes
    ----------
    value : ndarray of float32
    gradient : ndarray of float32
        Of the same shape; set by the backward pass.
    """

    value: Floats
    gradient: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.gradient = np.zeros_like(self.value)


class Layer(ABC):
    """One step of a network."""

    @abstractmethod
    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of the layer for a batch `x`; the first axis counts its samples."""

    @abstractmethod
    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, from that for the output of the last `forward`."""


class WeightedLayer(Layer):
    """A layer with a weight and a bias, whose products a recipe may compute in any format.

    Attributes
    ----------
    weight, bias : Parameter
    index : int
        Place of the layer among the weighted layers of its `Network`, which sets it.
    """

    def __init__(self, shape: tuple[int, ...], generator: np.random.Generator) -> None:
        # He et al., "Delving deep into rectifiers" (arXiv 1502.01852): variance 2 / fan-in.
        spread = np.sqrt(2.0 / np.prod(shape[1:]))
        self.weight = Parameter((spread * generator.standard_normal(shape)).astype(np.float32))
        self.bias = Parameter(np.zeros(shape[0], np.float32))
        self.index = 0

    @property
    def _matrix(self) -> Floats:
        """The weight as W of O = A·W: one row per input of a neuron, one column per neuron."""
        return self.weight.value.reshape(len(self.weight.value), -1).T

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the gradients of weight and bias, return that of the input."""
        self.backward_weight(gradient, run)
        return self.backward_input(gradient, run)

    @abstractmethod
    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""

    @abstractmethod
    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input; the first layer of a network needs none."""


class Linear(WeightedLayer):
    """Fully connected layer, ``x @ weight.T + bias``.

    Parameters
    ----------
    inputs, outputs : int
    generator : numpy.random.Generator
        Draws the initial weights.

    Attributes
    ----------
    weight : Parameter
        Of shape (outputs, inputs).
    bias : Parameter
        Of shape (outputs,).

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.Linear(3, 2, np.random.default_rng(0))
    >>> layer.forward(np.zeros((5, 3), np.float32), training.Float32().start()).shape
    (5, 2)
    """

    def __init__(self, inputs: int, outputs: int, generator: np.random.Generator) -> None:
        super().__init__(
            (whole_number("outputs", outputs, 1), whole_number("inputs", inputs, 1)), generator
        )

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, outputs) for an input of shape (N, inputs)."""
        self._input = x
        return run.gemm(x, self._matrix, "forward", self.index) + self.bias.value

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""
        self.weight.gradient = run.gemm(self._input.T, gradient, "weight_gradient", self.index).T
        self.bias.gradient = gradient.sum(axis=0)

    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, of shape (N, inputs)."""
        return run.gemm(gradient, self._matrix.T, "input_gradient", self.index)


class Conv2d(WeightedLayer):
    """Two-dimensional convolution (cross-correlation) of images.

    The products are those of im2col: A has a row for every output pixel of every image and a column
    for every weight of a filter, in the order channel, row, column.  So O reduces over a patch, dA
    over the filters, and dW over the pixels of the batch.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    size : int
        Height and width of the filters.
    generator : numpy.random.Generator
        Draws the initial weights.
    stride, padding : int

    Attributes
    ----------
    weight : Parameter
        Of shape (outputs, inputs, size, size).
    bias : Parameter
        Of shape (outputs,).

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.Conv2d(1, 4, 3, np.random.default_rng(0), stride=2, padding=1)
    >>> layer.forward(np.zeros((5, 1, 8, 8), np.float32), training.Float32().start()).shape
    (5, 4, 4, 4)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int,
        generator: np.random.Generator,
        *,
        stride: int = 1,
        padding: int = 0,
    ) -> None:
        size = whole_number("size", size, 1)
        shape = (whole_number("outputs", outputs, 1), whole_number("inputs", inputs, 1), size, size)
        super().__init__(shape, generator)
        self.size = size
        self.stride = whole_number("stride", stride, 1)
        self.padding = whole_number("padding", padding, 0)
        self._taps = size * size

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, outputs, height, width) for images (N, inputs, height, width)."""
        pad = (self.padding, self.padding)
        x = np.pad(x, ((0, 0), (0, 0), pad, pad))
        self._padded_shape = x.shape
        windows = sliding_window_view(x, (self.size, self.size), axis=(2, 3))
        windows = windows[:, :, :: self.stride, :: self.stride].transpose(0, 2, 3, 1, 4, 5)
        images, height, width = windows.shape[:3]
        self._patches = windows.reshape(images * height * width, -1)
        out = run.gemm(self._patches, self._matrix, "forward", self.index, taps=self._taps)
        out += self.bias.value
        return np.ascontiguousarray(out.reshape(images, height, width, -1).transpose(0, 3, 1, 2))

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""
        rows = _pixel_rows(gradient)
        product = run.gemm(self._patches.T, rows, "weight_gradient", self.index, taps=self._taps)
        self.weight.gradient = product.T.reshape(self.weight.value.shape)
        self.bias.gradient = rows.sum(axis=0)

    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, in its shape."""
        images, _, height, width = gradient.shape
        product = run.gemm(
            _pixel_rows(gradient), self._matrix.T, "input_gradient", self.index, taps=self._taps
        )
        patches = product.reshape(images, height, width, -1, self.size, self.size)
        patches = patches.transpose(4, 5, 0, 3, 1, 2)
        result = np.zeros(self._padded_shape, product.dtype)
        # Every weight of the filter saw one strided view of the image: add its part there.
        for row in range(self.size):
            for column in range(self.size):
                down = slice(row, row + self.stride * height, self.stride)
                right = slice(column, column + self.stride * width, self.stride)
                result[:, :, down, right] += patches[row, column]
        inner = slice(self.padding, -self.padding if self.padding else None)
        return result[:, :, inner, inner]


class ReLU(Layer):
    """``max(x, 0)``; the gradient at 0 is 0."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._positive = x > 0
        return np.maximum(x, 0)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        return gradient * self._positive


class MaxPool2d(Layer):
    """Greatest value of each square of pixels; of equal ones the first gets the gradient.

    Parameters
    ----------
    size : int
        Height, width and stride of the squares; it must divide the images'.
    """

    def __init__(self, size: int = 2) -> None:
        self.size = whole_number("size", size, 1)

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, C, height // size, width // size) for images (N, C, height, width).

        Raises
        ------
        ValueError
            If `size` does not divide height and width.
        """
        images, channels, height, width = x.shape
        size = self.size
        if height % size or width % size:
            raise ValueError(f"squares of {size} do not tile images of {height} × {width}")
        squares = x.reshape(images, channels, height // size, size, width // size, size)
        squares = squares.swapaxes(3, 4).reshape(*squares.shape[:3], width // size, -1)
        self._winner = squares.argmax(axis=-1, keepdims=True)
        return np.take_along_axis(squares, self._winner, axis=-1)[..., 0]

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        images, channels, height, width = gradient.shape
        size = self.size
        squares = np.zeros((*gradient.shape, size * size), gradient.dtype)
        np.put_along_axis(squares, self._winner, gradient[..., None], axis=-1)
        squares = squares.reshape(*gradient.shape, size, size).swapaxes(3, 4)
        return squares.reshape(images, channels, height * size, width * size)


class Flatten(Layer):
    """All axes but the first made one."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, values per sample)."""
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, in its shape."""
        return gradient.reshape(self._shape)


def softmax_cross_entropy(logits: Floats, labels: NDArray[np.integer[Any]]) -> tuple[float, Floats]:
    """Mean cross-entropy of the softmax of `logits`, and its gradient.

    Parameters
    ----------
    logits : ndarray of shape (N, classes)
    labels : ndarray of integers, shape (N,)

    Returns
    -------
    loss : float
    gradient : ndarray
        Of the loss for the logits, in their shape and dtype.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> loss, gradient = training.softmax_cross_entropy(np.zeros((1, 4)), np.array([2]))
    >>> round(loss, 4), gradient
    (1.3863, array([[ 0.25,  0.25, -0.75,  0.25]]))
    """
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    log_probabilities = shifted - log_total
    loss = -float(log_probabilities[rows, labels].mean(dtype=np.float64))
    gradient = np.exp(log_probabilities)
    gradient[rows, labels] -= 1
    return loss, gradient / len(labels)


def _pixel_rows(gradient: Floats) -> Floats:
    """Images of shape (N, C, height, width) as a matrix with a row per pixel."""
    return gradient.transpose(0, 2, 3, 1).reshape(-1, gradient.shape[1])
