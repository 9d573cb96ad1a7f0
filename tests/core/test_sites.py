"""Where rules act in a model: dropout calls, else markers, else activation layers, else activation functions."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import regsearch
from regsearch.core.effects import Place
from regsearch.core.lifted_module import Lifted
from regsearch.core.pack import Load, Pack
from regsearch.core.program import Program
from regsearch.core.sites import idle_markers
from regsearch.core.trained_module import trained_module
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.regularizers import (
    Batch,
    Context,
    Paper,
    Parameter,
    Penalty,
    Strength,
    all_regularizers,
    knob,
    regularizer,
)
from regsearch.tasks import Classification, Regression
from regsearch.testing import CASES as CASES_OF_RULES
from regsearch.testing import check_all, exclusion
from tests.core.packs import RULES, curves, digits


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

    def effect(h: torch.Tensor, place: Place) -> torch.Tensor:
        visits.append((place.rate, place.marker))
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
    "marker beside a layer": (Net(torch.relu, regsearch.Site(), nn.Dropout(0.3)), "dropout", [0.3], None),
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
    known = all_regularizers()
    assert idle_markers((known["dropout"], known["l2"]), made) == ("residual",)
    assert idle_markers((known["dropout"], known["stochastic_depth"]), made) == ()


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


def test_an_outsiders_penalty_can_say_that_it_needs_classes(own_rules: None) -> None:
    class Confidence(Penalty):
        needs_classes = True
        source = Paper("Pereyra et al.", 2017, "https://arxiv.org/abs/1701.06548")
        beta: Strength = knob(0.01, 1.0, off=0.0, log=True, unit="nats per nat", doc="weight of the entropy")

        def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
            log_p = ctx.forward(ctx.x).log_softmax(-1)
            return self.beta * (log_p.exp() * log_p).sum(-1).mean()

    rule = regularizer(Confidence)
    check_all(rule)
    assert exclusion(rule, CASES_OF_RULES["matrix_factorization"]()) and not exclusion(
        rule, CASES_OF_RULES["gru-codes"]()
    )
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    with pytest.raises(UserError, match=r"space\.confidence: this rule means nothing where numbers are predicted"):
        Program(lambda: nn.Linear(64, 1), Regression(), (rule,), training).check(torch.zeros(4, 64))


def test_an_outsiders_rule_that_needs_numbers_is_excluded_from_codes(own_rules: None) -> None:
    class Shift(Batch):
        """Add s to the batch."""

        s: Strength = knob(0.0, 1.0, off=0.0, doc="shift")

    rule = regularizer(Shift)
    assert exclusion(rule, CASES_OF_RULES["gru-codes"]()) and not exclusion(rule, CASES_OF_RULES["gru"]())

    class Reading(Penalty):
        """Add s times the square of the batch."""

        needs_numbers = True
        s: Strength = knob(0.0, 1.0, off=0.0, doc="strength")

    rule = regularizer(Reading)
    assert exclusion(rule, CASES_OF_RULES["gru-codes"]()) and not exclusion(rule, CASES_OF_RULES["gru"]())


class SecondRows(nn.Module):
    """Rows along the second axis, as layers without `batch_first` have them."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.relu(x.view(-1, 8, 8).transpose(0, 1)).transpose(0, 1).flatten(1)


@pytest.mark.parametrize("name", ["batch_norm", "layer_norm"])
def test_normalization_needs_rows_along_the_first_axis(name: str) -> None:
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    made = Program(lambda: nn.Sequential(SecondRows(), nn.Linear(64, 10)), Classification(10), (RULES[name],), training)
    with pytest.raises(UserError, match=r"rows along the first axis.*batch_first"):
        made.check(torch.zeros(4, 64))


class Series(nn.Module):
    """Rows of 64 numbers as 8 places of 8, behind layers that take such."""

    def __init__(self, layer: nn.Module, first: bool = False) -> None:
        super().__init__()
        self.layer, self.first, self.head = layer, first, nn.Linear(8, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.layer(x.view(-1, 8, 8))
        return self.head((out[0] if self.first else out).mean(1))


SERIES: dict[str, Callable[[], nn.Module]] = {
    "layers of a GRU": lambda: Series(nn.GRU(8, 8, 2, dropout=0.2, batch_first=True), first=True),
    "attention": lambda: Series(ENCODER),
    "a convolution": lambda: Series(nn.Sequential(nn.Conv1d(8, 8, 3, padding=1), nn.ReLU())),
}


@pytest.mark.parametrize("name", list(SERIES))
def test_a_row_s_answer_does_not_depend_on_the_rows_beside_it(name: str) -> None:
    training = Training(2, 25, "adamw", 2e-3, 0.9, (0.9, 0.999), "constant", False)
    rules = (RULES["batch_norm"], RULES["layer_norm"])
    made = Program(SERIES[name], Classification(10), rules, training)
    x = digits().train_x
    pack = Pack(made, digits(), 2)
    pack.load(1, Load(1, {"batch_norm.gate": 0.7, "layer_norm.gate": 0.5}, 3))
    pack.train_epoch([1])
    of = [
        made.evaluation.outputs(pack.w, pack.buffers, rows, pack.knobs, 8)[1, :1]
        for rows in (x[:8], x[[0, *range(50, 57)]])
    ]
    assert torch.equal(*of)
    served = trained_module(made, pack.weights(1), {"batch_norm.gate": 0.7, "layer_norm.gate": 0.5})
    torch.testing.assert_close(served(x[:1]), of[0])
    assert not torch.allclose(trained_module(made, pack.weights(1), {})(x[:1]), of[0])


def test_running_moments_are_those_of_a_stock_layer() -> None:
    """By unit: along axis 1 behind a convolution, else along the last; weights of an attention have none."""
    training = Training(1, 25, "sgd", 0.0, 0.0, (0.9, 0.999), "constant", False)
    data, layers = digits(), {"layers of a GRU": [8], "attention": [8, 16, 8], "a convolution": [8]}
    for name, build in SERIES.items():
        made = Program(build, Classification(10), (RULES["batch_norm"],), training)
        pack = Pack(made, data, 2)
        assert list(made.model.layers) == layers[name]
        pack.load(0, Load(0, {}, 3))
        pack.train_epoch([0])
        if name == "a convolution":
            module = SERIES[name]()
            module.load_state_dict({n.removeprefix("stock."): w for n, w in pack.weights(0).items()}, strict=False)
            stock = nn.BatchNorm1d(8)
            for rows in made.order(3, 0, len(data.train_y)).split(25):
                stock(module.layer(data.train_x[rows].view(-1, 8, 8)))
            found = pack.weights(0)
            torch.testing.assert_close(found["moments.0.mean"], stock.running_mean)
            torch.testing.assert_close(found["moments.0.variance"], stock.running_var)
