"""The random words of elements: by their numbers in an array, of which ours may be a part."""

from __future__ import annotations

import math
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels


@dataclass(frozen=True, eq=False)
class Words:
    """Philox words of the elements of an array in C order; `seed_of_part` makes those of a part.

    Attributes
    ----------
    seed, stream : int
    shape : tuple of int or None
        Of the part; None is a whole array of any shape.
    first : int
        Number of the first element, if the others follow it: if `starts` is None.
    starts : ndarray of uint64 or None
        Numbers of the elements that begin the runs of neighbours that a part consists of.
    run : int
        Length of each run.
    """

    seed: int
    stream: int = 0
    shape: tuple[int, ...] | None = None
    first: int = 0
    starts: NDArray[np.uint64] | None = None
    run: int = 1

    def take(self, first: int, count: int) -> NDArray[np.uint32]:
        """The words of elements ``first`` to ``first + count - 1``.

        Examples
        --------
        >>> Words(0).take(0, 2).tolist()
        [1713891541, 3781805453]
        """
        return kernels.random_words(self, first, count)

    def all_of(self, shape: tuple[int, ...]) -> NDArray[np.uint32]:
        """The words of an array of this shape."""
        return self.take(0, math.prod(shape)).reshape(shape)

    def check(self, shape: tuple[int, ...]) -> None:
        """Refuse an array that is not the part whose words these are."""
        if self.shape is not None and self.shape != shape:
            raise ValueError(f"seed is that of a part of shape {self.shape}, got x of {shape}")


Seed: TypeAlias = int | tuple[int, int] | Words | None


def words_of(seed: Seed) -> Words:
    """The words of a seed that a user gave; None is fresh entropy."""
    if seed is None:
        return Words(secrets.randbits(64))
    if isinstance(seed, Words):
        return seed
    pair = seed if isinstance(seed, tuple) else (seed, 0)
    if len(pair) != 2 or any(
        isinstance(part, bool) or not isinstance(part, (int, np.integer)) for part in pair
    ):
        raise TypeError(f"seed must be an integer or a pair of integers, got {seed!r}")
    if not all(0 <= part < 2**64 for part in pair):
        raise ValueError(f"seed and stream must be from 0 to 2**64 - 1, got {seed!r}")
    return Words(int(pair[0]), int(pair[1]))


def seed_of_part(seed: Seed, part: slice | Sequence[slice], shape: Sequence[int]) -> Words:
    """The `seed` for a part of an array that gives it the bits that it has in the whole.

    For arrays that are worked on in parts, by any scheduler; dask arrays need no such care.

    Parameters
    ----------
    seed : int or (int, int)
        Of the whole array, as for `encode`.
    part : slice or sequence of slice
        One for each axis, without steps.
    shape : sequence of int
        Of the whole array.

    Returns
    -------
    Words
        A seed for arrays of the part's shape.

    Raises
    ------
    TypeError, ValueError
        If `seed` is None or itself that of a part, or `part` is no part of such an array.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.random.default_rng(0).standard_normal((100, 30))
    >>> whole = fl.quantize(x, "e4m3", rounding="stochastic", seed=7)
    >>> part = np.s_[40:60, 3:9]
    >>> seed = fl.seed_of_part(7, part, x.shape)
    >>> own = fl.quantize(x[part], "e4m3", rounding="stochastic", seed=seed)
    >>> np.array_equal(own, whole[part])
    True
    """
    if seed is None or isinstance(seed, Words):
        raise TypeError(f"seed must be an integer or a pair of integers, got {seed!r}")
    words, lengths = words_of(seed), tuple(int(n) for n in shape)
    part = (part,) if isinstance(part, slice) else part
    if len(part) != len(lengths) or not all(isinstance(one, slice) for one in part):
        raise ValueError(f"part must be {len(lengths)} slices, one for each axis, got {part!r}")
    ranges = [range(*one.indices(n)) for one, n in zip(part, lengths, strict=True)]
    if any(own.step != 1 for own in ranges):
        raise ValueError(f"slices of part must have no step, got {part!r}")
    own = tuple(map(len, ranges))
    strides = [math.prod(lengths[axis + 1 :]) for axis in range(len(lengths))]
    first = sum(one.start * stride for one, stride in zip(ranges, strides, strict=True))
    # Axes behind the last one that is cut are whole: neighbours there follow each other.
    cut = max((axis for axis, n in enumerate(lengths) if own[axis] != n), default=0)
    if math.prod(own) == 0 or math.prod(own[:cut]) == 1:
        return Words(words.seed, words.stream, own, first if math.prod(own) else 0)
    starts = np.full((), first, np.uint64)
    for n, stride in zip(own[:cut], strides[:cut], strict=True):
        starts = np.add.outer(starts, np.arange(n, dtype=np.uint64) * np.uint64(stride))
    run = math.prod(own[cut:])
    return Words(words.seed, words.stream, own, starts=np.ravel(starts), run=run)
