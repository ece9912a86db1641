"""Block dot products and matmul against exact arithmetic."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
from cases import each_target
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import products, reference
from fmtlib._core import kernels


def blocks_of(b, row):
    """Blocks of one row, as the reference takes them; b is blocked along its last axis."""
    size = b.format.block_size
    codes = b.codes[row].tolist()
    parts = [codes[i : i + size] for i in range(0, len(codes), size)]
    return list(zip(parts, b.scales[row].tolist(), strict=True))


def reference_matmul(a, b_rows, c=None):
    """Product of a with the rows of b, both blocked along their last axis."""
    out = np.zeros((a.shape[0], b_rows.shape[0]), np.float32)
    for i in range(a.shape[0]):
        for j in range(b_rows.shape[0]):
            start = 0.0 if c is None else float(c[i, j])
            out[i, j] = reference.dot_blocks(
                blocks_of(a, i), a.format, blocks_of(b_rows, j), b_rows.format, start
            )
    return out


def operands(rng, rows, depth, columns, a_format, b_format, spread=4):
    a = (rng.standard_normal((rows, depth)) * 2.0 ** rng.integers(-spread, spread)).astype("f4")
    b = (rng.standard_normal((depth, columns)) * 2.0 ** rng.integers(-spread, spread)).astype("f4")
    return (
        fl.encode(a, a_format, axis=1),
        fl.encode(b, b_format, axis=0),
        fl.encode(np.ascontiguousarray(b.T), b_format, axis=1),
    )


@pytest.mark.parametrize("m_a", range(1, 9))
@pytest.mark.parametrize("m_b", range(1, 9))
def test_mantissa_widths(target, m_a, m_b):
    rng = np.random.default_rng(m_a * 10 + m_b)
    a, b, b_rows = operands(rng, 5, 37, 18, fl.bfp(m_a), fl.bfp(m_b))
    expected = reference_matmul(a, b_rows)
    assert_array_equal(fl.matmul(a, b), expected)
    assert_array_equal(fl.matmul(a, b, accumulator="fmac"), expected)


@pytest.mark.parametrize(
    ("rows", "depth", "columns"),
    [(1, 1, 1), (1, 16, 1), (4, 16, 16), (3, 17, 5), (9, 40, 130), (1, 33, 300), (70, 5, 2)],
)
@pytest.mark.parametrize("block_size", [1, 7, 16, 64])
def test_shapes(target, rows, depth, columns, block_size):
    rng = np.random.default_rng(0)
    a, b, b_rows = operands(
        rng, rows, depth, columns, fl.bfp(4, 8, block_size), fl.bfp(2, 5, block_size)
    )
    c = rng.standard_normal((rows, columns)).astype("f4")
    if rows * columns * depth > 4000:  # the reference is slow: a sample of rows and columns
        result = fl.matmul(a, b, c=c)
        a_few = fl.BlockArray(a.codes[:2], a.scales[:2], a.format, 1)
        b_few = fl.BlockArray(b_rows.codes[-9:], b_rows.scales[-9:], b.format, 1)
        assert_array_equal(result[:2, -9:], reference_matmul(a_few, b_few, c[:2, -9:]))
    else:
        assert_array_equal(fl.matmul(a, b, c=c), reference_matmul(a, b_rows, c))


def test_long_groups_stay_exact(target):
    """8 x 8 bits over a group of 3000: the exact sum has more than 24 bits."""
    x = np.full((1, 3000), 255.0, np.float32)
    x[0, 0] = 1.0
    fmt = fl.bfp(8, block_size=3000)
    a, b = fl.encode(x, fmt, axis=1), fl.encode(np.ascontiguousarray(x.T), fmt, axis=0)
    exact = 2999 * 255**2 + 1
    assert int(fl.matmul(a, b)[0, 0]) == int(np.float32(exact)) != exact
    rng = np.random.default_rng(1)
    a, b, b_rows = operands(rng, 2, 3000, 3, fmt, fmt)
    assert_array_equal(fl.matmul(a, b), reference_matmul(a, b_rows))


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 8),
    st.integers(1, 8),
    st.integers(1, 20),
    st.integers(2, 8),
    st.integers(1, 70),
    st.integers(0, 140),
)
def test_any_operands(seed, m_a, m_b, block_size, exponent_bits, depth, spread):
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((2, depth)) * 2.0 ** rng.integers(-spread, spread + 1, (2, depth))
    b = rng.standard_normal((3, depth)) * 2.0 ** rng.integers(-spread, spread + 1, (3, depth))
    a_blocks = fl.encode(a, fl.bfp(m_a, exponent_bits, block_size), axis=1)
    b_rows = fl.encode(b, fl.bfp(m_b, exponent_bits, block_size), axis=1)
    b_blocks = fl.encode(b.T, fl.bfp(m_b, exponent_bits, block_size), axis=0)
    expected = reference_matmul(a_blocks, b_rows)
    with np.errstate(all="raise"):
        assert_array_equal(fl.matmul(a_blocks, b_blocks), expected)
        two = fl.BlockArray(b_rows.codes[:2], b_rows.scales[:2], b_rows.format, 1)
        assert_array_equal(fl.dot(a_blocks, two), np.diagonal(expected[:, :2]))


def test_nan_blocks_poison_what_they_enter(target):
    x = np.ones((2, 32), np.float32)
    x[0, 20] = np.nan
    a = fl.encode(x, fl.bfp(4), axis=1)
    b = fl.encode(np.zeros((32, 2), np.float32), fl.bfp(4), axis=0)
    assert_array_equal(fl.matmul(a, b), [[np.nan, np.nan], [0, 0]])


def test_batches_broadcast_as_in_numpy():
    rng = np.random.default_rng(3)
    a = rng.integers(-7, 8, (2, 1, 3, 20)).astype(np.float32)
    b = rng.integers(-7, 8, (4, 20, 5)).astype(np.float32)
    fmt = fl.bfp(4)
    product = fl.matmul(fl.encode(a, fmt, axis=-1), fl.encode(b, fmt, axis=-2))
    assert product.shape == (2, 4, 3, 5)
    values = np.matmul(
        fl.quantize(a, fmt, axis=-1).astype(float), fl.quantize(b, fmt, axis=-2).astype(float)
    )
    assert_array_equal(product, values)  # small integers: exact in any order


def test_workers_change_nothing():
    rng = np.random.default_rng(4)
    a, b, _ = operands(rng, 130, 200, 190, fl.bfp(4), fl.bfp(4))
    assert_array_equal(fl.matmul(a, b), fl.matmul(a, b, workers=5))


@pytest.mark.parametrize(("rows", "workers", "threads"), [(40, 1, []), (40, 3, [3]), (2, 5, [2])])
def test_workers_are_threads(monkeypatch, rows, workers, threads):
    """As many as are asked for, but no more than there are rows."""
    pools = []

    class Pool(ThreadPoolExecutor):
        def __init__(self, count):
            pools.append(count)
            super().__init__(count)

    monkeypatch.setattr(products, "ThreadPoolExecutor", Pool)
    monkeypatch.setattr(products, "_WORKER_SHARE", 1)
    a, b, _ = operands(np.random.default_rng(4), rows, 32, 7, fl.bfp(4), fl.bfp(4))
    assert_array_equal(fl.matmul(a, b, workers=workers), fl.matmul(a, b))
    assert pools == threads


@pytest.mark.parametrize(
    ("m_a", "m_b", "passes"), [(2, 2, 1), (4, 2, 2), (2, 4, 2), (4, 4, 4), (3, 1, 2), (8, 8, 16)]
)
def test_passes(m_a, m_b, passes):
    rng = np.random.default_rng(5)
    a, b, _ = operands(rng, 3, 40, 5, fl.bfp(m_a), fl.bfp(m_b))
    assert fl.dot_passes(a, b) == 3 * 5 * 3 * passes
    c = fl.encode(np.ones((3, 40), np.float32), fl.bfp(m_b))
    assert fl.dot_passes(a, c) == 3 * 3 * passes
    stack = fl.encode(np.ones((2, 4, 3, 40), np.float32), fl.bfp(m_a))
    assert fl.dot_passes(stack, b) == 2 * 4 * 3 * 5 * 3 * passes
    wide_a, wide_b, _ = operands(rng, 3, 40, 5, fl.bfp(m_a, 8, 32), fl.bfp(m_b, 8, 32))
    assert fl.dot_passes(wide_a, wide_b) == 3 * 5 * (2 + 1) * passes


def test_the_chunks_of_a_product_add_up():
    """|x| = 4 x1 + x0: four passes of 2-bit chunks give the product of 4-bit magnitudes."""
    k = np.arange(16)
    high, low = k >> 2, k & 3
    for x in range(16):
        four = 16 * high * (x >> 2) + 4 * (high * (x & 3) + low * (x >> 2)) + low * (x & 3)
        assert_array_equal(four, k * x)


def test_bad_operands():
    x = np.ones((4, 32), np.float32)
    a, b = fl.encode(x, fl.bfp(4), axis=1), fl.encode(x.T, fl.bfp(4), axis=0)
    for call, error, message in (
        (lambda: fl.matmul(x, b), TypeError, "BlockArray"),
        (lambda: fl.matmul(a, a), ValueError, "32 columns against 4 rows"),
        (lambda: fl.matmul(a, fl.encode(x.T, fl.bfp(4), axis=1)), ValueError, "blocked along"),
        (lambda: fl.matmul(fl.encode(x, fl.bfp(4), axis=0), b), ValueError, "blocked along"),
        (lambda: fl.matmul(a, b, accumulator="int8"), ValueError, "fmac"),
        (lambda: fl.matmul(a, b, c=np.zeros((4, 5), "f4")), ValueError, "shape"),
        (lambda: fl.matmul(a, b, c=np.zeros((4, 4))), TypeError, "float32"),
        (lambda: fl.matmul(a, b, c=np.ma.zeros((4, 4), "f4")), TypeError, "masked"),
        (lambda: fl.matmul(a, b, workers=0), ValueError, "at least 1"),
        (lambda: fl.matmul(a, b, workers=True), TypeError, "integer"),
        (lambda: fl.dot(a, b), ValueError, "one shape"),
        (lambda: fl.dot_passes(a, x), TypeError, "BlockArray"),
    ):
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize("order", ["CC", "FC", "CF", "FF"])
@pytest.mark.parametrize("shape", [(70, 33, 20), (64, 16, 144), (160, 48, 32), (32, 5000, 40)])
@pytest.mark.parametrize("m", [4, 8])
def test_ways_to_one_product(target, m, shape, order):
    """By operands' places in memory, exchanged or not, from zeros or from what is there."""
    rows, depth, columns = shape
    x, y, _ = operands(np.random.default_rng(4), rows, depth, columns, fl.bfp(m), fl.bfp(m))
    x, y = (
        fl.BlockArray(*(np.asarray(z, order=o) for z in (b.codes, b.scales)), b.format, b.axis)
        for b, o in zip((x, y), order, strict=True)
    )
    product = fl.matmul(x, y)
    for other in (
        fl.matmul(x, y, workers=1),
        fl.matmul(x, y, c=0.0),
        fl.matmul(y.T, x.T).T,
        fl.matmul(fl.pack_operand(x, "a"), fl.pack_operand(y)),
        np.stack([fl.matmul(row, y) for row in x]),
    ):
        assert_array_equal(other, product)
    stack = fl.BlockArray(
        *(np.stack([z, z[::-1]])[:, None] for z in (x.codes, x.scales)), x.format, 3
    )
    ys = fl.BlockArray(*(np.stack([z, z])[:, None] for z in (y.codes, y.scales)), y.format, 2)
    assert_array_equal(fl.matmul(stack, ys), [[product], [product[::-1]]])


