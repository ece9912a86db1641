"""Random words and the laws of stochastic rounding."""

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from cases import ELEMENTWISE_NAMES, FLOAT_NAMES, each_target, edges, overflows
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib._core import kernels
from fmtlib.formats import FORMATS, STOCHASTIC
from fmtlib.random_words import Words

# Known answers of Philox4x32-10 (Random123's kat_vectors): counter and key all zeros, all ones.
ZEROS = [0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8]
ONES = [0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD]


def test_known_answers(target):
    assert Words(0, 0).take(0, 4).tolist() == ZEROS
    assert [reference.philox_word(0, 0, i) for i in range(4)] == ZEROS
    # a counter of all ones is the last block of the last stream; its index has 66 bits
    ones = 2**64 - 1
    assert [reference.philox_word(ones, ones, (ones << 2) + i) for i in range(4)] == ONES


@given(
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 1),
    st.integers(0, 2**64 - 400),
    st.integers(0, 200),
)
def test_words_are_the_reference_s(seed, stream, first, count):
    words = Words(seed, stream, first=first).take(0, count)
    expected = [reference.philox_word(seed, stream, first + i) for i in range(count)]
    assert words.tolist() == expected


def test_words_do_not_depend_on_the_target_or_the_start():
    whole = None
    for name in kernels.available_targets():
        kernels.force_target(name)
        found = Words(3, 9).take(0, 5000)
        whole = found if whole is None else whole
        assert_array_equal(found, whole)
        for first, count in ((1, 3), (2, 700), (63, 66), (64, 64), (4999, 1)):
            assert_array_equal(Words(3, 9).take(first, count), whole[first : first + count])
    kernels.force_target(None)


def test_any_run_of_words(target):
    whole = Words(5, 2**40 + 1).take(2**34 - 100, 300)
    for first in range(40):
        for count in range(100):
            found = Words(5, 2**40 + 1).take(2**34 - 100 + first, count)
            assert_array_equal(found, whole[first : first + count])


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("name", [name for name in FLOAT_NAMES if FORMATS[name].fits("float32")])
def test_values_are_those_of_codes(target, name, rounding):
    """Bit for bit, NaN too; every tail."""
    rng = np.random.default_rng(1)
    x = rng.permutation(edges(name, "float32"))[:3000]
    words = rng.integers(0, 2**32, x.size, dtype=np.uint32)
    for overflow, bits in product(overflows(name), (1, 9, 31, 32)):
        mode = {"rounding": rounding, "overflow": overflow, "random_bits": bits}
        with np.errstate(invalid="ignore"):
            codes = fl.ufunc("encode", name, **mode)(x, words)
            values = fl.ufunc("quantize", name, **mode)(x, words)
            expected = fl.decode(codes, name, dtype=np.float32)
            assert_array_equal(values.view(np.uint32), expected.view(np.uint32))
            for n in range(40):
                found = fl.ufunc("encode", name, **mode)(x[n : 2 * n], words[n : 2 * n])
                assert_array_equal(found, codes[n : 2 * n])


