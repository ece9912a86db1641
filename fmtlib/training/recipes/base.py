"""What all recipes have in common: `Recipe`, and the `Run` that holds what changes in training."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias, TypeVar, get_args

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import not_one_of
from fmtlib.formats import Rounding
from fmtlib.training.layers import Floats, Parameter

Gemm: TypeAlias = Literal["forward", "weight_gradient", "input_gradient"]
Role: TypeAlias = Literal["weight", "activation", "gradient"]
# The tensors of a layer, by their place in its forward product, left × right = output.
Tensor: TypeAlias = Literal["left", "right", "output"]

_Made = TypeVar("_Made")

GEMMS: tuple[Gemm, ...] = get_args(Gemm)
ROLES: tuple[Role, ...] = get_args(Role)
# The left and the right operand: O = A·W, dW = Aᵀ·dO, dA = dO·Wᵀ.
_TENSORS: dict[Gemm, tuple[Tensor, Tensor]] = {
    "forward": ("left", "right"),
    "weight_gradient": ("left", "output"),
    "input_gradient": ("output", "right"),
}
# Where a tensor is not as it lies in the forward product.
_TRANSPOSED = {("weight_gradient", "left"), ("input_gradient", "right")}
_ROLES: dict[Tensor, Role] = {"left": "activation", "right": "weight", "output": "gradient"}

# What a stream of random words is for: the operands of the products come first, 0 to 5.
_STORE, _STORE_FIRST = 6, 7
_MOST_STEPS, _MOST_CALLS, _MOST_LAYERS = 1 << 24, 1 << 15, 1 << 21


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
        product of every layer and iteration, so results do not depend on the order of the layers.
    bits : int
        Mantissa bits that the recipe chose for the tensor; 0 if it chooses none.
    gemm : {"forward", "weight_gradient", "input_gradient"}
        The product.
    tensor : {"left", "right", "output"}
        Which tensor of the layer, by its place in the forward product; the gradient is "output".
    call : int
        Which of the layer's forward products in this step the tensor belongs to, counted from 0;
        0 for weights, which belong to all.
    taps : int
        Entries of the forward product's reduction axis for each input channel: those of a channel
        lie together.  The height × width of a convolution's filters, else 1.
    rounded : bool
        Whether the tensor's values are those that `Recipe.round_input` gave.
    memory : dict
        What the recipe keeps of this layer from step to step: arrays by name.  Recipes change it
        at will; that of an evaluation is a copy.
    step : dict
        The same until the end of the step.
    """

    role: Role
    axis: int
    layer: int
    layers: int
    iteration: int
    iterations: int
    key: tuple[int, int]
    bits: int = 0
    gemm: Gemm = "forward"
    tensor: Tensor = "left"
    call: int = 0
    taps: int = 1
    rounded: bool = False
    memory: dict[str, NDArray[Any]] = field(default_factory=dict, compare=False, repr=False)
    step: dict[Any, Any] = field(default_factory=dict, compare=False, repr=False)


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
        """Multiply two matrices, or stacks of them, in the recipe's formats.

        Parameters
        ----------
        a, b : ndarray of float32, shapes (..., M, K) and (..., K, N)
            With equal leading axes.
        left, right : Operand
            What a and b are.

        Returns
        -------
        product : ndarray of float32, shape (..., M, N)
        passes : int or None
            Passes of an fMAC; None where there is no such thing.
        """

    def round_input(self, x: Floats, operand: Operand) -> Floats | None:
        """A layer's input with its values rounded, each by itself, as all products of a step have
        them; None, the default, where `product` has to see the operands as they are.

        A convolution asks before it makes patches of the images, which hold most values many times.
        """
        return None

    def choose_bits(self, x: Floats, operand: Operand) -> int:
        """Mantissa bits of a tensor in this iteration; 0 where the recipe has no such choice.

        Asked once per tensor and iteration, at the first product the tensor enters: the forward one
        for weights and activations, that of the weight gradient for gradients.
        """
        return 0

    def effectual_macs(
        self, left: Operand, right: Operand, rows: int, depth: int, columns: int
    ) -> int:
        """Multiplications that the recipe's hardware does for one product of two matrices.

        Parameters
        ----------
        left, right : Operand
        rows, depth, columns : int
            M, K and N.
        """
        return rows * depth * columns

    def store(self, value: Floats, key: tuple[int, int]) -> Floats:
        """What a parameter holds after an update: `value` itself where masters are float32.

        Parameters
        ----------
        value : ndarray of float32
            Of a weight the first axis counts its outputs; a bias has one axis.
        key : (int, int)
            Seed and stream for stochastic rounding.

        Returns
        -------
        ndarray
            Of the same shape and dtype.
        """
        return value

    def start(self, layers: int = 1, iterations: int = 1, seed: int = 0) -> Run:
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
    effectual_macs : int
        Those that the recipe's hardware does: fewer if the recipe leaves out zeros.
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
        if not 0 < layers <= _MOST_LAYERS:
            raise ValueError(f"layers must be from 1 to {_MOST_LAYERS}, got {layers}")
        self.recipe = recipe
        self.layers = layers
        self.iterations = iterations
        self.seed = seed
        self.iteration = 0
        self.macs = 0
        self.effectual_macs = 0
        self.passes: int | None = None
        self.group_pairs: int | None = None
        self._batch: int | None = None  # of an evaluation
        self._bits: dict[tuple[int, Tensor, int], int] = {}
        self._decided: list[tuple[int, int, Role, int]] = []
        self._calls: Counter[tuple[Gemm, int]] = Counter()
        self._memory: dict[int, dict[str, NDArray[Any]]] = defaultdict(dict)
        self._step: dict[int, dict[Any, Any]] = defaultdict(dict)

    @property
    def training(self) -> bool:
        """Whether this is training, not an `evaluation`: dropout and batch normalisation ask."""
        return self._batch is None

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

    def gemm(
        self,
        a: Floats,
        b: Floats,
        gemm: Gemm,
        index: int,
        *,
        roles: tuple[Role, Role] | None = None,
        taps: int = 1,
        rounded: bool = False,
    ) -> Floats:
        """Multiply two matrices, or two stacks of them, as the recipe says, and count it.

        Parameters
        ----------
        a, b : ndarray of float32, shapes (..., M, K) and (..., K, N)
            With equal leading axes; a stack is one tensor to the recipe.  They must not change
            before `advance`.
        gemm : {"forward", "weight_gradient", "input_gradient"}
            Which of the three products of the layer: with ``O = A·W`` the others are
            ``dW = Aᵀ·dO`` and ``dA = dO·Wᵀ``.
        index : int
            Of the layer.
        roles : (role, role), optional
            What a and b are, where they are not (activation, weight), (activation, gradient) and
            (gradient, weight): in attention, whose products are of two activations, "activation"
            stands for "weight".
        taps : int
            See `Operand`; the same in all three products of a layer.
        rounded : bool
            Whether the layer's input, which a or its transpose is, consists of values that
            `round_input` gave.

        Returns
        -------
        ndarray of float32, shape (..., M, N)

        Raises
        ------
        ValueError
            If the shapes do not match, or `gemm`, `index`, `roles` or `taps` make no sense.

        Notes
        -----
        A layer may multiply more than once in a step, as a recurrent one does.  Then its forward
        products are counted, and its backward ones are taken to come in the reverse order.
        """
        if gemm not in GEMMS:
            raise ValueError(not_one_of("gemm", gemm, GEMMS))
        if not 0 <= index < _MOST_LAYERS:
            raise ValueError(f"index must be from 0 to {_MOST_LAYERS - 1}, got {index}")
        if a.ndim < 2 or b.ndim < 2 or b.shape[:-1] != (*a.shape[:-2], a.shape[-1]):
            raise ValueError(
                f"a and b must have shapes (..., M, K) and (..., K, N), got {a.shape} and {b.shape}"
            )
        (rows, depth), columns = a.shape[-2:], b.shape[-1]
        if roles is None:
            roles = (_ROLES[_TENSORS[gemm][0]], _ROLES[_TENSORS[gemm][1]])
        elif len(roles) != 2 or not set(roles) <= set(ROLES):
            raise ValueError(f"roles must be two of {', '.join(ROLES)}, got {roles!r}")
        if taps < 1 or (gemm == "forward" and depth % taps):
            raise ValueError(f"taps must divide the {depth} rows of b, got {taps}")
        nth = self._calls[gemm, index]
        self._calls[gemm, index] += 1
        left = self._decided_on(a, self._operand(gemm, 0, index, nth, roles[0], taps, rounded))
        right = self._decided_on(b, self._operand(gemm, 1, index, nth, roles[1], taps))
        made = self.recipe.product(a, b, left, right)
        if not isinstance(made, tuple) or len(made) != 2:
            raise TypeError(
                f"{type(self.recipe).__name__}.product must return the product and its passes, or "
                f"None for these, got {type(made).__name__}"
            )
        product, passes = made
        if np.shape(product) != (*a.shape[:-1], columns):
            raise ValueError(
                f"{type(self.recipe).__name__}.product must return an array of shape "
                f"{(*a.shape[:-1], columns)}, got {np.shape(product)}"
            )
        matrices = math.prod(a.shape[:-2])
        self.macs += matrices * rows * depth * columns
        self.effectual_macs += matrices * self.recipe.effectual_macs(
            left, right, rows, depth, columns
        )
        if passes is not None:
            pairs = passes // (chunks(left.bits) * chunks(right.bits))
            self.passes = passes + (self.passes or 0)
            self.group_pairs = pairs + (self.group_pairs or 0)
        return product

    def round_input(self, x: Floats, index: int, *, taps: int = 1) -> Floats | None:
        """What `Recipe.round_input` makes of the input of a layer's next forward product."""
        nth = self._calls["forward", index]
        operand = self._operand("forward", 0, index, nth, "activation", taps)
        return self.recipe.round_input(x, operand)

    def store(self, parameters: Sequence[Parameter]) -> None:
        """Let parameters hold what the recipe stores of them: once before training, then after
        every update, before `advance`.
        """
        purpose = _STORE if self._calls else _STORE_FIRST
        for i, parameter in enumerate(parameters):
            stored = self.recipe.store(parameter.value, (self.seed, self._stream(purpose, i)))
            if stored is not parameter.value:
                parameter.value[...] = stored

    def advance(self) -> None:
        """Go to the next training step (or, in an evaluation, the next batch)."""
        self._bits.clear()
        self._calls.clear()
        self._step.clear()
        if self._batch is None:
            self.iteration += 1
        else:
            self._batch += 1

    def evaluation(self) -> Run:
        """Return a run for forward passes outside training, at this point of the schedule.

        It has counts, random streams and a memory of its own, and decides mantissa widths from the
        tensors that it meets; so evaluating never changes what training does.
        """
        run = Run(self.recipe, self.layers, self.iterations, self.seed)
        run.iteration = self.iteration
        run._batch = 0
        for layer, memory in self._memory.items():
            run._memory[layer] = {name: array.copy() for name, array in memory.items()}
        return run

    def state(self) -> dict[str, NDArray[Any]]:
        """What `restore` needs to go on from here, between two steps, as arrays by name."""
        counts = (self.iteration, self.macs, self.effectual_macs)
        some = (self.passes is not None, self.passes or 0, self.group_pairs or 0)
        decided = [(i, layer, ROLES.index(role), bits) for i, layer, role, bits in self._decided]
        state = {
            "counts": np.array([*counts, *some], np.int64),
            "decisions": np.array(decided, np.int64).reshape(-1, 4),
        }
        for layer, memory in sorted(self._memory.items()):
            state |= {f"memory.{layer}.{name}": a.copy() for name, a in sorted(memory.items())}
        return state

    def restore(self, state: Mapping[str, NDArray[Any]]) -> None:
        """Go on where `state` was taken, from a run of the same recipe, layers, iterations, seed.

        Raises
        ------
        ValueError
            If it is not the state of a run.
        """
        counts, decided = (np.asarray(state.get(name, ())) for name in ("counts", "decisions"))
        if counts.shape != (6,) or decided.ndim != 2 or decided.shape[1:] != (4,):
            raise ValueError(f"not the state of a run: arrays {', '.join(state) or 'none'}")
        numbers = [int(n) for n in counts]
        self.iteration, self.macs, self.effectual_macs = numbers[:3]
        self.passes, self.group_pairs = numbers[4:] if numbers[3] else (None, None)
        self._decided = [(i, layer, ROLES[role], bits) for i, layer, role, bits in decided.tolist()]
        self._memory.clear()
        for name, array in state.items():
            if name in ("counts", "decisions"):
                continue
            kind, _, rest = name.partition(".")
            layer, _, rest = rest.partition(".")
            if kind != "memory" or not layer.isdecimal() or not rest:
                raise ValueError(f"not the state of a run: array {name}")
            self._memory[int(layer)][rest] = np.array(array)

    def _decided_on(self, x: Floats, operand: Operand) -> Operand:
        """The operand, which nobody else has yet, with the mantissa bits of its tensor x."""
        place = (operand.layer, operand.tensor, operand.call)
        if place not in self._bits:
            bits = self._bits[place] = self.recipe.choose_bits(x, operand)
            if bits:
                self._decided.append((self.iteration, operand.layer, operand.role, bits))
        vars(operand)["bits"] = self._bits[place]
        return operand

    def _operand(
        self,
        gemm: Gemm,
        side: int,
        layer: int,
        nth: int,
        role: Role,
        taps: int,
        rounded: bool = False,
    ) -> Operand:
        """All of an operand but its mantissa bits."""
        forward = self._calls["forward", layer]
        call = forward - 1 - nth if gemm != "forward" and nth < forward else nth
        return Operand(
            role=role,
            axis=-1 - side,
            layer=layer,
            layers=self.layers,
            iteration=self.iteration,
            iterations=self.iterations,
            key=(self.seed, self._stream(2 * GEMMS.index(gemm) + side, layer, nth)),
            gemm=gemm,
            tensor=_TENSORS[gemm][side],
            call=0 if role == "weight" else call,
            taps=taps,
            rounded=rounded,
            memory=self._memory[layer],
            step=self._step[layer],
        )

    def _stream(self, purpose: int, layer: int, nth: int = 0) -> int:
        """Bit 63: evaluation; 48 to 62: which call of a layer in a step; 24 to 47: iteration or
        batch; 3 to 23: layer; 0 to 2: purpose.
        """
        step = self.iteration if self._batch is None else self._batch
        if step >= _MOST_STEPS or nth >= _MOST_CALLS:
            raise ValueError(
                f"a run has at most {_MOST_STEPS} steps and {_MOST_CALLS} products of one kind per "
                "layer in each"
            )
        evaluation = self._batch is not None
        return (evaluation << 63) | (nth << 48) | (step << 24) | (layer << 3) | purpose


