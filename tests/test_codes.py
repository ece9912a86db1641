"""Codes as numbers: predicates and neighbours against the exact values of all codes."""

import math
from functools import cache

import ml_dtypes
import numpy as np
import pytest
from cases import BLOCK_NAMES, ELEMENTWISE_NAMES, FLOAT_NAMES, overflows
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference, testing
from fmtlib.formats import FORMATS, FloatFormat

NARROW_NAMES = [name for name in ELEMENTWISE_NAMES if FORMATS[name].bits <= 16]
SMALL_NAMES = [name for name in ELEMENTWISE_NAMES if FORMATS[name].bits <= 8]
PREDICATES = [fl.isnan, fl.isinf, fl.isfinite, fl.iszero, fl.issubnormal, fl.signbit, fl.classify]


def all_codes(fmt):
    if isinstance(fmt, FloatFormat):
        return np.arange(2**fmt.bits).astype(fmt.code_dtype)
    return np.arange(fmt.min_integer, fmt.max_integer + 1).astype(fmt.code_dtype)


@cache
def all_values(fmt):
    """The exact value of every code, as float64; NaN and -0 as they are."""
    values = np.array([float(reference.decode(int(code), fmt)) for code in all_codes(fmt)])
    values.flags.writeable = False
    return values


def check_predicates(fmt):
    codes, values = all_codes(fmt), all_values(fmt)
    subnormal = np.zeros(values.shape, bool)
    if isinstance(fmt, FloatFormat) and fmt.subnormals:
        subnormal = (values != 0) & (np.abs(values) < 2.0**fmt.min_exponent)
    assert_array_equal(fl.isnan(codes, fmt), np.isnan(values))
    assert_array_equal(fl.isinf(codes, fmt), np.isinf(values))
    assert_array_equal(fl.isfinite(codes, fmt), np.isfinite(values))
    assert_array_equal(fl.iszero(codes, fmt), values == 0)
    assert_array_equal(fl.issubnormal(codes, fmt), subnormal)
    # NaN has a sign as far as decode gives it one
    assert_array_equal(fl.signbit(codes, fmt), np.signbit(fl.decode(codes, fmt)))
    number = ~np.isnan(values)
    assert_array_equal(fl.signbit(codes, fmt)[number], np.signbit(values)[number])
    classes = np.full(values.shape, "normal", "<U9")
    classes[values == 0] = "zero"
    classes[subnormal] = "subnormal"
    classes[np.isinf(values)] = "infinity"
    classes[np.isnan(values)] = "nan"
    assert_array_equal(fl.classify(codes, fmt), classes)


def neighbours(fmt):
    """The distinct values in order, and the place of each code's value in them (-1 for NaN)."""
    values = all_values(fmt)
    numbers = np.unique(values[~np.isnan(values)])
    places = np.searchsorted(numbers, values)
    return numbers, np.where(np.isnan(values), -1, places)


def check_nextafter(fmt, starts, goals):
    codes, values = all_codes(fmt), all_values(fmt)
    numbers, places = neighbours(fmt)
    code_of = {
        (v, math.copysign(1, v)): int(c) for c, v in zip(codes, values, strict=True) if v == v
    }
    zero = codes[values == 0][:1]
    found = fl.nextafter(codes[starts], codes[goals], fmt)
    assert found.dtype == fmt.code_dtype
    for start, goal, code in zip(starts.tolist(), goals.tolist(), found.tolist(), strict=True):
        if places[start] < 0 or places[goal] < 0:
            expected = codes[start] if places[start] < 0 else codes[goal]
        elif places[start] == places[goal]:
            expected = codes[goal]
        else:
            way = 1 if places[goal] > places[start] else -1
            value = float(numbers[places[start] + way])
            sign = math.copysign(1, values[start] if value == 0 else value)
            expected = code_of.get((value, sign), zero[0] if value == 0 else None)
        assert code == expected, (start, goal)


def check_spacing(fmt):
    codes, values = all_codes(fmt), all_values(fmt)
    numbers, places = neighbours(fmt)
    found = fl.spacing(codes, fmt)
    assert found.dtype == ("float32" if fmt.fits("float32") else "float64")
    for value, place, gap in zip(values.tolist(), places, found.tolist(), strict=True):
        if not math.isfinite(value):
            assert math.isnan(gap)
            continue
        way = -1 if value < 0 else 1
        if 0 <= place + way < len(numbers):
            assert gap == numbers[place + way] - value
        else:
            assert math.isnan(gap)


