"""Small programs on digits, and the same trials trained by stock torch alone."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import nn

from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.tasks import Classification
from regsearch.trial import derive_seed
from tests.core.packs import RULES, digits

TOLERANCE = 2e-5
SITES = ("weights", "penalties", "gradients", "decay", "projections", "loops")
"""Of the rules that see parameters."""
LOADS = {0: Load(0, {}, 3), 1: Load(1, {"weight_decay.strength": 3.0, "l2.strength": 0.2, "max_norm.max_norm": 0.5}, 4)}


def program(
    build: Callable[[], nn.Module], *names: str, optimizer: str = "sgd", biases: bool = False, **more: tuple[str, ...]
) -> Program:
    training = Training(2, 25, optimizer, 0.05, 0.0, (0.9, 0.999), "constant", biases)
    return Program(build, Classification(10), tuple(RULES[name] for name in names), training, **more)


def trained(made: Program, loads: dict[int, Load], width: int = 2, data: Data | None = None) -> Pack:
    pack = Pack(made, data or digits(), width)
    for slot, load in loads.items():
        pack.load(slot, load)
    for _ in range(2):
        pack.train_epoch(list(loads))
    return pack


def stock(made: Program, load: Load, data: Data) -> nn.Module:
    """The stock module trained by stock torch with decoupled decay, l2 and max-norm of its trained weights."""
    torch.manual_seed(derive_seed(load.seed, "init"))
    model, rates = made.build().train(), {name: float(value) for name, value in load.params.items()}
    some = [each for each in model.parameters() if each.requires_grad]
    optimizer = torch.optim.SGD(some, 0.05)
    weights = [each for each in some if each.dim() > 1]
    for epoch in range(2):
        for rows in made.order(load.seed, epoch, len(data.train_y)).split(25):
            loss = F.cross_entropy(model(data.train_x[rows]), data.train_y[rows])
            loss = loss + rates.get("l2.strength", 0.0) / 2 * sum(w.square().sum() for w in weights)
            optimizer.zero_grad()
            loss.backward()
            with torch.no_grad():
                for w in weights:
                    w.mul_(1 - 0.05 * rates.get("weight_decay.strength", 0.0))
                optimizer.step()
                for w in weights if "max_norm.max_norm" in rates else ():
                    w.copy_(torch.renorm(w, 2, 0, rates["max_norm.max_norm"]))
    return model
