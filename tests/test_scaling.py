"""Scales and zero points: the exact quotient rounded once, and back."""

from fractions import Fraction

import numpy as np
import pytest
from cases import DETERMINISTIC, DTYPES, ELEMENTWISE_NAMES
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference, testing
from fmtlib.formats import FORMATS, FloatFormat

scales = st.floats(2**-40, 2**40, allow_nan=False)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_quotients_round_once(target, name, dtype):
    """Ties of the quotient, hit and missed by one unit in the last place."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    top = min(fmt.max, 300.0)
    halves = np.arange(0, 2 * top) / 2 if not isinstance(fmt, FloatFormat) else None
    grid = (
        fl.decode(np.arange(min(2**fmt.bits, 300)).astype(fmt.code_dtype), name)
        if (halves is None)
        else halves
    )
    grid = grid[np.isfinite(grid)].astype(np.float64)
    middles = np.concatenate([grid, (grid[1:] + grid[:-1]) / 2])
    for scale in (0.1, 1 / 3, 2.0**-7, 1e-30, *rng.random(4)):
        x = (middles * scale).astype(dtype)
        x = np.concatenate([x, np.nextafter(x, np.array(0, dtype)), -x])
        for rounding in DETERMINISTIC:
            codes = fl.encode(x, name, rounding=rounding, scale=scale)
            expected = [
                reference.encode(v, fmt, rounding, scale=Fraction(scale)) for v in x.tolist()
            ]
            assert_array_equal(codes, np.array(expected, np.int64).astype(fmt.code_dtype))


@given(testing.integer_formats(), scales, testing.roundings(), st.data())
def test_zero_points(fmt, scale, rounding, data):
    x = float(data.draw(testing.values(fmt, "float64", nan=False)))
    x *= data.draw(st.sampled_from((1.0, scale)))
    zero = data.draw(st.integers(fmt.min_integer, fmt.max_integer))
    code = int(fl.encode(x, fmt, rounding=rounding, scale=scale, zero_point=zero))
    assert code == reference.encode(x, fmt, rounding, scale=Fraction(scale), zero_point=zero)
    exact = Fraction(scale) * (code - zero)
    got = fl.decode(np.array(code, fmt.code_dtype), fmt, scale=scale, zero_point=zero)
    assert float(got) == float(reference.round_to_float32(exact))
    wide = fl.decode(np.array(code, fmt.code_dtype), fmt, scale=scale, zero_point=zero, dtype=float)
    assert float(wide) == exact.numerator / exact.denominator


@pytest.mark.parametrize("name", ["int8", "e4m3"])
def test_decoding_rounds_once_to_every_type(target, name):
    fmt = fl.get_format(name)
    if name == "int8":
        codes = np.arange(-127, 128).astype(np.int8)
    else:
        codes = np.arange(0x7F, dtype=np.uint8)
    rng = np.random.default_rng(3)
    for scale in (
        0.09908353387762302,
        1 + 2**-11 + 2**-40,
        1 + 2**-8 + 2**-40,
        1e-7,
        *rng.random(5),
    ):
        for dtype in DTYPES.values():
            values = fl.decode(codes, name, scale=scale, dtype=dtype)
            assert values.dtype == dtype
            out = np.empty(codes.shape, dtype)
            assert fl.decode(codes, name, scale=scale, out=out) is out
            assert_array_equal(out, values)
            for code, value in zip(codes.tolist(), values.tolist(), strict=True):
                exact = reference.decode(code, fmt) * Fraction(scale)
                if dtype == np.float64:
                    expected = exact.numerator / exact.denominator
                elif dtype == np.float32:
                    expected = float(reference.round_to_float32(exact))
                else:
                    expected = float(
                        reference.quantize(
                            exact, fl.get_format(dtype.name), overflow="nonsaturating"
                        )
                    )
                assert value == expected
    x = np.array([1, -3], np.float16)
    assert fl.quantize(x, name, scale=1 + 2**-11 + 2**-40)[0] == np.float16(1.001)


@pytest.mark.parametrize("exponent", [-1070, -1040, -1020, -960, -901, -899, 0, 700, 1000])
def test_extreme_scales(target, exponent):
    """Quotients next to ties, at the ends of float64."""
    rng = np.random.default_rng(4)
    e4m3 = fl.get_format("e4m3")
    ties = (fl.decode(np.arange(8, 120, dtype=np.uint8), e4m3, dtype=float) * 2).astype(float)
    middles = (ties[1:] + ties[:-1]) / 4
    for significand in 1 + rng.random(8):
        scale = float(np.ldexp(significand, exponent))
        x = middles * scale
        x = np.concatenate([x, np.nextafter(x, 0), np.nextafter(x, np.inf)])
        x = x[np.isfinite(x)]
        expected = [reference.encode(v, e4m3, scale=Fraction(scale)) for v in x.tolist()]
        assert_array_equal(fl.encode(x, e4m3, scale=scale), expected)


def _exact_codes(x, scale, zero, fmt):
    """Codes by exact rationals: Python rounds fractions to nearest, ties to even."""
    quanta = [
        round(Fraction(a) / Fraction(b) * 2**fmt.fraction_bits) + c
        for a, b, c in zip(x.tolist(), scale.tolist(), zero.tolist(), strict=True)
    ]
    return np.clip(np.array(quanta, object), fmt.min_integer, fmt.max_integer).astype(int)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int16"])
@pytest.mark.parametrize(
    "name", ["int4", "int8", "uint8", "int16", "uint16", "fixed_s7_8", "fixed_s15_16"]
)
def test_quotients_next_to_ties(target, name, dtype):
    """Scales chosen so that quotients are ties, or miss them by one part in 2**53 or 2**24."""
    fmt = fl.get_format(name)
    rng = np.random.default_rng(5)
    n = 600
    # also beyond both ends, whatever the zero point
    span = min(2 * fmt.max_integer, 2**20)
    ties = (rng.integers(-span, span, n) + 0.5) * 2.0**-fmt.fraction_bits
    x = (rng.standard_normal(n) * 2.0 ** rng.integers(-20, 20, n)).astype(dtype)
    if dtype == "int16":
        x = rng.integers(1, 2**15, n).astype(dtype)
    ties = np.copysign(ties, x.astype(float))
    scale = np.abs(x.astype(float) / ties)
    scale[::7] = np.ldexp(1.0, rng.integers(-9, 9, scale[::7].size))
    scale[1::7] = np.float32(scale[1::7])
    if dtype != "int16":
        x[2::7] = ties[2::7] * scale[2::7]
        x[3::7] = ties[3::7] * 2.0 ** rng.integers(-9, 9, x[3::7].size)
        scale[3::7] = 2.0 ** np.rint(np.log2(np.abs(x[3::7] / ties[3::7])))
    scale[scale == 0] = 1.0
    zero = np.zeros(n, int)
    if name.startswith(("int", "uint")):
        zero = rng.integers(fmt.min_integer, fmt.max_integer, n, endpoint=True)
    keywords = {"axis": 0}
    for near in (scale, np.nextafter(scale, 0), np.nextafter(scale, np.inf)):
        expected = _exact_codes(x, near, zero, fmt)
        given = keywords | ({"zero_point": zero} if zero.any() else {})
        assert_array_equal(fl.encode(x, fmt, scale=near, **given), expected)
    for i in range(0, n, 40):  # one scale for all
        part = ties[i : i + 40] * scale[i]
        part = np.concatenate([part, np.nextafter(part, 0), -part]).astype(dtype)
        given = {"zero_point": zero[i]} if zero.any() else {}
        full = np.full(part.size, scale[i])
        expected = _exact_codes(part, full, np.full(part.size, zero[i]), fmt)
        assert_array_equal(fl.encode(part, fmt, scale=scale[i], **given), expected)


@pytest.mark.parametrize("name", ["int8", "uint8", "int16", "fixed_s7_8"])
def test_values_next_to_ties(target, name):
    """Scales chosen so that products are ties of float32, or miss them by one part in 2**53."""
    fmt = fl.get_format(name)
    rng = np.random.default_rng(6)
    codes = rng.integers(fmt.min_integer, fmt.max_integer, 600, endpoint=True)
    codes[codes == 0] = 1
    ties = (rng.integers(2**23, 2**24, codes.size) + 0.5) * 2.0 ** rng.integers(-60, 60, codes.size)
    ties[::5] = (rng.integers(1, 2**22, ties[::5].size) + 0.5) * 2.0**-149  # of subnormals
    scale = np.abs(ties / codes) * 2.0**fmt.fraction_bits
    for near in (scale, np.nextafter(scale, 0), np.nextafter(scale, np.inf), np.float32(scale)):
        exact = [
            Fraction(b) * a / 2**fmt.fraction_bits
            for a, b in zip(codes.tolist(), near.tolist(), strict=True)
        ]
        expected = [float(reference.round_to_float32(value)) for value in exact]
        near = near.astype(float)
        near[near == 0] = 1.0
        found = fl.decode(codes.astype(fmt.code_dtype), fmt, scale=near, axis=0, dtype=np.float32)
        assert_array_equal(found, np.float32(expected))


@pytest.mark.parametrize("name", ["int8", "int16", "fixed_s7_8", "fixed_s15_16"])
def test_tails_and_strides(target, name):
    """Every short length, at every start, gives what the whole array gives, which is exact."""
    fmt = fl.get_format(name)
    rng = np.random.default_rng(7)
    x = rng.standard_normal(160).astype(np.float32)
    x[::11] *= 1e30
    scale = (0.01 + rng.random(x.size)) / 2**fmt.fraction_bits
    zero = np.zeros(x.size, int)
    one = np.full(x.size, scale[0])
    plain = _exact_codes(x, np.ones(x.size), zero, fmt)
    channels, uniform = _exact_codes(x, scale, zero, fmt), _exact_codes(x, one, zero, fmt)
    wide = np.repeat(x, 3)[::3]
    for start in (0, 1, 3, 7):
        for n in range(70):
            part = slice(start, start + n)
            for values in (x[part], wide[part], x[part][::-1][::-1].copy()):
                assert_array_equal(fl.encode(values, fmt), plain[part])
                codes = fl.encode(values, fmt, scale=scale[0])
                assert_array_equal(codes, uniform[part])
                codes = fl.encode(values, fmt, scale=scale[part], axis=0)
                assert_array_equal(codes, channels[part])
            out = np.zeros(2 * n, fmt.code_dtype)[::2]
            assert_array_equal(fl.encode(x[part], fmt, out=out), plain[part])
            found = fl.decode(codes, fmt, scale=scale[part], axis=0, dtype=np.float64)
            assert_array_equal(found, (channels[part] * 2.0**-fmt.fraction_bits) * scale[part])


def test_nan_and_infinity_scaled(target):
    x = np.tile(np.array([np.nan, np.inf, -np.inf, 1e-45, -0.0, 1.0], np.float32), 20)
    expected = np.tile([0, 127, -127, 3, 3, 103], 20)
    for scale in (0.01, np.full(x.size, 0.01)):
        axis = 0 if np.ndim(scale) else None
        with pytest.warns(RuntimeWarning, match="invalid"):
            codes = fl.encode(x, "int8", scale=scale, zero_point=3, axis=axis)
        assert_array_equal(codes, expected)


@pytest.mark.parametrize("name", ["e4m3", "int8", "fixed_s7_8"])
def test_per_channel(name):
    x = np.random.default_rng(1).standard_normal((3, 4, 5)).astype(np.float32)
    for axis in (0, 1, 2, -1):
        scale = np.arange(1, x.shape[axis] + 1) / 7
        codes = fl.encode(x, name, scale=scale, axis=axis)
        for i, s in enumerate(scale):
            assert_array_equal(
                codes.take(i, axis), fl.encode(x.take(i, axis), name, scale=float(s))
            )
        values = fl.decode(codes, name, scale=scale, axis=axis)
        assert_array_equal(fl.quantize(x, name, scale=scale, axis=axis), values)
        out = np.empty_like(x)
        assert fl.quantize(x, name, scale=scale, axis=axis, out=out) is out
        assert_array_equal(out, values)


@pytest.mark.parametrize("name", ["int8", "int16", "fixed_s7_8"])
def test_channels_longer_than_chunks(target, name):
    """Each row has one scale in pieces of a chunk; ties and NaN in some of them only."""
    fmt, rng = fl.get_format(name), np.random.default_rng(3)
    x = rng.standard_normal((5, 1300)).astype(np.float32)
    scale = np.array([0.013, 0.25, 1 / 3, 0.1, 1e-3])
    zero = np.array([0, -7, 11, 100, -127]) if name.startswith("int") else np.zeros(5, int)
    x[0, 600:700] = (rng.integers(-90, 90, 100) + 0.5) * scale[0]
    x[2, ::9], x[3, 1290:], x[4, :3] = 0.5 * scale[2], -0.5 * scale[3], 1e30
    given = {"zero_point": zero} if zero.any() else {}
    codes = fl.encode(x, name, scale=scale, axis=0, **given)
    for i in range(5):
        assert_array_equal(
            codes[i], _exact_codes(x[i], np.full(1300, scale[i]), np.full(1300, zero[i]), fmt)
        )
    assert_array_equal(
        fl.quantize(x, name, scale=scale, axis=0, **given),
        np.stack(
            [
                fl.decode(
                    codes[i], name, scale=scale[i], **({"zero_point": zero[i]} if given else {})
                )
                for i in range(5)
            ]
        ),
    )
    x[1, 700] = x[4, 1299] = np.nan
    if name.startswith("int"):
        with np.errstate(invalid="ignore"):
            found = fl.encode(x, name, scale=scale, axis=0, **given)
        codes[1, 700] = codes[4, 1299] = 0
        assert_array_equal(found, codes)


def test_stochastic_scaled_quotients():
    x = np.random.default_rng(2).standard_normal(200).astype(np.float32)
    for name in ("e4m3", "int8"):
        codes = fl.encode(x, name, scale=0.01, rounding="stochastic", seed=3)
        expected = [
            reference.encode(
                v, fl.get_format(name), "stochastic", scale=Fraction(0.01),
                word=reference.philox_word(3, 0, i),
            )
            for i, v in enumerate(x.tolist())
        ]  # fmt: skip
        assert_array_equal(codes, expected)
        values = fl.quantize(x, name, scale=0.01, rounding="stochastic", seed=3)
        assert_array_equal(values, fl.decode(codes, name, scale=0.01))


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2", "int8", "int16", "bfp_m4"])
def test_one_scale_as_a_float(name):
    """The short way, and where there is none."""
    x = 5 * np.random.default_rng(2).standard_normal((40, 30)).astype(np.float32)
    if name.startswith("bfp"):
        with pytest.raises(ValueError, match="scale and zero_point must be None"):
            fl.quantize(x, fl.bfp(4), scale=0.3)
        return
    for array in (x, np.asfortranarray(x), x[::2], x[:3], x.astype(np.float64)):
        found = fl.quantize(array, name, scale=0.3)
        expected = fl.quantize(array, name, scale=np.array(0.3), workers=1)
        assert found.dtype == expected.dtype
        assert found.strides == expected.strides
        assert_array_equal(found, expected)
    for wrong in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(ValueError, match="scale must be positive and finite"):
            fl.quantize(x, name, scale=float(wrong))
    x[1, 2] = np.nan
    with np.errstate(invalid="ignore"):
        found = fl.quantize(x, name, scale=0.3)
    assert np.isnan(found[1, 2]) == name.startswith("float")


def test_special_values():
    x = np.array([np.inf, -np.inf, 3e38, -3e38, 0.0, -0.0], np.float32)
    assert_array_equal(fl.encode(x, "int8", scale=1e-30), [127, -127, 127, -127, 0, 0])
    assert_array_equal(fl.encode(x, "e4m3", scale=1e-300), [0x7E, 0xFE, 0x7E, 0xFE, 0, 0x80])
    assert_array_equal(
        fl.encode(x, "e5m2", scale=1e-300, overflow="nonsaturating", rounding="toward_zero"),
        [0x7C, 0xFC, 0x7B, 0xFB, 0, 0x80],
    )


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"scale": 0.0}, ValueError, "positive"),
        ({"scale": -1.0}, ValueError, "positive"),
        ({"scale": np.nan}, ValueError, "positive"),
        ({"scale": np.inf}, ValueError, "positive"),
        ({"scale": [1.0, 0.0, 1.0], "axis": 0}, ValueError, "positive"),
        ({"scale": "1"}, TypeError, "real numbers"),
        ({"scale": True}, TypeError, "real numbers"),
        ({"scale": 1j}, TypeError, "real numbers"),
        ({"scale": [1.0, 2.0]}, ValueError, "needs axis"),
        ({"scale": [1.0, 2.0], "axis": 0}, ValueError, r"shape \(3,\)"),
        ({"scale": [[1.0, 2.0, 3.0]], "axis": 0}, ValueError, r"shape \(3,\)"),
        ({"scale": 1.0, "axis": 0}, ValueError, "one-dimensional"),
        ({"scale": [1.0] * 3, "axis": 1}, IndexError, "axis 1"),
        ({"scale": 1.0, "zero_point": 1.5}, TypeError, "integers"),
        ({"scale": 1.0, "zero_point": 128}, ValueError, "zero_point must be from -127"),
        ({"zero_point": 1}, ValueError, "needs scale"),
        ({"axis": 0}, ValueError, "axis is for"),
    ],
)
def test_bad_scales(keywords, error, message):
    x = np.ones(3, np.float32)
    with pytest.raises(error, match=message):
        fl.encode(x, "int8", **keywords)
    with pytest.raises(error, match=message):
        fl.quantize(x, "int8", **keywords)
    with pytest.raises(error, match=message):
        fl.decode(x.astype(np.int8), "int8", **keywords)


def test_zero_points_are_for_integers():
    for name in ("e4m3", "fixed_s7_8"):
        with pytest.raises(ValueError, match="integer formats"):
            fl.encode(1.0, name, scale=1.0, zero_point=0)
    with pytest.raises(ValueError, match="find their own"):
        fl.encode(np.ones(4), fl.bfp(4), scale=1.0)
