"""Put measured figures into README.md, between its markers, and all ratios into docs/benchmarks.md.

fmtlib demo --output demo-results
pytest bench --benchmark-json=demo-results/bench.json
python docs/readme_figures.py demo-results
"""

import json
import platform
import re
import shutil
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
# The formats whose benchmarks the README shows; docs/benchmarks.md has all.
HEADLINES = (
    "float8_e4m3fn", "float8_e5m2", "bfloat16", "fixed_s7_8", "int8", "bfp_m4_e8_g16",
    "mxfp8_e4m3", "nvfp4",
)  # fmt: skip


def processor() -> str:
    """The processor's name, as Linux tells it."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"model name\s*: (.*)", info.read_text()) if info.exists() else None
    return found[1].strip() if found else platform.machine()


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


def bench_text(results: dict[str, Any], target: str, formats: tuple[str, ...] = ()) -> str:
    """The benchmark's ratios as Markdown; of the named formats, or of all."""
    rounds = results["benchmarks"][0]["stats"]["rounds"]
    lines = [
        f"{processor()}, {target} kernels, one thread, medians of {rounds} rounds. The yardstick "
        "is timed right before each task: `np.copyto` of the same 64 MiB float32 array (of the "
        "int16 array for widths), or NumPy's float32 matmul of 1024 × 1024 matrices.",
        "",
        "| task | time ÷ yardstick | yardstick |",
        "| --- | ---: | --- |",
    ]
    for bench in results["benchmarks"]:
        ((key, ratio),) = bench["extra_info"].items()
        fmt = (bench["params"] or {}).get("fmt")
        if formats and fmt is not None and fmt not in formats:
            continue
        name, _, parameters = bench["name"].removeprefix("bench_").rstrip("]").partition("[")
        task = ", ".join([name.replace("_", " "), *filter(None, parameters.split("-"))])
        yardstick = key.removeprefix("times_").replace("_", " ")
        lines.append(f"| {task} | {ratio:.2f} | {yardstick} |")
    return "\n".join(lines)


def main(folder: Path) -> None:
    """Rewrite README.md and its picture from a folder of results."""
    demo = json.loads((folder / "results.json").read_text())
    bench = json.loads((folder / "bench.json").read_text())
    target = demo["cpu_target"]
    texts = {"demo": demo_text(demo), "bench": bench_text(bench, target, HEADLINES)}
    readme = ROOT / "README.md"
    text = readme.read_text()
    for name, new in texts.items():
        start, end = f"<!-- {name}: docs/readme_figures.py -->", f"<!-- end of {name} -->"
        before, rest = text.split(start)
        _, after = rest.split(end)
        text = f"{before}{start}\n{new}\n{end}{after}"
    readme.write_text(text)
    page = f"# Benchmarks\n\nWritten by `docs/readme_figures.py`. {bench_text(bench, target)}\n"
    (ROOT / "docs/benchmarks.md").write_text(page)
    shutil.copy(folder / "training.png", ROOT / "docs/images/training.png")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
