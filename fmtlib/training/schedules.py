"""Schedules: the learning rate at each step, from its peak, the step and the number of steps."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

from fmtlib.arguments import whole_number

Schedule: TypeAlias = Callable[[float, int, int], float]


def constant(peak: float, step: int, steps: int) -> float:
    """Always `peak`, whatever the `step` of how many `steps`.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.constant(0.1, 3, 4)
    0.1
    """
    return peak


def cosine(peak: float, step: int, steps: int) -> float:
    """Learning rate that falls from `peak` at step 0 to 0 at `steps`, along half a cosine.

    Examples
    --------
    >>> from fmtlib import training
    >>> [round(training.cosine(0.1, step, 4), 3) for step in range(5)]
    [0.1, 0.085, 0.05, 0.015, 0.0]
    """
    return peak * 0.5 * (1 + math.cos(math.pi * step / steps))


@dataclass(frozen=True)
class Steps:
    """A learning rate that drops at points of training.

    Parameters
    ----------
    at : tuple of float
        Shares of the steps, from 0 to 1.
    factor : float
        What the rate is multiplied by at each.

    Examples
    --------
    >>> from fmtlib import training
    >>> schedule = training.Steps(at=(0.5, 0.75), factor=0.1)
    >>> [round(schedule(1.0, step, 4), 3) for step in range(4)]
    [1.0, 1.0, 0.1, 0.01]
    """

    at: tuple[float, ...] = (0.5, 0.75)
    factor: float = 0.1

    def __post_init__(self) -> None:
        object.__setattr__(self, "at", tuple(self.at))
        if not all(0 <= share <= 1 for share in self.at):
            raise ValueError(f"at must be shares from 0 to 1, got {self.at}")
        if not 0 < self.factor < math.inf:
            raise ValueError(f"factor must be positive and finite, got {self.factor}")

    def __call__(self, peak: float, step: int, steps: int) -> float:
        """Learning rate of a step."""
        return peak * self.factor ** sum(step >= share * steps for share in self.at)


@dataclass(frozen=True)
class Warmup:
    """A learning rate that rises in a line over the first steps, then follows another schedule.

    Parameters
    ----------
    steps : int
        Of the rise: step i of them has ``(i + 1) / steps`` of what comes then.
    then : callable
        The schedule, which sees the steps that are left.

    Examples
    --------
    >>> from fmtlib import training
    >>> schedule = training.Warmup(2, then=training.cosine)
    >>> [round(schedule(1.0, step, 6), 3) for step in range(6)]
    [0.5, 1.0, 1.0, 0.854, 0.5, 0.146]
    """

    steps: int
    then: Schedule = cosine

    def __post_init__(self) -> None:
        whole_number("steps", self.steps, 1)
        if not callable(self.then):
            raise TypeError(f"then must be a schedule, got {self.then!r}")

    def __call__(self, peak: float, step: int, steps: int) -> float:
        """Learning rate of a step."""
        left = max(1, steps - self.steps)
        if step < self.steps:
            return self.then(peak, 0, left) * (step + 1) / self.steps
        return self.then(peak, step - self.steps, left)
