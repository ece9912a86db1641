"""Layers traced from ONNX models and from the trainer's networks hold what the networks compute."""

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

import fmtlib as fl
from fmtlib import hardware, training
from fmtlib.hardware.tensors import MAX_MAGNITUDE


def model_of(nodes, constants, x, outputs=("y",), **how):
    """A model for inputs like `x`, an array or several by name, of any size."""
    inputs = x if isinstance(x, dict) else {"x": x}
    values = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), [None] * array.ndim
        )
        for name, array in inputs.items()
    ]
    ends = [
        helper.make_tensor_value_info(y, values[0].type.tensor_type.elem_type, None)
        for y in outputs
    ]
    tensors = [numpy_helper.from_array(np.array(v, order="C"), k) for k, v in constants.items()]
    graph = helper.make_graph(nodes, "graph", values, ends, tensors)
    opset = [helper.make_opsetid("", 20), *how.pop("opset", [])]
    model = helper.make_model(graph, opset_imports=opset, ir_version=10, **how)
    model = onnx.shape_inference.infer_shapes(model)
    for value in model.graph.output:
        value.type.tensor_type.shape.SetInParent()
    return model


def node(operator, inputs, output, **attributes):
    return helper.make_node(operator, inputs.split(), [output], **attributes)


def run(model, **inputs):
    session = onnxruntime.InferenceSession(model.SerializeToString())
    return session.run(None, inputs)[0]


def small(shape, seed=0, low=-8):
    """Whole numbers whose products float32 adds up exactly."""
    return np.random.default_rng(seed).integers(low, 9, shape).astype(np.float32)


def output_of(layer):
    """What a layer's integers give, by the definition: loops over windows."""
    x, w = layer.padded_activations.astype(np.int64), layer.weights.astype(np.int64)
    if layer.kind == "linear":
        return x @ w.T
    (kh, kw), (oh, ow), (sh, sw), (dh, dw) = (
        layer.kernel, layer.outputs, layer.stride, layer.dilation,
    )  # fmt: skip
    c, k = layer.channels // layer.groups, layer.filters // layer.groups
    y = np.zeros((layer.batch, layer.filters, oh, ow), np.int64)
    for g in range(layer.groups):
        for i in range(oh):
            for j in range(ow):
                rows, columns = i * sh + dh * np.arange(kh), j * sw + dw * np.arange(kw)
                window = x[:, g * c : (g + 1) * c, rows[:, None], columns]
                y[:, g * k : (g + 1) * k, i, j] = np.einsum(
                    "nchw,kchw->nk", window, w[g * k : (g + 1) * k]
                )
    return y


def real_output(traced):
    return output_of(traced.layer) * traced.activation_scale * traced.weight_scale


# --- convolutions ---------------------------------------------------------------------------------


