"""Block floating point whose width changes during training: by a rule, or at one point of it."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np

from fmtlib.arguments import whole_number
from fmtlib.formats import Rounding
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand
from fmtlib.training.recipes.bfp import BlockRecipe, lies_transposed

# More than sums of float32, which NumPy adds pairwise, can be off.
_DOUBT = 1e-3
# Elements that are looked at together, so that all that is made of them stays in a cache.
_AT_ONCE = 1 << 15


@dataclass(frozen=True)
class FAST(BlockRecipe):
    """Block floating point whose width each tensor chooses in each iteration.

    A tensor X takes the high width once the low one would lose too much of it:

    - ``r(X) = Σ|Q_high(X) - Q_low(X)| / Σ|Q_low(X)|`` is the loss, 0 if the denominator is;
    - ``ε(l, i) = alpha - beta * i / I - beta * l / L`` is what iteration i of I tolerates in
      layer l of L, both counted from 0: less later in training and in later layers;
    - the width is `low` if ``r(X) < ε(l, i)`` or the denominator is 0, else `high`.

    Parameters
    ----------
    alpha, beta : float
        Threshold.  The defaults suit truncated weights and activations; 0.35 and 0.15 are of the
        right size for rounding to nearest, where the loss is about half.
    low, high : int
        Mantissa bits.
    weight_rounding, activation_rounding : str
        Truncation by default, as in the paper.
    **options
        See `BlockRecipe`.

    Notes
    -----
    The values of alpha and beta are not the paper's: they come from small experiments, judged on
    validation data.  Both widths are tried with the tensor's own rounding (and, if it is
    stochastic, the same random bits), in groups along the reduction axis of the first product that
    the tensor enters: the forward product for weights and activations, that of the weight gradient
    for gradients.  The denominator is a sum of magnitudes: a sum of signed values is near zero,
    whatever the loss.  In evaluations the threshold is that of the point of training reached.

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, "FAST: DNN Training Under Variable Precision Block
    Floating Point with Stochastic Rounding", HPCA 2022, arXiv 2110.15456.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.FAST(0.5, 0.25).threshold(layer=1, layers=2, iteration=50, iterations=100)
    0.25
    """

    alpha: float = 0.6
    beta: float = 0.3
    low: int = 2
    high: int = 4
    weight_rounding: Rounding = field(default="toward_zero", kw_only=True)
    activation_rounding: Rounding = field(default="toward_zero", kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_widths(self.low, self.high)
        for name in ("alpha", "beta"):
            value = getattr(self, name)
            if not isinstance(value, (int, float)):
                raise TypeError(f"{name} must be a number, got {value!r}")
            if not math.isfinite(value):
                raise ValueError(f"{name} must be finite, got {value}")

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """`low` or `high`, by the rule above."""
        threshold = self.threshold(
            operand.layer, operand.layers, operand.iteration, operand.iterations
        )
        for dtype in (np.float32, np.float64):  # sums of the former take a fraction of the time
            lost, magnitude = self._sums(x, operand, dtype)
            if magnitude == 0:
                return self.low
            certain = math.isfinite(lost + magnitude)
            if certain and abs(lost / magnitude - threshold) > _DOUBT * threshold:
                break
        return self.low if lost / magnitude < threshold else self.high

    def _sums(self, x: Floats, operand: Operand, dtype: type[np.floating]) -> tuple[float, float]:
        """``Σ|Q_high(X) - Q_low(X)|`` and ``Σ|Q_low(X)|``, in float64 of sums in `dtype`."""
        lost = magnitude = 0.0
        random = "seed" in self._rounding(operand)  # words go by the place in the whole tensor
        for part in [x] if random else _slabs(x, self.group_size):
            high, low = (self.quantize(part, operand, bits) for bits in (self.high, self.low))
            np.abs(np.subtract(high, low, out=high), out=high)
            np.abs(low, out=low)
            with np.errstate(over="ignore"):
                lost += float(high.ravel("K").sum(dtype=dtype))
                magnitude += float(low.ravel("K").sum(dtype=dtype))
        return lost, magnitude

    def threshold(self, layer: int, layers: int, iteration: int, iterations: int) -> float:
        """``ε(l, i)``, the relative loss that a tensor may suffer at the low width."""
        return self.alpha - self.beta * iteration / iterations - self.beta * layer / layers


def _slabs(x: Floats, group: int) -> Iterator[Floats]:
    """Parts of a matrix that are neighbours in memory and hold whole groups along either axis."""
    if x.ndim != 2:
        yield x
        return
    turned = lies_transposed(x)
    rows = x.T if turned else x
    step = max(1, _AT_ONCE // max(1, rows.shape[1]) // group) * group
    for start in range(0, len(rows), step):
        part = rows[start : start + step]
        yield part.T if turned else part


@dataclass(frozen=True)
class SwitchAt(BlockRecipe):
    """Block floating point of a low width up to a point of training, then of a high one.

    The plain control that an adaptive recipe has to be compared with.

    Parameters
    ----------
    fraction : float
        Share of the iterations at the low width, from 0 to 1.
    low, high : int
        Mantissa bits.
    **options
        See `BlockRecipe`.

    Examples
    --------
    >>> from fmtlib import training
    >>> training.SwitchAt(0.25).fraction
    0.25
    """

    fraction: float = 0.5
    low: int = 2
    high: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_widths(self.low, self.high)
        if not 0 <= self.fraction <= 1:
            raise ValueError(f"fraction must be from 0 to 1, got {self.fraction}")

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """`low` before the point, `high` from it on."""
        early = operand.iteration < self.fraction * operand.iterations
        return self.low if early else self.high


def _check_widths(low: int, high: int) -> None:
    whole_number("low", low, 1, 8)
    whole_number("high", high, 1, 8)
    if low >= high:
        raise ValueError(f"low must be less than high, got {low} and {high}")
