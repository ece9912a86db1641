"""Codecs of zarr, version 3: arrays that are stored in a format or compressed (extra: zarr).

zarr finds them by their entry points: whoever has fmtlib installed reads such arrays as any other.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Self, TypeVar

from fmtlib.formats import Format, Overflow, Rounding
from fmtlib.stored_chunks import Compressed, Quantized, configuration_of, configured

try:
    from zarr.abc.codec import ArrayBytesCodec
    from zarr.core.common import parse_named_configuration
except ImportError as error:
    raise ImportError("codecs of zarr need zarr 3: pip install 'fmtlib[zarr]'") from error

if TYPE_CHECKING:
    from zarr.core.array_spec import ArraySpec
    from zarr.core.buffer import Buffer, NDBuffer

S = TypeVar("S", Quantized, Compressed)


class _Codec(ArrayBytesCodec):
    """What both have in common; subclasses are dataclasses of what they store chunks as."""

    name: ClassVar[str]
    kind: ClassVar[type[Quantized] | type[Compressed]]
    is_fixed_size = False
    chunk: Any

    @classmethod
    def from_dict(cls, data: Any) -> Self:
        """The codec of an array's metadata."""
        _, configuration = parse_named_configuration(data, cls.name, require_configuration=False)
        made = object.__new__(cls)
        object.__setattr__(made, "chunk", configured(cls.kind, configuration or {}))
        return made

    def to_dict(self) -> dict[str, Any]:
        """What an array's metadata say of it."""
        return {"name": self.name, "configuration": configuration_of(self.chunk)}

    def validate(self, *, shape: tuple[int, ...], dtype: Any, chunk_grid: Any) -> None:
        """Refuse arrays that cannot be stored so."""
        chunks = getattr(chunk_grid, "chunk_shape", shape)
        self.chunk.check_type(dtype.to_native_dtype())
        self.chunk.check_chunks(tuple(chunks), tuple(shape))

    async def _encode_single(self, chunk_data: NDBuffer, chunk_spec: ArraySpec) -> Buffer | None:
        array = chunk_data.as_numpy_array()
        data = await asyncio.to_thread(self.chunk.encoded, array)
        return chunk_spec.prototype.buffer.from_bytes(data)

    async def _decode_single(self, chunk_data: Buffer, chunk_spec: ArraySpec) -> NDBuffer:
        dtype = chunk_spec.dtype.to_native_dtype()
        stored = chunk_data.as_numpy_array()
        array = await asyncio.to_thread(self.chunk.decoded, stored, chunk_spec.shape, dtype)
        return chunk_spec.prototype.nd_buffer.from_numpy_array(array.astype(dtype, copy=False))

    def compute_encoded_size(self, input_byte_length: int, chunk_spec: ArraySpec) -> int:
        """Sizes depend on the values."""
        raise NotImplementedError


@dataclass(frozen=True, init=False)
class Quantize(_Codec):
    """The codec "fmtlib.quantize": floats as packed codes of any format, read as floats.

    A serializer of ``zarr.create_array``, for float16, float32 and float64.  What is read is
    ``fmtlib.quantize`` of each chunk: of the whole array, if the format has no scale of the tensor
    and no chunk cuts a block, which is checked.

    Parameters
    ----------
    fmt : str or Format
    axis : int or (int, int), optional
        Of a block format; by default the last, or the last two.
    rounding, overflow
        As of `encode`, but not stochastic.
    scale, zero_point : scalars, optional
        As of `encode`.

    Raises
    ------
    TypeError, ValueError
        As of `encode`.  When an array is made or opened: if its type cannot hold the format, its
        chunks cut blocks, or its fill value is none of the format.  When a chunk is read: if it is
        not what was written.

    Notes
    -----
    A chunk at the end of an array is filled up with the fill value, which shares the scale of a
    last, shorter block: 0 changes nothing.

    Examples
    --------
    >>> import numpy as np, zarr, fmtlib as fl
    >>> from fmtlib.zarr_codecs import Quantize
    >>> x = np.random.default_rng(0).standard_normal((100, 200), dtype=np.float32)
    >>> stored = zarr.create_array(
    ...     {}, shape=x.shape, chunks=(50, 64), dtype=x.dtype,
    ...     serializer=Quantize(fl.bfp(4), axis=1), compressors=None,
    ... )
    >>> stored[:] = x
    >>> np.array_equal(stored[:], fl.quantize(x, fl.bfp(4), axis=1))
    True
    >>> x.nbytes > 4 * stored.nbytes_stored()
    True
    """

    name = "fmtlib.quantize"
    kind = Quantized
    chunk: Quantized

    def __init__(
        self,
        fmt: str | Format,
        *,
        axis: int | tuple[int, int] | None = None,
        rounding: Rounding = "nearest_even",
        overflow: Overflow = "saturate",
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> None:
        made = Quantized(fmt, axis, rounding, overflow, scale, zero_point)  # type: ignore[arg-type]
        object.__setattr__(self, "chunk", made)

    def evolve_from_array_spec(self, array_spec: ArraySpec) -> Self:
        """Refuse fill values that would read otherwise once stored."""
        dtype = array_spec.dtype.to_native_dtype()
        self.chunk.check_type(dtype)
        self.chunk.check_fill(array_spec.fill_value, dtype)
        return self


@dataclass(frozen=True, init=False)
class Compress(_Codec):
    """The codec "fmtlib.compress": integers without loss, groups at widths of their own.

    A serializer of ``zarr.create_array``, for integers of 8, 16 and 32 bits; see `fmtlib.compress`.

    Parameters
    ----------
    group_size, axis, zero_vector
        As of `fmtlib.compress`.

    Raises
    ------
    TypeError, ValueError
        When an array is made or opened: if it has another type or no such axis.  When a chunk is
        read: if it is not what was written.

    Examples
    --------
    >>> import numpy as np, zarr
    >>> from fmtlib.zarr_codecs import Compress
    >>> x = np.random.default_rng(0).poisson(3, (100, 200)).astype(np.int16)
    >>> stored = zarr.create_array(
    ...     {}, shape=x.shape, chunks=(50, 200), dtype=x.dtype, serializer=Compress(),
    ...     compressors=None,
    ... )
    >>> stored[:] = x
    >>> np.array_equal(stored[:], x), x.nbytes > 3 * stored.nbytes_stored()
    (True, True)
    """

    name = "fmtlib.compress"
    kind = Compressed
    chunk: Compressed

    def __init__(
        self, group_size: int = 16, axis: int = -1, *, zero_vector: bool | None = None
    ) -> None:
        object.__setattr__(self, "chunk", Compressed(group_size, axis, zero_vector))
