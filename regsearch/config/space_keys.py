"""What each key of the `space` section means, for the reference; `regsearch.config.space` reads the section itself."""

from __future__ import annotations

from dataclasses import dataclass

from regsearch.space import STRENGTH_SCHEDULES

_NUMBER = "a number within the knob's limits"


@dataclass(frozen=True)
class SpaceKey:
    """Describe one key of the section.

    Args:
        key: its place below `space`; words in capitals stand for names.
        kind: what type of value it has.
        default: what it is where it is left out.
        allowed: what it accepts.
        meaning: what it does.
        example: keys of the section as YAML, this one among them.
    """

    key: str
    kind: str
    default: str
    allowed: str
    meaning: str
    example: str


SPACE_KEYS: tuple[SpaceKey, ...] = (
    SpaceKey(
        "choose",
        "text",
        "nothing is chosen: each regularizer of the section acts in every trial",
        "one, any",
        "How many of the regularizers in `from` a trial turns on: `one` of them or none, or `any` of them, each with a "
        "switch of its own. The baseline has all of them off.",
        "choose: one, from: [l1, l2, weight_decay]",
    ),
    SpaceKey(
        "from",
        "list, or mapping",
        "required beside choose",
        "regularizers, or a mapping of regularizers to their knobs",
        "The regularizers that the search chooses among; the names of a list are searched over their declared ranges.",
        "choose: any, from: {l1: search, dropout: {p: {low: 0.1, high: 0.5}}}",
    ),
    SpaceKey(
        "REGULARIZER",
        "text, or mapping",
        "off in every trial",
        "search, or a mapping of its knobs",
        "A regularizer that acts in every trial, by its name. `search` searches all of its knobs over their declared "
        "ranges; in a mapping the knobs that are not named keep their defaults, and the strength must be named.",
        "elastic_net: search, max_norm: {max_norm: 2.0}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB",
        "number, text, or mapping",
        "the knob's default",
        "a number, search, off (of a strength), or {low: ..., high: ..., log: ...}",
        "One knob: a number or `off` fixes it in every trial, `search` or a range lets the search set it.",
        "dropout: {p: 0.3}, l2: {strength: {low: 1e-5, high: 1e-2, log: true}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.low",
        "number",
        "as the knob is declared",
        _NUMBER,
        "The least value that is searched; above 0 on a logarithmic scale.",
        "dropout: {p: {low: 0.1}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.high",
        "number",
        "as the knob is declared",
        _NUMBER,
        "The largest value that is searched.",
        "dropout: {p: {high: 0.5}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.log",
        "true or false",
        "as the knob is declared",
        "true and false",
        "Whether the range is searched on a logarithmic scale.",
        "l2: {strength: {low: 1e-5, high: 1e-2, log: true}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.value",
        "number",
        "a range is searched",
        f"{_NUMBER}, in place of low, high, log and per",
        "Of a strength: the number that it has in every trial, where a `schedule` or a `warmup` stands beside it.",
        "dropout: {p: {value: 0.3, schedule: linear_down}}, l2: search",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.schedule",
        "text, or list of texts",
        "constant",
        f"{', '.join(STRENGTH_SCHEDULES)}, or a list of some of them, which is searched",
        "Of a strength: how it changes over the training. `linear` and `cosine` rise from off to its value, "
        "`linear_down` and `cosine_down` fall from it towards off.",
        "l2: {strength: {schedule: [constant, cosine]}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.warmup",
        "number, text, or mapping",
        "0",
        "a share of the training from 0 to 1, search, or {low: ..., high: ...}",
        "Of a strength: the share of the training over which it rises from off.",
        "l2: {strength: {warmup: {low: 0.0, high: 0.5}}}",
    ),
    SpaceKey(
        "REGULARIZER.KNOB.per",
        "text",
        "one number for the whole model",
        "layer",
        "Of a strength: a number of its own for each layer of the model, of rules that act on each layer by itself.",
        "l2: {strength: {per: layer}}",
    ),
    SpaceKey(
        "train",
        "text, or mapping",
        "training stays as the section `train` says",
        "search, or a mapping of the knobs of training that the optimizer has",
        "The optimizer's own numbers, searched beside the regularizers; trial 0, the baseline, keeps those of `train`.",
        "train: {learning_rate: search}, dropout: search",
    ),
)
