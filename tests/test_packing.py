"""Packed codes and checksums against exact arithmetic."""

import numpy as np
import pytest
from cases import BLOCK_NAMES, ELEMENTWISE_NAMES
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib._core import kernels
from fmtlib.formats import FORMATS

SIZES = [*range(20), 511, 512, 513, 1031]  # the tail of eight codes, chunks of 512


def limits(fmt):
    signed = fmt.code_dtype.kind == "i"
    return (-(1 << fmt.bits - 1), 1 << fmt.bits - 1) if signed else (0, 1 << fmt.bits)


@pytest.mark.parametrize("bits", range(1, 33))
def test_any_width(target, bits):
    rng = np.random.default_rng(bits)
    for size in SIZES:
        codes = rng.integers(0, 1 << bits, size, np.uint64)
        packed = fl.pack(codes, bits)
        assert packed.tobytes() == reference.pack(codes.tolist(), bits)
        assert packed.dtype == np.uint8
        again = fl.unpack(packed, bits, size)
        assert again.dtype == (np.uint8 if bits <= 8 else np.uint16 if bits <= 16 else np.uint32)
        assert_array_equal(again, codes)


@pytest.mark.parametrize("name", [*ELEMENTWISE_NAMES, *BLOCK_NAMES])
def test_every_format(target, name):
    fmt = FORMATS[name]
    low, high = limits(fmt)
    rng = np.random.default_rng(1)
    ends = np.array([low, high - 1, 0])
    for size in SIZES:
        codes = np.append(rng.integers(low, high, size), ends).astype(fmt.code_dtype)
        packed = fl.pack(codes, fmt)
        assert packed.tobytes() == reference.pack(codes.tolist(), fmt.bits)
        again = fl.unpack(packed, name, codes.shape)
        assert again.dtype == fmt.code_dtype
        assert_array_equal(again, codes)


@given(st.integers(1, 16), st.data())
def test_signed_codes(bits, data):
    """Formats of 2 to 16 bits with a sign: two's complement in the low bits, extended again."""
    fmt = fl.IntegerFormat(max(bits, 2), symmetric=False)
    codes = data.draw(st.lists(st.integers(fmt.min_integer, fmt.max_integer), max_size=40))
    array = np.array(codes, fmt.code_dtype)
    packed = fl.pack(array, fmt)
    assert packed.tobytes() == reference.pack(codes, fmt.bits)
    assert_array_equal(fl.unpack(packed.tobytes(), fmt, len(codes)), array)


def test_layout():
    """4 bits: the first code in the low half, as ONNX and torch have it; 6 bits: four in three."""
    assert fl.pack([0x1, 0x2, 0x3], 4).tolist() == [0x21, 0x03]
    assert fl.pack([0b000001, 0b000010, 0b000011, 0b100100], 6).tolist() == [
        0b10_000001, 0b0011_0000, 0b100100_00,
    ]  # fmt: skip
    shape = (3, 5)
    codes = np.arange(15, dtype=np.uint8).reshape(shape)
    for same in (codes, np.asfortranarray(codes), codes.astype(">u2"), codes[::1, ::1].tolist()):
        assert_array_equal(fl.pack(same, 4), fl.pack(codes.ravel(), 4))
    assert_array_equal(fl.pack(codes[::-1, ::-2], 4), fl.pack(codes[::-1, ::-2].copy(), 4))
    assert_array_equal(fl.unpack(fl.pack(codes, 4), 4, shape), codes)


@pytest.mark.parametrize("shape", [(), (0,), (2, 0, 3), (1, 1)])
def test_shapes(shape):
    codes = np.ones(shape, np.uint8)
    packed = fl.pack(codes, "e2m1")
    assert packed.shape == (-(-codes.size * 4 // 8),)
    assert_array_equal(fl.unpack(packed, "e2m1", shape), codes, strict=True)
    assert fl.pack([], 5).size == 0


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda: fl.pack([16], 4), ValueError, "from 0 to 15, got 16"),
        (lambda: fl.pack([-1], 4), ValueError, "from 0 to 15, got -1"),
        (lambda: fl.pack(np.int8([8]), "int4"), ValueError, "from -8 to 7, got 8"),
        (lambda: fl.pack(np.uint8([64]), "e2m3"), ValueError, "from 0 to 63"),
        (lambda: fl.pack([1.0], 4), TypeError, "integers, got float64"),
        (lambda: fl.pack([True], 4), TypeError, "integers, got bool"),
        (lambda: fl.pack(np.int64([1]), "e2m1"), TypeError, "are uint8, got int64"),
        (lambda: fl.pack(np.ma.array([1]), 4), TypeError, "masked"),
        (lambda: fl.pack([1], 0), ValueError, "from 1 to 32, got 0"),
        (lambda: fl.pack([1], 33), ValueError, "from 1 to 32, got 33"),
        (lambda: fl.pack([1], True), TypeError, "integer"),
        (lambda: fl.pack([1], 4.0), TypeError, "a format is"),
        (lambda: fl.pack(fl.encode(np.ones(3), fl.bfp(4)), 4), TypeError, "integers, got float"),
        (lambda: fl.unpack(b"\x11", 4, 3), ValueError, "packed in 2 bytes, got 1"),
        (lambda: fl.unpack(b"\x11\x01\x00", 4, 3), ValueError, "packed in 2 bytes, got 3"),
        (lambda: fl.unpack(b"\x11\x11", 4, 3), ValueError, "must be zero"),
        (lambda: fl.unpack(b"", 4, 2**62), ValueError, "bytes, got 0"),
        (lambda: fl.unpack(b"", 4, (2**62, 2**62)), ValueError, "bytes, got 0"),
        (lambda: fl.unpack(b"", 4, -1), ValueError, "from 0 to"),
        (lambda: fl.unpack(b"", 4, (2**70, 0)), ValueError, "from 0 to"),
        (lambda: fl.unpack(b"\x01", 4, 1.0), TypeError, "integer"),
        (lambda: fl.unpack([1, 2], 4, 4), TypeError, "uint8, got int64"),
        (lambda: fl.unpack(np.zeros((1, 1), np.uint8), 4, 2), ValueError, "one-dimensional"),
    ],
)
def test_wrong_arguments(call, error, match):
    with pytest.raises(error, match=match):
        call()


def test_read_only_and_strided_bytes():
    packed = fl.pack(np.arange(16), 5)
    packed.flags.writeable = False
    doubled = np.repeat(packed, 2)
    for same in (packed, doubled[::2], packed.tobytes(), bytearray(packed), memoryview(packed)):
        assert_array_equal(fl.unpack(same, 5, 16), np.arange(16))


@pytest.mark.parametrize(
    ("data", "expected"),
    [  # RFC 3720, appendix B.4, and the check value of the Rocksoft model
        (bytes(32), 0x8A9136AA),
        (b"\xff" * 32, 0x62A8AB43),
        (bytes(range(32)), 0x46DD794E),
        (bytes(reversed(range(32))), 0x113FDB5C),
        (b"123456789", 0xE3069283),
        (b"", 0),
    ],
)
def test_crc32c_vectors(data, expected):
    assert kernels.crc32c(data) == reference.crc32c(data) == expected


@given(st.binary(max_size=100), st.integers(0, 100))
def test_crc32c(data, cut):
    assert kernels.crc32c(data) == reference.crc32c(data)
    assert kernels.crc32c(data[cut:], kernels.crc32c(data[:cut])) == kernels.crc32c(data)
