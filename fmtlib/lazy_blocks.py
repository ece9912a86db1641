"""Block formats of dask arrays: every chunk holds whole blocks and is worked on by itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmtlib import blocks, chunked
from fmtlib.blocks import BlockArray
from fmtlib.formats import BlockFormat
from fmtlib.random_words import Words

T = TypeVar("T")


def encode_blocks(
    x: Any,
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    words: Words | None,
    workers: int,
) -> BlockArray:
    """The lazy BlockArray of a dask array; arguments as of `fmtlib.blocks.encode_blocks`."""
    axes, sizes, amax = _prepared(x, fmt, axis)
    how: dict[str, Any] = {"fmt": fmt, "axis": axes, "workers": workers}
    how |= {"rounding": rounding, "random_bits": random_bits}
    function = partial(_on_part, verb=blocks.encode_blocks, **how)
    parts = chunked.map_chunks(function, x, *amax, dtype=object, words=words)
    codes = chunked.map_chunks(_codes, parts, dtype=fmt.code_dtype)
    chunks = chunked.shortened(x.chunks, sizes)
    scales = chunked.map_chunks(_scales, parts, dtype=fmt.scale_dtype, chunks=chunks)
    tensor = [chunked.map_chunks(partial(_tensor, fmt=fmt), a, dtype=np.float32) for a in amax]
    return BlockArray(codes, scales, fmt, axes, tensor[0] if tensor else None)


def quantize_blocks(
    x: Any,
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    words: Words | None,
    workers: int,
) -> Any:
    """The dask array of the values that `encode_blocks` stands for, in x's dtype."""
    axes, _, amax = _prepared(x, fmt, axis)
    how: dict[str, Any] = {"fmt": fmt, "axis": axes, "workers": workers}
    how |= {"rounding": rounding, "random_bits": random_bits}
    function = partial(_on_part, verb=blocks.quantize_blocks, **how)
    dtype = x.dtype.newbyteorder("=")
    return chunked.map_chunks(function, x, *amax, dtype=dtype, words=words)


def decode_blocks(b: BlockArray, dtype: np.dtype[Any], workers: int) -> Any:
    """The dask array of the values of a lazy BlockArray."""
    tensor = [] if b.tensor_scale is None else [b.tensor_scale]
    function = partial(_decode, fmt=b.format, axes=b.axis, dtype=dtype, workers=workers)
    return chunked.map_chunks(function, b.codes, b.scales, *tensor, dtype=dtype)


def _prepared(
    x: Any, fmt: BlockFormat, axis: int | tuple[int, int] | None
) -> tuple[int | tuple[int, int], dict[int, int], list[Any]]:
    """The blocked axes, their blocks, and the greatest finite magnitude if that counts."""
    axes = blocks.normalize_block_axis(axis, x.ndim, fmt)
    sizes = blocks.block_sizes(fmt, axes)
    chunked.check_whole(x, sizes)
    if not fmt.tensor_scale:
        return axes, sizes, []
    ones = tuple((1,) * n for n in x.numblocks)
    return axes, sizes, [chunked.map_chunks(_amax, x, dtype=np.float32, chunks=ones).max()]


# --- of one chunk -------------------------------------------------------------------------------


def _amax(part: NDArray[Any]) -> NDArray[np.float32]:
    return np.full((1,) * part.ndim, blocks.finite_max(part)[0])


def _tensor(amax: np.float32, fmt: BlockFormat) -> np.float32:
    return blocks.tensor_scales(np.float32(amax), fmt)[1]


def _on_part(
    part: NDArray[Any],
    amax: np.float32 | None = None,
    *,
    verb: Callable[..., T],
    seed: Words | None = None,
    **how: Any,
) -> T:
    return verb(part, words=seed, amax=amax, **how)


def _codes(part: BlockArray) -> NDArray[Any]:
    return part.codes


def _scales(part: BlockArray) -> NDArray[Any]:
    return part.scales


def _decode(
    codes: NDArray[Any],
    scales: NDArray[Any],
    tensor: np.float32 | None = None,
    *,
    fmt: BlockFormat,
    axes: int | tuple[int, int],
    dtype: np.dtype[Any],
    workers: int,
) -> NDArray[Any]:
    tensor = None if tensor is None else np.float32(tensor)
    return blocks.decode_blocks(BlockArray(codes, scales, fmt, axes, tensor), dtype, None, workers)
