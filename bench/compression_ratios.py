"""How small integers get: `fl.storage_size` and Blosc2 (extra: peers) on the benchmarks' data.

    python bench/compression_ratios.py

Blosc2 shuffles bits and compresses by LZ4 and by Zstandard.  Sizes depend on no machine.
"""

from __future__ import annotations

import importlib

import numpy as np

import fmtlib as fl

ENCODINGS = ("dpred", "profiled", "zero_run")
COUNT = 1 << 20


def data() -> dict[str, np.ndarray]:
    """Normal values; the same after a ReLU; the same in groups of very different sizes."""
    normal = np.random.default_rng(0).standard_normal(COUNT, dtype=np.float32)
    scales = np.random.default_rng(1).random(COUNT // 16, dtype=np.float32) ** 3
    varied = normal * np.repeat(scales, 16)
    found = {}
    for name, x in (("normal", normal), ("ReLU", np.maximum(normal, 0)), ("varied", varied)):
        for dtype, scale in (("int8", 30), ("int16", 1000)):
            found[f"{name}, {dtype}"] = (x * scale).astype(dtype)
    return found


def blosc2_ratio(x: np.ndarray, codec: str) -> float:
    """Bytes of the array per byte of Blosc2's."""
    blosc2 = importlib.import_module("blosc2")
    packed = blosc2.compress2(
        x, codec=blosc2.Codec[codec], filters=[blosc2.Filter.BITSHUFFLE], filters_meta=[0],
        clevel=5, typesize=x.itemsize, nthreads=1,
    )  # fmt: skip
    return x.nbytes / len(packed)


def main() -> None:
    """Print a table."""
    print("| data | " + " | ".join((*ENCODINGS, "blosc2 LZ4", "blosc2 Zstandard")) + " |")
    print("| --- |" + " --- |" * (len(ENCODINGS) + 2))
    for name, x in data().items():
        ratios = [fl.storage_size(x, encoding).ratio for encoding in ENCODINGS]
        ratios += [blosc2_ratio(x, codec) for codec in ("LZ4", "ZSTD")]
        print(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


if __name__ == "__main__":
    main()
