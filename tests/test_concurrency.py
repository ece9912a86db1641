"""Many threads on the same arrays, and processes that come from one that has used the kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import hardware
from fmtlib._core import kernels

THREADS, ROUNDS = 12, 4

VALUES = np.random.default_rng(0).standard_normal((96, 160), dtype=np.float32)
INTEGERS = np.random.default_rng(1).integers(-90, 91, (64, 150)).astype(np.int16)
CODES = fl.encode(VALUES, "e4m3")
ROWS, COLUMNS = fl.encode(VALUES, fl.bfp(4), axis=1), fl.encode(VALUES.T, fl.bfp(4), axis=0)
PACKED = fl.compress(INTEGERS)
LAYER = hardware.Layer.linear(INTEGERS[:8], INTEGERS[8:40])

TASKS: dict[str, Callable[[], Any]] = {
    "encode": lambda: fl.encode(VALUES, "e5m2"),
    "encode in threads": lambda: fl.encode(VALUES, "mxfp8_e4m3", workers=3),
    "stochastic": lambda: fl.quantize(VALUES, "e3m2", rounding="stochastic", seed=3),
    "decode": lambda: fl.decode(CODES, "e4m3"),
    "blocks": lambda: fl.decode(fl.encode(VALUES, "nvfp4")),
    "scaled": lambda: fl.encode(VALUES, "int8", scale=0.02, zero_point=3),
    "fmac": lambda: fl.matmul(ROWS, COLUMNS, accumulator="fmac"),
    "tensor core": lambda: fl.matmul(
        CODES, CODES.T, formats=("e4m3", "e4m3"), accumulator="hopper"
    ),
    "compress": lambda: np.frombuffer(fl.compress(INTEGERS, 7, axis=0).tobytes(), np.uint8),
    "decompress": lambda: fl.decompress(PACKED),
    "read": lambda: PACKED.read(11, 300),
    "group_bits": lambda: fl.group_bits(INTEGERS, 16, axis=0),
    "terms": lambda: fl.terms(INTEGERS, "booth"),
    "planes": lambda: fl.bit_planes(INTEGERS).planes,
    "counters": lambda: [
        [record["compute_cycles"]]
        for record in hardware.count([LAYER], ["dynamic_stripes", "laconic", "scnn"]).to_records()
    ],
}  # fmt: skip


@pytest.fixture
def hasty():
    """Threads that interrupt each other as often as there are instructions of Python."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def at_once(work: Callable[[int], Any], threads: int = THREADS) -> list[Any]:
    """What a function gives in threads that start together."""
    start = Barrier(threads)

    def started(number: int) -> Any:
        start.wait()
        return work(number)

    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(started, range(threads)))


def test_threads_on_shared_arrays_give_what_one_gives(hasty):
    expected = {name: task() for name, task in TASKS.items()}
    names = list(TASKS)

    def all_tasks(number: int) -> None:
        for i in range(ROUNDS * len(names)):  # each thread begins elsewhere
            name = names[(i + number) % len(names)]
            assert_array_equal(TASKS[name](), expected[name], err_msg=name)

    at_once(all_tasks)


@pytest.mark.parametrize("verb", ["encode", "quantize", "decode"])
def test_threads_that_make_the_same_ufunc(verb, hasty):
    """Formats that nobody has used yet: there is one ufunc of each, and it is whole."""
    for bias in range(20, 28):
        fmt = fl.FloatFormat(5, {"encode": 4, "quantize": 6, "decode": 7}[verb], bias)
        x = np.arange(32, dtype=fmt.code_dtype) if verb == "decode" else VALUES[0]
        found = at_once(lambda _, x=x, fmt=fmt: (fl.ufunc(verb, fmt), getattr(fl, verb)(x, fmt)))
        assert len({id(ufunc) for ufunc, _ in found}) == 1
        for _, result in found:
            assert_array_equal(result, getattr(fl, verb)(x, fmt))


def test_threads_that_read_the_same_compressed_array(hasty):
    """What a CompressedArray remembers is made by whoever comes first."""
    for group_size in range(3, 11):
        c = fl.compress(INTEGERS, group_size)
        for part in at_once(lambda _, c=c: c.read(70, 200)):
            assert_array_equal(part, fl.compress(INTEGERS, group_size).read(70, 200))


def test_asking_for_instruction_sets_changes_none(hasty):
    expected = fl.matmul(ROWS, COLUMNS, accumulator="fmac")

    def work(number: int) -> None:
        for _ in range(20):
            if number % 2:
                assert fl.cpu_target() in kernels.available_targets()
            else:
                assert_array_equal(fl.matmul(ROWS, COLUMNS, accumulator="fmac"), expected)

    at_once(work)


# --- processes ------------------------------------------------------------------------------

# The parent has used everything, in threads too, and has a thread in the middle of it.
PROCESSES = """
import multiprocessing, sys, threading
import numpy as np
import fmtlib as fl
from fmtlib import parallel
from fmtlib._core import ufuncs

X = np.random.default_rng(0).standard_normal((256, 512), dtype=np.float32)
WEIGHTS = np.arange(-600, 600, dtype=np.int16).reshape(60, 20)

def work(bias):
    fmt = fl.FloatFormat(5, 2, bias)
    blocks = fl.encode(X, fl.bfp(4), workers=2)
    return [
        fl.encode(X, fmt, workers=2).tobytes(),
        fl.quantize(X, "mxfp8_e4m3", workers=2, rounding="stochastic", seed=bias).tobytes(),
        fl.matmul(blocks, blocks.T, accumulator="fmac", workers=2).tobytes(),
        fl.compress(WEIGHTS).tobytes(),
        fl.decode(blocks, workers=2).tobytes(),
    ]

def one_thread():
    with parallel.one_blas_thread(extra="train"):
        return True

def hold(lock, held, done):
    with lock:
        held.set()
        done.wait()

if __name__ == "__main__":
    method = sys.argv[1]
    expected = [work(bias) for bias in (15, 16, 17)][:2]
    stop, done = threading.Event(), threading.Event()
    def keep_working():
        while not stop.is_set():
            work(17)

    busy = [threading.Thread(target=keep_working, daemon=True)]
    for lock in (ufuncs._lock, parallel._BLAS):  # held by a thread that no child has
        held = threading.Event()
        busy.append(threading.Thread(target=hold, args=(lock, held, done), daemon=True))
        busy[-1].start()
        held.wait()
    busy[0].start()
    context = multiprocessing.get_context(method)
    with context.Pool(2) as pool:
        found = pool.map_async(work, [15, 16, 18]).get(120)
        with_blas = pool.apply_async(one_thread).get(120) if method == "fork" else True
    done.set(), stop.set()
    [thread.join() for thread in busy]
    assert found == [*expected, work(18)]
    assert with_blas
    print("same")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there is only spawn")
@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_processes(tmp_path, method):
    script = tmp_path / "processes.py"
    script.write_text(PROCESSES)
    # threads at a fork are what is tested: newer Pythons warn of it
    command = [sys.executable, "-P", "-W", "ignore::DeprecationWarning", str(script), method]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert (ended.returncode, ended.stdout) == (0, "same\n"), ended.stderr
