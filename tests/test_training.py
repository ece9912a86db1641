"""The trainer: gradients, what recipes quantise and count, repeatability, and that it learns."""

import dataclasses
import math
import sys

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fmtlib as fl
from fmtlib import training

TRUNCATED = {
    "weight_rounding": "toward_zero",
    "activation_rounding": "toward_zero",
    "gradient_rounding": "toward_zero",
}
NEAREST = {"gradient_rounding": "nearest_even"}
BLOCK_RECIPES = [training.BFP(), training.FAST(), training.SwitchAt(0.5)]
RECIPES = [training.Float32(), training.FP8(), *BLOCK_RECIPES]


def name(recipe):
    return type(recipe).__name__


def normal(*shape, seed=0, dtype=np.float32):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


@pytest.fixture(scope="module")
def data():
    return training.digits(seed=0)


@pytest.fixture
def tiny():
    """A few samples, for what does not depend on how many there are."""
    x, y = normal(96, 20), np.arange(96) % 3
    x[np.arange(96), y] += 2
    return training.split(x, y, seed=0, test=0.2, validation=0.2)


# --- gradients, in float64 against central differences -----------------------------------------


def differences(function, x, step=1e-6):
    """The gradient of a scalar function of an array, which is changed in place meanwhile."""
    gradient = np.empty_like(x)
    for index in np.ndindex(x.shape):
        value = x[index]
        x[index] = value + step
        above = function()
        x[index] = value - step
        gradient[index] = (above - function()) / (2 * step)
        x[index] = value
    return gradient


def to_float64(*layers):
    for layer in layers:
        if isinstance(layer, training.WeightedLayer):
            for parameter in (layer.weight, layer.bias):
                parameter.value = parameter.value.astype(np.float64)
                parameter.value += 0.1 * normal(*parameter.value.shape, dtype=np.float64)


def generator():
    return np.random.default_rng(1)


@pytest.mark.parametrize(
    ("layer", "shape"),
    [
        (training.Linear(5, 3, generator()), (4, 5)),
        (training.Conv2d(2, 3, 3, generator()), (2, 2, 5, 4)),
        (training.Conv2d(2, 3, 3, generator(), padding=1), (2, 2, 4, 5)),
        (training.Conv2d(2, 3, 3, generator(), stride=2, padding=2), (2, 2, 5, 6)),
        (training.Conv2d(1, 2, 2, generator(), stride=3), (2, 1, 6, 5)),  # pixels that are unused
        (training.ReLU(), (4, 5)),
        (training.MaxPool2d(2), (2, 3, 4, 6)),
        (training.MaxPool2d(3), (2, 1, 3, 6)),
        (training.Flatten(), (2, 3, 2, 2)),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, training.Layer) else None,
)
def test_layer_gradients(layer, shape):
    to_float64(layer)
    run = training.Float32().start()
    x = normal(*shape, dtype=np.float64)
    out = layer.forward(x, run)
    weights = normal(*out.shape, seed=2, dtype=np.float64)

    def loss():
        return float((weights * layer.forward(x, run)).sum())

    gradient = layer.backward(weights, run)
    assert gradient.shape == x.shape
    assert_allclose(gradient, differences(loss, x), rtol=1e-6, atol=1e-8)
    if isinstance(layer, training.WeightedLayer):
        for parameter in (layer.weight, layer.bias):
            expected = differences(loss, parameter.value)
            assert_allclose(parameter.gradient, expected, rtol=1e-6, atol=1e-8)


