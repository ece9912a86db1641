"""Dot products and matrix products of encoded operands, with a stated accumulator."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import codec, lazy_products
from fmtlib._core import kernels
from fmtlib.accumulators import PRESETS, Accumulator, Register
from fmtlib.arguments import as_array, whole_number
from fmtlib.blocks import BlockArray
from fmtlib.formats import (
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    get_format,
)
from fmtlib.interop import format_of
from fmtlib.operands import PackedOperand, has_integer_kernel, is_bfp, native

# FAST's fMAC multiplies groups of 16 chunks of 2 bits in one pass.
FMAC_GROUP = 16
FMAC_CHUNK_BITS = 2

# Below this many multiplications per worker a thread costs more than it saves.
_WORKER_SHARE = 1 << 20
# Results that are kept in a wider type at a time.
_PART = 1 << 14
# Workers start at multiples of this row: packings hold whole tiles.
_WHOLE_TILES = 16

_RESULTS = {
    "float16": Register(5, 10),
    "float32": Register(8, 23),
    "float64": Register(11, 52),
}
# Holds what a second rounding needs to know: 53 bits, the last of which says whether all is there.
_TO_ODD = Register(11, 52, rounding="to_odd", overflow="saturate")

Formats: TypeAlias = Sequence[str | Format | None]


def dot(
    a: BlockArray | ArrayLike,
    b: BlockArray | ArrayLike,
    *,
    accumulator: str | Accumulator = "float32",
    formats: Formats | None = None,
    c: ArrayLike | None = None,
    dtype: Any = None,
) -> Any:
    """Dot products along the last axis.

    Parameters
    ----------
    a, b : BlockArray, or array_like of codes
        Of the same shape; BlockArrays blocked along the last axis.
    accumulator, formats, dtype
        See `matmul`.
    c : array_like of float32, or of `dtype`, optional
        Where the totals start; broadcast to the result's shape.

    Returns
    -------
    ndarray or scalar of `dtype`
        Of shape ``a.shape[:-1]``.

    Raises
    ------
    TypeError, ValueError
        As for `matmul`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> x = fl.encode(np.arange(8, dtype=np.float32), fl.bfp(4))
    >>> fl.dot(x, x)
    np.float32(140.0)

    One instruction of a tensor core, which drops what is 2**-14 below the greatest term:

    >>> x, y = fl.encode(np.float32([[16, 0.125]] * 2), "e4m3")
    >>> y[1] = 0x01
    >>> for name in ("exact", "ada"):
    ...     print(fl.dot(x, y, formats=("e4m3", "e4m3"), accumulator=name))
    256.00024
    256.0
    """
    if lazy_products.are_lazy(a, b):
        how = {"accumulator": accumulator, "formats": formats, "dtype": dtype}
        return lazy_products.dot(dot, a, b, c, **how)
    task = _Task(a, b, formats, accumulator, dtype)
    x, y = task.a, task.b
    if x.codes.ndim == 0 or y.codes.ndim == 0:
        raise ValueError("dot needs operands with at least one dimension, got none")
    if x.shape != y.shape:
        raise ValueError(f"dot needs operands of one shape, got {x.shape} and {y.shape}")
    x, y = x.along("a", x.codes.ndim - 1), y.along("b", y.codes.ndim - 1)
    task.check_depth(x, y)
    total = task.start(c, x.shape[:-1])
    # every pair of rows is a batch of its own
    x, y = x.at(..., None, slice(None)), y.at(..., None, slice(None))
    pairs = total[..., None, None]
    if total.ndim == 0 or all(z.codes.flags.c_contiguous for z in (x, y)):
        x, y, pairs = x.rows(), y.rows(), pairs.reshape(-1, 1, 1)
    for index in np.ndindex(pairs.shape[:-3]):
        task.run(x.at(*index), y.at(*index), pairs[index])
    return total if total.ndim else total[()]


def matmul(
    a: BlockArray | PackedOperand | ArrayLike,
    b: BlockArray | PackedOperand | ArrayLike,
    *,
    accumulator: str | Accumulator = "float32",
    formats: Formats | None = None,
    c: ArrayLike | None = None,
    dtype: Any = None,
    workers: int | None = None,
) -> Any:
    """Matrix product, added up by a stated accumulator.

    The bits of the result are defined by the operands and the accumulator: they do not depend on
    instruction set, tiling or threads.

    Parameters
    ----------
    a : BlockArray, PackedOperand, or array_like of codes
        Shape (..., M, K) or (K,); a BlockArray is blocked along its last axis.
    b : BlockArray, PackedOperand, or array_like of codes
        Shape (..., K, N) or (K,); a BlockArray is blocked along K.  Shapes combine as in
        `numpy.matmul`: leading dimensions broadcast, a one-dimensional operand's M or N is left
        out of the result.
    accumulator : str or Accumulator
        "exact", "float32", "fmac", "v100", "a100", "ada", "hopper" or "b200"; see
        `Accumulator.preset`.  The default rounds each product and each sum of codes to float32, in
        the order of K.  Of blocks it adds what FAST's fMAC does: the exact sum of a pair of
        blocks, times both scales, is rounded once to float32 and added in float32 to the total,
        block after block.
    formats : pair of str or Format, optional
        Formats of a and b where they are codes: float, fixed-point or integer ones in any mix
        (integers without scale and zero point).  None for a BlockArray, which knows its own, and
        for arrays of ml_dtypes or float16, whose dtype tells it.
    c : array_like of float32, or of `dtype`, optional
        Where the totals start, rounded to `dtype`; broadcast to the result's shape.  Zeros by
        default.
    dtype : dtype, optional
        float16, float32 or float64: the total is rounded to it once, ties to even.  By default
        float32, or float64 if it takes that to hold the accumulator's `result` format.
    workers : int, optional
        Threads that share the rows of a large product; 1 by default.

    Returns
    -------
    ndarray of `dtype`
        Shape (..., M, N).

    Raises
    ------
    TypeError
        If an operand is neither a BlockArray nor codes of its format's dtype, or `c` or `dtype`
        have another type.
    ValueError
        If shapes or blocked axes do not match, codes are outside their format, or the accumulator
        is unknown or not for such operands.

    Notes
    -----
    Dask arrays, and BlockArrays of them, give a dask array in chunks of the operands' rows and
    columns; the reduction must lie in one chunk.

    Blocks of different sizes multiply in the groups that share both scales.  The float32 scale of a
    whole tensor (NVFP4) is a factor of each of its blocks' scales.

    References
    ----------
    S. Q. Zhang, B. McDanel, H. T. Kung, FAST, HPCA 2022, arXiv 2110.15456 (the fMAC).

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> a = fl.encode(np.eye(2, 4, dtype=np.float32), fl.bfp(2), axis=1)
    >>> b = fl.encode(np.arange(8, dtype=np.float32).reshape(4, 2), fl.bfp(8), axis=0)
    >>> fl.matmul(a, b)
    array([[0., 1.],
           [2., 3.]], dtype=float32)

    Codes of two formats, summed exactly and rounded once, to bfloat16's values:

    >>> x = fl.encode(np.float32([[1, 300, -1]]), "e5m2")
    >>> y = fl.encode(np.float32([[1], [1], [1]]), "e4m3")
    >>> to_bfloat16 = fl.Accumulator(result="bfloat16")
    >>> fl.matmul(x, y, formats=("e5m2", "e4m3"), accumulator=to_bfloat16)
    array([[320.]], dtype=float32)
    """
    if (
        type(a) is type(b) is BlockArray
        and type(a.codes) is type(b.codes) is np.ndarray
        and c is formats is dtype is workers is None
    ):
        usual = _usual_product(a, b, accumulator)
        if usual is not None:
            return usual
    if lazy_products.are_lazy(a, b):
        how = {"accumulator": accumulator, "formats": formats, "dtype": dtype}
        return lazy_products.matmul(matmul, a, b, c, **how, workers=workers)
    task = _Task(a, b, formats, accumulator, dtype)
    x, y = task.a, task.b
    if x.codes.ndim == 0 or y.codes.ndim == 0:
        raise ValueError("matmul needs operands with at least one dimension, got none")
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    y_axis = max(y.codes.ndim - 2, 0)
    depth = x.shape[-1]
    if depth != y.shape[y_axis]:
        raise ValueError(
            f"matmul of {x.shape} and {y.shape}: {depth} columns against {y.shape[y_axis]} rows"
        )
    x, y = x.along("a", x.codes.ndim - 1), y.along("b", y_axis)
    task.check_depth(x, y, y_axis)
    rows, columns = x.shape[-2:-1], y.shape[y_axis + 1 :]  # of no or one length
    x = x if rows else x.at(None)
    y = y if columns else y.at(..., None)
    leading = x.shape[:-2], y.shape[:-2]
    batch = np.broadcast_shapes(*leading) if any(leading) else ()
    total = task.start(c, (*batch, *rows, *columns))
    matrices = total.reshape(*batch, x.shape[-2], y.shape[-1])
    # the last of the leading dimensions goes to the kernel as a batch
    many = batch or (1,)
    matrices = matrices.reshape(*many, *matrices.shape[-2:])
    x, y = x.broadcast(many), y.broadcast(many).swapped()
    parts = max(1, min(workers, x.shape[-2], x.shape[-2] * depth * y.shape[-2] // _WORKER_SHARE))
    bounds = [x.shape[-2] * i // parts // _WHOLE_TILES * _WHOLE_TILES for i in range(parts)]
    bounds.append(x.shape[-2])
    kept = [None if packed is None else packed.packings(many) for packed in task.packed]
    with ThreadPoolExecutor(parts) if parts > 1 else nullcontext() as pool:
        share = pool.map if pool else map
        for index in itertools.product(*map(range, many[:-1])):
            packings = [packed if packed is None else packed[index] for packed in kept]
            one = partial(_rows_of, task, x.at(*index), y.at(*index), matrices[index], packings)
            list(share(one, bounds[:-1], bounds[1:]))
    return total


def _usual_product(
    a: BlockArray, b: BlockArray, accumulator: str | Accumulator
) -> NDArray[np.float32] | None:
    """The short way for two matrices, or two stacks of them, that the fMAC's own kernel multiplies;
    None if there is more to do or to check.
    """
    if (
        not a.ndim == b.ndim > 1
        or b.shape[:-1] != (*a.shape[:-2], a.shape[-1])
        or (a.axis, b.axis) != (a.ndim - 1, a.ndim - 2)
        or not isinstance(accumulator, (str, Accumulator))
        or not _is_fmac(accumulator, a.format, b.format)
        or not has_integer_kernel(a, b)
    ):
        return None
    *batch, rows, _ = a.shape
    product = np.empty((*batch, rows, b.shape[-1]), np.float32)
    x = _stack(a.format, native(a.codes), a.scales)
    y = _stack(b.format, native(b.codes).swapaxes(-1, -2), b.scales.swapaxes(-1, -2))
    matrices = product.reshape(math.prod(batch), *product.shape[-2:])
    kernels.matmul_blocks(x, y, matrices, fresh=True)
    return product


def _stack(fmt: BlockFormat, *arrays: NDArray[Any]) -> _Operand:
    """Codes and scales of vectors along the last axis, their leading axes made one."""
    codes, scales = (x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]) for x in arrays)
    return _Operand(codes, fmt, {}, scales)


@lru_cache(maxsize=1024)
def _is_fmac(accumulator: str | Accumulator, a: BlockFormat, b: BlockFormat) -> bool:
    """Whether that is the accumulator of the fMAC, and its result float32."""
    if isinstance(accumulator, str):
        accumulator = Accumulator.preset(accumulator, a, b)
    return accumulator == PRESETS["fmac"]["blocks"]


def dot_passes(a: BlockArray, b: BlockArray) -> int:
    """Passes that FAST's fMAC takes for a product of two block arrays.

    One pass multiplies two groups of 16 chunks of 2 bits; mantissas of m_a and m_b bits take
    ``ceil(m_a / 2) * ceil(m_b / 2)`` passes per pair of groups.  Blocks longer than 16 take one
    group for every 16 elements begun.

    Parameters
    ----------
    a, b : BlockArray
        The operands of `matmul` (b blocked along its last axis but one) or of `dot` (both
        blocked along the last).

    Returns
    -------
    int
        The passes of the whole product.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> a = fl.encode(np.ones((2, 32), np.float32), fl.bfp(4), axis=1)
    >>> b = fl.encode(np.ones((32, 3), np.float32), fl.bfp(2), axis=0)
    >>> fl.dot_passes(a, b)
    24
    """
    _check_blocks(a, b)
    if b.axis == b.ndim - 2 and a.axis == a.ndim - 1 and a.ndim > 1:
        _check_matrices(a, b)
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        results = int(np.prod(batch, dtype=np.int64)) * a.shape[-2] * b.shape[-1]
    else:
        if a.shape != b.shape:
            raise ValueError(f"dot needs operands of one shape, got {a.shape} and {b.shape}")
        _check_axes(a, a.ndim - 1, b, b.ndim - 1)
        results = int(np.prod(a.shape[:-1], dtype=np.int64))
    size = a.format.block_size
    assert isinstance(size, int)
    whole, rest = divmod(a.shape[-1], size)
    groups = whole * -(-size // FMAC_GROUP) + -(-rest // FMAC_GROUP)
    return results * groups * passes_per_group(a.format, b.format)


def passes_per_group(a: BlockFormat, b: BlockFormat) -> int:
    """Passes of the fMAC for one pair of groups of 16 elements."""
    return -(-a.mantissa_bits // FMAC_CHUNK_BITS) * -(-b.mantissa_bits // FMAC_CHUNK_BITS)


def _check_blocks(a: object, b: object) -> None:
    for name, operand in (("a", a), ("b", b)):
        if not (isinstance(operand, BlockArray) and is_bfp(operand.format)):
            given = (
                operand.format.name if isinstance(operand, BlockArray) else type(operand).__name__
            )
            raise TypeError(f"{name} must be a BlockArray of block floating point, got {given}")
    assert isinstance(a, BlockArray)
    assert isinstance(b, BlockArray)
    if a.format.block_size != b.format.block_size:
        raise ValueError(
            f"the operands have blocks of {a.format.block_size} and {b.format.block_size}; "
            "they must be the same"
        )


def _check_matrices(a: BlockArray, b: BlockArray) -> None:
    if a.ndim < 2 or b.ndim < 2:
        raise ValueError(
            f"matmul needs at least two dimensions, got {a.ndim} and {b.ndim}; see dot"
        )
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(
            f"matmul of {a.shape} and {b.shape}: {a.shape[-1]} columns against {b.shape[-2]} rows"
        )
    _check_axes(a, a.ndim - 1, b, b.ndim - 2)


def _check_axes(a: BlockArray, a_axis: int, b: BlockArray, b_axis: int) -> None:
    for name, operand, axis in (("a", a, a_axis), ("b", b, b_axis)):
        if operand.axis != axis:
            raise ValueError(
                f"{name} must be blocked along its reduction axis {axis}, got {operand.axis}"
            )


# --- operands -------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Numbers:
    """How the codes of a format become numbers, as kernels.pyx wants to know it."""

    family: str  # "table", "twos_complement", "unsigned", "sign_magnitude"
    bits: int  # of a code; of a sign-magnitude one, below the sign
    exponent: int  # of the integers' unit
    table: NDArray[Any]  # of the number of each code, if that is the family
    fraction_bits: int  # the exponent that a number is aligned by, less that of its unit
    low: int  # finite numbers are multiples of 2**low
    high: int  # and below 2**high

    @staticmethod
    @lru_cache(maxsize=64)
    def of(fmt: Format, flush: bool) -> _Numbers:
        """Of an elementwise format; `flush`: subnormal numbers are zeros."""
        if isinstance(fmt, FloatFormat):
            values = codec.decode(np.arange(1 << fmt.bits, dtype=fmt.code_dtype), fmt, dtype="f8")
            table = _take_apart(values, fmt.min_exponent, fmt.mantissa_bits)
            if flush:
                table["magnitude"][table["magnitude"] < 1 << fmt.mantissa_bits] = 0
            return _Numbers("table", fmt.bits, 0, table, fmt.mantissa_bits, *_range(table))
        assert isinstance(fmt, (FixedFormat, IntegerFormat))
        family = "twos_complement" if fmt.min_integer < 0 else "unsigned"
        bits = fmt.bits
        if isinstance(fmt, FixedFormat) and fmt.encoding == "sign_magnitude":
            family, bits = "sign_magnitude", fmt.magnitude_bits
        exponent = fmt.quantum_exponent
        table = np.empty(0, kernels.NUMBER)
        fraction_bits, high = fmt.max_exponent - exponent, exponent + bits
        return _Numbers(family, bits, exponent, table, fraction_bits, exponent, high)


def _range(table: NDArray[Any]) -> tuple[int, int]:
    """`low` and `high` of a table of numbers."""
    some = table[table["magnitude"] > 0]
    if not len(some):
        return 0, 0
    ends = some["exponent"] + np.frexp(some["magnitude"].astype(np.float64))[1]
    return int(some["exponent"].min()), int(ends.max())


def _take_apart(values: NDArray[np.float64], min_exponent: int, fraction_bits: int) -> NDArray[Any]:
    """Numbers whose magnitudes are integers with `fraction_bits` bits after the leading one, or
    below the least normal value its bits.
    """
    numbers = np.zeros(values.shape, kernels.NUMBER)
    finite = np.isfinite(values)
    exponents = np.frexp(np.where(finite, np.abs(values), 0.0))[1] - 1
    exponents = np.maximum(np.where(values == 0, min_exponent, exponents), min_exponent)
    exponents = exponents - fraction_bits
    numbers["exponent"] = np.where(finite, exponents, 0)
    magnitudes = np.ldexp(np.where(finite, np.abs(values), 0.0), -exponents)
    numbers["magnitude"] = magnitudes.astype(np.uint64)
    numbers["negative"] = np.signbit(values)
    numbers["kind"] = np.where(finite, 0, np.where(np.isnan(values), 2, 1))
    return numbers


@dataclass
class _Operand:
    """An operand of a product; scales have the shape of the codes, but for a number of groups."""

    codes: NDArray[Any]
    format: Format
    sizes: Mapping[int, int]  # of blocks, by axis
    scales: NDArray[Any] | None  # their codes
    numbers: _Numbers | None = None  # not needed by the fMAC's own kernel
    fraction_bits: int = 0
    group: int = 0  # elements along the depth that share a scale, 0 if there is none
    scale_numbers: _Numbers | None = None
    scale_bits: int = 1  # of their significands
    tensor: float = 1.0  # the scale of the whole tensor; scale_numbers include it

    @property
    def shape(self) -> tuple[int, ...]:
        return self.codes.shape

    def along(self, name: str, axis: int) -> _Operand:
        """Blocked along that axis, the depth, alone."""
        if self.scales is None:
            return self
        if axis not in self.sizes:
            given = " and ".join(map(str, self.sizes))
            raise ValueError(f"{name} must be blocked along its reduction axis {axis}, got {given}")
        scales = self.scales
        for other, size in self.sizes.items():
            if other != axis:
                scales = scales.repeat(size, other)
                scales = scales[(slice(None),) * other + (slice(self.shape[other]),)]
        to = self._copy()
        to.scales, to.group = scales, self.sizes[axis]
        return to

    def _copy(self) -> _Operand:
        # copy.copy and dataclasses.replace take as long as a small product
        to = object.__new__(_Operand)
        to.__dict__.update(self.__dict__)
        return to

    def _map(self, function: Callable[[NDArray[Any]], NDArray[Any]]) -> _Operand:
        to = self._copy()
        to.codes = function(self.codes)
        to.scales = None if self.scales is None else function(self.scales)
        return to

    def at(self, *index: Any) -> _Operand:
        """Codes and scales indexed alike."""
        return self._map(lambda x: x[index]) if index else self

    def swapped(self) -> _Operand:
        """With the last two axes exchanged."""
        return self._map(lambda x: x.swapaxes(-1, -2))

    def rows(self) -> _Operand:
        """Of three dimensions: batch, rows, depth."""
        return self._map(lambda x: x.reshape(math.prod(x.shape[:-2]), *x.shape[-2:]))

    def broadcast(self, batch: tuple[int, ...]) -> _Operand:
        """To so many matrices."""
        missing = len(batch) + 2 - self.codes.ndim
        same = self.at(*[None] * missing) if missing else self
        if same.codes.shape[:-2] == batch:
            return same
        return self._map(lambda x: np.broadcast_to(x, (*batch, *x.shape[-2:])))


def _format(x: Any, fmt: Any) -> Any:
    """The format given for codes, or that of their dtype if there is none: one of ml_dtypes'."""
    known = fmt is not None or isinstance(x, BlockArray) or not hasattr(x, "dtype")
    return fmt if known else format_of(as_array(x).dtype)


