"""The search of blocks: their size, their mantissas and their exponents, layer by layer."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from fmtlib.arguments import whole_number
from fmtlib.search.configurations import BlockPrecision, Configuration, LayerSize, footprint
from fmtlib.search.evaluations import BudgetSpentError, Evaluations, Report
from fmtlib.search.results import Phase, Point, SearchResult, within
from fmtlib.search.searches import check_sizes, check_tolerance


def search_blocks(
    evaluate: Callable[[Configuration], float],
    sizes: Sequence[LayerSize],
    *,
    block_sizes: Sequence[int] = (8, 16, 32, 64),
    exponents: Sequence[int] = (3, 4, 5, 6, 8),
    mantissas: Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8),
    weight: float = 10.0,
    tolerance: float = 0.01,
    budget: int | None = None,
    batch: int = 1,
    measure: str = "accuracy",
    path: str | os.PathLike[str] | None = None,
    progress: Report | bool | None = None,
) -> SearchResult:
    """Choose each layer's block floating point by what it costs in accuracy and in traffic.

    Parameters
    ----------
    evaluate, budget, batch, measure, path, progress
        As for `search_precision`; configurations are of `BlockPrecision`.
    sizes : sequence of LayerSize
        With the lengths of the axes that blocks go along, where these are not all in one row.
    block_sizes, exponents, mantissas : sequence of int
        What a layer may have: values that share an exponent, bits of the exponent, bits of the
        magnitudes of data and of weights.
    weight : float
        What a relative loss of all accuracy is worth, in footprints of 32-bit floats: with 10, a
        loss of 1 % is worth a tenth, which is 3.2 bits for each number.
    tolerance : float
        The greatest relative loss of accuracy, 0.01 for 1 %, whatever it saves.

    Returns
    -------
    SearchResult
        The last step is what was chosen.  There are no steps if no uniform configuration is within
        the tolerance.

    Raises
    ------
    TypeError, ValueError
        As `search_precision`.

    See Also
    --------
    search_precision : the same for fixed point.

    Notes
    -----
    The cost of a configuration is ``footprint + weight * max(loss, 0)``, and only those count that
    lose no more than `tolerance`.  The footprint is the traffic: the bits, as stored, of each
    layer's input and weights, read once (a sign and a mantissa for each number, an exponent for
    each block, also for the last, shorter one of a row), over those of 32-bit floats.  With a
    weight of 0 this is the least traffic within the tolerance; with a tolerance near 1, the
    weighted sum alone.

    1. The baseline: all layers in floating point.
    2. Uniform: one format for all data and weights, from the least footprint on, until none that is
       left can cost less than the best, even without a loss.
    3. Descent: from there, layers in the order of their 32-bit footprints, the greatest first: the
       mantissas of data and of weights, the exponent and the block size go to the next choice,
       first the cheaper then the dearer one, for as long as the cost falls.  It ends when all
       layers have been looked at without a change.  What could not cost less even without a loss
       is not evaluated.

    The result depends on the arguments alone, not on interruptions.

    References
    ----------
    BitQ, arXiv 2409.17093, for the choice of block size, mantissa and exponent by accuracy and
    memory accesses.  The cost and the order of the search are ours.

    Examples
    --------
    >>> from fmtlib.search import LayerSize, search_blocks
    >>> def accuracy(configuration):
    ...     return 1 - sum(2.0**-p.data_mantissa / 50 for p in configuration if p)
    >>> sizes = [LayerSize("a", 1600, 160), LayerSize("b", 160, 1600)]
    >>> found = search_blocks(accuracy, sizes, block_sizes=[16, 32], exponents=[8])
    >>> [(p.block_size, p.data_mantissa, p.weight_mantissa) for p in found.steps[-1].configuration]
    [(32, 3, 1), (32, 7, 1)]
    """
    check_sizes(sizes)
    check_tolerance(tolerance)
    if not 0 <= weight < math.inf:
        raise ValueError(f"weight must be at least 0 and finite, got {weight}")
    choices = _Choices.of(block_sizes, exponents, mantissas)
    with Evaluations(evaluate, sizes, budget, batch, path, progress, measure) as seen:
        search = _Search(seen, sizes, batch, weight, tolerance)
        try:
            search.baseline = seen.one((None,) * len(sizes), "baseline")
            search.uniform(choices)
            if search.best is not None:
                search.descend(choices)
        except BudgetSpentError:
            return seen.result(complete=False)
        return seen.result(complete=True)


@dataclass(frozen=True)
class _Choices:
    """What each field may be, in ascending order."""

    block_size: tuple[int, ...]
    exponent: tuple[int, ...]
    mantissa: tuple[int, ...]

    @classmethod
    def of(
        cls, block_sizes: Sequence[int], exponents: Sequence[int], mantissas: Sequence[int]
    ) -> _Choices:
        found = []
        limits = {"block_sizes": (1, None), "exponents": (2, 8), "mantissas": (1, 23)}
        for given, (name, (low, high)) in zip(
            (block_sizes, exponents, mantissas), limits.items(), strict=True
        ):
            values = [whole_number(name, value, low, high) for value in given]
            if not values:
                raise ValueError(f"{name} must not be empty")
            found.append(tuple(sorted({*values})))
        return cls(*found)

    def uniform(self) -> list[BlockPrecision]:
        """All formats, one for data and weights."""
        return [
            BlockPrecision(size, exponent, mantissa, mantissa)
            for size, exponent, mantissa in product(self.block_size, self.exponent, self.mantissa)
        ]

    def neighbours(self, field: str, value: int) -> tuple[list[int], list[int]]:
        """The choices from a value on: the cheaper ones and the dearer ones, the nearest first."""
        of = self.mantissa if field.endswith("mantissa") else getattr(self, field)
        less = [choice for choice in of if choice < value][::-1]
        more = [choice for choice in of if choice > value]
        return (more, less) if field == "block_size" else (less, more)


@dataclass
class _Search:
    """Where a search is."""

    seen: Evaluations
    sizes: Sequence[LayerSize]
    batch: int
    weight: float
    tolerance: float
    baseline: Point | None = None
    best: Point | None = None

    def uniform(self, choices: _Choices) -> None:
        """The best of one format for all."""
        every: list[Configuration] = [(p,) * len(self.sizes) for p in choices.uniform()]
        for configuration in sorted(every, key=self._footprint):
            if not self._hopeful(configuration):
                break
            self._consider(configuration, "uniform")

    def descend(self, choices: _Choices) -> None:
        """The best that steps of single fields lead to."""
        order = sorted(range(len(self.sizes)), key=lambda i: -self.sizes[i].bits(None, self.batch))
        fields = ("data_mantissa", "weight_mantissa", "exponent", "block_size")
        changed = True
        while changed:
            changed = False
            for layer, field in product(order, fields):
                assert self.best is not None
                value = getattr(self.best.configuration[layer], field)
                for way in choices.neighbours(field, value):
                    for choice in way:
                        if not self._step(layer, field, choice):
                            break
                        changed = True

    def _step(self, layer: int, field: str, choice: int) -> bool:
        """Whether to go on from there."""
        assert self.best is not None
        configuration = self.best.configuration
        precision = configuration[layer]
        assert isinstance(precision, BlockPrecision)
        stepped = replace(precision, **{field: choice})
        child = (*configuration[:layer], stepped, *configuration[layer + 1 :])
        return self._hopeful(child) and self._consider(child, "descent")

    def _footprint(self, configuration: Configuration) -> float:
        return footprint(configuration, self.sizes, self.batch)

    def _cost(self, point: Point) -> float:
        return self.seen.result(complete=False).cost(point, self.weight)

    def _hopeful(self, configuration: Configuration) -> bool:
        """Whether it could cost less than the best, if it lost nothing."""
        return self.best is None or self._footprint(configuration) < self._cost(self.best)

    def _consider(self, configuration: Configuration, phase: Phase) -> bool:
        """Whether it costs less than the best; if so, it is the best from now on."""
        point = self.seen.one(configuration, phase)
        assert self.baseline is not None
        if not within(point.accuracy, self.baseline.accuracy, self.tolerance):
            return False
        if self.best is not None and self._cost(point) >= self._cost(self.best):
            return False
        self.best = self.seen.move(point)
        return True
