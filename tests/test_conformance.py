"""The conformance modes: recorded results, the definition one number at a time, the originals.

    pytest -m peers tests/test_conformance.py

runs the originals that are installed; see tests/conformance_vectors.py for the vectors.
"""

import os
import sys
import warnings
from itertools import product
from pathlib import Path

import conformance_vectors as vectors
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import conformance

NAMED_BLOCKS = {
    "int8": "mxint8",
    "fp8_e5m2": "mxfp8_e5m2",
    "fp8_e4m3": "mxfp8_e4m3",
    "fp6_e3m2": "mxfp6_e3m2",
    "fp6_e2m3": "mxfp6_e2m3",
    "fp4_e2m1": "mxfp4_e2m1",
}


def load(name):
    with np.load(vectors.DATA / f"{name}.npz") as file:
        return {key: file[key].view(np.float32) for key in file.files}


def assert_same_bits(actual, expected):
    """Equal to the bit, signs of zeros included; NaN as a class."""
    assert actual.dtype == expected.dtype == np.float32
    assert_array_equal(np.isnan(actual), np.isnan(expected))
    number = ~np.isnan(expected)
    assert_array_equal(actual[number].view(np.uint32), expected[number].view(np.uint32))


# --- vectors ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def microxcaling_vectors():
    return load("microxcaling")


@pytest.mark.parametrize("case", vectors.MICROXCALING, ids=lambda case: vectors.key(*case))
def test_microxcaling_vectors(microxcaling_vectors, case):
    element, rounding, implementation = case
    actual = conformance.microxcaling(
        microxcaling_vectors["x"], element, rounding=rounding, implementation=implementation
    )
    assert_same_bits(actual, microxcaling_vectors[vectors.key(*case)])


def test_the_vectors_are_what_the_script_makes(microxcaling_vectors):
    assert_same_bits(microxcaling_vectors["x"], vectors.blocks())
    for case in vectors.MICROXCALING[::7]:
        again = vectors.expected_microxcaling(vectors.blocks(), *case).view(np.float32)
        assert_same_bits(microxcaling_vectors[vectors.key(*case)], again)


def test_qpytorch_vectors():
    recorded = load("qpytorch")
    x = recorded["x"]
    assert_same_bits(x, vectors.qpytorch_inputs())
    for case in vectors.QPYTORCH_FLOAT:
        expected = recorded[vectors.key("float", *case)]
        assert_same_bits(conformance.qpytorch_float(x, *case), expected)
    for case in vectors.QPYTORCH_FIXED:
        expected = recorded[vectors.key("fixed", *case)]
        assert_same_bits(conformance.qpytorch_fixed(x, *case), expected)
    for i, matrix in enumerate(vectors.block_inputs()):
        assert_same_bits(recorded[vectors.key("block_x", i)], matrix)
        for case in vectors.QPYTORCH_BLOCK:
            expected = recorded[vectors.key("block", i, *case)]
            assert_same_bits(conformance.qpytorch_block(matrix, *case), expected)


@pytest.mark.parametrize("case", vectors.PYCHOP, ids=lambda case: vectors.key(*case))
def test_pychop_vectors(case):
    recorded = load("pychop")
    assert_same_bits(recorded["x"], vectors.pychop_inputs())
    assert_same_bits(conformance.pychop_bfp(recorded["x"], *case), recorded[vectors.key(*case)])


# --- the definition, elsewhere ------------------------------------------------------------------


@given(
    st.lists(st.floats(width=32), min_size=1, max_size=6),
    st.sampled_from(vectors.MICROXCALING),
)
def test_microxcaling_is_its_definition(block, case):
    element, rounding, implementation = case
    actual = conformance.microxcaling(
        np.array(block, np.float32),
        element,
        block_size=0,
        rounding=rounding,
        implementation=implementation,
    )
    assert_same_bits(actual, np.array(vectors.microxcaling(block, *case), np.float32))


