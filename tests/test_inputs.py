"""Every type of input rounds once: integers and longdouble beside the floats of test_encode.py."""

from fractions import Fraction

import numpy as np
import pytest
from cases import DETERMINISTIC, ELEMENTWISE_NAMES, INTEGER_NAMES, each_target, overflows
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference, testing
from fmtlib.formats import FORMATS, ROUNDINGS, STOCHASTIC, FloatFormat

INTEGERS = ["int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64"]
HAS_LONGDOUBLE = np.finfo(np.longdouble).nmant > 52


def traps(dtype):
    """Integers at and one beside what few-bit formats round between, and the ends of the type."""
    info = np.iinfo(dtype)
    points = {0, 1, 2, 3, 5, 7, 100, 127, 128, 129, 255, 256, 448, 464, 465, 480, 2**24 + 1}
    for exponent in range(2, 65):
        for numerator in range(17, 33, 2):  # halves of 4-bit significands
            points.add((numerator << exponent) >> 5)
        for bits in (8, 9, 11, 12):  # halves of bfloat16's and float16's
            points.add((2**bits + 1 << exponent) >> bits)
            points.add((2**bits - 1 << exponent) >> bits)
    near = {p + d for p in points for d in (-1, 0, 1)} | {info.min, info.max}
    both = near | {-p for p in near}
    return np.array(sorted(p for p in both if info.min <= p <= info.max), dtype)


def expected_codes(x, fmt, rounding="nearest_even", overflow="saturate", **keywords):
    codes = [reference.encode(v, fmt, rounding, overflow, **keywords) for v in x]
    return np.array(codes, np.int64).astype(fmt.code_dtype)


@pytest.mark.parametrize("dtype", INTEGERS)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_integers(name, dtype):
    x, fmt = traps(dtype), FORMATS[name]
    for rounding in ("nearest_even", "to_odd"):
        for overflow in overflows(name)[:2]:
            expected = expected_codes(x.tolist(), fmt, rounding, overflow)
            for target in each_target():
                codes = fl.encode(x, name, rounding=rounding, overflow=overflow)
                assert_array_equal(codes, expected, err_msg=f"{target} {rounding} {overflow}")


@pytest.mark.parametrize("name", [n for n in INTEGER_NAMES if "wrap" in FORMATS[n].overflows])
def test_wrap_from_floats(target, name):
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    x = rng.standard_normal(3000) * 2.0 ** rng.integers(-20, 90, 3000)
    x = np.concatenate([x, [2.0**k for k in range(-5, 100)], [-(2.0**k) for k in range(100)]])
    for rounding in ("nearest_even", "toward_zero", "up"):
        for dtype in (np.float64, np.float32):
            given = x.astype(dtype)
            expected = expected_codes(given.tolist(), fmt, rounding, "wrap")
            codes = fl.encode(given, name, rounding=rounding, overflow="wrap")
            assert_array_equal(codes, expected)
    for bad in (np.inf, -np.inf, np.nan):  # no residue
        with np.errstate(invalid="ignore"):
            assert fl.encode(bad, name, overflow="wrap") == 0
        with np.errstate(invalid="raise"), pytest.raises(FloatingPointError):
            fl.encode(bad, name, overflow="wrap")


records = testing.formats(("float", "fixed", "integer"))
int64s = st.integers(-(2**63), 2**63 - 1) | st.builds(
    lambda lead, exponent, step: max(-(2**63), min((lead << exponent) + step, 2**63 - 1)),
    st.integers(-4095, 4095), st.integers(0, 52), st.integers(-2, 2),
)  # fmt: skip
scales = st.floats(1e-30, 1e30) | st.floats(5e-324, 1.7e308)


@given(records, int64s, st.sampled_from(ROUNDINGS), st.integers(0, 2**32 - 1), st.integers(1, 32))
def test_int64(fmt, x, rounding, word, bits):
    if rounding not in STOCHASTIC:
        for overflow in (mode for mode in fmt.overflows if mode != "raise"):
            found = int(fl.encode(np.int64(x), fmt, rounding=rounding, overflow=overflow))
            assert found == reference.encode(x, fmt, rounding, overflow)
        return
    found = fl.ufunc("encode", fmt, rounding=rounding, random_bits=bits)(
        np.int64(x), np.uint32(word)
    )
    assert found == reference.encode(x, fmt, rounding, word=word, random_bits=bits)


