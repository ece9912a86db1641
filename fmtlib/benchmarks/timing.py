"""The interleaved timer: a round runs every contestant, so that noise disturbs all alike."""

from __future__ import annotations

import gc
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import TypeAlias

import numpy as np

from fmtlib._core import kernels

Call: TypeAlias = Callable[[], object]

MIN_ROUNDS = 5
MAX_ROUNDS = 25
# A contestant that takes less is called several times in a round.
_SHORTEST = 2e-4
# One that would take longer gets a part of the array.
_LONGEST = 0.03
_LEAST_PART = 1 << 12


@dataclass
class Contestant:
    """One thing that is timed, and its times so far.

    Attributes
    ----------
    who : str
        "copyto" or another yardstick, "fmtlib" or a variant of it, or the name of a peer.
    call : callable
        Does it once.
    elements : int
        Of the input, which is what times are divided by.
    target : str, optional
        The instruction set whose kernels run.
    moved : int
        Bytes that have to be read and written for all that; 0 if that says nothing.
    number : int
        Calls in a round.
    seconds : list of float
        Of one call, one entry per round.
    processor_seconds : float
        Of all threads together, for all rounds.
    """

    who: str
    call: Call
    elements: int
    target: str | None = None
    moved: int = 0
    number: int = 1
    seconds: list[float] = field(default_factory=list)
    processor_seconds: float = 0.0

    def run(self) -> None:
        """Run one round."""
        call = self.call
        kernels.force_target(self.target)
        try:
            processor = time.process_time()
            start = time.perf_counter()
            for _ in repeat(None, self.number):
                call()
            elapsed = time.perf_counter() - start
            self.processor_seconds += time.process_time() - processor
        finally:
            kernels.force_target(None)
        self.seconds.append(elapsed / self.number)

    def warm_up(self) -> None:
        """Run a few times unrecorded, and find how many calls a round takes."""
        self.number = 1
        self.run()
        if self.seconds[-1] < 100 * _SHORTEST:  # may be that of the first call only
            self.run()
        self.number = max(1, math.ceil(_SHORTEST / max(self.seconds[-1], 1e-9)))
        self.forget()

    def forget(self) -> None:
        """Drop the times."""
        self.seconds.clear()
        self.processor_seconds = 0.0

    @property
    def threads(self) -> float:
        """Processors that were busy on average."""
        elapsed = sum(self.seconds) * self.number
        return self.processor_seconds / elapsed if elapsed else 0.0


def part_for(make: Callable[[int], Call | None]) -> tuple[Call, int] | None:
    """The greatest part of an array that a slow contestant gets through soon enough.

    Parameters
    ----------
    make : callable
        Given k, makes the call for the k-th part of the array; None if there is none.

    Returns
    -------
    (callable, int) or None
        The call and k, a power of two; 1 unless it is slow.
    """
    part = _LEAST_PART
    while True:
        call = make(part)
        if call is None:
            return None
        call()
        start = time.perf_counter()
        call()
        growth = math.floor(math.log2(_LONGEST / (time.perf_counter() - start)))
        if part == 1 or growth < 1:
            return call, part
        part = max(1, part >> min(growth, 6))


def interleave(contestants: Sequence[Contestant], seconds: float) -> None:
    """Run rounds of all contestants, one after another, for about so many seconds."""
    with np.errstate(all="ignore"):
        for contestant in contestants:
            contestant.warm_up()
        collecting = gc.isenabled()
        gc.disable()
        try:
            end = time.perf_counter() + seconds
            for done in range(MAX_ROUNDS):
                if done >= MIN_ROUNDS and time.perf_counter() > end:
                    break
                for contestant in contestants:
                    contestant.run()
        finally:
            if collecting:
                gc.enable()
