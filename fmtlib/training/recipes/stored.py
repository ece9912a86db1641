"""Weights that are stored in low precision, with no float32 master."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.formats import Format, Rounding
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe, check_rounding
from fmtlib.training.recipes.floats import Float32

FLOAT32 = Float32()


@dataclass(frozen=True)
class StoredWeights(Recipe):
    """Another recipe, on weights that every update rounds to a format.

    The optimizer's new weights are rounded and kept so: there is no master in full precision, and
    an update that is small beside a weight's last bit is lost, or made at random.

    Parameters
    ----------
    recipe : Recipe
        What computes the products.
    format : str or Format
        Any; see `fmtlib.get_format`.  Blocks lie along the reduction axis of the forward product;
        those of two dimensions also along the outputs.
    rounding : str
        See `fmtlib.encode`.
    random_bits : int, optional
        Bits of noise of stochastic rounding; by default all that count.
    scaled : bool
        For formats that are not of blocks: whether each weight tensor is scaled so that its
        greatest magnitude becomes the format's greatest value.

    Notes
    -----
    Initial weights are rounded too.  Parameters of one axis, such as biases, stay float32; so does
    what the optimizer keeps.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> recipe = training.StoredWeights(format="bfp_m2_e8_g16", rounding="nearest_even")
    >>> weight = training.Parameter(np.float32([[1.0, 0.3]]))
    >>> recipe.start().store([weight])
    >>> weight.value
    array([[1. , 0.5]], dtype=float32)
    """

    recipe: Recipe = FLOAT32
    format: str | Format = "bfp_m4_e8_g16"
    rounding: Rounding = "stochastic"
    random_bits: int | None = None
    scaled: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {self.recipe!r}")
        fmt = fl.get_format(self.format)
        if self.scaled and isinstance(fmt, fl.BlockFormat):
            raise ValueError(f"scaled=True is not for blocks, which have scales: {fmt.name}")
        check_rounding("rounding", self.rounding)
        if self.random_bits is not None:
            whole_number("random_bits", self.random_bits, 1, 32)
            if not self.rounding.startswith("stochastic"):
                raise ValueError(f"random_bits are of stochastic rounding, not {self.rounding}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The other recipe's."""
        return self.recipe.product(a, b, left, right)

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """The other recipe's."""
        return self.recipe.choose_bits(x, operand)

    def effectual_macs(
        self, left: Operand, right: Operand, rows: int, depth: int, columns: int
    ) -> int:
        """The other recipe's."""
        return self.recipe.effectual_macs(left, right, rows, depth, columns)

    def store(self, value: Floats, key: tuple[int, int]) -> Floats:
        """The values that a weight has in the format."""
        value = self.recipe.store(value, key)
        if value.ndim < 2 or not value.size:
            return value
        how: dict[str, Any] = {"rounding": self.rounding}
        if self.rounding.startswith("stochastic"):
            how |= {"seed": key, "random_bits": self.random_bits}
        fmt = fl.get_format(self.format)
        if isinstance(fmt, fl.BlockFormat):
            how["axis"] = (0, 1) if isinstance(fmt.block_size, tuple) else 1
        elif self.scaled:
            amax = float(np.abs(value).max())
            how["scale"] = amax / fmt.max if 0 < amax < np.inf else 1.0
        stored: Floats = fl.quantize(value.reshape(len(value), -1), fmt, **how)
        return stored.reshape(value.shape)
