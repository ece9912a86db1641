"""SCNN: non-zero activations by non-zero weights, as Cartesian products."""

from dataclasses import dataclass
from math import isqrt

import numpy as np
import numpy.typing as npt

from fmtlib._core import counting
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS, Design, remembered
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import ceil_div, sum_over_macs


@dataclass(frozen=True, kw_only=True)
class Scnn(Design):
    """A grid of processing elements, each with its own part of the input plane.

    A step of an element multiplies I non-zero activations by F = lanes/I non-zero weights of one
    channel and takes as many cycles as products go to the busiest of 32 accumulator banks, at
    least one. The elements wait for each other after each channel, and at the end exchange the
    sums of outputs that reach over their borders. Strides are walked phase by phase.

    Parameters
    ----------
    tiles : int
        Grids; they share the activations, and each has its block of ceil(K/tiles) filters.
    lanes : int
        Multipliers of an element, I·F.
    columns, rows : int
        The grid of elements: along axis 3 and along axis 2 of the input.
    activations_per_step : int
        I; must divide the lanes.

    Notes
    -----
    A. Parashar et al., "SCNN: An Accelerator for Compressed-sparse Convolutional Neural
    Networks", ISCA 2017, as modelled by DNNsim: every count of the reference layers is
    reproduced. An output (w, h) of filter k is added up in bank ``((k&4)<<2 ^ (w&2)<<3 ^
    (h&2)<<3) + ((w&1)<<3) + ((h&1)<<2) + (k&3)``. A fully connected layer is taken as one channel
    of ceil(√C) × ceil(√C) and a kernel of that size. A first layer is not folded.

    Own counts: ``dense_cycles``, with every slot occupied and one cycle a step;
    ``multiplications``, products of an output; ``idle_conflicts``, multiplier slots of all
    elements idle for bank conflicts; ``halo_transfers``, values that the outputs of an element
    reach over its border.

    Examples
    --------
    >>> layer = Layer.conv(np.ones((1, 1, 4, 4), int), np.ones((8, 1, 1, 1), int))
    >>> Scnn(columns=2, rows=2).compute_cycles(layer)
    2
    """

    name = "scnn"

    columns: int = 8
    rows: int = 8
    activations_per_step: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("activations_per_step", 1, self.lanes)
        self._check("lanes", 1, 255)  # hits of a bank are counted in bytes
        if self.lanes % self.activations_per_step:
            raise ValueError(
                f"activations_per_step must divide the {self.lanes} lanes, "
                f"not {self.activations_per_step}"
            )

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * BIT_PARALLEL_PRODUCTS

    @property
    def baseline_rows(self) -> int:
        return self.rows * self.columns

    def compute_cycles(self, layer: Layer) -> int:
        return self._counts(layer)["cycles"]

    def effectual_bit_products(self, layer: Layer) -> int:
        return BIT_PARALLEL_PRODUCTS * self._counts(layer)["multiplications"]

    def own_counts(self, layer: Layer) -> dict[str, int]:
        return {key: value for key, value in self._counts(layer).items() if key != "cycles"}

    def _counts(self, layer: Layer) -> dict[str, int]:
        return remembered(layer, self, lambda: self._count(layer))

    def _count(self, layer: Layer) -> dict[str, int]:
        x, w = layer.padded_activations, np.asarray(layer.weights)
        if not layer.has_windows:
            x, w = (_square(a) for a in (x, w))
        size = (x.shape[2], x.shape[3])
        tile = (ceil_div(size[0], self.rows), ceil_div(size[1], self.columns))
        reach = layer.reach if layer.has_windows else size
        # What an output reaches over the border of an element at its start.
        over = [max(r - 1 - p, 0) for r, p in zip(reach, layer.padding[:2], strict=True)]
        filters = layer.filters // layer.groups
        block = ceil_div(filters, self.tiles)
        exchange = max(over[0] * tile[1], over[1] * tile[0], over[0] * over[1])
        exchange *= layer.groups * min(block, filters)
        cycles = dense = layer.batch * exchange
        conflicts = 0
        for group in range(layer.groups):
            nonzero = w[group * filters : (group + 1) * filters] != 0
            kernels = _filters_last(nonzero)
            channels = slice(group * len(kernels), (group + 1) * len(kernels))
            for image in x:
                found = [
                    self._channels(
                        layer,
                        np.ascontiguousarray(image[channels]),
                        np.ascontiguousarray(kernels[..., first : first + block]),
                        group * filters + first,
                    )
                    for first in range(0, filters, block)
                ]
                # Channel by channel, all elements of all tiles wait for the slowest.
                cycles += int(np.max([of_block[0].max(axis=1) for of_block in found], axis=0).sum())
                dense += int(np.max([of_block[1].max(axis=1) for of_block in found], axis=0).sum())
                conflicts += sum(of_block[2] for of_block in found)
        reached = (tile[0] + reach[0] - 1) * (tile[1] + reach[1] - 1)
        return {
            "cycles": cycles,
            "dense_cycles": dense,
            "multiplications": sum_over_macs(
                layer,
                (layer.padded_activations != 0).view(np.uint8),
                (np.asarray(layer.weights) != 0).view(np.uint8),
            ),
            "idle_conflicts": conflicts * self.lanes,
            "halo_transfers": layer.batch * (reached - tile[0] * tile[1]),
        }

    def _channels(
        self,
        layer: Layer,
        activations: npt.NDArray[np.int16],
        kernels: npt.NDArray[np.uint8],
        first_filter: int,
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], int]:
        """Cycles and dense cycles of each channel and element, and the conflicts."""
        begin = None
        if not layer.has_windows:
            of_positions = kernels.reshape(-1, kernels.shape[-1]).sum(axis=1, dtype=np.int64)
            begin = np.concatenate(([0], np.cumsum(of_positions)))
        return counting.scnn(
            activations,
            kernels,
            (self.rows, self.columns),
            layer.outputs,
            layer.stride,
            layer.dilation,
            first_filter,
            self.activations_per_step,
            self.lanes // self.activations_per_step,
            begin,
        )


def _filters_last(nonzero: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """K,C,kx,ky → C,kx,ky,K; a part at a time, which caches hold."""
    flat = nonzero.reshape(len(nonzero), -1)
    last = np.empty(flat.shape[::-1], bool)
    for first in range(0, len(last), 64):
        last[first : first + 64] = flat[:, first : first + 64].T
    return last.view(np.uint8).reshape(*nonzero.shape[1:], -1)


def _square(x: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
    """N,C → N,1,side,side, as square as C allows, with zeros at the end."""
    n, c = x.shape
    side = isqrt(c - 1) + 1
    return np.pad(x, ((0, 0), (0, side * side - c))).reshape(n, 1, side, side)
