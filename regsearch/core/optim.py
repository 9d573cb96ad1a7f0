"""Optimizers for one trial's flat row; `vmap` lifts them. Each equals its namesake in `torch.optim`.

Legend: S steps, T trials, P floats of a row. Learning rate, momentum and betas are rows over the trials. What depends
on them and on the step count alone (bias corrections, complements) is worked out beforehand in float64, as in torch,
and reaches the step as 0-d tensors: in float32 1 - 0.999 alone would be wrong by 1e-5.

The names, and the momentum and betas that each takes by default, stand in `regsearch.config.training`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import torch

Tensors = Mapping[str, torch.Tensor]
State = dict[str, torch.Tensor]


class Optimizer(ABC):
    """Declare an optimizer: the state rows it keeps, the settings of a trial that it reads, and its arithmetic."""

    slots: ClassVar[tuple[str, ...]]
    """Names of the state rows [P], zeros before the first step."""
    settings: ClassVar[tuple[str, ...]]
    """What a trial may set beside its learning rate: of `momentum`, `beta1` and `beta2`."""

    @abstractmethod
    def scales(self, t: torch.Tensor, learning_rate: torch.Tensor, settings: Tensors) -> dict[str, torch.Tensor]:
        """Compute the numbers of each step by name, float64 [S, T]; t and rate [S, T], t from 1, settings [T]."""

    @abstractmethod
    def step(self, w: torch.Tensor, g: torch.Tensor, state: State, scale: Tensors) -> tuple[torch.Tensor, State]:
        """Take one step: w [P], g [P], state of [P] and the 0-d numbers of `scales` to (w, state)."""

    def scale_names(self) -> tuple[str, ...]:
        """Name what `scales` gives, in order."""
        one = torch.ones(1, dtype=torch.float64)
        return tuple(self.scales(one, one, {name: one / 2 for name in self.settings}))


class SGD(Optimizer):
    """b = momentum * b + g (b = g in the first step); w -= lr * b, with Nesterov w -= lr * (g + momentum * b).

    Sources: Polyak (1964), https://doi.org/10.1016/0041-5553(64)90137-5; Sutskever et al. (2013),
    https://proceedings.mlr.press/v28/sutskever13.html, whose form of Nesterov's method this is.
    """

    slots = ("b",)
    settings = ("momentum",)

    def __init__(self, nesterov: bool = False) -> None:
        self.nesterov = nesterov

    def scales(self, t: torch.Tensor, learning_rate: torch.Tensor, settings: Tensors) -> dict[str, torch.Tensor]:
        """Compute rate = lr and momentum, [S, T] each."""
        return {"rate": learning_rate, "momentum": settings["momentum"].expand_as(t)}

    def step(self, w: torch.Tensor, g: torch.Tensor, state: State, scale: Tensors) -> tuple[torch.Tensor, State]:
        """Compute b = momentum * b + g; w -= rate * b, with Nesterov w -= rate * (g + momentum * b)."""
        b = scale["momentum"] * state["b"] + g
        direction = g + scale["momentum"] * b if self.nesterov else b
        return w - scale["rate"] * direction, {"b": b}


class Adagrad(Optimizer):
    """v = v + g^2; w -= lr * g / (sqrt(v) + 1e-10).

    Source: Duchi et al. (2011), https://jmlr.org/papers/v12/duchi11a.html.
    """

    slots = ("v",)
    settings = ()

    def scales(self, t: torch.Tensor, learning_rate: torch.Tensor, settings: Tensors) -> dict[str, torch.Tensor]:
        """Compute rate = lr, [S, T]."""
        return {"rate": learning_rate}

    def step(self, w: torch.Tensor, g: torch.Tensor, state: State, scale: Tensors) -> tuple[torch.Tensor, State]:
        """Compute v = v + g^2; w -= rate * g / (sqrt(v) + 1e-10)."""
        v = state["v"] + g * g
        return w - scale["rate"] * (g / (torch.sqrt(v) + 1e-10)), {"v": v}


class RMSprop(Optimizer):
    """v = beta2 * v + (1 - beta2) * g^2; w -= lr * g / (sqrt(v) + 1e-8). `torch.optim.RMSprop` calls beta2 alpha.

    Source: Tieleman and Hinton (2012), https://www.cs.toronto.edu/~tijmen/csc321/slides/lecture_slides_lec6.pdf.
    """

    slots = ("v",)
    settings = ("beta2",)

    def scales(self, t: torch.Tensor, learning_rate: torch.Tensor, settings: Tensors) -> dict[str, torch.Tensor]:
        """Compute rate = lr, keep = beta2, take = 1 - beta2, [S, T] each."""
        second = settings["beta2"].expand_as(t)
        return {"rate": learning_rate, "keep": second, "take": 1 - second}

    def step(self, w: torch.Tensor, g: torch.Tensor, state: State, scale: Tensors) -> tuple[torch.Tensor, State]:
        """Compute v = keep * v + take * g^2; w -= rate * g / (sqrt(v) + 1e-8)."""
        v = state["v"] * scale["keep"] + g * g * scale["take"]
        return w - scale["rate"] * (g / (torch.sqrt(v) + 1e-8)), {"v": v}


def _power(base: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """base^t: torch's own power has other bits in the vector part of a loop than in its rest."""
    return torch.exp(t * torch.log(base))


class Adam(Optimizer):
    """m = b1 m + (1-b1) g; v = b2 v + (1-b2) g^2; w -= lr * (m / (1-b1^t)) / (sqrt(v / (1-b2^t)) + 1e-8).

    Source: Kingma and Ba (2015), https://arxiv.org/abs/1412.6980.
    """

    slots = ("m", "v")
    settings = ("beta1", "beta2")

    def scales(self, t: torch.Tensor, learning_rate: torch.Tensor, settings: Tensors) -> dict[str, torch.Tensor]:
        """Compute the numbers of each step, [S, T], with r = sqrt(1 - b2^t).

        rate = lr * r / (1 - b1^t), epsilon = 1e-8 * r, b1, 1 - b1, b2, 1 - b2.
        """
        first, second = (settings[name].expand_as(t) for name in self.settings)
        # Both sides of the fraction times sqrt(1 - b2^t): one division less for each weight.
        root = torch.sqrt(1 - _power(second, t))
        return {
            "rate": learning_rate * root / (1 - _power(first, t)),
            "epsilon": 1e-8 * root,
            "keep1": first,
            "take1": 1 - first,
            "keep2": second,
            "take2": 1 - second,
        }

    def step(self, w: torch.Tensor, g: torch.Tensor, state: State, scale: Tensors) -> tuple[torch.Tensor, State]:
        """Compute m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; w -= rate * m / (sqrt(v) + epsilon)."""
        m = state["m"] * scale["keep1"] + g * scale["take1"]
        v = state["v"] * scale["keep2"] + g * g * scale["take2"]
        return w - scale["rate"] * (m / (torch.sqrt(v) + scale["epsilon"])), {"m": m, "v": v}


# Weight decay stands in none of them: it is the regularizer `weight_decay`, which acts before the step as in
# `torch.optim.AdamW`, whatever the optimizer; without it AdamW is Adam. `sgd` and `momentum` differ in their default.
OPTIMIZERS: Mapping[str, Optimizer] = {
    "sgd": SGD(),
    "momentum": SGD(),
    "nesterov": SGD(nesterov=True),
    "adagrad": Adagrad(),
    "rmsprop": RMSprop(),
    "adam": Adam(),
    "adamw": Adam(),
}
