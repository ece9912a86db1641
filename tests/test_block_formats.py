"""What is particular to block formats: golden blocks, scale rules, NVFP4, records and names."""

import pickle
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from cases import BLOCK_NAMES, each_target
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import BlockFormat, FixedFormat, reference
from fmtlib.formats import FORMATS, FloatFormat

GOLDEN = Path(__file__).parent / "data" / "golden"
MX = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e3m2", "mxfp6_e2m3", "mxfp4_e2m1", "mxint8"]
RULES = ["floor", "ceil", "even", "rceil"]
E8M0 = FORMATS["float8_e8m0fnu"]
E4M3 = FORMATS["float8_e4m3fn"]
E2M1 = FORMATS["float4_e2m1fn"]


# --- golden blocks --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def golden():
    with np.load(GOLDEN / "mx_inputs.npz") as inputs, np.load(GOLDEN / "mx_floor.npz") as codes:
        return {**inputs, **codes}


@pytest.mark.parametrize(("rounding", "key"), [("nearest_even", "rne"), ("nearest_away", "rna")])
@pytest.mark.parametrize("name", MX)
def test_golden_blocks(target, golden, name, rounding, key):
    x = golden["x_bits"].view(np.float32)
    scales = golden[f"{name}__floor_{key}__scale"][:, None]
    elements = golden[f"{name}__floor_{key}__elem"]
    for same in (x, x.astype(np.float64), np.asfortranarray(x)):
        b = fl.encode(same, name, rounding=rounding)
        assert_array_equal(b.scales, scales)
        assert_array_equal(b.codes, elements)
        assert_array_equal(fl.quantize(same, name, rounding=rounding), fl.decode(b))
    columns = fl.encode(x.T, name, axis=0, rounding=rounding)
    assert_array_equal(columns.scales, scales.T)
    assert_array_equal(columns.codes, elements.T)


@pytest.mark.parametrize("name", MX)
def test_golden_blocks_of_nan(target, golden, name):
    x = golden["special_x_bits"].view(np.float32)
    finite = np.isfinite(x).all(1)
    b = fl.encode(x, name)
    assert_array_equal(b.scales[~finite], 0xFF)
    assert not b.codes[~finite].any()
    assert_array_equal(np.isnan(fl.decode(b)), np.broadcast_to(~finite[:, None], x.shape))


# --- scale rules ----------------------------------------------------------------------------


def decisive_maxima(fmt, dtype):
    """Maxima of blocks next to where a rule changes its mind, over the whole range of a type."""
    element = fmt.element
    precision = fmt.precision
    last = 2.0 - 2.0**-precision  # halfway from the last significand to 2
    points = [1.0, 1.5, element.max / 2.0**fmt.emax, last, 2 - 2.0 ** (1 - precision)]
    binades = [-149, -140, *range(-129, -109), -64, -28, -27, -26, -25, 0, 1, *range(124, 128)]
    x = np.array([np.ldexp(p, k) for p in points for k in binades]).astype(dtype)
    near = [x, np.nextafter(x, np.array(np.inf, dtype)), np.nextafter(x, np.array(0, dtype))]
    if dtype == np.float64:  # ties of the rounding to float32, and beside them
        ties = np.ldexp(element.max / 2.0**fmt.emax * (1 + 2.0**-24), np.array(binades))
        ties = np.concatenate([ties, ties * (1 + 2.0**-24)])
        near += [ties, np.nextafter(ties, np.inf), np.nextafter(ties, 0)]
        near += [np.array([1e-300, 1e300, 2.0**-127 * (1 + 2.0**-24), 5e-324])]
    return np.unique(np.concatenate(near))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rule", [*RULES, "hbfp"])
