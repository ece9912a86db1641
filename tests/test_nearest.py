"""The fused loops of rounding to nearest: where they begin and end, in formats and in arrays."""

import numpy as np
import pytest
from cases import DTYPES, FLOAT_NAMES, each_target, edges, overflows
from numpy.testing import assert_array_equal
from steps import expected_codes

import fmtlib as fl
from fmtlib import FloatFormat, reference
from fmtlib.formats import FORMATS

# Around each condition that lets a format take the fast way, on both sides of it: subnormals that
# are float32's own, or nearly; a magic number that overflows; no mantissa; no zero; many bits.
BOUNDARIES = [
    *(FloatFormat(8, m, bias) for m in (1, 3) for bias in (125, 126, 127, 128, 129)),
    *(FloatFormat(8, 7, bias) for bias in (126, 127, 128)),
    *(FloatFormat(6, m, bias) for m in (2, 5) for bias in range(118, 128)),
    *(FloatFormat(3, m, bias) for m in (3, 8) for bias in (-121, -117, -109, -108, -107, -101)),
    *(FloatFormat(1, m) for m in (13, 14, 15)),
    *(
        FloatFormat(8, m, bias, infinities=False, nan=nan)
        for m in (0, 2)
        for bias in (127, 128)
        for nan in ("negative_zero", "all_ones", "none")
    ),
    *(
        FloatFormat(8, m, bias, infinities=inf, nan="all_ones", signed=False, subnormals=False)
        for m in (0, 1, 5)
        for bias in (125, 126, 127, 128)
        for inf in (False, True)
    ),
    FloatFormat(8, 0, 126, infinities=False, nan="none", signed=False, subnormals=False),
    FloatFormat(4, 3, signed=False),
    FloatFormat(4, 3, signed=False, subnormals=False),
    FloatFormat(4, 3, infinities=False, nan="none", signed=False, subnormals=False),
    FloatFormat(4, 3, infinities=True, nan="negative_zero"),
    FloatFormat(4, 0, infinities=False, nan="negative_zero"),
    FloatFormat(3, 0, infinities=False, nan="none"),
    FloatFormat(1, 1, infinities=True, nan="all_ones"),
    FloatFormat(1, 2, infinities=False, nan="all_ones"),
]


@pytest.mark.parametrize("fmt", BOUNDARIES, ids=lambda fmt: fmt.name)
def test_formats_at_the_boundaries(fmt):
    values = np.array([float(reference.decode(c, fmt)) for c in range(1 << fmt.bits)])
    codes = np.arange(1 << fmt.bits, dtype=fmt.code_dtype)
    for dtype in ("float32", "float64"):
        x = edges(fmt, dtype)
        step = 1 + x.size // 20_000
        x = np.concatenate([x[::step], x[-200:], x[:200]])
        if fmt.fits(dtype):
            for target in each_target():
                decoded = fl.decode(codes, fmt, dtype=dtype)
                assert_array_equal(decoded, values, err_msg=target)
                real = ~np.isnan(values)
                assert_array_equal(np.signbit(decoded[real]), np.signbit(values[real]))
        modes = [mode for mode in fmt.overflows if mode != "raise"]
        for overflow in modes if fmt.bits <= 10 else ("saturate", "nonsaturating"):
            expected = expected_codes(x, fmt, overflow=overflow)
            for target in each_target():
                with np.errstate(invalid="ignore"):
                    found = fl.encode(x, fmt, overflow=overflow)
                    assert_array_equal(found, expected, err_msg=f"{target} {dtype} {overflow}")
                    if fmt.fits(dtype):
                        quantized = fl.quantize(x, fmt, overflow=overflow)
                        decoded = fl.decode(expected, fmt, dtype=dtype)
                        unsigned = f"u{decoded.itemsize}"
                        assert_array_equal(quantized.view(unsigned), decoded.view(unsigned))


def lengths():
    """Up to twice the widest vectors and a chunk of 512, give or take."""
    return [*range(131), *range(510, 516), 1023, 1024, 1025, 1537]


