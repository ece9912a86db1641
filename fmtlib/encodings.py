"""What integers take in the encodings that accelerators have for narrow and for zero values.

Sizes, exact to the bit, of `compress` in each of its encodings and of published counts, from
formulas, nothing being encoded but for "dpred".  A brick is a group of neighbouring values; the
last of an axis may be shorter and counts as short as it is.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import compression
from fmtlib.arguments import not_one_of, whole_number
from fmtlib.blocks import normalize_axis
from fmtlib.precision import group_bits, integer_array, integer_slabs

Encoding = compression.Encoding | Literal["shapeshifter", "shapeshifter_ends"]


@dataclass(frozen=True)
class StorageSize:
    """What an array takes in an encoding.

    Attributes
    ----------
    encoding : str
    raw_bits : int
        Of the array itself.
    metadata_bits : int
        Headers, flags, offsets, pointers, vectors and lengths of runs.
    payload_bits : int
        Bits of values.
    decodable : bool
        Whether the array can always be told from so many bits.
    """

    encoding: str
    raw_bits: int
    metadata_bits: int
    payload_bits: int
    decodable: bool = True

    @property
    def bits(self) -> int:
        """All of them."""
        return self.metadata_bits + self.payload_bits

    @property
    def ratio(self) -> float:
        """Bits of the array per bit of the encoding; infinite if there is none."""
        return self.raw_bits / self.bits if self.bits else float("inf")


def storage_size(
    x: ArrayLike,
    encoding: Encoding = "dpred",
    group_size: int = 16,
    axis: int = -1,
    *,
    pointer_bits: int | None = None,
) -> StorageSize:
    """Size of integers in an encoding.

    Parameters
    ----------
    x : array_like of int8, int16, int32, uint8, uint16 or uint32
        At least one dimension, any strides.  Padding that is stored is part of it.
    encoding : str
        See Notes; b are the bits of the type, n the values of a brick, z those that are not zero.
    group_size : int
        Values per brick, up to 65536.
    axis : int
        The axis that bricks lie along.
    pointer_bits : int, optional
        Of "indirection".  None: as many as tell any place in an array of this size.

    Returns
    -------
    StorageSize

    Raises
    ------
    TypeError
        If `x` is none of these integers.
    ValueError
        If there is no such encoding, or `pointer_bits` is given for another one.

    See Also
    --------
    compress

    Notes
    -----
    `compress` writes so many bits, and a record that says what array it is.

    - "dpred": groups at their own widths, as ``fmtlib.compression`` tells.
    - "shapeshifter": the count of published simulators of DPRed and ShapeShifter.  A group is as
      wide as its longest magnitude, one more for negative values only (0 if all are zero); 4 bits
      of header (b = 8: 3, 32: 5) for every `group_size` values of the whole array.  Dense: a short
      group pays for `group_size` values; with a bit per value: widths times z, and `group_size`
      bits for each header.  The smaller for the array.  Not always decodable: [15, -3] gets 4 bits
      a value, in which 15 and the negative ones do not all differ.  "shapeshifter_ends": less the
      zeros below every value of a group.
    - "profiled": one width for the array, that of `group_bits` (signed if a value is negative), and
      4 bits that tell it (3, 5).  Whether there are signs is part of the record.
    - "zero_run" (SCNN): b + 4 bits for each value that is not zero, with the zeros before it, up to
      15; and for every 16 zeros of a run.  The whole array in C order, whatever the axis; fewer
      than 16 zeros at its end take nothing.
    - "zfnaf" (Cnvlutin): every value's place has b bits and an offset of ceil(log2(group_size)).
    - "roe" (Cnvlutin2, raw or encoded): a brick keeps its place, n b bits, and a flag; it is
      encoded where z values with offsets fit in that.
    - "viai" (vector of ineffectual activation identifiers): raw, and a bit of each value.
    - "indirection": z b bits, a bit of each value, and a pointer for each brick.
    - "raw": n b.

    References
    ----------
    A. Parashar et al., "SCNN", ISCA 2017; J. Albericio et al., "Cnvlutin", ISCA 2016; P. Judd et
    al., "Cnvlutin2: Ineffectual-Activation-and-Weight-Free Deep Neural Network Computing", arXiv
    1705.00125; A. Delmas Lascorz et al., arXiv 1804.06732.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.int16([15, -3, 0, 0, 0, 0, 0, 1])
    >>> [fl.storage_size(x, name, 4).bits for name in ("raw", "zero_run", "dpred")]
    [128, 60, 28]
    >>> fl.storage_size(x, "shapeshifter", 4)
    StorageSize(encoding='shapeshifter', raw_bits=128, metadata_bits=16, payload_bits=9, \
decodable=False)
    """
    array = integer_array(x)
    axis = normalize_axis(axis, array.ndim)
    size = whole_number("group_size", group_size, 1, 1 << 16)
    if encoding not in _SIZES:
        raise ValueError(not_one_of("encoding", encoding, _SIZES))
    if pointer_bits is None:
        pointer_bits = max(array.size - 1, 0).bit_length()
    elif encoding != "indirection":
        raise ValueError(f"pointer_bits is for 'indirection', not for {encoding!r}")
    bricks = _Bricks(array, axis, size, whole_number("pointer_bits", pointer_bits, 0, 64))
    metadata, payload = _SIZES[encoding](bricks)
    decodable = not encoding.startswith("shapeshifter")
    return StorageSize(encoding, array.size * bricks.bits, metadata, payload, decodable)


class _Bricks:
    """An array and what encodings ask about its bricks."""

    def __init__(self, x: NDArray[Any], axis: int, size: int, pointer_bits: int) -> None:
        self.x, self.axis, self.size, self.pointer_bits = x, axis, size, pointer_bits
        self.bits = 8 * x.dtype.itemsize
        self.header_bits = (self.bits - 1).bit_length()
        rows = x.size // max(x.shape[axis], 1)
        self.count = rows * -(-x.shape[axis] // size)

    @property
    def offset_bits(self) -> int:
        return (self.size - 1).bit_length()

    def nonzeros(self) -> int:
        return int(np.count_nonzero(self.x))

    def nonzeros_of_each(self) -> NDArray[np.int64]:
        """Values of each brick that are not zero, in the shape of `group_bits`."""
        starts = np.arange(0, self.x.shape[self.axis], self.size)
        if not self.x.size:
            return np.zeros(0, np.int64)
        counts: NDArray[np.int64] = np.add.reduceat(
            self.x != 0, starts, axis=self.axis, dtype=np.int64
        )
        return counts

    def published_widths(self, ends: bool) -> NDArray[np.int64]:
        """The longest magnitude, one more for negative values; less the zeros below all."""
        how: dict[str, Any] = {"encoding": "sign_magnitude"}
        high, low = group_bits(self.x, self.size, self.axis, ends="both", **how)
        found = high.astype(np.int64) - (self.x.dtype.kind == "i")
        if self.x.dtype.kind == "i" and self.x.size:
            starts = np.arange(0, self.x.shape[self.axis], self.size)
            negative = np.logical_or.reduceat(self.x < 0, starts, axis=self.axis)
            with_sign = group_bits(np.minimum(self.x, 0), self.size, self.axis, **how)
            found = np.maximum(found, np.where(negative, with_sign, 0))
        some = self.nonzeros_of_each().reshape(found.shape) != 0
        widths: NDArray[np.int64] = (found - low * ends) * some
        return widths


def _dpred(b: _Bricks) -> tuple[int, int]:
    found = compression.compress(b.x, b.size, b.axis)
    return found.header_bits + found.zero_vector_bits, found.payload_bits


def _shapeshifter(b: _Bricks, ends: bool = False) -> tuple[int, int]:
    widths, headers = b.published_widths(ends), -(-b.x.size // b.size)
    dense = headers * b.header_bits, int(widths.sum()) * b.size
    kept = int((widths * b.nonzeros_of_each().reshape(widths.shape)).sum())
    return min(dense, (headers * (b.header_bits + b.size), kept), key=sum)


def _profiled(b: _Bricks) -> tuple[int, int]:
    if not b.x.size:
        return b.header_bits, 0
    signed: Literal["tensor"] = "tensor"
    widths = group_bits(b.x, b.size, b.axis, signed=signed)
    return b.header_bits, int(widths.max()) * b.x.size


def _zero_run(b: _Bricks) -> tuple[int, int]:
    places, before, symbols = np.array([-1]), 0, 0
    for _, part in integer_slabs(b.x, {}):
        found = np.flatnonzero(part) + before
        gaps = np.diff(found, prepend=places[-1]) - 1
        symbols += found.size + int((gaps // 16).sum())
        before += part.size
        places = found if found.size else places
    symbols += (before - 1 - int(places[-1])) // 16
    return 4 * symbols, b.bits * symbols


def _roe(b: _Bricks) -> tuple[int, int]:
    return b.count, b.x.size * b.bits


def _indirection(b: _Bricks) -> tuple[int, int]:
    return b.count * b.pointer_bits + b.x.size, b.nonzeros() * b.bits


_SIZES: dict[str, Callable[[_Bricks], tuple[int, int]]] = {
    "dpred": _dpred,
    "shapeshifter": _shapeshifter,
    "shapeshifter_ends": lambda b: _shapeshifter(b, ends=True),
    "profiled": _profiled,
    "zero_run": _zero_run,
    "zfnaf": lambda b: (b.x.size * b.offset_bits, b.x.size * b.bits),
    "roe": _roe,
    "viai": lambda b: (b.x.size, b.x.size * b.bits),
    "indirection": _indirection,
    "raw": lambda b: (0, b.x.size * b.bits),
}
