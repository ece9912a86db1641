"""The weighted products of an ONNX model: convolutions and matrix products with constant weights.

`read` runs a model once in onnxruntime, with the inputs of its products as further outputs, and
gives the floating-point operands of each product in the shapes of a `Layer`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import as_array

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Floats: TypeAlias = NDArray[np.floating[Any]]
Arrays: TypeAlias = dict[str, NDArray[Any]]

# Operators whose products become layers.
_TRACED = ("Conv", "Gemm", "MatMul")
# Others that multiply by weights or multiply activations, which no layer stands for.
_PRODUCTS = frozenset(
    (
        "Attention", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM",
        "LinearAttention", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN",
    )
)  # fmt: skip
# Their results are no constants even if all of their inputs are.
_RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike")
)  # fmt: skip
_ONNX_DOMAINS = ("", "ai.onnx")


class Padding(NamedTuple):
    """Rows and columns of zeros around images."""

    top: int = 0
    left: int = 0
    bottom: int = 0
    right: int = 0


NO_PADDING = Padding()


@dataclass(frozen=True, eq=False)
class Product:
    """A weighted product and its floating-point operands.

    Attributes
    ----------
    name, operator : str
        Of the node: ``Conv``, ``Gemm`` or ``MatMul``; of the trainer's layers the class.
    activations : array of floats
        N,C,H,W of a convolution, else N,C.
    weights : array of floats
        K,C/groups,kh,kw or K,C.
    stride, groups : int
    padding : Padding
    """

    name: str
    operator: str
    activations: Floats
    weights: Floats
    stride: int = 1
    groups: int = 1
    padding: Padding = NO_PADDING

    @property
    def is_conv(self) -> bool:
        """True for a convolution."""
        return self.weights.ndim == 4


@dataclass(frozen=True)
class SkippedNode:
    """A product of the model that no layer stands for.

    Attributes
    ----------
    name, operator : str
        Of the node.
    reason : str
    """

    name: str
    operator: str
    reason: str


def load(model: Any) -> ModelProto:
    """The checked model of a path, of bytes, or a copy of a ModelProto, functions inlined.

    Raises
    ------
    ImportError
        If the extra is missing.
    TypeError, ValueError
        If `model` is none of these, or no valid model.
    """
    try:
        import onnx
        import onnxruntime as _onnxruntime  # noqa: F401
        from google.protobuf.message import DecodeError
        from onnx.inliner import inline_local_functions
    except ImportError as error:
        raise ImportError(f'ONNX models need {error.name}: pip install "fmtlib[onnx]"') from error
    try:
        if isinstance(model, str | os.PathLike):
            found = onnx.load(os.fspath(model))
        elif isinstance(model, bytes):
            found = onnx.load_from_string(model)
        elif isinstance(model, onnx.ModelProto):
            found = onnx.ModelProto()
            found.CopyFrom(model)
        else:
            raise TypeError(
                "model must be the path or the bytes of an ONNX model, an onnx.ModelProto or a "
                f"training.Network, not {type(model).__name__}"
            )
        onnx.checker.check_model(found)
    except (DecodeError, UnicodeDecodeError, onnx.checker.ValidationError) as error:
        raise ValueError(f"this is no valid ONNX model: {error}") from error
    return inline_local_functions(found) if found.functions else found


def feeds_of(model: ModelProto, inputs: Any) -> Arrays:
    """The arrays of the model's inputs by name, checked against its types and shapes."""
    from onnx.helper import tensor_dtype_to_np_dtype

    constants = {tensor.name for tensor in model.graph.initializer}
    known = {value.name: value.type.tensor_type for value in model.graph.input}
    needed = [name for name in known if name not in constants]
    if not isinstance(inputs, Mapping):
        if len(needed) != 1:
            raise ValueError(
                f"the model has {len(needed)} inputs: give a dict of arrays for {needed}"
            )
        inputs = {needed[0]: inputs}
    if missing := [name for name in needed if name not in inputs]:
        raise ValueError(f"inputs must have arrays for {needed}, but {missing} are missing")
    if unknown := [name for name in inputs if name not in known]:
        raise ValueError(f"the model's inputs are {list(known)}; it has no {unknown}")
    feeds = {name: as_array(values) for name, values in inputs.items()}
    for name, array in feeds.items():
        wanted = known[name]
        try:
            dtype = tensor_dtype_to_np_dtype(wanted.elem_type)
        except KeyError:
            raise ValueError(f"input {name!r} of the model is no tensor of a known type") from None
        if array.dtype != dtype:
            raise TypeError(f"input {name!r} must be an array of {dtype}, not of {array.dtype}")
        if array.size == 0:
            raise ValueError(f"input {name!r} must not be empty, but has shape {array.shape}")
        if not wanted.HasField("shape"):
            continue
        dims = [d.dim_value if d.HasField("dim_value") else None for d in wanted.shape.dim]
        if len(dims) != array.ndim or any(
            d is not None and d != n for d, n in zip(dims, array.shape, strict=True)
        ):
            named = [d.dim_param or str(d.dim_value or "any") for d in wanted.shape.dim]
            raise ValueError(
                f"input {name!r} must have shape ({', '.join(named)}), not {array.shape}"
            )
    return feeds


