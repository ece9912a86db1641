"""Training: `fit` and its result."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.progress import check_progress, reporting
from fmtlib.training.datasets import Dataset
from fmtlib.training.layers import softmax_cross_entropy
from fmtlib.training.loop import Loss, TrainingState, evaluate, of_classes, settings_of
from fmtlib.training.network import Network
from fmtlib.training.optimizers import SGD, LossScale, Optimizer
from fmtlib.training.recipes import Decisions, Float32, Recipe
from fmtlib.training.schedules import Schedule, cosine

DEFAULT_RECIPE = Float32()


@dataclass(frozen=True)
class Progress:
    """How far training is, for a callback.

    Attributes
    ----------
    iteration, iterations : int
        Steps done, of how many.
    loss : float
        Training loss of the last batch.
    validation_accuracy : float or None
        At the end of the last epoch, from 0 to 1; None in the first, or without validation part.
    """

    iteration: int
    iterations: int
    loss: float
    validation_accuracy: float | None


@dataclass(frozen=True)
class Result:
    """What `fit` measured.  Two results are equal if everything but `seconds` is.

    Attributes
    ----------
    recipe : Recipe
    train_loss, train_accuracy : tuple of float
        One per epoch: means over its batches, each before the step that it causes.
    validation_loss, validation_accuracy : tuple of float
        One per epoch, after it; empty without validation part.
    passes : tuple of float
        Passes of an fMAC from the beginning to the end of each epoch; empty for recipes without
        block formats.
    test_loss, test_accuracy : float or None
        After the last epoch, the latter from 0 to 1; None if the test part is empty.  Like those of
        validation they come from the recipe's own quantised forward pass.
    macs : int
        Multiplications of training, in all three products of every layer.
    effectual_macs : int
        Those that the recipe's hardware does, see `Run`.
    passes_per_mac : float or None
        See `Run.passes_per_mac`.
    decisions : Decisions
        Mantissa width of every tensor in every iteration; empty for recipes without block formats.
    skipped_steps : int
        Steps left out because gradients had overflown, see `LossScale`.
    stopped : str or None
        Why training ended before its last step: what was not finite, and when.
    seconds : float
        Wall time.

    Notes
    -----
    Accuracies are of places in sequences where samples are sequences, and None or empty where the
    labels are no integers.
    """

    recipe: Recipe
    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    passes: tuple[float, ...]
    test_loss: float | None
    test_accuracy: float | None
    macs: int
    effectual_macs: int
    passes_per_mac: float | None
    decisions: Decisions
    skipped_steps: int
    stopped: str | None
    seconds: float = field(compare=False)


def fit(
    network: Network,
    data: Dataset,
    *,
    recipe: Recipe = DEFAULT_RECIPE,
    epochs: int = 15,
    batch_size: int = 64,
    learning_rate: float = 0.15,
    momentum: float = 0.9,
    weight_decay: float = 0.0,
    optimizer: Optimizer | None = None,
    schedule: Schedule = cosine,
    loss: Loss = softmax_cross_entropy,
    clip_norm: float | None = None,
    loss_scale: LossScale | None = None,
    seed: int = 0,
    checkpoint: str | os.PathLike[str] | None = None,
    checkpoint_every: int | None = None,
    resume: bool = False,
    progress: Callable[[Progress], object] | bool | None = None,
) -> Result:
    """Train a network, in place, and measure it.

    By default by stochastic gradient descent with momentum on float32 master weights, at a learning
    rate that falls to 0 along half a cosine.  Everything random depends on the seeds alone: with
    the same network, data and arguments the result is the same bit for bit, also of a training that
    was interrupted and resumed.

    Training stops before its end, with a RuntimeWarning and ``Result.stopped``, when the loss is
    not finite, or gradients are not and no `loss_scale` says to leave the step out.

    Parameters
    ----------
    network : Network
        Continues from its current weights.
    data : Dataset
    recipe : Recipe
        Which formats the products of training and evaluation take; `Float32` by default.
    epochs : int
    batch_size : int
        The last batch of an epoch has the samples that are left.
    learning_rate : float
        At its peak.  The default suits SGD and the perceptron on `digits`, by accuracy on
        validation data; 0.1 suits `cnn`, and 0.001 to 0.003 `Adam`.
    momentum, weight_decay : float
        Of the default optimiser, see `SGD`.
    optimizer : Optimizer, optional
        Another one, of this network's parameters; it continues from its current state.
    schedule : callable
        From peak, step and steps to the learning rate: `cosine`, `constant`, `Steps`, `Warmup`.
    loss : callable
        `softmax_cross_entropy`, `mean_squared_error`, or another like them.
    clip_norm : float, optional
        See `clip_gradients`.
    loss_scale : LossScale, optional
    seed : int
        Of the order of the samples, of stochastic rounding and of dropout, from 0 to 2**64 - 1.
    checkpoint : path, optional
        A file, ``.safetensors`` (extra ``files``) or ``.npz``, that gets all that is needed to
        continue, at the start and at the end of every epoch; it is replaced whole or not at all.
    checkpoint_every : int, optional
        Write it after so many steps, too.
    resume : bool
        Continue from the checkpoint, if the file exists.
    progress : callable or bool, optional
        Called with a `Progress` after every step; True shows a bar on the standard error stream.

    Returns
    -------
    Result

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range; for a checkpoint that is damaged, or of
        another training.
    ImportError
        If ``progress=True`` and rich is missing, or a checkpoint is safetensors, which is missing.

    Examples
    --------
    >>> from fmtlib import training
    >>> result = training.fit(
    ...     training.mlp(64, 32, 10), training.digits(), recipe=training.BFP(4), epochs=3
    ... )
    >>> result.test_accuracy > 0.8, result.passes_per_mac
    (True, 4.0)
    """
    _check(network, data, recipe, epochs, batch_size, learning_rate, seed, progress)
    if optimizer is None:
        optimizer = SGD(network.parameters, momentum, weight_decay)
    else:
        _check_optimizer(optimizer, network, momentum, weight_decay)
    for name, value in (("schedule", schedule), ("loss", loss)):
        if not callable(value):
            raise TypeError(f"{name} must be callable, got {value!r}")
    if loss_scale is not None and not isinstance(loss_scale, LossScale):
        raise TypeError(
            f"loss_scale must be a LossScale or None, got {loss_scale!r}; "
            "LossScale(initial=1024, interval=None) stays 1024"
        )
    if clip_norm is not None and not 0 < clip_norm < math.inf:
        raise ValueError(f"clip_norm must be positive and finite, got {clip_norm}")
    if checkpoint is None and (resume or checkpoint_every is not None):
        raise ValueError("resume and checkpoint_every need a checkpoint")
    if checkpoint_every is not None:
        whole_number("checkpoint_every", checkpoint_every, 1)
    began = time.perf_counter()
    train = data.train
    batches = math.ceil(len(train) / batch_size)
    run = recipe.start(network.products, epochs * batches, seed)
    state = TrainingState(network, optimizer, run, loss_scale.initial if loss_scale else 1.0)
    settings: dict[str, str] = {}
    if checkpoint is not None:
        settings = settings_of(
            data, network, optimizer,
            recipe=recipe, epochs=epochs, batch_size=batch_size, learning_rate=learning_rate,
            schedule=schedule, loss=loss, clip_norm=clip_norm, loss_scale=loss_scale, seed=seed,
        )  # fmt: skip
    if checkpoint is not None and resume and Path(checkpoint).exists():
        state.load(checkpoint, settings)
    else:
        run.store(network.parameters)
        if checkpoint is not None:  # a path that cannot be written to is told of now
            state.save(checkpoint, settings, 0.0)
    stopped = None
    order_of = np.random.default_rng(seed)
    with reporting(progress, "training", _shown) as report:
        for epoch in range(epochs):
            order = order_of.permutation(len(train))
            for batch in range(max(0, run.iteration - epoch * batches), batches):
                rows = order[batch * batch_size : (batch + 1) * batch_size]
                rate = schedule(learning_rate, run.iteration, run.iterations)
                stopped = state.step(
                    train.x[rows], train.y[rows], rate, loss, clip_norm, loss_scale
                )
                if stopped is not None:
                    break
                accuracies = state.history["validation_accuracy"]
                report(
                    Progress(
                        run.iteration,
                        run.iterations,
                        state.last_loss,
                        accuracies[-1] if accuracies else None,
                    )
                )
                ended = batch + 1 == batches
                if ended:
                    state.end_epoch(data, loss)
                due = checkpoint_every is not None and run.iteration % checkpoint_every == 0
                if checkpoint is not None and (ended or due):
                    state.save(checkpoint, settings, time.perf_counter() - began)
            if stopped is not None:
                warnings.warn(stopped, RuntimeWarning, stacklevel=2)
                break
    test_loss = test_accuracy = None
    if len(data.test):
        test_loss, accuracy = evaluate(network, data.test, run, loss=loss)
        test_accuracy = accuracy if of_classes(data.test) else None
    return Result(
        recipe=recipe,
        **{name: tuple(values) for name, values in state.history.items()},
        test_loss=test_loss,
        test_accuracy=test_accuracy,
        macs=run.macs,
        effectual_macs=run.effectual_macs,
        passes_per_mac=run.passes_per_mac,
        decisions=run.decisions,
        skipped_steps=state.skipped,
        stopped=stopped,
        seconds=state.seconds + time.perf_counter() - began,
    )


def _check_optimizer(
    optimizer: object, network: Network, momentum: float, weight_decay: float
) -> None:
    if not isinstance(optimizer, Optimizer):
        hint = "; make one by calling it" if isinstance(optimizer, type) else ""
        raise TypeError(f"optimizer must be an Optimizer or None, got {optimizer!r}{hint}")
    if list(map(id, optimizer.parameters)) != list(map(id, network.parameters)):
        raise ValueError("optimizer must be of the network's parameters, all of them in order")
    if (momentum, weight_decay) != (0.9, 0.0):
        raise ValueError(
            "momentum and weight_decay are of the default optimizer: give yours its own"
        )


def _check(
    network: object,
    data: object,
    recipe: object,
    epochs: object,
    batch_size: object,
    learning_rate: float,
    seed: object,
    progress: object,
) -> None:
    for name, value, kind in (
        ("network", network, Network),
        ("data", data, Dataset),
        ("recipe", recipe, Recipe),
    ):
        if not isinstance(value, kind):
            hint = "; make one by calling it" if isinstance(value, type) else ""
            if kind is Recipe and isinstance(value, str):
                hint = f"; training.parse_recipe({value!r}) makes one of a name"
            raise TypeError(f"{name} must be a {kind.__name__}, got {value!r}{hint}")
    whole_number("epochs", epochs, 1)
    whole_number("batch_size", batch_size, 1)
    whole_number("seed", seed, 0, 2**64 - 1)
    if not 0 < learning_rate < math.inf:
        raise ValueError(f"learning_rate must be positive and finite, got {learning_rate}")
    check_progress(progress)
    assert isinstance(data, Dataset)
    if not len(data.train):
        raise ValueError("the training part of the data is empty")


def _shown(at: Progress) -> dict[str, Any]:
    """What a progress bar says."""
    accuracy = at.validation_accuracy
    shown = "" if accuracy is None else f", validation {accuracy:.1%}"
    return {
        "completed": at.iteration,
        "total": at.iterations,
        "description": f"loss {at.loss:.3f}{shown}",
    }
