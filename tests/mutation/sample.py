"""A pytest plugin that thins out parametrised tests: ``pytest -p mutation.sample --cases 6``.

A mutant that is wrong is mostly wrong in any case of a test; so at most this many cases of each
test function are kept, evenly spaced, the first and the last among them.  With ``--seconds``, a
test that takes more of the CPU ends the process.
"""

from __future__ import annotations

import os
import signal
from collections import defaultdict

import pytest

from fmtlib._core import kernels

# Mutants of C are of one instruction set; the others' kernels would hide them.
if ONLY := os.environ.get("FMTLIB_ONLY_TARGET"):
    force_target = kernels.force_target
    kernels.available_targets = lambda: (ONLY,)
    kernels.force_target = lambda name: force_target(name or ONLY)
    force_target(ONLY)


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--cases", type=int, default=0, help="cases of each test function; 0: all")
    parser.addoption(
        "--seconds", type=float, default=0, help="of CPU that one test may take; 0: any"
    )


def pytest_runtest_setup(item: pytest.Item) -> None:
    # The signal's default action ends the process even in the midst of a kernel.
    signal.setitimer(signal.ITIMER_VIRTUAL, item.config.getoption("--seconds"))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if ONLY:
        items[:] = [item for item in items if item.name != "test_targets"]  # which wants a baseline
    most = config.getoption("--cases")
    if most < 1:
        return
    functions = defaultdict(list)
    for item in items:
        functions[item.nodeid.partition("[")[0]].append(item)
    kept = set()
    for cases in functions.values():
        last, n = len(cases) - 1, min(most, len(cases))
        kept.update(cases[round(i * last / max(n - 1, 1))].nodeid for i in range(n))
    items[:] = [item for item in items if item.nodeid in kept]
