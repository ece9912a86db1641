"""The results of a run as tables and a plot."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fmtlib.benchmarks.peers import HANDWRITTEN, PEERS
from fmtlib.benchmarks.results import greatest_of, ours_of, peers_of, within
from fmtlib.files import replaced

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

# More processors than this, and it was not one thread.
_ONE_THREAD = 1.15


def check_extra(*modules: str) -> None:
    """Raise ImportError, naming the extra, if a module is missing."""
    for name in modules:
        if importlib.util.find_spec(name) is None:
            raise ImportError(f'the benchmarks need {name}: pip install "fmtlib[bench]"')


def number(value: float) -> str:
    """A ratio in three digits or so."""
    return f"{value:.2f}" if value < 9.995 else f"{value:.1f}" if value < 99.95 else f"{value:.0f}"


def entry_text(row: dict[str, Any], entry: dict[str, Any]) -> str:
    """The ratio of a contestant, and what part of the array it got."""
    part = row["entries"][0]["elements"] / entry["elements"]
    text = number(entry["ratio"])
    if part > 1:
        text += f" (1/{part:.0f})"
    return text + ("*" if entry["threads"] > _ONE_THREAD else "")


def limit_text(row: dict[str, Any]) -> str:
    """What is wanted of a row."""
    if row["least_gflops"]:
        return f"≥ {row['least_gflops']:g} GFLOP/s"
    return "" if row["limit"] is None else f"≤ {number(row['limit'])}"


def label_of(entry: dict[str, Any], first: dict[str, Any]) -> str:
    """A contestant of ours, as a column's head has it."""
    if entry.get("target") != first.get("target"):
        return str(entry["target"])
    return "fmtlib" if entry is first else entry["who"].removeprefix("fmtlib").lstrip(", ")


def extra_text(entry: dict[str, Any]) -> str:
    """What a ratio does not say: per byte, or operations a second."""
    if "gflops" in entry:
        return f"{number(entry['gflops'])} GFLOP/s"
    return number(entry["ratio_per_byte"]) if "ratio_per_byte" in entry else ""


def about(results: dict[str, Any]) -> str:
    """The machine and the versions in a sentence."""
    machine, versions = results["machine"], results["versions"]
    sizes = ", ".join(
        f"{name.upper()} {size / 2**20:g} MiB"
        if size >= 1 << 20
        else f"{name.upper()} {size >> 10} KiB"
        for name, size in machine["caches"].items()
    )
    packages = ", ".join(
        f"{name} {number}" for name, number in versions.items() if name != "compiler"
    )
    compiled = f", compiled by {versions['compiler']}" if "compiler" in versions else ""
    return (
        f"{machine['processor']} ({sizes or 'caches unknown'}), {results['targets'][0]} kernels"
        f"{compiled}; {machine['system']}; {packages}; BLAS: {machine['blas'] or 'unknown'}; "
        f"{results['date'][:10]}; `{results['command']}`, {results['seconds']:.0f} s."
    )


def table(results: dict[str, Any]) -> Table:
    """The ratios."""
    from rich import box
    from rich.table import Table

    rows = results["rows"]
    shown = Table(
        box=box.SIMPLE,
        title="time ÷ yardstick, medians of one interleaved run, one thread",
        caption="±: middle half of the rounds; per byte: ratio per byte moved; (1/n): measured on "
        "that part of the array, scaled; numpy: written by hand; *: more than one thread",
    )
    names = peers_of(rows)
    several = len(results["targets"]) > 1
    for title in ("task", "size", "yardstick"):
        shown.add_column(title)
    titles = ["ms", "limit", "fmtlib", "±", "per byte", *(["targets"] if several else []), "beside"]
    for title in [*titles, *names]:
        shown.add_column(title, justify="right")
    for row in rows:
        first, *rest = ours_of(row)
        by_name = {entry["who"]: entry for entry in row["entries"]}
        low, high = first["ratio_quartiles"]
        targets = [e for e in rest if e["target"] != first["target"]]
        beside = [e for e in rest if e["target"] == first["target"]]
        late = not within(row)
        cells = [
            row["task"], row["size"], row["yardstick"],
            f"{1e3 * row['entries'][0]['seconds']['median']:.3g}", limit_text(row),
            f"[red]{entry_text(row, first)}[/red]" if late else entry_text(row, first),
            number((high - low) / 2), extra_text(first),
        ]  # fmt: skip
        if several:
            cells.append(_listed(targets, first))
        cells.append(_listed(beside, first))
        cells += [entry_text(row, by_name[name]) if name in by_name else "" for name in names]
        shown.add_row(*cells)
    return shown


def _listed(entries: Iterable[dict[str, Any]], first: dict[str, Any]) -> str:
    return ", ".join(f"{label_of(entry, first)} {number(entry['ratio'])}" for entry in entries)


