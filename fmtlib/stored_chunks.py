"""Chunks of arrays as bytes: what the codecs of zarr and numcodecs store, and nothing of theirs."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from fmtlib import codec
from fmtlib._core import kernels
from fmtlib.arguments import whole_number
from fmtlib.blocks import BlockArray, block_sizes, normalize_axis, normalize_block_axis
from fmtlib.compression import CompressedArray, compress, decompress
from fmtlib.formats import STOCHASTIC, BlockFormat, get_format
from fmtlib.packing import pack, unpack
from fmtlib.precision import INTEGERS

C = TypeVar("C", bound="Quantized | Compressed")


@dataclass(frozen=True)
class Quantized:
    """Floats as packed codes of a format.

    A chunk in an elementwise format is ``pack(encode(x), fmt)`` and its CRC-32C, 4 bytes,
    little-endian; in a block format it is `BlockArray.tobytes`.

    Attributes
    ----------
    format : str
        The name of any format: of the table, or of a record, such as "bfp_m4_e8_g16".
    axis : int, (int, int) or None
        Of a block format, as of `encode`.
    rounding, overflow, scale, zero_point
        As of `encode`; scalars, and no stochastic rounding: a chunk does not know its place.
    """

    format: str
    axis: int | tuple[int, int] | None = None
    rounding: str = "nearest_even"
    overflow: str = "saturate"
    scale: float | None = None
    zero_point: int | None = None

    def __post_init__(self) -> None:
        fmt = get_format(self.format)
        if get_format(fmt.name) != fmt:
            raise ValueError(f"the format has no name that could be stored: {fmt!r}")
        object.__setattr__(self, "format", fmt.name)
        if isinstance(self.axis, list):
            object.__setattr__(self, "axis", tuple(self.axis))
        codec.Mode.of(fmt, self.rounding, self.overflow, None)
        if self.rounding in STOCHASTIC:
            raise ValueError(
                f"rounding={self.rounding!r} needs the place of a chunk, which is not known here: "
                "quantize with a seed before storing"
            )
        for name in ("scale", "zero_point"):
            if np.ndim(getattr(self, name) or 0):
                raise ValueError(f"{name} must be a scalar, got {getattr(self, name)!r}")
        if self.axis is not None and not isinstance(fmt, BlockFormat):
            raise ValueError(f"axis is for block formats, not for {fmt.name}")
        tiles = isinstance(fmt, BlockFormat) and isinstance(fmt.block_size, tuple)
        codec.encode(np.zeros((1, 1) if tiles else 1), fmt, **self._how)  # which checks the rest

    def check_type(self, dtype: np.dtype[Any]) -> None:
        """Refuse arrays of a type that it cannot store."""
        fmt = get_format(self.format)
        if dtype.name not in ("float16", "float32", "float64"):
            raise TypeError(f"stored values must be float16, float32 or float64, got {dtype}")
        if not fmt.fits(dtype.name):
            raise TypeError(
                f"{dtype} cannot hold every value of {fmt.name}; {fmt.smallest_dtype} is the "
                "smallest type that can"
            )

    def check_chunks(self, shape: tuple[int, ...], whole: tuple[int, ...]) -> None:
        """Refuse chunks of a shape, of arrays of the shape `whole`, that would cut blocks."""
        fmt = get_format(self.format)
        if not isinstance(fmt, BlockFormat):
            return
        axes = normalize_block_axis(self.axis, len(shape), fmt)
        for axis, size in block_sizes(fmt, axes).items():
            if shape[axis] % size and shape[axis] < whole[axis]:
                raise ValueError(
                    f"chunks of {shape[axis]} along axis {axis} would cut blocks of {size}: make "
                    "them multiples, or the axis one chunk"
                )

    def reversed(self, ndim: int) -> Quantized:
        """The same for arrays of so many axes that are in reverse order."""
        fmt = get_format(self.format)
        if not isinstance(fmt, BlockFormat):
            return self
        axes = normalize_block_axis(self.axis, ndim, fmt)
        if isinstance(axes, tuple):
            return replace(self, axis=(ndim - 1 - axes[0], ndim - 1 - axes[1]))
        return replace(self, axis=ndim - 1 - axes)

    def check_fill(self, fill: Any, dtype: np.dtype[Any]) -> None:
        """Refuse a fill value that would read otherwise once its chunk is stored."""
        fmt = get_format(self.format)
        size = fmt.block_size if isinstance(fmt, BlockFormat) else 1
        block = np.full(size, fill, dtype)
        with np.errstate(invalid="ignore"):
            stored = codec.quantize(block, fmt, **self._how)
        if not np.array_equal(stored, block, equal_nan=True):
            raise ValueError(
                f"fill_value must be a value that {fmt.name} holds, such as 0, got {fill}"
            )

    def encoded(self, x: NDArray[Any]) -> bytes:
        """The bytes of a chunk."""
        codes = codec.encode(x, self.format, axis=self.axis, **self._how)
        if isinstance(codes, BlockArray):
            return codes.tobytes()
        packed = pack(codes, self.format)
        return b"".join([packed.data, struct.pack("<I", kernels.crc32c(packed))])

    def decoded(self, data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The values of the bytes of a chunk, of which nothing is trusted."""
        fmt = get_format(self.format)
        view = memoryview(data).cast("B")
        if isinstance(fmt, BlockFormat):
            blocks = BlockArray.frombytes(view)
            axis = normalize_block_axis(self.axis, len(shape), fmt)
            found = blocks.format.name, blocks.shape, blocks.axis
            if found != (fmt.name, shape, axis):
                raise ValueError(
                    f"corrupted: a chunk of {fmt.name}, shape {shape} and axis {axis} is stored as "
                    "{}, shape {} and axis {}".format(*found)
                )
            return codec.decode(blocks, dtype=dtype)
        size = kernels.packed_size(math.prod(shape), fmt.bits)
        if len(view) != size + 4:
            raise ValueError(
                f"truncated or corrupted: a chunk of shape {shape} in {fmt.name} has {size + 4} "
                f"bytes, got {len(view)}"
            )
        if kernels.crc32c(view[:-4]) != struct.unpack("<I", view[-4:])[0]:
            raise ValueError("corrupted: the checksum (CRC-32C) of the chunk is wrong")
        codes = unpack(view[:-4], fmt, shape)
        values: NDArray[Any] = codec.decode(
            codes, fmt, dtype=dtype, scale=self.scale, zero_point=self.zero_point
        )
        return np.asarray(values)

    @property
    def _how(self) -> dict[str, Any]:
        return {
            name: getattr(self, name) for name in ("rounding", "overflow", "scale", "zero_point")
        }


