"""Layers with explicit forward and backward passes.

A layer keeps what its backward pass needs from its last forward pass.  The layers with weights do
all their multiplications as matrix products of a `Run`, one for each of the three GEMMs of
training: ``O = A·W`` forward, ``dW = Aᵀ·dO`` and ``dA = dO·Wᵀ`` backward.  A convolution is the
same three products of its patches (im2col).  Biases, activations, normalisation, pooling and the
loss stay float32.

Arrays keep their dtype: a network is float32, and a gradient check can make it float64.
"""

from fmtlib.training.layers.activations import GELU, ReLU, Sigmoid, Tanh
from fmtlib.training.layers.attention import MultiHeadAttention
from fmtlib.training.layers.base import Floats, Layer, Parameter, WeightedLayer
from fmtlib.training.layers.containers import Residual, Sequential
from fmtlib.training.layers.convolution import Conv2d
from fmtlib.training.layers.dropout import Dropout
from fmtlib.training.layers.embedding import Embedding, PositionEmbedding
from fmtlib.training.layers.linear import Flatten, Linear
from fmtlib.training.layers.losses import mean_squared_error, softmax_cross_entropy
from fmtlib.training.layers.normalization import BatchNorm, LayerNorm
from fmtlib.training.layers.pooling import AveragePool2d, GlobalAveragePool, MaxPool2d
from fmtlib.training.layers.recurrent import GRU, LSTM

__all__ = [
    "GELU",
    "GRU",
    "LSTM",
    "AveragePool2d",
    "BatchNorm",
    "Conv2d",
    "Dropout",
    "Embedding",
    "Flatten",
    "Floats",
    "GlobalAveragePool",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "MultiHeadAttention",
    "Parameter",
    "PositionEmbedding",
    "ReLU",
    "Residual",
    "Sequential",
    "Sigmoid",
    "Tanh",
    "WeightedLayer",
    "mean_squared_error",
    "softmax_cross_entropy",
]
