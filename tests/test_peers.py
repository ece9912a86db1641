"""Independent packages of the `peers` extra, wherever they define the same thing.

    pytest -m peers

Where they do not, see test_disagreements.py and docs/disagreements.md.
"""

import warnings

import numpy as np
import pytest
from cases import BLOCK_NAMES, DETERMINISTIC, all_16_bit, edges, one_nan
from numpy.testing import assert_array_equal

import fmtlib as fl
from fmtlib.formats import FORMATS, STOCHASTIC, p3109

pytestmark = pytest.mark.peers

# --- gfloat: rounds from float64 ------------------------------------------------------------

GFLOAT = {
    "float8_e4m3fn": "ocp_e4m3",
    "float8_e5m2": "ocp_e5m2",
    "float8_e8m0fnu": "ocp_e8m0",
    "float6_e2m3fn": "ocp_e2m3",
    "float6_e3m2fn": "ocp_e3m2",
    "float4_e2m1fn": "ocp_e2m1",
    "bfloat16": "bfloat16",
    "float16": "binary16",
    "fixed_s1_6": "ocp_int8",
}
# gfloat has no rounding to odd.
ROUNDINGS = {
    "nearest_even": "TiesToEven",
    "nearest_away": "TiesToAway",
    "toward_zero": "TowardZero",
    "up": "TowardPositive",
    "down": "TowardNegative",
    "stochastic": "StochasticFastest",
    "stochastic_b": "StochasticFast",
    "stochastic_c": "Stochastic",
}
FAMILY = [
    (bits, precision, signed, infinities)
    for bits in range(3, 9)
    for precision in range(1, bits + 1)
    for signed in (True, False)
    for infinities in (True, False)
    if precision < bits or not signed
]


def gfloat_format(name):
    formats = pytest.importorskip("gfloat.formats")
    return getattr(formats, f"format_info_{GFLOAT[name]}")


def gfloat_round(info, x, rounding, saturate, **words):
    import gfloat

    mode = getattr(gfloat.RoundMode, ROUNDINGS[rounding])
    with np.errstate(all="ignore"):
        return gfloat.round_ndarray(info, x, mode, sat=saturate, **words)


def inputs(name):
    """Numbers that gfloat rounds into the format: E8M0 is, to it, without bounds below."""
    if name not in FORMATS:
        quantum = 2.0 ** fl.get_format(name).quantum_exponent
        return np.arange(-1200, 1200) * quantum / 8
    x = edges(name, "float64")
    return x[x >= 2.0**-127] if name == "float8_e8m0fnu" else x[~np.isnan(x)]


def assert_same_values(ours, theirs):
    assert_array_equal(ours, theirs)
    number = ~np.isnan(theirs)
    assert_array_equal(np.signbit(ours)[number], np.signbit(theirs)[number])


def test_gfloat_has_every_rounding_but_to_odd():
    assert {*DETERMINISTIC, *STOCHASTIC} - set(ROUNDINGS) == {"to_odd"}


@pytest.mark.parametrize("rounding", set(ROUNDINGS) - set(STOCHASTIC))
@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat(name, rounding, record_property):
    info, fmt, x = gfloat_format(name), fl.get_format(name), inputs(name)
    # it refuses what has neither an infinity nor NaN to go to
    has_more = "nonsaturating" in fmt.overflows and fmt.nan_code is not None
    for overflow in ("saturate", "nonsaturating") if has_more else ("saturate",):
        theirs = gfloat_round(info, x, rounding, overflow == "saturate")
        assert_same_values(fl.quantize(x, name, rounding=rounding, overflow=overflow), theirs)
        record_property("inputs", x.size)


@pytest.mark.parametrize("bits", [1, 4, 8])
@pytest.mark.parametrize("rounding", STOCHASTIC)
@pytest.mark.parametrize("name", GFLOAT)
def test_gfloat_stochastic(name, rounding, bits, record_property):
    info, x = gfloat_format(name), inputs(name)
    rng = np.random.default_rng(bits)
    x = rng.choice(x[np.abs(x) < 2.0**300], 2000)
    if name in FORMATS:
        x = x * (1 + rng.random(2000) / 8)
    words = rng.integers(0, 1 << bits, x.size)
    theirs = gfloat_round(info, x, rounding, True, srbits=words, srnumbits=bits)
    function = fl.ufunc("quantize", name, rounding=rounding, random_bits=bits)
    assert_same_values(function(x, (words << (32 - bits)).astype(np.uint32)), theirs)
    record_property("inputs", x.size)


@pytest.mark.parametrize(("bits", "precision", "signed", "infinities"), FAMILY)
def test_gfloat_p3109(bits, precision, signed, infinities, record_property):
    gfloat = pytest.importorskip("gfloat")
    info = gfloat.formats.format_info_p3109(
        bits,
        precision,
        gfloat.Signedness.Signed if signed else gfloat.Signedness.Unsigned,
        gfloat.Domain.Extended if infinities else gfloat.Domain.Finite,
    )
    fmt = p3109(bits, precision, signed=signed, infinities=infinities)
    codes = np.arange(1 << bits, dtype=np.uint8)
    values = fl.decode(codes, fmt, dtype=np.float64)
    assert_same_values(values, np.array([gfloat.decode_float(info, int(c)).fval for c in codes]))
    x = np.unique(np.abs(values[np.isfinite(values)]))
    beyond = [2 * x[-1] - x[-2], 2 * x[-1], np.inf, 1e300, 1e-300]
    x = np.concatenate([x, (x[1:] + x[:-1]) / 2, [1.5 * x[-1] - 0.5 * x[-2]], beyond])
    x = np.concatenate([x, np.nextafter(x, 0), np.nextafter(x, np.inf)])
    if signed:  # it rounds negative numbers into unsigned formats as if they were signed
        x = np.concatenate([x, -x])
    for rounding in set(ROUNDINGS) - set(STOCHASTIC):
        for saturate, overflow in ((True, "p3109_finite"), (False, "p3109_none")):
            theirs = gfloat_round(info, x, rounding, saturate)
            ours = fl.quantize(x, fmt, rounding=rounding, overflow=overflow)
            if not saturate and not infinities:  # NaN in gfloat, the greatest value in the draft
                beyond = np.isnan(theirs)
                assert (np.abs(ours[beyond]) == fmt.max).all()
                ours, theirs = ours[~beyond], theirs[~beyond]
            assert_same_values(ours, theirs)
            record_property("inputs", ours.size)


