"""Drawings of formats as SVG that stands in the page: bits, values, precision, one tensor.

Colours are classes of ``_static/fmtlib.css``, so that a drawing follows the theme of the page,
light or dark.  Everything is computed from the record of a format; the same record gives the same
bytes.
"""

import html
import math
from collections.abc import Mapping, Sequence

import cells
import numpy as np

import fmtlib as fl
from fmtlib.formats import Format

Elementwise = fl.FloatFormat | fl.FixedFormat | fl.IntegerFormat

HEIGHT = 30  # of the box of a bit
PLOT = 720  # width of what is drawn against magnitude
LEAST = 560  # width to which a drawing shrinks before it is scrolled
MOST_TICKS = 512  # a rug of more values would be a solid bar


class Drawing:
    """An SVG element with a text that stands for it."""

    def __init__(self, description: str) -> None:
        self.description = description
        self.parts: list[str] = []
        self.width = self.height = 0.0

    def box(self, x: float, y: float, width: float, height: float, kind: str) -> None:
        """A rectangle, whose class says what it means."""
        self._reaches(x + width, y + height)
        self.parts.append(
            f'<rect class="{kind}" x="{_n(x)}" y="{_n(y)}" width="{_n(width)}" '
            f'height="{_n(height)}"/>'
        )

    def text(self, x: float, y: float, text: str, kind: str = "", link: str = "") -> None:
        """A text; its class says where it is anchored (`start` if it names none)."""
        self._reaches(x, y + 4)
        shown = f'<text class="{kind}" x="{_n(x)}" y="{_n(y)}">{html.escape(text)}</text>'
        self.parts.append(f'<a href="{link}">{shown}</a>' if link else shown)

    def path(self, points: str, kind: str) -> None:
        """A path in SVG's own words; it must lie within the boxes and texts."""
        self.parts.append(f'<path class="{kind}" d="{points}"/>')

    def _reaches(self, x: float, y: float) -> None:
        self.width, self.height = max(self.width, x), max(self.height, y)

    def __str__(self) -> str:
        width, height = math.ceil(self.width) + 1, math.ceil(self.height) + 1
        return (
            f'<svg class="drawing" role="img" aria-label="{html.escape(self.description)}" '
            f'width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
            f'style="--least-width: {min(width, LEAST)}px">'
            f"{''.join(self.parts)}</svg>"
        )


def figure(drawing: Drawing, caption: str) -> str:
    """A drawing and its caption, in HTML, for a page in Markdown."""
    return (
        '```{raw} html\n<figure class="drawing">'
        f"<div>{drawing}</div>\n<figcaption>{caption}</figcaption></figure>\n```\n"
    )


def _n(x: float) -> str:
    """A coordinate, to a hundredth."""
    return f"{round(x, 2):g}"


# --- bits -----------------------------------------------------------------------------------


def fields(fmt: Elementwise) -> list[tuple[str, list[str], str]]:
    """The fields of a code from its top bit: what it is, the weight of each bit, and in words."""
    if isinstance(fmt, fl.FloatFormat):
        m = fmt.mantissa_bits
        exponent = [str(2**i) for i in reversed(range(fmt.exponent_bits))]
        mantissa = [_weight(-i) for i in range(1, m + 1)]
        found = [
            ("exponent", exponent, f"exponent, {_bits(len(exponent))}, bias {fmt.bias}"),
            ("mantissa", mantissa, f"mantissa, {_bits(m)} after an implicit leading one"),
        ]
    elif isinstance(fmt, fl.FixedFormat):
        whole = [_weight(i) for i in reversed(range(fmt.integer_bits))]
        fraction = [_weight(-i) for i in range(1, fmt.fraction_bits + 1)]
        found = [
            ("exponent", whole, f"{_bits(len(whole))} before the binary point"),
            ("mantissa", fraction, f"{_bits(len(fraction))} after it"),
        ]
    else:
        whole = [_weight(i) for i in reversed(range(fmt.bits - fmt.signed))]
        found = [("mantissa", whole, f"integer, {_bits(len(whole))}")]
    if fmt.signed:
        twos_complement = isinstance(fmt, fl.IntegerFormat) or (
            isinstance(fmt, fl.FixedFormat) and fmt.encoding == "twos_complement"
        )
        if twos_complement:
            top = fmt.bits - 1 + fmt.quantum_exponent
            found.insert(0, ("sign", [f"−{_weight(top)}"], "sign, a negative weight"))
        else:
            found.insert(0, ("sign", ["±"], "sign"))
    return [field for field in found if field[1]]


