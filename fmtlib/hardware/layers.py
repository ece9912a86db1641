"""A layer as the counters see it: its integer tensors, its shape and its profiled widths."""

import math
from dataclasses import dataclass
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

from fmtlib.arguments import whole_number
from fmtlib.formats import BlockFormat
from fmtlib.hardware.tensors import MAX_BITS, Shape, integer_tensor, numbers, operand, tensor_bits

# Stands in the fields of a Layer for "by the rule" until __post_init__ has applied it.
_BY_RULE: Any = None


@dataclass(frozen=True, eq=False)
class Layer:
    """One convolution, fully connected layer or product of activations, with its tensors.

    Build it with `Layer.conv`, `Layer.linear` or `Layer.matmul`. Tensors are copied to read-only
    int16.

    Attributes
    ----------
    kind : {"conv", "linear", "matmul"}
    activations : int16 array
        N,C,H,W for a convolution, N,C for a fully connected layer. A product of activations
        (..., M, C) is kept as the 1 × 1 convolution it is walked as: N,G·C,M,1 with G products in
        turn (see `Layer.matmul`).
    weights : int16 array
        K,C/groups,kh,kw or K,C.
    stride, dilation : (int, int)
        Along axes 2 and 3; 1 for what is no convolution.
    padding : (int, int, int, int)
        Zeros before axes 2 and 3 and after axes 2 and 3 (top, left, bottom, right).
    groups : int
    activation_bits, weight_bits : int
        Profiled widths of the layer in bits, sign bit included.
    space_to_depth : bool
        Whether the 16-lane walks fold the stride into the channels (see `Layer.conv`).
    name : str
    activation_format, weight_format : BlockFormat or None
        Of tensors given as BlockArray; the tensors are then their mantissas.

    Notes
    -----
    In the walk order of the counters **x is array axis 2 and y is axis 3** (H and W): windows are
    taken x first, w = y·ox + x, and the kernel's x taps are the inner ones.

    A layer is one of shapes alone if its tensors are `Shape`; then the widths must be given.

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

    kind: Literal["conv", "linear", "matmul"]
    activations: npt.NDArray[np.int16]
    weights: npt.NDArray[np.int16]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    activation_bits: int = _BY_RULE
    weight_bits: int = _BY_RULE
    space_to_depth: bool = _BY_RULE
    name: str = "layer"
    dilation: tuple[int, int] = (1, 1)
    activation_format: BlockFormat | None = None
    weight_format: BlockFormat | None = None

    @classmethod
    def conv(
        cls,
        activations: Any,
        weights: Any,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | tuple[int, int, int, int] = 0,
        groups: int = 1,
        activation_bits: int | None = None,
        weight_bits: int | None = None,
        name: str = "conv",
        *,
        dilation: int | tuple[int, int] = 1,
        space_to_depth: bool | None = None,
    ) -> "Layer":
        """A convolution.

        Parameters
        ----------
        activations : integer array, N,C,H,W, or Shape
            Values with magnitudes below 2^15. A BlockArray of integer elements in blocks along C
            stands for its mantissas.
        weights : integer array, K,C/groups,kh,kw, or Shape
            Or a BlockArray likewise.
        stride, dilation : int or (int, int)
            Of both axes, or of H and of W.
        padding : int, (int, int) or (int, int, int, int)
            Zeros on all sides; along H and along W; or top, left, bottom, right (ONNX's order).
        groups : int
            ``groups == C == K`` is depthwise.
        activation_bits, weight_bits : int, optional
            Profiled widths in bits, 1..16. None: what the whole tensor needs, which is
            bitlen(max(x, 1)) for data without negatives, else
            bitlen(max(x if x >= 0 else ~x, 1)) + 1. Values are never clipped to a narrower
            profile.
        name : str
        space_to_depth : bool, optional
            Fold the stride into the channels: C·sx·sy channels (channel fastest, then x, then
            y), kernel ceil(k/s), stride 1, the same outputs. None: the rule of the walk, fold a
            first layer, recognised by its 3 channels and a stride above 1 (undilated).

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
        activations, activation_format = operand(activations, 1, "activations")
        weights, weight_format = operand(weights, 1, "weights")
        return cls(
            kind="conv",
            activations=activations,
            weights=weights,
            activation_format=activation_format,
            weight_format=weight_format,
            stride=cast("tuple[int, int]", stride),
            padding=cast("tuple[int, int, int, int]", padding),
            groups=groups,
            activation_bits=cast("int", activation_bits),
            weight_bits=cast("int", weight_bits),
            space_to_depth=cast("bool", space_to_depth),
            name=name,
            dilation=cast("tuple[int, int]", dilation),
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
        activations : integer array, N,C, Shape or BlockArray
        weights : integer array, K,C, Shape or BlockArray
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
        activations, activation_format = operand(activations, 1, "activations")
        weights, weight_format = operand(weights, 1, "weights")
        return cls(
            kind="linear",
            activations=activations,
            weights=weights,
            activation_format=activation_format,
            weight_format=weight_format,
            activation_bits=cast("int", activation_bits),
            weight_bits=cast("int", weight_bits),
            name=name,
        )

    @classmethod
    def matmul(
        cls,
        a: Any,
        b: Any,
        activation_bits: int | None = None,
        weight_bits: int | None = None,
        name: str = "matmul",
    ) -> "Layer":
        """A matrix product a @ b, as of attention, where both operands are activations.

        Parameters
        ----------
        a : integer array, ...,M,C, Shape or BlockArray
            Its M rows take the place of the windows.
        b : integer array, ...,C,K or C,K, Shape or BlockArray
            Its K columns take the place of the filters, whatever they are; axes before the last
            two broadcast as in NumPy.
        activation_bits, weight_bits, name
            As for `Layer.conv`; `weight_bits` is the width of `b`.

        Raises
        ------
        TypeError, ValueError
            As for `Layer.conv`.

        Notes
        -----
        The layer is walked as a 1 × 1 convolution. If `b` is one matrix, the leading axes of `a`
        are the batch. Otherwise the products are taken in turn, as groups of one image.

        Examples
        --------
        >>> import numpy as np
        >>> layer = Layer.matmul(np.ones((2, 8, 5, 64), int), np.ones((2, 8, 64, 7), int))
        >>> layer.groups, layer.windows, layer.macs == 2 * 8 * 5 * 64 * 7
        (16, 5, True)
        """
        a, activation_format = operand(a, -1, "a")
        b, weight_format = operand(b, -2, "b")
        a = a if isinstance(a, Shape) else np.asarray(a)
        b = b if isinstance(b, Shape) else np.asarray(b)
        if a.ndim < 2 or b.ndim < 2 or a.shape[-1] != b.shape[-2]:
            raise ValueError(
                "a and b must be matrices ...,M,C and ...,C,K of one C, not of shapes "
                f"{a.shape} and {b.shape}"
            )
        leading: tuple[int, ...] = a.shape[:-2]
        if b.ndim > 2:
            try:
                leading = np.broadcast_shapes(leading, b.shape[:-2])
            except ValueError:
                raise ValueError(
                    f"the leading axes of a and b must broadcast, not {a.shape} and {b.shape}"
                ) from None
        count = math.prod(leading)
        batch, groups = (1, count) if b.ndim > 2 else (count, 1)
        (m, c), k = a.shape[-2:], b.shape[-1]
        activations: Any = Shape(batch, groups * c, m, 1) if isinstance(a, Shape) else None
        weights: Any = Shape(groups * k, c, 1, 1) if isinstance(b, Shape) else None
        if activations is None:
            rows = np.broadcast_to(a, (*leading, m, c)).swapaxes(-1, -2)
            activations = rows.reshape(batch, groups * c, m, 1)
        if weights is None:
            spread = (*leading, c, k) if b.ndim > 2 else (c, k)
            weights = np.broadcast_to(b, spread).swapaxes(-1, -2).reshape(groups * k, c, 1, 1)
        return cls(
            kind="matmul",
            activations=activations,
            weights=weights,
            activation_format=activation_format,
            weight_format=weight_format,
            groups=groups,
            activation_bits=cast("int", activation_bits),
            weight_bits=cast("int", weight_bits),
            name=name,
        )

    def __repr__(self) -> str:
        return (
            f"Layer({self.kind} {self.name!r}, activations {self.activations.shape} of "
            f"{self.activation_bits} bits, weights {self.weights.shape} of {self.weight_bits} bits)"
        )

    def __post_init__(self) -> None:
        if self.kind not in ("conv", "linear", "matmul"):
            raise ValueError(f"kind must be 'conv', 'linear' or 'matmul', not {self.kind!r}")
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, not {self.name!r}")
        axes = ("N,C,H,W", "K,C/groups,kh,kw") if self.has_windows else ("N,C", "K,C")
        activations = integer_tensor(self.activations, "activations", axes[0])
        weights = integer_tensor(self.weights, "weights", axes[1])
        checked = {
            "activations": activations,
            "weights": weights,
            "stride": numbers("stride", self.stride, 1, (2,)),
            "padding": numbers("padding", self.padding, 0, (2, 4)),
            "groups": whole_number("groups", self.groups, 1),
            "dilation": numbers("dilation", self.dilation, 1, (2,)),
        }
        for field, tensor in (("activation_bits", activations), ("weight_bits", weights)):
            bits = getattr(self, field)
            if bits is None and isinstance(tensor, Shape):
                if getattr(self, field.replace("bits", "format")) is not None:
                    checked[field] = MAX_BITS  # of mantissas too wide to be kept
                    continue
                raise ValueError(f"{field} must be given where only the shape of a tensor is known")
            checked[field] = (
                tensor_bits(tensor) if bits is None else whole_number(field, bits, 1, MAX_BITS)
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
            plain = max(self.stride) == max(self.dilation) == 1 and not any(self.padding)
            if not plain or (self.groups > 1 and self.kind == "linear"):
                raise ValueError(
                    f"a {self.kind} layer has stride 1, padding 0, dilation 1"
                    + " and groups 1" * (self.kind == "linear")
                )
            return
        padded, reach = self.padded_size, self.reach
        if reach[0] > padded[0] or reach[1] > padded[1]:
            raise ValueError(
                f"the kernel must fit the padded input, but {reach} is larger than {padded}"
            )

    def _folds(self) -> bool:
        asked: Any = self.space_to_depth
        can = max(self.stride) > 1 and max(self.dilation) == 1 and self.groups == 1
        if asked is None:
            return self.is_conv and self.channels == 3 and can
        if not isinstance(asked, bool):
            raise TypeError(f"space_to_depth must be True, False or None, not {asked!r}")
        if asked and not (self.is_conv and can):
            raise ValueError(
                "space_to_depth=True needs a convolution with stride > 1, dilation 1 and "
                f"groups == 1, not stride={self.stride}, dilation={self.dilation}, "
                f"groups={self.groups}"
            )
        return asked

    @property
    def is_conv(self) -> bool:
        """True for a convolution."""
        return self.kind == "conv"

    @property
    def has_windows(self) -> bool:
        """Whether columns take windows (of a product: rows); not if fully connected."""
        return self.kind != "linear"

    @property
    def has_values(self) -> bool:
        """Whether the tensors are there, and not their shapes alone."""
        return not isinstance(self.activations, Shape) and not isinstance(self.weights, Shape)

    @property
    def is_depthwise(self) -> bool:
        """One filter per channel: groups == C == K, with more than one channel."""
        return self.is_conv and self.groups == self.channels == self.filters > 1

    @property
    def activations_signed(self) -> bool:
        """Whether any activation is negative: then every width holds a sign bit."""
        return bool((np.asarray(self.activations) < 0).any())

    @property
    def weights_signed(self) -> bool:
        """Whether any weight is negative: then every width holds a sign bit."""
        return bool((np.asarray(self.weights) < 0).any())

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
        if not self.has_windows:
            return (1, 1)
        return (int(self.weights.shape[2]), int(self.weights.shape[3]))

    @property
    def reach(self) -> tuple[int, int]:
        """Positions the kernel spans along x and y: dilation·(k−1) + 1."""
        (kx, ky), (dx, dy) = self.kernel, self.dilation
        return (dx * (kx - 1) + 1, dy * (ky - 1) + 1)

    @property
    def padded_size(self) -> tuple[int, int]:
        """Input size along x and y, zero padding included; (1, 1) if fully connected."""
        if not self.has_windows:
            return (1, 1)
        x, y = self.activations.shape[2:]
        top, left, bottom, right = self.padding
        return (int(x) + top + bottom, int(y) + left + right)

    @property
    def outputs(self) -> tuple[int, int]:
        """Output size ox, oy along x (axis 2) and y (axis 3); (1, 1) if fully connected."""
        size, reach, stride = self.padded_size, self.reach, self.stride
        return ((size[0] - reach[0]) // stride[0] + 1, (size[1] - reach[1]) // stride[1] + 1)

    @property
    def windows(self) -> int:
        """Windows (output positions) of one image, ox·oy."""
        return self.outputs[0] * self.outputs[1]

    @property
    def reduction(self) -> int:
        """Products summed into one output: C/groups·kh·kw."""
        return math.prod(self.weights.shape[1:])

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the whole batch, those with zero padding included."""
        return self.batch * self.windows * self.filters * self.reduction

    @property
    def padded_activations(self) -> npt.NDArray[np.int16]:
        """The activations inside their ring of zero padding (unchanged if there is none)."""
        if not any(self.padding):
            return np.asarray(self.activations)
        top, left, bottom, right = self.padding
        return np.pad(self.activations, ((0, 0), (0, 0), (top, bottom), (left, right)))
