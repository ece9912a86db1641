"""The demonstration: real data through formats, training and counters, in one command.

1. An MLP and a CNN learn scikit-learn's digits under several recipes, on several stratified random
   splits; every recipe sees the same splits and initial weights, so differences are paired.
2. The float32 CNN of the first split gets integer widths per layer, the least that keep its
   validation accuracy; its real tensors then go through the hardware counters.
3. Tables, plots and a machine-readable result.

Hyperparameters were chosen on validation parts; the test parts are only reported.
"""

from __future__ import annotations

import multiprocessing
import os
import platform
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib import hardware, training
from fmtlib.files import replaced
from fmtlib.hardware.designs.dynamic_stripes import DynamicStripes
from fmtlib.hardware.designs.fast import Fast
from fmtlib.hardware.designs.stripes import Stripes
from fmtlib.options import Json, Quiet, option, progress
from fmtlib.training.plots import draw_mantissas

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from rich.table import Table

TRUNCATED = training.BFP(
    mantissa_bits=2,
    weight_rounding="toward_zero",
    activation_rounding="toward_zero",
    gradient_rounding="toward_zero",
)
RECIPES: dict[str, training.Recipe] = {
    "FP32": training.Float32(),
    "FP8": training.FP8(),
    "BFP m=4": training.BFP(mantissa_bits=4),
    "BFP m=2 trunc.": TRUNCATED,
    "m=2, then 4": training.SwitchAt(0.5),  # the plain control of FAST
    "FAST": training.FAST(),
}
# Chosen for FP32 on validation parts; the same for every recipe.
LEARNING_RATES = {"MLP": 0.15, "CNN": 0.1}
BASELINE = "FP32"
NETWORKS = ("MLP", "CNN")
# The header of a group of 16 values that says where its width ends (DPRed, 16-bit data).
HEADER_BITS = 4


@dataclass(frozen=True)
class Settings:
    """How much the demonstration does."""

    splits: int = 5
    mlp_epochs: int = 15
    cnn_epochs: int = 8
    images: int = 16

    def epochs(self, network: str) -> int:
        """Epochs of a network's training."""
        return self.mlp_epochs if network == "MLP" else self.cnn_epochs


FULL = Settings()
QUICK = Settings(splits=2, mlp_epochs=4, cnn_epochs=1, images=2)


@dataclass(frozen=True)
class Trained:
    """One training run."""

    network: str
    recipe: str
    split: int
    result: training.Result
    model: training.Network | None  # kept only for the CNN that is counted


def cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def make_network(network: str, seed: int) -> training.Network:
    """A fresh network of one of the two kinds."""
    if network == "MLP":
        return training.mlp(64, (128, 128), 10, seed=seed)
    return training.cnn(seed=seed)


def train_one(network: str, recipe: str, split: int, settings: Settings) -> Trained:
    """Train one network under one recipe on one split; a plain function, so that processes can."""
    from threadpoolctl import threadpool_limits

    model = make_network(network, split)
    with threadpool_limits(1):  # processes share the cores, not BLAS threads
        result = training.fit(
            model,
            training.digits(split),
            recipe=RECIPES[recipe],
            epochs=settings.epochs(network),
            learning_rate=LEARNING_RATES[network],
            seed=split,
        )
    keep = (network, recipe, split) == ("CNN", BASELINE, 0)
    return Trained(network, recipe, split, result, model if keep else None)


