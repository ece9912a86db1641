"""Numbers and codes as the words of a circuit: bit patterns, in unsigned 64-bit integers."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import not_one_of
from fmtlib.codec import encode

Words: TypeAlias = NDArray[np.uint64]

# Exponent and mantissa bits of the types that numbers have.
FIELDS = {"float16": (5, 10), "bfloat16": (8, 7), "float32": (8, 23), "float64": (11, 52)}


def number_type(dtype: str) -> str:
    """The name of a type, if numbers can have it."""
    name = np.dtype(dtype).name if not isinstance(dtype, str) else dtype
    if name not in FIELDS:
        raise ValueError(not_one_of("dtype", dtype, FIELDS))
    return name


def values_of(bits: Words, dtype: str) -> NDArray[Any]:
    """The numbers of bit patterns; those of bfloat16 as float32."""
    if dtype == "bfloat16":
        return (bits.astype(np.uint32) << np.uint32(16)).view(np.float32)
    return bits.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)


def bits_of(values: NDArray[np.float64], dtype: str) -> Words:
    """The bits of the nearest numbers of a type."""
    if dtype in ("float16", "bfloat16"):
        codes: NDArray[np.uint16] = encode(values, dtype, overflow="nonsaturating")
        return codes.astype(np.uint64)
    with np.errstate(over="ignore", under="ignore"):
        narrow = values.astype(dtype)
    return narrow.view(f"u{narrow.itemsize}").astype(np.uint64)


def infinity_of(dtype: str) -> int:
    """The bits of a type's infinity."""
    exponent_bits, mantissa_bits = FIELDS[dtype]
    return ((1 << exponent_bits) - 1) << mantissa_bits


def code_words(codes: NDArray[Any], bits: int) -> Words:
    """Codes as unsigned words; negative ones in two's complement."""
    words: Words = codes.astype(np.int64).view(np.uint64) & np.uint64((1 << bits) - 1)
    return words
