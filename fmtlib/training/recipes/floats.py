"""Floating-point operands: float32, bfloat16, and FP8 with a scale for each tensor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe, Role, reuse
from fmtlib.training.recipes.roles import RoleFormats

Scaling = Literal["current", "delayed"]


@dataclass(frozen=True)
class Float32(Recipe):
    """Full precision: the baseline."""

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's own product."""
        return a @ b, None


@dataclass(frozen=True)
class FloatRecipe(RoleFormats):
    """What the recipes with floating-point operands have in common.

    Parameters
    ----------
    weight_format, activation_format, gradient_format : str
        Floating-point formats, see `fmtlib.get_format`.
    gradient_rounding : str
        See `fmtlib.encode`; weights and activations are rounded to nearest even.
    accumulator : str or fmtlib.Accumulator, optional
        What adds the products up, see `fmtlib.matmul`: "exact", or "hopper" for that tensor core,
        say.  By default the operands' values are multiplied by NumPy in float32, which is much
        faster.

    Notes
    -----
    With an accumulator the product of the codes is exact up to what the accumulator does; it is
    then multiplied, in float32, by the product of both scales.
    """

    def __post_init__(self) -> None:
        self._check(fl.FloatFormat, "floating-point")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The product of the operands in their formats."""
        if self.accumulator is None:
            return self._values(a, left) @ self._values(b, right), None
        codes, formats, scales = [], [], []
        for x, operand in ((a, left), (b, right)):
            fmt, scale = self._format(operand.role, fl.FloatFormat), self.scale(x, operand)
            codes.append(fl.encode(x, fmt, scale=scale, **self._rounding(operand)))
            formats.append(fmt)
            scales.append(1.0 if scale is None else scale)
        product = fl.matmul(*codes, formats=formats, accumulator=self.accumulator)
        return product * np.float32(scales[0] * scales[1]), None

    def round_input(self, x: Floats, operand: Operand) -> Floats | None:
        """The values in their format; None with an accumulator, which takes codes."""
        return self._values(x, operand) if self.accumulator is None else None

    def scale(self, x: Floats, operand: Operand) -> float | None:
        """What a tensor is divided by before it is rounded; None for nothing."""
        return None

    def _values(self, x: Floats, operand: Operand) -> Floats:
        """The values that x has in its format."""
        if operand.rounded:
            return x
        rounding = self._rounding(operand)
        fmt = self._format(operand.role, fl.FloatFormat)

        def quantize(x: Floats) -> Floats:
            scale = self.scale(x, operand)
            quantized: Floats = fl.quantize(x, fmt, scale=scale, **rounding)
            return quantized

        # random words are of one product: only what is not random can serve in two
        return quantize(x) if "seed" in rounding else reuse(quantize, x, operand)


@dataclass(frozen=True)
class BF16(FloatRecipe):
    """Mixed precision with bfloat16: operands rounded to it, products added up in float32.

    Masters stay float32.  No scale is needed: the exponents are those of float32.

    Parameters
    ----------
    **options
        See `FloatRecipe`.

    References
    ----------
    D. Kalamkar et al., "A Study of BFLOAT16 for Deep Learning Training", arXiv 1905.12322.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.BF16().start()
    >>> run.gemm(np.float32([[1.0, 0.3]]), np.float32([[0.0], [1.0]]), "forward", 0)
    array([[0.30078125]], dtype=float32)
    """

    weight_format: str = "bfloat16"
    activation_format: str = "bfloat16"
    gradient_format: str = "bfloat16"


@dataclass(frozen=True)
class FP8(FloatRecipe):
    """Eight-bit floating point with one scale per tensor, as mixed-precision FP8 training has it.

    Every operand is scaled so that its greatest magnitude becomes the greatest value of its format,
    rounded to nearest even, and scaled back.  Values beyond the format's range saturate.

    Parameters
    ----------
    weight_format, activation_format, gradient_format, gradient_rounding, accumulator
        See `FloatRecipe`.
    scaling : {"current", "delayed"}
        Whether a tensor's own greatest magnitude sets its scale, or the greatest of those that the
        same tensor of the layer had in the last steps.
    history : int
        How many steps count in delayed scaling; in the first one the scale is 1.
    margin : int
        The greatest magnitude becomes the format's greatest value times ``2**-margin``; in delayed
        scaling, against growth from step to step.

    Notes
    -----
    Current scaling: a tensor whose greatest magnitude is 0, infinite or NaN has scale 1.  Delayed
    scaling is that of `fmtlib.AmaxHistory`, whose notes tell what such tensors do there.  A stack
    of matrices is one tensor.

    References
    ----------
    P. Micikevicius et al., "FP8 formats for deep learning", 2022, arXiv 2209.05433: E4M3 for
    weights and activations, E5M2 for gradients.  The paper leaves the choice of the scale open:
    current scaling is the default here, 16 the length of the history.

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
    scaling: Scaling = "current"
    history: int = 16
    margin: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.scaling not in get_args(Scaling):
            choices = " or ".join(get_args(Scaling))
            raise ValueError(f"scaling must be {choices}, got {self.scaling!r}")
        whole_number("history", self.history, 1)
        whole_number("margin", self.margin, -64, 64)

    def quantize(self, x: Floats, role: Role) -> Floats:
        """The values that x has in the format of its role under current scaling, in x's dtype."""
        scale = self._current(x, role)
        quantized: Floats = fl.quantize(x, self._format(role, fl.FloatFormat), scale=scale)
        return quantized

    def scale(self, x: Floats, operand: Operand) -> float | None:
        """By the greatest magnitude, of x or in the history."""
        if self.scaling == "current":
            return self._current(x, operand.role)
        # one entry for each tensor, however many products it enters
        place = ("scale", operand.tensor, operand.call)
        if place not in operand.step:
            history = fl.AmaxHistory(
                self._format(operand.role, fl.FloatFormat), length=self.history, margin=self.margin
            )
            name = f"amax_history.{operand.tensor}"
            if name in operand.memory:
                history.restore(operand.memory[name])
            operand.step[place] = history.scale_for(x)
            operand.memory[name] = history.state()
        scale: float = operand.step[place]
        return scale

    def _current(self, x: Floats, role: Role) -> float:
        amax = float(max(x.max(initial=0.0), -x.min(initial=0.0))) if x.size else 0.0
        return (
            amax / self._format(role, fl.FloatFormat).max * 2.0**self.margin
            if 0 < amax < np.inf
            else 1.0
        )
