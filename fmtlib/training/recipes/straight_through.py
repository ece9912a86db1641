"""Operands that are rounded forward, with gradients that pass straight through the rounding."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe, Tensor, reuse


@dataclass(frozen=True)
class StraightThrough(Recipe):
    """What the recipes of quantisation-aware training have in common.

    The forward product is of the rounded operands.  The gradients of both are products of the
    float32 gradient of the output and the rounded other operand, as the chain rule has it; on
    their way through the rounding they are multiplied by 1 where the value lies within the
    format's range, by 0 where it was clipped ("straight-through estimator").

    References
    ----------
    Y. Bengio et al., "Estimating or Propagating Gradients Through Stochastic Neurons", arXiv
    1308.3432.
    """

    @abstractmethod
    def rounded(self, x: Floats, operand: Operand) -> tuple[Floats, NDArray[np.bool_] | None]:
        """Round an operand of the forward product, in the shape that it has there.

        Returns
        -------
        values : ndarray
        clipped : ndarray of bool or None
            Where x lies beyond the range; None if nowhere.
        """

    def learn(
        self,
        operand: Operand,
        x: Floats,
        values: Floats,
        clipped: NDArray[np.bool_] | None,
        gradient: Floats,
    ) -> None:
        """Take notice of the gradient of the loss for the rounded values of x.

        Parameters
        ----------
        operand : Operand
            What x was when it was rounded.
        x, values : ndarray
        clipped : ndarray of bool or None
            See `rounded`.
        gradient : ndarray
        """

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's product of the rounded operands; of the backward ones, what passes through."""
        product = self._values(a, left) @ self._values(b, right)
        if left.gemm == "forward":
            return product, None
        if left.gemm == "weight_gradient":
            return self._passed(product, right, "right"), None
        return self._passed(product, left, "left"), None

    def _values(self, x: Floats, operand: Operand) -> Floats:
        if operand.tensor == "output":
            return x

        def make(x: Floats) -> Floats:
            values, clipped = self.rounded(x, operand)
            operand.step["rounded", operand.tensor, operand.call] = operand, x, values, clipped
            return values

        return reuse(make, x, operand)

    def _passed(self, gradient: Floats, output: Operand, of: Tensor) -> Floats:
        """The part of a gradient for rounded values that is one for the values themselves."""
        if (held := output.step.get(("rounded", of, output.call))) is None:
            held = output.step.get(("rounded", of, 0))  # weights belong to all calls
        if held is None:
            return gradient
        operand, x, values, clipped = held
        if x.shape != gradient.shape:
            raise ValueError(
                f"layer {output.layer}: a gradient of shape {gradient.shape} for an operand of "
                f"shape {x.shape}: each forward product needs backward ones of its own, in the "
                "reverse order"
            )
        self.learn(operand, x, values, clipped, gradient)
        return gradient if clipped is None else np.where(clipped, gradient.dtype.type(0), gradient)
