"""Independent packages of the `peers` extra, wherever they define the same thing.

    pytest -m peers

gfloat rounds from float64 in every deterministic mode.  torch's casts to E4M3 saturate
from 2.12 on, those to E5M2 do not.
"""

import numpy as np
import pytest
from cases import DETERMINISTIC, all_16_bit, edges
from numpy.testing import assert_array_equal

import fmtlib as fl

pytestmark = pytest.mark.peers

# Our name, gfloat's format_info_*, and whether it can be compared without saturation.
GFLOAT = {
    "float8_e4m3fn": ("ocp_e4m3", True),
    "float8_e5m2": ("ocp_e5m2", True),
    "float6_e2m3fn": ("ocp_e2m3", False),
    "float6_e3m2fn": ("ocp_e3m2", False),
    "float4_e2m1fn": ("ocp_e2m1", False),
    "bfloat16": ("bfloat16", True),
    "float16": ("binary16", True),
}
MODES = {
    "nearest_even": "TiesToEven",
    "nearest_away": "TiesToAway",
    "toward_zero": "TowardZero",
    "up": "TowardPositive",
    "down": "TowardNegative",
}


@pytest.mark.parametrize("rounding", DETERMINISTIC)
@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat(name, rounding):
    import gfloat
    import gfloat.formats

    theirs, nonsaturating = GFLOAT[name]
    info = getattr(gfloat.formats, f"format_info_{theirs}")
    x = edges(name, "float64")
    x = x[np.isfinite(x)]
    for saturate in (True, False) if nonsaturating else (True,):
        with np.errstate(all="ignore"):
            expected = gfloat.round_ndarray(
                info, x, getattr(gfloat.RoundMode, MODES[rounding]), sat=saturate
            )
        overflow = "saturate" if saturate else "nonsaturating"
        ours = fl.quantize(x, name, rounding=rounding, overflow=overflow)
        assert_array_equal(ours, expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize(
    ("name", "overflow"), [("float8_e4m3fn", "saturate"), ("float8_e5m2", "nonsaturating")]
)
def test_torch(name, overflow, dtype):
    import torch

    x = edges(name, "float32") if dtype == "float32" else all_16_bit(dtype)
    with np.errstate(invalid="ignore"):
        nan = np.isnan(x)
    bits = torch.from_numpy(x.view(f"i{x.itemsize}").copy())
    values = bits.view(getattr(torch, dtype))
    theirs = values.to(getattr(torch, name)).view(torch.uint8).numpy()
    ours = fl.encode(x, name, overflow=overflow)
    assert_array_equal(ours[~nan], theirs[~nan])
    assert np.isnan(fl.decode(ours, name)[nan]).all()
