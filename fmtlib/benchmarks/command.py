"""``fmtlib bench``."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

from fmtlib.benchmarks import report, results, runner
from fmtlib.tables import console

_Path: TypeAlias = str | os.PathLike[str]


def run(
    *,
    json: _Path | None = None,
    plot: _Path | None = None,
    compare: _Path | None = None,
    **settings: Any,
) -> None:
    """Measure, print the table, and do with the results what is asked for.

    Parameters
    ----------
    json, plot : path, optional
        Where to save the results and a plot of them.
    compare : path, optional
        Saved results to compare with.
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
    for path in (json, plot):
        if path is not None and not Path(path).absolute().parent.is_dir():
            raise FileNotFoundError(f"no folder for {os.fspath(path)}")
    if plot is not None:
        report.plot_format(plot)
    found = runner.measure(**settings)
    if json is not None:
        results.save(found, json)
    shown = console()
    shown.print(report.table(found))
    shown.print(report.about(found))
    if plot is not None:
        report.save_plot(found, plot)
    if saved is not None:
        changes = results.compare(found, saved)
        shown.print(report.compare_table(changes, report.compare_note(found, saved)))
