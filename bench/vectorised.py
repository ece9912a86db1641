"""Which loops of the kernels compilers vectorise; a warning for each hot one that they do not.

    python bench/vectorised.py [--compilers gcc,clang] [--strict]

Every target_*.c is compiled with the flags of the extension and its loops are looked up in the
compiler's own report (gcc's dump of its vectoriser, clang's optimisation record), which has them by
function and line after inlining.  Where it says no, the machine code has the last word: loops that
are written with vector types, and outer loops, are no loops to a vectoriser.  All functions of
these files count as hot, but for those in `SCALAR`.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[1]
SOURCES = ROOT / "fmtlib/_core/src"
# Functions that need not be vectors, and why.
_BITS = "a word of several values at a time, at places that depend on those before"
SCALAR: dict[str, str] = {
    **{f"{verb}_groups{bits}": _BITS for verb in ("encode", "decode") for bits in (8, 16, 32)},
    "payload_bits": _BITS,
    "crc32c": "an instruction for eight bytes",
}

GCC_FUNCTION = re.compile(r"^;; Function (\w+)[\w.]* \(")
GCC_LOOP = re.compile(
    r"^(\S+?):(\d+):\d+: "
    r"(?:optimized: loop vectorized using (\d+) byte|missed: couldn't vectorize loop)"
)
CLANG_RECORD = re.compile(
    r"^--- !(Passed|Missed)\nPass: +loop-vectorize\nName: +(\w+)\n"
    r"DebugLoc: +\{ File: '?(.*?)'?,\s*Line: (\d+),.*?\nFunction: +'?(\w+)(.*?)^\.\.\.",
    re.MULTILINE | re.DOTALL,
)
# Arithmetic on all lanes of a vector register; moves say nothing.
PACKED = re.compile(
    r"v?p(?!ush|op|refetch|ause|ext|dep|insr|movmsk)\w+|v?(?:add|sub|mul|div|min|max|and|andn|or|xor|cmp|sqrt|blendv?|"
    r"r(?:ound|cp|sqrt))\w*p[sd]|v?cvt\w*(?:ps|pd|dq|ph)\w*|vfn?m(?:add|sub)\w*p[sd]|vpternlog\w+"
)
# Of a loop's instructions at least; the others load, store and count.
_PACKED_SHARE = 0.2
Loop = tuple[str, int]  # file and line


@dataclass(frozen=True)
class Found:
    """What is known of a loop: bytes of a vector (or elements, of clang), 0 for none."""

    width: int
    missed: bool


def flags() -> list[str]:
    """Those that the extension is compiled with: Python's own and those of setup.py."""
    tree = ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))
    (ours,) = (
        node.value
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "FLAGS"
    )
    pythons = (sysconfig.get_config_var("CFLAGS") or "").split()
    return [*(f for f in pythons if f[:2] in ("-f", "-O", "-D", "-m")), *ast.literal_eval(ours)]


def gcc_loops(dump: str) -> dict[tuple[str, Loop], list[Found]]:
    """Loops by function, from gcc's dump."""
    found = defaultdict(list)
    function = ""
    for line in dump.splitlines():
        if match := GCC_FUNCTION.match(line):
            function = match[1]
        elif match := GCC_LOOP.match(line):
            loop = Path(match[1]).name, int(match[2])
            found[function, loop].append(Found(int(match[3] or 0), match[3] is None))
    return found


def clang_loops(record: str) -> dict[tuple[str, Loop], list[Found]]:
    """Loops by function, from clang's record."""
    found = defaultdict(list)
    for passed, name, file, line, function, rest in CLANG_RECORD.findall(record):
        width = re.search(r"VectorizationFactor: +'?(\d+)", rest)
        if passed == "Passed" and name == "Vectorized" and width:
            found[function, (Path(file).name, int(line))].append(Found(int(width[1]), False))
        elif passed == "Missed":
            found[function, (Path(file).name, int(line))].append(Found(0, True))
    return found