@pytest.mark.parametrize("rounding", set(ROUNDINGS) - set(STOCHASTIC))
@pytest.mark.parametrize("name", [name for name in BLOCK_NAMES if name.startswith("mx")])
def test_gfloat_blocks(name, rounding, record_property):
    """MX blocks; gfloat's MXINT8 has -128, ours, like microxcaling's, has not."""
    gfloat = pytest.importorskip("gfloat")
    block = pytest.importorskip("gfloat.block")
    info = getattr(pytest.importorskip("gfloat.formats"), f"format_info_{name}")
    mode = getattr(gfloat.RoundMode, ROUNDINGS[rounding])
    rng = np.random.default_rng(0)
    x = rng.standard_normal((60, 32)) * 2.0 ** rng.integers(-130, 120, (60, 1))
    ours = fl.encode(x, name, rounding=rounding)
    greatest = ours.format.element.max * np.ldexp(1.0, ours.scales.astype(int) - 127)
    for row, values, limit in zip(x, fl.decode(ours, dtype=float), greatest[:, 0], strict=True):
        theirs = block.quantize_block(info, row, block.compute_scale_amax, mode)
        assert_array_equal(values, np.maximum(theirs, -limit))
    record_property("inputs", x.size)


# --- torch ----------------------------------------------------------------------------------

# From 2.12 on, torch's cast to E4M3 saturates and the others do not.
TORCH = {
    "float8_e4m3fn": "saturate",
    "float8_e5m2": "nonsaturating",
    "float8_e4m3fnuz": "nonsaturating",
    "float8_e5m2fnuz": "nonsaturating",
    "bfloat16": "nonsaturating",
    "float16": "nonsaturating",
}


def torch_cast(x, name):
    """The codes that torch's cast gives."""
    torch = pytest.importorskip("torch", minversion="2.12")
    values = torch.from_numpy(x.view(f"i{x.itemsize}").copy()).view(getattr(torch, x.dtype.name))
    codes = values.to(getattr(torch, name)).view(getattr(torch, FORMATS[name].code_dtype.name))
    return codes.numpy()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
@pytest.mark.parametrize("name", TORCH)
def test_torch(target, name, dtype, record_property):
    x = edges(name, "float32") if dtype == "float32" else all_16_bit(dtype)
    fmt = FORMATS[name]
    ours = fl.encode(x, name, overflow=TORCH[name])
    assert_array_equal(one_nan(ours, fmt), one_nan(torch_cast(x, name), fmt))
    record_property("inputs", x.size)


@pytest.mark.parametrize("name", [*TORCH, "float8_e8m0fnu"])
def test_torch_decodes(target, name):
    torch = pytest.importorskip("torch")
    fmt = FORMATS[name]
    codes = np.arange(1 << fmt.bits).astype(fmt.code_dtype)
    theirs = torch.from_numpy(codes.copy()).view(getattr(torch, name)).to(torch.float32).numpy()
    assert_same_values(fl.decode(codes, name, dtype=np.float32), theirs)


# --- onnx -----------------------------------------------------------------------------------


def test_the_installed_onnx_generates_cases_of_the_same_names():
    """Their inputs and outputs, made anew by the installed package."""
    node = pytest.importorskip("onnx.backend.test.case.node")
    import onnx
    from onnx_nodes import TYPES, from_bits, run
    from test_onnx import BETWEEN_NUMPY_TYPES, CASES, NAN_WITHOUT_NAN, NEGATIVE_ZERO_LOST, check

    def tensor(x, info):
        array = onnx.numpy_helper.to_array(x) if hasattr(x, "HasField") else np.asarray(x)
        bits = np.ascontiguousarray(array).view(f"u{array.itemsize}").reshape(-1)
        return from_bits(TYPES[info.type.tensor_type.elem_type], bits, array.shape)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        cases = node.collect_testcases(None)  # of all operators: it makes any only once
    names = set(CASES) - BETWEEN_NUMPY_TYPES - NAN_WITHOUT_NAN - NEGATIVE_ZERO_LOST
    cases = [case for case in cases if case.name in names]
    assert {case.name for case in cases} == names
    for case in cases:
        attributes = {"op": case.model.graph.node[0].op_type}
        for attribute in case.model.graph.node[0].attribute:
            value = onnx.helper.get_attribute_value(attribute)
            attributes[attribute.name] = value.decode() if isinstance(value, bytes) else value
        inputs, outputs = case.data_sets[0]
        graph = case.model.graph
        found = run([tensor(*pair) for pair in zip(inputs, graph.input, strict=True)], attributes)
        for ours, *theirs in zip(found, outputs, graph.output, strict=True):
            check(ours, tensor(*theirs))
