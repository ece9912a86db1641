"""What training changes: by a step, at the end of an epoch, through a checkpoint."""

from __future__ import annotations

import math
import os
import zlib
from collections.abc import Callable, Mapping
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.checkpoints import load_checkpoint, save_checkpoint
from fmtlib.training.datasets import Dataset, Part
from fmtlib.training.layers import Floats, softmax_cross_entropy
from fmtlib.training.network import Network
from fmtlib.training.optimizers import LossScale, Optimizer, clip_gradients
from fmtlib.training.recipes import Run

# From outputs and labels to the loss and its gradient for the outputs.
Loss: TypeAlias = Callable[[Floats, NDArray[Any]], tuple[float, Floats]]

CURVES = ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
HISTORY = (*CURVES, "passes")
_NUMBERS = ("scale", "last_loss", "loss_sum", "correct", "good_steps", "skipped")


def evaluate(
    network: Network, part: Part, run: Run | None = None, *, loss: Loss = softmax_cross_entropy
) -> tuple[float, float]:
    """Loss and accuracy of a network, leaving `run` as it is.

    Parameters
    ----------
    network : Network
    part : Part
        Not empty.
    run : Run, optional
        Of the training so far; its recipe computes the products.  By default `Float32`.
    loss : callable
        As for `fit`.

    Returns
    -------
    loss, accuracy : float
        The latter is NaN if the labels are no integers.

    Examples
    --------
    >>> from fmtlib import training
    >>> data, network = training.digits(), training.mlp(64, [], 10)
    >>> _ = training.fit(network, data, epochs=2)
    >>> loss, accuracy = training.evaluate(network, data.test)
    >>> accuracy > 0.8
    True
    """
    outputs = network.logits(part.x, None if run is None else run.evaluation())
    value, _ = loss(outputs, part.y)
    return value, _right(outputs, part.y, np.mean)


