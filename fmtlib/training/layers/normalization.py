"""Batch and layer normalisation."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, Layer, Parameter

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class _Normalization(Layer):
    """``weight * (x - mean) / sqrt(variance + epsilon) + bias`` of the last axis or along it."""

    def __init__(self, features: int, epsilon: float) -> None:
        self.features = whole_number("features", features, 1)
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(features, np.float32))
        self.bias = Parameter(np.zeros(features, np.float32))

    @abstractmethod
    def _rows(self, x: Floats) -> Floats:
        """`x` as a matrix with a column per feature."""

    def _scaled(self, rows: Floats, mean: Floats, variance: Floats) -> Floats:
        """The output, keeping what its backward pass needs."""
        self._inverse: Floats = 1 / np.sqrt(variance + self.epsilon)
        self._normal: Floats = (rows - mean) * self._inverse
        scaled: Floats = self._normal * self.weight.value + self.bias.value
        return scaled

    def _backward_rows(self, rows: Floats, axis: int | None) -> Floats:
        """Gradient for the input, mean and variance having been taken along `axis`, if any."""
        self.bias.gradient = rows.sum(axis=0)
        self.weight.gradient = (rows * self._normal).sum(axis=0)
        scaled: Floats = rows * self.weight.value
        if axis is None:
            return scaled * self._inverse
        mean = scaled.mean(axis=axis, keepdims=True)
        slope = (scaled * self._normal).mean(axis=axis, keepdims=True)
        result: Floats = (scaled - mean - self._normal * slope) * self._inverse
        return result


class BatchNorm(_Normalization):
    """Batch normalisation: every channel gets the mean 0 and the variance 1 over the batch.

    In training, mean and variance are those of the batch; in evaluation, running ones: after each
    batch of training ``running = (1 - momentum) * running + momentum * batch``, with the unbiased
    variance.

    Parameters
    ----------
    features : int
        Channels, the second axis of an input of shape (N, C) or (N, C, height, width).
    momentum : float
        From 0 to 1.
    epsilon : float
        Is added to variances.

    Attributes
    ----------
    weight, bias : Parameter
        Of shape (features,); 1 and 0 at first.
    running_mean, running_variance : ndarray of float32, shape (features,)

    References
    ----------
    S. Ioffe, C. Szegedy, "Batch Normalization: Accelerating Deep Network Training by Reducing
    Internal Covariate Shift", arXiv 1502.03167.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.Float32().start()
    >>> layer = training.BatchNorm(1)
    >>> layer.forward(np.float32([[1.0], [3.0]]), run).round(3)
    array([[-1.],
           [ 1.]], dtype=float32)
    >>> layer.running_mean
    array([0.2], dtype=float32)
    """

    def __init__(self, features: int, *, momentum: float = 0.1, epsilon: float = 1e-5) -> None:
        super().__init__(features, epsilon)
        if not 0 <= momentum <= 1:
            raise ValueError(f"momentum must be from 0 to 1, got {momentum}")
        self.momentum = momentum
        self.running_mean = np.zeros(features, np.float32)
        self.running_variance = np.ones(features, np.float32)

    @property
    def buffers(self) -> dict[str, NDArray[Any]]:
        """The running statistics."""
        return {"running_mean": self.running_mean, "running_variance": self.running_variance}

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape.

        Raises
        ------
        ValueError
            If x has not `features` channels, or, in training, one value per channel only.
        """
        if x.ndim < 2 or x.shape[1] != self.features:
            raise ValueError(f"x must be (N, {self.features}, ...), got {x.shape}")
        self._training = run.training
        rows = self._rows(x)
        if self._training:
            if len(rows) < 2:
                raise ValueError("batch normalisation needs more than one value per channel")
            mean, variance = rows.mean(axis=0), rows.var(axis=0)
            unbiased = variance * (len(rows) / (len(rows) - 1))
            for running, value in (
                (self.running_mean, mean), (self.running_variance, unbiased)
            ):  # fmt: skip
                running *= 1 - self.momentum
                running += (self.momentum * value).astype(running.dtype)
        else:
            mean, variance = self.running_mean, self.running_variance
        return self._images(self._scaled(rows, mean, variance), x.shape)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        rows = self._backward_rows(self._rows(gradient), 0 if self._training else None)
        return self._images(rows, gradient.shape)

    def _rows(self, x: Floats) -> Floats:
        return np.moveaxis(x, 1, -1).reshape(-1, self.features)

    def _images(self, rows: Floats, shape: tuple[int, ...]) -> Floats:
        return np.moveaxis(rows.reshape(shape[0], *shape[2:], self.features), -1, 1)


class LayerNorm(_Normalization):
    """Layer normalisation: the last axis gets the mean 0 and the variance 1.

    Parameters
    ----------
    features : int
        Length of the last axis.
    epsilon : float
        Is added to variances.

    Attributes
    ----------
    weight, bias : Parameter
        Of shape (features,); 1 and 0 at first.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer Normalization", arXiv 1607.06450.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> x = np.float32([[1.0, 3.0]])
    >>> training.LayerNorm(2).forward(x, training.Float32().start()).round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, features: int, *, epsilon: float = 1e-5) -> None:
        super().__init__(features, epsilon)

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output in x's shape."""
        if x.shape[-1] != self.features:
            raise ValueError(f"x must be (N, ..., {self.features}), got {x.shape}")
        rows = self._rows(x)
        mean, variance = rows.mean(axis=1, keepdims=True), rows.var(axis=1, keepdims=True)
        return self._scaled(rows, mean, variance).reshape(x.shape)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        return self._backward_rows(self._rows(gradient), 1).reshape(gradient.shape)

    def _rows(self, x: Floats) -> Floats:
        return x.reshape(-1, self.features)
