"""Optimizers for one trial's flat row; `vmap` lifts them. Each equals its namesake in `torch.optim`.

Legend: P floats of a row. The learning rate is a 0-d tensor, so every trial may have its own.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch

State = dict[str, torch.Tensor]


class Optimizer(Protocol):
    """`slots` names the state rows [P]; `step` maps (w, g, state, t, learning rate) to (w, state), t counting from
    1.
    """

    @property
    def slots(self) -> tuple[str, ...]: ...

    def step(
        self, w: torch.Tensor, g: torch.Tensor, state: State, t: torch.Tensor, learning_rate: torch.Tensor
    ) -> tuple[torch.Tensor, State]: ...


class Adam:
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + 1e-8).

    Source: Kingma and Ba (2015), https://arxiv.org/abs/1412.6980.
    """

    slots = ("m", "v")

    def __init__(self, betas: tuple[float, float]) -> None:
        self.betas = betas

    def step(
        self, w: torch.Tensor, g: torch.Tensor, state: State, t: torch.Tensor, learning_rate: torch.Tensor
    ) -> tuple[torch.Tensor, State]:
        first, second = self.betas
        m = state["m"] * first + g * (1 - first)
        v = state["v"] * second + g * g * (1 - second)
        # Not b**t: torch's power has other bits in the vector part of a loop than in its rest.
        correction = torch.sqrt(1 - torch.exp(t * math.log(second)))
        scale = learning_rate * correction / (1 - torch.exp(t * math.log(first)))
        return w - scale * (m / (torch.sqrt(v) + 1e-8 * correction)), {"m": m, "v": v}


class SGD:
    """b = momentum * b + g (b = g in the first step); w -= lr * b."""

    slots = ("b",)

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum

    def step(
        self, w: torch.Tensor, g: torch.Tensor, state: State, t: torch.Tensor, learning_rate: torch.Tensor
    ) -> tuple[torch.Tensor, State]:
        b = self.momentum * state["b"] + g
        return w - learning_rate * b, {"b": b}


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    # The decay of AdamW is the regularizer `weight_decay`; without it the two are the same.
    "adamw": lambda momentum, betas: Adam(betas),
    "adam": lambda momentum, betas: Adam(betas),
    "sgd": lambda momentum, betas: SGD(momentum),
}


def schedule_factor(name: str, progress: torch.Tensor) -> torch.Tensor:
    """The learning rate's factor at a share `progress` in [0, 1] of the training: 1, or (1 + cos(pi * progress)) /
    2.
    """
    if name == "cosine":
        return (1 + torch.cos(torch.pi * progress)) / 2
    return torch.ones_like(progress)
