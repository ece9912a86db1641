"""Reports: figures that add up, files that come back, pages that are safe."""

import base64
import csv
import json
import math
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fmtlib.hardware import (
    Energy,
    Layer,
    Memory,
    Report,
    Shape,
    count,
    design_names,
    geometric_mean,
    headlines,
)

EVIL = "<script>alert(1)</script>&\"'|$x$`*"
MEMORY = Memory(dram_megabytes_per_second=800)
ENERGY = Energy(table="estimates_45nm", missing="omit")


def network(seed, size=6):
    random = np.random.default_rng(seed)
    x = np.maximum(random.integers(-900, 900, (1, 20, size, size)), 0)
    return [
        Layer.conv(x, random.integers(-99, 99, (20, 20, 3, 3)), name=EVIL),
        Layer.conv(x, random.integers(-9, 99, (20, 1, 3, 3)), groups=20, name="depthwise"),
        Layer.linear(x.reshape(1, -1), random.integers(-99, 99, (9, x.size)), name="fc"),
    ]


def counted(seed=1, designs=("dadiannao", "stripes", "dynamic_stripes", "pragmatic"), **options):
    return count(network(seed), designs, memory=MEMORY, energy=ENERGY, **options)


@pytest.fixture(scope="module")
def report():
    return Report.of({"one": counted(1), EVIL: counted(2)})


# --- figures --------------------------------------------------------------------------------------


def test_geometric_means_by_hand(report):
    assert report.networks == ["one", EVIL]
    for mean in report.geometric_means:
        first, second = (r for r in report.totals if r["label"] == mean["label"])
        assert mean["networks"] == 2
        for key in ("speedup", "ideal_speedup", "total_speedup"):
            assert mean[key] == pytest.approx(math.sqrt(first[key] * second[key]))
    by = {mean["label"]: mean for mean in report.geometric_means}
    assert by["dadiannao"]["speedup"] == 1
    assert by["pragmatic"]["energy_efficiency"] is None
    assert by["stripes"]["energy_efficiency"] > 1


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=20), st.floats(1e-3, 1e3))
def test_geometric_mean(values, factor):
    mean = geometric_mean(values)
    assert min(values) <= mean <= max(values)
    assert geometric_mean([v * factor for v in values]) == pytest.approx(mean * factor)
    assert geometric_mean([1 / v for v in values]) == pytest.approx(1 / mean)
    assert geometric_mean(sorted(values)) == geometric_mean(values)


@pytest.mark.parametrize("values", [[], [1.0, 0.0], [-1.0]])
def test_geometric_mean_errors(values):
    with pytest.raises(ValueError, match="takes positive numbers"):
        geometric_mean(values)


def test_headlines_beside_ours(report):
    found = report.headlines()
    counted = {"stripes", "dynamic_stripes", "pragmatic", "dadiannao"}
    assert len(found) == sum(h.design in counted for h in headlines()) == 3
    by = {mean["label"]: mean for mean in report.geometric_means}
    over, convolutions, whole = found
    assert over["speedup"] == by["dynamic_stripes"]["speedup"] / by["stripes"]["speedup"]
    assert (over["paper_speedup"], over["paper_power_ratio"]) == (1.41, None)
    assert (over["efficiency"], over["power_ratio"]) == (None, None)
    assert whole["speedup"] == by["dynamic_stripes"]["speedup"]
    assert whole["power_ratio"] == by["dynamic_stripes"]["power_ratio"]
    assert whole["paper_power_ratio"] == 2.59 / 1.19
    # Convolutions alone: ratios of their sums.
    ratios = []
    for name in report.networks:
        rows = [r for r in report.records if r["network"] == name and r["kind"] == "conv"]
        rows = [r for r in rows if r["design"] == "dynamic_stripes"]
        assert len(rows) == 2
        ratios.append(
            sum(r["baseline_cycles"] for r in rows) / sum(r["compute_cycles"] for r in rows)
        )
    assert convolutions["speedup"] == pytest.approx(math.sqrt(math.prod(ratios)))
    assert all(h["reason"] and "abstract" in h["source"] for h in found)


def test_what_is_compared_must_be_counted():
    (found, *_) = counted(1, ["dynamic_stripes"]).report().headlines()
    assert (found["scope"], found["speedup"]) == ("over Stripes", None)


def test_histograms_are_of_all_groups(report):
    (first, second, *_) = report.histograms
    assert (first["operand"], second["operand"], first["group_size"]) == (
        "activations", "weights", 16,
    )  # fmt: skip
    assert sum(first["groups"]) == 36 * 2
    assert sum(second["groups"]) == 20 * 9 * 2


