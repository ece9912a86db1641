"""Cnvlutin and Cnvlutin2: zero activations skipped."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from fmtlib._core import counting
from fmtlib.encodings import storage_size
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS, Design
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.walk import Walk, ceil_div, lane_masks, sum_over_macs

Encoding = Literal["zfnaf", "roe", "viai", "viai_on_fetch", "indirection"]
_ENCODINGS = ("zfnaf", "roe", "viai", "viai_on_fetch", "indirection")
_MOST_LANES = 64  # a brick is one mask


@dataclass(frozen=True, kw_only=True)
class Cnvlutin(Design):
    """Each lane works through bricks of its own, one activation that is not zero a cycle.

    The bricks (`lanes` channels of one position) of a window, in time order, go to the lanes in
    turn. A lane takes max(1, non-zero activations) cycles for each of its bricks; at the end of
    the window lanes and windows in flight wait for the slowest. In a fully connected layer the
    sample is the window.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; at most 64 lanes. One column by default, as bit-parallel as the baseline.
    weight_skipping : bool
        Cnvlutin2: an activation is also skipped if its weight is zero in every filter that shares
        the lane, those of all tiles in lockstep.
    encoding : {"zfnaf", "roe", "viai", "viai_on_fetch", "indirection"}
        How the non-zero activations are told; see `fmtlib.storage_size`. It changes what the
        activations take in memory (``activation_bits_stored``), not cycles. "viai_on_fetch" is
        "viai" with the vectors made when a raw brick is fetched, and not stored.

    Notes
    -----
    J. Albericio et al., "Cnvlutin: Ineffectual-Neuron-Free Deep Neural Network Computing", ISCA
    2016; P. Judd et al., "Cnvlutin2", arXiv 1705.00125. **The rules are recalled from the papers;
    which lane gets which brick is our own reading.** A first layer is skipped like any other, and
    folded where the layer says so.

    Examples
    --------
    >>> x = np.zeros((1, 256, 4, 4), int)
    >>> x[:, ::4] = 1
    >>> layer = Layer.conv(x, np.ones((16, 256, 1, 1), int))
    >>> Cnvlutin().compute_cycles(layer) / layer.windows
    4.0
    """

    name = "cnvlutin"

    columns: int = 1
    weight_skipping: bool = False
    encoding: Encoding = "zfnaf"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("lanes", 1, _MOST_LANES)
        self._check_flag("weight_skipping")
        self._check_choice("encoding", _ENCODINGS)

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * BIT_PARALLEL_PRODUCTS

    def compute_cycles(self, layer: Layer) -> int:
        walk = self.walk(layer)
        if self.weight_skipping:
            return self._cycles_skipping_weights(walk)
        nonzero = walk.activations() != 0
        bricks = np.arange(0, walk.channels, walk.lanes)
        costs = np.maximum(np.add.reduceat(nonzero, bricks, axis=2, dtype=np.uint8), np.uint8(1))
        return sum(self._image_cycles(walk, image) for image in costs)

    def _image_cycles(self, walk: Walk, costs: npt.NDArray[np.uint8]) -> int:
        """Cycles of one image; costs: groups, bricks, X, Y."""
        steps = walk.gather(costs, idle=0)
        rounds = ceil_div(walk.taps, walk.lanes)
        missing = rounds * walk.lanes - walk.taps
        steps = np.pad(steps, ((0, 0), (0, 0), (0, missing), (0, 0)))
        shape = (walk.groups, walk.pallets, rounds, walk.lanes, walk.columns)
        of_lanes = steps.reshape(shape).sum(axis=2, dtype=np.int64)
        return int(of_lanes.max(axis=(2, 3)).sum()) * walk.filter_sets

    def _cycles_skipping_weights(self, walk: Walk) -> int:
        needed: list[list[npt.NDArray[np.uint64]]] = [[] for _ in range(walk.groups)]
        for group, weights in walk.weight_sets():
            needed[group].append(lane_masks((weights != 0).any(axis=0)))
        total = 0
        for image in walk.activations():
            missing = walk.bricks * walk.lanes - walk.channels
            last = np.pad(image.transpose(0, 2, 3, 1), ((0, 0), (0, 0), (0, 0), (0, missing)))
            masks = lane_masks(last.reshape(*last.shape[:3], walk.bricks, walk.lanes))
            steps = walk.gather(masks.transpose(0, 3, 1, 2), idle=0)
            for of_group, sets in zip(steps, needed, strict=True):
                total += counting.skipped_cycles(
                    np.ascontiguousarray(of_group), np.array(sets), walk.lanes
                )
        return total

    def effectual_bit_products(self, layer: Layer) -> int:
        nonzero = (layer.padded_activations != 0).view(np.uint8)
        needed = self._needed(layer) if self.weight_skipping else None
        return BIT_PARALLEL_PRODUCTS * sum_over_macs(layer, nonzero, needed)

    def _needed(self, layer: Layer) -> npt.NDArray[np.uint8]:
        """For each weight whether any filter that shares its lane has one that is not zero."""
        nonzero = np.asarray(layer.weights) != 0
        filters = layer.filters // layer.groups  # depthwise: each alone in its lane
        grouped = nonzero.reshape(layer.groups, filters, *nonzero.shape[1:])
        starts = np.arange(0, filters, self.rows * self.tiles)
        shared = np.logical_or.reduceat(grouped, starts, axis=1)
        lengths = np.diff([*starts, filters])
        needed: npt.NDArray[np.bool_] = np.repeat(shared, lengths, axis=1)
        flags: npt.NDArray[np.uint8] = needed.reshape(nonzero.shape).view(np.uint8)
        return flags

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """Bits that the activations take in memory, in bricks of 16 and without padding."""
        x = np.asarray(layer.activations)
        encoding = "raw" if self.encoding == "viai_on_fetch" else self.encoding
        stored = storage_size(x, encoding, 16, axis=1)
        return {"activation_bits_stored": stored.bits}
