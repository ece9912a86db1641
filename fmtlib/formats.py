"""The table of formats: every number format as a frozen record of independent facts.

A format says what its codes mean and nothing else; rounding, overflow and seeds are arguments
of the operations.  ``FORMATS`` is the only list of named formats in the package: tests,
benchmarks and documentation are generated from it.

Adding a format is one row in ``_named_formats``.
"""

from __future__ import annotations

import difflib
import math
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

import numpy as np

from fmtlib.arguments import whole_number

Rounding: TypeAlias = Literal[
    "nearest_even", "nearest_away", "toward_zero", "up", "down", "to_odd",
    "stochastic", "stochastic_b", "stochastic_c",
]  # fmt: skip
Overflow: TypeAlias = Literal[
    "saturate", "nonsaturating", "wrap", "raise",
    "p3109_finite", "p3109_propagate", "p3109_none",
]  # fmt: skip
NanEncoding: TypeAlias = Literal["ieee", "all_ones", "negative_zero", "none"]
ScaleRule: TypeAlias = Literal["floor", "ceil", "even", "rceil", "hbfp", "amax"]

ROUNDINGS: tuple[str, ...] = get_args(Rounding)
OVERFLOWS: tuple[str, ...] = get_args(Overflow)
# The roundings that take a random word for each element.
STOCHASTIC: tuple[str, ...] = tuple(name for name in ROUNDINGS if name.startswith("stochastic"))

# What the codes of each NumPy (or ml_dtypes) type can hold: significand bits, exponent of the
# least subnormal, exponent of the greatest finite value.
_CARRIERS: dict[str, tuple[int, int, int]] = {
    "float16": (11, -24, 15),
    "bfloat16": (8, -133, 127),
    "float32": (24, -149, 127),
    "float64": (53, -1074, 1023),
    np.dtype(np.longdouble).name: (53, -1074, 1023),  # at least as much as float64
}


class _ValueSet(ABC):
    """What any format can say of the set of its finite values.

    Every finite value is ``k * 2**quantum_exponent`` for an integer ``k``; its significand has
    at most ``precision`` bits and its magnitude is below ``2**(max_exponent + 1)``.
    """

    __slots__ = ()

    @property
    @abstractmethod
    def precision(self) -> int:
        """Bits of the longest significand."""

    @property
    @abstractmethod
    def quantum_exponent(self) -> int:
        """Exponent of the smallest distance between two values."""

    @property
    @abstractmethod
    def max_exponent(self) -> int:
        """Exponent of the greatest magnitude."""

    def fits(self, dtype: str) -> bool:
        """Tell whether every value of the format is a value of the named NumPy type."""
        if dtype not in _CARRIERS:
            limits = np.iinfo(dtype)
            return (
                isinstance(self, (FixedFormat, IntegerFormat))
                and self.fraction_bits == 0
                and limits.min <= self.min_integer
                and self.max_integer <= limits.max
            )
        precision, quantum_exponent, max_exponent = _CARRIERS[dtype]
        return (
            self.precision <= precision
            and self.quantum_exponent >= quantum_exponent
            and self.max_exponent <= max_exponent
        )

    @property
    def smallest_dtype(self) -> str:
        """Name of the first of float16, bfloat16, float32, float64 that holds every value."""
        return next(dtype for dtype in _CARRIERS if self.fits(dtype))

    @property
    @abstractmethod
    def overflows(self) -> tuple[str, ...]:
        """The overflow modes that the format takes."""

    @property
    def name(self) -> str:
        """The name in the table, or for other records one that `get_format` rebuilds."""
        return _NAMES.get(self) or self._derived_name()  # type: ignore[call-overload]

    @abstractmethod
    def _derived_name(self) -> str:
        """The name that the record's facts spell."""

    def __str__(self) -> str:
        return self.name


def _check_int(record: object, field: str, low: int, high: int) -> None:
    name = f"{type(record).__name__}.{field}"
    object.__setattr__(record, field, whole_number(name, getattr(record, field), low, high))


def _check_choice(record: object, field: str, allowed: tuple[object, ...]) -> None:
    value = getattr(record, field)
    if not any(value is choice or value == choice for choice in allowed):
        raise ValueError(
            f"{type(record).__name__}.{field} must be one of {', '.join(map(repr, allowed))}, "
            f"got {value!r}"
        )


