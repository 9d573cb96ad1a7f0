"""The grid of a space: five levels of each number, every word of a choice, and each setting that they make once.

Cells that differ in knobs without effect are one: those of a regularizer that is not chosen, or whose strength is off.
So is a cell that is the baseline, which trial 0 has tried. The order is that of a shuffle by the study's seed, and
nothing lists the cells: there may be millions.

Legend: a *part* is one regularizer, the choice among several, or the training; a part's setting 0 is the one that it
has in the baseline, if any is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution

from regsearch.search.samplers import distribution
from regsearch.space import NONE, REGULARIZER, Searched, SearchSpace, Value, regularizer_of, switch_name, value_names
from regsearch.trial import derive_seed

Levels = tuple[str, list[Value]]
"""A flat name and what it may be, the value first that it has in the baseline."""


class Grid:
    """Gives the settings of a space's grid, but for the baseline, in the order of the trials that draw them.

    Args:
        space: what is drawn from, over the layers of the model.
        seed: of the study, which alone decides the order.
    """

    def __init__(self, space: SearchSpace, seed: int) -> None:
        self._parts, self._seed = _parts(space), seed
        self.has_baseline = all(part.in_baseline for part in self._parts)
        """Whether the baseline is a cell of it."""
        self.size = math.prod(part.size for part in self._parts) - self.has_baseline
        """How many settings it has beside the baseline."""
        self._order: list[int] = []
        self._moved: dict[int, int] = {}

    def answers(self, number: int) -> dict[str, Value]:
        """Return the setting of trial `number`, from 1 on: what the sampler answers by flat name.

        Raises:
            IndexError: the grid has no setting for it.
        """
        if not 1 <= number <= self.size:
            raise IndexError(f"the grid has {self.size} settings beside the baseline, none for trial {number}")
        while len(self._order) < number:
            self._order.append(self._shuffle(len(self._order)))
        cell = self._order[number - 1] + self.has_baseline
        setting: dict[str, Value] = {}
        for part in self._parts:
            cell, index = divmod(cell, part.size)
            setting |= part.answers(index)
        return setting

    def words(self, trials: int) -> str | None:
        """Compare the grid's size with a number of trials, in a line; None where they are the same settings."""
        settings, most = self.size + self.has_baseline, self.size + 1
        if trials == most:
            return None
        beside = ", the baseline among them" if self.has_baseline else " beside the baseline"
        line = f"the grid has {settings:,} setting{'s' * (settings != 1)}{beside}, and {trials:,} trials were asked"
        return f"{line}: the search ends after {most:,}" if trials > most else f"{line}: a random part of it is tried"

    def _shuffle(self, place: int) -> int:
        """The next cell of a Fisher-Yates shuffle that remembers only what it moved."""
        other = place + derive_seed(self._seed, "grid", place) % (self.size - place)
        here = self._moved.pop(place, place)
        if other == place:
            return here
        drawn = self._moved.get(other, other)
        self._moved[other] = here
        return drawn


@dataclass(frozen=True)
class _Part:
    """The settings of one part, numbered.

    Args:
        size: how many there are.
        in_baseline: whether the baseline has one of them, which is then number 0.
        answers: what a sampler answers for it to be the setting of that number.
    """

    size: int
    in_baseline: bool
    answers: Callable[[int], dict[str, Value]]


def _parts(space: SearchSpace) -> list[_Part]:
    parts = [_always(space, rule) for rule in dict.fromkeys(regularizer_of(of.name) for of in space.always)]
    members = {rule: _Combinations.of(space, rule, ranges) for rule, ranges in space.members.items()}
    if space.choose == "any":
        return [_switched(switch_name(rule), member) for rule, member in members.items()] + parts
    return [_chosen(members), *parts] if space.choose == "one" else parts


def _always(space: SearchSpace, rule: str) -> _Part:
    """A part that acts in every trial: all that is off is one setting."""
    on = _Combinations.of(space, rule, [of for of in space.always if regularizer_of(of.name) == rule])
    if not on.may_be_off:
        return _Part(on.size, on.in_baseline, on.answers)
    return _Part(1 + on.size, True, lambda index: on.answers(index - 1) if index else on.off())


