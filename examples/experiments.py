"""What the recipes do to five networks, and what they save: paired differences, time to accuracy.

::

    python examples/experiments.py --folder runs            # all runs that runs/ lacks, the tables
    python examples/experiments.py --folder runs cnn lstm   # of some experiments
    python examples/experiments.py                          # the tables, of docs/experiments.csv
    python examples/experiments.py --write                  # also the page's figures and plots

Needs the extras train and data; the experiment "fashion" Debian's package dataset-fashion-mnist.

The learning rate is tuned for each recipe, of a few candidates, by the accuracy on validation data
of the first seeds; everything else is the same for all. Every recipe is trained at its own rate
("tuned") and at that of float32 ("unchanged"). The test part is evaluated once per run, after the
last epoch, and has no part in any choice.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per run, so that runs repeat

import math
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from comparison import (
    DOCS,
    FLOAT32,
    Expectation,
    Experiment,
    Paired,
    Row,
    accuracy,
    arguments,
    claims,
    collect,
    costs,
    in_order,
    integers,
    place,
    points,
    read,
    table,
    train,
    write_page,
)
from time_to_accuracy import epoch_cycles, epoch_passes, reached

from fmtlib import training
from fmtlib.files import replaced
from fmtlib.tables import write_csv
from fmtlib.training.datasets import Part
from fmtlib.training.layers import Floats

TUNING_SEEDS = range(2)
TARGETS = (1.0, 3.0)  # points below float32's last accuracy on validation data
CURVE = (
    "experiment",
    "recipe",
    "learning_rate",
    "seed",
    "epoch",
    "validation_accuracy",
    "macs",
    "passes",
    "cycles",
)

FAST, NEAREST_FAST = "FAST 0.6/0.3, truncated", "FAST 0.35/0.15, nearest"
SWITCH = "m=2, then 4 from half way"
NEAREST, TRUNCATED = "BFP m=2, gradients nearest", "BFP m=2, gradients truncated"
SHORT = {
    "mlp": "Perceptron", "cnn": "CNN", "resnet": "ResNet", "fashion": "CNN, Fashion-MNIST",
    "approximate": "small CNN", "lstm": "LSTM", "transformer": "Transformer",
    "longer": "Transformer, longer", "evaluated": "Transformer, evaluated",
    "wide": "Transformer, wide", "wide_longer": "Transformer, wide, longer",
}  # fmt: skip
# Of which two the first is, or is not, expected to beat the second.
PAIRS = (
    (NEAREST, TRUNCATED, "nearest gradients beat truncated ones, m=2", True),
    ("BFP m=2", NEAREST, "stochastic gradients do not beat nearest ones, m=2", False),
    *(
        (f"stored {fmt}, stochastic", f"stored {fmt}, nearest",
         f"weights stored in {fmt}: stochastic beats nearest", True)
        for fmt in ("m=6", "bfloat16")
    ),
    (FAST, SWITCH, "FAST, truncated, does not beat a fixed switch", False),
    (NEAREST_FAST, SWITCH, "FAST, nearest, does not beat a fixed switch", False),
)  # fmt: skip
# What FAST is said to be 2 to 6 times as fast as, and what costs as little to build as it.
BASELINES = ("bfloat16", "BFP m=8", "FP8", "BFP m=4", SWITCH)
# The networks of the plots.
SHOWN = ("mlp", "cnn", "resnet", "fashion", "lstm", "transformer")
# Colours and markers of the recipes whose course is drawn.
DRAWN = {
    "bfloat16": ("black", "s"), "BFP m=8": ("tab:gray", "D"), "FP8": ("tab:blue", "o"),
    "BFP m=4": ("tab:green", "^"), "BFP m=2": ("tab:red", "v"), FAST: ("tab:orange", "*"),
    NEAREST_FAST: ("tab:brown", "P"), SWITCH: ("tab:purple", "x"),
}  # fmt: skip

# --- recipes --------------------------------------------------------------------------------------


@dataclass(frozen=True)
class LinearFP8(training.FP8):
    """FP8 with some layers' products in float32.

    Parameters
    ----------
    left_out : tuple of int
        Their indices.
    """

    left_out: tuple[int, ...] = ()

    def product(
        self, a: Floats, b: Floats, left: training.Operand, right: training.Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's product of the layers left out, else that of FP8."""
        if left.layer in self.left_out:
            return a @ b, None
        return super().product(a, b, left, right)


