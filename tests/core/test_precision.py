"""Products in bfloat16: near float32, evaluated in float32, and as independent as they are there."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from regsearch.core.compiling import compile_program
from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.testing import CASES, Trained, train
from tests.core.packs import RULES

LOADS = {0: Load(0, {}, 5), 1: Load(1, {"l2.strength": 0.01}, 6), 2: Load(2, {"clip_by_norm.max_norm": 0.1}, 7)}


def program(name: str, precision: str) -> Program:
    case = CASES[name]()
    training = dataclasses.replace(case.training, precision=precision)
    return Program(case.build, case.task, (RULES["l2"], RULES["clip_by_norm"]), training)


def losses(trained: dict[int, Trained]) -> torch.Tensor:
    return torch.tensor([trained[number].losses() for number in LOADS])


@pytest.mark.parametrize("name", ["mlp", "convnet", "gru", "transformer"])
def test_bfloat16_is_near_float32_and_trials_stay_independent(name: str) -> None:
    data, halved = CASES[name]().data, program(name, "bfloat16")
    full, found = losses(train(program(name, "float32"), data, LOADS, 3)), train(halved, data, LOADS, 3)
    assert not torch.equal(losses(found), full)
    torch.testing.assert_close(losses(found), full, rtol=5e-3, atol=1e-3)
    assert all(value.dtype == torch.float32 for value in found[1].weights.values())
    for number, load in LOADS.items():
        assert train(halved, data, {number % 2: load}, 2)[number].same(found[number])


@pytest.mark.slow
def test_bfloat16_compiles() -> None:
    data, made = CASES["mlp"]().data, program("mlp", "bfloat16")
    eager = losses(train(made, data, LOADS, 3))
    assert compile_program(made, data, trials=10**6) is None
    torch.testing.assert_close(losses(train(made, data, LOADS, 3)), eager, rtol=5e-3, atol=1e-3)
