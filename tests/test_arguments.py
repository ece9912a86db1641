"""What bad arguments get: the standard exception, saying what was given and what is allowed."""

import re
from functools import partial

import numpy as np
import pytest

import fmtlib as fl

X = np.ones((4, 20), np.float32)
FORMATS = ["e4m3", "fixed_s7_8", "int8", fl.bfp(4)]


@pytest.mark.parametrize("verb", [fl.encode, fl.quantize])
@pytest.mark.parametrize("fmt", FORMATS, ids=str)
@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"rounding": "nearest"}, ValueError, "nearest_even, .* got 'nearest'"),
        ({"rounding": None}, ValueError, "got None"),
        ({"overflow": "clip"}, ValueError, "saturate, nonsaturating, .* got 'clip'"),
        ({"seed": 1}, ValueError, "stochastic"),
        ({"random_bits": 8}, ValueError, "stochastic"),
        ({"rounding": "stochastic", "seed": -1}, ValueError, "from 0 to"),
        ({"rounding": "stochastic", "seed": 2**64}, ValueError, "from 0 to"),
        ({"rounding": "stochastic", "seed": 1.5}, TypeError, "integer"),
        ({"rounding": "stochastic", "seed": True}, TypeError, "integer"),
        ({"rounding": "stochastic", "seed": (1, 2, 3)}, TypeError, "pair"),
        ({"rounding": "stochastic", "random_bits": 0}, ValueError, "from 1 to 32"),
        ({"rounding": "stochastic", "random_bits": 33}, ValueError, "from 1 to 32"),
        ({"rounding": "stochastic", "random_bits": 8.0}, TypeError, "integer"),
        ({"workers": 0}, ValueError, "at least 1"),
        ({"workers": -2}, ValueError, "at least 1"),
        ({"workers": 1.5}, TypeError, "integer"),
    ],
)
def test_modes(verb, fmt, keywords, error, message):
    with pytest.raises(error, match=message):
        verb(X, fmt, **keywords)


@pytest.mark.parametrize("verb", [fl.encode, fl.quantize])
@pytest.mark.parametrize("fmt", FORMATS[:3], ids=str)
def test_where_and_out(verb, fmt):
    with pytest.raises(ValueError, match="where needs out"):
        verb(X, fmt, where=X > 0)
    with pytest.raises(ValueError, match="where needs out"):
        verb(X, fmt, where=X > 0, scale=0.5)
    dtype = np.float32 if verb is fl.quantize else fl.get_format(fmt).code_dtype
    with pytest.raises(ValueError, match=r"shape|broadcast"):
        verb(X, fmt, out=np.empty((4, 21), dtype))
    for out in (np.empty(X.shape, np.float64), np.empty(X.shape, "S4"), [0], np.ma.array(X)):
        with pytest.raises(TypeError, match="out must"):
            verb(X, fmt, out=out)


@pytest.mark.parametrize(
    ("fmt", "overflow", "allowed"),
    [
        ("e4m3", "wrap", "saturate, nonsaturating, raise"),
        ("fixed_s7_8", "nonsaturating", "saturate, wrap, raise"),
        ("uint8", "p3109_none", "saturate, wrap, raise"),
        ("int8", "wrap", "saturate, raise"),  # no code for -128, so no modulus
        (fl.bfp(4), "raise", "saturate"),
    ],
    ids=str,
)
def test_overflow_modes_without_meaning(fmt, overflow, allowed):
    for verb in (fl.encode, fl.quantize):
        with pytest.raises(ValueError, match=f"no meaning for .*: {allowed}"):
            verb(X, fmt, overflow=overflow)


def test_masked_arrays():
    for fmt in FORMATS:
        with pytest.raises(TypeError, match="masked"):
            fl.encode(np.ma.array(X), fmt)
        with pytest.raises(TypeError, match="masked"):
            fl.quantize(np.ma.array(X), fmt)
    with pytest.raises(TypeError, match="masked"):
        fl.decode(np.ma.array(np.zeros(3, np.uint8)), "e4m3")


def test_blocks():
    for keywords in ({"out": np.empty(X.shape, np.uint8)}, {"where": X > 0}):
        with pytest.raises(TypeError, match="neither out nor where"):
            fl.encode(X, fl.bfp(4), **keywords)
    with pytest.raises(ValueError, match="where needs out"):
        fl.quantize(X, fl.bfp(4), where=X > 0)
    for axis in (2, -3):
        with pytest.raises(IndexError, match=f"axis {axis}"):
            fl.encode(X, fl.bfp(4), axis=axis)
    for axis in (1.0, True, (0, 1)):
        with pytest.raises(TypeError, match="axis must be an integer"):
            fl.encode(X, fl.bfp(4), axis=axis)
    for verb in (fl.encode, fl.quantize):
        with pytest.raises(ValueError, match="at least one dimension"):
            verb(np.float32(1), fl.bfp(4))
    out = np.zeros_like(X)
    assert fl.quantize(X, fl.bfp(4), out=out, where=np.eye(4, 20, dtype=bool)) is out
    assert out.sum() == 4
    with pytest.raises(ValueError, match="out must have shape"):
        fl.quantize(X, fl.bfp(4), out=np.zeros(3, np.float32))


def test_a_block_longer_than_the_axis_is_a_short_block():
    b = fl.encode(X, fl.bfp(4, block_size=64), axis=0)
    assert b.scales.shape == (1, 20)
    np.testing.assert_array_equal(fl.decode(b), X)