class TrainingState:
    """All that training changes: what a checkpoint has to hold."""

    def __init__(self, network: Network, optimizer: Optimizer, run: Run, scale: float) -> None:
        self.network, self.optimizer, self.run = network, optimizer, run
        self.history: dict[str, list[float]] = {name: [] for name in HISTORY}
        self.scale = scale
        self.last_loss = math.nan
        # sums over the epoch so far, steps since the last overflow, seconds before a resumption
        self.loss_sum, self.correct = 0.0, 0.0
        self.good_steps = self.skipped = 0
        self.seconds = 0.0

    def step(
        self,
        x: NDArray[Any],
        y: NDArray[Any],
        learning_rate: float,
        loss: Loss,
        clip_norm: float | None,
        loss_scale: LossScale | None,
    ) -> str | None:
        """One step of training; or what is not finite: then the parameters have not changed."""
        run, parameters = self.run, self.network.parameters
        outputs = self.network.forward(x, run)
        value, gradient = loss(outputs, y)
        value = float(value)
        where = f"at step {run.iteration} of {run.iterations}: training stopped"
        if not math.isfinite(value):
            return f"the loss is {value} {where}; try a lower learning rate or a wider format"
        if loss_scale is not None:
            gradient = gradient * gradient.dtype.type(self.scale)
        self.network.backward(gradient, run)
        overflow = not all(np.isfinite(p.gradient).all() for p in parameters)
        if overflow and loss_scale is None:
            names = [
                name
                for name, p in self.network.named_parameters.items()
                if not np.isfinite(p.gradient).all()
            ]
            return (
                f"the gradient of {names[-1]} is not finite {where}; try clip_norm, a lower "
                "learning rate, a wider format or a loss_scale"
            )
        if loss_scale is not None:
            self._unscale(overflow, loss_scale)
            if not self.scale > np.finfo(np.float32).tiny:
                return f"the loss scale fell to {self.scale} {where}; gradients overflow at any"
        if not overflow:
            if clip_norm is not None:
                clip_gradients(parameters, clip_norm)
            self.optimizer.step(learning_rate)
            run.store(parameters)
        run.advance()
        self.last_loss = value
        self.loss_sum += value * len(x)
        if y.dtype.kind in "iu":
            self.correct += _right(outputs, y, np.sum)
        return None

    def _unscale(self, overflow: bool, loss_scale: LossScale) -> None:
        """Divide the gradients by the scale, and choose the next one."""
        if not overflow:
            for parameter in self.network.parameters:
                factor = parameter.value.dtype.type(1 / self.scale)
                parameter.gradient = parameter.gradient * factor
        self.skipped += overflow
        self.good_steps = 0 if overflow else self.good_steps + 1
        self.scale = loss_scale.after(self.scale, self.good_steps, overflow)

    def end_epoch(self, data: Dataset, loss: Loss) -> None:
        """Put down what an epoch gave."""
        self.history["train_loss"].append(self.loss_sum / len(data.train))
        if of_classes(data.train):
            self.history["train_accuracy"].append(self.correct / data.train.y.size)
        self.loss_sum = self.correct = 0.0
        if self.run.passes is not None:
            self.history["passes"].append(float(self.run.passes))
        if len(data.validation):
            value, accuracy = evaluate(self.network, data.validation, self.run, loss=loss)
            self.history["validation_loss"].append(value)
            if of_classes(data.validation):
                self.history["validation_accuracy"].append(accuracy)

    def save(self, path: str | os.PathLike[str], settings: dict[str, str], seconds: float) -> None:
        """Write a checkpoint."""
        arrays = {
            **_prefixed("network", self.network.state()),
            **_prefixed("optimizer", self.optimizer.state()),
            **_prefixed("run", self.run.state()),
            **{f"history.{name}": np.array(values) for name, values in self.history.items()},
        }
        record = {
            "settings": settings,
            "seconds": self.seconds + seconds,
            **{name: getattr(self, name) for name in _NUMBERS},
        }
        save_checkpoint(path, arrays, record)

    def load(self, path: str | os.PathLike[str], settings: dict[str, str]) -> None:
        """Continue from a checkpoint of the same training.

        Raises
        ------
        ValueError
            If it is damaged, or of another training.
        """
        arrays, record = load_checkpoint(path)
        try:
            self._take(arrays, record, settings)
        except (AttributeError, LookupError, OverflowError, TypeError, ValueError) as error:
            raise ValueError(f"{Path(path)} is no checkpoint of this training: {error}") from None

    def _take(
        self,
        arrays: Mapping[str, NDArray[Any]],
        record: Mapping[str, Any],
        settings: dict[str, str],
    ) -> None:
        found = record["settings"]
        for name in sorted(settings.keys() | found.keys()):
            if found.get(name) != settings.get(name):
                raise ValueError(
                    f"{name} was {found.get(name)} there and is {settings.get(name)} here"
                )
        numbers = {name: record[name] for name in (*_NUMBERS, "seconds")}
        for name, value in numbers.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {value!r}")
        parts: dict[str, dict[str, NDArray[Any]]] = {
            kind: {} for kind in ("network", "optimizer", "run", "history")
        }
        for name, array in arrays.items():
            kind, _, rest = name.partition(".")
            parts[kind][rest] = array
        history = {name: parts["history"][name] for name in HISTORY}
        if any(values.ndim != 1 or values.dtype != np.float64 for values in history.values()):
            raise ValueError("history must be lists of float64")
        self.network.restore(parts["network"])
        self.optimizer.restore(parts["optimizer"])
        self.run.restore(parts["run"])
        if not 0 <= self.run.iteration <= self.run.iterations:
            raise ValueError(
                f"iteration must be from 0 to {self.run.iterations}, got {self.run.iteration}"
            )
        self.history = {name: values.tolist() for name, values in history.items()}
        for name, value in numbers.items():
            setattr(self, name, value)


def _prefixed(kind: str, arrays: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {f"{kind}.{name}": array for name, array in arrays.items()}


def of_classes(part: Part) -> bool:
    """Whether labels are integers, so that there is an accuracy."""
    return bool(part.y.dtype.kind in "iu")


def _right(outputs: Floats, y: NDArray[Any], how: Callable[[Any], Any]) -> float:
    """Sum or mean of the right answers; NaN where labels are no integers."""
    return float(how(outputs.argmax(axis=-1) == y)) if y.dtype.kind in "iu" else math.nan


def settings_of(
    data: Dataset, network: Network, optimizer: Optimizer, **arguments: Any
) -> dict[str, str]:
    """What has to be the same when training is resumed, as text."""
    described = {name: _described(value) for name, value in arguments.items()}
    described["optimizer"] = f"{type(optimizer).__name__}({optimizer.settings})"
    described["layers"] = ", ".join(type(layer).__name__ for layer in network.layers)
    checksum = 0
    for part in (data.train, data.validation, data.test):
        for array in (part.x, part.y):
            text = f"{array.dtype} {array.shape}".encode()
            checksum = zlib.crc32(np.ascontiguousarray(array).data, zlib.crc32(text, checksum))
    described["data"] = f"CRC-32 {checksum:08x}"
    return described


def _described(value: Any) -> str:
    """Text of an argument that is the same in another process."""
    if callable(value) and not is_dataclass(value):
        return str(getattr(value, "__qualname__", type(value).__qualname__))
    return repr(value)
