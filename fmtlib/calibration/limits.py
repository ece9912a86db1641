"""The methods: each clips the range of the values, by a limit on magnitudes or at each end."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from fmtlib import codec
from fmtlib._core.ufuncs import Elementwise
from fmtlib.calibration.scales import Scheme
from fmtlib.calibration.sources import Blocks, Whole
from fmtlib.calibration.summary import Summary, values_of_rank
from fmtlib.formats import FloatFormat, IntegerFormat

# The least threshold that entropy tries, in bins.
FIRST_BIN = 128
# Divergences that differ by less are the same: the last bits of a logarithm must not decide.
_SAME = 1e-10
# The limits that MSE tries are amax * k / _STEPS.
_STEPS = 128
# Numbers on the way to divergences, at once.
_CELLS = 1 << 15


def clip(low: float, high: float, limit: float) -> tuple[float, float]:
    """The range within the limit; a limit of zero is none."""
    return (max(low, -limit), min(high, limit)) if limit > 0 else (low, high)


def exact_percentile(
    source: Whole | Blocks, summary: Summary, percent: Fraction, affine: bool
) -> list[tuple[float, float]]:
    """The ranges of the percentile, of each channel of an array."""
    ends = zip(summary.low.tolist(), summary.high.tolist(), strict=True)
    percent = _one_sided(percent) if affine else percent
    ranks = np.array([_rank(count, percent) for count in summary.finite.tolist()], np.int64)
    if not affine:
        magnitudes = values_of_rank(source, ranks, "magnitudes")
        return [clip(*of, limit) for of, limit in zip(ends, magnitudes, strict=True)]
    highs = values_of_rank(source, ranks, "values")
    lows = values_of_rank(source, summary.finite - 1 - ranks, "values")
    found = zip(ends, lows, highs, strict=True)
    return [_within(*of, low, high) for of, low, high in found]


def percentile(
    summary: Summary, channel: int, percent: Fraction, affine: bool
) -> tuple[float, float]:
    """The range to the outer ends of the bins in which the values of the percentile's ranks are."""
    low, high = float(summary.low[channel]), float(summary.high[channel])
    width = summary.width(channel)
    if not affine:
        upto = np.cumsum(summary.magnitudes(channel))
        found = int(np.searchsorted(upto, _rank(int(upto[-1]), percent), side="right"))
        return clip(low, high, (found + 1) * width)

    def upper_end(counts: NDArray[np.int64]) -> float:
        upto = np.cumsum(counts)
        rank = _rank(int(upto[-1]), _one_sided(percent))
        t = int(np.searchsorted(upto, rank, side="right")) - (summary.bins - 1)
        return (t + (t >= 0)) * width

    counts = summary.counts[channel]
    return _within(low, high, -upper_end(counts[::-1]), upper_end(counts))


def _one_sided(percent: Fraction) -> Fraction:
    """How many percent are not beyond one end, if as many are beyond the other."""
    return (percent + 100) / 2


def _within(low: float, high: float, least: float, most: float) -> tuple[float, float]:
    """The range within both ends; ends of zero are none."""
    return (max(low, least), min(high, most)) if least < 0 or most > 0 else (low, high)


def _rank(count: int, percent: Fraction) -> int:
    """How many come before the least magnitude that so many percent do not exceed."""
    return max(math.ceil(percent * count / 100) - 1, 0)


