"""The accelerator counters: against another simulator's counts, plain loops, and invariants."""

import csv
import inspect
import json
import pickle
import sys
from math import ceil, prod
from pathlib import Path

import numpy as np
import pytest
import reference_walk as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from fmtlib import hardware
from fmtlib.hardware import Layer, Shape, count, design
from fmtlib.hardware.designs import DESIGNS
from fmtlib.hardware.walk import round_robin, walk_layer

DATA = Path(__file__).parent / "data" / "reference_counts"
EXPECTED = json.loads((DATA / "expected.json").read_text())
CASES = {case["name"]: case for case in json.loads((DATA / "cases.json").read_text())}

# The reference's name of each design → ours.
CYCLES = {
    "DaDianNao": ("dadiannao", {}),
    "Stripes": ("stripes", {}),
    "ShapeShifter_GS1": ("dynamic_stripes", {}),
    "ShapeShifter_GS16": ("dynamic_stripes", {"group_size": 16}),
    "ShapeShifter_GS16_MB": ("dynamic_stripes", {"group_size": 16, "ends": "both"}),
    "ShapeShifter_GS1_CR1": ("dynamic_stripes", {"run_ahead": 1}),
    "Loom_1b": ("loom", {}),
    "Loom_2b": ("loom", {"serial_bits": 2}),
    "Loom_4b": ("loom", {"serial_bits": 4}),
    "Loom_1b_dynw": ("loom", {"dynamic_weights": True}),
    "BitPragmatic": ("pragmatic", {}),
    "BitPragmatic_booth": ("pragmatic", {"recoding": "run_length"}),
    "BitPragmatic_2stage_booth_CR1": (
        "pragmatic",
        {"first_stage_bits": 2, "recoding": "run_length", "run_ahead": 1},
    ),
    "Laconic_booth": ("laconic", {"recoding": "run_length"}),
    "TCL_front_DaDN_T8_2_5": ("tcl", {}),
    "TCLp_T8_2_5": ("tcl_p", {}),
    "TCLe_T8_2_5": ("tcl_e", {}),
}
BIT_PRODUCTS = {
    "DaDianNao": ("dadiannao", {}),
    "Stripes": ("stripes", {}),
    "ShapeShifter": ("dynamic_stripes", {}),
    "ShapeShifter_minor": ("dynamic_stripes", {"ends": "both"}),
    "Loom": ("loom", {}),
    "Loom_dynw": ("loom", {"dynamic_weights": True}),
    "BitPragmatic": ("pragmatic", {}),
    "BitPragmatic_booth": ("pragmatic", {"recoding": "run_length"}),
    "Laconic": ("laconic", {"recoding": "binary"}),
    "Laconic_booth": ("laconic", {"recoding": "run_length"}),
    "TCL": ("tcl", {}),
    "TCLp": ("tcl_p", {}),
    "TCLe": ("tcl_e", {}),
    "SCNN": ("scnn", {}),
}
# Where DNNsim errs: the rules without its quirks.
SCNN_BY_THE_RULES = {
    "SCNN_2x2": {"conv_d": (892, 2688, 20464, 3248, 28), "conv_f": (1757, 4736, 34208, 18960, 20)},
    "SCNN_8x8": {"conv_d": (629, 896, 20464, 240, 12), "conv_f": (698, 1184, 34208, 3856, 8)},
}
SCNN_COUNTS = ("cycles", "dense_cycles", "mults", "idle_conflicts", "halo_transfers")


def reference_layer(name: str) -> Layer:
    case = CASES[name]
    activations = np.load(DATA / f"act-{name}.npy")
    weights = np.load(DATA / f"wgt-{name}.npy")
    bits = {"activation_bits": case["pa"], "weight_bits": case["pw"], "name": name}
    if case["type"] == "fc":
        return Layer.linear(activations, weights, **bits)
    groups = activations.shape[1] // weights.shape[1]
    return Layer.conv(activations, weights, case["stride"], case["pad"], groups, **bits)


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int16)


# --- against the other simulator ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reference_name", "tiles", "layer", "cycles"),
    [
        (name, tiles, layer, cycles)
        for name in CYCLES
        for tiles in (1, 4)
        for layer, cycles in EXPECTED["compute_cycles"][f"{name}_T{tiles}"].items()
    ],
)
def test_cycles_equal_the_reference(reference_name, tiles, layer, cycles):
    name, parameters = CYCLES[reference_name]
    item = design(name, tiles=tiles, **parameters)
    (record, _) = count([reference_layer(layer)], [item]).to_records()
    assert record["compute_cycles"] == cycles
    if item.baseline_rows == item.rows:
        assert record["baseline_cycles"] == EXPECTED["compute_cycles"][f"DaDianNao_T{tiles}"][layer]


