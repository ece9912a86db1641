"""Every code of a format, its bits, its value and its class, as a table to read."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from fmtlib import reference
from fmtlib.arguments import whole_number
from fmtlib.codes import classify
from fmtlib.formats import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    get_format,
)

# A table of a format of more than 8 bits shows this many rows at either end, unless asked for more.
_EDGE_ROWS = 16
# Records are not made of more codes than this at a time.
_MOST_RECORDS = 1 << 20
# Decimals longer than this are written as a multiple of a power of two.
_LONGEST_DECIMAL = 14

_COLUMNS = ("code", "hex", "bits", "value", "class")


@dataclass(frozen=True)
class Listing:
    """The codes of a format from `start` to before `stop`, as `show` gives them.

    Its text, and its form in a notebook, is the table; `to_records` gives its rows as data.

    Attributes
    ----------
    fmt : Format
    start, stop : int
        The range of bit patterns.
    whole : bool
        Whether the text shows every row, however many.
    """

    fmt: Format
    start: int
    stop: int
    whole: bool

    def to_records(self) -> list[dict[str, Any]]:
        """One dict per code.

        Returns
        -------
        list of dict
            code : the code, as arrays of the format's `code_dtype` hold it (for the elements of a
            block format: its bits); hex; bits : sign, exponent and mantissa, or sign, integer and
            fraction, with spaces between; value : float; exact : the value as a decimal or as a
            multiple of a power of two, never rounded; class : see `classify`.

        Raises
        ------
        ValueError
            If there are more than 2**20 codes.
        """
        if self.stop - self.start > _MOST_RECORDS:
            raise ValueError(
                f"{self.stop - self.start} codes are too many at a time: give start and stop "
                f"at most {_MOST_RECORDS} apart"
            )
        return self._records(range(self.start, self.stop))

    def __str__(self) -> str:
        rows, left_out = self._rows()
        lines = _aligned([_COLUMNS, *rows])
        if left_out:
            note = f"... {left_out} codes left out: give start and stop"
            lines.insert(1 + _EDGE_ROWS, note)
        return "\n".join([*facts(self.fmt), "", *lines])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        rows, left_out = self._rows()
        cells = [_html_row("td", row) for row in rows]
        if left_out:
            cells.insert(
                _EDGE_ROWS,
                f'<tr><td colspan="{len(_COLUMNS)}">… {left_out} codes left out</td></tr>',
            )
        about = "<br>".join(html.escape(line) for line in facts(self.fmt))
        return f"<p>{about}</p><table>{_html_row('th', _COLUMNS)}{''.join(cells)}</table>"

    def _rows(self) -> tuple[list[tuple[str, ...]], int]:
        """The rows to show, and how many are left out in the middle."""
        patterns: Sequence[int] = range(self.start, self.stop)
        left_out = 0
        if not self.whole and len(patterns) > max(2 * _EDGE_ROWS, 256):
            left_out = len(patterns) - 2 * _EDGE_ROWS
            patterns = [*patterns[:_EDGE_ROWS], *patterns[-_EDGE_ROWS:]]
        records = self._records(patterns)
        shown = ("code", "hex", "bits", "exact", "class")
        return [tuple(str(record[name]) for name in shown) for record in records], left_out

    def _records(self, patterns: Sequence[int]) -> list[dict[str, Any]]:
        fmt = self.fmt.element if isinstance(self.fmt, BlockFormat) else self.fmt
        digits = -(-fmt.bits // 4)
        records = []
        for pattern in patterns:
            code = _code(pattern, fmt)
            if code is None:
                continue
            value, kind = _value(code, fmt)
            records.append(
                {
                    "code": pattern if isinstance(self.fmt, BlockFormat) else code,
                    "hex": f"{pattern:0{digits}X}",
                    "bits": _bits(pattern, fmt),
                    "value": float(value),
                    "exact": exact_text(value),
                    "class": kind,
                }
            )
        return records


def show(fmt: str | Format, start: int | None = None, stop: int | None = None) -> Listing:
    """List the codes of a format: bits, exact value and class of each.

    Parameters
    ----------
    fmt : str or Format
        See `get_format`.  Of a block format the record and the codes of an element are listed.
    start, stop : int, optional
        The bit patterns to list, from `start` to before `stop`; all if left out.  Without them, the
        text of a format of more than 8 bits shows the first and the last codes only.

    Returns
    -------
    Listing
        Prints as a table; see its `to_records`.

    Raises
    ------
    ValueError
        If `start` and `stop` are not in order and from 0 to ``2**bits``.

    Examples
    --------
    >>> import fmtlib as fl
    >>> fl.show("e2m1", 0, 4)
    float4_e2m1fn: 4 bits: 1 sign, 2 exponent (bias 1), 1 mantissa
    greatest value 6, least 0.5, least normal 1; no infinity; no NaN
    <BLANKLINE>
    code  hex  bits    value  class
    0     0    0 00 0  0      zero
    1     1    0 00 1  0.5    subnormal
    2     2    0 01 0  1      normal
    3     3    0 01 1  1.5    normal
    >>> fl.show("e4m3").to_records()[0x7E]["exact"]
    '448'
    """
    fmt = get_format(fmt)
    count = 2**fmt.bits
    first = 0 if start is None else whole_number("start", start, 0, count)
    last = count if stop is None else whole_number("stop", stop, 0, count)
    if first > last:
        raise ValueError(f"start must not be beyond stop, got {first} and {last}")
    whole = not (start is None and stop is None) or fmt.bits <= 8
    return Listing(fmt, first, last, whole)


def exact_text(value: reference.Value, longest: int = _LONGEST_DECIMAL) -> str:
    """The value, unrounded: a decimal if it is short, else a multiple of a power of two.

    A decimal has at most `longest` characters, its sign not counted.

    Examples
    --------
    >>> from fractions import Fraction
    >>> exact_text(Fraction(3, 8)), exact_text(Fraction(3, 2**40)), exact_text(Fraction(1, 2**127))
    ('0.375', '3*2^-40', '2^-127')
    >>> exact_text(-0.0), exact_text(float("-inf"))
    ('-0', '-inf')
    """
    if isinstance(value, float):  # NaN, infinities and -0
        return "-0" if value == 0 else str(value)
    if value == 0:
        return "0"
    places = value.denominator.bit_length() - 1
    # value * 10**places is whole, as value * 2**places is
    digits = str(abs(value.numerator) * 5**places).rjust(places + 1, "0")
    whole, fraction = digits[: len(digits) - places], digits[len(digits) - places :]
    text = f"{whole}.{fraction}" if places else whole
    sign = "-" if value < 0 else ""
    if len(text) <= longest:
        return sign + text
    factor, exponent = abs(value.numerator), -places
    while factor % 2 == 0:
        factor, exponent = factor // 2, exponent + 1
    return f"{sign}2^{exponent}" if factor == 1 else f"{sign}{factor}*2^{exponent}"


# --- rows -----------------------------------------------------------------------------------

_Elementwise = FloatFormat | FixedFormat | IntegerFormat


def _is_twos_complement(fmt: _Elementwise) -> bool:
    if isinstance(fmt, FloatFormat) or not fmt.signed:
        return False
    return not (isinstance(fmt, FixedFormat) and fmt.encoding == "sign_magnitude")


def _code(pattern: int, fmt: _Elementwise) -> int | None:
    """The code of a bit pattern; None if it is no code (the least one of symmetric integers)."""
    if not _is_twos_complement(fmt):
        return pattern
    assert not isinstance(fmt, FloatFormat)
    code = pattern - (pattern >> (fmt.bits - 1) << fmt.bits)
    return code if code >= fmt.min_integer else None


def _value(code: int, fmt: _Elementwise) -> tuple[reference.Value, str]:
    """The exact value of a code and its class."""
    value = reference.decode(code, fmt)
    if isinstance(fmt, FixedFormat) and fmt.encoding == "sign_magnitude":
        return value, "normal" if value else "zero"
    return value, str(classify(np.array(code, fmt.code_dtype), fmt))


def _bits(pattern: int, fmt: _Elementwise) -> str:
    """The bits in their fields."""
    if isinstance(fmt, FloatFormat):
        widths = [int(fmt.signed), fmt.exponent_bits, fmt.mantissa_bits]
    elif isinstance(fmt, FixedFormat):
        widths = [int(fmt.signed), fmt.integer_bits, fmt.fraction_bits]
    else:
        widths = [int(fmt.signed), fmt.bits - int(fmt.signed)]
    digits, parts = f"{pattern:0{fmt.bits}b}", []
    for width in widths:
        parts.append(digits[:width])
        digits = digits[width:]
    return " ".join(part for part in parts if part)


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def _html_row(tag: str, cells: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{html.escape(cell)}</{tag}>' for cell in cells)}</tr>"


# --- facts ----------------------------------------------------------------------------------


def bits_per_element(fmt: Format) -> float:
    """Bits of a code, and of a block format its part of the block's scale."""
    if not isinstance(fmt, BlockFormat):
        return fmt.bits
    size = fmt.block_size
    return fmt.bits + fmt.scale_bits / (math.prod(size) if isinstance(size, tuple) else size)


