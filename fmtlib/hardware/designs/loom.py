"""Loom: activations and weights bit-serial."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import (
    Walk,
    ceil_div,
    fixed_cycles,
    round_robin,
    serial_cycles,
    sum_over_macs,
)
from fmtlib.precision import group_bits


@dataclass(frozen=True, kw_only=True)
class Loom(Design):
    """Both operands bit-serial: a step takes ceil(activation width / b) · weight width cycles.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    serial_bits : int
        b, activation bits a lane multiplies by one weight bit each cycle: 1, 2 or 4.
    dynamic_activations : bool
        The activation width is that of the widest value in flight; else the layer's
        `activation_bits`.
    dynamic_weights : bool
        The weight width is that of the widest weight of the step, over the filters of all tiles
        in lockstep; else the layer's `weight_bits`.

    Notes
    -----
    S. Sharify et al., "Loom: Exploiting Weight and Activation Precisions to Accelerate
    Convolutional Neural Networks", DAC 2018 (arXiv 1706.07853), as modelled by DNNsim: every
    count of the reference layers is reproduced.

    A lane does b single-bit products a cycle where a bit-parallel one does 256, so the baseline
    beside it has columns·b/256 times its rows: 128 rows and 16 columns of one bit stand beside 8
    bit-parallel rows of 16 lanes, 128 multiply-accumulates a cycle.

    Examples
    --------
    >>> layer = Layer.conv(np.full((1, 16, 4, 4), 5), np.ones((16, 16, 1, 1), int), weight_bits=8)
    >>> [Loom(serial_bits=b).compute_cycles(layer) for b in (1, 2, 4)]
    [24, 16, 8]
    """

    name = "loom"

    serial_bits: int = 1
    dynamic_activations: bool = True
    dynamic_weights: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("serial_bits", (1, 2, 4))
        self._check_flag("dynamic_activations")
        self._check_flag("dynamic_weights")

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * self.serial_bits

    @property
    def baseline_rows(self) -> int:
        return max(1, self.rows * self.columns * self.serial_bits // (MAX_BITS * MAX_BITS))

    def compute_cycles(self, layer: Layer) -> int:
        walk = self.walk(layer)
        if self.dynamic_weights:
            weights = self._weight_widths(walk)
            static: list[None] = [None] * layer.batch
            images = self._cycles_per_weight_bit(walk) if self.dynamic_activations else static
            return sum(self._image_cycles(walk, costs, weights) for costs in images)
        if self.dynamic_activations:
            costs = self._cycles_per_weight_bit(walk).astype(np.int32)
            return serial_cycles(walk, costs * layer.weight_bits)
        return layer.batch * fixed_cycles(walk, self._static_cost(layer) * layer.weight_bits)

    def _image_cycles(
        self, walk: Walk, costs: npt.NDArray[np.uint8] | None, weights: npt.NDArray[np.int32]
    ) -> int:
        """Cycles of one image under dynamic weights, the sum of products of costs and widths.

        costs: by one weight bit, of each brick (groups, bricks, X, Y), or None: of the layer's
        width; weights: widths, groups, filter sets, taps.
        """
        if not walk.layer.has_windows:
            bricks = self._static_cost(walk.layer) if costs is None else costs.reshape(-1)
            # In time order: one filter set after the other.
            return round_robin((bricks * weights[0]).reshape(-1), 1, self.columns)
        of_sets = weights.sum(axis=1, dtype=np.int64)
        if costs is None:
            return walk.pallets * self._static_cost(walk.layer) * int(of_sets.sum())
        of_pallets = walk.gather(costs, idle=0).max(axis=-1).sum(axis=1, dtype=np.int64)
        return int((of_pallets * of_sets).sum())

    def _static_cost(self, layer: Layer) -> int:
        """Cycles of the layer's activation width by one weight bit."""
        return ceil_div(layer.activation_bits, self.serial_bits)

    def effectual_bit_products(self, layer: Layer) -> int:
        activations, weights, fixed = None, None, 1
        if self.dynamic_activations:
            signed = layer.activations_signed
            activations = group_bits(layer.padded_activations, 1, axis=1, signed=signed)
        else:
            fixed *= layer.activation_bits
        if self.dynamic_weights:
            weights = group_bits(layer.weights, 1, axis=1, signed=layer.weights_signed)
        else:
            fixed *= layer.weight_bits
        return fixed * sum_over_macs(layer, activations, weights)

    def _cycles_per_weight_bit(self, walk: Walk) -> npt.NDArray[np.uint8]:
        """ceil(width / b) of each brick of activations."""
        signed = walk.layer.activations_signed
        widths = group_bits(walk.activations(), walk.lanes, axis=2, signed=signed)
        return (widths + np.uint8(self.serial_bits - 1)) // np.uint8(self.serial_bits)

    @staticmethod
    def _weight_widths(walk: Walk) -> npt.NDArray[np.int32]:
        """Width of the widest weight in each step: groups, filter sets, taps."""
        signed = walk.layer.weights_signed
        widths = [
            group_bits(weights, walk.lanes, axis=2, signed=signed).max(axis=(0, 2))
            for _, weights in walk.weight_sets()
        ]
        return np.array(widths, np.int32).reshape(walk.groups, walk.filter_sets, walk.taps)
