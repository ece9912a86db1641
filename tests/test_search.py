"""Searches of precisions: against a plain descent, interrupted, out of budget, on networks."""

import json
import sys
from dataclasses import replace
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

import fmtlib as fl
from fmtlib import search, training
from fmtlib.search import (
    LayerSize,
    Point,
    Precision,
    SearchResult,
    partial_quantization,
    search_precision,
)
from fmtlib.search.configurations import FIELDS

SIZES = (LayerSize("a", 100, 30), LayerSize("b", 7, 500), LayerSize("c", 64, 64))
START = (Precision(2, 3, 1, 3), Precision(1, 4, 0, 4), Precision(0, 3, 2, 2))
DEFAULT = ("data_integer", "data_fraction", "weight_fraction")


class Evaluator:
    """An accuracy with ties and bumps; it notes what it is asked and may break down."""

    def __init__(self, seed=0, limit=None):
        self.asked = []
        self.seed, self.limit = seed, limit

    def __call__(self, configuration):
        if len(self.asked) == self.limit:
            raise InterruptedError
        self.asked.append(configuration)
        loss = 0.0
        for i, p in enumerate(configuration):
            if p is not None:
                bits = (p.data_integer, p.data_fraction, p.weight_integer, p.weight_fraction)
                rng = np.random.default_rng([self.seed, i, *bits])
                loss += 2.0 ** -min(bits[1], bits[3] + 1) / 8 + rng.integers(0, 3) / 100
                loss += 0.3 * (bits[0] < i)
        return 0.9 - round(loss, 2)


def shorter(p, name):
    """One bit less, if a bit is left in the format."""
    try:
        return replace(p, **{name: getattr(p, name) - 1})
    except ValueError:
        return None


def descent(evaluate, start, searched, tolerance):
    """The configurations that are evaluated, in order, and those that are moved to."""
    baseline = evaluate((None,) * len(start))
    seen, at = {(None,) * len(start): baseline}, start
    seen[at] = evaluate(at)
    steps, least = [at], min(baseline, seen[at])
    for name in searched:
        while True:
            child = tuple(shorter(p, name) or p for p in at)
            if child == at:
                break
            seen.setdefault(child, evaluate(child))
            if seen[child] < least:
                break
            at = child
            steps.append(at)
    while True:
        children = []
        for i, p in enumerate(at):
            for j, name in enumerate(searched):
                if short := shorter(p, name):
                    child = (*at[:i], short, *at[i + 1 :])
                    seen.setdefault(child, evaluate(child))
                    size = search.footprint(child, SIZES)
                    children.append((-seen[child], size, i, j, child))
        if not children or 1 + min(children)[0] / baseline > tolerance + 1e-12:
            return seen, steps
        at = min(children)[-1]
        steps.append(at)


# --- configurations -------------------------------------------------------------------------


def test_formats_of_a_precision():
    p = Precision(2, 5, 0, 7)
    assert p.data == fl.FixedFormat(2, 5)
    assert p.weights == fl.FixedFormat(0, 7)
    assert [p.shorter(name) for name in FIELDS] == [
        Precision(1, 5, 0, 7), Precision(2, 4, 0, 7), None, Precision(2, 5, 0, 6)
    ]  # fmt: skip
    least = Precision(1, 0, 0, 1)
    assert [least.shorter(name) for name in FIELDS] == [None] * 4


@pytest.mark.parametrize(
    ("bits", "error"),
    [((-1, 4, 0, 4), ValueError), ((0, 0, 0, 4), ValueError), ((1, 4, 0, 0), ValueError),
     ((1.5, 4, 0, 4), TypeError), ((20, 20, 0, 4), ValueError)],
)  # fmt: skip
def test_precisions_that_are_none(bits, error):
    with pytest.raises(error):
        Precision(*bits)


arrays = npst.arrays(np.float32, st.integers(1, 9), elements=st.floats(-5000, 5000, width=32))


