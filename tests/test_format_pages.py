"""The pages of the formats say and draw what the reference computes."""

import itertools
import math
import re
import xml.etree.ElementTree as ET
from fractions import Fraction

import cells
import check_links
import drawings
import format_pages
import numpy as np
import pytest

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import ALIASES, FORMATS, SOURCES

ELEMENTWISE = {n: f for n, f in FORMATS.items() if not isinstance(f, fl.BlockFormat)}
# The elements and scales of blocks have their codes on the page, too.
PARTS = {
    part.name: part
    for fmt in FORMATS.values()
    if isinstance(fmt, fl.BlockFormat)
    for part in (fmt.element, fmt.scale)
}
SMALL = {name: fmt for name, fmt in {**PARTS, **ELEMENTWISE}.items() if fmt.bits <= 10}
SUPERSCRIPTS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def number(text):
    """A number as pages write it, exactly."""
    text = text.split(" ≈ ")[0].replace("−", "-").replace(",", "")
    match = re.fullmatch(r"(?:(-?\d+) × )?(-?)2([⁻⁰¹²³⁴⁵⁶⁷⁸⁹]+)", text)
    if not match:
        return Fraction(text)
    sign = -1 if match[2] else 1
    return sign * int(match[1] or 1) * Fraction(2) ** int(match[3].translate(SUPERSCRIPTS))


def decode(pattern, fmt):
    """What a bit pattern means by the reference."""
    wraps = np.issubdtype(fmt.code_dtype, np.signedinteger) and pattern >> (fmt.bits - 1)
    return reference.decode(pattern - (wraps and 1 << fmt.bits), fmt)


def patterns(fmt):
    """The bit patterns that are codes."""
    left_out = isinstance(fmt, fl.IntegerFormat) and fmt.symmetric
    return [p for p in range(2**fmt.bits) if not (left_out and p == 1 << (fmt.bits - 1))]


def values(fmt):
    """The finite values of a format in order, by the reference."""
    decoded = (decode(pattern, fmt) for pattern in patterns(fmt))
    return sorted({value for value in decoded if isinstance(value, Fraction)})


def svg(drawing):
    return ET.fromstring(str(drawing))


def test_the_reader_of_numbers():
    assert number("−3 × 2⁻¹²") == -Fraction(3, 4096)
    assert number("2¹²⁷") == 2**127
    assert number("0.25") == Fraction(1, 4)


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_has_a_page(name):
    page = format_pages.page(name, FORMATS[name])
    assert page.startswith(f"# {name}\n")
    assert SOURCES[name] in page
    for alias, meant in ALIASES.items():
        assert (f"`{alias}`" in page.split("##")[0]) == (meant == name)
    for text in re.findall("<svg.*?</svg>", page):
        assert ET.fromstring(text).get("aria-label")
    assert ("Every code" in page) == (name in ELEMENTWISE and FORMATS[name].bits <= 8)


@pytest.mark.parametrize("name", FORMATS)
def test_the_record_on_the_page_makes_the_format(name):
    assert eval(format_pages.record(FORMATS[name]), vars(fl)) == FORMATS[name]


@pytest.mark.parametrize("name", [n for n, f in ELEMENTWISE.items() if f.bits <= 8])
def test_every_code_is_listed(name):
    page = format_pages.page(name, FORMATS[name])
    shown = re.findall(r"^-?\d+ +([0-9A-F]+)  .*$", page, re.MULTILINE)
    assert [int(pattern, 16) for pattern in shown] == patterns(FORMATS[name])


