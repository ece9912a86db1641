"""Convolutions, as matrix products of patches (im2col).

Images have the shape (N, C, height, width).  In memory the layers of this package keep the channels
of a pixel together where they can, for that is how the products come out, a row per pixel: arrays
are then transposed views, and no layer depends on it.  The patches are stored transposed, a row
for every weight of a filter: such a row is a shifted copy of one channel of the images, in runs as
long as a row of pixels.  The product takes their transpose, a view.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.training.layers.base import Floats, WeightedLayer, pair

if TYPE_CHECKING:
    from fmtlib.training.recipes import Gemm, Run

# Elements that are transposed, copied or added up at a time, so that they stay in a cache.
_TRANSPOSED, _COPIED, _ADDED = 1 << 14, 1 << 16, 1 << 17


class Conv2d(WeightedLayer):
    """Two-dimensional convolution (cross-correlation) of images.

    The products are those of im2col: A has a row for every output pixel of every image and a column
    for every weight of a filter, in the order channel, row, column.  So O reduces over a patch, dA
    over the filters, and dW over the pixels of the batch.  With groups each has its own product.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    size : int or (int, int)
        Height and width of the filters.
    generator : numpy.random.Generator
        Draws the initial weights.
    stride, padding : int or (int, int)
        Vertically and horizontally.  The padding is zeros, on both sides.
    groups : int
        Divides both numbers of channels: each group of outputs sees the inputs of its group only.
        As many as inputs make it depthwise.
    bias : bool
        Whether there is one.

    Attributes
    ----------
    weight : Parameter
        Of shape (outputs, inputs // groups, height, width).
    bias : Parameter or None
        Of shape (outputs,).
    strides, paddings : (int, int)
        Vertically and horizontally.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> layer = training.Conv2d(1, 4, 3, np.random.default_rng(0), stride=2, padding=1)
    >>> layer.forward(np.zeros((5, 1, 8, 8), np.float32), training.Float32().start()).shape
    (5, 4, 4, 4)
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        size: int | tuple[int, int],
        generator: np.random.Generator,
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        groups: int = 1,
        bias: bool = True,
    ) -> None:
        self.size = size
        self.stride = stride
        self.padding = padding
        self.groups = whole_number("groups", groups, 1)
        self._size = pair("size", size, 1)
        self.strides = pair("stride", stride, 1)
        self.paddings = pair("padding", padding, 0)
        inputs, outputs = whole_number("inputs", inputs, 1), whole_number("outputs", outputs, 1)
        if inputs % groups or outputs % groups:
            raise ValueError(
                f"groups must divide the channels, got {groups} for {inputs} and {outputs}"
            )
        super().__init__((outputs, inputs // groups, *self._size), generator, bias)
        self._taps = self._size[0] * self._size[1]
        # A product of pixels as they are: no patches.
        self._pointwise = self._size == self.strides == (1, 1) and self.paddings == (0, 0)
        self._store: Floats = np.empty(0, np.float32)

    def forward(self, x: Floats, run: Run) -> Floats:
        """Output of shape (N, outputs, height, width) for images (N, inputs, height, width).

        Raises
        ------
        ValueError
            If the images have other channels, or are smaller than the filters.
        """
        groups, (outputs, of_group) = self.groups, self.weight.value.shape[:2]
        if x.ndim != 4 or x.shape[1] != groups * of_group:
            raise ValueError(f"images must be (N, {groups * of_group}, H, W), got {x.shape}")
        self.last_input, self._shape = x, x.shape
        height, width = self._output_size(*x.shape[2:])
        if height < 1 or width < 1:
            raise ValueError(f"filters of {self._size} do not fit images of {x.shape[2:]}")
        if self._pointwise:
            pixels = x.transpose(0, 2, 3, 1).reshape(-1, groups, of_group)
            self._patches: Floats = pixels.transpose(1, 0, 2)
            self._rounded = False
        else:
            rounded = None
            # NumPy adds stacks up in other orders by where they lie: groups stay as they are
            if self.groups == 1 and self._repeats(height, width):
                pixels = x.transpose(0, 2, 3, 1)  # as they lie in memory
                rounded = run.round_input(pixels, self.index, taps=self._taps)
            self._rounded = rounded is not None
            images = x if rounded is None else rounded.transpose(0, 3, 1, 2)
            self._patches = self._im2col(images, height, width).transpose(0, 2, 1)
        out = self._gemm(self._patches, self._matrices.transpose(0, 2, 1), "forward", run)
        # (groups, pixels, filters of a group) to (pixels, filters): a view without groups
        rows = out.transpose(1, 0, 2).reshape(-1, outputs)
        if self.bias is not None:
            rows += self.bias.value
        return rows.reshape(len(x), height, width, outputs).transpose(0, 3, 1, 2)

    def backward_weight(self, gradient: Floats, run: Run) -> None:
        """Set the gradients of weight and bias."""
        rows = self._rows(gradient)
        product = self._gemm(self._patches.transpose(0, 2, 1), rows, "weight_gradient", run)
        self.weight.gradient = product.transpose(0, 2, 1).reshape(self.weight.value.shape)
        if self.bias is not None:
            self.bias.gradient = rows.sum(axis=1).reshape(-1)

    def backward_input(self, gradient: Floats, run: Run) -> Floats:
        """Gradient of the loss for the input, in its shape."""
        product = self._gemm(self._rows(gradient), self._matrices, "input_gradient", run)
        images, channels, height, width = self._shape
        if self._pointwise:
            rows = product.transpose(1, 0, 2).reshape(images, height, width, channels)
        else:
            rows = self._col2im(product)
        return rows.transpose(0, 3, 1, 2)

    @property
    def _matrices(self) -> Floats:
        """The weight as Wᵀ of O = A·W for each group: a row per filter."""
        groups = self.groups
        return self.weight.value.reshape(groups, len(self.weight.value) // groups, -1)

    def _gemm(self, a: Floats, b: Floats, gemm: Gemm, run: Run) -> Floats:
        """The products of all groups; one group is a matrix, not a stack of one."""
        rounded = self._rounded and gemm != "input_gradient"
        if self.groups > 1:
            return run.gemm(a, b, gemm, self.index, taps=self._taps, rounded=rounded)
        return run.gemm(a[0], b[0], gemm, self.index, taps=self._taps, rounded=rounded)[None]

    def _rows(self, gradient: Floats) -> Floats:
        """The gradient of the output as (groups, pixels, filters of a group)."""
        outputs = len(self.weight.value)
        pixels = gradient.transpose(0, 2, 3, 1).reshape(-1, self.groups, outputs // self.groups)
        return pixels.transpose(1, 0, 2)

    def _output_size(self, height: int, width: int) -> tuple[int, int]:
        return (
            (height + 2 * self.paddings[0] - self._size[0]) // self.strides[0] + 1,
            (width + 2 * self.paddings[1] - self._size[1]) // self.strides[1] + 1,
        )

    def _repeats(self, height: int, width: int) -> bool:
        """Whether the patches, of so many outputs, have all pixels, and most more than once."""
        sides = zip(
            self._size, self.strides, self.paddings, (height, width), self._shape[2:], strict=True
        )
        return self._size != self.strides and all(
            size >= stride and (count - 1) * stride + size >= length + padding
            for size, stride, padding, count, length in sides
        )

    def _windows(self, height: int, width: int) -> Iterator[tuple[int, int, slice, slice]]:
        """Row and column of each weight of a filter, and the padded pixels that it sees."""
        down, across = self.strides
        for row in range(self._size[0]):
            for column in range(self._size[1]):
                yield (
                    row,
                    column,
                    slice(row, row + down * height, down),
                    slice(column, column + across * width, across),
                )

    def _im2col(self, x: Floats, height: int, width: int) -> Floats:
        """The patches, (groups, weights of a filter, pixels), in memory that is used again."""
        images, channels = x.shape[:2]
        top, left = self.paddings
        # Channels first, so that rows of pixels are copied; some images or channels at a time.
        padded = np.zeros((channels, images, x.shape[2] + 2 * top, x.shape[3] + 2 * left), x.dtype)
        inner = padded[:, :, top : top + x.shape[2], left : left + x.shape[3]]
        for some in _parts(images, x.size, _TRANSPOSED):
            inner[:, some] = x[some].swapaxes(0, 1)
        shape = (channels, *self._size, images, height, width)
        if self._store.shape != shape or self._store.dtype != x.dtype:
            self._store = np.empty(shape, x.dtype)
        for some in _parts(channels, padded.size, _COPIED):
            for row, column, rows, columns in self._windows(height, width):
                self._store[some, row, column] = padded[some, :, rows, columns]
        return self._store.reshape(self.groups, -1, images * height * width)

    def _col2im(self, product: Floats) -> Floats:
        """Add every patch's gradient to the pixels it came from; (N, height, width, C)."""
        images, channels, image_height, image_width = self._shape
        height, width = self._output_size(image_height, image_width)
        groups, (top, left) = self.groups, self.paddings
        patches = product.reshape(groups, images, height, width, -1, *self._size)
        patches = patches.transpose(5, 6, 1, 2, 3, 0, 4)
        result = np.zeros(
            (images, image_height + 2 * top, image_width + 2 * left, groups, channels // groups),
            product.dtype,
        )
        for some in _parts(images, product.size, _ADDED):
            for row, column, rows, columns in self._windows(height, width):
                result[some, rows, columns] += patches[row, column, some]
        return result.reshape(*result.shape[:3], channels)[
            :, top : top + image_height, left : left + image_width
        ]


def _parts(count: int, size: int, wanted: int) -> Iterator[slice]:
    """Slices of an axis of `count`, each with about as many as wanted of `size` elements."""
    step = max(1, wanted * count // max(1, size))
    for start in range(0, count, step):
        yield slice(start, start + step)
