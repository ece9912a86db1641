"""Energy by hand, and its tables."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fmtlib.hardware import (
    Energy,
    EnergyTable,
    Layer,
    Memory,
    count,
    design,
    design_names,
    energy_table,
    headlines,
)
from fmtlib.hardware.energy import ENERGY_TABLES, Constant, lane_operations, table

ESTIMATED = Energy(table="estimates_45nm")
LAYER = Layer.conv(np.full((1, 16, 4, 4), 5), np.ones((16, 16, 1, 1), int), weight_bits=2)
MEMORY = Memory(storage="raw")


def record(name, energy=ESTIMATED, memory=MEMORY, layer=LAYER, **parameters):
    return count([layer], [design(name, **parameters)], memory=memory, energy=energy).to_records()[
        0
    ]


# --- by hand --------------------------------------------------------------------------------------


def test_stripes_by_hand():
    # 16 windows of one brick: 3 cycles of 4096 lanes, each an addition of 16 bits, 0.05 pJ.
    r = record("stripes", Energy(missing="omit"))
    assert r["energy_efficiency"] is r["power_ratio"] is r["baseline_total_pj"] is None
    assert r["compute_cycles"] == 3
    assert r["compute_clocked_pj"] == pytest.approx(0.05 * 4096 * 3)
    # 16 · 256 MACs of 3 · 16 bit products; a lane does 16 in a cycle.
    assert r["compute_effectual_pj"] == pytest.approx(0.05 / 16 * 16 * 256 * 48)
    # 256 activations written and read, 256 weights read: 768 values of 16 bits.
    assert r["dram_pj"] == pytest.approx(1300 / 64 * 16 * 768)
    # The same through SRAM, and one set of filters, one pallet, 256 outputs.
    assert r["sram_pj"] == pytest.approx(20 / 64 * 16 * (768 + 3 * 256))
    parts = r["compute_clocked_pj"] + r["sram_pj"] + r["dram_pj"]
    assert r["total_pj"] == pytest.approx(parts)


def test_ratios_by_hand():
    r = record("stripes")
    lane = 0.79 + 0.1
    assert r["baseline_cycles"] == 16
    compute = lane * 256 * 16
    sram = 20 / 64 * 16 * (768 + 256 + 16 * 256 + 256)  # one column: weights for each window
    dram = 1300 / 64 * 16 * 768
    assert r["baseline_total_pj"] == pytest.approx(compute + sram + dram)
    assert r["energy_efficiency"] == pytest.approx(r["baseline_total_pj"] / r["total_pj"])
    assert r["compute_efficiency"] == pytest.approx(compute / (0.05 * 4096 * 3))
    on_chip = (compute + sram) / (r["compute_clocked_pj"] + r["sram_pj"])
    assert r["on_chip_efficiency"] == pytest.approx(on_chip)
    assert r["power_ratio"] == pytest.approx(16 / 3 / on_chip)


def test_the_range_of_dram_and_banks():
    low, high = (record("stripes", Energy(table="estimates_45nm", dram=d)) for d in ("low", "high"))
    assert high["dram_pj"] == pytest.approx(2 * low["dram_pj"])
    large = record("stripes", memory=Memory(storage="raw", bank_bytes=1 << 20))
    assert large["sram_pj"] == pytest.approx(5 * low["sram_pj"])


def test_lanes():
    assert lane_operations(design("dynamic_stripes", even_widths=True)) == {"int_add_16b": 2}
    assert lane_operations(design("tartan", serial_bits=2)) == {"int_add_16b": 2}
    assert lane_operations(design("dadiannao")) == {"int_mul_16b": 1, "int_add_32b": 1}
    assert ESTIMATED.lane(design("loom", serial_bits=4)) == pytest.approx(4 * 0.00375)


# --- what is missing ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "energy", "memory", "message"),
    [
        ("dadiannao", Energy(), MEMORY, "no constant 'int_mul_16b', which dadiannao"),
        ("stripes", Energy(), MEMORY, "no constant 'int_mul_16b', which dadiannao needs"),
        ("pragmatic", ESTIMATED, MEMORY, "has no constant 'int_shift_16b'"),
        ("sat", ESTIMATED, MEMORY, "no operations of a lane of 'sat' are known"),
        ("stripes", ESTIMATED, Memory(bank_bytes=4096), "no constant 'sram_64b_4KiB'"),
        ("stripes", ESTIMATED, Memory(bank_bytes=1000), "no constant 'sram_64b_1000B'"),
    ],
)
def test_a_missing_constant_is_named(name, energy, memory, message):
    with pytest.raises(ValueError, match=message):
        record(name, energy, memory)


def test_missing_constants_can_be_left_out():
    energy = Energy(table="estimates_45nm", missing="omit")
    result = count([LAYER], design_names(), memory=MEMORY, energy=energy)
    report = result.report("tiny")
    lacking = report.energy["lacking"]
    for total in report.totals:
        assert (total["total_pj"] is None) == (total["design"] in lacking)
        assert (total["power_ratio"] is None) == (total["design"] in lacking)
    assert lacking["scnn"] == "no constant 'crossbar_32b'"
    assert lacking["tcl_e"] == "no constant 'int_shift_16b' or 'int_mux_16b'"
    assert any("scnn" in remark and "crossbar_32b" in remark for remark in report.remarks)


def test_a_table_of_ones_own():
    constants = ("int_add_16b", "int_mul_16b", "int_add_32b", "sram_64b_32KiB", "dram_64b_low")
    own = EnergyTable("own", tuple(Constant(n, 1, "pJ", 7, 0.7, "mine") for n in constants))
    r = record("stripes", Energy(table=own))
    assert r["compute_clocked_pj"] == 3 * 4096
    wrong = EnergyTable("own", (Constant("int_add_16b", 1, "fJ", 7, 0.7, "mine"),))
    with pytest.raises(ValueError, match="must be in pJ, not in fJ"):
        record("stripes", Energy(table=wrong))


def test_errors():
    with pytest.raises(ValueError, match="table 'horowitz'; did you mean 'horowitz_45nm'"):
        Energy(table="horowitz")
    with pytest.raises(ValueError, match="dram must be 'low' or 'high'"):
        Energy(dram="mean")
    with pytest.raises(ValueError, match="energy needs a memory"):
        count([LAYER], ["stripes"], energy=Energy())
    with pytest.raises(TypeError, match=r"energy must be a hardware\.Energy"):
        count([LAYER], ["stripes"], memory=MEMORY, energy="horowitz_45nm")


# --- the tables -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ENERGY_TABLES)
def test_every_entry_says_where_it_is_from(name):
    constants = energy_table(name).constants
    assert len({c.name for c in constants}) == len(constants)
    for c in constants:
        assert (c.unit, c.node_nm, c.voltage) == ("pJ", 45, 0.9)
        assert c.value > 0
        assert "ISSCC 2014" in c.source
        assert (c.estimate is None) == (c in energy_table("horowitz_45nm").constants)


def test_estimates_are_what_they_say():
    found = energy_table("estimates_45nm")
    by = {c.name: c.value for c in found.constants}
    assert by["int_mul_16b"] == round(math.sqrt(by["int_mul_8b"] * by["int_mul_32b"]), 2)
    assert by["int_mul_2b"] == by["int_mul_8b"] / 16
    assert by["int_add_1b"] == by["int_add_8b"] / 8


def test_operations_are_of_designs_that_exist():
    assert set(table("operations")) <= set(design_names())
    for headline in headlines():
        assert headline.design in design_names()
        assert headline.over in ("bit-parallel", *design_names())


def test_derived_power_ratios():
    ratios = {(h.design, h.scope): h.power_ratio for h in headlines() if h.efficiency}
    found = {key[0]: round(value, 2) for key, value in ratios.items() if "fully" not in key[1]}
    assert found == {"tartan": 1.62, "dynamic_stripes": 1.42, "loom": 1.24, "tcl_p": 1.69}


# --- properties -----------------------------------------------------------------------------------


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(1, 40), min_size=1, max_size=4), st.integers(0, 3000))
def test_energies_add_up(channels, scale):
    random = np.random.default_rng(scale)
    network = [
        Layer.linear(random.integers(-scale, scale + 1, (1, c)), random.integers(-9, 9, (5, c)))
        for c in channels
    ]
    names = ["dadiannao", "stripes", "loom"]
    records = count(network, names, memory=Memory(), energy=ESTIMATED).to_records()
    n = len(network) + 1
    for i in range(len(names)):
        rows, total = records[i * n : i * n + n - 1], records[i * n + n - 1]
        for key in ("compute_clocked_pj", "compute_effectual_pj", "sram_pj", "dram_pj", "total_pj"):
            assert total[key] == pytest.approx(sum(r[key] for r in rows))
        for r in rows:
            assert r["total_pj"] >= max(r["compute_clocked_pj"], r["sram_pj"], r["dram_pj"])
            # No design does more effectual products than its peak.
            assert r["compute_effectual_pj"] <= r["compute_clocked_pj"] * (1 + 1e-9)
