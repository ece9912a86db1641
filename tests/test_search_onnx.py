"""Searches on ONNX models: against the same rounding within the graph, and against plain runs."""

import sys
from dataclasses import replace

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.testing import assert_array_equal
from onnx import TensorProto, helper, numpy_helper

import fmtlib as fl
from fmtlib.search import BlockPrecision, OnnxModel, Precision, search_blocks, search_precision
from fmtlib.search.onnx_cuts import CutModel

RNG = np.random.default_rng(0)
WEIGHTS = {
    "stem": RNG.standard_normal((8, 3, 3, 3)) / 4,
    "wide": RNG.standard_normal((8, 8, 3, 3)) / 8,
    "deep": RNG.standard_normal((8, 1, 3, 3)) / 3,
    "left": RNG.standard_normal((5, 8)) / 3,
    "flat": RNG.standard_normal((40, 16)) / 6,
    "last": RNG.standard_normal((10, 16)) / 4,
}
NAMES = ["stem", "wide", "deep", "left", "flat", "last"]
F32 = TensorProto.FLOAT
X = RNG.standard_normal((24, 3, 7, 9)).astype(np.float32)


def made(nodes, inputs, outputs, constants):
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "g",
        [info(name, kind, shape) for name, kind, shape in inputs],
        [info(name, F32, shape) for name, shape in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    onnx.checker.check_model(model, full_check=True)
    return model


def network(batch="n", weights=WEIGHTS):
    """Convolutions, one grouped, a branch that goes around two of them, and all products."""
    n = helper.make_node
    constants = {f"{name}_w": w.astype(np.float32) for name, w in weights.items()}
    # one of the weights is what other constants make
    constants["flat_w"] = constants["flat_w"].T
    return made(
        [
            n("Transpose", ["flat_w"], ["flat_t"]),
            n("Conv", ["x", "stem_w", "bias"], ["a"], "stem", auto_pad="SAME_UPPER"),
            n("Relu", ["a"], ["b"]),
            n("Conv", ["b", "wide_w"], ["c"], "wide", auto_pad="SAME_UPPER"),
            n("Conv", ["c", "deep_w"], ["d"], "deep", auto_pad="SAME_UPPER", group=8),
            n("Add", ["d", "b"], ["e"]),
            n("GlobalAveragePool", ["e"], ["f"]),
            n("Squeeze", ["f", "axes"], ["g"]),
            n("Unsqueeze", ["g", "two"], ["g2"]),
            n("MatMul", ["left_w", "g2"], ["h"], "left"),  # (5, 8) times (n, 8, 1)
            n("Shape", ["g"], ["s"], end=1),
            n("Concat", ["s", "rest"], ["to"], axis=0),
            n("Expand", ["h", "eight"], ["i"]),
            n("Reshape", ["i", "to"], ["j"]),
            n("Sin", ["j"], ["k"]),
            n("MatMul", ["k", "flat_t"], ["l"], "flat"),
            n("Gemm", ["l", "last_w"], ["y"], "last", transB=1, alpha=0.5),
        ],
        [("x", F32, [batch, 3, 7, 9])],
        [("y", [batch, 10]), ("e", [batch, 8, 7, 9])],
        {
            **constants,
            "bias": np.linspace(-1, 1, 8, dtype=np.float32),
            "axes": np.int64([2, 3]),
            "two": np.int64([2]),
            "eight": np.int64([1, 5, 8]),
            "rest": np.int64([40]),
        },
    )


def plain(model, outputs, feeds):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    return session.run(outputs, feeds)


def rounded_within(configuration):
    """The network with the rounding of data as nodes of its own, and with rounded weights."""
    pairs = zip(NAMES, configuration, strict=True)
    weights = {
        name: WEIGHTS[name]
        if p is None
        else fl.quantize(WEIGHTS[name].astype(np.float32), p.weights)
        for name, p in pairs
    }
    model = network(weights=weights)
    del model.graph.output[1]
    nodes = []
    for node in model.graph.node:
        p = dict(zip(NAMES, configuration, strict=True)).get(node.name)
        if p is not None:
            side = int(node.name == "left")
            source, name = node.input[side], f"{node.name}_rounded"
            up = np.float32(2.0**p.data_fraction)
            top = np.float32(2.0 ** (p.data_integer + p.data_fraction))
            for key, value in (("up", up), ("low", -top), ("high", top - 1), ("zero", up * 0)):
                model.graph.initializer.append(numpy_helper.from_array(value, f"{name}_{key}"))
            for operator, arguments, out in (
                ("Mul", [source, f"{name}_up"], "1"),
                ("Round", [f"{name}1"], "2"),
                ("Clip", [f"{name}2", f"{name}_low", f"{name}_high"], "3"),
                ("Div", [f"{name}3", f"{name}_up"], "4"),
                ("Add", [f"{name}4", f"{name}_zero"], ""),  # fixed point has no -0
            ):
                nodes.append(helper.make_node(operator, arguments, [name + out]))
            node.input[side] = name
        nodes.append(node)
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    return model


@pytest.fixture(scope="module")
def task():
    return OnnxModel(network(), X, batch=10)


def configurations():
    """Of all sorts, with layers in floating point between them."""
    rng = np.random.default_rng(5)
    start = OnnxModel(network(), X[:1]).start
    yield start
    yield tuple(replace(p, data_fraction=2, weight_fraction=3) for p in start)
    for _ in range(8):
        yield tuple(
            None
            if rng.random() < 0.3
            else Precision(*(int(v) for v in rng.integers([0, 1, 0, 1], [4, 9, 2, 9])))
            for _ in NAMES
        )


def test_layers_and_their_sizes(task):
    assert [size.name for size in task.sizes] == NAMES
    assert [size.data for size in task.sizes] == [189, 504, 504, 8, 40, 16]
    assert [size.weights for size in task.sizes] == [WEIGHTS[name].size for name in NAMES]
    assert [size.data_length for size in task.sizes] == [3, 8, 8, 8, 40, 16]
    assert [size.weight_length for size in task.sizes] == [3, 8, 1, 8, 40, 16]
    for name, precision in zip(NAMES, task.start, strict=True):
        assert np.abs(WEIGHTS[name]).max() <= precision.weights.max
        assert precision.data.bits == precision.weights.bits == 16


def test_in_floating_point_it_is_the_model(task):
    (expected,) = plain(network(), ["y"], {"x": X})
    assert_array_equal(task.run((None,) * 6), expected)
    assert task.evaluate((None,) * 6) == 1


def test_rounding_is_that_of_nodes_in_the_graph(task):
    """Which are exact too: products with powers of two, Round's ties to even, Clip."""
    for configuration in configurations():
        (expected,) = plain(rounded_within(configuration), ["y"], {"x": X})
        assert_array_equal(task.run(configuration), expected)


def test_blocks_are_those_of_quantize():
    """The operands of the first layer and of the last, in blocks along what products add up."""
    p = BlockPrecision(2, 5, 3, 4)
    stem = fl.quantize(WEIGHTS["stem"].astype(np.float32), p.weights, axis=1)
    (expected,) = plain(
        network(weights={**WEIGHTS, "stem": stem}), ["y"], {"x": fl.quantize(X, p.data, axis=1)}
    )
    task = OnnxModel(network(), X)
    assert_array_equal(task.run((p, *(None,) * 5)), expected)
    w = WEIGHTS["last"].astype(np.float32)
    model = network()
    model.graph.output.append(helper.make_tensor_value_info("l", F32, ["n", 16]))
    (data,) = plain(model, ["l"], {"x": X})
    gemm = made(
        [helper.make_node("Gemm", ["l", "w"], ["y"], transB=1, alpha=0.5)],
        [("l", F32, ["n", 16])], [("y", ["n", 10])],
        {"w": fl.quantize(w, p.weights, axis=1)},
    )  # fmt: skip
    (expected,) = plain(gemm, ["y"], {"l": fl.quantize(data, p.data, axis=1)})
    assert_array_equal(task.run((*(None,) * 5, p)), expected)
    for size in task.sizes:  # exactly what blocks take
        shape = (size.data // size.data_length, size.data_length)
        block = fl.encode(np.ones(shape, np.float32), p.data, axis=1)
        block_w = fl.encode(
            np.ones((size.weights // size.weight_length, size.weight_length), np.float32),
            p.weights, axis=1,
        )  # fmt: skip
        bits = [b.codes.size * b.format.bits + b.scales.size * 5 for b in (block, block_w)]
        assert size.bits(p) == sum(bits)
        assert [-(-n // 8) for n in bits] == [block.nbytes, block_w.nbytes]


@pytest.mark.parametrize("kept", [0, 40_000, 1 << 29])
@pytest.mark.parametrize("batch", [1, 7, 64])
def test_order_and_batches_do_not_matter(kept, batch):
    """What is kept of the evaluation before changes nothing."""
    task = OnnxModel(network(), X, batch=batch, kept_bytes=kept)
    every = [*configurations()]
    first = [task.run(configuration) for configuration in every]
    for configuration, expected in reversed([*zip(every, first, strict=True)]):
        assert_array_equal(task.run(configuration), expected)
        some = (*configuration[:3], None, *configuration[4:])
        assert_array_equal(task.run(some), OnnxModel(network(), X, batch=batch).run(some))


def test_measures():
    model, labels = network(), RNG.integers(0, 10, len(X))
    configuration = [*configurations()][1]
    outputs, floating = (OnnxModel(model, X).run(c) for c in (configuration, (None,) * 6))
    classes, wanted = outputs.argmax(axis=1), floating.argmax(axis=1)
    task = OnnxModel(model, X, labels)
    assert task.measure == "top-1 accuracy"
    assert task.evaluate(configuration) == (classes == labels).mean()
    task = OnnxModel(model, X)
    assert task.measure == "top-1 agreement"
    assert 0 < task.evaluate(configuration) == (classes == wanted).mean() < 1
    maps = {"output": "e", "threshold": 0.25}
    task, configuration = OnnxModel(model, X, measure="map", **maps), configuration[:3]
    assert [size.name for size in task.sizes] == NAMES[:3]  # what follows is not needed
    e, f = (task.run(c) for c in (configuration, (None,) * 3))
    assert e.shape == (24, 8, 7, 9)
    assert task.measure == "map agreement at 0.25"
    assert task.evaluate(configuration) == ((e >= 0.25) == (f >= 0.25)).mean() < 1
    task = OnnxModel(model, X, measure="map_f1", **maps)
    both = ((e >= 0.25) & (f >= 0.25)).sum()
    precision, recall = both / (e >= 0.25).sum(), both / (f >= 0.25).sum()
    assert task.measure == "map F1 at 0.25"
    assert task.evaluate(configuration) == pytest.approx(
        2 * precision * recall / (precision + recall), abs=1e-12
    )

    def correlation(outputs, floating):
        return np.corrcoef(outputs.ravel(), floating.ravel())[0, 1]

    task, configuration = OnnxModel(model, X, measure=correlation), [*configurations()][1]
    assert task.measure == "correlation"
    assert task.evaluate(configuration) == correlation(outputs, floating) < 1


def test_searches_end_within_the_tolerance(tmp_path):
    task = OnnxModel(network(), X[:10], bits=8)
    arguments = (task.evaluate, task.start, task.sizes)
    how = {"measure": task.measure, "tolerance": 0.1, "moves": 4}
    whole = search_precision(*arguments, **how)
    point = whole.cheapest(0.1)
    assert whole.loss(point) <= 0.1
    assert point.footprint < 0.3
    assert whole.measure == whole.to_records()[0]["measure"] == "top-1 agreement"
    path = tmp_path / "search.json"
    part = search_precision(*arguments, budget=9, path=path, **how)
    assert not part.complete
    fresh = OnnxModel(network(), X[:10], bits=8)
    again = search_precision(fresh.evaluate, fresh.start, fresh.sizes, path=path, **how)
    assert again == whole
    with pytest.raises(ValueError, match="has another measure: 'top-1 agreement'"):
        search_precision(*arguments, path=path)
    choices = {"block_sizes": [8], "exponents": [4, 5], "mantissas": [3, 5, 7]}
    blocks = search_blocks(task.evaluate, task.sizes, tolerance=0.1, **choices)
    assert blocks.loss(blocks.steps[-1]) <= 0.1
    assert blocks.steps[-1].footprint < 0.3


def test_several_inputs_and_fixed_batches():
    model = made(
        [
            helper.make_node("MatMul", ["a", "w"], ["c"]),
            helper.make_node("Add", ["c", "b"], ["y"]),
        ],
        [("a", F32, [4, 6]), ("b", F32, [4, 3])], [("y", [4, 3])],
        {"w": np.eye(6, 3, dtype=np.float32)},
    )  # fmt: skip
    a, b = RNG.standard_normal((12, 6)).astype("f"), RNG.standard_normal((12, 3)).astype("f")
    task = OnnxModel(model, {"a": a, "b": b})
    assert_array_equal(task.run((None,)), a[:, :3] + b)
    p = Precision(1, 2, 1, 2)
    assert_array_equal(task.run((p,)), fl.quantize(a, p.data)[:, :3] + b)
    for inputs, match in (
        (a, "the model has 2 inputs: give a dict"),
        ({"a": a}, r"\['b'\] are missing"),
        ({"a": a[:8], "b": b}, "the same number of samples"),
        ({"a": a[:10], "b": b[:10]}, "takes 4 samples at a time: 10 samples"),
        ({"a": a[:, :5], "b": b}, r"'a' must have shape \(4, 6\), not \(4, 5\)"),
    ):
        with pytest.raises(ValueError, match=match):
            OnnxModel(model, inputs)
    with pytest.raises(TypeError, match="'a' must be an array of float32, not of float64"):
        OnnxModel(model, {"a": a.astype(float), "b": b})


def test_graphs_within_nodes_see_what_is_outside():
    """A branch that uses a tensor from before the layer, and one that uses the layer's output."""

    def branch(name, operator, *inputs):
        node = helper.make_node(operator, inputs, [name])
        return helper.make_graph([node], name, [], [helper.make_empty_tensor_value_info(name)])

    model = made(
        [
            helper.make_node("Relu", ["x"], ["r"]),
            helper.make_node("MatMul", ["r", "w"], ["m"]),
            helper.make_node(
                "If", ["yes"], ["y"],
                then_branch=branch("t", "Sub", "m", "r"), else_branch=branch("e", "Neg", "m"),
            ),
        ],
        [("x", F32, ["n", 3])], [("y", ["n", 3])],
        {"w": np.eye(3, dtype=np.float32) * 3, "yes": np.array(True)},
    )  # fmt: skip
    x = RNG.standard_normal((5, 3)).astype(np.float32)
    task = OnnxModel(model, x)
    (expected,) = plain(model, ["y"], {"x": x})
    assert_array_equal(task.run((None,)), expected)
    p = Precision(1, 1, 2, 0)
    r = np.maximum(x, 0)
    assert_array_equal(task.run((p,)), 3 * fl.quantize(r, p.data) - r)


def test_paths_and_bytes(tmp_path):
    path = tmp_path / "model.onnx"
    onnx.save(network(), path)
    before = path.read_bytes()
    expected = OnnxModel(network(), X).run((None,) * 6)
    for given in (path, str(path), before):
        assert_array_equal(OnnxModel(given, X).run((None,) * 6), expected)
    assert path.read_bytes() == before
    model = network()
    OnnxModel(model, X)
    assert model == network()  # it is not changed


@pytest.mark.parametrize(
    ("changed", "error", "match"),
    [
        ({"model": 3}, TypeError, "path or the bytes of an ONNX model"),
        ({"model": b"nonsense"}, ValueError, "no valid ONNX model"),
        ({"labels": np.zeros(3, int)}, ValueError, "labels must be 24 integers"),
        ({"labels": np.zeros(24)}, ValueError, "labels must be 24 integers"),
        ({"labels": np.zeros(24, int), "measure": "map"}, ValueError, "for the measure 'top1'"),
        ({"measure": "psnr"}, ValueError, "one of top1, map, map_f1, or a callable"),
        ({"measure": "map_f1", "threshold": 1e9}, ValueError, r"no pixel .* reaches 1e\+09"),
        ({"output": "z"}, ValueError, "output must be one of y, e, got 'z'"),
        ({"output": "e"}, ValueError, r"shape \(samples, classes\), got \(24, 8, 7, 9\)"),
        ({"batch": 0}, ValueError, "batch must be at least 1"),
        ({"bits": 25}, ValueError, "bits must be from 2 to 24"),
        ({"kept_bytes": -1}, ValueError, "kept_bytes must be at least 0"),
        ({"inputs": X[:0]}, ValueError, "must not be empty"),
        ({"inputs": X * np.float32(np.nan)}, ValueError, "stem holds NaN"),
    ],
)
def test_wrong_arguments(changed, error, match):
    with pytest.raises(error, match=match):
        OnnxModel(**{"model": network(), "inputs": X, **changed})


def test_wrong_configurations(task):
    with pytest.raises(ValueError, match="1 precisions for 6 layers"):
        task.run((None,))
    with pytest.raises(TypeError, match="records of precisions, got 3"):
        task.run((3,) * 6)
    relu = made(
        [helper.make_node("Relu", ["x"], ["y"])], [("x", F32, ["n", 3])], [("y", ["n", 3])], {}
    )
    with pytest.raises(ValueError, match="no Conv, Gemm, MatMul with constant weights leads to y"):
        CutModel(relu)


def test_missing_extras_are_named(monkeypatch):
    model = network()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[onnx\]"'):
        OnnxModel(model, X)
