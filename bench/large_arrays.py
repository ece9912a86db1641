"""How fast one core goes through large arrays, and what zarr stores of them (extras: dask, zarr).

    python bench/large_arrays.py           # prints the tables
    python bench/large_arrays.py --write   # also docs/large_rates.inc and docs/zarr_rates.inc

Memory is what a task takes beside the values that it is given, its result among it.  Rates are of
the values (the side that is not encoded), 10**9 bytes per second of processor time,
best of some rounds in which every task takes its turn: what others do on the machine counts less
than in elapsed time, but memory is shared with them.  Files are timed by the clock.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
import tracemalloc
from collections.abc import Callable
from datetime import date
from functools import partial
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import BloscCodec, BytesCodec, ZstdCodec

import fmtlib as fl
from fmtlib.benchmarks.machine import processor
from fmtlib.files import replaced
from fmtlib.zarr_codecs import Compress, Quantize

DOCS = Path(__file__).parent.parent / "docs"
SHAPE = (4096, 4096)  # 64 MiB of float32, as a chunk of dask's would be
CHUNKS = (1024, 1024)  # of zarr
ROUNDS = 7

Call = Callable[[], object]


def arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Normal values; the same in rows of very different sizes; ReLU's as 16-bit integers."""
    normal = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
    scales = np.random.default_rng(1).random((SHAPE[0], 1), dtype=np.float32) ** 3
    return normal, normal * scales, (np.maximum(normal, 0) * 1000).astype(np.int16)


def best(calls: dict[str, Call], clock: Callable[[], float]) -> dict[str, float]:
    """Least seconds of each call, in interleaved rounds."""
    found = dict.fromkeys(calls, np.inf)
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = clock()
            call()
            found[name] = min(found[name], clock() - start)
    return found


def memory_tasks(x: np.ndarray, integers: np.ndarray) -> dict[str, tuple[Call, int]]:
    """What is done with a chunk in memory, and the bytes of its values."""
    drawn = {"rounding": "stochastic", "seed": 1}
    # the left half of an array twice as wide: its words are those of runs of 4096 elements
    part = fl.seed_of_part(1, np.s_[:, : SHAPE[1]], (SHAPE[0], 2 * SHAPE[1]))
    bfp = fl.bfp(4)
    codes, blocks, small = fl.encode(x, "e4m3"), fl.encode(x, bfp), fl.compress(integers)
    data = blocks.tobytes()
    calls: dict[str, tuple[Call, np.ndarray]] = {
        "copy (`np.copy`)": (x.copy, x),
        "`encode` E4M3": (partial(fl.encode, x, "e4m3"), x),
        "`encode` E4M3, stochastic": (partial(fl.encode, x, "e4m3", **drawn), x),
        "`encode` E4M3, stochastic, a chunk of runs": (
            partial(fl.encode, x, "e4m3", rounding="stochastic", seed=part), x,
        ),
        "`decode` E4M3": (partial(fl.decode, codes, "e4m3"), x),
        "`quantize` E4M3": (partial(fl.quantize, x, "e4m3"), x),
        "`encode` BFP m=4": (partial(fl.encode, x, bfp), x),
        "`encode` BFP m=4, stochastic": (partial(fl.encode, x, bfp, **drawn), x),
        "`decode` BFP m=4": (partial(fl.decode, blocks), x),
        "`BlockArray.tobytes` of it": (blocks.tobytes, x),
        "`BlockArray.frombytes` of it": (partial(fl.BlockArray.frombytes, data), x),
        "`error_statistics` E4M3": (partial(fl.error_statistics, x, "e4m3"), x),
        '`calibrate` int8, "max"': (partial(fl.calibrate, x, "int8", "max"), x),
        '`calibrate` int8, "mse"': (partial(fl.calibrate, x, "int8", "mse"), x),
        "`group_bits` of int16": (partial(fl.group_bits, integers), integers),
        "`compress` int16": (partial(fl.compress, integers), integers),
        "`decompress` int16": (partial(fl.decompress, small), integers),
    }  # fmt: skip
    return {name: (call, array.nbytes) for name, (call, array) in calls.items()}


def taken(call: Call) -> int:
    """The most bytes that a call takes beside its arguments, its result among them."""
    tracemalloc.start()
    try:
        call()
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def forget(path: Path) -> None:
    """Drop a file from the page cache, so that reading it reads the disk."""
    with path.open("rb") as file:
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def flushed(array: np.memmap) -> None:
    """Wait until a file is on the disk."""
    array.flush()
    with Path(array.filename).open("rb") as file:
        os.fsync(file.fileno())


def file_tasks(x: np.ndarray, folder: Path) -> dict[str, tuple[Call, int]]:
    """From file to file, page cache dropped before and all of it on the disk after."""
    source, target = folder / "values.npy", folder / "codes.npy"
    np.save(source, x)
    flushed(np.load(source, mmap_mode="r+"))

    def read() -> None:
        forget(source)
        np.sum(np.load(source, mmap_mode="r")[::1, ::512])  # a value of every page

    def encode() -> None:
        forget(source)
        stored = np.lib.format.open_memmap(target, "w+", np.uint8, x.shape)
        fl.encode(np.load(source, mmap_mode="r"), "e4m3", out=stored)
        flushed(stored)

    def decode() -> None:
        forget(target)
        stored = np.lib.format.open_memmap(folder / "back.npy", "w+", np.float32, x.shape)
        fl.decode(np.load(target, mmap_mode="r"), "e4m3", out=stored)
        flushed(stored)

    calls = {
        "read a file": read,
        "`encode` E4M3, file to file": encode,
        "`decode` E4M3, file to file": decode,
    }
    return {name: (call, x.nbytes) for name, call in calls.items()}


