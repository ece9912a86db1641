"""An axis of an array of integers as its last one, and back, by the kernel that transposes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib._core import kernels
from fmtlib.blocks import for_kernels


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