def test_loss_gradient():
    logits, labels = 3 * normal(5, 4, dtype=np.float64), np.array([0, 3, 1, 1, 2])
    loss, gradient = training.softmax_cross_entropy(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    assert_allclose(loss, -np.log(probabilities[range(5), labels]).mean())
    expected = differences(lambda: training.softmax_cross_entropy(logits, labels)[0], logits)
    assert_allclose(gradient, expected, rtol=1e-6, atol=1e-9)


def test_loss_of_great_logits_is_finite():
    loss, gradient = training.softmax_cross_entropy(
        np.float32([[1e4, 0], [0, 1e4]]), np.zeros(2, int)
    )
    assert loss == 5e3
    assert_array_equal(gradient, np.float32([[0, 0], [-0.5, 0.5]]))


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (training.mlp(6, (5, 4), 3, seed=0), (4, 6)),
        (training.cnn((2, 4, 4), (2, 3), 3, seed=0), (3, 2, 4, 4)),
    ],
    ids=["mlp", "cnn"],
)
def test_network_gradients(network, shape):
    to_float64(*network.layers)
    run = training.Float32().start(len(network.weighted))
    x, labels = normal(*shape, dtype=np.float64), np.arange(shape[0]) % 3

    def loss():
        return training.softmax_cross_entropy(network.forward(x, run), labels)[0]

    _, gradient = training.softmax_cross_entropy(network.forward(x, run), labels)
    network.backward(gradient, run)
    for parameter in network.parameters:
        expected = differences(loss, parameter.value)
        assert_allclose(parameter.gradient, expected, rtol=1e-5, atol=1e-8)


def test_convolution_against_its_definition():
    layer = training.Conv2d(2, 3, 3, generator(), stride=2, padding=1)
    x = normal(2, 2, 5, 7)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    out = layer.forward(x, training.Float32().start())
    assert out.shape == (2, 3, 3, 4)
    for n, k, i, j in np.ndindex(out.shape):
        window = padded[n, :, 2 * i : 2 * i + 3, 2 * j : 2 * j + 3]
        assert_allclose(
            out[n, k, i, j], (window * layer.weight.value[k]).sum(), rtol=1e-5, atol=1e-6
        )


def test_max_pool_ties_give_the_gradient_once():
    pool = training.MaxPool2d(2)
    run = training.Float32().start()
    pool.forward(np.zeros((1, 1, 2, 2), np.float32), run)
    assert_array_equal(pool.backward(np.float32([[[[3]]]]), run), [[[[3, 0], [0, 0]]]])


def test_everything_stays_float32(tiny):
    network = training.mlp(20, 8, 3)
    for recipe in RECIPES:
        training.fit(network, tiny, recipe=recipe, epochs=1)
        for parameter in network.parameters:
            assert parameter.value.dtype == parameter.gradient.dtype == np.float32


# --- what recipes do to the operands ---------------------------------------------------------


def fmac(a, b, group=16):
    """Sums over groups, exact, each rounded to float32 and added in float32 in order."""
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for start in range(0, a.shape[1], group):
        part = slice(start, start + group)
        total += (a[:, part].astype(np.float64) @ b[part].astype(np.float64)).astype(np.float32)
    return total


def gemms(a, w, gradient, run, layer=0):
    """The three products of a layer, and their operands."""
    for kind, left, right in (
        ("forward", a, w),
        ("weight_gradient", a.T, gradient),
        ("input_gradient", gradient, w.T),
    ):
        yield kind, left, right, run.gemm(left, right, kind, layer)


# Every axis is longer than a group and ragged, so that a wrong axis would give other values.
A, W, G = normal(19, 37), normal(37, 21, seed=1), normal(19, 21, seed=2) / 64


@pytest.mark.parametrize("bits", [1, 2, 4, 5, 8])
def test_bfp_groups_lie_along_the_reduction_axis(bits):
    run = training.BFP(bits, **NEAREST).start()
    fmt = fl.bfp(bits)
    for _, left, right, product in gemms(A, W, G, run):
        expected = fmac(fl.quantize(left, fmt, axis=1), fl.quantize(right, fmt, axis=0))
        assert_array_equal(product, expected)
        assert product.dtype == np.float32


