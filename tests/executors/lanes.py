"""Eight trials on an executor, with something that disturbs it in the second round."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from pathlib import Path

from regsearch.config import load_config, study_space
from regsearch.core.pack import Load
from regsearch.data import seal
from regsearch.driver.retrain import train_all
from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.regularizers import knobs
from regsearch.trial import Report, Trial

STUDY = """
name: small
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: MODEL
train: {epochs: 4, batch_size: 32, learning_rate: 5.0e-3}
space: {dropout: search, l2: search}
"""
# What a model does in the worker, at import or in a step, is up to its author. `act` is called in training on hidden
# activations; those of a trial with a learning rate of 1000 are huge.
MODEL = """
import os, resource, time
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.dropout, self.out = nn.Linear(inputs, 16), nn.Dropout(0.0), nn.Linear(16, outputs)

    def forward(self, x):
        h = self.dropout(self.hidden(x).relu())
        if self.training:
            h = act(h)
        return self.out(h)

if "MOST_SLOTS" in os.environ:
    from regsearch.core.pack import Pack

    def cramped(pack, program, data, width, make=Pack.__init__):
        torch.ones(1 << 50 if width > int(os.environ["MOST_SLOTS"]) else 1)
        make(pack, program, data, width)

    Pack.__init__ = cramped

def build(inputs, outputs):
    if "MAY_ADD" in os.environ and resource.getrlimit(resource.RLIMIT_AS)[0] == resource.RLIM_INFINITY:
        pages = int(open("/proc/self/statm").read().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * 4096 + int(os.environ["MAY_ADD"]), resource.RLIM_INFINITY))
    return Net(inputs[0], outputs)

def act(h):
    BODY
"""
PARAMS: list[Mapping[str, float]] = [{}, {"dropout.p": 0.4}, {"l2.strength": 0.01}, {"dropout.p": 0.2}] * 2
POISON = {"train.learning_rate": 1000.0}

Curves = dict[int, list[Report]]


def sealed(
    folder: Path, body: str | None = None, *, lanes: int = len(PARAMS), workers: int | None = 2, width: int = 4
) -> ExecutorSettings:
    """What an executor is given for the digits and a model that does `body` to its hidden activations; else an MLP."""
    model = "{name: mlp, hidden: [16]}" if body is None else '{factory: "net:build"}'
    (folder / "small.yaml").write_text(STUDY.replace("MODEL", model))
    (folder / "net.py").write_text(MODEL.replace("BODY", (body or "return h").replace("\n", "\n    ")))
    config = load_config(folder / "small.yaml")
    if not (folder / "data").exists():
        seal(config.data, config.folder, folder / "data")
    space = study_space(config, knobs())
    return ExecutorSettings(config.to_json(), str(folder / "data"), space, lanes, workers, width, compiled=False)


said: list[str] = []


def trained(
    made: Executor, disturb: Callable[[Executor], None] | None = None, poison: Collection[int] = (), epochs: int = 4
) -> tuple[Curves, dict[int, str | None]]:
    """The curve of each trial, and why it failed; `disturb` is called once, in the second round."""
    said.clear()
    params = [dict(PARAMS[lane % len(PARAMS)]) for lane in range(made.lanes)]
    for number in poison:
        params[number] = dict(POISON)
    trials = [Trial(number, each, 31 * number + 5) for number, each in enumerate(params)]
    rounds, original = 0, made.dispatch

    def dispatch(cohort: int, loads: list[tuple[int, Load, int]], lanes: list[int], waited_for: bool = False) -> None:
        nonlocal rounds
        rounds += 1
        original(cohort, loads, lanes, waited_for)
        if rounds == 4 and disturb is not None:
            disturb(made)

    made.dispatch = dispatch  # type: ignore[method-assign]
    weights: dict[int, str] = {}
    try:
        train_all(made, trials, epochs, lambda trial, found: weights.update({trial.number: str(found)}))
    finally:
        made.close()
    assert set(weights) == set(range(made.lanes)) and bool(poison) == ("{}" in weights.values())
    return {trial.number: trial.reports for trial in trials}, {trial.number: trial.reason for trial in trials}
