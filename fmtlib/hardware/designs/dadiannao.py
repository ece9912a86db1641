"""DaDianNao: the bit-parallel baseline."""

from dataclasses import dataclass

from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS, Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import fixed_cycles


@dataclass(frozen=True, kw_only=True)
class DaDianNao(Design):
    """Bit-parallel 16 × 16-bit multipliers, one window at a time: each step takes one cycle.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; one column by default, which at 16 bits does as many bit products a cycle as
        16 columns of a bit-serial design.

    Notes
    -----
    Y. Chen et al., "DaDianNao: A Machine-Learning Supercomputer", MICRO 2014, as modelled by
    DNNsim: every count of the reference layers is reproduced.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.ones((1, 256), int), np.ones((64, 256), int))
    >>> DaDianNao().compute_cycles(layer)
    64
    """

    name = "dadiannao"

    columns: int = 1

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * BIT_PARALLEL_PRODUCTS

    def compute_cycles(self, layer: Layer) -> int:
        return layer.batch * fixed_cycles(self.walk(layer), 1)

    def effectual_bit_products(self, layer: Layer) -> int:
        return BIT_PARALLEL_PRODUCTS * layer.macs
