"""Pages and tables that are never written by hand: the formats, the modes, the API.

``conf.py`` calls `write` before each build.  Everything comes from `fmtlib.formats`, from the
functions that the tables are about, and from ``__all__``: a new format, mode or name appears by
itself.
"""

import dataclasses
import importlib
import inspect
import math
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import get_args

import numpy as np

import fmtlib as fl
from fmtlib.accumulators import PRESETS
from fmtlib.formats import ALIASES, FORMATS, ROUNDINGS, STOCHASTIC, Format, ScaleRule
from fmtlib.listing import exact_text
from fmtlib.reference import as_value

# Modules whose public names have pages besides those of the package itself.
MODULES = (
    "fmtlib.reference",
    "fmtlib.testing",
    "fmtlib.conformance",
    "fmtlib.vectors",
    "fmtlib.onnx_export",
    "fmtlib.zarr_codecs",
    "fmtlib.numcodecs_codecs",
    "fmtlib.search",
    "fmtlib.training",
    "fmtlib.hardware",
)
# Float formats of at most this many bits have a page with all their codes.
MOST_BITS = 8

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


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
        "roundings.inc": rounding_table(),
        "overflows.inc": overflow_table(),
        "scales.inc": scale_table(),
        "scale_rules.inc": scale_rule_table(),
        "accumulators.inc": accumulator_table(),
        "api.rst": api_page(),
    }
    for name in listed():
        made[f"codes/{name}.md"] = codes_page(name)
    return made


# --- formats --------------------------------------------------------------------------------


def _rows(kind: type) -> Iterator[tuple[str, Format]]:
    return ((name, fmt) for name, fmt in FORMATS.items() if isinstance(fmt, kind))


def listed() -> list[str]:
    """Names of the formats that have a page with all their codes."""
    return [name for name, fmt in _rows(fl.FloatFormat) if fmt.bits <= MOST_BITS]


def float_table() -> str:
    """One row for each floating-point format."""
    head = (
        "format", "bits", "exp., mant.", "bias", "greatest", "least normal",
        "least subnormal", "infinity", "NaN", "−0", "dtype",
    )  # fmt: skip
    rows = []
    for name, fmt in _rows(fl.FloatFormat):
        codes = np.arange(2**fmt.bits, dtype=fmt.code_dtype)
        values = fl.decode(codes, fmt)
        zero = (values == 0) & np.signbit(values)
        rows.append(
            (
                _name(name, f"_generated/codes/{name}.md" if name in listed() else None),
                fmt.bits,
                f"{fmt.exponent_bits}, {fmt.mantissa_bits}",
                fmt.bias,
                _value(fmt.max),
                _power(fmt.min_exponent),
                _power(fmt.quantum_exponent) if fmt.subnormals and fmt.mantissa_bits else "–",
                _codes(codes[np.isinf(values)], fmt.bits),
                _codes(codes[np.isnan(values)], fmt.bits),
                _codes(codes[zero], fmt.bits),
                fmt.code_dtype,
            )
        )
    return _table(head, rows)


def fixed_table() -> str:
    """One row for each fixed-point format."""
    head = ("format", "bits", "Q notation", "least", "greatest", "step", "dtype")
    rows = []
    for name, fmt in _rows(fl.FixedFormat):
        sign = "" if fmt.signed else "U"
        notation = f"{sign}Q{fmt.integer_bits + fmt.signed}.{fmt.fraction_bits}"
        least = _value(fmt.min_integer * 2.0**fmt.quantum_exponent)
        greatest, step = _value(fmt.max), _power(fmt.quantum_exponent)
        rows.append((_name(name), fmt.bits, notation, least, greatest, step, fmt.code_dtype))
    return _table(head, rows)


def integer_table() -> str:
    """One row for each integer format."""
    head = ("format", "bits", "least", "greatest", "dtype")
    rows = [
        (_name(name), fmt.bits, _value(fmt.min_integer), fmt.max_integer, fmt.code_dtype)
        for name, fmt in _rows(fl.IntegerFormat)
    ]
    return _table(head, rows)


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
    return _table(head, rows)