def _bits(count: int) -> str:
    return "1 bit" if count == 1 else f"{count} bits"


def _weight(exponent: int) -> str:
    """A power of two, as short as it gets."""
    if 0 <= exponent <= 9:
        return str(2**exponent)
    return {-1: "½", -2: "¼", -3: "⅛"}.get(exponent) or cells.power(exponent)


def legend(fmt: Elementwise) -> str:
    """The fields in words, each with its colour, in HTML."""
    return "; ".join(
        f'<span class="chip {kind}"></span>{html.escape(words)}' for kind, _, words in fields(fmt)
    )


def layout(fmt: Format) -> Drawing:
    """The bits of a code, or what a block holds and the bits of each part."""
    if isinstance(fmt, fl.BlockFormat):
        return _block_layout(fmt)
    words = ", ".join(words for _, _, words in fields(fmt))
    drawing = Drawing(f"The {fmt.bits} bits of a code of {fmt.name}, from the top: {words}.")
    _draw_bits(drawing, fmt, 0)
    if fmt.bits % 8:
        _draw_packing(drawing, fmt.bits, HEIGHT + 44)
    return drawing


def _draw_bits(drawing: Drawing, fmt: Elementwise, y: float) -> None:
    """Boxes with the weights of the bits, their numbers above, and the binary point."""
    x, number, width = 0.5, fmt.bits - 1, 36 if fmt.bits <= 20 else 27
    for kind, weights, _ in fields(fmt):
        for weight in weights:
            drawing.text(x + width / 2, y + 11, str(number), "faint middle")
            drawing.box(x, y + 16, width, HEIGHT, kind)
            drawing.text(x + width / 2, y + 16 + HEIGHT / 2 + 4, weight, "middle")
            x, number = x + width, number - 1
        if isinstance(fmt, fl.FixedFormat) and number == fmt.fraction_bits - 1 and number >= 0:
            drawing.path(f"M{_n(x - 3)} {_n(y + 16 + HEIGHT)}a3 3 0 1 0 6 0a3 3 0 1 0-6 0", "point")


