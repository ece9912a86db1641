"""Calibration beside other implementations: equal where the definition is the same.

Where it is not, the tests say by how much, and docs/calibration.md why.
"""

import ast
import contextlib
import io
from collections import Counter
from importlib.metadata import distribution

import numpy as np
import pytest
import reference_calibration as model

import fmtlib as fl
from fmtlib.calibration import limits
from fmtlib.calibration.sources import Whole
from fmtlib.calibration.summary import summarize

pytestmark = pytest.mark.peers


def samples(size=99_991):  # a prime: no percentile falls between two values
    rng = np.random.default_rng(20)
    yield "normal", rng.standard_normal(size).astype(np.float32)
    yield "laplace", rng.laplace(size=size).astype(np.float32)
    yield "heavy tails", rng.standard_t(3, size).astype(np.float32)
    yield "skewed", (rng.gamma(2.0, size=size) - 1).astype(np.float32)
    yield "relu", np.maximum(rng.standard_normal(size), 0).astype(np.float32)


# --- NVIDIA's ModelOpt, which has TensorRT's calibrators --------------------------------------


@pytest.fixture(scope="module")
def modelopt():
    """Functions of its file of calibrators, which needs none of what the package imports."""
    torch = pytest.importorskip("torch")
    stats = pytest.importorskip("scipy.stats")
    pytest.importorskip("modelopt")
    files = distribution("nvidia-modelopt").files
    path = next(f for f in files if f.as_posix().endswith("quantization/calib/histogram.py"))
    tree = ast.parse(path.read_text())
    tree.body = [node for node in tree.body if getattr(node, "name", "").startswith("_compute")]
    names = {"np": np, "torch": torch, "Counter": Counter, "entropy": stats.entropy}
    exec(compile(tree, str(path), "exec"), names)
    return names


def histogram(x, bins):
    """Ours: counts of magnitudes up to the last one in use, and the edges."""
    summary = summarize(x, None, bins)
    counts = np.trim_zeros(summary.magnitudes(0), "b")
    return summary, counts, np.arange(len(counts) + 1) * summary.width(0)


@pytest.mark.parametrize(("name", "bits", "unsigned", "bins"), [
    ("int8", 8, False, 512), ("uint8", 8, True, 512), ("int4", 4, False, 256),
    ("uint4", 4, True, 256), ("int6", 6, False, 1024),
])  # fmt: skip
def test_entropy_of_tensorrt(modelopt, name, bits, unsigned, bins):
    """On the same histogram, the same limit."""
    for kind, x in samples():
        x = np.abs(x) if unsigned else x
        summary, counts, edges = histogram(x, bins)
        found = limits.entropy(summary, 0, fl.get_format(name))
        theirs = modelopt["_compute_amax_entropy"](counts.copy(), edges, bits, unsigned)
        assert found == float(theirs), kind


@pytest.mark.parametrize("percentile", [90.0, 99.0, 99.9, 99.99])
def test_percentiles_of_tensorrt(modelopt, percentile):
    """It takes the lower end of the bin that ours takes the upper end of."""
    for kind, x in samples():
        summary, counts, edges = histogram(x, 2048)
        theirs = float(modelopt["_compute_amax_percentile"](counts, edges, percentile))
        _, upper = limits.percentile(summary, 0, model.Fraction(str(percentile)), False)
        amax, width = float(np.abs(x).max()), summary.width(0)
        assert min(theirs + width, amax) == max(upper, min(theirs + width, x.max())), kind
        exact = float(np.sort(np.abs(x))[model.math.ceil(percentile * x.size / 100) - 1])
        assert theirs <= exact <= theirs + width


# --- onnxruntime ------------------------------------------------------------------------------


def onnxruntime_range(x, tmp_path, method, batches=1, **options):
    """What a calibrator of onnxruntime finds for a model's input, fed in batches."""
    onnx = pytest.importorskip("onnx")
    calibrate = pytest.importorskip("onnxruntime.quantization.calibrate")
    info, f32 = onnx.helper.make_tensor_value_info, onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Relu", ["x"], ["y"])], "g",
        [info("x", f32, ["n"])], [info("y", f32, ["n"])],
    )  # fmt: skip
    path = tmp_path / "model.onnx"
    opset = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=10), path)

    class Reader(calibrate.CalibrationDataReader):
        rest = np.array_split(x, batches)

        def get_next(self):
            return {"x": self.rest.pop(0)} if self.rest else None

    with contextlib.redirect_stdout(io.StringIO()):
        calibrator = calibrate.create_calibrator(
            path, augmented_model_path=str(tmp_path / "augmented.onnx"),
            calibrate_method=getattr(calibrate.CalibrationMethod, method), extra_options=options,
        )  # fmt: skip
        calibrator.collect_data(Reader())
        return calibrator.compute_data()["x"]


