"""Operands of a matmul, packed once for many products."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels
from fmtlib.blocks import BlockArray
from fmtlib.formats import BlockFormat, FixedFormat

Side = Literal["a", "b"]

# What the fMAC's own kernel multiplies: elements of 16 bits, groups that its scratch can hold.
_MOST_MANTISSA = 15
_LONGEST = 8192


def is_bfp(fmt: BlockFormat) -> bool:
    """Whether it is FAST's: sign-magnitude integers below 2 under a power of two."""
    return (
        isinstance(fmt.element, FixedFormat)
        and (fmt.element.encoding, fmt.element.integer_bits) == ("sign_magnitude", 1)
        and (fmt.scale.mantissa_bits, fmt.scale.subnormals) == (0, False)
        and (fmt.scale.bits <= 8 and fmt.scale.nan == "all_ones")
        and not isinstance(fmt.block_size, tuple)
        and fmt.micro_size is None
        and not fmt.tensor_scale
    )


@lru_cache(maxsize=1024)
def _fits_kernel(fmt: BlockFormat) -> bool:
    return is_bfp(fmt) and fmt.mantissa_bits <= _MOST_MANTISSA


def has_integer_kernel(*operands: BlockArray) -> bool:
    """Whether the fMAC's own kernel multiplies them."""
    if not all(_fits_kernel(b.format) for b in operands):
        return False
    return any(
        min(size, b.shape[axis]) <= _LONGEST for b in operands for axis, size in b.blocks.items()
    )


@dataclass(frozen=True, eq=False, repr=False)
class PackedOperand:
    """An operand of `matmul` in the layout that its kernel multiplies, for use in many products.

    Made by `pack_operand`; `matmul` takes it in place of the BlockArray, with the same result.

    Attributes
    ----------
    blocks : BlockArray
        The operand.  It is used instead of the packing where that does not serve: with another
        accumulator, as the other operand of a product, with an operand whose blocks have another
        size or whose elements are too wide for its layout, as the right one of a product with few
        columns.  Its arrays are read-only, and
        must not be changed through others that share their memory.
    side : "a" or "b"
        Whether it is the left or the right operand.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fmt = fl.bfp(4)
    >>> weights = fl.encode(np.ones((64, 8), np.float32), fmt, axis=0)
    >>> packed = fl.pack_operand(weights)
    >>> packed
    PackedOperand(shape=(64, 8), format=bfp_m4_e8_g16, side='b')
    >>> x = fl.encode(np.ones((2, 64), np.float32), fmt)
    >>> bool((fl.matmul(x, packed) == fl.matmul(x, weights)).all())
    True
    """

    blocks: BlockArray
    side: Side
    _packings: tuple[kernels.Packing, ...] = field(init=False)

    def __post_init__(self) -> None:
        given = self.blocks
        if not (isinstance(given, BlockArray) and has_integer_kernel(given)):
            name = given.format.name if isinstance(given, BlockArray) else type(given).__name__
            raise TypeError(
                "only BlockArrays of block floating point with at most "
                f"{_MOST_MANTISSA} mantissa bits, in blocks of at most {_LONGEST}, are packed; "
                f"got {name}"
            )
        if self.side not in get_args(Side):
            raise ValueError(f"side must be 'a' or 'b', got {self.side!r}")
        if given.ndim < 2:
            raise ValueError("a packed operand has at least two dimensions, got 1")
        axis = given.ndim - 1 if self.side == "a" else given.ndim - 2
        if given.axis != axis:
            raise ValueError(
                f"{self.side} must be blocked along its reduction axis {axis}, got {given.axis}"
            )
        codes, scales = native(given.codes), given.scales.view()
        codes.flags.writeable = scales.flags.writeable = False
        blocks = BlockArray._made(codes, scales, given.format, axis, given.tensor_scale)
        object.__setattr__(self, "blocks", blocks)
        if self.side == "b":
            codes, scales = codes.swapaxes(-1, -2), scales.swapaxes(-1, -2)
        packings = (
            kernels.Packing(codes[index], scales[index], given.format, self.side == "a")
            for index in np.ndindex(codes.shape[:-2])
        )
        object.__setattr__(self, "_packings", tuple(packings))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the operand."""
        return self.blocks.shape

    @property
    def format(self) -> BlockFormat:
        """Format of the operand."""
        return self.blocks.format

    @property
    def nbytes(self) -> int:
        """Bytes of the packing, besides those of `blocks`."""
        return sum(packing.data.nbytes for packing in self._packings)

    def __repr__(self) -> str:
        return f"PackedOperand(shape={self.shape}, format={self.format.name}, side={self.side!r})"

    def __reduce__(self) -> Any:
        """Pickled without the packing, which is made for one kind of processor."""
        return pack_operand, (self.blocks, self.side)

    def packings(self, batch: tuple[int, ...]) -> NDArray[Any]:
        """The packing of each matrix, broadcast to a batch."""
        packings = np.empty(len(self._packings), object)
        packings[:] = self._packings
        return np.broadcast_to(packings.reshape(self.shape[:-2]), batch)


def pack_operand(x: BlockArray, side: Side = "b") -> PackedOperand:
    """Pack an operand of `matmul` once, to use it in many products.

    `matmul` packs its operands for every product, which is a small part of a large product but
    most of one with few rows or columns.

    Parameters
    ----------
    x : BlockArray
        Of block floating point with at most 15 mantissa bits, of two dimensions or more.
    side : "a" or "b"
        Whether it will be the left operand (blocked along its last axis) or the right one (along
        the last but one).

    Returns
    -------
    PackedOperand
        Takes one byte per element up to 6 or 7 mantissa bits (by processor), two above, three of 14
        and 15 with VNNI in blocks of at most 128, and 4 or 8 per block.  It serves operands with
        blocks of the same size.

    Raises
    ------
    TypeError
        If x is something else.
    ValueError
        If it is blocked along another axis, or has one dimension.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> weights = fl.encode(np.eye(4, dtype=np.float32), fl.bfp(4), axis=0)
    >>> packed = fl.pack_operand(weights)
    >>> for row in fl.encode(np.float32([[1, 2, 3, 4], [0, 1, 0, 1]]), fl.bfp(4)):
    ...     print(fl.matmul(row, packed))
    [1. 2. 3. 4.]
    [0. 1. 0. 1.]
    """
    return PackedOperand(x.compute() if isinstance(x, BlockArray) else x, side)


def native(codes: NDArray[Any]) -> NDArray[Any]:
    """A view of codes, or a copy if kernels cannot address them: aligned, of native byte order."""
    if codes.dtype.itemsize == 1:
        return codes.view()
    array = codes
    if not (codes.flags.aligned and codes.dtype.isnative):
        array = np.require(codes, codes.dtype.newbyteorder("="), ["ALIGNED"])
    width = array.dtype.itemsize
    return array.copy() if any(stride % width for stride in array.strides) else array.view()
