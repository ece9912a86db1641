"""From a range of values to a scale and a zero point, in exact arithmetic, rounded once."""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core.ufuncs import Elementwise
from fmtlib.codec import elementwise
from fmtlib.formats import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    get_format,
)


@dataclass(frozen=True, eq=False)
class Calibration:
    """A scale, and for integers a zero point: ``x ≈ scale * (code - zero_point)``.

    Unpacks into the two, which `encode`, `decode` and `quantize` take.

    Attributes
    ----------
    scale : float or ndarray
        Values of the dtype that was asked for; per channel an array of it, shape ``(channels,)``.
    zero_point : int, ndarray or None
        Codes of the format: 0 unless affine.  None if the format is not an integer format.
    format : Elementwise
        The format that they are for.

    See Also
    --------
    calibrate, Calibrator

    Examples
    --------
    >>> import fmtlib as fl
    >>> scale, zero_point = fl.calibrate([-1.0, 0.5, 3.0], "uint8", affine=True)
    >>> zero_point
    64
    >>> fl.encode([-1.0, 0.5, 3.0], "uint8", scale=scale, zero_point=zero_point)
    array([  0,  96, 255], dtype=uint8)
    """

    scale: float | NDArray[Any]
    zero_point: int | NDArray[Any] | None
    format: Elementwise

    def __iter__(self) -> Iterator[Any]:
        return iter((self.scale, self.zero_point))

    @property
    def fixed_format(self) -> FixedFormat:
        """The fixed-point format whose values are those of `format` times the scale.

        It needs no scale itself.  ValueError if there is no such record, or the scale is not one
        number; TypeError if `format` is not fixed point.

        Examples
        --------
        >>> import fmtlib as fl
        >>> fl.calibrate([0.3, -3.0], fl.FixedFormat(7, 8)).fixed_format.name
        'fixed_s2_13'
        """
        if not isinstance(self.format, FixedFormat):
            raise TypeError(f"{self.format.name} is not a fixed-point format")
        if isinstance(self.scale, np.ndarray):
            raise ValueError(f"there are {self.scale.size} scales, one for each channel")
        shift = round(math.log2(self.scale))  # of a power of two
        try:
            return FixedFormat(
                self.format.integer_bits + shift,
                self.format.fraction_bits - shift,
                self.format.signed,
            )
        except ValueError as error:
            raise ValueError(
                f"no fixed-point format is {self.format.name} times 2**{shift}: {error}"
            ) from None


