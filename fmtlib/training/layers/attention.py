"""Multi-head attention."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, Layer
from fmtlib.training.layers.linear import Linear

if TYPE_CHECKING:
    from fmtlib.training.recipes import Role, Run

# Scores and context are products of two activations.
_BOTH: tuple[Role, Role] = ("activation", "activation")
_BACK: tuple[Role, Role] = ("gradient", "activation")


class MultiHeadAttention(Layer):
    """Self-attention: every place of a sequence takes what it looks for from the others.

    ``softmax(Q·Kᵀ / √d)·V`` in each head, where d is the width of a head.  The four layers inside
    and the two products, of all heads and sequences, have an index each.

    Parameters
    ----------
    width : int
        Values at each place.
    heads : int
        Divides the width.
    generator : numpy.random.Generator
        Draws the initial weights.
    causal : bool
        Whether a place sees only itself and those before it.

    Attributes
    ----------
    query, key, value, out : Linear
        Each of width × width.

    References
    ----------
    A. Vaswani et al., "Attention Is All You Need", arXiv 1706.03762, section 3.2.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.MultiHeadAttention(8, 2, np.random.default_rng(0), causal=True)
    >>> run = training.Float32().start(layers=6)
    >>> layer.forward(np.zeros((3, 5, 8), np.float32), run).shape
    (3, 5, 8)
    """

    products = 2

    def __init__(
        self, width: int, heads: int, generator: np.random.Generator, *, causal: bool = False
    ) -> None:
        width, heads = whole_number("width", width, 1), whole_number("heads", heads, 1)
        if width % heads:
            raise ValueError(f"heads must divide the width {width}, got {heads}")
        self.heads, self.causal = heads, causal
        # variance 1 / fan-in: nothing follows that would halve it
        self.query, self.key, self.value, self.out = (
            Linear(width, width, generator, spread=width**-0.5) for _ in range(4)
        )
        self._scale = (width // heads) ** -0.5

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape, (N, T, width)."""
        query, key, value = (
            self._split(layer.forward(x, run)) for layer in (self.query, self.key, self.value)
        )
        scores = run.gemm(query, key.swapaxes(2, 3), "forward", self.index, roles=_BOTH)
        scores *= self._scale
        if self.causal:
            length = x.shape[1]
            scores[:, :, np.triu(np.ones((length, length), bool), 1)] = -np.inf
        scores -= scores.max(axis=3, keepdims=True)
        shares = np.exp(scores, out=scores)
        shares /= shares.sum(axis=3, keepdims=True)
        self._kept = query, key, value, shares
        context = run.gemm(shares, value, "forward", self.index + 1, roles=_BOTH)
        return self.out.forward(self._join(context), run)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        query, key, value, shares = self._kept
        context = self._split(self.out.backward(gradient, run))
        at = self.index + 1
        in_value = run.gemm(shares.swapaxes(2, 3), context, "weight_gradient", at)
        scores = run.gemm(context, value.swapaxes(2, 3), "input_gradient", at, roles=_BACK)
        # through the softmax and the scale
        scores -= (scores * shares).sum(axis=3, keepdims=True)
        scores *= shares
        scores *= self._scale
        in_key = run.gemm(query.swapaxes(2, 3), scores, "weight_gradient", self.index)
        in_query = run.gemm(scores, key, "input_gradient", self.index, roles=_BACK)
        result = self.query.backward(self._join(in_query), run)
        result += self.key.backward(self._join(in_key.swapaxes(2, 3)), run)
        result += self.value.backward(self._join(in_value), run)
        return result

    def _split(self, x: Floats) -> Floats:
        """(N, T, width) as (N, heads, T, width of a head)."""
        return x.reshape(*x.shape[:2], self.heads, -1).swapaxes(1, 2)

    def _join(self, x: Floats) -> Floats:
        """The reverse of `_split`."""
        joined = x.swapaxes(1, 2)
        return joined.reshape(*joined.shape[:2], -1)
