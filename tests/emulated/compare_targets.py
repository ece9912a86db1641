"""Compare the kernels of every instruction set that this machine can run, bit for bit.

Usage: compare_targets.py [family ...]

Each call is made once with each set; results, and the floating-point errors that they raise, must
not differ.  For each family of calls their number is printed and a digest of the results, which
must not differ between machines either.  The status is 1 if anything differs.

It needs only fmtlib and NumPy, so that it runs in the emulated machine of run.sh; `pytest` runs it
too (test_targets.py).
"""

import hashlib
import sys
from collections.abc import Callable, Iterator
from dataclasses import fields, is_dataclass, replace
from functools import cache, partial
from itertools import product

import numpy as np

import fmtlib as fl
from fmtlib._core import kernels
from fmtlib.formats import FORMATS, ROUNDINGS, STOCHASTIC, BlockFormat, FloatFormat, IntegerFormat
from fmtlib.random_words import Words

try:
    import ml_dtypes  # noqa: F401 - gives NumPy bfloat16

    TYPES = ["float32", "float64", "float16", "bfloat16"]
except ImportError:
    TYPES = ["float32", "float64", "float16"]
BLOCKS = [name for name, fmt in FORMATS.items() if isinstance(fmt, BlockFormat)]
ELEMENTWISE = [name for name in FORMATS if name not in BLOCKS]
DETERMINISTIC = [rounding for rounding in ROUNDINGS if rounding not in STOCHASTIC]
# Formats whose kernels differ in kind, for what need not be done with all of them.
SOME = ["float8_e4m3fn", "float8_e5m2", "float8_e8m0fnu", "float4_e2m1fn", "bfloat16", "float16",
        "tf32", "binary8p3se", "fixed_s7_8", "fixed_s15_16", "int8", "uint4"]  # fmt: skip
# Lengths around the vectors of 16 to 64 lanes, and around the chunks of kernels.
LENGTHS = [*range(68), 127, 128, 129, 511, 512, 513, 1030]


# --- inputs ---------------------------------------------------------------------------------


@cache
def floats(dtype: str, step: int = 1) -> np.ndarray:
    """Both signs, all exponents, and significands about every `step`-th bit of the mantissa.

    Significands have one or two bits set, or all but one, or are next to one bit: ties of every
    precision and what is beside them.  Subnormals, infinities and NaN are among them.  Types of
    16 bits give every `step`-th pattern, float64 exponents that float32 nearly has, and the ends.
    """
    if np.dtype(dtype).itemsize == 2:
        return np.arange(0, 1 << 16, step, dtype=np.uint16).view(dtype)
    bits, mantissa_bits, least, greatest = {
        "float32": (32, 23, 0, 255),
        "float64": (64, 52, 1023 - 160, 1023 + 135),
    }[dtype]
    places = np.arange(0, mantissa_bits, step, dtype=np.uint64)
    ones = np.uint64(1) << places
    mask = np.uint64((1 << mantissa_bits) - 1)
    mantissas = np.unique(np.concatenate([ones, ones - 1, ones + 1, 3 * ones, ~ones]) & mask)
    exponents = np.arange(least, greatest + 1, dtype=np.uint64)
    if bits == 64:
        exponents = np.concatenate([exponents, np.array([0, 1, 2045, 2046, 2047], np.uint64)])
    signs = np.array([0, 1], np.uint64) << np.uint64(bits - 1)
    exponents <<= np.uint64(mantissa_bits)
    patterns = signs[:, None, None] | exponents[:, None] | mantissas
    return patterns.ravel().astype(f"u{bits // 8}").view(dtype)


def converted(x: np.ndarray, dtype: str) -> np.ndarray:
    with np.errstate(over="ignore", invalid="ignore"):  # overflow; signalling NaN
        return x.astype(dtype)


