"""The forward pass of one trial through its model, and two ways to differentiate what comes of it.

Legend: B batch, C outputs, F features.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch.func import functional_call, grad

from regsearch.core.effects import Effects, moment_names
from regsearch.core.layout import Tensors
from regsearch.core.lifted_module import FROZEN, Lifted

Loss: TypeAlias = Callable[[Tensors], tuple[torch.Tensor, Tensors]]
"""From the parameters that are trained to the training loss, a scalar, and the fresh buffers."""
Differentiate: TypeAlias = Callable[[Loss, Tensors], tuple[Tensors, Tensors]]
"""From a loss and the parameters to its slopes there, by the same names, and the fresh buffers."""


def forward(
    model: Lifted, weights: Tensors, buffers: Tensors, x: torch.Tensor, effects: Effects
) -> tuple[torch.Tensor, Tensors]:
    """Run the model of one trial on x [B, F...]: its output [B, C...] and, in training, its fresh buffers.

    No tensor stays behind in the module.
    """
    model.effect = effects
    moments = {name for layer in range(len(model.layers)) for name in moment_names(layer)}
    # What the module writes in place, it writes into a copy: an evaluation leaves no trace.
    own = {name: value.clone() if name in model.changing else value for name, value in buffers.items()}
    frozen = model.frozen.views(own.pop(FROZEN)) if FROZEN in own else {}
    used = weights | frozen | {name: value for name, value in own.items() if name not in moments}
    try:
        out = functional_call(model, used, (x,))
        fresh = {name: used[name] for name in model.changing} | model.fresh_buffers() if model.training else {}
    finally:
        model.effect = None
    return out, {name: value.detach() for name, value in (fresh | effects.fresh).items()}


def slopes_by_transform(loss: Loss, weights: Tensors) -> tuple[Tensors, Tensors]:
    """Differentiate a loss by `torch.func.grad`, which `vmap` lifts and `make_fx` traces."""
    slopes: tuple[Tensors, Tensors] = grad(loss, has_aux=True)(weights)
    return slopes


def slopes_by_autograd(loss: Loss, weights: Tensors) -> tuple[Tensors, Tensors]:
    """Differentiate a loss by plain autograd, for models that nothing else can differentiate."""
    leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
    with torch.enable_grad():
        total, fresh = loss(leaves)
    slopes = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
    return dict(zip(leaves, slopes, strict=True)), fresh
