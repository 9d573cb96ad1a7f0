"""Modules that are refused before the first trial: hidden state, no parameters, the wrong shape."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.models import MODELS, build_model, refuse_hidden_state
from regsearch.tasks import Classification

ROWS = torch.randn(4, 3)


class Keeps(nn.Module):
    """A linear layer and something that it keeps from batch to batch."""

    def __init__(self, what: str) -> None:
        super().__init__()
        self.what, self.calls, self.names = what, 0, ["a"]
        self.inner = nn.Linear(3, 2)
        self.norm = nn.BatchNorm1d(2)
        self.fixed = torch.ones(2)
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("late", None)
        self.register_buffer("bank", torch.zeros(1, 2))
        self.register_buffer("gone", torch.zeros(2))
        self.mean: torch.Tensor
        self.late: torch.Tensor | None
        self.bank: torch.Tensor
        self.gone: torch.Tensor | None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        h: torch.Tensor = self.norm(self.inner(x)) * self.fixed
        if self.what == "calls":
            self.calls += 1
        elif self.what == "names":
            self.names.append("b")
        elif self.what == "last":
            self.last = h
        elif self.what == "fixed":
            self.fixed.mul_(0.9)
        elif self.what == "inner.weight":
            self.inner.weight.data.mul_(0.9)
            self.inner.weight.mul_(1.0)
        elif self.what == "mean":
            self.mean.lerp_(h.mean(0), 0.1)
        elif self.what == "late":
            self.late = h.mean(0)
        elif self.what == "bank":
            self.bank = torch.cat([self.bank, h.mean(0, keepdim=True)])
        elif self.what == "gone":
            self.gone = None
        return h


@pytest.mark.parametrize("what", ["calls", "names", "last", "fixed", "inner.weight"])
def test_state_outside_buffers_is_refused_by_name(what: str) -> None:
    with pytest.raises(UserError, match=rf"Keeps\.{what}.*register_buffer"):
        refuse_hidden_state(Keeps(what), ROWS)


@pytest.mark.parametrize("what", ["late", "bank", "gone"])
def test_buffers_that_do_not_keep_their_form_are_refused_by_name(what: str) -> None:
    with pytest.raises(UserError, match=rf"Keeps\.{what}.*register it with the shape"):
        refuse_hidden_state(Keeps(what), ROWS)


@pytest.mark.parametrize("what", ["nothing", "mean"])
def test_registered_buffers_may_change(what: str) -> None:
    refuse_hidden_state(Keeps(what), ROWS)


def test_stock_models_keep_nothing() -> None:
    for name, inputs in {"convnet": (1, 8, 8), "resnet": (1, 8, 8), "gru": (9, 4), "lstm": (9, 4)}.items():
        refuse_hidden_state(MODELS[name](inputs=inputs, outputs=2), torch.randn(4, *inputs))


def test_a_model_without_parameters_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bare_net.py").write_text(
        "from torch import nn\n"
        "class Bare(nn.Module):\n"
        "    def forward(self, x):\n"
        "        return x\n"
        "def build(inputs, outputs):\n"
        "    return Bare()\n"
        "def none(inputs, outputs):\n"
        "    return 3\n"
    )
    with pytest.raises(UserError, match=r"model\.factory: the model Bare has no parameters.*bare_net:build"):
        build_model(None, "bare_net:build", {}, (3,), 2, str(tmp_path))
    with pytest.raises(UserError, match="returned int"):
        build_model(None, "bare_net:none", {}, (3,), 2, str(tmp_path))


def test_a_wrong_shape_is_refused_with_the_right_one() -> None:
    training = Training(1, 4, "sgd", 0.1, 0.0, (0.9, 0.999), "constant", False)
    program = Program(lambda: nn.Linear(3, 2), Classification(5), (), training)
    with pytest.raises(UserError, match=r"classification.*\(4, 2\).*shape \(4, 5\)"):
        program.check(ROWS)
