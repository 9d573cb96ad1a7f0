"""Every optimizer and schedule equals its namesake in `torch.optim`; each trial of a pack has settings of its own."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any, get_args

import pytest
import torch
from torch.optim import lr_scheduler

from regsearch.config import OPTIMIZER_DEFAULTS, TrainConfig
from regsearch.config.training import OptimizerName, ScheduleName
from regsearch.core.optim import OPTIMIZERS
from regsearch.core.pack import Load, Pack
from regsearch.core.schedule import learning_rate_factor
from tests.core.packs import curves, digits, program

# Float32 rounding over the steps of these tests: some units in the last place each, of numbers near 1.
CLOSE = {"rtol": 2e-6, "atol": 2e-6}
RATE = 0.03
MOMENTUM, BETA1, BETA2 = 0.85, 0.8, 0.97
SETTINGS = {"learning_rate": RATE, "momentum": MOMENTUM, "beta1": BETA1, "beta2": BETA2}

# Beside each name torch's own optimizer for parameter groups, where weight decay may stand.
STOCK: dict[str, Callable[[Any], torch.optim.Optimizer]] = {
    "sgd": lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM),
    "momentum": lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM),
    "nesterov": lambda groups: torch.optim.SGD(groups, lr=RATE, momentum=MOMENTUM, nesterov=True),
    "adagrad": lambda groups: torch.optim.Adagrad(groups, lr=RATE),
    "rmsprop": lambda groups: torch.optim.RMSprop(groups, lr=RATE, alpha=BETA2),
    "adam": lambda groups: torch.optim.Adam(groups, lr=RATE, betas=(BETA1, BETA2)),
    "adamw": lambda groups: torch.optim.AdamW(groups, lr=RATE, betas=(BETA1, BETA2), weight_decay=0.0),
}


def test_every_name_has_its_arithmetic_and_reads_what_it_is_said_to() -> None:
    assert set(OPTIMIZERS) == set(OPTIMIZER_DEFAULTS) == set(get_args(OptimizerName)) == set(STOCK)
    assert {name: set(each.settings) for name, each in OPTIMIZERS.items()} == {
        name: set(defaults) for name, defaults in OPTIMIZER_DEFAULTS.items()
    }


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in ("momentum", "nesterov")])
def test_the_defaults_are_those_of_torch(name: str) -> None:
    config = TrainConfig(optimizer=name)  # type: ignore[arg-type]
    stock = {"sgd": "SGD", "adagrad": "Adagrad", "rmsprop": "RMSprop", "adam": "Adam", "adamw": "AdamW"}[name]
    theirs = getattr(torch.optim, stock)([torch.zeros(1)]).defaults
    ours = {"momentum": config.momentum, "beta1": config.betas[0], "beta2": config.betas[1]}
    known = {"momentum": theirs.get("momentum"), "beta2": theirs.get("alpha")}
    if "betas" in theirs:
        known = dict(zip(("beta1", "beta2"), theirs["betas"], strict=True))
    assert {key: ours[key] for key in OPTIMIZERS[name].settings} == {
        key: known[key] for key in OPTIMIZERS[name].settings
    }


def test_sgd_is_plain_unless_momentum_is_given() -> None:
    assert TrainConfig(optimizer="sgd").momentum == 0.0
    assert TrainConfig(optimizer="sgd", momentum=0.9).momentum == 0.9
    assert TrainConfig(optimizer="momentum").momentum == TrainConfig(optimizer="nesterov").momentum == 0.9


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_the_arithmetic_equals_torch_step_by_step(name: str) -> None:
    """On a quadratic of 40 weights whose curvatures span 1e-4 to 10, entries without a gradient among them."""
    draw = torch.Generator().manual_seed(7)
    curvature = torch.logspace(-4, 1, 40)
    curvature[3] = 0.0
    w = torch.randn(40, generator=draw)
    theirs = torch.nn.Parameter(w.clone())
    stock, ours = STOCK[name]([theirs]), OPTIMIZERS[name]
    state = {slot: torch.zeros_like(w) for slot in ours.slots}
    settings = {key: torch.tensor([value], dtype=torch.float64) for key, value in SETTINGS.items()}
    for t in range(1, 16):
        theirs.grad = curvature * theirs.detach()
        scales = ours.scales(torch.tensor([float(t)], dtype=torch.float64), settings["learning_rate"], settings)
        w, state = ours.step(w, curvature * w, state, {key: value.float()[0] for key, value in scales.items()})
        stock.step()
        torch.testing.assert_close(w, theirs.detach(), **CLOSE)
        # The next step starts from equal weights: rounding must not add up.
        w = theirs.detach().clone()


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_a_trained_trial_equals_the_stock_loop_with_weight_decay(name: str) -> None:
    """L2 is torch's coupled weight decay, `weight_decay` that of AdamW; both act on weights, not on biases."""
    rule, strength = ("weight_decay", 0.3) if name == "adamw" else ("l2", 0.02)
    made, data = program((rule,), name), digits()
    made.training = dataclasses.replace(
        made.training,
        schedule="constant",
        learning_rate=1e-3,
        momentum=MOMENTUM,
        betas=(BETA1, BETA2),
    )
    load = Load(0, {f"{rule}.strength": strength}, 5)
    pack = Pack(made, data, 2)
    pack.load(0, load)
    module = made.build()
    module.load_state_dict({key.removeprefix("stock."): value for key, value in pack.weights(0).items()})
    groups = [
        {"params": [each for each in module.parameters() if each.dim() > 1], "weight_decay": strength, "lr": 1e-3},
        {"params": [each for each in module.parameters() if each.dim() < 2], "lr": 1e-3},
    ]
    stock = STOCK[name](groups)
    for epoch in range(2):
        for rows in made.order(load.seed, epoch, 100).split(made.training.batch_size):
            loss = torch.nn.functional.cross_entropy(module(data.train_x[rows]), data.train_y[rows])
            stock.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            stock.step()
        pack.train_epoch([0])
    trained = pack.weights(0)
    for key, value in module.state_dict().items():
        # Adaptive steps divide by the gradient's size: where it is all rounding, so is the step of 1e-3.
        torch.testing.assert_close(trained[f"stock.{key}"], value, rtol=1e-4, atol=2e-5)


