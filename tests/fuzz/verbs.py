"""The space of arguments of the verbs, as targets of a fuzzer: any array, format and mode.

An array may be unaligned, of either byte order, strided, reversed, broadcast, empty or without
axes, and holds any bits.  Every call is made with the kernels of each instruction set of this
machine, which must give the same bits or the same exception; and again on a contiguous copy, and
(elementwise verbs) element by element, which takes other ways through the kernels.  With modules
compiled for AddressSanitizer, reads and writes beside arrays show as well: see run.sh.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from choices import Choices

import fmtlib as fl
from fmtlib._core import kernels
from fmtlib.accumulators import PRESETS
from fmtlib.formats import FORMATS, ROUNDINGS, STOCHASTIC, BlockFormat

# Formats at the edges of what a record can be; ufuncs are kept, so the list ends.
ELEMENTWISE = [
    *(fmt for fmt in FORMATS.values() if not isinstance(fmt, BlockFormat)),
    fl.FloatFormat(1, 0, infinities=False, nan="none"),
    fl.FloatFormat(2, 0, signed=False, infinities=False, nan="none"),
    fl.FloatFormat(3, 8, -40, nan="all_ones", infinities=False),
    fl.FloatFormat(5, 10, 170),
    fl.FloatFormat(7, 7, 150, nan="negative_zero", infinities=False),
    fl.FloatFormat(8, 10),
    fl.FloatFormat(10, 5),
    fl.FloatFormat(4, 3, infinities=False, nan="all_ones", signed=False, subnormals=False),
    fl.FixedFormat(0, 1),
    fl.FixedFormat(1, 30),
    fl.FixedFormat(16, 15, signed=False),
    fl.IntegerFormat(1, signed=False),
    fl.IntegerFormat(2),
    fl.IntegerFormat(16, symmetric=False),
    fl.IntegerFormat(16, signed=False),
]  # fmt: skip
BLOCKS = [
    *(fmt for fmt in FORMATS.values() if isinstance(fmt, BlockFormat)),
    *(fl.bfp(m, e, size) for m, e, size in (
        (1, 2, 1), (2, 8, 3), (4, 8, 16), (7, 5, 7), (8, 8, 33), (15, 8, 64), (23, 8, 5),
    )),
    fl.bfp(3, 8, (2, 3)), fl.bfp(4, 8, (24, 24)), fl.bfp(4, 3, (1, 17)),
]  # fmt: skip
FLOATS = ["<f4", "<f8", "<f2", ">f4", ">f8", "g"]
INTEGERS = ["i1", "u1", "<i2", "<u2", "<i4", "<u4", "<i8", "<u8", ">i2", ">u4"]
OVERFLOWS = ("saturate", "nonsaturating", "wrap", "raise", "p3109_none", "p3109_propagate")


def values(given: Choices, dtypes: list[str]) -> np.ndarray[Any, Any]:
    """An array of any layout."""
    dtype = np.dtype(given.pick(dtypes))
    shape = [given.number(0, given.pick((5, 40, 300))) for _ in range(given.number(0, 3))]
    while np.prod(shape, dtype=int) > 6000:
        shape.pop()
    layout = given.number(0, 7)
    whole = [n * (2 if layout & 1 else 1) for n in shape]
    size = int(np.prod(whole, dtype=int)) * dtype.itemsize
    raw = given.bytes(given.number(0, 400))
    if len(raw) < size:  # go on with what there is, a little different each time
        seed = np.random.default_rng(len(raw))
        noise = np.frombuffer(seed.bytes(size), np.uint8)
        pattern = np.resize(np.frombuffer(raw or b"\0", np.uint8), size)
        keep = np.repeat(seed.random(-(-size // 4)) < given.pick((0.0, 0.5, 1.0)), 4)[:size]
        raw = np.where(keep, pattern, noise).astype(np.uint8).tobytes()
    offset = given.number(0, 1)  # unaligned
    array = np.frombuffer(bytes(offset) + raw[:size], dtype, offset=offset).reshape(whole)
    if dtype.char == "g":  # of which not all bytes count
        with np.errstate(all="ignore"):
            array = np.frombuffer(raw[:size], np.float64)[: array.size].astype(dtype)
            array = np.resize(array, whole)
    if layout & 1:
        array = array[tuple(slice(None, None, given.pick((2, -2))) for _ in whole)]
    if layout & 2:
        array = array.T
    if layout & 4 and array.ndim:
        array = np.broadcast_to(array[:1], array.shape)
    return array


def bits_of(result: Any) -> Any:
    """What has to be the same."""
    if isinstance(result, fl.BlockArray):
        scale = None if result.tensor_scale is None else result.tensor_scale.tobytes()
        return result.codes.tobytes(), result.scales.tobytes(), scale
    array = np.asarray(result)
    if array.dtype.kind == "f":
        array = np.where(np.isnan(array), array.dtype.type(np.nan), array)
        if array.dtype.itemsize > 8:
            return [(str(x), bool(np.signbit(x))) for x in array.reshape(-1)]
    return array.dtype.str, array.shape, array.tobytes()


def everywhere(call: Callable[[], Any]) -> Any:
    """The result of a call, or its exception, if it is the same on all instruction sets."""
    found: list[tuple[Any, Any]] = []
    try:
        for name in kernels.available_targets():
            kernels.force_target(name)
            try:
                with np.errstate(all="ignore"):
                    result = call()
                found.append((result, bits_of(result)))
            except (ValueError, TypeError, OverflowError) as error:
                found.append((None, (type(error), str(error))))
    finally:
        kernels.force_target(None)
    assert all(bits == found[0][1] for _, bits in found)
    return found[0][0]


def elementwise(given: Choices) -> None:
    """Encode, quantize and decode, with and without scales."""
    fmt, rounding = given.pick(ELEMENTWISE), given.pick(ROUNDINGS)
    how: dict[str, Any] = {"rounding": rounding, "overflow": given.pick(OVERFLOWS)}
    if rounding in STOCHASTIC:
        how |= {"seed": given.number(0, 300), "random_bits": given.number(1, 32)}
    if given.flag():
        how["workers"] = given.number(1, 3)
    x = values(given, FLOATS + INTEGERS)
    if given.flag():
        how["scale"] = given.pick((1.0, 0.02, 3.0, 2.0**-140, 1e300))
        if not isinstance(fmt, fl.FloatFormat) and given.flag():
            how["zero_point"] = given.number(-5, 5)
    verb = given.pick((fl.encode, fl.quantize))
    found = everywhere(lambda: verb(x, fmt, **how))
    if found is None:
        return
    with np.errstate(all="ignore"):
        assert bits_of(verb(x.copy(), fmt, **how)) == bits_of(found)
    if rounding not in STOCHASTIC and 0 < x.size <= 64:
        how.pop("workers", None)
        with np.errstate(all="ignore"):
            one = [verb(x[i], fmt, **how) for i in np.ndindex(x.shape)]
        assert bits_of(np.array(one, found.dtype).reshape(x.shape)) == bits_of(found)
    if verb is fl.encode:
        of_decode = {key: how[key] for key in ("scale", "zero_point") if key in how}
        for dtype in (None, np.float32, np.float64, np.float16):
            everywhere(lambda dtype=dtype: fl.decode(found, fmt, dtype=dtype, **of_decode))


def codes(given: Choices) -> None:
    """Decode any codes."""
    fmt = given.pick(ELEMENTWISE)
    x = values(given, [fmt.code_dtype.str, fmt.code_dtype.newbyteorder().str])
    if x.dtype.kind == "u":
        x = x & x.dtype.type((1 << fmt.bits) - 1)
    dtype = given.pick((None, np.float32, np.float64, np.float16, np.longdouble))
    found = everywhere(lambda: fl.decode(x, fmt, dtype=dtype))
    if found is not None:
        with np.errstate(all="ignore"):
            assert bits_of(fl.decode(x.copy(), fmt, dtype=dtype)) == bits_of(found)


def blocks(given: Choices) -> None:
    """Block formats along any axis, there and back."""
    fmt, rounding = given.pick(BLOCKS), given.pick(ROUNDINGS)
    how: dict[str, Any] = {"rounding": rounding}
    if rounding in STOCHASTIC:
        how |= {"seed": given.number(0, 300), "random_bits": given.number(1, 32)}
    if given.flag():
        how["workers"] = given.number(1, 3)
    x = values(given, FLOATS)
    axis = given.pick((None, 0, 1, -1, (0, 1), (1, 0), (-1, 0)))
    found = everywhere(lambda: fl.encode(x, fmt, axis=axis, **how))
    everywhere(lambda: fl.quantize(x, fmt, axis=axis, **how))
    if found is None:
        return
    with np.errstate(all="ignore"):
        assert bits_of(fl.encode(x.copy(), fmt, axis=axis, **how)) == bits_of(found)
    for dtype in (None, np.float16, np.float32, np.float64):
        everywhere(lambda dtype=dtype: fl.decode(found, dtype=dtype))
    assert fl.BlockArray.frombytes(found.tobytes()).tobytes() == found.tobytes()


def products(given: Choices) -> None:
    """Matrix products of anything with any accumulator, in parts and in threads."""
    accumulator = given.pick(tuple(PRESETS))
    with np.errstate(all="ignore"):
        if given.flag():
            fmts = [given.pick([f for f in BLOCKS if isinstance(f.block_size, int)]) for _ in "ab"]
            x, y = (values(given, ["<f4"]) for _ in "ab")
            if min(x.ndim, y.ndim) < 1:
                return
            a, b = fl.encode(x, fmts[0], axis=-1), fl.encode(y, fmts[1], axis=-1)
            b = b.transpose(*range(b.ndim - 2), -1, -2) if b.ndim > 1 else b
            formats = None
        else:
            formats = tuple(given.pick(ELEMENTWISE) for _ in "ab")
            a, b = (fl.encode(values(given, ["<f4"]), fmt, overflow="saturate") for fmt in formats)
            b = b.swapaxes(-1, -2) if b.ndim > 1 else b
    if a.size > 3000 or b.size > 3000:
        return
    if a.shape[-1:] != b.shape[-2:][:1] and a.ndim == b.ndim == 2 and not formats:
        return
    found = everywhere(lambda: fl.matmul(a, b, accumulator=accumulator, formats=formats))
    if found is not None:
        with np.errstate(all="ignore"):
            again = fl.matmul(a, b, accumulator=accumulator, formats=formats, workers=2)
        assert bits_of(again) == bits_of(found)


def integers(given: Choices) -> None:
    """Widths, terms, planes, compression, packing."""
    x = values(given, INTEGERS)
    size, axis = given.number(1, 80), given.pick((-1, 0, 1, 2))
    everywhere(lambda: fl.group_bits(x, size, axis))
    everywhere(lambda: fl.group_bits(x, size, axis, ends="both"))
    recoding = given.pick(("binary", "naf", "booth", "run_length"))
    everywhere(lambda: fl.terms(x, recoding))
    bits = given.pick((None, *range(1, 33)))
    everywhere(lambda: fl.bit_planes(x, bits, axis).values())
    width = given.number(1, 32)
    everywhere(lambda: fl.pack(x, width))
    sparse = given.pick((None, True, False))
    compressed = everywhere(lambda: np.frombuffer(
        fl.compress(x, size, axis, zero_vector=sparse).tobytes(), np.uint8
    ))  # fmt: skip
    if compressed is not None:
        found = everywhere(lambda: fl.decompress(compressed.tobytes()))
        assert np.array_equal(found, x)


CASES = (elementwise, codes, blocks, products, integers)


def verbs(data: bytes) -> None:
    """One of the cases."""
    given = Choices(data)
    given.pick(CASES)(given)
