"""The page of a format: its bits drawn, what its codes mean, its limits, its values."""

import dataclasses
import math

import cells
import drawings
import numpy as np
from drawings import Elementwise

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import ALIASES, SOURCES, Format

# Elementwise formats of at most this many bits have all their codes on their page.
MOST_BITS = 8


def page(name: str, fmt: Format) -> str:
    """The text of the page."""
    aliases = [f"`{alias}`" for alias, meant in ALIASES.items() if meant == name]
    also = f"Also {', '.join(aliases)}. " if aliases else ""
    source = SOURCES.get(name)
    parts = [
        f"# {name}\n",
        f"{also}`{record(fmt)}`\n",
        *([f"Source: {source}.\n"] if source else []),
        "## Bits\n",
        drawings.figure(drawings.layout(fmt), _legends(fmt)),
        f"{meaning(fmt)}\n",
        "## Limits\n",
        cells.table(("limit", "value"), limits(fmt)),
        "## Codes\n",
        *codes(fmt),
        "## Values\n",
        drawings.figure(drawings.values(fmt), _what_values(fmt)),
    ]
    if not isinstance(fmt, fl.BlockFormat) and fmt.bits <= MOST_BITS:
        listing = f"```text\n{fl.show(fmt)}\n```"
        parts.append(f":::{{dropdown}} Every code, as `fl.show` lists them\n{listing}\n:::\n")
    return "\n".join(parts)


def record(fmt: Format) -> str:
    """The constructor's call that makes the format, without what is left to defaults."""
    usual_bias = 2 ** (fmt.exponent_bits - 1) - 1 if isinstance(fmt, fl.FloatFormat) else None
    arguments = []
    for field in dataclasses.fields(fmt):
        given = getattr(fmt, field.name)
        text = record(given) if dataclasses.is_dataclass(given) else repr(given)
        if field.default is dataclasses.MISSING:
            arguments.append(text)
        elif given != field.default and (field.name, given) != ("bias", usual_bias):
            arguments.append(f"{field.name}={text}")
    return f"{type(fmt).__name__}({', '.join(arguments)})"


def _table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    return f":::{{container}} nowrap\n{cells.table(head, rows)}:::\n"


# --- what codes mean ------------------------------------------------------------------------


def _legends(fmt: Format) -> str:
    if not isinstance(fmt, fl.BlockFormat):
        return f"{drawings.legend(fmt)}. In the boxes: what each bit weighs."
    return (
        f"Scale: {drawings.legend(fmt.scale)}. Element: {drawings.legend(fmt.element)}. "
        "In the boxes: what each bit weighs."
    )


def meaning(fmt: Format) -> str:
    """The value of a code as a formula, and how codes are packed."""
    if isinstance(fmt, fl.BlockFormat):
        tensor = " × the scale of the array" if fmt.tensor_scale else ""
        micro = (
            f"; for each {fmt.micro_size} elements whose bit is set, half of it"
            if fmt.micro_size
            else ""
        )
        return (
            f"A value is its element × the scale of its block{tensor}{micro}. An element is "
            f"{_formula(fmt.element)}. The scale is {_formula(fmt.scale)}. How the scale is "
            "chosen, and what else the record says: [Blocks](../../blocks.md). How it is stored: "
            "[Storage](../../storage.md)."
        )
    return f"A value is {_formula(fmt)}."


def _formula(fmt: Elementwise) -> str:
    if isinstance(fmt, fl.IntegerFormat):
        return "scale × (code − zero point), or the code itself where neither is given"
    if isinstance(fmt, fl.FixedFormat):
        code = "±magnitude" if fmt.encoding == "sign_magnitude" else "code"
        return f"{code} × 2{_sup(-fmt.fraction_bits)}"
    sign = "(−1)<sup>S</sup> × " if fmt.signed else ""
    assert fmt.bias is not None
    exponent = f"E {'−' if fmt.bias >= 0 else '+'} {abs(fmt.bias)}".replace(
        " ", "\N{NO-BREAK SPACE}"
    )
    m = fmt.mantissa_bits
    significand = f" × (1 + M / {2**m})" if m else ""
    normal = f"{sign}2<sup>{exponent}</sup>{significand}"
    if not fmt.subnormals:
        return normal
    below = f"{sign}2{_sup(fmt.min_exponent)} × M / {2**m}" if m else "0"
    return f"{normal}; where E = 0, {below}"


