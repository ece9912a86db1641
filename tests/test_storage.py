"""BlockArrays as bytes, planes, parts and other shapes."""

import copy
import math
import pickle
import struct
from dataclasses import replace

import numpy as np
import pytest
from cases import BLOCK_NAMES, WIDEST_BLOCKS
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib._core.kernels import crc32c

NAMES = [*BLOCK_NAMES, WIDEST_BLOCKS]
PLANAR = [
    name
    for name in NAMES
    if getattr(fl.get_format(name).element, "encoding", "") == "sign_magnitude"
]


def encoded(fmt, shape=(5, 77), axis=-1, seed=0):
    """Normal numbers over many binades, a NaN, zeros and -0 among them."""
    fmt = fl.get_format(fmt)
    rng = np.random.default_rng(seed)
    x = (rng.standard_normal(shape) * 2.0 ** rng.integers(-9, 9, shape)).astype(np.float32)
    flat = x.reshape(-1)
    flat[: flat.size // 9] = -0.0
    if flat.size > 3:
        flat[3] = np.nan
    if isinstance(fmt.block_size, tuple):
        axis = (0, 1)
    return fl.encode(x, replace(fmt, nonfinite="nan"), axis=axis)


def assert_same(a, b):
    assert (a.format, a.axis, a.tensor_scale) == (b.format, b.axis, b.tensor_scale)
    assert_array_equal(a.codes, b.codes, strict=True)
    assert_array_equal(a.scales, b.scales, strict=True)


# --- bytes ----------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [(5, 77), (1, 1), (0, 3), (4, 0), (2, 3, 40)])
@pytest.mark.parametrize("name", NAMES)
def test_bytes(name, shape):
    b = encoded(name, shape)
    data = b.tobytes()
    again = fl.BlockArray.frombytes(data)
    assert_same(again, b)
    assert again.tobytes() == data
    assert again.codes.flags.writeable
    assert_same(fl.BlockArray.frombytes(bytearray(data)), b)
    packed = -(-b.size * b.format.bits // 8) - (-b.scales.size * b.format.scale_bits // 8)
    scale = 4 * (b.tensor_scale is not None)
    assert len(data) == 16 + 8 * len(shape) + len(b.format.name) + scale + packed + 4


def test_layout_of_bytes():
    """Version 1, byte by byte: what was written once has to be read for ever."""
    b = fl.encode(np.float32([[1.0, -0.5, 0.25]]), fl.bfp(4, 5, 2))
    body = (
        b"\x93fmtlib" + bytes([1, 2, 1, 1, 0, 0, 12, 0, 0]) + struct.pack("<QQ", 1, 3)
        + b"bfp_m4_e5_g2"
        + reference.pack([15, 13], 5)
        + reference.pack([0b01000, 0b10100, 0b01000], 5)
    )  # fmt: skip
    assert b.tobytes() == body + struct.pack("<I", reference.crc32c(body))


@pytest.mark.parametrize("name", NAMES)
def test_every_flipped_bit_is_noticed(name):
    data = encoded(name, (2, 3)).tobytes()
    for bit in range(8 * len(data)):
        changed = bytearray(data)
        changed[bit // 8] ^= 1 << bit % 8
        with pytest.raises(ValueError, match=r"."):
            fl.BlockArray.frombytes(changed)


def test_every_truncation_is_noticed():
    data = encoded("bfp_m4_e8_g16").tobytes()
    for size in range(len(data)):
        with pytest.raises(ValueError, match=r"."):
            fl.BlockArray.frombytes(data[:size])
    with pytest.raises(ValueError, match="bytes, got"):
        fl.BlockArray.frombytes(data + b"\0")


HEADER = {
    "magic": b"\x93fmtlib", "version": 1, "ndim": 2, "axes": 1, "first": 1, "second": 0,
    "scaled": 0, "zeros": 0, "shape": (1, 3), "name": b"bfp_m4_e5_g2", "body": bytes(4),
}  # fmt: skip


def forged(**changes):
    """Bytes with a right checksum and a wrong header."""
    h = HEADER | changes
    data = struct.pack(
        "<7sBBBBBBBH", h["magic"], h["version"], h["ndim"], h["axes"], h["first"], h["second"],
        h["scaled"], len(h["name"]), h["zeros"],
    )  # fmt: skip
    data += b"".join(struct.pack("<Q", length) for length in h["shape"]) + h["name"] + h["body"]
    return data + struct.pack("<I", crc32c(data))


def test_forging_is_not_noticed():
    assert fl.BlockArray.frombytes(forged()).shape == (1, 3)


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"magic": b"\x93NUMPY\0"}, "magic"),
        ({"version": 2}, "version 2 is unknown"),
        ({"ndim": 0, "shape": ()}, "makes no sense"),
        ({"ndim": 65, "shape": (1,) * 65}, "makes no sense"),
        ({"ndim": 200}, "not whole"),
        ({"axes": 0}, "makes no sense"),
        ({"axes": 2}, "blocked axes"),
        ({"axes": 1, "name": b"bfp_m4_e5_g2x2"}, "blocked axes"),
        ({"axes": 2, "first": 1, "second": 1, "name": b"bfp_m4_e5_g2x2"}, "axes"),
        ({"axes": 3}, "makes no sense"),
        ({"first": 2}, "makes no sense"),
        ({"second": 1}, "makes no sense"),
        ({"scaled": 2}, "makes no sense"),
        ({"zeros": 1}, "makes no sense"),
        ({"shape": (2**62, 3)}, "makes no sense"),
        ({"shape": (2**64 - 1, 2**64 - 1)}, "makes no sense"),
        ({"shape": (0, 2**63)}, "makes no sense"),
        ({"shape": (2**32, 2**20)}, "bytes, got"),
        ({"shape": (1, 4)}, "bytes, got"),
        ({"body": bytes(5)}, "bytes, got"),
        ({"body": b"\0\0\0\x80"}, "must be zero"),
        ({"body": b"\0\x80\0\0"}, "must be zero"),
        ({"name": b"bfp_m4_e5_g3000000000"}, "corrupted"),
        ({"name": b"bfp_m4_e5_g02"}, "not the name"),
        ({"name": b"float8_e4m3fn"}, "not the name"),
        ({"name": b"\xff\xff"}, "corrupted"),
        ({"name": b"bfp_m5_e5_g2x"}, "later fmtlib"),
        ({"name": b""}, "corrupted"),
        ({"name": b"bfp_m" + b"9" * 240}, "corrupted"),
    ],
)
def test_forged_headers(changes, match):
    with pytest.raises(ValueError, match=match):
        fl.BlockArray.frombytes(forged(**changes))