def test_bfp_passes_its_options_on():
    recipe = training.BFP(
        3,
        group_size=8,
        exponent_bits=4,
        weight_rounding="up",
        activation_rounding="nearest_away",
        gradient_rounding="toward_zero",
        carry="bump",
    )
    fmt = fl.bfp(3, 4, 8, carry="bump")
    rounding = {"weight": "up", "activation": "nearest_away", "gradient": "toward_zero"}
    roles = {
        "forward": ("activation", "weight"),
        "weight_gradient": ("activation", "gradient"),
        "input_gradient": ("gradient", "weight"),
    }
    for kind, left, right, product in gemms(A, W, G, recipe.start()):
        a, b = (
            fl.quantize(x, fmt, rounding=rounding[role], axis=axis)
            for x, role, axis in zip((left, right), roles[kind], (1, 0), strict=True)
        )
        assert_array_equal(product, fmac(a, b, group=8))


def test_fp8_formats_and_scales():
    formats = {"weight": ("e4m3", 448), "activation": ("e4m3", 448), "gradient": ("e5m2", 57344)}
    roles = {
        "forward": ("activation", "weight"),
        "weight_gradient": ("activation", "gradient"),
        "input_gradient": ("gradient", "weight"),
    }
    for kind, left, right, product in gemms(A, W, G, training.FP8().start()):
        quantized = []
        for x, role in zip((left, right), roles[kind], strict=True):
            fmt, greatest = formats[role]
            scale = float(np.abs(x).max()) / greatest
            codes = fl.quantize(x.astype(np.float64) / scale, fmt)
            quantized.append((codes * scale).astype(np.float32))
        assert_array_equal(product, quantized[0] @ quantized[1])


@pytest.mark.parametrize("role", ["weight", "activation", "gradient"])
def test_fp8_scales_the_greatest_magnitude_to_the_greatest_value(role):
    recipe = training.FP8()
    x = normal(50, 3) * np.float32(1e-12)
    quantized = recipe.quantize(x, role)
    greatest = np.abs(x).argmax()
    assert_allclose(quantized.flat[greatest], x.flat[greatest], rtol=1e-7)
    assert_allclose(quantized, x, rtol=0.13, atol=1e-16)


def test_fp8_scale_edge_cases():
    recipe = training.FP8()
    zeros = np.zeros((3, 4), np.float32)
    assert_array_equal(recipe.quantize(zeros, "weight"), zeros)
    assert recipe.quantize(np.zeros((0, 4), np.float32), "weight").shape == (0, 4)
    odd = np.float32([1.05, -np.inf, 600.0])  # scale 1: the grid of E4M3 itself, saturating
    assert_array_equal(recipe.quantize(odd, "weight"), np.float32([1.0, -448.0, 448.0]))
    odd[1] = np.nan
    assert_array_equal(recipe.quantize(odd, "weight"), np.float32([1.0, np.nan, 448.0]))
    least = np.float32([1e-45, -3e-45])  # subnormal magnitudes have a scale too
    assert_array_equal(recipe.quantize(least, "gradient"), least)


def test_stochastic_words_are_keyed_by_place_not_by_order():
    recipe = training.BFP(2)
    expected = {kind: product for kind, *_, product in gemms(A, W, G, recipe.start(seed=5))}
    run = recipe.start(seed=5)
    reverse = {
        "input_gradient": run.gemm(G, W.T, "input_gradient", 0),
        "weight_gradient": run.gemm(A.T, G, "weight_gradient", 0),
        "forward": run.gemm(A, W, "forward", 0),
    }
    for kind, product in expected.items():
        assert_array_equal(reverse[kind], product)


def test_stochastic_words_differ_between_places():
    keys = []

    class Recording(training.Float32):
        def product(self, a, b, left, right):
            keys.extend([left.key, right.key])
            return super().product(a, b, left, right)

    run = Recording().start(layers=2, iterations=2, seed=9)
    for current in (run, run.evaluation()):
        for _ in range(2):
            for layer in range(2):
                list(gemms(A, W, G, current, layer))
            current.advance()
    assert len(keys) == len(set(keys)) == 2 * 2 * 2 * 3 * 2
    assert {seed for seed, _ in keys} == {9}
    assert all(0 <= stream < 2**64 for _, stream in keys)


# --- FAST's decisions, and passes --------------------------------------------------------------


