"""Reports of counts: plain data that adds up, with the papers' figures beside it."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from fmtlib.files import load_json, replaced
from fmtlib.hardware import page, plots
from fmtlib.hardware.designs.dadiannao import DaDianNao
from fmtlib.hardware.energy import headlines
from fmtlib.tables import write_csv

if TYPE_CHECKING:
    from rich.table import Table

    from fmtlib.hardware.counters import CountResult

BASELINE = "Baseline: DaDianNao of the same tiles, lanes and rows, one column."

SCHEMA, VERSION = "fmtlib.hardware.report", 1

# The head of a table, and its lines.
Rows: TypeAlias = tuple[list[str], list[list[str]]]

# Columns of ratios that have a geometric mean over networks.
RATIOS = (
    "speedup", "ideal_speedup", "total_speedup", "energy_efficiency", "compute_efficiency",
    "on_chip_efficiency", "power_ratio",
)  # fmt: skip
_EFFICIENCIES = ("compute_efficiency", "on_chip_efficiency", "power_ratio")
# Columns of counts that every record has, and those that a memory adds.
_COUNTS = ("compute_cycles", "baseline_cycles", "macs", "effectual_bit_products")
_MEMORY_COUNTS = (
    "dram_activation_write_bits", "dram_activation_read_bits", "dram_weight_read_bits", "dram_bits",
    "memory_cycles", "stall_cycles", "total_cycles", "baseline_total_cycles",
)  # fmt: skip
_OPERANDS = ("activation", "weight")
_STORAGES = ("raw", "profiled", "dpred", "dpred_metadata", "shapeshifter")
_STORED_BITS = tuple(f"{operand}_{name}_bits" for operand in _OPERANDS for name in _STORAGES)
_WORDS = ("network", "row", "layer", "design", "label", "array")
# An energy is a sum of floats: it may differ from the sum of its parts by their rounding.
_ROUNDING = 1e-9


def peak_remark(label: str, array: str, peak: int, baseline_peak: int) -> str | None:
    """What a reader must know of a design whose peak is not its baseline's."""
    if peak == baseline_peak:
        return None
    ratio = peak / baseline_peak
    return f"{label}, {array}: {ratio:g} times the peak of its baseline, not an equal comparison."


def geometric_mean(values: Sequence[float]) -> float:
    """The geometric mean of positive numbers.

    Parameters
    ----------
    values : sequence of float

    Returns
    -------
    float

    Raises
    ------
    ValueError
        If there are none, or one is not positive.

    Examples
    --------
    >>> geometric_mean([2.0, 8.0])
    4.0
    """
    if not values or min(values) <= 0:
        raise ValueError(f"a geometric mean takes positive numbers, not {list(values)}")
    mean = math.exp(math.fsum(map(math.log, values)) / len(values))
    return min(max(mean, min(values)), max(values))  # log and exp round


