"""The search loop: asks, hands trials to the packs, decides over their reports, and tells the tracker.

Decisions follow a logical clock. `search.parallel` lanes hold the trials in flight, in two cohorts that take turns;
one turn is one epoch of every trial in the cohort. Reports of a turn are handled in the order of trial numbers; freed
lanes take the next waiting trials; waiting trials are asked for after the next turn was dispatched, so the sampler
works while the packs train. None of this knows how many workers there are, how wide a pack is, or what time it is:
the same study gives the same answer. What a turn decided becomes durable as a whole: first the tracker's outbox, then
the search's journal with the clock; a study killed at any moment goes on from its last whole turn.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from regsearch.core.pack import Load, Start
from regsearch.driver.base import StudyDriver, Watcher, no_tags
from regsearch.driver.plan import SearchPlan
from regsearch.executors.executor import COHORTS, Executor
from regsearch.search.protocol import Clock, Search
from regsearch.tracking.log.records import Tracker
from regsearch.trial import Report, Trial, TrialState


@dataclass
class Lane:
    """A place for one trial in flight."""

    trial: Trial | None = None
    epoch: int = 0


class RoundDriver(StudyDriver[Search]):
    """Drive a search in rounds that follow a logical clock; see `regsearch.driver.base.StudyDriver`."""

    def __init__(
        self,
        search: Search,
        tracker: Tracker,
        executor: Executor,
        plan: SearchPlan,
        curves: Mapping[int, list[Report]] | None = None,
        tags: Callable[[Trial], dict[str, str]] = no_tags,
    ) -> None:
        super().__init__(search, tracker, executor, plan, curves, tags)
        self.lanes = [Lane() for _ in range(executor.lanes)]
        self.waiting: list[Trial] = []
        self.ahead = max(1, executor.lanes // COHORTS)

    def run(self, watch: Watcher | None = None) -> None:
        """Go on until every trial has ended, or `watch` says stop."""
        clock = self.search.clock()
        if clock is None:
            first = 0
            for cohort in range(COHORTS):
                self._dispatch(cohort, self._fill(cohort))
            self._top_up()
            self._commit(self._clock(first))
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
                go_on = watch is None or watch()
                if go_on:  # before the commit: the packs train while it syncs, and a kill in between undoes the turn
                    self._dispatch(cohort, fresh)
                self._commit(self._clock((cohort + 1) % COHORTS))
                if not go_on:
                    self._drain(except_cohort=cohort)
                    return
                self._top_up()
            cohort = (cohort + 1) % COHORTS

    def _order(self, first: int) -> list[int]:
        return [(first + k) % COHORTS for k in range(COHORTS)]

    def _members(self, cohort: int) -> list[int]:
        return [i for i, lane in enumerate(self.lanes) if lane.trial and self.executor.cohort(i) == cohort]

    def _dispatch(self, cohort: int, loads: list[tuple[int, Start, int]]) -> None:
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
            self.waiting.append(self._add(proposal.number, dict(proposal.params)))
            count -= 1
        self.timing.ask += time.perf_counter() - start

    def _top_up(self) -> None:
        # A few a turn: trials are pruned many at once, and asking for as many at once would keep the packs waiting.
        self._ask(min(self.ahead - len(self.waiting), max(1, self.ahead // 4)))

    def _fill(self, cohort: int) -> list[tuple[int, Start, int]]:
        """Give the cohort's free lanes to waiting trials."""
        loads: list[tuple[int, Start, int]] = []
        for index, lane in enumerate(self.lanes):
            if lane.trial is not None or self.executor.cohort(index) != cohort:
                continue
            if not self.waiting:
                self._ask(1)
            if not self.waiting:
                continue
            lane.trial, lane.epoch = self.waiting.pop(0), 0
            self._record_start(lane.trial)
            loads.append((index, self._load(lane.trial), 0))
        return loads

    def _loads(self, cohort: int) -> list[tuple[int, Start, int]]:
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
            self._record(trial, report)
            self._decide(trial, report)
            if trial.state.ended:
                lane.trial = None
        self.timing.decide += time.perf_counter() - start

    def _decide(self, trial: Trial, report: Report) -> None:
        if report.reason is not None:
            self._end(trial, TrialState.FAIL, report.reason)
            return
        go_on = self.search.report(trial.number, report.epoch, self.values(report)[0])
        if report.epoch >= self.plan.epochs or report.stopped:
            self._end(trial, TrialState.COMPLETE)
        elif not go_on:
            self._end(trial, TrialState.PRUNED)

    def _clock(self, next_cohort: int) -> Clock:
        lanes = [[lane.trial.number, lane.epoch] if lane.trial else None for lane in self.lanes]
        return {
            "turn": self.turn,
            "next": next_cohort,
            "lanes": lanes,
            "waiting": [trial.number for trial in self.waiting],
        }

    def _restore(self, clock: Clock) -> int:
        self.turn = int(clock["turn"])
        self.waiting = [self.trials[number] for number in clock["waiting"]]
        for lane, held in zip(self.lanes, clock["lanes"], strict=True):
            if held is not None:
                lane.trial, lane.epoch = self.trials[held[0]], int(held[1])
                lane.trial.state = TrialState.RUNNING
        return int(clock["next"])
