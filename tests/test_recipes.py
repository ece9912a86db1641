"""Recipes: each against a slow twin; what a `Run` counts, keeps and repeats."""

import dataclasses
from fractions import Fraction

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import fmtlib as fl
from fmtlib import reference, training


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


NEAREST = {"gradient_rounding": "nearest_even"}
# Every axis is longer than a group and ragged, so that a wrong axis would give other values.
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


# --- what a run does for all recipes -----------------------------------------------------------


@pytest.mark.parametrize("recipe", [training.Float32(), training.BFP(4), training.BFP(2)], ids=str)
def test_a_stack_is_its_matrices(recipe):
    a, w, g = (np.stack([x, 2 * x[::-1], -x]) for x in (A, W, G))
    nearest = recipe
    if isinstance(recipe, training.BFP):
        nearest = training.BFP(recipe.mantissa_bits, gradient_rounding="nearest_even")
    stacked, alone = nearest.start(), nearest.start()
    together = gemms(stacked, a[:, None], w[:, None], g[:, None])
    for i in range(3):
        for product, expected in zip(together, gemms(alone, a[i], w[i], g[i]), strict=True):
            assert product.shape == (3, 1, *expected.shape)
            assert_array_equal(product[i, 0], expected)
        alone.advance()
    assert stacked.macs == stacked.effectual_macs == alone.macs == 3 * 3 * 19 * 37 * 21
    assert (stacked.passes, stacked.group_pairs) == (alone.passes, alone.group_pairs)


def test_roles_override_the_defaults():
    seen = []

    class Recording(training.Float32):
        def product(self, a, b, left, right):
            seen.append((left.role, right.role, left.tensor, right.tensor, left.taps))
            return super().product(a, b, left, right)

    run = Recording().start()
    gemms(run)
    run.gemm(A, W, "forward", 0, roles=("activation", "activation"))
    assert seen == [
        ("activation", "weight", "left", "right", 1),
        ("activation", "gradient", "left", "output", 1),
        ("gradient", "weight", "output", "right", 1),
        ("activation", "activation", "left", "right", 1),
    ]


def test_decisions_of_two_activations_are_apart():
    roles = ("activation", "activation")
    run = training.FAST(alpha=100.0).start()
    run.gemm(A, np.full_like(W, np.nan), "forward", 0, roles=roles)
    assert run.decisions.role.tolist() == ["activation", "activation"]
    assert run.decisions.bits.tolist() == [2, 4]


def test_repeated_products_of_a_layer_are_paired_in_reverse():
    calls = []

    class Recording(training.Float32):
        def product(self, a, b, left, right):
            calls.append((left.gemm, left.call, left.key))
            return super().product(a, b, left, right)

    run = Recording().start()
    for gemm, a, b in (("forward", A, W), ("weight_gradient", A.T, G), ("input_gradient", G, W.T)):
        for _ in range(3):
            run.gemm(a, b, gemm, 0)
    assert [call for _, call, _ in calls] == [0, 1, 2, 2, 1, 0, 2, 1, 0]
    assert len({key for *_, key in calls}) == 9
    run.advance()
    run.gemm(A, W, "forward", 0)
    assert calls[-1][:2] == ("forward", 0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"a": A[0]}, "a and b must have shapes"),
        ({"a": A.T}, "a and b must have shapes"),
        ({"a": A[None]}, "a and b must have shapes"),
        ({"gemm": "backward"}, "gemm must be one of forward"),
        ({"index": -1}, "index must be from 0"),
        ({"roles": ("weight",)}, "roles must be two of"),
        ({"roles": ("weight", "bias")}, "roles must be two of"),
        ({"taps": 2}, "taps must divide the 37 rows"),
        ({"taps": 0}, "taps must divide"),
    ],
)
def test_gemm_arguments(change, message):
    arguments = {"a": A, "b": W, "gemm": "forward", "index": 0} | change
    with pytest.raises(ValueError, match=message):
        training.Float32().start().gemm(**arguments)


