"""fl.show: every code of a format, its bits, its exact value and its class."""

from fractions import Fraction

import numpy as np
import pytest
from cases import BLOCK_NAMES, ELEMENTWISE_NAMES
from hypothesis import given
from hypothesis import strategies as st

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import FORMATS, FixedFormat
from fmtlib.listing import exact_text

SMALL_NAMES = [name for name in ELEMENTWISE_NAMES if FORMATS[name].bits <= 8]


def parsed(text):
    """The value that the text of a listing stands for."""
    factor, power, exponent = text.partition("2^")
    if not power:
        return Fraction(text) if "n" not in text else float(text)
    factor = {"": 1, "-": -1}.get(factor) or int(factor.removesuffix("*"))
    return factor * Fraction(2) ** int(exponent)


def check_rows(rows, name):
    fmt = FORMATS[name]
    for row in rows:
        pattern = int(row["hex"], 16)
        assert pattern == int(row["bits"].replace(" ", ""), 2) == row["code"] % 2**fmt.bits
        assert len(row["bits"].replace(" ", "")) == fmt.bits
        value = reference.decode(row["code"], fmt)
        assert row["value"] == float(value) or (value != value and row["value"] != row["value"])
        assert str(row["exact"]) == exact_text(value)
        assert parsed(row["exact"]) == value or value != value
        assert row["class"] == fl.classify(np.array(row["code"], fmt.code_dtype), fmt)


@pytest.mark.parametrize("name", SMALL_NAMES)
def test_every_code(name):
    fmt = FORMATS[name]
    rows = fl.show(name).to_records()
    symmetric = getattr(fmt, "symmetric", False)
    assert len({row["hex"] for row in rows}) == len(rows) == 2**fmt.bits - symmetric
    check_rows(rows, name)
    text = str(fl.show(name)).splitlines()
    assert text[0].startswith(f"{name}: {fmt.bits} bits")
    shown = [line.split() for line in text[-len(rows) :]]
    assert [line[0] for line in shown] == [str(row["code"]) for row in rows]
    assert [line[-2:] for line in shown] == [[row["exact"], row["class"]] for row in rows]


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE_NAMES if name not in SMALL_NAMES])
def test_wide_formats(name):
    bits = FORMATS[name].bits
    text = str(fl.show(name))
    assert "codes left out: give start and stop" in text
    assert len(text.splitlines()) < 50
    rows = fl.show(name, 2**bits - 300).to_records()
    assert len(rows) == 300
    check_rows(rows, name)
    assert len(str(fl.show(name, 2**bits - 300)).splitlines()) > 300
    if bits > 20:
        with pytest.raises(ValueError, match="too many"):
            fl.show(name).to_records()


@pytest.mark.parametrize("name", BLOCK_NAMES)
def test_block_formats(name):
    fmt = FORMATS[name]
    text = str(fl.show(name))
    assert text.startswith(f"{name}: blocks of")
    for fact in (fmt.element.name, fmt.scale.name, fmt.scale_rule, "bits per element"):
        assert fact in text
    rows = fl.show(name, 0, 2**fmt.bits).to_records()
    assert [row["code"] for row in rows] == list(range(2**fmt.bits))


def test_the_codes_of_an_element_are_those_of_its_blocks():
    fmt = fl.bfp(4, block_size=32)
    one = fmt.scale.bias  # the code of scale 1
    b = fl.BlockArray(np.arange(32, dtype=np.uint8), np.uint8([one]), fmt, 0)
    rows = fl.show(fmt).to_records()
    values = fl.decode(b)
    assert [row["value"] for row in rows] == values.tolist()
    assert [str(row["value"])[0] == "-" for row in rows] == np.signbit(values).tolist()
    assert "5.25 bits per element" in str(fl.show(fmt))


def test_known_rows():
    assert fl.show("e4m3").to_records()[0x7E] == {
        "code": 126,
        "hex": "7E",
        "bits": "0 1111 110",
        "value": 448.0,
        "exact": "448",
        "class": "normal",
    }
    assert fl.show("int8").to_records()[0xFF - 1]["code"] == -1  # 80 is no code
    assert fl.show(FixedFormat(3, 4), 0x81, 0x82).to_records()[0]["bits"] == "1 000 0001"


def test_html():
    table = fl.show("e2m1")._repr_html_()
    assert table.count("<tr>") == 17
    assert "<td>0 11 1</td>" in table
    assert "left out" in fl.show("bfloat16")._repr_html_()


@pytest.mark.parametrize(
    ("start", "stop", "error", "match"),
    [
        (3, 2, ValueError, "must not be beyond"),
        (-1, None, ValueError, "start must be from 0 to 256"),
        (0, 257, ValueError, "stop must be from 0 to 256"),
        (0.5, None, TypeError, "start must be an integer"),
    ],
)
def test_wrong_slices(start, stop, error, match):
    with pytest.raises(error, match=match):
        fl.show("e4m3", start, stop)
    assert fl.show("e4m3", 7, 7).to_records() == []
    assert str(fl.show("e4m3", 7, 7)).endswith("class")


@given(st.integers(-(2**40), 2**40), st.integers(-140, 140))
def test_texts_are_exact(k, exponent):
    value = k * Fraction(2) ** exponent
    assert parsed(exact_text(value)) == value
