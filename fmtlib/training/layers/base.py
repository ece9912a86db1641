"""What all layers have in common: parameters, layers inside layers, and where the products are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run

Floats: TypeAlias = NDArray[np.floating[Any]]


@dataclass(eq=False)
class Parameter:
    """A trained array, in full precision, and the gradient of the loss with respect to it.

    Attributes
    ----------
    value : ndarray of float32
    gradient : ndarray of float32
        Of the same shape; set by the backward pass.
    """

    value: Floats
    gradient: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.gradient = np.zeros_like(self.value)


class Layer(ABC):
    """One step of a network.

    A layer keeps what its backward pass needs from its last forward pass.  Whether that pass is
    part of training, or of an evaluation, is what ``run.training`` says.

    Attributes
    ----------
    products : int
        Matrix products of its own (those of layers inside it not counted): how many indices it
        takes of `Run.gemm`.
    index : int
        The first of them, set by the layer's `Network`.
    """

    products = 0
    index = 0

    @abstractmethod
    def forward(self, x: Any, run: Run) -> Floats:
        """Output of the layer for a batch `x`; the first axis counts its samples."""

    @abstractmethod
    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input.

        `gradient` is that of the loss for the output of the last `forward`.
        """

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the parameters' gradients only: the first layer of a network needs no more."""
        self.backward(gradient, run)

    @property
    def inner(self) -> dict[str, Layer]:
        """The layers inside this one, by name: its attributes that are layers."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Layer)}

    @property
    def parameters(self) -> dict[str, Parameter]:
        """The parameters of its own, by name: its attributes that are parameters."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Parameter)}

    @property
    def buffers(self) -> dict[str, NDArray[Any]]:
        """Arrays that are no parameters but belong to what was learnt; they change in place."""
        return {}

    def walk(self, name: str = "") -> Iterator[tuple[str, Layer]]:
        """All layers inside this one, then itself, with names joined by dots."""
        for inner, layer in self.inner.items():
            yield from layer.walk(f"{name}.{inner}" if name else inner)
        yield name, self


class WeightedLayer(Layer):
    """A layer with a weight and a bias, whose products a recipe may compute in any format.

    Attributes
    ----------
    weight : Parameter
    bias : Parameter or None
    index : int
        Place of the layer among the products of its `Network`, which sets it.
    last_input : ndarray or None
        What the last forward pass multiplied: images, or a row for each sample or place.
    """

    products = 1
    last_input: Floats | None = None

    def __init__(
        self,
        shape: tuple[int, ...],
        generator: np.random.Generator,
        bias: bool = True,
        spread: float | None = None,
    ) -> None:
        if spread is None:
            # He et al., "Delving deep into rectifiers" (arXiv 1502.01852): variance 2 / fan-in.
            spread = np.sqrt(2.0 / np.prod(shape[1:]))
        self.weight = Parameter((spread * generator.standard_normal(shape)).astype(np.float32))
        self.bias = Parameter(np.zeros(shape[0], np.float32)) if bias else None

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the gradients of weight and bias, return that of the input."""
        self.backward_weight(gradient, run)
        return self.backward_input(gradient, run)

    @abstractmethod
    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""

    @abstractmethod
    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input; the first layer of a network needs none."""


def pair(name: str, value: int | tuple[int, int], low: int) -> tuple[int, int]:
    """The vertical and the horizontal one of a number that may be given for both."""
    if isinstance(value, tuple):
        if len(value) != 2:
            raise ValueError(f"{name} must be an integer or two, got {value}")
        return whole_number(name, value[0], low), whole_number(name, value[1], low)
    number = whole_number(name, value, low)
    return number, number
