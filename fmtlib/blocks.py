"""Arrays in a block format: element codes beside the scales that blocks of them share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels
from fmtlib.formats import BlockFormat

# Below this many elements per worker a thread costs more than it saves.
_WORKER_SHARE = 1 << 15


@dataclass(frozen=True, eq=False)
class BlockArray:
    """Codes and scales of an array in a block format.

    Made by `fmtlib.encode`; `fmtlib.decode` gives the values back.

    Attributes
    ----------
    codes : ndarray of unsigned integers
        Element codes, in the shape of the encoded array.  Integer elements are sign-magnitude,
        the sign at bit ``format.mantissa_bits``, or (MXINT8) the bits of their two's complement.
    scales : ndarray of unsigned integers
        Codes of the shared scales, with those of micro-exponents above them; a blocked axis has
        one entry per block.
    format : BlockFormat
    axis : int or (int, int)
        The blocked axis, counted from the front; for tiles the pair of axes that
        ``format.block_size`` goes along.
    tensor_scale : numpy.float32 or None
        With ``format.tensor_scale``, what all values are multiplied by besides: the reciprocal
        of the scale that encoding multiplied by, as NVFP4 stores it.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> b = fl.encode(np.array([1.0, -0.5, 0.25, 0.1]), fl.bfp(4, block_size=2))
    >>> b
    BlockArray(shape=(4,), format=bfp_m4_e8_g2, axis=0, nbytes=5)
    >>> fl.decode(b)
    array([ 1.     , -0.5    ,  0.25   ,  0.09375], dtype=float32)
    """

    codes: NDArray[Any]
    scales: NDArray[Any]
    format: BlockFormat
    axis: int | tuple[int, int]
    tensor_scale: np.float32 | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.format, BlockFormat):
            raise TypeError(f"format must be a BlockFormat, got {self.format!r}")
        for name in ("codes", "scales"):
            if type(getattr(self, name)) is not np.ndarray:
                raise TypeError(f"{name} must be a plain ndarray, got {type(getattr(self, name))}")
        axis = normalize_block_axis(self.axis, self.codes.ndim, self.format)
        object.__setattr__(self, "axis", axis)
        if self.codes.dtype != self.format.code_dtype:
            raise TypeError(f"codes must be {self.format.code_dtype}, got {self.codes.dtype}")
        if self.scales.dtype != self.format.scale_dtype:
            raise TypeError(f"scales must be {self.format.scale_dtype}, got {self.scales.dtype}")
        expected = scale_shape(self.codes.shape, axis, self.format.block_size)
        if self.scales.shape != expected:
            raise ValueError(
                f"codes of shape {self.codes.shape} in blocks of {self.format.block_size} along "
                f"axis {self.axis} have scales of shape {expected}, got {self.scales.shape}"
            )
        bits = self.format.bits
        if self.codes.size and int(self.codes.max()) >> bits:
            raise ValueError(f"codes must be below 2**{bits}, got {int(self.codes.max())}")
        scale_bits = self.format.scale_bits
        if self.scales.size and int(self.scales.max()) >> scale_bits:
            raise ValueError(f"scales must be below 2**{scale_bits}, got {int(self.scales.max())}")
        if self.format.tensor_scale:
            if not isinstance(self.tensor_scale, np.float32):
                raise TypeError(f"tensor_scale must be a float32, got {self.tensor_scale!r}")
            if not (np.isfinite(self.tensor_scale) and self.tensor_scale > 0):
                raise ValueError(
                    f"tensor_scale must be positive and finite, got {self.tensor_scale}"
                )
        elif self.tensor_scale is not None:
            raise ValueError(f"{self.format.name} has no tensor scale, got {self.tensor_scale!r}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the encoded array."""
        return self.codes.shape

    @property
    def ndim(self) -> int:
        """Number of dimensions of the encoded array."""
        return self.codes.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self.codes.size

    @property
    def nbytes(self) -> int:
        """Size in bytes when packed: ``bits`` per element and ``scale_bits`` per block.

        A scale of the tensor adds its 32 bits.
        """
        bits = self.size * self.format.bits + self.scales.size * self.format.scale_bits
        bits += 32 * self.format.tensor_scale
        return -(-bits // 8)

    def __repr__(self) -> str:
        return (
            f"BlockArray(shape={self.shape}, format={self.format.name}, axis={self.axis}, "
            f"nbytes={self.nbytes})"
        )


def normalize_axis(axis: object, ndim: int) -> int:
    """The axis counted from the front; None is the last one."""
    if ndim == 0:
        raise ValueError("an axis needs an array with at least one dimension, got a 0-d one")
    if axis is None:
        return ndim - 1
    if isinstance(axis, bool) or not isinstance(axis, (int, np.integer)):
        raise TypeError(f"axis must be an integer or None, got {axis!r}")
    if not -ndim <= axis < ndim:
        raise np.exceptions.AxisError(int(axis), ndim)
    return int(axis) % ndim


def normalize_block_axis(axis: object, ndim: int, fmt: BlockFormat) -> int | tuple[int, int]:
    """The axis of blocks, or the pair of axes of tiles; None is the last, or the last two."""
    if not isinstance(fmt.block_size, tuple):
        return normalize_axis(axis, ndim)
    if ndim < 2:
        raise ValueError(f"{fmt.name} has tiles: it needs at least two dimensions, got {ndim}")
    if axis is None:
        return ndim - 2, ndim - 1
    if not isinstance(axis, (tuple, list)) or len(axis) != 2:
        raise TypeError(f"axis must be a pair of integers or None for {fmt.name}, got {axis!r}")
    first, second = (normalize_axis(one, ndim) for one in axis)
    if first == second:
        raise ValueError(f"the axes of tiles must be two, got {axis!r}")
    return first, second


def for_kernels(x: NDArray[Any]) -> NDArray[Any]:
    """The array as kernels read it: C-contiguous, aligned, of native byte order."""
    return np.require(x, x.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])