def _sup(exponent: int) -> str:
    return f"<sup>{exponent}</sup>".replace("-", "−")


# --- limits ---------------------------------------------------------------------------------


def limits(fmt: Format) -> list[tuple[str, str]]:
    """What there is to know in numbers; floats as `fmtlib.finfo` has them."""
    if isinstance(fmt, fl.BlockFormat):
        return _block_limits(fmt)
    shared = [
        ("distinct finite values", f"{count_values(fmt):,}"),
        ("dynamic range, greatest ÷ least positive", dynamic_range(fmt.max, _least(fmt))),
        ("bits per element", f"{fmt.bits}"),
        ("codes are", f"`{fmt.code_dtype}`"),
        ("values are exact in", f"`{fmt.smallest_dtype}`"),
    ]
    if isinstance(fmt, fl.FloatFormat):
        facts = fl.finfo(fmt)
        subnormal = cells.value(facts.smallest_subnormal) if facts.has_subnormals else "–"
        return [
            ("greatest", _approximate(facts.max)),
            ("least normal", _approximate(facts.smallest_normal)),
            ("least subnormal", subnormal),
            ("epsilon, from 1 to the next", cells.value(facts.eps)),
            ("bits of significand", f"{fmt.precision}"),
            *shared,
        ]
    quantum = 2.0**fmt.quantum_exponent
    return [
        ("greatest", _approximate(fmt.max)),
        ("least", _approximate(fmt.min_integer * quantum)),
        ("step", cells.value(quantum)),
        *shared,
    ]


def _block_limits(fmt: fl.BlockFormat) -> list[tuple[str, str]]:
    size = fmt.block_size
    shape = " × ".join(map(str, size)) if isinstance(size, tuple) else str(size)
    elements = math.prod(size) if isinstance(size, tuple) else size
    block_bits = elements * fmt.bits + fmt.scale_bits
    half = 2 if fmt.micro_size else 1
    rows = [
        ("elements in a block", shape),
        ("bits per element, the scale counted", f"{block_bits / elements:.7g}"),
        ("bits of a block", f"{elements} × {fmt.bits} + {fmt.scale_bits} = {block_bits:,}"),
        ("greatest element", cells.value(fmt.element.max)),
        ("least positive element", cells.value(_least(fmt.element))),
        (
            "dynamic range in a block",
            dynamic_range(fmt.element.max, _least(fmt.element) / half),
        ),
        ("greatest value in any block", _approximate(fmt.max)),
        ("least positive value in any block", _approximate(2.0**fmt.quantum_exponent)),
        ("dynamic range of all blocks", dynamic_range(fmt.max, 2.0**fmt.quantum_exponent)),
        ("scale rule", f"`{fmt.scale_rule}`"),
        ("codes and scales are", f"`{fmt.code_dtype}`, `{fmt.scale_dtype}`"),
    ]
    if fmt.tensor_scale:
        rows.append(("besides", "a float32 scale for the whole array, not counted here"))
    return rows


def _least(fmt: Elementwise) -> float:
    """The least positive value."""
    return 2.0**fmt.quantum_exponent


def count_values(fmt: Elementwise) -> int:
    """How many different finite values there are."""
    if not isinstance(fmt, fl.FloatFormat):
        return fmt.max_integer - fmt.min_integer + 1
    positive = drawings.count_positive(fmt)
    return positive * (1 + fmt.signed) + fmt.subnormals


def dynamic_range(greatest: float, least: float) -> str:
    """A ratio in binades and in decades."""
    binades = math.log2(greatest) - math.log2(least)
    return f"{binades:.1f} binades, {binades * math.log10(2):.1f} decades"


def _approximate(x: float) -> str:
    """A number exactly, and as a decimal where that is another text."""
    exact = cells.value(x)
    return f"{exact} ≈ {f'{x:.4g}'.replace('-', '−')}" if "2" in exact and "×" in exact else exact


# --- codes ----------------------------------------------------------------------------------


