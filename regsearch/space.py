"""What can be searched: knobs, their bounds, and the space that a study lays over them.

Standard library only: every other part of regsearch may import this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, Protocol

Choose = Literal["one", "any"]
Value = float | str | bool
NONE = "none"
REGULARIZER = "regularizer"


@dataclass(frozen=True)
class Knob:
    """One searchable number of a regularizer or of training.

    Args:
        name: flat name, `<regularizer>.<knob>` (`dropout.p`, `train.learning_rate`).
        low, high: the range that is searched when a study names none, in `unit`.
        log: search on a logarithmic scale by default.
        integer: only whole numbers are meant.
        off: the value at which the effect is exactly the identity; None for a knob that is not a strength.
        default: the value when the knob is not searched (`off` for a strength).
        minimum, maximum: what a study may ask for at most; `off` is allowed besides.
        unit: the unit of the number, as shown to a person.
        doc: what the number is, in one phrase.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    off: float | None = None
    default: float = math.nan
    minimum: float = -math.inf
    maximum: float = math.inf
    unit: str = ""
    doc: str = ""

    @property
    def is_strength(self) -> bool:
        return self.off is not None

    def allowed(self) -> str:
        """The numbers a study may name, in words."""
        word = "whole numbers" if self.integer else "numbers"
        tail = ", or off" if self.is_strength else ""
        if math.isinf(self.maximum):
            return f"{word} from {self.minimum:g} up{tail}"
        return f"{word} from {self.minimum:g} to {self.maximum:g}{tail}"

    def refuse(self, value: float) -> str | None:
        """Why `value` cannot be this knob's value or bound, or None where it can."""
        if self.off is not None and value == self.off:
            return None
        if math.isnan(value) or not self.minimum <= value <= self.maximum:
            return f"allowed are {self.allowed()}"
        if self.integer and value != int(value):
            return f"allowed are {self.allowed()}"
        return None


@dataclass(frozen=True)
class Range:
    """One searched number of a study: the interval [low, high] for the knob `name`."""

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False


class Suggest(Protocol):
    """The questions a space asks of a sampler while it draws one setting."""

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value: ...

    def number(self, of: Range) -> float: ...


@dataclass(frozen=True)
class SearchSpace:
    """The settings a study may try.

    `choose="one"` draws the parameter `regularizer` from `none` and `members`, then the searched knobs of the
    one drawn. `choose="any"` draws `<name>.on` for each member and the knobs of those that are on. `always`
    holds the knobs that are searched in every trial, `fixed` those that hold one value in every trial.

    `kept` holds what trial 0 has for searched knobs of training, which have no off.

    A setting is the mapping of its *active* knobs: those drawn, and those fixed. What is absent is off (a
    strength) or at its default (any other knob).
    """

    choose: Choose | None = None
    members: Mapping[str, tuple[Range, ...]] = field(default_factory=dict)
    member_fixed: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    always: tuple[Range, ...] = ()
    fixed: Mapping[str, float] = field(default_factory=dict)
    kept: Mapping[str, float] = field(default_factory=dict)

    def sample(self, suggest: Suggest) -> dict[str, float]:
        """Draw one setting: the active knobs by flat name."""
        setting = dict(self.fixed)
        for name in self._drawn(suggest):
            setting.update(self.member_fixed.get(name, {}))
            setting.update({of.name: suggest.number(of) for of in self.members[name]})
        setting.update({of.name: suggest.number(of) for of in self.always})
        return setting

    def _drawn(self, suggest: Suggest) -> Iterator[str]:
        if self.choose == "one":
            chosen = suggest.categorical(REGULARIZER, (NONE, *self.members))
            if chosen != NONE:
                yield str(chosen)
        elif self.choose == "any":
            for name in self.members:
                if suggest.categorical(f"{name}.on", (False, True)):
                    yield name

    def baseline(self) -> dict[str, float]:
        """The setting of trial 0: every searched regularizer off, what is fixed in every trial kept, and training
        as the study says.
        """
        return {**self.fixed, **self.kept}

    def ranges(self) -> tuple[Range, ...]:
        """Every searched number, members first, in the order of the study file."""
        return tuple(of for ranges in self.members.values() for of in ranges) + self.always

    def regularizers(self) -> tuple[str, ...]:
        """The names of all regularizers that some setting of this space may turn on: they make the program."""
        flat = [of.name for of in self.ranges()] + list(self.fixed)
        flat += [name for fixed in self.member_fixed.values() for name in fixed]
        named = list(self.members) + [name.split(".", 1)[0] for name in flat]
        return tuple(dict.fromkeys(name for name in named if name != "train"))


def active_regularizers(params: Mapping[str, float], strengths: Iterable[Knob]) -> tuple[str, ...]:
    """The regularizers that `params` (active knobs by flat name) turns on, sorted by name."""
    names = {knob.name.split(".", 1)[0] for knob in strengths if params.get(knob.name, knob.off) != knob.off}
    return tuple(sorted(names))
