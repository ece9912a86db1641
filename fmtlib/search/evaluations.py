"""Evaluations, each made once: the budget, the file that remembers them, the progress."""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from fmtlib.arguments import whole_number
from fmtlib.files import replaced
from fmtlib.progress import reporting
from fmtlib.search.configurations import Configuration, LayerSize, Precision, footprint
from fmtlib.search.results import Phase, Point, SearchResult

_VERSION = 1


@dataclass(frozen=True)
class Progress:
    """How far a search is, for a callback.

    Attributes
    ----------
    evaluated : int
    budget : int or None
    best : Point
        The last one that the search moved to.
    """

    evaluated: int
    budget: int | None
    best: Point


Report: TypeAlias = Callable[[Progress], object]


class BudgetSpentError(Exception):
    """There is one more configuration to evaluate than may be."""


@dataclass
class Evaluations:
    """What was evaluated, in this search and, in its file, before."""

    evaluate: Callable[[Configuration], float]
    sizes: Sequence[LayerSize]
    budget: int | None
    batch: int
    path: str | os.PathLike[str] | None
    progress: Report | bool | None
    known: dict[Configuration, float] = field(default_factory=dict)
    points: dict[Configuration, Point] = field(default_factory=dict)
    steps: list[Point] = field(default_factory=list)

    def __enter__(self) -> Evaluations:
        if self.budget is not None:
            self.budget = whole_number("budget", self.budget, 1)
        if self.path is not None and Path(self.path).exists():
            self.known = _read(Path(self.path), self.sizes)
        self._reporting = reporting(self.progress, "search", self._shown)
        self._report = self._reporting.__enter__()
        return self

    def _shown(self, at: Progress) -> dict[str, Any]:
        """What a progress bar says."""
        done = f"{at.evaluated} evaluated, {at.best.footprint:.1%} of 32 bits"
        return {
            "completed": at.evaluated,
            "total": self.budget,
            "description": f"{done}, accuracy {at.best.accuracy:.4g}",
        }

    def __exit__(self, *error: Any) -> None:
        self._reporting.__exit__(*error)

    def one(self, configuration: Configuration, phase: Phase) -> Point:
        """The point of a configuration, evaluated if it has not been."""
        if configuration in self.points:
            return self.points[configuration]
        if self.budget is not None and len(self.points) >= self.budget:
            raise BudgetSpentError
        if configuration not in self.known:
            accuracy = float(self.evaluate(configuration))
            if not math.isfinite(accuracy):
                raise ValueError(f"evaluate must give a finite number, got {accuracy}")
            self.known[configuration] = accuracy
            if self.path is not None:
                _write(self.path, self.sizes, self.known)
        accuracy = self.known[configuration]
        if phase == "baseline" and accuracy <= 0:
            raise ValueError(f"the accuracy in floating point must be positive, got {accuracy}")
        size = footprint(configuration, self.sizes, self.batch)
        point = self.points[configuration] = Point(configuration, accuracy, size, phase)
        best = self.steps[-1] if self.steps else point
        self._report(Progress(len(self.points), self.budget, best))
        return point

    def move(self, point: Point) -> Point:
        """Note that the search goes on from there."""
        self.steps.append(point)
        return point

    def result(self, complete: bool) -> SearchResult:
        """What was found so far."""
        return SearchResult(tuple(self.points.values()), tuple(self.steps), complete)


def _write(
    path: str | os.PathLike[str], sizes: Sequence[LayerSize], known: dict[Configuration, float]
) -> None:
    record = {
        "fmtlib_precision_search": _VERSION,
        "layers": [astuple(size) for size in sizes],
        "evaluations": [
            [[None if p is None else astuple(p) for p in configuration], accuracy]
            for configuration, accuracy in known.items()
        ],
    }
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def _read(path: Path, sizes: Sequence[LayerSize]) -> dict[Configuration, float]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        version = record["fmtlib_precision_search"]
        layers = [LayerSize(*layer) for layer in record["layers"]]
        known = {
            tuple(None if p is None else Precision(*p) for p in configuration): float(accuracy)
            for configuration, accuracy in record["evaluations"]
        }
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is not the file of a precision search: {error}") from error
    if version != _VERSION:
        raise ValueError(f"{path} has version {version}, this is version {_VERSION}")
    if layers != list(sizes):
        raise ValueError(f"{path} is of other layers: {layers}")
    return known
