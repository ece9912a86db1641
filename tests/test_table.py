"""The table itself: names, facts, and that every row is tested."""

import copy
import pickle
import subprocess
import sys

import ml_dtypes
import numpy as np
import pytest
from cases import BLOCK_NAMES, ELEMENTWISE_NAMES

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import ALIASES, FORMATS, BlockFormat, FixedFormat, FloatFormat, IntegerFormat

# Greatest value, its code, least normal and subnormal values: OFP8 v1.0 and MX v1.0 where they
# define the format, else ml_dtypes' definitions.
FACTS = {
    "float8_e4m3fn": (448, 0x7E, 2**-6, 2**-9),
    "float8_e5m2": (57344, 0x7B, 2**-14, 2**-16),
    "float8_e4m3fnuz": (240, 0x7F, 2**-7, 2**-10),
    "float8_e5m2fnuz": (57344, 0x7F, 2**-15, 2**-17),
    "float8_e4m3b11fnuz": (30, 0x7F, 2**-10, 2**-13),
    "float8_e4m3": (240, 0x77, 2**-6, 2**-9),
    "float8_e3m4": (15.5, 0x6F, 2**-2, 2**-6),
    "float8_e8m0fnu": (2.0**127, 0xFE, 2**-127, 2**-127),
    "float6_e2m3fn": (7.5, 0x1F, 1, 2**-3),
    "float6_e3m2fn": (28, 0x1F, 2**-2, 2**-4),
    "float4_e2m1fn": (6, 0x7, 1, 2**-1),
    "bfloat16": ((2 - 2**-7) * 2.0**127, 0x7F7F, 2**-126, 2**-133),
    "float16": (65504, 0x7BFF, 2**-14, 2**-24),
    "tf32": ((2 - 2**-10) * 2.0**127, 0x3FBFF, 2**-126, 2**-136),
    # IEEE P3109 Interim Report v4.0: bias 2**(K-P-1) signed, 2**(K-P) unsigned; one zero, one NaN.
    "binary8p3se": (49152, 0x7E, 2**-15, 2**-17),
    "binary8p4se": (224, 0x7E, 2**-7, 2**-10),
    "binary4p2sf": (3, 0x7, 2**-1, 2**-2),
    "binary8p1uf": (2.0**126, 0xFE, 2**-127, 2**-127),
}


def test_every_row_has_generated_tests():
    assert sorted(ELEMENTWISE_NAMES + BLOCK_NAMES) == sorted(FORMATS)


@pytest.mark.parametrize("name", FACTS)
def test_facts(name):
    fmt = FORMATS[name]
    greatest, code, normal, least = FACTS[name]
    assert (fmt.max, fmt.max_code) == (greatest, code)
    assert 2.0**fmt.min_exponent == normal
    assert 2.0**fmt.quantum_exponent == least
    assert reference.decode(code, fmt) == greatest
    assert reference.decode(0 if not fmt.subnormals else 1, fmt) == least


@pytest.mark.parametrize("name", FORMATS)
def test_names_lead_back(name):
    fmt = FORMATS[name]
    assert fl.get_format(name) is fmt
    assert fl.get_format(fmt) is fmt
    assert fmt.name == str(fmt) == name
    assert fl.get_format(fmt._derived_name()) == fmt
    assert 2 ** (8 * fmt.code_dtype.itemsize) >= 2**fmt.bits


def test_aliases_and_dtypes():
    for alias, name in ALIASES.items():
        assert fl.get_format(alias).name == name
    assert fl.get_format("e4m3") == FloatFormat(4, 3, infinities=False, nan="all_ones")
    assert fl.get_format(ml_dtypes.float8_e5m2).name == "float8_e5m2"
    assert fl.get_format(np.dtype(ml_dtypes.bfloat16)).name == "bfloat16"
    assert fl.get_format(np.float16).name == "float16"


def test_bfp_is_a_block_format():
    fmt = fl.bfp(mantissa_bits=4, exponent_bits=5, block_size=32)
    assert isinstance(fmt, BlockFormat)
    assert fmt.name == "bfp_m4_e5_g32"
    assert fmt.scale.name == "float_e5m0b15_fn_unsigned_nozero"
    assert fl.bfp(4).scale == fl.get_format("float8_e8m0fnu")


