"""Layers with the tensors that a network really computes: of ONNX models, and of the trainer's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, overload

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import as_array, whole_number
from fmtlib.calibration import Calibrator, calibrate
from fmtlib.codec import encode
from fmtlib.formats import IntegerFormat
from fmtlib.hardware import onnx_graph
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.onnx_graph import Floats, Product, SkippedNode
from fmtlib.hardware.tensors import MAX_BITS
from fmtlib.onnx_models import feeds_of, load
from fmtlib.training.layers import Conv2d, WeightedLayer
from fmtlib.training.network import Network

if TYPE_CHECKING:
    import os

    from onnx import ModelProto

    from fmtlib.calibration.calibrator import Method

    Model: TypeAlias = str | os.PathLike[str] | bytes | ModelProto | Network

# Widths asked for: one for all layers, some by name, or None for 16 bits.
Widths: TypeAlias = int | Mapping[str, int] | None


@dataclass(frozen=True, eq=False)
class TracedLayer:
    """A layer, where it is from, and what its integers mean.

    Attributes
    ----------
    layer : Layer
    operator : str
        ``Conv``, ``Gemm`` or ``MatMul`` of ONNX; ``Conv2d`` or ``Linear`` of the trainer.
    activation_scale, weight_scale : float
        What a 1 is worth: the tensors in floating point are about the scale times the integers.
    """

    layer: Layer
    operator: str
    activation_scale: float
    weight_scale: float


@dataclass(frozen=True, eq=False)
class Trace(Sequence[Layer]):
    """A network's layers in the order of their nodes: a sequence of `Layer`.

    Attributes
    ----------
    traced : tuple of TracedLayer
        The layers with their scales.
    skipped : tuple of SkippedNode
        Products of the model that no layer stands for, and why.
    """

    traced: tuple[TracedLayer, ...]
    skipped: tuple[SkippedNode, ...] = ()

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers alone."""
        return tuple(item.layer for item in self.traced)

    def __len__(self) -> int:
        return len(self.traced)

    @overload
    def __getitem__(self, index: int) -> Layer: ...
    @overload
    def __getitem__(self, index: slice) -> tuple[Layer, ...]: ...
    def __getitem__(self, index: int | slice) -> Layer | tuple[Layer, ...]:
        return self.layers[index]

    def to_records(self) -> list[dict[str, Any]]:
        """One tidy dict per layer: its shapes, widths in bits and scales.

        Examples
        --------
        >>> import numpy as np
        >>> from fmtlib import hardware, training
        >>> layers = hardware.trace(training.mlp(4, 8, 2), np.ones((1, 4), np.float32))
        >>> layers.to_records()[0]["activation_scale"]
        6.103515625e-05
        """
        return [
            {
                "layer": item.layer.name,
                "operator": item.operator,
                "activations_shape": item.layer.activations.shape,
                "weights_shape": item.layer.weights.shape,
                "stride": item.layer.stride,
                "padding": item.layer.padding,
                "groups": item.layer.groups,
                "dilation": item.layer.dilation,
                "activation_bits": item.layer.activation_bits,
                "weight_bits": item.layer.weight_bits,
                "activation_scale": item.activation_scale,
                "weight_scale": item.weight_scale,
            }
            for item in self.traced
        ]


