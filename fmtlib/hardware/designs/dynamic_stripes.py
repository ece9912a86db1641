"""Dynamic Stripes, DPRed Stripes, ShapeShifter: precision detected per group of activations."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import (
    Walk,
    run_ahead_cycles,
    serial_cycles,
    sum_over_macs,
)
from fmtlib.precision import group_bits

# Above any position of a set bit: the low end of a group without one.
_NO_BIT = 2 * MAX_BITS


@dataclass(frozen=True, kw_only=True)
class DynamicStripes(Design):
    """Activations bit-serial, at the width the values in flight need.

    A step takes as many cycles as the widest group in flight has bits. A group is the `lanes`
    channels of `group_size` neighbouring columns; in a tensor with a negative every width holds a
    sign bit. An all-zero group takes 1 cycle (2 if signed).

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    ends : {"leading", "both"}
        Trim bits above the highest one only, or also below the lowest set bit of the group
        (n_H − n_L + 1 cycles).
    run_ahead : int
        Registers per column that let columns run ahead of each other in a convolution; 0 makes
        all columns wait for the slowest at each step.
    group_size : int
        Columns that share one stored width, at most `columns`. With ``ends="leading"`` and
        without run-ahead it changes storage, not cycles. In a fully connected layer each column
        holds a brick of its own and it has no effect.
    even_widths : bool
        Widths are rounded up to even ones and two bits are processed a cycle: ceil(width/2)
        cycles. This doubles the peak: compare it with the baseline at half the columns.

    Notes
    -----
    "Dynamic Stripes" (Delmas et al., 2017), "DPRed" (2018) and "ShapeShifter" (MICRO 2019), as
    modelled by DNNsim: every count of the reference layers is reproduced. The low end of a
    negative value is its own lowest set bit.

    Examples
    --------
    >>> layer = Layer.conv(np.full((1, 16, 4, 4), 5), np.ones((16, 16, 1, 1), int))
    >>> DynamicStripes().compute_cycles(layer)
    3
    >>> DynamicStripes(even_widths=True).compute_cycles(layer)
    2
    """

    name = "dynamic_stripes"

    ends: Literal["leading", "both"] = "leading"
    run_ahead: int = 0
    group_size: int = 1
    even_widths: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("ends", ("leading", "both"))
        self._check("run_ahead", 0)
        self._check("group_size", 1, self.columns)
        self._check_flag("even_widths")

    @property
    def bits_per_cycle(self) -> int:
        """Activation bits processed each cycle."""
        return 2 if self.even_widths else 1

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * self.bits_per_cycle * MAX_BITS

    def compute_cycles(self, layer: Layer) -> int:
        walk = self.walk(layer)
        if layer.has_windows:
            return sum(self._image_cycles(walk, image) for image in walk.activations())
        x = walk.activations()
        costs = self._cycles(self._widths(x, self.lanes, 2, layer))
        return serial_cycles(walk, costs)

    def effectual_bit_products(self, layer: Layer) -> int:
        widths = self._widths(layer.padded_activations, 1, 1, layer)
        bits = self._cycles(widths) * np.uint8(self.bits_per_cycle)
        return sum_over_macs(layer, bits) * MAX_BITS

    def _cycles(self, widths: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return (widths + np.uint8(1)) // np.uint8(2) if self.even_widths else widths

    def _widths(
        self, values: npt.NDArray[np.int16], size: int, axis: int, layer: Layer
    ) -> npt.NDArray[np.uint8]:
        """Width of each run of `size` values by itself."""
        signed = layer.activations_signed
        if self.ends == "leading":
            return group_bits(values, size, axis=axis, signed=signed)
        high, low = group_bits(values, size, axis=axis, ends="both", signed=signed)
        return high - low

    def _image_cycles(self, walk: Walk, image: npt.NDArray[np.int16]) -> int:
        """Cycles of one image (groups, channels, X, Y) of a convolution."""
        costs = self._cycles(self._group_widths(walk, image))
        if self.run_ahead == 0:
            return int(costs.max(axis=-1).sum(dtype=np.int64)) * walk.filter_sets
        steps = costs.reshape(-1, *costs.shape[2:])
        return run_ahead_cycles(steps, walk.filter_sets, self.run_ahead)

    def _group_widths(self, walk: Walk, image: npt.NDArray[np.int16]) -> npt.NDArray[np.uint8]:
        """Widths by groups, pallets, taps and groups of columns; 0 for idle columns."""
        signed = walk.layer.activations_signed
        columns = np.arange(0, self.columns, self.group_size)
        if self.ends == "leading":
            high = group_bits(image, walk.lanes, axis=1, signed=signed)
            return np.maximum.reduceat(walk.gather(high, idle=0), columns, axis=-1)
        high, low = group_bits(image, walk.lanes, axis=1, ends="both", signed=signed)
        # A brick of zeros has no low end of its own and must not lower that of its neighbours.
        bricks = np.arange(0, walk.channels, walk.lanes)
        occupied = np.logical_or.reduceat(image != 0, bricks, axis=1)
        low = np.where(occupied, low, np.uint8(_NO_BIT))
        high = np.maximum.reduceat(walk.gather(high, idle=0), columns, axis=-1)
        low = np.minimum.reduceat(walk.gather(low, idle=_NO_BIT), columns, axis=-1)
        return np.where(low == _NO_BIT, high, high - low)
