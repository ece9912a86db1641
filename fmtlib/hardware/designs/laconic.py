"""Laconic: effectual terms of activations by effectual terms of weights."""

from dataclasses import dataclass

import numpy as np

from fmtlib._core import counting
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.recoding import RECODINGS
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import round_robin, sum_over_macs
from fmtlib.precision import Recoding, terms


@dataclass(frozen=True, kw_only=True)
class Laconic(Design):
    """One pair of effectual terms a cycle in each lane.

    A step takes as many cycles as the greatest product terms(activation) · terms(weight) of any
    lane, window and filter in flight, at least one. In a fully connected layer a column takes a
    whole brick, as long as that of its slowest lane and filter.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    recoding : {"binary", "naf", "booth", "run_length"}
        What the terms are; see `fmtlib.terms`.

    Notes
    -----
    S. Sharify et al., "Laconic Deep Learning Inference Acceleration", ISCA 2019 (arXiv
    1805.04513), as modelled by DNNsim, whose Booth-like recoding is ``"run_length"``: every count
    of the reference layers is reproduced.

    A lane does one single-bit product a cycle where a bit-parallel one does 256, so the baseline
    beside it has columns/256 times its rows.

    Examples
    --------
    >>> layer = Layer.conv(np.full((1, 16, 4, 4), 5), np.full((16, 16, 1, 1), 7))
    >>> Laconic().compute_cycles(layer), Laconic(recoding="naf").compute_cycles(layer)
    (6, 4)
    """

    name = "laconic"

    recoding: Recoding = "binary"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("recoding", RECODINGS)

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers

    @property
    def baseline_rows(self) -> int:
        return max(1, self.rows * self.columns // (MAX_BITS * MAX_BITS))

    def compute_cycles(self, layer: Layer) -> int:
        walk = self.walk(layer)
        # The greatest product of a lane is that of its greatest factors: groups, sets, lanes, taps.
        of_weights = np.array(
            [terms(weights, self.recoding).max(axis=0).T for _, weights in walk.weight_sets()]
        ).reshape(walk.groups, walk.filter_sets, walk.lanes, walk.taps)
        total = 0
        for image in walk.activations():
            greatest = walk.pallet_maxima(terms(image, self.recoding))
            of_activations = np.ascontiguousarray(greatest.swapaxes(2, 3))
            if layer.has_windows:
                for a, w in zip(of_activations, of_weights, strict=True):
                    total += counting.sum_of_max_products(a, w)
            else:
                products = (of_activations[0] * of_weights[0]).max(axis=1)
                total += round_robin(np.maximum(products, 1).reshape(-1), 1, self.columns)
        return total

    def effectual_bit_products(self, layer: Layer) -> int:
        return sum_over_macs(
            layer,
            terms(layer.padded_activations, self.recoding),
            terms(layer.weights, self.recoding),
        )
