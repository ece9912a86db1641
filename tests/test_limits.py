"""fl.finfo: attribute by attribute against NumPy's and ml_dtypes' own."""

import ml_dtypes
import numpy as np
import pytest
from cases import BLOCK_NAMES, FLOAT_NAMES, INTEGER_NAMES

import fmtlib as fl
from fmtlib import reference
from fmtlib.formats import FORMATS, FloatFormat

ATTRIBUTES = [
    *("bits", "dtype", "eps", "epsneg", "iexp", "machep", "max", "maxexp", "min", "minexp"),
    *("negep", "nexp", "nmant", "precision", "resolution"),
    *("smallest_normal", "smallest_subnormal", "tiny"),
]
THEIRS = [name for name in FLOAT_NAMES if name == "float16" or hasattr(ml_dtypes, name)]


@pytest.mark.parametrize("attribute", ATTRIBUTES)
@pytest.mark.parametrize("name", THEIRS)
def test_equal_to_theirs(name, attribute):
    theirs = np.finfo(np.float16) if name == "float16" else ml_dtypes.finfo(name)
    expected = getattr(theirs, attribute)
    found = getattr(fl.finfo(name), attribute)
    if isinstance(expected, np.generic):
        assert type(found) is float
        expected = float(expected)
    assert found == expected


def test_every_attribute_of_numpy_is_there():
    ours = fl.finfo("float16")
    numpys = {name for name in dir(np.finfo(np.float16)) if not name.startswith("_")}
    assert numpys - {name for name in dir(ours) if not name.startswith("_")} == set()


@pytest.mark.parametrize("name", [name for name in FLOAT_NAMES if FORMATS[name].bits <= 16])
def test_against_the_codes(name):
    fmt, limits = FORMATS[name], fl.finfo(name)
    codes = np.arange(2**fmt.bits).astype(fmt.code_dtype)
    values = np.array([float(reference.decode(code, fmt)) for code in codes.tolist()])
    finite = values[np.isfinite(values)]
    assert limits.max == finite.max()
    if fmt.signed:
        assert limits.min == finite.min()
    assert limits.smallest_subnormal == finite[finite > 0].min()
    assert limits.has_infinity == np.isinf(values).any()
    assert limits.has_nan == np.isnan(values).any()
    assert limits.has_negative_zero == (np.signbit(values) & (values == 0)).any()
    assert limits.has_subnormals == fl.issubnormal(codes, fmt).any()
    normal = fl.classify(codes, fmt) == "normal"
    assert limits.tiny == limits.smallest_normal == np.abs(values[normal]).min()
    above, below = finite[finite > 1].min(), finite[finite < 1].max()
    assert (limits.eps, limits.epsneg) == (above - 1, 1 - below)


def test_unsigned_formats():
    zero = FloatFormat(5, 3, infinities=False, nan="all_ones", signed=False)
    assert (fl.finfo(zero).min, fl.finfo(zero).dtype) == (0.0, None)
    least = FloatFormat(5, 3, infinities=False, nan="all_ones", signed=False, subnormals=False)
    limits = fl.finfo(least)
    assert limits.min == limits.smallest_subnormal == limits.tiny == 2.0**-15


@pytest.mark.parametrize("name", [*INTEGER_NAMES, *BLOCK_NAMES])
def test_other_formats(name):
    with pytest.raises(TypeError, match="finfo is for float formats"):
        fl.finfo(name)


def test_dtypes_are_formats():
    assert fl.finfo(np.float16) == fl.finfo("float16")
    assert fl.finfo(ml_dtypes.bfloat16) == fl.finfo("bfloat16")
