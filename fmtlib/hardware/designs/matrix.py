"""What the designs for training share: cycles by matrix products, whose operands have widths."""

from abc import abstractmethod
from dataclasses import dataclass

from fmtlib.formats import BlockFormat
from fmtlib.hardware import gemm
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.gemm import Gemm
from fmtlib.hardware.layers import Layer


@dataclass(frozen=True, kw_only=True)
class MatrixDesign(Design):
    """An array for matrix products, of inference and of training.

    The layer is a matrix product here: grouped and depthwise convolutions take their groups in
    turn, and a first layer is not folded. In a fully connected layer the samples of the batch
    share the columns; in a convolution each image is walked in turn.
    """

    @abstractmethod
    def gemm_cycles(self, product: Gemm, layer: Layer) -> int:
        """Cycles of one of the matrix products of a layer."""

    def compute_cycles(self, layer: Layer) -> int:
        return self.gemm_cycles(gemm.forward(layer), layer)

    def training_cycles(self, layer: Layer) -> dict[str, int]:
        """Cycles of the three matrix products of a training step.

        Returns
        -------
        dict
            ``"forward"``, ``"input_gradient"`` and ``"weight_gradient"``; see
            `fmtlib.hardware.gemm.training`.
        """
        return {product.name: self.gemm_cycles(product, layer) for product in gemm.training(layer)}


def mantissa_bits(given: int | None, fmt: BlockFormat | None, otherwise: int) -> int:
    """Mantissa bits of an operand: those given, else those of its blocks, else a default."""
    if given is not None:
        return given
    return fmt.mantissa_bits if fmt is not None else otherwise
