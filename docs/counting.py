"""Count a pretrained network on all designs, for docs/counting.md: its table and pictures.

pip install ".[count,networks]"
python docs/counting.py
"""

import sys

from readme_figures import ROOT, fill  # beside this file

from fmtlib.benchmarks.machine import processor
from fmtlib.hardware import Energy, Memory, Report, count, design_names, trace

sys.path.insert(0, str(ROOT / "examples"))
from pretrained import efficientnet_lite0, imagenet_input, photographs

PAGE = ROOT / "docs/counting.md"
IMAGES = ROOT / "docs/images"
PHOTO = "astronaut"
HEAD = ("design", "cycles", "baseline", "speed-up (×)", "ideal (×)", "with memory (×)")
PICTURES = ("speedups", "cycles", "roofline")


def table(report: Report) -> str:
    """The network's totals as Markdown."""
    lines = [list(HEAD), ["---", *["---:"] * (len(HEAD) - 1)]]
    for r in report.totals:
        ratios = (r["speedup"], r["ideal_speedup"], r["total_speedup"])
        cycles = (f"{r[key]:,}" for key in ("compute_cycles", "baseline_cycles"))
        lines.append([f"`{r['label']}`", *cycles, *(f"{ratio:.2f}" for ratio in ratios)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main() -> None:
    """Rewrite the page's table and its pictures."""
    photo = {PHOTO: photographs()[PHOTO]}
    layers = trace(efficientnet_lite0(), imagenet_input(photo))
    result = count(
        layers,
        design_names(),
        memory=Memory(),
        energy=Energy(table="estimates_45nm", missing="omit"),
        progress=True,
    )
    report = result.report("efficientnet_lite0")
    fill(PAGE, "counts", f"{table(report)}\n\nTraced on an {processor()}.")
    pictures = report.pictures()
    for name in PICTURES:
        (IMAGES / f"counts_{name}.svg").write_text(pictures[name][1], encoding="utf-8")


if __name__ == "__main__":
    main()
