"""N:M sparsity: of every M weights that meet in a product, the N greatest take part."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe
from fmtlib.training.recipes.floats import Float32

FLOAT32 = Float32()


@dataclass(frozen=True)
class NM(Recipe):
    """Weights N:M sparse forward and backward, by magnitude, from dense masters (BDWP).

    In each step two masks are made of the dense weights: the forward product takes, of every
    `group` input channels that lie together, the `kept` greatest weights, and the product for the
    gradient of the input those of every `group` output channels.  The gradient of the weights is
    dense, and all of it goes to the masters ("straight through").

    Parameters
    ----------
    kept, group : int
        N and M.
    backward : bool
        Whether the gradient of the input is sparse too.
    recipe : Recipe
        What computes the products, after the mask.

    Notes
    -----
    A step takes N/M + N/M + 1 times the multiplications of a product instead of 3
    (``Run.effectual_macs``); with 2:8 that is half as many.  Activations that are multiplied by
    activations stay dense.

    Our choices: of equal magnitudes the first is kept; a group that is cut short by the end of the
    axis keeps N of what it has.  So the first layer of a network, whose images have one channel,
    stays dense.

    References
    ----------
    SAT, the accelerator of bidirectional weight pruning (BDWP).

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.NM(1, 2).start()
    >>> run.gemm(np.float32([[1, 1, 1, 1]]), np.float32([[1], [-2], [4], [3]]), "forward", 0)
    array([[2.]], dtype=float32)
    >>> run.macs, run.effectual_macs
    (4, 2)
    """

    kept: int = 2
    group: int = 8
    backward: bool = True
    recipe: Recipe = FLOAT32

    def __post_init__(self) -> None:
        whole_number("kept", self.kept, 1)
        whole_number("group", self.group, self.kept)
        if not isinstance(self.recipe, Recipe):
            raise TypeError(f"recipe must be a Recipe, got {self.recipe!r}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The other recipe's product, of what is kept."""
        return self.recipe.product(a, self._pruned(b, right), left, right)

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """The other recipe's choice, of what is kept."""
        return self.recipe.choose_bits(self._pruned(x, operand), operand)

    def effectual_macs(
        self, left: Operand, right: Operand, rows: int, depth: int, columns: int
    ) -> int:
        """Those of the weights that are kept."""
        if self._prunes(right):
            taps = right.taps if right.gemm == "forward" else 1
            whole, rest = divmod(depth // taps, self.group)
            depth = taps * (whole * self.kept + min(self.kept, rest))
        return self.recipe.effectual_macs(left, right, rows, depth, columns)

    def store(self, value: Floats, key: tuple[int, int]) -> Floats:
        """What the other recipe stores: all of it."""
        return self.recipe.store(value, key)

    def _prunes(self, operand: Operand) -> bool:
        return operand.role == "weight" and (operand.gemm == "forward" or self.backward)

    def _pruned(self, x: Floats, operand: Operand) -> Floats:
        if not self._prunes(operand):
            return x
        place = ("pruned", operand.gemm)
        held = operand.step.get(place)
        if held is None or held[0] is not x:
            taps = operand.taps if operand.gemm == "forward" else 1
            mask = nm_mask(x, self.kept, self.group, axis=-2, taps=taps)
            held = operand.step[place] = (x, np.where(mask, x, np.zeros_like(x)))
        pruned: Floats = held[1]
        return pruned


def nm_mask(
    x: NDArray[Any], kept: int, group: int, axis: int = -1, *, taps: int = 1
) -> NDArray[np.bool_]:
    """Where an array keeps its values under N:M sparsity.

    Parameters
    ----------
    x : ndarray of numbers
    kept, group : int
        Of every `group` values along the axis, the `kept` of greatest magnitude; of equal ones the
        first.  The last group may be shorter.
    axis : int
    taps : int
        Values along the axis that lie together but are of different groups: the axis is taken as
        channels × taps, and groups are of channels.

    Returns
    -------
    ndarray of bool
        In x's shape.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> training.nm_mask(np.array([3, -1, 4, 1, -5, 9, 2, 6]), 2, 4).astype(int)
    array([1, 0, 1, 0, 0, 1, 0, 1])
    """
    kept = whole_number("kept", kept, 1)
    group = whole_number("group", group, kept)
    size = x.shape[axis]
    if taps < 1 or size % taps:
        raise ValueError(f"taps must divide the {size} values of the axis, got {taps}")
    channels = size // taps
    magnitudes = np.abs(np.moveaxis(x, axis, -1)).reshape(*np.delete(x.shape, axis), channels, taps)
    magnitudes = magnitudes.swapaxes(-1, -2)
    # what fills the last group up is smaller than all
    short = -channels % group
    padded = np.pad(magnitudes, [(0, 0)] * (magnitudes.ndim - 1) + [(0, short)], constant_values=-1)
    padded = padded.reshape(*padded.shape[:-1], -1, group)
    order = np.argsort(-padded, axis=-1, kind="stable")[..., :kept]
    mask = np.zeros(padded.shape, np.bool_)
    np.put_along_axis(mask, order, True, axis=-1)
    mask = mask.reshape(*mask.shape[:-2], -1)[..., :channels]
    mask = mask.swapaxes(-1, -2).reshape(*np.delete(x.shape, axis), size)
    return np.moveaxis(mask, -1, axis)
