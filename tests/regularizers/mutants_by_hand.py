"""The mistakes that people make in each rule: a forgotten scale, a wrong axis, a term left out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from regsearch.regularizers.batches import _box, _partners, _smaller_share
from regsearch.regularizers.loops import SWA
from regsearch.regularizers.penalties import Jacobian, sum_of

Methods = dict[str, Callable[..., Any]]


def _share_of_the_box_before_it_is_cut_off(self: Any, x: Any, y: Any, ctx: Any) -> Any:
    on = ctx.uniform(x.flatten()[0]) < self.p
    partner = _partners(x, ctx)
    small = _smaller_share(self.alpha, x, ctx)
    area = torch.where(ctx.uniform(small) < 0.5, small, 1 - small)
    inside = on & _box(torch.sqrt(area), ctx.uniform(x.flatten()[:2]), x.shape[-2:])
    return torch.where(inside, x[partner], x), y + torch.where(on, area, 0.0) * (y[partner] - y)


def _one_box_for_all_rows(self: Any, x: Any, y: Any, ctx: Any) -> Any:
    return torch.where(_box(self.side, ctx.uniform(x.flatten(1)[:, :2])[0], x.shape[-2:]), 0.0, x), y


def _targets_not_mixed(self: Any, x: Any, y: Any, ctx: Any) -> Any:
    partner = _partners(x, ctx)
    return x + _smaller_share(self.alpha, x, ctx) * (x[partner] - x), y


def _neighbour_in_the_batch(self: Any, x: Any, y: Any, ctx: Any) -> Any:
    _partners(x, ctx)
    share = _smaller_share(self.alpha, x, ctx)
    return x + share * (x.roll(1, 0) - x), y + share * (y.roll(1, 0) - y)


def _normalized_over_the_batch(self: Any, h: Any, ctx: Any) -> Any:
    return (1 - self.gate) * h + self.gate * (h - h.mean(0)) * torch.rsqrt(h.var(0, unbiased=False) + 1e-5)


def _normalized_by_unbiased_variance(self: Any, h: Any, ctx: Any) -> Any:
    centred = h - h.mean(1, keepdim=True)
    return (1 - self.gate) * h + self.gate * centred * torch.rsqrt(h.var(1, keepdim=True) + 1e-5)


def _normalized_by_units(moments: Callable[..., Any]) -> Callable[..., Any]:
    def normalize(self: Any, h: Any, ctx: Any) -> Any:
        mean, variance = moments(h, *ctx.moments(h))
        return (1 - self.gate) * h + self.gate * (h - mean) * torch.rsqrt(variance + 1e-5)

    return normalize


def _orthogonality(term: Callable[[torch.Tensor], torch.Tensor]) -> Callable[..., Any]:
    def penalty(self: Any, parameters: Any, ctx: Any) -> Any:
        weights = [each.tensor.flatten(1) for each in parameters if each.role == "weight"]
        return self.strength * sum_of(term(w @ w.T) for w in weights)

    return penalty


def _best_of_the_epochs_since(self: Any, state: Any, w: Any, report: Any) -> Any:
    """The best loss follows the last one, so that a slow decline never counts as waiting."""
    improved = report["val_loss"] < state["best"] - self.min_delta
    waited = torch.where(improved, 0.0, state["waited"] + 1)
    fresh = {"best": report["val_loss"], "waited": waited, "epoch": report["epoch"], "weights": w}
    return fresh, waited <= self.patience


def _group_lasso(scale: Callable[[torch.Tensor], float], axis: int) -> Callable[..., Any]:
    def penalty(self: Any, parameters: Any, ctx: Any) -> Any:
        weights = [each.tensor.flatten(1) for each in parameters if each.role == "weight"]
        return self.strength * sum_of(torch.linalg.vector_norm(w, dim=axis) * scale(w) for w in weights)

    return penalty


def _dropped(method: str, after: Callable[[Any, Any, torch.Tensor], torch.Tensor]) -> Methods:
    """A dropout rule's method whose mask is right and what follows is not."""
    return {method: lambda self, h, ctx: after(self, h, ctx.uniform(h))}


def _kept_rows(h: Any, p: Any, ctx: Any) -> torch.Tensor:
    return ctx.uniform(h.flatten(1)[:, 0].view(-1, *[1] * (h.dim() - 1))) >= p