def test_of_errors():
    with pytest.raises(ValueError, match="no results"):
        Report.of({})
    with pytest.raises(ValueError, match="'b' was counted with another memory"):
        Report.of({"a": counted(1), "b": count(network(1), ["stripes"])})


def test_without_memory_values_or_work(tmp_path):
    """The least there can be: shapes; and zeros, of which no product is effectual."""
    shapes = Layer.linear(Shape(1, 64), Shape(4, 64), activation_bits=3, weight_bits=3)
    zeros = Layer.linear(np.zeros((1, 64), int), np.ones((4, 64), int), name="zeros")
    for layers, names in (([shapes], ["stripes"]), ([zeros], ["pragmatic", "laconic", "tcl"])):
        plain = count(layers, names).report()
        plain.write(tmp_path)
        assert Report.load(tmp_path / "report.json") == plain
        count(layers, names).plot(tmp_path / "bars.svg")
        assert "Memory" not in plain.to_markdown()
        assert json.loads(plain.dumps())["memory"] is None
        text = count(layers, names).to_markdown()
        assert names[0] in text
    assert plain.totals[0]["ideal_speedup"] is None
    assert "inf" in text


# --- files ----------------------------------------------------------------------------------------


def test_json_comes_back(report, tmp_path):
    report.to_json(tmp_path / "report.json")
    assert Report.load(tmp_path / "report.json") == report
    document = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert (document["schema"], document["version"]) == ("fmtlib.hardware.report", 1)
    assert document["geometric_means"] == report.geometric_means
    single = counted(3)
    single.to_json(tmp_path / "single.json", "three")
    assert Report.load(tmp_path / "single.json") == single.report("three")


def test_csv_comes_back(report, tmp_path):
    report.to_csv(tmp_path / "counts.csv")
    with (tmp_path / "counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows == [
        {key: "" if value is None else str(value) for key, value in record.items()}
        for record in report.records
    ]
    assert float(rows[0]["total_pj"]) == report.records[0]["total_pj"]


def changed(document, path, value):
    *keys, last = path
    for key in keys:
        document = document[key]
    document[last] = value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["schema"], "other", "the schema is not"),
        (["version"], 2, "version 2 is not 1"),
        (["records"], [], "no records"),
        (["records"], {}, "records must be a list"),
        (["records", 0], 5, "records: not all objects"),
        (["records", 0, "layer"], 5, "record 0: layer must be text"),
        (["records", 0, "row"], "sum", "row must be 'layer' or 'total'"),
        (["records", 1, "compute_cycles"], 10, "record 1: speedup is not the ratio"),
        (["records", 1, "compute_cycles"], 1.5, "compute_cycles must be a count, got 1.5"),
        (["records", 1, "macs"], -1, "macs must be a count, got -1"),
        (["records", 1, "macs"], True, "macs must be a count, got True"),
        (["records", 1, "macs"], 1 << 63, "macs must be a count"),
        (["records", 1, "macs"], 10, "record 3: macs is not the sum"),
        (["records", 1, "tiles"], 0, "record 1: tiles must be positive, got 0"),
        (["records", 1, "total_pj"], "1", "record 1: total_pj must not be '1'"),
        (["records", 1, "kind"], ["conv"], "record 1: kind must not be"),
        (["records", 0, "network"], "another", "a network has no total"),
        (["records", 0, "stall_cycles"], -5, "stall_cycles must be a count, got -5"),
        (["records", 0, "stall_cycles"], 5, "stall_cycles is not total"),
        (["records", 0, "memory_cycles"], 10**9, "total_cycles is not the maximum"),
        (["records", 0, "more"], 1, "record 1 has other columns"),
        (["records", 3, "total_pj"], 1.0, "record 3: total_pj is not the sum"),
        (["geometric_means", 0, "speedup"], 2.0, "geometric means are not those"),
        (["histograms", 0, "groups"], [-1], "a histogram's groups must be counts"),
        (["memory"], 5, "memory must be an object or null"),
    ],
)
def test_what_does_not_agree_is_refused(report, tmp_path, path, value, message):
    document = json.loads(report.dumps())
    changed(document, path, value)
    file = tmp_path / "report.json"
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        Report.load(file)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("memory", "memory must be an object or null"),
        ("energy", "energy must be an object or null"),
        ("peak_bit_products_per_cycle", "peak_bit_products_per_cycle must be positive, got None"),
        ("weight_dpred_bits", "record 0 has no weight_dpred_bits"),
    ],
)
def test_what_lacks_a_part_is_refused(report, tmp_path, name, message):
    document = json.loads(report.dumps())
    for part in (document, *document["records"]):
        part.pop(name, None)
    (tmp_path / "report.json").write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        Report.load(tmp_path / "report.json")


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": NaN}', "\x80"])
def test_what_is_no_report_is_refused(tmp_path, text):
    file = tmp_path / "report.json"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"report\.json"):
        Report.load(file)
    with pytest.raises(FileNotFoundError):
        Report.load(tmp_path / "missing.json")


