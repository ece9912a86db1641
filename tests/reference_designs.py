"""The designs as nested loops over Python integers: slow, and easy to check by eye.

Each function takes a layer and the array (tiles, lanes, columns, rows) and gives the cycles.  What
they share, the order of the steps, is in `reference_walk`.
"""

from collections import Counter
from math import ceil, isqrt

from reference_walk import conv_steps, linear_bricks, macs_with_weights, round_robin, width

from fmtlib.hardware import Layer
from fmtlib.reference import effectual_terms


def steps(layer: Layer, image: int, *, tiles: int, lanes: int, columns: int, rows: int):
    """Yield, for each step in time order, the bricks of the windows in flight (lists of integers),
    those of the filters in flight, and whether a pallet or filter set begins with it.
    """
    if not layer.has_windows:
        bricks = linear_bricks(layer, image, tiles, lanes, rows)
        per_set = ceil(layer.channels / lanes)
        for n, brick in enumerate(bricks):
            which, place = divmod(n, per_set)
            first, begin = which * rows * tiles, place * lanes
            filters = layer.weights[first : first + rows * tiles]
            weights = [[int(w) for w in row[begin : begin + lanes]] for row in filters]
            yield [brick], weights, place == 0
        return
    previous = None
    for place, windows in conv_steps(layer, image, tiles, lanes, columns, rows):
        yield (
            windows,
            weight_bricks(layer, place, tiles, lanes, rows),
            (place[:3] != previous),
        )
        previous = place[:3]


def weight_bricks(layer: Layer, place, tiles: int, lanes: int, rows: int) -> list[list[int]]:
    """The bricks of the filters in flight at a place of `conv_steps`."""
    group, _, which, j, i, begin = place
    (kx, ky), (sx, sy) = layer.kernel, layer.stride
    if layer.is_depthwise:
        lanes = min(lanes, rows)
        channels = range(group * lanes, min((group + 1) * lanes, layer.channels))
        return [
            [int(layer.weights[k, 0, i, j]) if lane == k % lanes else 0 for lane in range(lanes)]
            for k in channels
        ]
    filters = layer.filters // layer.groups
    first = which * rows * tiles
    in_flight = range(group * filters + first, group * filters + min(first + rows * tiles, filters))
    c0 = layer.channels // layer.groups

    def weight(k: int, c: int) -> int:
        x, y = i, j
        if layer.space_to_depth:
            offset, c = divmod(c, c0)
            y_offset, x_offset = divmod(offset, sx)
            x, y = i * sx + x_offset, j * sy + y_offset
        return int(layer.weights[k, c, x, y]) if x < kx and y < ky else 0

    channels = c0 * sx * sy if layer.space_to_depth else c0
    return [[weight(k, c) for c in range(begin, min(begin + lanes, channels))] for k in in_flight]


def cycles_of_steps(layer: Layer, cost, run_ahead: int = 0, **array) -> int:
    """Sum of costs of steps; fully connected: bricks round-robin.  cost(brick, weight bricks)."""
    total = 0
    columns = array["columns"]
    for image in range(layer.batch):
        if not layer.has_windows:
            costs = [cost(w[0], weights) for w, weights, _ in steps(layer, image, **array)]
            total += round_robin(costs, columns)
            continue
        ends, latest = [0] * columns, []
        for k, (windows, weights, _) in enumerate(steps(layer, image, **array)):
            wait = latest[k - 1 - run_ahead] if k - 1 - run_ahead >= 0 else 0
            for column in range(columns):
                spent = cost(windows[column], weights) if column < len(windows) else 0
                ends[column] = max(wait, ends[column]) + spent
            latest.append(max(ends))
        total += latest[-1]
    return total


def signed(tensor) -> bool:
    return bool((tensor < 0).any())


