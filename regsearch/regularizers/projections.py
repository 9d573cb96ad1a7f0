"""Site `projections`: rules that bring the weights back into a set just after the optimizer's step."""

from __future__ import annotations

import torch

from regsearch.regularizers.base import INFINITY, Paper, Regularizer, Strength, knob, regularizer


class Projection(Regularizer):
    """Acts on each weight tensor of one trial (not on biases and normalization)."""

    site = "projections"
    acts_on = "weights"

    def project(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Map w [O, I...], units along axis 0, and the learning rate, to the projected weights."""
        raise NotImplementedError


@regularizer
class ProximalL1(Projection):
    """Soft-threshold the weights after each step: sign(w) * max(|w| - learning_rate * strength, 0).

    The proximal step of the L1 penalty: it reaches exact zeros, which the subgradient of `l1` does not.
    """

    tracks = ("sparsity", "weight_norm")
    source = Paper("Beck and Teboulle", 2009, "https://doi.org/10.1137/080716542")
    strength: Strength = knob(
        1e-6, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss per |w|", doc="λ"
    )

    def project(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Map w [O, I...] to sign(w) * max(|w| - learning_rate * strength, 0)."""
        threshold = learning_rate * self.strength
        return w - torch.minimum(torch.maximum(w, -threshold), threshold)


@regularizer
class MaxNorm(Projection):
    """Scale each unit's incoming weights down to the norm max_norm where they are longer.

    For each row w_o of the weight tensor: w_o * min(1, max_norm / |w_o|).
    """

    tracks = ("weight_norm",)
    source = Paper("Srebro et al.", 2005, "https://papers.nips.cc/paper/2655-maximum-margin-matrix-factorization")
    max_norm: Strength = knob(
        0.5, 8.0, off=INFINITY, log=True, minimum=0.0, maximum=INFINITY, unit="weight norm", doc="longest row"
    )

    def project(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        """Map w [O, I...] to w_o * min(1, max_norm / |w_o|) for each unit o."""
        norm = torch.linalg.vector_norm(w, dim=tuple(range(1, w.dim())), keepdim=True)
        # A row of zeros would make 0 / 0 at max_norm 0.
        scale = torch.clamp(self.max_norm / torch.clamp(norm, min=torch.finfo(w.dtype).tiny), max=1.0)
        return w * scale
