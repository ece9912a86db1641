"""Assertions about codes and values, for tests of one's own numerics: NumPy is all they need.

`fmtlib.testing` has them too, beside the strategies that need Hypothesis.  Expected results come
from `fmtlib.reference`, never from the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from math import isfinite, isnan
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import reference
from fmtlib.blocks import BlockArray, normalize_axis, scale_shape
from fmtlib.formats import (
    FORMATS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    get_format,
)
from fmtlib.reference import Value

Elementwise: TypeAlias = FloatFormat | FixedFormat | IntegerFormat

_SHOWN = 5  # mismatches that a message describes


def assert_on_grid(x: ArrayLike, fmt: str | Format, *, axis: int | None = None) -> None:
    """Assert that every value is a value of the format.

    NaN and the infinities are on the grid of a format that has them; -0.0 counts as zero.  In a
    block format the values of each block must all be on the grid of one scale.

    Parameters
    ----------
    x : array_like of floats or integers
        Values, any shape.
    fmt : str or Format
        See `fmtlib.get_format`.
    axis : int, optional
        The axis of the blocks, by default the last.  Only for block formats.

    Raises
    ------
    AssertionError
        Saying which elements are not on the grid, and between which of its values they lie.
    TypeError
        If `x` does not hold real numbers.

    Examples
    --------
    >>> from fmtlib.assertions import assert_on_grid
    >>> assert_on_grid([0.875, -448.0], "e4m3")
    >>> assert_on_grid([0.875, 0.3], "e4m3")
    Traceback (most recent call last):
        ...
    AssertionError: values are not on the grid of float8_e4m3fn
    Mismatched elements: 1 / 2 (50%)
     [1]: 0.3 (0x1.3333333333333p-2) lies between 0x29 (0.28125) and 0x2a (0.3125)
    """
    fmt = get_format(fmt)
    array = _real_array("x", x)
    if isinstance(fmt, BlockFormat):
        _assert_blocks_on_grid(array, fmt, axis)
        return
    _refuse_axis(axis, fmt)
    distinct, where = _distinct(array)
    off = np.array([not _on_grid(value, fmt) for value in distinct], bool)[where]
    _raise_if(
        off,
        f"values are not on the grid of {fmt.name}",
        lambda index: f"{_show_number(array[index])} {_place(distinct[where[index]], fmt)}",
    )


def assert_codes_equal(
    actual: ArrayLike | BlockArray,
    expected: ArrayLike | BlockArray,
    fmt: str | Format | None = None,
    *,
    nan_codes: bool = False,
) -> None:
    """Assert that two arrays of codes are equal, all NaN codes being the same.

    Parameters
    ----------
    actual, expected : array_like of integers, or BlockArray
        Codes, of one shape.  Arrays of an ml_dtypes dtype count as their codes.
    fmt : str or Format
        What the codes mean; not needed for BlockArrays.
    nan_codes : bool
        Whether NaN codes must be the same code: no standard fixes sign and payload.

    Raises
    ------
    AssertionError
        With the index, both codes and both values of the elements that differ.
    TypeError, ValueError
        If the arrays do not hold codes of the format.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib.assertions import assert_codes_equal
    >>> assert_codes_equal(np.uint8([0x38, 0xFF]), np.uint8([0x38, 0x7F]), "e4m3")
    >>> assert_codes_equal(np.uint8([0x38, 0x00]), np.uint8([0x38, 0x80]), "e4m3")
    Traceback (most recent call last):
        ...
    AssertionError: codes of float8_e4m3fn differ
    Mismatched elements: 1 / 2 (50%)
     [1]: 0x00 (0.0), expected 0x80 (-0.0)
    """
    if isinstance(actual, BlockArray) or isinstance(expected, BlockArray):
        _assert_block_arrays_equal(actual, expected, fmt)
        return
    if fmt is None:
        raise TypeError("assert_codes_equal needs the format of the codes")
    fmt = get_format(fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"the codes of {fmt.name} are compared as BlockArrays")
    found, wanted = _code_array("actual", actual, fmt), _code_array("expected", expected, fmt)
    _check_shapes(found, wanted, fmt)
    _raise_if(
        _codes_differ(found, wanted, fmt, nan_codes),
        f"codes of {fmt.name} differ",
        lambda index: f"{_show_code(found[index], fmt)}, expected {_show_code(wanted[index], fmt)}",
    )


def assert_correctly_rounded(
    x: ArrayLike,
    result: ArrayLike | BlockArray,
    fmt: str | Format,
    *,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    axis: int | None = None,
    signed_zeros: bool = True,
) -> None:
    """Assert that a result is what x becomes in the format, rounded once: exact, bit for bit.

    Parameters
    ----------
    x : array_like of floats or integers
        What was encoded or quantised.
    result : array_like or BlockArray
        Codes (integers) or values (floats, those of ml_dtypes too), in the shape of `x`.  NaN
        codes are all the same.
    fmt : str or Format
        See `fmtlib.get_format`.
    rounding, overflow : str
        As for `fmtlib.encode`.  Under stochastic rounding a result may be either of those that
        some random word gives.
    axis : int, optional
        The axis of the blocks, by default the last.  Only for block formats.
    signed_zeros : bool
        Whether the sign of a zero value counts.

    Raises
    ------
    AssertionError
        With index, input, result, expected result and, for elementwise formats, the values of
        the format on both sides of the input.
    TypeError, ValueError
        If the arguments are not of the kinds above.

    Notes
    -----
    Each distinct input takes some 20 µs of exact arithmetic.

    Examples
    --------
    NumPy takes a float64 through float32 on its way to ml_dtypes' types, and rounds twice:

    >>> import ml_dtypes, numpy as np
    >>> from fmtlib.assertions import assert_correctly_rounded
    >>> x = np.array([0.5, (1 + 2.0**-52) * 2.0**-10])
    >>> assert_correctly_rounded(x, x.astype(ml_dtypes.float8_e4m3fn), "e4m3")
    Traceback (most recent call last):
        ...
    AssertionError: not correctly rounded to float8_e4m3fn (nearest_even, saturate)
    Mismatched elements: 1 / 2 (50%)
     [1]: 0.0009765625000000002 (0x1.0000000000001p-10) lies between 0x00 (0.0) and \
