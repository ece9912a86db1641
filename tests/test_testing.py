"""fmtlib.testing: strategies yield what they claim, assertions fail when they must."""

import importlib.metadata
import math
import os
import subprocess
import sys
import tomllib
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import get_args

import ml_dtypes
import numpy as np
import pytest
from cases import DETERMINISTIC, DTYPES, all_16_bit
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st

import fmtlib as fl
from fmtlib import assertions, reference, testing
from fmtlib.formats import (
    FORMATS,
    OVERFLOWS,
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    IntegerFormat,
    ScaleRule,
)

ROOT = Path(__file__).parents[1]
RECORDS = {
    "float": FloatFormat,
    "fixed": FixedFormat,
    "integer": IntegerFormat,
    "block": BlockFormat,
}
MAKERS = {
    "float": testing.float_formats,
    "fixed": testing.fixed_formats,
    "integer": testing.integer_formats,
    "block": testing.block_formats,
}
few = settings(max_examples=50)
ELEMENTWISE = ("float", "fixed", "integer")
INTEGER_DTYPES = ("int64", "uint8")


def draws(strategy, count=400):
    """What a strategy gives in a run of so many examples: always the same, but for constants of the
    modules imported so far, which Hypothesis tries, too.
    """
    found = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, derandomize=True)
    @given(strategy)
    def collect(x):
        found.append(x)

    collect()
    return found


@cache
def values_of(name, dtype):
    return draws(testing.values(name, DTYPES.get(dtype, dtype)), 1000)


def simplest(strategy, condition=lambda _: True):
    return find(strategy, condition, settings=settings(database=None, derandomize=True))


# --- formats --------------------------------------------------------------------------------


@given(st.sampled_from(list(RECORDS)), st.sampled_from([None, True, False]), st.data())
def test_formats_are_of_the_kind_and_width_asked_for(kind, named, data):
    low = data.draw(st.integers(2, 5))
    high = data.draw(st.integers(8, 20))
    for strategy in (MAKERS[kind](low, high, named), testing.formats(kind, low, high, named)):
        fmt = data.draw(strategy)
        assert isinstance(fmt, RECORDS[kind])
        assert low <= fmt.bits <= high
        assert fl.get_format(fmt.name) == fmt
        if named is not None:
            assert (fmt in FORMATS.values()) == named


@few
@given(testing.formats())
def test_every_format_encodes(fmt):
    x = np.array([1.0, -0.0, 3.25])
    if isinstance(fmt, BlockFormat):
        assert fl.decode(fl.encode(x.reshape(1, 3), fmt)).shape == (1, 3)
    else:
        assert fl.decode(fl.encode(x, fmt), fmt).shape == x.shape


@pytest.mark.parametrize("kind", RECORDS)
def test_every_row_turns_up(kind):
    keywords = {"max_block_size": 10**4} if kind == "block" else {}
    found = set(draws(MAKERS[kind](named=True, **keywords), 500))
    assert found >= {fmt for fmt in FORMATS.values() if isinstance(fmt, RECORDS[kind])}


FACTS = {
    "infinities": lambda f: f.infinities,
    "no NaN": lambda f: f.nan == "none",
    "all-ones NaN": lambda f: f.nan == "all_ones",
    "negative-zero NaN": lambda f: f.nan == "negative_zero",
    "IEEE NaN": lambda f: f.nan == "ieee",
    "infinities without IEEE NaN": lambda f: f.infinities and f.nan == "negative_zero",
    "unsigned": lambda f: not f.signed,
    "without zero": lambda f: not f.subnormals,
    "no mantissa": lambda f: f.mantissa_bits == 0,
    "one exponent bit": lambda f: f.exponent_bits == 1,
    "many exponent bits": lambda f: f.exponent_bits == 10,
    "another bias": lambda f: f.bias != 2 ** (f.exponent_bits - 1) - 1,
    "tiny values": lambda f: f.quantum_exponent < -900,
    "huge values": lambda f: f.max_exponent > 900,
    "subnormal float32 values": lambda f: f.quantum_exponent < -126,
    "19 bits": lambda f: f.bits == 19,
}


def test_run_time_float_formats_have_every_fact():
    found = draws(testing.float_formats(named=False))
    assert [fact for fact, holds in FACTS.items() if not any(map(holds, found))] == []


def test_run_time_formats_have_every_fact():
    fixed = draws(testing.fixed_formats(named=False))
    assert {f.bits for f in fixed} == set(range(1, 33))
    assert {f.signed for f in fixed} == {True, False}
    assert min(f.integer_bits for f in fixed) == min(f.fraction_bits for f in fixed) == 0
    assert {f.encoding for f in fixed} == {"twos_complement"}
    integers = draws(testing.integer_formats(named=False), 500)
    assert {(f.signed, f.symmetric) for f in integers} == {
        (True, True), (True, False), (False, False)
    }  # fmt: skip
    assert {f.bits for f in integers} >= {1, 3, 15}
    blocks = draws(testing.block_formats(named=False), 500)
    assert {f.carry for f in blocks} == {"saturate", "bump"}
    assert {f.nonfinite for f in blocks} == {"nan", "raise"}
    assert {f.block_size for f in blocks} >= {1, 2, 3, (1, 1), (1, 2), (2, 1)}
    assert {f.scale_rule for f in blocks} == set(get_args(ScaleRule))
    assert {type(f.element) for f in blocks} == {FloatFormat, FixedFormat}
    assert {f.element.encoding for f in blocks if isinstance(f.element, FixedFormat)} == {
        "sign_magnitude", "twos_complement"
    }  # fmt: skip
    assert {f.tensor_scale for f in blocks} == {True, False}
    assert len({f.micro_size for f in blocks}) > 2


