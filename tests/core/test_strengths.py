"""Strengths that follow a schedule, and that each layer has its own of: against plain formulas and the plain pack."""

from __future__ import annotations

import dataclasses
import math

import pytest
import torch

from regsearch.core.pack import Load, Pack
from regsearch.core.program import Program
from regsearch.core.schedule import _SHAPES, scheduled, strength_factor
from regsearch.core.step_inputs import StepPlan
from regsearch.errors import UserError
from regsearch.space import STRENGTH_SCHEDULES
from tests.core.packs import RULES, curves, digits, plain, program

STEPPED = [name for name, rule in RULES.items() if rule.site != "loops" and not rule.strength_knob.integer]
LAYERED = ("l1", "l2", "elastic_net", "weight_decay", "proximal_l1", "max_norm", "drop_connect", "weight_noise")
TOTAL = 24  # 6 epochs of 4 steps
PLAIN = {
    "constant": lambda p: 1.0,
    "linear": lambda p: p,
    "cosine": lambda p: (1 - math.cos(math.pi * p)) / 2,
    "linear_down": lambda p: 1 - p,
    "cosine_down": lambda p: (1 + math.cos(math.pi * p)) / 2,
}


def strength_of(name: str) -> str:
    return RULES[name].strength_knob.name


def on(name: str, share: float = 0.5) -> float:
    """A strength that is felt."""
    tight = {"clip_by_norm": 0.1, "clip_by_value": 1e-3, "max_norm": 0.5}
    knob = RULES[name].strength_knob
    return tight.get(name, knob.low + share * (min(knob.high, 0.5) - knob.low))


def with_shapes(names: tuple[str, ...], scheduled: bool = True, layers: tuple[str, ...] = ()) -> Program:
    """The program of the tests in which these rules' strengths follow schedules, or are those of layers."""
    made = program(names)
    return Program(
        made.build,
        made.task,
        made.rules,
        made.training,
        scheduled=tuple(strength_of(name) for name in names) if scheduled else (),
        per_layer=tuple(strength_of(name) for name in layers),
    )


def values(made: Program, params: dict[str, float | str], name: str) -> list[float]:
    """The strength of every step of a training."""
    pack = Pack(made, digits(), 3)
    pack.load(1, Load(0, params, 3))
    return [float(step.strengths[name][1]) for step in pack.plan(TOTAL)]


def test_every_schedule_has_its_formula() -> None:
    assert tuple(PLAIN) == STRENGTH_SCHEDULES
    assert len(_SHAPES) == len(STRENGTH_SCHEDULES)


