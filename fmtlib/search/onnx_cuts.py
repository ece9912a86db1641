"""An ONNX model, cut before each of its layers.

A layer is a ``Conv``, ``Gemm`` or ``MatMul`` with constant weights.  Its weights and its input
become inputs of the model, so that whoever runs it can round them to any format at all; what is
left is one piece of the graph before the first layer and one from each layer to the next.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import not_one_of
from fmtlib.onnx_models import RANDOM, Arrays, feeds_of, load, session

if TYPE_CHECKING:
    import onnx
    from onnxruntime import InferenceSession

_LAYERS = ("Conv", "Gemm", "MatMul")


@dataclass(frozen=True, eq=False)
class CutLayer:
    """A layer of a model.

    Attributes
    ----------
    name, operator : str
        Of its node.
    source : str
        The tensor that it takes its data from.
    data, weight : str
        Inputs of its piece, in place of the data and the weights.
    weights : ndarray
    data_axis, weight_axis : int
        Along which the product adds up; of a convolution, that of the channels.
    """

    name: str
    operator: str
    source: str
    data: str
    weight: str
    weights: NDArray[Any]
    data_axis: int
    weight_axis: int


@dataclass(eq=False)
class _Piece:
    """Nodes that run together, once what they need has been seen."""

    nodes: list[onnx.NodeProto]
    outputs: list[str] = field(default_factory=list)
    session: InferenceSession | None = None


class CutModel:
    """The pieces of a model and its layers, which lie between them.

    Parameters
    ----------
    model : str, PathLike, bytes or onnx.ModelProto
    output : str, optional
        The output that is wanted; the first by default.
    """

    def __init__(self, model: Any, output: str | None = None) -> None:
        self._model = load(model)
        graph = self._model.graph
        outputs = [value.name for value in graph.output]
        if output is not None and output not in outputs:
            raise ValueError(not_one_of("output", output, outputs))
        self.output = outputs[0] if output is None else output
        self._constants: Arrays = {}
        nodes = _leading_to(self.output, self._fold(graph))
        self.layers: list[CutLayer] = []
        self._pieces = [_Piece([])]
        for node in nodes:
            if (layer := self._layer(node)) is not None:
                self.layers.append(layer)
                self._pieces.append(_Piece([]))
            self._pieces[-1].nodes.append(node)
        if not self.layers:
            raise ValueError(
                f"no {', '.join(_LAYERS)} with constant weights leads to {self.output}"
            )
        # Pieces give what is needed after them.
        self._needed: list[set[str]] = []
        needed = {self.output}
        for i, piece in reversed([*enumerate(self._pieces)]):
            made = {name for node in piece.nodes for name in node.output}
            piece.outputs = sorted(needed & made)
            needed = (needed - made) | (_uses(piece.nodes) - made)
            if i:
                needed = needed - {self.layers[i - 1].data, self.layers[i - 1].weight}
                needed |= {self.layers[i - 1].source}
            self._needed.append(needed)
        self._needed.reverse()

    @property
    def batch(self) -> int | None:
        """How many samples the model takes at a time, if it says so."""
        constants = {tensor.name for tensor in self._model.graph.initializer}
        shapes = [
            value.type.tensor_type.shape.dim
            for value in self._model.graph.input
            if value.name not in constants
        ]
        told = [dims[0].dim_value for dims in shapes if dims and dims[0].HasField("dim_value")]
        return max(told, default=None)

    def feeds_of(self, inputs: Any) -> Arrays:
        """The arrays of the model's inputs by name, checked."""
        found = feeds_of(self._model, inputs)
        if constant := sorted(found.keys() & self._constants.keys()):
            raise ValueError(f"{', '.join(constant)} must stay the constants that they are")
        return found

    def run_piece(self, index: int, tensors: Arrays) -> Arrays:
        """Run piece `index`, and give the tensors that are needed after it.

        Parameters
        ----------
        index : int
            0 is before the first layer, i begins with the i-th.
        tensors : dict of ndarray
            Those that the piece before gave (or the inputs), and for its layer `data` and `weight`.
        """
        piece = self._pieces[index]
        after = self._needed[index + 1] if index + 1 < len(self._pieces) else {self.output}
        kept = {name: tensors[name] for name in sorted(after & tensors.keys())}
        if not piece.outputs:
            return kept
        if piece.session is None:
            piece.session = self._session(piece.nodes, piece.outputs, tensors)
        feeds = {value.name: tensors[value.name] for value in piece.session.get_inputs()}
        values = piece.session.run(piece.outputs, feeds)
        return {**kept, **dict(zip(piece.outputs, map(np.asarray, values), strict=True))}

    def _layer(self, node: onnx.NodeProto) -> CutLayer | None:
        """The layer that a node is, its data and weights renamed; None if it is none."""
        if node.op_type not in _LAYERS or node.domain not in ("", "ai.onnx"):
            return None
        left, right = (name in self._constants for name in node.input[:2])
        if left == right or (left and node.op_type == "Conv"):
            return None
        side, number = int(right), len(self.layers)
        weights = self._constants[node.input[side]]
        if weights.dtype not in (np.float32, np.float64):
            return None
        source = node.input[1 - side]
        data, weight = f"fmtlib.data.{number}", f"fmtlib.weight.{number}"
        node.input[1 - side], node.input[side] = data, weight
        axes = [1, 1] if node.op_type == "Conv" else [-1, -2]  # of the left and the right operand
        for i, name in enumerate(("transA", "transB")):
            if any(a.name == name and a.i for a in node.attribute):
                axes[i] = -3 - axes[i]
        if node.op_type == "MatMul" and side == 1 and weights.ndim == 1:
            axes[1] = -1
        name = node.name or node.output[0]
        return CutLayer(
            name, node.op_type, source, data, weight, weights, axes[1 - side], axes[side]
        )

    def _fold(self, graph: onnx.GraphProto) -> list[onnx.NodeProto]:
        """Evaluate what depends on constants alone, and give the other nodes."""
        from onnx import numpy_helper

        constants = {t.name: numpy_helper.to_array(t) for t in graph.initializer}
        known, folded, nodes = set(constants), [], []
        for node in graph.node:
            inner = any(a.HasField("g") or a.graphs for a in node.attribute)
            if {*node.input} - {""} <= known and not inner and node.op_type not in RANDOM:
                folded.append(node)
                known.update(node.output)
            else:
                nodes.append(node)
        self._constants = constants
        wanted = sorted((_uses(nodes) | {self.output}) & {n for f in folded for n in f.output})
        if wanted:
            values = self._session(folded, wanted, {}).run(wanted, {})
            self._constants |= dict(zip(wanted, values, strict=True))
        return nodes

    def _session(
        self, nodes: Sequence[onnx.NodeProto], outputs: Sequence[str], tensors: Mapping[str, Any]
    ) -> InferenceSession:
        """A session of some nodes, with the types of the tensors that they are going to get."""
        from onnx import helper, numpy_helper

        made = {name for node in nodes for name in node.output}
        used = sorted(_uses(nodes) - made)
        for name in used:
            if name in tensors and not isinstance(tensors[name], np.ndarray):
                raise ValueError(f"{name} is no tensor: such models cannot be cut into layers")
        inputs = [
            helper.make_tensor_value_info(
                name,
                helper.np_dtype_to_tensor_dtype(tensors[name].dtype),
                None,
            )
            for name in used
            if name in tensors
        ]
        constants = [
            numpy_helper.from_array(self._constants[name], name)
            for name in used
            if name not in tensors and name in self._constants
        ]
        model = helper.make_model(
            helper.make_graph(
                nodes,
                "piece",
                inputs,
                [*map(helper.make_empty_tensor_value_info, outputs)],
                constants,
            ),
            opset_imports=self._model.opset_import,
            ir_version=self._model.ir_version,
        )
        return session(model)


def _leading_to(output: str, nodes: Sequence[onnx.NodeProto]) -> list[onnx.NodeProto]:
    """The nodes that an output depends on, in their order."""
    wanted, found = {output}, []
    for node in reversed(nodes):
        if wanted & {*node.output}:
            wanted |= _uses([node])
            found.append(node)
    return found[::-1]


def _uses(nodes: Iterable[onnx.NodeProto]) -> set[str]:
    """The tensors that nodes take, those of graphs within them among these."""
    return {name for node in nodes for name in _inputs(node)} - {""}


def _inputs(node: onnx.NodeProto) -> Iterator[str]:
    yield from node.input
    for attribute in node.attribute:
        for graph in (attribute.g, *attribute.graphs):
            for inner in graph.node:
                yield from _inputs(inner)
            yield from (value.name for value in graph.output)
