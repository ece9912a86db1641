"""Recipes: which number format every operand of every matrix product takes, and when.

A `Recipe` is a frozen record of its parameters.  ``recipe.start(...)`` makes a `Run`, which holds
everything that changes during training: the iteration, the counts, the decisions taken.  Layers
call `Run.gemm` for all their products, so that it is the one place where operands are
quantised and multiplications are counted.

A new recipe is one class here: ``product`` says how two operands are multiplied and, if the recipe
chooses mantissa widths, ``choose_bits`` says which.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.formats import Rounding
from fmtlib.training.layers import Floats

Gemm: TypeAlias = Literal["forward", "weight_gradient", "input_gradient"]
Role: TypeAlias = Literal["weight", "activation", "gradient"]

GEMMS: tuple[Gemm, ...] = get_args(Gemm)
# Making a format checks it, which would cost more than to encode a small tensor.
_bfp = cache(fl.bfp)
# The roles of the left and the right operand: O = A·W, dW = Aᵀ·dO, dA = dO·Wᵀ.
_OPERANDS: dict[Gemm, tuple[Role, Role]] = {
    "forward": ("activation", "weight"),
    "weight_gradient": ("activation", "gradient"),
    "input_gradient": ("gradient", "weight"),
}


@dataclass(frozen=True)
class Operand:
    """One operand of one matrix product: all that a recipe may go by.

    Attributes
    ----------
    role : {"weight", "activation", "gradient"}
    axis : int
        The reduction axis of the product: -1 for the left operand, -2 for the right one.
    layer, layers : int
        Which weighted layer, counted from 0, of how many.
    iteration, iterations : int
        Which step of training, counted from 0, of how many; ``iterations`` when training is over.
    key : (int, int)
        Seed and stream for stochastic rounding.  The stream differs for every operand of every
        product of every layer and iteration, so results do not depend on the order of the calls.
    bits : int
        Mantissa bits that the recipe chose for the tensor; 0 if it chooses none.
    """

    role: Role
    axis: int
    layer: int
    layers: int
    iteration: int
    iterations: int
    key: tuple[int, int]
    bits: int = 0


@dataclass(frozen=True, eq=False)
class Decisions:
    """The mantissa width of every tensor that took part in training, as a table of columns.

    Attributes
    ----------
    iteration, layer, bits : ndarray of int64
    role : ndarray of str
        "weight", "activation" or "gradient".
    """

    iteration: NDArray[np.int64]
    layer: NDArray[np.int64]
    role: NDArray[np.str_]
    bits: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.bits)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Decisions):
            return NotImplemented
        return all(
            np.array_equal(getattr(self, name), getattr(other, name))
            for name in ("iteration", "layer", "role", "bits")
        )

    __hash__ = None  # type: ignore[assignment]  # arrays can change


@dataclass(frozen=True)
class Recipe(ABC):
    """How the matrix products of training are computed.  Immutable; see `Run` for what changes."""

    @abstractmethod
    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """Multiply two matrices in the recipe's formats.

        Parameters
        ----------
        a, b : ndarray of float32, shapes (M, K) and (K, N)
        left, right : Operand
            What a and b are.

        Returns
        -------
        product : ndarray of float32, shape (M, N)
        passes : int or None
            Passes of an fMAC; None where there is no such thing.
        """

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """Mantissa bits of a tensor in this iteration; 0 where the recipe has no such choice.

        Asked once per tensor and iteration, at the first product the tensor enters: the forward one
        for weights and activations, that of the weight gradient for gradients.
        """
        return 0

    def start(self, layers: int = 1, iterations: int = 1, seed: int = 0) -> "Run":
        """Return a new `Run` of this recipe.

        Parameters
        ----------
        layers : int
            Number of weighted layers.
        iterations : int
            Number of training steps.
        seed : int
            Seed of all stochastic rounding, from 0 to 2**64 - 1.
        """
        return Run(self, layers, iterations, seed)


class Run:
    """One use of a recipe: its iteration, its counts and its decisions.

    Parameters
    ----------
    recipe : Recipe
    layers, iterations, seed : int
        See `Recipe.start`.

    Attributes
    ----------
    iteration : int
        The current training step.
    macs : int
        Multiplications so far, in all products.
    passes, group_pairs : int or None
        Passes of an fMAC, and the pairs of groups of 16 elements that they multiplied; None for
        recipes without block formats.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.BFP(mantissa_bits=4).start()
    >>> ones = np.ones((2, 16), np.float32)
    >>> run.gemm(ones, ones.T, "forward", 0)
    array([[16., 16.],
           [16., 16.]], dtype=float32)
    >>> run.macs, run.passes, run.passes_per_mac
    (64, 16, 4.0)
    """

    def __init__(self, recipe: Recipe, layers: int, iterations: int, seed: int) -> None:
        self.recipe = recipe
        self.layers = layers
        self.iterations = iterations
        self.seed = seed
        self.iteration = 0
        self.macs = 0
        self.passes: int | None = None
        self.group_pairs: int | None = None
        self._batch: int | None = None  # of an evaluation
        self._bits: dict[tuple[int, Role], int] = {}
        self._decided: list[tuple[int, int, Role, int]] = []

    @property
    def passes_per_mac(self) -> float | None:
        """Passes relative to those of the same products with mantissas of 2 bits throughout.

        1 if all mantissas have 2 bits, 4 if all have 4.  None for recipes without block formats.
        """
        if self.passes is None or not self.group_pairs:
            return None
        return self.passes / self.group_pairs

    @property
    def decisions(self) -> Decisions:
        """Mantissa widths so far, in the order of the products."""
        columns = list(zip(*self._decided, strict=True)) or [(), (), (), ()]
        iteration, layer, role, bits = columns
        return Decisions(
            np.array(iteration, np.int64),
            np.array(layer, np.int64),
            np.array(role, np.str_),
            np.array(bits, np.int64),
        )

    def gemm(self, a: Floats, b: Floats, kind: Gemm, layer: int) -> Floats:
        """Multiply two matrices as the recipe says, and count it.

        Parameters
        ----------
        a, b : ndarray of float32, shapes (M, K) and (K, N)
        kind : {"forward", "weight_gradient", "input_gradient"}
            Which of the three products of the layer.
        layer : int
            Index of the layer.

        Returns
        -------
        ndarray of float32, shape (M, N)
        """
        left = self._operand(a, kind, 0, layer)
        right = self._operand(b, kind, 1, layer)
        product, passes = self.recipe.product(a, b, left, right)
        self.macs += a.shape[0] * a.shape[1] * b.shape[1]
        if passes is not None:
            pairs = passes // (_chunks(left.bits) * _chunks(right.bits))
            self.passes = passes + (self.passes or 0)
            self.group_pairs = pairs + (self.group_pairs or 0)
        return product

    def advance(self) -> None:
        """Go to the next training step (or, in an evaluation, the next batch)."""
        self._bits.clear()
        if self._batch is None:
            self.iteration += 1
        else:
            self._batch += 1

    def evaluation(self) -> "Run":
        """Return a run for forward passes outside training, at this point of the schedule.

        It has counts and random streams of its own, and decides mantissa widths from the tensors
        that it meets; so evaluating never changes what training does.
        """
        run = Run(self.recipe, self.layers, self.iterations, self.seed)
        run.iteration = self.iteration
        run._batch = 0
        return run

    def _operand(self, x: Floats, kind: Gemm, side: int, layer: int) -> Operand:
        role = _OPERANDS[kind][side]
        operand = Operand(
            role=role,
            axis=-1 - side,
            layer=layer,
            layers=self.layers,
            iteration=self.iteration,
            iterations=self.iterations,
            key=(self.seed, self._stream(kind, side, layer)),
        )
        tensor = (layer, role)
        if tensor not in self._bits:
            bits = self.recipe.choose_bits(x, operand)
            self._bits[tensor] = bits
            if bits:
                self._decided.append((self.iteration, layer, role, bits))
        return replace(operand, bits=self._bits[tensor])

    def _stream(self, kind: Gemm, side: int, layer: int) -> int:
        """Bit 63: evaluation; 24 to 62: iteration or batch; 3 to 23: layer; 0 to 2: operand."""
        step = self.iteration if self._batch is None else self._batch + (1 << 39)
        return (step << 24) | (layer << 3) | (2 * GEMMS.index(kind) + side)


@dataclass(frozen=True)
class Float32(Recipe):
    """Full precision: the baseline."""

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """NumPy's own product."""
        return a @ b, None