def relative_loss(x, axis, low=2, high=4, **options):
    coarse = fl.quantize(x, fl.bfp(low), axis=axis, **options).astype(np.float64)
    fine = fl.quantize(x, fl.bfp(high), axis=axis, **options).astype(np.float64)
    return np.abs(fine - coarse).sum() / np.abs(coarse).sum()


def test_fast_decisions_against_the_formula():
    alpha, beta, layers, iterations = 0.34, 0.2, 3, 5
    nearest = {"weight_rounding": "nearest_even", "activation_rounding": "nearest_even"}
    recipe = training.FAST(alpha, beta, **nearest)
    run = recipe.start(layers, iterations, seed=3)
    expected = []
    for i in range(iterations):
        for layer in range(layers):
            step = iterations * layer + i
            a, w, g = (normal(*x.shape, seed=3 * step + k) for k, x in enumerate((A, W, G)))
            list(gemms(a, w, g, run, layer))
            # The layout of streams is fixed, so that runs repeat: iteration, layer, and 3 for the
            # right operand of the second product.
            key = (3, (i << 24) | (layer << 3) | 3)
            noise = {"rounding": "stochastic", "random_bits": 8, "seed": key}
            for role, loss in (
                ("activation", relative_loss(a, 1)),
                ("weight", relative_loss(w, 0)),
                ("gradient", relative_loss(g, 0, **noise)),
            ):
                epsilon = alpha - beta * i / iterations - beta * layer / layers
                expected.append((i, layer, role, 2 if loss < epsilon else 4))
        run.advance()
    decisions = run.decisions
    columns = (decisions.iteration, decisions.layer, decisions.role, decisions.bits)
    assert list(zip(*(column.tolist() for column in columns), strict=True)) == expected
    assert set(decisions.bits.tolist()) == {2, 4}
    assert len(decisions) == 3 * layers * iterations


@pytest.mark.parametrize("scale", [1.0, 2.0**114], ids=["near 1", "sums overflow"])
@pytest.mark.parametrize("order", "CF")
@pytest.mark.parametrize("role", ["activation", "gradient"])
def test_fast_compares_exactly(role, order, scale):
    """Also where float32 cannot tell the loss from the threshold, and in parts of a tensor."""
    spread = 2.0 ** np.random.default_rng(1).integers(-10, 10, (300, 211))  # beyond float32's sums
    x = np.asarray(normal(300, 211) * (scale * spread).astype(np.float32), order=order)
    noise = {"rounding": "stochastic", "random_bits": 8, "seed": (0, 3)}
    gradient = role == "gradient"
    loss = relative_loss(x, 0, **noise) if gradient else relative_loss(x, 1, rounding="toward_zero")
    for alpha, bits in ((loss, 4), (np.nextafter(loss, 1), 2), (0.9 * loss, 4), (1.1 * loss, 2)):
        run = training.FAST(alpha=float(alpha), beta=0.0).start()
        if gradient:
            run.gemm(np.ones((2, 300), np.float32), x, "weight_gradient", 0)
        else:
            run.gemm(x, np.ones((211, 2), np.float32), "forward", 0)
        assert run.decisions.bits[run.decisions.role == role].tolist() == [bits]


@pytest.mark.parametrize("x", [np.zeros_like(A), -np.zeros_like(A)], ids=["+0", "-0"])
def test_fast_takes_the_low_width_for_zeros(x):
    run = training.FAST(alpha=-1.0, beta=0.0).start()  # no loss is below the threshold
    run.gemm(x, W, "forward", 0)
    assert dict(zip(run.decisions.role, run.decisions.bits, strict=True)) == {
        "activation": 2,
        "weight": 4,
    }


def test_fast_takes_the_high_width_for_nan():
    run = training.FAST(alpha=100.0).start()
    broken = A.copy()
    broken[0, 0] = np.nan
    product = run.gemm(broken, W, "forward", 0)
    assert run.decisions.bits.tolist() == [4, 2]
    assert np.isnan(product[0]).all()
    assert np.isfinite(product[1:]).all()