def test_formats_shrink_to_known_and_plain_ones():
    assert simplest(testing.formats()).name == "float8_e4m3fn"
    assert simplest(testing.formats(("integer", "float"))) == next(
        fmt for fmt in FORMATS.values() if isinstance(fmt, IntegerFormat)
    )
    plain = simplest(testing.float_formats(named=False, min_bits=7, max_bits=7))
    assert plain.signed
    assert plain.bias == 2 ** (plain.exponent_bits - 1) - 1
    block = simplest(testing.block_formats(named=False))
    assert (block.mantissa_bits, block.exponent_bits, block.block_size) == (1, 2, 1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: testing.formats("complex"), "kinds must be of float, fixed, integer, block"),
        (lambda: testing.formats(()), "kinds must be of"),
        (lambda: testing.formats("integer", 40), "no integer format of 40 to 64 bits"),
        (lambda: testing.float_formats(1, 3, named=True), "no float format of 1 to 3 bits"),
        (lambda: testing.formats(min_bits=8, max_bits=7), "max_bits must be at least 8"),
        (lambda: testing.block_formats(max_block_size=0), "max_block_size must be at least 1"),
        (lambda: testing.arrays("e4m3", layouts=("diagonal",)), "layouts must be of C, F"),
        (lambda: testing.formats("nonesuch"), "kinds"),
        (lambda: testing.values("nonesuch"), "unknown format"),
    ],
)
def test_wrong_values_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: testing.values("e4m3", "complex64"), "dtype must be one of float16"),
        (lambda: testing.values("e4m3", bool), "dtype must be one of float16"),
        (lambda: testing.blocks("e4m3"), "no block format"),
        (lambda: testing.block_arrays("int8"), "no block format"),
        (lambda: testing.formats(min_bits=1.5), "min_bits must be an integer"),
    ],
)
def test_wrong_types_are_refused(make, message):
    with pytest.raises(TypeError, match=message):
        make()


# --- modes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", FORMATS)
def test_modes_are_those_that_encode_takes(name):
    x = np.zeros((1, 1))
    taken = {mode for mode in ROUNDINGS if accepts(x, name, rounding=mode)}
    assert set(draws(testing.roundings(name, False), 200)) == taken
    deterministic = {mode for mode in taken if mode not in STOCHASTIC}
    assert set(draws(testing.roundings(name), 200)) == deterministic
    taken = {mode for mode in OVERFLOWS if accepts(x, name, overflow=mode)}
    assert set(draws(testing.overflows(name, raising=True), 200)) == taken
    assert set(draws(testing.overflows(name), 200)) == taken - {"raise"}


@few
@given(testing.formats(), st.data())
def test_drawn_modes_are_accepted(fmt, data):
    rounding = data.draw(testing.roundings(fmt))
    assert rounding not in STOCHASTIC
    overflow = data.draw(testing.overflows(fmt))
    assert overflow != "raise"
    assert accepts(np.zeros((1, 1)), fmt, rounding=rounding, overflow=overflow)


def accepts(x, fmt, **mode):
    try:
        fl.encode(x, fmt, **mode)
    except ValueError:
        return False
    return True


# --- codes ----------------------------------------------------------------------------------


@few
@given(testing.formats(), st.booleans(), st.booleans(), st.data())
def test_codes_are_codes(fmt, nan, infinity, data):
    code = data.draw(testing.codes(fmt, nan=nan, infinity=infinity))
    array = data.draw(testing.code_arrays(fmt, nan=nan, infinity=infinity))
    assert array.dtype == fmt.code_dtype
    if isinstance(fmt, BlockFormat):
        assert 0 <= code < 2**fmt.bits
        return
    values = fl.decode(np.append(array, np.array(code, fmt.code_dtype)), fmt)  # refuses others
    assert nan or not np.isnan(values).any()
    assert infinity or not np.isinf(values).any()


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e5m2fnuz", "bfloat16", "fixed_s15_16"])
def test_codes_reach_the_special_ones(name):
    fmt = FORMATS[name]
    codes = testing.codes(name)
    if isinstance(fmt, FloatFormat):
        wanted = [0, fmt.max_code, fmt.max_code | fmt.sign_bit, fmt.nan_code, 1]
        wanted += [fmt.inf_code] if fmt.infinities else []
    else:
        wanted = [0, 1, fmt.max_integer, fmt.min_integer]
    assert set(draws(codes)) >= set(wanted)
    assert simplest(codes) == 0


# --- values ---------------------------------------------------------------------------------


def bits_of(x):
    return int(np.asarray(x).view(f"u{x.itemsize}"))


def beside(x, toward):
    return np.nextafter(x, np.asarray(toward, x.dtype))


# Of E4M3, whose values and midpoints all dtypes hold, with their neighbours.
CLASSES = {
    "zero": lambda x: x == 0 and not np.signbit(x),
    "-0.0": lambda x: x == 0 and np.signbit(x),
    "a value": lambda x: x in GRID and x,
    "minus a value": lambda x: -x in GRID and x,
    "a midpoint": lambda x: x in MIDDLES,
    "a subnormal value": lambda x: 0 < x < 2.0**-6 and x in GRID,
    "a midpoint of subnormal values": lambda x: x < 2.0**-6 and x in MIDDLES,
    "half the least value": lambda x: x == 2.0**-10,
    "1 ulp above a value": lambda x: x > 0 and beside(x, 0) in GRID and x not in GRID,
    "1 ulp below a value": lambda x: x > 0 and beside(x, 1e4) in GRID and x not in GRID,
    "1 ulp above a midpoint": lambda x: x > 0 and beside(x, 0) in MIDDLES,
    "1 ulp below a midpoint": lambda x: x > 0 and beside(x, 1e4) in MIDDLES,
    "the greatest value": lambda x: x == 448,
    "1 ulp above the greatest value": lambda x: x > 448 and beside(x, 0) == 448,
    "the overflow threshold": lambda x: x == 464,
    "1 ulp above the threshold": lambda x: x > 464 and beside(x, 0) == 464,
    "1 ulp below the threshold": lambda x: x < 464 and beside(x, 1e4) == 464,
    "the first value beyond": lambda x: x == 480,
    "elsewhere between values": lambda x: (
        0.25 < x < 448
        and not any(n in GRID or n in MIDDLES for n in (x, beside(x, 0), beside(x, 1e4)))
    ),
    "the least of the dtype": lambda x: bits_of(x) == 1,
    "a subnormal of the dtype": lambda x: bits_of(x) > 3 and x < INFO[x.dtype.name].tiny,
    "the least normal of the dtype": lambda x: x == INFO[x.dtype.name].tiny,
    "the greatest of the dtype": lambda x: x == INFO[x.dtype.name].max,
    "huge": lambda x: 1e4 < x < INFO[x.dtype.name].max,
    "infinity": lambda x: x == np.inf,
    "the default NaN": lambda x: np.isnan(x) and bits_of(x) == bits_of(x.dtype.type(np.nan)),
    "quiet NaN with a payload": lambda x: np.isnan(x) and is_quiet(x) and bits_of(x) & 0b11,
    "signalling NaN": lambda x: np.isnan(x) and not is_quiet(x),
}
E4M3 = FORMATS["float8_e4m3fn"]
GRID = {float(reference.decode(code, E4M3)) for code in range(E4M3.max_code + 1)}
MIDDLES = {(a + b) / 2 for a, b in zip(sorted(GRID), sorted(GRID)[1:], strict=False)}
INFO = {name: ml_dtypes.finfo(dtype) for name, dtype in DTYPES.items()}


