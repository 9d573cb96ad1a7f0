"""How a stock module is lifted into a pack: where its sites are, and layers that need a form of their own.

Legend: B batch, F features. A pack's model is a copy of the user's module; its parameters and buffers keep their names.
"""

from __future__ import annotations

import copy
from collections.abc import Callable

import torch
from torch import nn

from regsearch.errors import UserError

ACTIVATIONS = (nn.ReLU, nn.Tanh, nn.GELU, nn.SiLU, nn.ELU, nn.LeakyReLU, nn.Sigmoid)
DROPOUTS = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d, nn.AlphaDropout)
Effect = Callable[[torch.Tensor, float], torch.Tensor]


class Site(nn.Module):
    """A marker for a user's model: rules of the site `activations` act on what passes through it."""

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        return h


class PackedBatchNorm(nn.Module):
    """Batch normalization whose statistics are handed back rather than written in place.

    In training (h - mean) / sqrt(var + eps) * weight + bias with the batch's mean and biased variance, running
    statistics moving by `momentum` towards the mean and the unbiased variance, as in `torch.nn.BatchNorm1d`.
    """

    def __init__(self, stock: nn.modules.batchnorm._BatchNorm) -> None:
        super().__init__()
        if not stock.track_running_stats or stock.momentum is None:
            raise UserError("BatchNorm needs running statistics and a momentum to train packed", key="model")
        self.weight, self.bias = stock.weight, stock.bias
        self.running_mean: torch.Tensor
        self.running_var: torch.Tensor
        self.register_buffer("running_mean", stock.running_mean)
        self.register_buffer("running_var", stock.running_var)
        self.momentum, self.eps = float(stock.momentum), stock.eps
        self.fresh: dict[str, torch.Tensor] = {}

    def forward(self, h: torch.Tensor) -> torch.Tensor:
        over = (0, *range(2, h.dim()))
        shape = (1, -1) + (1,) * (h.dim() - 2)
        if self.training:
            mean = h.mean(over)
            centred = h - mean.view(shape)
            var = centred.square().mean(over)
            rows = h.numel() // h.shape[1]
            keep, move = 1 - self.momentum, self.momentum
            self.fresh = {
                "running_mean": keep * self.running_mean + move * mean.detach(),
                "running_var": keep * self.running_var + (move * rows / max(rows - 1, 1)) * var.detach(),
            }
        else:
            centred, var = h - self.running_mean.view(shape), self.running_var
        h = centred * torch.rsqrt(var + self.eps).view(shape)
        if self.weight is not None:
            h = h * self.weight.view(shape) + self.bias.view(shape)
        return h


class Lifted(nn.Module):
    """A copy of a stock module whose activation sites call `effect` and whose BatchNorm layers are packed ones.

    Sites are the module's dropout layers; without any, its `Site` markers; without any, its activation layers. The
    dropout
    layers themselves become identities: `effect` is called with the author's rate.
    """

    def __init__(self, stock: nn.Module) -> None:
        super().__init__()
        self.stock = _replace_batch_norm(copy.deepcopy(stock))
        self.effect: Effect | None = None
        found = _sites(self.stock)
        self.sites = len(found)
        for each in found:
            rate = float(each.p) if isinstance(each, DROPOUTS) else 0.0
            if isinstance(each, DROPOUTS):
                each.p = 0.0
            each.register_forward_hook(lambda _module, _args, h, rate=rate: self._at_site(h, rate))

    def _at_site(self, h: torch.Tensor, rate: float) -> torch.Tensor:
        return h if self.effect is None else self.effect(h, rate)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out: torch.Tensor = self.stock(x)
        return out

    def fresh_buffers(self) -> dict[str, torch.Tensor]:
        """The statistics of the last forward pass in training, by the buffer's name."""
        named = ((prefix, part) for prefix, part in self.named_modules() if isinstance(part, PackedBatchNorm))
        return {f"{prefix}.{name}": value for prefix, part in named for name, value in part.fresh.items()}


def _replace_batch_norm(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.modules.batchnorm._BatchNorm):
        return PackedBatchNorm(module)
    for name, part in module.named_children():
        setattr(module, name, _replace_batch_norm(part))
    return module


def _sites(module: nn.Module) -> list[nn.Module]:
    for kinds in (DROPOUTS, (Site,), ACTIVATIONS):
        found: list[nn.Module] = [part for part in module.modules() if isinstance(part, kinds)]
        if found:
            return found
    return []
