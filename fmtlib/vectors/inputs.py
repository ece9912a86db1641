"""What test vectors go into a circuit: the corners of a format, and random words.

Numbers are bit patterns of a float type.  Random words are those of stochastic rounding, so that
they are the same with every version of NumPy.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib import random_words as philox
from fmtlib._core.ufuncs import Elementwise
from fmtlib.arguments import whole_number
from fmtlib.codec import code_range, decode, encode
from fmtlib.formats import BlockFormat, FixedFormat, FloatFormat, IntegerFormat
from fmtlib.vectors.words import FIELDS, Words, bits_of, infinity_of

# Of more magnitudes than this the corners are a sample.
_MOST_MAGNITUDES = 256


def random_words(seed: int, what: str, count: int) -> Words:
    """Random 64-bit words, for each purpose others."""
    purposes = ("codes", "patterns", "range", "blocks", "a", "b", "c")
    seed = whole_number("seed", seed, 0, 2**64 - 1)
    pairs = philox.Words(seed, 1 + purposes.index(what)).all_of((count, 2)).astype(np.uint64)
    words: Words = pairs[:, 0] << np.uint64(32) | pairs[:, 1]
    return words


def _specials(dtype: str) -> Words:
    """Zero, subnormal and normal ends, infinity, quiet and signalling NaN: magnitudes' bits."""
    normal, infinity = 1 << FIELDS[dtype][1], infinity_of(dtype)
    finite = [0, 1, 2, 3, normal - 1, normal, normal + 1, infinity - 1]
    nan = [infinity | normal >> 1, infinity | 1, infinity | (normal - 1)]
    return np.array([*finite, infinity, *nan], np.uint64)


