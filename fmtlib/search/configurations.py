"""A layer's formats, its size, and how much of 32-bit floats the two come to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from fractions import Fraction
from functools import cached_property
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from fmtlib.arguments import whole_number
from fmtlib.calibration import calibrate
from fmtlib.formats import BlockFormat, FixedFormat, bfp

Role: TypeAlias = Literal["data", "weights"]
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

    def spelt(self, role: Role) -> str:
        """The integer and fraction bits of data or weights: "3.4"."""
        fmt = self.data if role == "data" else self.weights
        return f"{fmt.integer_bits}.{fmt.fraction_bits}"

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


@dataclass(frozen=True)
class BlockPrecision:
    """The block floating point of a layer's data and weights.

    Blocks of both have one length and exponents of one width, so that a product can go block by
    block; mantissas have widths of their own.

    Attributes
    ----------
    block_size : int
        Values that share an exponent.
    exponent : int
        Bits of the shared exponent, 2 to 8.
    data_mantissa, weight_mantissa : int
        Bits of a magnitude, 1 to 23; signs are not counted.

    Examples
    --------
    >>> from fmtlib.search import BlockPrecision
    >>> BlockPrecision(16, 5, 4, 3).data.name
    'bfp_m4_e5_g16'
    """

    block_size: int
    exponent: int
    data_mantissa: int
    weight_mantissa: int

    def __post_init__(self) -> None:
        for part in fields(self):
            value = whole_number(f"BlockPrecision.{part.name}", getattr(self, part.name), 1)
            object.__setattr__(self, part.name, value)
        _ = self.data, self.weights  # which check the rest

    @cached_property
    def data(self) -> BlockFormat:
        """The format of the layer's input."""
        return bfp(self.data_mantissa, self.exponent, self.block_size)

    @cached_property
    def weights(self) -> BlockFormat:
        """The format of the layer's weights."""
        return bfp(self.weight_mantissa, self.exponent, self.block_size)

    def spelt(self, role: Role) -> str:
        """Mantissa and exponent bits and block size of data or weights: "m4e5g16"."""
        mantissa = self.data_mantissa if role == "data" else self.weight_mantissa
        return f"m{mantissa}e{self.exponent}g{self.block_size}"


LayerPrecision: TypeAlias = Precision | BlockPrecision
Configuration: TypeAlias = tuple[LayerPrecision | None, ...]


@dataclass(frozen=True)
class LayerSize:
    """How many numbers a layer reads.

    Attributes
    ----------
    name : str
    data : int
        Values of its input, for one sample.
    weights : int
    data_length, weight_length : int, optional
        Values along the axis that blocks go along, of which the last block may be shorter; None
        if all are in one row.
    """

    name: str
    data: int
    weights: int
    data_length: int | None = None
    weight_length: int | None = None

    def __post_init__(self) -> None:
        for role in ("data", "weight"):
            name, length = f"{role}s" if role == "weight" else role, f"{role}_length"
            value = whole_number(f"LayerSize.{name}", getattr(self, name), 0)
            object.__setattr__(self, name, value)
            if (row := getattr(self, length)) is not None:
                row = whole_number(f"LayerSize.{length}", row, 1)
                object.__setattr__(self, length, row)
                if value % row:
                    raise ValueError(f"{value} {role} of {self.name} are no rows of {row}")

    def bits(self, precision: LayerPrecision | None, batch: int = 1) -> int:
        """Bits of data and weights as they are stored, shared exponents among them.

        Parameters
        ----------
        precision : Precision, BlockPrecision or None
            None for 32-bit floats.
        batch : int
            Samples, which share the weights.

        Examples
        --------
        >>> from fmtlib.search import BlockPrecision, LayerSize
        >>> LayerSize("conv1", 40, 20, 20, 10).bits(BlockPrecision(16, 8, 3, 4))
        308
        """
        data = None if precision is None else precision.data
        weights = None if precision is None else precision.weights
        bits = batch * _bits(data, self.data, self.data_length)
        return bits + _bits(weights, self.weights, self.weight_length)


def _bits(fmt: FixedFormat | BlockFormat | None, values: int, length: int | None) -> int:
    """Of values in rows of a length, each row cut into blocks."""
    if fmt is None:
        return _FLOAT_BITS * values
    bits = values * fmt.bits
    if isinstance(fmt, BlockFormat) and values:
        assert isinstance(fmt.block_size, int)
        length = length or values
        bits += values // length * -(-length // fmt.block_size) * fmt.scale_bits
    return bits


def footprint(
    configuration: Sequence[LayerPrecision | None], sizes: Sequence[LayerSize], batch: int = 1
) -> float:
    """Bits of data and weights, over those of 32-bit floats.

    Parameters
    ----------
    configuration : sequence of Precision, BlockPrecision or None
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
        bits += size.bits(precision, batch)
        numbers += batch * size.data + size.weights
    if not numbers:
        raise ValueError("the layers hold no numbers at all")
    return float(Fraction(bits, _FLOAT_BITS * numbers))
