"""What can be searched: knobs, their bounds, and the space that a study lays over them.

Standard library only: every other part of regsearch may import this file.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, Protocol

Choose = Literal["one", "any"]
Value = float | str | bool
Params = dict[str, float | str]
"""A setting: active knobs by flat name; the words among the values are the schedules of strengths."""
SCHEDULE, WARMUP = "schedule", "warmup"
STRENGTH_SCHEDULES = ("constant", "linear", "cosine", "linear_down", "cosine_down")
"""How a strength may change over a training; `regsearch.core.schedule.strength_factor` has the formulas."""
NONE = "none"
REGULARIZER = "regularizer"
TRAIN = "train"
"""The first part of the flat names of training's own knobs."""


def regularizer_of(name: str) -> str:
    """Give the regularizer of a flat name, or `train`: `dropout` of `dropout.p`.

    >>> regularizer_of("l2.strength.warmup")
    'l2'
    """
    return name.partition(".")[0]


def knob_of(name: str) -> str:
    """Give what follows the regularizer in a flat name: `p` of `dropout.p`, `strength.hidden` of a layer's own.

    >>> knob_of("l2.strength.warmup")
    'strength.warmup'
    """
    return name.partition(".")[2]


def schedule_name(strength: str) -> str:
    """Name the schedule of a strength."""
    return f"{strength}.{SCHEDULE}"


def warmup_name(strength: str) -> str:
    """Name the warm-up of a strength."""
    return f"{strength}.{WARMUP}"


def layer_name(strength: str, layer: str) -> str:
    """Name the number that one layer has of a strength."""
    return f"{strength}.{layer}"


def switch_name(regularizer: str) -> str:
    """Name the switch of a regularizer in a space that chooses any."""
    return f"{regularizer}.on"


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
        minimum, maximum: the limits of what a study may ask for; `off` is allowed besides.
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
        """Whether it has a value at which the regularizer is off."""
        return self.off is not None

    @property
    def regularizer(self) -> str:
        """The regularizer it belongs to, or `train`."""
        return regularizer_of(self.name)

    @property
    def short(self) -> str:
        """Its name within its regularizer."""
        return knob_of(self.name)

    def allowed(self) -> str:
        """Describe the numbers a study may name, in words."""
        word = "whole numbers" if self.integer else "numbers"
        tail = ", or off" if self.is_strength else ""
        if math.isinf(self.maximum):
            return f"{word} from {self.minimum:g} up{tail}"
        return f"{word} from {self.minimum:g} to {self.maximum:g}{tail}"

    def refuse(self, value: float) -> str | None:
        """Say why `value` cannot be this knob's value or bound, or None where it can."""
        if self.off is not None and value == self.off:
            return None
        if math.isnan(value) or not self.minimum <= value <= self.maximum:
            return f"allowed are {self.allowed()}"
        if self.integer and value != int(value):
            return f"allowed are {self.allowed()}"
        return None


@dataclass(frozen=True)
class Range:
    """One searched number of a study: the interval [low, high] for the knob `name`.

    With `per_layer` it stands for one number for each layer of the model, named `<name>.<layer>`.
    """

    name: str
    low: float
    high: float
    log: bool = False
    integer: bool = False
    per_layer: bool = False


@dataclass(frozen=True)
class Choice:
    """One searched word of a study: the schedule of a strength."""

    name: str
    choices: tuple[str, ...]


Searched = Range | Choice


class Suggest(Protocol):
    """The questions a space asks of a sampler while it draws one setting."""

    def categorical(self, name: str, choices: tuple[Value, ...]) -> Value:
        """Choose one of some values."""
        ...

    def number(self, of: Range) -> float:
        """Draw a number from a range."""
        ...