TOTAL, WARMUP = 40, 0.25


@pytest.mark.parametrize("warmup", [0.0, WARMUP])
@pytest.mark.parametrize("name", get_args(ScheduleName))
def test_learning_rate_schedules_equal_torch(name: str, warmup: float) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    warm = round(warmup * TOTAL)
    rest = TOTAL - warm
    main: Any = {
        "constant": lambda: lr_scheduler.ConstantLR(optimizer, factor=1.0),
        "linear": lambda: lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=rest),
        "cosine": lambda: lr_scheduler.CosineAnnealingLR(optimizer, T_max=rest),
        "step": lambda: lr_scheduler.StepLR(optimizer, step_size=round(rest / 4), gamma=0.3),
    }
    if warm:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / warm, total_iters=warm - 1)
        scheduler: Any = lr_scheduler.SequentialLR(optimizer, [rise, main[name]()], milestones=[warm])
    else:
        scheduler = main[name]()
    theirs = []
    for _ in range(TOTAL):
        theirs.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    ours = learning_rate_factor(name, torch.arange(TOTAL), TOTAL, warmup, step_every=0.25, step_factor=0.3)
    assert ours.dtype == torch.float64
    torch.testing.assert_close(ours, torch.tensor(theirs, dtype=torch.float64), rtol=1e-9, atol=1e-9)


def test_a_schedule_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ValueError, match="no learning-rate schedule cosin; there are constant, linear, cosine, step"):
        learning_rate_factor("cosin", torch.arange(3), 3)


def test_a_pack_follows_the_schedule() -> None:
    made = program((), "sgd")
    made.training = dataclasses.replace(made.training, schedule="step", warmup=0.25, step_every=0.5)
    pack = Pack(made, digits(), 2)
    rates = torch.stack([step.learning_rate[0] for step in pack.plan(24)])  # 6 epochs of 4 steps
    expected = [*(2e-3 * (k + 1) / 6 for k in range(6)), *[2e-3] * 9, *[2e-4] * 9]
    torch.testing.assert_close(rates, torch.tensor(expected), rtol=1e-6, atol=0.0)


OWN = [
    {"train.learning_rate": 3e-3, "train.momentum": 0.5, "train.beta1": 0.7, "train.beta2": 0.95},
    {"train.learning_rate": 5e-4, "train.momentum": 0.0, "train.beta1": 0.0, "train.beta2": 0.99},
    {"train.learning_rate": 1e-2},
    {},
]


@pytest.mark.parametrize("name", list(OPTIMIZERS))
def test_each_trial_has_settings_of_its_own_bitwise(name: str) -> None:
    """In a pack with others, alone, and in a study that has these settings for all: the same curve."""
    made = program(("l2",), name)
    loads = [Load(n, {"l2.strength": 0.01, **own}, 3) for n, own in enumerate(OWN)]
    whole = curves(made, dict(enumerate(loads)), 4)
    assert curves(made, {1: loads[0]}, 2)[0] == whole[0]
    study = program(("l2",), name)
    for load in loads:
        mine = {key.removeprefix("train."): load.params.get(key) for key in OWN[0]}
        study.training = dataclasses.replace(
            made.training,
            learning_rate=mine["learning_rate"] or made.training.learning_rate,
            momentum=made.training.momentum if mine["momentum"] is None else mine["momentum"],
            betas=(
                made.training.betas[0] if mine["beta1"] is None else mine["beta1"],
                made.training.betas[1] if mine["beta2"] is None else mine["beta2"],
            ),
        )
        plain = Load(load.number, {"l2.strength": 0.01}, 3)
        assert curves(study, {0: plain}, 2)[load.number] == whole[load.number]
    assert len({str(curve) for curve in whole.values()}) == len(loads)
    assert all(math.isfinite(report["val_loss"]) for curve in whole.values() for report in curve)


@pytest.mark.parametrize("name", [name for name, each in OPTIMIZERS.items() if each.settings])
def test_each_setting_changes_the_curve(name: str) -> None:
    made = program((), name)
    plain = curves(made, {0: Load(0, {}, 3)}, 2)[0]
    for setting in OPTIMIZERS[name].settings:
        changed = {"momentum": 0.3, "beta1": 0.5, "beta2": 0.9}[setting]
        assert curves(made, {0: Load(0, {f"train.{setting}": changed}, 3)}, 2)[0] != plain, setting
