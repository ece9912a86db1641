"""Error statistics against a model in exact arithmetic, element by element."""

import math
import operator
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from cases import (
    BLOCK_NAMES,
    DTYPES,
    ELEMENTWISE_NAMES,
    FLOAT_NAMES,
    each_target,
)
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference, statistics, testing
from fmtlib.formats import FORMATS, ROUNDINGS, FixedFormat, FloatFormat
from fmtlib.reference import floor_log2, power_of_two

COUNTS = ["count", "nan", "infinite", "nonfinite", "inexact", "overflow", "underflow", "flushed"]
GREATEST = ["max_error", "max_ulp_error"]
SUMS = ["sum_squares", "sum_squared_errors"]


def spacing_at(magnitude, fmt):
    """Of the format's values at a magnitude, in or beyond their range."""
    if not isinstance(fmt, FloatFormat):
        return power_of_two(fmt.quantum_exponent)
    binade = floor_log2(magnitude) if magnitude else fmt.min_exponent
    binade = min(max(binade, fmt.min_exponent), fmt.max_exponent)
    return power_of_two(binade - fmt.mantissa_bits)


def overflows(y, fmt, rounding, word, random_bits, zero_point):
    """Whether y rounds, as if there were no limits, to a value beyond those of the format."""
    mode = {"negative": y < 0, "word": word, "random_bits": random_bits}
    if not isinstance(fmt, FloatFormat):
        k = reference.round_magnitude(abs(y) / power_of_two(fmt.quantum_exponent), rounding, **mode)
        return not fmt.min_integer <= (-k if y < 0 else k) + zero_point <= fmt.max_integer
    if y == 0:
        return False
    binade = max(floor_log2(abs(y)), fmt.min_exponent)
    foot = (binade - fmt.min_exponent - (not fmt.subnormals)) << fmt.mantissa_bits
    significand = abs(y) / power_of_two(binade - fmt.mantissa_bits)
    code = foot + reference.round_magnitude(significand, rounding, parity=foot, **mode)
    if y < 0 and not fmt.signed:
        return code > 0 or not fmt.subnormals
    return code > fmt.max_code


def model(x, q, fmt, rounding="nearest_even", words=None, random_bits=32, scale=None, zero_point=0):
    """The statistics of x and its quantised values, from the definitions."""
    found = dict.fromkeys(COUNTS + GREATEST + SUMS, 0)
    scale = Fraction(1 if scale is None else scale)
    for i, (a, b) in enumerate(zip(x.tolist(), q.tolist(), strict=True)):
        if not math.isfinite(a):
            found["nan" if math.isnan(a) else "infinite"] += 1
            continue
        a, y = Fraction(a), Fraction(a) / scale
        word = 0 if words is None else int(words[i])
        over = overflows(y, fmt, rounding, word, random_bits, zero_point)
        found["overflow"] += over
        if not math.isfinite(b):
            found["nonfinite"] += 1
            found["inexact"] += 1
            continue
        b = Fraction(b)
        error = abs(b - a)
        least = scale * power_of_two(
            fmt.min_exponent if isinstance(fmt, FloatFormat) else fmt.quantum_exponent
        )
        no_zero = isinstance(fmt, FloatFormat) and not fmt.subnormals
        tiny = abs(b) < least or (no_zero and abs(a) < least)
        found["count"] += 1
        found["inexact"] += error != 0
        found["underflow"] += error != 0 and tiny and not over
        found["flushed"] += error != 0 and b == 0 and not over
        found["max_error"] = max(found["max_error"], error)
        ulps = error / (scale * spacing_at(abs(y), fmt))
        found["max_ulp_error"] = max(found["max_ulp_error"], ulps)
        found["sum_squares"] += a * a
        found["sum_squared_errors"] += error * error
    return found


def as_float(fraction):
    try:
        return float(fraction)
    except OverflowError:
        return math.inf


