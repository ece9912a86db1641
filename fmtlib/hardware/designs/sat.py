"""SAT: N:M sparse training on an array that skips the zeros of the pattern."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from fmtlib.hardware import gemm
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS, remembered
from fmtlib.hardware.designs.matrix import MatrixDesign
from fmtlib.hardware.gemm import Gemm
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import ceil_div


@dataclass(frozen=True, kw_only=True)
class Sat(MatrixDesign):
    """Of every M weights along the reduction at most N are kept and multiplied.

    In a sparse product a lane takes only the places of the N of each group of M: of C channels
    floor(C/M)·N + min(N, C mod M). A dense product takes all.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; one column by default, as bit-parallel as the baseline.
    n, m : int
        N of M, 2 of 8 in the paper's headline.
    mode : {"auto", "dense", "sparse"}
        Of the forward product. "auto": sparse if the weights, in groups of M channels, have at
        most N that are not zero; "sparse" refuses others. "dense" reads no values.

    Notes
    -----
    C. Fang et al., "Efficient N:M Sparse DNN Training Using Algorithm, Architecture, and Dataflow
    Co-Design" (BDWP on SAT), IEEE TCAD 2023 (arXiv 2309.13015). In a training step forward and
    input gradient are sparse, each with a mask of its own along its own reduction (input channels
    and output channels), the weight gradient is dense: N/M + N/M + 1 instead of 3.
    **How the products are laid out on the array, and its size, are our own reading.**

    Examples
    --------
    >>> weights = np.zeros((16, 256, 1, 1), int)
    >>> weights[:, ::4] = 1
    >>> layer = Layer.conv(np.ones((1, 256, 2, 2), int), weights)
    >>> Sat().compute_cycles(layer), Sat(mode="dense").compute_cycles(layer)
    (16, 64)
    """

    name = "sat"

    columns: int = 1
    n: int = 2
    m: int = 8
    mode: Literal["auto", "dense", "sparse"] = "auto"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("m", 1)
        self._check("n", 1, self.m)
        self._check_choice("mode", ("auto", "dense", "sparse"))

    def is_sparse(self, layer: Layer) -> bool:
        """Whether the forward product of a layer is sparse; see `mode`."""
        if self.mode == "dense":
            return False
        most = remembered(layer, ("sat", self.m), lambda: self._most_of_m(layer))
        if self.mode == "sparse" and most > self.n:
            raise ValueError(
                f"the weights of {layer.name} are not {self.n}:{self.m} sparse along the input "
                f"channels: {most} of {self.m} are not zero"
            )
        return most <= self.n

    def _most_of_m(self, layer: Layer) -> int:
        """The most weights of a group of M channels that are not zero."""
        nonzero = (np.asarray(layer.weights) != 0).view(np.uint8)
        counts = nonzero[:, :: self.m].astype(np.min_scalar_type(self.m))
        for place in range(1, self.m):
            part = nonzero[:, place :: self.m]
            counts[:, : part.shape[1]] += part
        return int(counts.max())

    def kept(self, length: int) -> int:
        """Places of a reduction over `length` channels, N of every M begun."""
        whole, rest = divmod(length, self.m)
        return whole * self.n + min(self.n, rest)

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * BIT_PARALLEL_PRODUCTS

    def gemm_cycles(self, product: Gemm, layer: Layer) -> int:
        length = product.k
        if product.name == "forward" and self.is_sparse(layer):
            channels = layer.weights.shape[1]
            length = product.k // channels * self.kept(channels)
        elif product.name == "input_gradient" and self.mode != "dense":
            length = self.kept(product.k)
        parts = ceil_div(product.m, self.columns) * ceil_div(
            ceil_div(product.n, self.rows), self.tiles
        )
        return product.count * parts * ceil_div(length, self.lanes)

    def effectual_bit_products(self, layer: Layer) -> int:
        reduction = layer.reduction
        if self.is_sparse(layer):
            channels = layer.weights.shape[1]
            reduction = reduction // channels * self.kept(channels)
        outputs = layer.batch * layer.windows * layer.filters
        return BIT_PARALLEL_PRODUCTS * outputs * reduction

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """Multiply-accumulates after skipping, and those of a dense training step's three."""
        y, dx, dw = gemm.training(layer)
        forward = self.effectual_bit_products(layer) // BIT_PARALLEL_PRODUCTS
        back = dx.macs if self.mode == "dense" else dx.count * dx.m * dx.n * self.kept(dx.k)
        return {
            "executed_macs": forward,
            "training_macs": forward + back + dw.macs,
            "dense_training_macs": y.macs + dx.macs + dw.macs,
        }
