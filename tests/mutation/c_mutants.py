"""Mutants of the C kernels, of the instruction set x86-64-v3: which ones do the tests see?

::

    pip install universalmutator
    python setup.py build_ext --inplace
    python tests/mutation/c_mutants.py --sample 25 --out tests/mutation/c_mutants.csv
    python tests/mutation/c_mutants.py precision --sample 100 --out more.csv

Of each area, what universalmutator makes is taken in random order (with a seed) until as many as
wanted compile to other code.  Each is linked with the other objects of the last build and tested:
it is "invalid" (does not compile), "same" (compiles to the same code), "killed", "timeout" (killed
too) or "survived" (all of its area's tests pass).  A run that is interrupted goes on where it was.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path

from rich.progress import track
from universalmutator.mutator import mutants_regexp

ROOT = Path(__file__).parents[2]
SOURCES = ROOT / "fmtlib/_core/src"
TARGET, TARGET_UNIT = "x86-64-v3", "target_x86_64_v3.c"  # includes the *.inc.h
FLAGS = ["-std=c11", "-O1", "-fPIC", "-w", "-ffp-contract=off", "-fno-trapping-math"]
CASES = ("1", "4")  # of each test function: of all mutants; of those that survive the first
SECONDS = 900
RULES = ["universal.rules", "c_like.rules", "c.rules"]
COMMENTS = [r"^\s*//", r"^#", r"^\s*\*"]

# What is mutated, and the tests that should see it.
AREAS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "precision": (
        ("widths.c", "widths.inc.h", "terms.inc.h"),
        ("terms", "group_widths", "precision"),
    ),
    "products": (
        ("matmul.c", "dot_product.c", "accumulate.c", "exact_sums.c", "tile_layout.c",
         "tile_packing.c", "transpose.c", "tiles.inc.h", "integer_dot.inc.h", "integer_pack.inc.h"),
        ("products", "accumulators", "product_tiles"),
    ),
    "codec": (
        ("elementwise.c", "blocks.c", "lookup.c", "kernels.inc.h", "round.inc.h", "groups.inc.h",
         "nearest.inc.h", "scaled.inc.h", "noise.inc.h", "philox.inc.h", "round_widths.inc.h"),
        ("scaled_floats", "nearest", "stochastic", "p3109", "block_formats", "random", "encode",
         "inputs", "ufuncs", "scaling", "blocks", "traps", "thresholds", "chunks", "table"),
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
    reason: str = ""  # why it may survive

    @property
    def place(self) -> tuple[str, int, str]:
        return self.file, self.line, short(self.after)


def short(text: str) -> str:
    """Without the blanks and what continues the lines of a macro."""
    return " ".join(text.split()).rstrip("\\ ")


def generated(area: str) -> list[Mutant]:
    """All mutants of an area's files."""
    found = []
    for file in AREAS[area][0]:
        lines = (SOURCES / file).read_text().splitlines(keepends=True)
        with contextlib.redirect_stdout(io.StringIO()):
            mutants = mutants_regexp(lines, ruleFiles=RULES, ignorePatterns=COMMENTS)
        for number, after, *_ in mutants:
            found.append(Mutant(area, file, number, lines[number - 1].rstrip(), after.rstrip()))
    return found


class Bench:
    """A copy of the package whose kernels can be exchanged."""

    def __init__(self, folder: Path, areas: list[str]) -> None:
        self.folder, self.sources, self.objects = folder, folder / "src", folder / "objects"
        self.package = folder / "fmtlib"
        shutil.copytree(SOURCES, self.sources)
        ignore = shutil.ignore_patterns("*.c", "*.h", "__pycache__")
        shutil.copytree(ROOT / "fmtlib", self.package, ignore=ignore)
        built = next(ROOT.glob("build/temp*/fmtlib/_core"))
        self.objects.mkdir()
        for path in (built / "kernels.o", *(built / "src").glob("*.o")):
            shutil.copy(path, self.objects)
        self.unchanged: dict[Path, bytes] = {}
        self.compile(self.sources / TARGET_UNIT, self.objects / "target_x86_64_v3.o")
        self.link({})
        for area in areas:
            if self.failed(area, CASES[0]) is not None:
                raise SystemExit(f"the tests of {area} fail without any mutant")

    def compile(self, unit: Path, to: Path) -> bool:
        # Most mutants are no C: their syntax alone says so ten times as fast.
        parse = ["gcc", *FLAGS, "-fsyntax-only", unit]
        command = ["gcc", *FLAGS, "-fvisibility=hidden", "-c", unit, "-o", to]
        return all(
            subprocess.run(step, stderr=subprocess.DEVNULL, check=False).returncode == 0
            for step in (parse, command)
        )

    def link(self, changed: dict[str, Path]) -> bool:
        objects = [changed.get(path.name, path) for path in sorted(self.objects.glob("*.o"))]
        command = ["gcc", "-shared", *objects, "-lm", "-o", self.package / "_core/kernels.abi3.so"]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0

    def failed(self, area: str, cases: str) -> str | None:
        """How the tests of an area fail, or None."""
        tests = [str(ROOT / f"tests/test_{name}.py") for name in AREAS[area][1]]
        paths = os.pathsep.join(map(str, (self.folder, ROOT / "tests")))
        options = ["-qx", "-p", "no:cacheprovider", "-c", str(ROOT / "pyproject.toml")]
        thin = ["-p", "mutation.sample", "--cases", cases, "--seconds", "15"]
        command = [sys.executable, "-P", "-m", "pytest", *options, *thin, *tests]
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
        made = self.folder / "mutant.o"
        if unit not in self.unchanged:
            self.compile(unit, made)
            self.unchanged[unit] = made.read_bytes()
        try:
            path.write_text("\n".join(lines) + "\n")
            if not self.compile(unit, made):
                return "invalid"
        finally:
            path.write_text(text)
        if made.read_bytes() == self.unchanged[unit]:
            return "same"
        if not self.link({f"{unit.stem}.o": made}):
            return "invalid"
        return next(filter(None, (self.failed(mutant.area, cases) for cases in CASES)), "survived")


def read(path: Path) -> dict[tuple[str, int, str], Mutant]:
    """The table so far, by what was mutated."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = [Mutant(**{**row, "line": int(row["line"])}) for row in csv.DictReader(file)]
    return {row.place: row for row in rows}


def write(path: Path, row: Iterable[object]) -> None:
    """Append a row to the table."""
    with path.open("a", newline="") as file:
        csv.writer(file, lineterminator="\n").writerow(row)


def main() -> None:
    """Make, test, write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("areas", nargs="*", default=list(AREAS), help=", ".join(AREAS))
    parser.add_argument(
        "--sample", type=int, default=25, help="to test, of each area (default: 25)"
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    mutants = {area: generated(area) for area in args.areas}
    for area, some in mutants.items():
        print(f"{area}: {len(some)} mutants", flush=True)
        random.Random(args.seed).shuffle(some)
    done = read(args.out)
    if not done:
        write(args.out, [field.name for field in fields(Mutant)])
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder), args.areas)
        for _ in track(range(args.sample), "mutants of each area"):
            for some in mutants.values():
                status = "invalid"
                while some and status in ("invalid", "same"):
                    mutant = some.pop()
                    if (known := done.get(mutant.place)) is not None:
                        status = known.status
                        continue
                    status = bench.status(mutant)
                    before, after = short(mutant.before), short(mutant.after)
                    row = replace(mutant, before=before, after=after, status=status)
                    write(args.out, astuple(row))


if __name__ == "__main__":
    main()
