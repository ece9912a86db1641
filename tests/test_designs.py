"""Every design against nested loops over Python integers, and what must hold for all of them."""

from dataclasses import replace
from math import ceil

import numpy as np
import pytest
import reference_designs as loops
import reference_walk as reference
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_counts import CASES, reference_layer

import fmtlib as fl
from fmtlib import testing
from fmtlib.hardware import Layer, count, design, design_names
from fmtlib.hardware.recoding import RECODINGS, term_positions
from fmtlib.hardware.walk import round_robin, walk_layer


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int16)


arrays = st.fixed_dictionaries(
    {
        "tiles": st.integers(1, 3),
        "lanes": st.integers(1, 5),
        "columns": st.integers(1, 5),
        "rows": st.integers(1, 5),
    }
)


# --- against plain loops --------------------------------------------------------------------------


@settings(deadline=None, max_examples=100)
@given(testing.layers(), arrays)
def test_fixed_costs_equal_the_loops(layer, array):
    bit_parallel, serial = design("dadiannao", **array), design("stripes", **array)
    assert bit_parallel.compute_cycles(layer) == reference.fixed_cycles(layer, 1, **array)
    expected = reference.fixed_cycles(layer, layer.activation_bits, **array)
    assert serial.compute_cycles(layer) == expected


