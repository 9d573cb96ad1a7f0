"""Site `decay`: rules that shrink the weights just before the optimizer's step, apart from the gradient."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Paper, Regularizer, Strength, knob, regularizer


class Decay(Regularizer):
    """Acts on one trial's weights (not on biases and normalization unless the study says `penalize_bias: true`)."""

    site = "decay"
    acts_on = "penalized"

    def decay(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Map w [P], one trial's flat row, and its learning rate, to the weights that the step starts from."""
        raise NotImplementedError


@regularizer
class WeightDecay(Decay):
    """Shrink the weights by learning_rate * strength in each step: w * (1 - learning_rate * strength).

    Decoupled from the gradient, as in `torch.optim.AdamW`; for adaptive optimizers it is not the same as L2.
    """

    tracks = ("weight_norm",)
    source = Paper("Loshchilov and Hutter", 2019, "https://arxiv.org/abs/1711.05101")
    strength: Strength = knob(
        1e-4, 1e1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="per unit of learning rate", doc="λ"
    )

    def decay(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Map w [P] to w * (1 - learning_rate * strength)."""
        return w * (1 - learning_rate * self.strength)
