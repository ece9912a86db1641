"""What the generated tests run over: the table by kind, and inputs that matter to a format."""

from functools import cache
from itertools import pairwise
from pathlib import Path

import ml_dtypes
import numpy as np

from fmtlib import reference
from fmtlib._core import kernels
from fmtlib.formats import (
    FORMATS,
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    IntegerFormat,
    get_format,
)

FLOAT_NAMES = [name for name, fmt in FORMATS.items() if isinstance(fmt, FloatFormat)]
INTEGER_NAMES = [
    name for name, fmt in FORMATS.items() if isinstance(fmt, (FixedFormat, IntegerFormat))
]
BLOCK_NAMES = [name for name, fmt in FORMATS.items() if isinstance(fmt, BlockFormat)]
# The widest elements reach down to the least float32 subnormal.
WIDEST_BLOCKS = "bfp_m23_e8_g16"
ELEMENTWISE_NAMES = FLOAT_NAMES + INTEGER_NAMES

DETERMINISTIC = [rounding for rounding in ROUNDINGS if rounding not in STOCHASTIC]
GOLDEN = Path(__file__).parent / "data" / "golden"
DTYPES = {
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
    "float32": np.dtype(np.float32),
    "float64": np.dtype(np.float64),
}


def each_target():
    """Run the body once with the kernels of each instruction set that the machine has."""
    try:
        for name in kernels.available_targets():
            kernels.force_target(name)
            yield name
    finally:
        kernels.force_target(None)


def overflows(name):
    """The overflow modes that give codes: all but "raise"."""
    return [mode for mode in FORMATS[name].overflows if mode != "raise"]


def all_16_bit(dtype):
    """Every value of float16 or bfloat16."""
    return np.arange(1 << 16, dtype=np.uint16).view(DTYPES[dtype])


def _sample(count):
    """All of a range of up to 2**16; of a longer one the ends, powers of two and a hundred others,
    each with its neighbours.
    """
    if count <= 1 << 16:
        return range(count)
    powers = {1 << i for i in range(count.bit_length())}
    picks = {*range(64), *powers, *range(0, count, count // 101), count - 3}
    return sorted({k + i for k in picks for i in (-1, 0, 1, 2) if 0 <= k + i < count})


@cache
def edges(name, dtype):
    """Inputs around every decision of a format, in float32 or float64, both signs.

    Every value and every midpoint of neighbours, also beyond the greatest value, each with its two
    neighbours in `dtype`; zero, infinity, NaN, the least and greatest numbers of `dtype`.  Formats
    of more than 16 bits are sampled.
    """
    fmt = get_format(name)
    if isinstance(fmt, FloatFormat):
        codes = _sample(fmt.max_code + 1)
        values = [reference.decode(code, fmt) for code in codes]
        gap = values[-1] - values[-2]
        values += [values[-1] + gap, values[-1] + 2 * gap]
    else:
        steps = _sample(fmt.max_integer + 3)
        values = [k * reference.power_of_two(fmt.quantum_exponent) for k in steps]
    middles = [(a + b) / 2 for a, b in pairwise(values)]
    info = np.finfo(DTYPES[dtype])
    with np.errstate(over="ignore"):
        points = np.array([float(v) for v in values + middles]).astype(dtype)
    tiny, huge = info.smallest_subnormal, info.max
    extra = np.array([0, tiny, 3 * tiny, info.tiny, huge, np.inf, np.nan], dtype)
    zero, top = np.zeros((), dtype), np.array(np.inf, dtype)
    points = np.concatenate([points, np.nextafter(points, zero), np.nextafter(points, top), extra])
    both = np.unique(np.concatenate([points, -points]).view(f"u{info.bits // 8}"))
    both = both.view(dtype)
    both.flags.writeable = False
    return both


def reference_codes(x, name, rounding="nearest_even", overflow="saturate", **keywords):
    fmt = FORMATS[name]
    codes = [reference.encode(v, fmt, rounding, overflow, **keywords) for v in x.tolist()]
    return np.array(codes, np.int64).astype(fmt.code_dtype)


@cache
def _nan_codes(fmt):
    values = [float(reference.decode(code, fmt)) for code in range(1 << fmt.bits)]
    return np.flatnonzero(np.isnan(values))


def one_nan(codes, fmt):
    """Codes with every NaN of a float format as its one NaN code: they compare as a class."""
    if fmt.nan_code is None:
        return codes
    return np.where(np.isin(codes, _nan_codes(fmt)), codes.dtype.type(fmt.nan_code), codes)


@cache
def golden(name):
    """The arrays of one file of data/golden."""
    with np.load(GOLDEN / f"{name}.npz") as data:
        return dict(data)
