"""A training said in words: what `fmtlib train` and sweeps run."""

from __future__ import annotations

import contextlib
import inspect
import math
import os
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.choices import choose, parameters_of, split_choice
from fmtlib.parallel import one_blas_thread
from fmtlib.training import datasets, optimizers, recipes
from fmtlib.training.builders import cnn, mlp, recurrent, resnet, transformer
from fmtlib.training.checkpoints import load_checkpoint
from fmtlib.training.datasets import Dataset, Text
from fmtlib.training.fit import Progress, Result, fit
from fmtlib.training.network import Network
from fmtlib.training.optimizers import Adam, LossScale, Optimizer, StateFormat
from fmtlib.training.recipes import Recipe
from fmtlib.training.schedules import Schedule, Steps, Warmup, constant, cosine

Table = Mapping[str, Callable[..., Any]]


def _text(
    path: str | None = None,
    length: int = 64,
    characters: int | None = None,
    test: float = 0.1,
    validation: float = 0.1,
) -> Text:
    """`datasets.text` of a file."""
    source = None if path is None else Path(str(path)).read_text(encoding="utf-8")
    return datasets.text(
        source, length, characters=characters, test=test, validation=validation
    )  # fmt: skip


def _classes(module: Any, base: type) -> Iterator[type]:
    """The classes of a module on a base that are no bases of others there."""
    found = [
        item
        for item in vars(module).values()
        if isinstance(item, type) and issubclass(item, base) and not inspect.isabstract(item)
    ]
    for cls in found:
        derived = [other for other in found if other is not cls and issubclass(other, cls)]
        if not derived or base is Optimizer:
            yield cls


# What data tell a network, and texts cannot.
_OF_DATA = ("inputs", "image", "vocabulary", "classes", "length", "kind")

DATASETS: Table = {
    "digits": datasets.digits, "mnist": datasets.mnist, "fashion_mnist": datasets.fashion_mnist,
    "mnist1d": datasets.mnist1d, "text": _text,
}  # fmt: skip
NETWORKS: Table = {
    "mlp": partial(mlp, hidden=(128, 128)), "cnn": cnn, "resnet": resnet,
    "lstm": partial(recurrent, kind="lstm"), "gru": partial(recurrent, kind="gru"),
    "transformer": transformer,
}  # fmt: skip
#: Name → class, or the method that makes one of a trained network.
RECIPES: Table = {
    cls.__name__.lower(): getattr(cls, "calibrate", cls) for cls in _classes(recipes, Recipe)
}
OPTIMIZERS: Table = {cls.__name__.lower(): cls for cls in _classes(optimizers, Optimizer)}
SCHEDULES: Table = {
    "cosine": lambda: cosine, "constant": lambda: constant, "steps": Steps, "warmup": Warmup,
}  # fmt: skip
LOSS_SCALES: Table = {"dynamic": LossScale, "constant": partial(LossScale, interval=None)}

# Arguments of functions that texts do not set, by the table.
HIDDEN: dict[str, tuple[str, ...]] = {
    "data set": (), "network": _OF_DATA, "recipe": ("network", "samples"),
    "optimizer": ("parameters",), "schedule": (), "loss scale": (),
}  # fmt: skip
TABLES: dict[str, Table] = {
    "data set": DATASETS, "network": NETWORKS, "recipe": RECIPES, "optimizer": OPTIMIZERS,
    "schedule": SCHEDULES, "loss scale": LOSS_SCALES,
}  # fmt: skip


def parse_recipe(text: str) -> Recipe:
    """A recipe by its name, in lower case, with parameters after colons.

    Parameters
    ----------
    text : str
        Such as "fast:alpha=0.35:beta=0.15"; a recipe in another stands in parentheses,
        "nm:kept=1:group=4:recipe=(bfp:mantissa_bits=4)".  A class of your own is named by where it
        is, "my_recipes.Narrow", and imported; the module may be in the working folder.

    Raises
    ------
    TypeError, ValueError
        If the name, a parameter or its value is none, or a class of your own no `Recipe`; if the
        recipe needs a trained network.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.parse_recipe("bfp:mantissa_bits=2").mantissa_bits
    2
    """
    chosen = _chosen("recipe", text)
    if _calibrated(chosen):
        name = split_choice(text)[0]
        raise ValueError(f"{name} is calibrated on a trained network: give its --weights")
    recipe: Recipe = _made(text, chosen)
    return recipe


def _calibrated(chosen: partial[Any]) -> bool:
    return "samples" in inspect.signature(chosen.func).parameters


def _state(text: str) -> StateFormat:
    name, _, _ = text.partition(":")
    table = {name: partial(StateFormat, name)}
    state: StateFormat = _made(text, choose("state", text, table))
    return state


