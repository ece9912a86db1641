"""Other packages that do some of the same, each in the fastest way its interface offers.

A method takes the array of a task and returns the call to be timed, or None where the package has
no such thing.  The call returns the result, or fills its first argument; results go into existing
arrays where the package can do that.  Overflow, ties and NaN are the package's own.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import sys
import time
import warnings
from functools import partial
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

import fmtlib as fl
from fmtlib.benchmarks.steps import torch_step
from fmtlib.benchmarks.timing import Call
from fmtlib.formats import BlockFormat, FixedFormat, FloatFormat, Format

Array = NDArray[Any]


def _groups(x: Array, fmt: BlockFormat) -> Array:
    """The elements that share a scale, one row for each group."""
    assert isinstance(fmt.block_size, int)
    return x.reshape(-1, fmt.block_size)


class Peer:
    """A package, imported when the object is made; ImportError if it is not installed."""

    name: ClassVar[str]

    @property
    def version(self) -> str:
        """Of the package."""
        return version(self.name)

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """Codes of the nearest values."""

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """Values of codes, in float32."""

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """The nearest values, in x's own type."""

    def stochastic(self, x: Array, fmt: Format) -> Call | None:
        """Quantise with random rounding."""

    def affine(self, x: Array, scale: Array, zero_point: Array) -> Call | None:
        """Codes of int8 with a scale and a zero point for each row."""

    def group_bits(self, x: Array, group: int) -> Call | None:
        """Widths of groups of int16."""

    def compress(self, x: Array, verb: str) -> Call | None:
        """Compress integers without loss, or decompress them again."""

    def matmul(self, a: Array, b: Array) -> Call | None:
        """The product in float32."""


class NumPy(Peer):
    """What one writes by hand."""

    name = "numpy"

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """float16 by a cast; fixed point by arithmetic."""
        if fmt.name == "float16":
            return partial(np.copyto, np.empty(x.shape, np.float16), x, casting="same_kind")
        if not isinstance(fmt, FixedFormat):
            return None
        steps, low, high = 2.0**fmt.fraction_bits, fmt.min_integer, fmt.max_integer
        work, out = np.empty_like(x), np.empty(x.shape, fmt.code_dtype)

        def run() -> Array:
            np.multiply(x, np.float32(steps), out=work)
            np.rint(work, out=work)
            np.clip(work, low, high, out=work)
            np.copyto(out, work, casting="unsafe")
            return out

        return run

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """A table of all codes; float16 by a cast."""
        if fmt.name == "float16":
            return partial(np.copyto, np.empty(codes.shape, np.float32), codes.view(np.float16))
        if isinstance(fmt, BlockFormat) or fmt.bits != 8 or codes.dtype != np.uint8:
            return None
        table = fl.decode(np.arange(256, dtype=np.uint8), fmt, dtype=np.float32)
        return lambda: table[codes]

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """float16 by casts; fixed point and block floating point by arithmetic."""
        if fmt.name == "float16":
            low, out = np.empty(x.shape, np.float16), np.empty_like(x)

            def there_and_back() -> Array:
                np.copyto(low, x, casting="same_kind")
                np.copyto(out, low)
                return out

            return there_and_back
        return self._blocks(x, fmt, np.rint)

    def stochastic(self, x: Array, fmt: Format) -> Call | None:
        """Block floating point by arithmetic."""
        rng = np.random.default_rng(0)

        def rounded(steps: Array) -> Array:
            steps += rng.random(steps.shape, dtype=np.float32)
            return np.floor(steps, out=steps)

        return self._blocks(x, fmt, rounded)

    @staticmethod
    def _blocks(x: Array, fmt: Format, rounded: Any) -> Call | None:
        if not isinstance(fmt, BlockFormat) or fmt.name != fl.bfp(fmt.bits - 1).name:
            return None
        m = fmt.bits - 1
        groups = _groups(x, fmt)

        def run() -> Any:
            _, exponent = np.frexp(np.abs(groups).max(axis=1, keepdims=True))
            steps = groups * np.ldexp(np.float32(1), m - exponent)
            steps = np.clip(rounded(steps), 1 - (1 << m), (1 << m) - 1)
            steps *= np.ldexp(np.float32(1), exponent - m)
            return steps

        return run

    def affine(self, x: Array, scale: Array, zero_point: Array) -> Call | None:
        """By arithmetic."""
        scales = scale.astype(np.float32)[:, None]
        zeros = zero_point.astype(np.float32)[:, None]
        work, out = np.empty_like(x), np.empty(x.shape, np.int8)

        def run() -> Array:
            np.divide(x, scales, out=work)
            np.rint(work, out=work)
            np.add(work, zeros, out=work)
            np.clip(work, -127, 127, out=work)
            np.copyto(out, work, casting="unsafe")
            return out

        return run

    def group_bits(self, x: Array, group: int) -> Call | None:
        """The exponent of each group's greatest magnitude."""
        groups = x.reshape(-1, group)

        def run() -> Array:
            magnitudes: Array = (groups ^ (groups >> 15)).max(axis=1)
            return np.frexp(magnitudes.astype(np.float32))[1] + np.int32(1)

        return run