@pytest.mark.parametrize("warmup", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", STRENGTH_SCHEDULES)
def test_the_strength_of_each_step(kind: str, warmup: float) -> None:
    params: dict[str, float | str] = {"l2.strength": 0.02, "l2.strength.schedule": kind, "l2.strength.warmup": warmup}
    found = values(with_shapes(("l2",)), params, "l2.strength")
    for step, value in enumerate(found):
        p = step / TOTAL
        expected = 0.02 * PLAIN[kind](p) * (min(1.0, p / warmup) if warmup else 1.0)
        assert value == pytest.approx(expected, rel=1e-6, abs=1e-12), step


def test_a_clip_comes_down_from_infinity() -> None:
    params: dict[str, float | str] = {"clip_by_norm.max_norm": 0.5, "clip_by_norm.max_norm.schedule": "linear"}
    found = values(with_shapes(("clip_by_norm",)), params, "clip_by_norm.max_norm")
    assert found[0] == math.inf
    assert found[1:] == pytest.approx([0.5 * TOTAL / step for step in range(1, TOTAL)], rel=1e-6)


@pytest.mark.parametrize("off", [0.0, 1.0, math.inf])
def test_factor_0_and_an_off_strength_are_off_and_factor_1_is_the_strength_exactly(off: float) -> None:
    strengths = torch.tensor([0.1, 0.3, off, 1e-7, 0.0], dtype=torch.float64)
    assert scheduled(strengths, off, torch.ones(5, dtype=torch.float64)).tolist() == strengths.tolist()
    assert scheduled(strengths, off, torch.zeros(5, dtype=torch.float64)).tolist() == [off] * 5
    half = scheduled(strengths, off, torch.full((5,), 0.5, dtype=torch.float64))
    assert half[2] == off
    assert not torch.isnan(half).any()


def test_factors_stay_between_off_and_the_strength() -> None:
    share = torch.linspace(0, 1, 41, dtype=torch.float64)[:-1].unsqueeze(1).expand(-1, 5)
    for warmup in (0.0, 1e-300, 0.2, 1.0):
        factor = strength_factor(torch.arange(5), torch.full((5,), warmup, dtype=torch.float64), share)
        assert float(factor.min()) >= 0.0
        assert float(factor.max()) <= 1.0


@pytest.mark.parametrize("name", STEPPED)
def test_constant_and_off_change_no_bit_and_a_schedule_does(name: str) -> None:
    strength, made = RULES[name].strength_knob, with_shapes((name,))

    def found(value: float, kind: str, warmup: float) -> list[dict[str, float]]:
        shape = {f"{strength.name}.schedule": kind, f"{strength.name}.warmup": warmup}
        return curves(made, {0: Load(0, {strength.name: value, **shape}, 3)}, 2)[0]

    load = Load(0, {strength.name: on(name)}, 3)
    unscheduled = curves(program((name,)), {0: load}, 2)[0]
    assert curves(made, {0: load}, 2)[0] == unscheduled, "a schedule that is not named is constant"
    assert found(on(name), "constant", 0.0) == unscheduled
    for kind in STRENGTH_SCHEDULES:
        assert found(float(strength.off or 0.0), kind, 0.2) == plain(), kind
    assert found(on(name), "linear", 0.0) != unscheduled


SHAPED = [
    Load(
        n,
        {
            "l2.strength": 0.1,
            "l2.strength.schedule": kind,
            "l2.strength.warmup": 0.1 * (n % 3),
            "dropout.p": 0.4,
            "dropout.p.schedule": STRENGTH_SCHEDULES[-1 - n],
            "clip_by_norm.max_norm": 0.2,
            "clip_by_norm.max_norm.warmup": 0.5,
        },
        17 * n + 5,
    )
    for n, kind in enumerate(STRENGTH_SCHEDULES)
]


def test_scheduled_trials_are_bitwise_independent() -> None:
    made = with_shapes(("l2", "dropout", "clip_by_norm"))
    whole = curves(made, dict(enumerate(SHAPED)), 8)
    assert curves(made, {7 - slot: load for slot, load in enumerate(SHAPED)}, 8) == whole
    traces = made.traces
    for width, slot, number in ((2, 0, 1), (3, 2, 3), (2, 1, 4)):
        assert curves(made, {slot: SHAPED[number]}, width)[number] == whole[number]
    assert made.traces <= traces + 4, "a schedule is data: other schedules trace nothing"
    pack = Pack(made, digits(), 4)
    pack.load(1, SHAPED[1])
    pack.train_epoch([1])
    pack.load(2, SHAPED[3])  # late: the schedule follows the trial's own steps
    late = [dict(r.metrics) for _ in range(2) for r in pack.train_epoch([1, 2]) if r.trial == 3]
    assert late == whole[3]


def test_a_schedule_is_that_of_the_whole_training_not_of_the_epoch() -> None:
    """Strength by hand, step by step, in a program without schedules."""
    hand, made = program(("l2",)), with_shapes(("l2",))
    load = Load(0, {"l2.strength": 0.3, "l2.strength.schedule": "cosine", "l2.strength.warmup": 0.5}, 3)
    expected = values(made, load.params, "l2.strength")
    pack = Pack(hand, digits(), 2)
    pack.load(0, load)
    step, trained = pack.step, 0

    def by_hand(chosen: torch.Tensor, plan: StepPlan) -> None:
        nonlocal trained
        pack.knobs["l2.strength"][0] = expected[trained]
        trained += 1
        step(chosen, plan)

    pack.step = by_hand  # type: ignore[method-assign]
    found = [dict(report.metrics) for _ in range(3) for report in pack.train_epoch([0])]
    assert found == curves(made, {0: load}, 2, epochs=3)[0]
    assert trained == 12


@pytest.mark.parametrize("name", [name for name, rule in RULES.items() if rule.site == "loops"])
def test_what_acts_between_epochs_has_no_schedule(name: str) -> None:
    with pytest.raises(UserError, match=rf"^space.{strength_of(name)}.schedule: this strength has no schedule"):
        with_shapes((name,))


@pytest.mark.parametrize("name", [name for name in LAYERED if name in RULES])
def test_layers_with_one_strength_are_the_plain_rule(name: str) -> None:
    same_everywhere = curves(program((name,)), {0: Load(0, {strength_of(name): on(name)}, 3)}, 2)[0]
    made = with_shapes((name,), layers=(name,))
    layers = made.layers[strength_of(name)]
    assert len(layers) == 3
    same = {f"{strength_of(name)}.{layer}": on(name) for layer in layers}
    assert curves(made, {0: Load(0, same, 3)}, 2)[0] == same_everywhere
    first_off = {**same, f"{strength_of(name)}.{layers[0]}": float(RULES[name].strength_knob.off or 0.0)}
    assert curves(made, {0: Load(0, first_off, 3)}, 2)[0] != same_everywhere
    assert curves(made, {0: Load(0, {}, 3)}, 2)[0] == plain(), "off in every layer is the identity"


def test_each_layer_has_the_penalty_that_it_is_given() -> None:
    """One step of plain gradient descent: the weights differ from those without penalty by lr * strength * w."""
    made = with_shapes(("l2",), scheduled=False, layers=("l2",))
    layers = made.layers["l2.strength"]
    given = dict(zip(layers, (0.0, 0.5, 2.0), strict=True))
    trained = []
    for params in ({}, {f"l2.strength.{layer}": each for layer, each in given.items()}):
        sgd = Program(
            made.build,
            made.task,
            made.rules,
            dataclasses.replace(made.training, optimizer="sgd", momentum=0.0, schedule="constant"),
            per_layer=("l2.strength",),
        )
        pack = Pack(sgd, digits(), 2)
        pack.load(0, Load(0, params, 3))
        start = pack.weights(0)
        pack.step(torch.arange(25).expand(2, -1), pack.plan(1)[0])
        trained.append(pack.weights(0))
    for layer, strength in given.items():
        weight, bias = f"stock.{layer}.weight", f"stock.{layer}.bias"
        change = trained[1][weight] - trained[0][weight]
        torch.testing.assert_close(change, -2e-3 * strength * start[weight], rtol=1e-3, atol=1e-7)
        assert torch.equal(trained[1][bias], trained[0][bias])


def test_layers_under_schedules_are_bitwise_independent() -> None:
    made = with_shapes(("l2", "max_norm", "weight_decay"), layers=("l2", "weight_decay"))
    loads = [
        Load(
            n,
            {
                **{f"l2.strength.{layer}": 0.1 * (n + k) for k, layer in enumerate(made.layers["l2.strength"])},
                "l2.strength.schedule": kind,
                **{f"weight_decay.strength.{layer}": 1.0 * k for k, layer in enumerate(made.layers["l2.strength"])},
                "max_norm.max_norm": 1.0,
            },
            n,
        )
        for n, kind in enumerate(STRENGTH_SCHEDULES)
    ]
    whole = curves(made, dict(enumerate(loads)), 8)
    assert curves(made, {1: loads[4]}, 2)[4] == whole[4]
    assert len({str(curve) for curve in whole.values()}) == len(loads)


@pytest.mark.parametrize("name", ["dropout", "clip_by_norm", "mix_up", "label_smoothing"])
def test_a_rule_that_acts_on_no_layer_by_itself_is_refused(name: str) -> None:
    if name in RULES:
        with pytest.raises(UserError, match=rf"^space.{strength_of(name)}.per: {name} does not act on each layer"):
            with_shapes((name,), layers=(name,))
