"""The kernels of all instruction sets against each other; emulated/run.sh does it with AVX-512."""

from functools import partial

import numpy as np
import pytest
from emulated.compare_targets import FAMILIES, compare

from fmtlib._core import kernels

pytestmark = pytest.mark.skipif(
    len(kernels.available_targets()) < 2, reason="only one set of kernels here"
)


@pytest.mark.parametrize("family", FAMILIES)
def test_targets_agree(family):
    count, _, wrong = compare(family)
    assert count > 100
    assert not wrong


def test_a_difference_is_told(monkeypatch):
    def spoil(x):
        x = x.copy()
        x[5] += kernels.cpu_target() == kernels.available_targets()[1]
        return x

    monkeypatch.setitem(FAMILIES, "spoiled", lambda: [partial(spoil, np.arange(9.0))])
    count, _, wrong = compare("spoiled")
    assert count == len(wrong) == 1
    assert wrong[0].startswith("spoil(float64[9]): baseline, ")
    assert "1 of 9 elements, first element 5" in wrong[0]
