"""An axis of an array of integers as its last one, and back, by the kernel that transposes.

Whole arrays, and slabs of them for groups along the axis.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels
from fmtlib.blocks import for_kernels, slabs_of


def is_plain(x: NDArray[Any]) -> bool:
    """Whether kernels can read the array where it is."""
    return x.flags.c_contiguous and x.flags.aligned and x.dtype.isnative


def axis_last(x: NDArray[Any], axis: int) -> NDArray[Any]:
    """The array with an axis moved last as kernels read it, copied only where it must be.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib.axes import axis_last
    >>> axis_last(np.int16([[1, 2, 3], [4, 5, 6]]), 0)
    array([[1, 4],
           [2, 5],
           [3, 6]], dtype=int16)
    """
    moved = np.moveaxis(x, axis, -1)
    if is_plain(moved) or not is_plain(x) or not x.size:
        return for_kernels(moved)
    found = np.empty(moved.shape, x.dtype)
    inner = math.prod(x.shape[axis + 1 :])
    matrices = x.reshape(-1, x.shape[axis], inner)
    kernels.transpose(matrices, found.reshape(len(matrices), inner, x.shape[axis]))
    return found


def axis_back(moved: NDArray[Any], axis: int) -> NDArray[Any]:
    """The array in C order whose axis had been moved last, of one as kernels read it."""
    back = np.moveaxis(moved, -1, axis)
    if is_plain(back) or not moved.size:
        return np.ascontiguousarray(back)
    found = np.empty(back.shape, moved.dtype)
    inner = math.prod(back.shape[axis + 1 :])
    matrices = found.reshape(-1, back.shape[axis], inner)
    kernels.transpose(moved.reshape(len(matrices), inner, back.shape[axis]), matrices)
    return found


def rows_of_groups(
    x: NDArray[Any], axis: int, group_size: int, slab: int, copy: bool = True
) -> Iterator[tuple[int, int, NDArray[Any], NDArray[Any] | None]]:
    """Groups along an axis, as rows that kernels can read, some at a time.

    Number of the first group, how many, their values; if these are a copy, of about `slab` bytes,
    of matrices of the array that were transposed, the matrices, for `kernels.transpose` to write
    them back.  Without `copy` only arrays in C order, and only room for the values.
    """
    if not x.size:
        return
    moved, length = np.moveaxis(x, axis, -1), x.shape[axis]
    per_row, slab = -(-length // group_size), slab // x.itemsize
    if is_plain(moved):
        yield 0, moved.size // length * per_row, moved, None
    elif is_plain(x):
        inner = math.prod(x.shape[axis + 1 :])
        matrices = x.reshape(-1, length, inner)
        step = max(slab // (length * inner), 1)
        columns = max(slab // length, 1)
        columns -= columns % 64 if columns > 64 else 0  # whole lines of memory
        buffer = np.empty(min(step * columns * length, x.size), x.dtype)
        first = 0
        for i in range(0, len(matrices), step):
            for j in range(0, inner, columns):
                back = matrices[i : i + step, :, j : j + columns]
                part = buffer[: back.size].reshape(len(back), back.shape[2], length)
                if copy:
                    kernels.transpose(back, part)
                count = part.size // length * per_row
                yield first, count, part, back
                first += count
    else:
        first = 0
        for index, _ in slabs_of(moved.shape, {moved.ndim - 1: group_size}, slab):
            part = for_kernels(moved[index])
            count = part.size // part.shape[-1] * -(-part.shape[-1] // group_size)
            yield first, count, part, None
            first += count
