"""The list of benchmarks: one entry each; every row of the table of formats has its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, partial
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib import training
from fmtlib.accumulators import PRESETS
from fmtlib.benchmarks.peers import Peer, Torch
from fmtlib.benchmarks.steps import BATCHES, batch, step
from fmtlib.benchmarks.timing import Call
from fmtlib.calibration.calibrator import METHODS
from fmtlib.formats import FORMATS, STOCHASTIC, BlockFormat

Array = NDArray[Any]
_CALL_ELEMENTS = 1024
TORCH_STEP = "torch's step"
_NOISE: dict[str, Any] = {"rounding": "stochastic", "seed": 0}
_NONSATURATING: dict[str, Any] = {"overflow": "nonsaturating"}


@dataclass(frozen=True)
class Variant:
    """One of our own ways to do a task.

    Attributes
    ----------
    name : str
        "fmtlib", or "fmtlib" and what differs.
    call : callable
    moved : int
        Bytes that have to be read and written; 0 if that says nothing.
    """

    name: str
    call: Call
    moved: int = 0


@dataclass(frozen=True)
class Case:
    """A task with its arrays.

    Attributes
    ----------
    x : ndarray
        The input; a slow peer gets some of its first rows.
    yardstick : callable
        What a ratio of 1 is.
    ours : tuple of Variant
        The first one is the task itself; others stand beside it for comparison.
    peer : callable, optional
        Given a peer and (a part of) `x`, what is timed of it, or None.
    moved : int
        Bytes that the yardstick moves.
    operations : int
        Floating-point operations, each product and each sum one.
    """

    x: Array
    yardstick: Call
    ours: tuple[Variant, ...]
    peer: Callable[[Peer, Array], Call | None] | None = None
    moved: int = 0
    operations: int = 0


@dataclass(frozen=True)
class Task:
    """A benchmark.

    Attributes
    ----------
    name : str
    make : callable
        Makes the arrays, for a number of elements, for matrices of so many rows, or for samples.
    unit : str
        The yardstick: what a ratio of 1 is.
    limit : float, optional
        The greatest ratio that the project wants with AVX-512.
    avx2_limit : float, optional
        The same with AVX2: 1.6 times `limit` unless it is given.
    least_gflops : float, optional
        What is wanted instead, in 1e9 operations a second.
    headline : bool
        Whether it stands for others: it runs in every size and in quick runs, and is plotted.
    scale : {"array", "call", "matrix", "batch"}
        What its size is: an array that is chosen, 1024 elements, a square matrix, or samples.
    rows : int
        Of a matrix, or samples.
    """

    name: str
    make: Callable[[int], Case]
    unit: str = "copyto"
    limit: float | None = None
    avx2_limit: float | None = None
    least_gflops: float | None = None
    headline: bool = False
    scale: Literal["array", "call", "matrix", "batch"] = "array"
    rows: int = field(default=1024, kw_only=True)

    def limit_for(self, target: str) -> float | None:
        """The greatest ratio wanted of an instruction set; None of the baseline."""
        level = target.removesuffix("-vnni")
        if self.limit is None or level == "x86-64-v4":
            return self.limit
        if level != "x86-64-v3":
            return None
        return 1.6 * self.limit if self.avx2_limit is None else self.avx2_limit


# --- arrays ---------------------------------------------------------------------------------


@cache
def _normal(n: int, dtype: str = "float32") -> Array:
    """Normally distributed numbers; integers in steps of 0.001."""
    x = np.random.default_rng(0).standard_normal(n, dtype=np.float32)
    if dtype == "bfloat16":
        return x.astype(importlib.import_module("ml_dtypes").bfloat16)
    return (x * 1000 if dtype.startswith("int") else x).astype(dtype, copy=False)


def forget() -> None:
    """Let go of all arrays that tasks share."""
    _normal.cache_clear()
    _spare.cache_clear()


@cache
def _spare(n: int) -> Array:
    """Where the yardstick copies to."""
    return np.ones(n, np.float32)


def _special(n: int) -> Array:
    """A tenth of the values is subnormal, too great, NaN or zero, in float32 or in the formats."""
    rng = np.random.default_rng(1)
    x = _normal(n).copy()
    kinds = np.array([1e-3, -3e-5, 1e-41, 1e6, -3e38, np.inf, np.nan, 0.0, -0.0], np.float32)
    where = np.flatnonzero(rng.random(n, dtype=np.float32) < 0.1)
    x[where] = rng.choice(kinds, where.size)
    return x


def _shifted(x: Array, by: int) -> Array:
    """The same values, so many bytes off the address that arrays have."""
    room = np.empty(x.nbytes + 64, np.uint8)
    start = -room.ctypes.data % 64 + by
    moved = room[start : start + x.nbytes].view(x.dtype).reshape(x.shape)
    moved[...] = x
    return moved


def _matrix(x: Array) -> Array:
    """As many columns as rows, or less; a multiple of 64 if there is one."""
    columns = 1 << (x.size.bit_length() // 2)
    while x.size % columns:
        columns //= 2
    return x.reshape(-1, columns)


def _case(x: Array, *ours: Variant, peer: Any = None) -> Case:
    """A case whose yardstick is copying as many float32."""
    plain = _normal(x.size)
    copy = partial(np.copyto, _spare(x.size), plain)
    return Case(x, copy, ours, peer, moved=2 * plain.nbytes)


# --- conversions, element by element --------------------------------------------------------


def _encode(n: int, fmt: str, change: Callable[[Array], Array] | None = None, **how: Any) -> Case:
    x = _normal(n)
    out = np.empty(n, fl.get_format(fmt).code_dtype)
    moved = x.nbytes + out.nbytes
    plain = Variant("fmtlib", partial(fl.encode, x, fmt, out=out, **how), moved)
    if change is not None:
        changed = Variant("fmtlib", partial(fl.encode, change(x), fmt, out=out, **how), moved)
        return _case(x, changed, Variant("fmtlib, plain data", plain.call, moved))
    function = Variant("fmtlib ufunc", partial(fl.ufunc("encode", fmt, **how), x, out=out), moved)
    record = fl.get_format(fmt)
    return _case(x, plain, function, peer=lambda peer, part: peer.encode(part, record))


def _from(n: int, verb: str, fmt: str, dtype: str) -> Case:
    """Of another type than float32, which stands beside."""
    record, do = fl.get_format(fmt), getattr(fl, verb)

    def variant(name: str, values: Array) -> Variant:
        to = record.code_dtype if verb == "encode" else values.dtype
        if isinstance(record, BlockFormat):
            moved = values.nbytes + values.size * to.itemsize
            return Variant(name, partial(do, _matrix(values), fmt), moved)
        out = np.empty(n, to)
        return Variant(name, partial(do, values, fmt, out=out), values.nbytes + out.nbytes)

    x, values = _normal(n), _normal(n, dtype)
    ours = variant("fmtlib", values), variant("fmtlib, float32", x)
    has_peers = fmt == "float8_e4m3fn" and verb == "encode" and dtype != "bfloat16"
    peer = (lambda peer, part: peer.encode(part, record)) if has_peers else None
    return Case(values, partial(np.copyto, _spare(n), x), ours, peer, moved=2 * x.nbytes)


def _decode(n: int, fmt: str, change: Callable[[Array], Array] | None = None) -> Case:
    x, record = _normal(n), fl.get_format(fmt)
    codes = fl.encode(x, fmt)
    out = fl.decode(codes, fmt)
    moved = codes.nbytes + out.nbytes
    plain = Variant("fmtlib", partial(fl.decode, codes, fmt, out=out), moved)
    if change is not None:
        changed = fl.encode(change(x), fmt)
        call = partial(fl.decode, changed, fmt, out=out)
        return _case(
            codes, Variant("fmtlib", call, moved), Variant("fmtlib, plain data", plain.call, moved)
        )
    function = Variant("fmtlib ufunc", partial(fl.ufunc("decode", fmt), codes, out=out), moved)
    return _case(codes, plain, function, peer=lambda peer, part: peer.decode(part, record))


def _quantize(n: int, fmt: str, change: Callable[[Array], Array] | None = None, **how: Any) -> Case:
    x, record = _normal(n), fl.get_format(fmt)
    out = np.empty_like(x)
    moved = 2 * x.nbytes
    plain = Variant("fmtlib", partial(fl.quantize, x, fmt, out=out, **how), moved)
    if change is not None:
        changed = Variant("fmtlib", partial(fl.quantize, change(x), fmt, out=out, **how), moved)
        return _case(x, changed, Variant("fmtlib, plain data", plain.call, moved))
    if "seed" in how:
        return _case(x, plain, peer=lambda peer, part: peer.stochastic(part, record))
    function = Variant("fmtlib ufunc", partial(fl.ufunc("quantize", fmt, **how), x, out=out), moved)
    return _case(x, plain, function, peer=lambda peer, part: peer.quantize(part, record))


def _affine(n: int) -> Case:
    x = _matrix(_normal(n))
    rows = x.shape[0]
    rng = np.random.default_rng(2)
    scale = rng.uniform(0.01, 0.03, (rows,))
    zero_point = rng.integers(-20, 20, (rows,))
    out = np.empty(x.shape, np.int8)
    call = partial(fl.encode, x, "int8", scale=scale, zero_point=zero_point, axis=0, out=out)
    return Case(
        x,
        partial(np.copyto, _matrix(_spare(n)), x),
        (Variant("fmtlib", call, x.nbytes + out.nbytes),),
        lambda peer, part: peer.affine(part, scale[: len(part)], zero_point[: len(part)]),
        moved=2 * x.nbytes,
    )


def _call(fmt: str, verb: Literal["encode", "decode", "quantize"], through: str) -> Case:
    """What one call of few elements takes, beside NumPy's."""
    x, record = _normal(_CALL_ELEMENTS), fl.get_format(fmt)
    values = fl.encode(x, fmt) if verb == "decode" else x
    if through == "ufunc":
        call: Call = partial(fl.ufunc(verb, fmt), values)
    else:
        call = partial(getattr(fl, verb), values, fmt)
    return Case(
        values,
        partial(np.rint, x),
        (Variant("fmtlib", call),),
        (lambda peer, part: getattr(peer, verb)(part, record)) if through == "ufunc" else None,
    )


