"""Parameters that packs cannot honour, and rules that find nothing to act on: refused by name, before the first step."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from regsearch.core.program import Program
from regsearch.core.training import Training
from regsearch.errors import UserError
from regsearch.tasks import Classification
from tests.core.packs import RULES


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


def program(build: Callable[[], nn.Module], *names: str, biases: bool = False, watch: tuple[str, ...] = ()) -> Program:
    training = Training(2, 25, "sgd", 0.05, 0.0, (0.9, 0.999), "constant", biases)
    return Program(build, Classification(3), tuple(RULES[name] for name in names), training, watch=watch)


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
