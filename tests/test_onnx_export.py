"""Quantised weights in ONNX models, and ONNX's conversions, as onnxruntime computes them."""

import sys

import numpy as np
import onnx
import onnx.reference
import onnxruntime
import pytest
from cases import all_16_bit, edges
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper
from test_traps import float64_traps

import fmtlib as fl
from fmtlib.formats import IntegerFormat, get_format
from fmtlib.onnx_export import _TYPES, QuantizedWeight, replace_weights, to_tensor

INTEGERS = [name for name in _TYPES if "int" in name]
# Those of ONNX's ranges, which are full.
FULL = [name for name in INTEGERS if not get_format(name).symmetric]
FP8 = [name for name in _TYPES if name.startswith("float8")]
OPSET = 21
SOURCES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "float64": TensorProto.DOUBLE,
}


def model_of(nodes, tensors, x=None, y_ndim=1, opset=OPSET):
    inputs = []
    if x is not None:
        inputs = [helper.make_tensor_value_info("x", SOURCES[x.dtype.name], x.shape)]
    outputs = [helper.make_tensor_value_info("y", TensorProto.FLOAT, [None] * y_ndim)]
    graph = helper.make_graph(nodes, "test", inputs, outputs, tensors)
    opsets = [helper.make_opsetid("", opset)]
    ir_version = helper.find_min_ir_version_for(opsets)
    return helper.make_model(graph, opset_imports=opsets, ir_version=ir_version)


def opset_of(name):
    return max(OPSET, _TYPES[get_format(name).name][1])


def run(model, x=None, **settings):
    (y,) = run_all(model, x, **settings)
    return y


def run_all(model, x=None, level="ALL", accuracy=None):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    levels = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = getattr(levels, f"ORT_ENABLE_{level}")
    if accuracy is not None:
        options.add_session_config_entry("session.qdq_matmulnbits_accuracy_level", accuracy)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return session.run(None, {} if x is None else {"x": x})


def node(operator, *inputs, output="y", **attributes):
    return helper.make_node(operator, inputs, [output], **attributes)


def differing(found, expected):
    """Which float32 numbers differ in their bits; NaN is one number."""
    assert found.dtype == expected.dtype == np.float32
    same = found.view(np.uint32) == expected.view(np.uint32)
    return ~(same | (np.isnan(found) & np.isnan(expected)))


def every_code(fmt):
    if isinstance(fmt, IntegerFormat):
        return np.arange(fmt.min_integer, fmt.max_integer + 1).astype(fmt.code_dtype)
    return np.arange(2**fmt.bits).astype(fmt.code_dtype)


# --- weights ------------------------------------------------------------------------------------


def blocks_of(w, name):
    return QuantizedWeight.from_blocks(fl.encode(w, name))


def identity(weights, opset=OPSET):
    """A model whose output is its weight."""
    tensor = numpy_helper.from_array(weights, "w")
    return model_of([node("Identity", "w")], [tensor], y_ndim=weights.ndim, opset=opset)


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1, -1])
@pytest.mark.parametrize("name", [*INTEGERS, *FP8])
def test_every_code_of_a_weight(name, axis, zero):
    """onnxruntime's DequantizeLinear gives the bits of decode, for every code."""
    fmt = get_format(name)
    if zero and not isinstance(fmt, IntegerFormat):
        with pytest.raises(ValueError, match="zero_point is for integer formats"):
            QuantizedWeight(every_code(fmt), fmt, 1.0, 0)
        return
    codes = every_code(fmt)
    codes = np.stack([codes, codes[::-1], np.roll(codes, 7)])
    random = np.random.default_rng(0)
    shape = () if axis is None else (codes.shape[axis],)
    scale = np.exp2(random.uniform(-20, 5, shape)).astype(np.float32)
    zeros = None
    if zero:
        zeros = random.integers(fmt.min_integer, fmt.max_integer + 1, shape)
    weight = QuantizedWeight(codes, fmt, scale, zeros, axis)
    model = identity(np.zeros(codes.shape, np.float32), opset_of(name))
    changed = replace_weights(model, {"w": weight})
    assert [n.op_type for n in changed.graph.node] == ["DequantizeLinear", "Identity"]
    found = run(changed)
    assert not differing(found, weight.values).any()
    expected = fl.decode(codes, fmt, scale=scale, zero_point=zeros, axis=axis)
    assert not differing(found, expected).any()


