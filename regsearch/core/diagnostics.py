"""What is tracked of an epoch besides losses and metrics, for trials with rules whose point it is.

Legend: T slots, P floats of a row.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch

from regsearch.config import OF_WEIGHTS
from regsearch.core.layout import Layout
from regsearch.regularizers.base import Regularizer

SMALL = 1e-3
"""A weight below it counts as zero."""
_IN_STEPS = ("gradient_norm", "clipped")


def watched_in_steps(rules: tuple[type[Regularizer], ...]) -> tuple[str, ...]:
    """Name what every step of a program with these rules adds up: `gradient_norm` and `clipped`, or nothing."""
    return _IN_STEPS if any("clipped" in rule.tracks for rule in rules) else ()


def tracked(
    rules: tuple[type[Regularizer], ...], params: Mapping[str, float | str], always: tuple[str, ...] = ()
) -> list[str]:
    """Name what is tracked of a trial with these parameters: the measures of the rules it turns on, and `always`."""
    on = (rule for rule in rules if any(name.startswith(rule.strength_knob.name) for name in params))
    off = {rule.name for rule in rules if params.get(rule.strength_knob.name) == rule.strength_knob.off}
    return sorted({name for rule in on if rule.name not in off for name in rule.tracks} | {*always})


def diagnostics(
    layout: Layout,
    rules: tuple[type[Regularizer], ...],
    watch: tuple[str, ...],
    w: torch.Tensor,
    sums: Mapping[str, torch.Tensor],
    steps: int,
) -> dict[str, list[float]]:
    """Measure the epoch of each slot, by name:

    - `sparsity`: the share of the weights (not biases and normalization) with |w| < 0.001;
    - `weight_norm`: the Euclidean norm of all weights;
    - `gradient_norm`: the mean over the steps of the norm of the gradient, penalties included, before clips;
    - `clipped`: the share of the steps whose gradient the clips changed.

    Args:
        layout: where the weights lie in w.
        rules: of the program; the measures that none of them tracks, and that `watch` does not name, are left out.
        watch: the measures of every trial.
        w: the weights that are measured, [T, P].
        sums: what the steps added up, [T] each.
        steps: how many steps there were.
    """
    measures = {name: (sums[name] / steps).tolist() for name in watched_in_steps(rules)}
    wanted = {*watch, *(name for rule in rules for name in rule.tracks)}
    return measures | weight_measures(layout, w) if wanted & {*OF_WEIGHTS} else measures


def weight_measures(layout: Layout, w: torch.Tensor) -> dict[str, list[float]]:
    """Measure `sparsity` and `weight_norm` of the weights in w [T, P], for each slot."""
    views = layout.views(w)
    tensors = [views[entry.name].flatten(1) for entry in layout.entries if entry.role == "weight"]
    # Where biases alone are trained, and penalized, there is nothing to measure.
    weights = torch.cat(tensors or [w.new_zeros(len(w), 0)], 1)
    return {
        "sparsity": [float(row.mean()) if len(row) else 0.0 for row in (weights.abs() < SMALL).double()],
        "weight_norm": [float(torch.linalg.vector_norm(row)) for row in weights],
    }