def _draw_packing(drawing: Drawing, bits: int, y: float) -> None:
    """How codes follow each other in bytes, until both end at the same bit."""
    total = math.lcm(bits, 8)
    scale = min(14.0, 560 / total)
    for row, (label, size) in enumerate((("codes", bits), ("bytes", 8))):
        drawing.text(0, y + row * 24 + 15, label, "faint")
        for i in range(total // size):
            x = 60 + i * size * scale
            drawing.box(x, y + row * 24, size * scale, 20, "plain" if i % 2 else "tint")
            drawing.text(x + size * scale / 2, y + row * 24 + 14, str(i), "middle")
    drawing.text(60, y + 62, "packed: from the least significant bit of each, at the left", "faint")


def _block_layout(fmt: fl.BlockFormat) -> Drawing:
    sizes = fmt.block_size if isinstance(fmt.block_size, tuple) else (1, fmt.block_size)
    rows, columns = sizes
    shape = f"{rows} × {columns}" if rows > 1 else str(columns)
    parts = [f"{shape} elements of {fmt.bits} bits", f"a scale of {fmt.scale.bits} bits"]
    if fmt.micro_size:
        parts.append(f"a bit for each {fmt.micro_size} elements")
    drawing = Drawing(
        f"A block of {fmt.name}: {', '.join(parts)}. Of the scale, from the top: "
        f"{', '.join(words for *_, words in fields(fmt.scale))}. Of an element: "
        f"{', '.join(words for *_, words in fields(fmt.element))}."
    )
    shown = min(columns, 32)  # of a longer row the first are drawn
    cell = 144 / shown if rows > 1 else min(24.0, 560 / shown)
    left = 0.5
    if fmt.tensor_scale:
        drawing.text(0, 11, "array", "faint")
        drawing.box(left, 16, 62, HEIGHT, "plain")
        drawing.text(left + 31, 35, "float32", "middle")
        left += 76
    drawing.text(left, 11, "scale", "faint")
    drawing.box(left, 16, 62, HEIGHT, "exponent")
    drawing.text(left + 31, 35, f"{fmt.scale.bits} bits", "middle")
    left += 76
    top = 16 if rows > 1 or not fmt.micro_size else 30
    what = f"{shape} elements of {fmt.bits} bits"
    if fmt.micro_size:
        what += f"; above each {fmt.micro_size}, one bit that halves their scale"
        for i in range(0, shown, fmt.micro_size):
            drawing.box(left + i * cell, 16, cell * fmt.micro_size, 10, "exponent")
    if shown < columns:
        what += ", the first of them"
    drawing.text(left, 11, what, "faint")
    for row in range(min(rows, 32)):
        for column in range(shown):
            kind = "plain" if row or column else "mantissa"
            tall = cell if rows > 1 else HEIGHT - 14 if fmt.micro_size else HEIGHT
            drawing.box(left + column * cell, top + row * cell, cell, tall, kind)
    y = drawing.height + 18
    for label, part in ((f"scale: {fmt.scale.name}", fmt.scale), ("element", fmt.element)):
        drawing.text(0, y + 11, label, "faint")
        _draw_bits(drawing, part, y + 16)
        y = drawing.height + 18
    if fmt.bits % 8:
        _draw_packing(drawing, fmt.bits, y)
    return drawing


# --- values ---------------------------------------------------------------------------------


def _element(fmt: Format) -> Elementwise:
    return fmt.element if isinstance(fmt, fl.BlockFormat) else fmt


def count_positive(fmt: Format) -> int:
    """How many positive finite values a format has, or an element of a block format."""
    element = _element(fmt)
    if isinstance(element, fl.FloatFormat):
        return element.max_code + (not element.subnormals)
    return element.max_integer


def positive_values(fmt: Format) -> np.ndarray:
    """The positive finite values in order; of a block format those under the scale 1."""
    element = _element(fmt)
    if isinstance(element, fl.FloatFormat):
        codes = np.arange(element.max_code + 1, dtype=element.code_dtype)
        found = fl.decode(codes, element, dtype=np.float64)
    else:
        found = np.arange(1, element.max_integer + 1) * 2.0**element.quantum_exponent
    found = found[found > 0]
    if isinstance(fmt, fl.BlockFormat) and fmt.micro_size:
        found = np.union1d(found, found / 2)
    return found


def precisions(fmt: Format) -> dict[int, int]:
    """Bits of the significands of the values from 2**e to below 2**(e+1), by e, without gaps.

    Two neighbours there are ``2**(e + 1 - bits)`` apart.
    """
    element = _element(fmt)
    quantum = element.quantum_exponent
    if isinstance(fmt, fl.BlockFormat) and fmt.micro_size:
        quantum -= 1
    last = math.frexp(element.max)[1] - 1
    return {e: min(element.precision, e - quantum + 1) for e in range(quantum, last + 1)}


class _Magnitudes:
    """Magnitudes from 2**low to 2**high along a drawing, on a logarithmic scale."""

    def __init__(self, low: int, high: int, left: float = 46, width: float = PLOT - 66) -> None:
        self.low, self.high, self.left, self.width = low, high, left, width

    def __call__(self, x: float) -> float:
        return self.left + (math.log2(x) - self.low) / (self.high - self.low) * self.width

    def draw(self, drawing: Drawing, y: float, up: float) -> None:
        """The axis, with lines up from its labels."""
        step = next(s for s in (1, 2, 4, 8, 16, 32, 64, 128) if (self.high - self.low) / s <= 12)
        for e in range(-(-self.low // step) * step, self.high + 1, step):
            x = _n(self(2.0**e))
            drawing.path(f"M{x} {_n(y)}V{_n(y - up)}", "grid")
            drawing.text(float(x), y + 15, cells.power(e), "faint middle")
        drawing.path(f"M{_n(self.left)} {_n(y)}h{_n(self.width)}", "axis")
        drawing.box(self.left + self.width + 19, y, 0, 0, "plain")  # room for the last label


def _draw_precisions(
    drawing: Drawing, bits: Mapping[int, int], along: _Magnitudes, y: float, unit: float
) -> None:
    """Steps above y, `unit` high for each bit, within the range of the axis."""
    inside = {e: b for e, b in bits.items() if along.low <= e < along.high}
    if not inside:
        return
    first, last = min(inside), max(inside)
    points = [f"M{_n(along(2.0**first))} {_n(y)}"]
    for e, count in inside.items():
        points.append(f"V{_n(y - count * unit)}H{_n(along(2.0 ** (e + 1)))}")
    drawing.path(f"{''.join(points)}V{_n(y)}", "steps")
    for e, sign in ((first, -1), (last, 1)):  # arrows where it goes on
        if e + sign in bits:
            x = along(2.0 ** (e + (sign > 0)))
            drawing.text(x + 3 * sign, y - 2, "→" if sign > 0 else "←", "" if sign > 0 else "end")


def values(fmt: Format) -> Drawing:
    """Precision and, if there are not too many, each positive value, against magnitude."""
    bits, rug = precisions(fmt), count_positive(fmt) <= MOST_TICKS
    fewest, most = min(bits.values()), max(bits.values())
    under = " under the scale 1" if isinstance(fmt, fl.BlockFormat) else ""
    drawing = Drawing(
        f"The positive values of {fmt.name}{under}, "
        f"on a logarithmic axis from {cells.power(min(bits))} to {cells.value(_element(fmt).max)}. "
        + (
            f"Significands have {_bits(most)} everywhere."
            if fewest == most
            else f"Significands have {_bits(most)} at most and {_bits(fewest)} at the lower end."
        )
    )
    along, unit = _Magnitudes(min(bits), max(bits) + 1), min(14.0, 110 / most)
    floor = most * unit + 14
    bottom = floor + (40 if rug else 8)
    along.draw(drawing, bottom, bottom - 10)
    _draw_precisions(drawing, bits, along, floor, unit)
    for count in sorted({1, most}):
        drawing.text(40, floor - count * unit + 9, _bits(count), "faint end")
    if rug:
        element, found = _element(fmt), positive_values(fmt)
        normal = 2.0**element.min_exponent if isinstance(element, fl.FloatFormat) else 0.0
        _draw_ticks(drawing, found[found < normal], along, floor + 8, "tick subnormal")
        _draw_ticks(drawing, found[found >= normal], along, floor + 8, "tick")
    return drawing


def _draw_ticks(
    drawing: Drawing, found: np.ndarray, along: _Magnitudes, y: float, kind: str
) -> None:
    """A tick below y for each value."""
    if found.size:
        drawing.path("".join(f"M{_n(along(x))} {_n(y)}v24" for x in found), kind)


def compare(formats: Mapping[str, Elementwise], link: str) -> Drawing:
    """Precision against magnitude, a row for each format; `link` is where their pages are."""
    bits = {name: precisions(fmt) for name, fmt in formats.items()}
    narrow = [row for row in bits.values() if len(row) <= 64]
    low, high = min(map(min, narrow)), max(map(max, narrow)) + 1
    drawing = Drawing(
        "Bits of significand against magnitude: "
        + "; ".join(
            f"{name}, up to {_bits(max(row.values()))}, from 2^{min(row)} to below 2^{max(row) + 1}"
            for name, row in bits.items()
        )
    )
    left, unit = 150.0, 4.0
    along = _Magnitudes(low, high, left, PLOT - left + 40)
    y = 10.0
    for name, row in bits.items():
        y += max(row.values()) * unit + 12
        drawing.text(left - 22, y, name, "end", f"{link}/{name}.html")
        _draw_precisions(drawing, row, along, y, unit)
    along.draw(drawing, y + 10, y)
    drawing.parts.sort(key=lambda part: 'class="grid"' not in part)  # lines behind the steps
    return drawing


# --- one tensor -----------------------------------------------------------------------------


def tensor(formats: Sequence[str], x: np.ndarray) -> Drawing:
    """What a tensor becomes: its magnitudes, the values of each format, bits and errors.

    Integers take a scale from the data.  Of a block format the values under the scale of the median
    block are drawn.
    """
    along = _Magnitudes(-16, 12, 220, 480)
    drawing = Drawing("")
    counts, edges = np.histogram(np.log2(np.abs(x[x != 0])), bins=np.arange(-16, 12.25, 0.25))
    top, floor = 10.0, 80.0
    points = "".join(
        f"V{_n(floor - height)}H{_n(along(2.0**edge))}"
        for height, edge in zip(counts / counts.max() * (floor - top), edges[1:], strict=True)
    )
    drawing.path(f"M{_n(along(2.0**-16))} {_n(floor)}{points}V{_n(floor)}Z", "data")
    for position, label in ((85, "format"), (135, "bits"), (200, "SQNR")):
        drawing.text(position, floor - 4, label, "faint end")
    told, y = [], floor + 8
    for name in formats:
        fmt = fl.get_format(name)
        scale = _typical_scale(fmt, x)
        bits, sqnr = f"{_bits_per_element(fmt):.4g}", _sqnr(fmt, x, scale)
        drawing.text(85, y + 16, name, "end", f"_generated/formats/{fmt.name}.html")
        drawing.text(135, y + 16, bits, "end")
        drawing.text(200, y + 16, f"{sqnr:.1f} dB", "end")
        found = positive_values(fmt) * scale
        inside = found[(found >= 2.0**along.low) & (found <= 2.0**along.high)]
        if fmt.precision < 8 or isinstance(fmt, fl.IntegerFormat):
            _draw_ticks(drawing, inside, along, y, "tick")
        else:  # too close to draw
            drawing.box(along(inside[0]), y, along(inside[-1]) - along(inside[0]), 24, "band")
        told.append(f"{name}, {bits} bits: {sqnr:.1f} dB")
        y += 30
    along.draw(drawing, y + 4, y - top)
    drawing.parts.sort(key=lambda part: 'class="grid"' not in part)
    drawing.description = (
        "A histogram of the magnitudes of a tensor of normal numbers, above the positive values of "
        "some formats on the same logarithmic axis. Signal to quantisation noise: "
        f"{'; '.join(told)}."
    )
    return drawing


def _typical_scale(fmt: Format, x: np.ndarray) -> float:
    """The scale that an integer format takes, or that of the median block."""
    if isinstance(fmt, fl.IntegerFormat):
        return float(fl.calibrate(x, fmt, "max").scale)
    if isinstance(fmt, fl.BlockFormat):
        blocks = fl.encode(x, fmt)
        scales = fl.decode(blocks.scales, fmt.scale) * (blocks.tensor_scale or 1)
        return float(np.median(scales))
    return 1.0


def _bits_per_element(fmt: Format) -> float:
    if not isinstance(fmt, fl.BlockFormat):
        return fmt.bits
    return fmt.bits + fmt.scale_bits / np.prod(fmt.block_size)


def _sqnr(fmt: Format, x: np.ndarray, scale: float) -> float:
    """Signal to quantisation noise in decibels."""
    scaled = {"scale": scale} if isinstance(fmt, fl.IntegerFormat) else {}
    errors = fl.error_statistics(x, fmt, **scaled)
    return 10 * math.log10(np.sum(errors.sum_squares) / np.sum(errors.sum_squared_errors))