@pytest.mark.parametrize("implementation", vectors.IMPLEMENTATIONS)
def test_the_log2_near_every_power_of_two(implementation):
    ulps = np.array([-45, -44, -43, -22, -11, -6, -5, -3, -2, -1, 0, 1])
    powers = np.arange(-126, 128)
    bits = ((powers[:, np.newaxis] + 127 << 23) + ulps).astype(np.uint32)
    blocks = bits.view(np.float32).reshape(-1, 1)
    actual = conformance.microxcaling(
        blocks, "int2", rounding="floor", implementation=implementation
    )
    expected = vectors.expected_microxcaling(blocks, "int2", "floor", implementation)
    assert_same_bits(actual, expected.view(np.float32))
    exact = np.exp2(np.floor(powers[:, np.newaxis] + np.where(ulps < 0, -1, 0)))
    wrong = actual[:, 0].reshape(bits.shape) != exact
    assert wrong.any() == (implementation == "torch")


# --- against the exact default ------------------------------------------------------------------


@pytest.mark.parametrize("element", NAMED_BLOCKS)
def test_cpp_with_even_ties_is_the_exact_default_but_for_signs_of_zero(element):
    x = vectors.blocks(200, seed=1)
    x = x[np.isfinite(x).all(axis=1)]
    ours = fl.quantize(x, NAMED_BLOCKS[element])
    theirs = conformance.microxcaling(x, element, rounding="even", implementation="cpp")
    assert_array_equal(theirs, ours)
    assert not np.signbit(theirs[theirs == 0]).any()


def test_qpytorch_float_in_the_normal_range_is_nearest_away_without_specials():
    x = vectors.qpytorch_inputs(seed=1)
    for exp, man in [(4, 3), (5, 2), (5, 10), (2, 1), (3, 0)]:
        fmt = fl.FloatFormat(exp, man, 2 ** (exp - 1) - 1, infinities=False, nan="none")
        normal = x[np.isfinite(x) & (np.abs(x) >= 2.0 ** (2 - 2 ** (exp - 1)))]
        ours = fl.quantize(normal, fmt, rounding="nearest_away")
        assert_same_bits(conformance.qpytorch_float(normal, exp, man), ours)


@pytest.mark.parametrize(("wl", "fraction"), [(8, 4), (16, 8), (4, 0), (22, 3)])
def test_qpytorch_fixed_away_from_ties_is_exact(wl, fraction):
    x = np.arange(-5000, 5000).astype(np.float32) / 128
    assert_array_equal(
        conformance.qpytorch_fixed(x, wl, fraction),
        fl.quantize(x, fl.FixedFormat(wl - fraction - 1, fraction)),
    )


def test_qpytorch_block_away_from_ties_is_exact():
    x = np.random.default_rng(0).integers(-999, 1000, (4, 64)) / np.float32(1024)
    x = x.astype(np.float32)
    for wl in (3, 5, 8):
        q = np.exp2(np.frexp(np.abs(x).max())[1] + 1.0 - wl)
        sure = x.copy()
        sure[x / q % 1 == 0.5] = 0
        ours = fl.quantize(sure.ravel(), fl.bfp(wl - 1, block_size=x.size)).reshape(x.shape)
        assert_array_equal(conformance.qpytorch_block(sure, wl), ours)


def test_documented_differences_of_microxcaling():
    def both(x, element, **keywords):
        x = np.float32(x)
        torch = conformance.microxcaling(x, element, **keywords)
        return torch, conformance.microxcaling(x, element, implementation="cpp", **keywords)

    # log2 rounds up below a power of two: the block loses a bit, "floor" a bit of an element
    below = np.nextafter(np.float32(8), np.float32(0))
    torch, cpp = both([below, 0.51], "int4")
    assert (torch[1], cpp[1]) == (0, 1)
    torch, cpp = both([below, 16, 0, 0], "fp8_e5m2", rounding="floor")
    assert (torch[0], cpp[0]) == (6, 7)
    # next to 2^128: NaN for integers, infinity for floats
    huge = np.finfo(np.float32).max
    torch, cpp = both([huge], "int8")
    assert np.isnan(torch).all()
    assert np.isfinite(cpp).all()
    torch, cpp = both([huge], "fp8_e4m3")
    assert np.isinf(torch).all()
    assert np.isfinite(cpp).all()
    # |v| + 0.5 rounds to 1
    half = np.nextafter(np.float32(0.5), np.float32(0)) / 64
    torch, cpp = both([1, half], "int8")
    assert (torch[1] * 64, cpp[1]) == (1, 0)
    # zeros, ties and NaN
    torch, cpp = both([1, -0.0, -0.0001, 1.5 / 64, -1.5 / 64], "int8")
    assert_array_equal(torch[:3].view(np.uint32), np.float32([1, 0.0, -0.0]).view(np.uint32))
    assert_array_equal(cpp[:3].view(np.uint32), np.float32([1, 0.0, 0.0]).view(np.uint32))
    assert_array_equal(torch[3:] * 64, [2, -2])
    for bad in (np.nan, np.inf, -np.inf):
        torch, cpp = both([[1, bad], [1, 1]], "int8")
        assert_array_equal(np.isnan(torch), [[True, True], [False, False]])
        assert_array_equal(np.isnan(cpp), np.isnan(torch))


