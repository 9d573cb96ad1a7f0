"""Site `gradients`: rules that change the gradient of the whole loss, before the optimizer sees it."""

from __future__ import annotations

from typing import ClassVar

import torch

from regsearch.regularizers.base import INFINITY, Context, Paper, Parameter, Regularizer, Strength, knob, regularizer


class Gradient(Regularizer):
    """Acts on one trial's whole gradient, all parameters in one row, penalties included."""

    site = "gradients"
    keeps_zeros: ClassVar[bool] = False
    """An entry of 0 always stays 0; says so for speed, since the floats between parameters must stay 0."""

    def gradient(self, g: torch.Tensor, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map g [P] and w [P], one trial's flat rows, to the gradient that the optimizer gets."""
        raise NotImplementedError

    def clipped(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Tell whether the rule changed the gradient [P], `before` to `after`: bool; asked if it tracks `clipped`."""
        return (before != after).any()


class TensorGradient(Gradient):
    """A rule that acts on the gradient of each parameter by itself, and gives `tensor_gradient` instead."""

    def tensor_gradient(self, g: Parameter, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map g, a parameter's gradient with its name and role, and w of the same shape, to its new gradient."""
        raise NotImplementedError


@regularizer
class GradientNoise(Gradient):
    """Add Gaussian noise to the gradient: g + sigma * e, e standard normal."""

    source = Paper("Neelakantan et al.", 2015, "https://arxiv.org/abs/1511.06807")
    sigma: Strength = knob(
        1e-5, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="gradient", doc="noise level"
    )

    def gradient(self, g: torch.Tensor, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Map g [P] to g + sigma * e, e standard normal for each entry."""
        return g + self.sigma * ctx.normal(g)


@regularizer
class ClipByValue(Gradient):
    """Clip each entry of the gradient to [-limit, limit]."""

    keeps_zeros = True
    tracks = ("gradient_norm", "clipped")
    source = Paper("Mikolov", 2012, "https://www.fit.vut.cz/study/phd-thesis/283/")
    limit: Strength = knob(
        1e-3, 1.0, off=INFINITY, log=True, minimum=0.0, maximum=INFINITY, unit="gradient", doc="largest entry"
    )

    def gradient(self, g: torch.Tensor, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Clip g [P]: min(max(g, -limit), limit)."""
        return torch.minimum(torch.maximum(g, torch.as_tensor(-self.limit)), torch.as_tensor(self.limit))


@regularizer
class ClipByNorm(Gradient):
    """Scale the gradient down to the norm max_norm where it is longer: g * min(1, max_norm / (|g| + 1e-6)).

    The norm is over all parameters of the trial, as in `torch.nn.utils.clip_grad_norm_`.
    """

    keeps_zeros = True
    tracks = ("gradient_norm", "clipped")
    source = Paper("Pascanu et al.", 2013, "https://proceedings.mlr.press/v28/pascanu13.html")
    max_norm: Strength = knob(
        1e-1, 1e1, off=INFINITY, log=True, minimum=0.0, maximum=INFINITY, unit="gradient norm", doc="longest gradient"
    )

    def gradient(self, g: torch.Tensor, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Clip g [P]: g * min(1, max_norm / (|g| + 1e-6)), |g| the norm of the row."""
        return g * torch.clamp(self.max_norm / (torch.linalg.vector_norm(g) + 1e-6), max=1.0)

    def clipped(self, before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
        """Tell whether the norm was above the limit: |before| + 1e-6 > max_norm, a bool."""
        # By the norm, which is at hand: comparing all entries costs a tenth of a step.
        return torch.as_tensor(torch.linalg.vector_norm(before) + 1e-6 > self.max_norm)


@regularizer
class AdaptiveClip(TensorGradient):
    """Scale each unit's gradient down where it is long against its weights: g * min(1, clip * max(|w|, 1e-3) / |g|).

    The norms are over the incoming weights of one unit; a bias, and what normalization holds, counts as one unit. The
    paper leaves the last layer out; here every layer is clipped.
    """

    tracks = ("gradient_norm", "clipped")
    source = Paper("Brock et al.", 2021, "https://arxiv.org/abs/2102.06171")
    clip: Strength = knob(
        1e-3, 1.0, off=INFINITY, log=True, minimum=0.0, maximum=INFINITY, unit="|g| / |w|", doc="longest gradient"
    )

    def tensor_gradient(self, g: Parameter, w: torch.Tensor, ctx: Context) -> torch.Tensor:
        """Clip g [O, I...]: g * min(1, clip * max(|w|, 1e-3) / (|g| + 1e-6)), the norms over each unit."""
        over = tuple(range(1 if g.role == "weight" and w.dim() > 1 else 0, w.dim()))
        length, size = (torch.linalg.vector_norm(each, dim=over, keepdim=True) for each in (g.tensor, w))
        return g.tensor * torch.clamp(self.clip * torch.clamp(size, min=1e-3) / (length + 1e-6), max=1.0)
