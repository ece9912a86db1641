"""Arrays of dask through every verb: lazy, chunk by chunk, with the bits of the whole array."""

import subprocess
import sys
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.random_words import Words

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")

X = np.random.default_rng(0).standard_normal((4, 48, 20)).astype(np.float32)
X[1, 2, 3], X[3, 5, 6] = 1e30, -0.0
# Rows, columns, boxes, single elements along an axis, empty chunks, one chunk.
CHUNKS = [
    (2, -1, -1),
    (-1, -1, 7),
    (3, (32, 16), (16, 4)),
    (-1, -1, 1),
    ((2, 0, 2), 16, 20),
    (-1, -1, -1),
]
STOCHASTIC = {"rounding": "stochastic", "seed": (5, 9)}


@pytest.fixture(autouse=True)
def _in_this_thread():
    with dask.config.set(scheduler="synchronous"):
        yield


def same(found, expected):
    """Lazy, of the dtype that it says, and the same bits."""
    assert isinstance(found, da.Array)
    assert found.shape == expected.shape
    assert found.dtype == expected.dtype
    values = found.compute()
    assert values.dtype == expected.dtype
    bits = f"u{expected.itemsize}"
    assert_array_equal(np.asarray(values).view(bits), np.asarray(expected).view(bits))


# --- random words -------------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", CHUNKS)
def test_words_of_a_part_are_those_of_the_whole(chunks):
    whole = Words(3, 4).all_of(X.shape)
    lazy = da.from_array(X, chunks=chunks)
    for index in np.ndindex(*lazy.numblocks):
        place = tuple(
            slice(sum(lengths[:i]), sum(lengths[: i + 1]))
            for lengths, i in zip(lazy.chunks, index, strict=True)
        )
        words = fl.seed_of_part((3, 4), place, X.shape)
        expected = whole[place].ravel()
        assert_array_equal(words.all_of(whole[place].shape).ravel(), expected)
        for first in range(0, expected.size, 37):
            assert_array_equal(words.take(first, min(50, expected.size - first)),
                               expected[first : first + 50])  # fmt: skip


def test_numbers_beyond_32_bits():
    shape = (2**20, 2**20)
    words = fl.seed_of_part(1, np.s_[2**19 : 2**19 + 2, 5:8], shape)
    for row in range(2):
        expected = Words(1, first=(2**19 + row) * 2**20 + 5).take(0, 3)
        assert_array_equal(words.take(3 * row, 3), expected)


@pytest.mark.parametrize("fmt", ["e4m3", fl.bfp(4)])
def test_seeds_of_parts_by_hand(fmt):
    x = X[0]
    whole = fl.quantize(x, fmt, axis=None, **STOCHASTIC)
    for part in (np.s_[8:16, :], np.s_[:, 16:20], np.s_[3:4, 0:16], np.s_[48:, :]):
        seed = fl.seed_of_part((5, 9), part, x.shape)
        for layout in (np.ascontiguousarray, np.asfortranarray):
            own = fl.quantize(layout(x[part]), fmt, rounding="stochastic", seed=seed)
            assert_array_equal(own, whole[part])
    with pytest.raises(ValueError, match=r"part of shape \(0, 20\), got x of \(48, 20\)"):
        fl.quantize(x, fmt, rounding="stochastic", seed=seed)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, np.s_[0:2], (3, 4)), ValueError, "part must be 2 slices"),
        ((1, (0, slice(2)), (3, 4)), ValueError, "part must be 2 slices"),
        ((1, np.s_[::2, :], (3, 4)), ValueError, "must have no step"),
        ((None, np.s_[:, :], (3, 4)), TypeError, "seed must be an integer"),
        ((-1, np.s_[:, :], (3, 4)), ValueError, "from 0 to"),
    ],
)
def test_what_is_no_part(arguments, error, message):
    with pytest.raises(error, match=message):
        fl.seed_of_part(*arguments)