def zarr_rows(arrays: tuple[np.ndarray, np.ndarray, np.ndarray]) -> list[tuple[str, ...]]:
    """Sizes and rates of stored arrays, in memory and on one thread."""
    none: tuple[object, ...] = ()
    zstd, lz4 = (ZstdCodec(level=3),), (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"),)
    floats = [
        ("as it is", BytesCodec(), none),
        ("Zstandard", BytesCodec(), zstd),
        ("Blosc, LZ4", BytesCodec(), lz4),
        ("bfloat16", Quantize("bfloat16"), none),
        ("E4M3", Quantize("e4m3"), none),
        ("E4M3, Zstandard", Quantize("e4m3"), zstd),
        ("MXFP4", Quantize("mxfp4_e2m1"), none),
        ("BFP m=4", Quantize(fl.bfp(4)), none),
        ("BFP m=4, Zstandard", Quantize(fl.bfp(4)), zstd),
    ]
    integers = [*floats[:3], ("compress (DPRed)", Compress(), none)]
    rows = []
    kinds = ("normal, float32", "rows of sizes, float32", "ReLU, int16")
    for kind, x, ways in zip(kinds, arrays, (floats, floats[::8], integers), strict=True):
        calls: dict[str, Call] = {}
        stored = {}
        for name, serializer, compressors in ways:
            stored[name] = zarr.create_array(
                {}, shape=x.shape, chunks=CHUNKS, dtype=x.dtype, serializer=serializer,
                compressors=compressors,
            )  # fmt: skip
            calls[f"{name} write"] = partial(stored[name].__setitem__, slice(None), x)
            calls[f"{name} read"] = partial(stored[name].__getitem__, slice(None))
        seconds = best(calls, time.process_time)
        for name, array in stored.items():
            write, read = (x.nbytes / seconds[f"{name} {verb}"] / 1e9 for verb in ("write", "read"))
            share = x.nbytes / array.nbytes_stored()
            exact = "yes" if np.array_equal(array[:], x) else "no"
            rows.append((kind, name, f"{share:.2f}", f"{write:.2f}", f"{read:.2f}", exact))
    return rows


def table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown; texts first, then numbers."""
    lines = ["| " + " | ".join(row) + " |" for row in (heads, *rows)]
    lines.insert(1, "| --- |" + " ---: |" * (len(heads) - 1))
    return "\n".join(lines) + "\n"


def said() -> str:
    """Where and when."""
    load = f"load of {os.getloadavg()[0]:.0f} on {os.cpu_count()} processors"
    numpy = f"NumPy {np.__version__}"
    return f"{processor()}, {fl.cpu_target()} kernels, {numpy}, {date.today()}; {load}"


def rates() -> str:
    """The first table."""
    x, _, integers = arrays()
    tasks = memory_tasks(x, integers)
    seconds = best({name: call for name, (call, _) in tasks.items()}, time.process_time)
    rows = []
    for name, (call, size) in tasks.items():
        rate = size / seconds[name]
        hours, memory = 1e15 / rate / 3600, taken(call) / size
        rows.append((name, f"{rate / 1e9:.2f}", f"{hours:.0f}", f"{memory:.2f}"))
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as folder:
        files = file_tasks(x, Path(folder))
        seconds = best({name: call for name, (call, _) in files.items()}, time.perf_counter)
    by_clock = [(name, f"{size / seconds[name] / 1e9:.2f}") for name, (_, size) in files.items()]
    return (
        f"{said()}. Chunks of 64 MiB of float32 (32 MiB of int16), one thread.\n\n"
        + table(("task", "GB/s and core", "core-hours per PB", "memory, in chunks"), rows)
        + "\nFrom disk, by the clock, nothing in the page cache:\n\n"
        + table(("task", "GB/s"), by_clock)
    )


def main() -> None:
    """Print the tables, and write them if asked to."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--write", action="store_true")
    write = parser.parse_args().write
    zarr.config.set({"threading.max_workers": 1, "async.concurrency": 1})
    heads = ("data", "stored as", "times smaller", "write", "read", "exact")
    stored = f"{said()}. Arrays of 4096 × 4096 in chunks of 1024 × 1024, GB/s and core:\n\n"
    texts = {
        "large_rates.inc": rates(),
        "zarr_rates.inc": stored + table(heads, zarr_rows(arrays())),
    }
    for name, text in texts.items():
        print(text)
        if write:
            with replaced(DOCS / name) as temporary:
                temporary.write_text(
                    f"<!-- made by bench/large_arrays.py -->\n\n{text}", encoding="utf-8"
                )


if __name__ == "__main__":
    main()
