"""Test vectors for hardware: what goes into a circuit, and the codes that have to come out.

Each function makes one set of `Vectors`, for one format, operation, rounding and overflow; `write`
puts it into a folder as files for ``$readmemh``, as CSV, with a manifest.  Inputs are the corners
of the format and seeded random ones; expected words are those of `fmtlib.encode` and the like, and
of blocks with noise those of `fmtlib.reference`.  The same arguments give the same files anywhere.
"""

from fmtlib.vectors.blocks import block_vectors
from fmtlib.vectors.dots import dot_vectors
from fmtlib.vectors.elementwise import decode_vectors, encode_vectors, quantize_vectors
from fmtlib.vectors.files import Column, Vectors
from fmtlib.vectors.lfsr import LFSR
from fmtlib.vectors.modes import every_mode

__all__ = [
    "LFSR",
    "Column",
    "Vectors",
    "block_vectors",
    "decode_vectors",
    "dot_vectors",
    "encode_vectors",
    "every_mode",
    "quantize_vectors",
]