def ends_of(found):
    return tuple(np.asarray(end).item() for end in found.range_value)


@pytest.mark.parametrize("symmetric", [False, True])
def test_min_max_of_onnxruntime(tmp_path, symmetric):
    """The same range, and the same scale and zero point of it to the last bit."""
    tools = pytest.importorskip("onnxruntime.quantization.quant_utils")
    least, most = (np.array(v, np.int8) for v in ((-127 if symmetric else -128), 127))
    for kind, x in samples():
        low, high = ends_of(onnxruntime_range(x, tmp_path, "MinMax", 7, symmetric=symmetric))
        amax = max(-float(x.min()), float(x.max()))
        expected = (-amax, amax) if symmetric else (float(x.min()), float(x.max()))
        assert (low, high) == expected, kind
        zero, scale = tools.compute_scale_zp(
            np.float32(low), np.float32(high), least, most, symmetric
        )
        found = fl.calibrate(x, "int8" if symmetric else "int8_full", affine=not symmetric)
        assert (found.scale, found.zero_point) == (float(np.float32(scale)), int(zero)), kind


@pytest.mark.parametrize("percentile", [99.0, 99.9, 99.99])
def test_percentiles_of_onnxruntime(tmp_path, percentile):
    """One limit for magnitudes, or both tails: the lower ends of the bins of ours."""
    percent = model.Fraction(str(percentile))
    for kind, x in samples():
        options = {"num_bins": 2048, "percentile": percentile}
        _, theirs = ends_of(onnxruntime_range(x, tmp_path, "Percentile", symmetric=True, **options))
        exact = float(np.sort(np.abs(x))[model.math.ceil(percent * x.size / 100) - 1])
        magnitudes = np.abs(x)
        width = float(magnitudes.max() - magnitudes.min()) / 2048
        assert theirs <= exact * (1 + 1e-6), kind
        assert exact <= (theirs + width) * (1 + 1e-6), kind
        summary = summarize(x, None)
        ((low, high),) = limits.exact_percentile(Whole(x), summary, percent, True)
        theirs = ends_of(onnxruntime_range(x, tmp_path, "Percentile", symmetric=False, **options))
        width = 2 * float(magnitudes.max()) / 2048
        for ours, their in zip((low, high), theirs, strict=True):
            assert -1e-6 <= ours - their <= width * (1 + 1e-5), kind


def test_entropy_of_onnxruntime(tmp_path):
    """Another divergence (both signs share the bins and cells, counts are smoothed and truncated).

    By TensorRT's, which is ours, its limits are no better than ours.
    """
    fmt = fl.get_format("int8")
    for kind, x in samples(20_011):
        low, high = ends_of(
            onnxruntime_range(x, tmp_path, "Entropy", num_bins=512, num_quantized_bins=128)
        )
        theirs = max(-low, high)
        summary, counts, _ = histogram(x, 512)
        ours = limits.entropy(summary, 0, fmt)
        counts[0] = counts[1]
        cut = [
            max(min(round(limit / summary.width(0)), len(counts)), 128) for limit in (ours, theirs)
        ]
        found = [model.divergence(counts.tolist(), i, fmt) for i in cut]
        assert found[0] <= found[1] + 1e-10, kind


def test_the_distribution_of_onnxruntime_is_no_range(tmp_path):
    """It gives a mean and a deviation, and E4M3 a scale by comparing deviations."""
    tools = pytest.importorskip("onnxruntime.quantization.quant_utils")
    onnx = pytest.importorskip("onnx")
    x = dict(samples())["normal"]
    found = onnxruntime_range(x, tmp_path, "Distribution", num_bins=512, scenario="same")
    assert float(found.std) == pytest.approx(float(x.std()), rel=0.01)
    _, scale = tools.compute_scale_zp_float8(onnx.TensorProto.FLOAT8E4M3FN, found.std)
    values = fl.decode(np.arange(256, dtype=np.uint8), "e4m3")
    deviation = values[np.isfinite(values)].std()
    assert float(scale) == pytest.approx(float(found.std / deviation), rel=1e-6)
    ours = [
        fl.error_statistics(x, "e4m3", scale=s).sqnr_db
        for s in (fl.calibrate(x, "e4m3", "mse").scale, float(scale))
    ]
    assert ours[0] >= ours[1]


