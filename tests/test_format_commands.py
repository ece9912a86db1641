"""``fmtlib formats`` and ``fmtlib show``: what is drawn is what the format is."""

import json
import math
from fractions import Fraction
from itertools import pairwise
from operator import itemgetter

import numpy as np
import pytest
from cases import ELEMENTWISE_NAMES
from rich.console import Console

import fmtlib as fl
from fmtlib import cli, drawing, reference
from fmtlib.formats import ALIASES, ROUNDINGS, STOCHASTIC

SMALL = [name for name in fl.formats() if fl.get_format(name).bits <= 8]


def text_of(table, width=200):
    console = Console(width=width, color_system=None)
    with console.capture() as captured:
        console.print(table)
    return captured.get()


def number(text):
    """What a cell means."""
    if text in ("nan", "inf", "-inf", "-0"):
        return float(text)
    factor, _, power = text.partition("2^") if "2^" in text else (text, "", "0")
    factor = factor.rstrip("*")
    return float(Fraction({"": "1", "-": "-1"}.get(factor, factor)) * Fraction(2) ** int(power))


def test_formats(command):
    names = [line.split()[0] for line in command("formats").splitlines()[1:]]
    assert names == list(fl.formats())
    records = json.loads(command("formats", "--json"))
    assert [one["name"] for one in records] == list(fl.formats())
    for one in records:
        fmt = fl.get_format(one["name"])
        assert (one["bits"], one["greatest_value"]) == (fmt.bits, fmt.max)
        assert 2.0 ** one["step_exponent"] == 2.0**fmt.quantum_exponent
        assert all(ALIASES[alias] == one["name"] for alias in one["aliases"])
    by_name = {one["name"]: one for one in records}
    assert by_name["mxfp4_e2m1"]["bits_per_element"] == 4.25
    assert by_name["float8_e4m3fn"]["kind"] == "float"


@pytest.mark.parametrize("name", SMALL)
@pytest.mark.parametrize("width", [80, 200])
def test_every_cell_is_the_value_of_its_code(name, width):
    fmt = fl.get_format(name)
    head, *rows = text_of(drawing.code_table(fmt, width), width).splitlines()
    columns = [int(cell.removeprefix("+"), 16) for cell in head.split()]
    assert len(head) <= width
    shown = {}
    for row in rows:
        first, *cells = row.split()
        shown |= {int(first, 16) + c: v for c, v in zip(columns, cells, strict=True)}
    assert list(shown) == list(range(2**fmt.bits))
    listed = {int(one["hex"], 16): one for one in fl.show(fmt).to_records()}
    for code, cell in shown.items():
        if code not in listed:
            assert cell == "–"
            continue
        np.testing.assert_array_equal(number(cell), listed[code]["value"])
        if listed[code]["value"] == 0:
            assert cell == listed[code]["exact"]  # 0 or -0


def test_classes_have_colours():
    console = Console(width=200, color_system="standard", force_terminal=True)
    with console.capture() as captured:
        console.print(drawing.code_table(fl.get_format("e5m2"), 200))
    for style in ("\x1b[36m", "\x1b[35m", "\x1b[31m"):  # subnormals, infinities, NaN
        assert style in captured.get()


@pytest.mark.parametrize("name", [n for n in ELEMENTWISE_NAMES if fl.get_format(n).bits < 20])
def test_ranges_are_those_of_all_codes(name):
    fmt = fl.get_format(name)
    found = drawing.ranges(fmt)
    assert sum(one["codes"] for one in found) == 2**fmt.bits
    patterns = np.arange(2**fmt.bits)
    codes = patterns.astype(f"u{np.dtype(fmt.code_dtype).itemsize}")
    if not isinstance(fmt, fl.FloatFormat) and fmt.signed:
        codes = codes - ((patterns >> (fmt.bits - 1)) << fmt.bits)
        used = codes >= fmt.min_integer
        inside = np.where(used, codes, 0).astype(fmt.code_dtype)
        kinds = np.where(used, fl.classify(inside, fmt), "unused")
    else:
        kinds = fl.classify(codes.astype(fmt.code_dtype), fmt)
    for one in found:
        first, last = int(one["first"], 16), int(one["last"], 16)
        assert set(kinds[first : last + 1]) == {one["class"]}
        assert last - first + 1 == one["codes"]
        if getattr(fmt, "signed", False):
            assert first >> (fmt.bits - 1) == last >> (fmt.bits - 1)  # one sign
        for code, said in ((first, one["from"]), (last, one["to"])):
            if one["class"] not in ("unused", "nan"):
                value = fl.decode(codes[code].astype(fmt.code_dtype), fmt)
                assert number(said) == value
    for before, after in pairwise(found):
        same_half = int(after["first"], 16) != 2 ** (fmt.bits - 1)
        assert before["class"] != after["class"] or not same_half


