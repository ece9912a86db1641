"""Scales of a tensor that changes from step to step, from its greatest magnitudes so far."""

from __future__ import annotations

from collections import deque
from fractions import Fraction
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import codec
from fmtlib.arguments import whole_number
from fmtlib.calibration.scales import Scheme
from fmtlib.calibration.summary import summarize
from fmtlib.formats import FloatFormat, Format

Choice: TypeAlias = Literal["max", "most_recent"]


class AmaxHistory:
    """The scaling recipe of FP8 training: current or delayed, with a margin.

    Parameters
    ----------
    fmt : str or Format
        A float format, "e4m3" or "e5m2" say.
    length : int
        How many of the last tensors count; their greatest magnitudes are kept.  0 is current
        scaling: a tensor's scale goes by itself.
    choice : {"max", "most_recent"}
        Which of the magnitudes counts.
    margin : int
        The greatest magnitude becomes the format's greatest value times ``2**-margin``.
    power_of_two : bool
        Whether scales are powers of two.
    dtype : dtype
        float32 or float64, that of the scale.

    Attributes
    ----------
    scale : float
        For the next tensor, if scaling is delayed; 1 at first.
    skipped : int
        Tensors that held a NaN or an infinity.

    Notes
    -----
    With ``amax`` the magnitude that counts, ``scale = amax * 2**margin / top``, rounded once to
    `dtype`, or the next power of two that is not less.  It is what `encode` takes, that by which
    values are divided: the inverse of what Transformer Engine calls the scale.  Powers of two are
    its exact inverse, other scales the nearest number to the exact one, as is Transformer Engine's.

    A tensor of zeros has amax 0.  If that is what counts, the scale stays; under current scaling
    it is 1.  A tensor with a NaN or an infinity is skipped: neither history nor scale change;
    under current scaling its scale is 1.  (In Transformer Engine an infinity stays in the history
    and keeps the scale until it has left it.)  An empty tensor changes nothing.

    References
    ----------
    NVIDIA Transformer Engine, common/recipe/delayed_scaling.cu and recipe_common.cuh;
    P. Micikevicius et al., "FP8 Formats for Deep Learning", arXiv 2209.05433.

    Examples
    --------
    >>> import fmtlib as fl
    >>> history = fl.AmaxHistory("e4m3", length=2, power_of_two=True)
    >>> [history.scale_for([amax]) for amax in (448.0, 7.0, 7.0, 7.0)]
    [1.0, 1.0, 1.0, 0.015625]
    """

    def __init__(
        self,
        fmt: str | Format,
        *,
        length: int = 1024,
        choice: Choice = "max",
        margin: int = 0,
        power_of_two: bool = False,
        dtype: Any = np.float32,
    ) -> None:
        self._scheme = Scheme.of(fmt, False, power_of_two, dtype)
        if not isinstance(self._scheme.format, FloatFormat):
            raise TypeError(f"fmt must be a float format, got {self._scheme.format.name}")
        if choice not in get_args(Choice):
            raise ValueError(f"choice must be 'max' or 'most_recent', got {choice!r}")
        self._choice = choice
        self._margin = whole_number("margin", margin, -64, 64)
        self._amax: deque[float] = deque(maxlen=whole_number("length", length, 0))
        self.scale = 1.0
        self.skipped = 0

    @property
    def history(self) -> tuple[float, ...]:
        """The greatest magnitudes of the last tensors, the latest one last."""
        return tuple(self._amax)

    def scale_for(self, x: ArrayLike) -> float:
        """The scale to encode a tensor with; the tensor counts for the next ones.

        Parameters
        ----------
        x : array_like of floats or integers

        Returns
        -------
        float
        """
        scale = self.scale
        found = summarize(codec.real_array(x), None)
        amax = float(found.amax[0])
        if found.nonfinite[0]:
            self.skipped += 1
        elif not self._amax.maxlen:
            return self._scale_of(amax) if amax else 1.0
        elif found.low[0] <= found.high[0]:
            self._amax.append(amax)
            counts = max(self._amax) if self._choice == "max" else amax
            if counts:
                self.scale = self._scale_of(counts)
        return scale

    def state(self) -> NDArray[np.float64]:
        """What `restore` needs to go on from here: scale, `skipped`, then the history."""
        return np.array([self.scale, self.skipped, *self._amax], np.float64)

    def restore(self, state: ArrayLike) -> None:
        """Go on where `state` was taken, of a history with the same arguments.

        Raises
        ------
        ValueError
            If it is not the state of such a history.

        Examples
        --------
        >>> import fmtlib as fl
        >>> first, second = (fl.AmaxHistory("e4m3", length=2) for _ in range(2))
        >>> _ = first.scale_for([7.0])
        >>> second.restore(first.state())
        >>> second.scale_for([0.0])
        0.015625
        """
        numbers = np.asarray(state, np.float64)
        longest = 2 + (self._amax.maxlen or 0)
        if numbers.ndim != 1 or not 2 <= numbers.size <= longest or not np.isfinite(numbers).all():
            raise ValueError(
                f"the state must be from 2 to {longest} finite numbers, got {numbers.shape}"
            )
        scale, skipped, *amax = numbers.tolist()
        if scale <= 0 or skipped < 0 or any(a < 0 for a in amax):
            raise ValueError(f"scale, skipped and history cannot be {scale}, {skipped}, {amax}")
        self.scale, self.skipped = scale, int(skipped)
        self._amax.clear()
        self._amax.extend(amax)

    def _scale_of(self, amax: float) -> float:
        least = Fraction(amax) * Fraction(2) ** self._margin / Fraction(self._scheme.format.max)
        return self._scheme.scale((least.numerator, least.denominator))
