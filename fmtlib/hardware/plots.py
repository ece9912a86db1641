"""Pictures of reports (extra: count)."""

from __future__ import annotations

import io
import math
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmtlib.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from fmtlib.hardware.report import Report

_WIDTH = 9.0  # inches
_MOST_LAYERS = 80  # rows whose names can be read
_MOST_BARS = 5  # that can be told apart side by side
_MOST_SPEEDUP = 16.0  # above it and below its inverse colours are the same
_NAME_LENGTH = 28  # letters of a layer's name

_BAR: Any = {"location": "bottom", "shrink": 0.6, "aspect": 40}  # a scale of colours

Record = dict[str, Any]


def _new(height: float, width: float = _WIDTH) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need Matplotlib: pip install 'fmtlib[count]'") from error
    return Figure(figsize=(width, height), layout="constrained")


def save(figure: Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure; the suffix gives the format; whole or not at all.

    Raises
    ------
    ValueError
        A suffix Matplotlib cannot write.
    """
    file_format = Path(path).suffix[1:]
    supported = sorted(figure.canvas.get_supported_filetypes())
    if file_format not in supported:
        raise ValueError(
            f"the file name must end in one of {', '.join('.' + s for s in supported)}, "
            f"not {str(path)!r}"
        )
    with replaced(path) as temporary:
        figure.savefig(temporary, format=file_format)


def svg(figure: Figure) -> str:
    """A figure as SVG, the same for the same figure."""
    from matplotlib import rc_context

    text = io.StringIO()
    with rc_context({"svg.hashsalt": "fmtlib", "svg.fonttype": "path"}):
        figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    return text.getvalue()


def svg_pictures(report: Report) -> dict[str, tuple[str, str]]:
    """All pictures that a report has the data for: name → caption and SVG."""
    drawn: dict[str, tuple[str, Figure]] = {
        "speedups": (
            "Speed-up over the bit-parallel baseline, in cycles of the array: achieved (bar) and "
            "ideal (mark), of whole networks.",
            speedups(report),
        ),
    }
    for i, network in enumerate(report.networks, 1):
        number = f"-{i}" if len(report.networks) > 1 else ""
        drawn[f"layers{number}"] = (
            f"{network}: speed-up of each layer.",
            layers(_of(report, network)),
        )
        if report.memory:
            drawn[f"cycles{number}"] = (
                f"{network}: cycles of the array and stalls, over the baseline's total cycles.",
                cycles(report, network),
            )
            drawn[f"roofline{number}"] = (
                f"{network}: roofline. Layers are dots, the network is the large mark.",
                roofline(report, network),
            )
        if report.energy and any(r["energy_efficiency"] for r in report.totals):
            drawn[f"energy{number}"] = (
                f"{network}: energy over the baseline's, every PE clocked; the line is the "
                "effectual work alone.",
                energy(report, network),
            )
        if any(h["network"] == network for h in report.histograms):
            drawn[f"widths{number}"] = (
                f"{network}: widths of groups of values along the channels.",
                widths(report, network),
            )
    return {name: (caption, svg(figure)) for name, (caption, figure) in drawn.items()}


def _short(name: str, length: int = _NAME_LENGTH) -> str:
    """A name that fits; its end tells more than its middle. No mathematics in it."""
    name = " ".join(name.split()).replace("$", r"\$")
    half = (length - 1) // 2
    return name if len(name) <= length else f"{name[:half]}…{name[-half:]}"


def _drawn(value: float | None) -> float:
    """A value, or what Matplotlib leaves out."""
    return math.nan if value is None else value


def _names(records: Sequence[Record]) -> list[str]:
    """Names of designs, with their arrays where a label comes twice."""
    labels = [r["label"] for r in records]
    return [
        _short(r["label"], 44) + (f"\n{r['array']}" if labels.count(r["label"]) > 1 else "")
        for r in records
    ]


def _bars(axes: Axes, names: Sequence[str]) -> None:
    """Horizontal bars, the first on top, with a grid behind them."""
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(axis="x", color="0.85", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _number(axes: Axes, x: float, y: float, text: str) -> None:
    """A number beside the end of a bar, readable on lines that it covers."""
    box = {"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85}
    axes.annotate(text, (x, y), xytext=(6, 0), textcoords="offset points", va="center",
                  fontsize="small", bbox=box)  # fmt: skip


def _numbered(names: Sequence[str]) -> list[str]:
    """Names of layers, short, with their numbers, since what is left out may tell them apart."""
    return [f"{_short(name)}  {i}" for i, name in enumerate(names, 1)]


def speedups(report: Report) -> Figure:
    """Bars of achieved speed-ups, marks of ideal ones: a panel per network, and their mean."""
    panels = [(n, [r for r in report.totals if r["network"] == n]) for n in report.networks]
    if len(panels) > 1:
        panels.append(("geometric mean", report.geometric_means))
    heights = [0.6 + 0.3 * len(records) for _, records in panels]
    figure = _new(0.9 + sum(heights))
    all_axes = figure.subplots(
        len(panels), sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )
    for axes, (network, records) in zip(all_axes[:, 0], panels, strict=True):
        _bars(axes, _names(records))
        achieved = [_drawn(r["speedup"]) for r in records]
        axes.barh(range(len(records)), achieved, 0.62, color="#31688e", label="achieved")
        for i, r in enumerate(records):
            # Behind the mark where it is so close that the number would cover it.
            ideal, value = r["ideal_speedup"] or 0, _drawn(r["speedup"])
            _number(axes, ideal if value <= ideal < 1.5 * value else value, i, f"{value:.2f}")
        marks = [(r["ideal_speedup"], i) for i, r in enumerate(records) if r["ideal_speedup"]]
        if marks:
            x, y = zip(*marks, strict=True)
            axes.plot(x, y, "|", color="#d95f02", ms=13, mew=2.5, label="ideal")
        axes.axvline(1, color="black", linewidth=0.9)
        axes.set_xscale("log", base=2)
        axes.xaxis.set_major_formatter("{x:g}")
        left, right = axes.get_xlim()
        axes.set_xlim(min(0.5, left), max(2.5, right * 1.25))
        axes.set_title(_short(network, 60), loc="left", fontsize="medium")
    all_axes[-1, 0].set_xlabel("speed-up (×, logarithmic)")
    figure.legend(*all_axes[0, 0].get_legend_handles_labels(), loc="outside upper right", ncols=2)
    return figure


def _of(report: Report, network: str) -> list[Record]:
    return [r for r in report.records if r["network"] == network]


def layers(network: Sequence[Record]) -> Figure:
    """A table of colours: the speed-up of each layer of a network on each design."""
    records = [r for r in network if r["row"] == "layer"]
    totals = [r for r in network if r["row"] == "total"]
    count = len(records) // len(totals)
    names = [r["layer"] for r in records[:count]]
    rows = [
        [_drawn(r["speedup"]) for r in records[i * count : (i + 1) * count]]
        for i in range(len(totals))
    ]
    # Layers go down: their names are long, and there are more of them than of designs.
    height = 1.9 + max(2.0, min(count, _MOST_LAYERS) * 0.24)
    figure = _new(height, max(5.5, 3.0 + 0.52 * len(totals)))
    axes = figure.add_subplot()
    from matplotlib.colors import LogNorm

    flat = [value for row in rows for value in row if value > 0] or [1.0]
    # Around 1, so that slower than the baseline is red and faster blue.
    end = min(max(1.5, max(flat), 1 / min(flat)), _MOST_SPEEDUP)
    transposed = [list(column) for column in zip(*rows, strict=True)]
    norm = LogNorm(1 / end, end)
    image = axes.imshow(transposed, aspect="auto", cmap="RdBu", norm=norm)
    axes.set_xticks(range(len(totals)), [_short(r["label"], 30) for r in totals],
                    rotation=45, ha="right", rotation_mode="anchor")  # fmt: skip
    every = -(-count // _MOST_LAYERS)
    axes.set_yticks(range(0, count, every), _numbered(names)[::every])
    if count <= _MOST_LAYERS:
        for y, line in enumerate(transposed):
            for x, value in enumerate(line):
                shade = abs(norm(value) - 0.5)
                axes.text(x, y, f"{value:.2g}" if value < 10 else f"{value:.0f}", ha="center",
                          va="center", fontsize=7,
                          color="white" if shade > 0.36 else "black")  # fmt: skip
    bar = figure.colorbar(image, ax=axes, label="speed-up (×)", extend="both", **_BAR)
    ticks = [t for t in (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8, 16, 32) if 1 / end <= t <= end]
    bar.set_ticks(ticks, labels=[f"{t:g}" for t in ticks], minor=False)
    bar.ax.minorticks_off()
    return figure


def layer_bars(records: Sequence[Record], title: str) -> Figure:
    """Grouped bars of each layer's speed-ups and in total; of many designs a table of colours."""
    groups: dict[tuple[str, str], list[Record]] = {}
    for record in records:
        groups.setdefault((record["label"], record["array"]), []).append(record)
    if len(groups) > _MOST_BARS:
        return layers(records)
    first = next(iter(groups.values()))
    names = [_short(r["layer"]) for r in first]
    width = 0.8 / len(groups)
    figure = _new(4.5 + 0.25 * len(groups), max(7.0, 1.0 + len(names)))
    axes = figure.add_subplot()
    for i, ((label, array), rows) in enumerate(groups.items()):
        peak, base = (rows[0][f"{of}peak_bit_products_per_cycle"] for of in ("", "baseline_"))
        unequal = "" if peak == base else f" ({peak / base:g} × the baseline's peak)"
        at = [p + (i - (len(groups) - 1) / 2) * width for p in range(len(names))]
        bars = [_drawn(r["speedup"]) for r in rows]
        drawn = axes.bar(at, bars, width, label=f"{label}: {array}{unequal}")
        axes.bar_label(drawn, fmt="%.1f", fontsize="xx-small")
    axes.axhline(1, color="black", linewidth=0.8)
    axes.set_yscale("log", base=2)
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    axes.set_xlabel("Layer")
    axes.set_ylabel("Speed-up over DaDianNao (×, in cycles)")
    axes.set_title(title, fontsize="small")
    figure.legend(loc="outside lower center", fontsize="small")
    return figure


def _stacked(
    records: Sequence[Record], parts: dict[str, tuple[str, str]], whole: str, unit: str
) -> tuple[Figure, Axes]:
    """Horizontal bars of parts over the baseline's `whole`."""
    figure = _new(1.3 + 0.34 * len(records))
    axes = figure.add_subplot()
    _bars(axes, _names(records))
    starts = [0.0] * len(records)
    for key, (label, colour) in parts.items():
        sizes = [r[key] / r[whole] for r in records]
        axes.barh(range(len(records)), sizes, 0.62, left=starts, label=label, color=colour)
        starts = [start + size for start, size in zip(starts, sizes, strict=True)]
    for i, end in enumerate(starts):
        _number(axes, end, i, f"{end:.3f}")
    axes.axvline(1, color="black", linewidth=0.9)
    axes.set_xlim(0, 1.12 * max(1.0, *starts))
    axes.set_xlabel(unit)
    figure.legend(loc="outside upper right", ncols=len(parts))
    return figure, axes


def cycles(report: Report, network: str) -> Figure:
    """Cycles of the array and stalls of each design, over the baseline's total."""
    records = [r for r in report.totals if r["network"] == network]
    parts = {
        "compute_cycles": ("array", "#31688e"),
        "stall_cycles": ("waiting for DRAM", "#fdb863"),
    }
    unit = "total cycles / baseline's total cycles"
    return _stacked(records, parts, "baseline_total_cycles", unit)[0]


def energy(report: Report, network: str) -> Figure:
    """Compute, SRAM and DRAM of each design that has energies, over the baseline's total."""
    records = [r for r in report.totals if r["network"] == network and r["energy_efficiency"]]
    parts = {
        "compute_clocked_pj": ("compute", "#31688e"),
        "sram_pj": ("SRAM", "#7fbf7b"),
        "dram_pj": ("DRAM", "#fdb863"),
    }
    unit = "energy / baseline's energy"
    figure, axes = _stacked(records, parts, "baseline_total_pj", unit)
    effectual = [r["compute_effectual_pj"] / r["baseline_total_pj"] for r in records]
    axes.plot(effectual, range(len(records)), "|", color="black", ms=13, mew=1.6)
    return figure


def roofline(report: Report, network: str) -> Figure:
    """MACs per cycle over MACs per byte of DRAM, below what memory and the baseline allow."""
    assert report.memory
    from matplotlib import colormaps

    rows = [r for r in _of(report, network) if r["dram_bits"]]
    labels = list(dict.fromkeys((r["label"], r["array"]) for r in rows))
    slope = report.memory["dram_megabytes_per_second"] / report.memory["clock_megahertz"]
    figure = _new(5.6)
    axes = figure.add_subplot()
    palette = [colormaps["tab20"](i) for i in (*range(0, 20, 2), *range(1, 20, 2))]
    for i, key in enumerate(labels):
        mine = [r for r in rows if (r["label"], r["array"]) == key]
        points = [
            (8 * r["macs"] / r["dram_bits"], r["macs"] / r["total_cycles"], r["row"]) for r in mine
        ]
        colour = palette[i % len(palette)]
        dots = [(x, y) for x, y, row in points if row == "layer"]
        axes.plot(*zip(*dots, strict=True), ".", color=colour, ms=5, alpha=0.75)
        ((x, y),) = ((x, y) for x, y, row in points if row == "total")
        names = [label for label, _ in labels]
        label = key[0] if names.count(key[0]) == 1 else f"{key[0]}, {key[1]}"
        marker = "osD^vP"[i // 4 % 6]
        axes.plot(x, y, marker, color=colour, ms=9, mec="black", mew=0.7, label=_short(label, 60))
    base = next(r for r in rows if (r["label"], r["array"]) == labels[0] and r["row"] == "total")
    axes.plot(8 * base["macs"] / base["baseline_dram_bits"],
              base["macs"] / base["baseline_total_cycles"], "*", color="black", ms=13,
              label=f"baseline of {_short(labels[0][0], 40)}")  # fmt: skip
    intensities = [8 * r["macs"] / r[f"{of}dram_bits"] for r in rows for of in ("", "baseline_")]
    low, high = min(intensities) / 1.6, max(intensities) * 1.6
    peaks = sorted({r["baseline_peak_bit_products_per_cycle"] // 256 for r in rows})
    axes.plot([low, peaks[-1] / slope], [low * slope, peaks[-1]], color="0.25", lw=1.4)
    for peak in peaks:
        axes.plot([peak / slope, high], [peak, peak], color="0.25", lw=1.1, ls="--")
        axes.annotate(f"{peak:,}", (high, peak), xytext=(3, 0), va="center",
                      textcoords="offset points", fontsize="small", color="0.25")  # fmt: skip
    axes.set(xscale="log", yscale="log", xlim=(low, high))
    achieved = [r["macs"] / r["total_cycles"] for r in rows]
    axes.set_ylim(min(achieved) / 2, 2.2 * max(*achieved, *peaks))
    axes.set_title(
        f"slope: DRAM, {slope:g} bytes a cycle; dashed: the baselines' peaks",
        loc="left",
        fontsize="small",
    )
    axes.set_xlabel("MACs per byte of DRAM traffic")
    axes.set_ylabel("MACs per cycle")
    axes.grid(color="0.9", linewidth=0.7)
    axes.set_axisbelow(True)
    figure.legend(loc="outside right center", fontsize="small", frameon=False)
    return figure


def widths(report: Report, network: str) -> Figure:
    """Shares of groups by width: of all layers on top, of each layer below."""
    found = [h for h in report.histograms if h["network"] == network]
    operands = [o for o in ("activations", "weights") if any(h["operand"] == o for h in found)]
    most = max(len(h["groups"]) for h in found)
    names = [h["layer"] for h in found if h["operand"] == operands[0]]
    height = max(1.2, 0.22 * min(len(names), _MOST_LAYERS))
    figure = _new(2.9 + height)
    grid = figure.subplots(
        2, len(operands), squeeze=False, sharex=True, sharey="row",
        gridspec_kw={"height_ratios": [1.9, height]},
    )  # fmt: skip
    image = None
    for (top, below), operand in zip(grid.T, operands, strict=True):
        mine = [h for h in found if h["operand"] == operand]
        padded = [h["groups"] + [0] * (most - len(h["groups"])) for h in mine]
        every = [sum(column) for column in zip(*padded, strict=True)]
        top.bar(range(most), [100 * n / sum(every) for n in every], 0.8, color="#31688e")
        top.set_title(f"{operand}, groups of {mine[0]['group_size']}", fontsize="medium")
        top.spines[["top", "right"]].set_visible(False)
        shares = [[100 * n / sum(line) for n in line] for line in padded]
        image = below.imshow(shares, aspect="auto", cmap="Blues", vmin=0, interpolation="none")
        step = -(-len(mine) // _MOST_LAYERS)
        below.set_yticks(range(0, len(mine), step), _numbered(names)[::step])
        below.set_xticks(range(0, most, 2))
        below.set_xlabel("width (bits)")
    grid[0, 0].set_ylabel("groups (%)")
    assert image is not None
    figure.colorbar(image, ax=grid[1, :], label="groups of the layer (%)", **_BAR)
    return figure