@pytest.mark.parametrize(
    ("recipe", "passes_per_mac"),
    [
        (training.BFP(1), 1),
        (training.BFP(2), 1),
        (training.BFP(3), 4),
        (training.BFP(4), 4),
        (training.BFP(5), 9),
        (training.BFP(8), 16),
        (training.BFP(4, group_size=32), 4),
        (training.FAST(alpha=math.pi * 100), 1),
        (training.FAST(alpha=-1.0, beta=0.0), 4),
        (training.SwitchAt(0.0), 4),
        (training.SwitchAt(1.0), 1),
        (training.SwitchAt(0.5), 2.5),
        (training.SwitchAt(0.25), 3.25),
    ],
    ids=str,
)
def test_passes_per_mac(recipe, passes_per_mac):
    run = recipe.start(layers=1, iterations=4)
    for _ in range(4):
        list(gemms(A, W, G, run))
        run.advance()
    assert run.passes_per_mac == passes_per_mac
    assert run.macs == 4 * 3 * 19 * 37 * 21


def test_passes_per_mac_of_mixed_widths():
    class WideGradients(training.BFP):
        def choose_bits(self, x, operand):
            return 4 if operand.role == "gradient" else 2

    run = WideGradients().start()
    list(gemms(A, W, G, run))
    # groups of the products: 37 → 3, 19 → 2, 21 → 2; passes per pair: 1, 2, 2
    forward, weight, inputs = 19 * 21 * 3, 37 * 21 * 2, 19 * 37 * 2
    assert run.group_pairs == forward + weight + inputs
    assert run.passes == forward + 2 * weight + 2 * inputs
    assert run.passes_per_mac == run.passes / run.group_pairs


@pytest.mark.parametrize("recipe", [training.Float32(), training.FP8()], ids=name)
def test_no_passes_without_blocks(recipe, tiny):
    result = training.fit(training.mlp(20, 8, 3), tiny, recipe=recipe, epochs=1)
    assert result.passes_per_mac is None
    assert len(result.decisions) == 0
    # 63 samples; the first layer computes no gradient of its input
    assert len(tiny.train) == 63
    assert result.macs == 63 * (2 * 20 * 8 + 3 * 8 * 3)


def test_evaluation_changes_nothing():
    run = training.FAST().start(layers=1, iterations=10)
    list(gemms(A, W, G, run))
    run.advance()
    before = (run.iteration, run.macs, run.passes, run.group_pairs, run.decisions)
    evaluation = run.evaluation()
    evaluation.gemm(A, W, "forward", 0)
    evaluation.advance()
    assert (run.iteration, run.macs, run.passes, run.group_pairs, run.decisions) == before
    assert evaluation.iteration == run.iteration == 1


# --- training ----------------------------------------------------------------------------------


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_runs_repeat_bit_for_bit(recipe, tiny):
    def train(seed):
        network = training.mlp(20, (24, 17), 3, seed=seed)
        result = training.fit(network, tiny, recipe=recipe, epochs=2, batch_size=20, seed=seed)
        return result, [p.value for p in network.parameters]

    result, values = train(1)
    again, values_again = train(1)
    assert result == again
    for value, value_again in zip(values, values_again, strict=True):
        assert_array_equal(value, value_again)
    other, _ = train(2)
    assert result != other


def test_seconds_are_no_part_of_equality(tiny):
    result = training.fit(training.mlp(20, 8, 3), tiny, epochs=1)
    assert result.seconds > 0
    assert dataclasses.replace(result, seconds=-1.0) == result
    assert dataclasses.replace(result, test_accuracy=-1.0) != result


def test_stochastic_rounding_depends_on_the_seed():
    runs = [training.BFP(2).start(seed=seed) for seed in (0, 0, 1)]
    first, again, other = (run.gemm(A.T, G, "weight_gradient", 0) for run in runs)
    assert_array_equal(first, again)
    assert (first != other).any()


