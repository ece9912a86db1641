"""Integers plane by plane, as bit-serial accelerators (Stripes, Loom) keep and multiply them.

A plane holds one bit of every value, the highest plane first, so that any number of planes from the
front are the values at a lower precision.  Memory and time go with the bits that are used.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core import kernels
from fmtlib.arguments import whole_number
from fmtlib.axes import axis_back, axis_last
from fmtlib.blocks import normalize_axis
from fmtlib.precision import group_bits, integer_array


@dataclass(frozen=True, eq=False, repr=False)
class BitPlanes:
    """Integers as `bit_planes` lays them out.

    Attributes
    ----------
    planes : ndarray of uint8
        ``(bits, ..., ceil(n / 8))``: the axis of the values moved last and packed, value i in bit
        ``i % 8`` of byte ``i // 8``.  The first plane is the highest, and that of the signs.
    shape : tuple of int
        Of the array.
    axis : int
        The axis that is packed, counted from the front.
    dtype : dtype
        Of the array; signed ones are in two's complement.
    bits : int
        Bits of a value, of which planes may be fewer: the others are zero.
    """

    planes: NDArray[np.uint8]
    shape: tuple[int, ...]
    axis: int
    dtype: np.dtype[Any]
    bits: int

    def __repr__(self) -> str:
        return (
            f"BitPlanes(shape={self.shape}, dtype={self.dtype}, axis={self.axis}, "
            f"bits={self.bits}, planes={len(self.planes)}, nbytes={self.nbytes})"
        )

    @property
    def nbytes(self) -> int:
        """Bytes of the planes."""
        return self.planes.nbytes

    def read(self, count: int) -> BitPlanes:
        """The highest `count` planes alone: values rounded down to multiples of a power of two.

        Raises
        ------
        ValueError
            If there are fewer, or `count` is less than 1.
        """
        count = whole_number("count", count, 1, len(self.planes))
        return BitPlanes(self.planes[:count], self.shape, self.axis, self.dtype, self.bits)

    def values(self) -> NDArray[Any]:
        """The array, its type as before.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> p = fl.bit_planes(np.int16([3, -7, 6]))
        >>> p.values(), p.read(2).values()
        (array([ 3, -7,  6], dtype=int16), array([ 0, -8,  4], dtype=int16))
        """
        moved = (*self.shape[: self.axis], *self.shape[self.axis + 1 :], self.shape[self.axis])
        found = np.empty(moved, self.dtype)
        kernels.from_planes(_rows(self.planes), self.bits, found.reshape(_two(moved)))
        return axis_back(found, self.axis)


def _two(shape: tuple[int, ...]) -> tuple[int, int]:
    """Rows and their length."""
    return math.prod(shape[:-1]), shape[-1]


def _rows(planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(planes, rows, bytes) of planes of any shape."""
    return np.ascontiguousarray(planes).reshape(len(planes), *_two(planes.shape[1:]))


