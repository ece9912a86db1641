"""The checks of arguments that many functions share."""

from __future__ import annotations

import difflib
import operator
import sys
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray


def whole_number(name: str, value: Any, low: int, high: int | None = None) -> int:
    """Return `value` as an int within the limits.

    Raises
    ------
    TypeError
        If it is no integer (NumPy's are), or a boolean.
    ValueError
        If it is out of range.  Both messages say what was given and what is allowed.

    Examples
    --------
    >>> whole_number("workers", 2, 1)
    2
    """
    try:
        if isinstance(value, bool):
            raise TypeError
        number = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, got {value!r}") from None
    if high is None and number < low:
        raise ValueError(f"{name} must be at least {low}, got {number}")
    if high is not None and not low <= number <= high:
        raise ValueError(f"{name} must be from {low} to {high}, got {number}")
    return number


def did_you_mean(given: object, allowed: Iterable[str]) -> str:
    """The near matches of a wrong name, to go on with an error message; nothing if there is none.

    Examples
    --------
    >>> did_you_mean("strips", ["loom", "stripes"])
    "; did you mean 'stripes'?"
    """
    near = difflib.get_close_matches(given, list(allowed)) if isinstance(given, str) else []
    return f"; did you mean {' or '.join(map(repr, near))}?" if near else ""


def not_one_of(name: str, given: object, allowed: Iterable[str]) -> str:
    """What an error says of an argument that is none of the names allowed.

    Examples
    --------
    >>> not_one_of("side", "lefft", ["left", "right"])
    "side must be one of left, right, got 'lefft'; did you mean 'left'?"
    """
    allowed = list(allowed)
    hint = did_you_mean(given, allowed)
    return f"{name} must be one of {', '.join(allowed)}, got {given!r}{hint}"


def is_lazy(x: object) -> bool:
    """Whether x is an array whose values come in chunks when they are asked for: one of dask.

    Examples
    --------
    >>> is_lazy(np.ones(3))
    False
    """
    return not isinstance(x, np.ndarray) and all(
        hasattr(x, name) for name in ("__dask_graph__", "to_delayed", "chunks")
    )


def as_array(x: Any) -> NDArray[Any]:
    """Return `x` as NumPy sees it through its protocols or DLPack, copied only where it must be.

    torch's bfloat16 and 8-bit floats, which NumPy lacks, become ml_dtypes' if that is installed.

    Raises
    ------
    TypeError
        For masked arrays, and for arrays of other libraries that NumPy cannot see.

    Examples
    --------
    >>> as_array([1.0, 2.0])
    array([1., 2.])
    """
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError("masked arrays are not supported; fill them, or use where= with out=")
    if not hasattr(x, "__dlpack__") or isinstance(x, np.ndarray):
        return np.asarray(x)
    try:
        if (dtype := _dtype_that_numpy_lacks(x)) is not None:
            torch = sys.modules["torch"]
            bits = torch.uint8 if dtype.itemsize == 1 else torch.int16
            return np.asarray(x.view(bits)).view(dtype)
        # Arrays of other libraries; most offer NumPy's own protocol, some only DLPack.
        return np.asarray(x) if hasattr(x, "__array__") else np.from_dlpack(x)
    except (TypeError, RuntimeError, BufferError, ValueError) as error:
        raise TypeError(
            f"NumPy cannot see this {type(x).__name__} of {getattr(x, 'dtype', 'unknown dtype')} "
            f"({error}); give one that is dense, detached and on the CPU, and view types that "
            "NumPy has not as unsigned integers, which are their codes"
        ) from error


def _dtype_that_numpy_lacks(x: Any) -> np.dtype[Any] | None:
    """What ml_dtypes has for the type of one of torch's tensors, where NumPy has nothing."""
    torch = sys.modules.get("torch")
    if torch is None or not isinstance(x, torch.Tensor) or x.requires_grad:
        return None
    try:
        import ml_dtypes
    except ImportError:
        return None
    name = str(x.dtype).removeprefix("torch.")
    return np.dtype(getattr(ml_dtypes, name)) if hasattr(ml_dtypes, name) else None
