"""The rules of the walk as plain loops over Python integers: slow, and easy to check by eye."""

from math import ceil

from fmtlib.hardware import Layer


def width(values: list[int], signed: bool, ends: str) -> int:
    """Bits the values need together; at least the width of a zero."""
    high = max(max((v if v >= 0 else ~v).bit_length(), 1) for v in values) + signed
    low = 0
    if ends == "both" and any(values):
        low = min((v & -v).bit_length() - 1 for v in values if v)
    return high - low


def conv_steps(layer: Layer, image: int, tiles: int, lanes: int, columns: int, rows: int):
    """Yield, for each step in time order, its place (group, pallet, filter set, ky, kx, channel)
    and the bricks of the windows in flight (lists of ints).
    """
    x_size, y_size = layer.activations.shape[2:]
    (kx, ky), (ox, oy), (sx, sy) = layer.kernel, layer.outputs, layer.stride
    dx, dy = layer.dilation
    channels = layer.channels // layer.groups
    filters = layer.filters // layer.groups
    groups = layer.groups
    if layer.is_depthwise:
        lanes = min(lanes, rows)
        groups = ceil(layer.channels / lanes)
        channels = filters = lanes

    def padded(c: int, x: int, y: int) -> int:
        x, y = x - layer.padding[0], y - layer.padding[1]
        inside = c < layer.channels and 0 <= x < x_size and 0 <= y < y_size
        return int(layer.activations[image, c, x, y]) if inside else 0

    value, step = padded, (sx, sy)
    if layer.space_to_depth:
        c0 = channels

        def folded(c: int, x: int, y: int) -> int:
            offset, c = divmod(c, c0)
            y_offset, x_offset = divmod(offset, sx)
            return padded(c, x * sx + x_offset, y * sy + y_offset)

        value, step = folded, (1, 1)
        channels, kx, ky = c0 * sx * sy, ceil(kx / sx), ceil(ky / sy)

    for group in range(groups):
        first = group * channels
        for pallet in range(ceil(ox * oy / columns)):
            windows = range(pallet * columns, min((pallet + 1) * columns, ox * oy))
            for filter_set in range(ceil(ceil(filters / rows) / tiles)):
                for j in range(ky):
                    for i in range(kx):
                        for brick in range(0, channels, lanes):
                            last = min(brick + lanes, channels)
                            yield (
                                (group, pallet, filter_set, j, i, brick),
                                [
                                    [
                                        value(
                                            first + c,
                                            w % ox * step[0] + i * dx,
                                            w // ox * step[1] + j * dy,
                                        )
                                        for c in range(brick, last)
                                    ]
                                    for w in windows
                                ],
                            )


def round_robin(costs: list[int], columns: int) -> int:
    """Bricks to columns in turn, one started per cycle."""
    free, now = [0] * columns, 0
    for n, cost in enumerate(costs):
        now = max(now, free[n % columns])
        free[n % columns] = now + cost
        now += 1
    return max(free)


def linear_bricks(layer: Layer, sample: int, tiles: int, lanes: int, rows: int) -> list[list[int]]:
    """The bricks of one sample in time order, over all filter sets."""
    values = [int(v) for v in layer.activations[sample]]
    bricks = [values[c : c + lanes] for c in range(0, len(values), lanes)]
    return bricks * ceil(ceil(layer.filters / rows) / tiles)


def fixed_cycles(layer: Layer, cost: int, *, tiles: int, lanes: int, columns: int, rows: int):
    """Every step (or brick) takes `cost` cycles: DaDianNao and Stripes."""
    total = 0
    for n in range(layer.batch):
        if layer.has_windows:
            total += cost * sum(1 for _ in conv_steps(layer, n, tiles, lanes, columns, rows))
        else:
            bricks = linear_bricks(layer, n, tiles, lanes, rows)
            total += round_robin([cost] * len(bricks), columns)
    return total


def dynamic_cycles(
    layer: Layer,
    *,
    tiles: int,
    lanes: int,
    columns: int,
    rows: int,
    ends: str,
    run_ahead: int,
    group_size: int,
    even_widths: bool,
):
    """Dynamic Stripes, with column ends kept for every step."""
    signed = bool((layer.activations < 0).any())

    def cost(values: list[int]) -> int:
        bits = width(values, signed, ends)
        return ceil(bits / 2) if even_widths else bits

    total = 0
    for n in range(layer.batch):
        if not layer.has_windows:
            bricks = linear_bricks(layer, n, tiles, lanes, rows)
            total += round_robin([cost(brick) for brick in bricks], columns)
            continue
        ends_of_columns = [0] * columns
        latest: list[int] = []
        for k, (_, windows) in enumerate(conv_steps(layer, n, tiles, lanes, columns, rows)):
            wait = latest[k - 1 - run_ahead] if k - 1 - run_ahead >= 0 else 0
            for column in range(columns):
                start = column // group_size * group_size
                group = windows[start : start + group_size]
                bits = cost([v for brick in group for v in brick]) if column < len(windows) else 0
                ends_of_columns[column] = max(wait, ends_of_columns[column]) + bits
            latest.append(max(ends_of_columns))
        total += latest[-1]
    return total


def macs_with_weights(layer: Layer):
    """Yield the activation and the weight of every multiply-accumulate of the layer."""
    if not layer.has_windows:
        for sample in layer.activations.tolist():
            for weights in layer.weights.tolist():
                yield from zip(sample, weights, strict=True)
        return
    (px, py, _, _), (sx, sy), (dx, dy) = layer.padding, layer.stride, layer.dilation
    channels = layer.channels // layer.groups
    for image in layer.activations:
        for k in range(layer.filters):
            group = k // (layer.filters // layer.groups)
            for x in range(layer.outputs[0]):
                for y in range(layer.outputs[1]):
                    for c in range(channels):
                        for i in range(layer.kernel[0]):
                            for j in range(layer.kernel[1]):
                                ax, ay = x * sx + i * dx - px, y * sy + j * dy - py
                                inside = 0 <= ax < image.shape[1] and 0 <= ay < image.shape[2]
                                value = int(image[group * channels + c, ax, ay]) if inside else 0
                                yield value, int(layer.weights[k, c, i, j])


def macs(layer: Layer):
    """Yield the activation of every multiply-accumulate of the layer."""
    return (activation for activation, _ in macs_with_weights(layer))


def dynamic_bit_products(layer: Layer, *, ends: str, even_widths: bool) -> int:
    """Width of each activation by itself times 16, summed over the MACs."""
    signed = bool((layer.activations < 0).any())
    widths = [width([v], signed, ends) for v in macs(layer)]
    return sum(16 * (2 * ceil(w / 2) if even_widths else w) for w in widths)


def fast_passes(layer: Layer, activation_mantissa: int, weight_mantissa: int, lanes: int) -> int:
    """Passes counted output by output."""
    outputs = layer.batch * layer.filters * layer.outputs[0] * layer.outputs[1]
    pairs = len(range(0, layer.weights[0].size, lanes))
    return outputs * pairs * ceil(activation_mantissa / 2) * ceil(weight_mantissa / 2)