@given(arrays, arrays, st.integers(2, 32))
def test_covering_formats_hold_all_and_are_the_least(data, weights, bits):
    found = Precision.covering(data, weights, bits)
    for fmt, values in ((found.data, data), (found.weights, weights)):
        assert fmt.bits == bits
        low, high = float(values.min()), float(values.max())
        holds = high <= fmt.max and low >= -(2.0**fmt.integer_bits)
        assert holds or fmt.fraction_bits == 0
        if fmt.integer_bits and holds and values.any():
            less = fl.FixedFormat(fmt.integer_bits - 1, fmt.fraction_bits + 1)
            assert high > less.max or low < -(2.0**less.integer_bits)


@given(
    st.lists(st.one_of(st.none(), st.sampled_from(START)), min_size=3, max_size=3),
    st.integers(1, 100),
)
def test_footprints(configuration, batch):
    bits = total = 0
    for p, size in zip(configuration, SIZES, strict=True):
        bits += batch * size.data * (p.data_integer + p.data_fraction + 1 if p else 32)
        bits += size.weights * (p.weight_integer + p.weight_fraction + 1 if p else 32)
        total += batch * size.data + size.weights
    assert search.footprint(configuration, SIZES, batch) == float(Fraction(bits, 32 * total))


def test_footprints_that_are_none():
    with pytest.raises(ValueError, match="2 precisions for 3 layers"):
        search.footprint(START[:2], SIZES)
    with pytest.raises(ValueError, match="no numbers at all"):
        search.footprint([None], [LayerSize("a", 0, 0)])
    with pytest.raises(ValueError, match="batch must be at least 1"):
        search.footprint(START, SIZES, 0)
    with pytest.raises(ValueError, match=r"LayerSize.data must be at least 0"):
        LayerSize("a", -1, 0)


# --- the descent ----------------------------------------------------------------------------


@given(
    st.integers(0, 1000),
    st.sampled_from([DEFAULT, FIELDS, ("weight_fraction",), ("data_fraction", "data_integer")]),
    st.sampled_from([0.0, 0.02, 0.1, 0.5]),
)
@settings(max_examples=25)
def test_the_descent_is_the_plain_one(seed, searched, tolerance):
    evaluator = Evaluator(seed)
    found = search_precision(evaluator, START, SIZES, searched=searched, tolerance=tolerance)
    seen, steps = descent(Evaluator(seed), START, searched, tolerance)
    assert found.complete
    assert [point.configuration for point in found.points] == list(seen)
    assert [point.accuracy for point in found.points] == list(seen.values())
    assert [point.configuration for point in found.steps] == steps
    assert evaluator.asked == list(seen)  # each once
    for point in found.points:
        assert point.footprint == search.footprint(point.configuration, SIZES)
    assert found.baseline.configuration == (None,) * 3
    assert found.baseline.phase == "baseline"
    phases = [point.phase for point in found.points]
    order = ["baseline", "start", "uniform", "descent"]
    assert phases == sorted(phases, key=order.index)


def test_equal_children_save_most_and_then_come_first():
    """Of layers a, b, c, taking a bit from b's weights saves most; of data, from a's."""
    found = search_precision(lambda _: 1.0, START, SIZES, searched=["weight_fraction"])
    # all are equal, so the uniform part takes what there is
    assert [p.weight_fraction for p in found.steps[-1].configuration] == [0, 1, 0]
    loss = {3: 0.0, 2: 0.01, 1: 0.02, 0: 0.03, 4: 0.0}

    def accuracy(configuration):
        return 1 - sum(loss[p.weight_fraction] for p in configuration if p)

    start = (Precision(0, 3, 0, 3),) * 3
    steps = search_precision(accuracy, start, SIZES, searched=["weight_fraction"]).steps
    changed = [
        next(i for i in range(3) if a.configuration[i] != b.configuration[i])
        for a, b in pairwise(steps)
    ]
    assert changed[:2] == [1, 1]  # 500 weights
    same = [replace(size, data=1, weights=1) for size in SIZES]
    steps = search_precision(accuracy, start, same, searched=["weight_fraction"]).steps
    assert steps[1].configuration[0] != start[0]


