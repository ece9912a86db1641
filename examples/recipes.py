"""What the recipes do to accuracy: small perceptrons on real data, five seeds, paired differences.

::

    python examples/recipes.py                      # the tables
    python examples/recipes.py stored mnist1d       # of some experiments
    python examples/recipes.py --write              # also docs/recipe_figures.inc and the plot

Needs the extras demo and data.  Every run that is in the table (``--table``, docs/recipes.csv by
default) is taken from it, and every new one is added at once; so an interrupted run goes on, and
``--fresh`` starts anew.  Settings are the same for all recipes; the test part is evaluated once
per run, after the last epoch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per run, so that runs repeat

import argparse
import csv
import math
import platform
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import fmtlib as fl
from fmtlib import training
from fmtlib.benchmarks.machine import processor
from fmtlib.files import replaced
from fmtlib.progress import reporting

DOCS = Path(__file__).parents[1] / "docs"
SEEDS = range(5)
COLUMNS = (
    "experiment", "recipe", "learning_rate", "seed", "test_accuracy", "validation_accuracy",
    "train_loss", "passes_per_mac", "macs", "effectual_macs", "stopped",
)  # fmt: skip
FLOAT32 = "float32"

NEAREST: dict[str, Any] = {"gradient_rounding": "nearest_even"}
TRUNCATED: dict[str, Any] = {"gradient_rounding": "toward_zero"}
ALL_TRUNCATED: dict[str, Any] = TRUNCATED | {
    "weight_rounding": "toward_zero",
    "activation_rounding": "toward_zero",
}
ADAPTIVE_NEAREST = training.FAST(
    0.35, 0.15, weight_rounding="nearest_even", activation_rounding="nearest_even"
)
BLOCKS: dict[str, training.Recipe] = {
    FLOAT32: training.Float32(),
    "BFP m=4, gradients stochastic": training.BFP(4),
    "BFP m=4, gradients nearest": training.BFP(4, **NEAREST),
    "BFP m=3, gradients stochastic": training.BFP(3),
    "BFP m=2, gradients nearest": training.BFP(2, **NEAREST),
    "BFP m=2, gradients stochastic": training.BFP(2),
    "BFP m=2, gradients stochastic, bump": training.BFP(2, carry="bump"),
    "BFP m=2, gradients truncated": training.BFP(2, **TRUNCATED),
    "BFP m=2, all truncated": training.BFP(2, **ALL_TRUNCATED),
    "FAST 0.6/0.3, truncated": training.FAST(),
    "FAST 0.35/0.15, nearest": ADAPTIVE_NEAREST,
    "m=2, then 4 from half way": training.SwitchAt(0.5),
}
OTHERS: dict[str, training.Recipe] = {
    "bfloat16": training.BF16(),
    "FP8": training.FP8(),
    "FP8, delayed scaling": training.FP8(scaling="delayed"),
    "FP8, Hopper's accumulator": training.FP8(accumulator="hopper"),
    "MXFP8": training.MXFP8(),
    "MXFP4": training.MXFP4(),
    "MXFP4, gradients nearest": training.MXFP4(**NEAREST),
    "NVFP4": training.NVFP4(),
    "NVFP4, gradients nearest": training.NVFP4(**NEAREST),
    "HBFP8": training.HBFP(8),
    "HBFP8, weights stored in HBFP16": training.StoredWeights(
        training.HBFP(8), "hbfp16_24x24", rounding="nearest_even"
    ),
    "FlexBlock 4": training.FlexBlock(4, 4, 4),
    "FlexBlock 8": training.FlexBlock(8, 8, 8),
    "FlexBlock 4, gradients 8": training.FlexBlock(4, 4, 8),
    "QFX 8 bits": training.QFX(8, 8),
    "QFX 4 bits": training.QFX(4, 4),
    "QFX 3 bits": training.QFX(3, 3),
    "QFX 3 bits, fixed positions": training.QFX(3, 3, position_rate=0.0),
    "2:8 sparse": training.NM(2, 8),
    "2:8 sparse, forward only": training.NM(2, 8, backward=False),
    "4:8 sparse": training.NM(4, 8),
    "1:4 sparse": training.NM(1, 4),
    "2:8 sparse, BFP m=4": training.NM(2, 8, recipe=training.BFP(4)),
    **{
        f"{name}, m={bits}": training.Approximate(multiplier, bits)
        for name, multiplier in (
            ("Mitchell", "mitchell"),
            ("minimally biased", "minimally_biased"),
            ("truncated operands", "exact"),
        )
        for bits in (1, 2, 3, 5, 7)
    },
}
STORED: dict[str, training.Recipe] = {FLOAT32: training.Float32()} | {
    f"stored {name}, {rounding.split('_')[0]}": training.StoredWeights(
        format=fmt, rounding=rounding
    )
    for name, fmt in (
        ("m=4", "bfp_m4_e8_g16"),
        ("m=6", "bfp_m6_e8_g16"),
        ("m=8", "bfp_m8_e8_g16"),
        ("bfloat16", "bfloat16"),
    )
    for rounding in ("nearest_even", "stochastic")
}
INTEGERS = tuple(f"{kind} {bits} bits" for bits in (8, 4, 3, 2) for kind in ("PTQ", "QAT"))


@dataclass(frozen=True)
class Experiment:
    """Recipes under equal settings.

    Attributes
    ----------
    title : str
    data : callable
        From a seed to a data set.
    inputs : int
        Values per sample.
    recipes : dict
        By name; None for those of `integers`.
    learning_rates : tuple of float
    epochs : int
    options : dict
        Of `training.fit`.
    """

    title: str
    data: Callable[[int], training.Dataset]
    inputs: int
    recipes: dict[str, training.Recipe | None]
    learning_rates: tuple[float, ...]
    epochs: int
    options: dict[str, Any] = field(default_factory=dict)


EXPERIMENTS = {
    "digits": Experiment(
        "digits, float32 masters", training.digits, 64, {**BLOCKS, **OTHERS}, (0.15,), 15
    ),
    "mnist1d": Experiment(
        "MNIST-1D, float32 masters", training.mnist1d, 40,
        {
            **BLOCKS,
            **{name: OTHERS[name] for name in ("FP8", "MXFP8", "MXFP4", "NVFP4", "2:8 sparse")},
        },
        (0.05, 0.1), 25,
    ),
    "stored": Experiment(
        "digits, weights stored without masters; no momentum, constant rate",
        training.digits, 64, {**STORED}, (0.02,), 15,
        {"momentum": 0.0, "schedule": training.constant},
    ),
    "integers": Experiment(
        "digits, integers after calibration (PTQ) and trained (QAT)", training.digits, 64,
        {FLOAT32: training.Float32(), **dict.fromkeys(INTEGERS)}, (0.15,), 15,
    ),
}  # fmt: skip


# --- runs -----------------------------------------------------------------------------------------


@cache
def load(name: str, seed: int) -> training.Dataset:
    """The data of an experiment."""
    return EXPERIMENTS[name].data(seed)


def train(name: str, recipe: str, rate: float, seed: int) -> list[dict[str, Any]]:
    """The rows of one run; of `integers` all that follow from one trained network."""
    experiment = EXPERIMENTS[name]
    data = load(name, seed)
    network = training.mlp(experiment.inputs, (128, 128), 10, seed=seed)
    chosen = experiment.recipes[recipe]
    assert chosen is not None
    result = fit(network, data, chosen, rate, seed, experiment.epochs, experiment.options)
    rows = [row(name, recipe, rate, seed, result)]
    if name == "integers":
        rows += integers(network, data, rate, seed)
    return rows


def fit(
    network: training.Network,
    data: training.Dataset,
    recipe: training.Recipe,
    rate: float,
    seed: int,
    epochs: int,
    options: dict[str, Any],
) -> training.Result:
    """`training.fit`, without the warning of a training that stopped: the table says it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        return training.fit(
            network, data, recipe=recipe, learning_rate=rate, seed=seed, epochs=epochs, **options
        )