# --- blocks and groups ----------------------------------------------------------------------


def _blocks(n: int, verb: str, fmt: Any, axis: int | None = None, **how: Any) -> Case:
    x, record = _matrix(_normal(n)), fl.get_format(fmt)
    peer: Any = None
    if verb == "decode":
        call: Call = partial(fl.decode, fl.encode(x, fmt), out=np.ones_like(x))
    else:
        if verb == "quantize":
            how["out"] = np.ones_like(x)
        call = partial(getattr(fl, verb), x, fmt, axis=axis, **how)
        method = "stochastic" if "seed" in how else "quantize"
        if axis != 0:  # peers' groups are neighbours in memory
            peer = lambda peer, part: getattr(peer, method)(part, record)  # noqa: E731
    codes = n * record.code_dtype.itemsize
    moved = x.nbytes + (x.nbytes if verb == "quantize" else codes)
    return _case(x, Variant("fmtlib", call, moved), peer=peer)


def _integers(n: int, dtype: str = "int16") -> Array:
    return _matrix((_normal(n) * (30 if dtype == "int8" else 1000)).astype(dtype))


def _beside_copy(data: Array, peer: Any, *ours: Variant) -> Case:
    copy = partial(np.copyto, np.ones_like(data), data)
    return Case(data, copy, ours, peer, moved=2 * data.nbytes)


