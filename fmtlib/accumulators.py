"""How a dot product is added up: the `Accumulator` record, and the named ones as data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, TypeAlias, get_args

from fmtlib.arguments import did_you_mean, not_one_of, whole_number
from fmtlib.formats import BlockFormat, FloatFormat, Format, Overflow, Rounding, get_format

RegisterRounding: TypeAlias = Literal[
    "nearest_even", "nearest_away", "toward_zero", "up", "down", "to_odd"
]
RegisterOverflow: TypeAlias = Literal["nonsaturating", "infinity", "saturate", "wrap"]
Underflow: TypeAlias = Literal["gradual", "flush"]
Order: TypeAlias = Literal["sequential", "pairwise"] | tuple[int, ...]
Start: TypeAlias = Literal["early", "late"]
Scales: TypeAlias = Literal["products", "groups", "promotion", "end"]
Zero: TypeAlias = Literal["positive", "signed"]

# The shift registers of the kernel have room for terms that keep this many bits.
_MOST_ALIGNMENT_BITS = 64


def _choose(name: str, value: object, allowed: tuple[Any, ...]) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(not_one_of(name, value, allowed))


@dataclass(frozen=True)
class Register:
    """A binary number inside a dot-product unit: what is kept, and how a value comes to fit.

    Parameters
    ----------
    exponent_bits : int
        2 to 11: floating point with the exponent range of an IEEE 754 format of that width
        (8 bits: normal numbers from 2**-126 to below 2**128).  0: fixed point.
    mantissa_bits : int
        Floating point: bits after the leading one, 0 to 52.  Fixed point: bits besides the sign
        of a two's complement number, 1 to 62.
    quantum_exponent : int, optional
        Fixed point only: the last bit is worth ``2**quantum_exponent``; 0 by default.
    rounding : {"nearest_even", "nearest_away", "toward_zero", "up", "down", "to_odd"}
        Of each value that enters.
    overflow : {"nonsaturating", "infinity", "saturate", "wrap"}, optional
        "nonsaturating": infinity, but the greatest number where the rounding points away from
        infinity (IEEE 754; the default of floating point).  "infinity": infinity under every
        rounding.  "saturate": the greatest number of that sign (the default of fixed point);
        infinities that come in stay in floating point.  "wrap": modulo 2**(mantissa_bits + 1)
        quanta, fixed point only.
    underflow : {"gradual", "flush"}
        Below the least normal number: subnormal numbers, or a zero with the value's sign.

    Notes
    -----
    Fixed point has neither NaN nor infinity: there a NaN becomes zero, and an infinity the
    greatest number of its sign.

    Examples
    --------
    >>> import fmtlib as fl
    >>> float32 = fl.Register(8, 23)
    >>> fp22 = fl.Register(8, 13, rounding="toward_zero")
    >>> int32 = fl.Register(0, 31, overflow="wrap")
    >>> int32.quantum_exponent
    0
    """

    exponent_bits: int
    mantissa_bits: int
    quantum_exponent: int | None = None
    rounding: RegisterRounding = "nearest_even"
    overflow: RegisterOverflow | None = None
    underflow: Underflow = "gradual"

    def __post_init__(self) -> None:
        def check(field: str, low: int, high: int) -> None:
            value = whole_number(f"Register.{field}", getattr(self, field), low, high)
            object.__setattr__(self, field, value)

        check("exponent_bits", 0, 11)
        if self.exponent_bits == 1:
            raise ValueError("Register.exponent_bits must be 0 (fixed point) or 2 to 11, got 1")
        if self.is_fixed:
            check("mantissa_bits", 1, 62)
            if self.quantum_exponent is None:
                object.__setattr__(self, "quantum_exponent", 0)
            check("quantum_exponent", -1022, 960)
        else:
            check("mantissa_bits", 0, 52)
            if self.quantum_exponent is not None:
                raise ValueError("Register.quantum_exponent is for fixed point (exponent_bits=0)")
        if self.overflow is None:
            default = "saturate" if self.is_fixed else "nonsaturating"
            object.__setattr__(self, "overflow", default)
        _choose("Register.rounding", self.rounding, get_args(RegisterRounding))
        _choose("Register.overflow", self.overflow, get_args(RegisterOverflow))
        _choose("Register.underflow", self.underflow, get_args(Underflow))
        if self.is_fixed and self.overflow not in ("saturate", "wrap"):
            raise ValueError(
                f"a fixed-point Register can saturate or wrap, not overflow={self.overflow!r}"
            )
        if self.is_fixed and self.underflow == "flush":
            raise ValueError("a fixed-point Register has no subnormal numbers to flush")
        if not self.is_fixed and self.overflow == "wrap":
            raise ValueError("overflow='wrap' is for fixed point (exponent_bits=0)")

    @property
    def is_fixed(self) -> bool:
        """Whether it is a fixed-point number."""
        return self.exponent_bits == 0

    @property
    def max_exponent(self) -> int:
        """Floating point: exponent of the greatest number."""
        return (1 << (self.exponent_bits - 1)) - 1

    @property
    def min_exponent(self) -> int:
        """Floating point: exponent of the least normal number."""
        return 1 - self.max_exponent


@dataclass(frozen=True)
class Accumulator:
    """How a dot product is added up, from the products of the codes to the result.

    The terms are taken in steps.  A step multiplies, aligns and adds its terms, and puts the sum
    into the `total`, which the next step starts from.  `Accumulator()` is exact: no rounding but
    the last.

    Parameters
    ----------
    terms : int, optional
        Products in a step: consecutive ones, the last step of a row (or of a group or promotion
        interval, which steps never cross) being as if padded with zeros.  None: as many as there
        are.
    order : {"sequential", "pairwise"} or tuple of int
        Of the steps.  "sequential": each one starts from the total so far, the first from c.
        "pairwise": each starts from zero; their sums are added two by two, neighbours first, an odd
        one waiting for the next round; c is added last.  Lengths (split-K): that many terms each
        are accumulated sequentially, the first part from c, the others from zero; then the parts
        are added from left to right.  These additions are exact sums rounded once to the last
        register (`promotion` if there is one, else `total`).  The lengths must add up to the
        depth.
    subnormals : {"exact", "flush"}
        Whether subnormal operands count or are read as zeros.
    product : Register, optional
        Each product is rounded to it; None: products are exact.
    alignment_bits : int, optional
        Fraction bits that a term keeps below the greatest exponent of its step, 0 to 64.  None:
        terms are added exactly.  The exponent of an operand is that of its leading bit, but at
        least that of the format's least normal value; integers and fixed-point values have the
        exponent of the format's greatest magnitude.  That of a product is the sum of the two, the
        product not being normalised (if it was rounded, that of its leading bit).  Zeros have no
        exponent.
    alignment_rounding : {"toward_zero", "nearest_even", "to_odd"}
        Of each term to the kept bits.
    min_exponent : int, optional
        Terms are never aligned to a smaller exponent.
    start : {"early", "late"}
        Whether the step's starting value is one of the aligned terms or is added after them.
    partial : Register, optional
        With start="late": the terms' sum is rounded to it before the starting value is added.
    total : Register, optional
        Takes the value of each step.  None: it is exact (Kulisch's accumulator).
    promotion_terms : int, optional
        After so many terms the total is added to a second total and starts again from zero; the
        second one starts from c and gives the result.
    promotion : Register, optional
        The second total.
    scales : {"products", "groups", "promotion", "end"}
        Where the scales of blocks come in.  "products": each product is scaled before it is
        aligned.  "groups": the exact or aligned sum of a step is scaled; steps end where a block
        ends; needs start="late".  "promotion": the total is scaled when it is promoted, which
        happens at the ends of blocks, too.  "end": the last total is scaled, then c is added,
        both in one rounding, that of the result; the operands must have one block along the
        depth.
    zero : {"positive", "signed"}
        Sign of a sum of terms that is exactly zero: plus; or as in IEEE 754 (minus if all terms
        are -0, or if terms cancel in a register that rounds down).
    result : FloatFormat, optional
        The final value is rounded to a value of this format, once; None: to the dtype of the
        result, ties to even.
    result_rounding, result_overflow
        As the arguments of `fmtlib.encode`, but not stochastic; floats do not wrap.

    Notes
    -----
    NaN, and infinity times zero or minus infinity, make the total NaN; the NaN of a result is
    always the canonical quiet one.  Infinities are not aligned: the sum is that infinity.

    The tensor-core presets (see `Accumulator.preset`) follow measurements of finite, mostly normal
    data.  Not verified by any of them, and defined here as the record says: the alignment of terms
    below the least normal exponent, subnormal totals (gradual), overflow (infinity), NaN and
    infinity, the sign of zero (plus) and the exponent of a zero product (it has none).

    References
    ----------
    M. Fasi, N. J. Higham, M. Mikaitis, S. Pranesh, "Numerical behavior of NVIDIA tensor cores",
    PeerJ Computer Science 7, 2021, e330.  Models: github.com/north-numerical-computing/
    MATLAB-tensor-core.

    Examples
    --------
    FP8 products added 32 at a time with 13 fraction bits, promoted to float32 every 128 terms:

    >>> import dataclasses
    >>> import numpy as np, fmtlib as fl
    >>> hopper = fl.Accumulator.preset("hopper", "e4m3", "e4m3")
    >>> promoted = dataclasses.replace(
    ...     hopper, promotion_terms=128, promotion=fl.Register(8, 23)
    ... )
    >>> x, y = np.full(16384, 0x39, np.uint8), np.full(16384, 0x38, np.uint8)  # 1.125 and 1
    >>> for accumulator in (hopper, promoted, "exact"):
    ...     print(fl.dot(x, y, formats=("e4m3", "e4m3"), accumulator=accumulator))
    16388.0
    18432.0
    18432.0
    """

    terms: int | None = None
    order: Order = "sequential"
    subnormals: Literal["exact", "flush"] = "exact"
    product: Register | None = None
    alignment_bits: int | None = None
    alignment_rounding: Literal["toward_zero", "nearest_even", "to_odd"] = "toward_zero"
    min_exponent: int | None = None
    start: Start = "early"
    partial: Register | None = None
    total: Register | None = None
    promotion_terms: int | None = None
    promotion: Register | None = None
    scales: Scales = "products"
    zero: Zero = "positive"
    result: FloatFormat | None = None
    result_rounding: Rounding = "nearest_even"
    result_overflow: Overflow = "saturate"

    def __post_init__(self) -> None:
        self._check_fields()
        self._check_combination()

    def _check_fields(self) -> None:
        limits = {
            "terms": (1, 2**62),
            "alignment_bits": (0, _MOST_ALIGNMENT_BITS),
            "min_exponent": (-4096, 4096),
            "promotion_terms": (1, 2**62),
        }
        for field, (low, high) in limits.items():
            if getattr(self, field) is not None:
                value = whole_number(f"Accumulator.{field}", getattr(self, field), low, high)
                object.__setattr__(self, field, value)
        choices = {
            "subnormals": ("exact", "flush"),
            "alignment_rounding": ("toward_zero", "nearest_even", "to_odd"),
            "start": get_args(Start),
            "scales": get_args(Scales),
            "zero": get_args(Zero),
            "result_rounding": tuple(
                name for name in get_args(Rounding) if not name.startswith("stochastic")
            ),
            "result_overflow": tuple(name for name in get_args(Overflow) if name != "wrap"),
        }
        for field, allowed in choices.items():
            _choose(f"Accumulator.{field}", getattr(self, field), allowed)
        for field in ("product", "partial", "total", "promotion"):
            value = getattr(self, field)
            if not (value is None or isinstance(value, Register)):
                raise TypeError(f"Accumulator.{field} must be a Register or None, got {value!r}")
        if self.result is not None:
            result = get_format(self.result)
            if not isinstance(result, FloatFormat):
                raise TypeError(f"Accumulator.result must be a float format, got {result.name}")
            object.__setattr__(self, "result", result)
        if isinstance(self.order, (tuple, list)):
            lengths = tuple(
                whole_number("a length in Accumulator.order", n, 1, 2**62) for n in self.order
            )
            if not lengths:
                raise ValueError("Accumulator.order must name at least one length, got ()")
            object.__setattr__(self, "order", lengths)
        else:
            _choose("Accumulator.order", self.order, ("sequential", "pairwise"))

    def _check_combination(self) -> None:
        aligned = self.alignment_bits is not None
        refused = {
            "min_exponent needs alignment_bits": self.min_exponent is not None and not aligned,
            "alignment_rounding needs alignment_bits": (
                self.alignment_rounding != "toward_zero" and not aligned
            ),
            "alignment with start='early' needs a total: an exact one cannot be aligned": (
                aligned and self.start == "early" and self.total is None
            ),
            "partial needs start='late'": self.partial is not None and self.start == "early",
            "promotion and promotion_terms need each other": (
                (self.promotion is None) != (self.promotion_terms is None)
            ),
            "promotion needs a total: an exact one is never promoted": (
                self.promotion is not None and self.total is None
            ),
            "promotion_terms must be a multiple of terms": (
                self.promotion_terms is not None
                and self.terms is not None
                and self.promotion_terms % self.terms != 0
            ),
            "an order other than 'sequential' needs a total: exact sums have none": (
                self.order != "sequential" and self.total is None
            ),
            "order='pairwise' has no promotion": (
                self.order == "pairwise" and self.promotion is not None
            ),
            "scales='groups' needs start='late': what is scaled is the sum of the terms": (
                self.scales == "groups" and self.start == "early"
            ),
            "scales='promotion' needs promotion": (
                self.scales == "promotion" and self.promotion is None
            ),
            "result_rounding and result_overflow need a result format": (
                self.result is None
                and (self.result_rounding, self.result_overflow) != ("nearest_even", "saturate")
            ),
        }
        for reason, is_so in refused.items():
            if is_so:
                raise ValueError(f"an Accumulator cannot be so: {reason}; got {self!r}")

    @staticmethod
    def preset(name: str, a: str | Format, b: str | Format) -> Accumulator:
        """The named accumulator for operands in two formats.

        Parameters
        ----------
        name : str
            "exact": no rounding but the last.
            "float32": IEEE 754 binary32, products and sums rounded one after the other; for blocks
            that of FAST's fMAC.
            "fmac": exact sums of groups (blocks; 16 terms where there are none), each rounded to
            float32 and added in float32.
            "v100", "a100" (also A2), "ada" (also L40S), "hopper" (H100, H200), "b200": one
            tensor-core instruction after the other, for the formats that those multiply.
        a, b : str or Format
            Formats of the operands; of blocks, that of the elements counts.

        Returns
        -------
        Accumulator

        Raises
        ------
        ValueError
            If there is no such preset, or it has no such operands.

        Examples
        --------
        >>> import fmtlib as fl
        >>> fl.Accumulator.preset("v100", "float16", "float16").terms
        4
        """
        if not isinstance(name, str) or name not in PRESETS:
            raise ValueError(
                f"accumulator must be an Accumulator or one of {', '.join(PRESETS)}, got {name!r}"
                f"{did_you_mean(name, PRESETS)}"
            )
        formats = [get_format(a), get_format(b)]
        by_operands = PRESETS[name]
        if "any" in by_operands:
            blocks = any(isinstance(fmt, BlockFormat) for fmt in formats)
            return by_operands["blocks" if blocks and "blocks" in by_operands else "any"]
        names = [(fmt.element if isinstance(fmt, BlockFormat) else fmt).name for fmt in formats]
        families = {_FAMILIES.get(element) for element in names}
        found = by_operands.get(families.pop() or "") if len(families) == 1 else None
        if found is None:
            raise ValueError(
                f"accumulator {name!r} multiplies two operands of one family of "
                f"{', '.join(by_operands)}; got {names[0]} and {names[1]}"
            )
        return found


_FLOAT32 = Register(8, 23)
_FAMILIES = {
    "float16": "float16",
    "bfloat16": "bfloat16",
    "tf32": "tf32",
    "float8_e4m3fn": "float8",
    "float8_e5m2": "float8",
}


def _tensor_core(terms: int, alignment_bits: int, mantissa_bits: int) -> Accumulator:
    """Truncated terms, c among them, and a truncated sum."""
    total = Register(8, mantissa_bits, rounding="toward_zero", overflow="infinity")
    return Accumulator(terms=terms, alignment_bits=alignment_bits, total=total)


def _presets() -> dict[str, Mapping[str, Accumulator]]:
    """Build the table: for each name, the operands' family and how their products are added."""
    fmac = Accumulator(terms=16, start="late", partial=_FLOAT32, total=_FLOAT32)
    fmac_blocks = Accumulator(start="late", partial=_FLOAT32, total=_FLOAT32, scales="groups")
    ieee = Accumulator(terms=1, product=_FLOAT32, total=_FLOAT32, zero="signed")
    ampere = {
        "float16": _tensor_core(8, 24, 23),
        "bfloat16": _tensor_core(8, 24, 23),
        "tf32": _tensor_core(4, 24, 23),
    }
    hopper = {
        "float16": _tensor_core(16, 25, 23),
        "bfloat16": _tensor_core(16, 25, 23),
        "tf32": _tensor_core(4, 25, 23),
    }
    # At least 24 kept bits are measured; 25 are those of its other formats.
    b200_float8 = Accumulator(terms=32, alignment_bits=25, start="late", total=_FLOAT32)
    return {
        "exact": {"any": Accumulator()},
        "float32": {"any": ieee, "blocks": fmac_blocks},
        "fmac": {"any": fmac, "blocks": fmac_blocks},
        "v100": {"float16": _tensor_core(4, 23, 23)},
        "a100": ampere,
        "ada": {**ampere, "float8": _tensor_core(16, 13, 13)},
        "hopper": {**hopper, "float8": _tensor_core(32, 13, 13)},
        "b200": {**hopper, "float8": b200_float8},
    }


PRESETS: Mapping[str, Mapping[str, Accumulator]] = MappingProxyType(_presets())
