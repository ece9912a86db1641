"""Recipes with more to them than formats: straight-through training, sparsity, approximation."""

import dataclasses
import itertools
import math
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fmtlib as fl
from fmtlib import reference, training
from fmtlib._core import kernels


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


A, W, G = normal(19, 37), normal(37, 21, seed=1), normal(19, 21, seed=2) / 64


def gemms(run, a=A, w=W, gradient=G, layer=0, **options):
    """The three products of a layer."""
    return [
        run.gemm(left, right, gemm, layer, **options)
        for gemm, left, right in (
            ("forward", a, w),
            ("weight_gradient", a.swapaxes(-1, -2), gradient),
            ("input_gradient", gradient, w.swapaxes(-1, -2)),
        )
    ]


def learns(recipe, epochs=10, **options):
    """Results of two equal trainings on samples that are easy to tell apart."""
    x, y = normal(96, 20), np.arange(96) % 3
    x[np.arange(96), y] += 3
    data = training.split(x, y, seed=0)
    return [
        training.fit(
            training.mlp(20, (24, 17), 3, seed=1), data,
            recipe=recipe, epochs=epochs, batch_size=20, **options,
        )
        for _ in range(2)
    ]  # fmt: skip


# --- INT8 -----------------------------------------------------------------------------------------

# Of A and W: some values lie beyond the ranges.
SCALES = training.Ranges(1.5 / 127, tuple(np.linspace(0.5, 3, 21) / 127))


def slow_int8(x, scales, bits=8):
    """The value of every element by itself, and whether it was clipped; scales broadcast to x."""
    most = 2 ** (bits - 1) - 1
    values, clipped = np.empty(x.shape), np.empty(x.shape, bool)
    for index in np.ndindex(x.shape):
        scale = Fraction(float(np.float32(scales[index])))
        code = round(Fraction(float(x[index])) / scale)  # ties to even
        clipped[index] = abs(x[index]) > np.float32(scale) * np.float32(most)
        values[index] = np.float32(float(max(-most, min(most, code)) * scale))
    return values, clipped


def test_int8_against_its_definition():
    run = training.INT8((SCALES,)).start()
    a, a_clipped = slow_int8(A, np.full(A.shape, SCALES.left))
    w, w_clipped = slow_int8(W, np.broadcast_to(SCALES.right, W.shape))
    assert a_clipped.any()
    assert w_clipped.any()
    forward, of_weights, of_inputs = gemms(run)
    assert_allclose(forward, a @ w, rtol=1e-5, atol=1e-5)
    assert_allclose(of_weights, np.where(w_clipped, 0, a.T @ G), rtol=1e-5, atol=1e-6)
    assert_allclose(of_inputs, np.where(a_clipped, 0, G @ w.T), rtol=1e-5, atol=1e-6)
    assert (of_weights[w_clipped] == 0).all()
    assert (of_inputs[a_clipped] == 0).all()


def test_int8_gradients_are_those_of_the_rounded_function():
    """Beside a value that is not at a step, the loss as a function of the rounded values."""
    recipe = training.INT8((SCALES,))
    run = recipe.start()
    _, of_weights, _ = gemms(run)
    w, clipped = slow_int8(W, np.broadcast_to(SCALES.right, W.shape))
    a, _ = slow_int8(A, np.full(A.shape, SCALES.left))
    for index in ((0, 0), (5, 20), (36, 7)):
        moved = w.copy()
        moved[index] += 1
        slope = ((a @ moved - a @ w) * G).sum()
        assert_allclose(of_weights[index], 0 if clipped[index] else slope, rtol=1e-4)


def test_int8_of_a_stack_has_a_scale_for_each_channel_of_each_matrix():
    a, w = np.stack([A, 2 * A]), np.stack([W, W[::-1]])
    scales = tuple(np.linspace(0.5, 3, 42) / 127)
    run = training.INT8((training.Ranges(SCALES.left, scales),)).start()
    alone = [
        training.INT8((training.Ranges(SCALES.left, part),)).start()
        for part in (scales[:21], scales[21:])
    ]
    together = gemms(run, a, w, np.stack([G, G]))
    for i in range(2):
        for product, expected in zip(together, gemms(alone[i], a[i], w[i]), strict=True):
            assert_allclose(product[i], expected, rtol=1e-6, atol=1e-6)