def test_empty_products():
    a = fl.encode(np.zeros((2, 0), np.float32), fl.bfp(4), axis=1)
    b = fl.encode(np.zeros((0, 3), np.float32), fl.bfp(4), axis=0)
    assert_array_equal(fl.matmul(a, b), np.zeros((2, 3), np.float32))
    assert fl.dot_passes(a, b) == 0
    assert_array_equal(fl.dot(a, a), np.zeros(2, np.float32))
    assert fl.dot_passes(a, a) == 0


@pytest.mark.parametrize(
    ("depth", "block_size"), [(1024, 16), (1025, 16), (3000, 16), (2500, 1100)]
)
def test_depths_beyond_a_slab(target, depth, block_size):
    rng = np.random.default_rng(6)
    fmt = fl.bfp(4, block_size=block_size)
    a, b, b_rows = operands(rng, 2, depth, 3, fmt, fmt)
    c = rng.standard_normal((2, 3)).astype("f4")
    assert_array_equal(fl.matmul(a, b, c=c), reference_matmul(a, b_rows, c))


# --- the integer kernel ---------------------------------------------------------------------


def extreme_operands(m_a, m_b, depth, block_size, pattern):
    """Two rows and three columns of the greatest magnitudes, and their exact sum per block."""
    a_format, b_format = fl.bfp(m_a, 8, block_size), fl.bfp(m_b, 8, block_size)
    signs = {"same": [1], "opposite": [-1], "alternating": [1, -1], "half": [1] * 4 + [-1] * 4}
    sign = np.resize(signs[pattern], depth)
    a_codes = np.full((2, depth), (1 << m_a) - 1, a_format.code_dtype)
    b_codes = np.full((3, depth), (1 << m_b) - 1, b_format.code_dtype)
    b_codes |= ((sign < 0) << m_b).astype(b_codes.dtype)
    a_codes[1] |= a_codes.dtype.type(1 << m_a)
    groups = -(-depth // block_size)
    bias = a_format.scale.bias
    a = fl.BlockArray(a_codes, np.full((2, groups), bias, np.uint8), a_format, 1)
    b = fl.BlockArray(b_codes, np.full((3, groups), bias, np.uint8), b_format, 1)
    return a, b


@pytest.mark.parametrize("pattern", ["same", "opposite", "alternating", "half"])
@pytest.mark.parametrize(
    ("depth", "block_size"), [(80, 16), (64, 32), (64, 64), (130, 128), (130, 129)]
)
def test_greatest_magnitudes_of_all_widths(target, depth, block_size, pattern):
    """No sum overflows the integers that it is formed in, nor saturates."""
    for m_a in range(1, 16):
        for m_b in range(1, 16):
            a, b = extreme_operands(m_a, m_b, depth, block_size, pattern)
            total = np.zeros((2, 3), np.float32)
            values = np.ldexp(1.0, [[1 - m_a], [1 - m_b]])
            x = fl.decode(a, dtype="f8") / values[0]
            y = fl.decode(b, dtype="f8") / values[1]
            for k in range(0, depth, block_size):
                part = slice(k, k + block_size)
                exact = x[:, part] @ y[:, part].T  # below 2**53
                total += (exact * (values[0] * values[1])).astype(np.float32)
            assert_array_equal(fl.matmul(a, b.T), total, str((m_a, m_b)))


@pytest.mark.parametrize(
    ("m_a", "m_b"), [(1, 1), (4, 4), (6, 6), (7, 6), (6, 7), (7, 7), (8, 3), (12, 12), (15, 15)]
)
def test_extreme_scales(target, m_a, m_b):
    """Products that overflow, are subnormal or vanish round as the reference's do."""
    rng = np.random.default_rng(m_a)
    a_format, b_format = fl.bfp(m_a, 8, 4), fl.bfp(m_b, 8, 4)
    codes = [
        rng.integers(0, 2 << m, (n, 24)).astype(f.code_dtype)
        for m, n, f in ((m_a, 5, a_format), (m_b, 4, b_format))
    ]
    for ends in (
        [0, 1, 2],
        [252, 253, 254],
        [0, 254],
        [0, 127, 254],
        [60, 190],
        [190, 254],
        [255, 1],
    ):
        scales = [rng.choice(ends, (n, 6)).astype(np.uint8) for n in (5, 4)]
        a = fl.BlockArray(codes[0], scales[0], a_format, 1)
        b = fl.BlockArray(codes[1], scales[1], b_format, 1)
        for c in (None, rng.choice(np.float32([0, -0.0, 3e38, -3e38, 1e-45, np.inf]), (5, 4))):
            with np.errstate(all="raise"):
                result = fl.matmul(a, b.T, c=c)
            assert_array_equal(result, reference_matmul(a, b, c), str(ends))


@given(
    data=st.data(),
    m=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    sizes=st.tuples(st.integers(1, 40), st.integers(1, 40)),
    shape=st.tuples(st.integers(1, 11), st.integers(1, 90), st.integers(1, 40)),
)
def test_any_shapes_and_blocks(data, m, sizes, shape):
    """Ragged shapes, blocks of two sizes, any strides, packed or not: as the general kernel."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    rows, depth, columns = shape
    a = fl.encode(rng.standard_normal((rows, depth)), fl.bfp(m[0], 8, sizes[0]), axis=1)
    b = fl.encode(rng.standard_normal((columns, depth)), fl.bfp(m[1], 8, sizes[1]), axis=1).T
    if data.draw(st.booleans(), "b is C-contiguous"):
        b = fl.BlockArray(b.codes.copy(), b.scales.copy(), b.format, 0)
    if data.draw(st.booleans(), "every other row"):
        a = fl.BlockArray(a.codes.repeat(2, 0), a.scales.repeat(2, 0), a.format, 1)[::-2]
    expected = fl.matmul(a, b, dtype=np.float64)  # by the general kernel
    for _ in each_target():
        assert_array_equal(fl.matmul(a, b), expected)
        packed = fl.pack_operand(a, "a"), fl.pack_operand(b)
        assert_array_equal(fl.matmul(a, packed[1]), expected)
        assert_array_equal(fl.matmul(*packed), expected)


@pytest.mark.parametrize("m", [4, 7, 12, 15])
def test_blocks_of_work(target, m):
    """Every edge of the blocks that large products are cut into."""
    rng = np.random.default_rng(7)
    a = fl.encode(rng.standard_normal((130, 1041)), fl.bfp(m), axis=1)
    b = fl.encode(rng.standard_normal((1041, 515)), fl.bfp(m), axis=0)
    result = fl.matmul(a, b)
    for rows in (slice(0, 1), slice(126, 130)):
        for columns in (slice(0, 2), slice(509, 515)):
            general = fl.matmul(a[rows], b[:, columns], dtype=np.float64)
            assert_array_equal(result[rows, columns], general)
    packed = fl.pack_operand(a, "a"), fl.pack_operand(b)
    for workers in (1, 3):
        assert_array_equal(fl.matmul(*packed, workers=workers), result)
        assert_array_equal(fl.matmul(a, b, workers=workers), result)


def test_long_groups_of_wide_elements(target):
    rng = np.random.default_rng(8)
    for m, size in ((15, 2000), (13, 8192), (7, 8192), (3, 5000)):
        fmt = fl.bfp(m, block_size=size)
        a = fl.encode(rng.uniform(0.5, 1, (3, 8200)), fmt, axis=1)
        b = fl.encode(rng.uniform(0.5, 1, (8200, 2)), fmt, axis=0)
        assert_array_equal(fl.matmul(a, b), fl.matmul(a, b, dtype=np.float64))


def test_zero_blocks_keep_their_neighbours_exact(target):
    """A block of zeros has the least exponent; it must not send others the slow way wrongly."""
    x = np.ones((4, 64), np.float32)
    x[:, 16:32] = 0
    x[1, 32:] = -0.0
    a = fl.encode(x, fl.bfp(4), axis=1)
    b = fl.encode(np.ones((64, 3), np.float32), fl.bfp(4), axis=0)
    assert_array_equal(fl.matmul(a, b), x @ np.ones((64, 3), np.float32))


@pytest.mark.parametrize(
    "shape", [(1, 90, 1), (1, 90, 300), (300, 90, 1), (90, 40, 3), (9, 70, 33)]
)
@pytest.mark.parametrize("m", [4, 8, 15])
def test_skinny_products(target, m, shape):
    """With few rows or columns the operands change places: into the right places of c."""
    rng = np.random.default_rng(11)
    rows, depth, columns = shape
    a = fl.encode(rng.standard_normal((2, rows, depth)), fl.bfp(m, 8, 8))
    b = fl.encode(rng.standard_normal((2, depth, columns)), fl.bfp(min(m + 1, 15)), axis=1)
    c = rng.standard_normal((2, rows, columns)).astype("f4")
    assert_array_equal(fl.matmul(a, b, c=c), fl.matmul(a, b, c=c, dtype=np.float64))
    if rows > 1:
        few = a[0][:2]  # of the same memory
        assert_array_equal(fl.matmul(a[0], few.T), fl.matmul(few, a[0].T).T)
        assert_array_equal(fl.matmul(few, a[0].T), fl.matmul(few, a[0].T, dtype=np.float64))


@given(
    data=st.data(),
    m=st.tuples(st.integers(1, 15), st.integers(1, 15)),
    sizes=st.tuples(st.integers(1, 140), st.integers(1, 140)),
    rows=st.integers(1, 70),
    depth=st.integers(1, 300),
    spread=st.integers(0, 140),
)
def test_dots_of_many_rows(data, m, sizes, rows, depth, spread):
    """As the general kernel adds, for any strides, from any c; NaN and extreme scales included."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    x, y = rng.standard_normal((2, rows, depth)) * 2.0 ** rng.integers(
        -spread, spread + 1, (2, 1, 1)
    )
    if data.draw(st.booleans(), "NaN"):
        x[rows // 2, depth // 2] = np.nan
    a, b = fl.encode(x, fl.bfp(m[0], 8, sizes[0])), fl.encode(y, fl.bfp(m[1], 8, sizes[1]))
    if data.draw(st.booleans(), "every other row"):
        a = fl.BlockArray(a.codes.repeat(2, 0), a.scales.repeat(2, 0), a.format, 1)[::-2]
    c = rng.standard_normal(rows).astype("f4")
    expected = fl.dot(a, b, c=c, dtype=np.float64)  # by the general kernel
    for _ in each_target():
        assert_array_equal(fl.dot(a, b, c=c), expected)


# --- packed operands ------------------------------------------------------------------------


def test_packed_operands_broadcast_and_pickle(target):
    rng = np.random.default_rng(9)
    a = fl.encode(rng.standard_normal((2, 1, 5, 40)), fl.bfp(4), axis=-1)
    b = fl.encode(rng.standard_normal((3, 40, 18)), fl.bfp(4), axis=-2)
    expected = fl.matmul(a, b)
    x, y = fl.pack_operand(a, "a"), fl.pack_operand(b)
    for pair in ((x, b), (a, y), (x, y), pickle.loads(pickle.dumps((x, y))), copy.deepcopy((x, y))):
        assert_array_equal(fl.matmul(*pair), expected)
    assert (x.shape, x.format, x.side) == (a.shape, a.format, "a")
    assert y.nbytes >= 3 * 40 * 18
    assert "side='b'" in repr(y)
    with pytest.raises(ValueError, match="read-only"):
        y.blocks.codes[0] = 0


def test_packed_operands_where_the_packing_does_not_serve(target):
    rng = np.random.default_rng(10)
    b = fl.encode(rng.standard_normal((40, 18)), fl.bfp(4), axis=0)
    packed = fl.pack_operand(b)
    for fmt in (fl.bfp(4, 8, 8), fl.bfp(7), fl.bfp(12), fl.bfp(15), fl.get_format("mxfp8_e4m3")):
        a = fl.encode(rng.standard_normal((5, 40)), fmt, axis=1)
        assert_array_equal(fl.matmul(a, packed), fl.matmul(a, b))
        assert_array_equal(
            fl.matmul(a, packed, accumulator="exact"), fl.matmul(a, b, accumulator="exact")
        )
    square = fl.encode(rng.standard_normal((16, 16)), fl.bfp(4), axis=1)
    wrong_side = fl.pack_operand(square, "a")
    with pytest.raises(ValueError, match="reduction axis"):
        fl.matmul(square, wrong_side)
    kernels.force_target("baseline")  # packed for another instruction set, perhaps
    assert_array_equal(fl.matmul(square, fl.pack_operand(square.T)), fl.matmul(square, square.T))
    assert_array_equal(fl.matmul(b.T, packed), fl.matmul(b.T, b))


def test_what_is_not_packed():
    x = np.ones((32, 32), np.float32)
    b = fl.encode(x, fl.bfp(4), axis=0)
    for call, error, message in (
        (lambda: fl.pack_operand(x), TypeError, "ndarray"),
        (lambda: fl.pack_operand(fl.encode(x, "mxfp8_e4m3", axis=0)), TypeError, "mxfp8"),
        (lambda: fl.pack_operand(fl.encode(x, fl.bfp(16), axis=0)), TypeError, "bfp_m16"),
        (lambda: fl.pack_operand(b, "left"), ValueError, "'a' or 'b'"),
        (lambda: fl.pack_operand(b, "a"), ValueError, "reduction axis 1"),
        (lambda: fl.pack_operand(fl.encode(x[0], fl.bfp(4))), ValueError, "two dimensions"),
    ):
        with pytest.raises(error, match=message):
            call()
    empty = fl.encode(np.zeros((0, 3), np.float32), fl.bfp(4), axis=0)
    product = fl.matmul(fl.encode(np.zeros((2, 0), np.float32), fl.bfp(4)), fl.pack_operand(empty))
    assert_array_equal(product, np.zeros((2, 3), np.float32))


def test_scratch_is_small(target):
    """Beside operands and output: below 1 MiB, or a tenth of the operands."""

    def scratch(a, b):  # of a batch of matrices, both blocked along their last axis
        return kernels.matmul_scratch(
            *(SimpleNamespace(codes=x.codes, scales=x.scales, format=x.format) for x in (a, b))
        )

    for m, size in ((4, 16), (15, 16), (15, 128), (7, 2048), (12, 2048), (12, 8192)):
        rows = fl.encode(np.ones((40, 1, 9000), np.float32), fl.bfp(m, 8, size))
        assert scratch(rows, rows) <= 1 << 20, (m, size)
    for m, size, shape in (
        (4, 16, (300, 3000, 700)),
        (15, 16, (300, 3000, 1500)),
        (15, 128, (1500, 3000, 3)),
        (12, 8192, (40, 9000, 300)),
        (4, 1, (64, 2000, 800)),
    ):
        a = fl.encode(np.ones((1, *shape[:2]), np.float32), fl.bfp(m, 8, size))
        b = fl.encode(np.ones((1, *shape[:0:-1]), np.float32), fl.bfp(m, 8, size))
        assert scratch(a, b) <= 1 << 20, (m, size)
