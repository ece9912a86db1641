"""Codes packed without gaps: as many bits each as the format has, and no more.

Code ``i`` of width ``b`` stands at bits ``i * b`` to ``i * b + b - 1`` of a stream in which bit
``j`` is bit ``j % 8`` of byte ``j // 8`` (little-endian bit order); the last byte is filled up with
zeros.  Two 4-bit codes share a byte, the first in its low half, as in ONNX, in torch's
``float4_e2m1fn_x2`` and in safetensors; four 6-bit codes fill three bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core import kernels
from fmtlib.arguments import as_array, whole_number
from fmtlib.formats import Format, get_format
from fmtlib.interop import format_of, from_ml_dtypes


def pack(codes: ArrayLike, fmt: str | Format | int) -> NDArray[np.uint8]:
    """Pack codes to the format's width, without gaps.

    Parameters
    ----------
    codes : array_like of the format's `code_dtype`, or of any integers
        Any shape; packed in C order.  The codes of a block format are its elements' codes.
    fmt : str, Format or int
        A format, or the width in bits (1 to 32) of unsigned codes.

    Returns
    -------
    ndarray of uint8
        One-dimensional, ``ceil(codes.size * bits / 8)`` bytes: code ``i`` at bits ``i * bits`` to
        ``i * bits + bits - 1`` of the little-endian bit stream.  Signed codes keep their low bits
        (two's complement); the bits after the last code are zero.

    Raises
    ------
    TypeError
        If the codes are no integers, or not of the format's `code_dtype`.
    ValueError
        If a code does not fit in the width.

    See Also
    --------
    unpack

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> codes = fl.encode([0.5, 6.0, -1.0], "e2m1")
    >>> codes, fl.pack(codes, "e2m1")
    (array([ 1,  7, 10], dtype=uint8), array([113,  10], dtype=uint8))
    >>> fl.pack([1, 2, 3, 4], 6)
    array([129,  48,  16], dtype=uint8)
    """
    array, width = checked_codes(codes, fmt)
    return kernels.pack_codes(array, width)


def unpack(
    packed: ArrayLike | bytes, fmt: str | Format | int, shape: int | Sequence[int]
) -> NDArray[Any]:
    r"""Codes from their packed form: the inverse of `pack`.

    Parameters
    ----------
    packed : bytes, or array_like of uint8
        Exactly the ``ceil(size * bits / 8)`` bytes that `pack` gives for `shape`.
    fmt : str, Format or int
        A format, or the width in bits (1 to 32) of unsigned codes.
    shape : int or sequence of int
        Shape of the codes.

    Returns
    -------
    ndarray
        Codes in the format's `code_dtype`, signed ones with their sign extended; for a width, in
        the smallest unsigned dtype that holds it.

    Raises
    ------
    TypeError
        If `packed` is neither bytes nor uint8.
    ValueError
        If it has the wrong size, or bits after the last code that are not zero.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.unpack(np.uint8([113, 10]), "e2m1", 3)
    array([ 1,  7, 10], dtype=uint8)
    >>> fl.unpack(b"\xf1", "int4", (1, 2))
    array([[ 1, -1]], dtype=int8)
    """
    width, dtype, _ = _layout(fmt)
    if isinstance(packed, (bytes, bytearray, memoryview)):
        data = np.frombuffer(packed, np.uint8)
    else:
        data = np.asarray(packed)
        if isinstance(packed, np.ma.MaskedArray) or data.dtype != np.uint8:
            raise TypeError(f"packed must be bytes or an array of uint8, got {data.dtype}")
    if data.ndim != 1:
        raise ValueError(f"packed must be one-dimensional, got shape {data.shape}")
    lengths = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    lengths = tuple(whole_number("a length in shape", length, 0, 2**63 - 1) for length in lengths)
    count = 1
    for length in lengths:
        count *= length
    if kernels.packed_size(count, width) != data.size:
        raise ValueError(
            f"{count} codes of {width} bits are packed in {kernels.packed_size(count, width)} "
            f"bytes, got {data.size}"
        )
    used = count * width % 8
    if used and data[-1] >> used:
        raise ValueError("the bits after the last code must be zero")
    codes = np.empty(lengths, dtype)
    kernels.unpack_codes(np.require(data, np.uint8, ["C_CONTIGUOUS"]), width, codes)
    return codes


def checked_codes(codes: ArrayLike, fmt: str | Format | int) -> tuple[NDArray[Any], int]:
    """The codes as the kernels read them, if they are what `pack` says; and their width."""
    width, dtype, name = _layout(fmt)
    if isinstance(codes, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them")
    array = as_array(codes)
    if (own := format_of(array.dtype)) is not None and own.name == name:
        array = from_ml_dtypes(array)
    if array.size == 0 and not hasattr(codes, "dtype"):
        array = array.astype(dtype)  # an empty list has no type
    if array.dtype.kind not in "iu":
        raise TypeError(f"codes must be integers, got {array.dtype}")
    if name is not None and array.dtype.newbyteorder("=") != dtype:
        raise TypeError(f"codes of {name} are {dtype}, got {array.dtype}")
    low, high = _limits(width, dtype)
    if array.size:
        least, greatest = int(array.min()), int(array.max())
        if least < low or greatest > high:
            wrong = least if least < low else greatest
            raise ValueError(f"codes of {width} bits are from {low} to {high}, got {wrong}")
    return np.require(array, dtype, ["C_CONTIGUOUS", "ALIGNED"]), width


def _layout(fmt: str | Format | int) -> tuple[int, np.dtype[Any], str | None]:
    """Width and dtype of the codes, and the format's name."""
    if isinstance(fmt, (int, np.integer)):
        width = whole_number("the width of codes in bits", fmt, 1, 32)
        smallest = np.dtype(np.uint8 if width <= 8 else np.uint16 if width <= 16 else np.uint32)
        return width, smallest, None
    fmt = get_format(fmt)
    return fmt.bits, fmt.code_dtype, fmt.name


def _limits(width: int, dtype: np.dtype[Any]) -> tuple[int, int]:
    """The least and the greatest code."""
    if dtype.kind == "i":
        return -(1 << (width - 1)), (1 << (width - 1)) - 1
    return 0, (1 << width) - 1
