"""Vectors of elementwise formats: numbers to codes, codes to numbers, numbers to rounded ones."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fmtlib._core.ufuncs import Elementwise
from fmtlib.arguments import whole_number
from fmtlib.codec import Mode, code_range, decode, elementwise, ufunc
from fmtlib.formats import BlockFormat, Format, Overflow, Rounding, get_format
from fmtlib.vectors.files import Column, Vectors, number_column
from fmtlib.vectors.inputs import corners, random_numbers, random_words
from fmtlib.vectors.lfsr import LFSR, noise_source
from fmtlib.vectors.words import FIELDS, Words, bits_of, code_words, number_type, values_of


def encode_vectors(
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    dtype: str = "float32",
    random_bits: int | None = None,
    lfsr: LFSR | None = None,
    seed: int = 0,
    count: int = 1000,
) -> Vectors:
    """Vectors for a circuit that turns numbers into codes.

    Parameters
    ----------
    fmt : str or Format
        An elementwise format.
    rounding, overflow : str
        See `fmtlib.encode`; not "raise", which gives no code.
    dtype : {"float32", "float16", "bfloat16", "float64"}
        Type of the inputs.
    random_bits : int, optional
        Bits of noise, for stochastic roundings; 8 by default.
    lfsr : LFSR, optional
        Where the noise comes from; by default 16 bits wide, or 32 for more than 16 random bits.
    seed : int
        Of the random inputs.
    count : int
        Number of random inputs.

    Returns
    -------
    Vectors
        Columns ``x``, for stochastic roundings ``noise``, and ``expected``.

    Raises
    ------
    TypeError
        If `fmt` is a block format; see `block_vectors`.
    ValueError
        For unknown names and numbers out of range.

    Notes
    -----
    Inputs are, with both signs: every value of the format and every midpoint of neighbours, also
    beyond the greatest (of more than 256 magnitudes a sample), each with the two numbers of
    `dtype` around it; zero, the ends of the subnormal and of the normal numbers, infinity, quiet
    and signalling NaN; then random ones, half of them any bits, half in the format's range.  Of a
    16-bit `dtype` it is all 65,536 patterns instead.

    With noise, the corners come four times before that: with noise of zeros, of ones, with the
    greatest noise that still rounds down, and with the next.  The rest has the register's, from
    row ``lfsr_from_row`` of the manifest on.

    Examples
    --------
    >>> from fmtlib.vectors import encode_vectors
    >>> vectors = encode_vectors("e4m3", count=10)
    >>> vectors.name, len(vectors), list(vectors.columns)
    ('float8_e4m3fn-encode-nearest_even-saturate', 1576, ['x', 'expected'])
    """
    return _rounding_vectors(
        "encode", fmt, rounding, overflow, dtype, random_bits, lfsr, seed, count
    )


def quantize_vectors(
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    dtype: str = "float32",
    random_bits: int | None = None,
    lfsr: LFSR | None = None,
    seed: int = 0,
    count: int = 1000,
) -> Vectors:
    """Vectors for a circuit that rounds numbers to those of a format, in the inputs' own type.

    Inputs are those of `encode_vectors`.

    Parameters
    ----------
    fmt, rounding, overflow, random_bits, lfsr, seed, count
        As for `encode_vectors`.
    dtype : {"float32", "float16", "bfloat16", "float64"}
        Type of the inputs and of ``expected``.

    Returns
    -------
    Vectors

    Raises
    ------
    TypeError
        Also if `dtype` cannot hold every value of the format.
    ValueError
        As for `encode_vectors`.

    Examples
    --------
    >>> from fmtlib.vectors import quantize_vectors
    >>> quantize_vectors("e5m2", dtype="float16").columns["expected"].bits
    16
    """
    return _rounding_vectors(
        "quantize", fmt, rounding, overflow, dtype, random_bits, lfsr, seed, count
    )


def decode_vectors(
    fmt: str | Format, *, dtype: str = "float32", seed: int = 0, count: int = 1000
) -> Vectors:
    """Vectors for a circuit that turns codes into numbers.

    Parameters
    ----------
    fmt : str or Format
        An elementwise format.
    dtype : {"float32", "float16", "bfloat16", "float64"}
        Type of the numbers; it must hold every value of the format.
    seed, count
        As for `encode_vectors`; of formats of more than 16 bits only.

    Returns
    -------
    Vectors
        Columns ``codes``, every one (of formats of more than 16 bits corners and random ones), and
        ``expected``.

    Raises
    ------
    TypeError, ValueError
        As for `quantize_vectors`.

    Examples
    --------
    >>> from fmtlib.vectors import decode_vectors
    >>> expected = decode_vectors("e2m1").columns["expected"]
    >>> [hex(word) for word in expected.words[:3].tolist()], expected.values[:3].tolist()
    (['0x0', '0x3f000000', '0x3f800000'], [0.0, 0.5, 1.0])
    """
    fmt = elementwise_format(fmt)
    dtype = number_type(dtype)
    count = whole_number("count", count, 0)
    low, high = code_range(fmt)
    if fmt.bits <= 16:
        codes = np.arange(low, high + 1)
    else:
        ends = np.array([low, low + 1, -1, 0, 1, high - 1, high])
        powers = 1 << np.arange(fmt.bits - 1, dtype=np.int64)
        words = random_words(seed, "codes", count) % np.uint64(high - low + 1)
        codes = np.concatenate([ends, powers, powers - 1, words.astype(np.int64) + low])
        codes = np.unique(codes[(codes >= low) & (codes <= high)])
    codes = codes.astype(fmt.code_dtype)
    values = _in_dtype(decode(codes, fmt, dtype="float64"), fmt, dtype)
    columns = {
        "codes": Column(code_words(codes, fmt.bits), fmt.bits, "input", fmt.name),
        "expected": number_column(bits_of(values, dtype), dtype, "expected"),
    }
    facts = {"format": fmt.name, "op": "decode", "dtype": dtype, "seed": seed, "bits": fmt.bits}
    return Vectors(f"{fmt.name}-decode-{dtype}", facts, columns)


def _rounding_vectors(
    op: Literal["encode", "quantize"],
    fmt: str | Format,
    rounding: Rounding,
    overflow: Overflow,
    dtype: str,
    random_bits: int | None,
    lfsr: LFSR | None,
    seed: int,
    count: int,
) -> Vectors:
    fmt = elementwise_format(fmt)
    dtype = number_type(dtype)
    count = whole_number("count", count, 0)
    random_bits, lfsr = noise_source(rounding, random_bits, lfsr)
    Mode.of(fmt, rounding, overflow, random_bits)
    if overflow == "raise":
        raise ValueError("overflow='raise' gives no codes, so it has no vectors")
    if op == "quantize":
        _in_dtype(np.zeros(1), fmt, dtype)
    function = ufunc("encode", fmt, rounding=rounding, overflow=overflow, random_bits=random_bits)
    decisive = corners(fmt, dtype)
    if sum(FIELDS[dtype]) == 15:
        rest = np.arange(1 << 16, dtype=np.uint64)
    else:
        rest = np.concatenate([decisive, random_numbers(fmt, dtype, seed, count)])
    facts: dict[str, Any] = {
        "format": fmt.name, "op": op, "rounding": rounding, "overflow": overflow, "dtype": dtype,
        "seed": seed, "bits": fmt.bits,
    }  # fmt: skip
    noise = np.empty(0, np.uint32)
    if random_bits is None or lfsr is None:
        x = rest
        codes = _quiet(function, values_of(x, dtype))
    else:
        shift = np.uint32(32 - random_bits)

        def rounded(bits: Words, noise: NDArray[np.uint32]) -> NDArray[Any]:
            return _quiet(function, values_of(bits, dtype), noise << shift)

        deciding = _deciding_noise(rounded, decisive, random_bits)
        x = np.concatenate([np.tile(decisive, len(deciding)), rest])
        noise = np.concatenate([*deciding, lfsr.noise(len(rest), random_bits)])
        codes = rounded(x, noise)
        facts |= {"random_bits": random_bits, "lfsr": lfsr.facts(random_bits)}
        facts["lfsr_from_row"] = len(x) - len(rest)
    values = decode(codes, fmt, dtype="float64")
    columns = {"x": number_column(x, dtype, "input")}
    if random_bits is not None:
        columns["noise"] = Column(noise.astype(np.uint64), random_bits, "input", "noise")
    if op == "encode":
        words = code_words(codes, fmt.bits)
        columns["expected"] = Column(words, fmt.bits, "expected", fmt.name, values)
    else:
        columns["expected"] = number_column(bits_of(values, dtype), dtype, "expected")
    return Vectors(f"{fmt.name}-{op}-{rounding}-{overflow}", facts, columns)


def elementwise_format(fmt: str | Format) -> Elementwise:
    """The format, if it is not one of blocks."""
    fmt = get_format(fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(
            f"{fmt.name} is a block format: --op bfp and dot take it, in Python block_vectors and "
            "dot_vectors"
        )
    return elementwise(fmt)


def _quiet(function: Any, *arguments: Any) -> NDArray[Any]:
    """NaN into a format without NaN is code 0, and wanted here."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.asarray(function(*arguments))


def _deciding_noise(rounded: Any, x: Words, bits: int) -> list[NDArray[np.uint32]]:
    """No noise, full noise, the greatest that still rounds as none does, and the next."""
    zeros = np.zeros(len(x), np.uint32)
    full = zeros + np.uint32((1 << bits) - 1)
    without = rounded(x, zeros)
    greatest = zeros.copy()
    for bit in reversed(range(bits)):  # the code is a step function of the noise
        more = greatest | np.uint32(1 << bit)
        greatest = np.where(rounded(x, more) == without, more, greatest)
    return [zeros, full, greatest, np.minimum(greatest, full - np.uint32(1)) + np.uint32(1)]


def _in_dtype(values: NDArray[np.float64], fmt: Format, dtype: str) -> NDArray[np.float64]:
    """The values, if a type holds all those of the format."""
    if not fmt.fits(dtype):
        raise TypeError(
            f"{dtype} cannot hold every value of {fmt.name}; {fmt.smallest_dtype} is the smallest "
            "type that can"
        )
    return values
