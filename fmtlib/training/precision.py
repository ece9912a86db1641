"""Networks in fixed point, each layer in its own: the recipe, and what `fmtlib.search` needs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

import fmtlib as fl
from fmtlib.search.configurations import Configuration, LayerSize, Precision
from fmtlib.training.datasets import Part
from fmtlib.training.layers import Floats
from fmtlib.training.network import Network
from fmtlib.training.recipes import Operand, Recipe


@dataclass(frozen=True)
class Fixed(Recipe):
    """Data and weights in fixed point on the forward pass, in formats of each layer's own.

    Both operands are rounded to nearest even and saturate; the product is NumPy's in float32, and
    so are the products of the backward pass.

    Parameters
    ----------
    layers : tuple of Precision or None
        For each weighted layer; None leaves it in float32.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> from fmtlib.search import Precision
    >>> run = training.Fixed((Precision(3, 2, 0, 7),)).start()
    >>> run.gemm(np.float32([[1.1, 99.0]]), np.float32([[0.5], [0.25]]), "forward", 0)
    array([[2.4375]], dtype=float32)
    """

    layers: Configuration

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        for precision in self.layers:
            if not (precision is None or isinstance(precision, Precision)):
                raise TypeError(f"layers must be Precision records or None, got {precision!r}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's product of the quantised operands, if they are data and weights."""
        if len(self.layers) != left.layers:
            raise ValueError(f"{len(self.layers)} precisions for {left.layers} layers")
        precision = self.layers[left.layer]
        if precision is None or (left.role, right.role) != ("activation", "weight"):
            return a @ b, None
        return fl.quantize(a, precision.data) @ fl.quantize(b, precision.weights), None


@dataclass(frozen=True)
class PrecisionTask:
    """What `fmtlib.search.search_precision` takes.

    Attributes
    ----------
    evaluate : callable
        The accuracy of a configuration.
    start : tuple of Precision
        Formats that hold all data and weights.
    sizes : tuple of LayerSize
    """

    evaluate: Callable[[Configuration], float]
    start: tuple[Precision, ...]
    sizes: tuple[LayerSize, ...]


def precision_task(network: Network, part: Part, bits: int = 16) -> PrecisionTask:
    """A trained network and data, as a search of precisions wants them.

    Parameters
    ----------
    network : Network
        Must not be trained further while the task is in use.
    part : Part
        What accuracies are of: validation data, say, not test data.
    bits : int
        Width of the formats to start from, signs included.

    Returns
    -------
    PrecisionTask

    Raises
    ------
    ValueError
        If the part is empty, or the network has attention or recurrent layers.

    Examples
    --------
    >>> from fmtlib import training
    >>> from fmtlib.search import search_precision
    >>> data = training.digits()
    >>> network = training.mlp(64, 32, 10)
    >>> _ = training.fit(network, data, epochs=3)
    >>> task = training.precision_task(network, data.validation)
    >>> found = search_precision(task.evaluate, task.start, task.sizes, tolerance=0.02)
    >>> found.cheapest(0.02).footprint < 0.25
    True
    """
    if not len(part):
        raise ValueError("the part of the data is empty")
    layers = network.products
    if len(network.weighted) != layers:
        raise ValueError("the network has products without weights, as in attention")

    def evaluate(configuration: Configuration) -> float:
        labels = network.predict(part.x, Fixed(configuration).start(layers))
        return float((labels == part.y).mean())

    start, sizes = [], []
    for layer, x in zip(network.weighted, network.inputs(part.x), strict=True):
        weights = layer.weight.value
        start.append(Precision.covering(x, weights, bits))
        kind = type(layer).__name__.lower()
        sizes.append(LayerSize(f"{kind}{layer.index}", int(np.prod(x.shape[1:])), weights.size))
    return PrecisionTask(evaluate, tuple(start), tuple(sizes))
