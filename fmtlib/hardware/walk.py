"""The order in which the arrays walk a layer; every design counts cycles along this walk.

An array has `tiles` tiles of `rows` rows (filters) by `columns` columns (windows), and each
crossing multiplies `lanes` channels a step. In time order a layer is: groups, pallets (`columns`
windows), filter sets, ky, kx, bricks (`lanes` channels). Windows are numbered w = y·ox + x with x
along array axis 2 and y along axis 3. Filters come in sets of `rows`, `tiles` sets in lockstep.

The order is that of DNNsim, the simulator of the Toronto group, reproduced number for number.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from fmtlib.hardware.layers import Layer


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) of positive integers, exactly."""
    return -(-a // b)


@dataclass(frozen=True, eq=False)
class Walk:
    """The steps one image of a convolution takes; built by `walk_convolution`.

    Attributes
    ----------
    layer : Layer
    lanes, columns : int
        Channels and windows of one step.
    groups, channels : int
        Channel groups taken in turn, and channels of each.
    kernel, stride
        Of the walk: after space-to-depth they differ from the layer's.
    filter_sets : int
        Filter sets taken in turn for each pallet, the `tiles` sets in lockstep counted once.
    """

    layer: Layer
    lanes: int
    columns: int
    groups: int
    channels: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    filter_sets: int

    @property
    def pallets(self) -> int:
        """Sets of `columns` windows; the last may be ragged."""
        return ceil_div(self.layer.windows, self.columns)

    @property
    def bricks(self) -> int:
        """Bricks of `lanes` channels in a group; the last may be ragged."""
        return ceil_div(self.channels, self.lanes)

    @property
    def taps(self) -> int:
        """Steps of one pallet and filter set: ky·kx·bricks."""
        return self.kernel[0] * self.kernel[1] * self.bricks

    @property
    def steps(self) -> int:
        """Steps of one image."""
        return self.groups * self.pallets * self.filter_sets * self.taps

    def activations(self) -> npt.NDArray[np.int16]:
        """The activations as the array reads them: N, groups, channels, X, Y.

        Zero padding is written out, the stride of a first layer folded into its channels, and the
        channels of a ragged depthwise group filled with zeros.
        """
        x = self.layer.padded_activations
        if self.layer.space_to_depth:
            x = _space_to_depth(x, self.layer)
        x = np.pad(x, ((0, 0), (0, self.groups * self.channels - x.shape[1]), (0, 0), (0, 0)))
        return x.reshape(x.shape[0], self.groups, self.channels, *x.shape[2:])

    def gather(self, bricks: npt.NDArray[np.uint8], idle: int) -> npt.NDArray[np.uint8]:
        """Arrange one number per brick and position by the step and column that read it.

        Parameters
        ----------
        bricks : uint8 array, groups, bricks, X, Y
            A property of each brick of one image.
        idle : int
            What the columns without a window (ragged last pallet) get.

        Returns
        -------
        uint8 array, groups, pallets, taps, columns
            In time order; each filter set repeats the `taps` steps of its pallet.
        """
        (ox, _), windows = self.layer.outputs, self.layer.windows
        w = np.arange(self.pallets * self.columns).reshape(self.pallets, 1, 1, self.columns)
        active = w < windows
        w = np.minimum(w, windows - 1)
        (sx, sy), (dx, dy) = self.stride, self.layer.dilation
        x = w % ox * sx + dx * np.arange(self.kernel[0])[:, None]  # pallets, 1, kx, columns
        y = w // ox * sy + dy * np.arange(self.kernel[1])[:, None, None]  # pallets, ky, 1, ...
        steps = bricks[:, :, x, y]  # groups, bricks, pallets, ky, kx, columns
        steps = np.where(active, steps, np.uint8(idle))
        steps = np.moveaxis(steps, 1, 4)  # the brick is the innermost step
        return steps.reshape(self.groups, self.pallets, self.taps, self.columns)


def walk_convolution(layer: Layer, *, tiles: int, lanes: int, columns: int, rows: int) -> Walk:
    """The walk of a convolution over an array of the given size.

    Examples
    --------
    >>> layer = Layer.conv(np.ones((1, 24, 6, 6), int), np.ones((40, 24, 3, 3), int))
    >>> walk_convolution(layer, tiles=1, lanes=16, columns=16, rows=16).steps
    54
    """
    groups, kernel, stride = layer.groups, layer.kernel, layer.stride
    channels, filters = layer.channels // groups, layer.filters // groups
    if layer.space_to_depth:
        channels *= stride[0] * stride[1]
        kernel = (ceil_div(kernel[0], stride[0]), ceil_div(kernel[1], stride[1]))
        stride = (1, 1)
    if layer.is_depthwise:
        # Row i of a step works on lane i alone, so a step holds min(lanes, rows) channels, each
        # with its own filter: these channel groups take the place of the layer's groups, and as
        # each is a single filter set, tiles beyond the first idle.
        lanes = min(lanes, rows)
        groups, channels, filters = ceil_div(layer.channels, lanes), lanes, lanes
    return Walk(
        layer=layer,
        lanes=lanes,
        columns=columns,
        groups=groups,
        channels=channels,
        kernel=kernel,
        stride=stride,
        filter_sets=ceil_div(ceil_div(filters, rows), tiles),
    )


def _space_to_depth(x: npt.NDArray[np.int16], layer: Layer) -> npt.NDArray[np.int16]:
    """N,C,X,Y → N,C·sx·sy,X/sx,Y/sy, the channel fastest, then the x offset, then the y offset."""
    # Exactly the positions the folded windows read: some rows fall off, or zeros are added.
    size = [
        (o - 1 + ceil_div(k, s)) * s
        for o, k, s in zip(layer.outputs, layer.kernel, layer.stride, strict=True)
    ]
    x = x[:, :, : size[0], : size[1]]
    return _fold(
        np.pad(x, ((0, 0), (0, 0), (0, size[0] - x.shape[2]), (0, size[1] - x.shape[3]))),
        layer.stride,
    )


def _fold(x: npt.NDArray[np.int16], stride: tuple[int, int]) -> npt.NDArray[np.int16]:
    """Space to depth of an array whose size the stride divides."""
    (n, c, width, height), (sx, sy) = x.shape, stride
    x = x.reshape(n, c, width // sx, sx, height // sy, sy)
    return x.transpose(0, 5, 3, 1, 2, 4).reshape(n, c * sx * sy, width // sx, height // sy)


def sum_over_macs(layer: Layer, costs: npt.NDArray[np.uint8]) -> int:
    """Sum a cost of each activation over all multiply-accumulates of a layer.

    Parameters
    ----------
    layer : Layer
    costs : uint8 array
        One cost per value of ``layer.padded_activations``, whose shape it has. Zero padding is
        multiplied like any value, and the layer is taken as it is, not folded.
    """
    costs_of_position = costs.sum(axis=(0, 1), dtype=np.int64)
    if layer.has_windows:
        # A position is read by as many windows along x as there are (window, tap) pairs that
        # reach it, and likewise along y.
        uses = [
            np.bincount(
                np.add.outer(np.arange(o) * s, np.arange(k) * d).reshape(-1), minlength=size
            )
            for o, k, s, d, size in zip(
                layer.outputs,
                layer.kernel,
                layer.stride,
                layer.dilation,
                costs.shape[2:],
                strict=True,
            )
        ]
        costs_of_position = uses[0] @ costs_of_position @ uses[1]
    return int(costs_of_position) * (layer.filters // layer.groups)


def filter_sets_linear(layer: Layer, *, tiles: int, rows: int) -> int:
    """Filter sets a fully connected layer takes in turn."""
    return ceil_div(ceil_div(layer.filters, rows), tiles)


def round_robin(
    costs: npt.NDArray[np.integer], filter_sets: int, columns: int
) -> npt.NDArray[np.int64]:
    """Cycles of a fully connected layer, whose bricks go round-robin to the columns.

    There is no window axis, so a column takes a whole brick; one brick starts per cycle:
    ``now = max(now, free[column]); free[column] = now + cost; now += 1``. The state is carried
    over the filter sets, and the total is max(free).

    Parameters
    ----------
    costs : integer array, N, bricks
        Cycles of each brick.
    filter_sets, columns : int

    Returns
    -------
    int64 array, N
        Cycles of each sample, walked from a fresh state.

    Examples
    --------
    >>> round_robin(np.full((1, 4), 9), filter_sets=1, columns=16)
    array([12])
    """
    sequence = np.tile(costs, (1, filter_sets)).astype(np.int64)
    samples, length = sequence.shape
    free = np.zeros((samples, columns), np.int64)
    now = np.zeros((samples, 1), np.int64)
    for begin in range(0, length, columns):
        cost = sequence[:, begin : begin + columns]
        order = np.arange(cost.shape[1])
        # start[i] = max(start[i-1] + 1, free[i]): without the slope of one a cycle, a running max.
        earliest = np.maximum(free[:, : cost.shape[1]] - order, now)
        start = np.maximum.accumulate(earliest, axis=1) + order
        free[:, : cost.shape[1]] = start + cost
        now = start[:, -1:] + 1
    total: npt.NDArray[np.int64] = free.max(axis=1)
    return total


def run_ahead(costs: npt.NDArray[np.integer], registers: int) -> int:
    """Cycles of a sequence of steps when columns may run ahead of each other.

    With r registers per column, column j ends step n at ``c[j] = max(E[n-1-r], c[j]) + cost[j]``,
    where E[k] is the latest end of any column after step k. With r = 0 all columns wait for the
    slowest at each step.

    Parameters
    ----------
    costs : integer array, steps, columns
    registers : int

    Examples
    --------
    >>> steps = np.array([[1, 3], [3, 1]])
    >>> run_ahead(steps, 0), run_ahead(steps, 1)
    (6, 4)
    """
    ends = np.zeros(costs.shape[1], np.int64)
    latest = [0] * (registers + 1)  # E of the last r + 1 steps, a ring indexed by the step
    for n, cost in enumerate(costs):
        np.maximum(ends, latest[n % (registers + 1)], out=ends)
        ends += cost
        latest[n % (registers + 1)] = int(ends.max())
    return int(ends.max())
