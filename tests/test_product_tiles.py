"""Products in vector loops: each accumulator that has them, bit for bit as the reference adds."""

import dataclasses
import itertools
import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from cases import each_target
from numpy.testing import assert_array_equal
from test_accumulators import FLOAT32, as_float, assert_same, block_terms, codes_of

import fmtlib as fl
from fmtlib import reference
from fmtlib.accumulators import PRESETS

EIGHT_BITS = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
PAIRS = [
    *itertools.product(EIGHT_BITS[:2], repeat=2),
    *((name, name) for name in EIGHT_BITS[2:]),
    ("float16", "float16"),
    ("bfloat16", "bfloat16"),
    ("tf32", "tf32"),
    ("int8", "float8_e5m2"),
    ("float4_e2m1fn", "float6_e3m2fn"),
]
# Tails of tiles of 4 x 16 on both sides, one row, one column.
SHAPES = [(1, 33, 1), (1, 40, 17), (19, 7, 1), (5, 37, 18), (4, 32, 16), (3, 1, 35), (7, 90, 2)]


def preset(name, formats):
    try:
        return fl.Accumulator.preset(name, *formats)
    except ValueError:
        return None


def operands(rng, formats, rows, depth, columns, kind):
    """Codes of numbers near one another ("calm"), of all codes ("any"), or of the extremes."""
    a = codes_of(rng, formats[0], (rows, depth), kind == "calm")
    b = codes_of(rng, formats[1], (depth, columns), kind == "calm")
    for x, name in ((a, formats[0]), (b, formats[1])):
        fmt = fl.get_format(name)
        if kind == "extreme" and isinstance(fmt, fl.FloatFormat):
            ends = np.array([0, 1, 2, fmt.max_code - 1, fmt.max_code], fmt.code_dtype)
            signs = np.array([0, fmt.sign_bit], fmt.code_dtype)
            x[...] = rng.choice(ends, x.shape) | rng.choice(signs, x.shape)
        x[rng.random(x.shape) < 0.1] = 0
    return a, b


def assert_is_reference_s(result, a, b, formats, accumulator, c, cells, dtype="float32"):
    fa, fb = map(fl.get_format, formats)
    for i, j in cells:
        terms = reference.terms(a[i].tolist(), fa, b[:, j].tolist(), fb)
        value = reference.dot(terms, accumulator, float(c[i, j]))
        assert_same(result[i, j], as_float(value, dtype)[()])


def some_cells(rng, rows, columns, count):
    """Cells of all corners, and others."""
    corners = itertools.product({0, rows - 1}, {0, columns - 1})
    return {*corners, *zip(rng.integers(0, rows, count), rng.integers(0, columns, count))}  # noqa: B905


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("kind", ["calm", "any", "extreme"])
def test_presets(name, kind):
    rng = np.random.default_rng(20)
    for formats in PAIRS:
        accumulator = preset(name, formats)
        if accumulator is None:
            continue
        for rows, depth, columns in SHAPES:
            a, b = operands(rng, formats, rows, depth, columns, kind)
            c = rng.standard_normal((rows, columns)).astype("f4") * (rng.random() < 0.5)
            cells = some_cells(rng, rows, columns, 2)
            for _ in each_target():
                result = fl.matmul(a, b, formats=formats, accumulator=name, c=c)
                assert_is_reference_s(result, a, b, formats, accumulator, c, cells)


@pytest.mark.parametrize("name", PRESETS)
def test_long_depths(name):
    """Longer than a slab, and no multiple of anything."""
    rng = np.random.default_rng(21)
    for formats in PAIRS[:7]:
        accumulator = preset(name, formats)
        if accumulator is None:
            continue
        a, b = operands(rng, formats, 5, 1303, 3, "calm")
        a, b = np.tile(a, (27, 1)), np.tile(b, (1, 44))
        c = np.zeros((135, 132), np.float32)
        for _ in each_target():
            result = fl.matmul(a, b, formats=formats, accumulator=name)
            assert_array_equal(result, np.tile(result[:5, :3], (27, 44)))
            assert_is_reference_s(result, a, b, formats, accumulator, c, [(0, 0), (3, 2)])


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("name", ["exact", "float32", "fmac", "hopper", "b200"])
def test_dtypes(target, name, dtype):
    rng = np.random.default_rng(22)
    for formats in (("e4m3", "e4m3"), ("e5m2", "e4m3")):
        accumulator = preset(name, formats)
        a, b = operands(rng, formats, 6, 45, 19, "calm")
        c = rng.standard_normal((6, 19)).astype(dtype if name == "exact" else "f4")
        result = fl.matmul(a, b, formats=formats, accumulator=name, c=c, dtype=dtype)
        start = c.astype(dtype)
        cells = some_cells(rng, 6, 19, 8)
        assert_is_reference_s(result, a, b, formats, accumulator, start, cells, dtype)