def trace(
    model: Model,
    inputs: Any,
    *,
    layers: Sequence[str] | None = None,
    activation_bits: Widths = None,
    weight_bits: Widths = None,
    method: Method = "max",
    percentile: float = 99.99,
    power_of_two: bool = True,
) -> Trace:
    """Run a network on real inputs and give its layers with their real tensors, as integers.

    Parameters
    ----------
    model : path, bytes, onnx.ModelProto or fmtlib.training.Network
        An ONNX model is run by onnxruntime (extra: onnx), a network of the trainer in float32.
    inputs : array, or dict of str to array
        Of the types and shapes that the model takes, the batch first.  The dict is for ONNX
        models with several inputs.
    layers : sequence of str, optional
        Names of the layers to trace, where not all are wanted: a node's name or, if it has none,
        that of its output.  Of the trainer's networks conv1, fc2 and so on, numbered through.
    activation_bits, weight_bits : int or dict of str to int, optional
        Profiled widths in bits, 2..16, sign bit included: one for all layers, or by name.  Values
        are rounded to integers of that many bits.  Where there is none, to 16 bits, with
        magnitudes below 2^15, and the profiled width is the one that the whole tensor needs.
    method : {"max", "percentile", "entropy", "mse"}
        How `fmtlib.calibrate` finds the scale of a layer's activations; beyond it they saturate.
        Weights have the scale of their greatest magnitude.
    percentile : float
        For "percentile".
    power_of_two : bool
        Whether scales are powers of two (fixed point), or the exact ones.

    Returns
    -------
    Trace
        A sequence of `Layer`, which `count` takes; with scales, and what was left out.

    Raises
    ------
    ImportError
        If the extra is missing.
    TypeError
        For a model, or inputs, of another type.
    ValueError
        For an invalid model, inputs that are missing, unknown, empty or of another shape, names of
        layers that there are not, widths out of range, NaN or infinities in a layer, a model with
        nothing to trace, and for what a `Layer` cannot hold: a convolution over three axes, weights
        of three axes in a matrix product.

    See Also
    --------
    count

    Notes
    -----
    Layers are the nodes ``Conv`` (over one axis, as images with one column, or two; grouped,
    dilated, padded in any way) whose weights depend on no input, ``Gemm`` and ``MatMul``; a product
    of two activations becomes a layer of the kind "matmul".  A layer's activations are the tensor
    that enters the node, whatever made it: ReLU, a clip, normalisation, pooling, a sum.  A product
    of more axes with constant weights is that of its rows.  Normalisation is not folded into
    weights.  Other nodes that multiply (transposed and quantised convolutions, recurrent nodes) and
    nodes that hold others or are not ONNX's own are left out, and recorded in ``skipped``.

    Of the trainer's networks, layers are those with weights, wherever they are; what others
    multiply (the scores of attention, recurrent layers) is left out, and recorded.

    A tensor without negatives is rounded to nearest, ties to even, to unsigned integers (of 15 bits
    where no width is given), one with negatives to integers of both signs.

    The tensors of all chosen layers are in memory at once, for the whole batch.

    onnxruntime runs the graph as it stands on one thread, so that a machine repeats its results.
    Machines may differ in how they add up floats, and so in the last bit of some integers.

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import hardware, training
    >>> network = training.cnn((1, 8, 8))
    >>> images = np.random.default_rng(0).random((2, 1, 8, 8), np.float32)
    >>> layers = hardware.trace(network, images)
    >>> [(layer.name, layer.activations.shape, layer.activation_bits) for layer in layers]
    [('conv1', (2, 1, 8, 8), 15), ('conv2', (2, 16, 8, 8), 15), ('fc3', (2, 512), 15)]
    """
    how: dict[str, Any] = {"method": method, "percentile": percentile, "power_of_two": power_of_two}
    Calibrator("int16", **how)  # checks them before the network runs
    if isinstance(layers, str) or not (layers is None or isinstance(layers, Sequence)):
        raise TypeError(f"layers must be a list of names, not {layers!r}")
    skipped: list[SkippedNode] = []
    products: Iterable[Product]
    if isinstance(model, Network):
        names = _chosen(_network_names(model), layers)
        products = _of_network(model, _network_inputs(inputs), names)
        skipped = _without_weights(model)
    else:
        graph = load(model, ", or a training.Network")
        feeds = feeds_of(graph, inputs)
        nodes, skipped = onnx_graph.nodes_of(graph, feeds)
        names = _chosen([node.name for node in nodes], layers)
        products = onnx_graph.read(graph, [node for node in nodes if node.name in names], feeds)
    a_bits = _widths("activation_bits", activation_bits, names)
    w_bits = _widths("weight_bits", weight_bits, names)
    traced = (
        _layer(product, a_bits.get(product.name), w_bits.get(product.name), how)
        for product in products
    )
    return Trace(tuple(traced), tuple(skipped))


def _chosen(names: Sequence[str], layers: Sequence[str] | None) -> list[str]:
    """The names of the layers to trace, in the network's order."""
    if layers is None:
        return list(names)
    if unknown := [name for name in layers if name not in names]:
        raise ValueError(f"no layers {unknown}; there are {list(names)}")
    if not layers:
        raise ValueError("nothing to trace: layers is empty")
    return [name for name in names if name in set(layers)]