def _chosen(what: str, text: str) -> partial[Any]:
    readers = {"recipe": parse_recipe, "then": _schedule, "state": _state}
    base = Recipe if what == "recipe" else None
    return choose(what, text, TABLES[what], hidden=HIDDEN[what], readers=readers, base=base)


def _made(text: str, chosen: Callable[..., Any], *arguments: Any, **more: Any) -> Any:
    """What a choice makes; what is wrong with it is said with its text."""
    try:
        return chosen(*arguments, **more)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{text}: {error}") from error


def _schedule(text: str) -> Schedule:
    schedule: Schedule = _made(text, _chosen("schedule", text))
    return schedule


def _loss_scale(given: str | float) -> LossScale:
    """The scale of a text; a number alone is a constant one."""
    text = str(given)
    with contextlib.suppress(ValueError):
        text = f"constant:initial={float(given)}"
    scale: LossScale = _made(text, _chosen("loss scale", text))
    return scale


class Trained(NamedTuple):
    """What a training leaves.

    Attributes
    ----------
    network : Network
        With its last weights.
    data : Dataset
    result : Result

    Examples
    --------
    >>> from fmtlib import training
    >>> network, data, result = training.Setup(network="mlp:hidden=32", epochs=3).trained()
    >>> network.predict(data.test.x).shape
    (450,)
    """

    network: Network
    data: Dataset
    result: Result


