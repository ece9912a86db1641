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
from fmtlib.files import load_json, replaced
from fmtlib.progress import reporting
from fmtlib.search.configurations import (
    BlockPrecision,
    Configuration,
    LayerSize,
    Precision,
    footprint,
)
from fmtlib.search.results import Phase, Point, SearchResult

_VERSION = 2
# How a file tells one from the other.
_KINDS: dict[str, type[Precision] | type[BlockPrecision]] = {
    "fixed": Precision,
    "block": BlockPrecision,
}


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
    measure: str = "accuracy"
    known: dict[Configuration, float] = field(default_factory=dict)
    points: dict[Configuration, Point] = field(default_factory=dict)
    steps: list[Point] = field(default_factory=list)

    def __enter__(self) -> Evaluations:
        if self.budget is not None:
            self.budget = whole_number("budget", self.budget, 1)
        if self.path is not None and Path(self.path).exists():
            self.known = _read(Path(self.path), self.sizes, self.measure)
        self._reporting = reporting(self.progress, "search", self._shown)
        self._report = self._reporting.__enter__()
        return self

    def _shown(self, at: Progress) -> dict[str, Any]:
        """What a progress bar says."""
        done = f"{at.evaluated} evaluated, {at.best.footprint:.1%} of 32 bits"
        return {
            "completed": at.evaluated,
            "total": self.budget,
            "description": f"{done}, {self.measure} {at.best.accuracy:.4g}",
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
                _write(self.path, self.sizes, self.measure, self.known)
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
        return SearchResult(tuple(self.points.values()), tuple(self.steps), complete, self.measure)


def _write(
    path: str | os.PathLike[str],
    sizes: Sequence[LayerSize],
    measure: str,
    known: dict[Configuration, float],
) -> None:
    kinds = {kind: name for name, kind in _KINDS.items()}
    record = {
        "fmtlib_precision_search": _VERSION,
        "measure": measure,
        "layers": [astuple(size) for size in sizes],
        "evaluations": [
            [[None if p is None else [kinds[type(p)], *astuple(p)] for p in of_layers], accuracy]
            for of_layers, accuracy in known.items()
        ],
    }
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(record), encoding="utf-8")


def _read(path: Path, sizes: Sequence[LayerSize], measure: str) -> dict[Configuration, float]:
    try:
        record = load_json(path)
        version = record["fmtlib_precision_search"]
        if version != _VERSION:
            raise ValueError(f"it has version {version}, this is version {_VERSION}")
        layers = [LayerSize(*layer) for layer in record["layers"]]
        known: dict[Configuration, float] = {
            tuple(None if p is None else _KINDS[p[0]](*p[1:]) for p in of_layers): float(accuracy)
            for of_layers, accuracy in record["evaluations"]
        }
        of = record["measure"]
    except (ValueError, LookupError, TypeError, OverflowError) as error:
        raise ValueError(f"{path} is not the file of a precision search: {error}") from error
    if layers != list(sizes):
        raise ValueError(f"{path} is of other layers: {layers}")
    if of != measure:
        raise ValueError(f"{path} has another measure: {of!r}, not {measure!r}")
    return known
