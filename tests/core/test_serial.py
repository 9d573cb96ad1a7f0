"""A model that cannot be packed is named by its operation, and trains one trial at a time."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from regsearch.core.calibration import unpackable, unpackable_at_a_glance
from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.tasks import Classification
from tests.core.packs import RULES, curves, digits, program


class Branching(nn.Module):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        if h.mean() > 0:
            return torch.relu(h)
        return torch.tanh(h)


class Reading(nn.Module):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return torch.tanh(h * float(h.detach().abs().max()))


class _OldStyle(torch.autograd.Function):
    @staticmethod
    def forward(ctx: object, h: torch.Tensor) -> torch.Tensor:
        return h.clamp(min=0)

    @staticmethod
    def backward(ctx: object, g: torch.Tensor) -> torch.Tensor:
        return g


class OldStyle(nn.Module):
    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return _OldStyle.apply(h)


class Projected(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.LSTM(2, 4, proj_size=2, batch_first=True)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return self.layer(h.view(-1, 4, 2))[0].flatten(1)


class Packed(nn.Module):
    """Sequences of several lengths."""

    def __init__(self, **options: float) -> None:
        super().__init__()
        self.layer = nn.GRU(2, 2, batch_first=True, **options)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        lengths = 1 + torch.arange(len(h)) % 4
        whole = pack_padded_sequence(h.view(-1, 4, 2), lengths, batch_first=True, enforce_sorted=False)
        return pad_packed_sequence(self.layer(whole)[0], batch_first=True, total_length=4)[0].flatten(1)


class Frequent(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.bag = nn.EmbeddingBag(3, 8, scale_grad_by_freq=True)

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.bag((h > 0).long())


def made(part: Callable[[], nn.Module], *names: str) -> Program:
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    rules = tuple(RULES[name] for name in names)
    return Program(
        lambda: nn.Sequential(nn.Linear(64, 8), part(), nn.Dropout(0.2), nn.Linear(8, 10)),
        Classification(10),
        rules,
        training,
    )


WHERE = {
    Branching: ("`if h.mean() > 0:` (test_serial.py, line ", "depends on the data"),
    Reading: ("float(h.detach().abs().max())", "depends on the data"),
    Projected: ("self.layer(h.view(-1, 4, 2))", "LSTM with projections"),
    Packed: ("self.layer(whole)", "depends on the data"),
    Frequent: ("self.bag(", "embedding_bag"),
    OldStyle: ("`return _OldStyle.apply(h)` (test_serial.py, line ", "setup_context"),
}


@pytest.mark.filterwarnings("ignore:LSTM with projections")
@pytest.mark.parametrize("part", list(WHERE))
def test_the_operation_is_named_and_the_model_trains(part: type[nn.Module]) -> None:
    found = made(part, "dropout", "l2")
    data = digits()
    why = unpackable(found, data)
    assert why is not None and all(words in why for words in WHERE[part]), why
    assert unpackable_at_a_glance(made(part, "dropout", "l2"), data) == why, "as a dry run says it"
    found.run_one_at_a_time(eager=True)
    loads = {0: Load(0, {}, 3), 1: Load(1, {"dropout.p": 0.5}, 4)}
    both = curves(found, loads, 2)
    assert both[0][1]["train_loss"] < both[0][0]["train_loss"]
    assert curves(found, {3: loads[1]}, 4)[1] == both[1]


def test_dropout_that_would_not_be_the_trials_own_is_refused() -> None:
    with pytest.raises(UserError, match="dropout between layers of packed sequences"):
        unpackable(made(lambda: Packed(num_layers=2, dropout=0.5)), digits())
    with pytest.raises(UserError, match="dropout between layers of packed sequences"):
        unpackable_at_a_glance(made(lambda: Packed(num_layers=2, dropout=0.5)), digits())


def test_a_model_that_packs_is_said_to() -> None:
    found, data = program(), digits()
    assert unpackable(found, data) is None
    assert unpackable_at_a_glance(found, data) is None
    found = made(nn.ReLU)
    assert unpackable(found, data) is None
    assert unpackable_at_a_glance(found, data) is None


@pytest.mark.parametrize(("norm", "eager"), [("none", True), ("batch", True), ("batch", False)])
def test_one_at_a_time_equals_the_pack(norm: str, eager: bool) -> None:
    """To rounding after one epoch of a few steps."""
    names = ("dropout", "l2", "clip_by_norm", "weight_decay")
    loads = {
        0: Load(0, {"dropout.p": 0.3, "weight_decay.strength": 0.1}, 3),
        1: Load(1, {"clip_by_norm.max_norm": 0.1}, 4),
    }
    packed = curves(program(names, norm=norm), loads, 2, epochs=1)
    alone = program(names, norm=norm)
    alone.run_one_at_a_time(eager=eager)
    serial = curves(alone, loads, 2, epochs=1)
    for number, (expected,) in packed.items():
        assert serial[number][0]["train_loss"] == pytest.approx(expected["train_loss"], rel=1e-4)
