"""Networks: a sequence of layers, and what was learnt in it."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.checkpoints import check_arrays
from fmtlib.training.layers import (
    Dropout,
    Floats,
    Layer,
    Parameter,
    Sequential,
    WeightedLayer,
)
from fmtlib.training.recipes import Float32, Run


class Network:
    """Layers one after another.

    Parameters
    ----------
    layers : sequence of Layer
        At least one with weights, possibly inside another.

    Attributes
    ----------
    layers : tuple of Layer
    weighted : tuple of WeightedLayer
        Those with weights, also inside others, in the order of `products`.
    products : int
        Indices that matrix products take: each layer's `index` is the first of its own, counted
        from 0; those of layers inside come before the layer's.

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
        self._all = Sequential(layers)
        self.layers = self._all.layers
        self._walk = tuple(self._all.walk())
        every = [layer for _, layer in self._walk]
        self.weighted = tuple(layer for layer in every if isinstance(layer, WeightedLayer))
        if not self.weighted:
            raise ValueError("a network needs at least one layer with weights")
        if len(set(map(id, every))) != len(every):
            raise ValueError("a layer cannot appear twice: it keeps the input of one place only")
        self.products = dropouts = 0
        for layer in every:
            layer.index = self.products
            self.products += layer.products
            if isinstance(layer, Dropout):
                layer.place = dropouts
                dropouts += 1

    def __repr__(self) -> str:
        return f"Network({', '.join(type(layer).__name__ for layer in self.layers)})"

    @property
    def named_parameters(self) -> dict[str, Parameter]:
        """All parameters by name: the places of the layers, and the attribute ("0.weight")."""
        return {
            f"{name}.{attribute}": parameter
            for name, layer in self._walk
            for attribute, parameter in layer.parameters.items()
        }

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        """All parameters, layer by layer."""
        return tuple(self.named_parameters.values())

    def state(self) -> dict[str, NDArray[Any]]:
        """Copies of all that was learnt, by name: parameters, and statistics of `BatchNorm`.

        `fmtlib.save` writes them to a file, `restore` takes them back.

        Examples
        --------
        >>> from fmtlib import training
        >>> {name: array.shape for name, array in training.mlp(4, 3, 2).state().items()}
        {'1.weight': (3, 4), '1.bias': (3,), '3.weight': (2, 3), '3.bias': (2,)}
        """
        return {name: array.copy() for name, array in self._arrays().items()}

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Take what `state` gave of a network of the same layers; the whole of it or nothing.

        Raises
        ------
        ValueError
            If names, shapes or dtypes are not this network's.
        """
        arrays = self._arrays()
        check_arrays("the network", {k: (a.shape, a.dtype) for k, a in arrays.items()}, state)
        for name, array in arrays.items():
            array[...] = state[name]

    def _arrays(self) -> dict[str, NDArray[Any]]:
        found: dict[str, NDArray[Any]] = {}
        for name, layer in self._walk:
            found |= {f"{name}.{key}": p.value for key, p in layer.parameters.items()}
            found |= {f"{name}.{key}": array for key, array in layer.buffers.items()}
        return found

    def forward(self, x: NDArray[Any], run: Run) -> Floats:
        """Output of the last layer for a batch `x`, with the products of `run`."""
        return self._all.forward(x, run)

    def backward(self, gradient: Floats, run: Run) -> None:
        """Set all parameters' gradients from that of the loss for the last output.

        The gradient for the network's own input is not computed: training has no use for it.
        """
        self._all.backward_weight(gradient, run)

    def logits(self, x: NDArray[Any], run: Run | None = None, batch_size: int = 256) -> Floats:
        """Outputs for any number of samples, as in an evaluation.

        Parameters
        ----------
        x : ndarray
            Samples along the first axis.
        run : Run, optional
            Computes the products, advancing after each batch: an ``evaluation()``, or a run of
            which one is made; by default that of `Float32`.
        batch_size : int
            Samples at a time.

        Returns
        -------
        ndarray of shape (N, ..., classes)
        """
        run = Float32().start(self.products) if run is None else run
        if run.training:
            run = run.evaluation()
        parts = []
        for start in range(0, len(x), batch_size):
            parts.append(self.forward(x[start : start + batch_size], run))
            run.advance()
        return np.concatenate(parts)

    def inputs(self, x: NDArray[Any]) -> tuple[Floats, ...]:
        """What enters each of `weighted` in an evaluation in float32.

        Parameters
        ----------
        x : ndarray
            Samples along the first axis.

        Returns
        -------
        tuple of ndarray
            Images for each `Conv2d`; for each `Linear` a row per sample or per place of a sequence.

        Raises
        ------
        ValueError
            If a layer has many inputs: the state of a recurrent one.

        Examples
        --------
        >>> import numpy as np
        >>> from fmtlib import training
        >>> [a.shape for a in training.cnn().inputs(np.zeros((2, 1, 8, 8), np.float32))]
        [(2, 1, 8, 8), (2, 16, 8, 8), (2, 512)]
        """
        for layer in self.weighted:
            layer.last_input = None
        self.forward(x, Float32().start(self.products).evaluation())
        found = [layer.last_input for layer in self.weighted if layer.last_input is not None]
        if len(found) < len(self.weighted):
            raise ValueError("the weights of recurrent layers have an input for every place")
        return tuple(found)

    def predict(
        self, x: NDArray[Any], run: Run | None = None, batch_size: int = 256
    ) -> NDArray[np.integer[Any]]:
        """Class of each sample: where its output is greatest.  Parameters as for `logits`."""
        labels: NDArray[np.integer[Any]] = self.logits(x, run, batch_size).argmax(axis=-1)
        return labels
