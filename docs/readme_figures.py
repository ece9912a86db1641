"""Put the demonstration's figures into README.md, between its markers.

fmtlib demo --output demo-results
python docs/readme_figures.py demo-results
"""

import json
import re
import shutil
import sys
from pathlib import Path
from typing import Any

from fmtlib.benchmarks.machine import processor

ROOT = Path(__file__).parents[1]


def demo_text(results: dict[str, Any]) -> str:
    """The accuracy and counter tables as Markdown."""
    lines = [
        f"`fmtlib demo` took {results['seconds']:.0f} s on {results['cores']} cores "
        f"({processor()}, {results['cpu_target']} kernels, NumPy {results['numpy']}):",
        "",
        "| network | recipe | test accuracy (%) | points against FP32 (95 %) | passes per MAC |",
        "| --- | --- | ---: | ---: | ---: |",
    ]
    for r in results["accuracy"]:
        low, high = r["points_interval_95"]
        points = f"{r['points_against_fp32']:+.2f} ± {(high - low) / 2:.2f}"
        points = "" if r["recipe"] == "FP32" else points
        passes = "" if r["passes_per_mac"] is None else f"{r['passes_per_mac']:.2f}"
        lines.append(
            f"| {r['network']} | {r['recipe']} | {r['test_accuracy_percent']:.2f} ± "
            f"{r['test_accuracy_sd_points']:.2f} | {points} | {passes} |"
        )
    lines += [
        "",
        "| design | cycles | speed-up (×) | ideal (×) | bits per activation |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for r in results["counts_total"]:
        name = r["design"] + (", both ends" if r.get("ends") == "both" else "")
        lines.append(
            f"| {name} | {r['compute_cycles']:,} | {r['speedup']:.2f} | {r['ideal_speedup']:.2f} | "
            f"{r['bits_per_activation']:.2f} |"
        )
    lines += [
        "",
        "The splits overlap, so the intervals are approximate. With everything truncated at m=2, "
        "some runs learn little or nothing; a fixed switch (`m=2, then 4`) does as well here as "
        "FAST. The first layer has one channel, which fills one lane of 16 in every "
        "design but FAST, whose groups run along the whole reduction.",
    ]
    return "\n".join(lines)


def fill(path: Path, name: str, new: str) -> None:
    """Put a text between the markers of that name in a document."""
    start = re.compile(rf"(<!-- {name}: docs/\w+\.py -->\n).*?(<!-- end of {name} -->)", re.DOTALL)
    text, count = start.subn(lambda match: f"{match[1]}{new}\n{match[2]}", path.read_text("utf-8"))
    if count != 1:
        raise SystemExit(f"{path.name} has {count} places marked {name!r}, not one")
    path.write_text(text, encoding="utf-8")


def main(folder: Path) -> None:
    """Rewrite the demonstration's part of README.md and its picture from a folder of results."""
    demo = json.loads((folder / "results.json").read_text())
    fill(ROOT / "README.md", "demo", demo_text(demo))
    shutil.copy(folder / "training.png", ROOT / "docs/images/training.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