def integers(
    network: training.Network, data: training.Dataset, rate: float, seed: int
) -> Iterator[dict[str, Any]]:
    """Wu et al.'s workflow on a trained network: calibrate, then a tenth of the training again."""
    trained = network.state()
    for bits in sorted({int(name.split()[1]) for name in INTEGERS}, reverse=True):
        network.restore(trained)
        recipe = training.INT8.calibrate(network, data.train.x, bits=bits)
        run = recipe.start(network.products)
        values = (training.evaluate(network, part, run)[1] for part in (data.test, data.validation))
        test, validation = values
        yield row(name="integers", recipe=f"PTQ {bits} bits", rate=rate, seed=seed) | {
            "test_accuracy": test, "validation_accuracy": validation,
        }  # fmt: skip
        result = fit(network, data, recipe, rate / 10, seed, 2, {})
        yield row("integers", f"QAT {bits} bits", rate, seed, result)


def row(
    name: str, recipe: str, rate: float, seed: int, result: training.Result | None = None
) -> dict[str, Any]:
    """A row of the table."""
    found = dict.fromkeys(COLUMNS) | {
        "experiment": name, "recipe": recipe, "learning_rate": rate, "seed": seed,
    }  # fmt: skip
    if result is not None:
        found |= {
            "test_accuracy": result.test_accuracy,
            "validation_accuracy": (result.validation_accuracy or (math.nan,))[-1],
            "train_loss": (result.train_loss or (math.nan,))[-1],
            "passes_per_mac": result.passes_per_mac,
            "macs": result.macs,
            "effectual_macs": result.effectual_macs,
            "stopped": result.stopped,
        }
    return found