@pytest.mark.parametrize("name", [*MX, "bfp_m4_e8_g16", "bfp_m3_e4_g8", "bfp_m16_e8_g16"])
def test_scale_rules_at_their_thresholds(name, rule, dtype):
    fmt = replace(fl.get_format(name), scale_rule=rule, block_size=2)
    amax = decisive_maxima(fmt, dtype)
    x = np.stack([amax, -amax / 3], axis=1)
    expected = [reference.encode_block(row, fmt) for row in x.tolist()]
    for _ in each_target():
        b = fl.encode(x, fmt)
        assert_array_equal(b.scales[:, 0], [scale for _, scale in expected])
        assert_array_equal(b.codes, [codes for codes, _ in expected])


@pytest.mark.parametrize("name", MX)
def test_scale_rules_by_other_means(name):
    """The rules in NumPy's float32 arithmetic and frexp, where that is exact."""
    fmt = fl.get_format(name)
    rng = np.random.default_rng(0)
    amax = np.exp2(rng.uniform(-100, 100, 20000)).astype(np.float32)
    amax = np.concatenate([amax, decisive_maxima(fmt, np.float32)])
    amax = amax[(amax > 2.0**-100) & (amax < 2.0**100)]
    fraction, exponent = np.frexp(amax)
    exponent -= 1 + fmt.emax
    kept = fmt.precision
    quotient, up = np.frexp(amax / np.float32(fmt.element.max))
    expected = {
        "floor": exponent,
        "ceil": exponent + (fraction != 0.5),
        "even": exponent + (np.floor(np.ldexp(fraction, kept) + 0.5) == 2**kept),
        "rceil": up - (quotient == 0.5),
    }
    for rule in RULES:
        scales = fl.encode(amax[:, None], replace(fmt, scale_rule=rule)).scales[:, 0]
        assert_array_equal(scales, np.clip(expected[rule], -127, 127) + 127)


def test_scale_rules_worked_by_hand():
    """Maxima of 7.9 and 6 in E2M1, whose greatest power of two is 4 and greatest value 6."""
    x = np.float32([7.9, 1.0])
    scales = {
        rule: int(fl.encode(x, replace(fl.get_format("mxfp4_e2m1"), scale_rule=rule)).scales[0])
        for rule in RULES
    }
    # floor: 2**(2 - 2); ceil: 2**(3 - 2); even: 7.9 rounds to 8; rceil: 7.9 / 6 > 1
    assert scales == {"floor": 127, "ceil": 128, "even": 128, "rceil": 128}
    x = np.float32([6.0, 1.0])
    scales = {
        rule: int(fl.encode(x, replace(fl.get_format("mxfp4_e2m1"), scale_rule=rule)).scales[0])
        for rule in RULES
    }
    # even: 6 is 1.5 * 4 and stays; rceil: 6 / 6 = 1
    assert scales == {"floor": 127, "ceil": 128, "even": 127, "rceil": 127}


def test_hbfp_is_the_published_quantiser():
    """Interval 2**(e - m), clamp at 2**e less one interval; in float64, away from powers of two."""
    rng = np.random.default_rng(1)
    x = rng.standard_normal((50, 48)) * 2.0 ** rng.integers(-6, 6, (50, 1))
    for name, m in (("hbfp8", 7), ("hbfp12", 11), ("hbfp16", 15)):
        for fmt, groups in ((name, x.reshape(50, 2, 24)), (f"{name}_24x24", None)):
            if groups is None:
                values = fl.quantize(x[:48], fmt).reshape(2, 24, 2, 24).swapaxes(1, 2)
                groups = x[:48].reshape(2, 24, 2, 24).swapaxes(1, 2)
                amax = abs(groups).max((2, 3), keepdims=True)
            else:
                values = fl.quantize(x, fmt).reshape(groups.shape)
                amax = abs(groups).max(2, keepdims=True)
            exponent = np.ceil(np.log2(amax + 1e-8))
            interval = 2.0 ** (exponent - m)
            greatest = 2.0**exponent - interval
            expected = np.clip(np.rint(groups / interval) * interval, -greatest, greatest)
            assert_array_equal(values, expected)


