"""Arrays in a block format: element codes beside the scales that blocks of them share."""

from __future__ import annotations

import math
import operator
import struct
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, SupportsIndex, cast

import numpy as np
from numpy.typing import NDArray

from fmtlib import chunked
from fmtlib._core import kernels
from fmtlib._core.ufuncs import to_odd
from fmtlib.arguments import is_lazy, whole_number
from fmtlib.formats import BlockFormat, FixedFormat, get_format
from fmtlib.packing import pack, unpack
from fmtlib.random_words import Words

# Below this many elements per worker a thread costs more than it saves.
_WORKER_SHARE = 1 << 15
_ONE, _GREATEST = np.float32(1), np.finfo(np.float32).max
# Elements that are copied at a time where kernels cannot work on the array itself.
_SLAB = 1 << 16

# The header of `tobytes`, little-endian: magic, version, number of dimensions, number of blocked
# axes, those axes, whether there is a tensor scale, length of the format's name, two zero bytes.
_MAGIC, _VERSION = b"\x93fmtlib", 1
_HEADER = struct.Struct("<7sBBBBBBBH")


@dataclass(frozen=True, eq=False)
class BlockArray:
    """Codes and scales of an array in a block format.

    Made by `fmtlib.encode`; `fmtlib.decode` gives the values back.  Of a dask array it is lazy:
    codes and scales are dask arrays, whose chunks hold the same blocks.

    NumPy's functions see its values, decoded: ``np.asarray(b)``, ``np.exp(b)``, and `numpy.save`,
    which so stores floats and forgets the format.  `fmtlib.save` stores the blocks.

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
        lazy = self.is_lazy
        for name in ("codes", "scales"):
            given = getattr(self, name)
            if not (is_lazy(given) if lazy else type(given) is np.ndarray):
                wanted = "a dask array, as codes are" if lazy else "a plain ndarray"
                raise TypeError(f"{name} must be {wanted}, got {type(given)}")
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
        if lazy:
            self._check_chunks()
            return
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

    @classmethod
    def _made(
        cls,
        codes: NDArray[Any],
        scales: NDArray[Any],
        fmt: BlockFormat,
        axis: int | tuple[int, int],
        tensor_scale: np.float32 | None,
    ) -> BlockArray:
        """An array of what the kernels have just made, which needs no checks."""
        made = object.__new__(cls)
        vars(made).update(
            codes=codes, scales=scales, format=fmt, axis=axis, tensor_scale=tensor_scale
        )
        return made

    def _check_chunks(self) -> None:
        """Every chunk of the codes holds whole blocks, and their scales are a chunk."""
        chunked.check_whole(self.codes, self.blocks, "codes")
        codes, scales = (cast(Any, array).chunks for array in (self.codes, self.scales))
        expected = chunked.shortened(codes, self.blocks)
        if scales != expected:
            raise ValueError(f"scales must have chunks {expected}, as codes have, got {scales}")
        has = self.tensor_scale is not None
        if has != self.format.tensor_scale:
            raise ValueError(f"{self.format.name} {'has no' if has else 'needs a'} tensor scale")

    @property
    def is_lazy(self) -> bool:
        """Whether codes and scales are dask arrays, yet to be computed."""
        return is_lazy(self.codes)

    def compute(self) -> BlockArray:
        """The array with NumPy's codes and scales; itself if it has them already.

        ``dask.compute`` does the same, to several at once.
        """
        return chunked.computed(self) if self.is_lazy else self

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

    # --- parts and shapes -------------------------------------------------------------------

    @property
    def blocks(self) -> dict[int, int]:
        """The blocked axes, each with the length of a block along it."""
        return block_sizes(self.format, self.axis)

    def _with(self, codes: NDArray[Any], scales: NDArray[Any], axes: tuple[int, ...]) -> BlockArray:
        axis = axes[0] if len(axes) == 1 else (axes[0], axes[1])
        make = BlockArray if self.is_lazy else BlockArray._made  # chunks are to be checked
        return make(codes, scales, self.format, axis, self.tensor_scale)

    def copy(self) -> BlockArray:
        """A copy with codes and scales of its own."""
        return replace(self, codes=self.codes.copy(), scales=self.scales.copy())

    def __len__(self) -> int:
        return len(self.codes)

    def __getitem__(self, index: Any) -> BlockArray:
        """A part of the array, as a view: whole blocks only.

        Other axes than the blocked one take integers and any slices.  The blocked axis takes
        slices without a step that start where a block starts and stop where a block stops, so
        that no block is cut: what is left of one would keep a scale that is not its own.

        Raises
        ------
        TypeError
            For indices that are neither integers nor slices nor ``...``.
        IndexError
            For integers out of range and too many indices.
        ValueError
            If a block would be cut.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> b = fl.encode(np.ones((3, 40), np.float32), fl.bfp(4))
        >>> b[0, 16:].shape
        (24,)
        """
        items = list(index) if isinstance(index, tuple) else [index]
        dots = [i for i, item in enumerate(items) if item is Ellipsis]
        if len(items) - len(dots) > self.ndim or len(dots) > 1:
            raise IndexError(f"too many indices for a BlockArray of {self.ndim} dimensions")
        place = dots[0] if dots else len(items)
        items[place : place + 1] = [slice(None)] * (self.ndim - len(items) + len(dots))
        of_scales: list[int | slice] = []
        for axis, item in enumerate(items):
            if not isinstance(item, slice):
                items[axis] = _whole_index(item)
            elif axis in self.blocks:
                items[axis], blocks = self._whole_blocks(axis, item)
                of_scales.append(blocks)
                continue
            of_scales.append(items[axis])
        if scalar := [axis for axis in self.blocks if not isinstance(items[axis], slice)]:
            raise ValueError(
                f"axis {scalar[0]} is blocked, it cannot be indexed by an integer; decode the "
                "array for single values"
            )
        axes = tuple(sum(isinstance(item, slice) for item in items[:axis]) for axis in self.blocks)
        return self._with(self.codes[tuple(items)], self.scales[tuple(of_scales)], axes)

    def _whole_blocks(self, axis: int, part: slice) -> tuple[slice, slice]:
        """The slice of a blocked axis, and that of its blocks."""
        size, length = self.blocks[axis], self.shape[axis]
        start, stop, step = part.indices(length)
        if step != 1:
            raise ValueError(f"axis {axis} is blocked, its slices have no step, got {step}")
        if start >= stop:
            return slice(0, 0), slice(0, 0)
        if start % size or (stop % size and stop != length):
            raise ValueError(
                f"slices of axis {axis} start and stop at multiples of the block size {size}, or "
                f"stop at the end; got {start}:{stop} of {length}"
            )
        return slice(start, stop), slice(start // size, -(-stop // size))

    def transpose(self, *axes: Any) -> BlockArray:
        """The array with its axes permuted, as a view; reversed by default.

        Parameters
        ----------
        axes : None, ints, or a tuple of ints
            As `numpy.ndarray.transpose`.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> fl.encode(np.ones((3, 40), np.float32), fl.bfp(4)).transpose().axis
        0
        """
        codes = self.codes.transpose(*axes)
        if len(axes) == 1:
            axes = tuple(range(self.ndim))[::-1] if axes[0] is None else axes[0]
        order = [operator.index(axis) % self.ndim for axis in axes or range(self.ndim)[::-1]]
        return self._with(
            codes, self.scales.transpose(order), tuple(order.index(axis) for axis in self.blocks)
        )

    @property
    def T(self) -> BlockArray:  # noqa: N802 - as NumPy's
        """The array with its axes reversed."""
        return self.transpose()

    def reshape(self, *shape: Any) -> BlockArray:
        """The same elements in C order under another shape; blocks stay whole.

        The blocked axis (for tiles: both, and all between them) keeps its length while others
        are split and merged, or, for one axis, is itself split or merged where every length
        along it is a multiple of the block size.

        Parameters
        ----------
        shape : ints, or a tuple of ints
            As `numpy.ndarray.reshape`; one may be -1.

        Raises
        ------
        ValueError
            If the number of elements differs, or blocks would not stay whole.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> b = fl.encode(np.ones((4, 6, 64), np.float32), fl.bfp(4))
        >>> b.reshape(24, 64).axis, b.reshape(-1).axis
        (1, 0)
        """
        codes = self.codes.reshape(*shape)
        new, blocked = codes.shape, sorted(self.blocks)
        first, last = blocked[0], blocked[-1]
        kept = self.shape[first : last + 1]
        before, after = math.prod(self.shape[:first]), math.prod(self.shape[last + 1 :])
        for k in range(len(new) - len(kept) + 1):
            if (math.prod(new[:k]), new[k : k + len(kept)], math.prod(new[k + len(kept) :])) == (
                before, kept, after,
            ):  # fmt: skip
                moved = k - first
                of_scales = (*new[:k], *self.scales.shape[first : last + 1], *new[k + len(kept) :])
                axes = tuple(axis + moved for axis in self.blocks)
                return self._with(codes, self.scales.reshape(of_scales), axes)
        size = self.blocks[first]
        for k, length in enumerate(new) if len(blocked) == 1 else ():
            if math.prod(new[k + 1 :]) == after and not (kept[0] % size or length % size):
                of_scales = (*new[:k], length // size, *new[k + 1 :])
                return self._with(codes, self.scales.reshape(of_scales), (k,))
        raise ValueError(
            f"{self!r} cannot become {new}: blocks of {self.format.block_size} along axis "
            f"{self.axis} would not stay whole; transpose first, or decode"
        )

    def __array__(
        self, dtype: np.dtype[Any] | None = None, copy: bool | None = None
    ) -> NDArray[Any]:
        """The decoded values, so that NumPy functions see numbers and never codes."""
        if copy is False:
            raise ValueError("the values of a BlockArray are decoded: there is no array to share")
        exact = np.dtype(np.float32 if self.format.fits("float32") else np.float64)
        values = decode_blocks(self.compute(), exact)
        return values if dtype is None else values.astype(dtype, copy=False)

    # --- storage ----------------------------------------------------------------------------

    def planes(self) -> Planes:
        """The array in FAST's storage layout: planes of 2-bit chunks, exponents apart.

        For sign-magnitude block floating point.  See ``Planes``.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> b = fl.encode(np.float32([1.0, -0.5, 0.25, 0.7]), fl.bfp(4, block_size=4))
        >>> planes = b.planes()
        >>> planes.nbytes, b.nbytes  # (8 + 4 * 2 * 3) / 8 and (8 + 4 * 5) / 8, rounded up
        (4, 4)
        >>> fl.decode(planes.read(1))  # the high plane alone: truncated to 2 bits
        array([ 1. , -0.5,  0. ,  0.5], dtype=float32)
        >>> fl.decode(planes.read())
        array([ 1.  , -0.5 ,  0.25,  0.75], dtype=float32)
        """
        if self.is_lazy:
            return self.compute().planes()
        element = self.format.element
        if not isinstance(element, FixedFormat) or element.encoding != "sign_magnitude":
            raise TypeError(f"planes are of sign-magnitude elements, not of {self.format.name}")
        m = element.magnitude_bits
        count = -(-m // 2)
        wide = self.codes.astype(np.uint32)
        signs, magnitudes = wide >> m, (wide & ((1 << m) - 1)) << m % 2
        chunks = (magnitudes >> 2 * (count - 1 - i) & 3 | signs << 2 for i in range(count))
        return Planes(
            planes=tuple(pack(chunk, 3) for chunk in chunks),
            exponents=pack(self.scales, self.format.scale_bits),
            format=self.format,
            shape=self.shape,
            axis=self.axis,
        )

    def tobytes(self) -> bytes:
        r"""The array as bytes, packed, with a header that says all about it and a checksum.

        Little-endian: magic ``b"\x93fmtlib"``, version 1, number of dimensions, number of blocked
        axes, the two of them (0 for none), 1 if there is a tensor scale, length of the format's
        name (a byte each), two zero bytes; the shape, 8 bytes a length; the format's name; the
        tensor scale as float32, if there is one; the scales packed to ``format.scale_bits``; the
        codes packed to ``format.bits`` (see `fmtlib.pack`); CRC-32C of all that.

        Raises
        ------
        ValueError
            If the format's name is longer than 255 bytes.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> b = fl.encode(np.ones((3, 40), np.float32), fl.bfp(4))
        >>> again = fl.BlockArray.frombytes(b.tobytes())
        >>> again, bool((again.codes == b.codes).all())
        (BlockArray(shape=(3, 40), format=bfp_m4_e8_g16, axis=1, nbytes=84), True)
        """
        if self.is_lazy:
            return self.compute().tobytes()
        name = self.format.name.encode("ascii")
        if len(name) > 255 or get_format(self.format.name) != self.format:
            raise ValueError(f"the format has no name that could be stored: {self.format!r}")
        axes = (*self.blocks, 0)
        scale = self.tensor_scale
        parts: list[Any] = [
            _HEADER.pack(
                _MAGIC, _VERSION, self.ndim, len(self.blocks), axes[0], axes[1], scale is not None,
                len(name), 0,
            ),
            struct.pack(f"<{self.ndim}Q", *self.shape),
            name,
            b"" if scale is None else struct.pack("<f", scale),
            pack(self.scales, self.format.scale_bits),
            pack(self.codes, self.format.bits),
        ]  # fmt: skip
        crc = 0
        for part in parts:
            crc = kernels.crc32c(part, crc)
        return b"".join([*parts, struct.pack("<I", crc)])

    @classmethod
    def frombytes(cls, data: bytes | bytearray | memoryview) -> BlockArray:
        """The array that `tobytes` wrote.

        Nothing in `data` is trusted: sizes are compared before memory is taken for them.

        Raises
        ------
        TypeError
            If `data` is not bytes.
        ValueError
            If it is not what `tobytes` writes, byte for byte: truncated, corrupted, of an unknown
            version or format, or followed by anything.
        """
        if not isinstance(data, (bytes, bytearray, memoryview)):
            raise TypeError(f"data must be bytes, got {type(data).__name__}")
        data = memoryview(data).cast("B")
        if len(data) < _HEADER.size + 4:
            raise ValueError(f"no BlockArray has {len(data)} bytes")
        magic, version, ndim, axis_count, first, second, scaled, name_size, zeros = (
            _HEADER.unpack_from(data)
        )
        if magic != _MAGIC:
            raise ValueError("not the bytes of a BlockArray: they do not start with its magic")
        if version != _VERSION:
            raise ValueError(f"version {version} is unknown, this fmtlib reads {_VERSION}")
        start = _HEADER.size + 8 * ndim
        if len(data) < start + name_size + 4:
            raise ValueError("truncated: the header of the BlockArray is not whole")
        shape = struct.unpack_from(f"<{ndim}Q", data, _HEADER.size)
        if (
            axis_count not in (1, 2)
            or scaled > 1
            or zeros
            or (axis_count == 1 and second)
            or max(first, second) >= ndim
            or ndim > 64
            or math.prod(max(length, 1) for length in shape) >= 2**60
        ):
            raise ValueError("corrupted: the header of the BlockArray makes no sense")
        fmt = _stored_format(bytes(data[start : start + name_size]))
        axis = (first, second) if axis_count == 2 else first
        if isinstance(fmt.block_size, tuple) != (axis_count == 2):
            raise ValueError(f"corrupted: {fmt.name} has not {axis_count} blocked axes")
        if scaled != fmt.tensor_scale:
            raise ValueError(f"corrupted: {fmt.name} and the header differ about a tensor scale")
        scales_shape = scale_shape(shape, axis, fmt.block_size)
        scale_at = start + name_size
        scales_at = scale_at + 4 * scaled
        codes_at = scales_at + kernels.packed_size(math.prod(scales_shape), fmt.scale_bits)
        end = codes_at + kernels.packed_size(math.prod(shape), fmt.bits)
        if len(data) != end + 4:
            raise ValueError(
                f"a BlockArray of shape {shape} in {fmt.name} has {end + 4} bytes, got {len(data)}"
            )
        if kernels.crc32c(data[:end]) != struct.unpack_from("<I", data, end)[0]:
            raise ValueError("corrupted: the checksum (CRC-32C) of the BlockArray is wrong")
        scale = np.float32(struct.unpack_from("<f", data, scale_at)[0]) if scaled else None
        return cls(
            unpack(data[codes_at:end], fmt.bits, shape).astype(fmt.code_dtype, copy=False),
            unpack(data[scales_at:codes_at], fmt.scale_bits, scales_shape).astype(
                fmt.scale_dtype, copy=False
            ),
            fmt,
            axis,
            scale,
        )


@dataclass(frozen=True, eq=False, repr=False)
class Planes:
    """Block floating point as FAST stores it: 2-bit chunks of the mantissas, plane by plane.

    A magnitude of m bits, with a zero appended if m is odd, is cut in ``ceil(m / 2)`` chunks of 2
    bits; plane 0 holds the highest.  Every chunk carries the sign of its element as its third
    and highest bit.  A block of g elements so takes ``e + g * ceil(m / 2) * 3`` bits, e for the
    exponent, which is stored apart.

    Planes can be read progressively: the first k of them are the array truncated (rounded
    toward zero) to ``2 * k`` mantissa bits.

    Attributes
    ----------
    planes : tuple of ndarray of uint8
        The chunks of each plane in C order, 3 bits each, as `fmtlib.pack` packs them.
    exponents : ndarray of uint8
        The codes of the shared exponents in C order, packed to ``format.scale_bits``.
    format : BlockFormat
    shape : tuple of int
    axis : int, or pair of ints for tiles

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, "FAST: DNN Training Under Variable Precision Block
    Floating Point with Stochastic Rounding", HPCA 2022, arXiv 2110.15456: exponents apart from
    mantissas, a sign in each 2-bit chunk.  The appended zero for odd m is ours.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.encode(np.ones(32, np.float32), fl.bfp(4)).planes()
    Planes(shape=(32,), format=bfp_m4_e8_g16, axis=0, planes=2, nbytes=26)
    """

    planes: tuple[NDArray[np.uint8], ...]
    exponents: NDArray[np.uint8]
    format: BlockFormat
    shape: tuple[int, ...]
    axis: int | tuple[int, int]

    @property
    def nbytes(self) -> int:
        """Size in bytes: 3 bits per chunk and the exponents, rounded up to a byte at the end."""
        fmt = self.format
        blocks = math.prod(scale_shape(self.shape, self.axis, fmt.block_size))
        bits = blocks * fmt.scale_bits + math.prod(self.shape) * len(self.planes) * 3
        return -(-bits // 8)

    def __repr__(self) -> str:
        return (
            f"Planes(shape={self.shape}, format={self.format.name}, axis={self.axis}, "
            f"planes={len(self.planes)}, nbytes={self.nbytes})"
        )

    def read(self, count: int | None = None) -> BlockArray:
        """The array from its first `count` planes, by default from all.

        Parameters
        ----------
        count : int, optional
            From 1 to the number of planes.

        Returns
        -------
        BlockArray
            All planes: the stored array.  Fewer: the stored array truncated (rounded toward
            zero) to ``2 * count`` mantissa bits, with the same exponents.

        Raises
        ------
        ValueError
            If `count` is out of range, or the planes read contradict each other.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> fl.encode(np.ones(32, np.float32), fl.bfp(5)).planes().read(2).format.name
        'bfp_m4_e8_g16'
        """
        whole = len(self.planes)
        count = whole_number("count", whole if count is None else count, 1, whole)
        fmt = self.format
        element = fmt.element
        assert isinstance(element, FixedFormat)
        m = min(2 * count, element.magnitude_bits)
        chunks = [unpack(plane, 3, self.shape) for plane in self.planes[:count]]
        signs = chunks[0] >> 2
        magnitudes: NDArray[Any] = np.zeros(self.shape, np.uint32)
        for chunk in chunks:
            magnitudes = magnitudes << 2 | chunk & 3
            if (chunk >> 2 != signs).any():
                raise ValueError("the planes contradict each other about signs")
        if m < 2 * count:
            if (magnitudes & 1).any():
                raise ValueError("the bit appended to an odd number of mantissa bits must be zero")
            magnitudes >>= 1
        fmt = replace(fmt, element=replace(element, fraction_bits=m - element.integer_bits))
        scales_shape = scale_shape(self.shape, self.axis, fmt.block_size)
        return BlockArray(
            (magnitudes | signs.astype(np.uint32) << m).astype(fmt.code_dtype),
            unpack(self.exponents, fmt.scale_bits, scales_shape),
            fmt,
            self.axis,
        )


def _whole_index(item: SupportsIndex) -> int:
    try:
        if isinstance(item, (bool, np.bool_)):
            raise TypeError
        return operator.index(item)
    except TypeError:
        raise TypeError(
            f"a BlockArray takes integers, slices and ... as indices, got {item!r}"
        ) from None


def _stored_format(name: bytes) -> BlockFormat:
    """The block format of a name that was read from a file."""
    try:
        fmt = get_format(name.decode("ascii"))
    except ValueError as error:
        raise ValueError(f"corrupted, or of a later fmtlib: {error}") from None
    if not isinstance(fmt, BlockFormat) or fmt.name.encode() != name:
        raise ValueError(f"corrupted: {name!r} is not the name of a block format")
    return fmt


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
    return math.prod(shape[:axis]), shape[axis], math.prod(shape[axis + 1 :])


def split_axes(shape: tuple[int, ...], axis: int | tuple[int, int]) -> tuple[int, ...]:
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


@lru_cache(maxsize=256)
def _working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of values that kernels read or write for this one, in native byte order."""
    known = dtype.name in ("float16", "bfloat16", "float32", "float64")
    return dtype.newbyteorder("=") if known else np.dtype(np.float64)