def check(found, expected):
    for name in COUNTS:
        assert getattr(found, name) == expected[name], name
    # A difference of floats is rounded once, and so is the greatest one.
    assert found.max_error == as_float(expected["max_error"])
    for name in ["max_ulp_error", *SUMS]:
        exact = as_float(expected[name])
        assert getattr(found, name) == pytest.approx(exact, rel=1e-12), name
    if expected["count"] and math.isfinite(found.sum_squared_errors):
        mean = float(expected["sum_squared_errors"] / expected["count"])
        assert found.rms_error == pytest.approx(math.sqrt(mean), rel=1e-12)
    if expected["sum_squared_errors"] and expected["sum_squares"]:
        ratio = as_float(expected["sum_squares"] / expected["sum_squared_errors"])
        if math.isfinite(found.sum_squares) and found.sum_squared_errors:
            decibels = 10 * math.log10(ratio)
            assert found.sqnr_db == pytest.approx(decibels, abs=1e-9)


def some_edges(name, dtype):
    """Values of the format, midpoints and what is next to them, and what lies about its limits."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    if isinstance(fmt, FloatFormat):
        codes = rng.integers(0, fmt.max_code, 25)
    else:
        codes = rng.integers(max(fmt.min_integer, 0), fmt.max_integer, 25)
    codes = codes.astype(fmt.code_dtype)
    steps = np.arange(17) / 8  # from the greatest value to two steps beyond it
    values = np.append(fl.decode(codes, fmt, dtype=float), fmt.max + steps * float(top_step(fmt)))
    middles = values[:25] + fl.spacing(codes, fmt) / 2
    with np.errstate(over="ignore"):
        values, middles = values.astype(dtype), middles.astype(dtype)
    zero, top = np.zeros((), dtype), np.array(np.inf, dtype)
    nearby = [np.nextafter(middles, zero), np.nextafter(middles, top)]
    x = np.concatenate([values, middles, *nearby, [0, 1e-30, 1e30, np.inf, np.nan]]).astype(dtype)
    return np.concatenate([x, -x])


def top_step(fmt):
    return spacing_at(Fraction(fmt.max), fmt)


MODES = [(rounding, "float64") for rounding in ROUNDINGS]
MODES += [("nearest_even", "float32"), ("stochastic", "float32")]


@pytest.mark.parametrize(("rounding", "dtype"), MODES)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_elementwise(name, rounding, dtype):
    fmt = FORMATS[name]
    x = some_edges(name, dtype)
    mode = {"rounding": rounding}
    words = None
    if rounding.startswith("stochastic"):
        mode |= {"seed": (5, 6), "random_bits": 3}
        words = [reference.philox_word(5, 6, i) for i in range(x.size)]
    overflow = "nonsaturating" if name in FLOAT_NAMES and rounding != "up" else "saturate"
    with np.errstate(invalid="ignore"):
        wide = x.astype(np.float64)
        q = fl.quantize(x if fmt.fits(dtype) else wide, fmt, overflow=overflow, **mode)
        expected = model(wide, q, fmt, rounding, words, 3)
        for _ in each_target():
            found, values = fl.error_statistics(
                x, fmt, overflow=overflow, return_values=True, **mode
            )
            check(found, expected)
            assert_array_equal(values, q)
            assert values.dtype == q.dtype
    assert found.nan == 2
    if dtype == "float64":  # no float32 overflows bfloat16 toward zero
        assert found.overflow > 0


@pytest.mark.parametrize("rounding", ["nearest_even", "to_odd", "down", "stochastic_c"])
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_overflow_is_what_raises(name, rounding):
    mode = {"rounding": rounding}
    if rounding.startswith("stochastic"):
        mode |= {"seed": 2, "random_bits": 2}
    x = some_edges(name, "float64")
    for value in x[np.isfinite(x)][::3]:
        found = fl.error_statistics(value, name, **mode)
        try:
            fl.encode(value, name, overflow="raise", **mode)
            raised = False
        except OverflowError:
            raised = True
        assert found.overflow == raised
        if raised:
            with pytest.raises(OverflowError):
                fl.error_statistics(value, name, overflow="raise", **mode)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize(
    ("name", "scale", "zero_point"),
    [
        ("int8", 0.1, None),
        ("int8", 0.1, 5),
        ("uint8", 0.037, 128),
        ("int8", 0.25, None),
        ("fixed_s7_8", 3.0, None),
        ("fixed_s15_16", 1e-3, None),
        ("float8_e4m3fn", 0.1, None),
        ("float8_e5m2", 0.1, None),
        ("float4_e2m1fn", 7e-3, None),
        ("float8_e8m0fnu", 3.0, None),
    ],
)
def test_scaled(target, name, scale, zero_point, rounding):
    fmt = FORMATS[name]
    # Quotients on midpoints and around the limits, and others that only division in floats puts
    # there: 12.75 / 0.1 is less than 127.5.
    steps = np.arange(-300, 301) / 2
    limits = np.outer([fmt.max, fmt.max * 1.01, fmt.max * 1.07, fmt.max * 2], [1, -1]).reshape(-1)
    x = np.concatenate([steps * scale, steps * 0.1, limits * scale, [12.75, 6144.0, np.nan]])
    if name.startswith("float8_e8m0"):
        x = np.abs(x)
    words, mode = None, {"rounding": rounding, "scale": scale, "zero_point": zero_point}
    if rounding.startswith("stochastic"):
        mode |= {"seed": 5, "random_bits": 4}
        words = [reference.philox_word(5, 0, i) for i in range(x.size)]
    with np.errstate(invalid="ignore"):
        q = fl.quantize(x, fmt, **mode)
        found, values = fl.error_statistics(x, fmt, return_values=True, **mode)
    assert_array_equal(values, q)
    check(found, model(x, q, fmt, rounding, words, 4, scale, zero_point or 0))
    assert found.overflow > 0


def block_places(fmt, axis, shape):
    """The place in the scales and the slices of each block."""
    axes, sizes = (part if isinstance(part, tuple) else (part,) for part in (axis, fmt.block_size))
    size_of = dict(zip(axes, sizes, strict=True))
    grid = [-(-n // size_of.get(i, 1)) for i, n in enumerate(shape)]
    for place in np.ndindex(*grid):
        spans = ((k * size_of.get(i, 1), size_of.get(i, 1)) for i, k in enumerate(place))
        yield place, tuple(slice(start, start + size) for start, size in spans)


def element_scales(b, place, block):
    """The scale of each element of a block, by the definition of the format."""
    fmt, stored = b.format, int(b.scales[place])
    scale = float(reference.decode(stored % 2**fmt.scale.bits, fmt.scale))
    scale *= 1 if b.tensor_scale is None else float(b.tensor_scale)
    scales = np.full(b.codes[block].shape, scale)
    if fmt.micro_size is not None:
        for i in range(scales.size):
            if stored >> fmt.scale.bits + i // fmt.micro_size & 1:
                scales.reshape(-1)[i] /= 2
    return scales


@pytest.mark.parametrize("rounding", ["nearest_even", "toward_zero", "stochastic"])
@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_blocks(name, rounding):
    fmt = FORMATS[name]
    tiles = isinstance(fmt.block_size, tuple)
    rng = np.random.default_rng(3)
    shape = (2, 30, 21) if tiles else (2, 70)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-6, 7, shape)
    x[0, 3], x[1, 10, ...], x[1, 11:15] = np.nan, -np.inf, 0
    mode = {"rounding": rounding} | ({"seed": 9} if rounding == "stochastic" else {})
    words = np.array([reference.philox_word(9, 0, i) for i in range(x.size)]).reshape(shape)
    element = fmt.element
    if isinstance(element, FixedFormat):  # the most negative one of two's complement is not used
        element = replace(element, encoding="sign_magnitude")
    for axis in ((1, 2), (2, 1)) if tiles else (1, 0):
        b = fl.encode(x, fmt, axis=axis, **mode)
        q = fl.decode(b, dtype=np.float64)
        tables = []
        for _ in each_target():
            found, values = fl.error_statistics(x, fmt, axis=axis, return_values=True, **mode)
            assert_array_equal(values, q)
            assert found.shape == b.scales.shape
            tables.append(table_of(found))
        for other in tables[1:]:
            assert_same(found, fl.ErrorStatistics(**other))
        for place, block in block_places(fmt, axis, shape):
            scales = element_scales(b, place, block).reshape(-1)
            parts = zip(
                *(part[block].reshape(-1) for part in (x, q, words)), scales, strict=True
            )  # fmt: skip
            expected = dict.fromkeys(COUNTS + GREATEST + SUMS, 0)
            for a, c, word, scale in parts:
                one = model(
                    np.array([a]), np.array([c]), element, rounding, [word],
                    scale=scale if scale > 0 else 1,
                )  # fmt: skip
                if not scale > 0:  # of a block of NaN, or of zeros
                    one["overflow"] = one["max_ulp_error"] = 0
                for key, value in one.items():
                    combine = max if key in GREATEST else operator.add
                    expected[key] = combine(expected[key], value)
            of_block = {n: v[place].item() for n, v in tables[0].items()}
            if fmt.scale_rule == "amax":  # its quotients are rounded on the way
                assert abs(of_block["overflow"] - expected["overflow"]) <= 1
                for key in ("overflow", "underflow", "flushed"):
                    expected[key] = of_block[key]
            check(fl.ErrorStatistics(**of_block), expected)


def table_of(found):
    return {name: np.asarray(getattr(found, name)) for name in COUNTS + GREATEST + SUMS}


def assert_same(a, b, sums=True):
    for name, value in table_of(a).items():
        if name in SUMS and not sums:
            np.testing.assert_allclose(value, getattr(b, name), rtol=1e-12)
        else:
            assert_array_equal(value, getattr(b, name), err_msg=name)


SHAPES = [
    ((7, 5, 3), 0),
    ((7, 5, 3), 1),
    ((7, 5, 3), 2),
    ((2, 70, 30), 0),  # rows longer than a batch
    ((3, 7000), 1),
    ((3, 7000), 0),
    ((7000, 3), 1),
    ((1, 1000), 0),
    ((0, 4), 1),
    ((0, 4), 0),
]


@pytest.mark.parametrize(("shape", "axis"), SHAPES)
def test_per_channel(target, monkeypatch, shape, axis):
    monkeypatch.setattr(statistics, "_PIECE", 700)
    monkeypatch.setattr(statistics, "_BATCH", 1500)
    x = np.random.default_rng(0).standard_normal(shape, np.float32) * np.float32(200)
    mode = {"rounding": "stochastic", "seed": 1}
    found = fl.error_statistics(x, "e4m3", axis=axis, **mode)
    assert found.shape == (shape[axis],)
    q = fl.quantize(x, "e4m3", **mode).astype(np.float64)
    wide, axes = x.astype(np.float64), tuple(i for i in range(x.ndim) if i != axis)
    error = np.abs(q - wide)
    assert_array_equal(found.count, np.full(shape[axis], x.size // max(shape[axis], 1)))
    assert_array_equal(found.max_error, np.max(error, axes, initial=0))
    assert_array_equal(found.inexact, np.count_nonzero(error, axes))
    np.testing.assert_allclose(found.sum_squared_errors, np.sum(error**2, axes), rtol=1e-12)
    np.testing.assert_allclose(found.sum_squares, np.sum(wide**2, axes), rtol=1e-12)
    assert_same(found.total(), fl.error_statistics(x, "e4m3", **mode), sums=False)
    # the same to the bit, however it is done
    assert_same(found, fl.error_statistics(x, "e4m3", axis=axis - x.ndim, workers=3, **mode))
    turned = np.asfortranarray(x[::-1])[::-1]
    assert_same(found, fl.error_statistics(turned, "e4m3", axis=axis, **mode))


def test_targets_agree():
    x = np.random.default_rng(0).standard_normal((40, 5003), np.float32) * np.float32(300)
    for axis in (None, 0, 1):
        found = [table_of(fl.error_statistics(x, "e4m3", axis=axis)) for _ in each_target()]
        for other in found[1:]:
            for name in found[0]:
                assert_array_equal(found[0][name], other[name])


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("block_size", [1, 4, 5, 100])
def test_per_block_of_an_elementwise_format(axis, block_size):
    x = np.random.default_rng(0).standard_normal((6, 9, 7), np.float32)
    mode = {"rounding": "stochastic", "seed": 1}
    found = fl.error_statistics(x, "e2m1", axis=axis, block_size=block_size, **mode)
    q = fl.quantize(x, "e2m1", **mode)
    starts = range(0, x.shape[axis], block_size)
    assert found.shape == tuple(len(starts) if i == axis else n for i, n in enumerate(x.shape))
    for i, start in enumerate(starts):
        part = range(start, min(start + block_size, x.shape[axis]))
        error = np.abs(q.astype(float) - x).take(part, axis)
        assert_array_equal(found.max_error.take(i, axis), error.max(axis))
        assert_array_equal(found.inexact.take(i, axis), np.count_nonzero(error, axis))
        np.testing.assert_allclose(
            found.sum_squared_errors.take(i, axis), (error**2).sum(axis), rtol=1e-12
        )
    whole = fl.error_statistics(x, "e2m1", **mode)
    assert_same(found.total(), whole, sums=False)


def test_per_channel_scales():
    x = np.random.default_rng(0).standard_normal((4, 300)).astype(np.float32)
    scale = np.float64([0.01, 0.02, 0.5, 3.0])
    found = fl.error_statistics(x, "int8", axis=0, scale=scale)
    for i in range(4):
        alone = fl.error_statistics(x[i], "int8", scale=scale[i])
        of_channel = fl.ErrorStatistics(**{n: v[i] for n, v in table_of(found).items()})
        assert_same(alone, of_channel, sums=False)
    one = fl.error_statistics(x, "int8", axis=1, scale=0.01)
    assert one.shape == (300,)
    assert_same(one.total(), fl.error_statistics(x, "int8", scale=0.01), sums=False)
    with pytest.raises(ValueError, match="needs axis"):
        fl.error_statistics(x, "int8", scale=scale)


@given(
    npst.arrays(np.float64, st.integers(0, 30), elements=st.floats(width=32)),
    st.sampled_from([*FLOAT_NAMES, "int8", "fixed_s7_8"]),
)
def test_any_values(x, name):
    fmt = FORMATS[name]
    with np.errstate(invalid="ignore"):
        q = fl.quantize(x, fmt)
        found = fl.error_statistics(x, fmt)
    check(found, model(x, q, fmt))


@given(
    testing.float_formats(named=False, max_bits=10),
    st.sampled_from(["nearest_even", "to_odd", "up"]),
    st.data(),
)
def test_run_time_formats(fmt, rounding, data):
    codes = data.draw(npst.arrays(fmt.code_dtype, 12, elements=st.integers(0, 2**fmt.bits - 1)))
    factors = data.draw(npst.arrays(np.float64, 12, elements=st.floats(-2, 2, width=16)))
    with np.errstate(invalid="ignore", over="ignore"):
        x = fl.decode(codes, fmt, dtype=float) * factors  # about the format's range
        q = fl.quantize(x, fmt, rounding=rounding)
        found = fl.error_statistics(x, fmt, rounding=rounding)
    expected = model(x, q, fmt, rounding)
    assert {name: getattr(found, name) for name in COUNTS} == {n: expected[n] for n in COUNTS}
    assert found.max_error == as_float(expected["max_error"])
    ulps = as_float(expected["max_ulp_error"]) if found.max_error < math.inf else math.inf
    assert found.max_ulp_error == pytest.approx(ulps, rel=1e-12)


@given(st.data())
def test_parts_add_up(data):
    x = data.draw(npst.arrays(np.float32, 20, elements=st.floats(-600, 600, width=32)))
    cut = data.draw(st.integers(0, 20))
    parts = fl.error_statistics(x[:cut], "e4m3") + fl.error_statistics(x[cut:], "e4m3")
    assert_same(parts, fl.error_statistics(x, "e4m3"), sums=False)


def test_known_counts():
    x = np.float32([1.0, 1.05, 464, 465, -1e6, 2.0**-9, 2.0**-10, 3e-3, np.inf, np.nan, 0.0, -0.0])
    found = fl.error_statistics(x, "e4m3")
    assert (found.count, found.nan, found.infinite, found.nonfinite) == (10, 1, 1, 0)
    assert (found.overflow, found.inexact) == (2, 6)
    assert (found.underflow, found.flushed) == (2, 1)  # 2**-10 and 3e-3; a tie to zero
    assert found.max_error == 1e6 - 448
    assert found.max_ulp_error == (1e6 - 448) / 32
    strict = fl.error_statistics(x, "e4m3", overflow="nonsaturating")
    assert (strict.count, strict.overflow, strict.nonfinite, strict.max_error) == (8, 2, 2, 16.0)
    record = found.to_dict()
    assert record["rms_error"] == found.rms_error
    assert record["sqnr_db"] == found.sqnr_db
    assert set(record) == {*COUNTS, *GREATEST, *SUMS, "rms_error", "sqnr_db"}


def test_nothing_and_no_error():
    nothing = fl.error_statistics(np.empty((0, 3)), "e4m3")
    assert (nothing.count, nothing.max_error) == (0, 0.0)
    assert math.isnan(nothing.rms_error)
    assert math.isnan(nothing.sqnr_db)
    exact = fl.error_statistics([1.0, 2.0], "e4m3")
    assert (exact.rms_error, exact.sqnr_db) == (0.0, math.inf)
    scalar, value = fl.error_statistics(1.06, "e4m3", return_values=True)
    assert (scalar.count, scalar.inexact, float(value)) == (1, 1, 1.0)
    assert type(scalar.count) is int
    assert type(scalar.rms_error) is float
    assert fl.error_statistics(np.empty((0, 32)), fl.bfp(4)).shape == (0, 2)


@pytest.mark.parametrize("dtype", [*DTYPES.values(), np.dtype(np.int8), np.dtype(np.uint64)])
def test_dtypes(dtype):
    x = np.array([1, 3, 5, 100, 117]).astype(dtype)
    found, values = fl.error_statistics(x, "fixed_s15_16", return_values=True)
    assert values.dtype == np.float64  # no narrower type holds the format
    assert_array_equal(values, x.astype(np.float64))
    assert found.count == 5
    narrow = fl.error_statistics(x, "e4m3")
    assert (narrow.inexact, narrow.max_error) == (2, 4.0)


def test_the_invalid_error_of_quantize():
    x = np.float32([1.0, np.nan])
    with np.errstate(invalid="raise"):
        fl.error_statistics(x, "e4m3")
        with pytest.raises(FloatingPointError):
            fl.error_statistics(x, "e2m1")


@pytest.mark.parametrize(
    ("x", "fmt", "keywords", "error", "match"),
    [
        ([True], "e4m3", {}, TypeError, "bool"),
        ([1j], "e4m3", {}, TypeError, "complex"),
        ([2**60], "e4m3", {}, ValueError, r"within 2\*\*53"),
        ([1.0], "e4m3", {"axis": 1}, ValueError, "axis 1 is out of bounds"),
        ([1.0], "e4m3", {"axis": 0.5}, TypeError, "axis"),
        ([1.0], "e4m3", {"block_size": 0}, ValueError, "block_size"),
        ([1.0], "e4m3", {"zero_point": 1}, ValueError, "zero_point needs scale"),
        ([1.0], "e4m3", {"rounding": "odd"}, ValueError, "rounding"),
        ([1.0], "e4m3", {"seed": 1}, ValueError, "seed"),
        ([1.0], "e4m3", {"workers": 0}, ValueError, "workers"),
        ([1.0], fl.bfp(4), {"scale": 1.0}, ValueError, "scale"),
        ([1.0], fl.bfp(4), {"block_size": 2}, ValueError, "block_size must be None"),
        (1.0, fl.bfp(4), {}, ValueError, "dimension"),
        (1.0, "e4m3", {"block_size": 2}, ValueError, "dimension"),
    ],
)
def test_wrong_arguments(x, fmt, keywords, error, match):
    with pytest.raises(error, match=match):
        fl.error_statistics(x, fmt, **keywords)


def test_statistics_that_do_not_add():
    x = np.ones((2, 3))
    whole, channels = (fl.error_statistics(x, "e4m3", axis=axis) for axis in (None, 0))
    with pytest.raises(ValueError, match="do not add"):
        whole + channels
    with pytest.raises(TypeError):
        whole + 1
