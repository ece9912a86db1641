"""Codes as arrays of ml_dtypes' dtypes and back: views, nothing is copied."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib.arguments import as_array
from fmtlib.formats import FORMATS, FloatFormat, Format, get_format


def as_ml_dtypes(codes: ArrayLike, fmt: str | Format) -> NDArray[Any]:
    """View codes as an array of the dtype that ml_dtypes (or NumPy: float16) has for the format.

    Parameters
    ----------
    codes : array_like of the format's `code_dtype`
        Of native byte order.
    fmt : str or Format
        A float format of ml_dtypes, or float16; a record equal to one of them will do.

    Returns
    -------
    ndarray
        A view of the codes' memory, in their shape and strides.

    Raises
    ------
    ImportError
        If ml_dtypes is not installed.
    TypeError
        If `codes` has another dtype than the format's codes, or another byte order.
    ValueError
        If ml_dtypes has no float dtype for the format, or a code is outside it (``>= 2**bits``).

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> theirs = fl.as_ml_dtypes(fl.encode([0.3, -1.5, 12], "e4m3"), "e4m3")
    >>> theirs.dtype.name
    'float8_e4m3fn'
    >>> theirs.astype(np.float32)
    array([ 0.3125, -1.5   , 12.    ], dtype=float32)
    """
    fmt = get_format(fmt)
    dtype = _dtype(fmt)
    array = as_array(codes)
    if array.dtype != fmt.code_dtype:
        raise TypeError(f"codes of {fmt.name} are {fmt.code_dtype}, got {array.dtype}")
    if fmt.bits < 8 and array.size and int(array.max()) >> fmt.bits:
        raise ValueError(f"codes of {fmt.name} are below {2**fmt.bits}, got {int(array.max())}")
    return array.view(dtype)


def from_ml_dtypes(x: ArrayLike) -> NDArray[Any]:
    """View an array of one of ml_dtypes' float dtypes, or of float16, as codes.

    The format is ``fmtlib.get_format(x.dtype)``; `fmtlib.decode` takes such arrays as they are.

    Parameters
    ----------
    x : array_like
        In the dtype of a float format of the table.

    Returns
    -------
    ndarray of unsigned integers
        A view of x's memory, in its shape and strides.

    Raises
    ------
    TypeError
        If x has another dtype.

    Examples
    --------
    >>> import ml_dtypes, numpy as np, fmtlib as fl
    >>> x = np.array([0.3125, -1.5, 12], ml_dtypes.float8_e4m3fn)
    >>> fl.from_ml_dtypes(x)
    array([ 42, 188,  84], dtype=uint8)
    >>> fl.decode(x)
    array([ 0.3125, -1.5   , 12.    ], dtype=float32)
    """
    array = as_array(x)
    fmt = format_of(array.dtype)
    if fmt is None:
        raise TypeError(f"x must have a dtype of ml_dtypes, or float16, got {array.dtype}")
    return array.view(fmt.code_dtype.newbyteorder(array.dtype.byteorder))


def format_of(dtype: object) -> FloatFormat | None:
    """Return the format whose values a NumPy dtype holds, if the table has it.

    Examples
    --------
    >>> format_of(np.dtype("float16")).name
    'float16'
    """
    if not isinstance(dtype, np.dtype):
        return None
    fmt = FORMATS.get(dtype.name)
    return fmt if isinstance(fmt, FloatFormat) else None


def _dtype(fmt: Format) -> np.dtype[Any]:
    if fmt.name == "float16":
        return np.dtype(np.float16)
    try:
        import ml_dtypes
    except ImportError as error:
        raise ImportError(
            "as_ml_dtypes needs the package ml_dtypes: pip install ml_dtypes"
        ) from error
    if not isinstance(fmt, FloatFormat) or not hasattr(ml_dtypes, fmt.name):
        raise ValueError(f"ml_dtypes has no float dtype for {fmt.name}")
    found: np.dtype[Any] = np.dtype(getattr(ml_dtypes, fmt.name))
    return found