@pytest.mark.parametrize(
    ("reference_name", "layer", "products"),
    [
        (name, layer, products)
        for name in BIT_PRODUCTS
        for layer, products in EXPECTED["bit_products_conv"][name].items()
    ],
)
def test_bit_products_equal_the_reference(reference_name, layer, products):
    name, parameters = BIT_PRODUCTS[reference_name]
    (record, _) = count([reference_layer(layer)], [design(name, **parameters)]).to_records()
    assert record["effectual_bit_products"] == products


@pytest.mark.parametrize(
    ("grid", "layer", "counts"),
    [
        (grid, layer, tuple(counts[name] for name in SCNN_COUNTS))
        for grid, layers in EXPECTED["scnn"].items()
        for layer, counts in layers.items()
    ]
    + [
        (grid, layer, counts)
        for grid, layers in SCNN_BY_THE_RULES.items()
        for layer, counts in layers.items()
    ],
)
def test_scnn_counts_equal_the_reference(grid, layer, counts):
    size = int(grid[-1])
    (record, _) = count(
        [reference_layer(layer)], [design("scnn", columns=size, rows=size)]
    ).to_records()
    own = ("dense_cycles", "multiplications", "idle_conflicts", "halo_transfers")
    assert tuple(record[name] for name in ("compute_cycles", *own)) == counts


def test_all_reference_counts_are_tested():
    named = {f"{name}_T{tiles}" for name in CYCLES for tiles in (1, 4)}
    assert named == set(EXPECTED["compute_cycles"])
    assert set(BIT_PRODUCTS) == set(EXPECTED["bit_products_conv"])


# --- against plain loops --------------------------------------------------------------------------


KINDS = ("conv", "grouped", "depthwise", "first", "linear", "matmul")


