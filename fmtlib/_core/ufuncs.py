"""The ufuncs of the elementwise formats, made when first asked for and kept.

A ufunc pickles as "the attribute of this name in that module", so every ufunc made here is an
attribute of this module under its own name, and asking for such a name makes it: a ufunc that was
pickled in one process is rebuilt in another from its name alone, run-time formats included.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any, Literal

import numpy as np

from fmtlib._core import kernels
from fmtlib.formats import (
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    IntegerFormat,
    get_format,
)

Verb = Literal["encode", "decode", "quantize"]
VERBS: tuple[Verb, ...] = ("encode", "decode", "quantize")
Elementwise = FloatFormat | FixedFormat | IntegerFormat

_lock = threading.Lock()
_made: dict[str, np.ufunc] = {}

# Integers and long double as float64, rounded to odd: what a further rounding, to at most 51 bits,
# makes of them is the exact value's.
to_odd: np.ufunc = kernels.make_to_odd()
_with_ml_dtypes: set[str] = set()


def get_ufunc(
    verb: Verb,
    fmt: Elementwise,
    rounding: str = "nearest_even",
    overflow: str = "saturate",
    random_bits: int = 32,
    scaled: bool = False,
) -> np.ufunc:
    """Return the one ufunc of these arguments, which the caller has validated."""
    stem = f"{verb}_scaled" if scaled else verb
    name = f"{stem}__{fmt.name}"
    if verb != "decode":
        name += f"__{rounding}__{overflow}"
        if rounding in STOCHASTIC:
            name += f"__r{random_bits}"
    found = _made.get(name)
    if found is not None and (name in _with_ml_dtypes or "ml_dtypes" not in sys.modules):
        return found
    with _lock:
        if name not in _made:
            doc = _doc(verb, fmt, rounding, overflow, scaled)
            _made[name] = kernels.make_ufunc(
                name, doc, verb, fmt, rounding, overflow, random_bits, scaled
            )
        if name not in _with_ml_dtypes and "ml_dtypes" in sys.modules:
            try:
                _meet_ml_dtypes(name, verb, fmt, rounding, overflow, random_bits, scaled)
            except BaseException:  # no memory, perhaps: a ufunc that half knows them is made anew
                del _made[name]
                raise
        return _made[name]


def _unlock() -> None:
    """In the child of a fork: a lock that another thread held there is nobody's to release."""
    global _lock
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_unlock)


def _meet_ml_dtypes(
    name: str,
    verb: Verb,
    fmt: Elementwise,
    rounding: str,
    overflow: str,
    random_bits: int,
    scaled: bool,
) -> None:
    """Give the ufunc a loop for ml_dtypes' bfloat16; make it refuse ml_dtypes' integers."""
    ml_dtypes = sys.modules["ml_dtypes"]
    bfloat16: Any = getattr(ml_dtypes, "bfloat16", None)
    if bfloat16 is None or not hasattr(ml_dtypes, "__version__"):  # still being imported
        return
    integers = (getattr(ml_dtypes, n, None) for n in ("int2", "int4", "uint2", "uint4"))
    kernels.refuse(_made[name], [type(np.dtype(t)) for t in integers if t is not None])
    if not scaled and (verb == "encode" or (verb == "quantize" and fmt.fits("bfloat16"))):
        dtype = np.dtype(bfloat16)
        kernels.register_bfloat16(_made[name], verb, fmt, rounding, overflow, random_bits, dtype)
    _with_ml_dtypes.add(name)


def _doc(verb: Verb, fmt: Elementwise, rounding: str, overflow: str, scaled: bool) -> str:
    what = {
        "encode": f"Codes of {fmt.name} for real values",
        "quantize": f"Nearby values of {fmt.name} for real values",
        "decode": f"Values of {fmt.name} codes; bits beyond the format's are ignored",
    }[verb]
    how = "" if verb == "decode" else f", {rounding}, {overflow}"
    scale = (
        "\n\nThe second input is a float64 scale, the third an int64 zero point." if scaled else ""
    )
    words = (
        "\n\nThe last input is the uint32 random word of each element, of which the top bits count."
        if rounding in STOCHASTIC and verb != "decode"
        else ""
    )
    return f"{what}{how}.{scale}{words}"


def __getattr__(name: str) -> np.ufunc:
    """Rebuild a ufunc from its name."""
    stem, *parts = name.split("__")
    verb = stem.removesuffix("_scaled")
    try:
        if verb not in VERBS or not parts:
            raise ValueError(name)
        fmt = get_format(parts[0])
        if isinstance(fmt, BlockFormat) or fmt.name != parts[0]:
            raise ValueError(name)
        rounding, overflow = "nearest_even", "saturate"
        random_bits = 32
        if verb != "decode":
            rounding, overflow = parts[1:3]
            if rounding not in ROUNDINGS or overflow not in fmt.overflows:
                raise ValueError(name)
            if rounding in STOCHASTIC:
                random_bits = int(parts[3].removeprefix("r"))
        found = get_ufunc(verb, fmt, rounding, overflow, random_bits, stem != verb)
        if found.__name__ != name:
            raise ValueError(name)
    except (ValueError, IndexError):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    return found
