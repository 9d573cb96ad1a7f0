"""What the rules of one trial do at the sites of its model, in one forward pass.

Legend: B batch, F features, U units.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import torch

from regsearch.core.layout import Tensors
from regsearch.core.rng import StepContext
from regsearch.core.rules import RuleClasses, TrialRules
from regsearch.regularizers.activations import Activation, Dropout
from regsearch.regularizers.base import Context
from regsearch.regularizers.norms import Norm

MOMENTUM = 0.1
"""How far running moments move towards those of a batch, as in `torch.nn.BatchNorm1d`."""


@dataclass(frozen=True)
class Place:
    """Say where in a forward pass an effect acts.

    Args:
        depth: its place among the n places with its marker, in the order of the pass, 1/n to 1.
        layer: its number among the unmarked hidden activations, from 0.
        marker: the name of the model's marker, if it is one.
        rate: the author's dropout rate.
        units: the axis of the units in what passes there.
        hidden: hidden activations, not the weights of an attention.
    """

    depth: float = 1.0
    layer: int = 0
    marker: str | None = None
    rate: float = 0.0
    units: int = 1
    hidden: bool = True


def moment_names(layer: int) -> tuple[str, str]:
    """Name the buffers of the running mean [U] and variance [U] of a layer's units."""
    return f"moments.{layer}.mean", f"moments.{layer}.variance"


def has_moments(rules: RuleClasses) -> bool:
    """Decide whether a rule normalizes by moments over the batch, of which every trial then keeps running ones."""
    return any(issubclass(rule, Norm) and rule.needs_moments for rule in rules)


def moments_at_start(rules: RuleClasses, layers: tuple[int, ...]) -> Tensors:
    """Make the first running moments of layers of so many units, by name; none where no rule needs them."""
    fresh: Tensors = {}
    for layer, units in enumerate(layers if has_moments(rules) else ()):
        mean, variance = moment_names(layer)
        fresh |= {mean: torch.zeros(units), variance: torch.ones(units)}
    return fresh


class Effects:
    """Change what passes at the sites of a model; called there with it and its `Place`.

    Normalization acts in training and in evaluation alike, and everything else in training alone.

    Args:
        rules: of the trial.
        moments: its running moments by the names of `moment_names`; empty where no rule needs them.
        ctx: what the step lends to the rules; None for a pass without noise.
        measuring: whether moments are those of the batch, which the running ones follow; else the running ones.
        dropout_searched: whether the study's dropout replaces the author's rates.

    Attributes:
        fresh: the running moments after the pass, by name.
        seen: the moments of the batch, by name, the variance unbiased.
    """

    def __init__(
        self,
        rules: TrialRules,
        moments: Mapping[str, torch.Tensor],
        *,
        ctx: StepContext | None = None,
        measuring: bool = False,
        dropout_searched: bool = False,
    ) -> None:
        self._norms, self._activations, self._moments = rules.of(Norm), rules.of(Activation), moments
        self._ctx, self._measuring, self._searched = ctx, measuring, dropout_searched
        self.fresh: Tensors = {}
        self.seen: Tensors = {}

    def __call__(self, h: torch.Tensor, place: Place) -> torch.Tensor:
        """Change what passes at one place, h [B, F...], first by norms and then by activations; the shape stays."""
        if place.marker is None and place.hidden:
            h = self.norms(h, place)
        return h if self._ctx is None else self.activations(h, place, self._ctx)

    def norms(self, h: torch.Tensor, place: Place) -> torch.Tensor:
        """Normalize hidden activations h [B, F...]."""
        for rule in self._norms:
            h = rule.normalize(h, cast(Context, _NormContext(self, place)))  # it lends `moments` alone
        return h

    def activations(self, h: torch.Tensor, place: Place, ctx: StepContext) -> torch.Tensor:
        """Change activations h [B, F...] in training, by the author's dropout and by the rules that act here."""
        if place.rate and not self._searched:
            h = Dropout.at({"dropout.p": place.rate}).activation(h, ctx.of(Dropout.name))
        for rule in self._activations:
            if rule.marker == place.marker:
                own = ctx.of(rule.name)
                own.depth = place.depth
                h = rule.activation(h, own)
        return h

    def moments(self, h: torch.Tensor, place: Place) -> tuple[torch.Tensor, torch.Tensor]:
        """Measure mean and variance of each unit of h [B, F...], to be broadcast against it."""
        shape = [size if axis == place.units else 1 for axis, size in enumerate(h.shape)]
        mean_name, variance_name = moment_names(place.layer)
        if not self._measuring:
            return self._moments[mean_name].view(shape), self._moments[variance_name].view(shape)
        over = tuple(axis for axis in range(h.dim()) if axis != place.units)
        mean = h.mean(over)
        variance = (h - mean.view(shape)).square().mean(over)
        rows = h.numel() // mean.numel()
        self.seen |= {mean_name: mean, variance_name: rows / max(rows - 1, 1) * variance}
        for name in (mean_name, variance_name):
            self.fresh[name] = (1 - MOMENTUM) * self._moments[name] + MOMENTUM * self.seen[name]
        return mean.view(shape), variance.view(shape)


class _NormContext:
    """What a pass lends to a rule of site `norms`; see `regsearch.regularizers.Context`."""

    def __init__(self, effects: Effects, place: Place) -> None:
        self._effects, self._place = effects, place

    def moments(self, h: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return self._effects.moments(h, self._place)
