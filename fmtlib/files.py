"""Arrays in files, written so that a failure loses nothing: `save`, `load`, `replaced`.

A file holds *parts*: plain arrays under names, in one of two containers, safetensors and npz.  An
array is one part; a code array is one, packed where its format is narrower than its type; a
`BlockArray` is two or three.  Beside the parts stands a record, JSON, of what they mean and of
the CRC-32C of each; a file of others has none, and its parts are taken for what they are.
"""

from __future__ import annotations

import io
import json
import math
import os
import secrets
import shutil
import struct
import tokenize
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core.kernels import crc32c
from fmtlib.arguments import as_array, whole_number
from fmtlib.blocks import BlockArray, scale_shape
from fmtlib.formats import FORMATS, BlockFormat, FloatFormat, Format, get_format
from fmtlib.packing import checked_codes, pack, unpack

# The types of safetensors: NumPy's type of what is stored, and the format of types that NumPy
# has not.  Narrower codes than their type are packed.
_SAFETENSORS: dict[str, tuple[str, str | None]] = {
    "BOOL": ("bool", None),
    "U8": ("uint8", None),
    "I8": ("int8", None),
    "U16": ("uint16", None),
    "I16": ("int16", None),
    "U32": ("uint32", None),
    "I32": ("int32", None),
    "U64": ("uint64", None),
    "I64": ("int64", None),
    "F16": ("float16", None),
    "F32": ("float32", None),
    "F64": ("float64", None),
    "C64": ("complex64", None),
    "BF16": ("uint16", "bfloat16"),
    "F8_E4M3": ("uint8", "float8_e4m3fn"),
    "F8_E5M2": ("uint8", "float8_e5m2"),
    "F8_E8M0": ("uint8", "float8_e8m0fnu"),
    "F8_E4M3FNUZ": ("uint8", "float8_e4m3fnuz"),
    "F8_E5M2FNUZ": ("uint8", "float8_e5m2fnuz"),
    "F6_E2M3": ("uint8", "float6_e2m3fn"),
    "F6_E3M2": ("uint8", "float6_e3m2fn"),
    "F4": ("uint8", "float4_e2m1fn"),
}
# What the library can write, by NumPy's or our name: it writes no 6-bit types.
_CODES = {
    fmt or dtype: code for code, (dtype, fmt) in _SAFETENSORS.items() if not code.startswith("F6_")
}
# The record is the text "fmtlib", its CRC-32C and JSON, with spaces between: in the metadata of
# safetensors under the key "fmtlib", in npz a member.
_MARK, _VERSION = "fmtlib", 1
_MEMBER = "__fmtlib__"
_RESERVED = ("__metadata__", _MEMBER)
# Deflate makes data at most this many times smaller.
_DEFLATE_RATIO = 1032


class Archive(dict[str, "NDArray[Any] | BlockArray"]):
    """What `load` found: arrays and BlockArrays by name, and the formats of code arrays.

    Attributes
    ----------
    formats : dict of str to Format
        For each array that holds codes, their format.
    """

    formats: dict[str, Format]

    def __init__(
        self,
        values: Mapping[str, NDArray[Any] | BlockArray] = {},
        formats: Mapping[str, Format] = {},
    ) -> None:
        super().__init__(values)
        self.formats = dict(formats)


