"""Run by test_failures.py in a process of its own: every verb, while memory fails.

``malloc``: the n-th allocation fails, for each n until there is none left (failing_malloc.c is
preloaded).  ``limit``: the process may not grow.  Each time there is MemoryError or the right
result, what was given is as it was, and once there is memory again the same call works.
"""

from __future__ import annotations

import ctypes
import io
import itertools
import json
import resource
import struct
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401 - so that new ufuncs get loops for its types
import numpy as np

import fmtlib as fl
from fmtlib import hardware, training
from fmtlib._core.kernels import crc32c
from fmtlib.files import load_array

MANY = sys.argv[1] == "limit"  # large arrays: the allocator has no room for them at hand
SHAPE = (1024, 4096) if MANY else (40, 64)

X = np.random.default_rng(0).standard_normal(SHAPE, dtype=np.float32)
INTEGERS = (X * 40).astype(np.int16)
CODES = fl.encode(X, "e4m3")
BLOCKS = fl.encode(X, fl.bfp(4))
BYTES, PACKED = BLOCKS.tobytes(), fl.compress(INTEGERS).tobytes()
OTHERS = fl.compress(INTEGERS[:8], encoding="zero_run").tobytes()
SMALL = BLOCKS[:64] if MANY else BLOCKS
IMAGE = INTEGERS.reshape(-1)[:512].reshape(1, 8, 8, 8)
FILTERS = INTEGERS.reshape(-1)[-576:].reshape(8, 8, 3, 3)
FOLDER = Path(tempfile.mkdtemp())
FILES = [FOLDER / "a.npz", FOLDER / "a.safetensors"]
BIASES = itertools.count(20)


def same_everywhere(verb: str) -> Any:
    """The ufunc of a format that is new each time, and the same numbers of it."""
    fmt = fl.FloatFormat(5, 3, next(BIASES), infinities=False, nan="none")
    return getattr(fl, verb)(np.zeros(4, fmt.code_dtype if verb == "decode" else np.float32), fmt)


def loaded(path: Path) -> Any:
    return fl.load(path)["x"]


for file in FILES:
    fl.save(file, {"x": X})
(FOLDER / "a.idx").write_bytes(
    bytes([0, 0, 8, 2]) + struct.pack(">2I", *SHAPE) + bytes(CODES.tobytes())
)

TASKS: dict[str, Callable[[], Any]] = {
    "encode": lambda: fl.encode(X, "e5m2"),
    "encode float64": lambda: fl.encode(X.astype(np.float64), "e5m2"),
    "new encode": lambda: same_everywhere("encode"),
    "new decode": lambda: same_everywhere("decode"),
    "stochastic": lambda: fl.quantize(X, "e3m2", rounding="stochastic", seed=1),
    "scaled": lambda: fl.encode(X, "int8", scale=0.02, zero_point=1),
    "decode": lambda: fl.decode(CODES, "e4m3"),
    "blocks": lambda: fl.encode(X, "nvfp4").codes,
    "strided blocks": lambda: fl.quantize(X.T, "mxfp8_e4m3", axis=0),
    "decode blocks": lambda: fl.decode(BLOCKS),
    "fmac": lambda: fl.matmul(SMALL, SMALL.T, accumulator="fmac"),
    "prepared fmac": lambda: fl.matmul(fl.PackedOperand(SMALL, "a"), SMALL.T, accumulator="fmac"),
    "tensor core": lambda: fl.matmul(
        CODES[:32], CODES[:32].T, formats=("e4m3", "e4m3"), accumulator="hopper"
    ),
    "compress": lambda: np.frombuffer(fl.compress(INTEGERS).tobytes(), np.uint8),
    "decompress": lambda: fl.decompress(PACKED),
    "zero runs": lambda: fl.decompress(OTHERS),
    "frombytes": lambda: fl.BlockArray.frombytes(BYTES).codes,
    "tobytes": lambda: np.frombuffer(BLOCKS.tobytes(), np.uint8),
    "pack": lambda: fl.pack(CODES, 8),
    "unpack": lambda: fl.unpack(CODES.tobytes(), 4, 2 * CODES.size),
    "load npz": lambda: loaded(FILES[0]),
    "load safetensors": lambda: loaded(FILES[1]),
    "read_idx": lambda: training.read_idx(FOLDER / "a.idx"),
    "group_bits": lambda: fl.group_bits(INTEGERS),
    "terms": lambda: fl.terms(INTEGERS, "naf"),
    "planes": lambda: fl.bit_planes(INTEGERS).planes,
    "statistics": lambda: np.asarray(fl.error_statistics(X, "e4m3").max_error),
    "calibrate": lambda: np.asarray(fl.calibrate(X, "int8").scale),
    "counters": lambda: np.array([
        record["compute_cycles"]
        for record in hardware.count(
            [hardware.Layer.conv(IMAGE, FILTERS)], ["dynamic_stripes", "scnn", "cnvlutin"]
        ).to_records()
    ]),
}  # fmt: skip
# What indexes by arrays: where NumPy has no memory for that, it may crash.
INDEXED = ("zero runs", "counters")


