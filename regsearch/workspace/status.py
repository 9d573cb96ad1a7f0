"""How far a study is that has no answer yet: read from its folder, without its lock and without loading torch."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regsearch.config import StudyConfig
from regsearch.system.locks import is_held
from regsearch.trial import TrialState

_PRIMARY, _GREATER = "mlflow.experiment.primaryMetric.name", "mlflow.experiment.primaryMetric.greaterIsBetter"


@dataclass(frozen=True)
class Standing:
    """A study on its way.

    Args:
        study: its name.
        running: whether a process works on it now; None where this system cannot tell.
        total: how many trials it will have.
        states: how many trials are in which state; one that a stopped study had begun counts as RUNNING.
        objective: what trials are ranked by.
        best: the best trial so far, `number`, `value` and `params`, its active knobs by flat name; None before there is
            one, and with several objectives, which have no single best.
        baseline: the value of trial 0, None before it is complete.
        finals: how many finals are trained.
    """

    study: str
    running: bool | None
    total: int
    states: Mapping[TrialState, int]
    objective: str
    best: Mapping[str, Any] | None = None
    baseline: float | None = None
    finals: int = 0

    @property
    def ended(self) -> int:
        return sum(count for state, count in self.states.items() if state.ended)

    def counts(self) -> dict[str, int]:
        """How many trials are where, by the word that a person is shown."""
        words = ("complete", "pruned", "failed", "running", "waiting")
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
        return {word: self.states.get(state, 0) for word, state in zip(words, states, strict=True)}

    def to_json(self) -> dict[str, Any]:
        return {
            "study": self.study,
            "finished": False,
            "running": self.running,
            "trials": self.counts(),
            "best": self.best,
            "resume": f"regsearch study resume {self.study}",
        }


def read_standing(folder: Path, config: StudyConfig) -> Standing:
    """How far the study kept in `folder` is; what is being written at this moment may be missing.

    Raises:
        ValueError: its outbox is damaged.
    """
    trials, finals, maximize = _read(folder / "outbox.jsonl", config.search.objectives[0])
    states = dict.fromkeys(TrialState, 0)
    for trial in trials.values():
        states[trial.state] += 1
    states[TrialState.WAITING] += max(0, config.search.trials - len(trials))
    ranked = []
    if len(config.search.objectives) == 1:
        complete = [(number, each) for number, each in trials.items() if each.state is TrialState.COMPLETE]
        ranked = [(each.value, number, each.params) for number, each in complete if each.value is not None]
    sign = -1.0 if maximize else 1.0
    best = min(ranked, key=lambda each: (sign * each[0], each[1]), default=None)
    return Standing(
        config.name,
        is_held(folder / "lock"),
        config.search.trials,
        states,
        config.search.objectives[0],
        None if best is None else {"number": best[1], "value": best[0], "params": best[2]},
        next((value for value, number, _ in ranked if number == 0), None),
        finals,
    )


@dataclass
class _Seen:
    """What the outbox says of one trial; `values` are those of the objective by epoch."""

    params: Mapping[str, float | str]
    state: TrialState = TrialState.RUNNING
    values: dict[int, float] = field(default_factory=dict)
    restored: int | None = None

    @property
    def value(self) -> float | None:
        return self.values.get(self.restored or max(self.values, default=0))


def _read(outbox: Path, objective: str) -> tuple[dict[int, _Seen], int, bool]:
    """The trials by number, how many finals ended, and whether larger values of the objective are better."""
    trials: dict[int, _Seen] = {}
    finals, maximize = 0, False
    for record in _records(outbox):
        kind, number = record.get("kind"), record.get("number", 0)
        if record["type"] == "note" and record.get("experiment", {}).get(_PRIMARY) == objective:
            maximize = record["experiment"].get(_GREATER) == "true"
        elif record["type"] == "run_end" and kind == "final":
            finals += 1
        elif kind != "trial":
            continue
        elif record["type"] == "run_start":
            trials[number] = _Seen({name: value for name, value in record["params"].items() if _active(name, value)})
        elif record["type"] == "run_stages":
            last = record["stages"][-1]
            before = {epoch: value for epoch, value in trials[number].values.items() if epoch <= last["epoch"]}
            trials[number] = _Seen(last["params"], values=before)
        elif record["type"] == "metrics" and objective in record["values"]:
            trials[number].values[record["epoch"]] = record["values"][objective]
        elif record["type"] == "run_end":
            trials[number].state, trials[number].restored = TrialState(record["status"]), record.get("restored")
    return trials, finals, maximize


def _active(name: str, value: float | str) -> bool:
    return name != "seed" and not (isinstance(value, float) and math.isinf(value))


def _records(outbox: Path) -> list[dict[str, Any]]:
    """The whole lines; the last may be in the middle of being written."""
    if not outbox.exists():
        return []
    lines = outbox.read_bytes().split(b"\n")[:-1]
    try:
        return [json.loads(line) for line in lines]
    except ValueError as error:
        raise ValueError(f"{outbox}: unreadable record: {error}") from error
