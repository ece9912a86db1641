"""Put measured figures into docs/benchmarks.md, its picture and README.md, between their markers.

fmtlib bench --targets all --sizes all --out docs/benchmarks.json
python docs/benchmarks.py
"""

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from readme_figures import ROOT, fill  # beside this file

from fmtlib.benchmarks import report, results
from fmtlib.benchmarks.report import entry_text, limit_text, number
from fmtlib.benchmarks.results import greatest_of, ours_of, peers_of, within

RECORD = ROOT / "docs/benchmarks.json"
PICTURE = ROOT / "docs/images/benchmarks.svg"
# Without figures of these there is nothing to stand beside.
WANTED = ("ml_dtypes", "gfloat", "torch", "jax", "qtorch")
# What the README shows; docs/benchmarks.md has all.
README_TASKS = (
    "encode float8_e4m3fn", "decode float8_e4m3fn", "quantize float8_e4m3fn", "quantize bfloat16",
    "quantize float8_e4m3fn stochastic", "encode fixed_s7_8", "encode int8 affine per row",
    "quantize bfp_m4_e8_g16", "quantize bfp_m4_e8_g16 stochastic", "quantize mxfp8_e4m3",
    "group_bits of 16", "call encode float8_e4m3fn, ufunc", "matmul BFP m=4 in groups of 16",
    "matmul float8_e4m3fn hopper",
)  # fmt: skip

STEP = "training step of "

Row = dict[str, Any]


def checked(found: dict[str, Any]) -> dict[str, Any]:
    """The results, if peers have rows in them."""
    missing = [name for name in WANTED if name not in peers_of(found["rows"])]
    if missing:
        raise SystemExit(
            f"the results have no figures of {', '.join(missing)}: install them, with pip install "
            '".[bench,peers]", and run fmtlib bench again'
        )
    absent = [name for name in README_TASKS if all(row["task"] != name for row in found["rows"])]
    if absent or found["quick"]:
        raise SystemExit(
            f"the results are of a part ({', '.join(absent) or 'a quick run'} is missing): run "
            "fmtlib bench without --select and --quick"
        )
    return found


def markdown(head: list[str], lines: Iterable[list[str]], left: int = 1) -> str:
    """A table; all columns but the first ones are of numbers."""
    rule = ["---" if i < left else "---:" for i in range(len(head))]
    return "\n".join("| " + " | ".join(line) + " |" for line in [head, rule, *lines])


def beside_peers(rows: list[Row], names: list[str]) -> str:
    """Ours and the peers, in multiples of the yardstick."""
    lines = []
    for row in rows:
        first = ours_of(row)[0]
        by_name = {entry["who"]: entry for entry in row["entries"]}
        cells = [entry_text(row, by_name[name]) if name in by_name else "" for name in names]
        speed = f" ({number(first['gflops'])} GFLOP/s)" if "gflops" in first else ""
        if "fmtlib packed" in by_name:
            speed += f"; packed {number(by_name['fmtlib packed']['ratio'])}"
        ratio = f"**{entry_text(row, first)}**{speed}"
        lines.append([row["task"], row["yardstick"], limit_text(row), ratio, *cells])
    return markdown(["task", "yardstick", "wanted", "fmtlib", *names], lines, 2)


def by_size(rows: list[Row]) -> str:
    """Headlines in every size; function, and ufunc where there is one."""
    sizes = list(dict.fromkeys(row["size"] for row in rows))
    cells: dict[str, dict[str, str]] = {}
    for row in rows:
        first, *rest = ours_of(row)
        ufunc = next((e for e in rest if e["who"] == "fmtlib ufunc"), None)
        text = number(first["ratio"]) + (f" ({number(ufunc['ratio'])})" if ufunc else "")
        cells.setdefault(row["task"], {})[row["size"]] = text
    several = {task: found for task, found in cells.items() if len(found) > 1}
    elements = {row["size"]: row["entries"][0]["elements"] for row in rows}
    sizes = sorted(
        {size for found in several.values() for size in found}, key=lambda size: elements[size]
    )
    head = ["task", *(f"{size}: {elements[size]:,}" for size in sizes)]
    return markdown(head, ([task, *(f.get(s, "") for s in sizes)] for task, f in several.items()))


def by_target(rows: list[Row], targets: list[str]) -> str:
    """Headlines on every instruction set."""
    lines = []
    for row in rows:
        ratios = {e["target"]: number(e["ratio"]) for e in reversed(ours_of(row))}
        lines.append([row["task"], row["yardstick"], *(ratios.get(t, "") for t in targets)])
    return markdown(["task", "yardstick", *targets], lines, 2)


