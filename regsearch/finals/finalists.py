"""Who enters the finals: the search's best, the baseline, the best single regularizer and the library default.

Any of them may win but the library default: a winner is what the search has found, and the default is what nobody had
to search for. It is there to be beaten, and the table shows it where it is not.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from regsearch.analysis.finals_summary import NO_TRIAL
from regsearch.space import Knob, Params, Range, SearchSpace, active_regularizers
from regsearch.trial import Trial, TrialState

WINNER, BASELINE, SINGLE, DEFAULT, RUNNER_UP = "winner", "baseline", "single", "default", "runner_up"
_WEIGHT = (WINNER, BASELINE, SINGLE, DEFAULT, RUNNER_UP)
LIBRARY_DEFAULT = {"dropout.p": 0.5, "weight_decay.strength": 1e-2}
"""What people set without a search: the dropout of Srivastava et al. (2014), the decay of `torch.optim.AdamW`."""


@dataclass(frozen=True)
class Entrant:
    """A setting in the finals, and what it stands for.

    Args:
        trial: whose setting it is; the library default has the number `NO_TRIAL`.
        roles: what it stands for before the winner is known.
        wins: it may be chosen as the winner.
    """

    trial: Trial
    roles: tuple[str, ...]
    wins: bool = True

    def all_roles(self, won: bool) -> tuple[str, ...]:
        """Its roles once the winner is known, the weightiest first."""
        found = {WINNER, *self.roles} - {RUNNER_UP} if won else set(self.roles)
        return tuple(role for role in _WEIGHT if role in found)


def entrants(
    ranked: Sequence[Trial], baseline: Trial, space: SearchSpace, top: int, strengths: Iterable[Knob]
) -> tuple[list[Entrant], list[str]]:
    """The entrants, each setting once: the `top` best trials first, then baseline, single and default.

    Args:
        ranked: the complete trials, best first.
        space: what trials were drawn from, over the layers of the model.
        strengths: of every regularizer.

    Returns:
        The entrants, and a line for each kind that the study has none of.
    """
    strengths = list(strengths)
    searched = [trial for trial in ranked if trial.number != baseline.number]
    found = [Entrant(trial, (RUNNER_UP,)) for trial in searched[:top]] + [Entrant(baseline, (BASELINE,))]
    missing = []
    single = _best_single(searched, baseline, strengths)
    if single is not None:
        found.append(Entrant(single, (SINGLE,)))
    else:
        missing.append("no single regularizer among them: no finished trial has just one on")
    default = _library_default(space)
    if default is not None:
        found.append(Entrant(Trial(NO_TRIAL, default, 0, state=TrialState.COMPLETE), (DEFAULT,), wins=False))
    else:
        missing.append("no library default among them: the study searches neither dropout nor weight decay")
    return _each_once(found, strengths), missing


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
    layered = [of.name for of in space.ranges() if isinstance(of, Range)]
    for name, value in LIBRARY_DEFAULT.items():
        if name.partition(".")[0] not in known or name in space.fixed:
            continue
        layers = [each for each in layered if each.startswith(f"{name}.") and not each.endswith(".warmup")]
        setting.update(dict.fromkeys(layers or [name], value))
    return setting if setting != space.baseline() else None


def _each_once(found: list[Entrant], strengths: list[Knob]) -> list[Entrant]:
    """Entrants of one setting as one, with all their roles, in the first one's place; the baseline keeps its number."""
    merged: dict[str, Entrant] = {}
    for entrant in found:
        key = _setting(entrant.trial, strengths)
        before = merged.get(key)
        if before is not None:
            trial = entrant.trial if BASELINE in entrant.roles else before.trial
            entrant = replace(before, trial=trial, roles=before.roles + entrant.roles, wins=before.wins or entrant.wins)
        merged[key] = entrant
    return list(merged.values())


def _setting(trial: Trial, strengths: list[Knob]) -> str:
    """What training sees of a trial: knobs of the regularizers that are on, those of training, and its stages."""
    on = {*active_regularizers(trial.params, strengths), "train"}
    active = {name: value for name, value in trial.params.items() if name.partition(".")[0] in on}
    stages = [[stage.epoch, dict(stage.params)] for stage in trial.stages]
    return json.dumps([active, stages], sort_keys=True)


__all__ = ["BASELINE", "DEFAULT", "LIBRARY_DEFAULT", "RUNNER_UP", "SINGLE", "WINNER", "Entrant", "entrants"]
