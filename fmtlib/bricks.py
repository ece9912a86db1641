"""Codecs of the encodings that compression in groups competes with, for comparison: NumPy alone.

A codec turns rows of values, zeros among them, into headers, perhaps a bit of each value, and words
of the payload; `fmtlib.compression` makes streams and bytes of them.  A brick is a group of
neighbouring values of a row; the last one of a row may be shorter and has as much room as it is
long.  Decoders take anything of the right type; `decode` refuses what no encoder writes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels

_Array = NDArray[Any]
_SLAB = 1 << 12  # bricks whose bits are apart at once


@dataclass(frozen=True)
class Layout:
    """Rows of `length` unsigned integers of `bits` bits, in bricks of `size`."""

    rows: int
    length: int
    bits: int
    size: int = 1
    pointer_bits: int = 0
    is_signed: bool = False  # whether narrow words have a sign

    @property
    def values(self) -> int:
        """How many there are."""
        return self.rows * self.length

    @property
    def room(self) -> int:
        """Values of a brick that there can be."""
        return min(self.size, max(self.length, 1))

    @property
    def bricks_per_row(self) -> int:
        """How many there are in a row."""
        return -(-self.length // self.room)

    @property
    def bricks(self) -> int:
        """How many there are in all rows."""
        return self.rows * self.bricks_per_row

    @property
    def offset_bits(self) -> int:
        """Bits of a place in a brick."""
        return (self.size - 1).bit_length()

    @property
    def dtype(self) -> np.dtype[Any]:
        """Their type."""
        return np.dtype(f"<u{self.bits // 8}")


@dataclass(frozen=True)
class BrickCodec:
    """An encoding.

    Attributes
    ----------
    encode : callable
        Headers and words of the payload of rows.
    decode : callable
        The rows, of headers, the bits of the values (empty without `zero_vector`) and words.
    headers : callable
        How many headers there are, for so many words of the payload, and how wide they are.
    zero_vector : bool
        Whether a bit of each value tells whether it is zero.
    along_axis : bool
        Whether rows are those of an axis; else the array is one row, in C order.
    narrow : bool
        Whether words are as narrow as all of them may be, which one header tells; else whole.
    """

    encode: Callable[[Layout, _Array], tuple[_Array, _Array]]
    decode: Callable[[Layout, _Array, _Array, _Array], _Array]
    headers: Callable[[Layout, int], tuple[int, int]] = lambda a, words: (0, 1)
    zero_vector: bool = False
    along_axis: bool = True
    narrow: bool = False


@dataclass(frozen=True)
class Streams:
    """Headers, zero vectors and payload, and how many bits of the payload are used."""

    headers: NDArray[np.uint8]
    zeros: NDArray[np.uint8]
    payload: NDArray[np.uint8]
    payload_bits: int


def encode(codec: BrickCodec, a: Layout, x: _Array) -> Streams:
    """The streams of rows of values."""
    headers, words = codec.encode(a, x)
    width = int(headers[0]) + 1 if codec.narrow else a.bits
    flags = np.packbits(x.reshape(-1) != 0, bitorder="little") if codec.zero_vector else _NONE
    header_width = codec.headers(a, words.size)[1]
    return Streams(_pack(headers, header_width), flags, _pack(words, width), width * words.size)


def decode(codec: BrickCodec, a: Layout, streams: Streams) -> _Array:
    """The rows.

    Raises
    ------
    ValueError
        If these are not the streams that `encode` makes of them.
    """
    width = a.bits
    if codec.narrow:
        width = 1 + int(_unpack(streams.headers, *codec.headers(a, 0), np.dtype(np.uint8))[0])
    count, rest = divmod(streams.payload_bits, width)
    number, header_width = codec.headers(a, count)
    sizes = number * header_width, a.values * codec.zero_vector, streams.payload_bits
    parts = streams.headers, streams.zeros, streams.payload
    _check(not rest)
    for size, part in zip(sizes, parts, strict=True):
        _check(part.size == -(-size // 8))
    headers = _unpack(streams.headers, number, header_width, np.dtype(np.uint64))
    words = _unpack(streams.payload, count, width, a.dtype)
    flags = np.unpackbits(streams.zeros, count=sizes[1], bitorder="little").view(bool)
    x = codec.decode(a, headers, flags, words).reshape(a.rows, a.length)
    again = encode(codec, a, x)
    for one, part in zip((again.headers, again.zeros, again.payload), parts, strict=True):
        _check(np.array_equal(one, part))
    return x


def _check(right: bool) -> None:
    if not right:
        raise ValueError("corrupted: no array has these streams")


_NONE = np.empty(0, np.uint8)


def _bits_of(x: _Array, width: int) -> NDArray[np.uint8]:
    """The lowest bits of each, apart, along a new axis."""
    parts = np.ascontiguousarray(x, "<u8")[..., None].view(np.uint8)
    return np.unpackbits(parts, axis=-1, count=width, bitorder="little")


def _from_bits(bits: NDArray[np.uint8]) -> NDArray[np.uint64]:
    parts = np.zeros((*bits.shape[:-1], 8), np.uint8)
    packed = np.packbits(bits, axis=-1, bitorder="little")
    parts[..., : packed.shape[-1]] = packed
    found: NDArray[np.uint64] = parts.view("<u8")[..., 0].astype(np.uint64, copy=False)
    return found


def _pack(x: _Array, width: int) -> NDArray[np.uint8]:
    if width == 0 or not x.size:
        return _NONE
    if width > 32:
        return np.packbits(_bits_of(x, width), bitorder="little")
    if x.dtype.itemsize > 4:
        x = x.astype(np.uint32)
    return kernels.pack_codes(np.ascontiguousarray(x, x.dtype.newbyteorder("=")), width)


def _unpack(packed: NDArray[np.uint8], count: int, width: int, dtype: np.dtype[Any]) -> _Array:
    if width == 0 or not count:
        return np.zeros(count, dtype)
    if width > 32:
        bits = np.unpackbits(packed, count=count * width, bitorder="little")
        return _from_bits(bits.reshape(count, width)).astype(dtype, copy=False)
    found = np.empty(count, np.uint32 if dtype.itemsize > 4 else dtype.newbyteorder("="))
    kernels.unpack_codes(packed, width, found)
    return found.astype(dtype, copy=False)


# --- whole bricks ---------------------------------------------------------------------------


def _bricks(a: Layout, x: _Array) -> _Array:
    """(bricks, size) of (rows, length): short ones filled up with zeros."""
    padded = np.zeros((a.rows, a.bricks_per_row * a.room), x.dtype)
    padded[:, : x.shape[1]] = x
    return padded.reshape(a.bricks, a.room)


def _rows(a: Layout, bricks: _Array, length: int) -> _Array:
    """The rows again, what fills short bricks up left out."""
    width = a.bricks_per_row * bricks.shape[1]
    return np.ascontiguousarray(bricks.reshape(a.rows, width)[:, :length])


def _to_front(bricks: _Array) -> tuple[_Array, _Array]:
    """Values that are not zero at the front of their bricks, and the places they come from."""
    some = bricks != 0
    to = np.cumsum(some, axis=1, dtype=np.int32) - 1
    brick, place = np.nonzero(some)
    values, offsets = np.zeros_like(bricks), np.zeros(bricks.shape, np.uint16)
    values[brick, to[some]] = bricks[brick, place]
    offsets[brick, to[some]] = place
    return values, offsets


def _to_places(values: _Array, offsets: _Array) -> _Array:
    found = np.zeros_like(values)
    brick, at = np.nonzero(values)
    places = offsets[brick, at]
    _check(not (places >= values.shape[1]).any())
    found[brick, places.astype(np.intp)] = values[brick, at]
    return found


# --- codecs ---------------------------------------------------------------------------------


def _encode_whole(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    return _NONE, x.reshape(-1)


def _decode_whole(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(words.size == a.values)
    return words


def _encode_profiled(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    numbers = x.view(f"<i{a.bits // 8}") if a.is_signed else x
    least, greatest = (int(numbers.min()), int(numbers.max())) if x.size else (0, 0)
    width = max(greatest, ~least, 1).bit_length() + a.is_signed
    return np.array([width - 1], np.uint8), x.reshape(-1)


def _decode_profiled(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(words.size == a.values)
    if not a.is_signed:
        return words
    above = a.bits - 1 - int(headers[0])
    numbers = (words << above).view(f"<i{a.bits // 8}") >> above
    return numbers.view(a.dtype)


def _encode_zero_run(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    flat = x.reshape(-1)
    places = np.flatnonzero(flat)
    gaps = np.diff(places, prepend=-1) - 1
    at = np.cumsum(gaps // 16 + 1) - 1  # of those values among the words
    last = int(places[-1]) if places.size else -1
    words = np.zeros(places.size + int((gaps // 16).sum()) + (flat.size - 1 - last) // 16, x.dtype)
    runs = np.full(words.size, 15, np.uint8)
    words[at], runs[at] = flat[places], gaps % 16
    return runs, words


def _decode_zero_run(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(words.size <= a.values <= 16 * words.size + 15)
    ends = np.cumsum(headers.astype(np.int64) + 1)
    _check(not words.size or int(ends[-1]) <= a.values)
    x = np.zeros(a.values, a.dtype)
    x[ends - 1] = words
    return x


def _encode_zfnaf(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    values, offsets = _to_front(_bricks(a, x))
    return _rows(a, offsets, a.length).reshape(-1), _rows(a, values, a.length).reshape(-1)


def _decode_zfnaf(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(words.size == a.values)
    shape = (a.rows, a.length)
    values, offsets = _bricks(a, words.reshape(shape)), _bricks(a, headers.reshape(shape))
    return _rows(a, _to_places(values, offsets), a.length)


def _roe_slots(a: Layout) -> int:
    return a.room * a.bits // (a.bits + a.offset_bits)


def _encode_roe(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    """Encoded: slots of an offset and a value, from the start of the brick's place on."""
    bricks = _bricks(a, x)
    slot = a.bits + a.offset_bits
    lengths = np.full(a.bricks, a.room)
    if a.bricks:
        lengths[a.bricks_per_row - 1 :: a.bricks_per_row] = (a.length - 1) % a.room + 1
    flags = (np.count_nonzero(bricks, axis=1) * slot <= lengths * a.bits).astype(np.uint8)
    places = bricks.copy()
    encoded = np.flatnonzero(flags)
    for first in range(0, encoded.size, _SLAB):
        some = encoded[first : first + _SLAB]
        values, offsets = (part[:, : _roe_slots(a)] for part in _to_front(bricks[some]))
        slots = values.astype(np.uint64) << np.uint64(a.offset_bits) | offsets
        bits = np.zeros((some.size, a.room * a.bits), np.uint8)
        bits[:, : slots.shape[1] * slot] = _bits_of(slots, slot).reshape(some.size, -1)
        places[some] = np.packbits(bits, axis=-1, bitorder="little").view(a.dtype)
    return flags, _rows(a, places, a.length).reshape(-1)