def plain_entry(row: Row) -> dict[str, Any] | None:
    """Ours with other data than the row is about: both tell how many bytes they move."""
    whos = (e for e in row["entries"] if e["who"].startswith("fmtlib, ") and "ratio_per_byte" in e)
    return next(whos, None)


def beside_plain(rows: list[Row]) -> str:
    """Tasks whose data differ, beside the same with plain data."""
    lines = []
    for row in rows:
        first, other = ours_of(row)[0], plain_entry(row)
        assert other is not None
        name = other["who"].partition(", ")[2]
        lines.append([
            row["task"], number(first["ratio"]), name, number(other["ratio"]),
            f"{first['ratio'] / other['ratio'] - 1:+.0%}",
            f"{first['ratio_per_byte'] / other['ratio_per_byte'] - 1:+.0%}",
        ])  # fmt: skip
    head = ["task", "fmtlib", "beside", "its ratio", "difference", "per byte"]
    return markdown(head, lines)


def training_steps(rows: list[Row]) -> str:
    """Steps of the trainer, and what 60,000 samples, the images of MNIST, take at that rate."""
    lines = []
    for row in rows:
        network, _, recipe = row["task"].removeprefix(STEP).partition(", ")
        first = ours_of(row)[0]
        seconds = first["seconds"]["median"]
        epoch = seconds * 60_000 / int(row["size"].removesuffix(" samples"))
        ratio = f"**{number(first['ratio'])}** × {row['yardstick']}"
        lines.append([
            network, recipe or "Float32", row["size"], number(seconds * 1e3), number(epoch), ratio,
            limit_text(row),
        ])  # fmt: skip
    head = ["network", "recipe", "batch", "step (ms)", "60,000 samples (s)", "ratio", "wanted"]
    return markdown(head, lines, 3)


def figures(found: dict[str, Any]) -> str:
    """All tables."""
    rows, targets = found["rows"], found["targets"]
    names = peers_of(rows)
    mains = greatest_of(rows)
    headlines = [row for row in mains if row["headline"]]
    awkward = [row for row in mains if plain_entry(row) is not None]
    steps = [row for row in mains if row["task"].startswith(STEP)]
    others = [row for row in mains if row not in [*headlines, *awkward, *steps]]
    limited = [row for row in mains if row["limit"] or row["least_gflops"]]
    kept = sum(map(within, limited))
    parts = [
        report.about(found),
        f"{kept} of the {len(limited)} tasks that have a limit keep it in this run.",
        "## Beside other packages",
        beside_peers(headlines, names),
        "![Headlines as bars](images/benchmarks.svg)",
        "## Sizes",
        "In brackets: the ufunc by itself, without the checks of the function.",
        by_size([row for row in rows if row["yardstick"] == "copyto" and row["headline"]]),
    ]
    if len(targets) > 1:
        parts += ["## Instruction sets", by_target(headlines, targets)]
    parts += [
        "## Awkward data and other types",
        "The same call with other data, beside plain float32.",
        beside_plain(awkward),
        "## Steps of training",
        "One thread. Images have 28 × 28 pixels where nothing else is said, texts 64 characters.",
        training_steps(steps),
        "## Everything else",
        beside_peers(others, names),
    ]
    return "\n\n".join(parts)


def headline(found: dict[str, Any]) -> str:
    """What the README shows."""
    rows = [row for row in greatest_of(found["rows"]) if row["task"] in README_TASKS]
    machine = found["machine"]
    size = max(row["entries"][0]["elements"] for row in rows) * 4 / 2**20
    return "\n\n".join([
        f"{machine['processor']}, {found['targets'][0]} kernels, one thread, "
        f"{found['date'][:10]}; time ÷ yardstick, medians of one interleaved run. copyto is "
        f"`np.copyto` of the float32 array, of {size:g} MiB. (1/n): measured on that part of "
        "the array, scaled; numpy: written by hand; wanted: the limit for these kernels.",
        beside_peers(rows, peers_of(found["rows"])),
        "![Time as multiples of a copy](docs/images/benchmarks.svg)",
    ])  # fmt: skip


def main(record: Path) -> None:
    """Rewrite the documents from a record, and keep it."""
    found = checked(results.load(record))
    if record.resolve() != RECORD:
        results.save(found, RECORD)
    fill(ROOT / "docs/benchmarks.md", "figures", figures(found))
    fill(ROOT / "README.md", "bench", headline(found))
    report.save_plot(found, PICTURE)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else RECORD)