def normal(shape: int | tuple[int, ...], seed: int = 0, spread: int = 0) -> np.ndarray:
    """Normal numbers times powers of two up to 2**spread and down to its inverse."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape, dtype=np.float32)
    return np.ldexp(x, rng.integers(-spread, spread + 1, shape))


def with_specials(x: np.ndarray) -> np.ndarray:
    """Zeros, subnormals and great numbers among them; infinities and NaN in later blocks."""
    x = x.copy()
    flat = x.reshape(-1)
    info = np.finfo(x.dtype)
    some = [0, -0.0, info.smallest_subnormal, -3 * info.smallest_subnormal, info.tiny, info.max]
    for i, value in enumerate(some):
        flat[i * 7 :: 97] = value
    flat[len(flat) // 2 + 5 :: 331] = np.nan
    flat[len(flat) // 2 + 99 :: 443] = -np.inf
    return x


def integers(dtype: str, count: int = 3000) -> np.ndarray:
    """Integers of all widths and both signs, and the limits."""
    rng = np.random.default_rng(1)
    info = np.iinfo(dtype)
    widths = rng.integers(0, info.bits, count).astype(np.uint64)
    x = (rng.integers(0, 1 << 63, count, np.uint64) << np.uint64(1) >> (63 - widths)).astype(dtype)
    x = np.where(rng.integers(0, 2, count) == 1, ~x, x)
    return np.concatenate([x, np.array([0, 1, info.min, info.max, info.max // 2], dtype)])


def all_codes(name: str, count: int = 1 << 16) -> np.ndarray:
    """All codes of a format, or as many of a wide one, in any order."""
    fmt = FORMATS[name]
    low, high = (0, (1 << fmt.bits) - 1)
    if not isinstance(fmt, FloatFormat):
        low, high = fmt.min_integer, fmt.max_integer
    if high - low < count:
        return np.arange(low, high + 1).astype(fmt.code_dtype)
    return np.random.default_rng(2).integers(low, high, count, endpoint=True).astype(fmt.code_dtype)


# --- calls ----------------------------------------------------------------------------------

Calls = Iterator[Callable[[], object]]


def codes_overflows(name: str) -> list[str]:
    return [mode for mode in FORMATS[name].overflows if mode != "raise"]


def verbs(name: str, dtype: str) -> list[Callable[..., np.ndarray]]:
    return [fl.encode, fl.quantize] if holds(dtype, name) else [fl.encode]


def holds(dtype: str, name: str) -> bool:
    """Whether every value of the format is one of the type, so that `quantize` takes it."""
    try:
        fl.quantize(np.zeros(1, dtype), name)
    except TypeError:
        return False
    return True


def elementwise() -> Calls:
    for name, dtype in product(ELEMENTWISE, TYPES):
        for verb in verbs(name, dtype):
            yield partial(verb, floats(dtype, 1 if dtype == "float32" else 3), name)
        few = floats(dtype, 11)
        for verb, rounding, overflow in product(
            verbs(name, dtype), DETERMINISTIC, codes_overflows(name)
        ):
            yield partial(verb, few, name, rounding=rounding, overflow=overflow)
    for name in ELEMENTWISE:
        for dtype in TYPES:
            if holds(dtype, name):
                yield partial(fl.decode, all_codes(name), name, dtype=dtype)
    for name, dtype in product(ELEMENTWISE, np.typecodes["AllInteger"]):
        for overflow in codes_overflows(name)[:2]:
            yield partial(fl.encode, integers(dtype), name, overflow=overflow)
    for name in ELEMENTWISE:
        x = np.concatenate([floats("float32", 9), np.float32([3e38, 448, 464, 464.00003])])
        x = np.nan_to_num(x[abs(x) <= float(FORMATS[name].max)])
        yield partial(fl.encode, x, name, overflow="raise")


def layouts() -> Calls:
    x = floats("float32", 5)
    x = x[np.random.default_rng(3).permutation(len(x))][:1200]
    for name, dtype in product(SOME, TYPES):
        y = converted(x, dtype)
        encode = fl.ufunc("encode", name)
        for n in LENGTHS:
            yield partial(encode, y[n % 5 : n % 5 + n])
    for name, n in product(SOME, LENGTHS):
        yield partial(fl.ufunc("quantize", name), converted(x[n % 3 : n % 3 + n], "float64"))
        yield partial(fl.ufunc("decode", name), all_codes(name, 1200)[n % 7 :][:n])
    for name in SOME:
        for y in (x[::3], x[::-1], x[:1190].reshape(70, 17).T, x[0], x.astype(">f4")):
            yield partial(fl.encode, y, name)
        unaligned = np.frombuffer(b"\0" + x.tobytes(), np.uint8)[1:].view("f4")
        yield partial(fl.encode, unaligned, name)
        yield partial(fl.encode, x, name, out=np.zeros(1200, FORMATS[name].code_dtype), where=x > 0)


def scaled() -> Calls:
    x = with_specials(normal((40, 51), 4, spread=9))
    several = np.linspace(0.01, 300, 51)
    zeros = np.arange(51) % 5
    for name, dtype in product(ELEMENTWISE, TYPES):
        y = converted(x, dtype)
        codes = np.resize(all_codes(name, 2040), (40, 51))
        affine = isinstance(FORMATS[name], IntegerFormat)
        if affine:
            yield partial(fl.encode, y, name, scale=several, zero_point=zeros, axis=1)
        for verb in verbs(name, dtype):
            yield partial(verb, y, name, scale=0.3)
            yield partial(verb, y, name, scale=several, axis=1, rounding="toward_zero")
            yield partial(verb, y, name, scale=2.0**-130, rounding="up")
        if holds(dtype, name):
            decode = partial(fl.decode, codes, name, dtype=dtype)
            yield partial(decode, scale=0.3)
            yield partial(decode, scale=1e37)
            if affine:
                yield partial(decode, scale=several, zero_point=zeros, axis=1)


def stochastic() -> Calls:
    for first, n in product([0, 1, 2, 3, 4, 61, 2**32 * 4 - 6, 2**63], [0, 1, 5, 31, 64, 67, 1000]):
        yield partial(Words(0x123456789ABCDEF, 2**40 + 7, first=first).take, 0, n)
    for name, rounding in product(ELEMENTWISE, STOCHASTIC):
        for dtype, bits in [("float32", None), ("float32", 5), ("float64", 17), ("float16", None)]:
            x = floats(dtype, 11)
            yield partial(fl.encode, x, name, rounding=rounding, random_bits=bits, seed=(5, 9))
        yield partial(fl.quantize, floats("float64", 11), name, rounding=rounding, seed=1)
    words = Words(1, 2).take(3, 1200)
    for name, n in product(SOME, range(66)):
        encode = fl.ufunc("encode", name, rounding="stochastic")
        yield partial(encode, normal(1200, 5, spread=8)[n:][:n], words[:n])


def blocks() -> Calls:
    x = with_specials(normal((6, 7, 150), 6, spread=6))
    for name in BLOCKS:
        fmt = FORMATS[name]
        axes = [(-2, -1), (0, 2)] if isinstance(fmt.block_size, tuple) else [2, 1, 0]
        for dtype, axis in product(TYPES, axes):
            y = converted(x, dtype)
            for rounding in ["nearest_even", "toward_zero"]:
                yield partial(fl.encode, y, fmt, axis=axis, rounding=rounding)
            if dtype in ("float32", "float64"):
                yield partial(fl.quantize, y, fmt, axis=axis)
            yield partial(fl.quantize, y.astype("f8"), fmt, axis=axis, rounding="stochastic",
                          seed=3)  # fmt: skip
        yield partial(fl.encode, x, fmt, axis=axes[0], rounding="stochastic", seed=(1, 2),
                      random_bits=4)  # fmt: skip
        for rounding in DETERMINISTIC[1:]:
            yield partial(fl.encode, x[:3], fmt, axis=axes[0], rounding=rounding)
        coded = fl.encode(x, fmt, axis=axes[0])
        coded = replace(coded, codes=np.bitwise_xor(coded.codes, coded.codes.dtype.type(1)))
        for dtype in ["float32", "float64"]:
            yield partial(fl.decode, coded, dtype=dtype)
    sizes = [1, 2, 3, 8, 15, 16, 17, 32, 33, 64, 100, 1000]
    records = ["bfp_m4_e8_g16", "bfp_m7_e8_g16", "bfp_m12_e5_g16", "mxfp8_e4m3", "mxfp4_e2m1",
               "mxint8", "nvfp4", "hbfp8", "bfp_m4_e8_g16_bump"]  # fmt: skip
    for name, size, axis in product(records, sizes, [1, 0]):
        fmt = replace(fl.get_format(name), block_size=size)
        for shape in [(5, 201), (70, 16)]:
            yield partial(fl.encode, normal(shape, 7, spread=3), fmt, axis=axis)
    for name, rule in product(records[:6], ["floor", "ceil", "even", "rceil", "hbfp"]):
        fmt = replace(fl.get_format(name), scale_rule=rule, block_size=2)
        y = floats("float32", 11)[np.isfinite(floats("float32", 11))]
        yield partial(fl.encode, np.stack([y, y / 3], 1), fmt)
    fmt = fl.bfp(4)
    for n in LENGTHS:  # rows that start anywhere
        yield partial(fl.quantize, normal((3, n), 8), fmt)
        yield partial(fl.quantize, normal((n, 3), 8), fmt, axis=0) if n else partial(int)


def widths() -> Calls:
    for dtype, ends in product(["int16", "uint16"], ["leading", "both"]):
        x = np.concatenate([integers(dtype), np.zeros(100, dtype)])
        for size, n in product([1, 2, 8, 15, 16, 17, 64, 256], [0, 1, 16, 31, 33, 64, 100, 3105]):
            yield partial(fl.group_bits, x[7:][:n], size, ends=ends)
        for size, axis in product([3, 16], [0, 1, 2]):
            y = np.resize(x, (20, 17, 37))
            yield partial(fl.group_bits, y, size, axis, ends=ends)


def narrow() -> Calls:
    """Groups of all integer types: widths, terms, and the bytes they are compressed to."""
    for dtype in ("int8", "uint8", "int16", "uint16", "int32", "uint32"):
        x = integers(dtype, 3100)
        x[::3] = 0
        for encoding, size in product(["twos_complement", "sign_magnitude"], [1, 5, 16, 64]):
            yield partial(fl.group_bits, x, size, ends="both", encoding=encoding)
            yield partial(fl.group_bits, x.reshape(23, -1), (size, 3), (0, 1), encoding=encoding)
        for recoding in ("binary", "naf", "booth", "run_length"):
            yield partial(fl.terms, x, recoding)
        for size, zero_vector in product([1, 5, 16, 24, 64], [False, True]):
            yield partial(there_and_back, x, size, zero_vector)


def there_and_back(x: np.ndarray, size: int, zero_vector: bool) -> tuple[np.ndarray, np.ndarray]:
    data = fl.compress(x, size, zero_vector=zero_vector).tobytes()
    return np.frombuffer(data, np.uint8), fl.decompress(data)


SHAPES = [(1, 1, 1), (1, 16, 1), (4, 16, 16), (3, 17, 5), (9, 40, 131), (1, 33, 300), (70, 5, 2),
          (13, 200, 37), (2, 2100, 3), (33, 64, 65)]  # fmt: skip


def packed_matmul(a: fl.BlockArray, b: fl.BlockArray) -> np.ndarray:
    return fl.matmul(fl.pack_operand(a, "a"), fl.pack_operand(b))


def block_products() -> Calls:
    def operands(shape, fa, fb, special=False, shift=0):
        rows, depth, columns = shape
        a, b = normal((rows, depth), 9, spread=4), normal((depth, columns), 10, spread=4)
        a, b = np.ldexp(a, shift), np.ldexp(b, shift)
        if special:
            a[0, -1], b[depth // 2, 0], b[:, -1] = np.nan, np.inf, 0
        return fl.encode(a, fa, axis=1), fl.encode(b, fb, axis=0)

    for m, n in product(range(1, 17), [1, 3, 4, 7, 8, 11, 15]):
        yield partial(fl.matmul, *operands((5, 70, 19), fl.bfp(m), fl.bfp(n)))
    for shape, size in product(SHAPES, [1, 7, 16, 32, 64, 300]):
        for m in (4, 7, 9, 15):
            fmt = fl.bfp(m, 8, size)
            yield partial(fl.matmul, *operands(shape, fmt, fmt))
    for shape in SHAPES:
        a, b = operands(shape, fl.bfp(4), fl.bfp(4), special=True)
        yield partial(fl.matmul, a, b, c=normal((shape[0], shape[2]), 11))
        yield partial(fl.matmul, a, b, accumulator="exact")
        yield partial(fl.matmul, fl.BlockArray.transpose(b), fl.BlockArray.transpose(a))
    for m, shift in product([4, 7, 12], [-140, -74, 62]):  # subnormal and infinite products
        a, b = operands((11, 70, 41), fl.bfp(m), fl.bfp(m), special=True, shift=shift)
        yield partial(fl.matmul, a, b)
    for m, size in product([4, 6, 7, 12, 15], [16, 32, 48]):
        fmt = fl.bfp(m, 8, size)
        for shape in [(5, 70, 19), (17, 100, 70), (140, 33, 530)]:
            yield partial(packed_matmul, *operands(shape, fmt, fmt))
    yield partial(fl.matmul, *operands((3, 9000, 3), fl.bfp(15, 8, 8999), fl.bfp(15, 8, 8999)))
    for name in ["mxfp8_e4m3", "mxfp4_e2m1", "mxint8", "nvfp4", "smx6"]:
        a, b = operands((5, 70, 19), name, name)
        for accumulator in ("float32", "exact", "fmac"):
            yield partial(fl.matmul, a, b, accumulator=accumulator)


def code_products() -> Calls:
    rng = np.random.default_rng(12)
    names = ["float8_e4m3fn", "float8_e5m2", "bfloat16", "float16", "tf32", "int8", "fixed_s7_8"]
    presets = ["exact", "float32", "v100", "a100", "ada", "hopper", "b200"]
    supported = {
        "v100": names[3:4],
        "a100": names[2:5],
        "ada": names[:5],
        "hopper": names[:5],
        "b200": names[:5],
    }
    for name, preset in product(names, presets):
        if name not in supported.get(preset, names):
            continue
        fmt = FORMATS[name]
        for rows, depth, columns in SHAPES:
            if fmt.bits > 8 and depth > 40:
                continue
            sizes = (rows, depth), (depth, columns)
            a, b = (rng.choice(all_codes(name, 4096), size) for size in sizes)
            formats = (name, name)
            yield partial(fl.matmul, a, b, formats=formats, accumulator=preset)
            a, b = (fl.encode(normal(size, 13, spread=3), name) for size in sizes)
            yield partial(fl.matmul, a, b, formats=formats, accumulator=preset)
            yield partial(fl.dot, a, np.resize(b.T, a.shape), formats=formats, accumulator=preset)
    for fa, fb in [("float8_e4m3fn", "float8_e5m2"), ("float4_e2m1fn", "float6_e3m2fn")]:
        a, b = (fl.encode(normal(s, 14), f) for s, f in [((9, 70), fa), ((70, 33), fb)])
        for preset in ("exact", "float32"):
            for dtype in ("float16", "float32", "float64"):
                yield partial(fl.matmul, a, b, formats=(fa, fb), accumulator=preset, dtype=dtype)


def statistics() -> Calls:
    x = with_specials(normal((9, 333), 15, spread=9))
    for name, rounding in product(ELEMENTWISE, ["nearest_even", "toward_zero", "stochastic"]):
        seed = 4 if rounding == "stochastic" else None
        for axis in (None, 0, 1):
            yield partial(fl.error_statistics, x, name, rounding=rounding, seed=seed, axis=axis)
    for name in ["int8", "float8_e4m3fn"]:
        yield partial(fl.error_statistics, x, name, scale=0.01, axis=0)
        yield partial(fl.error_statistics, x, name, block_size=16)
    for name in BLOCKS:
        yield partial(fl.error_statistics, x, name)


def storage() -> Calls:
    for name in ELEMENTWISE:
        codes = all_codes(name, 2000)
        packed = fl.pack(codes, name)
        yield partial(fl.pack, codes, name)
        yield partial(fl.unpack, packed, name, len(codes))
        for other in SOME:
            yield partial(fl.convert, codes, name, other)


FAMILIES: dict[str, Callable[[], Calls]] = {
    family.__name__: family
    for family in (
        elementwise, layouts, scaled, stochastic, blocks, widths, narrow, block_products,
        code_products, statistics, storage,
    )
}  # fmt: skip


# --- comparison -----------------------------------------------------------------------------


def arrays(result: object) -> list[np.ndarray]:
    """All that a result consists of."""
    if isinstance(result, BlockFormat) or result is None:
        return []
    if is_dataclass(result):
        result = tuple(getattr(result, field.name) for field in fields(result))
    if isinstance(result, tuple):
        return [array for part in result for array in arrays(part)]
    array = np.asarray(result)
    assert array.dtype != object, "an object's bytes say nothing"
    return [array]


def run(call: Callable[[], object]) -> list[tuple[str, tuple[int, ...], bytes]]:
    """Type, shape and bytes of what a call gives; at last the floating-point errors it raised."""
    errors: list[str] = []
    with np.errstate(all="call", call=lambda error, flag: errors.append(error)):
        try:
            found = arrays(call())
        except (ValueError, OverflowError) as error:
            found = [np.array(f"{type(error).__name__}: {error}")]
    outcome = [(str(array.dtype), array.shape, array.tobytes()) for array in found]
    return [*outcome, ("errors", (), " ".join(errors).encode())]


def describe(call: Callable[[], object]) -> str:
    """The call as one could write it, arrays by their type and shape."""

    def short(value: object) -> str:
        if isinstance(value, np.ndarray):
            return f"{value.dtype}{list(value.shape)}"
        if isinstance(value, fl.BlockArray):
            return f"{value.format.name}{list(value.shape)}"
        return value.name if isinstance(value, BlockFormat) else repr(value)

    assert isinstance(call, partial)
    name = getattr(call.func, "__name__", str(call.func))
    options = [f"{key}={short(value)}" for key, value in call.keywords.items()]
    return f"{name}({', '.join([*map(short, call.args), *options])})"


def difference(expected: list, found: list) -> str:
    """Where two outcomes part first."""
    for (dtype, shape, data), (other_dtype, other_shape, other) in zip(
        expected, found, strict=True
    ):
        if (dtype, shape) != (other_dtype, other_shape):
            return f"{dtype}{shape} against {other_dtype}{other_shape}"
        if data != other:
            if dtype == "errors" or np.dtype(dtype).kind == "U":
                return f"{data!r} against {other!r}"
            a, b = (np.frombuffer(part, dtype) for part in (data, other))
            size = a.itemsize
            unequal = np.flatnonzero(
                (a.view(np.uint8) != b.view(np.uint8)).reshape(-1, size).any(1)
            )
            i = int(unequal[0])
            return (
                f"{len(unequal)} of {len(a)} elements, first element {i}: "
                f"{a[i]!r} ({a[i].tobytes()[::-1].hex()}) against "
                f"{b[i]!r} ({b[i].tobytes()[::-1].hex()})"
            )
    return ""


def compare(family: str) -> tuple[int, str, list[str]]:
    """Number of calls of a family, digest of their results, and what differs."""
    count, digest, wrong = 0, hashlib.blake2b(digest_size=8), []
    targets = kernels.available_targets()
    if family != "block_products":  # all that has integer dot products
        targets = [target for target in targets if not target.endswith("-vnni")]
    try:
        for call in FAMILIES[family]():
            count += 1
            outcomes = []
            for target in targets:
                kernels.force_target(target)
                outcomes.append(run(call))
            for target, outcome in zip(targets[1:], outcomes[1:], strict=True):
                if outcome != outcomes[0]:
                    where = difference(outcomes[0], outcome)
                    wrong.append(f"{describe(call)}: {targets[0]}, {target}: {where}")
            for dtype, shape, data in outcomes[0]:
                digest.update(f"{dtype}{shape}".encode())
                digest.update(data)
            kernels.force_target(targets[0])  # for the operands of the next call
    finally:
        kernels.force_target(None)
    return count, digest.hexdigest(), wrong


def main(names: list[str]) -> int:
    print("targets:", *kernels.available_targets())
    print(f"fmtlib {fl.__version__}, numpy {np.__version__}", flush=True)
    status = 0
    for family in names or FAMILIES:
        count, digest, wrong = compare(family)
        print(f"{family:16}{count:6} calls  {digest}  {len(wrong)} differ")
        for line in wrong[:5]:
            print("  ", line)
        sys.stdout.flush()
        status |= bool(wrong)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
