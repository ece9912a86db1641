"""Numbers, codes and tables as the generated pages write them."""

import math
import re
from collections.abc import Iterable, Sequence

import numpy as np

from fmtlib.listing import exact_text
from fmtlib.reference import as_value

_SUPERSCRIPTS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def table(head: Sequence[object], rows: Iterable[Sequence[object]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


def value(x: float) -> str:
    """A number, exactly, with powers of two as powers."""
    if not math.isfinite(x):
        return "NaN" if math.isnan(x) else "∞" if x > 0 else "−∞"
    text = exact_text(as_value(x)).replace("*", " × ")
    text = re.sub(r"\^(-?\d+)", lambda match: match[1].translate(_SUPERSCRIPTS), text)
    return text.replace("-", "−")


def power(exponent: int) -> str:
    """A power of two."""
    return "1" if exponent == 0 else f"2{str(exponent).translate(_SUPERSCRIPTS)}"


def code(pattern: int, bits: int) -> str:
    """A code in hexadecimal."""
    return f"{pattern:0{-(-bits // 4)}X}"


def codes(patterns: np.ndarray, bits: int) -> str:
    """Codes in hexadecimal, runs of them as ranges; a dash if there are none."""
    found = []
    for run in np.split(patterns, np.flatnonzero(np.diff(patterns.astype(int)) != 1) + 1):
        if run.size:
            ends = [code(pattern, bits) for pattern in (run[0], run[-1])]
            found.append(ends[0] if run.size == 1 else "–".join(ends))
    return ", ".join(found) or "–"
