"""Counters for accelerators that exploit low precision: exact cycles and work, layer by layer."""

from fmtlib.hardware.counters import CountResult, count
from fmtlib.hardware.designs import Design, design, design_names
from fmtlib.hardware.layers import Layer
from fmtlib.hardware.onnx_graph import SkippedNode
from fmtlib.hardware.trace import Trace, TracedLayer, trace

__all__ = [
    "CountResult",
    "Design",
    "Layer",
    "SkippedNode",
    "Trace",
    "TracedLayer",
    "count",
    "design",
    "design_names",
    "trace",
]