def _group_bits(n: int, group: Any, axis: Any, dtype: str = "int16", ends: Any = "leading") -> Case:
    data = _integers(n, dtype)
    plain = axis == -1 and ends == "leading" and group % 8 == 0
    peer = (lambda peer, part: peer.group_bits(part, group)) if plain else None
    ours = Variant("fmtlib", partial(fl.group_bits, data, group, axis, ends=ends), data.nbytes)
    return _beside_copy(data, peer, ours)


def _terms(n: int, recoding: Any, dtype: str) -> Case:
    data = _integers(n, dtype)
    return _beside_copy(
        data, None, Variant("fmtlib", partial(fl.terms, data, recoding), 2 * data.nbytes)
    )


def _calibrate(n: int, method: Any) -> Case:
    x = _normal(n)
    return _case(x, Variant("fmtlib", partial(fl.calibrate, x, "int8", method), x.nbytes))


def _compress(n: int, dtype: str, verb: str, zeros: bool = False, axis: int = -1) -> Case:
    """Normal values; with zeros those below 0 are, as after a ReLU."""
    data = _integers(n, dtype)
    if zeros:
        np.maximum(data, 0, out=data)
    peer = lambda peer, part: peer.compress(part, verb)  # noqa: E731
    call: Call = partial(fl.compress, data, axis=axis)
    if verb == "decompress":
        call = partial(fl.decompress, fl.compress(data, axis=axis))
    return _beside_copy(data, peer if axis == -1 else None, Variant("fmtlib", call, data.nbytes))