def save(
    path: str | os.PathLike[str],
    values: Mapping[str, ArrayLike | BlockArray],
    *,
    formats: Mapping[str, str | Format] | None = None,
) -> None:
    """Write arrays to a file, whole or not at all.

    Parameters
    ----------
    path : str or PathLike
        Its suffix chooses the container: ``.safetensors`` (extra ``files``) or ``.npz``.  A file
        of that name is replaced when the new one is complete and on the disk.
    values : mapping of str to array_like or BlockArray
        Numbers and booleans of any shape; ml_dtypes' floats; npz also takes dates and strings.
    formats : mapping of str to str or Format, optional
        The formats of those arrays that hold codes.  Codes narrower than their type are packed.
        By default the `formats` of `values`, if that comes from `load`.

    Raises
    ------
    TypeError
        For values that cannot be stored, and codes that are not of the format's `code_dtype`.
    ValueError
        For an unknown suffix, names that clash, and codes outside their format.
    ImportError
        If safetensors is not installed.

    See Also
    --------
    load

    Notes
    -----
    In safetensors, codes of float8_e4m3fn, float8_e5m2, float8_e4m3fnuz, float8_e5m2fnuz,
    float8_e8m0fnu, bfloat16 and float16, and of float4_e2m1fn with an even last axis, have the
    type of their own (F8_E4M3, ...), which other users of such files read.  A BlockArray ``w`` is
    stored as its element codes ``w``, ``w.scales`` and, with a tensor scale, ``w.tensor_scale``.
    All other codes are plain integers, or bytes as `fmtlib.pack` makes them.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, fmtlib as fl
    >>> codes = fl.encode([0.5, 6.0, -1.0], "e2m1")
    >>> blocks = fl.encode(np.ones((3, 40), np.float32), fl.bfp(4))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.npz")
    ...     fl.save(path, {"x": codes, "w": blocks}, formats={"x": "e2m1"})
    ...     found = fl.load(path)
    >>> found["w"]
    BlockArray(shape=(3, 40), format=bfp_m4_e8_g16, axis=1, nbytes=84)
    >>> fl.decode(found["x"], found.formats["x"])
    array([ 0.5,  6. , -1. ], dtype=float32)
    """
    path = Path(path)
    container = _container(path)
    if not isinstance(values, Mapping):
        raise TypeError(
            f"values must be a mapping of names to arrays, got {type(values).__name__}; "
            'one array is {"x": array}'
        )
    known = values.formats if formats is None and isinstance(values, Archive) else {}
    wanted = {
        name: get_format(fmt) for name, fmt in (known if formats is None else formats).items()
    }
    if formats is not None and (unknown := sorted(set(wanted) - set(values))):
        raise ValueError(f"formats names {', '.join(map(repr, unknown))}, which values has not")
    parts: dict[str, _Part] = {}
    meanings: dict[str, dict[str, Any]] = {}
    for name, value in values.items():
        meanings[name], found = _take_apart(name, value, wanted.get(name))
        for part_name, part in found.items():
            if not isinstance(part_name, str) or not part_name or part_name in _RESERVED:
                raise ValueError(f"{part_name!r} cannot be the name of an array")
            if part_name in parts:
                raise ValueError(f"two arrays would be stored as {part_name!r}; rename one")
            parts[part_name] = part
    for name, part in parts.items():
        container.check(name, part)
    record = {
        "version": _VERSION,
        "values": meanings,
        "parts": {
            name: [*container.describe(part), crc32c(_bytes_of(part.array))]
            for name, part in parts.items()
        },
    }
    text = json.dumps(record, separators=(",", ":"))
    with replaced(path) as temporary:
        container.write(temporary, parts, f"{_MARK} {crc32c(text.encode()):08x} {text}")


def load(path: str | os.PathLike[str]) -> Archive:
    """Read a file that `save` wrote, or any other safetensors or npz file.

    Parameters
    ----------
    path : str or PathLike
        Its suffix tells the container: ``.safetensors`` (extra ``files``) or ``.npz``.

    Returns
    -------
    Archive
        A dict of arrays and BlockArrays by name; its `formats` has the format of each array of
        codes.  Arrays that were saved in ml_dtypes' types come back in them where ml_dtypes is
        installed, else as codes.  Of files that others wrote, tensors of types that NumPy has not
        (F8_E4M3, BF16, ...) come as codes.

    Raises
    ------
    ValueError
        If the file is truncated, corrupted (each array that `save` wrote is compared with its
        CRC-32C) or not what its suffix says.  Nothing in it is trusted: nothing is unpickled, and
        no memory is taken that the file's size does not justify.
    ImportError
        If safetensors is not installed.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np, fmtlib as fl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.npz")
    ...     fl.save(path, {"x": np.arange(3)})
    ...     fl.load(path)
    {'x': array([0, 1, 2])}
    """
    path = Path(path)
    container = _container(path)
    data = path.read_bytes()
    try:
        parts, record = container.read(data)
        if record is None:
            return _as_found(parts)
        return _put_together(parts, _checked_record(container, parts, record))
    except (
        AttributeError,
        LookupError,
        OverflowError,
        RecursionError,
        TypeError,
        ValueError,
    ) as error:
        raise ValueError(f"{path} is damaged or not what its suffix says: {error}") from error


def load_array(path: str | os.PathLike[str]) -> NDArray[Any]:
    """Read one array from a ``.npy`` file, which is trusted as little as `load` trusts archives.

    Raises
    ------
    ValueError
        If it is no such file, is not whole, or holds Python objects.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.npy")
    ...     np.save(path, np.arange(3))
    ...     load_array(path)
    array([0, 1, 2])
    """
    try:
        return _from_npy(bytearray(Path(path).read_bytes()), str(path))
    except ValueError as error:
        raise ValueError(f"{path} is no array of NumPy's, or not whole: {error}") from None


