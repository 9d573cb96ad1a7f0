"""A setting as Tune's searchers and schedulers know it: flat, with a value for every knob, on or off."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from regsearch.space import NONE, REGULARIZER, Choice, Params, Range, SearchSpace, Value, switch_name

if TYPE_CHECKING:
    from ray.tune.search.sample import Domain


def domains(space: SearchSpace) -> dict[str, Domain]:
    """Build Tune's domain of every choice and number of a space, by flat name."""
    from ray import tune

    by_name: dict[str, Domain] = {}
    if space.choose == "one":
        by_name[REGULARIZER] = tune.choice([NONE, *space.members])
    elif space.choose == "any":
        by_name |= {switch_name(name): tune.choice([False, True]) for name in space.members}
    for of in space.ranges():
        if isinstance(of, Choice):
            by_name[of.name] = tune.choice(list(of.choices))
        elif of.integer:
            low, above = int(of.low), int(of.high) + 1
            by_name[of.name] = tune.lograndint(low, above) if of.log else tune.randint(low, above)
        else:
            by_name[of.name] = tune.loguniform(of.low, of.high) if of.log else tune.uniform(of.low, of.high)
    return by_name


def numbers(space: SearchSpace) -> dict[str, Range]:
    """List the numbers of a space by flat name: what a population may change in mid-training."""
    return {of.name: of for of in space.ranges() if isinstance(of, Range)}


def within(of: Range, value: Value) -> float:
    """Clip the value to its range, to a whole number where the range has no others."""
    bounded = min(max(float(value), of.low), of.high)
    return float(round(bounded)) if of.integer else bounded


class _Given:
    """Draws what a flat setting holds."""

    def __init__(self, flat: Mapping[str, Value]) -> None:
        self._flat = flat

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        given = self._flat[name]
        return next(choice for choice in choices if choice == given)

    def number(self, of: Range) -> float:
        return within(of, self._flat[of.name])


def decode(space: SearchSpace, flat: Mapping[str, Value]) -> Params:
    """Decode a flat setting to its active knobs.

    Raises:
        KeyError: it lacks a choice or a number that is active.
    """
    return space.sample(_Given(flat))


def sampled(space: SearchSpace, seed: int) -> dict[str, Value]:
    """Sample a flat setting at random."""
    import numpy as np

    rng = np.random.default_rng(seed)
    drawn = {name: domain.sample(random_state=rng) for name, domain in domains(space).items()}
    return {name: value.item() if hasattr(value, "item") else value for name, value in drawn.items()}
