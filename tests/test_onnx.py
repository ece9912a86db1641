"""ONNX's backend cases of its conversion operators, bit for bit; see data/golden/README.md."""

import json
from fractions import Fraction

import numpy as np
import pytest
from cases import golden, one_nan
from numpy.testing import assert_array_equal
from onnx_nodes import FLOATS, VALUES, format_of, from_bits, run

import fmtlib as fl

CASES = {
    key.removesuffix("__attrs"): json.loads(str(value))
    for key, value in golden("onnx_1.23.2_generated").items()
    if key.endswith("__attrs")
}
# Neither end is a format of fmtlib: these are conversions of NumPy's own.
BETWEEN_NUMPY_TYPES = {
    f"test_{op}_{types}"
    for op in ("cast", "castlike")
    for types in ("FLOAT_to_DOUBLE", "DOUBLE_to_FLOAT")
}
# A NaN among the inputs, which no text gives a code in a format without NaN.
NAN_WITHOUT_NAN = {
    f"test_{op}_{source}_to_FLOAT4E2M1"
    for op in ("cast", "castlike")
    for source in ("FLOAT", "FLOAT16")
}
# The reference adds the zero point, +0, before it rounds, so that -0 becomes +0.
NEGATIVE_ZERO_LOST = {"test_quantizelinear_float4e2m1"}


def tensors(case, which):
    data = golden("onnx_1.23.2_generated")
    found = []
    while (stem := f"{case}__{which}{len(found)}") + "_bits" in data:
        shape = tuple(data[stem + "_shape"].tolist())
        found.append(from_bits(str(data[stem + "_type"]), data[stem + "_bits"], shape))
    return found


def check(found, expected, positive_zero=False):
    assert found.type == expected.type
    assert found.array.dtype == expected.array.dtype
    ours, theirs = np.asarray(found.array), expected.array
    if found.type in VALUES:
        ours, theirs = ours.astype(np.float64), theirs.astype(np.float64)
        number = ~np.isnan(theirs)
        assert_array_equal(np.signbit(ours)[number], np.signbit(theirs)[number])
    elif found.type in FLOATS:
        fmt = format_of(found.type)
        ours, theirs = one_nan(ours, fmt), one_nan(theirs, fmt)
        if positive_zero:
            assert (ours == fmt.sign_bit).any()
            ours = np.where(ours == fmt.sign_bit, 0, ours)
    assert_array_equal(ours, theirs)


def test_every_operator_is_here():
    operators = {attributes["op"] for attributes in CASES.values()}
    assert operators == {
        "Cast", "CastLike", "QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"
    }  # fmt: skip
    assert len(CASES) == 146
    assert set(CASES) >= BETWEEN_NUMPY_TYPES | NEGATIVE_ZERO_LOST | NAN_WITHOUT_NAN


@pytest.mark.parametrize("case", sorted(set(CASES) - BETWEEN_NUMPY_TYPES))
def test_case(target, case, record_property):
    inputs, expected = tensors(case, "in"), tensors(case, "out")
    with np.errstate(invalid="ignore"):
        found = run(inputs, CASES[case])
    assert len(found) == len(expected)
    if case in NAN_WITHOUT_NAN:
        nan = np.isnan(inputs[0].array)
        assert nan.any()
        assert (found[0].array[nan] == 0).all()
        expected[0].array[nan] = 0
    for ours, theirs in zip(found, expected, strict=True):
        check(ours, theirs, positive_zero=case in NEGATIVE_ZERO_LOST)
    record_property("inputs", sum(theirs.array.size for theirs in expected))


def test_the_exact_quotient_differs():
    """0.5 / scale is below a midpoint, but not after a rounding to float32: see quantize_linear."""
    case = "test_dynamicquantizelinear"
    (x,), (codes, scale, zero_point) = tensors(case, "in"), tensors(case, "out")
    exact = fl.encode(x.array, "uint8", scale=scale.array, zero_point=zero_point.array)
    differ = exact != codes.array
    assert x.array[differ].tolist() == [0.5]
    quotient = Fraction(0.5) / Fraction(float(scale.array))
    assert quotient < Fraction(51, 2) == Fraction(float(np.float32(0.5) / scale.array))