def load_json(
    path: str | os.PathLike[str], parse_constant: Callable[[str], Any] | None = None
) -> Any:
    """Read a file of JSON; `parse_constant` as of `json.loads`.

    Raises
    ------
    ValueError
        If it is none, whatever else it is.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "a.json")
    ...     _ = path.write_text('{"a": [1, null]}')
    ...     load_json(path)
    {'a': [1, None]}
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=parse_constant)
    except (ValueError, RecursionError) as error:  # the latter for deep nesting
        raise ValueError(f"{path} is not JSON: {error}") from None


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary name beside `path` that takes its place when the block ends well.

    The new file is on the disk before it replaces the old one, and has its permissions; a link
    stays, what it points to is replaced.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     target = Path(folder, "a.txt")
    ...     with replaced(target) as temporary:
    ...         _ = temporary.write_text("whole")
    ...     target.read_text(), len(list(Path(folder).iterdir()))
    ('whole', 1)
    """
    target = Path(os.path.realpath(path))
    if not target.parent.is_dir():
        raise FileNotFoundError(f"there is no folder {str(target.parent)!r} to write {path!s} to")
    temporary = target.with_name(f".{secrets.token_hex(8)}.tmp")
    try:
        yield temporary
        with temporary.open("r+b") as file:
            os.fsync(file)
        if target.exists():
            shutil.copymode(target, temporary)
        temporary.replace(target)
        if os.name == "posix":  # the folder's entry too
            folder = os.open(target.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    finally:
        temporary.unlink(missing_ok=True)


# --- values and parts -----------------------------------------------------------------------


@dataclass(frozen=True)
class _Part:
    """One stored array, C-contiguous and little-endian.

    `type` and `shape` are those of safetensors ("" if it has no such type); they differ from the
    array's for 4- and 6-bit types, whose packed bytes the array holds.
    """

    array: NDArray[Any]
    type: str
    shape: tuple[int, ...]


def _bytes_of(array: NDArray[Any]) -> NDArray[np.uint8]:
    return array.reshape(-1).view(np.uint8) if array.nbytes else np.empty(0, np.uint8)


def _plain(array: NDArray[Any], name: str | None = None) -> _Part:
    little = array.astype(array.dtype.newbyteorder("<"), order="C", copy=False)
    return _Part(little, _CODES.get(name or array.dtype.name, ""), array.shape)


def _packed(codes: NDArray[Any], fmt: Format | int) -> _Part:
    """Codes as they are stored: packed, if they are narrower than their type."""
    bits, name = (fmt, None) if isinstance(fmt, int) else (fmt.bits, fmt.name)
    if bits == 8 * codes.dtype.itemsize:
        return _plain(codes, name if name in _CODES else None)
    packed = pack(codes, fmt)
    if name in _CODES and codes.ndim and codes.shape[-1] % 2 == 0:  # 4 bits, rows of whole bytes
        return _Part(packed, _CODES[name], codes.shape)
    return _plain(packed)


def _unpacked(
    part: _Part, fmt: Format | int, dtype: np.dtype[Any], shape: tuple[int, ...]
) -> NDArray[Any]:
    bits = fmt if isinstance(fmt, int) else fmt.bits
    if bits != 8 * dtype.itemsize:
        return unpack(_bytes_of(part.array), fmt, shape).astype(dtype, copy=False)
    codes = part.array.view(dtype) if part.type == "F16" else part.array
    if codes.dtype.newbyteorder("=") != dtype or codes.shape != shape:
        raise ValueError(
            f"codes of {dtype} and shape {shape} were expected, found {codes.dtype} and "
            f"{codes.shape}"
        )
    return codes


def _block_fields(fmt: BlockFormat) -> tuple[Format | int, Format | int]:
    """The formats of element codes and scales; for codes that no format describes, their width."""
    element: Format | int = fmt.element if isinstance(fmt.element, FloatFormat) else fmt.bits
    return element, fmt.scale if fmt.scale.bits == fmt.scale_bits else fmt.scale_bits


def _take_apart(
    name: str, value: ArrayLike | BlockArray, fmt: Format | None
) -> tuple[dict[str, Any], dict[str, _Part]]:
    """What a value means, and its parts by name."""
    if isinstance(value, BlockArray):
        if fmt is not None and fmt != value.format:
            raise ValueError(f"{name!r} is in {value.format.name}, formats says {fmt.name}")
        element, scale = _block_fields(value.format)
        value = value.compute()
        parts = {
            name: _packed(value.codes, element),
            f"{name}.scales": _packed(value.scales, scale),
        }
        if value.tensor_scale is not None:
            parts[f"{name}.tensor_scale"] = _plain(np.asarray(value.tensor_scale, np.float32))
        meaning = _meaning(value.format, value.shape)
        meaning["axis"] = list(value.axis) if isinstance(value.axis, tuple) else value.axis
        meaning["tensor_scale"] = value.tensor_scale is not None
        return meaning, parts
    if isinstance(value, np.ma.MaskedArray):
        raise TypeError(f"{name!r} is a masked array; fill it")
    try:
        array = as_array(value)
    except TypeError as error:
        raise TypeError(f"{name!r}: {error}") from None
    own = FORMATS.get(array.dtype.name)
    if array.dtype.isbuiltin == 2 and isinstance(own, FloatFormat):  # a type of ml_dtypes
        if fmt is not None and fmt != own:
            raise TypeError(f"{name!r} is {array.dtype}, formats says {fmt.name}")
        codes = array.view(own.code_dtype)
        return _meaning(own, codes.shape) | {"dtype": own.name}, {name: _packed(codes, own)}
    if fmt is None:
        if array.dtype.kind not in "biufcSUmM" or array.dtype.isbuiltin == 2:
            raise TypeError(f"{name!r} is an array of {array.dtype}, which cannot be stored")
        return {}, {name: _plain(array)}
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"{name!r} is no BlockArray, formats says {fmt.name}")
    try:
        codes, _ = checked_codes(array, fmt)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{name!r}, by formats in {fmt.name}: {error}") from None
    return _meaning(fmt, codes.shape), {name: _packed(codes, fmt)}