HOPPER, B200, IEEE, FMAC = (
    fl.Accumulator.preset(name, "e4m3", "e4m3") for name in ("hopper", "b200", "float32", "fmac")
)


@pytest.mark.parametrize(
    "accumulator",
    [
        dataclasses.replace(HOPPER, promotion_terms=128, promotion=FLOAT32),
        dataclasses.replace(HOPPER, promotion_terms=96, promotion=FLOAT32, order=(200, 117)),
        dataclasses.replace(B200, promotion_terms=64, promotion=FLOAT32),
        dataclasses.replace(HOPPER, order=(300, 10, 7)),
        dataclasses.replace(B200, order=(100, 217)),
        dataclasses.replace(IEEE, order=(17, 300)),
        dataclasses.replace(FMAC, order=(160, 157)),
        dataclasses.replace(IEEE, order="pairwise"),
        dataclasses.replace(FMAC, order="pairwise"),
        dataclasses.replace(FMAC, order="pairwise", terms=1),
        dataclasses.replace(B200, order="pairwise", terms=3),
        dataclasses.replace(FMAC, terms=7),
        dataclasses.replace(FMAC, terms=None),
        fl.Accumulator(terms=100, total=FLOAT32),  # one by one, with steps beyond the buffer
        fl.Accumulator(alignment_bits=30, total=FLOAT32),
        fl.Accumulator(start="late", alignment_bits=10),
    ],
    ids=repr,
)
def test_orders(target, accumulator):
    rng = np.random.default_rng(23)
    for formats in (("e4m3", "e4m3"), ("e5m2", "e5m2"), ("float16", "float16")):
        a, b = operands(rng, formats, 5, 317, 18, "calm")
        c = rng.standard_normal((5, 18)).astype("f4")
        result = fl.matmul(a, b, formats=formats, accumulator=accumulator, c=c)
        assert_is_reference_s(result, a, b, formats, accumulator, c, [(0, 0), (4, 17), (2, 9)])


