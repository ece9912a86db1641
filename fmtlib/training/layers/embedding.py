"""From numbers of things to vectors, and where in a sequence they stand."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, Layer, Parameter

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class Embedding(Layer):
    """A row of the weight for each integer.

    Parameters
    ----------
    count : int
        Integers from 0 to count - 1.
    width : int
        Length of a row.
    generator : numpy.random.Generator
        Draws the initial weights.
    spread : float
        Their standard deviation.

    Attributes
    ----------
    weight : Parameter
        Of shape (count, width).

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.Embedding(5, 3, np.random.default_rng(0))
    >>> layer.forward(np.array([[4, 0]]), training.Float32().start()).shape
    (1, 2, 3)
    """

    def __init__(
        self, count: int, width: int, generator: np.random.Generator, *, spread: float = 1.0
    ) -> None:
        shape = (whole_number("count", count, 1), whole_number("width", width, 1))
        self.weight = Parameter((spread * generator.standard_normal(shape)).astype(np.float32))

    def forward(self, x: NDArray[np.integer[Any]], run: Run) -> Floats:
        """Output of x's shape and one more axis, of `width` values.

        Raises
        ------
        TypeError, ValueError
            If x are no integers, or out of range.
        """
        if x.dtype.kind not in "iu":
            raise TypeError(f"an embedding takes integers, got {x.dtype}")
        count = len(self.weight.value)
        if x.size and not 0 <= x.min() <= x.max() < count:
            raise ValueError(f"integers must be from 0 to {count - 1}, got {x.min()} to {x.max()}")
        self._input = x
        rows: Floats = self.weight.value[x]
        return rows

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradient of the weight."""
        self.weight.gradient = np.zeros_like(self.weight.value)
        places = self._input.reshape(-1)
        if not places.size:
            return
        # Sums of the rows of each integer: sorted, they lie together.
        order = np.argsort(places, kind="stable")
        found, starts = np.unique(places[order], return_index=True)
        rows = gradient.reshape(len(places), -1)[order]
        self.weight.gradient[found] = np.add.reduceat(rows, starts, axis=0)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Integers have no gradient.

        Raises
        ------
        TypeError
            Always: an embedding is the first layer of a network.
        """
        raise TypeError("an embedding must be the first layer: integers have no gradient")


class PositionEmbedding(Layer):
    """Adds a row of the weight to each place of a sequence.

    Parameters
    ----------
    length : int
        The longest sequence.
    width : int
        Length of a row.
    generator : numpy.random.Generator
        Draws the initial weights.
    spread : float
        Their standard deviation.

    Attributes
    ----------
    weight : Parameter
        Of shape (length, width).
    """

    def __init__(
        self, length: int, width: int, generator: np.random.Generator, *, spread: float = 0.02
    ) -> None:
        shape = (whole_number("length", length, 1), whole_number("width", width, 1))
        self.weight = Parameter((spread * generator.standard_normal(shape)).astype(np.float32))

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape, (N, T, width).

        Raises
        ------
        ValueError
            If the sequences are too long.
        """
        if x.shape[1] > len(self.weight.value):
            raise ValueError(
                f"sequences must have at most {len(self.weight.value)} places, got {x.shape[1]}"
            )
        return x + self.weight.value[: x.shape[1]]

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the gradient of the weight, return that of the input."""
        self.weight.gradient = np.zeros_like(self.weight.value)
        self.weight.gradient[: gradient.shape[1]] = gradient.sum(axis=0)
        return gradient