# Products four and five of the Transformer are those of two activations: scores and context.
LINEAR_FP8 = "FP8, scores and context in float32"
GRADIENTS: dict[str, dict[str, Any]] = {
    "nearest": {"gradient_rounding": "nearest_even"},
    "truncated": {"gradient_rounding": "toward_zero"},
}
INT8 = ("PTQ 8 bits", "QAT 8 bits")
FORMATS: dict[str, training.Recipe | None] = {
    FLOAT32: training.Float32(),
    "bfloat16": training.BF16(),
    "FP8": training.FP8(),
    "FP8, delayed scaling": training.FP8(scaling="delayed"),
    "MXFP8": training.MXFP8(),
    **dict.fromkeys(INT8),
    "BFP m=8": training.BFP(8),
    "BFP m=4": training.BFP(4),
    "BFP m=3": training.BFP(3),
    "BFP m=2": training.BFP(2),
}
ADAPTIVE: dict[str, training.Recipe | None] = {
    FAST: training.FAST(),
    NEAREST_FAST: training.FAST(
        0.35, 0.15, weight_rounding="nearest_even", activation_rounding="nearest_even"
    ),
    SWITCH: training.SwitchAt(0.5),
}
ROUNDINGS: dict[str, training.Recipe | None] = {
    f"BFP m=2, gradients {name}": training.BFP(2, **rounding)
    for name, rounding in GRADIENTS.items()
}
STORED: dict[str, training.Recipe | None] = {
    f"stored {name}, {rounding.split('_')[0]}": training.StoredWeights(
        format=fmt, rounding=rounding
    )
    for name, fmt in (("m=6", "bfp_m6_e8_g16"), ("bfloat16", "bfloat16"))
    for rounding in ("nearest_even", "stochastic")
}
OTHERS: dict[str, training.Recipe | None] = {
    "FlexBlock 4, gradients 8": training.FlexBlock(4, 4, 8),
    "2:8 sparse": training.NM(2, 8),
    "2:8 sparse, BFP m=4": training.NM(2, 8, recipe=training.BFP(4)),
}
ATTENTION: dict[str, training.Recipe | None] = {
    LINEAR_FP8: LinearFP8(left_out=(4, 5)),
    "MXFP8, scales rounded up": training.MXFP8(
        weight_format="mxfp8_e4m3_rceil", activation_format="mxfp8_e4m3_rceil",
        gradient_format="mxfp8_e5m2_rceil",
    ),
}  # fmt: skip
EVALUATED: dict[str, training.Recipe] = {
    f"evaluated in {name}": recipe
    for name, recipe in {**FORMATS, **ATTENTION}.items()
    if recipe is not None and "8" in name and "delayed" not in name
}
APPROXIMATE: dict[str, training.Recipe | None] = {
    "Mitchell, m=7": training.Approximate("mitchell", 7),
    "Mitchell, m=3": training.Approximate("mitchell", 3),
    "minimally biased, m=3": training.Approximate("minimally_biased", 3),
    "truncated operands, m=3": training.Approximate("exact", 3),
}


def few(*names: str) -> dict[str, training.Recipe | None]:
    """Some of all recipes."""
    every = FORMATS | ADAPTIVE | ROUNDINGS | STORED | OTHERS | ATTENTION | APPROXIMATE
    return {name: every[name] for name in (FLOAT32, *names)}


# --- data and networks ----------------------------------------------------------------------------