def huge_claims() -> dict[str, Callable[[], Any]]:
    """Headers of files of some bytes that tell of arrays of a pebibyte."""
    huge = struct.pack("<Q", 1 << 50)
    blocks = fl.encode(np.zeros(16), fl.bfp(4)).tobytes()
    packed = fl.compress(np.zeros(16, np.int8)).tobytes()
    claims: dict[str, Callable[[], Any]] = {}
    for name, data, read in (
        ("claim.blocks", blocks, fl.BlockArray.frombytes),
        ("claim.compressed", packed, fl.decompress),
    ):
        wrong = data[:-4].replace(struct.pack("<Q", 16), huge)
        sealed = wrong + struct.pack("<I", crc32c(wrong))
        claims[name] = lambda read=read, sealed=sealed: read(sealed)
    claims["claim.unpack"] = lambda: fl.unpack(b"abc", "e2m1", 1 << 50)
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 48], "data_offsets": [0, 1 << 50]}})
    files = {
        "claim.safetensors": struct.pack("<Q", len(header)) + header.encode(),
        "claim.npy": b"",
        "claim.npz": b"",
        "claim.idx": bytes([0, 0, 14, 2]) + struct.pack(">2I", 1 << 31, 1 << 16),
    }
    file = io.BytesIO()
    np.save(file, np.zeros(1000))
    files["claim.npy"] = file.getvalue().replace(b"(1000,)", b"(%d,)" % (1 << 47))
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        archive.writestr("x.npy", files["claim.npy"])
    files["claim.npz"] = file.getvalue()
    for name, data in files.items():
        path = FOLDER / name
        path.write_bytes(data)
        read = {".idx": training.read_idx, ".npy": load_array}.get(path.suffix, fl.load)
        claims[name] = lambda read=read, path=path: read(path)
    return claims


def given() -> int:
    return crc32c(CODES, crc32c(X.view(np.uint8), crc32c(INTEGERS.view(np.uint8))))


def fails_everywhere(task: Callable[[], Any], expected: Any, of_numpy: bool) -> int:
    """Let each allocation fail in turn; how many did."""
    library = ctypes.CDLL(None)
    library.allocations_left.restype = ctypes.c_long
    for n in itertools.count(1):
        library.fail_allocation(ctypes.c_long(n), of_numpy)
        try:
            found = task()
        except MemoryError:
            found = None
        left = library.allocations_left()
        library.fail_allocation(ctypes.c_long(0), 0)
        assert found is None or np.array_equal(found, expected)
        if left > 0:  # there were no more to fail
            return n - 1
    raise AssertionError


@contextmanager
def limited_to(more: int) -> Iterator[None]:
    """So many mebibytes more than there are now, and not one other."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * resource.getpagesize() + (more << 20)
    resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)


def grows_nowhere(task: Callable[[], Any], expected: Any) -> int:
    """Leave more and more memory; how often it was not enough."""
    failed = 0
    for more in (0, 1, 4, 16, 64):
        with limited_to(more):
            try:
                found = task()
            except MemoryError:
                found, failed = None, failed + 1
        assert found is None or np.array_equal(found, expected)
        found = None
    return failed


def main() -> None:
    before, counts = given(), {}
    for name, task in TASKS.items():
        expected = task()
        try:
            if MANY:
                counts[name] = grows_nowhere(task, expected)
            else:
                counts[name] = fails_everywhere(task, expected, name not in INDEXED)
            assert np.array_equal(task(), expected)
            assert given() == before
        except BaseException:
            print(name, file=sys.stderr)
            raise
    if MANY:
        for name, claim in huge_claims().items():
            with limited_to(1):
                try:
                    claim()
                except ValueError:
                    counts[name] = 0
    print(json.dumps(counts))


if __name__ == "__main__":
    main()