def _decode_roe(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(words.size == a.values)
    places = _bricks(a, words.reshape(a.rows, a.length))
    encoded = np.flatnonzero(headers)
    slot, count = a.bits + a.offset_bits, _roe_slots(a)
    for first in range(0, encoded.size, _SLAB):
        some = encoded[first : first + _SLAB]
        bits = np.unpackbits(places[some].view(np.uint8), axis=-1, bitorder="little")
        slots = _from_bits(bits[:, : count * slot].reshape(some.size, count, slot))
        values, offsets = np.zeros((some.size, a.room), a.dtype), np.zeros((some.size, a.room), int)
        values[:, :count] = slots >> np.uint64(a.offset_bits)
        offsets[:, :count] = slots & np.uint64((1 << a.offset_bits) - 1)
        places[some] = _to_places(values, offsets)
    return _rows(a, places, a.length)


def _encode_indirection(a: Layout, x: _Array) -> tuple[_Array, _Array]:
    counts = np.count_nonzero(_bricks(a, x), axis=1)
    pointers = (np.cumsum(counts) - counts).astype(np.uint64)
    if pointers.size and int(pointers[-1]) >> a.pointer_bits:
        raise ValueError(
            f"'indirection' cannot hold this with pointer_bits={a.pointer_bits}: "
            f"a brick's values start at {pointers[-1]}"
        )
    flat = x.reshape(-1)
    return pointers, flat[flat != 0]


def _decode_indirection(a: Layout, headers: _Array, flags: _Array, words: _Array) -> _Array:
    _check(np.count_nonzero(flags) == words.size)
    x = np.zeros(a.values, a.dtype)
    x[flags] = words
    return x


CODECS: dict[str, BrickCodec] = {
    "raw": BrickCodec(_encode_whole, _decode_whole, along_axis=False),
    "profiled": BrickCodec(
        _encode_profiled, _decode_profiled, lambda a, words: (1, (a.bits - 1).bit_length()),
        along_axis=False, narrow=True,
    ),
    "zero_run": BrickCodec(
        _encode_zero_run, _decode_zero_run, lambda a, words: (words, 4), along_axis=False
    ),
    "zfnaf": BrickCodec(
        _encode_zfnaf, _decode_zfnaf, lambda a, words: (a.values, a.offset_bits)
    ),
    "roe": BrickCodec(_encode_roe, _decode_roe, lambda a, words: (a.bricks, 1)),
    "viai": BrickCodec(_encode_whole, _decode_whole, zero_vector=True),
    "indirection": BrickCodec(
        _encode_indirection, _decode_indirection, lambda a, words: (a.bricks, a.pointer_bits),
        zero_vector=True,
    ),
}  # fmt: skip
