"""The search loop: asks, hands trials to the packs, decides over their reports, and tells the tracker.

Decisions follow a logical clock. `search.parallel` lanes hold the trials in flight, in two cohorts that take turns;
one turn is one epoch of every trial in the cohort. Reports of a turn are handled in the order of trial numbers; freed
lanes take the next waiting trials; waiting trials are asked for after the next turn was dispatched, so the sampler
works while the packs train. None of this knows how many workers there are, how wide a pack is, or what time it is:
the same study gives the same answer. What a turn decided becomes durable as a whole: first the tracker's outbox, then
the search's journal with the clock; a study killed at any moment goes on from its last whole turn.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from regsearch.core.pack import Load
from regsearch.executors.base import COHORTS, Executor
from regsearch.search.protocol import Search
from regsearch.tracking.protocol import Metrics, RunEnd, RunStart, Tracker
from regsearch.trial import Kind, Report, Trial, TrialState, derive_seed

TURN_MS = 100
"""Milliseconds that one turn of the logical clock takes in the tracker: timestamps must not depend on speed."""


class Watcher(Protocol):
    """Is told after each turn; may end the search by returning False."""

    def __call__(self, driver: Driver) -> bool: ...


@dataclass
class Lane:
    """A place for one trial in flight."""

    trial: Trial | None = None
    epoch: int = 0


@dataclass
class Timing:
    """Wall seconds spent by the driver, by part."""

    ask: float = 0.0
    decide: float = 0.0
    track: float = 0.0
    store: float = 0.0
    wait: float = 0.0
    parts: tuple[str, ...] = field(default=("ask", "decide", "track", "store", "wait"), repr=False)


class Driver:
    """Runs one study's search from wherever its journal stands to the end.

    Args:
        search, tracker, executor: who proposes, who records, who trains.
        trials: how many trials the study has, the baseline included.
        epochs: how long a trial trains at most.
        seed: of the study.
        objective: the metrics that a trial's value is made of.
        start_ms: when the study began, milliseconds since 1970.
        curves: reports already recorded, by trial number; a resumed study has some.
        describe: MLflow tags for a trial's parameters.
        maximize: larger values of the (first) objective are better.
    """

    def __init__(
        self,
        search: Search,
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
        maximize: bool = False,
    ) -> None:
        self.search, self.tracker, self.executor = search, tracker, executor
        self.total, self.epochs, self.seed, self.objective = trials, epochs, seed, objective
        self.start_ms, self.describe, self.maximize = start_ms, describe, maximize
        self.lanes = [Lane() for _ in range(executor.lanes)]
        self.waiting: list[Trial] = []
        self.trials: dict[int, Trial] = {}
        self.turn = 0
        self.timing = Timing()
        self.ahead = max(1, executor.lanes // COHORTS)
        for known in search.trials():
            trial = Trial(known.number, dict(known.params), self._seed(known.number), "trial", known.state, known.value)
            trial.reason = known.reason
            trial.reports = sorted((curves or {}).get(known.number, []), key=lambda report: report.epoch)
            self.trials[known.number] = trial

    def run(self, watch: Watcher | None = None) -> None:
        """Go on until every trial has ended, or `watch` says stop."""
        clock = self.search.clock()
        if clock is None:
            first = 0
            for cohort in range(COHORTS):
                self._dispatch(cohort, self._fill(cohort))
            self._top_up()
            self._commit(next_cohort=first)
        else:
            first = self._restore(clock)
            for cohort in self._order(first):
                self._dispatch(cohort, self._loads(cohort))
            self._top_up()
        cohort = first
        while any(lane.trial for lane in self.lanes):
            if self._members(cohort):
                start = time.perf_counter()
                reports = self.executor.wait(cohort)
                self.timing.wait += time.perf_counter() - start
                self._handle(reports)
                fresh = self._fill(cohort)
                go_on = watch is None or watch(self)
                if go_on:  # before the commit: the packs train while it syncs, and a kill in between undoes the turn
                    self._dispatch(cohort, fresh)
                self._commit(next_cohort=(cohort + 1) % COHORTS)
                if not go_on:
                    self._drain(except_cohort=cohort)
                    return
                self._top_up()
            cohort = (cohort + 1) % COHORTS

    def _order(self, first: int) -> list[int]:
        return [(first + k) % COHORTS for k in range(COHORTS)]

    def _members(self, cohort: int) -> list[int]:
        return [i for i, lane in enumerate(self.lanes) if lane.trial and self.executor.cohort(i) == cohort]

    def _dispatch(self, cohort: int, loads: list[tuple[int, Load, int]]) -> None:
        members = self._members(cohort)
        if members:
            enough = len(members) * COHORTS >= len(self.lanes)
            self.executor.dispatch(cohort, loads, members, waited_for=enough)

    def _drain(self, except_cohort: int) -> None:
        """Take in what is still being trained, and forget it: it was not decided over, so it will be trained again."""
        for cohort in range(COHORTS):
            if cohort != except_cohort and self._members(cohort):
                self.executor.wait(cohort)

    def _ask(self, count: int) -> None:
        start = time.perf_counter()
        while count > 0 and len(self.trials) < self.total:
            proposal = self.search.ask()
            trial = Trial(proposal.number, dict(proposal.params), self._seed(proposal.number))
            self.trials[trial.number] = trial
            self.waiting.append(trial)
            count -= 1
        self.timing.ask += time.perf_counter() - start

    def _top_up(self) -> None:
        # A few a turn: trials are pruned many at once, and asking for as many at once would keep the packs waiting.
        self._ask(min(self.ahead - len(self.waiting), max(1, self.ahead // 4)))

    def _fill(self, cohort: int) -> list[tuple[int, Load, int]]:
        """Give the cohort's free lanes to waiting trials."""
        loads = []
        for index, lane in enumerate(self.lanes):
            if lane.trial is not None or self.executor.cohort(index) != cohort:
                continue
            if not self.waiting:
                self._ask(1)
            if not self.waiting:
                continue
            lane.trial, lane.epoch = self.waiting.pop(0), 0
            lane.trial.state = TrialState.RUNNING
            self._record_start(lane.trial)
            loads.append((index, self._load(lane.trial), 0))
        return loads

    def _loads(self, cohort: int) -> list[tuple[int, Load, int]]:
        return [(i, self._load(lane.trial), lane.epoch) for i in self._members(cohort) if (lane := self.lanes[i]).trial]

    def _load(self, trial: Trial) -> Load:
        return Load(trial.number, dict(trial.params), trial.seed)

    def _handle(self, reports: list[tuple[int, Report]]) -> None:
        start = time.perf_counter()
        self.turn += 1
        for index, report in sorted(reports, key=lambda item: item[1].trial):
            lane = self.lanes[index]
            trial = lane.trial
            assert trial is not None and trial.number == report.trial, "a report belongs to the trial in its lane"
            lane.epoch = report.epoch
            trial.reports = [r for r in trial.reports if r.epoch < report.epoch] + [report]
            finite = {name: value for name, value in report.metrics.items() if math.isfinite(value)}
            self.tracker.append(Metrics("trial", trial.number, report.epoch, finite, self.now_ms()))
            self._decide(trial, report)
            if trial.state.ended:
                state: Any = trial.state.value
                ended = RunEnd("trial", trial.number, state, trial.reason, self.now_ms(), report.restored)
                self.tracker.append(ended)
                lane.trial = None
        self.timing.decide += time.perf_counter() - start

    def _decide(self, trial: Trial, report: Report) -> None:
        if report.reason is not None:
            trial.state, trial.reason = TrialState.FAIL, report.reason
            self.search.tell(trial.number, TrialState.FAIL, None, report.reason)
            return
        values = self.values(report)
        go_on = self.search.report(trial.number, report.epoch, values[0])
        if report.epoch >= self.epochs or report.stopped:
            kept = report.restored or report.epoch
            values = self.values(next(r for r in trial.reports if r.epoch == kept))
            trial.state, trial.value = TrialState.COMPLETE, values[0]
            self.search.tell(trial.number, TrialState.COMPLETE, values[0] if len(values) == 1 else values)
        elif not go_on:
            trial.state, trial.value = TrialState.PRUNED, values[0]
            self.search.tell(trial.number, TrialState.PRUNED, None)

    def ranked(self) -> list[Trial]:
        """The complete trials, best first, the earlier one first among equals."""
        sign = -1.0 if self.maximize else 1.0
        complete = [t for t in self.trials.values() if t.state is TrialState.COMPLETE and t.value is not None]
        return sorted(complete, key=lambda trial: (sign * (trial.value or 0.0), trial.number))

    def best(self) -> Trial | None:
        return next(iter(self.ranked()), None)

    def values(self, report: Report) -> list[float]:
        return [report.metrics[name] for name in self.objective]

    def _record_start(self, trial: Trial) -> None:
        name = f"{trial.kind}-{trial.number:03d}"
        params: dict[str, Any] = {**trial.params, "seed": trial.seed}
        self.tracker.append(RunStart(trial.kind, trial.number, name, params, self.describe(trial), self.now_ms()))

    def _commit(self, next_cohort: int) -> None:
        start = time.perf_counter()
        self.tracker.commit()
        middle = time.perf_counter()
        lanes = [[lane.trial.number, lane.epoch] if lane.trial else None for lane in self.lanes]
        waiting = [trial.number for trial in self.waiting]
        self.search.commit({"turn": self.turn, "next": next_cohort, "lanes": lanes, "waiting": waiting})
        self.timing.track += middle - start
        self.timing.store += time.perf_counter() - middle

    def _restore(self, clock: Mapping[str, Any]) -> int:
        self.turn = int(clock["turn"])
        self.waiting = [self.trials[number] for number in clock["waiting"]]
        for lane, held in zip(self.lanes, clock["lanes"], strict=True):
            if held is not None:
                lane.trial, lane.epoch = self.trials[held[0]], int(held[1])
                lane.trial.state = TrialState.RUNNING
        return int(clock["next"])

    def _seed(self, number: int) -> int:
        return derive_seed(self.seed, "trial", number)

    def now_ms(self) -> int:
        return self.start_ms + self.turn * TURN_MS


