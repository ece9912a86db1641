"""Pages and tables that are never written by hand: the formats, the modes, the API.

``conf.py`` calls `write` before each build.  Everything comes from `fmtlib.formats`, from the
functions that the tables are about, and from ``__all__``: a new format, mode or name appears by
itself.
"""

import dataclasses
import importlib
import inspect
import io
import math
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_args

import cells
import drawings
import format_pages
import numpy as np
from rich.console import Console
from typer.cli import get_docs_for_click

import fmtlib as fl
from fmtlib import drawing
from fmtlib.accumulators import PRESETS
from fmtlib.commands import COMMANDS
from fmtlib.formats import ALIASES, FORMATS, ROUNDINGS, STOCHASTIC, Format, ScaleRule

# Modules whose public names have pages besides those of the package itself.
MODULES = tuple(f"fmtlib.{name}" for name in fl._MODULES)


def write(folder: Path) -> None:
    """Write all pages and tables into a folder, which is emptied first."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in pages().items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """The text of each file, by its path in the folder.

    Those that end in ``.inc`` are parts that other pages include.
    """
    made = {
        "float_formats.inc": float_table(),
        "fixed_formats.inc": fixed_table(),
        "integer_formats.inc": integer_table(),
        "block_formats.inc": block_table(),
        "format_pages.inc": format_list(),
        "eight_bits.inc": eight_bit_figure(),
        "start.inc": start_figure(),
        "roundings.inc": rounding_table(),
        "overflows.inc": overflow_table(),
        "scales.inc": scale_table(),
        "scale_rules.inc": scale_rule_table(),
        "accumulators.inc": accumulator_table(),
        "api.rst": api_page(),
        "commands.inc": command_table(),
        "command_options.inc": command_options(),
        "show_e4m3.svg": shown_picture("e4m3"),
    }
    for name, fmt in FORMATS.items():
        made[f"formats/{name}.md"] = format_pages.page(name, fmt)
    return made


# --- formats --------------------------------------------------------------------------------


def _rows(kind: type) -> Iterator[tuple[str, Format]]:
    return ((name, fmt) for name, fmt in FORMATS.items() if isinstance(fmt, kind))


def format_list() -> str:
    """The pages of the formats by family, in the order of the table, for the bar at the side."""
    families = {
        "Floating point": fl.FloatFormat,
        "Fixed point": fl.FixedFormat,
        "Integers": fl.IntegerFormat,
        "Blocks": fl.BlockFormat,
    }
    lists = []
    for caption, kind in families.items():
        names = "\n".join(f"_generated/formats/{name}" for name, _ in _rows(kind))
        lists.append(f"```{{toctree}}\n:hidden:\n:caption: {caption}\n\n{names}\n```\n")
    return "\n".join(lists)


def float_table() -> str:
    """One row for each floating-point format."""
    head = (
        "format", "bits", "exp., mant.", "bias", "greatest", "least normal",
        "least subnormal", "infinity", "NaN", "−0",
    )  # fmt: skip
    rows = []
    for name, fmt in _rows(fl.FloatFormat):
        codes = np.arange(2**fmt.bits, dtype=fmt.code_dtype)
        values = fl.decode(codes, fmt)
        zero = (values == 0) & np.signbit(values)
        rows.append(
            (
                _name(name),
                fmt.bits,
                f"{fmt.exponent_bits}, {fmt.mantissa_bits}",
                fmt.bias,
                cells.value(fmt.max),
                cells.power(fmt.min_exponent),
                cells.power(fmt.quantum_exponent) if fmt.subnormals and fmt.mantissa_bits else "–",
                cells.codes(codes[np.isinf(values)], fmt.bits),
                cells.codes(codes[np.isnan(values)], fmt.bits),
                cells.codes(codes[zero], fmt.bits),
            )
        )
    return cells.table(head, rows)


def fixed_table() -> str:
    """One row for each fixed-point format."""
    head = ("format", "bits", "Q notation", "least", "greatest", "step", "dtype")
    rows = []
    for name, fmt in _rows(fl.FixedFormat):
        sign = "" if fmt.signed else "U"
        notation = f"{sign}Q{fmt.integer_bits + fmt.signed}.{fmt.fraction_bits}"
        least = cells.value(fmt.min_integer * 2.0**fmt.quantum_exponent)
        greatest, step = cells.value(fmt.max), cells.power(fmt.quantum_exponent)
        rows.append((_name(name), fmt.bits, notation, least, greatest, step, fmt.code_dtype))
    return cells.table(head, rows)


def integer_table() -> str:
    """One row for each integer format."""
    head = ("format", "bits", "least", "greatest", "dtype")
    rows = [
        (_name(name), fmt.bits, cells.value(fmt.min_integer), fmt.max_integer, fmt.code_dtype)
        for name, fmt in _rows(fl.IntegerFormat)
    ]
    return cells.table(head, rows)


def block_table() -> str:
    """One row for each block format."""
    head = (
        "format", "element", "scale", "block", "scale rule", "besides", "bits per element",
        "dtypes",
    )  # fmt: skip
    rows = []
    for name, fmt in _rows(fl.BlockFormat):
        sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (fmt.block_size,)
        besides = [
            "carry bumps" if fmt.carry == "bump" else "",
            "NaN raises" if fmt.nonfinite == "raise" else "",
            "float32 tensor scale" if fmt.tensor_scale else "",
            f"micro-exponents, one for {fmt.micro_size}" if fmt.micro_size else "",
        ]
        rows.append(
            (
                _name(name),
                _element(fmt.element),
                _element(fmt.scale),
                " × ".join(map(str, sizes)),
                fmt.scale_rule,
                "; ".join(filter(None, besides)) or "–",
                f"{fmt.bits + fmt.scale_bits / math.prod(sizes):.7g}",
                f"{fmt.code_dtype}, {fmt.scale_dtype}",
            )
        )
    return cells.table(head, rows)


def eight_bit_figure() -> str:
    """Precision against magnitude of the formats that have codes of eight bits."""
    eight: dict[str, drawings.Elementwise] = {
        name: fmt
        for name, fmt in FORMATS.items()
        if not isinstance(fmt, fl.BlockFormat) and fmt.bits == 8
    }
    return drawings.figure(
        drawings.compare(eight, "_generated/formats"),
        "Bits of significand against magnitude, of all formats of 8 bits: neighbours between "
        "2<sup>e</sup> and 2<sup>e + 1</sup> are 2<sup>e + 1 − bits</sup> apart, so that each bit "
        "halves the relative spacing. Arrows: it goes on beyond the axis.",
    )


def start_figure() -> str:
    """One tensor in several formats: the picture of the start page."""
    x = np.random.default_rng(0).standard_normal(1 << 16, dtype=np.float32)
    return drawings.figure(
        drawings.tensor(START_FORMATS, x),
        "65,536 normal numbers, and which magnitudes each format has where they lie; of block "
        "formats, under the scale of the median block. SQNR: signal to quantisation noise, of "
        "<code>fl.quantize</code>; <code>int8</code> with the scale of "
        "<code>fl.calibrate</code>.",
    )


START_FORMATS = (
    "bf16", "e4m3", "e5m2", "int8", "mxfp8_e4m3", "e2m3", "msfp12", "nvfp4", "mxfp4_e2m1", "e2m1",
)  # fmt: skip


def _element(fmt: Format) -> str:
    """A short name for the element or scale of a block format."""
    if isinstance(fmt, fl.FixedFormat):
        if fmt.encoding == "sign_magnitude":
            return f"sign, {fmt.magnitude_bits} bits"
        return f"{fmt.bits} bits, two's complement"
    if fmt in FORMATS.values():
        return f"`{fmt.name}`"
    return f"power of two, {fmt.bits} bits"


# --- modes ----------------------------------------------------------------------------------


def rounding_table() -> str:
    """What each deterministic rounding makes of some numbers."""
    x = np.array([16.5, 17.0, 17.5, 19.0, -16.5, -17.0])  # between 16, 18 and 20, of E4M3
    rows = [
        (f"`{rounding}`", *map(cells.value, fl.quantize(x, "e4m3", rounding=rounding)))
        for rounding in ROUNDINGS
        if rounding not in STOCHASTIC
    ]
    return cells.table(("rounding", *map(cells.value, x)), rows)


def overflow_table() -> str:
    """What each overflow mode makes of numbers at and beyond the end, format by format."""
    head = ("format", "greatest", "overflow", "greatest + ¼ step", "2 × greatest", "−2 × greatest",
            "∞", "NaN")  # fmt: skip
    rows = []
    for name in OVERFLOW_EXAMPLES:
        fmt = fl.get_format(name)
        assert not isinstance(fmt, fl.BlockFormat)
        step = 2.0 ** (
            fmt.max_exponent - fmt.precision + 1
            if isinstance(fmt, fl.FloatFormat)
            else fmt.quantum_exponent
        )
        x = [fmt.max + step / 4, 2 * fmt.max, -2 * fmt.max, math.inf, math.nan]
        modes: dict[tuple[str, ...], list[str]] = {}  # those that do the same
        for overflow in fmt.overflows:
            results = tuple(_quantized(value, name, overflow) for value in x)
            modes.setdefault(results, []).append(f"`{overflow}`")
        for i, (results, names) in enumerate(modes.items()):
            first = (f"`{name}`", cells.value(fmt.max)) if i == 0 else ("", "")
            rows.append((*first, ", ".join(names), *results))
    return cells.table(head, rows)


OVERFLOW_EXAMPLES = (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float4_e2m1fn", "binary8p4se",
    "binary4p2sf", "fixed_s3_4", "int8",
)  # fmt: skip


def _quantized(x: float, fmt: str, overflow: str) -> str:
    """The value that x becomes, or what it raises."""
    try:
        with np.errstate(invalid="raise"):
            return cells.value(fl.quantize(np.float64(x), fmt, overflow=overflow))
    except FloatingPointError:
        with np.errstate(invalid="ignore"):
            return f"{cells.value(fl.quantize(np.float64(x), fmt, overflow=overflow))}, “invalid”"
    except (OverflowError, ValueError) as error:
        return type(error).__name__


def scale_table() -> str:
    """What each rounding makes of some numbers in E8M0."""
    x = np.array([1.4, 1.5, 3.0, 6.0, 12.0, 2.0**-130, 0.0, -1.0, 2.0**128, np.inf, np.nan])
    rows = [
        (f"`{rounding}`", f"`{overflow}`", *map(cells.value, _e8m0(x, rounding, overflow)))
        for overflow in ("saturate", "nonsaturating")
        for rounding in ("nearest_even", "nearest_away", "toward_zero", "up")
    ]
    shown = [cells.value(value) if value != 1.4 else "1.4" for value in x]
    return cells.table(("rounding", "overflow", *shown), rows)


def _e8m0(x: np.ndarray, rounding: str, overflow: str) -> np.ndarray:
    return fl.quantize(x, "float8_e8m0fnu", rounding=rounding, overflow=overflow)


def scale_rule_table() -> str:
    """What each scale rule makes of the greatest magnitude of a block: a table for each format."""
    tables = []
    for name, greatest in (
        ("mxfp8_e4m3", (256.0, 448.0, 449.0, 495.0, 496.0, 512.0)),
        ("mxfp4_e2m1", (4.0, 6.0, 6.5, 7.0, 7.5, 8.0)),
    ):
        fmt = fl.get_format(name)
        assert isinstance(fmt, fl.BlockFormat)
        rows = []
        for rule in get_args(ScaleRule):
            if rule == "amax":  # not of powers of two
                continue
            shown = []
            for x in greatest:
                block = fl.encode(np.array([x]), dataclasses.replace(fmt, scale_rule=rule))
                scale, value = fl.decode(block.scales, fmt.scale)[0], fl.decode(block)[0]
                shown.append(f"{cells.value(scale)} → {cells.value(value)}")
            rows.append((f"`{rule}`", *shown))
        tables.append(cells.table((f"`{name}`", *map(cells.value, greatest)), rows))
    return "\n".join(tables)


def accumulator_table() -> str:
    """One row for each named accumulator and family of operands."""
    head = ("accumulator", "operands", "terms in a step", "fraction bits kept", "step's total",
            "rounded", "total so far")  # fmt: skip
    rows = []
    for name, families in PRESETS.items():
        for family, record in families.items():
            total, kept = record.total, record.alignment_bits
            rows.append(
                (
                    f"`{name}`",
                    family,
                    record.terms or ("all" if record.scales == "products" else "a block"),
                    "all" if kept is None else kept,
                    f"{total.mantissa_bits} fraction bits" if total else "exact",
                    total.rounding.replace("_", " ") if total else "–",
                    "added after" if record.start == "late" else "a term of the step",
                )
            )
    return cells.table(head, rows)


# --- the command line -----------------------------------------------------------------------


def command_table() -> str:
    """One row for each command of the console script."""
    rows = [
        (f"[`fmtlib {name}`](#fmtlib-{name})", command.summary, command.panel.lower())
        for name, command in COMMANDS.items()
    ]
    return cells.table(("command", "what it does", "of"), rows)


def command_options() -> str:
    """What the commands' help says, as Typer writes it in Markdown."""
    parts = []
    for name, command in COMMANDS.items():
        loaded = command.load(name)
        context = loaded.make_context(name, [], resilient_parsing=True)
        parts.append(
            get_docs_for_click(obj=loaded, ctx=context, name=name, call_prefix="fmtlib", indent=1)
        )
    return "\n".join(parts)


