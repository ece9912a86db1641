"""Tasks that tell that they run and then wait to be killed: for tests/test_cluster.py.

The first task of a folder to come here writes its process's number into the folder's pipe and
stays; all later ones, the same task run again among them, go on.
"""

import os
import threading
from dataclasses import dataclass
from pathlib import Path

import distributed

from fmtlib import training
from fmtlib.hardware.designs.stripes import Stripes

FOLDER = "FMTLIB_TEST_VICTIMS"


def stay(folder):
    """Wait to be killed, in a worker, if nobody has been yet."""
    try:
        distributed.get_worker()
    except ValueError:
        return
    try:
        Path(folder, "taken").open("x").close()
    except FileExistsError:
        return
    with Path(folder, "pipe").open("w") as pipe:
        pipe.write(f"{os.getpid()}\n")
    threading.Event().wait(120)


def block(part, folder):
    """A chunk of a dask array, as it is."""
    stay(folder)
    return part


def digits(seed):
    """A data set of a sweep of trainings."""
    if seed == 1:
        stay(os.environ[FOLDER])
    return training.digits(seed)


@dataclass(frozen=True, kw_only=True)
class Halting(Stripes):
    """A design of a sweep of counts."""

    name = "halting"
    folder: str = ""

    def compute_cycles(self, layer):
        stay(self.folder)
        return super().compute_cycles(layer)