def test_documented_differences_of_qpytorch_float():
    x = np.float32([1e9, -1e9, np.inf, -np.inf, np.nan, -np.nan])
    signs = np.float32([1, -1, 1, -1, 1, -1])
    assert_array_equal(conformance.qpytorch_float(x, 4, 3), 480 * signs)
    assert_array_equal(conformance.qpytorch_float(x, 5, 2), 114688 * signs)
    eight = conformance.qpytorch_float(x, 8, 7)
    assert np.isinf(eight[2:4]).all()
    assert np.isnan(eight[4:]).all()
    ones = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)
    assert_array_equal(conformance.qpytorch_float(ones, 4, 3), [0, 0])
    # ties away, also from the even code; exact: 1.0
    assert conformance.qpytorch_float(np.float32(1.0625), 4, 3) == 1.125
    assert fl.quantize(np.float32(1.0625), "e4m3") == 1.0
    # subnormals: a float32 sum first, then ties away
    low = np.float32(2.0**-10 - 2.0**-34)
    assert conformance.qpytorch_float(low, 4, 3) == 2.0**-9
    assert fl.quantize(low, "e4m3") == 0
    zeros = conformance.qpytorch_float(np.float32([-0.0, -1e-9]), 4, 3)
    assert_array_equal(zeros.view(np.uint32), [0, 0])


def test_documented_differences_of_qpytorch_fixed():
    q4 = fl.FixedFormat(3, 0)
    above = np.nextafter(np.float32(0.5), np.float32(1))
    assert conformance.qpytorch_fixed(above, 4, 0) == 0
    assert fl.quantize(above, q4) == 1
    assert conformance.qpytorch_fixed(np.float32(2**23 + 1), 32, 0) == 2**23 + 2
    least = np.float32(2**22 + 0.5)
    assert conformance.qpytorch_fixed(least, 32, 0) == 2**22
    assert np.isnan(conformance.qpytorch_fixed(np.float32(np.nan), 4, 0))
    assert conformance.qpytorch_fixed(np.float32(-0.0), 4, 0).view(np.uint32) == 0
    top = conformance.qpytorch_fixed(np.float32([1e30, -1e30]), 26, 0)
    assert_array_equal(top, [2**25, -(2**25)])
    x = np.float32([100, -100])
    assert_array_equal(conformance.qpytorch_fixed(x, 4, 0), [7, -8])
    assert_array_equal(conformance.qpytorch_fixed(x, 4, 0, symmetric=True), [7, -7])
    assert_array_equal(conformance.qpytorch_fixed(x, 4, 0, clamp=False), x)


