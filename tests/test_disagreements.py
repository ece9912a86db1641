"""What docs/disagreements.md says of other implementations, checked with the installed versions.

    pytest -m peers tests/test_disagreements.py

A test that fails here does not mean that fmtlib is wrong: the other side may have changed, and the
document with it.  Each records how many of its inputs differ; docs/proofs.md lists that.
"""

import ml_dtypes
import numpy as np
import pytest
from cases import FLOAT_NAMES, all_16_bit, one_nan
from steps import expected_codes
from test_onnx import tensors
from test_peers import TORCH, gfloat_round, torch_cast
from test_traps import float64_traps

import fmtlib as fl
from fmtlib.formats import FORMATS, p3109

pytestmark = pytest.mark.peers

FP8 = [name for name in TORCH if name.startswith("float8")]
ML_DTYPES = [name for name in FLOAT_NAMES if hasattr(ml_dtypes, name) and name != "float8_e8m0fnu"]


@pytest.fixture
def differing(record_property):
    """Count and record the inputs on which two arrays of codes differ; NaN is one code."""

    def count(theirs, ours, fmt):
        differ = one_nan(theirs, fmt) != one_nan(ours, fmt)
        record_property("differ", int(np.count_nonzero(differ)))
        record_property("of", differ.size)
        return differ

    return count


def ml_dtypes_cast(x, name):
    with np.errstate(all="ignore"):
        return x.astype(getattr(ml_dtypes, name)).view(FORMATS[name].code_dtype)


@pytest.mark.parametrize("name", ML_DTYPES)
def test_ml_dtypes_rounds_float64_twice(name, differing):
    fmt, x = FORMATS[name], float64_traps(name)
    differ = differing(
        ml_dtypes_cast(x, name), expected_codes(x, fmt, overflow="nonsaturating"), fmt
    )
    assert differ.any()
    # what it gives is the code of the float32
    twice = expected_codes(x.astype(np.float32), fmt, overflow="nonsaturating")
    assert (one_nan(ml_dtypes_cast(x, name), fmt) == one_nan(twice, fmt)).all()


@pytest.mark.parametrize("name", FP8)
def test_torch_rounds_float64_twice(name, differing):
    fmt, x = FORMATS[name], float64_traps(name)
    differ = differing(torch_cast(x, name), expected_codes(x, fmt, overflow=TORCH[name]), fmt)
    assert differ.any()
    twice = expected_codes(x.astype(np.float32), fmt, overflow=TORCH[name])
    assert (one_nan(torch_cast(x, name), fmt) == one_nan(twice, fmt)).all()


def test_gfloat_rounds_float64_once(differing):
    formats = pytest.importorskip("gfloat.formats")
    name = "float8_e4m3fn"
    fmt, x = FORMATS[name], float64_traps(name)
    values = gfloat_round(formats.format_info_ocp_e4m3, x, "nearest_even", True)
    expected = expected_codes(x, fmt)
    assert not differing(expected_codes(values, fmt), expected, fmt).any()


def test_torch_saturates_e4m3_and_no_other(differing):
    name, x = "float8_e4m3fn", all_16_bit("float16")
    fmt = FORMATS[name]
    nonsaturating = expected_codes(x, fmt, overflow="nonsaturating")
    differ = differing(torch_cast(x, name), nonsaturating, fmt)
    assert differ.any()
    with np.errstate(invalid="ignore"):
        assert (np.abs(x[differ].astype(float)) > 464).all()
    for other in set(FP8) - {name}:
        expected = expected_codes(x, FORMATS[other], overflow="nonsaturating")
        assert (
            one_nan(torch_cast(x, other), FORMATS[other]) == one_nan(expected, FORMATS[other])
        ).all()


@pytest.mark.parametrize("name", ["float6_e2m3fn", "float6_e3m2fn", "float4_e2m1fn"])
def test_ml_dtypes_turns_nan_into_a_zero(name):
    fmt = FORMATS[name]
    codes = ml_dtypes_cast(np.float32([np.nan, -np.nan]), name)
    assert codes.tolist() == [fmt.sign_bit, 0]  # -0 for +NaN, +0 for -NaN
    with np.errstate(invalid="ignore"):
        assert fl.encode(np.float32([np.nan, -np.nan]), name).tolist() == [0, 0]


def e8m0(x):
    return ml_dtypes_cast(np.float32(x), "float8_e8m0fnu").tolist()


def test_e8m0_nearest_has_ties_up_in_ml_dtypes_and_torch():
    ties = np.float32([1.5, 3.0, 6.0, 12.0])
    up = fl.encode(ties, "e8m0", rounding="nearest_away").tolist()
    assert e8m0(ties) == torch_cast(ties, "float8_e8m0fnu").tolist() == up == [128, 129, 130, 131]
    assert fl.encode(ties, "e8m0").tolist() == [128, 128, 130, 130]


def test_e8m0_ties_go_to_the_even_code_in_gfloat():
    formats = pytest.importorskip("gfloat.formats")
    ties = np.array([1.5, 3.0, 6.0, 12.0])
    values = gfloat_round(formats.format_info_ocp_e8m0, ties, "nearest_even", True)
    assert values.tolist() == fl.quantize(ties, "e8m0").tolist() == [2.0, 2.0, 8.0, 8.0]


def test_e8m0_has_no_zero():
    zero = np.float32([0.0])
    assert e8m0(zero) == [0xFF]  # NaN
    assert torch_cast(zero, "float8_e8m0fnu").tolist() == [0]
    assert fl.encode(zero, "e8m0").tolist() == [0]


def test_e8m0_infinity():
    infinity = np.float32([np.inf])
    assert e8m0(infinity) == torch_cast(infinity, "float8_e8m0fnu").tolist() == [0xFF]
    assert fl.encode(infinity, "e8m0", overflow="nonsaturating").tolist() == [0xFF]
    assert fl.encode(infinity, "e8m0").tolist() == [0xFE]


def test_e8m0_of_negative_numbers_is_their_magnitude_in_torch():
    negative = np.float32([-2.0])
    assert torch_cast(negative, "float8_e8m0fnu").tolist() == [128]
    assert e8m0(negative) == [0xFF]
    assert fl.encode(negative, "e8m0").tolist() == [0xFF]


def test_p3109_satnone_in_a_finite_format():
    gfloat = pytest.importorskip("gfloat")
    info = gfloat.formats.format_info_p3109(8, 4, gfloat.Signedness.Signed, gfloat.Domain.Finite)
    x = np.array([1e9, np.inf])
    assert np.isnan(gfloat_round(info, x, "nearest_even", False)).all()
    fmt = p3109(8, 4, infinities=False)
    assert (fl.quantize(x, fmt, overflow="p3109_none") == fmt.max).all()


def test_onnx_loses_negative_zero_in_quantizelinear():
    x, scale, _ = tensors("test_quantizelinear_float4e2m1", "in")
    (theirs,) = tensors("test_quantizelinear_float4e2m1", "out")
    ours = fl.encode(x.array, "float4_e2m1fn", scale=scale.array, axis=0)
    differ = ours != theirs.array
    assert theirs.array[differ].tolist() == [0]
    assert ours[differ].tolist() == [8]