def tartan(layer, *, serial_bits, cascading, tiles, lanes, columns, rows):
    array = {"tiles": tiles, "lanes": lanes, "columns": columns, "rows": rows}
    if layer.has_windows:
        cost = ceil(layer.activation_bits / serial_bits)
        return cycles_of_steps(layer, lambda *_: cost, **array)
    bits = ceil(max(layer.activation_bits, layer.weight_bits) / serial_bits)
    in_flight = tiles * rows * columns
    best = None
    for slices in range(1, columns + 1 if cascading and layer.filters < in_flight else 2):
        spent = 0
        for _ in range(0, layer.filters * slices, in_flight):  # slices of outputs in flight
            for _ in range(0, layer.channels, lanes * slices):
                spent += bits
        spent += slices - 1  # adding the slices up along the columns
        best = spent if best is None else min(best, spent)
    return layer.batch * (best + columns)


def loom(layer, *, serial_bits, dynamic_activations, dynamic_weights, **array):
    def cost(brick, weights):
        a, w = layer.activation_bits, layer.weight_bits
        if dynamic_activations:
            a = width(brick, signed(layer.activations), "leading")
        if dynamic_weights:
            w = width([v for row in weights for v in row], signed(layer.weights), "leading")
        return ceil(a / serial_bits) * w

    return cycles_of_steps(layer, cost, **array)


def positions(value: int, recoding: str) -> list[int]:
    """Powers of two of the terms, the lowest first."""
    return sorted(abs(term).bit_length() - 1 for term in effectual_terms(value, recoding))


def pragmatic(layer, *, first_stage_bits, recoding, run_ahead, **array):
    def cost(brick, weights):
        pending = [positions(v, recoding) for v in brick]
        cycles = 0
        while any(pending):
            base = min(p[0] for p in pending if p)
            for p in pending:
                if p and p[0] < base + 2**first_stage_bits:
                    p.pop(0)
            cycles += 1
        return max(cycles, 1)

    return cycles_of_steps(layer, cost, run_ahead, **array)


def laconic(layer, *, recoding, **array):
    def cost(brick, weights):
        return max(
            [1]
            + [
                len(positions(a, recoding)) * len(positions(w, recoding))
                for row in weights
                for a, w in zip(brick, row, strict=True)
            ]
        )

    return cycles_of_steps(layer, cost, **array)


def pattern_entries(pattern: str, lookahead: int, lookaside: int) -> list[tuple[int, int]]:
    ahead = [(h, 0) for h in range(1, lookahead + 1)]
    if pattern == "L8":
        aside = [(1, -d) for d in range(1, lookaside + 1)]
    else:
        aside = [(1, 1), (1, -1), (2, 2), (2, -2), (1, 3)][:lookaside]
    return sorted(ahead + aside)


def tcl_schedule(rows_of_filters, lanes, entries, lookahead, fill_order):
    """The executed rows of one filter set: for each filter and lane, where its activation is from.

    rows_of_filters[filter][row] holds the weights of the lanes.  Yields for each executed row the
    set of (row, lane) of the activations that some filter takes.
    """
    count = len(rows_of_filters[0])
    # A slot holds the place its weight came from, or None if it is zero or was taken away.
    slots = [
        [[(t, lane) if w else None for lane, w in enumerate(row)] for t, row in enumerate(f)]
        for f in rows_of_filters
    ]
    taken_away = [set() for _ in slots]
    skipped = 0
    for t in range(count):
        if skipped < lookahead and all(s is None for f in slots for s in f[t]):
            skipped += 1
            continue
        skipped = 0
        selected = set()
        for f, filter_slots in enumerate(slots):
            while True:
                candidates = {}
                for lane in range(lanes):
                    if filter_slots[t][lane] is None:
                        found = [
                            (t + h, (lane + d) % lanes)
                            for h, d in entries
                            if t + h < count and filter_slots[t + h][(lane + d) % lanes]
                        ]
                        if found:
                            candidates[lane] = found
                if not candidates:
                    break
                sizes = [len(found) for found in candidates.values()]
                wanted = max(sizes) if fill_order == "most_candidates" else min(sizes)
                lane = min(lane for lane in candidates if len(candidates[lane]) == wanted)
                row, source = candidates[lane][0]
                filter_slots[t][lane] = (row, source)
                filter_slots[row][source] = None
                taken_away[f].add((row, source))
            for lane in range(lanes):
                if filter_slots[t][lane]:
                    selected.add(filter_slots[t][lane])
                elif (t, lane) not in taken_away[f]:
                    selected.add((t, lane))
        yield t, selected