@given(records, int64s, scales, st.sampled_from(DETERMINISTIC))
def test_scaled_int64(fmt, x, scale, rounding):
    found = int(fl.encode(np.int64(x), fmt, rounding=rounding, scale=scale))
    assert found == reference.encode(x, fmt, rounding, scale=scale)


@given(st.integers(0, 2**64 - 1), scales)
def test_scaled_uint64_meets_a_zero_point(x, scale):
    found = int(fl.encode(np.uint64(x), "uint8", scale=scale, zero_point=7))
    assert found == reference.encode(x, fl.get_format("uint8"), scale=scale, zero_point=7)


def test_quotients_that_are_subnormal_float64():
    """x / scale near the halves of the least quanta that a run-time format can have."""
    fmt = FloatFormat(2, 1, bias=1021)
    half = 2.0**fmt.quantum_exponent / 2
    for scale in (1 / half, np.nextafter(1 / half, 0), np.nextafter(1 / half, np.inf)):
        for x in (1, 2, 3, 5):
            for rounding in DETERMINISTIC:
                found = int(fl.encode(np.int32(x), fmt, rounding=rounding, scale=scale))
                assert found == reference.encode(x, fmt, rounding, scale=scale)


@pytest.mark.skipif(not HAS_LONGDOUBLE, reason="long double is float64 here")
@given(
    records,
    st.floats(allow_nan=False) | st.floats(-1e4, 1e4),
    st.integers(-4, 4),
    st.sampled_from(DETERMINISTIC),
    st.one_of(st.none(), scales),
)
def test_longdouble(fmt, x, steps, rounding, scale):
    value = np.longdouble(x)
    for _ in range(abs(steps)):
        value = np.nextafter(value, np.longdouble(np.inf if steps > 0 else -np.inf))
    found = int(fl.encode(value, fmt, rounding=rounding, scale=scale))
    assert found == reference.encode(value, fmt, rounding, scale=1 if scale is None else scale)


@pytest.mark.skipif(not HAS_LONGDOUBLE, reason="long double is float64 here")
def test_longdouble_beyond_float64():
    huge, tiny = np.longdouble("1e4900"), np.longdouble("1e-4900")
    assert fl.encode(huge, "e5m2") == 0x7B
    assert fl.encode(huge, "e5m2", overflow="nonsaturating") == 0x7C
    assert fl.encode(huge, "e5m2", overflow="nonsaturating", rounding="toward_zero") == 0x7B
    assert fl.encode(tiny, "e5m2") == 0
    assert fl.encode(tiny, "e5m2", rounding="up") == 1
    assert fl.encode(-tiny, "e5m2", rounding="down") == 0x81
    assert fl.encode(-tiny, "e5m2") == 0x80
    assert fl.encode(huge, "e5m2", scale=1e300) == 0x7B
    x = np.array([huge, -huge, tiny, 1.0, np.nan, -np.inf, 0.1], np.longdouble)
    values = fl.quantize(x, "e5m2")
    assert values.dtype == np.longdouble
    assert_array_equal(values, np.array([57344, -57344, 0, 1, np.nan, -57344, 0.09375]))
    assert_array_equal(fl.decode(fl.encode(x, "e5m2"), "e5m2", dtype=np.longdouble), values)
    third = np.longdouble(1) / 3
    found = fl.decode(np.int8([1, 3]), "int8", scale=float(third), dtype=np.longdouble)
    assert_array_equal(found, np.longdouble(float(third)) * np.longdouble([1, 3]))
    assert fl.quantize(np.longdouble([1.0, 0.3]), fl.bfp(4)).dtype == np.longdouble


@pytest.mark.parametrize("dtype", INTEGERS)
def test_integers_quantize_to_integers(dtype):
    x = traps(dtype)
    info = np.iinfo(dtype)
    for name in ("int8", "uint8", "int4", "uint4", "int16", "int8_full", "fixed_s15_0"):
        fmt = fl.get_format(name)
        if not (info.min <= fmt.min_integer and fmt.max_integer <= info.max):
            with pytest.raises(TypeError, match=f"{dtype} cannot hold"):
                fl.quantize(x, name)
            with pytest.raises(TypeError, match="takes"):
                fl.ufunc("quantize", name)(x)
            continue
        values = fl.quantize(x, name)
        assert values.dtype == x.dtype
        assert_array_equal(values, np.clip(x.astype(object), fmt.min_integer, fmt.max_integer))
        if "wrap" in fmt.overflows:
            wrapped = fl.quantize(x, name, overflow="wrap")
            assert_array_equal(wrapped, expected_codes(x.tolist(), fmt, overflow="wrap"))
    for name in ("e4m3", "bfloat16", "fixed_s7_8"):
        with pytest.raises(TypeError, match=f"{dtype} cannot hold"):
            fl.quantize(x, name)
    with pytest.raises(TypeError, match="multiples of a scale"):
        fl.quantize(x, "uint8" if dtype[0] == "u" else "int8", scale=0.5)


