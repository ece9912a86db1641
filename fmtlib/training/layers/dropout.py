"""Dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmtlib.training.layers.base import Floats, Layer

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class Dropout(Layer):
    """Sets values to 0 at random in training, and scales up those that are left.

    Which ones depends on the run's seed, the iteration and the layer's place among its network's
    dropouts, and on nothing else: a counter-based generator (Philox) is keyed by them.

    Parameters
    ----------
    rate : float
        Probability of a 0, from 0 up to, not including, 1; a multiple of 2**-32 in effect.

    Attributes
    ----------
    place : int
        Among the dropouts of its `Network`, which sets it.

    References
    ----------
    N. Srivastava et al., "Dropout: A Simple Way to Prevent Neural Networks from Overfitting",
    Journal of Machine Learning Research 15, 2014.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer, run = training.Dropout(0.5), training.Float32().start(seed=1)
    >>> layer.forward(np.ones((1, 8), np.float32), run)
    array([[0., 0., 2., 2., 0., 0., 0., 0.]], dtype=float32)
    >>> layer.forward(np.ones((1, 8), np.float32), run.evaluation())
    array([[1., 1., 1., 1., 1., 1., 1., 1.]], dtype=float32)
    """

    place = 0

    def __init__(self, rate: float) -> None:
        if not 0 <= rate < 1:
            raise ValueError(f"rate must be at least 0 and below 1, got {rate}")
        self.rate = rate

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        self._factors: Floats | None = None
        if not run.training or not self.rate:
            return x
        key = np.array([run.seed, (run.iteration << 24) | self.place], np.uint64)
        words = np.random.Philox(key=key).random_raw(-(-x.size // 2))
        # two words of 32 bits in each, the lower half first on any machine
        halves = words.astype("<u8", copy=False).view("<u4")[: x.size]
        kept = halves >= np.uint64(self.rate * 2**32)
        self._factors = (kept / (1 - self.rate)).astype(x.dtype).reshape(x.shape)
        return x * self._factors

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        return gradient if self._factors is None else gradient * self._factors