def is_quiet(x):
    return bool(bits_of(x) >> (INFO[x.dtype.name].nmant - 1) & 1)


@pytest.mark.parametrize("dtype", DTYPES)
def test_values_reach_every_class(dtype):
    # so many that which modules were imported before makes no difference
    found = draws(testing.values("float8_e4m3fn", DTYPES[dtype]), 3000)
    assert {x.dtype for x in found} == {DTYPES[dtype]}
    found = [*found, *(-x for x in found if x)]  # of what is not zero either sign will do
    with np.errstate(all="ignore"):  # comparisons of signalling NaN
        missing = [what for what, holds in CLASSES.items() if not any(map(holds, found))]
    assert missing == []


@pytest.mark.parametrize("name", ["fixed_s15_16"])
def test_values_of_other_grids(name):
    fmt = FORMATS[name]
    found = {x for x in values_of(name, "float64") if np.isfinite(x)}
    steps = {0.5, 1, 1.5}
    for k in (fmt.max_integer, -fmt.min_integer):
        steps |= {k - 0.5, k, k + 0.5, k + 1} if k else set()
    for step in steps:
        point = np.float64(step * 2.0**fmt.quantum_exponent)
        assert found & {point, -point}
        neighbours = {beside(point, 0), beside(point, 1e9)}
        assert found & {*neighbours, *(-x for x in neighbours)}


@pytest.mark.parametrize("dtype", INTEGER_DTYPES)
def test_integer_values(dtype):
    name = "bfloat16"
    found = values_of(name, dtype)
    assert {x.dtype for x in found} == {np.dtype(dtype)}
    info = np.iinfo(dtype)
    top = min(int(FORMATS[name].max), info.max)
    wanted = {0, 1, info.min, info.max, info.max - 1, top, min(top + 1, info.max)}
    assert {int(x) for x in found} >= wanted


def test_integer_values_find_double_rounding():
    """Midpoints that int64 meets exactly, or misses by one: float64 cannot tell."""
    bfloat16 = FORMATS["bfloat16"]
    assert any(
        reference.encode(Fraction(int(x)), bfloat16) != reference.encode(float(x), bfloat16)
        for x in values_of("bfloat16", "int64")
    )


@few
@given(testing.formats(ELEMENTWISE), st.sampled_from([*DTYPES, *INTEGER_DTYPES]), st.data())
def test_values_leave_out_what_is_not_wanted(fmt, dtype, data):
    x = data.draw(testing.values(fmt, dtype, nan=False, infinity=False))
    assert math.isfinite(x)
    assert x.dtype == DTYPES.get(dtype, dtype)
    x = data.draw(testing.values(fmt, dtype, nan=False, in_range=True))
    exact = Fraction(int(x)) if dtype in INTEGER_DTYPES else Fraction(float(x))
    assert abs(exact) <= Fraction(fmt.max)
    assert x >= 0 or fmt.signed


@few
@given(testing.formats(), st.data())
def test_values_by_default_are_of_the_dtype_that_decode_gives(fmt, data):
    x = data.draw(testing.values(fmt))
    assert x.dtype == ("float32" if fmt.fits("float32") else "float64")


@pytest.mark.parametrize("name", ["bfloat16", "float8_e8m0fnu", "int8", "bfp_m4_e8_g16"])
def test_values_shrink_to_zero(name):
    x = simplest(testing.values(name))
    assert bits_of(x) == 0


# --- arrays ---------------------------------------------------------------------------------

LAYOUTS = {
    "0-d": lambda x: x.ndim == 0,
    "empty": lambda x: x.size == 0,
    "C": lambda x: x.flags.c_contiguous and x.ndim == 2 and x.size > 1,
    "F": lambda x: x.flags.f_contiguous and x.ndim > 1,
    "negative strides": lambda x: x.size > 1 and min(x.strides) < 0,
    "gaps": lambda x: x.size > 1 and x.ndim and x.strides[-1] == 2 * x.itemsize,
    "broadcast": lambda x: x.size > 1 and x.ndim and x.strides[0] == 0,
    "read-only": lambda x: x.size and x.flags.c_contiguous and not x.flags.writeable,
    "NaN beside numbers": lambda x: 0 < np.isnan(x).sum() < x.size,
}


@pytest.mark.parametrize("name", ["e4m3", "bfp_m4_e8_g16"])
def test_arrays_reach_every_layout(name):
    found = draws(testing.arrays(name), 250)
    missing = [what for what, holds in LAYOUTS.items() if not any(map(holds, found))]
    assert missing == (["0-d"] if name != "e4m3" else [])  # blocks need an axis


