"""The kernels of all instruction sets against each other; emulated/run.sh does it with AVX-512."""

import pytest
from emulated.compare_targets import FAMILIES, compare

from fmtlib._core import kernels


@pytest.mark.skipif(len(kernels.available_targets()) < 2, reason="only one set of kernels here")
@pytest.mark.parametrize("family", FAMILIES)
def test_targets_agree(family):
    count, _, wrong = compare(family)
    assert count > 100
    assert not wrong