def test_int8_repeated_products_meet_their_own_masks():
    recipe = training.INT8((training.Ranges(1.0 / 127, SCALES.right),))
    run = recipe.start()
    inputs = [factor * A for factor in (np.float32(0.1), np.float32(5))]
    for x in inputs:
        run.gemm(x, W, "forward", 0)
    for x in reversed(inputs):
        product = run.gemm(G, W.T, "input_gradient", 0)
        assert_array_equal(product == 0, np.abs(x) > 1)


def test_int8_refuses_backward_products_of_other_shapes():
    run = training.INT8((SCALES,)).start()
    run.gemm(np.vstack([A, A]), W, "forward", 0)
    with pytest.raises(ValueError, match="backward ones of its own"):
        run.gemm(G, W.T, "input_gradient", 0)


def test_calibration_sees_the_tensors_of_the_network():
    network = training.mlp(20, (24, 17), 3, seed=0)
    x = normal(50, 20)
    recipe = training.INT8.calibrate(network, x, batch_size=7)
    inputs = x
    for ranges, layer in zip(recipe.ranges, network.weighted, strict=True):
        weight = layer.weight.value
        assert_allclose(ranges.left * 127, np.abs(inputs).max(), rtol=1e-6)
        assert_allclose(np.multiply(ranges.right, 127), np.abs(weight).max(axis=1), rtol=1e-6)
        inputs = np.maximum(inputs @ weight.T, 0)
    clipping = training.INT8.calibrate(network, x, method="percentile", percentile=90.0)
    assert all(c.left < r.left for c, r in zip(clipping.ranges, recipe.ranges, strict=True))
    assert [c.right for c in clipping.ranges] == [r.right for r in recipe.ranges]


def test_convolutions_have_a_range_for_each_filter():
    network = training.cnn((2, 8, 8), (5, 6), 3, seed=0)
    x = normal(10, 2, 8, 8)
    recipe = training.INT8.calibrate(network, x)
    assert [len(ranges.right) for ranges in recipe.ranges] == [5, 6, 3]
    filters = network.weighted[1].weight.value.reshape(6, -1)
    assert_allclose(np.multiply(recipe.ranges[1].right, 127), np.abs(filters).max(1), rtol=1e-6)


def test_layers_left_in_float32():
    network = training.mlp(20, (24, 17), 3, seed=0)
    x, y = normal(50, 20), np.arange(50) % 3
    part = training.Part(x, y)
    recipe = training.INT8.calibrate(network, x, bits=2, left_in_float=[0])
    assert [ranges is None for ranges in recipe.ranges] == [True, False, False]
    alone = recipe.only([2])
    assert [ranges is None for ranges in alone.ranges] == [True, True, False]
    assert recipe.leaving([1]) == alone
    assert_array_equal(network.logits(x, recipe.leaving([1, 2]).start(3)), network.logits(x))
    sensitivities = recipe.sensitivities(network, part)
    labels = [network.predict(x, recipe.only([i]).start(3)) for i in range(3)]
    assert sensitivities == tuple(float((found == y).mean()) for found in labels)


def test_qat_recovers_what_ptq_loses():
    data = training.digits(0)
    network = training.mlp(64, 32, 10, seed=0)
    training.fit(network, data, epochs=10)
    recipe = training.INT8.calibrate(network, data.train.x, bits=2)
    before = training.evaluate(network, data.validation, recipe.start(2))[1]
    result = training.fit(network, data, recipe=recipe, epochs=3, learning_rate=0.02)
    assert result.validation_accuracy[-1] > before + 0.1


# --- QFX ------------------------------------------------------------------------------------------


