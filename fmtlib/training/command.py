"""``fmtlib train``: train, write curves and plots, say how it went."""

from __future__ import annotations

import inspect
from importlib.util import find_spec
from json import dumps
from pathlib import Path
from typing import Annotated, Any

import fmtlib as fl
from fmtlib.choices import parameters_of
from fmtlib.files import replaced
from fmtlib.options import Json, Quiet, number, option, progress
from fmtlib.tables import console, finite, write_csv
from fmtlib.training import plots
from fmtlib.training.fit import Result
from fmtlib.training.loop import CURVES
from fmtlib.training.recipes import Decisions, Recipe
from fmtlib.training.setup import HIDDEN, TABLES, Setup

SCHEMA, VERSION = "fmtlib.training", 1
_LOSS = ".5g"  # a training that diverges has losses of any size

_WHAT, _HOW, _KEPT = "What is trained", "How", "Checkpoints"  # groups of the options


def _named(says: str, table: str, metavar: str, panel: str) -> Any:
    return option(says, metavar=metavar, panel=panel, names=lambda: TABLES[table])


_Network = Annotated[
    str | None, _named("`mlp`, and `lstm` for text, if left out.", "network", "NETWORK", _WHAT)
]
_Recipe = Annotated[str, _named("Which formats products take.", "recipe", "RECIPE", _WHAT)]
_Seed = Annotated[
    int,
    option(
        "Of the split, the weights, all that is random.", metavar="N", panel=_WHAT, parser=number
    ),
]
_Optimizer = Annotated[str, _named("`sgd` has momentum 0.9.", "optimizer", "NAME", _HOW)]
_LearningRate = Annotated[
    float | None,
    option("At its peak; 0.1, of adam and adamw 0.002, if left out.", metavar="RATE", panel=_HOW),
]
_ClipNorm = Annotated[
    float | None,
    option("Scale gradients down to this norm; not if left out.", metavar="NORM", panel=_HOW),
]
_LossScale = Annotated[
    str | None, _named("`dynamic` or a number; none if left out.", "loss scale", "SCALE", _HOW)
]
_Weights = Annotated[
    Path | None,
    option("Begin from the weights of a checkpoint.", metavar="FILE", panel=_KEPT),
]
_Checkpoint = Annotated[
    Path | None,
    option("Write one at each epoch's end: .npz or .safetensors.", metavar="FILE", panel=_KEPT),
]
_CheckpointEvery = Annotated[
    int | None,
    option("Write it after so many steps, too.", metavar="STEPS", panel=_KEPT, min=1),
]


def train(
    *,
    data: Annotated[str, _named("Data set.", "data set", "DATA", _WHAT)] = "digits",
    network: _Network = None,
    recipe: _Recipe = "float32",
    seed: _Seed = 0,
    epochs: Annotated[int, option("Passes over the data.", metavar="N", panel=_HOW, min=1)] = 15,
    batch_size: Annotated[int, option("Samples of a step.", metavar="N", panel=_HOW, min=1)] = 64,
    optimizer: _Optimizer = "sgd",
    schedule: Annotated[str, _named("Of the learning rate.", "schedule", "NAME", _HOW)] = "cosine",
    learning_rate: _LearningRate = None,
    clip_norm: _ClipNorm = None,
    loss_scale: _LossScale = None,
    weights: _Weights = None,
    checkpoint: _Checkpoint = None,
    checkpoint_every: _CheckpointEvery = None,
    resume: Annotated[bool, option("Go on from the checkpoint.", "--resume", panel=_KEPT)] = False,
    out: Annotated[Path, option("Folder for the results.", metavar="DIR")] = Path("train-results"),
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train a network on real data in a number format.

    Every operand of every matrix product is in the formats of a recipe. Prints loss and accuracy of
    each epoch; writes `result.json`, which is what `--json` prints, `curves.png` and, of recipes
    that decide on mantissas, `mantissas.csv` and `mantissas.png`. The same arguments give the same
    bits. The exit status is 1 if training stops because the loss or a gradient is not finite.

    It takes the extra: `pip install "fmtlib[train]"`.

    Examples
    --------
    $ fmtlib train --data digits --network cnn --recipe fast:alpha=0.35:beta=0.15
    $ fmtlib train --network cnn --checkpoint cnn.npz --checkpoint-every 10
    $ fmtlib train --network cnn --checkpoint cnn.npz --checkpoint-every 10 --resume
    $ fmtlib train --network cnn --weights cnn.npz --recipe int8 --learning-rate 0.01 --epochs 2
    """
    text = data.partition(":")[0] == "text"
    setup = Setup(
        data=data, network=network or ("lstm" if text else "mlp"), recipe=recipe, epochs=epochs,
        batch_size=batch_size, learning_rate=learning_rate, optimizer=optimizer, schedule=schedule,
        clip_norm=clip_norm, loss_scale=loss_scale, seed=seed,
    )  # fmt: skip
    run(
        setup, out=out, weights=weights, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
        resume=resume, json=json, progress=progress(quiet),
    )  # fmt: skip


def run(
    setup: Setup,
    *,
    out: Path = Path("train-results"),
    weights: Path | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    json: bool = False,
    progress: bool = True,
) -> Result:
    """Train, write the results, print a table or JSON.

    Parameters
    ----------
    setup : Setup
    out : Path
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
    if checkpoint is not None and checkpoint.exists() != resume:
        raise ValueError(
            f"there is no checkpoint {str(checkpoint)!r} to resume from"
            if resume
            else f"{str(checkpoint)!r} is there: --resume goes on from it; to begin anew, remove it"
        )
    if out.exists() and not out.is_dir():
        raise ValueError(f"{str(out)!r} is there and is no folder")
    out.mkdir(parents=True, exist_ok=True)
    result = setup.train(
        weights=weights, checkpoint=checkpoint, checkpoint_every=checkpoint_every, resume=resume,
        progress=progress,
    )  # fmt: skip
    text = dumps(as_json(setup, result), indent=1, allow_nan=False) + "\n"
    with replaced(out / "result.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    _write_decisions(result.decisions, out / "mantissas.csv")
    pictures = plots.write(result, out)
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
    formats = (_LOSS, ".2%", _LOSS, ".2%")
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
        shown.print(f"test: loss {result.test_loss:{_LOSS}}{right}", markup=False)
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


def names() -> str:
    """All names that a setup knows, with their parameters and defaults, as Markdown."""
    parts = [
        "Names, and parameters that follow them after colons (fast:alpha=0.35:beta=0.15). Several "
        "numbers: commas between (mlp:hidden=64,64). A recipe in another: parentheses "
        "(nm:kept=1:recipe=(bfp:mantissa_bits=4)). A recipe of your own as module.Class "
        "(my_recipes.Narrow:weight_format=nvfp4). int8 is calibrated on the network of "
        "`--weights`. A seed of data or network stands for that of `--seed`."
    ]
    for what, table in TABLES.items():
        lines = []
        for name, function in table.items():
            known = parameters_of(function, HIDDEN[what])
            said = " ".join(_parameter(item.name, item.default) for item in known.values())
            lines.append(f"- **{name}**: {said}" if said else f"- **{name}**")
        parts += [f"*{what}s*", "\n".join(lines)]
    return "\n\n".join(parts)


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