def entropy(summary: Summary, channel: int, fmt: Elementwise) -> float:
    """The threshold on magnitudes whose cells tell least wrongly how magnitudes are distributed."""
    counts = np.trim_zeros(summary.magnitudes(channel), "b").astype(np.float64)
    if len(counts) < 2:
        return math.inf
    counts[0] = counts[1]  # the peak at zero says nothing of the tail
    thresholds = np.arange(min(FIRST_BIN, len(counts)), len(counts) + 1)
    edges, end = _cell_edges(fmt, summary.bins)
    step = max(_CELLS // len(edges), 1)
    found = np.concatenate(
        [
            _divergences(counts, thresholds[i : i + step], edges, end)
            for i in range(0, len(thresholds), step)
        ]
    )
    last = np.flatnonzero(found <= found.min() + _SAME)[-1]
    return float(thresholds[last]) * summary.width(channel)


def _cell_edges(fmt: Elementwise, bins: int) -> tuple[NDArray[np.float64], float]:
    """Where cells begin, and the end of the last one, which is also told apart.

    Integers and fixed point have equal ones, as many as magnitudes of one sign; floats have the
    numbers that round to one value.
    """
    if not isinstance(fmt, FloatFormat):
        bits = fmt.bits - fmt.signed if isinstance(fmt, IntegerFormat) else fmt.magnitude_bits
        # More cells than bins tell no more.
        cells = min(2**bits, bins)
        return np.arange(cells + 1.0), float(cells)
    values = codec.decode(np.arange(fmt.max_code + 1).astype(fmt.code_dtype), fmt, dtype=np.float64)
    middles = (values[1:] + values[:-1]) / 2
    return np.concatenate([[0.0], middles, [fmt.max]]), fmt.max


def _divergences(
    counts: NDArray[np.float64],
    thresholds: NDArray[np.int64],
    edges: NDArray[np.float64],
    end: float,
) -> NDArray[np.float64]:
    """Kullback and Leibler's divergence, in nats, for thresholds of so many bins.

    With P the counts below the threshold i, all above it added to bin i - 1, and Q, for each bin
    that has a count, the mean count of those of its cell: the sum of ``p log(p / q)``, p and q
    being P and Q over their sums.  In terms of sums up to a bin it takes a term for each cell,
    not for each bin:  ``(sum P log P - sum P log Q) / sum P - log sum P + log sum Q``.
    """

    def up_to(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.concatenate([[0.0], np.cumsum(values)])

    def logarithm(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.log(np.where(values > 0, values, 1.0))

    sums, used = up_to(counts), up_to(np.sign(counts))
    # The first bin of each cell; products are exact, and quotients are no integers by accident.
    first = np.ceil(edges * thresholds[:, None] / end).astype(np.int64)
    of_cell = np.diff(sums[first])
    mean = logarithm(of_cell / np.maximum(np.diff(used[first]), 1))
    total, below, last = sums[-1], sums[thresholds], counts[thresholds - 1]
    tail = total - below
    its_cell = (first < thresholds[:, None]).sum(axis=1) - 1
    p_log_p = up_to(counts * logarithm(counts))[thresholds]
    p_log_p += (last + tail) * logarithm(last + tail) - last * logarithm(last)
    p_log_q = (of_cell * mean).sum(axis=1) + tail * mean[np.arange(len(mean)), its_cell]
    found = (p_log_p - p_log_q) / total - np.log(total) + logarithm(below)
    return np.where((last == 0) & (tail > 0), np.inf, found)


@np.errstate(under="ignore")
def mean_squared_error(summary: Summary, channel: int, scheme: Scheme) -> tuple[float, float]:
    """The range with the least sum of squared errors, the greatest of those that have it.

    Of limits on magnitudes; affine, each end in turn goes on from the best of these to the best of
    its own, until neither finds a better one.
    """
    low, high = float(summary.low[channel]), float(summary.high[channel])
    values, counts = summary.centres(channel)

    def best(ranges: list[tuple[float, float]]) -> tuple[float, tuple[float, float]]:
        scales, zeros = zip(*(scheme.fit(*ends) for ends in ranges), strict=True)
        quantized = codec.quantize(
            np.broadcast_to(values, (len(ranges), len(values))),
            scheme.format,
            axis=0,
            scale=np.array(scales),
            zero_point=np.array(zeros) if isinstance(scheme.format, IntegerFormat) else None,
        )
        quantized -= values
        quantized /= summary.width(channel)  # so that squares stay in range
        quantized *= quantized
        quantized *= counts
        errors = quantized.sum(axis=1)
        return float(errors.min()), ranges[int(np.argmin(errors))]

    parts = (np.arange(_STEPS, 0, -1) / _STEPS).tolist()
    amax = float(summary.amax[channel])
    error, ends = best([clip(low, high, amax * part) for part in parts])
    if not scheme.affine:
        return ends
    before = math.inf
    while error < before:
        before = error
        for end, full in enumerate((min(low, 0.0), max(high, 0.0))):
            tried = [full * part for part in parts]
            found = best([(ends[0], x) if end else (x, ends[1]) for x in tried])
            error, ends = found if found[0] < error else (error, ends)
    return ends