def test_empty_arrays_of_great_length():
    b = fl.BlockArray.frombytes(forged(shape=(2**40, 0), body=b""))
    assert b.shape == b.scales.shape == (2**40, 0)


@given(
    st.builds(
        lambda changes: forged(**changes),
        st.fixed_dictionaries(
            {},
            optional={
                "ndim": st.integers(0, 255),
                "axes": st.integers(0, 255),
                "first": st.integers(0, 255),
                "second": st.integers(0, 255),
                "scaled": st.integers(0, 2),
                "shape": st.lists(
                    st.one_of(st.integers(0, 5), st.integers(0, 2**64 - 1)), max_size=5
                ),
                "name": st.one_of(st.sampled_from(NAMES).map(str.encode), st.binary(max_size=20)),
                "body": st.binary(max_size=40),
            },
        ),
    )
)
def test_hostile_bytes(data):
    """Whatever is read is written back as it was; the rest is refused, and nothing else."""
    try:
        b = fl.BlockArray.frombytes(data)
    except ValueError:
        return
    assert b.tobytes() == data


@given(st.binary(max_size=200))
def test_random_bytes(data):
    with pytest.raises(ValueError, match=r"."):
        fl.BlockArray.frombytes(data)


@pytest.mark.parametrize("wrong", ["text", None, 5, [1, 2]])
def test_what_is_not_bytes(wrong):
    with pytest.raises(TypeError, match="must be bytes"):
        fl.BlockArray.frombytes(wrong)


