"""Products of operands that are dask arrays, or BlockArrays of them: chunk by chunk of the result.

The reduction lies in one chunk, so every result is added up in the order that it has in NumPy's
arrays.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from fmtlib import chunked
from fmtlib.arguments import as_array
from fmtlib.blocks import BlockArray, scale_shape
from fmtlib.formats import BlockFormat

# Of an axis: what it is called where operands share it.
Labels = tuple[str, ...]
_DEPTH = "depth"


class _Kind(NamedTuple):
    """What is no array of an operand: nothing, or the format and axis of a BlockArray."""

    fmt: BlockFormat | None
    axis: int | tuple[int, int] | None
    arrays: int

    def operand(self, parts: Sequence[Any]) -> Any:
        """The operand of some chunks."""
        if self.fmt is None or self.axis is None:
            return parts[0]
        tensor = np.float32(parts[2]) if len(parts) == 3 else None
        return BlockArray(parts[0], parts[1], self.fmt, self.axis, tensor)

    def empty(self, shape: tuple[int, ...], dtype: Any) -> Any:
        """An operand of zeros, to ask a function about."""
        codes = np.zeros(shape, dtype)
        if self.fmt is None or self.axis is None:
            return codes
        scales = np.zeros(scale_shape(shape, self.axis, self.fmt.block_size), self.fmt.scale_dtype)
        tensor = np.float32(1) if self.fmt.tensor_scale else None
        return BlockArray(codes, scales, self.fmt, self.axis, tensor)


def are_lazy(a: Any, b: Any) -> bool:
    """Whether an operand is a dask array, or a BlockArray of dask arrays."""
    return _is_lazy(a) or _is_lazy(b)


def _is_lazy(operand: Any) -> bool:
    if isinstance(operand, BlockArray):
        return operand.is_lazy
    return chunked.dask_array(operand) is not None


def matmul(function: Callable[..., Any], a: Any, b: Any, c: Any, **options: Any) -> Any:
    """The dask array of `fmtlib.matmul`, which is the function."""

    def labels(ndim: int, last: Labels, alone: Labels) -> Labels:
        return alone if ndim == 1 else (*(f"batch {n:02}" for n in range(ndim - 2, 0, -1)), *last)

    of_a = labels(np.ndim(_codes(a)), ("row", _DEPTH), (_DEPTH,))
    of_b = labels(np.ndim(_codes(b)), (_DEPTH, "column"), (_DEPTH,))
    longer = of_a if len(of_a) >= len(of_b) else of_b
    batch = [label for label in longer if label.startswith("batch")]
    ends = [end for end in ("row", "column") if end in of_a + of_b]
    return _multiply(function, a, b, c, of_a, of_b, (*batch, *ends), options)


def dot(function: Callable[..., Any], a: Any, b: Any, c: Any, **options: Any) -> Any:
    """The dask array of `fmtlib.dot`, which is the function."""
    if _codes(a).shape != _codes(b).shape:
        raise ValueError(
            f"dot needs operands of one shape, got {_codes(a).shape} and {_codes(b).shape}"
        )
    rows = tuple(f"row {n:02}" for n in range(np.ndim(_codes(a)) - 1))
    return _multiply(function, a, b, c, (*rows, _DEPTH), (*rows, _DEPTH), rows, options)


def _codes(operand: Any) -> Any:
    if isinstance(operand, BlockArray):
        return operand.codes
    held = chunked.dask_array(operand)
    return as_array(operand) if held is None else held


def _multiply(
    function: Callable[..., Any],
    a: Any,
    b: Any,
    c: Any,
    of_a: Labels,
    of_b: Labels,
    of_result: Labels,
    options: dict[str, Any],
) -> Any:
    da: Any = import_module("dask.array")
    cuts = {
        label: own
        for operand, labels in ((a, of_a), (b, of_b))
        if _is_lazy(operand)
        for label, own in zip(labels, _codes(operand).chunks, strict=False)
        if label != _DEPTH
    }
    pairs: list[Any] = []
    kinds, empty = [], []
    lengths: dict[str, tuple[int, ...]] = {}
    for name, operand, labels in (("a", a, of_a), ("b", b, of_b)):
        arrays, kind = _arrays(da, operand)
        if not _is_lazy(operand):
            arrays = [_cut(array, labels, cuts) for array in arrays]
        codes = arrays[0]
        if not labels or not codes.ndim:
            raise ValueError("products need operands with at least one dimension, got none")
        chunked.check_known(codes, "a product")
        for axis, (label, own) in enumerate(zip(labels, codes.chunks, strict=True)):
            if label == _DEPTH and len(own) > 1:
                raise ValueError(
                    f"{name} has {len(own)} chunks along its reduction axis {axis}, which must lie "
                    f"in one: {name}.rechunk({{{axis}: -1}})"
                )
            known = lengths.setdefault(label, own)
            if known == (1,):
                lengths[label] = own
            elif own not in (known, (1,)):
                raise ValueError(f"a and b have chunks {known} and {own} along a common axis")
        pairs += [one for array in arrays for one in (array, labels if array.ndim else ())]
        kinds.append(kind)
        depth = codes.shape[labels.index(_DEPTH)]
        none = tuple(depth if label == _DEPTH else 0 for label in labels)
        empty.append(kind.empty(none, codes.dtype))
    dtype = np.asarray(function(*empty, **options)).dtype  # which checks the arguments, too
    chunks = tuple(lengths[label] for label in of_result)
    if c is not None:
        start = da.broadcast_to(da.asarray(c), tuple(map(sum, chunks))).rechunk(chunks)
        pairs += [start, of_result]
    return da.blockwise(
        partial(_of_chunks, function=function, kinds=kinds, options=options),
        of_result,
        *pairs,
        dtype=dtype,
        concatenate=True,
        align_arrays=False,
        meta=np.empty((0,) * len(of_result), dtype),
    )


def _arrays(da: Any, operand: Any) -> tuple[list[Any], _Kind]:
    """The dask arrays that an operand consists of, and what else it is."""
    if not isinstance(operand, BlockArray):
        return [da.asarray(_codes(operand))], _Kind(None, None, 1)
    arrays = [da.asarray(operand.codes), da.asarray(operand.scales)]
    if operand.tensor_scale is not None:
        arrays.append(da.asarray(operand.tensor_scale))
    return arrays, _Kind(operand.format, operand.axis, len(arrays))


def _cut(array: Any, labels: Labels, cuts: Mapping[str, tuple[int, ...]]) -> Any:
    """An array of NumPy in chunks as those of the other operand, along the axes they share."""
    wanted = {
        axis: cuts[label]
        for axis, (label, length) in enumerate(zip(labels, array.shape, strict=False))
        if label in cuts and length == sum(cuts[label])
    }
    return array.rechunk(wanted) if wanted else array


def _of_chunks(
    *parts: Any, function: Callable[..., Any], kinds: Sequence[_Kind], options: dict[str, Any]
) -> NDArray[Any]:
    count = kinds[0].arrays
    rest = count + kinds[1].arrays
    operands = kinds[0].operand(parts[:count]), kinds[1].operand(parts[count:rest])
    start = parts[rest] if len(parts) > rest else None
    found: NDArray[Any] = np.asarray(function(*operands, c=start, **options))
    return found