@dataclass(frozen=True)
class FloatFormat(_ValueSet):
    """A binary floating-point format of at most 19 bits, those of TF32.

    Parameters
    ----------
    exponent_bits, mantissa_bits : int
        Width of the exponent field and of the trailing significand field.
    bias : int, optional
        A biased exponent ``E`` means ``2**(E - bias)``; ``2**(exponent_bits - 1) - 1`` if left out.
    infinities : bool
        Whether there are codes for infinities: under ``nan="ieee"`` an all-ones exponent with a
        zero mantissa, else the greatest magnitude that is not NaN.
    nan : {"ieee", "all_ones", "negative_zero", "none"}
        Which codes are NaN: every non-zero mantissa under an all-ones exponent; only the code
        whose magnitude bits are all ones; only the code that would be -0 (which there is not,
        then); or none.
    signed : bool
        Whether the top bit is a sign.  Unsigned formats have no negative values.
    subnormals : bool
        False: an exponent field of zero is one more binade of normal values, so that the
        format has no zero (float8_e8m0fnu).

    Examples
    --------
    >>> from fmtlib import FloatFormat
    >>> FloatFormat(4, 3, nan="all_ones", infinities=False).name
    'float8_e4m3fn'
    >>> FloatFormat(5, 2).max
    57344.0
    """

    exponent_bits: int
    mantissa_bits: int
    bias: int | None = None
    infinities: bool = True
    nan: NanEncoding = "ieee"
    signed: bool = True
    subnormals: bool = True

    def __post_init__(self) -> None:
        _check_int(self, "exponent_bits", 1, 15)
        _check_int(self, "mantissa_bits", 0, 17)
        if self.bias is None:
            object.__setattr__(self, "bias", 2 ** (self.exponent_bits - 1) - 1)
        _check_int(self, "bias", -1022, 1022)
        _check_choice(self, "nan", get_args(NanEncoding))
        for field in ("infinities", "signed", "subnormals"):
            _check_choice(self, field, (True, False))
        if self.bits > 19:
            raise ValueError(f"a FloatFormat has at most 19 bits, got {self.bits}")
        if self.nan == "ieee" and not (self.infinities and self.mantissa_bits):
            raise ValueError(
                'nan="ieee" needs infinities=True and mantissa_bits >= 1; without them nan is '
                '"all_ones", "negative_zero" or "none"'
            )
        if self.nan == "negative_zero" and not (self.signed and self.subnormals):
            raise ValueError('nan="negative_zero" needs a signed format with a zero')
        if self.signed and not self.subnormals:
            raise ValueError("subnormals=False (no zero) is for unsigned formats")
        if self.max_code < 1:
            raise ValueError(f"{self!r} has no finite value above its smallest")
        if self.quantum_exponent < -1022 or self.max_exponent > 1023:
            raise ValueError(
                f"every value must be a normal float64 number (2**-1022 to 2**1023), got "
                f"2**{self.quantum_exponent} to 2**{self.max_exponent}"
            )

    @property
    def bits(self) -> int:
        """Width of a code in bits."""
        return int(self.signed) + self.exponent_bits + self.mantissa_bits

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """NumPy type of the codes: the smallest unsigned integer that holds them."""
        return np.dtype(f"u{_bytes_for(self.bits)}")

    @property
    def magnitude_mask(self) -> int:
        """The bits of a code below its sign."""
        return (1 << (self.exponent_bits + self.mantissa_bits)) - 1

    @property
    def sign_bit(self) -> int:
        """The sign bit of a code; 0 if the format is unsigned."""
        return 1 << (self.bits - 1) if self.signed else 0

    @property
    def inf_code(self) -> int | None:
        """The code of +Inf, or None."""
        if not self.infinities:
            return None
        if self.nan == "ieee":
            return self.magnitude_mask & ~((1 << self.mantissa_bits) - 1)
        return self.magnitude_mask - (self.nan == "all_ones")

    @property
    def nan_code(self) -> int | None:
        """The (positive) code emitted for NaN, or None."""
        if self.nan == "ieee":
            return (self.inf_code or 0) | 1 << (self.mantissa_bits - 1)
        return {"all_ones": self.magnitude_mask, "negative_zero": self.sign_bit}.get(self.nan)

    @property
    def max_code(self) -> int:
        """The code of the greatest finite value."""
        if self.inf_code is not None:
            return self.inf_code - 1
        return self.magnitude_mask - (self.nan == "all_ones")

    @property
    def has_negative_zero(self) -> bool:
        """Whether -0 has a code of its own."""
        return self.signed and self.nan != "negative_zero"

    @property
    def min_exponent(self) -> int:
        """Exponent of the smallest normal value."""
        assert self.bias is not None
        return int(self.subnormals) - self.bias

    @property
    def precision(self) -> int:
        """Bits of the significand, the leading one included."""
        return self.mantissa_bits + 1

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest distance between two values."""
        return self.min_exponent - self.mantissa_bits

    @property
    def max_exponent(self) -> int:
        """Exponent of the greatest finite value."""
        field = self.max_code >> self.mantissa_bits
        return self.min_exponent + (max(field - 1, 0) if self.subnormals else field)

    @property
    def max(self) -> float:
        """The greatest finite value."""
        field, fraction = divmod(self.max_code, 1 << self.mantissa_bits)
        significand = fraction + ((field > 0 or not self.subnormals) << self.mantissa_bits)
        return float(significand) * 2.0 ** (self.max_exponent - self.mantissa_bits)

    @property
    def overflows(self) -> tuple[str, ...]:
        """The overflow modes that the format takes."""
        return tuple(mode for mode in OVERFLOWS if mode != "wrap")

    def _p3109_name(self) -> str | None:
        """The name in the IEEE P3109 family, of a record that belongs to it."""
        bits, precision = self.bits, self.precision
        if 3 <= bits <= 8 and self.exponent_bits >= 1 and self.subnormals:
            same = p3109(bits, precision, signed=self.signed, infinities=self.infinities)
            if same == self:
                domain = "e" if self.infinities else "f"
                return f"binary{bits}p{precision}{'s' if self.signed else 'u'}{domain}"
        return None

    def _derived_name(self) -> str:
        family = self._p3109_name()
        if family is not None:
            return family
        kind = _FLOAT_KINDS[self.nan, self.infinities]
        sign = "" if self.signed else "_unsigned"
        zero = "" if self.subnormals else "_nozero"
        return f"float_e{self.exponent_bits}m{self.mantissa_bits}b{self.bias}_{kind}{sign}{zero}"


@dataclass(frozen=True)
class FixedFormat(_ValueSet):
    """A fixed-point format: an integer times ``2**-fraction_bits``.

    Parameters
    ----------
    integer_bits, fraction_bits : int
        Bits before and after the binary point; the sign is not counted, so
        ``FixedFormat(7, 8)`` is 16 bits wide (Q8.8 where the sign is counted).
    signed : bool
        Whether there are negative values.
    encoding : {"twos_complement", "sign_magnitude"}
        How a signed code holds its sign.  Sign-magnitude is for the elements of blocks; the verbs
        do not take it, ``fmtlib.reference`` and `show` do.

    Examples
    --------
    >>> from fmtlib import FixedFormat
    >>> FixedFormat(7, 8).max
    127.99609375
    """

    integer_bits: int
    fraction_bits: int
    signed: bool = True
    encoding: Literal["twos_complement", "sign_magnitude"] = "twos_complement"

    def __post_init__(self) -> None:
        _check_int(self, "integer_bits", 0, 32)
        _check_int(self, "fraction_bits", 0, 32)
        _check_choice(self, "signed", (True, False))
        _check_choice(self, "encoding", ("twos_complement", "sign_magnitude"))
        if not 1 <= self.bits <= 32 or self.magnitude_bits == 0:
            raise ValueError(
                f"a FixedFormat has 1 to 32 bits, at least one besides the sign; got {self.bits}"
            )
        if self.encoding == "sign_magnitude" and not self.signed:
            raise ValueError('encoding="sign_magnitude" needs signed=True')

    @property
    def magnitude_bits(self) -> int:
        """Bits of a code besides its sign."""
        return self.integer_bits + self.fraction_bits

    @property
    def bits(self) -> int:
        """Width of a code in bits."""
        return int(self.signed) + self.magnitude_bits

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """NumPy type of the codes: the smallest integer of the same signedness."""
        kind = "i" if self.signed and self.encoding == "twos_complement" else "u"
        return np.dtype(f"{kind}{_bytes_for(self.bits)}")

    @property
    def max_integer(self) -> int:
        """The greatest integer multiple of the quantum."""
        return (1 << self.magnitude_bits) - 1

    @property
    def min_integer(self) -> int:
        """The least integer multiple of the quantum."""
        if not self.signed:
            return 0
        return -self.max_integer - (self.encoding == "twos_complement")

    @property
    def overflows(self) -> tuple[str, ...]:
        """The overflow modes that the format takes; sign and magnitude do not wrap."""
        wraps = self.encoding == "twos_complement"
        return ("saturate", "wrap", "raise") if wraps else ("saturate", "raise")

    @property
    def precision(self) -> int:
        """Bits of the greatest magnitude."""
        return self.magnitude_bits

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the distance between two values."""
        return -self.fraction_bits

    @property
    def max_exponent(self) -> int:
        """Exponent of the greatest magnitude."""
        return (max(self.max_integer, -self.min_integer)).bit_length() - 1 - self.fraction_bits

    @property
    def max(self) -> float:
        """The greatest value."""
        return float(self.max_integer) * 2.0**-self.fraction_bits

    def _derived_name(self) -> str:
        sign = "sm" if self.encoding == "sign_magnitude" else "s" if self.signed else "u"
        return f"fixed_{sign}{self.integer_bits}_{self.fraction_bits}"


