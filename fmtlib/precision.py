"""Dynamic precision: the bits that each small group of values really needs."""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core import kernels
from fmtlib.arguments import whole_number
from fmtlib.blocks import for_kernels, normalize_axis, scale_shape, split_axis


@overload
def group_bits(
    x: ArrayLike,
    group_size: int = 16,
    axis: int = -1,
    *,
    ends: Literal["leading"] = "leading",
    signed: bool | None = None,
) -> NDArray[np.uint8]: ...
@overload
def group_bits(
    x: ArrayLike,
    group_size: int = 16,
    axis: int = -1,
    *,
    ends: Literal["both"],
    signed: bool | None = None,
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]: ...
def group_bits(
    x: ArrayLike,
    group_size: int = 16,
    axis: int = -1,
    *,
    ends: Literal["leading", "both"] = "leading",
    signed: bool | None = None,
) -> Any:
    """Bits that each group of neighbouring values needs.

    Parameters
    ----------
    x : array_like of int16 or uint16
        Any shape with at least one dimension, any strides.
    group_size : int
        Values per group; the last group of an axis may be shorter.
    axis : int
        The axis that groups lie along.
    ends : {"leading", "both"}
        "both" also gives the lower end, below which no value of the group has a set bit.
    signed : bool, optional
        Whether widths count a sign bit (two's complement).  None goes by dtype, so that the
        parts of an array agree.  False on negative values is an error.

    Returns
    -------
    high : ndarray of uint8
        With `axis` shortened to ceil(n / group_size).  Unsigned: the bit length of the greatest
        value, at least 1.  Signed: that of the greatest ``x if x >= 0 else ~x``, and one more.
    low : ndarray of uint8
        Only for ``ends="both"``: the position of the lowest set bit, 0 for an all-zero group.
        The width is ``high - low``.

    Raises
    ------
    TypeError
        If `x` is not int16 or uint16.
    ValueError
        If `group_size` is less than 1, or `signed` is False and a value is negative.

    References
    ----------
    A. Delmas Lascorz et al., "Dynamic Stripes: Exploiting the Dynamic Precision Requirements of
    Activation Values in Neural Networks", arXiv 1706.00504; "DPRed", arXiv 1804.06732.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.group_bits(np.array([1, 3, 0, 0, 9, 2], np.uint16), 2)
    array([2, 1, 4], dtype=uint8)
    >>> fl.group_bits(np.array([4, 12, -8, 0], np.int16), 2, ends="both")
    (array([5, 4], dtype=uint8), array([2, 3], dtype=uint8))
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them first")
    array = np.asarray(x)
    if array.dtype.name not in ("int16", "uint16"):
        raise TypeError(f"x must be int16 or uint16, got {array.dtype}")
    group_size = whole_number("group_size", group_size, 1)
    if ends not in ("leading", "both"):
        raise ValueError(f"ends must be 'leading' or 'both', got {ends!r}")
    if signed is not None and not isinstance(signed, (bool, np.bool_)):
        raise TypeError(f"signed must be True, False or None, got {signed!r}")
    axis = normalize_axis(axis, array.ndim)
    is_signed_type = array.dtype.kind == "i"
    if signed is None:
        signed = is_signed_type
    elif not signed and is_signed_type and array.size and array.min() < 0:
        raise ValueError(f"signed=False, but the array holds {array.min()}")
    elif signed and not is_signed_type and array.size and array.max() > 32767:
        raise ValueError(f"signed=True, but {array.max()} needs a 17th bit")
    array = for_kernels(array)
    group_size = min(group_size, max(array.shape[axis], 1))
    found = kernels.group_bits(
        array.reshape(split_axis(array.shape, axis)), group_size, bool(signed), ends == "both"
    )
    shape = scale_shape(array.shape, axis, group_size)
    if ends == "both":
        return found[0].reshape(shape), found[1].reshape(shape)
    return found.reshape(shape)
