"""A layer as the counters see it: its integer tensors, its shape and its profiled widths."""

from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from fmtlib.arguments import whole_number
from fmtlib.precision import group_bits

# The modelled datapaths are 16 bits wide: magnitudes stay below 2^15.
MAX_MAGNITUDE = 2**15 - 1
MAX_BITS = 16

# Stands in the fields of a Layer for "by the rule" until __post_init__ has applied it.
_BY_RULE: Any = None


def _integer_tensor(x: Any, what: str, axes: str) -> npt.NDArray[np.int16]:
    """Check `x` and return a read-only int16 copy."""
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


def _tensor_bits(tensor: npt.NDArray[np.int16]) -> int:
    """Width the whole tensor needs, with a sign bit only if it holds a negative."""
    return int(group_bits(tensor.reshape(-1), tensor.size, signed=bool((tensor < 0).any()))[0])


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution or fully connected layer, with the tensors it works on.

    Build it with `Layer.conv` or `Layer.linear`. Tensors are copied to read-only int16.

    Attributes
    ----------
    kind : {"conv", "linear"}
    activations : int16 array
        N,C,H,W for a convolution, N,C for a fully connected layer.
    weights : int16 array
        K,C/groups,kh,kw or K,C.
    stride, padding, groups : int
        As usual; 1, 0, 1 for a fully connected layer.
    activation_bits, weight_bits : int
        Profiled widths of the layer in bits, sign bit included.
    space_to_depth : bool
        Whether the 16-lane walks fold the stride into the channels (see `Layer.conv`).
    name : str

    Notes
    -----
    In the walk order of the counters **x is array axis 2 and y is axis 3** (H and W): windows are
    taken x first, w = y·ox + x, and the kernel's x taps are the inner ones.

    A batch is walked image by image (sample by sample), each from a fresh array state: every
    count of a batch is the sum of the counts of its images. (`fast` lets the samples of a fully
    connected layer share the columns; it says so.)

    Examples
    --------
    >>> import numpy as np
    >>> layer = Layer.conv(np.ones((1, 16, 4, 4), int), np.ones((8, 16, 3, 3), int), padding=1)
    >>> layer.outputs, layer.macs, layer.activation_bits
    ((4, 4), 18432, 1)
    """

    kind: Literal["conv", "linear"]
    activations: npt.NDArray[np.int16]
    weights: npt.NDArray[np.int16]
    stride: int = 1
    padding: int = 0
    groups: int = 1
    activation_bits: int = _BY_RULE
    weight_bits: int = _BY_RULE
    space_to_depth: bool = _BY_RULE
    name: str = "layer"

    @classmethod
    def conv(
        cls,
        activations: Any,
        weights: Any,
        stride: int = 1,
        padding: int = 0,
        groups: int = 1,
        activation_bits: int | None = None,
        weight_bits: int | None = None,
        name: str = "conv",
        *,
        space_to_depth: bool | None = None,
    ) -> "Layer":
        """A convolution.

        Parameters
        ----------
        activations : integer array, N,C,H,W
            Values with magnitudes below 2^15.
        weights : integer array, K,C/groups,kh,kw
        stride, padding, groups : int
            The same stride and zero padding on both axes. ``groups == C == K`` is depthwise.
        activation_bits, weight_bits : int, optional
            Profiled widths in bits, 1..16. None: what the whole tensor needs, which is
            bitlen(max(x, 1)) for data without negatives, else
            bitlen(max(x if x >= 0 else ~x, 1)) + 1. Values are never clipped to a narrower
            profile.
        name : str
        space_to_depth : bool, optional
            Fold the stride into the channels: C·stride² channels (channel fastest, then x, then
            y), kernel ceil(k/stride), stride 1, the same outputs. None: the rule of the walk,
            fold a first layer, recognised by its 3 channels and a stride above 1.

        Raises
        ------
        TypeError
            Arrays that are not plain integers, arguments that are not integers.
        ValueError
            Wrong number of axes, empty arrays, values or arguments out of range, channels that
            do not match, groups that do not divide, a kernel larger than the padded input.

        Examples
        --------
        >>> import numpy as np
        >>> image, filters = np.ones((1, 3, 9, 9), int), np.ones((16, 3, 3, 3), int)
        >>> Layer.conv(image, filters, stride=2).space_to_depth
        True
        """
        return cls(
            kind="conv",
            activations=activations,
            weights=weights,
            stride=stride,
            padding=padding,
            groups=groups,
            activation_bits=cast("int", activation_bits),
            weight_bits=cast("int", weight_bits),
            space_to_depth=cast("bool", space_to_depth),
            name=name,
        )

    @classmethod
    def linear(
        cls,
        activations: Any,
        weights: Any,
        activation_bits: int | None = None,
        weight_bits: int | None = None,
        name: str = "linear",
    ) -> "Layer":
        """A fully connected layer.

        Parameters
        ----------
        activations : integer array, N,C
        weights : integer array, K,C
        activation_bits, weight_bits, name
            As for `Layer.conv`.

        Raises
        ------
        TypeError, ValueError
            As for `Layer.conv`.

        Examples
        --------
        >>> import numpy as np
        >>> Layer.linear(np.full((2, 32), -3), np.ones((10, 32), int)).activation_bits
        3
        """
        return cls(
            kind="linear",
            activations=activations,
            weights=weights,
            activation_bits=cast("int", activation_bits),
            weight_bits=cast("int", weight_bits),
            name=name,
        )

    def __post_init__(self) -> None:
        if self.kind not in ("conv", "linear"):
            raise ValueError(f"kind must be 'conv' or 'linear', not {self.kind!r}")
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, not {self.name!r}")
        axes = ("N,C,H,W", "K,C/groups,kh,kw") if self.is_conv else ("N,C", "K,C")
        activations = _integer_tensor(self.activations, "activations", axes[0])
        weights = _integer_tensor(self.weights, "weights", axes[1])
        checked = {
            "activations": activations,
            "weights": weights,
            "stride": whole_number("stride", self.stride, 1),
            "padding": whole_number("padding", self.padding, 0),
            "groups": whole_number("groups", self.groups, 1),
        }
        for field, tensor in (("activation_bits", activations), ("weight_bits", weights)):
            bits = getattr(self, field)
            checked[field] = (
                _tensor_bits(tensor) if bits is None else whole_number(field, bits, 1, MAX_BITS)
            )
        for field, value in checked.items():
            object.__setattr__(self, field, value)
        self._check_shapes()
        object.__setattr__(self, "space_to_depth", self._folds())

    def _check_shapes(self) -> None:
        if self.channels % self.groups or self.filters % self.groups:
            raise ValueError(
                f"groups must divide the channels and the filters, but groups={self.groups}, "
                f"C={self.channels}, K={self.filters}"
            )
        expected = self.channels // self.groups
        if self.weights.shape[1] != expected:
            raise ValueError(
                f"weights must have C/groups = {self.channels}/{self.groups} = {expected} "
                f"channels, not {self.weights.shape[1]} (weights {self.weights.shape}, "
                f"activations {self.activations.shape})"
            )
        if not self.is_conv:
            if (self.stride, self.padding, self.groups) != (1, 0, 1):
                raise ValueError("a linear layer has stride 1, padding 0 and groups 1")
            return
        padded = tuple(n + 2 * self.padding for n in self.activations.shape[2:])
        if self.kernel[0] > padded[0] or self.kernel[1] > padded[1]:
            raise ValueError(
                f"the kernel must fit the padded input, but {self.kernel} is larger than {padded}"
            )

    def _folds(self) -> bool:
        asked: Any = self.space_to_depth
        if asked is None:
            return self.is_conv and self.channels == 3 and self.stride > 1 and self.groups == 1
        if not isinstance(asked, bool):
            raise TypeError(f"space_to_depth must be True, False or None, not {asked!r}")
        if asked and (self.stride == 1 or self.groups > 1 or not self.is_conv):
            raise ValueError(
                "space_to_depth=True needs a convolution with stride > 1 and groups == 1, "
                f"not stride={self.stride}, groups={self.groups}"
            )
        return asked

    @property
    def is_conv(self) -> bool:
        """True for a convolution, False for a fully connected layer."""
        return self.kind == "conv"

    @property
    def is_depthwise(self) -> bool:
        """One filter per channel: groups == C == K, with more than one channel."""
        return self.is_conv and self.groups == self.channels == self.filters > 1

    @property
    def activations_signed(self) -> bool:
        """Whether any activation is negative: then every width holds a sign bit."""
        return bool((self.activations < 0).any())

    @property
    def batch(self) -> int:
        """Images or samples N."""
        return int(self.activations.shape[0])

    @property
    def channels(self) -> int:
        """Input channels C, of all groups."""
        return int(self.activations.shape[1])

    @property
    def filters(self) -> int:
        """Filters (output channels) K, of all groups."""
        return int(self.weights.shape[0])

    @property
    def kernel(self) -> tuple[int, int]:
        """Kernel size along x (axis 2) and y (axis 3); (1, 1) for a fully connected layer."""
        return (int(self.weights.shape[2]), int(self.weights.shape[3])) if self.is_conv else (1, 1)

    @property
    def outputs(self) -> tuple[int, int]:
        """Output size ox, oy along x (axis 2) and y (axis 3); (1, 1) if fully connected."""
        if not self.is_conv:
            return (1, 1)
        height, width = self.activations.shape[2:]
        return (
            (int(height) + 2 * self.padding - self.kernel[0]) // self.stride + 1,
            (int(width) + 2 * self.padding - self.kernel[1]) // self.stride + 1,
        )

    @property
    def windows(self) -> int:
        """Windows (output positions) of one image, ox·oy."""
        return self.outputs[0] * self.outputs[1]

    @property
    def reduction(self) -> int:
        """Products summed into one output: C/groups·kh·kw."""
        return int(self.weights[0].size)

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch, those with zero padding included."""
        return self.batch * self.windows * self.filters * self.reduction

    @property
    def padded_activations(self) -> npt.NDArray[np.int16]:
        """The activations inside their ring of zero padding (unchanged if fully connected)."""
        if not self.padding:
            return self.activations
        ring = (self.padding, self.padding)
        return np.pad(self.activations, ((0, 0), (0, 0), ring, ring))
