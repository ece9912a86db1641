"""TCLe: Bit-Tactical's front end before activations taken by their effectual terms."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmtlib.hardware.designs.tcl import SerialTcl
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.recoding import RECODINGS
from fmtlib.precision import Recoding, terms


@dataclass(frozen=True, kw_only=True)
class TclE(SerialTcl):
    """Zero weights skipped, one effectual term of each selected activation a cycle.

    A row of the schedule takes as many cycles as the activation of the most terms that any filter
    in flight selects, over all windows, at least one.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
    pattern, lookahead, lookaside, fill_order
        Of `BitTactical`, the front end.
    recoding : {"binary", "naf", "booth", "run_length"}
        What the terms are; see `fmtlib.terms`. The default is DNNsim's Booth-like recoding.

    Notes
    -----
    A. Delmas Lascorz et al., "Bit-Tactical: A Software/Hardware Approach to Exploiting Value and
    Bit Sparsity in Neural Networks", ASPLOS 2019 (arXiv 1803.03688), as modelled by DNNsim: every
    count of the reference layers is reproduced.

    Examples
    --------
    >>> weights = np.zeros((16, 48, 1, 1), int)
    >>> weights[:, ::2] = 1
    >>> layer = Layer.conv(np.full((1, 48, 4, 4), 0b10001), weights)
    >>> TclE().compute_cycles(layer)
    4
    """

    name = "tcl_e"

    recoding: Recoding = "run_length"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_choice("recoding", RECODINGS)

    def costs(self, activations: npt.NDArray[np.int16], layer: Layer) -> npt.NDArray[np.uint8]:
        """Terms of each activation."""
        return terms(activations, self.recoding)