def test_parts_are_for_numpy():
    seed = fl.seed_of_part(1, np.s_[0:4, :, :], X.shape)
    with pytest.raises(TypeError, match="for NumPy's arrays"):
        fl.encode(da.from_array(X), "e4m3", rounding="stochastic", seed=seed)


# --- elementwise formats ------------------------------------------------------------------------


@pytest.mark.parametrize("chunks", CHUNKS)
@pytest.mark.parametrize("fmt", ["e4m3", "int8", "fixed_s7_8"])
def test_elementwise(fmt, chunks):
    lazy = da.from_array(X, chunks=chunks)
    per_channel = {"scale": np.linspace(0.01, 1, 48), "axis": -2}
    for how in ({}, {"rounding": "up"}, STOCHASTIC, {"scale": 0.3}, per_channel,
                {**per_channel, **STOCHASTIC}):  # fmt: skip
        if fmt == "int8" and "axis" in how:
            how = {**how, "zero_point": np.arange(48) - 24}
        codes = fl.encode(lazy, fmt, **how)
        assert codes.chunks == lazy.chunks
        same(codes, fl.encode(X, fmt, **how))
        same(fl.quantize(lazy, fmt, **how), fl.quantize(X, fmt, **how))
        scaling = {name: how[name] for name in ("scale", "zero_point", "axis") if name in how}
        for dtype in (np.float32, np.float64, np.float16 if fmt != "fixed_s7_8" else None):
            expected = fl.decode(fl.encode(X, fmt, **how), fmt, dtype=dtype, **scaling)
            same(fl.decode(codes, fmt, dtype=dtype, **scaling), expected)


def test_seedless_rounding_is_drawn_once():
    lazy = fl.quantize(da.from_array(X, chunks=16), "e2m1", rounding="stochastic")
    assert_array_equal(lazy.compute(), lazy.compute())


def test_errors_come_with_the_values():
    lazy = da.from_array(X, chunks=16)
    found = fl.encode(lazy, "e4m3", overflow="raise")
    with pytest.raises(OverflowError, match="beyond the range of float8_e4m3fn"):
        found.compute()
    codes = fl.decode(da.full(3, 16, dtype=np.uint8), "e2m1")
    with pytest.raises(ValueError, match="from 0 to 15, got 16"):
        codes.compute()


def test_errors_that_come_at_once():
    lazy = da.from_array(X, chunks=16)
    for verb in (fl.encode, fl.quantize):
        with pytest.raises(ValueError, match="scale must be positive"):
            verb(lazy, "e4m3", scale=-1)
        with pytest.raises(ValueError, match="seed needs a stochastic rounding"):
            verb(lazy, "e4m3", seed=1)
        with pytest.raises(TypeError, match="neither out nor where"):
            verb(lazy, "e4m3", out=np.empty(X.shape, np.uint8))
        with pytest.raises(TypeError, match="must be an array of"):
            verb(lazy > 0, "e4m3")
    with pytest.raises(TypeError, match=r"float16 cannot hold .* convert x first"):
        fl.quantize(lazy.astype(np.float16), "bfloat16")
    with pytest.raises(TypeError, match="codes of float8_e4m3fn are uint8, got float32"):
        fl.decode(lazy, "e4m3")
    with pytest.raises(TypeError, match=r"got int64; make them np.asarray\(codes, np.uint8\)"):
        fl.decode(np.int64([42]), "e4m3")


def test_xarray_keeps_coordinates_and_seeds():
    xarray = pytest.importorskip("xarray")
    named = xarray.DataArray(da.from_array(X, chunks=(2, 16, 16)), dims=("a", "b", "c"),
                             coords={"a": range(4)})  # fmt: skip
    found = fl.quantize(named, "e4m3", **STOCHASTIC)
    assert found.coords.equals(named.coords)
    same(found.data, fl.quantize(X, "e4m3", **STOCHASTIC))
    same(fl.quantize(named, fl.bfp(4), axis=2), fl.quantize(X, fl.bfp(4), axis=2))


