"""Networks in ONNX, as the searches want them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fmtlib import codec
from fmtlib.arguments import as_array, whole_number
from fmtlib.formats import BlockFormat, FixedFormat
from fmtlib.onnx_models import Arrays
from fmtlib.search.configurations import Configuration, LayerPrecision, LayerSize, Precision
from fmtlib.search.onnx_cuts import CutModel

Measure: TypeAlias = Literal["top1", "map", "map_f1"]
Outputs: TypeAlias = NDArray[Any]

_BATCH = 64


class OnnxModel:
    """A network in ONNX whose layers' data and weights are rounded; needs the extra onnx.

    A layer is a ``Conv``, ``Gemm`` or ``MatMul`` node with constant weights.  Its input and its
    weights are rounded by `quantize` to nearest, saturating, to the formats of its precision;
    biases and all other operators stay in floating point.

    Parameters
    ----------
    model : str, PathLike, bytes or onnx.ModelProto
    inputs : array_like, or dict of them by name
        Samples along the first axis.
    labels : array_like of ints, shape (samples,), optional
        The classes of the samples.
    measure : {"top1", "map", "map_f1"} or callable, optional
        What `evaluate` gives:

        - "top1", the default: for how many of the samples the output of shape (samples, classes)
          is greatest for the label, or, without labels, for the class that the network in
          floating point prefers: "top-1 accuracy" or "top-1 agreement";
        - "map", without labels: for how many of all pixels of a map, of edges say, ``output >=
          threshold`` is what it is in floating point: "map agreement";
        - "map_f1", without labels: the harmonic mean of precision and recall of ``output >=
          threshold``, taking that of floating point for the truth.  Where few pixels are edges
          this is much stricter;
        - a function of the outputs and those in floating point.

    threshold : float
        For maps.
    output : str, optional
        Which output counts; the first by default.  Layers that it does not depend on are none.
    batch : int, optional
        Samples at a time.  By default 64, or what the model says.
    bits : int
        Width of the formats to start from, signs included.
    kept_bytes : int
        Arrays of the last evaluation to keep: what comes before the first layer whose precision
        has changed is not computed again.

    Attributes
    ----------
    start : tuple of Precision
        Fixed-point formats of `bits` that hold all data and weights.
    sizes : tuple of LayerSize
        Blocks go along the channels of convolutions, and along the axis that matrix products add
        up.
    measure : str
        What an accuracy is, in words, for `search_precision`.

    Raises
    ------
    ImportError
        Without onnx and onnxruntime.
    TypeError, ValueError
        If the model has no such layer, or the inputs, the labels or an argument do not fit.

    Notes
    -----
    The model is cut before each layer, and the pieces run in onnxruntime, one thread, as the graph
    stands (no operators are fused).  So results are always the same, the rounding is that of
    `quantize` to the bit, and with None for every layer the outputs are those of the model itself.

    Examples
    --------
    >>> import numpy as np
    >>> from onnx import TensorProto, helper, numpy_helper
    >>> from fmtlib.search import OnnxModel, search_precision
    >>> info, rng = helper.make_tensor_value_info, np.random.default_rng(0)
    >>> weights = rng.standard_normal((8, 4), dtype=np.float32)
    >>> graph = helper.make_graph(
    ...     [helper.make_node("MatMul", ["x", "w"], ["y"])], "linear",
    ...     [info("x", TensorProto.FLOAT, ["n", 8])], [info("y", TensorProto.FLOAT, ["n", 4])],
    ...     [numpy_helper.from_array(weights, "w")])
    >>> proto = helper.make_model(
    ...     graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
    >>> task = OnnxModel(proto, rng.standard_normal((500, 8), dtype=np.float32))
    >>> task.measure, [size.name for size in task.sizes]
    ('top-1 agreement', ['y'])
    >>> found = search_precision(task.evaluate, task.start, task.sizes, measure=task.measure)
    >>> found.cheapest(0.01).footprint < 0.3
    True
    """

    def __init__(
        self,
        model: Any,
        inputs: ArrayLike | Mapping[str, ArrayLike],
        labels: ArrayLike | None = None,
        *,
        measure: Measure | Callable[[Outputs, Outputs], float] | None = None,
        threshold: float = 0.5,
        output: str | None = None,
        batch: int | None = None,
        bits: int = 16,
        kept_bytes: int = 1 << 29,
    ) -> None:
        self._cut = CutModel(model, output)
        self._take(inputs, batch)
        self._kept_bytes = whole_number("kept_bytes", kept_bytes, 0)
        bits = whole_number("bits", bits, 2, 24)
        self._labels = None if labels is None else self._classes(labels)
        self._kind: Any = "top1" if measure is None else measure
        self._threshold = float(threshold)
        self._check_measure()
        self._weights: dict[int, tuple[Any, NDArray[Any]]] = {}
        self._before: Configuration = ()
        self._states: dict[int, list[Arrays]] = {}
        self._start_from(bits)

    def evaluate(self, configuration: Configuration) -> float:
        """What the measure is with these precisions: 1 at best, for those with a name."""
        outputs = self.run(configuration)
        if self._kind == "top1":
            classes = outputs.argmax(axis=1)
            wanted = self._float.argmax(axis=1) if self._labels is None else self._labels
            return float((classes == wanted).mean())
        if callable(self._kind):
            return float(self._kind(outputs, self._float))
        found, wanted = outputs >= self._threshold, self._float >= self._threshold
        if self._kind == "map":
            return float((found == wanted).mean())
        return 2 * int((found & wanted).sum()) / (int(found.sum()) + int(wanted.sum()))

    def run(self, configuration: Configuration) -> Outputs:
        """The outputs of all samples.

        Parameters
        ----------
        configuration : tuple of Precision, BlockPrecision or None
            For each layer; None leaves it in floating point.
        """
        configuration = tuple(configuration)
        if len(configuration) != len(self._cut.layers):
            raise ValueError(f"{len(configuration)} precisions for {len(self._cut.layers)} layers")
        for precision in configuration:
            if precision is not None and not isinstance(precision, LayerPrecision):
                raise TypeError(f"a configuration has records of precisions, got {precision!r}")
        same = 0
        for new, old in zip(configuration, self._before, strict=False):
            if new != old:
                break
            same += 1
        self._before = ()  # until all have run
        free = self._kept_bytes
        outputs, states = [], {}
        for first in range(0, self._samples, self._batch):
            done = self._states.get(first, [])[: same + 1]
            done += self._continued(configuration, done, first)
            outputs.append(done[-1][self._cut.output])
            # what runs through several pieces is one array
            size = sum({id(a): a.nbytes for state in done for a in state.values()}.values())
            if size <= free:
                free -= size
                states[first] = done
        self._states, self._before = states, configuration
        return np.concatenate(outputs)

    def _continued(
        self, configuration: Configuration, done: list[Arrays], first: int
    ) -> Iterator[Arrays]:
        """The tensors after each further piece, for a batch."""
        if done:
            tensors = done[-1]
        else:
            batch = slice(first, first + self._batch)
            whole = {name: array[batch] for name, array in self._inputs.items()}
            yield (tensors := self._cut.run_piece(0, whole))
        for index in range(max(len(done) - 1, 0), len(configuration)):
            layer, precision = self._cut.layers[index], configuration[index]
            data = tensors[layer.source]
            if precision is not None:
                data = _rounded(data, precision.data, layer.data_axis)
            given = {layer.data: data, layer.weight: self._rounded_weights(index, precision)}
            yield (tensors := self._cut.run_piece(index + 1, {**tensors, **given}))

    def _rounded_weights(self, index: int, precision: LayerPrecision | None) -> NDArray[Any]:
        layer = self._cut.layers[index]
        if precision is None:
            return layer.weights
        if self._weights.get(index, (None,))[0] != precision.weights:
            rounded = _rounded(layer.weights, precision.weights, layer.weight_axis)
            self._weights[index] = precision.weights, rounded
        return self._weights[index][1]

    def _start_from(self, bits: int) -> None:
        """Run the network in floating point: its outputs, the ranges of its data, their sizes."""
        layers = self._cut.layers
        ends: list[list[float]] = [[] for _ in layers]
        counts, lengths = [0] * len(layers), [1] * len(layers)
        floating: Configuration = (None,) * len(layers)
        outputs = []
        for first in range(0, self._samples, self._batch):
            states = [*self._continued(floating, [], first)]
            for i, (layer, tensors) in enumerate(zip(layers, states, strict=False)):
                data = tensors[layer.source]
                if not np.isfinite(data).all():
                    raise ValueError(f"the input of {layer.name} holds NaN or infinities")
                ends[i] += [float(data.min()), float(data.max())]
                counts[i] += data.size
                lengths[i] = data.shape[layer.data_axis]
            outputs.append(states[-1][self._cut.output])
        self._float = np.concatenate(outputs)
        self._check_outputs()
        self.start = tuple(
            Precision.covering(data, layer.weights, bits)
            for data, layer in zip(ends, layers, strict=True)
        )
        self.sizes = tuple(
            LayerSize(
                layer.name,
                count // self._samples,
                layer.weights.size,
                length,
                layer.weights.shape[layer.weight_axis],
            )
            for layer, count, length in zip(layers, counts, lengths, strict=True)
        )

    def _take(self, inputs: ArrayLike | Mapping[str, ArrayLike], batch: int | None) -> None:
        """Note the inputs, and how many samples run at a time."""
        several = isinstance(inputs, Mapping)
        named: Any = inputs if several else {"": inputs}
        given = {name: as_array(array) for name, array in named.items()}
        counts = {len(array) if array.ndim else 0 for array in given.values()}
        if len(counts) > 1:
            raise ValueError("inputs must have the same number of samples")
        self._samples = max(counts, default=0)
        told = self._cut.batch
        self._batch = whole_number("batch", (told or _BATCH) if batch is None else batch, 1)
        if told and (told != self._batch or self._samples % told):
            raise ValueError(
                f"the model takes {told} samples at a time: {self._samples} samples in "
                f"batches of {self._batch} do not fit"
            )
        first = {name: array[: self._batch] for name, array in given.items() if array.ndim}
        names = self._cut.feeds_of(first if several else first.get("", given.get("")))
        self._inputs = dict(zip(names, given.values(), strict=True))

    def _classes(self, labels: ArrayLike) -> NDArray[Any]:
        found = as_array(labels)
        if found.dtype.kind not in "iu" or found.shape != (self._samples,):
            raise ValueError(
                f"labels must be {self._samples} integers, one for each sample, got {found.dtype} "
                f"of shape {found.shape}"
            )
        return found

    def _check_measure(self) -> None:
        if not callable(self._kind) and self._kind not in get_args(Measure):
            raise ValueError(
                f"measure must be one of {', '.join(get_args(Measure))}, or a callable, got "
                f"{self._kind!r}"
            )
        if self._labels is not None and self._kind != "top1":
            raise ValueError("labels are for the measure 'top1' alone")
        names = {
            "top1": "top-1 agreement" if self._labels is None else "top-1 accuracy",
            "map": f"map agreement at {self._threshold:g}",
            "map_f1": f"map F1 at {self._threshold:g}",
        }
        own = getattr(self._kind, "__name__", "accuracy")
        self.measure = own if callable(self._kind) else names[self._kind]

    def _check_outputs(self) -> None:
        if self._kind == "top1" and self._float.ndim != 2:
            raise ValueError(
                f"top1 is for outputs of shape (samples, classes), got {self._float.shape}; see "
                "measure"
            )
        if self._kind == "map_f1" and not (self._float >= self._threshold).any():
            raise ValueError(f"no pixel of the network's own maps reaches {self._threshold:g}")


def _rounded(x: NDArray[Any], fmt: FixedFormat | BlockFormat, axis: int) -> NDArray[Any]:
    of_blocks = axis if isinstance(fmt, BlockFormat) else None
    rounded: NDArray[Any] = codec.quantize(x, fmt, axis=of_blocks)
    return rounded
