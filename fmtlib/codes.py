"""Codes as numbers: what kind a code is, its neighbours, and its code in another format.

All work on the codes' bits, elementwise, and take any float, fixed or integer format.  The codes
of a float format count up with the magnitude, so that neighbours differ by one.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import codec
from fmtlib._core import kernels
from fmtlib._core.ufuncs import Elementwise
from fmtlib.arguments import whole_number
from fmtlib.blocks import BlockArray
from fmtlib.formats import BlockFormat, FloatFormat, Format, Overflow, Rounding, get_format
from fmtlib.random_words import Seed

# What `classify` says, by number.
_CLASSES = np.array(["zero", "subnormal", "normal", "infinity", "nan"])
NumberClass = Literal["zero", "subnormal", "normal", "infinity", "nan"]


def isnan(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes are NaN.

    Parameters
    ----------
    codes : array_like of the format's `code_dtype`
    fmt : str or Format
        An elementwise format; see `get_format`.

    Returns
    -------
    ndarray of bool, or bool
        In the codes' shape.  All False for fixed and integer formats.

    Raises
    ------
    TypeError
        If `codes` has another dtype or is a BlockArray, or `fmt` is a block format.
    ValueError
        If a code is outside the format.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.isnan(np.uint8([0x00, 0x7e, 0x7f, 0xff]), "e4m3")
    array([False, False,  True,  True])
    """
    array, fmt = _checked(codes, fmt)
    return _isnan(array, fmt)[()]


