"""Results that go past the caches, which only those of very large arrays do by themselves."""

import numpy as np
import pytest
from cases import DTYPES
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib._core import kernels

# two chunks and a rest; not a multiple of a line
SHAPE = (5, 331)
WAYS = {
    "nearest": {},
    "away": {"rounding": "nearest_away"},
    "stochastic": {"rounding": "stochastic", "seed": 3},
    "scaled": {"scale": 0.7},
}


@pytest.fixture
def streaming():
    """Whether results are streamed, from here on."""
    yield lambda always: kernels.force_streaming(0 if always else 2**62)
    kernels.force_streaming(None)


def misaligned(shape, dtype, offset):
    """An array that starts so many bytes behind a line, between bytes that must not change."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.full(size + 192, 0xA5, np.uint8)
    start = -room.ctypes.data % 64 + offset
    return room[start : start + size].view(dtype).reshape(shape), room


def values(dtype):
    x = np.random.default_rng(0).standard_normal(SHAPE) * 100
    x[::2, ::7] = [[np.inf], [np.nan], [0.0]]
    return x.astype(dtype)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("offset", [0, 8, 17])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("fmt", ["e4m3", "bfloat16", "tf32", "int8", "fixed_s7_8"])
def test_elementwise(streaming, fmt, dtype, offset, way):
    x, record = values(dtype), fl.get_format(fmt)
    verbs = ("encode", "quantize") if record.fits(dtype) else ("encode",)
    for verb in verbs:
        to = record.code_dtype if verb == "encode" else x.dtype
        with np.errstate(invalid="ignore"):
            streaming(False)
            expected = getattr(fl, verb)(x, fmt, **WAYS[way])
            streaming(True)
            out, room = misaligned(SHAPE, to, offset)
            getattr(fl, verb)(x, fmt, out=out, **WAYS[way])
        kind = f"u{expected.itemsize}"
        assert_array_equal(out.view(kind), expected.view(kind))
        rest = np.delete(room, np.arange(out.nbytes) + out.ctypes.data - room.ctypes.data)
        assert (rest == 0xA5).all()


@pytest.mark.parametrize("offset", [0, 8, 17])
@pytest.mark.parametrize("fmt", ["e4m3", "float16", "tf32", "int8"])
def test_decode(streaming, fmt, offset):
    codes = fl.encode(np.nan_to_num(values("float32")), fmt)
    for dtype in ("float16", "float32", "float64"):
        if fl.get_format(fmt).fits(dtype):
            streaming(False)
            expected = fl.decode(codes, fmt, dtype=dtype)
            streaming(True)
            out, _ = misaligned(SHAPE, dtype, offset)
            fl.decode(codes, fmt, out=out)
            assert_array_equal(out, expected)


@pytest.mark.parametrize("fmt", ["bfp_m4_e8_g16", "bfp_m16_e8_g16", "mxfp8_e4m3", "nvfp4", "smx6"])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_blocks(streaming, fmt, axis, dtype):
    x = np.nan_to_num(values(dtype), posinf=3)
    found = []
    for always in (False, True):
        streaming(always)
        b = fl.encode(x, fmt, axis=axis)
        out, _ = misaligned(SHAPE, x.dtype, 17)
        if b.format.fits(dtype):
            fl.quantize(x, fmt, axis=axis, out=out)
        decoded = [fl.decode(b, dtype=to) for to in ("float32", "float64")]
        found.append((b.codes, b.scales, out.view(f"u{out.itemsize}"), *decoded))
    for one, other in zip(*found, strict=True):
        assert_array_equal(one, other)


def test_in_place(streaming):
    x = np.nan_to_num(values("float32"))
    for fmt in ("e4m3", "bfp_m4_e8_g16"):
        streaming(True)
        y = x.copy()
        fl.quantize(y, fmt, out=y)
        streaming(False)
        assert_array_equal(y, fl.quantize(x, fmt))
