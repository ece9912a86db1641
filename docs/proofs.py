"""Run the tests that prove the formats, and write what they found into docs/proofs.md.

    python docs/proofs.py          # all of them: some minutes; needs the peers extra
    python docs/proofs.py --quick  # without the sweeps over all 2**32 float32 inputs

The figures of docs/proofs.md come from here alone.
"""

import argparse
import datetime
import importlib.metadata
import os
import platform
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ET
from collections import Counter
from pathlib import Path

from readme_figures import processor

from fmtlib._core import kernels

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "proofs.md"

# Test module, test and what it says; the order is that of the page.
GROUPS = [
    ("test_thresholds", "", "the reference's thresholds against its own `encode`"),
    ("test_encode", "test_every_16_bit_input",
     "every float16 and bfloat16 into every format up to 16 bits, every rounding and overflow"),
    ("test_encode", "test_every_midpoint",
     "float32 and float64 at every value and midpoint, and one step beside"),
    ("test_encode", "test_every_threshold_of_wide_formats", "the same of TF32, all thresholds"),
    ("test_encode", "test_the_reference_itself", "the kernels against `reference.encode` directly"),
    ("test_encode", "test_decode_is_exact_for_every_code", "every code's value"),
    ("test_stochastic", "", "the laws of stochastic rounding, all words of 1, 2, 4 and 8 bits"),
    ("test_traps", "", "inputs that a second rounding spoils: float64, int64"),
    ("test_golden", "", "golden data: values, codes, roundings"),
    ("test_onnx", "", "ONNX's backend cases of its conversion operators"),
    ("test_ml_dtypes", "", "ml_dtypes' own casts"),
    ("test_peers", "test_gfloat", "gfloat: named formats, the P3109 family, stochastic roundings"),
    ("test_peers", "test_torch", "torch's casts"),
    ("test_peers", "test_the_installed_onnx", "the cases that the installed onnx generates"),
]  # fmt: skip
SWEEP = "test_every_float32"
DISAGREEMENTS = "test_disagreements"
PACKAGES = ("fmtlib", "numpy", "ml_dtypes", "torch", "gfloat", "onnx")
TEXT = """\
# Proofs

<!-- Written by docs/proofs.py: do not edit. -->

Found on {where}.

## All 2^32 float32 inputs

Every float32 pattern, NaN payloads included, rounded to nearest, ties to even. The expected codes
come from the exact decision thresholds of `fmtlib.reference` and share no code with the kernels:
between two thresholds all patterns have the same code (`tests/sweep.py`).
`test_encode_on_each_target` runs the kernels of one instruction set after the other;
`test_ml_dtypes` compares ml_dtypes' cast with the same thresholds: a second implementation, by
others. NaN is right if it is any NaN of the format. Seconds are of the clock, and tell as much of
what else the machine was doing.

{sweep}

A further test spoils three results and finds that the sweep counts three.

## Everything else

Results are compared bit for bit, those of the kernels once for each instruction set. Groups without
a number compare many small things.

{groups}

## What others give

The disagreements of [disagreements.md](disagreements.md) that were checked with the versions above.
Inputs of the float64 rows are the traps of `tests/test_traps.py`: one step on either side of every
midpoint.

{disagreements}

Run again with `python docs/proofs.py`.
"""


def run_tests(modules: list[str], report: Path) -> None:
    """Run test modules with every marker; their output goes to the terminal."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "exhaustive or peers or not peers"]
    command += ["-p", "no:cacheprovider", "-o", "junit_family=xunit1", f"--junitxml={report}"]
    subprocess.run([*command, *(f"tests/{module}.py" for module in modules)], cwd=ROOT)


class Case:
    """One test of the report: where it is, how it ended, and the numbers it recorded."""

    def __init__(self, element: ET.Element) -> None:
        self.module = element.get("classname", "").split(".")[-1]
        self.test, _, parameters = element.get("name", "").partition("[")
        self.parameters = parameters.removesuffix("]")
        self.failed = element.find("failure") is not None or element.find("error") is not None
        self.skipped = element.find("skipped") is not None
        self.numbers: Counter[str] = Counter()
        for item in element.iter("property"):
            self.numbers[item.get("name", "")] += float(item.get("value", 0))


def row(*cells: object) -> str:
    """One row of a Markdown table; whole numbers with commas."""
    return "| " + " | ".join(f"{c:,}" if isinstance(c, int) else str(c) for c in cells) + " |"


def sweep_table(cases: list[Case]) -> list[str]:
    """The results on all float32 inputs."""
    lines = [row("test", "format and mode", "inputs", "wrong", "seconds"), "|---|---|--:|--:|--:|"]
    for case in cases:
        if case.parameters:
            found = [int(case.numbers[key]) for key in ("inputs", "wrong")]
            lines.append(row(case.test, case.parameters, *found, f"{case.numbers['seconds']:.0f}"))
    return lines


def group_table(cases: list[Case]) -> list[str]:
    """The other groups, summed."""
    lines = [
        row("what", "tests", "results compared", "failed", "skipped"),
        "|---|--:|--:|--:|--:|",
    ]
    for module, start, text in GROUPS:
        group = [c for c in cases if c.module == module and c.test.startswith(start)]
        inputs = int(sum(c.numbers["inputs"] for c in group))
        failed, skipped = sum(c.failed for c in group), sum(c.skipped for c in group)
        lines.append(row(text, len(group), inputs or "", failed, skipped))
    return lines


def disagreement_table(cases: list[Case]) -> list[str]:
    """What others give another result for."""
    lines = [row("what was checked", "format", "results that differ", "of"), "|---|---|--:|--:|"]
    for case in cases:
        counted = [int(case.numbers[key]) for key in ("differ", "of")] if case.numbers else ["", ""]
        name = case.test.removeprefix("test_").replace("_", " ")
        outcome = " (no longer so)" if case.failed else " (not installed)" if case.skipped else ""
        lines.append(row(name + outcome, case.parameters, *counted))
    return lines


def version(package: str) -> str:
    """The installed version of a package, or that there is none."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed" if package != "fmtlib" else "as in this tree"


def page(cases: list[Case]) -> str:
    """The whole document."""
    where = (
        f"{datetime.date.today()}; {processor()}, {os.cpu_count()} cores, {platform.machine()} "
        f"{platform.system()}; kernels {', '.join(kernels.available_targets())}; "
        f"Python {platform.python_version()}; "
        + ", ".join(f"{package} {version(package)}" for package in PACKAGES)
    )
    by_module = {name: [c for c in cases if c.module == name] for name in (SWEEP, DISAGREEMENTS)}
    return TEXT.format(
        where=where,
        sweep="\n".join(sweep_table(by_module[SWEEP])),
        groups="\n".join(group_table(cases)),
        disagreements="\n".join(disagreement_table(by_module[DISAGREEMENTS])),
    )


def main() -> None:
    """Run the tests, write the page, fail if a test did."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="leave the page alone; no sweeps")
    quick = parser.parse_args().quick
    modules = [*dict.fromkeys(module for module, *_ in GROUPS), DISAGREEMENTS]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        run_tests(modules if quick else [SWEEP, *modules], report)
        cases = [Case(element) for element in ET.parse(report).iter("testcase")]
    text = page(cases)
    if quick:
        print(text)
    else:
        PAGE.write_text(text)
    if any(case.failed for case in cases):
        sys.exit(1)


if __name__ == "__main__":
    main()
