"""Products with stated accumulators, as multiples of the time of NumPy's float32 matmul.

`extra_info` has the absolute rate, too: 2 * rows * depth * columns operations in the median time.
"""

import dataclasses

import numpy as np
import pytest

import fmtlib as fl
from fmtlib.accumulators import PRESETS
from fmtlib.formats import BlockFormat

SHAPES = [(256, 512, 256), (1024, 1024, 1024)]
FLOAT8 = ["float8_e4m3fn", "float8_e5m2", "float8_e4m3fnuz", "float8_e5m2fnuz"]
BLOCKS = ["mxfp8_e4m3", "mxfp8_e5m2", "mxfp6_e2m3", "mxfp4_e2m1", "mxint8", "nvfp4"]
CASES = [(a, b) for a in FLOAT8[:2] for b in FLOAT8[:2]]
CASES += [(name, name) for name in [*FLOAT8[2:], "float16", "bfloat16", "tf32", *BLOCKS]]


def has(preset, pair):
    try:
        fl.Accumulator.preset(preset, *pair)
    except ValueError:
        return False
    return True


@pytest.fixture
def product(compare, benchmark):
    """Time a product against that of float32 matrices of its shape."""

    def run(pair, accumulator, shape):
        rows, depth, columns = shape
        rng = np.random.default_rng(0)
        x = rng.standard_normal((rows, depth), dtype=np.float32)
        y = rng.standard_normal((depth, columns), dtype=np.float32)
        blocks = [isinstance(fl.get_format(name), BlockFormat) for name in pair]
        a, b = (
            fl.encode(z, name, axis=axis) if is_block else fl.encode(z, name)
            for z, name, axis, is_block in zip((x, y), pair, (1, 0), blocks, strict=True)
        )
        formats = None if any(blocks) else pair
        compare(
            "float32 matmul",
            lambda: fl.matmul(a, b, formats=formats, accumulator=accumulator),
            lambda: x @ y,
        )
        if benchmark.stats is not None:
            rate = 2 * rows * depth * columns / benchmark.stats.stats.median
            benchmark.extra_info["gflops"] = rate / 1e9

    return run


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize(
    ("preset", "pair"),
    [(preset, pair) for preset in PRESETS for pair in CASES if has(preset, pair)],
    ids=lambda x: x if isinstance(x, str) else "-".join(x),
)
def bench_product(product, preset, pair, shape):
    if preset == "fmac" and isinstance(fl.get_format(pair[0]), BlockFormat):
        pytest.skip("the same as float32")
    product(pair, preset, shape)


FLOAT32 = fl.Register(8, 23)
HOPPER = fl.Accumulator.preset("hopper", "e4m3", "e4m3")
IEEE = fl.Accumulator.preset("float32", "e4m3", "e4m3")


@pytest.mark.parametrize(
    "accumulator",
    [
        pytest.param(dataclasses.replace(IEEE, order="pairwise"), id="pairwise"),
        pytest.param(dataclasses.replace(HOPPER, order=(512, 512)), id="split depth"),
        pytest.param(
            dataclasses.replace(HOPPER, promotion_terms=128, promotion=FLOAT32), id="promoted"
        ),
    ],
)
def bench_order(product, accumulator):
    product(("float8_e4m3fn", "float8_e4m3fn"), accumulator, SHAPES[1])


@pytest.mark.parametrize("preset", ["exact", "float32", "hopper"])
@pytest.mark.parametrize("shape", [(1, 4096, 4096), (4096, 4096, 1), (7, 4096, 9)], ids=str)
def bench_skinny(product, preset, shape):
    product(("float8_e4m3fn", "float8_e4m3fn"), preset, shape)


@pytest.mark.parametrize("preset", ["exact", "float32", "hopper"])
def bench_dot(compare, preset):
    x, y = np.random.default_rng(0).standard_normal((2, 4096, 1024), dtype=np.float32)
    a, b = fl.encode(x, "e4m3"), fl.encode(y, "e4m3")
    compare(
        "float32 einsum",
        lambda: fl.dot(a, b, formats=("e4m3", "e4m3"), accumulator=preset),
        lambda: np.einsum("ij,ij->i", x, y),
    )


def bench_small(product):
    product(("float8_e4m3fn", "float8_e4m3fn"), "exact", (4, 4, 4))