@few
@given(testing.formats(), st.sampled_from(list(DTYPES)), st.data())
def test_arrays_are_as_asked_for(fmt, dtype, data):
    shape = data.draw(st.sampled_from([3, (2, 3), (0, 2), (4, 1, 2)]))
    x = data.draw(testing.arrays(fmt, DTYPES[dtype], shape, nan=False, infinity=False))
    assert x.dtype == DTYPES[dtype]
    assert x.shape == (shape if isinstance(shape, tuple) else (shape,))
    assert np.isfinite(x).all()


@few
@given(testing.arrays("e4m3", layouts=("F", "C"), shape=(3, 2)))
def test_only_the_layouts_asked_for(x):
    assert x.flags.contiguous or x.flags.f_contiguous
    assert x.flags.writeable


def test_arrays_shrink_to_short_plain_zeros():
    assert simplest(testing.arrays("e4m3")).size == 0
    x = simplest(testing.arrays("e4m3"), lambda x: x.size > 2)
    assert x.size == 3
    assert not x.view("u4").any()
    assert x.flags.c_contiguous
    assert x.flags.writeable


def test_the_layout_of_a_failing_example_is_told():
    @settings(database=None)
    @given(testing.arrays("e4m3", shape=(2, 3), layouts=("C", "reversed")))
    def fails(x):
        assert min(x.strides) >= 0

    with pytest.raises(AssertionError) as caught:
        fails()
    assert "layout: reversed, strides (-12, -4)" in "\n".join(caught.value.__notes__)


# --- blocks ---------------------------------------------------------------------------------


@few
@given(testing.block_formats(), st.data())
def test_blocks_are_rows_of_numbers(fmt, data):
    x = data.draw(testing.blocks(fmt))
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (fmt.block_size,)
    assert x.ndim == len(sizes)
    assert all(n <= 3 * size for n, size in zip(x.shape, sizes, strict=True))
    assert np.isfinite(x).all()
    assert fl.encode(x, fmt).shape == x.shape


def greatest(x):
    return np.abs(x).max(initial=0)


BLOCKS = {
    "empty": lambda x: x.size == 0,
    "less than a block": lambda x: 0 < x.size < 8,
    "a whole block": lambda x: x.size == 8,
    "a ragged tail": lambda x: x.size > 8 and x.size % 8,
    "zeros": lambda x: x.size and not x.any(),
    "a zero beside numbers": lambda x: x.any() and not x.all(),
    "near carry": lambda x: x.size and np.frexp(greatest(x))[0] >= 31 / 32,
    "wide spread": lambda x: (
        np.count_nonzero(x) > 3 and np.abs(x[x != 0]).min() < 2.0**-4 * greatest(x)
    ),
    "large scales": lambda x: greatest(x) > 2.0**100,
    "small scales": lambda x: 0 < greatest(x) < 2.0**-100,
}


def test_blocks_reach_every_class():
    found = draws(testing.blocks(fl.bfp(4, block_size=8)), 200)
    missing = [what for what, holds in BLOCKS.items() if not any(map(holds, found))]
    assert missing == []


@few
@given(testing.block_arrays())
def test_block_arrays_decode(b):
    with np.errstate(over="ignore"):  # beyond float32, under the greatest scales
        assert fl.decode(b).shape == b.shape


@few
@given(testing.block_arrays(nan=False, infinity=False))
def test_block_arrays_without_nan(b):
    assert np.isfinite(fl.decode(b, dtype=np.float64)).all()


def test_block_arrays_are_as_asked_for():
    fmt = fl.bfp(4, block_size=4)
    for b in draws(testing.block_arrays(fmt, (3, 10), axis=-1), 20):
        assert (b.shape, b.axis, b.scales.shape, b.format) == ((3, 10), 1, (3, 3), fmt)
    found = draws(testing.block_arrays(fmt), 120)
    assert {(b.axis, b.ndim) for b in found} == {(0, 1), (0, 2), (1, 2)}
    tiles = draws(testing.block_arrays(fl.bfp(4, block_size=(2, 3))), 60)
    assert {b.axis for b in tiles} >= {(0, 1), (1, 0), (0, 2), (2, 1)}
    assert {b.axis for b in draws(testing.block_arrays("nvfp4", 3), 20)} == {0}
    assert {b.shape[b.axis] % 4 for b in found} == {0, 1, 2, 3}
    assert any((b.scales == 0xFF).any() for b in found)
    b = simplest(testing.block_arrays(fmt), lambda b: b.scales.size > 1)
    assert b.size <= 5
    assert not b.codes.any()


# --- assertions: elementwise ----------------------------------------------------------------


@given(testing.formats(ELEMENTWISE), st.data())
def test_what_fmtlib_makes_passes(fmt, data):
    nan = isinstance(fmt, FloatFormat) and fmt.nan_code is not None
    rounding, overflow = data.draw(testing.roundings(fmt)), data.draw(testing.overflows(fmt))
    # Negative numbers are NaN to unsigned formats, of which some have no NaN.
    nan_or_not = np.errstate(invalid="ignore")
    x = data.draw(testing.arrays(fmt, nan=nan, shape=st.sampled_from([(), (4,), (2, 2), (0,)])))
    mode = {"rounding": rounding, "overflow": overflow}
    with nan_or_not:
        codes, values = fl.encode(x, fmt, **mode), fl.quantize(x, fmt, **mode)
    testing.assert_correctly_rounded(x, codes, fmt, **mode)
    testing.assert_correctly_rounded(x, values, fmt, **mode)
    testing.assert_on_grid(values, fmt)
    testing.assert_codes_equal(codes, codes, fmt)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_million_elements_of_few_values(dtype):
    x = np.resize(np.array([0.3, -1.5, 500.0, -0.0], DTYPES[dtype]), 1 << 20)
    codes = fl.encode(x, "e4m3")
    testing.assert_correctly_rounded(x, codes, "e4m3")
    codes[777_777] += 1
    with pytest.raises(AssertionError, match=r"1 / 1048576 .*\n \[777777\]: "):
        testing.assert_correctly_rounded(x, codes, "e4m3")


