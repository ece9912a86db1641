"""Recurrent layers: LSTM and GRU.

Each has two sets of weights.  Those of the input multiply all places of all sequences in one
product; those of the hidden state multiply place by place, each product having the same index.
The state before the first place is zero, so there is no product for it.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.training.layers.activations import sigmoid
from fmtlib.training.layers.base import Floats, Layer
from fmtlib.training.layers.linear import Linear

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class _Recurrent(Layer):
    """The walk through a sequence; subclasses say what happens at one place."""

    gates: ClassVar[int]

    def __init__(self, inputs: int, units: int, generator: np.random.Generator) -> None:
        self.units = whole_number("units", units, 1)
        spread = (3 * units) ** -0.5  # that of numbers drawn evenly from ±1/√units
        rows = self.gates * units
        self.input = Linear(inputs, rows, generator, spread=spread)
        self.hidden = Linear(units, rows, generator, spread=spread)

    @abstractmethod
    def _start(self, zeros: Floats) -> None:
        """Forget the last forward pass; `zeros` is the state before the first place."""

    @abstractmethod
    def _step(self, above: Floats, before: Floats) -> Floats:
        """The next state, from what the input and the state before give (N, gates × units)."""

    @abstractmethod
    def _back(self, place: int, gradient: Floats) -> tuple[Floats, Floats, Floats]:
        """The gradients for `above`, for `before`, and for the last state but through them."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """States of shape (N, T, units) for sequences (N, T, inputs)."""
        above = self.input.forward(x, run)
        images, length = x.shape[:2]
        zeros = np.zeros((images, self.units), above.dtype)
        self._states = [zeros]
        self._start(zeros)
        weight, bias = self.hidden.weight.value.T, self.hidden.bias
        for place in range(length):
            before = np.zeros((images, self.gates * self.units), above.dtype)
            if place:
                before = run.gemm(self._states[-1], weight, "forward", self.hidden.index)
            if bias is not None:
                before += bias.value
            self._states.append(self._step(above[:, place], before))
        return np.stack(self._states[1:], axis=1)

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of the weights and biases."""
        self.input.backward_weight(self._back_through_time(gradient, run), run)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the gradients of the weights and biases, return that of the input."""
        return self.input.backward(self._back_through_time(gradient, run), run)

    def _back_through_time(self, gradient: Floats, run: Run) -> Floats:
        """The gradient for what the input's product gives, (N, T, gates × units)."""
        hidden, (images, length) = self.hidden, gradient.shape[:2]
        rows = self.gates * self.units
        above = np.empty((images, length, rows), gradient.dtype)
        total = np.zeros((self.units, rows), gradient.dtype)
        total_bias = np.zeros(rows, gradient.dtype)
        later: Any = 0.0
        for place in reversed(range(length)):
            above[:, place], before, state = self._back(place, gradient[:, place] + later)
            total_bias += before.sum(axis=0)
            if place:
                last = self._states[place]
                total += run.gemm(last.T, before, "weight_gradient", hidden.index)
                later = state + run.gemm(
                    before, hidden.weight.value, "input_gradient", hidden.index
                )
        hidden.weight.gradient = total.T
        if hidden.bias is not None:
            hidden.bias.gradient = total_bias
        return above