def train_all(
    executor: Executor, trials: list[Trial], epochs: int, ended: Callable[[Trial, dict[str, Any]], None]
) -> None:
    """Train every trial to its end, without a search: `ended` gets each one and its weights (none where it failed), in
    the order of their lanes.

    Trials fill the lanes in waves; the answer does not depend on which lane a trial is in.
    """
    for first in range(0, len(trials), executor.lanes):
        wave = dict(enumerate(trials[first : first + executor.lanes]))
        active = set(wave)
        fresh = True
        while active:
            cohorts = [[lane for lane in sorted(active) if executor.cohort(lane) == c] for c in range(COHORTS)]
            for cohort, lanes in enumerate(cohorts):
                loads = (
                    [(i, Load(wave[i].number, dict(wave[i].params), wave[i].seed), 0) for i in lanes] if fresh else []
                )
                if lanes:
                    executor.dispatch(cohort, loads, lanes)
            fresh = False
            done = []
            for cohort, lanes in enumerate(cohorts):
                for lane, report in executor.wait(cohort) if lanes else []:
                    wave[lane].reports.append(report)
                    if report.reason or report.stopped or report.epoch >= epochs:
                        done.append(lane)
            for lane in sorted(done):
                trial = wave[lane]
                last = trial.reports[-1]
                trial.reason = last.reason
                trial.state = TrialState.FAIL if last.reason else TrialState.COMPLETE
                ended(trial, {} if last.reason else executor.weights(lane))
                active.discard(lane)


__all__ = ["Driver", "Kind", "Timing", "Watcher", "train_all"]
