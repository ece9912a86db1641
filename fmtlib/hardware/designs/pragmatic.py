"""Bit-Pragmatic: activations by their effectual terms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmtlib._core import counting
from fmtlib.hardware.designs.base import Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.recoding import RECODINGS, term_positions
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import serial_cycles, sum_over_macs
from fmtlib.precision import Recoding, terms


@dataclass(frozen=True, kw_only=True)
class Pragmatic(Design):
    """One effectual term of each activation a cycle, by a 16-bit weight in parallel.

    A term is shifted into place in two stages. The first has `first_stage_bits` bits: in a cycle
    base is the lowest pending term of any lane, and each lane retires its lowest one if that is
    at most base + 2^b − 1. With 4 bits there is no such limit: a brick takes as many cycles as
    its value of the most terms has, at least one.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    first_stage_bits : int
        b, 0..4; 4 is the design of one stage.
    recoding : {"binary", "naf", "booth", "run_length"}
        What the terms are; see `fmtlib.terms`.
    run_ahead : int
        Registers per column that let columns run ahead of each other in a convolution; 0 makes
        all columns wait for the slowest at each step.

    Notes
    -----
    J. Albericio et al., "Bit-Pragmatic Deep Neural Network Computing", MICRO 2017 (arXiv
    1610.06920), as modelled by DNNsim, whose Booth-like recoding is ``"run_length"``: every count
    of the reference layers is reproduced.

    Examples
    --------
    >>> layer = Layer.conv(np.full((1, 16, 4, 4), 0b1001), np.ones((16, 16, 1, 1), int))
    >>> Pragmatic().compute_cycles(layer), Pragmatic(first_stage_bits=2).compute_cycles(layer)
    (2, 2)
    """

    name = "pragmatic"

    first_stage_bits: int = 4
    recoding: Recoding = "binary"
    run_ahead: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("first_stage_bits", 0, 4)
        self._check_choice("recoding", RECODINGS)
        self._check("run_ahead", 0)

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * MAX_BITS

    def compute_cycles(self, layer: Layer) -> int:
        walk = self.walk(layer)
        x = walk.activations()
        n, groups, channels, *size = x.shape
        costs: npt.NDArray[np.uint8] = np.empty((n, groups, walk.bricks, *size), np.uint8)
        counting.brick_cycles(
            term_positions(x, self.recoding).reshape(n * groups, channels, -1),
            walk.lanes,
            1 << self.first_stage_bits,
            costs.reshape(n * groups, walk.bricks, -1),
        )
        return serial_cycles(walk, costs, self.run_ahead)

    def effectual_bit_products(self, layer: Layer) -> int:
        return MAX_BITS * sum_over_macs(layer, terms(layer.padded_activations, self.recoding))
