"""Layers, results and the registry of the accelerator counters."""

import csv
import inspect
import json
import pickle
import sys
from math import prod

import numpy as np
import pytest
from reference_counts import CASES, reference_layer

from fmtlib import hardware
from fmtlib._core import counting
from fmtlib.hardware import Layer, Shape, count, design
from fmtlib.hardware.designs import DESIGNS
from fmtlib.hardware.designs.base import remembered


def ones(*shape: int) -> np.ndarray:
    return np.ones(shape, np.int16)


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
        ("loom", {"serial_bits": 3}, ValueError, "serial_bits must be 1, 2 or 4, not 3"),
        ("loom", {"dynamic_weights": 1}, TypeError, "dynamic_weights must be True or False"),
        ("tartan", {"serial_bits": True}, ValueError, "serial_bits must be 1 or 2, not True"),
        ("tartan", {"cascading": None}, TypeError, "cascading must be True or False"),
        ("pragmatic", {"first_stage_bits": 5}, ValueError, "must be from 0 to 4, got 5"),
        ("pragmatic", {"recoding": "csd"}, ValueError, "recoding must be 'binary', 'naf', 'booth'"),
        ("pragmatic", {"run_ahead": 1.0}, TypeError, "run_ahead must be an integer"),
        ("laconic", {"recoding": 2}, ValueError, "or 'run_length', not 2"),
        ("tcl_e", {"recoding": None}, ValueError, "or 'run_length', not None"),
        ("tcl", {"pattern": "T9"}, ValueError, "pattern must be 'T8' or 'L8', not 'T9'"),
        ("tcl_p", {"lookahead": 3}, ValueError, "'T8' goes with lookahead 2 and .*not 3 and 5"),
        ("tcl_p", {"lookaside": 6}, ValueError, "'L8' goes with any"),
        ("tcl", {"lanes": 65}, ValueError, "lanes must be from 1 to 64, got 65"),
        ("tcl", {"fill_order": "any"}, ValueError, "'most_candidates' or 'least_flexible'"),
        ("cnvlutin", {"encoding": "raw"}, ValueError, "encoding must be 'zfnaf'"),
        ("cnvlutin", {"lanes": 65}, ValueError, "lanes must be from 1 to 64"),
        ("scnn", {"activations_per_step": 3}, ValueError, "must divide the 16 lanes, not 3"),
        ("scnn", {"lanes": 256}, ValueError, "lanes must be from 1 to 255, got 256"),
        ("flexblock", {"activation_mode": 5}, ValueError, "must be 4, 8 or 16, not 5"),
        ("flexblock", {"gradient_mode": None}, ValueError, "must be 4, 8 or 16, not None"),
        ("sat", {"n": 9}, ValueError, "n must be from 1 to 8, got 9"),
        ("sat", {"mode": "both"}, ValueError, "mode must be 'auto', 'dense' or 'sparse'"),
        ("fast", {"activation_mantissa": 0}, ValueError, r"must be from 1 to 23, got 0"),
        ("fast", {"weight_mantissa": "4"}, TypeError, "weight_mantissa must be an integer"),
    ],
)
def test_design_errors(name, parameters, error, message):
    with pytest.raises(error, match=message):
        design(name, **parameters)


def test_loops_check_what_they_are_given():
    bytes_, words = np.zeros((2, 3, 4), np.uint8), np.zeros((2, 3), np.uint64)
    with pytest.raises(TypeError, match="expected an array of uint8"):
        counting.run_ahead(bytes_.astype(int), 1, 1)
    with pytest.raises(ValueError, match="expected a C-contiguous array"):
        counting.run_ahead(bytes_[:, ::2], 1, 1)
    with pytest.raises(ValueError, match="windows beyond the values"):
        counting.pallet_maxima(bytes_[None], (9, 9), 2, (1, 1), (1, 1), (1, 1))
    steps = np.array([3], np.int32)
    with pytest.raises(ValueError, match="beyond what the scheduler's masks hold"):
        counting.schedule(words, 65, steps, steps, 3, False)
    with pytest.raises(ValueError, match="beyond what the scheduler's masks hold"):
        counting.schedule(words, 4, steps, steps, 2, False)
    with pytest.raises(ValueError, match="rows beyond the values"):
        counting.selected_maxima(bytes_, steps, np.zeros((1, 2), np.uint64))


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


def test_nothing_to_do_is_infinitely_fast():
    layer = Layer.linear(np.zeros((1, 4), int), np.zeros((3, 4), int))
    result = count([layer], ["pragmatic", "tcl"])
    pragmatic, tcl = (counts[0] for counts in result.counts)
    assert (pragmatic.compute_cycles, pragmatic.ideal_speedup) == (1, float("inf"))
    assert (tcl.compute_cycles, tcl.speedup) == (0, float("inf"))
    # JSON has no infinity.
    pragmatic, tcl = result.to_records()[::2]
    assert pragmatic["ideal_speedup"] is tcl["speedup"] is tcl["utilization"] is None


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
    pyplot = "matplotlib.pyplot" in sys.modules  # another test's
    for suffix in ("png", "svg"):
        figure = result.plot(tmp_path / f"counts.{suffix}")
        assert len(figure.axes[0].patches) == len(result.to_records())
        assert (tmp_path / f"counts.{suffix}").stat().st_size > 1000
    assert ("matplotlib.pyplot" in sys.modules) == pyplot
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


def test_what_is_remembered_of_a_layer_is_bounded_and_found_again():
    layer = Layer.linear(ones(1, 4), ones(3, 4))
    calls = []

    def find(key):
        return remembered(layer, key, lambda: calls.append(key) or key)

    assert [find(key) for key in (0, 1, 0)] == [0, 1, 0]
    assert calls == [0, 1]
    assert [find(key) for key in range(12)] == list(range(12))
    assert find(0) == 0
    assert calls == [*range(12), 0]


def test_a_layer_shows_its_shapes_not_its_tensors():
    layer = Layer.linear(np.ones((1, 40), int), np.ones((8, 40), int), name="fc")
    assert repr(layer) == (
        "Layer(linear 'fc', activations (1, 40) of 1 bits, weights (8, 40) of 1 bits)"
    )


def test_a_design_needs_a_name():
    class Nameless(type(hardware.design("stripes"))):
        name = None

    with pytest.raises(TypeError, match="Nameless needs a name"):
        Nameless()
