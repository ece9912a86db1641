"""Batch and layer normalisation."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, Layer, Parameter

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class _Normalization(Layer):
    """``weight * (x - mean) / sqrt(variance + epsilon) + bias``."""

    def __init__(self, features: int, epsilon: float) -> None:
        self.features = whole_number("features", features, 1)
        if not 0 < epsilon < math.inf:
            raise ValueError(f"epsilon must be positive and finite, got {epsilon}")
        self.epsilon = epsilon
        self.weight = Parameter(np.ones(features, np.float32))
        self.bias = Parameter(np.zeros(features, np.float32))


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
        self._count = x.size // self.features
        if self._training:
            if self._count < 2:
                raise ValueError("batch normalisation needs more than one value per channel")
            mean: Floats = self._sums(rows) / self._count
            self._normal: Floats = rows - self._spread(mean)
            variance: Floats = self._sums(self._normal * self._normal) / self._count
            unbiased = variance * (self._count / (self._count - 1))
            for running, value in (
                (self.running_mean, mean), (self.running_variance, unbiased)
            ):  # fmt: skip
                running *= 1 - self.momentum
                running += (self.momentum * value).astype(running.dtype)
        else:
            variance = self.running_variance
            self._normal = rows - self._spread(self.running_mean)
        self._inverse: Floats = 1 / np.sqrt(variance + self.epsilon)
        self._normal *= self._spread(self._inverse)
        out = self._normal * self._spread(self.weight.value)
        out += self._spread(self.bias.value)
        return self._images(out, x.shape)

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        rows = self._rows(gradient)
        self.bias.gradient = self._sums(rows)
        self.weight.gradient = self._sums(rows * self._normal)
        if self._training:
            rows = rows - self._normal * self._spread(self.weight.gradient / self._count)
            rows -= self._spread(self.bias.gradient / self._count)
        result = rows * self._spread(self.weight.value * self._inverse)
        return self._images(result, gradient.shape)

    # Channels are few: what is done with each of them is done with all of a row of pixels.

    def _rows(self, x: Floats) -> Floats:
        """`x` with its channels last, a row of pixels in each row."""
        self._width = x.shape[-1] if x.ndim > 2 else 1
        return np.moveaxis(x, 1, -1).reshape(-1, self._width * self.features)

    def _images(self, rows: Floats, shape: tuple[int, ...]) -> Floats:
        """The reverse of `_rows`."""
        return np.moveaxis(rows.reshape(shape[0], *shape[2:], self.features), -1, 1)

    def _spread(self, values: Floats) -> Floats:
        """One value per channel, for every pixel of a row."""
        return np.tile(values, self._width)

    def _sums(self, rows: Floats) -> Floats:
        """Sums of all pixels, one per channel."""
        total: Floats = rows.sum(axis=0).reshape(-1, self.features).sum(axis=0)
        return total


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
        mean = x.mean(axis=-1, keepdims=True)
        self._normal = x - mean
        variance = np.square(self._normal).mean(axis=-1, keepdims=True)
        self._inverse: Floats = 1 / np.sqrt(variance + self.epsilon)
        self._normal *= self._inverse
        out: Floats = self._normal * self.weight.value
        out += self.bias.value
        return out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Set the parameters' gradients, return that of the input."""
        axes = tuple(range(gradient.ndim - 1))
        self.bias.gradient = gradient.sum(axis=axes)
        self.weight.gradient = (gradient * self._normal).sum(axis=axes)
        scaled = gradient * self.weight.value
        mean = scaled.mean(axis=-1, keepdims=True)
        slope = (scaled * self._normal).mean(axis=-1, keepdims=True)
        result: Floats = (scaled - mean - self._normal * slope) * self._inverse
        return result