def facts(fmt: Format) -> list[str]:
    """The format in words."""
    if isinstance(fmt, BlockFormat):
        return _block_facts(fmt)
    if isinstance(fmt, FloatFormat):
        return _float_facts(fmt)
    sign = "1 sign, " if fmt.signed else ""
    if isinstance(fmt, FixedFormat):
        fields = f"{sign}{fmt.integer_bits} integer, {fmt.fraction_bits} fraction"
    else:
        fields = f"{sign}{fmt.bits - int(fmt.signed)} integer"
    encoding = "two's complement" if _is_twos_complement(fmt) else "sign and magnitude"
    quantum = Fraction(2) ** fmt.quantum_exponent
    low, high = (exact_text(k * quantum) for k in (fmt.min_integer, fmt.max_integer))
    return [
        f"{fmt.name}: {fmt.bits} bits: {fields}{f'; {encoding}' if fmt.signed else ''}",
        f"values from {low} to {high} in steps of {exact_text(quantum)}",
    ]


def _float_facts(fmt: FloatFormat) -> list[str]:
    sign = "1 sign, " if fmt.signed else ""
    least = Fraction(2) ** fmt.min_exponent
    greatest = exact_text(Fraction(fmt.max))
    if fmt.subnormals:
        step = exact_text(Fraction(2) ** fmt.quantum_exponent)
        values = f"greatest value {greatest}, least {step}, least normal {exact_text(least)}"
    else:
        values = f"values from {exact_text(least)} to {greatest}; no zero"
    infinity = "no infinity" if fmt.inf_code is None else f"infinity {_hex(fmt.inf_code, fmt)}"
    nan = "no NaN" if fmt.nan_code is None else f"NaN {_hex(fmt.nan_code, fmt)}"
    negative_zero = "" if fmt.has_negative_zero or not fmt.signed else "; no -0"
    return [
        f"{fmt.name}: {fmt.bits} bits: {sign}{fmt.exponent_bits} exponent (bias {fmt.bias}), "
        f"{fmt.mantissa_bits} mantissa",
        f"{values}; {infinity}; {nan}{negative_zero}",
    ]


def _block_facts(fmt: BlockFormat) -> list[str]:
    size = fmt.block_size
    shape = " x ".join(map(str, size)) if isinstance(size, tuple) else str(size)
    besides = "; a float32 scale for the whole array" if fmt.tensor_scale else ""
    if fmt.micro_size is not None:
        besides = f"; a bit for each {fmt.micro_size} elements that halves their scale"
    return [
        f"{fmt.name}: blocks of {shape} elements that share a scale",
        f"element {fmt.element.name}, {fmt.bits} bits; scale {fmt.scale.name}, "
        f"{fmt.scale_bits} bits; {bits_per_element(fmt):g} bits per element",
        f"scale rule {fmt.scale_rule}; carry {fmt.carry}; nonfinite {fmt.nonfinite}{besides}",
        "",
        *facts(fmt.element),
    ]


def _hex(code: int, fmt: FloatFormat) -> str:
    return f"{code:0{-(-fmt.bits // 4)}X}"
