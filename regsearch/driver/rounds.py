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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from regsearch.core.pack import Load, Start
from regsearch.driver.base import Books, Watcher
from regsearch.executors.executor import COHORTS, Executor
from regsearch.search.protocol import Clock, Search
from regsearch.tracking.log.records import Tracker
from regsearch.trial import Report, Trial, TrialState


@dataclass
class Lane:
    """A place for one trial in flight."""

    trial: Trial | None = None
    epoch: int = 0


class Driver(Books[Search]):
    """Runs one study's search from wherever its journal stands to the end; see `regsearch.driver.base.Books`."""

    def __init__(self, search: Search, tracker: Tracker, executor: Executor, **study: Any) -> None:
        super().__init__(search, tracker, executor, **study)
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
                go_on = watch is None or watch(self)
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
        if report.epoch >= self.epochs or report.stopped:
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

    def _restore(self, clock: Mapping[str, Any]) -> int:
        self.turn = int(clock["turn"])
        self.waiting = [self.trials[number] for number in clock["waiting"]]
        for lane, held in zip(self.lanes, clock["lanes"], strict=True):
            if held is not None:
                lane.trial, lane.epoch = self.trials[held[0]], int(held[1])
                lane.trial.state = TrialState.RUNNING
        return int(clock["next"])


def train_all(
    executor: Executor, trials: list[Trial], epochs: int, ended: Callable[[Trial, dict[str, Any]], None]
) -> None:
    """Train every trial to its end, without a search: `ended` gets each one and its weights (none where it failed), in
    the order of their lanes.

    Args:
        epochs: of each; where they are fewer than the study's, learning rate and strengths follow its schedule so far.

    Trials fill the lanes in waves; the answer does not depend on which lane a trial is in.
    """
    for first in range(0, len(trials), executor.lanes):
        wave = dict(enumerate(trials[first : first + executor.lanes]))
        active = set(wave)
        while active:
            cohorts = [[lane for lane in sorted(active) if executor.cohort(lane) == c] for c in range(COHORTS)]
            for cohort, lanes in enumerate(cohorts):
                if lanes:
                    starts = [
                        (lane, start, len(wave[lane].reports))
                        for lane in lanes
                        for start in _begin(executor, lane, wave[lane], epochs)
                    ]
                    executor.dispatch(cohort, starts, lanes)
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


def _begin(executor: Executor, lane: int, trial: Trial, epochs: int) -> Iterator[Start]:
    """What the lane of a trial has to be given before its next epoch, if anything: what its next stage begins with."""
    epoch = len(trial.reports)
    for stage in trial.history():
        if stage.epoch == epoch:
            load = Load(trial.number, dict(stage.params), stage.seed, epochs)
            yield load if epoch == 0 else replace(executor.state(lane), load=load)


__all__ = ["Driver", "train_all"]
