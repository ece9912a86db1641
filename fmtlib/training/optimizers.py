"""Optimisers on full-precision master weights, what bounds gradients, and the scale of losses."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.formats import BlockFormat, Format, Rounding
from fmtlib.training.checkpoints import check_arrays
from fmtlib.training.layers import Floats, Parameter

# Scales are numbers of float32.
_GREATEST_SCALE = 2.0**127


@dataclass(frozen=True)
class StateFormat:
    """The format in which an optimiser keeps its arrays, such as momentum, from step to step.

    Parameters
    ----------
    format : str or Format
        See `fmtlib.get_format`.  Blocks lie along the last axis.
    rounding : str
        See `fmtlib.encode`.
    scaled : bool
        For formats that are not of blocks: whether each array is scaled so that its greatest
        magnitude becomes the format's greatest value.
    seed : int
        Of stochastic rounding, from 0 to 2**64 - 1.

    Notes
    -----
    In `Adam`, a mean of squares that rounds to 0 makes steps great: take a format with a wide
    exponent.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> p = training.Parameter(np.zeros(2, np.float32))
    >>> optimizer = training.SGD([p], state=training.StateFormat("e4m3", scaled=False))
    >>> p.gradient = np.float32([1.0, 0.3])
    >>> optimizer.step(1.0)
    >>> p.value, optimizer.state()["velocity.0"]  # the next step starts from the latter
    (array([-1. , -0.3], dtype=float32), array([1.    , 0.3125], dtype=float32))
    """

    format: str | Format
    rounding: Rounding = "nearest_even"
    scaled: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        whole_number("seed", self.seed, 0, 2**64 - 1)
        fl.quantize(np.zeros(1, np.float32), self.format, **self._how(0))  # checks the rest

    def hold(self, array: Floats, stream: int) -> None:
        """Round an array's values, in place; `stream` is that of stochastic rounding."""
        fmt = fl.get_format(self.format)
        how = self._how(stream)
        if self.scaled and not isinstance(fmt, BlockFormat):
            greatest = float(np.abs(array).max(initial=0.0))
            if not 0 < greatest < math.inf:
                return
            how["scale"] = greatest / fmt.max
        array[...] = fl.quantize(array, fmt, **how)

    def _how(self, stream: int) -> dict[str, Any]:
        random = self.rounding.startswith("stochastic")
        return {"rounding": self.rounding} | ({"seed": (self.seed, stream)} if random else {})


class Optimizer(ABC):
    """Moves parameters by their gradients; recipes quantise copies, never these master weights.

    Attributes
    ----------
    parameters : tuple of Parameter
    weight_decay : float
        Acts on weights but not on parameters of one axis, such as biases.
    state_format : StateFormat or None
    steps : int
        Taken so far.
    """

    # Names of the arrays that a subclass keeps for every parameter.
    _kept: tuple[str, ...]

    def __init__(
        self, parameters: Sequence[Parameter], weight_decay: float, state: StateFormat | None
    ) -> None:
        if not 0 <= weight_decay < math.inf:
            raise ValueError(f"weight_decay must be at least 0 and finite, got {weight_decay}")
        self.parameters = tuple(parameters)
        for parameter in self.parameters:
            if not isinstance(parameter, Parameter):
                raise TypeError(f"parameters must be Parameter objects, got {parameter!r}")
        if state is not None and not isinstance(state, StateFormat):
            raise TypeError(f"state must be a StateFormat or None, got {state!r}")
        self.weight_decay = weight_decay
        self.state_format = state
        self.steps = 0
        self._arrays: dict[str, list[Floats]] = {
            name: [np.zeros_like(p.value) for p in self.parameters] for name in self._kept
        }

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {"weight_decay": self.weight_decay, "state": self.state_format}

    @abstractmethod
    def _move(self, place: int, parameter: Parameter, learning_rate: float) -> None:
        """Change one parameter's value, and what is kept of it, in place."""

    def step(self, learning_rate: float) -> None:
        """Move every parameter by its gradient; values change in place."""
        self.steps += 1
        for place, parameter in enumerate(self.parameters):
            self._move(place, parameter, learning_rate)
            if self.state_format is not None:
                for which, arrays in enumerate(self._arrays.values()):
                    stream = self.steps << 24 | place << 2 | which
                    self.state_format.hold(arrays[place], stream)

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of what `restore` needs to go on from here, by name."""
        state: dict[str, NDArray[Any]] = {"steps": np.array(self.steps, np.int64)}
        for name, arrays in self._arrays.items():
            state |= {f"{name}.{place}": array.copy() for place, array in enumerate(arrays)}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken, from an optimiser of its kind and as many parameters.

        Raises
        ------
        ValueError
            If names, shapes or dtypes are not this optimiser's.
        """
        wanted = {name: (array.shape, array.dtype) for name, array in self.state().items()}
        check_arrays("the optimizer", wanted, state)
        if not state["steps"] >= 0:
            raise ValueError(f"steps of the optimizer must be at least 0, got {state['steps']}")
        self.steps = int(state["steps"])
        for name, arrays in self._arrays.items():
            for place, array in enumerate(arrays):
                array[...] = state[f"{name}.{place}"]

    def _decays(self, parameter: Parameter) -> bool:
        return bool(self.weight_decay) and parameter.value.ndim > 1


