"""Compression of groups: round trips, streams against plain Python, and hostile bytes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import compression, precision, reference

DTYPES = precision.INTEGERS


def spread(dtype, shape, zeros=0.3, negative=0.5, seed=0):
    """Values of all widths, the extremes of the type among them."""
    rng, dtype = np.random.default_rng(seed), np.dtype(dtype)
    bits = 8 * dtype.itemsize
    words = rng.integers(0, 2**bits, shape, np.uint64) >> rng.integers(0, bits, shape, np.uint64)
    x = np.where(rng.random(shape) < zeros, 0, words).astype(dtype)
    if dtype.kind == "i":
        x = np.where(rng.random(shape) < negative, ~abs(x), abs(x)).astype(dtype)
    return x


def groups_of(x, group_size, axis):
    moved = np.moveaxis(x, axis, -1)
    size = min(group_size, max(moved.shape[-1], 1))
    rows = moved.reshape(-1, moved.shape[-1]) if x.size else np.empty((0, 1), x.dtype)
    return [
        row[i : i + size].tolist() for row in rows for i in range(0, moved.shape[-1], size)
    ]  # fmt: skip


def check(x, group_size=16, axis=-1, zero_vector=None):
    c = fl.compress(x, group_size, axis, zero_vector=zero_vector)
    data = c.tobytes()
    for again in (fl.decompress(c), fl.decompress(data), fl.decompress(bytearray(data))):
        assert_array_equal(again, x)
        assert again.dtype == x.dtype.newbyteorder("=")
        assert again.flags.c_contiguous
    assert c.nbytes == len(data)
    assert c.ratio == x.nbytes / len(data)
    groups = groups_of(x, group_size, axis)
    assert c.groups == len(groups)
    bits = 8 * x.itemsize
    streams = reference.group_streams(groups, bits, c.signs, c.zero_vector)
    assert (c.headers.tobytes(), c.zeros.tobytes(), c.payload.tobytes()) == streams
    candidates = [zero_vector] if zero_vector is not None else [False, True]
    signs = ["all", "each"] if x.size and x.min() < 0 else ["none"]
    choices = [(s, z) for s in signs for z in candidates]
    assert c.bits == min(stream_bits(groups, bits, *choice) for choice in choices)
    return c


def stream_bits(groups, bits, signs, zero_vector):
    total = 0
    for group in groups:
        signed = signs == "all" or (signs == "each" and min(group) < 0)
        width = max(max((~x if x < 0 else x).bit_length() for x in group) + signed, 1)
        total += (bits - 1).bit_length() + (signs == "each")
        total += len(group) * zero_vector
        total += width * sum(1 for x in group if x or not zero_vector)
    return total


@pytest.mark.parametrize("zero_vector", [None, False, True])
@pytest.mark.parametrize("group_size", [1, 3, 4, 8, 16, 24, 100])
@pytest.mark.parametrize("dtype", DTYPES)
def test_streams(target, dtype, group_size, zero_vector):
    for zeros in (0, 0.3, 0.9, 1):
        for negative in (0, 0.02, 0.5):
            check(spread(dtype, (3, 53), zeros, negative), group_size, 1, zero_vector)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16"])
def test_every_value(target, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    x = np.arange(1 << bits, dtype=f"u{bits // 8}").view(dtype)
    for zero_vector in (False, True):
        for order in (x, np.random.default_rng(0).permutation(x)):
            c = fl.compress(order, zero_vector=zero_vector)
            assert_array_equal(fl.decompress(c), order)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_width_alone(target, dtype):
    bits = 8 * np.dtype(dtype).itemsize
    for i in range(bits):
        word = np.array([1 << i, (1 << i) - 1, (1 << bits) - (1 << i)], np.uint64).astype(dtype)
        for count in (1, 7, 16, 19):
            for value in word:
                check(np.full(count, value))


@given(st.sampled_from(DTYPES), st.sampled_from([None, False, True]), st.data())
def test_any_array(dtype, zero_vector, data):
    x = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=3, max_side=20)))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    check(x, data.draw(st.integers(1, 40)), axis, zero_vector)


def test_sign_magnitude_could_not(target):
    for bits in (8, 16, 32):
        x = np.full(16, -(2 ** (bits - 1)), f"int{bits}")
        assert (check(x).widths() == bits).all()


@pytest.mark.parametrize("axis", [0, 1, 2])
@pytest.mark.parametrize("slab", [64, 1 << 16])
def test_any_memory(target, axis, slab, monkeypatch):
    monkeypatch.setattr(compression, "_SLAB", slab)
    x = spread("int16", (20, 18, 7))
    for view in (x, x.T, x[::-1, ::2, ::-1], np.asfortranarray(x), x.astype(">i2")):
        plain = check(view, 5, axis)
        assert plain.tobytes() == fl.compress(np.array(view, np.int16), 5, axis).tobytes()


@pytest.mark.parametrize("zero_vector", [False, True])
@pytest.mark.parametrize("dtype", DTYPES)
def test_random_access(target, dtype, zero_vector):
    x = spread(dtype, (7, 333))
    for group_size, axis in ((16, 1), (5, 0), (64, 1)):
        c = fl.compress(x, group_size, axis, zero_vector=zero_vector)
        groups = groups_of(x, group_size, axis)
        for g in range(0, c.groups, 3):
            assert c.read(g).tolist() == groups[g]
        assert_array_equal(c.read(0, c.groups), np.concatenate([np.array(g) for g in groups]))
        assert c.read(3, 3).size == 0
    assert np.prod(c.grid) == c.groups
    for bad in ((c.groups,), (-1,), (3, 2), (0, c.groups + 1)):
        with pytest.raises((IndexError, ValueError)):
            c.read(*bad)


@pytest.mark.parametrize("dtype", DTYPES)
def test_columns(target, dtype):
    """Groups along other axes, where columns are measured side by side and copied in tiles."""
    for shape, axis in (((40, 70), 0), ((3, 33, 5, 40), 1), ((300, 17), 0), ((2, 600, 1100), 1)):
        x = spread(dtype, shape, zeros=0.6)
        for group_size in (5, 16, 290):
            plain = fl.compress(np.ascontiguousarray(np.moveaxis(x, axis, -1)), group_size, -1)
            c = fl.compress(x, group_size, axis)
            assert (c.signs, c.zero_vector, c.bits) == (plain.signs, plain.zero_vector, plain.bits)
            for name in ("headers", "zeros", "payload"):
                assert_array_equal(getattr(c, name), getattr(plain, name))
            assert_array_equal(fl.decompress(c), x)


@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0)])
def test_empty(shape):
    for axis in range(len(shape)):
        check(np.zeros(shape, np.int16), 16, axis)


def test_documented_layout():
    c = fl.compress(np.array([[1, -1], [0, 3]], np.int8), 2, 1, zero_vector=True)
    data = c.tobytes()
    assert data[:10] == b"\x93fmtgroups"
    signs = ("none", "all", "each").index(c.signs)
    assert data[10:18] == bytes([1, 0, 0, 2, 1, signs, 1, 0])
    assert struct.unpack("<4Q", data[18:50]) == (2, c.payload_bits, 2, 2)
    assert int.from_bytes(data[-4:], "little") == reference.crc32c(data[:-4])


def test_slices_of_bytes_and_numbers_of_bits():
    x = spread("int16", (64, 64), zeros=0.8)
    c = fl.compress(x)
    assert c.zero_vector
    assert c.zero_vector_bits == x.size
    assert c.bits == c.header_bits + c.zero_vector_bits + c.payload_bits
    assert "ratio=" in repr(c)
    assert_array_equal(fl.decompress(memoryview(b"xx" + c.tobytes())[2:]), x)


def sealed(data):
    """The bytes with a checksum that is right."""
    return data[:-4] + struct.pack("<I", reference.crc32c(data[:-4]))


SAMPLES = [
    fl.compress(spread("int16", (3, 21)), 8, zero_vector=True),
    fl.compress(spread("uint8", 40), 16, zero_vector=False),
    fl.compress(spread("int32", (2, 9), negative=0.1), 4, zero_vector=False),
]


@pytest.mark.parametrize("c", SAMPLES)
def test_every_truncation(c):
    data = c.tobytes()
    for n in range(len(data)):
        with pytest.raises(ValueError, match=r"truncated|corrupted|magic"):
            fl.decompress(data[:n])
        if n > 8:
            with pytest.raises(ValueError, match=r"truncated|corrupted|magic"):
                fl.decompress(sealed(data[:n]))
    with pytest.raises(ValueError, match="bytes expected"):
        fl.decompress(data + b"\0")


@pytest.mark.parametrize("c", SAMPLES)
def test_every_bit_flip(target, c):
    """Without the right checksum an error; with it an error or other values, never a crash."""
    data = c.tobytes()
    for bit in range(8 * len(data)):
        wrong = bytearray(data)
        wrong[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"corrupted|truncated|magic|version"):
            fl.decompress(bytes(wrong))
        if bit < 8 * (len(data) - 4):
            try:
                fl.decompress(sealed(bytes(wrong)))
            except ValueError:
                continue


@given(st.integers(0, 2), st.data())
def test_sealed_garbage(which, data):
    whole = SAMPLES[which].tobytes()
    wrong = bytearray(whole)
    for _ in range(data.draw(st.integers(1, 8))):
        wrong[data.draw(st.integers(0, len(whole) - 5))] = data.draw(st.integers(0, 255))
    cut = wrong[: data.draw(st.integers(20, len(wrong)))]
    for candidate in (wrong, cut):
        try:
            x = fl.decompress(sealed(bytes(candidate)))
        except ValueError:
            continue
        assert x.nbytes <= 64 * len(whole)


def test_headers_that_ask_for_too_much(target):
    """The kernel itself, whatever it is told, reads nothing beyond the streams."""
    for dtype in DTYPES:
        for sparse in (False, True):
            codec = fl._core.kernels.GroupCodec(np.dtype(dtype), "none", sparse, 100, 16)
            headers = np.full(7, 8 * np.dtype(dtype).itemsize - 1, np.uint8)
            out, empty = np.ones(100, dtype), np.empty(0, np.uint8)
            codec.decode(0, headers, empty, empty, 0, out)
            assert not out.any()


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.compress(x.astype(float)), TypeError, "float64"),
        (lambda x: fl.compress(x, 0), ValueError, "at least 1"),
        (lambda x: fl.compress(x, 16, 2), IndexError, "axis 2"),
        (lambda x: fl.compress(x[0, 0]), ValueError, "at least one dimension"),
        (lambda x: fl.compress(x, zero_vector="yes"), TypeError, "zero_vector"),
        (lambda x: fl.decompress(x), TypeError, "ndarray"),
        (lambda x: fl.decompress(b""), ValueError, "truncated"),
        (lambda x: fl.decompress(bytes(100)), ValueError, "magic"),
        (lambda x: fl.decompress(b"\x93fmtgroups\x02" + bytes(99)), ValueError, "version 2"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int32))


def test_checksum_of_each_target(target):
    data = np.random.default_rng(0).integers(0, 256, 300).astype(np.uint8).tobytes()
    for start in range(9):
        for stop in (start, start + 1, start + 7, start + 64, 299, 300):
            part = data[start:stop]
            assert fl._core.kernels.crc32c(part) == reference.crc32c(part)
    assert fl._core.kernels.crc32c(data[100:], fl._core.kernels.crc32c(data[:100])) == (
        reference.crc32c(data)
    )
