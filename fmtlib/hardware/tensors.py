"""What a layer is made of: integer arrays, mantissas of blocks, or shapes alone."""

import math
from typing import Any, NoReturn, cast

import numpy as np
import numpy.typing as npt

from fmtlib.arguments import whole_number
from fmtlib.blocks import BlockArray
from fmtlib.formats import BlockFormat, FixedFormat
from fmtlib.precision import group_bits

# The modelled datapaths are 16 bits wide: magnitudes stay below 2^15.
MAX_MAGNITUDE = 2**15 - 1
MAX_BITS = 16


class Shape:
    """Stands for a tensor of which only the shape is known, in `Layer.conv` and the others.

    Designs whose cycles depend on shapes and given widths alone count such a layer; the others
    raise a ValueError when they ask for a value.

    Parameters
    ----------
    *shape : int
        As of the array it stands for.

    Examples
    --------
    >>> from fmtlib.hardware import Layer
    >>> layer = Layer.linear(Shape(1, 9216), Shape(4096, 9216), activation_bits=10, weight_bits=10)
    >>> layer.macs, layer.has_values
    (37748736, False)
    """

    def __init__(self, *shape: int) -> None:
        self.shape = tuple(whole_number("a length in a Shape", n, 1) for n in shape)

    def __repr__(self) -> str:
        return f"Shape{self.shape}"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Shape) and self.shape == other.shape

    def __hash__(self) -> int:
        return hash(self.shape)

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NoReturn:
        raise ValueError(
            f"only the shape {self.shape} of this tensor is known, not its values: give an array, "
            "or count on designs that go by shapes and given widths alone"
        )


def integer_tensor(x: Any, what: str, axes: str) -> npt.NDArray[np.int16]:
    """Check `x` and return a read-only int16 copy; a `Shape` passes through."""
    if isinstance(x, Shape):
        if x.ndim != axes.count(",") + 1:
            raise ValueError(f"{what} must have the axes {axes}, not {x}")
        return cast("npt.NDArray[np.int16]", x)
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(f"{what} must be a plain integer array ({axes}), not a masked array")
    array = np.asarray(x)
    if array.dtype.kind not in "iu":
        raise TypeError(f"{what} must be an integer array ({axes}), not of dtype {array.dtype}")
    ndim = axes.count(",") + 1
    if array.ndim != ndim:
        raise ValueError(f"{what} must have {ndim} axes ({axes}), not shape {array.shape}")
    if array.size == 0:
        raise ValueError(f"{what} ({axes}) must not be empty, but the shape is {array.shape}")
    low, high = int(array.min()), int(array.max())
    if low < -MAX_MAGNITUDE or high > MAX_MAGNITUDE:
        raise ValueError(
            f"{what} must lie in {-MAX_MAGNITUDE}..{MAX_MAGNITUDE} (magnitudes below 2^15), "
            f"not in {low}..{high}"
        )
    copy = np.array(array, dtype=np.int16, order="C")
    copy.setflags(write=False)
    return copy


def numbers(name: str, value: Any, low: int, lengths: tuple[int, ...]) -> tuple[int, ...]:
    """An int, or a tuple of one of the lengths, as a tuple of the greatest of these lengths.

    Two numbers are those of the two axes.
    """
    if not isinstance(value, tuple | list):
        return (whole_number(name, value, low),) * lengths[-1]
    if len(value) not in lengths:
        allowed = " or ".join(map(str, lengths))
        raise ValueError(f"{name} must be an integer or {allowed} of them, got {value!r}")
    numbers = tuple(whole_number(name, n, low) for n in value)
    return numbers * (lengths[-1] // len(numbers))


def tensor_bits(tensor: npt.NDArray[np.int16]) -> int:
    """Width the whole tensor needs, with a sign bit only if it holds a negative."""
    return int(group_bits(tensor.reshape(-1), tensor.size, signed=bool((tensor < 0).any()))[0])


def operand(x: Any, axis: int, what: str) -> tuple[Any, BlockFormat | None]:
    """What a layer keeps of an operand, and its format if it is a BlockArray.

    Of blocks it keeps the mantissas, or only a `Shape` if 16 bits do not hold them. They must lie
    along `axis`, that of the reduction.
    """
    if not isinstance(x, BlockArray):
        return x, None
    element = x.format.element
    if not isinstance(element, FixedFormat):
        raise TypeError(
            f"{what} in blocks must have integer elements (block floating point, MXINT8), "
            f"not those of {x.format.name}"
        )
    if axis % x.ndim not in x.blocks:
        raise ValueError(
            f"{what} must have their blocks along axis {axis % x.ndim}, that of the reduction, "
            f"not along {x.axis}"
        )
    sign = 1 << x.format.mantissa_bits
    if sign - 1 > MAX_MAGNITUDE:
        return Shape(*x.shape), x.format
    codes = x.codes.astype(np.int32)
    if element.encoding == "sign_magnitude":
        return np.where(codes & sign, -(codes & (sign - 1)), codes), x.format
    return (codes ^ sign) - sign, x.format
