from typing import Any

import numpy as np
from numpy.typing import NDArray
from typing_extensions import disjoint_base

from fmtlib.accumulators import Accumulator, Register
from fmtlib.formats import BlockFormat, FixedFormat, FloatFormat, IntegerFormat
from fmtlib.random_words import Words

TARGETS: tuple[str, ...]

def cpu_target() -> str: ...
def available_targets() -> tuple[str, ...]: ...
def force_target(name: str | None) -> None: ...
def force_streaming(from_bytes: int | None) -> None: ...
def make_ufunc(
    name: str,
    doc: str,
    verb: str,
    fmt: FloatFormat | FixedFormat | IntegerFormat,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    random_bits: int = 32,
    scaled: bool = False,
) -> np.ufunc: ...
def apply(
    ufunc: np.ufunc,
    x: NDArray[Any],
    out: NDArray[Any],
    scales: NDArray[np.float64] | None,
    zeros: NDArray[np.int64] | None,
    inner: int,
    words: Words | None,
    start: int,
    stop: int,
) -> bool | None: ...
def make_to_odd() -> np.ufunc: ...
def refuse(ufunc: np.ufunc, dtypes: list[type[np.dtype[Any]]]) -> None: ...
def register_bfloat16(
    ufunc: np.ufunc,
    verb: str,
    fmt: FloatFormat | FixedFormat | IntegerFormat,
    rounding: str,
    overflow: str,
    random_bits: int,
    dtype: np.dtype[Any],
) -> None: ...
def random_words(words: Words, first: int, count: int) -> NDArray[np.uint32]: ...
def finite_max(x: NDArray[Any], source: str) -> tuple[np.float32, bool]: ...

@disjoint_base
class BlockCodec:
    def __init__(
        self,
        fmt: BlockFormat,
        verb: str,
        rounding: str,
        random_bits: int,
        source: str,
        target: str,
    ) -> None: ...
    def run(
        self,
        shape: tuple[int, ...],
        x: NDArray[Any],
        out: NDArray[Any],
        scales: NDArray[Any] | None,
        words: Words | None,
        first: int,
        encode_scale: float | np.float32,
        decode_scale: float | np.float32,
        part: int,
        parts: int,
    ) -> None: ...

def group_bits(
    x: NDArray[Any],
    shape: tuple[int, ...],
    tile_rows: int,
    tile_columns: int,
    encoding: str,
    high: NDArray[np.uint8],
    low: NDArray[np.uint8] | None = None,
) -> None: ...

RECODINGS: dict[str, int]

def count_terms(x: NDArray[Any], recoding: str, out: NDArray[np.uint8]) -> None: ...

SLACK: int

@disjoint_base
class GroupCodec:
    def __init__(
        self, dtype: np.dtype[Any], signs: str, sparse: bool, length: int, group: int
    ) -> None: ...
    def measure(
        self, x: NDArray[Any], first: int, widths: NDArray[np.uint8], inner: int = 1
    ) -> tuple[bool, int, int, int, int]: ...
    def encode(
        self,
        x: NDArray[Any],
        first: int,
        headers: NDArray[np.uint8],
        zeros: NDArray[np.uint8],
        payload: NDArray[np.uint8],
        at: int,
    ) -> int: ...
    def decode(
        self,
        first: int,
        headers: NDArray[np.uint8],
        zeros: NDArray[np.uint8],
        payload: NDArray[np.uint8],
        at: int,
        out: NDArray[Any],
    ) -> int: ...
    def payload_bits(
        self,
        first: int,
        headers: NDArray[np.uint8],
        zeros: NDArray[np.uint8],
        places: NDArray[np.int64] | None = None,
        every: int = 1,
    ) -> int: ...

class Packing:
    data: NDArray[np.uint8]
    layout: int
    count: int
    target: str
    def __init__(
        self, codes: NDArray[Any], scales: NDArray[np.uint8], fmt: BlockFormat, is_a: bool
    ) -> None: ...

def matmul_scratch(a: Any, b: Any) -> int: ...
def matmul_blocks(
    a: Any,
    b: Any,
    c: NDArray[np.float32],
    a_packing: Packing | None = None,
    b_packing: Packing | None = None,
    first_row: int = 0,
    fresh: bool = False,
) -> None: ...
def pack_codes(codes: NDArray[Any], width: int) -> NDArray[np.uint8]: ...
def unpack_codes(packed: NDArray[np.uint8], width: int, codes: NDArray[Any]) -> None: ...
def to_planes(x: NDArray[Any], bits: int, planes: NDArray[np.uint8]) -> None: ...
def from_planes(planes: NDArray[np.uint8], bits: int, out: NDArray[Any]) -> None: ...
def serial_dot(
    a: NDArray[np.uint64],
    a_weights: NDArray[np.int64],
    a_rows: NDArray[np.int64],
    b: NDArray[np.uint64],
    b_weights: NDArray[np.int64],
    b_rows: NDArray[np.int64],
    out: NDArray[np.int64],
) -> None: ...
def multiply_by_table(
    a: NDArray[np.float32],
    b: NDArray[np.float32],
    factors: NDArray[np.float32],
    out: NDArray[np.float32],
) -> None: ...
def transpose(x: NDArray[Any], out: NDArray[Any]) -> None: ...
def packed_size(count: int, width: int) -> int: ...
def crc32c(data: bytes | bytearray | memoryview | NDArray[Any], start: int = 0) -> int: ...
def lookup(codes: NDArray[Any], table: NDArray[Any], out: NDArray[Any]) -> None: ...

ERRORS: np.dtype[Any]

def add_errors(
    fmt: FloatFormat | FixedFormat | IntegerFormat,
    rounding: str,
    random_bits: int,
    x: NDArray[np.float64],
    q: NDArray[np.float64],
    scales: NDArray[np.float64] | None,
    zero_points: NDArray[np.int64] | None,
    words: NDArray[np.uint32] | None,
    first: int,
    length: int,
    inner: int,
    first_channel: int,
    out: NDArray[Any],
) -> None: ...

NUMBER: np.dtype[Any]

def accumulate(
    a: Any, b: Any, accumulator: Accumulator, result: Register, c: NDArray[Any]
) -> None: ...
