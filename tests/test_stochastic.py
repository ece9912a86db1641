"""The laws of stochastic rounding, by feeding the kernels every word of r bits.

For a fraction f of a quantum and a word R of r bits each law says exactly whether a magnitude goes
up; its probability is then a count of words.
"""

from fractions import Fraction

import numpy as np
import pytest
from cases import BLOCK_NAMES, DTYPES, each_target
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import FORMATS, STOCHASTIC

# IEEE P3109 (draft), its StochasticA, B and C: round(f * 2**r) is to nearest, ties to even.
LAWS = {
    "stochastic": lambda f, r, word: int(f * 2**r) + word >= 2**r,
    "stochastic_b": lambda f, r, word: int(f * 2 ** (r + 1)) + 2 * word + 1 >= 2 ** (r + 1),
    "stochastic_c": lambda f, r, word: round(f * 2**r) + word >= 2**r,
}
# Probability of going up, and the greatest error of it.
PROBABILITIES = {
    "stochastic": lambda f, r: Fraction(int(f * 2**r), 2**r),
    "stochastic_b": lambda f, r: Fraction((int(f * 2 ** (r + 1)) + 1) // 2, 2**r),
    "stochastic_c": lambda f, r: Fraction(round(f * 2**r), 2**r),
}
# Least and greatest of (probability - f), in units of 2**-r.
BIASES = {"stochastic": (-1, 0), "stochastic_b": (-0.5, 0.5), "stochastic_c": (-0.5, 0.5)}

RANDOM_BITS = (1, 2, 4, 8)
# Sixteenths, values just beside them, and bits far below the r that count.
FRACTIONS = sorted(
    {Fraction(i, 16) for i in range(16)}
    | {Fraction(1, 2) + Fraction(k, 2**12) for k in (-1, 1)}
    | {Fraction(1, 2**12), 1 - Fraction(1, 2**12), Fraction(85, 256) + Fraction(1, 1024)}
)
# A format, and values with a fraction to fill: the lower value and the quantum.
PLACES = [
    ("float8_e4m3fn", Fraction(1), Fraction(1, 8)),
    ("float8_e4m3fn", Fraction(9, 8), Fraction(1, 8)),  # from an odd code
    ("float8_e4m3fn", Fraction(15, 8), Fraction(1, 8)),  # into the next binade
    ("float8_e4m3fn", Fraction(3, 512), Fraction(1, 512)),  # subnormal
    ("float8_e5m2", Fraction(0), Fraction(1, 2**16)),
    ("float4_e2m1fn", Fraction(4), Fraction(2)),
    ("float8_e8m0fnu", Fraction(4), Fraction(4)),
    ("bfloat16", Fraction(1), Fraction(1, 128)),
    ("fixed_s3_4", Fraction(5, 16), Fraction(1, 16)),
    ("int8", Fraction(-0), Fraction(1)),
    ("int8", Fraction(77), Fraction(1)),
]
# Sign-magnitude blocks along one axis.
ROWS = [
    name
    for name in BLOCK_NAMES
    if name.startswith("bfp") and isinstance(FORMATS[name].block_size, int)
]


def words_of(bits):
    """Every word of r bits at the top of 32, and noise below that must not count."""
    return (np.arange(2**bits, dtype=np.uint32) << np.uint32(32 - bits)) | np.uint32(
        0x00ABCDEF & ((1 << (32 - bits)) - 1)
    )


def test_every_law_is_written_down():
    assert set(STOCHASTIC) <= set(LAWS) == set(PROBABILITIES) == set(BIASES)
    assert "stochastic" in STOCHASTIC


@pytest.mark.parametrize("rounding", LAWS)
@pytest.mark.parametrize("bits", RANDOM_BITS)
def test_the_laws_add_up(rounding, bits):
    """The probability is the count of words, and its bias is as published."""
    low, high = BIASES[rounding]
    for f in FRACTIONS:
        ups = sum(LAWS[rounding](f, bits, word) for word in range(2**bits))
        probability = PROBABILITIES[rounding](f, bits)
        assert Fraction(ups, 2**bits) == probability
        assert low <= (probability - f) * 2**bits <= high


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("bits", RANDOM_BITS)
@pytest.mark.parametrize(("name", "low", "quantum"), PLACES)
def test_every_word(name, low, quantum, bits, rounding, record_property):
    """Which words go up, how many, and the mean error over all of them: exactly, on each target."""
    words = words_of(bits)
    function = fl.ufunc("encode", name, rounding=rounding, random_bits=bits)
    signs = (1,) if name == "float8_e8m0fnu" else (1, -1)
    count = 0
    for f in FRACTIONS:
        ups = [LAWS[rounding](f, bits, word) for word in range(2**bits)]
        for sign in signs:
            x = float(sign * (low + f * quantum))
            if x == 0:
                x = 0.0 * sign
            for dtype in (np.float32, np.float64):
                assert dtype(x) == low * sign + f * quantum * sign
                for _ in each_target():
                    codes = function(dtype(x), words)
                    values = fl.decode(codes, name, dtype=np.float64)
                    magnitudes = [abs(Fraction(value)) for value in values.tolist()]
                    assert magnitudes == [low + quantum * up for up in ups]
                    mean = sum(magnitudes, Fraction(0)) / len(magnitudes)
                    bias = PROBABILITIES[rounding](f, bits) - f
                    assert mean - (low + f * quantum) == bias * quantum
                    count += words.size
    record_property("inputs", count)


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_16_bit_inputs(target, dtype, rounding):
    """The loops of the narrow types take the same decisions."""
    function = fl.ufunc("encode", "float8_e4m3fn", rounding=rounding, random_bits=4)
    wide = (1 + np.arange(16) / 128).astype(np.float32)
    words = words_of(4)[:, None]
    expected = function(wide, words)
    ups = [[LAWS[rounding](Fraction(i % 16, 16), 4, w) for i in range(16)] for w in range(16)]
    assert_array_equal(expected, 0x38 + np.array(ups))
    assert_array_equal(function(wide.astype(DTYPES[dtype]), words), expected)


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("bits", RANDOM_BITS)
@pytest.mark.parametrize("name", ROWS)
def test_blocks_in_the_reference(name, bits, rounding):
    """A block's elements follow the law in the reference, which the kernels are compared with."""
    fmt = FORMATS[name]
    size = min(fmt.block_size, len(FRACTIONS))
    quantum = reference.power_of_two(1 - fmt.mantissa_bits)
    for first in range(0, len(FRACTIONS), size):
        fractions = FRACTIONS[first : first + size - 1]
        values = [Fraction(1), *(f * quantum for f in fractions)]
        for word, full in enumerate(words_of(bits).tolist()):
            codes, _ = reference.encode_block(
                values, fmt, rounding, words=[full] * len(values), random_bits=bits
            )
            assert codes[1:] == [LAWS[rounding](f, bits, word) for f in fractions]


@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("bits", RANDOM_BITS)
@pytest.mark.parametrize("name", ROWS)
def test_blocks_in_the_kernels(target, name, bits, rounding):
    """Seeded words into blocks: the reference with the same words gives the same codes."""
    fmt = FORMATS[name]
    rng = np.random.default_rng(bits)
    x = (rng.standard_normal(8 * fmt.block_size) * 2.0 ** rng.integers(-6, 6)).astype(np.float32)
    found = fl.encode(x, name, rounding=rounding, random_bits=bits, seed=(3, 4))
    words = [reference.philox_word(3, 4, i) for i in range(x.size)]
    for block in range(8):
        part = slice(block * fmt.block_size, (block + 1) * fmt.block_size)
        codes, scale = reference.encode_block(
            x[part].tolist(), fmt, rounding, words=words[part], random_bits=bits
        )
        assert found.codes[part].tolist() == codes
        assert found.scales[block] == scale