def test_qfx_values_and_gradients_against_their_definitions():
    recipe = training.QFX(weight_bits=4, activation_bits=6, position_rate=0.25)
    run = recipe.start()
    positions = {"left": 2.0, "right": 2.0}  # 4 · (1 - 2**-5) is above all of A, and so on
    a_given, w_given = np.float32(0.9) * A, np.float32(0.9) * W
    assert 2 < np.abs(a_given).max() < 3.8
    assert 2 < np.abs(w_given).max() < 3.5
    for _ in range(4):
        forward, of_weights, of_inputs = gemms(run, a_given, w_given)
        rounded, clipped = {}, {}
        for tensor, x, bits in (("left", a_given, 6), ("right", w_given, 4)):
            unit = 2.0 ** (round(positions[tensor]) + 1 - bits)
            codes = np.round(x.astype(np.float64) / unit)
            low, high = -(2 ** (bits - 1)), 2 ** (bits - 1) - 1
            rounded[tensor] = np.clip(codes, low, high) * unit
            clipped[tensor] = (x < low * unit) | (x > high * unit)
        a, w = rounded["left"], rounded["right"]
        gradients = {"right": a.T @ G, "left": G @ w.T}
        assert_allclose(forward, a @ w, rtol=1e-5, atol=1e-5)
        for product, tensor in ((of_weights, "right"), (of_inputs, "left")):
            through = np.where(clipped[tensor], 0, gradients[tensor])
            assert_allclose(product, through, rtol=1e-5, atol=1e-6)
        for tensor, x in (("left", a_given), ("right", w_given)):
            derivative = math.log(2) * (rounded[tensor] - np.where(clipped[tensor], 0, x))
            positions[tensor] -= 0.25 * (gradients[tensor] * derivative).sum()
            assert_allclose(
                run.state()[f"memory.0.position.{tensor}"], positions[tensor], rtol=1e-4
            )
        run.advance()
    assert positions["left"] != 2.0


@pytest.mark.parametrize(
    ("greatest", "position"),
    [(0.0, 0), (0.875, 0), (0.876, 1), (1.75, 1), (2.0**-20, -19), (1e38, 127)],
)
def test_qfx_starts_where_nothing_saturates(greatest, position):
    run = training.QFX(weight_bits=4).start()
    run.gemm(np.zeros((1, 2), np.float32), np.float32([[greatest], [0]]), "forward", 0)
    assert run.state()["memory.0.position.right"] == position


def test_qfx_positions_stay_without_a_rate():
    run = training.QFX(4, 4, position_rate=0.0).start()
    gemms(run)
    before = run.state()
    gemms(run)
    assert_array_equal(run.state()["memory.0.position.right"], before["memory.0.position.right"])


def test_qfx_learns_its_positions():
    """From a position that is far too high, training comes down."""
    recipe = training.QFX(3, 3, position_rate=0.3)
    run = recipe.start()
    run.gemm(A, W, "forward", 0)
    run.advance()
    state = run.state()
    state["memory.0.position.right"] = np.array(6.0)
    run.restore(state)
    target = A @ W
    losses = []
    for _ in range(60):
        output = run.gemm(A, W, "forward", 0)
        losses.append(float(((output - target) ** 2).mean()))
        run.gemm(A.T, (output - target) / target.size, "weight_gradient", 0)
        run.advance()
    assert run.state()["memory.0.position.right"] < 3
    assert losses[-1] < 0.4 * losses[0]


# --- N:M ------------------------------------------------------------------------------------------


def slow_mask(x, kept, group, taps=1):
    """By hand, along the last axis but one of a matrix."""
    mask = np.zeros(x.shape, bool)
    channels = x.shape[0] // taps
    for column, tap in itertools.product(range(x.shape[1]), range(taps)):
        for start in range(0, channels, group):
            places = range(start, min(start + group, channels))
            best = sorted(places, key=lambda c: (-abs(x[c * taps + tap, column]), c))[:kept]
            for c in best:
                mask[c * taps + tap, column] = True
    return mask


@pytest.mark.parametrize("taps", [1, 3, 4, 12])
@pytest.mark.parametrize(("kept", "group"), [(2, 8), (1, 4), (3, 5), (4, 4), (1, 1), (1, 100)])
def test_masks_by_brute_force(kept, group, taps):
    x = np.round(2 * normal(24, 7, seed=kept)).astype(np.float32)  # many ties
    expected = slow_mask(x, kept, group, taps)
    assert_array_equal(training.nm_mask(x, kept, group, axis=0, taps=taps), expected)
    assert_array_equal(training.nm_mask(x.T, kept, group, taps=taps), expected.T)
    stack = training.nm_mask(np.stack([x, -x]), kept, group, axis=-2, taps=taps)
    assert_array_equal(stack, np.stack([expected, expected]))