def _code_operand(name: str, codes: Any, fmt: Any, flush: bool) -> _Operand:
    if fmt is None:
        raise TypeError(
            f"{name} must be a BlockArray, or codes with formats=(a's, b's); "
            f"got {type(codes).__name__}"
        )
    fmt = get_format(fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"{name} in {fmt.name} must be a BlockArray, got {type(codes).__name__}")
    array = native(codec.code_array(codes, codec.elementwise(fmt)))
    numbers = _Numbers.of(fmt, flush)
    unsigned = array.view(f"u{array.dtype.itemsize}")
    return _Operand(unsigned, fmt, {}, None, numbers, numbers.fraction_bits)


def _plain_operand(b: BlockArray) -> _Operand:
    """Of integers in blocks, for the fMAC's own kernel."""
    return _Operand(native(b.codes), b.format, b.blocks, b.scales)


def _block_operand(b: BlockArray, flush: bool) -> _Operand:
    element, scale = (_Numbers.of(part, flush) for part in (b.format.element, b.format.scale))
    codes, own = native(b.codes), b.scales
    if b.format.micro_size is not None:
        codes, own, element = _with_micro_exponents(b, element)
    fraction_bits, scale_bits, tensor = element.fraction_bits + scale.fraction_bits, 1, 1.0
    if b.format.scale.mantissa_bits:
        scale_bits += scale.fraction_bits
    if b.tensor_scale is not None:
        tensor = float(b.tensor_scale)
        factor = _take_apart(np.array([tensor]), -149, 23)
        table = scale.table.copy()
        table["magnitude"] *= factor["magnitude"]
        table["exponent"] += factor["exponent"]
        low, high = _range(table)
        scale = replace(scale, table=table, low=low, high=high)
        fraction_bits += 23
    return _Operand(
        codes, b.format, b.blocks, own, element, fraction_bits, scale_numbers=scale,
        scale_bits=scale_bits, tensor=tensor,
    )  # fmt: skip


