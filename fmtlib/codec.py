"""The three verbs: encode, decode, quantize, for every format; and the ufuncs behind them.

Arguments are checked here, before any kernel runs; the kernels cannot fail.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import blocks, chunked, lazy_blocks
from fmtlib._core import kernels
from fmtlib._core.ufuncs import VERBS, Elementwise, Verb, get_ufunc
from fmtlib.arguments import as_array as _array
from fmtlib.arguments import not_one_of, whole_number
from fmtlib.blocks import BlockArray
from fmtlib.formats import (
    OVERFLOWS,
    ROUNDINGS,
    STOCHASTIC,
    BlockFormat,
    FixedFormat,
    FloatFormat,
    Format,
    IntegerFormat,
    Overflow,
    Rounding,
    get_format,
)
from fmtlib.interop import format_of, from_ml_dtypes
from fmtlib.random_words import Seed, Words, words_of

if TYPE_CHECKING:
    from collections.abc import Callable

_T = TypeVar("_T")

_FLOATS = ("float16", "bfloat16", "float32", "float64", np.dtype(np.longdouble).name)
_INTEGERS = ("int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
# Random words and other arrays on the way are made for this many elements at a time, so that they
# stay in the cache.
_CHUNK = 1 << 15
# From so many elements on a table of all values is soon made up for.
_TABLE_SHARE = 1 << 9
# Below this many elements per worker a thread costs more than it saves.
_WORKER_SHARE = 1 << 16
_NO_ZEROS = np.zeros((), np.int64)


def ufunc(
    verb: Verb,
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    random_bits: int | None = None,
) -> np.ufunc:
    """Return the NumPy ufunc behind an elementwise format, for hot loops and other libraries.

    Parameters
    ----------
    verb : {"encode", "decode", "quantize"}
    fmt : str or Format
        An elementwise format: float, fixed or integer.
    rounding, overflow, random_bits
        As for `encode`; of no meaning to "decode".  With a stochastic rounding the ufunc is
        binary: its second input is the uint32 word of each element.

    Returns
    -------
    numpy.ufunc
        Always the same object for the same arguments; it pickles.  "encode" takes NumPy's integers
        and floats and ml_dtypes' bfloat16; so does "quantize", which widens floats that cannot
        hold the format, and takes integers of types that hold it; "decode" takes codes and
        ignores bits beyond the format's.

    Raises
    ------
    TypeError
        If `fmt` is a block format.
    ValueError
        If an argument is unknown, or `overflow` is "raise": a ufunc can only set NumPy's flags.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.ufunc("encode", "e4m3")(np.float32([1.0, 500.0]))
    array([ 56, 126], dtype=uint8)
    """
    fmt = get_format(fmt)
    if verb not in VERBS:
        raise ValueError(not_one_of("verb", verb, VERBS))
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"block formats are not elementwise and have no ufunc, got {fmt.name}")
    if verb == "decode":
        if (rounding, overflow, random_bits) != ("nearest_even", "saturate", None):
            raise ValueError("decode is exact: it takes no rounding, overflow or random_bits")
        return get_ufunc(verb, elementwise(fmt))
    if overflow == "raise":
        raise ValueError("overflow='raise' is for encode and quantize, not for ufuncs")
    mode = Mode.of(fmt, rounding, overflow, random_bits)
    return get_ufunc(verb, elementwise(fmt), *mode)


def encode(
    x: ArrayLike,
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    seed: Seed = None,
    random_bits: int | None = None,
    axis: int | tuple[int, int] | None = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
    where: ArrayLike = True,
    workers: int | None = None,
) -> Any:
    """Codes of the format's values nearest to x (or as `rounding` says), rounded once.

    Parameters
    ----------
    x : array_like of floats or integers
        Values, any shape and strides: float16, bfloat16, float32, float64, longdouble, int8 to
        int64 and uint8 to uint64.
    fmt : str or Format
        See `get_format`.
    rounding : str
        "nearest_even" (ties to the even code), "nearest_away", "toward_zero", "up" (toward
        +Inf), "down", "to_odd" (what is not exact goes to the neighbour with the odd code), or
        stochastic.  A magnitude with discarded fraction ``f`` of a quantum and a random word of
        r = `random_bits` bits, ``R``, then goes up if

        - "stochastic": ``floor(f * 2**r) + R >= 2**r``, P3109's A, the one in FAST's converter;
        - "stochastic_b": ``floor(f * 2**(r+1)) + 2*R + 1 >= 2**(r+1)``, P3109's B;
        - "stochastic_c": ``rint(f * 2**r) + R >= 2**r``, P3109's C.
    overflow : str
        What a value becomes that is too great after rounding with unbounded exponent:

        - "saturate": the greatest finite value, infinities too; the default;
        - "nonsaturating": infinity, or NaN where the format has no infinity (floats);
        - "wrap": its residue modulo ``2**bits`` (two's complement fixed and integer formats;
          infinities become code 0 and "invalid");
        - "raise": OverflowError, before anything is written; infinities are kept where the format
          has them, NaN into a format without NaN is a ValueError;
        - "p3109_finite", "p3109_propagate", "p3109_none": the saturation modes of the IEEE P3109
          draft.  SatFinite is "saturate"; SatPropagate keeps infinities where the format has them;
          SatNone makes infinities, or the greatest value where the format has none.

        Rounding away from the overflow stops at the greatest value.  Negative values in unsigned
        float formats become 0 where finite values saturate, else NaN.
    seed : int or (int, int), optional
        Seed, or seed and stream, of the random words (Philox4x32-10 counted by the element's index
        in C order, so that results do not depend on chunks, threads or strides); None takes fresh
        entropy.  For a part of a larger array: `seed_of_part`.  Only for stochastic rounding.
    random_bits : int, optional
        Random bits per element, 1 to 32 (the default).  Only for stochastic rounding.
    axis : int or (int, int), optional
        For block formats the axis of the blocks, by default the last, or with tiles the pair of
        axes that ``block_size`` goes along, by default the last two; else the axis that a
        one-dimensional `scale` runs along.
    scale, zero_point : array_like, optional
        Encode ``x / scale`` (the exact quotient, rounded once); with an integer format, add the
        zero point: ``x ≈ scale * (code - zero_point)``.  Scalars, or one per entry of `axis`.
        Not for block formats.
    out : ndarray, optional
        Where to put the codes, of x's shape.  Not for block formats.
    where : array_like of bool, optional
        Where to compute, the rest of `out` is left alone; needs `out`.  Not for block formats.
    workers : int, optional
        Threads that share a large array; 1 by default.  Results do not depend on it.

    Returns
    -------
    ndarray, scalar or BlockArray
        Codes in the format's `code_dtype`, x's shape; for block formats a `BlockArray`.

    Raises
    ------
    TypeError
        For arrays of booleans, complex numbers, objects or strings, and masked arrays.
    ValueError
        For unknown names and arguments out of range.
    OverflowError
        Under ``overflow="raise"``.

    Notes
    -----
    Arrays of libraries that handle ufuncs themselves (pandas, xarray, ...) stay theirs: they are
    handed to the ufunc, without `out` and `where`; block formats take their values as a NumPy
    array.  Arrays of dask stay lazy: every chunk is encoded by itself, with its part of the whole
    array's random words and scales.  Chunks must hold whole blocks; their BlockArray is lazy.

    Every input type rounds once.  Of scaled values and of longdouble, stochastic rounding sees the
    leading 53 bits: to a fixed-point value of k bits its noise then has at most 52 - k bits.

    NaN into a format without NaN gives code 0 and NumPy's "invalid" floating-point error, which
    ``np.errstate`` governs.  A NaN or an infinity in a block makes the block NaN, or raises,
    as the format's `nonfinite` says.

    References
    ----------
    OCP 8-bit Floating Point Specification (OFP8) v1.0, conversion modes; J. Salmon et al.,
    "Parallel random numbers: as easy as 1, 2, 3", SC 2011.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.encode([0.3, -1.5, 1e9], "e4m3")
    array([ 42, 188, 126], dtype=uint8)
    >>> fl.encode([0.3, -1.5, 1e9], "e4m3", overflow="nonsaturating")
    array([ 42, 188, 127], dtype=uint8)
    >>> fl.encode([0.3, -1.5], "int8", scale=0.01)
    array([  30, -127], dtype=int8)
    """
    if (
        type(x) is np.ndarray
        and seed is random_bits is scale is zero_point is workers is None
        and where is True
        and (usual := _usual("encode", fmt, x.dtype, rounding, overflow)) is not None
        and (axis is None or isinstance(usual, _UsualBlocks))
    ):
        return usual(x, out, axis)
    fmt = get_format(fmt)
    mode = Mode.of(fmt, rounding, overflow, random_bits)
    words = mode.words(seed)
    lazy = chunked.dask_array(x)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    if isinstance(fmt, BlockFormat):
        refuse_for_blocks(scale, zero_point)
        if out is not None or where is not True:
            raise TypeError("encode to a block format takes neither out nor where")
        encode_all = blocks.encode_blocks if lazy is None else lazy_blocks.encode_blocks
        values = _values_of(x, lazy, words)
        return encode_all(values, fmt, axis, mode.rounding, mode.random_bits, words, workers)
    fmt = elementwise(fmt)
    if scale is None:
        refuse_scaling(zero_point, axis)
    if lazy is not None:
        _check_real_dtype(lazy.dtype)
        _refuse_out(x, out, where)
        how: dict[str, Any] = {"rounding": rounding, "overflow": overflow}
        how |= {"random_bits": random_bits, "workers": workers}
        return _on_chunks(encode, x, fmt, fmt.code_dtype, words, axis, scale, zero_point, how)
    function = get_ufunc("encode", fmt, *mode, scaled=scale is not None)
    if _is_foreign(x):
        factors = _factors(fmt, getattr(x, "shape", ()), axis, scale, zero_point)
        return _call_foreign(function, mode, words, x, factors, out, where)
    array = _values_of(x, None, words)
    check_out(where, out, fmt.code_dtype, array.shape)
    inputs = (array, *_factors(fmt, array.shape, axis, scale, zero_point))
    return _rounded(function, fmt, mode, words, inputs, out, where, fmt.code_dtype, workers)


def quantize(
    x: ArrayLike,
    fmt: str | Format,
    *,
    rounding: Rounding = "nearest_even",
    overflow: Overflow = "saturate",
    seed: Seed = None,
    random_bits: int | None = None,
    axis: int | tuple[int, int] | None = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
    where: ArrayLike = True,
    workers: int | None = None,
) -> Any:
    """Values of the format nearest to x (or as `rounding` says), in x's own dtype.

    Bit for bit ``decode(encode(x, ...), dtype=x.dtype)``, in one pass unless there is a scale.

    Parameters
    ----------
    x, fmt, rounding, overflow, seed, random_bits, axis, scale, zero_point, workers
        As for `encode`.
    out : ndarray, optional
        Where to put the values, of x's shape and dtype; may be x itself.
    where : array_like of bool, optional
        Where to compute; needs `out`.

    Returns
    -------
    ndarray or scalar
        x's shape and dtype, in native byte order.

    Raises
    ------
    TypeError
        Also if x's dtype cannot hold every value of the format; the message names one that can.
        Integers quantise to formats of integers only.
    ValueError, OverflowError
        As for `encode`.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.quantize(np.float32([0.3, -1.5, 1e9]), "e4m3")
    array([ 3.125e-01, -1.500e+00,  4.480e+02], dtype=float32)
    >>> fl.quantize(np.float32([1.0, 0.3, 0.04, -0.01]), fl.bfp(4))
    array([ 1.  ,  0.25,  0.  , -0.  ], dtype=float32)
    """
    if (
        type(x) is np.ndarray
        and seed is random_bits is scale is zero_point is workers is None
        and where is True
        and (usual := _usual("quantize", fmt, x.dtype, rounding, overflow)) is not None
        and (axis is None or isinstance(usual, _UsualBlocks))
    ):
        return usual(x, out, axis)
    if (
        type(x) is np.ndarray
        and type(scale) is float
        and seed is random_bits is axis is zero_point is out is workers is None
        and where is True
        and (scaled := _usual("quantize", fmt, x.dtype, rounding, overflow, True)) is not None
        and (values := scaled(x, scale)) is not None
    ):
        return values
    fmt = get_format(fmt)
    mode = Mode.of(fmt, rounding, overflow, random_bits)
    words = mode.words(seed)
    lazy = chunked.dask_array(x)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    if lazy is not None:
        _refuse_out(x, out, where)
    elif not isinstance(fmt, BlockFormat) and _is_foreign(x):
        return _quantize_foreign(
            x, elementwise(fmt), mode, words, axis, scale, zero_point, out, where
        )
    array = _values_of(x, lazy, words)
    _check_fits(fmt, array.dtype.name, _OWN_TYPE)
    check_out(where, out, array.dtype, array.shape)
    if isinstance(fmt, BlockFormat):
        refuse_for_blocks(scale, zero_point)
        if lazy is not None:
            return lazy_blocks.quantize_blocks(
                lazy, fmt, axis, mode.rounding, mode.random_bits, words, workers
            )
        into = out if where is True else None
        values = blocks.quantize_blocks(
            array, fmt, axis, mode.rounding, mode.random_bits, words, workers, into
        )
        return values if into is not None else put_into(values, out, where)
    fmt = elementwise(fmt)
    if scale is not None and array.dtype.name in _INTEGERS:
        raise TypeError(f"{array.dtype} cannot hold multiples of a scale; give floats")
    if scale is None:
        refuse_scaling(zero_point, axis)
    if lazy is not None:
        dtype = array.dtype.newbyteorder("=")
        how: dict[str, Any] = {"rounding": rounding, "overflow": overflow}
        how |= {"random_bits": random_bits, "workers": workers}
        return _on_chunks(quantize, x, fmt, dtype, words, axis, scale, zero_point, how)
    if scale is None:
        function = get_ufunc("quantize", fmt, *mode)
        return _rounded(function, fmt, mode, words, (array,), out, where, array.dtype, workers)
    encoder = get_ufunc("encode", fmt, *mode, scaled=True)
    decoder, _ = _scaled_decoder(fmt, array.dtype.newbyteorder("="))

    def requantize(x: Any, scales: Any, zeros: Any, *words: Any, out: Any, where: Any) -> None:
        decoder(encoder(x, scales, zeros, *words), scales, zeros, out=out, where=where)

    inputs = (array, *_factors(fmt, array.shape, axis, scale, zero_point))
    if out is None and where is True and workers == 1 and not mode.stochastic:
        done = _through_table(encoder, decoder, fmt, *inputs)
        if done is not None:
            return done
    return _rounded(
        requantize, fmt, mode, words, inputs, out, where, array.dtype, workers, in_steps=True
    )


@overload
def decode(
    codes: BlockArray,
    fmt: None = None,
    *,
    dtype: Any = None,
    out: NDArray[Any] | None = None,
    workers: int | None = None,
) -> NDArray[Any]: ...
@overload
def decode(
    codes: ArrayLike,
    fmt: str | Format | None = None,
    *,
    dtype: Any = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    axis: int | tuple[int, int] | None = None,
    out: NDArray[Any] | None = None,
    workers: int | None = None,
) -> Any: ...
def decode(
    codes: Any,
    fmt: str | Format | None = None,
    *,
    dtype: Any = None,
    scale: ArrayLike | None = None,
    zero_point: ArrayLike | None = None,
    axis: int | tuple[int, int] | None = None,
    out: NDArray[Any] | None = None,
    workers: int | None = None,
) -> Any:
    """Values of codes, exactly.

    Parameters
    ----------
    codes : array_like of the format's `code_dtype`, or of its ml_dtypes dtype, or BlockArray
    fmt : str or Format, optional
        Not needed for a BlockArray and for arrays of ml_dtypes' dtypes.
    dtype : dtype, optional
        float16, bfloat16, float32, float64 or longdouble; by default the smaller of float32 and
        float64 that holds every value of the format.
    scale, zero_point, axis
        As for `encode`: the result is ``scale * (value - zero_point)``, rounded once to `dtype`.
    out : ndarray, optional
        Where to put the values, of the shape of the codes.
    workers : int, optional
        Threads that share a large array; 1 by default.

    Returns
    -------
    ndarray or scalar
        The values, in the codes' shape.

    Raises
    ------
    TypeError
        If `codes` has another dtype, or `dtype` cannot hold every value of the format.
    ValueError
        If a code is outside the format (``>= 2**bits``); other libraries' arrays are not checked
        (dask's are, when they are computed), bits beyond the format's are ignored there.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> fl.decode(np.uint8([0x38, 0x7e]), "e4m3")
    array([  1., 448.], dtype=float32)
    """
    if (
        type(codes) is np.ndarray
        and dtype is scale is zero_point is None
        and axis is workers is None
        and (out is None or (type(out) is np.ndarray and out.dtype == np.float32))
        and (usual := _usual("decode", fmt, codes.dtype, "nearest_even", "saturate")) is not None
    ):
        return usual(codes, out)
    workers = 1 if workers is None else whole_number("workers", workers, 1)
    if isinstance(codes, BlockArray):
        if fmt is not None and get_format(fmt) != codes.format:
            raise ValueError(f"the array is in {codes.format.name}, got fmt={fmt!r}")
        if not (scale is None and zero_point is None and axis is None):
            raise ValueError("a BlockArray has its own scales and axis")
        wanted = _decode_dtype(codes.format, dtype, out)
        if codes.is_lazy:
            _refuse_out(codes, out, True)
            return lazy_blocks.decode_blocks(codes, wanted, workers)
        return blocks.decode_blocks(codes, wanted, out, workers)
    if not _is_foreign(codes):
        codes = _array(codes)
    if fmt is None:
        fmt = format_of(getattr(codes, "dtype", None))
    if fmt is None:
        raise TypeError("decode needs the format of the codes")
    fmt = get_format(fmt)
    if isinstance(fmt, BlockFormat):
        raise TypeError(f"decode of {fmt.name} takes a BlockArray, got {type(codes).__name__}")
    fmt = elementwise(fmt)
    if (lazy := chunked.dask_array(codes)) is not None:
        if format_of(lazy.dtype) != fmt:
            _check_code_dtype(lazy.dtype, fmt)
        if scale is None:
            refuse_scaling(zero_point, axis)
        _refuse_out(codes, out, True)
        wanted = _decode_dtype(fmt, dtype, None)
        how = {"dtype": wanted, "workers": workers}
        return _on_chunks(decode, codes, fmt, wanted, None, axis, scale, zero_point, how)
    wanted = _decode_dtype(fmt, dtype, out)
    if scale is None:
        refuse_scaling(zero_point, axis)
    if _is_foreign(codes):
        return _decode_foreign(codes, fmt, wanted, axis, scale, zero_point, out)
    array = code_array(codes, fmt)
    check_out(True, out, wanted, array.shape)
    decoder, in_steps = (_decoder if scale is None else _scaled_decoder)(fmt, wanted)
    inputs = (array, *_factors(fmt, array.shape, axis, scale, zero_point))
    return _by_chunks(decoder, inputs, out, True, wanted, None, workers, in_steps)


# --- modes and arguments --------------------------------------------------------------------


class Mode(NamedTuple):
    """A validated rounding and overflow; what `get_ufunc` takes after the format."""

    rounding: str
    overflow: str
    random_bits: int

    @property
    def stochastic(self) -> bool:
        """Whether random words decide."""
        return self.rounding in STOCHASTIC

    def words(self, seed: Seed) -> Words | None:
        """The random words of the seed that a user gave; None if none are wanted."""
        if self.stochastic:
            return words_of(seed)
        if seed is not None:
            raise ValueError(f"seed needs a stochastic rounding, got {self.rounding!r}")
        return None

    @classmethod
    def of(cls, fmt: Format, rounding: str, overflow: str, random_bits: int | None) -> Mode:
        """Check the arguments that users gave."""
        if rounding not in ROUNDINGS:
            raise ValueError(not_one_of("rounding", rounding, ROUNDINGS))
        if overflow not in OVERFLOWS:
            raise ValueError(not_one_of("overflow", overflow, OVERFLOWS))
        if overflow not in fmt.overflows:
            raise ValueError(
                f"overflow={overflow!r} has no meaning for {fmt.name}; allowed: "
                f"{', '.join(fmt.overflows)}"
            )
        if random_bits is None:
            random_bits = 32
        elif rounding not in STOCHASTIC:
            raise ValueError(f"random_bits needs a stochastic rounding, got {rounding!r}")
        return cls(rounding, overflow, whole_number("random_bits", random_bits, 1, 32))


class _Usual(NamedTuple):
    """What a call needs that asks for nothing unusual: the ufunc and the type of its output."""

    function: np.ufunc
    dtype: np.dtype[Any]

    def __call__(self, x: NDArray[Any], out: NDArray[Any] | None, axis: Any = None) -> Any:
        if out is None:
            return self.function(x)
        check_out(True, out, self.dtype, x.shape)
        return self.function(x, out)


class _UsualBlocks(NamedTuple):
    """The same for a block format."""

    verb: Verb
    fmt: BlockFormat
    rounding: str

    def __call__(self, x: NDArray[Any], out: NDArray[Any] | None, axis: Any = None) -> Any:
        if self.verb == "quantize":
            check_out(True, out, x.dtype, x.shape)
            return blocks.quantize_blocks(x, self.fmt, axis, self.rounding, 32, None, 1, out)
        if out is not None:
            raise TypeError("encode to a block format takes neither out nor where")
        return blocks.encode_blocks(x, self.fmt, axis, self.rounding, 32, None, 1)


class _UsualScaled(NamedTuple):
    """The same for quantising float32 to a narrow format with one scale."""

    fmt: Elementwise
    encoder: np.ufunc
    decoder: Callable[..., Any]

    def __call__(self, x: NDArray[Any], scale: float) -> NDArray[Any] | None:
        """None if there is more to do or to check."""
        if not 0 < scale < math.inf:
            return None
        return _through_table(self.encoder, self.decoder, self.fmt, x, np.array(scale), _NO_ZEROS)


def _usual(
    verb: Verb,
    fmt: object,
    dtype: np.dtype[Any],
    rounding: str,
    overflow: str,
    scaled: bool = False,
) -> Any:
    """The short way for an array of this dtype; None if there is more to do or to check."""
    try:
        return _known_usual(verb, fmt, dtype, rounding, overflow, scaled)
    except TypeError:  # also of what has no hash; said better where arguments are checked
        return None


@lru_cache(maxsize=4096)
def _known_usual(
    verb: Verb, given: Any, dtype: np.dtype[Any], rounding: str, overflow: str, scaled: bool
) -> _Usual | _UsualBlocks | _UsualScaled | None:
    fmt = get_format(given)
    if not dtype.isnative or (isinstance(fmt, BlockFormat) and verb == "decode"):
        return None
    if verb == "decode":
        fmt = elementwise(fmt)
        limits = np.iinfo(fmt.code_dtype)
        every = code_range(fmt) == (limits.min, limits.max)  # every number is a code
        if dtype != fmt.code_dtype or not every or not fmt.fits("float32"):
            return None
        return _Usual(get_ufunc(verb, fmt), np.dtype(np.float32))
    mode = Mode.of(fmt, rounding, overflow, None)
    if dtype.name not in (*_FLOATS, *_INTEGERS) or mode.stochastic or overflow == "raise":
        return None
    if verb == "quantize" and not fmt.fits(dtype.name):
        return None
    if isinstance(fmt, BlockFormat):
        return None if scaled else _UsualBlocks(verb, fmt, mode.rounding)
    fmt = elementwise(fmt)
    if scaled:
        if dtype != np.float32 or fmt.bits > 8:
            return None
        encoder = get_ufunc("encode", fmt, *mode, scaled=True)
        return _UsualScaled(fmt, encoder, _scaled_decoder(fmt, dtype)[0])
    return _Usual(get_ufunc(verb, fmt, *mode), fmt.code_dtype if verb == "encode" else dtype)


def elementwise(fmt: Format) -> Elementwise:
    """Return the format, if it has codes of its own."""
    if isinstance(fmt, FixedFormat) and fmt.encoding == "sign_magnitude":
        raise ValueError(f"{fmt.name} is for the elements of blocks only")
    assert not isinstance(fmt, BlockFormat)
    return fmt


def _is_foreign(x: object) -> bool:
    """Whether x is another library's array that handles ufuncs itself (dask, pandas, ...)."""
    return not isinstance(x, (np.ndarray, np.generic)) and hasattr(type(x), "__array_ufunc__")


def _foreign_dtypes(x: Any) -> list[np.dtype[Any]]:
    """The dtypes of another library's array, or of the columns of its table."""
    found = [x.dtype] if hasattr(x, "dtype") else getattr(x, "dtypes", [])
    if isinstance(found, Mapping):
        found = found.values()
    try:
        # pandas' types that have missing values name the NumPy type of the others
        return [np.dtype(getattr(dtype, "numpy_dtype", dtype)) for dtype in found]
    except TypeError as error:
        raise TypeError(f"{type(x).__name__} must hold numbers: {error}") from error


def _call_foreign(
    function: np.ufunc,
    mode: Mode,
    words: Words | None,
    x: Any,
    others: tuple[Any, ...],
    out: object,
    where: object,
) -> Any:
    """Hand another library's array to a ufunc, which that library carries out."""
    name = type(x).__name__
    _refuse_out(x, out, where)
    if mode.overflow == "raise":
        raise TypeError(f"overflow='raise' needs values, got {name}")
    for dtype in _foreign_dtypes(x):
        _check_real_dtype(dtype)
    if words is None:
        return function(x, *others)
    shape = getattr(x, "shape", None)
    if shape is None or not all(isinstance(n, (int, np.integer)) for n in shape):
        raise TypeError(f"stochastic rounding needs an array of known shape, got {name}")
    return function(x, *others, words.all_of(shape))


def _refuse_out(x: object, out: object, where: object) -> None:
    if out is not None or where is not True:
        name = "a lazy BlockArray" if isinstance(x, BlockArray) else type(x).__name__
        raise TypeError(f"{name} takes neither out nor where; see fmtlib.ufunc")


def _on_chunks(
    verb: Callable[..., Any],
    x: Any,
    fmt: Elementwise,
    dtype: np.dtype[Any],
    words: Words | None,
    axis: Any,
    scale: Any,
    zero_point: Any,
    how: dict[str, Any],
) -> Any:
    """What a verb makes of each chunk of a dask array, in x's container."""
    lazy = chunked.dask_array(x)
    scaling: dict[str, Any] = {}
    if scale is not None:
        scaling_arrays(fmt, lazy.shape, axis, scale, zero_point)  # which checks them
        axis = None if axis is None else blocks.normalize_axis(axis, lazy.ndim)
        scaling = {"scale": _array(scale), "zero_point": zero_point, "axis": axis}
    function = partial(verb, fmt=fmt, **how)
    found = chunked.map_chunks(function, lazy, dtype=dtype, words=words, scaling=scaling)
    return chunked.rewrapped(x, found)


def _quantize_foreign(
    x: Any,
    fmt: Elementwise,
    mode: Mode,
    words: Words | None,
    axis: Any,
    scale: Any,
    zero_point: Any,
    out: object,
    where: object,
) -> Any:
    dtypes = _foreign_dtypes(x)
    for dtype in dtypes:
        _check_fits(fmt, dtype.name, _OWN_TYPE)
    if scale is None:
        refuse_scaling(zero_point, axis)
        return _call_foreign(get_ufunc("quantize", fmt, *mode), mode, words, x, (), out, where)
    if len(set(dtypes)) != 1 or dtypes[0].name not in ("float32", "float64"):
        raise TypeError(
            f"{type(x).__name__} with a scale must be all float32 or all float64, got "
            f"{', '.join(sorted({dtype.name for dtype in dtypes}))}"
        )
    factors = _factors(fmt, getattr(x, "shape", ()), axis, scale, zero_point)
    encoder = get_ufunc("encode", fmt, *mode, scaled=True)
    codes = _call_foreign(encoder, mode, words, x, factors, out, where)
    return _decode_foreign(codes, fmt, dtypes[0], axis, scale, zero_point, None)


def _decode_foreign(
    codes: Any,
    fmt: Elementwise,
    wanted: np.dtype[Any],
    axis: Any,
    scale: Any,
    zero_point: Any,
    out: object,
) -> Any:
    if out is not None or wanted.name not in ("float32", "float64"):
        raise TypeError(f"{type(codes).__name__} decodes to float32 or float64 only, without out")
    for code_dtype in _foreign_dtypes(codes):
        _check_code_dtype(code_dtype, fmt)
    function = get_ufunc("decode", fmt)
    if scale is None:
        return function(codes, dtype=wanted)
    scales, zeros = _factors(fmt, getattr(codes, "shape", ()), axis, scale, zero_point)
    if wanted == np.float32:
        return get_ufunc("decode", fmt, scaled=True)(codes, scales, zeros, dtype=wanted)
    # dask keeps dtype= from the ufunc; only the product rounds
    return (function(codes, dtype=wanted) - zeros) * scales


def _values_of(x: ArrayLike, lazy: Any, words: Words | None) -> Any:
    """The values to encode, whose type is checked: an array, or the dask array if there is one."""
    if lazy is not None:
        _check_real_dtype(lazy.dtype)
        return lazy
    array = real_array(x)
    if words is not None:
        words.check(array.shape)
    return array


def real_array(x: ArrayLike) -> NDArray[Any]:
    """Return x as an array of a type that encodes."""
    array = _array(x)
    _check_real_dtype(array.dtype)
    return array


@lru_cache(maxsize=256)  # names of dtypes take long
def _check_real_dtype(dtype: np.dtype[Any]) -> None:
    if dtype.name not in _FLOATS and dtype.name not in _INTEGERS:
        codes = format_of(dtype) is not None
        remedy = (
            "those are codes: decode them, or see convert" if codes else "convert it explicitly"
        )
        raise TypeError(
            f"x must be an array of {', '.join(_FLOATS + _INTEGERS)}, got {dtype}; {remedy}"
        )


def _check_code_dtype(dtype: np.dtype[Any], fmt: Elementwise) -> None:
    if dtype.newbyteorder("=") != fmt.code_dtype:
        integers = dtype.kind in "iu" or "int" in dtype.name  # ml_dtypes' int4, say
        remedy = f"; make them np.asarray(codes, np.{fmt.code_dtype})" if integers else ""
        raise TypeError(f"codes of {fmt.name} are {fmt.code_dtype}, got {dtype}{remedy}")


def code_range(fmt: Elementwise) -> tuple[int, int]:
    """The least and the greatest number that is a code of the format."""
    if isinstance(fmt, FloatFormat):
        return 0, 2**fmt.bits - 1
    return fmt.min_integer, fmt.max_integer


def code_array(codes: ArrayLike, fmt: Elementwise) -> NDArray[Any]:
    """The codes as an array of the `code_dtype`, if they are codes of the format."""
    array = _array(codes)
    if array.dtype.kind not in "iu" and format_of(array.dtype) == fmt:
        array = from_ml_dtypes(array)
    _check_code_dtype(array.dtype, fmt)
    low, high = code_range(fmt)
    limits = np.iinfo(array.dtype)
    if array.size and (low > limits.min or high < limits.max):
        least = int(array.min()) if low > limits.min else low
        greatest = int(array.max()) if high < limits.max else high
        if least < low or greatest > high:
            wrong = least if least < low else greatest
            raise ValueError(f"codes of {fmt.name} are from {low} to {high}, got {wrong}")
    return array


def _decode_dtype(fmt: Format, dtype: Any, out: NDArray[Any] | None) -> np.dtype[Any]:
    name = "dtype"
    if out is not None:
        _check_is_array(out)
        if dtype is not None and np.dtype(dtype) != out.dtype:
            raise TypeError(f"out has dtype {out.dtype}, but dtype={dtype!r} was asked for")
        dtype, name = out.dtype, "out's dtype"
    if dtype is None:
        return _least_dtype(fmt)
    wanted: np.dtype[Any] = np.dtype(dtype).newbyteorder("=")
    if wanted.name not in _FLOATS:
        raise TypeError(f"{name} must be one of {', '.join(_FLOATS)}, got {wanted}")
    _check_fits(fmt, wanted.name)
    return wanted


@lru_cache(maxsize=1024)
def _least_dtype(fmt: Format) -> np.dtype[Any]:
    """The smaller of float32 and float64 that holds every value."""
    return np.dtype("float32" if fmt.fits("float32") else "float64")


_OWN_TYPE = "; quantize gives x's own type: convert x first"


@lru_cache(maxsize=4096)
def _check_fits(fmt: Format, dtype: str, remedy: str = "") -> None:
    if dtype in (*_FLOATS, *_INTEGERS) and not fmt.fits(dtype):
        smallest = fmt.smallest_dtype
        if dtype in _INTEGERS:
            smallest = next((name for name in _INTEGERS if fmt.fits(name)), smallest)
        raise TypeError(
            f"{dtype} cannot hold every value of {fmt.name}; {smallest} is the smallest type "
            f"that can{remedy}"
        )


def check_out(where: ArrayLike, out: object, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
    """Check `out` and `where` before anything is computed."""
    if type(out) is np.ndarray and out.dtype == dtype and out.shape == shape:
        return
    if out is None:
        if where is not True:
            raise ValueError("where needs out: elements left out would be undefined")
        return
    _check_is_array(out)
    assert isinstance(out, np.ndarray)
    if out.dtype.newbyteorder("=") != dtype.newbyteorder("="):
        raise TypeError(
            f"out must have dtype {dtype} and shape {shape}, got {out.dtype} and {out.shape}"
        )
    if out.shape != shape:
        raise ValueError(f"out must have shape {shape}, got {out.shape}")


def _check_is_array(out: object) -> None:
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        hint = "; give the array on its memory, out.numpy()" if hasattr(out, "numpy") else ""
        raise TypeError(f"out must be an ndarray, got {type(out).__name__}{hint}")


def refuse_for_blocks(scale: object, zero_point: object) -> None:
    """Refuse what elementwise formats alone take."""
    if scale is not None or zero_point is not None:
        raise ValueError("block formats find their own scales: scale and zero_point must be None")


def refuse_scaling(zero_point: object, axis: object) -> None:
    """Refuse what has no meaning without a scale."""
    if zero_point is not None:
        raise ValueError("zero_point needs scale")
    if axis is not None:
        raise ValueError(
            "axis is for block formats and for one-dimensional scales; an elementwise format "
            "without scale takes none"
        )


def scaling_arrays(
    fmt: Elementwise,
    shape: tuple[int, ...],
    axis: object,
    scale: ArrayLike,
    zero_point: ArrayLike | None,
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The scale and zero point as arrays that broadcast against `shape`."""
    given = _array(scale)
    if given.dtype.kind not in "fiu" and given.dtype.name != "bfloat16":
        raise TypeError(f"scale must be real numbers, got {given.dtype}")
    scales = given.astype(np.float64)
    if not (np.isfinite(scales) & (scales > 0)).all():
        wrong = scales[~(np.isfinite(scales) & (scales > 0))].flat[0]
        raise ValueError(f"scale must be positive and finite, got {wrong}")
    zeros = _NO_ZEROS
    if zero_point is not None:
        if not isinstance(fmt, IntegerFormat):
            raise ValueError(f"zero_point is for integer formats, not {fmt.name}")
        zeros = _array(zero_point)
        if zeros.dtype.kind not in "iu":
            raise TypeError(f"zero_point must be integers, got {zeros.dtype}")
        if (
            zeros.size
            and not fmt.min_integer <= int(zeros.min()) <= int(zeros.max()) <= fmt.max_integer
        ):
            raise ValueError(
                f"zero_point must be from {fmt.min_integer} to {fmt.max_integer}, got "
                f"{zeros.min()} to {zeros.max()}"
            )
        zeros = zeros.astype(np.int64)
    if scales.ndim == 0 and zeros.ndim == 0:
        if axis is not None:
            raise ValueError("axis needs a one-dimensional scale or zero point")
        return scales, zeros
    if axis is None:
        raise ValueError("a scale or zero point that is an array needs axis")
    axis = blocks.normalize_axis(axis, len(shape))
    along = [1] * len(shape)
    along[axis] = shape[axis]
    for name, values in (("scale", scales), ("zero_point", zeros)):
        if values.ndim > 1 or (values.ndim == 1 and values.shape[0] != shape[axis]):
            raise ValueError(
                f"{name} must be a scalar or have shape ({shape[axis]},) for axis {axis} of "
                f"{shape}, got {values.shape}"
            )
    return (
        scales.reshape(along) if scales.ndim else scales,
        zeros.reshape(along) if zeros.ndim else zeros,
    )


def _factors(
    fmt: Elementwise,
    shape: tuple[int, ...],
    axis: object,
    scale: ArrayLike | None,
    zero_point: ArrayLike | None,
) -> tuple[NDArray[Any], ...]:
    """The scales and zero points that follow x, if there are any."""
    return () if scale is None else scaling_arrays(fmt, shape, axis, scale, zero_point)


def put_into(values: NDArray[Any], out: NDArray[Any] | None, where: ArrayLike) -> NDArray[Any]:
    """The values, or `out` with them in it; nothing is written if they do not fit."""
    if out is None:
        return values
    if out.shape != values.shape:
        raise ValueError(f"out must have shape {values.shape}, got {out.shape}")
    np.copyto(out, values, where=where)
    return out


# --- applying ufuncs ------------------------------------------------------------------------


def _decoder(fmt: Elementwise, wanted: np.dtype[Any]) -> tuple[Callable[..., Any], bool]:
    """What gives the values of codes in `wanted`, and whether it makes arrays on its way."""
    function = get_ufunc("decode", fmt)
    wide = np.dtype("float32" if wanted.itemsize <= 4 else "float64")
    if wanted == wide:
        return partial(function, dtype=wide), False

    def decode(codes: Any, *, out: Any, where: Any) -> None:
        np.copyto(out, function(codes, dtype=wide), where=where)

    return decode, True


def _scaled_decoder(fmt: Elementwise, wanted: np.dtype[Any]) -> tuple[Callable[..., Any], bool]:
    """The same for ``scale * (value - zero_point)``, rounded once."""
    # The ufunc gives bfloat16 as its bits.
    result = np.dtype(np.uint16) if wanted.name == "bfloat16" else wanted
    signature = (fmt.code_dtype, np.dtype(np.float64), np.dtype(np.int64), result)
    function = partial(get_ufunc("decode", fmt, scaled=True), signature=signature)
    if wanted == result and wanted.itemsize <= 8:
        return function, False

    def decode(codes: Any, scales: Any, zeros: Any, *, out: Any, where: Any) -> None:
        if wanted.itemsize > 8:  # one multiplication, so one rounding
            values = get_ufunc("decode", fmt)(codes, dtype=np.float64) - zeros
            np.multiply(values, scales, dtype=wanted, out=out, where=where)
        else:
            np.copyto(out, np.asarray(function(codes, scales, zeros)).view(wanted), where=where)

    return decode, True


def _rounded(
    function: Callable[..., Any],
    fmt: Elementwise,
    mode: Mode,
    words: Words | None,
    inputs: tuple[NDArray[Any], ...],
    out: NDArray[Any] | None,
    where: ArrayLike,
    dtype: np.dtype[Any],
    workers: int,
    in_steps: bool = False,
) -> Any:
    """Run a function that rounds, with its random words, over x and what follows it."""
    if mode.overflow != "raise":
        return _by_chunks(function, inputs, out, where, dtype, words, workers, in_steps)

    def look(*parts: Any, out: Any, where: Any) -> None:
        function(*parts, out=np.empty_like(out), where=where)

    # Nothing may be written before all of x is seen, so an `out` takes a pass of its own.
    met: set[str] = set()
    with np.errstate(over="call", invalid="call", call=lambda kind, _: met.add(kind)):
        first = look if out is not None else function
        steps = in_steps or first is look
        result = _by_chunks(first, inputs, out, where, dtype, words, workers, steps)
    if "invalid value" in met:
        raise ValueError(f"x holds NaN, which {fmt.name} has not")
    if "overflow" in met:
        raise OverflowError(f"x holds values beyond the range of {fmt.name}, see fmtlib.finfo")
    if out is None:
        return result
    return _by_chunks(function, inputs, out, where, dtype, words, workers, in_steps)


def _by_chunks(
    function: Callable[..., Any],
    inputs: tuple[NDArray[Any], ...],
    out: NDArray[Any] | None,
    where: ArrayLike,
    dtype: np.dtype[Any],
    words: Words | None,
    workers: int,
    in_steps: bool,
) -> Any:
    """``function(*inputs, out=out, where=where)``, elementwise over the first input's elements.

    With `words` the random word of each element is the last argument.  Memory beyond the output
    does not grow with the array: words, and whatever a function `in_steps` makes on its way, are
    made for a chunk at a time.
    """
    shape, size = inputs[0].shape, inputs[0].size
    parts = max(1, min(workers, size // _WORKER_SHARE))
    if where is True and not in_steps and (words is not None or any(f.ndim for f in inputs[1:])):
        done = _at_once(function, inputs, out, dtype, words, parts)
        if done is not None:
            return done
    if parts == 1 and words is None and not in_steps:
        return function(*inputs, out=out, where=where)
    result = np.empty(shape, dtype.newbyteorder("=")) if out is None else np.asarray(out)
    inputs = tuple(_apart(array, result) for array in inputs)
    arrays = [np.broadcast_to(array, shape) for array in inputs]
    mask = None if where is True else np.broadcast_to(_apart(np.asarray(where), result), shape)
    limit = _CHUNK if words is not None or in_steps else -(-size // (4 * parts))
    runs = list(chunks(shape, limit))

    def run(mine: int) -> None:
        for index, first in runs[mine::parts]:
            views = [array[index] for array in arrays]
            if words is not None:
                views.append(words.take(first, views[0].size).reshape(views[0].shape))
            chosen = True if mask is None else mask[index]
            function(*views, out=result[index], where=chosen)

    _in_threads(run, parts)
    return result[()] if out is None else out


def _at_once(
    function: Callable[..., Any],
    inputs: tuple[NDArray[Any], ...],
    out: NDArray[Any] | None,
    dtype: np.dtype[Any],
    words: Words | None,
    parts: int,
) -> Any:
    """The same by kernels that make scales and words on their way; None if they cannot."""
    x, *factors = inputs
    ufunc = function.func if isinstance(function, partial) else function
    result = np.empty(x.shape, dtype.newbyteorder("=")) if out is None else out
    if not (
        isinstance(ufunc, np.ufunc)
        and type(result) is np.ndarray
        and x.shape != ()
        and all(a.flags.c_contiguous and a.flags.aligned and a.dtype.isnative for a in (x, result))
        and _apart(x, result) is x
    ):
        return None
    scales = zeros = None
    inner = 1
    if factors:
        count, inner = _channels(factors, x.shape)
        scales, zeros = (f.ravel() if f.size == count else f.repeat(count) for f in factors)
        if not count:
            return None

    def run(part: int) -> bool | None:
        start, stop = (x.size * p // parts for p in (part, part + 1))
        return kernels.apply(ufunc, x, result, scales, zeros, inner, words, start, stop)

    met = _in_threads(run, parts)
    if None in met:
        return None
    if any(met):  # has NumPy tell it, as np.errstate wants it
        ones = [np.ones(1, array.dtype) for array in factors]
        word = [] if words is None else [np.zeros(1, np.uint32)]
        function(np.full(1, np.nan, x.dtype), *ones, *word)
    return result


def _through_table(
    encoder: np.ufunc,
    decoder: Callable[..., Any],
    fmt: Elementwise,
    x: NDArray[Any],
    scales: NDArray[np.float64],
    zeros: NDArray[np.int64],
) -> NDArray[Any] | None:
    """``decoder(encoder(x))`` of a large float32 array with one scale, through a table of all
    values; None if x is not such an array, or holds what the format has not.
    """
    if (
        fmt.bits > 8
        or scales.ndim
        or zeros.ndim
        or x.dtype != np.float32
        or not (x.dtype.isnative and x.flags.aligned and x.flags.forc)
        or x.size < _TABLE_SHARE
    ):
        return None
    result = np.empty_like(x)
    order: Literal["C", "F"] = "C" if x.flags.c_contiguous else "F"
    source, target = x.ravel(order), result.ravel(order).view(np.uint32)
    every = np.arange(256, dtype=np.uint8).view(fmt.code_dtype)
    table = np.empty(256, np.float32)
    decoder(every, scales, zeros, out=table)
    codes = np.empty(_CHUNK, fmt.code_dtype)
    for start in range(0, x.size, _CHUNK):
        part = source[start : start + _CHUNK]
        own = codes[: part.size]
        met = kernels.apply(encoder, part, own, scales[None], zeros[None], 1, None, 0, part.size)
        if met is not False:  # overflow or NaN that the usual way has to tell of
            return None
        kernels.lookup(own.view(np.uint8), table.view(np.uint32), target[start : start + _CHUNK])
    return result


def _channels(factors: list[NDArray[Any]], shape: tuple[int, ...]) -> tuple[int, int]:
    """How many scales there are, and how many neighbours in C order share one."""
    for factor in factors:
        if factor.ndim:
            axis = next((i for i, n in enumerate(factor.shape) if n != 1), factor.ndim - 1)
            return factor.shape[axis], math.prod(shape[axis + 1 :])
    return 1, 1


def _apart(array: NDArray[Any], out: NDArray[Any]) -> NDArray[Any]:
    """The array, or a copy if writing to `out` could change elements that are yet to be read."""
    same = (
        array.__array_interface__["data"] == out.__array_interface__["data"]
        and array.strides == out.strides
        and array.itemsize == out.itemsize
    )
    return array if same or not np.may_share_memory(array, out) else array.copy()


def chunks(shape: tuple[int, ...], limit: int) -> Iterator[tuple[tuple[Any, ...], int]]:
    """Indices that cut an array into runs of its C order, each with its first element's number."""
    size = math.prod(shape)
    if size <= limit:
        if size:
            yield (...,), 0
        return
    inner = size // shape[0]
    if inner > limit:
        for i in range(shape[0]):
            for index, first in chunks(shape[1:], limit):
                yield (i, *index), i * inner + first
    else:
        step = limit // inner
        for i in range(0, shape[0], step):
            yield (slice(i, i + step),), i * inner


def share(run: Callable[[int, int], None], size: int, workers: int) -> None:
    """Call `run` on the parts of range(size) that the workers take."""
    parts = max(1, min(workers, size // _WORKER_SHARE))
    bounds = [size * i // parts for i in range(parts + 1)]
    _in_threads(lambda part: run(bounds[part], bounds[part + 1]), parts)


def _in_threads(run: Callable[[int], _T], count: int) -> list[_T]:
    """Call `run` on 0 ... count - 1, each in a thread of its own; the results."""
    if count == 1:
        return [run(0)]
    with ThreadPoolExecutor(count) as pool:
        # np.errstate lives in the context, which threads do not inherit
        futures = [pool.submit(copy_context().run, run, i) for i in range(count)]
        return [future.result() for future in futures]
