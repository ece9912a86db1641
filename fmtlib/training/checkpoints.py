"""Checkpoints: arrays and a record in one file, written whole or not at all, read warily."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.files import load, save

# The record is JSON in an array of bytes, so that any container of `fmtlib.save` holds it.
_RECORD = "checkpoint"
_KIND, _VERSION = "fmtlib training checkpoint", 1


def check_arrays(
    what: str,
    wanted: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]],
    found: Mapping[str, NDArray[Any]],
) -> None:
    """Raise ValueError unless `found` has the names, shapes and dtypes that are wanted."""
    for problem, names in (("has no", wanted.keys() - found), ("knows no", found.keys() - wanted)):
        if names:
            listed = ", ".join(sorted(names)[:5]) + (", ..." if len(names) > 5 else "")
            holder = "the state" if problem == "has no" else what
            raise ValueError(f"{holder} {problem} {listed}")
    for name, (shape, dtype) in wanted.items():
        array = found[name]
        if not isinstance(array, np.ndarray) or array.shape != shape or array.dtype != dtype:
            given = f"{array.dtype} {array.shape}" if isinstance(array, np.ndarray) else repr(array)
            raise ValueError(f"{name} of {what} must be {dtype} {shape}, got {given}")


def save_checkpoint(
    path: str | os.PathLike[str], arrays: Mapping[str, NDArray[Any]], record: Mapping[str, Any]
) -> None:
    """Write arrays and a record of JSON values, replacing a file that is there when complete.

    Parameters
    ----------
    path : path
        Its suffix chooses the container, as in `fmtlib.save`: ``.safetensors`` (extra ``files``)
        or ``.npz``.
    arrays : mapping of str to ndarray
    record : mapping
        Of what JSON knows.
    """
    text = json.dumps({"kind": _KIND, "version": _VERSION, "record": dict(record)})
    save(path, {**arrays, _RECORD: np.frombuffer(text.encode(), np.uint8)})


def load_checkpoint(
    path: str | os.PathLike[str],
) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
    """Read what `save_checkpoint` wrote; everything in it is compared with its CRC-32C.

    Returns
    -------
    arrays : dict of str to ndarray
    record : dict

    Raises
    ------
    ValueError
        If the file is damaged, or no checkpoint of this version.
    """
    arrays: dict[str, Any] = dict(load(path))
    text = arrays.pop(_RECORD, None)
    if not isinstance(text, np.ndarray) or text.dtype != np.uint8 or text.ndim != 1:
        raise ValueError(f"{Path(path)} is no checkpoint of training")
    try:
        outer = json.loads(text.tobytes())
        kind, version, record = outer["kind"], outer["version"], outer["record"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f"{Path(path)} is no checkpoint of training: {error}") from None
    if kind != _KIND or not isinstance(record, dict):
        raise ValueError(f"{Path(path)} is no checkpoint of training")
    if version != _VERSION:
        raise ValueError(f"{Path(path)} has version {version}, this fmtlib reads {_VERSION}")
    if not all(isinstance(array, np.ndarray) for array in arrays.values()):
        raise ValueError(f"{Path(path)} is no checkpoint of training: it has blocks")
    return arrays, record