def tcl(layer, cost, *, pattern, lookahead, lookaside, fill_order, **array):
    """cost(activation), or None for the front end alone."""
    lanes = min(array["lanes"], array["rows"]) if layer.is_depthwise else array["lanes"]
    entries = pattern_entries(pattern, lookahead, lookaside)
    total = 0
    for image in range(layer.batch):
        runs = []
        for windows, weights, begins in steps(layer, image, **array):
            if begins:
                runs.append([])
            runs[-1].append((windows, weights))
        brick_costs = []
        for run in runs:
            filters = [
                [(weights[f] + [0] * lanes)[:lanes] for _, weights in run]
                for f in range(len(run[0][1]))
            ]
            for _, selected in tcl_schedule(filters, lanes, entries, lookahead, fill_order):
                spent = 1
                if cost is not None:
                    for row, lane in selected:
                        for brick in run[row][0]:
                            if lane < len(brick):
                                spent = max(spent, cost(brick[lane]))
                brick_costs.append(spent)
        total += (
            sum(brick_costs) if layer.has_windows else round_robin(brick_costs, array["columns"])
        )
    return total


def tcl_p(layer, **parameters):
    sign = signed(layer.activations)
    return tcl(layer, lambda v: width([v], sign, "leading"), **parameters)


def tcl_e(layer, *, recoding, **parameters):
    return tcl(layer, lambda v: len(positions(v, recoding)), **parameters)


def cnvlutin(layer, *, weight_skipping, **array):
    lanes, total = array["lanes"], 0
    for image in range(layer.batch):
        of_lanes: dict[tuple[int, int], int] = {}
        place = 0
        for windows, weights, begins in [*steps(layer, image, **array), ([], [], True)]:
            if begins:
                total += max(of_lanes.values(), default=0)
                of_lanes, place = {}, 0
            if layer.is_depthwise:
                lanes = min(array["lanes"], array["rows"])
            for window, brick in enumerate(windows):
                effectual = sum(
                    1
                    for lane, a in enumerate(brick)
                    if a and not (weight_skipping and not any(row[lane] for row in weights))
                )
                key = (window, place % lanes)
                of_lanes[key] = of_lanes.get(key, 0) + max(effectual, 1)
            place += 1
    return total


def matrix(layer, cost, lanes_factor, *, tiles, lanes, columns, rows, reduction=None):
    """A layer as matrix products, part by part."""
    lanes *= lanes_factor
    reduction = reduction or layer.reduction
    filters = layer.filters // layer.groups
    images, windows = (layer.batch, layer.windows) if layer.has_windows else (1, layer.batch)
    total = 0
    for _ in range(images * layer.groups):
        for _ in range(0, windows, columns):
            for _ in range(0, filters, rows * tiles):
                for _ in range(0, reduction, lanes):
                    total += cost
    return total


