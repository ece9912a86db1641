"""How small integers get, and how fast: `fl.compress` and Blosc2 (extra: peers) on made-up data.

    python bench/compression_ratios.py           # bytes per byte: depend on no machine
    python bench/compression_ratios.py --speed   # times as fast as Blosc2 and as a copy, in one run

Blosc2 shuffles bits and compresses by LZ4 and by Zstandard, on one thread.
"""

from __future__ import annotations

import argparse
import importlib
from functools import partial

import numpy as np

import fmtlib as fl
from fmtlib.benchmarks.peers import Blosc2
from fmtlib.benchmarks.timing import Contestant, interleave

ENCODINGS = ("dpred", "profiled", "zero_run", "roe", "indirection")
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


def print_table(heads: tuple[str, ...], rows: dict[str, list[float]]) -> None:
    """A table in Markdown."""
    print("| data | " + " | ".join(heads) + " |")
    print("| --- |" + " --- |" * len(heads))
    for name, ratios in rows.items():
        print(f"| {name} | " + " | ".join(f"{ratio:.2f}" for ratio in ratios) + " |")


def sizes() -> None:
    """Bytes of the array per byte of the encoding: all that `tobytes` writes."""
    rows = {}
    for name, x in data().items():
        ratios = [fl.compress(x, encoding=encoding).ratio for encoding in ENCODINGS]
        rows[name] = ratios + [blosc2_ratio(x, codec) for codec in ("LZ4", "ZSTD")]
    print_table((*ENCODINGS, "blosc2 LZ4", "blosc2 Zstandard"), rows)


def speeds(seconds: float) -> None:
    """Least times of Blosc2 with LZ4, and of a copy, divided by that of "dpred"."""
    rows, peer = {}, Blosc2()
    for name, x in data().items():
        found = []
        for verb in ("compress", "decompress"):
            ours = partial(fl.compress, x)
            if verb == "decompress":
                ours = partial(fl.decompress, fl.compress(x))
            calls = [ours, peer.compress(x, verb), partial(np.copyto, np.ones_like(x), x)]
            runs = [Contestant(str(i), call, x.size) for i, call in enumerate(calls) if call]
            interleave(runs, seconds)
            best = [min(run.seconds) for run in runs]
            found += [best[1] / best[0], best[2] / best[0]]
        rows[name] = found
    verbs = ("compress", "decompress")
    print_table(tuple(f"{verb} / {of}" for verb in verbs for of in ("blosc2 LZ4", "copy")), rows)


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--speed", action="store_true", help="times as fast, not bytes per byte")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each pair of times")
    options = parser.parse_args()
    if options.speed:
        speeds(options.seconds)
    else:
        sizes()


if __name__ == "__main__":
    main()
