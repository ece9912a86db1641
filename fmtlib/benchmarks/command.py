"""``fmtlib bench``."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer

from fmtlib._core import kernels
from fmtlib.benchmarks import report, results, runner
from fmtlib.options import Json, Quiet, option, print_json, progress
from fmtlib.tables import console

_Path: TypeAlias = str | os.PathLike[str]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 <= seconds < math.inf:
        raise typer.BadParameter(f"must be a number from 0, got {text!r}")
    return seconds


_WHAT = "What runs"  # a group of the options

_Targets = Annotated[
    str,
    option(
        "Instruction sets: `best`, `all`, or names with commas between.", metavar="NAMES",
        panel=_WHAT, names=lambda: ["best", "all", *kernels.available_targets()], several=True,
    ),
]  # fmt: skip
_Sizes = Annotated[
    str | None,
    option(
        "`l1`, `l2`, `memory` (the default), `1.5l1` to `1.5l3` (times a cache), numbers of "
        "elements, or `all`; commas between.", metavar="NAMES", panel=_WHAT,
        names=lambda: [*runner.SIZES, "1.5l1", "1.5l2", "1.5l3", "all"], several=True,
    ),
]  # fmt: skip
_Select = Annotated[
    str | None,
    option(
        "Only tasks whose name the regular expression is found in.", metavar="PATTERN", panel=_WHAT
    ),
]
_Quick = Annotated[
    bool, option("A look: headlines, smaller arrays, five rounds.", "--quick", panel=_WHAT)
]
_Seconds = Annotated[
    float | None,
    option(
        "For the rounds of a row, five at least; 0.3 if left out.",
        metavar="S", panel=_WHAT, parser=_seconds,
    ),
]  # fmt: skip


def bench(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="FILE", hidden=True, help="With --json: the same as --out FILE."),
    ] = None,
    *,
    select: _Select = None,
    targets: _Targets = "best",
    sizes: _Sizes = None,
    peers: Annotated[bool, option("Time other packages, too.", panel=_WHAT)] = True,
    quick: _Quick = False,
    seconds: _Seconds = None,
    list_tasks: Annotated[
        bool, option("List the names of the tasks and run nothing.", "--list")
    ] = False,
    out: Annotated[Path | None, option("Save the results, as JSON.", metavar="FILE")] = None,
    plot: Annotated[Path | None, option("Save a plot: .svg, .png or .pdf.", metavar="FILE")] = None,
    compare: Annotated[Path | None, option("Compare with saved results.", metavar="FILE")] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Time the kernels beside a memory copy and other packages.

    One thread, beside `np.copyto` of the same array (or another yardstick) and beside every peer
    that is installed: numpy by hand, ml_dtypes, gfloat, torch, jax, qtorch, blosc2. All of a row
    run interleaved. Of several targets or sizes, headlines and what is selected run on each, the
    others on the best and in the greatest.

    `--json` prints what `--out FILE` saves: machine, versions, and a row for each task; with
    `--list`, a list of names. `--json FILE` is `--out FILE`.

    It takes the extra: `pip install "fmtlib[bench]"`; for the peers `"fmtlib[bench,peers]"`.

    Examples
    --------
    $ fmtlib bench --quick
    $ fmtlib bench --select "encode .*e4m3" --no-peers
    $ fmtlib bench --targets all --sizes all --out mine.json --plot mine.svg
    $ fmtlib bench --compare mine.json
    """
    if file is not None:
        if not json or out is not None:
            raise typer.BadParameter(f"{str(file)!r}: give a file with --out")
        out, json = file, False
    if list_tasks:
        names = [task.name for task in runner.selected(select, quick)]
        print_json(names) if json else print("\n".join(names))
        return
    run(
        select=select, targets=targets, sizes=sizes, peers=peers, quick=quick, seconds=seconds,
        progress=progress(quiet), out=out, plot=plot, compare=compare, json=json,
    )  # fmt: skip


def run(
    *,
    out: _Path | None = None,
    plot: _Path | None = None,
    compare: _Path | None = None,
    json: bool = False,
    **settings: Any,
) -> None:
    """Measure, print the table, and do with the results what is asked for.

    Parameters
    ----------
    out, plot : path, optional
        Where to save the results and a plot of them.
    compare : path, optional
        Saved results to compare with.
    json : bool
        Print the results as JSON, and no table.
    **settings
        See `runner.measure`.

    Raises
    ------
    ImportError
        If the extra is missing: ``pip install "fmtlib[bench]"``.
    ValueError, OSError
        For wrong arguments and files; before anything is measured, if it can be known then.
    """
    report.check_extra("rich", "threadpoolctl", *(["matplotlib"] if plot is not None else []))
    saved = None if compare is None else results.load(compare)
    for path in (out, plot):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder for {os.fspath(path)}")
    if plot is not None:
        report.plot_format(plot)
    found = runner.measure(**settings)
    if out is not None:
        results.save(found, out)
    if plot is not None:
        report.save_plot(found, plot)
    changes = [] if saved is None else results.compare(found, saved)
    if json:
        print_json(found if saved is None else {**found, "changes": changes})
        return
    shown = console()
    shown.print(report.table(found))
    shown.print(report.about(found))
    if saved is not None:
        shown.print(report.compare_table(changes, report.compare_note(found, saved)))
