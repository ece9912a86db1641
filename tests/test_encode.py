"""Elementwise formats, generated from the table: kernels against exact arithmetic."""

import numpy as np
import pytest
from cases import (
    DETERMINISTIC,
    DTYPES,
    ELEMENTWISE_NAMES,
    FLOAT_NAMES,
    all_16_bit,
    each_target,
    edges,
    overflows,
    reference_codes,
)
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from steps import expected_codes, steps

import fmtlib as fl
from fmtlib import reference, testing
from fmtlib.formats import FORMATS, FixedFormat, FloatFormat

MODES = [
    (name, rounding, overflow)
    for name in ELEMENTWISE_NAMES
    for rounding in DETERMINISTIC
    for overflow in overflows(name)
]


def listed(name, overflow):
    """Whether the reference lists the thresholds (of all codes: in reasonable time)."""
    return FORMATS[name].bits <= 16 and overflow != "wrap"


def expected(x, name, rounding, overflow):
    """By search among the reference's thresholds; one by one where there are none."""
    if listed(name, overflow):
        return expected_codes(x, FORMATS[name], rounding, overflow)
    with np.errstate(invalid="ignore"):  # signalling NaN
        return reference_codes(x.astype(np.float64), name, rounding, overflow)


def check(x, name, rounding, overflow, record_property):
    codes = expected(x, name, rounding, overflow)
    for target in each_target():
        record_property("inputs", x.size)
        with np.errstate(invalid="ignore"):  # NaN into formats without NaN
            found = fl.encode(x, name, rounding=rounding, overflow=overflow)
        assert_array_equal(found, codes, err_msg=target)
        assert found.dtype == FORMATS[name].code_dtype


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize(("name", "rounding", "overflow"), MODES)
def test_every_16_bit_input(dtype, name, rounding, overflow, record_property):
    x = all_16_bit(dtype)
    x = x if listed(name, overflow) else x[::37]
    check(x, name, rounding, overflow, record_property)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "rounding", "overflow"), MODES)
def test_every_midpoint(dtype, name, rounding, overflow, record_property):
    x = edges(name, dtype)
    x = x if listed(name, overflow) or x.size < 10_000 else x[::97]
    check(x, name, rounding, overflow, record_property)


@pytest.mark.exhaustive
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("name", [name for name in FLOAT_NAMES if FORMATS[name].bits > 16])
def test_every_threshold_of_wide_formats(name, rounding, dtype, record_property):
    """The first float of each step and the last of the one before."""
    fmt = FORMATS[name]
    for overflow in ("saturate", "nonsaturating"):
        bits = []
        for negative in (False, True):
            starts = steps(fmt, dtype, rounding, overflow, negative).starts
            sign = starts.dtype.type(negative) << (8 * starts.itemsize - 1)
            bits += [starts | sign, (starts - (starts > 0)) | sign]
        x = np.concatenate(bits).view(dtype)
        codes = expected_codes(x, fmt, rounding, overflow)
        for target in each_target():
            found = fl.encode(x, name, rounding=rounding, overflow=overflow)
            assert_array_equal(found, codes, err_msg=target)
            record_property("inputs", x.size)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_the_reference_itself(name, dtype):
    """The kernels against `reference.encode`, no search between: a sample under every mode."""
    rng = np.random.default_rng(0)
    wide = edges(name, "float64" if dtype == "float64" else "float32")
    pool = all_16_bit(dtype) if dtype in ("float16", "bfloat16") else wide
    for rounding in DETERMINISTIC:
        for overflow in overflows(name):
            x = rng.choice(pool, 20)
            with np.errstate(invalid="ignore"):
                found = fl.encode(x, name, rounding=rounding, overflow=overflow)
                codes = reference_codes(x.astype(np.float64), name, rounding, overflow)
            assert_array_equal(found, codes)


def test_the_reference_of_sign_and_magnitude():
    """Values of two's complement without its least; the sign is a bit, of zeros too."""
    fmt, like = FixedFormat(1, 2, encoding="sign_magnitude"), fl.get_format("fixed_s1_2")
    values = [reference.decode(code, fmt) for code in range(16)]
    quarters = [*range(8), *(-k for k in range(8))]
    assert [4 * value for value in values] == quarters
    assert [reference.encode(value, fmt) for value in values] == list(range(16))
    assert (np.signbit(np.float64(values)) == (np.arange(16) >= 8)).all()
    for x in (*np.arange(-40, 41) / 16, -0.0, -np.inf, np.inf):
        for rounding in DETERMINISTIC:
            code = reference.encode(x, fmt, rounding)
            expected = max(reference.quantize(x, like, rounding), -fmt.max)
            assert (reference.decode(code, fmt), code >= 8) == (expected, np.signbit(x))
    steps = reference.thresholds(fmt, "toward_zero", negative=True)
    assert [(step.magnitude, step.code) for step in steps] == [(k / 4, 8 + k) for k in range(8)]
    assert reference.encode(np.nan, fmt) == 0
    with pytest.raises(OverflowError):
        reference.encode(-2, fmt, overflow="raise")
    for call in (reference.encode, reference.quantize):
        with pytest.raises(ValueError, match="'wrap' has no meaning for fixed_sm1_2"):
            call(-2, fmt, overflow="wrap")