@dataclass(frozen=True, kw_only=True)
class Setup:
    """A training: all that its result depends on, in names and numbers.

    Parameters
    ----------
    data : str or callable
        A data set: a name with parameters after colons, "text:length=32"; or a function of a
        module, from a seed to a `Dataset`.
    network : str or callable
        The same, "mlp:hidden=64,64"; or a function from a `Dataset` and a seed to a `Network`.
    recipe : str or Recipe
        See `parse_recipe`.
    epochs, batch_size : int
    learning_rate : float, optional
        At its peak; by default 0.002 for Adam and AdamW, else 0.1.
    optimizer, schedule : str
        "sgd:momentum=0.9", "adamw:weight_decay=0.01", ...; "cosine", "constant",
        "steps:at=0.5,0.75:factor=0.1", "warmup:steps=100:then=cosine".
    clip_norm : float, optional
    loss_scale : str or float, optional
        "dynamic:initial=1024" or "constant:initial=1024", see `LossScale`; 1024 is the latter.
    seed : int
        Of the split of the data, the initial weights, and all that `fit` draws.

    Raises
    ------
    TypeError, ValueError
        If a name, a parameter or a number is none.

    Examples
    --------
    >>> from fmtlib import training
    >>> setup = training.Setup(data="digits", network="mlp:hidden=32", recipe="bfp", epochs=3)
    >>> setup.train().test_accuracy > 0.8
    True
    """

    data: str | Callable[[int], Dataset] = "digits"
    network: str | Callable[[Dataset, int], Network] = "mlp"
    recipe: str | Recipe = "float32"
    epochs: int = 15
    batch_size: int = 64
    learning_rate: float | None = None
    optimizer: str = "sgd"
    schedule: str = "cosine"
    clip_norm: float | None = None
    loss_scale: str | float | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("epochs", 1, None), ("batch_size", 1, None), ("seed", 0, 2**64 - 1),
        ):  # fmt: skip
            whole_number(name, getattr(self, name), low, high)
        for name in ("learning_rate", "clip_norm"):
            value = getattr(self, name)
            if value is not None and not 0 < value < math.inf:
                raise ValueError(f"{name} must be positive and finite, got {value}")
        if not callable(self.data):
            _chosen("data set", self.data)
        if not callable(self.network):
            _chosen("network", self.network)
        if not isinstance(self.recipe, Recipe) and not self.needs_weights:
            parse_recipe(self.recipe)
        optimizer = _chosen("optimizer", self.optimizer)
        _made(self.optimizer, optimizer, [])
        _schedule(self.schedule)
        if self.loss_scale is not None:
            _loss_scale(self.loss_scale)
        if self.learning_rate is None:
            rate = 0.002 if issubclass(optimizer.func, Adam) else 0.1  # type: ignore[arg-type]
            object.__setattr__(self, "learning_rate", rate)

    @property
    def needs_weights(self) -> bool:
        """Whether the recipe is calibrated on a trained network, see `train`."""
        return not isinstance(self.recipe, Recipe) and _calibrated(_chosen("recipe", self.recipe))

    def described(self) -> dict[str, Any]:
        """The parameters by name, as texts, numbers and None: functions and recipes by theirs."""
        found = {field.name: getattr(self, field.name) for field in fields(self)}
        for name, value in found.items():
            if callable(value):
                found[name] = f"{value.__module__}.{value.__qualname__}"
            elif isinstance(value, Recipe):
                found[name] = repr(value)
        return found

    def load(self) -> Dataset:
        """The data."""
        if callable(self.data):
            return self.data(self.seed)
        chosen = _chosen("data set", self.data)
        seeded = "seed" in parameters_of(chosen.func) and "seed" not in chosen.keywords
        data: Dataset = _made(self.data, chosen, **({"seed": self.seed} if seeded else {}))
        return data

    def build(self, data: Dataset) -> Network:
        """The network with its initial weights."""
        if callable(self.network):
            return self.network(data, self.seed)
        chosen = _chosen("network", self.network)
        known = inspect.signature(chosen.func).parameters
        about = _about(split_choice(self.network)[0], data, known)
        more = {"seed": self.seed, **about, **chosen.keywords}
        network: Network = _made(self.network, partial(chosen.func, **more))
        return network

    def train(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        progress: Callable[[Progress], object] | bool | None = None,
    ) -> Result:
        """Load the data, build the network and train it, BLAS on one thread.

        Parameters
        ----------
        weights : path, optional
            A checkpoint of a network of the same kind, from whose weights training begins; recipes
            that are calibrated need one.
        checkpoint, checkpoint_every, resume, progress
            As of `fit`.

        Returns
        -------
        Result
            Whose `stopped` says if training ended early; there is no warning.

        Raises
        ------
        ImportError
            If threadpoolctl, or what the data come from, is missing.
        OSError, TypeError, ValueError
            As of `fit`; if network and data do not fit together.
        """
        return self.trained(
            weights=weights, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
            resume=resume, progress=progress,
        ).result  # fmt: skip

    def trained(
        self,
        *,
        weights: str | os.PathLike[str] | None = None,
        checkpoint: str | os.PathLike[str] | None = None,
        checkpoint_every: int | None = None,
        resume: bool = False,
        progress: Callable[[Progress], object] | bool | None = None,
    ) -> Trained:
        """The same as `train`, with the network and the data."""
        with one_blas_thread(extra="train"), np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            data = self.load()
            network = self.build(data)
            if weights is not None:
                _take_weights(network, weights)
            optimizer = _made(
                self.optimizer, _chosen("optimizer", self.optimizer), network.parameters
            )
            scale = self.loss_scale
            assert self.learning_rate is not None
            result = fit(
                network, data,
                recipe=self._recipe(network, data, weights is not None),
                epochs=self.epochs, batch_size=self.batch_size, learning_rate=self.learning_rate,
                optimizer=optimizer, schedule=_schedule(self.schedule), clip_norm=self.clip_norm,
                loss_scale=None if scale is None else _loss_scale(scale),
                seed=self.seed, checkpoint=checkpoint, checkpoint_every=checkpoint_every,
                resume=resume, progress=progress,
            )  # fmt: skip
            return Trained(network, data, result)

    def _recipe(self, network: Network, data: Dataset, trained: bool) -> Recipe:
        if isinstance(self.recipe, Recipe):
            return self.recipe
        chosen = _chosen("recipe", self.recipe)
        if not _calibrated(chosen) or not trained:
            return parse_recipe(self.recipe)
        recipe: Recipe = _made(self.recipe, chosen, network, data.train.x)
        return recipe


def _about(name: str, data: Dataset, known: Mapping[str, Any]) -> dict[str, Any]:
    """What a network's function has to know of the data."""
    shape = data.train.x.shape[1:]
    if "vocabulary" in known:
        if not isinstance(data, Text):
            raise ValueError(f"{name} takes text; the samples have shape {shape}")
        length = {"length": shape[0]} if "length" in known else {}
        return {"vocabulary": len(data.vocabulary), **length}
    if isinstance(data, Text):
        raise ValueError(f"{name} takes no text; lstm, gru and transformer do")
    classes = 1 + max(int(part.y.max(initial=0)) for part in (data.train, data.validation))
    if "image" not in known:
        return {"inputs": math.prod(shape), "classes": classes}
    if len(shape) != 3:
        raise ValueError(f"{name} takes images; the samples have shape {shape}")
    return {"image": shape, "classes": classes}


def _take_weights(network: Network, path: str | os.PathLike[str]) -> None:
    arrays, _ = load_checkpoint(path)
    prefix = "network."
    own = {k.removeprefix(prefix): a for k, a in arrays.items() if k.startswith(prefix)}
    try:
        network.restore(own)
    except ValueError as error:
        raise ValueError(f"{Path(path)} has weights of another network: {error}") from None