def _skipped(scale: Callable[[Any, Any], torch.Tensor]) -> Callable[..., Any]:
    def activation(self: Any, h: Any, ctx: Any) -> Any:
        p = ctx.depth * self.p
        return h * scale(p, _kept_rows(h, p, ctx))

    return activation


def _jacobian(direction: Callable[[torch.Tensor], torch.Tensor], outputs: float) -> Callable[..., Any]:
    def penalty(self: Any, parameters: Any, ctx: Any) -> Any:
        out, pull_back, *_ = torch.func.vjp(ctx.forward, ctx.x)
        v = ctx.normal(out)
        (slope,) = pull_back(direction(v / v.norm(dim=1, keepdim=True)))
        return self.strength / 2 * outputs * slope.flatten(1).square().sum(1).mean()

    return penalty


def _clipped_whole(self: Any, g: Any, w: Any, ctx: Any) -> Any:
    return g.tensor * torch.clamp(self.clip * w.norm().clamp(min=1e-3) / (g.tensor.norm() + 1e-6), max=1.0)


def _clip_each(self: Any, g: Any, w: Any, ctx: Any) -> Any:
    return torch.minimum(g, torch.as_tensor(self.limit))


def _max_norm(axis: int) -> Callable[..., Any]:
    def project(self: Any, w: Any, learning_rate: Any) -> Any:
        norm = torch.linalg.vector_norm(w, dim=axis, keepdim=True).clamp(min=1e-30)
        return w * torch.clamp(self.max_norm / norm, max=1.0)

    return project


