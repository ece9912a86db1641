"""The Hypothesis strategy of layers; public as `fmtlib.testing.layers`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy
from numpy.typing import NDArray

from fmtlib.arguments import whole_number
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.tensors import MAX_BITS

LayerKind: TypeAlias = Literal["linear", "conv", "grouped", "depthwise", "first", "matmul"]
LAYER_KINDS: tuple[LayerKind, ...] = get_args(LayerKind)


def layers(
    kinds: LayerKind | Sequence[LayerKind] = LAYER_KINDS,
    *,
    max_batch: int = 2,
    max_channels: int = 7,
    max_filters: int = 7,
    max_size: int = 6,
    max_kernel: int = 3,
    max_bits: int = MAX_BITS,
) -> SearchStrategy[Layer]:
    """Small layers with their tensors, for tests of counters, simulators and compressors.

    Strides, zero paddings and dilations are drawn for each side and axis by itself. Values are
    such as accelerators exploit, and such as they trip over: many zeros or few, low bits that are
    zero, one tensor of narrow and another of wide values, with negatives or without; weights
    also pruned, or zero altogether.

    Parameters
    ----------
    kinds : str or sequence of str
        Of "linear", "conv", "grouped", "depthwise", "first" (3 channels and a stride above 1,
        which the counters fold) and "matmul"; examples shrink towards the first.
    max_batch, max_channels, max_filters, max_size, max_kernel : int
        Greatest sizes; `max_channels` and `max_filters` count each group by itself, and
        `max_size` is also that of the rows of a product.
    max_bits : int
        Greatest width of a value, sign bit included, 1..16.

    Returns
    -------
    SearchStrategy of fmtlib.hardware.Layer
        Shrinks towards one output of small values.

    Examples
    --------
    >>> from hypothesis import find
    >>> from fmtlib import testing
    >>> layer = find(testing.layers("conv"), lambda layer: layer.windows >= 2)
    >>> layer.batch, layer.groups
    (1, 1)
    """
    kinds = (kinds,) if isinstance(kinds, str) else tuple(kinds)
    if not kinds or not set(kinds) <= set(LAYER_KINDS):
        raise ValueError(f"kinds must be of {', '.join(LAYER_KINDS)}, got {kinds}")
    limits = {
        "batch": max_batch,
        "channels": max_channels,
        "filters": max_filters,
        "size": max_size,
        "kernel": max_kernel,
    }
    checked = {name: whole_number(f"max_{name}", limit, 1) for name, limit in limits.items()}
    return _layers(kinds, checked, whole_number("max_bits", max_bits, 1, MAX_BITS))


@st.composite
def _layers(
    draw: st.DrawFn, kinds: tuple[LayerKind, ...], limits: dict[str, int], bits: int
) -> Layer:
    def up_to(name: str, least: int = 1) -> int:
        return draw(st.integers(least, max(limits[name], least)))

    kind = draw(st.sampled_from(kinds))
    channels, filters, batch = up_to("channels"), up_to("filters"), up_to("batch")
    if kind == "linear":
        activations = draw(_values((batch, channels), bits))
        return Layer.linear(activations, draw(_values((filters, channels), bits, weights=True)))
    if kind == "matmul":
        leading = (batch, draw(st.integers(1, 2)))
        shared = draw(st.booleans())
        a = draw(_values((*leading, up_to("size"), channels), bits))
        shape = (channels, filters) if shared else (*leading, channels, filters)
        return Layer.matmul(a, draw(_values(shape, bits, weights=True)))
    groups = 1
    stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
    padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
    dilation = tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(2))
    kernel = (up_to("kernel"), up_to("kernel"))
    if kind == "grouped":
        groups = draw(st.integers(2, 3))
    elif kind == "depthwise":
        groups, channels, filters = max(channels, 2), 1, 1
    elif kind == "first":
        channels, stride, dilation = 3, (draw(st.integers(2, 3)), stride[1]), (1, 1)
    reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
    room = (padding[0] + padding[2], padding[1] + padding[3])
    size = [up_to("size", max(1, r - p)) for r, p in zip(reach, room, strict=True)]
    return Layer.conv(
        draw(_values((batch, groups * channels, *size), bits)),
        draw(_values((groups * filters, channels, *kernel), bits, weights=True)),
        stride=(stride[0], stride[1]),
        padding=(padding[0], padding[1], padding[2], padding[3]),
        dilation=(dilation[0], dilation[1]),
        groups=groups,
    )


@st.composite
def _values(
    draw: st.DrawFn, shape: tuple[int, ...], bits: int, weights: bool = False
) -> NDArray[Any]:
    """Integers of a tensor: how they are spread is drawn, and shrinks; the rest is a seed's."""
    negative = bits > 1 and draw(st.booleans())
    width = draw(st.integers(1, min(bits - negative, MAX_BITS - 1)))
    zeros = draw(st.sampled_from([0.6, 0.1, 0.95, 1.0] if weights else [0.1, 0.6, 0.95]))
    low_zeros = draw(st.integers(0, 5))
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    values = random.integers(0, 2**width, shape)
    values &= ~((1 << random.integers(0, low_zeros + 1, shape)) - 1)
    values[random.random(shape) < zeros] = 0
    return values * random.choice([-1, 1], shape) if negative else values