def key(found: dict[str, Any]) -> tuple[str, str, float, int]:
    """What makes a row the one it is."""
    return (
        found["experiment"],
        found["recipe"],
        float(found["learning_rate"]),
        int(found["seed"]),
    )


def read(path: Path) -> list[dict[str, Any]]:
    """The table as it is."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows: list[dict[str, Any]] = list(csv.DictReader(file))
    for found in rows:
        for name in COLUMNS[2:-1]:
            whole = name in ("seed", "macs", "effectual_macs")
            found[name] = (int if whole else float)(found[name]) if found[name] else None
    return rows


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    """Put the table down, in the order of the experiments."""
    places = {
        (name, recipe): i
        for i, (name, recipe) in enumerate(
            (name, recipe) for name, e in EXPERIMENTS.items() for recipe in e.recipes
        )
    }
    ordered = sorted(rows, key=lambda r: (places[key(r)[:2]], *key(r)[2:]))
    with replaced(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        table.writeheader()
        table.writerows(ordered)


def complete(names: list[str], path: Path, workers: int, seeds: range) -> list[dict[str, Any]]:
    """The table with all runs of some experiments."""
    rows = [r for r in read(path) if r["recipe"] in EXPERIMENTS[r["experiment"]].recipes]
    have = set(map(key, rows))
    wanted = [
        (name, recipe, rate, seed)
        for seed in seeds
        for name in names
        for recipe, chosen in EXPERIMENTS[name].recipes.items()
        for rate in EXPERIMENTS[name].learning_rates
        if chosen is not None and (name, recipe, rate, seed) not in have
    ]
    shown = {"total": len(wanted), "description": "training"}
    with (
        ProcessPoolExecutor(workers) as pool,
        reporting(True, "training", lambda done: {"completed": done, **shown}) as report,
    ):
        pending = [pool.submit(train, *run) for run in wanted]
        for done, future in enumerate(as_completed(pending), 1):
            rows += future.result()
            write(path, rows)
            report(done)
    return rows


# --- tables ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paired:
    """Test accuracies of a recipe in percent, by seed, and their differences to others'."""

    by_seed: dict[int, float]
    rows: list[dict[str, Any]]

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return float(np.mean(list(self.by_seed.values())))

    @property
    def spread(self) -> float:
        """Standard deviation over the seeds."""
        return float(np.std(list(self.by_seed.values()), ddof=1))

    def minus(self, other: Paired) -> tuple[float, float]:
        """Mean and standard error of the differences, seed by seed."""
        gaps = [value - other.by_seed[seed] for seed, value in self.by_seed.items()]
        return float(np.mean(gaps)), float(np.std(gaps, ddof=1) / math.sqrt(len(gaps)))

    def mean_of(self, name: str) -> float | None:
        """Of another column; None if it is empty."""
        values = [found[name] for found in self.rows if found[name] is not None]
        return float(np.mean(values)) if values else None


