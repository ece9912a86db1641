"""The check of an argument that many functions share."""

from __future__ import annotations

import operator
from typing import Any


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