def reuse(make: Callable[[Floats], Floats], x: Floats, operand: Operand) -> Floats:
    """Return ``make(x)``, made once for a tensor that enters two products of a step.

    For functions that know no axis, so that ``make(x.T)`` is ``make(x).T``.  A tensor is known by
    its memory, which is held until the step ends.
    """
    transposed = (operand.gemm, operand.tensor) in _TRANSPOSED
    made = _once(make, x.swapaxes(-1, -2) if transposed else x, operand)
    return made.swapaxes(-1, -2) if transposed else made


def reuse_weight(make: Callable[[Floats], _Made], x: Floats, operand: Operand) -> _Made:
    """Return ``make(x)``, made once where weights enter the same product again and again, as those
    of recurrent layers do; other tensors are not kept.

    For functions that know no more than the operand's axis.
    """
    return _once(make, x, operand) if operand.role == "weight" else make(x)


def _once(make: Callable[[Floats], _Made], x: Floats, operand: Operand) -> _Made:
    """``make(x)``, or what it gave the last time in this step, by x's place in memory."""
    place = (operand.tensor, x.__array_interface__["data"][0], x.shape, x.strides)
    if place not in operand.step:
        operand.step[place] = (x, make(x))  # x is held: no other may take its place
    made: _Made = operand.step[place][1]
    return made


def check_rounding(name: str, rounding: object) -> None:
    """Raise a ValueError if it is not one of `fmtlib.encode`'s."""
    if rounding not in get_args(Rounding):
        raise ValueError(not_one_of(name, rounding, get_args(Rounding)))


def chunks(bits: int) -> int:
    """Chunks of 2 bits in a mantissa: the fMAC takes a pass for every pair of them."""
    return -(-bits // 2)
