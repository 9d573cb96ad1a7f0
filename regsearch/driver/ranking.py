"""Rank the trials of a search: by one objective, by several, and under constraints."""

from __future__ import annotations

from collections.abc import Iterable

from regsearch.analysis.pareto import front as pareto_front
from regsearch.driver.plan import SearchPlan, SearchResult
from regsearch.system.files import JsonMapping, JsonObject
from regsearch.trial import Trial, TrialState


def rank(trials: Iterable[Trial], plan: SearchPlan) -> list[Trial]:
    """Order the complete trials that keep to the constraints, best first, the earlier one first among equals.

    With several objectives the front comes first, in its own order, then the others by the first objective. Where no
    trial keeps to the constraints all are ranked, the one that breaks them least first.
    """
    trials = list(trials)
    sign = -1.0 if plan.directions[0] == "maximize" else 1.0
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.value is not None]
    allowed = [trial for trial in complete if trial.violation <= 0] or complete
    ordered = sorted(allowed, key=lambda trial: (trial.violation, sign * (trial.value or 0.0), trial.number))
    first = front(trials, plan)
    numbers = {trial.number for trial in first}
    return first + [trial for trial in ordered if trial.number not in numbers]


def front(trials: Iterable[Trial], plan: SearchPlan) -> list[Trial]:
    """Choose the trials that no other dominates, of the complete ones that keep to the constraints.

    They stand in the order of `regsearch.analysis.pareto.front`; with one objective there are none.
    """
    if len(plan.objectives) < 2:
        return []
    allowed = sorted((trial for trial in with_values(trials) if trial.violation <= 0), key=lambda trial: trial.number)
    return [allowed[index] for index in pareto_front([trial.values for trial in allowed], plan.directions)]


def front_rows(result: SearchResult) -> list[JsonObject] | None:
    """Tabulate the front as the answer has it: number, value of each objective, params; None with one objective."""
    objectives = result.plan.objectives
    if len(objectives) < 2:
        return None
    return [
        {
            "number": trial.number,
            "values": dict(zip(objectives, trial.values, strict=True)),
            "params": dict(trial.params),
        }
        for trial in result.front
    ]


def constraint_counts(result: SearchResult) -> JsonObject | None:
    """Count how many complete trials keep to the constraints; None where there are none."""
    constraints = result.plan.constraints
    if not constraints:
        return None
    complete = with_values(result.trials.values())
    keeping = sum(trial.violation <= 0 for trial in complete)
    return {"asked": [each.name for each in constraints], "kept_by": keeping, "of": len(complete)}


def constraint_remark(result: SearchResult) -> str:
    """Say what the answer's sentence must add: that no trial keeps to the constraints; else nothing."""
    counts: JsonMapping | None = constraint_counts(result)
    if counts is None or counts["kept_by"] or not counts["of"]:
        return ""
    return f" No trial keeps to {' and '.join(counts['asked'])}: the one that breaks it least was taken."


def with_values(trials: Iterable[Trial]) -> list[Trial]:
    """Choose the complete trials that have the values of all objectives."""
    return [trial for trial in trials if trial.state is TrialState.COMPLETE and trial.values]
