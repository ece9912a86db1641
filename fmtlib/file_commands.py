"""``fmtlib info`` and ``fmtlib convert``."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Annotated, Any

import typer
from rich import box
from rich.table import Table

import fmtlib as fl
from fmtlib.files import Archive, load_array
from fmtlib.formats import OVERFLOWS, ROUNDINGS, STOCHASTIC, BlockFormat, Format
from fmtlib.options import Json, Quiet, format_names, number, option, print_json, progress
from fmtlib.progress import reporting
from fmtlib.tables import console, finite

_InFile = Annotated[
    Path,
    typer.Argument(
        metavar="FILE", show_default=False, help="A .npz, .safetensors or .npy file.",
    ),
]  # fmt: skip


def info(file: _InFile, *, json: Json = False) -> None:
    """List the arrays of a file: types, formats, shapes, sizes.

    Any .npz or .safetensors file, and those of `fmtlib.save` with the formats of their codes, whose
    checksums are compared; or a .npy file.

    `--json` prints a list, one object for each array: `name`, `format` (null for plain numbers),
    `dtype`, `shape`, `axis` (of blocks), `elements`, `bytes` (as stored, codes packed).

    Examples
    --------
    $ fmtlib info weights.safetensors
    $ fmtlib info weights.npz --json
    """
    found = _loaded(file)
    records = [_about(name, value, found.formats.get(name)) for name, value in found.items()]
    if json:
        print_json(records)
        return
    table = _table("name", "format or type", "shape", ">elements", ">bytes", ">bits each")
    for one in records:
        each = f"{8 * one['bytes'] / one['elements']:.4g}" if one["elements"] else ""
        table.add_row(
            one["name"], _type(one), _shape(one), f"{one['elements']:,}", f"{one['bytes']:,}", each
        )
    console().print(table)


_Format = Annotated[
    str | None,
    option(
        "What arrays become; if left out, codes become numbers again.", "--format",
        metavar="FORMAT", names=format_names,
    ),
]  # fmt: skip
_Select = Annotated[
    str | None,
    option("Only arrays whose name the regular expression is found in.", metavar="PATTERN"),
]
_Overflow = Annotated[
    str,
    option(
        "What becomes of numbers beyond the greatest value.",
        metavar="NAME", names=lambda: OVERFLOWS,
    ),
]  # fmt: skip


def convert(
    file: _InFile,
    *,
    out: Annotated[Path, option("The file to write: .npz or .safetensors.", metavar="FILE")],
    fmt: _Format = None,
    select: _Select = None,
    axis: Annotated[int | None, option("Of the blocks; the last if left out.", metavar="N")] = None,
    rounding: Annotated[
        str, option("How numbers are rounded.", metavar="NAME", names=lambda: ROUNDINGS)
    ] = "nearest_even",
    overflow: _Overflow = "saturate",
    seed: Annotated[int, option("Of stochastic roundings.", metavar="N", parser=number)] = 0,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Convert the arrays of a file to a format, and say what that costs.

    Arrays of floats become codes or blocks, which `fmtlib.load` reads; without `--format`, codes
    and blocks become float32 or, where that does not hold them, float64. Others stay as they are.

    `--json` prints a list, one object for each array that was converted: that of `info` with
    `bytes_before`, and, with a format, `sqnr_db` (null if there is no error), `max_error`,
    `overflow`, `flushed` (to zero).

    Examples
    --------
    $ fmtlib convert weights.safetensors --format mxfp8_e4m3 --out small.npz
    $ fmtlib convert x.npy --format e5m2 --rounding stochastic --seed 7 --out codes.npz
    $ fmtlib convert small.npz --out again.npz
    """
    target = None if fmt is None else fl.get_format(fmt)
    if axis is not None and not isinstance(target, BlockFormat):
        raise ValueError(f"--axis is that of the blocks; {fmt or 'no format'} has no blocks")
    how: dict[str, Any] = {"rounding": rounding, "overflow": overflow}
    how |= {"seed": seed} if rounding in STOCHASTIC else {}
    how |= {"axis": axis} if isinstance(target, BlockFormat) else {}
    found, wanted = _loaded(file), _pattern(select)
    made, records = Archive(), []

    def add(name: str, value: Any) -> None:
        own = found.formats.get(name)
        coded = own is not None or isinstance(value, fl.BlockArray)
        numbers = fl.decode(value, own) if coded else value
        if not wanted.search(name) or not (coded if target is None else _is_float(numbers)):
            made[name] = value
            made.formats |= {} if own is None else {name: own}
            return
        errors: dict[str, Any] = {}
        made[name] = numbers
        if target is not None:
            made[name] = fl.encode(numbers, target, **how)
            made.formats |= {} if isinstance(target, BlockFormat) else {name: target}
            errors = _errors(fl.error_statistics(numbers, target, **how))
        before = _about(name, value, own)["bytes"]
        after = _about(name, made[name], made.formats.get(name))
        records.append({**after, "bytes_before": before, **errors})

    bar = {"description": "converting", "total": len(found)}
    with reporting(progress(quiet), "converting", lambda done: {**bar, "completed": done}) as tell:
        for place, (name, value) in enumerate(found.items()):
            add(name, value)
            tell(place + 1)
    fl.save(out, made)
    if json:
        print_json(records)
        return
    if not records:
        console().print("no array was converted; all are as they were")
        return
    columns = ["name", "format or type", "shape", ">bytes before", ">bytes"]
    shown = _table(*columns, *([] if target is None else [">SQNR (dB)", ">overflows", ">flushed"]))
    for one in records:
        sizes = (f"{one['bytes_before']:,}", f"{one['bytes']:,}")
        cells = [one["name"], _type(one), _shape(one), *sizes]
        if target is not None:
            sqnr = "exact" if one["sqnr_db"] is None else f"{one['sqnr_db']:.2f}"
            cells += [sqnr, f"{one['overflow']:,}", f"{one['flushed']:,}"]
        shown.add_row(*cells)
    console().print(shown)