@pytest.mark.parametrize(
    ("x", "fmt"),
    [
        (0.3, "e4m3"),
        (np.nextafter(1.0, 2), "e4m3"),
        (2.0**-10, "e4m3"),
        (464.0, "e4m3"),
        (480.0, "e4m3"),
        (np.inf, "e4m3"),
        (np.nan, "float4_e2m1fn"),
        (np.nan, "int8"),
        (-np.inf, "float6_e2m3fn"),
        (0.0, "float8_e8m0fnu"),
        (-1.0, "float8_e8m0fnu"),
        (0.5, "int8"),
        (-128.0, "int8"),
        (128, "int8"),
        (1 / 512, "fixed_s7_8"),
        (128.0, "fixed_s7_8"),
        (np.longdouble(1) + np.finfo(np.longdouble).eps, "e4m3"),
        (np.float64(2**53) + 2, "bfloat16"),
        (2**62 + 1, "bfloat16"),
    ],
)
def test_not_on_the_grid(x, fmt):
    good = np.array([1.0, x]).astype(np.asarray(x).dtype)
    good[1] = x
    with pytest.raises(AssertionError, match=r"1 / 2 \(50%\)\n \[1\]: "):
        testing.assert_on_grid(good, fmt)
    with pytest.raises(AssertionError, match=r"1 / 1 \(100%\)\n \[\]: "):
        testing.assert_on_grid(x, fmt)


@pytest.mark.parametrize(
    ("x", "fmt"),
    [
        ([0.0, -0.0, np.nan, 448.0, -(2.0**-9)], "e4m3"),
        ([np.inf, -np.inf, np.nan, 57344.0], "e5m2"),
        (np.array([0, 127, -127]), "int8"),
        (np.array([-128, 127], np.int8), "int8_full"),
        ([-128.0, 127.99609375], "fixed_s7_8"),
        (np.array([1, 2.0**127], ml_dtypes.bfloat16), "bfloat16"),
        (np.array([], np.float32), "e4m3"),
        (np.array([2**62]), "bfloat16"),
        (2.0**-127, "float8_e8m0fnu"),
    ],
)
def test_on_the_grid(x, fmt):
    testing.assert_on_grid(x, fmt)


def test_messages_say_where_what_and_between_what():
    x = np.array([[1.0, 0.3], [-464.5, 1.0]])
    with pytest.raises(AssertionError) as caught:
        testing.assert_on_grid(x, "e4m3")
    assert str(caught.value).splitlines() == [
        "values are not on the grid of float8_e4m3fn",
        "Mismatched elements: 2 / 4 (50%)",
        " [0, 1]: 0.3 (0x1.3333333333333p-2) lies between 0x29 (0.28125) and 0x2a (0.3125)",
        " [1, 0]: -464.5 (-0x1.d080000000000p+8) is beyond 0xfe (-448.0)",
    ]
    with pytest.raises(AssertionError) as caught:
        testing.assert_correctly_rounded(x, np.zeros((2, 2), np.float32), "e4m3")
    assert " [1, 1]: 1.0 is on the grid; got 0.0, expected 0x38 (1.0)" in str(caught.value)
    with pytest.raises(AssertionError, match="and 95 more"):
        testing.assert_on_grid(np.full(100, 0.3), "e4m3")
    with pytest.raises(AssertionError, match=r"got \(1,\), expected \(2,\)"):
        testing.assert_correctly_rounded(np.ones(2), np.uint8([0x38]), "e4m3")
    with pytest.raises(AssertionError, match=r"NaN \(0x7fc00001\) is not finite; got 0x00"):
        testing.assert_correctly_rounded(
            np.array([0x7FC00001], "u4").view("f4"), np.uint8([0]), "e4m3"
        )


@pytest.mark.parametrize(
    ("actual", "expected", "fmt"),
    [
        (0x38, 0x39, "e4m3"),
        (0x00, 0x80, "e4m3"),
        (0x7F, 0x7E, "e4m3"),
        (0x7C, 0x7D, "e5m2"),
        (0x7C, 0xFC, "e5m2"),
        (-1, 1, "int8"),
        (0x7F, 0x80, "e4m3fnuz"),
    ],
)
def test_codes_that_differ(actual, expected, fmt):
    dtype = fl.get_format(fmt).code_dtype
    with pytest.raises(AssertionError, match=f"codes of {fl.get_format(fmt).name} differ\nMis"):
        testing.assert_codes_equal(np.array([actual], dtype), np.array([expected], dtype), fmt)


def test_codes_that_do_not_differ():
    testing.assert_codes_equal(np.uint8([0x7D, 0xFF]), np.uint8([0x7E, 0x7F]), "e5m2")
    with pytest.raises(AssertionError, match=r"0x7d \(nan\), expected 0x7e \(nan\)"):
        testing.assert_codes_equal(np.uint8([0x7D]), np.uint8([0x7E]), "e5m2", nan_codes=True)
    x = np.array([1.0, np.nan]).astype(ml_dtypes.float8_e4m3fn)
    testing.assert_codes_equal(x, [0x38, 0xFF], "e4m3")
    empty = np.zeros((0, 2), np.uint8)
    testing.assert_codes_equal(empty, empty, "e4m3")


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: assertions.assert_codes_equal([1], [1]), TypeError, "needs the format"),
        (lambda: assertions.assert_codes_equal([1.0], [1], "e4m3"), TypeError, "actual must hold"),
        (lambda: assertions.assert_codes_equal([1], [256], "e4m3"), ValueError, "from 0 to 255"),
        (lambda: assertions.assert_codes_equal([1], [1], fl.bfp(4)), TypeError, "BlockArrays"),
        (
            lambda: assertions.assert_codes_equal(fl.encode([1.0], fl.bfp(4)), [1]),
            TypeError,
            "both or neither",
        ),
        (lambda: assertions.assert_on_grid(["a"], "e4m3"), TypeError, "x must hold floats or int"),
        (lambda: assertions.assert_on_grid([1.0], "e4m3", axis=0), ValueError, "axis is for block"),
        (
            lambda: assertions.assert_correctly_rounded([True], [1.0], "e4m3"),
            TypeError,
            "got bool",
        ),
        (
            lambda: assertions.assert_correctly_rounded([1.0], [1.0], "e4m3", rounding="up-ish"),
            ValueError,
            "unknown rounding",
        ),
    ],
)
def test_arguments_are_checked(call, error, message):
    with pytest.raises(error, match=message):
        call()


