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

from fmtlib.training.builders import cnn, mlp, recurrent, resnet, transformer
from fmtlib.training.datasets import (
    Dataset,
    Part,
    Text,
    digits,
    fashion_mnist,
    mnist,
    mnist1d,
    split,
    text,
)
from fmtlib.training.fit import Progress, Result, fit
from fmtlib.training.idx import read_idx
from fmtlib.training.layers import (
    GELU,
    GRU,
    LSTM,
    AveragePool2d,
    BatchNorm,
    Conv2d,
    Dropout,
    Embedding,
    Flatten,
    GlobalAveragePool,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    MultiHeadAttention,
    Parameter,
    PositionEmbedding,
    ReLU,
    Residual,
    Sequential,
    Sigmoid,
    Tanh,
    WeightedLayer,
    mean_squared_error,
    softmax_cross_entropy,
)
from fmtlib.training.loop import evaluate
from fmtlib.training.network import Network
from fmtlib.training.optimizers import (
    SGD,
    Adam,
    AdamW,
    LossScale,
    Optimizer,
    clip_gradients,
)
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
from fmtlib.training.schedules import Steps, Warmup, constant, cosine

__all__ = [
    "BFP",
    "FAST",
    "FP8",
    "GELU",
    "GRU",
    "LSTM",
    "SGD",
    "Adam",
    "AdamW",
    "AveragePool2d",
    "BatchNorm",
    "BlockRecipe",
    "Conv2d",
    "Dataset",
    "Decisions",
    "Dropout",
    "Embedding",
    "Fixed",
    "Flatten",
    "Float32",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "Linear",
    "LossScale",
    "MaxPool2d",
    "MultiHeadAttention",
    "Network",
    "Operand",
    "Optimizer",
    "Parameter",
    "Part",
    "PositionEmbedding",
    "PrecisionTask",
    "Progress",
    "ReLU",
    "Recipe",
    "Residual",
    "Result",
    "Run",
    "Sequential",
    "Sigmoid",
    "Steps",
    "SwitchAt",
    "Tanh",
    "Text",
    "Warmup",
    "WeightedLayer",
    "clip_gradients",
    "cnn",
    "constant",
    "cosine",
    "digits",
    "evaluate",
    "fashion_mnist",
    "fit",
    "mean_squared_error",
    "mlp",
    "mnist",
    "mnist1d",
    "precision_task",
    "read_idx",
    "recurrent",
    "resnet",
    "softmax_cross_entropy",
    "split",
    "text",
    "transformer",
]