def test_documented_differences_of_qpytorch_block():
    x = np.float32([[1, 0.375, -0.375, -0.0], [64, 1, 1, 1]])
    rows = conformance.qpytorch_block(x, 4, dim=0)
    assert_array_equal(rows[0], [1, 0.5, -0.25, 0])
    assert not np.signbit(rows[0, 3])
    assert_array_equal(conformance.qpytorch_block(x, 4), [[0, 0, 0, 0], [64, 0, 0, 0]])
    assert_array_equal(
        conformance.qpytorch_block(x, 4, dim=1), conformance.qpytorch_block(x.T, 4, dim=0).T
    )
    assert_array_equal(conformance.qpytorch_block(np.float32([1, 1.99]), 4), [1, 1.75])
    for bad in (np.nan, np.inf):
        assert np.isnan(conformance.qpytorch_block(np.float32([bad, 1]), 4)).all()
    huge = conformance.qpytorch_block(np.float32([2.0**126, 1, 0]), 4)
    assert_array_equal(huge, np.full(3, -7 * 2.0**124, np.float32))
    # first to 2^(E-21): just below a tie becomes the tie, which goes to +Inf
    almost = np.float32(0.375 - 2.0**-25)
    assert conformance.qpytorch_block(np.float32([1, almost]), 4)[1] == 0.5
    tiny = np.float32(2.0**-149)
    subnormals = conformance.qpytorch_block(tiny * np.float32([2**22, -(2**18)]), 4)
    assert_array_equal(subnormals / tiny, [2**22, -(2**19)])


def test_documented_differences_of_pychop():
    x = np.float32([[1, 0.375, -0.7], [np.nan, np.inf, 1]])
    result = conformance.pychop_bfp(x, 4, block_size=3)
    assert_array_equal(result[0], [1, 0.5, -0.75])
    assert np.isnan(result[1, 0])
    assert result[1, 1] == 7 / 8 * 2.0**127
    # no saturation: 1.99 needs the next exponent but one
    assert_array_equal(conformance.pychop_bfp(np.float32([1.99, 0.3]), 4), [2, 0.5])
    # blocks run across rows
    rows = np.float32([[1, 2, 3], [100, 100, 100]])
    assert_array_equal(
        conformance.pychop_bfp(rows, 4, block_size=4).ravel(),
        conformance.pychop_bfp(rows.ravel(), 4, block_size=4),
    )
    zeros = conformance.pychop_bfp(np.float32([-0.0, np.nan, 0]))
    assert_array_equal(zeros.view(np.uint32), [0, 0, 0])
    with pytest.raises(ValueError, match="all of a block is NaN"):
        conformance.pychop_bfp(np.full(32, np.nan, np.float32))
    with pytest.raises(OverflowError, match="overflows float32 in pychop"):
        conformance.pychop_bfp(np.full(3, 3e38, np.float32), 2)


# --- arguments ----------------------------------------------------------------------------------

MODES = {
    "microxcaling": lambda x: conformance.microxcaling(x, "fp8_e4m3", block_size=4),
    "microxcaling_cpp": lambda x: conformance.microxcaling(x, "int8", implementation="cpp"),
    "qpytorch_float": lambda x: conformance.qpytorch_float(x, 4, 3),
    "qpytorch_fixed": lambda x: conformance.qpytorch_fixed(x, 8, 4),
    "qpytorch_fixed_unclamped": lambda x: conformance.qpytorch_fixed(x, 8, 4, clamp=False),
    "qpytorch_block": lambda x: conformance.qpytorch_block(x, 4),
    "pychop_bfp": lambda x: conformance.pychop_bfp(x),
}


@pytest.mark.parametrize("mode", MODES)
def test_layouts(mode):
    function = MODES[mode]
    x = vectors.blocks(12, seed=3)[2:6]
    expected = function(x)
    before = x.copy()
    for same in (np.asfortranarray(x), x[::-1][::-1], x.astype(">f4"), np.repeat(x, 2, 1)[:, ::2]):
        assert_same_bits(function(same), expected)
    x.flags.writeable = False
    result = function(x)
    assert_same_bits(result, expected)
    assert result.flags.writeable
    assert result.flags.c_contiguous
    assert_same_bits(x, before)
    for other in ([1.0], np.ones(3), np.ones(3, np.float16), np.ones(3, np.int32), "1"):
        with pytest.raises(TypeError, match="must be float32"):
            function(other)
    with pytest.raises(TypeError, match="masked"):
        function(np.ma.array(x))


@pytest.mark.parametrize("mode", [name for name in MODES if "microxcaling" not in name])
def test_zero_dimensions(mode):
    result = MODES[mode](np.float32(0.3))
    assert isinstance(result, np.ndarray)
    assert_same_bits(result.reshape(1), MODES[mode](np.float32([0.3])))


