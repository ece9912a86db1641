"""Every benchmark is a ratio, taken in one run, to something that everyone can time.

    pytest bench

Each round times the yardstick (`np.copyto` of the same array, or NumPy's float32 matmul) right
before the task, so that a noisy machine disturbs both alike; the ratio is that of the medians.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

import fmtlib as fl

ROUNDS = 15
_rows: list[tuple[str, str, float, float]] = []


@pytest.fixture
def compare(
    benchmark: BenchmarkFixture, request: pytest.FixtureRequest
) -> Callable[[str, Callable[[], object], Callable[[], object]], None]:
    """Time a task against its yardstick, both on one thread."""

    def run(unit: str, task: Callable[[], object], yardstick: Callable[[], object]) -> None:
        times = []

        def setup() -> None:
            start = time.perf_counter()
            yardstick()
            times.append(time.perf_counter() - start)

        with threadpool_limits(1):
            task()
            benchmark.pedantic(task, setup=setup, rounds=ROUNDS)
        if benchmark.stats is None:  # --benchmark-disable: only that it runs
            return
        median = float(np.median(times))
        ratio = benchmark.stats.stats.median / median
        benchmark.extra_info["times_" + unit.replace(" ", "_")] = ratio
        _rows.append((request.node.name, unit, median * 1e3, ratio))

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ratios."""
    if not _rows:
        return
    write = terminalreporter.write_line
    write("")
    write(f"cpu target {fl.cpu_target()}, {platform.machine()}, NumPy {np.__version__}, one thread")
    write(f"{'task':58} {'yardstick':>16} {'its median (ms)':>16} {'task / yardstick':>17}")
    for name, unit, median, ratio in _rows:
        write(f"{name:58} {unit:>16} {median:16.2f} {ratio:17.2f}")