def codes(fmt: Format) -> list[str]:
    """Tables of the codes that one looks up, of a block format those of its parts."""
    if isinstance(fmt, fl.BlockFormat):
        scale = f"of the scale, {_linked(fmt.scale)}"
        element = f"of an element, {_linked(fmt.element)}"
        never = (
            "\nThe least element is never written, so that the range is the same on both sides.\n"
            if isinstance(fmt.element, fl.FixedFormat) and fmt.element.encoding == "twos_complement"
            else ""
        )
        return [
            _table((scale, "code", "value"), landmarks(fmt.scale)),
            _table((element, "code", "value"), landmarks(fmt.element)) + never,
        ]
    return [_table(("what", "code", "value"), landmarks(fmt))]


def _linked(fmt: Elementwise) -> str:
    return f"[`{fmt.name}`]({fmt.name}.md)" if fmt.name in fl.formats() else f"`{fmt.name}`"


def landmarks(fmt: Elementwise) -> list[tuple[str, str, str]]:
    """Zeros, ones, ends, infinities and NaNs: what, code, value."""
    mask = (1 << fmt.bits) - 1
    if isinstance(fmt, fl.FloatFormat):
        m = fmt.mantissa_bits
        found = {
            "zero": 0 if fmt.subnormals else None,
            "negative zero": fmt.sign_bit if fmt.has_negative_zero else None,
            "least subnormal": 1 if fmt.subnormals and m else None,
            "greatest subnormal": (1 << m) - 1 if fmt.subnormals and m > 1 else None,
            "least normal": 1 << m if fmt.subnormals else 0,
            "one": _code_of_one(fmt),
            "greatest": fmt.max_code,
            "infinity": fmt.inf_code,
            "negative infinity": fmt.inf_code and (fmt.inf_code | fmt.sign_bit or None),
        }
        if not fmt.signed:
            del found["negative zero"], found["negative infinity"]
    else:
        sign_magnitude = isinstance(fmt, fl.FixedFormat) and fmt.encoding == "sign_magnitude"
        sign_bit = 1 << (fmt.bits - 1)
        found = {
            "zero": 0,
            "negative zero": sign_bit if sign_magnitude else None,
            "one step": 1,
            "one": _code_of_one(fmt),
            "greatest": fmt.max_integer,
            "minus one step": (sign_bit | 1 if sign_magnitude else mask) if fmt.signed else None,
            "least": (mask if sign_magnitude else fmt.min_integer & mask) if fmt.signed else None,
        }
    rows = []
    for what, pattern in found.items():
        if pattern is None:
            if what in ("infinity", "negative zero") and isinstance(fmt, fl.FloatFormat):
                rows.append((what, "–", "–"))
            continue
        (record,) = fl.show(fmt, pattern, pattern + 1).to_records()
        rows.append((what, record["hex"], cells.value(record["value"])))
    if isinstance(fmt, fl.FloatFormat):
        nan = nan_codes(fmt)
        rows.append(("NaN", cells.codes(nan, fmt.bits), "NaN" if nan.size else "–"))
    elif isinstance(fmt, fl.IntegerFormat) and fmt.symmetric:
        rows.append(("left out", cells.code(sign_bit, fmt.bits), "–"))
    return rows


def nan_codes(fmt: fl.FloatFormat) -> np.ndarray:
    """Every code that is NaN."""
    every = np.arange(2**fmt.bits, dtype=fmt.code_dtype)
    return every[np.isnan(fl.decode(every, fmt))]


def _code_of_one(fmt: Elementwise) -> int | None:
    """The code of 1, if it is a value of the format."""
    if reference.quantize(1, fmt) != 1:
        return None
    return int(reference.encode(1, fmt)) & ((1 << fmt.bits) - 1)


# --- values ---------------------------------------------------------------------------------


def _what_values(fmt: Format) -> str:
    """What the plot of values shows, in HTML."""
    where = "Values under the scale 1; that of a block moves them along. " * isinstance(
        fmt, fl.BlockFormat
    )
    steps = (
        f"{where}Above: bits of significand between two powers of two, where neighbours differ by "
        "one unit in the last of them."
    )
    if drawings.count_positive(fmt) > drawings.MOST_TICKS:
        return f"{steps} The values are too many to draw."
    element = fmt.element if isinstance(fmt, fl.BlockFormat) else fmt
    if isinstance(element, fl.FloatFormat) and element.subnormals and element.mantissa_bits:
        return (
            f'{steps} Below: each positive value, <span class="chip subnormal"></span>subnormals '
            'in this colour, <span class="chip normal"></span>normal numbers in this.'
        )
    return f"{steps} Below: each positive value."