@st.composite
def convolutions(draw):
    """An input, weights and attributes that ONNX takes and a layer can hold."""
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    depthwise = draw(st.booleans())
    channels = groups * (1 if depthwise else draw(st.integers(1, 3)))
    filters = groups * draw(st.integers(1, 2))
    images = draw(st.tuples(st.integers(3, 9), st.integers(3, 9)))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pairs = st.tuples(st.integers(1, 3), st.integers(1, 3))
    attributes = {"strides": draw(pairs), "group": groups}
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    auto_pad = draw(st.sampled_from(["NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    attributes["auto_pad"] = auto_pad
    # onnxruntime has no dilation under SAME.
    if auto_pad in ("NOTSET", "VALID") and all(
        n > d * (k - 1) for n, d, k in zip(images, dilations, kernel, strict=True)
    ):
        attributes["dilations"] = dilations
    if auto_pad == "NOTSET":
        attributes["pads"] = draw(st.lists(st.integers(0, 2), min_size=4, max_size=4))
    seed = draw(st.integers(0, 99))
    x = small(
        (draw(st.integers(1, 3)), channels, *images), seed, low=draw(st.sampled_from([-8, 0]))
    )
    return x, small((filters, channels // groups, *kernel), seed + 1), attributes


@settings(max_examples=150, deadline=None)
@given(convolutions())
def test_integers_of_a_convolution_give_its_output(case):
    x, w, attributes = case
    model = model_of([node("Conv", "x w", "y", **attributes)], {"w": w}, x)
    trace = hardware.trace(model, x)
    (traced,) = trace.traced
    layer = traced.layer
    assert layer.groups == attributes["group"]
    assert layer.stride == attributes["strides"]
    np.testing.assert_array_equal(layer.activations * traced.activation_scale, x)
    np.testing.assert_array_equal(layer.weights * traced.weight_scale, w)
    np.testing.assert_array_equal(real_output(traced), run(model, x=x))
    if x.any():
        assert (MAX_MAGNITUDE + 1) // 2 <= abs(layer.activations).max() <= MAX_MAGNITUDE


def test_a_convolution_over_one_axis():
    x, w = small((2, 4, 10)), small((6, 2, 3), 1)
    model = model_of([node("Conv", "x w", "y", strides=[2], pads=[1, 2], group=2)], {"w": w}, x)
    (traced,) = hardware.trace(model, x).traced
    assert traced.layer.outputs == (6, 1)
    np.testing.assert_array_equal(real_output(traced)[..., 0], run(model, x=x))
    np.testing.assert_array_equal(traced.layer.activations[..., 0] * traced.activation_scale, x)


def test_what_a_layer_cannot_hold():
    """It is no silent gap: an error, unless other layers are asked for."""
    x = small((1, 1, 4, 4, 4))
    nodes = [
        node("Conv", "x w", "y"),
        node("Flatten", "x", "f"),
        helper.make_node("MatMul", ["f", "v"], ["z"], "fc"),
    ]
    constants = {"w": small((1, 1, 2, 2, 2)), "v": small((64, 2))}
    model = model_of(nodes, constants, x, outputs=("y", "z"))
    with pytest.raises(ValueError, match="'y' is a convolution over 3 axes"):
        hardware.trace(model, x)
    assert [layer.name for layer in hardware.trace(model, x, layers=["fc"])] == ["fc"]


# --- matrix products ------------------------------------------------------------------------------


@pytest.mark.parametrize("swapped", [False, True])
@pytest.mark.parametrize("transpose_a", [0, 1])
@pytest.mark.parametrize("transpose_b", [0, 1])
def test_gemm(swapped, transpose_a, transpose_b):
    a = small((5, 3) if transpose_a else (3, 5))
    b = small((4, 5) if transpose_b else (5, 4), 1)
    how = {"transA": transpose_a, "transB": transpose_b, "alpha": 2.0}
    constants = {"a": a} if swapped else {"b": b}
    gemm = node("Gemm", "a b", "y", **how)
    x = {"b": b} if swapped else {"a": a}
    model = model_of([gemm], constants, x)
    (traced,) = hardware.trace(model, x).traced
    expected = run(model, **x) / 2
    np.testing.assert_array_equal(real_output(traced), expected.T if swapped else expected)


@pytest.mark.parametrize("x_shape", [(5,), (3, 5), (2, 3, 5), (2, 1, 3, 5)])
@pytest.mark.parametrize("w_shape", [(5,), (5, 4)])
def test_matmul(x_shape, w_shape):
    x, w = small(x_shape), small(w_shape, 1)
    model = model_of([node("MatMul", "x w", "y")], {"w": w}, x)
    (traced,) = hardware.trace(model, x).traced
    assert traced.layer.kind == "linear"
    np.testing.assert_array_equal(real_output(traced).reshape(-1), run(model, x=x).reshape(-1))


@pytest.mark.parametrize("x_shape", [(5,), (5, 3), (2, 5, 3)])
@pytest.mark.parametrize("w_shape", [(5,), (4, 5)])
def test_matmul_with_its_constant_on_the_left(x_shape, w_shape):
    x, w = small(x_shape), small(w_shape, 1)
    model = model_of([node("MatMul", "w x", "y")], {"w": w}, x)
    (traced,) = hardware.trace(model, x).traced
    expected = np.matmul(w, x)
    if len(w_shape) == 2 and len(x_shape) > 1:  # a row of the layer is a column of the operator
        expected = np.swapaxes(expected, -1, -2)
    np.testing.assert_array_equal(real_output(traced).reshape(-1), expected.reshape(-1))


@pytest.mark.parametrize(
    ("a_shape", "b_shape"),
    [
        ((3, 5), (5, 4)),
        ((2, 2, 3, 5), (2, 1, 5, 4)),
        ((2, 3, 5), (5, 4)),
        ((5,), (5, 4)),
        ((3, 5), (5,)),
    ],
)
def test_products_of_activations(a_shape, b_shape):
    a, b = small(a_shape), abs(small(b_shape, 1))
    model = model_of([node("MatMul", "a b", "y")], {}, {"a": a, "b": b})
    (traced,) = hardware.trace(model, {"a": a, "b": b}, weight_bits=8).traced
    layer = traced.layer
    assert (layer.kind, layer.activation_bits, layer.weight_bits) == ("matmul", 16, 8)
    found = real_output(traced)[..., 0]  # N, products x K, M
    images = found.reshape(layer.batch, layer.groups, -1, found.shape[-1]).swapaxes(-1, -2)
    np.testing.assert_array_equal(images.reshape(-1), np.matmul(a, b).reshape(-1))


def test_gemm_of_activations():
    a, b = small((5, 3)), small((4, 5), 1)
    model = model_of([node("Gemm", "a b", "y", transA=1, transB=1)], {}, {"a": a, "b": b})
    (traced,) = hardware.trace(model, {"a": a, "b": b}).traced
    np.testing.assert_array_equal(real_output(traced)[0, ..., 0].T, a.T @ b.T)


def test_weights_of_three_axes():
    model = model_of([node("MatMul", "x w", "y")], {"w": small((2, 5, 4))}, small((2, 3, 5)))
    with pytest.raises(ValueError, match="weights of 'y' have 3 axes"):
        hardware.trace(model, small((2, 3, 5)))


# --- whole graphs ---------------------------------------------------------------------------------


def deep():
    """Convolutions that ReLU, a clip, normalisation, pooling and a sum lead to."""
    constants = {
        "w1": small((4, 3, 3, 3)), "w2": small((4, 1, 3, 3), 1), "w3": small((4, 4, 1, 1), 2),
        "w4": small((4, 4, 1, 1), 3), "w5": small((6, 4), 4),
        "gain": np.float32([1, 2, 1, 4]), "shift": np.float32([0, -3, 5, 1]),
        "mean": np.float32([2, 0, -6, 1]), "variance": np.ones(4, np.float32),
        "low": np.array(0, np.float32), "high": np.array(6, np.float32),
    }  # fmt: skip
    nodes = [
        node("Conv", "x w1", "a", auto_pad="SAME_UPPER", strides=[2, 2]),
        node("BatchNormalization", "a gain shift mean variance", "b", epsilon=0.0),
        node("Relu", "b", "c"),
        node("Conv", "c w2", "d", group=4, pads=[1, 1, 1, 1]),
        node("Clip", "d low high", "e"),
        node("Conv", "e w3", "f"),
        node("Add", "f c", "g"),
        node("Conv", "g w4", "h"),
        node("GlobalAveragePool", "h", "i"),
        node("Flatten", "i", "j"),
        node("Gemm", "j w5", "y", transB=1),
    ]
    return model_of(nodes, constants, small((1, 3, 8, 8))), constants


def test_layers_have_the_tensors_that_enter_them():
    model, constants = deep()
    x = small((2, 3, 8, 8), 9)
    trace = hardware.trace(model, x)
    assert [layer.name for layer in trace] == ["a", "d", "f", "h", "y"]
    assert trace.skipped == ()
    t = {item.layer.name: item for item in trace.traced}
    assert t["d"].layer.is_depthwise
    a = real_output(t["a"])
    c = np.maximum((a - constants["mean"][:, None, None]) * constants["gain"][:, None, None]
                   + constants["shift"][:, None, None], 0)  # fmt: skip
    # 16-bit integers in steps of a power of two hold these whole numbers exactly.
    np.testing.assert_array_equal(t["d"].layer.activations * t["d"].activation_scale, c)
    e = np.clip(real_output(t["d"]), 0, 6)
    np.testing.assert_array_equal(t["f"].layer.activations * t["f"].activation_scale, e)
    g = real_output(t["f"]) + c
    np.testing.assert_array_equal(t["h"].layer.activations * t["h"].activation_scale, g)
    j = real_output(t["h"]).mean((2, 3), keepdims=True)[..., 0, 0]
    step = t["y"].activation_scale
    np.testing.assert_array_equal(t["y"].layer.activations, np.rint(j / step))
    assert trace[0].padding == (0, 0, 1, 1)
    # Without negatives there is no sign bit.
    widths = {layer.name: layer.activation_bits for layer in trace}
    assert widths == {"a": 16, "d": 15, "f": 15, "h": 16, "y": 16}


def test_traced_layers_are_counted():
    model, _ = deep()
    trace = hardware.trace(model, small((1, 3, 8, 8)))
    records = hardware.count(trace, ["stripes"]).to_records()
    assert [r["layer"] for r in records if r["row"] == "layer"] == [x.name for x in trace]


def test_trace_is_a_sequence_with_records():
    model, _ = deep()
    trace = hardware.trace(model, small((1, 3, 8, 8)))
    assert len(trace) == 5
    assert trace[1:3] == trace.layers[1:3]
    assert trace[-1] is trace.layers[-1]
    records = trace.to_records()
    assert [r["operator"] for r in records] == ["Conv"] * 4 + ["Gemm"]
    assert records[0]["padding"] == (0, 0, 1, 1)
    assert records[1]["weight_scale"] == trace.traced[1].weight_scale
    assert records[1]["groups"] == 4


def test_results_repeat_and_do_not_depend_on_strides():
    model, _ = deep()
    x = np.random.default_rng(0).normal(size=(2, 3, 8, 8)).astype(np.float32)
    first = hardware.trace(model, x)
    for y in (x, np.asfortranarray(x), np.repeat(x, 2, axis=3)[..., ::2]):
        for a, b in zip(first, hardware.trace(model, y), strict=True):
            np.testing.assert_array_equal(a.activations, b.activations)


def test_ways_to_give_a_model(tmp_path):
    model, _ = deep()
    before = model.SerializeToString(deterministic=True)
    x = small((1, 3, 8, 8))
    onnx.save(model, tmp_path / "model.onnx")
    apart = tmp_path / "apart.onnx"
    onnx.save(model, apart, save_as_external_data=True, location="weights", size_threshold=0)
    model, _ = deep()
    path = tmp_path / "model.onnx"
    traces = [hardware.trace(m, x) for m in (model, path, str(path), path.read_bytes(), apart)]
    for trace in traces[1:]:
        assert trace.to_records() == traces[0].to_records()
    assert model.SerializeToString(deterministic=True) == before


def test_several_inputs_and_names():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["p"]),
        helper.make_node("MatMul", ["z", "w"], ["q"]),
        helper.make_node("MatMul", ["p", "v"], ["r"], "own"),
        helper.make_node("Add", ["r", "q"], ["y"], "sum"),
    ]
    constants = {"w": small((3, 3)), "v": small((3, 3), 1)}
    inputs = {"x": small((2, 3), 2), "z": small((2, 3), 3)}
    model = model_of(nodes, constants, inputs)
    trace = hardware.trace(model, inputs)
    assert [layer.name for layer in trace] == ["p", "q", "own"]
    np.testing.assert_array_equal(
        trace.traced[1].layer.activations * trace.traced[1].activation_scale, inputs["z"]
    )
    assert [x.name for x in hardware.trace(model, inputs, layers=["own", "p"])] == ["p", "own"]


def test_an_initializer_that_is_an_input_may_be_given():
    w = small((3, 2))
    model = model_of([node("MatMul", "x w", "y")], {"w": w}, {"x": small((1, 3)), "w": w})
    assert len(hardware.trace(model, {"x": small((1, 3))})) == 1
    assert hardware.trace(model, {"x": small((1, 3))})[0].kind == "linear"
    assert hardware.trace(model, {"x": small((1, 3)), "w": w})[0].kind == "matmul"


def test_weights_that_nodes_compute_from_constants():
    w = small((4, 3))
    nodes = [
        node("Transpose", "w", "turned"),
        node("MatMul", "x turned", "p"),
        helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(w)),
        node("MatMul", "p c", "q"),
        node("DequantizeLinear", "codes scale", "d"),
        node("MatMul", "q d", "y"),
    ]
    codes = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    constants = {"w": w, "codes": codes, "scale": np.array(0.5, np.float32)}
    trace = hardware.trace(model_of(nodes, constants, small((2, 3))), small((2, 3)))
    found = [item.layer.weights * item.weight_scale for item in trace.traced]
    for a, b in zip(found, (w, w.T, codes.T / 2), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_branch_of_a_constant_condition_is_no_constant():
    """What its inner nodes take from outside is not among its inputs."""
    end = [helper.make_tensor_value_info("t", TensorProto.FLOAT, None)]
    branch = helper.make_graph([node("Identity", "x", "t")], "branch", [], end)
    nodes = [
        helper.make_node("If", ["yes"], ["same"], "if", then_branch=branch, else_branch=branch),
        helper.make_node("MatMul", ["x", "same"], ["p"], "product"),
        node("MatMul", "p w", "y"),
    ]
    constants = {"yes": np.array(True), "w": small((3, 2))}
    trace = hardware.trace(model_of(nodes, constants, small((3, 3))), small((3, 3)))
    assert [(layer.name, layer.kind) for layer in trace] == [("product", "matmul"), ("y", "linear")]
    assert [(s.name, s.reason) for s in trace.skipped] == [("if", "nodes within a node")]


def test_functions_of_the_model_are_looked_into():
    function = helper.make_function(
        "mine", "block", ["a", "b"], ["c"], [node("MatMul", "a b", "c")],
        [helper.make_opsetid("", 20)],
    )  # fmt: skip
    model = model_of(
        [helper.make_node("block", ["x", "w"], ["y"], domain="mine")],
        {"w": small((3, 2))}, small((1, 3)),
        functions=[function], opset=[helper.make_opsetid("mine", 1)],
    )  # fmt: skip
    assert [layer.kind for layer in hardware.trace(model, small((1, 3)))] == ["linear"]


@pytest.mark.parametrize("dtype", [np.float16, np.float64])
def test_other_floats(dtype):
    x, w = small((2, 3)).astype(dtype), small((3, 2), 1).astype(dtype)
    model = model_of([node("MatMul", "x w", "y")], {"w": w}, x)
    (traced,) = hardware.trace(model, x).traced
    np.testing.assert_array_equal(traced.layer.activations * traced.activation_scale, x)


def test_products_that_are_left_out_are_recorded():
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["a"], "kept"),
        helper.make_node("Reshape", ["a", "shape"], ["c"]),
        helper.make_node("Conv", ["c", "c"], ["g"], "correlation"),
        helper.make_node("ConvTranspose", ["c", "t"], ["d"], "up"),
        helper.make_node("FusedMatMul", ["x", "w"], ["e"], domain="com.microsoft"),
        helper.make_node("Einsum", ["x", "w"], ["f"], equation="ij,jk->ik"),
        helper.make_node("ReduceMax", ["x"], ["top"], keepdims=0),
        helper.make_node("Cast", ["top"], ["yes"], to=TensorProto.BOOL),
        helper.make_node(
            "If", ["yes"], ["y"], "choice",
            then_branch=helper.make_graph(
                [node("MatMul", "x w", "t1")], "then", [],
                [helper.make_tensor_value_info("t1", TensorProto.FLOAT, None)],
            ),
            else_branch=helper.make_graph(
                [node("Identity", "x", "t2")], "else", [],
                [helper.make_tensor_value_info("t2", TensorProto.FLOAT, None)],
            ),
        ),
    ]  # fmt: skip
    constants = {
        "w": small((3, 3)), "t": small((1, 1, 2, 2)), "shape": np.array([1, 1, 3, 3], np.int64),
    }  # fmt: skip
    opset = [helper.make_opsetid("com.microsoft", 1)]
    x = small((3, 3), 1)
    trace = hardware.trace(model_of(nodes, constants, x, opset=opset), x)
    assert [layer.name for layer in trace] == ["kept"]
    assert [(s.name, s.operator, s.reason) for s in trace.skipped] == [
        ("correlation", "Conv", "its weights are not constant"),
        ("up", "ConvTranspose", "no layer stands for this operator"),
        ("e", "FusedMatMul", "an operator of com.microsoft"),
        ("f", "Einsum", "no layer stands for this operator"),
        ("choice", "If", "nodes within a node"),
    ]


# --- integers -------------------------------------------------------------------------------------


X = small((2, 4))


def linear(w=None):
    return model_of([node("MatMul", "x w", "y")], {"w": small((4, 2)) if w is None else w}, X)


def test_widths_that_are_asked_for():
    x = np.float32([[0, 1.5, -2, 3.9]])
    for bits in (4, {"y": 4}):
        (traced,) = hardware.trace(linear(), x, activation_bits=bits, weight_bits=bits).traced
        assert (traced.layer.activation_bits, traced.layer.weight_bits) == (4, 4)
        assert traced.activation_scale == 1  # 3.9 within 7 steps of a power of two
        np.testing.assert_array_equal(traced.layer.activations, [[0, 2, -2, 4]])
        assert traced.weight_scale == 2
    (traced,) = hardware.trace(linear(), abs(x), activation_bits=4).traced
    assert traced.activation_scale == 0.5  # 15 steps: there is no sign
    (traced,) = hardware.trace(linear(), abs(x), activation_bits=16).traced
    assert (traced.layer.activation_bits, traced.layer.activations.max()) == (
        16,
        3.9 * 2**13 // 1 + 1,
    )


def test_scales_that_are_not_powers_of_two():
    x = np.float32([[0.1, 0.7, -0.3, 0.2]])
    (traced,) = hardware.trace(linear(), x, power_of_two=False).traced
    scale = np.float32(np.float32(0.7).item() / 32767)
    assert traced.activation_scale == scale
    np.testing.assert_array_equal(traced.layer.activations, fl.encode(x, "int16", scale=scale))
    assert traced.layer.activations.max() == MAX_MAGNITUDE


def test_calibrated_activations_saturate():
    x = np.float32(np.arange(1, 401).reshape(100, 4))
    x[-1, -1] = 1e6
    w = np.append(np.ones(399, np.float32), np.float32(1e6)).reshape(4, 100)
    (traced,) = hardware.trace(linear(w), x, method="percentile", percentile=99).traced
    scale = fl.calibrate(
        x, fl.IntegerFormat(15, signed=False), "percentile", percentile=99, power_of_two=True
    ).scale
    assert traced.activation_scale == scale
    assert traced.layer.activations[-1, -1] == MAX_MAGNITUDE
    np.testing.assert_array_equal(traced.layer.activations[:-1] * scale, x[:-1])
    exact = hardware.trace(linear(w), x).traced[0]
    assert exact.activation_scale > scale
    assert exact.weight_scale == traced.weight_scale


def test_zeros_have_a_width_of_one():
    (layer,) = hardware.trace(linear(np.zeros((4, 2), np.float32)), np.zeros((1, 4), np.float32))
    assert (layer.activation_bits, layer.weight_bits) == (1, 1)


# --- errors ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (X.astype(np.float64), TypeError, "'x' must be an array of float32, not of float64"),
        (X[0], ValueError, r"must have shape \(batch, 4\), not \(4,\)"),
        (X[:, :3], ValueError, r"must have shape \(batch, 4\), not \(2, 3\)"),
        (X[:0], ValueError, "must not be empty"),
        ({"y": X}, ValueError, r"arrays for \['x'\], got \['y'\]: \['x'\] are missing"),
        ({"x": X, "z": X}, ValueError, r"inputs are \['x'\]; it has no \['z'\]"),
        (np.ma.masked_array(X), TypeError, "masked"),
        (X * np.float32(np.nan), ValueError, "activations of 'y'"),
    ],
)
def test_inputs(inputs, error, says):
    nodes = [node("MatMul", "x w", "y")]
    model = model_of(nodes, {"w": small((4, 2))}, X)
    batch, channels = model.graph.input[0].type.tensor_type.shape.dim
    batch.dim_param, channels.dim_value = "batch", 4
    with pytest.raises(error, match=says):
        hardware.trace(model, inputs)


