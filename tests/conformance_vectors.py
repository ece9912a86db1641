"""Inputs and expected results of the conformance modes.

    python tests/conformance_vectors.py             # microxcaling.npz, from the definition below
    python tests/conformance_vectors.py --record    # also qpytorch.npz, pychop.npz: runs them

The second needs qtorch 0.3.0 (with torch, ninja and a C++ compiler) and pychop 0.6.2.  microxcaling
is on no package index; its results follow from the definition, here in exact rational arithmetic
with each float32 rounding spelled out, one number at a time and without NumPy.
"""

import math
import struct
import sys
from decimal import Decimal, localcontext
from fractions import Fraction
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data" / "conformance"

# name: exponent bits, fraction bits, greatest exponent, greatest magnitude
ELEMENTS = {
    "int8": (0, 6, 0, Fraction(127, 64)),
    "int4": (0, 2, 0, Fraction(7, 4)),
    "int2": (0, 0, 0, Fraction(1)),
    "fp8_e5m2": (5, 2, 15, Fraction(57344)),
    "fp8_e4m3": (4, 3, 8, Fraction(448)),
    "fp6_e3m2": (3, 2, 4, Fraction(28)),
    "fp6_e2m3": (2, 3, 2, Fraction(15, 2)),
    "fp4_e2m1": (2, 1, 2, Fraction(6)),
}
ROUNDINGS = ("nearest", "even", "floor")
IMPLEMENTATIONS = ("torch", "cpp")
MICROXCALING = list(product(ELEMENTS, ROUNDINGS, IMPLEMENTATIONS))

# Arguments of the recorded calls in the originals' order: exp, man; wl, fl, clamp, symmetric;
# wl, dim.
QPYTORCH_FLOAT = [(4, 3), (5, 2), (8, 7), (5, 10), (2, 1), (1, 0), (8, 22)]
QPYTORCH_FIXED = [
    (8, 4, True, False),
    (8, 4, True, True),
    (8, 4, False, False),
    (4, 0, True, False),
    (1, 0, True, True),
    (16, 8, True, False),
    (25, 0, True, False),
    (32, 8, True, True),
    (8, 24, True, False),
    (8, -6, True, False),
]
QPYTORCH_BLOCK = list(product((2, 4, 8, 22), (-1, 0, 1)))
# mantissa_bits, block_size, exponent_bits
PYCHOP = [(2, 32, 8), (4, 32, 8), (8, 7, 8), (16, 32, 8), (24, 5, 8), (8, 32, 5), (16, 16, 5)]


def blocks(count=48, seed=0):
    """Blocks of 32 float32 numbers around every decision of the quantisers.

    Few leading significand bits give ties, a few ulp beside them the neighbours of ties,
    significands nearly all ones the neighbours of powers of two; exponents from one block to the
    next cover the whole range, subnormals included, and within a block 30 binades; some blocks
    hold NaN or infinity, or nothing but zeros.
    """
    rng = np.random.default_rng(seed)
    shape = (count, 32)
    top = np.linspace(254, 1, count).astype(np.int64)[:, np.newaxis]
    exponent = np.maximum(top - rng.integers(0, 30, shape) * rng.integers(0, 2, shape), 0)
    exponent[:, 0] = top[:, 0]
    ties = (rng.integers(0, 64, shape) << 17) + rng.integers(-2, 3, shape)
    nearly = 2**23 - 1 - rng.integers(0, 70, shape)
    kind = rng.random(shape)
    fraction = np.where(kind < 0.6, ties % 2**23, nearly)
    fraction = np.where(kind > 0.85, rng.integers(0, 2**23, shape), fraction)
    bits = rng.integers(0, 2, shape) << 31 | exponent << 23 | fraction
    x = bits.astype(np.uint32).view(np.float32)
    x[rng.random(shape) < 0.03] = 0.0
    x[rng.random(shape) < 0.03] = -0.0
    x[5], x[6] = 0.0, -0.0
    x[7, 3], x[8, 4], x[9, 5] = np.nan, np.inf, -np.inf
    return x


