"""What a trial computes must not depend on where in a vector loop its numbers lie: a wide pack against a narrow one.

Some of torch's loops over numbers give another last bit in their vector part than in their rest. A pack of 32 puts a
trial's scalars into the vector part, a pack of two into the rest; with odd layers and an odd last batch the rest lies
in the last trial of the pack.
"""

from __future__ import annotations

import pytest
import torch
from torch import nn

from regsearch.core.optim import Adam
from regsearch.core.pack import Load
from regsearch.core.program import Program
from regsearch.testing import mlp_case, train


def test_the_bias_correction_of_adam_is_the_same_in_every_width() -> None:
    adam = Adam((0.9, 0.999))

    def change(w: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        return adam.step(w, w + 1, {"m": w, "v": w}, t, torch.tensor(1e-3))[0]

    for t in range(1, 400):
        narrow, wide = (torch.func.vmap(change)(torch.zeros(n, 32), torch.full((n,), float(t))) for n in (2, 32))
        assert torch.equal(narrow[:1].expand(32, -1), wide), f"step {t}"


@pytest.mark.parametrize(
    "activation",
    [
        nn.ReLU,
        nn.Tanh,
        nn.GELU,
        nn.Sigmoid,
        nn.SiLU,
    ],
)
def test_odd_layers_give_the_same_bits_in_every_width(activation: type[nn.Module]) -> None:
    case = mlp_case((11,), rows=39)

    def build() -> nn.Module:
        return nn.Sequential(nn.Linear(11, 9), activation(), nn.Linear(9, 13), activation(), nn.Linear(13, 3))

    made = Program(build, case.task, (), case.training)
    loads = {slot: Load(slot, {}, slot) for slot in range(7)}
    packed = train(made, case.data, loads, 7)
    for slot in (0, 6):
        assert packed[slot].same(train(made, case.data, {0: loads[slot]}, 2)[slot]), f"slot {slot}"