def _switched(switch: str, on: _Combinations) -> _Part:
    return _Part(1 + on.size, True, lambda index: {switch: True, **on.answers(index - 1)} if index else {switch: False})


def _chosen(members: dict[str, _Combinations]) -> _Part:
    def answers(index: int) -> dict[str, Value]:
        for rule, on in members.items():
            if 1 <= index <= on.size:
                return {REGULARIZER: rule, **on.answers(index - 1)}
            index -= on.size if index else 0
        return {REGULARIZER: NONE}

    return _Part(1 + sum(on.size for on in members.values()), True, answers)


@dataclass(frozen=True)
class _Combinations:
    """The settings of a part in which it is on.

    Args:
        strengths: one, or one for each layer; one that is fixed has a single level. None where the part has none.
        shapes: the other knobs.
        may_be_off: whether all strengths may be off at once, which is no setting of these.
        in_baseline: whether the first of them is what the baseline has.
    """

    strengths: Sequence[Levels]
    shapes: Sequence[Levels]
    may_be_off: bool
    in_baseline: bool

    @classmethod
    def of(cls, space: SearchSpace, rule: str, ranges: Sequence[Searched]) -> _Combinations:
        """Combine the levels of these searched knobs of a regularizer, or of `train`."""
        levels = {of.name: _levels(distribution(of)) for of in ranges}
        fixed = {**space.fixed, **space.member_fixed.get(rule, {})}
        off: dict[str, float] = {}
        for knob in space.knobs.values():
            if knob.regularizer == rule and knob.off is not None:
                off |= dict.fromkeys(value_names([*levels, *fixed], knob.name), knob.off)
        rests = {name: space.resting(name) for name in levels if name not in off}
        strengths = [(name, _first(levels.get(name) or [fixed[name]], value)) for name, value in off.items()]
        shapes = [(name, _first(levels[name], value)) for name, value in rests.items()]
        return cls(
            strengths,
            shapes,
            may_be_off=bool(off) and all(_same(values[0], off[name]) for name, values in strengths),
            in_baseline=off.keys().isdisjoint(levels) and all(_same(values[0], rests[name]) for name, values in shapes),
        )

    @property
    def size(self) -> int:
        on = math.prod(len(values) for _, values in self.strengths) - self.may_be_off
        return on * math.prod(len(values) for _, values in self.shapes)

    def answers(self, index: int) -> dict[str, Value]:
        """Return the setting of that number, from 0."""
        strength, shape = divmod(index, math.prod(len(values) for _, values in self.shapes))
        return _digits(self.strengths, strength + self.may_be_off) | _digits(self.shapes, shape)

    def off(self) -> dict[str, Value]:
        """Return the setting with every strength off, whatever the shapes are then."""
        return _digits([*self.strengths, *self.shapes], 0)


def _digits(levels: Sequence[Levels], index: int) -> dict[str, Value]:
    """The levels whose places are the digits of `index`, the first name's the quickest."""
    setting: dict[str, Value] = {}
    for name, values in levels:
        index, place = divmod(index, len(values))
        setting[name] = values[place]
    return setting


def _first(levels: list[Value], value: Value | None) -> list[Value]:
    """The levels, the one that is this value first, if any is."""
    return sorted(levels, key=lambda level: not _same(level, value))


def _same(one: Value | None, other: Value | None) -> bool:
    """Whether they are equal, but for rounding."""
    if isinstance(one, float | int) and isinstance(other, float | int):
        return math.isclose(one, other)
    return one == other


def _levels(drawn: BaseDistribution) -> list[Any]:
    """Five levels of a number, evenly spaced on its scale; every choice of a categorical."""
    if isinstance(drawn, CategoricalDistribution):
        return list(drawn.choices)
    low, high = float(drawn.low), float(drawn.high)  # type: ignore[attr-defined]
    if drawn.log:  # type: ignore[attr-defined]
        points = [math.exp(math.log(low) + (math.log(high) - math.log(low)) * k / 4) for k in range(5)]
    else:
        points = [low + (high - low) * k / 4 for k in range(5)]
    points[0], points[-1] = low, high
    return sorted({round(p) for p in points} if isinstance(drawn, IntDistribution) else set(points))


__all__ = ["Grid"]
