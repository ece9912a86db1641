"""A cluster of processes, of which one is killed while it works: nothing is lost.

Workers are fixed; every wait ends by what it waits for, or fails after minutes.
"""

import os
import select
import signal
import threading
from concurrent.futures import Future

import numpy as np
import pytest
import victims
from joblib import parallel_config
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import hardware, training

distributed = pytest.importorskip("distributed")
da = pytest.importorskip("dask.array")

WAIT = 240  # seconds
X = np.random.default_rng(0).standard_normal((60, 64)).astype(np.float32)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Where victims of trainings look, whose functions take no argument but a seed."""
    folder = tmp_path_factory.mktemp("victims")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(victims.FOLDER, str(folder))
        yield folder


@pytest.fixture(scope="module")
def client(folders):
    """A worker more than are killed, so that no test waits for those that replace the dead.

    Of two threads each, since joblib does all itself where a cluster has but one.
    """
    with (
        distributed.LocalCluster(
            n_workers=4, threads_per_worker=2, processes=True, dashboard_address=None,
        ) as cluster,
        distributed.Client(cluster, timeout=WAIT) as client,
    ):  # fmt: skip
        client.wait_for_workers(4, timeout=WAIT)
        yield client


def in_background(work):
    """The future of what a thread does, that nobody waits for longer than is said."""
    future = Future()

    def run():
        try:
            future.set_result(work())
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, daemon=True).start()
    return future


def with_one_killed(folder, work):
    """What a function gives although a process is killed in the midst of it."""
    os.mkfifo(folder / "pipe")
    pipe = os.open(folder / "pipe", os.O_RDWR)  # so that opening waits for nobody
    try:
        future = in_background(work)
        told, _, _ = select.select([pipe], [], [], WAIT)
        if not told:
            pytest.fail(f"no task has run: {future.result(0)}")
        victim = int(os.read(pipe, 100))
        assert victim != os.getpid()
        os.kill(victim, signal.SIGKILL)
        return future.result(WAIT)
    finally:
        os.close(pipe)
        (folder / "pipe").unlink()


def test_arrays(client, tmp_path):
    lazy = da.from_array(X, chunks=(20, 32)).map_blocks(
        victims.block, str(tmp_path), dtype=X.dtype, meta=X[:0, :0]
    )
    how = {"rounding": "stochastic", "seed": 3}

    def work():
        parts = fl.quantize(lazy, "e4m3", **how), fl.encode(lazy, fl.bfp(4), **how)
        return client.compute(parts, sync=True)

    values, blocks = with_one_killed(tmp_path, work)
    assert_array_equal(values, fl.quantize(X, "e4m3", **how))
    assert blocks.tobytes() == fl.encode(X, fl.bfp(4), **how).tobytes()


def test_results_of_all_chunks(client):
    lazy = da.from_array(X, chunks=(20, 32))
    statistics, expected = fl.error_statistics(lazy, "e4m3"), fl.error_statistics(X, "e4m3")
    assert (statistics.count, statistics.max_error) == (expected.count, expected.max_error)
    assert fl.calibrate(lazy, "int8", "mse").scale == fl.calibrate(X, "int8", "mse").scale
    codes = fl.encode(lazy, "fixed_s7_8")
    assert_array_equal(fl.decompress(fl.compress(codes).compute()), codes.compute())
    rows, columns = fl.encode(lazy.rechunk((20, -1)), fl.bfp(4)), fl.encode(X.T, fl.bfp(4), axis=0)
    assert_array_equal(fl.matmul(rows, columns), fl.matmul(rows.compute(), columns))


def test_sweeps_of_trainings(client, folders, tmp_path):
    points = {
        "recipes": ["float32"], "data": [victims.digits],
        "networks": ["mlp:hidden=8"], "seeds": range(3), "epochs": 1, "batch_size": 128,
    }  # fmt: skip

    def work():
        with parallel_config(backend="dask", client=client):
            return training.sweep(**points, folder=tmp_path / "rows")

    rows = with_one_killed(folders, work)
    assert rows == training.sweep(**points, workers=1)
    assert len(list((tmp_path / "rows").glob("*.json"))) == len(rows) == 3


def test_sweeps_of_counts(client, tmp_path):
    rng = np.random.default_rng(1)
    layer = hardware.Layer.conv(
        rng.integers(0, 99, (1, 16, 6, 6)), rng.integers(-9, 9, (8, 16, 3, 3))
    )
    networks = {"a": [layer], "b": [layer, layer]}
    designs = ["stripes", victims.Halting(folder=str(tmp_path)), "loom", "fast"]

    def work():
        with parallel_config(backend="dask", client=client):
            return hardware.sweep(networks, designs, path=tmp_path / "done.json")

    records = with_one_killed(tmp_path, work)
    assert records == hardware.sweep(networks, designs, workers=1)
    assert {record["network"] for record in records} == {"a", "b"}
