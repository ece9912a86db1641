"""Counts of many arrays, designs and networks, in parallel (extra: count)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.files import load_json, replaced
from fmtlib.hardware.counters import CountProgress, count
from fmtlib.hardware.designs import Design, design
from fmtlib.hardware.energy import Energy
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.memory import Memory
from fmtlib.parallel import each
from fmtlib.progress import reporting

Records = list[dict[str, Any]]

SCHEMA, VERSION = "fmtlib.hardware.sweep", 1
_ARRAY = ("tiles", "lanes", "columns", "rows")


def sweep(
    networks: Mapping[str, Sequence[Layer]],
    designs: Iterable[str | Design],
    arrays: Iterable[Mapping[str, int]] = ({},),
    group_sizes: Iterable[int | None] = (None,),
    *,
    memory: Memory | None = None,
    energy: Energy | None = None,
    workers: int | None = None,
    path: str | os.PathLike[str] | None = None,
    progress: Callable[[CountProgress], object] | bool | None = None,
) -> Records:
    """Count every network on every design, array and group size.

    Parameters
    ----------
    networks : dict of str to sequence of Layer
        The layers by the names of the networks.
    designs : iterable of str or Design
    arrays : iterable of dict
        Each changes some of a design's `tiles`, `lanes`, `columns` and `rows`.
    group_sizes : iterable of int or None
        Values of a group, in memory and, of designs that have the parameter, in the array; None
        leaves both as they are.
    memory, energy
        As of `count`.
    workers : int, optional
        Processes; 1 takes this one and needs no extra. None leaves it to joblib: to the backend
        of a surrounding ``joblib.parallel_config``, or else one process. With
        ``parallel_config(backend="dask")`` the counts run on a dask cluster.
    path : path, optional
        A file of what is done, kept up to date, from which an interrupted sweep goes on.
    progress : callable, bool or None
        As of `count`; one step is one design on one network.

    Returns
    -------
    list of dict
        The records of `CountResult.to_records`, with ``network`` and ``swept_group_size`` (None
        where it was left as it is), all of equal keys: `networks` outermost, then `designs`,
        `arrays`, `group_sizes`. They do not depend on workers, backends or interruptions.

    Raises
    ------
    ImportError
        If joblib is missing (and `workers` is not 1).
    TypeError, ValueError
        As `count` and `design` do; nothing to count; an array with another parameter; a file that
        is not a sweep's.

    Notes
    -----
    A group size that changes nothing, of a design without the parameter and without memory, is
    counted and listed once, as None.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.conv(np.full((1, 16, 8, 8), 5), np.ones((16, 16, 3, 3), int))
    >>> records = sweep({"tiny": [layer]}, ["stripes"], [{}, {"columns": 4}], workers=1)
    >>> [(r["columns"], r["compute_cycles"]) for r in records if r["row"] == "total"]
    [(16, 81), (4, 243)]
    """
    if not isinstance(networks, Mapping):
        raise TypeError("networks must be a dict of names to lists of layers")
    if isinstance(designs, str | Design):
        raise TypeError("designs must be a list of names or designs; put the single one in a list")
    if workers is not None:
        workers = whole_number("workers", workers, 1)
    points = list(_points(list(designs), list(arrays), list(group_sizes), memory))
    tasks = [
        _Task(name, tuple(layers), item, size, used, energy)
        for name, layers in networks.items()
        for item, size, used in points
    ]
    if not tasks:
        raise ValueError(f"nothing to count: {len(networks)} networks, {len(points)} designs")
    prints = {name: _fingerprint(layers) for name, layers in networks.items()}
    keys = [_key(task, prints[task.network]) for task in tasks]
    done = _load(path) if path is not None else {}
    left = {key: task for key, task in zip(keys, tasks, strict=True) if key not in done}
    with reporting(progress, "sweeping", _shown) as report:
        keys_left = list(left)
        for place, records in each(_Task.run, list(left.values()), workers, extra="count"):
            key = keys_left[place]
            done[key] = records
            if path is not None:
                _save(path, done)
            at = len(tasks) - len(left) + sum(k in done for k in left)
            report(CountProgress(at, len(tasks), left[key].item.label, left[key].network))
    found = [record for key in keys for record in done[key]]
    columns = {name: None for record in found for name in record}
    return [{**columns, **record} for record in found]


def _shown(at: CountProgress) -> dict[str, Any]:
    return {"completed": at.done, "total": at.total, "description": f"{at.layer}, {at.design}"}


@dataclass(frozen=True, eq=False)
class _Task:
    """One design on one network."""

    network: str
    layers: tuple[Layer, ...]
    item: Design
    group_size: int | None
    memory: Memory | None
    energy: Energy | None

    def run(self) -> Records:
        result = count(self.layers, [self.item], memory=self.memory, energy=self.energy)
        records = [
            {"network": self.network, "swept_group_size": self.group_size, **record}
            for record in result.to_records()
        ]
        # As a file gives them back: a sweep that goes on is no different.
        kept: Records = json.loads(json.dumps(records))
        return kept


def _points(
    designs: list[str | Design],
    arrays: list[Mapping[str, int]],
    group_sizes: list[int | None],
    memory: Memory | None,
) -> Iterator[tuple[Design, int | None, Memory | None]]:
    """Every design, array and group size, without those that come to the same."""
    seen = set()
    for given in designs:
        item = given if isinstance(given, Design) else design(given)
        for array in arrays:
            if unknown := [name for name in array if name not in _ARRAY]:
                raise ValueError(f"an array has {', '.join(_ARRAY)}, not {', '.join(unknown)}")
            for size in group_sizes:
                parameters = {**item.parameters, **array}
                used = memory
                if size is not None and "group_size" in parameters:
                    parameters["group_size"] = size
                elif size is not None and memory is None:
                    size = None
                if size is not None and memory is not None:
                    used = _with_groups(memory, size)
                point = (type(item)(**parameters), size, used)
                if point not in seen:
                    seen.add(point)
                    yield point


def _with_groups(memory: Memory, size: int) -> Memory:
    return Memory(**{**memory.parameters, "group_size": size})


# --- going on where it stopped --------------------------------------------------------------------


def _fingerprint(layers: Sequence[Layer]) -> str:
    """A hash of all that layers are."""
    found = hashlib.sha256()
    for layer in layers:
        for field in fields(layer):
            value = getattr(layer, field.name)
            if hasattr(value, "dtype"):
                found.update(f"{value.dtype.str}{value.shape}".encode())
                found.update(value.tobytes())
            else:
                found.update(f"{field.name}={value!r};".encode())
    return found.hexdigest()


def _key(task: _Task, fingerprint: str) -> str:
    """A hash of all that a task's records depend on, the version of the package too."""
    energy = task.energy
    what = (
        fl.__version__, task.network, fingerprint, task.item.name, task.item.parameters,
        task.group_size, task.memory and task.memory.parameters, repr(energy),
    )  # fmt: skip
    return hashlib.sha256(repr(what).encode()).hexdigest()


def _load(path: str | os.PathLike[str]) -> dict[str, Records]:
    """What is done, by the keys of tasks."""
    if not Path(path).exists():
        return {}
    try:
        document = load_json(path)
    except ValueError as error:
        raise ValueError(f"{path} is no sweep to go on with: {error}") from None
    known = isinstance(document, dict) and document.get("schema") == SCHEMA
    if not known or document.get("version") != VERSION:
        raise ValueError(f"{path} is no sweep of this version to go on with")
    done = document.get("done")
    if not isinstance(done, dict) or not all(isinstance(value, list) for value in done.values()):
        raise ValueError(f"{path} is no sweep to go on with: 'done' must be an object of lists")
    return done


def _save(path: str | os.PathLike[str], done: dict[str, Records]) -> None:
    text = json.dumps({"schema": SCHEMA, "version": VERSION, "done": done}, allow_nan=False)
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
