"""Site `weights`: rules that change the weights used in the forward pass, not the weights stored."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Context, Paper, Regularizer, Strength, knob, regularizer


class Weight(Regularizer):
    """Acts on each weight tensor of one trial (not on biases and normalization), in training only."""

    site = "weights"
    acts_on = "weights"

    def weight(self, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map w [O, I...] to the weights of this forward pass; the gradient flows back through the rule."""
        raise NotImplementedError


@regularizer
class DropConnect(Weight):
    """Zero each weight with probability p and scale the survivors by 1 / (1 - p)."""

    source = Paper("Wan et al.", 2013, "https://proceedings.mlr.press/v28/wan13.html")
    p: Strength = knob(0.0, 0.8, off=0.0, maximum=0.99, unit="probability", doc="share of weights dropped")

    def weight(self, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map w [O, I...] to w * keep / (1 - p), keep 1 with probability 1 - p for each entry, else 0."""
        keep = ctx.uniform(w) >= self.p
        return w * (keep / (1 - self.p))


@regularizer
class WeightNoise(Weight):
    """Add Gaussian noise to the weights in each forward pass: w + sigma * e, e standard normal."""

    source = Paper(
        "Graves", 2011, "https://papers.nips.cc/paper/4329-practical-variational-inference-for-neural-networks"
    )
    sigma: Strength = knob(0.0, 0.1, off=0.0, maximum=INFINITY, unit="units of the weights", doc="noise level")

    def weight(self, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map w [O, I...] to w + sigma * e, e standard normal for each entry."""
        return w + self.sigma * ctx.normal(w)
