"""Products with any accumulator: hardware's results, exact arithmetic, shapes and errors."""

import dataclasses
import itertools
import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cases import BLOCK_NAMES, each_target
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib.accumulators import PRESETS

GOLDEN = Path(__file__).parent / "data" / "golden"
FLOAT32 = fl.Register(8, 23)

# Formats of every kind: with and without infinities, NaN, -0; fixed, integer; narrow and wide.
ELEMENTWISE = [
    "float8_e4m3fn",
    "float8_e5m2",
    "float8_e4m3fnuz",
    "float6_e3m2fn",
    "float4_e2m1fn",
    "float8_e8m0fnu",
    "binary8p3se",
    "float16",
    "bfloat16",
    "tf32",
    "int8",
    "uint8",
    "int16_full",
    "fixed_s3_4",
    "fixed_s15_16",
    "fixed_u8_24",
]


# --- comparison -----------------------------------------------------------------------------


def as_float(value, dtype):
    """A value of the reference in float16, 32 or 64: one rounding, canonical NaN."""
    if isinstance(value, Fraction):
        register = {"float16": (5, 10), "float32": (8, 23), "float64": (11, 52)}[dtype]
        value = reference.round_to_register(value, fl.Register(*register))
    return np.array(math.nan if value != value else float(value)).astype(dtype)


def bits(x):
    x = np.asarray(x)
    assert (
        not np.isnan(x).any() or (x[np.isnan(x)].view(f"u{x.itemsize}") == CANONICAL[x.dtype]).all()
    )
    return x.view(f"u{x.itemsize}")


CANONICAL = {
    np.dtype("f2"): 0x7E00,
    np.dtype("f4"): 0x7FC00000,
    np.dtype("f8"): 0x7FF8000000000000,
}


def expected_dots(a, b, formats, accumulator, c, dtype="float32"):
    fa, fb = map(fl.get_format, formats)
    flush = accumulator.subnormals == "flush"
    rows = zip(a.tolist(), b.tolist(), c.tolist(), strict=True)
    values = [
        reference.dot(reference.terms(x, fa, y, fb, flush=flush), accumulator, start)
        for x, y, start in rows
    ]
    return np.array([as_float(value, dtype) for value in values], dtype)


def assert_same(actual, expected):
    assert actual.dtype == expected.dtype
    assert_array_equal(bits(actual), bits(expected))


# --- what hardware computed -----------------------------------------------------------------

SETS = [
    ("V100", "v100", "fp16", "float16"),
    ("L40S", "ada", "fp16", "float16"),
    ("L40S", "ada", "bf16", "bfloat16"),
    ("L40S", "ada", "tf32", "tf32"),
    ("L40S", "ada", "E4M3", "float8_e4m3fn"),
    ("L40S", "ada", "E5M2", "float8_e5m2"),
]


def floats(patterns):
    if patterns.dtype == np.uint16:
        patterns = patterns.astype(np.uint32) << 16
    return patterns.view(np.float32)


@pytest.mark.parametrize(("gpu", "preset", "key", "name"), SETS)
@pytest.mark.parametrize("output", ["float32", "float16"])
def test_tensor_cores(target, gpu, preset, key, name, output):
    with np.load(GOLDEN / f"tensorcore_{gpu}.npz") as data:
        if f"{key}__d_fp{output[-2:]}" not in data:
            assert (output, key) != ("float32", key)
            return
        a, b, c, d = (floats(data[f"{key}__{n}"]) for n in ("a", "b", "c", f"d_fp{output[-2:]}"))
    formats = (name, name)
    x, y = fl.encode(a, name), fl.encode(b, name)
    assert_array_equal(fl.decode(x, name), a)
    result = fl.dot(x, y, formats=formats, accumulator=preset, c=c, dtype=output)
    assert result.dtype == output
    assert_array_equal(result.astype(np.float32).view(np.uint32), d.view(np.uint32))


# --- any accumulator against exact arithmetic -----------------------------------------------

ROUNDINGS = ["nearest_even", "nearest_away", "toward_zero", "up", "down", "to_odd"]


@st.composite
def registers(draw):
    rounding = draw(st.sampled_from(ROUNDINGS))
    if draw(st.integers(0, 4)) == 0:
        return fl.Register(
            0,
            draw(st.integers(1, 62)),
            draw(st.integers(-30, 5)),
            rounding,
            draw(st.sampled_from(["saturate", "wrap"])),
        )
    return fl.Register(
        draw(st.sampled_from([2, 4, 5, 8, 11])),
        draw(st.integers(0, 30)),
        rounding=rounding,
        overflow=draw(st.sampled_from(["nonsaturating", "infinity", "saturate"])),
        underflow=draw(st.sampled_from(["gradual", "flush"])),
    )


