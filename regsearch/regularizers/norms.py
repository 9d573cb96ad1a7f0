"""Site `norms`: normalization that a trial may turn on after each hidden layer."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import Context, Paper, Regularizer, Strength, knob, regularizer


class Norm(Regularizer):
    """Acts on the activations of one trial, in training and in evaluation, before the rules of site `activations`."""

    site = "norms"

    def normalize(self, h: torch.Tensor, ctx: Context | None) -> torch.Tensor:
        """h [B, F...] to activations of the same shape; `ctx` is None in evaluation."""
        raise NotImplementedError


@regularizer
class LayerNorm(Norm):
    """Mix each row's activations with their normalization: (1 - gate) * h + gate * (h - mean) / sqrt(var + 1e-5).

    Mean and variance are over the row's features; gate 1 is layer normalization without scale and shift.
    """

    source = Paper("Ba et al.", 2016, "https://arxiv.org/abs/1607.06450")
    gate: Strength = knob(0.0, 1.0, off=0.0, unit="share", doc="weight of the normalized activations")

    def normalize(self, h: torch.Tensor, ctx: Context | None) -> torch.Tensor:
        over = tuple(range(1, h.dim()))
        centred = h - h.mean(over, keepdim=True)
        scale = torch.rsqrt(centred.square().mean(over, keepdim=True) + 1e-5)
        return (1 - self.gate) * h + self.gate * (centred * scale)