def _meaning(fmt: Format, shape: tuple[int, ...]) -> dict[str, Any]:
    if get_format(fmt.name) != fmt:
        raise ValueError(f"the format has no name that could be stored: {fmt!r}")
    return {"format": fmt.name, "shape": list(shape)}


def _put_together(parts: dict[str, _Part], record: dict[str, Any]) -> Archive:
    """The values that a checked record says the parts are."""
    found = Archive()
    left = set(parts)
    for name, meaning in record["values"].items():
        left.discard(name)
        if not meaning:
            found[name] = parts[name].array
            continue
        fmt = get_format(meaning["format"])
        shape = tuple(whole_number("a length", n, 0, 2**63 - 1) for n in meaning["shape"])
        if isinstance(fmt, BlockFormat):
            axis = tuple(meaning["axis"]) if isinstance(meaning["axis"], list) else meaning["axis"]
            element, scale = _block_fields(fmt)
            tensor_scale = None
            if meaning["tensor_scale"]:
                tensor_scale = np.float32(parts[f"{name}.tensor_scale"].array[()])
            left -= {f"{name}.scales", f"{name}.tensor_scale"}
            found[name] = BlockArray(
                _unpacked(parts[name], element, fmt.code_dtype, shape),
                _unpacked(
                    parts[f"{name}.scales"], scale, fmt.scale_dtype,
                    scale_shape(shape, axis, fmt.block_size),
                ),
                fmt,
                axis,
                tensor_scale,
            )  # fmt: skip
            continue
        codes = _unpacked(parts[name], fmt, fmt.code_dtype, shape)
        if "dtype" in meaning and (dtype := _of_ml_dtypes(fmt)) is not None:
            found[name] = codes.view(dtype)
        else:
            found[name] = codes
            found.formats[name] = fmt
    if left:
        raise ValueError(f"its record does not know {sorted(left)[0]!r}")
    return found


def _of_ml_dtypes(fmt: Format) -> np.dtype[Any] | None:
    try:
        import ml_dtypes
    except ImportError:
        return None
    dtype: np.dtype[Any] = np.dtype(getattr(ml_dtypes, fmt.name))
    return dtype


def _as_found(parts: dict[str, _Part]) -> Archive:
    """The values of a file without a record."""
    found = Archive()
    for name, part in parts.items():
        _, known = _SAFETENSORS.get(part.type, ("", None))
        if known is None:
            found[name] = part.array
        else:
            fmt = found.formats[name] = FORMATS[known]
            found[name] = _unpacked(part, fmt, fmt.code_dtype, part.shape)
    return found


