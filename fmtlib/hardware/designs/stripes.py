"""Stripes: activations bit-serial at the layer's profiled precision."""

from dataclasses import dataclass

from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import fixed_cycles


@dataclass(frozen=True, kw_only=True)
class Stripes(Design):
    """Activations one bit a cycle, 16-bit weights in parallel: a step takes Pa cycles.

    Pa is the layer's `activation_bits`, at most 16.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.

    Notes
    -----
    P. Judd et al., "Stripes: Bit-Serial Deep Neural Network Computing", MICRO 2016, as modelled
    by DNNsim: every count of the reference layers is reproduced.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.ones((1, 256), int), np.ones((64, 256), int), activation_bits=9)
    >>> Stripes().compute_cycles(layer)
    72
    """

    name = "stripes"

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * MAX_BITS  # one activation bit by a 16-bit weight

    def compute_cycles(self, layer: Layer) -> int:
        return layer.batch * fixed_cycles(self.walk(layer), self._activation_bits(layer))

    def effectual_bit_products(self, layer: Layer) -> int:
        return self._activation_bits(layer) * MAX_BITS * layer.macs

    @staticmethod
    def _activation_bits(layer: Layer) -> int:
        return min(layer.activation_bits, MAX_BITS)
