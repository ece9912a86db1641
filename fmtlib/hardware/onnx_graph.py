"""The products of an ONNX model: convolutions with constant weights, and matrix products.

`read` runs a model once in onnxruntime, with the inputs of its products as further outputs, and
gives the floating-point operands of each product in the shapes of a `Layer`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from fmtlib.onnx_models import RANDOM, Arrays, session

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

Floats: TypeAlias = NDArray[np.floating[Any]]

# Operators whose products become layers.
_TRACED = ("Conv", "Gemm", "MatMul")
# Others that multiply by weights or multiply activations, which no layer stands for.
_PRODUCTS = frozenset(
    (
        "Attention", "ConvInteger", "ConvTranspose", "DeformConv", "Einsum", "GRU", "LSTM",
        "LinearAttention", "MatMulInteger", "QLinearConv", "QLinearMatMul", "RNN",
    )
)  # fmt: skip
_ONNX_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, eq=False)
class Product:
    """A product and its floating-point operands.

    Attributes
    ----------
    name, operator : str
        Of the node: ``Conv``, ``Gemm`` or ``MatMul``; of the trainer's layers the class.
    activations : array of floats
        N,C,H,W of a convolution, N,C of a linear layer, ...,M,C of a product of activations.
    weights : array of floats
        K,C/groups,kh,kw; K,C; ...,C,K.
    kind : {"conv", "linear", "matmul"}
    stride, dilation : (int, int)
    padding : (int, int, int, int)
        Top, left, bottom, right.
    groups : int
    """

    name: str
    operator: str
    activations: Floats
    weights: Floats
    kind: Literal["conv", "linear", "matmul"]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)


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


class ProductNode(NamedTuple):
    """A node that becomes a layer: which of its inputs is which."""

    name: str
    node: NodeProto
    activations: str
    weights: str
    constant: Literal["left", "right"] | None  # which operand


def nodes_of(
    model: ModelProto, feeds: Iterable[str]
) -> tuple[list[ProductNode], list[SkippedNode]]:
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
        if all(x in constants for x in inputs) and not inner and node.op_type not in RANDOM:
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
                found.append(ProductNode(name, node, left, right, "right"))
            elif node.op_type == "Conv":
                skipped.append(SkippedNode(name, node.op_type, "its weights are not constant"))
            elif left in constants:
                found.append(ProductNode(name, node, right, left, "left"))
            else:
                found.append(ProductNode(name, node, left, right, None))
    if not found:
        kinds = sorted({node.op_type for node in model.graph.node})
        raise ValueError(
            f"nothing to trace: no Conv with constant weights, Gemm or MatMul among the nodes "
            f"({', '.join(kinds) or 'none'})"
        )
    return found, skipped


def read(model: ModelProto, nodes: Sequence[ProductNode], feeds: Arrays) -> Iterator[Product]:
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

    if not names:
        return {}
    outputs = {value.name for value in model.graph.output}
    extra = [onnx.helper.make_empty_tensor_value_info(n) for n in names if n not in outputs]
    model.graph.output.extend(extra)
    try:
        values = session(model).run(list(names), {name: feeds[name] for name in feeds})
    except Exception as error:  # onnxruntime's exceptions have no common base of their own
        raise ValueError(f"onnxruntime does not run the model: {error}") from error
    return dict(zip(names, map(np.asarray, values), strict=True))


def _attributes(node: NodeProto) -> dict[str, Any]:
    from onnx.helper import get_attribute_value

    return {a.name: get_attribute_value(a) for a in node.attribute}


def _convolution(item: ProductNode, x: Floats, w: Floats) -> Product:
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
    if min(*strides, *dilations) < 1:  # which onnxruntime refuses, if it has to run the node
        raise ValueError(
            f"strides and dilations of {item.name!r} must be at least 1, got {strides} and "
            f"{dilations}"
        )
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    return Product(
        item.name,
        item.node.op_type,
        x,
        w,
        "conv",
        stride=(strides[0], strides[1]),
        padding=_padding(how, images, reach, strides),
        groups=how.get("group", 1),
        dilation=(dilations[0], dilations[1]),
    )


def _padding(
    how: Mapping[str, Any], images: Sequence[int], reach: Sequence[int], strides: Sequence[int]
) -> tuple[int, int, int, int]:
    """The zeros that the attributes `pads` or `auto_pad` mean; `reach` is that of the kernel."""
    mode = how.get("auto_pad", b"NOTSET").decode()
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        totals = [
            max((-(-n // s) - 1) * s + k - n, 0)
            for n, k, s in zip(images, reach, strides, strict=True)
        ]
        less, more = [t // 2 for t in totals], [-(-t // 2) for t in totals]
        pads = [*less, *more] if mode == "SAME_UPPER" else [*more, *less]
    else:
        pads = list(how.get("pads", ())) if mode == "NOTSET" else []
    if len(pads) == 2:  # begin and end of the one axis
        pads = [pads[0], 0, pads[1], 0]
    top, left, bottom, right = pads or (0, 0, 0, 0)
    return top, left, bottom, right


def _matrix_product(item: ProductNode, x: Floats, w: Floats) -> Product:
    how = _attributes(item.node)
    right, left = how.get("transB", 0), how.get("transA", 0)
    if item.constant is None:
        # Vectors are matrices with one row, or one column.
        a = (x.T if left else x) if x.ndim > 1 else x[np.newaxis]
        b = (w.T if right else w) if w.ndim > 1 else w[:, np.newaxis]
        return Product(item.name, item.node.op_type, a, b, "matmul")
    if w.ndim > 2:
        raise ValueError(
            f"the weights of {item.name!r} have {w.ndim} axes, those of a layer 2; choose others "
            "with layers="
        )
    # Both with the reduction along the last axis: the right operand has it along its first.
    swapped = item.constant == "left"
    x_turned, w_turned = (not right, bool(left)) if swapped else (bool(left), not right)
    if x_turned and x.ndim > 1:
        x = x.swapaxes(-1, -2)
    if w_turned:
        w = w.T
    x = x.reshape(-1, x.shape[-1])
    return Product(item.name, item.node.op_type, x, np.atleast_2d(w), "linear")