@dataclass(frozen=True)
class IntegerFormat(_ValueSet):
    """An integer format, for quantisation with a scale and a zero point.

    Parameters
    ----------
    bits : int
        Width of a code, 1 to 16.
    signed : bool
        Whether there are negative codes.
    symmetric : bool
        Leave out the most negative code of a signed format, so that the range is the same on
        both sides ([-127, 127] for 8 bits).  Always False for unsigned formats.

    Examples
    --------
    >>> from fmtlib import IntegerFormat
    >>> f = IntegerFormat(8)
    >>> f.min_integer, f.max_integer
    (-127, 127)
    """

    bits: int
    signed: bool = True
    symmetric: bool = True

    def __post_init__(self) -> None:
        _check_choice(self, "signed", (True, False))
        _check_choice(self, "symmetric", (True, False))
        _check_int(self, "bits", 2 if self.signed else 1, 16)
        if not self.signed:
            object.__setattr__(self, "symmetric", False)

    @property
    def code_dtype(self) -> np.dtype[Any]:
        """NumPy type of the codes: the smallest integer of the same signedness."""
        return np.dtype(f"{'i' if self.signed else 'u'}{_bytes_for(self.bits)}")

    @property
    def max_integer(self) -> int:
        """The greatest code."""
        return (1 << (self.bits - int(self.signed))) - 1

    @property
    def min_integer(self) -> int:
        """The least code."""
        return -self.max_integer - (not self.symmetric) if self.signed else 0

    @property
    def overflows(self) -> tuple[str, ...]:
        """The overflow modes that the format takes; a symmetric range has no modulus to wrap by."""
        return ("saturate", "raise") if self.symmetric else ("saturate", "wrap", "raise")

    @property
    def precision(self) -> int:
        """Bits of the greatest magnitude."""
        return self.max_integer.bit_length()

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the distance between two values (without a scale)."""
        return 0

    @property
    def max_exponent(self) -> int:
        """Exponent of the greatest magnitude (without a scale)."""
        return max(self.max_integer, -self.min_integer).bit_length() - 1

    @property
    def max(self) -> float:
        """The greatest value (without a scale)."""
        return float(self.max_integer)

    @property
    def fraction_bits(self) -> int:
        """Bits after the binary point: none."""
        return 0

    def _derived_name(self) -> str:
        full = "_full" if self.signed and not self.symmetric else ""
        return f"{'' if self.signed else 'u'}int{self.bits}{full}"


@dataclass(frozen=True)
class BlockFormat(_ValueSet):
    """A block format: elements that share a scale along one axis, or in tiles over two.

    The value of an element is its own value times the scale of its block (and times the scale of
    the tensor, where there is one).

    Parameters
    ----------
    element : FloatFormat or FixedFormat
        What one code means before the scale.  A signed float of at most 16 bits (MX, NVFP4);
        or an integer with one bit before the binary point and at most 23 magnitude bits, in
        sign-magnitude (block floating point, see `bfp`) or two's complement (MXINT8; its most
        negative code is never emitted).
    scale : FloatFormat
        Format of the shared scale.  A power of two: an unsigned format of 2 to 8 bits without
        mantissa bits and without a zero, whose all-ones code is NaN.  For ``scale_rule="amax"``
        a float of at most 8 bits with mantissa bits, a zero and a NaN (float8_e4m3fn in NVFP4).
    block_size : int or (int, int)
        Number of elements that share a scale; a pair is a tile over a pair of axes.  The last
        block of an axis may be shorter.
    scale_rule : {"floor", "ceil", "even", "rceil", "hbfp", "amax"}
        How the greatest magnitude ``amax`` of a block gives its scale; see Notes.
    carry : {"saturate", "bump"}
        What happens when a magnitude rounds up past the greatest code: it keeps that code, or
        the whole block is redone with the next greater scale ("bump": for block floating point).
    nonfinite : {"nan", "raise"}
        What a NaN or an infinity does to its block: every value becomes NaN, or ValueError.
    tensor_scale : bool
        Whether the whole tensor has a float32 scale besides (NVFP4; needs ``scale_rule="amax"``).
    micro_size : int, optional
        Elements of a sub-block that may halve the scale for itself, at one bit each (shared
        micro-exponents); divides `block_size`.

    Notes
    -----
    A power-of-two scale is ``2**E``, with E brought into the scale format's range, and `emax` the
    exponent of the greatest element:

    - "floor": ``E = floor(log2(amax)) - emax``, the conversion of OCP MX;
    - "ceil": ``E = ceil(log2(amax)) - emax``;
    - "even": "floor" of amax rounded to the precision of an element, ties away from zero;
    - "rceil": ``E = ceil(log2(q))`` with ``q = amax / (greatest element)`` rounded to float32,
      to nearest-even and once, whatever the type of amax;
    - "hbfp": ``E = ceil(log2(amax + 1e-8)) - 1 - emax``, in exact arithmetic with the float64
      1e-8.  With one integer bit and m magnitude bits values are ``±k * 2**(e - m)`` for HBFP's
      exponent ``e = ceil(log2(amax + 1e-8))`` and k below ``2**m``.

    An all-zero block has scale code 0.  Elements beyond the greatest saturate.

    "amax" is NVIDIA's two-level rule, each step one float32 operation (float64 arrays are rounded
    to float32 first, and saturate there): ``s_enc = max_element * max_scale / amax_tensor``, at
    most the greatest float32, and 1 for an all-zero tensor or without a tensor scale; block scale
    ``s = round((amax / max_element) * s_enc)`` to nearest-even, saturating; elements
    ``round(x * (1 / (s * (1 / s_enc))))``, the reciprocal at most the greatest float32.  A block
    whose scale is 0 has codes 0.  ``1 / s_enc`` is the tensor's scale when decoding.  NaN and
    infinities do not count for amax_tensor.

    Micro-exponents are this package's own definition after the published description of shared
    micro-exponents (MX4, MX6, MX9 in the second reference; called SMX here, as MX came to mean
    OCP's formats): the exponents of the block and of each sub-block, both as "floor" has them
    within the scale format's range; a sub-block whose exponent is below the block's has its bit
    set and half the scale.  The stored scale is one integer: the code of the block's scale in the
    low bits, the bit of sub-block i at ``scale.bits + i``, 0 for those that a short block lacks.

    Values of a format quantise to themselves, with these exceptions: under "amax" the scale of
    the tensor is rounded; under "hbfp" the 1e-8 raises the exponent of small values close below a
    power of two; under "even" and a rounding that is not to nearest a maximum may round up for the
    scale but not as an element, and saturate the next time; and a greatest float32 may round up to
    an infinity, unless the rule is "floor".

    References
    ----------
    OCP Microscaling Formats (MX) Specification v1.0, 5.1 to 6.3; B. Rouhani et al., "With
    Shared Microexponents, A Little Shifting Goes a Long Way", ISCA 2023; M. Drumond et al.,
    "Training DNNs with Hybrid Block Floating Point", NeurIPS 2018; NVIDIA Transformer Engine's
    NVFP4 quantisation.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from fmtlib import get_format
    >>> mx = get_format("mxfp8_e4m3")
    >>> mx.element.name, mx.scale.name, mx.block_size
    ('float8_e4m3fn', 'float8_e8m0fnu', 32)
    >>> replace(mx, scale_rule="rceil").name
    'mxfp8_e4m3_rceil'
    """

    element: FloatFormat | FixedFormat
    scale: FloatFormat
    block_size: int | tuple[int, int] = 16
    scale_rule: ScaleRule = "floor"
    carry: Literal["saturate", "bump"] = "saturate"
    nonfinite: Literal["nan", "raise"] = "nan"
    tensor_scale: bool = False
    micro_size: int | None = None

    def __post_init__(self) -> None:
        if isinstance(self.block_size, (tuple, list)):
            sizes = tuple(
                whole_number("BlockFormat.block_size", size, 1, 2**31 - 1)
                for size in self.block_size
            )
            if len(sizes) != 2:
                raise ValueError(f"BlockFormat.block_size must be one or two sizes, got {sizes}")
            object.__setattr__(self, "block_size", sizes)
        else:
            _check_int(self, "block_size", 1, 2**31 - 1)
        _check_choice(self, "scale_rule", get_args(ScaleRule))
        _check_choice(self, "carry", ("saturate", "bump"))
        _check_choice(self, "nonfinite", ("nan", "raise"))
        _check_choice(self, "tensor_scale", (True, False))
        self._check_element()
        self._check_scale()
        sign_magnitude = isinstance(self.element, FixedFormat) and (
            self.element.encoding == "sign_magnitude"
        )
        if self.carry == "bump" and not (sign_magnitude and self.micro_size is None):
            raise ValueError("carry='bump' needs sign-magnitude elements and no micro_size")
        if self.tensor_scale and self.scale_rule != "amax":
            raise ValueError("tensor_scale=True needs scale_rule='amax'")
        if self.micro_size is not None:
            _check_int(self, "micro_size", 1, 2**31 - 1)
            if not sign_magnitude or self.scale_rule != "floor":
                raise ValueError("micro_size needs sign-magnitude elements, scale_rule='floor'")
            if isinstance(self.block_size, tuple) or self.block_size % self.micro_size:
                raise ValueError(
                    f"micro_size must divide a one-dimensional block_size, got {self.micro_size} "
                    f"and {self.block_size}"
                )
            if self.scale_bits > 32:
                raise ValueError(
                    f"a block has at most {32 - self.scale.bits} micro-exponents beside its "
                    f"{self.scale.bits}-bit scale, got {self.block_size // self.micro_size}"
                )
        if self.quantum_exponent < -1022 or self.max_exponent > 1023:
            raise ValueError(
                "every value of a block must be a normal float64 number (2**-1022 to 2**1023), "
                f"got 2**{self.quantum_exponent} to 2**{self.max_exponent}"
            )

    # What calls of encoders and products ask for is found once: the hash, for caches, and dtypes.

    def __hash__(self) -> int:
        return self._hash

    def __reduce__(self) -> Any:
        """Pickled without the hash, which is another in another process."""
        return type(self), self._facts()

    @cached_property
    def _hash(self) -> int:
        return hash(self._facts())

    def _facts(self) -> tuple[Any, ...]:
        return tuple(getattr(self, field.name) for field in fields(self))

    def _check_element(self) -> None:
        element = self.element
        if isinstance(element, FixedFormat):
            valid = element.signed and element.integer_bits == 1 and element.magnitude_bits <= 23
        else:
            valid = isinstance(element, FloatFormat) and element.signed and element.bits <= 16
        if not valid:
            raise ValueError(
                "BlockFormat.element must be a signed FloatFormat of at most 16 bits, or a signed "
                f"FixedFormat(1, m - 1) with m from 1 to 23, got {element!r}"
            )

    def _check_scale(self) -> None:
        scale, element = self.scale, self.element
        if self.scale_rule == "amax":
            if not isinstance(scale, FloatFormat) or (
                scale.bits > 8
                or scale.mantissa_bits < 1
                or scale.infinities
                or scale.nan_code is None
                or not scale.fits("float32")
                or not (isinstance(element, FloatFormat) and element.fits("float32"))
            ):
                raise ValueError(
                    "scale_rule='amax' needs float elements and BlockFormat.scale must be a "
                    "FloatFormat of at most 8 bits with mantissa bits, NaN and no infinities, got "
                    f"{scale!r}"
                )
        elif not isinstance(scale, FloatFormat) or (
            (scale.mantissa_bits, scale.signed, scale.subnormals, scale.nan)
            != (0, False, False, "all_ones")
            or scale.exponent_bits > 8
            or scale.bias != 2 ** (scale.exponent_bits - 1) - 1
        ):
            raise ValueError(
                "BlockFormat.scale must be an unsigned power-of-two FloatFormat of 2 to 8 bits "
                f"with the usual bias and an all-ones NaN, got {scale!r}"
            )

    @property
    def mantissa_bits(self) -> int:
        """Magnitude bits of an integer element, the leading one explicit.

        Formats of float elements have no such attribute; see ``element.mantissa_bits``.
        """
        if isinstance(self.element, FloatFormat):
            raise AttributeError(
                f"the elements of {self.name} are floats: see its element.mantissa_bits"
            )
        return self.element.magnitude_bits

    @property
    def exponent_bits(self) -> int:
        """Bits of the scale's exponent."""
        return self.scale.exponent_bits

    @property
    def bits(self) -> int:
        """Width of an element's code in bits; the scale is not counted."""
        return self.element.bits

    @property
    def scale_bits(self) -> int:
        """Width of what is stored for a block besides its elements, in bits."""
        if self.micro_size is None:
            return self.scale.bits
        assert isinstance(self.block_size, int)
        return self.scale.bits + self.block_size // self.micro_size

    @cached_property
    def scale_dtype(self) -> np.dtype[Any]:
        """NumPy type of the scale codes."""
        return np.dtype(f"u{_bytes_for(self.scale_bits)}")

    @cached_property
    def code_dtype(self) -> np.dtype[Any]:
        """NumPy type of the element codes, unsigned."""
        return np.dtype(f"u{_bytes_for(self.bits)}")

    @property
    def emax(self) -> int:
        """Exponent of the greatest element."""
        return math.frexp(self.element.max)[1] - 1  # it may be subnormal: not its field

    @property
    def overflows(self) -> tuple[str, ...]:
        """The overflow modes that the format takes: blocks choose their scales to avoid it."""
        return ("saturate",)

    @property
    def precision(self) -> int:
        """Bits of the longest significand of an element times the scale of its block."""
        element = self.element
        own = element.precision if isinstance(element, FloatFormat) else element.magnitude_bits
        return own + self.scale.mantissa_bits + (self.scale.mantissa_bits > 0)

    @property
    def quantum_exponent(self) -> int:
        """Exponent of the smallest distance between two values in any block."""
        return self.scale.quantum_exponent + self.element.quantum_exponent

    @property
    def max_exponent(self) -> int:
        """Exponent of the greatest value in any block."""
        significand = self.element.max * 2.0**-self.emax
        significand *= self.scale.max * 2.0**-self.scale.max_exponent
        return self.scale.max_exponent + self.emax + (significand >= 2)

    @property
    def max(self) -> float:
        """The greatest value in any block."""
        return self.element.max * self.scale.max

    def fits(self, dtype: str) -> bool:
        """Tell whether values of the format are values of the named float type.

        The scale itself and the smallest distance must be within the type's range, and precision
        suffice; the products that overflow under the very greatest scales become infinities.  A
        scale of the tensor is not considered: decoding multiplies by it, exactly in float64,
        rounding once to narrower types, and saturating there under "amax".
        """
        if dtype not in _CARRIERS:
            return False
        precision, quantum_exponent, max_exponent = _CARRIERS[dtype]
        return (
            self.precision <= precision
            and self.quantum_exponent >= quantum_exponent
            and self.scale.max_exponent <= max_exponent
        )

    def _derived_name(self) -> str:
        element, scale = self.element, self.scale
        family = next(
            (
                name
                for name, fmt in _BLOCK_FAMILIES.items()
                if (fmt.element, fmt.scale, fmt.tensor_scale) == (element, scale, self.tensor_scale)
            ),
            None,
        )
        if family is not None:
            name, default = family, _BLOCK_FAMILIES[family]
            size = "" if self.block_size == default.block_size else _size_suffix(self.block_size)
            rule = "" if self.scale_rule == default.scale_rule else f"_{self.scale_rule}"
        else:
            if isinstance(element, FixedFormat) and (
                element.encoding == "sign_magnitude" and self.scale_rule != "amax"
            ):
                name = f"bfp_m{element.magnitude_bits}_e{scale.exponent_bits}"
            else:
                tensor = "_tensor" if self.tensor_scale else ""
                name = f"block_{element.name}_by_{scale.name}{tensor}"
            size = _size_suffix(self.block_size)
            rule = "" if self.scale_rule == "floor" else f"_{self.scale_rule}"
        micro = "" if self.micro_size is None else f"_u{self.micro_size}"
        carry = "" if self.carry == "saturate" else "_bump"
        nonfinite = "" if self.nonfinite == "nan" else "_raise"
        return f"{name}{size}{micro}{rule}{carry}{nonfinite}"


def _size_suffix(block_size: int | tuple[int, int]) -> str:
    sizes = block_size if isinstance(block_size, tuple) else (block_size,)
    return "_g" + "x".join(map(str, sizes))


Format: TypeAlias = FloatFormat | FixedFormat | IntegerFormat | BlockFormat
_RECORDS: tuple[type, ...] = get_args(Format)

# How the names of run-time float formats spell (nan, infinities).
_FLOAT_KINDS: dict[tuple[NanEncoding, bool], str] = {
    ("ieee", True): "ieee",
    ("all_ones", False): "fn",
    ("all_ones", True): "in",
    ("negative_zero", True): "uz",
    ("negative_zero", False): "fnuz",
    ("none", False): "finite",
    ("none", True): "inf",
}


def _bytes_for(bits: int) -> int:
    return 1 if bits <= 8 else 2 if bits <= 16 else 4


def bfp(
    mantissa_bits: int = 4,
    exponent_bits: int = 8,
    block_size: int | tuple[int, int] = 16,
    *,
    carry: Literal["saturate", "bump"] = "saturate",
    nonfinite: Literal["nan", "raise"] = "nan",
) -> BlockFormat:
    """Sign-magnitude block floating point: one shared exponent per block, no hidden bit.

    The values of a block with shared exponent ``E`` are ``±k * 2**(E + 1 - mantissa_bits)`` for
    ``k`` from 0 to ``2**mantissa_bits - 1``.

    Parameters
    ----------
    mantissa_bits : int
        Magnitude bits of an element, 1 to 23.
    exponent_bits : int
        Bits of the shared exponent, 2 to 8.  Its code has bias ``2**(exponent_bits - 1) - 1`` and
        all ones means NaN; above the window values saturate, below it the quantum stays.
    block_size : int or (int, int)
        Elements per block, or the sides of a tile.
    carry, nonfinite
        See `BlockFormat`.

    Returns
    -------
    BlockFormat

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, "FAST: DNN Training Under Variable Precision Block
    Floating Point with Stochastic Rounding", HPCA 2022, arXiv 2110.15456.

    Examples
    --------
    >>> from fmtlib import bfp
    >>> bfp(4).name
    'bfp_m4_e8_g16'
    """
    mantissa_bits = whole_number("mantissa_bits", mantissa_bits, 1, 23)
    exponent_bits = whole_number("exponent_bits", exponent_bits, 2, 8)
    return BlockFormat(
        element=FixedFormat(1, mantissa_bits - 1, encoding="sign_magnitude"),
        scale=FloatFormat(
            exponent_bits, 0, infinities=False, nan="all_ones", signed=False, subnormals=False
        ),
        block_size=block_size,
        carry=carry,
        nonfinite=nonfinite,
    )


def p3109(
    bits: int, precision: int, *, signed: bool = True, infinities: bool = True
) -> FloatFormat:
    """Format ``binary{K}p{P}{s|u}{e|f}`` of the IEEE P3109 draft.

    The family has one zero, one NaN and gradual underflow.  The draft may still change, and its
    text forbids claims of conformance: these are the formats of its interim report.

    Parameters
    ----------
    bits : int
        Width K of a code, 3 to 8.
    precision : int
        Bits P of the significand, the leading one included: below K if signed, up to K if not.
    signed : bool
        "s" (the bias is ``2**(K - P - 1)``, NaN has the code that would be -0) or "u" (the bias is
        ``2**(K - P)``, NaN has the last code).
    infinities : bool
        "e", extended, or "f", finite.

    Returns
    -------
    FloatFormat

    References
    ----------
    IEEE P3109 Interim Report on Binary Floating-point Formats for Machine Learning, version 4.0
    (draft).

    Examples
    --------
    >>> from fmtlib.formats import get_format, p3109
    >>> p3109(8, 3).max
    49152.0
    >>> p3109(8, 3) == get_format("binary8p3se")
    True
    """
    bits = whole_number("bits", bits, 3, 8)
    precision = whole_number("precision", precision, 1, bits - bool(signed))
    return FloatFormat(
        bits - precision + (not signed),
        precision - 1,
        bias=2 ** (bits - precision - bool(signed)),
        infinities=infinities,
        nan="negative_zero" if signed else "all_ones",
        signed=signed,
    )


def _named_formats() -> dict[str, tuple[Format, str]]:
    """Build the table: one row per named format and its source, in the order `formats` shows."""
    fn: dict[str, Any] = {"infinities": False, "nan": "all_ones"}
    fnuz: dict[str, Any] = {"infinities": False, "nan": "negative_zero"}
    finite: dict[str, Any] = {"infinities": False, "nan": "none"}
    ofp8 = "OCP 8-bit Floating Point Specification (OFP8) v1.0"
    amd = "B. Noune et al., “8-bit Numerical Formats for Deep Neural Networks”, arXiv 2206.02915"
    mx = "OCP Microscaling Formats (MX) Specification v1.0"
    p3109_draft = (
        "IEEE P3109 Interim Report on Binary Floating-point Formats for Machine Learning, "
        "version 4.0 (draft), which asks for this one; `p3109` makes the others"
    )
    q_notation = "no specification: a 16-, 8- or 32-bit integer times a power of two, in Q notation"
    integers = "no specification: two’s complement or unsigned integers, as ONNX quantises to them"
    fast = (
        "S. Q. Zhang, B. McDanel, H. T. Kung, “FAST: DNN Training Under Variable Precision Block "
        "Floating Point with Stochastic Rounding”, HPCA 2022, arXiv 2110.15456; the code of the "
        "exponent and the carry are this package’s"
    )
    msfp = (
        "B. Rouhani et al., “Pushing the Limits of Narrow Precision Inferencing at Cloud Scale "
        "with Microsoft Floating Point”, NeurIPS 2020: boxes of 16"
    )
    # Widths count the sign, as the paper's bfp8 and bfp12 recipes do; a vector or a tile of 24; 16
    # bits for the wide copy of the weights.
    hbfp = (
        "M. Drumond et al., “Training DNNs with Hybrid Block Floating Point”, NeurIPS 2018; widths "
        "count the sign"
    )
    micro = (
        "this package’s definition (see `BlockFormat`) of the shared micro-exponents of B. Rouhani "
        "et al., “With Shared Microexponents, A Little Shifting Goes a Long Way”, ISCA 2023"
    )
    rows: list[tuple[str, Format, str]] = [
        ("float8_e4m3fn", FloatFormat(4, 3, **fn), ofp8),
        ("float8_e5m2", FloatFormat(5, 2), ofp8),
        ("float8_e4m3", FloatFormat(4, 3), "ml_dtypes: E4M3 with the codes of IEEE 754"),
        ("float8_e3m4", FloatFormat(3, 4), "ml_dtypes: E3M4 with the codes of IEEE 754"),
        ("float8_e4m3fnuz", FloatFormat(4, 3, bias=8, **fnuz), amd),
        ("float8_e5m2fnuz", FloatFormat(5, 2, bias=16, **fnuz), amd),
        ("float8_e4m3b11fnuz", FloatFormat(4, 3, bias=11, **fnuz), "ml_dtypes: E4M3 with bias 11"),
        ("float8_e8m0fnu", FloatFormat(8, 0, signed=False, subnormals=False, **fn), mx),
        ("float6_e2m3fn", FloatFormat(2, 3, **finite), mx),
        ("float6_e3m2fn", FloatFormat(3, 2, **finite), mx),
        ("float4_e2m1fn", FloatFormat(2, 1, **finite), mx),
        ("bfloat16", FloatFormat(8, 7), "the upper half of IEEE 754 binary32"),
        ("float16", FloatFormat(5, 10), "IEEE 754 binary16"),
        ("tf32", FloatFormat(8, 10), "NVIDIA’s TensorFloat-32: the 19 bits that count"),
        ("binary8p3se", p3109(8, 3), p3109_draft),
        ("binary8p4se", p3109(8, 4), p3109_draft),
        ("binary4p2sf", p3109(4, 2, infinities=False), p3109_draft),
        ("binary8p1uf", p3109(8, 1, signed=False, infinities=False), p3109_draft),
    ]
    unnamed: list[tuple[Format, str]] = [
        (FixedFormat(7, 8), q_notation),
        (FixedFormat(3, 4), q_notation),
        (FixedFormat(8, 8, signed=False), q_notation),
        (FixedFormat(15, 16), q_notation),
        (IntegerFormat(8), integers),
        (IntegerFormat(8, signed=False), integers),
        (IntegerFormat(8, symmetric=False), integers),
        (IntegerFormat(4), integers),
        (IntegerFormat(4, signed=False), integers),
        (IntegerFormat(16), integers),
        (bfp(2), fast),
        (bfp(4), fast),
        (bfp(8), fast),
        (bfp(4, carry="bump"), fast),
        (bfp(3, 4, 8), fast),
        (bfp(10, 5, 32), fast),
        (bfp(16), fast),
        (bfp(4, block_size=(16, 16)), fast),
    ]
    rows += [(fmt._derived_name(), fmt, source) for fmt, source in unnamed]
    named: dict[str, Any] = {name: fmt for name, fmt, _ in rows}
    e4m3, e2m1, e8m0 = (named[f"float{n}"] for n in ("8_e4m3fn", "4_e2m1fn", "8_e8m0fnu"))
    nvfp4 = BlockFormat(e2m1, e4m3, 16, scale_rule="amax", tensor_scale=True)
    rows += [
        ("mxfp8_e4m3", BlockFormat(e4m3, e8m0, 32), mx),
        ("mxfp8_e5m2", BlockFormat(named["float8_e5m2"], e8m0, 32), mx),
        ("mxfp6_e3m2", BlockFormat(named["float6_e3m2fn"], e8m0, 32), mx),
        ("mxfp6_e2m3", BlockFormat(named["float6_e2m3fn"], e8m0, 32), mx),
        ("mxfp4_e2m1", BlockFormat(e2m1, e8m0, 32), mx),
        ("mxint8", BlockFormat(FixedFormat(1, 6), e8m0, 32), mx),
        ("nvfp4", nvfp4, "NVIDIA Transformer Engine’s NVFP4 quantisation"),
        ("msfp12", bfp(3), msfp),
        ("msfp16", bfp(7), msfp),
        ("hbfp8", replace(bfp(7, block_size=24), scale_rule="hbfp"), hbfp),
        ("hbfp12", replace(bfp(11, block_size=24), scale_rule="hbfp"), hbfp),
        ("hbfp16", replace(bfp(15, block_size=24), scale_rule="hbfp"), hbfp),
        ("hbfp8_24x24", replace(bfp(7, block_size=(24, 24)), scale_rule="hbfp"), hbfp),
        ("hbfp12_24x24", replace(bfp(11, block_size=(24, 24)), scale_rule="hbfp"), hbfp),
        ("hbfp16_24x24", replace(bfp(15, block_size=(24, 24)), scale_rule="hbfp"), hbfp),
        ("smx4", replace(bfp(2), micro_size=2), micro),
        ("smx6", replace(bfp(4), micro_size=2), micro),
        ("smx9", replace(bfp(7), micro_size=2), micro),
    ]
    table = {name: (fmt, source) for name, fmt, source in rows}
    if len(table) != len(rows) or len({fmt for fmt, _ in table.values()}) != len(rows):
        raise AssertionError("the table names a format twice")
    return table


_NAMES: dict[Format, str] = {}
# Rows whose names stand for their element and scale in derived names: those that `bfp` cannot make.
_BLOCK_FAMILIES: dict[str, BlockFormat] = {}
_TABLE = _named_formats()
FORMATS: Mapping[str, Format] = MappingProxyType({name: fmt for name, (fmt, _) in _TABLE.items()})
# What defines each named format, in words.
SOURCES: Mapping[str, str] = MappingProxyType(
    {name: source for name, (_, source) in _TABLE.items()}
)
_NAMES.update({fmt: name for name, fmt in FORMATS.items()})
_BLOCK_FAMILIES.update(
    {
        name: fmt
        for name, fmt in FORMATS.items()
        if isinstance(fmt, BlockFormat) and fmt._derived_name().startswith("block_")
    }
)

ALIASES: Mapping[str, str] = MappingProxyType(
    {
        "e4m3": "float8_e4m3fn",
        "e4m3fn": "float8_e4m3fn",
        "e5m2": "float8_e5m2",
        "e3m4": "float8_e3m4",
        "e4m3fnuz": "float8_e4m3fnuz",
        "e5m2fnuz": "float8_e5m2fnuz",
        "e8m0": "float8_e8m0fnu",
        "e2m3": "float6_e2m3fn",
        "e3m2": "float6_e3m2fn",
        "e2m1": "float4_e2m1fn",
        "bf16": "bfloat16",
        "fp16": "float16",
        "tensorfloat32": "tf32",
        # FlexBlock (arXiv 2203.06673): its three modes; the size of its blocks is our choice.
        "flexblock4": "bfp_m4_e8_g16",
        "flexblock8": "bfp_m8_e8_g16",
        "flexblock16": "bfp_m16_e8_g16",
    }
)

_FLOAT_NAME = re.compile(
    r"float_e(\d+)m(\d+)b(-?\d+)_(ieee|fn|in|uz|fnuz|finite|inf)(_unsigned)?(_nozero)?"
)
_P3109_NAME = re.compile(r"binary(\d+)p(\d+)([su])([ef])")
_FIXED_NAME = re.compile(r"fixed_(s|u|sm)(\d+)_(\d+)")
_INTEGER_NAME = re.compile(r"(u?)int(\d+)(_full)?")
# A block format's name: a row of the table or the names of its parts, then what differs from it.
_BLOCK_NAME = re.compile(
    r"(?P<base>.+?)(_g(?P<size>\d+(x\d+)?))?(_u(?P<micro>\d+))?"
    rf"(_(?P<rule>{'|'.join(get_args(ScaleRule))}))?(?P<bump>_bump)?(?P<fail>_raise)?"
)
_BFP_BASE = re.compile(r"bfp_m(\d+)_e(\d+)")
_BLOCK_BASE = re.compile(r"block_(.+?)_by_(.+?)(_tensor)?")


def _from_derived_name(name: str) -> Format | None:
    if match := _FLOAT_NAME.fullmatch(name):
        nan, infinities = next(key for key, kind in _FLOAT_KINDS.items() if kind == match[4])
        return FloatFormat(
            int(match[1]),
            int(match[2]),
            int(match[3]),
            infinities=infinities,
            nan=nan,
            signed=not match[5],
            subnormals=not match[6],
        )
    if match := _P3109_NAME.fullmatch(name):
        return p3109(
            int(match[1]), int(match[2]), signed=match[3] == "s", infinities=match[4] == "e"
        )
    if match := _FIXED_NAME.fullmatch(name):
        return FixedFormat(
            int(match[2]),
            int(match[3]),
            signed=match[1] != "u",
            encoding="sign_magnitude" if match[1] == "sm" else "twos_complement",
        )
    if match := _INTEGER_NAME.fullmatch(name):
        return IntegerFormat(int(match[2]), signed=not match[1], symmetric=not match[3])
    if match := _BLOCK_NAME.fullmatch(name):
        return _from_block_name(match)
    return None


def _from_block_name(match: re.Match[str]) -> BlockFormat | None:
    changes: dict[str, Any] = {}
    if match["size"]:
        sizes = tuple(map(int, match["size"].split("x")))
        changes["block_size"] = sizes if len(sizes) == 2 else sizes[0]
    if match["micro"]:
        changes["micro_size"] = int(match["micro"])
    if match["rule"]:
        changes["scale_rule"] = match["rule"]
    if match["bump"]:
        changes["carry"] = "bump"
    if match["fail"]:
        changes["nonfinite"] = "raise"
    row = FORMATS.get(ALIASES.get(match["base"], match["base"]))
    if isinstance(row, BlockFormat):
        return replace(row, **changes)
    if not match["size"]:
        return None
    if base := _BFP_BASE.fullmatch(match["base"]):
        return replace(bfp(int(base[1]), int(base[2])), **changes)
    if base := _BLOCK_BASE.fullmatch(match["base"]):
        element, scale = (FORMATS.get(n) or _from_derived_name(n) for n in base.group(1, 2))
        if isinstance(element, (FloatFormat, FixedFormat)) and isinstance(scale, FloatFormat):
            return BlockFormat(element, scale, tensor_scale=bool(base[3]), **changes)
    return None


def get_format(fmt: str | Format | np.dtype[Any] | type) -> Format:
    """Look a format up by name, alias, dtype or record.

    Parameters
    ----------
    fmt : str, Format, dtype or scalar type
        A name of the table or an alias ("e4m3"); the derived name of any record
        ("bfp_m4_e8_g16", "fixed_s7_8"); a dtype of ml_dtypes, JAX or torch, or NumPy's float16; or
        a record, which is returned as it is.

    Returns
    -------
    FloatFormat, FixedFormat, IntegerFormat or BlockFormat

    Raises
    ------
    ValueError
        If no format has that name; the message lists near matches.
    TypeError
        If `fmt` is none of these things.

    Examples
    --------
    >>> import fmtlib as fl
    >>> fl.get_format("e4m3").name
    'float8_e4m3fn'
    """
    if isinstance(fmt, str):  # checks against abstract classes, which come last, are slow
        return _named(fmt)
    if type(fmt) in _RECORDS or isinstance(fmt, _RECORDS):
        return fmt  # type: ignore[return-value]
    name = None
    if isinstance(fmt, (np.dtype, type)):
        name = np.dtype(fmt).name
    elif (type(fmt).__module__, type(fmt).__name__) == ("torch", "dtype"):
        name = str(fmt).removeprefix("torch.")
    if name is not None:
        if not isinstance(FORMATS.get(name), FloatFormat):
            integers = [known for known in (name, f"{name}_full") if known in FORMATS]
            hint = f"; there is {' and '.join(map(repr, integers))}" if integers else ""
            raise ValueError(
                f"the dtype {name!r} is no float format of the table; give a name or a record{hint}"
            )
        return FORMATS[name]
    raise TypeError(f"a format is a name, a record or a dtype of ml_dtypes or torch, got {fmt!r}")


@lru_cache(maxsize=1024)
def _named(given: str) -> Format:
    name = ALIASES.get(given, given)
    found = FORMATS.get(name) or _from_derived_name(name)
    if found is None:
        near = _of_width(given) or difflib.get_close_matches(
            given.lower(), [*FORMATS, *ALIASES], n=4, cutoff=0.5
        )
        hint = f"; near matches: {', '.join(near)}" if near else ""
        raise ValueError(f"unknown format {given!r}{hint}; fmtlib.formats() lists all")
    return found


def _of_width(given: str) -> list[str]:
    """The aliases of the floats that a name such as fp8 or float6, which is none, may mean."""
    width = re.fullmatch(r"(?:fp|float)(\d+)", given.lower())
    if width is None:
        return []
    start = f"float{width[1]}_"
    return [
        alias
        for alias, name in ALIASES.items()
        if name.startswith(start) and re.fullmatch(r"e\d+m\d+", alias)
    ]


def formats() -> Mapping[str, Format]:
    """All named formats, in table order: a read-only mapping from name to record.

    Examples
    --------
    >>> import fmtlib as fl
    >>> list(fl.formats())[:2]
    ['float8_e4m3fn', 'float8_e5m2']
    """
    return FORMATS
