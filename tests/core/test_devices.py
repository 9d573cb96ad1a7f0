"""On a GPU: packs there give what they give on a CPU; where there is none, that no step mixes devices is still held."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from torch._subclasses import FakeTensorMode
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from regsearch.core.compiling import compile_program
from regsearch.core.device import devices, refuse_missing, use
from regsearch.core.forward import Loss
from regsearch.core.layout import Tensors
from regsearch.core.pack import Data, Load, Pack
from regsearch.core.program import Program
from regsearch.errors import UserError
from regsearch.testing import CASES, Case, exclusion, train
from tests.core.packs import RULES

# Convolutions and recurrent layers ask torch for memory of the device itself, which has to be there.
ELSEWHERE = [name for name in CASES if not name.startswith(("convnet", "gru", "lstm"))]
on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU on this machine")


def program(case: Case) -> Program:
    rules = tuple(rule for rule in RULES.values() if exclusion(rule, case) is None and rule.name != "jacobian")
    return Program(case.build, case.task, rules, case.training)


def step_elsewhere(name: str, device: str) -> None:
    """Take a step and an evaluation of tensors that only say where they are; torch finds out what would mix.

    All but the way back, for which its engine wants a device that is there.
    """
    case = CASES[name]()
    made = program(case)
    pack = Pack(made, case.data, 2)
    inputs = pack.inputs(torch.arange(16).expand(2, -1), pack.plan(1)[0])
    rows = made.evaluation.inputs(pack.w, pack.buffers, case.data.train_x[:16], pack.knobs)

    def there(each: Any) -> Any:
        return torch.empty(each.shape, dtype=each.dtype) if isinstance(each, torch.Tensor) else each

    def forward_alone(loss: Loss, weights: Tensors) -> tuple[Tensors, Tensors]:
        total, fresh = loss(weights)
        return {name: total * value for name, value in weights.items()}, fresh

    made.step.differentiate = forward_alone
    with FakeTensorMode(), torch.device(device):
        results = [vmap(made.step)(tree_map(there, inputs))]
        results += [
            vmap(f)(*tree_map(there, rows)) for f in (made.evaluation.forward, made.evaluation.batch_statistics)
        ]
    found = {leaf.device.type for leaf in tree_leaves(results)}
    if found != {device}:
        raise RuntimeError(f"{name} ends on {found}")


@pytest.mark.slow
def test_no_step_and_no_evaluation_mixes_devices() -> None:
    """The device is one that torch leaves to others; it is registered for good, hence in a process of its own."""
    code = """
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend
_setup_privateuseone_for_python_backend()
from tests.core.test_devices import ELSEWHERE, step_elsewhere
for name in ELSEWHERE:
    step_elsewhere(name, "privateuseone")
    print(name)
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert found.returncode == 0 and found.stdout.split() == ELSEWHERE, found.stderr


def test_a_device_that_is_not_there_is_refused() -> None:
    with pytest.raises(UserError, match="no such device"):
        refuse_missing("cuda:99")
    refuse_missing("cpu")
    assert devices("cpu") == ["cpu"] and devices("cuda:3") == ["cuda:3"]


@on_gpu
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "compiled"])
@pytest.mark.parametrize("name", list(CASES))
def test_a_pack_on_the_gpu_agrees_with_one_on_the_cpu(name: str, compiled: bool) -> None:
    case = CASES[name]()
    loads = {slot: Load(slot, {"l2.strength": 0.01 * slot} if slot else {}, 5 + slot) for slot in range(4)}
    expected = train(program(case), case.data, loads, 4)
    try:
        use("cuda:0")
        data = Data(*(each.to("cuda:0") for each in vars(case.data).values()))
        made = program(case)
        if compiled:
            assert compile_program(made, data, trials=10**6) is None
        found = train(made, data, loads, 4)
    finally:
        torch.set_default_device("cpu")
    for number in loads:
        torch.testing.assert_close(found[number].losses(), expected[number].losses(), rtol=1e-3, atol=1e-4)


@on_gpu
def test_packs_on_the_gpu_are_independent() -> None:
    case = CASES["mlp"]()
    loads = [Load(number, {"dropout.p": 0.1 * number} if number else {}, 5 + number) for number in range(8)]
    try:
        use("cuda:0")
        data = Data(*(each.to("cuda:0") for each in vars(case.data).values()))
        made = program(case)
        packed = train(made, data, dict(enumerate(loads)), 8)
        for load in loads:
            alone = train(made, data, {load.number % 2: load}, 2)[load.number]
            torch.testing.assert_close(alone.losses(), packed[load.number].losses(), rtol=1e-4, atol=1e-5)
    finally:
        torch.set_default_device("cpu")