@pytest.mark.parametrize("depth", [*range(1, 20), 255, 256, 257, 511, 512, 513, 1024, 1111])
def test_pairs_of_pairs(depth):
    """Every shape of the tree, within a slab and across slabs."""
    rng = np.random.default_rng(depth)
    a, b = operands(rng, ("bfloat16", "bfloat16"), 2, depth, 17, "calm")
    accumulator = dataclasses.replace(IEEE, order="pairwise")
    c = rng.standard_normal((2, 17)).astype("f4")
    sums = list((fl.decode(a, "bfloat16")[..., None] * fl.decode(b, "bfloat16")).swapaxes(0, 1))
    while len(sums) > 1:
        odd_one = sums[len(sums) // 2 * 2 :]
        sums = [x + y for x, y in zip(sums[::2], sums[1::2], strict=False)] + odd_one
    for _ in each_target():
        result = fl.matmul(a, b, formats=("bfloat16",) * 2, accumulator=accumulator, c=c)
        assert_same(result, c + sums[0])


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("rows", [1, 2, 15, 16, 17, 33, 200])
def test_dot_is_the_diagonal(target, name, rows):
    rng = np.random.default_rng(rows)
    for formats in PAIRS:
        if preset(name, formats) is None:
            continue
        for kind in ("calm", "any"):
            a, b = operands(rng, formats, rows, 45, rows, kind)
            c = rng.standard_normal(rows).astype("f4")
            full = fl.matmul(
                a, b, formats=formats, accumulator=name, c=np.broadcast_to(c, (rows, rows))
            )
            dots = fl.dot(a, b.T, formats=formats, accumulator=name, c=c)
            assert_same(dots, np.diagonal(full))
            strided = np.stack([a, a[::-1]], axis=1)[:, 0]
            assert_same(fl.dot(strided, b.T, formats=formats, accumulator=name, c=c), dots)


@pytest.mark.parametrize("name", ["exact", "float32", "ada", "b200"])
def test_starts(target, name):
    """From any c: zeros of both signs, subnormal numbers, the extremes, infinity and NaN."""
    rng = np.random.default_rng(24)
    formats = ("e5m2", "e4m3")
    accumulator = preset(name, formats)
    a, b = operands(rng, formats, 4, 20, 40, "calm")
    a[3] = 0
    c = np.tile(np.float32([0, 1, 2.0**-140, 2.0**-126, 2.0**-100, 2.0**-89, 2.0**88]), 23)[:160]
    c[7:13] = [2.0**100, 2.0**127, np.finfo("f4").max, np.inf, np.nan, 2.0**20]
    c = (c * rng.choice([-1, 1], 160)).reshape(4, 40).astype("f4")
    c[0, 11] = np.nan
    result = fl.matmul(a, b, formats=formats, accumulator=name, c=c)
    cells = list(np.ndindex(4, 40))
    assert_is_reference_s(result, a, b, formats, accumulator, c, cells)


@pytest.mark.parametrize("name", ["a100", "hopper", "b200"])
@pytest.mark.parametrize("fmt", ["bfloat16", "tf32"])
def test_data_of_wide_formats(target, name, fmt):
    """Narrow data, data at the ends of what counts as narrow, and wide ones: what steps give."""
    rng = np.random.default_rng(28)
    accumulator = fl.Accumulator.preset(name, fmt, fmt)
    steps = dataclasses.replace(accumulator, min_exponent=-4096)  # has no loops
    for exponent in [-70, *range(-53, -44), 0, *range(56, 66)]:
        for odd_one in (1, 2.0**-60, 2.0**60):
            x, y = (rng.standard_normal(shape) * 2.0**exponent for shape in ((5, 45), (45, 18)))
            x[2, 30] *= odd_one
            x[rng.random(x.shape) < 0.1] = 0
            c = rng.choice([0, 1, 2.0**-90, 2.0**-100, 2.0**90], (5, 18)).astype("f4")
            if rng.random() < 0.7:
                c[...] = 0
            a, b = fl.encode(x, fmt), fl.encode(y, fmt)
            fast, slow = (
                fl.matmul(a, b, formats=(fmt, fmt), accumulator=way, c=c)
                for way in (accumulator, steps)
            )
            assert_same(fast, slow)


@pytest.mark.parametrize("name", ["a100", "hopper", "b200"])
def test_data_below_float32(target, name):
    """Times great ones: products that float32 holds, of numbers that it does not."""
    accumulator = fl.Accumulator.preset(name, "bfloat16", "bfloat16")
    low = fl.FloatFormat(8, 7, bias=150)
    great = fl.encode(np.full((5, 9), 2.0**100), "bfloat16")
    small = np.tile(np.arange(9, dtype=np.uint16), (5, 1))  # multiples of 2**-156
    wanted = np.full((5, 5), 36 * 2.0**-56, np.float32)
    for a, b, formats in (
        (great, small.T, ("bfloat16", low)),
        (small, great.T, (low, "bfloat16")),
    ):
        assert_array_equal(fl.matmul(a, b, formats=formats, accumulator=accumulator), wanted)


@pytest.mark.parametrize(
    "fmt",
    [
        fl.FloatFormat(6, 9, bias=20),
        fl.FloatFormat(8, 7, bias=200),
        fl.FloatFormat(8, 7, bias=-5),
        fl.FloatFormat(5, 10, infinities=False, nan="all_ones"),
        fl.FloatFormat(7, 11),
        fl.FloatFormat(4, 5),
    ],
    ids=lambda fmt: fmt.name,
)
@pytest.mark.parametrize("name", ["exact", "float32", "fmac"])
def test_layouts_of_floats(target, name, fmt):
    """Floats that are laid out as those of IEEE 754 are, and others."""
    rng = np.random.default_rng(29)
    formats = (fmt, fmt)
    accumulator = fl.Accumulator.preset(name, *formats)
    c = np.zeros((3, 18), np.float32)
    cells = [(0, 0), (2, 17), (1, 3)]
    for kind in ("calm", "any", "extreme"):
        codes = [rng.integers(0, fmt.max_code + 1, shape) for shape in ((3, 37), (37, 18))]
        if kind == "calm":
            codes = [np.clip(x, fmt.max_code // 3, fmt.max_code // 2) for x in codes]
        elif kind == "extreme":
            codes = [rng.choice([0, 1, 2, fmt.max_code - 1, fmt.max_code], x.shape) for x in codes]
        a, b = ((x | rng.choice([0, fmt.sign_bit], x.shape)).astype(fmt.code_dtype) for x in codes)
        result = fl.matmul(a, b, formats=formats, accumulator=name, c=c)
        assert_is_reference_s(result, a, b, formats, accumulator, c, cells)
        dots = fl.dot(a, b.T[:3], formats=formats, accumulator=name)
        assert_same(dots, np.diagonal(result[:3, :3]))


@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("bits", range(18, 25))
def test_greatest_exact_sums(target, bits, sign):
    """A slab of products as large as the loops take them, of one sign."""
    x = np.full(256, 2 - 2.0**-10)
    x[0] = 2.0 ** (1 - bits)  # numbers of so many bits
    a = fl.encode(np.tile(x, (4, 1)), "tf32")
    b = fl.encode(np.tile(sign * x[:, None], (1, 16)), "tf32")
    result = fl.matmul(a, b, formats=("tf32", "tf32"), accumulator="exact", dtype="f8")
    exact = sign * sum(Fraction(value) ** 2 for value in x)
    assert_array_equal(result, np.full((4, 16), float(exact)))


# --- blocks ---------------------------------------------------------------------------------


@pytest.mark.parametrize("other", ["mxfp8_e4m3", "mxfp8_e5m2", "mxint8", "nvfp4"])
@pytest.mark.parametrize(
    "name", ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp4_e2m1", "mxint8", "nvfp4"]
)
def test_blocks(name, other):
    """Groups in float32, and exact sums, of the values that decode gives."""
    rng = np.random.default_rng(25)
    depth = 333
    x = rng.standard_normal((6, depth)) * 2.0 ** rng.integers(-9, 10, (6, depth))
    y = rng.standard_normal((depth, 21)) * 2.0 ** rng.integers(-9, 10, (depth, 21))
    x[rng.random(x.shape) < 0.1] *= 2.0**-12  # subnormal elements
    a, b = fl.encode(x, name, axis=1), fl.encode(y, other, axis=0)
    p, q = (fl.decode(z, dtype="f8") for z in (a, b))
    size = min(a.format.block_size, b.format.block_size)
    cells = [(0, 0), (5, 20), (3, 16), (2, 7)]
    for _ in each_target():
        grouped, exact = fl.matmul(a, b), fl.matmul(a, b, accumulator="exact", dtype="f8")
        for i, j in cells:
            terms = [Fraction(u) * Fraction(v) for u, v in zip(p[i], q[:, j], strict=True)]
            total = np.float32(0)
            for k in range(0, depth, size):
                total += as_float(sum(terms[k : k + size], Fraction(0)), "float32")
            assert_same(grouped[i, j], np.float32(total))
            assert_same(exact[i, j], as_float(sum(terms, Fraction(0)), "float64")[()])


def test_the_scale_of_a_tensor_rounds_once(target):
    """1492058383 * 0xABCDEF is just above the middle of two float32 numbers; float64 has that."""
    whole, rest = divmod(1492058383, 12)
    factors = [whole // 15 + (k < whole % 15) for k in range(15)] + [rest]
    a = fl.BlockArray(
        np.tile(np.uint8([7] * 15 + [1]), (5, 1)),  # 6 and 0.5: 12 halves, and one
        np.full((5, 1), 0x38, np.uint8),
        fl.get_format("nvfp4"),
        1,
        np.float32(0xABCDEF),
    )
    b = fl.BlockArray(
        np.tile(np.uint32(factors), (5, 1)).T, np.full((1, 5), 127, np.uint8), fl.bfp(23), 0
    )
    terms = [
        Fraction(u) * Fraction(v)
        for u, v in zip(fl.decode(a, dtype="f8")[0], fl.decode(b, dtype="f8")[:, 0], strict=True)
    ]
    wanted = as_float(sum(terms), "float32")
    assert wanted != np.float32(float(sum(terms)))
    assert_array_equal(fl.matmul(a, b), np.full((5, 5), wanted))
    assert_array_equal(fl.matmul(b.T, a.T), np.full((5, 5), wanted))


@pytest.mark.parametrize("name", ["ada", "hopper", "b200"])
@pytest.mark.parametrize("fmt", ["mxfp8_e4m3", "mxfp8_e5m2"])
def test_scaled_terms(target, name, fmt):
    """Tensor cores' terms with the scales of blocks in the products: what steps give."""
    rng = np.random.default_rng(26)
    x = rng.standard_normal((6, 90)) * 2.0 ** rng.integers(-30, 30, (6, 90))
    y = rng.standard_normal((90, 21)) * 2.0 ** rng.integers(-30, 30, (90, 21))
    a, b = fl.encode(x, fmt, axis=1), fl.encode(y, fmt, axis=0)
    accumulator = fl.Accumulator.preset(name, fmt, fmt)
    result = fl.matmul(a, b, accumulator=accumulator)
    slow = fl.matmul(a, b, accumulator=dataclasses.replace(accumulator, min_exponent=-4096))
    assert_same(result, slow)  # which has no loops for a least exponent


@pytest.mark.parametrize(
    ("formats", "other"),
    [
        (("e4m3", "e5m2"), {"product": fl.Register(8, 2)}),
        (("e4m3", "e5m2"), {"alignment_bits": 40}),
        ((fl.FloatFormat(5, 13), fl.FloatFormat(5, 13)), {}),
    ],
    ids=["product", "alignment", "fractions"],
)
def test_what_the_loops_of_tensor_cores_leave_to_steps(target, formats, other):
    rng = np.random.default_rng(30)
    accumulator = dataclasses.replace(fl.Accumulator.preset("hopper", "e4m3", "e5m2"), **other)
    slow = dataclasses.replace(accumulator, min_exponent=-4096)  # which has no loops
    x, y = rng.standard_normal((4, 70)), rng.standard_normal((70, 16))
    x[:, ::3] *= 2.0**-20
    a, b = (fl.encode(z, fmt) for z, fmt in zip((x, y), formats, strict=True))
    fast, steps = (fl.matmul(a, b, formats=formats, accumulator=way) for way in (accumulator, slow))
    assert_same(fast, steps)


def test_blocks_of_special_values(target):
    """NaN and infinite scales and elements go where they multiply, and nowhere else."""
    x = np.ones((5, 64), np.float32)
    x[1, 40] = np.nan
    for fmt in ("mxfp8_e4m3", "mxfp8_e5m2", "mxint8", "nvfp4"):
        a, b = fl.encode(x, fmt, axis=1), fl.encode(np.ones((64, 20), np.float32), fmt, axis=0)
        for accumulator in ("float32", "exact"):
            result = fl.matmul(a, b, accumulator=accumulator)
            assert np.isnan(result[1]).all()
            assert_array_equal(result[[0, 2, 3, 4]], np.full((4, 20), 64, np.float32))


def test_random_blocks_are_the_reference_s(target):
    rng = np.random.default_rng(27)
    for sizes in ((4, 4), (8, 4), (6, 4), (16, 16)):
        for terms in (None, 2, 3):
            accumulator = dataclasses.replace(fl.Accumulator.preset("fmac", fl.bfp(4), fl.bfp(4)),
                                              terms=terms)  # fmt: skip
            x, y = rng.standard_normal((3, 50)), rng.standard_normal((18, 50))
            a = fl.encode(x, fl.bfp(11, 8, sizes[0]), axis=1)
            b = fl.encode(y, fl.bfp(7, 8, sizes[1]), axis=1)
            columns = fl.encode(y.T, b.format, axis=0)
            result = fl.matmul(a, columns, accumulator=accumulator)
            for i, j in ((0, 0), (2, 17)):
                rows = [
                    fl.BlockArray(z.codes[n], z.scales[n], z.format, 0) for z, n in ((a, i), (b, j))
                ]
                value = reference.dot(block_terms(*((row, None) for row in rows)), accumulator)
                assert_same(result[i, j], as_float(value, "float32")[()])


# --- memory ---------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["exact", "float32", "fmac", "hopper", "b200"])
@pytest.mark.parametrize(
    "shape", [(300, 300, 300), (2, 1 << 17, 20), (1, 1 << 18, 1), (1000, 5, 1000)]
)
def test_scratch(name, shape):
    """No more than 1 MiB besides the result, or a tenth of the operands."""
    rows, depth, columns = shape
    a, b = np.zeros((rows, depth), np.uint8), np.zeros((depth, columns), np.uint8)
    for formats in (("e4m3", "e4m3"), ("e5m2", "e5m2")):
        for dtype in ("float16", "float32", "float64"):
            fl.matmul(a[:, :1], b[:1], formats=formats, accumulator=name, dtype=dtype)
            tracemalloc.start()
            try:
                result = fl.matmul(a, b, formats=formats, accumulator=name, dtype=dtype)
                peak = tracemalloc.get_traced_memory()[1]
            finally:
                tracemalloc.stop()
            room = max(1 << 20, (a.nbytes + b.nbytes) // 10)
            assert peak - result.nbytes < room
