"""Approximate multipliers: mantissas multiplied by a table (ApproxTrain)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import not_one_of, whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe

Multiplier = Literal["mitchell", "minimally_biased", "exact"]

# of float32
_FRACTION_BITS = 23
_HIDDEN = 1 << _FRACTION_BITS
_SIGN_AND_EXPONENT, _INFINITY = np.uint32(0xFF800000), np.uint32(0x7F800000)


@dataclass(frozen=True)
class Approximate(Recipe):
    """Products of floats whose mantissas are multiplied approximately, added up in float32.

    A product has the exclusive or of the signs and the sum of the exponents; its mantissa, and a
    carry to the exponent, come from a table of the leading `mantissa_bits` bits of both mantissas:
    see `mantissa_table`.  All three products of a layer are computed so.

    Parameters
    ----------
    multiplier : {"mitchell", "minimally_biased", "exact"}
    mantissa_bits : int
        From 1 to 7; the operands are truncated to them.

    Notes
    -----
    Subnormal operands count as zero.  What is left open and chosen here: sums are NumPy's in
    float32; a product below 2**-126 is rounded to float32's subnormal numbers, where ApproxTrain's
    simulator gives 0; a sum beyond float32's range is infinite; an infinite operand counts as
    NaN.

    The table is not looked up for every product: for each mantissa v, the left operand's powers of
    two where its mantissa is v are multiplied by the right operand with its mantissas replaced by
    the table's row v.  That gives the same products, as ``2**mantissa_bits`` matrix products.

    References
    ----------
    J. Gong et al., "ApproxTrain: Fast Simulation of Approximate Multipliers for DNN Training and
    Inference", arXiv 2209.04161.  J. N. Mitchell, "Computer Multiplication and Division Using
    Binary Logarithms", 1962.  H. Saadat et al., "Minimally Biased Multipliers for Approximate
    Integer and Floating-Point Multiplication", 2018.

    Examples
    --------
    Mitchell's product of 1.5 and 1.5 is 2:

    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.Approximate("mitchell", 7).start()
    >>> run.gemm(np.float32([[1.5]]), np.float32([[-1.5]]), "forward", 0)
    array([[-2.]], dtype=float32)
    """

    multiplier: Multiplier = "minimally_biased"
    mantissa_bits: int = 7

    def __post_init__(self) -> None:
        mantissa_table(self.multiplier, self.mantissa_bits)

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The product with the table's mantissas."""
        rows, a_power = self._apart(a)
        columns, b_power = self._apart(b)
        product = np.zeros((*a.shape[:-1], b.shape[-1]), np.float32)
        with np.errstate(over="ignore", invalid="ignore"):
            for v, factors in enumerate(_half_factors(self.multiplier, self.mantissa_bits)):
                mine = rows == v
                if mine.any():
                    ones = np.where(mine, a_power, np.float32(0))
                    product += ones @ (factors[columns] * b_power)
            # factors are halves, lest they exceed float32's range before the powers of a lower them
            return product * np.float32(2), None

    def _apart(self, x: Floats) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
        """Leading bits of the mantissas, and the signed powers of two."""
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32)
        mantissas = bits >> np.uint32(_FRACTION_BITS - self.mantissa_bits)
        mantissas &= np.uint32((1 << self.mantissa_bits) - 1)
        powers = (bits & _SIGN_AND_EXPONENT).view(np.float32)
        exponents = bits & _INFINITY
        powers[exponents == 0] = 0
        powers[exponents == _INFINITY] = np.nan
        return mantissas.astype(np.uint8), powers


@cache
def mantissa_table(multiplier: Multiplier, mantissa_bits: int) -> NDArray[np.uint8]:
    """The products of all pairs of mantissas, of m bits without the hidden one.

    Parameters
    ----------
    multiplier : {"mitchell", "minimally_biased", "exact"}
        With a and b the mantissas as fractions: "mitchell" adds them, so that the product of 1 + a
        and 1 + b is 1 + a + b, or 2 (a + b) if that is greater.  "minimally_biased" sets the last
        bit of each, and adds 2**-4 + 2**-6 to the sum, half as much after a carry, and nothing if
        that would carry again.  "exact" multiplies.  All truncate the product to m bits.
    mantissa_bits : int
        m, from 1 to 7.

    Returns
    -------
    ndarray of uint8, shape (2**m, 2**m), read-only
        Bit 7 is the carry to the exponent, the m low bits are the product's mantissa.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.mantissa_table("mitchell", 1)
    array([[  0,   1],
           [  1, 128]], dtype=uint8)
    """
    if multiplier not in get_args(Multiplier):
        raise ValueError(not_one_of("multiplier", multiplier, get_args(Multiplier)))
    m = whole_number("mantissa_bits", mantissa_bits, 1, 7)
    a = np.arange(1 << m, dtype=np.int64)[:, None] << (_FRACTION_BITS - m)
    b = a.T
    if multiplier == "exact":
        product = ((_HIDDEN + a) * (_HIDDEN + b)) >> _FRACTION_BITS
        carry = product // (2 * _HIDDEN)
        product >>= carry
    else:
        if multiplier == "minimally_biased":
            last = 1 << (_FRACTION_BITS - m)
            a, b = a | last, b | last
        total = a + b
        carry = total // _HIDDEN
        fraction = total % _HIDDEN
        if multiplier == "minimally_biased":
            more = (_HIDDEN // 16 + _HIDDEN // 64) >> carry
            fraction += np.where((carry == 1) & (fraction + more >= _HIDDEN), 0, more)
        product = _HIDDEN + fraction
        again = product // (2 * _HIDDEN)
        product, carry = product >> again, carry + again
    mantissas = (product % _HIDDEN) >> (_FRACTION_BITS - m)
    table = (carry << 7 | mantissas).astype(np.uint8)
    table.flags.writeable = False
    return table


@cache
def _half_factors(multiplier: Multiplier, mantissa_bits: int) -> NDArray[np.float32]:
    """Half of what each entry of the table stands for."""
    table = mantissa_table(multiplier, mantissa_bits).astype(np.int64)
    mantissas = table % 128 / (1 << mantissa_bits)
    return ((1 + mantissas) * (1 + table // 128) / 2).astype(np.float32)
