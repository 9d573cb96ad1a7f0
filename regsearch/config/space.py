"""Reads the `space` section of a study file against the declared knobs. Imports neither torch nor pydantic itself."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeGuard

from regsearch.config.misplaced import Places, elsewhere
from regsearch.config.training import TRAIN_KNOBS
from regsearch.config.words import brief, nothing_searched, one_of, unknown_regularizer
from regsearch.config.yaml12 import YamlMapping
from regsearch.errors import UserError
from regsearch.space import (
    NONE,
    SCHEDULE,
    STRENGTH_SCHEDULES,
    TRAIN,
    WARMUP,
    Choice,
    Knob,
    Range,
    Searched,
    SearchSpace,
    schedule_name,
    warmup_name,
)

# What a study gets that names no space.
DEFAULT_SPACE: YamlMapping = {
    "choose": "one",
    "from": ["l1", "l2", "elastic_net", "weight_decay"],
    "dropout": "search",
    "clip_by_norm": "search",
}
_SEARCH, _OFF = "search", "off"
_BOUNDS = ("low", "high", "log")
_SHAPES = (SCHEDULE, WARMUP, "per")
_RANGE_WORDS = "allowed are a number, search, or {low: ..., high: ..., log: ...}"


def build_space(
    raw: YamlMapping | None,
    knobs: Mapping[str, Knob],
    *,
    train_knobs: Mapping[str, Knob] = TRAIN_KNOBS,
    train: Mapping[str, float] | None = None,
    file: str | Path | None = None,
    places: Places | None = None,
) -> SearchSpace:
    """Build the search space that the `space` section asks for.

    Beside `choose` and `from` each key is a regularizer (or `train`) with its knobs, active in every trial: searched
    (`search`, or `{low, high, log}`, what is left out as declared) or fixed (a number, or `off`). A regularizer with no
    knobs named searches all of them; of one with some named the others keep their defaults.

    The mapping of a strength may hold besides: `schedule`, a word or a list to choose from; `warmup`, a share of the
    training or a range; `per: layer`, a number of its own for each layer of the model; and `value`, which fixes the
    strength, in place of a range.

    Args:
        raw: the section as read from the file; None for the default space.
        knobs: every knob of every regularizer by flat name, as `regsearch.regularizers.knobs()` gives.
        train_knobs: the knobs of training that mean something to the study's optimizer, by flat name.
        train: what the study trains with where a knob of training is not searched, by flat name; trial 0 keeps it.
        file, places: named in refusals: the study file, and its other section that has a key which stands here.

    Raises:
        UserError: an unknown regularizer or knob, a bound outside the knob's limits, low above high, a log scale that
            reaches 0, or nothing to search.
    """
    try:
        known = {**knobs, **train_knobs}
        space = _Reader(known, places or {}).space(DEFAULT_SPACE if raw is None else raw)
        searched = {of.name for of in space.always}
        named = {*space.regularizers(), TRAIN}
        return dataclasses.replace(
            space,
            defaults={n: v for n, v in (train or {}).items() if n in searched},
            knobs={n: knob for n, knob in known.items() if n.partition(".")[0] in named},
        )
    except UserError as error:
        raise (error.within(file) if file else error) from None


@dataclass(frozen=True)
class _Rule:
    """What the file says of one regularizer: its searched and its fixed knobs."""

    ranges: tuple[Searched, ...]
    fixed: dict[str, float | str]


class _Reader:
    def __init__(self, knobs: Mapping[str, Knob], places: Places) -> None:
        self.places = places
        self.rules: dict[str, dict[str, Knob]] = {}
        for knob in knobs.values():
            self.rules.setdefault(knob.regularizer, {})[knob.short] = knob

    def space(self, raw: YamlMapping) -> SearchSpace:
        choose, members = self._choice(raw)
        beside = {
            name: self.rule(name, each, f"space.{name}") for name, each in raw.items() if name not in ("choose", "from")
        }
        for name in beside:
            if name in members:
                allowed = (
                    "leave it in one of the two: in from it is drawn, beside it acts in every trial; from takes ranges "
                    f"too, like {{{name}: {{...}}, l2: search}}"
                )
                raise UserError("stands both in from and beside it", key=f"space.{name}", allowed=allowed)
        space = SearchSpace(
            choose=choose,
            members={name: rule.ranges for name, rule in members.items()},
            member_fixed={name: rule.fixed for name, rule in members.items() if rule.fixed},
            always=tuple(of for rule in beside.values() for of in rule.ranges),
            fixed={name: value for rule in beside.values() for name, value in rule.fixed.items()},
        )
        if not space.members and not space.always:
            raise nothing_searched([name for name in raw if name != TRAIN])
        return space

    def _choice(self, raw: YamlMapping) -> tuple[Literal["one", "any"] | None, dict[str, _Rule]]:
        if "choose" not in raw and "from" not in raw:
            return None, {}
        choose, named = raw.get("choose"), raw.get("from")
        if choose not in ("one", "any"):
            what = "is missing beside from" if choose is None else "cannot be used"
            raise UserError(what, key="space.choose", value=brief(choose), allowed="allowed are one and any")
        entries = _entries(named)
        if not entries:
            what = "is missing beside choose" if named is None else "cannot be used"
            allowed = "allowed are a list of regularizers, like [l1, l2], and a mapping of them to their knobs"
            raise UserError(what, key="space.from", value=brief(named), allowed=allowed)
        members: dict[str, _Rule] = {}
        for name, given in entries:
            if name == NONE or name in members:
                what = "is always among the choices" if name == NONE else "stands twice"
                raise UserError(what, key="space.from", value=name, allowed="leave it out")
            if name == TRAIN:
                raise UserError(
                    "is not a regularizer", key="space.from", value=name, allowed="put it beside: space.train"
                )
            key = "space.from" if isinstance(named, list) else f"space.from.{name}"
            members[name] = self._member(name, given, key)
        return choose, members

    def _member(self, name: str, given: object, key: str) -> _Rule:
        rule = self.rule(name, given, key)
        strength = next(knob for knob in self.rules[name].values() if knob.is_strength)
        if rule.fixed.get(strength.name) == strength.off:
            raise UserError(
                "a choice that is off is no choice",
                key=f"{key}.{strength.short}",
                value=_OFF,
                allowed="allowed are a range and a number that is not off; or leave the regularizer out",
            )
        return rule

    def rule(self, name: object, given: object, key: str) -> _Rule:
        """Read what `given` says of the regularizer `name` (or of `train`), standing at `key`."""
        known = self.rules.get(name) if isinstance(name, str) else None
        if known is None:
            keys = ("choose", "from", TRAIN) if key == f"space.{name}" else ()
            names = [rule for rule in self.rules if rule != TRAIN]
            others = elsewhere(name, [*names, *keys], self.places) if keys else ()
            raise unknown_regularizer(name, names, key, keys, others)
        if given is None or given == _SEARCH:
            return _Rule(tuple(_declared(knob) for knob in known.values()), {})
        if not isinstance(given, dict) or not given:
            allowed = f"allowed are search and a mapping of its knobs ({', '.join(known)})"
            if given == _OFF or _is_number(given):
                strength = next((knob.short for knob in known.values() if knob.is_strength), next(iter(known)))
                allowed += f"; for its strength write {{{strength}: {given}}}"
            raise UserError("cannot be used", key=key, value=brief(given), allowed=allowed)
        ranges: list[Searched] = []
        fixed: dict[str, float | str] = {}
        for short, value in given.items():
            if short not in known:
                known_elsewhere = name == TRAIN and f"{TRAIN}.{short}" not in TRAIN_KNOBS  # else of another optimizer
                others = elsewhere(short, known, self.places) if known_elsewhere else ()
                raise _unknown("knob", short, known, f"{key}.{short}", others)
            knob = known[short]
            if value is None or value == _SEARCH:
                ranges.append(_declared(knob))
            elif isinstance(value, dict):
                spoken = _spoken(knob, value, f"{key}.{short}")
                ranges += spoken.ranges
                fixed |= spoken.fixed
            else:
                fixed[knob.name] = _fixed(knob, value, f"{key}.{short}")
        self._with_strength(name, known, given, key)
        return _Rule(tuple(ranges), fixed)

    def _with_strength(self, name: object, known: Mapping[str, Knob], given: YamlMapping, key: str) -> None:
        for short, knob in known.items():
            if knob.is_strength and short not in given:
                what = f"{', '.join(given)} of {name} mean nothing while it is off"
                raise UserError(what, key=key, allowed=f"name its strength too, like {short}: search")


def _entries(named: object) -> list[tuple[str, object]]:
    """What stands in `from`: regularizers, and what is said of each."""
    if isinstance(named, dict):
        return list(named.items())
    for entry in named if isinstance(named, list) else ():
        if isinstance(entry, dict | list):
            rule = next(iter(entry), "l1") if isinstance(entry, dict) else "l1"
            mapping = f"{{{rule}: {{...}}, l2: search}}"
            allowed = f"a list holds names alone; to say more of one write a mapping, like {mapping}"
            raise UserError("cannot be used", key="space.from", value=brief(entry), allowed=allowed)
    return [(name, _SEARCH) for name in named] if isinstance(named, list) else []


def _declared(knob: Knob) -> Range:
    return Range(knob.name, knob.low, knob.high, knob.log, knob.integer)


def _fixed(knob: Knob, value: object, key: str) -> float:
    if value == _OFF and knob.off is not None:
        return knob.off
    if not _is_number(value):
        words = _RANGE_WORDS.replace("search,", "search, off,") if knob.is_strength else _RANGE_WORDS
        raise UserError("cannot be used", key=key, value=brief(value), allowed=words)
    reason = knob.refuse(value) or (
        f"allowed are {knob.allowed()}" if math.isinf(value) and value != knob.off else None
    )
    if reason:
        raise UserError("outside the knob's limits", key=key, value=value, allowed=reason)
    return float(value)


def _spoken(knob: Knob, given: YamlMapping, key: str) -> _Rule:
    """What a mapping says of one knob: its range or value and, of a strength, its schedule and whether each layer has
    its own.
    """
    shapes = (*_SHAPES, "value") if knob.is_strength else ()
    for word in given:
        if word not in (*_BOUNDS, *shapes):
            raise _unknown("key", word, (*_BOUNDS, *shapes), f"{key}.{word}")
    if knob.integer and any(word in given for word in _SHAPES):
        word = next(word for word in _SHAPES if word in given)
        what = f"{knob.name} counts whole {knob.unit or 'steps'}, which have no schedule and no layers"
        raise UserError(what, key=f"{key}.{word}", value=brief(given[word]), allowed="leave it out")
    shape = _shape(knob, given, key)
    if "value" not in given:
        bounds = {word: given[word] for word in _BOUNDS if word in given}
        of = dataclasses.replace(_range(knob, bounds, key), per_layer=_per_layer(given, key))
        return _Rule((of, *shape.ranges), shape.fixed)
    beside = next((word for word in (*_BOUNDS, "per") if word in given), None)
    if beside:
        allowed = "allowed is value, or low and high"
        raise UserError(
            "means nothing beside value", key=f"{key}.{beside}", value=brief(given[beside]), allowed=allowed
        )
    value = _fixed(knob, given["value"], f"{key}.value")
    if value == knob.off:
        shape = _Rule((), {})
    return _Rule(shape.ranges, {knob.name: value, **shape.fixed})


def _shape(knob: Knob, given: YamlMapping, key: str) -> _Rule:
    """The schedule and the warm-up of a strength."""
    ranges: list[Searched] = []
    fixed: dict[str, float | str] = {}
    if SCHEDULE in given:
        named = given[SCHEDULE]
        words = named if isinstance(named, list) and named else [named]
        for word in words:
            if word not in STRENGTH_SCHEDULES or words.count(word) > 1:
                allowed = f"{one_of(STRENGTH_SCHEDULES, word)}, or a list of some of them"
                raise UserError("cannot be used", key=f"{key}.{SCHEDULE}", value=brief(word), allowed=allowed)
        if words[1:]:
            ranges.append(Choice(schedule_name(knob.name), tuple(words)))
        else:
            fixed[schedule_name(knob.name)] = words[0]
    if WARMUP in given:
        share = Knob(
            warmup_name(knob.name), 0.0, 0.5, default=0.0, minimum=0.0, maximum=1.0, unit="share of the training"
        )
        value = given[WARMUP]
        if value is None or value == _SEARCH:
            ranges.append(_declared(share))
        elif isinstance(value, dict):
            spoken = _spoken(share, value, f"{key}.{WARMUP}")
            ranges += spoken.ranges
        else:
            fixed[share.name] = _fixed(share, value, f"{key}.{WARMUP}")
    return _Rule(tuple(ranges), fixed)


def _per_layer(given: YamlMapping, key: str) -> bool:
    if given.get("per", "layer") != "layer":
        raise UserError("cannot be used", key=f"{key}.per", value=brief(given["per"]), allowed="allowed is layer")
    return "per" in given


def _range(knob: Knob, given: YamlMapping, key: str) -> Range:
    log = given.get("log", knob.log)
    if not isinstance(log, bool):
        raise UserError("cannot be used", key=f"{key}.log", value=brief(log), allowed="allowed are true and false")
    low = _bound(knob, given.get("low", knob.low), f"{key}.low")
    high = _bound(knob, given.get("high", knob.high), f"{key}.high")
    if low > high:
        declared = "".join(
            f"; {word} is {value:g} as declared" for word, value in (("low", low), ("high", high)) if word not in given
        )
        raise UserError(
            f"low {low:g} is above high {high:g}",
            key=key,
            value=brief(dict(given)),
            allowed=f"allowed is low up to high{declared}",
        )
    if log and low <= 0:
        allowed = "allowed are a low above 0 (off is tried besides where there is a choice), or log: false"
        raise UserError("a log scale cannot reach 0", key=f"{key}.low", value=low, allowed=allowed)
    return Range(knob.name, low, high, log, knob.integer)


def _bound(knob: Knob, value: object, key: str) -> float:
    if value == _OFF and knob.off is not None:
        value = knob.off
    within = dataclasses.replace(knob, off=None)  # a range is searched between its bounds: off is no exception here
    if not _is_number(value):
        raise UserError("not a number", key=key, value=brief(value), allowed=f"allowed are {within.allowed()}")
    if math.isinf(value):
        allowed = f"allowed are {within.allowed()}; to try it off, put it in from, beside choose"
        raise UserError(
            "a searched range needs bounds that end",
            key=key,
            value=_OFF if value == knob.off else value,
            allowed=allowed,
        )
    reason = within.refuse(value)
    if reason:
        raise UserError("outside the knob's limits", key=key, value=value, allowed=reason)
    return float(value)


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unknown(kind: str, word: object, known: Iterable[str], key: str, others: Collection[str] = ()) -> UserError:
    return UserError(f"unknown {kind}", key=key, value=brief(word), allowed=one_of(known, word, others))
