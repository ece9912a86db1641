"""Quantisation to integers after calibration, and training that knows of it (QAT)."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.arguments import whole_number
from fmtlib.training.layers import Floats
from fmtlib.training.recipes.base import Operand, Recipe
from fmtlib.training.recipes.straight_through import StraightThrough

if TYPE_CHECKING:
    from fmtlib.calibration.calibrator import Method
    from fmtlib.training.datasets import Part
    from fmtlib.training.network import Network


@dataclass(frozen=True)
class Ranges:
    """Scales of the two operands of a layer's forward product.

    Attributes
    ----------
    left : float
        Of the activations.
    right : tuple of float
        Of the weights, one for each output channel; one in all if the right operand is not weights.
    """

    left: float
    right: tuple[float, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "right", tuple(map(float, self.right)))
        for scale in (self.left, *self.right):
            if not 0 < scale < np.inf:
                raise ValueError(f"scales must be positive and finite, got {scale}")


@dataclass(frozen=True)
class INT8(StraightThrough):
    """Integers for weights and activations, with ranges that were calibrated before.

    Weights have a scale for each output channel, activations one for the tensor; both are symmetric
    about zero.  For evaluation this is quantisation after training (PTQ); to train with it is
    quantisation-aware training (QAT), in which gradients are float32 and pass straight through the
    rounding, see `StraightThrough`.  Ranges do not change.

    Made by `INT8.calibrate`.

    Parameters
    ----------
    ranges : tuple of Ranges or None
        For each layer; None leaves it in float32 (partial quantisation).
    bits : int
        Of the integers, from 2 to 16.

    Notes
    -----
    A value is ``scale * round(x / scale)``, `fmtlib.quantize`'s, where the reference code of the
    paper's authors multiplies by the reciprocal; some results differ in the last bit.

    References
    ----------
    H. Wu et al., "Integer Quantization for Deep Learning Inference: Principles and Empirical
    Evaluation", arXiv 2004.09602.

    Examples
    --------
    >>> from fmtlib import training
    >>> data, network = training.digits(), training.mlp(64, 32, 10)
    >>> _ = training.fit(network, data, epochs=3)
    >>> recipe = training.INT8.calibrate(network, data.train.x)
    >>> _, float32 = training.evaluate(network, data.test)
    >>> _, integer = training.evaluate(network, data.test, recipe.start(2))
    >>> integer > float32 - 0.02
    True
    """

    ranges: tuple[Ranges | None, ...]
    bits: int = 8

    def __post_init__(self) -> None:
        object.__setattr__(self, "ranges", tuple(self.ranges))
        whole_number("bits", self.bits, 2, 16)
        for ranges in self.ranges:
            if not (ranges is None or isinstance(ranges, Ranges)):
                raise TypeError(f"ranges must be Ranges records or None, got {ranges!r}")

    @classmethod
    def calibrate(
        cls,
        network: Network,
        samples: Floats,
        *,
        method: Method = "max",
        percentile: float = 99.99,
        bits: int = 8,
        left_in_float: Collection[int] = (),
        batch_size: int = 256,
    ) -> INT8:
        """The recipe whose ranges a network's tensors have on some samples.

        Parameters
        ----------
        network : Network
            Trained.
        samples : ndarray
            Of the training part, say.
        method, percentile
            Of the ranges of activations, see `fmtlib.calibrate`; those of weights are the greatest
            magnitudes.
        bits : int
        left_in_float : collection of int
            Layers that stay in float32.
        batch_size : int

        Returns
        -------
        INT8
        """
        if not len(samples):
            raise ValueError("there are no samples to calibrate by")
        fmt = fl.IntegerFormat(whole_number("bits", bits, 2, 16))
        layers = network.products
        observed = _Observing(fmt, method, percentile)
        network.logits(samples, observed.start(layers), batch_size)
        ranges = tuple(observed.ranges(layer) for layer in range(layers))
        return cls(ranges, bits).leaving(left_in_float)

    def leaving(self, layers: Collection[int]) -> INT8:
        """The same recipe with some layers left in float32."""
        left = {whole_number("layers", layer, 0, len(self.ranges) - 1) for layer in layers}
        kept = (None if i in left else ranges for i, ranges in enumerate(self.ranges))
        return replace(self, ranges=tuple(kept))

    def only(self, layers: Collection[int]) -> INT8:
        """The same recipe with all other layers left in float32."""
        return self.leaving(set(range(len(self.ranges))) - set(layers))

    def sensitivities(self, network: Network, part: Part) -> tuple[float, ...]:
        """Accuracy of a network with one layer quantised at a time, from 0 to 1.

        The layers with the least are those to leave in float32 first.

        Parameters
        ----------
        network : Network
        part : Part
            Of the training or validation data.
        """
        found = []
        for layer in range(len(self.ranges)):
            run = self.only([layer]).start(len(self.ranges))
            found.append(float((network.predict(part.x, run) == part.y).mean()))
        return tuple(found)

    def rounded(self, x: Floats, operand: Operand) -> tuple[Floats, NDArray[np.bool_] | None]:
        """The integers' values, if the layer has ranges."""
        if len(self.ranges) != operand.layers:
            raise ValueError(f"{len(self.ranges)} ranges for {operand.layers} layers")
        ranges = self.ranges[operand.layer]
        if ranges is None:
            return x, None
        fmt = fl.IntegerFormat(self.bits)
        if operand.tensor == "left" or len(ranges.right) == 1:
            scale = ranges.left if operand.tensor == "left" else ranges.right[0]
            return fl.quantize(x, fmt, scale=scale), _beyond(x, scale * fmt.max)
        channels = _by_channel(x)
        scales = np.array(ranges.right, np.float32)
        if channels.shape[1] != len(scales):
            raise ValueError(
                f"layer {operand.layer} has {channels.shape[1]} output channels, and ranges of "
                f"{len(scales)}"
            )
        values = fl.quantize(channels, fmt, scale=scales, axis=1)
        clipped = _beyond(channels, scales * np.float32(fmt.max))
        return (
            _as_stack(values, x),
            None if clipped is None else _as_stack(clipped, x),
        )


