"""Lossless compression of integers in small groups, each at the width that it needs.

DPRed and ShapeShifter store a group of neighbouring values at the width of the widest, which a
short header tells, and may leave out the zeros, which a bit of each value tells.  Streams, each in
little-endian bit order (bit j is bit ``j % 8`` of byte ``j // 8``) and without gaps:

- headers: for each group its width less one, in 3, 4 or 5 bits (8-, 16-, 32-bit integers), and one
  more bit where groups have signs of their own;
- zero vectors, if there are any: a bit of each value, 1 if it is not zero;
- payload: of each value (that is not zero) as many low bits as its group is wide.  Signed groups
  hold two's complement.

Values come in C order of the array with the groups' axis moved last; the last group of a row may be
shorter.  Whether groups have signs (none, all, each for itself), and zero vectors or not, is chosen
for the whole array as takes least.

That is "dpred", in C and at the speed of memory.  The encodings that it competes with
(`fmtlib.bricks`) fill the same three streams in their own ways, for comparison.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import bricks, chunked
from fmtlib._core import kernels
from fmtlib.arguments import is_lazy, whole_number
from fmtlib.axes import axis_back, axis_last, is_plain, rows_of_groups
from fmtlib.blocks import normalize_axis
from fmtlib.precision import INTEGERS, integer_array

Encoding = Literal[
    "dpred", "raw", "profiled", "zero_run", "zfnaf", "roe", "viai", "indirection"
]  # fmt: skip

_MAGIC, _VERSION = b"\x93fmtgroups", 1
_HEADER = struct.Struct("<10s8B2Q")  # and the shape, 8 bytes a length
_ENCODINGS = ("dpred", *bricks.CODECS)  # by number
_SIGNS = ("none", "all", "each")
_MOST_VALUES = 1 << 16  # of a brick
_SLAB = 1 << 20  # bytes that are copied at once
_FEW_COLUMNS = 16  # fewer are measured one after the other
_EVERY = 64  # groups from one known place in the payload to the next


@dataclass(frozen=True, eq=False, repr=False)
class CompressedArray:
    """An array of integers as `compress` stores it.

    Attributes
    ----------
    encoding : str
    shape : tuple of int
    dtype : dtype
    group_size : int
    axis : int
        Of the groups, counted from the front.
    signs : {"none", "all", "each"}
        Which groups hold values of fewer bits with signs of their own.
    zero_vector : bool
        Whether a bit of each value tells whether it is zero.
    headers, zeros, payload : ndarray of uint8
        The streams: headers are widths, flags, offsets, pointers or lengths of runs.
    payload_bits : int
        Bits of the payload that are used.
    pointer_bits : int
        Of each header of "indirection"; else 0.
    """

    encoding: Encoding
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    group_size: int
    axis: int
    signs: Literal["none", "all", "each"]
    zero_vector: bool
    headers: NDArray[np.uint8]
    zeros: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    payload_bits: int
    pointer_bits: int = 0

    def __repr__(self) -> str:
        return (
            f"CompressedArray(encoding={self.encoding!r}, shape={self.shape}, dtype={self.dtype}, "
            f"group_size={self.group_size}, axis={self.axis}, signs={self.signs!r}, "
            f"zero_vector={self.zero_vector}, nbytes={self.nbytes}, ratio={self.ratio:.3g})"
        )

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    @property
    def grid(self) -> tuple[int, ...]:
        """How many groups there are along each axis, that of the groups moved last."""
        rows = (*self.shape[: self.axis], *self.shape[self.axis + 1 :])
        return (*rows, -(-self.shape[self.axis] // self.group_size))

    @property
    def groups(self) -> int:
        """Number of groups."""
        return math.prod(self.grid)

    @property
    def header_bits(self) -> int:
        """Bits of all headers."""
        if self.encoding == "dpred":
            return self.groups * _header_width(self.dtype, self.signs)
        number, width = self._brick_codec.headers(self._layout, self._words)
        return number * width

    @property
    def zero_vector_bits(self) -> int:
        """Bits that tell which values are zero."""
        return self.size if self.zero_vector else 0

    @property
    def bits(self) -> int:
        """Bits of all streams."""
        return self.header_bits + self.zero_vector_bits + self.payload_bits

    @property
    def nbytes(self) -> int:
        """Bytes of `tobytes`, everything included."""
        streams = self.headers.size + self.zeros.size + self.payload.size
        return _HEADER.size + 8 * len(self.shape) + streams + 4

    @property
    def ratio(self) -> float:
        """Bytes of the array per byte of `tobytes`."""
        return self.size * self.dtype.itemsize / self.nbytes

    def widths(self) -> NDArray[np.uint8]:
        """Width of each group, in the shape of `grid`; of "dpred" alone."""
        self._check_grouped()
        below = self._unpacked & np.uint8(8 * self.dtype.itemsize - 1)
        return (below + np.uint8(1)).reshape(self.grid)

    def read(self, start: int, stop: int | None = None) -> NDArray[Any]:
        """Values of the groups `start` to ``stop - 1`` of "dpred", without decoding the others.

        Parameters
        ----------
        start, stop : int
            Numbers of groups in C order of `grid`; one group if `stop` is not given.

        Returns
        -------
        ndarray
            One-dimensional: the groups' values one after the other.

        Raises
        ------
        IndexError
            If there is no such group.
        ValueError
            If the encoding is another one.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> c = fl.compress(np.arange(100, dtype=np.int16), group_size=8)
        >>> c.read(2)
        array([16, 17, 18, 19, 20, 21, 22, 23], dtype=int16)
        """
        self._check_grouped()
        start = whole_number("start", start, 0)
        stop = start + 1 if stop is None else whole_number("stop", stop, 0)
        if not start <= stop <= self.groups or start >= self.groups:
            raise IndexError(f"groups {start} to {stop} of {self.groups}")
        known = start // _EVERY
        at = int(self._places[known])
        before = self._unpacked[known * _EVERY : start]
        at += self._codec.payload_bits(known * _EVERY, before, self.zeros)
        values = np.empty(self._position(stop) - self._position(start), self.dtype)
        headers = self._unpacked[start:stop]
        self._codec.decode(start, headers, self.zeros, self.payload, at, values)
        return values

    def tobytes(self) -> bytes:
        r"""The array as bytes, with a header that says all about it and a checksum.

        Little-endian: magic ``b"\x93fmtgroups"``; version 1, number of the encoding (of dpred, raw,
        profiled, zero_run, zfnaf, roe, viai, indirection), number of the dtype (of int8, int16,
        int32, uint8, uint16, uint32), number of dimensions, axis, signs (0 none, 1 all, 2 each), 1
        if there are zero vectors, bits of a pointer (a byte each); group size, bits of the
        payload, the shape (8 bytes each); the streams of headers, zero vectors and payload, each
        filled up to a byte with zero bits; CRC-32C of all that.
        """
        head = _HEADER.pack(
            _MAGIC, _VERSION, _ENCODINGS.index(self.encoding), INTEGERS.index(self.dtype.name),
            len(self.shape), self.axis, _SIGNS.index(self.signs), self.zero_vector,
            self.pointer_bits, self.group_size, self.payload_bits,
        )  # fmt: skip
        shape = struct.pack(f"<{len(self.shape)}Q", *self.shape)
        parts: list[Any] = [head, shape, self.headers, self.zeros, self.payload]
        crc = 0
        for part in parts:
            crc = kernels.crc32c(part, crc)
        return b"".join([*parts, struct.pack("<I", crc)])

    @classmethod
    def frombytes(cls, data: bytes | bytearray | memoryview) -> CompressedArray:
        """What `tobytes` wrote; its streams are views of `data`.

        Nothing in `data` is trusted: sizes are compared before memory is taken for them.

        Raises
        ------
        TypeError
            If `data` is not bytes.
        ValueError
            If it is not what `tobytes` writes: truncated, corrupted, of an unknown version, or
            followed by anything.
        """
        return _parse(cls, data)

    def _check_grouped(self) -> None:
        if self.encoding != "dpred":
            raise ValueError(f"only 'dpred' has groups of their own widths, not {self.encoding!r}")

    @property
    def _brick_codec(self) -> bricks.BrickCodec:
        return bricks.CODECS[self.encoding]

    @property
    def _layout(self) -> bricks.Layout:
        length = self.shape[self.axis] if self._brick_codec.along_axis else self.size
        rows = self.size // length if length else 0
        return bricks.Layout(
            rows, length, 8 * self.dtype.itemsize, self.group_size, self.pointer_bits,
            self.signs == "all",
        )  # fmt: skip

    @property
    def _words(self) -> int:
        """Words of the payload, if they are not narrow."""
        return self.payload_bits // (8 * self.dtype.itemsize)

    @cached_property
    def _codec(self) -> kernels.GroupCodec:
        length = max(self.shape[self.axis], 1)
        return kernels.GroupCodec(self.dtype, self.signs, self.zero_vector, length, self.group_size)

    @cached_property
    def _unpacked(self) -> NDArray[np.uint8]:
        headers = np.empty(self.groups, np.uint8)
        kernels.unpack_codes(self.headers, _header_width(self.dtype, self.signs), headers)
        return headers

    @cached_property
    def _places(self) -> NDArray[np.int64]:
        places = np.empty(-(-self.groups // _EVERY), np.int64)
        self._codec.payload_bits(0, self._unpacked, self.zeros, places, _EVERY)
        return places

    def _position(self, group: int) -> int:
        """Values before a group."""
        row, column = divmod(group, max(self.grid[-1], 1))
        return row * self.shape[self.axis] + column * self.group_size


@dataclass(frozen=True, eq=False, repr=False)
class CompressedChunks:
    """A dask array of integers as `compress` stores it, each chunk by itself.

    Attributes
    ----------
    parts : array of objects
        A `CompressedArray` for each chunk: a dask array, or NumPy's once it is computed.
    chunks : tuple of tuple of int
        Lengths of the chunks along each axis.
    dtype : dtype
        Of the integers.

    Examples
    --------
    >>> import dask.array as da, fmtlib as fl
    >>> c = fl.compress(da.arange(5000, chunks=1000, dtype="int16")).compute()
    >>> c
    CompressedChunks(shape=(5000,), dtype=int16, chunks=5, nbytes=7494)
    >>> int(fl.decompress(c)[-1])
    4999
    """

    parts: Any
    chunks: chunked.Chunks
    dtype: np.dtype[Any]

    @property
    def is_lazy(self) -> bool:
        """Whether nothing is compressed yet."""
        return is_lazy(self.parts)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the array."""
        return tuple(map(sum, self.chunks))

    @property
    def nbytes(self) -> int:
        """Bytes of all parts; not known of a lazy one (ValueError)."""
        if self.is_lazy:
            raise ValueError("sizes are known once the parts are computed: see compute")
        return sum(part.nbytes for part in self.parts.flat)

    @property
    def ratio(self) -> float:
        """Bytes of the array per byte of the parts."""
        return math.prod(self.shape) * self.dtype.itemsize / self.nbytes

    def compute(self) -> CompressedChunks:
        """The compressed parts in memory; so does ``dask.compute``."""
        return chunked.computed(self)

    def __repr__(self) -> str:
        size = "lazy" if self.is_lazy else f"nbytes={self.nbytes}"
        return (
            f"CompressedChunks(shape={self.shape}, dtype={self.dtype}, chunks={self.parts.size}, "
            f"{size})"
        )


