"""Mutants of the C kernels, of the instruction set x86-64-v3: which ones do the tests see?

::

    pip install universalmutator
    python tests/mutation/c_mutants.py --sample 25 --out tests/mutation/c_mutants.csv          # all areas
    python tests/mutation/c_mutants.py precision --sample 100 --out more.csv

Of each area, a random sample (with a seed) of what universalmutator makes is compiled and tested. A mutant is
"invalid" (does not compile), "same" (compiles to the same code), "killed", "timeout" (killed too) or "survived" all
of its area's tests.  A run that is interrupted goes on with what is not in the table.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import shutil
import signal
import subprocess
import sys
import sysconfig
import tempfile
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
from rich.progress import track

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "fmtlib/_core/src"
TARGET, TARGET_UNIT = "x86-64-v3", "target_x86_64_v3.c"  # includes the *.inc.h
FLAGS = (
    "-std=c11",
    "-O1",
    "-fPIC",
    "-w",
    "-ffp-contract=off",
    "-fno-trapping-math",
    "-fvisibility=hidden",
)
DEFINES = (
    "-DNPY_NO_DEPRECATED_API=NPY_2_0_API_VERSION",
    "-DNPY_TARGET_VERSION=NPY_2_0_API_VERSION",
    "-DPy_LIMITED_API=0x030B0000",
)
CASES = ("2", "6")  # of each test function: of all mutants; of those that survive the first
SECONDS = 900

# What is mutated, and the tests that should see it.
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "precision": (
        ("widths.c", "widths.inc.h", "terms.inc.h"),
        ("terms", "group_widths", "precision"),
    ),
    "products": (
        ("matmul.c", "dot_product.c", "accumulate.c", "exact_sums.c", "tile_layout.c", "tile_packing.c",
         "transpose.c", "tiles.inc.h", "integer_dot.inc.h", "integer_pack.inc.h"),
        ("products", "accumulators", "product_tiles"),
    ),
    "codec": (
        ("elementwise.c", "blocks.c", "lookup.c", "kernels.inc.h", "round.inc.h", "groups.inc.h",
         "nearest.inc.h", "scaled.inc.h", "noise.inc.h", "philox.inc.h", "round_widths.inc.h"),
        ("scaled_floats", "nearest", "stochastic", "p3109", "block_formats", "random", "encode", "inputs", "ufuncs",
         "scaling", "blocks", "traps", "thresholds", "chunks", "table"),
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Mutant:
    """One changed line."""

    area: str
    file: str
    line: int
    before: str
    after: str
    status: str = ""


def generated(file: str, folder: Path) -> list[tuple[int, str, str]]:
    """All mutants of a file: line number, line before, line after."""
    source = SOURCES / file
    name = f"{source.name.split('.')[0]}.c"  # the name decides the language
    shutil.copy(source, folder / name)
    made = folder / "mutants"
    made.mkdir()
    mutate = Path(sys.executable).with_name("mutate")
    subprocess.run(
        [mutate, name, "c", "--noCheck", "--mutantDir", made],
        cwd=folder,
        check=True,
        stdout=subprocess.DEVNULL,
    )
    old = source.read_text().splitlines()
    found = set()
    for path in made.iterdir():
        new = path.read_text().splitlines()
        at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
        if at is not None and old[at + 1 :] == new[at + 1 :]:
            found.add((at + 1, old[at], new[at]))
    return sorted(found)


class Bench:
    """A copy of the package whose kernels can be exchanged."""

    def __init__(self, folder: Path) -> None:
        self.sources, self.objects, self.package = (
            folder / "src",
            folder / "objects",
            folder / "fmtlib",
        )
        shutil.copytree(SOURCES, self.sources)
        self.objects.mkdir()
        ignore = shutil.ignore_patterns("*.so", "*.c", "*.h", "__pycache__")
        shutil.copytree(ROOT / "fmtlib", self.package, ignore=ignore)
        shutil.copy(ROOT / "fmtlib/_core/counting.abi3.so", self.package / "_core")
        self.module = self.package / "_core/kernels.abi3.so"
        self.folder = folder
        units = [*self.sources.glob("*.c"), ROOT / "fmtlib/_core/kernels.c"]
        for unit in track(units, "unchanged kernels"):
            if not self.compile(unit, self.objects / f"{unit.stem}.o"):
                raise SystemExit(f"{unit} does not compile")
        self.link({})
        if self.failed("precision", CASES[0]) is not None:
            raise SystemExit("the tests fail without any mutant")

    def compile(self, unit: Path, to: Path) -> bool:
        include = (self.sources, np.get_include(), sysconfig.get_path("include"))
        command = ["gcc", *FLAGS, *DEFINES, *(f"-I{i}" for i in include), "-c", unit, "-o", to]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def link(self, changed: dict[str, Path]) -> bool:
        objects = [changed.get(path.name, path) for path in sorted(self.objects.glob("*.o"))]
        command = ["gcc", "-shared", *objects, "-lm", "-o", self.module]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def failed(self, area: str, cases: str) -> str | None:
        """How the tests of an area fail, or None."""
        tests = [str(ROOT / f"tests/test_{name}.py") for name in AREAS[area][1]]
        paths = os.pathsep.join(map(str, (self.folder, ROOT / "tests")))
        command = [sys.executable, "-P", "-m", "pytest", "-qx", "-p", "mutation.sample", "--cases", cases, "--seconds", "30",
                   "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml"), *tests]  # fmt: skip
        try:
            run = subprocess.run(
                command, cwd=self.folder, timeout=SECONDS, check=False, stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"PYTHONPATH": paths, "FMTLIB_ONLY_TARGET": TARGET, "CI": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "timeout"
        if run.returncode in (-signal.SIGVTALRM, 128 + signal.SIGVTALRM):
            return "timeout"
        return None if run.returncode == 0 else "killed"

    def status(self, mutant: Mutant) -> str:
        """What becomes of a mutant."""
        path = self.sources / mutant.file
        text = path.read_text()
        lines = text.splitlines()
        lines[mutant.line - 1] = mutant.after
        unit = self.sources / (TARGET_UNIT if mutant.file.endswith(".h") else mutant.file)
        usual, made = self.objects / f"{unit.stem}.o", self.folder / "mutant.o"
        try:
            path.write_text("\n".join(lines) + "\n")
            if not self.compile(unit, made):
                return "invalid"
        finally:
            path.write_text(text)
        if made.read_bytes() == usual.read_bytes():
            return "same"
        if not self.link({usual.name: made}):
            return "invalid"
        return next(filter(None, (self.failed(mutant.area, cases) for cases in CASES)), "survived")


def read(path: Path) -> dict[tuple[str, int, str], Mutant]:
    """The table so far, by what was mutated."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [Mutant(**{**row, "line": int(row["line"])}) for row in csv.DictReader(file)]  # type: ignore[arg-type]
    return {(row.file, row.line, row.after): row for row in rows}


