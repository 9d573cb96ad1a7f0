"""Site `batches`: rules that change the rows of a batch before the forward pass."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Context, Paper, Regularizer, Strength, knob, regularizer


class Batch(Regularizer):
    """Acts on one batch of one trial, in training only."""

    site = "batches"

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        """x [B, F...], y [B, C] to the batch that is trained on, same shapes."""
        raise NotImplementedError


@regularizer
class InputNoise(Batch):
    """Add Gaussian noise to the inputs: x + sigma * e, e standard normal.

    To first order the same as a penalty on the Jacobian of the network (Tikhonov).
    """

    source = Paper("Bishop", 1995, "https://doi.org/10.1162/neco.1995.7.1.108")
    sigma: Strength = knob(
        0.0, 1.0, off=0.0, minimum=0.0, maximum=INFINITY, unit="standard deviations of the input", doc="noise level"
    )

    def batch(self, x: torch.Tensor, y: torch.Tensor, ctx: Context) -> tuple[torch.Tensor, torch.Tensor]:
        return x + self.sigma * ctx.normal(x), y
