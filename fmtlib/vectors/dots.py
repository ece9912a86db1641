"""Vectors of dot products: codes of two operands to a total."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib import products
from fmtlib.accumulators import Accumulator
from fmtlib.arguments import whole_number
from fmtlib.formats import BlockFormat, Format, get_format
from fmtlib.vectors.blocks import encoded_blocks, one_axis_format
from fmtlib.vectors.elementwise import elementwise_format
from fmtlib.vectors.files import Column, Vectors, number_column
from fmtlib.vectors.inputs import code_rows, corner_blocks, random_blocks, random_words
from fmtlib.vectors.words import code_words, values_of


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
        pair = [one_axis_format(first), one_axis_format(second)]
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
        singles = (elementwise_format(first), elementwise_format(second))
        operands = code_rows(singles, terms, seed, count)
        for name, single, codes in zip("ab", singles, operands, strict=True):
            words = code_words(codes, single.bits)
            columns[name] = Column(words, single.bits, "input", single.name)
        formats = singles
    rows = len(columns["a"].words)
    start = _starts(rows, count, seed)
    total = products.dot(*operands, accumulator=accumulator, formats=formats, c=start)
    columns["c"] = number_column(start.view(np.uint32).astype(np.uint64), "float32", "input")
    bits = total.view(f"u{total.itemsize}").astype(np.uint64)
    columns["expected"] = number_column(bits, total.dtype.name, "expected")
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
        operands.append(encoded_blocks(values, fmt, "nearest_even"))
    return operands
