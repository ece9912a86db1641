"""Block floating point of one width."""

import math
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.formats import Rounding
from fmtlib.products import FMAC_GROUP
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import (
    ROLES,
    Operand,
    Recipe,
    check_rounding,
    chunks,
    reuse_weight,
)

# Making a format checks it, which would cost more than to encode a small tensor.
_bfp = cache(fl.bfp)


def lies_transposed(x: Floats) -> bool:
    """Whether a matrix lies in memory column by column, as the transpose of another does."""
    return x.ndim == 2 and x.flags.f_contiguous and not x.flags.c_contiguous


def other_axis(axis: int) -> int:
    """The same axis, -1 or -2, after the last two were exchanged."""
    return -3 - axis


def encode_along(x: Floats, fmt: fl.BlockFormat, axis: int, **rounding: Any) -> fl.BlockArray:
    """``fl.encode`` of an operand, blocked along -1 or -2, as it lies in memory: that is faster.

    Random words go by the place in the operand, so where there are any it is taken as it is.
    """
    turned = lies_transposed(x) and "seed" not in rounding
    if turned:
        x, axis = x.T, other_axis(axis)
    encoded: fl.BlockArray = fl.encode(x, fmt, axis=axis, **rounding)
    return encoded.T if turned else encoded


def multiply(a: fl.BlockArray, b: fl.BlockArray) -> Floats:
    """The fMAC's product of two operands."""
    product: Floats = fl.matmul(a, b, accumulator="fmac")
    return product


@dataclass(frozen=True, kw_only=True)
class BlockRecipe(Recipe):
    """What the recipes with block floating point have in common.

    Every operand is encoded in groups along the reduction axis of the product that it enters, and
    products go through the fMAC (`fmtlib.matmul`).  Widths are chosen once per tensor and
    iteration; a tensor that enters two products is encoded for each, along another axis.

    Parameters
    ----------
    group_size : int
        Elements that share an exponent.
    exponent_bits : int
        Bits of the shared exponent.
    weight_rounding, activation_rounding, gradient_rounding : str
        See `fmtlib.encode`.
    random_bits : int
        Bits of noise of stochastic rounding.
    carry : {"saturate", "bump"}
        See `fmtlib.BlockFormat`.

    Notes
    -----
    The paper truncates weights and activations, and adds 8 random bits to gradients before it
    truncates them.  Rounding to nearest even is the default for the former here (but not in
    `FAST`): a width that is fixed at 2 bits trains better with it.  What happens when a magnitude
    rounds up past the greatest mantissa is left open, hence `carry`; and so is the order of the
    reduction axis, see `Conv2d`.
    """

    group_size: int = 16
    exponent_bits: int = 8
    weight_rounding: Rounding = "nearest_even"
    activation_rounding: Rounding = "nearest_even"
    gradient_rounding: Rounding = "stochastic"
    random_bits: int = 8
    carry: Literal["saturate", "bump"] = "saturate"

    def __post_init__(self) -> None:
        self._format(1)  # checks its arguments
        whole_number("random_bits", self.random_bits, 1, 32)
        for role in ROLES:
            check_rounding(f"{role}_rounding", getattr(self, f"{role}_rounding"))

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The fMAC's product of the encoded operands, and its passes."""
        product = multiply(self._encoded(a, left), self._encoded(b, right))
        return product, self._passes(a.shape, b.shape[-1], left.bits, right.bits)

    def quantize(self, x: Floats, operand: Operand, bits: int) -> Floats:
        """The values that x has as this operand with mantissas of `bits` bits."""
        rounding, axis = self._rounding(operand), operand.axis
        if lies_transposed(x) and "seed" not in rounding:
            x, axis = x.T, other_axis(axis)
        quantized: Floats = fl.quantize(x, self._format(bits), axis=axis, **rounding)
        return quantized if axis == operand.axis else quantized.T

    def _encoded(self, x: Floats, operand: Operand) -> fl.BlockArray:
        fmt, rounding = self._format(operand.bits), self._rounding(operand)

        def encode(x: Floats) -> fl.BlockArray:
            return encode_along(x, fmt, operand.axis, **rounding)

        # random words are of one product
        return encode(x) if "seed" in rounding else reuse_weight(encode, x, operand)

    def _passes(self, shape: tuple[int, ...], columns: int, left: int, right: int) -> int:
        """What `fmtlib.dot_passes` counts, from the shape of the left operand and the widths."""
        whole, rest = divmod(shape[-1], self.group_size)
        groups = whole * -(-self.group_size // FMAC_GROUP) + -(-rest // FMAC_GROUP)
        return math.prod(shape[:-1]) * columns * groups * chunks(left) * chunks(right)

    def _format(self, bits: int) -> fl.BlockFormat:
        return _bfp(bits, self.exponent_bits, self.group_size, carry=self.carry)

    def _rounding(self, operand: Operand) -> dict[str, Any]:
        rounding = getattr(self, f"{operand.role}_rounding")
        if rounding != "stochastic":
            return {"rounding": rounding}
        return {"rounding": rounding, "random_bits": self.random_bits, "seed": operand.key}


@dataclass(frozen=True)
class BFP(BlockRecipe):
    """Block floating point of one width throughout.

    Parameters
    ----------
    mantissa_bits : int
        From 1 to 8.
    **options
        See `BlockRecipe`.

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, "FAST: DNN Training Under Variable Precision Block
    Floating Point with Stochastic Rounding", HPCA 2022, arXiv 2110.15456.

    Examples
    --------
    >>> from fmtlib import training
    >>> truncated = training.BFP(
    ...     mantissa_bits=2,
    ...     weight_rounding="toward_zero",
    ...     activation_rounding="toward_zero",
    ...     gradient_rounding="toward_zero",
    ... )
    """

    mantissa_bits: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("mantissa_bits", self.mantissa_bits, 1, 8)

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """Always `mantissa_bits`."""
        return self.mantissa_bits
