"""The formats in exact rational arithmetic: slow, public, and what the kernels are tested against.

Values are `fractions.Fraction`, or floats where a fraction cannot say it: NaN, the infinities and
-0.0.  Nothing here knows of NumPy's types or of the kernels; the text follows the definitions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache, lru_cache, reduce
from itertools import groupby, pairwise
from numbers import Integral
from typing import NamedTuple, SupportsFloat, TypeAlias, TypeGuard

from fmtlib.accumulators import Accumulator, Register
from fmtlib.formats import BlockFormat, FixedFormat, FloatFormat, Format, IntegerFormat

Value: TypeAlias = Fraction | float


def as_value(x: SupportsFloat | Fraction) -> Value:
    """A Python or NumPy number, exactly; also integers and `numpy.longdouble` beyond float64.

    Examples
    --------
    >>> from fmtlib import reference
    >>> reference.as_value(0.3125), reference.as_value(-0.0)
    (Fraction(5, 16), -0.0)
    """
    if isinstance(x, Fraction):
        return x
    if isinstance(x, Integral):
        return Fraction(int(x))
    nearest = float(x)
    if math.isnan(nearest) or (nearest == 0 and math.copysign(1, nearest) < 0 and x == 0):
        return nearest
    try:  # wider than float64, it knows its ratio
        return Fraction(*x.as_integer_ratio())  # type: ignore[attr-defined]
    except (AttributeError, OverflowError):  # bfloat16 does not; infinities have none
        return nearest if math.isinf(nearest) else Fraction(nearest)


def _magnitude(value: Value) -> Fraction:
    """The magnitude of a finite value; the only finite float is -0.0."""
    return abs(value) if isinstance(value, Fraction) else Fraction(0)


def is_negative(value: Value) -> bool:
    """Whether the sign is minus, that of -0.0 and NaN included.

    Examples
    --------
    >>> from fmtlib import reference
    >>> reference.is_negative(-0.0)
    True
    """
    return value < 0 if isinstance(value, Fraction) else math.copysign(1, value) < 0


def floor_log2(value: Fraction) -> int:
    """The exponent E with ``2**E <= value < 2**(E + 1)``, for a positive value.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> reference.floor_log2(Fraction(7, 2))
    1
    """
    exponent = value.numerator.bit_length() - value.denominator.bit_length()
    return exponent if value >= power_of_two(exponent) else exponent - 1


@cache
def power_of_two(exponent: int) -> Fraction:
    """``2**exponent``, exactly.

    Examples
    --------
    >>> from fmtlib import reference
    >>> reference.power_of_two(-9)
    Fraction(1, 512)
    """
    return Fraction(2**exponent) if exponent >= 0 else Fraction(1, 2**-exponent)


def round_magnitude(
    magnitude: Fraction,
    rounding: str,
    *,
    negative: bool = False,
    parity: int = 0,
    word: int = 0,
    random_bits: int = 32,
) -> int:
    """Round a non-negative rational to an integer.

    Parameters
    ----------
    magnitude : Fraction
        In quanta of the target.
    rounding : str
        See `fmtlib.encode`.
    negative : bool
        Whether it is the magnitude of a negative number (for "up" and "down").
    parity : int
        Ties to even look at the last bit of the floor plus this.
    word : int
        The 32-bit random word, of which the top `random_bits` count.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> [reference.round_magnitude(Fraction(5, 2), how) for how in ("nearest_even", "nearest_away")]
    [2, 3]
    >>> words = [k << 30 for k in range(4)]  # two random bits: up once in four
    >>> how = {"rounding": "stochastic", "random_bits": 2}
    >>> [reference.round_magnitude(Fraction(9, 4), word=word, **how) for word in words]
    [2, 2, 2, 3]
    """
    down, rest = divmod(magnitude.numerator, magnitude.denominator)
    twice, whole = 2 * rest, magnitude.denominator  # the discarded fraction is rest / whole
    match rounding:
        case "toward_zero":
            up = False
        case "up":
            up = rest > 0 and not negative
        case "down":
            up = rest > 0 and negative
        case "nearest_away":
            up = twice >= whole
        case "nearest_even":
            up = twice > whole or (twice == whole and (down + parity) % 2 == 1)
        case "to_odd":
            up = rest > 0 and (down + parity) % 2 == 0
        case "stochastic":
            steps = 2**random_bits
            up = rest * steps // whole + (word >> (32 - random_bits)) >= steps
        case "stochastic_b":
            steps = 2 ** (random_bits + 1)
            up = rest * steps // whole + 2 * (word >> (32 - random_bits)) + 1 >= steps
        case "stochastic_c":
            steps = 2**random_bits
            up = round(Fraction(rest * steps, whole)) + (word >> (32 - random_bits)) >= steps
        case _:
            raise ValueError(f"unknown rounding {rounding!r}")
    return down + up


# --- elementwise formats --------------------------------------------------------------------


def decode(code: int, fmt: Format) -> Value:
    """The value of one code.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.decode(0x7E, get_format("e4m3"))
    Fraction(448, 1)
    """
    if isinstance(fmt, FloatFormat):
        return _decode_float(code, fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(
            f"the codes of {fmt.name} have no value without their block; see decode_block"
        )
    quantum = power_of_two(fmt.quantum_exponent)
    if _has_sign_bit(fmt) and code > fmt.max_integer:
        return (fmt.max_integer + 1 - code) * quantum or -0.0
    return code * quantum


def _has_sign_bit(fmt: Format) -> TypeGuard[FixedFormat]:
    """Whether codes are sign and magnitude, and not integers."""
    return isinstance(fmt, FixedFormat) and fmt.encoding == "sign_magnitude"


def _decode_float(code: int, fmt: FloatFormat) -> Value:
    negative = bool(code & fmt.sign_bit)
    magnitude = code & ~fmt.sign_bit
    if fmt.nan == "negative_zero" and code == fmt.sign_bit:
        return math.nan
    if fmt.inf_code is not None and magnitude == fmt.inf_code:
        return -math.inf if negative else math.inf
    if magnitude > fmt.max_code:
        return math.nan
    assert fmt.bias is not None
    field, trailing = divmod(magnitude, 2**fmt.mantissa_bits)
    fraction = Fraction(trailing, 2**fmt.mantissa_bits)
    if field == 0 and fmt.subnormals:
        value = fraction * power_of_two(1 - fmt.bias)
    else:
        value = (1 + fraction) * power_of_two(field - fmt.bias)
    if negative:
        return -value if value else -0.0
    return value


def encode(
    x: SupportsFloat | Fraction,
    fmt: Format,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    *,
    word: int = 0,
    random_bits: int = 32,
    scale: float | Fraction = 1,
    zero_point: int = 0,
) -> int:
    """The code of one value: one rounding to unbounded range, then overflow.

    Parameters are those of `fmtlib.encode`; `word` is the element's 32-bit random word.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> e4m3 = get_format("e4m3")
    >>> [hex(reference.encode(x, e4m3, overflow="nonsaturating")) for x in (464, 465)]
    ['0x7e', '0x7f']
    """
    value = as_value(x)
    if isinstance(value, Fraction) and scale != 1:
        value /= Fraction(scale)
    if isinstance(fmt, FloatFormat):
        return _encode_float(value, fmt, rounding, overflow, word, random_bits)
    if isinstance(fmt, (FixedFormat, IntegerFormat)):
        return _encode_integer(value, fmt, rounding, overflow, word, random_bits, zero_point)
    raise TypeError(f"{fmt.name} encodes blocks, not single values; see encode_block")


def _encode_integer(
    value: Value,
    fmt: FixedFormat | IntegerFormat,
    rounding: str,
    overflow: str,
    word: int,
    random_bits: int,
    zero_point: int,
) -> int:
    if overflow not in fmt.overflows:
        raise ValueError(f"overflow {overflow!r} has no meaning for {fmt.name}")
    if isinstance(value, float) and math.isnan(value):
        if overflow == "raise":
            raise ValueError("NaN")
        return 0
    if isinstance(value, float) and math.isinf(value):
        if overflow == "raise":
            raise OverflowError("infinity")
        if overflow == "wrap":
            return 0  # no residue: invalid, like NaN
        return fmt.max_integer if value > 0 else _integer_code(fmt.min_integer, True, fmt)
    negative = is_negative(value)
    magnitude = _magnitude(value) / power_of_two(fmt.quantum_exponent)
    k = round_magnitude(magnitude, rounding, negative=negative, word=word, random_bits=random_bits)
    k = (-k if negative else k) + zero_point
    if overflow == "wrap":
        return (k - fmt.min_integer) % (1 << fmt.bits) + fmt.min_integer
    nearest = min(max(k, fmt.min_integer), fmt.max_integer)
    if overflow == "raise" and nearest != k:
        raise OverflowError(f"{k} steps")
    return _integer_code(nearest, negative, fmt)


def _integer_code(k: int, negative: bool, fmt: Format) -> int:
    """The code of so many steps, which are fewer than none or, rounded, none of a negative sign."""
    if not _has_sign_bit(fmt):
        return k
    return abs(k) + (fmt.max_integer + 1 if negative else 0)


def _encode_float(
    value: Value, fmt: FloatFormat, rounding: str, overflow: str, word: int, random_bits: int
) -> int:
    negative = is_negative(value)
    if isinstance(value, float) and math.isnan(value):
        if fmt.nan_code is not None:
            return fmt.nan_code | (fmt.sign_bit if negative else 0)
        if overflow == "raise":
            raise ValueError("NaN")
        return 0
    sign = fmt.sign_bit if negative else 0
    if negative and not fmt.signed and not fmt.subnormals and value != 0:
        return _below_zero(fmt, overflow)
    if isinstance(value, float) and math.isinf(value):
        if negative and not fmt.signed:
            return _below_zero(fmt, overflow)
        return _beyond_greatest(fmt, overflow, infinite=True) | sign
    magnitude = _magnitude(value)
    if magnitude == 0 or (not fmt.subnormals and magnitude < power_of_two(fmt.min_exponent)):
        if magnitude == 0 or fmt.subnormals:
            return sign if fmt.has_negative_zero else 0
        return 0  # a format without a zero: its least value stands for all that is below
    # One rounding, to the target's precision at x's binade (the lowest one for subnormals).
    binade = max(floor_log2(magnitude), fmt.min_exponent)
    # Codes of neighbouring values are neighbours: k counts them from the foot of the binade.
    foot = (binade - fmt.min_exponent) << fmt.mantissa_bits
    if not fmt.subnormals:
        foot -= 1 << fmt.mantissa_bits
    k = round_magnitude(
        magnitude / power_of_two(binade - fmt.mantissa_bits),
        rounding,
        negative=negative,
        parity=foot,  # the even one of two neighbours is the one with the even code
        word=word,
        random_bits=random_bits,
    )
    code = foot + k
    if code and negative and not fmt.signed:
        return _below_zero(fmt, overflow)
    if code > fmt.max_code:
        stops = {
            "toward_zero": True,
            "up": negative,
            "down": not negative,
            # P3109: an odd greatest code is where rounding to odd ends
            "to_odd": overflow == "p3109_none" and fmt.max_code % 2 == 1,
        }
        if overflow != "raise" and stops.get(rounding, False):
            code = fmt.max_code
        else:
            code = _beyond_greatest(fmt, overflow, infinite=False)
    if code == 0 and not fmt.has_negative_zero:
        return 0
    return code | sign


def _beyond_greatest(fmt: FloatFormat, overflow: str, infinite: bool) -> int:
    """The code, without its sign, of what is beyond the greatest value after rounding."""
    infinity = fmt.inf_code if fmt.inf_code is not None else fmt.max_code
    match overflow:
        case "saturate" | "p3109_finite":
            return fmt.max_code
        case "p3109_propagate":
            return infinity if infinite else fmt.max_code
        case "p3109_none":
            return infinity
        case "nonsaturating":
            if fmt.inf_code is None and fmt.nan_code is not None:
                return fmt.nan_code
            return infinity
        case "raise":
            if infinite and fmt.inf_code is not None:
                return infinity
            raise OverflowError("beyond the greatest value")
        case _:
            raise ValueError(f"unknown overflow {overflow!r}")


def _below_zero(fmt: FloatFormat, overflow: str) -> int:
    """The code of a value that is negative after rounding, in a format without a sign."""
    if overflow == "raise":
        raise OverflowError("negative")
    if fmt.nan_code is not None and (
        overflow in ("nonsaturating", "p3109_none") or not fmt.subnormals
    ):
        return fmt.nan_code
    return 0


def quantize(
    x: SupportsFloat | Fraction,
    fmt: Format,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    *,
    word: int = 0,
    random_bits: int = 32,
) -> Value:
    """The value of the format that stands for x: ``decode(encode(x))``.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.quantize(0.3, get_format("e4m3"))
    Fraction(5, 16)
    """
    code = encode(x, fmt, rounding, overflow, word=word, random_bits=random_bits)
    return decode(code, fmt)


# --- decision thresholds --------------------------------------------------------------------


class Threshold(NamedTuple):
    """Where the code of a number changes as its magnitude grows.

    Attributes
    ----------
    magnitude : Fraction or float
        The place; a float only for infinity.
    inclusive : bool
        Whether `code` is also that of a number of exactly this magnitude; if not, that one
        belongs to the threshold before.
    code : int
        The code of all numbers from here up to the next threshold.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.thresholds(get_format("e4m3"))[1]
    Threshold(magnitude=Fraction(1, 1024), inclusive=False, code=1)
    """

    magnitude: Value
    inclusive: bool
    code: int


def thresholds(
    fmt: Format,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    *,
    negative: bool = False,
) -> list[Threshold]:
    """All places where `encode` goes over to another code, for numbers of one sign.

    Within a sign the code is a step function of the magnitude.  The list begins at zero, is
    sorted, and names each step once, so that the code of any number is found by search; NaN is
    not on it.

    Parameters
    ----------
    fmt : Format
        An elementwise format of at most 19 bits.
    rounding, overflow : str
        See `fmtlib.encode`; not stochastic, and not "wrap" or "raise", which have no last step.
    negative : bool
        List the negative numbers (-0.0 among them) instead of the positive ones.

    Raises
    ------
    ValueError
        For a rounding or an overflow that the list cannot tell, or a format too wide to list.

    Notes
    -----
    Every deterministic rounding decides by comparing the discarded fraction with zero and with
    one half, so that a number goes up from one value to the next after the lower value, from or
    after the midpoint, or at the upper value: three questions to `round_magnitude` tell which.
    Below the least and above the greatest value, `encode` itself is asked at those places and
    between them.

    Examples
    --------
    >>> from bisect import bisect_right
    >>> from fmtlib import get_format, reference
    >>> steps = reference.thresholds(get_format("e4m3"), overflow="nonsaturating")
    >>> for magnitude, inclusive, code in steps[-2:]:
    ...     print(magnitude, inclusive, hex(code))
    432 True 0x7e
    464 False 0x7f
    >>> order = lambda step: (step.magnitude, not step.inclusive)
    >>> [steps[bisect_right(steps, (x, False), key=order) - 1].code for x in (464, 464.5)]
    [126, 127]
    """
    if rounding.startswith("stochastic"):
        raise ValueError(f"thresholds need a deterministic rounding, got {rounding!r}")
    if overflow in ("wrap", "raise"):
        raise ValueError(f"the thresholds of overflow={overflow!r} do not end")

    def code_of(magnitude: Value) -> int:
        x = -float(magnitude) if negative and magnitude in (0, math.inf) else magnitude
        return encode(-x if negative and x > 0 else x, fmt, rounding, overflow)

    def asked(low: Fraction, high: Fraction) -> list[Threshold]:
        middle = (low + high) / 2
        return [
            Threshold(low, True, code_of(low)),
            Threshold(low, False, code_of((low + middle) / 2)),
            Threshold(middle, True, code_of(middle)),
            Threshold(middle, False, code_of((middle + high) / 2)),
            Threshold(high, True, code_of(high)),
        ]

    values, beyond = _ladder(fmt, negative)
    found = asked(Fraction(0), values[0]) if values[0] else [Threshold(values[0], True, code_of(0))]
    found += _climb(fmt, rounding, negative)
    found += asked(values[-1], beyond)
    found.append(Threshold(math.inf, True, code_of(math.inf)))
    return [step for i, step in enumerate(found) if i == 0 or step.code != found[i - 1].code]


@lru_cache(maxsize=4)
def _climb(fmt: Format, rounding: str, negative: bool) -> list[Threshold]:
    """The step to each value but the least: whatever the overflow."""
    values, _ = _ladder(fmt, negative)
    codes = list(range(1, len(values)))
    if negative and isinstance(fmt, FloatFormat):
        codes = [c | fmt.sign_bit for c in codes]
    elif negative:
        codes = [_integer_code(-c, True, fmt) for c in codes]
    goes_up = [_goes_up(rounding, negative, parity) for parity in (0, 1)]
    steps = []
    for i, (low, high) in enumerate(pairwise(values)):
        halves, inclusive = goes_up[i % 2]
        place = (low + high) / 2 if halves == 1 else high if halves else low
        steps.append(Threshold(place, inclusive, codes[i]))
    return steps


def _goes_up(rounding: str, negative: bool, parity: int) -> tuple[int, bool]:
    """From where a number goes up: so many halves above the lower value, and inclusively?"""
    ups = [
        round_magnitude(Fraction(quarters, 4), rounding, negative=negative, parity=parity)
        for quarters in (1, 2, 3)
    ]
    return {3: (0, False), 2: (1, True), 1: (1, False), 0: (2, True)}[sum(ups)]


@lru_cache(maxsize=4)
def _ladder(fmt: Format, negative: bool) -> tuple[list[Fraction], Fraction]:
    """The magnitudes of one sign in order, and the one that would be next."""
    if isinstance(fmt, BlockFormat) or fmt.bits > 19:
        raise ValueError(f"thresholds are of elementwise formats up to 19 bits, not {fmt.name}")
    if isinstance(fmt, FloatFormat):
        values = [_magnitude(decode(code, fmt)) for code in range(fmt.max_code + 1)]
        if negative and not fmt.signed:
            return values[:1], values[1]
        binade = max(floor_log2(values[-1]), fmt.min_exponent)
        return values, values[-1] + power_of_two(binade - fmt.mantissa_bits)
    quantum = power_of_two(fmt.quantum_exponent)
    greatest = -fmt.min_integer if negative else fmt.max_integer
    return [k * quantum for k in range(greatest + 1)], (greatest + 1) * quantum


# --- blocks ---------------------------------------------------------------------------------


def encode_block(
    values: Sequence[float | Fraction],
    fmt: BlockFormat,
    rounding: str = "nearest_even",
    *,
    words: Sequence[int] | None = None,
    random_bits: int = 32,
    encode_scale: float | Fraction = 1,
) -> tuple[list[int], int]:
    """Codes of one block, and the code of its scale.

    Parameters
    ----------
    values : sequence of numbers
        At most as many as a block has; those of a tile in any order.
    words : sequence of int, optional
        The random word of each element.
    encode_scale : number
        The first of the `tensor_scales`, for formats with a scale of the tensor.

    References
    ----------
    The definitions and their sources are those of `fmtlib.BlockFormat`.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.encode_block([1.0, -448.0, 0.3], get_format("mxfp8_e4m3"))
    ([56, 254, 42], 127)
    """
    exact = [as_value(value) for value in values]
    draws = [0] * len(exact) if words is None else list(words)
    if any(isinstance(value, float) and not math.isfinite(value) for value in exact):
        if fmt.nonfinite == "raise":
            raise ValueError("NaN or infinity in a block")
        assert fmt.scale.nan_code is not None
        return [0] * len(exact), fmt.scale.nan_code
    if fmt.scale_rule == "amax":
        return _encode_block_amax(exact, fmt, rounding, draws, random_bits, Fraction(encode_scale))

    exponent = block_exponent(exact, fmt)
    exponents, micro_bits = [exponent] * len(exact), 0
    if fmt.micro_size is not None:
        for i, start in enumerate(range(0, len(exact), fmt.micro_size)):
            part = exact[start : start + fmt.micro_size]
            if block_exponent(part, fmt) < exponent:
                exponents[start : start + len(part)] = [exponent - 1] * len(part)
                micro_bits |= 1 << i
    if fmt.carry == "bump" and exponent < _exponent_window(fmt)[1]:
        ks = [
            _round_element(value, power_of_two(exponent), fmt, rounding, word, random_bits)
            for value, word in zip(exact, draws, strict=True)
        ]
        if max(ks, default=0) >= 2**fmt.mantissa_bits:
            exponent += 1
            exponents = [exponent] * len(exact)
    codes = [
        _encode_element(value, power_of_two(e), fmt, rounding, word, random_bits)
        for value, e, word in zip(exact, exponents, draws, strict=True)
    ]
    return codes, exponent - _exponent_window(fmt)[0] | micro_bits << fmt.scale.bits


def _exponent_window(fmt: BlockFormat) -> tuple[int, int]:
    """The least and the greatest exponent of a power-of-two scale."""
    assert fmt.scale.bias is not None
    return -fmt.scale.bias, fmt.scale.max_code - fmt.scale.bias


def block_exponent(values: Sequence[Value], fmt: BlockFormat) -> int:
    """Exponent of the scale that the rule of the format gives finite values.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import get_format, reference
    >>> reference.block_exponent([Fraction(5), Fraction(-100)], get_format("mxfp8_e4m3"))
    -2
    """
    least, greatest = _exponent_window(fmt)
    amax = max(map(_magnitude, values), default=Fraction(0))
    if amax == 0:
        return least
    element_max = Fraction(fmt.element.max)
    emax = floor_log2(element_max)
    match fmt.scale_rule:
        case "floor":
            exponent = floor_log2(amax) - emax
        case "ceil":
            exponent = _ceil_log2(amax) - emax
        case "even":
            quantum = power_of_two(floor_log2(amax) + 1 - fmt.precision)
            rounded = round_magnitude(amax / quantum, "nearest_away") * quantum
            exponent = floor_log2(rounded) - emax
        case "rceil":
            quotient = round_to_float32(amax / element_max)
            if isinstance(quotient, float):
                return greatest  # infinite
            if quotient == 0:
                return least
            exponent = _ceil_log2(quotient)
        case "hbfp":
            exponent = _ceil_log2(amax + Fraction(1e-8)) - 1 - emax
        case _:
            raise ValueError(f"{fmt.scale_rule!r} gives no power of two")
    return min(max(exponent, least), greatest)


def _ceil_log2(value: Fraction) -> int:
    exponent = floor_log2(value)
    return exponent + (value > power_of_two(exponent))


def _round_element(
    value: Value, scale: Fraction, fmt: BlockFormat, rounding: str, word: int, random_bits: int
) -> int:
    """The magnitude of an integer element, in quanta and without limit."""
    quantum = scale * power_of_two(fmt.element.quantum_exponent)
    return round_magnitude(
        _magnitude(value) / quantum,
        rounding,
        negative=is_negative(value),
        word=word,
        random_bits=random_bits,
    )


def _encode_element(
    value: Value, scale: Fraction, fmt: BlockFormat, rounding: str, word: int, random_bits: int
) -> int:
    element = fmt.element
    if isinstance(element, FloatFormat) or _has_sign_bit(element):
        scaled = value / scale if isinstance(value, Fraction) else value  # -0.0
        return encode(scaled, element, rounding, word=word, random_bits=random_bits)
    k = min(_round_element(value, scale, fmt, rounding, word, random_bits), element.max_integer)
    return -k % (1 << element.bits) if is_negative(value) else k


def tensor_scales(amax: float | Fraction, fmt: BlockFormat) -> tuple[Fraction, Fraction]:
    """What encoding multiplies a tensor by, and what decoding does; each step in float32.

    Parameters
    ----------
    amax : number
        The greatest finite magnitude of the tensor.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.tensor_scales(6.0, get_format("nvfp4"))
    (Fraction(448, 1), Fraction(9586981, 4294967296))
    """
    greatest = _float32(Fraction(as_value(amax)))
    if greatest == 0:
        return Fraction(1), Fraction(1)
    scale = _float32(Fraction(fmt.element.max * fmt.scale.max) / greatest)
    return scale, _float32(1 / scale)


_FLOAT32_MAX = (2 - power_of_two(-23)) * power_of_two(127)


def _float32(value: Fraction) -> Fraction:
    """Rounded to float32, to nearest-even; what is too great is the greatest float32."""
    rounded = round_to_float32(value)
    if isinstance(rounded, float):
        return _FLOAT32_MAX if rounded > 0 else -_FLOAT32_MAX
    return rounded


def _encode_block_amax(
    values: Sequence[Value],
    fmt: BlockFormat,
    rounding: str,
    words: Sequence[int],
    random_bits: int,
    encode_scale: Fraction,
) -> tuple[list[int], int]:
    """A block of NVFP4: its scale is a float; every step is one operation in float32."""
    magnitudes = [_float32(_magnitude(value)) for value in values]
    share = _float32(max(magnitudes, default=Fraction(0)) / Fraction(fmt.element.max))
    scale_code = encode(_float32(share * encode_scale), fmt.scale)
    scale = decode(scale_code, fmt.scale)
    assert isinstance(scale, Fraction)
    if scale == 0:
        return [0] * len(values), scale_code
    divisor = _float32(scale * _float32(1 / encode_scale))
    factor = _float32(1 / divisor) if divisor else _FLOAT32_MAX
    codes = []
    for value, magnitude, word in zip(values, magnitudes, words, strict=True):
        scaled = _float32(magnitude * factor)
        signed = -scaled if is_negative(value) else scaled
        x = signed if signed or not is_negative(value) else -0.0
        codes.append(encode(x, fmt.element, rounding, word=word, random_bits=random_bits))
    return codes, scale_code


def decode_block(
    codes: Iterable[int], scale_code: int, fmt: BlockFormat, tensor_scale: float | Fraction = 1
) -> list[Value]:
    """The values of one block, exactly.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> reference.decode_block([56, 254], 128, get_format("mxfp8_e4m3"))
    [Fraction(2, 1), Fraction(-896, 1)]
    """
    micro_bits, own = divmod(scale_code, 2**fmt.scale.bits)
    scale = decode(own, fmt.scale)
    values: list[Value] = []
    for i, code in enumerate(codes):
        value = _decode_element(code, fmt)
        if isinstance(scale, float) and math.isnan(scale):
            values.append(math.nan)
        elif isinstance(value, float) and not math.isfinite(value):
            values.append(math.copysign(value, math.copysign(1, value) * math.copysign(1, scale)))
        else:
            shift = 0 if fmt.micro_size is None else micro_bits >> i // fmt.micro_size & 1
            magnitude = _magnitude(value) * _magnitude(scale) * Fraction(tensor_scale) / 2**shift
            negative = is_negative(value) != is_negative(scale)
            values.append((-magnitude or -0.0) if negative else magnitude)
    return values


def _decode_element(code: int, fmt: BlockFormat) -> Value:
    element = fmt.element
    if isinstance(element, FloatFormat) or _has_sign_bit(element) or code <= element.max_integer:
        return decode(code, element)
    return decode(code - (1 << element.bits), element)


# --- products -------------------------------------------------------------------------------


def round_to_float32(value: Fraction) -> Value:
    """Round to nearest, ties to even, to IEEE binary32.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> reference.round_to_float32(Fraction(2**24 + 1))
    Fraction(16777216, 1)
    """
    if value == 0:
        return value
    quantum = max(floor_log2(abs(value)), -126) - 23
    k = round_magnitude(abs(value) / power_of_two(quantum), "nearest_even")
    rounded = k * power_of_two(quantum)
    if rounded >= power_of_two(128):
        return -math.inf if value < 0 else math.inf
    return -rounded if value < 0 else rounded


def dot_blocks(
    a: Sequence[tuple[Sequence[int], int]],
    a_format: BlockFormat,
    b: Sequence[tuple[Sequence[int], int]],
    b_format: BlockFormat,
    c: float = 0.0,
) -> float:
    """Dot product of two rows of blocks, each ``(codes, scale code)``, as FAST's fMAC adds it.

    The products of a pair of blocks are summed exactly; that sum is rounded to float32 and added
    to the float32 total, block after block.

    References
    ----------
    arXiv 2110.15456: one exponent addition per pair of groups, no alignment inside a group,
    conversion to float32 after the integer sum.

    Examples
    --------
    >>> from fmtlib import bfp, reference
    >>> blocks = [([8, 1], 127)]  # 1 and 1/8, under the exponent 0
    >>> reference.dot_blocks(blocks, bfp(4, block_size=2), blocks, bfp(4, block_size=2))
    1.015625
    """
    total: Value = as_value(c)
    for (a_codes, a_scale), (b_codes, b_scale) in zip(a, b, strict=True):
        a_values = decode_block(a_codes, a_scale, a_format)
        b_values = decode_block(b_codes, b_scale, b_format)
        if any(isinstance(v, float) and math.isnan(v) for v in (*a_values, *b_values)):
            return math.nan
        exact = sum(
            (Fraction(x) * Fraction(y) for x, y in zip(a_values, b_values, strict=True)),
            Fraction(0),
        )
        term = round_to_float32(exact)
        if _is_finite(term) and _is_finite(total):
            total = round_to_float32(Fraction(total) + Fraction(term))
        else:
            total = float(total) + float(term)
    return float(total)


class Term(NamedTuple):
    """One product of a dot product.

    `exponent` is what the product is aligned by, and `scale_exponent` what its scale adds to it;
    `group` numbers the pair of blocks that it is in.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> e4m3 = get_format("e4m3")
    >>> reference.terms([0x38], e4m3, [0xC4], e4m3)[0].b
    Fraction(-3, 1)
    """

    a: Value
    b: Value
    exponent: int
    scale: Value = Fraction(1)
    scale_exponent: int = 0
    group: int = 0


def terms(
    a: Sequence[int], a_format: Format, b: Sequence[int], b_format: Format, *, flush: bool = False
) -> list[Term]:
    """The products of two rows of codes of elementwise formats, as `dot` takes them.

    `flush`: subnormal operands are zeros.

    Examples
    --------
    >>> from fmtlib import get_format, reference
    >>> e4m3 = get_format("e4m3")
    >>> reference.terms([0x38], e4m3, [0xC4], e4m3)[0][:3]
    (Fraction(1, 1), Fraction(-3, 1), 1)
    """
    pairs = zip(_operand(a, a_format, flush), _operand(b, b_format, flush), strict=True)
    return [Term(x, y, x_exponent + y_exponent) for (x, x_exponent), (y, y_exponent) in pairs]


def _operand(codes: Iterable[int], fmt: Format, flush: bool) -> list[tuple[Value, int]]:
    """Values, and the exponents that they are aligned by."""
    values = [decode(code, fmt) for code in codes]
    if not isinstance(fmt, FloatFormat):
        return [(value, fmt.max_exponent) for value in values]
    least = fmt.min_exponent
    if flush:
        values = [
            _signed(Fraction(0), is_negative(value))
            if _is_finite(value) and _magnitude(value) < power_of_two(least)
            else value
            for value in values
        ]
    return [(value, leading_exponent(value, least)) for value in values]


def _is_finite(value: Value) -> bool:
    return isinstance(value, Fraction) or math.isfinite(value)


def _signed(magnitude: Value, negative: bool) -> Value:
    if not negative:
        return magnitude
    return -magnitude if magnitude else -0.0


def leading_exponent(value: Value, least: int) -> int:
    """Exponent of the leading bit of a finite value, but at least that of the least normal one.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> [reference.leading_exponent(value, -6) for value in (Fraction(5), Fraction(1, 512))]
    [2, -6]
    """
    magnitude = _magnitude(value) if _is_finite(value) else Fraction(0)
    return max(floor_log2(magnitude), least) if magnitude else least


def multiply(a: Value, b: Value) -> Value:
    """The exact product, with the sign that IEEE 754 gives it.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> reference.multiply(Fraction(0), Fraction(-3))
    -0.0
    """
    negative = is_negative(a) != is_negative(b)
    if _is_finite(a) and _is_finite(b):
        return _signed(_magnitude(a) * _magnitude(b), negative)
    if any(isinstance(x, float) and math.isnan(x) for x in (a, b)) or 0 in (a, b):
        return math.nan
    return -math.inf if negative else math.inf


def exact_sum(values: Sequence[Value], zero: str = "signed", rounding: str = "") -> Value:
    """The exact sum; `zero` as in `fmtlib.Accumulator`, for a sum that will be rounded so.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import reference
    >>> reference.exact_sum([Fraction(1), Fraction(1, 2**100), Fraction(-1)]) * 2**100
    Fraction(1, 1)
    """
    special = {float(value) for value in values if not _is_finite(value)}
    if special:
        return special.pop() if len(special) == 1 else math.nan  # infinities of both signs
    total = sum((Fraction(value) for value in values), Fraction(0))
    if total or zero == "positive":
        return total
    zeros = [value == 0 for value in values]
    minus = [is_negative(value) for value in values]
    negative = all(minus) if all(zeros) and len(set(minus)) == 1 else rounding == "down"
    return _signed(total, negative)


def round_to_register(value: Value, register: Register | None) -> Value:
    """Bring a value into a register of an accumulator; None takes everything as it is.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import Register, reference
    >>> reference.round_to_register(Fraction(1, 3), Register(8, 3))
    Fraction(11, 32)
    """
    if register is None:
        return value
    negative = is_negative(value)
    m = register.mantissa_bits
    if register.is_fixed:
        assert register.quantum_exponent is not None
        quantum, least, greatest = power_of_two(register.quantum_exponent), -(1 << m), (1 << m) - 1
        if not _is_finite(value):
            return (0 if value != value else least if negative else greatest) * quantum
        k = round_magnitude(_magnitude(value) / quantum, register.rounding, negative=negative)
        k = -k if negative else k
        if register.overflow == "wrap":
            return ((k - least) % (1 << m + 1) + least) * quantum
        return min(max(k, least), greatest) * quantum
    if not _is_finite(value) or value == 0:
        return value
    magnitude = _magnitude(value)
    if register.underflow == "flush" and magnitude < power_of_two(register.min_exponent):
        return _signed(Fraction(0), negative)
    quantum = power_of_two(leading_exponent(value, register.min_exponent) - m)
    rounded = quantum * round_magnitude(magnitude / quantum, register.rounding, negative=negative)
    max_value = power_of_two(register.max_exponent) * (2 - power_of_two(-m))
    if rounded > max_value:
        stops = {"toward_zero": True, "to_odd": True, "up": negative, "down": not negative}
        stop = register.overflow == "nonsaturating" and stops.get(register.rounding, False)
        return _signed(max_value if stop or register.overflow == "saturate" else math.inf, negative)
    return _signed(rounded, negative)


def add(a: Value, b: Value, register: Register | None) -> Value:
    """The sum of two numbers, rounded once to a register.

    Examples
    --------
    >>> from fractions import Fraction
    >>> from fmtlib import Register, reference
    >>> reference.add(Fraction(1), Fraction(1, 3), Register(8, 3))
    Fraction(11, 8)
    """
    return round_to_register(
        exact_sum([a, b], rounding=register.rounding if register else ""), register
    )


def dot(terms: Sequence[Term], accumulator: Accumulator, c: float | Fraction = 0) -> Value:
    """A dot product as an `fmtlib.Accumulator` adds it, before the rounding to the result.

    Examples
    --------
    >>> from fmtlib import Accumulator, get_format, reference
    >>> e4m3 = get_format("e4m3")
    >>> products = reference.terms([0x38, 0x38], e4m3, [0x38, 0x01], e4m3)
    >>> reference.dot(products, Accumulator.preset("ada", e4m3, e4m3))
    Fraction(513, 512)
    """
    start, zero = as_value(c), Fraction(0)
    at_end = accumulator.scales == "end"
    if not terms:
        return start
    if accumulator.order == "pairwise":
        sums = [_step(step, accumulator, zero) for step in _steps(terms, accumulator)]
        while len(sums) > 1:
            odd_one = sums[len(sums) // 2 * 2 :]
            pairs = zip(sums[::2], sums[1::2], strict=False)
            sums = [add(x, y, accumulator.total) for x, y in pairs] + odd_one
        total = sums[0] if at_end else add(start, sums[0], accumulator.total)
    else:
        lengths = accumulator.order if isinstance(accumulator.order, tuple) else (len(terms),)
        total, first = zero if at_end else start, 0
        for i, length in enumerate(lengths):
            part = _part(terms[first : first + length], accumulator, zero if i else total)
            total = add(total, part, accumulator.promotion or accumulator.total) if i else part
            first += length
    if at_end:
        return exact_sum([start, multiply(total, terms[0].scale)], accumulator.zero)
    return total


def _part(terms: Sequence[Term], accumulator: Accumulator, start: Value) -> Value:
    """Steps one after the other, with promotion if there is any."""
    if accumulator.promotion is None:
        return reduce(
            lambda total, step: _step(step, accumulator, total), _steps(terms, accumulator), start
        )
    assert accumulator.promotion_terms is not None
    by_group = accumulator.scales == "promotion"
    for interval in _cut(terms, accumulator.promotion_terms, by_group):
        total: Value = Fraction(0)
        for step in _steps(interval, accumulator):
            total = _step(step, accumulator, total)
        if by_group:
            total = multiply(total, interval[0].scale)
        start = add(start, total, accumulator.promotion)
    return start


def _steps(terms: Sequence[Term], accumulator: Accumulator) -> list[Sequence[Term]]:
    return _cut(terms, accumulator.terms, accumulator.scales == "groups")


def _cut(terms: Sequence[Term], length: int | None, by_group: bool) -> list[Sequence[Term]]:
    """Runs of at most `length` terms, none of which crosses the end of a group if `by_group`."""
    groups = [list(g) for _, g in groupby(terms, lambda t: t.group if by_group else 0)]
    return [
        g[i : i + (length or len(g))] for g in groups for i in range(0, len(g), length or len(g))
    ]


def _step(terms: Sequence[Term], accumulator: Accumulator, start: Value) -> Value:
    """Multiply, align and add the terms of one step; put the sum into the total."""
    aligned: list[tuple[Value, int]] = []
    for term in terms:
        product, exponent = multiply(term.a, term.b), term.exponent
        if accumulator.scales == "products":
            product, exponent = multiply(product, term.scale), exponent + term.scale_exponent
        if accumulator.product is not None:
            product = round_to_register(product, accumulator.product)
            exponent = leading_exponent(product, _least_exponent(accumulator.product))
        aligned.append((product, exponent))
    total = accumulator.total
    if accumulator.start == "early":
        aligned.append((start, leading_exponent(start, _least_exponent(total))))
    values = [value for value, _ in aligned]
    if accumulator.alignment_bits is not None:
        exponents = [e for value, e in aligned if value != 0 and _is_finite(value)]
        least = accumulator.min_exponent
        greatest = max(exponents if least is None else [*exponents, least], default=0)
        quantum = power_of_two(greatest - accumulator.alignment_bits)
        values = [_multiple(value, quantum, accumulator.alignment_rounding) for value in values]
    rounding = total.rounding if total else ""
    if accumulator.start == "early":
        return round_to_register(exact_sum(values, accumulator.zero, rounding), total)
    partial = exact_sum(values, accumulator.zero, rounding)
    if accumulator.scales == "groups":
        partial = multiply(partial, terms[0].scale)
    return add(start, round_to_register(partial, accumulator.partial), total)


def _least_exponent(register: Register | None) -> int:
    """Where exponents in a register stop falling; fixed point has no such place."""
    return -(10**6) if register is None or register.is_fixed else register.min_exponent


def _multiple(value: Value, quantum: Fraction, rounding: str) -> Value:
    """The value rounded to a multiple of the quantum."""
    if not _is_finite(value):
        return value
    k = round_magnitude(_magnitude(value) / quantum, rounding)
    return _signed(k * quantum, is_negative(value))


# --- widths and random words ----------------------------------------------------------------


def group_bits(
    values: Sequence[int], signed: bool, encoding: str = "twos_complement"
) -> tuple[int, int]:
    """Bits that a group of integers needs, and the position of its lowest set bit.

    Examples
    --------
    >>> from fmtlib import reference
    >>> reference.group_bits([4, -12], signed=True)
    (5, 2)
    """
    magnitudes = [abs(x) for x in values]
    if signed and encoding == "twos_complement":
        magnitudes = [x if x >= 0 else ~x for x in values]
    high = max(max(x, 1).bit_length() for x in magnitudes) + signed
    low = min(((x & -x).bit_length() - 1 for x in values if x), default=0)
    return high, low


def effectual_terms(value: int, recoding: str) -> list[int]:
    """The signed powers of two that make up an integer in a recoding, greatest first.

    All but "booth" recode the magnitude and then take the sign.

    Examples
    --------
    >>> from fmtlib import reference
    >>> [reference.effectual_terms(27, name) for name in ("binary", "naf", "booth", "run_length")]
    [[16, 8, 2, 1], [32, -4, -1], [32, -4, -1], [16, 8, 2, 1]]
    """
    if recoding == "booth":
        return _booth_terms(value)
    recode = {"binary": _binary_terms, "naf": _naf_terms, "run_length": _run_length_terms}[recoding]
    sign = -1 if value < 0 else 1
    return [sign * term for term in recode(abs(value))]


def _binary_terms(magnitude: int) -> list[int]:
    return [1 << i for i in reversed(range(magnitude.bit_length())) if magnitude >> i & 1]


def _naf_terms(magnitude: int) -> list[int]:
    """Non-adjacent form: an odd number gives the digit that leaves a multiple of four."""
    found, place = [], 1
    while magnitude:
        if magnitude % 2:
            digit = 2 - magnitude % 4
            found.append(digit * place)
            magnitude -= digit
        magnitude //= 2
        place *= 2
    return found[::-1]


def _booth_terms(value: int) -> list[int]:
    """Radix-4 digits of two's complement, from -2 to 2: x[2i-1] + x[2i] - 2 x[2i+1]."""
    found, doubled = [], value << 1
    for i in range(value.bit_length() // 2 + 1):
        below, low, high = (doubled >> (2 * i + j) & 1 for j in range(3))
        found.append((below + low - 2 * high) << (2 * i))
    return [term for term in reversed(found) if term]


def _run_length_terms(magnitude: int) -> list[int]:
    """Runs of three ones and more as a difference, which isolated zeros do not end."""
    runs = [(int(bit), len(list(run))) for bit, run in groupby(f"{magnitude:b}00")]
    found, place, in_ones = [], magnitude.bit_length() + 2, False
    for bit, length in runs:
        place -= length  # of the lowest bit of the run; two zeros were appended
        lowest = Fraction(2) ** (place - 2)
        if bit and not in_ones and length < 3:
            found += [lowest * 2**i for i in reversed(range(length))]
        elif bit and not in_ones:
            found.append(lowest * 2**length)
            in_ones = True
        elif not bit and in_ones:
            # an isolated zero takes its own place away; two or more end the ones, just below which
            # stands the zero that is the highest of them
            found.append(-lowest if length == 1 else -lowest * 2**length)
            in_ones = length == 1
    return [int(term) for term in found]


def philox_word(seed: int, stream: int, index: int) -> int:
    """Word `index` of Philox4x32-10 keyed by the seed.

    The counter is (index >> 2, stream), 64 bits each, low half first; the word is number
    ``index & 3`` of the four.

    References
    ----------
    J. Salmon, M. Moraes, R. Dror, D. Shaw, "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> from fmtlib import reference
    >>> [hex(reference.philox_word(0, 0, i)) for i in range(4)]
    ['0x6627e8d5', '0xe169c58d', '0xbc57ac4c', '0x9b00dbd8']
    """
    mask = 2**32 - 1
    block = index >> 2
    counter = [block & mask, block >> 32, stream & mask, stream >> 32]
    key = [seed & mask, seed >> 32]
    for _ in range(10):
        high0, low0 = divmod(0xD2511F53 * counter[0], 2**32)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], 2**32)
        counter = [high1 ^ counter[1] ^ key[0], low1, high0 ^ counter[3] ^ key[1], low0]
        key = [(key[0] + 0x9E3779B9) & mask, (key[1] + 0xBB67AE85) & mask]
    return counter[index & 3]


