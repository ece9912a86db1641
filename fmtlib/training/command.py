"""What ``fmtlib train`` does: train, write curves and plots, say how it went."""

from __future__ import annotations

import inspect
import json as json_module
import textwrap
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import fmtlib as fl
from fmtlib.choices import parameters_of
from fmtlib.files import replaced
from fmtlib.tables import console, finite, write_csv
from fmtlib.training import plots
from fmtlib.training.fit import Result
from fmtlib.training.loop import CURVES
from fmtlib.training.recipes import Decisions, Recipe
from fmtlib.training.setup import HIDDEN, TABLES, Setup

SCHEMA, VERSION = "fmtlib.training", 1


def run(
    setup: Setup,
    *,
    out: str = "train-results",
    weights: str | None = None,
    checkpoint: str | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    json: bool = False,
    progress: bool = True,
) -> Result:
    """Train, write the results, print a table or JSON.

    Parameters
    ----------
    setup : Setup
    out : str
        Folder that gets ``result.json``, ``curves.png`` and, if a recipe chose different widths of
        mantissas, ``mantissas.csv`` and ``mantissas.png``; made if missing.
    weights, checkpoint, checkpoint_every, resume
        See `Setup.train`.
    json : bool
        Print what is in ``result.json``, and no table.
    progress : bool
        Whether to draw a bar, with loss and accuracy, on standard error.

    Raises
    ------
    FloatingPointError
        If training stopped because something was not finite; the results are written before.
    ImportError, OSError, TypeError, ValueError
        As of what it calls, each with a message of one line.
    """
    for name in ("matplotlib", "rich", "threadpoolctl"):
        if find_spec(name) is None:
            raise ImportError(f'`fmtlib train` needs {name}: pip install "fmtlib[train]"')
    if resume and checkpoint is None:
        raise ValueError("--resume needs the --checkpoint to resume from")
    if resume and not Path(checkpoint or "").exists():
        raise ValueError(f"there is no checkpoint {checkpoint!r} to resume from")
    if checkpoint is not None and not resume and Path(checkpoint).exists():
        raise ValueError(
            f"{checkpoint!r} is there: --resume goes on from it; to begin anew, remove it"
        )
    folder = Path(out)
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{out!r} is there and is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    result = setup.train(
        weights=weights, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume,
        progress=progress,
    )  # fmt: skip
    text = json_module.dumps(as_json(setup, result), indent=1, allow_nan=False) + "\n"
    with replaced(folder / "result.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    _write_decisions(result.decisions, folder / "mantissas.csv")
    pictures = plots.write(result, folder)
    if json:
        print(text, end="")
    else:
        _print(setup, result, pictures)
    if result.stopped is not None:
        raise FloatingPointError(result.stopped)
    return result


def as_json(setup: Setup, result: Result) -> dict[str, Any]:
    """A setup and its result as JSON values; numbers that are not finite are None."""
    measured = {
        name: [finite(value) for value in getattr(result, name)] for name in CURVES
    } | {
        name: finite(getattr(result, name))
        for name in ("test_loss", "test_accuracy", "macs", "effectual_macs", "passes_per_mac",
                     "skipped_steps", "stopped", "seconds")
    }  # fmt: skip
    return {
        "schema": SCHEMA, "version": VERSION, "fmtlib": fl.__version__,
        "setup": setup.described(), "recipe": repr(result.recipe), **measured,
        "mean_mantissa_bits": _mean_bits(result.decisions),
    }  # fmt: skip


def _mean_bits(decisions: Decisions) -> dict[str, float]:
    return {
        role: float(decisions.bits[decisions.role == role].mean())
        for role in dict.fromkeys(decisions.role.tolist())
    }


def _write_decisions(decisions: Decisions, path: Path) -> None:
    """Every width chosen, if they differ; files of an earlier training do not stay."""
    path.unlink(missing_ok=True)
    path.with_suffix(".png").unlink(missing_ok=True)
    if len(set(decisions.bits.tolist())) < 2:
        return
    columns = {name: getattr(decisions, name).tolist() for name in ("iteration", "layer", "role",
                                                                    "bits")}  # fmt: skip
    write_csv(
        [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)], path
    )


def _print(setup: Setup, result: Result, pictures: list[Path]) -> None:
    from rich import box
    from rich.table import Table

    shown = console()
    said = setup.described()
    table = Table(box=box.SIMPLE, title=f"{said['data']}, {said['network']}, {said['recipe']}")
    for title in ("epoch", "loss", "accuracy", "validation loss", "validation accuracy"):
        table.add_column(title, justify="right")
    formats = (".4f", ".2%", ".4f", ".2%")
    for epoch in range(len(result.train_loss)):
        series = [getattr(result, name) for name in CURVES]
        cells = [
            format(values[epoch], how) if epoch < len(values) else ""
            for values, how in zip(series, formats, strict=True)
        ]
        table.add_row(str(epoch + 1), *cells)
    shown.print(table)
    if result.test_loss is not None:
        right = "" if result.test_accuracy is None else f", accuracy {result.test_accuracy:.2%}"
        shown.print(f"test: loss {result.test_loss:.4f}{right}", markup=False)
    work = f"{result.macs:,} MACs"
    if result.effectual_macs != result.macs:
        work += f", {result.effectual_macs:,} of them effectual"
    if result.passes_per_mac is not None:
        work += f", {result.passes_per_mac:.3f} passes per MAC"
    if result.skipped_steps:
        work += f", {result.skipped_steps} steps left out"
    shown.print(f"{work}, {result.seconds:.1f} s", markup=False)
    listed = ", ".join(str(path) for path in pictures)
    shown.print(f"Look at {listed}", markup=False, soft_wrap=True)


def listing() -> str:
    """All names that a setup knows, with their parameters and defaults, from the tables."""
    lines = [
        "Names, and parameters that follow them after colons (fast:alpha=0.35:beta=0.15).",
        "Several numbers: commas between (mlp:hidden=64,64). A recipe in another: parentheses",
        "(nm:kept=1:recipe=(bfp:mantissa_bits=4)). int8 is calibrated on the network of --weights.",
        "A seed of data or network stands for that of --seed.",
    ]
    for what, table in TABLES.items():
        lines += ["", f"{what}s:"]
        for name, function in table.items():
            known = parameters_of(function, HIDDEN[what])
            said = " ".join(_parameter(item.name, item.default) for item in known.values())
            lines += textwrap.wrap(
                f"{name}: {said}" if said else name, 96, initial_indent="  ",
                subsequent_indent="      ", break_long_words=False, break_on_hyphens=False,
            )  # fmt: skip
    return "\n".join(lines)


def _parameter(name: str, default: Any) -> str:
    if name == "seed" or default is inspect.Parameter.empty:
        return name
    if isinstance(default, Recipe):
        default = type(default).__name__.lower()
    if isinstance(default, tuple):
        default = ",".join(map(str, default))
    if isinstance(default, bool) or default is None:
        default = str(default).lower()
    return f"{name}={getattr(default, '__name__', default)}"
