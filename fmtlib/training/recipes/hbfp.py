"""Hybrid block floating point (HBFP)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import fmtlib as fl
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe
from fmtlib.training.recipes.bfp import encode_along, multiply

Width = Literal[8, 12, 16]


@dataclass(frozen=True)
class HBFP(Recipe):
    """Products in block floating point, all else in floating point.

    Weights are in tiles of 24 × 24, activations and gradients in vectors of 24 along the reduction
    axis.  Each pair of vectors is multiplied exactly, and their sums are added up in float32.

    Parameters
    ----------
    bits : {8, 12, 16}
        Of a mantissa, its sign included.

    Notes
    -----
    The published recipe keeps the weights in a wider block format, 16 bits, for the update: that is
    ``StoredWeights(HBFP(8), "hbfp16_24x24", rounding="nearest_even")``.

    References
    ----------
    M. Drumond et al., "Training DNNs with Hybrid Block Floating Point", NeurIPS 2018, arXiv
    1804.01526: the shared exponent is ``ceil(log2(max + 1e-8))``, rounding goes to nearest even.
    That activations and gradients share exponents along the reduction axis, as long as a side of a
    tile, is our choice.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.HBFP(8).start()
    >>> run.gemm(np.float32([[1.0, 0.3]]), np.float32([[0.0], [1.0]]), "forward", 0)
    array([[0.296875]], dtype=float32)
    """

    bits: int = 8

    def __post_init__(self) -> None:
        if self.bits not in get_args(Width):
            raise ValueError(f"bits must be 8, 12 or 16, got {self.bits!r}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The sums of pairs of vectors, in float32."""
        return multiply(self._encoded(a, left), self._encoded(b, right)), None

    def _encoded(self, x: Floats, operand: Operand) -> fl.BlockArray:
        fmt = fl.get_format(f"hbfp{self.bits}")
        assert isinstance(fmt, fl.BlockFormat)
        if operand.role == "weight":
            # A tile's values are exact in vectors that find exponents of their own, up to its own:
            # the fMAC has a kernel for those.
            x = fl.quantize(x, f"hbfp{self.bits}_24x24", axis=(-2, -1))
            fmt = fl.bfp(fmt.mantissa_bits, block_size=24)
        return encode_along(x, fmt, operand.axis)
