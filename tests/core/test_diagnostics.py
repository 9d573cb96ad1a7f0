"""What is tracked of an epoch beside the losses, against stock torch; only for trials whose rules are about it."""

from __future__ import annotations

import dataclasses

import pytest
import torch
import torch.nn.functional as F

from regsearch.core.pack import Load, Pack
from regsearch.core.program import Program
from tests.core.packs import digits, program

MADE = program(("l1", "l2", "dropout", "clip_by_norm", "proximal_l1"))


def one_step_an_epoch(**params: float) -> tuple[Pack, dict[str, float]]:
    """The first epoch of a trial, all rows one batch, beside a trial that turns everything on."""
    training = dataclasses.replace(MADE.training, batch_size=100, optimizer="sgd")
    made = Program(MADE.build, MADE.task, MADE.rules, training)
    pack = Pack(made, digits(), 2)
    named = {name.replace("__", "."): value for name, value in params.items()}
    pack.load(0, Load(0, named, 3))
    pack.load(1, Load(1, {"l1.strength": 0.1, "clip_by_norm.max_norm": 0.1, "dropout.p": 0.5}, 4))
    return pack, dict(pack.train_epoch([0, 1])[0].metrics)


def test_the_gradient_norm_is_that_of_stock_torch_before_the_clip() -> None:
    pack = Pack(MADE, digits(), 2)
    pack.load(0, Load(0, {}, 3))
    module = MADE.build()
    module.load_state_dict({name.removeprefix("stock."): value for name, value in pack.weights(0).items()})
    weights = [each for each in module.parameters() if each.dim() > 1]
    data = digits()
    penalty = 0.05 * sum(each.square().sum() for each in weights)
    (F.cross_entropy(module(data.train_x), data.train_y) + penalty).backward()
    norm = float(torch.nn.utils.get_total_norm([each.grad for each in module.parameters() if each.grad is not None]))
    for longest, share in ((norm / 2, 1.0), (norm * 2, 0.0)):
        _, found = one_step_an_epoch(clip_by_norm__max_norm=longest, l2__strength=0.1)
        assert found["gradient_norm"] == pytest.approx(norm, rel=1e-5)
        assert found["clipped"] == share


def test_the_share_of_clipped_steps_is_over_the_epoch_alone() -> None:
    pack = Pack(MADE, digits(), 2)
    pack.load(0, Load(0, {"clip_by_norm.max_norm": 1.0}, 3))
    found = [dict(pack.train_epoch([0])[0].metrics) for _ in range(2)]
    assert all(each["clipped"] in (0.0, 0.25, 0.5, 0.75, 1.0) for each in found)
    assert found[0]["gradient_norm"] != found[1]["gradient_norm"]


def test_sparsity_and_weight_norm_are_those_of_the_weights_that_were_measured() -> None:
    pack, found = one_step_an_epoch(proximal_l1__strength=20.0)
    weights = torch.cat([each.flatten() for name, each in pack.weights(0).items() if name.endswith("weight")])
    assert 0.1 < found["sparsity"] < 1
    assert found["sparsity"] == pytest.approx(float((weights.abs() < 1e-3).double().mean()), rel=1e-9)
    assert found["weight_norm"] == pytest.approx(float(weights.norm()), rel=1e-6)


@pytest.mark.parametrize(
    ("params", "tracked"),
    [
        ({}, set()),
        ({"dropout__p": 0.5}, set()),
        ({"l2__strength": 0.1}, {"weight_norm"}),
        ({"l1__strength": 0.0, "clip_by_norm__max_norm": float("inf")}, set()),
        ({"l1__strength": 0.1, "clip_by_norm__max_norm": 1.0}, {"sparsity", "weight_norm", "gradient_norm", "clipped"}),
    ],
)
def test_only_what_the_rules_that_are_on_are_about(params: dict[str, float], tracked: set[str]) -> None:
    _, found = one_step_an_epoch(**params)
    assert set(found) & {"sparsity", "weight_norm", "gradient_norm", "clipped"} == tracked


def test_what_a_search_is_judged_by_is_tracked_of_every_trial() -> None:
    made = Program(MADE.build, MADE.task, (), MADE.training, watch=("sparsity",))
    pack = Pack(made, digits(), 2)
    pack.load(0, Load(0, {}, 3))
    found = pack.train_epoch([0])[0].metrics
    weights = torch.cat([each.flatten() for name, each in pack.weights(0).items() if name.endswith("weight")])
    assert found["sparsity"] == pytest.approx(float((weights.abs() < 1e-3).double().mean()), rel=1e-9)
    assert "weight_norm" not in found