def test_decode():
    codes = fl.encode(X, "e4m3")
    b = fl.encode(X, fl.bfp(4))
    for call, error, message in (
        (lambda: fl.decode(codes), TypeError, "needs the format"),
        (lambda: fl.decode(codes.astype(int), "e4m3"), TypeError, "are uint8"),
        (lambda: fl.decode(X, "e4m3"), TypeError, "are uint8"),
        (lambda: fl.decode(codes, fl.bfp(4)), TypeError, "BlockArray"),
        (lambda: fl.decode(codes, "e4m3", dtype=np.int32), TypeError, "float16, bfloat16"),
        (lambda: fl.decode(np.uint8([64]), "float6_e2m3fn"), ValueError, "from 0 to 63, got 64"),
        (lambda: fl.decode(np.uint8([16]), "e2m1"), ValueError, "from 0 to 15, got 16"),
        (lambda: fl.decode(np.int8([-128]), "int8"), ValueError, "got -128"),
        (lambda: fl.decode(np.int8([8]), "int4"), ValueError, "got 8"),
        (lambda: fl.decode(codes, "e4m3", out=np.empty(3, np.float32)), ValueError, "shape|broad"),
        (lambda: fl.decode(codes, "e4m3", out=np.empty(codes.shape, int)), TypeError, "dtype must"),
        (lambda: fl.decode(codes, "e4m3", out=np.empty(codes.shape), dtype="f4"), TypeError, "out"),
        (lambda: fl.decode(codes, "e4m3", out=[0.0]), TypeError, "out must be an ndarray"),
        (lambda: fl.decode(b, "e4m3"), ValueError, "is in bfp_m4"),
        (lambda: fl.decode(b, scale=1.0), ValueError, "its own scales"),
        (lambda: fl.decode(b, dtype=np.float16), TypeError, "bfloat16 is the smallest"),
    ):
        with pytest.raises(error, match=message):
            call()
    out = np.empty(X.shape, np.float16)
    assert fl.decode(codes, "e4m3", out=out) is out
    np.testing.assert_array_equal(out, X)
    out = np.empty(X.shape, np.float64)
    assert fl.decode(b, out=out) is out
    np.testing.assert_array_equal(out, X)
    assert fl.decode(codes, "e4m3", out=np.empty(X.shape, np.float32)).dtype == np.float32


def test_ufunc_arguments():
    for call, error, message in (
        (lambda: fl.ufunc("round", "e4m3"), ValueError, "encode, decode, quantize"),
        (lambda: fl.ufunc("encode", "e9m9"), ValueError, "unknown format"),
        (lambda: fl.ufunc("encode", fl.bfp(4)), TypeError, "not elementwise"),
        (lambda: fl.ufunc("encode", "e4m3", rounding="floor"), ValueError, "got 'floor'"),
        (lambda: fl.ufunc("decode", "e4m3", rounding="up"), ValueError, "exact"),
        (lambda: fl.ufunc("encode", fl.bfp(4).element), ValueError, "elements of blocks"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("shape", [(0,), (0, 3), (3, 0), ()])
def test_empty_and_0d(shape):
    for fmt in FORMATS[:3]:
        codes = fl.encode(np.ones(shape, np.float32), fmt)
        assert np.shape(codes) == shape
        assert np.shape(fl.decode(codes, fmt)) == shape
        stochastic = fl.encode(np.ones(shape, np.float32), fmt, rounding="stochastic", seed=1)
        assert np.shape(stochastic) == shape


@pytest.mark.parametrize("given", [{}, {"scale": 2.0}, {"scale": 2.0, "workers": 2}])
@pytest.mark.parametrize("shape", [(4, 31), (2, 4, 32), (4, 1), (32,), ()])
def test_out_of_another_shape(given, shape):
    x = np.ones((4, 32), np.float32)
    codes, coded = fl.encode(x, "e4m3"), fl.encode(x, "mxfp8_e4m3")
    calls = [
        (partial(fl.encode, x, "e4m3", **given), np.uint8),
        (partial(fl.quantize, x, "e4m3", **given), np.float32),
        (partial(fl.decode, codes, "e4m3", **given), np.float32),
        (partial(fl.encode, x, "e4m3", rounding="stochastic", seed=1, **given), np.uint8),
        (partial(fl.encode, x, "e4m3", overflow="raise", **given), np.uint8),
    ]
    if not given:
        calls += [
            (partial(fl.convert, codes, "e4m3", "e5m2"), np.uint8),
            (partial(fl.quantize, x, "mxfp8_e4m3"), np.float32),
            (partial(fl.decode, coded), np.float32),
        ]
    for call, dtype in calls:
        out = np.full(shape, 7, dtype)
        message = f"out must have shape (4, 32), got {shape}"
        with pytest.raises(ValueError, match=re.escape(message)):
            call(out=out)
        assert (out == 7).all()
        assert call(out=(whole := np.empty((4, 32), dtype))) is whole
    message = f"out must have dtype uint8 and shape (4, 32), got float32 and {shape}"
    with pytest.raises(TypeError, match=re.escape(message)):
        fl.encode(x, "e4m3", out=np.empty(shape, np.float32), **given)
    with pytest.raises(TypeError, match=r"out's dtype must be one of float16, .*, got uint8"):
        fl.decode(codes, "e4m3", out=np.empty(shape, np.uint8), **given)
