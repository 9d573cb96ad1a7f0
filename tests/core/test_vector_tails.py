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


def test_what_adam_makes_of_the_step_count_is_the_same_in_every_width() -> None:
    steps = torch.arange(1, 400, dtype=torch.float64)
    betas = {"beta1": torch.tensor(0.9, dtype=torch.float64), "beta2": torch.tensor(0.999, dtype=torch.float64)}

    def scales(width: int) -> dict[str, torch.Tensor]:
        t = steps.unsqueeze(1).expand(-1, width).contiguous()
        return Adam().scales(t, torch.full_like(t, 1e-3), betas)

    wide = scales(32)
    for width in (2, 3, 7):
        for name, value in scales(width).items():
            assert torch.equal(value[:, :1].expand(-1, 32).float(), wide[name].float()), f"{name} at width {width}"


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