@pytest.mark.parametrize("zero", [False, True])
@pytest.mark.parametrize(("axis", "size"), [(0, 2), (1, 32), (1, 7), (-1, 100), (2, 1)])
@pytest.mark.parametrize("name", [*FULL, *FP8])
def test_every_code_in_blocks(name, axis, size, zero):
    """Scales for blocks of codes, the last of which is short."""
    fmt, random = get_format(name), np.random.default_rng(0)
    if zero and name in FP8:
        return
    codes = np.resize(random.permutation(every_code(fmt)), (3, 50, 4))
    shape = list(codes.shape)
    shape[axis] = -(-shape[axis] // size)
    scale = np.exp2(random.uniform(-20, 5, shape)).astype(np.float32)
    zeros = random.integers(fmt.min_integer, fmt.max_integer + 1, shape) if zero else None
    weight = QuantizedWeight(codes, fmt, scale, zeros, axis, size)
    every_scale, every_zero = (
        given.repeat(size, axis).take(range(codes.shape[axis]), axis)
        for given in (scale, np.zeros(shape) if zeros is None else zeros)
    )
    exact = (fl.decode(codes, fmt, dtype=np.float64) - every_zero) * every_scale  # in float64
    assert not differing(weight.values, exact.astype(np.float32)).any()
    model = identity(np.zeros(codes.shape, np.float32), opset_of(name))
    changed = replace_weights(model, {"w": weight})
    assert not differing(run(changed), weight.values).any()


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize(
    ("name", "codes"),
    [("mxfp8_e4m3", "float8_e4m3fn"), ("mxfp8_e5m2", "float8_e5m2"), ("mxint8", "int8_full"),
     ("hbfp8", "int8_full"), ("hbfp12", "int16_full"), ("mxfp8_e4m3_g16", "float8_e4m3fn"),
     *((f"bfp_m{m}_e8_g16", f"int{4 if m < 4 else 8 if m < 8 else 16}_full")
       for m in (1, 2, 3, 4, 7, 8, 15))],
)  # fmt: skip
def test_block_formats(name, codes, axis):
    """A BlockArray in a model is what it decodes to; zeros of integers have no sign."""
    random = np.random.default_rng(0)
    x = random.standard_normal((40, 3, 50)).astype(np.float32)
    x *= np.exp2(random.integers(-130, 100, (40, 1, 50))).astype(np.float32)
    x[:, 1] = 0
    b = fl.encode(x, name, axis=axis)
    weight = QuantizedWeight.from_blocks(b)
    assert weight.format.name == codes
    assert_array_equal(weight.values, fl.decode(b))
    changed = replace_weights(identity(x), {"w": b})
    assert not differing(run(changed), weight.values).any()


def test_float4_in_blocks():
    """onnxruntime has no FLOAT4E2M1, but onnx's own evaluator."""
    x = np.random.default_rng(0).standard_normal((8, 64)).astype(np.float32)
    b = fl.encode(x, "mxfp4_e2m1", axis=1)
    changed = replace_weights(identity(x, opset=23), {"w": b})
    (found,) = onnx.reference.ReferenceEvaluator(changed).run(None, {})
    assert_array_equal(found, fl.decode(b))


@pytest.mark.parametrize("name", [*FP8, "float16", "bfloat16", "int8", "uint8", "int16"])
def test_cast_of_every_code(name):
    codes = every_code(get_format(name))
    weight = QuantizedWeight(codes, name)
    changed = replace_weights(identity(np.zeros(codes.shape, np.float32)), {"w": weight})
    assert [n.op_type for n in changed.graph.node] == ["Cast", "Identity"]
    assert not differing(run(changed), fl.decode(codes, name)).any()


@pytest.mark.parametrize("name", ["int8", "int4", "uint8", "e4m3", "e5m2"])
def test_a_network(name):
    """A network with codes computes what one with the decoded weights does."""
    random = np.random.default_rng(1)
    kernel = random.standard_normal((4, 3, 3, 3)).astype(np.float32)
    dense = random.standard_normal((4, 5)).astype(np.float32)
    x = random.standard_normal((2, 3, 8, 8)).astype(np.float32)
    nodes = [
        node("Conv", "x", "kernel", output="a"),
        node("Relu", "a", output="b"),
        node("GlobalAveragePool", "b", output="c"),
        node("Flatten", "c", output="d"),
        node("MatMul", "d", "dense"),
    ]
    tensors = [numpy_helper.from_array(kernel, "kernel"), numpy_helper.from_array(dense, "dense")]
    model = model_of(nodes, tensors, x, 2)
    before = model.SerializeToString()
    weights = {}
    for key, values, axis in (("kernel", kernel, 0), ("dense", dense, 1)):
        scale, zero_point = fl.calibrate(values, name, "max", axis=axis, affine=name == "uint8")
        codes = fl.encode(values, name, scale=scale, zero_point=zero_point, axis=axis)
        weights[key] = QuantizedWeight(codes, name, scale, zero_point, axis)
    changed = replace_weights(model, weights)
    assert model.SerializeToString() == before
    decoded = [numpy_helper.from_array(weights[t.name].values, t.name) for t in tensors]
    expected = run(model_of(nodes, decoded, x, 2), x, level="BASIC")
    assert not differing(run(changed, x, level="BASIC"), expected).any()
    stored = {t.name: len(t.raw_data) for t in changed.graph.initializer}
    assert stored["kernel_codes"] == kernel.size * get_format(name).bits // 8


@pytest.mark.parametrize("name", ["int8", "uint8", "int4", "e4m3"])
def test_onnxruntime_optimises_products_of_integer_weights(name):
    """It quantises the other operand, too, unless it is told otherwise."""
    random = np.random.default_rng(3)
    w = random.standard_normal((64, 8)).astype(np.float32)
    x = random.standard_normal((4, 64)).astype(np.float32)
    model = model_of([node("MatMul", "x", "w")], [numpy_helper.from_array(w, "w")], x, 2)
    scale, zero_point = fl.calibrate(w, name, "max", axis=1, affine=name == "uint8")
    codes = fl.encode(w, name, scale=scale, zero_point=zero_point, axis=1)
    weight = QuantizedWeight(codes, name, scale, zero_point, 1)
    changed = replace_weights(model, {"w": weight})
    exact = x.astype(np.float64) @ weight.values.astype(np.float64)

    def error(**settings):
        return np.abs(run(changed, x, **settings) - exact).max()

    assert error(level="BASIC") < 1e-4
    assert error(accuracy="1") < 1e-4
    assert (error() > 1e-2) == (name != "e4m3")


@pytest.mark.parametrize("name", _TYPES)
def test_tensors_are_read_by_onnx(name):
    """onnx's own reader, which knows ml_dtypes, gives the values."""
    fmt = get_format(name)
    codes = every_code(fmt)[: -1 if fmt.bits == 4 else None]  # also an odd number of 4-bit ones
    tensor = to_tensor("w", codes, name)
    onnx.checker.check_tensor(tensor)
    theirs = numpy_helper.to_array(tensor)
    ours = fl.decode(codes, name)
    with np.errstate(invalid="ignore"):
        assert not differing(theirs.astype(np.float32), ours.astype(np.float32)).any()


def test_scalars_and_empty_weights():
    for codes in (np.uint8(56), np.zeros((0, 3), np.uint8)):
        weight = QuantizedWeight(codes, "e4m3", 0.5)
        changed = replace_weights(identity(np.zeros(np.shape(codes), np.float32)), {"w": weight})
        assert_array_equal(run(changed), weight.values)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda w: QuantizedWeight(w, fl.bfp(4)), ValueError, "no type for codes of bfp_m4"),
        (lambda w: QuantizedWeight(w, "e8m0"), ValueError, "no type for codes of float8_e8m0fnu"),
        (lambda w: QuantizedWeight(w, "int8"), TypeError, "codes of int8 are int8, got uint8"),
        (lambda w: QuantizedWeight(w + 16, "e2m1"), ValueError, "codes"),
        (lambda w: QuantizedWeight(w, "e4m3", 0.1), ValueError, r"float32 numbers.* got .*0\.1"),
        (lambda w: QuantizedWeight(w, "e4m3", -1), ValueError, "positive"),
        (lambda w: QuantizedWeight(w, "e4m3", axis=0), ValueError, "need scale"),
        (lambda w: QuantizedWeight(w, "e4m3", [1, 2, 3], axis=0), ValueError, r"shape \(2,\)"),
        (lambda w: QuantizedWeight(w.astype("u2"), "bf16", 1.0), ValueError, "no bfloat16"),
        (lambda w: QuantizedWeight(w, "e4m3", block_size=2), ValueError, "need scale"),
        (
            lambda w: QuantizedWeight(w, "e4m3", [1.0, 2.0], axis=1, block_size=2),
            ValueError,
            r"scale must have shape \(2, 1\), one for each block of 2 along axis 1 of \(2, 2\)",
        ),
        (lambda w: QuantizedWeight(w, "e4m3", [[1.0], [0.0]], None, 1, 2), ValueError, "positive"),
        (lambda w: QuantizedWeight(w, "e4m3", [[1.0], [0.1]], None, 1, 2), ValueError, "float32"),
        (lambda w: blocks_of(w, "nvfp4"), ValueError, "nvfp4.* has .* a scale of the tensor"),
        (lambda w: blocks_of(w, "smx6"), ValueError, "smx6.* micro-exponents"),
        (lambda w: blocks_of(w, "hbfp8_g16x16"), ValueError, "has tiles"),
        (lambda w: blocks_of(w, "mxfp6_e3m2"), ValueError, "no type for codes of float6_e3m2"),
        (lambda w: blocks_of(w, "bfp_m16_e8_g16"), ValueError, "bits, those of bfp_m16.* 17"),
        (lambda w: blocks_of(w * np.nan, "mxfp8_e4m3"), ValueError, "positive and finite, got nan"),
        (
            lambda w: replace_weights(
                identity(np.zeros((2, 2), np.float32), opset=20),
                {"w": fl.encode(w, "mxfp8_e4m3")},
            ),
            ValueError,
            "blocks of float8_e4m3fn needs operator set 21, the model has 20",
        ),
        (
            lambda w: replace_weights(
                identity(np.zeros((2, 2), np.float32)), {"v": QuantizedWeight(w, "e4m3")}
            ),
            ValueError,
            "no float32 initializer 'v'",
        ),
        (
            lambda w: replace_weights(
                identity(np.zeros((2, 2), np.float64)), {"w": QuantizedWeight(w, "e4m3")}
            ),
            ValueError,
            "no float32 initializer 'w'",
        ),
        (
            lambda w: replace_weights(
                identity(np.zeros((4,), np.float32)), {"w": QuantizedWeight(w, "e4m3")}
            ),
            ValueError,
            r"'w' has shape \(4,\), got \(2, 2\)",
        ),
        (
            lambda w: replace_weights(
                model_of(
                    [node("Identity", "w")],
                    [numpy_helper.from_array(np.zeros((2, 2), np.float32), "w")],
                    opset=20,
                ),
                {"w": QuantizedWeight(w.astype(np.int8), "int4", 1.0)},
            ),
            ValueError,
            "operator set 21, the model has 20",
        ),
        (
            lambda w: replace_weights(
                model_of(
                    [node("Add", "w", "w_codes")],
                    [numpy_helper.from_array(np.zeros((2, 2), np.float32), n)
                     for n in ("w", "w_codes")],
                ),
                {"w": QuantizedWeight(w, "e4m3")},
            ),
            ValueError,
            "a tensor 'w_codes' already",
        ),
    ],
)  # fmt: skip
def test_errors(make, error, message):
    with pytest.raises(error, match=message):
        make(np.uint8([[1, 2], [3, 4]]))


