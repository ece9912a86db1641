"""Formats drawn for a terminal: fields, ranges of codes, the table of codes (extra: rich)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fmtlib import reference
from fmtlib.formats import ROUNDINGS, STOCHASTIC, BlockFormat, FixedFormat, FloatFormat, Format
from fmtlib.listing import exact_text, facts, show
from fmtlib.tables import finite

# How codes of a class are shown; normal ones are plain.
STYLES = {"zero": "bold", "subnormal": "cyan", "infinity": "magenta", "nan": "red", "unused": "dim"}
# A cell's decimal is at most so long; else it is a multiple of a power of two.
_LONGEST_DECIMAL = 6


# --- what is drawn, as data -----------------------------------------------------------------


def ranges(fmt: Format) -> list[dict[str, Any]]:
    """The codes of one class and sign that follow each other, in the order of their bits.

    Returns
    -------
    list of dict
        class : as `fmtlib.classify` says, or "unused" for bits that are no code; first, last : bit
        patterns, as hexadecimal; codes : how many; from, to : exact values of these two.  Of a
        block format: of its elements.

    Examples
    --------
    >>> import fmtlib as fl
    >>> for row in ranges(fl.get_format("e2m1"))[:3]:
    ...     print(*row.values())
    zero 0 0 1 0 0
    subnormal 1 1 1 0.5 0.5
    normal 2 7 6 1 6
    """
    element = _element(fmt)
    size, starts = 1 << fmt.bits, {0, 1}
    half = size >> int(element.signed)
    if isinstance(element, FloatFormat):
        starts |= {1 << element.mantissa_bits, element.max_code + 1}
        for code in (element.inf_code, element.nan_code):
            starts |= set() if code is None else {code % half, code % half + 1}
    edges = sorted(
        base + start for base in range(0, size, half) for start in starts if start < half
    )
    edges = [
        edge
        for before, edge in zip([-1, *edges], edges, strict=False)
        if edge % half == 0 or _record(fmt, before)["class"] != _record(fmt, edge)["class"]
    ]
    found = []
    for start, stop in zip(edges, [*edges[1:], size], strict=True):
        first, last = _record(fmt, start), _record(fmt, stop - 1)
        found.append(
            {
                "class": first["class"], "first": first["hex"], "last": last["hex"],
                "codes": stop - start, "from": first["exact"], "to": last["exact"],
            }
        )  # fmt: skip
    return found


def look_up(fmt: Format, code: int) -> dict[str, Any]:
    """One code, and its neighbours.

    Returns
    -------
    dict
        What `Listing.to_records` says of the code, `value` None if it is not finite; below, above :
        the same of the next codes by value, None where there is none.

    Raises
    ------
    ValueError
        If the format has no such code.
    """
    found = _record(fmt, code)
    if found["class"] == "unused":
        raise ValueError(f"{code:#x} is no code of {fmt.name}")
    below = above = None
    if math.isfinite(found["value"]):
        value = reference.as_value(found["value"])
        below, above = _neighbours(Fraction(value), _element(fmt))
    return {**_plain(found), "below": below, "above": above}


def round_value(fmt: Format, text: str) -> dict[str, Any]:
    """What becomes of a number under every rounding and overflow, exactly.

    Parameters
    ----------
    fmt : Format
        An elementwise one.
    text : str
        A decimal, which is taken exactly, "1/3", a hexadecimal float, "inf" or "nan".

    Returns
    -------
    dict
        value : as given; below, above : the codes around it, see `look_up`; probability_above : of
        stochastic rounding, None beyond the ends; roundings : for each other rounding, overflow
        "saturate", its code's record with `rounding` and `error`, its difference from the number;
        overflows : for each overflow, rounding to the nearest, the same with `overflow`, or with
        `raises`, the name of the error.

    Raises
    ------
    TypeError
        For block formats, where the others of a block matter.
    ValueError
        If `text` is no number.
    """
    if isinstance(fmt, BlockFormat):
        raise TypeError(
            f"{fmt.name} rounds blocks, not single values; its elements are {fmt.element.name}"
        )
    value = _number(text)
    below = above = probability = None
    if math.isfinite(value):
        exact = _record_of(value, fmt)
        below, above = (exact, exact) if exact else _neighbours(value, fmt)
        if below and above:
            low, high = (Fraction(reference.as_value(end["value"])) for end in (below, above))
            probability = float((Fraction(value) - low) / (high - low)) if high > low else 0.0
    roundings = [
        {"rounding": rounding, **_rounded(value, fmt, rounding, "saturate")}
        for rounding in ROUNDINGS
        if rounding not in STOCHASTIC
    ]
    overflows = [
        {"overflow": overflow, **_rounded(value, fmt, "nearest_even", overflow)}
        for overflow in fmt.overflows
    ]
    return {
        "value": text, "below": below, "above": above, "probability_above": probability,
        "roundings": roundings, "overflows": overflows,
    }  # fmt: skip


def _element(fmt: Format) -> Any:
    return fmt.element if isinstance(fmt, BlockFormat) else fmt


def _record(fmt: Format, pattern: int) -> dict[str, Any]:
    """What `show` says of a bit pattern, or that it is no code."""
    found = show(fmt, pattern, pattern + 1).to_records()
    digits = -(-fmt.bits // 4)
    unused = {"hex": f"{pattern:0{digits}X}", "value": math.nan, "exact": "–", "class": "unused"}
    return found[0] if found else unused


def _plain(record: dict[str, Any]) -> dict[str, Any]:
    return {key: finite(value) for key, value in record.items()}


def _code_record(code: int, fmt: Format) -> dict[str, Any]:
    return _plain(_record(fmt, code % (1 << fmt.bits)))


def _record_of(value: reference.Value, fmt: Any) -> dict[str, Any] | None:
    """The code of exactly this value, if there is one."""
    code = reference.encode(value, fmt)
    return _code_record(code, fmt) if reference.decode(code, fmt) == value else None


def _neighbours(
    value: reference.Value, fmt: Any
) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """The codes of the next values below and above a number, which may be a value itself."""
    little, exact = Fraction(2) ** fmt.quantum_exponent / 2, _record_of(value, fmt)
    found = []
    for step, rounding in ((-little, "down"), (little, "up")):
        wanted = Fraction(value) + step if exact else Fraction(value)
        if step > 0 and not fmt.signed:
            wanted = max(wanted, Fraction(0))  # negative ones become NaN where there is no zero
        code = reference.encode(wanted, fmt, rounding)  # saturates where there is none
        there = (reference.decode(code, fmt) - wanted) * step >= 0
        found.append(_code_record(code, fmt) if there else None)
    return found[0], found[1]


def _number(text: str) -> reference.Value:
    """The number that a text is, exactly; -0 keeps its sign."""
    for read in (Fraction, float, float.fromhex):
        if read == float.fromhex and "0x" not in text.lower():
            break  # "abc" is no number
        try:
            value: Any = read(text)
        except (ValueError, ZeroDivisionError, OverflowError):
            continue
        negative_zero = value == 0 and text.strip().startswith("-")
        return -0.0 if negative_zero else reference.as_value(value)
    raise ValueError(f"a value is a number such as 0.3, 1/3, 0x1.8p-3 or inf, got {text!r}")


def _rounded(value: reference.Value, fmt: Any, rounding: str, overflow: str) -> dict[str, Any]:
    try:
        code = reference.encode(value, fmt, rounding, overflow)
    except (OverflowError, ValueError) as error:
        return {"raises": type(error).__name__}
    result = reference.decode(code, fmt)
    finite_both = math.isfinite(result) and math.isfinite(value)
    difference = float(Fraction(result) - Fraction(value)) if finite_both else None
    return {**_code_record(code, fmt), "error": difference}


# --- drawings -------------------------------------------------------------------------------

# Formats of at most so many bits have a table of all codes.
TABLE_BITS = 8


def draw(fmt: Format, console: Console) -> None:
    """The format in words, its fields, its ranges of codes and, if they are few, all codes."""
    console.print("\n".join(facts(fmt)), highlight=False, markup=False, soft_wrap=True)
    console.print(fields(fmt), range_table(fmt))
    if fmt.bits <= TABLE_BITS:
        console.print(code_table(fmt, console.width))


def fields(fmt: Format) -> Table:
    """The bits of a code, or the parts of a block."""
    if isinstance(fmt, BlockFormat):
        return _parts(fmt)
    rest = fmt.bits - int(fmt.signed)
    if isinstance(fmt, FloatFormat):
        widths = {"sign": int(fmt.signed), "exponent": fmt.exponent_bits, "mantissa": 0}
        widths["mantissa"] = rest - fmt.exponent_bits
    elif isinstance(fmt, FixedFormat):
        widths = {"sign": int(fmt.signed), "integer": fmt.integer_bits, "fraction": 0}
        widths["fraction"] = rest - fmt.integer_bits
    else:
        widths = {"sign": int(fmt.signed), "integer": rest}
    widths = {name: width for name, width in widths.items() if width}
    table, top, places = Table(box=box.SQUARE), fmt.bits, []
    for name, width in widths.items():
        table.add_column(name, justify="center")
        top -= width
        places.append(f"{top + width - 1}" if width == 1 else f"{top + width - 1}–{top}")
    table.add_row(*places)
    table.add_row(*(name[0] * width for name, width in widths.items()))
    return table


def _parts(fmt: BlockFormat) -> Table:
    size = fmt.block_size
    count = math.prod(size) if isinstance(size, tuple) else size
    parts = [("tensor's scale", "float32", 32)] if fmt.tensor_scale else []
    parts.append(("block's scale", fmt.scale.name, fmt.scale_bits))
    if fmt.micro_size is not None:
        parts.append(("micro-exponents", f"one for {fmt.micro_size}", -(-count // fmt.micro_size)))
    parts.append(("element 1", fmt.element.name, fmt.bits))
    if count > 1:
        parts += [("…", "…", 0), (f"element {count}", fmt.element.name, fmt.bits)]
    table = Table(box=box.SQUARE)
    for name, _, _ in parts:
        table.add_column(name, justify="center")
    table.add_row(*(format_name for _, format_name, _ in parts))
    table.add_row(*(f"{bits} bits" if bits > 1 else "1 bit" if bits else "…" for *_, bits in parts))
    return table


def range_table(fmt: Format) -> Table:
    """The ranges of codes."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("class", "codes", "count", "from", "to"):
        table.add_column(name, justify="right" if name == "count" else "left")
    for one in ranges(fmt):
        codes = one["first"] if one["codes"] == 1 else f"{one['first']}–{one['last']}"
        ends = (one["from"], one["to"]) if one["class"] not in ("nan", "unused") else ("", "")
        kind = Text(one["class"], STYLES.get(one["class"], ""))
        table.add_row(kind, codes, f"{one['codes']:,}", *ends)
    return table