def test_a_restored_run_goes_on_the_same():
    recipe = training.FAST(0.34, 0.2)
    whole, first = recipe.start(2, 6, seed=4), recipe.start(2, 6, seed=4)
    for run, steps in ((whole, range(6)), (first, range(3))):
        for step in steps:
            for layer in range(2):
                gemms(run, normal(19, 37, seed=step), layer=layer)
            run.advance()
    second = recipe.start(2, 6, seed=4)
    second.restore(first.state())
    for step in range(3, 6):
        for layer in range(2):
            gemms(second, normal(19, 37, seed=step), layer=layer)
        second.advance()
    assert second.decisions == whole.decisions
    for name in ("iteration", "macs", "effectual_macs", "passes", "group_pairs"):
        assert getattr(second, name) == getattr(whole, name)
    assert set(second.state()) == set(whole.state())


@pytest.mark.parametrize(
    "state", [{}, {"counts": np.zeros(6, np.int64)}, {"counts": np.zeros(2), "decisions": A}]
)
def test_restore_refuses_other_things(state):
    with pytest.raises(ValueError, match="not the state of a run"):
        training.Float32().start().restore(state)


def test_restore_refuses_other_arrays():
    run = training.Float32().start()
    with pytest.raises(ValueError, match="array weight"):
        run.restore(run.state() | {"weight": A})


# --- operands against fmtlib.reference, products against float64 ----------------------------------

ROLES = {
    "forward": ("activation", "weight"),
    "weight_gradient": ("activation", "gradient"),
    "input_gradient": ("gradient", "weight"),
}


def operands(run, a=A, w=W, gradient=G, layer=0):
    """The operands of the three products of a layer, with their roles, axes and keys."""
    step = run.iteration << 24 | layer << 3
    for i, (gemm, left, right) in enumerate(
        (("forward", a, w), ("weight_gradient", a.T, gradient), ("input_gradient", gradient, w.T))
    ):
        yield (
            gemm,
            tuple(
                (x, role, axis, (run.seed, step | 2 * i + side))
                for x, role, axis, side in zip(
                    (left, right), ROLES[gemm], (1, 0), (0, 1), strict=True
                )
            ),
        )


def slow_float(x, fmt, scale=1.0):
    """Every value rounded by itself to nearest even."""
    fmt = fl.get_format(fmt)
    codes = [reference.encode(float(v), fmt, scale=scale) for v in x.ravel()]
    values = [float(reference.decode(code, fmt) * Fraction(scale)) for code in codes]
    return np.array(values).reshape(x.shape)


def slow_blocks(x, fmt, axis, rounding="nearest_even", key=None, random_bits=32):
    """Every block rounded by itself; of tiles both axes are blocked."""
    fmt = fl.get_format(fmt)
    encode_scale = decode_scale = 1
    if fmt.tensor_scale:
        encode_scale, decode_scale = reference.tensor_scales(float(np.abs(x).max()), fmt)
    if isinstance(fmt.block_size, tuple):
        sizes = fmt.block_size
    else:
        sizes = [1, 1]
        sizes[axis] = fmt.block_size
    result = np.empty(x.shape)
    index = np.arange(x.size).reshape(x.shape)
    for i in range(0, x.shape[0], sizes[0]):
        for j in range(0, x.shape[1], sizes[1]):
            part = slice(i, i + sizes[0]), slice(j, j + sizes[1])
            words = None
            if key is not None:
                words = [reference.philox_word(*key, n) for n in index[part].ravel().tolist()]
            codes, scale = reference.encode_block(
                x[part].ravel().tolist(), fmt, rounding,
                words=words, random_bits=random_bits, encode_scale=encode_scale,
            )  # fmt: skip
            values = reference.decode_block(codes, scale, fmt, decode_scale)
            result[part] = np.array([float(v) for v in values]).reshape(x[part].shape)
    return result


def close_to_exact(product, a, b):
    """A float32 product of these values, whatever the order of the sums."""
    bound = np.abs(a) @ np.abs(b) * (a.shape[-1] + 4) * 2.0**-24
    return (np.abs(product - a @ b) <= bound).all() and product.dtype == np.float32


