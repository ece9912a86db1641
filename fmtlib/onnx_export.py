"""Quantised weights in ONNX models: codes in ONNX's own types, behind DequantizeLinear or Cast.

What a runtime then computes with is bit for bit what `fmtlib.decode` gives.  Needs the extra:
``pip install "fmtlib[onnx]"``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.blocks import BlockArray, normalize_axis, scale_shape
from fmtlib.codec import code_array, decode, elementwise, scaling_arrays
from fmtlib.formats import BlockFormat, FloatFormat, Format, get_format
from fmtlib.packing import pack

if TYPE_CHECKING:
    from onnx import ModelProto, TensorProto

__all__ = ["QuantizedWeight", "replace_weights", "to_tensor"]

# TensorProto's name of a format's codes, and the operator set from which on DequantizeLinear
# takes them; 0: only Cast does.
_TYPES: dict[str, tuple[str, int]] = {
    "int8": ("INT8", 13),
    "int8_full": ("INT8", 13),
    "uint8": ("UINT8", 13),
    "float8_e4m3fn": ("FLOAT8E4M3FN", 19),
    "float8_e4m3fnuz": ("FLOAT8E4M3FNUZ", 19),
    "float8_e5m2": ("FLOAT8E5M2", 19),
    "float8_e5m2fnuz": ("FLOAT8E5M2FNUZ", 19),
    "int4": ("INT4", 21),
    "int4_full": ("INT4", 21),
    "uint4": ("UINT4", 21),
    "int16": ("INT16", 21),
    "int16_full": ("INT16", 21),
    "uint16": ("UINT16", 21),
    "float4_e2m1fn": ("FLOAT4E2M1", 23),
    "int2": ("INT2", 25),
    "int2_full": ("INT2", 25),
    "uint2": ("UINT2", 25),
    "float16": ("FLOAT16", 0),
    "bfloat16": ("BFLOAT16", 0),
}
# The operator set from which on Cast takes them: bfloat16 and float16 from the first used here;
# and that from which on DequantizeLinear takes blocks.
_LEAST_OPSET, _BLOCKS_OPSET = 13, 21


@dataclass(frozen=True, eq=False)
class QuantizedWeight:
    """Codes of a weight, and what they mean.

    Attributes
    ----------
    codes : ndarray of the format's `code_dtype`
        In the weight's shape.
    format : str or Format
        int2, int4, int8, int16 and their unsigned and full-range kin; float8_e4m3fn, float8_e5m2
        and their fnuz kin, float4_e2m1fn; float16 and bfloat16, without a scale.
    scale : float32 number or array, optional
        One, one for each entry of `axis` or, with `block_size`, one for each block: in the shape
        of the codes, but ``ceil(n / block_size)`` along `axis` where they have n.
    zero_point : integer or array of the format's range, optional
        Of integer formats, as many as scales.
    axis : int, optional
        The axis that scales, or blocks, go along.
    block_size : int, optional
        Codes along `axis` that share a scale.

    Raises
    ------
    TypeError, ValueError
        As for `fmtlib.decode`; also for formats that ONNX has not, and for scales that are no
        float32 numbers, as ONNX keeps them.

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> from fmtlib.onnx_export import QuantizedWeight
    >>> w = np.float32([[0.1, -0.7], [3, 5]])
    >>> scale = np.abs(w).max(axis=1) / np.float32(127)
    >>> codes = fl.encode(w, "int8", scale=scale, axis=0)
    >>> QuantizedWeight(codes, "int8", scale, axis=0).values
    array([[ 0.0992126, -0.7      ],
           [ 2.992126 ,  5.       ]], dtype=float32)
    """

    codes: NDArray[Any]
    format: str | Format
    scale: Any = None
    zero_point: Any = None
    axis: int | None = None
    block_size: int | None = None

    def __post_init__(self) -> None:
        fmt = get_format(self.format)
        if fmt.name not in _TYPES or isinstance(fmt, BlockFormat):
            raise ValueError(
                f"ONNX has no type for codes of {fmt.name}; it has {', '.join(_TYPES)}"
            )
        object.__setattr__(self, "format", fmt)
        object.__setattr__(self, "codes", code_array(self.codes, elementwise(fmt)))
        if self.scale is None:
            if not (self.zero_point is self.axis is self.block_size is None):
                raise ValueError("zero_point, axis and block_size need scale")
            return
        if _TYPES[fmt.name][1] == 0:
            raise ValueError(f"ONNX's DequantizeLinear takes no {fmt.name}: leave out the scale")
        if self.block_size is not None:
            self._check_blocks(elementwise(fmt), self.block_size)
            return
        scales, zeros = scaling_arrays(
            elementwise(fmt), self.codes.shape, self.axis, self.scale, self.zero_point
        )
        _check_scales(scales)
        count = max(scales.size, zeros.size)
        shape = () if scales.ndim == zeros.ndim == 0 else (count,)
        object.__setattr__(self, "scale", np.broadcast_to(scales.ravel(), count).reshape(shape))
        if self.zero_point is not None:
            zeros = np.broadcast_to(zeros.ravel(), count).reshape(shape)
            object.__setattr__(self, "zero_point", zeros)
        if shape:
            assert self.axis is not None
            object.__setattr__(self, "axis", self.axis % self.codes.ndim)

    def _check_blocks(self, fmt: Any, size: int) -> None:
        """Check scales and zero points of blocks, and keep them as arrays."""
        size = whole_number("block_size", size, 1)
        axis = normalize_axis(-1 if self.axis is None else self.axis, self.codes.ndim)
        shape = scale_shape(self.codes.shape, axis, size)
        for name in ("scale", "zero_point"):
            given = getattr(self, name)
            if given is not None and np.shape(given) != shape:
                raise ValueError(
                    f"{name} must have shape {shape}, one for each block of {size} along axis "
                    f"{axis} of {self.codes.shape}, got {np.shape(given)}"
                )
        flat = None if self.zero_point is None else np.ravel(self.zero_point)
        scales, zeros = scaling_arrays(fmt, (math.prod(shape),), 0, np.ravel(self.scale), flat)
        _check_scales(scales)
        object.__setattr__(self, "block_size", size)
        object.__setattr__(self, "axis", axis)
        object.__setattr__(self, "scale", scales.reshape(shape))
        if self.zero_point is not None:
            object.__setattr__(self, "zero_point", zeros.reshape(shape))

    @classmethod
    def from_blocks(cls, b: BlockArray) -> QuantizedWeight:
        """A BlockArray in ONNX's types: float elements as they are, integer ones as integers.

        Parameters
        ----------
        b : BlockArray
            Of a format with one scale for each block along one axis, such as MXFP8, MXFP4, MXINT8
            and block floating point of up to 15 bits.

        Returns
        -------
        QuantizedWeight
            Whose `values` are those of b; zeros of integers have no sign.

        Raises
        ------
        ValueError
            For tiles, micro-exponents and scales of the tensor, elements that ONNX has not, and
            blocks of NaN.

        Examples
        --------
        >>> import numpy as np, fmtlib as fl
        >>> from fmtlib.onnx_export import QuantizedWeight
        >>> b = fl.encode(np.float32([[0.3, -1.5, 100, 7]]), fl.bfp(3, block_size=2))
        >>> weight = QuantizedWeight.from_blocks(b)
        >>> weight.format.name, weight.codes.tolist(), weight.scale.tolist()
        ('int4_full', [[1, -6, 6, 0]], [[0.25, 16.0]])
        """
        fmt, axis, size = b.format, b.axis, b.format.block_size
        alone = fmt.micro_size is None and not fmt.tensor_scale
        if isinstance(axis, tuple) or isinstance(size, tuple) or not alone:
            raise ValueError(
                f"ONNX's blocks have one scale each, along one axis; {fmt.name} has tiles, "
                "micro-exponents or a scale of the tensor"
            )
        b = b.compute()
        element, codes, own = fmt.element, b.codes, fmt.element.name
        scales = decode(b.scales, fmt.scale, dtype=np.float64)
        if not isinstance(element, FloatFormat):
            sign = codes >> element.magnitude_bits
            integers = codes.astype(np.int32) - (sign.astype(np.int32) << element.magnitude_bits)
            if element.encoding == "sign_magnitude":
                integers = np.where(sign, -integers, integers)
            else:
                integers -= sign.astype(np.int32) << element.magnitude_bits
            bits = next((bits for bits in (4, 8, 16) if element.bits <= bits), 0)
            if not bits:
                raise ValueError(
                    f"ONNX has integers of up to 16 bits, those of {fmt.name} have {element.bits}"
                )
            own = f"int{bits}_full"
            codes = integers.astype(get_format(own).code_dtype)
            scales = np.ldexp(scales, element.quantum_exponent)
        return cls(codes, own, scales, axis=axis, block_size=size)

    @property
    def values(self) -> NDArray[np.float32]:
        """The float32 weight that a model with these codes computes with."""
        codes, scale, zeros, axis = self.codes, self.scale, self.zero_point, self.axis
        if self.block_size is not None:
            codes, axis = codes.ravel(), 0
            scale, zeros = (self._for_each(given) for given in (scale, zeros))
        found: NDArray[np.float32] = decode(
            codes, self.format, dtype=np.float32, scale=scale, zero_point=zeros, axis=axis
        )
        return found.reshape(self.codes.shape)

    def _for_each(self, given: NDArray[Any] | None) -> NDArray[Any] | None:
        """What blocks have, for each of their codes."""
        if given is None:
            return None
        assert self.block_size is not None
        assert self.axis is not None
        long = np.repeat(given, self.block_size, self.axis)
        return long.take(range(self.codes.shape[self.axis]), self.axis).ravel()


def _check_scales(scales: NDArray[np.float64]) -> None:
    if (scales.astype(np.float32) != scales).any():
        wrong = scales[scales.astype(np.float32) != scales].flat[0]
        raise ValueError(f"scales must be float32 numbers, as ONNX keeps them; got {wrong!r}")


def to_tensor(name: str, codes: NDArray[Any], fmt: str | Format) -> TensorProto:
    """Codes as a tensor of ONNX, in the type that it has for them.

    Parameters
    ----------
    name : str
        Of the tensor.
    codes : ndarray of the format's `code_dtype`
    fmt : str or Format
        See `QuantizedWeight`.

    Returns
    -------
    onnx.TensorProto
        With raw data; 4-bit codes are packed two to a byte, the first one in the low bits.

    Raises
    ------
    ImportError
        If onnx is not installed.
    TypeError, ValueError
        If ONNX has no type for the format, or `codes` are no codes of it.

    Examples
    --------
    >>> import fmtlib as fl
    >>> from fmtlib.onnx_export import to_tensor
    >>> tensor = to_tensor("w", fl.encode([0.3, -1.5, 12], "e4m3"), "e4m3")
    >>> tensor.raw_data.hex(), tensor.dims
    ('2abc54', [3])
    """
    onnx = _onnx()
    weight = QuantizedWeight(codes, fmt)
    record = get_format(weight.format)
    array = np.ascontiguousarray(weight.codes)
    if not hasattr(onnx.TensorProto, _TYPES[record.name][0]):
        raise ImportError(
            f"this onnx, {onnx.__version__}, has no {record.name}: pip install -U onnx"
        )
    data = (
        pack(array.ravel(), record)
        if record.bits < 8
        else array.astype(record.code_dtype.newbyteorder("<"))
    )
    tensor: TensorProto = onnx.helper.make_tensor(
        name, getattr(onnx.TensorProto, _TYPES[record.name][0]), array.shape, data.tobytes(),
        raw=True,
    )  # fmt: skip
    return tensor


def replace_weights(
    model: ModelProto, weights: Mapping[str, QuantizedWeight | BlockArray]
) -> ModelProto:
    """A model with some of its float32 weights as codes.

    Parameters
    ----------
    model : onnx.ModelProto
        With the weights as initializers.
    weights : mapping of str to QuantizedWeight or BlockArray
        By the names of the initializers; for BlockArrays see `QuantizedWeight.from_blocks`.

    Returns
    -------
    onnx.ModelProto
        A copy, checked by ``onnx.checker``, in which each weight comes from a node of its name:
        DequantizeLinear of ``<name>_codes``, ``<name>_scale`` and ``<name>_zero_point``, or, of
        codes without a scale, Cast.

    Raises
    ------
    ImportError
        If onnx is not installed.
    ValueError
        If the model has no float32 initializer of a name, or one of another shape; if names of
        the new tensors are taken; or if its operator set is too old for the type of the codes.

    Notes
    -----
    DequantizeLinear is ``(codes - zero_point) * scale`` in float32, one rounding: that of
    `fmtlib.decode` with a scale.  The way there differs: see docs/interop.md.

    References
    ----------
    ONNX operators: DequantizeLinear (13, 19, 21, 23), Cast (13, 19, 21, 23).

    Examples
    --------
    >>> import numpy as np, fmtlib as fl
    >>> from onnx import helper, numpy_helper, parser
    >>> from fmtlib.onnx_export import QuantizedWeight, replace_weights
    >>> model = parser.parse_model('''<ir_version: 10, opset_import: ["" : 21]>
    ... f (float[n, 2] x) => (float[n, 3] y) { y = MatMul(x, w) }''')
    >>> w = np.float32([[0.1, -0.7, 2], [3, 5, 0.4]])
    >>> model.graph.initializer.extend([numpy_helper.from_array(w, "w")])
    >>> weight = QuantizedWeight(fl.encode(w, "e4m3", scale=0.01171875), "e4m3", 0.01171875)
    >>> [node.op_type for node in replace_weights(model, {"w": weight}).graph.node]
    ['DequantizeLinear', 'MatMul']
    """
    onnx = _onnx()
    changed: ModelProto = onnx.ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    initializers = {tensor.name: tensor for tensor in graph.initializer}
    taken = {name for node in graph.node for name in (*node.input, *node.output)}
    taken |= {value.name for value in (*graph.input, *graph.output)} | set(initializers)
    opset = max((i.version for i in changed.opset_import if i.domain in ("", "ai.onnx")), default=0)
    nodes, tensors = [], []
    for name, given in weights.items():
        weight = QuantizedWeight.from_blocks(given) if isinstance(given, BlockArray) else given
        old = initializers.get(name)
        if old is None or old.data_type != onnx.TensorProto.FLOAT:
            raise ValueError(f"the model has no float32 initializer {name!r}")
        if tuple(old.dims) != weight.codes.shape:
            raise ValueError(f"{name!r} has shape {tuple(old.dims)}, got {weight.codes.shape}")
        _check_opset(name, weight, opset)
        made, node = _dequantized(onnx, name, weight)
        if clash := taken & {tensor.name for tensor in made}:
            raise ValueError(f"the model has a tensor {min(clash)!r} already; rename it")
        nodes.append(node)
        tensors += made
    kept = [tensor for tensor in graph.initializer if tensor.name not in weights]
    inputs = [value for value in graph.input if value.name not in weights]
    after = list(graph.node)
    for field, items in (
        (graph.initializer, [*kept, *tensors]), (graph.input, inputs), (graph.node, nodes + after)
    ):  # fmt: skip
        copies = [type(item).FromString(item.SerializeToString()) for item in items]
        del field[:]
        field.extend(copies)
    onnx.checker.check_model(changed)
    return changed


def _dequantized(onnx: Any, name: str, weight: QuantizedWeight) -> tuple[list[Any], Any]:
    """The tensors of a weight, and the node that makes its values of them."""
    fmt = get_format(weight.format)
    tensors = [to_tensor(f"{name}_codes", weight.codes, fmt)]
    if weight.scale is None:
        node = onnx.helper.make_node(
            "Cast", [tensors[0].name], [name], f"{name}_cast", to=onnx.TensorProto.FLOAT
        )
        return tensors, node
    scale = weight.scale.astype("<f4")
    tensors.append(
        onnx.helper.make_tensor(
            f"{name}_scale", onnx.TensorProto.FLOAT, scale.shape, scale.tobytes(), raw=True
        )
    )
    if weight.zero_point is not None:
        zeros = weight.zero_point.astype(fmt.code_dtype)
        tensors.append(to_tensor(f"{name}_zero_point", zeros, fmt))
    attributes = {"axis": weight.axis} if scale.ndim else {}
    if weight.block_size is not None:  # no block is longer than the axis
        assert weight.axis is not None
        attributes["block_size"] = min(weight.block_size, max(weight.codes.shape[weight.axis], 1))
    inputs = [tensor.name for tensor in tensors]
    node = onnx.helper.make_node(
        "DequantizeLinear", inputs, [name], f"{name}_dequantize", **attributes
    )
    return tensors, node


def _check_opset(name: str, weight: QuantizedWeight, opset: int) -> None:
    fmt = get_format(weight.format)
    blocks = 0 if weight.block_size is None else _BLOCKS_OPSET
    needed = max(_LEAST_OPSET, _TYPES[fmt.name][1], blocks)
    if opset < needed:
        codes = f"blocks of {fmt.name}" if blocks else fmt.name
        raise ValueError(
            f"{name!r} in {codes} needs operator set {needed}, the model has {opset}: see "
            "onnx.version_converter"
        )


def _onnx() -> Any:
    try:
        import onnx
        import onnx.checker
        import onnx.helper
    except ImportError as error:
        raise ImportError(
            'ONNX models need the package onnx: pip install "fmtlib[onnx]"'
        ) from error
    return onnx
