"""FAST: block floating point on an array of fMAC units."""

from dataclasses import dataclass

from fmtlib.hardware import gemm
from fmtlib.hardware.designs.matrix import MatrixDesign, mantissa_bits
from fmtlib.hardware.gemm import Gemm, Operand
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import ceil_div

# One pass of an fMAC multiplies 2-bit chunks.
_CHUNK_BITS = 2
_DEFAULT_MANTISSA = 4


@dataclass(frozen=True, kw_only=True)
class Fast(MatrixDesign):
    """Groups of values that share an exponent; mantissas multiplied in 2-bit chunks.

    One fMAC multiplies two groups of `lanes` values along the flattened reduction
    (C/groups·kh·kw) in ceil(m_a/2)·ceil(m_b/2) passes of one cycle. In a fully connected layer
    the samples of the batch share the columns; in a convolution each image is walked in turn.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; `lanes` is also the group size, 16 in the paper.
    activation_mantissa, weight_mantissa : int, optional
        Mantissa widths in bits, 1..23, leading one included, sign apart. They, and not the
        layer's `activation_bits` and `weight_bits`, set the cycles. None: those of the layer's
        block operands, else 4.
    gradient_mantissa : int
        Of the gradients in `training_cycles` and `training_passes`.

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
    >>> Fast(gradient_mantissa=2).training_cycles(layer)
    {'forward': 64, 'input_gradient': 32, 'weight_gradient': 32}

    From block operands:

    >>> import fmtlib as fl
    >>> x = fl.encode(np.ones((64, 256), np.float32), fl.bfp(2), axis=1)
    >>> w = fl.encode(np.ones((16, 256), np.float32), fl.bfp(4), axis=1)
    >>> Fast().own_counts(Layer.linear(x, w))
    {'fmac_passes': 32768}
    """

    name = "fast"

    columns: int = 64
    activation_mantissa: int | None = None
    weight_mantissa: int | None = None
    gradient_mantissa: int = _DEFAULT_MANTISSA

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("activation_mantissa", "weight_mantissa"):
            if getattr(self, field) is not None:
                self._check(field, 1, 23)
        self._check("gradient_mantissa", 1, 23)

    def mantissa(self, operand: Operand, layer: Layer) -> int:
        """Mantissa bits of an operand of a layer."""
        match operand:
            case "activations":
                return mantissa_bits(
                    self.activation_mantissa, layer.activation_format, _DEFAULT_MANTISSA
                )
            case "weights":
                return mantissa_bits(self.weight_mantissa, layer.weight_format, _DEFAULT_MANTISSA)
            case "gradients":
                return self.gradient_mantissa

    def passes(self, operands: tuple[Operand, Operand], layer: Layer) -> int:
        """Passes of one pair of groups."""
        chunks = [ceil_div(self.mantissa(operand, layer), _CHUNK_BITS) for operand in operands]
        return chunks[0] * chunks[1]

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * _CHUNK_BITS * _CHUNK_BITS

    def gemm_cycles(self, product: Gemm, layer: Layer) -> int:
        steps = product.steps(
            tiles=self.tiles, lanes=self.lanes, columns=self.columns, rows=self.rows
        )
        return steps * self.passes(product.operands, layer)

    def effectual_bit_products(self, layer: Layer) -> int:
        passes = self.passes(gemm.forward(layer).operands, layer)
        return _CHUNK_BITS * _CHUNK_BITS * passes * layer.macs

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """The exact number of fMAC passes: outputs × pairs of groups × passes of a pair."""
        return {"fmac_passes": self._passes(gemm.forward(layer), layer)}

    def training_passes(self, layer: Layer) -> dict[str, int]:
        """The fMAC passes of the three matrix products of a training step."""
        return {product.name: self._passes(product, layer) for product in gemm.training(layer)}

    def _passes(self, product: Gemm, layer: Layer) -> int:
        pairs = product.count * product.m * product.n * ceil_div(product.k, self.lanes)
        return pairs * self.passes(product.operands, layer)
