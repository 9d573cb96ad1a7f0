"""Independence is a promise: a trial's curve is bitwise the same whatever shares its pack."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from regsearch.core.pack import Load, Pack
from tests.core.packs import RULES, curves, digits, plain, program, setting, shared_program

LOADS = [Load(n, setting(n) if n else {}, 17 * n + 5) for n in range(8)]


@pytest.mark.parametrize(
    ("optimizer", "norm"),
    [
        ("adamw", "none"),
        pytest.param("sgd", "batch", marks=pytest.mark.slow),
        pytest.param("adamw", "batch", marks=pytest.mark.sweep),
        pytest.param("sgd", "none", marks=pytest.mark.sweep),
    ],
)
def test_a_curve_depends_on_neither_width_nor_slot_nor_neighbours(optimizer: str, norm: str) -> None:
    made = shared_program(optimizer, norm)
    whole = curves(made, dict(enumerate(LOADS)), 8)
    assert curves(made, {7 - slot: load for slot, load in enumerate(LOADS)}, 8) == whole
    for width, slot, number in ((2, 0, 5), (3, 2, 6), (16, 15, 7), (2, 1, 0)):
        assert curves(made, {slot: LOADS[number]}, width)[number] == whole[number]
    assert len({str(curve) for curve in whole.values()}) == 8, "the settings must differ for this test to mean anything"


def test_a_trial_loaded_late_has_the_same_curve() -> None:
    made = shared_program()
    alone = curves(made, {0: LOADS[3]}, 2)[3]
    pack = Pack(made, digits(), 3)
    pack.load(1, LOADS[1])
    pack.train_epoch([1])
    pack.load(2, LOADS[3])
    late = [dict(r.metrics) for _ in range(2) for r in pack.train_epoch([1, 2]) if r.trial == 3]
    assert late == alone


def test_slots_that_wait_keep_their_state() -> None:
    made = shared_program()
    both = curves(made, {0: LOADS[1], 1: LOADS[2]}, 2)
    pack = Pack(made, digits(), 2)
    for slot, load in enumerate(LOADS[1:3]):
        pack.load(slot, load)
    found = [dict(r.metrics) for slots in ([0], [1], [0], [1]) for r in pack.train_epoch(slots) if r.trial == 1]
    assert found == both[1]


def test_a_neighbour_that_diverges_changes_no_bit_and_is_reported() -> None:
    made = shared_program()
    alone = curves(made, {0: LOADS[4]}, 2)[4]
    pack = Pack(made, digits(), 3)
    pack.load(0, LOADS[4])
    pack.load(1, Load(99, {}, 1))
    pack.w[1] = float("nan")
    reports = [report for _ in range(2) for report in pack.train_epoch([0, 1])]
    assert [dict(r.metrics) for r in reports if r.trial == 4] == alone
    reason = next(r.reason for r in reports if r.trial == 99)
    assert reason is not None and "diverged in epoch 1" in reason


@pytest.mark.parametrize("name", list(RULES))
def test_off_is_exactly_the_identity_and_on_changes_the_curve(name: str) -> None:
    made, strength = program((name,)), RULES[name].strength_knob
    shaped = {k.name: k.high for k in RULES[name].knobs if not k.is_strength}
    assert curves(made, {0: Load(0, {strength.name: strength.off, **shaped}, 3)}, 2)[0] == plain()
    if name != "early_stopping":
        tight = {"clip_by_norm.max_norm": 0.1, "clip_by_value.limit": 1e-3, "max_norm.max_norm": 0.5, "swa.share": 1.0}
        on = tight.get(strength.name, min(strength.high, 0.5))
        assert curves(made, {0: Load(0, {strength.name: on}, 3)}, 2)[0] != plain()


def test_early_stopping_ends_and_restores_the_best_epoch() -> None:
    made = program(("early_stopping",))
    pack = Pack(made, digits(), 2)
    pack.load(0, Load(0, {"early_stopping.patience": 0.0, "early_stopping.min_delta": 10.0}, 3))
    reports = []
    kept = []
    for _ in range(2):
        reports += pack.train_epoch([0])
        kept.append(pack.weights(0))
    assert [r.stopped for r in reports] == [False, True]
    assert reports[1].restored == 1
    assert all(torch.equal(kept[0][name], kept[1][name]) for name in kept[0])


def test_the_optimizer_equals_torch() -> None:
    """One trial against the stock loop: same initial weights, same order, AdamW without decay and SGD with momentum."""
    for optimizer in ("adamw", "sgd"):
        made, data, load = program((), optimizer), digits(), LOADS[0]
        made.training = dataclasses.replace(made.training, schedule="constant")
        pack = Pack(made, data, 2)
        pack.load(0, load)
        module = made.build()
        state = {name.removeprefix("stock."): value for name, value in pack.weights(0).items()}
        module.load_state_dict(state)
        stock = (
            torch.optim.AdamW(module.parameters(), lr=2e-3, weight_decay=0.0)
            if optimizer == "adamw"
            else torch.optim.SGD(module.parameters(), lr=2e-3, momentum=0.9)
        )
        for rows in made.order(load.seed, 0, 100).split(made.training.batch_size):
            loss = torch.nn.functional.cross_entropy(module(data.train_x[rows]), data.train_y[rows])
            stock.zero_grad()
            loss.backward()
            stock.step()
        pack.train_epoch([0])
        trained = pack.weights(0)
        for name, value in module.state_dict().items():
            torch.testing.assert_close(trained[f"stock.{name}"], value, rtol=1e-4, atol=1e-6)
