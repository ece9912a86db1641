"""The fewest bits that a network can do with, layer by layer.

A *configuration* has a `Precision` (fixed point) or a `BlockPrecision` (block floating point) for
each layer, or None for a layer that stays in floating point.  What is searched is any function of a
configuration that gives an accuracy; `OnnxModel` has those of networks in ONNX, and
`fmtlib.training.precision_task` those of the trainer's.
"""

from fmtlib.search.block_search import search_blocks
from fmtlib.search.configurations import BlockPrecision, LayerSize, Precision, footprint
from fmtlib.search.evaluations import Progress
from fmtlib.search.onnx_model import OnnxModel
from fmtlib.search.results import Point, SearchResult
from fmtlib.search.searches import partial_quantization, search_precision

__all__ = [
    "BlockPrecision",
    "LayerSize",
    "OnnxModel",
    "Point",
    "Precision",
    "Progress",
    "SearchResult",
    "footprint",
    "partial_quantization",
    "search_blocks",
    "search_precision",
]
