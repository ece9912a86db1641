"""Block formats, generated from the table: kernels against exact arithmetic."""

import tracemalloc
from dataclasses import replace
from fractions import Fraction
from functools import cache

import numpy as np
import pytest
from cases import BLOCK_NAMES, DETERMINISTIC, DTYPES, ROUNDINGS, WIDEST_BLOCKS, each_target
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import blocks, reference, testing

# One format of each family, for what does not depend on widths.
FAMILIES = [
    "bfp_m4_e8_g16",
    "bfp_m4_e8_g16_bump",
    "bfp_m4_e8_g16x16",
    "mxfp8_e4m3",
    "mxint8",
    "nvfp4",
    "hbfp8",
    "smx6",
]


philox_word = cache(reference.philox_word)


def last_axes(fmt, ndim):
    """The axis that blocks lie along by default."""
    return (ndim - 2, ndim - 1) if isinstance(fmt.block_size, tuple) else ndim - 1


def reference_blocks(x, fmt, axis, rounding="nearest_even", seed=None, random_bits=32):
    """Codes, scales, scale of the tensor and exact values of an array, block by block."""
    words = np.zeros(x.shape, np.uint64)
    if seed is not None:
        flat = [philox_word(seed, 0, i) for i in range(x.size)]
        words = np.array(flat, np.uint64).reshape(x.shape)
    axes = axis if isinstance(axis, tuple) else (axis,)
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (fmt.block_size,)
    steps = [1] * x.ndim
    for one, size in zip(axes, sizes, strict=True):
        steps[one] = size
    encode_scale = decode_scale = Fraction(1)
    if fmt.tensor_scale:
        finite = [abs(v) for v in x.ravel().tolist() if np.isfinite(v)]
        encode_scale, decode_scale = reference.tensor_scales(max(finite, default=0), fmt)
    codes = np.zeros(x.shape, fmt.code_dtype)
    values = np.zeros(x.shape, object)
    scales = np.zeros([-(-n // step) for n, step in zip(x.shape, steps, strict=True)], np.uint32)
    for block in np.ndindex(scales.shape):
        part = tuple(slice(i * step, (i + 1) * step) for i, step in zip(block, steps, strict=True))
        found, scale = reference.encode_block(
            x[part].ravel().tolist(), fmt, rounding, words=words[part].ravel().tolist(),
            random_bits=random_bits, encode_scale=encode_scale,
        )  # fmt: skip
        exact = np.empty(len(found), object)
        exact[:] = reference.decode_block(found, scale, fmt, decode_scale)
        shape = x[part].shape
        codes[part], scales[block] = np.reshape(found, shape), scale
        values[part] = exact.reshape(shape)
    return codes, scales, np.float32(decode_scale) if fmt.tensor_scale else None, values


def rounded_values(values, dtype, fmt):
    """Exact values in a float type; only scales that are floats make roundings, which saturate."""
    if fmt.scale_rule == "amax" and dtype != np.float64:
        greatest = float(np.finfo(np.float32).max)

        def to_float(v):
            v = reference.as_value(v)
            if dtype == np.float32:
                rounded = float(v if isinstance(v, float) else reference.round_to_float32(v))
                return np.clip(rounded, -greatest, greatest)  # NaN stays
            return float(reference.quantize(v, fl.get_format(dtype.name)))
    else:
        to_float = float
    flat = np.array([to_float(v) for v in values.ravel()], float)
    with np.errstate(over="ignore"):
        return flat.reshape(values.shape).astype(dtype)


def assert_same_values(found, expected):
    assert found.dtype == expected.dtype
    assert_array_equal(found.view(f"u{found.itemsize}")[~np.isnan(expected)],
                       expected.view(f"u{found.itemsize}")[~np.isnan(expected)])  # fmt: skip
    assert_array_equal(np.isnan(found), np.isnan(expected))


def check(x, fmt, axis, rounding="nearest_even", seed=None, random_bits=None):
    """Kernels of every instruction set against the reference: codes, scales, values."""
    mode = {"rounding": rounding, "seed": seed, "random_bits": random_bits}
    codes, scales, tensor, exact = reference_blocks(x, fmt, axis, rounding, seed, random_bits or 32)
    wide = rounded_values(exact, np.dtype(np.float64), fmt)
    narrow = rounded_values(exact, x.dtype, fmt)
    for _ in each_target():
        b = fl.encode(x, fmt, axis=axis, **mode)
        assert_array_equal(b.scales, scales)
        assert_array_equal(b.codes, codes)
        assert b.tensor_scale == tensor
        assert_same_values(fl.decode(b, dtype=np.float64), wide)
        if not fmt.fits(x.dtype.name):
            with pytest.raises(TypeError, match="cannot hold"):
                fl.quantize(x, fmt, axis=axis, **mode)
            continue
        quantized = fl.quantize(x, fmt, axis=axis, **mode)
        assert_same_values(quantized, narrow)
        assert_same_values(fl.decode(b, dtype=x.dtype), narrow)
        # What BlockFormat excepts.
        excepted = {
            "amax": True,
            "hbfp": True,
            "even": not rounding.startswith("nearest"),
        }
        promised = rounding in DETERMINISTIC and not excepted.get(fmt.scale_rule, False)
        if promised and not np.isinf(narrow.astype(float)).any():
            again = fl.quantize(quantized, fmt, axis=axis, rounding=rounding)
            assert_same_values(again, narrow)


def mixed(shape, dtype, seed=0):
    """Normal numbers over many binades, with zeros, subnormals and powers of two."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape) * 2.0 ** rng.integers(-8, 8, shape)
    x[rng.random(shape) < 0.1] = 0
    x[rng.random(shape) < 0.05] = -0.0
    with np.errstate(over="ignore", under="ignore"):
        return x.astype(DTYPES[dtype])


# Narrow types are widened before anything is rounded: one rounding of them will do.
@pytest.mark.parametrize(
    ("rounding", "dtype"),
    [(r, d) for d in DTYPES for r in DETERMINISTIC if d in ("float32", "float64") or r == "up"],
)
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_against_reference(name, rounding, dtype):
    fmt = fl.get_format(name)
    if isinstance(fmt.block_size, tuple):
        down, across = fmt.block_size
        check(mixed((down + 3, across + 5), dtype), fmt, (0, 1), rounding)
        check(mixed((across + 1, 3, 5), dtype), fmt, (2, 0), rounding)
        return
    check(mixed((3, fmt.block_size + 5), dtype), fmt, 1, rounding)
    check(mixed((fmt.block_size + 3, 3), dtype), fmt, 0, rounding)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_extremes(name, dtype):
    """Blocks at and beyond both ends of the exponent's window, subnormals, near-carries."""
    fmt = fl.get_format(name)
    info = np.finfo(dtype)
    rows = []
    for exponent in (*range(-152, -115), *range(-12, 12, 3), *range(120, 128)):
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
    rows.append(np.array([0, -0.0] * 4, dtype))
    x = np.concatenate(rows).reshape(-1, 1, 8)
    for rounding in DETERMINISTIC:
        check(x, fmt, last_axes(fmt, 3), rounding)


@pytest.mark.parametrize("rounding", [r for r in ROUNDINGS if r not in DETERMINISTIC])
@pytest.mark.parametrize("random_bits", [None, 8, 1])
@pytest.mark.parametrize("name", [*BLOCK_NAMES, WIDEST_BLOCKS])
def test_stochastic(name, random_bits, rounding):
    fmt = fl.get_format(name)
    tiles = isinstance(fmt.block_size, tuple)
    for dtype in ("float32", "float64"):
        check(mixed((3, 37), dtype), fmt, (0, 1) if tiles else 1, rounding, 7, random_bits)
        check(mixed((37, 3), dtype), fmt, (1, 0) if tiles else 0, rounding, 7, random_bits)


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("block_size", [1, 3, 16, 5000])
@pytest.mark.parametrize("name", [n for n in FAMILIES if n not in ("bfp_m4_e8_g16x16", "smx6")])
def test_axes_and_sizes(axis, block_size, name):
    fmt = replace(fl.get_format(name), block_size=block_size)
    x = mixed((4, 5, 6), "float32")
    check(x, fmt, axis)
    check(x[::2, ::-1].swapaxes(0, 2), fmt, axis)
    check(np.asfortranarray(x), fmt, axis, "stochastic", 3)


@pytest.mark.parametrize("rounding", ["nearest_even", "toward_zero", "stochastic"])
@pytest.mark.parametrize("columns", [2, 16, 37, 200, 256, 257])
def test_short_rows_along_the_first_axis(columns, rounding):
    """Rows that are taken several at a time, up to a chunk of 512 elements."""
    seed = 3 if rounding == "stochastic" else None
    x = mixed((2, 21, columns), "float32")
    x[0, 3, 1], x[1, 2, 0] = np.nan, 1e-44  # not arithmetic, in one of the groups
    for carry in ("saturate", "bump"):
        check(x, fl.bfp(4, block_size=17, carry=carry), 1, rounding, seed)


@pytest.mark.parametrize("axes", [(0, 1), (1, 0), (-2, -1), (0, 2), (2, 1), (3, 0)])
@pytest.mark.parametrize("block_size", [(2, 3), (1, 4), (7, 1), (600, 2), (2, 600)])
@pytest.mark.parametrize("name", [n for n in FAMILIES if n != "smx6"])
def test_tiles_over_any_axes(axes, block_size, name):
    fmt = replace(fl.get_format(name), block_size=block_size)
    x = mixed((5, 3, 4, 2), "float32")
    check(x, fmt, axes)
    check(x[::-1, :, ::2].swapaxes(0, 2), fmt, axes, "stochastic", 3)


@pytest.mark.parametrize("block_size", [(1, 520), (520, 1), (2, 520)])
@pytest.mark.parametrize("name", ["bfp_m4_e8_g16_bump", "mxfp8_e4m3", "nvfp4"])
def test_tiles_wider_than_a_chunk(block_size, name):
    fmt = replace(fl.get_format(name), block_size=block_size)
    x = mixed((3, 530), "float32")
    x.reshape(-1)[5] = 511.9  # rounds past the greatest code
    check(x, fmt, (0, 1))
    check(x.T, fmt, (0, 1))
    check(mixed((3, 1, 520), "float32"), fmt, (0, 1), "stochastic", 1)


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize(("block_size", "micro_size"), [(4, 1), (6, 3), (24, 1), (2048, 1024)])
def test_micro_exponents_of_any_size(axis, block_size, micro_size):
    fmt = replace(fl.get_format("smx6"), block_size=block_size, micro_size=micro_size)
    for shape in ((3, 50), (50, 3), (1, 2100), (2100, 1)):
        check(mixed(shape, "float32"), fmt, axis)


@pytest.mark.parametrize("carry", ["saturate", "bump"])
@pytest.mark.parametrize("shape", [(2, 3000), (3000, 2)])
def test_groups_longer_than_a_chunk(carry, shape):
    fmt = fl.bfp(4, block_size=1400, carry=carry)
    x = mixed(shape, "float32")
    x.reshape(-1)[5] = 511.9  # rounds past the greatest code
    check(x, fmt, int(shape[0] > shape[1]), "nearest_even")


# --- the ways of arithmetic, and where it gives way to general kernels ------------------------


@pytest.mark.parametrize("block_size", [1, 2, 3, 8, 16, 17, 24, 32, 64, 250, 512, 513])
@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "mxfp8_e4m3", "mxint8", "nvfp4"])
def test_groups_of_any_length_with_tails(name, block_size):
    fmt = replace(fl.get_format(name), block_size=block_size)
    for length in {block_size, block_size + 1, 2 * block_size - 1, max(40, block_size // 2)}:
        check(mixed((3, length), "float32", length), fmt, 1)
        check(mixed((length, 5), "float32", length), fmt, 0)


@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "mxfp6_e2m3", "mxint8", "smx6", "nvfp4"])
def test_lengths_and_places_in_memory(name):
    """All lengths around a vector or two, from all offsets in a line of the cache."""
    room = mixed((200,), "float32", 4)
    fmt = fl.get_format(name)
    for length in range(36):
        x = room[:length].copy()
        codes, scales, _, exact = reference_blocks(x, fmt, 0)
        expected = rounded_values(exact, np.dtype(np.float32), fmt)
        for offset in range(length % 3, 20, 3):
            at = room[offset : offset + length]
            at[:] = x
            for _ in each_target():
                b = fl.encode(at, fmt)
                assert_array_equal(b.codes, codes)
                assert_array_equal(b.scales, scales)
                out = np.full(64, 7, np.float32)
                fl.quantize(at, fmt, out=out[offset : offset + length])
                assert_same_values(out[offset : offset + length], expected)
                assert (out[:offset] == 7).all()
                assert (out[offset + length :] == 7).all()


@pytest.mark.parametrize("exponent", [-140, -126, -118, -100, -96, -60, 0, 60, 104, 110, 118])
@pytest.mark.parametrize(
    "name", [n for n in BLOCK_NAMES if isinstance(fl.get_format(n).block_size, int)]
)
def test_every_tie_of_the_elements(name, exponent):
    """Values, midpoints and their neighbours under one scale, near the ends of float32 too."""
    fmt = fl.get_format(name)
    element = fmt.element
    if isinstance(element, fl.FloatFormat):
        steps = [float(reference.decode(c, element)) for c in range(element.max_code + 1)]
    else:
        steps = [k * element.max / element.max_integer for k in range(element.max_integer + 1)]
    steps = np.array(steps)[:: max(1, len(steps) // 64)]
    middles = (steps[1:] + steps[:-1]) / 2
    points = np.concatenate([steps, middles]).astype(np.float32)
    points = np.concatenate([points, np.nextafter(points, np.float32(0)),
                             np.nextafter(points, np.float32(np.inf))])  # fmt: skip
    points[::2] *= -1
    size = fmt.block_size
    rows = np.full((-(-points.size // (size - 1)), size), element.max, np.float32)
    rows[:, 1:] = np.resize(points, (len(rows), size - 1))
    with np.errstate(over="ignore", under="ignore"):
        x = np.ldexp(rows, exponent - fmt.emax)
    check(x[np.isfinite(x).all(1)], fmt, 1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FAMILIES)
def test_values_of_all_kinds_side_by_side(name, dtype):
    """Groups of one chunk that differ in everything; a NaN in one is none of another's."""
    fmt = fl.get_format(name)
    x = mixed((32, 96), "float64", 9)
    flat = x.reshape(-1)
    info = np.finfo(dtype) if dtype != "bfloat16" else np.finfo(np.float32)
    kinds = [np.nan, -np.inf, float(info.max), -float(info.tiny), float(info.tiny) / 4, -0.0]
    for i, value in enumerate(kinds):
        flat[i * 37 :: 400] = value
    flat[640:672] = float(info.tiny) / 2
    flat[672:704] = -0.0
    with np.errstate(over="ignore", under="ignore"):
        x = x.astype(DTYPES[dtype])
    check(x[:9, :48], fmt, last_axes(fmt, 2))
    if not isinstance(fmt.block_size, tuple):
        check(x[:, :11], fmt, 0)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("random_bits", [32, 24, 3])
@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "mxfp8_e4m3", "mxint8"])
def test_fractions_next_to_their_word(name, random_bits, dtype):
    """Where the fraction of a quantum and the random word just carry, or just do not."""
    fmt = fl.get_format(name)
    greatest = fmt.element.max
    if isinstance(fmt.element, fl.FloatFormat):
        quantum = greatest - float(reference.decode(fmt.element.max_code - 1, fmt.element))
    else:
        quantum = 2.0**-fmt.element.fraction_bits
    x = np.full((6, fmt.block_size), greatest, dtype)
    for i in range(x.size):
        if i % fmt.block_size:
            word = philox_word(5, 0, i) >> (32 - random_bits)
            fraction = np.array((2**random_bits - word) / 2.0**random_bits, dtype)
            steps = i % 3 - 1
            fraction = np.nextafter(fraction, np.array([0, fraction, 9][steps + 1], dtype))
            binade = greatest - quantum * (1 + i % 2)
            x.reshape(-1)[i] = binade + fraction * quantum if i % 5 else fraction * quantum / 8
    check(x, fmt, 1, "stochastic", 5, random_bits)


# --- large arrays, threads and memory --------------------------------------------------------


def arrangements(x):
    """The same values as other memory, which kernels cannot read as it is."""
    yield x
    yield np.asfortranarray(x)
    yield np.repeat(x, 2, axis=-1)[..., ::2]
    yield x[::-1].copy()[::-1]
    yield x.astype(x.dtype.newbyteorder())


@pytest.mark.parametrize("workers", [1, 3])
@pytest.mark.parametrize("name", FAMILIES)
def test_slabs_and_workers_change_nothing(name, workers, monkeypatch):
    fmt = fl.get_format(name)
    x = mixed((7, 50, 60), "float32")
    tiles = isinstance(fmt.block_size, tuple)
    for axis in ((0, 1), (2, 1), (1, 2)) if tiles else (0, 1, 2):
        for mode in ({}, {"rounding": "stochastic", "seed": (3, 4)}, {"rounding": "up"}):
            monkeypatch.undo()
            whole = fl.encode(x, fmt, axis=axis, **mode)
            values = fl.quantize(x, fmt, axis=axis, **mode)
            monkeypatch.setattr(blocks, "_SLAB", 700)
            monkeypatch.setattr(blocks, "_WORKER_SHARE", 100)
            for same in arrangements(x):
                b = fl.encode(same, fmt, axis=axis, workers=workers, **mode)
                assert_array_equal(b.codes, whole.codes)
                assert_array_equal(b.scales, whole.scales)
                out = np.empty((*x.shape[:2], 120), x.dtype)[..., ::2]
                assert fl.quantize(same, fmt, axis=axis, workers=workers, out=out, **mode) is out
                assert_same_values(out, values)
            moved = whole.transpose(2, 0, 1)
            assert_same_values(fl.decode(moved, workers=workers), values.transpose(2, 0, 1))
            assert_same_values(fl.decode(whole, dtype=float, workers=workers).astype("f4"), values)


@pytest.mark.parametrize("shape", [(5000,), (1, 5000), (40, 125), (3, 1700)])
@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "hbfp8", "smx6"])
def test_workers_share_arrays_of_any_shape(name, shape, monkeypatch):
    monkeypatch.setattr(blocks, "_WORKER_SHARE", 100)
    x = mixed(shape, "float32")
    for axis in range(len(shape)):
        one = fl.encode(x, name, axis=axis)
        for workers in (2, 5, 50):
            many = fl.encode(x, name, axis=axis, workers=workers)
            assert_array_equal(many.codes, one.codes)
            assert_array_equal(many.scales, one.scales)
            assert_same_values(fl.decode(many, workers=workers), fl.decode(one))


@pytest.mark.parametrize("name", ["bfp_m4_e8_g16", "mxfp8_e4m3", "nvfp4"])
def test_out_may_be_x_or_overlap_it(target, name):
    x = mixed((9, 64), "float32")
    expected = fl.quantize(x, name)
    same = x.copy()
    assert fl.quantize(same, name, out=same) is same
    assert_same_values(same, expected)
    room = np.empty(x.size + 5, np.float32)
    room[: x.size] = x.reshape(-1)
    fl.quantize(room[: x.size].reshape(x.shape), name, out=room[5:].reshape(x.shape))
    assert_same_values(room[5:].reshape(x.shape), expected)
    across = np.empty((64, 9), np.float32)
    fl.quantize(x.T, name, axis=0, out=across)
    assert_same_values(across.T, expected)
    with pytest.raises(ValueError, match=r"out must have shape \(9, 64\), got \(64, 9\)"):
        fl.quantize(x, name, out=across)
    with pytest.raises(ValueError, match=r"out must have shape \(9, 64\), got \(64, 9\)"):
        fl.decode(fl.encode(x, name), out=across)


def test_memory_beyond_the_output_is_constant():
    x = np.ones((64, 1 << 14), np.float32)
    out, b = np.empty_like(x), fl.encode(x, fl.bfp(4))
    strided, whole = np.repeat(x, 2, axis=1)[:, ::2], x.astype(np.int64)
    calls = [
        lambda: fl.quantize(x, fl.bfp(4), out=out),
        lambda: fl.quantize(strided, "nvfp4", out=out),
        lambda: fl.quantize(x, replace(fl.bfp(4), nonfinite="raise"), out=out),
        lambda: fl.decode(b, out=out),
        lambda: fl.encode(whole, "mxfp8_e4m3", rounding="stochastic", seed=1),
    ]
    for call in calls:
        call()
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 1.2 * b.codes.nbytes + (1 << 20)


@given(testing.block_formats(named=False, max_block_size=20), st.data())
def test_any_block_format(fmt, data):
    x = data.draw(testing.arrays(fmt, "float32", nan=False, infinity=False))
    if isinstance(fmt.block_size, tuple):
        axis = tuple(data.draw(st.permutations(range(x.ndim)))[:2])
    else:
        axis = data.draw(st.integers(0, x.ndim - 1))
    check(x, fmt, axis, data.draw(testing.roundings(fmt)))


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


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int64", "uint64", "longdouble"])
@pytest.mark.parametrize("name", FAMILIES)
def test_integers_and_long_doubles_round_once(name, dtype):
    """Also where float64 would round first: beside powers of two and ties beyond 2**53."""
    fmt = fl.get_format(name)
    if dtype == "longdouble":
        x = np.ldexp(np.longdouble(1), np.arange(40)) * (1 + np.ldexp(np.longdouble(1), -60))
        x[::3] *= -1.5
    else:
        info = np.iinfo(dtype)
        powers = [2**k + d for k in range(info.bits - 1) for d in (-1, 0, 1)]
        ties = [3 * 2 ** (info.bits - 4) + d for d in (-1, 0, 1)] + [info.max, info.min]
        x = np.array([*powers, *ties], dtype)
    x = np.resize(x, (16, 20))
    axis = last_axes(fmt, 2)
    for rounding in DETERMINISTIC:
        codes, scales, tensor, _ = reference_blocks(x, fmt, axis, rounding)
        b = fl.encode(x, fmt, rounding=rounding)
        assert_array_equal(b.scales, scales)
        assert_array_equal(b.codes, codes)
        assert b.tensor_scale == tensor


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
        for x in (np.zeros(shape, ">f4"), np.zeros((*shape, 2), np.float32)[..., 0]):
            for fmt in (fl.bfp(4), "nvfp4"):
                assert fl.encode(x, fmt, axis=axis).shape == shape
                assert fl.quantize(x, fmt, axis=axis).shape == shape


@pytest.mark.parametrize("name", FAMILIES)
def test_workers_change_nothing(name):
    x = mixed((100, 40, 51), "float32")
    x[0, 0, 0] = 1e4  # NVFP4: the maximum of the tensor, in the first worker's part
    tiles = isinstance(fl.get_format(name).block_size, tuple)
    for rounding, seed in (("nearest_even", None), ("stochastic", 5)):
        mode = {"rounding": rounding, "seed": seed}
        one, many = fl.encode(x, name, **mode), fl.encode(x, name, workers=5, **mode)
        assert_array_equal(one.codes, many.codes)
        assert_array_equal(one.scales, many.scales)
        assert one.tensor_scale == many.tensor_scale
        for axis in ((1, 2), (2, 0)) if tiles else (1, 2, 0):
            assert_array_equal(
                fl.quantize(x, name, axis=axis, **mode),
                fl.quantize(x, name, axis=axis, workers=3, **mode),
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
