"""Assertions about codes and values, for tests of one's own numerics: NumPy is all they need.

`fmtlib.testing` has them too, beside the strategies that need Hypothesis.  Expected results come
from `fmtlib.reference`, never from the kernels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from math import inf, isfinite, isnan, nan, nextafter
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import reference
from fmtlib.blocks import BlockArray, normalize_block_axis, scale_shape
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

Axes: TypeAlias = int | tuple[int, int]
Elementwise: TypeAlias = FloatFormat | FixedFormat | IntegerFormat

_SHOWN = 5  # mismatches that a message describes


def assert_on_grid(x: ArrayLike, fmt: str | Format, *, axis: Axes | None = None) -> None:
    """Assert that every value is a value of the format.

    NaN and the infinities are on the grid of a format that has them; -0.0 counts as zero.  In a
    block format the values of each block must all be on the grid of one scale; formats with a scale
    for the whole tensor (NVFP4) cannot be tested so.

    Parameters
    ----------
    x : array_like of floats or integers
        Values, any shape.
    fmt : str or Format
        See `fmtlib.get_format`.
    axis : int or (int, int), optional
        The axis of the blocks, by default the last, or the two of tiles.  Only for block formats.

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
        _assert_blocks_on_grid(array, fmt, normalize_block_axis(axis, array.ndim, fmt))
        return
    _refuse_axis(axis, fmt)
    distinct, where = _distinct(array)
    off = np.array([not _on_grid(reference.as_value(v), fmt) for v in distinct], bool)[where]
    _raise_if(
        off,
        f"values are not on the grid of {fmt.name}",
        lambda index: (
            f"{_show_number(array[index])} {_place(reference.as_value(array[index]), fmt)}"
        ),
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
    axis: Axes | None = None,
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
    axis : int or (int, int), optional
        The axis of the blocks, by default the last, or the two of tiles.  Only for block formats.
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
    Each distinct input takes some 20 µs of exact arithmetic; where there are many of them, they
    are looked up among the exact thresholds of the format.

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
        axes = normalize_block_axis(axis, array.ndim, fmt)
        _assert_blocks_rounded(array, result, fmt, rounding, axes, signed_zeros)
        return
    _refuse_axis(axis, fmt)
    distinct, where = _distinct(array)
    # Words of zeros and of ones give the least and the greatest that stochastic rounding can.
    words = (0, 2**32 - 1) if rounding in STOCHASTIC else (0,)
    try:
        choices = [_expected_codes(distinct, fmt, rounding, overflow, w)[where] for w in words]
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
            f"{_show_number(array[index])} {_place(reference.as_value(array[index]), fmt)}; "
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


def _expected_codes(
    x: NDArray[Any], fmt: Elementwise, rounding: str, overflow: str, word: int
) -> NDArray[np.int64]:
    """Codes by the reference: one by one, or of many inputs by search among its thresholds."""
    exact_in_float64 = x.itemsize <= 8 and (
        x.dtype.kind not in "iu" or x.size == 0 or -(2**53) <= int(x.min()) <= int(x.max()) <= 2**53
    )
    if (
        x.size <= 2**fmt.bits
        or fmt.bits > 19
        or rounding in STOCHASTIC
        or overflow in ("wrap", "raise")
        or not exact_in_float64
    ):
        codes = [reference.encode(v, fmt, rounding, overflow, word=word) for v in x]
        return np.array(codes, np.int64)
    with np.errstate(invalid="ignore"):  # signalling NaN
        wide = x.astype(np.float64)
    found = np.full(x.shape, reference.encode(nan, fmt, rounding, overflow), np.int64)
    for negative in (False, True):
        steps = reference.thresholds(fmt, rounding, overflow, negative=negative)
        starts = [
            float(place) if inclusive else nextafter(float(place), inf)
            for place, inclusive, _ in steps
        ]
        codes_of_steps = np.array([step.code for step in steps], np.int64)
        mine = ~np.isnan(wide) & (np.signbit(wide) == negative)
        found[mine] = codes_of_steps[np.searchsorted(starts, np.abs(wide[mine]), "right") - 1]
    return found


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


def _sizes(fmt: BlockFormat, axes: Axes) -> dict[int, int]:
    """How long a block is along each of its axes."""
    if isinstance(axes, tuple):
        assert isinstance(fmt.block_size, tuple)
        return dict(zip(axes, fmt.block_size, strict=True))
    assert isinstance(fmt.block_size, int)
    return {axes: fmt.block_size}


def _elements_of(block: tuple[int, ...], sizes: dict[int, int]) -> tuple[int | slice, ...]:
    """The index of the elements of a block, from its index among the scales."""
    return tuple(
        slice(i * sizes[axis], (i + 1) * sizes[axis]) if axis in sizes else i
        for axis, i in enumerate(block)
    )


def _block_of(element: tuple[int, ...], sizes: dict[int, int]) -> tuple[int, ...]:
    """The index among the scales of the block of an element."""
    return tuple(i // sizes.get(axis, 1) for axis, i in enumerate(element))


def _exact_block(part: NDArray[Any]) -> list[Value]:
    return [reference.as_value(x) for x in part.reshape(-1)]


def _assert_blocks_on_grid(array: NDArray[Any], fmt: BlockFormat, axes: Axes) -> None:
    if fmt.tensor_scale:
        raise TypeError(
            f"values of {fmt.name} are on the grid of their tensor's scale, which they do not "
            "tell; assert_correctly_rounded finds it from the input"
        )
    sizes = _sizes(fmt, axes)
    scales = sorted(
        value
        for value in (reference.decode(code, fmt.scale) for code in range(2**fmt.scale.bits))
        if isinstance(value, Fraction) and value > 0
    )
    off = np.zeros(scale_shape(array.shape, axes, fmt.block_size), bool)
    for block in np.ndindex(off.shape):
        off[block] = not _one_scale_fits(
            _exact_block(array[_elements_of(block, sizes)]), fmt, scales
        )
    _raise_if(
        off,
        f"blocks are not on the grid of {fmt.name}",
        lambda block: f"{_show_block(array[_elements_of(block, sizes)])} fits no scale",
        "blocks",
    )


def _one_scale_fits(values: Sequence[Value], fmt: BlockFormat, scales: Sequence[Fraction]) -> bool:
    others = [value for value in values if isinstance(value, float) and not isfinite(value)]
    if not all(_on_grid(value, fmt.element) for value in others):
        return all(isinstance(value, float) and isnan(value) for value in values)  # a NaN block
    if fmt.micro_size is None:
        parts = [values]
    else:
        parts = [values[i : i + fmt.micro_size] for i in range(0, len(values), fmt.micro_size)]
    finite = [{v for v in part if isinstance(v, Fraction) and v} for part in parts]
    shifts = (1,) if fmt.micro_size is None else (1, 2)
    return not any(finite) or any(
        all(
            any(all(_on_grid(v * shift / scale, fmt.element) for v in part) for shift in shifts)
            for part in finite
        )
        for scale in scales
    )


def _reference_blocks(
    array: NDArray[Any], fmt: BlockFormat, axes: Axes, rounding: str, word: int
) -> tuple[BlockArray, NDArray[np.float64]]:
    """What the reference makes of an array, block by block; and its values."""
    sizes = _sizes(fmt, axes)
    codes = np.zeros(array.shape, fmt.code_dtype)
    scales = np.zeros(scale_shape(array.shape, axes, fmt.block_size), fmt.scale_dtype)
    encode_scale = decode_scale = Fraction(1)
    if fmt.tensor_scale:
        exact = _exact_block(array)
        finite = (abs(value) for value in exact if isinstance(value, Fraction))
        encode_scale, decode_scale = reference.tensor_scales(max(finite, default=Fraction(0)), fmt)
    for block in np.ndindex(scales.shape):
        part = codes[_elements_of(block, sizes)]
        values = _exact_block(array[_elements_of(block, sizes)])
        found, scales[block] = reference.encode_block(
            values, fmt, rounding, words=[word] * len(values), encode_scale=encode_scale
        )
        part[...] = np.reshape(np.array(found, fmt.code_dtype), part.shape)
    tensor_scale = np.float32(float(decode_scale)) if fmt.tensor_scale else None
    result = BlockArray(codes, scales, fmt, axes, tensor_scale)
    return result, _block_values(result)


def _block_values(b: BlockArray) -> NDArray[np.float64]:
    """The values of an array by the reference."""
    sizes = _sizes(b.format, b.axis)
    values = np.zeros(b.shape)
    tensor_scale = 1.0 if b.tensor_scale is None else float(b.tensor_scale)
    for block in np.ndindex(b.scales.shape):
        codes = b.codes[_elements_of(block, sizes)]
        found = reference.decode_block(
            codes.reshape(-1).tolist(), int(b.scales[block]), b.format, tensor_scale
        )
        part = values[_elements_of(block, sizes)]
        part[...] = np.reshape([float(value) for value in found], part.shape)
    return values


def _assert_blocks_rounded(
    array: NDArray[Any],
    result: ArrayLike | BlockArray,
    fmt: BlockFormat,
    rounding: str,
    axes: Axes,
    signed_zeros: bool,
) -> None:
    words = (0, 2**32 - 1) if rounding in STOCHASTIC else (0,)
    if isinstance(result, BlockArray):
        if (result.format, result.axis) != (fmt, axes):
            raise AssertionError(
                f"result is in {result.format.name} along axis {result.axis}, expected {fmt.name} "
                f"along axis {axes}"
            )
        found: NDArray[Any] = _block_values(result)
    else:
        found = _real_array("result", result)
    _check_shapes(found, array, fmt)
    expected = [_reference_blocks(array, fmt, axes, rounding, word) for word in words]
    choices = [_rounded_to(values, found.dtype) for _, values in expected]
    wrong = np.logical_and.reduce([_values_differ(found, v, signed_zeros) for v in choices])
    sizes = _sizes(fmt, axes)

    def show(index: tuple[int, ...]) -> str:
        block = array[_elements_of(_block_of(index, sizes), sizes)]
        wanted = dict.fromkeys(_show_number(values[index]) for values in choices)
        return (
            f"{_show_number(array[index])} in the block {_show_block(block)}; "
            f"got {_show_number(found[index])}, expected {' or '.join(wanted)}"
        )

    _raise_if(wrong, f"not correctly rounded to {fmt.name} ({rounding})", show)
    if isinstance(result, BlockArray) and len(expected) == 1:
        _assert_block_arrays_equal(result, expected[0][0], fmt)


def _rounded_to(values: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[np.float64]:
    """The values rounded once to a narrower float type, which a tensor's scale can need."""
    if dtype.name == "bfloat16":  # ml_dtypes would round to float32 first
        bfloat16 = FORMATS["bfloat16"]
        codes = [reference.encode(v, bfloat16, overflow="nonsaturating") for v in values.flat]
        rounded = [float(reference.decode(code, bfloat16)) for code in codes]
        return np.array(rounded, np.float64).reshape(values.shape)
    if dtype.kind != "f" or dtype.itemsize >= 8:
        return values
    with np.errstate(over="ignore", under="ignore"):
        return values.astype(dtype).astype(np.float64)


def _assert_block_arrays_equal(actual: object, expected: object, fmt: str | Format | None) -> None:
    """Equal scales, and equal codes in the blocks that are not NaN."""
    if not (isinstance(actual, BlockArray) and isinstance(expected, BlockArray)):
        given = f"{type(actual).__name__} and {type(expected).__name__}"
        raise TypeError(f"both or neither must be a BlockArray, got {given}")
    wanted = expected.format if fmt is None else get_format(fmt)
    for b in (actual, expected):
        if (b.format, b.axis, b.shape) != (wanted, expected.axis, expected.shape):
            raise AssertionError(
                f"{b!r} is not of format {wanted.name}, axis {expected.axis} and shape "
                f"{expected.shape}"
            )
    if actual.tensor_scale != expected.tensor_scale:
        raise AssertionError(
            f"tensor scales of {wanted.name} differ: {actual.tensor_scale}, expected "
            f"{expected.tensor_scale}"
        )
    scale, element = expected.format.scale, expected.format.element
    # micro-exponents are stored above the code of the scale itself
    no_number, actual_no_number = (
        np.isnan(_values_of(b.scales & (2**scale.bits - 1), scale)) for b in (expected, actual)
    )

    def show_scale(code: int) -> str:
        micro, own = divmod(int(code), 2**scale.bits)
        extra = f" and micro-exponents {micro:#b}" if expected.format.micro_size else ""
        return _show_code(own, scale) + extra

    _raise_if(
        (actual.scales != expected.scales) & ~(no_number & actual_no_number),
        f"scales of {wanted.name} differ",
        lambda index: (
            f"{show_scale(actual.scales[index])}, expected {show_scale(expected.scales[index])}"
        ),
        "scales",
    )
    if isinstance(element, FloatFormat):
        differ = _codes_differ(actual.codes, expected.codes, element, nan_codes=False)
    else:
        differ = actual.codes != expected.codes
    sizes = _sizes(expected.format, expected.axis)
    for block in np.ndindex(no_number.shape):
        differ[_elements_of(block, sizes)] &= not no_number[block]
    digits = -(-expected.format.bits // 4) + 2
    _raise_if(
        differ,
        f"codes of {wanted.name} differ",
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


def _refuse_axis(axis: Axes | None, fmt: Format) -> None:
    if axis is not None:
        raise ValueError(f"axis is for block formats, not {fmt.name}")


def _check_shapes(found: NDArray[Any], wanted: NDArray[Any], fmt: Format) -> None:
    if found.shape != wanted.shape:
        raise AssertionError(
            f"shapes differ in {fmt.name}: got {found.shape}, expected {wanted.shape}"
        )


def _distinct(array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.intp]]:
    """The distinct elements, and for each element which of them it is."""
    native = array.astype(array.dtype.newbyteorder("="), order="C", copy=False)
    if native.itemsize > 8:  # longdouble: its padding is not to be compared
        return native.reshape(-1), np.arange(native.size).reshape(native.shape)
    bits, where = np.unique(native.reshape(-1).view(f"u{native.itemsize}"), return_inverse=True)
    return bits.view(native.dtype), where.reshape(native.shape)


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
    return np.array2string(block.reshape(-1), threshold=8, edgeitems=3, max_line_width=10**6)