@settings(deadline=None, max_examples=250)
@given(
    testing.layers(),
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
@given(testing.layers(), st.sampled_from(["leading", "both"]), st.booleans())
def test_work_equals_the_loops(layer, ends, even_widths):
    assert layer.macs == sum(1 for _ in reference.macs(layer))
    item = design("dynamic_stripes", ends=ends, even_widths=even_widths)
    expected = reference.dynamic_bit_products(layer, ends=ends, even_widths=even_widths)
    assert item.effectual_bit_products(layer) == expected


@settings(deadline=None, max_examples=50)
@given(testing.layers(), arrays, st.integers(1, 9), st.integers(1, 9))
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


recodings = st.sampled_from(RECODINGS)
front_ends = st.fixed_dictionaries(
    {
        "pattern": st.just("L8"),
        "lookahead": st.integers(1, 3),
        "lookaside": st.integers(0, 6),
        "fill_order": st.sampled_from(["most_candidates", "least_flexible"]),
    }
) | st.fixed_dictionaries(
    {
        "pattern": st.just("T8"),
        "lookahead": st.just(2),
        "lookaside": st.integers(0, 5),
        "fill_order": st.sampled_from(["most_candidates", "least_flexible"]),
    }
)
# Name → own parameters, for designs whose loops take them as they are.
PARAMETERS = {
    "tartan": {"serial_bits": st.sampled_from([1, 2]), "cascading": st.booleans()},
    "loom": {
        "serial_bits": st.sampled_from([1, 2, 4]),
        "dynamic_activations": st.booleans(),
        "dynamic_weights": st.booleans(),
    },
    "pragmatic": {
        "first_stage_bits": st.integers(0, 4),
        "recoding": recodings,
        "run_ahead": st.integers(0, 2),
    },
    "laconic": {"recoding": recodings},
    "cnvlutin": {"weight_skipping": st.booleans()},
    "bitfusion": {},
    "fast": {
        "activation_mantissa": st.integers(1, 9),
        "weight_mantissa": st.integers(1, 9),
    },
    "flexblock": {
        "activation_mode": st.sampled_from([4, 8, 16]),
        "weight_mode": st.sampled_from([4, 8, 16]),
    },
    "sat": {"n": st.just(2), "m": st.sampled_from([2, 4, 8])},
}


def own_bits(layer: Layer, activation_bits: int, weight_bits: int) -> Layer:
    return replace(layer, activation_bits=activation_bits, weight_bits=weight_bits)


@pytest.mark.parametrize("name", list(PARAMETERS))
@settings(deadline=None, max_examples=60)
@given(layer=testing.layers(), array=arrays, data=st.data())
def test_cycles_equal_the_loops(name, layer, array, data):
    parameters = data.draw(st.fixed_dictionaries(PARAMETERS[name]))
    bits = st.integers(1, 16)
    layer = own_bits(layer, data.draw(bits), data.draw(bits))
    expected = getattr(loops, name)(layer, **parameters, **array)
    assert design(name, **parameters, **array).compute_cycles(layer) == expected


@pytest.mark.parametrize("name", ["tcl", "tcl_p", "tcl_e"])
@settings(deadline=None, max_examples=60)
@given(
    layer=testing.layers(max_channels=14), array=arrays, front_end=front_ends, recoding=recodings
)
def test_bit_tactical_equals_the_loops(name, layer, array, front_end, recoding):
    own = {"recoding": recoding} if name == "tcl_e" else {}
    item = design(name, **front_end, **array, **own)
    cost = {"cost": None} if name == "tcl" else {}
    expected = getattr(loops, name)(layer, **front_end, **array, **own, **cost)
    assert item.compute_cycles(layer) == expected
    entries = loops.pattern_entries(
        front_end["pattern"], front_end["lookahead"], front_end["lookaside"]
    )
    assert item.entries == entries
    assert 2 ** (item.metadata_bits - 1) < len(entries) + 1 <= 2**item.metadata_bits


@settings(deadline=None, max_examples=80)
@given(
    testing.layers(max_filters=11, max_size=8),
    st.integers(1, 2),
    st.sampled_from([(4, 2), (16, 4), (3, 1), (6, 3)]),
    st.integers(1, 3),
    st.integers(1, 3),
)
def test_scnn_equals_the_loops(layer, tiles, multipliers, columns, rows):
    array = {"tiles": tiles, "lanes": multipliers[0], "columns": columns, "rows": rows}
    array["activations_per_step"] = multipliers[1]
    item = design("scnn", **array)
    own = item.own_counts(layer)
    counts = (item.compute_cycles(layer), own["dense_cycles"], own["idle_conflicts"])
    assert (*counts, own["multiplications"]) == loops.scnn(layer, **array)


@settings(deadline=None, max_examples=60)
@given(testing.layers(), st.data())
def test_work_of_pairs_equals_the_loops(layer, data):
    recoding = data.draw(recodings)
    layer = own_bits(layer, data.draw(st.integers(1, 16)), data.draw(st.integers(1, 16)))
    signs = loops.signed(layer.activations), loops.signed(layer.weights)

    def count_terms(value):
        return len(loops.positions(value, recoding))

    def widths(value, sign):
        return reference.width([value], sign, "leading")

    bits = layer.activation_bits, layer.weight_bits
    cases = [
        ("pragmatic", {"recoding": recoding}, lambda a, w: 16 * count_terms(a)),
        ("laconic", {"recoding": recoding}, lambda a, w: count_terms(a) * count_terms(w)),
        ("loom", {}, lambda a, w: widths(a, signs[0]) * bits[1]),
        ("loom", {"dynamic_activations": False}, lambda a, w: bits[0] * bits[1]),
        (
            "loom",
            {"dynamic_weights": True},
            lambda a, w: widths(a, signs[0]) * widths(w, signs[1]),
        ),
        (
            "loom",
            {"dynamic_weights": True, "dynamic_activations": False},
            lambda a, w: bits[0] * widths(w, signs[1]),
        ),
        ("tcl", {}, lambda a, w: 256 * (w != 0)),
        ("tcl_p", {}, lambda a, w: 16 * widths(a, signs[0]) * (w != 0)),
        ("tcl_e", {"recoding": recoding}, lambda a, w: 16 * count_terms(a) * (w != 0)),
        ("cnvlutin", {}, lambda a, w: 256 * (a != 0)),
        ("cnvlutin", {"weight_skipping": True, "rows": 1}, lambda a, w: 256 * (a != 0 != w)),
        ("scnn", {}, lambda a, w: 256 * (a != 0 != w)),
    ]
    name, parameters, of_pair = data.draw(st.sampled_from(cases))
    assert design(name, **parameters).effectual_bit_products(layer) == loops.work(layer, of_pair)


@settings(deadline=None, max_examples=40)
@given(testing.layers(), arrays)
def test_weights_skipped_are_zero_in_all_filters_of_the_lane(layer, array):
    # In 16-bit products, and where a brick has none left it still takes its cycle.
    item = design("cnvlutin", weight_skipping=True, **array)
    shared = array["rows"] * array["tiles"]
    filters = layer.filters // layer.groups
    expected = 0
    for (a, _), (k, place) in zip(
        reference.macs_with_weights(layer), places_of_macs(layer), strict=True
    ):
        group, within = divmod(k, filters)
        first = group * filters + within // shared * shared
        last = min(first + shared, (group + 1) * filters)
        if layer.is_depthwise:
            first, last = k, k + 1
        if a and layer.weights.reshape(layer.filters, -1)[first:last, place].any():
            expected += 256
    assert item.effectual_bit_products(layer) == expected


def places_of_macs(layer: Layer):
    """Filter and place in its flat weights of every multiply-accumulate, in `macs`' order."""
    for _ in range(layer.batch):
        for k in range(layer.filters):
            for _ in range(layer.windows):
                for place in range(layer.reduction):
                    yield k, place


@pytest.mark.parametrize("recoding", RECODINGS)
def test_positions_of_terms(recoding):
    x = np.arange(-(2**15) + 1, 2**15, dtype=np.int16)
    masks = term_positions(x, recoding)
    assert np.array_equal(np.bitwise_count(masks), fl.terms(x, recoding))
    sample = np.random.default_rng(0).choice(x, 3000)
    for value, mask in zip(sample.tolist(), term_positions(sample, recoding).tolist(), strict=True):
        assert mask == sum(1 << place for place in loops.positions(value, recoding))


@settings(deadline=None, max_examples=40)
@given(testing.layers(), st.integers(2, 8), st.integers(2, 8), arrays)
def test_block_operands_set_the_widths(layer, a_bits, w_bits, array):
    if layer.kind != "linear":
        return
    x, w = (
        fl.encode(tensor.astype(np.float32), fl.bfp(bits), axis=1)
        for tensor, bits in ((layer.activations, a_bits), (layer.weights, w_bits))
    )
    blocks = Layer.linear(x, w)
    given_bits = {"activation_mantissa": a_bits, "weight_mantissa": w_bits}
    assert design("fast", **array).compute_cycles(blocks) == design(
        "fast", **given_bits, **array
    ).compute_cycles(layer)
    columns = fl.encode(layer.weights.astype(np.float32).T.copy(), fl.bfp(w_bits), axis=0)
    assert design("fast").own_counts(blocks)["fmac_passes"] == fl.dot_passes(x, columns)
    modes = {"activation_mode": 4 if a_bits <= 4 else 8, "weight_mode": 4 if w_bits <= 4 else 8}
    assert design("flexblock", **array).compute_cycles(blocks) == design(
        "flexblock", **modes, **array
    ).compute_cycles(layer)


def test_mantissas_of_blocks_are_the_values_of_the_layer():
    x = np.array([[1.0, -0.5, 0.25, 3.0]], np.float32)
    layer = Layer.linear(
        fl.encode(x, fl.bfp(4, block_size=2), axis=1), fl.encode(x, "mxint8", axis=1)
    )
    assert layer.activations.tolist() == [[8, -4, 1, 12]]
    assert layer.weights.tolist() == [[32, -16, 8, 96]]
    assert layer.activation_format == fl.bfp(4, block_size=2)
    wide = fl.encode(x, fl.bfp(16), axis=1)
    assert not Layer.linear(wide, wide).has_values
    with pytest.raises(TypeError, match="must have integer elements"):
        Layer.linear(fl.encode(x, "mxfp4_e2m1", axis=1), np.ones((1, 4), int))
    with pytest.raises(
        ValueError, match=r"blocks along axis 1, that of the reduction, not along 0"
    ):
        Layer.linear(fl.encode(x, fl.bfp(4), axis=0), np.ones((1, 4), int))


def test_training_takes_three_products():
    weights = np.zeros((16, 64, 3, 3), int)
    weights[:, ::4] = 1
    layer = Layer.conv(ones(2, 64, 8, 8), weights, padding=1)
    # (128 windows) × 576 × 16, its transposes, and N:M of 2:8 on the first two; 16 lanes, 16 rows.
    assert design("sat").training_cycles(layer) == {
        "forward": 2 * 64 * 9,
        "input_gradient": 2 * 64 * 36 * 1,
        "weight_gradient": 576 * 8,
    }
    own = design("sat").own_counts(layer)
    assert own["training_macs"] * 2 == own["dense_training_macs"]  # 1/4 + 1/4 + 1 of 3
    dense = design("sat", mode="dense")
    assert dense.training_cycles(layer)["forward"] == 2 * 64 * 36
    passes = design("fast", gradient_mantissa=2).training_passes(layer)
    assert passes == {
        "forward": 2 * 64 * 16 * 36 * 4,
        "input_gradient": 2 * 64 * 576 * 1 * 2,
        "weight_gradient": 576 * 16 * 8 * 2,
    }


def test_sat_refuses_what_is_not_sparse():
    layer = Layer.linear(ones(1, 8), ones(3, 8), name="fc7")
    with pytest.raises(ValueError, match=r"fc7 are not 2:8 sparse.*: 8 of 8 are not zero"):
        design("sat", mode="sparse").compute_cycles(layer)
    assert design("sat").compute_cycles(layer) == design("sat", mode="dense").compute_cycles(layer)


# --- invariants -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=50)
@given(testing.layers())
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
        item.effectual_bit_products(layer)
        for item in (parallel, stripes, dynamic, design("dynamic_stripes", ends="both"))
    ]
    assert work == sorted(work, reverse=True)


