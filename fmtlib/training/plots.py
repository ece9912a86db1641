"""Pictures of a training (extra: train)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fmtlib.files import replaced
from fmtlib.training.fit import Result
from fmtlib.training.recipes import Decisions
from fmtlib.training.recipes.base import ROLES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_MOST_COLUMNS = 60  # windows of iterations that widths are the means of


def curves(result: Result) -> Figure:
    """Loss and accuracy over the epochs, of training and validation, and the test's at the end."""
    figure = _new(10, 4)
    loss, accuracy = figure.subplots(1, 2)
    last = len(result.train_loss)
    for axes, name, factor in ((loss, "loss", 1), (accuracy, "accuracy", 100)):
        for part, marker in (("train", "o"), ("validation", "s")):
            values = getattr(result, f"{part}_{name}")
            if values:
                axes.plot(
                    np.arange(1, len(values) + 1), factor * np.array(values), label=part,
                    marker=marker, markersize=4,
                )  # fmt: skip
        test = getattr(result, f"test_{name}")
        if test is not None and last:  # nothing to stand at the end of
            axes.plot([last], [factor * test], "k*", markersize=10, label="test")
        axes.set(xlabel="epoch", ylabel=f"{name} (%)" if factor > 1 else name)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.grid(alpha=0.3)
        if axes.get_legend_handles_labels()[0]:
            axes.legend()
    if result.stopped is not None:
        figure.suptitle(result.stopped.partition(";")[0], color="C3", fontsize="medium")
    return figure


def mantissas(decisions: Decisions) -> Figure:
    """The mantissa widths that a recipe chose, of every tensor over the iterations."""
    rows = len({*zip(decisions.layer.tolist(), decisions.role.tolist(), strict=True)})
    figure = _new(9, min(12.0, 1.5 + 0.3 * rows))
    draw_mantissas(figure.subplots(), decisions)
    return figure


def draw_mantissas(axes: Axes, decisions: Decisions) -> None:
    """One row per tensor, from the first layer's down; the colour is the mean width of a window."""
    iterations = int(decisions.iteration.max()) + 1
    window = max(1, iterations // _MOST_COLUMNS)
    columns = -(-iterations // window)
    names, rows = [], []
    for layer in range(int(decisions.layer.max()) + 1):
        for role in ROLES:
            mine = (decisions.layer == layer) & (decisions.role == role)
            if not mine.any():
                continue
            at = decisions.iteration[mine] // window
            sums = np.bincount(at, decisions.bits[mine], columns)
            counts = np.bincount(at, minlength=columns)
            names.append(f"layer {layer + 1} {role}")
            rows.append(np.divide(sums, counts, out=np.full(columns, np.nan), where=counts > 0))
    low, high = int(decisions.bits.min()), int(decisions.bits.max())
    image = axes.imshow(
        np.array(rows), aspect="auto", interpolation="nearest", vmin=low, vmax=max(high, low + 1),
        extent=(0, columns * window, len(rows) - 0.5, -0.5),
    )  # fmt: skip
    axes.set_yticks(range(len(names)), names)
    axes.set(xlabel="iteration")
    of = "" if window == 1 else f", mean of {window} iterations"
    axes.figure.colorbar(
        image, ax=axes, label=f"mantissa bits{of}",
        ticks=range(low, high + 1),
    )  # fmt: skip


def write(result: Result, folder: Path) -> list[Path]:
    """Write the pictures that there is something to see in, as PNG; return their paths."""
    drawn = {"curves.png": curves(result)}
    if len(np.unique(result.decisions.bits)) > 1:
        drawn["mantissas.png"] = mantissas(result.decisions)
    for name, figure in drawn.items():
        with replaced(folder / name) as temporary:
            figure.savefig(temporary, format="png", dpi=120)
    return [folder / name for name in drawn]


def _new(width: float, height: float) -> Figure:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError("plots need Matplotlib: pip install 'fmtlib[train]'") from error
    return Figure(figsize=(width, height), layout="constrained")