def test_one_array_for_two_inputs():
    nodes = [node("MatMul", "x w", "p"), node("Add", "p z", "y")]
    model = model_of(nodes, {"w": small((4, 4))}, {"x": X, "z": X})
    with pytest.raises(ValueError, match=r"2 inputs: give a dict of arrays for \['x', 'z'\]"):
        hardware.trace(model, X)


@pytest.mark.parametrize(
    ("keywords", "error", "says"),
    [
        ({"layers": "y"}, TypeError, "layers must be a list of names, not 'y'"),
        ({"layers": ["a"]}, ValueError, r"no layers \['a'\]; there are \['y'\]"),
        ({"layers": []}, ValueError, "layers is empty"),
        ({"activation_bits": 17}, ValueError, "activation_bits must be from 2 to 16, got 17"),
        ({"activation_bits": 1}, ValueError, "activation_bits must be from 2 to 16, got 1"),
        ({"weight_bits": 8.0}, TypeError, "weight_bits must be an integer"),
        ({"weight_bits": {"y": 0}}, ValueError, r"weight_bits\['y'\] must be from 2 to 16"),
        ({"weight_bits": {"a": 8}}, ValueError, r"weight_bits names no layers \['a'\]"),
        ({"method": "best"}, ValueError, "method"),
        ({"power_of_two": 1}, TypeError, "power_of_two"),
    ],
)
def test_arguments(keywords, error, says):
    with pytest.raises(error, match=says):
        hardware.trace(linear(), X, **keywords)


