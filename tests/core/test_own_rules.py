"""A rule of the user's own that cannot be lifted is refused by its name and line, never trained one at a time."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import nn

from regsearch.core.calibration import unpackable
from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.regularizers import Activation, Gradient, Paper, Penalty, Strength, knob, regularizer
from regsearch.tasks import Classification
from tests.core.packs import curves, digits

pytestmark = pytest.mark.usefixtures("own_rules")
SOURCE = Paper("Srivastava et al.", 2014, "https://jmlr.org/papers/v15/srivastava14a.html")


class OwnNoise(Activation):
    """Add s times numbers of torch's own generator."""

    source = SOURCE
    s: Strength = knob(0.0, 1.0, off=0.0, unit="share", doc="noise")

    def activation(self, h: torch.Tensor, ctx: Any) -> torch.Tensor:
        return h + self.s * drawn_by_torch(h)


class IfOnKnob(Gradient):
    """Halve the gradient where s is large."""

    source = SOURCE
    s: Strength = knob(0.0, 1.0, off=0.0, unit="share", doc="halving")

    def gradient(self, g: torch.Tensor, w: torch.Tensor, ctx: Any) -> torch.Tensor:
        return g / 2 if self.s > 0.5 else g


class OfOutputs(Penalty):
    """Add s times the square of the outputs."""

    source = SOURCE
    s: Strength = knob(0.01, 1.0, off=0.0, unit="loss", doc="strength")

    def penalty(self, parameters: Any, ctx: Any) -> torch.Tensor:
        return self.s * ctx.forward(ctx.x).square().mean()


class Branching(nn.Module):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h if h.sum() > 0 else -h


def drawn_by_torch(h: torch.Tensor) -> torch.Tensor:
    return torch.randn_like(h)


def program(rule: type, *parts: nn.Module) -> Program:
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    build = nn.Sequential(nn.Linear(64, 8), nn.ReLU(), *parts, nn.Linear(8, 10))
    return Program(lambda: build, Classification(10), (regularizer(rule),), training)


@pytest.mark.parametrize(
    ("rule", "line"),
    [(OwnNoise, "`return torch.randn_like(h)`"), (IfOnKnob, "`return g / 2 if self.s > 0.5 else g`")],
)
def test_a_rule_that_cannot_be_lifted_is_refused_by_name_and_line(rule: type, line: str) -> None:
    made = program(rule)
    for attempt in (lambda: unpackable(made, digits()), lambda: curves(made, {0: Load(0, {}, 3)}, 2)):
        with pytest.raises(UserError) as refused:
            attempt()
        said = str(refused.value)
        assert said.startswith(
            f"space.{made.rules[0].name}: this rule cannot be lifted over the trials of a pack: {line}"
        )
        assert "test_own_rules.py, line" in said and "draws from ctx alone" in said


def test_a_model_that_a_rule_calls_is_at_fault_itself() -> None:
    said = unpackable(program(OfOutputs, Branching()), digits())
    assert said is not None and said.startswith("`return h if h.sum() > 0 else -h`")
