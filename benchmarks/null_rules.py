"""Regularizers that regularize nothing, declared as anybody's own are: for benchmarks/null.py alone."""

from __future__ import annotations

import torch

from regsearch.regularizers import Paper, Strength, knob, regularizer
from regsearch.regularizers.activations import Activation
from regsearch.regularizers.decay import Decay

_SOURCE = Paper("Beecher", 1955, "https://doi.org/10.1001/jama.1955.02960340022006")
DROPPED = 0.3


@regularizer
class PlaceboUnits(Activation):
    """Leave the units as they are, whatever the dose."""

    source = _SOURCE
    dose: Strength = knob(0.0, 1.0, off=0.0, unit="none", doc="how much of nothing")

    def activation(self, h: torch.Tensor, ctx: object) -> torch.Tensor:
        return h


@regularizer
class PlaceboDecay(Decay):
    """Leave the weights as they are, whatever the dose."""

    source = _SOURCE
    dose: Strength = knob(1e-6, 1e-1, off=0.0, log=True, minimum=0.0, unit="none", doc="how much of nothing")

    def decay(self, w: torch.Tensor, learning_rate: torch.Tensor) -> torch.Tensor:
        return w


@regularizer
class OtherCoins(Activation):
    """Dropout of 0.3 whose coins u, uniform in [0, 1), are turned: a unit stays where (u + turn) mod 1 >= 0.3.

    Turned coins are as uniform as before, so every setting has the same distribution, that of the baseline, and yet
    other luck at the same seed. For this the rule drops units at `off`, too, where a real one would do nothing.
    """

    source = _SOURCE
    turn: Strength = knob(0.0, 1.0, off=0.0, unit="turns", doc="by how much the coins are turned")

    def activation(self, h: torch.Tensor, ctx: object) -> torch.Tensor:
        keep = (ctx.uniform(h) + self.turn) % 1 >= DROPPED  # type: ignore[attr-defined]
        return h * (keep / (1 - DROPPED))
