"""IDX files, the container of MNIST and its relatives: `read_idx`."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

# The third byte of a file; numbers are big-endian.
_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
# Deflate makes data at most this many times smaller.
_DEFLATE_RATIO = 1032
_GZIP_MAGIC = b"\x1f\x8b"


def read_idx(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read an array from an IDX file, compressed by gzip or not.

    Parameters
    ----------
    path : path

    Returns
    -------
    ndarray
        Of the file's type and shape, in the machine's byte order.

    Raises
    ------
    ValueError
        If the file is no IDX file, is damaged, or has more or fewer bytes than its header says.
        No memory is taken that the file's size does not justify.

    References
    ----------
    Y. LeCun, C. Cortes, C. J. C. Burges, "The MNIST database of handwritten digits", section "The
    IDX file format".

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from fmtlib import training
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 8, 9]))
    ...     training.read_idx(path)
    array([7, 8, 9], dtype=uint8)
    """
    path = Path(path)
    size = path.stat().st_size
    try:
        with path.open("rb") as raw:
            packed = raw.read(2) == _GZIP_MAGIC
            raw.seek(0)
            if not packed:
                return _read(raw, size)
            with gzip.GzipFile(fileobj=raw) as file:
                return _read(file, size * _DEFLATE_RATIO)
    except (EOFError, ValueError, zlib.error, gzip.BadGzipFile) as error:
        raise ValueError(f"{path} is no whole IDX file: {error}") from None


def _read(file: IO[bytes] | gzip.GzipFile, most: int) -> NDArray[Any]:
    """Read an array that has at most so many bytes, and the end of the file after it."""
    start = file.read(4)
    if len(start) < 4 or start[:2] != b"\0\0" or start[2] not in _TYPES:
        raise ValueError(f"it begins with {start.hex(' ') or 'nothing'}")
    axes = start[3]
    header = file.read(4 * axes)
    if len(header) != 4 * axes or axes > 32:
        raise ValueError(f"a header of {axes} axes is cut off or too long")
    shape = tuple(int(n) for n in np.frombuffer(header, ">u4"))
    dtype = np.dtype(_TYPES[start[2]])
    wanted = math.prod(shape) * dtype.itemsize
    if wanted > most:
        raise ValueError(f"shape {shape} takes {wanted} bytes, more than it can hold")
    data = file.read(wanted)
    if len(data) != wanted or file.read(1):
        than = "fewer" if len(data) != wanted else "more"
        raise ValueError(f"it has {than} bytes than the {wanted} of shape {shape}")
    return np.frombuffer(data, dtype).reshape(shape).astype(dtype.newbyteorder("="))
