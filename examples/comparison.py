"""Trainings to compare: runs through `training.sweep`, one table, and what the seeds say.

What examples/recipes.py and examples/experiments.py have in common.
"""

from __future__ import annotations

import argparse
import csv
import math
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import fmtlib as fl
from fmtlib import training
from fmtlib.benchmarks.machine import processor
from fmtlib.files import replaced
from fmtlib.training.sweep import Measure

DOCS = Path(__file__).parents[1] / "docs"
SEEDS = range(5)
COLUMNS = (
    "experiment", "recipe", "learning_rate", "seed", "test_accuracy", "validation_accuracy",
    "train_loss", "passes_per_mac", "macs", "effectual_macs", "stopped",
)  # fmt: skip
FLOAT32 = "float32"

Row = dict[str, Any]
# What was expected, whether it holds (None: it is open), and the numbers.
Expectation = tuple[str, bool | None, str]


@dataclass(frozen=True)
class Experiment:
    """Recipes under equal settings.

    Attributes
    ----------
    title : str
    data, network : str or callable
        As of `training.Setup`.
    recipes : dict
        By name. None stands for what `measure` gives, see `train`.
    learning_rates : tuple of float
    options : dict
        What else `training.Setup` takes.
    measure : callable, optional
        See `training.sweep`.
    """

    title: str
    data: Any
    network: Any
    recipes: Mapping[str, training.Recipe | None]
    learning_rates: tuple[float, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    measure: Measure | None = None

    @property
    def trained(self) -> list[str]:
        """The recipes that are trained with."""
        return [name for name, recipe in self.recipes.items() if recipe is not None]


# --- runs -----------------------------------------------------------------------------------------


def train(
    name: str,
    experiment: Experiment,
    folder: Path | None,
    workers: int,
    seeds: Iterable[int],
    *,
    recipes: Sequence[str] | None = None,
    rates: Iterable[float] | None = None,
) -> list[Row]:
    """The rows of some runs of an experiment, as the table has them.

    A column "after" of `measure`, a dict of dicts by recipe, becomes rows: of what was made of a
    trained network. Its other columns stay beside those of the table.
    """
    trained = {r: experiment.recipes[r] for r in recipes or experiment.trained}
    found = training.sweep(
        list(trained.values()), [experiment.data], [experiment.network], seeds,
        learning_rates=experiment.learning_rates if rates is None else rates,
        measure=experiment.measure, folder=folder, workers=workers, progress=True,
        **experiment.options,
    )  # fmt: skip
    names = {repr(recipe): name for name, recipe in trained.items()}
    rows = []
    for one in found:
        row = one | {"experiment": name, "recipe": names[one["recipe"]]}
        after = row.pop("after", {})
        rows.append(row)
        kept = {key: row[key] for key in COLUMNS[:4]}
        rows += (dict.fromkeys(COLUMNS) | kept | {"recipe": r} | own for r, own in after.items())
    return rows


def integers(setup: training.Setup, trained: training.Trained, bits: Sequence[int]) -> Row:
    """Wu et al.'s workflow on a trained network: calibrate (PTQ), then train on a little (QAT).

    For `train`, as a column "after". The little is two epochs at a tenth of the learning rate.
    """
    network, data, _ = trained
    assert setup.learning_rate is not None
    state, after = network.state(), {}
    for width in bits:
        network.restore(state)
        recipe = training.INT8.calibrate(network, data.train.x, bits=width)
        run = recipe.start(network.products)
        after[f"PTQ {width} bits"] = {
            f"{part}_accuracy": training.evaluate(network, getattr(data, part), run)[1]
            for part in ("test", "validation")
        }
        further = replace(
            setup, recipe=recipe, epochs=2, learning_rate=setup.learning_rate / 10,
            data=lambda seed: data, network=lambda data, seed: network,
        )  # fmt: skip
        result = further.train()
        after[f"QAT {width} bits"] = {
            "test_accuracy": result.test_accuracy,
            "validation_accuracy": next(reversed(result.validation_accuracy), None),
            "train_loss": next(reversed(result.train_loss), None),
            "macs": result.macs,
            "effectual_macs": result.effectual_macs,
            "stopped": result.stopped,
        }
    return {"after": after}


def place(row: Row) -> tuple[str, str, float, int]:
    """What makes a row the one it is."""
    return row["experiment"], row["recipe"], float(row["learning_rate"]), int(row["seed"])


def read(path: Path) -> list[Row]:
    """A table in a file: numbers where there are some, None where there is nothing."""
    with path.open(newline="", encoding="utf-8") as file:
        return [{k: _value(text) for k, text in row.items()} for row in csv.DictReader(file)]


def _value(text: str) -> int | float | str | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            pass
    return text or None


def in_order(rows: list[Row], experiments: Mapping[str, Experiment]) -> list[Row]:
    """The columns of the table, in the order of the experiments."""
    places = [(name, recipe) for name, e in experiments.items() for recipe in e.recipes]
    numbers = {known: i for i, known in enumerate(places)}
    ordered = sorted(rows, key=lambda row: (numbers[place(row)[:2]], *place(row)[2:]))
    return [{name: row[name] for name in COLUMNS} for row in ordered]


# --- what the seeds say ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Paired:
    """Accuracies of a recipe in percent, by seed, and their differences to others'.

    Attributes
    ----------
    by_seed : dict
    rows : list of dict
    """

    by_seed: Mapping[int, float]
    rows: Sequence[Row] = ()

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds; NaN of one."""
        return _deviation(list(self.by_seed.values()))

    def minus(self, other: Paired) -> tuple[float, float]:
        """Mean and standard error of the differences, over the seeds that both have."""
        gaps = [
            v - other.by_seed[seed] for seed, v in self.by_seed.items() if seed in other.by_seed
        ]
        return float(np.mean(gaps)), _deviation(gaps) / math.sqrt(len(gaps))

    def interval(self, other: Paired) -> tuple[float, float, float]:
        """Mean of the differences and the ends of its 95 % interval, by Student's t."""
        from scipy.stats import t

        gap, error = self.minus(other)
        pairs = len(self.by_seed.keys() & other.by_seed.keys())
        reach = float(t.ppf(0.975, pairs - 1)) * error if pairs > 1 else math.nan
        return gap, gap - reach, gap + reach

    def mean_of(self, name: str) -> float | None:
        """Of another column; None if it is empty."""
        values = [row[name] for row in self.rows if row[name] is not None]
        return float(np.mean(values)) if values else None

    @property
    def remarks(self) -> str:
        """What a table says behind the name of the recipe."""
        few = f" ({len(self.rows)} seeds)" if len(self.rows) < len(SEEDS) else ""
        stopped = sum(bool(row["stopped"]) for row in self.rows)
        return few + (f" (stopped in {stopped} of {len(self.rows)})" if stopped else "")

    @property
    def work(self) -> float:
        """Share of the multiplications that are done."""
        macs, effectual = self.mean_of("macs"), self.mean_of("effectual_macs")
        return 1.0 if not macs or effectual is None else effectual / macs


def _deviation(values: list[float]) -> float:
    return float(np.std(values, ddof=1)) if len(values) > 1 else math.nan


def collect(
    rows: Iterable[Row], column: str = "test_accuracy"
) -> dict[tuple[str, str, float], Paired]:
    """By experiment, recipe and learning rate."""
    found: dict[tuple[str, str, float], list[Row]] = {}
    for row in rows:
        found.setdefault(place(row)[:3], []).append(row)
    return {
        at: Paired({int(r["seed"]): 100 * r[column] for r in own}, own) for at, own in found.items()
    }


# --- pages ----------------------------------------------------------------------------------------


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    """Lines of Markdown."""
    for cells in (header, ["---"] * len(header), *rows):
        yield f"| {' | '.join(cells)} |"


def accuracy(own: Paired) -> str:
    """Mean and standard deviation, for a table."""
    return f"{own.mean:.2f} ± {own.spread:.2f}"


def points(own: Paired, base: Paired) -> str:
    """The difference to another and its 95 % interval, for a table; nothing if it is the same."""
    if own is base:
        return ""
    gap, low, high = own.interval(base)
    return f"{gap:+.2f} [{low:+.2f}, {high:+.2f}]"


def costs(own: Paired) -> tuple[str, str]:
    """Passes and the share of the multiplications that are done, for a table."""
    passes = own.mean_of("passes_per_mac")
    return "" if passes is None else f"{passes:.2f}", "" if own.work == 1 else f"{own.work:.2f}"


def claims(expectations: Iterable[Expectation]) -> Iterator[str]:
    """A table of what was expected, what was found, and whether that is so."""
    verdicts = {True: "holds", False: "**does not hold**", None: "open"}
    yield from table(
        ("expected", "found", ""),
        ((text, found, verdicts[holds]) for text, holds, found in expectations),
    )


def write_page(script: str, lines: Iterable[str], path: Path, trained: bool) -> None:
    """Lines for a page of the documentation, under who made them, where and when.

    The latter two stay as they are if nothing was trained.
    """
    if trained:
        machine = f"{processor()}, Python {platform.python_version()}, NumPy {np.__version__}"
        made = f"fmtlib {fl.__version__}; {machine}; {date.today()}."
    else:
        made = path.read_text(encoding="utf-8").split("\n")[2]
    head = f"<!-- made by examples/{script} --write -->\n\n{made}\n"
    with replaced(path) as temporary:
        temporary.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


def arguments(about: str, experiments: Mapping[str, Experiment]) -> argparse.Namespace:
    """What the command line says."""
    parser = argparse.ArgumentParser(description=about)
    parser.add_argument("experiments", nargs="*", help=f"of {', '.join(experiments)}; all")
    parser.add_argument(
        "--folder", type=Path,
        help="train, but for the runs that have a file there; by default nothing is trained and "
        "all is taken from the table in docs/",
    )  # fmt: skip
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument(
        "--write", action="store_true", help="write table, figures and plots into docs/"
    )
    found = parser.parse_args()
    for name in found.experiments:
        if name not in experiments:
            parser.error(f"unknown experiment {name!r}; there are {', '.join(experiments)}")
    found.experiments = found.experiments or list(experiments)
    return found