def test_bf16_against_the_reference():
    run = training.BF16().start()
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        a, b = (slow_float(x, "bfloat16") for x, *_ in pair)
        assert close_to_exact(product, a, b)
    assert run.passes is None


def test_fp8_delayed_scaling_against_its_definition():
    formats = {"weight": "e4m3", "activation": "e4m3", "gradient": "e5m2"}
    recipe = training.FP8(scaling="delayed", history=2, margin=1)
    run = recipe.start()
    histories = {role: fl.AmaxHistory(f, length=2, margin=1) for role, f in formats.items()}
    for step in range(5):
        factor = np.float32(2.0 ** -(step % 3) * 1.1)
        a, w, g = factor * A, W / factor, factor * G
        scales = {
            role: histories[role].scale_for(x)
            for role, x in (("activation", a), ("weight", w), ("gradient", g))
        }
        products = gemms(run, a, w, g)
        for (_, pair), product in zip(operands(run, a, w, g), products, strict=True):
            left, right = (slow_float(x, formats[role], scales[role]) for x, role, *_ in pair)
            assert close_to_exact(product, left, right)
        run.advance()


def test_evaluation_leaves_the_history_alone():
    run = training.FP8(scaling="delayed").start()
    gemms(run)
    run.advance()
    before = run.state()
    evaluation = run.evaluation()
    evaluation.gemm(100 * A, W, "forward", 0)
    assert not np.array_equal(
        evaluation.state()["memory.0.amax_history.left"], before["memory.0.amax_history.left"]
    )
    for name, array in run.state().items():
        assert_array_equal(array, before[name])


def test_a_restored_run_keeps_its_memory():
    recipe = training.FP8(scaling="delayed")
    whole, first = recipe.start(), recipe.start()
    for run in (whole, first):
        gemms(run, 3 * A)
        run.advance()
    second = recipe.start()
    second.restore(first.state())
    for product, expected in zip(gemms(second), gemms(whole), strict=True):
        assert_array_equal(product, expected)


def test_fp8_stochastic_gradients_are_of_one_product():
    run = training.FP8(gradient_rounding="stochastic").start(seed=3)
    scale = float(np.abs(G).max()) / 57344
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        values = []
        for x, role, _, key in pair:
            if role == "gradient":
                how = {"scale": scale, "rounding": "stochastic", "seed": key}
                values.append(fl.quantize(x, "e5m2", **how))
            else:
                values.append(training.FP8().quantize(x, role))
        assert_array_equal(product, values[0] @ values[1])


@pytest.mark.parametrize("accumulator", ["exact", "hopper"])
def test_fp8_accumulators(accumulator):
    run = training.FP8(accumulator=accumulator).start()
    formats = {"weight": "e4m3", "activation": "e4m3", "gradient": "e5m2"}
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        codes, names, scale = [], [], 1.0
        for x, role, *_ in pair:
            fmt = fl.get_format(formats[role])
            own = float(np.abs(x).max()) / fmt.max
            codes.append(np.array([reference.encode(float(v), fmt, scale=own) for v in x.ravel()]))
            codes[-1] = codes[-1].astype(np.uint8).reshape(x.shape)
            names.append(fmt)
            scale *= own
        expected = fl.matmul(*codes, formats=names, accumulator=accumulator) * np.float32(scale)
        assert_array_equal(product, expected)
        if accumulator == "exact":
            a, b = (fl.decode(c, f).astype(np.float64) for c, f in zip(codes, names, strict=True))
            assert_array_equal(product, (a @ b).astype(np.float32) * np.float32(scale))


