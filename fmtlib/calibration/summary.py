"""What calibration keeps of data: the range and a histogram, the same however the data are cut.

A histogram has bins of one width, a power of two, ``w = 2**e``.  Bin ``t`` counts the values with
``trunc(x / w) == t``, so bin 0 is twice as wide as the others, and bins t and -t are mirror images.
``e`` is the least for which the greatest magnitude has ``|t| < bins``.  When a greater magnitude
arrives, bins are added up in twos, fours, ...: ``trunc(x / 2**d w) == trunc(trunc(x / w) / 2**d)``,
so counts are exactly those of a histogram that had the final width from the start.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.calibration.sources import Blocks, Whole, working_type
from fmtlib.codec import chunks

# What ranks are of.
Order: TypeAlias = Literal["values", "magnitudes"]

# Elements are looked at this many at a time, so that they stay in the cache.
_PIECE = 1 << 16
# Bits that are told at a time where magnitudes are ranked.
_DIGITS = 12
# The width of bins when nothing but zeros was seen, and its least: 2**-e is still a number.
_LEAST_EXPONENT = -1022


@dataclass(frozen=True)
class Summary:
    """Of the values of each channel.

    Attributes
    ----------
    low, high : ndarray of float64, shape (channels,)
        The least and the greatest finite value; infinity and -infinity where there is none.
    finite, nonfinite : ndarray of int64, shape (channels,)
        How many finite values there are, and how many NaN and infinities.
    counts : ndarray of int64, shape (channels, 2 * bins - 1)
        The histogram, bin 0 in the middle; bins is 0 where none is wanted.
    exponent : ndarray of int64, shape (channels,)
        The width of a bin is ``2**exponent``.
    """

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    finite: NDArray[np.int64]
    nonfinite: NDArray[np.int64]
    counts: NDArray[np.int64]
    exponent: NDArray[np.int64]

    @classmethod
    def empty(cls, channels: int, bins: int) -> Summary:
        """Of no values."""
        return cls(
            np.full(channels, np.inf),
            np.full(channels, -np.inf),
            np.zeros(channels, np.int64),
            np.zeros(channels, np.int64),
            np.zeros((channels, max(2 * bins - 1, 0)), np.int64),
            np.full(channels, _LEAST_EXPONENT, np.int64),
        )

    @property
    def bins(self) -> int:
        """Bins of magnitudes."""
        return int(self.counts.shape[1] + 1) // 2

    @property
    def amax(self) -> NDArray[np.float64]:
        """The greatest magnitude of each channel, 0 where there is no value."""
        return np.maximum(np.maximum(self.high, -self.low), 0)

    def magnitudes(self, channel: int) -> NDArray[np.int64]:
        """The histogram of a channel's magnitudes: bin i counts ``i <= |x| / w < i + 1``."""
        middle = self.bins - 1
        found = self.counts[channel, middle:].copy()
        found[1:] += self.counts[channel, :middle][::-1]
        return found

    def centres(self, channel: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """What stands for the values of each bin that has any, and how many they are.

        The middle of the bin, which is 0 for bin 0, within the range of the values.
        """
        counts = self.counts[channel]
        where = np.flatnonzero(counts)
        t = (where - (self.bins - 1)).astype(np.float64)
        centres = (t + 0.5 * np.sign(t)) * self.width(channel)
        return np.clip(centres, self.low[channel], self.high[channel]), counts[where]

    def width(self, channel: int) -> float:
        """The width of a bin."""
        return float(np.ldexp(1.0, int(self.exponent[channel])))

    def beside(self, other: Summary) -> Summary:
        """Of the channels of both."""
        parts = zip(vars(self).values(), vars(other).values(), strict=True)
        return Summary(*(np.concatenate(pair) for pair in parts))

    def merge(self, other: Summary) -> Summary:
        """Of both together."""
        exponent = np.maximum(self.exponent, other.exponent)
        counts = _coarser(self.counts, exponent - self.exponent)
        return Summary(
            np.minimum(self.low, other.low),
            np.maximum(self.high, other.high),
            self.finite + other.finite,
            self.nonfinite + other.nonfinite,
            counts + _coarser(other.counts, exponent - other.exponent),
            exponent,
        )


@np.errstate(all="ignore")
def summarize(array: NDArray[Any], axis: int | None, bins: int = 0) -> Summary:
    """Look at an array once; `axis` is that of the channels, None if the array is one."""
    array, axis = with_channels(array, axis)
    length = array.shape[axis]
    found = Summary.empty(length, bins)
    others = tuple(i for i in range(array.ndim) if i != axis)
    along = [-1 if i == axis else 1 for i in range(array.ndim)]
    for piece, channels in _pieces(array, axis):
        low, high = found.low[channels], found.high[channels]
        finite = None
        least, greatest = piece.min(axis=others), piece.max(axis=others)
        if not (np.isfinite(least) & np.isfinite(greatest)).all():
            finite = np.isfinite(piece)
            least = piece.min(axis=others, where=finite, initial=np.inf)
            greatest = piece.max(axis=others, where=finite, initial=-np.inf)
            found.nonfinite[channels] += (~finite).sum(axis=others)
        np.minimum(low, least, out=low)
        np.maximum(high, greatest, out=high)
        if not bins:
            continue
        exponent, counts = found.exponent[channels], found.counts[channels]
        amax = found.amax[channels]
        needed = _exponents(amax, bins)
        if (needed > exponent).any():
            counts[...] = _coarser(counts, needed - exponent)
            exponent[...] = needed
        # Of channels of zeros the width is of no matter.
        e = np.where(amax > 0, needed, 0).reshape(along)
        # By a power of two, so that products are exact where they are not below 1.
        dtype = piece.dtype if (np.abs(e) <= 126).all() else np.float64
        scaled = piece * np.ldexp(1.0, -e).astype(dtype)
        first = np.arange(len(counts)).reshape(along) * counts.shape[1] + (bins - 1)
        if finite is None:
            index = (scaled.astype(np.intp) + first).reshape(-1)
        else:
            index = (np.where(finite, scaled, 0).astype(np.intp) + first)[finite]
        if index.size >= counts.size // 8:
            counts += np.bincount(index, minlength=counts.size).reshape(counts.shape)
        else:
            np.add.at(counts.reshape(-1), index, 1)
    found.finite[...] = (array.size // length if length else 0) - found.nonfinite
    return found


def with_channels(array: NDArray[Any], axis: int | None) -> tuple[NDArray[Any], int]:
    """The array with an axis of channels, and its axes in the order of memory."""
    if axis is None:
        array, axis = array[None], 0
    order = sorted(range(array.ndim), key=lambda i: -abs(array.strides[i]))
    return array.transpose(order), order.index(axis)


def values_of_rank(source: Whole | Blocks, ranks: NDArray[np.int64], of: Order) -> list[float]:
    """Of each channel the finite value (or magnitude) of which exactly so many others are smaller.

    A few bits are told at a time, so that memory does not grow with the array; an array that is
    small is sorted as far as it needs to be.
    """
    axis = source.axis
    if isinstance(source, Whole) and source.array.size <= _PIECE:
        channels = [source.array] if axis is None else np.moveaxis(source.array, axis, 0)
        return [_of_rank(*item, of) for item in zip(channels, ranks.tolist(), strict=True)]
    width, known = 8 * np.dtype(working_type(source.dtype)).itemsize, 0
    prefixes = np.zeros(len(ranks), np.uint64)
    ranks = ranks.copy()
    while known < width:
        digits = min(_DIGITS, width - known)
        known += digits

        def counts_of(channels: slice, known: int = known, digits: int = digits) -> Any:
            return partial(
                _digit_counts, axis=axis, prefixes=prefixes[channels], known=known, digits=digits,
                of=of,
            )  # fmt: skip

        upto = np.cumsum(np.concatenate(source.reduce(counts_of, np.add)), axis=1)
        for channel, rank in enumerate(ranks.tolist()):
            digit = int(np.searchsorted(upto[channel], rank, side="right"))
            ranks[channel] -= int(upto[channel, digit - 1]) if digit else 0
            prefixes[channel] = int(prefixes[channel]) << digits | digit
    return [float(value) for value in _from_keys(prefixes.astype(f"u{width // 8}"), of)]


@np.errstate(all="ignore")
def _of_rank(array: NDArray[Any], rank: int, of: Order) -> float:
    array, _ = with_channels(array, None)
    values = np.concatenate([piece.ravel() for piece, _ in _pieces(array, 0)])
    values = values[np.isfinite(values)]
    return float(np.partition(np.abs(values) if of == "magnitudes" else values, rank)[rank])


@np.errstate(all="ignore")
def _digit_counts(
    array: NDArray[Any],
    axis: int | None,
    prefixes: NDArray[np.uint64],
    known: int,
    digits: int,
    of: Order,
) -> NDArray[np.int64]:
    """For each channel, how many keys that begin with its prefix go on with each digit."""
    array, axis = with_channels(array, axis)
    counts = np.zeros((array.shape[axis], 1 << digits), np.int64)
    for piece, channels in _pieces(array, axis):
        rows = zip(np.moveaxis(piece, axis, 0), counts[channels], prefixes[channels], strict=True)
        for values, found, prefix in rows:
            keys = _keys(values[np.isfinite(values)], of)
            keys = keys >> keys.dtype.type(8 * keys.itemsize - known)
            if known > digits:
                last = keys.dtype.type((1 << digits) - 1)
                keys = keys[keys >> keys.dtype.type(digits) == prefix] & last
            found += np.bincount(keys.astype(np.intp), minlength=1 << digits)
    return counts


def _keys(values: NDArray[Any], of: Order) -> NDArray[Any]:
    """Unsigned integers in the order of the values, or of their magnitudes."""
    bits = values.view(f"u{values.itemsize}")
    sign = bits.dtype.type(1 << (8 * bits.itemsize - 1))
    if of == "magnitudes":
        magnitudes: NDArray[Any] = bits & ~sign
        return magnitudes
    keys: NDArray[Any] = np.where(bits & sign, ~bits, bits | sign)
    return keys


def _from_keys(keys: NDArray[Any], of: Order) -> NDArray[Any]:
    """The values or magnitudes that have these keys."""
    if of == "values":
        sign = keys.dtype.type(1 << (8 * keys.itemsize - 1))
        keys = np.where(keys & sign, keys & ~sign, ~keys)
    values: NDArray[Any] = keys.view(f"f{keys.itemsize}")
    return values


def _pieces(array: NDArray[Any], axis: int) -> Iterator[tuple[NDArray[Any], slice]]:
    """Parts of an array, as float32 or float64, each with the channels that it is of."""
    dtype = working_type(array.dtype)
    for index, _ in chunks(array.shape, _PIECE):
        if index == (...,):
            index = ()
        # integers as slices, so that the piece has all axes
        part = [slice(i, i + 1) if isinstance(i, int) else i for i in index]
        part += [slice(None)] * (array.ndim - len(part))
        yield array[tuple(part)].astype(dtype, copy=False), part[axis]


def _exponents(amax: NDArray[np.float64], bins: int) -> NDArray[np.int64]:
    """The least e with ``amax < bins * 2**e``, and no less than there is."""
    exponent = np.frexp(amax)[1].astype(np.int64) - (bins.bit_length() - 1)
    return np.where(amax > 0, np.maximum(exponent, _LEAST_EXPONENT), _LEAST_EXPONENT)


def _coarser(counts: NDArray[np.int64], doublings: NDArray[np.int64]) -> NDArray[np.int64]:
    """The histograms with bins ``2**doublings`` times as wide."""
    bins = (counts.shape[1] + 1) // 2
    if not bins or not doublings.any():
        return counts
    t = np.arange(1 - bins, bins)
    result = counts.copy()
    for channel in np.flatnonzero(doublings):
        coarse = np.sign(t) * (np.abs(t) >> min(int(doublings[channel]), 62))
        result[channel] = 0
        np.add.at(result[channel], coarse + bins - 1, counts[channel])
    return result