@pytest.mark.parametrize("rounding", STOCHASTIC)
def test_values_below_the_normal_ones_of_float32(target, rounding):
    fmt = fl.FloatFormat(7, 5, bias=126)
    exact = fl.decode(np.arange(200, dtype=fmt.code_dtype), fmt)
    x = np.concatenate([exact, exact[1:] * np.float32(0.75)])
    words = np.random.default_rng(4).integers(0, 2**32, x.size, dtype=np.uint32)
    codes = fl.ufunc("encode", fmt, rounding=rounding)(x, words)
    values = fl.ufunc("quantize", fmt, rounding=rounding)(x, words)
    assert_array_equal(values.view(np.uint32), fl.decode(codes, fmt).view(np.uint32))
    assert_array_equal(values[:200], exact)


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("name", ELEMENTWISE_NAMES)
def test_words_against_reference(name, rounding):
    """All words of 2 bits, and words of more."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(0)
    many = rng.integers(0, 2**32, 3).tolist()
    cases = [(2, (word << 30) | 0x00ABCDEF) for word in range(4)]  # the bits below must not count
    cases += [(32, 0), (32, 2**32 - 1), *((bits, word) for bits in (1, 7, 31, 32) for word in many)]
    for dtype in ("float32", "float64"):
        pool = edges(name, dtype)
        x = rng.choice(pool[np.isfinite(pool)], 150)
        for overflow, (bits, word) in product(overflows(name)[:2], cases):
            function = fl.ufunc(
                "encode", name, rounding=rounding, overflow=overflow, random_bits=bits
            )
            expected = [
                reference.encode(v, fmt, rounding, overflow, word=word, random_bits=bits)
                for v in x.tolist()
            ]
            for target in each_target():
                codes = function(x, np.uint32(word))
                assert_array_equal(
                    codes, np.array(expected, np.int64).astype(fmt.code_dtype), err_msg=target
                )


@pytest.mark.parametrize("bits", [1, 5, 8])
def test_the_law(target, bits):
    """P(up) = floor(f * 2**r) / 2**r, summed over all words; r >= discarded bits is exact."""
    function = fl.ufunc("quantize", "e4m3", rounding="stochastic", random_bits=bits)
    words = (np.arange(2**bits) << (32 - bits)).astype(np.uint32)
    for i in range(64):
        f = Fraction(i, 64)
        for sign in (1, -1):
            x = np.float32(sign * (1 + float(f) / 8))
            ups = np.count_nonzero(np.abs(function(x, words)) > 1)
            assert ups == int(f * 2**bits)


@pytest.mark.parametrize("name", FLOAT_NAMES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_seeded_words(target, name, dtype):
    fmt = FORMATS[name]
    rng = np.random.default_rng(1)
    x = (rng.standard_normal((40, 7)) * 2.0 ** rng.integers(-12, 12, (40, 7))).astype(dtype)
    codes = fl.encode(np.abs(x), name, rounding="stochastic", seed=(5, 6))
    expected = [
        reference.encode(v, fmt, "stochastic", word=reference.philox_word(5, 6, i))
        for i, v in enumerate(np.abs(x).ravel().tolist())
    ]
    assert_array_equal(codes.ravel(), expected)


def test_results_depend_on_the_index_alone():
    x = np.random.default_rng(2).standard_normal((300, 1000)).astype(np.float32)
    mode = {"rounding": "stochastic", "seed": 11}
    whole = fl.encode(x, "e4m3", **mode)
    assert_array_equal(fl.encode(x, "e4m3", workers=3, **mode), whole)
    assert_array_equal(fl.encode(np.asfortranarray(x), "e4m3", **mode), whole)
    assert_array_equal(fl.encode(x[::-1][::-1], "e4m3", **mode), whole)
    wide = np.repeat(x, 2, axis=1)[:, ::2]
    assert_array_equal(fl.encode(wide, "e4m3", **mode), whole)
    out = np.zeros((300, 2000), np.uint8)[:, ::2]
    assert fl.encode(x, "e4m3", out=out, **mode) is out
    assert_array_equal(out, whole)
    mask = x > 0
    out = np.zeros_like(whole)
    fl.encode(x, "e4m3", out=out, where=mask, **mode)
    assert_array_equal(out, np.where(mask, whole, 0))
    in_place = x.copy()
    fl.quantize(in_place, "e4m3", out=in_place, **mode)
    assert_array_equal(in_place, fl.decode(whole, "e4m3"))


def test_seeds():
    x = np.random.default_rng(3).standard_normal(1000).astype(np.float32)
    draw = [
        fl.encode(x, "e4m3", rounding="stochastic", seed=seed)
        for seed in (0, 1, (0, 0), (0, 1), None, None)
    ]
    assert_array_equal(draw[0], draw[2])
    for i, j in ((0, 1), (0, 3), (1, 3), (4, 5)):
        assert (draw[i] != draw[j]).any()


@pytest.mark.parametrize("scale", [None, 0.5])
def test_nan_is_told_of(scale):
    x = np.ones(200, np.float32)
    x[7] = np.nan
    with pytest.warns(RuntimeWarning, match="invalid"):
        codes = fl.encode(x, "int8", rounding="stochastic", seed=1, scale=scale)
    assert codes[7] == 0
    assert_array_equal(np.delete(codes, 7), 1 if scale is None else 2)


def test_unbiased_with_all_bits():
    """Over many words the mean of a value is the value, well within five standard errors."""
    words = Words(0, 0).take(0, 1 << 16)
    x = np.float32(1.03)
    values = fl.ufunc("quantize", "e4m3", rounding="stochastic")(x, words).astype(float)
    p = 0.03 * 8
    assert abs(values.mean() - float(x)) < 5 * 0.125 * np.sqrt(p * (1 - p) / values.size)
