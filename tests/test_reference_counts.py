"""The counters against DNNsim's counts, number for number."""

import pytest
from reference_counts import (
    BIT_PRODUCTS,
    CYCLES,
    EXPECTED,
    SCNN_BY_THE_RULES,
    SCNN_COUNTS,
    reference_layer,
)

from fmtlib.hardware import count, design


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
