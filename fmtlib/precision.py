"""Dynamic precision: the bits that each small group of values really needs."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from operator import itemgetter
from typing import Any, Literal, cast, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import chunked
from fmtlib._core import kernels
from fmtlib.arguments import as_array, not_one_of, whole_number
from fmtlib.blocks import (
    for_kernels,
    normalize_axis,
    scale_index,
    scale_shape,
    slabs_of,
    split_axes,
)
from fmtlib.codec import encode
from fmtlib.formats import FixedFormat, IntegerFormat, get_format

INTEGERS = ("int8", "int16", "int32", "uint8", "uint16", "uint32")
Ends = Literal["leading", "both"]
Signed = bool | Literal["tensor"] | None
Encoding = Literal["twos_complement", "sign_magnitude"]
_SLAB = 1 << 16


@overload
def group_bits(
    x: ArrayLike,
    group_size: int | tuple[int, int] = 16,
    axis: int | tuple[int, int] = -1,
    *,
    ends: Literal["leading"] = "leading",
    signed: Signed = None,
    encoding: Encoding = "twos_complement",
    even_widths: bool = False,
    fmt: str | FixedFormat | IntegerFormat | None = None,
) -> NDArray[np.uint8]: ...
@overload
def group_bits(
    x: ArrayLike,
    group_size: int | tuple[int, int] = 16,
    axis: int | tuple[int, int] = -1,
    *,
    ends: Literal["both"],
    signed: Signed = None,
    encoding: Encoding = "twos_complement",
    even_widths: bool = False,
    fmt: str | FixedFormat | IntegerFormat | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
def group_bits(
    x: ArrayLike,
    group_size: int | tuple[int, int] = 16,
    axis: int | tuple[int, int] = -1,
    *,
    ends: Ends = "leading",
    signed: Signed = None,
    encoding: Encoding = "twos_complement",
    even_widths: bool = False,
    fmt: str | FixedFormat | IntegerFormat | None = None,
) -> Any:
    """Bits that each group of neighbouring values needs.

    Parameters
    ----------
    x : array_like of int8, int16, int32, uint8, uint16 or uint32
        Any shape with at least one dimension, any strides.  With `fmt`: anything that `encode`
        takes.
    group_size : int or (int, int)
        Values per group; a pair is a tile over a pair of axes.  The last group of an axis may be
        shorter.
    axis : int or (int, int)
        The axis that groups lie along, or the two of a tile.
    ends : {"leading", "both"}
        "both" also gives the lower end, below which no value of the group has a set bit.
    signed : bool or "tensor", optional
        Whether widths count a sign bit.  None goes by dtype, so that the parts of an array agree.
        "tensor": if any value of `x` is negative.  False on negative values is an error.
    encoding : {"twos_complement", "sign_magnitude"}
        What a width holds if there is a sign bit.
    even_widths : bool
        Round widths up to even ones (two bits a cycle): the high end moves, the low one stays.
    fmt : str, FixedFormat or IntegerFormat, optional
        Round `x` to this format first, to nearest-even and saturating; the widths are those of its
        integers, `x` in units of the format's quantum.

    Returns
    -------
    high : ndarray of uint8
        With `axis` shortened to ceil(n / group_size).  Unsigned: the bit length of the greatest
        value, at least 1.  Two's complement: that of the greatest ``x if x >= 0 else ~x``, and
        one more.  Sign-magnitude: that of the greatest ``abs(x)``, and one more.
    low : ndarray of uint8
        Only for ``ends="both"``: the position of the lowest set bit, 0 for an all-zero group.
        The width is ``high - low``.

    Raises
    ------
    TypeError
        If `x` is none of these integers, or `fmt` no fixed-point or integer format.
    ValueError
        If `group_size` is less than 1, `signed` is False and a value is negative, or `signed` is
        True and an unsigned value needs all bits of its type.

    See Also
    --------
    width_statistics, terms, compress

    Notes
    -----
    In sign-magnitude the most negative value of a type needs one bit more than the type has.

    Contiguous arrays are read where they are; of others one slab at a time is copied.  Widths of a
    dask array whose chunks hold whole groups are a dask array.

    References
    ----------
    A. Delmas Lascorz et al., "Dynamic Stripes: Exploiting the Dynamic Precision Requirements of
    Activation Values in Neural Networks", arXiv 1706.00504; "DPRed", arXiv 1804.06732.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.group_bits(np.array([1, 3, 0, 0, 9, 2], np.uint16), 2)
    array([2, 1, 4], dtype=uint8)
    >>> fl.group_bits(np.array([4, 12, -8, 0], np.int16), 2, ends="both")
    (array([5, 4], dtype=uint8), array([2, 3], dtype=uint8))

    Tiles, and values in units of a format's quantum (here 1/16):

    >>> fl.group_bits(np.array([[1, 0, 0], [0, 9, 2]], np.uint8), (2, 2), (0, 1))
    array([[4, 2]], dtype=uint8)
    >>> fl.group_bits([0.25, -0.5, 3.0], 1, fmt=fl.FixedFormat(3, 4))
    array([4, 4, 7], dtype=uint8)
    """
    if (lazy := chunked.dask_array(x)) is not None:
        if signed == "tensor":
            raise ValueError("signed='tensor' would look at all of a dask array; say True or False")
        how = {"ends": ends, "signed": signed, "encoding": encoding, "even_widths": even_widths}
        look = partial(group_bits, group_size=group_size, axis=axis, fmt=fmt, **how)
        return _of_chunks(look, lazy, grouping(group_size, axis, lazy.ndim))
    found = _Widths(x, group_size, axis, signed, encoding, fmt).find(_checked_ends(ends))
    high, low = _even(*found) if _flag("even_widths", even_widths) else found
    return high if low is None else (high, low)


@dataclass(frozen=True)
class WidthStatistics:
    """How wide the groups of a tensor are, beside one width for all of it.

    Attributes
    ----------
    layer_width : int
        Bits that every value takes if the tensor has one width, in the same convention; 0 if
        there is none.
    groups, values : int
        How many there are.
    histogram : tuple of int
        Number of groups of each width: ``histogram[w]`` of w bits, as far as there are any.
    mean : float
        Mean width of the groups; NaN if there is none.
    value_bits : int
        Sum over the values of the width of their group.
    """

    layer_width: int
    groups: int
    values: int
    histogram: tuple[int, ...]
    mean: float
    value_bits: int


def width_statistics(
    x: ArrayLike,
    group_size: int | tuple[int, int] = 16,
    axis: int | tuple[int, int] = -1,
    *,
    ends: Ends = "leading",
    signed: Signed = None,
    encoding: Encoding = "twos_complement",
    even_widths: bool = False,
    fmt: str | FixedFormat | IntegerFormat | None = None,
) -> WidthStatistics:
    """Sum up the widths of the groups of a tensor.

    Parameters
    ----------
    x, group_size, axis, ends, signed, encoding, even_widths, fmt
        As of `group_bits`.

    Returns
    -------
    WidthStatistics

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> found = fl.width_statistics(np.array([1, 3, 0, 0, 9], np.uint16), 2)
    >>> found.layer_width, found.mean, found.histogram, found.value_bits
    (4, 2.3333333333333335, (0, 1, 1, 0, 1), 10)
    """
    widths = _Widths(x, group_size, axis, signed, encoding, fmt)
    ends = _checked_ends(ends)
    found, whole = widths.find(ends), widths.of_all(ends)
    if _flag("even_widths", even_widths):
        found, whole = _even(*found), _even(*whole)
    each, layer = (high if low is None else high - low for high, low in (found, whole))
    histogram = np.bincount(each.reshape(-1))
    value_bits = int((each * widths.counts()).sum(dtype=np.int64))
    return WidthStatistics(
        layer_width=int(layer[0]),
        groups=each.size,
        values=math.prod(widths.shape),
        histogram=tuple(histogram.tolist()),
        mean=float(each.mean(dtype=np.float64)) if each.size else math.nan,
        value_bits=value_bits,
    )


Recoding = Literal["binary", "naf", "booth", "run_length"]


@overload
def terms(x: ArrayLike, recoding: Recoding = "binary") -> NDArray[np.uint8]: ...
@overload
def terms(
    x: ArrayLike,
    recoding: Recoding = "binary",
    *,
    group_size: int | tuple[int, int],
    axis: int | tuple[int, int] = -1,
) -> NDArray[np.int64]: ...
def terms(
    x: ArrayLike,
    recoding: Recoding = "binary",
    *,
    group_size: int | tuple[int, int] | None = None,
    axis: int | tuple[int, int] = -1,
) -> Any:
    """Effectual terms of integers: signed powers of two that make up each value.

    Parameters
    ----------
    x : array_like of int8, int16, int32, uint8, uint16 or uint32
        Any shape, any strides.
    recoding : {"binary", "naf", "booth", "run_length"}
        See Notes.
    group_size : int or (int, int), optional
        Sum the terms of each group, as `group_bits` has them.
    axis : int or (int, int)
        Of the groups.

    Returns
    -------
    ndarray of uint8, or of int64 for groups
        As many as `x` has values, or groups.

    Raises
    ------
    TypeError
        If `x` is none of these integers.
    ValueError
        If there is no such recoding.

    See Also
    --------
    product_terms

    Notes
    -----
    - "binary": the ones of the magnitude.
    - "naf": its non-adjacent form (canonical signed digits), the fewest terms that there are.
    - "booth": the digits that are not zero of radix-4 Booth, from -2 to 2, of the number in two's
      complement; ``x`` and ``-x`` may differ (2 is 4 - 2, -2 is one digit).
    - "run_length": of the magnitude from the top; a run of one or two ones gives a term for each.
      A run of three or more gives a positive term just above it, and what follows negative ones:
      each isolated zero, and the end of the last run before two zeros or more.

    References
    ----------
    J. Albericio et al., "Bit-Pragmatic Deep Neural Network Computing", MICRO 2017; S. Sharify et
    al., "Laconic Deep Learning Inference Acceleration", ISCA 2019.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.array([0, 27, -27, 255], np.int16)
    >>> fl.terms(x), fl.terms(x, "naf")
    (array([0, 4, 4, 8], dtype=uint8), array([0, 3, 3, 2], dtype=uint8))
    >>> fl.terms(x, "naf", group_size=2)
    array([3, 5])
    """
    if (lazy := chunked.dask_array(x)) is not None:
        look = partial(terms, recoding=recoding, group_size=group_size, axis=axis)
        groups = {} if group_size is None else grouping(group_size, axis, lazy.ndim)
        return _of_chunks(look, lazy, groups)
    array = integer_array(x)
    if recoding not in kernels.RECODINGS:
        raise ValueError(not_one_of("recoding", recoding, kernels.RECODINGS))
    groups = {} if group_size is None else grouping(group_size, axis, array.ndim)
    shape = scale_shape(array.shape, tuple(groups), tuple(groups.values()))  # type: ignore[arg-type]
    found: NDArray[Any] = np.empty(shape, np.int64 if groups else np.uint8)
    for index, piece in integer_slabs(array, groups):
        place: Any = (*scale_index(index, groups), ...)
        own = found[place]
        counts = np.empty(piece.shape, np.uint8) if groups else own
        kernels.count_terms(piece, recoding, counts)
        if groups:
            own[...] = _sums(counts, groups)
    return found


def product_terms(a: ArrayLike, b: ArrayLike, recoding: Recoding = "binary") -> NDArray[np.uint16]:
    """Pairs of effectual terms, one of each factor: the steps of a product in Laconic.

    Parameters
    ----------
    a, b : array_like of int8, int16, int32, uint8, uint16 or uint32
        Factors that broadcast.
    recoding : {"binary", "naf", "booth", "run_length"}
        As of `terms`.

    Returns
    -------
    ndarray of uint16
        ``terms(a) * terms(b)``.  Those of a whole matrix product are
        ``terms(a).astype(int) @ terms(b)``.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.product_terms(np.int16([7, 0, -3]), np.int16([7, 9, 5]), "naf")
    array([4, 0, 4], dtype=uint16)
    """
    products: NDArray[np.uint16] = np.multiply(
        terms(a, recoding), terms(b, recoding), dtype=np.uint16
    )
    return products


def _sums(counts: NDArray[np.uint8], groups: dict[int, int]) -> NDArray[np.int64]:
    """Sums over groups of an array that is not empty."""
    sums: NDArray[Any] = counts
    for axis, size in groups.items():
        starts = np.arange(0, counts.shape[axis], size)
        sums = np.add.reduceat(sums, starts, axis=axis, dtype=np.int64)
    return sums


def _of_chunks(look: Callable[..., Any], x: Any, groups: dict[int, int]) -> Any:
    """What a function makes of each chunk of a dask array, which holds whole groups."""
    chunked.check_whole(x, groups)
    none = look(np.zeros((0,) * x.ndim, x.dtype))  # which checks the arguments
    chunks = chunked.shortened(x.chunks, groups)
    if not isinstance(none, tuple):
        return chunked.map_chunks(look, x, dtype=none.dtype, chunks=chunks)
    parts = chunked.map_chunks(look, x, dtype=object)
    return tuple(
        chunked.map_chunks(itemgetter(i), parts, dtype=one.dtype, chunks=chunks)
        for i, one in enumerate(none)
    )


def integer_slabs(
    x: NDArray[Any], groups: dict[int, int]
) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
    """Parts of whole groups as kernels read them, copied only where they must be; their places.

    Nothing of an empty array.
    """
    if x.size and x.dtype.isnative and x.flags.c_contiguous and x.flags.aligned:
        yield (), x
    elif x.size:
        for index, _ in slabs_of(x.shape, groups, _SLAB):
            yield index, for_kernels(x[index])


def integer_array(x: ArrayLike) -> NDArray[Any]:
    """The array, if its type is one of `INTEGERS`."""
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them first")
    array = as_array(x)
    if array.dtype.newbyteorder("=").name not in INTEGERS:
        raise TypeError(
            f"x must be {', '.join(INTEGERS[:-1])} or {INTEGERS[-1]}, got {array.dtype}"
        )
    return array


def _checked_ends(ends: Ends) -> Ends:
    if ends not in ("leading", "both"):
        raise ValueError(f"ends must be 'leading' or 'both', got {ends!r}")
    return ends


def _flag(name: str, value: object) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name} must be True or False, got {value!r}")
    return bool(value)


_Found = tuple[NDArray[np.uint8], NDArray[np.uint8] | None]


def _even(high: NDArray[np.uint8], low: NDArray[np.uint8] | None) -> _Found:
    """Widths rounded up to even ones."""
    return high + (high & 1 if low is None else (high - low) & 1), low


class _Widths:
    """Checked arguments of `group_bits`, and the integers behind them, slab by slab."""

    def __init__(
        self, x: ArrayLike, group_size: Any, axis: Any, signed: Any, encoding: Any, fmt: Any
    ) -> None:
        self.fmt = None if fmt is None else get_format(fmt)
        if self.fmt is not None and not isinstance(self.fmt, (FixedFormat, IntegerFormat)):
            raise TypeError(f"fmt must be a fixed-point or integer format, got {self.fmt.name}")
        self.x = integer_array(x) if self.fmt is None else as_array(x)
        self.shape = self.x.shape
        self.groups = grouping(group_size, axis, self.x.ndim)
        if encoding not in ("twos_complement", "sign_magnitude"):
            raise ValueError(
                f"encoding must be 'twos_complement' or 'sign_magnitude', got {encoding!r}"
            )
        dtype = self.x.dtype if self.fmt is None else self.fmt.code_dtype
        is_signed_type = dtype.kind == "i"
        if signed == "tensor":
            signed = is_signed_type and self._lowest() < 0
        elif signed is None:
            signed = is_signed_type
        elif not isinstance(signed, (bool, np.bool_)):
            raise TypeError(f"signed must be True, False, 'tensor' or None, got {signed!r}")
        elif not signed and is_signed_type and self._lowest() < 0:
            raise ValueError(f"signed=False, but the array holds {self._lowest()}")
        elif signed and not is_signed_type and self._greatest() >> (8 * dtype.itemsize - 1):
            bits = 8 * dtype.itemsize + 1
            ordinal = "33rd" if bits == 33 else f"{bits}th"
            raise ValueError(f"signed=True, but {self._greatest()} needs a {ordinal} bit")
        self.encoding = encoding if signed else "unsigned"

    def find(self, ends: Ends) -> _Found:
        """High and, if it is wanted, low ends of each group."""
        axes, sizes = tuple(self.groups), tuple(self.groups.values())
        shape = scale_shape(self.shape, axes, sizes)  # type: ignore[arg-type]
        high = np.empty(shape, np.uint8)
        low = np.empty(shape, np.uint8) if ends == "both" else None
        for index, piece in self._pieces():
            to = scale_index(index, self.groups)
            part_low = None if low is None else low[to]
            kernels.group_bits(piece, *self._tiles(piece.shape), self.encoding, high[to], part_low)
        return high, low

    def of_all(self, ends: Ends) -> _Found:
        """The same of all values as one group."""
        high, every = np.zeros(1, np.uint8), 0
        for _, piece in self._pieces():
            part = np.empty(1, np.uint8)
            shape = (1, 1, 1, piece.size, 1)
            kernels.group_bits(piece, shape, 1, piece.size, self.encoding, part)
            high = np.maximum(high, part)
            every |= int(np.bitwise_or.reduce(piece, axis=None))
        low = np.array([max((every & -every).bit_length() - 1, 0)], np.uint8)
        return high, (low if ends == "both" else None)

    def counts(self) -> Any:
        """Values of each group; broadcasts against them."""
        result: Any = np.int64(1)
        for axis, size in self.groups.items():
            length = self.shape[axis]
            edges = np.append(np.arange(0, length, size), length)
            shape = [1] * len(self.shape)
            shape[axis] = -1
            result = result * np.diff(edges).reshape(shape)
        return result

    def _tiles(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
        """A part of the array as the kernel sees it, rows and columns of a group."""
        sizes = [min(size, shape[axis]) for axis, size in self.groups.items()]
        if len(sizes) == 1:
            return split_axes(shape, next(iter(self.groups))), 1, sizes[0]
        return split_axes(shape, cast("tuple[int, int]", tuple(self.groups))), sizes[0], sizes[1]

    def _pieces(self) -> Iterator[tuple[tuple[slice, ...], NDArray[Any]]]:
        """The integers of whole groups, and where they are."""
        if self.fmt is None:
            yield from integer_slabs(self.x, self.groups)
        elif self.x.size:
            for index, _ in slabs_of(self.shape, self.groups, _SLAB):
                yield index, for_kernels(np.asarray(encode(self.x[index], self.fmt)))

    def _lowest(self) -> int:
        return min((int(piece.min()) for _, piece in self._pieces()), default=0)

    def _greatest(self) -> int:
        return max((int(piece.max()) for _, piece in self._pieces()), default=0)


def grouping(group_size: Any, axis: Any, ndim: int) -> dict[int, int]:
    """The axes of groups in order, each with the length of a group along it."""
    paired = [isinstance(one, (tuple, list)) for one in (group_size, axis)]
    if not any(paired):
        size = whole_number("group_size", group_size, 1)
        return {normalize_axis(axis, ndim): size}
    if not all(paired) or len(group_size) != 2 or len(axis) != 2:
        raise ValueError(
            f"group_size and axis must both be pairs for tiles, got {group_size!r} and {axis!r}"
        )
    axes = [normalize_axis(one, ndim) for one in axis]
    if axes[0] == axes[1]:
        raise ValueError(f"the axes of tiles must be two, got {axis!r}")
    sizes = [whole_number("group_size", one, 1) for one in group_size]
    return dict(sorted(zip(axes, sizes, strict=True)))