def train_all(settings: Settings, workers: int, progress: bool) -> list[Trained]:
    """Every network under every recipe on every split, with a progress bar if it is wanted."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    tasks = [
        (network, recipe, split)
        for network in reversed(NETWORKS)  # the long ones first
        for split in range(settings.splits)
        for recipe in RECIPES
    ]
    columns = (
        TextColumn("training {task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
    done = []
    # spawn: a forked child would inherit the threads' locks but not the threads
    context = multiprocessing.get_context("spawn")
    with (
        Progress(*columns, console=Console(stderr=True), disable=not progress) as bar,
        ProcessPoolExecutor(workers, mp_context=context) as pool,
    ):
        shown = bar.add_task("", total=len(tasks))
        futures = [pool.submit(train_one, *task, settings) for task in tasks]
        for future in as_completed(futures):
            run = future.result()
            done.append(run)
            bar.update(shown, advance=1, description=f"{run.network} {run.recipe:18}")
    order = [(network, recipe) for network in NETWORKS for recipe in RECIPES]
    return sorted(done, key=lambda run: (order.index((run.network, run.recipe)), run.split))


# --- accuracy -------------------------------------------------------------------------------


def accuracy_records(runs: Iterable[Trained]) -> list[dict[str, Any]]:
    """One record per network and recipe: accuracy, its spread, paired difference to FP32.

    The interval is Student's t over the splits; test parts of random splits overlap, so it is an
    approximation.
    """
    from scipy.stats import t

    scores: dict[tuple[str, str], list[training.Result]] = {}
    for run in runs:
        scores.setdefault((run.network, run.recipe), []).append(run.result)
    records = []
    for (network, recipe), results in scores.items():
        accuracy = 100 * np.array([r.test_accuracy for r in results])
        paired = accuracy - 100 * np.array([r.test_accuracy for r in scores[network, BASELINE]])
        half, spread = float("nan"), None
        if len(paired) > 1:
            spread = float(accuracy.std(ddof=1))
            half = t.ppf(0.975, len(paired) - 1) * paired.std(ddof=1) / np.sqrt(len(paired))
        passes = [r.passes_per_mac for r in results if r.passes_per_mac is not None]
        records.append(
            {
                "network": network,
                "recipe": recipe,
                "splits": len(results),
                "test_accuracy_percent": float(accuracy.mean()),
                "test_accuracy_sd_points": spread,
                "points_against_fp32": float(paired.mean()),
                "points_interval_95": None if np.isnan(half) else [
                    float(paired.mean() - half), float(paired.mean() + half)
                ],
                "passes_per_mac": float(np.mean(passes)) if passes else None,
                "macs_per_run": results[0].macs,
                "seconds_per_run": float(np.mean([r.seconds for r in results])),
                "test_accuracies_percent": accuracy.tolist(),
            }
        )  # fmt: skip
    return records


def accuracy_table(records: list[dict[str, Any]]) -> Table:
    """The first table."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE,
        title=f"Digits, {records[0]['splits']} stratified random 75/25 splits",
        caption="points: of test accuracy against FP32, paired by split, ± its 95 % interval;\n"
        "passes: of an fMAC, 1 if all mantissas had 2 bits, 4 if all had 4",
    )
    table.add_column("network")
    table.add_column("recipe")
    for title in ("test (%)", "points", "± (95 %)", "passes/MAC"):
        table.add_column(title, justify="right")
    for record in records:
        spread, interval = record["test_accuracy_sd_points"], record["points_interval_95"]
        is_baseline, passes = record["recipe"] == BASELINE, record["passes_per_mac"]
        table.add_row(
            record["network"],
            record["recipe"],
            f"{record['test_accuracy_percent']:.2f}"
            + ("" if spread is None else f" ± {spread:.2f}"),
            "–" if is_baseline else f"{record['points_against_fp32']:+.2f}",
            f"{(interval[1] - interval[0]) / 2:.2f}" if interval and not is_baseline else "–",
            "–" if passes is None else f"{passes:.2f}",
            end_section=record["recipe"] == list(RECIPES)[-1],
        )
    return table


# --- counters -------------------------------------------------------------------------------


@dataclass(frozen=True)
class Profile(training.Recipe):
    """Integers of given widths for the activations and weights of each layer; products in float32.

    Attributes
    ----------
    activation_bits, weight_bits : tuple of int
        Unsigned widths of activations (inputs and ReLU outputs are not negative), signed widths of
        weights, layer by layer.
    activation_max, weight_max : tuple of float
        Greatest magnitudes, which take the greatest code.
    """

    activation_bits: tuple[int, ...] = ()
    weight_bits: tuple[int, ...] = ()
    activation_max: tuple[float, ...] = ()
    weight_max: tuple[float, ...] = ()

    def product(
        self,
        a: NDArray[np.float32],
        b: NDArray[np.float32],
        left: training.Operand,
        right: training.Operand,
    ) -> tuple[NDArray[np.float32], int | None]:
        """The float32 product of the quantised operands."""
        a_format, a_scale = self.activation(left.layer)
        b_format, b_scale = self.weight(right.layer)
        quantized = fl.quantize(a, a_format, scale=a_scale) @ fl.quantize(
            b, b_format, scale=b_scale
        )
        return quantized, None

    def activation(self, layer: int) -> tuple[fl.IntegerFormat, float]:
        """Format and scale of a layer's activations."""
        fmt = fl.IntegerFormat(self.activation_bits[layer], signed=False)
        return fmt, self.activation_max[layer] / fmt.max

    def weight(self, layer: int) -> tuple[fl.IntegerFormat, float]:
        """Format and scale of a layer's weights."""
        fmt = fl.IntegerFormat(self.weight_bits[layer])
        return fmt, self.weight_max[layer] / fmt.max


