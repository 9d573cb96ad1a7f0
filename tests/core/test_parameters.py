"""Parameters of other kinds than usual: trained as stock torch trains them, or refused by name before any step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from regsearch.core.pack import Load
from regsearch.core.trained_module import trained_module
from regsearch.errors import UserError
from tests.core.packs import RULES, curves, digits
from tests.core.stock import LOADS, SITES, TOLERANCE, program, stock, trained

WIDTH = 16


def two() -> nn.Sequential:
    return nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 3))


def _frozen(model: nn.Sequential) -> None:
    model.requires_grad_(False)


def _double(model: nn.Sequential) -> None:
    model[1].double()


def _half(model: nn.Sequential) -> None:
    model[1].half().requires_grad_(False)


def _whole(model: nn.Sequential) -> None:
    model[1].register_parameter("codes", nn.Parameter(torch.arange(3), requires_grad=False))


def _hooked(model: nn.Sequential) -> None:
    model[1].get_parameter("weight").register_hook(lambda g: g * 0)


def _hooked_after(model: nn.Sequential) -> None:
    model[1].get_parameter("weight").register_post_accumulate_grad_hook(lambda w: None)


def _sharing(model: nn.Sequential) -> None:
    model[1].register_parameter("weight", nn.Parameter(model[0].get_parameter("weight").t()))


def _lazy(model: nn.Sequential) -> None:
    model[1] = nn.LazyLinear(3)


REFUSED: dict[Callable[[nn.Sequential], None], str] = {
    _frozen: r"every parameter of the model is frozen.*nothing to train, from 0\.weight on.*Sequential",
    _double: r"the parameter 1\.weight is of torch\.float64.*turn it to a float32 parameter",
    _half: r"the parameter 1\.weight is of torch\.float16.*turn it to a float32 parameter",
    _whole: r"the parameter 1\.codes is of torch\.int64.*register_buffer",
    _hooked: r"the parameter 1\.weight has a hook on its gradient",
    _hooked_after: r"the parameter 1\.weight has a hook on its gradient",
    _sharing: r"the parameter 1\.weight shares its memory with 0\.weight.*assigning the parameter itself",
    _lazy: r"the parameter 1\.weight has no shape yet",
}


@pytest.mark.parametrize("change", list(REFUSED))
def test_a_parameter_that_cannot_be_kept_right_is_refused_by_name(change: Callable[[nn.Sequential], None]) -> None:
    def build() -> nn.Module:
        model = two()
        change(model)
        return model

    with pytest.raises(UserError, match=REFUSED[change]) as caught:
        program(build)
    assert "\n" not in str(caught.value)


def only_biases() -> nn.Module:
    model = two()
    for name, parameter in model.named_parameters():
        parameter.requires_grad_("bias" in name)
    return model


def test_rules_on_weights_are_refused_where_weights_are_frozen() -> None:
    for name, rule in RULES.items():
        if rule.site in ("weights", "projections", "decay") or name in ("l1", "l2", "group_lasso", "orthogonality"):
            with pytest.raises(
                UserError, match=rf"space\.{name}: this rule finds no site.*weight tensor that is trained"
            ):
                program(only_biases, name)
    for name in ("l1", "group_lasso", "weight_decay"):
        program(only_biases, name, biases=True)
    program(only_biases, "gradient_noise", "clip_by_norm", "ema", "label_smoothing")


def test_measures_of_weights_are_refused_where_weights_are_frozen() -> None:
    with pytest.raises(UserError, match=r"of the weights that are trained.*sparsity"):
        program(only_biases, watch=("sparsity",))


class Scaled(nn.Module):
    """A scale for the whole layer as a 0-d parameter, and one without any entry."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale = nn.Linear(64, 10), nn.Parameter(torch.tensor(1.5))
        self.none = nn.Parameter(torch.zeros(0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = torch.tanh(self.inner(x)) * self.scale + self.none.sum()
        return out


@pytest.mark.parametrize("way", ["packed", "serially"])
def test_a_parameter_of_no_dimension_is_trained(way: str) -> None:
    made, load = program(Scaled, "l2", "weight_decay", "max_norm"), LOADS[1]
    if way == "serially":
        made.run_one_at_a_time(eager=True)
    pack = trained(made, LOADS)
    for name, value in stock(made, load, digits()).named_parameters():
        own = pack.weights(1)[f"stock.{name}"]
        torch.testing.assert_close(own, value.detach(), rtol=TOLERANCE, atol=TOLERANCE, msg=name)
    assert pack.weights(1)["stock.scale"].shape == () and pack.weights(1)["stock.scale"] != 1.5


def test_every_rule_takes_a_parameter_of_no_dimension() -> None:
    names = [name for name, rule in RULES.items() if rule.site in SITES]
    made = program(Scaled, *names, optimizer="adamw", biases=True)
    params = {rule.strength_knob.name: rule.strength_knob.low or 0.1 for rule in made.rules}
    last = curves(made, {0: Load(0, params, 3)}, 2)[0][-1]
    assert all(value == value for value in last.values()), last


class Reused(nn.Module):
    """One batch normalization in two branches, called once more at the end, under a third name."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Sequential(nn.Linear(64, WIDTH), nn.BatchNorm1d(WIDTH))
        self.two = nn.Sequential(nn.Linear(64, WIDTH), self.one[1])
        self.norm, self.out = self.one[1], nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(self.norm(torch.tanh(self.one(x) + self.two(x))))
        return out


def test_a_layer_that_stands_in_several_places_is_one() -> None:
    made = program(Reused, "l2", "weight_decay", "max_norm")
    pack, model = trained(made, LOADS), stock(made, LOADS[1], digits())
    own = {name.removeprefix("stock."): each for name, each in pack.weights(1).items()}
    assert sum(each.numel() for each in own.values()) == 2 * 65 * WIDTH + 4 * WIDTH + 10 * (WIDTH + 1)
    for name, value in [*model.named_parameters(), *model.named_buffers()]:
        if "batches" not in name:
            torch.testing.assert_close(own[name], value.detach(), rtol=TOLERANCE, atol=TOLERANCE, msg=name)


def test_means_over_batches_are_those_of_stock_torch_for_a_layer_that_is_called_twice() -> None:
    made, data = program(Reused, "l2", "weight_decay", "max_norm"), digits()
    pack = trained(made, LOADS)
    seen = made.evaluation.statistics(pack.w, pack.buffers, data.train_x, pack.knobs)
    model = stock(made, LOADS[1], data)
    torch.optim.swa_utils.update_bn(data.train_x.split(25), model)
    for name in ("running_mean", "running_var"):
        own = seen[f"stock.one.1.{name}"][1]
        torch.testing.assert_close(own, model.get_buffer(f"one.1.{name}"), rtol=1e-4, atol=TOLERANCE, msg=name)


class Random(nn.Module):
    """A permutation and directions that the factory draws, as a buffer of whole numbers and a plain tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("order", torch.randperm(64))
        self.directions = torch.randn(64, WIDTH)
        self.order: torch.Tensor
        self.out = nn.Linear(WIDTH, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.out(torch.cos(x[:, self.order] @ self.directions))
        return out


def test_what_a_factory_draws_besides_is_the_same_in_every_process_and_in_the_exported_model() -> None:
    pack = trained(made := program(Random), LOADS)
    torch.randn(3)  # another process stands elsewhere in the stream
    assert torch.equal(trained(program(Random), LOADS).w, pack.w)
    x = digits().validation_x
    expected = made.evaluation.outputs(pack.w, pack.buffers, x, pack.knobs)[1]
    torch.testing.assert_close(trained_module(made, pack.weights(1), {})(x), expected)
