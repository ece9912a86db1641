"""Arrays in a block format: element codes beside the scales that blocks of them share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
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
        Element codes, in the shape of the encoded array; sign-magnitude, the sign at bit
        ``format.mantissa_bits``.
    scales : ndarray of uint8
        Codes of the shared scales; the blocked axis has one entry per block.
    format : BlockFormat
    axis : int
        The blocked axis, counted from the front.

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
    scales: NDArray[np.uint8]
    format: BlockFormat
    axis: int

    def __post_init__(self) -> None:
        if not isinstance(self.format, BlockFormat):
            raise TypeError(f"format must be a BlockFormat, got {self.format!r}")
        for name in ("codes", "scales"):
            if type(getattr(self, name)) is not np.ndarray:
                raise TypeError(f"{name} must be a plain ndarray, got {type(getattr(self, name))}")
        object.__setattr__(self, "axis", normalize_axis(self.axis, self.codes.ndim))
        if self.codes.dtype != self.format.code_dtype:
            raise TypeError(f"codes must be {self.format.code_dtype}, got {self.codes.dtype}")
        if self.scales.dtype != self.format.scale_dtype:
            raise TypeError(f"scales must be {self.format.scale_dtype}, got {self.scales.dtype}")
        expected = scale_shape(self.codes.shape, self.axis, self.format.block_size)
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
        """Size in bytes when packed: ``bits`` per element and ``scale_bits`` per block."""
        bits = self.size * self.format.bits + self.scales.size * self.format.scale_bits
        return -(-bits // 8)

    def __repr__(self) -> str:
        return (
            f"BlockArray(shape={self.shape}, format={self.format.name}, axis={self.axis}, "
            f"nbytes={self.nbytes})"
        )


def normalize_axis(axis: int | None, ndim: int) -> int:
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


def for_kernels(x: NDArray[Any]) -> NDArray[Any]:
    """The array as kernels read it: C-contiguous, aligned, of native byte order."""
    return np.require(x, x.dtype.newbyteorder("="), ["C_CONTIGUOUS", "ALIGNED"])


def scale_shape(shape: tuple[int, ...], axis: int, block_size: int) -> tuple[int, ...]:
    """Shape of the scales: ceil(n / block_size) along the axis."""
    return (*shape[:axis], -(-shape[axis] // block_size), *shape[axis + 1 :])


def split_axis(shape: tuple[int, ...], axis: int) -> tuple[int, int, int]:
    """The shape as (outer, length of the axis, inner)."""
    outer = int(np.prod(shape[:axis], dtype=np.int64))
    inner = int(np.prod(shape[axis + 1 :], dtype=np.int64))
    return outer, shape[axis], inner


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


def _run(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int,
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
    out: NDArray[Any],
    scales: NDArray[np.uint8] | None,
) -> None:
    source = x.dtype.name
    shape = split_axis(x.shape, axis)
    x3 = _bits_view(for_kernels(x)).reshape(shape)
    out3 = _bits_view(out).reshape(shape)
    scales3 = None if scales is None else scales.reshape(scale_shape(shape, 1, fmt.block_size))
    row = shape[1] * shape[2]

    def work(start: int, stop: int) -> bool:
        part = None if scales3 is None else scales3[start:stop]
        return kernels.encode_blocks(
            x3[start:stop], source, fmt, rounding, random_bits, *key, start * row,
            out3[start:stop], part,
        )  # fmt: skip

    if _in_parts(work, shape[0], x.size, workers) and fmt.nonfinite == "raise":
        raise ValueError(
            f"the array holds NaN or infinity and {fmt.name} has nonfinite='raise'; "
            "nonfinite='nan' makes such blocks NaN"
        )


def encode_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | None,
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
) -> BlockArray:
    """Encode a float array; `key` is the (seed, stream) of the random words."""
    axis = normalize_axis(axis, x.ndim)
    codes = np.empty(x.shape, fmt.code_dtype)
    scales = np.empty(scale_shape(x.shape, axis, fmt.block_size), np.uint8)
    _run(x, fmt, axis, rounding, random_bits, key, workers, codes, scales)
    return BlockArray(codes, scales, fmt, axis)


def quantize_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | None,
    rounding: str,
    random_bits: int,
    key: tuple[int, int],
    workers: int,
) -> NDArray[Any]:
    """The values that `encode_blocks` stands for, in x's dtype."""
    axis = normalize_axis(axis, x.ndim)
    out = np.empty(x.shape, x.dtype.newbyteorder("="))
    _run(x, fmt, axis, rounding, random_bits, key, workers, out, None)
    return out


def decode_blocks(b: BlockArray, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of the array as float32 or float64."""
    shape = split_axis(b.shape, b.axis)
    out = np.empty(b.shape, dtype)
    kernels.decode_blocks(
        for_kernels(b.codes).reshape(shape),
        for_kernels(b.scales).reshape(scale_shape(shape, 1, b.format.block_size)),
        b.format,
        out.reshape(shape),
    )
    return out
