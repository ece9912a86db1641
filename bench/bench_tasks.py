"""Every task of `fmtlib.benchmarks.tasks`, as pytest-benchmark shows and saves them."""

import pytest

from fmtlib.benchmarks.runner import SIZES
from fmtlib.benchmarks.tasks import Task, tasks


@pytest.mark.parametrize("task", tasks(), ids=lambda task: task.name)
def bench_task(race, task: Task):
    sizes = {"call": 1024, "matrix": task.rows, "batch": task.rows}
    race(task, sizes.get(task.scale, SIZES["memory"]))
