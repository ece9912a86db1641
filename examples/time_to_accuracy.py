"""Hardware time of a training, epoch by epoch: cycles of an array, in the model of the counters.

All recipes run on the same array, so that they are compared at equal products of bits: the fMAC
array of `fmtlib.hardware`, whose units multiply chunks of 2 bits. A product of significands of a
and b bits takes ceil(a/2)·ceil(b/2) passes of one cycle: 1 at two bits, 4 at four, 16 for bfloat16
or INT8 (8 bits), 4 for FP8 (E4M3's 4 bits by E5M2's 3), 144 for float32 (24). Aligning and
normalising floats, rounding, the converters of FAST, memory and the functions between products
cost nothing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import accumulate
from typing import Any

import numpy as np

from fmtlib import hardware, training

# One tile of the counters' FAST array: 64 columns of windows or samples, 16 rows of filters, and
# 16 lanes that sum. Networks as small as ours would leave most of 16 tiles idle.
ARRAY = {"tiles": 1, "lanes": 16, "columns": 64, "rows": 16}

Widths = tuple[int, int, int]

# Bits of the significands of activations, weights and gradients, with the leading one.
SIGNIFICANDS: dict[type[training.Recipe], Widths] = {
    training.Float32: (23, 23, 23),  # 24, of as many chunks; the design takes up to 23
    training.BF16: (8, 8, 8),
    training.FP8: (4, 4, 3),
    training.MXFP8: (4, 4, 3),
    training.INT8: (8, 8, 8),  # gradients as bfloat16
}


def epoch_passes(recipe: training.Recipe, result: training.Result) -> list[float] | None:
    """Passes from the beginning to the end of each epoch, as multiplications of two bits.

    None for recipes that the array is not meant for.
    """
    epochs = len(result.train_loss)
    if result.passes_per_mac is not None:
        pairs = result.passes[-1] / result.passes_per_mac
        return [passes / pairs * result.macs for passes in result.passes]
    widths = SIGNIFICANDS.get(type(recipe))
    if widths is None:
        return None
    a, w, g = (-(-bits // 2) for bits in widths)
    each = (a * w + g * w + a * g) / 3
    return [each * result.macs * epoch / epochs for epoch in range(1, epochs + 1)]


def epoch_cycles(trained: training.Trained, recipe: training.Recipe, batch_size: int) -> list[int]:
    """Cycles from the beginning to the end of each epoch that has ended.

    Parameters
    ----------
    trained : training.Trained
        A network of which each product has a weight: of linear layers and convolutions.
    recipe : Recipe
        One of `SIGNIFICANDS`, or one of blocks, of which the decisions are taken.
    batch_size : int

    Returns
    -------
    list of int
        Of the three products of all layers but the first, whose input needs no gradient.
    """
    network, data, result = trained
    samples = len(data.train)
    sizes = [min(batch_size, samples - first) for first in range(0, samples, batch_size)]
    layers = {size: hardware.trace(network, data.train.x[:size]).layers for size in set(sizes)}

    @cache
    def step(size: int, layer: int, widths: Widths) -> int:
        design = hardware.design(
            "fast", **ARRAY, activation_mantissa=widths[0], weight_mantissa=widths[1],
            gradient_mantissa=widths[2],
        )  # fmt: skip
        cycles = design.training_cycles(layers[size][layer])
        return sum(cycles.values()) - (0 if layer else cycles["input_gradient"])

    count = len(layers[sizes[0]])
    epochs = len(result.train_loss)
    fixed = SIGNIFICANDS.get(type(recipe))
    chosen: Any = (
        [[fixed] * count] * (epochs * len(sizes))
        if fixed is not None
        else _chosen(result.decisions, count)
    )
    by_step = [
        sum(step(sizes[i % len(sizes)], layer, own) for layer, own in enumerate(widths))
        for i, widths in enumerate(chosen)
    ]
    ends = range(len(sizes) - 1, epochs * len(sizes), len(sizes))
    totals = list(accumulate(by_step))
    return [totals[end] for end in ends]


def _chosen(decisions: training.Decisions, layers: int) -> list[list[Widths]]:
    """Bits of activations, weights and gradients, by iteration and layer."""
    places = {"activation": 0, "weight": 1, "gradient": 2}
    table = np.zeros((int(decisions.iteration.max()) + 1, layers, 3), int)
    roles = [places[str(role)] for role in decisions.role]
    table[decisions.iteration, decisions.layer, roles] = decisions.bits
    return [[(a, w, g) for a, w, g in step] for step in table.tolist()]


def reached(accuracies: Sequence[float], costs: Sequence[float], target: float) -> float:
    """The cost at the end of the first epoch with an accuracy of the target; infinite if none."""
    return next(
        (cost for accuracy, cost in zip(accuracies, costs, strict=True) if accuracy >= target),
        float("inf"),
    )