@st.composite
def layers(draw, kinds=KINDS):
    kind = draw(st.sampled_from(kinds))
    batch = draw(st.integers(1, 2))
    groups, options = 1, {}
    channels, filters = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    if kind == "linear":
        shape, weights = (batch, draw(st.integers(1, 40))), None
    elif kind == "matmul":
        shape = (*(draw(st.integers(1, 2)) for _ in range(2)), draw(st.integers(1, 5)), channels)
        weights = (*shape[: draw(st.sampled_from([0, 2]))], channels, filters)
    else:
        stride = tuple(draw(st.integers(1, 3)) for _ in range(2))
        padding = tuple(draw(st.integers(0, 2)) for _ in range(4))
        dilation = tuple(draw(st.sampled_from([1, 1, 2])) for _ in range(2))
        kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
        if kind == "grouped":
            groups = draw(st.integers(2, 3))
            channels, filters = groups * draw(st.integers(1, 3)), groups * draw(st.integers(1, 3))
        elif kind == "depthwise":
            groups = filters = channels = draw(st.integers(2, 7))
        elif kind == "first":
            channels, stride, dilation = 3, (draw(st.integers(2, 3)), stride[1]), (1, 1)
        reach = [d * (k - 1) + 1 for d, k in zip(dilation, kernel, strict=True)]
        room = (padding[0] + padding[2], padding[1] + padding[3])
        size = [draw(st.integers(max(1, r - p), 6)) for r, p in zip(reach, room, strict=True)]
        shape, weights = (batch, channels, *size), (filters, channels // groups, *kernel)
        options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    # Trailing zeros, zeros and (half the time) negatives all matter to the widths.
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    values = random.integers(0, 2 ** draw(st.integers(1, 15)), shape)
    values = values & ~((1 << random.integers(0, 6, shape)) - 1)
    values = np.where(random.random(shape) < draw(st.sampled_from([0.1, 0.6, 0.95])), 0, values)
    if draw(st.booleans()):
        values = values * random.choice([-1, 1], shape)
    if kind == "linear":
        return Layer.linear(values, ones(filters, shape[1]))
    if kind == "matmul":
        return Layer.matmul(values, ones(*weights))
    return Layer.conv(values, ones(*weights), **options)


arrays = st.fixed_dictionaries(
    {
        "tiles": st.integers(1, 3),
        "lanes": st.integers(1, 5),
        "columns": st.integers(1, 5),
        "rows": st.integers(1, 5),
    }
)


@settings(deadline=None, max_examples=100)
@given(layers(), arrays)
def test_fixed_costs_equal_the_loops(layer, array):
    bit_parallel, serial = design("dadiannao", **array), design("stripes", **array)
    assert bit_parallel.compute_cycles(layer) == reference.fixed_cycles(layer, 1, **array)
    expected = reference.fixed_cycles(layer, layer.activation_bits, **array)
    assert serial.compute_cycles(layer) == expected


@settings(deadline=None, max_examples=250)
@given(
    layers(),
    arrays,
    st.sampled_from(["leading", "both"]),
    st.integers(0, 3),
    st.data(),
    st.booleans(),
)
def test_dynamic_widths_equal_the_loops(layer, array, ends, run_ahead, data, even_widths):
    parameters = {
        **array,
        "ends": ends,
        "run_ahead": run_ahead,
        "group_size": data.draw(st.integers(1, array["columns"])),
        "even_widths": even_widths,
    }
    item = design("dynamic_stripes", **parameters)
    assert item.compute_cycles(layer) == reference.dynamic_cycles(layer, **parameters)


@settings(deadline=None, max_examples=50)
@given(layers(), st.sampled_from(["leading", "both"]), st.booleans())
def test_work_equals_the_loops(layer, ends, even_widths):
    assert layer.macs == sum(1 for _ in reference.macs(layer))
    item = design("dynamic_stripes", ends=ends, even_widths=even_widths)
    expected = reference.dynamic_bit_products(layer, ends=ends, even_widths=even_widths)
    assert item.effectual_bit_products(layer) == expected


@settings(deadline=None, max_examples=50)
@given(layers(), arrays, st.integers(1, 9), st.integers(1, 9))
def test_fast_counts(layer, array, m_a, m_b):
    item = design("fast", activation_mantissa=m_a, weight_mantissa=m_b, **array)
    passes = ceil(m_a / 2) * ceil(m_b / 2)
    assert item.own_counts(layer) == {
        "fmac_passes": reference.fast_passes(layer, m_a, m_b, array["lanes"])
    }
    assert item.effectual_bit_products(layer) == 4 * passes * layer.macs
    # Every unit does at most one pass a cycle, and no step has less than one pass in it.
    units = array["tiles"] * array["columns"] * array["rows"]
    needed = item.own_counts(layer)["fmac_passes"]
    assert needed <= item.compute_cycles(layer) * units <= needed * units
    single = design("fast", activation_mantissa=2, weight_mantissa=1, **array)
    assert item.compute_cycles(layer) == passes * single.compute_cycles(layer)


def test_fast_by_hand():
    conv = Layer.conv(ones(2, 24, 9, 9), ones(40, 12, 3, 3), groups=2)
    # 2 images, 2 groups, ceil(49/64) pallets, ceil(20/16) filter sets, ceil(108/16) groups of 16.
    assert design("fast").compute_cycles(conv) == 2 * 2 * 1 * 2 * 7 * 4
    assert design("fast", tiles=2).compute_cycles(conv) == 2 * 2 * 1 * 1 * 7 * 4
    # In a fully connected layer the samples share the columns.
    fc = Layer.linear(ones(65, 40), ones(17, 40))
    assert design("fast", weight_mantissa=2).compute_cycles(fc) == 2 * 2 * 3 * 2


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.integers(0, 40), min_size=1, max_size=40),
    st.integers(1, 3),
    st.integers(1, 6),
)
def test_round_robin_equals_the_loop(costs, filter_sets, columns):
    # Costs above the number of columns, where a column is still busy when its turn comes.
    expected = reference.round_robin(costs * filter_sets, columns)
    assert round_robin(np.array(costs), filter_sets, columns) == expected


# --- invariants -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(layers())
def test_invariants(layer):
    at_16_bits = Layer(
        kind=layer.kind,
        activations=layer.activations,
        weights=layer.weights,
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
        dilation=layer.dilation,
        activation_bits=16,
    )
    parallel, stripes, dynamic = design("dadiannao"), design("stripes"), design("dynamic_stripes")
    if layer.has_windows:
        steps = ceil(layer.windows / 16) * parallel.compute_cycles(layer) // layer.windows
        assert stripes.compute_cycles(at_16_bits) == 16 * steps
        assert stripes.compute_cycles(layer) == layer.activation_bits * steps
    leading = dynamic.compute_cycles(layer)
    assert leading <= stripes.compute_cycles(layer) <= stripes.compute_cycles(at_16_bits)
    for group_size in (2, 16):  # the group size changes storage, not cycles
        assert design("dynamic_stripes", group_size=group_size).compute_cycles(layer) == leading
    both = [
        design("dynamic_stripes", ends="both", group_size=g).compute_cycles(layer)
        for g in (1, 4, 16)
    ]
    assert max(both) <= leading
    if not layer.activations_signed:
        # In a signed tensor a column of zeros takes 2 cycles, but 1 together with a lone -2.
        assert both == sorted(both)
    ahead = [design("dynamic_stripes", run_ahead=r).compute_cycles(layer) for r in (0, 1, 2, 9)]
    assert ahead == sorted(ahead, reverse=True)
    assert ahead[0] == leading
    work = [
        design(name, **parameters).effectual_bit_products(layer)
        for name, parameters in list(BIT_PRODUCTS.values())[:4]
    ]
    assert work == sorted(work, reverse=True)


