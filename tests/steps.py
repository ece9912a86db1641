"""Expected codes of whole arrays, by search among the reference's exact thresholds.

The bits of the floats of one sign are ordered as the floats are, so for each sign the codes are a
step function of the bits.  Nothing here uses the kernels, nor ml_dtypes' conversions.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from fmtlib import reference

# Width, and bits of the infinity, of each float type.
WIDTHS = {"float16": 16, "bfloat16": 16, "float32": 32, "float64": 64}
INFINITIES = {
    "float16": 0x7C00,
    "bfloat16": 0x7F80,
    "float32": 0x7F80_0000,
    "float64": 0x7FF0_0000_0000_0000,
}


def as_float64(bits, dtype):
    """The values of bit patterns, exactly."""
    if dtype == "bfloat16":
        bits, dtype = bits.astype(np.uint32) << np.uint32(16), "float32"
    return bits.view(dtype).astype(np.float64)


def first_at_or_above(points, dtype):
    """Bits of the least float of a type that is not below each of the (non-negative) points."""
    if dtype == "float64":
        return points.view(np.uint64).copy()
    if dtype == "float32":
        with np.errstate(over="ignore"):
            near = points.astype(np.float32)
        bits = near.view(np.uint32)
        return bits + (near < points)
    every = np.arange(INFINITIES[dtype] + 1, dtype=np.uint16)
    return np.searchsorted(as_float64(every, dtype), points).astype(np.uint16)


@dataclass(frozen=True)
class Steps:
    """The codes of the floats of one sign: `codes[i]` from the bits `starts[i]` on, `nan` at last.

    `starts` is sorted and begins with 0; a step that holds no float of the type is left out.
    """

    starts: np.ndarray
    codes: np.ndarray

    def of_bits(self, magnitudes):
        """Expected codes of any bit patterns (without their sign)."""
        return self.codes[np.searchsorted(self.starts, magnitudes, side="right") - 1]

    def of_range(self, start, stop):
        """Expected codes of the bit patterns from `start` up to, not including, `stop`."""
        inner = self.starts[(self.starts > start) & (self.starts < stop)].astype(np.int64)
        first = np.searchsorted(self.starts, start, side="right") - 1
        lengths = np.diff(np.concatenate([[start], inner, [stop]]))
        return np.repeat(self.codes[first : first + len(lengths)], lengths)


@lru_cache(maxsize=4)
def thresholds(fmt, rounding, overflow, negative):
    """The reference's thresholds as arrays: magnitude, whether exclusive, code."""
    found = reference.thresholds(fmt, rounding, overflow, negative=negative)
    points = np.array([float(step.magnitude) for step in found])
    # half a quantum of any format is a float64
    assert all(
        math.isinf(p) or p.as_integer_ratio() == step.magnitude.as_integer_ratio()
        for p, step in zip(points.tolist(), found, strict=True)
    )
    exclusive = np.array([not step.inclusive for step in found])
    return points, exclusive, np.array([step.code for step in found])


@lru_cache(maxsize=32)
def steps(fmt, dtype, rounding="nearest_even", overflow="saturate", negative=False):
    """The codes of a format as a step function of the bits of a float type."""
    points, exclusive, codes = thresholds(fmt, rounding, overflow, negative)
    starts = first_at_or_above(points, dtype)
    starts += exclusive & (as_float64(starts, dtype) == points)
    nan = reference.encode(-math.nan if negative else math.nan, fmt, rounding, overflow)
    starts = np.append(starts, starts.dtype.type(INFINITIES[dtype] + 1))
    last_of_equals = np.append(starts[1:] != starts[:-1], True)
    codes = np.append(codes, nan).astype(fmt.code_dtype)
    return Steps(starts[last_of_equals], codes[last_of_equals])


def expected_codes(x, fmt, rounding="nearest_even", overflow="saturate"):
    """Codes of an array of any of the float types."""
    dtype = x.dtype.name
    bits = np.ascontiguousarray(x).view(f"u{x.itemsize}")
    sign = bits.dtype.type(1 << (WIDTHS[dtype] - 1))
    mode = (dtype, rounding, overflow)
    positive, negative = (steps(fmt, *mode, negative=n) for n in (False, True))
    magnitudes = bits & ~sign
    return np.where(bits & sign, negative.of_bits(magnitudes), positive.of_bits(magnitudes))


def codes_of_every_pattern(fmt, dtype, rounding="nearest_even", overflow="saturate"):
    """Codes of all 2**16 patterns of a 16-bit float type, in the order of the patterns."""
    both = [steps(fmt, dtype, rounding, overflow, negative=n) for n in (False, True)]
    return np.concatenate([half.of_range(0, 1 << 15) for half in both])