@pytest.mark.parametrize("mode", [name for name in MODES if name != "qpytorch_block"])
def test_empty(mode):
    for shape in ((0,), (3, 0), (0, 3)):
        assert MODES[mode](np.empty(shape, np.float32)).shape == shape


def test_axes_and_tails():
    x = np.random.default_rng(0).standard_normal((5, 70, 3)).astype(np.float32)
    for implementation in vectors.IMPLEMENTATIONS:

        def quantise(x, implementation=implementation, **keywords):
            return conformance.microxcaling(x, "int4", implementation=implementation, **keywords)

        along = quantise(x, axis=1)
        assert_same_bits(quantise(x, axis=-2), along)
        assert_same_bits(quantise(np.moveaxis(x, 1, 2)), np.moveaxis(along, 1, 2))
        for start in (0, 32, 64):
            part = slice(start, start + 32)
            assert_same_bits(quantise(x[:, part], axis=1), along[:, part])
        assert_same_bits(quantise(x, axis=1, block_size=0), quantise(x, axis=1, block_size=70))


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda x: conformance.microxcaling(x[0], "int8"), ValueError, "at least one dimension"),
        (lambda x: conformance.microxcaling(x, "e4m3"), ValueError, "int8, .* got 'e4m3'"),
        (
            lambda x: conformance.microxcaling(x, "int8", rounding="dither"),
            ValueError,
            "nearest, even, floor, got 'dither'",
        ),
        (
            lambda x: conformance.microxcaling(x, "int8", implementation="cuda"),
            ValueError,
            "'torch' or 'cpp', got 'cuda'",
        ),
        (lambda x: conformance.microxcaling(x, "int8", axis=1), ValueError, "axis must be from"),
        (lambda x: conformance.microxcaling(x, "int8", block_size=-1), ValueError, "at least 0"),
        (lambda x: conformance.qpytorch_float(x, 9, 3), ValueError, "exp must be from 1 to 8"),
        (lambda x: conformance.qpytorch_float(x, 4, 23), ValueError, "man must be from 0 to 22"),
        (lambda x: conformance.qpytorch_float(x, 4, 3, "stochastic"), ValueError, "reproduce"),
        (lambda x: conformance.qpytorch_fixed(x, 0, 0), ValueError, "wl must be from 1 to 128"),
        (lambda x: conformance.qpytorch_fixed(x, 8, 999), ValueError, "fl must be from -128 to"),
        (
            lambda x: conformance.qpytorch_fixed(x, 8, 4, rounding="stochastic"),
            ValueError,
            "reproduce",
        ),
        (lambda x: conformance.qpytorch_block(x, 1), ValueError, "wl must be from 2 to 22"),
        (lambda x: conformance.qpytorch_block(x, 4, dim=1), ValueError, "dim must be from -1 to 0"),
        (lambda x: conformance.qpytorch_block(x[:0], 4), ValueError, "not be empty"),
        (
            lambda x: conformance.qpytorch_block(x, 4, rounding="stochastic"),
            ValueError,
            "reproduce",
        ),
        (lambda x: conformance.pychop_bfp(x, 1), ValueError, "mantissa_bits must be from 2 to 24"),
        (lambda x: conformance.pychop_bfp(x, block_size=0), ValueError, "at least 1"),
        (lambda x: conformance.pychop_bfp(x, exponent_bits=9), ValueError, "from 2 to 8"),
    ],
)
def test_bad_arguments(call, error, message):
    with pytest.raises(error, match=message):
        call(np.ones(4, np.float32))


# --- the originals, where they are installed ----------------------------------------------------


@pytest.fixture(scope="module")
def qtorch_compiled():
    """Import qtorch, which compiles its C++ at the first import, for about a minute."""
    pytest.importorskip("qtorch")
    here = str(Path(sys.executable).parent)  # ninja, where pip has put it
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setenv("PATH", here + os.pathsep + os.environ["PATH"])
        import qtorch.quant  # noqa: F401


