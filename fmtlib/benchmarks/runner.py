"""Runs the benchmarks and makes the record of it."""

from __future__ import annotations

import re
import shlex
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

import fmtlib as fl
from fmtlib._core import kernels
from fmtlib.benchmarks import tasks as benchmarks
from fmtlib.benchmarks.machine import caches, machine, versions
from fmtlib.benchmarks.peers import Peer, installed
from fmtlib.benchmarks.report import check_extra
from fmtlib.benchmarks.results import SCHEMA
from fmtlib.benchmarks.tasks import Case, Task
from fmtlib.benchmarks.timing import Call, Contestant, interleave, part_for
from fmtlib.choices import near_names

# float32 arrays of 16 KiB, 128 KiB and 64 MiB
SIZES = {"l1": 1 << 12, "l2": 1 << 15, "memory": 1 << 24}
_QUICK_SIZE = 1 << 20
_QUICK_ROWS = 256


def parse_sizes(text: str) -> dict[str, int]:
    """Elements by the names of sizes.

    Examples
    --------
    >>> parse_sizes("l1,1000")
    {'l1': 4096, '1000': 1000}
    """
    found = {}
    every = [*SIZES, *(f"1.5{cache}" for cache in caches())]
    for name in every if text == "all" else text.split(","):
        if name in SIZES:
            found[name] = SIZES[name]
        elif name.startswith("1.5l"):
            size = caches().get(name[3:])
            if size is None:
                raise ValueError(f"size {name!r}: no such cache is known here")
            found[name] = size * 3 // 2 // 4
        elif name.isdecimal() and int(name) >= 64:
            found[name] = int(name)
        else:
            raise ValueError(
                f"size must be all, {', '.join(SIZES)}, 1.5l1 to 1.5l3 (times a cache) or a number "
                f"of elements from 64, got {name!r}"
            )
    return found


def parse_targets(text: str) -> list[str]:
    """Names of instruction sets: "best", "all" or a list."""
    here = kernels.available_targets()
    if text == "best":
        return [fl.cpu_target()]
    names = list(here) if text == "all" else text.split(",")
    for name in names:
        if name not in here:
            near = near_names(name, ["best", "all", *here])
            raise ValueError(f"no kernels for {name!r} here{near}")
    # the best first, which is what a user gets
    return sorted(names, key=lambda name: name != fl.cpu_target())


def selected(pattern: str | None, quick: bool) -> list[Task]:
    """The tasks whose name the regular expression is found in; in quick runs, headlines."""
    chosen = benchmarks.tasks()
    if pattern is not None:
        try:
            chosen = [task for task in chosen if re.search(pattern, task.name)]
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        if not chosen:
            raise ValueError(f"no benchmark matches {pattern!r}; see fmtlib bench --list")
    elif quick:
        chosen = [task for task in chosen if task.headline]
    return chosen


def _sizes_of(task: Task, sizes: dict[str, int], quick: bool, everywhere: bool) -> dict[str, int]:
    """All sizes, or the greatest one; those of calls and matrices are their own."""
    if task.scale == "call":
        return {"1024": 1024}
    if task.scale == "matrix":
        n = min(task.rows, _QUICK_ROWS) if quick else task.rows
        return {f"{n} × {n}": n}
    if task.scale == "batch":
        return {f"{task.rows} samples": task.rows}
    return sizes if everywhere else dict([max(sizes.items(), key=lambda item: item[1])])