def test_history_and_progress(tiny):
    seen = []
    result = training.fit(
        training.mlp(20, 8, 3), tiny, epochs=3, batch_size=20, progress=seen.append
    )
    assert [p.iteration for p in seen] == list(range(1, 13))  # 63 samples: 20, 20, 20, 3
    assert {p.iterations for p in seen} == {12}
    assert [p.validation_accuracy for p in seen[::4]] == [None, *result.validation_accuracy[:2]]
    for column in ("train_loss", "train_accuracy", "validation_loss", "validation_accuracy"):
        assert len(getattr(result, column)) == 3
    assert result.train_loss[2] < result.train_loss[0]


def test_no_validation_and_no_test_part():
    x, y = normal(30, 4), np.arange(30) % 3
    data = training.split(x, y, test=0, validation=0)
    result = training.fit(training.mlp(4, 4, 3), data, epochs=2)
    assert result.validation_loss == result.validation_accuracy == ()
    assert result.test_accuracy is None


def test_progress_bar(tiny, capsys):
    training.fit(training.mlp(20, 8, 3), tiny, epochs=1, progress=True)
    captured = capsys.readouterr()
    assert "100%" in captured.err
    assert captured.out == ""


@pytest.mark.parametrize("progress", [None, False])
def test_silent_without_progress(tiny, capsys, progress):
    training.fit(training.mlp(20, 8, 3), tiny, epochs=1, progress=progress)
    assert capsys.readouterr() == ("", "")


