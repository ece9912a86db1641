"""Block dot products and matmul against exact arithmetic."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference


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


@pytest.mark.parametrize(
    ("m_a", "m_b", "passes"), [(2, 2, 1), (4, 2, 2), (2, 4, 2), (4, 4, 4), (3, 1, 2), (8, 8, 16)]
)
def test_passes(m_a, m_b, passes):
    rng = np.random.default_rng(5)
    a, b, _ = operands(rng, 3, 40, 5, fl.bfp(m_a), fl.bfp(m_b))
    assert fl.dot_passes(a, b) == 3 * 5 * 3 * passes
    c = fl.encode(np.ones((3, 40), np.float32), fl.bfp(m_b))
    assert fl.dot_passes(a, c) == 3 * 3 * passes
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
