"""Steps of training that are timed: networks, made-up batches, and what torch makes of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fmtlib import training
from fmtlib.benchmarks.timing import Call

Array = NDArray[Any]

# Of the text networks.
VOCABULARY, LENGTH = 64, 64
# Samples of a batch by network, and what makes the network.
BATCHES = {
    "a CNN": 64,
    "a CNN on 8x8": 64,
    "a ResNet": 64,
    "an LSTM": 32,
    "a Transformer": 32,
}
_MADE: dict[str, Callable[[], training.Network]] = {
    "a CNN": lambda: training.cnn((1, 28, 28)),
    "a CNN on 8x8": training.cnn,
    "a ResNet": training.resnet,
    "an LSTM": lambda: training.recurrent(VOCABULARY),
    "a Transformer": lambda: training.transformer(VOCABULARY, LENGTH),
}


def batch(name: str, samples: int) -> tuple[Array, Array]:
    """Images and their classes, or texts and their next characters, for a network of `BATCHES`."""
    rng = np.random.default_rng(0)
    if name in ("an LSTM", "a Transformer"):
        texts = rng.integers(0, VOCABULARY, (samples, LENGTH + 1))
        return texts[:, :-1], texts[:, 1:]
    side = 8 if name.endswith("8x8") else 28
    images = rng.standard_normal((samples, 1, side, side), dtype=np.float32)
    return images, np.arange(samples) % 10


def network(name: str) -> training.Network:
    """A network of `BATCHES`."""
    return _MADE[name]()


def step(name: str, samples: int, recipe: training.Recipe) -> tuple[training.Run, Call]:
    """A step of SGD that moves nothing, over and over the same batch; and its run."""
    (x, y), trained = batch(name, samples), network(name)
    run = recipe.start(trained.products)
    optimizer = training.SGD(trained.parameters)

    def call() -> None:
        _, gradient = training.softmax_cross_entropy(trained.forward(x, run), y)
        trained.backward(gradient, run)
        optimizer.step(0.0)
        run.advance()

    return run, call


def torch_step(torch: Any, name: str, samples: int) -> Call:
    """The same step of the same network in torch, of the module of that name."""
    x, y = (torch.from_numpy(np.ascontiguousarray(part)) for part in batch(name, samples))
    modules, forward = torch_network(torch, name)
    optimizer = torch.optim.SGD(modules.parameters(), lr=0.0, momentum=0.9)

    def call() -> None:
        optimizer.zero_grad()
        logits = forward(x)
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()

    return call


def torch_network(torch: Any, name: str) -> tuple[Any, Callable[[Any], Any]]:
    """Its modules, and the function from a batch to logits."""
    nn = torch.nn
    if name.startswith("a CNN"):
        pixels = 4 * 4 if name.endswith("8x8") else 14 * 14
        cnn = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1), nn.ReLU(),
            nn.MaxPool2d(2), nn.Flatten(), nn.Linear(32 * pixels, 10),
        )  # fmt: skip
        return cnn, cnn
    made = {"a ResNet": _resnet, "an LSTM": _lstm, "a Transformer": _transformer}
    return made[name](torch)


def _resnet(torch: Any) -> tuple[Any, Callable[[Any], Any]]:
    nn = torch.nn

    def conv(before: int, after: int, size: int, stride: int = 1) -> list[Any]:
        convolution = nn.Conv2d(before, after, size, stride, size // 2, bias=False)
        return [convolution, nn.BatchNorm2d(after)]

    first = nn.Sequential(*conv(1, 16, 3), nn.ReLU())
    blocks = nn.ModuleList(
        nn.ModuleList([
            nn.Sequential(*conv(before, after, 3, stride), nn.ReLU(), *conv(after, after, 3)),
            nn.Sequential(*(conv(before, after, 1, stride) if stride > 1 else [])),
        ])
        for before, after, stride in ((16, 16, 1), (16, 32, 2), (32, 64, 2))
    )  # fmt: skip
    last = nn.Linear(64, 10)

    def forward(x: Any) -> Any:
        x = first(x)
        for body, shortcut in blocks:
            x = nn.functional.relu(body(x) + shortcut(x))
        return last(x.mean(dim=(2, 3)))

    return nn.ModuleList([first, blocks, last]), forward


def _lstm(torch: Any) -> tuple[Any, Callable[[Any], Any]]:
    nn = torch.nn
    embedding, last = nn.Embedding(VOCABULARY, 32), nn.Linear(128, VOCABULARY)
    lstm = nn.LSTM(32, 128, batch_first=True)
    return nn.ModuleList([embedding, lstm, last]), lambda x: last(lstm(embedding(x))[0])


def _transformer(torch: Any) -> tuple[Any, Callable[[Any], Any]]:
    nn, width, heads = torch.nn, 64, 4
    embedding, places = nn.Embedding(VOCABULARY, width), nn.Embedding(LENGTH, width)
    blocks = nn.ModuleList(
        nn.ModuleList([
            nn.LayerNorm(width),
            *(nn.Linear(width, width) for _ in range(4)),
            nn.Sequential(
                nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"),
                nn.Linear(4 * width, width),
            ),
        ])
        for _ in range(2)
    )  # fmt: skip
    last = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, VOCABULARY))

    def forward(x: Any) -> Any:
        x = embedding(x) + places.weight
        for norm, *inputs, output, wide in blocks:
            normal = norm(x)
            query, key, value = (
                layer(normal).unflatten(2, (heads, -1)).transpose(1, 2) for layer in inputs
            )
            context = nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True)
            x = x + output(context.transpose(1, 2).flatten(2))
            x = x + wide(x)
        return last(x)

    return nn.ModuleList([embedding, places, blocks, last]), forward
