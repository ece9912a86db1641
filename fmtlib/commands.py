"""The commands of the console script, put together; each has its code beside its subject."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import fmtlib as fl


@dataclass(frozen=True)
class Command:
    """A command, of which nothing is imported before it is asked for.

    Attributes
    ----------
    function : str
        Where it is, as ``module:name``. Its annotations are the options, its docstring, in
        Markdown, the help; the section "Examples" comes after the options.
    panel : str
        The group that it is listed in.
    summary : str
        What the list says of it.
    names : str, optional
        A function that tells, in Markdown, which names its options take.
    """

    function: str
    panel: str
    summary: str
    names: str | None = None

    def load(self, name: str) -> Any:
        """The command, imported, as Typer runs it."""
        function = _found(self.function)
        text, _, examples = inspect.cleandoc(function.__doc__ or "").partition(
            "\nExamples\n--------\n"
        )
        epilog = f"**Examples**\n\n```console\n{examples.strip()}\n```"
        if self.names is not None:
            epilog += f"\n\n{_found(self.names)()}"
        single = _typer()
        single.command(name, help=text, epilog=epilog)(function)
        return typer.main.get_command(single)


COMMANDS = {
    "formats": Command(
        "fmtlib.format_commands:formats", "Formats", "List the named formats."
    ),
    "show": Command(
        "fmtlib.format_commands:show", "Formats",
        "Draw a format and its codes; look up a code or a value.",
    ),
    "vectors": Command(
        "fmtlib.vectors.command:vectors", "Hardware", "Write test vectors for RTL."
    ),
    "count": Command(
        "fmtlib.hardware.command:count", "Hardware",
        "Count a network's cycles, traffic and energy on accelerators.",
    ),
    "convert": Command(
        "fmtlib.file_commands:convert", "Files", "Convert the arrays of a file to a format."
    ),
    "info": Command("fmtlib.file_commands:info", "Files", "List the arrays of a file."),
    "train": Command(
        "fmtlib.training.command:train", "Experiments", "Train a network in a number format.",
        names="fmtlib.training.command:names",
    ),
    "demo": Command(
        "fmtlib.demo:demo", "Experiments",
        "Train on real data in several formats, and count accelerator cycles.",
    ),
    "bench": Command(
        "fmtlib.benchmarks.command:bench", "Experiments",
        "Time the kernels beside a memory copy and other packages.",
    ),
}  # fmt: skip

# What is the user's to mend: one line says it, and no traceback.
_ERRORS = (ValueError, TypeError, OSError, ImportError, FloatingPointError, MemoryError)


class _Group(TyperGroup):
    """The commands: one that is called is imported, and none for their list."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        name, listed, rest = super().resolve_command(ctx, args)
        return name, listed and COMMANDS[str(name)].load(str(name)), rest

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except BrokenPipeError:  # the reader of a pipe has had enough
            sys.stdout = open(os.devnull, "w")  # noqa: PTH123, SIM115  # exiting cannot fail
            return None
        except _ERRORS as error:
            print(f"fmtlib: error: {_one_line(error)}", file=sys.stderr)
            raise typer.Exit(1) from None
        except KeyboardInterrupt:
            print("fmtlib: interrupted", file=sys.stderr)
            raise typer.Exit(130) from None


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def _found(place: str) -> Callable[..., Any]:
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def _typer(**settings: Any) -> typer.Typer:
    return typer.Typer(
        rich_markup_mode="markdown",
        pretty_exceptions_enable=False,  # of errors that are ours to mend
        context_settings={"help_option_names": ["-h", "--help"]},
        **{"add_completion": False, **settings},
    )


app = _typer(cls=_Group, no_args_is_help=True, add_completion=True)
for _name, _command in COMMANDS.items():
    app.command(_name, help=_command.summary, rich_help_panel=_command.panel)(lambda: None)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"fmtlib {fl.__version__}")
        raise typer.Exit


@app.callback()
def _fmtlib(
    _: Annotated[
        bool,
        typer.Option("--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Bit-exact low-precision number formats, and what they buy.

    `fmtlib COMMAND --help` tells the options of a command, with examples. With `--json` a command
    prints JSON and nothing else on standard output. The exit status is 0; 1 if the command failed,
    as with a name that there is not; 2 if its options could not be read.
    """