def test_pickle_and_copies():
    b = encoded("bfp_m4_e8_g16")
    for same in (pickle.loads(pickle.dumps(b)), copy.copy(b), copy.deepcopy(b), b.copy()):
        assert_same(same, b)
    twin = b.copy()
    twin.codes[:] = 0
    twin.scales[:] = 0
    assert b.codes.any()
    assert b.scales.any()


# --- planes ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PLANAR)
def test_planes(name):
    b = encoded(name)
    fmt, m = b.format, b.format.mantissa_bits
    planes = b.planes()
    assert len(planes.planes) == math.ceil(m / 2)
    assert_same(planes.read(), b)
    bits = b.scales.size * fmt.scale_bits + b.size * math.ceil(m / 2) * 3
    assert planes.nbytes == math.ceil(bits / 8)
    stored = fl.decode(b)
    for count in range(1, len(planes.planes)):
        coarse = planes.read(count)
        truncated = replace(fmt, element=fl.bfp(2 * count).element)
        again = fl.encode(stored, truncated, axis=b.axis, rounding="toward_zero")
        assert_same(coarse, again)
        assert coarse.format == truncated


@pytest.mark.parametrize("rounding", ["nearest_even", "up", "toward_zero"])
@pytest.mark.parametrize("carry", ["saturate", "bump"])
@pytest.mark.parametrize("e", [3, 8])
@pytest.mark.parametrize("m", range(1, 24))
def test_the_first_planes_are_the_truncation(m, e, carry, rounding):
    """At all widths, at both ends of a narrow window, and whatever rounding made the codes."""
    fmt = fl.bfp(m, e, 8, carry=carry)
    rng = np.random.default_rng(m)
    x = (rng.standard_normal((3, 43)) * 2.0 ** rng.integers(-9, 9, (3, 43))).astype(np.float32)
    b = fl.encode(x, fmt, rounding=rounding)
    planes = b.planes()
    assert_same(planes.read(), b)
    for count in range(1, len(planes.planes)):
        truncated = fl.quantize(
            fl.decode(b), fl.bfp(2 * count, e, 8, carry=carry), rounding="toward_zero"
        )
        values = fl.decode(planes.read(count))
        assert_array_equal(values, truncated)
        assert_array_equal(np.signbit(values), np.signbit(truncated))


def test_layout_of_planes():
    """Each chunk: two bits of the magnitude under the sign of the element."""
    b = fl.encode(np.float32([1.0, -0.875, 0.125, -0.0]), fl.bfp(4, block_size=4))
    assert b.codes.tolist() == [0b0_1000, 0b1_0111, 0b0_0001, 0b1_0000]
    planes = b.planes()
    assert planes.planes[0].tobytes() == reference.pack([0b010, 0b101, 0b000, 0b100], 3)
    assert planes.planes[1].tobytes() == reference.pack([0b000, 0b111, 0b001, 0b100], 3)
    assert planes.exponents.tolist() == [127]
    odd = fl.encode(np.float32([1.0, -0.75]), fl.bfp(3, block_size=2)).planes()
    assert odd.planes[1].tobytes() == reference.pack([0b000, 0b110], 3)