# --- NVFP4 ----------------------------------------------------------------------------------


def test_nvfp4_breakpoints(target):
    """With a maximum of 2688 in the tensor and of 6 in a block both scales are 1."""
    x = np.zeros((2, 16), np.float32)
    x[0, 0] = 2688
    ties = [0.25, 0.75, 1.25, 1.75, 2.5, 3.5, 5.0]
    x[1, :8] = [*ties, 6]
    x[1, 8:] = -x[1, :8]
    b = fl.encode(x, "nvfp4")
    assert b.tensor_scale == 1
    assert_array_equal(fl.decode(b.scales[:, 0], "e4m3"), [448, 1])
    even = [0, 2, 2, 4, 4, 6, 6, 7]
    assert_array_equal(b.codes[1], [*even, *(code | 8 for code in even)])
    for toward, direction in ((np.float32(0), 0), (np.float32(9), 1)):
        beside = np.nextafter(x, np.copysign(toward, x))
        beside[:, 7::8], beside[0] = x[:, 7::8], x[0]
        codes = fl.encode(beside, "nvfp4").codes[1, :7]
        assert_array_equal(codes, np.arange(7) + direction)


def test_nvfp4_in_numpy_float32(target):
    """The definition, step by step in NumPy's float32."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 64), dtype=np.float32) * np.float32(2) ** rng.integers(
        -8, 8, (64, 1)
    ).astype(np.float32)
    f = np.float32
    s_enc = f(6) * f(448) / abs(x).max()
    amax = abs(x.reshape(64, 4, 16)).max(2)
    s_b = fl.encode((amax / f(6)) * s_enc, "e4m3")
    factor = f(1) / (fl.decode(s_b, "e4m3") * (f(1) / s_enc))
    codes = fl.encode(x.reshape(64, 4, 16) * factor[:, :, None], "e2m1")
    for array in (x, x.astype(np.float64)):
        b = fl.encode(array, "nvfp4")
        assert b.tensor_scale == f(1) / s_enc
        assert b.tensor_scale.dtype == np.float32
        assert_array_equal(b.scales, s_b)
        assert_array_equal(b.codes, codes.reshape(64, 64))
    exact = fl.decode(codes, "e2m1").astype(float) * fl.decode(s_b, "e4m3")[:, :, None]
    exact = (exact * float(b.tensor_scale)).reshape(64, 64)
    assert_array_equal(fl.decode(b, dtype=np.float64), exact)
    assert_array_equal(fl.decode(b), exact.astype(np.float32))
    assert_array_equal(fl.quantize(x, "nvfp4"), exact.astype(np.float32))


@pytest.mark.parametrize("scale", [1e-45, 1e-40, 1e-37, 1e-30, 1.0, 3e37])
def test_nvfp4_at_the_ends_of_float32(target, scale):
    x = (np.array([[3, -1, 0.5, 1e-3], [-6, 6, 11, 9.9], [0, -0.0, 1e-4, 0]]) * scale).astype("f4")
    b = fl.encode(x, "nvfp4", axis=1)
    s_enc, s_dec = reference.tensor_scales(float(abs(x).max()), b.format)
    assert b.tensor_scale == float(s_dec)
    for row, codes, code in zip(x.tolist(), b.codes.tolist(), b.scales[:, 0].tolist(), strict=True):
        assert reference.encode_block(row, b.format, encode_scale=s_enc) == (codes, code)
    assert np.isfinite(fl.decode(b)).all()


def test_nvfp4_of_nothing_and_of_nan(target):
    zero = fl.encode(np.zeros((2, 20), np.float32), "nvfp4")
    assert zero.tensor_scale == 1
    assert not zero.codes.any()
    assert not zero.scales.any()
    assert fl.encode(np.zeros((0, 3)), "nvfp4").tensor_scale == 1
    x = np.ones((2, 48), np.float32)
    x[0, 3], x[1, 20], x[1, 21] = np.nan, np.inf, 1000
    b = fl.encode(x, "nvfp4")
    assert b.tensor_scale == np.float32(1) / (np.float32(2688) / np.float32(1000))
    nan = np.zeros_like(x, bool)
    nan[0, :16] = nan[1, 16:32] = True
    assert_array_equal(np.isnan(fl.decode(b)), nan)
    assert_array_equal(b.scales, [[0x7F, 0x2E, 0x2E], [0x2E, 0x7F, 0x2E]])
    assert not b.codes[nan].any()
    with pytest.raises(ValueError, match="nonfinite"):
        fl.encode(x, "nvfp4_raise")
    # finite float64 beyond float32 saturates there
    big = fl.encode(np.array([1e300, -1e300, 1.0]), "nvfp4")
    assert_array_equal(big.codes, [7, 15, 0])


def test_one_level_of_float_scales():
    """Without a scale of the tensor the block's scale is amax / 6 in E4M3."""
    fmt = BlockFormat(E2M1, E4M3, 16, scale_rule="amax")
    assert fl.get_format(fmt.name) == fmt
    b = fl.encode(np.float32([12, -6, 1, 0.5]), fmt)
    assert b.tensor_scale is None
    assert_array_equal(fl.decode(b.scales, "e4m3"), [2])
    assert_array_equal(fl.decode(b), [12, -6, 1, 0])


