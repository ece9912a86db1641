"""FAST: block floating point on an array of fMAC units."""

from dataclasses import dataclass

from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import ceil_div

# One pass of an fMAC multiplies 2-bit chunks.
_CHUNK_BITS = 2


@dataclass(frozen=True, kw_only=True)
class Fast(Design):
    """Groups of values that share an exponent; mantissas multiplied in 2-bit chunks.

    One fMAC multiplies two groups of `lanes` values along the flattened reduction
    (C/groups·kh·kw) in ceil(m_a/2)·ceil(m_b/2) passes of one cycle. In a fully connected layer
    the samples of the batch share the columns; in a convolution each image is walked in turn.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; `lanes` is also the group size, 16 in the paper.
    activation_mantissa, weight_mantissa : int
        Mantissa widths in bits, 1..23, leading one included, sign apart. They, and not the
        layer's `activation_bits` and `weight_bits`, set the cycles.

    Notes
    -----
    S. Q. Zhang et al., "FAST: DNN Training Under Variable Precision Block Floating Point with
    Stochastic Rounding", HPCA 2022 (arXiv 2110.15456), for the fMAC and its passes. **The size of
    the array is our own choice**, the paper's could not be read: with 64 columns the peak,
    64·16·16 fMAC lanes of 2 × 2 bits, equals that of the bit-parallel baseline, 16·16 multipliers
    of 16 × 16 bits. The layer is a matrix product here: grouped and depthwise convolutions take
    their groups in turn, and a first layer is not folded.

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.ones((64, 256), int), np.ones((16, 256), int))
    >>> Fast().compute_cycles(layer), Fast(activation_mantissa=2).compute_cycles(layer)
    (64, 32)
    """

    name = "fast"

    columns: int = 64
    activation_mantissa: int = 4
    weight_mantissa: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("activation_mantissa", 1, 23)
        self._check("weight_mantissa", 1, 23)

    @property
    def passes(self) -> int:
        """Passes of one pair of groups."""
        return ceil_div(self.activation_mantissa, _CHUNK_BITS) * ceil_div(
            self.weight_mantissa, _CHUNK_BITS
        )

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * _CHUNK_BITS * _CHUNK_BITS

    def compute_cycles(self, layer: Layer) -> int:
        if layer.has_windows:
            pallets = layer.batch * ceil_div(layer.windows, self.columns)
        else:
            pallets = ceil_div(layer.batch, self.columns)
        filters = layer.filters // layer.groups
        filter_sets = ceil_div(ceil_div(filters, self.rows), self.tiles)
        return layer.groups * pallets * filter_sets * self._group_pairs(layer) * self.passes

    def effectual_bit_products(self, layer: Layer) -> int:
        return _CHUNK_BITS * _CHUNK_BITS * self.passes * layer.macs

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """The exact number of fMAC passes: outputs × pairs of groups × passes of a pair."""
        outputs = layer.batch * layer.windows * layer.filters
        return {"fmac_passes": outputs * self._group_pairs(layer) * self.passes}

    def _group_pairs(self, layer: Layer) -> int:
        """Pairs of groups in one output."""
        return ceil_div(layer.reduction, self.lanes)