def test_missing_extras_are_named(tiny, monkeypatch):
    for module in ("rich.console", "rich.progress", "sklearn.datasets"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[data\]"'):
        training.digits()
    with pytest.raises(ImportError, match=r'pip install "fmtlib\[cli\]"'):
        training.fit(training.mlp(20, 8, 3), tiny, progress=True)


def test_predict_agrees_with_evaluate(data):
    network = training.mlp(64, 16, 10)
    result = training.fit(network, data, recipe=training.BFP(2), epochs=1)
    _, accuracy = training.evaluate(network, data.test, training.BFP(2).start())
    assert accuracy == result.test_accuracy  # nothing random in a forward pass
    labels = network.predict(data.test.x, training.BFP(2).start(), batch_size=100)
    assert (labels == data.test.y).mean() == accuracy
    assert_array_equal(network.predict(data.test.x), network.logits(data.test.x).argmax(axis=1))


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_mlp_learns(recipe, data):
    network = training.mlp(64, (128, 128), 10, seed=0)
    result = training.fit(network, data, recipe=recipe, epochs=3)
    assert result.test_accuracy > 0.88
    assert result.validation_accuracy[-1] > 0.85
    assert result.train_loss[-1] < 0.4


@pytest.mark.parametrize("recipe", [training.Float32(), training.FAST()], ids=name)
def test_cnn_learns(recipe, data):
    result = training.fit(training.cnn(seed=0), data, recipe=recipe, epochs=2)
    assert result.test_accuracy > 0.85


def test_two_bits_truncated_throughout_learn_worse(data):
    accuracies = [
        training.fit(training.mlp(64, (128, 128), 10), data, recipe=recipe, epochs=4).test_accuracy
        for recipe in (training.FAST(), training.BFP(2, **TRUNCATED))
    ]
    assert accuracies[0] > accuracies[1] + 0.01


# --- optimizers --------------------------------------------------------------------------------


def test_sgd_against_the_formula():
    weight, bias = (training.Parameter(normal(*shape)) for shape in ((3, 2), (3,)))
    optimizer = training.SGD([weight, bias], momentum=0.5, weight_decay=0.1)
    for parameter, decay in ((weight, 0.1), (bias, 0.0)):
        parameter.gradient = np.ones_like(parameter.value)
        parameter.expected = parameter.value.astype(np.float64)
        parameter.velocity = np.zeros_like(parameter.expected)
        parameter.decay = decay
    for _ in range(3):
        optimizer.step(0.25)
        for p in (weight, bias):
            p.velocity = 0.5 * p.velocity + 1 + p.decay * p.expected
            p.expected -= 0.25 * p.velocity
            assert_allclose(p.value, p.expected, rtol=1e-5, atol=1e-6)


def test_cosine():
    rates = [training.cosine(0.2, step, 10) for step in range(11)]
    assert rates[0] == 0.2
    assert rates[5] == pytest.approx(0.1)
    assert rates[10] == 0
    assert rates == sorted(rates, reverse=True)


# --- data --------------------------------------------------------------------------------------


def test_digits(data):
    parts = (data.train, data.validation, data.test)
    assert sum(map(len, parts)) == 1797
    for part in parts:
        assert part.x.shape == (len(part), 1, 8, 8)
        assert part.x.dtype == np.float32
        assert part.y.dtype == np.int64
        assert part.x.min() == 0
        assert part.x.max() == 1
        assert_array_equal(part.x * 16, np.round(part.x * 16))


def test_split_is_stratified_disjoint_and_complete():
    y = np.repeat(np.arange(4), [40, 80, 7, 120])
    x = np.arange(len(y))[:, None]
    data = training.split(x, y, seed=3, test=0.25, validation=0.1)
    parts = (data.test, data.validation, data.train)
    assert [np.bincount(part.y, minlength=4).tolist() for part in parts] == [
        [10, 20, 2, 30],
        [3, 6, 0, 9],  # of the rest: a tenth, ties to even
        [27, 54, 5, 81],
    ]
    rows = np.concatenate([part.x[:, 0] for part in parts])
    assert_array_equal(np.sort(rows), x[:, 0])
    for part in parts:
        assert_array_equal(part.y, y[part.x[:, 0].astype(int)])


def test_split_depends_on_the_seed_alone():
    x, y = np.arange(60)[:, None], np.arange(60) % 3
    splits = [training.split(x, y, seed=seed) for seed in (0, 0, 1)]
    assert_array_equal(splits[0].test.x, splits[1].test.x)
    assert_array_equal(splits[0].train.x, splits[1].train.x)
    assert (splits[0].test.x != splits[2].test.x).any()


# --- arguments ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        ({"network": training.ReLU()}, TypeError, "network must be a Network"),
        ({"data": (1, 2)}, TypeError, "data must be a Dataset"),
        ({"recipe": training.FAST}, TypeError, "recipe must be a Recipe, .*calling it"),
        ({"recipe": "fast"}, TypeError, r"must be a Recipe, .*parse_recipe\('fast'\)"),
        ({"epochs": 0}, ValueError, "epochs must be at least 1"),
        ({"epochs": 1.5}, TypeError, "epochs must be an integer"),
        ({"batch_size": -1}, ValueError, "batch_size must be at least 1"),
        ({"batch_size": True}, TypeError, "batch_size must be an integer"),
        ({"learning_rate": 0.0}, ValueError, "learning_rate must be positive"),
        ({"learning_rate": math.nan}, ValueError, "learning_rate must be positive"),
        ({"momentum": 1.0}, ValueError, "momentum must be"),
        ({"weight_decay": -0.1}, ValueError, "weight_decay must be"),
        ({"seed": -1}, ValueError, "seed must be from 0"),
        ({"seed": 2**64}, ValueError, "seed must be from 0"),
        ({"progress": 3}, TypeError, "progress must be"),
    ],
)
def test_fit_arguments(tiny, changed, error, message):
    arguments = {"network": training.mlp(20, 4, 3), "data": tiny, "epochs": 1} | changed
    with pytest.raises(error, match=message):
        training.fit(arguments.pop("network"), arguments.pop("data"), **arguments)