def test_models(tmp_path):
    for model in (None, 3, [linear()]):
        with pytest.raises(TypeError, match=r"path or the bytes of an ONNX model.*not \w+"):
            hardware.trace(model, X)
    with pytest.raises(FileNotFoundError):
        hardware.trace(tmp_path / "none.onnx", X)
    for data in (b"", b"no protobuf at all", linear().SerializeToString()[:-9]):
        with pytest.raises(ValueError, match="no valid ONNX model"):
            hardware.trace(data, X)
    with pytest.raises(ValueError, match=r"nothing to trace.*\(Relu\)"):
        hardware.trace(model_of([node("Relu", "x", "y")], {}, X), X)
    ones = np.ones((1, 1), np.int32)
    whole = model_of([node("MatMul", "x w", "y")], {"w": ones}, ones)
    with pytest.raises(ValueError, match="activations of 'y' are not floats but int32"):
        hardware.trace(whole, ones)
    wrong = model_of([node("Relu", "x", "p"), node("MatMul", "p w", "y")], {"w": small((3, 2))}, X)
    with pytest.raises(ValueError, match="onnxruntime does not run the model"):
        hardware.trace(wrong, X)


def test_an_input_that_is_no_tensor():
    graph = linear().graph
    sequence = helper.make_tensor_sequence_value_info("s", TensorProto.FLOAT, None)
    graph.input.append(sequence)
    graph.node.append(node("SequenceLength", "s", "length"))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    with pytest.raises(ValueError, match="'s' of the model is no tensor of a known type"):
        hardware.trace(model, {"x": X, "s": X})


