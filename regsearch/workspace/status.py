"""How far a study is that has no answer yet: read from its folder, without its lock and without loading torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from regsearch.config import StudyConfig
from regsearch.system.files import JsonMapping, JsonObject
from regsearch.system.locks import is_held
from regsearch.tracking.log.history import RunHistory, StudyHistory
from regsearch.trial import TrialState
from regsearch.workspace.answer import Answer
from regsearch.workspace.folder import StudyFolder
from regsearch.workspace.forms import check_versions, read_log

_PRIMARY, _GREATER = "mlflow.experiment.primaryMetric.name", "mlflow.experiment.primaryMetric.greaterIsBetter"


@dataclass(frozen=True)
class StudyStatus:
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
    best: JsonMapping | None = None
    baseline: float | None = None
    finals: int = 0

    @property
    def ended(self) -> int:
        """How many trials have ended."""
        return sum(count for state, count in self.states.items() if state.ended)

    def counts(self) -> dict[str, int]:
        """Count the trials by state, in the words that a person is shown."""
        words = ("complete", "pruned", "failed", "running", "waiting")
        states = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)
        return {word: self.states.get(state, 0) for word, state in zip(words, states, strict=True)}

    def to_json(self) -> JsonObject:
        """Give the object that `--json` prints."""
        return {
            "study": self.study,
            "finished": False,
            "running": self.running,
            "trials": self.counts(),
            "best": self.best,
            "resume": f"regsearch study resume {self.study}",
        }


def answer_or_status(folder: StudyFolder, config: StudyConfig) -> Answer | StudyStatus:
    """Read the answer of a study, or how far it is without one.

    Raises:
        UserError: a newer regsearch wrote a file of it, or what is to be shown is damaged.
    """
    check_versions(folder)
    if folder.answer.exists():
        return Answer.read(folder)
    return read_status(folder.path, config, read_log(folder))


def read_status(folder: Path, config: StudyConfig, history: StudyHistory | None = None) -> StudyStatus:
    """Read how far the study kept in `folder` is; what is being written at this moment may be missing.

    Args:
        history: what its log says, where that has been read.

    Raises:
        ValueError: its outbox is damaged.
    """
    history, objective = history or StudyHistory.read(folder / "outbox.jsonl"), config.search.objectives[0]
    trials = history.trials()
    states = dict.fromkeys(TrialState, 0)
    for trial in trials.values():
        states[TrialState(trial.state)] += 1
    states[TrialState.WAITING] += max(0, config.search.trials - len(trials))
    values: dict[int, float] = {}
    if len(config.search.objectives) == 1:
        measured = {number: run.kept() for number, run in trials.items() if run.state == TrialState.COMPLETE}
        values = {number: metrics[objective] for number, metrics in measured.items() if objective in metrics}
    maximize = history.experiment.get(_PRIMARY) == objective and history.experiment.get(_GREATER) == "true"
    sign = -1.0 if maximize else 1.0
    best = min(values, key=lambda number: (sign * values[number], number), default=None)
    return StudyStatus(
        config.name,
        is_held(folder / "lock"),
        config.search.trials,
        states,
        objective,
        None if best is None else {"number": best, "value": values[best], "params": _active(trials[best])},
        values.get(0),
        sum(final.ended_ms is not None for final in history.finals().values()),
    )


def _active(run: RunHistory) -> JsonObject:
    """Give the knobs that are on: one that is switched off by infinity is not shown."""
    return {
        name: value
        for name, value in run.params.items()
        if name != "seed" and not (isinstance(value, float) and math.isinf(value))
    }