def compress(
    x: ArrayLike,
    group_size: int = 16,
    axis: int = -1,
    *,
    encoding: Encoding = "dpred",
    zero_vector: bool | None = None,
    pointer_bits: int | None = None,
) -> Any:
    """Compress integers without loss, each group at the width that it needs.

    Parameters
    ----------
    x : array_like of int8, int16, int32, uint8, uint16 or uint32
        At least one dimension, any strides.
    group_size : int
        Values per group; the last group of an axis may be shorter.
    axis : int
        The axis that groups lie along.
    encoding : str
        "dpred", or for comparison one that it competes with: "raw", "profiled", "zero_run",
        "zfnaf", "roe", "viai", "indirection"; see `storage_size`, which tells their sizes.  All
        hold all integers; they are in NumPy, far slower, and take some times the memory of `x`.
    zero_vector : bool, optional
        Of "dpred": whether zeros are left out and told by a bit of each value.  None: if that takes
        less.
    pointer_bits : int, optional
        Of "indirection": the bits of a pointer, up to 64.  None: as many as tell any place in an
        array of this size.

    Returns
    -------
    CompressedArray or CompressedChunks
        The latter of a dask array: groups begin anew in every chunk.

    Raises
    ------
    TypeError
        If `x` is none of these integers.
    ValueError
        If `group_size` is less than 1 (or, but for "dpred", more than 65536), `x` has no axis,
        there is no such encoding, an argument is of another one, or pointers are too short.

    See Also
    --------
    decompress, storage_size, group_bits

    Notes
    -----
    A group's width is that of two's complement: -32768 takes 16 bits, an all-zero group 1.  If no
    value of the array is negative there are no signs; else they are in all groups, or a bit more
    in each header tells, as takes less.

    References
    ----------
    A. Delmas Lascorz et al., "DPRed: Making Typical Activation and Weight Values Matter In Deep
    Learning Computing", arXiv 1804.06732; "ShapeShifter", MICRO 2019.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.array([[15, -3, 0, 1], [0, 0, 0, 2]], np.int16)
    >>> c = fl.compress(x, group_size=4)
    >>> c.widths().tolist(), c.header_bits, c.zero_vector_bits, c.payload_bits
    ([[5], [3]], 8, 8, 18)
    >>> fl.decompress(c.tobytes())
    array([[15, -3,  0,  1],
           [ 0,  0,  0,  2]], dtype=int16)

    The zero-run coding of SCNN takes four runs of zeros and four values:

    >>> c = fl.compress(x, encoding="zero_run")
    >>> c.header_bits, c.payload_bits
    (16, 64)
    """
    if (lazy := chunked.dask_array(x)) is not None:
        how: dict[str, Any] = {"group_size": group_size, "axis": axis, "encoding": encoding}
        how |= {"zero_vector": zero_vector, "pointer_bits": pointer_bits}
        function: Callable[..., CompressedArray] = partial(compress, **how)
        function(np.zeros((1,) * lazy.ndim, lazy.dtype))  # which checks the arguments
        ones = tuple((1,) * n for n in lazy.numblocks)
        chunked.check_known(lazy, "compress")
        parts = chunked.map_chunks(partial(_boxed, function), lazy, dtype=object, chunks=ones)
        return CompressedChunks(parts, lazy.chunks, lazy.dtype.newbyteorder("="))
    array = integer_array(x)
    axis = normalize_axis(axis, array.ndim)
    if zero_vector is not None and not isinstance(zero_vector, (bool, np.bool_)):
        raise TypeError(f"zero_vector must be True, False or None, got {zero_vector!r}")
    if encoding not in _ENCODINGS:
        raise ValueError(
            f"encoding must be one that can be decoded, {', '.join(_ENCODINGS)}, got {encoding!r}"
        )
    if encoding != "indirection" and pointer_bits is not None:
        raise ValueError(f"pointer_bits is for 'indirection', not for {encoding!r}")
    if encoding != "dpred":
        if zero_vector is not None:
            raise ValueError(f"zero_vector is for 'dpred', not for {encoding!r}")
        group_size = whole_number("group_size", group_size, 1, _MOST_VALUES)
        if encoding == "indirection" and pointer_bits is None:
            pointer_bits = max(array.size - 1, 0).bit_length()
        pointer_bits = whole_number("pointer_bits", pointer_bits or 0, 0, 64)
        return _in_bricks(array, encoding, group_size, axis, pointer_bits)
    group_size = whole_number("group_size", group_size, 1)
    dtype, length = array.dtype.newbyteorder("="), array.shape[axis]
    group_size = min(group_size, max(length, 1))
    widths, signs, sparse, bits = _measure(array, axis, group_size, zero_vector)
    payload = np.empty(-(-bits // 8) + kernels.SLACK, np.uint8)
    zeros = np.empty(-(-array.size // 8) + kernels.SLACK if sparse else 0, np.uint8)
    codec = kernels.GroupCodec(dtype, signs, sparse, max(length, 1), group_size)
    at = 0
    for first, count, part, _ in rows_of_groups(array, axis, group_size, _SLAB):
        at = codec.encode(part, first, widths[first : first + count], zeros, payload, at)
    return CompressedArray(
        encoding="dpred",
        shape=array.shape,
        dtype=dtype,
        group_size=group_size,
        axis=axis,
        signs=signs,
        zero_vector=sparse,
        headers=kernels.pack_codes(widths, _header_width(dtype, signs)),
        zeros=zeros[: -(-array.size // 8)],
        payload=payload[: -(-bits // 8)],
        payload_bits=bits,
    )


def _boxed(function: Callable[..., Any], x: NDArray[Any]) -> NDArray[Any]:
    """What is found of a chunk, as the only element of an array."""
    box = np.empty((1,) * x.ndim, object)
    box.reshape(-1)[0] = function(x)
    return box


def _unboxed(box: NDArray[Any]) -> NDArray[Any]:
    values: NDArray[Any] = decompress(box.item())
    return values


@overload
def decompress(c: CompressedArray | bytes | bytearray | memoryview) -> NDArray[Any]: ...
@overload
def decompress(c: CompressedChunks) -> Any: ...
def decompress(c: Any) -> Any:
    """The array that `compress` was given.

    Parameters
    ----------
    c : CompressedArray, CompressedChunks or bytes
        What `compress` returned, or the bytes of it.

    Returns
    -------
    ndarray or dask array
        C-contiguous, of native byte order; a dask array of lazy `CompressedChunks`.

    Raises
    ------
    TypeError
        If `c` is neither.
    ValueError
        If bytes are truncated, corrupted, or not those of a compressed array.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.decompress(fl.compress(np.int8([0, -128, 127])))
    array([   0, -128,  127], dtype=int8)
    """
    if isinstance(c, CompressedChunks):
        if c.is_lazy:
            return chunked.map_chunks(_unboxed, c.parts, dtype=c.dtype, chunks=c.chunks)
        whole = np.empty(c.shape, c.dtype)
        for part, place in zip(c.parts.flat, chunked.places(c.chunks), strict=True):
            whole[place] = decompress(part)
        return whole
    if not isinstance(c, CompressedArray):
        c = CompressedArray.frombytes(c)
    if c.encoding != "dpred":
        return _from_bricks(c)
    out = np.empty(c.shape, c.dtype)
    at = 0
    for first, count, part, back in rows_of_groups(out, c.axis, c.group_size, _SLAB, copy=False):
        headers = c._unpacked[first : first + count]
        at = c._codec.decode(first, headers, c.zeros, c.payload, at, part)
        if back is not None:
            kernels.transpose(part, back)
    return out


_NONE = np.empty(0, np.uint8)


def _in_bricks(
    x: NDArray[Any], encoding: Encoding, group_size: int, axis: int, pointer_bits: int
) -> CompressedArray:
    """`compress` in one of the other encodings."""
    codec, dtype = bricks.CODECS[encoding], x.dtype.newbyteorder("=")
    signs: Literal["none", "all"] = "none"
    if codec.narrow and dtype.kind == "i" and bool((x < 0).any()):
        signs = "all"
    c = CompressedArray(
        encoding, x.shape, dtype, group_size, axis, signs, codec.zero_vector, _NONE, _NONE, _NONE,
        0, pointer_bits,
    )  # fmt: skip
    rows = axis_last(x, axis) if codec.along_axis else x
    words = np.ascontiguousarray(rows, dtype.newbyteorder("<")).view(c._layout.dtype)
    streams = bricks.encode(codec, c._layout, words.reshape(c._layout.rows, c._layout.length))
    return replace(c, **vars(streams))


def _from_bricks(c: CompressedArray) -> NDArray[Any]:
    """`decompress` of one of the other encodings."""
    streams = bricks.Streams(c.headers, c.zeros, c.payload, c.payload_bits)
    words = bricks.decode(c._brick_codec, c._layout, streams)
    values = words.view(c.dtype.newbyteorder("<")).astype(c.dtype, copy=False)
    if c._brick_codec.narrow and bool((values < 0).any()) != (c.signs == "all"):
        raise ValueError("corrupted: the signs of the compressed array make no sense")
    if c._brick_codec.along_axis:
        rest = (*c.shape[: c.axis], *c.shape[c.axis + 1 :])
        return axis_back(values.reshape(*rest, c.shape[c.axis]), c.axis)
    return values.reshape(c.shape)


def _header_width(dtype: np.dtype[Any], signs: str) -> int:
    return {1: 3, 2: 4, 4: 5}[dtype.itemsize] + (signs == "each")


def _measure(
    x: NDArray[Any], axis: int, group_size: int, zero_vector: bool | None
) -> tuple[NDArray[np.uint8], Literal["none", "all", "each"], bool, int]:
    """Widths as `GroupCodec.encode` takes them, signs, zero vectors or not, bits of the payload."""
    length = max(x.shape[axis], 1)
    groups = x.size // length * -(-length // group_size)
    widths = np.empty(groups, np.uint8)

    dtype = x.dtype.newbyteorder("=")
    codec = kernels.GroupCodec(dtype, "none", False, length, group_size)

    negative, sums = False, np.zeros(4, np.int64)
    inner = math.prod(x.shape[axis + 1 :])
    pieces: Any = rows_of_groups(x, axis, group_size, _SLAB)
    if is_plain(x) and inner >= _FEW_COLUMNS and group_size <= _MOST_VALUES:
        pieces = [(0, groups, x, None)] if x.size else []
    else:
        inner = 1
    for first, count, part, _ in pieces:
        found, *bits = codec.measure(part, first, widths[first : first + count], inner)
        negative |= found
        sums += bits
    choices = []
    for sparse in (False, True) if zero_vector is None else (bool(zero_vector),):
        signed, least = (int(total) for total in sums[2 * sparse : 2 * sparse + 2])
        choices += _choices(signed, least, x.size * sparse, negative, groups, sparse)
    _, sparse, signs, payload = min(choices)
    return widths, signs, sparse, payload


def _choices(
    signed: int, least: int, vectors: int, negative: bool, groups: int, sparse: bool
) -> list[tuple[int, bool, Literal["none", "all", "each"], int]]:
    """Bits (but for the headers' own), zero vectors or not, signs, bits of the payload."""
    if not negative:
        return [(least + vectors, sparse, "none", least)]
    return [
        (signed + vectors, sparse, "all", signed),
        (least + vectors + groups, sparse, "each", least),
    ]


def _parse(cls: type[CompressedArray], data: object) -> CompressedArray:
    if not isinstance(data, (bytes, bytearray, memoryview)):
        raise TypeError(f"data must be a CompressedArray or bytes, got {type(data).__name__}")
    view = memoryview(data).cast("B")
    if len(view) < _HEADER.size + 4:
        raise ValueError(f"truncated: no compressed array has {len(view)} bytes")
    magic, version, *fields = _HEADER.unpack_from(view)
    if magic != _MAGIC:
        raise ValueError("not the bytes of a compressed array: they do not start with its magic")
    if version != _VERSION:
        raise ValueError(f"version {version} is unknown, this fmtlib reads {_VERSION}")
    which, number, ndim, axis, signs, sparse, pointer_bits, group_size, bits = fields
    start = _HEADER.size + 8 * ndim
    if len(view) < start + 4:
        raise ValueError("truncated: the header of the compressed array is not whole")
    shape = struct.unpack_from(f"<{ndim}Q", view, _HEADER.size)
    if (
        which >= len(_ENCODINGS)
        or number >= len(INTEGERS)
        or not axis < ndim <= 64
        or signs >= len(_SIGNS)
        or sparse > 1
        or (INTEGERS[number].startswith("u") and signs)
        or math.prod(max(length, 1) for length in shape) >= 2**58
        or not 1 <= group_size <= (_MOST_VALUES if which else max(shape[axis], 1))
        or bits >= 2**63
        or pointer_bits > 64 * (_ENCODINGS[which] == "indirection")
        or (which and sparse != bricks.CODECS[_ENCODINGS[which]].zero_vector)
        or (which and signs > bricks.CODECS[_ENCODINGS[which]].narrow)
    ):
        raise ValueError("corrupted: the header of the compressed array makes no sense")
    c = cls(
        _ENCODINGS[which], shape, np.dtype(INTEGERS[number]),
        group_size, axis, _SIGNS[signs],  # type: ignore[arg-type]
        bool(sparse), _NONE, _NONE, _NONE, bits, pointer_bits,
    )  # fmt: skip
    sizes = [-(-n // 8) for n in (c.header_bits, c.zero_vector_bits, bits)]
    if len(view) != start + sum(sizes) + 4:
        raise ValueError(
            f"truncated or corrupted: {start + sum(sizes) + 4} bytes expected, got {len(view)}"
        )
    if kernels.crc32c(view[:-4]) != struct.unpack_from("<I", view, len(view) - 4)[0]:
        raise ValueError("corrupted: the checksum (CRC-32C) of the compressed array is wrong")
    streams = []
    for size, used in zip(sizes, (c.header_bits, c.zero_vector_bits, bits), strict=True):
        stream = np.frombuffer(view, np.uint8, size, start) if size else _NONE
        if used % 8 and stream[-1] >> used % 8:
            raise ValueError("corrupted: the bits after the end of a stream must be zero")
        streams.append(stream)
        start += size
    headers, zeros, payload = streams
    c = replace(c, headers=headers, zeros=zeros, payload=payload)
    if c.encoding != "dpred":
        _from_bricks(c)
    elif c._codec.payload_bits(0, c._unpacked, c.zeros) != bits:
        raise ValueError("corrupted: the headers and the payload differ about its size")
    return c
