"""The reference's thresholds against the reference's own encode, and the search among them."""

import math
from bisect import bisect_right
from fractions import Fraction

import numpy as np
import pytest
from cases import DETERMINISTIC, DTYPES, ELEMENTWISE_NAMES, FLOAT_NAMES, INTEGER_NAMES, overflows
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from steps import INFINITIES, codes_of_every_pattern, expected_codes, steps

import fmtlib as fl
from fmtlib import reference, testing
from fmtlib.formats import FORMATS, FloatFormat


def stepwise(name):
    """Overflow modes whose codes are steps: all but wrapping."""
    return [overflow for overflow in overflows(name) if overflow != "wrap"]


LISTED = [name for name in ELEMENTWISE_NAMES if FORMATS[name].bits <= 16]
MODES = [
    (name, rounding, overflow)
    for name in LISTED
    for rounding in DETERMINISTIC
    for overflow in stepwise(name)
]


def search(found, magnitude):
    place = bisect_right(found, (magnitude, False), key=lambda t: (t.magnitude, not t.inclusive))
    return found[place - 1].code


def signed(magnitude, negative):
    if not negative:
        return magnitude
    return -magnitude if magnitude else -0.0


@pytest.mark.parametrize("negative", [False, True], ids=["positive", "negative"])
@pytest.mark.parametrize(("name", "rounding", "overflow"), MODES)
def test_every_threshold(name, rounding, overflow, negative):
    """`encode` at each threshold, just beside it and between it and the next."""
    fmt = FORMATS[name]
    found = reference.thresholds(fmt, rounding, overflow, negative=negative)
    assert found[0][:2] == (0, True)
    picks = range(len(found))
    if len(found) > 300:  # both ends and a sample
        rng = np.random.default_rng(0)
        picks = {0, 1, len(found) - 2, len(found) - 1, *rng.choice(len(found), 40).tolist()}
    for i in picks:
        if i > 0:
            below, here = found[i - 1], found[i]
            assert (below.magnitude, not below.inclusive) < (here.magnitude, not here.inclusive)
            assert below.code != here.code
    little = reference.power_of_two(fmt.quantum_exponent - 60)
    magnitudes = {Fraction(0), math.inf}
    for step in (found[i] for i in picks):
        if isinstance(step.magnitude, Fraction):
            at = step.magnitude
            magnitudes |= {at, at + little, abs(at - little), at * Fraction(9, 8)}
    for magnitude in magnitudes:
        expected = reference.encode(signed(magnitude, negative), fmt, rounding, overflow)
        assert search(found, magnitude) == expected, magnitude


@given(
    testing.float_formats(named=False, max_bits=10),
    st.fractions(min_value=0) | st.integers(-60, 60).map(reference.power_of_two),
    st.sampled_from(DETERMINISTIC),
    st.sampled_from(stepwise("float8_e4m3fn")),
    st.booleans(),
)
def test_run_time_formats(fmt, magnitude, rounding, overflow, negative):
    found = reference.thresholds(fmt, rounding, overflow, negative=negative)
    expected = reference.encode(signed(magnitude, negative), fmt, rounding, overflow)
    assert search(found, magnitude) == expected


@pytest.mark.parametrize("name", LISTED)
def test_every_code_but_nan_has_its_step(name):
    """Without saturation each code of a number is some number's code."""
    fmt = FORMATS[name]
    overflow = stepwise(name)[-1] if name in INTEGER_NAMES else "nonsaturating"
    sides = [reference.thresholds(fmt, overflow=overflow, negative=n) for n in (False, True)]
    codes = {step.code for side in sides for step in side}
    if isinstance(fmt, FloatFormat):
        every = [
            code
            for code in range(2**fmt.bits)
            if not math.isnan(float(reference.decode(code, fmt)))
        ]
    else:
        every = range(fmt.min_integer, fmt.max_integer + 1)
    assert codes >= set(every)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", LISTED)
def test_codes_by_search(name, dtype):
    """A sample of all bit patterns, and the neighbours of some steps, one by one."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(LISTED.index(name))
    unsigned = np.dtype(f"u{DTYPES[dtype].itemsize}")
    top = unsigned.type(np.iinfo(unsigned).max // 2 + 1)
    patterns = [rng.integers(0, np.iinfo(unsigned).max, 60, unsigned, endpoint=True)]
    for rounding, overflow in (("nearest_even", "saturate"), ("up", stepwise(name)[-1])):
        for sign, negative in ((0, False), (top, True)):
            starts = steps(fmt, dtype, rounding, overflow, negative).starts
            starts = rng.choice(starts, 30).astype(unsigned)
            patterns += [starts | sign, (starts - (starts > 0)) | sign]
        x = np.concatenate(patterns).view(DTYPES[dtype])
        with np.errstate(invalid="ignore"):  # signalling NaN
            values = x.astype(np.float64).tolist()
        expected = [reference.encode(value, fmt, rounding, overflow) for value in values]
        found = expected_codes(x, fmt, rounding, overflow)
        assert found.dtype == fmt.code_dtype
        assert_array_equal(found, np.array(expected, np.int64).astype(fmt.code_dtype))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("name", FLOAT_NAMES[:3])
def test_ranges_are_searches(name, dtype):
    fmt = FORMATS[name]
    every = np.arange(1 << 16, dtype=np.uint16)
    whole = codes_of_every_pattern(fmt, dtype)
    assert_array_equal(whole, expected_codes(every.view(DTYPES[dtype]), fmt))
    side = steps(fmt, dtype)
    for start, stop in ((0, 1), (5, 700), (INFINITIES[dtype], 1 << 15), (12345, 12345)):
        assert_array_equal(side.of_range(start, stop), whole[start:stop])


def test_what_has_no_thresholds():
    e4m3 = FORMATS["float8_e4m3fn"]
    with pytest.raises(ValueError, match="deterministic"):
        reference.thresholds(e4m3, "stochastic")
    for overflow in ("wrap", "raise"):
        with pytest.raises(ValueError, match="do not end"):
            reference.thresholds(FORMATS["int8"], overflow=overflow)
    for name in ("fixed_s15_16", "bfp_m4_e8_g16"):
        with pytest.raises(ValueError, match="up to 19 bits"):
            reference.thresholds(fl.get_format(name))
