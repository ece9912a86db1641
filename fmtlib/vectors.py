"""Test vectors for hardware: what goes into a circuit, and the codes that have to come out.

Each function makes one set of `Vectors`, for one format, operation, rounding and overflow; `write`
puts it into a folder as files for ``$readmemh``, as CSV, with a manifest.  Inputs are the corners
of the format and seeded random ones; expected words are those of `fmtlib.encode` and the like, and
of blocks with noise those of `fmtlib.reference`.  The same arguments give the same files anywhere.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fmtlib import products, reference
from fmtlib._core.ufuncs import Elementwise
from fmtlib.accumulators import Accumulator
from fmtlib.arguments import whole_number
from fmtlib.codec import Mode, code_range, decode, elementwise, encode, ufunc
from fmtlib.formats import (
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    Format,
    Overflow,
    Rounding,
    get_format,
)
from fmtlib.lfsr import LFSR
from fmtlib.vector_files import Column, Vectors, Words
from fmtlib.vector_inputs import (
    FIELDS,
    bits_of,
    code_rows,
    corner_blocks,
    corners,
    infinity_of,
    random_blocks,
    random_numbers,
    random_words,
    values_of,
)

__all__ = [
    "LFSR",
    "Column",
    "Vectors",
    "block_vectors",
    "decode_vectors",
    "dot_vectors",
    "encode_vectors",
    "every_mode",
    "quantize_vectors",
]

# FAST's converter adds so many bits of noise.
_RANDOM_BITS = 8


def every_mode(
    fmt: str | Format,
    op: str,
    *,
    roundings: Sequence[str] | None = None,
    overflows: Sequence[str] | None = None,
    random_bits: int | None = None,
    lfsr: LFSR | None = None,
    **arguments: Any,
) -> Iterator[Vectors]:
    """Sets for every rounding and overflow that an operation has.

    Parameters
    ----------
    fmt : str or Format
    op : {"encode", "decode", "quantize", "bfp", "dot"}
        Which of the functions here makes the sets.
    roundings, overflows : sequence of str, optional
        Those wanted; all that the format takes, but overflow "raise", by default.
    random_bits, lfsr
        For the stochastic ones among the roundings.
    arguments
        What else that function takes.

    Yields
    ------
    Vectors
        Rounding by rounding.

    Raises
    ------
    TypeError
        For arguments that the operation does not take.
    ValueError
        For unknown operations; and what the functions raise.

    Examples
    --------
    >>> from fmtlib.vectors import every_mode
    >>> for vectors in every_mode("int8", "encode", roundings=["down"], count=0):
    ...     print(vectors.name)
    int8-encode-down-saturate
    """
    functions: dict[str, Any] = {
        "encode": encode_vectors,
        "decode": decode_vectors,
        "quantize": quantize_vectors,
        "bfp": block_vectors,
        "dot": dot_vectors,
    }
    if op not in functions:
        raise ValueError(f"op must be one of {', '.join(functions)}, got {op!r}")
    allowed = inspect.signature(functions[op]).parameters
    modes = {"rounding": roundings, "overflow": overflows}
    noise = {"random_bits": random_bits, "lfsr": lfsr}
    given = {name for name, value in {**modes, **noise}.items() if value is not None}
    for name in (*given, *arguments):
        if name not in allowed:
            raise TypeError(f"vectors of {op} take no {name}")
    if "rounding" not in allowed:
        yield functions[op](fmt, **arguments)
        return
    wanted = ROUNDINGS if roundings is None else roundings
    if given & set(noise) and not set(wanted) & set(STOCHASTIC):
        raise ValueError(f"random_bits and lfsr need a stochastic rounding, got {list(wanted)}")
    ways: Sequence[dict[str, str]] = [{}]
    if "overflow" in allowed:
        every = [name for name in get_format(fmt).overflows if name != "raise"]
        ways = [{"overflow": name} for name in (every if overflows is None else overflows)]
    for rounding in wanted:  # all are checked before the first set is made
        for way in ways:
            Mode.of(get_format(fmt), rounding, way.get("overflow", "saturate"), None)
    for rounding in wanted:
        of_noise = noise if rounding in STOCHASTIC else {}
        for way in ways:
            yield functions[op](fmt, rounding=rounding, **way, **of_noise, **arguments)


# --- elementwise formats --------------------------------------------------------------------


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

    Parameters and inputs are those of `encode_vectors`; ``expected`` has the bits of `dtype`.

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
    fmt = _elementwise(fmt)
    dtype = _checked_dtype(dtype)
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
        "codes": Column(_code_words(codes, fmt.bits), fmt.bits, "input", fmt.name),
        "expected": _number_column(bits_of(values, dtype), dtype, "expected"),
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
    fmt = _elementwise(fmt)
    dtype = _checked_dtype(dtype)
    count = whole_number("count", count, 0)
    random_bits, lfsr = _noise_source(rounding, random_bits, lfsr)
    Mode.of(fmt, rounding, overflow, random_bits)
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
    columns = {"x": _number_column(x, dtype, "input")}
    if random_bits is not None:
        columns["noise"] = Column(noise.astype(np.uint64), random_bits, "input", "noise")
    if op == "encode":
        words = _code_words(codes, fmt.bits)
        columns["expected"] = Column(words, fmt.bits, "expected", fmt.name, values)
    else:
        columns["expected"] = _number_column(bits_of(values, dtype), dtype, "expected")
    return Vectors(f"{fmt.name}-{op}-{rounding}-{overflow}", facts, columns)


def _elementwise(fmt: str | Format) -> Elementwise:
    fmt = get_format(fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"{fmt.name} is a block format: see block_vectors and dot_vectors")
    return elementwise(fmt)


def _checked_dtype(dtype: str) -> str:
    name = np.dtype(dtype).name if not isinstance(dtype, str) else dtype
    if name not in FIELDS:
        raise ValueError(f"dtype must be one of {', '.join(FIELDS)}, got {dtype!r}")
    return name


def _noise_source(
    rounding: str, random_bits: int | None, lfsr: LFSR | None
) -> tuple[int | None, LFSR | None]:
    """The bits of noise and their register, by default as documented; None for no noise."""
    if rounding not in STOCHASTIC:
        if random_bits is not None or lfsr is not None:
            raise ValueError(f"random_bits and lfsr need a stochastic rounding, got {rounding!r}")
        return None, None
    if random_bits is None:
        random_bits = _RANDOM_BITS if lfsr is None else min(_RANDOM_BITS, lfsr.width)
    random_bits = whole_number("random_bits", random_bits, 1, 32)
    if lfsr is None:
        lfsr = LFSR(16 if random_bits <= 16 else 32)
    if lfsr.width < random_bits:
        raise ValueError(f"an LFSR of {lfsr.width} bits cannot give {random_bits} random bits")
    return random_bits, lfsr


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


def _number_column(bits: Words, dtype: str, role: Literal["input", "expected"]) -> Column:
    with np.errstate(invalid="ignore"):  # signalling NaN
        values = values_of(bits, dtype).astype(np.float64)
    return Column(bits, 1 + sum(FIELDS[dtype]), role, dtype, values)


def _code_words(codes: NDArray[Any], bits: int) -> Words:
    """Codes as unsigned words; negative ones in two's complement."""
    words: Words = codes.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)
    return words


