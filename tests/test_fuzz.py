"""The targets of the fuzzers, without one: their seeds, what was found, damaged copies of both.

What a fuzzer found to be wrong stays in `FOUND`.
"""

from __future__ import annotations

import base64
import struct
import sys
from typing import Any

import numpy as np
import pytest

resource = pytest.importorskip("resource")
pytest.importorskip("onnx")
import parsers  # noqa: E402
from fuzz import limit_memory  # noqa: E402
from verbs import verbs  # noqa: E402

from fmtlib.training import checkpoints  # noqa: E402

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
    "measurements": [
        NESTED,
        # KeyError
        b'{"schema": 1, "rows": [{"task": "a", "size": "l1", "entries": [{"who": "fmtlib",'
        b' "target": "baseline", "ratio": 1.0}]}]}',
    ],
    # a value of nothing, though one must be given
    "choice": [b"a:b=()"],
    # BadZipFile
    "npz_inputs": [b"PK\x03\x04", b""],
    # MemoryError: a chunk that says it has 4 GB
    "photograph": [
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\1\0\0\0\1\x08\2\0\0\0\x90wS\xde\xff\xff\xff\xffIDAT",
        # SyntaxError from Pillow: a chunk of no name after the first one of pixels
        base64.b64decode(
            "iVBORw0KGgoAAAANSUhEUgAAAAQAAAAECAIAAAAmkwkpAAAAFElEQVR4nGNkYGRihgEWHh7V1dXV1dXV"
            "1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1dXV1R4iOAAWqgDpKNekGQAAAABJRU5ErkJggg=="
        ),
    ],
    # ZeroDivisionError from strides of 0
    "nodes": [base64.b64decode("AJNmbbRfcT1ndP8BAAt0gA8Acv///////////////////////wAt")],
    # IndexError of no planes at all
    "chunk_planes": [b""],
}


@pytest.fixture
def limited_memory():
    """As much as the fuzzer leaves its targets."""
    if sys.platform == "linux":
        limit_memory()
        yield
        resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
    else:
        yield


@pytest.mark.parametrize("name", parsers.TARGETS)
def test_parsers(name, limited_memory):
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


def test_a_checkpoint_of_infinite_counts():
    """OverflowError, once."""
    arrays, record = parsers._arrays_and_record()
    path = parsers.FOLDER / "infinite.npz"
    checkpoints.save_checkpoint(path, arrays | {"run.counts": np.full(6, np.inf)}, record)
    with pytest.raises(ValueError, match="no checkpoint of this training"):
        parsers._state().load(path, {"epochs": "1"})


def test_a_target_can_fail(monkeypatch):
    def broken(*_: Any, **__: Any) -> None:
        raise struct.error

    monkeypatch.setattr(parsers.fl.BlockArray, "frombytes", broken)
    with pytest.raises(struct.error):
        parsers.TARGETS["block_array"](b"\x00")