class WeightedNode(NamedTuple):
    """A node that becomes a layer: which of its inputs is which."""

    name: str
    node: NodeProto
    activations: str
    weights: str
    swapped: bool  # the constant is the left operand


def nodes_of(
    model: ModelProto, feeds: Iterable[str]
) -> tuple[list[WeightedNode], list[SkippedNode]]:
    """The nodes to trace and those that are left out, in the model's order.

    Raises
    ------
    ValueError
        If there is nothing to trace.
    """
    constants = {tensor.name for tensor in model.graph.initializer} - set(feeds)
    found, skipped = [], []
    for node in model.graph.node:
        name = node.name or node.output[0]
        inputs = [x for x in node.input if x]
        inner = any(a.HasField("g") or a.graphs for a in node.attribute)
        if all(x in constants for x in inputs) and not inner and node.op_type not in _RANDOM:
            constants.update(node.output)
        elif node.domain not in _ONNX_DOMAINS:
            skipped.append(SkippedNode(name, node.op_type, f"an operator of {node.domain}"))
        elif inner:
            skipped.append(SkippedNode(name, node.op_type, "nodes within a node"))
        elif node.op_type in _PRODUCTS:
            skipped.append(SkippedNode(name, node.op_type, "no layer stands for this operator"))
        elif node.op_type in _TRACED:
            left, right = node.input[:2]
            if right in constants:
                found.append(WeightedNode(name, node, left, right, False))
            elif left in constants and node.op_type != "Conv":
                found.append(WeightedNode(name, node, right, left, True))
            else:
                skipped.append(SkippedNode(name, node.op_type, "its weights are not constant"))
    if not found:
        kinds = sorted({node.op_type for node in model.graph.node})
        raise ValueError(
            f"nothing to trace: no {', '.join(_TRACED)} with constant weights among the nodes "
            f"({', '.join(kinds) or 'none'})"
        )
    return found, skipped


def read(model: ModelProto, nodes: Sequence[WeightedNode], feeds: Arrays) -> Iterator[Product]:
    """Run the model and give the products of these nodes, one after the other."""
    from onnx import numpy_helper

    wanted = {name for item in nodes for name in (item.activations, item.weights)}
    initializers = {x.name: x for x in model.graph.initializer if x.name in wanted - set(feeds)}
    try:
        tensors = {name: numpy_helper.to_array(x) for name, x in initializers.items()}
    except (KeyError, TypeError) as error:
        raise ValueError(f"an initializer has no known type: {error}") from error
    tensors |= feeds
    tensors |= _run(model, sorted(wanted - set(tensors)), feeds)
    for item in nodes:
        for role, name in (("activations", item.activations), ("weights", item.weights)):
            if tensors[name].dtype.kind != "f":
                raise ValueError(
                    f"the {role} of {item.name!r} are not floats but {tensors[name].dtype}; choose "
                    "others with layers="
                )
        x, w = tensors[item.activations], tensors[item.weights]
        if item.node.op_type == "Conv":
            yield _convolution(item, x, w)
        else:
            yield _matrix_product(item, x, w)