def special():
    """NaN of several payloads, infinities, zeros, the extremes: one by one, they poison blocks."""
    bits = [0x7F800000, 0x7FC00000, 0x7FFFFFFF, 0x7F800001, 0, 1, 0x7FFFFF, 0x800000, 0x7F7FFFFF]
    return np.array([b | s << 31 for b in bits for s in (0, 1)], np.uint32).view(np.float32)


def qpytorch_inputs(seed=0):
    x = blocks(48, seed).reshape(-1)
    steps = np.random.default_rng(seed).integers(-(2**11), 2**11, 400).astype(np.float32) / 32
    beside = [np.nextafter(steps, np.float32(side)) for side in (-np.inf, np.inf)]
    return np.concatenate([x, special(), steps, *beside, np.float32(2**23) + steps])


def block_inputs(seed=0):
    """Matrices for the quantisers whose blocks are slices: all sizes, and one special in each."""
    x = blocks(48, seed)
    finite = np.where(np.isfinite(x), x, np.float32(1))
    result = [finite, finite[20:28], finite[-3:], finite[:2], finite[20:28] * np.float32(2.0**-130)]
    for value in special():
        small = finite[24:28].copy()
        small[1, 2] = value
        result.append(small)
    return result


def pychop_inputs(seed=0):
    x = blocks(48, seed)
    return np.where(np.abs(x) < np.float32(2.0**126), x, x / 4)  # pychop fails beside 2^128


# --- microxcaling, one number at a time ---------------------------------------------------------


def to_float32(value):
    """The float32 number nearest to a rational, ties to even, as a rational; or infinity."""
    if value == 0:
        return Fraction(0)
    magnitude = abs(value)
    exponent = max(floor_log2(magnitude), -126) - 23
    quantum = Fraction(2) ** exponent
    rounded = round(magnitude / quantum) * quantum  # Python rounds ties of rationals to even
    if rounded >= Fraction(2) ** 128:
        return math.inf if value > 0 else -math.inf
    return rounded if value > 0 else -rounded


def floor_log2(value):
    """floor(log2 value) of a positive rational, exactly."""
    guess = value.numerator.bit_length() - value.denominator.bit_length()
    return guess if value >= Fraction(2) ** guess else guess - 1


@cache
def floor_float32_log2(value):
    """floor of the float32 number nearest to log2 of a positive rational."""
    with localcontext() as context:
        context.prec = 40
        ratio = Decimal(value.numerator) / Decimal(value.denominator)
        log2 = ratio.ln() / Decimal(2).ln()
    return math.floor(to_float32(Fraction(log2)))


def microxcaling(block, element, rounding, implementation):
    """One block of floats; a list of floats."""
    if any(math.isnan(x) or math.isinf(x) for x in block):
        return [math.nan] * len(block)
    _, _, greatest_exponent, _ = ELEMENTS[element]
    largest = max(abs(Fraction(x)) for x in block)
    if implementation == "torch":
        exponent = floor_float32_log2(largest or Fraction(2) ** -126)
    else:
        exponent = floor_log2(largest) if largest >= Fraction(2) ** -126 else -127
    exponent -= greatest_exponent
    if exponent > 127:
        return [math.nan] * len(block)
    scale = Fraction(2) ** max(exponent, -127)
    quantise = _element_torch if implementation == "torch" else _element_cpp
    return [quantise(Fraction(x), x, scale, element, rounding) for x in block]


