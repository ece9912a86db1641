"""What quantising does to an array: errors and events, counted as the values are made."""

from __future__ import annotations

import itertools
import math
import operator
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, fields, replace
from functools import partial
from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import chunked, codec
from fmtlib._core import kernels
from fmtlib._core.ufuncs import Elementwise, get_ufunc
from fmtlib.arguments import is_lazy, whole_number
from fmtlib.blocks import BlockArray, for_kernels, normalize_axis, split_axis
from fmtlib.formats import BlockFormat, FixedFormat, Format, Overflow, Rounding, get_format
from fmtlib.random_words import Seed, Words

# Elements are quantised and looked at this many at a time, so that they stay in the cache.
_PIECE = 1 << 14
# Sums are kept for this many elements before they are added to the whole: a unit that does not
# depend on the number of workers, nor does the order of additions.
_BATCH = 1 << 18

Counts: TypeAlias = int | NDArray[np.int64]
Reals: TypeAlias = float | NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class ErrorStatistics:
    """Errors of quantised values ``q`` against the values ``x`` they came from.

    Fields are numbers for a whole array, else arrays with one entry per channel or block.  Errors
    are those of the elements where both x and q are finite; there are `count` of them.  The
    differences are computed and added in float64.

    Attributes
    ----------
    count : int
        Elements whose errors are summed.
    nan, infinite : int
        NaN and infinities among x.  Left out of everything else.
    nonfinite : int
        Finite x that became NaN or infinity.  Left out of the errors.
    inexact : int
        Finite x with ``q != x``.
    overflow : int
        Finite x that, rounded as if the format had no greatest value, lie beyond its greatest (or
        least) value, as ``overflow="raise"`` has it; whatever became of them.
    underflow : int
        Finite x with ``q != x`` and ``|q|`` below the least normal value: tininess is judged on the
        result.  (IEEE 754 judges it on x rounded with unbounded exponent, which differs where x
        rounds up to the least normal value.)  For fixed and integer formats the least normal value
        is one step; in a format without a zero, x below the least value count.  Overflows do not.
    flushed : int
        Finite non-zero x that became zero.  Overflows do not count.
    max_error : float
        Greatest ``|q - x|``; 0 if there is no element; infinite if float64 does not hold it.
    max_ulp_error : float
        Greatest ``|q - x| / u``, with ``u`` the spacing of the format's values at x (times the
        scale): ``2**(E - mantissa_bits)`` for the binade E of ``|x| / scale``, brought into the
        range of the format's normal values; the quantum of fixed and integer formats.  0 if there
        is no element, infinite if `max_error` is; blocks whose scale is zero or NaN have no
        spacing and are left out.
    sum_squares, sum_squared_errors : float
        Sums of ``x**2`` and of ``(q - x)**2``.

    See Also
    --------
    error_statistics : makes them.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> first = fl.error_statistics(np.array([1.0, 1000.0]), "e4m3")
    >>> second = fl.error_statistics(np.array([1e-9, np.nan]), "e4m3")
    >>> both = first + second
    >>> both.count, both.overflow, both.flushed, both.nan, both.max_error
    (3, 1, 1, 1, 552.0)
    """

    count: Counts
    nan: Counts
    infinite: Counts
    nonfinite: Counts
    inexact: Counts
    overflow: Counts
    underflow: Counts
    flushed: Counts
    max_error: Reals
    max_ulp_error: Reals
    sum_squares: Reals
    sum_squared_errors: Reals

    @property
    def rms_error(self) -> Any:
        """``sqrt(sum_squared_errors / count)``; NaN if there is no element."""
        with np.errstate(invalid="ignore"):
            return _plain(np.sqrt(np.divide(self.sum_squared_errors, self.count)))

    @property
    def sqnr_db(self) -> Any:
        """Signal to quantisation-noise ratio in decibels.

        ``10 * log10(sum_squares / sum_squared_errors)``: infinity if there is no error, NaN if
        there is no element.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.divide(self.sum_squares, self.sum_squared_errors)
            decibels = 10 * np.log10(ratio)
        exact = np.equal(self.sum_squared_errors, 0) & np.greater(self.count, 0)
        return _plain(np.where(exact, np.inf, decibels))

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the fields: ``()`` for a whole array."""
        return np.shape(self.count)

    def __add__(self, other: ErrorStatistics) -> ErrorStatistics:
        """The statistics of two arrays together, channel by channel if they have channels."""
        if not isinstance(other, ErrorStatistics):
            return NotImplemented
        if self.shape != other.shape:
            raise ValueError(
                f"statistics of shapes {self.shape} and {other.shape} do not add; see total()"
            )
        return ErrorStatistics(
            *(
                _plain((np.maximum if field.name in _GREATEST else np.add)(a, b))
                for field in fields(self)
                for a, b in [(getattr(self, field.name), getattr(other, field.name))]
            )
        )

    def total(self) -> ErrorStatistics:
        """The statistics of all channels or blocks together; computed, if they are lazy."""
        if is_lazy(self.count):
            sums = {field.name: _over_chunks(self, field.name) for field in fields(self)}
            found = chunked.computed(sums)
            return ErrorStatistics(**{name: _plain(value) for name, value in found.items()})
        return ErrorStatistics(
            *(
                _plain(np.max(values, initial=0) if field.name in _GREATEST else np.sum(values))
                for field in fields(self)
                for values in [getattr(self, field.name)]
            )
        )

    def to_dict(self) -> dict[str, Any]:
        """All fields, and `rms_error` and `sqnr_db`, by name."""
        named = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**named, "rms_error": self.rms_error, "sqnr_db": self.sqnr_db}