@dataclass(frozen=True)
class Report:
    """Counts of one or several networks, as plain data.

    `Report.of` makes one of results of `count`, `Report.load` of a file.

    Attributes
    ----------
    records : list of dict
        Those of `CountResult.to_records`, ``network`` first.
    histograms : list of dict
        Those of `CountResult.width_histograms`, ``network`` first.
    memory : dict or None
        Parameters of the memories.
    energy : dict or None
        ``table``, ``dram``, ``constants`` (each with node, voltage, unit and source) and
        ``lacking``: of designs (and ratios) without energy, why.
    """

    records: list[dict[str, Any]]
    histograms: list[dict[str, Any]] = field(default_factory=list)
    memory: dict[str, Any] | None = None
    energy: dict[str, Any] | None = None

    @classmethod
    def of(cls, results: Mapping[str, CountResult]) -> Report:
        """The report of results by the names of their networks.

        Raises
        ------
        ValueError
            If there are none, or they have different memories or ways of counting energy.
        """
        if not results:
            raise ValueError("nothing to report: no results")
        first = next(iter(results.values()))
        for name, result in results.items():
            if (result.memory, result.energy) != (first.memory, first.energy):
                raise ValueError(f"{name!r} was counted with another memory or energy")
        by_network = {name: result.to_records() for name, result in results.items()}
        columns = {key: None for records in by_network.values() for r in records for key in r}
        energy = None
        if first.energy:
            items = [item for result in results.values() for item in result.designs]
            lacking = {item.label: first.energy.lacking(item) for item in items}
            lacking["ratios to the baseline"] = first.energy.lacking(DaDianNao())
            energy = {
                "table": first.energy.constants.title,
                "dram": first.energy.dram,
                "constants": [asdict(constant) for constant in first.energy.constants.constants],
                "lacking": {label: why for label, why in lacking.items() if why},
            }
        return cls(
            records=[
                {"network": name, **columns, **record}
                for name, records in by_network.items()
                for record in records
            ],
            histograms=[
                {"network": name, **histogram}
                for name, result in results.items()
                for histogram in result.width_histograms()
            ],
            memory=first.memory.parameters if first.memory else None,
            energy=energy,
        )

    # --- what it says -------------------------------------------------------------------------

    @property
    def networks(self) -> list[str]:
        """Their names, in order."""
        return list(dict.fromkeys(r["network"] for r in self.records))

    @property
    def totals(self) -> list[dict[str, Any]]:
        """The records of whole networks."""
        return [r for r in self.records if r["row"] == "total"]

    @property
    def geometric_means(self) -> list[dict[str, Any]]:
        """Means of the networks' ratios, for each design on each array.

        Returns
        -------
        list of dict
            ``design``, ``label``, ``array``, ``networks`` (their number) and the ratios; None
            where a network has none.
        """
        groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for record in self.totals:
            groups.setdefault((record["label"], record["array"]), []).append(record)
        means = []
        for (label, array), records in groups.items():
            row = {"design": records[0]["design"], "label": label, "array": array}
            row["networks"] = len(records)
            for ratio in RATIOS:
                values = [r.get(ratio) for r in records]
                row[ratio] = None if None in values else geometric_mean(values)  # type: ignore[arg-type]
            means.append(row)
        return means

    @property
    def remarks(self) -> list[str]:
        """What a reader of the figures must know."""
        remarks = [BASELINE]
        for r in self.totals:
            peaks = r["peak_bit_products_per_cycle"], r["baseline_peak_bit_products_per_cycle"]
            remarks.append(peak_remark(r["label"], r["array"], *peaks) or "")
        remarks.append(
            "Speed-up: baseline cycles / cycles of the array. Ideal: bit products of the "
            "bit-parallel baseline / effectual ones; it bounds the speed-up where channels and "
            "filters fill the array, and not where lanes of the baseline idle. Utilization: "
            "effectual bit products / those of the array's peak in its cycles."
        )
        if self.memory:
            remarks.append(
                "Total cycles of a layer = max(compute, memory); stalls = total − compute. The "
                "baseline's memory is the same, its tensors 16 bits a value."
            )
        if self.energy:
            made = " (our estimates among its constants)" if self._estimates() else ""
            remarks.append(
                f"Energy: table “{self.energy['table']}”{made}, DRAM at the {self.energy['dram']} "
                "end; registers, control, wires and leakage are in no table. Efficiency and "
                "power are ratios to the baseline, every PE clocked; power is on-chip. The "
                "papers' energies are of laid-out chips. Here the baseline, of one column, reads "
                "all weights from SRAM for each window, which can be most of what it takes."
            )
            lacking = [f"{label} ({why})" for label, why in self.energy["lacking"].items()]
            remarks += ["Without energy: " + ", ".join(lacking) + "."] if lacking else []
        return list(dict.fromkeys(filter(None, remarks)))

    def _estimates(self) -> bool:
        return any(c["estimate"] for c in (self.energy or {})["constants"])

    def headlines(self) -> list[dict[str, Any]]:
        """The papers' headlines of the designs counted, and what was found here.

        Returns
        -------
        list of dict
            ``design``, ``scope``, ``paper_speedup``, ``speedup`` (geometric mean over the
            networks, of the layers it is of and over what it is over; None if that was not
            counted), ``ideal_speedup``, ``paper_efficiency``, ``compute_efficiency``,
            ``efficiency`` (on chip), ``paper_power_ratio`` (derived: speed-up / efficiency),
            ``power_ratio``, ``source``, ``reason`` of a difference.
        """
        rows = []
        plain = {r["design"]: r for r in self.geometric_means if r["label"] == r["design"]}
        for headline in headlines():
            if headline.design not in plain:
                continue
            mean: dict[str, Any] = dict(plain[headline.design])
            if headline.layers != "all":
                mean |= self._means_of(headline.design, headline.layers)
            if headline.over in plain:
                for ratio in ("speedup", "ideal_speedup"):
                    pair = mean[ratio], plain[headline.over][ratio]
                    mean[ratio] = None if None in pair else pair[0] / pair[1]
            elif headline.over != "bit-parallel":
                mean |= {"speedup": None, "ideal_speedup": None}
            if headline.efficiency is None:
                mean |= dict.fromkeys(_EFFICIENCIES)
            rows.append(
                {
                    "design": headline.design,
                    "scope": headline.scope,
                    "paper_speedup": headline.speedup,
                    "speedup": mean["speedup"],
                    "ideal_speedup": mean["ideal_speedup"],
                    "paper_efficiency": headline.efficiency,
                    "compute_efficiency": mean["compute_efficiency"]
                    if headline.efficiency
                    else None,
                    "efficiency": mean["on_chip_efficiency"] if headline.efficiency else None,
                    "paper_power_ratio": headline.power_ratio,
                    "power_ratio": mean["power_ratio"] if headline.efficiency else None,
                    "source": headline.source,
                    "reason": headline.reason,
                }
            )
        return rows

    def _means_of(self, design: str, kind: str) -> dict[str, float | None]:
        """Ratios of sums over the layers of one kind, as means over the networks that have some."""
        found: dict[str, list[float]] = {"speedup": [], "ideal_speedup": []}
        for network in self.networks:
            rows = [
                r
                for r in self.records
                if r["network"] == network and r["label"] == design and r["kind"] == kind
            ]
            sums = {key: sum(r[key] for r in rows) for key in _COUNTS}
            if sums["compute_cycles"]:
                found["speedup"].append(sums["baseline_cycles"] / sums["compute_cycles"])
            if sums["effectual_bit_products"]:
                ideal = 256 * sums["macs"] / sums["effectual_bit_products"]
                found["ideal_speedup"].append(ideal)
        means = {key: geometric_mean(values) if values else None for key, values in found.items()}
        return means | dict.fromkeys(_EFFICIENCIES)

    # --- tables -------------------------------------------------------------------------------

    def total_rows(self) -> Rows:
        """Head and lines of the table of networks, means over networks last if there are some."""
        return self._network_rows(_TOTAL_COLUMNS | (_MEMORY_COLUMNS if self.memory else {}))

    def energy_rows(self) -> Rows:
        """Head and lines of the energies of networks; no lines without energy."""
        needed = ("total_pj", "energy_efficiency")
        return self._network_rows(_ENERGY_COLUMNS, needed) if self.energy else ([], [])

    def _network_rows(self, columns: dict[str, str], needed: tuple[str, ...] = ("label",)) -> Rows:
        lines = list(self.totals)
        if len(self.networks) > 1:
            lines += [{"network": "geo. mean", **mean} for mean in self.geometric_means]
            columns = {"network": "network", **columns}
        sizes = {r["array"]: " × ".join(str(r[name]) for name in _SIZE) for r in self.totals}
        lines = [{**r, "size": sizes[r["array"]]} for r in lines if any(map(r.get, needed))]
        body = [[_cell(r.get(key)) for key in columns] for r in lines]
        return list(columns.values()), body

    def layer_rows(self) -> Rows:
        """Head and lines of the table of layers."""
        columns = {"network": "network"} if len(self.networks) > 1 else {}
        columns |= {"layer": "layer", "label": "design"}
        columns |= {"activation_bits": "Pa (bits)", "weight_bits": "Pw (bits)"}
        columns |= _CYCLES | (_MEMORY_COLUMNS if self.memory else {})
        rows = [r for r in self.records if r["row"] == "layer"]
        return list(columns.values()), [[_cell(r.get(key)) for key in columns] for r in rows]

    def traffic_rows(self) -> Rows:
        """Head and lines of what each network's tensors take, by operand and storage."""
        head = ["network", "operand", "raw (Mbit)", "profiled (Mbit)", "DPRed (Mbit)"]
        head += ["of these metadata (Mbit)", "published count (Mbit)", "DPRed / raw (%)"]
        body = []
        for network in self.networks if self.memory else ():
            total = next(r for r in self.totals if r["network"] == network)
            for operand in _OPERANDS:
                found = [total[f"{operand}_{name}_bits"] for name in _STORAGES]
                ratio = None if found[2] is None or not found[0] else 100 * found[2] / found[0]
                cells = [_cell(None if bits is None else bits / 1e6) for bits in found]
                body.append([network, f"{operand}s", *cells, _cell(ratio)])
        return head, body

    def headline_rows(self) -> Rows:
        """Head and lines of the papers' figures beside ours."""
        columns = _HEADLINE_COLUMNS | (_HEADLINE_ENERGY if self.energy else {})
        rows = [[_cell(row[key]) for key in columns] for row in self.headlines()]
        return list(columns.values()), rows

    def table(self) -> Table:
        """The main columns of networks for a terminal (extra: count).

        Raises
        ------
        ImportError
            If rich is missing.
        """
        try:
            from rich import box
            from rich.table import Table
            from rich.text import Text
        except ImportError as error:
            raise ImportError("tables need rich: pip install 'fmtlib[count]'") from error
        columns = dict(_TERMINAL_COLUMNS)
        columns |= {"total_speedup": "with memory (×)"} if self.memory else {}
        columns |= {"energy_efficiency": "energy (×)"} if self.energy else {}
        head, body = self._network_rows(columns)
        array = head.index("array")
        for line in body:
            line[array] = line[array].replace(" ", "")
        table = Table(
            box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, caption=f"array: {_ARRAY}"
        )
        for i, name in enumerate(head):
            # a word a line and numbers whole: 80 columns are enough
            number, title = i > array, "\n".join(name.split())
            table.add_column(title, justify="right" if number else "left", no_wrap=number)
        for line in body:
            table.add_row(*map(Text, line))  # Text: no markup in names
        return table

    def to_markdown(self) -> str:
        """Networks, energy, storage, the papers' figures and layers as Markdown tables."""
        parts = ["# Accelerator counts: " + ", ".join(map(_escaped, self.networks))]
        parts.append(_markdown(*self.total_rows()))
        parts.append("\n".join(f"- {_escaped(remark)}" for remark in self.remarks))
        if self.energy:
            parts += ["## Energy", _markdown(*self.energy_rows())]
        if self.memory:
            parts += ["## Storage", _markdown(*self.traffic_rows())]
        if found := self.headlines():
            parts += ["## Beside the papers", _markdown(*self.headline_rows())]
            notes = [f"{h['design']}, {h['scope']}: {h['reason']} ({h['source']})" for h in found]
            parts.append("\n".join(f"- {_escaped(note)}" for note in notes))
        parts += ["## Layers", _markdown(*self.layer_rows())]
        return "\n\n".join(parts) + "\n"

    # --- files --------------------------------------------------------------------------------

    def to_csv(self, path: str | os.PathLike[str]) -> None:
        """Write the records as CSV, UTF-8, a header first; None is an empty field."""
        write_csv(self.records, path)

    def to_json(self, path: str | os.PathLike[str]) -> None:
        """Write all as JSON, UTF-8, with the schema's version; whole or not at all."""
        with replaced(path) as temporary:
            temporary.write_bytes(self.dumps().encode())

    def dumps(self) -> str:
        """What `to_json` writes."""
        document = {
            "schema": SCHEMA,
            "version": VERSION,
            "baseline": BASELINE,
            "memory": self.memory,
            "energy": self.energy,
            "geometric_means": self.geometric_means,
            "headlines": self.headlines(),
            "records": self.records,
            "histograms": self.histograms,
        }
        return json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n"

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Report:
        """Read what `to_json` wrote.

        Raises
        ------
        OSError
            If it cannot be read.
        ValueError
            If it is not such a file, of another version, or its figures do not agree: totals that
            are no sums, stalls below zero, ratios or means that are not those of the counts.
        """
        document = load_json(path, parse_constant=_no_nan)
        try:
            return _validated(cls, document)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from None

    def pictures(self) -> dict[str, tuple[str, str]]:
        """Names of the pictures, with the caption and the SVG of each (extra: count)."""
        return plots.svg_pictures(self)

    def to_html(self, path: str | os.PathLike[str]) -> None:
        """Write all as one HTML page with its pictures in it (extra: count).

        Raises
        ------
        ImportError
            If Jinja2 or Matplotlib is missing.
        OSError
            If it cannot be written.
        """
        text = page.render(self, self.pictures())
        with replaced(path) as temporary:
            temporary.write_text(text, encoding="utf-8")

    def write(self, folder: str | os.PathLike[str]) -> list[Path]:
        """Write everything into a folder, which is made if need be (extra: count).

        Returns
        -------
        list of Path
            ``index.html``, ``report.md``, ``counts.csv``, ``report.json`` and the plots.
        """
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        pictures = self.pictures()
        texts = {"index.html": page.render(self, pictures), "report.md": self.to_markdown()}
        texts |= {f"{name}.svg": svg for name, (_, svg) in pictures.items()}
        for name, text in texts.items():
            with replaced(folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")
        self.to_csv(folder / "counts.csv")
        self.to_json(folder / "report.json")
        return [folder / name for name in (*texts, "counts.csv", "report.json")]


_CYCLES = {
    "compute_cycles": "compute cycles", "baseline_cycles": "baseline cycles",
    "speedup": "speed-up (×)", "ideal_speedup": "ideal (×)", "utilization": "utilization",
}  # fmt: skip
_SIZE = ("tiles", "lanes", "columns", "rows")
_ARRAY = " × ".join(_SIZE)
_TOTAL_COLUMNS = {"label": "design", "size": _ARRAY, **_CYCLES}
_MEMORY_COLUMNS = {
    "memory_cycles": "memory cycles", "stall_cycles": "stalls (cycles)",
    "total_speedup": "with memory (×)", "dram_bits": "DRAM (bits)",
}  # fmt: skip
_ENERGY_COLUMNS = {
    "label": "design", "compute_clocked_pj": "compute (pJ)",
    "compute_effectual_pj": "effectual compute (pJ)", "sram_pj": "SRAM (pJ)",
    "dram_pj": "DRAM (pJ)", "total_pj": "total (pJ)", "baseline_total_pj": "baseline (pJ)",
    "compute_efficiency": "efficiency: compute (×)", "on_chip_efficiency": "on chip (×)",
    "energy_efficiency": "all (×)", "power_ratio": "power on chip (×)",
}  # fmt: skip
_TERMINAL_COLUMNS = {
    "label": "design", "size": "array", "compute_cycles": "cycles", "speedup": "speed-up (×)",
    "ideal_speedup": "ideal (×)",
}  # fmt: skip
_HEADLINE_COLUMNS = {
    "design": "design", "scope": "scope", "paper_speedup": "paper (×)", "speedup": "here (×)",
    "ideal_speedup": "ideal here (×)",
}  # fmt: skip
_HEADLINE_ENERGY = {
    "paper_efficiency": "paper's efficiency", "compute_efficiency": "here, compute",
    "efficiency": "here, on chip", "paper_power_ratio": "paper's power", "power_ratio": "here",
}  # fmt: skip


def _cell(value: Any) -> str:
    """A figure as a reader wants it; a dash for none."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:.3f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _escaped(text: str) -> str:
    """Text that stays what it is in Markdown, on one line, within a table too."""
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return " ".join("".join(f"\\{c}" if c in "|\\`*[]" else c for c in text).split())


def _markdown(head: list[str], body: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *([_escaped(cell) for cell in line] for line in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


# --- validation -----------------------------------------------------------------------------------


def _no_nan(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _require(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)


def _validated(cls: type[Report], document: Any) -> Report:
    """The report of a document, if it is one and agrees with itself."""
    _require(isinstance(document, dict), "not an object")
    _require(document.get("schema") == SCHEMA, f"the schema is not {SCHEMA!r}")
    version = document.get("version")
    _require(version == VERSION, f"version {version!r} is not {VERSION}, the only one known")
    for name, kind in (("records", list), ("histograms", list), ("geometric_means", list)):
        _require(isinstance(document.get(name), kind), f"{name} must be a list")
        _require(all(isinstance(item, dict) for item in document[name]), f"{name}: not all objects")
    for name in ("memory", "energy"):
        found = document.get(name, "missing")
        _require(isinstance(found, dict | None), f"{name} must be an object or null")
    records = document["records"]
    _require(bool(records), "no records")
    for i, record in enumerate(records):
        _check_record(record, records[0], f"record {i}", bool(document["memory"]))
    report = cls(records, document["histograms"], document["memory"], document["energy"])
    for histogram in report.histograms:
        _check_histogram(histogram)
    _check_totals(report)
    total = {record["network"] for record in report.totals}
    _require(total >= set(report.networks), "a network has no total")
    _require(
        document["geometric_means"] == report.geometric_means,
        "the geometric means are not those of the records",
    )
    return report


def _check_record(record: dict[str, Any], first: dict[str, Any], at: str, memory: bool) -> None:
    _require(record.keys() == first.keys(), f"{at} has other columns than the first")
    for name in _WORDS:
        _require(isinstance(record.get(name), str), f"{at}: {name} must be text")
    _require(record["row"] in ("layer", "total"), f"{at}: row must be 'layer' or 'total'")
    for name in (*_COUNTS, *(_MEMORY_COUNTS if memory else ())):
        value = record.get(name)
        count = type(value) is int and 0 <= value < 1 << 63
        _require(count, f"{at}: {name} must be a count, got {value!r}")
    for name in (*_SIZE, "peak_bit_products_per_cycle", "baseline_peak_bit_products_per_cycle"):
        value = record.get(name)
        _require(type(value) is int and value > 0, f"{at}: {name} must be positive, got {value!r}")
    for name, value in record.items():  # a design's own parameters may be words, too
        words = () if name in (*RATIOS, *_STORED_BITS, "total_pj") else (str, bool)
        plain = value is None or type(value) in (int, float, *words)
        within = type(value) is not int or abs(value) < 1 << 63
        _require(plain and within, f"{at}: {name} must not be {value!r}")
    cycles = record["compute_cycles"]
    speedup = record["baseline_cycles"] / cycles if cycles else None
    _require(record.get("speedup") == speedup, f"{at}: speedup is not the ratio of its cycles")
    if memory:
        lacking = set(_STORED_BITS) - record.keys()
        _require(not lacking, f"{at} has no {', '.join(sorted(lacking))}")
        stalls = record["total_cycles"] - record["compute_cycles"]
        _require(record["stall_cycles"] == stalls, f"{at}: stall_cycles is not total − compute")
        if record["row"] == "layer":
            slower = max(record["compute_cycles"], record["memory_cycles"])
            _require(record["total_cycles"] == slower, f"{at}: total_cycles is not the maximum")


def _check_histogram(histogram: dict[str, Any]) -> None:
    for name in ("network", "layer", "operand"):
        _require(isinstance(histogram.get(name), str), f"a histogram's {name} must be text")
    groups = histogram.get("groups")
    counts = isinstance(groups, list) and all(type(n) is int and n >= 0 for n in groups)
    _require(counts, "a histogram's groups must be counts")


def _check_totals(report: Report) -> None:
    """Each total is the sum of the layers before it."""
    summed = (*_COUNTS, *(_MEMORY_COUNTS if report.memory else ()))
    sums = dict.fromkeys(summed, 0)
    energy = 0.0
    for i, record in enumerate(report.records):
        if record["row"] == "layer":
            sums = {name: sums[name] + record[name] for name in summed}
            energy += record.get("total_pj") or 0.0
            continue
        for name in summed:
            _require(record[name] == sums[name], f"record {i}: {name} is not the sum of its layers")
        found = record.get("total_pj")
        _require(
            found is None or math.isclose(found, energy, rel_tol=_ROUNDING),
            f"record {i}: total_pj is not the sum of its layers",
        )
        sums, energy = dict.fromkeys(summed, 0), 0.0
    _require(report.records[-1]["row"] == "total", "the last record is not a total")