def _planes(n: int, dtype: str, back: bool) -> Case:
    data = _integers(n, dtype)
    call: Call = fl.bit_planes(data).values if back else partial(fl.bit_planes, data)
    return _beside_copy(data, None, Variant("fmtlib", call, data.nbytes))


# --- products -------------------------------------------------------------------------------


def _operands(n: int) -> tuple[Array, Array]:
    a, b = np.random.default_rng(0).standard_normal((2, n, n), dtype=np.float32)
    return a, b


def _matmul_blocks(n: int, m: int, group: int = 16) -> Case:
    a, b = _operands(n)
    fmt = fl.bfp(m, block_size=group)
    x, y = fl.encode(a, fmt, axis=1), fl.encode(b, fmt, axis=0)
    packed = partial(fl.matmul, fl.pack_operand(x, "a"), fl.pack_operand(y))
    return Case(
        a,
        partial(np.matmul, a, b, out=np.empty_like(a)),
        (Variant("fmtlib", partial(fl.matmul, x, y)), Variant("fmtlib packed", packed)),
        lambda peer, part: peer.matmul(part, b) if part is a else None,
        operations=2 * n**3,
    )


def _matmul_skinny(n: int, rows: int | None, columns: int | None) -> Case:
    """So many rows or columns; None: as many as the other operand has."""
    a, b = _operands(n)
    a, b = np.ascontiguousarray(a[:rows]), np.ascontiguousarray(b[:, :columns])
    fmt = fl.bfp(4)
    x, y = fl.encode(a, fmt, axis=1), fl.encode(b, fmt, axis=0)
    packed = partial(fl.matmul, x, fl.pack_operand(y))
    return Case(
        a,
        partial(np.matmul, a, b, out=np.empty((a.shape[0], b.shape[1]), np.float32)),
        (Variant("fmtlib", partial(fl.matmul, x, y)), Variant("fmtlib packed", packed)),
        operations=2 * a.size * b.shape[1],
    )


def _dot_blocks(n: int, m: int) -> Case:
    """Of each row of one matrix with that of another."""
    a, b = _operands(n)
    x, y = fl.encode(a, fl.bfp(m)), fl.encode(b, fl.bfp(m))
    return Case(
        a,
        partial(np.einsum, "ij,ij->i", a, b),
        (Variant("fmtlib", partial(fl.dot, x, y)),),
        operations=2 * a.size,
    )


def _matmul_whole(n: int, m: int) -> Case:
    """From float32 to the product, against quantising and NumPy's product."""
    a, b = _operands(n)
    fmt, out = fl.bfp(m), np.empty_like(a)

    def encoded() -> Array:
        product: Array = fl.matmul(fl.encode(a, fmt, axis=1), fl.encode(b, fmt, axis=0))
        return product

    def quantized() -> Array:
        return np.matmul(fl.quantize(a, fmt, axis=1), fl.quantize(b, fmt, axis=0), out=out)

    return Case(a, quantized, (Variant("fmtlib", encoded),), operations=2 * n**3)


def _matmul_codes(n: int, fmt: str, accumulator: str) -> Case:
    a, b = _operands(n)
    x, y = fl.encode(a, fmt), fl.encode(b, fmt)
    call = partial(fl.matmul, x, y, formats=(fmt, fmt), accumulator=accumulator)
    return Case(
        a,
        partial(np.matmul, a, b, out=np.empty_like(a)),
        (Variant("fmtlib", call),),
        operations=2 * n**3,
    )


# --- training -------------------------------------------------------------------------------


