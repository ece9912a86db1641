"""Recipes: which number format every operand of every matrix product takes, and when.

A `Recipe` is a frozen record of its parameters.  ``recipe.start(...)`` makes a `Run`, which holds
everything that changes during training: the iteration, the counts, the decisions taken.  Layers
call `Run.gemm` for all their products, so that it is the one place where operands are
quantised and multiplications are counted.

A new recipe is one class in the file of its family: ``product`` says how two operands are
multiplied; the other methods of `Recipe` say what else there is to say.
"""

from fmtlib.training.recipes.base import Decisions, Gemm, Operand, Recipe, Role, Run
from fmtlib.training.recipes.bfp import BFP, BlockRecipe
from fmtlib.training.recipes.fast import FAST, SwitchAt
from fmtlib.training.recipes.floats import FP8, Float32

__all__ = [
    "BFP",
    "FAST",
    "FP8",
    "BlockRecipe",
    "Decisions",
    "Float32",
    "Gemm",
    "Operand",
    "Recipe",
    "Role",
    "Run",
    "SwitchAt",
]
