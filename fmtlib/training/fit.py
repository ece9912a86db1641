"""Training: `fit` and its result."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.progress import check_progress, reporting
from fmtlib.training.datasets import Dataset, Part
from fmtlib.training.layers import softmax_cross_entropy
from fmtlib.training.network import Network
from fmtlib.training.optimizers import SGD, cosine
from fmtlib.training.recipes import Decisions, Float32, Recipe, Run

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
    test_accuracy : float or None
        After the last epoch, from 0 to 1; None if the test part is empty.  Like that of validation
        it comes from the recipe's own quantised forward pass.
    macs : int
        Multiplications of training, in all three products of every layer.
    passes_per_mac : float or None
        See `Run.passes_per_mac`.
    decisions : Decisions
        Mantissa width of every tensor in every iteration; empty for recipes without block formats.
    seconds : float
        Wall time.
    """

    recipe: Recipe
    train_loss: tuple[float, ...]
    train_accuracy: tuple[float, ...]
    validation_loss: tuple[float, ...]
    validation_accuracy: tuple[float, ...]
    test_accuracy: float | None
    macs: int
    passes_per_mac: float | None
    decisions: Decisions
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
    seed: int = 0,
    progress: Callable[[Progress], object] | bool | None = None,
) -> Result:
    """Train a network, in place, and measure it.

    Stochastic gradient descent with momentum on float32 master weights; the learning rate falls to
    0 along half a cosine.  Everything random depends on the seeds alone: with the same
    network, data and arguments the result is the same bit for bit.

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
        At the start.  The default suits the perceptron on `digits`, by accuracy on validation data;
        0.1 suits `cnn`.
    momentum, weight_decay : float
        See `SGD`.
    seed : int
        Of the order of the samples and of stochastic rounding, from 0 to 2**64 - 1.
    progress : callable or bool, optional
        Called with a `Progress` after every step; True shows a bar on the standard error stream.

    Returns
    -------
    Result

    Raises
    ------
    TypeError, ValueError
        For arguments of the wrong kind or out of range.
    ImportError
        If ``progress=True`` and rich is missing.

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
    optimizer = SGD(network.parameters, momentum, weight_decay)
    began = time.perf_counter()
    train, validation = data.train, data.validation
    iterations = epochs * math.ceil(len(train) / batch_size)
    run = recipe.start(network.products, iterations, seed)
    run.store(network.parameters)
    generator = np.random.default_rng(seed)
    history: dict[str, list[float]] = {
        name: []
        for name in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy")
    }
    with reporting(progress, "training", _shown) as report:
        for _ in range(epochs):
            order = generator.permutation(len(train))
            loss = correct = 0.0
            for start in range(0, len(train), batch_size):
                rows = order[start : start + batch_size]
                x, y = train.x[rows], train.y[rows]
                logits = network.forward(x, run)
                batch_loss, gradient = softmax_cross_entropy(logits, y)
                network.backward(gradient, run)
                optimizer.step(cosine(learning_rate, run.iteration, iterations))
                run.store(network.parameters)
                run.advance()
                loss += batch_loss * len(rows)
                correct += float((logits.argmax(axis=1) == y).sum())
                accuracies = history["validation_accuracy"]
                report(
                    Progress(
                        run.iteration,
                        iterations,
                        batch_loss,
                        accuracies[-1] if accuracies else None,
                    )
                )
            history["train_loss"].append(loss / len(train))
            history["train_accuracy"].append(correct / len(train))
            if len(validation):
                loss, accuracy = evaluate(network, validation, run)
                history["validation_loss"].append(loss)
                history["validation_accuracy"].append(accuracy)
    return Result(
        recipe=recipe,
        **{name: tuple(values) for name, values in history.items()},
        test_accuracy=evaluate(network, data.test, run)[1] if len(data.test) else None,
        macs=run.macs,
        passes_per_mac=run.passes_per_mac,
        decisions=run.decisions,
        seconds=time.perf_counter() - began,
    )


def evaluate(network: Network, part: Part, run: Run | None = None) -> tuple[float, float]:
    """Loss and accuracy of a network, leaving `run` as it is.

    Parameters
    ----------
    network : Network
    part : Part
        Not empty.
    run : Run, optional
        Of the training so far; its recipe computes the products.  By default `Float32`.

    Returns
    -------
    loss, accuracy : float
    """
    logits = network.logits(part.x, None if run is None else run.evaluation())
    loss, _ = softmax_cross_entropy(logits, part.y)
    return loss, float((logits.argmax(axis=1) == part.y).mean())


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
