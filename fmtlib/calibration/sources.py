"""Where data come from: an array, or a dask array, whose blocks are looked at where they are."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, TypeAlias, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import chunked, codec
from fmtlib.blocks import normalize_axis

T = TypeVar("T")
# From the channels of a part of the data to what looks at an array of such a part.
Look: TypeAlias = Callable[[slice], Callable[[NDArray[Any]], T]]


class Source(Protocol):
    """Data that can be looked at as often as is needed."""

    @property
    def axis(self) -> int | None:
        """The axis of channels, counted from the front."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the data."""

    def reduce(self, look: Look[T], combine: Callable[[T, T], T]) -> list[T]:
        """Look at all data: one result for each run of channels, from the first one on."""


class Whole:
    """An array in memory."""

    def __init__(self, array: NDArray[Any], axis: int | None = None) -> None:
        self.array = array
        self.axis = None if axis is None else normalize_axis(axis, array.ndim)
        self.dtype = array.dtype

    def reduce(self, look: Look[T], combine: Callable[[T, T], T]) -> list[T]:
        """Look at the array."""
        return [look(slice(None))(self.array)]


class Blocks:
    """A dask array: blocks are looked at in its graph, and never more of it is in memory."""

    def __init__(self, x: Any, axis: int | None = None) -> None:
        self.axis = None if axis is None else normalize_axis(axis, x.ndim)
        self.dtype = np.dtype(x.dtype)
        codec.real_array(np.empty(0, self.dtype))  # which checks the type
        self._x = x
        if self.axis is not None and any(n != n for n in x.chunks[self.axis]):
            raise ValueError(
                "the lengths of x's chunks along the axis of channels are unknown: see "
                "dask.array.Array.compute_chunk_sizes"
            )

    def reduce(self, look: Look[T], combine: Callable[[T, T], T]) -> list[T]:
        """Look at every block, and combine what was found two by two."""
        return chunked.reduce(self._x, partial(_look, look, self.axis), combine, self.axis)


def _look(
    look: Look[T],
    axis: int | None,
    block: NDArray[Any],
    place: chunked.Place,
    shape: tuple[int, ...],
) -> T:
    channels = slice(None) if axis is None else place[axis]
    assert channels is not None
    return look(channels)(block)


def source_of(x: ArrayLike, axis: int | None) -> Whole | Blocks:
    """The source of what a user gave."""
    held = chunked.dask_array(x)
    return Whole(codec.real_array(x), axis) if held is None else Blocks(held, axis)


def working_type(dtype: np.dtype[Any]) -> type[np.float32] | type[np.float64]:
    """The type in which values are looked at: it holds them all, or is the widest there is."""
    narrow = dtype.name in ("float16", "bfloat16", "float32")
    return np.float32 if narrow else np.float64