@pytest.mark.parametrize("name", ["e4m33", "float8", "int99", "fixed_s40_2", "bfp_m40_e8_g16", ""])
def test_unknown_names(name):
    with pytest.raises(ValueError, match=r"near|unknown|must|has 1 to"):
        fl.get_format(name)


def test_near_matches_are_named():
    with pytest.raises(ValueError, match="float8_e4m3fn"):
        fl.get_format("float8_e4m3fm")


@pytest.mark.parametrize("fmt", [None, 3, 2.5, ["e4m3"]])
def test_formats_of_a_wrong_type(fmt):
    with pytest.raises(TypeError, match="a format is"):
        fl.get_format(fmt)


@pytest.mark.parametrize("dtype", [np.float32, np.int8, np.dtype("O")])
def test_dtypes_that_are_no_format(dtype):
    with pytest.raises(ValueError, match="no float format of the table"):
        fl.get_format(dtype)


def test_dtypes_of_integers_tell_the_names():
    with pytest.raises(ValueError, match="there is 'int8' and 'int8_full'"):
        fl.get_format(np.int8)


@pytest.mark.parametrize(
    ("given", "near"),
    [("fp8", "e4m3, e5m2,"), ("FLOAT6", "e2m3, e3m2;"), ("fp4", "e2m1;"), ("E4M3", "e4m3,")],
)
def test_wrong_names_of_a_width_or_in_capitals_tell_the_right_ones(given, near):
    with pytest.raises(ValueError, match=f"near matches: {near}"):
        fl.get_format(given)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: FloatFormat(0, 3), ValueError),
        (lambda: FloatFormat(8, 11), ValueError),
        (lambda: FloatFormat(4.0, 3), TypeError),
        (lambda: FloatFormat(True, 3), TypeError),
        (lambda: FloatFormat(4, 3, nan="some"), ValueError),
        (lambda: FloatFormat(4, 0), ValueError),
        (lambda: FloatFormat(12, 3), ValueError),
        (lambda: FloatFormat(4, 3, subnormals=False), ValueError),
        (lambda: FixedFormat(30, 8), ValueError),
        (lambda: FixedFormat(0, 0), ValueError),
        (lambda: FixedFormat(-1, 8), ValueError),
        (lambda: FixedFormat(7, 8, signed=False, encoding="sign_magnitude"), ValueError),
        (lambda: IntegerFormat(17), ValueError),
        (lambda: IntegerFormat(1), ValueError),
        (lambda: IntegerFormat("8"), TypeError),
        (lambda: fl.bfp(0), ValueError),
        (lambda: fl.bfp(24), ValueError),
        (lambda: fl.bfp(4.0), TypeError),
        (lambda: fl.bfp(4, 1), ValueError),
        (lambda: fl.bfp(4, 9), ValueError),
        (lambda: fl.bfp(4, block_size=0), ValueError),
        (lambda: fl.bfp(4, block_size=-16), ValueError),
        (lambda: fl.bfp(4, block_size=2.0), TypeError),
        (lambda: fl.bfp(4, carry="wrap"), ValueError),
        (lambda: fl.bfp(4, nonfinite="ignore"), ValueError),
        (lambda: BlockFormat(FixedFormat(7, 8), fl.get_format("e8m0")), ValueError),
        (lambda: BlockFormat(fl.bfp(4).element, fl.get_format("e4m3")), ValueError),
    ],
)
def test_impossible_records(make, error):
    with pytest.raises(error, match=r"must|needs|at most|finite|has 1 to|is for"):
        make()


def test_fits():
    assert fl.get_format("bfloat16").smallest_dtype == "bfloat16"
    assert fl.get_format("fixed_s15_16").smallest_dtype == "float64"
    assert not fl.get_format("bfloat16").fits("float16")
    assert fl.bfp(4).fits("float32")
    assert not fl.bfp(8).fits("bfloat16")  # 8 bits, but down to 2**-134


def test_block_formats_are_found_in_other_processes():
    """Their hash is kept, and hashes of text differ from process to process."""
    fmt = fl.get_format("mxfp8_e4m3_rceil")
    hash(fmt)
    code = (
        "import pickle, sys; from fmtlib import get_format; fmt = pickle.load(sys.stdin.buffer);"
        f"assert {{get_format({fmt.name!r}): 1}}[fmt]"
    )
    subprocess.run([sys.executable, "-P", "-c", code], input=pickle.dumps(fmt), check=True)
    assert copy.deepcopy(fmt) == fmt