# --- block formats ------------------------------------------------------------------------------

BLOCKED = [
    (fl.bfp(4), 1, (3, (32, 16), 7)),
    (fl.bfp(4), -1, (1, 25, (16, 4))),
    (fl.bfp(6, block_size=24), 1, (2, 24, 20)),
    ("mxfp8_e4m3", 1, ((2, 0, 2), (32, 16), 3)),
    ("nvfp4", 2, (2, 48, (16, 4))),
    ("smx6", 1, (2, 16, 13)),
    (fl.bfp(4, block_size=(8, 16)), (2, 1), (3, (32, 16), (8, 12))),
    (fl.bfp(4), 0, (-1, 20, 10)),
]


@pytest.mark.parametrize(("fmt", "axis", "chunks"), BLOCKED)
@pytest.mark.parametrize("how", [{}, STOCHASTIC], ids=["nearest", "stochastic"])
def test_blocks(fmt, axis, chunks, how):
    lazy = da.from_array(X, chunks=chunks)
    expected = fl.encode(X, fmt, axis=axis, **how)
    b = fl.encode(lazy, fmt, axis=axis, **how)
    assert b.is_lazy
    assert (b.shape, b.nbytes, b.axis) == (expected.shape, expected.nbytes, expected.axis)
    same(b.codes, expected.codes)
    same(b.scales, expected.scales)
    whole = b.compute()
    assert type(whole) is fl.BlockArray
    assert not whole.is_lazy
    assert whole.compute() is whole
    assert whole.tensor_scale == expected.tensor_scale
    assert b.tobytes() == whole.tobytes() == expected.tobytes()
    same(fl.decode(b), fl.decode(expected))
    same(fl.decode(b, dtype="float64"), fl.decode(expected, dtype="float64"))
    same(fl.quantize(lazy, fmt, axis=axis, **how), fl.quantize(X, fmt, axis=axis, **how))
    assert_array_equal(np.asarray(b), np.asarray(expected))
    assert isinstance(dask.compute(b, b.scales)[0], fl.BlockArray)


def test_blocks_are_encoded_once_for_codes_and_scales():
    seen = []

    def look(part):
        seen.append(part.shape)
        return part

    lazy = da.from_array(X, chunks=16).map_blocks(look, dtype=X.dtype, meta=X[:0, :0, :0])
    dask.compute(fl.encode(lazy, fl.bfp(4)))
    assert len(seen) == lazy.npartitions


def test_views_of_lazy_blocks():
    expected = fl.encode(X, fl.bfp(4))
    b = fl.encode(da.from_array(X, chunks=(2, 16, 16)), fl.bfp(4))
    for view in (
        lambda b: b[1:, 3, 16:],
        lambda b: b.transpose(2, 0, 1),
        lambda b: b.reshape(4 * 48, 20),
        lambda b: b.copy(),
    ):
        found = view(b)
        assert found.is_lazy
        assert found.compute().tobytes() == view(expected).tobytes()


def test_lazy_blocks_are_computed_where_bytes_are_wanted(tmp_path):
    expected = fl.encode(X[0], fl.bfp(4), axis=0)
    b = fl.encode(da.from_array(X[0], chunks=16), fl.bfp(4), axis=0)
    fl.save(tmp_path / "b.npz", {"b": b})
    assert fl.load(tmp_path / "b.npz")["b"].tobytes() == expected.tobytes()
    assert_array_equal(b.planes().planes, expected.planes().planes)
    row = fl.encode(X[0, :, 0], fl.bfp(4))
    assert_array_equal(fl.matmul(row, fl.pack_operand(b)), fl.matmul(row, expected))
    flat = fl.encode(da.from_array(X[:, :, :16], chunks=(2, 16, 16)), fl.bfp(4)).reshape(-1)
    assert flat.compute().tobytes() == fl.encode(X[:, :, :16], fl.bfp(4)).reshape(-1).tobytes()