def main() -> None:
    """Make, test, write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("areas", nargs="*", default=list(AREAS), help=", ".join(AREAS))
    parser.add_argument("--sample", type=int, default=25, help="mutants of each area (default: 25)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    chosen = []
    for area in args.areas:
        mutants = []
        for file in AREAS[area][0]:
            with tempfile.TemporaryDirectory() as folder:
                mutants += [Mutant(area, file, *mutant) for mutant in generated(file, Path(folder))]
        some = random.Random(args.seed).sample(mutants, min(args.sample, len(mutants)))
        print(f"{area}: {len(some)} of {len(mutants)} mutants", flush=True)
        chosen += some
    done = read(args.out)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        new = not args.out.exists()
        with args.out.open("a", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow([field.name for field in fields(Mutant)])
            for mutant in track(chosen, "mutants"):
                if (mutant.file, mutant.line, mutant.after) not in done:
                    row = (mutant.area, mutant.file, mutant.line, mutant.before, mutant.after)
                    writer.writerow((*row, bench.status(mutant)))
                    file.flush()
    rows = read(args.out).values()
    for area in args.areas:
        statuses = [row.status for row in rows if row.area == area]
        print(area, {status: statuses.count(status) for status in sorted(set(statuses))})


if __name__ == "__main__":
    main()
