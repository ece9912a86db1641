"""Pooling: one value for each window of pixels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.training.layers.base import Floats, Layer, pair

if TYPE_CHECKING:
    from fmtlib.training.recipes import Run


class _Pool2d(Layer):
    """Windows of pixels.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        By default `size`, which must then divide the images'.
    padding : int or (int, int)
        On both sides, at most half of `size`.
    """

    def __init__(
        self,
        size: int | tuple[int, int] = 2,
        *,
        stride: int | tuple[int, int] | None = None,
        padding: int | tuple[int, int] = 0,
    ) -> None:
        self.size, self.stride, self.padding = size, stride, padding
        self._size = pair("size", size, 1)
        self._stride = self._size if stride is None else pair("stride", stride, 1)
        self._padding = pair("padding", padding, 0)
        if any(2 * p > s for p, s in zip(self._padding, self._size, strict=True)):
            raise ValueError(f"padding must be at most half of size, got {padding} and {size}")
        # Windows that do not overlap give each pixel one gradient at most.
        self._apart = all(a >= b for a, b in zip(self._stride, self._size, strict=True))

    def _padded(self, x: Floats, value: float) -> Floats:
        """The images with a border, in the memory order they have."""
        images, channels, height, width = x.shape
        (top, left), (down, across) = self._padding, self._size
        if self.stride is None and ((height + 2 * top) % down or (width + 2 * left) % across):
            raise ValueError(f"squares of {self.size} do not tile images of {height} × {width}")
        if height + 2 * top < down or width + 2 * left < across:
            raise ValueError(f"windows of {self.size} do not fit images of {height} × {width}")
        self._shape = x.shape
        self._padded_shape = (images, channels, height + 2 * top, width + 2 * left)
        if not (top or left):
            return x
        padded = self._like(x, self._padded_shape)
        padded[...] = value
        padded[:, :, top : top + height, left : left + width] = x
        return padded

    def _like(self, x: Floats, shape: tuple[int, ...]) -> Floats:
        """An array of another shape in the memory order that x has."""
        return np.empty_like(x, shape=shape)

    def _windows(self) -> Iterator[tuple[int, slice, slice]]:
        """Place in the windows, counted from 0, and the pixels that are there."""
        down, across = self._stride
        _, _, height, width = self._padded_shape
        for row in range(self._size[0]):
            for column in range(self._size[1]):
                yield (
                    row * self._size[1] + column,
                    slice(row, height - self._size[0] + row + 1, down),
                    slice(column, width - self._size[1] + column + 1, across),
                )

    def _inner(self, padded: Floats) -> Floats:
        """What `_padded` put a border around."""
        (top, left), (height, width) = self._padding, self._shape[2:]
        return padded[:, :, top : top + height, left : left + width]


class MaxPool2d(_Pool2d):
    """Greatest value of each window of pixels; of equal ones the first gets the gradient.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        By default `size`, which must then divide the images'.
    padding : int or (int, int)
        Of values that are less than all others; at most half of `size`.
    """

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, C, rows, columns) for images (N, C, height, width).

        Raises
        ------
        ValueError
            If the windows do not fit the images.
        """
        x = self._padded(x, -np.inf)
        kind = np.min_scalar_type(self._size[0] * self._size[1])
        for place, rows, columns in self._windows():
            values = x[:, :, rows, columns].copy(order="K")  # what follows is faster with it
            if place == 0:
                out = values
                self._winner: NDArray[Any] = np.zeros_like(out, dtype=kind)
            else:
                # Places grow, so the greatest is the last that won: no branches on data.
                wins = (values > out).view(np.uint8) * kind.type(place)
                np.maximum(self._winner, wins, out=self._winner)
                np.maximum(out, values, out=out)
        return out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        wanted = np.empty_like(self._winner, dtype=gradient.dtype)
        wanted[...] = gradient  # in the memory order of all the rest
        result = self._like(wanted, self._padded_shape)
        # Every pixel is written where windows tile; elsewhere some are not, or are more than once.
        tiled = self._apart and self._stride == self._size and self.stride is None
        if not tiled:
            result[...] = 0
        for place, rows, columns in self._windows():
            part = wanted * (self._winner == place)
            if tiled:
                result[:, :, rows, columns] = part
            else:
                result[:, :, rows, columns] += part
        return self._inner(result)


class AveragePool2d(_Pool2d):
    """Mean of each window of pixels, zeros of the padding included.

    Parameters
    ----------
    size : int or (int, int)
        Height and width of the windows.
    stride : int or (int, int), optional
        By default `size`, which must then divide the images'.
    padding : int or (int, int)
        Of zeros; at most half of `size`.
    """

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, C, rows, columns) for images (N, C, height, width).

        Raises
        ------
        ValueError
            If the windows do not fit the images.
        """
        x = self._padded(x, 0.0)
        for place, rows, columns in self._windows():
            values = x[:, :, rows, columns]
            if place == 0:
                out = values.copy(order="K")
            else:
                out += values
        out /= self._size[0] * self._size[1]
        return out

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        result = self._like(gradient, self._padded_shape)
        result[...] = 0
        part = gradient / (self._size[0] * self._size[1])
        for _, rows, columns in self._windows():
            result[:, :, rows, columns] += part
        return self._inner(result)


class GlobalAveragePool(Layer):
    """Mean of all pixels, (N, C, height, width) to (N, C)."""

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, C)."""
        self._shape = x.shape
        mean: Floats = x.mean(axis=(2, 3))
        return mean

    def backward(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input."""
        height, width = self._shape[2:]
        return np.broadcast_to((gradient / (height * width))[..., None, None], self._shape)
