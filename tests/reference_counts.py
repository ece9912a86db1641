"""The reference layers, and our designs by the names that DNNsim's counts of them have."""

import json
from pathlib import Path

import numpy as np

from fmtlib.hardware import Layer

DATA = Path(__file__).parent / "data" / "reference_counts"
EXPECTED = json.loads((DATA / "expected.json").read_text())
CASES = {case["name"]: case for case in json.loads((DATA / "cases.json").read_text())}


def reference_layer(name: str) -> Layer:
    case = CASES[name]
    activations = np.load(DATA / f"act-{name}.npy")
    weights = np.load(DATA / f"wgt-{name}.npy")
    bits = {"activation_bits": case["pa"], "weight_bits": case["pw"], "name": name}
    if case["type"] == "fc":
        return Layer.linear(activations, weights, **bits)
    groups = activations.shape[1] // weights.shape[1]
    return Layer.conv(activations, weights, case["stride"], case["pad"], groups, **bits)


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