def codes_page(name: str) -> str:
    """A page with every code of a float format, as `fmtlib.show` lists them."""
    fmt = FORMATS[name]
    return "\n".join(
        [
            f"# {name}",
            "",
            "Every code, as [`fmtlib.show`](../../formats.md) lists them.",
            "",
            f"`{fmt!r}`",
            "",
            "```text",
            str(fl.show(fmt)),
            "```",
            "",
        ]
    )


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
        (f"`{rounding}`", *map(_value, fl.quantize(x, "e4m3", rounding=rounding)))
        for rounding in ROUNDINGS
        if rounding not in STOCHASTIC
    ]
    return _table(("rounding", *map(_value, x)), rows)


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
            first = (f"`{name}`", _value(fmt.max)) if i == 0 else ("", "")
            rows.append((*first, ", ".join(names), *results))
    return _table(head, rows)


OVERFLOW_EXAMPLES = (
    "float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float4_e2m1fn", "binary8p4se",
    "binary4p2sf", "fixed_s3_4", "int8",
)  # fmt: skip


def _quantized(x: float, fmt: str, overflow: str) -> str:
    """The value that x becomes, or what it raises."""
    try:
        with np.errstate(invalid="raise"):
            return _value(fl.quantize(np.float64(x), fmt, overflow=overflow))
    except FloatingPointError:
        with np.errstate(invalid="ignore"):
            return f"{_value(fl.quantize(np.float64(x), fmt, overflow=overflow))}, “invalid”"
    except (OverflowError, ValueError) as error:
        return type(error).__name__


def scale_table() -> str:
    """What each rounding makes of some numbers in E8M0."""
    x = np.array([1.4, 1.5, 3.0, 6.0, 12.0, 2.0**-130, 0.0, -1.0, 2.0**128, np.inf, np.nan])
    rows = [
        (f"`{rounding}`", f"`{overflow}`", *map(_value, _e8m0(x, rounding, overflow)))
        for overflow in ("saturate", "nonsaturating")
        for rounding in ("nearest_even", "nearest_away", "toward_zero", "up")
    ]
    shown = [_value(value) if value != 1.4 else "1.4" for value in x]
    return _table(("rounding", "overflow", *shown), rows)


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
            cells = []
            for x in greatest:
                block = fl.encode(np.array([x]), dataclasses.replace(fmt, scale_rule=rule))
                scale, value = fl.decode(block.scales, fmt.scale)[0], fl.decode(block)[0]
                cells.append(f"{_value(scale)} → {_value(value)}")
            rows.append((f"`{rule}`", *cells))
        tables.append(_table((f"`{name}`", *map(_value, greatest)), rows))
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
    return _table(head, rows)


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


# --- cells ----------------------------------------------------------------------------------


def _table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def _name(name: str, page: str | None = None) -> str:
    """A format's name, with a link to its page, and its aliases."""
    aliases = [alias for alias, canonical in ALIASES.items() if canonical == name]
    shown = f"[`{name}`]({page})" if page else f"`{name}`"
    return shown + "".join(f" `{alias}`" for alias in aliases)


def _value(x: float) -> str:
    """A number, exactly, with powers of two as powers."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"
    text = exact_text(as_value(x)).replace("*", " × ")
    text = re.sub(r"\^(-?\d+)", lambda power: power[1].translate(_SUPERSCRIPTS), text)
    return text.replace("-", "−")


def _power(exponent: int) -> str:
    """A power of two."""
    return "1" if exponent == 0 else f"2{str(exponent).translate(_SUPERSCRIPTS)}"


def _codes(codes: np.ndarray, bits: int) -> str:
    """Codes in hexadecimal, runs of them as ranges; a dash if there are none."""
    digits, found = -(-bits // 4), []
    for run in np.split(codes, np.flatnonzero(np.diff(codes.astype(int)) != 1) + 1):
        if run.size:
            ends = [f"{code:0{digits}X}" for code in (run[0], run[-1])]
            found.append(ends[0] if run.size == 1 else "–".join(ends))
    return ", ".join(found) or "–"