_GREATEST = ("max_error", "max_ulp_error")


def _over_chunks(statistics: ErrorStatistics, name: str) -> Any:
    """The sum or the greatest of a lazy field, itself lazy."""
    values: Any = getattr(statistics, name)
    if name not in _GREATEST:
        return values.sum()
    ones = tuple((1,) * n for n in values.numblocks)
    return chunked.map_chunks(_greatest_of, values, dtype=values.dtype, chunks=ones).max()


def _greatest_of(part: NDArray[np.float64]) -> NDArray[np.float64]:
    greatest: NDArray[np.float64] = np.max(part, initial=0, keepdims=True)
    return greatest


@overload
def error_statistics(
    x: ArrayLike,
    fmt: str | Format,
    *,
    rounding: Rounding = ...,
    overflow: Overflow = ...,
    seed: Seed = ...,
    random_bits: int | None = ...,
    axis: int | tuple[int, int] | None = ...,
    block_size: int | None = ...,
    scale: ArrayLike | None = ...,
    zero_point: ArrayLike | None = ...,
    return_values: Literal[False] = ...,
    workers: int | None = ...,
) -> ErrorStatistics: ...
@overload
def error_statistics(
    x: ArrayLike,
    fmt: str | Format,
    *,
    rounding: Rounding = ...,
    overflow: Overflow = ...,
    seed: Seed = ...,
    random_bits: int | None = ...,
    axis: int | tuple[int, int] | None = ...,
    block_size: int | None = ...,
    scale: ArrayLike | None = ...,
    zero_point: ArrayLike | None = ...,
    return_values: Literal[True],
    workers: int | None = ...,
) -> tuple[ErrorStatistics, NDArray[Any]]: ...
def error_statistics(
    x: ArrayLike,
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    seed: Seed = None,
    random_bits: int | None = None,
    axis: int | tuple[int, int] | None = None,
    block_size: int | None = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    return_values: bool = False,
    workers: int | None = None,
) -> Any:
    """Quantise an array and tell what that did to it.

    Parameters
    ----------
    x : array_like of float16, bfloat16, float32, float64, or integers up to 2**53 in magnitude
        Any shape and strides.  A type that cannot hold the format's values counts as float64.
    fmt : str or Format
        See `get_format`.
    rounding, overflow, seed, random_bits, scale, zero_point
        As for `quantize`.
    axis : int or (int, int), optional
        Statistics per channel, the entries of this axis; None is the whole array.  A
        one-dimensional `scale` runs along it too.  For block formats, and with `block_size`, the
        axis of the blocks, by default the last; for formats of tiles a pair of axes.
    block_size : int, optional
        Statistics per block of so many elements along `axis`.  Not for block formats, whose blocks
        are their own.
    return_values : bool
        Whether to return the quantised values too.
    workers : int, optional
        Threads that share large arrays; 1 by default.  Results do not depend on it.

    Returns
    -------
    ErrorStatistics
        With fields that are numbers, or arrays: of shape ``(x.shape[axis],)`` per channel, shaped
        like the scales of a BlockArray per block.
    ndarray
        If `return_values`: what ``quantize`` gives; float64 where x's type cannot hold it.

    Raises
    ------
    TypeError, ValueError
        As for `quantize`; integers beyond 2**53.

    Notes
    -----
    A NaN that meets a format without NaN raises NumPy's "invalid" error as in `quantize`.
    Whether an element of a block overflows is told by its exact quotient by the block's scale, of
    which the float32 steps of NVFP4 may fall short.

    Sums are the same for any number of workers, strides and instruction sets: the order of
    additions depends on the shape alone, and on the chunks of a dask array.  A dask array is looked
    at when the function is called, chunk by chunk; statistics of its blocks have dask arrays as
    fields, which `ErrorStatistics.total` adds up.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.random.default_rng(0).standard_normal((4, 1000), dtype=np.float32)
    >>> found = fl.error_statistics(x, "e4m3")
    >>> found.count, found.overflow, round(found.sqnr_db, 1)
    (4000, 0, 31.7)
    >>> fl.error_statistics(x, "e4m3", axis=0).max_ulp_error.shape
    (4,)
    >>> fl.error_statistics(x, fl.bfp(4)).shape
    (4, 63)
    """
    fmt = get_format(fmt)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    mode = codec.Mode.of(fmt, rounding, overflow, random_bits)
    words = mode.words(seed)
    modes: dict[str, Any] = {"rounding": rounding, "overflow": overflow, "random_bits": random_bits}
    modes |= {"workers": workers}
    if (lazy := chunked.dask_array(x)) is not None:
        if return_values:
            raise TypeError("the values of a dask array are those of quantize, which are lazy")
        scaling = {"scale": scale, "zero_point": zero_point}
        return _of_chunks(lazy, fmt, mode, words, axis, block_size, scaling, modes)
    array = _values(x, fmt)
    if words is not None:
        words.check(array.shape)
    modes["seed"] = words
    values: Any = None
    along: Any = axis
    if isinstance(fmt, BlockFormat):
        _refuse_for_blocks(fmt, block_size, scale, zero_point)
        encoded = codec.encode(array, fmt, axis=along, **modes)
        statistics, values = _of_blocks(array, encoded, mode, words, workers)
        return (statistics, values) if return_values else statistics
    fmt = codec.elementwise(fmt)
    if block_size is not None:
        block_size = whole_number("block_size", block_size, 1)
    if block_size is not None or axis is not None:
        along = normalize_axis(along, array.ndim)
    array = for_kernels(array)
    if scale is None and block_size is None and mode.overflow != "raise":
        codec.refuse_scaling(zero_point, None)
        if return_values:
            values = np.empty(array.shape, array.dtype)
        given = _Elements(fmt, mode, array, values, source=words, quantised=False)
        statistics = _per_channel(given, along, workers)
    else:
        per_channel = max(np.ndim(part) for part in (scale, zero_point))  # type: ignore[arg-type]
        scale_axis = along if per_channel else None
        modes |= {"axis": scale_axis, "scale": scale, "zero_point": zero_point}
        values = np.asarray(codec.quantize(array, fmt, **modes))
        given = _Elements(fmt, mode, array, values)
        given.words = None if words is None else words.all_of(array.shape)
        if scale is not None:
            scales, zeros = codec.scaling_arrays(fmt, array.shape, scale_axis, scale, zero_point)
            given.scales = np.ascontiguousarray(np.broadcast_to(scales, array.shape))
            if zero_point is not None:
                given.zero_points = np.ascontiguousarray(np.broadcast_to(zeros, array.shape))
        if block_size is None:
            statistics = _per_channel(given, along, workers)
        else:
            statistics = _per_block(given, (along,), (block_size,), workers)
    return (statistics, values) if return_values else statistics