@pytest.mark.parametrize(("m", "e", "g"), [(2, 8, 16), (4, 8, 16), (4, 3, 16), (8, 5, 32)])
def test_size_of_planes(m, e, g):
    """e + g * (m / 2) * 3 bits a group, as arXiv 2110.15456 stores them."""
    b = fl.encode(np.ones((6, 3 * g), np.float32), fl.bfp(m, e, g))
    assert b.planes().nbytes == math.ceil(18 * (e + g * (m // 2) * 3) / 8)
    sizes = sum(plane.nbytes for plane in b.planes().planes) + b.planes().exponents.nbytes
    assert 0 <= sizes - b.planes().nbytes < 1 + m // 2 + 1


def test_planes_that_are_damaged():
    planes = encoded("bfp_m4_e8_g16").planes()
    for count in (0, 3, -1):
        with pytest.raises(ValueError, match="count must be from 1 to 2"):
            planes.read(count)
    with pytest.raises(TypeError, match="count"):
        planes.read(1.0)
    high, low = planes.planes
    with pytest.raises(ValueError, match="bytes, got"):
        replace(planes, planes=(high[:-1], low)).read()
    changed = low.copy()
    changed[0] ^= 4
    with pytest.raises(ValueError, match="contradict"):
        replace(planes, planes=(high, changed)).read()
    assert_same(replace(planes, planes=(high, changed)).read(1), planes.read(1))
    odd = encoded(fl.bfp(3)).planes()
    changed = odd.planes[1].copy()
    changed[0] ^= 1
    with pytest.raises(ValueError, match="appended"):
        replace(odd, planes=(odd.planes[0], changed)).read()


# --- parts and shapes -----------------------------------------------------------------------

CUBE = fl.encode(np.random.default_rng(0).standard_normal((4, 40, 6)), fl.bfp(4, 8, 8), axis=1)


@pytest.mark.parametrize(
    ("index", "axis"),
    [
        (np.s_[1], 0),
        (np.s_[-1], 0),
        (np.s_[1:3], 1),
        (np.s_[::-1], 1),
        (np.s_[1:1], 1),
        (np.s_[...], 1),
        (np.s_[()], 1),
        (np.s_[:, 8:24], 1),
        (np.s_[:, 16:], 1),
        (np.s_[:, -8:], 1),
        (np.s_[:, :40], 1),
        (np.s_[:, 5:5], 1),
        (np.s_[:, 90:], 1),
        (np.s_[2, 8:, 3], 0),
        (np.s_[..., 2], 1),
        (np.s_[..., ::3], 1),
        (np.s_[2, ..., 2], 0),
        (np.s_[np.int8(2), :, np.uint8(1)], 0),
    ],
)
def test_parts(index, axis):
    part = CUBE[index]
    assert part.axis == axis
    assert_array_equal(part.codes, CUBE.codes[index])
    assert_array_equal(fl.decode(part), fl.decode(CUBE)[index])
    assert np.shares_memory(part.codes, CUBE.codes) or not part.size


@pytest.mark.parametrize(
    ("index", "error", "match"),
    [
        (np.s_[:, 3], ValueError, "axis 1 is blocked"),
        (np.s_[:, 4:], ValueError, "block size 8"),
        (np.s_[:, :12], ValueError, "block size 8"),
        (np.s_[:, ::2], ValueError, "no step"),
        (np.s_[:, ::-1], ValueError, "no step"),
        (np.s_[4], IndexError, "out of bounds"),
        (np.s_[..., 9], IndexError, "out of bounds"),
        (np.s_[0, :, 0, 0], IndexError, "too many"),
        (np.s_[..., ...], IndexError, "too many"),
        (np.s_[None], TypeError, "integers, slices"),
        (np.s_[True], TypeError, "integers, slices"),
        (np.s_[[1, 2]], TypeError, "integers, slices"),
        (np.s_[1.0], TypeError, "integers, slices"),
    ],
)
def test_parts_that_there_are_not(index, error, match):
    with pytest.raises(error, match=match):
        CUBE[index]


def test_rows_and_length():
    assert len(CUBE) == 4
    assert [row.shape for row in CUBE] == [(40, 6)] * 4
    with pytest.raises(ValueError, match="blocked"):
        iter(CUBE[0]).__next__()


@pytest.mark.parametrize(
    ("shape", "axis", "new", "new_axis"),
    [
        ((4, 40, 6), 1, (2, 2, 40, 6), 2),
        ((4, 40, 6), 1, (4, 40, 2, 3), 1),
        ((4, 40, 6), 1, (160, 6), 0),
        ((4, 40, 6), 1, (4, 5, 8, 6), 2),
        ((4, 40, 6), 1, (2, 80, 1, 6), 1),
        ((4, 40, 6), 1, (-1, 16, 3, 2), 1),
        ((4, 40), 1, (160,), 0),
        ((4, 40), 1, (4, 40, 1), 1),
        ((4, 40), 1, (4, 1, 40), 2),
        ((160,), 0, (4, 40), 1),
        ((4, 13), 1, (2, 2, 13), 2),
        ((4, 13), 1, (4, 13, 1), 1),
        ((0, 40), 1, (0, 5, 40), 2),
        ((4, 0), 1, (2, 2, 0), 2),
        ((4, 40, 0), 1, (2, 2, 40, 0), 2),
    ],
)
def test_reshape(shape, axis, new, new_axis):
    b = fl.encode(np.random.default_rng(0).standard_normal(shape), fl.bfp(4, 8, 8), axis=axis)
    again = b.reshape(new)
    assert again.axis == new_axis
    assert_array_equal(fl.decode(again), fl.decode(b).reshape(new))
    assert_same(b.reshape(*new), again)
    assert_same(fl.encode(fl.decode(b).reshape(new), b.format, axis=new_axis), again)


@pytest.mark.parametrize(
    ("shape", "axis", "new"),
    [
        ((4, 40, 6), 1, (4, 240)),
        ((4, 40, 6), 1, (4, 10, 24)),
        ((4, 40, 6), 1, (16, 10, 6)),
        ((4, 13), 1, (52,)),
        ((4, 13), 1, (13, 4)),
        ((52,), 0, (4, 13)),
        ((2, 24), 1, (4, 12)),
    ],
)
def test_shapes_that_would_cut_blocks(shape, axis, new):
    b = fl.encode(np.ones(shape, np.float32), fl.bfp(4, 8, 8), axis=axis)
    with pytest.raises(ValueError, match="stay whole"):
        b.reshape(new)


def test_reshape_to_another_size():
    with pytest.raises(ValueError, match="reshape"):
        CUBE.reshape(4, 41, 6)


def factorings(size, ndim):
    """All shapes of at most `ndim` dimensions that have `size` elements."""
    if ndim == 1:
        return [(size,)]
    divisors = [n for n in range(1, size + 1) if size % n == 0]
    return [(size,)] + [(n, *rest) for n in divisors for rest in factorings(size // n, ndim - 1)]


@pytest.mark.parametrize("block_size", [1, 2, 4, 100])
@pytest.mark.parametrize("shape", [(12,), (1, 6), (4, 6), (6, 4), (2, 4, 3), (3, 1, 4), (1, 1)])
def test_all_small_shapes(shape, block_size):
    """A reshape is refused, or it is what encoding the reshaped values gives."""
    x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
    done = 0
    for axis in range(len(shape)):
        b = fl.encode(x, fl.bfp(4, 8, block_size), axis=axis)
        for new in factorings(x.size, 3):
            try:
                again = b.reshape(new)
            except ValueError:
                assert new != shape
                continue
            assert_same(fl.encode(x.reshape(new), b.format, axis=again.axis), again)
            done += 1
    assert done >= len(shape)


@pytest.mark.parametrize("axes", [(), (None,), ((2, 0, 1),), (1, 2, 0), (-1, 0, 1)])
def test_transpose(axes):
    turned = CUBE.transpose(*axes)
    assert_array_equal(fl.decode(turned), fl.decode(CUBE).transpose(*axes))
    assert turned.shape[turned.axis] == 40
    assert_same(np.transpose(CUBE), CUBE.T)


@pytest.mark.parametrize("axes", [(0, 1), (0, 0, 1), (0, 1, 3)])
def test_wrong_permutations(axes):
    with pytest.raises(ValueError, match=r"ax[ei]s"):
        CUBE.transpose(axes)


def test_numpy_sees_values():
    values = fl.decode(CUBE)
    assert_array_equal(np.asarray(CUBE), values, strict=True)
    assert_array_equal(np.asarray(CUBE, np.float64), values.astype(np.float64), strict=True)
    assert np.max(CUBE) == values.max()
    assert_array_equal(np.add(CUBE, 1), values + 1)
    with pytest.raises(ValueError, match="decoded"):
        np.asarray(CUBE, copy=False)


TILES = fl.encode(
    np.random.default_rng(0).standard_normal((4, 6, 3, 10)), fl.bfp(4, 8, (2, 5)), axis=(1, 3)
)


def test_blocked_axes():
    assert CUBE.blocks == {1: 8}
    assert TILES.blocks == {1: 2, 3: 5}
    turned = TILES.transpose(3, 0, 1, 2)
    assert turned.axis == (2, 0)
    assert turned.blocks == {2: 2, 0: 5}
    assert_array_equal(fl.decode(turned), fl.decode(TILES).transpose(3, 0, 1, 2))
    assert_same(fl.BlockArray.frombytes(turned.tobytes()), turned)


def test_parts_of_tiles():
    part = TILES[1, 2:, 1, 5:]
    assert part.axis == (0, 1)
    assert_array_equal(fl.decode(part), fl.decode(TILES)[1, 2:, 1, 5:])
    for index in (np.s_[:, 1:], np.s_[..., :4], np.s_[..., 3], np.s_[:, 0]):
        with pytest.raises(ValueError, match=r"block size|blocked"):
            TILES[index]


def test_reshape_of_tiles():
    """The axes of tiles and all between them stay."""
    for new, axis in (((2, 2, 6, 3, 10), (2, 4)), ((4, 6, 3, 10, 1), (1, 3))):
        again = TILES.reshape(new)
        assert again.axis == axis
        assert_array_equal(fl.decode(again), fl.decode(TILES).reshape(new))
    for new in ((24, 3, 10), (4, 18, 10), (4, 6, 30), (4, 3, 6, 10)):
        with pytest.raises(ValueError, match="stay whole"):
            TILES.reshape(new)


def test_parts_keep_the_scale_of_the_tensor():
    b = encoded("nvfp4", (4, 64))
    for part in (b[1:3], b[:, 16:], b.T, b.reshape(2, 2, 64), b.copy()):
        assert part.tensor_scale == b.tensor_scale
    assert_array_equal(fl.decode(b[2, 16:48]), fl.decode(b)[2, 16:48])
    with pytest.raises(TypeError, match="sign-magnitude"):
        b.planes()


@pytest.mark.parametrize("scale", [np.float32(np.nan), np.float32(0), np.float32(-1)])
def test_impossible_scales_of_the_tensor(scale):
    b = encoded("nvfp4", (1, 3))
    data = bytearray(b.tobytes())
    at = data.index(b"nvfp4") + 5
    data[at : at + 4] = scale.tobytes()
    data[-4:] = struct.pack("<I", crc32c(data[:-4]))
    with pytest.raises(ValueError, match="tensor_scale"):
        fl.BlockArray.frombytes(data)


@pytest.mark.parametrize(("name", "scaled"), [("nvfp4", 0), ("mxfp4_e2m1", 1)])
def test_scales_of_the_tensor_where_they_belong(name, scaled):
    body = bytes(4 * scaled) + bytes(2) + bytes(1)
    with pytest.raises(ValueError, match="tensor scale"):
        fl.BlockArray.frombytes(forged(name=name.encode(), scaled=scaled, body=body))