def test_without_onnx(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[onnx\]"'):
        to_tensor("w", np.uint8([1]), "e4m3")
    assert QuantizedWeight(np.uint8([56]), "e4m3", 2.0).values.tolist() == [2.0]


# --- QuantizeLinear and Cast --------------------------------------------------------------------


def quantize_linear(x, name, scale, zero_point=None, axis=None, **attributes):
    """Codes of onnxruntime's QuantizeLinear, as float32 numbers."""
    fmt = get_format(name)
    scale = np.float32(scale)
    zeros = np.zeros(scale.shape) if zero_point is None else np.asarray(zero_point)
    tensors = [
        numpy_helper.from_array(scale, "scale"),
        to_tensor("zero", zeros.astype(fmt.code_dtype), fmt),
    ]
    along = {} if axis is None else {"axis": axis}
    nodes = [
        node("QuantizeLinear", "x", "scale", "zero", output="q", **along, **attributes),
        node("Cast", "q", to=TensorProto.FLOAT),
    ]
    return run(model_of(nodes, tensors, x, x.ndim, opset_of(name)), x)


@pytest.mark.parametrize("name", [*FULL, *FP8])
def test_quantize_linear_of_edges(name):
    """With a scale of one it is encode: every value, midpoint and number beside them."""
    fmt, x = get_format(name), edges(name, "float32")
    if isinstance(fmt, IntegerFormat):
        x = x[~np.isnan(x)]  # no text says what NaN becomes
    expected = fl.decode(fl.encode(x, name), name)
    assert not differing(quantize_linear(x, name, 1.0), expected).any()


@pytest.mark.parametrize("axis", [None, 0])
@pytest.mark.parametrize("name", ["int8_full", "uint8", "int4_full", "uint4", "int16_full", *FP8])
def test_quantize_linear_rounds_the_quotient_first(name, axis, record_property):
    """It is encode of the float32 quotient, with a scale of one."""
    fmt = get_format(name)
    random = np.random.default_rng(2)
    scale = np.exp2(random.uniform(-6, 2, () if axis is None else (32,))).astype(np.float32)
    x = random.standard_normal((32, 4096)).astype(np.float32) * np.float32(fmt.max / 3)
    along = scale if axis is None else scale[:, None]
    x[:, :2048] = (np.rint(x[:, :2048]) + np.float32(0.5)) * along  # near ties
    zeros = None
    if isinstance(fmt, IntegerFormat):
        zeros = random.integers(fmt.min_integer, fmt.max_integer + 1, scale.shape)
    ones = np.ones_like(scale)
    codes = fl.encode(x / along, fmt, scale=ones, zero_point=zeros, axis=axis)
    found = quantize_linear(x, name, scale, zeros, axis)
    assert not differing(found, fl.decode(codes, fmt)).any()
    exact = fl.encode(x, fmt, scale=scale, zero_point=zeros, axis=axis)
    differ = differing(found, fl.decode(exact, fmt))
    record_property("differ", int(differ.sum()))
    record_property("of", differ.size)
    if isinstance(fmt, IntegerFormat) and fmt.bits > 4:
        assert differ.any()


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("name", [*FULL, *FP8])
def test_quantize_linear_of_blocks(name, axis):
    """The same for each block; the last one is short."""
    fmt, random = get_format(name), np.random.default_rng(2)
    x = random.standard_normal((40, 70)).astype(np.float32) * np.float32(fmt.max / 3)
    shape = [40, 70]
    shape[axis] = -(-shape[axis] // 16)
    scale = np.exp2(random.uniform(-6, 2, shape)).astype(np.float32)
    every = scale.repeat(16, axis).take(range(x.shape[axis]), axis)
    found = quantize_linear(x, name, scale, axis=axis, block_size=16)
    assert not differing(found, fl.quantize(x / every, fmt)).any()


def test_powers_of_two_as_scales_leave_no_difference():
    x = edges("float8_e4m3fn", "float32") * np.float32(2**-5)
    codes = fl.encode(x, "e4m3", scale=2.0**-5)
    assert not differing(quantize_linear(x, "e4m3", 2.0**-5), fl.decode(codes, "e4m3")).any()


def cast(x, name, **attributes):
    """onnxruntime's Cast, as float32 numbers."""
    to = getattr(TensorProto, _TYPES[get_format(name).name][0])
    nodes = [
        node("Cast", "x", output="q", to=to, **attributes),
        node("Cast", "q", to=TensorProto.FLOAT),
    ]
    return run(model_of(nodes, [], x), x)


def expected_cast(x, name, overflow):
    return fl.decode(fl.encode(x, name, overflow=overflow), name)


@pytest.mark.parametrize("name", FP8)
def test_cast_is_encode(name):
    for x in (edges(name, "float32"), all_16_bit("float16")):
        assert not differing(cast(x, name), expected_cast(x, name, "saturate")).any()


# Magnitudes that onnxruntime's non-saturating conversions get wrong, up to and without the end.
WRONG = {"float8_e4m3fn": (480.0, 496.0), "float8_e5m2": (61440.0, 65536.0)}


@pytest.mark.parametrize("convert", [cast, lambda x, name, **k: quantize_linear(x, name, 1.0, **k)])
@pytest.mark.parametrize("name", FP8)
def test_nonsaturating(name, convert):
    """E4M3: the greatest value instead of NaN; E5M2: NaN instead of infinity; in one interval."""
    x = np.concatenate([edges(name, "float32"), all_16_bit("float16").astype(np.float32)])
    differ = differing(convert(x, name, saturate=0), expected_cast(x, name, "nonsaturating"))
    low, high = WRONG.get(name, (np.inf, np.inf))
    with np.errstate(invalid="ignore"):
        wrong = (np.abs(x) >= low) & (np.abs(x) < high)
    assert_array_equal(differ, wrong)
    if name in WRONG:
        found = convert(np.float32([low, -low]), name, saturate=0)
        if name == "float8_e4m3fn":
            assert found.tolist() == [448.0, -448.0]
        else:
            assert np.isnan(found).all()


@pytest.mark.parametrize("name", [*FP8, "bfloat16", "float16"])
def test_cast_rounds_float64_twice(name, record_property):
    x = float64_traps(name)
    overflow = "saturate" if name in FP8 else "nonsaturating"
    found = cast(x, name)
    differ = differing(found, expected_cast(x, name, overflow))
    record_property("differ", int(differ.sum()))
    record_property("of", differ.size)
    assert differ.any()
    with np.errstate(over="ignore"):
        twice = expected_cast(x.astype(np.float32), name, overflow)
    assert not differing(found, twice).any()


def test_float4_is_not_implemented():
    """When this fails, onnxruntime has learnt it, and it can be compared."""
    weight = QuantizedWeight(np.arange(16, dtype=np.uint8), "e2m1", 0.5)
    model = model_of(
        [node("Identity", "w")], [numpy_helper.from_array(np.zeros(16, np.float32), "w")], opset=23
    )
    changed = replace_weights(model, {"w": weight})
    with pytest.raises(Exception, match="NOT_IMPLEMENTED"):
        run(changed)
