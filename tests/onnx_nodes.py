"""ONNX's conversion operators by way of fmtlib: what a user who has ONNX's tensors would write.

A tensor is its ONNX type and an array: floats of NumPy's types as values, all others as fmtlib's
codes.
"""

from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

import fmtlib as fl
from fmtlib.formats import IntegerFormat

VALUES = {
    "FLOAT": np.dtype(np.float32),
    "FLOAT16": np.dtype(np.float16),
    "BFLOAT16": np.dtype(ml_dtypes.bfloat16),
    "DOUBLE": np.dtype(np.float64),
}
FLOATS = {
    "FLOAT16": "float16",
    "BFLOAT16": "bfloat16",
    "FLOAT8E4M3FN": "float8_e4m3fn",
    "FLOAT8E4M3FNUZ": "float8_e4m3fnuz",
    "FLOAT8E5M2": "float8_e5m2",
    "FLOAT8E5M2FNUZ": "float8_e5m2fnuz",
    "FLOAT8E8M0": "float8_e8m0fnu",
    "FLOAT4E2M1": "float4_e2m1fn",
}
# TensorProto.DataType, the values of the attributes `to` and `output_dtype`.
TYPES = {
    1: "FLOAT", 2: "UINT8", 3: "INT8", 4: "UINT16", 5: "INT16", 10: "FLOAT16", 11: "DOUBLE",
    16: "BFLOAT16", 17: "FLOAT8E4M3FN", 18: "FLOAT8E4M3FNUZ", 19: "FLOAT8E5M2",
    20: "FLOAT8E5M2FNUZ", 21: "UINT4", 22: "INT4", 23: "FLOAT4E2M1", 24: "FLOAT8E8M0",
    25: "UINT2", 26: "INT2",
}  # fmt: skip
# Cast's attribute round_mode, for E8M0: its "nearest" has ties up.
E8M0_ROUNDING = {"up": "up", "down": "toward_zero", "nearest": "nearest_away"}


class Tensor(NamedTuple):
    type: str
    array: np.ndarray


def format_of(type_):
    if type_ in FLOATS:
        return fl.get_format(FLOATS[type_])
    signed = not type_.startswith("U")
    return IntegerFormat(int(type_.lstrip("UINT")), signed=signed, symmetric=False)


def from_bits(type_, bits, shape):
    """A tensor from unsigned bits, one value per byte or more."""
    if type_ in VALUES:
        return Tensor(type_, bits.view(VALUES[type_]).reshape(shape))
    fmt = format_of(type_)
    if isinstance(fmt, IntegerFormat) and fmt.signed:  # extend the sign
        bits = ((bits.astype(np.int64) ^ (half := 1 << (fmt.bits - 1))) & (2 * half - 1)) - half
    return Tensor(type_, bits.astype(fmt.code_dtype).reshape(shape))


def cast(x: Tensor, to: str, attributes: dict[str, Any]) -> Tensor:
    """Operator Cast (28): floats round to nearest, integers are truncated and wrap."""
    values = x.array if x.type in VALUES else fl.decode(x.array, format_of(x.type))
    if to in VALUES and x.type not in VALUES and format_of(x.type).fits(VALUES[to].name):
        return Tensor(to, fl.decode(x.array, format_of(x.type), dtype=VALUES[to]))
    if (x.type, to) == ("FLOAT16", "FLOAT") or (x.type, to) == ("FLOAT16", "DOUBLE"):
        return Tensor(to, fl.decode(x.array.view(np.uint16), "float16", dtype=VALUES[to]))
    if (x.type, to) == ("BFLOAT16", "FLOAT"):
        return Tensor(to, fl.decode(x.array.view(np.uint16), "bfloat16", dtype=VALUES[to]))
    fmt = format_of(to)
    if isinstance(fmt, IntegerFormat):
        return Tensor(to, fl.encode(values, fmt, rounding="toward_zero", overflow="wrap"))
    saturate = to not in VALUES and attributes.get("saturate", 1)
    rounding = "nearest_even"
    if to == "FLOAT8E8M0":
        rounding = E8M0_ROUNDING[attributes.get("round_mode", "up")]
    overflow = "saturate" if saturate else "nonsaturating"
    codes = fl.encode(values, fmt, rounding=rounding, overflow=overflow)
    return Tensor(to, codes.view(VALUES[to]) if to in VALUES else codes)