@pytest.mark.parametrize("name", NARROW_NAMES)
def test_predicates_of_every_code(name):
    check_predicates(FORMATS[name])


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_nextafter_of_every_pair(name):
    count = len(all_codes(FORMATS[name]))
    starts, goals = (part.reshape(-1) for part in np.mgrid[:count, :count])
    check_nextafter(FORMATS[name], starts, goals)


@pytest.mark.parametrize("name", [name for name in NARROW_NAMES if name not in SMALL_NAMES])
def test_nextafter_of_every_code(name):
    starts = np.arange(len(all_codes(FORMATS[name])))
    rng = np.random.default_rng(NARROW_NAMES.index(name))
    check_nextafter(FORMATS[name], starts, rng.permutation(starts))
    check_nextafter(FORMATS[name], starts[::97], np.roll(starts, 1)[::97])


@pytest.mark.parametrize("name", NARROW_NAMES)
def test_spacing_of_every_code(name):
    check_spacing(FORMATS[name])


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_ulp_distance_of_every_pair(name):
    fmt = FORMATS[name]
    codes, (_, places) = all_codes(fmt), neighbours(fmt)
    found = fl.ulp_distance(codes[:, None], codes[None, :], fmt)
    expected = np.abs(places[:, None] - places[None, :]).astype(float)
    expected[(places < 0)[:, None] | (places < 0)[None, :]] = np.nan
    assert_array_equal(found, expected)


def test_wide_formats():
    fmt = fl.get_format("fixed_s15_16")
    codes = np.int32([-(2**31), -1, 0, 1, 2**31 - 1])
    top = np.full(5, 2**31 - 1, np.int32)
    assert_array_equal(
        fl.nextafter(codes, top, fmt), [-(2**31) + 1, 0, 1, 2, 2**31 - 1]
    )  # fmt: skip
    quantum = 2.0**-16
    assert_array_equal(fl.spacing(codes, fmt), [np.nan, -quantum, quantum, quantum, np.nan])
    assert_array_equal(fl.ulp_distance(codes[:1], codes[-1:], fmt), [2.0**32 - 1])
    assert_array_equal(fl.signbit(codes, fmt), codes < 0)


# --- other people's ---------------------------------------------------------------------------


THEIRS = [name for name in FLOAT_NAMES if hasattr(ml_dtypes, name)]


@pytest.mark.parametrize("name", [name for name in THEIRS if FORMATS[name].bits <= 8])
def test_ml_dtypes_nextafter(name):
    fmt = FORMATS[name]
    codes = all_codes(fmt)
    theirs = codes.view(getattr(ml_dtypes, name))
    with np.errstate(invalid="ignore"):
        expected = np.nextafter(theirs[:, None], theirs[None, :]).view(fmt.code_dtype)
    found = fl.nextafter(codes[:, None], codes[None, :], fmt)
    nan = fl.isnan(expected, fmt)
    assert_array_equal(fl.isnan(found, fmt), nan)
    assert_array_equal(found[~nan], expected[~nan])


# Theirs of a format without NaN is 0 where there is no next value.
@pytest.mark.parametrize("name", [name for name in THEIRS if fl.finfo(name).has_nan])
def test_ml_dtypes_spacing(name):
    fmt = FORMATS[name]
    codes = all_codes(fmt)
    with np.errstate(all="ignore"):
        expected = np.spacing(codes.view(getattr(ml_dtypes, name))).astype(np.float64)
    if name == "float8_e8m0fnu":
        expected[0] = 2.0**-127  # they take code 0 for a zero, and give NaN's spacing a value
    expected[codes == fmt.sign_bit] = expected[0]  # theirs of -0 is negative, NumPy's is not
    if not fmt.has_negative_zero:
        expected[codes == fmt.sign_bit] = fl.spacing(codes[codes == fmt.sign_bit], fmt)
    assert_array_equal(fl.spacing(codes, fmt), expected)


