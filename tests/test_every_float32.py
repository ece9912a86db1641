"""All 2**32 float32 inputs against the reference's thresholds: see `sweep`.

    pytest -m exhaustive tests/test_every_float32.py

`docs/proofs.py` runs this and writes what it found into docs/proofs.md.
"""

import time

import ml_dtypes
import numpy as np
import pytest
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sweep import INPUTS, count_wrong

import fmtlib as fl
from fmtlib.formats import FORMATS

pytestmark = pytest.mark.exhaustive

NAMES = ("float8_e4m3fn", "float8_e5m2")
OVERFLOWS = ("saturate", "nonsaturating")


@pytest.fixture
def sweep(request, capsys, record_property):
    """Count, with a bar on the terminal, and record what `docs/proofs.py` prints."""

    def run(cast, name, overflow, **keywords):
        started = time.perf_counter()
        columns = ("{task.percentage:>3.0f} %", TimeRemainingColumn())
        bar = Progress(TextColumn("{task.description}", markup=False), BarColumn(), *columns)
        with capsys.disabled(), bar:
            task = bar.add_task(request.node.name, total=INPUTS)
            wrong = count_wrong(
                cast, FORMATS[name], overflow, lambda n: bar.advance(task, n), **keywords
            )
        record_property("inputs", INPUTS)
        record_property("wrong", wrong)
        record_property("seconds", round(time.perf_counter() - started, 1))
        return wrong

    return run


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("name", NAMES[:1])
def test_encode_on_each_target(sweep, target, name, overflow):
    assert sweep(fl.ufunc("encode", name, overflow=overflow), name, overflow) == 0


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("name", NAMES[1:])
def test_encode(sweep, name, overflow):
    assert sweep(fl.ufunc("encode", name, overflow=overflow), name, overflow) == 0


@pytest.mark.parametrize("overflow", OVERFLOWS)
@pytest.mark.parametrize("name", NAMES)
def test_quantize(sweep, name, overflow):
    assert sweep(fl.ufunc("quantize", name, overflow=overflow), name, overflow, decoded=True) == 0


@pytest.mark.parametrize("name", NAMES)
def test_ml_dtypes(sweep, name):
    """Its casts do not saturate; they share nothing with the thresholds nor with the kernels."""
    dtype = getattr(ml_dtypes, name)

    def cast(x):
        with np.errstate(all="ignore"):
            return x.astype(dtype).view(np.uint8)

    assert sweep(cast, name, "nonsaturating") == 0


def test_a_wrong_result_is_counted(sweep):
    """The sweep can fail: three inputs spoilt, one of them a NaN."""
    encode = fl.ufunc("encode", "float8_e4m3fn")
    spoilt = np.array([0x3F80_0000, 0x8000_0001, 0xFFFF_FFFF], np.uint32)

    def cast(x):
        codes = encode(x)
        place = np.isin(spoilt, x.view(np.uint32))
        if place.any():
            codes[spoilt[place] - x.view(np.uint32)[0]] ^= 1
        return codes

    assert sweep(cast, "float8_e4m3fn", "saturate") == 3
