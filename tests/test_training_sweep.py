"""Sweeps of trainings: the same whoever trains."""

import csv
import json
import signal
import subprocess
import sys

import pytest
from measures import right

from fmtlib import training
from fmtlib.parallel import one_blas_thread
from fmtlib.tables import write_table
from fmtlib.training import sweep

POINTS = {
    "recipes": ["float32", training.BFP(2), "fast"],
    "networks": ["mlp:hidden=8", "mlp:hidden=4"],
    "seeds": [1, 0],
    "learning_rates": [0.1],
}
OPTIONS = {"epochs": 1, "batch_size": 128}

KILLED = """
import os, signal
from fmtlib import training

def die(at):
    if at.done == 2:
        os.kill(os.getpid(), signal.SIGKILL)

training.sweep(["float32", "bfp"], networks=["mlp:hidden=8"], seeds=range(2), epochs=1,
               folder="runs", workers=1, progress=die)
"""


@pytest.fixture(scope="module")
def sequential():
    return sweep(**POINTS, **OPTIONS, workers=1)


def test_rows(sequential):
    found = [(row["network"], row["recipe"], row["seed"]) for row in sequential]
    names = ["float32", repr(training.BFP(2)), "fast"]
    assert found == [
        (network, recipe, seed)
        for network in POINTS["networks"] for recipe in names for seed in (1, 0)
    ]  # fmt: skip
    assert all(row.keys() == sequential[0].keys() for row in sequential)
    row = sequential[3]
    result = training.fit(
        training.mlp(64, 8, 10, seed=0), training.digits(0), recipe=training.BFP(2),
        epochs=1, batch_size=128, learning_rate=0.1, seed=0,
    )  # fmt: skip
    assert row["test_accuracy"] == result.test_accuracy
    assert row["validation_loss"] == result.validation_loss[-1]
    assert row["train_loss"] == result.train_loss[-1]
    assert (row["macs"], row["passes_per_mac"]) == (result.macs, 1.0)
    assert (row["stopped"], row["clip_norm"], row["optimizer"]) == (None, None, "sgd")


@pytest.mark.parametrize("workers", [None, 2])
def test_workers_change_nothing(sequential, workers):
    assert sweep(**POINTS, **OPTIONS, workers=workers) == sequential


def test_dask_changes_nothing(sequential):
    distributed = pytest.importorskip("distributed")
    from joblib import parallel_config

    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask", client=client),
    ):
        assert sweep(**POINTS, **OPTIONS) == sequential


def test_a_killed_sweep_goes_on(tmp_path):
    killed = subprocess.run([sys.executable, "-P", "-c", KILLED], cwd=tmp_path)
    assert killed.returncode == -signal.SIGKILL
    folder = tmp_path / "runs"
    kept = {path: path.stat().st_mtime_ns for path in folder.glob("*.json")}
    assert len(kept) == 2
    steps = []
    arguments = {"networks": ["mlp:hidden=8"], "seeds": range(2), "epochs": 1, "workers": 1}
    rows = sweep(["float32", "bfp"], **arguments, folder=folder, progress=steps.append)
    assert [(at.done, at.total) for at in steps] == [(3, 4), (4, 4)]
    assert {path: path.stat().st_mtime_ns for path in kept} == kept
    assert rows == sweep(["float32", "bfp"], **arguments)
    # all is done; more seeds are only what is new
    steps.clear()
    assert sweep(["float32", "bfp"], **arguments, folder=folder, progress=steps.append) == rows
    assert steps == []
    more = sweep(["bfp"], **arguments | {"seeds": [2, 0]}, folder=folder, progress=steps.append)
    assert [at.setup.seed for at in steps] == [2]
    assert more[1] == rows[2]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:-20], "is no finished run"),
        (lambda text: "[]", "not of the schema"),
        (lambda text: text.replace('"version": 1', '"version": 9'), "its version is 9"),
        (lambda text: text.replace('"seed": 0', '"seed": 7'), "its seed is 7, not 0"),
        (lambda text: text.replace('"macs": ', '"macs": 0.5'), "its macs is 0.5"),
        (lambda text: text.replace('"test_loss"', '"loss"'), "other columns"),
    ],
)
def test_damaged_runs_are_told_of(damage, message, tmp_path):
    arguments = {"networks": ["mlp:hidden=8"], "seeds": [0], "epochs": 1, "workers": 1}
    sweep(["float32"], **arguments, folder=tmp_path)
    (path,) = tmp_path.iterdir()
    damaged = damage(path.read_text())
    assert damaged != path.read_text()
    path.write_text(damaged)
    with pytest.raises(ValueError, match=message):
        sweep(["float32"], **arguments, folder=tmp_path)
    assert path.read_text() == damaged


