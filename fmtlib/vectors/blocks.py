"""Vectors of block formats: blocks of numbers to codes and a scale."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib import reference
from fmtlib.arguments import whole_number
from fmtlib.codec import Mode, encode
from fmtlib.formats import BlockFormat, Format, Rounding, get_format
from fmtlib.vectors.files import Column, Vectors, number_column
from fmtlib.vectors.inputs import corner_blocks, random_blocks
from fmtlib.vectors.lfsr import LFSR, noise_source
from fmtlib.vectors.words import FIELDS, Words, infinity_of, number_type, values_of


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
    fmt = one_axis_format(fmt)
    dtype = number_type(dtype)
    random_bits, lfsr = noise_source(rounding, random_bits, lfsr)
    Mode.of(fmt, rounding, "saturate", random_bits)
    x = _blocks(fmt, dtype, seed, whole_number("count", count, 0))
    facts: dict[str, Any] = {
        "format": fmt.name, "op": "bfp", "rounding": rounding, "dtype": dtype, "seed": seed,
        "block_size": fmt.block_size, "bits": fmt.bits, "scale_bits": fmt.scale_bits,
    }  # fmt: skip
    columns = {"x": number_column(x, dtype, "input")._replace(values=None)}
    values = values_of(x, dtype)
    if random_bits is None or lfsr is None:
        encoded = encoded_blocks(values, fmt, rounding)
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


def one_axis_format(fmt: str | Format) -> BlockFormat:
    """The block format, if its blocks go along one axis."""
    fmt = get_format(fmt)
    if not isinstance(fmt, BlockFormat):
        raise TypeError(
            f"{fmt.name} is no block format: --op encode takes it, in Python encode_vectors"
        )
    if not isinstance(fmt.block_size, int):
        raise ValueError(f"the blocks must go along one axis, got {fmt.block_size} of {fmt.name}")
    return fmt


def encoded_blocks(values: NDArray[Any], fmt: BlockFormat, rounding: Rounding) -> Any:
    """Rows as blocks; what overflows or is NaN is wanted here."""
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
