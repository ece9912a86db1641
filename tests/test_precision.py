"""Widths of groups against plain Python."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference


def reference_widths(x, group_size, axis, signed):
    moved = np.moveaxis(x, axis, -1)
    count = -(-moved.shape[-1] // group_size)
    high = np.zeros((*moved.shape[:-1], count), np.uint8)
    low = high.copy()
    for index in np.ndindex(moved.shape[:-1]):
        for g in range(count):
            group = moved[index][g * group_size : (g + 1) * group_size].tolist()
            high[index][g], low[index][g] = reference.group_bits(group, signed)
    return np.moveaxis(high, -1, axis), np.moveaxis(low, -1, axis)


def check(x, group_size, axis, signed=None):
    expected = x.dtype.kind == "i" if signed is None else signed
    high, low = fl.group_bits(x, group_size, axis, ends="both", signed=signed)
    wanted_high, wanted_low = reference_widths(x, group_size, axis, expected)
    assert_array_equal(high, wanted_high)
    assert_array_equal(low, wanted_low)
    assert_array_equal(fl.group_bits(x, group_size, axis, signed=signed), wanted_high)
    assert high.dtype == low.dtype == np.uint8


def test_every_16_bit_value(target):
    for dtype in (np.int16, np.uint16):
        check(np.arange(1 << 16, dtype=np.uint16).view(dtype), 1, 0)
    check(np.arange(1 << 15, dtype=np.int16), 1, 0, signed=False)
    check(np.arange(1 << 15, dtype=np.uint16), 1, 0, signed=True)


@pytest.mark.parametrize("group_size", [1, 2, 3, 4, 5, 7, 12, 16, 31, 33, 100, 10**9])
@pytest.mark.parametrize("axis", [0, 1, 2, -1])
def test_sizes_and_axes(target, group_size, axis):
    rng = np.random.default_rng(0)
    x = (rng.integers(-(2**15), 2**15, (5, 17, 33)) >> rng.integers(0, 15, (5, 17, 33))).astype(
        np.int16
    )
    check(x, group_size, axis)
    check(x[::-2, :, ::3], group_size, axis)
    check(x.view(np.uint16), group_size, axis)


def test_wide_inner_axis(target):
    x = np.random.default_rng(1).integers(-99, 99, (20, 1500)).astype(np.int16)
    check(x, 16, 0)
    check(np.ascontiguousarray(x.T), 700, 0)


@pytest.mark.parametrize("group_size", [8, 16, 24, 2048, 2056, 4096])
def test_runs_longer_than_a_chunk(target, group_size):
    rng = np.random.default_rng(2)
    x = (rng.integers(-(2**15), 2**15, 3 * 4096 + 24) >> rng.integers(0, 15, 3 * 4096 + 24)).astype(
        np.int16
    )
    for offset in (0, 1, 7):
        for tail in (0, 1, 9):
            check(x[offset : x.size - tail], group_size, 0)
    check(x[: 3 * 4096].reshape(2, -1), group_size, 1)


@given(
    hnp.arrays(np.int16, hnp.array_shapes(max_dims=3, max_side=9)),
    st.integers(1, 12),
    st.data(),
)
def test_any_array(x, group_size, data):
    check(x, group_size, data.draw(st.integers(-x.ndim, x.ndim - 1)))


def test_known_widths():
    assert_array_equal(fl.group_bits(np.array([[0], [1], [-1], [-2], [32767], [-32768]], "i2")),
                       [[2], [2], [2], [2], [16], [16]])  # fmt: skip
    assert_array_equal(
        fl.group_bits(np.array([[0], [1], [2], [65535]], "u2")), [[1], [1], [2], [16]]
    )


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_empty(shape):
    x = np.zeros(shape, np.int16)
    for axis in range(len(shape)):
        expected = list(shape)
        expected[axis] = -(-shape[axis] // 16)
        assert fl.group_bits(x, 16, axis).shape == tuple(expected)


@pytest.mark.parametrize(
    ("dtype", "signed"), [("u2", True), ("i2", False), ("i2", "tensor"), ("u4", True)]
)
def test_nothing_has_no_sign_to_look_for(dtype, signed):
    assert fl.group_bits(np.empty((3, 0), dtype), signed=signed).shape == (3, 0)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.group_bits(x.astype(float)), TypeError, "uint16 or uint32"),
        (lambda x: fl.group_bits(x.astype(bool)), TypeError, "uint16 or uint32"),
        (lambda x: fl.group_bits(np.ma.array(x)), TypeError, "masked"),
        (lambda x: fl.group_bits(x, 0), ValueError, "at least 1"),
        (lambda x: fl.group_bits(x, -16), ValueError, "at least 1"),
        (lambda x: fl.group_bits(x, 2.0), TypeError, "integer"),
        (lambda x: fl.group_bits(x, 16, 2), IndexError, "axis 2"),
        (lambda x: fl.group_bits(x, 16, None, ends="low"), ValueError, "ends"),
        (lambda x: fl.group_bits(-x, signed=False), ValueError, "signed=False"),
        (lambda x: fl.group_bits((-x).view(np.uint16), signed=True), ValueError, "17th"),
        (lambda x: fl.group_bits(x, signed=1), TypeError, "signed"),
        (lambda x: fl.group_bits(x[0, 0]), ValueError, "at least one dimension"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int16))
