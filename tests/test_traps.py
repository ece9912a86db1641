"""Inputs that a second rounding spoils: float64 by way of float32, integers by way of float64.

Made from the decision thresholds of each format, so that they exist for any format of the table;
the expected codes come from the thresholds too.
"""

from bisect import bisect_right

import numpy as np
import pytest
from cases import FLOAT_NAMES, each_target
from numpy.testing import assert_array_equal
from steps import expected_codes

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import FORMATS

NAMES = [name for name in FLOAT_NAMES if FORMATS[name].bits <= 16]
NEAREST = ("nearest_even", "nearest_away")
OVERFLOWS = ("saturate", "nonsaturating")


def midpoints(name):
    """The finite thresholds of rounding to nearest that are inside the range of float64."""
    found = reference.thresholds(FORMATS[name], overflow="nonsaturating")
    return np.array([float(t.magnitude) for t in found if 0 < t.magnitude < 2.0**1023])


def float64_traps(name):
    """One float64 step on either side of each midpoint, both signs: float32 sees the midpoint."""
    points = midpoints(name)
    x = np.concatenate([np.nextafter(points, 0), np.nextafter(points, np.inf)])
    return np.concatenate([x, -x])


def int64_traps(name):
    """One on either side of the midpoints that are integers beyond 2**53."""
    points = [int(m) for m in midpoints(name) if 2.0**53 <= m < 2.0**63]
    near = [p + step for p in points for step in (-1, 0, 1) if p + step < 2**63]
    return np.array(near + [-x for x in near], np.int64)


def by_search(x, name, rounding, overflow):
    """Codes of Python integers."""
    sides = [
        reference.thresholds(FORMATS[name], rounding, overflow, negative=n) for n in (False, True)
    ]

    def code(value):
        found, magnitude = sides[value < 0], abs(value)
        place = bisect_right(
            found, (magnitude, False), key=lambda t: (t.magnitude, not t.inclusive)
        )
        return found[place - 1].code

    return np.array([code(value) for value in x.tolist()]).astype(FORMATS[name].code_dtype)


@pytest.mark.parametrize("name", NAMES)
def test_float64(name, record_property):
    x = float64_traps(name)
    fmt = FORMATS[name]
    for rounding in NEAREST:
        for overflow in OVERFLOWS:
            expected = expected_codes(x, fmt, rounding, overflow)
            for target in each_target():
                codes = fl.encode(x, name, rounding=rounding, overflow=overflow)
                assert_array_equal(codes, expected, err_msg=target)
                record_property("inputs", x.size)
    # They are traps: by way of float32 some go wrong.
    twice = fl.encode(x.astype(np.float32), name, rounding=rounding, overflow=overflow)
    assert np.count_nonzero(twice != expected) >= len(x) // 8


@pytest.mark.parametrize("name", [name for name in NAMES if int64_traps(name).size])
def test_int64(name, record_property):
    x = int64_traps(name)
    for rounding in NEAREST:
        expected = by_search(x, name, rounding, "nonsaturating")
        for target in each_target():
            codes = fl.encode(x, name, rounding=rounding, overflow="nonsaturating")
            assert_array_equal(codes, expected, err_msg=target)
            record_property("inputs", x.size)
        twice = fl.encode(x.astype(np.float64), name, rounding=rounding, overflow="nonsaturating")
        assert np.count_nonzero(twice != expected) >= len(x) // 16


def test_some_formats_have_int64_traps():
    assert {"bfloat16", "float8_e8m0fnu"} <= {n for n in NAMES if int64_traps(n).size}


@pytest.mark.parametrize("dtype", ["int64", "uint64", "int32"])
@pytest.mark.parametrize("name", NAMES)
def test_integers_near_every_midpoint(name, dtype):
    """Small midpoints too, where the trap is a narrower type on the way: float16 or float32."""
    limits = np.iinfo(dtype)
    points = {int(m) + step for m in midpoints(name) if m < 2.0**64 for step in (-1, 0, 1, 2)}
    points = sorted(points | {-p for p in points})
    x = np.array([p for p in points if limits.min <= p <= limits.max], dtype)
    expected = by_search(x, name, "nearest_even", "nonsaturating")
    for target in each_target():
        codes = fl.encode(x, name, overflow="nonsaturating")
        assert_array_equal(codes, expected, err_msg=target)


def test_the_known_trap():
    """(1 + 2**-52) * 2**-10 is above the midpoint of 0 and 2**-9, its float32 is on it."""
    x = (1 + 2.0**-52) * 2.0**-10
    assert fl.encode(x, "e4m3") == 1
    assert fl.encode(np.float32(x), "e4m3") == 0
