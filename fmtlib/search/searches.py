"""The searches: bits taken away step by step, and layers left in floating point."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

from fmtlib.arguments import whole_number
from fmtlib.search.configurations import FIELDS, Configuration, Field, LayerSize, Precision
from fmtlib.search.evaluations import BudgetSpentError, Evaluations, Report
from fmtlib.search.results import SearchResult, within


def search_precision(
    evaluate: Callable[[Configuration], float],
    start: Sequence[Precision],
    sizes: Sequence[LayerSize],
    *,
    searched: Sequence[Field] = ("data_integer", "data_fraction", "weight_fraction"),
    tolerance: float = 0.1,
    uniform_tolerance: float = 0.0,
    moves: int = 1,
    budget: int | None = None,
    batch: int = 1,
    measure: str = "accuracy",
    path: str | os.PathLike[str] | None = None,
    progress: Report | bool | None = None,
) -> SearchResult:
    """Take bits away, the least missed first, for as long as the accuracy allows.

    Parameters
    ----------
    evaluate : callable
        Accuracy, a positive number, of a configuration: a tuple with a `Precision` or None for
        each layer.  Always the same for the same one.
    start : sequence of Precision
        With more bits than needed.
    sizes : sequence of LayerSize
    searched : sequence of str
        Which fields of a `Precision` to shorten.
    tolerance : float
        Where to stop: the greatest relative loss of accuracy, 0.1 for 10 %.
    uniform_tolerance : float
        The greatest relative loss of the uniform part; where accuracies are fine measures, such as
        the agreement of maps, nothing can be had for none at all.
    moves : int
        Children that a step of the descent takes together, at most: with many layers, a coarser
        search in fewer evaluations.
    budget : int, optional
        Configurations to evaluate at most, those of an earlier run that `path` remembers among
        them.
    batch : int
        Samples that share the weights, see `footprint`.
    measure : str
        What `evaluate` gives, for tables and plots.
    path : str or PathLike, optional
        A file that remembers every evaluation, so that a search that was interrupted, or ran out
        of budget, goes on where it was.  It is replaced as a whole after each.
    progress : callable or bool, optional
        Called with a `Progress` after every evaluation; True shows a bar on the standard error
        stream (extra: demo).

    Returns
    -------
    SearchResult

    Raises
    ------
    ValueError
        If an argument is out of range, an accuracy is not finite, that of the baseline is not
        positive, or the file is of other layers or another measure.

    See Also
    --------
    partial_quantization : which layers to leave in floating point.

    Notes
    -----
    1. The baseline: all layers in floating point.
    2. Uniform: from `start`, each field in turn loses bits in all layers that have them, as long
       as no more than `uniform_tolerance` is lost against the baseline (or against `start`, if that
       is worse).
    3. Descent: every layer's every field gives a child with one bit less in it.  All are evaluated,
       and the search moves to the most accurate; of equal ones to that of the least footprint, then
       to that of the first layer, then of the first field.  It ends when that child loses more than
       `tolerance`, or there is none.  With `moves`, it takes so many bits of the children that come
       first in this order at once; as long as that loses more than `tolerance`, half as many.

    The result depends on the arguments alone, not on interruptions.

    References
    ----------
    P. Judd et al., "Reduced-Precision Strategies for Bounded Memory in Deep Neural Nets",
    arXiv 1511.05236, for the descent; the choice among equal children is ours.

    Examples
    --------
    >>> from fmtlib.search import LayerSize, Precision, search_precision
    >>> def accuracy(configuration):
    ...     return sum(1 - 2.0**-p.data_fraction if p else 1 for p in configuration) / 2
    >>> sizes = [LayerSize("a", 100, 10), LayerSize("b", 50, 10)]
    >>> start = [Precision(0, 8, 0, 8)] * 2
    >>> found = search_precision(accuracy, start, sizes, searched=["data_fraction"])
    >>> point = found.cheapest(0.05)
    >>> [p.data_fraction for p in point.configuration], round(point.footprint, 2)
    ([4, 5], 0.18)
    """
    chosen = _fields(searched)
    first = _configuration(start, sizes)
    check_tolerance(tolerance)
    check_tolerance(uniform_tolerance, "uniform_tolerance")
    moves = whole_number("moves", moves, 1)
    with Evaluations(evaluate, sizes, budget, batch, path, progress, measure) as seen:
        try:
            baseline = seen.one((None,) * len(sizes), "baseline")
            point = seen.move(seen.one(first, "start"))
            least = min(baseline.accuracy, point.accuracy)
            for name in chosen:
                while child := _all_shorter(point.configuration, name):
                    found = seen.one(child, "uniform")
                    if not within(found.accuracy, least, uniform_tolerance):
                        break
                    point = seen.move(found)
            while True:
                children = [
                    (i, name, _shorter(point.configuration, i, name))
                    for i in range(len(sizes))
                    for name in chosen
                ]
                points = [
                    (seen.one(child, "descent"), i, name) for i, name, child in children if child
                ]
                points.sort(key=lambda child: (-child[0].accuracy, child[0].footprint))
                if not points or not within(points[0][0].accuracy, baseline.accuracy, tolerance):
                    break
                taken = min(moves, len(points))
                while True:
                    child = point.configuration
                    for _, i, name in points[:taken]:
                        child = _shorter(child, i, name) or child
                    found = seen.one(child, "descent")
                    if taken == 1 or within(found.accuracy, baseline.accuracy, tolerance):
                        break
                    taken //= 2
                point = seen.move(found)
        except BudgetSpentError:
            return seen.result(complete=False)
        return seen.result(complete=True)


def partial_quantization(
    evaluate: Callable[[Configuration], float],
    configuration: Sequence[Precision],
    sizes: Sequence[LayerSize],
    *,
    tolerance: float = 0.01,
    budget: int | None = None,
    batch: int = 1,
    measure: str = "accuracy",
    path: str | os.PathLike[str] | None = None,
    progress: Report | bool | None = None,
) -> SearchResult:
    """Leave the layers in floating point that quantising hurts most.

    Parameters
    ----------
    evaluate, sizes, budget, batch, measure, path, progress
        As for `search_precision`.
    configuration : sequence of Precision
        All layers quantised.
    tolerance : float
        The greatest relative loss of accuracy, 0.01 for 1 %.

    Returns
    -------
    SearchResult
        Points of phase "alone" have one layer quantised and are in the order of layers; those of
        "partial" have all, then all but the layer that loses most alone, and so on until the
        loss is within the tolerance; the last step is that configuration.

    Raises
    ------
    ValueError
        As `search_precision`.

    References
    ----------
    H. Wu et al., "Integer Quantization for Deep Learning Inference: Principles and Empirical
    Evaluation", arXiv 2004.09602, on partial quantisation.

    Examples
    --------
    >>> from fmtlib.search import LayerSize, Precision, partial_quantization
    >>> cost = [0.001, 0.2, 0.005]
    >>> def accuracy(configuration):
    ...     return 1 - sum(c for p, c in zip(configuration, cost) if p)
    >>> sizes = [LayerSize(name, 10, 10) for name in "abc"]
    >>> found = partial_quantization(accuracy, [Precision(3, 4, 0, 7)] * 3, sizes)
    >>> [p is not None for p in found.steps[-1].configuration]
    [True, False, True]
    """
    quantised = _configuration(configuration, sizes)
    check_tolerance(tolerance)
    with Evaluations(evaluate, sizes, budget, batch, path, progress, measure) as seen:
        try:
            floating = (None,) * len(sizes)
            baseline = seen.one(floating, "baseline")
            alone = [
                seen.one((*floating[:i], precision, *floating[i + 1 :]), "alone").accuracy
                for i, precision in enumerate(quantised)
            ]
            order = sorted(range(len(alone)), key=lambda i: (alone[i], i))
            for kept in range(len(order) + 1):
                left = {*order[:kept]}
                some = tuple(None if i in left else p for i, p in enumerate(quantised))
                point = seen.move(seen.one(some, "partial"))
                if within(point.accuracy, baseline.accuracy, tolerance):
                    break
        except BudgetSpentError:
            return seen.result(complete=False)
        return seen.result(complete=True)


def _configuration(given: Sequence[Precision], sizes: Sequence[LayerSize]) -> Configuration:
    check_sizes(sizes)
    found = tuple(given)
    if any(not isinstance(precision, Precision) for precision in found):
        raise TypeError(f"a configuration is made of Precision records, got {given!r}")
    if len(found) != len(sizes):
        raise ValueError(f"{len(found)} precisions for {len(sizes)} layers")
    return found


def check_sizes(sizes: Sequence[LayerSize]) -> None:
    """Raise TypeError unless they are records of sizes, at least one."""
    if not sizes or any(not isinstance(size, LayerSize) for size in sizes):
        raise TypeError(f"sizes must be LayerSize records, at least one, got {sizes!r}")


def _fields(searched: Sequence[Field]) -> tuple[Field, ...]:
    chosen = tuple(searched)
    if not chosen or len({*chosen}) < len(chosen) or not {*chosen} <= {*FIELDS}:
        raise ValueError(f"searched must be some of {', '.join(FIELDS)}, got {searched!r}")
    return chosen


def check_tolerance(tolerance: float, name: str = "tolerance") -> None:
    """Raise ValueError unless it is a relative loss."""
    if not 0 <= tolerance < 1:
        raise ValueError(f"{name} must be at least 0 and below 1, got {tolerance}")


def _shorter(configuration: Configuration, layer: int, name: Field) -> Configuration | None:
    """One bit less in a field of a layer; None if there is none to take."""
    precision = configuration[layer]
    shorter = precision.shorter(name) if isinstance(precision, Precision) else None
    if shorter is None:
        return None
    return (*configuration[:layer], shorter, *configuration[layer + 1 :])


def _all_shorter(configuration: Configuration, name: Field) -> Configuration | None:
    """One bit less in a field of all layers that have one; None if none has."""
    shorter = configuration
    for layer in range(len(configuration)):
        shorter = _shorter(shorter, layer, name) or shorter
    return None if shorter == configuration else shorter