# --- blocks ---------------------------------------------------------------------------------


def block_vectors(
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    dtype: str = "float32",
    random_bits: int | None = None,
    lfsr: LFSR | None = None,
    seed: int = 0,
    count: int = 1000,
) -> Vectors:
    """Vectors for a circuit that turns blocks of numbers into codes and a scale.

    Parameters
    ----------
    fmt : str or Format
        A block format with blocks along one axis.
    rounding, dtype, random_bits, lfsr, seed
        As for `encode_vectors`.
    count : int
        Number of random blocks.

    Returns
    -------
    Vectors
        A row is a block: columns ``x``, for stochastic roundings ``noise``, the expected ``codes``
        and ``scale``.  The noise is the register's from the first element on, block after block.

    Raises
    ------
    TypeError
        If `fmt` is an elementwise format.
    ValueError
        For tiles, unknown names and numbers out of range.

    Notes
    -----
    Blocks are, for several scales from the format's least to its greatest: every element and
    every midpoint of neighbours (of more than 256 magnitudes a sample) beside the greatest, each
    also one bit greater and less; maxima that round up beyond the greatest element; elements that
    are shifted out; then zeros, subnormal numbers, the greatest numbers; a NaN or an infinity
    among others, where the format takes it; then random blocks, half with elements near their
    maximum.  With a scale of the tensor, the rows are one tensor, and the manifest has its scale.

    Examples
    --------
    >>> import fmtlib as fl
    >>> from fmtlib.vectors import block_vectors
    >>> vectors = block_vectors(fl.bfp(4), rounding="stochastic", count=10)
    >>> for name, column in vectors.columns.items():
    ...     print(name, column.bits, column.words_per_row)
    x 32 16
    noise 8 16
    codes 5 16
    scale 8 1
    >>> vectors.facts["lfsr"]["polynomial"]
    'x^16 + x^15 + x^13 + x^4 + 1'
    """
    fmt = _one_axis(fmt)
    dtype = _checked_dtype(dtype)
    random_bits, lfsr = _noise_source(rounding, random_bits, lfsr)
    Mode.of(fmt, rounding, "saturate", random_bits)
    x = _blocks(fmt, dtype, seed, whole_number("count", count, 0))
    facts: dict[str, Any] = {
        "format": fmt.name, "op": "bfp", "rounding": rounding, "dtype": dtype, "seed": seed,
        "block_size": fmt.block_size, "bits": fmt.bits, "scale_bits": fmt.scale_bits,
    }  # fmt: skip
    columns = {"x": _number_column(x, dtype, "input")._replace(values=None)}
    values = values_of(x, dtype)
    if random_bits is None or lfsr is None:
        encoded = _encoded(values, fmt, rounding)
        codes, scales = encoded.codes, encoded.scales[:, 0]
        if encoded.tensor_scale is not None:
            facts["tensor_scale"] = float(encoded.tensor_scale)
    else:
        noise = lfsr.noise(x.size, random_bits).reshape(x.shape)
        words = noise << np.uint32(32 - random_bits)
        codes, scales, tensor_scale = _encoded_with(values, words, fmt, rounding, random_bits)
        if fmt.tensor_scale:
            facts["tensor_scale"] = tensor_scale
        facts |= {"random_bits": random_bits, "lfsr": lfsr.facts(random_bits)}
        columns["noise"] = Column(noise.astype(np.uint64), random_bits, "input", "noise")
    columns["codes"] = Column(
        codes.astype(np.uint64), fmt.bits, "expected", f"element of {fmt.name}"
    )
    columns["scale"] = Column(
        scales.astype(np.uint64), fmt.scale_bits, "expected", f"scale of {fmt.name}"
    )
    return Vectors(f"{fmt.name}-bfp-{rounding}", facts, columns)


