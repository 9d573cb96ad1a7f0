"""A poison trial diverges, fails, ends its worker, hangs or eats memory; its neighbours in the pack keep their bits.

The model is a user's, with an operation of its own that sees the whole pack at once, as a kernel does. Which trials are
poison depends on their learning rate, drawn over seven decades: those whose hidden activations pass a limit at some
step. Undisturbed, the operation does nothing.
"""

from __future__ import annotations

from tests.faults.fault import Fault, Scene, Undisturbed
from tests.faults.invariant import Ended
from tests.faults.setups import LEASE, Setup
from tests.faults.workers import NO_ANSWER

TEXT = """
name: NAME
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 0.0}}
model: {factory: "net:build"}
train: {epochs: 4, batch_size: 16, learning_rate: 1.0e-2, compile: false}
space: {dropout: search, train: {learning_rate: {low: 1.0e-6, high: 10.0, log: true}}}
search: {trials: 16, parallel: 8, width: 4, workers: 1, sampler: random, pruner: none}
finalize: {seeds: 0}
"""
MODULE = """
import os, time
import torch
from torch import nn


@torch.library.custom_op("faults::poison", mutates_args=())
def poison(h: torch.Tensor) -> torch.Tensor:
    if not float(h.abs().max()) < LIMIT:
        BODY
    return h.clone()


@poison.register_fake
def _(h):
    return torch.empty_like(h)


class Poison(torch.autograd.Function):
    @staticmethod
    def forward(h):
        return poison(h)

    @staticmethod
    def setup_context(ctx, inputs, output):
        pass

    @staticmethod
    def backward(ctx, grad):
        return grad

    @staticmethod
    def vmap(info, in_dims, h):
        return Poison.apply(h), in_dims[0]


class Net(nn.Module):
    def __init__(self, inputs, outputs):
        super().__init__()
        self.hidden, self.dropout, self.out = nn.Linear(inputs, 16), nn.Dropout(0.0), nn.Linear(16, outputs)

    def forward(self, x):
        h = self.dropout(self.hidden(x).relu())
        if self.training:
            h = ACT
        return self.out(h)


def build(inputs, outputs):
    return Net(inputs[0], outputs)
"""
LIMIT = "200.0"
BAD_ACT = f"torch.where(h.abs().amax() < {LIMIT}, h, torch.nan)"


def _module(body: str, act: str = "Poison.apply(h)") -> str:
    return MODULE.replace("LIMIT", LIMIT).replace("BODY", body).replace("ACT", act)


def _setup(body: str, act: str, calm: str) -> Setup:
    return Setup(f"poison {calm}", TEXT, 16, _module(body, act), _module("pass", calm), lease=LEASE)


def _failed(reason: str) -> object:
    def holds(scene: Scene, ended: Ended, peace: Undisturbed) -> list[str]:
        """Some trials failed, and for what was done to them; the driver went on through it."""
        calm = {number for number, (state, _) in peace.ended.trials.items() if state == "FAIL"}
        failed = [number for number, (state, _) in ended.trials.items() if state == "FAIL" and number not in calm]
        runs = ended.store.runs
        reasons = {number: runs[f"trial {number}"]["tags"].get("regsearch.reason", "") for number in failed}
        wrong = [f"trial {number} {text}" for number, text in reasons.items() if reason not in text]
        scene.around.parts["failed"] = len(failed)
        return wrong + ([] if len(scene.commands) == 1 else [f"{len(scene.commands)} processes were needed"])

    return holds


def _poison(name: str, body: str, reason: str, act: str = "Poison.apply(h)", calm: str = "Poison.apply(h)") -> Fault:
    return Fault(
        f"poison trial: {name}",
        _setup(body, act, calm),
        lambda scene: True,
        _trained,
        holds=_failed(reason),  # type: ignore[arg-type]
        worth=4,
        fails=True,
        seeds=True,
    )


def _trained(scene: Scene) -> int:
    """Let the study end; each trial that the model poisons is a strike."""
    scene.finish()
    calm = [state for state, _ in scene.peace.ended.trials.values()].count("FAIL")
    return scene.place.outbox.read_text().count('"status":"FAIL"') - calm


FAULTS = (
    _poison("not a number", "pass", "is not finite", act=BAD_ACT, calm="h"),
    _poison("an exception", "raise ValueError('too large')", "ValueError: too large"),
    _poison("ends its worker", "os._exit(3)", "ended with exit code 3"),
    _poison("hangs", "time.sleep(1000)", NO_ANSWER),
    _poison("out of memory", "torch.ones(1 << 50)", "ran out of memory"),
)
