"""Bit-Tactical's front end: zero weights skipped by a static schedule, activations in parallel."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt

from fmtlib._core import counting
from fmtlib.hardware.designs.base import BIT_PARALLEL_PRODUCTS, Design, remembered
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.hardware.walk import Walk, lane_masks, round_robin, sum_over_macs

# Rows and steps aside that T8⟨2,5⟩'s lookaside takes from, in the order in which they come.
_T_LOOKASIDE = ((1, 1), (1, -1), (2, 2), (2, -2), (1, 3))
_MOST_LANES = 64  # a row of lanes is one mask


class Schedule(NamedTuple):
    """What one filter set executes.

    Attributes
    ----------
    rows : int32 array
        The rows (steps of the dense walk) that are executed.
    selected : uint64 array, rows, lookahead + 1
        The lanes of that row and of the next ones whose activations some filter takes, as masks.
    filters : int
        In lockstep.
    """

    rows: npt.NDArray[np.int32]
    selected: npt.NDArray[np.uint64]
    filters: int


@dataclass(frozen=True, kw_only=True)
class BitTactical(Design):
    """The front end that the designs of the family share, and their parameters.

    A slot of a zero weight (row t, lane l) may take a weight that is not zero from (t+h, l),
    lookahead, or from (t+h, l+d), lookaside; lanes wrap around. Rows are visited in time order.
    A row that is all zero, for all filters in lockstep, when it is reached is skipped, at most
    `lookahead` in succession; the next one is executed. So rows/(lookahead+1) at least are.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; at most 64 lanes.
    pattern : {"T8", "L8"}
        Where lookaside takes from: L, (1, −1) … (1, −`lookaside`); T, the first `lookaside` of
        (1, 1), (1, −1), (2, 2), (2, −2), (1, 3). Lookahead: (1, 0) … (`lookahead`, 0).
    lookahead, lookaside : int
        H and D; T goes with 2 and at most 5.
    fill_order : {"most_candidates", "least_flexible"}
        Which slot of a row is filled first: the one with the most candidates (DNNsim's order), or
        with the fewest, which leaves more for the others. Ties: the lowest lane. A slot takes its
        first candidate in the order (h, d); the candidates are then counted anew.
    """

    pattern: Literal["T8", "L8"] = "T8"
    lookahead: int = 2
    lookaside: int = 5
    fill_order: Literal["most_candidates", "least_flexible"] = "most_candidates"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check("lanes", 1, _MOST_LANES)
        self._check_choice("pattern", ("T8", "L8"))
        self._check("lookahead", 1, 15)
        self._check("lookaside", 0, _MOST_LANES - 1)
        if self.pattern == "T8" and (self.lookahead != 2 or self.lookaside > len(_T_LOOKASIDE)):
            raise ValueError(
                "pattern 'T8' goes with lookahead 2 and lookaside 0 to 5, not "
                f"{self.lookahead} and {self.lookaside}; 'L8' goes with any"
            )
        self._check_choice("fill_order", ("most_candidates", "least_flexible"))

    @property
    def entries(self) -> list[tuple[int, int]]:
        """The (h, d) a slot may take from, in the order in which they are tried."""
        ahead = [(h, 0) for h in range(1, self.lookahead + 1)]
        if self.pattern == "T8":
            return sorted([*ahead, *_T_LOOKASIDE[: self.lookaside]])
        return sorted([*ahead, *((1, -d) for d in range(1, self.lookaside + 1))])

    @property
    def metadata_bits(self) -> int:
        """Bits that tell each weight's multiplexer where its activation comes from."""
        return (self.lookahead + self.lookaside).bit_length()

    def own_counts(self, layer: Layer) -> dict[str, int]:
        """Rows of the dense walk and of the schedule, and the bits of metadata of the latter."""
        walk, schedules = self.walk(layer), self.schedules(layer)
        return {
            "dense_rows": walk.groups * walk.filter_sets * walk.taps,
            "executed_rows": sum(len(s.rows) for group in schedules for s in group),
            "metadata_bits": self.metadata_bits
            * walk.lanes
            * sum(len(s.rows) * s.filters for group in schedules for s in group),
        }

    def schedules(self, layer: Layer) -> list[list[Schedule]]:
        """The schedule of each group and filter set; kept for the designs that share it."""
        fewest = self.fill_order == "least_flexible"
        key = ("tcl", self.tiles, self.lanes, self.rows, tuple(self.entries), fewest)
        return remembered(layer, key, lambda: self._schedule(self.walk(layer), fewest))

    def _schedule(self, walk: Walk, fewest: bool) -> list[list[Schedule]]:
        ahead, aside = np.array(self.entries, np.int32).T.copy()
        found: list[list[Schedule]] = [[] for _ in range(walk.groups)]
        for group, weights in walk.weight_sets():
            masks = lane_masks(weights)
            rows, selected = counting.schedule(
                masks, walk.lanes, ahead, aside, self.lookahead, fewest
            )
            found[group].append(Schedule(rows.copy(), selected.copy(), len(weights)))
        return found


@dataclass(frozen=True, kw_only=True)
class TclFrontEnd(BitTactical):
    """Bit-Tactical's front end with bit-parallel multipliers: what skipping weights alone gives.

    A row of the schedule takes one cycle, one window at a time by default, as in DaDianNao.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array; one column by default.
    pattern, lookahead, lookaside, fill_order
        Of `BitTactical`, the front end.

    Notes
    -----
    A. Delmas Lascorz et al., "Bit-Tactical: A Software/Hardware Approach to Exploiting Value and
    Bit Sparsity in Neural Networks", ASPLOS 2019 (arXiv 1803.03688), as modelled by DNNsim: every
    count of the reference layers is reproduced.

    Examples
    --------
    >>> weights = np.zeros((16, 48, 1, 1), int)
    >>> weights[:, ::2] = 1
    >>> layer = Layer.conv(np.ones((1, 48, 4, 4), int), weights)
    >>> TclFrontEnd().compute_cycles(layer) / layer.windows
    2.0
    """

    name = "tcl"

    columns: int = 1

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * BIT_PARALLEL_PRODUCTS

    def compute_cycles(self, layer: Layer) -> int:
        walk, schedules = self.walk(layer), self.schedules(layer)
        executed = sum(len(s.rows) for group in schedules for s in group)
        if layer.has_windows:
            return layer.batch * walk.pallets * executed
        return layer.batch * round_robin(np.ones(executed, int), 1, self.columns)

    def effectual_bit_products(self, layer: Layer) -> int:
        nonzero = (np.asarray(layer.weights) != 0).view(np.uint8)
        return BIT_PARALLEL_PRODUCTS * sum_over_macs(layer, None, nonzero)


@dataclass(frozen=True, kw_only=True)
class SerialTcl(BitTactical):
    """A front end with a bit-serial back end: cycles from a property of each activation."""

    @abstractmethod
    def costs(self, activations: npt.NDArray[np.int16], layer: Layer) -> npt.NDArray[np.uint8]:
        """Cycles each activation would take by itself."""

    @property
    def peak_bit_products_per_cycle(self) -> int:
        return self.multipliers * MAX_BITS

    def compute_cycles(self, layer: Layer) -> int:
        walk, schedules = self.walk(layer), self.schedules(layer)
        total = 0
        for image in walk.activations():
            of_pallets = walk.pallet_maxima(self.costs(image, layer))
            if layer.has_windows:
                for values, group in zip(of_pallets, schedules, strict=True):
                    for s in group:
                        costs = counting.selected_maxima(values, s.rows, s.selected)
                        total += int(costs.sum(dtype=np.int64))
            else:
                rows = [
                    counting.selected_maxima(of_pallets[0], s.rows, s.selected)[0]
                    for s in schedules[0]
                ]
                total += round_robin(np.concatenate(rows), 1, self.columns)
        return total

    def effectual_bit_products(self, layer: Layer) -> int:
        nonzero = (np.asarray(layer.weights) != 0).view(np.uint8)
        costs = self.costs(layer.padded_activations, layer)
        return MAX_BITS * sum_over_macs(layer, costs, nonzero)