def test_without_the_extra(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[onnx\]"'):
        hardware.trace(linear(), X)
    assert len(hardware.trace(training.mlp(4, (), 2), X)) == 1


# --- the trainer's networks -----------------------------------------------------------------------


def test_a_network_of_the_trainer():
    network = training.cnn((1, 8, 8))
    images = np.random.default_rng(1).normal(size=(3, 1, 8, 8)).astype(np.float32)
    trace = hardware.trace(network, images)
    assert [(t.layer.name, t.operator) for t in trace.traced] == [
        ("conv1", "Conv2d"), ("conv2", "Conv2d"), ("fc3", "Linear"),
    ]  # fmt: skip
    run_ = training.Float32().start(3)
    x, found = images, iter(trace.traced)
    for layer in network.layers:
        if isinstance(layer, training.WeightedLayer):
            traced = next(found)
            error = abs(traced.layer.activations * traced.activation_scale - x).max()
            assert error <= traced.activation_scale / 2
            bias = layer.bias.value.reshape(-1, *[1] * (x.ndim - 2))
            expected = layer.forward(x, run_)
            np.testing.assert_allclose(real_output(traced) + bias, expected, rtol=0, atol=2e-3)
        x = layer.forward(x, run_)
    chosen = hardware.trace(network, images, layers=["fc3"], activation_bits={"fc3": 8})
    assert [(layer.name, layer.activation_bits) for layer in chosen] == [("fc3", 8)]


def test_layers_inside_others():
    """Their inputs are those of an evaluation, and nothing of the recording is left behind."""
    r = np.random.default_rng(3)
    block = [
        training.Conv2d(4, 4, (3, 1), r, padding=(1, 0), groups=4),
        training.BatchNorm(4),
        training.ReLU(),
        training.Conv2d(4, 4, 1, r),
    ]
    network = training.Network(
        [
            training.Conv2d(1, 4, 3, r, stride=(2, 1), padding=1),
            training.Residual(block),
            training.Flatten(),
            training.Linear(4 * 4 * 8, 2, r),
        ]
    )
    images = r.normal(size=(2, 1, 8, 8)).astype(np.float32)
    before = network.logits(images)
    trace = hardware.trace(network, images)
    assert [layer.name for layer in trace] == ["conv1", "conv2", "conv3", "fc4"]
    assert trace[0].stride == (2, 1)
    assert (trace[1].padding, trace[1].is_depthwise) == ((1, 0, 1, 0), True)
    t = [real_output(item) for item in trace.traced]
    scale = trace.traced[1].activation_scale
    np.testing.assert_allclose(trace[1].activations * scale, t[0], rtol=0, atol=1e-3)
    x = trace[3].activations * trace.traced[3].activation_scale
    np.testing.assert_allclose(x.reshape(t[0].shape), t[2] + t[0], rtol=0, atol=5e-3)
    np.testing.assert_array_equal(network.logits(images), before)
    assert not any("forward" in vars(layer) for layer in network.weighted)


def test_attention_of_the_trainer():
    r = np.random.default_rng(0)
    network = training.Network([training.MultiHeadAttention(8, 2, r), training.Linear(8, 3, r)])
    trace = hardware.trace(network, r.normal(size=(2, 5, 8)).astype(np.float32))
    assert [layer.activations.shape for layer in trace] == [(10, 8)] * 5
    assert [(s.operator, s.reason) for s in trace.skipped] == [
        ("MultiHeadAttention", "no layer stands for its own products")
    ]


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        (np.ones((2, 4), bool), TypeError, "must be an array of floats or integers, not of bool"),
        (np.ones((0, 4), np.float32), ValueError, "must not be empty"),
    ],
)
def test_inputs_of_a_network(inputs, error, says):
    with pytest.raises(error, match=says):
        hardware.trace(training.mlp(4, (), 2), inputs)