@pytest.mark.parametrize("name", list(CASES))
def test_achieved_is_at_most_ideal(name):
    # At equal peaks and where channels fill the lanes; the other layers idle lanes in the baseline.
    layer = reference_layer(name)
    for record in count([layer], ["dadiannao", "stripes", "dynamic_stripes"]).to_records():
        assert (
            record["peak_bit_products_per_cycle"] == record["baseline_peak_bit_products_per_cycle"]
        )
        if layer.channels % 16 == 0:
            assert record["speedup"] <= record["ideal_speedup"]


@settings(deadline=None, max_examples=50)
@given(
    layers(("conv", "grouped", "depthwise", "linear", "matmul")),
    st.integers(0, 2),
    st.integers(1, 4),
)
def test_achieved_is_at_most_ideal_in_full_arrays(layer, run_ahead, rows):
    if layer.space_to_depth:  # folding adds taps that are always zero
        return
    # With one lane no channel is ragged.
    items = [
        design("stripes", lanes=1, rows=rows),
        design("dynamic_stripes", lanes=1, rows=rows, run_ahead=run_ahead),
    ]
    for record in count([layer], items).to_records():
        assert record["speedup"] <= record["ideal_speedup"]


@pytest.mark.parametrize("ends", ["leading", "both"])
@pytest.mark.parametrize("run_ahead", [0, 1])
def test_zeros_cost_one_cycle_a_step(ends, run_ahead):
    layer = Layer.conv(np.zeros((2, 20, 6, 6), int), ones(20, 20, 3, 3), padding=1)
    walk = walk_layer(layer, tiles=1, lanes=16, columns=16, rows=16)
    item = design("dynamic_stripes", ends=ends, run_ahead=run_ahead)
    assert item.compute_cycles(layer) == 2 * walk.steps
    assert item.effectual_bit_products(layer) == 16 * layer.macs


def test_zeros_cost_two_cycles_in_a_signed_tensor():
    activations = np.zeros((1, 32, 4, 4), int)
    activations[0, 0, 0, 0] = -1
    layer = Layer.conv(activations, ones(16, 32, 1, 1))
    for ends in ("leading", "both"):
        item = design("dynamic_stripes", ends=ends)
        assert item.compute_cycles(layer) == 4
        assert item.effectual_bit_products(layer) == 2 * 16 * layer.macs


@pytest.mark.parametrize("ends", ["leading", "both"])
def test_idle_columns_cost_nothing(ends):
    # Three windows on two columns: while the second column, idle in the last pallet, still
    # works on its eight bits, the first runs ahead.
    layer = Layer.conv(np.array([1, 255, 1]).reshape(1, 1, 3, 1), ones(1, 1, 1, 1))
    item = design("dynamic_stripes", columns=2, run_ahead=1, ends=ends)
    assert item.compute_cycles(layer) == 8


def test_group_of_both_ends_is_shared_by_columns():
    # Two neighbouring windows, 4 = 100b and 1: alone one bit each, together three.
    layer = Layer.conv(np.array([4, 1]).reshape(1, 1, 2, 1), ones(1, 1, 1, 1))
    alone, shared = (design("dynamic_stripes", ends="both", group_size=g) for g in (1, 2))
    assert (alone.compute_cycles(layer), shared.compute_cycles(layer)) == (1, 3)


@settings(deadline=None, max_examples=30)
@given(layers(), st.sampled_from(["dadiannao", "stripes", "dynamic_stripes"]), st.booleans())
def test_batch_is_the_sum_of_its_images(layer, name, reverse):
    # Widths depend on the sign of the whole tensor, so give every image the same signs.
    activations = np.abs(layer.activations)
    make = {"weights": layer.weights, "activation_bits": layer.activation_bits}
    shape = {"stride": layer.stride, "padding": layer.padding, "groups": layer.groups}
    shape["dilation"] = layer.dilation
    kind = {"kind": layer.kind, **shape, **make}
    item = design(name, run_ahead=1) if name == "dynamic_stripes" else design(name)
    whole = Layer(activations=activations[::-1] if reverse else activations, **kind)
    images = [Layer(activations=image[None], **kind) for image in activations]
    for counted in (item.compute_cycles, item.effectual_bit_products):
        assert counted(whole) == sum(counted(image) for image in images)


# --- special layers -------------------------------------------------------------------------------


