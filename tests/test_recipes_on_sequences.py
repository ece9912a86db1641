"""Integers, fixed point and sparse weights in recurrent networks and attention."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fmtlib import training

TEXT = training.text("she sells sea shells by the sea shore " * 60, length=16)
V = len(TEXT.vocabulary)
NETWORKS = {
    "lstm": lambda: training.recurrent(V, 24, width=16, seed=1),
    "gru": lambda: training.recurrent(V, 24, width=16, kind="gru", seed=1),
    "transformer": lambda: training.transformer(V, 16, width=16, heads=2, depth=1, seed=1),
}


def fit(network, recipe, epochs, rate=0.02):
    return training.fit(
        network, TEXT, recipe=recipe, epochs=epochs, batch_size=16, learning_rate=rate,
        optimizer=training.Adam(network.parameters), clip_norm=1.0,
    )  # fmt: skip


@pytest.fixture(scope="module", params=NETWORKS)
def trained(request):
    """How to make a network, what it learnt in float32, and how well."""
    network = NETWORKS[request.param]()
    result = fit(network, training.Float32(), 8)
    assert result.test_accuracy > 0.8
    return NETWORKS[request.param], network.state(), result.test_accuracy


def gradients(network, recipe):
    run = recipe.start(network.products)
    outputs = network.forward(TEXT.train.x[:8], run)
    network.backward(training.softmax_cross_entropy(outputs, TEXT.train.y[:8])[1], run)
    return [parameter.gradient for parameter in network.parameters]


def restored(make, state):
    network = make()
    network.restore(state)
    return network


@pytest.mark.parametrize(
    "recipe", [training.QFX(8, 8), training.NM(2, 8), training.NM(2, 8, recipe=training.BFP(4))]
)
def test_networks_learn_and_repeat(recipe, trained):
    make, _, reached = trained
    results = [fit(make(), recipe, 8) for _ in range(2)]
    assert results[0] == results[1]
    assert results[0].stopped is None
    assert results[0].test_accuracy > reached - 0.2


def test_int8_after_training_and_trained_with(trained):
    make, state, reached = trained
    network = restored(make, state)
    recipe = training.INT8.calibrate(network, TEXT.train.x)
    assert len(recipe.ranges) == network.products
    run = recipe.start(network.products)
    assert training.evaluate(network, TEXT.test, run)[1] > reached - 0.01
    coarse = training.INT8.calibrate(network, TEXT.train.x, bits=2)
    lost = training.evaluate(network, TEXT.test, coarse.start(network.products))[1]
    results = []
    for _ in range(2):
        network.restore(state)
        results.append(fit(network, coarse, 3, rate=0.005))
    assert results[0] == results[1]
    assert results[0].test_accuracy > lost + 0.1


def test_eight_bits_leave_the_gradients_what_they_are(trained):
    make, state, _ = trained
    network = restored(make, state)
    exact = gradients(network, training.Float32())
    least = 1e-3 * max(map(np.linalg.norm, exact))  # a bias of keys has none but by rounding
    recipe = training.INT8.calibrate(network, TEXT.train.x)
    for straight in (recipe, training.QFX(10, 10)):
        for own, true in zip(gradients(network, straight), exact, strict=True):
            assert np.any(own)
            cosine = np.vdot(own, true) / np.linalg.norm(own) / np.linalg.norm(true)
            assert cosine > 0.95 or np.linalg.norm(true) < least


def test_sparse_gradients_reach_all_parameters(trained):
    make, state, _ = trained
    assert all(np.any(g) for g in gradients(restored(make, state), training.NM(2, 8)))


@pytest.mark.parametrize("backward", [True, False])
def test_sparse_work_is_counted_product_by_product(backward, trained, monkeypatch):
    """Products with weights do N of M, forward and for the input; all others do all."""
    multiplied = []
    gemm = training.Run.gemm

    def watched(self, a, b, kind, index, **options):
        roles = options.get("roles")
        sparse = kind == "forward" or (kind == "input_gradient" and backward)
        weighted = roles is None or "weight" in roles
        *stack, rows, depth = a.shape
        kept = depth // 8 * 2 + min(2, depth % 8) if sparse and weighted else depth
        multiplied.append(
            int(np.prod(stack, dtype=int)) * rows * b.shape[-1] * np.array([depth, kept])
        )
        return gemm(self, a, b, kind, index, **options)

    monkeypatch.setattr(training.Run, "gemm", watched)
    make, state, _ = trained
    network = restored(make, state)
    run = training.NM(2, 8, backward=backward).start(network.products)
    outputs = network.forward(TEXT.train.x[:8], run)
    network.backward(training.softmax_cross_entropy(outputs, TEXT.train.y[:8])[1], run)
    assert_array_equal([run.macs, run.effectual_macs], np.sum(multiplied, axis=0))
    assert run.effectual_macs < 0.8 * run.macs