def test_numpy_float16():
    codes = np.arange(1 << 16, dtype=np.uint16)
    x = codes.view(np.float16)
    goals = np.random.default_rng(0).permutation(codes)
    with np.errstate(all="ignore"):
        expected = np.nextafter(x, goals.view(np.float16)).view(np.uint16)
        gaps = np.spacing(x)
    found = fl.nextafter(codes, goals, "float16")
    same = np.isnan(x) | np.isnan(goals.view(np.float16)) | (x == goals.view(np.float16))
    assert_array_equal(found[~same], expected[~same])
    # For negative values np.spacing(float16) gives the distance toward zero at powers of two.
    assert_array_equal(fl.spacing(codes, "float16")[: 1 << 15], gaps[: 1 << 15])
    wide = np.spacing(np.float32([1.5, -1.5, 0.0, -0.0]))
    ours = fl.spacing(fl.encode(np.float32([1.5, -1.5, 0.0, -0.0]), "float16"), "float16")
    assert_array_equal(np.sign(ours), np.sign(wide))


# --- formats made at run time ---------------------------------------------------------------


@given(testing.float_formats(named=False, max_bits=10), st.data())
def test_run_time_formats(fmt, data):
    check_predicates(fmt)
    check_spacing(fmt)
    places = st.lists(st.integers(0, 2**fmt.bits - 1), min_size=20, max_size=20)
    starts, goals = (np.array(data.draw(places)) for _ in range(2))
    check_nextafter(fmt, starts, goals)


def test_p3109_style():
    """NaN at the place of -0, infinities above the greatest value."""
    fmt = FloatFormat(4, 3, bias=8, nan="negative_zero", infinities=True)
    codes = np.uint8([0x00, 0x01, 0x7E, 0x7F, 0x80, 0x81, 0xFE, 0xFF])
    assert fl.classify(codes, fmt).tolist() == [
        "zero", "subnormal", "normal", "infinity", "nan", "subnormal", "normal", "infinity"
    ]  # fmt: skip
    up = fl.nextafter(codes, np.uint8(0x7F), fmt)
    assert up.tolist() == [0x01, 0x02, 0x7F, 0x7F, 0x80, 0x00, 0xFD, 0xFE]
    down = fl.nextafter(codes, np.uint8(0xFF), fmt)
    assert down.tolist() == [0x81, 0x00, 0x7D, 0x7E, 0x80, 0x82, 0xFF, 0xFF]


# --- arguments ------------------------------------------------------------------------------


def calls(codes, fmt):
    for predicate in PREDICATES:
        yield lambda p=predicate: p(codes, fmt)
    yield lambda: fl.spacing(codes, fmt)
    yield lambda: fl.nextafter(codes, codes, fmt)
    yield lambda: fl.ulp_distance(codes, codes, fmt)
    yield lambda: fl.convert(codes, fmt, "e4m3")


@pytest.mark.parametrize(
    ("codes", "fmt", "error", "match"),
    [
        (np.uint8([64]), "e2m3", ValueError, "from 0 to 63, got 64"),
        (np.int8([-128]), "int8", ValueError, "from -127 to 127, got -128"),
        (np.int8([1]), "e4m3", TypeError, "uint8, got int8"),
        (np.float32([1]), "e4m3", TypeError, "uint8, got float32"),
        (np.array([True]), "e4m3", TypeError, "uint8, got bool"),
        (np.ma.array([1], dtype=np.uint8), "e4m3", TypeError, "masked"),
        (np.uint8([1]), BLOCK_NAMES[0], TypeError, "without their block"),
        (np.uint8([1]), "e4m9", ValueError, "unknown format"),
    ],
)
def test_wrong_codes(codes, fmt, error, match):
    for call in calls(codes, fmt):
        with pytest.raises(error, match=match):
            call()


def test_block_arrays_are_refused():
    b = fl.encode(np.ones(16, np.float32), fl.bfp(4))
    for call in calls(b, "e4m3"):
        with pytest.raises(TypeError, match="decode it"):
            call()