@lru_cache(maxsize=1024)
def block_codec(
    fmt: BlockFormat,
    verb: str,
    rounding: str,
    random_bits: int,
    source: np.dtype[Any],
    target: np.dtype[Any],
    swapped: bool = False,
) -> kernels.BlockCodec:
    """What the kernels need; swapped: a tile's axes lie in memory in the other order."""
    if swapped and isinstance(fmt.block_size, tuple):
        fmt = replace(fmt, block_size=fmt.block_size[::-1])
    return kernels.BlockCodec(fmt, verb, rounding, random_bits, source.name, target.name)


def slabs_of(
    shape: tuple[int, ...], blocks: dict[int, int], limit: int
) -> Iterator[tuple[tuple[slice, ...], int]]:
    """Cut an array into runs of its C order, of about `limit` elements and whole blocks.

    Gives the index of each, and the number of its first element.
    """
    axis, inner = 0, math.prod(shape)
    while inner and axis < len(shape):  # an empty array is one run
        inner //= shape[axis]
        if inner <= limit or blocks.get(axis, 1) > 1:
            break
        axis += 1
    else:
        yield (), 0
        return
    block = blocks.get(axis, 1)
    step = max(limit // max(inner, 1) // block, 1) * block
    for number, outer in enumerate(np.ndindex(shape[:axis])):
        for start in range(0, shape[axis], step):
            index = (*(slice(i, i + 1) for i in outer), slice(start, start + step))
            yield index, (number * shape[axis] + start) * inner


def _is_plain(x: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    """Whether kernels can work on the array itself; `dtype` is native."""
    return x.dtype == dtype and x.flags.c_contiguous and x.flags.aligned


def _for_kernels(x: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """The array as kernels read it; types that they do not read are rounded to odd, to float64."""
    if x.dtype.newbyteorder("=") != dtype:
        x = np.asarray(to_odd(x))
    return for_kernels(x)


def _in_threads(work: Callable[[int, int], None], size: int, workers: int) -> None:
    """Call ``work(part, parts)`` for each part, in threads if there is enough to do."""
    parts = max(1, min(workers, size // _WORKER_SHARE))
    if parts == 1:
        work(0, 1)
        return
    with ThreadPoolExecutor(parts) as pool:
        list(pool.map(work, range(parts), [parts] * parts))


def _run(
    verb: str,
    x: NDArray[Any],
    out: NDArray[Any],
    scales: NDArray[Any] | None,
    fmt: BlockFormat,
    axes: int | tuple[int, int],
    workers: int,
    mode: tuple[str, int] = ("nearest_even", 32),
    words: Words | None = None,
    tensor: tuple[float | np.float32, float | np.float32] = (1.0, 1.0),
) -> None:
    """Encode, quantise or decode x into `out`; scales are written, not there, or read.

    Memory does not grow with arrays whose blocks lie in memory one after the other: what kernels
    cannot read or write in place is copied slab by slab.
    """
    source = x.dtype.newbyteorder("=") if verb == "decode" else _working_dtype(x.dtype)
    target = out.dtype if verb == "encode" else _working_dtype(out.dtype)
    swapped = isinstance(axes, tuple) and axes[0] > axes[1]
    codec = block_codec(fmt, verb, *mode, source, target, swapped)
    if _is_plain(x, source) and _is_plain(out, target):
        run = partial(codec.run, split_axes(x.shape, axes), x, out, scales, words, 0, *tensor)
        _in_threads(run, x.size, workers)
        return
    blocks = block_sizes(fmt, axes)
    slabs = list(slabs_of(x.shape, blocks, _SLAB))

    def work(part: int, parts: int) -> None:
        for index, first in slabs[part::parts]:
            piece = _for_kernels(x[index], source)
            own, shape = out[index], split_axes(piece.shape, axes)
            direct = _is_plain(own, target)
            to = own if direct else np.empty(piece.shape, target)
            of_scales = None if scales is None else scales[scale_index(index, blocks)]
            codec.run(shape, piece, to, of_scales, words, first, *tensor, 0, 1)
            if not direct:
                own[...] = to

    _in_threads(work, x.size, workers)


def scale_index(index: tuple[slice, ...], blocks: dict[int, int]) -> tuple[slice, ...]:
    """The scales of a slab."""
    sizes = [blocks.get(axis, 1) for axis in range(len(index))]
    return tuple(
        slice(part.start // size, -(-part.stop // size))
        for part, size in zip(index, sizes, strict=True)
    )


@lru_cache(maxsize=1024)
def _stored_dtypes(fmt: BlockFormat) -> tuple[np.dtype[Any], np.dtype[Any]]:
    return fmt.code_dtype, fmt.scale_dtype


def block_sizes(fmt: BlockFormat, axes: int | tuple[int, int]) -> dict[int, int]:
    """The blocked axes, each with the length of a block along it."""
    size = fmt.block_size
    if isinstance(axes, tuple) and isinstance(size, tuple):
        return dict(zip(axes, size, strict=True))
    assert isinstance(axes, int)
    assert isinstance(size, int)
    return {axes: size}


def finite_max(x: NDArray[Any]) -> tuple[np.float32, bool]:
    """The greatest finite magnitude, rounded to float32, and whether all are finite."""
    source = _working_dtype(x.dtype)
    if _is_plain(x, source):
        return kernels.finite_max(x, source.name)
    found = [
        kernels.finite_max(_for_kernels(x[index], source), source.name)
        for index, _ in slabs_of(x.shape, {}, _SLAB)
    ]
    return max(one for one, _ in found), all(finite for _, finite in found)


def tensor_scales(amax: np.float32, fmt: BlockFormat) -> tuple[np.float32, np.float32]:
    """Scales of a whole array: what encoding multiplies by, and its reciprocal.

    NVFP4's, each step in float32; see `BlockFormat`.
    """
    if amax == 0:
        return _ONE, _ONE
    with np.errstate(over="ignore", under="ignore"):
        # float64 has bits enough that the quotient, rounded again, is the rounded quotient
        scale = min(np.float32(fmt.element.max * fmt.scale.max / float(amax)), _GREATEST)
        return scale, _ONE / scale


def _look_first(
    x: NDArray[Any], fmt: BlockFormat, amax: np.float32 | None
) -> tuple[np.float32, np.float32]:
    """What has to be known of the whole array before its blocks are looked at."""
    if not fmt.tensor_scale and fmt.nonfinite == "nan":
        return _ONE, _ONE
    own, finite = finite_max(x)
    if fmt.nonfinite == "raise" and not finite:
        raise ValueError(
            f"the array holds NaN or infinity and {fmt.name} has nonfinite='raise'; "
            "nonfinite='nan' makes such blocks NaN"
        )
    return tensor_scales(own if amax is None else amax, fmt) if fmt.tensor_scale else (_ONE, _ONE)


def encode_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    words: Words | None,
    workers: int,
    amax: np.float32 | None = None,
) -> BlockArray:
    """Encode an array; `amax`: greatest finite magnitude of the array that this is a part of."""
    axes = normalize_block_axis(axis, x.ndim, fmt)
    tensor = _look_first(x, fmt, amax)
    code_dtype, scale_dtype = _stored_dtypes(fmt)
    codes = np.empty(x.shape, code_dtype)
    scales = np.empty(scale_shape(x.shape, axes, fmt.block_size), scale_dtype)
    _run("encode", x, codes, scales, fmt, axes, workers, (rounding, random_bits), words, tensor)
    return BlockArray._made(codes, scales, fmt, axes, tensor[1] if fmt.tensor_scale else None)


def quantize_blocks(
    x: NDArray[Any],
    fmt: BlockFormat,
    axis: int | tuple[int, int] | None,
    rounding: str,
    random_bits: int,
    words: Words | None,
    workers: int,
    out: NDArray[Any] | None = None,
    amax: np.float32 | None = None,
) -> NDArray[Any]:
    """The values that `encode_blocks` stands for, in x's dtype."""
    axes = normalize_block_axis(axis, x.ndim, fmt)
    if out is None:
        out = np.empty(x.shape, x.dtype.newbyteorder("="))
    elif out.shape != x.shape:
        raise ValueError(f"out must have shape {x.shape}, got {out.shape}")
    elif np.may_share_memory(x, out) and not _same_memory(x, out):
        x = x.copy()
    tensor = _look_first(x, fmt, amax)
    _run("quantize", x, out, None, fmt, axes, workers, (rounding, random_bits), words, tensor)
    return out


def _same_memory(x: NDArray[Any], out: NDArray[Any]) -> bool:
    return x.ctypes.data == out.ctypes.data and (x.strides, x.dtype) == (out.strides, out.dtype)


def decode_blocks(
    b: BlockArray, dtype: np.dtype[Any], out: NDArray[Any] | None = None, workers: int = 1
) -> NDArray[Any]:
    """Values of the array in a float type, or in that of `out`."""
    if out is None:
        out = np.empty(b.shape, dtype)
    elif out.shape != b.shape:
        raise ValueError(f"out must have shape {b.shape}, got {out.shape}")
    codes = b.codes.copy() if np.may_share_memory(b.codes, out) else b.codes
    scales = for_kernels(b.scales)
    if np.may_share_memory(scales, out):
        scales = scales.copy()
    tensor = 1.0 if b.tensor_scale is None else float(b.tensor_scale)
    _run("decode", codes, out, scales, b.format, b.axis, workers, tensor=(1.0, tensor))
    return out