def test_integers_into_blocks():
    x = np.array([[2**62 + 1, 3, -(2**53) - 1, 0], [7, -5, 1, 2]])
    wide = fl.encode(x, fl.bfp(4, block_size=4))
    assert_array_equal(fl.decode(wide), [[2.0**62, 0, 0, 0], [7, -5, 1, 2]])
    up = fl.encode(np.uint64([2**62 + 1]), fl.bfp(1, carry="bump"), rounding="up")
    assert fl.decode(up) == 2.0**63


# --- overflow="raise" -----------------------------------------------------------------------


@given(
    records,
    st.floats() | st.floats(-1e5, 1e5),
    st.sampled_from(DETERMINISTIC),
    st.sampled_from([np.float64, np.float32, np.longdouble]),
)
def test_raise(fmt, x, rounding, dtype):
    with np.errstate(over="ignore", under="ignore"):
        given = np.array([0.0, x], dtype)
    try:
        expected = reference.encode(given[1], fmt, rounding, "raise")
    except (OverflowError, ValueError) as error:
        out = np.full(2, 9, fmt.code_dtype)
        with pytest.raises(type(error)):
            fl.encode(given, fmt, rounding=rounding, overflow="raise", out=out)
        assert_array_equal(out, 9)
        return
    assert fl.encode(given, fmt, rounding=rounding, overflow="raise")[1] == expected


def test_raise_in_every_way():
    x = np.array([1.0, 2.0, 1e9], np.float32)
    for call in (
        lambda: fl.encode(x, "e4m3", overflow="raise"),
        lambda: fl.quantize(x, "e4m3", overflow="raise"),
        lambda: fl.encode(x, "e4m3", overflow="raise", workers=2),
        lambda: fl.encode(x, "int8", overflow="raise", scale=0.5, zero_point=3),
        lambda: fl.quantize(x, "int8", overflow="raise", scale=0.5),
        lambda: fl.encode(x, "e4m3", overflow="raise", rounding="stochastic", seed=1),
        lambda: fl.encode(np.int64([1, 500]), "e4m3", overflow="raise"),
        lambda: fl.encode(np.int64([1, -1]), "uint8", overflow="raise"),
        lambda: fl.encode([-np.inf], "e4m3", overflow="raise"),
        lambda: fl.encode([-1.0], "binary8p1uf", overflow="raise"),
        lambda: fl.encode([-1.0], "e8m0", overflow="raise"),
    ):
        with pytest.raises(OverflowError, match="beyond the range of"):
            call()
    with pytest.raises(ValueError, match="NaN"):
        fl.encode([np.nan, 1e9], "float4_e2m1fn", overflow="raise")
    assert fl.encode(np.inf, "e5m2", overflow="raise") == 0x7C  # it has one
    assert fl.encode(np.nan, "e5m2", overflow="raise") == 0x7E
    out = np.zeros(3, np.uint8)
    found = fl.encode(x, "e4m3", overflow="raise", out=out, where=[True, False, False])
    assert_array_equal(found, [0x38, 0, 0])
    assert found is out
    with pytest.raises(ValueError, match="not for ufuncs"):
        fl.ufunc("encode", "e4m3", overflow="raise")


def test_reference_takes_wide_numbers():
    assert reference.as_value(np.int64(2**62 + 1)) == 2**62 + 1
    assert reference.as_value(np.float32(0.1)) == Fraction(float(np.float32(0.1)))
    if HAS_LONGDOUBLE:
        wide = np.longdouble(1) + np.longdouble(2) ** -63
        assert reference.as_value(wide) == 1 + Fraction(1, 2**63)


def test_infinity_overflows_also_where_its_bits_are_in_range():
    fmt = FloatFormat(4, 3, bias=-127, infinities=False, nan="none")
    for x in (np.float32(np.inf), np.float64(-np.inf)):
        with pytest.raises(OverflowError):
            fl.encode(x, fmt, overflow="raise")
