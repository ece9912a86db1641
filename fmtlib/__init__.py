"""Bit-exact low-precision number formats for NumPy, and what they buy."""

from fmtlib._core.kernels import cpu_target
from fmtlib.accumulators import Accumulator, Register
from fmtlib.bit_planes import BitPlanes, SerialDot, bit_planes, serial_dot
from fmtlib.blocks import BlockArray
from fmtlib.calibration import AmaxHistory, Calibration, Calibrator, calibrate
from fmtlib.codec import decode, encode, quantize, ufunc
from fmtlib.codes import (
    classify,
    convert,
    isfinite,
    isinf,
    isnan,
    issubnormal,
    iszero,
    nextafter,
    signbit,
    spacing,
    ulp_distance,
)
from fmtlib.compression import CompressedArray, CompressedChunks, compress, decompress
from fmtlib.encodings import StorageSize, storage_size
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
from fmtlib.limits import finfo
from fmtlib.listing import show
from fmtlib.operands import PackedOperand, pack_operand
from fmtlib.packing import pack, unpack
from fmtlib.precision import WidthStatistics, group_bits, product_terms, terms, width_statistics
from fmtlib.products import dot, dot_passes, matmul
from fmtlib.random_words import seed_of_part
from fmtlib.statistics import ErrorStatistics, error_statistics

__version__ = "0.1.0"

__all__ = [
    "Accumulator",
    "AmaxHistory",
    "BitPlanes",
    "BlockArray",
    "BlockFormat",
    "Calibration",
    "Calibrator",
    "CompressedArray",
    "CompressedChunks",
    "ErrorStatistics",
    "FixedFormat",
    "FloatFormat",
    "IntegerFormat",
    "PackedOperand",
    "Register",
    "SerialDot",
    "StorageSize",
    "WidthStatistics",
    "as_ml_dtypes",
    "bfp",
    "bit_planes",
    "calibrate",
    "classify",
    "compress",
    "convert",
    "cpu_target",
    "decode",
    "decompress",
    "dot",
    "dot_passes",
    "encode",
    "error_statistics",
    "finfo",
    "formats",
    "from_ml_dtypes",
    "get_format",
    "group_bits",
    "isfinite",
    "isinf",
    "isnan",
    "issubnormal",
    "iszero",
    "load",
    "matmul",
    "nextafter",
    "p3109",
    "pack",
    "pack_operand",
    "product_terms",
    "quantize",
    "save",
    "seed_of_part",
    "serial_dot",
    "show",
    "signbit",
    "spacing",
    "storage_size",
    "terms",
    "ufunc",
    "ulp_distance",
    "unpack",
    "width_statistics",
]

# Modules with public names of their own.
_MODULES = (
    "reference",
    "testing",
    "conformance",
    "vectors",
    "onnx_export",
    "zarr_codecs",
    "numcodecs_codecs",
    "search",
    "training",
    "hardware",
)


def __dir__() -> list[str]:
    """The public names, and the public modules that are imported, for completion in a shell."""
    return sorted([*__all__, "__version__", *(name for name in _MODULES if name in globals())])
