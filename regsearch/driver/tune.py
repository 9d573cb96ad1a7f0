"""The loop of a study that Ray Tune searches: trains in packs what Tune's proxies ask for, and answers them.

There is no logical clock: proxies ask when Tune lets them, so which trials are drawn and ended early depends on the
order of arrival. A curve does not: it is that of the trial's setting and seed. A pack trains whoever of its slots has
asked by then, in two cohorts that take turns, and never waits for the others. A proxy is answered when Tune can decide
something: a trial trains from one such epoch to the next without a word between.

What a proxy is told again, after Tune or the study was restarted, is read from the trial's curve.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from regsearch.core.pack import Load, Saved, Start
from regsearch.core.snapshot import SnapshotError, read, write
from regsearch.driver.base import StudyDriver, Watcher, no_tags
from regsearch.driver.plan import SearchPlan
from regsearch.driver.tune_lanes import Lanes, Part
from regsearch.executors.executor import Executor
from regsearch.space import SCHEDULE, Params
from regsearch.tracking.log.records import RunStages, Tracker
from regsearch.trial import Report, Stage, Trial, TrialState

if TYPE_CHECKING:
    from regsearch.search.ray_tune.mailbox import Asked
    from regsearch.search.ray_tune.session import TuneSearch

_LOOK_SECONDS = 0.2
_SETTLED = 5.0
"""Seconds without another proxy after which those that came are all for now."""


class TuneDriver(StudyDriver["TuneSearch"]):
    """Drive a search that Ray Tune decides; see `regsearch.driver.base.StudyDriver`.

    Args:
        snapshots: the folder for the states of paused and copied trials.
    """

    def __init__(
        self,
        search: TuneSearch,
        tracker: Tracker,
        executor: Executor,
        snapshots: Path,
        plan: SearchPlan,
        curves: Mapping[int, list[Report]] | None = None,
        tags: Callable[[Trial], dict[str, str]] = no_tags,
    ) -> None:
        super().__init__(search, tracker, executor, plan, curves, tags)
        self._snapshots = snapshots
        self._parts: dict[int, Part] = {}
        self._lanes = Lanes(executor, self._parts)
        self._awaited = 0
        self._came = time.monotonic()

    def run(self, watch: Watcher | None = None) -> None:
        self.turn = int((self.search.clock() or {}).get("turn", 0))
        if len(self.trials) >= self.total and all(trial.state.ended for trial in self.trials.values()):
            return
        self._snapshots.mkdir(exist_ok=True)
        baseline = self.search.baseline()
        self.search.start()
        self._awaited, self._came = self.search.proxies, time.monotonic() + 30.0
        try:
            first = self._part(0, baseline)
            if not self.trials[0].state.ended:
                first.at, first.wants = len(self.trials[0].reports), True
            while not self.search.over or self._lanes.flying or any(part.wants for part in self._parts.values()):
                self._take_in()
                self._dispatch()
                self._receive()
                if watch is not None and not watch():
                    self._drain()
                    return
            self._take_in()
            self._settle()
        finally:
            self.search.stop()
        self.total = len(self.trials)

    # --- what proxies ask ---------------------------------------------------------------------------------------------

    def _take_in(self) -> None:
        """Take what proxies ask and what Tune ended; make it durable before anybody is told."""
        start = time.perf_counter()
        asked = self.search.asked(0.0 if self._lanes.flying else _LOOK_SECONDS)
        self.timing.ask += time.perf_counter() - start
        ended = self.search.ended()
        answers = {}
        for each in asked:
            answer = self._answer(each)
            if answer is not None:
                answers[each.number] = answer
        for number, error in ended:
            trial = self.trials.get(number)
            if trial is not None and not trial.state.ended:
                self._close(trial, TrialState.PRUNED if error is None and trial.reports else TrialState.FAIL, error)
        if answers or ((asked or ended) and not self._lanes.flying):
            self._commit({"turn": self.turn})
            self.search.answer(answers)

    def _answer(self, asked: Asked) -> Any:
        """What can be answered at once; None where an epoch has to be trained first."""
        part = self._part(asked.number)
        trial = self.trials[asked.number]
        if asked.what == "save":
            return self._save(trial, part)
        if asked.what == "begin":
            self._begin(trial, part, asked)
        if part.at < len(trial.reports) or trial.state.ended:
            return self._known(trial, part)
        part.wants, part.until = True, self.search.decides(part.at)
        return None

    def _part(self, number: int, params: Params | None = None) -> Part:
        if number not in self._parts:
            self._parts[number] = Part()
            setting = params or self.search.setting(number)
            trial = self.trials.get(number) or self._add(number, setting)
            if not trial.state.ended:
                self._record_start(trial, setting)
        return self._parts[number]

    def _begin(self, trial: Trial, part: Part, asked: Asked) -> None:
        """Set a trial to where its proxy begins: its seed or a saved state, with other knobs perhaps."""
        self._awaited, self._came = max(0, self._awaited - 1), time.monotonic()
        if self._lanes.in_flight(part.lane):  # the proxy before this one was lost while it waited
            self._lanes.leave(part)
        part.at, part.snapshot, part.wants, part.results = 0, None, False, []
        if asked.snapshot is not None:
            part.at = int(asked.snapshot.split("-")[1])  # see `_save`
            part.snapshot = asked.snapshot, part.at
        if self.search.population and not trial.state.ended:
            self._inherit(trial, part, self.search.decode(asked.setting))

    def _inherit(self, trial: Trial, part: Part, knobs: Params) -> None:
        """Give a trial the past of the state that it begins with, its own or another's, and its knobs from here on.

        The past is the one saved with the state: whoever saved it may have copied another since.
        """
        past: tuple[Stage, ...] = ()
        if part.snapshot is not None:
            found = self._read(trial, part.snapshot[0])
            if found is None:
                return
            past = found[1]
        goes_on = bool(past) and (past[-1].trial, past[-1].params) == (trial.number, knobs)
        stages = past if goes_on else (*past, Stage(part.at, dict(knobs), trial.number, trial.seed))
        # Its curve from here on is another's, or goes on with other knobs: nothing of it is known.
        self._lanes.leave(part)
        trial.reports = [report for report in trial.reports if report.epoch <= part.at]
        if stages != trial.history():
            trial.params, trial.stages = dict(knobs), stages
            self.search.keep_stages(trial.number, stages)
            told = [stage.to_json() for stage in stages]
            self.tracker.append(RunStages("trial", trial.number, told, self.tags(trial)))

    def _known(self, trial: Trial, part: Part) -> list[dict[str, Any]]:
        """The next epochs of a curve that is there, up to where Tune may decide, or how the trial ended."""
        if trial.state is TrialState.FAIL:
            return [{"failed": trial.reason or "it failed"}]
        if not trial.reports:
            return [{"failed": trial.reason or "it was ended before its first epoch"}]
        first = min(part.at, len(trial.reports) - 1)
        part.at = min(self.search.decides(part.at), len(trial.reports))
        over = trial.state.ended and part.at >= len(trial.reports)
        told = [_result(report, False) for report in trial.reports[first : part.at]]
        return [*told[:-1], {**told[-1], "done": over}]

    # --- what is trained ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        if self._awaited and time.monotonic() < self._came + _SETTLED:
            # Tune gives a waiting trial the proxy of one that ended, and throws away the one that starts for it: where
            # trials are short the first ones must not end before all proxies have started.
            held = True
        else:
            self._awaited, held = 0, False
        waiting = {number: part for number, part in self._parts.items() if part.wants and (number == 0 or not held)}
        gone = {}
        for number, part in waiting.items():
            self._take_lane(number, part)
            if self.trials[number].state.ended:
                gone[number] = self._known(self.trials[number], part)
        if gone:
            self._commit({"turn": self.turn})
            self.search.answer(gone)
        self._lanes.dispatch(waiting)

    def _take_lane(self, number: int, part: Part) -> None:
        """See to it that a trial has a lane, which holds it as its proxy knows it; without a free one it waits."""
        if part.lane is not None and part.trained == part.at:
            return
        self._lanes.leave(part)
        lane = self._lanes.free()
        if lane is None:
            return
        trial = self.trials[number]
        found = None if part.snapshot is None else self._read(trial, part.snapshot[0])
        if found is None:
            part.snapshot = None  # nor is it to be given for the trial's state again
        if trial.state.ended:
            return
        load = Load(number, dict(trial.params), trial.seed)
        start: Start = load if found is None else replace(found[0], load=load)
        self._lanes.take(number, lane)
        part.trained = part.at
        self.executor.hold(lane, start, part.at)

    def _save(self, trial: Trial, part: Part) -> str:
        """Keep a trial's state as its proxy knows it; the name under which it is found again."""
        if part.snapshot is not None and part.snapshot[1] == part.at:
            return part.snapshot[0]
        name = f"{trial.number:05d}-{part.at:04d}-{self.turn}"
        self._take_lane(trial.number, part)
        if trial.state.ended:
            return name
        assert part.lane is not None, "there are more lanes than proxies, and who saves does not ask"
        write(self._path(name), self.executor.state(part.lane), trial.history())
        part.snapshot = name, part.at
        return name

    def _path(self, name: str) -> Path:
        return self._snapshots / f"{name}.pt"

    def _read(self, trial: Trial, name: str) -> tuple[Saved, tuple[Stage, ...]] | None:
        """A saved state and its stages; None where its file is damaged. Its trial is then trained again from its seed,
        or fails where its past is not its own.
        """
        try:
            return read(self._path(name))
        except SnapshotError as error:
            if not self.search.population:
                self.executor.say(f"trial {trial.number} is trained again from its seed: {error}")
            elif not trial.state.ended:
                self._close(trial, TrialState.FAIL, f"its saved state is damaged: {error}")
            return None

    def _receive(self) -> None:
        """Take in what the cohort that flies longest reports, record it, and answer its proxies."""
        if not self._lanes.flying:
            return
        cohort = next(iter(self._lanes.flying))
        start = time.perf_counter()
        reports = self.executor.wait(cohort)
        self.timing.wait += time.perf_counter() - start
        start = time.perf_counter()
        del self._lanes.flying[cohort]
        self.turn += 1
        answers: dict[int, Any] = {}
        for lane, report in sorted(reports, key=lambda item: item[1].trial):
            answers[report.trial] = self._handle(self.trials[report.trial], lane, report)
        self.timing.decide += time.perf_counter() - start
        self._commit({"turn": self.turn})
        self.search.answer({number: answer for number, answer in answers.items() if number and answer is not None})

    def _handle(self, trial: Trial, lane: int, report: Report) -> list[dict[str, Any]] | None:
        """What its proxy is answered, where this was the last epoch that it waits for."""
        part = self._parts[trial.number]
        if not self._lanes.holds(trial.number, lane):
            return None
        if trial.state.ended:
            self._lanes.leave(part)
            return None
        part.at = part.trained = report.epoch
        self._record(trial, report, self._in_force(trial))
        if report.reason is not None:
            self._close(trial, TrialState.FAIL, report.reason)
            return [*part.results, {"failed": report.reason}]
        self.search.note(trial.number, report.epoch, self.values(report)[0])
        over = report.epoch >= self.plan.epochs or report.stopped
        part.results.append(_result(report, over))
        if over:
            self._close(trial, TrialState.COMPLETE)
        elif report.epoch < part.until or trial.number == 0:  # nobody asks for the baseline, it just goes on
            return None
        part.wants, answer, part.results = False, part.results, []
        return answer

    def _in_force(self, trial: Trial) -> dict[str, float]:
        """What a population has set a trial's numbers to for this epoch: tracked as curves."""
        if not self.search.population:
            return {}
        return {f"{SCHEDULE}.{name}": value for name, value in trial.params.items() if isinstance(value, float)}

    def _close(self, trial: Trial, state: TrialState, reason: str | None = None) -> None:
        self._end(trial, state, reason)
        part = self._parts.setdefault(trial.number, Part())
        part.wants = False
        if not self._lanes.in_flight(part.lane):
            self._lanes.leave(part)

    def _drain(self) -> None:
        """Take in what is still being trained, and forget it: it will be trained again."""
        for cohort in list(self._lanes.flying):
            self.executor.wait(cohort)
        self._lanes.flying.clear()

    def _settle(self) -> None:
        """Tune has come to its end: what it ended before the study heard of it has ended."""
        for trial in self.trials.values():
            if not trial.state.ended:
                state = TrialState.PRUNED if trial.reports else TrialState.FAIL
                self._close(trial, state, None if trial.reports else "Ray Tune ended it before its first epoch")
        self._commit({"turn": self.turn})
        shutil.rmtree(self._snapshots)


def _result(report: Report, over: bool) -> dict[str, Any]:
    return {**report.metrics, "epoch": report.epoch, "done": over}
