"""Vectors for every rounding and overflow of an operation."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fmtlib.arguments import not_one_of
from fmtlib.codec import Mode
from fmtlib.formats import ROUNDINGS, STOCHASTIC, Format, get_format
from fmtlib.vectors.blocks import block_vectors
from fmtlib.vectors.dots import dot_vectors
from fmtlib.vectors.elementwise import decode_vectors, encode_vectors, quantize_vectors
from fmtlib.vectors.files import Vectors
from fmtlib.vectors.lfsr import LFSR

#: Name → what makes a set of it.
OPERATIONS: dict[str, Callable[..., Vectors]] = {
    "encode": encode_vectors,
    "decode": decode_vectors,
    "quantize": quantize_vectors,
    "bfp": block_vectors,
    "dot": dot_vectors,
}


def every_mode(
    fmt: str | Format,
    op: str,
    *,
    roundings: Sequence[str] | None = None,
    overflows: Sequence[str] | None = None,
    random_bits: int | None = None,
    lfsr: LFSR | None = None,
    **arguments: Any,
) -> Iterator[Vectors]:
    """Sets for every rounding and overflow that an operation has.

    Parameters
    ----------
    fmt : str or Format
    op : {"encode", "decode", "quantize", "bfp", "dot"}
        Which of the functions here makes the sets.
    roundings, overflows : sequence of str, optional
        Those wanted; all that the format takes, but overflow "raise", by default.
    random_bits, lfsr
        For the stochastic ones among the roundings.
    arguments
        What else that function takes.

    Yields
    ------
    Vectors
        Rounding by rounding.

    Raises
    ------
    TypeError
        For arguments that the operation does not take.
    ValueError
        For unknown operations; and what the functions raise.

    Examples
    --------
    >>> from fmtlib.vectors import every_mode
    >>> for vectors in every_mode("int8", "encode", roundings=["down"], count=0):
    ...     print(vectors.name)
    int8-encode-down-saturate
    """
    if op not in OPERATIONS:
        raise ValueError(not_one_of("op", op, OPERATIONS))
    make = OPERATIONS[op]
    allowed = inspect.signature(make).parameters
    modes = {"rounding": roundings, "overflow": overflows}
    noise = {"random_bits": random_bits, "lfsr": lfsr}
    given = {name for name, value in {**modes, **noise}.items() if value is not None}
    for name in (*given, *arguments):
        if name not in allowed:
            raise TypeError(f"vectors of {op} take no {name}")
    if "rounding" not in allowed:
        yield make(fmt, **arguments)
        return
    wanted = ROUNDINGS if roundings is None else roundings
    if given & set(noise) and not set(wanted) & set(STOCHASTIC):
        raise ValueError(f"random_bits and lfsr need a stochastic rounding, got {list(wanted)}")
    ways: Sequence[dict[str, str]] = [{}]
    if "overflow" in allowed:
        every = [name for name in get_format(fmt).overflows if name != "raise"]
        ways = [{"overflow": name} for name in (every if overflows is None else overflows)]
    for rounding in wanted:  # all are checked before the first set is made
        for way in ways:
            Mode.of(get_format(fmt), rounding, way.get("overflow", "saturate"), None)
    for rounding in wanted:
        of_noise = noise if rounding in STOCHASTIC else {}
        for way in ways:
            yield make(fmt, rounding=rounding, **way, **of_noise, **arguments)