@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_decode_is_exact_for_every_code(target, name):
    """Every code of up to 16 bits."""
    fmt = FORMATS[name]
    if isinstance(fmt, FloatFormat):
        codes = np.arange(0, 2**fmt.bits, 1 if fmt.bits <= 16 else 29, fmt.code_dtype)
    else:
        span = range(fmt.min_integer, fmt.max_integer + 1, max(1, 2 ** (fmt.bits - 16)))
        codes = np.array([*span, fmt.max_integer], fmt.code_dtype)
    expected = np.array([float(reference.decode(code, fmt)) for code in codes.tolist()])
    for dtype in DTYPES:
        if not fmt.fits(dtype):
            with pytest.raises(TypeError, match=fmt.smallest_dtype):
                fl.decode(codes, name, dtype=DTYPES[dtype])
            continue
        values = fl.decode(codes, name, dtype=DTYPES[dtype])
        assert values.dtype == DTYPES[dtype]
        assert_array_equal(values.astype(np.float64), expected)
        finite = ~np.isnan(expected)
        assert_array_equal(np.signbit(values)[finite], np.signbit(expected)[finite])


@pytest.mark.parametrize("name", FLOAT_NAMES)
def test_encode_gives_a_decoded_code_back(target, name):
    fmt = FORMATS[name]
    codes = np.arange(2**fmt.bits, dtype=fmt.code_dtype)
    values = fl.decode(codes, name)
    same = ~np.isnan(values)
    assert_array_equal(fl.encode(values, name, overflow="nonsaturating")[same], codes[same])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_quantize_is_decode_of_encode(target, name, dtype):
    fmt = FORMATS[name]
    x = all_16_bit(dtype) if dtype in ("float16", "bfloat16") else edges(name, dtype)
    x = x[:: 1 + x.size // 70_000]
    if not fmt.fits(dtype):
        with pytest.raises(TypeError, match=f"{dtype} cannot hold.*{fmt.smallest_dtype}"):
            fl.quantize(x, name)
        return
    for overflow in overflows(name):
        for rounding in DETERMINISTIC:
            mode = {"rounding": rounding, "overflow": overflow}
            with np.errstate(invalid="ignore"):
                expected = fl.decode(fl.encode(x, name, **mode), name, dtype=DTYPES[dtype])
                values = fl.quantize(x, name, **mode)
                again = fl.quantize(values, name, **mode)
            assert values.dtype == DTYPES[dtype]
            unsigned = f"u{values.itemsize}"
            assert_array_equal(values.view(unsigned), expected.view(unsigned))
            assert_array_equal(again.view(unsigned), expected.view(unsigned))


@given(st.data(), testing.float_formats(named=False), st.sampled_from(DETERMINISTIC))
def test_run_time_formats(data, fmt, rounding):
    overflow = data.draw(testing.overflows(fmt))
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    x = data.draw(testing.values(fmt, dtype))
    with np.errstate(invalid="ignore"):
        code = int(fl.encode(x, fmt, rounding=rounding, overflow=overflow))
    assert code == reference.encode(x, fmt, rounding, overflow)
    value = reference.decode(code, fmt)
    assert_array_equal(fl.decode(np.array(code, fmt.code_dtype), fmt, dtype=float), float(value))


def test_flags():
    x = np.array([1e300, 1e-300, np.nan, -np.inf, np.inf, 1e-45])
    with np.errstate(all="raise"):
        fl.encode(x, "e4m3")
        fl.encode(x, "e5m2", overflow="nonsaturating")
        fl.encode(x[:2], "float4_e2m1fn")
        fl.encode(x[:2], "int8", scale=1e-300)
    for name in ("float6_e2m3fn", "float4_e2m1fn", "fixed_s7_8", "int8"):
        with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
            fl.encode(x, name)
        with np.errstate(invalid="ignore"):
            assert fl.encode(np.nan, name) == 0
