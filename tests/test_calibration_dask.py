"""Calibration of dask arrays: block by block, the same numbers as of NumPy's."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.calibration import summary as summaries
from fmtlib.calibration.calibrator import METHODS

da = pytest.importorskip("dask.array")
dask = pytest.importorskip("dask")


def test_blocks_of_dask_merge():
    x = np.random.default_rng(7).standard_normal((100, 16))
    lazy = da.from_array(x, chunks=(30, 16))

    def observed(block):
        calibrator = fl.Calibrator("int8", "entropy", axis=1)
        calibrator.observe(block)
        return calibrator

    parts = dask.compute(*[dask.delayed(observed)(b) for b in lazy.to_delayed().ravel()])
    whole = parts[0]
    for part in parts[1:]:
        whole = whole.merge(part)
    expected = fl.calibrate(x, "int8", "entropy", axis=1)
    assert_array_equal(whole.result().scale, expected.scale)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("affine", [False, True])
@given(data=st.data())
@settings(max_examples=3)
def test_chunks_of_dask_do_not_matter(method, affine, data):
    """Any chunks, also of channels and empty ones: the numbers are those of the whole array."""
    if method == "entropy" and affine:
        return
    x = np.random.default_rng(data.draw(st.integers(0, 99))).standard_cauchy((7, 3, 4))
    x = x.astype(data.draw(st.sampled_from([np.float32, np.float64])))
    chunks = tuple(
        tuple(np.diff([0, *sorted(data.draw(st.lists(st.integers(0, n), max_size=3))), n]).tolist())
        for n in x.shape
    )
    lazy = da.from_array(x, chunks=chunks)
    for axis in (None, 0, -1):
        arguments, how = ("int8", method, axis), {"affine": affine, "bins": 256}
        expected = fl.calibrate(x, *arguments, **how)
        found = fl.calibrate(lazy, *arguments, **how)
        assert_array_equal(found.scale, expected.scale)
        assert_array_equal(found.zero_point, expected.zero_point)
        whole, parts = (fl.Calibrator(*arguments, **how) for _ in range(2))
        whole.observe(x)
        parts.observe(lazy)
        assert_array_equal(parts.result().scale, whole.result().scale)
        assert_array_equal(parts.result().zero_point, whole.result().zero_point)


def test_large_blocks_of_dask_take_passes(monkeypatch):
    """Ranks are told by counting, also over blocks with NaN that are left out."""
    monkeypatch.setattr(summaries, "_PIECE", 100)
    x = np.random.default_rng(13).standard_normal((40, 30), dtype=np.float32)
    x[::7, ::5] = np.nan
    x[1, 1] = -np.inf
    lazy = da.from_array(x, chunks=(7, 11))
    for affine in (False, True):
        for axis in (None, 1):
            how = {"percentile": 95, "affine": affine, "nonfinite": "ignore"}
            expected = fl.calibrate(x, "int8", "percentile", axis, **how)
            found = fl.calibrate(lazy, "int8", "percentile", axis, **how)
            assert_array_equal(found.scale, expected.scale)
            assert_array_equal(found.zero_point, expected.zero_point)
    with pytest.raises(ValueError, match=r"NaN or infinities \(37 of 1200\)"):
        fl.calibrate(lazy, "int8")


def test_dask_arrays_are_never_loaded_whole():
    rows = 1 << 7
    lazy = da.ones((1 << 13, 1 << 10), chunks=(rows, 1 << 10), dtype=np.float32)
    chunk = rows << 12
    for method in METHODS:
        tracemalloc.start()
        with dask.config.set(scheduler="synchronous"):
            found = fl.calibrate(lazy, "e5m2", method)
        assert found.scale == pytest.approx(1 / 57344)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 20 * chunk < lazy.nbytes / 3


def test_dask_arrays_that_are_none():
    with pytest.raises(TypeError, match="complex"):
        fl.calibrate(da.ones(3, dtype=complex), "int8")
    unknown = da.arange(1.0, 10)[da.arange(1.0, 10) > 3]
    assert fl.calibrate(unknown, "int8").scale == fl.calibrate([9.0], "int8").scale
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        fl.calibrate(unknown, "int8", axis=0)
    with pytest.raises(ValueError, match="no finite value"):
        fl.calibrate(da.ones((0, 2)), "int8")
    xarray = pytest.importorskip("xarray")
    named = xarray.DataArray(da.from_array(np.arange(12.0).reshape(3, 4), chunks=2))
    assert fl.calibrate(named, "int8").scale == fl.calibrate([11.0], "int8").scale
