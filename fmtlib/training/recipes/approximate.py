"""Approximate multipliers: mantissas multiplied by a table (ApproxTrain)."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels
from fmtlib.arguments import not_one_of, whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe

Multiplier = Literal["mitchell", "minimally_biased", "exact"]

# of float32
_FRACTION_BITS = 23
_HIDDEN = 1 << _FRACTION_BITS


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
    Subnormal operands count as zero.  What is left open and chosen here: sums are float32's, term
    after term in the order of the reduction axis; a product below 2**-125 is rounded to a multiple
    of 2**-148, where ApproxTrain's simulator gives 0; a sum beyond float32's range is infinite; an
    infinite operand counts as NaN.

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
        count, columns = math.prod(a.shape[:-2]), b.shape[-1]
        product = np.empty((count, a.shape[-2], columns), np.float32)
        factors = _half_factors(self.multiplier, self.mantissa_bits)
        kernels.multiply_by_table(_stack(a, count), _stack(b, count), factors, product)
        with np.errstate(over="ignore"):
            # factors are halves, lest they exceed float32's range before the powers of a lower them
            product *= np.float32(2)
        return product.reshape(*a.shape[:-1], columns), None


def _stack(x: Floats, count: int) -> Floats:
    """As `count` matrices that lie in memory one after the other."""
    return np.ascontiguousarray(x, np.float32).reshape(count, *x.shape[-2:])


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
