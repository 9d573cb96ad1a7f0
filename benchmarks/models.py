"""The models that throughput is measured on: stock modules, and random data of the size that such models see.

Legend: N rows, B batch, L steps, C outputs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn

from regsearch.tasks import Classification, Regression, Task


class Recurrent(nn.Module):
    """A classifier of sequences [B, L, inputs] by the last state."""

    def __init__(self, kind: type[nn.RNNBase], inputs: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.layer, self.head = kind(inputs, hidden, batch_first=True), nn.Linear(hidden, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.layer(x)[0][:, -1])


class Transformer(nn.Module):
    """A classifier of sequences [B, L, inputs] by the mean over L of an encoder."""

    def __init__(self, inputs: int, features: int, outputs: int) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, features)
        layer = nn.TransformerEncoderLayer(features, 4, 2 * features, dropout=0.0, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.head = nn.Linear(features, outputs)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.first(x)).mean(1))


class Factors(nn.Module):
    """Matrix factorization with biases: rows hold the numbers of a user and an item, as floats."""

    def __init__(self, users: int, items: int, factors: int) -> None:
        super().__init__()
        self.users, self.items = nn.Embedding(users, factors), nn.Embedding(items, factors)
        self.user_bias, self.item_bias = nn.Embedding(users, 1), nn.Embedding(items, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        user, item = x.long().unbind(1)
        biases = self.user_bias(user) + self.item_bias(item)
        return biases + (self.users(user) * self.items(item)).sum(1, keepdim=True)


def mlp(width: int) -> nn.Module:
    return nn.Sequential(nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))


def convnet() -> nn.Module:
    """Two convolutions on 16 x 16 pictures, pooled before the activation."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1), nn.MaxPool2d(2), nn.ReLU(),
        nn.Flatten(), nn.Linear(512, 10),
    )  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One model: how it is built, random inputs of so many rows, its task, and the aim of its throughput.

    `aim` is how many times the trial-steps per second of the best stock loop packs are to reach.
    """

    build: Callable[[], nn.Module]
    inputs: Callable[[int], torch.Tensor]
    task: Task
    aim: float
    batch: int = 64

    def rows(self, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Random rows x [N, F...] and their targets y [N]."""
        y = torch.randint(0, self.task.classes, (count,)) if isinstance(self.task, Classification) else None
        return self.inputs(count), torch.randn(count) if y is None else y

    def loss(self, out: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
        """The mean loss of outputs [B, C], as a stock loop writes it."""
        return F.mse_loss(out[:, 0], y) if y.is_floating_point() else F.cross_entropy(out, y)


def _pixels(rows: int) -> torch.Tensor:
    return torch.randn(rows, 64)


def _pictures(rows: int) -> torch.Tensor:
    return torch.randn(rows, 1, 16, 16)


def _pairs(rows: int) -> torch.Tensor:
    return torch.stack([torch.randint(0, 943, (rows,)), torch.randint(0, 1682, (rows,))], 1).float()


def _sequences(rows: int) -> torch.Tensor:
    return torch.randn(rows, 30, 8)


CASES = {
    "mlp-32": Case(lambda: mlp(32), _pixels, Classification(10), 15.0),
    "mlp-128": Case(lambda: mlp(128), _pixels, Classification(10), 5.0),
    "mlp-512": Case(lambda: mlp(512), _pixels, Classification(10), 1.5),
    "convnet": Case(convnet, _pictures, Classification(10), 1.3),
    "gru": Case(lambda: Recurrent(nn.GRU, 8, 32, 10), _sequences, Classification(10), 2.5, 32),
    "lstm": Case(lambda: Recurrent(nn.LSTM, 8, 32, 10), _sequences, Classification(10), 1.5, 32),
    "transformer": Case(lambda: Transformer(8, 32, 10), _sequences, Classification(10), 1.3, 32),
    "factors": Case(lambda: Factors(943, 1682, 16), _pairs, Regression(1.0), 4.0, 256),
}
