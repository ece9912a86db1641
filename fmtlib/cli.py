"""The console script ``fmtlib``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.util import find_spec


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    arguments : sequence of str, optional
        By default those of the process.

    Returns
    -------
    int
        The exit status: 0; 1 if the command failed, which one line on standard error says; 2 if
        it was called wrongly, or its extra is missing; 130 if it was interrupted.
    """
    for name in ("typer", "rich"):
        if find_spec(name) is None:
            print(
                f'fmtlib: error: the command line needs {name}: pip install "fmtlib[cli]"',
                file=sys.stderr,
            )
            return 2
    from fmtlib.commands import app

    try:
        app(None if arguments is None else list(arguments), prog_name="fmtlib")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0
