"""Widths of groups of every integer type, of tiles and of float data, against plain Python."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import precision, reference

DTYPES = precision.INTEGERS
ENCODINGS = ("twos_complement", "sign_magnitude")


def reference_widths(x, sizes, axes, signed, encoding="twos_complement"):
    """Both ends, group by group; one axis or two."""
    shape = list(x.shape)
    for axis, size in zip(axes, sizes, strict=True):
        shape[axis] = -(-x.shape[axis] // size)
    high, low = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for index in np.ndindex(*shape):
        cut = [slice(i, i + 1) for i in index]
        for axis, size in zip(axes, sizes, strict=True):
            cut[axis] = slice(index[axis] * size, (index[axis] + 1) * size)
        group = x[tuple(cut)].ravel().tolist()
        high[index], low[index] = reference.group_bits(group, signed, encoding)
    return high, low


def check(x, sizes, axes, **how):
    signed = x.dtype.kind == "i" if how.get("signed") is None else how["signed"]
    wanted = reference_widths(x, sizes, axes, signed, how.get("encoding", "twos_complement"))
    size, axis = (sizes, axes) if len(sizes) == 2 else (sizes[0], axes[0])
    high, low = fl.group_bits(x, size, axis, ends="both", **how)
    assert_array_equal(high, wanted[0])
    assert_array_equal(low, wanted[1])
    assert_array_equal(fl.group_bits(x, size, axis, **how), wanted[0])
    assert high.dtype == low.dtype == np.uint8


def spread(dtype, shape, seed=0):
    """Values of all widths, the extremes of the type among them."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    bits = 8 * dtype.itemsize
    words = rng.integers(0, 2**bits, shape, np.uint64) >> rng.integers(0, bits, shape, np.uint64)
    x = words.astype(dtype)
    if dtype.kind == "i":
        x = np.where(rng.random(shape) < 0.5, x, ~x)
    x.flat[:: max(x.size // 3, 1)] = np.iinfo(dtype).min
    return x


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_value_or_every_width(target, dtype, encoding):
    if np.dtype(dtype).itemsize <= 2:
        every = np.arange(1 << 8 * np.dtype(dtype).itemsize, dtype=f"u{np.dtype(dtype).itemsize}")
        x = every.view(dtype)
    else:
        powers = np.uint32(1) << np.arange(32, dtype=np.uint32)
        around = [powers, powers - 1, powers + 1, ~powers, powers * 3, 0 - powers]
        x = np.concatenate(around).astype(np.uint32).view(dtype)
    check(x, (1,), (0,), encoding=encoding)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 8, 12, 16, 24, 32, 40, 64, 100, 10**9])
def test_sizes(target, dtype, size):
    for encoding in ENCODINGS:
        check(spread(dtype, 1000), (size,), (0,), encoding=encoding)
        check(spread(dtype, (3, 70)), (size,), (1,), encoding=encoding)
        check(spread(dtype, (70, 3)), (size,), (0,), encoding=encoding)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("size", [2048, 8192, 9000, 16384])
def test_groups_longer_than_a_step(target, dtype, size):
    x = np.zeros(2 * 16384 + 24, dtype)
    x[5000], x[-30], x[20000] = 77, 4, 16
    for encoding in ENCODINGS:
        check(x, (size,), (0,), encoding=encoding)
        check(-x, (size,), (0,), encoding=encoding)
    check(np.tile(x[:, None], 2), (size,), (0,))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axes", [(0, 1), (1, 2), (2, 0), (1, 3), (0, 3), (-1, -2)])
def test_tiles(target, dtype, axes):
    x = spread(dtype, (3, 18, 5, 20))
    for sizes in ((16, 16), (2, 8), (1, 3), (100, 4)):
        for encoding in ENCODINGS:
            check(x, sizes, axes, encoding=encoding)
    check(x[::2, ::-1, :, 1::2], (4, 3), axes)


@pytest.mark.parametrize("order", ["transposed", "reversed", "strided", "swapped", "unaligned"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_any_memory(dtype, order):
    x = spread(dtype, (50, 34))
    room = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    room[...] = x
    x = {
        "transposed": x.T, "reversed": x[::-1, ::-1], "strided": x[::3, ::2],
        "swapped": x.astype(x.dtype.newbyteorder()), "unaligned": room,
    }[order]  # fmt: skip
    for axis in (0, 1):
        check(x, (16,), (axis,))
    x.flags.writeable = False
    check(x, (3, 16), (1, 0))


def test_slabs_change_nothing(monkeypatch):
    x = spread("int16", (40, 30, 20))
    x[1:] <<= 4  # so that the first rows alone have the lowest bits
    whole = [fl.group_bits(x, 7, axis) for axis in range(3)]
    statistics = [fl.width_statistics(x, 7, axis, ends="both") for axis in range(3)]
    monkeypatch.setattr(precision, "_SLAB", 100)
    for axis in range(3):
        moved = np.asfortranarray(x)
        assert_array_equal(fl.group_bits(moved, 7, axis), whole[axis])
        assert_array_equal(fl.group_bits(moved, (7, 1), (axis, axis - 1)), whole[axis])
        assert fl.width_statistics(moved, 7, axis, ends="both") == statistics[axis]


@given(st.sampled_from(DTYPES), st.data())
def test_any_array(dtype, data):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(min_dims=2, max_dims=4, max_side=7)))
    axes = data.draw(st.permutations(range(x.ndim)))[: data.draw(st.integers(1, 2))]
    sizes = [data.draw(st.integers(1, 9)) for _ in axes]
    check(x, tuple(sizes), tuple(axes), encoding=data.draw(st.sampled_from(ENCODINGS)))