@pytest.mark.parametrize("recipe", [training.FP8(), training.BF16()], ids=str)
def test_tensors_are_rounded_once_for_two_products(recipe, monkeypatch):
    rounded = []
    quantize = fl.quantize
    monkeypatch.setattr(
        fl, "quantize", lambda x, *a, **k: rounded.append(x) or quantize(x, *a, **k)
    )
    run = recipe.start()
    together = gemms(run)
    assert len(rounded) == 3
    alone = []
    for gemm, pair in operands(run):  # copies are other tensors
        alone.append(recipe.start().gemm(pair[0][0].copy(), pair[1][0].copy(), gemm, 0))
    for product, expected in zip(together, alone, strict=True):
        assert_array_equal(product, expected)


@pytest.mark.parametrize("accumulator", [None, "exact"])
@pytest.mark.parametrize("scaling", ["current", "delayed"])
@pytest.mark.parametrize("side", [8, 9])
@pytest.mark.parametrize(
    "options",
    [
        {"size": 3, "padding": 1},
        {"size": (3, 1), "stride": (2, 1)},
        {"size": 3, "groups": 2},
        {"size": 2, "stride": 2},
        {"size": 1, "stride": 2},
        {"size": 1},
        {"size": 3, "stride": 3, "padding": 2},
    ],
    ids=str,
)
def test_rounded_images_make_rounded_patches(options, side, scaling, accumulator):
    class OfPatches(training.FP8):
        """Rounds the operands themselves."""

        def round_input(self, x, operand):
            return None

    found = []
    for recipe in (training.FP8, OfPatches):
        layer = training.Conv2d(4, 6, generator=np.random.default_rng(0), **options)
        run = recipe(scaling=scaling, accumulator=accumulator).start()
        for step in range(3):
            out = layer.forward(normal(5, 4, side, side, seed=step), run)
            found.append((out, layer.backward(normal(*out.shape, seed=7), run)))
            found[-1] += layer.weight.gradient, layer.bias.gradient, *run.state().values()
            run.advance()
    for ours, theirs in zip(found[:3], found[3:], strict=True):
        for a, b in zip(ours, theirs, strict=True):
            assert_array_equal(a, b)


def test_patches_are_of_rounded_images(monkeypatch):
    sizes = []
    quantize = fl.quantize
    monkeypatch.setattr(
        fl, "quantize", lambda x, *a, **k: sizes.append(x.size) or quantize(x, *a, **k)
    )
    layer = training.Conv2d(4, 6, 3, np.random.default_rng(0), padding=1)
    out = layer.forward(normal(5, 4, 8, 8), run := training.FP8().start())
    layer.backward(out, run)
    assert sorted(sizes) == sorted([5 * 4 * 8 * 8, layer.weight.value.size, out.size])


@pytest.mark.parametrize(("weight_rounding", "times"), [("nearest_even", 2), ("stochastic", 12)])
def test_weights_of_recurrent_layers_are_encoded_once(weight_rounding, times, monkeypatch):
    """Once for each of the products that they enter, at the places of a sequence but one."""
    sizes = []
    encode = fl.encode
    monkeypatch.setattr(fl, "encode", lambda x, *a, **k: sizes.append(x.size) or encode(x, *a, **k))
    layer = training.LSTM(3, 5, np.random.default_rng(0))
    layer.hidden.index = 1
    run = training.BFP(4, weight_rounding=weight_rounding).start(2)
    layer.backward(layer.forward(normal(2, 7, 3), run), run)
    assert sizes.count(layer.hidden.weight.value.size) == times


def test_weights_that_are_kept_are_the_same(monkeypatch):
    found = []
    for keeps in (True, False):
        if not keeps:
            monkeypatch.setattr("fmtlib.training.recipes.bfp.reuse_weight", lambda f, x, _: f(x))
        network = training.recurrent(11, 5, width=3, depth=2)
        run = training.BFP(4).start(network.products)
        optimizer = training.SGD(network.parameters)
        x = np.random.default_rng(1).integers(0, 11, (4, 7))
        for _ in range(3):
            _, gradient = training.softmax_cross_entropy(network.forward(x, run), x)
            network.backward(gradient, run)
            optimizer.step(0.5)
            run.advance()
        found.append(network.state())
    for name, array in found[0].items():
        assert_array_equal(array, found[1][name])


