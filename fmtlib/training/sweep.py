"""Many trainings, in parallel, in one table (extra: train)."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.choices import near_names
from fmtlib.files import load_json, replaced
from fmtlib.parallel import each, one_blas_thread
from fmtlib.progress import check_progress, reporting
from fmtlib.tables import finite
from fmtlib.training.datasets import Dataset
from fmtlib.training.network import Network
from fmtlib.training.recipes import Recipe
from fmtlib.training.setup import Setup, Trained

# What else to measure of a training, as columns.
Measure = Callable[[Setup, Trained], Mapping[str, Any]]
Row = dict[str, Any]

SCHEMA, VERSION = "fmtlib.training.sweep", 1

# What is measured, and the types of it in a file.
_MEASURED: dict[str, tuple[type, ...]] = {
    "test_accuracy": (float,), "test_loss": (float,),
    "validation_accuracy": (float,), "validation_loss": (float,),
    "train_accuracy": (float,), "train_loss": (float,),
    "macs": (int,), "effectual_macs": (int,), "passes_per_mac": (float,),
    "skipped_steps": (int,), "stopped": (str,),
}  # fmt: skip


@dataclass(frozen=True)
class SweepProgress:
    """How far a sweep is, for a callback.

    Attributes
    ----------
    done, total : int
        Runs that have ended, those found in the folder among them, of how many.
    setup : Setup
        The one that has just ended.
    """

    done: int
    total: int
    setup: Setup


def sweep(
    recipes: Iterable[str | Recipe],
    data: Iterable[str | Callable[[int], Dataset]] = ("digits",),
    networks: Iterable[str | Callable[[Dataset, int], Network]] = ("mlp",),
    seeds: Iterable[int] = range(5),
    *,
    learning_rates: Iterable[float | None] = (None,),
    measure: Measure | None = None,
    folder: str | os.PathLike[str] | None = None,
    workers: int | None = None,
    progress: Callable[[SweepProgress], object] | bool | None = None,
    **options: Any,
) -> list[Row]:
    """Train every network on every data set with every recipe, learning rate and seed.

    Parameters
    ----------
    recipes, data, networks, seeds, learning_rates : iterable
        Each of what `Setup` takes. Functions must be of a module, so that other processes find
        them, and are known by their names.
    measure : callable, optional
        A function of a module from a setup and what it left, a ``Trained``, to more columns: what
        JSON knows, lists among it. It may train the network further.
    folder : path, optional
        Gets a file for every run that has ended, from which an interrupted sweep goes on; made if
        missing. Another version of this package runs all anew. A function that has changed but
        not its name needs another folder.
    workers : int, optional
        Processes; 1 takes this one and needs no joblib. None leaves it to joblib: to the backend
        of a surrounding ``joblib.parallel_config``, or else one process. With
        ``parallel_config(backend="dask")`` the runs go to a dask cluster; only this process writes
        to the folder.
    progress : callable or bool, optional
        Called with a `SweepProgress` after every run; True shows a bar on standard error.
    **options
        The other parameters of `Setup`, for all runs.

    Returns
    -------
    list of dict
        One for each run, of equal keys: the parameters of `Setup` as `Setup.described` has them;
        ``test_accuracy``, ``test_loss``, and of the last epoch ``validation_accuracy``,
        ``validation_loss``, ``train_accuracy``, ``train_loss`` (accuracies from 0 to 1);
        ``macs``, ``effectual_macs``, ``passes_per_mac``, ``skipped_steps``, ``stopped``; then
        those of `measure`. None is what there is not, or is not finite. Data outermost, then
        networks, recipes, learning rates, seeds. The rows do not depend on workers, backends or
        interruptions.

    Raises
    ------
    ImportError
        If threadpoolctl, or joblib (and `workers` is not 1), is missing.
    TypeError, ValueError
        As `Setup` does, before anything runs; for runs that cannot be told apart, or none; for a
        file in the folder that is no finished run.

    Notes
    -----
    BLAS takes one thread in every run. The rows are the same bits on machines of one kind with one
    build of NumPy.

    Examples
    --------
    >>> from fmtlib import training
    >>> rows = training.sweep(
    ...     ["float32", "bfp:mantissa_bits=4"], networks=["mlp:hidden=16"], seeds=[0], epochs=1,
    ...     workers=1,
    ... )
    >>> [(row["recipe"], row["passes_per_mac"]) for row in rows]
    [('float32', None), ('bfp:mantissa_bits=4', 4.0)]
    """
    check_progress(progress)
    if workers is not None:
        whole_number("workers", workers, 1)
    for name, value in (("recipes", recipes), ("data", data), ("networks", networks)):
        if isinstance(value, str | Recipe | Dataset | Network) or callable(value):
            raise TypeError(f"{name} must be a list; put the single one in a list")
    known = [field.name for field in fields(Setup)]
    for name in options:
        if name not in known:
            raise TypeError(f"sweep takes no {name!r}{near_names(name, known)}")
    networks, recipes, rates, seeds = list(networks), list(recipes), list(learning_rates), [*seeds]
    setups = [
        Setup(data=d, network=n, recipe=r, learning_rate=rate, seed=seed, **options)
        for d in data for n in networks for r in recipes for rate in rates for seed in seeds
    ]  # fmt: skip
    keys = _keys(setups, measure)
    done = _load(Path(folder), dict(zip(keys, setups, strict=True))) if folder is not None else {}
    left = {key: setup for key, setup in zip(keys, setups, strict=True) if key not in done}
    left_keys, left_setups = list(left), list(left.values())
    with reporting(progress, "sweeping", _shown) as report:
        for place, row in each(
            partial(train_row, measure=measure), left_setups, workers, extra="train"
        ):
            key = left_keys[place]
            done[key] = row
            if folder is not None:
                _save(Path(folder, f"{key}.json"), row)
            report(SweepProgress(len(done), len(setups), left_setups[place]))
    return [done[key] for key in keys]


def _shown(at: SweepProgress) -> dict[str, Any]:
    said = at.setup.described()
    words = f"{said['data']}, {said['network']}, {said['recipe']}, seed {said['seed']}"
    return {"completed": at.done, "total": at.total, "description": words}


def train_row(setup: Setup, measure: Measure | None = None) -> Row:
    """One row of a sweep's table: a setup, what its training measured, and what `measure` does."""
    trained = setup.trained()
    result = trained.result

    def last(name: str) -> float | None:
        return next(reversed(getattr(result, name)), None)

    row = setup.described() | {
        "test_accuracy": result.test_accuracy, "test_loss": result.test_loss,
        **{f"{part}_{what}": last(f"{part}_{what}")
           for part in ("validation", "train") for what in ("accuracy", "loss")},
        "macs": result.macs, "effectual_macs": result.effectual_macs,
        "passes_per_mac": result.passes_per_mac, "skipped_steps": result.skipped_steps,
        "stopped": result.stopped,
    }  # fmt: skip
    if measure is not None:
        with one_blas_thread(extra="train"):
            more = dict(measure(setup, trained))
        if both := row.keys() & more.keys():
            raise ValueError(f"measure gives columns that are there: {', '.join(sorted(both))}")
        row |= more
    return {name: finite(value) for name, value in row.items()}


