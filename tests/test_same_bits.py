"""The same bits in every release and on every platform, as docs/releases.md promises: digests.

`python tests/test_same_bits.py` writes data/golden/digests.json: after a format was added, or a
change that docs/releases.md allows, which the changelog then lists.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import fmtlib as fl
from fmtlib.formats import ROUNDINGS, STOCHASTIC, BlockFormat

DIGESTS = Path(__file__).parent / "data/golden/digests.json"
BITS = np.random.PCG64(0).random_raw(4096)  # raw words: NumPy's floats may differ by the platform
SPECIALS = [0.0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -3e38, 448, 464, 465]
ANY = np.concatenate([BITS.astype(np.uint32).view(np.float32), np.float32(SPECIALS)])
USUAL = np.ldexp((BITS >> 40).astype(np.float32) - 2.0**23, (BITS % 24).astype(int) - 36)
MATRIX = USUAL[:1024].astype(np.float32).reshape(16, 64)


def elementwise(fmt: fl.FloatFormat | fl.FixedFormat | fl.IntegerFormat) -> Iterator[np.ndarray]:
    for rounding in ROUNDINGS:
        how = {"rounding": rounding, "seed": 3 if rounding in STOCHASTIC else None}
        for x in (ANY, USUAL, USUAL.astype(np.float16), np.arange(-500, 500)):
            codes = fl.encode(x, fmt, **how)
            yield codes
            values = fl.decode(codes, fmt)
            yield np.where(np.isnan(values), np.nan, values)  # one NaN: signs of others' differ
        yield fl.encode(USUAL, fmt, scale=0.37, **how)


def blocks(fmt: BlockFormat) -> Iterator[np.ndarray]:
    axis = None if isinstance(fmt.block_size, int) else (0, 1)
    for rounding in ROUNDINGS:
        seed = 3 if rounding in STOCHASTIC else None
        b = fl.encode(MATRIX, fmt, rounding=rounding, axis=axis, seed=seed)
        yield from (b.codes, b.scales, fl.decode(b), np.frombuffer(b.tobytes(), np.uint8))


def products() -> Iterator[np.ndarray]:
    codes = fl.encode(MATRIX, "e4m3")
    for accumulator in ("exact", "float32", "ada", "hopper", "b200"):
        yield fl.matmul(codes, codes.T, formats=("e4m3", "e4m3"), accumulator=accumulator)
    a, b = fl.encode(MATRIX, fl.bfp(4), axis=1), fl.encode(MATRIX.T, fl.bfp(4), axis=0)
    yield from (fl.matmul(a, b, accumulator="fmac"), fl.dot_passes(a, a))


def groups() -> Iterator[np.ndarray]:
    integers = fl.encode(MATRIX, "fixed_s7_8")
    compressed = fl.compress(integers).tobytes()
    yield from (fl.group_bits(integers), fl.terms(integers), np.frombuffer(compressed, np.uint8))


def digest(name: str) -> str:
    if name in OTHERS:
        arrays = OTHERS[name]()
    else:
        fmt = fl.get_format(name)
        arrays = blocks(fmt) if isinstance(fmt, BlockFormat) else elementwise(fmt)
    found = hashlib.sha256()
    with np.errstate(all="ignore"):
        for array in arrays:
            native = np.ascontiguousarray(array)
            found.update(native.astype(native.dtype.newbyteorder("<")).tobytes())
    return found.hexdigest()[:16]


OTHERS = {"products": products, "groups": groups}
NAMES = [*fl.formats(), *OTHERS]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_bits(name, target):
    assert digest(name) == json.loads(DIGESTS.read_text(encoding="utf-8"))[name]


if __name__ == "__main__":
    found = {name: digest(name) for name in NAMES}
    DIGESTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
