"""Drive a search: keep its trials and its clock, and tell search and tracker of every step."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Generic, Protocol, TypeVar

from regsearch.config import EPOCHS, VIOLATION
from regsearch.driver.plan import TURN_MS, SearchPlan, SearchResult
from regsearch.driver.ranking import front, rank
from regsearch.executors.executor import Executor
from regsearch.search.protocol import Clock, Memory
from regsearch.space import Params
from regsearch.tracking.log.records import END_STATUS, Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Report, Trial, TrialState, derive_seed

S = TypeVar("S", bound=Memory)


class Watcher(Protocol):
    """Is told after each turn; may end the search by returning False."""

    def __call__(self) -> bool: ...


@dataclass
class Timing:
    """Measure the wall seconds that a driver spends, by part."""

    ask: float = 0.0
    decide: float = 0.0
    track: float = 0.0
    store: float = 0.0
    wait: float = 0.0

    def parts(self) -> dict[str, float]:
        """Give the seconds of each part by name."""
        return {part.name: getattr(self, part.name) for part in fields(self)}


def no_tags(trial: Trial) -> dict[str, str]:
    """Tag a trial's run with nothing."""
    return {}


class StudyDriver(ABC, Generic[S]):
    """Drive the search of one study from wherever its memory stands to the end.

    Args:
        search, tracker, executor: who proposes, who records, who trains.
        plan: what is to be done.
        curves: reports already recorded, by trial number; a resumed study has some.
        tags: MLflow tags of a trial's run.
    """

    def __init__(
        self,
        search: S,
        tracker: Tracker,
        executor: Executor,
        plan: SearchPlan,
        curves: Mapping[int, list[Report]] | None = None,
        tags: Callable[[Trial], dict[str, str]] = no_tags,
    ) -> None:
        self.search, self.tracker, self.executor, self.plan, self.tags = search, tracker, executor, plan, tags
        self.total = plan.trials
        self.trials: dict[int, Trial] = {}
        self.turn = 0
        self.timing = Timing()
        for known in search.trials():
            trial = Trial(known.number, dict(known.params), self._seed(known.number), "trial", known.state, known.value)
            trial.reason = known.reason
            trial.stages = known.stages
            trial.values, trial.violation = known.values, known.violation
            trial.reports = sorted((curves or {}).get(known.number, []), key=lambda report: report.epoch)
            self.trials[known.number] = trial

    @abstractmethod
    def run(self, watch: Watcher | None = None) -> None:
        """Go on until every trial has ended, or `watch` says stop."""

    def best(self) -> Trial | None:
        """Find the best trial so far; None where none is complete."""
        return next(iter(rank(self.trials.values(), self.plan)), None)

    def done(self) -> bool:
        """Tell whether every trial that the study will have has ended."""
        return len(self.trials) >= self.total and all(trial.state.ended for trial in self.trials.values())

    def result(self) -> SearchResult:
        """Give what the search has come to."""
        trials = self.trials.values()
        return SearchResult(
            self.trials, tuple(rank(trials, self.plan)), tuple(front(trials, self.plan)), self.plan, self.now_ms()
        )

    def values(self, report: Report, epochs: int | None = None) -> list[float]:
        """Give the objectives of a report, of a trial that trained so many epochs, by default those of the report."""
        measured = _measured(report, epochs)
        return [measured[name] for name in self.plan.objectives]

    def _broken(self, measured: Mapping[str, float]) -> dict[str, float]:
        """By how much each constraint is broken, at most 0 where it is kept."""
        return {each.name: each.violation(measured[each.metric]) for each in self.plan.constraints}

    def now_ms(self) -> int:
        """Read the logical clock, milliseconds since 1970."""
        return self.plan.start_ms + self.turn * TURN_MS

    def _add(self, number: int, params: dict[str, float | str]) -> Trial:
        self.trials[number] = Trial(number, params, self._seed(number))
        return self.trials[number]

    def _seed(self, number: int) -> int:
        return derive_seed(self.plan.seed, "trial", number)

    def _record_start(self, trial: Trial, setting: Params | None = None) -> None:
        """Let a trial begin; `setting` is what it was issued, where a population may have changed it since."""
        trial.state = TrialState.RUNNING
        name = f"{trial.kind}-{trial.number:03d}"
        params: Params = {**(trial.params if setting is None else setting), "seed": trial.seed}
        self.tracker.append(RunStart(trial.kind, trial.number, name, params, self.tags(trial), self.now_ms()))

    def _record(self, trial: Trial, report: Report, more: dict[str, float] | None = None) -> None:
        trial.reports = [r for r in trial.reports if r.epoch < report.epoch] + [report]
        finite = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
        if EPOCHS in (*self.plan.objectives, *(each.metric for each in self.plan.constraints)):
            finite[EPOCHS] = float(report.epoch)
        if self.plan.constraints and report.reason is None:
            finite[VIOLATION] = _total(self._broken(_measured(report)))
        self.tracker.append(Metrics("trial", trial.number, report.epoch, {**finite, **(more or {})}, self.now_ms()))

    def _end(self, trial: Trial, state: TrialState, reason: str | None = None) -> None:
        """Let a trial end as it stands, in the search and in the tracker."""
        last = trial.reports[-1] if trial.reports else None
        restored = last.restored if last else None
        trial.state, trial.reason, trial.value = state, reason, None
        value: float | list[float] | None = None
        broken: dict[str, float] = {}
        if state is not TrialState.FAIL and last is not None:
            report = next(r for r in trial.reports if r.epoch == trial.kept_epoch)
            values, measured = self.values(report, last.epoch), _measured(report, last.epoch)
            trial.value, trial.values = values[0], tuple(values)
            value = values[0] if len(values) == 1 else values
            broken = self._broken(measured)
            trial.violation = _total(broken)
        self.search.tell(trial.number, state, value if state is TrialState.COMPLETE else None, reason, broken)
        self.tracker.append(RunEnd("trial", trial.number, END_STATUS[state], reason, self.now_ms(), restored))

    def _commit(self, clock: Clock) -> None:
        """Make durable what was decided: first with the tracker, then, together with the clock, with the search."""
        start = time.perf_counter()
        self.tracker.commit()
        middle = time.perf_counter()
        self.search.commit(clock)
        self.timing.track += middle - start
        self.timing.store += time.perf_counter() - middle


def _measured(report: Report, epochs: int | None = None) -> dict[str, float]:
    """All that a trial can be judged by at a report."""
    return {**report.metrics, EPOCHS: float(epochs or report.epoch)}


def _total(broken: Mapping[str, float]) -> float:
    return math.fsum(max(0.0, each) for each in broken.values())