def _checked_record(container: _Container, parts: dict[str, _Part], text: str) -> dict[str, Any]:
    """The record of a file of ours, once it is whole and agrees with the parts."""
    mark, checksum, text = text.split(" ", 2)
    if mark != _MARK or checksum != f"{crc32c(text.encode()):08x}":
        raise ValueError("the checksum (CRC-32C) of its record is wrong")
    record: dict[str, Any] = json.loads(text)
    if record["version"] != _VERSION:
        raise ValueError(f"version {record['version']} is unknown, this fmtlib reads {_VERSION}")
    if record["parts"].keys() != parts.keys():
        raise ValueError("its arrays are not those that its record names")
    for name, part in parts.items():
        *described, checksum = record["parts"][name]
        if described != container.describe(part):
            raise ValueError(f"the type or shape of {name!r} is not the one recorded")
        if checksum != crc32c(_bytes_of(part.array)):
            raise ValueError(f"the checksum (CRC-32C) of {name!r} is wrong")
    return record


# --- containers -----------------------------------------------------------------------------


class _Container(ABC):
    """A kind of file that holds parts and the record."""

    @abstractmethod
    def describe(self, part: _Part) -> list[Any]:
        """Type and shape, as the record has them."""

    @abstractmethod
    def check(self, name: str, part: _Part) -> None:
        """Raise if it cannot be stored."""

    @abstractmethod
    def write(self, path: Path, parts: dict[str, _Part], record: str) -> None: ...

    @abstractmethod
    def read(self, data: bytes) -> tuple[dict[str, _Part], str | None]: ...


class _Safetensors(_Container):
    """Length of a JSON header, the header, the bytes of the arrays without gaps."""

    def __init__(self) -> None:
        try:
            import safetensors
        except ImportError:
            raise ImportError(
                "safetensors files need the package safetensors: pip install 'fmtlib[files]'"
            ) from None
        self.library = safetensors

    def describe(self, part: _Part) -> list[Any]:
        return [part.type, list(part.shape)]

    def check(self, name: str, part: _Part) -> None:
        if not part.type:
            raise TypeError(f"safetensors has no type for {part.array.dtype} ({name!r})")

    def write(self, path: Path, parts: dict[str, _Part], record: str) -> None:
        specs = {}
        for name, part in parts.items():
            dtype, fmt = _SAFETENSORS[part.type]
            stored = (
                part.array.shape if part.type != "F4" else (*part.shape[:-1], part.shape[-1] // 2)
            )
            specs[name] = self.library.TensorSpec(
                dtype="float4_e2m1fn_x2" if part.type == "F4" else fmt or dtype,
                shape=stored,
                data_ptr=part.array.ctypes.data,  # `parts` keeps the arrays alive
                data_len=part.array.nbytes,
            )
        # Not serialize_file: it makes a file that nobody else may read.
        path.write_bytes(self.library.serialize(specs, {_MARK: record}))

    def read(self, data: bytes) -> tuple[dict[str, _Part], str | None]:
        try:
            tensors = self.library.deserialize(data)  # type: ignore[no-untyped-call]
        except self.library.SafetensorError as error:
            raise ValueError(str(error)) from None
        except BaseException as error:
            # What a panic of Rust raises is no Exception, and has no module to import it from.
            if type(error).__name__ != "PanicException":
                raise
            if "pointer is null" in str(error):
                raise MemoryError(f"no memory for the tensors of {len(data)} bytes") from None
            raise ValueError(f"the package safetensors failed: {error}") from None
        length = int.from_bytes(data[:8], "little")
        header = json.loads(data[8 : 8 + length], object_pairs_hook=_without_duplicates)
        parts = {}
        for name, tensor in tensors:
            code, shape = tensor["dtype"], tuple(tensor["shape"])
            dtype, fmt = _SAFETENSORS[code]
            array = _from_bytes(tensor["data"], 0, np.dtype(dtype).newbyteorder("<"))
            if fmt is None or FORMATS[fmt].bits == 8 * array.itemsize:
                array = _shaped(array, shape)
            parts[name] = _Part(array, code, shape)
        metadata: dict[str, str] = header.get("__metadata__", {})
        # A damaged key must not make the file look like one of others.
        if _MARK in metadata or any(text.startswith(f"{_MARK} ") for text in metadata.values()):
            return parts, metadata[_MARK]
        return parts, None


class _Npz(_Container):
    """A zip archive of .npy files; the record is the first of them, as uint8."""

    def describe(self, part: _Part) -> list[Any]:
        return [part.array.dtype.str, list(part.array.shape)]

    def check(self, name: str, part: _Part) -> None:
        if zipfile.ZipInfo(name).filename != name or len(name.encode()) > 1 << 15:
            raise ValueError(f"{name!r} cannot be the name of a file in an archive")

    def write(self, path: Path, parts: dict[str, _Part], record: str) -> None:
        text = np.frombuffer(record.encode(), np.uint8)
        # The record first: if damage hides members after another, it tells.
        arrays = {_MEMBER: text} | {name: part.array for name, part in parts.items()}
        with zipfile.ZipFile(path, "w") as archive:
            for name, array in arrays.items():
                # ZipInfo: no time of day, so that equal values make equal files
                with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as file:
                    np.lib.format.write_array(file, array, allow_pickle=False)

    def read(self, data: bytes) -> tuple[dict[str, _Part], str | None]:
        try:
            with zipfile.ZipFile(io.BytesIO(data)) as archive:
                arrays = {
                    info.filename.removesuffix(".npy"): _from_npy(
                        bytearray(archive.read(info)), info.filename
                    )
                    for info in _checked_members(archive, data)
                }
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, struct.error) as error:
            # RuntimeError: encrypted, or of a version or method that zipfile does not know
            raise ValueError(str(error)) from None
        text = arrays.pop(_MEMBER, None)
        record = None if text is None else _bytes_of(text).tobytes().decode()
        return {name: _Part(array, "", array.shape) for name, array in arrays.items()}, record


