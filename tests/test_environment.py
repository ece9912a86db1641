"""Results do not depend on the calling thread's rounding direction, flush-to-zero or flags."""

from __future__ import annotations

import ctypes
import ctypes.util
import platform
import sys
from collections.abc import Iterator

import numpy as np
import pytest

import fmtlib as fl

# <fenv.h> of glibc
TOWARD_ZERO = {"x86_64": 0xC00, "aarch64": 0xC00000}


@pytest.fixture
def toward_zero() -> Iterator[None]:
    if not sys.platform.startswith("linux") or platform.machine() not in TOWARD_ZERO:
        pytest.skip("knows the constants of <fenv.h> for Linux on x86-64 and arm64 only")
    libm = ctypes.CDLL(ctypes.util.find_library("m"))
    before = libm.fegetround()
    assert libm.fesetround(TOWARD_ZERO[platform.machine()]) == 0
    yield
    libm.fesetround(before)


VALUES = np.random.default_rng(0).standard_normal((64, 64), dtype=np.float32)
# Not NVFP4: the scale of its whole tensor is a quotient that NumPy takes.
TASKS = {
    "encode": lambda: fl.encode(VALUES, "e4m3"),
    "quantize float64": lambda: fl.quantize(VALUES.astype(np.float64) / 3, "e5m2"),
    "scaled": lambda: fl.encode(VALUES, "int8", scale=0.01),
    "longdouble": lambda: fl.encode(VALUES.astype(np.longdouble) / 3, "bfloat16"),
    "decode": lambda: fl.decode(fl.encode(VALUES, "int8", scale=0.01), "int8", scale=0.01),
    "bfp": lambda: fl.quantize(VALUES, fl.bfp(4)),
    "mxfp8": lambda: fl.quantize(VALUES, "mxfp8_e4m3"),
    "stochastic": lambda: fl.quantize(VALUES, fl.bfp(4), rounding="stochastic", seed=0),
    "matmul": lambda: fl.matmul(
        fl.encode(VALUES, fl.bfp(7), axis=1), fl.encode(VALUES, fl.bfp(7), axis=0)
    ),
    "float32 matmul": lambda: fl.matmul(
        *[fl.encode(VALUES, "e4m3")] * 2, formats=("e4m3", "e4m3"), accumulator="float32"
    ),
    "tensor core": lambda: fl.matmul(
        *[fl.encode(VALUES, "e4m3")] * 2, formats=("e4m3", "e4m3"), accumulator="hopper"
    ),
}
EXPECTED = {name: task() for name, task in TASKS.items()}


@pytest.mark.parametrize("name", TASKS)
def test_the_callers_rounding_direction_does_not_matter(name, toward_zero):
    np.testing.assert_array_equal(TASKS[name](), EXPECTED[name])
    one_third = np.float32([1.0]) / np.float32([3.0])
    assert one_third.view(np.uint32)[0] == 0x3EAAAAAA  # truncated: the direction is as it was


@pytest.mark.parametrize("name", ["encode", "quantize float64", "bfp", "mxfp8"])
def test_nan_and_infinity_raise_no_floating_point_error_of_their_own(name):
    specials = np.float32([np.nan, np.inf, -np.inf, 1e-45, 3e38] * 20)
    signalling = np.uint32([0x7F800001, 0xFFBFFFFF] * 16).view(np.float32)
    fmt = {"encode": "e4m3", "quantize float64": "e5m2", "bfp": fl.bfp(4), "mxfp8": "mxfp8_e4m3"}
    with np.errstate(all="raise"):
        for x in (specials, signalling):
            fl.quantize(x, fmt[name])