# --- assertions: wrong results of every kind ------------------------------------------------

TRAPS = np.array([0.3, 1.0625, 464.0, 2.0**-10, -(2.0**-11), -0.0, np.nan, np.inf, 1e9, -500.0])


def shifted(where, by):
    """Codes that are wrong at one place by some."""
    codes = fl.encode(TRAPS, "e4m3").astype(np.int64)
    codes[where] += by
    return codes


MUTANTS = {
    "one code up": (shifted(0, 1), "nearest_even"),
    "one code down": (shifted(0, -1), "nearest_even"),
    "a tie away from zero": (fl.encode(TRAPS, "e4m3", rounding="nearest_away"), "nearest_even"),
    "a tie to even": (fl.encode(TRAPS, "e4m3"), "nearest_away"),
    "truncated": (fl.encode(TRAPS, "e4m3", rounding="toward_zero"), "nearest_even"),
    "-0 lost": (shifted(5, -0x80), "nearest_even"),
    "the sign of an underflow lost": (shifted(4, -0x80), "nearest_even"),
    "NaN to a number": (shifted(6, -1), "nearest_even"),
    "a number to NaN": (shifted(7, 1), "nearest_even"),
    "not saturated": (fl.encode(TRAPS, "e4m3", overflow="nonsaturating"), "nearest_even"),
}


@pytest.mark.parametrize("as_values", [False, True])
@pytest.mark.parametrize("mutant", MUTANTS)
def test_wrong_results_are_found(mutant, as_values):
    codes, rounding = MUTANTS[mutant]
    codes = codes.astype(np.uint8)
    result = fl.decode(codes, "e4m3") if as_values else codes
    with pytest.raises(AssertionError, match=f"not correctly rounded .*{rounding}, saturate"):
        testing.assert_correctly_rounded(TRAPS, result, "e4m3", rounding=rounding)


@pytest.mark.parametrize("name", ["float8_e4m3fn", "float8_e8m0fnu", "int8", "fixed_s3_4"])
def test_many_inputs_are_looked_up(name):
    """Every float16 and bfloat16, against thresholds: right ones pass, wrong ones are counted."""
    for dtype in ("float16", "bfloat16"):
        x = all_16_bit(dtype)
        for rounding in DETERMINISTIC:
            for overflow in set(fl.get_format(name).overflows) - {"raise"}:
                mode = {"rounding": rounding, "overflow": overflow}
                with np.errstate(invalid="ignore"):
                    codes = fl.encode(x, name, **mode)
                if overflow == "wrap":  # no thresholds
                    x, codes = x[::16], codes[::16]
                testing.assert_correctly_rounded(x, codes, name, **mode)
                x = all_16_bit(dtype)
        with np.errstate(invalid="ignore"):
            codes, others = (fl.encode(x, name, rounding=r) for r in ("nearest_even", "up"))
        with pytest.raises(AssertionError, match=f"{np.count_nonzero(codes != others)} / 65536"):
            testing.assert_correctly_rounded(x, others, name)


def test_many_integers_are_looked_up():
    x = np.arange(-300, 300)
    testing.assert_correctly_rounded(x, fl.encode(x, "e4m3"), "e4m3")
    wide = np.append(x, 2**62 + 1)
    testing.assert_correctly_rounded(wide, fl.encode(wide, "e4m3"), "e4m3")
    for wrong in (x, wide):
        codes = fl.encode(wrong, "e4m3")
        codes[300] = 1  # 0
        with pytest.raises(AssertionError, match=r"\n \[300\]: 0 is on the grid; got 0x01"):
            testing.assert_correctly_rounded(wrong, codes, "e4m3")


def test_right_results_in_every_guise():
    codes = fl.encode(TRAPS, "e4m3")
    nan = np.isnan(TRAPS)
    for result in (codes, codes.astype(np.int64), codes.view(ml_dtypes.float8_e4m3fn)):
        testing.assert_correctly_rounded(TRAPS, result, "e4m3")
        testing.assert_correctly_rounded(TRAPS.reshape(2, 5), result.reshape(2, 5), "e4m3")
    for dtype in [*DTYPES.values(), np.longdouble]:
        values = fl.decode(codes, "e4m3").astype(dtype)
        testing.assert_correctly_rounded(TRAPS, values, "e4m3")
    other_nan = np.where(nan, codes ^ 0x80, codes)
    testing.assert_correctly_rounded(TRAPS, other_nan, "e4m3")
    unsigned_zeros = fl.decode(codes, "e4m3") + np.float32(0)
    testing.assert_correctly_rounded(TRAPS, unsigned_zeros, "e4m3", signed_zeros=False)
    with pytest.raises(AssertionError):
        testing.assert_correctly_rounded(TRAPS, unsigned_zeros, "e4m3")


def test_overflow_that_should_have_raised():
    x = np.array([1.0, 1e9])
    with pytest.raises(AssertionError, match="an input overflows float8_e4m3fn"):
        testing.assert_correctly_rounded(x, fl.encode(x, "e4m3"), "e4m3", overflow="raise")
    testing.assert_correctly_rounded(x[:1], np.uint8([0x38]), "e4m3", overflow="raise")
    testing.assert_quantizer_conforms(
        lambda x: fl.encode(x, "int8", overflow="raise"), "int8", overflow="raise",
        in_range=True, max_examples=20,
    )  # fmt: skip