def test_blocks_must_not_be_cut():
    lazy = da.from_array(X, chunks=(4, 20, 20))
    message = r"chunks of \(20, 20, 8\) along axis 1, which cut blocks of 16; x.rechunk\({1: 32}\)"
    for call in (
        lambda: fl.encode(lazy, fl.bfp(4), axis=1),
        lambda: fl.quantize(lazy, fl.bfp(4), axis=1),
        lambda: fl.error_statistics(lazy, fl.bfp(4), axis=1),
        lambda: fl.error_statistics(lazy, "e4m3", axis=1, block_size=16),
        lambda: fl.group_bits(lazy.astype(np.int16), axis=1),
    ):
        with pytest.raises(ValueError, match=message):
            call()
    b = fl.encode(lazy.rechunk({1: 32}), fl.bfp(4), axis=1)
    with pytest.raises(ValueError, match="codes has chunks"):
        fl.BlockArray(b.codes.rechunk({1: 20}), b.scales, b.format, b.axis)
    with pytest.raises(ValueError, match="scales must have chunks"):
        fl.BlockArray(b.codes, b.scales.rechunk({1: 1}), b.format, b.axis)
    with pytest.raises(TypeError, match="scales must be a dask array"):
        fl.BlockArray(b.codes, b.scales.compute(), b.format, b.axis)
    with pytest.raises(TypeError, match="known shape"):
        fl.encode(lazy[lazy[:, 0, 0] > 0], fl.bfp(4))


def test_nonfinite_blocks_raise_with_the_values():
    fmt = replace(fl.bfp(4), nonfinite="raise")
    lazy = fl.quantize(da.from_array(np.where(X > 1e20, np.inf, X), chunks=16), fmt)
    with pytest.raises(ValueError, match="nonfinite='raise'"):
        lazy.compute()


# --- statistics, widths, compression ------------------------------------------------------------

EXACT = ("count", "nan", "infinite", "nonfinite", "inexact", "overflow", "underflow", "flushed",
         "max_error", "max_ulp_error")  # fmt: skip


def same_statistics(found, expected):
    for name in EXACT:
        assert_array_equal(getattr(found, name), getattr(expected, name), err_msg=name)
    for name in ("sum_squares", "sum_squared_errors"):
        np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-13)


@pytest.mark.parametrize("axis", [None, 1])
@pytest.mark.parametrize("chunks", CHUNKS)
def test_error_statistics(chunks, axis):
    x = X.astype(np.float64)
    x[0, 0, 0], x[3, 3, 3] = np.nan, np.inf
    lazy = da.from_array(x, chunks=chunks)
    for how in ({}, STOCHASTIC, {"scale": 0.25}):
        found = fl.error_statistics(lazy, "e4m3", axis=axis, **how)
        same_statistics(found, fl.error_statistics(x, "e4m3", axis=axis, **how))
    if axis is not None:
        how = {"scale": np.linspace(0.1, 1, 48), "zero_point": np.arange(48), "axis": axis}
        found = fl.error_statistics(da.from_array(X, chunks=chunks), "int8", **how, **STOCHASTIC)
        same_statistics(found, fl.error_statistics(X, "int8", **how, **STOCHASTIC))


@pytest.mark.parametrize(("fmt", "axis", "chunks"), BLOCKED)
def test_error_statistics_of_blocks(fmt, axis, chunks):
    lazy = da.from_array(X, chunks=chunks)
    for how in ({}, STOCHASTIC):
        expected = fl.error_statistics(X, fmt, axis=axis, **how)
        found = fl.error_statistics(lazy, fmt, axis=axis, **how)
        assert isinstance(found.count, da.Array)
        assert found.shape == expected.shape
        same_statistics(dask.compute(found)[0], expected)
        same_statistics(found.total(), expected.total())
        assert type(found.total().count) is int


