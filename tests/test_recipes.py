"""Recipes: each against a slow twin; what a `Run` counts, keeps and repeats."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from fmtlib import training


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


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