def test_shapes():
    for predicate in [*PREDICATES, fl.spacing]:
        assert predicate(np.zeros((0, 3), np.uint8), "e4m3").shape == (0, 3)
        assert predicate(np.zeros((4, 6), np.uint8).T[::-2, ::3], "e4m3").shape == (3, 2)
        assert np.ndim(predicate(np.uint8(3), "e4m3")) == 0
        assert not isinstance(predicate(np.uint8(3), "e4m3"), np.ndarray)
    assert fl.nextafter(np.uint8(1), np.uint8([[2], [0]]), "e4m3").tolist() == [[2], [0]]
    swapped = np.array([0x7F80, 0xFF80, 1], ">u2")
    assert fl.isinf(swapped, "bfloat16").tolist() == [True, True, False]
    assert fl.nextafter(swapped, swapped[::-1], "bfloat16").tolist() == [0x7F7F, 0xFF80, 2]


# --- conversion -------------------------------------------------------------------------------


def exact_values(codes, fmt):
    """Exact values of codes; NaN with the code's sign, of which the reference knows nothing."""
    for code, negative in zip(codes.tolist(), fl.signbit(codes, fmt).tolist(), strict=True):
        value = reference.decode(code, fmt)
        yield -value if value != value and negative else value


def reference_table(source, target, rounding, overflow):
    """The target's code for every code of the source, from the exact values."""
    encoded = [
        reference.encode(value, target, rounding, overflow)
        for value in exact_values(all_codes(source), source)
    ]
    return np.array(encoded, np.int64).astype(target.code_dtype)


@pytest.mark.parametrize("to_name", ELEMENTWISE_NAMES)
@pytest.mark.parametrize("from_name", SMALL_NAMES)
def test_convert_every_code(from_name, to_name):
    source, to = FORMATS[from_name], FORMATS[to_name]
    codes = all_codes(source)
    modes = [("nearest_even", "saturate"), ("up", "saturate")]
    modes += [("toward_zero", "nonsaturating" if to_name in FLOAT_NAMES else "saturate")]
    for rounding, overflow in modes:
        expected = reference_table(source, to, rounding, overflow)
        with np.errstate(invalid="ignore"):
            found = fl.convert(codes, source, to, rounding=rounding, overflow=overflow)
            few = fl.convert(codes[:3], source, to, rounding=rounding, overflow=overflow)
        assert found.dtype == to.code_dtype
        assert_array_equal(found, expected)
        assert_array_equal(few, expected[:3])  # without a table


@pytest.mark.parametrize(
    "to_name", ["float8_e4m3fn", "float6_e3m2fn", "bfloat16", "fixed_s7_8", "tf32"]
)
@pytest.mark.parametrize("from_name", ["float16", "bfloat16", "fixed_s7_8", "int16"])
def test_convert_16_bit_codes(from_name, to_name):
    source, to = FORMATS[from_name], FORMATS[to_name]
    codes = all_codes(source)
    some = np.random.default_rng(0).integers(0, codes.size, 3000)
    values = exact_values(codes[some], source)
    with np.errstate(invalid="ignore"):
        found = fl.convert(codes, source, to)[some]
    assert_array_equal(found, [reference.encode(value, to) for value in values])


def test_convert_wide_codes():
    codes = np.random.default_rng(0).integers(-(2**31), 2**31, 2000, np.int32)
    for to in ("e4m3", "float16", "int16"):
        values = [reference.decode(int(code), FORMATS["fixed_s15_16"]) for code in codes]
        expected = [reference.encode(value, fl.get_format(to)) for value in values]
        assert_array_equal(fl.convert(codes, "fixed_s15_16", to), expected)
    codes = np.random.default_rng(0).integers(0, 2**19, 2000, np.uint32)
    values = exact_values(codes, FORMATS["tf32"])
    expected = [reference.encode(value, FORMATS["bfloat16"]) for value in values]
    assert_array_equal(fl.convert(codes, "tf32", "bfloat16"), expected)


