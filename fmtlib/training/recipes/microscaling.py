"""Microscaling: small floats in short blocks, each under a scale of its own (MX, NVFP4)."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

import fmtlib as fl
from fmtlib.formats import Rounding
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, reuse
from fmtlib.training.recipes.bfp import lies_transposed, other_axis
from fmtlib.training.recipes.roles import RoleFormats


@dataclass(frozen=True)
class Microscaled(RoleFormats):
    """What the recipes with scaled blocks of floats have in common.

    Every operand is in blocks along the reduction axis of the product that it enters.

    Parameters
    ----------
    weight_format, activation_format, gradient_format : str
        Block formats, see `fmtlib.get_format`.  Blocks of two dimensions are for weights: they lie
        along both axes of the matrix.
    gradient_rounding : str
        See `fmtlib.encode`; weights and activations are rounded to nearest even.
    accumulator : str or fmtlib.Accumulator, optional
        What adds the products up, see `fmtlib.matmul`.  By default the operands' values are
        multiplied by NumPy in float32.

    Notes
    -----
    Blocks whose greatest magnitude lies beyond the greatest element, as OCP's rule of scales allows
    it, saturate there; so stochastic rounding has a bias in them.
    """

    weight_format: str = "mxfp8_e4m3"
    activation_format: str = "mxfp8_e4m3"
    gradient_format: str = "mxfp8_e4m3"

    def __post_init__(self) -> None:
        self._check(fl.BlockFormat, "block")
        for role in ("activation", "gradient"):
            fmt = self._format(role, fl.BlockFormat)
            if isinstance(fmt.block_size, tuple):
                raise ValueError(f"{role}_format must have blocks along one axis, got {fmt.name}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The product of the operands in their formats."""
        if self.accumulator is None:
            return self._values(a, left) @ self._values(b, right), None
        encoded = [
            fl.encode(x, **self._encoding(operand)) for x, operand in ((a, left), (b, right))
        ]
        product: Floats = fl.matmul(*encoded, accumulator=self.accumulator)
        return product, None

    def _values(self, x: Floats, operand: Operand) -> Floats:
        """The values that x has in its format."""
        how = self._encoding(operand)

        def quantize(x: Floats) -> Floats:
            quantized: Floats
            if lies_transposed(x) and not isinstance(how["axis"], tuple) and "seed" not in how:
                quantized = fl.quantize(x.T, **how | {"axis": other_axis(how["axis"])})
                return quantized.T
            quantized = fl.quantize(x, **how)
            return quantized

        # blocks of two dimensions are the same in both products
        return reuse(quantize, x, operand) if isinstance(how["axis"], tuple) else quantize(x)

    def _encoding(self, operand: Operand) -> dict[str, Any]:
        """The arguments of `encode`, and of `quantize`."""
        fmt = self._format(operand.role, fl.BlockFormat)
        axis = (-2, -1) if isinstance(fmt.block_size, tuple) else operand.axis
        return {"fmt": fmt, "axis": axis, **self._rounding(operand)}


@dataclass(frozen=True)
class MXFP8(Microscaled):
    """Eight-bit floats in blocks of 32 under powers of two: E4M3 forward, E5M2 for gradients.

    Parameters
    ----------
    **options
        See `Microscaled`.

    References
    ----------
    OCP Microscaling Formats (MX) v1.0 defines the formats, not which operand takes which: the
    choice is that of FP8 training (arXiv 2209.05433), with gradients rounded to nearest even.
    ``gradient_format="mxfp8_e4m3"`` is the other one in use.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.MXFP8().start()
    >>> run.gemm(np.float32([[1.0, 0.3]]), np.float32([[0.0], [1.0]]), "forward", 0)
    array([[0.3125]], dtype=float32)
    """

    gradient_format: str = "mxfp8_e5m2"


@dataclass(frozen=True)
class MXFP4(Microscaled):
    """Four-bit floats (E2M1) in blocks of 32 under powers of two, stochastic for gradients.

    Parameters
    ----------
    **options
        See `Microscaled`.

    References
    ----------
    OCP Microscaling Formats (MX) v1.0, whose rule of scales (floor) it takes; which operand is
    rounded how is our choice.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.MXFP4().gradient_rounding
    'stochastic'
    """

    weight_format: str = "mxfp4_e2m1"
    activation_format: str = "mxfp4_e2m1"
    gradient_format: str = "mxfp4_e2m1"
    gradient_rounding: Rounding = "stochastic"


@dataclass(frozen=True)
class NVFP4(Microscaled):
    """NVIDIA's four-bit training: E2M1 in blocks of 16 under E4M3 scales and one of the tensor.

    Weights are in tiles of 16 × 16, so that they are the same numbers forward and backward;
    gradients are rounded stochastically.

    Parameters
    ----------
    hadamard : bool
        Whether both operands of the weight gradient are turned before they are rounded, see Notes.
    **options
        See `Microscaled`.

    Notes
    -----
    The scale of the tensor is by its own greatest magnitude.

    A random Hadamard transform multiplies every 16 values along the reduction axis by an orthogonal
    matrix, ``H·diag(s)/4`` with random signs s, and so spreads an outlier over all of them.  Both
    operands get the same one, so that the product stays what it was but for rounding.  The signs
    are drawn once per run; what is left of the axis beyond a multiple of 16 is not turned.  The
    published recipe has it; some layers in higher precision, which it has too, are not here.

    References
    ----------
    NVIDIA, "Pretraining Large Language Models with NVFP4", arXiv 2509.25149.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.NVFP4().weight_format
    'nvfp4_g16x16'
    """

    weight_format: str = "nvfp4_g16x16"
    activation_format: str = "nvfp4"
    gradient_format: str = "nvfp4"
    gradient_rounding: Rounding = "stochastic"
    hadamard: bool = False

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The product of the operands in their formats, turned before if that is asked for."""
        if self.hadamard and left.gemm == "weight_gradient":
            turn = _rotation(left.key[0])
            a = _turned(a, turn)
            b = _turned(b.swapaxes(-1, -2), turn).swapaxes(-1, -2)
        return super().product(a, b, left, right)


_TURNED = 16


@cache
def _rotation(seed: int) -> Floats:
    """``H·diag(s)/4``: Sylvester's Hadamard matrix, its columns with random signs; orthogonal."""
    hadamard = np.ones((1, 1))
    while len(hadamard) < _TURNED:
        hadamard = np.block([[hadamard, hadamard], [hadamard, -hadamard]])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], _TURNED)
    rotation: Floats = (hadamard * signs / np.sqrt(_TURNED)).astype(np.float32)
    return rotation


def _turned(x: Floats, rotation: Floats) -> Floats:
    """Every 16 values of the last axis as their product with the rotation; the rest as it is."""
    whole = x.shape[-1] // _TURNED * _TURNED
    groups = x[..., :whole].reshape(*x.shape[:-1], -1, _TURNED) @ rotation.T
    turned: Floats = np.concatenate([groups.reshape(*x.shape[:-1], whole), x[..., whole:]], axis=-1)
    return turned
