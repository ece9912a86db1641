"""Training in torch with weights and activations in a low-precision format.

    python examples/torch_ste.py [FORMAT]

`Quantize` rounds in the forward pass and lets the gradient through unchanged in the backward pass,
as if rounding were not there: the straight-through estimator (Y. Bengio, N. Léonard,
A. Courville, "Estimating or Propagating Gradients Through Stochastic Neurons", arXiv 1308.3432).
What was clipped at the greatest value gets no gradient.  The master weights stay float32.

fmtlib works on the tensor's own memory and writes into the result's: nothing is copied.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import torch

import fmtlib as fl


def quantize(x: torch.Tensor, fmt: Any, **keywords: Any) -> torch.Tensor:
    """A tensor of x's shape and type with the values of the format; no gradient."""
    x = x.detach()
    y = torch.empty_like(x, memory_format=torch.contiguous_format)
    if x.dtype == torch.bfloat16:  # which NumPy has only with ml_dtypes
        memory = fl.as_ml_dtypes(fl.from_ml_dtypes(y), "bfloat16")
    else:
        memory = y.numpy()
    fl.quantize(x, fmt, out=memory, **keywords)
    return y


class Quantize(torch.autograd.Function):
    """Rounding with the gradient of the identity, or none where x is beyond the format's range."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, fmt: Any, keywords: dict[str, Any]) -> torch.Tensor:
        """The values of the format that stand for x."""
        ctx.save_for_backward(x.abs() <= fl.get_format(fmt).max)
        return quantize(x, fmt, **keywords)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """The gradient of x; the other arguments have none."""
        (inside,) = ctx.saved_tensors
        return gradients[0] * inside, None, None


class Linear(torch.nn.Linear):
    """A layer that multiplies quantised activations and weights."""

    def __init__(self, inputs: int, outputs: int, fmt: Any) -> None:
        super().__init__(inputs, outputs)
        self.fmt = fmt

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Of shape (batch, inputs) to (batch, outputs)."""
        x = Quantize.apply(x, self.fmt, {})
        weight = Quantize.apply(self.weight, self.fmt, {})
        return torch.nn.functional.linear(x, weight, self.bias)


def train(fmt: Any, steps: int = 300, seed: int = 0) -> tuple[float, torch.nn.Module]:
    """Fit two interleaved spirals; returns the accuracy and the network."""
    torch.set_num_threads(1)  # layers this small gain nothing from more
    torch.manual_seed(seed)
    random = np.random.default_rng(seed)
    turns = random.uniform(0.25, 1.5, 512)
    labels = np.arange(512) % 2
    angles = 2 * np.pi * turns + np.pi * labels
    points = np.stack([turns * np.cos(angles), turns * np.sin(angles)], axis=1)
    x = torch.from_numpy(points.astype(np.float32))
    y = torch.from_numpy(labels)
    network = torch.nn.Sequential(
        Linear(2, 64, fmt),
        torch.nn.ReLU(),
        Linear(64, 64, fmt),
        torch.nn.ReLU(),
        Linear(64, 2, fmt),
    )
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(steps):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(network(x), y).backward()
        optimizer.step()
    with torch.no_grad():
        return float((network(x).argmax(dim=1) == y).float().mean()), network


def main() -> None:
    """Print the accuracy in the format, beside bfloat16's."""
    for fmt in dict.fromkeys(["bfloat16", *(sys.argv[1:] or ["e4m3", "bfp_m4_e8_g16"])]):
        accuracy, _ = train(fmt)
        print(f"{fmt}: {accuracy:.1%} of the points")


if __name__ == "__main__":
    main()
