"""What other packages' quantisers compute, bit for bit, also where it differs from the definition.

Use these functions to reproduce results that were obtained with microxcaling, QPyTorch or pychop,
or to find out how much of a difference they make.  For everything else use `fmtlib.quantize`,
which rounds exactly once.  Each function is named after its original, takes its arguments under
its names, and computes in float32 in the order of the original's operations::

    from fmtlib import conformance

They are plain NumPy and not fast.  The originals' stochastic modes draw from generators that
cannot be seeded or depend on call order, so nobody can reproduce them: rounding is deterministic.

`docs/conformance.md` lists every difference and says what each mode has been compared with.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib.arguments import as_array, not_one_of, whole_number

__all__ = ["microxcaling", "pychop_bfp", "qpytorch_block", "qpytorch_fixed", "qpytorch_float"]

Float32: TypeAlias = NDArray[np.float32]

_HALF = np.float32(0.5)
_MIN_NORMAL = np.float32(2.0**-126)
_EXPONENT_FIELD = np.uint32(0x7F80_0000)
_MANTISSA_FIELD = np.uint32(0x007F_FFFF)
_SIGN = np.uint32(0x8000_0000)


# --- microxcaling ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Element:
    """An element type as microxcaling describes it; integers have no exponent bits."""

    exponent_bits: int
    bits: int  # of the significand, with its leading bit and the sign
    max_exponent: int
    max_value: float


_ELEMENTS = {
    "int8": _Element(0, 8, 0, 127 / 64),
    "int4": _Element(0, 4, 0, 7 / 4),
    "int2": _Element(0, 2, 0, 1.0),
    "fp8_e5m2": _Element(5, 4, 15, 57344.0),
    "fp8_e4m3": _Element(4, 5, 8, 448.0),
    "fp6_e3m2": _Element(3, 4, 4, 28.0),
    "fp6_e2m3": _Element(2, 5, 2, 7.5),
    "fp4_e2m1": _Element(2, 3, 2, 6.0),
}
_ELEMENTS["fp4"] = _ELEMENTS["fp4_e2m1"]

_MX_ROUNDINGS = ("nearest", "even", "floor")


def microxcaling(
    x: ArrayLike,
    element: str,
    *,
    block_size: int = 32,
    axis: int = -1,
    rounding: Literal["nearest", "even", "floor"] = "nearest",
    implementation: Literal["torch", "cpp"] = "torch",
) -> Float32:
    """Reproduce microxcaling's MX quantiser (`quantize_mx_op` with 8 scale bits) in float32.

    Parameters
    ----------
    x : array_like of float32
        At least one-dimensional.
    element : str
        "int8", "int4", "int2", "fp8_e5m2", "fp8_e4m3", "fp6_e3m2", "fp6_e2m3" or "fp4_e2m1"
        (also "fp4").
    block_size : int, optional
        Elements that share a scale; 0 makes the whole axis one block.  A tail is padded with
        zeros.
    axis : int, optional
        The axis that is cut into blocks.
    rounding : {"nearest", "even", "floor"}, optional
        Nearest with ties away from zero (their default), nearest with ties to even, or toward
        zero.
    implementation : {"torch", "cpp"}, optional
        The package has two: the Python one, which runs by default, and the C++ one that
        ``custom_cuda=True`` selects.

    Returns
    -------
    ndarray of float32
        x's shape.

    Raises
    ------
    TypeError
        If x is not float32: microxcaling computes in the type of its tensor, so that other types
        give other results.
    ValueError
        For an unknown element, rounding or implementation, or an argument out of range.

    Notes
    -----
    "torch" does, in float32: E = floor(log2 m) of the greatest magnitude m of the block (2^-126
    for a block of zeros), less the greatest exponent of the element; above 127 the block becomes
    NaN, below -127 it is -127.  Then v = x / 2^E, scaled to integer significands by
    floor(log2(abs(v))); ``floor(abs(v) + 0.5)`` for "nearest", less 1 at ties for "even",
    ``floor(abs(v))`` for "floor"; clamped to the greatest magnitude; and scaled back.

    It differs from the exact ``fmtlib.quantize(x, "mxfp8_e4m3")`` and its like in that

    - log2 rounds to the integer above it for magnitudes a few ulp below a power of two.  As the
      shared exponent it is then one too high and all of the block loses a bit (or, with integers
      and a greatest magnitude near 2^128, is NaN); as an element's own exponent it makes "floor"
      lose a bit.  The result may be infinite next to the greatest float32.
    - ``abs(v) + 0.5`` is rounded to float32, so that the greatest float32 below 1/2 rounds up.
    - ties go away from zero by default; -0.0 becomes +0.0, but negative values that round to zero
      become -0.0.
    - a NaN or an infinity makes the whole block NaN.

    "cpp" takes exponents from the bits and rounds exactly; what remains is the tie rule, the whole
    block being NaN, and that every zero is +0.0.

    References
    ----------
    https://github.com/microsoft/microxcaling: mx/mx_ops.py, mx/elemwise_ops.py, mx/cpp/.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import conformance
    >>> x = np.float32([8 - 2**-21, 0.51])  # log2 of the first is 3 in float32
    >>> conformance.microxcaling(x, "int4")
    array([8., 0.], dtype=float32)
    >>> conformance.microxcaling(x, "int4", implementation="cpp")
    array([7., 1.], dtype=float32)
    """
    array = _float32(x)
    if array.ndim == 0:
        raise ValueError("x must have at least one dimension, got a 0-d array")
    if element not in _ELEMENTS:
        raise ValueError(not_one_of("element", element, _ELEMENTS))
    if rounding not in _MX_ROUNDINGS:
        raise ValueError(not_one_of("rounding", rounding, _MX_ROUNDINGS))
    if implementation not in ("torch", "cpp"):
        raise ValueError(f"implementation must be 'torch' or 'cpp', got {implementation!r}")
    axis = whole_number("axis", axis, -array.ndim, array.ndim - 1)
    size = whole_number("block_size", block_size, 0) or max(1, array.shape[axis])
    blocks = _blocks(np.moveaxis(array, axis, -1), size)
    quantise = _microxcaling_torch if implementation == "torch" else _microxcaling_cpp
    with np.errstate(all="ignore"):  # NaN, infinity and underflow are part of the definition
        values = quantise(blocks, _ELEMENTS[element], rounding)
    outer, count = blocks.shape[:-2], blocks.shape[-2]
    moved = values.reshape(*outer, count * size)[..., : array.shape[axis]]
    return np.ascontiguousarray(np.moveaxis(moved, -1, axis))


def _microxcaling_torch(x: Float32, element: _Element, rounding: str) -> Float32:
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    shared = _floor_log2(np.where(largest == 0, _MIN_NORMAL, largest)) - element.max_exponent
    shared = np.where(shared > 127, np.float32(np.nan), np.maximum(shared, np.float32(-127)))
    scale = _power_of_two(shared)
    v = x / scale
    fraction_bits = element.bits - 2
    private: Float32 = np.ones((), np.float32)
    if element.exponent_bits:
        least = np.float32(2 - 2 ** (element.exponent_bits - 1))
        own = _floor_log2(np.where(v == 0, np.float32(1), np.abs(v)))
        private = _power_of_two(np.maximum(own, least))
    significand = v / private * np.float32(2**fraction_bits)
    magnitude = np.abs(significand)
    if rounding == "floor":
        rounded = np.floor(magnitude)
    else:
        rounded = np.floor(magnitude + _HALF)
        if rounding == "even":
            rounded = rounded - ((magnitude - _HALF) % np.float32(2) == 0).astype(np.float32)
    # sign(-0.0) is +0.0, but -1 * 0.0 is -0.0
    signed = np.sign(significand) * rounded / np.float32(2**fraction_bits) * private
    greatest = np.float32(element.max_value)
    return np.asarray(np.clip(signed, -greatest, greatest) * scale, np.float32)


def _microxcaling_cpp(x: Float32, element: _Element, rounding: str) -> Float32:
    largest = np.max(np.abs(x), axis=-1, keepdims=True)
    # The exponent field: subnormals count as 2^-127, and all ones (NaN, infinity) stay NaN.
    field = largest.view(np.uint32) >> 23
    shared = np.maximum(field.astype(np.float32) - 127 - element.max_exponent, np.float32(-127))
    scale = _power_of_two(np.where(field == 255, np.float32(np.nan), shared))
    v = x / scale
    exponent = np.zeros_like(v, np.int32)
    if element.exponent_bits:
        exponent = np.maximum(np.frexp(v)[1] - 1, 2 - 2 ** (element.exponent_bits - 1))
    quantum = np.ldexp(1.0, exponent - (element.bits - 2))
    steps = np.abs(v.astype(np.float64)) / quantum  # from here on float64 is exact
    if rounding == "floor":
        steps = np.floor(steps)
    else:
        steps = np.rint(steps) if rounding == "even" else np.floor(steps + 0.5)
    magnitude = np.minimum(steps * quantum, element.max_value).astype(np.float32)
    return np.where(magnitude == 0, np.float32(0), np.copysign(magnitude, v)) * scale


def _floor_log2(x: Float32) -> Float32:
    """floor(log2 x) as torch finds it: of the float32 nearest to log2 x.

    The float32 log2 of torch and of NumPy may be off by an ulp, differently on each machine, but
    not where it would change the floor: that happens only near powers of two, where float64 is
    far more accurate than the distance to the next float32 midpoint.
    """
    return np.floor(np.log2(x.astype(np.float64)).astype(np.float32))


def _power_of_two(exponents: Float32) -> Float32:
    """2^exponents, exactly; NaN where they are NaN."""
    power = np.ldexp(np.float32(1), np.nan_to_num(exponents).astype(np.int32))
    return np.where(np.isnan(exponents), np.float32(np.nan), power)


def _blocks(x: Float32, size: int) -> Float32:
    """The last axis cut into blocks, the last one padded with zeros."""
    padding = -x.shape[-1] % size
    padded = np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, padding)])
    return padded.reshape(*x.shape[:-1], padded.shape[-1] // size, size)


# --- QPyTorch -------------------------------------------------------------------------------


def qpytorch_float(
    x: ArrayLike, exp: int, man: int, rounding: Literal["nearest"] = "nearest"
) -> Float32:
    """Reproduce QPyTorch's `float_quantize` on a CPU.

    Parameters
    ----------
    x : array_like of float32
        Any shape.
    exp : int
        Exponent bits, 1 to 8; the bias is ``2**(exp - 1) - 1``.
    man : int
        Mantissa bits without the hidden one, 0 to 22.
    rounding : {"nearest"}, optional
        Their default, "stochastic", cannot be reproduced: on a CPU it cannot be seeded.

    Returns
    -------
    ndarray of float32
        x's shape.

    Raises
    ------
    TypeError
        If x is not float32.
    ValueError
        For another rounding, and bits out of range.

    Notes
    -----
    Normal values: half a quantum is added to the bits of the float32 and the bits below the
    mantissa are cut off, so that ties go away from zero.  Values below the least normal number,
    with exponent e = 2 - 2^(exp-1): the same is done to ``x ± 2^e``, a float32 sum, and 2^e is
    taken off again.

    It differs from the exact ``fmtlib.quantize(x, "e4m3")`` and its like in that

    - no code is reserved for infinities or NaN: the greatest value of (4, 3) is 480, not 448, and
      that of (5, 2) is 114688, not 57344; it saturates.
    - ties go away from zero, and subnormals are rounded twice, first by the float32 sum.
    - NaN and infinity are cut like numbers and become the greatest value with their sign (for
      exp = 8, they stay; NaN whose mantissa is nearly all ones becomes a zero).
    - -0.0 and negative values that round to zero become +0.0.

    References
    ----------
    QPyTorch 0.3.0 (PyPI: qtorch), quant_cpu/quant_cpu.cpp and bit_helper.cpp.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import conformance
    >>> conformance.qpytorch_float(np.float32([500, 1.0625, np.nan]), exp=4, man=3)
    array([480.   ,   1.125, 480.   ], dtype=float32)
    """
    array = _float32(x)
    exp = whole_number("exp", exp, 1, 8)
    man = whole_number("man", man, 0, 22)
    _only_nearest(rounding)
    bits = array.view(np.uint32)
    least = 2 - 2 ** (exp - 1)
    with np.errstate(all="ignore"):
        offset = np.copysign(np.ldexp(np.float32(1), least), array)
        low = _cut((array + offset).view(np.uint32), man).view(np.float32) - offset
        high = _cut(bits, man)
        top = np.uint32((2 ** (exp - 1) + 127) << 23)
        greatest = top | _leading_ones(man)
        over = (high & ~_SIGN) >> 23 > top >> 23
        high = np.where(over, (bits & _SIGN) | greatest, high)
    subnormal = ((bits & _EXPONENT_FIELD) >> 23).astype(np.int32) - 127 < least
    return np.where(subnormal, low, high.view(np.float32))


def qpytorch_fixed(
    x: ArrayLike,
    wl: int,
    fl: int,
    clamp: bool = True,
    symmetric: bool = False,
    rounding: Literal["nearest"] = "nearest",
) -> Float32:
    """Reproduce QPyTorch's `fixed_point_quantize` on a CPU.

    Parameters
    ----------
    x : array_like of float32
        Any shape.
    wl : int
        Word length in bits, the sign included, 1 to 128.
    fl : int
        Fraction bits, -128 to 128.
    clamp : bool, optional
        Clamp to the range of the word; otherwise only the precision is limited.
    symmetric : bool, optional
        Leave out the least value, ``-2**(wl - fl - 1)``.
    rounding : {"nearest"}, optional
        Their default, "stochastic", cannot be reproduced: its words come from torch's generator.

    Returns
    -------
    ndarray of float32
        x's shape.

    Raises
    ------
    TypeError
        If x is not float32.
    ValueError
        For another rounding, and lengths out of range.

    Notes
    -----
    ``nearbyint(fl32(x * 2**fl + 0.5) - 0.5) * 2**-fl``, where the sum is rounded to float32 and
    the difference is exact.  The limits are float32, too.

    It differs from the exact ``fmtlib.quantize(x, fmtlib.FixedFormat(wl - fl - 1, fl))`` in that

    - the float32 sum moves values near a midpoint onto it: the float32 next to 1/2 rounds to 0,
      and from 2^22 steps on, values up to half a step away from a step may leave it.
    - NaN stays NaN; -0.0 becomes +0.0.
    - with more than 25 bits, the greatest value is rounded up to 2^(wl-fl-1).

    References
    ----------
    QPyTorch 0.3.0 (PyPI: qtorch), quant_cpu/quant_cpu.cpp and sim_helper.cpp.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import conformance
    >>> above = np.nextafter(np.float32(0.5), np.float32(1))
    >>> conformance.qpytorch_fixed(np.float32([above, 1.5, 9, np.nan]), wl=4, fl=0)
    array([ 0.,  2.,  7., nan], dtype=float32)
    """
    array = _float32(x)
    wl = whole_number("wl", wl, 1, 128)
    fl = whole_number("fl", fl, -128, 128)
    _only_nearest(rounding)
    with np.errstate(all="ignore"):
        moved = (np.ldexp(array, fl) + _HALF).astype(np.float64) - 0.5
        values = np.ldexp(np.rint(moved).astype(np.float32), -fl)
        if not clamp:
            return np.asarray(values)
        step = math.ldexp(1.0, -fl)
        least = np.float32(-math.ldexp(1.0, wl - fl - 1))
        greatest = np.float32(-float(least) - step)
        if symmetric:
            least = np.float32(float(least) + step)
    return np.where(values > greatest, greatest, np.where(values < least, least, values))


def qpytorch_block(
    x: ArrayLike, wl: int, dim: int = -1, rounding: Literal["nearest"] = "nearest"
) -> Float32:
    """Reproduce QPyTorch's `block_quantize` on a CPU.

    Parameters
    ----------
    x : array_like of float32
        Not empty.
    wl : int
        Word length in bits, the sign included, 2 to 22.
    dim : int, optional
        The dimension whose every index has an exponent of its own, shared by all of the other
        dimensions.  Exactly -1 means one exponent for the whole array, *not* the last dimension.
    rounding : {"nearest"}, optional
        Their default, "stochastic", cannot be reproduced: on a CPU it cannot be seeded.

    Returns
    -------
    ndarray of float32
        x's shape.

    Raises
    ------
    TypeError
        If x is not float32.
    ValueError
        If x is empty, for another rounding, and arguments out of range.

    Notes
    -----
    With E the exponent of the greatest magnitude, from its bits: ``6 * 2**E`` is added, which
    rounds to a multiple of 2^(E-21); half a quantum q = 2^(E+2-wl) is added to the bits and those
    below q are cut off; ``6 * 2**E`` is taken off again; what has a greater exponent than E is
    clamped to the greatest magnitude, (2^(wl-1) - 1) q.

    It differs from the exact ``fmtlib.quantize(x, fmtlib.bfp(wl - 1, block_size=...))`` in that

    - a block is a slice of the array, not a group of a fixed size.
    - ties go to +Inf, after a first rounding to 2^(E-21).
    - there is no -0.0.
    - a NaN or an infinity makes the block NaN, except that NaN with a mantissa nearly all ones may
      become an infinity; a greatest magnitude of 2^126 or more turns the block into its negative
      limit, as ``6 * 2**E`` overflows (on x86; on Arm it is the positive one).
    - if all of the block is subnormal, nothing is added first: ties go away from zero.

    References
    ----------
    QPyTorch 0.3.0 (PyPI: qtorch), quant_cpu/quant_cpu.cpp and bit_helper.cpp.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import conformance
    >>> conformance.qpytorch_block(np.float32([1, 0.375, -0.375, 0.1]), wl=4)
    array([ 1.  ,  0.5 , -0.25,  0.  ], dtype=float32)
    """
    array = _float32(x)
    wl = whole_number("wl", wl, 2, 22)
    if array.size == 0:
        raise ValueError(f"x must not be empty, got shape {array.shape}")
    others = None
    if dim != -1:
        dim = whole_number("dim", dim, -array.ndim, array.ndim - 1) % array.ndim
        others = tuple(i for i in range(array.ndim) if i != dim)
    _only_nearest(rounding)
    with np.errstate(all="ignore"):
        largest = np.max(np.abs(array), axis=others, keepdims=True)
        top = largest.view(np.uint32) & _EXPONENT_FIELD
        base = top.view(np.float32) * np.float32(6)
        moved = _cut((array + base).view(np.uint32), wl).view(np.float32)
        bits = (moved - base).view(np.uint32)
        # x86 makes a negative NaN of the Inf - Inf of a base that overflowed
        overflowed = np.isinf(base) & (top < _EXPONENT_FIELD)
        bits = np.where(overflowed, _SIGN | _EXPONENT_FIELD, bits)
        over = bits & _EXPONENT_FIELD > top
        bits = np.where(over, (bits & _SIGN) | top | _leading_ones(wl - 2), bits)
    return bits.view(np.float32)


def _cut(bits: NDArray[np.uint32], mantissa_bits: int) -> NDArray[np.uint32]:
    """Add half a quantum to the bits of float32s and cut off what is below it."""
    quantum = 1 << (23 - mantissa_bits)
    return (bits + np.uint32(quantum // 2)) & np.uint32(0x1_0000_0000 - quantum)


def _leading_ones(mantissa_bits: int) -> np.uint32:
    """The mantissa field of a float32 with this many leading ones."""
    return _MANTISSA_FIELD >> np.uint32(23 - mantissa_bits) << np.uint32(23 - mantissa_bits)


def _only_nearest(rounding: object) -> None:
    if rounding != "nearest":
        raise ValueError(
            "rounding must be 'nearest' (QPyTorch's 'stochastic' draws from a generator that "
            f"nothing can reproduce), got {rounding!r}"
        )


# --- pychop ---------------------------------------------------------------------------------


def pychop_bfp(
    x: ArrayLike, mantissa_bits: int = 8, block_size: int = 32, exponent_bits: int = 8
) -> Float32:
    """Reproduce pychop's `bfp_quantize` with its NumPy backend for float32 input.

    Parameters
    ----------
    x : array_like of float32
        Any shape; blocks are cut from the array *flattened* in C order.
    mantissa_bits : int, optional
        Bits p of an element with its sign, 2 to 24.
    block_size : int, optional
        Elements that share an exponent.  A tail is padded with zeros.
    exponent_bits : int, optional
        Bits of the shared exponent, 2 to 8.

    Returns
    -------
    ndarray of float32
        x's shape.

    Raises
    ------
    TypeError
        If x is not float32: pychop computes in the type of its array.
    ValueError
        If all of a block is NaN, zeros of a padded tail apart (pychop fails in ``math.ceil``), and
        for arguments out of range.
    OverflowError
        If the greatest magnitude over 1 - 2^(1-p) is infinite in float32 (pychop fails there, too).

    Notes
    -----
    e = ceil(log2(max / (1 - 2^(1-p)))), clamped to the range of the field, so that the greatest
    magnitude of the block never saturates; elements are multiples of q = 2^(e-p+1) from
    -2^(p-1) q to (2^(p-1) - 1) q, rounded half to even.

    It differs from the exact ``fmtlib.quantize(x, fmtlib.bfp(mantissa_bits - 1))`` in that

    - the exponent is one higher than that of the greatest magnitude in general, and two higher
      if that would round up past the greatest element: a bit less precise, and never saturated.
    - elements are two's complement, blocks run across rows, and only float32 quotients count.
    - NaN is left out of the search for the greatest magnitude and stays NaN where it is (in a
      block of zeros it becomes zero); an infinity takes the greatest exponent and saturates.
    - a block of zeros loses the signs of its zeros.

    References
    ----------
    pychop 0.6.2 (PyPI), pychop/np/bfp_formats.py.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import conformance
    >>> conformance.pychop_bfp(np.float32([1, 0.375, -0.7, np.nan]), mantissa_bits=4)
    array([ 1.  ,  0.5 , -0.75,   nan], dtype=float32)
    """
    array = _float32(x)
    p = whole_number("mantissa_bits", mantissa_bits, 2, 24)
    size = whole_number("block_size", block_size, 1)
    exponent_bits = whole_number("exponent_bits", exponent_bits, 2, 8)
    blocks = _blocks(array.reshape(-1), size)
    levels = 2 ** (p - 1)
    bias = 2 ** (exponent_bits - 1) - 1
    limit = np.float32((levels - 1) / levels)
    with np.errstate(all="ignore"):
        largest = np.fmax.reduce(np.abs(blocks), axis=-1)
        quotients = largest / limit
    pairs = zip(largest.tolist(), quotients.tolist(), strict=True)
    exponents = np.array([_pychop_exponent(*pair, bias) for pair in pairs], np.int32)
    scale = np.ldexp(np.float32(1), exponents)[:, np.newaxis]
    with np.errstate(all="ignore"):
        steps = np.clip(np.rint(blocks / scale * np.float32(levels)), -levels, levels - 1)
        values: Float32 = np.asarray(steps / np.float32(levels) * scale, np.float32)
    values[largest == 0] = 0
    return values.reshape(-1)[: array.size].reshape(array.shape)


def _pychop_exponent(largest: float, quotient: float, bias: int) -> int:
    """The shared exponent of a block from its greatest magnitude, as is and over the limit."""
    if largest == 0:
        return -bias
    if math.isinf(largest):
        return bias
    if math.isnan(largest):
        raise ValueError("all of a block is NaN, which pychop refuses")
    if math.isinf(quotient):
        raise OverflowError(f"a block reaches {largest}, which overflows float32 in pychop")
    return min(max(math.ceil(math.log2(quotient)), -bias), bias)


# --- arguments ------------------------------------------------------------------------------


def _float32(x: Any) -> Float32:
    array = as_array(x)
    if array.dtype.newbyteorder("=") != np.float32:
        raise TypeError(
            f"x must be float32, got {array.dtype}: the originals compute in float32, and another "
            "type would give other results"
        )
    return np.ascontiguousarray(array, np.float32).reshape(array.shape)
