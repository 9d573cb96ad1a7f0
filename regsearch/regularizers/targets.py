"""Site `targets`: rules that change the targets that the loss is measured against."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import Context, Paper, Regularizer, Strength, knob, regularizer


class Target(Regularizer):
    """Acts on the class probabilities that one trial is trained towards; classification only."""

    site = "targets"
    needs_classes = True

    def target(self, y: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map y [B, C], each row a distribution, to the distributions trained towards."""
        raise NotImplementedError


@regularizer
class LabelSmoothing(Target):
    """Move a share of each target's mass to all classes alike: (1 - epsilon) * y + epsilon / C."""

    source = Paper("Szegedy et al.", 2016, "https://arxiv.org/abs/1512.00567")
    epsilon: Strength = knob(0.0, 0.3, off=0.0, maximum=1.0, unit="probability", doc="mass spread over all classes")

    def target(self, y: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map y [B, C] to (1 - epsilon) * y + epsilon / C."""
        return (1 - self.epsilon) * y + self.epsilon / y.shape[-1]