def compare_table(changes: list[dict[str, Any]], note: str) -> Table:
    """The changes of `compare`."""
    from rich import box
    from rich.table import Table

    flagged = [change for change in changes if change["verdict"]]
    slower = sum(change["verdict"] == "slower" for change in flagged)
    shown = Table(
        box=box.SIMPLE,
        title=f"{len(changes)} compared: {slower} slower, {len(flagged) - slower} faster",
        caption=note,
    )
    for title in ("task", "size", "who", "target"):
        shown.add_column(title)
    for title in ("saved", "now", "change", ""):
        shown.add_column(title, justify="right")
    for change in changes:
        colour = {"slower": "red", "faster": "green"}.get(change["verdict"])
        shown.add_row(
            change["task"], change["size"], change["who"], change["target"],
            number(change["saved"]), number(change["now"]), f"{change['change']:+.0%}",
            f"[{colour}]{change['verdict']}[/{colour}]" if colour else "",
        )  # fmt: skip
    return shown


def compare_note(now: dict[str, Any], saved: dict[str, Any]) -> str:
    """What to know about the two runs."""
    differs = [
        f"{name}: {saved[part].get(name)} → {now[part].get(name)}"
        for part in ("machine", "versions")
        for name in sorted({*now[part], *saved[part]})
        if now[part].get(name) != saved[part].get(name)
    ]
    text = f"saved {saved['date'][:10]}; flagged beyond the middle halves of the rounds and 5 %"
    return "; ".join([text, *differs])


# --- the plot -------------------------------------------------------------------------------


def plot(results: dict[str, Any]) -> Figure:
    """Headlines: ours and peers as multiples of the yardstick, one panel for each yardstick."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = [row for row in results["rows"] if row["headline"]] or results["rows"]
    rows = greatest_of(rows)
    panels: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        unit = "float32 matmul" if "matmul" in row["yardstick"] else row["yardstick"]
        panels.setdefault(unit, []).append(row)
    names = ["fmtlib", *peers_of(rows)]
    colours = {name: f"C{i}" for i, name in enumerate(["fmtlib", *(peer.name for peer in PEERS)])}
    lengths = [sum(len(_bars(row, names)) + 1 for row in chosen) for chosen in panels.values()]
    figure = Figure(figsize=(9, 1.2 + len(panels) + 0.16 * sum(lengths)), layout="constrained")
    ratios = {"height_ratios": [length + 4 for length in lengths]}
    all_axes = figure.subplots(len(panels), 1, squeeze=False, gridspec_kw=ratios)[:, 0]
    for axes, (unit, chosen) in zip(all_axes, panels.items(), strict=True):
        _plot_panel(axes, unit, chosen, names, colours)
    machine = results["machine"]
    figure.legend(
        [Patch(color=colours[name]) for name in names],
        ["numpy, by hand" if name == HANDWRITTEN else name for name in names],
        title=f"{machine['processor']}, {results['targets'][0]} kernels, one thread",
        loc="outside upper center", ncols=len(names), fontsize="small",
    )  # fmt: skip
    return figure


def _bars(row: dict[str, Any], names: Sequence[str]) -> list[tuple[str, float]]:
    """Who and how much, for one task."""
    found = {entry["who"]: entry["ratio"] for entry in reversed(row["entries"])}
    return [(name, found[name]) for name in names if name in found]


def _plot_panel(
    axes: Axes,
    unit: str,
    rows: list[dict[str, Any]],
    names: Sequence[str],
    colours: dict[str, str],
) -> None:
    place, ticks = 0, []
    for row in rows:
        bars = _bars(row, names)
        ticks.append(place + (len(bars) - 1) / 2)
        for who, ratio in bars:
            axes.barh(place, ratio - 1, 0.9, left=1, color=colours[who])
            axes.text(max(ratio, 1) * 1.04, place, number(ratio), va="center", fontsize=6)
            place += 1
        if row["limit"] is not None:
            ends = [place - len(bars) - 0.5, place - 0.5]
            axes.plot([row["limit"]] * 2, ends, color="black", lw=1.2)
        place += 1
    axes.set_xscale("log")
    axes.set_yticks(ticks, [row["task"] for row in rows], fontsize=7)
    axes.invert_yaxis()
    axes.use_sticky_edges = False  # bars may start below 1
    axes.margins(x=0.08, y=0.01)
    axes.axvline(1, color="grey", lw=0.8)
    what = "np.copyto of the float32 array" if unit == "copyto" else unit
    axes.set_xlabel(f"time ÷ {what} (log scale; black: the limit for fmtlib)", fontsize=8)
    axes.tick_params(axis="x", labelsize=7)


def plot_format(path: str | os.PathLike[str]) -> str:
    """The format that the name of a plot's file asks for."""
    suffix = Path(path).suffix[1:].lower()
    if suffix not in ("svg", "png", "pdf"):
        raise ValueError(f"a plot's file must end in .svg, .png or .pdf, got {os.fspath(path)!r}")
    return suffix


def save_plot(results: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write the plot, in the format that the file's name says; SVG without dates, text as text."""
    import matplotlib

    suffix = plot_format(path)
    figure = plot(results)

    style: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "fmtlib"}
    with matplotlib.rc_context(style), replaced(path) as temporary:
        metadata = {"Date": None} if suffix == "svg" else None
        figure.savefig(temporary, format=suffix, dpi=120, metadata=metadata)
