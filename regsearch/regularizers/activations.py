"""Site `activations`: rules that change hidden activations, in training only."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Context, Paper, Regularizer, Strength, knob, regularizer


class Activation(Regularizer):
    """Acts at each activation site of the model: its dropout calls, else its `Site` markers, else its activations."""

    site = "activations"

    def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...], one trial's activations, to activations of the same shape."""
        raise NotImplementedError


@regularizer
class Dropout(Activation):
    """Zero each unit with probability p and scale the survivors by 1 / (1 - p)."""

    source = Paper("Srivastava et al.", 2014, "https://jmlr.org/papers/v15/srivastava14a.html")
    p: Strength = knob(0.0, 0.8, off=0.0, maximum=0.99, unit="probability", doc="share of units dropped")

    def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to h * keep / (1 - p), keep 1 with probability 1 - p for each entry, else 0."""
        keep = ctx.uniform(h) >= self.p
        return h * (keep / (1 - self.p))


@regularizer
class GaussianNoise(Activation):
    """Add Gaussian noise to hidden activations: h + sigma * e, e standard normal."""

    source = Paper("Poole et al.", 2014, "https://arxiv.org/abs/1406.1831")
    sigma: Strength = knob(0.0, 1.0, off=0.0, maximum=INFINITY, unit="units of the activation", doc="noise level")

    def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to h + sigma * e, e standard normal for each entry."""
        return h + self.sigma * ctx.normal(h)


@regularizer
class StochasticDepth(Activation):
    """Skip the residual branch of a row with probability depth * p, and scale what is kept by 1 / (1 - depth * p).

    It acts where the model holds `Site("residual")`; depth grows linearly from 1/n at the first of n branches to 1 at
    the last, as in the paper. The paper scales in evaluation instead, which is the same in the mean.
    """

    marker = "residual"
    source = Paper("Huang et al.", 2016, "https://arxiv.org/abs/1603.09382")
    p: Strength = knob(0.0, 0.8, off=0.0, maximum=0.99, unit="probability", doc="share of rows that skip the last")

    def activation(self, h: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map h [B, F...] to h * keep / (1 - q), q = depth * p, keep 1 with probability 1 - q for each row, else 0."""
        p = ctx.depth * self.p
        one_per_row = h.flatten(1)[:, 0].view(-1, *[1] * (h.dim() - 1))
        return h * ((ctx.uniform(one_per_row) >= p) / (1 - p))