def test_space_to_depth_is_a_rule_and_an_argument():
    image, weights = ones(1, 3, 17, 17), ones(32, 3, 5, 5)
    rule = Layer.conv(image, weights, stride=2, padding=2)
    plain = Layer.conv(image, weights, stride=2, padding=2, space_to_depth=False)
    assert (rule.space_to_depth, plain.space_to_depth) == (True, False)
    assert rule.macs == plain.macs
    cycles = [design("dadiannao").compute_cycles(layer) for layer in (rule, plain)]
    assert cycles == [81 * 2 * 9, 81 * 2 * 25]
    flags = [r["space_to_depth"] for r in count([rule, plain], ["stripes"]).to_records()]
    assert flags == [True, False, None]
    four = Layer.conv(ones(1, 4, 8, 8), ones(8, 4, 2, 2), stride=2, space_to_depth=True)
    assert design("dadiannao").compute_cycles(four) == four.windows


def test_depthwise_takes_sixteen_channels_a_step():
    layer = Layer.conv(ones(1, 40, 8, 8), ones(40, 1, 3, 3), padding=1, groups=40)
    assert layer.is_depthwise
    for tiles in (1, 4):  # a group of channels is one filter set, so further tiles idle
        assert design("dadiannao", tiles=tiles).compute_cycles(layer) == 3 * 64 * 9
        assert design("stripes", tiles=tiles).compute_cycles(layer) == 3 * 4 * 9
        assert design("dynamic_stripes", tiles=tiles).compute_cycles(layer) == 3 * 4 * 9
    assert design("fast").compute_cycles(layer) == 40 * 1 * 1 * 1 * 4


def test_pairs_are_rows_then_columns():
    layer = Layer.conv(
        ones(1, 1, 10, 20),
        ones(1, 1, 3, 2),
        stride=(2, 3),
        padding=(0, 1, 2, 3),
        dilation=(2, 1),
    )
    assert layer.padded_activations.shape == (1, 1, 12, 24)
    assert layer.padded_activations[0, 0, :10, 1:21].all()
    assert layer.padded_activations.sum() == 200
    assert (layer.reach, layer.outputs) == ((5, 2), (4, 8))
    both_sides = Layer.conv(ones(1, 1, 4, 4), ones(1, 1, 1, 1), padding=(1, 2))
    assert both_sides.padding == (1, 2, 1, 2)


def test_dilated_kernels_read_apart():
    # Taps 0 and 2 of 1, 0, 5: one bit, then three.
    layer = Layer.conv(np.array([1, 0, 5]).reshape(1, 1, 3, 1), ones(1, 1, 2, 1), dilation=(2, 1))
    assert layer.windows == 1
    assert design("dynamic_stripes").compute_cycles(layer) == 1 + 3


def test_matmul_is_a_convolution_of_one_tap():
    random = np.random.default_rng(3)
    a, b = random.integers(0, 99, (2, 5, 20)), random.integers(-9, 99, (20, 33))
    shared, conv = (
        Layer.matmul(a, b),
        Layer.conv(a.transpose(0, 2, 1)[..., None], b.T[:, :, None, None]),
    )
    apart = Layer.matmul(a, np.broadcast_to(b, (2, 20, 33)))
    assert (shared.batch, shared.groups, apart.batch, apart.groups) == (2, 1, 1, 2)
    for name in DESIGNS:
        cycles = {design(name).compute_cycles(layer) for layer in (shared, conv, apart)}
        assert len(cycles) == 1


def test_shapes_alone():
    shapes = Layer.conv(
        Shape(2, 32, 9, 9), Shape(48, 32, 3, 3), 2, 1, activation_bits=9, weight_bits=11
    )
    values = Layer.conv(
        ones(2, 32, 9, 9), ones(48, 32, 3, 3), 2, 1, activation_bits=9, weight_bits=11
    )
    assert (shapes.has_values, values.has_values) == (False, True)
    for name in ("dadiannao", "stripes", "fast"):
        assert design(name).compute_cycles(shapes) == design(name).compute_cycles(values)
    with pytest.raises(ValueError, match=r"only the shape .* is known"):
        design("dynamic_stripes").compute_cycles(shapes)
    product = Layer.matmul(Shape(2, 3, 4), Shape(2, 4, 5), activation_bits=8, weight_bits=8)
    assert product.macs == 2 * 3 * 4 * 5
    assert (repr(Shape(1, 2)), Shape(1, 2) == Shape(1, 2)) == ("Shape(1, 2)", True)
    assert len({Shape(1, 2), Shape(1, 2), Shape(2, 1)}) == 2


def test_x_is_axis_two():
    # Windows run along axis 2 first: a tall and a wide image give different pallets.
    values = np.zeros((1, 1, 2, 4), int)
    values[0, 0, :, 0] = 255
    tall, wide = (Layer.conv(v, ones(1, 1, 1, 1)) for v in (values, values.transpose(0, 1, 3, 2)))
    item = design("dynamic_stripes", columns=2)
    assert item.compute_cycles(tall) == 8 + 1 + 1 + 1
    assert item.compute_cycles(wide) == 8 + 1 + 8 + 1


