"""What rules are tested on, and how: a tiny model and its data, settings of the knobs, a pack trained to its end.

Legend: T trials, P floats of a row.
"""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np
import torch
from torch import nn

from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.models import mlp
from regsearch.regularizers import Regularizer
from regsearch.space import Knob
from regsearch.tasks import Classification, Task

Setting = Mapping[str, float]
Rule = type[Regularizer]


@dataclass(frozen=True, eq=False)
class Case:
    """What a rule is tested on.

    Args:
        name: shown in messages.
        build: returns the stock module with freshly drawn weights.
        sites: names of the submodules whose outputs are hidden activations, as a reference has to find them.
        task, data, training: what is trained; few rows and epochs, since every check trains.
        branches: names of the model's `Site("residual")`, in the order of the pass.
    """

    name: str
    build: Callable[[], nn.Module]
    sites: tuple[str, ...]
    task: Task
    data: Data
    training: Training
    branches: tuple[str, ...] = ()


@functools.cache
def mlp_case(
    inputs: tuple[int, ...] = (1, 5, 5),
    optimizer: str = "sgd",
    norm: str = "none",
    rows: int = 32,
    hidden: tuple[int, ...] = (9, 13),
) -> Case:
    """Make a case of a tiny MLP on random images (or rows) of three noisy classes, in batches of 16.

    Sizes are odd, so that vector loops have rests; a number of rows that 16 does not divide has a rest of its own.
    """
    draw = torch.Generator().manual_seed(7)
    x, noise = torch.randn(2, 2 * rows, *inputs, generator=draw)
    y = torch.arange(2 * rows) % 3
    x = x * 0.8 + torch.randn(3, *inputs, generator=draw)[y] + 0.2 * noise
    per_layer = 2 if norm == "none" else 3
    return Case(
        name="-".join(("mlp", "x".join(map(str, inputs)), optimizer, norm)),
        build=lambda: mlp(inputs, 3, hidden, activation="tanh", norm=norm),
        sites=tuple(str(per_layer * (layer + 1)) for layer in range(len(hidden))),
        task=Classification(3),
        data=Data(x[:rows], y[:rows], x[rows:], y[rows:]),
        training=Training(4, 16, optimizer, 0.05 if optimizer == "sgd" else 2e-3, 0.9, (0.9, 0.999), "constant", False),
    )


@functools.cache
def residual_case(norm: str = "none") -> Case:
    """Make a case of an MLP with two residual branches, on the images of `mlp_case`."""
    own, last = (2, 1) if norm == "none" else (3, 2)
    return replace(
        mlp_case((1, 5, 5), "sgd", norm),
        name=f"residual-{norm}",
        build=lambda: mlp((1, 5, 5), 3, (9, 9, 9), "tanh", norm, residual=True),
        sites=(str(own), f"{own + 1}.inner.{last}", f"{own + 2}.inner.{last}"),
        branches=(f"{own + 1}.branch", f"{own + 2}.branch"),
    )


def case_for(rule: Rule) -> Case:
    """Choose the case that a rule is tested on where none is named: the first that it has a site in."""
    return mlp_case() if rule.marker is None else residual_case()


def settings(rule: Rule, drawn: int = 2) -> list[dict[str, float]]:
    """List settings of a rule's knobs by flat name, in its searched range: all lowest, all highest, and some drawn."""
    draw = random.Random(rule.name)
    shares = [dict.fromkeys(rule.knobs, 0.0), dict.fromkeys(rule.knobs, 1.0)]
    shares += [{knob: draw.random() for knob in rule.knobs} for _ in range(drawn)]
    return [{knob.name: _between(knob, share) for knob, share in each.items()} for each in shares]


def _between(knob: Knob, share: float) -> float:
    value = knob.low * (knob.high / knob.low) ** share if knob.log else knob.low + share * (knob.high - knob.low)
    return float(round(value)) if knob.integer else min(max(value, knob.low), knob.high)


@dataclass
class Trained:
    """One trial after training: its curve, final weights and buffers by the module's names, and how it ended."""

    curve: list[dict[str, float]] = field(default_factory=list)
    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    reason: str | None = None
    restored: int | None = None

    def losses(self) -> list[tuple[float, float]]:
        """List training and validation loss of each epoch: what a trial has whatever rules are on."""
        return [(epoch["train_loss"], epoch["val_loss"]) for epoch in self.curve]

    def same(self, other: Trained) -> bool:
        """Compare bit for bit, but for the sign of zero; a NaN equals a NaN."""
        if repr(self.curve) != repr(other.curve) or self.restored != other.restored:
            return False
        shared = self.weights.keys() & other.weights.keys()  # a program may keep moments that another does not
        return all(np.array_equal(self.weights[name].numpy(), other.weights[name].numpy(), True) for name in shared)


@functools.lru_cache(maxsize=16)
def program_of(rules: tuple[Rule, ...], case: Case) -> Program:
    """Build the program of a case whose space holds these rules; checks of the same rule share it."""
    return Program(case.build, case.task, rules, case.training)


def train(program: Program, data: Data, slots: Mapping[int, Load], width: int) -> dict[int, Trained]:
    """Train the loads in these slots of a pack of this width to their ends; by trial number."""
    pack = Pack(program, data, width)
    for slot, load in slots.items():
        pack.load(slot, load)
    trained = {load.number: Trained() for load in slots.values()}
    live = dict(slots)
    for epoch in range(1, program.training.epochs + 1):
        for slot, report in zip(sorted(live), pack.train_epoch(sorted(live)), strict=True):
            trial = trained[report.trial]
            trial.curve.append(dict(report.metrics))
            trial.reason = trial.reason or report.reason
            trial.restored = report.restored
            if report.stopped or epoch == program.training.epochs:
                trial.weights = {n.removeprefix("stock."): w for n, w in pack.weights(slot).items()}
                del live[slot]
        if not live:
            break
    return trained


@dataclass(frozen=True)
class Start:
    """What a reference trains: one trial's module with its initial weights, its data, and the order of its rows.

    Args:
        offsets: the place of each parameter in the trial's flat row, whose length is `row`.
        orders: for each epoch the training rows in their order.
    """

    module: nn.Module
    sites: tuple[str, ...]
    data: Data
    orders: tuple[torch.Tensor, ...]
    training: Training
    params: Setting
    seed: int
    offsets: Mapping[str, int]
    row: int
    branches: tuple[str, ...] = ()


class Reference(Protocol):
    """A plain training loop of one trial. It returns weights by name, and of each epoch the two data losses."""

    def __call__(self, start: Start) -> tuple[Mapping[str, torch.Tensor], Sequence[tuple[float, float]]]: ...


def start_of(program: Program, case: Case, load: Load) -> Start:
    """Gather what a reference needs to train this trial as the program does."""
    pack = Pack(program, case.data, 2)
    pack.load(0, load)
    module = case.build()
    module.load_state_dict({n.removeprefix("stock."): w for n, w in pack.weights(0).items()}, strict=False)
    rows, epochs = len(case.data.train_y), range(program.training.epochs)
    return Start(
        module=module,
        sites=case.sites,
        branches=case.branches,
        data=case.data,
        orders=tuple(program.order(load.seed, epoch, rows) for epoch in epochs),
        training=program.training,
        params={name: float(value) for name, value in load.params.items()},
        seed=load.seed,
        offsets={entry.name.removeprefix("stock."): entry.start for entry in program.layout.entries},
        row=program.layout.width,
    )