@pytest.mark.parametrize("name", SMALL)
def test_limits_are_those_of_the_reference(name):
    fmt = SMALL[name]
    told, known = dict(format_pages.limits(fmt)), values(fmt)
    positive = [value for value in known if value > 0]
    assert number(told["greatest"]) == known[-1]
    assert int(told["distinct finite values"].replace(",", "")) == len(known)
    binades = math.log2(positive[-1]) - math.log2(positive[0])
    assert told["dynamic range, greatest ÷ least positive"].startswith(f"{binades:.1f} binades")
    if not isinstance(fmt, fl.FloatFormat):
        assert number(told["least"]) == known[0]
        assert number(told["step"]) == known[1] - known[0]


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if isinstance(f, fl.FloatFormat)])
def test_limits_are_those_of_finfo(name):
    told, facts = dict(format_pages.limits(FORMATS[name])), fl.finfo(name)
    assert number(told["greatest"]) == facts.max
    assert number(told["least normal"]) == facts.smallest_normal
    assert number(told["epsilon, from 1 to the next"]) == facts.eps
    assert int(told["bits of significand"]) == facts.nmant + 1
    if facts.has_subnormals:
        assert number(told["least subnormal"]) == facts.smallest_subnormal
    else:
        assert told["least subnormal"] == "–"


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if n not in ELEMENTWISE])
def test_limits_of_blocks(name):
    fmt = FORMATS[name]
    element, scale = fmt.element, fmt.scale
    told = dict(format_pages.limits(fmt))
    axis = (0, 1) if isinstance(fmt.block_size, tuple) else None
    packed = fl.encode(np.ones((96, 96), np.float32), fmt, axis=axis)  # whole blocks
    bits = 8 * (packed.nbytes - 4 * fmt.tensor_scale) / packed.codes.size
    assert float(told["bits per element, the scale counted"]) == pytest.approx(bits, rel=1e-6)
    is_float = isinstance(element, fl.FloatFormat)
    greatest = decode(element.max_code if is_float else element.max_integer, element)
    assert number(told["greatest element"]) == greatest
    assert number(told["least positive element"]) == decode(1, element)
    assert number(told["greatest value in any block"]) == greatest * decode(scale.max_code, scale)
    least = decode(1, element) * decode(int(scale.subnormals), scale)
    assert number(told["least positive value in any block"]) == least


@pytest.mark.parametrize("name", {**PARTS, **ELEMENTWISE})
def test_codes_mean_what_the_page_says(name):
    fmt = {**PARTS, **ELEMENTWISE}[name]
    seen = set()
    for what, shown, value in format_pages.landmarks(fmt):
        if "–" in (shown, value) or what == "NaN":
            continue
        decoded = decode(int(shown, 16), fmt)
        assert cells.value(float(decoded)) == value, what
        seen.add(what)
        if what == "one":
            assert decoded == 1
        if what == "greatest":
            assert decoded == fmt.max
    assert {"greatest"} < seen


@pytest.mark.parametrize("name", ["float8_e5m2", "float8_e4m3fnuz", "float6_e3m2fn", "binary8p1uf"])
def test_nan_codes(name):
    fmt = FORMATS[name]
    nan = [code for code in range(2**fmt.bits) if math.isnan(float(reference.decode(code, fmt)))]
    assert format_pages.nan_codes(fmt).tolist() == nan


@pytest.mark.parametrize("name", SMALL)
def test_neighbours_are_as_far_apart_as_drawn(name):
    fmt = SMALL[name]
    known = [value for value in values(fmt) if value > 0]
    bits = drawings.precisions(fmt)
    assert min(bits) == math.log2(known[0])
    assert 2.0 ** max(bits) <= known[-1] < 2.0 ** (max(bits) + 1)
    for value, following in itertools.pairwise(known):
        e = math.floor(math.log2(value))
        assert following - value == Fraction(2) ** (e + 1 - bits[e])


@pytest.mark.parametrize("name", FORMATS)
def test_every_value_is_drawn(name):
    fmt = FORMATS[name]
    ticks = [p for p in svg(drawings.values(fmt)).iter("path") if "tick" in p.get("class")]
    found = sorted(float(x) for path in ticks for x in re.findall(r"M([\d.]+) ", path.get("d")))
    if drawings.count_positive(fmt) > drawings.MOST_TICKS:
        assert not found
        return
    element = fmt.element if isinstance(fmt, fl.BlockFormat) else fmt
    known = {float(value) for value in values(element) if value > 0}
    if isinstance(fmt, fl.BlockFormat) and fmt.micro_size:
        known |= {value / 2 for value in known}
    assert len(found) == len(known)
    logs = np.log2(sorted(known))
    np.testing.assert_allclose(np.interp(logs, logs[[0, -1]], np.array(found)[[0, -1]]), found,
                               atol=0.02)  # fmt: skip


