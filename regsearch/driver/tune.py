"""Drive a study that Ray Tune searches: train in packs what Tune's proxies ask for, and answer them.

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
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.core.snapshot import SnapshotError
from regsearch.driver.base import StudyDriver, Watcher, no_tags
from regsearch.driver.plan import SearchPlan
from regsearch.driver.tune_lanes import Lanes
from regsearch.driver.tune_proxies import Arrivals, ProxyState, known_results, result
from regsearch.driver.tune_states import SavedStates, TrialStates
from regsearch.executors.executor import Executor
from regsearch.space import SCHEDULE, Params
from regsearch.tracking.log.records import RunStages, Tracker
from regsearch.trial import Report, Stage, Trial, TrialState

if TYPE_CHECKING:
    from regsearch.search.ray_tune.mailbox import Answer, ProxyRequest, TuneResult
    from regsearch.search.ray_tune.session import TuneSearch

_LOOK_SECONDS = 0.2


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
        self._proxies: dict[int, ProxyState] = {}
        self._lanes = Lanes(executor, self._proxies)
        self._states = TrialStates(executor, self._lanes, SavedStates(snapshots), self._damaged)
        self._arrivals = Arrivals(0)

    def run(self, watch: Watcher | None = None) -> None:
        """Go on until Tune has come to its end, or `watch` says stop."""
        self.turn = int((self.search.clock() or {}).get("turn", 0))
        if self.done():
            return
        self._snapshots.mkdir(exist_ok=True)
        baseline = self.search.baseline()
        self.search.start()
        self._arrivals = Arrivals(self.search.proxies)
        try:
            first = self._proxy(0, baseline)
            if not self.trials[0].state.ended:
                first.at, first.waits = len(self.trials[0].reports), True
            while not self.search.over or self._lanes.flying or any(proxy.waits for proxy in self._proxies.values()):
                self._take_requests()
                self._dispatch()
                self._receive()
                if watch is not None and not watch():
                    self._lanes.drain()
                    return
            self._take_requests()
            self._end_rest()
        finally:
            self.search.stop()
        self.total = len(self.trials)

    # --- what proxies ask ---------------------------------------------------------------------------------------------

    def _take_requests(self) -> None:
        """Take what proxies ask and what Tune ended; make it durable before anybody is told."""
        start = time.perf_counter()
        requests = self.search.requests(0.0 if self._lanes.flying else _LOOK_SECONDS)
        self.timing.ask += time.perf_counter() - start
        ended = self.search.ended()
        answers = {}
        for request in requests:
            answer = self._answer(request)
            if answer is not None:
                answers[request.number] = answer
        for number, error in ended:
            trial = self.trials.get(number)
            if trial is not None and not trial.state.ended:
                self._close(trial, TrialState.PRUNED if error is None and trial.reports else TrialState.FAIL, error)
        if answers or ((requests or ended) and not self._lanes.flying):
            self._commit({"turn": self.turn})
            self.search.answer(answers)

    def _answer(self, request: ProxyRequest) -> Answer | None:
        """What can be answered at once; None where an epoch has to be trained first."""
        proxy = self._proxy(request.number)
        trial = self.trials[request.number]
        if request.what == "save":
            return self._states.save(trial, proxy, self.turn)
        if request.what == "begin":
            self._begin(trial, proxy, request)
        if proxy.at < len(trial.reports) or trial.state.ended:
            return known_results(trial, proxy, self.search.decides(proxy.at))
        proxy.ask(until=self.search.decides(proxy.at))
        return None

    def _proxy(self, number: int, params: Params | None = None) -> ProxyState:
        if number not in self._proxies:
            self._proxies[number] = ProxyState()
            setting = params or self.search.setting(number)
            trial = self.trials.get(number) or self._add(number, setting)
            if not trial.state.ended:
                self._record_start(trial, setting)
        return self._proxies[number]

    def _begin(self, trial: Trial, proxy: ProxyState, request: ProxyRequest) -> None:
        """Set a trial to where its proxy begins: its seed or a saved state, with other knobs perhaps."""
        self._arrivals.came()
        if self._lanes.in_flight(proxy.lane):  # the proxy before this one was lost while it waited
            self._lanes.leave(proxy)
        proxy.begin(request.snapshot)
        if self.search.population and not trial.state.ended:
            self._inherit(trial, proxy, self.search.decode(request.setting))

    def _inherit(self, trial: Trial, proxy: ProxyState, knobs: Params) -> None:
        """Give a trial the past of the state that it begins with, its own or another's, and its knobs from here on.

        The past is the one saved with the state: whoever saved it may have copied another since.
        """
        past: tuple[Stage, ...] = ()
        if proxy.snapshot is not None:
            saved = self._states.read(trial, proxy.snapshot)
            if saved is None:
                return
            past = saved[1]
        goes_on = bool(past) and (past[-1].trial, past[-1].params) == (trial.number, knobs)
        stages = past if goes_on else (*past, Stage(proxy.at, dict(knobs), trial.number, trial.seed))
        # Its curve from here on is another's, or goes on with other knobs: nothing of it is known.
        self._lanes.leave(proxy)
        trial.reports = [report for report in trial.reports if report.epoch <= proxy.at]
        if stages != trial.history():
            trial.params, trial.stages = dict(knobs), stages
            self.search.keep_stages(trial.number, stages)
            plain = [stage.to_json() for stage in stages]
            self.tracker.append(RunStages("trial", trial.number, plain, self.tags(trial)))

    # --- what is trained ----------------------------------------------------------------------------------------------

    def _dispatch(self) -> None:
        pending = self._arrivals.pending()
        waiting = {n: proxy for n, proxy in self._proxies.items() if proxy.waits and (n == 0 or not pending)}
        gone = {}
        for number, proxy in waiting.items():
            trial = self.trials[number]
            self._states.place(trial, proxy)
            if trial.state.ended:
                gone[number] = known_results(trial, proxy, self.search.decides(proxy.at))
        if gone:
            self._commit({"turn": self.turn})
            self.search.answer(gone)
        self._lanes.dispatch(waiting)

    def _receive(self) -> None:
        """Take in what the cohort that flies longest reports, record it, and answer its proxies."""
        if not self._lanes.flying:
            return
        start = time.perf_counter()
        reports = self._lanes.wait()
        middle = time.perf_counter()
        self.turn += 1
        answers: dict[int, Answer | None] = {}
        for lane, report in sorted(reports, key=lambda item: item[1].trial):
            answers[report.trial] = self._handle(self.trials[report.trial], lane, report)
        self.timing.wait += middle - start
        self.timing.decide += time.perf_counter() - middle
        self._commit({"turn": self.turn})
        self.search.answer({number: answer for number, answer in answers.items() if number and answer is not None})

    def _handle(self, trial: Trial, lane: int, report: Report) -> list[TuneResult] | None:
        """What its proxy is answered, where this was the last epoch that it waits for."""
        proxy = self._proxies[trial.number]
        if not self._lanes.holds(trial.number, lane):
            return None
        if trial.state.ended:
            self._lanes.leave(proxy)
            return None
        proxy.at = proxy.trained = report.epoch
        self._record(trial, report, _in_force(trial) if self.search.population else {})
        if report.reason is not None:
            self._close(trial, TrialState.FAIL, report.reason)
            return [*proxy.results, {"failed": report.reason}]
        self.search.note(trial.number, report.epoch, self.values(report)[0])
        over = report.epoch >= self.plan.epochs or report.stopped
        proxy.results.append(result(report, over))
        if over:
            self._close(trial, TrialState.COMPLETE)
        elif report.epoch < proxy.until or trial.number == 0:  # nobody asks for the baseline, it just goes on
            return None
        return proxy.take_answer()

    def _close(self, trial: Trial, state: TrialState, reason: str | None = None) -> None:
        self._end(trial, state, reason)
        proxy = self._proxies.setdefault(trial.number, ProxyState())
        proxy.waits = False
        if not self._lanes.in_flight(proxy.lane):
            self._lanes.leave(proxy)

    def _damaged(self, trial: Trial, error: SnapshotError) -> None:
        """A trial whose saved state is damaged trains again from its seed, or fails where its past is not its own."""
        if not self.search.population:
            self.executor.say(f"trial {trial.number} is trained again from its seed: {error}")
        elif not trial.state.ended:
            self._close(trial, TrialState.FAIL, f"its saved state is damaged: {error}")

    def _end_rest(self) -> None:
        """Tune has come to its end: what it ended before the study heard of it has ended."""
        for trial in self.trials.values():
            if not trial.state.ended:
                state = TrialState.PRUNED if trial.reports else TrialState.FAIL
                self._close(trial, state, None if trial.reports else "Ray Tune ended it before its first epoch")
        self._commit({"turn": self.turn})
        shutil.rmtree(self._snapshots)


def _in_force(trial: Trial) -> dict[str, float]:
    """What a population has set a trial's numbers to for this epoch: tracked as curves."""
    return {f"{SCHEDULE}.{name}": value for name, value in trial.params.items() if isinstance(value, float)}
