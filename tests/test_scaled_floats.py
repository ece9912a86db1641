"""The shorter ways of scaled floats and of scales per channel, against the longer ones."""

from fractions import Fraction

import numpy as np
import pytest
from cases import FLOAT_NAMES, each_target, overflows
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import FORMATS, FloatFormat

SCALES = (1.0, 0.3, 1 / 3, 2.0**-59, 0.7 * 2.0**-60, 2.0**-61, 1.1 * 2.0**99, 2.0**101, 2.0**-20)
# their least numbers are just above and below what the short way serves
EXTREME = [FloatFormat(7, 2, bias) for bias in (63, 64, 65, 66, 90)]


def near_boundaries(fmt, scale):
    """Float32 numbers on and beside the scaled boundaries of codes, tiny and great ones."""
    codes = np.arange(min(1 << fmt.bits, 1 << 12)).astype(fmt.code_dtype)
    grid = fl.decode(codes, fmt, dtype="float64")
    grid = np.unique(grid[np.isfinite(grid)])
    with np.errstate(over="ignore"):
        x = (np.concatenate([grid, (grid[1:] + grid[:-1]) / 2]) * scale).astype(np.float32)
    few = np.float32([0, 1e-45, 1e-41, 2**-126, 1e-37, 3e38, np.inf, np.nan])
    steps = [np.nextafter(x, np.float32(to)) for to in (-np.inf, np.inf)]
    x = np.concatenate([x, *steps, few])
    return np.concatenate([x, -x])


@pytest.mark.parametrize("fmt", [*FLOAT_NAMES, *EXTREME], ids=str)
def test_float32_sources_as_float64(fmt):
    """float64 is divided and rounded to odd, float32 by its own arithmetic where that is sure."""
    fmt = fl.get_format(fmt)
    for scale in SCALES:
        x = near_boundaries(fmt, scale)
        for overflow in overflows(fmt.name) if fmt.name in FORMATS else ("saturate",):
            with np.errstate(invalid="ignore"):
                expected = fl.encode(x.astype(np.float64), fmt, scale=scale, overflow=overflow)
                each = np.full(x.size, scale)
                for target in each_target():
                    where = f"{target}, {scale}, {overflow}"
                    got = fl.encode(x, fmt, scale=scale, overflow=overflow)
                    assert_array_equal(got, expected, err_msg=where)
                    got = fl.encode(x, fmt, scale=each, axis=0, overflow=overflow)
                    assert_array_equal(got, expected, err_msg=where)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "float16", "binary8p1uf"])
def test_codes_against_the_reference(name):
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    for scale in (0.3, 0.7 * 2.0**-60):
        x = rng.choice(near_boundaries(fmt, scale), 200)
        x = x[np.isfinite(x)]
        codes = fl.encode(x, name, scale=scale)
        expected = [reference.encode(v, fmt, scale=Fraction(scale)) for v in x.tolist()]
        assert_array_equal(codes, np.array(expected, fmt.code_dtype))


@pytest.mark.parametrize("name", FLOAT_NAMES)
def test_values_round_once(name):
    """The product in float64 has all bits of an 8-bit value's, else the reference has them."""
    fmt = FORMATS[name]
    codes = np.arange(1 << min(fmt.bits, 12)).astype(fmt.code_dtype)
    values = fl.decode(codes, name, dtype="float64")
    real = np.isfinite(values) & (values != 0)
    for scale in (np.float32(0.3), 0.3, 2.0**-130, 1.1 * 2.0**-126, 3e37):
        step = 1 if fmt.bits <= 8 else 37
        factor = Fraction(float(scale))
        exact = [
            float(reference.round_to_float32(reference.decode(int(c), fmt) * factor))
            for c in codes[real][::step]
        ]
        for target in each_target():
            got = fl.decode(codes, name, scale=scale)
            assert got.dtype == np.float32
            assert_array_equal(got[real][::step], np.float32(exact), err_msg=f"{target}, {scale}")
            assert_array_equal(np.isnan(got), np.isnan(values))
            assert_array_equal(got[values == 0], values[values == 0])


