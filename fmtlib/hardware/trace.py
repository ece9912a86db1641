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
from fmtlib.hardware.layers import MAX_BITS, Layer
from fmtlib.hardware.onnx_graph import NO_PADDING, Floats, Padding, Product, SkippedNode
from fmtlib.training.layers import Conv2d
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
    written_padding : Padding
        Zeros that are in ``layer.activations``: padding that differs from side to side.
    """

    layer: Layer
    operator: str
    activation_scale: float
    weight_scale: float
    written_padding: Padding = NO_PADDING

    @property
    def activations(self) -> NDArray[np.int16]:
        """The layer's activations without padding, as they are stored."""
        if not self.layer.is_conv:
            return self.layer.activations
        height, width = self.layer.activations.shape[2:]
        top, left, bottom, right = self.written_padding
        return self.layer.activations[:, :, top : height - bottom, left : width - right]


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
                "written_padding": tuple(item.written_padding),
                "groups": item.layer.groups,
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
        nothing to trace, and for a convolution that a `Layer` cannot hold: with dilations, over
        three axes, or with a stride for each axis.

    See Also
    --------
    count

    Notes
    -----
    Layers are the nodes ``Conv`` (over one axis, as images with one column, or two; grouped and
    depthwise too), ``Gemm`` and ``MatMul`` whose weights depend on no input.  A layer's
    activations are the tensor that enters the node, whatever made it: ReLU, a clip, normalisation,
    pooling, a sum.  A matrix product of more axes is that of its rows.  Normalisation is not folded
    into weights.  Other nodes that multiply (transposed and quantised convolutions, products of two
    activations, recurrent nodes) and nodes that hold others or are not ONNX's own are left out, and
    recorded in ``skipped``.

    A tensor without negatives is rounded to nearest, ties to even, to unsigned integers (of 15 bits
    where no width is given), one with negatives to integers of both signs.  Padding that
    is the same on all sides is the layer's ``padding``; any other is written out as zeros in the
    layer's activations: see ``written_padding``.

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
    else:
        graph = onnx_graph.load(model)
        feeds = onnx_graph.feeds_of(graph, inputs)
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


def _network_inputs(inputs: Any) -> Floats:
    x = as_array(inputs)
    if x.dtype.kind != "f":
        raise TypeError(f"inputs must be an array of floats, not of {x.dtype}")
    if x.size == 0:
        raise ValueError(f"inputs must not be empty, but have shape {x.shape}")
    return x


def _of_network(network: Network, x: Floats, names: Sequence[str]) -> Iterable[Product]:
    """The products of a network of the trainer, with inputs as float32 computes them."""
    for name, layer, entering in zip(
        _network_names(network), network.weighted, network.inputs(x), strict=True
    ):
        if name not in names:
            continue
        how: dict[str, Any] = {}
        if isinstance(layer, Conv2d):
            (down, across), (top, left) = layer.strides, layer.paddings
            if down != across:
                raise ValueError(f"{name} has the strides {layer.strides}; they must be equal")
            padding = Padding(top, left, top, left)
            how = {"stride": down, "padding": padding, "groups": layer.groups}
        yield Product(name, type(layer).__name__, entering, layer.weight.value, **how)


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
    exact = {"power_of_two": how["power_of_two"]}  # weights: none is clipped
    tensors = []
    for role, x, bits, calibration in (
        ("activations", product.activations, activation_bits, how),
        ("weights", product.weights, weight_bits, exact),
    ):
        try:
            tensors.append(_integers(x, bits, calibration))
        except ValueError as error:
            raise ValueError(f"{role} of {product.name!r}: {error}") from error
    (activations, activation_scale), (weights, weight_scale) = tensors
    name, padding = product.name, product.padding
    if not product.is_conv:
        layer = Layer.linear(activations, weights, activation_bits, weight_bits, name)
        return TracedLayer(layer, product.operator, activation_scale, weight_scale)
    written = NO_PADDING if len(set(padding)) == 1 else padding
    if written != NO_PADDING:
        top, left, bottom, right = written
        activations = np.pad(activations, ((0, 0), (0, 0), (top, bottom), (left, right)))
    layer = Layer.conv(
        activations,
        weights,
        stride=product.stride,
        padding=padding.top if written == NO_PADDING else 0,
        groups=product.groups,
        activation_bits=activation_bits,
        weight_bits=weight_bits,
        name=name,
    )
    return TracedLayer(layer, product.operator, activation_scale, weight_scale, written)