@pytest.mark.parametrize("seed", range(3))
def test_a_budget_cuts_the_same_search(seed):
    whole = search_precision(Evaluator(seed), START, SIZES)
    for budget in (1, 2, 3, 9, len(whole.points) - 1, len(whole.points), 10**6):
        evaluator = Evaluator(seed)
        found = search_precision(evaluator, START, SIZES, budget=budget)
        assert found.points == whole.points[:budget]
        assert found.steps == whole.steps[: len(found.steps)]
        assert found.complete == (budget >= len(whole.points))
        assert len(evaluator.asked) == len(found.points)


@pytest.mark.parametrize("function", [search_precision, partial_quantization])
def test_interrupted_searches_go_on(tmp_path, function):
    path = tmp_path / "search.json"
    whole = function(Evaluator(), START, SIZES, tolerance=0.05)
    asked = []
    for limit in (0, 1, 2):
        evaluator = Evaluator(limit=limit)
        with pytest.raises(InterruptedError):
            function(evaluator, START, SIZES, tolerance=0.05, path=path)
        asked += evaluator.asked
        assert [p.name for p in tmp_path.iterdir()] == (["search.json"] if asked else [])
    evaluator = Evaluator()
    assert function(evaluator, START, SIZES, tolerance=0.05, path=path) == whole
    assert len({*asked, *evaluator.asked}) == len(asked + evaluator.asked) == len(whole.points)
    nothing = Evaluator(limit=0)
    assert function(nothing, START, SIZES, tolerance=0.05, path=path) == whole
    found = function(nothing, START, SIZES, tolerance=0.05, path=path, budget=4)
    assert found.points == whole.points[:4]


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("nonsense", "is not the file of a precision search"),
        ("{}", "is not the file of a precision search"),
        ('{"fmtlib_precision_search": 9, "layers": [], "evaluations": []}', "has version 9"),
        (
            '{"fmtlib_precision_search": 1, "layers": [["x", 1, 1]], "evaluations": []}',
            "is of other layers",
        ),
    ],
)
def test_files_of_others_stay_as_they_are(tmp_path, text, match):
    path = tmp_path / "search.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=match):
        search_precision(Evaluator(), START, SIZES, path=path)
    assert path.read_text() == text


def test_what_a_file_holds(tmp_path):
    path = tmp_path / "search.json"
    search_precision(Evaluator(), START, SIZES, path=path, budget=2)
    record = json.loads(path.read_text())
    assert record["layers"][1] == ["b", 7, 500]
    (none, baseline), (bits, _) = record["evaluations"]
    assert none == [None] * 3
    assert baseline == 0.9
    assert bits == [[2, 3, 1, 3], [1, 4, 0, 4], [0, 3, 2, 2]]


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"start": START[:2]}, ValueError, "2 precisions for 3 layers"),
        ({"start": (None,) * 3}, TypeError, "made of Precision records"),
        ({"sizes": ()}, TypeError, "at least one"),
        ({"sizes": (1, 2, 3)}, TypeError, "LayerSize records"),
        ({"searched": ()}, ValueError, "searched must be some of data_integer"),
        ({"searched": ("data_integer",) * 2}, ValueError, "searched must be some of"),
        ({"searched": ("bits",)}, ValueError, "searched must be some of"),
        ({"tolerance": 1}, ValueError, "at least 0 and below 1, got 1"),
        ({"tolerance": float("nan")}, ValueError, "at least 0 and below 1"),
        ({"budget": 0}, ValueError, "budget must be at least 1"),
        ({"progress": 3}, TypeError, "progress must be a callable"),
        ({"evaluate": lambda _: float("nan")}, ValueError, "finite number, got nan"),
        ({"evaluate": lambda _: 0}, ValueError, "must be positive, got 0.0"),
    ],
)
def test_wrong_arguments(changed, error, match):
    arguments = {"evaluate": Evaluator(), "start": START, "sizes": SIZES, **changed}
    with pytest.raises(error, match=match):
        search_precision(**arguments)


