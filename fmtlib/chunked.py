"""Arrays of dask: what functions of NumPy's arrays make of them, chunk by chunk.

Functions are given to what is here; each chunk is handed to its function together with its place in
the whole array, so that random words, scales and blocks are those of the whole.  dask is imported
only when there is an array of it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib import import_module
from itertools import accumulate, pairwise, product
from typing import Any, TypeAlias, TypeVar

import numpy as np

from fmtlib.arguments import is_lazy
from fmtlib.random_words import Words, seed_of_part

T = TypeVar("T")
# Where a chunk is: a slice of each axis, None of those whose chunks have unknown lengths.
Place: TypeAlias = tuple[slice | None, ...]
Chunks: TypeAlias = tuple[tuple[int, ...], ...]


def dask_array(x: Any) -> Any:
    """The dask array that x is, or that an xarray.DataArray holds; None if there is none.

    Examples
    --------
    >>> dask_array(np.ones(3)) is None
    True
    """
    if isinstance(x, np.ndarray) or not hasattr(x, "__dask_graph__"):
        return None
    if is_lazy(x):
        return x
    held = getattr(x, "data", None)
    return held if is_lazy(held) else None


def rewrapped(x: Any, found: Any) -> Any:
    """What was found of the dask array in x, in x's container: xarray's, or none."""
    return found if is_lazy(x) else x.copy(data=found)


def computed(x: T) -> T:
    """What is lazy in a dataclass or an array, computed at once."""
    dask: Any = import_module("dask")
    found: T = dask.compute(x)[0]
    return found


# --- lengths and places -------------------------------------------------------------------------


def _known(lengths: Sequence[float]) -> bool:
    return all(n == n for n in lengths)  # unknown ones are NaN


def check_known(x: Any, what: str) -> None:
    """Refuse arrays whose chunks have unknown lengths."""
    if not _known(x.shape):
        raise TypeError(
            f"{what} needs an array of known shape, got {x.shape}; see "
            "dask.array.Array.compute_chunk_sizes"
        )


def check_whole(x: Any, blocks: Mapping[int, int], name: str = "x") -> None:
    """Refuse chunks that cut blocks: along an axis all chunks but the last hold whole ones."""
    if blocks:
        check_known(x, "what has blocks")
    for axis, size in blocks.items():
        lengths = x.chunks[axis]
        if any(n % size for n in lengths[:-1]):
            whole = -(-max(lengths) // size) * size
            raise ValueError(
                f"{name} has chunks of {lengths} along axis {axis}, which cut blocks of {size}; "
                f"{name}.rechunk({{{axis}: {whole}}}) would not"
            )


def shortened(chunks: Chunks, blocks: Mapping[int, int]) -> Chunks:
    """Chunks of what has one entry for every block along some axes.

    Examples
    --------
    >>> shortened(((3, 3), (32, 20)), {1: 16})
    ((3, 3), (2, 2))
    """
    return tuple(
        tuple(-(-n // blocks.get(axis, 1)) for n in lengths) for axis, lengths in enumerate(chunks)
    )


def places(chunks: Chunks) -> list[Place]:
    """The place of every chunk, in C order."""
    along: list[list[slice | None]] = [
        [slice(*run) for run in pairwise(accumulate(lengths, initial=0))]
        if _known(lengths)
        else [None] * len(lengths)
        for lengths in chunks
    ]
    return list(product(*along))


def call_at(
    *parts: Any,
    function: Callable[..., T],
    words: Words | None,
    scaling: Mapping[str, Any],
    place: Place,
    shape: tuple[int, ...],
) -> T:
    """Call a function for the chunks at a place, with their share of what is that of the whole.

    The arguments are those of `map_chunks`, and a place in an array of a shape.
    """
    keywords = dict(scaling)
    for name in ("scale", "zero_point"):
        if np.ndim(keywords.get(name, 0)):
            keywords[name] = np.asarray(keywords[name])[place[keywords["axis"]]]
    if words is not None:
        seed = words.seed, words.stream
        keywords["seed"] = seed_of_part(seed, place, shape)  # type: ignore[arg-type]
    return function(*parts, **keywords)


def _call_where_told(*parts: Any, block_info: Any, **keywords: Any) -> Any:
    """The same where dask tells the place."""
    told = block_info[0]
    place = tuple(slice(*ends) for ends in told["array-location"])
    return call_at(*parts, place=place, shape=told["shape"], **keywords)


# --- lazy arrays, and results from all chunks ---------------------------------------------------


def map_chunks(
    function: Callable[..., Any],
    x: Any,
    *others: Any,
    dtype: Any,
    chunks: Chunks | None = None,
    words: Words | None = None,
    scaling: Mapping[str, Any] | None = None,
) -> Any:
    """The lazy array of what a function makes of the chunks of x.

    Parameters
    ----------
    function : callable
        Of a chunk of x and those of the others at its place; with `words` it is given `seed`.
        Importable, so that other processes find it.
    x, *others : dask arrays
        Of as many chunks; 0-d ones go to every chunk.
    dtype, chunks
        Of the result; its chunks are as x's unless given.
    words : Words, optional
        Of the whole array.
    scaling : dict, optional
        Further keywords of the function: `scale` and `zero_point`, which are cut as `axis` (counted
        from the front) says where they are arrays.
    """
    scaling = scaling or {}
    if words is not None and (words.shape is not None or words.first):
        raise TypeError("the seed of a part is for NumPy's arrays, not for dask's")
    how = {"dtype": dtype, "chunks": chunks, "meta": np.empty((0,) * x.ndim, dtype)}
    da: Any = import_module("dask.array")
    if words is None and not any(np.ndim(factor) for factor in scaling.values()):
        return da.map_blocks(partial(function, **scaling), x, *others, **how)
    check_known(x, "what goes by the place in the array")
    keywords = {"function": function, "words": words, "scaling": scaling}
    return da.map_blocks(_call_where_told, x, *others, **how, **keywords)


def reduce(
    x: Any,
    function: Callable[..., T],
    combine: Callable[[T, T], T],
    axis: int | None = None,
) -> list[T]:
    """Look at every chunk where it is, and combine what was found two by two.

    The function is given a chunk, its `place` and the `shape` of x.  There is one result, or with
    an axis one for each run of its entries that chunks have, in their order; the order of
    combining depends on the chunks alone.
    """
    dask: Any = import_module("dask")
    join, look = dask.delayed(combine), dask.delayed(function)
    runs: dict[int, list[Any]] = {}
    blocks = x.to_delayed()
    for index, place in zip(np.ndindex(*blocks.shape), places(x.chunks), strict=True):
        run = runs.setdefault(0 if axis is None else index[axis], [])
        run.append(look(blocks[index], place=place, shape=x.shape))
    found = []
    for parts in runs.values():
        while len(parts) > 1:
            pairs = [join(*pair) for pair in zip(parts[::2], parts[1::2], strict=False)]
            parts = pairs + parts[len(parts) & ~1 :]
        found.append(parts[0])
    return list(dask.compute(*found))
