"""Scales from an array at once, and from batches that come one after the other."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import codec
from fmtlib.arguments import not_one_of, whole_number
from fmtlib.calibration import limits
from fmtlib.calibration.scales import Calibration, Scheme
from fmtlib.calibration.sources import Blocks, Whole, source_of
from fmtlib.calibration.summary import Summary, summarize
from fmtlib.formats import Format, get_format

Method: TypeAlias = Literal["max", "percentile", "entropy", "mse"]
Nonfinite: TypeAlias = Literal["raise", "ignore"]

METHODS: tuple[str, ...] = get_args(Method)


def calibrate(
    x: ArrayLike,
    fmt: str | Format,
    method: Method = "max",
    axis: int | None = None,
    *,
    affine: bool = False,
    power_of_two: bool = False,
    percentile: float = 99.99,
    bins: int = 2048,
    nonfinite: Nonfinite = "raise",
    dtype: Any = np.float32,
) -> Calibration:
    """Scale, and for integers zero point, with which a format holds an array best.

    Parameters
    ----------
    x : array_like of floats or integers
        Any shape and strides.  Integers beyond ``2**53`` and longdouble are rounded to float64.
        Dask arrays, also within xarray's, are looked at block by block, in dask's own scheduler.
    fmt : str or Format
        An elementwise format: integer, fixed or float.
    method : {"max", "percentile", "entropy", "mse"}
        How the range is clipped; see Notes.
    axis : int, optional
        The axis of channels, each with a scale of its own; None is one scale for all.
    affine : bool
        Whether the range may lie unevenly about zero, which takes a zero point (integer formats).
    power_of_two : bool
        Whether to take the next power of two that is not less.  Fixed-point formats always do:
        see `Calibration.fixed_format`.
    percentile : float
        For "percentile": how many percent are not clipped, of the magnitudes or, affine, of the
        values; above 0, up to 100.
    bins : int
        For "entropy" and "mse": bins of the histogram of magnitudes, a power of two from 256 to
        65536.
    nonfinite : {"raise", "ignore"}
        Whether NaN and infinities are an error or left out.
    dtype : dtype
        float32 or float64: what the scale is rounded to, once.

    Returns
    -------
    Calibration
        Unpacks into scale and zero point (None for fixed and float formats).

    Raises
    ------
    TypeError
        For block formats, which find their own scales, and for x that `encode` does not take.
    ValueError
        If there is no value to go by, in the array or in a channel; for NaN and infinities under
        "raise"; for negative values of an unsigned format without `affine`; if the scale is beyond
        `dtype`; and for arguments out of range.

    See Also
    --------
    Calibrator : for data that come in batches.
    AmaxHistory : scales of tensors that change from step to step.

    Notes
    -----
    A method finds a limit; the range ``[low, high]`` is that of the values, without what is beyond
    the limit on either side, and with zero.  Some find a limit for each end if `affine`.  Then,
    with `top` the format's greatest value,

    - symmetric: ``scale = max(high, -low) / top``, and 0 is the zero point.  For integers top is
      the greatest code, 127 for int8, whether or not there is a -128;
    - affine: ``scale = (high - low) / (most - least)`` of the codes, and
      ``zero_point = least - round(low / scale)``, ties to even, within the codes;
    - fixed point: the least power of two for which the format holds both low and high.

    Scales are the exact quotients rounded once, but at least the least normal number of `dtype`;
    1 if all values are zero.

    The limits are

    - "max": none;
    - "percentile": the least magnitude that `percentile` percent of the magnitudes do not exceed,
      exactly; it is a magnitude of the data.  A limit of zero is none.  Affine, each end is that of
      the values without the ``(100 - percentile) / 2`` percent beyond it: the least value that all
      but so many do not exceed, and the greatest that all but so many are not below;
    - "entropy": the threshold whose cells tell least wrongly how magnitudes are distributed, by
      Kullback and Leibler's divergence, as TensorRT has it.  Of a histogram of magnitudes, whose
      bin 0 is given the count of bin 1, the first i bins (i from 128 to all that are in use) are
      P, with what lies above added to the last, and Q, in which the bins that have a count share
      that of their cell evenly.  For integers and fixed point cells are equal parts of the i bins,
      one for each magnitude of a sign (128 for int8, 256 for uint8); for floats a cell is what
      rounds to one value.  The greatest i whose divergence of Q from P is within 1e-10 of the
      least gives the limit, the upper end of bin i - 1.  Not for `affine`: the divergence is one of
      magnitudes, and what it clips would be as far on either side;
    - "mse": of ``amax * k / 128``, k = 1 ... 128, the one for which the squared errors of
      quantising (to nearest, saturating) add up to the least, each value being represented by the
      middle of its bin; the greatest of those that are equal.  For codes that are finer than
      bins there is nothing to be gained: then use "max".  Affine, from there the low end and the
      high end in turn go to the best of ``low * k / 128`` and ``high * k / 128`` (of all values),
      until neither finds less: no limit of one end is better than what comes out.

    The histogram has bins of ``2**e``, with the least e for which amax is within `bins` of them, so
    at least half are in use.  Memory is constant, beyond a histogram for each channel.

    References
    ----------
    H. Wu et al., "Integer Quantization for Deep Learning Inference: Principles and Empirical
    Evaluation", arXiv 2004.09602; ONNX, DynamicQuantizeLinear; pytorch-quantization (TensorRT),
    calib/histogram.py, for the entropy.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.float32([[0.5, -1.27], [25.4, 0.0]])
    >>> fl.calibrate(x, "int8").scale
    0.20000000298023224
    >>> scale, zero_point = fl.calibrate(x, "int8", axis=0)
    >>> fl.encode(x, "int8", scale=scale, zero_point=zero_point, axis=0)
    array([[  50, -127],
           [ 127,    0]], dtype=int8)
    >>> fl.calibrate(x, "e4m3", power_of_two=True).scale
    0.0625
    """
    calibrator = Calibrator(
        fmt,
        method,
        axis,
        affine=affine,
        power_of_two=power_of_two,
        percentile=percentile,
        bins=bins,
        nonfinite=nonfinite,
        dtype=dtype,
    )
    return calibrator._at_once(source_of(x, axis))


@dataclass(frozen=True)
class _Settings:
    """The arguments, checked."""

    scheme: Scheme
    method: str
    axis: int | None
    percentile: Fraction
    bins: int
    nonfinite: str


class Calibrator:
    """`calibrate` for data that come in batches.

    Parameters
    ----------
    fmt, method, axis, affine, power_of_two, percentile, bins, nonfinite, dtype
        As for `calibrate`.  All batches have the same number of channels.

    Notes
    -----
    What is kept are the range and, but for "max", a histogram of `bins` bins to each side of zero,
    of 8 bytes each, for each channel.  Its bins double in width when a greater value arrives, and
    their counts are added up, exactly.  So results do not depend on how data are cut into batches,
    on their order, nor on which calibrators were merged.

    For "max", "entropy" and "mse" the result is that of `calibrate` on all data at once.  For
    "percentile" it is that of a limit at the upper end of the histogram's bin (or amax, if that
    is less): above the exact one by no more than a bin, ``2 * amax / bins``.

    A batch that raises changes nothing.  Calibrators pickle.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = np.random.default_rng(0).standard_normal((8, 1000), dtype=np.float32)
    >>> calibrator = fl.Calibrator("int8", "mse")
    >>> for batch in x:
    ...     calibrator.observe(batch)
    >>> calibrator.result().scale == fl.calibrate(x, "int8", "mse").scale
    True
    """

    def __init__(
        self,
        fmt: str | Format,
        method: Method = "max",
        axis: int | None = None,
        *,
        affine: bool = False,
        power_of_two: bool = False,
        percentile: float = 99.99,
        bins: int = 2048,
        nonfinite: Nonfinite = "raise",
        dtype: Any = np.float32,
    ) -> None:
        scheme = Scheme.of(get_format(fmt), affine, power_of_two, dtype)
        if method not in METHODS:
            raise ValueError(not_one_of("method", method, METHODS))
        if method == "entropy" and affine:
            raise ValueError("entropy looks at magnitudes only: not with affine=True; see 'mse'")
        if nonfinite not in get_args(Nonfinite):
            raise ValueError(f"nonfinite must be 'raise' or 'ignore', got {nonfinite!r}")
        bins = whole_number("bins", bins, 256, 1 << 16)
        if bins & (bins - 1):
            raise ValueError(f"bins must be a power of two, got {bins}")
        if axis is not None:
            axis = whole_number("axis", axis, -64, 63)
        self._settings = _Settings(scheme, method, axis, _percent(percentile), bins, nonfinite)
        self._summary: Summary | None = None

    def observe(self, x: ArrayLike) -> None:
        """Take a batch into account.

        Parameters
        ----------
        x : array_like of floats or integers
            As for `calibrate`; may be empty.  A dask array counts as the batch of all its blocks.

        Raises
        ------
        TypeError, ValueError
            As `calibrate` for x; also if it has not as many channels as the batches before.
        """
        bins = 0 if self._settings.method == "max" else self._settings.bins
        found = self._look(source_of(x, self._settings.axis), bins)
        if self._summary is not None:
            before, now = len(self._summary.low), len(found.low)
            if before != now:
                raise ValueError(f"x must have {before} channels as those before, got {now}")
            found = self._summary.merge(found)
        self._summary = found

    def merge(self, other: Calibrator) -> Calibrator:
        """The calibrator of what either has observed; both stay as they are.

        Raises
        ------
        ValueError
            If they were made with different arguments, or have different numbers of channels.
        """
        if not isinstance(other, Calibrator):
            raise TypeError(f"only calibrators merge, got {type(other).__name__}")
        if self._settings != other._settings:
            raise ValueError(
                f"calibrators of different settings do not merge: {self._settings} and "
                f"{other._settings}"
            )
        result = Calibrator.__new__(Calibrator)
        result._settings = self._settings
        result._summary = self._summary or other._summary
        if self._summary is not None and other._summary is not None:
            one, two = len(self._summary.low), len(other._summary.low)
            if one != two:
                raise ValueError(f"calibrators of {one} and of {two} channels do not merge")
            result._summary = self._summary.merge(other._summary)
        return result

    @property
    def nonfinite(self) -> Any:
        """NaN and infinities that were left out: a number, or an array with one per channel."""
        if self._summary is None:
            return 0
        found = self._summary.nonfinite
        return int(found[0]) if self._settings.axis is None else found.copy()

    def result(self) -> Calibration:
        """The scale and zero point of all that was observed.

        Raises
        ------
        ValueError
            As for `calibrate`; also if nothing was observed.
        """
        summary = self._seen(self._summary)
        settings = self._settings
        scheme, channels = settings.scheme, range(len(summary.low))
        ends = [*zip(summary.low.tolist(), summary.high.tolist(), strict=True)]
        if settings.method == "percentile":
            percent, affine = settings.percentile, scheme.affine
            ends = [limits.percentile(summary, i, percent, affine) for i in channels]
        elif settings.method == "entropy":
            found = [limits.entropy(summary, i, scheme.format) for i in channels]
            ends = [limits.clip(*of, limit) for of, limit in zip(ends, found, strict=True)]
        elif settings.method == "mse":
            ends = [limits.mean_squared_error(summary, i, scheme) for i in channels]
        return scheme.result(ends, settings.axis is not None)

    def _at_once(self, source: Whole | Blocks) -> Calibration:
        """The result of one array: exact percentiles need it all."""
        settings = self._settings
        if settings.method != "percentile":
            self._summary = self._look(source, 0 if settings.method == "max" else settings.bins)
            return self.result()
        summary, scheme = self._seen(self._look(source, 0)), settings.scheme
        ends = limits.exact_percentile(source, summary, settings.percentile, scheme.affine)
        return scheme.result(ends, settings.axis is not None)

    def _look(self, source: Whole | Blocks, bins: int) -> Summary:
        look = partial(_summary_of, axis=source.axis, bins=bins)
        found, *others = source.reduce(lambda _: look, Summary.merge)
        for other in others:
            found = found.beside(other)
        if self._settings.nonfinite == "raise" and (count := int(found.nonfinite.sum())):
            raise ValueError(
                f"x holds NaN or infinities ({count} of {count + int(found.finite.sum())}); "
                "nonfinite='ignore' leaves them out"
            )
        return found

    def _seen(self, summary: Summary | None) -> Summary:
        """The summary, if every channel has a value."""
        if summary is None:
            raise ValueError("there is no value to calibrate by")
        without = np.flatnonzero(summary.low > summary.high)
        if without.size:
            where = "" if self._settings.axis is None else f" in channel {without[0]}"
            raise ValueError(f"there is no finite value to calibrate by{where}")
        return summary


def _summary_of(block: NDArray[Any], axis: int | None, bins: int) -> Summary:
    return summarize(codec.real_array(block), axis, bins)


def _percent(value: Any) -> Fraction:
    """The decimal number that was given, exactly: 99.9 is 999/10."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
        raise TypeError(f"percentile must be a number, got {value!r}")
    if not 0 < value <= 100:
        raise ValueError(f"percentile must be above 0 and at most 100, got {value}")
    return Fraction(repr(value) if type(value) in (int, float) else str(value))
