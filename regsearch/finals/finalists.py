"""Choose who enters the finals: the search's best, the baseline, the best single regularizer and the library default.

Any of them may win but the library default: a winner is what the search has found, and the default is what nobody had
to search for. It is there to be beaten, and the table shows it where it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from regsearch.analysis.finals_summary import NO_TRIAL
from regsearch.space import TRAIN, Knob, Params, Range, SearchSpace, active_regularizers, regularizer_of, value_names
from regsearch.trial import Trial, TrialState

WINNER, BASELINE, SINGLE, DEFAULT, RUNNER_UP = "winner", "baseline", "single", "default", "runner_up"
_WEIGHT = (WINNER, BASELINE, SINGLE, DEFAULT, RUNNER_UP)
LIBRARY_DEFAULT = {"dropout.p": 0.5, "weight_decay.strength": 1e-2}
"""What people set without a search: the dropout of Srivastava et al. (2014), the decay of `torch.optim.AdamW`."""


@dataclass(frozen=True)
class Finalist:
    """Hold a setting in the finals, and what it stands for.

    Args:
        trial: whose setting it is; the library default has the number `NO_TRIAL`.
        roles: what it stands for before the winner is known.
        wins: it may be chosen as the winner.
    """

    trial: Trial
    roles: tuple[str, ...]
    wins: bool = True

    def all_roles(self, won: bool) -> tuple[str, ...]:
        """Give its roles once the winner is known, the weightiest first."""
        roles = {WINNER, *self.roles} - {RUNNER_UP} if won else set(self.roles)
        return tuple(role for role in _WEIGHT if role in roles)


@dataclass(frozen=True)
class Finalists:
    """Hold who enters the finals.

    Args:
        finalists: each setting once.
        missing: a line for each kind of finalist that the study has none of.
    """

    finalists: tuple[Finalist, ...]
    missing: tuple[str, ...] = ()


def choose_finalists(
    ranked: Sequence[Trial], baseline: Trial, space: SearchSpace, top: int, strengths: Iterable[Knob]
) -> Finalists:
    """Choose the finalists, each setting once: the `top` best trials first, then baseline, single and default.

    Args:
        ranked: the complete trials, best first.
        space: what trials were drawn from, over the layers of the model.
        strengths: of every regularizer.
    """
    strengths = list(strengths)
    searched = [trial for trial in ranked if trial.number != baseline.number]
    chosen = [Finalist(trial, (RUNNER_UP,)) for trial in searched[:top]] + [Finalist(baseline, (BASELINE,))]
    missing = []
    single = _best_single(searched, baseline, strengths)
    if single is not None:
        chosen.append(Finalist(single, (SINGLE,)))
    else:
        missing.append("no single regularizer among them: no finished trial has just one on")
    default = _library_default(space)
    if default is not None:
        chosen.append(Finalist(Trial(NO_TRIAL, default, 0, state=TrialState.COMPLETE), (DEFAULT,), wins=False))
    else:
        missing.append("no library default among them: the study searches neither dropout nor weight decay")
    return Finalists(tuple(_merged(chosen, strengths)), tuple(missing))


def _best_single(searched: list[Trial], baseline: Trial, strengths: list[Knob]) -> Trial | None:
    """The best trial with exactly one regularizer on, beside those that every trial has."""
    always = set(active_regularizers(baseline.params, strengths))
    for trial in searched:
        if len(set(active_regularizers(trial.params, strengths)) - always) == 1:
            return trial
    return None


def _library_default(space: SearchSpace) -> Params | None:
    """The baseline's setting with those of the library's regularizers on that the study's program has and does not
    hold fixed; None where that is none.
    """
    setting: Params = dict(space.baseline())
    known = set(space.regularizers())
    searched = [of.name for of in space.ranges() if isinstance(of, Range)]
    for name, value in LIBRARY_DEFAULT.items():
        if regularizer_of(name) not in known or name in space.fixed:
            continue
        setting.update(dict.fromkeys(value_names(searched, name) or [name], value))
    return setting if setting != space.baseline() else None


def _merged(finalists: list[Finalist], strengths: list[Knob]) -> list[Finalist]:
    """Finalists of one setting as one, with all their roles, in the first one's place; the baseline keeps its own."""
    merged: dict[str, Finalist] = {}
    for finalist in finalists:
        key = _setting(finalist.trial, strengths)
        before = merged.get(key)
        if before is not None:
            trial = finalist.trial if BASELINE in finalist.roles else before.trial
            wins = before.wins or finalist.wins
            finalist = replace(before, trial=trial, roles=before.roles + finalist.roles, wins=wins)
        merged[key] = finalist
    return list(merged.values())


def _setting(trial: Trial, strengths: list[Knob]) -> str:
    """What training sees of a trial: knobs of the regularizers that are on, those of training, and its stages."""
    on = {*active_regularizers(trial.params, strengths), TRAIN}
    active = {name: value for name, value in trial.params.items() if regularizer_of(name) in on}
    stages = [[stage.epoch, dict(stage.params)] for stage in trial.stages]
    return json.dumps([active, stages], sort_keys=True)
