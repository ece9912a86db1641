"""What the commands of the console script share: options, completion of names, JSON."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Annotated, Any

import typer

from fmtlib.formats import ALIASES, FORMATS


def any_of(
    names: Callable[[], Iterable[str]], *, several: bool = False
) -> Callable[[str], list[str]]:
    """What completes names, which are asked for only then.

    Parameters
    ----------
    names : callable
        Gives them.
    several : bool
        Whether there may be several, with commas between.

    Examples
    --------
    >>> any_of(lambda: ["up", "down"], several=True)("up,d")
    ['up,down']
    """

    def complete(incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if several else ("", "", incomplete)
        return [before + comma + name for name in names() if name.startswith(last)]

    return complete


def option(
    says: str,
    *declarations: str,
    metavar: str | None = None,
    panel: str | None = None,
    names: Callable[[], Iterable[str]] | None = None,
    several: bool = False,
    **more: Any,
) -> Any:
    """An option: what its help says, how it is written, its group, the names that complete it."""
    complete = None if names is None else any_of(names, several=several)
    return typer.Option(
        *declarations, help=says, metavar=metavar, rich_help_panel=panel, autocompletion=complete,
        **more,
    )  # fmt: skip


def format_names() -> list[str]:
    """Names and aliases of the table."""
    return [*FORMATS, *ALIASES]


FormatName = Annotated[
    str,
    typer.Argument(
        metavar="FORMAT", autocompletion=any_of(format_names), show_default=False,
        help="A name or an alias, see `fmtlib formats`.",
    ),
]  # fmt: skip
Json = Annotated[bool, option("Print JSON and nothing else on standard output.", "--json")]
Quiet = Annotated[
    bool,
    option(
        "Draw no progress bar; there is none where standard error is no terminal.",
        "--quiet", "-q", "--no-progress",
    ),
]  # fmt: skip


def number(text: str | int) -> int:
    """A whole number from 0, in any of Python's notations; Typer also asks for its defaults."""
    try:
        value = int(str(text), 0)
    except ValueError:
        value = -1
    if value < 0:
        raise typer.BadParameter(
            f"must be a whole number from 0, such as 126 or 0x7e, got {text!r}"
        )
    return value


def progress(quiet: bool) -> bool:
    """Whether to draw a progress bar: on a terminal, unless it is not wanted."""
    from rich.console import Console

    return not quiet and Console(stderr=True).is_terminal


def print_json(value: Any) -> None:
    """Print a value, of which no number may be infinite or NaN, as JSON."""
    print(json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False))
