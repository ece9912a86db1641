"""A pytest plugin that thins out parametrised tests: ``pytest -p sample --cases 6``.

A mutant that is wrong is mostly wrong in any case of a test; so at most this many cases of each test function are
kept, evenly spaced, the first and the last among them.  What survives is tried on all of them.
"""

from __future__ import annotations

import os
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


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
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
