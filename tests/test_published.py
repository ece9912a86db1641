"""Networks by shapes and profiles, and the ideals that the papers' profiles give."""

from itertools import pairwise
from math import exp, log

import pytest

from fmtlib.hardware import Layer, count, design, published_network, published_networks

GMACS = {  # as generally stated of these networks, convolutions and fully connected layers
    "alexnet": 0.724,
    "googlenet": 1.58,
    "vgg_19": 19.6,
    "resnet50": 4.09,
    "mobilenet": 0.569,
}


def layers_of(name: str) -> list[Layer]:
    known = published_networks()[name] is not None
    return published_network(name, activation_bits=None if known else 8)


@pytest.mark.parametrize(("name", "gmacs"), GMACS.items())
def test_multiply_accumulates(name, gmacs):
    assert sum(layer.macs for layer in layers_of(name)) / 1e9 == pytest.approx(gmacs, rel=0.005)


@pytest.mark.parametrize("name", published_networks())
def test_layers_follow_each_other(name):
    """Where one layer's outputs go straight into the next, their shapes agree."""
    layers = layers_of(name)
    assert len({layer.name for layer in layers}) == len(layers)
    for layer in layers:
        assert not layer.has_values
    if name in ("vgg_19", "mobilenet", "nin"):  # but for pooling, in a chain
        for before, after in pairwise(layers):
            if after.is_conv:
                assert after.channels == before.filters
                assert after.activations.shape[2] <= before.outputs[0]


def test_tartan_over_all_layers():
    """The abstract's 1.90, a geometric mean over four networks, from the profiles alone."""
    ideals = []
    for name in ("alexnet", "vgg_s", "vgg_m", "vgg_19"):
        total = count(published_network(name), ["tartan"]).to_records()[-1]
        ideals.append(total["ideal_speedup"])
    assert exp(sum(map(log, ideals)) / 4) == pytest.approx(1.90, abs=0.005)


@pytest.mark.parametrize(
    ("name", "ideal"),
    [("lenet", 5.33), ("convnet", 2.89), ("vgg_19", 1.35), ("vgg_m", 2.23), ("googlenet", 1.76)],
)
def test_stripes_ideals(name, ideal):
    """Published for convolutions, in cycles of 16 tiles: 16 over the mean width of their steps."""
    layers = [layer for layer in published_network(name) if layer.is_conv]
    cycles = [design("dadiannao", tiles=16).compute_cycles(layer) for layer in layers]
    serial = sum(c * layer.activation_bits for c, layer in zip(cycles, layers, strict=True))
    assert 16 * sum(cycles) / serial == pytest.approx(ideal, abs=0.02)


def test_designs_that_need_values_say_so():
    layers = published_network("lenet")
    for name in ("dadiannao", "stripes", "tartan", "bitfusion", "fast", "flexblock"):
        assert count(layers, [name]).to_records()[-1]["compute_cycles"] > 0
    assert design("loom", dynamic_activations=False).compute_cycles(layers[0]) > 0
    assert design("sat", mode="dense").compute_cycles(layers[0]) > 0
    for name in ("dynamic_stripes", "pragmatic", "laconic", "tcl", "scnn", "cnvlutin", "sat"):
        with pytest.raises(ValueError, match=r"only the shape .* is known"):
            count(layers, [name])


def test_no_profile_is_invented():
    for name in ("resnet50", "mobilenet"):
        with pytest.raises(ValueError, match=f"no published profile of {name} is known"):
            published_network(name)
    assert {layer.weight_bits for layer in published_network("lenet")} == {16}
    given = published_network("lenet", activation_bits=[5, 6], weight_bits=7)
    assert [(layer.activation_bits, layer.weight_bits) for layer in given] == [(5, 7), (6, 7)]
    with pytest.raises(ValueError, match="must be one, or 2 of them, not 3"):
        published_network("lenet", activation_bits=[5, 6, 7])
    with pytest.raises(ValueError, match="unknown network 'vgg'; did you mean 'vgg_"):
        published_network("vgg")