@settings(deadline=None, max_examples=80)
@given(testing.layers(max_channels=20), arrays, recodings)
def test_finer_designs_take_less(layer, array, recoding):
    def cycles(name, **parameters):
        return design(name, **array, **parameters).compute_cycles(layer)

    def work(name, **parameters):
        return design(name, **parameters).effectual_bit_products(layer)

    dynamic = cycles("dynamic_stripes")
    stages = [cycles("pragmatic", first_stage_bits=b) for b in (0, 2, 4)]
    assert stages == sorted(stages, reverse=True)
    assert dynamic >= stages[0]  # even one bit position at a time
    assert dynamic >= cycles("pragmatic", recoding=recoding)
    in_work = [
        work("stripes"),
        work("dynamic_stripes"),
        work("pragmatic", recoding=recoding),
        work("laconic", recoding=recoding),
    ]
    assert in_work == sorted(in_work, reverse=True)
    for dynamic_weights in (False, True):
        looms = [cycles("loom", serial_bits=b, dynamic_weights=dynamic_weights) for b in (1, 2, 4)]
        assert looms == sorted(looms, reverse=True)
    assert cycles("loom", dynamic_weights=True) <= cycles("loom")
    assert cycles("loom") <= cycles("loom", dynamic_activations=False)
    assert cycles("cnvlutin", weight_skipping=True) <= cycles("cnvlutin")


