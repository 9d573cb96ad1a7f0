"""The optimizers and learning-rate schedules that a study file may name, and the knobs of training that it may search.

Imports neither torch nor pydantic. The arithmetic is in `regsearch.core.optim` and `regsearch.core.schedule`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from regsearch.space import Knob

OptimizerName = Literal["adamw", "adam", "rmsprop", "adagrad", "sgd", "momentum", "nesterov"]
ScheduleName = Literal["constant", "cosine", "linear", "step"]

# What each optimizer takes beside the learning rate, with torch's defaults; torch has no names of their own, and so no
# defaults, for heavy-ball and Nesterov momentum. `rmsprop` smooths by beta2, which torch calls alpha.
OPTIMIZER_DEFAULTS: Mapping[str, Mapping[str, float]] = {
    "adamw": {"beta1": 0.9, "beta2": 0.999},
    "adam": {"beta1": 0.9, "beta2": 0.999},
    "rmsprop": {"beta2": 0.99},
    "adagrad": {},
    "sgd": {"momentum": 0.0},
    "momentum": {"momentum": 0.9},
    "nesterov": {"momentum": 0.9},
}

TRAIN_KNOBS: Mapping[str, Knob] = {
    knob.name: knob
    for knob in (
        Knob(
            "train.learning_rate",
            low=1e-4,
            high=1e-2,
            log=True,
            default=1e-3,
            minimum=1e-8,
            maximum=10.0,
            unit="per step",
            doc="step size of the optimizer",
        ),
        Knob(
            "train.momentum",
            low=0.0,
            high=0.99,
            default=0.9,
            minimum=0.0,
            maximum=0.9999,
            unit="share",
            doc="share of the last step's direction that is kept",
        ),
        Knob(
            "train.beta1",
            low=0.5,
            high=0.99,
            default=0.9,
            minimum=0.0,
            maximum=0.9999,
            unit="share",
            doc="share of the mean gradient that is kept in a step",
        ),
        Knob(
            "train.beta2",
            low=0.9,
            high=0.9999,
            default=0.999,
            minimum=0.0,
            maximum=0.99999,
            unit="share",
            doc="share of the mean squared gradient that is kept in a step",
        ),
    )
}


def train_knobs(optimizer: str) -> dict[str, Knob]:
    """List the training knobs that mean something to this optimizer, by flat name."""
    known = {"learning_rate", *OPTIMIZER_DEFAULTS[optimizer]}
    return {name: knob for name, knob in TRAIN_KNOBS.items() if knob.short in known}
