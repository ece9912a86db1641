"""BitFusion: 2-bit multipliers fused to the widths of a layer."""

from dataclasses import dataclass

from fmtlib.hardware import gemm
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer

_WIDTHS = (2, 4, 8, 16)
_BRICKS = 16  # 2 × 2-bit multipliers of a fusion unit


@dataclass(frozen=True, kw_only=True)
class BitFusion(Design):
    """Fusion units of 16 multipliers of 2 × 2 bits, joined to products of 2, 4, 8 or 16 bits.

    The layer's widths Pa and Pw are rounded up to a and w of these. A unit does 64/(a·w)
    products of up to 8 bits at once, all of one sum; one operand of 16 bits takes 2 cycles at 8,
    two take 4. The layer is a matrix product: a step takes `lanes` units' products of the
    reduction for `columns` windows and `rows` filters of every tile.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array of fusion units; 4 columns by default, which have the bit-parallel baseline's
        peak.

    Notes
    -----
    H. Sharma et al., "Bit Fusion: Bit-Level Dynamically Composable Architecture for Accelerating
    Deep Neural Networks", ISCA 2018 (arXiv 1712.01507), by its published formula of products per
    fusion unit. **How the products are laid out on the array is our own reading**; systolic fill
    is not counted.

    Examples
    --------
    >>> from fmtlib.hardware.tensors import Shape
    >>> for bits in (2, 8, 16):
    ...     fc = Layer.linear(Shape(4, 256), Shape(16, 256), activation_bits=bits, weight_bits=bits)
    ...     print(BitFusion().compute_cycles(fc))
    1
    16
    64
    """

    name = "bitfusion"

    columns: int = 4

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * _BRICKS * _WIDTHS[0] ** 2

    def compute_cycles(self, layer: Layer) -> int:
        widths = self.widths(layer)
        spatial = [min(width, 8) for width in widths]
        fused = _BRICKS * _WIDTHS[0] ** 2 // (spatial[0] * spatial[1])
        steps = gemm.forward(layer).steps(
            tiles=self.tiles, lanes=self.lanes * fused, columns=self.columns, rows=self.rows
        )
        return steps * (widths[0] // spatial[0]) * (widths[1] // spatial[1])

    def effectual_bit_products(self, layer: Layer) -> int:
        a, w = self.widths(layer)
        return a * w * layer.macs

    @staticmethod
    def widths(layer: Layer) -> tuple[int, int]:
        """The widths of activations and weights, rounded up to those a unit can do."""
        a, w = (
            next(width for width in _WIDTHS if bits <= width)
            for bits in (layer.activation_bits, layer.weight_bits)
        )
        return a, w
