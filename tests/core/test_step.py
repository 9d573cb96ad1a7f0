"""The training step: its stages in the order of the sites, and its inputs as a tree of tensors."""

from __future__ import annotations

import ast
import dataclasses
import inspect
import textwrap
from collections.abc import Callable
from itertools import groupby
from typing import Any

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_unflatten

from regsearch.core.effects import Effects
from regsearch.core.pack import Load, Pack
from regsearch.core.program import Program
from regsearch.core.step import Step
from regsearch.core.step_inputs import StepInputs
from regsearch.models import mlp
from regsearch.regularizers import SITES
from regsearch.tasks import Classification
from tests.core.packs import RULES, digits, program

IN_THE_MODEL, BETWEEN_STEPS = ("norms", "activations"), ("loops",)
EFFECTS = {
    # Of each site a rule and the method that is its effect; an elementwise penalty has another one.
    "input_noise": "batch",
    "label_smoothing": "target",
    "drop_connect": "weight",
    "layer_norm": "normalize",
    "dropout": "activation",
    "orthogonality": "penalty",
    "l2": "slope",
    "clip_by_norm": "gradient",
    "weight_decay": "decay",
    "max_norm": "project",
    "ema": "after_step",
}


def test_a_step_calls_the_sites_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[str] = []

    def recording(site: str, effect: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any) -> Any:
            called.append(site)
            return effect(*given)

        return call

    for name, method in EFFECTS.items():
        effect = recording(RULES[name].site, getattr(RULES[name], method))
        monkeypatch.setattr(RULES[name], method, effect)
    training = program(()).training
    one_hidden_layer = Program(
        lambda: mlp((64,), 10, (8,)), Classification(10), tuple(RULES[name] for name in EFFECTS), training
    )
    pack = Pack(one_hidden_layer, digits(), 2)
    pack.load(0, Load(0, {}, 3))
    pack.step(torch.arange(50).view(2, 25), pack.plan(1)[0])
    assert tuple(site for site, _ in groupby(called)) == SITES


def test_the_stages_stand_in_the_order_of_the_sites() -> None:
    """The methods, and the calls on the one screen of the step."""
    own = [site for site in SITES if site not in IN_THE_MODEL + BETWEEN_STEPS]
    assert [name for name in vars(Step) if name in SITES] == own
    assert [name for name in vars(Effects) if name in SITES] == list(IN_THE_MODEL)
    body = ast.parse(textwrap.dedent(inspect.getsource(Step.__call__)))
    calls = [node.func for node in ast.walk(body) if isinstance(node, ast.Call)]
    stages = [call for call in calls if isinstance(call, ast.Attribute) and call.attr in SITES]
    assert [call.attr for call in sorted(stages, key=lambda call: call.lineno)] == own


def test_inputs_are_a_tree_whose_leaves_stand_in_the_order_of_the_fields() -> None:
    pack = Pack(program(("dropout", "clip_by_norm")), digits(), 2)
    inputs = pack.inputs(torch.arange(50).view(2, 25), pack.plan(1)[0])
    fields = [getattr(inputs, field.name) for field in dataclasses.fields(StepInputs)]
    leaves, spec = tree_flatten(inputs)
    assert all(map(torch.equal, leaves, tree_leaves(fields))) and len(leaves) == len(tree_leaves(fields))
    again = tree_unflatten(leaves, spec)
    assert isinstance(again, StepInputs) and again.w is inputs.w and again.knobs == inputs.knobs
    assert tree_leaves(inputs.trained) == leaves[: len(tree_leaves(inputs.trained))]


def test_a_step_writes_what_it_trains_and_nothing_else() -> None:
    pack = Pack(program(("clip_by_norm",), norm="batch"), digits(), 2)
    for slot in range(2):
        pack.load(slot, Load(slot, {"clip_by_norm.max_norm": 1.0}, slot))
    inputs = pack.inputs(torch.arange(50).view(2, 25), pack.plan(1)[0])
    before = tree_map(torch.clone, inputs)
    pack.program.train_step(inputs)
    changed = {
        field.name
        for field in dataclasses.fields(StepInputs)
        if not all(map(torch.equal, tree_leaves(getattr(before, field.name)), tree_leaves(getattr(inputs, field.name))))
    }
    assert changed == {"w", "state", "buffers"} == set(inputs.trained._fields)