@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), max_size=40))
def test_nvfp4_of_anything(values):
    x = np.array(values, np.float32).reshape(1, -1)
    b = fl.encode(x, "nvfp4")
    s_enc, s_dec = reference.tensor_scales(max(map(abs, values), default=0), b.format)
    assert b.tensor_scale == float(s_dec)
    for start in range(0, x.size, 16):
        row = x[0, start : start + 16].tolist()
        expected = reference.encode_block(row, b.format, encode_scale=s_enc)
        assert (b.codes[0, start : start + 16].tolist(), b.scales[0, start // 16]) == expected


@pytest.mark.parametrize("rule", ["floor", "amax"])
def test_elements_below_the_range_of_float32(target, rule):
    """Normal numbers of the element that are subnormal float32, and zeros beside them."""
    fmt = BlockFormat(
        FloatFormat(3, 2, bias=140, infinities=False, nan="none"),
        E8M0 if rule == "floor" else FloatFormat(4, 3, bias=60, infinities=False, nan="all_ones"),
        4,
        scale_rule=rule,
    )
    x = np.ldexp(np.float32([[0, -0.0, 0, 0], [1, 1.3, -7, 0], [30, -0.1, 3, 5]]), -140)
    x = np.concatenate([x, np.float32(2.0**10) * x, np.float32(2.0**80) * x])
    b = fl.encode(x, fmt)
    for row, codes, scale in zip(x.tolist(), b.codes.tolist(), b.scales[:, 0], strict=True):
        assert reference.encode_block(row, fmt) == (codes, scale)


# --- micro-exponents ------------------------------------------------------------------------


def test_micro_exponents_worked_by_hand(target):
    """smx6: m = 4; the block's exponent is 1, that of the pair (0.5, -0.9) is -1."""
    x = np.float32([3.0, 0.3, 0.5, -0.9, 0, 0, 2.0, 1.0])
    b = fl.encode(x, "smx6")
    # pairs 1 and 2 halve the scale, pairs 0 and 3 hold values of the block's own binade
    assert b.scales[0] == (127 + 1) | 0b0110 << 8
    assert b.scales.dtype == np.uint16
    # quanta: 2**(1 + 1 - 4) = 1/4, and 1/8 under the shift
    assert_array_equal(fl.decode(b), [3.0, 0.25, 0.5, -0.875, 0, 0, 2.0, 1.0])
    assert_array_equal(b.codes, [12, 1, 4, 7 | 16, 0, 0, 8, 4])


def test_nan_reaches_sub_blocks_of_zeros(target):
    """Beside a subnormal number, which takes the general kernels."""
    x = np.zeros((2, 16), np.float32)
    x[0, 5], x[1] = np.nan, 1e-40
    for y in (x, -x, x.T, -x.T):
        axis = 1 if y.shape == x.shape else 0
        quantised = fl.quantize(y, "smx6", axis=axis)
        assert_array_equal(
            np.isnan(quantised), np.broadcast_to(np.isnan(y).any(axis, keepdims=True), y.shape)
        )
        assert_array_equal(quantised, fl.decode(b := fl.encode(y, "smx6", axis=axis)))
        assert not np.moveaxis(b.codes, axis, 1)[0].any()


def test_micro_exponents_stay_in_the_window(target):
    x = np.ldexp(np.float32([1, 1, 1, 0.5]), -127)
    b = fl.encode(x, "smx6")
    assert_array_equal(b.scales, [0])
    assert_array_equal(fl.encode(np.zeros(16), "smx6").scales, [0])
    x[0] = np.nan
    assert_array_equal(fl.encode(x, "smx9").scales, [0xFF])


# --- what all keep --------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_sizes_by_formula(name):
    fmt = fl.get_format(name)
    shape = (50, 70)
    b = fl.encode(np.ones(shape, np.float32), fmt)
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (1, fmt.block_size)
    scales = tuple(-(-n // size) for n, size in zip(shape, sizes, strict=True))
    assert b.scales.shape == scales
    bits = 3500 * fmt.bits + scales[0] * scales[1] * fmt.scale_bits + 32 * fmt.tensor_scale
    assert b.nbytes == -(-bits // 8)
    assert f"format={name}, axis={b.axis}" in repr(b)


@pytest.mark.parametrize("name", [n for n in BLOCK_NAMES if not FORMATS[n].tensor_scale])
def test_blocks_are_independent(name):
    fmt = fl.get_format(name)
    rng = np.random.default_rng(2)
    x = rng.standard_normal((48, 96), dtype=np.float32)
    whole = fl.encode(x, fmt)
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (1, fmt.block_size)
    part = (slice(0, 24 // sizes[0] * sizes[0] or None), slice(-(96 % sizes[1]) - sizes[1], None))
    y = np.float32(1000) * x
    y[part] = x[part]
    assert_array_equal(fl.encode(y, fmt).codes[part], whole.codes[part])
    assert_array_equal(fl.quantize(y, fmt)[part], fl.quantize(x, fmt)[part])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", [n for n in BLOCK_NAMES if FORMATS[n].scale_rule == "floor"])
def test_error_is_bounded(name, rule):
    """Half a quantum of the top binade of a block, or what saturation cuts off."""
    fmt = fl.get_format(name)
    if fmt.micro_size is None:
        fmt = replace(fmt, scale_rule=rule)
    rng = np.random.default_rng(3)
    x = rng.standard_normal((48, 96)) * 2.0 ** rng.integers(-3, 3, (48, 96))
    b = fl.encode(x, fmt)
    scales = b.scales.astype(np.int64) & (2**fmt.scale.bits - 1)
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (1, fmt.block_size)
    for axis, size in enumerate(sizes):
        scales = scales.repeat(size, axis).take(range(x.shape[axis]), axis)
    scale = 2.0 ** (scales - fmt.scale.bias)
    half = 2.0 ** (fmt.emax - fmt.precision)
    inside = np.minimum(abs(x), fmt.element.max * scale) * np.sign(x)
    in_window = abs(x) < 2 * fmt.element.max * scale
    error = abs(fl.decode(b, dtype=float) - inside)
    assert (error[in_window] <= (half * scale)[in_window]).all()
    assert in_window.mean() > 0.5


# --- decoding -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_every_code_decodes_under_every_scale(target, name):
    """Every element code (sampled where there are many) under extreme and middling scales."""
    fmt = fl.get_format(name)
    codes = np.arange(2**fmt.bits, step=max(1, 2 ** (fmt.bits - 8))).astype(fmt.code_dtype)
    top = fmt.scale.magnitude_mask
    scale_codes = sorted({0, 1, top // 2, fmt.scale.max_code, top})
    if fmt.micro_size is not None:
        scale_codes += [top // 2 | 0xA5 << fmt.scale.bits]
    if fmt.scale.signed:
        scale_codes += [fmt.scale.sign_bit, fmt.scale.sign_bit | 0x38]
    make = replace(fmt, block_size=(1, 2) if isinstance(fmt.block_size, tuple) else 16)
    width = 2 if isinstance(fmt.block_size, tuple) else 16
    codes = np.pad(codes, (0, -codes.size % width))
    for scale in scale_codes:
        scales = np.full((1, codes.size // width), scale, fmt.scale_dtype)
        tensor = np.float32(0.3) if fmt.tensor_scale else None
        axis = (0, 1) if isinstance(fmt.block_size, tuple) else 1
        b = fl.blocks.BlockArray(codes[None], scales, make, axis, tensor)
        exact = [
            float(v)
            for start in range(0, codes.size, width)
            for v in reference.decode_block(
                codes[start : start + width].tolist(), scale, make, Fraction(float(tensor or 1))
            )
        ]
        values = fl.decode(b, dtype=np.float64)[0]
        assert_array_equal(values, exact)
        number = ~np.isnan(exact)
        assert_array_equal(np.signbit(values)[number], np.signbit(exact)[number])
        with np.errstate(over="ignore"):
            narrow = np.array(exact).astype(np.float32)
        assert_array_equal(fl.decode(b, dtype=np.float32)[0], narrow)


def test_decode_offers_the_types_that_fit():
    x = np.float32([1.0, -0.3, 0.01, 0.0])
    for name, dtypes in {
        "mxfp4_e2m1": ["bfloat16", "float32", "float64"],
        "mxfp8_e5m2": ["float32", "float64"],
        "nvfp4": ["float16", "bfloat16", "float32", "float64"],
    }.items():
        b = fl.encode(x, name)
        for dtype in ("float16", "bfloat16", "float32", "float64"):
            wanted = fl.decode(fl.encode(x[:1], "bfloat16"), "bfloat16", dtype="bfloat16").dtype
            wanted = wanted if dtype == "bfloat16" else np.dtype(dtype)
            if dtype in dtypes:
                values = fl.decode(b, dtype=wanted)
                assert values.dtype == wanted
                out = np.empty(4, wanted)
                assert fl.decode(b, out=out) is out
                assert_array_equal(out, values)
            else:
                with pytest.raises(TypeError, match="cannot hold every value"):
                    fl.decode(b, dtype=wanted)


# --- records and names ----------------------------------------------------------------------


def test_the_rows_are_what_their_definitions_say():
    facts = {  # element, block size, bits of a block with its scale
        "mxfp8_e4m3": ("float8_e4m3fn", 32, 32 * 8 + 8),
        "mxfp8_e5m2": ("float8_e5m2", 32, 32 * 8 + 8),
        "mxfp6_e3m2": ("float6_e3m2fn", 32, 32 * 6 + 8),
        "mxfp6_e2m3": ("float6_e2m3fn", 32, 32 * 6 + 8),
        "mxfp4_e2m1": ("float4_e2m1fn", 32, 32 * 4 + 8),
        "mxint8": ("fixed_s1_6", 32, 32 * 8 + 8),
        "nvfp4": ("float4_e2m1fn", 16, 16 * 4 + 8),
        "msfp12": ("fixed_sm1_2", 16, 16 * 4 + 8),
        "msfp16": ("fixed_sm1_6", 16, 16 * 8 + 8),
        "hbfp8": ("fixed_sm1_6", 24, 24 * 8 + 8),
        "hbfp12_24x24": ("fixed_sm1_10", (24, 24), 24 * 24 * 12 + 8),
        "flexblock4": ("fixed_sm1_3", 16, 16 * 5 + 8),
        "flexblock8": ("fixed_sm1_7", 16, 16 * 9 + 8),
        "flexblock16": ("fixed_sm1_15", 16, 16 * 17 + 8),
        "smx4": ("fixed_sm1_1", 16, 16 * 4),  # 4, 6 and 9 bits an element, all told
        "smx6": ("fixed_sm1_3", 16, 16 * 6),
        "smx9": ("fixed_sm1_6", 16, 16 * 9),
    }
    for name, (element, size, bits) in facts.items():
        fmt = fl.get_format(name)
        assert (fmt.element.name, fmt.block_size) == (element, size)
        count = size[0] * size[1] if isinstance(size, tuple) else size
        assert count * fmt.bits + fmt.scale_bits == bits
    assert FORMATS["mxint8"].max == 127 / 64 * 2.0**127


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("mxfp8_e4m3_rceil", {"scale_rule": "rceil"}),
        ("mxfp8_e4m3_g16_raise", {"block_size": 16, "nonfinite": "raise"}),
        ("mxint8_g8x4_ceil", {"block_size": (8, 4), "scale_rule": "ceil"}),
        ("nvfp4_g16x16", {"block_size": (16, 16)}),
        ("bfp_m4_e8_g8x4_even_bump", {"block_size": (8, 4), "scale_rule": "even", "carry": "bump"}),
        ("bfp_m7_e8_g32_u4", {"block_size": 32, "micro_size": 4}),
        ("bfp_m7_e8_g24_hbfp_raise", {"nonfinite": "raise"}),
    ],
)  # fmt: skip
def test_derived_names(name, changes):
    base = "smx9" if "_u" in name else "hbfp8" if "_hbfp" in name else name
    base = next((n for n in (*MX, "nvfp4") if name.startswith(n)), base)
    record = fl.bfp(4) if name.startswith("bfp_m4") else fl.get_format(base)
    fmt = replace(record, **changes)
    assert fmt.name == name
    assert fl.get_format(name) == fmt
    assert pickle.loads(pickle.dumps(fmt)) == fmt


def test_suffixes_change_any_row():
    assert fl.get_format("hbfp8_g16x16") == replace(fl.get_format("hbfp8"), block_size=(16, 16))
    assert fl.get_format("msfp12_bump") == fl.bfp(3, carry="bump")
    assert fl.get_format("flexblock8") == fl.bfp(8)
    with pytest.raises(ValueError, match="carry='bump' needs"):
        fl.get_format("mxfp4_e2m1_bump")
    with pytest.raises(ValueError, match="unknown format"):
        fl.get_format("mxfp4_e2m1_best")


def test_any_record_has_a_name_that_leads_back():
    elements = [
        *(f for f in FORMATS.values() if isinstance(f, FloatFormat) and f.signed and f.bits <= 16),
        FloatFormat(3, 2, bias=20),
        FixedFormat(1, 3),
        FixedFormat(1, 3, encoding="sign_magnitude"),
    ]
    scales = [E8M0, fl.bfp(4, 5).scale]
    for element in elements:
        for scale in scales:
            fmt = BlockFormat(element, scale, (3, 5), scale_rule="even", nonfinite="raise")
            assert fl.get_format(fmt.name) == fmt
    for element in elements[:-2]:
        if element.fits("float32"):
            fmt = BlockFormat(element, E4M3, 8, scale_rule="amax", tensor_scale=True)
            assert fl.get_format(fmt.name) == fmt


@pytest.mark.parametrize(
    "make",
    [
        lambda: BlockFormat(E8M0, E8M0),
        lambda: BlockFormat(FixedFormat(2, 3), E8M0),
        lambda: BlockFormat(FixedFormat(1, 3, signed=False), E8M0),
        lambda: BlockFormat(FixedFormat(1, 24), E8M0),
        lambda: BlockFormat(fl.get_format("int8"), E8M0),
        lambda: BlockFormat(E2M1, E4M3),
        lambda: BlockFormat(E2M1, E8M0, scale_rule="amax"),
        lambda: BlockFormat(E2M1, E2M1, scale_rule="amax"),
        lambda: BlockFormat(FixedFormat(1, 3), E4M3, scale_rule="amax"),
        lambda: BlockFormat(E2M1, E8M0, scale_rule="round"),
        lambda: BlockFormat(E2M1, E8M0, tensor_scale=True),
        lambda: BlockFormat(E2M1, E8M0, carry="bump"),
        lambda: BlockFormat(FixedFormat(1, 6), E8M0, carry="bump"),
        lambda: BlockFormat(E2M1, E8M0, micro_size=2),
        lambda: replace(fl.bfp(4), micro_size=3),
        lambda: replace(fl.bfp(4), micro_size=0),
        lambda: replace(fl.bfp(4), micro_size=2, carry="bump"),
        lambda: replace(fl.bfp(4), micro_size=2, scale_rule="ceil"),
        lambda: replace(fl.bfp(4, block_size=(4, 4)), micro_size=2),
        lambda: replace(fl.bfp(4, block_size=32), micro_size=1),
        lambda: fl.bfp(4, block_size=(4,)),
        lambda: fl.bfp(4, block_size=(4, 4, 4)),
        lambda: fl.bfp(4, block_size=(0, 4)),
        lambda: BlockFormat(FloatFormat(5, 2, bias=1000), E8M0),
    ],
)
def test_impossible_block_formats(make):
    with pytest.raises(ValueError, match=r"must|needs|at most"):
        make()


def test_float_elements_have_no_magnitude_bits():
    assert fl.get_format("mxint8").mantissa_bits == 7
    with pytest.raises(AttributeError, match=r"element\.mantissa_bits"):
        _ = fl.get_format("mxfp8_e4m3").mantissa_bits


def test_axes_of_tiles_are_checked():
    x = np.ones((30, 30), np.float32)
    fmt = "hbfp8_24x24"
    with pytest.raises(TypeError, match="pair of integers"):
        fl.encode(x, fmt, axis=1)
    with pytest.raises(ValueError, match="two"):
        fl.encode(x, fmt, axis=(1, -1))
    with pytest.raises(np.exceptions.AxisError):
        fl.encode(x, fmt, axis=(0, 2))
    with pytest.raises(ValueError, match="two dimensions"):
        fl.quantize(x[0], fmt)
    with pytest.raises(TypeError, match="axis must be an integer"):
        fl.encode(x, fl.bfp(4), axis=(0, 1))
    b = fl.encode(x, "bfp_m4_e8_g4x8", axis=(-1, 0))
    assert b.axis == (1, 0)
    assert b.scales.shape == (4, 8)
    with pytest.raises(ValueError, match="scales of shape"):
        fl.blocks.BlockArray(b.codes, b.scales, b.format, (0, 1))


def test_tensor_scales_are_checked():
    b = fl.encode(np.ones((2, 16), np.float32), "nvfp4")
    make = type(b)
    with pytest.raises(TypeError, match="float32"):
        make(b.codes, b.scales, b.format, 1)
    with pytest.raises(TypeError, match="float32"):
        make(b.codes, b.scales, b.format, 1, 1.0)
    for wrong in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="positive and finite"):
            make(b.codes, b.scales, b.format, 1, np.float32(wrong))
    bfp = fl.encode(np.ones((2, 16), np.float32), fl.bfp(4))
    with pytest.raises(ValueError, match="no tensor scale"):
        make(bfp.codes, bfp.scales, bfp.format, 1, np.float32(1))
