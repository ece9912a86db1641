"""The experiments' statistics, costs and choices, and a small run of the whole script."""

import csv
import importlib
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fmtlib import training

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.fixture(scope="module")
def example():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(EXAMPLES)
        yield importlib.import_module


@pytest.fixture
def comparison(example):
    return example("comparison")


@pytest.fixture
def experiments(example):
    return example("experiments")


@pytest.fixture
def time_to_accuracy(example):
    return example("time_to_accuracy")


# --- statistics -----------------------------------------------------------------------------------


def test_paired_differences(comparison):
    stats = pytest.importorskip("scipy.stats")
    draw = np.random.default_rng(0)
    a, b = draw.normal(90, 3, 5), draw.normal(89, 3, 5)
    own = comparison.Paired(dict(enumerate(a)))
    other = comparison.Paired(dict(reversed(list(enumerate(b)))))  # by seed, not by order
    test = stats.ttest_rel(a, b)
    low, high = test.confidence_interval(0.95)
    assert own.interval(other) == pytest.approx((np.mean(a - b), low, high))
    gap, error = own.minus(other)
    assert gap / error == pytest.approx(test.statistic)
    assert (own.mean, own.spread) == pytest.approx((np.mean(a), np.std(a, ddof=1)))
    # over the seeds that both have
    fewer = comparison.Paired({0: a[0], 1: a[1], 9: 0.0})
    assert fewer.interval(other)[0] == pytest.approx(np.mean((a - b)[:2]))
    one = comparison.Paired({0: a[0]})
    assert math.isnan(one.spread)
    assert math.isnan(one.interval(other)[1])


def test_tables(comparison):
    base, own = comparison.Paired({0: 90.0, 1: 92.0}), comparison.Paired({0: 89.0, 1: 90.0})
    assert comparison.accuracy(base) == "91.00 ± 1.41"
    assert comparison.points(own, base) == "-1.50 [-7.85, +4.85]"  # t = 12.706 times 0.5
    assert comparison.points(base, base) == ""
    assert list(comparison.claims([("it is", True, "1"), ("it is not", False, "2")]))[2:] == [
        "| it is | 1 | holds |", "| it is not | 2 | **does not hold** |",
    ]  # fmt: skip


def test_rows_come_back_from_a_file(comparison, tmp_path):
    from fmtlib.tables import write_csv

    rows = [{"recipe": "a, b", "seed": 3, "accuracy": 0.25, "stopped": None}]
    write_csv(rows, tmp_path / "rows.csv")
    assert comparison.read(tmp_path / "rows.csv") == rows


def test_learning_rates_are_chosen_by_validation_of_the_first_seeds(experiments):
    def row(recipe, rate, seed, accuracy):
        return {"recipe": recipe, "learning_rate": rate, "seed": seed} | {
            "validation_accuracy": accuracy, "test_accuracy": 1 - (accuracy or 0),
        }  # fmt: skip

    rows = [
        *(row("float32", 0.1, seed, 0.9) for seed in (0, 1)),
        *(row("float32", 0.05, seed, 0.9) for seed in (1, 0)),  # as good: the lower one
        row("FP8", 0.1, 0, 0.5), row("FP8", 0.1, 1, 0.7), row("FP8", 0.1, 2, 1.0),
        *(row("FP8", 0.2, seed, 0.65) for seed in (0, 1)),
        row("BFP m=2", 0.2, 0, None), row("BFP m=2", 0.1, 0, 0.1),  # one did not end
        row("PTQ 8 bits", 0.1, 0, 0.99), row("PTQ 8 bits", 0.05, 0, 0.9),
    ]  # fmt: skip
    expected = {"float32": 0.05, "FP8": 0.2, "BFP m=2": 0.1, "PTQ 8 bits": 0.05}
    assert experiments.tuned(rows) == expected


# --- costs ----------------------------------------------------------------------------------------


def trained(recipe, **options):
    options = {"network": "mlp:hidden=64", "epochs": 2} | options
    return training.Setup(recipe=recipe, **options).trained()


def cycles_of(time_to_accuracy, recipe, **options):
    return time_to_accuracy.epoch_cycles(trained(recipe, **options), recipe, 64)


def test_cycles_by_hand(time_to_accuracy):
    """64 → 64 → 10 on 1,211 digits: 18 batches of 64 and one of 59, which takes as many steps.

    The first layer: 16 for the outputs, 16 for the weights. The second: 4, 4, and 4 for the input.
    """
    steps = 19 * (16 + 16 + 4 + 4 + 4)
    for recipe, passes in (
        (training.BFP(2), 1), (training.BFP(3), 4), (training.FP8(), 4), (training.MXFP8(), 4),
        (training.BF16(), 16), (training.BFP(8), 16), (training.Float32(), 144),
    ):  # fmt: skip
        expected = [passes * steps, 2 * passes * steps]
        assert cycles_of(time_to_accuracy, recipe) == expected


def test_cycles_follow_the_decisions(time_to_accuracy):
    low, high = (cycles_of(time_to_accuracy, training.BFP(m)) for m in (2, 4))
    assert cycles_of(time_to_accuracy, training.FAST(1e9, 0.0)) == low
    assert cycles_of(time_to_accuracy, training.FAST(-1.0, 0.0)) == high
    switched = cycles_of(time_to_accuracy, training.SwitchAt(0.5))
    assert switched == [low[0], low[0] + high[0]]
    mixed = cycles_of(time_to_accuracy, training.FAST())
    assert low[1] < mixed[1] < high[1]