# --- results --------------------------------------------------------------------------------


@given(st.integers(0, 100))
@settings(max_examples=10)
def test_the_front_and_the_cheapest(seed):
    found = search_precision(Evaluator(seed), START, SIZES, tolerance=0.3)
    pairs = {(point.footprint, point.accuracy) for point in found.points}
    front = sorted(
        (f, a)
        for f, a in pairs
        if not any((g <= f and b >= a) and (g, b) != (f, a) for g, b in pairs)
    )
    assert [(point.footprint, point.accuracy) for point in found.pareto()] == front
    for tolerance in (0, 0.01, 0.02, 0.05, 0.1, 0.2):
        best = found.cheapest(tolerance)
        assert 1 - best.accuracy / 0.9 <= tolerance + 1e-12
        for point in found.points:
            if 1 - point.accuracy / 0.9 <= tolerance:
                assert best.footprint <= point.footprint
    with pytest.raises(ValueError, match="tolerance must be at least 0"):
        found.cheapest(-0.1)


def test_of_equal_footprints_the_more_accurate():
    def point(accuracy, size):
        return Point((None,), accuracy, size, "descent")

    base, worse, better, last = point(1.0, 1.0), point(0.7, 0.5), point(0.8, 0.5), point(0.8, 0.6)
    found = SearchResult((base, worse, better, last), (), complete=True)
    assert found.pareto() == (better, base)
    assert found.cheapest(0.9) is better
    assert found.cheapest(0.2) is better
    assert found.cheapest(0.1) is base


def test_records():
    found = search_precision(Evaluator(), START, SIZES, budget=3)
    first, second, _ = found.to_records()
    assert first == {
        "phase": "baseline",
        "accuracy": 0.9,
        "relative_loss": 0.0,
        "footprint": 1.0,
        "data": "float-float-float",
        "weights": "float-float-float",
    }
    assert (second["data"], second["weights"]) == ("2.3-1.4-0.3", "1.3-0.4-2.2")
    assert [r["accuracy"] for r in found.to_records(found.pareto())] == [
        point.accuracy for point in found.pareto()
    ]


def test_plots(tmp_path):
    pytest.importorskip("matplotlib")
    found = search_precision(Evaluator(), START, SIZES)
    figure = found.plot(tmp_path / "front.svg")
    assert (tmp_path / "front.svg").read_text().lstrip().startswith("<?xml")
    every, front = figure.axes[0].lines
    assert len(every.get_xdata()) == len(found.points)
    assert list(front.get_xdata()) == [100 * point.footprint for point in found.pareto()]
    with pytest.raises(ValueError, match=r"\.svg, \.png or \.pdf"):
        found.plot(tmp_path / "front.txt")


def test_progress(capsys):
    calls = []
    found = search_precision(Evaluator(), START, SIZES, budget=12, progress=calls.append)
    assert [at.evaluated for at in calls] == list(range(1, len(found.points) + 1))
    assert {at.budget for at in calls} == {12}
    assert {at.best for at in calls} <= {*found.points}
    pytest.importorskip("rich")
    search_precision(Evaluator(), START, SIZES, budget=5, progress=True)
    captured = capsys.readouterr()
    assert "5 evaluated" in captured.err
    assert not captured.out


