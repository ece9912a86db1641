"""A reference trainer whose weights, activations and gradients live in low-precision formats.

It is pure NumPy on the public functions of `fmtlib`: small layers with explicit backward passes,
and recipes that say which format every operand of every matrix product takes, and when.

Examples
--------
>>> from fmtlib import training
>>> data = training.digits(seed=0)
>>> network = training.mlp(64, (128, 128), 10, seed=0)
>>> result = training.fit(network, data, recipe=training.FAST(), epochs=2)
>>> 1 <= result.passes_per_mac <= 4
True
"""

from fmtlib.training.datasets import Dataset, Part, digits, split
from fmtlib.training.fit import Progress, Result, evaluate, fit
from fmtlib.training.layers import (
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Parameter,
    ReLU,
    WeightedLayer,
    softmax_cross_entropy,
)
from fmtlib.training.network import Network, cnn, mlp
from fmtlib.training.optimizers import SGD, cosine
from fmtlib.training.precision import Fixed, PrecisionTask, precision_task
from fmtlib.training.recipes import (
    BF16,
    BFP,
    FAST,
    FP8,
    HBFP,
    INT8,
    MXFP4,
    MXFP8,
    NM,
    NVFP4,
    QFX,
    Approximate,
    BlockRecipe,
    Decisions,
    FlexBlock,
    Float32,
    FloatRecipe,
    Microscaled,
    Operand,
    Ranges,
    Recipe,
    Run,
    StoredWeights,
    StraightThrough,
    SwitchAt,
    mantissa_table,
    nm_mask,
)

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
    "SGD",
    "Approximate",
    "BlockRecipe",
    "Conv2d",
    "Dataset",
    "Decisions",
    "Fixed",
    "Flatten",
    "FlexBlock",
    "Float32",
    "FloatRecipe",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Microscaled",
    "Network",
    "Operand",
    "Parameter",
    "Part",
    "PrecisionTask",
    "Progress",
    "Ranges",
    "ReLU",
    "Recipe",
    "Result",
    "Run",
    "StoredWeights",
    "StraightThrough",
    "SwitchAt",
    "WeightedLayer",
    "cnn",
    "cosine",
    "digits",
    "evaluate",
    "fit",
    "mantissa_table",
    "mlp",
    "nm_mask",
    "precision_task",
    "softmax_cross_entropy",
    "split",
]