def bitfusion(layer, **array):
    fits = [
        next(w for w in (2, 4, 8, 16) if bits <= w)
        for bits in (layer.activation_bits, layer.weight_bits)
    ]
    multipliers_used = (min(fits[0], 8) // 2) * (min(fits[1], 8) // 2)
    cycles = (2 if fits[0] == 16 else 1) * (2 if fits[1] == 16 else 1)
    return matrix(layer, cycles, 16 // multipliers_used, **array)


def flexblock(layer, *, activation_mode, weight_mode, **array):
    return matrix(layer, 1, (16 // activation_mode) * (16 // weight_mode), **array)


def fast(layer, *, activation_mantissa, weight_mantissa, **array):
    passes = ceil(activation_mantissa / 2) * ceil(weight_mantissa / 2)
    return matrix(layer, passes, 1, **array)


def sat(layer, *, n, m, **array):
    reduction = layer.reduction
    channels = layer.weights.shape[1]
    groups = [range(c, min(c + m, channels)) for c in range(0, channels, m)]
    if all(
        sum(1 for c in group if layer.weights.reshape(layer.filters, channels, -1)[k, c, tap]) <= n
        for k in range(layer.filters)
        for tap in range(reduction // channels)
        for group in groups
    ):
        reduction = sum(min(n, len(group)) for group in groups) * (reduction // channels)
    return matrix(layer, 1, 1, reduction=reduction, **array)


def scnn(layer, *, activations_per_step, tiles, lanes, columns, rows):
    """Cycles, dense cycles, conflicts and products, step by step."""
    x, w = layer.padded_activations.tolist(), layer.weights.tolist()
    (ox, oy), (sx, sy), (dx, dy) = layer.outputs, layer.stride, layer.dilation
    (kx, ky), size, pad = layer.kernel, layer.padded_size, layer.padding
    if not layer.has_windows:
        side = isqrt(layer.channels - 1) + 1
        size = kx, ky = side, side

        def square(row):
            row = row + [0] * (side * side - len(row))
            return [[row[side * i : side * (i + 1)] for i in range(side)]]

        x, w = [square(row) for row in x], [square(row) for row in w]
    tx, ty = ceil(size[0] / rows), ceil(size[1] / columns)
    per_group, per_step = layer.filters // layer.groups, lanes // activations_per_step
    block = ceil(per_group / tiles)
    ex, ey = max(dx * (kx - 1) - pad[0], 0), max(dy * (ky - 1) - pad[1], 0)
    cycles = dense = (
        layer.batch * layer.groups * min(block, per_group) * max(ex * ty, ey * tx, ex * ey)
    )
    conflicts = products = 0
    channels = len(x[0]) // layer.groups
    for image in x:
        for c in range(len(image)):
            group, of_group = divmod(c, channels)
            spent, full = Counter(), Counter()
            for t in range(0, per_group, block):
                ks = range(group * per_group + t, group * per_group + min(t + block, per_group))
                for px in range(rows):
                    for py in range(columns):
                        pe = (t, px, py)
                        for phase in [(i, j) for i in range(sx) for j in range(sy)]:
                            acts = [
                                (i, j)
                                for i in range(px * tx, min((px + 1) * tx, size[0]))
                                for j in range(py * ty, min((py + 1) * ty, size[1]))
                                if (i % sx, j % sy) == phase
                            ]
                            wgts = [
                                (r * dx, s * dy, k, w[k][of_group][r][s])
                                for r in range(kx)
                                for s in range(ky)
                                for k in ks
                                if (r * dx % sx, s * dy % sy) == phase
                            ]
                            full[pe] += ceil(len(acts) / activations_per_step) * ceil(
                                len(wgts) / per_step
                            )
                            acts = [(i, j) for i, j in acts if image[c][i][j]]
                            wgts = [weight[:3] for weight in wgts if weight[3]]
                            for a in range(0, len(acts), activations_per_step):
                                for b in range(0, len(wgts), per_step):
                                    banks = Counter()
                                    for i, j in acts[a : a + activations_per_step]:
                                        for r, s, k in wgts[b : b + per_step]:
                                            u, v = (i - r) // sx, (j - s) // sy
                                            if 0 <= u < ox and 0 <= v < oy:
                                                products += 1
                                                high = (k & 4) << 2 ^ (u & 2) << 3 ^ (v & 2) << 3
                                                low = ((u & 1) << 3) + ((v & 1) << 2) + (k & 3)
                                                banks[high + low] += 1
                                    hits = max([1, *banks.values()])
                                    spent[pe] += hits
                                    conflicts += hits - 1
            cycles += max(spent.values(), default=0)
            dense += max(full.values())
    return cycles, dense, conflicts * lanes, products


def work(layer: Layer, of_pair) -> int:
    """Sum of something of activation and weight over all multiply-accumulates."""
    return sum(of_pair(a, w) for a, w in macs_with_weights(layer))
