"""Site `penalties`: terms added to the training loss. The reported losses never contain them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch

from regsearch.regularizers.base import (
    INFINITY,
    Context,
    Paper,
    Parameter,
    Regularizer,
    Shape,
    Strength,
    knob,
    regularizer,
)


class Penalty(Regularizer):
    """Adds a term to one trial's loss. A rule gives `penalty`; an elementwise one gives `slope` as well.

    With `slope` the term's derivative is added to the flat gradient, and nothing is differentiated. Biases and
    normalization parameters are left out unless the study says `penalize_bias: true`.
    """

    site = "penalties"

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute the term, a scalar, from one trial's parameters."""
        raise NotImplementedError


class ElementwisePenalty(Penalty):
    """A penalty that is a sum over single weights."""

    acts_on = "penalized"

    def slope(self, w: torch.Tensor) -> torch.Tensor:
        """Map w [P], one trial's flat row, to the derivative of the term, [P]."""
        raise NotImplementedError


def sum_of(tensors: Iterable[torch.Tensor]) -> torch.Tensor:
    """Sum all entries of all tensors to a scalar."""
    return torch.stack([each.sum() for each in tensors]).sum()


@regularizer
class L1(ElementwisePenalty):
    """Add strength * sum |w| to the loss; its slope is strength * sign(w).

    With a mean loss 1/(2n) * |y - Xw|^2 this is scikit-learn's `Lasso(alpha=strength)`; with the mean squared error
    1/n * |y - Xw|^2, which regsearch trains, it is `Lasso(alpha=strength / 2)`.
    """

    tracks = ("sparsity", "weight_norm")
    source = Paper("Tibshirani", 1996, "https://doi.org/10.1111/j.2517-6161.1996.tb02080.x")
    strength: Strength = knob(
        1e-6, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss per |w|", doc="λ"
    )

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength * sum |w|, a scalar."""
        return self.strength * sum_of(each.tensor.abs() for each in parameters)

    def slope(self, w: torch.Tensor) -> torch.Tensor:
        """Map w [P] to strength * sign(w)."""
        return self.strength * torch.sign(w)


@regularizer
class L2(ElementwisePenalty):
    """Add strength / 2 * sum w^2 to the loss; its slope is strength * w.

    Not the same as decoupled weight decay. With the mean squared error 1/n * |y - Xw|^2, which regsearch trains, it is
    scikit-learn's `Ridge(alpha=n * strength / 2)`.
    """

    tracks = ("weight_norm",)
    source = Paper("Hoerl and Kennard", 1970, "https://doi.org/10.1080/00401706.1970.10488634")
    strength: Strength = knob(
        1e-6, 1.0, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss per w^2/2", doc="λ"
    )

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength / 2 * sum w^2, a scalar."""
        return self.strength / 2 * sum_of(each.tensor.square() for each in parameters)

    def slope(self, w: torch.Tensor) -> torch.Tensor:
        """Map w [P] to strength * w."""
        return self.strength * w