def contestants(
    task: Task, case: Case, targets: Sequence[str], peers: Iterable[Peer]
) -> list[Contestant]:
    """All who run in one task: the yardstick first, then ours, then the peers."""
    size = case.x.size
    found = [Contestant(task.unit, case.yardstick, size, moved=case.moved)]
    for target in targets:
        for variant in case.ours if target == targets[0] else case.ours[:1]:
            found.append(Contestant(variant.name, variant.call, size, target, variant.moved))
    if case.peer is None:
        return found
    for peer in peers:
        elements: dict[int, int] = {}

        def make(part: int, peer: Peer = peer, elements: dict[int, int] = elements) -> Call | None:
            x = case.x[: max(1, len(case.x) // part)] if task.scale != "matrix" else case.x
            elements[part] = x.size
            return case.peer(peer, x) if case.peer is not None else None

        with np.errstate(all="ignore"):
            made = part_for(make)
        if made is not None:
            call, part = made
            found.append(Contestant(peer.name, call, elements[part]))
    return found


def record(
    task: Task, size: str, case: Case, timed: Sequence[Contestant], target: str
) -> dict[str, Any]:
    """One row of the results; limits are those of `target`, for arrays beyond the caches."""
    inside = task.scale == "array" and size in ("l1", "l2")
    yard = np.array(timed[0].seconds) / timed[0].elements
    entries = []
    for one in timed:
        each = np.array(one.seconds)
        ratios = each / one.elements / yard
        low, high = np.quantile(ratios, [0.25, 0.75])
        entry: dict[str, Any] = {
            "who": one.who,
            "elements": one.elements,
            "rounds": len(each),
            "calls_per_round": one.number,
            "seconds": {
                name: _short(value)
                for name, value in zip(
                    ("min", "q1", "median", "q3"),
                    np.quantile(each, [0, 0.25, 0.5, 0.75]),
                    strict=True,
                )
            },
            "ratio": _short(np.median(each) / one.elements / np.median(yard)),
            "ratio_of_minima": _short(each.min() / one.elements / yard.min()),
            "ratio_quartiles": [_short(low), _short(high)],
            "threads": round(one.threads, 2),
        }
        if one.target is not None:
            entry["target"] = one.target
        if one.moved:
            entry["bytes"] = one.moved
            entry["ratio_per_byte"] = _short(entry["ratio"] * case.moved / one.moved)
        if case.operations:
            entry["gflops"] = _short(case.operations / np.median(each) / 1e9)
        entries.append(entry)
    return {
        "task": task.name,
        "size": size,
        "yardstick": task.unit,
        "headline": task.headline,
        "limit": None if inside else task.limit_for(target),
        "least_gflops": task.least_gflops,
        "entries": entries,
    }


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def measure(
    *,
    select: str | None = None,
    targets: str = "best",
    sizes: str | None = None,
    peers: bool = True,
    quick: bool = False,
    seconds: float | None = None,
    progress: bool = False,
) -> dict[str, Any]:
    """Run benchmarks on one thread.

    Headlines, and what is selected, run in every size and on every instruction set that is asked
    for; the others in the greatest and on the best.

    Parameters
    ----------
    select : str, optional
        A regular expression that is looked for in the names of tasks.
    targets : str
        "best", "all", or names of instruction sets with commas between.
    sizes : str, optional
        See `parse_sizes`; by default "memory".
    peers : bool
        Whether other packages run, too.
    quick : bool
        Only headlines, smaller arrays, few rounds: a look.
    seconds : float, optional
        For the rounds of one task, of which there are five at least.
    progress : bool
        Whether to draw a bar on standard error.

    Returns
    -------
    dict
        What is saved as JSON.

    Raises
    ------
    ImportError
        If the extra is missing: ``pip install "fmtlib[bench]"``.
    ValueError
        For wrong arguments.
    """
    check_extra("rich", "threadpoolctl")
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
    from threadpoolctl import threadpool_limits

    began = datetime.now(UTC)
    chosen = selected(select, quick)
    named = parse_sizes(sizes) if sizes is not None else {
        "quick" if quick else "memory": _QUICK_SIZE if quick else SIZES["memory"]
    }  # fmt: skip
    names = parse_targets(targets)
    seconds = (0.0 if quick else 0.3) if seconds is None else seconds
    work = [
        (task, size, n, names if everywhere else names[:1])
        for task in chosen
        for everywhere in [task.headline or select is not None]
        for size, n in _sizes_of(task, named, quick, everywhere).items()
    ]
    columns = (
        TextColumn("{task.description:44}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()
    )  # fmt: skip
    rows, left_out = [], []
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not progress) as bar, threadpool_limits(1):
        shown = bar.add_task("importing peers" if peers else "", total=len(work))
        others = installed() if peers else []
        with threadpool_limits(1):  # of libraries that peers have brought, too
            for task, size, n, on in work:
                bar.update(shown, description=task.name)
                try:
                    case = task.make(n)
                    timed = contestants(task, case, on, others)
                except ImportError as error:  # ml_dtypes' bfloat16
                    left_out.append(f"{task.name}: {error}")
                else:
                    interleave(timed, seconds)
                    rows.append(record(task, size, case, timed, on[0]))
                bar.advance(shown)
    benchmarks.forget()
    return {
        "schema": SCHEMA,
        "date": began.isoformat(timespec="seconds"),
        "command": shlex.join(["fmtlib", *sys.argv[1:]]),
        "seconds": round((datetime.now(UTC) - began).total_seconds(), 1),
        "quick": quick,
        "targets": names,
        "machine": machine(),
        "versions": versions(),
        "left_out": left_out,
        "rows": rows,
    }
