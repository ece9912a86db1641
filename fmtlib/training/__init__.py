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
    BFP,
    FAST,
    FP8,
    BlockRecipe,
    Decisions,
    Float32,
    Operand,
    Recipe,
    Run,
    SwitchAt,
)

__all__ = [
    "BFP",
    "FAST",
    "FP8",
    "SGD",
    "BlockRecipe",
    "Conv2d",
    "Dataset",
    "Decisions",
    "Fixed",
    "Flatten",
    "Float32",
    "Layer",
    "Linear",
    "MaxPool2d",
    "Network",
    "Operand",
    "Parameter",
    "Part",
    "PrecisionTask",
    "Progress",
    "ReLU",
    "Recipe",
    "Result",
    "Run",
    "SwitchAt",
    "WeightedLayer",
    "cnn",
    "cosine",
    "digits",
    "evaluate",
    "fit",
    "mlp",
    "precision_task",
    "softmax_cross_entropy",
    "split",
]