class MLDtypes(Peer):
    """ml_dtypes: casts of NumPy's."""

    name = "ml_dtypes"

    def __init__(self) -> None:
        self._module = importlib.import_module("ml_dtypes")

    def _dtype(self, fmt: Format) -> Any:
        found = getattr(self._module, fmt.name, None)
        return np.dtype(found) if isinstance(fmt, FloatFormat) and found is not None else None

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """A cast."""
        dtype = self._dtype(fmt)
        return dtype and partial(np.copyto, np.empty(x.shape, dtype), x, casting="unsafe")

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """A cast."""
        dtype = self._dtype(fmt)
        out = np.empty(codes.shape, np.float32)
        return dtype and partial(np.copyto, out, codes.view(dtype), casting="unsafe")

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """Two casts."""
        dtype = self._dtype(fmt)
        if dtype is None:
            return None
        low, out = np.empty(x.shape, dtype), np.empty_like(x)

        def run() -> Array:
            np.copyto(low, x, casting="unsafe")
            np.copyto(out, low, casting="unsafe")
            return out

        return run


class GFloat(Peer):
    """gfloat: any format, written for clarity."""

    name = "gfloat"
    _NAMES: ClassVar = {
        "float8_e4m3fn": "ocp_e4m3", "float8_e5m2": "ocp_e5m2", "float6_e2m3fn": "ocp_e2m3",
        "float6_e3m2fn": "ocp_e3m2", "float4_e2m1fn": "ocp_e2m1", "bfloat16": "bfloat16",
        "float16": "binary16", "mxfp8_e4m3": "mxfp8_e4m3", "mxfp8_e5m2": "mxfp8_e5m2",
        "mxfp6_e3m2": "mxfp6_e3m2", "mxfp6_e2m3": "mxfp6_e2m3", "mxfp4_e2m1": "mxfp4_e2m1",
    }  # fmt: skip

    def __init__(self) -> None:
        self._module = importlib.import_module("gfloat")
        self._formats = importlib.import_module("gfloat.formats")

    def _info(self, fmt: Format) -> Any:
        name = self._NAMES.get(fmt.name)
        return name and getattr(self._formats, f"format_info_{name}")

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """Round, then encode what is rounded."""
        info, gfloat = self._info(fmt), self._module
        if info is None or isinstance(fmt, BlockFormat):
            return None
        return lambda: gfloat.encode_ndarray(info, gfloat.round_ndarray(info, x, sat=True))

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """All bits by arithmetic."""
        info = self._info(fmt)
        if info is None or isinstance(fmt, BlockFormat):
            return None
        return partial(self._module.decode_ndarray, info, codes)

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """Round; blocks one by one."""
        info, gfloat = self._info(fmt), self._module
        if info is None:
            return None
        if not isinstance(fmt, BlockFormat):
            return lambda: gfloat.round_ndarray(info, x, sat=True)
        block = importlib.import_module("gfloat.block")
        groups = _groups(x, fmt)
        return lambda: [
            block.quantize_block(info, group, block.compute_scale_amax) for group in groups
        ]

    def stochastic(self, x: Array, fmt: Format) -> Call | None:
        """Round with words that NumPy draws."""
        info, gfloat = self._info(fmt), self._module
        if info is None or isinstance(fmt, BlockFormat):
            return None
        rng, mode = np.random.default_rng(0), gfloat.RoundMode.StochasticFastest

        def run() -> Any:
            words = rng.integers(0, 1 << 16, x.shape)
            return gfloat.round_ndarray(info, x, mode, sat=True, srbits=words, srnumbits=16)

        return run


