"""An axis as the last one, against NumPy's own transposition."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fmtlib import axes
from fmtlib._core import kernels


def matrices(dtype, shape):
    return np.random.default_rng(0).integers(0, 200, shape).astype(dtype)


@pytest.mark.parametrize("dtype", ["int8", "uint16", "int32"])
@pytest.mark.parametrize("rows", [1, 15, 16, 63, 64, 65, 200])
@pytest.mark.parametrize("columns", [1, 7, 32, 64, 65, 129])
def test_transpose(dtype, rows, columns):
    x = matrices(dtype, (2, rows, columns))
    out = np.zeros((2, columns, rows), dtype)
    kernels.transpose(x, out)
    assert_array_equal(out, x.swapaxes(1, 2))
    wide = np.zeros((2, columns, rows + 300), dtype)  # rows far apart, of either side
    kernels.transpose(x, wide[:, :, 5 : 5 + rows])
    assert_array_equal(wide[:, :, 5 : 5 + rows], out)
    assert not wide[:, :, :5].any()
    assert not wide[:, :, 5 + rows :].any()
    back = np.zeros_like(x)
    kernels.transpose(wide[:, :, 5 : 5 + rows], back)
    assert_array_equal(back, x)


@pytest.mark.parametrize("axis", [0, 1, 2, 3])
def test_axis_last_and_back(axis):
    x = matrices("int16", (3, 20, 1, 18))
    for view in (x, x.T, x[::-1, ::2], np.asfortranarray(x), x.astype(">i2"), x[:0]):
        moved = axes.axis_last(view, axis)
        assert_array_equal(moved, np.moveaxis(view, axis, -1))
        assert axes.is_plain(moved)
        back = axes.axis_back(moved, axis)
        assert_array_equal(back, view)
        assert back.flags.c_contiguous


def test_transpose_takes_no_other_shapes():
    x = matrices("int16", (1, 3, 4))
    for out in (
        np.zeros((1, 3, 4), np.int16),
        np.zeros((1, 4, 3), np.int8),
        np.zeros((1, 3, 4), np.int16).swapaxes(1, 2),
    ):
        with pytest.raises(TypeError, match="matrices"):
            kernels.transpose(x, out)