@pytest.mark.parametrize("dtype", [*DTYPES, "int8", "uint16", "int32", "int64", "uint64"])
@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2fnuz", "bfloat16", "float8_e8m0fnu"])
def test_every_length_and_start(target, name, dtype):
    """Parts of an array have the codes of the whole, and nothing beside them is written."""
    rng = np.random.default_rng(0)
    if dtype in DTYPES:
        pool = edges(name, "float32").astype(np.float64)
        with np.errstate(over="ignore", invalid="ignore"):
            x = rng.choice(pool, 1600).astype(DTYPES[dtype])
    else:
        info = np.iinfo(dtype)
        x = rng.integers(info.min, info.max, 1600, dtype)
        x >>= rng.integers(0, info.bits, 1600).astype(dtype)
    x[800:] = x[:800]
    fmt = FORMATS[name]
    verbs = ["encode"]
    if dtype in DTYPES and fmt.fits(dtype):
        verbs.append("quantize")
    with np.errstate(invalid="ignore"):
        for verb in verbs:
            function = fl.ufunc(verb, name)
            # one by one; the others twice, for the sake of time
            whole = np.empty(1600, fmt.code_dtype if verb == "encode" else x.dtype)
            for i in range(800):
                whole[i] = whole[i + 800] = function(x[i])
            bits = whole.view(f"u{whole.itemsize}")
            for n in lengths():
                start = n % 7
                out = np.full(n + 2, 77).astype(whole.dtype)
                guards = out.view(bits.dtype)[[0, -1]].copy()
                function(x[start : start + n], out=out[1:-1])
                found = out.view(bits.dtype)
                assert_array_equal(found[1:-1], bits[start : start + n])
                assert_array_equal(found[[0, -1]], guards)
            for step in (2, 3, -1, -5):
                out = np.zeros(3 * x.size, whole.dtype)[::3][: x[::step].size]
                function(x[::step], out=out)
                assert_array_equal(out.copy().view(bits.dtype), bits[::step])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [n for n in FLOAT_NAMES if FORMATS[n].fits("float32")])
def test_decoding_every_length_and_start(target, name, dtype):
    fmt = FORMATS[name]
    codes = np.random.default_rng(1).integers(0, 1 << fmt.bits, 1600).astype(fmt.code_dtype)
    function = fl.ufunc("decode", name)
    whole = np.array([function(c, dtype=dtype) for c in codes])
    assert whole.dtype == dtype
    bits = whole.view(f"u{whole.itemsize}")
    for n in lengths():
        start = n % 5
        out = np.full(n + 2, 7.0, dtype)
        function(codes[start : start + n], out=out[1:-1], dtype=dtype)
        assert_array_equal(out.view(bits.dtype)[1:-1], bits[start : start + n])
        assert out[0] == out[-1] == 7
    for step in (2, -1, -5):
        out = np.zeros(2 * codes.size, dtype)[::2][: codes[::step].size]
        function(codes[::step], out=out, dtype=dtype)
        assert_array_equal(out.copy().view(bits.dtype), bits[::step])


@pytest.mark.parametrize("name", [n for n in FLOAT_NAMES if FORMATS[n].fits("float32")])
def test_quantizing_in_place(target, name):
    x = edges(name, "float32")[:5000].copy()
    for overflow in overflows(name):
        with np.errstate(invalid="ignore"):
            expected = fl.quantize(x, name, overflow=overflow)
            y = x.copy()
            fl.ufunc("quantize", name, overflow=overflow)(y, out=y)
        assert_array_equal(y.view(np.uint32), expected.view(np.uint32))


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_nan_without_a_code_is_seen_in_every_place(target, dtype):
    for verb in ("encode", "quantize"):
        function = fl.ufunc(verb, "float6_e2m3fn")
        for place in (0, 7, 511, 512, 1000, 1036):
            x = np.ones(1037, dtype)
            with np.errstate(invalid="raise"):
                function(x)
                x[place] = np.nan
                with pytest.raises(FloatingPointError):
                    function(x)
