"""A lifted module against the stock one: outputs and gradients of several trials at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.func import functional_call, grad_and_value, vmap

from regsearch.core.lifted_module import Lifted
from regsearch.core.pack_function import PackFunction

TOLERANCE = 1e-5
"""Relative to the largest entry of each tensor."""


def agree(found: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors agree to float32 rounding over a few hundred operations."""
    scale = max(1.0, float(expected.detach().abs().max()))
    return found.shape == expected.shape and bool((found - expected).abs().max() <= TOLERANCE * scale)


def pack(module: nn.Module, trials: int) -> dict[str, torch.Tensor]:
    """Parameters of `trials` trials by name, [T, ...], each drawn anew."""
    generator = torch.Generator().manual_seed(11)
    return {
        f"stock.{name}": torch.stack(
            [p.detach() + 0.2 * torch.randn(p.shape, generator=generator) for _ in range(trials)]
        )
        for name, p in module.named_parameters()
    }


def loss_of(out: Any) -> torch.Tensor:
    """A number that depends on every entry of an output otherwise than by its sum."""
    parts = out if isinstance(out, tuple) else (out,)
    flat = [each for part in parts for each in (part if isinstance(part, tuple) else (part,)) if each is not None]
    return sum(((each * torch.linspace(0.5, 1.5, each.shape[-1])).sin()).sum() for each in flat)  # type: ignore[return-value]


def differences(module: nn.Module, x: torch.Tensor, trials: int = 3, traced: bool = True) -> list[str]:
    """What differs between the lifted module on x [T, B, ...] and the stock one, trial by trial; [] is agreement."""
    weights = pack(module, trials)
    lifted = Lifted(module)
    lifted.train(module.training)

    def loss(w: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
        return loss_of(functional_call(lifted, w, (x,)))

    both: Callable[..., Any] = grad_and_value(loss, argnums=(0, 1) if x.is_floating_point() else 0)
    found = PackFunction(both)(weights, x) if traced else vmap(both)(weights, x)
    slopes, values = found
    slope_x = None
    if x.is_floating_point():
        slopes, slope_x = slopes
    wrong = []
    for trial in range(trials):
        own = {name.removeprefix("stock."): w[trial].clone().requires_grad_() for name, w in weights.items()}
        row = x[trial].clone().requires_grad_(x.is_floating_point())
        value = loss_of(functional_call(module, own, (row,)))
        value.backward()
        if not agree(values[trial], value):
            wrong.append(f"loss of {trial}: {values[trial]} for {value}")
        pairs = {name: (slopes[f"stock.{name}"][trial], each.grad) for name, each in own.items()}
        if slope_x is not None:
            pairs["x"] = slope_x[trial], row.grad
        for name, (one, other) in pairs.items():
            other = torch.zeros_like(one) if other is None else other
            if not agree(one, other):
                wrong.append(f"{name} of {trial}: off by {float((one - other).abs().max()):.1e}")
    return wrong