def _steps(top: int) -> NDArray[np.int64]:
    """Numbers of magnitudes from 0 to beyond the greatest, `top`: all, or a sample of many."""
    if top <= _MOST_MAGNITUDES:
        return np.arange(top + 3)
    powers = 1 << np.arange(top.bit_length(), dtype=np.int64)
    spread = np.arange(0, top, -(-top // 64))
    found = np.concatenate([np.arange(9), powers - 1, powers, spread, top + np.arange(-3, 3)])
    return np.unique(found[found < top + 3])


def _magnitude(steps: NDArray[np.int64], fmt: Elementwise) -> NDArray[np.float64]:
    """The magnitudes of these numbers, as if there were no greatest."""
    if not isinstance(fmt, FloatFormat):
        return np.ldexp(steps.astype(np.float64), fmt.quantum_exponent)
    within = decode(np.minimum(steps, fmt.max_code).astype(fmt.code_dtype), fmt, dtype="float64")
    spacing = 2.0 ** (fmt.max_exponent - fmt.mantissa_bits)
    found: NDArray[np.float64] = within + np.maximum(steps - fmt.max_code, 0) * spacing
    return found


def _top(fmt: Elementwise) -> int:
    if isinstance(fmt, FloatFormat):
        return fmt.max_code
    return max(fmt.max_integer, -fmt.min_integer)


def corners(fmt: Elementwise, dtype: str) -> Words:
    """The corners that `encode_vectors` tells, in the order of their bits."""
    steps = _steps(_top(fmt))
    values = _magnitude(steps, fmt)
    near = bits_of(np.concatenate([values, (values + _magnitude(steps + 1, fmt)) / 2]), dtype)
    near = near.astype(np.int64)
    around = np.concatenate([near - 1, near, near + 1]).clip(0, infinity_of(dtype))
    magnitudes = np.unique(np.concatenate([around.astype(np.uint64), _specials(dtype)]))
    sign = np.uint64(1 << sum(FIELDS[dtype]))
    return np.concatenate([magnitudes, magnitudes | sign])


def random_numbers(fmt: Elementwise, dtype: str, seed: int, count: int) -> Words:
    """Half of them any bits, half evenly over the binades of the format."""
    width = 1 + sum(FIELDS[dtype])
    patterns = random_words(seed, "patterns", count - count // 2) >> np.uint64(64 - width)
    ends = np.array([2.0**fmt.quantum_exponent / 8, 2 * fmt.max])
    low, high = bits_of(ends, dtype)
    words = random_words(seed, "range", count // 2)
    sign = (words >> np.uint64(63)) << np.uint64(width - 1)
    return np.concatenate([patterns, (low + words % (high - low + np.uint64(1))) | sign])


def corner_blocks(fmt: BlockFormat, dtype: str) -> Iterator[Words]:
    """The corners that `block_vectors` tells: bits, a row for each block."""
    size = fmt.block_size
    assert isinstance(size, int)
    sign = np.uint64(1 << sum(FIELDS[dtype]))
    greatest = infinity_of(dtype) - 1
    element = fmt.element
    steps = _steps(_top(element))[:-2]
    halves = np.concatenate([_magnitude(steps, element), _halfway(steps, element)])
    halves = halves[halves <= element.max]
    smaller = max(size - 1, 1)
    halves = np.resize(halves, (-(-len(halves) // smaller), smaller))
    shifts = 2.0 ** (fmt.emax - np.arange(size) % 64)
    above = np.resize(element.max * np.array([1, 1.03, 0.97, 1.06]), size)
    for scale in _scales(fmt):
        grid = np.hstack([np.full((len(halves), 1), element.max), halves])[:, :size] * scale
        for offset in (-1, 0, 1):
            bits = bits_of(grid, dtype).astype(np.int64)
            bits[:, 1:] += offset
            yield _by_turns(bits.clip(0, greatest), sign)
        rows = np.stack([shifts, shifts[::-1], above, np.full(size, element.max)]) * scale
        yield _by_turns(bits_of(rows, dtype).astype(np.int64).clip(0, greatest), sign)
    specials = _specials(dtype)
    blocks: Words = np.zeros((3, len(specials), size), np.uint64)
    blocks[0, :, size // 2] = specials  # each alone,
    blocks[1] = specials[:, None]  # all of a block,
    blocks[2] = bits_of(np.ones(1), dtype)
    blocks[2, :, -1] = specials  # among ones
    yield blocks.reshape(-1, size)
    yield blocks.reshape(-1, size) | sign


def _halfway(steps: NDArray[np.int64], fmt: Elementwise) -> NDArray[np.float64]:
    middle: NDArray[np.float64] = (_magnitude(steps, fmt) + _magnitude(steps + 1, fmt)) / 2
    return middle


def _by_turns(bits: NDArray[np.int64], sign: np.uint64) -> Words:
    """Bits with their signs, every second one negative, row by row from the other."""
    rows, columns = np.indices(bits.shape)
    signed: Words = bits.astype(np.uint64) | np.where((rows + columns) % 2, sign, np.uint64(0))
    return signed


def _scales(fmt: BlockFormat) -> list[float]:
    """Scales near both ends and in the middle of a format."""
    values = decode(np.arange(fmt.scale.max_code + 1, dtype=np.uint8), fmt.scale, dtype="float64")
    picks = [0, 1, 2, len(values) // 2, len(values) - 2, len(values) - 1]
    return [float(values[i]) for i in dict.fromkeys(max(i, 0) for i in picks)]


def random_blocks(fmt: BlockFormat, dtype: str, seed: int, what: str, count: int) -> Words:
    """Half of them finite bits, half within some binades of one that is common to the block."""
    assert isinstance(fmt.block_size, int)
    exponent_bits, mantissa_bits = FIELDS[dtype]
    words = random_words(seed, what, count * fmt.block_size).reshape(count, fmt.block_size)
    sign = words >> np.uint64(63) << np.uint64(exponent_bits + mantissa_bits)
    mantissa = words & np.uint64((1 << mantissa_bits) - 1)
    greatest = np.uint64((1 << exponent_bits) - 2)
    field = (words >> np.uint64(52)) % (greatest + np.uint64(1))
    near = count // 2
    common = np.maximum(field[:near, :1].astype(np.int64), 8)
    field[:near] = (common - (field[:near] % np.uint64(9)).astype(np.int64)).astype(np.uint64)
    blocks: Words = sign | field << np.uint64(mantissa_bits) | mantissa
    return blocks


def _notable_codes(fmt: Elementwise) -> tuple[list[int], list[int]]:
    """Codes at the ends of a format's kinds of numbers: finite ones, and the others."""
    if isinstance(fmt, (FixedFormat, IntegerFormat)):
        codes = {0, 1, -1, 2, -2, fmt.max_integer, fmt.max_integer - 1, fmt.min_integer}
        return sorted(code for code in codes if fmt.min_integer <= code <= fmt.max_integer), []
    normal = 1 << fmt.mantissa_bits if fmt.subnormals else 0
    one = int(encode(1.0, fmt))
    magnitudes = {0, 1, normal - 1, normal, one, one + 1, fmt.max_code - 1, fmt.max_code}
    finite = {code for code in magnitudes if 0 <= code <= fmt.max_code}
    others = {code for code in (fmt.inf_code, fmt.nan_code) if code is not None}
    both = [sorted(codes | {code | fmt.sign_bit for code in codes}) for codes in (finite, others)]
    if not fmt.has_negative_zero and fmt.signed:  # that code is NaN, or there is none
        both[0].remove(fmt.sign_bit)
    return both[0], both[1]


def code_rows(
    formats: tuple[Elementwise, Elementwise], terms: int, seed: int, count: int
) -> list[NDArray[Any]]:
    """Rows of codes of both formats."""
    (a, a_others), (b, b_others) = map(_notable_codes, formats)
    pairs = [(i, j) for i in a for j in b]
    pairs += [(0, 0)] * (-len(pairs) % terms)
    rows = [pairs[i : i + terms] for i in range(0, len(pairs), terms)]
    zero = [(0, 0)] if 0 in a and 0 in b else [(a[0], b[0])]
    for great in ((a[-1], b[0]), (a[0], b[-1]), (a[-1], b[-1]), (a[0], b[0])):
        small = [pair for pair in pairs if pair != great]
        rows.append([great] * terms)
        rows.append([great, *small[: terms - 1], *zero * terms][:terms])
        opposite = (great[0], b[-1] if great[1] == b[0] else b[0])
        rows.append([(great, *zero, opposite)[i % 3] for i in range(terms)])
    special = [(i, j) for i in a_others for j in (*b, *b_others)]
    special += [(i, j) for i in a for j in b_others]
    for i, pair in enumerate(special):
        row = (pairs * (1 + 2 * terms // len(pairs)))[i % terms : i % terms + terms]
        row[i % terms] = pair
        rows.append(row)
    operands = []
    for side, (fmt, name) in enumerate(zip(formats, "ab", strict=True)):
        corners = np.array([[pair[side] for pair in row] for row in rows])
        words = random_words(seed, name, count * terms)
        operands.append(np.concatenate([corners, _finite(words, fmt).reshape(count, terms)]))
        operands[-1] = operands[-1].astype(fmt.code_dtype)
    return operands


def _finite(words: Words, fmt: Elementwise) -> NDArray[np.int64]:
    """Finite codes that random words choose."""
    if not isinstance(fmt, FloatFormat):
        low, high = code_range(fmt)
        return (words % np.uint64(high - low + 1)).astype(np.int64) + low
    magnitudes = (words % np.uint64(fmt.max_code + 1)).astype(np.int64)
    negative = (words >> np.uint64(63)).astype(bool) & bool(fmt.signed)
    if not fmt.has_negative_zero:
        negative &= magnitudes > 0
    found: NDArray[np.int64] = magnitudes | np.where(negative, fmt.sign_bit, 0)
    return found