class SGD(Optimizer):
    """Stochastic gradient descent with momentum.

    ``velocity = momentum * velocity + gradient``, then ``value -= learning_rate * velocity``, all
    in the parameters' own float32.

    Parameters
    ----------
    parameters : sequence of Parameter
    momentum : float
        From 0 up to, not including, 1.
    weight_decay : float
        Times the value is added to the gradient, for weights but not for biases.
    state : StateFormat, optional
        Of the velocity; by default it stays float32.

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

    _kept = ("velocity",)

    def __init__(
        self,
        parameters: Sequence[Parameter],
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        *,
        state: StateFormat | None = None,
    ) -> None:
        if not 0 <= momentum < 1:
            raise ValueError(f"momentum must be at least 0 and below 1, got {momentum}")
        super().__init__(parameters, weight_decay, state)
        self.momentum = momentum

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {"momentum": self.momentum} | super().settings

    def _move(self, place: int, parameter: Parameter, learning_rate: float) -> None:
        velocity = self._arrays["velocity"][place]
        velocity *= self.momentum
        velocity += parameter.gradient
        if self._decays(parameter):
            velocity += self.weight_decay * parameter.value
        parameter.value -= learning_rate * velocity


class Adam(Optimizer):
    """Adam: steps by the mean of gradients over the root of the mean of their squares.

    Parameters
    ----------
    parameters : sequence of Parameter
    betas : (float, float)
        How much of the two means is kept in each step, from 0 up to, not including, 1.
    epsilon : float
        Is added to the root.
    weight_decay : float
        Times the value is added to the gradient, for weights but not for biases.
    state : StateFormat, optional
        Of both means; by default they stay float32.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: A Method for Stochastic Optimization", arXiv 1412.6980.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> p = training.Parameter(np.ones(2, np.float32))
    >>> p.gradient = np.float32([100.0, -0.01])
    >>> training.Adam([p]).step(0.25)
    >>> p.value.round(3)
    array([0.75, 1.25], dtype=float32)
    """

    _kept = ("mean", "square")
    _decoupled = False

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        state: StateFormat | None = None,
    ) -> None:
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be two numbers, at least 0 and below 1, got {betas}")
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
        super().__init__(parameters, weight_decay, state)
        self.betas = (betas[0], betas[1])
        self.epsilon = epsilon

    @property
    def settings(self) -> dict[str, Any]:
        """The hyperparameters by name."""
        return {"betas": self.betas, "epsilon": self.epsilon} | super().settings

    def _move(self, place: int, parameter: Parameter, learning_rate: float) -> None:
        first, second = self.betas
        mean, square = (self._arrays[name][place] for name in self._kept)
        gradient = parameter.gradient
        if self._decays(parameter):
            if self._decoupled:
                parameter.value *= 1 - learning_rate * self.weight_decay
            else:
                gradient = gradient + self.weight_decay * parameter.value
        mean *= first
        mean += (1 - first) * gradient
        square *= second
        square += (1 - second) * (gradient * gradient)
        # both start from zero: what is missing is made up for
        root = np.sqrt(square)
        root /= math.sqrt(1 - second**self.steps)
        root += self.epsilon
        parameter.value -= learning_rate / (1 - first**self.steps) * (mean / root)


class AdamW(Adam):
    """Adam whose weight decay acts on the values themselves: ``value *= 1 - rate * weight_decay``.

    Parameters
    ----------
    parameters, betas, epsilon, weight_decay, state
        As for `Adam`.

    References
    ----------
    I. Loshchilov, F. Hutter, "Decoupled Weight Decay Regularization", arXiv 1711.05101.
    """

    _decoupled = True

    def __init__(
        self,
        parameters: Sequence[Parameter],
        betas: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
        weight_decay: float = 0.01,
        *,
        state: StateFormat | None = None,
    ) -> None:
        super().__init__(parameters, betas, epsilon, weight_decay, state=state)


def clip_gradients(parameters: Sequence[Parameter], max_norm: float) -> float:
    """Scale all gradients down together so that their norm is at most `max_norm`.

    Parameters
    ----------
    parameters : sequence of Parameter
    max_norm : float
        Positive.

    Returns
    -------
    float
        The Euclidean norm of all gradients together, before.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> p = training.Parameter(np.zeros(2, np.float32))
    >>> p.gradient = np.float32([3.0, 4.0])
    >>> training.clip_gradients([p], 1.0), p.gradient
    (5.0, array([0.6, 0.8], dtype=float32))
    """
    if not 0 < max_norm < math.inf:
        raise ValueError(f"max_norm must be positive and finite, got {max_norm}")
    squares = (np.square(p.gradient, dtype=np.float64).sum() for p in parameters)
    norm = math.sqrt(sum(squares))
    if norm > max_norm:
        for parameter in parameters:
            parameter.gradient = parameter.gradient * parameter.value.dtype.type(max_norm / norm)
    return norm


@dataclass(frozen=True)
class LossScale:
    """What the loss is multiplied by, so that small gradients do not vanish in narrow formats.

    Gradients are divided by it again before anything else is done with them.  A step whose
    gradients are not all finite is left out.

    Parameters
    ----------
    initial : float
        At the start; powers of two change no bits of float32.
    interval : int or None
        After so many steps without overflow the scale is multiplied by `growth`; None keeps it.
    growth : float
        At least 1.
    backoff : float
        After an overflow the scale is multiplied by this, above 0 and at most 1, unless `interval`
        is None.

    References
    ----------
    P. Micikevicius et al., "Mixed Precision Training", arXiv 1710.03740.

    Examples
    --------
    >>> from fmtlib import training
    >>> scale = training.LossScale(initial=1024.0, interval=2)
    >>> scale.after(1024.0, steps=2, overflow=False), scale.after(1024.0, steps=0, overflow=True)
    (2048.0, 512.0)
    """

    initial: float = 2.0**16
    interval: int | None = 2000
    growth: float = 2.0
    backoff: float = 0.5

    def __post_init__(self) -> None:
        if self.interval is not None:
            whole_number("interval", self.interval, 1)
        for name, good, allowed in (
            ("initial", 0 < self.initial <= _GREATEST_SCALE, "positive and at most 2**127"),
            ("growth", 1 <= self.growth < math.inf, "at least 1 and finite"),
            ("backoff", 0 < self.backoff <= 1, "above 0 and at most 1"),
        ):
            if not good:
                raise ValueError(f"{name} must be {allowed}, got {getattr(self, name)}")

    def after(self, scale: float, steps: int, overflow: bool) -> float:
        """The next scale, after a step that is the last of so many without overflow."""
        if self.interval is None:
            return scale
        if overflow:
            return scale * self.backoff
        grown = scale * self.growth
        return grown if steps % self.interval == 0 and grown <= _GREATEST_SCALE else scale
