"""Sweeps: the same whoever counts."""

import json

import distributed
import numpy as np
import pytest
from joblib import parallel_config

from fmtlib.hardware import Energy, Layer, Memory, count, design, sweep

RANDOM = np.random.default_rng(8)


def network(channels):
    x = np.maximum(RANDOM.integers(-900, 900, (1, channels, 6, 6)), 0)
    return [
        Layer.conv(x, RANDOM.integers(-99, 99, (20, channels, 3, 3)), name="conv"),
        Layer.linear(x.reshape(1, -1), RANDOM.integers(-99, 99, (9, x.size)), name="fc"),
    ]


NETWORKS = {"b": network(20), "a": network(16)}
DESIGNS = ["dynamic_stripes", design("loom", serial_bits=2)]
ARRAYS = [{}, {"tiles": 2, "columns": 4}]
POINTS = (NETWORKS, DESIGNS, ARRAYS, [None, 4])


@pytest.fixture(scope="module")
def sequential():
    return sweep(*POINTS, workers=1)


def test_order_and_points(sequential):
    totals = [r for r in sequential if r["row"] == "total"]
    found = [(r["network"], r["design"], r["tiles"], r["swept_group_size"]) for r in totals]
    one = [("dynamic_stripes", t, g) for t in (1, 2) for g in (None, 4)]
    one += [("loom", 1, None), ("loom", 2, None)]  # it has no groups: once each
    assert found == [(name, *point) for name in ("b", "a") for point in one]
    assert all(r.keys() == sequential[0].keys() for r in sequential)
    assert [r["group_size"] for r in totals[:5]] == [1, 4, 1, 4, None]


def test_records_are_those_of_count(sequential):
    item = design("dynamic_stripes", tiles=2, columns=4, group_size=4)
    expected = count(NETWORKS["a"], [item]).to_records()
    found = [
        r
        for r in sequential
        if (r["network"], r["design"], r["tiles"], r["swept_group_size"])
        == ("a", "dynamic_stripes", 2, 4)
    ]
    assert len(found) == len(expected) == 3
    for r, e in zip(found, expected, strict=True):
        assert {key: r[key] for key in e} == e


@pytest.mark.parametrize("workers", [None, 2, 3])
def test_workers_change_nothing(sequential, workers):
    assert sweep(*POINTS, workers=workers) == sequential


def test_dask_changes_nothing(sequential):
    with (
        distributed.LocalCluster(
            n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
        ) as cluster,
        distributed.Client(cluster) as client,
        parallel_config(backend="dask", client=client),
    ):
        assert sweep(*POINTS) == sequential


def test_goes_on_where_it_stopped(sequential, tmp_path):
    path = tmp_path / "sweep.json"

    class StoppedError(Exception):
        pass

    def stop(at):
        if at.done == 5:
            raise StoppedError

    with pytest.raises(StoppedError):
        sweep(*POINTS, workers=1, path=path, progress=stop)
    assert len(json.loads(path.read_text())["done"]) == 5
    steps = []
    assert sweep(*POINTS, workers=1, path=path, progress=steps.append) == sequential
    assert [at.done for at in steps] == [6, 7, 8, 9, 10, 11, 12]
    assert {at.total for at in steps} == {12}
    # All is done; another network of that name, or other widths, are not.
    steps.clear()
    assert sweep(*POINTS, workers=2, path=path, progress=steps.append) == sequential
    assert steps == []
    other = {"a": NETWORKS["b"]}
    assert sweep(other, DESIGNS, workers=1, path=path)[0]["network"] == "a"
    assert len(json.loads(path.read_text())["done"]) == 14
    assert [p.name for p in tmp_path.iterdir()] == ["sweep.json"]


def test_group_sizes_reach_the_memory():
    memory, energy = Memory(), Energy(table="estimates_45nm")
    records = sweep(NETWORKS, ["stripes"], group_sizes=[4, 16], memory=memory, energy=energy,
                    workers=1)  # fmt: skip
    totals = [r for r in records if r["row"] == "total"]
    assert [r["swept_group_size"] for r in totals] == [4, 16, 4, 16]
    (expected,) = (r for r in count(NETWORKS["b"], ["stripes"], memory=Memory(group_size=4),
                                    energy=energy).to_records() if r["row"] == "total")  # fmt: skip
    assert {key: totals[0][key] for key in expected} == expected
    assert totals[0]["dram_bits"] != totals[1]["dram_bits"]


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((NETWORKS["a"], DESIGNS), TypeError, "networks must be a dict"),
        ((NETWORKS, "stripes"), TypeError, "put the single one in a list"),
        ((NETWORKS, ["stripe"]), ValueError, "did you mean 'stripes'"),
        ((NETWORKS, []), ValueError, "nothing to count: 2 networks, 0 designs"),
        ((NETWORKS, DESIGNS, [{"depth": 2}]), ValueError, "not depth"),
        ((NETWORKS, DESIGNS, [{"tiles": 0}]), ValueError, "tiles must be at least 1"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        sweep(*arguments)


@pytest.mark.parametrize("text", ["", "[]", '{"schema": "fmtlib.hardware.sweep", "version": 9}'])
def test_files_that_are_no_sweeps(tmp_path, text):
    path = tmp_path / "sweep.json"
    path.write_text(text)
    with pytest.raises(ValueError, match="no sweep"):
        sweep(*POINTS, workers=1, path=path)
    assert path.read_text() == text
    with pytest.raises(ValueError, match="workers must be at least 1"):
        sweep(*POINTS, workers=0)


def test_a_file_is_not_mistaken_for_another_sweep(tmp_path):
    """Whatever the records depend on is in the key of a task."""
    path = tmp_path / "sweep.json"
    one = {"a": NETWORKS["a"]}
    fast, slow = Memory(), Memory(dram_megabytes_per_second=10)
    kinds = [
        {},
        {"memory": fast},
        {"memory": slow},
        {"memory": fast, "energy": Energy(table="estimates_45nm")},
        {"memory": fast, "energy": Energy(table="estimates_45nm", dram="high")},
    ]
    for options in kinds:
        fresh = sweep(one, ["stripes"], workers=1, **options)
        assert sweep(one, ["stripes"], workers=1, path=path, **options) == fresh
    assert len(json.loads(path.read_text())["done"]) == len(kinds)
