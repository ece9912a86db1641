"""Conversions, as multiples of copying the float32 array; matmul, of NumPy's float32 matmul.

Every row of the table of formats has its benchmarks.
"""

import ml_dtypes
import numpy as np
import pytest

import fmtlib as fl
from fmtlib.formats import FORMATS, STOCHASTIC, BlockFormat

SIZE = 1 << 24
BLOCKS = [name for name, fmt in FORMATS.items() if isinstance(fmt, BlockFormat)]
ELEMENTWISE = [name for name in FORMATS if name not in BLOCKS]


@pytest.fixture(scope="module")
def x():
    return np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)


@pytest.fixture(scope="module")
def y(x):
    return np.empty_like(x)


@pytest.mark.parametrize("fmt", ELEMENTWISE)
def bench_encode(compare, x, y, fmt):
    out = np.empty(SIZE, fl.get_format(fmt).code_dtype)
    compare("copyto", lambda: fl.encode(x, fmt, out=out), lambda: np.copyto(y, x))


@pytest.mark.parametrize("fmt", ELEMENTWISE)
def bench_decode(compare, x, y, fmt):
    codes = fl.encode(x, fmt)
    out = fl.decode(codes, fmt)
    compare("copyto", lambda: fl.decode(codes, fmt, out=out), lambda: np.copyto(y, x))


@pytest.mark.parametrize("fmt", [name for name in ELEMENTWISE if FORMATS[name].fits("float32")])
def bench_quantize(compare, x, y, fmt):
    out = np.empty_like(x)
    compare("copyto", lambda: fl.quantize(x, fmt, out=out), lambda: np.copyto(y, x))


@pytest.mark.parametrize("fmt", ["float8_e4m3fn", "float8_e5m2"])
def bench_encode_nonsaturating(compare, x, y, fmt):
    out = np.empty(SIZE, np.uint8)
    compare(
        "copyto",
        lambda: fl.encode(x, fmt, overflow="nonsaturating", out=out),
        lambda: np.copyto(y, x),
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64", "int64"])
def bench_encode_from(compare, x, y, dtype):
    values = x.astype(ml_dtypes.bfloat16 if dtype == "bfloat16" else dtype)
    out = np.empty(SIZE, np.uint8)
    compare("copyto", lambda: fl.encode(values, "e4m3", out=out), lambda: np.copyto(y, x))


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("fmt", ["float8_e4m3fn", "bfloat16"])
def bench_quantize_noise(compare, x, y, fmt, rounding):
    out = np.empty_like(x)
    compare(
        "copyto",
        lambda: fl.quantize(x, fmt, rounding=rounding, seed=0, out=out),
        lambda: np.copyto(y, x),
    )


@pytest.mark.parametrize("fmt", BLOCKS)
def bench_quantize_blocks(compare, x, y, fmt):
    square = x.reshape(4096, 4096)
    compare("copyto", lambda: fl.quantize(square, fmt), lambda: np.copyto(y, x))


@pytest.mark.parametrize("fmt", BLOCKS)
def bench_decode_blocks(compare, x, y, fmt):
    b = fl.encode(x.reshape(4096, 4096), fmt)
    compare("copyto", lambda: fl.decode(b), lambda: np.copyto(y, x))


@pytest.mark.parametrize("axis", [1, 0], ids=["last axis", "first axis"])
@pytest.mark.parametrize("rounding", ["nearest_even", "stochastic"])
def bench_quantize_bfp(compare, x, y, rounding, axis):
    square = x.reshape(4096, 4096)
    seed = 0 if rounding == "stochastic" else None
    compare(
        "copyto",
        lambda: fl.quantize(square, fl.bfp(4), axis=axis, rounding=rounding, seed=seed),
        lambda: np.copyto(y, x),
    )


def bench_group_bits(compare, x):
    data = (x * 1000).astype(np.int16)
    copy = np.empty_like(data)
    compare("copyto of int16", lambda: fl.group_bits(data), lambda: np.copyto(copy, data))


@pytest.mark.parametrize("m", [2, 4, 8], ids="m={}".format)
def bench_matmul(compare, m):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 1024, 1024), dtype=np.float32)
    a_blocks, b_blocks = fl.encode(a, fl.bfp(m), axis=1), fl.encode(b, fl.bfp(m), axis=0)
    compare("float32 matmul", lambda: fl.matmul(a_blocks, b_blocks), lambda: a @ b)