def scale_shape(
    shape: tuple[int, ...], axis: int | tuple[int, int], block_size: int | tuple[int, int]
) -> tuple[int, ...]:
    """Shape of the scales: ceil(n / block_size) along the axis, or along both."""
    axes = axis if isinstance(axis, tuple) else (axis,)
    sizes = block_size if isinstance(block_size, tuple) else (block_size,)
    result = list(shape)
    for one, size in zip(axes, sizes, strict=True):
        result[one] = -(-shape[one] // size)
    return tuple(result)


def split_axis(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The shape as (outer, length of the axis, inner)."""
    outer = int(np.prod(shape[:axis], dtype=np.int64))
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    return outer, shape[axis], inner


def _split_axes(shape: tuple[int, ...], axis: int | tuple[int, int]) -> tuple[int, ...]:
    """The shape as kernels see it: (outer, rows, middle, columns, inner), tiles over rows, columns.

    Blocks along one axis have it as columns.
    """
    if isinstance(axis, int):
        outer, length, inner = split_axis(shape, axis)
        return outer, 1, 1, length, inner
    first, second = sorted(axis)
    outer, columns, inner = split_axis(shape, second)
    outer, rows, middle = split_axis(shape[:second], first)
    return outer, rows, middle, columns, inner


def _kernel_format(fmt: BlockFormat, axis: int | tuple[int, int]) -> BlockFormat:
    """The format with its tile in the order of the axes in memory."""
    if isinstance(axis, tuple) and isinstance(fmt.block_size, tuple) and axis[0] > axis[1]:
        return replace(fmt, block_size=fmt.block_size[::-1])
    return fmt


def _bits_view(x: NDArray[Any]) -> NDArray[Any]:
    """bfloat16 arrays as their bits; NumPy's own types as they are."""
    return x.view(np.uint16) if x.dtype.name == "bfloat16" else x


def _in_parts(work: Callable[[int, int], bool], outer: int, size: int, workers: int) -> bool:
    """Whether any of the calls that share 0..outer among the workers returns True."""
    parts = max(1, min(workers, outer, size // _WORKER_SHARE))
    bounds = [outer * i // parts for i in range(parts + 1)]
    if parts == 1:
        return work(0, outer)
    with ThreadPoolExecutor(parts) as pool:
        return any(list(pool.map(work, bounds[:-1], bounds[1:])))


def _tensor_scales(x: NDArray[Any], source: str, fmt: BlockFormat) -> tuple[np.float32, np.float32]:
    """Scales of a whole array: what encoding multiplies by, and its reciprocal.

    NVFP4's, each step in float32; see `BlockFormat`.
    """
    amax = kernels.finite_max(x, source)
    one, greatest = np.float32(1), np.finfo(np.float32).max
    if amax == 0:
        return one, one
    with np.errstate(over="ignore", under="ignore"):
        scale = min(np.float32(fmt.element.max * fmt.scale.max) / amax, greatest)
        return scale, one / scale


def _run(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | tuple[int, int],
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
    out: NDArray[Any],
    scales: NDArray[Any] | None,
) -> np.float32 | None:
    """Encode, or without scales quantise, into `out`; returns the tensor's scale, if any."""
    source = x.dtype.name
    shape = _split_axes(x.shape, axis)
    ordered = _kernel_format(fmt, axis)
    x5 = _bits_view(for_kernels(x)).reshape(shape)
    out5 = _bits_view(out).reshape(shape)
    scales5 = None
    if scales is not None:
        scales5 = scales.reshape(_split_axes(scales.shape, axis))
    row = int(np.prod(shape[1:], dtype=np.int64))
    encode_scale = decode_scale = np.float32(1)
    if fmt.tensor_scale:
        encode_scale, decode_scale = _tensor_scales(x5, source, fmt)

    def work(start: int, stop: int) -> bool:
        part = None if scales5 is None else scales5[start:stop]
        return kernels.encode_blocks(
            x5[start:stop], source, ordered, rounding, random_bits, *key, start * row,
            out5[start:stop], part, float(encode_scale), float(decode_scale),
        )  # fmt: skip

    if _in_parts(work, shape[0], x.size, workers) and fmt.nonfinite == "raise":
        raise ValueError(
            f"the array holds NaN or infinity and {fmt.name} has nonfinite='raise'; "
            "nonfinite='nan' makes such blocks NaN"
        )
    return decode_scale if fmt.tensor_scale else None


def encode_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
) -> BlockArray:
    """Encode a float array; `key` is the (seed, stream) of the random words."""
    axes = normalize_block_axis(axis, x.ndim, fmt)
    codes = np.empty(x.shape, fmt.code_dtype)
    scales = np.empty(scale_shape(x.shape, axes, fmt.block_size), fmt.scale_dtype)
    tensor_scale = _run(x, fmt, axes, rounding, random_bits, key, workers, codes, scales)
    return BlockArray(codes, scales, fmt, axes, tensor_scale)


def quantize_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
) -> NDArray[Any]:
    """The values that `encode_blocks` stands for, in x's dtype."""
    axes = normalize_block_axis(axis, x.ndim, fmt)
    out = np.empty(x.shape, x.dtype.newbyteorder("="))
    _run(x, fmt, axes, rounding, random_bits, key, workers, out, None)
    return out


def decode_blocks(b: BlockArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of the array in a float type."""
    shape = _split_axes(b.shape, b.axis)
    out = np.empty(b.shape, dtype)
    kernels.decode_blocks(
        for_kernels(b.codes).reshape(shape),
        for_kernels(b.scales).reshape(_split_axes(b.scales.shape, b.axis)),
        _kernel_format(b.format, b.axis),
        dtype.name,
        _bits_view(out).reshape(shape),
        1.0 if b.tensor_scale is None else float(b.tensor_scale),
    )
    return out