NUMBERS = (
    "0.3", "-0.3", "1/3", "3", "0x1.8p-3", "1000", "-1000", "0", "-0", "1e-9", "1e9", "inf", "nan",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", ["e4m3", "e5m2", "e4m3fnuz", "e8m0", "int8", "uint4", "fixed_sm1_2"]
)
def test_a_number_under_every_rounding_and_overflow(name):
    fmt = fl.get_format(name)
    records = fl.show(fmt).to_records()
    for text in NUMBERS:
        found = drawing.round_value(fmt, text)
        value = drawing._number(text)
        for one in found["roundings"]:
            code = reference.encode(value, fmt, one["rounding"])
            assert int(one["hex"], 16) == code % 2**fmt.bits
            result = reference.decode(code, fmt)
            if one["error"] is not None:
                assert one["error"] == float(Fraction(result) - Fraction(value))
        names = [name for name in ROUNDINGS if name not in STOCHASTIC]
        assert [one["rounding"] for one in found["roundings"]] == names
        assert [one["overflow"] for one in found["overflows"]] == list(fmt.overflows)
        if math.isfinite(value):
            around = [v for v in map(itemgetter("value"), records) if math.isfinite(v)]
            below = max((v for v in around if v <= value), default=None)
            above = min((v for v in around if v >= value), default=None)
            assert (found["below"] or {}).get("value") == below
            assert (found["above"] or {}).get("value") == above
        if found["below"] and found["above"]:
            low, high = (Fraction(found[end]["value"]) for end in ("below", "above"))
            chance = (Fraction(value) - low) / (high - low) if high > low else 0
            assert found["probability_above"] == float(chance)


@pytest.mark.parametrize("name", ["e2m1", "e4m3", "e8m0", "int4", "int8_full", "fixed_s3_4"])
def test_neighbours_of_every_code(name):
    fmt = fl.get_format(name)
    listed = fl.show(fmt).to_records()
    finite = sorted({one["value"] for one in listed if math.isfinite(one["value"])})
    for one in listed:
        found = drawing.look_up(fmt, int(one["hex"], 16))
        if not math.isfinite(one["value"]):
            assert found["below"] is found["above"] is None
            continue
        place = finite.index(one["value"])
        below = finite[place - 1] if place else None
        above = finite[place + 1] if place + 1 < len(finite) else None
        assert (found["below"] or {}).get("value") == below
        assert (found["above"] or {}).get("value") == above


def test_show(command):
    whole = command("show", "e4m3")
    for part in ("4 exponent (bias 7), 3 mantissa", "│   eeee   │", "08–7E", "3*2^-9", "448"):
        assert part in whole
    assert "+F" not in command("show", "bfloat16")  # no table of 65,536 codes
    assert "7F81–7FFF" in command("show", "bfloat16")
    block = command("show", "mxfp4_e2m1")
    for part in ("float8_e8m0fnu", "element 32", "4.25 bits per element"):
        assert part in block
    micro = command("show", "smx6")
    assert "micro-exponents" in micro
    assert "tensor's scale" in command("show", "nvfp4")


def test_codes_are_listed(command):
    assert command("show", "e4m3", "--list") == f"{fl.show('e4m3')}\n"
    assert command("show", "bfloat16", "--list") == f"{fl.show('bfloat16')}\n"
    part = command("show", "bfloat16", "--start", "0x7f7f", "--stop", "0x7f81")
    assert part == f"{fl.show('bfloat16', 0x7F7F, 0x7F81)}\n"


def test_one_code_and_one_value(command):
    shown = command("show", "e4m3", "--code", "0x7e")
    assert "7D    0 1111 101   416" in shown
    assert "above" not in shown
    assert "nan" in command("show", "e4m3", "--code", "127")
    shown = command("show", "e4m3", "--value", "0.3")
    for part in ("0.3125", "0.28125", "to_odd", "0.0125", "above with p = 0.6"):
        assert part in shown
    assert "nonsaturating" not in shown  # nothing overflows
    assert "OverflowError" in command("show", "e4m3", "--value", "-1e9")
    assert command("show", "e4m3", "--value", "nan").count("hex") == 1  # no table of neighbours


def test_json(command):
    whole = json.loads(command("show", "e4m3", "--json"))
    assert list(whole) == ["format", "ranges", "codes"]
    assert whole["format"]["exponent_bits"] == 4
    assert whole["codes"][0x7E]["exact"] == "448"
    assert whole["codes"][0x7F]["value"] is None
    assert list(json.loads(command("show", "bfloat16", "--json"))) == ["format", "ranges"]
    listed = json.loads(command("show", "bfloat16", "--json", "--start", "1", "--stop", "3"))
    assert [one["hex"] for one in listed["codes"]] == ["0001", "0002"]
    code = json.loads(command("show", "int8", "--code", "0xff", "--json"))["code"]
    assert (code["code"], code["below"]["code"], code["above"]["code"]) == (-1, -2, 0)
    value = json.loads(command("show", "uint4", "--value", "17", "--json"))["value"]
    assert {one["overflow"]: one.get("exact", "raises") for one in value["overflows"]} == {
        "saturate": "15", "wrap": "1", "raise": "raises",
    }  # fmt: skip
    assert json.loads(command("show", "mxfp4_e2m1", "--json"))["format"]["block_size"] == 32


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["e4m9"], "unknown format 'e4m9'"),
        (["e4m3", "--stop", "257"], "stop must be from 0 to 256"),
        (["int8", "--code", "0x80"], "0x80 is no code of int8"),
        (["e4m3", "--code", "256"], "256"),
        (["e4m3", "--value", "many"], "a value is a number such as"),
        (["e4m3", "--value", "abc"], "a value is a number such as"),
        (["mxfp4_e2m1", "--value", "1"], "its elements are float4_e2m1fn"),
    ],
)
def test_errors(arguments, message, capsys):
    assert cli.main(["show", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("fmtlib: error: ")
    assert message in error