@st.composite
def accumulators(draw, depth, scaled=False):
    some = st.one_of(st.none(), registers())
    total = draw(some)
    aligned = draw(st.booleans())
    late = draw(st.booleans()) or (aligned and total is None)
    terms = draw(st.one_of(st.none(), st.integers(1, 5)))
    order, promotion, promotion_terms = "sequential", None, None
    if total is not None:
        kind = draw(st.sampled_from(["plain", "plain", "pairwise", "parts", "promoted"]))
        if kind == "pairwise":
            order = "pairwise"
        elif kind == "parts" and depth:
            first = draw(st.integers(1, depth))
            order = tuple(n for n in (first, depth - first) if n)
        if kind in ("parts", "promoted") and (kind == "promoted" or draw(st.booleans())):
            promotion = draw(registers())
            promotion_terms = (terms or 1) * draw(st.integers(1, 3))
    where = ["products", *["groups"] * late, *["promotion"] * (promotion is not None)]
    return fl.Accumulator(
        terms=terms,
        order=order,
        subnormals=draw(st.sampled_from(["exact", "flush"])),
        product=draw(some),
        alignment_bits=draw(st.integers(0, 64)) if aligned else None,
        alignment_rounding=draw(
            st.sampled_from(["toward_zero", "nearest_even", "to_odd"])
            if aligned
            else st.just("toward_zero")
        ),
        min_exponent=draw(st.one_of(st.none(), st.integers(-20, 20))) if aligned else None,
        start="late" if late else "early",
        partial=draw(some) if late else None,
        total=total,
        promotion=promotion,
        promotion_terms=promotion_terms,
        scales=draw(st.sampled_from(where)) if scaled else "products",
        zero=draw(st.sampled_from(["positive", "signed"])),
    )


def codes_of(rng, name, shape, calm):
    """Codes of a format; `calm`: of neighbouring exponents, so that sums round and cancel."""
    fmt = fl.get_format(name)
    if isinstance(fmt, fl.FloatFormat):
        codes = rng.integers(0, 2**fmt.bits, shape)
        if calm:
            values = rng.standard_normal(shape) * 2.0 ** rng.integers(-3, 4, shape)
            codes = fl.encode(abs(values) if not fmt.signed else values, fmt)
        return codes.astype(fmt.code_dtype)
    low, high = (-9, 10) if calm else (fmt.min_integer, fmt.max_integer + 1)
    return rng.integers(max(low, fmt.min_integer), high, shape).astype(fmt.code_dtype)


@settings(max_examples=300)
@given(st.data())
def test_any_accumulator(data):
    formats = [data.draw(st.sampled_from(ELEMENTWISE)) for _ in "ab"]
    depth = data.draw(st.integers(0, 11))
    accumulator = data.draw(accumulators(depth))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    calm = data.draw(st.booleans())
    a, b = (codes_of(rng, name, (3, depth), calm) for name in formats)
    c = rng.standard_normal(3).astype("f4") * np.float32(2.0) ** rng.integers(-9, 9, 3).astype("f4")
    if not calm:
        c[:] = rng.integers(0, 2**32, 3, np.uint32).view(np.float32)
    if data.draw(st.booleans()):
        c = np.float32([0.0, -0.0, 1.0])
    dtype = data.draw(st.sampled_from(["float32", "float64"]))
    actual = fl.dot(a, b, formats=formats, accumulator=accumulator, c=c, dtype=dtype)
    assert_same(actual, expected_dots(a, b, formats, accumulator, c, dtype))


@pytest.mark.parametrize("name", PRESETS)
def test_presets(name):
    rng = np.random.default_rng(7)
    floats = ELEMENTWISE[:10]
    pairs = [*zip(floats, floats, strict=True), *itertools.pairwise(floats), ("e5m2", "e4m3")]
    for formats, calm in itertools.product(pairs, [True, False]):
        try:
            accumulator = fl.Accumulator.preset(name, *formats)
        except ValueError:
            continue
        a, b = (codes_of(rng, fmt, (2, 37), calm) for fmt in formats)
        c = rng.standard_normal(2).astype("f4")
        for dtype in ("float32", "float16"):
            start = c.astype(dtype)
            actual = fl.dot(a, b, formats=formats, accumulator=name, c=c, dtype=dtype)
            assert_same(actual, expected_dots(a, b, formats, accumulator, start, dtype))


