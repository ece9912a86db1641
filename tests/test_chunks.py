"""Large calls: chunks, threads, memory-mapped files and memory."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fmtlib as fl
from fmtlib import codec

SHAPES = [(70_001,), (3, 40_000), (2, 3, 5, 7_001), (50_000, 3), (1, 1, 90_000), (40_000, 1, 2)]
STOCHASTIC: dict[str, Any] = {"rounding": "stochastic", "seed": (3, 5)}


def values(shape: tuple[int, ...], dtype: str = "float32") -> np.ndarray:
    rng = np.random.default_rng(sum(shape))
    return (rng.standard_normal(shape) * 30).astype(dtype)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_chunks_count_the_elements_of_c_order(shape):
    numbers = np.arange(np.prod(shape)).reshape(shape)
    seen = []
    for index, first in codec.chunks(shape, 1 << 12):
        part = numbers[index].reshape(-1)
        assert 0 < part.size <= 1 << 12
        np.testing.assert_array_equal(part, np.arange(first, first + part.size))
        seen.append(part)
    np.testing.assert_array_equal(np.concatenate(seen), numbers.reshape(-1))


def test_chunks_of_scalars_and_empty_arrays():
    assert list(codec.chunks((), 4)) == [((...,), 0)]
    assert list(codec.chunks((3, 0), 4)) == []


CALLS: dict[str, Callable[..., Any]] = {
    "encode": lambda x, **kw: fl.encode(x, "e4m3", **kw),
    "encode stochastic": lambda x, **kw: fl.encode(x, "e4m3", **STOCHASTIC, **kw),
    "encode scaled": lambda x, **kw: fl.encode(x, "int8", scale=0.3, zero_point=7, **kw),
    "encode scaled stochastic": lambda x, **kw: fl.encode(
        x, "int8", scale=np.linspace(0.1, 0.5, x.shape[-1]), axis=-1, **STOCHASTIC, **kw
    ),
    "encode raising": lambda x, **kw: fl.encode(x, "e5m2", overflow="raise", **kw),
    "quantize": lambda x, **kw: fl.quantize(x, "e5m2", **kw),
    "quantize stochastic": lambda x, **kw: fl.quantize(x, "e5m2", **STOCHASTIC, **kw),
    "quantize scaled": lambda x, **kw: fl.quantize(x, "int8", scale=0.3, **kw),
    "quantize scaled raising": lambda x, **kw: fl.quantize(
        x, "e4m3", scale=1.3, overflow="raise", **kw
    ),
}


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_results_do_not_depend_on_chunks_threads_and_strides(name, shape, monkeypatch):
    call, x = CALLS[name], values(shape)
    monkeypatch.setattr(codec, "_CHUNK", 1 << 30)
    expected = call(x)
    monkeypatch.undo()
    monkeypatch.setattr(codec, "_WORKER_SHARE", 1 << 10)
    for size in (1 << 10, 1 << 15):
        monkeypatch.setattr(codec, "_CHUNK", size)
        for workers in (1, 3):
            strided = np.asfortranarray(np.repeat(x, 2, axis=-1))[..., ::2]
            backwards = np.ascontiguousarray(x[::-1])[::-1]
            swapped = x.astype(x.dtype.newbyteorder())
            for array in (x, strided, backwards, swapped):
                np.testing.assert_array_equal(call(array, workers=workers), expected)
            out = np.zeros((*shape, 2), expected.dtype)[..., 0]
            where = values(shape) > 0
            assert call(strided, out=out, where=where, workers=workers) is out
            np.testing.assert_array_equal(out, np.where(where, expected, 0))


@pytest.mark.parametrize("name", [name for name in CALLS if name.startswith("quantize")])
def test_the_output_may_be_or_overlap_the_input(name, monkeypatch):
    call, x = CALLS[name], values((20_011,))
    monkeypatch.setattr(codec, "_CHUNK", 1 << 10)
    expected = call(x)
    room = np.zeros(x.size + 5, x.dtype)
    for shift in (0, 5):
        room[:] = 0
        room[: x.size] = x
        out = room[shift : shift + x.size]
        assert call(room[: x.size], out=out) is out
        np.testing.assert_array_equal(out, expected)
    room[: x.size] = x
    assert call(room[: x.size], out=room[: x.size][::-1]) is not None
    np.testing.assert_array_equal(room[: x.size][::-1], expected)


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "longdouble"])
@pytest.mark.parametrize("scale", [None, 0.37])
def test_decode_by_chunks_and_threads(dtype, scale, monkeypatch):
    codes = np.random.default_rng(0).integers(-127, 128, (7, 5_001)).astype(np.int8)
    expected = fl.decode(codes, "int8", dtype=dtype, scale=scale)
    monkeypatch.setattr(codec, "_CHUNK", 1 << 10)
    monkeypatch.setattr(codec, "_WORKER_SHARE", 1 << 10)
    for workers in (1, 3):
        out = np.zeros((5_001, 7), dtype).T
        assert fl.decode(codes, "int8", scale=scale, out=out, workers=workers) is out
        np.testing.assert_array_equal(out, expected)


@pytest.mark.parametrize("name", ["encode raising", "quantize scaled raising"])
def test_nothing_is_written_if_a_later_chunk_overflows(name, monkeypatch):
    monkeypatch.setattr(codec, "_CHUNK", 1 << 10)
    x = values((20_011,))
    out = np.zeros(x.shape, CALLS[name](x).dtype)
    x[-1] = 1e30
    with pytest.raises(OverflowError):
        CALLS[name](x, out=out)
    assert not out.any()


def test_shapes_that_do_not_fit_are_refused():
    x = values((40_000,))
    for call in CALLS.values():
        with pytest.raises(ValueError, match=r"shape|broadcast"):
            call(x, out=np.zeros(39_999, call(x).dtype))


LARGE = 1 << 22
MEMORY_CALLS: dict[str, tuple[Callable[[np.ndarray], Any], int]] = {
    # name: the call, and the bytes of its result per element
    **{name: (call, 1 if name.startswith("encode") else 4) for name, call in CALLS.items()},
    "encode strided, stochastic": (lambda x: CALLS["encode stochastic"](x.T), 1),
    "decode to float16": (lambda x: fl.decode(x.view("u1")[:, ::4], "e4m3", dtype="f2"), 2),
    "decode to longdouble": (
        lambda x: fl.decode(x.view("u1")[:, ::4], "uint8", scale=0.1, dtype=np.longdouble),
        np.dtype(np.longdouble).itemsize,
    ),
}


@pytest.mark.parametrize("name", MEMORY_CALLS)
def test_peak_memory_is_the_output_and_a_constant(name):
    call, size = MEMORY_CALLS[name]
    x = values((1 << 10, LARGE >> 10))
    call(x)
    tracemalloc.start()
    result = call(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result.nbytes == size * LARGE
    assert peak < result.nbytes + (2 << 20)


@pytest.mark.parametrize("name", [name for name in CALLS if "raising" not in name])
def test_memory_mapped_arrays(name, tmp_path):
    x = values((3, 30_001))
    mapped = np.memmap(tmp_path / "x", x.dtype, "w+", shape=x.shape)
    mapped[:] = x
    expected = CALLS[name](x)
    out = np.memmap(tmp_path / "out", expected.dtype, "w+", shape=x.shape)
    assert CALLS[name](mapped, out=out) is out
    out.flush()
    read = np.memmap(tmp_path / "out", expected.dtype, "r", shape=x.shape)
    np.testing.assert_array_equal(read, expected)
