"""Competing encodings as bytes: streams against plain Python, sizes, round trips, hostile bytes."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import bricks, compression, precision, reference

DTYPES = precision.INTEGERS
NAMES = tuple(bricks.CODECS)


def few(dtype, shape, zeros=0.5, seed=0):
    """Values of all sizes, zeros and the extremes of the type among them."""
    rng, info = np.random.default_rng(seed), np.iinfo(dtype)
    x = rng.integers(info.min, info.max, shape, dtype, endpoint=True) >> rng.integers(0, 8, shape)
    x = np.where(rng.random(shape) < zeros, 0, x).astype(dtype)
    if x.size:
        x.reshape(-1)[-1] = info.min
    return x


# The streams of a list of rows of unsigned numbers, as (headers, their width, flags, payload).


def packed(numbers, width):
    return reference.pack(numbers, width) if width else b""


def flat(rows):
    return [value for row in rows for value in row]


def bricks_of(rows, size):
    return [row[i : i + size] for row in rows for i in range(0, len(row), size)]


def zero_run(rows, bits, size, pointer_bits):
    runs, values, run = [], [], 0
    for value in flat(rows):
        if value or run == 15:
            runs.append(run)
            values.append(value)
            run = 0
        else:
            run += 1
    return packed(runs, 4), b"", packed(values, bits)


def zfnaf(rows, bits, size, pointer_bits):
    offsets, values = [], []
    for brick in bricks_of(rows, size):
        some = [(i, value) for i, value in enumerate(brick) if value]
        some += [(0, 0)] * (len(brick) - len(some))
        offsets += [i for i, _ in some]
        values += [value for _, value in some]
    return packed(offsets, (size - 1).bit_length()), b"", packed(values, bits)


def roe(rows, bits, size, pointer_bits):
    flags, places, at = [], 0, 0
    offset_bits = (size - 1).bit_length()
    for brick in bricks_of(rows, size):
        some = [(i, value) for i, value in enumerate(brick) if value]
        room, slot = len(brick) * bits, bits + offset_bits
        flags.append(int(len(some) * slot <= room))
        if flags[-1]:
            numbers, width = [i | value << offset_bits for i, value in some], slot
        else:
            numbers, width = brick, bits
        for i, number in enumerate(numbers):
            places |= number << (at + i * width)
        at += room
    return packed(flags, 1), b"", places.to_bytes(at // 8, "little")


def viai(rows, bits, size, pointer_bits):
    values = flat(rows)
    return b"", packed([int(value != 0) for value in values], 1), packed(values, bits)


def indirection(rows, bits, size, pointer_bits):
    pointers, stored = [], []
    for brick in bricks_of(rows, size):
        pointers.append(len(stored))
        stored += [value for value in brick if value]
    flags = packed([int(value != 0) for value in flat(rows)], 1)
    return packed(pointers, pointer_bits), flags, packed(stored, bits)


def profiled(rows, bits, size, pointer_bits):
    numbers = flat(rows)
    negative = any(x < 0 for x in numbers)
    width = max([1, *((~x if x < 0 else x).bit_length() for x in numbers)]) + negative
    words = [x & ((1 << width) - 1) for x in numbers]
    return packed([width - 1], (bits - 1).bit_length()), b"", packed(words, width)


def raw(rows, bits, size, pointer_bits):
    return b"", b"", packed(flat(rows), bits)


def check(x, name, group_size=16, axis=-1, **how):
    c = fl.compress(x, group_size, axis, encoding=name, **how)
    data = c.tobytes()
    for again in (fl.decompress(c), fl.decompress(data), fl.decompress(bytearray(data))):
        assert_array_equal(again, x)
        assert again.dtype == x.dtype.newbyteorder("=")
        assert again.flags.c_contiguous
    assert c.nbytes == len(data)
    assert c.ratio == x.nbytes / len(data)
    size = fl.storage_size(x, name, group_size, axis, **how)
    assert (c.header_bits + c.zero_vector_bits) == size.metadata_bits
    assert (c.payload_bits, c.bits) == (size.payload_bits, size.bits)
    moved = np.moveaxis(x, axis, -1) if name in ("zfnaf", "roe", "viai", "indirection") else x
    bits = 8 * x.itemsize
    mask = ~0 if name == "profiled" else (1 << bits) - 1
    rows = [[int(value) & mask for value in row] for row in moved.reshape(-1, moved.shape[-1])]
    pointer_bits = how.get("pointer_bits", max(x.size - 1, 0).bit_length())
    expected = globals()[name](rows, bits, group_size, pointer_bits)
    assert tuple(part.tobytes() for part in (c.headers, c.zeros, c.payload)) == expected
    return c


@pytest.mark.parametrize("name", NAMES)
@given(dtype=st.sampled_from(DTYPES), data=st.data())
def test_any_array(name, dtype, data):
    shape = data.draw(hnp.array_shapes(max_dims=3, max_side=20))
    info = np.iinfo(dtype)
    some = st.sampled_from([0, 0, 0, 1, info.min, info.max])
    x = data.draw(hnp.arrays(dtype, shape, elements=some | hnp.from_dtype(np.dtype(dtype))))
    check(x, name, data.draw(st.integers(1, 40)), data.draw(st.integers(-x.ndim, x.ndim - 1)))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("zeros", [0, 0.3, 0.9, 1])
@pytest.mark.parametrize("dtype", DTYPES)
def test_streams(dtype, zeros, name):
    for group_size, axis in ((1, 0), (3, 0), (16, 1), (24, 1), (1000, 1)):
        check(few(dtype, (9, 53), zeros), name, group_size, axis)


@pytest.mark.parametrize("name", NAMES)
def test_every_value(name):
    for dtype in ("int8", "uint8", "int16", "uint16"):
        x = np.arange(1 << 8 * np.dtype(dtype).itemsize, dtype=np.uint32).astype(dtype)
        c = fl.compress(np.random.default_rng(0).permutation(x), encoding=name)
        assert_array_equal(np.sort(fl.decompress(c.tobytes())), np.sort(x))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("shape", [(0,), (0, 4), (4, 0), (1,), (1, 1)])
def test_nothing_and_one(name, shape):
    for axis in range(len(shape)):
        c = fl.compress(np.zeros(shape, np.int16), 16, axis, encoding=name)
        assert fl.decompress(c.tobytes()).shape == shape
        assert c.bits == fl.storage_size(np.zeros(shape, np.int16), name, 16, axis).bits


@pytest.mark.parametrize("name", NAMES)
def test_any_memory(name, monkeypatch):
    monkeypatch.setattr(bricks, "_SLAB", 3)
    x = few("int16", (20, 33))
    for view in (x, x.T, x[::-1, ::2], np.asfortranarray(x), x.astype(">i2")):
        for axis in (0, 1):
            plain = check(view, name, 5, axis)
            again = fl.compress(np.array(view, np.int16), 5, axis, encoding=name)
            assert plain.tobytes() == again.tobytes()


def test_runs_of_zeros():
    for before in (0, 14, 15, 16, 17, 31, 32, 33):
        for after in (0, 15, 16, 17, 32):
            x = np.zeros(before + 1 + after, np.int16)
            x[before] = -7
            check(x, "zero_run")
            check(x * 0, "zero_run")


def test_pointers():
    x = few("int16", (4, 64), zeros=0.1)
    for pointer_bits in (8, 9, 32, 33, 40, 64):
        check(x, "indirection", pointer_bits=pointer_bits)
    with pytest.raises(ValueError, match=r"cannot hold this with pointer_bits=7: .* start at"):
        fl.compress(x, encoding="indirection", pointer_bits=7)


def test_great_bricks_take_no_more_memory():
    x = np.ones((3000, 2), np.int8)
    for name in NAMES:
        check(x, name, 65536)


def test_documented_layout():
    data = fl.compress(np.int8([[0, 5]]), 2, encoding="indirection", pointer_bits=3).tobytes()
    number = ["dpred", *NAMES].index("indirection")
    assert data[:18] == b"\x93fmtgroups" + bytes([1, number, 0, 2, 1, 0, 1, 3])
    assert struct.unpack("<4Q", data[18:50]) == (2, 8, 1, 2)
    assert data[50:-4] == bytes([0, 0b10, 5])
    assert int.from_bytes(data[-4:], "little") == reference.crc32c(data[:-4])


def test_what_groups_alone_have():
    c = fl.compress(np.int8([1, 0]), encoding="roe")
    assert "encoding='roe'" in repr(c)
    for call in (c.widths, lambda: c.read(0)):
        with pytest.raises(ValueError, match=r"only 'dpred' .* not 'roe'"):
            call()


# --- hostile bytes --------------------------------------------------------------------------


def sealed(data):
    """The bytes with a checksum that is right."""
    return data[:-4] + struct.pack("<I", fl._core.kernels.crc32c(data[:-4]))


def samples(name):
    for dtype, shape, size in (("int16", (3, 21), 8), ("uint8", (40,), 16), ("int32", (2, 9), 4)):
        for zeros in (0.3, 0.9):
            yield few(dtype, shape, zeros), size
    yield np.zeros(0, np.int8), 4


def accepts(data):
    """Whether the bytes are taken; those that are, are what `tobytes` writes of their array."""
    try:
        c = compression.CompressedArray.frombytes(data)
    except ValueError:
        return False
    x = fl.decompress(c)
    assert x.shape == c.shape
    assert x.nbytes <= 64 * len(data)
    if c.encoding != "dpred":
        how = {"pointer_bits": c.pointer_bits} if c.encoding == "indirection" else {}
        again = fl.compress(x, c.group_size, c.axis, encoding=c.encoding, **how)
        assert again.tobytes() == data
    return True


@pytest.mark.parametrize("name", ["dpred", *NAMES])
def test_every_truncation_and_bit_flip(name):
    for x, size in samples(name):
        data = fl.compress(x, size, encoding=name).tobytes()
        assert accepts(data)
        for n in range(len(data)):
            assert not accepts(data[:n])
            if n > 4:
                assert not accepts(sealed(data[:n]))
        for bit in range(8 * len(data)):
            wrong = bytearray(data)
            wrong[bit // 8] ^= 1 << bit % 8
            assert not accepts(bytes(wrong))
            accepts(sealed(bytes(wrong)))


def fuzz(name, cases, seed):
    """Bytes changed at random, cut, lengthened, and half of them sealed again."""
    rng = np.random.default_rng(seed)
    whole = [fl.compress(x, size, encoding=name).tobytes() for x, size in samples(name)]
    taken = 0
    for case in range(cases):
        data = bytearray(whole[case % len(whole)])
        kind = rng.integers(4)
        for _ in range(rng.integers(1, 5)):
            # the header more often than chance would have it
            most = 60 if kind == 0 else len(data)
            data[rng.integers(min(most, len(data)))] = rng.integers(256)
        if kind == 2:
            data = data[: rng.integers(len(data))]
        elif kind == 3:
            data += rng.bytes(rng.integers(1, 9))
        wrong = bytes(data) if bytes(data) not in whole else b""
        assert not accepts(wrong)
        if case % 2 and len(wrong) > 4:
            taken += accepts(sealed(wrong))
    return taken


@pytest.mark.parametrize("name", ["dpred", *NAMES])
def test_some_hostile_bytes(name):
    assert fuzz(name, 3000, 0) > 0


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["dpred", *NAMES])
def test_100000_hostile_bytes(name):
    assert fuzz(name, 100_000, 1) > 0


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: fl.compress(x, encoding="zip"), ValueError, "that can be decoded, dpred, raw"),
        (lambda x: fl.compress(x, encoding="shapeshifter"), ValueError, "can be decoded"),
        (lambda x: fl.compress(x, 0, encoding="raw"), ValueError, "from 1 to 65536"),
        (lambda x: fl.compress(x, 65537, encoding="roe"), ValueError, "from 1 to 65536"),
        (lambda x: fl.compress(x, encoding="roe", zero_vector=True), ValueError, "for 'dpred'"),
        (lambda x: fl.compress(x, encoding="roe", pointer_bits=3), ValueError, "'indirection'"),
        (lambda x: fl.compress(x, pointer_bits=3), ValueError, "'indirection'"),
        (
            lambda x: fl.compress(x, encoding="indirection", pointer_bits=65),
            ValueError,
            "from 0 to 64",
        ),
        (lambda x: fl.compress(x.astype(float), encoding="raw"), TypeError, "float64"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones((3, 4), np.int32))