def collect(rows: list[dict[str, Any]]) -> dict[tuple[str, str, float], Paired]:
    """By experiment, recipe and learning rate."""
    found: dict[tuple[str, str, float], list[dict[str, Any]]] = {}
    for one in rows:
        found.setdefault(key(one)[:3], []).append(one)
    return {
        place: Paired({int(r["seed"]): 100 * r["test_accuracy"] for r in own}, own)
        for place, own in found.items()
    }


def tables(found: dict[tuple[str, str, float], Paired]) -> Iterator[str]:
    """Markdown: one table for each experiment and learning rate."""
    for name, experiment in EXPERIMENTS.items():
        for rate in experiment.learning_rates:
            base = found.get((name, FLOAT32, rate))
            if base is None:
                continue
            yield f"\n**{experiment.title}** ({experiment.epochs} epochs, learning rate {rate})\n"
            yield "| recipe | test accuracy % | points against float32 | passes | work |"
            yield "| --- | --- | --- | --- | --- |"
            for recipe in experiment.recipes:
                own = found.get((name, recipe, rate))
                if own is None:
                    continue
                gap, error = own.minus(base)
                passes, macs = own.mean_of("passes_per_mac"), own.mean_of("macs")
                effectual = own.mean_of("effectual_macs")
                few = f" ({len(own.rows)} seeds)" if len(own.rows) < len(SEEDS) else ""
                stopped = sum(bool(r["stopped"]) for r in own.rows)
                cells = [
                    recipe
                    + few
                    + (f" (stopped in {stopped} of {len(own.rows)})" if stopped else ""),
                    f"{own.mean:.2f} ± {own.spread:.2f}",
                    "" if recipe == FLOAT32 else f"{gap:+.2f} ± {error:.2f}",
                    "" if passes is None else f"{passes:.2f}",
                    "" if not macs or effectual == macs else f"{(effectual or 0) / macs:.2f}",
                ]
                yield f"| {' | '.join(cells)} |"


def claims(found: dict[tuple[str, str, float], Paired]) -> Iterator[str]:
    """Markdown: what was expected of these experiments, and what came out."""

    def line(claim: str, holds: bool, numbers: str) -> str:
        return f"| {claim} | {numbers} | {'holds' if holds else '**does not hold**'} |"

    def of(recipe: str, name: str = "digits", rate: float | None = None) -> Paired:
        return found[name, recipe, EXPERIMENTS[name].learning_rates[0] if rate is None else rate]

    def below(claim: str, low: Paired, high: Paired) -> str:
        gap, error = low.minus(high)
        return line(claim, gap < -3 * error, f"{gap:+.2f} ± {error:.2f} points")

    yield "| expected | found | |"
    yield "| --- | --- | --- |"
    base = of(FLOAT32)
    yield line("float32 reaches 97.0 % on digits", base.mean >= 97, f"{base.mean:.2f} %")
    for recipe in ("BFP m=4, gradients stochastic", "BFP m=4, gradients nearest"):
        gap, error = of(recipe).minus(base)
        yield line(
            f"{recipe}: within 0.8 points on digits", gap >= -0.8, f"{gap:+.2f} ± {error:.2f}"
        )
    for recipe in ("FAST 0.6/0.3, truncated", "FAST 0.35/0.15, nearest"):
        gap, error = of(recipe).minus(base)
        passes = of(recipe).mean_of("passes_per_mac") or math.nan
        yield line(
            f"{recipe}: within 1.5 points at up to 2.6 passes on digits",
            gap >= -1.5 and passes <= 2.6,
            f"{gap:+.2f} ± {error:.2f} at {passes:.2f}",
        )
    lost, kept = (of(f"stored m=4, {rounding}", "stored") for rounding in ("nearest", "stochastic"))
    yield line(
        "stored weights m=4, stochastic: 88 % on digits", kept.mean >= 88, f"{kept.mean:.2f} %"
    )
    yield below(
        "stored weights m=4: nearest more than 3 standard errors below stochastic", lost, kept
    )
    for rate in EXPERIMENTS["mnist1d"].learning_rates:
        truncated, nearest, random = (
            of(f"BFP m=2, gradients {kind}", "mnist1d", rate)
            for kind in ("truncated", "nearest", "stochastic")
        )
        at = f"MNIST-1D at {rate}, m=2:"
        for other, kind in ((nearest, "nearest"), (random, "stochastic")):
            yield below(
                f"{at} truncated gradients more than 3 standard errors below {kind}",
                truncated, other,
            )  # fmt: skip
        yield line(f"{at} stochastic reaches 45 %", random.mean >= 45, f"{random.mean:.2f} %")
        gap, error = random.minus(nearest)
        yield line(
            f"{at} stochastic gradients do not beat nearest ones, with float32 masters",
            gap <= 3 * error, f"{gap:+.2f} ± {error:.2f}",
        )  # fmt: skip
        gap, error = of("FAST 0.35/0.15, nearest", "mnist1d", rate).minus(
            of("m=2, then 4 from half way", "mnist1d", rate)
        )
        yield line(
            f"{at[:-6]} FAST does not beat the fixed switch by more than 3 standard errors",
            gap <= 3 * error, f"{gap:+.2f} ± {error:.2f}",
        )  # fmt: skip
    base = of(FLOAT32, "integers")
    for kind in ("PTQ", "QAT"):
        gap, _ = of(f"{kind} 8 bits", "integers").minus(base)
        yield line(
            f"{kind} 8 bits: within 1 % of float32, relative",
            gap >= -base.mean / 100,
            f"{100 * gap / base.mean:+.2f} %",
        )


