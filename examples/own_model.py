"""Search the regularization of a model of your own: any `torch.nn.Module`, with a forward pass of its own.

Shows a factory that a study file names, a `Site` where rules may act, and what a layer of yours need not know: that
many trials train at once. Prints how many slots a pack had, and the answer.

    python examples/own_model.py
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import nn

from regsearch import Site, Study


class Residual(nn.Module):
    """A residual block; the marked branch is what `stochastic_depth` may skip."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear, self.norm, self.branch = nn.Linear(width, width), nn.BatchNorm1d(width), Site("residual")

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h + self.branch(torch.relu(self.norm(self.linear(h))))


def build(inputs: tuple[int, ...], outputs: int, width: int = 32, depth: int = 2) -> nn.Module:
    """Make the model: `inputs` is the shape of one row, `outputs` what the task wants; the rest is the study file's."""
    blocks = [Residual(width) for _ in range(depth)]
    return nn.Sequential(
        nn.Flatten(), nn.Linear(math.prod(inputs), width), *blocks, nn.ReLU(), nn.Linear(width, outputs)
    )


def main() -> None:
    """Run the study beside this file."""
    answer = Study.from_file(Path(__file__).with_name("own_model.yaml")).run(replace=True)
    print(f"slots of a pack: {answer.pack['width']}")
    print(answer.sentence)


if __name__ == "__main__":  # the study starts processes, which import this file
    main()
