"""Networks: a sequence of layers, and the two small ones that the demonstrations train."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.layers import (
    Conv2d,
    Flatten,
    Floats,
    Layer,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    WeightedLayer,
)
from fmtlib.training.recipes import Float32, Run


class Network:
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of Layer
        At least one with weights.

    Attributes
    ----------
    layers : tuple of Layer
    weighted : tuple of WeightedLayer
        Those with weights; their `index` counts from 0 in this order.

    Raises
    ------
    TypeError
        If an entry is not a `Layer`.
    ValueError
        If none has weights, or one appears twice.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> network = training.mlp(64, (128, 128), 10, seed=0)
    >>> network.predict(np.zeros((3, 64), np.float32))
    array([0, 0, 0])
    """

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        for layer in self.layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"a network is made of Layer objects, got {layer!r}")
        self.weighted = tuple(layer for layer in self.layers if isinstance(layer, WeightedLayer))
        if not self.weighted:
            raise ValueError("a network needs at least one layer with weights")
        if len(set(map(id, self.layers))) != len(self.layers):
            raise ValueError("a layer cannot appear twice: it keeps the input of one place only")
        for index, layer in enumerate(self.weighted):
            layer.index = index

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """Weights and biases, layer by layer."""
        return tuple(p for layer in self.weighted for p in (layer.weight, layer.bias))

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of the last layer for a batch `x`, with the products of `run`."""
        for layer in self.layers:
            x = layer.forward(x, run)
        return x

    def backward(self, gradient: Floats, run: Run) -> None:
        """Set all parameters' gradients from that of the loss for the last output.

        The gradient for the network's own input is not computed: training has no use for it.
        """
        first = self.weighted[0]
        for layer in reversed(self.layers[self.layers.index(first) + 1 :]):
            gradient = layer.backward(gradient, run)
        first.backward_weight(gradient, run)

    def logits(self, x: Floats, run: Run | None = None, batch_size: int = 256) -> Floats:
        """Outputs for any number of samples.

        Parameters
        ----------
        x : ndarray of float32
            Samples along the first axis.
        run : Run, optional
            Computes the products, advancing after each batch; by default those of `Float32`.
            For a network in training, its run's ``evaluation()``.
        batch_size : int
            Samples at a time.

        Returns
        -------
        ndarray of shape (N, classes)
        """
        run = Float32().start(len(self.weighted)) if run is None else run
        parts = []
        for start in range(0, len(x), batch_size):
            parts.append(self.forward(x[start : start + batch_size], run))
            run.advance()
        return np.concatenate(parts)

    def predict(
        self, x: Floats, run: Run | None = None, batch_size: int = 256
    ) -> NDArray[np.integer[Any]]:
        """Class of each sample: where its output is greatest.  Parameters as for `logits`."""
        labels: NDArray[np.integer[Any]] = self.logits(x, run, batch_size).argmax(axis=1)
        return labels


def mlp(inputs: int, hidden: int | Sequence[int], classes: int, seed: int = 0) -> Network:
    """A perceptron with ReLU between its layers.

    Parameters
    ----------
    inputs : int
        Values per sample; samples of any shape are flattened.
    hidden : int or sequence of int
        Neurons of each hidden layer.
    classes : int
    seed : int
        Of the initial weights (He).

    Returns
    -------
    Network
    """
    generator = np.random.default_rng(seed)
    sizes = [inputs, *([hidden] if isinstance(hidden, int) else hidden), classes]
    layers: list[Layer] = [Flatten()]
    for before, after in pairwise(sizes):
        layers += [Linear(before, after, generator), ReLU()]
    return Network(layers[:-1])


def cnn(
    image: tuple[int, int, int] = (1, 8, 8),
    channels: tuple[int, int] = (16, 32),
    classes: int = 10,
    seed: int = 0,
) -> Network:
    """Two convolutions of 3 × 3 with ReLU, a max-pool of 2 × 2, and a linear layer.

    Parameters
    ----------
    image : (int, int, int)
        Channels, height and width of the samples; the latter two even.
    channels : (int, int)
        Filters of the convolutions.
    classes : int
    seed : int
        Of the initial weights (He).

    Returns
    -------
    Network

    Examples
    --------
    >>> from fmtlib import training
    >>> [layer.weight.value.shape for layer in training.cnn().weighted]
    [(16, 1, 3, 3), (32, 16, 3, 3), (10, 512)]
    """
    generator = np.random.default_rng(seed)
    depth, height, width = image
    first, second = channels
    if height % 2 or width % 2:
        raise ValueError(f"image must have an even height and width, got {height} × {width}")
    return Network(
        [
            Conv2d(depth, first, 3, generator, padding=1),
            ReLU(),
            Conv2d(first, second, 3, generator, padding=1),
            ReLU(),
            MaxPool2d(2),
            Flatten(),
            Linear(second * (height // 2) * (width // 2), classes, generator),
        ]
    )