def test_widths_are_taken_from_the_data_when_not_given():
    layer = Layer.linear([[0, 5, 127]], [[1, -8, 3]])
    assert (layer.activation_bits, layer.weight_bits) == (7, 4)
    assert Layer.linear([[0, 0]], [[-1, 0]]).activation_bits == 1
    assert Layer.linear([[0, 0]], [[-1, 0]]).weight_bits == 2
    assert Layer.linear([[-32767]], [[32767]]).activation_bits == 16


def test_layer_keeps_its_own_copy():
    activations = ones(1, 4)
    layer = Layer.linear(activations, ones(2, 4))
    activations[:] = 9
    assert layer.activations.max() == 1
    with pytest.raises(ValueError, match="read-only"):
        layer.activations[0, 0] = 2


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("dtype", ["i1", "u1", ">i2", "u2", "i4", "u8"])
def test_any_integer_dtype_and_layout(dtype, order):
    values = np.random.default_rng(5).integers(0, 100, (2, 8, 5, 6))
    expected = Layer.conv(values, ones(4, 8, 3, 3))
    layer = Layer.conv(
        np.asarray(values, dtype, order=order)[:, ::-1, ::-1][:, ::-1, ::-1], ones(4, 8, 3, 3)
    )
    for cls in DESIGNS.values():
        assert cls().compute_cycles(layer) == cls().compute_cycles(expected)


# --- errors ---------------------------------------------------------------------------------------

X, W = ones(1, 4, 5, 5), ones(6, 4, 3, 3)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"activations": X * 1.0}, TypeError, "activations must be an integer.*float64"),
        ({"weights": W.astype(bool)}, TypeError, "weights must be an integer.*bool"),
        ({"weights": W.astype(object)}, TypeError, "weights must be an integer.*object"),
        ({"activations": np.ma.masked_array(X)}, TypeError, "not a masked array"),
        ({"activations": X[0]}, ValueError, r"4 axes \(N,C,H,W\), not shape \(4, 5, 5\)"),
        ({"weights": ones(6, 4)}, ValueError, r"4 axes \(K,C/groups,kh,kw\)"),
        ({"activations": X[:0]}, ValueError, "must not be empty"),
        ({"activations": X.astype(int) * 2**15}, ValueError, r"magnitudes below 2\^15.*32768"),
        ({"activations": X.astype(int) * -(2**15)}, ValueError, r"magnitudes below 2\^15"),
        ({"weights": ones(6, 3, 3, 3)}, ValueError, "weights must have C/groups = 4/1 = 4"),
        ({"groups": 3}, ValueError, "groups must divide.*groups=3, C=4, K=6"),
        ({"groups": 4}, ValueError, "groups must divide.*groups=4, C=4, K=6"),
        ({"groups": 0}, ValueError, "groups must be at least 1, got 0"),
        ({"stride": 0}, ValueError, "stride must be at least 1, got 0"),
        ({"stride": 1.0}, TypeError, "stride must be an integer"),
        ({"stride": True}, TypeError, "stride must be an integer"),
        ({"padding": -1}, ValueError, "padding must be at least 0, got -1"),
        ({"padding": (1, 0, 1)}, ValueError, r"integer or 2 or 4 of them, got \(1, 0, 1\)"),
        ({"padding": (1, 0.0)}, TypeError, "padding must be an integer"),
        ({"stride": (1, 2, 1)}, ValueError, "stride must be an integer or 2 of them"),
        ({"stride": (1, 0)}, ValueError, "stride must be at least 1, got 0"),
        ({"dilation": 0}, ValueError, "dilation must be at least 1, got 0"),
        ({"dilation": (1, 3)}, ValueError, r"\(3, 7\) is larger than \(5, 5\)"),
        ({"activations": Shape(1, 4, 5, 5)}, ValueError, "activation_bits must be given"),
        ({"weights": Shape(6, 4, 3), "weight_bits": 3}, ValueError, "must have the axes K,C/gro"),
        ({"space_to_depth": True, "stride": 2, "dilation": 2}, ValueError, "dilation 1"),
        ({"weights": ones(6, 4, 6, 3)}, ValueError, r"\(6, 3\) is larger than \(5, 5\)"),
        ({"activation_bits": 0}, ValueError, r"activation_bits must be from 1 to 16, got 0"),
        ({"weight_bits": 17}, ValueError, r"weight_bits must be from 1 to 16, got 17"),
        ({"weight_bits": 8.0}, TypeError, "weight_bits must be an integer"),
        ({"space_to_depth": True}, ValueError, "needs a convolution with stride > 1"),
        ({"space_to_depth": 1}, TypeError, "space_to_depth must be True, False or None"),
        ({"name": 3}, TypeError, "name must be a str"),
    ],
)
def test_layer_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Layer.conv(**{"activations": X, "weights": W, **arguments})


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"activations": ones(4)}, ValueError, r"2 axes \(N,C\)"),
        ({"weights": ones(3, 5)}, ValueError, "weights must have C/groups = 4/1 = 4"),
        ({"weights": ones(3, 0)}, ValueError, "must not be empty"),
    ],
)
def test_linear_errors(arguments, error, message):
    with pytest.raises(error, match=message):
        Layer.linear(**{"activations": ones(2, 4), "weights": ones(3, 4), **arguments})


