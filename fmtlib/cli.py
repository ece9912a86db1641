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
        The exit status: 0; 1 if the command failed, which one line on standard error says: a name
        of a format, design or recipe that there is not, a file or another extra that is missing; 2
        if there is no such command or option, or it cannot be read, or the extra ``cli`` is
        missing; 130 if it was interrupted.
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
