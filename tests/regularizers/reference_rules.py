"""Each rule as stock torch spells it, for the reference's training loop. Legend: B batch, F features, C classes."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from tests.regularizers.numbers import Numbers
from tests.regularizers.reference_loops import EMA, SWA, EarlyStopping
from tests.regularizers.reference_plain import Named, Plain

NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.LayerNorm, nn.GroupNorm)


class MixUp(Plain):
    def share(self, alpha: float) -> float:
        """min(r, 1 - r), r ~ Beta(alpha, alpha), in double precision."""
        u, v = (float(self.draw.uniform()) for _ in range(2))
        q = 0.0 if u == 0 or alpha == 0 else u ** (1 / alpha)
        c = math.cos(2 * math.pi * v) ** 2
        return (1 - math.sqrt((1 - q) * c / (q + (1 - q) * c))) / 2

    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        partner = self.draw.uniform(len(x)).sort(stable=True).indices
        share = self.share(self.k["alpha"])
        return torch.lerp(x, x[partner], share), torch.lerp(y, y[partner], share)


def interval(side: float, centre: float, length: int) -> slice:
    """round(side * length) places around a centre in [0, 1), cut off at the ends."""
    width = math.floor(side * length + 0.5)
    first = math.floor(centre * length) - width // 2
    return slice(max(first, 0), max(first + width, 0))


class CutMix(MixUp):
    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        on = float(self.draw.uniform()) < self.k["p"]
        partner = self.draw.uniform(len(x)).sort(stable=True).indices
        small = self.share(self.k["alpha"])
        area = small if float(self.draw.uniform()) < 0.5 else 1 - small
        lengths = x.shape[-2:] if x.dim() > 2 else x.shape[-1:]
        centres = self.draw.uniform(len(lengths)).tolist()
        box = [interval(area ** (1 / len(lengths)), at, n) for at, n in zip(centres, lengths, strict=True)]
        if not on:
            return x, y
        mixed = x.clone()
        mixed[..., *box] = x[partner][..., *box]
        kept = torch.ones(lengths)
        kept[tuple(box)] = 0
        return mixed, torch.lerp(y, y[partner], 1 - kept.mean())


class Cutout(Plain):
    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        lengths = x.shape[-2:] if x.dim() > 2 else x.shape[-1:]
        cut = x.clone()
        for row, centres in zip(cut, self.draw.uniform(len(x), len(lengths)).tolist(), strict=True):
            box = [interval(self.k["side"], at, n) for at, n in zip(centres, lengths, strict=True)]
            row[..., *box] = 0
        return cut, y


class InputNoise(Plain):
    def batch(self, x: torch.Tensor, y: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.add(x, self.draw.normal(*x.shape), alpha=self.k["sigma"]), y


class LabelSmoothing(Plain):
    @property
    def smoothing(self) -> float:  # type: ignore[override]
        return self.k["epsilon"]


class DropConnect(Plain):
    def weight(self, w: torch.Tensor) -> torch.Tensor:
        return w.masked_fill(self.draw.uniform(*w.shape) < self.k["p"], 0) / (1 - self.k["p"])


class WeightNoise(Plain):
    def weight(self, w: torch.Tensor) -> torch.Tensor:
        return torch.add(w, self.draw.normal(*w.shape), alpha=self.k["sigma"])


class BatchNorm(Plain):
    """A stock layer inside each site's module, so that what averages or keeps the module takes its statistics along."""

    def __init__(self, k: Mapping[str, float], draw: Numbers, start: Any) -> None:
        super().__init__(k, draw, start)
        for name in start.sites:
            start.module.get_submodule(name).gated = nn.LazyBatchNorm1d(affine=False)
        at_sites = [start.module.get_submodule(name).register_forward_hook(self._built) for name in start.sites]
        start.module.eval()(start.data.train_x[:2])
        for each in at_sites:
            each.remove()

    def _built(self, site: nn.Module, _: Any, h: torch.Tensor) -> None:
        self._by_unit(site, h)

    @staticmethod
    def _by_unit(site: nn.Module, h: torch.Tensor) -> torch.Tensor:
        if h.dim() == 4:  # pictures: units along axis 1
            return site.gated(h.flatten(2)).view_as(h)
        return site.gated(h) if h.dim() == 2 else site.gated(h.transpose(1, 2)).transpose(1, 2)

    def normalize(self, h: torch.Tensor, site: nn.Module) -> torch.Tensor:
        return torch.lerp(h, self._by_unit(site, h), self.k["gate"])


class LayerNorm(Plain):
    def normalize(self, h: torch.Tensor, site: nn.Module) -> torch.Tensor:
        return torch.lerp(h, F.layer_norm(h, h.shape[1:], eps=1e-5), self.k["gate"])


class Dropout(Plain):
    def hidden(self, h: torch.Tensor) -> torch.Tensor:
        return h.masked_fill(self.draw.uniform(*h.shape) < self.k["p"], 0) / (1 - self.k["p"])


class GaussianNoise(Plain):
    def hidden(self, h: torch.Tensor) -> torch.Tensor:
        return torch.add(h, self.draw.normal(*h.shape), alpha=self.k["sigma"])