@pytest.mark.parametrize(
    ("recipe", "formats"),
    [
        (training.MXFP8(), ("mxfp8_e4m3", "mxfp8_e4m3", "mxfp8_e5m2")),
        (training.MXFP4(), ("mxfp4_e2m1",) * 3),
        (training.NVFP4(), ("nvfp4_g16x16", "nvfp4", "nvfp4")),
    ],
    ids=lambda value: type(value).__name__,
)
def test_microscaling_against_the_reference(recipe, formats):
    formats = dict(zip(("weight", "activation", "gradient"), formats, strict=True))
    run = recipe.start(seed=7)
    run.iteration = 2
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        values = []
        for x, role, axis, key in pair:
            random = role == "gradient" and recipe.gradient_rounding == "stochastic"
            how = {"rounding": "stochastic", "key": key} if random else {}
            values.append(slow_blocks(x, formats[role], axis, **how))
        assert close_to_exact(product, *values)
    with_accumulator = dataclasses.replace(recipe, accumulator="exact").start(seed=7)
    with_accumulator.iteration = 2
    for (_, pair), product in zip(operands(run), gemms(with_accumulator), strict=True):
        values = []
        for x, role, axis, key in pair:
            random = role == "gradient" and recipe.gradient_rounding == "stochastic"
            how = {"rounding": "stochastic", "key": key} if random else {}
            values.append(slow_blocks(x, formats[role], axis, **how))
        assert_allclose(product, values[0] @ values[1], rtol=2e-7, atol=1e-12)