def shown_picture(name: str) -> str:
    """What `fmtlib show` draws on a terminal of 80 columns, as SVG."""
    fmt = fl.get_format(name)
    terminal = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    drawing.draw(fmt, terminal)
    return terminal.export_svg(title=f"fmtlib show {name}", unique_id=name)


# --- the API --------------------------------------------------------------------------------


def public_names(module: ModuleType) -> list[str]:
    """The names of ``__all__``, or else those that the module defines."""
    if hasattr(module, "__all__"):
        return list(module.__all__)
    return [
        name
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def api_page() -> str:
    """The public names, those of the package by the module that they come from."""
    lines = [_heading("API", "="), "Everything named here is public; all else may change.", ""]
    groups: dict[str, list[str]] = {home: [] for home in FIRST}
    for name in public_names(fl):
        groups.setdefault(getattr(fl, name).__module__, []).append(name)
    for home, names in groups.items():
        title = "The machine" if "._" in home else re.split("[:,]", _summary(home))[0]
        lines += [_heading(title, "-"), *_summaries("fmtlib", sorted(names, key=str.lower))]
    for home in MODULES:
        lines += [_heading(home, "-"), _summary(home) + ".", ""]
        lines += _summaries(home, public_names(importlib.import_module(home)))
    return "\n".join(lines)


# The modules whose names come first; the others follow as ``__all__`` has their names.
FIRST = ("fmtlib.codec", "fmtlib.formats", "fmtlib.blocks", "fmtlib.products")


def _summary(module: str) -> str:
    """The first sentence of a module's docstring, on one line, without its full stop."""
    doc = inspect.getdoc(importlib.import_module(module)) or module
    return doc.split("\n\n")[0].replace("\n", " ").replace("`", "").rstrip(".")


def _summaries(module: str, names: Sequence[str]) -> list[str]:
    return [
        f".. currentmodule:: {module}",
        "",
        ".. autosummary::",
        "   :toctree: api",
        "   :nosignatures:",
        "",
        *(f"   {name}" for name in names),
        "",
    ]


def _heading(text: str, underline: str) -> str:
    return f"{text}\n{underline * len(text)}\n"


def _name(name: str) -> str:
    """A format's name, with a link to its page, and its aliases."""
    aliases = [alias for alias, canonical in ALIASES.items() if canonical == name]
    return f"[`{name}`](_generated/formats/{name}.md)" + "".join(f" `{alias}`" for alias in aliases)
