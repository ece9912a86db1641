"""The documentation's tables and lists hold every format, mode and public name."""

import importlib
import re
import subprocess
import sys

import cells
import generate
import numpy as np
import pytest

import fmtlib as fl
from fmtlib.accumulators import PRESETS
from fmtlib.formats import ALIASES, FORMATS, ROUNDINGS, STOCHASTIC

TABLES = {
    fl.FloatFormat: generate.float_table,
    fl.FixedFormat: generate.fixed_table,
    fl.IntegerFormat: generate.integer_table,
    fl.BlockFormat: generate.block_table,
}


def rows(table):
    """The cells of a table's rows below its head."""
    head, rule, *lines = (line.strip("| ").split(" | ") for line in table.splitlines())
    assert len(rule) == len(head)
    return [[cell.strip() for cell in line] for line in lines]


@pytest.mark.parametrize("kind", TABLES)
def test_every_format_has_a_row(kind):
    found = [re.findall(r"`(\w+)`", row[0]) for row in rows(TABLES[kind]())]
    names = [name for name, fmt in FORMATS.items() if isinstance(fmt, kind)]
    assert [cell[0] for cell in found] == names
    for name, *aliases in found:
        assert aliases == [alias for alias, meant in ALIASES.items() if meant == name]


def test_facts_of_floats():
    facts = {row[0].split("`")[1]: row[1:] for row in rows(generate.float_table())}
    assert facts["float8_e4m3fn"] == [
        "8", "4, 3", "7", "448", "2⁻⁶", "2⁻⁹", "–", "7F, FF", "80",
    ]  # fmt: skip
    assert facts["float8_e5m2"][6:9] == ["7C, FC", "7D–7F, FD–FF", "80"]
    assert facts["bfloat16"][3] == "255 × 2¹²⁰"


def test_new_rows_appear_by_themselves(monkeypatch):
    new = {
        "my_float": fl.FloatFormat(3, 2),
        "my_fixed": fl.FixedFormat(1, 2),
        "my_integer": fl.IntegerFormat(5),
        "my_block": fl.bfp(6, 5, (3, 7), carry="bump", nonfinite="raise"),
    }
    monkeypatch.setattr(generate, "FORMATS", {**FORMATS, **new})
    pages = generate.pages()
    for name, table in zip(new, TABLES.values(), strict=True):
        assert f"`{name}`" in rows(table())[-1][0]
        assert f"\n_generated/formats/{name}\n" in pages["format_pages.inc"]
        page = pages[f"formats/{name}.md"]
        assert page.count("<svg") == 2
        assert f"{new[name].bits} bits" in page
    assert rows(generate.block_table())[-1][3:6] == ["3 × 7", "floor", "carry bumps; NaN raises"]


def test_every_rounding_has_an_example():
    found = rows(generate.rounding_table())
    names = [f"`{name}`" for name in ROUNDINGS if name not in STOCHASTIC]
    assert [row[0] for row in found] == names
    assert len({tuple(row) for row in found}) == len({tuple(row[1:]) for row in found})


def test_every_overflow_has_an_example():
    for name in generate.OVERFLOW_EXAMPLES:
        assert name in generate.overflow_table()
        modes = set(fl.get_format(name).overflows)
        assert modes <= set(re.findall(r"`(\w+)`", generate.overflow_table()))


def test_scales():
    up = next(row for row in rows(generate.scale_table()) if row[0] == "`up`")
    assert up[2:6] == ["2", "2", "4", "8"]
    floor = rows(generate.scale_rule_table().partition("\n\n")[0])[0]
    assert floor == ["`floor`", "1 → 256", "1 → 448", "1 → 448", "1 → 448", "1 → 448", "2 → 512"]


def test_every_accumulator_has_a_row():
    found = [row[:2] for row in rows(generate.accumulator_table())]
    assert found == [[f"`{name}`", family] for name in PRESETS for family in PRESETS[name]]


def test_every_public_name_is_listed():
    page = generate.api_page()
    package, *_ = page.split(".. currentmodule:: fmtlib.")
    listed = re.findall(r"^   (\w+)$", package, re.MULTILINE)
    assert sorted(listed) == sorted(fl.__all__)
    for name in generate.MODULES:
        _, _, section = page.partition(f".. currentmodule:: {name}\n")
        names = re.findall(r"^   (\w+)$", section.partition(".. currentmodule")[0], re.MULTILINE)
        assert names
        assert all(hasattr(importlib.import_module(name), public) for public in names)


def test_completion_offers_what_is_public():
    code = "import fmtlib; print(*dir(fmtlib)); import fmtlib.training; print(*dir(fmtlib))"
    shown = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True)
    before, after = (set(line.split()) for line in shown.stdout.splitlines())
    assert before == {*fl.__all__, "__version__", "reference"}
    assert after >= before | {"training"}


@pytest.mark.parametrize(
    ("value", "text"),
    [(448.0, "448"), (2.0**127, "2¹²⁷"), (-0.0, "−0"), (-1.5, "−1.5"), (np.inf, "∞"),
     (np.nan, "NaN"), (3 * 2.0**-40, "3 × 2⁻⁴⁰")],
)  # fmt: skip
def test_values_are_exact(value, text):
    assert cells.value(value) == text


def test_writing_replaces_the_folder(tmp_path):
    folder = tmp_path / "generated"
    (folder / "formats").mkdir(parents=True)
    (folder / "formats" / "gone.md").touch()
    generate.write(folder)
    written = {
        str(path.relative_to(folder)): path.read_text("utf-8")
        for path in folder.rglob("*")
        if path.is_file()
    }
    assert written == generate.pages()  # the same bytes each time
