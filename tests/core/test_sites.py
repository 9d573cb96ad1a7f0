"""Where rules act in a model: dropout calls, else markers, else activation layers, else activation functions."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import regsearch
from regsearch.core.lift import Lifted
from regsearch.core.pack import Load
from regsearch.core.program import Program, Training
from regsearch.errors import UserError
from regsearch.tasks import Classification
from tests.core.packs import RULES, curves


class Net(nn.Module):
    def __init__(self, call: Callable[[torch.Tensor], torch.Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.first, self.parts, self.call = nn.Linear(8, 8), nn.Sequential(*parts), call

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.parts(self.call(self.first(x)))


class Dropping(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.dropout(F.relu(x), 0.25, self.training) + F.dropout2d(x, 0.5, training=self.training)


def lifted(module: nn.Module, x: torch.Tensor | None = None) -> tuple[Lifted, list[tuple[float, str | None]]]:
    made, visits = Lifted(module), []
    made.find_sites(torch.randn(3, 8) if x is None else x)

    def effect(h: torch.Tensor, rate: float, name: str | None) -> torch.Tensor:
        visits.append((rate, name))
        return h

    made.effect = effect
    made.train()
    made(torch.randn(3, 8) if x is None else x)
    return made, visits


ENCODER = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.2, batch_first=True)
CASES: dict[str, tuple[nn.Module, str, list[float], torch.Tensor | None]] = {
    "layer": (Net(torch.relu, nn.ReLU(), nn.Dropout(0.3)), "dropout", [0.3], None),
    "layer at 0": (Net(torch.relu, nn.ReLU(), nn.Dropout(0.0)), "dropout", [0.0], None),
    "calls": (nn.Sequential(nn.Linear(8, 8), Dropping(), nn.Unflatten(1, (2, 4))), "dropout", [0.25, 0.5], None),
    "alpha": (Net(torch.relu, nn.AlphaDropout(0.4)), "dropout", [0.4], None),
    "marker": (Net(torch.relu, nn.ReLU(), regsearch.Site()), "marker", [0.0], None),
    "activations": (Net(torch.relu, nn.ReLU(), nn.Tanh()), "activation", [0.0, 0.0], None),
    "a function": (Net(torch.relu), "function", [0.0], None),
    "a method": (Net(lambda h: h.tanh()), "function", [0.0], None),
    "other functions": (Net(lambda h: F.gelu(F.silu(h))), "function", [0.0, 0.0], None),
    "attention": (ENCODER, "dropout", [0.2] * 4, torch.randn(3, 5, 8)),
    "none": (nn.Linear(8, 8), "function", [], None),
}


@pytest.mark.parametrize("name", list(CASES))
def test_sites_of_a_model(name: str) -> None:
    module, kind, rates, x = CASES[name]
    made, visits = lifted(module, x)
    assert (made.kind, made.sites) == (kind, len(rates))
    assert visits == [(rate, None) for rate in rates]


def test_a_named_marker_is_a_site_of_its_own() -> None:
    made, visits = lifted(Net(torch.relu, regsearch.Site("residual"), nn.Dropout(0.1), regsearch.Site("residual")))
    assert (made.kind, made.sites, made.markers["residual"]) == ("dropout", 1, 2)
    assert visits == [(0.0, "residual"), (0.1, None), (0.0, "residual")]


def test_evaluation_visits_no_site() -> None:
    made, visits = lifted(Net(torch.relu, nn.Dropout(0.9)))
    del visits[:]
    made.eval()
    x = torch.randn(3, 8)
    made.effect = None
    assert torch.equal(made(x), made(x))
    assert visits == []


RECURRENT = {kind.__name__: (kind(8, 8, 2, dropout=0.2), torch.randn(3, 5, 8)) for kind in (nn.GRU, nn.LSTM)}


@pytest.mark.parametrize("name", [*CASES, *RECURRENT])
def test_evaluation_visits_the_sites_of_training(name: str) -> None:
    """Normalization acts there in both."""
    module, x = RECURRENT[name] if name in RECURRENT else (CASES[name][0], CASES[name][3])
    made, visits = lifted(module, x)
    trained = visits.copy()
    made.eval()(torch.randn(3, 8) if x is None else x)
    assert visits == 2 * trained


def test_a_call_that_is_told_to_drop_nothing_is_no_site() -> None:
    made, visits = lifted(Net(lambda h: F.dropout(h, 0.5, training=False)))
    assert (made.kind, visits) == ("function", [])


def test_training_without_an_effect_drops_nothing() -> None:
    made, _ = lifted(Net(torch.relu, nn.Dropout(0.9)))
    made.effect = None
    x = torch.randn(3, 8)
    assert torch.equal(made(x), made.eval()(x))


def program(module: nn.Module, *names: str) -> Program:
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    rules = tuple(RULES[name] for name in names)
    return Program(
        lambda: nn.Sequential(nn.Linear(64, 8), module, nn.Linear(8, 10)), Classification(10), rules, training
    )


def test_the_author_s_rate_acts_unless_dropout_is_searched() -> None:
    plain = curves(program(nn.Dropout(0.0)), {0: Load(0, {}, 3)}, 2)[0]
    assert curves(program(nn.Dropout(0.5)), {0: Load(0, {}, 3)}, 2)[0] != plain
    assert curves(program(nn.Dropout(0.5), "dropout"), {0: Load(0, {}, 3)}, 2)[0] == plain
    searched = curves(program(nn.Dropout(0.0), "dropout"), {0: Load(0, {"dropout.p": 0.5}, 3)}, 2)[0]
    assert searched == curves(program(nn.Dropout(0.5)), {0: Load(0, {}, 3)}, 2)[0]


def test_a_rule_without_a_site_is_refused() -> None:
    with pytest.raises(UserError, match="finds no site"):
        program(nn.Identity(), "dropout").check(torch.zeros(4, 64))
    program(nn.Identity(), "l2").check(torch.zeros(4, 64))