@pytest.mark.parametrize("network", ["cnn:channels=4,8", "resnet:channels=4,8"])
def test_cycles_of_convolutions_are_those_of_the_counters(network, time_to_accuracy):
    """Passes that the trainer counted, on an array of one unit, are its cycles."""
    one = {"tiles": 1, "lanes": 16, "columns": 1, "rows": 1}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time_to_accuracy, "ARRAY", one)
        recipe = training.SwitchAt(0.5)
        own = trained(recipe, network=network, data="digits:validation=0:test=0.9")
        cycles = time_to_accuracy.epoch_cycles(own, recipe, 64)
    assert cycles == [int(passes) for passes in own.result.passes]


def test_passes(time_to_accuracy):
    macs = trained(training.Float32()).result.macs
    for recipe, each in ((training.BFP(4), 4), (training.FP8(), 4), (training.BF16(), 16)):
        passes = time_to_accuracy.epoch_passes(recipe, trained(recipe).result)
        assert passes == pytest.approx([each * macs / 2, each * macs])
    recipe = training.SwitchAt(0.5)
    first, last = time_to_accuracy.epoch_passes(recipe, trained(recipe).result)
    assert (first, last) == pytest.approx((macs / 2, 2.5 * macs))
    recipe = training.NM(2, 8)
    assert time_to_accuracy.epoch_passes(recipe, trained(recipe).result) is None


def test_when_an_accuracy_is_reached(time_to_accuracy):
    assert time_to_accuracy.reached([50, 80, 79, 90], [1, 2, 3, 4], 80) == 2
    assert time_to_accuracy.reached([50, 80], [1, 2], 81) == math.inf


def test_layers_left_in_float32(experiments):
    draw = np.random.default_rng(0)
    a, b = (draw.standard_normal(shape).astype(np.float32) for shape in ((3, 8), (8, 5)))
    run, plain = (
        recipe.start(6) for recipe in (experiments.LinearFP8(left_out=(4, 5)), training.FP8())
    )
    assert_array_equal(run.gemm(a, b, "forward", 4), a @ b)
    assert_array_equal(run.gemm(a, b, "forward", 3), plain.gemm(a, b, "forward", 3))
    # the two that the experiments leave out are those of attention
    network = experiments.EXPERIMENTS["transformer"].network
    built = training.Setup(data="text:characters=5000", network=network).build(
        training.text(characters=5000)
    )
    layers = [layer for outer in built.layers for _, layer in outer.walk()]
    (attention,) = (x for x in layers if isinstance(x, training.MultiHeadAttention))
    assert (attention.index, attention.products) == (4, 2)


# --- the whole ------------------------------------------------------------------------------------


def call(module, monkeypatch, capsys, *arguments):
    monkeypatch.setattr(sys, "argv", [module.__name__, *arguments])
    module.main()
    return capsys.readouterr().out


def test_a_small_run(experiments, comparison, monkeypatch, tmp_path, capsys):
    (tmp_path / "images").mkdir()
    small = comparison.Experiment(
        "Small", "digits", "mlp:hidden=16",
        experiments.few("FP8", *experiments.INT8, experiments.FAST, experiments.SWITCH,
                        "BFP m=2", experiments.NEAREST, experiments.TRUNCATED, "2:8 sparse"),
        (0.1, 0.2), {"epochs": 2}, experiments.with_integers,
    )  # fmt: skip
    monkeypatch.setattr(experiments, "EXPERIMENTS", {"mlp": small})
    monkeypatch.setattr(experiments, "DOCS", tmp_path)
    folder = str(tmp_path / "runs")
    shown = call(
        experiments, monkeypatch, capsys, "--folder", folder, "--seeds", "3", "--write"
    )  # fmt: skip
    names = ("experiments.csv", "experiment_curves.csv", "experiment_figures.inc")
    written = {name: (tmp_path / name).read_text(encoding="utf-8") for name in names}
    assert written[names[2]].endswith(shown)
    assert (tmp_path / "images" / "time_to_accuracy.png").stat().st_size > 10_000
    assert "| Perceptron: FP8 within 0.5 points of float32, nothing changed |" in shown
    assert "| 2:8 sparse (3 seeds) |" in shown
    with (tmp_path / names[0]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    rates = experiments.tuned(comparison.read(tmp_path / names[0]))
    # two seeds at both rates, the third at float32's and at its own
    assert len(rows) == sum(5 + (rates[r] != rates["float32"]) for r in small.trained) + 2 * 5
    run = next(r for r in rows if (r["recipe"], r["seed"]) == ("FP8", "1"))
    result = training.fit(
        training.mlp(64, 16, 10, seed=1), training.digits(1), recipe=training.FP8(), epochs=2,
        learning_rate=float(run["learning_rate"]), seed=1,
    )  # fmt: skip
    assert float(run["test_accuracy"]) == result.test_accuracy
    # again, from the folder; and from the table alone: nothing is trained, all is the same
    monkeypatch.setattr(training.Setup, "trained", None)
    assert call(experiments, monkeypatch, capsys, "--folder", folder, "--seeds", "3") == shown
    assert call(experiments, monkeypatch, capsys, "--write") == shown
    assert {name: (tmp_path / name).read_text(encoding="utf-8") for name in names} == written


def test_unknown_experiments_are_told_of(experiments, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        call(experiments, monkeypatch, capsys, "cnm")
    assert "unknown experiment 'cnm'; there are mlp, cnn" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["recipes", "experiments"])
def test_the_pages_say_what_the_tables_say(name, example, monkeypatch, capsys):
    module = example(name)
    page = (module.DOCS / f"{name.rstrip('s')}_figures.inc").read_text(encoding="utf-8")
    assert page.endswith(call(module, monkeypatch, capsys))
