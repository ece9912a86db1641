"""The fewest bits that a network can do with, layer by layer.

A *configuration* has a `Precision` for each layer, or None for a layer that stays in floating
point.  What is searched is any function of a configuration that gives an accuracy; see
`fmtlib.training.precision_task` for those of the trainer's networks.
"""

from fmtlib.search.configurations import LayerSize, Precision, footprint
from fmtlib.search.evaluations import Progress
from fmtlib.search.results import Point, SearchResult
from fmtlib.search.searches import partial_quantization, search_precision

__all__ = [
    "LayerSize",
    "Point",
    "Precision",
    "Progress",
    "SearchResult",
    "footprint",
    "partial_quantization",
    "search_precision",
]
