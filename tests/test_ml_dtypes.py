"""ml_dtypes defines the same formats: its non-saturating, nearest-even casts are ours."""

import ml_dtypes
import numpy as np
import pytest
from cases import FLOAT_NAMES, all_16_bit
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.formats import FORMATS

# Where ml_dtypes differs: E8M0 ties go up and 0 has no code; float64 is rounded twice; NaN into
# formats without NaN.  See the docstrings of `fmtlib.encode` and the reference for ours.
SAME = [
    name
    for name in FLOAT_NAMES
    if name != "float8_e8m0fnu" and (name == "float16" or hasattr(ml_dtypes, name))
]


def their_codes(x, name):
    dtype = np.dtype(np.float16 if name == "float16" else getattr(ml_dtypes, name))
    with np.errstate(all="ignore"):
        return x.astype(dtype).view(FORMATS[name].code_dtype)


def check(x, name, record_property):
    record_property("inputs", x.size)
    with np.errstate(invalid="ignore"):
        ours = fl.encode(x, name, overflow="nonsaturating")
    theirs = their_codes(x, name)
    with np.errstate(invalid="ignore"):  # signalling NaN of bfloat16
        nan = np.isnan(x)
    assert_array_equal(ours[~nan], theirs[~nan])
    if FORMATS[name].nan_code is not None:
        assert np.isnan(fl.decode(ours, name)[nan]).all()
    if name in ("float8_e4m3fn", "float8_e5m2"):
        assert_array_equal(ours, theirs)  # to the sign of NaN


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", SAME)
def test_every_16_bit_input(target, name, dtype, record_property):
    if (name, dtype) == ("float16", "bfloat16"):
        x = all_16_bit(dtype)
        with np.errstate(all="ignore"):
            assert_array_equal(
                fl.encode(x, name, overflow="nonsaturating")[~np.isnan(x)],
                their_codes(x.astype(np.float32), name)[~np.isnan(x)],
            )
        return
    check(all_16_bit(dtype), name, record_property)


@pytest.mark.parametrize("millions", [1, pytest.param(20, marks=pytest.mark.exhaustive)])
@pytest.mark.parametrize("name", SAME)
def test_random_float32(target, name, millions, record_property):
    rng = np.random.default_rng([FLOAT_NAMES.index(name), millions])
    for _ in range(millions):
        x = rng.integers(0, 2**32, 1_000_000, np.uint32).view(np.float32)
        check(x, name, record_property)


@pytest.mark.parametrize("name", [*SAME, "float8_e8m0fnu"])
def test_every_code_decodes_alike(target, name):
    fmt = FORMATS[name]
    codes = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    dtype = np.dtype(np.float16 if name == "float16" else getattr(ml_dtypes, name))
    theirs = codes.view(dtype)
    with np.errstate(invalid="ignore"):
        assert_array_equal(fl.decode(codes, name), theirs.astype(np.float32))


def test_e8m0_ties_differ_by_name_only():
    x = np.abs(np.random.default_rng(0).integers(0, 2**31, 100_000, np.uint32).view(np.float32))
    x = np.concatenate([x, 1.5 * 2.0 ** np.arange(-126, 127, dtype=np.float32)]).astype("f4")
    x = x[np.isfinite(x) & (x >= 2.0**-126)]  # below, ml_dtypes 0.6 errs for subnormal inputs
    name = "float8_e8m0fnu"
    assert_array_equal(
        fl.encode(x, name, rounding="nearest_away", overflow="nonsaturating"), their_codes(x, name)
    )
    ties = np.float32([1.5, 3.0, 6.0])
    assert_array_equal(fl.encode(ties, name), [128, 128, 130])  # to the even code
