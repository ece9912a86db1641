"""Layers: gradients against central differences in float64, shapes, counts, what they refuse."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from fmtlib import training


def normal(*shape, seed=0, dtype=np.float64):
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def generator(seed=1):
    return np.random.default_rng(seed)


def to_float64(layer, seed=5):
    """Parameters in float64, none of them at a special value."""
    for number, (_, part) in enumerate(layer.walk()):
        for parameter in part.parameters.values():
            noise = normal(*parameter.value.shape, seed=seed + number)
            parameter.value = parameter.value.astype(np.float64) + 0.1 * noise


def run_for(layer, **options):
    """A run in which the layer's products have indices as in a network."""
    index = 0
    for _, part in layer.walk():
        part.index = index
        index += part.products
    return training.Float32().start(max(1, index), **options)


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


def assert_near(gradient, expected):
    """Relative error below 1e-6, of the whole; gradients that are 0 have an absolute one."""
    error = np.linalg.norm(gradient - expected)
    assert error <= 1e-6 * np.linalg.norm(expected) + 1e-8


def check_gradients(layer, x, run=None):
    to_float64(layer)
    run = run_for(layer) if run is None else run
    out = layer.forward(x, run)
    wanted = normal(*out.shape, seed=1000)

    def loss():
        return float((wanted * layer.forward(x, run)).sum())

    if x.dtype.kind == "f":
        gradient = layer.backward(wanted, run)
        assert gradient.shape == x.shape
        assert gradient.dtype == np.float64
        assert_near(gradient, differences(loss, x))
    else:
        layer.backward_weight(wanted, run)
    for _, part in layer.walk():
        for parameter in part.parameters.values():
            assert parameter.gradient.dtype == np.float64
            assert_near(parameter.gradient, differences(loss, parameter.value))
    gradients = [p.gradient for _, part in layer.walk() for p in part.parameters.values()]
    layer.forward(x, run)
    layer.backward_weight(wanted, run)
    again = [p.gradient for _, part in layer.walk() for p in part.parameters.values()]
    for one, other in zip(gradients, again, strict=True):
        assert_allclose(one, other, rtol=1e-12)


# --- gradients ---------------------------------------------------------------------------------

small = st.integers(1, 3)


@st.composite
def convolutions(draw):
    """Layers and shapes of images: any groups, strides, padding; pixels may be left over."""
    groups = draw(small)
    size = draw(small), draw(small)
    stride = draw(small), draw(small)
    padding = draw(st.integers(0, 2)), draw(st.integers(0, 2))
    height, width = (
        draw(st.integers(max(1, s - 2 * p), max(1, s - 2 * p) + 3))
        for s, p in zip(size, padding, strict=True)
    )
    layer = training.Conv2d(
        groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)),
        size,
        generator(),
        stride=stride,
        padding=padding,
        groups=groups,
        bias=draw(st.booleans()),
    )
    channels = groups * layer.weight.value.shape[1]
    return layer, (draw(small), channels, height, width)


@given(convolutions())
def test_gradients_of_convolutions(case):
    layer, shape = case
    check_gradients(layer, normal(*shape))


@given(convolutions())
def test_convolutions_against_their_definition(case):
    layer, (images, channels, height, width) = case
    to_float64(layer)
    x = normal(images, channels, height, width)
    (down, across), (top, left) = layer.strides, layer.paddings
    padded = np.pad(x, ((0, 0), (0, 0), (top, top), (left, left)))
    weight, bias = layer.weight.value, layer.bias
    outputs, of_group, rows, columns = weight.shape
    out = layer.forward(x, run_for(layer))
    assert out.shape == (
        images,
        outputs,
        (height + 2 * top - rows) // down + 1,
        (width + 2 * left - columns) // across + 1,
    )
    for n, k, i, j in np.ndindex(out.shape):
        group = k // (outputs // layer.groups)
        window = padded[
            n,
            group * of_group : (group + 1) * of_group,
            down * i : down * i + rows,
            across * j : across * j + columns,
        ]
        expected = (window * weight[k]).sum() + (0 if bias is None else bias.value[k])
        assert_allclose(out[n, k, i, j], expected, atol=1e-12)


