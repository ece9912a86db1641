"""Fixed point whose binary points are trained (QFX)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand
from fmtlib.training.recipes.straight_through import StraightThrough

# Positions whose scales float32 has.
_LEAST, _MOST = -126.0, 127.0


@dataclass(frozen=True)
class QFX(StraightThrough):
    """Weights and activations in fixed point, with trained positions of the binary points.

    A tensor of a layer has signed numbers of b bits, of which ``round(p)`` lie before the binary
    point, sign apart; p is real and trained along with the weights.  Values are rounded to nearest
    even and saturate.  Gradients are float32 and pass straight through the rounding, that of p too;
    see `StraightThrough`.

    Parameters
    ----------
    weight_bits, activation_bits : int
        b, from 2 to 24.
    position_rate : float
        Learning rate of the positions; 0 leaves them where they start.

    Notes
    -----
    Only the paper's idea could be read, not its formulas; these are ours, after learned step sizes.
    A tensor's p starts where its greatest magnitude, when first met, just does not saturate.  With
    v the rounded value of x, the derivative of v for p is ``ln 2 · (v - x)`` within the range and
    ``ln 2 · v`` where x was clipped.  The sum of its products with the loss's gradients for v is
    the slope along p; ``position_rate`` times it is subtracted from p, for each backward product,
    and counts from the next step.  The first layer's activations keep their p, as the gradient of
    a network's input is not computed.  The paper's weights of few non-zero bits are not part of
    this.

    References
    ----------
    D. Dai et al., "Trainable Fixed-Point Quantization for Deep Learning Acceleration on FPGAs",
    arXiv 2401.17544.  S. K. Esser et al., "Learned Step Size Quantization", arXiv 1902.08153.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.QFX(weight_bits=4).start()
    >>> run.gemm(np.float32([[1.0]]), np.float32([[0.3, 0.9]]), "forward", 0)
    array([[0.25, 1.  ]], dtype=float32)
    """

    weight_bits: int = 8
    activation_bits: int = 8
    position_rate: float = 0.1

    def __post_init__(self) -> None:
        whole_number("weight_bits", self.weight_bits, 2, 24)
        whole_number("activation_bits", self.activation_bits, 2, 24)
        if not 0 <= self.position_rate < math.inf:
            raise ValueError(
                f"position_rate must be at least 0 and finite, got {self.position_rate}"
            )

    def rounded(self, x: Floats, operand: Operand) -> tuple[Floats, NDArray[np.bool_] | None]:
        """The values in fixed point."""
        bits = self._bits(operand)
        fmt, scale = fl.FixedFormat(0, bits - 1), 2.0 ** round(self._position(x, operand))
        values: Floats = fl.quantize(x, fmt, scale=scale)
        clipped = (x < -scale) | (x > fmt.max * scale)
        return values, clipped if clipped.any() else None

    def learn(
        self,
        operand: Operand,
        x: Floats,
        values: Floats,
        clipped: NDArray[np.bool_] | None,
        gradient: Floats,
    ) -> None:
        """Move the binary point."""
        within = x if clipped is None else np.where(clipped, x.dtype.type(0), x)
        slope = math.log(2) * float((gradient * (values - within)).sum(dtype=np.float64))
        position = operand.memory[_name(operand)]
        moved = float(position) - self.position_rate * slope
        if math.isfinite(moved):
            position[...] = min(max(moved, _LEAST), _MOST)

    def _position(self, x: Floats, operand: Operand) -> float:
        """P of a tensor, the same throughout a step."""
        name = _name(operand)
        if name not in operand.step:
            if name not in operand.memory:
                amax = float(np.abs(x[np.isfinite(x)]).max(initial=0.0))
                fraction, exponent = math.frexp(amax / (1 - 2.0 ** (1 - self._bits(operand))))
                start = 0 if amax == 0 else exponent - (fraction == 0.5)
                operand.memory[name] = np.array(float(min(max(start, _LEAST), _MOST)))
            operand.step[name] = float(operand.memory[name])
        position: float = operand.step[name]
        return position

    def _bits(self, operand: Operand) -> int:
        return self.weight_bits if operand.role == "weight" else self.activation_bits


def _name(operand: Operand) -> str:
    """Of a tensor's position in the layer's memory."""
    return f"position.{operand.tensor}"
