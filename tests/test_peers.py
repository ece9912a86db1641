"""Independent packages of the `peers` extra, wherever they define the same thing.

    pytest -m peers

gfloat rounds from float64 in every deterministic mode.  torch's casts to E4M3 saturate
from 2.12 on, those to E5M2 do not.
"""

import numpy as np
import pytest
from cases import BLOCK_NAMES, DETERMINISTIC, all_16_bit, edges
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


@pytest.mark.parametrize("rounding", [r for r in DETERMINISTIC if r in MODES])
@pytest.mark.parametrize("name", [name for name in BLOCK_NAMES if name.startswith("mx")])
def test_gfloat_blocks(name, rounding):
    """MX blocks; gfloat's MXINT8 has -128, ours, like microxcaling's, has not."""
    import gfloat
    import gfloat.block
    import gfloat.formats

    info = getattr(gfloat.formats, f"format_info_{name}")
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 32)) * 2.0 ** rng.integers(-130, 120, (60, 1))
    ours = fl.encode(x, name, rounding=rounding)
    greatest = ours.format.element.max * np.ldexp(1.0, ours.scales.astype(int) - 127)
    for row, values, limit in zip(x, fl.decode(ours, dtype=float), greatest[:, 0], strict=True):
        theirs = gfloat.block.quantize_block(
            info,
            row,
            gfloat.block.compute_scale_amax,
            getattr(gfloat.RoundMode, MODES[rounding]),
        )
        assert_array_equal(values, np.maximum(theirs, -limit))


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
