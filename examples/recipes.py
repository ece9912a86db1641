"""What the recipes do to accuracy: small perceptrons on real data, five seeds, paired differences.

::

    python examples/recipes.py                                # the tables, of docs/recipes.csv
    python examples/recipes.py --folder runs stored mnist1d   # train what runs/ lacks of these
    python examples/recipes.py --folder runs --write          # all; docs/recipes.csv, the page

Training needs the extras train, demo and data.  Settings are the same for all recipes; the test
part is evaluated once per run, after the last epoch.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # one thread per run, so that runs repeat

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

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
    points,
    read,
    table,
    train,
    write_page,
)

from fmtlib import training
from fmtlib.files import replaced
from fmtlib.tables import write_csv

Found = dict[tuple[str, str, float], Paired]

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


def with_integers(setup: training.Setup, trained: training.Trained) -> Row:
    """What becomes of a trained network in integers."""
    return integers(setup, trained, (8, 4, 3, 2))


PERCEPTRON = "mlp:hidden=128,128"
EXPERIMENTS = {
    "digits": Experiment(
        "digits, float32 masters", "digits", PERCEPTRON, {**BLOCKS, **OTHERS}, (0.15,),
        {"epochs": 15},
    ),
    "mnist1d": Experiment(
        "MNIST-1D, float32 masters", "mnist1d", PERCEPTRON,
        {
            **BLOCKS,
            **{name: OTHERS[name] for name in ("FP8", "MXFP8", "MXFP4", "NVFP4", "2:8 sparse")},
        },
        (0.05, 0.1), {"epochs": 25},
    ),
    "stored": Experiment(
        "digits, weights stored without masters; no momentum, constant rate",
        "digits", PERCEPTRON, {**STORED}, (0.02,),
        {"epochs": 15, "optimizer": "sgd:momentum=0.0", "schedule": "constant"},
    ),
    "integers": Experiment(
        "digits, integers after calibration (PTQ) and trained (QAT)", "digits", PERCEPTRON,
        {FLOAT32: training.Float32(), **dict.fromkeys(INTEGERS)}, (0.15,), {"epochs": 15},
        with_integers,
    ),
}  # fmt: skip


def tables(found: Found) -> Iterator[str]:
    """Markdown: one table for each experiment and learning rate."""
    for name, experiment in EXPERIMENTS.items():
        for rate in experiment.learning_rates:
            base = found.get((name, FLOAT32, rate))
            if base is None:
                continue
            epochs = experiment.options["epochs"]
            yield f"\n**{experiment.title}** ({epochs} epochs, learning rate {rate})\n"
            yield from table(
                ("recipe", "test accuracy %", "points against float32", "passes", "work"),
                (
                    (recipe + own.remarks, accuracy(own), points(own, base), *costs(own))
                    for recipe in experiment.recipes
                    if (own := found.get((name, recipe, rate)))
                ),
            )


def expectations(found: Found) -> Iterator[Expectation]:
    """What was expected of these experiments, if it came out, and the numbers."""

    def of(recipe: str, name: str = "digits", rate: float | None = None) -> Paired:
        return found[name, recipe, EXPERIMENTS[name].learning_rates[0] if rate is None else rate]

    def below(claim: str, low: Paired, high: Paired) -> Expectation:
        gap, error = low.minus(high)
        return claim, gap < -3 * error, f"{gap:+.2f} ± {error:.2f} points"

    base = of(FLOAT32)
    yield ("float32 reaches 97.0 % on digits", base.mean >= 97, f"{base.mean:.2f} %")
    for recipe in ("BFP m=4, gradients stochastic", "BFP m=4, gradients nearest"):
        gap, error = of(recipe).minus(base)
        yield (f"{recipe}: within 0.8 points on digits", gap >= -0.8, f"{gap:+.2f} ± {error:.2f}")
    for recipe in ("FAST 0.6/0.3, truncated", "FAST 0.35/0.15, nearest"):
        gap, error = of(recipe).minus(base)
        passes = of(recipe).mean_of("passes_per_mac") or math.nan
        yield (
            f"{recipe}: within 1.5 points at up to 2.6 passes on digits",
            gap >= -1.5 and passes <= 2.6,
            f"{gap:+.2f} ± {error:.2f} at {passes:.2f}",
        )
    lost, kept = (of(f"stored m=4, {rounding}", "stored") for rounding in ("nearest", "stochastic"))
    yield ("stored weights m=4, stochastic: 88 % on digits", kept.mean >= 88, f"{kept.mean:.2f} %")
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
        yield (f"{at} stochastic reaches 45 %", random.mean >= 45, f"{random.mean:.2f} %")
        gap, error = random.minus(nearest)
        yield (
            f"{at} stochastic gradients do not beat nearest ones, with float32 masters",
            gap <= 3 * error, f"{gap:+.2f} ± {error:.2f}",
        )  # fmt: skip
        gap, error = of("FAST 0.35/0.15, nearest", "mnist1d", rate).minus(
            of("m=2, then 4 from half way", "mnist1d", rate)
        )
        yield (
            f"{at[:-6]} FAST does not beat the fixed switch by more than 3 standard errors",
            gap <= 3 * error, f"{gap:+.2f} ± {error:.2f}",
        )  # fmt: skip
    base = of(FLOAT32, "integers")
    for kind in ("PTQ", "QAT"):
        gap, _ = of(f"{kind} 8 bits", "integers").minus(base)
        yield (
            f"{kind} 8 bits: within 1 % of float32, relative",
            gap >= -base.mean / 100,
            f"{100 * gap / base.mean:+.2f} %",
        )


def plot(found: Found, path: Path) -> None:
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
    asked = arguments(__doc__.split("\n")[0], EXPERIMENTS)
    path = DOCS / "recipes.csv"
    rows = read(path)
    if asked.folder is not None:
        rows = [row for row in rows if row["experiment"] not in asked.experiments]
        for name in asked.experiments:
            rows += train(name, EXPERIMENTS[name], asked.folder, asked.workers, range(asked.seeds))
    found = collect(rows)
    lines = [*claims(expectations(found)), *tables(found)]
    print("\n".join(lines))
    if asked.write:
        write_csv(in_order(rows, EXPERIMENTS), path)
        plot(found, DOCS / "images" / "recipes.png")
        write_page("recipes.py", lines, DOCS / "recipe_figures.inc", asked.folder is not None)


if __name__ == "__main__":
    main()