class Torch(Peer):
    """PyTorch on the CPU: copies between types."""

    name = "torch"

    def __init__(self) -> None:
        self._module = importlib.import_module("torch")
        self._module.set_num_threads(1)

    def _dtype(self, fmt: Format) -> Any:
        return getattr(self._module, fmt.name, None) if isinstance(fmt, FloatFormat) else None

    def _empty(self, x: Array, dtype: Any) -> Any:
        return self._module.empty(x.shape, dtype=dtype)

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """A copy to another type."""
        dtype = self._dtype(fmt)
        return dtype and partial(self._empty(x, dtype).copy_, self._module.from_numpy(x))

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """A copy to another type."""
        dtype = self._dtype(fmt)
        if dtype is None:
            return None
        values = self._module.from_numpy(codes).view(dtype)
        return partial(self._empty(codes, self._module.float32).copy_, values)

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """Two copies."""
        dtype = self._dtype(fmt)
        if dtype is None:
            return None
        values = self._module.from_numpy(x)
        low, out = self._empty(x, dtype), self._module.empty_like(values)
        return lambda: out.copy_(low.copy_(values))

    def affine(self, x: Array, scale: Array, zero_point: Array) -> Call | None:
        """quantize_per_channel."""
        torch = self._module
        values, scales, zeros = map(torch.from_numpy, (x, scale, zero_point.astype(np.int64)))

        def run() -> Any:
            with warnings.catch_warnings():  # that it is to be replaced
                warnings.simplefilter("ignore")
                return torch.quantize_per_channel(values, scales, zeros, 0, torch.qint8)

        return run

    def matmul(self, a: Array, b: Array) -> Call | None:
        """A call of matmul."""
        out = self._module.empty((a.shape[0], b.shape[1]))
        x, y = map(self._module.from_numpy, (a, b))
        return partial(self._module.matmul, x, y, out=out)

    def training_step(self, network: str, samples: int) -> Call:
        """A step of SGD on a network of `fmtlib.benchmarks.steps`, with autograd."""
        return torch_step(self._module, network, samples)


class Jax(Peer):
    """JAX on the CPU, compiled."""

    name = "jax"
    # One thread; and a conversion there and back is not optimised away.
    FLAGS = (
        "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1 "
        "--xla_allow_excess_precision=false"
    )

    def __init__(self) -> None:
        if "jax" not in sys.modules:  # it reads them once
            os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {self.FLAGS}".strip()
            os.environ.setdefault("JAX_PLATFORMS", "cpu")
        self._module = importlib.import_module("jax")
        self._dtypes = importlib.import_module("ml_dtypes")  # jax needs it

    def _dtype(self, fmt: Format) -> Any:
        if fmt.name == "float16":
            return np.float16
        if not fmt.name.startswith(("float8_", "bfloat16")):
            return None  # XLA for the CPU fails on narrower ones
        return getattr(self._dtypes, fmt.name, None)

    def _compiled(self, function: Any, *arrays: Array) -> Call:
        inputs = [self._module.numpy.asarray(array) for array in arrays]
        compiled = self._module.jit(function).lower(*inputs).compile()
        return lambda: compiled(*inputs).block_until_ready()

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """By astype, compiled."""
        dtype = self._dtype(fmt)
        return dtype and self._compiled(lambda values: values.astype(dtype), x)

    def decode(self, codes: Array, fmt: Format) -> Call | None:
        """By astype, compiled."""
        dtype = self._dtype(fmt)
        return dtype and self._compiled(lambda values: values.astype(np.float32), codes.view(dtype))

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """By astype there and back, compiled."""
        dtype = self._dtype(fmt)
        return dtype and self._compiled(lambda values: values.astype(dtype).astype(np.float32), x)

    def matmul(self, a: Array, b: Array) -> Call | None:
        """A call of matmul."""
        return self._compiled(self._module.numpy.matmul, a, b)


_LONGEST_COMPILATION = 300.0  # seconds; qtorch takes about 70