# --- torch ------------------------------------------------------------------------------------


@pytest.mark.parametrize("affine", [False, True])
def test_the_histogram_observer_of_torch(affine):
    """Its search is an approximate one for squared errors: ours never errs more."""
    torch = pytest.importorskip("torch")
    quantization = pytest.importorskip("torch.ao.quantization")
    for kind, x in samples():
        scheme = torch.per_tensor_affine if affine else torch.per_tensor_symmetric
        keywords = {} if affine else {"quant_min": -127, "quant_max": 127}
        observer = quantization.HistogramObserver(dtype=torch.qint8, qscheme=scheme, **keywords)
        observer(torch.from_numpy(x))
        scale, zero = observer.calculate_qparams()
        fmt = "int8_full" if affine else "int8"
        found = fl.calibrate(x, fmt, "mse", affine=affine, bins=8192)
        errors = [
            fl.error_statistics(x, fmt, scale=s, zero_point=z).sqnr_db
            for s, z in ((found.scale, found.zero_point), (float(scale), int(zero)))
        ]
        assert errors[0] >= errors[1] - 0.05, kind


@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("axis", [None, 0, 1])
def test_torch_observers(affine, axis):
    torch = pytest.importorskip("torch")
    quantization = pytest.importorskip("torch.ao.quantization")
    x = np.random.default_rng(8).standard_normal((6, 50), dtype=np.float32) + np.float32(0.5)
    schemes = {
        (False, True): torch.per_tensor_affine, (False, False): torch.per_tensor_symmetric,
        (True, True): torch.per_channel_affine, (True, False): torch.per_channel_symmetric,
    }  # fmt: skip
    keywords = {"qscheme": schemes[axis is not None, affine], "dtype": torch.qint8}
    if not affine:
        keywords |= {"quant_min": -127, "quant_max": 127}
    if axis is None:
        observer = quantization.MinMaxObserver(**keywords)
    else:
        observer = quantization.PerChannelMinMaxObserver(ch_axis=axis, **keywords)
    calibrator = fl.Calibrator("int8_full" if affine else "int8", axis=axis, affine=affine)
    for batch in (x, x * 2, x / 3):
        observer(torch.from_numpy(batch))
        calibrator.observe(batch)
    scale, zero_point = observer.calculate_qparams()
    found = calibrator.result()
    # torch rounds the width of the range, then its quotient
    np.testing.assert_allclose(found.scale, scale.numpy().reshape(np.shape(found.scale)), 2.4e-7)
    wanted = zero_point.numpy().reshape(np.shape(found.zero_point))
    assert np.abs(np.int64(found.zero_point) - wanted).max() == 0


def test_onnx_dynamic_quantization():
    onnx = pytest.importorskip("onnx")
    node = onnx.helper.make_node("DynamicQuantizeLinear", ["x"], ["y", "scale", "zero"])
    f32, u8 = onnx.TensorProto.FLOAT, onnx.TensorProto.UINT8
    info = onnx.helper.make_tensor_value_info
    graph = onnx.helper.make_graph(
        [node], "g", [info("x", f32, ["n"])],
        [info("y", u8, ["n"]), info("scale", f32, []), info("zero", u8, [])],
    )  # fmt: skip
    opset = [onnx.helper.make_opsetid("", 21)]
    model_proto = onnx.helper.make_model(graph, opset_imports=opset)
    evaluator = pytest.importorskip("onnx.reference").ReferenceEvaluator(model_proto)
    rng = np.random.default_rng(9)
    same = Counter()
    for _ in range(50):
        x = rng.normal(rng.uniform(-2, 2), rng.uniform(0.1, 3), 64).astype(np.float32)
        y, scale, zero = evaluator.run(None, {"x": x})
        found = fl.calibrate(x, "uint8", affine=True)
        assert found.scale == pytest.approx(float(scale), rel=2.4e-7)
        assert found.zero_point == int(zero)
        codes = fl.encode(x, "uint8", scale=float(scale), zero_point=int(zero))
        same.update((codes == y).tolist())
    assert same[True] > 0.999 * same.total()  # its float32 quotients may be ties