@settings(max_examples=150)
@given(st.data())
def test_tiles_give_what_steps_give(data):
    """Wide products run in vector loops, dot products of single rows step by step."""
    name = data.draw(st.sampled_from(["exact", "float32", "aligned", "late", "promoted"]))
    formats = [data.draw(st.sampled_from(ELEMENTWISE)) for _ in "ab"]
    rows, columns = data.draw(st.integers(1, 9)), data.draw(st.integers(3, 35))
    depth = data.draw(st.integers(0, 90))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    calm = data.draw(st.booleans())
    accumulator = name
    if name in ("aligned", "promoted"):
        kept = data.draw(st.integers(0, 23))
        accumulator = fl.Accumulator(
            terms=data.draw(st.integers(1, 33)),
            alignment_bits=data.draw(st.integers(0, 28)),
            total=fl.Register(8, kept, rounding="toward_zero", overflow="infinity"),
        )
        if name == "promoted":
            accumulator = dataclasses.replace(
                accumulator, promotion_terms=2 * accumulator.terms, promotion=FLOAT32
            )
    elif name == "late":
        accumulator = fl.Accumulator(
            terms=data.draw(st.integers(1, 33)),
            alignment_bits=data.draw(st.integers(0, 28)),
            start="late",
            total=FLOAT32,
        )
    a = codes_of(rng, formats[0], (rows, depth), calm)
    b = codes_of(rng, formats[1], (columns, depth), calm)
    a[rng.random(a.shape) < 0.1] = 0
    c = rng.standard_normal((rows, columns)).astype("f4")
    if data.draw(st.booleans()):
        c *= np.float32(2.0) ** rng.integers(-149, 120, c.shape).astype("f4")
    if data.draw(st.integers(0, 3)) == 0:
        c[0, :2] = rng.integers(0, 2**32, 2, np.uint32).view(np.float32)
    keywords = {"formats": formats, "accumulator": accumulator}
    keywords["dtype"] = data.draw(st.sampled_from(["float16", "float32", "float64"]))
    expected = np.stack(
        [fl.dot(np.broadcast_to(row, b.shape), b, c=start, **keywords)
         for row, start in zip(a, c, strict=True)]
    )  # fmt: skip
    for _ in each_target():
        assert_same(fl.matmul(a, b.T, c=c, **keywords), expected)