BY_HAND: dict[str, dict[str, Methods]] = {
    "mix_up": {
        "targets_not_mixed": {"batch": _targets_not_mixed},
        "neighbour_in_the_batch": {"batch": _neighbour_in_the_batch},
    },
    "cut_mix": {"share_before_it_is_cut_off": {"batch": _share_of_the_box_before_it_is_cut_off}},
    "cutout": {"one_box_for_all_rows": {"batch": _one_box_for_all_rows}},
    "input_noise": {
        "multiplied": {"batch": lambda self, x, y, ctx: (x * (1 + self.sigma * ctx.normal(x)), y)},
        "uniform": {"batch": lambda self, x, y, ctx: (x + self.sigma * (ctx.uniform(x) - 0.5), y)},
    },
    "label_smoothing": {
        "other_classes_only": {
            "target": lambda self, y, ctx: (1 - self.epsilon) * y + self.epsilon * (1 - y) / (y.shape[-1] - 1)
        },
        "mass_lost": {"target": lambda self, y, ctx: (1 - self.epsilon) * y},
    },
    "drop_connect": {
        "scale_missing": _dropped("weight", lambda self, w, u: w * (u >= self.p)),
        "keeps_what_it_drops": _dropped("weight", lambda self, w, u: w * ((u < self.p) / (1 - self.p))),
        "whole_units": _dropped("weight", lambda self, w, u: w * ((u[:, :1] >= self.p) / (1 - self.p))),
    },
    "weight_noise": {"multiplied": {"weight": lambda self, w, ctx: w * (1 + self.sigma * ctx.normal(w))}},
    "batch_norm": {
        "of_the_batch_in_evaluation": {
            "normalize": _normalized_by_units(lambda h, _m, _v: (h.mean(0), h.var(0, unbiased=False)))
        },
        "not_centred": {"normalize": _normalized_by_units(lambda h, m, v: (0 * m, v))},
        "mean_square_for_variance": {"normalize": _normalized_by_units(lambda h, m, v: (m, v + m * m))},
    },
    "layer_norm": {
        "over_the_batch": {"normalize": _normalized_over_the_batch},
        "unbiased_variance": {"normalize": _normalized_by_unbiased_variance},
    },
    "dropout": {
        "scale_missing": _dropped("activation", lambda self, h, u: h * (u >= self.p)),
        "scaled_by_p": _dropped("activation", lambda self, h, u: h * ((u >= self.p) / self.p)),
        "one_mask_for_all_rows": _dropped("activation", lambda self, h, u: h * ((u[:1] >= self.p) / (1 - self.p))),
    },
    "gaussian_noise": {"multiplied": {"activation": lambda self, h, ctx: h * (1 + self.sigma * ctx.normal(h))}},
    "stochastic_depth": {
        "scale_missing": {"activation": _skipped(lambda p, keep: keep)},
        "same_at_every_depth": {"activation": lambda self, h, ctx: h * _kept_rows(h, self.p, ctx) / (1 - self.p)},
        "single_units": _dropped("activation", lambda self, h, u: h * ((u >= self.p) / (1 - self.p))),
    },
    "l1": {
        "slope_of_l2": {"slope": lambda self, w: self.strength * w},
        "mean": {"slope": lambda self, w: self.strength * torch.sign(w) / len(w)},
        "penalty_doubled": {
            "penalty": lambda self, ps, ctx: 2 * self.strength * sum_of(p.tensor.abs() for p in ps),
        },
    },
    "l2": {
        "half_forgotten": {"slope": lambda self, w: 2 * self.strength * w},
        "penalty_without_half": {
            "penalty": lambda self, ps, ctx: self.strength * sum_of(p.tensor.square() for p in ps),
        },
    },
    "elastic_net": {
        "ratio_swapped": {
            "slope": lambda self, w: self.strength * (self.l1_ratio * w + (1 - self.l1_ratio) * torch.sign(w))
        },
        "l2_part_forgotten": {"slope": lambda self, w: self.strength * self.l1_ratio * torch.sign(w)},
    },
    "group_lasso": {
        "size_forgotten": {"penalty": _group_lasso(lambda w: 1.0, 1)},
        "other_axis": {"penalty": _group_lasso(lambda w: w.shape[0] ** 0.5, 0)},
    },
    "orthogonality": {
        "identity_forgotten": {"penalty": _orthogonality(lambda gram: gram.square())},
        "absolute": {"penalty": _orthogonality(lambda gram: (gram - torch.eye(len(gram))).abs())},
    },
    "jacobian": {
        "half_forgotten": {"penalty": lambda self, ps, ctx: 2 * Jacobian.penalty(self, ps, ctx)},
        "one_direction_for_all_rows": {"penalty": _jacobian(lambda v: v[:1].expand_as(v), 3.0)},
        "outputs_forgotten": {"penalty": _jacobian(lambda v: v, 1.0)},
    },
    "adaptive_clip": {
        "whole_tensor": {"tensor_gradient": _clipped_whole},
        "of_the_gradient": {
            "tensor_gradient": lambda self, g, w, ctx: g.tensor * torch.clamp(self.clip / g.tensor.norm(), max=1.0)
        },
    },
    "clip_by_norm": {
        "always_scaled": {"gradient": lambda self, g, w, ctx: g * self.max_norm / torch.linalg.vector_norm(g)},
        "largest_entry": {"gradient": lambda self, g, w, ctx: g * torch.clamp(self.max_norm / g.abs().max(), max=1.0)},
        "of_the_weights": {
            "gradient": lambda self, g, w, ctx: g * torch.clamp(self.max_norm / torch.linalg.vector_norm(w), max=1.0)
        },
    },
    "clip_by_value": {"one_side": {"gradient": _clip_each}},
    "gradient_noise": {"multiplied": {"gradient": lambda self, g, w, ctx: g * (1 + self.sigma * ctx.normal(g))}},
    "weight_decay": {
        "without_learning_rate": {"decay": lambda self, w, learning_rate: w * (1 - self.strength / 100)},
        "subtracts_the_sign": {
            "decay": lambda self, w, learning_rate: w - learning_rate * self.strength * torch.sign(w)
        },
    },
    "proximal_l1": {
        "without_learning_rate": {
            "project": lambda self, w, learning_rate: w.sign() * torch.clamp(w.abs() - self.strength, min=0.0)
        },
        "hard_threshold": {
            "project": lambda self, w, learning_rate: torch.where(w.abs() > learning_rate * self.strength, w, 0.0)
        },
    },
    "max_norm": {
        "outgoing_weights": {"project": _max_norm(0)},
        "whole_tensor": {"project": _max_norm((0, 1))},  # type: ignore[arg-type]
    },
    "ema": {
        "no_warm_up": {
            "after_step": lambda self, state, w: {
                "average": self.decay * state["average"] + (1 - self.decay) * w,
                "steps": state["steps"],
            }
        },
        "measures_the_weights": {"averaged": lambda self, state, w: w},
    },
    "swa": {
        "counts_every_epoch": {"after_epoch": lambda self, state, w, done: SWA.after_epoch(self, state, w, done + 1)},
        "measures_the_weights": {"averaged": lambda self, state, w: w},
    },
    "early_stopping": {
        "keeps_the_last_weights": {"weights": lambda self, state, w: w},
        "compares_with_the_last_epoch": {"observe": _best_of_the_epochs_since},
    },
}
