"""Bit-exact low-precision number formats for NumPy, and what they buy."""

from fmtlib._core.kernels import cpu_target
from fmtlib.accumulators import Accumulator, Register
from fmtlib.blocks import BlockArray
from fmtlib.codec import decode, encode, quantize, ufunc
from fmtlib.files import load, save
from fmtlib.formats import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    IntegerFormat,
    bfp,
    formats,
    get_format,
    p3109,
)
from fmtlib.interop import as_ml_dtypes, from_ml_dtypes
from fmtlib.packing import pack, unpack
from fmtlib.precision import group_bits
from fmtlib.products import dot, dot_passes, matmul

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "BlockArray",
    "BlockFormat",
    "FixedFormat",
    "FloatFormat",
    "IntegerFormat",
    "Register",
    "as_ml_dtypes",
    "bfp",
    "cpu_target",
    "decode",
    "dot",
    "dot_passes",
    "encode",
    "formats",
    "from_ml_dtypes",
    "get_format",
    "group_bits",
    "load",
    "matmul",
    "p3109",
    "pack",
    "quantize",
    "save",
    "ufunc",
    "unpack",
]