def code_table(fmt: Format, width: int) -> Table:
    """Every code's value, 16 codes in a row, or 8 or 4 where that is too wide.

    Parameters
    ----------
    fmt : Format
        Of at most 8 bits.
    width : int
        Characters that the table may take.
    """
    found = {int(record["hex"], 16): record for record in show(fmt).to_records()}
    cells = {code: _cell(record) for code, record in found.items()}
    size = max(map(len, cells.values()))
    label, count = -(-fmt.bits // 4), 1 << fmt.bits
    allowed = (16, 8, 4) if fmt.bits > 6 else (8, 4)
    columns = next((n for n in allowed if label + n * (size + 1) <= width), 4)
    gap = 2 if label + columns * (size + 2) <= width else 1
    table = Table(box=None, padding=(0, 0, 0, gap), pad_edge=False)
    table.add_column("", style="dim")
    for column in range(columns):
        table.add_column(f"+{column:X}", justify="right", min_width=size, header_style="dim")
    for row in range(0, count, columns):
        styled = (_styled(found, cells, code) for code in range(row, row + columns))
        table.add_row(f"{row:0{label}X}", *styled)
    return table


def _cell(record: dict[str, Any]) -> str:
    value = record["value"]
    if not math.isfinite(value):
        return str(record["exact"])
    return exact_text(reference.as_value(value), _LONGEST_DECIMAL)


def _styled(found: dict[int, dict[str, Any]], cells: dict[int, str], code: int) -> Text:
    if code not in found:
        return Text("–", STYLES["unused"])
    return Text(cells[code], STYLES.get(found[code]["class"], ""))


def rounding_table(rounded: dict[str, Any]) -> Table:
    """What `round_value` found."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("rounding, overflow", "hex", "bits", "value", "error"):
        table.add_column(name)
    for one in rounded["roundings"]:
        table.add_row(one["rounding"], *_answer(one))
    if rounded["probability_above"] is not None:
        table.add_row(
            "stochastic", "", "", f"above with p = {rounded['probability_above']:.6g}", ""
        )
    if len({(one.get("hex"), one.get("raises")) for one in rounded["overflows"]}) > 1:
        table.add_section()
        for one in rounded["overflows"]:
            table.add_row(f"nearest_even, {one['overflow']}", *_answer(one))
    return table


def _answer(one: dict[str, Any]) -> Iterator[str]:
    if "raises" in one:
        return iter(("", "", one["raises"], ""))
    error = "" if one["error"] is None else f"{one['error']:.6g}"
    return iter((one["hex"], one["bits"], one["exact"], error))


def neighbour_table(found: dict[str, Any]) -> Table:
    """A code between its neighbours, greatest first."""
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("", "hex", "bits", "value", "class"):
        table.add_column(name)
    own = found if "hex" in found else None
    for name, one in (("above", found["above"]), ("code", own), ("below", found["below"])):
        if one is not None:
            style = STYLES.get(one["class"], "")
            table.add_row(name, one["hex"], one["bits"], one["exact"], Text(one["class"], style))
    return table