@pytest.mark.parametrize("kept", [1, 2, 3])
def test_masks_of_all_orders(kept):
    for order in itertools.permutations(range(5)):
        mask = training.nm_mask(np.array(order, np.float32), kept, 5)
        assert_array_equal(mask, np.array(order) >= 5 - kept)


@pytest.mark.parametrize("taps", [1, 9])
@pytest.mark.parametrize("backward", [True, False])
def test_nm_products_and_counts(taps, backward):
    w = normal(20 * taps, 21, seed=1)
    a = normal(19, 20 * taps)
    run = training.NM(2, 8, backward).start()
    forward, of_weights, of_inputs = gemms(run, a, w, taps=taps)
    kept = slow_mask(w, 2, 8, taps)
    back = slow_mask(w.T, 2, 8) if backward else np.ones(w.T.shape, bool)
    assert_array_equal(forward, a @ np.where(kept, w, np.float32(0)))
    assert_array_equal(of_inputs, G @ np.where(back, w.T, np.float32(0)))
    assert_array_equal(of_weights, a.T @ G)
    rows = 19
    assert run.macs == 3 * rows * w.size
    assert run.effectual_macs == rows * (kept.sum() + back.sum() + w.size)


def test_2_of_8_is_half_the_work():
    run = training.NM().start()
    gemms(run, normal(4, 64), normal(64, 32), normal(4, 32))
    assert run.effectual_macs / run.macs == (2 / 8 + 2 / 8 + 1) / 3


def test_nm_leaves_activations_dense():
    run = training.NM(1, 8).start()
    roles = ("activation", "activation")
    assert_array_equal(run.gemm(A, W, "forward", 0, roles=roles), A @ W)
    assert run.effectual_macs == run.macs


def test_nm_with_another_recipe():
    run, other = training.NM(2, 8, recipe=training.BFP(4)).start(), training.BFP(4).start()
    kept = np.where(slow_mask(W, 2, 8), W, np.float32(0))
    assert_array_equal(run.gemm(A, W, "forward", 0), other.gemm(A, kept, "forward", 0))
    assert run.passes == other.passes
    assert run.decisions == other.decisions


def test_nm_masks_follow_the_weights():
    first, second = learns(training.NM(2, 4))
    assert first == second
    assert first.train_accuracy[-1] > 0.9


# --- approximate multipliers ----------------------------------------------------------------------


def slow_mantissas(multiplier, m, a, b):
    """Carry and mantissa of one pair, in fractions."""
    x, y = Fraction(a, 2**m), Fraction(b, 2**m)
    if multiplier == "exact":
        product = (1 + x) * (1 + y)
    else:
        if multiplier == "minimally_biased":
            x, y = (Fraction(v | 1, 2**m) for v in (a, b))
        total = x + y
        product = 1 + total if total < 1 else 2 * total
        if multiplier == "minimally_biased":
            more = Fraction(1, 16) + Fraction(1, 64)
            if total < 1:
                product += more
            elif total - 1 + more / 2 < 1:
                product += more  # half of it, below twice the power of two
    carry = product >= 2
    return carry, int((product / (1 + carry) - 1) * 2**m)


@pytest.mark.parametrize("m", range(1, 8))
@pytest.mark.parametrize("multiplier", ["mitchell", "minimally_biased", "exact"])
def test_tables_exhaustively(multiplier, m):
    table = training.mantissa_table(multiplier, m)
    assert table.shape == (2**m, 2**m)
    assert table.dtype == np.uint8
    for a, b in itertools.product(range(2**m), repeat=2):
        carry, mantissa = slow_mantissas(multiplier, m, a, b)
        assert table[a, b] == carry << 7 | mantissa
    assert_array_equal(table, table.T)