def find_profile(model: training.Network, data: training.Dataset) -> Profile:
    """The least widths, one tensor after the other, that cost no accuracy outside the test part.

    From 8 bits everywhere, each activation and each weight tensor in turn gives up bits as long as
    the accuracy on the training and validation parts together stays that of float32.
    """
    known = training.Part(
        np.concatenate([data.train.x, data.validation.x]),
        np.concatenate([data.train.y, data.validation.y]),
    )
    inputs = model.inputs(known.x)
    profile = Profile(
        activation_bits=(8,) * len(inputs),
        weight_bits=(8,) * len(inputs),
        activation_max=tuple(float(x.max()) for x in inputs),
        weight_max=tuple(float(np.abs(w.weight.value).max()) for w in model.weighted),
    )
    _, wanted = training.evaluate(model, known)
    for field in ("activation_bits", "weight_bits"):
        for layer in range(len(inputs)):
            for bits in range(7, 1, -1):
                widths = list(getattr(profile, field))
                widths[layer] = bits
                tried = replace(profile, **{field: tuple(widths)})
                if training.evaluate(model, known, tried.start(len(inputs)))[1] < wanted:
                    break
                profile = tried
    return profile


def hardware_layers(
    model: training.Network, profile: Profile, x: NDArray[np.float32]
) -> list[hardware.Layer]:
    """The model's layers with the integer tensors of some images."""
    layers = []
    for i, (inputs, layer) in enumerate(zip(model.inputs(x), model.weighted, strict=True)):
        a_format, a_scale = profile.activation(i)
        w_format, w_scale = profile.weight(i)
        activations = fl.encode(inputs, a_format, scale=a_scale).astype(np.int16)
        weights = fl.encode(layer.weight.value, w_format, scale=w_scale).astype(np.int16)
        if isinstance(layer, training.Conv2d):
            assert isinstance(layer.stride, int)
            assert isinstance(layer.padding, int)
            layers.append(
                hardware.Layer.conv(
                    activations, weights, stride=layer.stride, padding=layer.padding,
                    name=f"conv{i + 1}",
                    activation_bits=a_format.bits, weight_bits=w_format.bits,
                )
            )  # fmt: skip
        else:
            layers.append(
                hardware.Layer.linear(
                    activations, weights, name=f"fc{i + 1}",
                    activation_bits=a_format.bits, weight_bits=w_format.bits,
                )
            )  # fmt: skip
    return layers


def group_widths(layer: hardware.Layer) -> NDArray[np.uint8]:
    """Width of each group of 16 channels of a layer's activations."""
    return fl.group_bits(layer.activations, 16, axis=1, signed=layer.activations_signed)


def stored_bits(layer: hardware.Layer, design: hardware.Design) -> int:
    """Bits that a layer's activations take in the store of a design, headers included."""
    size = layer.activations.size
    match design:
        case Stripes():
            return size * layer.activation_bits
        case DynamicStripes():
            signed = layer.activations_signed
            both = design.ends == "both"
            high, low = fl.group_bits(layer.activations, 16, axis=1, ends="both", signed=signed)
            widths = (high - low if both else high).astype(np.int64)
            channels = layer.activations.shape[1]
            sizes = np.diff([*range(0, channels, 16), channels])  # the last group may be short
            payload = (np.moveaxis(widths, 1, -1) * sizes).sum()
            return int(payload) + (1 + both) * HEADER_BITS * widths.size
        case Fast():
            fmt = fl.bfp(design.mantissa("activations", layer))
            blocks: fl.BlockArray = fl.encode(layer.activations.astype(np.float32), fmt, axis=1)
            return size * fmt.bits + blocks.scales.size * fmt.scale_bits
        case _:
            return size * 16


def bits_per_value(layers: list[hardware.Layer], design: hardware.Design) -> float:
    """Mean of `stored_bits` over all activations."""
    total = sum(stored_bits(layer, design) for layer in layers)
    return total / sum(layer.activations.size for layer in layers)


