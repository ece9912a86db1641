"""Fully connected layers, and what brings images to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, Layer, WeightedLayer

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class Linear(WeightedLayer):
    """Fully connected layer, ``x @ weight.T + bias``.

    Parameters
    ----------
    inputs, outputs : int
    generator : numpy.random.Generator
        Draws the initial weights.
    bias : bool
        Whether there is one.
    spread : float, optional
        Standard deviation of the initial weights; by default He's, √(2 / inputs).

    Attributes
    ----------
    weight : Parameter
        Of shape (outputs, inputs).
    bias : Parameter or None
        Of shape (outputs,).

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.Linear(3, 2, np.random.default_rng(0))
    >>> layer.forward(np.zeros((5, 3), np.float32), training.Float32().start()).shape
    (5, 2)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        generator: np.random.Generator,
        *,
        bias: bool = True,
        spread: float | None = None,
    ) -> None:
        shape = (whole_number("outputs", outputs, 1), whole_number("inputs", inputs, 1))
        super().__init__(shape, generator, bias, spread)

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, ..., outputs) for an input of shape (N, ..., inputs)."""
        self._shape = x.shape
        self.last_input = x.reshape(-1, x.shape[-1])
        out = run.gemm(self.last_input, self.weight.value.T, "forward", self.index)
        if self.bias is not None:
            out += self.bias.value
        return out.reshape(*x.shape[:-1], -1)

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""
        assert self.last_input is not None
        rows = gradient.reshape(len(self.last_input), -1)
        product = run.gemm(self.last_input.T, rows, "weight_gradient", self.index)
        self.weight.gradient = product.T
        if self.bias is not None:
            self.bias.gradient = rows.sum(axis=0)

    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, in its shape."""
        rows = gradient.reshape(-1, gradient.shape[-1])
        product = run.gemm(rows, self.weight.value, "input_gradient", self.index)
        return product.reshape(self._shape)


class Flatten(Layer):
    """All axes but the first made one."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, values per sample)."""
        self._shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, in its shape."""
        return gradient.reshape(self._shape)
