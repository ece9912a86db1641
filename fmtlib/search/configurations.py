"""A layer's formats, its size, and how much of 32-bit floats the two come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from fmtlib.arguments import whole_number
from fmtlib.calibration import calibrate
from fmtlib.formats import FixedFormat

Field: TypeAlias = Literal["data_integer", "data_fraction", "weight_integer", "weight_fraction"]

FIELDS: tuple[Field, ...] = get_args(Field)
_FLOAT_BITS = 32


@dataclass(frozen=True)
class Precision:
    """The fixed-point formats of a layer's data and weights; signs are not counted.

    Attributes
    ----------
    data_integer, data_fraction : int
        Bits of the layer's input before and after the binary point.
    weight_integer, weight_fraction : int
        The same of its weights.

    Examples
    --------
    >>> from fmtlib.search import Precision
    >>> Precision(3, 5, 0, 7).data.name
    'fixed_s3_5'
    """

    data_integer: int
    data_fraction: int
    weight_integer: int
    weight_fraction: int

    def __post_init__(self) -> None:
        for part in fields(self):
            value = whole_number(f"Precision.{part.name}", getattr(self, part.name), 0, 32)
            object.__setattr__(self, part.name, value)
        _ = self.data, self.weights  # which check their sums

    @property
    def data(self) -> FixedFormat:
        """The format of the layer's input."""
        return FixedFormat(self.data_integer, self.data_fraction)

    @property
    def weights(self) -> FixedFormat:
        """The format of the layer's weights."""
        return FixedFormat(self.weight_integer, self.weight_fraction)

    def shorter(self, name: Field) -> Precision | None:
        """One bit less in a field; None if there is none to take."""
        other = {"integer": "fraction", "fraction": "integer"}
        kind, _, end = name.partition("_")
        least = 1 if getattr(self, f"{kind}_{other[end]}") == 0 else 0
        value = getattr(self, name)
        return replace(self, **{name: value - 1}) if value > least else None

    @classmethod
    def covering(cls, data: ArrayLike, weights: ArrayLike, bits: int = 16) -> Precision:
        """Formats of so many bits, signs included, that hold all of two arrays.

        Values beyond ``2**(bits - 1)`` saturate.

        Examples
        --------
        >>> from fmtlib.search import Precision
        >>> Precision.covering([0.0, 5.0], [-0.3, 0.9], 8)
        Precision(data_integer=3, data_fraction=4, weight_integer=0, weight_fraction=7)
        """
        room = whole_number("bits", bits, 2, 32) - 1
        found: list[int] = []
        for values in (data, weights):
            scale, _ = calibrate(values, FixedFormat(0, room), dtype=np.float64)
            integer = min(max(math.frexp(scale)[1] - 1, 0), room)  # of a power of two
            found += [integer, room - integer]
        return cls(*found)


Configuration: TypeAlias = tuple[Precision | None, ...]


@dataclass(frozen=True)
class LayerSize:
    """How many numbers a layer reads.

    Attributes
    ----------
    name : str
    data : int
        Values of its input, for one sample.
    weights : int
    """

    name: str
    data: int
    weights: int

    def __post_init__(self) -> None:
        for part in ("data", "weights"):
            value = whole_number(f"LayerSize.{part}", getattr(self, part), 0)
            object.__setattr__(self, part, value)


def footprint(
    configuration: Sequence[Precision | None], sizes: Sequence[LayerSize], batch: int = 1
) -> float:
    """Bits of data and weights, over those of 32-bit floats.

    Parameters
    ----------
    configuration : sequence of Precision or None
    sizes : sequence of LayerSize
    batch : int
        Samples that share the weights.

    Examples
    --------
    >>> from fmtlib.search import LayerSize, Precision, footprint
    >>> footprint([Precision(3, 4, 0, 7)], [LayerSize("conv1", 100, 20)])
    0.25
    """
    batch = whole_number("batch", batch, 1)
    if len(configuration) != len(sizes):
        raise ValueError(f"{len(configuration)} precisions for {len(sizes)} layers")
    bits = numbers = 0
    for precision, size in zip(configuration, sizes, strict=True):
        data = _FLOAT_BITS if precision is None else precision.data.bits
        weights = _FLOAT_BITS if precision is None else precision.weights.bits
        bits += batch * size.data * data + size.weights * weights
        numbers += batch * size.data + size.weights
    if not numbers:
        raise ValueError("the layers hold no numbers at all")
    return float(Fraction(bits, _FLOAT_BITS * numbers))