def _one_axis(fmt: str | Format) -> BlockFormat:
    fmt = get_format(fmt)
    if not isinstance(fmt, BlockFormat):
        raise TypeError(f"{fmt.name} is no block format: see encode_vectors")
    if not isinstance(fmt.block_size, int):
        raise ValueError(f"the blocks must go along one axis, got {fmt.block_size} of {fmt.name}")
    return fmt


def _encoded(values: NDArray[Any], fmt: BlockFormat, rounding: Rounding) -> Any:
    with np.errstate(all="ignore"):
        return encode(values, fmt, rounding=rounding, axis=1)


def _encoded_with(
    values: NDArray[Any],
    words: NDArray[np.uint32],
    fmt: BlockFormat,
    rounding: str,
    random_bits: int,
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Codes and scales of rows, each a block, with these random words; the scale of the tensor."""
    with np.errstate(invalid="ignore"):
        rows = values.astype(np.float64)
    finite = np.abs(rows[np.isfinite(rows)])
    scale, inverse = reference.tensor_scales(float(finite.max(initial=0)), fmt)
    blocks = [
        reference.encode_block(
            row, fmt, rounding, words=draws, random_bits=random_bits,
            encode_scale=scale if fmt.tensor_scale else 1,
        )
        for row, draws in zip(rows.tolist(), words.tolist(), strict=True)
    ]  # fmt: skip
    codes = np.array([codes for codes, _ in blocks])
    return codes, np.array([scale for _, scale in blocks]), float(inverse)


def _blocks(fmt: BlockFormat, dtype: str, seed: int, count: int) -> Words:
    """The inputs of `block_vectors`: bits, a row for each block."""
    random = random_blocks(fmt, dtype, seed, "blocks", count)
    rows = np.concatenate([*corner_blocks(fmt, dtype), random])
    if fmt.nonfinite == "raise":
        sign = 1 << sum(FIELDS[dtype])
        rows = rows[((rows & np.uint64(sign - 1)) < infinity_of(dtype)).all(axis=1)]
    return rows


# --- dot products ---------------------------------------------------------------------------


def dot_vectors(
    a: str | Format,
    b: str | Format | None = None,
    *,
    accumulator: str | Accumulator = "float32",
    terms: int | None = None,
    seed: int = 0,
    count: int = 1000,
) -> Vectors:
    """Vectors for a circuit that multiplies codes and adds up.

    Parameters
    ----------
    a, b : str or Format
        Formats of the two operands: both elementwise, or both blocks of one size along one axis;
        b is that of a by default.
    accumulator : str or Accumulator
        See `fmtlib.matmul`.
    terms : int, optional
        Products in a dot product; 16, or two blocks, by default.
    seed : int
        Of the random rows.
    count : int
        Number of random dot products.

    Returns
    -------
    Vectors
        Columns ``a``, ``b`` (of blocks also ``a_scale`` and ``b_scale``), ``c``, a float32 that
        the total starts from, and ``expected``, a float32 (or a float64, where it takes that).

    Raises
    ------
    TypeError, ValueError
        As for `fmtlib.dot`; also if one operand is of blocks and the other is not, or `terms` are
        no whole blocks.

    Notes
    -----
    Rows of elementwise formats pair all notable codes of a with all of b (zeros, the ends of the
    subnormal and of the normal numbers, one, the greatest, of both signs), hold terms that cancel,
    and terms that get lost beside a great one; then each pair with an infinity or a NaN has a row
    of its own.  Rows of blocks are the blocks of `block_vectors`.  Random rows are of finite
    codes.  NaN is expected as 7FC00000; any other NaN is as good.

    Examples
    --------
    >>> from fmtlib.vectors import dot_vectors
    >>> vectors = dot_vectors("e4m3", "e5m2", accumulator="hopper", terms=32, count=10)
    >>> vectors.name
    'float8_e4m3fn-dot-float8_e5m2-hopper'
    >>> {name: column.words.shape[1:] for name, column in vectors.columns.items()}
    {'a': (32,), 'b': (32,), 'c': (), 'expected': ()}
    """
    first = get_format(a)
    second = first if b is None else get_format(b)
    count = whole_number("count", count, 0)
    blocks = [isinstance(fmt, BlockFormat) for fmt in (first, second)]
    if blocks[0] != blocks[1]:
        raise ValueError(f"both operands are blocks, or none: {first.name} and {second.name}")
    columns: dict[str, Column] = {}
    if blocks[0]:
        pair = [_one_axis(first), _one_axis(second)]
        size = pair[0].block_size
        assert isinstance(size, int)
        terms = 2 * size if terms is None else whole_number("terms", terms, 1)
        if pair[1].block_size != size or terms % size:
            raise ValueError(
                f"terms must be whole blocks of both formats, got {terms} and blocks of {size} and "
                f"{pair[1].block_size}"
            )
        operands: Any = _block_operands(pair, terms, seed, count)
        for name, fmt, operand in zip("ab", pair, operands, strict=True):
            words = operand.codes.astype(np.uint64)
            columns[name] = Column(words, fmt.bits, "input", f"element of {fmt.name}")
            columns[f"{name}_scale"] = Column(
                operand.scales.astype(np.uint64), fmt.scale_bits, "input", f"scale of {fmt.name}"
            )
        formats = None
    else:
        terms = 16 if terms is None else whole_number("terms", terms, 1)
        singles = (_elementwise(first), _elementwise(second))
        operands = code_rows(singles, terms, seed, count)
        for name, single, codes in zip("ab", singles, operands, strict=True):
            words = _code_words(codes, single.bits)
            columns[name] = Column(words, single.bits, "input", single.name)
        formats = singles
    rows = len(columns["a"].words)
    start = _starts(rows, count, seed)
    total = products.dot(*operands, accumulator=accumulator, formats=formats, c=start)
    columns["c"] = _number_column(start.view(np.uint32).astype(np.uint64), "float32", "input")
    bits = total.view(f"u{total.itemsize}").astype(np.uint64)
    columns["expected"] = _number_column(bits, total.dtype.name, "expected")
    label = accumulator if isinstance(accumulator, str) else "accumulator"
    facts: dict[str, Any] = {
        "format": first.name, "format_b": second.name, "op": "dot", "accumulator": str(accumulator),
        "terms": terms, "seed": seed, "bits": first.bits, "bits_b": second.bits,
    }  # fmt: skip
    for name, operand in zip("ab", operands, strict=True):
        if getattr(operand, "tensor_scale", None) is not None:
            facts[f"{name}_tensor_scale"] = float(operand.tensor_scale)
    return Vectors(f"{first.name}-dot-{second.name}-{label}", facts, columns)


def _starts(rows: int, count: int, seed: int) -> NDArray[np.float32]:
    """Where totals start: at zero, and in every second random row at a random number."""
    start = np.zeros(rows, np.float32)
    words = random_words(seed, "c", count)
    exponents = 120 + (words >> np.uint64(56)) % np.uint64(16)
    mantissas = words & np.uint64((1 << 23) - 1)
    signs = words >> np.uint64(55) & np.uint64(1)
    bits = (signs << np.uint64(31) | exponents << np.uint64(23) | mantissas).astype(np.uint32)
    start[rows - count :] = np.where(np.arange(count) % 2, bits.view(np.float32), np.float32(0))
    return start


def _block_operands(formats: list[BlockFormat], terms: int, seed: int, count: int) -> list[Any]:
    """Rows of blocks of both formats; the corners of b against others of a."""
    made = []
    for turn, fmt in enumerate(formats):
        corners = np.concatenate(list(corner_blocks(fmt, "float32")))
        made.append(np.roll(corners, 5 * turn, axis=0))
    blocks = max(map(len, made))
    blocks += -blocks % (terms // made[0].shape[1])
    operands = []
    for fmt, corners, name in zip(formats, made, "ab", strict=True):
        rows = np.resize(corners, (blocks, corners.shape[1])).reshape(-1, terms)
        needed = count * terms // corners.shape[1]
        random = random_blocks(fmt, "float32", seed, name, needed)
        bits = np.concatenate([rows, random.reshape(-1, terms)])
        values = values_of(bits, "float32")
        if fmt.nonfinite == "raise":
            values = np.where(np.isfinite(values), values, np.float32(1))
        operands.append(_encoded(values, fmt, "nearest_even"))
    return operands
