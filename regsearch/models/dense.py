"""Fully connected models: linear and multilayer perceptron.

Legend: F inputs, C outputs.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import nn

from regsearch.errors import one_of_these
from regsearch.models.site import Site

ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "tanh": nn.Tanh, "gelu": nn.GELU}
_NORMS: dict[str, type[nn.Module] | None] = {"none": None, "batch": nn.BatchNorm1d, "layer": nn.LayerNorm}


def linear(inputs: tuple[int, ...], outputs: int) -> nn.Module:
    """Build the linear model x W^T + b, inputs flattened."""
    return nn.Sequential(nn.Flatten(), nn.Linear(math.prod(inputs), outputs))


class Residual(nn.Module):
    """h + inner(h), where the inner module keeps the width; stochastic depth may skip it."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner, self.branch = inner, Site("residual")

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        """Map h [B, F] to h + inner(h) of the same shape."""
        out: torch.Tensor = h + self.branch(self.inner(h))
        return out


def mlp(
    inputs: tuple[int, ...],
    outputs: int,
    hidden: Sequence[int] = (128, 128),
    activation: str = "relu",
    norm: str = "none",
    residual: bool = False,
) -> nn.Module:
    """Stack fully connected layers of the widths `hidden`, each with its norm (none, batch, layer) and activation.

    With `residual` a layer as wide as the one before it adds to what it was given: h + activation(norm(W h + b)).
    """
    kind = one_of_these("model.norm", norm, _NORMS)
    act = one_of_these("model.activation", activation, ACTIVATIONS)
    layers: list[nn.Module] = [nn.Flatten()]
    for index, (before, after) in enumerate(pairwise([math.prod(inputs), *hidden])):
        layer: list[nn.Module] = [nn.Linear(before, after)]
        if kind is not None:
            layer.append(kind(after))
        layer.append(act())
        layers += [Residual(nn.Sequential(*layer))] if residual and index and before == after else layer
    width = hidden[-1] if hidden else math.prod(inputs)
    return nn.Sequential(*layers, nn.Linear(width, outputs))
