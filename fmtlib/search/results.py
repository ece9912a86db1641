"""What a search found: points, the best for a tolerance, the front, tables and a plot."""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

from fmtlib.files import replaced
from fmtlib.search.configurations import Configuration, Role

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Phase: TypeAlias = Literal["baseline", "start", "uniform", "descent", "alone", "partial"]


@dataclass(frozen=True)
class Point:
    """A configuration that was evaluated.

    Attributes
    ----------
    configuration : tuple of Precision, BlockPrecision or None
    accuracy : float
        What the search's measure is; see `SearchResult`.
    footprint : float
        See `footprint`.
    phase : str
        What it was evaluated for: "baseline" (all layers in floating point), "start", "uniform",
        "descent", "alone" (one layer quantised) or "partial".
    """

    configuration: Configuration
    accuracy: float
    footprint: float
    phase: Phase


@dataclass(frozen=True)
class SearchResult:
    """All that was evaluated, in order.

    Attributes
    ----------
    points : tuple of Point
        The first is the baseline.
    steps : tuple of Point
        Where the search went: the configurations that it moved to.
    complete : bool
        Whether it came to its end before its budget did.
    measure : str
        What accuracies are: "top-1 accuracy", say, or the agreement with something.
    """

    points: tuple[Point, ...]
    steps: tuple[Point, ...]
    complete: bool
    measure: str = "accuracy"

    @property
    def baseline(self) -> Point:
        """All layers in floating point."""
        return self.points[0]

    def loss(self, point: Point) -> float:
        """Accuracy lost, relative to the baseline's; negative if it is better."""
        return 1 - point.accuracy / self.baseline.accuracy

    def cost(self, point: Point, weight: float) -> float:
        """Footprint plus `weight` times the relative loss, if any: see `search_blocks`."""
        return point.footprint + weight * max(self.loss(point), 0.0)

    def cheapest(self, tolerance: float) -> Point:
        """The least footprint within a relative loss; of equal ones the most accurate.

        Parameters
        ----------
        tolerance : float
            0.01 for 1 %.  From 0, where at least the baseline is found.
        """
        if not tolerance >= 0:
            raise ValueError(f"tolerance must be at least 0, got {tolerance}")
        baseline = self.baseline.accuracy
        good = [point for point in self.points if within(point.accuracy, baseline, tolerance)]
        return min(good, key=lambda point: (point.footprint, -point.accuracy))

    def pareto(self) -> tuple[Point, ...]:
        """Points that no other one beats in accuracy without a greater footprint, least first."""
        front: list[Point] = []
        for point in sorted(self.points, key=lambda point: (point.footprint, -point.accuracy)):
            if not front or point.accuracy > front[-1].accuracy:
                front.append(point)
        return tuple(front)

    def to_records(self, points: Iterable[Point] | None = None) -> list[dict[str, Any]]:
        """A dict for each point (or each of some, say ``pareto()``).

        Keys are phase, measure, accuracy, relative_loss, footprint, data and weights; the latter
        two have integer and fraction bits by layer, as "3.4-2.5", or mantissa and exponent bits
        and block size, as "m4e5g16-m3e4g32", and "float" where a layer stays so.
        """
        return [
            {
                "phase": point.phase,
                "measure": self.measure,
                "accuracy": point.accuracy,
                "relative_loss": self.loss(point),
                "footprint": point.footprint,
                "data": _spelt(point.configuration, "data"),
                "weights": _spelt(point.configuration, "weights"),
            }
            for point in (self.points if points is None else points)
        ]

    def plot(self, path: str | os.PathLike[str] | None = None) -> Figure:
        """Draw accuracy against footprint, with the front; needs matplotlib (extra: demo).

        Parameters
        ----------
        path : str or PathLike, optional
            Where to save it too, whole or not at all: .svg, .png or .pdf.

        Returns
        -------
        matplotlib.figure.Figure
        """
        kind = "" if path is None else Path(path).suffix[1:].lower()
        if path is not None and kind not in ("svg", "png", "pdf"):
            raise ValueError(
                f"a plot's file must end in .svg, .png or .pdf, got {os.fspath(path)!r}"
            )
        try:
            from matplotlib.figure import Figure
        except ImportError as error:
            raise ImportError('plots need Matplotlib: pip install "fmtlib[train]"') from error
        figure = Figure(figsize=(6, 4), layout="constrained")
        axes = figure.subplots()
        front = self.pareto()
        for points, style, label in ((self.points, "C7.", "evaluated"), (front, "C0.-", "front")):
            x = [100 * point.footprint for point in points]
            y = [100 * point.accuracy for point in points]
            steps = "steps-post" if points is front else "default"
            axes.plot(x, y, style, label=label, drawstyle=steps)
        axes.set_xlabel("footprint, % of 32-bit floats")
        axes.set_ylabel(f"{self.measure}, %")
        axes.legend()
        if path is not None:
            with replaced(path) as temporary:
                figure.savefig(temporary, format=kind)
        return figure


def within(accuracy: float, baseline: float, tolerance: float) -> bool:
    """Whether the relative loss is within the tolerance, but for what rounding makes of it."""
    return 1 - accuracy / baseline <= tolerance + 1e-12


def _spelt(configuration: Configuration, role: Role) -> str:
    return "-".join("float" if p is None else p.spelt(role) for p in configuration)