@st.composite
def pools(draw):
    kind = draw(st.sampled_from([training.MaxPool2d, training.AveragePool2d]))
    size = draw(small), draw(small)
    padding = tuple(draw(st.integers(0, s // 2)) for s in size)
    tiled = draw(st.booleans())
    stride = None if tiled else (draw(small), draw(small))
    height, width = (
        draw(small) * s - 2 * p if tiled else s + draw(st.integers(0, 4))
        for s, p in zip(size, padding, strict=True)
    )
    layer = kind(size, stride=stride, padding=padding)
    return layer, (draw(small), draw(small), max(1, height), max(1, width))


@given(pools())
def test_gradients_of_pools(case):
    layer, shape = case
    (height, width), (p, q), (s, t) = shape[2:], layer._padding, layer._size
    if layer.stride is None and ((height + 2 * p) % s or (width + 2 * q) % t):
        with pytest.raises(ValueError, match="do not tile"):
            layer.forward(normal(*shape), run_for(layer))
        return
    check_gradients(layer, normal(*shape))
    # and in the other order of memory
    check_gradients(layer, normal(*shape[:1], *shape[2:], shape[1]).transpose(0, 3, 1, 2))


LAYERS = {
    "linear": (lambda: training.Linear(5, 3, generator()), (4, 5)),
    "linear of sequences": (lambda: training.Linear(5, 3, generator()), (2, 3, 5)),
    "linear without bias": (lambda: training.Linear(5, 3, generator(), bias=False), (4, 5)),
    "relu": (training.ReLU, (4, 5)),
    "gelu": (training.GELU, (4, 5)),
    "tanh": (training.Tanh, (4, 5)),
    "sigmoid": (training.Sigmoid, (4, 5)),
    "flatten": (training.Flatten, (2, 3, 2, 2)),
    "batch norm": (lambda: training.BatchNorm(3), (7, 3)),
    "batch norm of images": (lambda: training.BatchNorm(3), (2, 3, 4, 3)),
    "layer norm": (lambda: training.LayerNorm(6), (4, 6)),
    "layer norm of sequences": (lambda: training.LayerNorm(6), (2, 3, 6)),
    "global pool": (training.GlobalAveragePool, (2, 3, 4, 5)),
    "dropout": (lambda: training.Dropout(0.4), (5, 7)),
    "position": (lambda: training.PositionEmbedding(6, 4, generator()), (3, 5, 4)),
    "lstm": (lambda: training.LSTM(3, 4, generator()), (2, 5, 3)),
    "lstm of one place": (lambda: training.LSTM(3, 2, generator()), (2, 1, 3)),
    "gru": (lambda: training.GRU(3, 4, generator()), (2, 5, 3)),
    "gru of one place": (lambda: training.GRU(3, 2, generator()), (2, 1, 3)),
    "attention": (lambda: training.MultiHeadAttention(6, 2, generator()), (2, 4, 6)),
    "causal attention": (
        lambda: training.MultiHeadAttention(6, 3, generator(), causal=True), (2, 5, 6),
    ),
    "residual": (
        lambda: training.Residual([training.Linear(4, 4, generator()), training.Tanh()]), (3, 4),
    ),
    "residual with shortcut": (
        lambda: training.Residual(
            [training.Linear(4, 3, generator()), training.Tanh()],
            [training.Linear(4, 3, generator(2))],
        ),
        (3, 4),
    ),
    "sequential": (
        lambda: training.Sequential(
            [training.Tanh(), training.Linear(4, 3, generator()), training.BatchNorm(3)]
        ),
        (5, 4),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("seed", [0, 1])
def test_gradients(name, seed):
    make, shape = LAYERS[name]
    check_gradients(make(), normal(*shape, seed=seed))


@given(st.data())
def test_gradients_of_layers_for_sequences(data):
    """Any lengths, widths and numbers of heads."""
    kind = data.draw(st.sampled_from(["LSTM", "GRU", "attention", "LayerNorm", "BatchNorm"]))
    images, length, width = data.draw(small), data.draw(st.integers(1, 4)), data.draw(small)
    shape = images, length, width
    if kind == "attention":
        heads = data.draw(st.integers(1, 2))
        shape = images, length, heads * width
        causal = data.draw(st.booleans())
        layer = training.MultiHeadAttention(shape[2], heads, generator(), causal=causal)
    elif kind == "LayerNorm":
        shape = images, length, width + 2  # of two values, one is 1 and one is -1
        layer = training.LayerNorm(width + 2)
    elif kind == "BatchNorm":
        shape = images, width, length + 3
        layer = training.BatchNorm(width)
    else:
        layer = getattr(training, kind)(width, data.draw(small), generator())
    check_gradients(layer, normal(*shape, seed=data.draw(st.integers(0, 99))))


def test_gradients_of_an_embedding():
    layer = training.Embedding(7, 3, generator())
    check_gradients(layer, np.array([[1, 5, 1, 0], [6, 1, 5, 5]]))
    with pytest.raises(TypeError, match="must be the first layer"):
        layer.backward(normal(2, 4, 3), run_for(layer))


def test_gradients_of_batch_norm_in_evaluation():
    layer = training.BatchNorm(3)
    run = run_for(layer)
    layer.forward(normal(9, 3, seed=4, dtype=np.float32), run)
    check_gradients(layer, normal(4, 3), run.evaluation())


@pytest.mark.parametrize(
    ("network", "x"),
    [
        (training.resnet((2, 5, 6), (3, 4), 1, 3), normal(3, 2, 5, 6)),
        (training.recurrent(6, 3, 2, width=4), generator().integers(0, 6, (3, 4))),
        (training.recurrent(6, 3, kind="gru", dropout=0.3), generator().integers(0, 6, (3, 4))),
        (training.transformer(6, 5, 4, 2, 2, dropout=0.2), generator().integers(0, 6, (3, 4))),
    ],
    ids=["resnet", "lstm", "gru", "transformer"],
)
def test_gradients_of_networks(network, x):
    to_float64(network._all)
    run = training.Float32().start(network.products)
    labels = generator().integers(0, 3, network.forward(x, run).shape[:-1])

    def loss():
        return training.softmax_cross_entropy(network.forward(x, run), labels)[0]

    _, gradient = training.softmax_cross_entropy(network.forward(x, run), labels)
    network.backward(gradient, run)
    for parameter in network.parameters:
        values = parameter.value.reshape(-1)
        some = generator().permutation(values.size)[:12]
        assert parameter.value.flags["C_CONTIGUOUS"]
        for place in some:
            expected = differences(loss, values[place : place + 1])[0]
            assert_allclose(parameter.gradient.reshape(-1)[place], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("shape", [(5, 4), (2, 3, 4)])
def test_gradient_of_cross_entropy(shape):
    logits, labels = 3 * normal(*shape), generator().integers(0, 4, shape[:-1])
    loss, gradient = training.softmax_cross_entropy(logits, labels)
    probabilities = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    chosen = np.take_along_axis(probabilities, labels[..., None], axis=-1)
    assert_allclose(loss, -np.log(chosen).mean())
    assert_near(
        gradient, differences(lambda: training.softmax_cross_entropy(logits, labels)[0], logits)
    )


def test_gradient_of_squared_error():
    outputs, targets = normal(4, 3), normal(4, 3, seed=1)
    loss, gradient = training.mean_squared_error(outputs, targets)
    assert_allclose(loss, ((outputs - targets) ** 2).mean())
    assert_near(
        gradient, differences(lambda: training.mean_squared_error(outputs, targets)[0], outputs)
    )


# --- what the layers do ------------------------------------------------------------------------


@pytest.mark.parametrize("name", LAYERS)
def test_float32_stays_float32(name):
    make, shape = LAYERS[name]
    layer = make()
    run = run_for(layer)
    out = layer.forward(normal(*shape, dtype=np.float32), run)
    gradient = layer.backward(np.ones_like(out), run)
    assert out.dtype == gradient.dtype == np.float32
    for _, part in layer.walk():
        for parameter in part.parameters.values():
            assert parameter.gradient.dtype == np.float32
            assert parameter.gradient.shape == parameter.value.shape


@pytest.mark.parametrize("name", LAYERS)
def test_inputs_and_gradients_are_left_alone(name):
    make, shape = LAYERS[name]
    layer = make()
    run = run_for(layer)
    x = normal(*shape, dtype=np.float32)
    before = x.copy()
    out = layer.forward(x, run)
    gradient = normal(*out.shape, seed=1, dtype=np.float32)
    gradient_before = gradient.copy()
    layer.backward(gradient, run)
    assert_array_equal(x, before)
    assert_array_equal(gradient, gradient_before)


def test_gelu_is_near_the_normal_distribution():
    special = pytest.importorskip("scipy.special")
    x = np.linspace(-6, 6, 2001)
    out = training.GELU().forward(x, training.Float32().start())
    assert np.abs(out - x * special.ndtr(x)).max() < 5e-4


def test_sigmoid_does_not_overflow():
    x = np.float32([-1e4, -20, 0, 20, 1e4])
    out = training.Sigmoid().forward(x, training.Float32().start())
    assert_allclose(out, [0, np.exp(-20), 0.5, 1, 1], atol=1e-7)


def test_batch_norm_statistics():
    layer = training.BatchNorm(2, momentum=0.25)
    run = run_for(layer)
    mean, variance = np.zeros(2), np.ones(2)
    for step in range(3):
        x = normal(6, 2, 3, 3, seed=step, dtype=np.float32) * 3 + 1
        out = layer.forward(x, run)
        assert_allclose(out.mean(axis=(0, 2, 3)), 0, atol=1e-6)
        assert_allclose(out.var(axis=(0, 2, 3)), 1, atol=1e-4)
        mean = 0.75 * mean + 0.25 * x.mean(axis=(0, 2, 3))
        variance = 0.75 * variance + 0.25 * x.var(axis=(0, 2, 3), ddof=1)
        assert_allclose(layer.running_mean, mean, rtol=1e-5)
        assert_allclose(layer.running_variance, variance, rtol=1e-5)
    before = layer.running_mean.copy()
    out = layer.forward(x, run.evaluation())
    expected = (x - mean[:, None, None]) / np.sqrt(variance[:, None, None] + 1e-5)
    assert_allclose(out, expected, rtol=1e-4, atol=1e-5)
    assert_array_equal(layer.running_mean, before)


def test_dropout_goes_by_seed_place_and_iteration():
    ones = np.ones((40, 50), np.float32)
    layer = training.Dropout(0.25)

    def mask(seed=3, iteration=0, place=0):
        run = training.Float32().start(seed=seed)
        run.iteration, layer.place = iteration, place
        return layer.forward(ones, run)

    first = mask()
    assert_array_equal(first, mask())
    assert set(np.unique(first)) == {np.float32(0), np.float32(1 / 0.75)}
    # 2000 draws: 4 standard deviations
    assert abs((first == 0).mean() - 0.25) < 4 * np.sqrt(0.25 * 0.75 / 2000)
    for other in (mask(seed=4), mask(iteration=1), mask(place=1)):
        agree = ((other == 0) == (first == 0)).mean()
        assert abs(agree - (0.25**2 + 0.75**2)) < 0.06
    # The first values do not depend on how many there are.
    run = training.Float32().start(seed=3)
    layer.place = 0
    assert_array_equal(layer.forward(ones[:7], run), first[:7])


def test_dropouts_of_a_network_have_places():
    network = training.transformer(9, 4, 4, 2, 2, dropout=0.5)
    dropouts = [layer for _, layer in network._walk if isinstance(layer, training.Dropout)]
    assert [layer.place for layer in dropouts] == [0, 1, 2, 3]


def test_max_pool_gives_nan_and_padding_never_wins():
    pool = training.MaxPool2d(2, padding=1)
    run = training.Float32().start()
    x = np.full((1, 1, 2, 2), -5, np.float32)
    assert_array_equal(pool.forward(x, run), np.full((1, 1, 2, 2), -5))
    x[0, 0, 0, 0] = np.nan
    assert np.isnan(pool.forward(x, run)[0, 0, 0, 0])


def test_causal_attention_does_not_look_ahead():
    layer = training.MultiHeadAttention(8, 2, generator(), causal=True)
    run = run_for(layer)
    x = normal(1, 6, 8, dtype=np.float32)
    out = layer.forward(x, run).copy()
    x[0, 4:] += 1
    changed = layer.forward(x, run)
    assert_array_equal(changed[0, :4], out[0, :4])
    assert (changed[0, 4:] != out[0, 4:]).all()


def test_pointwise_convolutions_make_no_patches():
    layer = training.Conv2d(3, 4, 1, generator())
    x = np.ascontiguousarray(normal(2, 5, 6, 3)).transpose(0, 3, 1, 2)
    layer.forward(x, run_for(layer))
    assert np.shares_memory(layer._patches, x)


# --- products ----------------------------------------------------------------------------------


class Recording(training.Float32):
    """Remembers the operands of all products."""

    seen: list = []  # noqa: RUF012

    def product(self, a, b, left, right):
        self.seen.append((left.layer, left.gemm, left.role, right.role, a.shape, b.shape))
        return super().product(a, b, left, right)


def products_of(layer, x):
    index = 0
    for _, part in layer.walk():
        part.index = index
        index += part.products
    run = Recording().start(index)
    Recording.seen.clear()
    layer.backward(np.ones_like(layer.forward(x, run)), run)
    return run, list(Recording.seen)


def test_products_of_attention():
    layer = training.MultiHeadAttention(6, 2, generator())
    run, seen = products_of(layer, normal(3, 5, 6, dtype=np.float32))
    forward = [place for place, gemm, *_ in seen if gemm == "forward"]
    assert forward == [0, 1, 2, 4, 5, 3]  # q, k, v, scores, context, out
    both = {(left, right) for place, _, left, right, *_ in seen if place >= 4}
    assert both == {
        ("activation", "activation"), ("activation", "gradient"), ("gradient", "activation"),
    }  # fmt: skip
    assert {(a[:2], b[:2]) for place, *_, a, b in seen if place >= 4} == {((3, 2), (3, 2))}
    projections, inside = 4 * 15 * 6 * 6, 2 * (3 * 2) * (5 * 5 * 3)
    assert run.macs == 3 * (projections + inside)


@pytest.mark.parametrize(("kind", "gates"), [(training.LSTM, 4), (training.GRU, 3)])
def test_products_of_recurrent_layers(kind, gates):
    layer = kind(3, 4, generator())
    run, seen = products_of(layer, normal(2, 5, 3, dtype=np.float32))
    of_input = [(gemm, a, b) for place, gemm, *_, a, b in seen if place == layer.input.index]
    assert of_input == [
        ("forward", (10, 3), (3, 4 * gates)),
        ("weight_gradient", (3, 10), (10, 4 * gates)),
        ("input_gradient", (10, 4 * gates), (4 * gates, 3)),
    ]
    hidden = [gemm for place, gemm, *_ in seen if place == layer.hidden.index]
    assert hidden == ["forward"] * 4 + ["weight_gradient", "input_gradient"] * 4
    assert run.macs == 3 * (10 * 3 * 4 * gates + 4 * 2 * 4 * 4 * gates)


def test_products_of_grouped_convolutions_are_stacks():
    layer = training.Conv2d(6, 4, (3, 2), generator(), groups=2)
    run, seen = products_of(layer, normal(2, 6, 5, 4, dtype=np.float32))
    pixels, taps = 2 * 3 * 3, 3 * 6
    assert [(gemm, a, b) for _, gemm, *_, a, b in seen] == [
        ("forward", (2, pixels, taps), (2, taps, 2)),
        ("weight_gradient", (2, taps, pixels), (2, pixels, 2)),
        ("input_gradient", (2, pixels, 2), (2, 2, taps)),
    ]
    assert run.macs == 3 * 2 * pixels * taps * 2


def test_the_first_layer_has_no_input_gradient():
    network = training.resnet((1, 6, 6), (4,), classes=3)
    run = Recording().start(network.products)
    Recording.seen.clear()
    out = network.forward(normal(2, 1, 6, 6, dtype=np.float32), run)
    network.backward(np.ones_like(out), run)
    gemms = [gemm for place, gemm, *_ in Recording.seen if place == 0]
    assert gemms == ["forward", "weight_gradient"]


@pytest.mark.parametrize(
    "recipe",
    [training.BFP(4), training.FP8(), training.FAST(alpha=0.1)],
    ids=lambda r: type(r).__name__,
)
@pytest.mark.parametrize("name", ["resnet", "lstm", "gru", "transformer", "depthwise"])
def test_every_network_takes_every_recipe(name, recipe):
    text = generator().integers(0, 9, (3, 6))
    images = normal(3, 2, 6, 5, dtype=np.float32)
    network, x = {
        "resnet": (training.resnet((2, 6, 5), (4, 6)), images),
        "lstm": (training.recurrent(9, 5), text),
        "gru": (training.recurrent(9, 5, kind="gru"), text),
        "transformer": (training.transformer(9, 6, 8, 2), text),
        "depthwise": (
            training.Network(
                [
                    training.Conv2d(2, 2, 3, generator(), groups=2),
                    training.GlobalAveragePool(),
                    training.Linear(2, 9, generator()),
                ]
            ),
            images,
        ),
    }[name]
    run = recipe.start(network.products, 10, seed=1)
    out = network.forward(x, run)
    _, gradient = training.softmax_cross_entropy(out, np.zeros(out.shape[:-1], int))
    network.backward(gradient, run)
    assert np.isfinite(out).all()
    exact = network.forward(x, training.Float32().start(network.products))
    assert np.corrcoef(out.ravel(), exact.ravel())[0, 1] > 0.8
    for parameter in network.parameters:
        assert np.isfinite(parameter.gradient).all()


# --- networks ----------------------------------------------------------------------------------


def test_state_of_a_network():
    network, other = (
        training.resnet((1, 6, 6), (4,), seed=0),
        training.resnet((1, 6, 6), (4,), seed=1),
    )
    run = training.Float32().start(network.products)
    x = normal(4, 1, 6, 6, dtype=np.float32)
    network.forward(x, run)  # moves the statistics
    assert (network.logits(x) != other.logits(x)).any()
    other.restore(network.state())
    assert_array_equal(network.logits(x), other.logits(x))
    assert "1.running_mean" in network.state()
    assert "3.body.0.weight" in network.state()
    state = network.state()
    for wrong, message in (
        ({k: v for k, v in state.items() if k != "0.weight"}, "the state has no 0.weight"),
        (state | {"x": np.zeros(1)}, "the network knows no x"),
        (
            state | {"0.weight": np.zeros(3)},
            r"0.weight of the network must be float32 .*got float64",
        ),
    ):
        with pytest.raises(ValueError, match=message):
            other.restore(wrong)


def test_logits_are_those_of_evaluation():
    network = training.resnet((1, 6, 6), (4,))
    x = normal(5, 1, 6, 6, dtype=np.float32)
    run = training.Float32().start(network.products)
    before = network.state()
    one_by_one = network.logits(x, run, batch_size=1)
    assert_allclose(one_by_one, network.logits(x), rtol=1e-4, atol=1e-5)
    for name, array in network.state().items():
        assert_array_equal(array, before[name])
    assert run.macs == run.iteration == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: training.Conv2d(3, 4, 3, generator(), groups=2), "groups must divide"),
        (lambda: training.Conv2d(3, 4, (3, 3, 3), generator()), "size must be an integer or two"),
        (lambda: training.Conv2d(3, 4, 3, generator(), stride=(1, 0)), "stride must be at least 1"),
        (lambda: training.MaxPool2d(2, padding=2), "padding must be at most half"),
        (lambda: training.BatchNorm(3, momentum=2), "momentum must be from 0 to 1"),
        (lambda: training.LayerNorm(3, epsilon=0), "epsilon must be positive"),
        (lambda: training.Dropout(1.0), "rate must be at least 0 and below 1"),
        (lambda: training.MultiHeadAttention(6, 4, generator()), "heads must divide"),
        (lambda: training.LSTM(3, 0, generator()), "units must be at least 1"),
        (lambda: training.recurrent(5, kind="rnn"), "kind must be one of lstm, gru"),
        (lambda: training.resnet(channels=()), "channels must name"),
    ],
)
def test_wrong_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize(
    ("layer", "x", "error", "message"),
    [
        (training.Conv2d(3, 4, 3, generator()), normal(1, 2, 5, 5), ValueError, "images must be"),
        (training.Conv2d(3, 4, 3, generator()), normal(1, 3, 2, 5), ValueError, "do not fit"),
        (training.MaxPool2d(3, stride=1), normal(1, 3, 2, 5), ValueError, "do not fit"),
        (training.BatchNorm(3), normal(4, 2), ValueError, "x must be"),
        (training.BatchNorm(3), normal(1, 3), ValueError, "more than one value"),
        (training.LayerNorm(3), normal(4, 2), ValueError, "x must be"),
        (training.Embedding(3, 2, generator()), np.array([3]), ValueError, "from 0 to 2, got 3"),
        (training.Embedding(3, 2, generator()), np.array([-1]), ValueError, "from 0 to 2, got -1"),
        (training.Embedding(3, 2, generator()), normal(2), TypeError, "takes integers"),
        (training.PositionEmbedding(3, 2, generator()), normal(1, 4, 2), ValueError, "at most 3"),
        (
            training.Residual([training.Linear(3, 2, generator())]),
            normal(2, 3), ValueError, "not to be added",
        ),
    ],
)  # fmt: skip
def test_wrong_inputs(layer, x, error, message):
    with pytest.raises(error, match=message):
        layer.forward(x, run_for(layer))


def test_wrong_labels_and_targets():
    with pytest.raises(ValueError, match="a row for each label"):
        training.softmax_cross_entropy(normal(3, 2), np.zeros((3, 1), int))
    with pytest.raises(ValueError, match="must have one shape"):
        training.mean_squared_error(normal(3, 2), normal(3))


def test_inputs_of_a_network():
    network = training.resnet((1, 6, 6), (4,))
    x = normal(3, 1, 6, 6, dtype=np.float32)
    found = network.inputs(x)
    assert [a.shape for a in found] == [(3, 1, 6, 6), (3, 4, 6, 6), (3, 4, 6, 6), (3, 4)]
    assert found[0] is x
    last = network.weighted[-1]
    assert_array_equal(found[-1] @ last.weight.value.T + last.bias.value, network.logits(x))
    words = generator().integers(0, 9, (2, 5))
    assert [a.shape for a in training.transformer(9, 5, 4, 2, 1).inputs(words)] == [
        (10, 4), (10, 4), (10, 4), (10, 4), (10, 4), (10, 16), (10, 4),
    ]  # fmt: skip
    with pytest.raises(ValueError, match="recurrent layers"):
        training.recurrent(9, 4).inputs(words)