def _container(path: Path) -> _Container:
    kinds: dict[str, type[_Container]] = {".safetensors": _Safetensors, ".npz": _Npz}
    if path.suffix not in kinds:
        raise ValueError(
            f"the suffix of {str(path)!r} must be {' or '.join(kinds)}, which says how to store"
        )
    return kinds[path.suffix]()


def _without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name occurs twice")
    return found


def _checked_members(archive: zipfile.ZipFile, data: bytes) -> list[zipfile.ZipInfo]:
    """The members of an archive: all of them, none of a size that the file does not justify."""
    members = archive.infolist()
    # zipfile does not compare the number with the one at the end; 65535 stands for more.
    end = data.rfind(b"PK\5\6")
    count = int.from_bytes(data[end + 10 : end + 12], "little")
    if count not in (len(members), 0xFFFF):
        raise ValueError(f"{count} members are announced, {len(members)} found")
    if len({info.filename for info in members}) != len(members):
        raise ValueError("a name occurs twice")
    if sum(info.compress_size for info in members) > len(data):
        raise ValueError("its members are larger than the file")
    for info in members:
        greatest = {
            zipfile.ZIP_STORED: info.compress_size,
            zipfile.ZIP_DEFLATED: _DEFLATE_RATIO * info.compress_size,
        }.get(info.compress_type, -1)
        if not info.filename.endswith(".npy") or info.file_size > greatest:
            raise ValueError(f"{info.filename!r} is no array, or of an impossible size")
    return members


def _from_npy(data: bytearray, name: str) -> NDArray[Any]:
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    if version not in headers:
        raise ValueError(f"version {version} of the npy format is unknown")
    try:
        shape, fortran_order, dtype = headers[version](file)
    except (SyntaxError, MemoryError, tokenize.TokenError) as error:  # from deep nesting
        raise ValueError(f"the header of {name!r} makes no sense: {error}") from None
    if dtype.hasobject:
        raise ValueError(f"{name!r} holds Python objects, which are never unpickled")
    array = _from_bytes(data, file.tell(), dtype)
    return _shaped(array, shape[::-1]).T if fortran_order else _shaped(array, shape)


def _from_bytes(data: bytearray, start: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """All the bytes from `start` as an array that can be written to."""
    if dtype.itemsize == 0 or (len(data) - start) % dtype.itemsize:
        raise ValueError(f"{len(data) - start} bytes are no array of {dtype}")
    if dtype == np.bool_ and any(data[start:].translate(None, b"\0\1")):
        raise ValueError("booleans are 0 or 1")
    return np.frombuffer(data, dtype, offset=start)


def _shaped(array: NDArray[Any], shape: tuple[int, ...]) -> NDArray[Any]:
    if any(length < 0 for length in shape) or math.prod(shape) != array.size:
        raise ValueError(f"{array.size} elements have not the shape {shape}")
    return array.reshape(shape)
