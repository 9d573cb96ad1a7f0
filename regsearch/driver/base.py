"""What every driver of a study keeps: its trials, its clock, and what it tells the tracker of them."""

from __future__ import annotations

import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from regsearch.analysis.pareto import front
from regsearch.config import EPOCHS, VIOLATION, Constraint
from regsearch.executors.executor import Executor
from regsearch.search.protocol import Clock, Memory
from regsearch.space import Params
from regsearch.tracking.log.records import Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Report, Trial, TrialState, derive_seed

TURN_MS = 100
"""Milliseconds that one turn of the logical clock takes in the tracker: timestamps must not depend on speed."""

S = TypeVar("S", bound=Memory)


class Watcher(Protocol):
    """Is told after each turn; may end the search by returning False."""

    def __call__(self, driver: Any) -> bool: ...


@dataclass
class Timing:
    """Wall seconds spent by the driver, by part."""

    ask: float = 0.0
    decide: float = 0.0
    track: float = 0.0
    store: float = 0.0
    wait: float = 0.0
    parts: tuple[str, ...] = field(default=("ask", "decide", "track", "store", "wait"), repr=False)


class Books(ABC, Generic[S]):
    """The trials of one study, and who proposes, records and trains them.

    Args:
        search, tracker, executor: who proposes, who records, who trains.
        trials: how many trials the study has, the baseline included.
        epochs: how long a trial trains at most.
        seed: of the study.
        objective: the metrics that a trial's value is made of.
        start_ms: when the study began, milliseconds since 1970.
        curves: reports already recorded, by trial number; a resumed study has some.
        describe: MLflow tags for a trial's parameters.
        directions: `minimize` or `maximize` for each objective, to minimize by default.
        constraints: what the best trial must keep to.
    """

    def __init__(
        self,
        search: S,
        tracker: Tracker,
        executor: Executor,
        *,
        trials: int,
        epochs: int,
        seed: int,
        objective: tuple[str, ...],
        start_ms: int,
        curves: dict[int, list[Report]] | None = None,
        describe: Callable[[Trial], dict[str, str]] = lambda trial: {},
        directions: Sequence[str] = (),
        constraints: tuple[Constraint, ...] = (),
    ) -> None:
        self.search, self.tracker, self.executor = search, tracker, executor
        self.total, self.epochs, self.seed, self.objective = trials, epochs, seed, objective
        self.start_ms, self.describe = start_ms, describe
        self.directions, self.constraints = tuple(directions) or ("minimize",) * len(objective), constraints
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

    def ranked(self) -> list[Trial]:
        """The complete trials that keep to the constraints, best first, the earlier one first among equals.

        With several objectives the front comes first, in its own order, then the others by the first objective. Where
        no trial keeps to the constraints all are ranked, the one that breaks them least first.
        """
        sign = -1.0 if self.directions[0] == "maximize" else 1.0
        complete = [t for t in self.trials.values() if t.state is TrialState.COMPLETE and t.value is not None]
        allowed = [trial for trial in complete if trial.violation <= 0] or complete
        found = sorted(allowed, key=lambda t: (t.violation, sign * (t.value or 0.0), t.number))
        first = self.front()
        numbers = {trial.number for trial in first}
        return first + [trial for trial in found if trial.number not in numbers]

    def front(self) -> list[Trial]:
        """With several objectives the trials that no other dominates, of the complete ones that keep to the
        constraints, in the order of `regsearch.analysis.pareto.front`; with one objective none.
        """
        if len(self.objective) < 2:
            return []
        allowed = [t for t in self.trials.values() if t.state is TrialState.COMPLETE and t.values and t.violation <= 0]
        allowed.sort(key=lambda trial: trial.number)
        return [allowed[index] for index in front([trial.values for trial in allowed], self.directions)]

    def best(self) -> Trial | None:
        return next(iter(self.ranked()), None)

    def values(self, report: Report, epochs: int | None = None) -> list[float]:
        """The objectives of a report, of a trial that trained so many epochs, by default those of the report."""
        measured = _measured(report, epochs)
        return [measured[name] for name in self.objective]

    def _broken(self, measured: Mapping[str, float]) -> dict[str, float]:
        """By how much each constraint is broken, at most 0 where it is kept."""
        return {each.name: each.violation(measured[each.metric]) for each in self.constraints}

    def now_ms(self) -> int:
        return self.start_ms + self.turn * TURN_MS

    def _add(self, number: int, params: dict[str, float | str]) -> Trial:
        self.trials[number] = Trial(number, params, self._seed(number))
        return self.trials[number]

    def _seed(self, number: int) -> int:
        return derive_seed(self.seed, "trial", number)

    def _record_start(self, trial: Trial, setting: Params | None = None) -> None:
        """Let a trial begin; `setting` is what it was issued, where a population may have changed it since."""
        trial.state = TrialState.RUNNING
        name = f"{trial.kind}-{trial.number:03d}"
        params: dict[str, Any] = {**(trial.params if setting is None else setting), "seed": trial.seed}
        self.tracker.append(RunStart(trial.kind, trial.number, name, params, self.describe(trial), self.now_ms()))

    def _record(self, trial: Trial, report: Report, more: dict[str, float] | None = None) -> None:
        trial.reports = [r for r in trial.reports if r.epoch < report.epoch] + [report]
        finite = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
        if EPOCHS in (*self.objective, *(each.metric for each in self.constraints)):
            finite[EPOCHS] = float(report.epoch)
        if self.constraints and report.reason is None:
            finite[VIOLATION] = _total(self._broken(_measured(report)))
        self.tracker.append(Metrics("trial", trial.number, report.epoch, {**finite, **(more or {})}, self.now_ms()))

    def _end(self, trial: Trial, state: TrialState, reason: str | None = None) -> None:
        """Let a trial end as it stands, in the search and in the tracker."""
        last = trial.reports[-1] if trial.reports else None
        restored = last.restored if last else None
        trial.state, trial.reason, trial.value = state, reason, None
        told: float | list[float] | None = None
        broken: dict[str, float] = {}
        if state is not TrialState.FAIL and last is not None:
            report = next(r for r in trial.reports if r.epoch == trial.kept_epoch)
            values, measured = self.values(report, last.epoch), _measured(report, last.epoch)
            trial.value, trial.values = values[0], tuple(values)
            told = values[0] if len(values) == 1 else values
            broken = self._broken(measured)
            trial.violation = _total(broken)
        self.search.tell(trial.number, state, told if state is TrialState.COMPLETE else None, reason, broken)
        name: Any = state.value
        self.tracker.append(RunEnd("trial", trial.number, name, reason, self.now_ms(), restored))

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