@dataclass(frozen=True)
class FP8(Recipe):
    """Eight-bit floating point with one scale per tensor, as mixed-precision FP8 training has it.

    Every operand is scaled so that its greatest magnitude becomes the greatest value of its format
    ("current scaling"), rounded to nearest even, and scaled back; the product is then NumPy's in
    float32.  A tensor whose greatest magnitude is 0, infinite or NaN has scale 1; values beyond the
    format's range saturate.

    Parameters
    ----------
    weight_format, activation_format, gradient_format : str
        Floating-point formats, see `fmtlib.get_format`.

    References
    ----------
    P. Micikevicius et al., "FP8 formats for deep learning", 2022, arXiv 2209.05433: E4M3 for
    weights and activations, E5M2 for gradients.  The paper leaves the choice of the scale open;
    current scaling is chosen here.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import training
    >>> run = training.FP8().start()
    >>> run.gemm(np.float32([[1.0, 0.3]]), np.float32([[0.0], [1.0]]), "forward", 0)
    array([[0.2857143]], dtype=float32)
    """

    weight_format: str = "float8_e4m3fn"
    activation_format: str = "float8_e4m3fn"
    gradient_format: str = "float8_e5m2"

    def __post_init__(self) -> None:
        for role in get_args(Role):
            fmt = fl.get_format(getattr(self, f"{role}_format"))
            if not isinstance(fmt, fl.FloatFormat):
                raise ValueError(f"{role}_format must be a floating-point format, got {fmt.name}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The float32 product of the quantised operands."""
        return self.quantize(a, left.role) @ self.quantize(b, right.role), None

    def quantize(self, x: Floats, role: Role) -> Floats:
        """The values that x has in the format of its role, in x's dtype."""
        fmt = fl.get_format(getattr(self, f"{role}_format"))
        amax = float(np.abs(x).max(initial=0.0))
        scale = amax / fmt.max if 0 < amax < np.inf else 1.0
        quantized: Floats = fl.quantize(x, fmt, scale=scale)
        return quantized


@dataclass(frozen=True, kw_only=True)
class BlockRecipe(Recipe):
    """What the recipes with block floating point have in common.

    Every operand is encoded in groups along the reduction axis of the product that it enters, and
    products go through the fMAC (`fmtlib.matmul`).  Widths are chosen once per tensor and
    iteration; a tensor that enters two products is encoded for each, along another axis.

    Parameters
    ----------
    group_size : int
        Elements that share an exponent.
    exponent_bits : int
        Bits of the shared exponent.
    weight_rounding, activation_rounding, gradient_rounding : str
        See `fmtlib.encode`.
    random_bits : int
        Bits of noise of stochastic rounding.
    carry : {"saturate", "bump"}
        See `fmtlib.BlockFormat`.

    Notes
    -----
    The paper truncates weights and activations, and adds 8 random bits to gradients before it
    truncates them.  Rounding to nearest even is the default for the former here (but not in
    `FAST`): a width that is fixed at 2 bits trains better with it.  What happens when a magnitude
    rounds up past the greatest mantissa is left open, hence `carry`; and so is the order of the
    reduction axis, see `Conv2d`.
    """

    group_size: int = 16
    exponent_bits: int = 8
    weight_rounding: Rounding = "nearest_even"
    activation_rounding: Rounding = "nearest_even"
    gradient_rounding: Rounding = "stochastic"
    random_bits: int = 8
    carry: Literal["saturate", "bump"] = "saturate"

    def __post_init__(self) -> None:
        self._format(1)  # checks its arguments
        whole_number("random_bits", self.random_bits, 1, 32)
        for role in get_args(Role):
            rounding = getattr(self, f"{role}_rounding")
            if rounding not in get_args(Rounding):
                choices = ", ".join(get_args(Rounding))
                raise ValueError(f"{role}_rounding must be one of {choices}, got {rounding!r}")

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        """The fMAC's product of the encoded operands, and its passes."""
        encoded = [
            fl.encode(x, self._format(operand.bits), axis=operand.axis, **self._rounding(operand))
            for x, operand in ((a, left), (b, right))
        ]
        return fl.matmul(*encoded, accumulator="fmac"), fl.dot_passes(*encoded)

    def quantize(self, x: Floats, operand: Operand, bits: int) -> Floats:
        """The values that x has as this operand with mantissas of `bits` bits."""
        quantized: Floats = fl.quantize(
            x, self._format(bits), axis=operand.axis, **self._rounding(operand)
        )
        return quantized

    def _format(self, bits: int) -> fl.BlockFormat:
        return _bfp(bits, self.exponent_bits, self.group_size, carry=self.carry)

    def _rounding(self, operand: Operand) -> dict[str, Any]:
        rounding = getattr(self, f"{operand.role}_rounding")
        if rounding != "stochastic":
            return {"rounding": rounding}
        return {"rounding": rounding, "random_bits": self.random_bits, "seed": operand.key}


@dataclass(frozen=True)
class BFP(BlockRecipe):
    """Block floating point of one width throughout.

    Parameters
    ----------
    mantissa_bits : int
        From 1 to 8.
    **options
        See `BlockRecipe`.

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, "FAST: DNN Training Under Variable Precision Block
    Floating Point with Stochastic Rounding", HPCA 2022, arXiv 2110.15456.

    Examples
    --------
    >>> from fmtlib import training
    >>> truncated = training.BFP(
    ...     mantissa_bits=2,
    ...     weight_rounding="toward_zero",
    ...     activation_rounding="toward_zero",
    ...     gradient_rounding="toward_zero",
    ... )
    """

    mantissa_bits: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        whole_number("mantissa_bits", self.mantissa_bits, 1, 8)

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """Always `mantissa_bits`."""
        return self.mantissa_bits


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
            if not np.isfinite(getattr(self, name)):
                raise ValueError(f"{name} must be finite, got {getattr(self, name)}")

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """`low` or `high`, by the rule above."""
        low = self.quantize(x, operand, self.low)
        magnitude = np.abs(low).sum(dtype=np.float64)
        if magnitude == 0:
            return self.low
        high = self.quantize(x, operand, self.high)
        loss = np.abs(high - low).sum(dtype=np.float64) / magnitude
        threshold = self.threshold(
            operand.layer, operand.layers, operand.iteration, operand.iterations
        )
        return self.low if loss < threshold else self.high

    def threshold(self, layer: int, layers: int, iteration: int, iterations: int) -> float:
        """``ε(l, i)``, the relative loss that a tensor may suffer at the low width."""
        return self.alpha - self.beta * iteration / iterations - self.beta * layer / layers


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


def _chunks(bits: int) -> int:
    """Chunks of 2 bits in a mantissa: the fMAC takes a pass for every pair of them."""
    return -(-bits // 2)


def _check_widths(low: int, high: int) -> None:
    whole_number("low", low, 1, 8)
    whole_number("high", high, 1, 8)
    if low >= high:
        raise ValueError(f"low must be less than high, got {low} and {high}")