def test_error_statistics_of_blocks_of_a_size():
    lazy = da.from_array(X, chunks=(3, (32, 16), 7))
    how = {"axis": 1, "block_size": 16, "scale": np.linspace(0.1, 1, 48), **STOCHASTIC}
    expected = fl.error_statistics(X, "e4m3", **how)
    same_statistics(dask.compute(fl.error_statistics(lazy, "e4m3", **how))[0], expected)
    with pytest.raises(TypeError, match="those of quantize"):
        fl.error_statistics(lazy, "e4m3", return_values=True)


def test_statistics_of_unknown_lengths():
    x = X[X[:, 0, 0] > 0]
    lazy = da.from_array(X, chunks=2)
    lazy = lazy[lazy[:, 0, 0] > 0]
    same_statistics(fl.error_statistics(lazy, "e4m3"), fl.error_statistics(x, "e4m3"))
    with pytest.raises(TypeError, match="known shape"):
        fl.error_statistics(lazy, "e4m3", **STOCHASTIC)


INTEGERS = np.random.default_rng(1).integers(-300, 300, X.shape)
INTEGERS = (INTEGERS >> np.arange(4).reshape(4, 1, 1)).astype(np.int16)


def test_widths_and_terms():
    lazy = da.from_array(INTEGERS, chunks=(2, (32, 16), 7))
    for axis, size in ((1, 16), (0, 2), ((0, 1), (2, 8))):
        same(fl.group_bits(lazy, size, axis), fl.group_bits(INTEGERS, size, axis))
        found = fl.group_bits(lazy, size, axis, ends="both", even_widths=True)
        expected = fl.group_bits(INTEGERS, size, axis, ends="both", even_widths=True)
        for own, other in zip(found, expected, strict=True):
            same(own, other)
        same(fl.terms(lazy, "naf", group_size=size, axis=axis),
             fl.terms(INTEGERS, "naf", group_size=size, axis=axis))  # fmt: skip
    same(fl.terms(lazy), fl.terms(INTEGERS))
    same(fl.group_bits(da.from_array(X, chunks=(4, 16, 16)), fmt="fixed_s7_8"),
         fl.group_bits(X, fmt="fixed_s7_8"))  # fmt: skip
    with pytest.raises(ValueError, match="signed='tensor'"):
        fl.group_bits(lazy, axis=1, signed="tensor")
    with pytest.raises(TypeError, match="x must be int8"):
        fl.group_bits(lazy.astype(np.int64), axis=1)


@pytest.mark.parametrize("chunks", CHUNKS)
def test_compression(chunks):
    lazy = da.from_array(INTEGERS, chunks=chunks)
    c = fl.compress(lazy, axis=1)
    assert "lazy" in repr(c)
    with pytest.raises(ValueError, match="once the parts are computed"):
        _ = c.nbytes
    same(fl.decompress(c), INTEGERS)
    made = dask.compute(c)[0]
    assert made.nbytes == sum(part.nbytes for part in made.parts.flat)
    assert made.ratio == INTEGERS.nbytes / made.nbytes
    assert f"chunks={lazy.npartitions}, nbytes=" in repr(made)
    assert_array_equal(fl.decompress(made), INTEGERS)
    first = tuple(slice(lengths[0]) for lengths in lazy.chunks)
    assert made.parts.flat[0].tobytes() == fl.compress(INTEGERS[first], axis=1).tobytes()


def test_compression_checks_its_arguments_at_once():
    lazy = da.from_array(INTEGERS, chunks=16)
    with pytest.raises(ValueError, match="group_size"):
        fl.compress(lazy, 0)
    with pytest.raises(TypeError, match="x must be int8"):
        fl.compress(lazy.astype(np.int64))


