"""Stochastic gradient descent on full-precision master weights, and its learning rate."""

import math
from collections.abc import Sequence

import numpy as np

from fmtlib.training.layers import Parameter


class SGD:
    """Stochastic gradient descent with momentum.

    ``velocity = momentum * velocity + gradient``, then ``value -= learning_rate * velocity``, all
    in the parameters' own float32: recipes quantise copies, never these master weights.

    Parameters
    ----------
    parameters : sequence of Parameter
    momentum : float
        From 0 up to, not including, 1.
    weight_decay : float
        Times the value is added to the gradient, for weights but not for biases.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> p = training.Parameter(np.ones(2, np.float32))
    >>> p.gradient = np.float32([1.0, -1.0])
    >>> training.SGD([p]).step(0.5)
    >>> p.value
    array([0.5, 1.5], dtype=float32)
    """

    def __init__(
        self, parameters: Sequence[Parameter], momentum: float = 0.9, weight_decay: float = 0.0
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay}")
        self.parameters = tuple(parameters)
        self.momentum = momentum
        self.weight_decay = weight_decay
        self._velocities = [np.zeros_like(p.value) for p in self.parameters]

    def step(self, learning_rate: float) -> None:
        """Move every parameter by its gradient; values change in place."""
        for parameter, velocity in zip(self.parameters, self._velocities, strict=True):
            velocity *= self.momentum
            velocity += parameter.gradient
            if self.weight_decay and parameter.value.ndim > 1:
                velocity += self.weight_decay * parameter.value
            parameter.value -= learning_rate * velocity


def cosine(peak: float, step: int, steps: int) -> float:
    """Learning rate that falls from `peak` at step 0 to 0 at `steps`, along half a cosine.

    Examples
    --------
    >>> from fmtlib import training
    >>> [round(training.cosine(0.1, step, 4), 3) for step in range(5)]
    [0.1, 0.085, 0.05, 0.015, 0.0]
    """
    return peak * 0.5 * (1 + math.cos(math.pi * step / steps))
