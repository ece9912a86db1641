"""The order in which the arrays walk a layer; every design counts cycles along this walk.

An array has `tiles` tiles of `rows` rows (filters) by `columns` columns (windows), and each
crossing multiplies `lanes` channels a step. In time order a layer is: groups, pallets (`columns`
windows), filter sets, ky, kx, bricks (`lanes` channels). Windows are numbered w = y·ox + x with x
along array axis 2 and y along axis 3. Filters come in sets of `rows`, `tiles` sets in lockstep.

The order is that of DNNsim, the simulator of the Toronto group, reproduced number for number.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from fmtlib._core import counting
from fmtlib.hardware.layers import Layer


def ceil_div(a: int, b: int) -> int:
    """ceil(a / b) of positive integers, exactly."""
    return -(-a // b)


@dataclass(frozen=True, eq=False)
class Walk:
    """The steps one image or sample of a layer takes; built by `walk_layer`.

    Attributes
    ----------
    layer : Layer
    lanes, columns : int
        Channels and windows of one step.
    groups, channels, filters : int
        Channel groups taken in turn, and channels and filters of each.
    kernel, stride
        Of the walk: after space-to-depth they differ from the layer's.
    filters_in_lockstep : int
        Filters that all tiles work on at a time.
    """

    layer: Layer
    lanes: int
    columns: int
    groups: int
    channels: int
    filters: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    filters_in_lockstep: int

    @property
    def filter_sets(self) -> int:
        """Filter sets taken in turn for each pallet, the sets in lockstep counted once."""
        return ceil_div(self.filters, self.filters_in_lockstep)

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
        if not self.layer.has_windows:
            return x.reshape(self.layer.batch, 1, self.channels, 1, 1)
        if self.layer.space_to_depth:
            x = _space_to_depth(x, self.layer)
        missing = self.groups * self.channels - x.shape[1]
        if missing:
            x = np.pad(x, ((0, 0), (0, missing), (0, 0), (0, 0)))
        return x.reshape(x.shape[0], self.groups, self.channels, *x.shape[2:])

    def weight_sets(self) -> Iterator[tuple[int, npt.NDArray[np.int16]]]:
        """The weights of each filter set, all tiles in lockstep, with its group, in time order.

        Yields
        ------
        group : int
        weights : int16 array, filters, taps, lanes
            In time order; zero in lanes without a channel.
        """
        layer = self.layer
        if layer.has_windows:
            filters = np.asarray(layer.weights)
            if layer.space_to_depth:
                sizes = (k * s for k, s in zip(self.kernel, layer.stride, strict=True))
                room = [(0, n - k) for n, k in zip(sizes, layer.kernel, strict=True)]
                filters = _fold(np.pad(filters, ((0, 0), (0, 0), *room)), layer.stride)
        else:
            filters = np.asarray(layer.weights)[:, :, None, None]
        for group in range(self.groups):
            for first in range(0, self.filters, self.filters_in_lockstep):
                begin = group * self.filters + first
                end = min(begin + self.filters_in_lockstep, (group + 1) * self.filters)
                chosen = filters[begin : min(end, layer.filters)]
                if layer.is_depthwise:  # the filter of channel i is in lane i of row i
                    alone = np.zeros((len(chosen), self.lanes, *chosen.shape[2:]), np.int16)
                    alone[range(len(chosen)), range(len(chosen))] = chosen[:, 0]
                    chosen = alone
                yield group, self._in_time_order(chosen)

    def _in_time_order(self, weights: npt.NDArray[np.int16]) -> npt.NDArray[np.int16]:
        """K,C,kx,ky → K, taps (ky, kx, brick), lanes."""
        missing = self.bricks * self.lanes - weights.shape[1]
        if missing:
            weights = np.pad(weights, ((0, 0), (0, missing), (0, 0), (0, 0)))
        return np.ascontiguousarray(weights.transpose(0, 3, 2, 1)).reshape(
            len(weights), self.taps, self.lanes
        )

    def gather(self, bricks: npt.NDArray[Any], idle: int) -> npt.NDArray[Any]:
        """Arrange one number per brick and position by the step and column that read it.

        Parameters
        ----------
        bricks : integer array, groups, bricks, X, Y
            A property of each brick of one image.
        idle : int
            What the columns without a window (ragged last pallet) get.

        Returns
        -------
        array of the same type, groups, pallets, taps, columns
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
        if not active.all():
            steps = np.where(active, steps, steps.dtype.type(idle))
        steps = np.moveaxis(steps, 1, 4)  # the brick is the innermost step
        return steps.reshape(self.groups, self.pallets, self.taps, self.columns)

    def pallet_maxima(self, values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """The greatest of a property of the activations over the windows of each pallet.

        Parameters
        ----------
        values : uint8 array, groups, channels, X, Y
            One for each activation of one image.

        Returns
        -------
        uint8 array, groups, pallets, taps, lanes
            In time order; 0 in lanes without a channel.
        """
        missing = self.bricks * self.lanes - self.channels
        last = np.pad(values.transpose(0, 3, 2, 1), ((0, 0), (0, 0), (0, 0), (0, missing)))
        found: npt.NDArray[np.uint8] = counting.pallet_maxima(
            np.ascontiguousarray(last),
            self.layer.outputs,
            self.columns,
            self.kernel,
            self.stride,
            self.layer.dilation,
        )
        return found.reshape(self.groups, self.pallets, self.taps, self.lanes)


def walk_layer(layer: Layer, *, tiles: int, lanes: int, columns: int, rows: int) -> Walk:
    """The walk of a layer over an array of the given size.

    A fully connected layer is one window, whose bricks are its taps.

    Examples
    --------
    >>> layer = Layer.conv(np.ones((1, 24, 6, 6), int), np.ones((40, 24, 3, 3), int))
    >>> walk_layer(layer, tiles=1, lanes=16, columns=16, rows=16).steps
    54
    """
    groups, kernel, stride = layer.groups, layer.kernel, layer.stride
    channels, filters = layer.channels // groups, layer.filters // groups
    in_lockstep = rows * tiles
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
        in_lockstep = lanes
    return Walk(
        layer=layer,
        lanes=lanes,
        columns=columns,
        groups=groups,
        channels=channels,
        filters=filters,
        kernel=kernel,
        stride=stride,
        filters_in_lockstep=in_lockstep,
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


def lane_masks(values: npt.NDArray[np.generic]) -> npt.NDArray[np.uint64]:
    """Which values of the last axis (lanes, at most 64) are not zero, as the bits of a mask."""
    bits = np.packbits(values != 0, axis=-1, bitorder="little")
    room = np.zeros((*bits.shape[:-1], 8), np.uint8)
    room[..., : bits.shape[-1]] = bits
    masks: npt.NDArray[np.uint64] = room.view("<u8")[..., 0].astype(np.uint64)
    return masks


def fixed_cycles(walk: Walk, cost: int) -> int:
    """Cycles of one image or sample of a layer whose every step, or brick, takes `cost` cycles.

    Parameters
    ----------
    walk : Walk
        See `Design.walk`.
    cost : int

    Returns
    -------
    int

    Examples
    --------
    >>> import numpy as np
    >>> from fmtlib import hardware
    >>> layer = hardware.Layer.conv(np.ones((1, 24, 6, 6), int), np.ones((40, 24, 3, 3), int))
    >>> walk = hardware.design("stripes").walk(layer)
    >>> walk.steps, hardware.fixed_cycles(walk, 8)
    (54, 432)
    """
    if walk.layer.has_windows:
        return walk.steps * cost
    return round_robin(np.full(walk.taps, cost), walk.filter_sets, walk.columns)


def serial_cycles(walk: Walk, costs: npt.NDArray[Any], run_ahead: int = 0) -> int:
    """Cycles of a layer whose bricks of activations each take a time of their own.

    Parameters
    ----------
    walk : Walk
    costs : integer array, N, groups, bricks, X, Y
        Cycles of each brick. In a step all columns wait for the slowest; in a fully connected
        layer bricks go round-robin to the columns.
    run_ahead : int
        Registers per column that let columns run ahead of each other; see `run_ahead_cycles`.

    Returns
    -------
    int
        Of all images.

    Examples
    --------
    Two windows side by side, whose two bricks of 16 channels take 3 and 1, and 2 and 2 cycles:

    >>> import numpy as np
    >>> from fmtlib import hardware
    >>> layer = hardware.Layer.conv(np.ones((1, 32, 2, 1), int), np.ones((16, 32, 1, 1), int))
    >>> walk = hardware.design("stripes").walk(layer)
    >>> hardware.serial_cycles(walk, np.array([[3, 2], [1, 2]]).reshape(1, 1, 2, 2, 1))
    5
    """
    if not walk.layer.has_windows:
        return sum(round_robin(row.reshape(-1), walk.filter_sets, walk.columns) for row in costs)
    total = 0
    for image in costs:
        steps = walk.gather(image, idle=0)
        if run_ahead:
            total += run_ahead_cycles(
                steps.reshape(-1, walk.taps, walk.columns), walk.filter_sets, run_ahead
            )
        else:
            total += int(steps.max(axis=-1).sum(dtype=np.int64)) * walk.filter_sets
    return total


def sum_over_macs(
    layer: Layer,
    of_activations: npt.NDArray[np.uint8] | None = None,
    of_weights: npt.NDArray[np.uint8] | None = None,
) -> int:
    """Sum a product of something of the activation and something of the weight over all MACs.

    Parameters
    ----------
    layer : Layer
    of_activations : uint8 array, optional
        One number per value of ``layer.padded_activations``, whose shape it has; None: 1 for
        each. Zero padding is multiplied like any value, and the layer is taken as it is, not
        folded.
    of_weights : uint8 array, optional
        One number per weight; None: 1 for each.

    Returns
    -------
    int

    Examples
    --------
    How many products have no zero in them:

    >>> import numpy as np
    >>> from fmtlib import hardware
    >>> x, w = np.array([[3, 0, 5]]), np.array([[1, 1, 0], [2, 2, 2]])
    >>> layer = hardware.Layer.linear(x, w)
    >>> hardware.sum_over_macs(layer, np.uint8(x != 0), np.uint8(w != 0))
    3
    """
    groups, filters = layer.groups, layer.filters // layer.groups
    if of_activations is None:
        if of_weights is None:
            return layer.macs
        return layer.batch * layer.windows * int(of_weights.sum(dtype=np.int64))
    # Summed over what a weight is multiplied by: per channel and tap, and over filters likewise.
    sums = of_activations.sum(axis=0, dtype=np.int64)
    if layer.has_windows:
        (ox, oy), (kx, ky) = layer.outputs, layer.kernel
        (sx, sy), (dx, dy) = layer.stride, layer.dilation
        rows = [sums[:, :, j * dy : j * dy + (oy - 1) * sy + 1 : sy].sum(axis=2) for j in range(ky)]
        by_row = np.stack(rows, axis=-1)  # C, X, ky
        taps = [by_row[:, i * dx : i * dx + (ox - 1) * sx + 1 : sx].sum(axis=1) for i in range(kx)]
        sums = np.stack(taps, axis=1)  # C, kx, ky
    if of_weights is None:
        return int(sums.sum()) * filters
    over_filters = of_weights.reshape(groups, filters, *of_weights.shape[1:]).sum(
        axis=1, dtype=np.int64
    )
    # The sums may exceed 64 bits only together, so add up Python integers at the end.
    return sum(map(int, (over_filters.reshape(-1) * sums.reshape(-1)).tolist()))


def round_robin(costs: npt.NDArray[np.integer], filter_sets: int, columns: int) -> int:
    """Cycles of a sample of a fully connected layer, whose bricks go round-robin to the columns.

    There is no window axis, so a column takes a whole brick; one brick starts per cycle:
    ``now = max(now, free[column]); free[column] = now + cost; now += 1``. The state is carried
    over the filter sets, and the total is max(free).

    Parameters
    ----------
    costs : integer array, bricks
        Cycles of each brick.
    filter_sets, columns : int
        The bricks come once for each filter set.

    Examples
    --------
    >>> round_robin(np.full(4, 9), filter_sets=1, columns=16)
    12
    """
    if not costs.size:
        return 0
    return counting.round_robin(np.ascontiguousarray(costs, np.int32), filter_sets, columns)


def run_ahead_cycles(costs: npt.NDArray[np.uint8], filter_sets: int, registers: int) -> int:
    """Cycles of a sequence of steps when columns may run ahead of each other.

    With r registers per column, column j ends step n at ``c[j] = max(E[n-1-r], c[j]) + cost[j]``,
    where E[k] is the latest end of any column after step k. With r = 0 all columns wait for the
    slowest at each step.

    Parameters
    ----------
    costs : uint8 array, pallets, taps, columns
        The taps of a pallet come once for each filter set.
    filter_sets, registers : int

    Examples
    --------
    >>> steps = np.array([[[1, 3], [3, 1]]], np.uint8)
    >>> run_ahead_cycles(steps, 1, registers=0), run_ahead_cycles(steps, 1, registers=1)
    (6, 4)
    """
    return counting.run_ahead(np.ascontiguousarray(costs), filter_sets, registers)
