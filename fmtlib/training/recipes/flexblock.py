"""FlexBlock: block floating point in three modes, of 4, 8 and 16 bits."""

from __future__ import annotations

from dataclasses import dataclass, field

from fmtlib.formats import Rounding
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import ROLES, Operand
from fmtlib.training.recipes.bfp import BlockRecipe

MODES = (4, 8, 16)


@dataclass(frozen=True)
class FlexBlock(BlockRecipe):
    """Block floating point in one of three modes for each kind of tensor.

    Parameters
    ----------
    weight_bits, activation_bits, gradient_bits : {4, 8, 16}
        Mantissa bits.
    **options
        See `BlockRecipe`.

    Notes
    -----
    The hardware has multipliers of 4 × 4 bits, of which a product of two 8-bit mantissas takes 4
    and one of two 16-bit mantissas 16; that is 4, 16 and 64 passes of an fMAC
    (`Run.passes_per_mac`), the same ratios.  Mixed products are taken to cost the product of the
    widths.  Whether the paper's widths count the sign, and its group size and rounding of
    gradients, could not be read: they are magnitudes here, in groups of 16, as `fmtlib`'s formats
    "flexblock4", "flexblock8" and "flexblock16" are, and all roundings go to nearest even.

    References
    ----------
    FlexBlock: "A Flexible DNN Training Accelerator with Multi-Mode Block Floating Point Support",
    arXiv 2203.06673.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.FlexBlock(4, 4, 16).start()
    >>> ones = np.ones((16, 16), np.float32)
    >>> _ = run.gemm(ones, ones, "forward", 0), run.gemm(ones, ones, "input_gradient", 0)
    >>> run.passes_per_mac
    10.0
    """

    weight_bits: int = 8
    activation_bits: int = 8
    gradient_bits: int = 8
    gradient_rounding: Rounding = field(default="nearest_even", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        for role in ROLES:
            bits = getattr(self, f"{role}_bits")
            if bits not in MODES:
                raise ValueError(f"{role}_bits must be 4, 8 or 16, got {bits!r}")

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """That of the operand's role."""
        bits: int = getattr(self, f"{operand.role}_bits")
        return bits