@dataclass(frozen=True)
class Compressed:
    """Integers of 8, 16 or 32 bits without loss, as `CompressedArray.tobytes`.

    Attributes
    ----------
    group_size, axis, zero_vector
        As of `compress`.
    """

    group_size: int = 16
    axis: int = -1
    zero_vector: bool | None = None

    def __post_init__(self) -> None:
        whole_number("group_size", self.group_size, 1)
        whole_number("axis", self.axis, -64, 63)
        if self.zero_vector not in (None, True, False):
            raise TypeError(f"zero_vector must be True, False or None, got {self.zero_vector!r}")

    def check_type(self, dtype: np.dtype[Any]) -> None:
        """Refuse arrays of a type that it cannot store."""
        if dtype.newbyteorder("=").name not in INTEGERS:
            raise TypeError(f"values to compress must be {', '.join(INTEGERS)}, got {dtype}")

    def check_chunks(self, shape: tuple[int, ...], whole: tuple[int, ...]) -> None:
        """Refuse chunks that have no such axis."""
        normalize_axis(self.axis, len(shape))

    def reversed(self, ndim: int) -> Compressed:
        """The same for arrays of so many axes that are in reverse order."""
        return replace(self, axis=ndim - 1 - normalize_axis(self.axis, ndim))

    def encoded(self, x: NDArray[Any]) -> bytes:
        """The bytes of a chunk."""
        c: CompressedArray = compress(x, self.group_size, self.axis, zero_vector=self.zero_vector)
        return c.tobytes()

    def decoded(self, data: Any, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """The integers of the bytes of a chunk, of which nothing is trusted."""
        c = CompressedArray.frombytes(memoryview(data).cast("B"))
        if (c.shape, c.dtype) != (shape, dtype.newbyteorder("=")):
            raise ValueError(
                f"corrupted: a chunk of {dtype} and shape {shape} is stored as {c.dtype} and shape "
                f"{c.shape}"
            )
        return decompress(c)


def configured(kind: type[C], configuration: Mapping[str, Any]) -> C:
    """The codec of what was read as JSON.

    Raises
    ------
    TypeError, ValueError
        If it is not what `configuration_of` gives.
    """
    known = [field.name for field in fields(kind)]
    if unknown := set(configuration) - set(known):
        raise ValueError(
            f"{', '.join(sorted(unknown))} is unknown: a codec has {', '.join(known)}; or this "
            "fmtlib is too old"
        )
    return kind(**configuration)


def configuration_of(made: Quantized | Compressed) -> dict[str, Any]:
    """What to store as JSON, without what is as by default.

    Examples
    --------
    >>> configuration_of(Quantized("e4m3", scale=0.5))
    {'format': 'float8_e4m3fn', 'scale': 0.5}
    """
    said = {field.name: (getattr(made, field.name), field.default) for field in fields(made)}
    kept = {name: value for name, (value, default) in said.items() if value != default}
    return {
        name: list(value) if isinstance(value, tuple) else value for name, value in kept.items()
    }