# --- products -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accumulator", ["fmac", "exact"])
def test_products_of_blocks(accumulator):
    a, b = X[:2], X[2:].transpose(0, 2, 1)
    left, right = fl.encode(a, fl.bfp(4)), fl.encode(b, fl.bfp(3), axis=1)
    expected = fl.matmul(left, right, accumulator=accumulator)
    lazy = fl.encode(da.from_array(a, chunks=(1, 20, 20)), fl.bfp(4))
    other = fl.encode(da.from_array(b, chunks=(1, 20, 17)), fl.bfp(3), axis=1)
    found = fl.matmul(lazy, other, accumulator=accumulator)
    assert found.chunks == ((1, 1), (20, 20, 8), (17, 17, 14))
    same(found, expected)
    # one matrix for all, of NumPy
    one = fl.encode(b[0], fl.bfp(3), axis=0)
    same(fl.matmul(lazy, one, c=np.ones(48, np.float32)),
         fl.matmul(left, one, c=np.ones(48, np.float32)))  # fmt: skip
    row = fl.encode(b[0, :, 0], fl.bfp(3))
    same(fl.matmul(lazy, row), fl.matmul(left, row))
    same(fl.dot(lazy, lazy), fl.dot(left, left))
    same(fl.dot(left, lazy), fl.dot(left, left))  # NumPy's operand is cut as the other
    same(fl.matmul(left, other, accumulator=accumulator), expected)


def test_products_of_codes():
    a, b = fl.encode(X[0], "e5m2"), fl.encode(X[1].T, "e4m3")
    how = {"formats": ("e5m2", "e4m3"), "accumulator": "hopper"}
    expected = fl.matmul(a, b, **how)
    for rows, columns in product((10, -1), (9, -1)):
        lazy = da.from_array(a, chunks=(rows, -1)), da.from_array(b, chunks=(-1, columns))
        same(fl.matmul(*lazy, **how), expected)
        same(fl.matmul(lazy[0], b, **how), expected)
    same(
        fl.matmul(lazy[0], lazy[1][:, 0], dtype="float64", **how),
        fl.matmul(a, b[:, 0], dtype="float64", **how),
    )
    nvfp4 = fl.encode(X[0], "nvfp4"), fl.encode(X[1], "nvfp4")
    lazy = tuple(fl.encode(da.from_array(X[i], chunks=(11, -1)), "nvfp4") for i in (0, 1))
    same(fl.matmul(lazy[0], lazy[1].T), fl.matmul(nvfp4[0], nvfp4[1].T))


def test_what_products_refuse():
    a = fl.encode(da.from_array(X[0], chunks=(-1, 16)), fl.bfp(4))
    b = fl.encode(X[0].T, fl.bfp(4), axis=0)
    with pytest.raises(
        ValueError, match=r"2 chunks along its reduction axis 1.*rechunk\({1: -1}\)"
    ):
        fl.matmul(a, b)
    whole = fl.encode(da.from_array(X[0], chunks=(20, -1)), fl.bfp(4))
    with pytest.raises(ValueError, match="along a common axis"):
        fl.matmul(whole, fl.encode(X[0], fl.bfp(4), axis=0))
    with pytest.raises(ValueError, match="one shape"):
        fl.dot(whole, b)
    with pytest.raises(ValueError, match="accumulator"):
        fl.matmul(whole, b, accumulator="fmak")


# --- without dask -------------------------------------------------------------------------------


def test_dask_is_not_imported():
    code = (
        "import sys, numpy as np, fmtlib as fl\n"
        "x = np.ones((4, 32), np.float32)\n"
        "fl.decode(fl.encode(x, fl.bfp(4))); fl.quantize(x, 'e4m3')\n"
        "fl.error_statistics(x, 'e4m3')\n"
        "fl.calibrate(x, 'int8'); fl.compress(x.astype('i2')); fl.group_bits(x.astype('i2'))\n"
        "assert 'dask' not in sys.modules"
    )
    subprocess.run([sys.executable, "-P", "-c", code], check=True)
