"""Counters for accelerators that exploit low precision: exact cycles and work, layer by layer."""

from fmtlib.hardware.counters import CountProgress, CountResult, count
from fmtlib.hardware.designs import Design, design, design_names
from fmtlib.hardware.energy import Energy, EnergyTable, energy_table, headlines
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.memory import Memory, footprint
from fmtlib.hardware.onnx_graph import SkippedNode
from fmtlib.hardware.published import published_network, published_networks
from fmtlib.hardware.report import Report, geometric_mean
from fmtlib.hardware.sweep import sweep
from fmtlib.hardware.tensors import Shape
from fmtlib.hardware.trace import Trace, TracedLayer, trace
from fmtlib.hardware.walk import Walk, fixed_cycles, serial_cycles, sum_over_macs

__all__ = [
    "CountProgress",
    "CountResult",
    "Design",
    "Energy",
    "EnergyTable",
    "Layer",
    "Memory",
    "Report",
    "Shape",
    "SkippedNode",
    "Trace",
    "TracedLayer",
    "Walk",
    "count",
    "design",
    "design_names",
    "energy_table",
    "fixed_cycles",
    "footprint",
    "geometric_mean",
    "headlines",
    "published_network",
    "published_networks",
    "serial_cycles",
    "sum_over_macs",
    "sweep",
    "trace",
]