@settings(deadline=None, max_examples=80)
@given(testing.layers(max_channels=20), arrays, front_ends)
def test_bit_tactical_executes_between_all_and_one_of_lookahead_rows(layer, array, front_end):
    front, with_widths, with_terms = (
        design(name, **array, **front_end) for name in ("tcl", "tcl_p", "tcl_e")
    )
    rows = front.own_counts(layer)
    most = rows["dense_rows"]
    # Of each filter set at most `lookahead` rows in succession are skipped, also at its end.
    taps = walk_layer(layer, **array).taps
    least = most // taps * (taps // (front_end["lookahead"] + 1))
    assert least <= rows["executed_rows"] <= most
    if layer.has_windows:
        serial, by_terms = (item.compute_cycles(layer) for item in (with_widths, with_terms))
        assert front.compute_cycles(layer) <= by_terms <= serial


@pytest.mark.parametrize("name", design_names())
@settings(deadline=None, max_examples=40)
@given(layer=testing.layers(), array=arrays)
def test_no_design_does_more_than_its_peak(name, layer, array):
    item = design(name, **{**array, "lanes": 4 * array["lanes"]})
    assert item.effectual_bit_products(layer) <= (
        item.compute_cycles(layer) * item.peak_bit_products_per_cycle
    )


@settings(deadline=None, max_examples=40)
@given(testing.layers())
def test_groups_at_their_own_widths_cost_little_at_worst(layer):
    found = fl.storage_size(layer.activations, "groups", 16, axis=1)
    groups = layer.activations.size // layer.channels * ceil(layer.channels / 16)
    assert found.bits <= found.raw_bits + 20 * groups


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
    testing.layers(("conv", "grouped", "depthwise", "linear", "matmul")),
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


@pytest.mark.parametrize("name", ["pragmatic", "laconic", "tcl_p", "tcl_e", "loom"])
@pytest.mark.parametrize("kind", ["conv", "linear"])
def test_zeros_cost_one_cycle_a_step_of_all(name, kind):
    if kind == "conv":
        layer = Layer.conv(np.zeros((2, 20, 6, 6), int), ones(20, 20, 3, 3), padding=1)
    else:
        layer = Layer.linear(np.zeros((2, 70), int), ones(40, 70))
    walk = walk_layer(layer, tiles=1, lanes=16, columns=16, rows=16)
    item = design(name)
    executed = item.own_counts(layer).get("executed_rows", walk.steps // walk.pallets)
    assert item.compute_cycles(layer) == 2 * walk.pallets * executed
    assert layer.weight_bits == 1  # so Loom, too, takes one


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


IMAGE_BY_IMAGE = [
    name for name in design_names() if name not in ("fast", "flexblock", "sat", "bitfusion")
]


@settings(deadline=None, max_examples=150)
@given(testing.layers(), st.sampled_from(IMAGE_BY_IMAGE), st.booleans())
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