def turn(x, signs):
    """x along its last axis, 16 by 16: signs by the bits that two indices have in common."""
    turned = np.array(x, np.float64)
    for start in range(0, x.shape[-1] // 16 * 16, 16):
        for i in range(16):
            turned[..., start + i] = sum(
                x[..., start + j].astype(np.float64) * signs[j] * (-1) ** (i & j).bit_count() / 4
                for j in range(16)
            )
    return turned


@pytest.mark.parametrize("samples", [5, 16, 48, 77])
def test_hadamard_transforms_leave_the_product(samples):
    draw = np.random.default_rng(samples)
    a = draw.integers(-99, 99, (3, 7, samples)).astype(np.float32)
    b = draw.integers(-99, 99, (3, samples, 9)).astype(np.float32)
    signs = np.random.default_rng(11).choice([-1.0, 1.0], 16)
    # quarters of integers: exact
    exact = turn(a, signs) @ turn(b.swapaxes(-1, -2), signs).swapaxes(-1, -2)
    assert_array_equal(exact, a @ b)
    how = {"gradient_rounding": "nearest_even", "weight_format": "nvfp4"}
    plain, turned = (training.NVFP4(**how, hadamard=h).start(seed=11) for h in (False, True))
    for gemm in ("forward", "input_gradient"):
        assert_array_equal(turned.gemm(a, b, gemm, 0), plain.gemm(a, b, gemm, 0))
    x, y = (turn(v, signs).astype(np.float32) for v in (a, b.swapaxes(-1, -2)))
    assert_array_equal(
        turned.gemm(a, b, "weight_gradient", 0),
        plain.gemm(x, np.ascontiguousarray(y.swapaxes(-1, -2)), "weight_gradient", 0),
    )


def slow_fmac(a, b, group):
    total = np.zeros((a.shape[0], b.shape[1]), np.float32)
    for start in range(0, a.shape[1], group):
        part = slice(start, start + group)
        total += (a[:, part] @ b[part]).astype(np.float32)
    return total


@pytest.mark.parametrize("bits", [8, 12])
def test_hbfp_against_the_reference(bits):
    run = training.HBFP(bits).start()
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        a, b = (
            slow_blocks(x, f"hbfp{bits}_24x24" if role == "weight" else f"hbfp{bits}", axis)
            for x, role, axis, _ in pair
        )
        assert_array_equal(product, slow_fmac(a, b, 24))


@pytest.mark.parametrize("bits", [(4, 8, 16), (16, 4, 8), (8, 8, 8)])
def test_flexblock_against_the_reference(bits):
    widths = dict(zip(("weight", "activation", "gradient"), bits, strict=True))
    run = training.FlexBlock(*bits).start()
    passes = 0
    for (_, pair), product in zip(operands(run), gemms(run), strict=True):
        a, b = (slow_blocks(x, fl.bfp(widths[role]), axis) for x, role, axis, _ in pair)
        if max(bits[:2]) + bits[2] <= 20:  # float64 holds the sums exactly
            assert_array_equal(product, slow_fmac(a, b, 16))
        assert close_to_exact(product, a, b)
        groups = a.shape[0] * b.shape[1] * -(-a.shape[1] // 16)
        passes += groups * np.prod([widths[role] // 2 for _, role, *_ in pair])
    assert run.passes == passes
    assert dict(zip(run.decisions.role, run.decisions.bits, strict=True)) == widths


@pytest.mark.parametrize("group", [1, 5, 16, 24, 64])
@pytest.mark.parametrize("bits", [1, 2, 3, 8])
def test_passes_are_those_of_the_products(bits, group):
    run = training.BFP(bits, group_size=group, **NEAREST).start()
    run.gemm(A, W, "forward", 0)
    fmt = fl.bfp(bits, block_size=group)
    assert run.passes == fl.dot_passes(fl.encode(A, fmt, axis=1), fl.encode(W, fmt, axis=0))


@pytest.mark.parametrize("width", [4, 8, 16])
def test_flexblock_modes_cost_1_4_16(width):
    run = training.FlexBlock(width, width, width).start()
    gemms(run)
    assert run.passes_per_mac / 4 == {4: 1, 8: 4, 16: 16}[width]


# --- arguments, and that they learn ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: training.BF16("mxfp8_e4m3"), ValueError, "weight_format must be a float"),
        (lambda: training.BF16(gradient_rounding="nearest"), ValueError, "gradient_rounding must"),
        (lambda: training.BF16(accumulator="h100"), ValueError, "h100"),
        (lambda: training.BF16(accumulator=3), TypeError, "accumulator must be a name"),
        (lambda: training.FP8(scaling="late"), ValueError, "scaling must be current or delayed"),
        (lambda: training.FP8(history=0), ValueError, "history must be at least 1"),
        (lambda: training.FP8(margin=1.5), TypeError, "margin must be an integer"),
        (lambda: training.MXFP8("e4m3"), ValueError, "weight_format must be a block format"),
        (lambda: training.MXFP4(gradient_format="nvfp4_g16x16"), ValueError, "along one axis"),
        (lambda: training.MXFP4(gradient_rounding="odd"), ValueError, "gradient_rounding must"),
        (lambda: training.MXFP4(accumulator=3), TypeError, "accumulator must be a name"),
        (lambda: training.HBFP(10), ValueError, "bits must be 8, 12 or 16"),
        (lambda: training.FlexBlock(4, 5, 8), ValueError, "activation_bits must be 4, 8 or 16"),
    ],
)
def test_constructor_arguments(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize(
    "recipe",
    [
        training.BF16(), training.FP8(scaling="delayed"), training.FP8(accumulator="hopper"),
        training.MXFP8(), training.MXFP4(), training.NVFP4(), training.NVFP4(hadamard=True),
        training.HBFP(), training.FlexBlock(), training.FlexBlock(4, 4, 16),
    ],
    ids=lambda recipe: type(recipe).__name__,
)  # fmt: skip
def test_networks_learn_and_repeat(recipe):
    x = normal(96, 20)
    y = np.arange(96) % 3
    x[np.arange(96), y] += 3
    data = training.split(x, y, seed=0)
    results = []
    for _ in range(2):
        network = training.mlp(20, (24, 17), 3, seed=1)
        results.append(training.fit(network, data, recipe=recipe, epochs=10, batch_size=20))
    assert results[0] == results[1]
    assert results[0].train_accuracy[-1] > 0.9
    assert hash(recipe) == hash(dataclasses.replace(recipe))
