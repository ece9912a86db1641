"""The IEEE P3109 draft family: every format of at most 8 bits, every mode."""

from itertools import product

import numpy as np
import pytest
from cases import DETERMINISTIC, each_target
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib import reference

FAMILY = [
    (bits, precision, signed, infinities)
    for bits in range(3, 9)
    for precision in range(1, bits + 1)
    for signed, infinities in product((True, False), repeat=2)
    if precision < bits or not signed
]
MODES = ["p3109_finite", "p3109_propagate", "p3109_none"]


def inputs(fmt):
    """Every value, every midpoint, points between, far beyond both ends, and specials."""
    codes = range(fmt.max_code + 1)
    values = np.array([float(reference.decode(code, fmt)) for code in codes])
    top = values[-1]
    beyond = np.array([top * 2 - values[-2], top * 2, top * 1e3])
    points = np.concatenate([values, beyond])
    points = np.concatenate([points, (points[1:] + points[:-1]) / 2])
    points = np.concatenate([points, np.nextafter(points, 0), np.nextafter(points, np.inf)])
    points = np.concatenate([points, [0.0, 1e-300, np.inf, np.nan]])
    return np.concatenate([points, -points])


@pytest.mark.parametrize("bits", range(3, 9))
def test_definition(bits):
    """Interim Report v4.0: bias, value of a code, place of NaN, infinities and one."""
    for width, precision, signed, infinities in FAMILY:
        if width != bits:
            continue
        fmt = fl.p3109(bits, precision, signed=signed, infinities=infinities)
        assert fmt.bits == bits
        assert fl.get_format(fmt._derived_name()) == fmt
        bias = 2 ** (bits - precision - 1) if signed else 2 ** (bits - precision)
        assert reference.decode(2 ** (bits - 2) if signed else 2 ** (bits - 1), fmt) == 1
        half = 2 ** (bits - 1)
        nan = half if signed else 2**bits - 1
        infinity = None if not infinities else half - 1 if signed else 2**bits - 2
        for code in range(2**bits):
            found = float(reference.decode(code, fmt))
            magnitude, negative = (code % half, code > half) if signed else (code, False)
            if code == nan:
                assert np.isnan(found)
            elif magnitude == infinity:
                assert found == (-np.inf if negative else np.inf)
            else:
                field, trailing = divmod(magnitude, 2 ** (precision - 1))
                fraction = trailing * 2.0 ** (1 - precision)
                expected = fraction * 2.0 ** (1 - bias)
                if field:
                    expected = (1 + fraction) * 2.0 ** (field - bias)
                assert found == (-expected if negative else expected)
            assert float(fl.decode(np.uint8([code]), fmt)[0]) == found or np.isnan(found)


@pytest.mark.parametrize(("bits", "precision", "signed", "infinities"), FAMILY)
def test_every_mode(bits, precision, signed, infinities):
    fmt = fl.p3109(bits, precision, signed=signed, infinities=infinities)
    x = inputs(fmt)
    modes = product(DETERMINISTIC, MODES) if bits <= 5 else [("nearest_even", m) for m in MODES]
    for rounding, overflow in [*modes, ("to_odd", "p3109_none"), ("up", "p3109_none")]:
        expected = [reference.encode(v, fmt, rounding, overflow) for v in x.tolist()]
        for target in each_target():
            codes = fl.encode(x, fmt, rounding=rounding, overflow=overflow)
            assert_array_equal(codes, expected, err_msg=f"{rounding} {overflow} {target}")


def test_saturation_modes():
    """Section on saturation, by hand: what each mode makes of what."""
    extended, finite = fl.get_format("binary8p3se"), fl.get_format("binary8p3sf")
    unsigned = fl.get_format("binary8p4ue")
    x = [1e9, -1e9, np.inf, -np.inf]
    cases = {
        (extended, "p3109_finite"): [0x7E, 0xFE, 0x7E, 0xFE],
        (extended, "p3109_propagate"): [0x7E, 0xFE, 0x7F, 0xFF],
        (extended, "p3109_none"): [0x7F, 0xFF, 0x7F, 0xFF],
        (finite, "p3109_finite"): [0x7F, 0xFF, 0x7F, 0xFF],
        (finite, "p3109_propagate"): [0x7F, 0xFF, 0x7F, 0xFF],
        (finite, "p3109_none"): [0x7F, 0xFF, 0x7F, 0xFF],  # never NaN
        (unsigned, "p3109_finite"): [0xFD, 0, 0xFD, 0],
        (unsigned, "p3109_propagate"): [0xFD, 0, 0xFE, 0],
        (unsigned, "p3109_none"): [0xFE, 0xFF, 0xFE, 0xFF],
    }
    for (fmt, overflow), codes in cases.items():
        assert_array_equal(fl.encode(x, fmt, overflow=overflow), codes, err_msg=str(fmt))
        assert fl.encode(np.nan, fmt, overflow=overflow) == fmt.nan_code
    for rounding, greatest in (("toward_zero", [0x7E, 0xFE]), ("up", [0x7F, 0xFE])):
        codes = fl.encode(x[:2], extended, rounding=rounding, overflow="p3109_none")
        assert_array_equal(codes, greatest)
    # to odd: infinity is odd in the signed format, the greatest finite value in the unsigned one
    odd = {"rounding": "to_odd", "overflow": "p3109_none"}
    assert fl.encode(1e9, extended, **odd) == 0x7F
    assert fl.encode(1e9, unsigned, **odd) == 0xFD
    assert fl.encode(-1e-9, unsigned, overflow="p3109_none") == 0  # rounds to zero first


@pytest.mark.parametrize(
    ("arguments", "error"),
    [((2, 1), ValueError), ((9, 3), ValueError), ((8, 8), ValueError), ((8, 0), ValueError),
     ((8.0, 3), TypeError)],
)  # fmt: skip
def test_impossible(arguments, error):
    with pytest.raises(error, match="must be"):
        fl.p3109(*arguments)
    assert fl.p3109(8, 8, signed=False).precision == 8