SHAPES = [
    ((3, 700), 0), ((3, 700), 1), ((700, 3), 1), ((2, 5, 70), 1), ((5, 2, 9), 0), ((40, 1, 30), 1),
    ((600,), 0), ((1100,), 0), ((2, 1030), 1), ((70, 2, 8), 1),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
@pytest.mark.parametrize("fmt", ["float8_e4m3fn", "int8"])
def test_channels(fmt, shape, axis):
    """As each channel by itself."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal(shape, dtype=np.float32)
    scales = rng.uniform(0.01, 0.1, shape[axis])
    zeros = rng.integers(-9, 9, shape[axis]) if fmt == "int8" else None

    def channel(i):
        zero = None if zeros is None else zeros[i]
        return {"scale": scales[i], "zero_point": zero}

    everything = {"scale": scales, "zero_point": zeros, "axis": axis}
    for workers in (None, 3):
        codes = fl.encode(x, fmt, **everything, workers=workers)
        values = fl.decode(codes, fmt, **everything, workers=workers)
        for i, (part, part_codes, part_values) in enumerate(
            zip(*(np.moveaxis(a, axis, 0) for a in (x, codes, values)), strict=True)
        ):
            assert_array_equal(part_codes, fl.encode(part, fmt, **channel(i)))
            assert_array_equal(part_values, fl.decode(part_codes, fmt, **channel(i)))
        assert_array_equal(fl.quantize(x, fmt, **everything), values)


def test_the_invalid_flag_is_told():
    x = np.float32([[1, np.nan], [2, 3]])
    scales = [1.0, 2.0]
    with pytest.warns(RuntimeWarning, match="invalid value"):
        codes = fl.encode(x, "int8", scale=scales, axis=0)
    assert_array_equal(codes, [[1, 0], [1, 2]])
    with np.errstate(invalid="raise"), pytest.raises(FloatingPointError, match="invalid value"):
        fl.encode(x, "e2m1", rounding="stochastic", seed=1)
    with np.errstate(invalid="ignore"):
        fl.encode(x, "int8", scale=scales, axis=0)


def test_in_place_and_overlapping():
    x = np.random.default_rng(0).standard_normal((4, 300), dtype=np.float32)
    expected = fl.quantize(x, "e4m3", rounding="stochastic", seed=5)
    y = x.copy()
    fl.quantize(y, "e4m3", rounding="stochastic", seed=5, out=y)
    assert_array_equal(y, expected)
    room = np.zeros(x.size + 7, np.float32)
    shifted = room[7:].reshape(x.shape)
    shifted[...] = x
    fl.quantize(shifted, "e4m3", rounding="stochastic", seed=5, out=room[: x.size].reshape(x.shape))
    assert_array_equal(room[: x.size].reshape(x.shape), expected)


@pytest.mark.parametrize("overflow", ["saturate", "nonsaturating"])
@pytest.mark.parametrize("scale", [0.00123, 2.0**-9, 1e-30, 3e20])
@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float6_e3m2fn"]
)
def test_large_arrays_are_quantised_as_by_encode_and_decode(name, scale, overflow):
    rng = np.random.default_rng(0)
    x = rng.standard_normal((97, 701)) * 10.0 ** rng.integers(-12, 12, (97, 701))
    x = x.astype(np.float32)
    x[3, :10] = [0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-40, 3e38, 1, 2]
    if name == "float6_e3m2fn":
        x[3, 4] = 1
    for array in (x, x.T, x[::-1], np.asfortranarray(x)):
        codes = fl.encode(array, name, scale=scale, overflow=overflow)
        expected = fl.decode(codes, name, scale=scale, dtype=np.float32)
        found = fl.quantize(array, name, scale=scale, overflow=overflow)
        assert found.dtype == np.float32
        np.testing.assert_array_equal(found.view(np.uint32), expected.view(np.uint32))


def test_large_arrays_tell_of_nan_and_overflow():
    x = np.ones((200, 200), np.float32)
    x[7, 7] = np.nan
    with pytest.warns(RuntimeWarning, match="invalid value"):
        found = fl.quantize(x, "float4_e2m1fn", scale=0.3)
    assert found[7, 7] == 0
    x[7, 7] = 1e9
    with pytest.raises(OverflowError, match="float8_e4m3fn"):
        fl.quantize(x, "float8_e4m3fn", scale=0.3, overflow="raise")