# --- machine code ---------------------------------------------------------------------------

INSTRUCTION = re.compile(r"^ +([0-9a-f]+):\t(\S+)(?: +(.*))?$")
PLACE = re.compile(r"^(?:.*/)?([\w.]+):(\d+)(?: \(discriminator \d+\))?$")


def vector_lines(listing: str) -> dict[str, set[Loop]]:
    """Lines of the innermost loops that compute on vectors, by function.

    A loop that calls another function of the file counts, too: the work is done there.

    Parameters
    ----------
    listing : str
        Of ``objdump -d --no-show-raw-insn -l``.
    """
    functions = list(_functions(listing))
    names = {function for function, _ in functions}
    found: dict[str, set[Loop]] = defaultdict(set)
    for function, body in functions:
        loops = set()
        for address, mnemonic, operands, _ in body:
            target = re.match("[0-9a-f]+(?= )", operands) if mnemonic[0] == "j" else None
            if target and body[0][0] <= int(target[0], 16) <= address:
                loops.add((int(target[0], 16), address))
        for start, end in loops:
            if any(start <= s and e <= end for s, e in loops - {(start, end)}):
                continue
            inside = [entry for entry in body if start <= entry[0] <= end]
            packed = sum(PACKED.fullmatch(mnemonic) is not None for _, mnemonic, _, _ in inside)
            calls = {
                match[1]
                for _, mnemonic, operands, _ in inside
                if mnemonic == "call" and (match := re.search(r"<(\w+)[\w.]*>", operands))
            }
            if packed >= _PACKED_SHARE * len(inside) or calls & names - {function}:
                found[function].update(place for *_, place in inside)
    return found


def _functions(listing: str) -> Iterator[tuple[str, list[tuple[int, str, str, Loop]]]]:
    """Name and instructions (address, mnemonic, operands, source line) of each function."""
    function, place, body = "", ("", 0), []
    for line in listing.splitlines():
        if match := re.match(r"^[0-9a-f]+ <([\w]+)[\w.]*>:$", line):
            if body:
                yield function, body
            function, body = match[1], []
        elif match := INSTRUCTION.match(line):
            body.append((int(match[1], 16), match[2], match[3] or "", place))
        elif match := PLACE.match(line):
            place = match[1], int(match[2])
    if body:
        yield function, body


@cache
def loop_lines(file: str, line: int) -> range:
    """Lines of the loop that starts there, to its last brace or semicolon; of a macro, its use."""
    if not (SOURCES / file).exists():  # a compiler's own
        return range(line, line + 1)
    lines = (SOURCES / file).read_text(encoding="utf-8").splitlines()
    if not re.search(r"\b(for|while|do)\b", lines[line - 1]):
        return range(line, line + 1)
    depth, end = 0, line
    while end <= len(lines):
        text = lines[end - 1]
        depth += text.count("{") - text.count("}")
        if depth <= 0 and text.rstrip("\\ ").endswith((";", "}")):
            break
        end += 1
    return range(line, end + 1)


# --- the whole ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """Of one loop by one compiler for one target."""

    text: str
    fine: bool


def judge(found: list[Found], loop: Loop, vectors: set[Loop] | None, unit: str) -> Verdict:
    """Whether a loop has become vectors."""
    widths = [one.width for one in found if not one.missed]
    missed = sum(one.missed for one in found)
    if not missed:
        return Verdict(f"{max(widths)} {unit}", fine=True)
    if vectors is not None and any((loop[0], line) in vectors for line in loop_lines(*loop)):
        return Verdict("vectors", fine=True)
    return Verdict(f"{max(widths)} {unit}, in part scalar" if widths else "scalar", fine=False)