def isinf(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes are infinities of either sign.

    Parameters, result and errors are those of `isnan`: `codes`, `fmt`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.isinf(np.uint8([0x7b, 0x7c, 0xfc, 0x7d]), "e5m2")
    array([False,  True,  True, False])
    """
    array, fmt = _checked(codes, fmt)
    return _isinf(array, fmt)[()]


def isfinite(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes are neither NaN nor an infinity.

    Parameters, result and errors are those of `isnan`: `codes`, `fmt`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.isfinite(np.uint8([0x7b, 0x7c, 0xfc, 0x7d]), "e5m2")
    array([ True, False, False, False])
    """
    array, fmt = _checked(codes, fmt)
    return ~(_isnan(array, fmt) | _isinf(array, fmt))[()]


def iszero(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes are zeros of either sign.

    Parameters, result and errors are those of `isnan`: `codes`, `fmt`.  A format without a zero
    (float8_e8m0fnu) has none.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.iszero(np.uint8([0x00, 0x80, 0x01]), "e4m3"), fl.iszero(np.uint8([0]), "e8m0")
    (array([ True,  True, False]), array([False]))
    """
    array, fmt = _checked(codes, fmt)
    return (_kind(array, fmt) == 0)[()]


def issubnormal(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes are non-zero and below the least normal value in magnitude.

    Parameters, result and errors are those of `isnan`: `codes`, `fmt`.  All False for fixed and
    integer formats.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.issubnormal(np.uint8([0x00, 0x01, 0x87, 0x08]), "e4m3")
    array([False,  True,  True, False])
    """
    array, fmt = _checked(codes, fmt)
    return (_kind(array, fmt) == 1)[()]


def signbit(codes: ArrayLike, fmt: str | Format) -> Any:
    """Tell which codes have a minus sign, that of -0, -Inf and NaN included.

    The same as ``np.signbit(fl.decode(codes, fmt))``: the NaN of a format without -0, whose code
    is the sign bit alone, has no sign and gives False.

    Parameters, result and errors are those of `isnan`: `codes`, `fmt`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.signbit(np.uint8([0x00, 0x80, 0xfe]), "e4m3")
    array([False,  True,  True])
    >>> fl.signbit(np.uint8([0x80, 0x81]), "e4m3fnuz")
    array([False,  True])
    """
    array, fmt = _checked(codes, fmt)
    return _signbit(array, fmt)[()]


def classify(codes: ArrayLike, fmt: str | Format) -> Any:
    """Class of each code, for tables; the predicates are faster.

    Parameters
    ----------
    codes, fmt
        As for `isnan`.

    Returns
    -------
    ndarray of str, or str
        "zero", "subnormal", "normal", "infinity" or "nan".  The non-zero codes of fixed and
        integer formats are normal, and so are all finite ones of a format without a zero.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.classify(np.uint8([0x80, 0x01, 0x08, 0x7c, 0x7d]), "e5m2").tolist()
    ['zero', 'subnormal', 'normal', 'infinity', 'nan']
    """
    array, fmt = _checked(codes, fmt)
    return _CLASSES[_kind(array, fmt)]


def nextafter(codes: ArrayLike, toward: ArrayLike, fmt: str | Format) -> Any:
    """Code of the next value of the format toward another, as `numpy.nextafter`.

    Parameters
    ----------
    codes, toward : array_like of the format's `code_dtype`
        They broadcast.
    fmt : str or Format
        An elementwise format; see `get_format`.

    Returns
    -------
    ndarray or scalar of the format's `code_dtype`

    Raises
    ------
    TypeError, ValueError
        As for `isnan`.

    Notes
    -----
    The rules of C's `nextafter` and of IEEE 754's nextUp and nextDown:

    - Where `codes` and `toward` are equal in value, the result is `toward`; so it is for -0 and +0.
    - A NaN in either gives that NaN, the first one's if both are.
    - -0 and +0 are one value: the next ones are the least positive and the least negative.  A step
      to zero keeps the sign if the format has a -0, else gives the one zero there is.
    - From the greatest value the next toward infinity is infinity, from infinity toward anything
      else the greatest value.  Where a format has no infinity, no code lies beyond the greatest.
    - Without a zero (float8_e8m0fnu) nothing lies below the least value; unsigned formats have
      nothing below zero.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> up = fl.nextafter(np.uint8([0x00, 0x38, 0x81]), np.uint8(0x7e), "e4m3")
    >>> [hex(code) for code in up]
    ['0x1', '0x39', '0x80']
    """
    fmt = _elementwise(fmt)
    start, goal = np.broadcast_arrays(_codes(codes, fmt), _codes(toward, fmt))
    from_rank, to_rank = _ranks(start, fmt), _ranks(goal, fmt)
    step = np.sign(to_rank - from_rank)
    rank = from_rank + step
    if isinstance(fmt, FloatFormat):
        negative = rank < 0
        if fmt.has_negative_zero:
            negative |= (rank == 0) & _signbit(start, fmt)
        rank = np.abs(rank) | np.where(negative, fmt.sign_bit, 0)
    result = np.where(step == 0, goal, rank.astype(fmt.code_dtype))
    result = np.where(_isnan(goal, fmt), goal, result)
    return np.where(_isnan(start, fmt), start, result)[()]


def spacing(codes: ArrayLike, fmt: str | Format) -> Any:
    """Distance from each value to the next one of greater magnitude, as `numpy.spacing`.

    Parameters
    ----------
    codes, fmt
        As for `isnan`.

    Returns
    -------
    ndarray or scalar of float32, or float64 where that is too narrow for the format's values
        Exact, with the sign of the value (plus for both zeros).  Where there is no next value:
        infinity, with the sign, at the greatest one of a format with infinities, and NaN at that
        of one without.  NaN for NaN and infinities.

    Raises
    ------
    TypeError, ValueError
        As for `isnan`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.spacing(np.uint8([0x00, 0x38, 0xb8, 0x7e]), "e4m3")
    array([ 0.00195312,  0.125     , -0.125     ,         nan], dtype=float32)
    """
    array, fmt = _checked(codes, fmt)
    dtype = np.dtype("float32" if fmt.fits("float32") else "float64")
    ranks = _ranks(array, fmt)
    if isinstance(fmt, FloatFormat):
        low, high = -fmt.max_code, fmt.max_code
        beyond = np.nan if fmt.inf_code is None else np.inf
    else:
        low, high, beyond = fmt.min_integer, fmt.max_integer, np.nan
    inside = np.where(ranks < 0, low < ranks, ranks < high)
    # The code one further from zero: one greater, but for negative two's complement.
    outward = -1 if array.dtype.kind == "i" else 1
    step = np.where(ranks < 0, outward, 1).astype(array.dtype)
    further = np.where(inside, array + step, array)
    value = codec.decode(array, fmt, dtype=np.float64)
    gap = codec.decode(further, fmt, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # Inf - Inf
        gap = np.where(ranks == 0, np.abs(gap - value), gap - value)
    at_end = np.where(ranks < 0, ranks == low, ranks == high)
    gap = np.where(at_end, np.copysign(beyond, value), gap)
    gap = np.where(inside | at_end, gap, np.nan)
    return gap.astype(dtype)[()]


def ulp_distance(a: ArrayLike, b: ArrayLike, fmt: str | Format) -> Any:
    """Number of steps of `nextafter` from one value to another.

    Parameters
    ----------
    a, b : array_like of the format's `code_dtype`
        They broadcast.
    fmt : str or Format
        An elementwise format; see `get_format`.

    Returns
    -------
    ndarray or scalar of float64
        Whole numbers; -0 and +0 are no step apart, infinity is one step beyond the greatest value.
        NaN where either is NaN.

    Raises
    ------
    TypeError, ValueError
        As for `isnan`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.ulp_distance(np.uint8([0x38, 0x80, 0x01]), np.uint8([0x3a, 0x00, 0x81]), "e4m3")
    array([2., 0., 2.])
    """
    fmt = _elementwise(fmt)
    first, second = _codes(a, fmt), _codes(b, fmt)
    steps = np.abs(_ranks(first, fmt) - _ranks(second, fmt)).astype(np.float64)
    return np.where(_isnan(first, fmt) | _isnan(second, fmt), np.nan, steps)[()]


def convert(
    codes: ArrayLike,
    from_format: str | Format,
    to_format: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    seed: Seed = None,
    random_bits: int | None = None,
    out: NDArray[Any] | None = None,
    workers: int | None = None,
) -> Any:
    """Codes of one format as codes of another, rounded once.

    The same as ``encode(decode(codes, from_format), to_format, ...)``, without the values in
    between where a table of all codes serves (formats of at most 16 bits, deterministic roundings).

    Parameters
    ----------
    codes : array_like of the `code_dtype` of `from_format`
    from_format, to_format : str or Format
        Elementwise formats; see `get_format`.
    rounding, overflow, seed, random_bits, workers
        As for `encode`.
    out : ndarray of the `code_dtype` of `to_format`, optional
        Where to put the codes.

    Returns
    -------
    ndarray or scalar
        Codes of `to_format`, in the shape of `codes`.  NaN becomes the target's NaN, or code 0 and
        NumPy's "invalid" floating-point error where it has none; -0 stays where the target has it;
        infinities overflow as `overflow` says.

    Raises
    ------
    TypeError
        If `codes` or `out` has another dtype, or a format is a block format.
    ValueError
        If a code is outside `from_format`; for unknown names and arguments out of range.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> codes = fl.encode([0.25, -1.5, 1e4], "e5m2")
    >>> fl.decode(fl.convert(codes, "e5m2", "e4m3"), "e4m3").tolist()
    [0.25, -1.5, 448.0]
    """
    source, target = _elementwise(from_format), _elementwise(to_format)
    array = _codes(codes, source)
    mode = codec.Mode.of(target, rounding, overflow, random_bits)
    mode.words(seed)
    codec.check_out(True, out, target.code_dtype, array.shape)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    small = array.size < 2**source.bits // 4  # than a table
    if source.bits > 16 or mode.stochastic or small:
        values = codec.decode(array, source)
        keywords: dict[str, Any] = {"rounding": rounding, "overflow": overflow, "seed": seed}
        keywords |= {"random_bits": random_bits, "out": out, "workers": workers}
        return codec.encode(values, target, **keywords)
    table = _table(source, target, rounding, overflow)
    indices = np.ascontiguousarray(array).reshape(-1).view(f"u{source.code_dtype.itemsize}")
    if table is None:  # some code is an error: which of them are there?
        present = np.zeros(2 ** (8 * indices.itemsize), bool)
        present[indices] = True
        some = np.flatnonzero(present).astype(indices.dtype)
        table = np.zeros(present.shape, target.code_dtype)
        values = codec.decode(some.view(source.code_dtype), source)
        table[some] = codec.encode(values, target, rounding=rounding, overflow=overflow)
    result = np.empty(array.shape, target.code_dtype)
    flat = result.reshape(-1)

    def run(start: int, stop: int) -> None:
        kernels.lookup(indices[start:stop], table, flat[start:stop])

    codec.share(run, array.size, workers)
    return result[()] if out is None else codec.put_into(result, out, True)


@lru_cache(maxsize=32)
def _table(
    source: Elementwise, target: Elementwise, rounding: Rounding, overflow: Overflow
) -> NDArray[Any] | None:
    """The target's code for each code of the source; None if one of them is an error."""
    width = 8 * source.code_dtype.itemsize
    low, high = codec.code_range(source)
    every = np.arange(low, high + 1).astype(source.code_dtype)
    table = np.zeros(2**width, target.code_dtype)
    values = codec.decode(every, source)
    try:
        with np.errstate(invalid="raise"):
            codes = codec.encode(values, target, rounding=rounding, overflow=overflow)
    except (FloatingPointError, OverflowError, ValueError):
        return None
    table[every.view(f"u{width // 8}")] = codes
    table.flags.writeable = False
    return table


# --- the bits of codes ----------------------------------------------------------------------


def _elementwise(fmt: str | Format) -> Elementwise:
    found = get_format(fmt)
    if isinstance(found, BlockFormat):
        raise TypeError(
            f"the codes of {found.name} mean nothing without their block; "
            "decode them and encode the values"
        )
    return codec.elementwise(found)


def _codes(codes: ArrayLike, fmt: Elementwise) -> NDArray[Any]:
    if isinstance(codes, BlockArray):
        raise TypeError("a BlockArray is no array of codes; decode it and encode the values")
    return codec.code_array(codes, fmt).astype(fmt.code_dtype, copy=False)


def _checked(codes: ArrayLike, fmt: str | Format) -> tuple[NDArray[Any], Elementwise]:
    found = _elementwise(fmt)
    return _codes(codes, found), found


def _isinf(array: NDArray[Any], fmt: Elementwise) -> NDArray[np.bool_]:
    if not isinstance(fmt, FloatFormat) or fmt.inf_code is None:
        return np.zeros(array.shape, bool)
    return np.asarray((array & fmt.magnitude_mask) == fmt.inf_code)


def _isnan(array: NDArray[Any], fmt: Elementwise) -> NDArray[np.bool_]:
    if not isinstance(fmt, FloatFormat):
        return np.zeros(array.shape, bool)
    nan = (array & fmt.magnitude_mask) > fmt.max_code
    nan &= ~_isinf(array, fmt)
    if fmt.signed and not fmt.has_negative_zero:
        nan |= array == fmt.sign_bit
    return np.asarray(nan)


def _signbit(array: NDArray[Any], fmt: Elementwise) -> NDArray[np.bool_]:
    if not isinstance(fmt, FloatFormat):
        return np.asarray(array < 0)
    negative = (array & fmt.sign_bit) != 0
    if fmt.signed and not fmt.has_negative_zero:
        negative &= array != fmt.sign_bit
    return np.asarray(negative)


def _kind(array: NDArray[Any], fmt: Elementwise) -> NDArray[np.intp]:
    """Index into _CLASSES."""
    if not isinstance(fmt, FloatFormat):
        return np.where(array == 0, 0, 2)
    kind = np.full(array.shape, 2)
    if fmt.subnormals:
        magnitude = array & fmt.magnitude_mask
        kind[magnitude < 1 << fmt.mantissa_bits] = 1
        kind[magnitude == 0] = 0
    kind[_isinf(array, fmt)] = 3
    kind[_isnan(array, fmt)] = 4
    return kind


def _ranks(array: NDArray[Any], fmt: Elementwise) -> NDArray[np.int64]:
    """The place of each value in the order of values, the zeros at 0; of no meaning for NaN.

    Infinity follows the greatest value, in every format.
    """
    if not isinstance(fmt, FloatFormat):
        return array.astype(np.int64)
    magnitude = (array & fmt.magnitude_mask).astype(np.int64)
    return np.where(array & fmt.sign_bit, -magnitude, magnitude)
