"""`testing.layers`: what it yields, how varied it is, what it shrinks to."""

import numpy as np
import pytest
from hypothesis import Phase, find, given, settings

from fmtlib import testing
from fmtlib.hardware import Layer
from fmtlib.hardware.strategies import LAYER_KINDS


def draws(strategy, count=300) -> list[Layer]:
    found = []

    @settings(max_examples=count, phases=[Phase.generate], database=None, derandomize=True)
    @given(strategy)
    def collect(layer):
        found.append(layer)

    collect()
    return found


IS = {
    "linear": lambda layer: layer.kind == "linear",
    "matmul": lambda layer: layer.kind == "matmul",
    "conv": lambda layer: layer.is_conv and layer.groups == 1,
    "grouped": lambda layer: layer.is_conv and layer.groups > 1,
    "depthwise": lambda layer: layer.is_depthwise,
    "first": lambda layer: layer.space_to_depth,
}


@pytest.mark.parametrize("kind", LAYER_KINDS)
def test_kinds(kind):
    found = draws(testing.layers(kind), 100)
    assert all(map(IS[kind], found))
    assert any(layer.batch > 1 or layer.groups > 1 for layer in found)


def test_all_kinds_come_up(some):
    for kind, is_kind in IS.items():
        assert any(map(is_kind, some)), kind


@pytest.fixture(scope="module")
def some():
    return draws(testing.layers())


@pytest.mark.parametrize(
    "seen",
    [
        lambda layer: layer.activations_signed,
        lambda layer: not layer.activations_signed,
        lambda layer: layer.weights_signed,
        lambda layer: not layer.weights.any(),
        lambda layer: 0 < np.count_nonzero(layer.weights) < layer.weights.size,
        lambda layer: layer.activation_bits == 16,
        lambda layer: layer.activation_bits <= 3,
        lambda layer: len(set(layer.padding)) == 4 - 1,
        lambda layer: layer.stride[0] != layer.stride[1],
        lambda layer: max(layer.dilation) > 1,
        lambda layer: layer.kernel[0] != layer.kernel[1],
        lambda layer: layer.outputs[0] != layer.outputs[1],
    ],
)
def test_variety(some, seen):
    assert any(map(seen, some))


def test_limits():
    limits = {"max_batch": 1, "max_channels": 2, "max_filters": 3, "max_size": 4, "max_kernel": 1}
    for layer in draws(testing.layers("conv", **limits, max_bits=5)):
        assert layer.batch == 1
        assert layer.channels <= 2
        assert layer.filters <= 3
        assert layer.kernel == (1, 1)
        assert max(layer.activations.shape[2:]) <= 4
        assert max(layer.activation_bits, layer.weight_bits) <= 5


def test_shrinks_to_the_simplest():
    layer = find(testing.layers(), lambda layer: layer.macs > 0)
    assert (layer.kind, layer.macs) == ("linear", 1)
    conv = find(testing.layers("conv"), lambda layer: layer.filters > 2)
    assert (conv.weights.shape, conv.windows, conv.batch) == ((3, 1, 1, 1), 1, 1)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"kinds": "pool"}, ValueError, r"kinds must be of linear, conv, .*got \('pool',\)"),
        ({"kinds": ()}, ValueError, "kinds must be of"),
        ({"max_size": 0}, ValueError, "max_size must be at least 1, got 0"),
        ({"max_batch": 1.0}, TypeError, "max_batch must be an integer"),
        ({"max_bits": 17}, ValueError, "max_bits must be from 1 to 16, got 17"),
    ],
)
def test_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        testing.layers(**arguments)