def _widths(what: str, bits: Widths, names: Sequence[str]) -> dict[str, int]:
    """The width of each layer that has one."""
    if bits is None:
        return {}
    if not isinstance(bits, Mapping):
        return dict.fromkeys(names, whole_number(what, bits, 2, MAX_BITS))
    if unknown := [name for name in bits if name not in names]:
        raise ValueError(f"{what} names no layers {unknown}; there are {list(names)}")
    return {name: whole_number(f"{what}[{name!r}]", n, 2, MAX_BITS) for name, n in bits.items()}


def _network_names(network: Network) -> list[str]:
    return [
        f"{'conv' if isinstance(layer, Conv2d) else 'fc'}{i}"
        for i, layer in enumerate(network.weighted, 1)
    ]


def _without_weights(network: Network) -> list[SkippedNode]:
    """The layers that multiply something else than their input and their weight."""
    every = (item for layer in network.layers for item in layer.walk())
    return [
        SkippedNode(name, type(layer).__name__, "no layer stands for its own products")
        for name, layer in every
        if layer.products and not isinstance(layer, WeightedLayer)
    ]


def _network_inputs(inputs: Any) -> NDArray[Any]:
    x = as_array(inputs)
    if x.dtype.kind not in "fiu":
        raise TypeError(f"inputs must be an array of floats or integers, not of {x.dtype}")
    if x.size == 0:
        raise ValueError(f"inputs must not be empty, but have shape {x.shape}")
    return x


def _of_network(network: Network, x: NDArray[Any], names: Sequence[str]) -> Iterable[Product]:
    """The products of a network of the trainer, with inputs as float32 computes them."""
    for name, layer, entering in zip(
        _network_names(network), network.weighted, network.inputs(x), strict=True
    ):
        if name not in names:
            continue
        operator, weights = type(layer).__name__, layer.weight.value
        if isinstance(layer, Conv2d):
            top, left = layer.paddings
            yield Product(
                name, operator, entering, weights, "conv",
                stride=layer.strides, padding=(top, left, top, left), groups=layer.groups,
            )  # fmt: skip
        else:
            rows = entering.reshape(-1, entering.shape[-1])
            yield Product(name, operator, rows, weights, "linear")


def _integers(
    x: Floats, bits: int | None, how: Mapping[str, Any]
) -> tuple[NDArray[np.int16], float]:
    """A tensor as integers, and what a 1 is worth."""
    signed = bool((x < 0).any())
    bits = MAX_BITS if bits is None else bits
    # Magnitudes are below 2^15, signed or not.
    fmt = IntegerFormat(bits) if signed else IntegerFormat(min(bits, MAX_BITS - 1), signed=False)
    scale = calibrate(x, fmt, **how).scale
    codes: NDArray[Any] = encode(x, fmt, scale=scale)
    return codes.astype(np.int16), float(scale)


def _layer(
    product: Product, activation_bits: int | None, weight_bits: int | None, how: Mapping[str, Any]
) -> TracedLayer:
    # No weight is clipped; the second operand of a product of activations is none.
    exact = how if product.kind == "matmul" else {"power_of_two": how["power_of_two"]}
    tensors = []
    for role, x, bits, calibration in (
        ("activations", product.activations, activation_bits, how),
        ("weights", product.weights, weight_bits, exact),
    ):
        if odd := x.size - int(np.isfinite(x).sum()):
            raise ValueError(
                f"{role} of {product.name!r} hold NaN or infinities ({odd} of {x.size}): look for "
                "them in the inputs, then in the model's weights"
            )
        tensors.append(_integers(x, bits, calibration))
    (activations, activation_scale), (weights, weight_scale) = tensors
    widths: dict[str, Any] = {"activation_bits": activation_bits, "weight_bits": weight_bits}
    if product.kind == "conv":
        layer = Layer.conv(
            activations,
            weights,
            stride=product.stride,
            padding=product.padding,
            groups=product.groups,
            dilation=product.dilation,
            name=product.name,
            **widths,
        )
    else:
        make = Layer.linear if product.kind == "linear" else Layer.matmul
        layer = make(activations, weights, name=product.name, **widths)
    return TracedLayer(layer, product.operator, activation_scale, weight_scale)