def _loaded(file: Path) -> Archive:
    return Archive({file.stem: load_array(file)}) if file.suffix == ".npy" else fl.load(file)


def _pattern(text: str | None) -> re.Pattern[str]:
    try:
        return re.compile(text or "")
    except re.error as error:
        raise ValueError(f"{text!r} is no regular expression: {error}") from None


def _is_float(numbers: Any) -> bool:
    return bool(numbers.dtype.kind == "f" or numbers.dtype.name == "bfloat16")


def _about(name: str, value: Any, fmt: Format | None) -> dict[str, Any]:
    blocks = isinstance(value, fl.BlockArray)
    size = math.prod(value.shape)
    if blocks:
        fmt, axis, dtype = value.format, value.axis, value.codes.dtype
    else:
        axis, dtype = None, value.dtype
    plain = blocks or fmt is None
    return {
        "name": name,
        "format": None if fmt is None else fmt.name,
        "dtype": str(dtype),
        "shape": list(value.shape),
        "axis": list(axis) if isinstance(axis, tuple) else axis,
        "elements": size,
        "bytes": value.nbytes if plain or fmt is None else -(-size * fmt.bits // 8),
    }


def _errors(statistics: fl.ErrorStatistics) -> dict[str, Any]:
    total = statistics.total()
    return {
        "sqnr_db": finite(float(total.sqnr_db)),
        "max_error": finite(float(total.max_error)),
        "overflow": int(total.overflow),
        "flushed": int(total.flushed),
    }


def _type(record: dict[str, Any]) -> str:
    axis = "" if record["axis"] is None else f", axis {record['axis']}"
    return f"{record['format'] or record['dtype']}{axis}"


def _shape(record: dict[str, Any]) -> str:
    return " × ".join(map(str, record["shape"])) or "scalar"


def _table(*columns: str) -> Table:
    """A table; a column of numbers is marked with ">"."""
    table = Table(box=box.SIMPLE_HEAD)
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left")
    return table