def designs() -> list[hardware.Design]:
    """The designs that the demonstration compares, at equal peak products."""
    return [
        hardware.design("dadiannao"),
        hardware.design("stripes"),
        hardware.design("dynamic_stripes"),
        hardware.design("dynamic_stripes", ends="both"),
        hardware.design("fast", activation_mantissa=4, weight_mantissa=4),
    ]


def count_table(
    result: hardware.CountResult, layers: list[hardware.Layer]
) -> tuple[Table, list[dict[str, Any]]]:
    """The second table, and its records."""
    from rich import box
    from rich.table import Table

    table = Table(
        box=box.SIMPLE,
        title="The trained CNN's tensors on accelerators of equal peak",
        caption="baseline: DaDianNao, 16 lanes × 16 filters of 16 × 16 bits, one tile;\n"
        "the first layer's one channel fills one lane of 16, but for FAST",
    )
    table.add_column("design")
    for title in ("cycles", "speed-up (×)", "ideal (×)", "bits/activation"):
        table.add_column(title, justify="right")
    records = []
    totals = [r for r in result.to_records() if r["row"] == "total"]
    for design, record in zip(result.designs, totals, strict=True):
        record["bits_per_activation"] = bits_per_value(layers, design)
        records.append(record)
        table.add_row(
            design.label,
            f"{record['compute_cycles']:,}",
            f"{record['speedup']:.2f}",
            f"{record['ideal_speedup']:.2f}",
            f"{record['bits_per_activation']:.2f}",
        )
    return table, records


# --- plots ----------------------------------------------------------------------------------


def plot_training(runs: list[Trained]) -> Figure:
    """Validation accuracy over the epochs, and the widths that FAST chose, by layer."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12, 7.5), layout="constrained")
    axes = figure.subplots(2, 2)
    for column, network in enumerate(NETWORKS):
        _plot_accuracy(axes[0, column], network, [r for r in runs if r.network == network])
        fast = next(r for r in runs if (r.network, r.recipe) == (network, "FAST"))
        draw_mantissas(axes[1, column], fast.result.decisions)
        axes[1, column].set_title(f"{network}: mantissa widths that FAST chose (first split)")
    return figure


def _plot_accuracy(axes: Axes, network: str, runs: list[Trained]) -> None:
    for recipe in RECIPES:
        curves = [r.result.validation_accuracy for r in runs if r.recipe == recipe]
        percent = 100 * np.array(curves)
        epochs = np.arange(1, percent.shape[1] + 1)
        mean = percent.mean(axis=0)
        (line,) = axes.plot(
            epochs, mean, label=f"{recipe}: {mean[-1]:.1f} % at the end", marker="."
        )
        axes.fill_between(
            epochs, percent.min(axis=0), percent.max(axis=0),
            color=line.get_color(), alpha=0.12, linewidth=0,
        )  # fmt: skip
    axes.set(
        title=f"{network}: mean and range over splits",
        xlabel="epoch", ylabel="validation accuracy (%)", ylim=(70, 100.5),
    )  # fmt: skip
    axes.locator_params(axis="x", integer=True)
    axes.legend(loc="lower right")


def plot_widths(layers: list[hardware.Layer]) -> Figure:
    """Histograms of the widths of groups of 16 activations."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4 * len(layers), 3.5), layout="constrained")
    all_axes = figure.subplots(1, len(layers), squeeze=False)[0]
    for axes, layer in zip(all_axes, layers, strict=True):
        widths = group_widths(layer).ravel()
        counts = np.bincount(widths, minlength=layer.activation_bits + 1)[1:]
        axes.bar(np.arange(1, len(counts) + 1), 100 * counts / widths.size)
        axes.axvline(widths.mean(), color="C3", label=f"mean {widths.mean():.2f} bits")
        axes.axvline(
            layer.activation_bits, color="black", linestyle="--",
            label=f"whole layer {layer.activation_bits} bits",
        )  # fmt: skip
        axes.set_xticks(np.arange(1, len(counts) + 1))
        axes.set(title=layer.name, xlabel="width of a group of 16 (bits)", ylabel="groups (%)")
        axes.set_ylim(top=1.35 * axes.get_ylim()[1])  # room for the legend
        axes.legend(fontsize="small", loc="upper center", ncols=2)
    return figure


