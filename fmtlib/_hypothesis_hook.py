"""What Hypothesis runs when it is imported, through the entry point in pyproject.toml.

Apart from `fmtlib.testing`, which imports Hypothesis and so cannot be imported by it.
"""

from __future__ import annotations

from functools import partial
from importlib import import_module
from typing import Any

from fmtlib.blocks import BlockArray
from fmtlib.formats import BlockFormat, FixedFormat, FloatFormat, IntegerFormat

# Which strategy of fmtlib.testing makes what.
STRATEGIES = {
    FloatFormat: "float_formats",
    FixedFormat: "fixed_formats",
    IntegerFormat: "integer_formats",
    BlockFormat: "block_formats",
    BlockArray: "block_arrays",
}


def register() -> None:
    """Tell `hypothesis.strategies.from_type` of fmtlib's types; strategies are made when asked."""
    from hypothesis import strategies as st

    def make(name: str, _: type) -> st.SearchStrategy[Any]:
        strategy: st.SearchStrategy[Any] = getattr(import_module("fmtlib.testing"), name)()
        return strategy

    for made, name in STRATEGIES.items():
        st.register_type_strategy(made, partial(make, name))
