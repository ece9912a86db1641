"""Time of small calls with two builds of fmtlib, as a ratio: `python bench/limited_api.py A B`.

A and B are folders that hold the package `fmtlib`, as `pip install --target` makes them.  Each
runs in a process of its own, and the two take turns.  To compare the limited API with that of one
version of CPython, build A with `ABI3 = False` in setup.py, and B as it is.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from fmtlib.benchmarks.machine import processor

ROUNDS, CALLS, BEST_OF = 25, 50, 12


def tasks() -> dict[str, Callable[[], object]]:
    """Calls with 16 elements."""
    import numpy as np

    import fmtlib as fl

    x = np.linspace(-3, 3, 16, dtype=np.float32)
    ufunc, bfp = fl.ufunc("encode", "e4m3"), fl.bfp(4)
    codes, blocks, integers = fl.encode(x, "e4m3"), fl.encode(x, bfp), fl.encode(x, "fixed_s7_8")
    square, matrix = codes.reshape(4, 4), fl.encode(x.reshape(4, 4), bfp, axis=1)
    compressed = fl.compress(integers)
    return {
        "encode, the ufunc": lambda: ufunc(x),
        "encode": lambda: fl.encode(x, "e4m3"),
        "decode": lambda: fl.decode(codes, "e4m3"),
        "quantize": lambda: fl.quantize(x, "e4m3"),
        "quantize, stochastic": lambda: fl.quantize(x, "e4m3", rounding="stochastic", seed=1),
        "encode, scaled": lambda: fl.encode(x, "int8", scale=0.1),
        "encode, blocks": lambda: fl.encode(x, bfp),
        "decode, blocks": lambda: fl.decode(blocks),
        "matmul, blocks": lambda: fl.matmul(matrix, matrix.transpose()),
        "matmul, Hopper's": lambda: fl.matmul(
            square, square, formats=("e4m3", "e4m3"), accumulator="hopper"
        ),
        "group_bits": lambda: fl.group_bits(integers),
        "compress": lambda: fl.compress(integers),
        "decompress": lambda: fl.decompress(compressed),
        "pack": lambda: fl.pack(codes, "e4m3"),
        "error_statistics": lambda: fl.error_statistics(x, "e4m3"),
    }


def answer() -> None:
    """Time the task that each line of the input names, in microseconds."""
    named = tasks()
    for task in named.values():
        for _ in range(300):
            task()
    print(*named, sep="\t", flush=True)
    for line in sys.stdin:
        task, best = named[line.rstrip("\n")], float("inf")
        for _ in range(BEST_OF):
            start = time.perf_counter()
            for _ in range(CALLS):
                task()
            best = min(best, time.perf_counter() - start)
        print(best / CALLS * 1e6, flush=True)


def compare(folders: list[str]) -> None:
    """Print the least time of each task with both builds, and the median ratio of a round."""
    both = [
        subprocess.Popen(
            [sys.executable, __file__],
            env=os.environ | {"PYTHONPATH": folder},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for folder in folders
    ]
    names, _ = (process.stdout.readline().rstrip("\n").split("\t") for process in both)

    def ask(process: subprocess.Popen[str], name: str) -> float:
        process.stdin.write(f"{name}\n")
        process.stdin.flush()
        return float(process.stdout.readline())

    python = sys.version.split()[0]
    print(f"{processor()}, CPython {python}, {datetime.now(UTC):%Y-%m-%d}; µs: A, B; B ÷ A")
    for name in names:
        rounds = [
            [ask(process, name) for process in both]
            if k % 2
            else [ask(process, name) for process in both[::-1]][::-1]
            for k in range(ROUNDS)
        ]
        a, b = (min(times) for times in zip(*rounds, strict=True))
        ratio = statistics.median(b / a for a, b in rounds)
        print(f"{name:22}{a:8.2f}{b:8.2f}{ratio:8.3f}", flush=True)
    for process in both:
        process.stdin.close()


if __name__ == "__main__":
    compare(sys.argv[1:]) if sys.argv[1:] else answer()