def test_fit_needs_training_samples(tiny):
    empty = training.Part(np.zeros((0, 20), np.float32), np.zeros(0, np.int64))
    with pytest.raises(ValueError, match="training part"):
        training.fit(training.mlp(20, 4, 3), dataclasses.replace(tiny, train=empty))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: training.BFP(9), ValueError, "mantissa_bits must be from 1 to 8"),
        (lambda: training.BFP(4.0), TypeError, "mantissa_bits must be an integer"),
        (lambda: training.BFP(group_size=0), ValueError, "block_size"),
        (lambda: training.BFP(exponent_bits=9), ValueError, "exponent_bits"),
        (lambda: training.BFP(carry="wrap"), ValueError, "carry"),
        (lambda: training.BFP(random_bits=0), ValueError, "random_bits must be from 1 to 32"),
        (lambda: training.BFP(random_bits=8.0), TypeError, "random_bits must be an integer"),
        (
            lambda: training.BFP(weight_rounding="nearest"),
            ValueError,
            "weight_rounding must be one",
        ),
        (lambda: training.FAST(low=4, high=2), ValueError, "low must be less than high"),
        (lambda: training.FAST(alpha=math.nan), ValueError, "alpha must be finite"),
        (lambda: training.SwitchAt(1.5), ValueError, "fraction must be from 0 to 1"),
        (lambda: training.SwitchAt(math.nan), ValueError, "fraction must be from 0 to 1"),
        (lambda: training.FP8(weight_format="e4m4"), ValueError, "e4m4"),
        (lambda: training.FP8(weight_format="int8"), ValueError, "weight_format must be a float"),
        (lambda: training.Linear(0, 3, generator()), ValueError, "inputs must be at least 1"),
        (lambda: training.Conv2d(1, 1, 3, generator(), stride=0), ValueError, "stride must be"),
        (lambda: training.Conv2d(1, 1, 3, generator(), padding=-1), ValueError, "padding must be"),
        (lambda: training.MaxPool2d(1.5), TypeError, "size must be an integer"),
        (lambda: training.Network([]), ValueError, "at least one layer with weights"),
        (lambda: training.Network([training.Linear]), TypeError, "made of Layer objects"),
        (lambda: training.cnn(image=(1, 7, 8)), ValueError, "even height and width"),
        (lambda: training.cnn(channels=(4,)), ValueError, "channels must be of two convolutions"),
        (lambda: training.FAST(alpha="x"), TypeError, "alpha must be a number, got 'x'"),
        (lambda: training.split(A, A), TypeError, "y must be integers"),
        (lambda: training.split(A, np.arange(19), test=1.0), ValueError, "test must be"),
        (lambda: training.Part(A, np.arange(3)), ValueError, "one entry per sample"),
    ],
)
def test_constructor_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


def test_layers_refuse_shapes_that_do_not_fit():
    run = training.Float32().start()
    with pytest.raises(ValueError, match="do not tile"):
        training.MaxPool2d(2).forward(np.zeros((1, 1, 3, 4), np.float32), run)
    layer = training.Linear(2, 2, generator())
    with pytest.raises(ValueError, match="cannot appear twice"):
        training.Network([layer, layer])


def test_recipes_are_values():
    assert training.FAST() == training.FAST()
    assert hash(training.BFP(4)) == hash(training.BFP(4)) != hash(training.BFP(2))
    with pytest.raises(dataclasses.FrozenInstanceError):
        training.FAST().alpha = 1.0


class Returning(training.Recipe):
    def __init__(self, made):
        self.made = made

    def product(self, a, b, left, right):
        return self.made(a @ b)


@pytest.mark.parametrize(
    ("made", "error", "message"),
    [
        (lambda ab: ab, TypeError, "Returning.product must return the product and its passes"),
        (lambda ab: (ab.T, None), ValueError, r"shape \(2, 3\), got \(3, 2\)"),
    ],
)
def test_what_a_recipe_returns_is_checked(made, error, message):
    with pytest.raises(error, match=message):
        Returning(made).start().gemm(
            np.ones((2, 4), np.float32), np.ones((4, 3), np.float32), "forward", 0
        )


def test_labels_beyond_the_classes():
    with pytest.raises(ValueError, match="labels must be from 0 to 2, as there are 3 logits, got"):
        training.softmax_cross_entropy(np.zeros((2, 3), np.float32), np.array([0, 3]))


def test_reprs_are_short():
    data = training.split(np.zeros((20, 3), np.float32), np.arange(20) % 2, validation=0)
    assert repr(data).startswith("Dataset(train=Part(x=float32 (16, 3), y=int64 (16,)), valid")
    assert repr(training.mlp(3, 2, 2)) == "Network(Flatten, Linear, ReLU, Linear)"