# --- going on where it stopped --------------------------------------------------------------------


def _keys(setups: list[Setup], measure: Measure | None) -> list[str]:
    """A hash for each of all that its row depends on."""
    depends: list[Any] = [fl.__version__]
    if measure is not None:
        depends.append(f"{measure.__module__}.{measure.__qualname__}")
        if "<" in depends[-1]:
            raise ValueError(f"measure must be a function of a module, got {depends[-1]}")
    if not setups:
        raise ValueError("nothing to train: recipes, data, networks or seeds are empty")
    found: dict[str, None] = {}
    for setup in setups:
        said = setup.described()
        if setup.needs_weights:
            raise ValueError(
                f"{said['recipe']} is calibrated on trained weights, which a sweep has not: "
                "calibrate it and give the recipe"
            )
        for name in ("data", "network"):
            if callable(getattr(setup, name)) and "<" in said[name]:
                raise ValueError(f"{name} must be a function of a module, got {said[name]}")
        text = json.dumps([*depends, said], sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:32]
        if key in found:
            raise ValueError(f"one training is there twice: {said}")
        found[key] = None
    return list(found)


def _load(folder: Path, setups: dict[str, Setup]) -> dict[str, Row]:
    """The rows that a folder has, by key."""
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"{str(folder)!r} is there and is no folder")
    folder.mkdir(parents=True, exist_ok=True)
    found = {}
    for key, setup in setups.items():
        path = folder / f"{key}.json"
        if path.exists():
            try:
                found[key] = _row(load_json(path), setup)
            except (LookupError, TypeError, ValueError) as error:
                raise ValueError(f"{path} is no finished run: {error}; remove it") from None
    return found


def _row(document: Any, setup: Setup) -> Row:
    """The row in a file, if it is one of this setup."""
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ValueError(f"it is not of the schema {SCHEMA}")
    if document.get("version") != VERSION:
        raise ValueError(f"its version is {document.get('version')!r}, not {VERSION}")
    row = document.get("row")
    said = setup.described()
    expected = [*said, *_MEASURED]
    if not isinstance(row, dict) or list(row)[: len(expected)] != expected:
        raise ValueError("its row has other columns")
    for name, value in said.items():
        if row[name] != value:
            raise ValueError(f"its {name} is {row[name]!r}, not {value!r}")
    for name, kinds in _MEASURED.items():
        if not (row[name] is None or type(row[name]) in kinds):
            raise ValueError(f"its {name} is {row[name]!r}")
    return row


def _save(path: Path, row: Row) -> None:
    document = {"schema": SCHEMA, "version": VERSION, "fmtlib": fl.__version__, "row": row}
    with replaced(path) as temporary:
        temporary.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
