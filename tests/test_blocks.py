"""Block formats, generated from the table: kernels against exact arithmetic."""

import numpy as np
import pytest
from cases import BLOCK_NAMES, DETERMINISTIC, DTYPES, WIDEST_BLOCKS
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference


def reference_blocks(x, fmt, axis, rounding="nearest_even", seed=None, random_bits=32):
    """Codes, scales and values of an array by the reference, block by block."""
    words = np.zeros(x.shape, np.uint64)
    if seed is not None:
        flat = [reference.philox_word(seed, 0, i) for i in range(x.size)]
        words = np.array(flat, np.uint64).reshape(x.shape)
    moved, moved_words = np.moveaxis(x, axis, -1), np.moveaxis(words, axis, -1)
    count = -(-moved.shape[-1] // fmt.block_size)
    codes = np.zeros(moved.shape, fmt.code_dtype)
    values = np.zeros(moved.shape)
    scales = np.zeros((*moved.shape[:-1], count), np.uint8)
    for index in np.ndindex(moved.shape[:-1]):
        for block in range(count):
            part = slice(block * fmt.block_size, (block + 1) * fmt.block_size)
            row = [float(v) for v in moved[index][part]]
            found, scale = reference.encode_block(
                row, fmt, rounding, words=moved_words[index][part].tolist(),
                random_bits=random_bits,
            )  # fmt: skip
            codes[index][part], scales[index][block] = found, scale
            values[index][part] = [float(v) for v in reference.decode_block(found, scale, fmt)]
    return tuple(np.moveaxis(a, -1, axis) for a in (codes, scales, values))


def check(x, fmt, axis, rounding="nearest_even", seed=None, random_bits=None):
    mode = {"rounding": rounding, "seed": seed, "random_bits": random_bits}
    b = fl.encode(x, fmt, axis=axis, **mode)
    codes, scales, values = reference_blocks(x, fmt, axis, rounding, seed, random_bits or 32)
    assert_array_equal(b.codes, codes)
    assert_array_equal(b.scales, scales)
    decoded = fl.decode(b, dtype=np.float64)
    assert_array_equal(decoded, values)
    assert_array_equal(np.signbit(decoded), np.signbit(values))
    if fmt.fits(x.dtype.name):
        quantized = fl.quantize(x, fmt, axis=axis, **mode)
        assert quantized.dtype == x.dtype
        assert_array_equal(quantized.astype(np.float64), values)
        if rounding != "stochastic":
            again = fl.quantize(quantized, fmt, axis=axis, rounding=rounding)
            assert_array_equal(again, quantized)
    else:
        with pytest.raises(TypeError, match="cannot hold"):
            fl.quantize(x, fmt, axis=axis, **mode)


def mixed(shape, dtype, seed=0):
    """Normal numbers over many binades, with zeros, subnormals and powers of two."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 8, shape)
    x[rng.random(shape) < 0.1] = 0
    x[rng.random(shape) < 0.05] = -0.0
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(DTYPES[dtype])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_against_reference(target, name, rounding, dtype):
    fmt = fl.get_format(name)
    for shape, axis in (((3, 2 * fmt.block_size + 5), 1), ((fmt.block_size + 3, 7), 0)):
        check(mixed(shape, dtype), fmt, axis, rounding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_extremes(target, name, dtype):
    """Blocks at and beyond both ends of the exponent's window, subnormals, near-carries."""
    fmt = fl.get_format(name)
    info = np.finfo(dtype)
    rows = []
    for exponent in (*range(-152, -124), *range(-12, 12), *range(120, 128)):
        lead = 2.0**exponent
        row = [
            lead,
            lead * (2 - 2.0**-23),
            lead / 3,
            -lead / 7,
            lead * 2.0**-9,
            -0.0,
            0.0,
            lead / 2,
        ]
        rows.append(np.array(row).astype(dtype))
    tiny = info.smallest_subnormal
    rows.append(np.array([tiny, 2 * tiny, -3 * tiny, 0, info.tiny, 0, -0.0, tiny], dtype))
    rows.append(np.array([info.max, -info.max, info.tiny, info.smallest_subnormal] * 2, dtype))
    x = np.concatenate(rows).reshape(-1, 8)
    for rounding in DETERMINISTIC:
        check(x, fmt, 1, rounding)


@pytest.mark.parametrize("random_bits", [None, 8, 1])
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_stochastic(target, name, random_bits):
    fmt = fl.get_format(name)
    for dtype in ("float32", "float64"):
        check(mixed((3, 37), dtype), fmt, 1, "stochastic", 7, random_bits)
        check(mixed((37, 3), dtype), fmt, 0, "stochastic", 7, random_bits)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("block_size", [1, 3, 16, 5000])
@pytest.mark.parametrize("carry", ["saturate", "bump"])
def test_axes_and_sizes(target, axis, block_size, carry):
    fmt = fl.bfp(3, block_size=block_size, carry=carry)
    x = mixed((4, 5, 6), "float32")
    check(x, fmt, axis)
    check(x[::2, ::-1].swapaxes(0, 2), fmt, axis)
    check(np.asfortranarray(x), fmt, axis, "stochastic", 3)


@pytest.mark.parametrize("carry", ["saturate", "bump"])
@pytest.mark.parametrize("shape", [(2, 3000), (3000, 2)])
def test_groups_longer_than_a_chunk(target, carry, shape):
    fmt = fl.bfp(4, block_size=1400, carry=carry)
    x = mixed(shape, "float32")
    x.reshape(-1)[5] = 511.9  # rounds past the greatest code
    check(x, fmt, int(shape[0] > shape[1]), "nearest_even")


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(max_dims=2, max_side=20),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    ),
    st.integers(1, 23),
    st.integers(2, 8),
    st.integers(1, 20),
    st.sampled_from(DETERMINISTIC),
    st.sampled_from(["saturate", "bump"]),
)
def test_any_block_format(x, m, e, block_size, rounding, carry):
    check(x, fl.bfp(m, e, block_size, carry=carry), x.ndim - 1, rounding)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("axis", [0, 1])
