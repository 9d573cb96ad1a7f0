"""Small packs for tests: digits, an MLP, every rule of the registry."""

from __future__ import annotations

import functools
import random

import torch
from sklearn.datasets import load_digits

from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.models import mlp
from regsearch.regularizers import all_regularizers, knobs
from regsearch.tasks import Classification

RULES = all_regularizers()
EPOCHS = 6


def digits(rows: int = 100) -> Data:
    found = load_digits()
    x = torch.tensor((found.data - 4.9) / 6.0, dtype=torch.float32)
    y = torch.tensor(found.target)
    return Data(x[:rows], y[:rows], x[rows : 2 * rows], y[rows : 2 * rows])


def program(names: tuple[str, ...] = tuple(RULES), optimizer: str = "adamw", norm: str = "none") -> Program:
    training = Training(EPOCHS, 25, optimizer, 2e-3, 0.9, (0.9, 0.999), "cosine", False)

    def build() -> torch.nn.Module:
        return mlp((64,), 10, hidden=(32, 32), activation="tanh", norm=norm, residual=True)

    return Program(build, Classification(10), tuple(RULES[name] for name in names), training)


@functools.cache
def shared_program(optimizer: str = "adamw", norm: str = "none") -> Program:
    """The program with every rule, traced once by width: for tests that only run it."""
    return program(optimizer=optimizer, norm=norm)


def setting(seed: int, share: float = 0.5) -> dict[str, float]:
    """A random setting with about `share` of all knobs active."""
    draw = random.Random(seed)
    known = knobs().values()
    return {k.name: draw.uniform(k.low, min(k.high, k.low + 0.3)) for k in known if draw.random() < share}


def curves(made: Program, slots: dict[int, Load], width: int, epochs: int = 2) -> dict[int, list[dict[str, float]]]:
    """The metrics of each trial's epochs, trained in a pack of this width and these slots."""
    pack = Pack(made, digits(), width)
    for slot, load in slots.items():
        pack.load(slot, load)
    found: dict[int, list[dict[str, float]]] = {load.number: [] for load in slots.values()}
    for _ in range(epochs):
        for report in pack.train_epoch(sorted(slots)):
            found[report.trial].append(dict(report.metrics))
    return found


@functools.cache
def plain() -> list[dict[str, float]]:
    """The curve of a trial of seed 3 that no rule touches."""
    return curves(program(()), {0: Load(0, {}, 3)}, 2)[0]