def test_a_run_that_stopped_is_a_row(tmp_path):
    arguments = {"networks": ["mlp:hidden=8"], "seeds": [0], "epochs": 1, "workers": 1}
    for _ in range(2):  # as trained, and from the folder
        (row,) = sweep(["float32"], **arguments, learning_rates=[1e38], folder=tmp_path)
        assert row["stopped"].startswith("the loss is ")
        assert row["train_loss"] is None


def own_data(seed):
    return training.digits(seed, validation=0)


def own_network(data, seed):
    return training.mlp(64, 8, 10, seed=seed)


def test_functions_of_ones_own():
    (row,) = sweep(["bf16"], [own_data], [own_network], [0], epochs=1, workers=1)
    assert row["data"].endswith("own_data")
    assert row["network"].endswith("own_network")
    assert row["validation_accuracy"] is None
    assert row["test_accuracy"] > 0.1
    with pytest.raises(ValueError, match="data must be a function of a module"):
        sweep(["bf16"], [lambda seed: own_data(seed)])


def taken(setup, trained):
    return {"seed": 3}


def test_what_else_is_measured(tmp_path):
    arguments = {"networks": ["mlp:hidden=8"], "seeds": range(2), "epochs": 2, "workers": 1}
    plain = sweep(["float32"], **arguments, folder=tmp_path)
    rows = sweep(["float32"], **arguments, folder=tmp_path, measure=right)
    assert len(list(tmp_path.iterdir())) == 4  # other rows, other files
    for row, other in zip(rows, plain, strict=True):
        assert row["curve"][-1] == row["validation_accuracy"]
        assert len(row["curve"]) == 2
        assert row["right"] == round(450 * row["test_accuracy"])
        assert {name: row[name] for name in other} == other
    assert sweep(["float32"], **arguments, folder=tmp_path, measure=right) == rows
    assert sweep(["float32"], **arguments | {"workers": 2}, measure=right) == rows
    with pytest.raises(ValueError, match="gives columns that are there: seed"):
        sweep(["float32"], **arguments, measure=taken)
    with pytest.raises(ValueError, match="measure must be a function of a module"):
        sweep(["float32"], **arguments, measure=lambda setup, trained: {})


def test_passes_of_each_epoch():
    setup = training.Setup(network="mlp:hidden=8", recipe="bfp:mantissa_bits=4", epochs=3)
    network, data, result = setup.trained()
    assert result == setup.train()
    assert result.test_accuracy == training.evaluate(network, data.test, setup_run(network))[1]
    first, second, last = result.passes
    assert first > 0
    assert (second, last) == (2 * first, 3 * first)
    assert training.Setup(network="mlp:hidden=8", epochs=1).train().passes == ()


def setup_run(network):
    return training.BFP(4).start(network.products)


@pytest.mark.parametrize(
    ("arguments", "options", "error", "message"),
    [
        (("float32",), {}, TypeError, "put the single one in a list"),
        ((training.BFP(),), {}, TypeError, "put the single one in a list"),
        ((["float33"],), {}, ValueError, "did you mean 'float32'"),
        ((["float32", "int8"],), {}, ValueError, "int8 is calibrated on trained weights"),
        ((["float32"],), {"networks": training.mlp(2, 2, 2)}, TypeError, "single one in a list"),
        (([],), {}, ValueError, "nothing to train"),
        ((["float32", "float32"],), {}, ValueError, "one training is there twice"),
        ((["float32"],), {"epoch": 3}, TypeError, "no 'epoch'; did you mean 'epochs'"),
        ((["float32"],), {"epochs": 0}, ValueError, "epochs must be at least 1"),
        ((["float32"],), {"workers": 0}, ValueError, "workers must be at least 1"),
        ((["float32"],), {"progress": 3}, TypeError, "progress must be"),
    ],
)
def test_errors(arguments, options, error, message):
    with pytest.raises(error, match=message):
        sweep(*arguments, **options)


def test_a_folder_that_is_a_file(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="is there and is no folder"):
        sweep(["float32"], folder=tmp_path / "file")


def test_tables(sequential, tmp_path):
    write_table(sequential, tmp_path / "rows.csv")
    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == list(sequential[0])
    assert [float(row["test_loss"]) for row in rows] == [row["test_loss"] for row in sequential]
    assert rows[0]["passes_per_mac"] == ""
    parquet = pytest.importorskip("pyarrow.parquet")
    write_table(sequential, tmp_path / "rows.parquet")
    assert parquet.read_table(tmp_path / "rows.parquet").to_pylist() == sequential
    for records, name, message in (([], "rows.csv", "one record"), (rows, "rows.txt", "rows.txt")):
        with pytest.raises(ValueError, match=message):
            write_table(records, tmp_path / name)
    assert json.dumps(sequential, allow_nan=False)


def test_blas_takes_one_thread():
    import threadpoolctl

    with threadpoolctl.threadpool_limits(2, user_api="blas"), one_blas_thread(extra="train"):
        pools = [p for p in threadpoolctl.threadpool_info() if p["user_api"] == "blas"]
        assert [p["num_threads"] for p in pools] == [1] * len(pools) != []
