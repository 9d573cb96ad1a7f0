"""Every kind of model: a trial has the same bits in packs of 64, 8 and 2, in any slot, whenever it is loaded."""

from __future__ import annotations

import dataclasses
import random
from collections import deque
from collections.abc import Sequence

import pytest
import torch

from regsearch.core.compiling import compile_program
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.pack_function import compiler
from regsearch.core.program import Program
from regsearch.testing import CASES, Case, Trained, exclusion, train
from tests.core.packs import RULES

MODELS = [name for name in CASES if name != "linear"]
# Rules that draw numbers, reduce, compare or take quotients, at six sites.
STRENGTHS = {
    "input_noise.sigma": 0.3,
    "drop_connect.p": 0.3,
    "batch_norm.gate": 0.8,
    "layer_norm.gate": 1.0,
    "dropout.p": 0.5,
    "l2.strength": 0.1,
    "group_lasso.strength": 0.02,
    "clip_by_norm.max_norm": 1.0,
    "max_norm.max_norm": 1.5,
}


def program(case: Case, batch_size: int, names: Sequence[str] = tuple(STRENGTHS)) -> Program:
    rules = [RULES[name.partition(".")[0]] for name in names]
    training = dataclasses.replace(case.training, batch_size=batch_size)
    return Program(case.build, case.task, tuple(rule for rule in rules if exclusion(rule, case) is None), training)


def loads(made: Program, trials: int) -> list[Load]:
    """Trials of seeds of their own with about half of the rules on; the first has none."""
    chosen = []
    for number in range(trials):
        draw = random.Random(number)
        known = {name: value for name, value in STRENGTHS.items() if name in made.knobs and draw.random() < 0.5}
        params = {name: value * draw.uniform(0.3, 1.0) for name, value in known.items()} if number else {}
        chosen.append(Load(number, params, 31 * number + 5))
    return chosen


def refilled(made: Program, data: Data, waiting: Sequence[Load], width: int) -> dict[int, Trained]:
    """The trials one after another through the slots of a pack; each ends after 1 to all epochs, by its number."""
    pack, queue, live = Pack(made, data, width), deque(waiting), set[int]()
    found = {load.number: Trained() for load in waiting}
    while queue or live:
        for slot in set(range(width)) - live if queue else ():
            if queue:
                pack.load(slot, queue.popleft())
                live.add(slot)
        for slot, report in zip(sorted(live), pack.train_epoch(sorted(live)), strict=True):
            trial = found[report.trial]
            trial.curve.append(dict(report.metrics))
            if report.epoch == 1 + report.trial % made.training.epochs:
                trial.weights = {name.removeprefix("stock."): w for name, w in pack.weights(slot).items()}
                pack.free(slot)
                live.discard(slot)
    return found


def check(made: Program, data: Data, trials: int, pairs: int) -> None:
    """One pack of all trials against the same in other slots, in packs of 8 and 2, alone, and loaded late."""
    chosen, epochs = loads(made, trials), made.training.epochs
    whole = train(made, data, dict(enumerate(chosen)), trials)
    assert len({str(trial.curve) for trial in whole.values()}) == trials, "the trials must differ"
    assert not any(trial.reason for trial in whole.values())

    def compare(found: dict[int, Trained], where: str) -> None:
        wrong = [number for number, trial in found.items() if not trial.same(whole[number])]
        assert not wrong, f"trials {wrong} differ {where}"

    slots = torch.randperm(trials, generator=torch.Generator().manual_seed(0)).tolist()
    compare(train(made, data, dict(zip(slots, chosen, strict=True)), trials), "in other slots")
    for width, number in ((8, trials), (2, 2 * pairs)):
        for start in range(0, number, width):
            part = dict(enumerate(reversed(chosen[start : start + width])))
            compare(train(made, data, part, width), f"in a pack of {width}")
    compare(train(made, data, {1: chosen[-1]}, 2), "alone")
    for number, trial in refilled(made, data, chosen, 8 if trials > 8 else 3).items():
        assert repr(trial.curve) == repr(whole[number].curve[: len(trial.curve)]), f"trial {number} differs loaded late"
        assert len(trial.curve) < epochs or trial.same(whole[number]), f"weights of {number} differ loaded late"


@pytest.mark.parametrize("model", ["convnet", "gru", "transformer"])
def test_bits_depend_on_neither_width_nor_slot_nor_the_moment_of_loading(model: str) -> None:
    case = CASES[model]()
    check(program(case, 16, ("dropout.p", "l2.strength", "clip_by_norm.max_norm")), case.data, trials=8, pairs=1)


# Compiling takes half a minute a model; codes and branches are the same layers once more.
COMPILED = [model for model in MODELS if model != "residual" and not model.endswith("-codes")]
EVERY = [(model, "traced") for model in MODELS] + [(model, "compiled") for model in COMPILED]
IN_CI = ("mlp", "compiled"), ("gru", "traced")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "path"), [each if each in IN_CI else pytest.param(*each, marks=pytest.mark.sweep) for each in EVERY]
)
def test_bits_of_64_trials_are_those_of_8_and_of_2(model: str, path: str) -> None:
    case = CASES[model]()
    if path == "compiled":
        if compiler() is None:
            pytest.skip("there is no C++ compiler")
        made = program(case, 16)
        assert compile_program(made, case.data, trials=10**6) is None
    else:
        made = program(case, 13)  # the last batch is short
    check(made, case.data, trials=64, pairs=8)
