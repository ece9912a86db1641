"""The targets of the fuzzers, without one: their seeds, what was found, damaged copies of both.

What a fuzzer found to be wrong stays in `FOUND`.
"""

from __future__ import annotations

import struct
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent / "fuzz"))
pytest.importorskip("onnx")
parsers = pytest.importorskip("parsers")
from verbs import verbs  # noqa: E402

NESTED = b"[" * 5000
FOUND: dict[str, list[bytes]] = {
    # RecursionError
    "setup": [b"\x00" + b"nm:recipe=(" * 400 + b"bfp" + b")" * 400],
    "search": [
        NESTED,
        # IndexError, OverflowError
        b'{"fmtlib_precision_search": 2, "layers": [], "measure": "a", "evaluations": [[[[]], 1]]}',
        b'{"fmtlib_precision_search": 2, "layers": [], "measure": "a", "evaluations": [[[], 1%s]]}'
        % (b"0" * 400),
    ],
    "training_row": [NESTED],
    "counting_rows": [NESTED],
    "report": [NESTED],
    "measurements": [NESTED],
    # a value of nothing, though one must be given
    "choice": [b"a:b=()"],
    # BadZipFile
    "npz_inputs": [b"PK\x03\x04", b""],
    # IndexError of no planes at all
    "chunk_planes": [b""],
    # took minutes
    "format_name": [b"block_" * 50_000, b"block_a_by_" * 20_000],
}


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_parsers(name):
    target = parsers.TARGETS[name]
    random = np.random.default_rng(0)
    inputs = [*target.seeds(), *FOUND.get(name, ())]
    for data in inputs:
        target(data)
    for data in filter(None, inputs[:40]):
        for _ in range(200 // min(len(inputs), 40)):
            damaged = bytearray(data[: random.integers(1, len(data) + 1)])
            for place in random.integers(0, max(len(damaged), 1), random.integers(0, 4)):
                damaged[place : place + 1] = random.bytes(1)
            target(bytes(damaged))


def test_seeds_are_taken():
    """A target that refuses all it starts from would see little of its parser."""
    for name, target in parsers.TARGETS.items():
        taken = 0
        for data in target.seeds():
            try:
                target.run(data)
            except target.errors:
                continue
            taken += 1
        assert taken, name


def test_verbs():
    """Any arguments, the same on every instruction set; CI's fuzzer tries more."""
    random = np.random.default_rng(1)
    for _ in range(300):
        bits = random.integers(0, 256, random.integers(5, 100), np.uint8)
        verbs(np.where(random.random(bits.size) < 0.5, bits & 3, bits).astype(np.uint8).tobytes())


def test_a_target_can_fail(monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise struct.error

    monkeypatch.setattr(parsers.fl.BlockArray, "frombytes", broken)
    with pytest.raises(struct.error):
        parsers.TARGETS["block_array"](b"\x00")