def test_sign_of_the_tensor():
    x = np.int16([[1, 2], [3, 4]])
    assert_array_equal(fl.group_bits(x, 2, signed="tensor"), [[2], [3]])
    x[0, 0] = -1
    assert_array_equal(fl.group_bits(x, 2, signed="tensor"), [[3], [4]])
    assert_array_equal(fl.group_bits(x.view(np.uint16), 2, signed="tensor"), [[16], [3]])


def test_most_negative_value_in_sign_magnitude():
    for bits in (8, 16, 32):
        x = np.array([-(2 ** (bits - 1))], f"int{bits}")
        assert fl.group_bits(x, encoding="sign_magnitude") == bits + 1
        assert fl.group_bits(x) == bits


@pytest.mark.parametrize("ends", ["leading", "both"])
def test_even_widths(ends):
    x = spread("int16", (20, 48))
    high, low = fl.group_bits(x, 16, ends="both")
    found = fl.group_bits(x, 16, ends=ends, even_widths=True)
    if ends == "leading":
        assert_array_equal(found, 2 * np.ceil(high / 2))
    else:
        assert_array_equal(found[0] - found[1], 2 * np.ceil((high - low) / 2))
        assert_array_equal(found[1], low)


@pytest.mark.parametrize("name", ["fixed_s3_4", "fixed_u3_4", "int8", "fixed_s7_8"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.float16, np.int16])
def test_float_data_through_a_format(target, name, dtype):
    fmt = fl.get_format(name)
    x = (np.random.default_rng(0).standard_normal((9, 40)) * 20).astype(dtype)
    if not fmt.signed:
        x = abs(x)
    steps = np.asarray(fl.decode(fl.encode(x, fmt), fmt)).astype(float) * 2.0**fmt.fraction_bits
    integers = steps.astype(np.int32)
    for encoding in ENCODINGS:
        wanted = reference_widths(integers, (16,), (1,), fmt.signed, encoding)
        for data in (x, np.asfortranarray(x)):
            high, low = fl.group_bits(data, ends="both", fmt=fmt, encoding=encoding)
            assert_array_equal(high, wanted[0])
            assert_array_equal(low, wanted[1])


@pytest.mark.parametrize("how", [{}, {"ends": "both"}, {"even_widths": True}])
@pytest.mark.parametrize("shape", [(3, 40), (1, 16), (7, 5)])
def test_statistics(how, shape):
    x = spread("int16", shape) & np.int16(0x3F0)
    for size, axis in ((16, 1), ((2, 3), (0, 1))):
        found = fl.width_statistics(x, size, axis, **how)
        widths = fl.group_bits(x, size, axis, **how)
        if isinstance(widths, tuple):
            widths = widths[0] - widths[1]
        high, low = reference.group_bits(x.ravel().tolist(), True)
        layer = high - low if "ends" in how else high
        assert found.layer_width == layer + (layer % 2 if "even_widths" in how else 0)
        assert found.groups == widths.size
        assert found.values == x.size
        assert found.histogram == tuple(np.bincount(widths.ravel()).tolist())
        assert found.mean == widths.mean(dtype=float)
        sizes = size if isinstance(size, tuple) else (1, size)
        spread_out = np.repeat(np.repeat(widths, sizes[0], 0), sizes[1], 1)
        assert found.value_bits == spread_out[: shape[0], : shape[1]].sum(dtype=int)


def test_statistics_of_nothing():
    found = fl.width_statistics(np.zeros((0, 4), np.int8))
    assert (found.layer_width, found.groups, found.values, found.histogram, found.value_bits) == (
        0,
        0,
        0,
        (),
        0,
    )
    assert math.isnan(found.mean)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.group_bits(x, (4, 4)), ValueError, "must both be pairs"),
        (lambda x: fl.group_bits(x, 4, (0, 1)), ValueError, "must both be pairs"),
        (lambda x: fl.group_bits(x, (4, 4), (0, -2)), ValueError, "must be two"),
        (lambda x: fl.group_bits(x, (4, 0), (0, 1)), ValueError, "at least 1"),
        (lambda x: fl.group_bits(x, encoding="ones_complement"), ValueError, "ones_complement"),
        (lambda x: fl.group_bits(x, even_widths=1), TypeError, "even_widths"),
        (lambda x: fl.group_bits(x.astype(np.int64)), TypeError, "int64"),
        (lambda x: fl.group_bits(x, fmt="e4m3"), TypeError, "float8_e4m3fn"),
        (lambda x: fl.group_bits(x, fmt=fl.bfp(4).element), ValueError, "elements of blocks"),
        (lambda x: fl.group_bits(x, signed="all"), TypeError, "signed"),
        (lambda x: fl.group_bits((-x).view("u4"), signed=True), ValueError, "33rd bit"),
        (lambda x: fl.width_statistics(x, ends="low"), ValueError, "ends"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int32))
