"""What is tracked of an epoch besides losses and metrics, for trials with rules whose point it is.

Legend: T slots, P floats of a row.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch

from regsearch.config import OF_WEIGHTS
from regsearch.regularizers.base import Regularizer

if TYPE_CHECKING:
    from regsearch.core.program import Program

SMALL = 1e-3
"""A weight below it counts as zero."""
_IN_STEPS = ("gradient_norm", "clipped")


def watched_in_steps(rules: tuple[type[Regularizer], ...]) -> tuple[str, ...]:
    """What every step of a program with these rules adds up: `gradient_norm` and `clipped`, or nothing."""
    return _IN_STEPS if any("clipped" in rule.tracks for rule in rules) else ()


def tracked(
    rules: tuple[type[Regularizer], ...], params: Mapping[str, float | str], always: tuple[str, ...] = ()
) -> list[str]:
    """The names of what is tracked of a trial with these parameters: that of the rules it turns on, and `always`."""
    on = (rule for rule in rules if any(name.startswith(rule.strength_knob.name) for name in params))
    off = {rule.name for rule in rules if params.get(rule.strength_knob.name) == rule.strength_knob.off}
    return sorted({name for rule in on if rule.name not in off for name in rule.tracks} | {*always})


def diagnostics(
    program: Program, w: torch.Tensor, sums: Mapping[str, torch.Tensor], steps: int
) -> dict[str, list[float]]:
    """Of the epoch of each slot, by name:

    - `sparsity`: the share of the weights (not biases and normalization) with |w| < 0.001;
    - `weight_norm`: the Euclidean norm of all weights;
    - `gradient_norm`: the mean over the steps of the norm of the gradient, penalties included, before clips;
    - `clipped`: the share of the steps whose gradient the clips changed.

    Args:
        w: the weights that are measured, [T, P].
        sums: what the steps added up, [T] each.
        steps: how many steps there were.
    """
    found = {name: (sums[name] / steps).tolist() for name in program.step.watched}
    asked = {*program.watch, *(name for rule in program.rules for name in rule.tracks)}
    if asked & {*OF_WEIGHTS}:
        views = program.layout.views(w)
        # Where biases alone are trained, and penalized, there is nothing to measure.
        none = w.new_zeros(len(w), 0)
        of_weights = [views[e.name].flatten(1) for e in program.layout.entries if e.role == "weight"]
        weights = torch.cat(of_weights or [none], 1)
        found["sparsity"] = [float(row.mean()) if len(row) else 0.0 for row in (weights.abs() < SMALL).double()]
        found["weight_norm"] = [float(torch.linalg.vector_norm(row)) for row in weights]
    return found