def test_mean_errors_of_the_multipliers():
    """Mitchell's product is never too great; the minimally biased one is too great as often."""
    errors = {}
    for multiplier in ("mitchell", "minimally_biased", "exact"):
        table = training.mantissa_table(multiplier, 7).astype(int)
        values = (1 + table % 128 / 128) * (1 + table // 128)
        exact = np.multiply.outer(1 + np.arange(128) / 128, 1 + np.arange(128) / 128)
        errors[multiplier] = (values / exact - 1).ravel()
    assert errors["mitchell"].max() == 0
    assert errors["mitchell"].min() == pytest.approx(-1 / 9, abs=0.005)
    assert abs(errors["minimally_biased"].mean()) < abs(errors["mitchell"].mean()) / 5
    assert np.abs(errors["exact"]).max() < 1 / 128


def slow_product(x, y, multiplier, m):
    """The product of two floats."""
    if not (np.isfinite(x) and np.isfinite(y)):
        return math.nan
    if min(abs(x), abs(y)) < 2.0**-126:
        return 0.0
    parts = []
    for v in (x, y):
        fraction, exponent = math.frexp(abs(v))
        parts.append((exponent - 1, int((2 * fraction - 1) * 2**m)))
    (e, a), (f, b) = parts
    entry = int(training.mantissa_table(multiplier, m)[a, b])
    value = math.ldexp(1 + entry % 128 / 2**m, e + f + entry // 128)
    return math.copysign(value, x * y if x * y else math.copysign(1, x) * math.copysign(1, y))


@pytest.mark.parametrize("m", [1, 2, 5, 7])
@pytest.mark.parametrize("multiplier", ["mitchell", "minimally_biased", "exact"])
def test_approximate_products_one_by_one(multiplier, m):
    x = normal(60) * np.float32(2.0) ** np.random.default_rng(1).integers(-60, 60, 60)
    x = x.astype(np.float32)
    x[:4] = 0, -0.0, 1e-40, 1
    run = training.Approximate(multiplier, m).start()
    product = run.gemm(x[:, None], x[None], "forward", 0)
    expected = [[slow_product(float(p), float(q), multiplier, m) for q in x] for p in x]
    assert_array_equal(product, np.float32(expected))


@pytest.mark.parametrize("m", [4, 7])
def test_approximate_sums_are_in_order(m, target):
    run = training.Approximate("mitchell", m).start()
    for (a, b), product in zip(((A, W), (A.T, G), (G, W.T)), gemms(run), strict=True):
        for row, sums in zip(a, product, strict=True):
            for column, total in zip(b.T, sums, strict=True):
                expected = np.float32(0)
                for x, y in zip(row, column, strict=True):
                    expected += np.float32(slow_product(float(x), float(y), "mitchell", m))
                assert total == expected
        assert product.dtype == np.float32


def test_approximate_products_of_stacks_and_of_nothing(target):
    run = training.Approximate("minimally_biased", 3).start()
    a, b = normal(2, 3, 5, 9), normal(2, 3, 9, 70)
    product = run.gemm(a, b, "forward", 0)
    for i, j in np.ndindex(2, 3):
        assert_array_equal(product[i, j], run.gemm(a[i, j], b[i, j], "forward", 0))
    assert_array_equal(run.gemm(a[..., :0], b[:, :, :0], "forward", 0), np.zeros((2, 3, 5, 70)))
    assert run.gemm(a[:0], b[:0], "forward", 0).shape == (0, 3, 5, 70)
    assert run.gemm(a, b[..., :0], "forward", 0).shape == (2, 3, 5, 0)


def test_the_kernel_of_approximate_products_checks_its_arguments():
    ones, table = np.ones((1, 2, 2), np.float32), np.ones((2, 2), np.float32)
    out = np.empty((1, 2, 2), np.float32)
    kernels.multiply_by_table(ones, ones, table, out)
    assert_array_equal(out, np.full((1, 2, 2), 2))
    for b, factors, to in (
        (ones[:, :1], table, out),
        (ones, table[:1], out),
        (ones, np.ones((256, 256), np.float32), out),
        (ones, table, np.empty((1, 2, 3), np.float32)),
    ):
        with pytest.raises(ValueError, match=r"stacks of shapes|a table of shape"):
            kernels.multiply_by_table(ones, b, factors, to)


def test_approximate_extremes():
    run = training.Approximate("mitchell", 3).start()
    great = np.float32(2.0**127 * 1.75)
    odd = np.float32([[great], [np.inf], [np.nan], [1.0]])
    with np.errstate(all="raise"):
        product = run.gemm(odd, np.float32([[0.5]]), "forward", 0)
        too_great = run.gemm(np.float32([[great]]), np.float32([[4.0]]), "forward", 0)
    assert_array_equal(product, np.float32([[great / 2], [np.nan], [np.nan], [0.5]]))
    assert too_great == np.inf


@pytest.mark.parametrize("multiplier", ["mitchell", "minimally_biased", "exact"])
def test_networks_learn_with_approximate_products(multiplier):
    first, second = learns(training.Approximate(multiplier, 3))
    assert first == second
    assert first.train_accuracy[-1] > 0.9


# --- stored weights -------------------------------------------------------------------------------


def test_stored_weights_against_the_reference():
    fmt = fl.bfp(3)
    recipe = training.StoredWeights(format=fmt, rounding="stochastic", random_bits=8)
    run = recipe.start(seed=5)
    bias, weight = training.Parameter(normal(5)), training.Parameter(normal(4, 3, 3, 3))
    for step in range(2):
        if step:  # the first time is before training
            run.gemm(A, W, "forward", 0)
        before = weight.value.copy()
        run.store([bias, weight])
        key = (5, step << 24 | 1 << 3 | (7 if step == 0 else 6))
        x = before.reshape(4, -1)
        for i, j in itertools.product(range(4), range(0, 27, 16)):
            words = [reference.philox_word(*key, 27 * i + k) for k in range(j, min(j + 16, 27))]
            part = x[i, j : j + 16].tolist()
            codes, scale = reference.encode_block(
                part, fmt, "stochastic", words=words, random_bits=8
            )
            expected = [float(v) for v in reference.decode_block(codes, scale, fmt)]
            assert_array_equal(weight.value.reshape(4, -1)[i, j : j + 16], np.float32(expected))
        if step == 0:
            run.gemm(A, W, "forward", 0)
        run.advance()
        weight.value += normal(*weight.value.shape, seed=7)
    assert_array_equal(bias.value, normal(5))


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"format": "bfloat16", "rounding": "nearest_even"}, lambda w: fl.quantize(w, "bfloat16")),
        (
            {"format": "e4m3", "rounding": "toward_zero", "scaled": True},
            lambda w: fl.quantize(
                w, "e4m3", rounding="toward_zero", scale=float(np.abs(w).max()) / 448
            ),
        ),
        (
            {"format": "int8", "rounding": "nearest_even", "scaled": True},
            lambda w: fl.quantize(w, "int8", scale=float(np.abs(w).max()) / 127),
        ),
        (
            {"format": "hbfp16_24x24", "rounding": "nearest_even"},
            lambda w: fl.quantize(w, "hbfp16_24x24", axis=(0, 1)),
        ),
    ],
    ids=lambda value: value["format"] if isinstance(value, dict) else "",
)
def test_formats_of_stored_weights(options, expected):
    weight = training.Parameter(W.copy())
    training.StoredWeights(**options).start().store([weight])
    assert_array_equal(weight.value, expected(W))