@dataclass(frozen=True)
class Scheme:
    """How a range gives a scale and a zero point.

    Attributes
    ----------
    format : Elementwise
    affine : bool
        Whether the zero point is where the range needs it, or 0.
    power_of_two : bool
        Whether the scale is the next power of two; always, for fixed-point formats.
    dtype : numpy.dtype
        float32 or float64, that of the scale.
    """

    format: Elementwise
    affine: bool
    power_of_two: bool
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, fmt: str | Format, affine: object, power_of_two: object, dtype: Any) -> Scheme:
        """Check the arguments that users gave."""
        fmt = get_format(fmt)
        if isinstance(fmt, BlockFormat):
            raise TypeError(f"blocks of {fmt.name} find their own scales: nothing to calibrate")
        for name, value in (("affine", affine), ("power_of_two", power_of_two)):
            if not isinstance(value, (bool, np.bool_)):
                raise TypeError(f"{name} must be True or False, got {value!r}")
        if affine and not isinstance(fmt, IntegerFormat):
            raise ValueError(f"affine=True is for integer formats, got {fmt.name}")
        wanted: np.dtype[Any] = np.dtype(dtype)
        if wanted not in (np.float32, np.float64):
            raise TypeError(f"dtype must be float32 or float64, got {wanted}")
        fmt = elementwise(fmt)
        power = bool(power_of_two) or isinstance(fmt, FixedFormat)
        return cls(fmt, bool(affine), power, wanted.newbyteorder("="))

    def fit(self, low: float, high: float) -> tuple[float, int]:
        """The scale and the zero point for values from `low` to `high`, finite, and zero."""
        fmt = self.format
        low, high = min(low, 0.0), max(high, 0.0)
        if low < 0 and not (fmt.signed or self.affine):
            hint = "; see affine=True" if isinstance(fmt, IntegerFormat) else ""
            raise ValueError(f"{fmt.name} has no negative values, x goes down to {low}{hint}")
        if not self.affine:
            return self.scale(self._least(low, high)), 0
        assert isinstance(fmt, IntegerFormat)
        width = Fraction(high) - Fraction(low)
        steps = fmt.max_integer - fmt.min_integer
        scale = self.scale((width.numerator, width.denominator * steps))
        zero = fmt.min_integer - round(Fraction(low) / Fraction(scale))  # ties to even
        return scale, min(max(zero, fmt.min_integer), fmt.max_integer)

    def _least(self, low: float, high: float) -> tuple[int, int]:
        """The least scale with which the format holds both ends, as a ratio.

        Integers are taken for symmetric, whether they are or not.
        """
        top, unit = self._top
        if isinstance(self.format, FixedFormat) and self.format.signed:
            least = max(Fraction(high) / top, Fraction(low) / self.format.min_integer) * unit
            return least.numerator, least.denominator
        numerator, denominator = max(high, -low).as_integer_ratio()
        return numerator * unit, denominator * top

    @cached_property
    def _top(self) -> tuple[int, int]:
        """The greatest value, as a ratio."""
        if isinstance(self.format, FloatFormat):
            return self.format.max.as_integer_ratio()
        return self.format.max_integer, 1 << self.format.fraction_bits

    def scale(self, least: tuple[int, int]) -> float:
        """The ratio, rounded once, or the next power of two; 1 for a ratio of zero."""
        if not least[0]:
            return 1.0
        limits = np.finfo(self.dtype)
        if self.power_of_two:
            exponent = ceil_log2(*least)
            if exponent < limits.maxexp:
                return math.ldexp(1.0, max(exponent, int(limits.minexp)))
        elif (scale := rounded(*least, self.dtype)) <= limits.max:
            return max(scale, float(limits.tiny))
        raise ValueError(
            f"a scale of 2**{ceil_log2(*least)} is beyond the range of {self.dtype}"
            + ("; ask for dtype='float64'" if self.dtype == np.float32 else "")
        )

    def result(self, ranges: list[tuple[float, float]], per_channel: bool) -> Calibration:
        """The calibration of these ranges."""
        found = [self.fit(low, high) for low, high in ranges]
        scales = np.array([scale for scale, _ in found], self.dtype)
        zeros: ArrayLike | None = None
        if isinstance(self.format, IntegerFormat):
            zeros = np.array([zero for _, zero in found], self.format.code_dtype)
            zeros = zeros if per_channel else int(zeros[0])
        scale = scales if per_channel else float(scales[0])
        return Calibration(scale, zeros, self.format)  # type: ignore[arg-type]


def rounded(numerator: int, denominator: int, dtype: np.dtype[Any]) -> float:
    """The number of float32 or float64 nearest to a ratio, ties to even; infinity beyond all."""
    try:
        near = numerator / denominator  # which Python rounds once
        if dtype == np.float64:
            return near
        # Rounded to odd, so that what rounds it again rounds the ratio.
        n, d = near.as_integer_ratio()
        (bits,) = struct.unpack("q", struct.pack("d", near))
        if (above := numerator * d - n * denominator) and not bits & 1:
            near = math.nextafter(near, math.inf if above > 0 else -math.inf)
        (found,) = struct.unpack("f", struct.pack("f", near))
    except OverflowError:
        return math.inf
    return float(found)


def ceil_log2(numerator: int, denominator: int) -> int:
    """The least k for which ``2**k`` is not less than a ratio."""
    k = numerator.bit_length() - denominator.bit_length()  # or one more
    if k >= 0:
        return k + (numerator > denominator << k)
    return k + (numerator << -k > denominator)
