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
    BlockPrecision,
    LayerSize,
    Point,
    Precision,
    SearchResult,
    partial_quantization,
    search_blocks,
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


def descent(evaluate, start, searched, tolerance, uniform_tolerance=0.0, moves=1):
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
            if 1 - seen[child] / least > uniform_tolerance + 1e-12:
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
        children.sort()
        if not children or 1 + children[0][0] / baseline > tolerance + 1e-12:
            return seen, steps
        taken = min(moves, len(children))
        while True:
            child = [*at]
            for _, _, i, j, _ in children[:taken]:
                child[i] = shorter(child[i], searched[j]) or child[i]
            child = tuple(child)
            seen.setdefault(child, evaluate(child))
            if taken == 1 or 1 - seen[child] / baseline <= tolerance + 1e-12:
                break
            taken //= 2
        at = child
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
    st.sampled_from([0.0, 0.01, 0.1]),
    st.sampled_from([1, 2, 5, 100]),
)
@settings(max_examples=30)
def test_the_descent_is_the_plain_one(seed, searched, tolerance, uniform, moves):
    evaluator = Evaluator(seed)
    how = {"tolerance": tolerance, "uniform_tolerance": uniform, "moves": moves}
    found = search_precision(evaluator, START, SIZES, searched=searched, **how)
    seen, steps = descent(Evaluator(seed), START, searched, **how)
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
            '{"fmtlib_precision_search": 2, "measure": "accuracy", "layers": [["x", 1, 1]], '
            '"evaluations": []}',
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
    assert record["layers"][1] == ["b", 7, 500, None, None]
    (none, baseline), (bits, _) = record["evaluations"]
    assert none == [None] * 3
    assert baseline == 0.9
    assert bits == [["fixed", 2, 3, 1, 3], ["fixed", 1, 4, 0, 4], ["fixed", 0, 3, 2, 2]]


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
        ({"uniform_tolerance": -1}, ValueError, "uniform_tolerance must be at least 0"),
        ({"moves": 0}, ValueError, "moves must be at least 1"),
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
        "measure": "accuracy",
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
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[train\]"'):
        found.plot()
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[cli\]"'):
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


# --- blocks ---------------------------------------------------------------------------------


CHOICES = {"block_sizes": [8, 4, 16], "exponents": [3, 5], "mantissas": [1, 2, 4]}


class BlockEvaluator(Evaluator):
    """Worse for fewer bits and larger blocks, with bumps."""

    def __call__(self, configuration):
        if len(self.asked) == self.limit:
            raise InterruptedError
        self.asked.append(configuration)
        loss = 0.0
        for i, p in enumerate(configuration):
            if p is not None:
                parts = (p.block_size, p.exponent, p.data_mantissa, p.weight_mantissa)
                rng = np.random.default_rng([self.seed, i, *parts])
                loss += sum(2.0**-m / 40 for m in parts[1:]) * (2 + rng.random()) / 3
                loss += p.block_size / 4000
        return 0.8 * (1 - loss)


def test_bits_of_blocks():
    p = BlockPrecision(16, 5, 3, 6)
    assert p.data == fl.bfp(3, 5, 16)
    assert p.weights == fl.bfp(6, 5, 16)
    assert (p.spelt("data"), p.spelt("weights")) == ("m3e5g16", "m6e5g16")
    size = LayerSize("a", 120, 90, 40, 30)
    for batch in (1, 3):
        data = fl.encode(np.ones((batch, 3, 40), np.float32), p.data)
        weights = fl.encode(np.ones((3, 30), np.float32), p.weights)
        bits = sum(b.size * b.format.bits + b.scales.size * 5 for b in (data, weights))
        assert size.bits(p, batch) == bits
    assert LayerSize("a", 120, 0).bits(p) == 120 * 4 + 8 * 5  # one row
    assert LayerSize("a", 0, 0).bits(p) == 0
    for bad, match in (((0, 5, 3, 3), "at least 1"), ((16, 9, 3, 3), "from 2 to 8"),
                       ((16, 5, 24, 3), "from 1 to 23")):  # fmt: skip
        with pytest.raises(ValueError, match=match):
            BlockPrecision(*bad)
    with pytest.raises(ValueError, match="120 data of a are no rows of 50"):
        LayerSize("a", 120, 0, 50)