def bit_planes(x: ArrayLike, bits: int | None = None, axis: int = -1) -> BitPlanes:
    """Lay integers out plane by plane, the highest first.

    Parameters
    ----------
    x : array_like of int8, int16, int32, uint8, uint16 or uint32
        At least one dimension, any strides.
    bits : int, optional
        Planes.  None: as many as the array needs, at least one.
    axis : int
        The axis whose values are neighbours in a plane; that of dot products.

    Returns
    -------
    BitPlanes

    Raises
    ------
    TypeError
        If `x` is none of these integers.
    ValueError
        If a value needs more than `bits`.

    References
    ----------
    P. Judd et al., "Stripes: Bit-Serial Deep Neural Network Computing", MICRO 2016; S. Sharify et
    al., "Loom: Exploiting Weight and Activation Precisions to Accelerate Convolutional Neural
    Networks", DAC 2018.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.bit_planes(np.uint8([1, 2, 3])).planes
    array([[6],
           [5]], dtype=uint8)
    """
    array = integer_array(x)
    axis = normalize_axis(axis, array.ndim)
    moved = axis_last(array, axis)
    needed = _bits_needed(moved)
    if bits is None:
        bits = needed
    bits = whole_number("bits", bits, 1, 8 * array.dtype.itemsize)
    if bits < needed:
        raise ValueError(f"a value needs {needed} bits, more than bits={bits}")
    planes = np.empty((bits, *moved.shape[:-1], -(-moved.shape[-1] // 8)), np.uint8)
    kernels.to_planes(moved.reshape(_two(moved.shape)), bits, planes.reshape(_rows(planes).shape))
    return BitPlanes(planes, array.shape, axis, moved.dtype, bits)


def _bits_needed(x: NDArray[Any]) -> int:
    """The width of all values as one group, in which -1 and 0 need a bit."""
    if not x.size:
        return 1
    found = int(group_bits(x.reshape(-1), x.size)[0])
    if found == 2 and x.dtype.kind == "i" and int(x.min()) >= -1 and int(x.max()) <= 0:
        return 1
    return found


@dataclass(frozen=True, eq=False)
class SerialDot:
    """What `serial_dot` computes.

    Attributes
    ----------
    values : ndarray of int64
        The dot products.
    cycles : int
        Of each of them.
    """

    values: NDArray[np.int64]
    cycles: int


def serial_dot(
    a: BitPlanes, b: BitPlanes, *, serial_bits: int = 1, lanes: int = 16, b_parallel: bool = False
) -> SerialDot:
    """Dot products, plane by plane: the integers' own, and the cycles of an array of such lanes.

    Parameters
    ----------
    a, b : BitPlanes
        Packed along their last axis, of the same length; the other axes broadcast.
    serial_bits : int
        Planes of `a` that are worked on at once (Loom's variants of 1, 2 and 4).
    lanes : int
        Values that are multiplied at once.
    b_parallel : bool
        Whether all planes of `b` are worked on at once (Stripes), else one after the other (Loom).

    Returns
    -------
    SerialDot
        ``ceil(n / lanes) * ceil(Pa / serial_bits) * Pb`` cycles, without Pb for Stripes; Pa and Pb
        are the planes that there are.

    Raises
    ------
    ValueError
        If lengths differ or are not along the last axis, or a sum might not fit into int64.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> a, b = fl.bit_planes(np.int16([3, -7, 6])), fl.bit_planes(np.int8([1, 2, -2]))
    >>> fl.serial_dot(a, b)
    SerialDot(values=array(-23), cycles=12)
    """
    for name, one in (("a", a), ("b", b)):
        if not isinstance(one, BitPlanes):
            raise TypeError(f"{name} must be BitPlanes, got {type(one).__name__}")
        if one.axis != len(one.shape) - 1:
            raise ValueError(f"{name} must be packed along its last axis, not along {one.axis}")
    length = a.shape[-1]
    if length != b.shape[-1]:
        raise ValueError(f"the last axes differ: {length} and {b.shape[-1]}")
    serial_bits = whole_number("serial_bits", serial_bits, 1)
    lanes = whole_number("lanes", lanes, 1)
    if not isinstance(b_parallel, (bool, np.bool_)):
        raise TypeError(f"b_parallel must be True or False, got {b_parallel!r}")
    if length << (a.bits + b.bits) >= 1 << 63:
        raise ValueError(
            f"sums of {length} products of {a.bits} and {b.bits} bits might not fit into int64"
        )
    shape = np.broadcast_shapes(a.shape[:-1], b.shape[:-1])
    total = np.empty(shape, np.int64)
    kernels.serial_dot(*_operand(a, shape), *_operand(b, shape), total)
    steps = -(-len(a.planes) // serial_bits) * (1 if b_parallel else len(b.planes))
    return SerialDot(total, -(-length // lanes) * steps)


def _weight(p: BitPlanes, i: int) -> int:
    """What a one in plane i is worth."""
    magnitude = 1 << (p.bits - 1 - i)
    return -magnitude if i == 0 and p.dtype.kind == "i" else magnitude


def _operand(
    p: BitPlanes, shape: tuple[int, ...]
) -> tuple[NDArray[np.uint64], NDArray[np.int64], NDArray[np.int64]]:
    """Words of the planes, what a one in each is worth, and the row of each dot product."""
    words = _words(p.planes)
    rows = np.arange(words.shape[1], dtype=np.int64).reshape(p.shape[:-1])
    weights = np.array([_weight(p, i) for i in range(len(words))], np.int64)
    return words, weights, np.ascontiguousarray(np.broadcast_to(rows, shape))


def _words(planes: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """(planes, rows, words): the bytes of each row, filled up with zeros."""
    rows = _rows(planes)
    size = rows.shape[-1]
    if size % 8:
        padded = np.zeros((*rows.shape[:-1], -(-size // 8) * 8), np.uint8)
        padded[..., :size] = rows
        rows = padded
    return np.require(rows.view(np.uint64), requirements="A")