@pytest.mark.parametrize(
    ("a", "b"), [((3, 4), (5, 4)), ((4,), (4, 2)), ((2, 3, 4), (3, 4, 5)), ((2, 3, 4), (2, 3, 4))]
)
def test_matmul_errors(a, b):
    with pytest.raises(ValueError, match=r"of one C|must broadcast"):
        Layer.matmul(ones(*a), ones(*b))


def test_direct_construction_is_checked_too():
    with pytest.raises(ValueError, match="kind must be"):
        Layer(kind="dense", activations=ones(2, 4), weights=ones(3, 4))
    with pytest.raises(ValueError, match="linear layer has stride 1"):
        Layer(kind="linear", activations=ones(2, 4), weights=ones(3, 4), stride=2)


@pytest.mark.parametrize(
    ("name", "parameters", "error", "message"),
    [
        ("strips", {}, ValueError, "did you mean 'stripes'.*allowed: dadiannao, stripes"),
        ("?", {}, ValueError, "unknown design '\\?'; allowed: dadiannao"),
        (7, {}, TypeError, "must be a str"),
        ("stripes", {"tile": 2}, TypeError, "no parameter 'tile'; did you mean 'tiles'"),
        ("stripes", {"run_ahead": 1}, TypeError, "stripes has no parameter 'run_ahead'"),
        *[
            ("dadiannao", {size: value}, error, f"{size} must be an integer, got|{size} must be at")
            for size in ("tiles", "lanes", "columns", "rows")
            for value, error in ((0, ValueError), (2.0, TypeError), (True, TypeError))
        ],
        ("dynamic_stripes", {"ends": "trailing"}, ValueError, "'leading' or 'both'"),
        ("dynamic_stripes", {"run_ahead": -1}, ValueError, "run_ahead must be at least 0"),
        ("dynamic_stripes", {"group_size": 17}, ValueError, r"group_size must be from 1 to 16"),
        ("dynamic_stripes", {"even_widths": 1}, TypeError, "even_widths must be True or False"),
        ("fast", {"activation_mantissa": 0}, ValueError, r"must be from 1 to 23, got 0"),
        ("fast", {"weight_mantissa": "4"}, TypeError, "weight_mantissa must be an integer"),
    ],
)
def test_design_errors(name, parameters, error, message):
    with pytest.raises(error, match=message):
        design(name, **parameters)


LAYER = Layer.linear(ones(1, 4), ones(3, 4))


@pytest.mark.parametrize(
    ("layers", "designs", "error", "message"),
    [
        (LAYER, ["stripes"], TypeError, "put the single layer in a list"),
        ([LAYER], "stripes", TypeError, "put the single one in a list"),
        ([LAYER], design("stripes"), TypeError, "put the single one in a list"),
        ([ones(1, 4)], ["stripes"], TypeError, "not ndarray"),
        ([LAYER], [3], TypeError, "names or designs, not 3"),
        ([LAYER], ["stripe"], ValueError, "did you mean 'stripes'"),
        ([], ["stripes"], ValueError, "nothing to count: 0 layers and 1 designs"),
        ([LAYER], [], ValueError, "nothing to count: 1 layers and 0 designs"),
    ],
)
def test_count_errors(layers, designs, error, message):
    with pytest.raises(error, match=message):
        count(layers, designs=designs)


# --- the result -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def result():
    own = design("dynamic_stripes", run_ahead=1)
    return count([reference_layer(name) for name in CASES], ["stripes", own, "fast"])


def test_records(result):
    records = result.to_records()
    assert len(records) == 3 * (len(CASES) + 1)
    assert all(record.keys() == records[0].keys() for record in records)
    assert [r["layer"] for r in records[: len(CASES) + 1]] == [*CASES, "total"]
    assert [r["row"] for r in records[: len(CASES) + 1]] == ["layer"] * len(CASES) + ["total"]
    stripes, dynamic, fast = (records[i * (len(CASES) + 1)] for i in range(3))
    assert stripes["array"] == "1 tile × 16 lanes × 16 columns × 16 rows"
    assert fast["array"] == "1 tile × 16 lanes × 64 columns × 16 rows"
    assert (stripes["run_ahead"], dynamic["run_ahead"], dynamic["ends"]) == (None, 1, "leading")
    assert (stripes["fmac_passes"], fast["fmac_passes"]) == (None, 64 * 16 * 9 * 4)
    assert (stripes["activation_bits"], stripes["weight_bits"]) == (9, 8)
    assert stripes["speedup"] == stripes["baseline_cycles"] / stripes["compute_cycles"]
    assert stripes["ideal_speedup"] == pytest.approx(16 / 9)
    assert all(type(r["compute_cycles"]) is type(r["macs"]) is int for r in records)


