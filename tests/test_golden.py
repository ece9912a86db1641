"""Codes and values that independent implementations agree on: see data/golden/README.md."""

import numpy as np
import pytest
from cases import DTYPES, GOLDEN, all_16_bit, golden, one_nan
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.formats import ROUNDINGS

ROUNDING_NAMES = {
    "rne": "nearest_even",
    "rna": "nearest_away",
    "rtz": "toward_zero",
    "rup": "up",
    "rdn": "down",
    "odd": "to_odd",
}
OVERFLOW_NAMES = {"sat": "saturate", "nosat": "nonsaturating"}


ENCODED = sorted(path.stem.removeprefix("encode_") for path in GOLDEN.glob("encode_*.npz"))
MODES = [
    (*key.split("__")[:1], *key.split("__")[1].split("_"))
    for key in golden("rounding_modes")
    if not key.endswith("__x") and ROUNDING_NAMES[key.split("__")[1].split("_")[0]] in ROUNDINGS
]


@pytest.mark.parametrize("name", golden("decode_8bit"))
def test_decode(target, name, record_property):
    expected = golden("decode_8bit")[name]
    codes = np.arange(expected.size, dtype=np.uint8)
    if name == "mxint8":
        codes, name = codes.view(np.int8), "fixed_s1_6"
    values = fl.decode(codes, name, dtype=np.float64)
    assert_array_equal(values, expected)
    number = ~np.isnan(expected)
    assert_array_equal(np.signbit(values)[number], np.signbit(expected)[number])
    record_property("inputs", codes.size)


@pytest.mark.parametrize("overflow", OVERFLOW_NAMES)
@pytest.mark.parametrize("source", ["f32", "f16", "bf16", "f64"])
@pytest.mark.parametrize("name", ENCODED)
def test_encode(target, name, source, overflow, record_property):
    data, fmt = golden(f"encode_{name}"), fl.get_format(name)
    if source == "f32":
        x = golden("inputs_f32")["bits"].view(np.float32)
    elif source == "f64":
        x = data["f64_bits"].view(np.float64)
    else:
        x = all_16_bit({"f16": "float16", "bf16": "bfloat16"}[source])
    unspecified = data.get(f"{source}_unspecified", np.zeros(-(-x.size // 8), np.uint8))
    specified = ~np.unpackbits(unspecified, count=x.size).astype(bool)
    with np.errstate(invalid="ignore"):  # NaN into formats without NaN
        codes = fl.encode(x, name, overflow=OVERFLOW_NAMES[overflow])
    expected = data[f"{source}_{overflow}"]
    assert_array_equal(one_nan(codes, fmt)[specified], one_nan(expected, fmt)[specified])
    with np.errstate(invalid="ignore"):
        assert fmt.nan_code is not None or (codes[np.isnan(x)] == 0).all()
    record_property("inputs", int(np.count_nonzero(specified)))


@pytest.mark.parametrize(("name", "rounding", "overflow"), MODES)
def test_rounding(target, name, rounding, overflow, record_property):
    data, fmt = golden("rounding_modes"), fl.get_format(name)
    x, expected = data[f"{name}__x"], data[f"{name}__{rounding}_{overflow}"]
    specified = expected >= 0
    with np.errstate(invalid="ignore"):
        codes = fl.encode(
            x, name, rounding=ROUNDING_NAMES[rounding], overflow=OVERFLOW_NAMES[overflow]
        )
    expected = expected[specified].astype(fmt.code_dtype)
    assert_array_equal(one_nan(codes[specified], fmt), one_nan(expected, fmt))
    record_property("inputs", expected.size)


@pytest.mark.parametrize("dtype", DTYPES)
def test_quantize(target, dtype):
    """The same inputs through `quantize`: its values are those of the golden codes."""
    source = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}[dtype]
    for name in ENCODED:
        data = golden(f"encode_{name}")
        if f"{source}_unspecified" in data or not fl.get_format(name).fits(dtype):
            continue
        x = {"f32": golden("inputs_f32")["bits"], "f64": data["f64_bits"]}.get(source)
        x = all_16_bit(dtype) if x is None else x.view(dtype)
        for overflow, ours in OVERFLOW_NAMES.items():
            values = fl.quantize(x, name, overflow=ours)
            expected = fl.decode(data[f"{source}_{overflow}"], name, dtype=DTYPES[dtype])
            assert_array_equal(values.astype(np.float64), expected.astype(np.float64))
