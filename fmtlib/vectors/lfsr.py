"""Noise as hardware makes it: a linear-feedback shift register, the model of one in RTL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.formats import STOCHASTIC

# FAST's converter adds so many bits of noise.
_RANDOM_BITS = 8

# Feedback taps of maximal length: the exponents of a primitive polynomial, without the 1.
_TAPS: Mapping[int, tuple[int, ...]] = MappingProxyType(
    {
        3: (3, 2), 4: (4, 3), 5: (5, 3), 6: (6, 5), 7: (7, 6), 8: (8, 6, 5, 4), 9: (9, 5),
        10: (10, 7), 11: (11, 9), 12: (12, 6, 4, 1), 13: (13, 4, 3, 1), 14: (14, 5, 3, 1),
        15: (15, 14), 16: (16, 15, 13, 4), 17: (17, 14), 18: (18, 11), 19: (19, 6, 2, 1),
        20: (20, 17), 21: (21, 19), 22: (22, 21), 23: (23, 18), 24: (24, 23, 22, 17), 25: (25, 22),
        26: (26, 6, 2, 1), 27: (27, 5, 2, 1), 28: (28, 25), 29: (29, 27), 30: (30, 6, 4, 1),
        31: (31, 28), 32: (32, 22, 2, 1),
    }
)  # fmt: skip


@dataclass(frozen=True)
class LFSR:
    """A linear-feedback shift register, the source of noise in hardware.

    One step shifts the state to the left by one bit; the new lowest bit is the exclusive or of the
    bits ``state[t - 1]`` for the taps t (Fibonacci's form).  Element i takes the lowest r bits of
    the state after ``i * steps`` steps: the first takes those of the seed.

    Parameters
    ----------
    width : int
        Bits of the state, 3 to 32.
    seed : int, optional
        The first state, not zero; by default ones and zeros by turns, with a one at the bottom.
    taps : tuple of int, optional
        The exponents of the feedback polynomial, without the 1: (8, 6, 5, 4) for
        ``x**8 + x**6 + x**5 + x**4 + 1``.  By default those of a primitive polynomial, so that the
        state goes through all values but zero.
    steps : int, optional
        Steps per element; by default as many as bits are taken, so that no bit is used twice.

    References
    ----------
    S. W. Golomb, "Shift Register Sequences", 1967.

    Examples
    --------
    >>> from fmtlib.vectors import LFSR
    >>> LFSR(8).polynomial
    'x^8 + x^6 + x^5 + x^4 + 1'
    >>> LFSR(8, seed=1, steps=1).noise(6, 8)
    array([ 1,  2,  4,  8, 17, 35], dtype=uint32)
    """

    width: int = 16
    seed: int | None = None
    taps: tuple[int, ...] | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        width = whole_number("LFSR.width", self.width, 3, 32)
        mask = (1 << width) - 1
        seed = 0x5555_5555 & mask if self.seed is None else self.seed
        object.__setattr__(self, "seed", whole_number("LFSR.seed", seed, 1, mask))
        taps = _TAPS[width] if self.taps is None else tuple(self.taps)
        for tap in taps:
            whole_number("a tap of LFSR.taps", tap, 1, width)
        if width not in taps or len(set(taps)) != len(taps):
            raise ValueError(f"LFSR.taps must differ and hold the width {width}, got {taps}")
        object.__setattr__(self, "taps", taps)
        if self.steps is not None:
            object.__setattr__(self, "steps", whole_number("LFSR.steps", self.steps, 1, 1 << 16))

    @property
    def polynomial(self) -> str:
        """The feedback polynomial."""
        assert self.taps is not None
        powers = [f"x^{tap}" if tap > 1 else "x" for tap in sorted(self.taps, reverse=True)]
        return " + ".join([*powers, "1"])

    def noise(self, count: int, bits: int) -> NDArray[np.uint32]:
        """The noise of the first `count` elements.

        Parameters
        ----------
        count : int
            Number of elements.
        bits : int
            Bits that each element takes, 1 to `width`.

        Returns
        -------
        ndarray of uint32
            Shape (count,), numbers below ``2**bits``.
        """
        count = whole_number("count", count, 0)
        bits = whole_number("bits", bits, 1, self.width)
        steps = bits if self.steps is None else self.steps
        shifted_in = _shifted_in(self, self.width + steps * max(count - 1, 0))
        last = np.arange(count) * steps + self.width
        words = np.zeros(count, np.uint32)
        for i in range(bits):
            words |= shifted_in[last - 1 - i].astype(np.uint32) << np.uint32(i)
        return words

    def facts(self, bits: int) -> dict[str, Any]:
        """What the manifest of test vectors says of it, where elements take so many bits."""
        return {
            "width": self.width,
            "polynomial": self.polynomial,
            "taps": self.taps,
            "seed": self.seed,
            "steps_per_element": bits if self.steps is None else self.steps,
        }


@lru_cache(maxsize=4)
def _shifted_in(lfsr: LFSR, count: int) -> NDArray[np.uint8]:
    """The first bits that a register shifts in, the seed's from its top bit on among them."""
    assert lfsr.seed is not None
    assert lfsr.taps is not None
    bits = [lfsr.seed >> i & 1 for i in reversed(range(lfsr.width))]
    for n in range(lfsr.width, count):
        bits.append(sum(bits[n - tap] for tap in lfsr.taps) & 1)
    return np.array(bits, np.uint8)


def noise_source(
    rounding: str, random_bits: int | None, lfsr: LFSR | None
) -> tuple[int | None, LFSR | None]:
    """The bits of noise and their register, by default as documented; None for no noise."""
    if rounding not in STOCHASTIC:
        if random_bits is not None or lfsr is not None:
            raise ValueError(f"random_bits and lfsr need a stochastic rounding, got {rounding!r}")
        return None, None
    if random_bits is None:
        random_bits = _RANDOM_BITS if lfsr is None else min(_RANDOM_BITS, lfsr.width)
    random_bits = whole_number("random_bits", random_bits, 1, 32)
    if lfsr is None:
        lfsr = LFSR(16 if random_bits <= 16 else 32)
    if lfsr.width < random_bits:
        raise ValueError(f"an LFSR of {lfsr.width} bits cannot give {random_bits} random bits")
    return random_bits, lfsr
