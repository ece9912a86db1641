"""How many mutants became what: the table of README.md, of the two tables beside it."""

import csv
import re
from collections import Counter
from pathlib import Path

FOLDER = Path(__file__).parent
COLUMNS = (
    "invalid",
    "same",
    "killed",
    "timeout",
    "killed by others",
    "equivalent",
    "open",
)
MARKS = ("<!-- counts -->\n", "<!-- end of counts -->\n")


def fate(row: dict[str, str]) -> str:
    """The column of a mutant."""
    if row["status"] not in ("survived", "no tests"):
        return row["status"]
    why = row["reason"]
    if why.startswith("killed"):
        return "killed by others"
    return "equivalent" if why.startswith("equivalent") else "open"


def table() -> str:
    """Markdown, a row for each area and language."""
    lines = ["| mutants of | " + " | ".join(COLUMNS) + " |", "| --- |" + " ---: |" * len(COLUMNS)]
    for language, name in (("C", "c_mutants.csv"), ("Python", "python_mutants.csv")):
        with (FOLDER / name).open(newline="") as file:
            rows = list(csv.DictReader(file))
        for area in dict.fromkeys(row["area"] for row in rows):
            counts = Counter(fate(row) for row in rows if row["area"] == area)
            cells = " | ".join(str(counts[column]) for column in COLUMNS)
            lines.append(f"| {area}, {language} | {cells} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Write the table into README.md."""
    readme = FOLDER / "README.md"
    start, end = map(re.escape, MARKS)
    found = re.sub(f"(?s){start}.*{end}", table().join(MARKS), readme.read_text())
    readme.write_text(found)


if __name__ == "__main__":
    main()
