"""The record of a run: saved, loaded, compared."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from typing import Any

from fmtlib.benchmarks.peers import PEERS
from fmtlib.files import load_json, replaced

SCHEMA = 1
# A change is worth telling if the middle halves of the ratios are apart, and by this much.
_NOTABLE = 0.05


def save(results: dict[str, Any], path: str | os.PathLike[str]) -> None:
    """Write results as JSON."""
    rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in results["rows"])
    head = json.dumps({**results, "rows": []}, indent=1, ensure_ascii=False)
    text = head.replace('"rows": []', f'"rows": [\n{rows}\n ]') if rows else head
    with replaced(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read results; ValueError if that is not what the file holds."""
    results = load_json(path)
    if not isinstance(results, dict) or not isinstance(results.get("rows"), list):
        raise ValueError(f"{os.fspath(path)} holds no results of fmtlib bench")
    if results.get("schema") != SCHEMA:
        raise ValueError(
            f"{os.fspath(path)} has schema {results.get('schema')!r}; this fmtlib reads {SCHEMA}"
        )
    for i, row in enumerate(results["rows"]):
        if not _is_row(row):
            raise ValueError(f"{os.fspath(path)}: row {i} is none of fmtlib bench's")
    return results


def _is_row(row: object) -> bool:
    """Whether a row has what `compare` looks at."""
    return (
        isinstance(row, dict)
        and isinstance(row.get("task"), str)
        and isinstance(row.get("size"), str)
        and isinstance(row.get("entries"), list)
        and all(map(_is_entry, row["entries"]))
        and all(map(_is_timed, ours_of(row)))
    )


def _is_entry(entry: object) -> bool:
    who = entry.get("who") if isinstance(entry, dict) else None
    return isinstance(who, str) and bool(who.split(",")[0].strip())


def _is_timed(entry: dict[str, Any]) -> bool:
    ratio, quartiles = entry.get("ratio"), entry.get("ratio_quartiles")
    numbers = [ratio, *quartiles] if isinstance(quartiles, list) else []
    return (
        isinstance(entry.get("target"), str)
        and len(numbers) == 3
        and all(type(x) in (int, float) and 0 <= x < 1e300 for x in numbers)
        and numbers[0] > 0
    )


def ours_of(row: dict[str, Any]) -> list[dict[str, Any]]:
    """The entries of this package: the task itself first."""
    return [e for e in row["entries"] if e["who"].split(",")[0].split()[0] == "fmtlib"]


def peers_of(rows: Iterable[dict[str, Any]]) -> list[str]:
    """Names of the peers that have figures, in the order of `PEERS`."""
    present = {entry["who"] for row in rows for entry in row["entries"]}
    return [peer.name for peer in PEERS if peer.name in present]


def greatest_of(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each task: of the greatest array."""
    best: dict[str, dict[str, Any]] = {}
    for row in rows:
        old = best.get(row["task"])
        if old is None or row["entries"][0]["elements"] > old["entries"][0]["elements"]:
            best[row["task"]] = row
    return list(best.values())


def within(row: dict[str, Any]) -> bool:
    """Whether a row keeps its limit, if it has one."""
    first = ours_of(row)[0]
    if row["least_gflops"]:
        return bool(first["gflops"] >= row["least_gflops"])
    return row["limit"] is None or bool(first["ratio"] <= row["limit"])


def compare(now: dict[str, Any], saved: dict[str, Any]) -> list[dict[str, Any]]:
    """What has changed, contestant by contestant of ours.

    Returns
    -------
    list of dict
        With task, size, who, target, saved and now (ratios), change (relative) and verdict:
        "faster", "slower" or, where the middle halves of the rounds' ratios overlap or the change
        is below 5 %, "".

    Raises
    ------
    ValueError
        If the two have nothing in common.
    """
    before = {
        (row["task"], row["size"], e["who"], e["target"]): e
        for row in saved["rows"]
        for e in ours_of(row)
    }
    found = []
    for row in now["rows"]:
        for entry in ours_of(row):
            key = (row["task"], row["size"], entry["who"], entry["target"])
            if key not in before:
                continue
            old = before[key]
            change = entry["ratio"] / old["ratio"] - 1
            (low, high), (old_low, old_high) = entry["ratio_quartiles"], old["ratio_quartiles"]
            apart = low > old_high or high < old_low
            verdict = "slower" if change > 0 else "faster"
            found.append(
                dict(zip(("task", "size", "who", "target"), key, strict=True))
                | {
                    "saved": old["ratio"],
                    "now": entry["ratio"],
                    "change": change,
                    "verdict": verdict if apart and abs(change) > _NOTABLE else "",
                }
            )
    if not found:
        raise ValueError("the saved results have no task in common with these, in the same size")
    return found