@dataclass(frozen=True)
class SearchSpace:
    """The settings a study may try.

    `choose="one"` draws the parameter `regularizer` from `none` and `members`, then the searched knobs of the
    one drawn. `choose="any"` draws `<name>.on` for each member and the knobs of those that are on. `always`
    holds the knobs that are searched in every trial, `fixed` those that hold one value in every trial.

    `defaults` holds what trial 0 has for searched knobs of training, which have no off. `knobs` are the declarations of
    the knobs of all that the space names.

    A setting is the mapping of its *active* knobs: those drawn, and those fixed. What is absent is off (a
    strength) or at its default (any other knob).
    """

    choose: Choose | None = None
    members: Mapping[str, tuple[Searched, ...]] = field(default_factory=dict)
    member_fixed: Mapping[str, Mapping[str, float | str]] = field(default_factory=dict)
    always: tuple[Searched, ...] = ()
    fixed: Mapping[str, float | str] = field(default_factory=dict)
    defaults: Mapping[str, float] = field(default_factory=dict)
    knobs: Mapping[str, Knob] = field(default_factory=dict, repr=False, compare=False)

    def sample(self, suggest: Suggest) -> Params:
        """Draw one setting: the active knobs by flat name."""
        setting = dict(self.fixed)
        for name in self._drawn(suggest):
            setting.update(self.member_fixed.get(name, {}))
            setting.update({of.name: _draw(suggest, of) for of in self.members[name]})
        setting.update({of.name: _draw(suggest, of) for of in self.always})
        return setting

    def _drawn(self, suggest: Suggest) -> Iterator[str]:
        if self.choose == "one":
            chosen = suggest.categorical(REGULARIZER, (NONE, *self.members))
            if chosen != NONE:
                yield str(chosen)
        elif self.choose == "any":
            for name in self.members:
                if suggest.categorical(switch_name(name), (False, True)):
                    yield name

    def answers(self, params: Mapping[str, float | str]) -> dict[str, Value]:
        """Work out what `suggest` has to answer for `sample` to give this setting; nothing is checked."""
        suggested: dict[str, Value] = {of.name: params[of.name] for of in self.ranges() if of.name in params}
        own = {
            name: {of.name for of in self.members[name]} | set(self.member_fixed.get(name, {})) for name in self.members
        }
        on = [name for name in self.members if not own[name].isdisjoint(params)]
        if self.choose == "one":
            suggested[REGULARIZER] = on[0] if on else NONE
        elif self.choose == "any":
            suggested.update({switch_name(name): name in on for name in self.members})
        return suggested

    def baseline(self) -> Params:
        """Make the setting of trial 0: every searched regularizer off, what is fixed in every trial kept, and training
        as the study says.
        """
        # The schedule of a searched strength means nothing while that is off.
        values = {
            name: value for name, value in self.fixed.items() if not _shape_of(name) or _shape_of(name) in self.fixed
        }
        return {**values, **self.defaults}

    def resting(self, name: str) -> float | str | None:
        """Return the value in trial 0 of a searched knob that is no strength; None where it is unknown."""
        if _shape_of(name):
            return STRENGTH_SCHEDULES[0] if name.endswith(f".{SCHEDULE}") else 0.0
        default = self.knobs[name].default if name in self.knobs else math.nan
        return self.defaults.get(name, None if math.isnan(default) else default)

    def over(self, layers: Mapping[str, tuple[str, ...]]) -> SearchSpace:
        """Expand each `per_layer` range of this space into one number for each layer.

        Args:
            layers: the names of the model's layers, for each such knob by its flat name.
        """

        def expanded(ranges: tuple[Searched, ...]) -> tuple[Searched, ...]:
            searched: list[Searched] = []
            for of in ranges:
                if isinstance(of, Range) and of.per_layer:
                    searched += [
                        replace(of, name=layer_name(of.name, each), per_layer=False) for each in layers[of.name]
                    ]
                else:
                    searched.append(of)
            return tuple(searched)

        members = {name: expanded(ranges) for name, ranges in self.members.items()}
        return replace(self, members=members, always=expanded(self.always))

    def per_layer(self) -> tuple[str, ...]:
        """List the flat names of the knobs that have a number for each layer."""
        return tuple(of.name for of in self.ranges() if isinstance(of, Range) and of.per_layer)

    def scheduled(self) -> tuple[str, ...]:
        """List the flat names of the strengths that some setting of this space may let follow a schedule."""
        fixed = [*self.fixed.items(), *(each for named in self.member_fixed.values() for each in named.items())]
        names = [of.name for of in self.ranges()] + [name for name, value in fixed if value not in ("constant", 0.0)]
        return tuple(dict.fromkeys(strength for name in names if (strength := _shape_of(name))))

    def ranges(self) -> tuple[Searched, ...]:
        """List all that is searched, members first, in the order of the study file."""
        return tuple(of for ranges in self.members.values() for of in ranges) + self.always

    def regularizers(self) -> tuple[str, ...]:
        """List the names of all regularizers that some setting of this space may turn on: they make the program."""
        flat = [of.name for of in self.ranges()] + list(self.fixed)
        flat += [name for fixed in self.member_fixed.values() for name in fixed]
        named = list(self.members) + [regularizer_of(name) for name in flat]
        return tuple(dict.fromkeys(name for name in named if name != TRAIN))


def _draw(suggest: Suggest, of: Searched) -> float | str:
    return suggest.number(of) if isinstance(of, Range) else str(suggest.categorical(of.name, of.choices))


def _shape_of(name: str) -> str | None:
    """The strength whose schedule or warm-up the flat name `name` is, or None where it is neither."""
    parts = name.rsplit(".", 1)
    return parts[0] if parts[-1] in (SCHEDULE, WARMUP) and "." in parts[0] else None


def value_names(names: Iterable[str], strength: str) -> list[str]:
    """Choose those of the flat names that hold a strength's value: its own, or one for each layer."""
    held = [name for name in names if name == strength or name.startswith(f"{strength}.")]
    return [name for name in held if _shape_of(name) != strength]


def active_regularizers(params: Mapping[str, float | str], strengths: Iterable[Knob]) -> tuple[str, ...]:
    """List the regularizers that `params` (active knobs by flat name) turns on, sorted by name."""
    on = [knob for knob in strengths if any(params[name] != knob.off for name in value_names(params, knob.name))]
    return tuple(sorted({knob.regularizer for knob in on}))