# --- the whole ------------------------------------------------------------------------------


def demo(
    *,
    quick: Annotated[bool, option("A look in under 30 seconds.", "--quick")] = False,
    out: Annotated[
        Path, option("Folder for the results.", "--out", "--output", metavar="DIR")
    ] = Path("demo-results"),
    workers: Annotated[
        int | None, option("Processes; one per core if left out.", metavar="N", min=1)
    ] = None,
    json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Train on real data in several formats, and count accelerator cycles.

    An MLP and a CNN learn scikit-learn's digits in FP32, FP8, block floating point and FAST; the
    CNN's tensors then go through the hardware counters. Two tables are printed; plots and
    `results.json`, which is what `--json` prints, are in a folder.

    It takes the extra: `pip install "fmtlib[demo]"`.

    Examples
    --------
    $ fmtlib demo --quick
    $ fmtlib demo --out demo-results --workers 2
    """
    run(out, quick=quick, workers=workers, json=json, progress=progress(quiet))


def run(
    output: str | os.PathLike[str],
    *,
    quick: bool = False,
    workers: int | None = None,
    json: bool = False,
    progress: bool = False,
) -> Path:
    """Run the demonstration and write its results.

    Parameters
    ----------
    output : path
        Folder for ``results.json``, ``counts.csv`` and the plots; made if missing.
    quick : bool
        Few epochs and splits, for a look: its accuracies say little.
    workers : int, optional
        Processes; by default one per core.
    json : bool
        Print what is in ``results.json``, and no tables.
    progress : bool
        Whether to draw a bar on standard error.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ImportError
        If the extra is missing: ``pip install "fmtlib[demo]"``.
    """
    try:
        import matplotlib as _matplotlib  # noqa: F401
        import scipy as _scipy  # noqa: F401
        import sklearn as _sklearn  # noqa: F401
        from rich.console import Console
    except ImportError as error:
        raise ImportError(f'the demo needs {error.name}: pip install "fmtlib[demo]"') from error
    began = time.perf_counter()
    settings = QUICK if quick else FULL
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(quiet=json)
    runs = train_all(settings, workers or cores(), progress)
    records = accuracy_records(runs)
    console.print(accuracy_table(records))

    model = next(r.model for r in runs if r.model is not None)
    data = training.digits(0)
    profile = find_profile(model, data)
    layers = hardware_layers(model, profile, data.test.x[: settings.images])
    result = hardware.count(layers, designs())
    table, totals = count_table(result, layers)
    console.print(table)
    run_of_profile = profile.start(len(layers))
    accuracies = {
        "float32": training.evaluate(model, data.test)[1],
        "integers": training.evaluate(model, data.test, run_of_profile)[1],
    }
    console.print(
        "Widths that cost no accuracy outside the test part: activations "
        f"{profile.activation_bits}, weights {profile.weight_bits} bits; "
        f"test accuracy {accuracies['integers']:.2%} against "
        f"{accuracies['float32']:.2%} in float32. Counts are of {settings.images} test images."
    )

    for name, figure in (("training", plot_training(runs)), ("widths", plot_widths(layers))):
        with replaced(folder / f"{name}.png") as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    result.plot(folder / "speedups.png")
    result.to_csv(folder / "counts.csv")
    seconds = time.perf_counter() - began
    summary = {
        "fmtlib": fl.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_target": fl.cpu_target(),
        "cores": cores(),
        "quick": quick,
        "seconds": seconds,
        "settings": asdict(settings),
        "accuracy": records,
        "counts_total": totals,
        "counts_by_layer": [r for r in result.to_records() if r["row"] == "layer"],
        "profile": {
            "activation_bits": profile.activation_bits,
            "weight_bits": profile.weight_bits,
            "test_accuracy": accuracies,
        },
        "group_widths": {
            layer.name: np.bincount(group_widths(layer).ravel()).tolist() for layer in layers
        },
        "validation_accuracy": [
            {
                "network": r.network,
                "recipe": r.recipe,
                "split": r.split,
                "by_epoch": r.result.validation_accuracy,
            }
            for r in runs
        ],
    }
    text = dumps(summary, indent=1) + "\n"
    with replaced(folder / "results.json") as temporary:
        temporary.write_text(text, encoding="utf-8")
    if json:
        print(text, end="")
    console.print(f"{seconds:.0f} s; tables, plots and results.json are in {folder}/")
    return folder
