"""Dot products and matrix products of encoded operands, with a stated accumulator."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib._core import kernels
from fmtlib.arguments import whole_number
from fmtlib.blocks import BlockArray, for_kernels
from fmtlib.formats import BlockFormat, FixedFormat

# FAST's fMAC multiplies groups of 16 chunks of 2 bits in one pass.
FMAC_GROUP = 16
FMAC_CHUNK_BITS = 2

# The accumulators of this module: two names of one thing for block operands.
ACCUMULATORS = ("float32", "fmac")

_MAX_MANTISSA = 8
# Below this many multiplications per worker a thread costs more than it saves.
_WORKER_SHARE = 1 << 20


def dot(
    a: BlockArray,
    b: BlockArray,
    *,
    accumulator: Literal["float32", "fmac"] = "float32",
    c: ArrayLike | None = None,
) -> Any:
    """Dot products along the last axis of two block arrays.

    Parameters
    ----------
    a, b : BlockArray
        Of the same shape, blocked along the last axis with the same block size; mantissa widths of
        1 to 8 bits, in any mix.
    accumulator : {"float32", "fmac"}
        See `matmul`.
    c : array_like of float32, optional
        Where the totals start, of the result's shape; zeros by default.

    Returns
    -------
    ndarray or scalar of float32
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
    """
    _check(a, b, accumulator)
    if a.shape != b.shape:
        raise ValueError(f"dot needs operands of one shape, got {a.shape} and {b.shape}")
    _check_axes(a, a.ndim - 1, b, b.ndim - 1)
    depth, shape = a.shape[-1], a.shape[:-1]
    total = _start(c, shape)
    flat = total.reshape(-1)
    count = a.scales.shape[-1]
    a_codes, b_codes = (x.codes.reshape(flat.size, depth) for x in (a, b))
    a_scales, b_scales = (x.scales.reshape(flat.size, count) for x in (a, b))
    for i in range(flat.size):
        kernels.matmul_blocks(
            for_kernels(a_codes[i : i + 1]),
            for_kernels(a_scales[i : i + 1]),
            a.format,
            for_kernels(b_codes[i].reshape(depth, 1)),
            for_kernels(b_scales[i].reshape(count, 1)),
            b.format,
            flat[i : i + 1].reshape(1, 1),
        )
    return total if shape else total[()]


def matmul(
    a: BlockArray,
    b: BlockArray,
    *,
    accumulator: Literal["float32", "fmac"] = "float32",
    c: ArrayLike | None = None,
    workers: int | None = None,
) -> NDArray[np.float32]:
    """Matrix product of two block arrays, as FAST's fMAC forms it.

    Within a pair of blocks the products of the signed integers are summed exactly; the sum, times
    both scales, is rounded once to float32 (ties to even) and added in float32 to the total, block
    after block along the reduction axis.  So the bits of the result are defined: they do not depend
    on instruction set, tiling or threads.

    Parameters
    ----------
    a : BlockArray
        Shape (..., M, K), blocked along its last axis.
    b : BlockArray
        Shape (..., K, N), blocked along its last axis but one, with a's block size.  Leading
        dimensions broadcast as in `numpy.matmul`.  Mantissa widths are 1 to 8 bits, in any mix.
    accumulator : {"float32", "fmac"}
        Two names of the accumulator described above.
    c : array_like of float32, optional
        Where the totals start; zeros by default.
    workers : int, optional
        Threads that share the rows of a large product; 1 by default.

    Returns
    -------
    ndarray of float32
        Shape (..., M, N).  A NaN block makes every product it enters NaN.

    Raises
    ------
    TypeError
        If an operand is not a BlockArray.
    ValueError
        If shapes, blocked axes or block sizes do not match, a mantissa has more than 8 bits, or the
        accumulator is unknown.

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
    """
    _check(a, b, accumulator)
    _check_matrices(a, b)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    rows, depth = a.shape[-2:]
    columns = b.shape[-1]
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    total = _start(c, (*batch, rows, columns))
    parts = max(1, min(workers, rows, rows * depth * columns // _WORKER_SHARE))
    bounds = [rows * i // parts for i in range(parts + 1)]

    def broadcast(x: NDArray[Any]) -> NDArray[Any]:
        return np.broadcast_to(x, (*batch, *x.shape[-2:]))

    a_codes, a_scales = broadcast(a.codes), broadcast(a.scales)
    b_codes, b_scales = broadcast(b.codes), broadcast(b.scales)
    for index in np.ndindex(batch):
        b_matrix = for_kernels(b_codes[index])
        b_scale = for_kernels(b_scales[index])

        def run(
            start: int,
            stop: int,
            index: tuple[int, ...] = index,
            b_matrix: NDArray[Any] = b_matrix,
            b_scale: NDArray[Any] = b_scale,
        ) -> None:
            kernels.matmul_blocks(
                for_kernels(a_codes[index][start:stop]),
                for_kernels(a_scales[index][start:stop]),
                a.format,
                b_matrix,
                b_scale,
                b.format,
                total[index][start:stop],
            )

        if parts == 1:
            run(0, rows)
        else:
            with ThreadPoolExecutor(parts) as pool:
                list(pool.map(run, bounds[:-1], bounds[1:]))
    return total


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
    _check(a, b, "fmac")
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
    assert isinstance(size, int)  # tiles have two axes, which the check above refuses
    whole, rest = divmod(a.shape[-1], size)
    groups = whole * -(-size // FMAC_GROUP) + -(-rest // FMAC_GROUP)
    return results * groups * passes_per_group(a.format, b.format)


def passes_per_group(a: BlockFormat, b: BlockFormat) -> int:
    """Passes of the fMAC for one pair of groups of 16 elements."""
    return -(-a.mantissa_bits // FMAC_CHUNK_BITS) * -(-b.mantissa_bits // FMAC_CHUNK_BITS)


def _check(a: object, b: object, accumulator: str) -> None:
    for name, operand in (("a", a), ("b", b)):
        if not isinstance(operand, BlockArray):
            raise TypeError(f"{name} must be a BlockArray, got {type(operand).__name__}")
        fmt = operand.format
        if not isinstance(fmt.element, FixedFormat) or (
            fmt.element.encoding != "sign_magnitude" or fmt.micro_size is not None
        ):
            raise TypeError(f"{name} is in {fmt.name}, products take block floating point")
        if operand.format.mantissa_bits > _MAX_MANTISSA:
            raise ValueError(
                f"{name} has {operand.format.mantissa_bits} mantissa bits; products take 1 to "
                f"{_MAX_MANTISSA}"
            )
    if accumulator not in ACCUMULATORS:
        raise ValueError(
            f"accumulator must be one of {', '.join(ACCUMULATORS)}, got {accumulator!r}"
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
    if a.format.block_size != b.format.block_size:
        raise ValueError(
            f"the operands have blocks of {a.format.block_size} and {b.format.block_size}; "
            "they must be the same"
        )


def _start(c: ArrayLike | None, shape: tuple[int, ...]) -> NDArray[np.float32]:
    """The totals before the first block."""
    if c is None:
        return np.zeros(shape, np.float32)
    if isinstance(c, np.ma.MaskedArray):
        raise TypeError("c must not be a masked array; fill it first")
    given = np.asarray(c)
    if given.dtype != np.float32:
        raise TypeError(f"c must be float32, got {given.dtype}")
    if given.shape != shape:
        raise ValueError(f"c must have the result's shape {shape}, got {given.shape}")
    return np.array(given, np.float32, order="C")