def _values(x: ArrayLike, fmt: Format) -> NDArray[Any]:
    """The array, in a type that holds both its values and the format's."""
    array = codec.real_array(x)
    if array.dtype.itemsize > 8:
        raise TypeError(f"statistics are in float64: x must not be wider, got {array.dtype}")
    if array.dtype.kind in "iu":
        greatest = max(int(array.max()), -int(array.min())) if array.size else 0
        if greatest > 2**53:
            raise ValueError(f"integers must be within 2**53 in magnitude, got {greatest}")
        return array.astype(np.float64)
    return array if fmt.fits(array.dtype.name) else array.astype(np.float64)


def _tuple(value: Any) -> tuple[int, ...]:
    """The axes (or sizes) of blocks: one, or two for tiles."""
    return tuple(value) if isinstance(value, tuple) else (value,)


def _block_scales(b: BlockArray) -> NDArray[np.float64]:
    """The scale of each element; infinity, which leaves it out, where there is none."""
    fmt = b.format
    size_of = dict(zip(_tuple(b.axis), _tuple(fmt.block_size), strict=True))
    block_of = [np.arange(n) // size_of.get(axis, 1) for axis, n in enumerate(b.shape)]
    spread = np.ix_(*block_of)
    codes = (b.scales & (2**fmt.scale.bits - 1)).astype(fmt.scale.code_dtype)
    scales = codec.decode(codes, fmt.scale, dtype=np.float64)
    if b.tensor_scale is not None:
        scales = scales * np.float64(b.tensor_scale)
    scales = np.where(scales > 0, scales, np.inf)[spread]
    if fmt.micro_size is not None:  # a bit for each part of a block that halves the scale
        (axis,) = _tuple(b.axis)
        part = np.arange(b.shape[axis]) % fmt.block_size // fmt.micro_size
        part = part.reshape([-1 if i == axis else 1 for i in range(b.ndim)])
        scales = np.where(b.scales[spread] >> (fmt.scale.bits + part) & 1, scales / 2, scales)
    return np.ascontiguousarray(scales)


def _block_element(fmt: BlockFormat) -> Elementwise:
    """The format of the elements; blocks never hold the most negative one of two's complement."""
    if isinstance(fmt.element, FixedFormat):
        return replace(fmt.element, encoding="sign_magnitude")
    return fmt.element


def _refuse_for_blocks(
    fmt: BlockFormat, block_size: object, scale: object, zero_point: object
) -> None:
    if block_size is not None:
        raise ValueError(f"{fmt.name} has blocks of its own: block_size must be None")
    codec.refuse_for_blocks(scale, zero_point)


def _of_blocks(
    x: NDArray[Any], encoded: BlockArray, mode: codec.Mode, words: Words | None, workers: int
) -> tuple[ErrorStatistics, NDArray[Any]]:
    """The statistics of each block, and the values."""
    fmt = encoded.format
    values = codec.decode(encoded, dtype=x.dtype)
    given = _Elements(_block_element(fmt), mode, x, values, _block_scales(encoded))
    given.words = None if words is None else words.all_of(x.shape)
    return _per_block(given, _tuple(encoded.axis), _tuple(fmt.block_size), workers), values


# --- of dask arrays -------------------------------------------------------------------------


def _of_chunks(
    x: Any,
    fmt: Format,
    mode: codec.Mode,
    words: Words | None,
    axis: Any,
    block_size: int | None,
    scaling: dict[str, Any],
    modes: dict[str, Any],
) -> ErrorStatistics:
    """The statistics of a dask array: its chunks', added up; of blocks lazy."""
    if isinstance(fmt, BlockFormat):
        _refuse_for_blocks(fmt, block_size, **scaling)
        encoded = codec.encode(x, fmt, axis=axis, seed=words, **modes)
        tensor = [] if encoded.tensor_scale is None else [encoded.tensor_scale]
        how = {"fmt": fmt, "axis": encoded.axis, "mode": mode, "workers": modes["workers"]}
        arrays = x, encoded.codes, encoded.scales, *tensor
        part = partial(_of_part, **how)
        parts = chunked.map_chunks(part, *arrays, dtype=object, words=words)
        return _lazy_fields(parts, chunked.shortened(x.chunks, encoded.blocks))
    codec.elementwise(fmt)
    axis = None if axis is None and block_size is None else normalize_axis(axis, x.ndim)
    scaling |= {"axis": axis}
    look: Callable[..., ErrorStatistics] = partial(error_statistics, fmt=fmt, **modes)
    if block_size is not None:
        groups = {axis: whole_number("block_size", block_size, 1)}
        chunked.check_whole(x, groups)
        look = partial(look, block_size=block_size)
        parts = chunked.map_chunks(look, x, dtype=object, words=words, scaling=scaling)
        return _lazy_fields(parts, chunked.shortened(x.chunks, groups))
    if axis is not None or words is not None:
        chunked.check_known(x, "a seed or an axis")
    at: Callable[..., ErrorStatistics]
    at = partial(chunked.call_at, function=look, words=words, scaling=scaling)
    found = chunked.reduce(x, at, operator.add, axis)
    if axis is None:
        whole: ErrorStatistics = found[0]
        return whole
    names = [field.name for field in fields(ErrorStatistics)]
    return ErrorStatistics(*(np.concatenate([getattr(f, name) for f in found]) for name in names))


def _of_part(
    x: NDArray[Any],
    codes: NDArray[Any],
    scales: NDArray[Any],
    tensor: np.float32 | None = None,
    *,
    fmt: BlockFormat,
    axis: int | tuple[int, int],
    mode: codec.Mode,
    workers: int,
    seed: Words | None = None,
) -> ErrorStatistics:
    encoded = BlockArray(codes, scales, fmt, axis, None if tensor is None else np.float32(tensor))
    return _of_blocks(_values(x, fmt), encoded, mode, seed, workers)[0]


def _lazy_fields(parts: Any, chunks: chunked.Chunks) -> ErrorStatistics:
    """Statistics whose fields are dask arrays, of what chunks became."""

    def field_of(name: str) -> Any:
        dtype = kernels.ERRORS[name]
        return chunked.map_chunks(operator.attrgetter(name), parts, dtype=dtype, chunks=chunks)

    return ErrorStatistics(*(field_of(field.name) for field in fields(ErrorStatistics)))


# --- sums -----------------------------------------------------------------------------------


@dataclass
class _Elements:
    """Elements to look at, C-contiguous, and what they were quantised to.

    Unless they are yet to be: into `values` if there is such an array.
    """

    fmt: Elementwise
    mode: codec.Mode
    x: NDArray[Any]
    values: NDArray[Any] | None
    scales: NDArray[Any] | None = None
    zero_points: NDArray[Any] | None = None
    words: NDArray[np.uint32] | None = None
    source: Words | None = None  # of random words to quantise with
    quantised: bool = True

    def rearranged(self, part: tuple[slice, ...], lengths: tuple[int, ...]) -> _Elements:
        """A part of the arrays, one block after the other, of these lengths along each axis."""

        def cut(array: NDArray[Any] | None) -> Any:
            if array is None:
                return None
            some = array[part]
            pairs = [(n // length, length) for n, length in zip(some.shape, lengths, strict=True)]
            outer, inner = range(0, 2 * some.ndim, 2), range(1, 2 * some.ndim, 2)
            split = some.reshape([n for pair in pairs for n in pair])
            return np.ascontiguousarray(split.transpose(*outer, *inner))

        arrays = (self.x, self.values, self.scales, self.zero_points, self.words)
        return _Elements(self.fmt, self.mode, *map(cut, arrays))


def _per_channel(given: _Elements, axis: int | None, workers: int) -> ErrorStatistics:
    if axis is None:
        return _statistics(_sums(given, 1, max(given.x.size, 1), workers)[0])
    _, length, inner = split_axis(given.x.shape, axis)
    if length == 1:
        return _statistics(_sums(given, 1, max(given.x.size, 1), workers))
    return _statistics(_sums(given, length, inner, workers))


def _per_block(
    given: _Elements, axes: tuple[int, ...], sizes: tuple[int, ...], workers: int
) -> ErrorStatistics:
    """Cut the array into parts whose blocks are all of one shape, and add those up."""
    shape = given.x.shape
    size_of = dict(zip(axes, sizes, strict=True))
    # Along each axis: where the elements are, where their blocks are, and the blocks' length.
    cuts: list[list[tuple[slice, slice, int]]] = []
    for axis, n in enumerate(shape):
        size = size_of.get(axis, 1)
        whole, rest = divmod(n, size)
        cuts.append([(slice(0, whole * size), slice(0, whole), size)])
        if rest:
            cuts[-1].append((slice(whole * size, n), slice(whole, whole + 1), rest))
    grid = [-(-n // size_of.get(axis, 1)) for axis, n in enumerate(shape)]
    result = np.zeros(grid, kernels.ERRORS)
    for parts in itertools.product(*cuts):
        elements, blocks, lengths = zip(*parts, strict=True)
        cut = given.rearranged(elements, lengths)
        to = result[blocks]
        to[...] = _sums(cut, to.size, math.prod(lengths), workers).reshape(to.shape)
    return _statistics(result)


def _sums(given: _Elements, length: int, inner: int, workers: int) -> NDArray[Any]:
    """Sums of the channels, kernels.ERRORS; element i is of channel ``i // inner % length``."""
    size = given.x.size
    totals = np.zeros(length, kernels.ERRORS)
    batches = _batches(size, length * inner)

    def work(start: int, stop: int) -> tuple[int, NDArray[Any]]:
        first, last = 0, length - 1
        if stop - start < length * inner:  # a part of one row of channels
            first, last = (i // inner % length for i in (start, stop - 1))
        sums = np.zeros(last + 1 - first, kernels.ERRORS)
        _add(given, length, inner, start, stop, first, sums)
        return first, sums

    def add(found: tuple[int, NDArray[Any]]) -> None:
        first, sums = found
        into = totals[first : first + len(sums)]
        for name in kernels.ERRORS.names or ():
            combine = np.maximum if name in _GREATEST else np.add
            combine(into[name], sums[name], out=into[name])

    if workers == 1 or size <= _BATCH:
        for start, stop in batches:
            add(work(start, stop))
        return totals
    with ThreadPoolExecutor(workers) as pool:
        # np.errstate lives in the context, which threads do not inherit
        futures = [pool.submit(copy_context().run, work, start, stop) for start, stop in batches]
        for future in futures:
            add(future.result())
    return totals


def _batches(size: int, row: int) -> Iterator[tuple[int, int]]:
    """Parts of range(size): several rows, or a part of one, so that few channels are touched."""
    if row <= _BATCH:
        step = _BATCH // row * row if row else 1
        yield from ((start, min(start + step, size)) for start in range(0, size, step))
        return
    for first in range(0, size, row):
        for start in range(first, first + row, _BATCH):
            yield start, min(start + _BATCH, first + row)


def _add(
    given: _Elements,
    length: int,
    inner: int,
    start: int,
    stop: int,
    first_channel: int,
    sums: NDArray[Any],
) -> None:
    """Add elements start to stop, quantising them if they are not yet."""
    mode = given.mode
    for begin in range(start, stop, _PIECE):
        end = min(begin + _PIECE, stop)

        def here(array: NDArray[Any] | None, begin: int = begin, end: int = end) -> Any:
            return None if array is None else array.reshape(-1)[begin:end]

        x, q, words = here(given.x), here(given.values), here(given.words)
        if not given.quantised:
            quantise = get_ufunc(
                "quantize", given.fmt, mode.rounding, mode.overflow, mode.random_bits
            )
            if given.source is not None:
                words = given.source.take(begin, end - begin)
            q = quantise(x, *(() if words is None else (words,)), out=q)
        kernels.add_errors(
            given.fmt,
            mode.rounding,
            mode.random_bits,
            x.astype(np.float64),
            q.astype(np.float64),
            here(given.scales),
            here(given.zero_points),
            words,
            begin,
            length,
            inner,
            first_channel,
            sums,
        )


def _statistics(sums: Any) -> ErrorStatistics:
    return ErrorStatistics(
        **{field.name: _plain(sums[field.name].copy()) for field in fields(ErrorStatistics)}
    )


def _plain(value: Any) -> Any:
    """0-d results as Python numbers."""
    return value.item() if np.ndim(value) == 0 else value
