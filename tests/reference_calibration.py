"""Calibration from its definitions: exact fractions, sorted lists and loops over bins."""

import math
from bisect import bisect_right
from fractions import Fraction
from functools import cache
from itertools import pairwise

import numpy as np

from fmtlib import reference
from fmtlib.formats import FixedFormat, FloatFormat, IntegerFormat
from fmtlib.reference import power_of_two


def nearest(value, dtype):
    """The float32 or float64 number nearest to a fraction."""
    if dtype == "float64":
        return value.numerator / value.denominator if value < 2**1024 else math.inf
    return float(reference.round_to_float32(value))


def next_power(value):
    k = -1200
    while power_of_two(k) < value:
        k += 1
    return power_of_two(k)


def scale_and_zero(low, high, fmt, *, affine=False, power=False, dtype="float32"):
    """What values from low to high and zero take; None for the zero point if there is none.

    None at all if the scale is too great for the dtype.
    """
    low, high = min(Fraction(low), 0), max(Fraction(high), 0)
    if isinstance(fmt, FixedFormat):
        quantum = Fraction(2) ** -fmt.fraction_bits
        scale = power_of_two(-1100)
        while high > scale * fmt.max_integer * quantum or low < scale * fmt.min_integer * quantum:
            scale *= 2
    elif affine:
        scale = (high - low) / (fmt.max_integer - fmt.min_integer)
    else:
        top = Fraction(fmt.max) if isinstance(fmt, FloatFormat) else fmt.max_integer
        scale = max(high, -low) / top
    if low == high == 0:
        scale = Fraction(1)
    else:
        scale = next_power(scale) if power else nearest(scale, dtype)
        if scale > Fraction(float(np.finfo(dtype).max)):
            return None
        scale = max(Fraction(scale), Fraction(float(np.finfo(dtype).tiny)))
    zero = None
    if isinstance(fmt, IntegerFormat):
        zero = fmt.min_integer - round(low / scale) if affine else 0
        zero = min(max(zero, fmt.min_integer), fmt.max_integer)
    return float(scale), zero


def percentile(magnitudes, percent):
    """The least of the magnitudes that so many percent of them do not exceed."""
    for limit in sorted(magnitudes):
        if 100 * sum(m <= limit for m in magnitudes) >= Fraction(str(percent)) * len(magnitudes):
            return limit
    raise AssertionError


def percentile_ends(values, percent):
    """Each end by itself: as many values may be beyond one as beyond the other."""
    percent = (Fraction(str(percent)) + 100) / 2

    def upper(values):
        return next(
            limit
            for limit in sorted(values)
            if 100 * sum(v <= limit for v in values) >= percent * len(values)
        )

    return -upper([-v for v in values]), upper(values)


def binned_percentile_ends(values, percent, bins):
    """The outer ends of the bins that hold them; bins end where the quotient is a whole number."""
    width, _ = histogram(values, bins)
    low, high = percentile_ends([math.trunc(Fraction(v) / width) for v in values], percent)
    return float((low - (low <= 0)) * width), float((high + (high >= 0)) * width)


def clip_ends(low, high, ends):
    least, most = ends
    return (max(low, least), min(high, most)) if least < 0 or most > 0 else (low, high)


def histogram(values, bins):
    """The width of bins, and the count of each: t is the quotient, truncated."""
    amax = max(abs(Fraction(v)) for v in values)
    width = power_of_two(-1022)
    while amax >= bins * width:
        width *= 2
    counts = {}
    for v in values:
        t = math.trunc(Fraction(v) / width)
        counts[t] = counts.get(t, 0) + 1
    return width, counts


def magnitude_counts(values, bins):
    """The width, and the count of each bin of magnitudes up to the last in use."""
    width, counts = histogram([abs(v) for v in values], bins)
    return width, [counts.get(i, 0) for i in range(max(counts) + 1)]


def binned_percentile(values, percent, bins):
    """The upper end of the bin that holds the percentile."""
    width, counts = magnitude_counts(values, bins)
    wanted, seen = Fraction(str(percent)) * len(values) / 100, 0
    for i, count in enumerate(counts):
        seen += count
        if seen >= wanted and seen:
            return float((i + 1) * width)
    raise AssertionError


@cache
def middles(fmt):
    """Between neighbouring values of a float format that are not negative, as parts of the top."""
    values = [reference.decode(code, fmt) for code in range(fmt.max_code + 1)]
    return [(a + b) / 2 / values[-1] for a, b in pairwise(values)]


def cell_of(i, bin_index, fmt):
    """The cell of a bin, when i bins go to the format's range; its lower end decides."""
    part = Fraction(bin_index, i)
    if isinstance(fmt, FloatFormat):
        return bisect_right(middles(fmt), part)
    bits = fmt.magnitude_bits if isinstance(fmt, FixedFormat) else fmt.bits - fmt.signed
    return math.floor(part * 2**bits)


def divergence(counts, i, fmt):
    """Of the counts clipped at i bins from what the format's cells make of them."""
    p = [float(c) for c in counts[:i]]
    p[-1] += sum(counts[i:])
    cells = {}
    for b in range(i):
        if counts[b]:
            cells.setdefault(cell_of(i, b, fmt), []).append(b)
    q = [0.0] * i
    for bins in cells.values():
        for b in bins:
            q[b] = sum(counts[c] for c in bins) / len(bins)
    sum_p, sum_q = math.fsum(p), math.fsum(q)
    if any(a > 0 and b == 0 for a, b in zip(p, q, strict=True)):
        return math.inf
    return math.fsum(
        a / sum_p * math.log(a / sum_p / (b / sum_q)) for a, b in zip(p, q, strict=True) if a
    )


def entropy(values, fmt, bins):
    """The threshold with the least divergence."""
    width, counts = magnitude_counts(values, bins)
    if len(counts) < 2:
        return math.inf
    counts[0] = counts[1]
    candidates = range(min(128, len(counts)), len(counts) + 1)
    found = {i: divergence(counts, i, fmt) for i in candidates}
    least = min(found.values())
    return float(max(i for i in candidates if found[i] <= least + 1e-10) * width)


def clip(low, high, limit):
    return (max(low, -limit), min(high, limit)) if limit else (low, high)


def squared_errors(values, ends, fmt, bins, **scheme):
    """Summed over the bins, each represented by its middle, in squares of the bins' width."""
    low, high = min(values), max(values)
    scale, zero = scale_and_zero(*ends, fmt, **scheme)
    width, counts = histogram(values, bins)
    total = 0
    for t, count in counts.items():
        middle = (t + Fraction(1, 2) * ((t > 0) - (t < 0))) * width
        x = float(min(max(middle, Fraction(low)), Fraction(high)))
        code = reference.encode(x, fmt, scale=Fraction(scale), zero_point=zero or 0)
        value = Fraction(scale) * (reference.decode(code, fmt) - (zero or 0))
        total += count * ((value - Fraction(x)) / width) ** 2
    return total