def _training_step(samples: int, network: str) -> Case:
    """A step beside torch's; and the products that it takes."""
    products: list[tuple[Array, Array, Array]] = []

    class Kept(training.Float32):
        """Keeps its products."""

        def product(
            self, a: Array, b: Array, left: training.Operand, right: training.Operand
        ) -> tuple[Array, int | None]:
            products.append((a, b, a @ b))
            return products[-1][2].copy(), None

    run, once = step(network, samples, Kept())
    once()

    def multiply() -> None:
        for a, b, out in products:
            np.matmul(a, b, out=out)

    return Case(
        batch(network, samples)[0],
        Torch().training_step(network, samples),
        (
            Variant("fmtlib", step(network, samples, training.Float32())[1]),
            Variant("fmtlib, its products alone", multiply),
        ),
        operations=2 * run.macs,
    )


def _recipe_step(samples: int, network: str, recipe: training.Recipe) -> Case:
    """A step of a recipe beside that of Float32."""
    run, call = step(network, samples, recipe)
    call()
    return Case(
        batch(network, samples)[0],
        step(network, samples, training.Float32())[1],
        (Variant("fmtlib", call),),
        operations=2 * run.macs,
    )


# --- the list -------------------------------------------------------------------------------


def tasks() -> list[Task]:
    """All benchmarks; headlines first within each kind."""
    return list(_tasks())


