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


def plot_curves(result: Result) -> Figure:
    """Draw loss and accuracy over the epochs, of training and validation, the test's at the end.

    Parameters
    ----------
    result : Result

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Matplotlib is missing: install ``fmtlib[train]``.

    Examples
    --------
    >>> from fmtlib import training
    >>> result = training.fit(training.mlp(64, [], 10), training.digits(), epochs=2)
    >>> [axes.get_ylabel() for axes in training.plot_curves(result).axes]
    ['loss', 'accuracy (%)']
    """
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


def plot_decisions(decisions: Decisions) -> Figure:
    """Draw the mantissa widths that a recipe chose, of every tensor over the iterations.

    Parameters
    ----------
    decisions : Decisions
        Those of a `Result`, of a recipe that decides, such as `FAST`.

    Returns
    -------
    matplotlib.figure.Figure

    Raises
    ------
    ImportError
        Matplotlib is missing: install ``fmtlib[train]``.
    ValueError
        There are no decisions.

    Examples
    --------
    >>> from fmtlib import training
    >>> result = training.fit(
    ...     training.mlp(64, [], 10), training.digits(), recipe=training.FAST(), epochs=2
    ... )
    >>> rows = training.plot_decisions(result.decisions).axes[0].get_yticklabels()
    >>> [row.get_text() for row in rows]
    ['layer 1 weight', 'layer 1 activation', 'layer 1 gradient']
    """
    if not len(decisions):
        raise ValueError("there are no decisions to draw: the recipe has none")
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
    drawn = {"curves.png": plot_curves(result)}
    if len(np.unique(result.decisions.bits)) > 1:
        drawn["mantissas.png"] = plot_decisions(result.decisions)
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