def plot(found: dict[tuple[str, str, float], Paired], path: Path) -> None:
    """Accuracy of the block recipes against their passes, both data sets."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(11, 4.2), layout="constrained")
    all_axes = figure.subplots(1, 2)
    for axes, (name, rate) in zip(all_axes, (("digits", 0.15), ("mnist1d", 0.05)), strict=True):
        base = found[name, FLOAT32, rate]
        axes.axhline(base.mean, color="black", linestyle="--", label=f"float32, {base.mean:.1f} %")
        for i, recipe in enumerate(BLOCKS):
            own = found[name, recipe, rate]
            passes = own.mean_of("passes_per_mac")
            if passes is not None:
                axes.errorbar(
                    passes + 0.03 * (i % 5 - 2), own.mean, own.spread,
                    marker="os^vD"[i % 5], capsize=2, linestyle="", label=recipe,
                )  # fmt: skip
        axes.set(
            title=EXPERIMENTS[name].title, xlabel="fMAC passes per pair of groups",
            ylabel="test accuracy (%), mean and standard deviation",
        )  # fmt: skip
    all_axes[1].legend(fontsize="x-small", loc="lower right")
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)


def main() -> None:
    """Run what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("experiments", nargs="*", help=f"of {', '.join(EXPERIMENTS)}; all")
    parser.add_argument("--table", type=Path, default=DOCS / "recipes.csv")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=len(SEEDS))
    parser.add_argument("--fresh", action="store_true", help="forget what is in the table")
    parser.add_argument("--write", action="store_true", help="the page's figures, after all runs")
    arguments = parser.parse_args()
    names = arguments.experiments or list(EXPERIMENTS)
    for name in names:
        if name not in EXPERIMENTS:
            parser.error(f"unknown experiment {name!r}; there are {', '.join(EXPERIMENTS)}")
    if arguments.fresh:
        arguments.table.unlink(missing_ok=True)
    rows = complete(names, arguments.table, arguments.workers, range(arguments.seeds))
    found = collect(rows)
    lines = list(tables(found))
    if arguments.write or not arguments.experiments:
        lines = [*claims(found), *lines]
    print("\n".join(lines))
    if arguments.write:
        plot(found, DOCS / "images" / "recipes.png")
        machine = f"{processor()}, Python {platform.python_version()}, NumPy {np.__version__}"
        head = (
            f"<!-- made by examples/recipes.py --write -->\n\nfmtlib {fl.__version__}; {machine}.\n"
        )
        with replaced(DOCS / "recipe_figures.inc") as temporary:
            temporary.write_text("\n".join([head, *lines]) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
