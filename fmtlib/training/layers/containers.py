"""Layers made of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fmtlib.training.layers.base import Floats, Layer

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class Sequential(Layer):
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of Layer

    Raises
    ------
    TypeError
        If an entry is not a `Layer`.
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"a network is made of Layer objects, got {layer!r}")

    @property
    def inner(self) -> dict[str, Layer]:
        """The layers by their number, counted from 0."""
        return {str(number): layer for number, layer in enumerate(self.layers)}

    def forward(self, x: Any, run: Run) -> Floats:
        """Output of the last layer."""
        for layer in self.layers:
            x = layer.forward(x, run)
        result: Floats = x
        return result

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set all parameters' gradients, return that of the first layer's input."""
        for layer in reversed(self.layers):
            gradient = layer.backward(gradient, run)
        return gradient

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set all parameters' gradients, going back no further than they take."""
        first = next((layer for layer in self.layers if _learns(layer)), None)
        if first is None:
            return
        for layer in reversed(self.layers[self.layers.index(first) + 1 :]):
            gradient = layer.backward(gradient, run)
        first.backward_weight(gradient, run)


class Residual(Layer):
    """``body(x) + shortcut(x)``.

    Parameters
    ----------
    body : sequence of Layer
    shortcut : sequence of Layer
        Empty, the default, for x itself; else what gives x the shape of the body's output.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Deep Residual Learning for Image Recognition", arXiv
    1512.03385.
    """

    def __init__(self, body: Sequence[Layer], shortcut: Sequence[Layer] = ()) -> None:
        self.body = Sequential(body)
        self.shortcut = Sequential(shortcut)

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of the body's shape.

        Raises
        ------
        ValueError
            If body and shortcut give different shapes.
        """
        body, shortcut = self.body.forward(x, run), self.shortcut.forward(x, run)
        if body.shape != shortcut.shape:
            raise ValueError(f"body gives {body.shape}, shortcut {shortcut.shape}: not to be added")
        return body + shortcut

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        return self.body.backward(gradient, run) + self.shortcut.backward(gradient, run)


def _learns(layer: Layer) -> bool:
    return any(part.parameters for _, part in layer.walk())