@pytest.mark.parametrize("name", ELEMENTWISE)
def test_every_bit_is_drawn(name):
    fmt = FORMATS[name]
    boxes = [box.get("class") for box in svg(drawings.layout(fmt)).iter("rect")]
    drawn = [kind for kind in boxes if kind in ("sign", "exponent", "mantissa")]
    assert len(drawn) == fmt.bits
    if isinstance(fmt, fl.FloatFormat):
        fields = ["sign"] * fmt.signed + ["exponent"] * fmt.exponent_bits
        assert drawn == fields + ["mantissa"] * fmt.mantissa_bits


@pytest.mark.parametrize("name", [n for n, f in FORMATS.items() if n not in ELEMENTWISE])
def test_every_element_is_drawn(name):
    fmt = FORMATS[name]
    drawing = str(drawings.layout(fmt))
    packing = 0
    if fmt.bits % 8:
        period = math.lcm(fmt.bits, 8)
        packing = period // 8 + period // fmt.bits
    micro = fmt.block_size // fmt.micro_size if fmt.micro_size else 0
    boxes = drawing.count("<rect")
    bits = fmt.scale.bits + fmt.element.bits
    assert boxes == np.prod(fmt.block_size) + micro + bits + 1 + fmt.tensor_scale + packing


def weight(text):
    return {"½": Fraction(1, 2), "¼": Fraction(1, 4), "⅛": Fraction(1, 8)}.get(text) or number(text)


@pytest.mark.parametrize("name", {**PARTS, **ELEMENTWISE})
def test_bits_weigh_what_is_written_in_them(name):
    fmt = {**PARTS, **ELEMENTWISE}[name]
    fields = drawings.fields(fmt)
    rng = np.random.default_rng(0)
    for code in rng.integers(0, 2**fmt.bits, 50).tolist():
        bits = iter(f"{code:0{fmt.bits}b}")
        sums, negative = {}, False
        for kind, weights, _ in fields:
            for text in weights:
                bit = int(next(bits))
                if text == "±":
                    negative = bool(bit)
                else:
                    sums[kind] = sums.get(kind, 0) + bit * weight(text)
        if isinstance(fmt, fl.FloatFormat):
            e, fraction = sums["exponent"], sums.get("mantissa", 0)
            normal = e > 0 or not fmt.subnormals
            value = (fraction + normal) * Fraction(2) ** int(e - fmt.bias + (not normal))
        else:
            value = sum(sums.values())
        if negative:
            value = -value
        expected = decode(code, fmt)
        if isinstance(expected, Fraction):
            assert value == expected


def test_the_comparison_has_every_format_of_eight_bits():
    eight = {name: fmt for name, fmt in ELEMENTWISE.items() if fmt.bits == 8}
    drawing = svg(drawings.compare(eight, "there"))
    links = [a.get("href") for a in drawing.iter("a")]
    assert links == [f"there/{name}.html" for name in eight]
    assert len([path for path in drawing.iter("path") if path.get("class") == "steps"]) == len(
        eight
    )


def test_the_picture_of_a_tensor_tells_its_errors():
    x = np.random.default_rng(1).standard_normal(4096, dtype=np.float32)
    description = drawings.tensor(["e4m3", "nvfp4"], x).description
    for name, bits in (("e4m3", 8), ("nvfp4", 4.5)):
        noise = np.sum((x - fl.quantize(x, name)) ** 2, dtype=np.float64)
        sqnr = 10 * np.log10(np.sum(x.astype(np.float64) ** 2) / noise)
        assert f"{name}, {bits} bits: {sqnr:.1f} dB" in description


def test_broken_links_are_found(tmp_path):
    (tmp_path / "sub").mkdir()
    (tmp_path / "index.html").write_text(
        '<a href="sub/page.html#here">fine</a><a href="sub/page.html#gone">no id</a>'
        '<img src="none.svg"><a href="https://example.org/x">elsewhere</a><a href="../up.html">'
        '<a href="sub/?v=1#%C3%BC">fine</a><p id="top"></p><a href="#top"></a><a href="#">'
    )
    (tmp_path / "sub" / "page.html").write_text('<h1 id="here"></h1>')
    (tmp_path / "sub" / "index.html").write_text('<h1 id="ü"></h1>')
    assert check_links.broken(tmp_path) == [
        "index.html:1: sub/page.html#gone: no such id in sub/page.html",
        "index.html:1: none.svg: no such file",
        "index.html:1: ../up.html: is outside the site",
    ]
