"""Machine limits of float formats, under the names of `numpy.finfo`."""

from __future__ import annotations

import importlib
import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from fmtlib import reference
from fmtlib.formats import FloatFormat, Format, get_format


@dataclass(frozen=True)
class FloatLimits:
    """What `finfo` tells of a float format.

    Numbers are Python's, exactly: every value of a FloatFormat is a float.

    Attributes
    ----------
    fmt : FloatFormat
    bits : int
        Width of a code.
    eps : float
        Spacing of the values from 1 up, relative to them: ``2**-mantissa_bits``.
    epsneg : float
        Difference between 1 and the next smaller value.
    iexp, nexp : int
        Bits of the exponent field.
    machep, negep : int
        Exponents of `eps` and `epsneg`.
    max, min : float
        Greatest and least finite values; `min` is ``-max``, or for unsigned formats 0, or the
        least value if there is no zero.
    maxexp : int
        The smallest power of two that is too great.
    minexp : int
        Exponent of the least normal value.
    nmant : int
        Bits of the mantissa field.
    precision : int
        Decimal digits that the format is good for: ``int(-log10(eps))``, but, as ml_dtypes has
        it, at least 1 for formats of 8 bits and more.
    resolution : float
        ``10**-precision`` rounded to the format.
    smallest_normal, tiny : float
        The least normal value.
    smallest_subnormal : float
        The least positive value.
    has_infinity, has_nan, has_negative_zero, has_subnormals : bool
    """

    fmt: FloatFormat
    bits: int
    eps: float
    epsneg: float
    iexp: int
    machep: int
    max: float
    maxexp: int
    min: float
    minexp: int
    negep: int
    nexp: int
    nmant: int
    precision: int
    resolution: float
    smallest_normal: float
    smallest_subnormal: float
    tiny: float
    has_infinity: bool
    has_nan: bool
    has_negative_zero: bool
    has_subnormals: bool

    @property
    def dtype(self) -> np.dtype[Any] | None:
        """The NumPy type of the format's values: float16's own, or that of ml_dtypes.

        None where there is no such type, or ml_dtypes is not installed.
        """
        if self.fmt.name == "float16":
            return np.dtype(np.float16)
        try:
            scalar = getattr(importlib.import_module("ml_dtypes"), self.fmt.name, None)
        except ImportError:
            return None
        return None if scalar is None else np.dtype(scalar)


def finfo(fmt: str | Format | np.dtype[Any] | type) -> FloatLimits:
    """Machine limits of a float format, as `numpy.finfo` tells them of NumPy's types.

    Parameters
    ----------
    fmt : str, FloatFormat, dtype or scalar type
        See `get_format`.

    Returns
    -------
    FloatLimits
        With the attributes of `numpy.finfo`: bits, dtype, eps, epsneg, iexp, machep, max, maxexp,
        min, minexp, negep, nexp, nmant, precision, resolution, smallest_normal,
        smallest_subnormal, tiny; and fmt, has_infinity, has_nan, has_negative_zero,
        has_subnormals.  They equal those of ``numpy.finfo(float16)`` and of ``ml_dtypes.finfo``.

    Raises
    ------
    TypeError
        For a fixed, integer or block format, whose records say it themselves.

    Examples
    --------
    >>> import fmtlib as fl
    >>> limits = fl.finfo("e4m3")
    >>> limits.max, limits.tiny, limits.smallest_subnormal, limits.has_infinity
    (448.0, 0.015625, 0.001953125, False)
    """
    fmt = get_format(fmt)
    if not isinstance(fmt, FloatFormat):
        raise TypeError(
            f"finfo is for float formats, got {fmt.name}; see its attributes max and "
            "quantum_exponent, and for integers min_integer and max_integer"
        )
    mantissa = fmt.mantissa_bits
    tiny = 2.0**fmt.min_exponent
    # Where 1 is the least normal value, the subnormals below it are as far apart as it is wide.
    negep = -mantissa - (fmt.min_exponent < 0)
    # NumPy's rule gives 0 below 4 bits of mantissa, ml_dtypes' table 1 from 8 bits on.
    precision = max(int(mantissa * math.log10(2)), int(fmt.bits >= 8))
    return FloatLimits(
        fmt=fmt,
        bits=fmt.bits,
        eps=2.0**-mantissa,
        epsneg=2.0**negep,
        iexp=fmt.exponent_bits,
        machep=-mantissa,
        max=fmt.max,
        maxexp=fmt.max_exponent + 1,
        min=-fmt.max if fmt.signed else 0.0 if fmt.subnormals else tiny,
        minexp=fmt.min_exponent,
        negep=negep,
        nexp=fmt.exponent_bits,
        nmant=mantissa,
        precision=precision,
        resolution=float(reference.quantize(Fraction(1, 10**precision), fmt)),
        smallest_normal=tiny,
        smallest_subnormal=2.0**fmt.quantum_exponent if fmt.subnormals else tiny,
        tiny=tiny,
        has_infinity=fmt.inf_code is not None,
        has_nan=fmt.nan_code is not None,
        has_negative_zero=fmt.has_negative_zero,
        has_subnormals=fmt.subnormals and mantissa > 0,
    )
