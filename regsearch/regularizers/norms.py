"""Site `norms`: normalization that a trial may turn on after each hidden layer."""

from __future__ import annotations

from typing import ClassVar

import torch

from regsearch.regularizers.base import Context, Paper, Regularizer, Strength, knob, regularizer

_EPSILON = 1e-5


class Norm(Regularizer):
    """Acts on the activations of one trial, in training and in evaluation, before the rules of site `activations`."""

    site = "norms"
    needs_moments: ClassVar[bool] = False
    """Whether the rule asks for `ctx.moments`."""

    def normalize(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to activations of the same shape; `ctx` lends `moments` alone."""
        raise NotImplementedError


@regularizer
class BatchNorm(Norm):
    """Mix each unit's activations with their normalization: (1 - gate) * h + gate * (h - mean) / sqrt(var + 1e-5).

    Mean and variance are over the batch (in pictures and sequences over their places too), in evaluation the running
    ones; gate 1 is batch normalization without scale and shift.
    """

    source = Paper("Ioffe and Szegedy", 2015, "https://arxiv.org/abs/1502.03167")
    needs_moments = True
    gate: Strength = knob(0.0, 1.0, off=0.0, unit="share", doc="weight of the normalized activations")

    def normalize(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to (1 - gate) h + gate (h - mean) / sqrt(var + 1e-5), moments of each unit over the batch."""
        mean, variance = ctx.moments(h)
        return (1 - self.gate) * h + self.gate * ((h - mean) * torch.rsqrt(variance + _EPSILON))


@regularizer
class LayerNorm(Norm):
    """Mix each row's activations with their normalization: (1 - gate) * h + gate * (h - mean) / sqrt(var + 1e-5).

    Mean and variance are over the row's features; gate 1 is layer normalization without scale and shift.
    """

    source = Paper("Ba et al.", 2016, "https://arxiv.org/abs/1607.06450")
    gate: Strength = knob(0.0, 1.0, off=0.0, unit="share", doc="weight of the normalized activations")

    def normalize(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to (1 - gate) h + gate (h - mean) / sqrt(var + 1e-5), moments of each row."""
        over = tuple(range(1, h.dim()))
        centred = h - h.mean(over, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(over, keepdim=True) + _EPSILON)
        return (1 - self.gate) * h + self.gate * (centred * scale)
