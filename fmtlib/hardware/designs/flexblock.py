"""FlexBlock: block floating point of 4, 8 or 16 bits on one array."""

from dataclasses import dataclass

from fmtlib.hardware import gemm
from fmtlib.hardware.designs.matrix import MatrixDesign, mantissa_bits
from fmtlib.hardware.gemm import Gemm, Operand
from fmtlib.hardware.layers import Layer

_MODES = (4, 8, 16)


@dataclass(frozen=True, kw_only=True)
class FlexBlock(MatrixDesign):
    """Multipliers that split: with both operands of 8 bits 4, of 4 bits 16 products at once.

    A multiplier of 16 × 16 bits does 256/(a·b) products of modes a and b a cycle, all of one sum:
    its lane takes as many values of the reduction.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; one column by default, as bit-parallel as the baseline.
    activation_mode, weight_mode : {4, 8, 16}, optional
        Mantissa bits. None: the narrowest mode that holds the mantissas of the layer's block
        operands, else 16.
    gradient_mode : {4, 8, 16}
        Of the gradients in `training_cycles`.

    Notes
    -----
    S.-H. Noh et al., "FlexBlock: A Flexible DNN Training Accelerator with Multi-Mode Block
    Floating Point Support", IEEE TC 2023 (arXiv 2203.06673). The abstract says that the modes of
    8 and 4 bits do 4 and 16 times the MACs of that of 16. **Modes mixed in one product, how the
    products are laid out on the array, and its size are our own reading.**

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.linear(np.ones((1, 256), int), np.ones((16, 256), int))
    >>> [FlexBlock(activation_mode=m, weight_mode=m).compute_cycles(layer) for m in (16, 8, 4)]
    [16, 4, 1]
    """

    name = "flexblock"

    columns: int = 1
    activation_mode: int | None = None
    weight_mode: int | None = None
    gradient_mode: int = 16

    def __post_init__(self) -> None:
        super().__post_init__()
        for field in ("activation_mode", "weight_mode"):
            if getattr(self, field) is not None:
                self._check_choice(field, _MODES)
        self._check_choice("gradient_mode", _MODES)

    def modes(self, operands: tuple[Operand, Operand], layer: Layer) -> tuple[int, int]:
        """Modes of the two operands of a product."""
        of = {
            "activations": (self.activation_mode, layer.activation_format),
            "weights": (self.weight_mode, layer.weight_format),
            "gradients": (self.gradient_mode, None),
        }
        first, second = (_mode(mantissa_bits(*of[name], max(_MODES))) for name in operands)
        return first, second

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * max(_MODES) ** 2

    def gemm_cycles(self, product: Gemm, layer: Layer) -> int:
        a, b = self.modes(product.operands, layer)
        return product.steps(
            tiles=self.tiles,
            lanes=self.lanes * (max(_MODES) ** 2 // (a * b)),
            columns=self.columns,
            rows=self.rows,
        )

    def effectual_bit_products(self, layer: Layer) -> int:
        a, b = self.modes(gemm.forward(layer).operands, layer)
        return a * b * layer.macs


def _mode(bits: int) -> int:
    """The narrowest mode that holds a mantissa."""
    if bits > max(_MODES):
        raise ValueError(f"FlexBlock's mantissas have at most {max(_MODES)} bits, not {bits}")
    return next(mode for mode in _MODES if bits <= mode)
