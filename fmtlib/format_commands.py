"""``fmtlib formats`` and ``fmtlib show``."""

from __future__ import annotations

from dataclasses import fields
from typing import Annotated, Any

import typer
from rich.table import Table

import fmtlib as fl
from fmtlib import drawing
from fmtlib.formats import ALIASES, Format
from fmtlib.listing import bits_per_element
from fmtlib.options import FormatName, Json, number, option, print_json
from fmtlib.tables import console, finite


def formats(*, json: Json = False) -> None:
    """List the named formats.

    Others have names that say what they are: `float_e5m3b20_fn`, `fixed_s3_12`, `uint3`,
    `bfp_m5_e8_g32`, `mxfp8_e4m3_g16`.

    `--json` prints a list, one object for each: `name`, `aliases`, `kind`, `bits` (of a code),
    `bits_per_element` (with its part of a block's scale), `greatest_value`, `step_exponent` (of the
    smallest step, which is a power of two), `code_dtype`.

    Examples
    --------
    $ fmtlib formats
    $ fmtlib formats --json
    """
    records = [_summary(fmt) for fmt in fl.formats().values()]
    if json:
        print_json(records)
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("name", "aliases", "bits", "greatest value", "smallest step", "codes"):
        table.add_column(name, no_wrap=name == "name")
    for one in records:
        table.add_row(
            one["name"], " ".join(one["aliases"]), f"{one['bits']}",
            f"{one['greatest_value']:.8g}", f"2^{one['step_exponent']}", one["code_dtype"],
        )  # fmt: skip
    console().print(table)


_LOOK_UP, _LIST = "Look up", "List"  # groups of the options

_Code = Annotated[
    int | None,
    option(
        "One code, in decimal or as 0x7e: its value, class and neighbours.",
        metavar="CODE", panel=_LOOK_UP, parser=number,
    ),
]  # fmt: skip
_Value = Annotated[
    str | None,
    option(
        "One number, taken exactly: what it becomes under every rounding. Also `1/3`, `0x1.8p-3`, "
        "`inf`.",
        metavar="NUMBER", panel=_LOOK_UP,
    ),
]  # fmt: skip


def show(
    fmt: FormatName,
    *,
    code: _Code = None,
    value: _Value = None,
    list_codes: Annotated[
        bool, option("Codes one by one: bits, exact value, class.", "--list", panel=_LIST)
    ] = False,
    start: Annotated[
        int | None, option("List from this code on.", metavar="CODE", panel=_LIST, parser=number)
    ] = None,
    stop: Annotated[
        int | None, option("List up to before this.", metavar="CODE", panel=_LIST, parser=number)
    ] = None,
    json: Json = False,
) -> None:
    """Draw a format: its bits, its limits and its codes.

    Codes stand in ranges of one class; of formats of at most 8 bits there is a table of all values,
    exact, where the code is that of the row plus that of the column. `3*2^-9` is 3 times a power of
    two. Of a block format all this is said of its elements.

    `--json` prints one object: `format`, with the facts of the record, and `ranges`, `codes`
    (listed, or at most 8 bits), or what was looked up: `code` or `value`. Values are exact in
    `exact`; `value` is null if it is not finite.

    Examples
    --------
    $ fmtlib show e4m3
    $ fmtlib show e4m3 --code 0x7e
    $ fmtlib show e4m3 --value 0.3
    $ fmtlib show bfloat16 --start 0x7f7f --stop 0x7f82
    $ fmtlib show mxfp4_e2m1 --json
    """
    record = fl.get_format(fmt)
    listed = list_codes or start is not None or stop is not None
    if sum((code is not None, value is not None, listed)) > 1:
        raise typer.BadParameter("give one of --code, --value and --list (or --start, --stop)")
    shown = console()
    described: dict[str, Any] = {"format": _summary(record) | _facts(record)}
    if code is not None:
        found = drawing.look_up(record, code)
        if json:
            print_json({**described, "code": found})
        else:
            shown.print(drawing.neighbour_table(found))
    elif value is not None:
        found = drawing.round_value(record, value)
        if json:
            print_json({**described, "value": found})
        else:
            neighbours = drawing.neighbour_table(found)
            if neighbours.row_count:  # NaN has none
                shown.print(neighbours)
            shown.print(drawing.rounding_table(found))
    elif json:
        codes = {}
        if listed or record.bits <= drawing.TABLE_BITS:
            rows = fl.show(record, start, stop).to_records()
            codes = {"codes": [{key: finite(row[key]) for key in row} for row in rows]}
        print_json({**described, "ranges": drawing.ranges(record), **codes})
    elif listed:
        print(fl.show(record, start, stop))
    else:
        drawing.draw(record, shown)


def _summary(fmt: Format) -> dict[str, Any]:
    return {
        "name": fmt.name,
        "aliases": [alias for alias, name in ALIASES.items() if name == fmt.name],
        "kind": type(fmt).__name__.removesuffix("Format").lower(),
        "bits": fmt.bits,
        "bits_per_element": bits_per_element(fmt),
        "greatest_value": fmt.max,
        "step_exponent": fmt.quantum_exponent,
        "code_dtype": str(fmt.code_dtype),
    }


def _facts(fmt: Format) -> dict[str, Any]:
    """The fields of the record, by their names."""
    found = {field.name: getattr(fmt, field.name) for field in fields(fmt)}
    for name, value in found.items():
        if not isinstance(value, (bool, int, float, str, list, tuple, type(None))):
            found[name] = str(value)
    return found