@pytest.mark.parametrize("to_name", ["float8_e5m2", "binary8p1uf", "float4_e2m1fn", "fixed_u8_8"])
def test_convert_overflows(to_name):
    source, to = FORMATS["float8_e5m2"], FORMATS[to_name]
    codes = all_codes(source)
    for overflow in overflows(to_name):
        expected = reference_table(source, to, "nearest_even", overflow)
        with np.errstate(invalid="ignore"):
            assert_array_equal(fl.convert(codes, source, to, overflow=overflow), expected)
    fitting = np.repeat(np.uint8([0x00, 0x3C, 0x40]), 100)  # 0, 1, 2
    expected = fl.convert(fitting, source, to)
    assert_array_equal(fl.convert(fitting, source, to, overflow="raise"), expected)
    out = np.full(301, 7, to.code_dtype)
    too_great = np.append(fitting, np.uint8(0x7B))
    if to_name == "float8_e5m2":
        fl.convert(too_great, source, to, overflow="raise")
    elif FORMATS[to_name].max < 57344:
        with pytest.raises(OverflowError):
            fl.convert(too_great, source, to, overflow="raise", out=out)
        assert (out == 7).all()


@pytest.mark.parametrize("size", [10, 100_000])
def test_convert_is_encode_of_decode(size):
    codes = np.random.default_rng(0).integers(0, 256, size, np.uint8)
    for mode in ({"seed": (3, 4)}, {"seed": 5, "random_bits": 2}):
        mode |= {"rounding": "stochastic"}
        with np.errstate(invalid="ignore"):
            expected = fl.encode(fl.decode(codes, "e4m3"), "e2m3", **mode)
            assert_array_equal(fl.convert(codes, "e4m3", "e2m3", **mode), expected)
            assert_array_equal(fl.convert(codes, "e4m3", "e2m3", workers=3, **mode), expected)


@pytest.mark.parametrize("size", [8, 100_000])
def test_convert_signals_nan_where_there_is_one(size):
    clean, with_nan = np.full(size, 0x38, np.uint8), np.full(size, 0x38, np.uint8)
    with_nan[size // 2] = 0x7F
    with np.errstate(invalid="raise"):
        fl.convert(clean, "e4m3", "e2m1")
        fl.convert(with_nan, "e4m3", "e5m2")
        with pytest.raises(FloatingPointError):
            fl.convert(with_nan, "e4m3", "e2m1")
    with pytest.warns(RuntimeWarning, match="invalid") as caught:
        codes = fl.convert(with_nan, "e4m3", "e2m1")
    assert len(caught) == 1
    assert codes[size // 2] == 0
    assert codes[0] == 2


def test_convert_into_out():
    codes = np.random.default_rng(0).integers(0, 256, (400, 300), np.uint8)
    expected = fl.encode(fl.decode(codes, "e5m2"), "bfloat16")
    assert_array_equal(fl.convert(codes, "e5m2", "bfloat16", workers=4), expected)
    for out in (np.empty((400, 300), np.uint16), np.empty((300, 400), np.uint16).T):
        assert fl.convert(codes, "e5m2", "bfloat16", out=out) is out
        assert_array_equal(out, expected)
    same = codes[::-1, ::2].copy()
    expected = fl.convert(same, "e5m2", "e4m3")
    assert fl.convert(same, "e5m2", "e4m3", out=same) is same
    assert_array_equal(same, expected)
    assert_array_equal(
        fl.convert(codes[::-1, ::2], "e5m2", "e4m3"), fl.convert(codes, "e5m2", "e4m3")[::-1, ::2]
    )
    assert fl.convert(np.uint8(0x3C), "e5m2", "e4m3") == 0x38
    assert fl.convert(np.empty((0, 2), np.uint8), "e5m2", "e4m3").shape == (0, 2)
    with pytest.raises(TypeError, match="out must have dtype uint16"):
        fl.convert(codes, "e5m2", "bfloat16", out=np.empty((400, 300), np.uint8))
    with pytest.raises(ValueError, match="out"):
        fl.convert(codes, "e5m2", "bfloat16", out=np.empty((300, 400), np.uint16))


@pytest.mark.parametrize(
    ("keywords", "error", "match"),
    [
        ({"rounding": "nearest"}, ValueError, "rounding must be"),
        ({"overflow": "clip"}, ValueError, "overflow must be"),
        ({"seed": 3}, ValueError, "seed needs"),
        ({"random_bits": 3}, ValueError, "random_bits needs"),
        ({"workers": 0}, ValueError, "workers"),
    ],
)
def test_convert_arguments(keywords, error, match):
    for size in (3, 1000):
        with pytest.raises(error, match=match):
            fl.convert(np.zeros(size, np.uint8), "e4m3", "e5m2", **keywords)