def _run(model: ModelProto, names: Sequence[str], feeds: Arrays) -> Arrays:
    """Values of these tensors; on one thread and as the graph stands, so always the same."""
    import onnx
    import onnxruntime as ort

    if not names:
        return {}
    outputs = {value.name for value in model.graph.output}
    extra = [onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in outputs]
    model.graph.output.extend(extra)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, not printed
    try:
        session = ort.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        values = session.run(list(names), {name: feeds[name] for name in feeds})
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ValueError(f"onnxruntime does not run the model: {error}") from error
    return dict(zip(names, map(np.asarray, values), strict=True))


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in node.attribute}


def _convolution(item: WeightedNode, x: Floats, w: Floats) -> Product:
    how, axes = _attributes(item.node), x.ndim - 2
    if axes not in (1, 2):
        raise ValueError(
            f"{item.name!r} is a convolution over {axes} axes, a layer has 2; choose others with "
            "layers="
        )
    if axes == 1:  # images with one column
        x, w = x[..., np.newaxis], w[..., np.newaxis]
    kernel, images = w.shape[2:], x.shape[2:]
    strides, dilations = ([*how.get(name, [1] * axes), 1][:2] for name in ("strides", "dilations"))
    if any(d > 1 and k > 1 for d, k in zip(dilations, kernel, strict=True)):
        raise ValueError(
            f"{item.name!r} has dilations {dilations[:axes]}, a layer has none; choose others "
            "with layers="
        )
    padding = _padding(how, images, kernel, strides)
    padded = (images[0] + padding.top + padding.bottom, images[1] + padding.left + padding.right)
    stride = max(strides)
    for n, k, s in zip(padded, kernel, strides, strict=True):
        if s != stride and (n - k) // s > 0:
            raise ValueError(
                f"{item.name!r} has strides {strides}, a layer has one for both axes; choose "
                "others with layers="
            )
    return Product(item.name, item.node.op_type, x, w, stride, how.get("group", 1), padding)


def _padding(
    how: Mapping[str, Any], images: Sequence[int], kernel: Sequence[int], strides: Sequence[int]
) -> Padding:
    """The zeros that the attributes `pads` or `auto_pad` mean."""
    mode = how.get("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, k, s in zip(images, kernel, strides, strict=True)
        ]
        less, more = [t // 2 for t in totals], [-(-t // 2) for t in totals]
        return Padding(*less, *more) if mode == "SAME_UPPER" else Padding(*more, *less)
    pads = list(how.get("pads", ())) if mode == "NOTSET" else []
    if len(pads) == 2:  # begin and end of the one axis
        pads = [pads[0], 0, pads[1], 0]
    return Padding(*pads)


def _matrix_product(item: WeightedNode, x: Floats, w: Floats) -> Product:
    """With the reduction along the last axis of both."""
    how = _attributes(item.node)
    if w.ndim > 2:
        raise ValueError(
            f"the weights of {item.name!r} have {w.ndim} axes, those of a layer 2; choose others "
            "with layers="
        )
    # The right operand has the reduction along its first axis, the left one along its last.
    right, left = how.get("transB", 0), how.get("transA", 0)
    x_turned, w_turned = (not right, bool(left)) if item.swapped else (bool(left), not right)
    if x_turned and x.ndim > 1:
        x = x.swapaxes(-1, -2)
    if w_turned:
        w = w.T
    x = x.reshape(-1, x.shape[-1])
    return Product(item.name, item.node.op_type, x, np.atleast_2d(w))