def test_stored_weights_stay_on_their_grid():
    x, y = normal(60, 20), np.arange(60) % 3
    network = training.mlp(20, 17, 3, seed=0)
    recipe = training.StoredWeights(training.BFP(4), "bfp_m4_e8_g16")
    result = training.fit(network, training.split(x, y, seed=0), recipe=recipe, epochs=2)
    assert result.passes_per_mac == 4
    for layer in network.weighted:
        weight = layer.weight.value
        assert_array_equal(fl.quantize(weight, "bfp_m4_e8_g16"), weight)
        assert (fl.quantize(layer.bias.value, "bfp_m4_e8_g16") != layer.bias.value).any()


def test_float32_weights_are_not_stored_anew():
    parameter = training.Parameter(W.copy())
    value = parameter.value
    training.Float32().start().store([parameter])
    assert parameter.value is value
    assert_array_equal(value, W)


@pytest.mark.parametrize("rounding", ["stochastic", "nearest_even"])
def test_small_updates_are_lost_but_at_random(rounding):
    weight = training.Parameter(np.full((1, 1600), 1.0, np.float32))
    run = training.StoredWeights(format="bfp_m4_e8_g16", rounding=rounding).start(seed=1)
    run.store([weight])
    for _ in range(100):
        weight.value += 0.005
        run.gemm(A, W, "forward", 0)
        run.store([weight])
        run.advance()
    if rounding == "nearest_even":
        assert (weight.value == 1).all()
    else:
        assert weight.value.mean() == pytest.approx(1.5, abs=0.05)