@regularizer
class ElasticNet(ElementwisePenalty):
    """Add strength * (l1_ratio * sum |w| + (1 - l1_ratio) / 2 * sum w^2) to the loss.

    With the mean squared error 1/n * |y - Xw|^2, which regsearch trains, it is scikit-learn's
    `ElasticNet(alpha=strength / 2, l1_ratio=l1_ratio)`.
    """

    tracks = ("sparsity", "weight_norm")
    source = Paper("Zou and Hastie", 2005, "https://doi.org/10.1111/j.1467-9868.2005.00503.x")
    strength: Strength = knob(1e-6, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss", doc="λ")
    l1_ratio: Shape = knob(0.0, 1.0, default=0.5, unit="share", doc="share of the L1 term")

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength * (l1_ratio * sum |w| + (1 - l1_ratio) / 2 * sum w^2), a scalar."""
        absolute = sum_of(each.tensor.abs() for each in parameters)
        square = sum_of(each.tensor.square() for each in parameters)
        return self.strength * (self.l1_ratio * absolute + (1 - self.l1_ratio) / 2 * square)

    def slope(self, w: torch.Tensor) -> torch.Tensor:
        """Map w [P] to strength * l1_ratio * sign(w) + strength * (1 - l1_ratio) * w."""
        return (self.strength * self.l1_ratio) * torch.sign(w) + (self.strength * (1 - self.l1_ratio)) * w


@regularizer
class GroupLasso(Penalty):
    """Add strength * sum over units o of sqrt(n) * |w_o| to the loss, w_o the n incoming weights of unit o.

    It drives whole units to zero together. A bias that is penalized is a group of its own.
    """

    acts_on = "penalized"
    tracks = ("sparsity", "weight_norm")
    source = Paper("Yuan and Lin", 2006, "https://doi.org/10.1111/j.1467-9868.2005.00532.x")
    strength: Strength = knob(1e-6, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss", doc="λ")

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength * sum over units o of sqrt(n) * |w_o|, a scalar."""
        some = [each.tensor for each in parameters if each.tensor.numel()]
        groups = (w.reshape(w.shape[:1].numel(), -1) for w in some)
        return self.strength * sum_of(torch.linalg.vector_norm(w, dim=1) * math.sqrt(w.shape[1]) for w in groups)


@regularizer
class Orthogonality(Penalty):
    """Add strength * sum of |W W^T - I|^2 (squared entries) to the loss, W [O, I] each weight tensor as a matrix.

    Where a layer has more units than inputs it is |W^T W - I|^2, which is less work, less by the constant O - I, and of
    the same slope. Biases and scales have no say, whatever `penalize_bias` is.
    """

    acts_on = "weights"
    source = Paper("Bansal et al.", 2018, "https://arxiv.org/abs/1810.09102")
    strength: Strength = knob(1e-6, 1e-1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss", doc="λ")

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength * sum of |W W^T - I|^2, or of |W^T W - I|^2 where that is smaller, a scalar."""
        matrices = (each.tensor.flatten(1) for each in parameters if each.role == "weight")
        return self.strength * sum_of(_excess(w).square() for w in matrices)


@regularizer
class Jacobian(Penalty):
    """Add strength / 2 * C * mean over rows of |J^T v|^2 to the loss, J [C, F] the derivative of a row's outputs.

    v is a random direction of unit length in the C outputs, one per row and step, so that in the mean over directions
    the term is strength / 2 * |J|^2 (squared entries). J is that of the model in evaluation mode. Needs rows of
    numbers, and layers with second derivatives.
    """

    needs_numbers = True
    source = Paper("Hoffman et al.", 2019, "https://arxiv.org/abs/1908.02729")
    strength: Strength = knob(1e-4, 1e1, off=0.0, log=True, minimum=0.0, maximum=INFINITY, unit="loss", doc="λ")

    def penalty(self, parameters: Sequence[Parameter], ctx: Context) -> torch.Tensor:
        """Compute strength / 2 * C * mean over rows of |J^T v|^2, a scalar; J^T v by one pull-back of v [B, C]."""
        out, pull_back, *_ = torch.func.vjp(ctx.forward, ctx.x)
        direction = ctx.normal(out).flatten(1)
        direction = direction * torch.rsqrt(direction.square().sum(1, keepdim=True))
        slope: torch.Tensor = pull_back(direction.view(out.shape))[0]
        return self.strength / 2 * direction.shape[1] * slope.flatten(1).square().sum(1).mean()


def _excess(w: torch.Tensor) -> torch.Tensor:
    """The smaller Gram matrix of w [O, I] less the identity."""
    gram = w @ w.T if w.shape[0] <= w.shape[1] else w.T @ w
    return gram - torch.eye(gram.shape[0], dtype=w.dtype, device=w.device)