# --- storage --------------------------------------------------------------------------------


def pack(codes: Iterable[int], bits: int) -> bytes:
    """Pack codes of `bits` bits, negative ones in two's complement: one great integer.

    Examples
    --------
    >>> from fmtlib import reference
    >>> reference.pack([1, 7, -6], 4).hex()
    '710a'
    """
    stream = count = 0
    for i, code in enumerate(codes):
        stream |= (code & (2**bits - 1)) << (i * bits)
        count = i + 1
    return stream.to_bytes(-(-count * bits // 8), "little")


def group_streams(
    groups: Sequence[Sequence[int]], bits: int, signs: str, zero_vector: bool
) -> tuple[bytes, bytes, bytes]:
    """The streams of `compress` for integers of `bits` bits: headers, zero vectors, payload.

    `signs` is "none", "all" or "each"; see ``fmtlib.compression``.

    Examples
    --------
    >>> from fmtlib import reference
    >>> [part.hex() for part in reference.group_streams([[3, 0, 1, 0]], 8, "none", True)]
    ['01', '05', '07']
    """
    header_width = (bits - 1).bit_length()
    headers, flags, payload, position = [], [], 0, 0
    for group in groups:
        signed = signs == "all" or (signs == "each" and min(group) < 0)
        magnitudes = [~x if x < 0 else x for x in group]
        width = max(max(x.bit_length() for x in magnitudes) + signed, 1)
        headers.append(width - 1 + ((signs == "each" and signed) << header_width))
        flags += [int(x != 0) for x in group]
        for x in group:
            if x or not zero_vector:
                payload |= (x & (2**width - 1)) << position
                position += width
    return (
        pack(headers, header_width + (signs == "each")),
        pack(flags, 1) if zero_vector else b"",
        payload.to_bytes(-(-position // 8), "little"),
    )


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), bit by bit: polynomial 0x1EDC6F41, reflected.

    References
    ----------
    RFC 3720 (iSCSI), section 12.1 and the examples of appendix B.4.

    Examples
    --------
    >>> from fmtlib import reference
    >>> hex(reference.crc32c(b"123456789"))
    '0xe3069283'
    """
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF
