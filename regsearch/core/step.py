"""One training step of one trial: every site, in order, on one screen. `vmap` lifts it over the trials of a pack.

Legend: B batch, C classes, F features, P floats of the flat row.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any

import torch
from torch.func import functional_call, grad

from regsearch.core.diagnostics import watched_in_steps
from regsearch.core.effects import Effects, Rules, moment_names
from regsearch.core.layout import Layout
from regsearch.core.lifted_module import Lifted
from regsearch.core.optim import Optimizer
from regsearch.core.rng import StepContext
from regsearch.regularizers.activations import Dropout
from regsearch.regularizers.base import Regularizer
from regsearch.regularizers.gradients import TensorGradient
from regsearch.regularizers.penalties import ElementwisePenalty
from regsearch.space import knob_of
from regsearch.tasks import Task

Tensors = dict[str, torch.Tensor]
FROZEN = "frozen"
"""The buffer that holds a trial's frozen parameters, as a row: rows of a pack are aligned, whatever their shapes."""


class Step:
    """The step of one trial under the rules of one study.

    Args:
        model: the lifted module.
        layout: where its parameters lie.
        rules: the regularizer classes of the study's space, whatever this trial turns on.
        task, optimizer: what is minimised, and how.
        layers: for each strength that has a number for each layer, by its flat name, those layers.
        precision: `bfloat16` for products of that type in the forward pass of training and its way back.
    """

    def __init__(
        self,
        model: Lifted,
        layout: Layout,
        rules: tuple[type[Regularizer], ...],
        task: Task,
        optimizer: Optimizer,
        layers: Mapping[str, tuple[str, ...]],
        precision: str = "float32",
    ) -> None:
        self.model, self.layout, self.rules, self.task, self.optimizer = model, layout, rules, task, optimizer
        self.scales, self.layers = optimizer.scale_names(), layers
        self.watched = watched_in_steps(rules)
        self.serial, self.halved = False, precision == "bfloat16"

    def __call__(
        self,
        w: torch.Tensor,
        state: Tensors,
        buffers: Tensors,
        x: torch.Tensor,
        y: torch.Tensor,
        knobs: Tensors,
        key: torch.Tensor,
        scale: torch.Tensor,
        learning_rate: torch.Tensor,
    ) -> tuple[torch.Tensor, Tensors, Tensors]:
        """One step: w [P], optimizer state of [P], buffers, x [B, F...], y [B, ...], 0-d knobs, key [2], the
        optimizer's scales [K] to the first three anew.
        """
        g, fresh = self.gradient(w, buffers, x, y, knobs, key)
        w, state = self.update(w, state, g, knobs, key, scale, learning_rate)
        return w, state, buffers | fresh

    def gradient(
        self, w: torch.Tensor, buffers: Tensors, x: torch.Tensor, y: torch.Tensor, knobs: Tensors, key: torch.Tensor
    ) -> tuple[torch.Tensor, Tensors]:
        """w [P], buffers, x [B, F...], y [B, ...], 0-d knobs, key [2] to the gradient [P] and the fresh buffers."""
        ctx = StepContext(key)
        at = self.rules_at(knobs)
        y = self.task.encode(y)
        for rule in at("batches"):
            x, y = rule.batch(x, y, ctx.of(rule.name))
        for rule in at("targets"):
            y = rule.target(y, ctx.of(rule.name))
        slope = self._slopes_by_autograd if self.serial else grad(self._loss, has_aux=True)
        slopes, fresh = slope(self.layout.views(w), buffers, x, y, ctx, at)
        return self.layout.row(slopes), fresh

    def _slopes_by_autograd(self, weights: Tensors, *given: Any) -> tuple[Tensors, Tensors]:
        """As `grad` of the loss, for models that only plain autograd can differentiate."""
        leaves = {name: value.detach().requires_grad_() for name, value in weights.items()}
        with torch.enable_grad():
            total, fresh = self._loss(leaves, *given)
        slopes = torch.autograd.grad(total, list(leaves.values()), materialize_grads=True)
        return dict(zip(leaves, slopes, strict=True)), fresh

    def update(
        self,
        w: torch.Tensor,
        state: Tensors,
        g: torch.Tensor,
        knobs: Tensors,
        key: torch.Tensor,
        scale: torch.Tensor,
        learning_rate: torch.Tensor,
    ) -> tuple[torch.Tensor, Tensors]:
        """w [P], optimizer state of [P], g [P], 0-d knobs, key [2], scales [K], learning rate to (w, state)."""
        ctx = StepContext(key)
        at = self.rules_at(knobs)
        for rule in at("penalties"):
            if isinstance(rule, ElementwisePenalty):
                g = self._penalized(g + self._spread(rule).slope(w), g)
        sums = {name: state[name] for name in self.watched}
        if sums:
            sums["gradient_norm"] = sums["gradient_norm"] + torch.linalg.vector_norm(g)
        clipped = torch.zeros((), dtype=torch.bool)
        for rule in at("gradients"):
            before, g = g, self._changed(rule, g, w, ctx.of(rule.name))
            if "clipped" in rule.tracks:
                clipped = clipped | rule.clipped(before, g)
        if sums:
            sums["clipped"] = sums["clipped"] + clipped
        for rule in at("decay"):
            w = self._penalized(self._spread(rule).decay(w, learning_rate), w)
        w, state = self.optimizer.step(w, g, state, dict(zip(self.scales, scale.unbind(), strict=True)))
        if at("projections"):
            tensors = self.layout.views(w)
            for rule in at("projections"):
                roles = self.layout.parameters(tensors)
                chosen = [(p, self._of_layer(rule, p.name)) for p in roles if p.role == "weight"]
                tensors |= {p.name: own.project(p.tensor, learning_rate) for p, own in chosen}
            w = self.layout.row(tensors)
        return w, state | sums

    def _loss(
        self, weights: Tensors, buffers: Tensors, x: torch.Tensor, y: torch.Tensor, ctx: StepContext, at: Any
    ) -> tuple[torch.Tensor, Tensors]:
        used = dict(weights)
        for rule in at("weights"):
            roles = self.layout.parameters(used)
            chosen = [(p, self._of_layer(rule, p.name)) for p in roles if p.role == "weight"]
            used |= {p.name: own.weight(p.tensor, ctx.of(rule.name)) for p, own in chosen}
        self.model.train()
        effects = Effects(at, buffers, ctx=ctx, measuring=True, dropout_searched=Dropout in self.rules)
        with torch.autocast(x.device.type, torch.bfloat16) if self.halved else nullcontext():
            out, fresh = forward(self.model, used, buffers, x, effects)
        out = out.float() if self.halved else out
        total = self.task.loss(out, y).mean()
        for rule in at("penalties"):
            if not isinstance(rule, ElementwisePenalty):
                own = ctx.of(rule.name)
                own.x, own.forward = x, self._quiet(weights, buffers, at)
                total = total + rule.penalty(self.layout.parameters(weights, penalized_only=True), own)
        return total, fresh

    def _changed(self, rule: Any, g: torch.Tensor, w: torch.Tensor, ctx: StepContext) -> torch.Tensor:
        """The gradient [P] after a rule of site `gradients`; the floats between parameters stay 0."""
        if not isinstance(rule, TensorGradient):
            changed: torch.Tensor = rule.gradient(g, w, ctx)
            return changed if rule.keeps_zeros else self.layout.row(self.layout.views(changed))
        slopes, weights = self.layout.parameters(self.layout.views(g)), self.layout.views(w)
        return self.layout.row({p.name: rule.tensor_gradient(p, weights[p.name], ctx) for p in slopes})

    def _quiet(self, weights: Tensors, buffers: Tensors, at: Any) -> Callable[[torch.Tensor], torch.Tensor]:
        """The model in evaluation mode, as a function of x."""

        def run(x: torch.Tensor) -> torch.Tensor:
            self.model.eval()
            try:
                return forward(self.model, weights, buffers, x, Effects(at, buffers))[0]
            finally:
                self.model.train()

        return run

    def rules_at(self, knobs: Mapping[str, Any]) -> Rules:
        """The trial's rules by site; knobs that are not named keep their defaults."""
        values = dict(knobs)
        return lambda site: [rule.at(values) for rule in self.rules if rule.site == site]

    def _spread(self, rule: Any) -> Any:
        """The rule with its strength as a row [P], where each layer has its own; else the rule."""
        return self._with_strength(rule, lambda strengths, layers: self.layout.spread(strengths, layers))

    def _of_layer(self, rule: Any, name: str) -> Any:
        """The rule with the strength of the layer of the tensor `name`, where each has its own; else the rule."""
        layer = next(e.layer for e in self.layout.entries if e.name == name)
        return self._with_strength(rule, lambda strengths, layers: strengths[layers.index(layer)])

    def _with_strength(self, rule: Any, own: Callable[[torch.Tensor, tuple[str, ...]], torch.Tensor]) -> Any:
        full = rule.strength_knob.name
        if full not in self.layers:
            return rule
        short = knob_of(full)
        return dataclasses.replace(rule, **{short: own(getattr(rule, short), self.layers[full])})

    def _penalized(self, changed: torch.Tensor, row: torch.Tensor) -> torch.Tensor:
        """`changed` where the row [P] holds penalized floats, else the row itself."""
        return torch.where(torch.arange(self.layout.width) < self.layout.penalized, changed, row)


def forward(
    model: Lifted, weights: Tensors, buffers: Tensors, x: torch.Tensor, effects: Effects
) -> tuple[torch.Tensor, Tensors]:
    """The model's output for one trial and, in training, its fresh buffers; leaves no tensor behind in the module."""
    model.effect = effects
    moments = {name for layer in range(len(model.layers)) for name in moment_names(layer)}
    # What the module writes in place, it writes into a copy: an evaluation leaves no trace.
    own = {name: each.clone() if name in model.changing else each for name, each in buffers.items()}
    frozen = model.frozen.views(own.pop(FROZEN)) if FROZEN in own else {}
    used = weights | frozen | {name: each for name, each in own.items() if name not in moments}
    try:
        out = functional_call(model, used, (x,))
        fresh = {name: used[name] for name in model.changing} | model.fresh_buffers() if model.training else {}
    finally:
        model.effect = None
    return out, {name: value.detach() for name, value in (fresh | effects.fresh).items()}
