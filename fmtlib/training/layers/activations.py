"""Functions of each value: ReLU, GELU, tanh, sigmoid."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from fmtlib.training.layers.base import Floats, Layer

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run

# GELU's tanh form: Φ(x) ≈ (1 + tanh(√(2/π)·(x + 0.044715·x³))) / 2
_SLOPE, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def sigmoid(x: Floats) -> Floats:
    """``1 / (1 + exp(-x))`` in a form that cannot overflow."""
    result: Floats = 0.5 * np.tanh(0.5 * x) + 0.5
    return result


class ReLU(Layer):
    """``max(x, 0)``; the gradient at 0 is 0."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._out: Floats = np.maximum(x, 0)
        return self._out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        return gradient * (self._out > 0)


class Tanh(Layer):
    """The hyperbolic tangent."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._out: Floats = np.tanh(x)
        return self._out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        return gradient * (1 - self._out * self._out)


class Sigmoid(Layer):
    """``1 / (1 + exp(-x))``."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._out = sigmoid(x)
        return self._out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        return gradient * (self._out * (1 - self._out))


class GELU(Layer):
    """``x·Φ(x)``, Φ being the normal distribution function, in the form with a tanh.

    ``0.5·x·(1 + tanh(√(2/π)·(x + 0.044715·x³)))`` differs from the form with an error function,
    which NumPy has not, by less than 0.0005.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian Error Linear Units (GELUs)", arXiv 1606.08415.
    """

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._input = x
        # x·x·x, not x**3: NumPy's power is many times slower
        self._tanh: Floats = np.tanh(_SLOPE * (x + _CUBIC * (x * x * x)))
        return 0.5 * x * (1 + self._tanh)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        x, t = self._input, self._tanh
        inner = _SLOPE * (1 + 3 * _CUBIC * (x * x))
        return gradient * (0.5 * (1 + t) + 0.5 * x * (1 - t * t) * inner)
