"""Layers, losses and optimisers against torch's, forward and backward.

    pytest -m peers

Both compute in float64, so that the order of sums says little.
"""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from fmtlib import training

pytestmark = pytest.mark.peers

TOLERANCE = {"rtol": 1e-9, "atol": 1e-11}


@pytest.fixture(scope="module")
def torch():
    return pytest.importorskip("torch")


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def generator(seed=1):
    return np.random.default_rng(seed)


def to_float64(layer):
    for _, part in layer.walk():
        for parameter in part.parameters.values():
            parameter.value = parameter.value.astype(np.float64)


def run_for(layer):
    index = 0
    for _, part in layer.walk():
        part.index = index
        index += part.products
    return training.Float32().start(max(1, index))


def check(torch, ours, theirs, x, pairs, call=None, run=None):
    """Outputs, gradients of the input, and of pairs of our parameters and their tensors.

    `theirs` is in float64; its tensors take our values first.
    """
    to_float64(ours)
    run = run_for(ours) if run is None else run
    wanted = {}
    with torch.no_grad():
        for parameter, (tensor, rows) in pairs.items():
            value = parameter.value
            target = tensor if rows is None else tensor[rows]
            target.copy_(torch.from_numpy(value.reshape(tuple(target.shape))))
            wanted[parameter] = (tensor, rows)
    t = torch.from_numpy(x.copy())
    if x.dtype.kind == "f":
        t.requires_grad_(True)
    out = ours.forward(x, run)
    expected = (call or theirs)(t)
    assert_allclose(out, expected.detach().numpy(), **TOLERANCE)
    weights = normal(*out.shape, seed=3)
    expected.backward(torch.from_numpy(weights))
    if x.dtype.kind == "f":
        assert_allclose(ours.backward(weights, run), t.grad.numpy(), **TOLERANCE)
    else:
        ours.backward_weight(weights, run)
    for parameter, (tensor, rows) in wanted.items():
        gradient = tensor.grad if rows is None else tensor.grad[rows]
        assert_allclose(
            parameter.gradient, gradient.numpy().reshape(parameter.value.shape), **TOLERANCE
        )


def both(ours, theirs):
    """Weight and bias of both."""
    pairs = {ours.weight: (theirs.weight, None)}
    if ours.bias is not None:
        pairs[ours.bias] = (theirs.bias, None)
    return pairs


@pytest.mark.parametrize("case", range(25))
def test_convolutions(torch, case):
    rng = np.random.default_rng(case)
    groups = int(rng.integers(1, 4))
    inputs, outputs = (groups * int(rng.integers(1, 4)) for _ in range(2))
    size, stride = (tuple(int(v) for v in rng.integers(1, 4, 2)) for _ in range(2))
    padding = tuple(int(v) for v in rng.integers(0, 3, 2))
    shape = (int(rng.integers(1, 4)), inputs, *(int(v) for v in rng.integers(3, 9, 2)))
    bias = bool(rng.integers(2))
    ours = training.Conv2d(
        inputs, outputs, size, generator(),
        stride=stride, padding=padding, groups=groups, bias=bias,
    )  # fmt: skip
    theirs = torch.nn.Conv2d(
        inputs, outputs, size, stride, padding, groups=groups, bias=bias, dtype=torch.float64
    )
    check(torch, ours, theirs, normal(*shape, seed=case), both(ours, theirs))


