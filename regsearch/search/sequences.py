"""Sequences that fill a space evenly: each trial takes the point of its number, whoever else has drawn by then.

The cube has one dimension for each question that a sampler may be asked, those that a trial is not asked included, so
that a point means the same in every trial.
"""

from __future__ import annotations

import math
from typing import Any, Literal

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from regsearch.search.samplers import always_drawn, distribution
from regsearch.space import SearchSpace, Value
from regsearch.trial import derive_seed

Kind = Literal["sobol", "halton"]


class Sequence:
    """Draws a scrambled sequence of Sobol' or Halton over a space, as `scipy.stats.qmc` makes it.

    Args:
        kind: whose.
        space: what is drawn from, over the layers of the model.
        seed: of the study, which alone decides the scrambling.
    """

    def __init__(self, kind: Kind, space: SearchSpace, seed: int) -> None:
        from scipy.stats import qmc

        self._asked = always_drawn(space)
        self._asked |= {of.name: distribution(of) for ranges in space.members.values() for of in ranges}
        engine = qmc.Sobol if kind == "sobol" else qmc.Halton
        self._engine = engine(len(self._asked), scramble=True, rng=derive_seed(seed, kind))

    def answers(self, number: int) -> dict[str, Value]:
        """Return the setting of trial `number`, from 1 on, by flat name; trial 1 has the first point."""
        if self._engine.num_generated != number - 1:
            self._engine.reset()
            if number > 1:
                self._engine.fast_forward(number - 1)
        point = self._engine.random(1)[0]
        return {name: _at(kind, float(u)) for (name, kind), u in zip(self._asked.items(), point, strict=True)}


def _at(kind: BaseDistribution, u: float) -> Any:
    """Where `u`, from 0 up to 1, lies in a distribution: words and whole numbers have equal shares of it, those of a
    log scale equal shares of that.
    """
    if isinstance(kind, CategoricalDistribution):
        return kind.choices[min(int(u * len(kind.choices)), len(kind.choices) - 1)]
    whole = isinstance(kind, IntDistribution)
    low, high = float(kind.low), float(kind.high)  # type: ignore[attr-defined]
    a, b = (low - 0.5, high + 0.5) if whole else (low, high)
    value = math.exp(math.log(a) + u * (math.log(b) - math.log(a))) if kind.log else a + u * (b - a)  # type: ignore[attr-defined]
    value = min(max(value, low), high)
    return min(int(value + 0.5), int(high)) if whole else value


__all__ = ["Kind", "Sequence"]
