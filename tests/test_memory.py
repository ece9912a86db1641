"""Traffic of layers, by hand and by properties."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fmtlib as fl
from fmtlib.hardware import Layer, Memory, Shape, count, design_names, footprint
from fmtlib.hardware.memory import STORAGES, MemoryCounts


def small(**memory):
    # 1 byte a cycle
    return Memory(dram_megabytes_per_second=1000, clock_megahertz=1000, **memory)


def conv(batch=1):
    """A: 32 values a sample, W: 4 · 16 · 1 · 1; outputs 2 · 1."""
    x = np.full((batch, 16, 2, 1), 5)
    return Layer.conv(x, np.ones((4, 16, 1, 1), int), activation_bits=6, weight_bits=2)


# --- by hand --------------------------------------------------------------------------------------


def test_footprints_by_hand():
    layer = conv()
    found = {s: footprint(layer, "activations", s) for s in STORAGES}
    assert (found["raw"].metadata_bits, found["raw"].payload_bits) == (0, 16 * 32)
    assert (found["profiled"].metadata_bits, found["profiled"].payload_bits) == (4, 6 * 32)
    assert (found["dpred"].metadata_bits, found["dpred"].payload_bits) == (2 * 4, 3 * 32)
    assert footprint(layer, "weights", "dpred").bits == 4 * 4 + 64
    assert footprint(layer, "activations", "dpred", group_size=4).metadata_bits == 8 * 4


def test_footprints_are_those_of_storage_size():
    random = np.random.default_rng(5)
    x = np.maximum(random.integers(-900, 900, (2, 21, 5, 4)), 0).astype(np.int16)
    w = random.integers(-99, 99, (6, 21, 3, 3)).astype(np.int16)
    layer = Layer.conv(x, w)
    for storage in ("dpred", "shapeshifter"):
        for size in (8, 16):
            for operand, tensor in (("activations", x), ("weights", w)):
                found = footprint(layer, operand, storage, size)
                same = fl.storage_size(tensor, storage, size, axis=1)
                assert (found.metadata_bits, found.bits) == (same.metadata_bits, same.bits)


def test_all_fits():
    counts = small().count(conv(), columns=16, filters=16)
    a, w = 8 + 96, 16 + 64
    assert counts == MemoryCounts(
        activation_write_bits=a,
        activation_read_bits=a,
        weight_read_bits=w,
        metadata_bits=8 + 8 + 16,
        cycles=(2 * a + w) // 8,
        sram_activation_read_bits=a,  # one set of filters: every value once
        sram_weight_read_bits=w,  # one pallet
        sram_output_write_bits=16 * 2 * 4,
    )
    assert counts.dram_bits == 2 * a + w == 288
    assert counts.sram_bits == a + w + 128 + 288


@pytest.mark.parametrize(
    ("activation_bytes", "weight_bytes", "reads"),
    [
        (64, 128, (512, 1024)),  # both fit: 512 bits and 1024 bits
        (64, 1, (512, 1024)),  # activations in one piece: weights once
        (1, 128, (512, 1024)),  # weights in one piece: activations once
        (63, 127, (2 * 512, 1024)),  # two pieces each: W + 2 A is less than A + 2 W
        (63, 32, (512, 2 * 1024)),  # weights in 4 pieces: A + 2 W is 2560, W + 4 A 3072
        (32, 64, (2 * 512, 1024)),
        (1, 32, (4 * 512, 1024)),  # activations in 64 pieces
    ],
)
def test_what_does_not_fit_is_read_again(activation_bytes, weight_bytes, reads):
    memory = small(storage="raw", activation_bytes=activation_bytes, weight_bytes=weight_bytes)
    counts = memory.count(conv(), columns=16, filters=16)
    assert (counts.activation_read_bits, counts.weight_read_bits) == reads
    assert counts.activation_write_bits == 512


def test_resident_activations_cost_nothing():
    layer = conv()
    kept = small(storage="raw", resident_activations=True, activation_bytes=64)
    counts = kept.count(layer, columns=16, filters=16)
    assert (counts.activation_write_bits, counts.activation_read_bits) == (0, 0)
    assert (counts.weight_read_bits, counts.cycles) == (1024, 128)
    not_kept = dataclasses.replace(kept, activation_bytes=63)
    assert not_kept.count(layer, columns=16, filters=16).activation_read_bits == 512


def test_on_chip_reads_follow_the_array():
    # 3 × 3 windows of 2 · 1 · 1 values, 5 filters; 4 columns → 3 pallets, 2 filters → 3 sets.
    layer = Layer.conv(np.ones((2, 2, 3, 3), int), np.ones((5, 2, 1, 1), int))
    counts = small(storage="raw").count(layer, columns=4, filters=2)
    assert counts.sram_activation_read_bits == 16 * 2 * 9 * 2 * 3
    assert counts.sram_weight_read_bits == 16 * 2 * 3 * 10
    assert counts.sram_output_write_bits == 16 * 2 * 9 * 5
    # Depthwise: each channel has one filter, so activations are read for one set each.
    deep = Layer.conv(np.ones((1, 4, 3, 3), int), np.ones((4, 1, 3, 3), int), groups=4)
    counts = small(storage="raw").count(deep, columns=4, filters=2)
    assert counts.sram_activation_read_bits == 16 * 9 * 4


def test_cycles_are_exact():
    memory = Memory(dram_megabytes_per_second=12_800, clock_megahertz=1_000)
    assert memory.bits_per_cycle == 102.4
    assert [memory.cycles(bits) for bits in (0, 1, 102, 103, 512, 513)] == [0, 1, 1, 2, 5, 6]
    huge = 2**80 + 1
    assert memory.cycles(huge) == -(-huge * 10 // 1024)


def test_total_is_the_maximum_of_each_layer():
    # 512 · 9 cycles of the array against 104 of DRAM, and the other way round.
    busy = Layer.conv(np.ones((1, 16, 16, 16), int), np.ones((16, 16, 3, 3), int), padding=1)
    idle = Layer.linear(np.ones((1, 1024), int), np.ones((16, 1024), int))
    result = count([busy, idle], ["dadiannao"], memory=small(storage="raw"))
    first, second, total = result.to_records()
    assert first["compute_cycles"] == 256 * 9
    assert first["memory_cycles"] == 2 * (2 * 4096 + 2304)
    assert first["total_cycles"] == 20992
    assert first["stall_cycles"] == 20992 - 2304
    assert second["compute_cycles"] == 64
    assert second["total_cycles"] == second["memory_cycles"] == 2 * (2 * 1024 + 16384)
    assert total["total_cycles"] == first["total_cycles"] + second["total_cycles"]
    assert total["total_speedup"] == 1
    fast = Memory(storage="raw", dram_megabytes_per_second=10**9)
    for record in count([busy, idle], ["stripes"], memory=fast).to_records():
        assert (record["stall_cycles"], record["total_cycles"]) == (0, record["compute_cycles"])


def test_the_baseline_is_raw():
    (record, _) = count([conv()], ["dadiannao"], memory=small()).to_records()
    assert record["baseline_dram_bits"] == 16 * (2 * 32 + 64)
    assert record["dram_bits"] == 288
    assert record["baseline_memory_cycles"] == 256


def test_columns_of_records():
    (record, total) = count([conv()], ["stripes"], memory=small()).to_records()
    assert record["activation_raw_bits"] == 512
    assert record["activation_profiled_bits"] == 196
    assert record["activation_dpred_bits"] == total["activation_dpred_bits"] == 104
    assert record["weight_dpred_metadata_bits"] == 16
    assert record["dram_metadata_bits"] == 32
    assert record["utilization"] == 6 * 16 * record["macs"] / (6 * 65536)
    assert record["baseline_utilization"] == 128 / (2 * 256)


# --- properties -----------------------------------------------------------------------------------

memories = st.builds(
    Memory,
    storage=st.sampled_from(STORAGES),
    group_size=st.sampled_from([1, 4, 16, 64]),
    activation_bytes=st.integers(1, 400),
    weight_bytes=st.integers(1, 400),
    dram_megabytes_per_second=st.integers(1, 10**5),
    clock_megahertz=st.integers(1, 3000),
    resident_activations=st.booleans(),
)


@st.composite
def layers(draw):
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    size = draw(st.integers(1, 5))
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 40))
    scale = draw(st.sampled_from([0, 1, 30, 30000]))
    low = draw(st.sampled_from([0, -scale]))
    x = random.integers(low, scale + 1, (draw(st.integers(1, 2)), channels, size, size))
    w = random.integers(-scale, scale + 1, (filters, channels, 1, 1))
    return Layer.conv(x, w)


@settings(deadline=None, max_examples=60)
@given(st.lists(layers(), min_size=1, max_size=3), memories)
def test_invariants(network, memory):
    result = count(network, ["dadiannao", "stripes", "dynamic_stripes"], memory=memory)
    records = result.to_records()
    summed = [key for key in records[0] if key.endswith(("_cycles", "_bits")) and "dram" in key]
    summed += ["memory_cycles", "stall_cycles", "total_cycles", "sram_bits"]
    n = len(network) + 1
    for i in range(3):
        rows, total = records[i * n : i * n + n - 1], records[i * n + n - 1]
        for r in rows:
            assert r["total_cycles"] == max(r["compute_cycles"], r["memory_cycles"])
            assert r["stall_cycles"] == r["total_cycles"] - r["compute_cycles"] >= 0
            parts = ("activation_write", "activation_read", "weight_read")
            assert r["dram_bits"] == sum(r[f"dram_{part}_bits"] for part in parts)
            assert 0 <= r["dram_metadata_bits"] <= r["dram_bits"] <= r["sram_bits"]
        for layer, r in zip(network, rows, strict=True):
            groups = layer.batch * layer.windows * -(-layer.channels // memory.group_size)
            most = 5 * groups  # headers; zeros are told by bits only if that takes less
            assert r["activation_dpred_bits"] <= r["activation_raw_bits"] + most
        for key in summed:
            assert total[key] == sum(r[key] for r in rows)


@settings(deadline=None, max_examples=60)
@given(layers(), memories, st.integers(1, 300))
def test_more_memory_is_never_more_traffic(layer, memory, more):
    traffic = memory.count(layer, 16, 16).dram_bits
    for field in ("activation_bytes", "weight_bytes"):
        larger = dataclasses.replace(memory, **{field: getattr(memory, field) + more})
        assert larger.count(layer, 16, 16).dram_bits <= traffic


@settings(deadline=None, max_examples=60)
@given(layers(), memories)
def test_the_rule_of_reading_again(layer, memory):
    """Beside a loop over pieces."""
    a, w = (footprint(layer, o, memory.storage, memory.group_size).bits
            for o in ("activations", "weights"))  # fmt: skip
    if memory.resident_activations and a <= 8 * memory.activation_bytes:
        expected = w
    else:
        orders = []
        for held, other, size in ((w, a, memory.weight_bytes), (a, w, memory.activation_bytes)):
            read, left = 0, held
            while left > 0:
                piece = min(left, 8 * size)
                read += piece + other
                left -= piece
            orders.append(read)
        expected = a + min(orders)
    assert memory.count(layer, 16, 16).dram_bits == expected


# --- shapes alone and errors ----------------------------------------------------------------------


def test_shapes_alone():
    layer = Layer.linear(Shape(1, 256), Shape(64, 256), activation_bits=9, weight_bits=10)
    result = count([layer], ["stripes", "tartan"], memory=Memory(storage="profiled"))
    record = result.to_records()[0]
    assert record["dram_bits"] == 2 * (4 + 9 * 256) + 4 + 10 * 64 * 256
    assert (record["activation_dpred_bits"], record["weight_shapeshifter_bits"]) == (None, None)
    assert result.width_histograms() == []
    with pytest.raises(ValueError, match=r"'dpred' needs the values .* of 'linear'"):
        count([layer], ["stripes"], memory=Memory())


@pytest.mark.parametrize(
    ("parameters", "error", "message"),
    [
        ({"storage": "zip"}, ValueError, "storage must be one of raw, profiled, dpred, shapesh"),
        ({"weight_bytes": 0}, ValueError, "weight_bytes must be at least 1, got 0"),
        ({"clock_megahertz": 1.5}, TypeError, "clock_megahertz must be an integer, got 1.5"),
        ({"resident_activations": 1}, TypeError, "must be True or False, got 1"),
    ],
)
def test_memory_errors(parameters, error, message):
    with pytest.raises(error, match=message):
        Memory(**parameters)


def test_other_errors():
    with pytest.raises(TypeError, match=r"memory must be a hardware\.Memory, not 5"):
        count([conv()], ["stripes"], memory=5)
    with pytest.raises(ValueError, match="storage must be one of"):
        footprint(conv(), "weights", "zip")


@pytest.mark.parametrize("name", design_names())
def test_every_design_counts_with_memory(name):
    (record, _) = count([conv()], [name], memory=small()).to_records()
    assert record["total_cycles"] == max(record["compute_cycles"], 36)
