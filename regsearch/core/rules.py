"""The rules of one trial at the values of its knobs, and their strengths where each layer has its own.

Legend: P floats of a row, G layers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import TypeVar, cast

import torch

from regsearch.core.layout import Layout
from regsearch.regularizers.base import Regularizer
from regsearch.space import knob_of

Rule = TypeVar("Rule", bound=Regularizer)
RuleClasses = tuple[type[Regularizer], ...]


class TrialRules:
    """Make the rules of one trial, whatever it turns on.

    Args:
        rules: the classes of the study's space.
        knobs: values by flat name; knobs that are not named keep their defaults.
    """

    def __init__(self, rules: RuleClasses, knobs: Mapping[str, torch.Tensor | float]) -> None:
        self._rules, self._knobs = rules, dict(knobs)

    def of(self, site: type[Rule]) -> list[Rule]:
        """List the trial's rules at the site that this base class names, in their order."""
        return [cast(Rule, rule.at(self._knobs)) for rule in self._rules if rule.site == site.site]


class LayerStrengths:
    """Give rules the strength of each layer, where layers have their own.

    Args:
        layout: where the layers' parameters lie.
        layers: for each strength with a number for each layer, by its flat name, those layers.
    """

    def __init__(self, layout: Layout, layers: Mapping[str, tuple[str, ...]]) -> None:
        self._layout, self._layers = layout, layers
        self._layer_of = {entry.name: entry.layer for entry in layout.entries}

    def over_row(self, rule: Rule) -> Rule:
        """Return the rule with its strengths [G + 1] spread to a row [P]; a rule with one strength as it is."""
        return self._with_strength(rule, self._layout.spread)

    def at_tensor(self, rule: Rule, name: str) -> Rule:
        """Return the rule with the strength of the layer of this tensor; a rule with one strength as it is."""
        return self._with_strength(rule, lambda strengths, layers: strengths[layers.index(self._layer_of[name])])

    def _with_strength(self, rule: Rule, pick: Callable[[torch.Tensor, tuple[str, ...]], torch.Tensor]) -> Rule:
        full = rule.strength_knob.name
        if full not in self._layers:
            return rule
        short = knob_of(full)
        return dataclasses.replace(rule, **{short: pick(getattr(rule, short), self._layers[full])})  # type: ignore[type-var]