def _wait_for_locks(extension: str) -> None:
    """Wait while another process compiles an extension of torch's, but not for one that is dead.

    torch itself waits until the file goes that says so, for ever if a process was killed that had
    made it.

    Raises
    ------
    RuntimeError
        If the file stays.
    """
    if root := os.environ.get("TORCH_EXTENSIONS_DIR"):
        locks = [Path(root, extension, "lock")]
    else:
        root = importlib.import_module("torch.utils.cpp_extension").get_default_build_root()
        python = f"py{sys.version_info.major}{sys.version_info.minor}{getattr(sys, 'abiflags', '')}"
        locks = list(Path(root).glob(f"{python}_*/{extension}/lock"))
    for lock in locks:
        with contextlib.suppress(FileNotFoundError):  # there is none, or the other process is done
            if _age(lock) < _LONGEST_COMPILATION:
                print(f"waiting for the process that has made {lock}", file=sys.stderr)
            while _age(lock) < _LONGEST_COMPILATION:
                time.sleep(0.2)
            raise RuntimeError(f"a process that was killed has left {lock}: remove it")


def _age(file: Path) -> float:
    """Seconds since a file was written."""
    return time.time() - file.stat().st_mtime


class QTorch(Peer):
    """QPyTorch: quantisers for PyTorch; values, never codes."""

    name = "qtorch"

    def __init__(self) -> None:
        importlib.import_module("qtorch")  # before anything that takes long
        self._torch = importlib.import_module("torch")
        self._torch.set_num_threads(1)
        self._module = self._compiled()

    @staticmethod
    def _compiled() -> ModuleType:
        """Import it, which compiles its C++ the first time, with the ninja beside our Python."""
        _wait_for_locks("quant_cpu")
        before = os.environ.get("PATH", "")
        os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{before}"
        try:
            return importlib.import_module("qtorch.quant")
        finally:
            os.environ["PATH"] = before

    def encode(self, x: Array, fmt: Format) -> Call | None:
        """Fixed point: its values, which is what it has instead of codes."""
        return self.quantize(x, fmt) if isinstance(fmt, FixedFormat) else None

    def quantize(self, x: Array, fmt: Format) -> Call | None:
        """float_quantize, fixed_point_quantize or block_quantize."""
        return self._quantize(x, fmt, "nearest")

    def stochastic(self, x: Array, fmt: Format) -> Call | None:
        """The same with rounding="stochastic"."""
        return self._quantize(x, fmt, "stochastic")

    def _quantize(self, x: Array, fmt: Format, rounding: str) -> Call | None:
        values, quant = self._torch.from_numpy(x), self._module
        if isinstance(fmt, FloatFormat) and fmt.bias == (1 << (fmt.exponent_bits - 1)) - 1:
            bits = fmt.exponent_bits, fmt.mantissa_bits
            return partial(quant.float_quantize, values, *bits, rounding=rounding)
        if isinstance(fmt, FixedFormat) and fmt.signed:
            bits = fmt.bits, fmt.fraction_bits
            return partial(quant.fixed_point_quantize, values, *bits, rounding=rounding)
        if isinstance(fmt, BlockFormat) and fmt.name == fl.bfp(fmt.bits - 1).name:
            groups = values.view(-1, fmt.block_size)
            return partial(quant.block_quantize, groups, fmt.bits, 0, rounding=rounding)
        return None


class Blosc2(Peer):
    """Blosc2: a compressor for arrays, here with its bit shuffle and LZ4, on one thread."""

    name = "blosc2"

    def __init__(self) -> None:
        self._module = importlib.import_module("blosc2")
        self._module.set_nthreads(1)

    def compress(self, x: Array, verb: str) -> Call | None:
        """compress2 and decompress2."""
        module = self._module
        how = {
            "codec": module.Codec.LZ4, "filters": [module.Filter.BITSHUFFLE], "filters_meta": [0],
            "clevel": 5, "typesize": x.itemsize, "nthreads": 1,
        }  # fmt: skip
        if verb == "compress":
            return partial(module.compress2, x, **how)
        out = np.empty_like(x)
        return partial(module.decompress2, module.compress2(x, **how), dst=out, nthreads=1)


PEERS: tuple[type[Peer], ...] = (NumPy, MLDtypes, GFloat, Torch, Jax, QTorch, Blosc2)
# The hand-written NumPy of the benchmarks, as tables call it.
HANDWRITTEN = NumPy.name


def installed() -> list[Peer]:
    """The peers that can be imported, in the order of `PEERS`; a broken one is told of."""
    found = []
    for peer in PEERS:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                found.append(peer())
        except ImportError as error:
            if error.name is None or error.name.split(".")[0] != peer.name:
                print(f"{peer.name} is left out: {error}", file=sys.stderr)
        except Exception as error:  # e.g. its C++ does not compile
            print(f"{peer.name} is left out: {error}", file=sys.stderr)
    return found
