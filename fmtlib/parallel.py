"""Many tasks at once: in this process, in others, or on a cluster, through joblib."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from threading import RLock
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_BLAS = RLock()


def _unlock() -> None:
    """In the child of a fork: a lock that another thread held there is nobody's to release."""
    global _BLAS
    _BLAS = RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def each(
    function: Callable[[T], R], tasks: Sequence[T], workers: int | None, *, extra: str
) -> Iterator[tuple[int, R]]:
    """Places of tasks and what a function makes of them, each as soon as it is known.

    Parameters
    ----------
    function : callable
        Of a module, so that other processes find it.
    tasks : sequence
    workers : int or None
        Processes; 1 takes this one. None leaves it to joblib: to the backend of a surrounding
        ``joblib.parallel_config``, or else one process.
    extra : str
        Of this package, that brings joblib.

    Raises
    ------
    ImportError
        If joblib is missing (and `workers` is not 1).

    Examples
    --------
    >>> list(each(abs, [-3, 4], workers=1, extra="count"))
    [(0, 3), (1, 4)]
    """
    if workers == 1 or not tasks:
        yield from ((place, function(task)) for place, task in enumerate(tasks))
        return
    try:
        from joblib import Parallel, delayed
    except ImportError as error:
        raise ImportError(f"workers need joblib: pip install 'fmtlib[{extra}]'") from error
    how = {"return_as": "generator_unordered"} | ({} if workers is None else {"n_jobs": workers})
    numbered = (delayed(_placed)(function, place, task) for place, task in enumerate(tasks))
    yield from Parallel(**how)(numbered)


def _placed(function: Callable[[T], R], place: int, task: T) -> tuple[int, R]:
    return place, function(task)


@contextmanager
def one_blas_thread(*, extra: str) -> Iterator[None]:
    """A context in which BLAS takes one thread: sums then do not depend on the machine's cores.

    The limit is the process's, so one thread of a process at a time is in such a context; the
    others wait.

    Raises
    ------
    ImportError
        If threadpoolctl is missing.
    """
    try:
        from threadpoolctl import threadpool_limits
    except ImportError as error:
        raise ImportError(
            f"one thread for BLAS needs threadpoolctl: pip install 'fmtlib[{extra}]'"
        ) from error
    with _BLAS, threadpool_limits(1, user_api="blas"):
        yield
