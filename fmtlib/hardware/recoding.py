"""Where the effectual terms of 16-bit values stand: what term-serial designs step through."""

from functools import cache

import numpy as np
import numpy.typing as npt

from fmtlib.precision import Recoding

_ALL = np.arange(-(2**15), 2**15, dtype=np.int32)
RECODINGS: tuple[Recoding, ...] = ("binary", "naf", "booth", "run_length")


def term_positions(x: npt.NDArray[np.int16], recoding: Recoding) -> npt.NDArray[np.uint16]:
    """The powers of two of the terms of each value, as the bits of a mask.

    Parameters
    ----------
    x : int16 array
        Magnitudes below 2^15.
    recoding : {"binary", "naf", "booth", "run_length"}
        As of `fmtlib.terms`, which counts these bits.

    Examples
    --------
    >>> x = np.array([27, -27, 7], np.int16)
    >>> [f"{mask:b}" for mask in term_positions(x, "naf")]
    ['100101', '100101', '1001']
    """
    return _table(recoding)[x.view(np.uint16)]


@cache
def _table(recoding: Recoding) -> npt.NDArray[np.uint16]:
    """The mask of every 16-bit pattern."""
    magnitude = np.abs(_ALL)
    match recoding:
        case "binary":
            masks = magnitude
        case "naf":  # digit i is not zero where bit i + 1 of m and 3m differ
            masks = (magnitude ^ 3 * magnitude) >> 1
        case "booth":
            masks = _radix_4_booth()
        case "run_length":
            masks = _run_length(magnitude)
    # A value's pattern is its place: the non-negative ones first.
    table: npt.NDArray[np.uint16] = np.concatenate((masks[2**15 :], masks[: 2**15])).astype(
        np.uint16
    )
    return table


def _radix_4_booth() -> npt.NDArray[np.int32]:
    """Digits b[2i-1] + b[2i] - 2·b[2i+1] of two's complement; one of ±2 stands a place higher."""
    masks = np.zeros_like(_ALL)
    for place in range(0, 16, 2):
        below, here, above = (
            _ALL >> b & 1 if b >= 0 else np.zeros_like(_ALL) for b in (place - 1, place, place + 1)
        )
        digit = np.abs(below + here - 2 * above)
        masks |= np.where(digit > 0, digit << place, 0)
    return masks


def _run_length(magnitude: npt.NDArray[np.int32]) -> npt.NDArray[np.int32]:
    """From the top: runs of three ones or more become a term above and one at their end."""
    masks, in_ones = np.zeros_like(magnitude), np.zeros(magnitude.shape, bool)
    doubled = magnitude << 2  # two zeros below bit 0
    for place in range(15, -2, -1):
        three = doubled >> place & 7  # this bit and the two below it
        one, below = three >> 2 == 1, three >> 1 & 1 == 1
        begins = ~in_ones & (three == 7)
        ends = in_ones & ~one & ~below
        masks |= np.where(begins | ends, 1 << (place + 1), 0)
        alone = (~in_ones & one & ~begins) | (in_ones & ~one & below)
        masks |= np.where(alone, 1 << max(place, 0), 0)
        in_ones = (in_ones | begins) & ~ends
    return masks