class LSTM(_Recurrent):
    """Long short-term memory over a sequence.

    With the gates i, f, g, o, in this order in the weights, of ``z = W·x + b + U·h + d``::

        c = sigmoid(f)·c + sigmoid(i)·tanh(g)
        h = sigmoid(o)·tanh(c)

    Parameters
    ----------
    inputs, units : int
        Values at each place of a sequence, and of the state.
    generator : numpy.random.Generator
        Draws the initial weights.  The bias b of f is 1 at first, so that c is remembered.

    Attributes
    ----------
    input, hidden : Linear
        W and b, of shapes (4·units, inputs) and (4·units,); U and d.

    References
    ----------
    S. Hochreiter, J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9(8), 1997.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.LSTM(3, 4, np.random.default_rng(0))
    >>> layer.forward(np.zeros((2, 5, 3), np.float32), training.Float32().start(2)).shape
    (2, 5, 4)
    """

    gates = 4

    def __init__(self, inputs: int, units: int, generator: np.random.Generator) -> None:
        super().__init__(inputs, units, generator)
        assert self.input.bias is not None
        self.input.bias.value[units : 2 * units] = 1

    def _start(self, zeros: Floats) -> None:
        self._cells = [zeros]
        self._activated: list[tuple[Floats, ...]] = []
        self._later_cell = zeros

    def _step(self, above: Floats, before: Floats) -> Floats:
        n = self.units
        z = above + before
        i, f, o = sigmoid(z[:, :n]), sigmoid(z[:, n : 2 * n]), sigmoid(z[:, 3 * n :])
        g = np.tanh(z[:, 2 * n : 3 * n])
        cell = f * self._cells[-1] + i * g
        t = np.tanh(cell)
        self._cells.append(cell)
        self._activated.append((i, f, g, o, t))
        return o * t

    def _back(self, place: int, gradient: Floats) -> tuple[Floats, Floats, Floats]:
        i, f, g, o, t = self._activated[place]
        cell = gradient * o * (1 - t * t)
        if place + 1 < len(self._activated):
            cell += self._later_cell
        z = np.concatenate(
            [
                cell * g * i * (1 - i),
                cell * self._cells[place] * f * (1 - f),
                cell * i * (1 - g * g),
                gradient * t * o * (1 - o),
            ],
            axis=1,
        )
        self._later_cell = cell * f
        return z, z, np.zeros_like(gradient)


class GRU(_Recurrent):
    """Gated recurrent unit over a sequence.

    With the gates r, z, n, in this order in the weights, of ``W·x + b`` and ``U·h + d``::

        r, z = sigmoid(Wr·x + br + Ur·h + dr), sigmoid(Wz·x + bz + Uz·h + dz)
        n = tanh(Wn·x + bn + r·(Un·h + dn))
        h = (1 - z)·n + z·h

    Parameters
    ----------
    inputs, units : int
        Values at each place of a sequence, and of the state.
    generator : numpy.random.Generator
        Draws the initial weights.

    Attributes
    ----------
    input, hidden : Linear
        W and b, of shapes (3·units, inputs) and (3·units,); U and d.

    References
    ----------
    K. Cho et al., "Learning Phrase Representations using RNN Encoder-Decoder for Statistical
    Machine Translation", arXiv 1406.1078.  That r multiplies after the product with U is cuDNN's
    and PyTorch's variant.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.GRU(3, 4, np.random.default_rng(0))
    >>> layer.forward(np.zeros((2, 5, 3), np.float32), training.Float32().start(2)).shape
    (2, 5, 4)
    """

    gates = 3

    def _start(self, zeros: Floats) -> None:
        self._activated: list[tuple[Floats, ...]] = []

    def _step(self, above: Floats, before: Floats) -> Floats:
        k = self.units
        r = sigmoid(above[:, :k] + before[:, :k])
        z = sigmoid(above[:, k : 2 * k] + before[:, k : 2 * k])
        u = before[:, 2 * k :]
        n = np.tanh(above[:, 2 * k :] + r * u)
        self._activated.append((r, z, n, u))
        return (1 - z) * n + z * self._states[-1]

    def _back(self, place: int, gradient: Floats) -> tuple[Floats, Floats, Floats]:
        r, z, n, u = self._activated[place]
        in_n = gradient * (1 - z) * (1 - n * n)
        in_z = gradient * (self._states[place] - n) * z * (1 - z)
        in_r = in_n * u * r * (1 - r)
        above = np.concatenate([in_r, in_z, in_n], axis=1)
        before = np.concatenate([in_r, in_z, in_n * r], axis=1)
        return above, before, gradient * z