def test_longdouble_and_integers_are_exact():
    wide = np.longdouble(1.0625) + np.longdouble(2) ** -60
    if wide != 1.0625:
        testing.assert_correctly_rounded(np.array([wide]), np.uint8([0x39]), "e4m3")
        with pytest.raises(AssertionError):
            testing.assert_correctly_rounded(np.array([wide]), np.uint8([0x38]), "e4m3")
        with pytest.raises(AssertionError):
            testing.assert_correctly_rounded([1.0], np.array([1 + (wide - 1) / 2**40]), "e4m3")
    x = np.array([2**62 + 2**54 + 1])  # just above a midpoint of bfloat16
    up = np.array([2.0**62 + 2.0**55])
    testing.assert_correctly_rounded(x, up, "bfloat16")
    with pytest.raises(AssertionError):
        testing.assert_correctly_rounded(x, np.array([2.0**62]), "bfloat16")


def test_stochastic_results_are_one_of_two():
    x = np.array([0.3, 1.0, -1.01])
    for codes in ([0x29, 0x38, 0xB8], [0x2A, 0x38, 0xB9]):
        testing.assert_correctly_rounded(x, np.uint8(codes), "e4m3", rounding="stochastic")
    for codes in ([0x28, 0x38, 0xB8], [0x29, 0x39, 0xB8], [0x29, 0x38, 0xBA]):
        with pytest.raises(AssertionError):
            testing.assert_correctly_rounded(x, np.uint8(codes), "e4m3", rounding="stochastic")


# --- assertions: blocks ---------------------------------------------------------------------


@few
@given(testing.block_formats(), st.data())
def test_blocks_that_fmtlib_makes_pass(fmt, data):
    x = data.draw(testing.arrays(fmt, "float64", nan=False, infinity=False))
    if isinstance(fmt.block_size, tuple):
        axis = tuple(data.draw(st.permutations(range(x.ndim)))[:2])
    else:
        axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    rounding = data.draw(testing.roundings(fmt))
    b = fl.encode(x, fmt, axis=axis, rounding=rounding)
    values = fl.decode(b, dtype=np.float64)
    testing.assert_correctly_rounded(x, b, fmt, rounding=rounding, axis=axis)
    testing.assert_correctly_rounded(x, values, fmt, rounding=rounding, axis=axis)
    testing.assert_codes_equal(b, b)
    if not fmt.tensor_scale:
        testing.assert_on_grid(values, fmt, axis=axis)
        return
    with pytest.raises(TypeError, match="their tensor's scale"):
        testing.assert_on_grid(values, fmt, axis=axis)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["nvfp4", "mxfp8_e4m3", "smx6", "mxint8", "hbfp8_24x24"])
def test_quantized_blocks_pass(name, dtype):
    """In every dtype: the scale of an NVFP4 tensor makes values that narrow ones round, once."""
    x = draws(testing.arrays(name, DTYPES[dtype], (3, 40), nan=False, infinity=False), 5)
    for array in x:
        if not fl.get_format(name).fits(dtype):
            continue
        testing.assert_correctly_rounded(array, fl.quantize(array, name), name)
    assert x


def test_wrong_tensor_and_micro_scales_are_found():
    x = np.array([1.0, 0.3, -0.1, 0.01, 6.0, 0.3])
    b = fl.encode(x, "nvfp4")
    other = fl.BlockArray(b.codes, b.scales, b.format, 0, np.float32(2) * b.tensor_scale)
    with pytest.raises(AssertionError, match=r"tensor scales of nvfp4 differ: .*, expected"):
        testing.assert_codes_equal(other, b)
    with pytest.raises(AssertionError, match="not correctly rounded to nvfp4"):
        testing.assert_correctly_rounded(x, other, "nvfp4")
    b = fl.encode(x, "smx6")
    scales = b.scales ^ b.scales.dtype.type(1 << 8)
    other = fl.BlockArray(b.codes, scales, b.format, 0)
    with pytest.raises(AssertionError, match=r"micro-exponents 0b\d+, expected 0x81 .* 0b"):
        testing.assert_codes_equal(other, b)


def test_wrong_blocks_are_found():
    fmt = fl.bfp(4, block_size=4)
    x = np.array([[1.0, 0.3, -0.1, 0.0, 8.0, 0.3], [5.0, 0.0, 0.0, 0.0, 2.0, -0.3]])
    b = fl.encode(x, fmt, axis=1)
    wrong = b.codes.copy()
    wrong[0, 1] += 1
    mutant = fl.BlockArray(wrong, b.scales, fmt, 1)
    with pytest.raises(
        AssertionError, match=r"\[0, 1\]: 0.3 .*in the block \[ 1.*; got 0.375 .*, exp"
    ):
        testing.assert_correctly_rounded(x, mutant, fmt)
    with pytest.raises(AssertionError, match=r"codes of bfp_m4_e8_g4 differ\n.*\n \[0, 1\]: 0x03"):
        testing.assert_codes_equal(mutant, b)
    scales = b.scales.copy()
    scales[0, 1] += 1
    with pytest.raises(AssertionError, match=r"scales: 1 / 4 .*\n \[0, 1\]: 0x83 \(16.0\), exp"):
        testing.assert_codes_equal(fl.BlockArray(b.codes, scales, fmt, 1), b)
    with pytest.raises(AssertionError, match="along axis 0, expected"):
        testing.assert_correctly_rounded(x, fl.encode(x, fmt, axis=0), fmt, axis=1)
    with pytest.raises(AssertionError, match="not of format"):
        testing.assert_codes_equal(b, fl.encode(x, fl.bfp(4, block_size=2), axis=1))
    with pytest.raises(AssertionError, match=r"blocks: 1 / 2 .*\n \[1\]: .* fits no scale"):
        testing.assert_on_grid([1.0, 0.125, 1.0, 2.0**-20], fl.bfp(4, block_size=2))
    testing.assert_on_grid([1.0, 0.125, 0.0, -(2.0**-20)], fl.bfp(4, block_size=2))
    # The value is right, but -0 has another code.
    zero = fl.BlockArray(np.where(b.codes == 0, np.uint8(16), b.codes), b.scales, fmt, 1)
    with pytest.raises(AssertionError, match=r"got -0.0, expected 0.0"):
        testing.assert_correctly_rounded(x, zero, fmt)


