"""ONNX models: read and checked, their inputs, and sessions whose results are always the same."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from numpy.typing import NDArray

from fmtlib.arguments import as_array

if TYPE_CHECKING:
    from onnx import ModelProto
    from onnxruntime import InferenceSession

Arrays: TypeAlias = dict[str, NDArray[Any]]

# Their results are no constants even if all of their inputs are.
RANDOM = frozenset(
    ("Bernoulli", "Multinomial", "RandomNormal", "RandomNormalLike", "RandomUniform",
     "RandomUniformLike")
)  # fmt: skip


def load(model: Any, others: str = "") -> ModelProto:
    """The checked model of a path, of bytes, or a copy of a ModelProto, functions inlined.

    Parameters
    ----------
    model : str, PathLike, bytes or onnx.ModelProto
    others : str
        What else the caller takes, for the message of the error.

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
                "model must be the path or the bytes of an ONNX model, or an onnx.ModelProto"
                f"{others}, not {type(model).__name__}"
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
        raise ValueError(
            f"inputs must have arrays for {needed}, got {list(inputs)}: {missing} are missing"
        )
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


def session(model: ModelProto) -> InferenceSession:
    """A session on one thread, of the graph as it stands: what is fused would round otherwise."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4  # errors are raised, not printed
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