@dataclass(frozen=True)
class _Observing(Recipe):
    """Float32, and a calibrator for both operands of every layer's forward product."""

    fmt: fl.IntegerFormat
    method: Any
    percentile: float
    seen: dict[tuple[int, str], fl.Calibrator] = field(default_factory=dict, compare=False)

    def product(
        self, a: Floats, b: Floats, left: Operand, right: Operand
    ) -> tuple[Floats, int | None]:
        for x, operand in ((a, left), (b, right)):
            place = (operand.layer, operand.tensor)
            if operand.role == "weight":
                if place not in self.seen:
                    self.seen[place] = fl.Calibrator(self.fmt, "max", 1)
                    self.seen[place].observe(_by_channel(x))
                continue
            if place not in self.seen:
                self.seen[place] = fl.Calibrator(self.fmt, self.method, percentile=self.percentile)
            self.seen[place].observe(x)
        return a @ b, None

    def ranges(self, layer: int) -> Ranges:
        """What was seen of a layer."""
        if (layer, "left") not in self.seen:
            raise ValueError(f"layer {layer} has no forward product")
        left, right = (self.seen[layer, side].result().scale for side in ("left", "right"))
        return Ranges(float(left), tuple(np.atleast_1d(right).tolist()))


def _by_channel(x: NDArray[Any]) -> NDArray[Any]:
    """A stack of matrices (..., K, N) as one with a column for each output channel of each."""
    return np.moveaxis(x, -2, 0).reshape(x.shape[-2], -1)


def _as_stack(channels: NDArray[Any], like: NDArray[Any]) -> NDArray[Any]:
    """The inverse of `_by_channel`, for a stack of that shape."""
    return np.moveaxis(channels.reshape(-1, *like.shape[:-2], like.shape[-1]), 0, -2)


def _beyond(x: Floats, limit: Any) -> NDArray[np.bool_] | None:
    """Where magnitudes are beyond a limit."""
    clipped = np.abs(x) > np.asarray(limit, x.dtype)
    return clipped if clipped.any() else None
