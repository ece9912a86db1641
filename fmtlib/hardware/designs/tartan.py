"""Tartan: Stripes that saves time in fully connected layers too."""

from dataclasses import dataclass

from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import ceil_div


@dataclass(frozen=True, kw_only=True)
class Tartan(Design):
    """Activations b bits a cycle in convolutions, both operands at the wider's width elsewhere.

    In a convolution a step takes ceil(Pa/b) cycles, as in Stripes. In a fully connected layer
    every column of a row loads weights of its own and works on an output of its own, so
    tiles·rows·columns outputs are in flight and a brick takes ceil(max(Pa, Pw)/b) cycles:

        ceil(C/lanes) · ceil(max(Pa, Pw)/b) · ceil(K/outputs in flight) + columns

    cycles a sample, the last term to fill the columns one after the other. Where K does not fill
    the array, cascading cuts each output's sum into s slices on neighbouring columns, which takes
    s − 1 cycles more to add up:

        ceil(C/(lanes·s)) · ceil(max(Pa, Pw)/b) · ceil(K·s/outputs in flight) + s − 1 + columns

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    serial_bits : int
        b, 1 or 2 bits of each activation a cycle. Two double the peak: compare them with the
        baseline at half the columns.
    cascading : bool
        Use the s from 1 to `columns` that takes the fewest cycles where K is below the outputs in
        flight; the least one of several.

    Notes
    -----
    A. Delmas et al., "Tartan: Accelerating Fully-Connected and Convolutional Layers in Deep
    Learning Networks by Exploiting Numerical Precision Variability", arXiv 1707.09068. **The
    rules are recalled from the paper; the order of fill and slices is our own reading.** Samples
    of a batch come one after the other.

    Examples
    --------
    >>> from fmtlib.hardware.tensors import Shape
    >>> fc = Layer.linear(Shape(1, 4096), Shape(4096, 4096), activation_bits=9, weight_bits=9)
    >>> Tartan(tiles=16).compute_cycles(fc)
    2320
    """

    name = "tartan"

    serial_bits: int = 1
    cascading: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("serial_bits", (1, 2))
        self._check_flag("cascading")

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * MAX_BITS * self.serial_bits

    def compute_cycles(self, layer: Layer) -> int:
        cost = ceil_div(self._bits(layer), self.serial_bits)
        if layer.has_windows:
            return layer.batch * self.walk(layer).steps * cost
        outputs = self.tiles * self.rows * self.columns
        most = self.columns if self.cascading and layer.filters < outputs else 1
        cycles = min(
            ceil_div(layer.channels, self.lanes * s) * cost * ceil_div(layer.filters * s, outputs)
            + s
            - 1
            for s in range(1, most + 1)
        )
        return layer.batch * (cycles + self.columns)

    def effectual_bit_products(self, layer: Layer) -> int:
        bits = ceil_div(self._bits(layer), self.serial_bits) * self.serial_bits
        return bits * MAX_BITS * layer.macs

    @staticmethod
    def _bits(layer: Layer) -> int:
        """Bits of a brick that the array steps through."""
        if layer.has_windows:
            return layer.activation_bits
        return max(layer.activation_bits, layer.weight_bits)
