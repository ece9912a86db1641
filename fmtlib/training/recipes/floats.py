"""Floating-point operands."""

from dataclasses import dataclass
from typing import get_args

import numpy as np

import fmtlib as fl
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe, Role


@dataclass(frozen=True)
class Float32(Recipe):
    """Full precision: the baseline."""

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's own product."""
        return a @ b, None


@dataclass(frozen=True)
class FP8(Recipe):
    """Eight-bit floating point with one scale per tensor, as mixed-precision FP8 training has it.

    Every operand is scaled so that its greatest magnitude becomes the greatest value of its format
    ("current scaling"), rounded to nearest even, and scaled back; the product is then NumPy's in
    float32.  A tensor whose greatest magnitude is 0, infinite or NaN has scale 1; values beyond the
    format's range saturate.

    Parameters
    ----------
    weight_format, activation_format, gradient_format : str
        Floating-point formats, see `fmtlib.get_format`.

    References
    ----------
    P. Micikevicius et al., "FP8 formats for deep learning", 2022, arXiv 2209.05433: E4M3 for
    weights and activations, E5M2 for gradients.  The paper leaves the choice of the scale open;
    current scaling is chosen here.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.FP8().start()
    >>> run.gemm(np.float32([[1.0, 0.3]]), np.float32([[0.0], [1.0]]), "forward", 0)
    array([[0.2857143]], dtype=float32)
    """

    weight_format: str = "float8_e4m3fn"
    activation_format: str = "float8_e4m3fn"
    gradient_format: str = "float8_e5m2"

    def __post_init__(self) -> None:
        for role in get_args(Role):
            fmt = fl.get_format(getattr(self, f"{role}_format"))
            if not isinstance(fmt, fl.FloatFormat):
                raise ValueError(f"{role}_format must be a floating-point format, got {fmt.name}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The float32 product of the quantised operands."""
        return self.quantize(a, left.role) @ self.quantize(b, right.role), None

    def quantize(self, x: Floats, role: Role) -> Floats:
        """The values that x has in the format of its role, in x's dtype."""
        fmt = fl.get_format(getattr(self, f"{role}_format"))
        amax = float(np.abs(x).max(initial=0.0))
        scale = amax / fmt.max if 0 < amax < np.inf else 1.0
        quantized: Floats = fl.quantize(x, fmt, scale=scale)
        return quantized