def test_totals_are_sums(result):
    records = result.to_records()
    summed = ("compute_cycles", "baseline_cycles", "macs", "effectual_bit_products", "fmac_passes")
    for name in ("stripes", "dynamic_stripes", "fast"):
        rows = [r for r in records if r["design"] == name]
        for key in summed:
            if rows[-1][key] is not None:
                assert rows[-1][key] == sum(r[key] for r in rows[:-1])
        assert rows[-1]["speedup"] == rows[-1]["baseline_cycles"] / rows[-1]["compute_cycles"]
        assert rows[-1]["activation_bits"] is None


@pytest.mark.parametrize("name", list(DESIGNS))
def test_default_arrays_have_the_peak_of_the_baseline(name):
    (record, _) = count([LAYER], [name]).to_records()
    peak = record["peak_bit_products_per_cycle"]
    assert peak == record["baseline_peak_bit_products_per_cycle"]
    if name not in ("loom", "laconic", "scnn"):
        assert peak == 256 * 256


def test_even_widths_double_the_peak_and_say_so():
    whole, half = (design("dynamic_stripes", even_widths=True, columns=c) for c in (16, 8))
    result = count([LAYER], [whole, half])
    assert [r["peak_bit_products_per_cycle"] for r in result.to_records()[::2]] == [131072, 65536]
    assert result.to_markdown().count("not an equal comparison") == 1


def test_baseline_has_the_same_tiles_lanes_and_rows():
    layer = reference_layer("conv_b")
    item = design("stripes", tiles=2, lanes=8, rows=4, columns=3)
    (record, _) = count([layer], [item]).to_records()
    bit_parallel = design("dadiannao", tiles=2, lanes=8, rows=4)
    assert record["baseline_cycles"] == bit_parallel.compute_cycles(layer)
    assert record["array"] == "2 tiles × 8 lanes × 3 columns × 4 rows"


def test_files(result, tmp_path):
    result.to_json(tmp_path / "counts.json")
    document = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
    named = [{"network": "network", **record} for record in result.to_records()]
    assert document["records"] == named
    result.to_csv(str(tmp_path / "counts.csv"))
    with (tmp_path / "counts.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    expected = [
        {key: "" if value is None else str(value) for key, value in record.items()}
        for record in result.to_records()
    ]
    assert rows == expected
    for suffix in ("png", "svg"):
        result.plot(tmp_path / f"counts.{suffix}")
        assert (tmp_path / f"counts.{suffix}").stat().st_size > 1000
    assert "matplotlib.pyplot" not in sys.modules
    assert sorted(p.name for p in tmp_path.iterdir()) == [
        "counts.csv",
        "counts.json",
        "counts.png",
        "counts.svg",
    ]


def test_a_failed_write_leaves_the_old_file(result, tmp_path, monkeypatch):
    path = tmp_path / "counts.json"
    path.write_text("old")

    def full_disk(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr("os.replace", full_disk)
    with pytest.raises(OSError, match="disk full"):
        result.to_json(path)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_plot_errors(result, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"must end in one of .*\.png"):
        result.plot(tmp_path / "counts")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"fmtlib\[count\]"):
        result.plot(tmp_path / "counts.png")
    assert list(tmp_path.iterdir()) == []


def test_markdown():
    layer = Layer.linear(ones(1, 256), ones(64, 256), activation_bits=9, name="fc|1")
    lines = count([layer], ["stripes"]).to_markdown().splitlines()
    assert lines[2] == (
        "| fc\\|1 | stripes | 1 tile × 16 lanes × 16 columns × 16 rows | 72 | 64 | 0.889 | 1.778 |"
    )
    assert lines[3].startswith("| **total** | stripes |")
    assert lines[-1].startswith("Baseline: DaDianNao")


# --- the registry ---------------------------------------------------------------------------------


def test_registry():
    assert hardware.design_names() == list(DESIGNS)
    for name, cls in DESIGNS.items():
        item = design(name)
        assert type(item) is cls
        assert item.name == item.label == name
        assert not inspect.isabstract(cls)
        assert pickle.loads(pickle.dumps(item)) == item
        assert item.multipliers == prod((item.tiles, item.lanes, item.columns, item.rows))
        wider = design(name, tiles=np.int64(2))
        assert type(wider.tiles) is int
        assert wider.label == name
    assert design("fast", weight_mantissa=2).label == "fast (weight_mantissa=2)"