@given(
    st.integers(0, 1000), st.sampled_from([0.0, 1.0, 10.0, 100.0]),
    st.sampled_from([0.01, 0.05, 0.99]),
)  # fmt: skip
@settings(max_examples=15)
def test_no_step_from_the_chosen_blocks_is_better(seed, weight, tolerance):
    evaluator = BlockEvaluator(seed)
    how = {"weight": weight, "tolerance": tolerance, **CHOICES}
    found = search_blocks(evaluator, SIZES, **how)
    assert found.complete
    assert len({*evaluator.asked}) == len(evaluator.asked)
    baseline = found.baseline.accuracy

    def cost(configuration):
        loss = 1 - BlockEvaluator(seed)(configuration) / baseline
        if loss > tolerance + 1e-12:
            return np.inf
        return search.footprint(configuration, SIZES) + weight * max(loss, 0)

    uniform = {
        (BlockPrecision(g, e, m, m),) * 3: cost((BlockPrecision(g, e, m, m),) * 3)
        for g in (4, 8, 16) for e in (3, 5) for m in (1, 2, 4)
    }  # fmt: skip
    if min(uniform.values()) == np.inf:
        assert not found.steps
        assert found.cheapest(tolerance) == found.baseline
        return
    costs = [found.cost(point, weight) for point in found.steps]
    assert costs == sorted({*costs}, reverse=True)
    firsts = [point for point in found.steps if point.phase == "uniform"]
    assert cost(firsts[-1].configuration) == min(uniform.values())
    chosen = found.steps[-1].configuration
    fields = {"block_size": [4, 8, 16], "exponent": [3, 5], "data_mantissa": [1, 2, 4],
              "weight_mantissa": [1, 2, 4]}  # fmt: skip
    for i, p in enumerate(chosen):
        for name, values in fields.items():
            at = values.index(getattr(p, name))
            for value in values[max(at - 1, 0) : at + 2]:
                child = (*chosen[:i], replace(p, **{name: value}), *chosen[i + 1 :])
                assert cost(child) >= costs[-1]


def test_a_budget_cuts_the_search_of_blocks(tmp_path):
    whole = search_blocks(BlockEvaluator(), SIZES, tolerance=0.3, **CHOICES)
    for budget in (1, 3, len(whole.points) - 1, len(whole.points)):
        found = search_blocks(BlockEvaluator(), SIZES, tolerance=0.3, budget=budget, **CHOICES)
        assert found.points == whole.points[:budget]
        assert found.complete == (budget == len(whole.points))
    path = tmp_path / "search.json"
    with pytest.raises(InterruptedError):
        search_blocks(BlockEvaluator(limit=20), SIZES, tolerance=0.3, path=path, **CHOICES)
    rest = BlockEvaluator()
    assert search_blocks(rest, SIZES, tolerance=0.3, path=path, **CHOICES) == whole
    assert len(rest.asked) == len(whole.points) - 20
    record = whole.to_records(whole.steps[-1:])[0]
    assert record["data"].count("m") == record["weights"].count("g") == 3


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"block_sizes": [0]}, ValueError, "block_sizes must be at least 1"),
        ({"exponents": [1, 4]}, ValueError, "exponents must be from 2 to 8"),
        ({"mantissas": [24]}, ValueError, "mantissas must be from 1 to 23"),
        ({"mantissas": []}, ValueError, "mantissas must not be empty"),
        ({"weight": -1}, ValueError, "weight must be at least 0"),
        ({"weight": float("inf")}, ValueError, "weight must be at least 0"),
        ({"tolerance": 1}, ValueError, "below 1"),
        ({"sizes": ()}, TypeError, "at least one"),
    ],
)
def test_wrong_arguments_of_blocks(changed, error, match):
    with pytest.raises(error, match=match):
        search_blocks(**{"evaluate": BlockEvaluator(), "sizes": SIZES, **changed})


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


def test_blocks_of_the_trainers_networks(trained):
    network, part = trained
    task = training.precision_task(network, part)
    lengths = [(size.data_length, size.weight_length) for size in task.sizes]
    assert lengths == [(1, 1), (4, 4), (128, 128)]
    p = BlockPrecision(4, 5, 3, 4)
    layer = network.weighted[0]
    x, kept = fl.quantize(part.x, p.data, axis=1), layer.weight.value
    layer.weight.value = fl.quantize(kept, p.weights, axis=1)
    expected = float((network.predict(x) == part.y).mean())
    layer.weight.value = kept
    assert task.evaluate((p, None, None)) == expected
    choices = {"block_sizes": [4, 16], "exponents": [4, 6], "mantissas": [1, 2, 3, 5]}
    found = search_blocks(task.evaluate, task.sizes, tolerance=0.02, budget=60, **choices)
    assert found.loss(found.steps[-1]) <= 0.02
    assert found.steps[-1].footprint < 0.25
    assert network.weighted[0].weight.value is kept
    with pytest.raises(ValueError, match="1 precisions for 3 layers"):
        task.evaluate((p,))


def test_the_recipe_evaluates_the_same(trained):
    network, part = trained
    task = training.precision_task(network, part)
    for p in (Precision(3, 2, 0, 3), Precision(2, 1, 0, 2)):
        run = training.Fixed((p, None, p)).start(3)
        assert task.evaluate((p, None, p)) == (network.predict(part.x, run) == part.y).mean()


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
