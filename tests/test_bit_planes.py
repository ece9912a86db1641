"""Bit planes against plain Python, and bit-serial dot products against integers'."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import precision

DTYPES = precision.INTEGERS


def reference_planes(row, bits):
    """Bytes of each plane of a row, as one great integer."""
    planes = []
    for place in reversed(range(bits)):
        number = sum((value >> place & 1) << i for i, value in enumerate(row))
        planes.append(list(number.to_bytes(-(-len(row) // 8), "little")))
    return planes


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_every_value(target, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    x = np.arange(1 << bits, dtype=f"u{bits // 8}").view(dtype)
    planes = fl.bit_planes(x)
    assert planes.bits == bits
    assert planes.planes.tolist() == reference_planes(x.tolist(), bits)
    assert_array_equal(planes.values(), x)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("length", [1, 8, 63, 64, 65, 512, 1000, 1025])
def test_any_length(target, dtype, length):
    info = np.iinfo(dtype)
    rng = np.random.default_rng(length)
    x = rng.integers(info.min, info.max, (3, length), dtype, endpoint=True)
    x = (x >> int(rng.integers(0, 6))).astype(dtype)
    planes = fl.bit_planes(x)
    flat = planes.planes
    for r, row in enumerate(x.tolist()):
        assert flat[:, r].tolist() == reference_planes(row, planes.bits)
    assert_array_equal(planes.values(), x)
    if planes.bits > 2:
        below = planes.bits - 2
        assert_array_equal(planes.read(2).values(), x >> below << below)


@given(st.sampled_from(DTYPES), st.data())
def test_any_array(dtype, data):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=20)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    planes = fl.bit_planes(x, axis=axis)
    rows = np.moveaxis(x, axis, -1).reshape(-1, x.shape[axis]).tolist()
    flat = planes.planes.reshape(planes.bits, len(rows), -1)
    for r, row in enumerate(rows):
        assert flat[:, r].tolist() == reference_planes(row, planes.bits)
    back = planes.values()
    assert_array_equal(back, x)
    assert back.dtype == x.dtype
    count = data.draw(st.integers(1, planes.bits))
    below = planes.bits - count
    assert_array_equal(planes.read(count).values(), x >> below << below)


@pytest.mark.parametrize("bits", range(1, 17))
def test_bits(target, bits):
    for dtype in ("int16", "uint16"):
        low = -(1 << (bits - 1)) if dtype == "int16" else 0
        x = np.array([low, low + (1 << bits) - 1], dtype)
        planes = fl.bit_planes(x, bits)
        assert len(planes.planes) == bits
        assert planes.nbytes == bits
        assert_array_equal(planes.values(), x)
        if bits > 1:
            with pytest.raises(ValueError, match=f"needs {bits} bits"):
                fl.bit_planes(x, bits - 1)
    assert fl.bit_planes(np.zeros(3, np.int16)).bits == 1


def test_any_memory(target):
    x = np.random.default_rng(0).integers(-999, 999, (12, 31)).astype(np.int16)
    for view in (x.T, x[::-1, ::2], x.astype(">i2"), np.asfortranarray(x)):
        for axis in (0, 1):
            found, plain = fl.bit_planes(view, axis=axis), fl.bit_planes(view.copy("C"), axis=axis)
            assert_array_equal(found.planes, plain.planes)
            assert_array_equal(found.values(), view)


@given(st.sampled_from(DTYPES), st.sampled_from(DTYPES), st.data())
def test_dot_is_that_of_integers(a_dtype, b_dtype, data):
    length = data.draw(st.integers(1, 70))
    a_bits, b_bits = (
        data.draw(st.integers(2, min(8 * np.dtype(dtype).itemsize, 27)))
        for dtype in (a_dtype, b_dtype)
    )

    def operand(dtype, bits, rows):
        info = np.dtype(dtype)
        low = -(1 << (bits - 1)) if info.kind == "i" else 0
        elements = st.integers(low, low + (1 << bits) - 1)
        return data.draw(hnp.arrays(dtype, (*rows, length), elements=elements))

    a, b = operand(a_dtype, a_bits, (3, 1)), operand(b_dtype, b_bits, (2,))
    serial_bits = data.draw(st.sampled_from([1, 2, 3, 4]))
    pa, pb = fl.bit_planes(a, a_bits), fl.bit_planes(b, b_bits)
    found = fl.serial_dot(pa, pb, serial_bits=serial_bits)
    exact = (a.astype(object) * b.astype(object)).sum(axis=-1)
    assert_array_equal(found.values, exact.astype(np.int64))
    bricks = -(-length // 16)
    assert found.cycles == bricks * -(-a_bits // serial_bits) * b_bits
    stripes = fl.serial_dot(pa, pb, b_parallel=True)
    assert_array_equal(stripes.values, found.values)
    assert stripes.cycles == bricks * a_bits


def test_dots_of_each_target(target):
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (3, 1, 700)), rng.integers(0, 1000, (2, 700))
    found = fl.serial_dot(fl.bit_planes(a.astype(np.int8)), fl.bit_planes(b.astype(np.uint16)))
    assert_array_equal(found.values, (a * b).sum(axis=-1))


def test_fewer_planes_cost_less():
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (2, 100)).astype(np.int8)
    pa, pb = fl.bit_planes(a), fl.bit_planes(b)
    part = fl.serial_dot(pa.read(4), pb.read(3), lanes=25)
    assert part.values == ((a.astype(int) >> 4 << 4) * (b.astype(int) >> 5 << 5)).sum()
    assert part.cycles == 4 * 4 * 3


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_empty(shape):
    for axis in range(len(shape)):
        planes = fl.bit_planes(np.zeros(shape, np.int8), axis=axis)
        assert planes.values().shape == shape
    planes = fl.bit_planes(np.zeros(shape, np.int8))
    assert not fl.serial_dot(planes, planes).values.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda p: fl.bit_planes([0.5]), TypeError, "float64"),
        (lambda p: fl.bit_planes(np.int8(1)), ValueError, "at least one dimension"),
        (lambda p: fl.bit_planes(np.int8([1]), 9), ValueError, "from 1 to 8"),
        (lambda p: p.read(0), ValueError, "from 1 to"),
        (lambda p: fl.serial_dot(p, np.ones(4)), TypeError, "BitPlanes"),
        (
            lambda p: fl.serial_dot(p, fl.bit_planes(np.ones((3, 5), np.int8))),
            ValueError,
            "4 and 5",
        ),
        (lambda p: fl.serial_dot(p, p, lanes=0), ValueError, "lanes"),
        (lambda p: fl.serial_dot(p, p, b_parallel=1), TypeError, "b_parallel"),
        (
            lambda p: fl.serial_dot(p, fl.bit_planes(np.ones((4, 3), np.int8), axis=0)),
            ValueError,
            "last axis",
        ),
        (
            lambda p: fl.serial_dot(*[fl.bit_planes(np.full(4, 2**31, np.uint32))] * 2),
            ValueError,
            "int64",
        ),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(fl.bit_planes(np.ones((3, 4), np.int8)))