# --- tables ---------------------------------------------------------------------------------------


def test_markdown_keeps_names_harmless(report):
    text = report.to_markdown()
    assert "<script" not in text
    for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
        lines = [re.sub(r"\\\|", "", line).count("|") for line in block.splitlines()]
        assert len(set(lines)) == 1


def test_terminal_table(report):
    from rich.console import Console

    console = Console(width=150, record=True)
    with console.capture() as captured:
        console.print(report.table())
    text = captured.get()
    assert "geo. mean" in text
    assert "<script>" in text  # as it is, not as markup
    total = report.totals[0]
    assert f"{total['compute_cycles']:,}" in text


def test_rows_have_the_length_of_their_head(report):
    tables = (report.total_rows(), report.layer_rows(), report.traffic_rows())
    for head, body in (*tables, report.headline_rows(), report.energy_rows()):
        assert body
        assert {len(line) for line in body} == {len(head)}


# --- the page -------------------------------------------------------------------------------------


class Page(HTMLParser):
    """What a page holds; every element must be closed in order."""

    VOID = frozenset(("meta", "img", "link", "br"))

    def __init__(self, text):
        super().__init__()
        self.open, self.tags, self.images, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        names = [name for name, _ in attributes]
        assert len(names) == len(set(names))
        if tag == "img":
            self.images.append(dict(attributes))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def page(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "index.html"
    report.to_html(path)
    return path.read_text(encoding="utf-8")


def test_page_is_well_formed_and_safe(report, page):
    found = Page(page)
    assert page.startswith("<!DOCTYPE html>\n<html lang=")
    assert "script" not in found.tags
    assert EVIL in found.text  # the name itself, as text
    assert found.tags.count("main") == found.tags.count("h1") == found.tags.count("title") == 1
    assert 'name="viewport"' in page


def test_page_needs_nothing_else(report, page):
    found = Page(page)
    assert not re.search(r"https?://|url\(|@import", re.sub(r'src="data:[^"]*"', "", page))
    # Speed-ups; layers, cycles, roofline, energy and widths of two networks.
    assert len(found.images) == 11
    for image in found.images:
        kind, data = image["src"].split(",", 1)
        assert kind == "data:image/svg+xml;base64"
        root = ElementTree.fromstring(base64.b64decode(data))
        assert root.tag.endswith("svg")
        assert not [e for e in root.iter() if e.tag.endswith("script")]
        assert image["alt"]


def test_page_says_the_figures(report, page):
    text = " ".join(Page(page).text)
    for total in report.totals:
        assert f"{total['compute_cycles']:,}" in text
        assert f"{total['speedup']:.3f}" in text
    for headline in report.headlines():
        assert headline["reason"] in text
        assert headline["source"] in text
    assert "estimate: geometric mean of int_mul_8b and int_mul_32b" in text
    assert "int_shift_16b" in text


def test_the_same_report_is_the_same_page(report, page, tmp_path):
    report.to_html(tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == page


def test_write_everything(tmp_path):
    result = counted(1, ["stripes"])
    written = result.report("one").write(tmp_path / "new" / "folder")
    names = {path.name for path in written}
    assert names == {path.name for path in (tmp_path / "new" / "folder").iterdir()}
    pictures = {"speedups", "layers", "cycles", "roofline", "energy", "widths"}
    tables = {"index.html", "report.md", "counts.csv", "report.json"}
    assert names == {f"{name}.svg" for name in pictures} | tables


@pytest.mark.parametrize("designs", [["stripes"], design_names()])
def test_plot_of_a_result(designs, tmp_path):
    count(network(1), designs).plot(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("module", ["jinja2", "matplotlib.figure", "rich"])
def test_missing_extras_are_named(module, monkeypatch, tmp_path):
    found = counted(1, ["stripes"]).report()
    monkeypatch.setitem(__import__("sys").modules, module, None)
    with pytest.raises(ImportError, match=r"fmtlib\[count\]"):
        found.table() if module == "rich" else found.to_html(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