def test_totals_that_leave_the_range_of_float32(target):
    """Tensor cores' totals beyond 2**128, and below the normal numbers: done again step by step."""
    rng = np.random.default_rng(16)
    for spread in (126, -70):
        a = rng.standard_normal((3, 24)) * 2.0 ** rng.integers(-2, 3, (3, 24))
        x = fl.encode(a * 2.0 ** (spread // 2), "bfloat16")
        y = fl.encode(rng.standard_normal((18, 24)) * 2.0 ** (spread - spread // 2), "bfloat16")
        if spread < 0:
            y = fl.encode(fl.decode(y, "bfloat16", dtype="f8") * 2.0**-62, "bfloat16")
        for preset in ("a100", "hopper"):
            accumulator = fl.Accumulator.preset(preset, "bfloat16", "bfloat16")
            result = fl.matmul(x, y.T, formats=("bfloat16",) * 2, accumulator=preset)
            expected = np.stack(
                [
                    expected_dots(
                        np.tile(row, (18, 1)), y, ("bfloat16",) * 2, accumulator, np.zeros(18)
                    )
                    for row in x
                ]
            )
            assert_same(result, expected)
            extreme = np.isinf(result) if spread > 0 else abs(result) < 2.0**-126
            assert extreme.any()


@pytest.mark.parametrize(
    ("name", "family", "facts"),
    [
        ("v100", "float16", (4, 23, 23)),
        ("a100", "float16", (8, 24, 23)),
        ("a100", "bfloat16", (8, 24, 23)),
        ("a100", "tf32", (4, 24, 23)),
        ("ada", "float16", (8, 24, 23)),
        ("ada", "bfloat16", (8, 24, 23)),
        ("ada", "tf32", (4, 24, 23)),
        ("ada", "float8", (16, 13, 13)),
        ("hopper", "float16", (16, 25, 23)),
        ("hopper", "bfloat16", (16, 25, 23)),
        ("hopper", "tf32", (4, 25, 23)),
        ("hopper", "float8", (32, 13, 13)),
        ("b200", "float16", (16, 25, 23)),
        ("b200", "bfloat16", (16, 25, 23)),
        ("b200", "tf32", (4, 25, 23)),
        ("b200", "float8", (32, 25, 23)),
    ],
)
def test_facts_of_tensor_cores(name, family, facts):
    accumulator = PRESETS[name][family]
    total = accumulator.total
    assert (accumulator.terms, accumulator.alignment_bits, total.mantissa_bits) == facts
    late = (name, family) == ("b200", "float8")
    assert accumulator.start == ("late" if late else "early")
    assert total.rounding == ("nearest_even" if late else "toward_zero")


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE if fl.get_format(n).bits <= 8])
def test_every_product(target, name):
    """All pairs of codes of 8 bits or fewer: one product is exact in float64."""
    fmt = fl.get_format(name)
    if isinstance(fmt, fl.FloatFormat):
        codes = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    else:
        codes = np.arange(fmt.min_integer, fmt.max_integer + 1).astype(fmt.code_dtype)
    values = fl.decode(codes, fmt, dtype=np.float64)
    with np.errstate(invalid="ignore"):
        expected = np.multiply.outer(values, values)
    for accumulator in ("exact", "float32"):
        dtype = "float64" if accumulator == "exact" else "float32"
        with np.errstate(over="ignore", under="ignore"):
            want = expected.astype(dtype) + 0  # the start is +0
        actual = fl.matmul(
            codes[:, None], codes[None], formats=(fmt, fmt), accumulator=accumulator, dtype=dtype
        )
        want[np.isnan(want)] = np.nan
        assert_same(actual, want)


def test_float32_is_ieee_arithmetic(target):
    rng = np.random.default_rng(8)
    for name in ("bfloat16", "float8_e5m2"):
        a, b = codes_of(rng, name, (7, 40), True), codes_of(rng, name, (40, 9), True)
        c = rng.standard_normal((7, 9)).astype("f4")
        total = c.copy()
        x, y = fl.decode(a, name), fl.decode(b, name)
        for k in range(40):
            total = total + x[:, k, None] * y[None, k]
        assert_same(fl.matmul(a, b, formats=(name, name), c=c), total)


# --- blocks ---------------------------------------------------------------------------------


def block_terms(a, b):
    """Terms of two rows of blocks, (BlockArray or codes, format) each."""
    columns = []
    for x, fmt in (a, b):
        if not isinstance(x, fl.BlockArray):
            pairs = reference._operand(x.tolist(), fl.get_format(fmt), False)
            columns.append([(value, e, Fraction(1), 0, 0) for value, e in pairs])
            continue
        fmt, column = x.format, []
        for k, code in enumerate(x.codes.tolist()):
            scale = reference.decode(int(x.scales[k // fmt.block_size]), fmt.scale)
            m = fmt.mantissa_bits
            value = (code & (2**m - 1)) * reference.power_of_two(1 - m)
            value = -value if code >> m and value else -0.0 if code >> m else value
            exponent = reference.leading_exponent(scale, fmt.scale.min_exponent)
            column.append((value, 0, scale, exponent, k // fmt.block_size))
        columns.append(column)
    return [
        reference.Term(x, y, ex + ey, reference.multiply(sx, sy), gx + gy, (nx, ny))
        for (x, ex, sx, gx, nx), (y, ey, sy, gy, ny) in zip(*columns, strict=True)
    ]


@settings(max_examples=200)
@given(st.data())
def test_any_blocks(data):
    depth = data.draw(st.integers(1, 20))
    accumulator = data.draw(accumulators(depth, scaled=True))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    operands = []
    for _ in "ab":
        m, e, size = (data.draw(st.integers(*r)) for r in ((1, 12), (3, 8), (1, 9)))
        x = rng.standard_normal(depth) * 2.0 ** rng.integers(-9, 10, depth)
        if data.draw(st.integers(0, 9)) == 0:
            x[rng.integers(0, depth)] = np.nan
        operands.append((fl.encode(x, fl.bfp(m, e, size)), None))
    if data.draw(st.integers(0, 3)) == 0:
        operands[1] = (codes_of(rng, "e4m3", depth, True), "e4m3")
    c = np.float32(rng.standard_normal())
    (a, fa), (b, fb) = operands
    accumulator = dataclasses.replace(accumulator, subnormals="exact")
    actual = fl.dot(a, b, formats=(fa, fb), accumulator=accumulator, c=c)
    expected = reference.dot(block_terms(*operands), accumulator, float(c))
    assert_same(np.asarray(actual), as_float(expected, "float32"))


def test_the_record_of_the_fmac_is_its_kernel():
    """The generic kernel and the fMAC's own give the same bits."""
    rng = np.random.default_rng(9)
    a = rng.standard_normal((5, 50)).astype("f4") * 2.0 ** rng.integers(-9, 9, (5, 50))
    x, y = fl.encode(a, fl.bfp(4), axis=1), fl.encode(a[::-1].T, fl.bfp(7, 6), axis=0)
    generic = fl.matmul(x, y, dtype=np.float64)  # the fMAC's kernel has float32 only
    assert_array_equal(fl.matmul(x, y), generic)
    assert_same(
        fl.matmul(x, y, accumulator=fl.Accumulator.preset("fmac", x.format, y.format)),
        fl.matmul(x, y),
    )


def exact_values(b):
    """The values of a matrix in blocks; float64 holds them for each format of the table."""
    return [[Fraction(x) for x in row] for row in fl.decode(b, dtype=np.float64).tolist()]


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_every_block_format(name):
    """Exact sums, and sums of groups in float32, from the values that decode gives."""
    fmt = fl.get_format(name)
    rng = np.random.default_rng(17)
    depth, tile = 70, isinstance(fmt.block_size, tuple)
    other = fl.bfp(5, 8, 16)
    x = (rng.standard_normal((50, depth)) * 2.0 ** rng.integers(-3, 4, depth)).astype("f4")
    y = rng.standard_normal((4, depth)).astype("f4")
    a = fl.encode(x, fmt, axis=(0, 1) if tile else 1)
    size = fmt.block_size[1] if tile else fmt.block_size
    b = fl.encode(y.T, other, axis=0)
    rows = np.array([0, 23, 24, 49])
    p, q = exact_values(a), exact_values(fl.encode(y, other, axis=1))
    exact, grouped = np.zeros((4, 4)), np.zeros((4, 4), np.float32)
    ends = sorted({*range(0, depth, size), *range(0, depth, 16), depth})
    for i, j in np.ndindex(4, 4):
        terms = [u * v for u, v in zip(p[rows[i]], q[j], strict=True)]
        exact[i, j] = as_float(sum(terms), "float64")
        for start, stop in itertools.pairwise(ends):
            grouped[i, j] += as_float(sum(terms[start:stop], Fraction(0)), "float32")
    assert_array_equal(fl.matmul(a, b, accumulator="exact", dtype="f8")[rows], exact)
    assert_array_equal(fl.matmul(a, b)[rows], grouped)
    transposed = fl.encode(x.T, fmt, axis=(1, 0) if tile else 0)
    assert_array_equal(fl.matmul(fl.encode(y, other, axis=1), transposed).T[rows], grouped)


def test_scales_at_the_end():
    rng = np.random.default_rng(10)
    fmt = fl.bfp(8, block_size=64)
    a, b = (fl.encode(rng.standard_normal(40), fmt) for _ in "ab")
    for total in (None, fl.Register(8, 13, rounding="toward_zero")):
        accumulator = fl.Accumulator(terms=8, total=total, scales="end")
        expected = reference.dot(block_terms((a, None), (b, None)), accumulator, 0.25)
        actual = fl.dot(a, b, accumulator=accumulator, c=np.float32(0.25))
        assert_same(np.asarray(actual), as_float(expected, "float32"))
    few = fl.encode(rng.standard_normal(40), fl.bfp(8))
    with pytest.raises(ValueError, match="one block along the depth 40, got blocks of 16"):
        fl.dot(few, few, accumulator=fl.Accumulator(scales="end"))


def test_blocks_of_other_sizes_and_codes():
    """Integers of few bits: exact whatever the groups."""
    rng = np.random.default_rng(11)
    a, b = rng.integers(-7, 8, (3, 50)).astype("f4"), rng.integers(-7, 8, (50, 4)).astype("f4")
    x = fl.encode(a, fl.bfp(4, 8, 7), axis=1)
    y = fl.encode(b, fl.bfp(11, 8, 16), axis=0)
    exact = fl.quantize(a, x.format, axis=1) @ fl.quantize(b, y.format, axis=0)
    codes = fl.encode(b, "bfloat16")
    for accumulator in ("exact", "float32", "fmac"):
        assert_array_equal(fl.matmul(x, y, accumulator=accumulator), exact)
        mixed = fl.matmul(x, codes, formats=(None, "bfloat16"), accumulator=accumulator)
        assert_array_equal(mixed, fl.quantize(a, x.format, axis=1) @ b)


# --- one rounding ---------------------------------------------------------------------------


def test_result_formats_round_once():
    """1 + 2**-8 + 2**-40 goes up in bfloat16; through float32 it would be a tie and go down."""
    a, b = (np.array([0x3F80, x, y], np.uint16) for x, y in ((0x3B80, 0x3580), (0x3F80, 0x3580)))
    keywords = {"formats": ("bfloat16", "bfloat16")}
    exact = fl.dot(a, b, **keywords, accumulator="exact", dtype=np.float64)
    assert exact == 1 + 2.0**-8 + 2.0**-40
    assert fl.quantize(np.float32(exact), "bfloat16") == 1
    rounded = fl.dot(a, b, **keywords, accumulator=fl.Accumulator(result="bfloat16"))
    assert rounded == np.float32(1 + 2.0**-7)


@given(st.integers(0, 2**32 - 1))
def test_result_is_the_rounded_exact_sum(seed):
    rng = np.random.default_rng(seed)
    formats = ("e5m2", "e5m2")
    a, b = (codes_of(rng, name, (4, 9), bool(seed % 2)) for name in formats)
    for name, rounding, overflow in (
        ("e4m3", "nearest_even", "nonsaturating"),
        ("float16", "up", "saturate"),
        ("float8_e5m2", "toward_zero", "nonsaturating"),
    ):
        accumulator = fl.Accumulator(
            result=name, result_rounding=rounding, result_overflow=overflow
        )
        actual = fl.dot(a, b, formats=formats, accumulator=accumulator)
        fmt = fl.get_format(name)
        for i in range(4):
            terms = reference.terms(
                a[i].tolist(), fl.get_format("e5m2"), b[i].tolist(), fl.get_format("e5m2")
            )
            value = reference.dot(terms, accumulator)
            expected = reference.quantize(value, fmt, rounding, overflow)
            assert_array_equal(actual[i], np.float32(float(expected)))


def test_dtypes_round_once():
    """A tie of float16, and what is beyond its middle only in the last bits of the exact sum."""
    one, tie, more = 0x3F80, 0x3A00, 0x2B80  # 1, 2**-11, 2**-40
    a = np.array([[one, tie, 0], [one, tie, more]], np.uint16)
    b = np.full_like(a, one)
    for dtype, gaps in (("float16", [0, 2.0**-10]), ("float64", [2.0**-11, 2.0**-11 + 2.0**-40])):
        result = fl.dot(a, b, formats=("bfloat16",) * 2, accumulator="exact", dtype=dtype)
        assert_array_equal(result.astype(float) - 1, gaps)


# --- special values -------------------------------------------------------------------------


@pytest.mark.parametrize("name", [n for n in PRESETS if n not in ("v100", "a100")])
def test_special_values(name):
    inf, nan, one, zero, minus = 0x7C, 0x7E, 0x3C, 0x00, 0x80
    formats = ("e5m2", "e5m2")

    def dot(*pairs, c=None):
        a, b = (np.array(x, np.uint8) for x in zip(*pairs, strict=True))
        return fl.dot(a, b, formats=formats, accumulator=name, c=c)

    assert dot((inf, one), (one, one)) == math.inf
    assert dot((inf, one | minus), (one, one)) == -math.inf
    for pairs in ([(inf, zero)], [(nan, one)], [(inf, one), (inf, one | minus)], [(nan, inf)]):
        assert bits(np.asarray(dot(*pairs))) == 0x7FC00000
    assert dot((one, one), c=np.float32(np.inf)) == math.inf
    assert np.isnan(dot((one, one), c=np.float32(np.nan)))
    cancelled = dot((one, one), (one, one | minus))
    assert cancelled == 0
    assert not np.signbit(cancelled)
    assert np.signbit(dot((one, minus), c=np.float32(-0.0))) == (name == "float32")


def test_saturating_and_wrapping_integers():
    a = np.full(1000, 127, np.int8)
    sums = {}
    for overflow in ("saturate", "wrap"):
        register = fl.Register(0, 15, overflow=overflow)
        sums[overflow] = fl.dot(
            a, a, formats=("int8", "int8"), accumulator=fl.Accumulator(terms=4, total=register)
        )
    assert sums["saturate"] == 32767
    assert sums["wrap"] == (127 * 127 * 1000 + 32768) % 65536 - 32768


# --- shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("a", "b"),
    [
        ((3, 5), (5, 2)),
        ((5,), (5, 2)),
        ((3, 5), (5,)),
        ((5,), (5,)),
        ((1, 1), (1, 1)),
        ((70, 3), (3, 90)),
        ((1, 300), (300, 1)),
        ((2, 3, 5), (5, 2)),
        ((2, 1, 3, 5), (4, 5, 2)),
        ((5,), (4, 5, 2)),
        ((2, 3, 5), (5,)),
        ((0, 5), (5, 2)),
        ((3, 0), (0, 2)),
        ((3, 5), (5, 0)),
        ((0, 3, 5), (5, 2)),
        ((0, 0), (0, 0)),
    ],
)
@pytest.mark.parametrize("accumulator", ["exact", "float32", "ada", "fmac"])
def test_shapes_are_numpy_s(target, a, b, accumulator):
    rng = np.random.default_rng(12)
    x, y = (rng.integers(-4, 5, shape).astype("f4") for shape in (a, b))
    expected = np.matmul(x, y)  # small integers: exact in any order
    result = fl.matmul(
        fl.encode(x, "e4m3"),
        fl.encode(y, "e4m3"),
        formats=("e4m3", "e4m3"),
        accumulator=accumulator,
    )
    assert np.shape(result) == expected.shape
    assert_array_equal(result, expected)


@pytest.mark.parametrize("accumulator", ["exact", "float32", "hopper"])
def test_layouts(target, accumulator):
    rng = np.random.default_rng(13)
    a, b = codes_of(rng, "float16", (12, 40), True), codes_of(rng, "float16", (40, 10), True)
    keywords = {"formats": ("float16", "float16"), "accumulator": accumulator}
    expected = fl.matmul(a[::2, ::-2], b[::-2, ::3], **keywords)
    a_copy, b_copy = a[::2, ::-2].copy(), b[::-2, ::3].copy()
    a_copy.flags.writeable = False
    swapped = b_copy.astype(b_copy.dtype.newbyteorder())
    packed = np.zeros(
        a_copy.shape, np.dtype({"names": ["x"], "formats": ["u2"], "offsets": [1], "itemsize": 3})
    )
    packed["x"] = a_copy
    for x, y in (
        (a_copy, b_copy),
        (np.asfortranarray(a_copy), np.asfortranarray(b_copy)),
        (a_copy, swapped),
        (packed["x"], b_copy),
    ):
        assert_same(fl.matmul(x, y, **keywords), expected)
    rows = np.stack(
        [
            fl.dot(row, b_copy.T, **keywords)
            for row in (np.broadcast_to(r, b_copy.T.shape) for r in a_copy)
        ]
    )
    assert_same(rows, expected)


def test_workers_change_nothing():
    rng = np.random.default_rng(14)
    a, b = codes_of(rng, "e4m3", (130, 200), True), codes_of(rng, "e4m3", (200, 190), True)
    for accumulator in ("exact", "float32", "hopper"):
        keywords = {"formats": ("e4m3", "e4m3"), "accumulator": accumulator}
        assert_same(fl.matmul(a, b, **keywords), fl.matmul(a, b, **keywords, workers=5))


def test_start_broadcasts():
    rng = np.random.default_rng(15)
    a, b = codes_of(rng, "e4m3", (3, 8), True), codes_of(rng, "e4m3", (8, 4), True)
    keywords = {"formats": ("e4m3", "e4m3"), "accumulator": "exact"}
    bias = np.float32([1, 2, 3, 4])
    assert_same(
        fl.matmul(a, b, **keywords, c=bias),
        fl.matmul(a, b, **keywords, c=np.tile(bias, (3, 1))),
    )
    half = fl.matmul(a, b, **keywords, c=bias.astype("f2"), dtype="f2")
    assert half.dtype == np.float16


# --- errors ---------------------------------------------------------------------------------


def test_bad_arguments():
    a, e4m3 = np.zeros((2, 4), np.uint8), ("e4m3", "e4m3")
    block = fl.encode(np.ones((2, 16), np.float32), fl.bfp(4))
    six = ("e3m2", "e3m2")
    for call, error, message in (
        (lambda: fl.dot(a, a), TypeError, "BlockArray, or codes with formats"),
        (lambda: fl.dot(a, a, formats="e4m3"), TypeError, "pair"),
        (lambda: fl.dot(a, a, formats=("e4m3",)), TypeError, "pair"),
        (lambda: fl.dot(a, a, formats=("e4m3", None)), TypeError, "b must be"),
        (lambda: fl.dot(a, a, formats=("e4m3", "e9m9")), ValueError, "unknown format"),
        (lambda: fl.dot(a, a, formats=("e4m3", fl.bfp(4))), TypeError, "BlockArray"),
        (lambda: fl.dot(block, block, formats=("e4m3", None)), ValueError, "a is in bfp_m4_e8_g16"),
        (lambda: fl.dot(a.astype("i1"), a, formats=e4m3), TypeError, "uint8"),
        (lambda: fl.dot(a + 64, a, formats=six), ValueError, "from 0 to 63, got 64"),
        (lambda: fl.dot(a, a, formats=e4m3, accumulator="v100"), ValueError, "float16"),
        (lambda: fl.dot(a, a, formats=e4m3, accumulator="h100"), ValueError, "hopper"),
        (lambda: fl.dot(a, a, formats=e4m3, accumulator=32), ValueError, "hopper"),
        (lambda: fl.dot(a, a[:1], formats=e4m3), ValueError, "one shape"),
        (lambda: fl.dot(a[0, 0], a[0, 0], formats=e4m3), ValueError, "one dimension"),
        (lambda: fl.matmul(a[0, 0], a, formats=e4m3), ValueError, "one dimension"),
        (lambda: fl.matmul(a, a, formats=e4m3), ValueError, "4 columns against 2 rows"),
        (lambda: fl.matmul(np.ma.zeros((2, 2), "u1"), a, formats=e4m3), TypeError, "masked"),
        (lambda: fl.dot(a, a, formats=e4m3, dtype="i4"), TypeError, "float16, float32, float64"),
        (lambda: fl.dot(a, a, formats=e4m3, c=np.zeros(2)), TypeError, "float32, got float64"),
        (lambda: fl.dot(a, a, formats=e4m3, c=np.zeros(3, "f4")), ValueError, "result's shape"),
        (
            lambda: fl.dot(a, a, formats=e4m3, accumulator=fl.Accumulator(
                order=(2, 3), total=FLOAT32)),
            ValueError,
            "add up to the depth 4, got 5",
        ),
        (
            lambda: fl.dot(a, a, formats=e4m3, accumulator=fl.Accumulator(result="bfloat16"),
                           dtype="f2"),
            TypeError,
            "bfloat16 is the smallest",
        ),
    ):  # fmt: skip
        with pytest.raises(error, match=message):
            call()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"terms": 0}, "at least|from 1"),
        ({"order": "reverse"}, "order must be one of"),
        ({"order": ()}, "at least one length"),
        ({"order": (4, 0), "total": FLOAT32}, "length"),
        ({"order": "pairwise"}, "needs a total"),
        ({"order": (4, 4)}, "needs a total"),
        ({"min_exponent": -126}, "needs alignment_bits"),
        ({"alignment_rounding": "to_odd"}, "needs alignment_bits"),
        ({"alignment_bits": 65, "total": FLOAT32}, "from 0 to 64"),
        ({"alignment_bits": 24}, "needs a total"),
        ({"partial": FLOAT32}, "needs start='late'"),
        ({"promotion": FLOAT32, "total": FLOAT32}, "need each other"),
        ({"promotion_terms": 128, "total": FLOAT32}, "need each other"),
        ({"promotion": FLOAT32, "promotion_terms": 128}, "never promoted"),
        (
            {"promotion": FLOAT32, "promotion_terms": 100, "total": FLOAT32, "terms": 32},
            "multiple of terms",
        ),
        (
            {"promotion": FLOAT32, "promotion_terms": 4, "total": FLOAT32, "order": "pairwise"},
            "no promotion",
        ),
        ({"scales": "groups"}, "needs start='late'"),
        ({"scales": "promotion"}, "needs promotion"),
        ({"result_rounding": "up"}, "need a result format"),
        ({"result": "float16", "result_rounding": "stochastic"}, "result_rounding must be"),
        ({"zero": "negative"}, "zero must be"),
        ({"start": None}, "start must be"),
    ],
)
def test_accumulators_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        fl.Accumulator(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ((1, 3), "got 1"),
        ((12, 3), "from 0 to 11"),
        ((8, 53), "from 0 to 52"),
        ((0, 63), "from 1 to 62"),
        ((8, 23, 0), "fixed point"),
        ((8, 23, None, "stochastic"), "rounding must be"),
        ((8, 23, None, "up", "wrap"), "fixed point"),
        ((0, 31, 0, "up", "infinity"), "saturate or wrap"),
        ((0, 31, 0, "up", "wrap", "flush"), "no subnormal"),
    ],
)
def test_registers_that_cannot_be(fields, message):
    with pytest.raises(ValueError, match=message):
        fl.Register(*fields)


def test_records_want_registers():
    with pytest.raises(TypeError, match="total must be a Register"):
        fl.Accumulator(total="float32")
    with pytest.raises(TypeError, match="float format"):
        fl.Accumulator(result="int8")
    with pytest.raises(TypeError, match="integer"):
        fl.Accumulator(terms=2.0)
