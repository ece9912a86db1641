"""Count VGG-16 at 224 × 224 on every design: seconds of each, and the greatest memory.

    python bench/counters_vgg16.py [--pruned 0.5] [--designs stripes tcl_e ...] [--check]

Tensors are synthetic, as only their statistics matter here: activations half-normal with half of
them zero, as after a ReLU; weights normal, and a part of them pruned.  With --check the limits are
asserted: 60 s for all designs together and 2 GB (Linux counts memory in KiB).
"""

from __future__ import annotations

import argparse
import resource
import time

import numpy as np

from fmtlib.hardware import Layer, count, design_names

# Input channels, filters and size of the 3 × 3 convolutions; then the fully connected layers.
CONVOLUTIONS = (
    (3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56), (256, 256, 56),
    (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 28), (512, 512, 14), (512, 512, 14),
    (512, 512, 14),
)  # fmt: skip
FULLY_CONNECTED = ((25088, 4096), (4096, 4096), (4096, 1000))
SECONDS, BYTES = 60, 2_000_000_000


def vgg16(pruned: float) -> list[Layer]:
    """The layers with tensors of a fixed seed."""
    random = np.random.default_rng(16)

    def activations(*shape: int) -> np.ndarray:
        return np.maximum(random.standard_normal(shape, np.float32) * 80, 0).astype(np.int16)

    def weights(*shape: int) -> np.ndarray:
        w = (random.standard_normal(shape, np.float32) * 100).astype(np.int16)
        threshold = np.quantile(np.abs(w.reshape(-1)[:100_000]), pruned)
        w[np.abs(w) < threshold] = 0
        return w

    layers = [
        Layer.conv(activations(1, c, n, n), weights(k, c, 3, 3), padding=1, name=f"conv{i}")
        for i, (c, k, n) in enumerate(CONVOLUTIONS, 1)
    ]
    for i, (c, k) in enumerate(FULLY_CONNECTED, 1):
        layers.append(Layer.linear(activations(1, c), weights(k, c), name=f"fc{i}"))
    return layers


def memory() -> int:
    """The greatest resident size of this process so far, in bytes."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Count VGG-16 on every design.")
    parser.add_argument("--pruned", type=float, default=0.5, help="part of the weights that is 0")
    parser.add_argument("--designs", nargs="+", default=design_names())
    parser.add_argument("--check", action="store_true", help="assert the limits")
    arguments = parser.parse_args()
    layers = vgg16(arguments.pruned)
    macs = sum(layer.macs for layer in layers)
    print(
        f"{len(layers)} layers, {macs / 1e9:.2f} GMAC, {arguments.pruned:.0%} of weights pruned\n"
    )
    print("| design | cycles | speed-up (×) | s | s of CPU | ns of CPU per 1000 MACs |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    total = cpu = 0.0
    for name in arguments.designs:
        began, used = time.perf_counter(), time.process_time()
        record = count(layers, [name]).to_records()[-1]
        seconds, spent = time.perf_counter() - began, time.process_time() - used
        total, cpu = total + seconds, cpu + spent
        cycles, speedup = record["compute_cycles"], record["speedup"]
        print(
            f"| {name} | {cycles:,} | {speedup:.2f} | {seconds:.2f} | {spent:.2f} | "
            f"{spent / macs * 1e12:.1f} |",
            flush=True,
        )
    print(f"\nall: {total:.1f} s, {cpu:.1f} s of CPU; at most {memory() / 1e9:.2f} GB")
    if arguments.check:
        assert total < SECONDS, f"{total:.1f} s, more than {SECONDS}"
        assert memory() < BYTES, f"{memory():,} bytes, more than {BYTES:,}"


if __name__ == "__main__":
    main()