def per_block(x, block_size, axis, *parameters):
    """Rows of x that each have one entry of every parameter; the parameters; and the way back."""
    moved = np.moveaxis(x, axis, -1)
    rows = moved.reshape(-1, block_size)
    flat = [np.moveaxis(values, axis, -1).reshape(-1) for values in parameters]

    def back(y):
        return np.moveaxis(y.reshape(moved.shape), -1, axis)

    return rows, flat, back


def _parameters(x, scale, zero_point, fmt, attributes):
    """The array as fmtlib takes it, its scale, zero point and axis, and the way back."""
    axis, block_size = attributes.get("axis", 1), attributes.get("block_size", 0)
    zeros = np.zeros_like(scale, np.int64) if zero_point is None else zero_point.array
    if block_size:
        rows, (scale, zeros), back = per_block(x, block_size, axis, scale, zeros)
        return rows, scale, zeros, 0, back
    if not scale.ndim:
        axis, zeros = None, zeros.reshape(())
    return x, scale, zeros, axis, lambda y: y


def _along(axis, values, ndim):
    """One value per entry of an axis, made to broadcast."""
    return values if axis is None else values.reshape([-1 if i == axis else 1 for i in range(ndim)])


def quantize_linear(x, scale, zero_point, attributes):
    """Operator QuantizeLinear (28): it rounds the quotient to the scale's type before all else."""
    to = TYPES.get(attributes.get("output_dtype")) or (zero_point.type if zero_point else "UINT8")
    fmt = format_of(to)
    array, scales, zeros, axis, back = _parameters(
        x.array, scale.array, zero_point, fmt, attributes
    )
    quotient = array / _along(axis, scales, array.ndim)
    if not isinstance(fmt, IntegerFormat):
        assert not zeros.any()  # float types have no zero points but 0
        overflow = "saturate" if attributes.get("saturate", 1) else "nonsaturating"
        return Tensor(to, back(fl.encode(quotient, fmt, overflow=overflow)))
    return Tensor(to, back(fl.encode(quotient, fmt, scale=1, zero_point=zeros, axis=axis)))


def dequantize_linear(x, scale, zero_point, attributes):
    """Operator DequantizeLinear (28)."""
    fmt = format_of(x.type)
    array, scales, zeros, axis, back = _parameters(
        x.array, scale.array, zero_point, fmt, attributes
    )
    if not isinstance(fmt, IntegerFormat):
        assert not zeros.any()
        zeros = None
    keywords = {"scale": scales, "zero_point": zeros, "axis": axis}
    return Tensor(scale.type, back(fl.decode(array, fmt, dtype=scale.array.dtype, **keywords)))


def dynamic_quantize_linear(x):
    """Operator DynamicQuantizeLinear (11): uint8 codes, scale and zero point."""
    low, high = min(x.array.min(), np.float32(0)), max(x.array.max(), np.float32(0))
    scale = Tensor("FLOAT", np.asarray((high - low) / np.float32(255)))
    zero_point = Tensor("UINT8", np.asarray(fl.encode(-low / scale.array, "uint8")))
    return quantize_linear(x, scale, zero_point, {}), scale, zero_point


def run(inputs, attributes):
    """The outputs of one node."""
    match attributes["op"]:
        case "Cast":
            return [cast(inputs[0], TYPES[attributes["to"]], attributes)]
        case "CastLike":
            return [cast(inputs[0], inputs[1].type, attributes)]
        case "QuantizeLinear":
            return [quantize_linear(*[*inputs, None][:3], attributes)]
        case "DequantizeLinear":
            return [dequantize_linear(*[*inputs, None][:3], attributes)]
        case "DynamicQuantizeLinear":
            return list(dynamic_quantize_linear(*inputs))
        case op:
            raise ValueError(op)