def halved(part: Part) -> Part:
    """Images of half the height and width: means of 2 × 2 pixels."""
    n, channels, height, width = part.x.shape
    tiles = part.x.reshape(n, channels, height // 2, 2, width // 2, 2)
    return Part(tiles.mean((3, 5)), part.y)


@cache
def _mnist(seed: int) -> training.Dataset:
    data = training.mnist(seed, validation=0.2)
    return training.Dataset(*map(halved, (data.train, data.validation, data.test)))


def mnist14(seed: int) -> training.Dataset:
    """The 5,000 digits of MNIST at 14 × 14 pixels."""
    return _mnist(seed)


@cache
def _fashion() -> training.Dataset:
    data = training.fashion_mnist(seed=0)
    parts = (Part(p.x[:n], p.y[:n]) for p, n in ((data.train, 10_000), (data.validation, 2_000)))
    return training.Dataset(*map(halved, (*parts, data.test)))


def fashion14(seed: int) -> training.Dataset:
    """Fashion-MNIST at 14 × 14 pixels: 10,000 images to train on, the same for all seeds."""
    return _fashion()


def cnn(data: training.Dataset, seed: int) -> training.Network:
    """Convolutions of 8 and 16 filters and a linear layer."""
    return training.cnn(data.train.x.shape[1:], (8, 16), seed=seed)


# --- what is measured -----------------------------------------------------------------------------


def curves(setup: training.Setup, trained: training.Trained, cycles: bool = True) -> Row:
    """Validation accuracy after each epoch, and what the training had cost until then."""
    recipe, result = setup.recipe, trained.result
    assert isinstance(recipe, training.Recipe)
    passes = epoch_passes(recipe, result) if result.train_loss else None
    epochs = len(result.train_loss)
    return {
        "validation_curve": list(result.validation_accuracy),
        "macs_curve": [result.macs * i // max(epochs, 1) for i in range(1, epochs + 1)],
        "passes_curve": passes,
        "cycles_curve": epoch_cycles(trained, recipe, setup.batch_size)
        if cycles and passes is not None
        else None,
    }


def with_integers(setup: training.Setup, trained: training.Trained, cycles: bool = True) -> Row:
    """The curves; of float32 also what becomes of the network in integers."""
    found = curves(setup, trained, cycles)
    if isinstance(setup.recipe, training.Float32):
        found |= integers(setup, trained, [8])
    return found


def on_text(setup: training.Setup, trained: training.Trained) -> Row:
    """The same without cycles: the counters have no layer for recurrence and attention."""
    return with_integers(setup, trained, cycles=False)


SEQUENCES = (
    "bfloat16", "FP8", "MXFP8", *INT8, "BFP m=8", "BFP m=4", "BFP m=3", "BFP m=2", *ADAPTIVE,
    *ROUNDINGS, *STORED, *OTHERS, *APPROXIMATE,
)  # fmt: skip
TRANSFORMER = "transformer:width=32:heads=4:depth=1"
WIDE = "transformer:width=128:heads=4:depth=1"
WARM = {"schedule": "warmup:steps=50:then=cosine"}
TEXT = {
    "data": "text:length=32:characters=150000:test=0.15:validation=0.1",
    "measure": on_text,
}


def evaluated(setup: training.Setup, trained: training.Trained) -> Row:
    """What a network trained in float32 reaches with the forward products of others."""
    network, data, _ = trained
    return {
        "after": {
            name: {
                f"{part}_accuracy": training.evaluate(
                    network, getattr(data, part), recipe.start(network.products)
                )[1]
                for part in ("test", "validation")
            }
            for name, recipe in EVALUATED.items()
        }
    }


TEXT_OPTIONS = {"optimizer": "adam", "batch_size": 32, "clip_norm": 1.0}

EXPERIMENTS = {
    "mlp": Experiment(
        "Perceptron on digits: two hidden layers of 128",
        "digits:validation=0.25", "mlp:hidden=128,128", FORMATS | ADAPTIVE | ROUNDINGS,
        (0.075, 0.15, 0.3), {"epochs": 15}, with_integers,
    ),
    "cnn": Experiment(
        "CNN on MNIST: 5,000 images at 14 × 14, convolutions of 8 and 16 filters",
        mnist14, cnn, FORMATS | ADAPTIVE | ROUNDINGS | STORED | OTHERS,
        (0.05, 0.1, 0.2), {"epochs": 6}, with_integers,
    ),
    "resnet": Experiment(
        "ResNet on digits: stages of 8 and 16 filters with batch norm",
        "digits:validation=0.25", "resnet:channels=8,16",
        few(
            "bfloat16", "FP8", "MXFP8", *INT8, "BFP m=8", "BFP m=4", "BFP m=3", "BFP m=2",
            *ADAPTIVE, *ROUNDINGS, *STORED, *OTHERS, *APPROXIMATE,
        ),
        (0.05, 0.1, 0.2), {"epochs": 12}, with_integers,
    ),
    "fashion": Experiment(
        "CNN on Fashion-MNIST: 10,000 images at 14 × 14",
        fashion14, cnn,
        few("FP8", "BFP m=8", "BFP m=4", "BFP m=2", "FAST 0.6/0.3, truncated",
            "m=2, then 4 from half way"),
        (0.1,), {"epochs": 4}, curves,
    ),
    "approximate": Experiment(
        "CNN on digits: approximate multipliers, convolutions of 4 and 8 filters",
        "digits:validation=0.25", "cnn:channels=4,8", few(*APPROXIMATE),
        (0.1,), {"epochs": 8},
    ),
    "lstm": Experiment(
        "LSTM of 64 units, next character of English text",
        network="lstm:units=64", recipes=few(*SEQUENCES), learning_rates=(0.01, 0.02, 0.04),
        options={"epochs": 4, **TEXT_OPTIONS}, **TEXT,
    ),
    "transformer": Experiment(
        "Transformer of width 32, next character of English text",
        network=TRANSFORMER, recipes=few(*SEQUENCES, *ATTENTION), learning_rates=(0.01, 0.02),
        options={"epochs": 4, **WARM, **TEXT_OPTIONS}, **TEXT,
    ),
    "longer": Experiment(
        "The same Transformer, trained for longer",
        network=TRANSFORMER, recipes=few("FP8", LINEAR_FP8, *INT8, "BFP m=4"),
        learning_rates=(0.01,),
        options={"epochs": 10, **WARM, **TEXT_OPTIONS}, **TEXT,
    ),
    "wide": Experiment(
        "A Transformer of width 128, next character of English text",
        network=WIDE, recipes=few("FP8", *INT8, "BFP m=4"),
        learning_rates=(0.0025, 0.005),
        options={"epochs": 4, **WARM, **TEXT_OPTIONS}, **TEXT,
    ),
    "wide_longer": Experiment(
        "The Transformer of width 128, trained for longer",
        network=WIDE, recipes=few("FP8", *INT8), learning_rates=(0.0025,),
        options={"epochs": 10, **WARM, **TEXT_OPTIONS}, **TEXT,
    ),
    "evaluated": Experiment(
        "The Transformer trained for longer in float32, evaluated in other formats",
        TEXT["data"], TRANSFORMER, {**few(), **dict.fromkeys(EVALUATED)}, (0.01,),
        {"epochs": 10, **WARM, **TEXT_OPTIONS}, evaluated,
    ),
}  # fmt: skip

# --- runs -----------------------------------------------------------------------------------------


def complete(name: str, folder: Path, workers: int, seeds: Sequence[int]) -> list[Row]:
    """All runs of an experiment: those that tune, then the other seeds at the rates they chose."""
    experiment = EXPERIMENTS[name]
    first, others = (
        [seed for seed in seeds if (seed in TUNING_SEEDS) == tuning] for tuning in (True, False)
    )
    run = partial(train, name, experiment, folder, workers)
    rows = run(first)
    rates = tuned(rows)
    if others:
        rows += run(others, rates=[rates[FLOAT32]])
        for rate in experiment.learning_rates:
            own = [r for r in experiment.trained if rates[r] == rate != rates[FLOAT32]]
            rows += run(others, rates=[rate], recipes=own) if own else []
    return rows


def tuned(rows: Sequence[Row]) -> dict[str, float]:
    """The learning rate of each recipe whose validation accuracy is greatest over `TUNING_SEEDS`.

    Of equal ones the lowest. What was made of a network trained in float32 has float32's rate.
    """
    found: dict[str, dict[float, list[float]]] = {}
    for row in rows:
        if row["seed"] in TUNING_SEEDS:
            accuracy = row["validation_accuracy"]
            rates = found.setdefault(row["recipe"], {})
            rates.setdefault(row["learning_rate"], []).append(
                -1.0 if accuracy is None else accuracy
            )
    best = {
        recipe: max(sorted(rates), key=lambda rate: statistics.fmean(rates[rate]))
        for recipe, rates in found.items()
    }
    after = [recipe for recipe in best if recipe in INT8 or recipe in EVALUATED]
    return best | dict.fromkeys(after, best[FLOAT32])


def epochs_of(rows: Sequence[Row]) -> list[Row]:
    """A row for each epoch of the tuned runs whose cost is known: of dense ones, the array's."""
    found = []
    for name in dict.fromkeys(row["experiment"] for row in rows):
        own = [row for row in rows if row["experiment"] == name]
        rates = tuned(own)
        for row in own:
            dense = row["effectual_macs"] == row["macs"]
            chosen = row["learning_rate"] == rates[row["recipe"]]
            if not (dense and chosen and row.get("passes_curve")):
                continue
            columns = [row["validation_curve"], row["macs_curve"], row["passes_curve"]]
            cycles = row["cycles_curve"] or [None] * len(row["macs_curve"])
            for epoch, values in enumerate(zip(*columns, cycles, strict=True), 1):
                found.append(dict(zip(CURVE, (*place(row), epoch, *values), strict=True)))
    return found


# --- tables ---------------------------------------------------------------------------------------


class Findings:
    """All runs, by what is asked of them.

    Parameters
    ----------
    rows : sequence of dict
        The table.
    epochs : sequence of dict
        What `epochs_of` gives.
    """

    def __init__(self, rows: Sequence[Row], epochs: Sequence[Row]) -> None:
        self._found = collect(rows)
        self.names = list(dict.fromkeys(row["experiment"] for row in rows))
        self.rates = {
            name: tuned([row for row in rows if row["experiment"] == name]) for name in self.names
        }
        self._curves: dict[tuple[str, str], dict[int, list[Row]]] = {}
        for row in epochs:
            of_recipe = self._curves.setdefault((row["experiment"], row["recipe"]), {})
            of_recipe.setdefault(row["seed"], []).append(row)

    def unchanged(self, name: str, recipe: str) -> Paired:
        """A recipe at float32's learning rate."""
        return self._found[name, recipe, self.rates[name][FLOAT32]]

    def tuned(self, name: str, recipe: str) -> Paired:
        """A recipe at its own learning rate."""
        return self._found[name, recipe, self.rates[name][recipe]]

    def timed(self, name: str) -> list[str]:
        """The recipes of an experiment whose cost is known."""
        return [r for r in EXPERIMENTS[name].recipes if (name, r) in self._curves]

    def unit(self, name: str) -> str:
        """What costs are counted in: cycles where there are any, else passes."""
        first = next(iter(self._curves[name, FLOAT32].values()))[0]
        return "passes" if first["cycles"] is None else "cycles"

    def curves(self, name: str, recipe: str) -> dict[int, tuple[list[float], list[float]]]:
        """Accuracies on validation data in percent, and costs until then, by seed."""
        unit = self.unit(name)
        return {
            seed: ([100 * e["validation_accuracy"] for e in own], [float(e[unit]) for e in own])
            for seed, own in self._curves[name, recipe].items()
        }

    def times(self, name: str, recipe: str, below: float) -> dict[int, float]:
        """The cost of coming within some points of float32's last accuracy, by seed."""
        base = self.curves(name, FLOAT32)
        return {
            seed: reached(accuracies, costs, base[seed][0][-1] - below)
            for seed, (accuracies, costs) in self.curves(name, recipe).items()
            if seed in base
        }

    def ratios(self, name: str, recipe: str, other: str, below: float) -> list[float]:
        """The costs of a recipe relative to another that got there; infinite if it did not."""
        own, theirs = (self.times(name, r, below) for r in (recipe, other))
        return [own[s] / theirs[s] for s in own if theirs.get(s, math.inf) < math.inf]


def accuracy_tables(found: Findings) -> Iterator[str]:
    """Markdown: what each recipe reaches at float32's learning rate and at its own."""
    for name in found.names:
        experiment, rates = EXPERIMENTS[name], found.rates[name]
        several = len(experiment.learning_rates) > 1
        candidates = f", of {', '.join(map(str, experiment.learning_rates))}" if several else ""
        yield (
            f"\n**{experiment.title}** ({experiment.options['epochs']} epochs; learning rate "
            f"{rates[FLOAT32]}{candidates})\n"
        )
        own_rate = ("own rate", "test accuracy %", "points") if several else ()
        lines = []
        for recipe in experiment.recipes:
            same, own = found.unchanged(name, recipe), found.tuned(name, recipe)
            base = found.unchanged(name, FLOAT32)
            cells = [recipe + same.remarks, accuracy(same), points(same, base)]
            if several and own is same:
                cells += ["", "", ""]
            elif several:
                cells += [str(rates[recipe]), accuracy(own), points(own, base)]
            lines.append([*cells, *costs(same)])
        header = ("recipe", "test accuracy %", "points against float32", *own_rate)
        yield from table((*header, "passes", "work"), lines)


def time_tables(found: Findings) -> Iterator[str]:
    """Markdown: what it costs to come near float32's accuracy."""
    for name in found.names:
        if not found.timed(name):
            continue
        unit = found.unit(name)
        word, scale = {"cycles": ("million", 1e6), "passes": ("billion", 1e9)}[unit]
        yield f"\n**{EXPERIMENTS[name].title}**: {word} {unit} until an accuracy\n"
        header = ["recipe"]
        for below in TARGETS:
            header += [f"{below:g} below float32's", "reached"]
        rows = []
        for recipe in found.timed(name):
            rows.append([recipe])
            for below in TARGETS:
                times = [time / scale for time in found.times(name, recipe, below).values()]
                got = [time for time in times if time < math.inf]
                spread = f" ({min(got):.3g} to {max(got):.3g})" if got else ""
                middle = statistics.median(times)
                rows[-1] += [
                    (f"{middle:.3g}" if middle < math.inf else "never") + spread,
                    f"{len(got)} of {len(times)}",
                ]
        yield from table(header, rows)


def savings(found: Findings) -> Iterator[str]:
    """Markdown: what others cost until an accuracy, relative to FAST."""
    for fast in (FAST, NEAREST_FAST):
        rows = []
        for name in found.names:
            for below in TARGETS:
                if fast not in found.timed(name):
                    continue
                reached = sum(t < math.inf for t in found.times(name, fast, below).values())
                rows.append([SHORT[name], f"{below:g}", str(reached)])
                for other in BASELINES:
                    known = other in found.timed(name)
                    ratios = found.ratios(name, other, fast, below) if known else []
                    rows[-1].append(_ratio(ratios) if ratios else "")
        if rows:
            yield f"\n**Costs relative to those of {fast}**, until an accuracy\n"
            header = ("network", "points below float32's", "seeds that got there", *BASELINES)
            yield from table(header, rows)


def _ratio(ratios: list[float]) -> str:
    middle = statistics.median(ratios)
    got = [ratio for ratio in ratios if ratio < math.inf]
    spread = f" ({min(got):.2g} to {max(got):.2g})" if got else ""
    return (f"{middle:.2f}" if middle < math.inf else "never") + spread


# --- what was expected ----------------------------------------------------------------------------


def expectations(found: Findings) -> Iterator[Expectation]:
    """Claims of the papers and of ours, if they hold here, and the numbers."""
    for name in found.names:
        known, short = EXPERIMENTS[name].recipes, SHORT[name]
        base = found.unchanged(name, FLOAT32)
        for recipe, margin in (("FP8", 0.5), ("MXFP8", 0.5), ("BFP m=4", 1.0)):
            if recipe in known:
                own = found.unchanged(name, recipe)
                yield (
                    f"{short}: {recipe} within {margin} points of float32, nothing changed",
                    own.minus(base)[0] >= -margin, points(own, base),
                )  # fmt: skip
        if INT8[1] in known:
            own = found.unchanged(name, INT8[1])
            yield (
                f"{short}: {INT8[1]} within 1 % of float32, relative",
                own.minus(base)[0] >= -base.mean / 100,
                f"{100 * own.minus(base)[0] / base.mean:+.2f} %",
            )
        for high, low, text, expected in PAIRS:
            if high in known and low in known:
                yield beats(found, name, high, low, text, expected)
    for other in BASELINES:
        cases = [
            found.ratios(name, other, fast, below)
            for name in found.names
            for fast in (FAST, NEAREST_FAST)
            if {fast, other} <= set(found.timed(name))
            for below in TARGETS
        ]
        medians = [statistics.median(ratios) for ratios in cases if ratios]
        if medians:
            twice = sum(m >= 2 for m in medians)
            yield (
                f"FAST 2 to 6 times as fast as {other}",
                twice == len(cases) or (None if twice else False),
                f"FAST got there in {len(medians)} of {len(cases)} cases; {twice} medians are 2 or "
                f"more, {min(medians):.2f} is the least",
            )


def beats(
    found: Findings, name: str, high: str, low: str, text: str, expected: bool
) -> Expectation:
    """Whether the 95 % interval of a difference lies above zero, each at its own learning rate."""
    pair = found.tuned(name, high), found.tuned(name, low)
    _, least, most = pair[0].interval(pair[1])
    open_ = expected and least <= 0 <= most
    return f"{SHORT[name]}: {text}", None if open_ else (least > 0) == expected, points(*pair)


# --- plots ----------------------------------------------------------------------------------------


def plot_accuracy(found: Findings, path: Path) -> None:
    """Points against float32 with their intervals, by recipe and network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 13), layout="constrained")
    names = [name for name in found.names if name in SHOWN]
    least, most = -8.0, 2.0
    for axes, name in zip(figure.subplots(2, 3).flat, names, strict=False):
        recipes = [recipe for recipe in EXPERIMENTS[name].recipes if recipe != FLOAT32]
        base = found.unchanged(name, FLOAT32)
        for how, of, color, shift in (
            ("float32's learning rate", found.unchanged, "tab:blue", -0.15),
            ("its own learning rate", found.tuned, "tab:orange", 0.15),
        ):
            for i, recipe in enumerate(recipes):
                gap, low, high = of(name, recipe).interval(base)
                label = how if not i else None
                if gap < least:
                    axes.plot(least, i + shift, "<", color=color, label=label)
                    axes.annotate(
                        f"{gap:.0f}", (least, i + shift), (6, -3), textcoords="offset points",
                        fontsize=7, color=color,
                    )  # fmt: skip
                    continue
                axes.errorbar(
                    gap, i + shift, xerr=[[gap - low], [high - gap]], fmt="o", markersize=4,
                    capsize=2, color=color, label=label,
                )  # fmt: skip
        axes.axvline(0, color="black", linewidth=0.8)
        axes.axvspan(-0.5, 0.5, color="gray", alpha=0.15)
        axes.set(xlim=(least - 0.5, most))
        axes.set_title(f"{SHORT[name]}: float32 {base.mean:.2f} %", fontsize=10)
        axes.set_yticks(range(len(recipes)), recipes, fontsize=8)
        axes.invert_yaxis()
    figure.supxlabel("points of test accuracy against float32, 95 % interval; grey: within 0.5")
    shown = figure.axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside upper center", ncols=2)
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def plot_times(found: Findings, path: Path) -> None:
    """Validation accuracy against what it cost, median over the seeds, by network."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 8), layout="constrained")
    names = [name for name in found.names if name in SHOWN]
    for axes, name in zip(figure.subplots(2, 3).flat, names, strict=False):
        last = [accuracies[-1] for accuracies, _ in found.curves(name, FLOAT32).values()]
        goal = statistics.median(last)
        axes.axhline(goal - TARGETS[0], color="black", linestyle="--", linewidth=0.8)
        for recipe, (color, marker) in DRAWN.items():
            if recipe in found.timed(name):
                runs = list(found.curves(name, recipe).values())
                ended = min(len(accuracies) for accuracies, _ in runs)
                accuracies, costs = (
                    np.median([run[i][:ended] for run in runs], axis=0) for i in (0, 1)
                )
                axes.plot(costs, accuracies, marker=marker, markersize=4, color=color, label=recipe)
        axes.set(
            xscale="log", xlabel=f"{found.unit(name)} until then", title=SHORT[name],
            ylim=(goal - 24, goal + 3),
        )  # fmt: skip
    figure.supylabel("validation accuracy (%) after each epoch, median of the seeds")
    shown = figure.axes[0].get_legend_handles_labels()
    figure.legend(*shown, loc="outside lower center", ncols=4)
    with replaced(path) as temporary:
        figure.savefig(temporary, format="png", dpi=100)


def main() -> None:
    """Run what is asked for."""
    asked = arguments(__doc__.split("\n")[0], EXPERIMENTS)
    paths = DOCS / "experiments.csv", DOCS / "experiment_curves.csv"
    rows, epochs = (read(path) if path.exists() else [] for path in paths)
    if asked.folder is not None:
        rows, epochs = (
            [row for row in old if row["experiment"] not in asked.experiments]
            for old in (rows, epochs)
        )
        for name in asked.experiments:
            own = complete(name, asked.folder, asked.workers, range(asked.seeds))
            rows += own
            epochs += epochs_of(own)
    rows = in_order(rows, EXPERIMENTS)
    found = Findings(rows, epochs)
    lines = [
        *claims(expectations(found)),
        *savings(found),
        *accuracy_tables(found),
        *time_tables(found),
    ]
    print("\n".join(lines))
    if asked.write:
        write_csv(rows, paths[0])
        write_csv(epochs, paths[1])
        plot_accuracy(found, DOCS / "images" / "experiments.png")
        plot_times(found, DOCS / "images" / "time_to_accuracy.png")
        write_page(
            "experiments.py", lines, DOCS / "experiment_figures.inc", asked.folder is not None
        )


if __name__ == "__main__":
    main()