def test_missing_extras_are_named(monkeypatch):
    found = search_precision(Evaluator(), START, SIZES, budget=2)
    for name in ("rich.progress", "rich.console", "matplotlib.figure"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[demo\]"'):
        found.plot()
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[demo\]"'):
        search_precision(Evaluator(), START, SIZES, progress=True)


# --- partial quantisation -------------------------------------------------------------------


@given(st.lists(st.integers(0, 30), min_size=3, max_size=3), st.sampled_from([0.0, 0.05, 0.2]))
def test_the_layers_that_lose_most_stay_in_floating_point(costs, tolerance):
    def accuracy(configuration):
        return 100 - sum(c for p, c in zip(configuration, costs, strict=True) if p)

    found = partial_quantization(accuracy, START, SIZES, tolerance=tolerance)
    assert found.complete
    alone = [point for point in found.points if point.phase == "alone"]
    assert [point.accuracy for point in alone] == [100 - c for c in costs]
    order = sorted(range(3), key=lambda i: (-costs[i], i))
    for kept, point in enumerate(found.steps):
        expected = tuple(None if i in order[:kept] else p for i, p in enumerate(START))
        assert point.configuration == expected
    losses = [100 - accuracy(point.configuration) for point in found.steps]
    limit = Fraction(str(tolerance)) * 100
    assert losses[-1] <= limit
    assert all(loss > limit for loss in losses[:-1])


# --- networks -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained():
    data = training.digits()
    network = training.cnn(channels=(4, 8))
    training.fit(network, data, epochs=4, learning_rate=0.1)
    return network, data.validation


def test_networks_of_the_trainer(trained):
    network, part = trained
    task = training.precision_task(network, part)
    _, accuracy = training.evaluate(network, part)
    assert task.evaluate((None,) * 3) == accuracy > 0.9
    assert [(size.data, size.weights) for size in task.sizes] == [
        (64, 36), (4 * 64, 4 * 8 * 9), (8 * 16, 1280)
    ]  # fmt: skip
    assert [size.name for size in task.sizes] == ["conv2d0", "conv2d1", "linear2"]
    assert abs(task.evaluate(task.start) - accuracy) < 0.01
    for precision, layer in zip(task.start, network.weighted, strict=True):
        assert np.abs(layer.weight.value).max() <= precision.weights.max
        assert precision.data.bits == precision.weights.bits == 16
    found = search_precision(task.evaluate, task.start, task.sizes, tolerance=0.1)
    assert found.cheapest(0.01).footprint < 0.25
    again = search_precision(task.evaluate, task.start, task.sizes, tolerance=0.1)
    assert found == again
    with pytest.raises(ValueError, match="the part of the data is empty"):
        training.precision_task(network, training.Part(part.x[:0], part.y[:0]))
    residual = training.resnet((1, 8, 8), (4,))
    inside = training.precision_task(residual, part)
    assert [size.weights for size in inside.sizes] == [36, 144, 144, 40]
    _, accuracy = training.evaluate(residual, part)
    assert abs(inside.evaluate(inside.start) - accuracy) < 0.05
    with pytest.raises(ValueError, match="products without weights"):
        training.precision_task(training.transformer(9), part)


def test_fixed_point_products():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 8, 8), dtype=np.float32)
    recipe = training.Fixed([Precision(1, 2, 0, 3), None])
    run = recipe.start(layers=2)
    expected = fl.quantize(a, fl.FixedFormat(1, 2)) @ fl.quantize(b, fl.FixedFormat(0, 3))
    np.testing.assert_array_equal(run.gemm(a, b, "forward", 0), expected)
    np.testing.assert_array_equal(run.gemm(a, b, "forward", 1), a @ b)
    for kind in ("weight_gradient", "input_gradient"):
        np.testing.assert_array_equal(run.gemm(a, b, kind, 0), a @ b)
    with pytest.raises(ValueError, match="2 precisions for 1 layers"):
        recipe.start(layers=1).gemm(a, b, "forward", 0)
    with pytest.raises(TypeError, match="Precision records or None"):
        training.Fixed((3,))
