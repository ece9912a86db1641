"""A layer as matrix products: that of inference, and the two more that training needs."""

from dataclasses import dataclass
from typing import Literal

from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import ceil_div

Operand = Literal["activations", "weights", "gradients"]


@dataclass(frozen=True)
class Gemm:
    """Some matrix products (m, k) × (k, n) of one size, taken in turn.

    Attributes
    ----------
    name : {"forward", "input_gradient", "weight_gradient"}
    operands : pair of {"activations", "weights", "gradients"}
        What is multiplied by what.
    count, m, k, n : int
        How many products, and their size; k is summed over.
    """

    name: str
    operands: tuple[Operand, Operand]
    count: int
    m: int
    k: int
    n: int

    @property
    def macs(self) -> int:
        """Multiply-accumulates of all products."""
        return self.count * self.m * self.k * self.n

    def steps(self, *, tiles: int, lanes: int, columns: int, rows: int) -> int:
        """Steps on an array whose columns take rows of the first matrix, its rows the columns of
        the second one, and whose lanes sum: each product is cut in full or ragged parts.

        Examples
        --------
        >>> gemm = Gemm("forward", ("activations", "weights"), 1, 65, 40, 17)
        >>> gemm.steps(tiles=1, lanes=16, columns=64, rows=16)
        12
        """
        parts = ceil_div(self.m, columns) * ceil_div(ceil_div(self.n, rows), tiles)
        return self.count * parts * ceil_div(self.k, lanes)


def forward(layer: Layer) -> Gemm:
    """The product of inference: group by group, and in a convolution image by image.

    Windows are the rows, the flattened reduction C/groups·kh·kw is summed over, filters are the
    columns. In a fully connected layer the samples of the batch are the rows.
    """
    images, m = (layer.batch, layer.windows) if layer.has_windows else (1, layer.batch)
    n = layer.filters // layer.groups
    return Gemm("forward", ("activations", "weights"), images * layer.groups, m, layer.reduction, n)


def training(layer: Layer) -> tuple[Gemm, Gemm, Gemm]:
    """The three products of a training step: forward, input gradient, weight gradient.

    dX = dY · Wᵀ sums over the filters, image by image as forward; dW = Xᵀ · dY sums over the
    windows of all images. X is the matrix of windows (im2col).

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.ones((4, 8), int), np.ones((3, 8), int))
    >>> [(gemm.name, gemm.m, gemm.k, gemm.n) for gemm in training(layer)]
    [('forward', 4, 8, 3), ('input_gradient', 4, 3, 8), ('weight_gradient', 8, 4, 3)]
    """
    y = forward(layer)
    dx = Gemm("input_gradient", ("gradients", "weights"), y.count, y.m, y.n, y.k)
    summed = y.m * y.count // layer.groups
    dw = Gemm("weight_gradient", ("activations", "gradients"), layer.groups, y.k, summed, y.n)
    return y, dx, dw
