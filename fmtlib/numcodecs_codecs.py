"""Codecs of numcodecs, for arrays of zarr's version 2 and whoever else takes them (extra: zarr).

numcodecs finds them by their entry points.  They are filters, the first of an array, since they
want to see its chunks' shape and type.  What comes back is flat, in the order of the chunk's
memory, as zarr expects.

A chunk is stored as by `fmtlib.zarr_codecs`, behind its shape, little-endian: the number of axes,
1 if they are reversed because the memory is in Fortran order (a byte each), the lengths (8 bytes
each).
"""

from __future__ import annotations

import struct
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import DTypeLike

from fmtlib.formats import Format, Overflow, Rounding
from fmtlib.stored_chunks import Compressed, Quantized, configuration_of, configured

try:
    from numcodecs.abc import Codec
except ImportError as error:
    raise ImportError("codecs of numcodecs need it: pip install 'fmtlib[zarr]'") from error

_MOST_AXES = 64


class _Filter(Codec):  # type: ignore[misc]
    """What both have in common."""

    kind: ClassVar[type[Quantized] | type[Compressed]]
    chunk: Quantized | Compressed
    dtype: np.dtype[Any]

    def encode(self, buf: Any) -> bytes:
        """The bytes of a chunk."""
        x, chunk = np.asarray(buf), self.chunk
        if x.dtype != self.dtype:
            raise TypeError(f"the codec is for {self.dtype}, got {x.dtype}")
        turned = x.flags.f_contiguous and not x.flags.c_contiguous
        if turned:
            x, chunk = x.T, chunk.reversed(x.ndim)
        return struct.pack(f"<BB{x.ndim}Q", x.ndim, turned, *x.shape) + chunk.encoded(x)

    def decode(self, buf: Any, out: Any = None) -> Any:
        """The values of the bytes of a chunk."""
        data = memoryview(buf).cast("B")
        ndim, turned = data[:2] if len(data) > 1 else (0, 2)
        if ndim > _MOST_AXES or turned > 1 or len(data) < 2 + 8 * ndim:
            raise ValueError("truncated or corrupted: the chunk has no shape")
        shape = struct.unpack_from(f"<{ndim}Q", data, 2)
        chunk = self.chunk.reversed(ndim) if turned else self.chunk
        values = chunk.decoded(data[2 + 8 * ndim :], shape, self.dtype).astype(
            self.dtype, copy=False
        )
        if out is None:
            return values.reshape(-1)
        into = np.frombuffer(out, self.dtype)
        into[:] = values.reshape(-1)
        return out

    def get_config(self) -> dict[str, Any]:
        """What an array's metadata say of it."""
        return {"id": self.codec_id, "dtype": self.dtype.str, **configuration_of(self.chunk)}

    @classmethod
    def from_config(cls, config: Any) -> Self:
        """The codec of an array's metadata."""
        rest = {name: value for name, value in config.items() if name not in ("id", "dtype")}
        if "dtype" not in config:
            raise ValueError(f"the configuration has no dtype: {dict(config)}")
        made = object.__new__(cls)
        made._set(configured(cls.kind, rest), config["dtype"])
        return made

    def _set(self, chunk: Any, dtype: DTypeLike) -> None:
        self.chunk, self.dtype = chunk, np.dtype(dtype)
        chunk.check_type(self.dtype)


class Quantize(_Filter):
    """The codec "fmtlib.quantize": floats as packed codes of any format, read as floats.

    Parameters
    ----------
    fmt : str or Format
    dtype : float16, float32 or float64
        Of the array.
    axis, rounding, overflow, scale, zero_point
        As of `fmtlib.zarr_codecs.Quantize`.

    Raises
    ------
    TypeError, ValueError
        As there; but chunks that cut blocks, and fill values, are not checked: numcodecs does not
        tell what the array is.

    Examples
    --------
    >>> import numpy as np, zarr, fmtlib as fl
    >>> from fmtlib.numcodecs_codecs import Quantize
    >>> x = np.random.default_rng(0).standard_normal((100, 200), dtype=np.float32)
    >>> stored = zarr.create_array(
    ...     {}, shape=x.shape, chunks=(50, 64), dtype=x.dtype, zarr_format=2,
    ...     filters=[Quantize("e4m3", x.dtype)], compressors=None,
    ... )
    >>> stored[:] = x
    >>> np.array_equal(stored[:], fl.quantize(x, "e4m3"))
    True
    """

    codec_id = "fmtlib.quantize"
    kind = Quantized

    def __init__(
        self,
        fmt: str | Format,
        dtype: DTypeLike,
        *,
        axis: int | tuple[int, int] | None = None,
        rounding: Rounding = "nearest_even",
        overflow: Overflow = "saturate",
        scale: float | None = None,
        zero_point: int | None = None,
    ) -> None:
        made = Quantized(fmt, axis, rounding, overflow, scale, zero_point)  # type: ignore[arg-type]
        self._set(made, dtype)


class Compress(_Filter):
    """The codec "fmtlib.compress": integers without loss, groups at widths of their own.

    Parameters
    ----------
    dtype : integers of 8, 16 or 32 bits
        Of the array.
    group_size, axis, zero_vector
        As of `fmtlib.compress`.

    Raises
    ------
    TypeError, ValueError
        If the type is another one, or what is read is not what was written.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib.numcodecs_codecs import Compress
    >>> compress = Compress("int16")
    >>> compress.decode(compress.encode(np.int16([[1, -2], [300, 4]])))
    array([  1,  -2, 300,   4], dtype=int16)
    """

    codec_id = "fmtlib.compress"
    kind = Compressed

    def __init__(
        self,
        dtype: DTypeLike,
        group_size: int = 16,
        axis: int = -1,
        *,
        zero_vector: bool | None = None,
    ) -> None:
        self._set(Compressed(group_size, axis, zero_vector), dtype)