class StochasticDepth(Plain):
    def branch(self, h: torch.Tensor, depth: float) -> torch.Tensor:
        p = depth * self.k["p"]
        kept = self.draw.uniform(len(h)) >= p
        # Not zeros_like: a parameter without a gradient is one that stock optimizers leave alone.
        return torch.stack([row / (1 - p) if keep else 0 * row for row, keep in zip(h, kept, strict=True)])


class L1(Plain):
    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor:
        return self.k["strength"] * sum(w.norm(1) for w in weights)


class L2(Plain):
    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor:
        return self.k["strength"] / 2 * sum(w.norm() ** 2 for w in weights)


class ElasticNet(Plain):
    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor:
        ratio = self.k["l1_ratio"]
        return self.k["strength"] * sum(ratio * w.norm(1) + (1 - ratio) / 2 * w.norm() ** 2 for w in weights)


class GroupLasso(Plain):
    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor:
        units = [unit.reshape(-1) for w in weights for unit in w]
        return self.k["strength"] * sum(math.sqrt(len(unit)) * unit.norm() for unit in units)


class Orthogonality(Plain):
    def penalty(self, weights: list[torch.Tensor]) -> torch.Tensor:
        matrices = [w.flatten(1) for w in weights if w.dim() > 1]
        flat = [w if w.shape[0] <= w.shape[1] else w.T for w in matrices]
        return self.k["strength"] * sum(F.mse_loss(w @ w.T, torch.eye(len(w)), reduction="sum") for w in flat)


class Jacobian(Plain):
    def slope_penalty(self, model: nn.Module, x: torch.Tensor) -> torch.Tensor:
        model.eval()
        x = x.clone().requires_grad_()
        with sdpa_kernel(SDPBackend.MATH):  # the fused attention has no second derivative
            out = model(x)
        model.train()
        direction = F.normalize(self.draw.normal(*out.shape), dim=1)
        (slope,) = torch.autograd.grad(out, x, direction, create_graph=True)
        return self.k["strength"] / 2 * out.shape[1] * slope.flatten(1).norm(dim=1).square().mean()


class AdaptiveClip(Plain):
    def gradients(self, named: Named) -> None:
        for name, tensor in named.items():
            assert tensor.grad is not None
            unit = is_weight(self.start.module, name) and tensor.dim() > 1
            for g, w in zip(tensor.grad, tensor.detach(), strict=True) if unit else [(tensor.grad, tensor.detach())]:
                longest = self.k["clip"] * max(float(w.norm()), 1e-3)
                g.mul_(min(1.0, longest / (float(g.norm()) + 1e-6)))


class ClipByNorm(Plain):
    def gradients(self, named: Named) -> None:
        nn.utils.clip_grad_norm_(list(named.values()), self.k["max_norm"])


class ClipByValue(Plain):
    def gradients(self, named: Named) -> None:
        nn.utils.clip_grad_value_(list(named.values()), self.k["limit"])


class GradientNoise(Plain):
    def gradients(self, named: Named) -> None:
        noise = self.draw.normal(self.start.row)
        for name, tensor in named.items():
            own = noise[self.start.offsets[name] :][: tensor.numel()]
            assert tensor.grad is not None
            tensor.grad.add_(own.view_as(tensor), alpha=self.k["sigma"])


class WeightDecay(Plain):
    @property
    def decoupled(self) -> float:  # type: ignore[override]
        return self.k["strength"]


class ProximalL1(Plain):
    def project(self, weights: list[torch.Tensor], learning_rate: float) -> None:
        for w in weights:
            w.copy_(F.softshrink(w, learning_rate * self.k["strength"]))


class MaxNorm(Plain):
    def project(self, weights: list[torch.Tensor], learning_rate: float) -> None:
        for w in weights:
            w.copy_(torch.renorm(w, p=2, dim=0, maxnorm=self.k["max_norm"]))


REFERENCES: dict[str, Callable[..., Plain]] = {
    "mix_up": MixUp,
    "cut_mix": CutMix,
    "cutout": Cutout,
    "input_noise": InputNoise,
    "label_smoothing": LabelSmoothing,
    "drop_connect": DropConnect,
    "weight_noise": WeightNoise,
    "batch_norm": BatchNorm,
    "layer_norm": LayerNorm,
    "dropout": Dropout,
    "gaussian_noise": GaussianNoise,
    "stochastic_depth": StochasticDepth,
    "l1": L1,
    "l2": L2,
    "elastic_net": ElasticNet,
    "group_lasso": GroupLasso,
    "orthogonality": Orthogonality,
    "jacobian": Jacobian,
    "clip_by_norm": ClipByNorm,
    "clip_by_value": ClipByValue,
    "adaptive_clip": AdaptiveClip,
    "gradient_noise": GradientNoise,
    "weight_decay": WeightDecay,
    "proximal_l1": ProximalL1,
    "max_norm": MaxNorm,
    "ema": EMA,
    "swa": SWA,
    "early_stopping": EarlyStopping,
}


def is_weight(model: nn.Module, name: str) -> bool:
    owner = model.get_submodule(name.rpartition(".")[0])
    return not isinstance(owner, NORMS) and not name.rpartition(".")[2].startswith("bias")