def _tasks() -> Iterator[Task]:
    elementwise = [name for name, fmt in FORMATS.items() if not isinstance(fmt, BlockFormat)]
    blocks = [name for name, fmt in FORMATS.items() if isinstance(fmt, BlockFormat)]
    eight = [name for name in elementwise if name.startswith("float8") and "e8m0" not in name]
    few = ("float8_e4m3fn", "float8_e5m2", "float16", "bfloat16", "float6_e3m2fn", "float4_e2m1fn")

    def limit(name: str, of_float: float, of_integer: float | None) -> float | None:
        if name in few or name in eight:
            return of_float
        return of_integer if name in ("fixed_s7_8", "int8") else None

    for name in elementwise:
        yield Task(
            f"encode {name}", partial(_encode, fmt=name),
            limit=limit(name, 1.5, 1.5), headline=name in (*few[:2], "fixed_s7_8", "int8"),
        )  # fmt: skip
    for name in eight:
        yield Task(
            f"encode {name} nonsaturating", partial(_encode, fmt=name, **_NONSATURATING),
            limit=1.5, headline=name in few[:2],
        )  # fmt: skip
    for dtype in ("float16", "bfloat16", "float64", "int64"):
        for verb, fmt in (
            ("encode", "float8_e4m3fn"), ("quantize", "float8_e4m3fn"), ("encode", "bfp_m4_e8_g16"),
        ):  # fmt: skip
            if dtype != "int64" or (verb, fmt) == ("encode", "float8_e4m3fn"):
                make = partial(_from, verb=verb, fmt=fmt, dtype=dtype)
                yield Task(f"{verb} {fmt} from {dtype}", make)
    yield Task("encode int8 affine per row", _affine, limit=1.5, headline=True)
    for name in elementwise:
        yield Task(
            f"decode {name}", partial(_decode, fmt=name),
            limit=limit(name, 1.5, None), headline=name in few[:2],
        )  # fmt: skip
    for name in elementwise:
        if FORMATS[name].fits("float32"):
            yield Task(
                f"quantize {name}", partial(_quantize, fmt=name),
                limit=limit(name, 1.8, None), headline=name in few,
            )  # fmt: skip
    for name in ("float8_e4m3fn", "bfloat16", "float16", "fixed_s7_8"):
        for rounding in STOCHASTIC:
            how = {**_NOISE, "rounding": rounding}
            yield Task(
                f"quantize {name} {rounding}", partial(_quantize, fmt=name, **how),
                limit=4 if name in few else None,
                headline=rounding == "stochastic" and name == "float8_e4m3fn",
            )  # fmt: skip

    for name in blocks:
        named = FORMATS[name]
        assert isinstance(named, BlockFormat)
        of_16 = named.block_size in (16, 32) and named.scale_rule != "amax"
        headline = name in ("bfp_m4_e8_g16", "mxfp8_e4m3")
        for verb, wanted in (("quantize", 2.2), ("encode", 2.2), ("decode", None)):
            yield Task(
                f"{verb} {name}", partial(_blocks, verb=verb, fmt=name),
                limit=wanted if of_16 else None, headline=headline and verb != "decode",
            )  # fmt: skip
    for fmt in ("bfp_m4_e8_g16", "bfp_m4_e8_g32", "mxfp8_e4m3"):
        headline = fmt == "bfp_m4_e8_g16"
        for verb in ("quantize", "encode"):
            yield Task(
                f"{verb} {fmt} along axis 0", partial(_blocks, verb=verb, fmt=fmt, axis=0),
                limit=3, headline=headline and verb == "quantize",
            )  # fmt: skip
        yield Task(
            f"quantize {fmt} stochastic", partial(_blocks, verb="quantize", fmt=fmt, **_NOISE),
            limit=5, headline=headline,
        )  # fmt: skip
    for group in (16, 32):
        yield Task(
            f"group_bits of {group}", partial(_group_bits, group=group, axis=-1),
            "copyto of int16", limit=1.2, headline=group == 16,
        )  # fmt: skip
    yield Task("group_bits of 7", partial(_group_bits, group=7, axis=-1), "copyto of int16")
    yield Task("group_bits of 16, both ends", partial(_group_bits, group=16, axis=-1, ends="both"),
               "copyto of int16", limit=1.5)  # fmt: skip
    tiles: dict[str, tuple[Any, Any]] = {" along axis 0": (16, 0), " by 16": ((16, 16), (0, 1))}
    for what, (across, axes) in tiles.items():
        yield Task(
            f"group_bits of 16{what}", partial(_group_bits, group=across, axis=axes),
            "copyto of int16", limit=1.2,
        )  # fmt: skip
    for dtype in ("int8", "int32"):
        yield Task(
            f"group_bits of 16, {dtype}", partial(_group_bits, group=16, axis=-1, dtype=dtype),
            f"copyto of {dtype}", limit=1.2,
        )  # fmt: skip

    for recoding, dtype in (("naf", "int8"), ("naf", "int16"), ("booth", "int16")):
        yield Task(
            f"terms {recoding}, {dtype}", partial(_terms, recoding=recoding, dtype=dtype),
            f"copyto of {dtype}", limit=1.5,
        )  # fmt: skip

    for verb_ in ("compress", "decompress"):
        for dtype in ("int8", "int16", "int32"):
            yield Task(
                f"{verb_} {dtype}", partial(_compress, dtype=dtype, verb=verb_),
                f"copyto of {dtype}",
            )  # fmt: skip
        yield Task(
            f"{verb_} int16, half of it zeros",
            partial(_compress, dtype="int16", verb=verb_, zeros=True), "copyto of int16",
        )  # fmt: skip
        yield Task(
            f"{verb_} int16 along axis 0, half of it zeros",
            partial(_compress, dtype="int16", verb=verb_, zeros=True, axis=0), "copyto of int16",
        )  # fmt: skip
    for back, what_ in ((False, "bit_planes"), (True, "values of bit planes")):
        for dtype in ("int8", "int16"):
            yield Task(
                f"{what_}, {dtype}", partial(_planes, dtype=dtype, back=back), f"copyto of {dtype}"
            )

    for method in METHODS:
        yield Task(
            f"calibrate int8 {method}", partial(_calibrate, method=method),
            limit=1.2 if method == "max" else None, headline=method == "max",
        )  # fmt: skip

    # the same on awkward data; plain data stands beside
    kinds: dict[str, Callable[[Array], Array]] = {
        "10 % specials": lambda x: _special(x.size),
        "an element off": partial(_shifted, by=4),
        "a byte off": partial(_shifted, by=1),
    }
    for kind, change in kinds.items():
        for name in ("float8_e4m3fn", "fixed_s7_8"):
            yield Task(f"encode {name}, {kind}", partial(_encode, fmt=name, change=change))
        yield Task(
            f"encode float8_e4m3fn nonsaturating, {kind}",
            partial(_encode, fmt="e4m3", change=change, **_NONSATURATING),
        )
        for name in ("float8_e4m3fn", "float16", "bfloat16"):
            yield Task(f"quantize {name}, {kind}", partial(_quantize, fmt=name, change=change))
        yield Task(
            f"quantize float8_e4m3fn stochastic, {kind}",
            partial(_quantize, fmt="e4m3", change=change, **_NOISE),
        )
        if kind == "10 % specials":
            yield Task(f"decode float8_e4m3fn, {kind}", partial(_decode, fmt="e4m3", change=change))

    verbs: tuple[Literal["encode", "decode", "quantize"], ...] = ("encode", "decode", "quantize")
    for verb in verbs:
        for through, wanted in (("ufunc", 2.0), ("function", 3.0)):
            yield Task(
                f"call {verb} float8_e4m3fn, {through}",
                lambda _, verb=verb, through=through: _call("float8_e4m3fn", verb, through),  # type: ignore[misc]
                "np.rint", limit=wanted, avx2_limit=wanted, headline=True, scale="call",
            )  # fmt: skip

    for m, group, speed, avx2 in (
        (4, 16, 1.3, 1.0), (4, 32, 1.3, 1.0), (4, 64, 1.3, 1.0), (7, 16, 1.3, 1.0),
        (7, 32, 1.3, 1.0), (7, 64, 1.3, 1.0), (2, 16, 1.3, 1.0), (6, 16, 1.3, 1.0),
        (8, 16, 0.7, 0.7), (12, 16, 0.7, 0.7), (14, 16, 0.7, 0.7), (15, 16, 0.7, 0.7),
        (15, 32, 0.7, 0.7),
    ):  # fmt: skip
        yield Task(
            f"matmul BFP m={m} in groups of {group}",
            partial(_matmul_blocks, m=m, group=group),
            "float32 matmul", limit=1 / speed, avx2_limit=1 / avx2,
            headline=group == 16 and m in (4, 7, 12), scale="matrix",
        )  # fmt: skip
    shapes: tuple[tuple[str, int | None, int | None], ...] = (
        ("a row", 1, None), ("a column", None, 1), ("4 columns", None, 4),
    )  # fmt: skip
    for name, rows, columns in shapes:
        yield Task(
            f"matmul BFP m=4, {name}", partial(_matmul_skinny, rows=rows, columns=columns),
            "float32 matmul", scale="matrix",
        )  # fmt: skip
    yield Task(
        "matmul BFP m=4, 4 by 4", partial(_matmul_blocks, m=4), "float32 matmul",
        scale="matrix", rows=4,
    )  # fmt: skip
    for m in (4, 12):
        yield Task(
            f"dot BFP m={m} of rows", partial(_dot_blocks, m=m), "float32 einsum", scale="matrix"
        )
    for m in (4, 7):
        yield Task(
            f"encode and matmul BFP m={m} in groups of 16", partial(_matmul_whole, m=m),
            "quantize and float32 matmul", limit=1, avx2_limit=1,
            headline=m == 4, scale="matrix",
        )  # fmt: skip
    for network, samples in BATCHES.items():
        yield Task(
            f"training step of {network}", partial(_training_step, network=network),
            TORCH_STEP, limit=2, avx2_limit=2, scale="batch", rows=samples,
        )  # fmt: skip
        recipes: list[tuple[str, training.Recipe, bool]] = [
            ("FP8", training.FP8(), True),
            ("BFP m=4", training.BFP(4), True),
            ("BFP m=8", training.BFP(8), True),
            ("FAST", training.FAST(), False),
        ]
        if network == "a CNN":
            recipes += [
                ("BFP m=2", training.BFP(2), True),
                ("MXFP8", training.MXFP8(), False),
                ("HBFP8", training.HBFP(8), False),
                ("Mitchell m=7", training.Approximate("mitchell", 7), False),
            ]
        for kind, recipe, wanted_of_cnn in recipes:
            most = 1.5 if wanted_of_cnn and network.startswith("a CNN") else None
            yield Task(
                f"training step of {network}, {kind}",
                partial(_recipe_step, network=network, recipe=recipe),
                "Float32 step", limit=most, scale="batch", rows=samples,
            )  # fmt: skip
    for accumulator, by_operands in PRESETS.items():
        if "any" in by_operands or "float8" in by_operands:
            yield Task(
                f"matmul float8_e4m3fn {accumulator}",
                partial(_matmul_codes, fmt="e4m3", accumulator=accumulator),
                "float32 matmul", least_gflops=3,
                headline=accumulator in ("exact", "hopper"), scale="matrix", rows=512,
            )  # fmt: skip