@pytest.mark.parametrize("case", range(15))
@pytest.mark.parametrize("kind", ["MaxPool2d", "AveragePool2d"])
def test_pools(torch, kind, case):
    rng = np.random.default_rng(case)
    size = tuple(int(v) for v in rng.integers(1, 4, 2))
    stride = tuple(int(v) for v in rng.integers(1, 4, 2))
    padding = tuple(int(rng.integers(0, s // 2 + 1)) for s in size)
    ours = getattr(training, kind)(size, stride=stride, padding=padding)
    theirs = {"MaxPool2d": torch.nn.MaxPool2d, "AveragePool2d": torch.nn.AvgPool2d}[kind](
        size, stride, padding
    )
    x = normal(2, 3, *(int(v) for v in rng.integers(3, 9, 2)), seed=case)
    check(torch, ours, theirs, x, {})


def test_ties_of_max_pools(torch):
    x = generator().integers(0, 2, (2, 2, 6, 6)).astype(np.float64)
    check(torch, training.MaxPool2d(2), torch.nn.MaxPool2d(2), x, {})
    check(torch, training.MaxPool2d(3, stride=1), torch.nn.MaxPool2d(3, 1), x, {})


def test_activations(torch):
    x = 3 * normal(5, 7)
    nn = torch.nn
    for ours, theirs in (
        (training.ReLU(), nn.ReLU()),
        (training.GELU(), nn.GELU(approximate="tanh")),
        (training.Tanh(), nn.Tanh()),
        (training.Sigmoid(), nn.Sigmoid()),
    ):
        check(torch, ours, theirs, x, {})
    check(torch, training.GlobalAveragePool(), lambda t: t.mean(dim=(2, 3)), normal(2, 3, 4, 5), {})


@pytest.mark.parametrize("shape", [(6, 4), (2, 3, 4)])
def test_linear(torch, shape):
    ours, theirs = training.Linear(4, 5, generator()), torch.nn.Linear(4, 5, dtype=torch.float64)
    check(torch, ours, theirs, normal(*shape), both(ours, theirs))


@pytest.mark.parametrize("shape", [(6, 4), (2, 4, 3, 5)])
def test_batch_norm(torch, shape):
    kind = torch.nn.BatchNorm1d if len(shape) == 2 else torch.nn.BatchNorm2d
    ours, theirs = training.BatchNorm(4), kind(4, dtype=torch.float64)
    ours.running_mean, ours.running_variance = np.zeros(4), np.ones(4)
    for step in range(3):
        theirs.zero_grad()
        check(torch, ours, theirs, normal(*shape, seed=step), both(ours, theirs))
        assert_allclose(ours.running_mean, theirs.running_mean.numpy(), **TOLERANCE)
        assert_allclose(ours.running_variance, theirs.running_var.numpy(), **TOLERANCE)
    theirs.zero_grad()
    theirs.eval()
    run = run_for(ours).evaluation()
    check(torch, ours, theirs, normal(*shape, seed=9), both(ours, theirs), run=run)


def test_layer_norm(torch):
    ours, theirs = training.LayerNorm(6), torch.nn.LayerNorm(6, dtype=torch.float64)
    check(torch, ours, theirs, normal(2, 5, 6), both(ours, theirs))


def test_embedding(torch):
    ours = training.Embedding(9, 4, generator())
    theirs = torch.nn.Embedding(9, 4, dtype=torch.float64)
    x = generator().integers(0, 9, (3, 7))
    check(torch, ours, theirs, x, {ours.weight: (theirs.weight, None)})


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("length", [1, 6])
def test_recurrent_layers(torch, kind, length):
    ours = getattr(training, kind)(3, 5, generator())
    theirs = getattr(torch.nn, kind)(3, 5, batch_first=True, dtype=torch.float64)
    pairs = {
        ours.input.weight: (theirs.weight_ih_l0, None),
        ours.input.bias: (theirs.bias_ih_l0, None),
        ours.hidden.weight: (theirs.weight_hh_l0, None),
        ours.hidden.bias: (theirs.bias_hh_l0, None),
    }
    ours.hidden.bias.value = normal(*ours.hidden.bias.value.shape)
    check(torch, ours, theirs, normal(4, length, 3), pairs, call=lambda t: theirs(t)[0])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("heads", [1, 2, 4])
def test_attention(torch, heads, causal):
    ours = training.MultiHeadAttention(8, heads, generator(), causal=causal)
    theirs = torch.nn.MultiheadAttention(8, heads, batch_first=True, dtype=torch.float64)
    pairs = {}
    for place, layer in enumerate((ours.query, ours.key, ours.value)):
        rows = slice(8 * place, 8 * place + 8)
        pairs[layer.weight] = (theirs.in_proj_weight, rows)
        pairs[layer.bias] = (theirs.in_proj_bias, rows)
        layer.bias.value = normal(8, seed=place)
    pairs |= both(ours.out, theirs.out_proj)
    mask = torch.triu(torch.ones(5, 5, dtype=torch.bool), 1) if causal else None

    def call(t):
        return theirs(t, t, t, attn_mask=mask, need_weights=False)[0]

    check(torch, ours, theirs, normal(3, 5, 8), pairs, call=call)


def test_losses(torch):
    functional = torch.nn.functional
    logits, labels = 4 * normal(3, 5, 6), generator().integers(0, 6, (3, 5))
    t = torch.from_numpy(logits).requires_grad_(True)
    expected = functional.cross_entropy(t.reshape(-1, 6), torch.from_numpy(labels).reshape(-1))
    expected.backward()
    loss, gradient = training.softmax_cross_entropy(logits, labels)
    assert_allclose(loss, expected.item(), **TOLERANCE)
    assert_allclose(gradient, t.grad.numpy(), **TOLERANCE)
    outputs, targets = normal(3, 5), normal(3, 5, seed=1)
    t = torch.from_numpy(outputs).requires_grad_(True)
    expected = functional.mse_loss(t, torch.from_numpy(targets))
    expected.backward()
    loss, gradient = training.mean_squared_error(outputs, targets)
    assert_allclose(loss, expected.item(), **TOLERANCE)
    assert_allclose(gradient, t.grad.numpy(), **TOLERANCE)


@pytest.mark.parametrize(
    ("make", "name", "options"),
    [
        (lambda p: training.SGD(p, 0.9, 0.01), "SGD", {"momentum": 0.9, "weight_decay": 0.01}),
        (lambda p: training.SGD(p, 0.0), "SGD", {}),
        (training.Adam, "Adam", {}),
        (
            lambda p: training.Adam(p, (0.8, 0.95), 1e-3, 0.1),
            "Adam",
            {"betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        ),
        (
            lambda p: training.AdamW(p, weight_decay=0.1),
            "AdamW",
            {"weight_decay": 0.1},
        ),
    ],
)
def test_optimizers(torch, make, name, options):
    weight, bias = training.Parameter(normal(3, 4)), training.Parameter(normal(3))
    tensors = [torch.from_numpy(p.value.copy()).requires_grad_(True) for p in (weight, bias)]
    ours = make([weight, bias])
    plain = {**options, "weight_decay": 0.0}  # that of biases
    theirs = getattr(torch.optim, name)(
        [{"params": tensors[:1]}, {"params": tensors[1:], **plain}], lr=0.1, **options
    )
    for step in range(20):
        for place, (parameter, tensor) in enumerate(zip((weight, bias), tensors, strict=True)):
            parameter.gradient = normal(*parameter.value.shape, seed=2 * step + place)
            tensor.grad = torch.from_numpy(parameter.gradient.copy())
        rate = 0.1 / (1 + step)
        for group in theirs.param_groups:
            group["lr"] = rate
        ours.step(rate)
        theirs.step()
        for parameter, tensor in zip((weight, bias), tensors, strict=True):
            assert_allclose(parameter.value, tensor.detach().numpy(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("max_norm", [0.5, 100.0])
def test_clipping(torch, max_norm):
    parameters = [training.Parameter(normal(3, 4)), training.Parameter(normal(5))]
    tensors = []
    for place, parameter in enumerate(parameters):
        parameter.gradient = normal(*parameter.value.shape, seed=place)
        tensor = torch.from_numpy(parameter.value.copy()).requires_grad_(True)
        tensor.grad = torch.from_numpy(parameter.gradient.copy())
        tensors.append(tensor)
    expected = torch.nn.utils.clip_grad_norm_(tensors, max_norm)
    assert_allclose(training.clip_gradients(parameters, max_norm), expected.item())
    for parameter, tensor in zip(parameters, tensors, strict=True):
        # torch adds 1e-6 to the norm
        assert_allclose(parameter.gradient, tensor.grad.numpy(), rtol=1e-5)


def test_networks_train_alike(torch):
    """Ten steps of the same CNN with the same weights."""
    network = training.cnn((1, 8, 8), (4, 6), 10)
    nn = torch.nn
    model = nn.Sequential(
        nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(96, 10),
    )  # fmt: skip
    with torch.no_grad():
        for tensor, parameter in zip(model.parameters(), network.parameters, strict=True):
            tensor.copy_(torch.from_numpy(parameter.value))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    ours = training.SGD(network.parameters)
    run = training.Float32().start(network.products)
    data = training.digits()
    for step in range(10):
        x, y = (a[32 * step : 32 * step + 32] for a in (data.train.x, data.train.y))
        optimizer.zero_grad()
        expected = nn.functional.cross_entropy(model(torch.from_numpy(x)), torch.from_numpy(y))
        expected.backward()
        optimizer.step()
        loss, gradient = training.softmax_cross_entropy(network.forward(x, run), y)
        network.backward(gradient, run)
        ours.step(0.05)
        run.advance()
        assert_allclose(loss, expected.item(), rtol=1e-4)
    for tensor, parameter in zip(model.parameters(), network.parameters, strict=True):
        assert_allclose(parameter.value, tensor.detach().numpy(), atol=1e-4)
