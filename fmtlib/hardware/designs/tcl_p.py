"""TCLp: Bit-Tactical's front end before activations that are serial at their width."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmtlib.hardware.designs.tcl import SerialTcl
from fmtlib.hardware.layers import Layer
from fmtlib.precision import group_bits


@dataclass(frozen=True, kw_only=True)
class TclP(SerialTcl):
    """Zero weights skipped, activations bit-serial at the width the selected ones need.

    A row of the schedule takes as many cycles as the widest activation that any filter in flight
    selects has bits, over all windows; in a tensor with a negative every width holds a sign bit.

    Parameters
    ----------
    tiles, lanes, columns, rows : int
        The array.
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
    >>> layer = Layer.conv(np.full((1, 48, 4, 4), 0b10001), weights)
    >>> TclP().compute_cycles(layer)
    10
    """

    name = "tcl_p"

    def costs(self, activations: npt.NDArray[np.int16], layer: Layer) -> npt.NDArray[np.uint8]:
        """Width of each activation."""
        return group_bits(activations, 1, axis=1, signed=layer.activations_signed)