# --- arguments ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: training.Ranges(0.0, (1.0,)), ValueError, "scales must be positive"),
        (lambda: training.Ranges(1.0, (math.inf,)), ValueError, "scales must be positive"),
        (lambda: training.INT8((1.0,)), TypeError, "ranges must be Ranges"),
        (lambda: training.INT8((), bits=1), ValueError, "bits must be from 2"),
        (lambda: training.INT8((SCALES,)).leaving([1]), ValueError, "layers must be from 0"),
        (
            lambda: training.INT8.calibrate(training.mlp(2, 2, 2), A[:0]),
            ValueError,
            "no samples",
        ),
        (lambda: training.INT8(()).start().gemm(A, W, "forward", 0), ValueError, "0 ranges for 1"),
        (
            lambda: training.INT8((SCALES,)).start().gemm(A.T, A, "forward", 0),
            ValueError,
            "37 output channels, and ranges of 21",
        ),
        (lambda: training.QFX(1), ValueError, "weight_bits must be from 2"),
        (lambda: training.QFX(position_rate=-1), ValueError, "position_rate must be at least 0"),
        (lambda: training.NM(0), ValueError, "kept must be at least 1"),
        (lambda: training.NM(3, 2), ValueError, "group must be at least 3"),
        (lambda: training.NM(recipe=training.BFP), TypeError, "recipe must be a Recipe"),
        (lambda: training.nm_mask(A, 1, 2, taps=2), ValueError, "taps must divide the 37"),
        (lambda: training.Approximate("drum"), ValueError, "multiplier must be one of mitchell"),
        (lambda: training.Approximate(mantissa_bits=8), ValueError, "mantissa_bits must be from 1"),
        (lambda: training.StoredWeights("bfp"), TypeError, "recipe must be a Recipe"),
        (lambda: training.StoredWeights(format="bfp4"), ValueError, "bfp4"),
        (lambda: training.StoredWeights(rounding="odd"), ValueError, "rounding must be one of"),
        (lambda: training.StoredWeights(scaled=True), ValueError, "not for blocks"),
        (
            lambda: training.StoredWeights(rounding="up", random_bits=8),
            ValueError,
            "random_bits are of stochastic",
        ),
        (lambda: training.StoredWeights(random_bits=0), ValueError, "random_bits must be from 1"),
    ],
)
def test_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "recipe",
    [
        training.INT8((SCALES, None)), training.QFX(), training.NM(), training.Approximate(),
        training.StoredWeights(training.HBFP(), "hbfp16_24x24", rounding="nearest_even"),
    ],
    ids=lambda recipe: type(recipe).__name__,
)  # fmt: skip
def test_recipes_are_values(recipe):
    same = dataclasses.replace(recipe)
    assert same == recipe
    assert hash(same) == hash(recipe)


@pytest.mark.parametrize(
    "recipe",
    [
        training.QFX(6, 6), training.NM(2, 8, recipe=training.FP8()),
        training.StoredWeights(training.HBFP(), "hbfp16_24x24", rounding="nearest_even"),
        training.StoredWeights(format="bfloat16"),
    ],
    ids=lambda recipe: type(recipe).__name__,
)  # fmt: skip
def test_networks_learn_and_repeat(recipe):
    first, second = learns(recipe)
    assert first == second
    assert first.train_accuracy[-1] > 0.9