def examine(compiler: str, source: Path, folder: Path) -> dict[tuple[str, Loop], Verdict]:
    """Compile one target; all its loops."""
    kind = "clang" if "clang" in Path(compiler).name else "gcc"
    unit = {"gcc": "bytes", "clang": "lanes"}[kind]
    report, binary = folder / "report", folder / "kernels.o"
    how = (
        [f"-fdump-tree-vect-optimized-missed={report}"]
        if kind == "gcc"
        else ["-fsave-optimization-record=yaml", f"-foptimization-record-file={report}",
              "-foptimization-record-passes=loop-vectorize"]
    )  # fmt: skip
    command = [
        compiler,
        *flags(),
        "-g1",
        "-gdwarf-4",  # of clang's later tables of files binutils read the wrong entries
        "-w",
        "-Wno-psabi",
        *how,
        f"-I{SOURCES}",
        "-c",
        str(source),
        "-o",
        str(binary),
    ]
    subprocess.run(command, check=True, cwd=folder)
    text = report.read_text(encoding="utf-8", errors="replace")
    loops = gcc_loops(text) if kind == "gcc" else clang_loops(text)
    lines = None
    if shutil.which("objdump"):
        listing = subprocess.run(
            ["objdump", "-d", "--no-show-raw-insn", "-l", str(binary)],
            check=True, capture_output=True, text=True,
        ).stdout  # fmt: skip
        lines = vector_lines(listing)
    verdicts = {
        (function, loop): judge(found, loop, None if lines is None else lines[function], unit)
        for (function, loop), found in loops.items()
    }
    for (function, loop), verdict in verdicts.items():
        inner = [
            other
            for (its, (file, line)), other in verdicts.items()
            if its == function and file == loop[0] and line in loop_lines(*loop)[1:]
        ]
        if not verdict.fine and inner and all(other.fine for other in inner):
            verdicts[function, loop] = Verdict("outer", fine=True)
    return verdicts


def table(verdicts: dict[tuple[str, str], dict[tuple[str, Loop], Verdict]]) -> list[str]:
    """Loops down, compilers and targets across."""
    loops = sorted(
        {key for found in verdicts.values() for key in found}, key=lambda k: (k[1], k[0])
    )
    head = ["function", "loop", *(f"{compiler} {target}" for compiler, target in verdicts)]
    rows = [head] + [
        [function, f"{loop[0]}:{loop[1]}"]
        + [
            found[function, loop].text if (function, loop) in found else "-"
            for found in verdicts.values()
        ]
        for function, loop in loops
    ]
    widths = [max(len(row[i]) for row in rows) for i in range(len(head))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def main() -> int:
    """Print the table, the warnings and the figure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--compilers", default="gcc,clang", help="default: %(default)s")
    parser.add_argument("--strict", action="store_true", help="exit 1 if there is a warning")
    parser.add_argument("--brief", action="store_true", help="no table")
    chosen = parser.parse_args()
    compilers = [name for name in chosen.compilers.split(",") if shutil.which(name)]
    if not compilers:
        print(f"vectorised: none of {chosen.compilers} is installed: nothing looked at")
        return int(chosen.strict)
    verdicts = {}
    for compiler in compilers:
        for source in sorted(SOURCES.glob("target_*.c")):
            target = source.stem.removeprefix("target_").removeprefix("x86_64_")
            with tempfile.TemporaryDirectory() as folder:
                verdicts[compiler, target] = examine(compiler, source, Path(folder))
    if not chosen.brief:
        print("\n".join(table(verdicts)))
    figures, warnings = [], 0
    for (compiler, target), found in verdicts.items():
        hot = {key: verdict for key, verdict in found.items() if key[0] not in SCALAR}
        poor = sorted((loop, function) for (function, loop), v in hot.items() if not v.fine)
        for loop, function in poor:
            text = hot[function, loop].text
            print(f"warning: {loop[0]}:{loop[1]}: {function}: {text} ({compiler}, {target})")
        figures.append(f"{len(hot) - len(poor)} of {len(hot)} ({compiler}, {target})")
        warnings += len(poor)
    print(f"loops vectorised: {'; '.join(figures)}")
    return int(chosen.strict and warnings > 0)


if __name__ == "__main__":
    sys.exit(main())