@pytest.mark.peers
@pytest.mark.parametrize("seed", range(1, 4))
def test_qtorch(qtorch_compiled, seed):
    x = vectors.qpytorch_inputs(seed)
    for case in [(exp, man) for exp in range(1, 9) for man in range(23)]:
        expected = vectors.run_qpytorch("float_quantize", x, case)
        assert_same_bits(conformance.qpytorch_float(x, *case), expected)
    lengths = [(1, 0), (2, 1), (4, 3), (8, 4), (8, -6), (8, 24), (16, 8), (24, 12), (25, 0)]
    for wl, fraction in [*lengths, (26, 0), (32, 16), (32, 0), (64, 100), (128, -128), (128, 128)]:
        with np.errstate(over="ignore", invalid="ignore"):
            steps = (x.astype(np.float64) * 2.0**-fraction).astype(np.float32)
        scaled = np.concatenate([x, steps])
        for clamp, symmetric in product((True, False), repeat=2):
            case = (wl, fraction, clamp, symmetric)
            expected = vectors.run_qpytorch("fixed_point_quantize", scaled, case)
            assert_same_bits(conformance.qpytorch_fixed(scaled, *case), expected)
    for matrix in [*vectors.block_inputs(seed), vectors.block_inputs(seed)[1].reshape(4, 8, 8)]:
        for wl in range(2, 23):
            for dim in range(-matrix.ndim, matrix.ndim):
                expected = vectors.run_qpytorch("block_quantize", matrix, (wl, dim))
                assert_same_bits(conformance.qpytorch_block(matrix, wl, dim), expected)


@pytest.mark.peers
def test_pychop():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pytest.importorskip("pychop")
    for seed in range(1, 4):
        x = vectors.pychop_inputs(seed)
        sizes = [(p, size, 8) for p in (2, 3, 5, 8, 11, 24) for size in (2, 5, 16, 32, 4096)]
        for case in [*vectors.PYCHOP, *sizes]:
            expected = vectors.run_pychop(x, *case)
            assert_same_bits(conformance.pychop_bfp(x, *case), expected)


@pytest.mark.peers
def test_microxcaling():
    """Runs where somebody has put the package's sources on the path: it is on no package index."""
    operations = pytest.importorskip("mx.mx_ops")
    torch = pytest.importorskip("torch")
    x = vectors.blocks(400, seed=1)
    for element in vectors.ELEMENTS:
        for rounding in vectors.ROUNDINGS:
            tensor = torch.from_numpy(x.copy())
            theirs = operations._quantize_mx(
                tensor, 8, element, axes=[-1], block_size=32, round=rounding
            )
            ours = conformance.microxcaling(x, element, rounding=rounding)
            assert_same_bits(ours, theirs.numpy())


def assert_torch_has_our_log2(torch, bits):
    x = bits.astype(np.uint32).view(np.float32)
    assert_array_equal(torch.floor(torch.log2(torch.from_numpy(x))).numpy(), ours := floor_log2(x))
    # other layouts take other paths through torch
    spread = torch.from_numpy(np.repeat(x[:10_000], 2))[::2]
    assert_array_equal(torch.floor(torch.log2(spread)).numpy(), ours[:10_000])


def floor_log2(x):
    return np.floor(np.log2(x.astype(np.float64)).astype(np.float32))


@pytest.mark.peers
def test_log2_of_torch_near_powers_of_two():
    torch = pytest.importorskip("torch")
    powers = np.arange(256)[:, np.newaxis] << 23
    bits = (powers + np.arange(-4096, 4096)).ravel()
    assert_torch_has_our_log2(torch, bits[(bits > 0) & (bits < 0x7F80_0000)])
    subnormal = (1 << np.arange(23))[:, np.newaxis] + np.arange(-3, 4)
    assert_torch_has_our_log2(torch, subnormal[subnormal > 0])
    exponents = torch.arange(-127.0, 128.0)  # the scales must be exact, too
    assert_array_equal((2**exponents).numpy(), np.ldexp(1.0, np.arange(-127, 128)))


@pytest.mark.peers
@pytest.mark.exhaustive
def test_log2_of_torch_everywhere():
    torch = pytest.importorskip("torch")
    for start in range(0, 0x7F80_0000, 1 << 23):
        assert_torch_has_our_log2(torch, np.arange(max(start, 1), start + (1 << 23)))
