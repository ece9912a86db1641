"""A random sample of mutmut's mutants of the codec, the products and precision.

::

    pip install mutmut
    python tests/mutation/python_mutants.py --sample 25 --out tests/mutation/python_mutants.csv

Its settings are in pyproject.toml; a mutant that these tests do not see is "survived", one of a
function that none of them calls "no tests".  A run that is interrupted goes on where it was, from
what mutmut keeps in ``mutants/``: to begin anew, remove that.  Reasons stay in the table.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import random
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
MUTMUT = Path(sys.executable).with_name("mutmut")
MODULES = ("codec", "products", "precision")
STATUS = {0: "survived", 5: "no tests", 33: "no tests", -24: "timeout", -9: "timeout"}
KILLED = "killed"  # with any other exit code
UNDECIDED = (None, 2, 255)  # not run, interrupted, mutmut's own failure
FIELDS = ("area", "name", "before", "after", "status", "reason")


def run(*names: str) -> None:
    """Make the mutants if they are not there; test these."""
    command = [MUTMUT, "run", "--max-children", "1", *names]
    subprocess.run(command, cwd=ROOT, env=os.environ | {"PYTHONPATH": "tests"}, check=False)


def results(module: str) -> dict[str, int | None]:
    """Exit codes of the tests, by name of mutant."""
    text = (ROOT / f"mutants/fmtlib/{module}.py.meta").read_text()
    return json.loads(text)["exit_code_by_key"]


def change(name: str) -> tuple[str, str]:
    """What a mutant has in the place of what."""
    command = [MUTMUT, "show", name]
    shown = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    lines = [line for line in shown.splitlines() if not line.startswith(("---", "+++"))]
    old, new = ("\n".join(line[1:].strip() for line in lines if line[:1] == sign) for sign in "-+")
    return old, new


def reasons(path: Path) -> dict[tuple[str, ...], str]:
    """Those of the table so far, by name and what was changed."""
    if not path.exists():
        return {}
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {(row["name"], row["before"], row["after"]): row["reason"] for row in rows}


def main() -> None:
    """Make, test, write down."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sample", type=int, default=25, help="of each module (default: 25)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    if not (ROOT / "mutants").exists():
        run("fmtlib.precision.*__mutmut_1")
    chosen = {}
    for module in MODULES:
        names = sorted(results(module))
        print(f"{module}: {len(names)} mutants")
        random.Random(args.seed).shuffle(names)  # so that more of them are these and others
        chosen[module] = names[: args.sample]
    codes = {name: code for module in MODULES for name, code in results(module).items()}
    if left := [name for names in chosen.values() for name in names if codes[name] in UNDECIDED]:
        run(*left)
    known = reasons(args.out)
    with args.out.open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(FIELDS)
        for module, names in chosen.items():
            codes = results(module)
            for name in names:
                if codes[name] not in UNDECIDED:
                    changed = change(name)
                    status = STATUS.get(codes[name], KILLED)
                    reason = known.get((name, *changed), "")
                    writer.writerow([module, name, *changed, status, reason])


if __name__ == "__main__":
    main()