def _with_micro_exponents(
    b: BlockArray, element: _Numbers
) -> tuple[NDArray[Any], NDArray[Any], _Numbers]:
    """Element codes with the bit of their micro-exponent on top, the codes of the blocks' scales,
    and how the former become numbers: the bit halves them.
    """
    fmt, axis = b.format, b.axis
    assert isinstance(axis, int)
    assert isinstance(fmt.block_size, int)
    assert fmt.micro_size is not None
    width = fmt.scale.bits
    place = np.arange(b.shape[axis])
    place = place.reshape([-1 if n == axis else 1 for n in range(b.ndim)])
    micro: NDArray[Any] = (b.scales >> np.uint32(width)).take(place.ravel() // fmt.block_size, axis)
    micro = micro >> (place % fmt.block_size // fmt.micro_size) & 1
    codes = (b.codes | micro << fmt.bits).astype(np.uint32)
    code = np.arange(2 << fmt.bits)
    table = np.zeros(code.shape, kernels.NUMBER)
    table["magnitude"] = code & ((1 << element.bits) - 1)
    table["negative"] = code >> element.bits & 1
    table["exponent"] = element.exponent - (code >> fmt.bits)
    own = b.scales & np.array((1 << width) - 1, b.scales.dtype)
    fraction_bits = element.fraction_bits
    return codes, own, _Numbers("table", fmt.bits + 1, 0, table, fraction_bits, *_range(table))


# --- one product ----------------------------------------------------------------------------


class _Task:
    """The checked arguments of a product."""

    def __init__(
        self, a: Any, b: Any, formats: Formats | None, accumulator: str | Accumulator, dtype: Any
    ) -> None:
        self.packed = tuple(x if isinstance(x, PackedOperand) else None for x in (a, b))
        a, b = (x.blocks if isinstance(x, PackedOperand) else x for x in (a, b))
        given = (None, None) if formats is None else formats
        pair = isinstance(given, (tuple, list)) or (
            isinstance(given, Sequence) and not isinstance(given, (str, bytes))
        )
        if not pair or len(given) != 2:
            raise TypeError(f"formats must be a pair, one of a and one of b, got {formats!r}")
        operands = (("a", a, _format(a, given[0])), ("b", b, _format(b, given[1])))
        names: list[Format] = []
        for name, x, fmt in operands:
            if isinstance(x, BlockArray):
                if fmt is not None and get_format(fmt) != x.format:
                    raise ValueError(f"{name} is in {x.format.name}, got {fmt!r} for it in formats")
                names.append(x.format)
            elif fmt is None:
                _code_operand(name, x, fmt, False)  # raises
            else:
                names.append(get_format(fmt))
        if isinstance(accumulator, Accumulator):
            self.accumulator = accumulator
        else:
            self.accumulator = Accumulator.preset(accumulator, *names)
        self.dtype = self._result_dtype(dtype)
        self.fmac = (
            self.accumulator == PRESETS["fmac"]["blocks"]
            and self.dtype == np.float32
            and isinstance(a, BlockArray)
            and isinstance(b, BlockArray)
            and has_integer_kernel(a, b)
        )
        if self.fmac:
            self.a, self.b = _plain_operand(a), _plain_operand(b)
            return
        flush = self.accumulator.subnormals == "flush"
        self.a, self.b = (
            _block_operand(x, flush)
            if isinstance(x, BlockArray)
            else _code_operand(name, x, fmt, flush)
            for name, x, fmt in operands
        )

    def _result_dtype(self, dtype: Any) -> np.dtype[Any]:
        result = self.accumulator.result
        if dtype is None:
            return np.dtype("float32" if result is None or result.fits("float32") else "float64")
        wanted: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
        if wanted.name not in _RESULTS:
            raise TypeError(f"dtype must be one of {', '.join(_RESULTS)}, got {wanted}")
        if result is not None and not result.fits(wanted.name):
            raise TypeError(
                f"{wanted} cannot hold every value of {result.name}; {result.smallest_dtype} is "
                "the smallest type that can"
            )
        return wanted

    def check_depth(self, a: _Operand, b: _Operand, b_axis: int = -1) -> None:
        """Check what the accumulator asks of the depth."""
        depth, order = a.shape[-1], self.accumulator.order
        assert b.shape[b_axis] == depth
        if isinstance(order, tuple) and sum(order) != depth:
            raise ValueError(
                f"the lengths in the accumulator's order must add up to the depth {depth}, got "
                f"{sum(order)}"
            )
        short = [x.group for x in (a, b) if x.group and x.group < depth]
        if self.accumulator.scales == "end" and short:
            raise ValueError(
                f"scales='end' takes one block along the depth {depth}, got blocks of {min(short)}"
            )

    def start(self, c: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[Any]:
        """The result's array, with the totals before the first step."""
        self.fresh = c is None and self.fmac  # the kernel starts from 0 itself
        if c is None:
            return (np.empty if self.fresh else np.zeros)(shape, self.dtype)
        if isinstance(c, np.ma.MaskedArray):
            raise TypeError("c must not be a masked array; fill it first")
        given = np.asarray(c, self.dtype if isinstance(c, (int, float)) else None)
        if given.dtype.newbyteorder("=") not in (np.float32, self.dtype):
            allowed = " or ".join(dict.fromkeys(["float32", self.dtype.name]))
            raise TypeError(f"c must be {allowed}, got {given.dtype}")
        try:
            given = np.broadcast_to(given, shape)
        except ValueError:
            raise ValueError(
                f"c must broadcast to the result's shape {shape}, got {given.shape}"
            ) from None
        with np.errstate(all="ignore"):
            return given.astype(self.dtype, order="C")

    def run(
        self, a: _Operand, b: _Operand, totals: NDArray[Any],
        packings: Sequence[NDArray[Any] | None] = (None, None), first_row: int = 0,
    ) -> None:  # fmt: skip
        """Accumulate in totals (batch, rows, columns); a is (batch, rows, depth), b likewise.

        Packings: of each of the batch's matrices; a's rows start with `first_row` of its packing.
        """
        if self.fmac:
            self._run_fmac(a, b, totals, packings, first_row)
            return
        fmt = self.accumulator.result
        register = _TO_ODD if fmt else _RESULTS[self.dtype.name]
        if fmt is None and self.dtype != np.float16:
            kernels.accumulate(a, b, self.accumulator, register, totals)
            return
        # by parts: they are wider than the result
        batch, rows, columns = totals.shape
        height = max(1, _PART // max(1, columns))
        for i, start in itertools.product(range(batch), range(0, rows, height)):
            at = slice(i, i + 1), slice(start, start + height)
            part = totals[at].astype(np.float64 if fmt else np.float32)
            kernels.accumulate(a.at(*at), b.at(at[0]), self.accumulator, register, part)
            if fmt is not None:
                part = codec.quantize(
                    part, fmt, rounding=self.accumulator.result_rounding,
                    overflow=self.accumulator.result_overflow,
                )  # fmt: skip
            with np.errstate(all="ignore"):
                totals[at] = part

    def _run_fmac(
        self, a: _Operand, b: _Operand, totals: NDArray[Any],
        packings: Sequence[NDArray[Any] | None], first_row: int,
    ) -> None:  # fmt: skip
        if all(packed is None for packed in packings):
            kernels.matmul_blocks(a, b, totals, fresh=self.fresh)
            return
        for i in range(len(totals)):
            one = slice(i, i + 1)
            a_packing, b_packing = (packed if packed is None else packed[i] for packed in packings)
            kernels.matmul_blocks(
                a.at(one), b.at(one), totals[one], a_packing, b_packing, first_row, self.fresh
            )


def _rows_of(
    task: _Task, a: _Operand, b: _Operand, totals: NDArray[Any],
    packings: Sequence[NDArray[Any] | None], start: int, stop: int,
) -> None:  # fmt: skip
    """Rows start to stop of a batch of matrices."""
    rows = slice(None), slice(start, stop)
    task.run(a.at(*rows), b, totals[rows], packings, start)