def test_nonfinite_values_make_their_block_nan(target, bad, axis):
    x = np.ones((40, 40), np.float32)
    x[3, 4] = bad
    b = fl.encode(x, fl.bfp(4), axis=axis)
    values = fl.decode(b)
    nan = np.zeros_like(x, bool)
    nan[(slice(0, 16), 4) if axis == 0 else (3, slice(0, 16))] = True
    assert_array_equal(np.isnan(values), nan)
    assert_array_equal(values[~nan], 1)
    assert_array_equal(fl.quantize(x, fl.bfp(4), axis=axis), values)
    assert (b.scales == 255).sum() == 1
    with pytest.raises(ValueError, match="nonfinite"):
        fl.encode(x, fl.bfp(4, nonfinite="raise"), axis=axis)
    out = np.zeros_like(x)
    with pytest.raises(ValueError, match="nonfinite"):
        fl.quantize(x, fl.bfp(4, nonfinite="raise"), axis=axis, out=out)
    assert not out.any()


def test_stochastic_bias_of_saturation():
    """Values above the greatest code are pinned under `saturate`; `bump` restores the mean."""
    words = range(2**8)
    means = {}
    for carry in ("saturate", "bump"):
        fmt = fl.bfp(2, carry=carry)
        total = 0
        for word in words:
            codes, scale = reference.encode_block(
                [1.95], fmt, "stochastic", words=[word << 24], random_bits=8
            )
            total += reference.decode_block(codes, scale, fmt)[0]
        means[carry] = float(total) / 256
    assert means["saturate"] == 1.5
    assert abs(means["bump"] - 1.95) < 2**-8


def test_sizes():
    x = np.zeros((10, 40), np.float32)
    b = fl.encode(x, fl.bfp(4), axis=1)
    assert b.shape == (10, 40)
    assert b.scales.shape == (10, 3)
    assert b.nbytes == (400 * 5 + 30 * 8) // 8
    assert fl.encode(x, fl.bfp(4), axis=0).scales.shape == (1, 40)
    assert repr(b) == "BlockArray(shape=(10, 40), format=bfp_m4_e8_g16, axis=1, nbytes=280)"


@pytest.mark.parametrize("shape", [(0,), (0, 5), (5, 0), (3, 0, 2)])
def test_empty(target, shape):
    for axis in range(len(shape)):
        b = fl.encode(np.zeros(shape, np.float32), fl.bfp(4), axis=axis)
        assert fl.decode(b).shape == shape
        assert fl.quantize(np.zeros(shape), fl.bfp(4), axis=axis).shape == shape


def test_workers_change_nothing():
    x = mixed((300, 1000), "float32")
    for rounding, seed in (("nearest_even", None), ("stochastic", 5)):
        mode = {"rounding": rounding, "seed": seed}
        one, many = fl.encode(x, fl.bfp(4), **mode), fl.encode(x, fl.bfp(4), workers=7, **mode)
        assert_array_equal(one.codes, many.codes)
        assert_array_equal(one.scales, many.scales)
        for axis in (0, 1):
            assert_array_equal(
                fl.quantize(x, fl.bfp(4), axis=axis, **mode),
                fl.quantize(x, fl.bfp(4), axis=axis, workers=3, **mode),
            )


def test_a_block_array_checks_itself():
    b = fl.encode(np.ones((4, 20), np.float32), fl.bfp(4), axis=1)
    make = type(b)
    with pytest.raises(ValueError, match="scales of shape"):
        make(b.codes, b.scales[:, :1], b.format, 1)
    with pytest.raises(ValueError, match="scales of shape"):
        make(b.codes, b.scales, b.format, 0)
    with pytest.raises(ValueError, match=r"below 2\*\*5"):
        make(b.codes + np.uint8(32), b.scales, b.format, 1)
    with pytest.raises(TypeError, match="codes must be uint8"):
        make(b.codes.astype(np.int64), b.scales, b.format, 1)
    with pytest.raises(TypeError, match="plain ndarray"):
        make(b.codes.tolist(), b.scales, b.format, 1)
    with pytest.raises(TypeError, match="BlockFormat"):
        make(b.codes, b.scales, fl.get_format("e4m3"), 1)
    narrow = fl.encode(np.ones(20, np.float32), fl.bfp(4, 4))
    with pytest.raises(ValueError, match=r"scales must be below 2\*\*4"):
        make(narrow.codes, narrow.scales + np.uint8(16), narrow.format, 0)


def test_unaligned_and_swapped_input():
    x = mixed((3, 40), "float32")
    unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
    assert not unaligned.flags.aligned
    for same in (unaligned, x.astype(">f4")):
        assert_array_equal(fl.encode(same, fl.bfp(4)).codes, fl.encode(x, fl.bfp(4)).codes)
        assert_array_equal(fl.quantize(same, fl.bfp(4)), fl.quantize(x, fl.bfp(4)))
