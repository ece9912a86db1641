"""Hypothesis strategies for formats, codes, values, blocks and layers, and assertions on them.

For tests of one's own numerics.  Values are chosen where mistakes are made: on the grid of a
format, midway between its values, one ulp of the input's dtype beside either, subnormal, at the
overflow threshold, NaN with payloads, infinite, and anywhere.  Failing examples shrink towards
named formats, zero and short arrays.

Needs Hypothesis: ``pip install "fmtlib[testing]"``.  Once that is there,
``hypothesis.strategies.from_type`` knows fmtlib's types without this module being imported.

Examples
--------
>>> import fmtlib as fl
>>> from hypothesis import given
>>> from fmtlib import testing
>>> @given(testing.arrays("e4m3", "float32"))
... def test_quantize(x):
...     testing.assert_correctly_rounded(x, fl.quantize(x, "e4m3"), "e4m3")
>>> test_quantize()
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import cache
from itertools import product
from typing import Any, Literal, TypeAlias, TypeVar, cast, get_args

import numpy as np
from numpy.typing import DTypeLike, NDArray

from fmtlib import reference
from fmtlib.arguments import whole_number
from fmtlib.assertions import assert_codes_equal, assert_correctly_rounded, assert_on_grid
from fmtlib.blocks import BlockArray, normalize_block_axis, scale_shape
from fmtlib.formats import (
    FORMATS,
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    NanEncoding,
    Overflow,
    Rounding,
    ScaleRule,
    bfp,
    get_format,
)

try:
    from hypothesis import Phase, given, note, settings
    from hypothesis import strategies as st
    from hypothesis.extra import numpy as hnp
    from hypothesis.strategies import SearchStrategy
except ImportError as error:
    raise ImportError(
        'fmtlib.testing needs Hypothesis: pip install "fmtlib[testing]"; the assertions alone, '
        "which do not need it, are in fmtlib.assertions"
    ) from error

from fmtlib.hardware.strategies import layers

__all__ = [
    "arrays",
    "assert_codes_equal",
    "assert_correctly_rounded",
    "assert_on_grid",
    "assert_quantizer_conforms",
    "block_arrays",
    "block_formats",
    "blocks",
    "code_arrays",
    "codes",
    "fixed_formats",
    "float_formats",
    "formats",
    "integer_formats",
    "layers",
    "overflows",
    "roundings",
    "values",
]

Kind: TypeAlias = Literal["float", "fixed", "integer", "block"]
Layout: TypeAlias = Literal["C", "F", "reversed", "strided", "broadcast", "read-only"]
Shape: TypeAlias = int | tuple[int, ...] | SearchStrategy[tuple[int, ...]]

KINDS: tuple[Kind, ...] = get_args(Kind)
LAYOUTS: tuple[Layout, ...] = get_args(Layout)

_FormatT = TypeVar("_FormatT", FloatFormat, FixedFormat, IntegerFormat, BlockFormat)

# --- formats --------------------------------------------------------------------------------


def formats(
    kinds: Kind | Sequence[Kind] = KINDS,
    min_bits: int = 1,
    max_bits: int | None = None,
    named: bool | None = None,
) -> SearchStrategy[Format]:
    """Formats of any kind: rows of the table, and records made at run time.

    Parameters
    ----------
    kinds : str or sequence of str
        Of "float", "fixed", "integer" and "block"; examples shrink towards the first.
    min_bits, max_bits : int, optional
        Least and greatest width of a code (in a block, of an element).
    named : bool, optional
        True: rows of the table only; False: none of them.

    Returns
    -------
    SearchStrategy of Format
        Shrinks towards the first row of the table.

    Raises
    ------
    ValueError
        For unknown kinds, and if no format is as narrow or wide as asked.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> print(find(testing.formats(max_bits=4), lambda f: True))
    float4_e2m1fn
    >>> print(find(testing.formats(("integer", "fixed"), named=False), lambda f: f.bits >= 11))
    int11
    """
    chosen = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not chosen or not set(chosen) <= set(KINDS):
        raise ValueError(f"kinds must be of {', '.join(KINDS)}, got {kinds!r}")
    makers: dict[str, Callable[..., SearchStrategy[Any]]] = {
        "float": _float_formats,
        "fixed": _fixed_formats,
        "integer": _integer_formats,
        "block": _block_formats,
    }
    low, high = _bit_range(min_bits, max_bits)
    found = st.one_of([makers[kind](low, high, named) for kind in chosen])
    return _not_empty(found, f"{', '.join(chosen)} format", low, high)


def float_formats(
    min_bits: int = 1, max_bits: int | None = None, named: bool | None = None
) -> SearchStrategy[FloatFormat]:
    """Floating-point formats: every choice of fields, infinities, NaN, sign, zero and bias.

    Parameters
    ----------
    min_bits, max_bits, named
        See `formats`.

    Returns
    -------
    SearchStrategy of FloatFormat
        Shrinks towards the first row of the table, run-time records to the usual bias.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> print(find(testing.float_formats(max_bits=6, named=True), lambda f: f.max > 10))
    float6_e3m2fn
    """
    low, high = _bit_range(min_bits, max_bits)
    return _not_empty(_float_formats(low, high, named), "float format", low, high)


def fixed_formats(
    min_bits: int = 1, max_bits: int | None = None, named: bool | None = None
) -> SearchStrategy[FixedFormat]:
    """Fixed-point formats in two's complement, and unsigned ones.

    Parameters
    ----------
    min_bits, max_bits, named
        See `formats`.

    Returns
    -------
    SearchStrategy of FixedFormat
        Sign-magnitude ones are left out: they are for the elements of blocks.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> print(find(testing.fixed_formats(named=False), lambda f: f.fraction_bits > 2))
    fixed_s0_3
    """
    low, high = _bit_range(min_bits, max_bits)
    return _not_empty(_fixed_formats(low, high, named), "fixed format", low, high)


def integer_formats(
    min_bits: int = 1, max_bits: int | None = None, named: bool | None = None
) -> SearchStrategy[IntegerFormat]:
    """Integer formats: signed (symmetric or not) and unsigned.

    Parameters
    ----------
    min_bits, max_bits, named
        See `formats`.

    Returns
    -------
    SearchStrategy of IntegerFormat

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> print(find(testing.integer_formats(), lambda f: not f.signed))
    uint8
    """
    low, high = _bit_range(min_bits, max_bits)
    return _not_empty(_integer_formats(low, high, named), "integer format", low, high)


def block_formats(
    min_bits: int = 1,
    max_bits: int | None = None,
    named: bool | None = None,
    max_block_size: int = 40,
) -> SearchStrategy[BlockFormat]:
    """Block formats: elements, scales, block sizes and rules as `fmtlib.BlockFormat` allows.

    Parameters
    ----------
    min_bits, max_bits, named
        See `formats`; the width is that of an element's code.
    max_block_size : int
        Elements in the largest block or tile, of named formats too.

    Returns
    -------
    SearchStrategy of BlockFormat
        Run-time records shrink to short blocks of narrow elements.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> print(find(testing.block_formats(named=False), lambda f: f.carry == "bump"))
    bfp_m1_e2_g1_bump
    """
    low, high = _bit_range(min_bits, max_bits)
    size = whole_number("max_block_size", max_block_size, 1)
    return _not_empty(_block_formats(low, high, named, size), "block format", low, high)


def _bit_range(min_bits: int, max_bits: int | None) -> tuple[int, int]:
    low = whole_number("min_bits", min_bits, 1)
    return low, 64 if max_bits is None else whole_number("max_bits", max_bits, low)


def _not_empty(found: SearchStrategy[Any], what: str, low: int, high: int) -> SearchStrategy[Any]:
    if found.is_empty:
        raise ValueError(f"there is no {what} of {low} to {high} bits")
    return found


def _float_formats(low: int, high: int, named: bool | None) -> SearchStrategy[FloatFormat]:
    return _named_and_not(FloatFormat, low, high, named, _of_widths(FloatFormat, low, high, _bias))


def _fixed_formats(low: int, high: int, named: bool | None) -> SearchStrategy[FixedFormat]:
    return _named_and_not(FixedFormat, low, high, named, _of_widths(FixedFormat, low, high))


def _integer_formats(low: int, high: int, named: bool | None) -> SearchStrategy[IntegerFormat]:
    return _named_and_not(IntegerFormat, low, high, named, _of_widths(IntegerFormat, low, high))


def _block_formats(
    low: int, high: int, named: bool | None, max_block_size: int = 40
) -> SearchStrategy[BlockFormat]:
    """Rows, and records from the constructors: a new family of them is one more strategy here."""
    sizes = st.integers(1, max_block_size)
    sides = st.integers(1, math.isqrt(max_block_size))
    any_sizes = st.one_of(sizes, st.tuples(sides, sides))
    nonfinite = st.sampled_from(("nan", "raise"))
    exponents = st.integers(2, 8)
    families: list[SearchStrategy[BlockFormat]] = []
    if low <= 24 and high >= 2:  # integers: one bit for the sign and 1 to 23 others
        magnitude_bits = st.integers(max(low, 2) - 1, min(high, 24) - 1)
        carries = st.sampled_from(("saturate", "bump"))
        families += [
            st.builds(
                bfp, magnitude_bits, exponents, any_sizes, carry=carries, nonfinite=nonfinite
            ),
            st.builds(
                BlockFormat,
                st.builds(FixedFormat, st.just(1), magnitude_bits.map(lambda m: m - 1)),
                exponents.map(_power_of_two_scale),
                any_sizes,
                st.sampled_from(_POWER_RULES),
                nonfinite=nonfinite,
            ),
            _micro_exponents(magnitude_bits, exponents, max_block_size),
        ]
    floats = [
        fmt
        for bits in range(low, min(high, 16) + 1)
        for fmt in _records(FloatFormat, bits)
        if fmt.signed
    ]
    if floats:
        families.append(
            st.builds(
                BlockFormat,
                st.sampled_from(floats),
                exponents.map(_power_of_two_scale),
                any_sizes,
                st.sampled_from(_POWER_RULES),
                nonfinite=nonfinite,
            )
        )
    two_level = [fmt for fmt in floats if fmt.fits("float32")]
    scales = [
        fmt
        for bits in range(3, 9)
        for fmt in _records(FloatFormat, bits)
        if fmt.mantissa_bits and not fmt.infinities and fmt.nan_code is not None
    ]
    if two_level:
        families.append(
            st.builds(
                BlockFormat,
                st.sampled_from(two_level),
                st.sampled_from(scales),
                any_sizes,
                st.just("amax"),
                nonfinite=nonfinite,
                tensor_scale=st.booleans(),
            )
        )
    return _named_and_not(
        BlockFormat,
        low,
        high,
        named,
        st.one_of(families),
        lambda f: math.prod(_sides(f)) <= max_block_size,
    )


_POWER_RULES = tuple(rule for rule in get_args(ScaleRule) if rule != "amax")


def _power_of_two_scale(exponent_bits: int) -> FloatFormat:
    return bfp(1, exponent_bits).scale


def _sides(fmt: BlockFormat) -> tuple[int, ...]:
    """The sizes of a block along its axes."""
    return fmt.block_size if isinstance(fmt.block_size, tuple) else (fmt.block_size,)


@st.composite
def _micro_exponents(
    draw: st.DrawFn,
    magnitude_bits: SearchStrategy[int],
    exponent_bits: SearchStrategy[int],
    max_block_size: int,
) -> BlockFormat:
    fmt = bfp(draw(magnitude_bits), draw(exponent_bits))
    micro_size = draw(st.integers(1, min(max_block_size, 4)))
    most = min(max_block_size // micro_size, 32 - fmt.scale.bits)
    count = draw(st.integers(1, most))
    return replace(fmt, block_size=micro_size * count, micro_size=micro_size)


def _named_and_not(
    kind: type[_FormatT],
    low: int,
    high: int,
    named: bool | None,
    run_time: SearchStrategy[_FormatT],
    allowed: Callable[[_FormatT], bool] = lambda _: True,
) -> SearchStrategy[_FormatT]:
    rows = [
        fmt
        for fmt in FORMATS.values()
        if isinstance(fmt, kind) and low <= fmt.bits <= high and allowed(fmt)
    ]
    choices = []
    if named is not False and rows:
        choices.append(st.sampled_from(rows))
    if not named:
        choices.append(run_time.filter(lambda fmt: fmt not in rows))
    return st.one_of(choices)


def _of_widths(
    kind: type[_FormatT],
    low: int,
    high: int,
    then: Callable[[_FormatT], SearchStrategy[_FormatT]] = st.just,
) -> SearchStrategy[_FormatT]:
    """Records of every width that has any; all that the constructor accepts."""
    widths = [bits for bits in range(low, min(high, 32) + 1) if _records(kind, bits)]
    if not widths:
        return st.nothing()
    return (
        st.sampled_from(widths)
        .flatmap(lambda bits: st.sampled_from(_records(kind, bits)))
        .flatmap(then)
    )


@cache
def _records(kind: type[_FormatT], bits: int) -> Sequence[_FormatT]:
    """Every valid record of this width, floats with the usual bias; the plain ones first."""
    yes = (True, False)
    candidates: list[dict[str, Any]]
    if kind is FloatFormat:
        # More than 10 exponent bits would leave the range of float64's normal numbers.
        names = ("signed", "subnormals", "infinities", "nan")
        candidates = [
            {**dict(zip(names, facts, strict=True)), "exponent_bits": e}
            for facts in product(yes, yes, yes, get_args(NanEncoding))
            for e in range(1, 11)
        ]
        for fields in candidates:
            fields["mantissa_bits"] = bits - fields["signed"] - fields["exponent_bits"]
    elif kind is FixedFormat:
        candidates = [
            {"integer_bits": i, "fraction_bits": bits - signed - i, "signed": signed}
            for signed in yes
            for i in range(bits + 1)
        ]
    else:
        candidates = [
            {"bits": bits, "signed": signed, "symmetric": symmetric}
            for signed, symmetric in product(yes, yes)
            if signed or not symmetric
        ]
    found = []
    for fields in candidates:
        try:
            found.append(kind(**fields))
        except ValueError:
            continue
    return tuple(found)


def _bias(fmt: FloatFormat) -> SearchStrategy[FloatFormat]:
    """The format with its own or another bias: all values stay normal numbers of float64."""
    assert fmt.bias is not None
    least = max(fmt.bias - (1023 - fmt.max_exponent), -1022)
    greatest = min(fmt.bias + (fmt.quantum_exponent + 1022), 1022)
    return st.one_of(st.just(fmt.bias), st.integers(least, greatest)).map(
        lambda bias: replace(fmt, bias=bias)
    )


# --- modes ----------------------------------------------------------------------------------


def roundings(
    fmt: str | Format | None = None, deterministic: bool = True
) -> SearchStrategy[Rounding]:
    """Names of rounding modes that the format allows.

    Parameters
    ----------
    fmt : str or Format, optional
        By default any.
    deterministic : bool
        Leave out stochastic rounding, whose results depend on a seed.

    Returns
    -------
    SearchStrategy of str

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> find(testing.roundings("e4m3"), lambda mode: True)
    'nearest_even'
    """
    if fmt is not None:
        get_format(fmt)  # all formats take all modes
    found = [mode for mode in ROUNDINGS if not (deterministic and mode in STOCHASTIC)]
    return st.sampled_from(cast("list[Rounding]", found))


def overflows(fmt: str | Format, raising: bool = False) -> SearchStrategy[Overflow]:
    """Names of overflow modes that the format allows.

    Parameters
    ----------
    fmt : str or Format
        See `fmtlib.get_format`.
    raising : bool
        Whether "raise" is among them, under which overflow is an exception.

    Returns
    -------
    SearchStrategy of str

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> find(testing.overflows("e4m3"), lambda mode: mode != "saturate")
    'nonsaturating'
    """
    found = [mode for mode in get_format(fmt).overflows if raising or mode != "raise"]
    return st.sampled_from(cast("list[Overflow]", found))


# --- codes ----------------------------------------------------------------------------------


def codes(fmt: str | Format, *, nan: bool = True, infinity: bool = True) -> SearchStrategy[int]:
    """Codes of the format: any, and often its extremes and special ones.

    Parameters
    ----------
    fmt : str or Format
        See `fmtlib.get_format`; of a block format, the codes of its elements.
    nan, infinity : bool
        Whether codes of NaN and of infinities are among them.

    Returns
    -------
    SearchStrategy of int
        Shrinks towards zero and positive codes.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> hex(find(testing.codes("e4m3", nan=False), lambda code: code > 0x70))
    '0x71'
    """
    record = get_format(fmt)
    if isinstance(record, BlockFormat):
        if isinstance(record.element, FixedFormat):
            return st.integers(0, 2**record.bits - 1)
        record = record.element
    if not isinstance(record, FloatFormat):
        least, greatest = record.min_integer, record.max_integer
        return st.one_of(
            st.integers(least, greatest),
            st.sampled_from(sorted({0, 1, greatest, least, least + 1}, key=abs)),
        )
    unwanted = {
        code
        for code in _special_codes(record)
        if not (nan if np.isnan(float(reference.decode(code, record))) else infinity)
    }
    marks = {mark | sign for mark in _landmarks(record) for sign in (0, record.sign_bit)}
    marks |= {*_special_codes(record)[:8], record.nan_code or 0}
    special = sorted(marks - unwanted)
    every = st.integers(0, 2**record.bits - 1).filter(lambda code: code not in unwanted)
    return st.one_of(every, st.sampled_from(special))


@cache
def _special_codes(fmt: FloatFormat) -> tuple[int, ...]:
    """The codes of NaN and infinities."""
    high = range(fmt.max_code + 1, fmt.magnitude_mask + 1)
    every = [code | sign for sign in sorted({0, fmt.sign_bit}) for code in high]
    if fmt.nan == "negative_zero":
        every.append(fmt.sign_bit)
    return tuple(every)


def _landmarks(fmt: FloatFormat) -> list[int]:
    """Codes beside which something changes: zero, subnormal, normal, greatest."""
    first_normal = 1 << fmt.mantissa_bits
    marks = {0, 1, first_normal - 1, first_normal, fmt.max_code - 1, fmt.max_code}
    return sorted(code for code in marks if 0 <= code <= fmt.max_code)


def code_arrays(
    fmt: str | Format, shape: Shape | None = None, *, nan: bool = True, infinity: bool = True
) -> SearchStrategy[NDArray[Any]]:
    """Arrays of codes, in the format's `code_dtype`.

    Parameters
    ----------
    fmt, nan, infinity
        As for `codes`.
    shape : int, tuple of int or strategy, optional
        By default up to three dimensions of up to six elements, empty and 0-d ones too.

    Returns
    -------
    SearchStrategy of ndarray

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> find(testing.code_arrays("e4m3"), lambda a: a.size > 1)
    array([0, 0], dtype=uint8)
    """
    record = get_format(fmt)
    elements = codes(record, nan=nan, infinity=infinity)
    return hnp.arrays(record.code_dtype, _shapes(shape), elements=elements, fill=elements)


# --- values ---------------------------------------------------------------------------------


def values(
    fmt: str | Format,
    dtype: DTypeLike | None = None,
    *,
    nan: bool = True,
    infinity: bool = True,
    in_range: bool = False,
) -> SearchStrategy[Any]:
    """Numbers on and between the values of a format, and all that a converter may meet.

    Values of the format; midpoints of neighbours, the overflow threshold among them; any number
    between; each of these, and the first beyond the greatest, also one ulp of `dtype` up and
    down; the least, the subnormal and the greatest numbers of `dtype`, and any others; -0.0;
    infinities; quiet and signalling NaN of either sign with payloads.  Each class turns up often.

    Parameters
    ----------
    fmt : str or Format
        See `fmtlib.get_format`.
    dtype : dtype, optional
        float16, bfloat16, float32, float64 or an integer type; by default the smaller of
        float32 and float64 that holds every value of the format, as for `fmtlib.decode`.
    nan, infinity : bool
        Whether NaN and infinities are among them.
    in_range : bool
        Leave out what lies beyond the greatest value of the format, infinities too, and negative
        numbers if it is unsigned.

    Returns
    -------
    SearchStrategy of NumPy scalars of the dtype
        Shrinks towards 0, then small values of the format, then midpoints.

    Raises
    ------
    TypeError
        If `dtype` is none of these.

    Examples
    --------
    >>> import numpy as np
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> find(testing.values("e4m3"), lambda x: True)
    np.float32(0.0)
    >>> find(testing.values("e4m3", "float64"), np.isnan).view("u8") == 0x7FF8 << 48
    np.True_
    """
    record, wanted = get_format(fmt), _value_dtype(fmt, dtype)
    patterns = _patterns(
        record, wanted, _points(record, wanted), nan=nan, infinity=infinity, in_range=in_range
    )
    unsigned = f"u{wanted.itemsize}"
    return patterns.map(lambda bits: np.array(bits, unsigned).view(wanted)[()])


def arrays(
    fmt: str | Format,
    dtype: DTypeLike | None = None,
    shape: Shape | None = None,
    *,
    nan: bool = True,
    infinity: bool = True,
    in_range: bool = False,
    layouts: Sequence[Layout] = LAYOUTS,
) -> SearchStrategy[NDArray[Any]]:
    """Arrays of such numbers as `values` gives, in memory laid out in many ways.

    For a block format the numbers of an array are around one scale, over as many binades as a
    block can hold and some more.

    Parameters
    ----------
    fmt, dtype, nan, infinity, in_range
        As for `values`.
    shape : int, tuple of int or strategy, optional
        By default up to three dimensions of up to six elements, empty and 0-d ones too (for
        blocks at least one dimension, for tiles two).
    layouts : sequence of str
        Of "C" and "F" (contiguous), "reversed" (negative strides), "strided" (gaps between the
        elements), "broadcast" (a zero stride, read-only) and "read-only".  Hypothesis reports
        that of a failing example unless it is "C", to which examples shrink.

    Returns
    -------
    SearchStrategy of ndarray

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> find(testing.arrays("e4m3", "float16", shape=3), lambda x: x.strides == (-2,))
    array([0., 0., 0.], dtype=float16)
    """
    record, wanted = get_format(fmt), _value_dtype(fmt, dtype)
    if not layouts or not set(layouts) <= set(LAYOUTS):
        raise ValueError(f"layouts must be of {', '.join(LAYOUTS)}, got {layouts!r}")
    shapes = _shapes(shape, len(_sides(record)) if isinstance(record, BlockFormat) else 0)

    def dense(points: list[tuple[int, SearchStrategy[Fraction]]]) -> SearchStrategy[NDArray[Any]]:
        elements = _patterns(record, wanted, points, nan=nan, infinity=infinity, in_range=in_range)
        return hnp.arrays(f"u{wanted.itemsize}", shapes, elements=elements, fill=elements)

    if isinstance(record, BlockFormat):
        around = cache(lambda scale: dense(_near_scale(record, scale)))
        bits = st.sampled_from(_scales(record, wanted)).flatmap(around)
    else:
        bits = dense(_points(record, wanted))
    chosen = st.sampled_from([layout for layout in LAYOUTS if layout in layouts])
    return _laid_out(bits, wanted, chosen)


def blocks(
    fmt: str | BlockFormat,
    dtype: DTypeLike | None = None,
    *,
    nan: bool = False,
    infinity: bool = False,
) -> SearchStrategy[NDArray[Any]]:
    """Some blocks to encode, end to end: the last one may be shorter.

    Numbers of widely spread exponents around one scale, zeros, and magnitudes at and just above
    the greatest of an element, which round up past it.

    Parameters
    ----------
    fmt : str or BlockFormat
        See `fmtlib.get_format`.
    dtype : dtype, optional
        As for `values`.
    nan, infinity : bool
        Whether NaN and infinities are among them: each makes its block NaN, or an error.

    Returns
    -------
    SearchStrategy of ndarray
        C-contiguous; one dimension of up to three blocks, or two dimensions of tiles.  Shrinks
        towards an empty one.

    Examples
    --------
    >>> from hypothesis import find
    >>> import fmtlib as fl
    >>> from fmtlib import testing
    >>> find(testing.blocks(fl.bfp(4, block_size=2)), lambda x: x.size == 3)
    array([0., 0., 0.], dtype=float32)
    """
    record = _block_format(fmt)
    return arrays(record, dtype, _block_shapes(record), nan=nan, infinity=infinity, layouts=("C",))


def block_arrays(
    fmt: str | BlockFormat | None = None,
    shape: Shape | None = None,
    axis: int | tuple[int, int] | None = None,
    *,
    nan: bool = True,
    infinity: bool = True,
) -> SearchStrategy[BlockArray]:
    """BlockArrays of any codes and scales: those that `fmtlib.encode` makes, and others.

    Parameters
    ----------
    fmt : str or BlockFormat, optional
        By default any.
    shape : int, tuple of int or strategy, optional
        By default the blocked axes, of up to three blocks with whole and ragged tails, empty too,
        and perhaps one more.
    axis : int or (int, int), optional
        The axis of the blocks, or the pair of tiles, by default any.
    nan, infinity : bool
        Whether there are blocks and elements that are NaN, and infinite elements.

    Returns
    -------
    SearchStrategy of BlockArray

    Examples
    --------
    >>> from hypothesis import find
    >>> import fmtlib as fl
    >>> from fmtlib import testing
    >>> find(testing.block_arrays(fl.bfp(4, block_size=2), 3), lambda b: True)
    BlockArray(shape=(3,), format=bfp_m4_e8_g2, axis=0, nbytes=4)
    """
    record = None if fmt is None else _block_format(fmt)
    return _block_arrays(record, shape, axis, nan, infinity)


@st.composite
def _block_arrays(
    draw: st.DrawFn,
    fmt: BlockFormat | None,
    shape: Shape | None,
    axis: int | tuple[int, int] | None,
    nan: bool,
    infinity: bool,
) -> BlockArray:
    if fmt is None:
        fmt = draw(block_formats())
    blocked = len(_sides(fmt))
    if shape is None:
        ndim = blocked + draw(st.integers(0, 1))
        axes = _axes(draw, fmt, axis, ndim)
        lengths = draw(_block_shapes(fmt))
        size = [draw(st.integers(0, 3))] * ndim
        for one, length in zip(axes, lengths, strict=True):
            size[one] = length
    else:
        size = list(draw(_shapes(shape)))
        axes = _axes(draw, fmt, axis, len(size))
    at = (axes[0], axes[1]) if blocked == 2 else axes[0]
    elements = codes(fmt, nan=nan, infinity=infinity)
    micro_bits = st.integers(0, 2 ** (fmt.scale_bits - fmt.scale.bits) - 1)
    own_bits = fmt.scale.bits
    scales = st.builds(
        lambda own, micro: own | micro << own_bits, codes(fmt.scale, nan=nan), micro_bits
    )
    scale_size = scale_shape(tuple(size), at, fmt.block_size)
    tensor_scales = st.just(1.0) | st.floats(2.0**-126, 2.0**126, width=32)
    return BlockArray(
        draw(hnp.arrays(fmt.code_dtype, tuple(size), elements=elements, fill=elements)),
        draw(hnp.arrays(fmt.scale_dtype, scale_size, elements=scales, fill=scales)),
        fmt,
        at,
        np.float32(draw(tensor_scales)) if fmt.tensor_scale else None,
    )


def _axes(
    draw: st.DrawFn, fmt: BlockFormat, axis: int | tuple[int, int] | None, ndim: int
) -> tuple[int, ...]:
    """The axes of the blocks, counted from the front: those given, or any."""
    blocked = len(_sides(fmt))
    if axis is None and ndim >= blocked:
        return tuple(draw(st.permutations(range(ndim)))[:blocked])
    chosen = normalize_block_axis(axis, ndim, fmt)
    return chosen if isinstance(chosen, tuple) else (chosen,)


def _block_format(fmt: str | BlockFormat) -> BlockFormat:
    record = get_format(fmt)
    if not isinstance(record, BlockFormat):
        raise TypeError(f"{record.name} is no block format")
    return record


def _block_shapes(fmt: BlockFormat) -> SearchStrategy[tuple[int, ...]]:
    """Up to three blocks along each axis: whole, one short, one over, and others.

    But not beyond a thousand elements.
    """
    sides = _sides(fmt)
    lengths = []
    for side in sides:
        size = min(side, 333 if len(sides) == 1 else 15)
        marks = {0, 1, size - 1, size, size + 1, 2 * size, 2 * size + 1}
        lengths.append(st.one_of(st.sampled_from(sorted(marks)), st.integers(0, 3 * size)))
    return st.tuples(*lengths)


def _shapes(shape: Shape | None, min_dims: int = 0) -> SearchStrategy[tuple[int, ...]]:
    if shape is None:
        return hnp.array_shapes(min_dims=min_dims, max_dims=3, min_side=0, max_side=6)
    if isinstance(shape, SearchStrategy):
        return shape
    return st.just((shape,) if isinstance(shape, int) else tuple(shape))


def _value_dtype(fmt: str | Format, dtype: DTypeLike | None) -> np.dtype[Any]:
    if dtype is None:
        return np.dtype("float32" if get_format(fmt).fits("float32") else "float64")
    if dtype == "bfloat16":
        try:
            import ml_dtypes
        except ImportError as error:
            raise ImportError("values of bfloat16 need ml_dtypes: pip install ml_dtypes") from error
        dtype = ml_dtypes.bfloat16
    wanted = np.dtype(dtype).newbyteorder("=")
    if wanted.name not in _FIELDS and wanted.kind not in "iu":
        raise TypeError(f"dtype must be one of {', '.join(_FIELDS)} or an integer, got {wanted}")
    return wanted


# Exponent and mantissa bits of each float dtype.
_FIELDS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}


def _points(fmt: Format, dtype: np.dtype[Any]) -> list[tuple[int, SearchStrategy[Fraction]]]:
    """Magnitudes of a format with those midway between, the notable ones, and others between.

    Exact, with weights, and as far as a dtype reaches.
    """
    if isinstance(fmt, BlockFormat):
        scales = st.sampled_from(_scales(fmt, dtype))
        return [
            (weight, st.builds(Fraction.__mul__, points, scales))
            for weight, points in _element_points(fmt.element)
        ]
    least, greatest = _extent(dtype)
    steps = range(_top(fmt) + 2)
    first = bisect_right(steps, least / 4, key=lambda step: _magnitude(step, fmt)) - 1
    last = bisect_left(steps, greatest, key=lambda step: _magnitude(step, fmt))
    return _element_points(fmt, max(first, 0), min(last, steps[-1]))


def _element_points(
    fmt: FloatFormat | FixedFormat | IntegerFormat, first: int = 0, last: int | None = None
) -> list[tuple[int, SearchStrategy[Fraction]]]:
    """See `_points`; from the first to the last of the numbered magnitudes."""
    top = _top(fmt)
    last = top + 1 if last is None else last
    notable = {1, 2, 3, *range(2 * top - 3, 2 * top + 3)}
    if isinstance(fmt, FloatFormat):
        normal = (1 << fmt.mantissa_bits) + (not fmt.subnormals)
        notable |= {2 * normal - 1, 2 * normal, 2 * normal + 1}
    # Odd half steps are midpoints.  The notable ones are numbered in order and as widely as all
    # of them, so that they shrink alike, and to each other.
    low, high = 2 * first, 2 * last + 1
    marks: list[int] = [half for half in sorted({*notable, low, high}) if low <= half <= high]

    width = min(high - low, 999)  # of wide ranges Hypothesis would mostly draw small numbers

    def mark(half_step: int) -> int:
        return marks[(half_step - low) * len(marks) // (width + 1)]

    def between(step: int, fraction: Fraction) -> Fraction:
        below = _magnitude(step, fmt)
        return below + fraction * (_magnitude(step + 1, fmt) - below) if fraction else below

    def at(half_step: int) -> Fraction:
        return between(half_step // 2, Fraction(half_step % 2, 2))

    half_steps = st.integers(low, high)
    fractions = st.integers(1, 2**16 - 1).map(lambda k: Fraction(k, 2**16))
    return [
        (3, half_steps.map(at)),
        (3, st.integers(low, low + width).map(lambda half_step: at(mark(half_step)))),
        (2, st.builds(lambda i, fraction: between(i // 2, fraction), half_steps, fractions)),
    ]


def _extent(dtype: np.dtype[Any]) -> tuple[Fraction, Fraction]:
    """The least and the greatest positive number of a dtype."""
    if dtype.kind in "iu":
        return Fraction(1), Fraction(int(np.iinfo(dtype).max))
    exponent_bits, mantissa_bits = _FIELDS[dtype.name]
    infinite = (2**exponent_bits - 1) << mantissa_bits
    return Fraction(_number(1, dtype)), Fraction(_number(infinite - 1, dtype))


def _top(fmt: FloatFormat | FixedFormat | IntegerFormat) -> int:
    """The number of the greatest magnitude; zero is number 0."""
    if isinstance(fmt, FloatFormat):
        return fmt.max_code + (not fmt.subnormals)
    return max(fmt.max_integer, -fmt.min_integer)


def _magnitude(step: int, fmt: FloatFormat | FixedFormat | IntegerFormat) -> Fraction:
    """The magnitude of this number, as if there were no greatest one."""
    if not isinstance(fmt, FloatFormat):
        return step * reference.power_of_two(fmt.quantum_exponent)
    code = step - (not fmt.subnormals)
    if code < 0:
        return Fraction(0)
    within = reference.decode(min(code, fmt.max_code), fmt)
    spacing = reference.power_of_two(fmt.max_exponent - fmt.mantissa_bits)
    return Fraction(within) + max(code - fmt.max_code, 0) * spacing


@cache
def _scales(fmt: BlockFormat, dtype: np.dtype[Any]) -> list[Fraction]:
    """The scales under which elements are numbers of a dtype; those near 1 first."""
    least, greatest = _extent(dtype)
    found = {Fraction(reference.decode(code, fmt.scale)) for code in range(fmt.scale.max_code + 1)}
    top = _magnitude(_top(fmt.element), fmt.element)
    reachable = {scale for scale in found if least <= scale * top <= greatest}
    return sorted(
        reachable or {max(found)},
        key=lambda scale: (abs(reference.floor_log2(scale)), scale),
    )


def _near_scale(fmt: BlockFormat, scale: Fraction) -> list[tuple[int, SearchStrategy[Fraction]]]:
    """Magnitudes in a block of this scale: any element, and what is shifted out to the right."""
    shifts = st.integers(0, fmt.precision + 3).map(lambda shift: scale / 2**shift)
    return [
        (weight, st.builds(Fraction.__mul__, points, shifts))
        for weight, points in _element_points(fmt.element)
    ]


def _weighted(choices: list[tuple[int, SearchStrategy[Any]]]) -> SearchStrategy[Any]:
    """Like `one_of`, but each strategy so much more often."""
    tickets = [strategy for weight, strategy in choices for _ in range(weight)]
    return st.sampled_from(tickets).flatmap(lambda strategy: strategy)


def _patterns(
    fmt: Format,
    dtype: np.dtype[Any],
    points: list[tuple[int, SearchStrategy[Fraction]]],
    *,
    nan: bool,
    infinity: bool,
    in_range: bool,
) -> SearchStrategy[int]:
    """Bit patterns of numbers around the points, in the unsigned integer as wide as `dtype`."""
    negative = not in_range or isinstance(fmt, BlockFormat) or fmt.signed
    limit = Fraction(fmt.max) if in_range else None
    if dtype.kind in "iu":
        return _integer_patterns(dtype, points, negative, limit)
    _, mantissa_bits = _FIELDS[dtype.name]
    sign = 1 << (8 * dtype.itemsize - 1)
    infinite = sign - (1 << mantissa_bits)
    greatest = infinite - 1
    if limit is not None:
        greatest = _pattern(limit, dtype)
        greatest -= Fraction(_number(greatest, dtype)) > limit

    def near(point: Fraction, ulps: int = 0) -> int:
        return min(max(_pattern(point, dtype) + ulps, 0), greatest)

    one_ulp = st.sampled_from((1, -1))
    normal = 1 << mantissa_bits
    marks = {0, 1, 2, 3, normal - 1, normal, normal + 1, greatest - 1, greatest}
    # What the dtype has beyond both ends of the format's range.
    bottom = min(_pattern(reference.power_of_two(fmt.quantum_exponent), dtype), greatest)
    top = min(_pattern(Fraction(fmt.max), dtype), greatest)
    choices: list[tuple[int, SearchStrategy[int]]] = [
        *((weight, point.map(near)) for weight, point in points),
        *((weight, st.builds(near, point, one_ulp)) for weight, point in points),
        (1, st.sampled_from(sorted(min(mark, greatest) for mark in marks))),
        (1, _spread(0, bottom, mantissa_bits)),
        (1, _spread(top, greatest, mantissa_bits)),
    ]
    if infinity and not in_range:
        # A choice without effect, lest an infinity count as the simplest example.
        choices.append((1, st.booleans().map(lambda _: infinite)))
    if nan:
        quiet = normal >> 1
        payloads = st.integers(0, quiet - 1)
        choices += [
            (1, st.booleans().map(lambda _: infinite | quiet)),
            (1, payloads.map(lambda payload: infinite | quiet | payload)),
            (1, payloads.map(lambda payload: infinite | max(payload, 1))),  # signalling
        ]
    magnitudes = _weighted(choices)
    if not negative:
        return magnitudes
    return st.builds(lambda pattern, minus: pattern | sign * minus, magnitudes, st.booleans())


def _spread(low: int, high: int, mantissa_bits: int) -> SearchStrategy[int]:
    """Patterns from low to high, evenly over the binades."""
    return st.builds(
        lambda field, mantissa: min(max(field << mantissa_bits | mantissa, low), high),
        st.integers(low >> mantissa_bits, high >> mantissa_bits),
        st.integers(0, 2**mantissa_bits - 1),
    )


def _integer_patterns(
    dtype: np.dtype[Any],
    points: list[tuple[int, SearchStrategy[Fraction]]],
    negative: bool,
    limit: Fraction | None,
) -> SearchStrategy[int]:
    info = np.iinfo(dtype)
    least, greatest = int(info.min), int(info.max)
    if limit is not None:
        greatest = min(greatest, int(limit))
        least = max(least, -greatest)
    if not negative:
        least = max(least, 0)
    one_off = st.sampled_from((1, -1))
    magnitudes = _weighted(
        [
            *((weight, point.map(int)) for weight, point in points),
            *(
                (weight, st.builds(lambda point, by: int(point) + by, point, one_off))
                for weight, point in points
            ),
            (1, st.sampled_from((0, 1, greatest - 1, greatest, greatest + 1))),
            (2, st.integers(0, greatest)),
        ]
    )
    return st.builds(
        lambda magnitude, minus: min(max(-magnitude if minus else magnitude, least), greatest),
        magnitudes,
        st.booleans(),
    ).map(lambda number: number & (2 ** (8 * dtype.itemsize) - 1))


def _pattern(magnitude: Fraction, dtype: np.dtype[Any]) -> int:
    """The bits of the finite number of this dtype that is nearest, or next, to a magnitude."""
    exponent_bits, mantissa_bits = _FIELDS[dtype.name]
    infinite: int = (2**exponent_bits - 1) << mantissa_bits
    with np.errstate(over="ignore", under="ignore"):
        try:
            nearest = np.array(float(magnitude)).astype(dtype)
        except OverflowError:
            return infinite - 1
    return min(int(nearest.view(f"u{dtype.itemsize}")), infinite - 1)


def _number(pattern: int, dtype: np.dtype[Any]) -> float:
    return float(np.array(pattern, f"u{dtype.itemsize}").view(dtype))


@st.composite
def _laid_out(
    draw: st.DrawFn,
    bits: SearchStrategy[NDArray[Any]],
    dtype: np.dtype[Any],
    layouts: SearchStrategy[Layout],
) -> NDArray[Any]:
    """Composite, so that Hypothesis shows the array itself and not how it was made."""
    layout = draw(layouts)
    return _lay_out(draw(bits).view(dtype), layout)


def _lay_out(array: NDArray[Any], layout: Layout) -> NDArray[Any]:
    """The array in memory of its own, laid out so; under "broadcast" its first row repeated."""
    match layout:
        case "F":
            array = array.copy(order="F")
        case "reversed":
            backwards: tuple[Any, ...] = (..., *[slice(None, None, -1)] * array.ndim)
            array = array[backwards].copy()[backwards]
        case "strided":
            room = np.zeros([2 * n for n in array.shape], array.dtype)
            every_other: tuple[Any, ...] = (..., *[slice(None, None, 2)] * array.ndim)
            room[every_other] = array
            array = room[every_other]
        case "broadcast":
            array = np.broadcast_to(array[:1] if array.ndim else array, array.shape)
        case "read-only":
            array.flags.writeable = False
    if layout != "C":
        note(f"layout: {layout}, strides {array.strides}")
    return array


# --- a ready-made test ----------------------------------------------------------------------


def assert_quantizer_conforms(
    function: Callable[[NDArray[Any]], Any],
    fmt: str | Format,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    dtype: DTypeLike | None = None,
    *,
    nan: bool | None = None,
    infinity: bool | None = None,
    in_range: bool = False,
    signed_zeros: bool = True,
    shape: Shape | None = None,
    layouts: Sequence[Layout] = ("C",),
    max_examples: int = 200,
) -> None:
    """Test a quantiser of one's own: Hypothesis looks for an array that it rounds wrongly.

    Parameters
    ----------
    function : callable
        Takes an array and returns codes or values, as `assert_correctly_rounded` takes them.
    fmt, rounding, overflow, signed_zeros
        What it should do; see `assert_correctly_rounded`.  With ``overflow="raise"`` ask for
        numbers `in_range`.
    dtype : dtype, optional
        Of the arrays; as for `values`.
    nan, infinity : bool, optional
        Whether to try NaN, by default if the format has it, and infinities, by default unless it
        is a block format.
    in_range, layouts
        As for `arrays`; only C-contiguous arrays are tried by default.
    shape : int, tuple of int or strategy, optional
        Of the arrays; by default one dimension of up to 16 elements, blocks for block formats.
    max_examples : int
        How many arrays to try.

    Raises
    ------
    AssertionError
        With the simplest array found that is rounded wrongly.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import testing
    >>> def to_q8_8(x):  # forgets that ties go to even
    ...     return np.floor(x * 256 + 0.5) / 256
    >>> testing.assert_quantizer_conforms(
    ...     to_q8_8, "fixed_s7_8", dtype="float64", in_range=True, signed_zeros=False
    ... )  # doctest: +ELLIPSIS
    Traceback (most recent call last):
        ...
    AssertionError: not correctly rounded to fixed_s7_8 (nearest_even, saturate)
    Mismatched elements: 1 / 1 (100%)
     [0]: ... lies between ... (...) and ... (...); got ..., expected ...
    ...
    """
    record = get_format(fmt)
    if nan is None:
        nan = isinstance(record, FloatFormat) and record.nan_code is not None
    if infinity is None:
        infinity = not isinstance(record, BlockFormat)
    if shape is None:
        if isinstance(record, BlockFormat):
            shape = _block_shapes(record)
        else:
            shape = st.integers(0, 16).map(lambda n: (n,))
    inputs = arrays(
        record, dtype, shape, nan=nan, infinity=infinity, in_range=in_range, layouts=layouts
    )

    # Without the "explain" phase, which would point at lines of this package.
    @settings(max_examples=max_examples, deadline=None, phases=set(Phase) - {Phase.explain})
    @given(inputs)
    def conforms(x: NDArray[Any]) -> None:
        before = x.copy()
        assert_correctly_rounded(
            before,
            function(x),
            record,
            rounding=rounding,
            overflow=overflow,
            signed_zeros=signed_zeros,
        )

    conforms()
