"""Progress of long work: callbacks, and the bar that ``progress=True`` draws (extra: rich)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


def check_progress(progress: object) -> None:
    """Raise TypeError unless `progress` is what `reporting` takes."""
    if not (progress is None or isinstance(progress, bool) or callable(progress)):
        raise TypeError(f"progress must be a callable, a bool or None, got {progress!r}")


@contextmanager
def reporting(
    progress: Callable[[T], object] | bool | None,
    title: str,
    show: Callable[[T], dict[str, Any]],
) -> Iterator[Callable[[T], object]]:
    """Give the function to call, with how far the work is, after each of its steps.

    Parameters
    ----------
    progress : callable, bool or None
        A function to call itself; True for a bar on standard error; False or None for silence.
    title : str
        What the bar says before the first step.
    show : callable
        From how far the work is to what the bar then shows: `completed`, `total` and
        `description`, as `rich.progress.Progress.update` takes them.

    Raises
    ------
    TypeError
        If `progress` is something else.
    ImportError
        If ``progress=True`` and rich is missing.
    """
    check_progress(progress)
    if callable(progress):
        yield progress
        return
    if not progress:
        yield lambda _: None
        return
    try:
        from rich.console import Console
        from rich.progress import Progress
    except ImportError as error:
        raise ImportError(
            'progress=True draws its bar with rich: pip install "fmtlib[cli]"'
        ) from error
    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(title, total=None)
        yield lambda at: bar.update(task, **show(at))
