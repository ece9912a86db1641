"""Every benchmark is a ratio, taken in one run, to something that everyone can time.

    pytest bench -k "encode and e4m3"

is pytest-benchmark's front of the tasks that `fmtlib bench` runs, too.  Each round times the
yardstick and every installed peer right before the task, so that noise disturbs all alike; ratios
are those of the medians.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture
from threadpoolctl import threadpool_limits

import fmtlib as fl
from fmtlib.benchmarks import machine, report, runner
from fmtlib.benchmarks.peers import Peer, installed
from fmtlib.benchmarks.tasks import Task

ROUNDS = 15
_rows: list[dict[str, Any]] = []


@pytest.fixture(scope="session")
def peers() -> list[Peer]:
    """Other packages that are installed."""
    return installed()


@pytest.fixture
def race(benchmark: BenchmarkFixture, peers: list[Peer]) -> Callable[[Task, int], None]:
    """Time a task beside its yardstick and the peers, all on one thread."""

    def run(task: Task, size: int) -> None:
        try:
            case = task.make(size)
        except ImportError as error:
            pytest.skip(str(error))
        with threadpool_limits(1), np.errstate(all="ignore"):
            timed = runner.contestants(task, case, [fl.cpu_target()], peers)
            ours = timed[1]
            others = [one for one in timed if one is not ours]
            if benchmark.disabled:  # --benchmark-disable: only that it runs
                benchmark(ours.call)
                return
            for one in timed:
                one.warm_up()

            def setup() -> None:
                for one in others:
                    one.run()

            benchmark.pedantic(ours.run, setup=setup, rounds=ROUNDS)
        row = runner.record(task, str(size), case, timed)
        benchmark.extra_info.update(row)
        _rows.append(row)

    return run


@pytest.hookimpl(trylast=True)
def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the ratios."""
    if not _rows:
        return
    results = {"rows": _rows, "targets": [fl.cpu_target()], "machine": machine.machine()}
    terminalreporter.write_line("")
    report.console().print(report.table(results))