0x01 (0.001953125); got 0.0, expected 0x01 (0.001953125)
    """
    fmt = get_format(fmt)
    array = _real_array("x", x)
    if isinstance(fmt, BlockFormat):
        _assert_blocks_rounded(array, result, fmt, rounding, axis, signed_zeros)
        return
    _refuse_axis(axis, fmt)
    distinct, where = _distinct(array)
    # Words of zeros and of ones give the least and the greatest that stochastic rounding can.
    words = (0, 2**32 - 1) if rounding in STOCHASTIC else (0,)
    try:
        choices = [
            np.array(
                [reference.encode(value, fmt, rounding, overflow, word=word) for value in distinct],
                np.int64,
            )[where]
            for word in words
        ]
    except OverflowError:
        raise AssertionError(
            f"an input overflows {fmt.name}, which with overflow='raise' has no result"
        ) from None
    wrong = np.ones(array.shape, bool)
    if np.asarray(result).dtype.kind in "iu":
        found = _code_array("result", result, fmt)
        _check_shapes(found, array, fmt)
        for codes in choices:
            wrong &= _codes_differ(found, codes, fmt, nan_codes=False)
    else:
        found = _real_array("result", result)
        _check_shapes(found, array, fmt)
        for codes in choices:
            wrong &= _values_differ(found, _values_of(codes, fmt), signed_zeros)

    def show(index: tuple[int, ...]) -> str:
        got = found[index]
        shown = _show_code(got, fmt) if found.dtype.kind in "iu" else _show_number(got)
        expected = dict.fromkeys(_show_code(codes[index], fmt) for codes in choices)
        return (
            f"{_show_number(array[index])} {_place(distinct[where[index]], fmt)}; "
            f"got {shown}, expected {' or '.join(expected)}"
        )

    _raise_if(wrong, f"not correctly rounded to {fmt.name} ({rounding}, {overflow})", show)


# --- elementwise ----------------------------------------------------------------------------


def _on_grid(value: Value, fmt: Elementwise) -> bool:
    if isinstance(value, float):
        if isnan(value):
            return isinstance(fmt, FloatFormat) and fmt.nan_code is not None
        if not isfinite(value):
            has = isinstance(fmt, FloatFormat) and fmt.inf_code is not None
            return has and (value > 0 or fmt.signed)
        value = Fraction(0)
    return reference.quantize(value, fmt, "toward_zero") == value


def _place(value: Value, fmt: Elementwise) -> str:
    """Where a value is: which values of the format are on both sides of it."""
    if isinstance(value, float) and not isfinite(value):
        return "is not finite"
    below, above = (reference.encode(value, fmt, mode) for mode in ("down", "up"))
    if reference.decode(below, fmt) == value:
        return "is on the grid"
    if below == above:
        return f"is beyond {_show_code(below, fmt)}"
    low, high = _show_code(below, fmt), _show_code(above, fmt)
    return f"lies between {low} and {high}"


def _codes_differ(
    found: NDArray[Any], wanted: NDArray[Any], fmt: Elementwise, nan_codes: bool
) -> NDArray[np.bool]:
    differ = np.array(found.astype(np.int64) != wanted.astype(np.int64))
    if differ.any() and not nan_codes:
        values = (_values_of(codes[differ], fmt) for codes in (found, wanted))
        differ[differ] = ~np.logical_and(*(np.isnan(v) for v in values))
    return differ


def _values_differ(
    found: NDArray[Any], wanted: NDArray[np.float64], signed_zeros: bool
) -> NDArray[np.bool]:
    """Compare exactly; `wanted` holds values of a format, which float64 always can."""
    with np.errstate(invalid="ignore"):  # signalling NaN
        wide = found.astype(np.longdouble)
    differ: NDArray[np.bool] = (wide != wanted) & ~(np.isnan(wide) & np.isnan(wanted))
    if signed_zeros:
        differ |= (wanted == 0) & (np.signbit(wide) != np.signbit(wanted))
    return differ


def _values_of(codes: NDArray[Any], fmt: Format) -> NDArray[np.float64]:
    distinct, where = np.unique(codes, return_inverse=True)
    values = [float(reference.decode(code, fmt)) for code in distinct.tolist()]
    return np.array(values, np.float64)[where].reshape(codes.shape)


# --- blocks ---------------------------------------------------------------------------------


def _blocks(array: NDArray[Any], fmt: BlockFormat, axis: int) -> Iterator[tuple[Any, ...]]:
    """For each block: its index among the scales, and the index of its elements."""
    for index in np.ndindex(scale_shape(array.shape, axis, fmt.block_size)):
        start = index[axis] * fmt.block_size
        yield index, (*index[:axis], slice(start, start + fmt.block_size), *index[axis + 1 :])


def _assert_blocks_on_grid(array: NDArray[Any], fmt: BlockFormat, axis: int | None) -> None:
    axis = normalize_axis(axis, array.ndim)
    scales = sorted(
        value
        for value in (reference.decode(code, fmt.scale) for code in range(2**fmt.scale.bits))
        if isinstance(value, Fraction) and value > 0
    )
    off = np.zeros(scale_shape(array.shape, axis, fmt.block_size), bool)
    parts = dict(_blocks(array, fmt, axis))
    for index, part in parts.items():
        off[index] = not _one_scale_fits([reference.as_value(x) for x in array[part]], fmt, scales)
    _raise_if(
        off,
        f"blocks are not on the grid of {fmt.name}",
        lambda index: f"{_show_block(array[parts[index]])} fits no scale",
        "blocks",
    )


def _one_scale_fits(values: Sequence[Value], fmt: BlockFormat, scales: Sequence[Fraction]) -> bool:
    finite = {value for value in values if isinstance(value, Fraction) and value}
    if any(isinstance(value, float) and not isfinite(value) for value in values):
        # NaN belongs to the block as a whole
        return all(isinstance(value, float) and isnan(value) for value in values)
    return not finite or any(
        all(_on_grid(value / scale, fmt.element) for value in finite) for scale in scales
    )


def _reference_blocks(
    array: NDArray[Any], fmt: BlockFormat, axis: int, rounding: str, word: int
) -> tuple[NDArray[Any], NDArray[Any], NDArray[np.float64]]:
    """Codes, scale codes and values of an array by the reference, block by block."""
    codes = np.zeros(array.shape, np.int64)
    scales = np.zeros(scale_shape(array.shape, axis, fmt.block_size), np.int64)
    values = np.zeros(array.shape)
    for index, part in _blocks(array, fmt, axis):
        block = [reference.as_value(x) for x in array[part]]
        found, scale = reference.encode_block(block, fmt, rounding, words=[word] * len(block))
        codes[part], scales[index] = found, scale
        values[part] = [float(v) for v in reference.decode_block(found, scale, fmt)]
    return codes, scales, values


def _assert_blocks_rounded(
    array: NDArray[Any],
    result: ArrayLike | BlockArray,
    fmt: BlockFormat,
    rounding: str,
    axis: int | None,
    signed_zeros: bool,
) -> None:
    axis = normalize_axis(axis, array.ndim)
    words = (0, 2**32 - 1) if rounding in STOCHASTIC else (0,)
    if isinstance(result, BlockArray):
        if (result.format, result.axis) != (fmt, axis):
            raise AssertionError(
                f"result is in {result.format.name} along axis {result.axis}, expected {fmt.name} "
                f"along axis {axis}"
            )
        found = _block_values(result)
    else:
        found = _real_array("result", result)
    _check_shapes(found, array, fmt)
    choices = [_reference_blocks(array, fmt, axis, rounding, word) for word in words]
    wrong = np.logical_and.reduce([_values_differ(found, v, signed_zeros) for _, _, v in choices])
    of_element = {}
    for _, part in _blocks(array, fmt, axis):
        for index in np.ndindex(array[part].shape):
            full = list(part)
            full[axis] = part[axis].start + index[0]
            of_element[tuple(full)] = part

    def show(index: tuple[int, ...]) -> str:
        expected = dict.fromkeys(_show_number(values[index]) for _, _, values in choices)
        return (
            f"{_show_number(array[index])} in the block {_show_block(array[of_element[index]])}; "
            f"got {_show_number(found[index])}, expected {' or '.join(expected)}"
        )

    _raise_if(wrong, f"not correctly rounded to {fmt.name} ({rounding})", show)
    if isinstance(result, BlockArray) and len(choices) == 1:
        codes, scales, _ = choices[0]
        expected = BlockArray(
            codes.astype(fmt.code_dtype), scales.astype(fmt.scale_dtype), fmt, axis
        )
        _assert_block_arrays_equal(result, expected, fmt)


def _block_values(b: BlockArray) -> NDArray[np.float64]:
    values = np.zeros(b.shape)
    for index, part in _blocks(b.codes, b.format, b.axis):
        block = reference.decode_block(b.codes[part].tolist(), int(b.scales[index]), b.format)
        values[part] = [float(value) for value in block]
    return values


def _assert_block_arrays_equal(actual: object, expected: object, fmt: str | Format | None) -> None:
    """Equal scales, and equal codes in the blocks that are not NaN."""
    if not (isinstance(actual, BlockArray) and isinstance(expected, BlockArray)):
        given = f"{type(actual).__name__} and {type(expected).__name__}"
        raise TypeError(f"both or neither must be a BlockArray, got {given}")
    wanted_format = expected.format if fmt is None else get_format(fmt)
    for b in (actual, expected):
        if (b.format, b.axis, b.shape) != (wanted_format, expected.axis, expected.shape):
            raise AssertionError(
                f"{b!r} is not of format {wanted_format.name}, axis {expected.axis} and shape "
                f"{expected.shape}"
            )
    scale, axis = expected.format.scale, expected.axis
    _raise_if(
        _codes_differ(actual.scales, expected.scales, scale, nan_codes=False),
        f"scales of {wanted_format.name} differ",
        lambda index: (
            f"{_show_code(actual.scales[index], scale)}, "
            f"expected {_show_code(expected.scales[index], scale)}"
        ),
        "scales",
    )
    differ = actual.codes != expected.codes
    nan = np.isnan(_values_of(expected.scales, scale))
    for index, part in _blocks(actual.codes, expected.format, axis):
        differ[part] &= ~nan[index]
    digits = -(-expected.format.bits // 4) + 2

    _raise_if(
        differ,
        f"codes of {wanted_format.name} differ",
        lambda index: (
            f"{actual.codes[index]:#0{digits}x}, expected {expected.codes[index]:#0{digits}x}"
        ),
    )


# --- arguments ------------------------------------------------------------------------------


def _real_array(name: str, x: ArrayLike | BlockArray) -> NDArray[Any]:
    array = np.asarray(x)
    # ml_dtypes' floats are named as rows of the table are
    if array.dtype.kind not in "iuf" and array.dtype.name not in FORMATS:
        raise TypeError(f"{name} must hold floats or integers, got {array.dtype}")
    return array


def _code_array(name: str, x: ArrayLike | BlockArray, fmt: Format) -> NDArray[Any]:
    array = np.asarray(x)
    if array.dtype.name == fmt.name and array.dtype.kind not in "iu":  # an ml_dtypes dtype
        array = array.view(fmt.code_dtype)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{name} must hold codes of {fmt.name}, got {array.dtype}")
    low, high = 0, 2**fmt.bits - 1
    if not isinstance(fmt, (FloatFormat, BlockFormat)):
        low, high = fmt.min_integer, fmt.max_integer
    if array.size and not low <= int(array.min()) <= int(array.max()) <= high:
        raise ValueError(
            f"{name} must hold codes of {fmt.name}, from {low} to {high}, got {array.min()} to "
            f"{array.max()}"
        )
    return array


def _refuse_axis(axis: int | None, fmt: Format) -> None:
    if axis is not None:
        raise ValueError(f"axis is for block formats, not {fmt.name}")


def _check_shapes(found: NDArray[Any], wanted: NDArray[Any], fmt: Format) -> None:
    if found.shape != wanted.shape:
        raise AssertionError(
            f"shapes differ in {fmt.name}: got {found.shape}, expected {wanted.shape}"
        )


def _distinct(array: NDArray[Any]) -> tuple[list[Value], NDArray[np.intp]]:
    """The distinct values, and for each element which of them it is."""
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    if native.itemsize > 8:  # longdouble: its padding is not to be compared
        return [reference.as_value(x) for x in native.flat], np.arange(native.size).reshape(
            native.shape
        )
    bits, where = np.unique(native.reshape(-1).view(f"u{native.itemsize}"), return_inverse=True)
    return [reference.as_value(x) for x in bits.view(native.dtype)], where.reshape(native.shape)


# --- messages -------------------------------------------------------------------------------


def _raise_if(
    wrong: NDArray[np.bool],
    what: str,
    show: Callable[[tuple[int, ...]], str],
    of: str = "elements",
) -> None:
    """Raise AssertionError about the elements that are wrong, in the style of numpy.testing."""
    count = int(np.count_nonzero(wrong))
    if not count:
        return
    lines = [what, f"Mismatched {of}: {count} / {wrong.size} ({100 * count / wrong.size:.3g}%)"]
    for index in map(tuple, np.argwhere(wrong)[:_SHOWN].tolist()):
        lines.append(f" [{', '.join(map(str, index))}]: {show(index)}")
    if count > _SHOWN:
        lines.append(f" and {count - _SHOWN} more")
    raise AssertionError("\n".join(lines))


def _show_code(code: Any, fmt: Format) -> str:
    """``0x38 (1.0)``, or the integer and its value where codes are signed."""
    code = int(code)
    value = reference.decode(code, fmt)
    if isinstance(fmt, FloatFormat):
        return f"{code:#0{-(-fmt.bits // 4) + 2}x} ({float(value)})"
    return f"{code} ({float(value)})"


def _show_number(x: Any) -> str:
    if isinstance(x, (int, np.integer)):
        return str(int(x))
    if isinstance(x, np.longdouble):
        return f"{x!s}"
    if np.isnan(x):
        return f"NaN ({int(np.asarray(x).view(f'u{x.itemsize}')):#x})"
    value = float(x)
    return f"{value!r} ({value.hex()})" if isfinite(value) and value % 1 else repr(value)


def _show_block(block: NDArray[Any]) -> str:
    return np.array2string(block, threshold=8, edgeitems=3, max_line_width=10**6)
