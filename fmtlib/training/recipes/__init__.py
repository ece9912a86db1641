"""Recipes: which number format every operand of every matrix product takes, and when.

A `Recipe` is a frozen record of its parameters.  ``recipe.start(...)`` makes a `Run`, which holds
everything that changes during training: the iteration, the counts, the decisions taken.  Layers
call `Run.gemm` for all their products, so that it is the one place where operands are
quantised and multiplications are counted.

A new recipe is one class in the file of its family: ``product`` says how two operands are
multiplied; the other methods of `Recipe` say what else there is to say.
"""

from fmtlib.training.recipes.approximate import Approximate, mantissa_table
from fmtlib.training.recipes.base import Decisions, Gemm, Operand, Recipe, Role, Run
from fmtlib.training.recipes.bfp import BFP, BlockRecipe
from fmtlib.training.recipes.fast import FAST, SwitchAt
from fmtlib.training.recipes.fixed_point import QFX
from fmtlib.training.recipes.flexblock import FlexBlock
from fmtlib.training.recipes.floats import BF16, FP8, Float32, FloatRecipe
from fmtlib.training.recipes.hbfp import HBFP
from fmtlib.training.recipes.int8 import INT8, Ranges
from fmtlib.training.recipes.microscaling import MXFP4, MXFP8, NVFP4, Microscaled
from fmtlib.training.recipes.sparse import NM, nm_mask
from fmtlib.training.recipes.stored import StoredWeights
from fmtlib.training.recipes.straight_through import StraightThrough

__all__ = [
    "BF16",
    "BFP",
    "FAST",
    "FP8",
    "HBFP",
    "INT8",
    "MXFP4",
    "MXFP8",
    "NM",
    "NVFP4",
    "QFX",
    "Approximate",
    "BlockRecipe",
    "Decisions",
    "FlexBlock",
    "Float32",
    "FloatRecipe",
    "Gemm",
    "Microscaled",
    "Operand",
    "Ranges",
    "Recipe",
    "Role",
    "Run",
    "StoredWeights",
    "StraightThrough",
    "SwitchAt",
    "mantissa_table",
    "nm_mask",
]