def _element_torch(x, sign, scale, element, rounding):
    exponent_bits, fraction_bits, _, greatest = ELEMENTS[element]
    v = to_float32(abs(x) / scale)
    if v == 0:
        return 0.0  # its sign is 0, and 0 times anything is +0
    own = Fraction(1)
    if exponent_bits:
        own = Fraction(2) ** max(floor_float32_log2(v), 2 - 2 ** (exponent_bits - 1))
    significand = to_float32(to_float32(v / own) * 2**fraction_bits)
    if rounding == "floor":
        rounded = math.floor(significand)
    else:
        rounded = math.floor(to_float32(significand + Fraction(1, 2)))
        if rounding == "even" and (significand - Fraction(1, 2)) % 2 == 0:
            rounded -= 1
    value = min(rounded * own / 2**fraction_bits, greatest)
    return math.copysign(float(to_float32(value * scale)), sign)


def _element_cpp(x, sign, scale, element, rounding):
    exponent_bits, fraction_bits, _, greatest = ELEMENTS[element]
    v = abs(x) / scale
    if v == 0:
        return 0.0
    exponent = 0
    if exponent_bits:
        exponent = max(floor_log2(v), 2 - 2 ** (exponent_bits - 1))
    quantum = Fraction(2) ** (exponent - fraction_bits)
    steps = v / quantum
    if rounding == "floor":
        rounded = math.floor(steps)
    else:
        rounded = round(steps) if rounding == "even" else math.floor(steps + Fraction(1, 2))
    value = min(rounded * quantum, greatest) * scale
    return math.copysign(float(value), sign) if value else 0.0


def expected_microxcaling(x, element, rounding, implementation):
    """The bits of the result for an array of blocks."""
    values = [microxcaling(block, element, rounding, implementation) for block in x.tolist()]
    packed = struct.pack(f"<{x.size}f", *(value for block in values for value in block))
    return np.frombuffer(packed, "<u4").reshape(x.shape)


# --- the originals ------------------------------------------------------------------------------


def run_qpytorch(name, x, arguments):
    import torch
    from qtorch import quant

    function = getattr(quant, name)
    return function(
        torch.from_numpy(np.ascontiguousarray(x)), *arguments, rounding="nearest"
    ).numpy()


def run_pychop(x, mantissa_bits, block_size, exponent_bits):
    from pychop import bfp_quantize

    # 0.6.2 takes no BFPSpec; of other exponent widths than 8 it has these named formats
    named = {(8, 32, 5): "flexpoint8", (16, 16, 5): "flexpoint16"}
    fmt = named.get((mantissa_bits, block_size, exponent_bits), (mantissa_bits, block_size))
    return bfp_quantize(x, fmt)


def key(*arguments):
    """The name of an array in the files."""
    return "_".join(str(argument) for argument in arguments)


def main(record):
    DATA.mkdir(parents=True, exist_ok=True)
    x = blocks()
    results = {key(*case): expected_microxcaling(x, *case) for case in MICROXCALING}
    np.savez_compressed(DATA / "microxcaling.npz", x=x.view(np.uint32), **results)
    if not record:
        return
    flat, matrices, y = qpytorch_inputs(), block_inputs(), pychop_inputs()
    results = {"x": flat}
    for case in QPYTORCH_FLOAT:
        results[key("float", *case)] = run_qpytorch("float_quantize", flat, case)
    for case in QPYTORCH_FIXED:
        results[key("fixed", *case)] = run_qpytorch("fixed_point_quantize", flat, case)
    for i, matrix in enumerate(matrices):
        results[key("block_x", i)] = matrix
        for case in QPYTORCH_BLOCK:
            results[key("block", i, *case)] = run_qpytorch("block_quantize", matrix, case)
    bits = {name: array.view(np.uint32) for name, array in results.items()}
    np.savez_compressed(DATA / "qpytorch.npz", **bits)
    results = {"x": y} | {key(*case): run_pychop(y, *case) for case in PYCHOP}
    bits = {name: array.view(np.uint32) for name, array in results.items()}
    np.savez_compressed(DATA / "pychop.npz", **bits)


if __name__ == "__main__":
    main(record="--record" in sys.argv[1:])
