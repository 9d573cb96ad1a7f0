"""The regularizers: ten site files, named for where in the training step a rule acts, one declaration per rule.

The folder is the training step, in the order of `SITES`; `regsearch.core.step` has a stage of the same name for each.
Outside packages add rules through the entry-point group `regsearch.regularizers`: each entry point names a module to
import or a class decorated with `@regularizer`.
"""

from __future__ import annotations

from functools import cache
from importlib.metadata import entry_points

from regsearch.regularizers import (  # noqa: F401  (importing a site file declares its rules)
    activations,
    batches,
    decay,
    gradients,
    loops,
    norms,
    penalties,
    projections,
    targets,
    weights,
)
from regsearch.regularizers.activations import Activation
from regsearch.regularizers.base import (
    REGISTRY,
    Context,
    Paper,
    Parameter,
    Regularizer,
    Shape,
    Strength,
    knob,
    regularizer,
)
from regsearch.regularizers.batches import Batch
from regsearch.regularizers.decay import Decay
from regsearch.regularizers.gradients import Gradient, TensorGradient
from regsearch.regularizers.loops import Average, Loop
from regsearch.regularizers.norms import Norm
from regsearch.regularizers.penalties import ElementwisePenalty, Penalty
from regsearch.regularizers.projections import Projection
from regsearch.regularizers.targets import Target
from regsearch.regularizers.weights import Weight
from regsearch.space import Knob

SITES = (
    "batches",
    "targets",
    "weights",
    "norms",
    "activations",
    "penalties",
    "gradients",
    "decay",
    "projections",
    "loops",
)
"""Where in the training step a rule acts, in the order in which it happens: the one list of the sites."""

__all__ = [
    "SITES",
    "Activation",
    "Average",
    "Batch",
    "Context",
    "Decay",
    "ElementwisePenalty",
    "Gradient",
    "Knob",
    "Loop",
    "Norm",
    "Paper",
    "Parameter",
    "Penalty",
    "Projection",
    "Regularizer",
    "Shape",
    "Strength",
    "Target",
    "TensorGradient",
    "Weight",
    "all_regularizers",
    "knob",
    "knobs",
    "regularizer",
    "strength_knobs",
]


@cache
def _load_entry_points() -> None:
    for each in entry_points(group="regsearch.regularizers"):
        each.load()


def all_regularizers() -> dict[str, type[Regularizer]]:
    """List every declared regularizer by name, in the order of the training step, outsiders' included.

    Within a site rules act in the order of their declaration: noise, say, before the clips that bound it.
    """
    _load_entry_points()
    return dict(sorted(REGISTRY.items(), key=lambda item: SITES.index(item[1].site)))


def knobs() -> dict[str, Knob]:
    """Give the knobs of every regularizer, by flat name."""
    return {knob.name: knob for rule in all_regularizers().values() for knob in rule.knobs}


def strength_knobs() -> list[Knob]:
    """List the strength of every regularizer."""
    return [rule.strength_knob for rule in all_regularizers().values()]