def test_nan_in_blocks():
    fmt = fl.bfp(4, block_size=2)
    x = np.array([1.0, 2.0, np.nan, 1.0])
    b = fl.encode(x, fmt)
    testing.assert_correctly_rounded(x, b, fmt)
    testing.assert_correctly_rounded(x, fl.decode(b), fmt)
    testing.assert_on_grid(fl.decode(b), fmt)
    other = b.codes.copy()
    other[2:] = 7  # the codes of a NaN block mean nothing
    testing.assert_codes_equal(fl.BlockArray(other, b.scales, fmt, 0), b)
    with pytest.raises(AssertionError, match=r"\[1\]: \[nan  1.\] fits no scale"):
        testing.assert_on_grid(x, fmt)


# --- the ready-made test --------------------------------------------------------------------


@pytest.mark.parametrize("rounding", ["nearest_even", "down"])
@pytest.mark.parametrize(
    "name", ["float8_e4m3fn", "float4_e2m1fn", "int8", "bfp_m4_e8_g16", "mxfp4_e2m1", "nvfp4"]
)
def test_right_quantizers_conform(name, rounding):
    def quantize(x):
        return fl.quantize(x, name, rounding=rounding)

    testing.assert_quantizer_conforms(quantize, name, rounding, max_examples=30)


def test_codes_and_layouts_conform_too():
    mode = {"rounding": "nearest_even", "overflow": "nonsaturating"}
    testing.assert_quantizer_conforms(
        lambda x: fl.encode(x, "e5m2", **mode), "e5m2", **mode, dtype="float64",
        layouts=testing.LAYOUTS, shape=(2, 3), max_examples=50,
    )  # fmt: skip


def in_place(x):
    x[...] = fl.quantize(x, "e4m3")
    return x


def test_a_quantizer_may_work_in_place():
    testing.assert_quantizer_conforms(in_place, "e4m3", max_examples=20)


def flush(x):
    y = fl.quantize(x, "e4m3")
    return np.where(np.abs(y) < 2.0**-6, np.copysign(np.float32(0), y), y)


WRONG = {
    "ties away": lambda x: fl.quantize(x, "e4m3", rounding="nearest_away"),
    "truncates": lambda x: fl.quantize(x, "e4m3", rounding="toward_zero"),
    "does not saturate": lambda x: fl.quantize(x, "e4m3", overflow="nonsaturating"),
    "flushes subnormals": flush,
    "rounds twice": lambda x: x.astype(np.float32).astype(ml_dtypes.float8_e4m3fn),
    "rounds to bfloat16 first": lambda x: fl.encode(fl.quantize(x, "bfloat16"), "e4m3"),
    "clips before rounding": lambda x: np.where(
        (np.abs(x) > 448) & (np.abs(x) <= 464), np.nan, fl.quantize(x, "e4m3")
    ),
    "loses -0": lambda x: fl.quantize(x, "e4m3") + 0.0,
    "loses NaN": lambda x: np.nan_to_num(fl.quantize(x, "e4m3")),
    "keeps the tiny": lambda x: np.where(np.abs(x) < 2.0**-40, x, fl.quantize(x, "e4m3")),
}


@pytest.mark.parametrize("mutant", WRONG)
def test_wrong_quantizers_do_not_conform(mutant):
    with (
        np.errstate(over="ignore", invalid="ignore"),
        pytest.raises(AssertionError, match="not correctly rounded to float8_e4m3fn"),
    ):
        testing.assert_quantizer_conforms(WRONG[mutant], "e4m3", dtype="float64", max_examples=500)


# --- without hypothesis, and through its entry point ----------------------------------------


def run(code, *paths):
    """Run Python on the package under test and whatever is installed beside it."""
    places = [*map(str, paths), str(Path(fl.__file__).parents[1]), os.environ.get("PYTHONPATH")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, places))}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_import_without_hypothesis():
    out = run(
        """
import sys
import fmtlib
assert not any(name.startswith("hypothesis") for name in sys.modules)
sys.modules["hypothesis"] = None
from fmtlib.assertions import assert_on_grid
assert_on_grid([1.0], "e4m3")
try:
    import fmtlib.testing
except ImportError as error:
    print(error)
"""
    )
    assert 'pip install "fmtlib[testing]"' in out
    assert "fmtlib.assertions" in out


FROM_TYPE = """
import sys
from hypothesis import find, strategies as st
import fmtlib as fl
assert "fmtlib.testing" not in sys.modules
for made in (fl.FloatFormat, fl.FixedFormat, fl.IntegerFormat, fl.BlockFormat, fl.BlockArray):
    print(find(st.from_type(made), lambda x: isinstance(x, made)))
"""


def check_from_type(out):
    lines = out.splitlines()
    assert lines[0] == "float8_e4m3fn"
    assert len(lines) == 5
    assert lines[4].startswith("BlockArray(")


def test_from_type_by_the_entry_point_of_pyproject(tmp_path):
    """As pip would write it, for trees that are not installed."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    metadata = tmp_path / "fmtlib-0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: fmtlib\nVersion: 0\n")
    lines = [f"{k} = {v}\n" for k, v in project["entry-points"]["hypothesis"].items()]
    (metadata / "entry_points.txt").write_text("[hypothesis]\n" + "".join(lines))
    check_from_type(run(FROM_TYPE, tmp_path))


def test_from_type_when_installed():
    found = importlib.metadata.entry_points(group="hypothesis", name="fmtlib")
    if not found:
        pytest.skip("fmtlib is not installed, only on the path")
    check_from_type(run(FROM_TYPE))


def test_testing_imports_first(tmp_path):
    """Hypothesis, which fmtlib.testing imports, then imports the hook while it is half made."""
    run("import fmtlib.testing, hypothesis; hypothesis.strategies.from_type(fmtlib.FloatFormat)")
