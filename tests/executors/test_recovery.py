"""How an executor recovers, told by workers that fail on cue; that real ones are lost is in `test_lost`.

A worker here is no process: which request fails, and what of, must be certain, and processes take seconds to start.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

import pytest

from regsearch.core.pack import Load
from regsearch.errors import UserError
from regsearch.executors import recovery
from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.executors.messages import (
    Answer,
    Begin,
    Calibrated,
    Done,
    Failure,
    GetUsage,
    PlaceLanes,
    Reply,
    Request,
    RoundReports,
    StudyRefused,
    TrainRound,
    Usage,
    WorkerFailed,
    WorkerSpec,
)
from regsearch.executors.worker_handle import NoDevice, WorkerHandle, WorkerLost, raise_failure
from regsearch.space import SearchSpace
from regsearch.trial import Report

LANES = 32
NO_MEMORY = WorkerFailed(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED"), out_of_memory=True)

Cue = Callable[["ScriptedWorker", Request | None], Failure | None]
"""What a worker fails with over a request, if it does; None stands for its beginning."""


class ScriptedWorker:
    """A worker that trains nothing: it fails when its cue says so, and is silent from then on, as a process is."""

    def __init__(self, spec: WorkerSpec, cue: Cue) -> None:
        self.spec, self._cue = spec, cue
        self.width = 0
        self.requests: list[Request] = []
        self._epochs: dict[int, tuple[int, int]] = {}
        self._due: deque[Reply | Failure] = deque()
        self._failed = False

    def ready(self) -> Calibrated:
        return raise_failure(self._cue(self, None) or Calibrated(self.spec.width or 16, None, None))

    def send(self, request: Request) -> None:
        self.requests.append(request)
        if self._failed:
            return
        if isinstance(request, Begin):
            self.width = request.width
        failure = self._cue(self, request)
        self._failed = failure is not None
        self._due.append(failure or Reply(self._answer(request), Usage(steps=1.0)))

    def receive(self, seconds: float | None = None) -> Reply:
        if not self._due:
            raise WorkerLost("ended with exit code 0")
        return raise_failure(self._due.popleft())

    def close(self) -> None:
        self._failed = True
        self._due.clear()

    def _answer(self, request: Request) -> Answer:
        if not isinstance(request, TrainRound):
            return Done()
        for lane, trial in request.loads.items():
            self._epochs[lane] = trial.start.number, trial.epoch
        for lane in request.lanes:
            self._epochs[lane] = self._epochs[lane][0], self._epochs[lane][1] + 1
        return RoundReports([(lane, Report(*self._epochs[lane], {})) for lane in request.lanes])


class ScriptedHost:
    """Starts workers with a cue."""

    def __init__(self, cue: Cue) -> None:
        self._cue = cue
        self.started: list[ScriptedWorker] = []

    def room(self, wanted: int | None) -> int:
        return wanted or 1

    def memory(self) -> int | None:
        return None

    def start(self, spec: WorkerSpec) -> WorkerHandle:
        self.started.append(ScriptedWorker(spec, self._cue))
        return self.started[-1]

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        return []

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        """Nothing is held."""


def executor(host: ScriptedHost, said: list[str], workers: int = 1) -> Executor:
    return Executor(ExecutorSettings("", "", SearchSpace(), LANES, workers, 16, compiled=False), host, said.append)


def too_wide(most: int) -> Cue:
    """Memory runs out when packs of more than `most` slots are made."""
    return lambda worker, request: NO_MEMORY if isinstance(request, PlaceLanes) and worker.width > most else None


def killed() -> Failure:
    """What ends a worker without a word."""
    raise WorkerLost("was ended by SIGKILL")


def halved(*widths: int) -> list[str]:
    return [f"a pack worker ran out of memory: its packs go on with {width} slots" for width in widths]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_out_of_memory_while_packs_are_made_halves_them_until_they_fit(workers: int) -> None:
    """The second cohort's lanes are placed when the worker is gone already; that must not hide why it went."""
    said: list[str] = []
    host = ScriptedHost(too_wide(4))
    made = executor(host, said, workers)
    assert said == halved(8, 4) * workers
    assert made.width == 4 and made.workers == workers and len(host.started) == 3 * workers
    loads = [(lane, Load(lane, {}, lane), 0) for lane in range(LANES)]
    for cohort in (0, 1):
        lanes = [lane for lane in range(LANES) if made.cohort(lane) == cohort]
        made.dispatch(cohort, [each for each in loads if each[0] in lanes], lanes)
    for cohort in (0, 1):
        assert sorted((lane, report.trial, report.epoch) for lane, report in made.wait(cohort)) == [
            (lane, lane, 1) for lane in range(cohort, LANES, 2)
        ]


def test_what_does_not_fit_in_the_narrowest_packs_is_said_to_the_user(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recovery, "STARTS", 2)
    said: list[str] = []
    with pytest.raises(UserError, match="do not fit into memory") as caught:
        executor(ScriptedHost(too_wide(1)), said)
    assert "search.parallel" in str(caught.value) and str(LANES) in str(caught.value)
    assert said == halved(8, 4, 2)


def test_a_replacement_that_runs_out_of_memory_halves_too() -> None:
    """A worker that was merely ended is followed by one that runs out of memory: others take more by now."""

    def cue(worker: ScriptedWorker, request: Request | None) -> Failure | None:
        if isinstance(request, TrainRound) and worker is host.started[0]:
            return WorkerFailed(RuntimeError("no"))
        return too_wide(8)(worker, request) if worker is not host.started[0] else None

    said: list[str] = []
    host = ScriptedHost(cue)
    made = executor(host, said)
    made.dispatch(0, [(0, Load(7, {}, 0), 0)], [0])
    assert [(lane, report.trial) for lane, report in made.wait(0)] == [(0, 7)]
    assert made.width == 8 and halved(8)[0] in said


def test_why_a_worker_was_lost_is_not_forgotten_for_its_silence() -> None:
    """It fails for want of memory in one cohort's round; the other's round, which it owes too, is never answered."""

    def cue(worker: ScriptedWorker, request: Request | None) -> Failure | None:
        return NO_MEMORY if isinstance(request, TrainRound) and worker.width > 8 else None

    said: list[str] = []
    made = executor(ScriptedHost(cue), said)
    for cohort in (0, 1):
        made.dispatch(cohort, [(cohort, Load(cohort, {}, 0), 3)], [cohort])
    made.measure_usage()
    assert said == halved(8)
    assert [made.wait(cohort)[0][1].epoch for cohort in (0, 1)] == [4, 4]


def test_usage_counts_the_workers_that_are_gone() -> None:
    def cue(worker: ScriptedWorker, request: Request | None) -> Failure | None:
        first = worker is host.started[0]
        return WorkerFailed(RuntimeError("no")) if first and isinstance(request, GetUsage) else None

    host = ScriptedHost(cue)
    made = executor(host, [])
    assert made.measure_usage().steps >= 2.0 and len(host.started) > 1


def test_a_study_that_a_worker_refuses_is_refused() -> None:
    refusal = UserError("the model is refused", key="model", value="x", allowed="another")
    with pytest.raises(UserError, match="the model is refused"):
        executor(ScriptedHost(lambda worker, request: StudyRefused(refusal)), [])


def test_a_worker_that_is_killed_before_it_begins_gives_way_to_another() -> None:
    said: list[str] = []
    host = ScriptedHost(lambda worker, request: killed() if worker in host.started[:2] and request is None else None)
    made = executor(host, said, workers=2)
    assert said == ["a pack worker was ended by SIGKILL before it began: another one starts in its place"] * 2
    assert made.workers == 2 and [worker.spec.index for worker in host.started] == [0, 1, 0, 1]
    made.dispatch(0, [(0, Load(7, {}, 0), 0)], [0])
    assert [(lane, report.trial) for lane, report in made.wait(0)] == [(0, 7)]


@pytest.mark.parametrize("begun", [False, True], ids=["before it measures", "before it has its lanes"])
def test_workers_that_are_killed_again_and_again_end_in_a_line(begun: bool) -> None:
    """A later one, too, which replaces another that was lost over a round."""

    def cue(worker: ScriptedWorker, request: Request | None) -> Failure | None:
        if worker is host.started[0] and begun:
            return WorkerFailed(RuntimeError("no")) if isinstance(request, TrainRound) else None
        return killed() if request is None else None

    host = ScriptedHost(cue)
    with pytest.raises(UserError) as caught:
        made = executor(host, [])
        made.dispatch(0, [(0, Load(7, {}, 0), 0)], [0])
        made.wait(0)
    what = "a pack worker was ended by SIGKILL before it began, 5 times in a row"
    assert str(caught.value) == f"{what}; see what ends processes on this machine, or what they print; then resume"
    assert len(host.started) == 5 + begun


def test_a_device_that_is_shunned_for_a_while_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a node of a cluster is that lost a worker."""
    host, refused = ScriptedHost(lambda worker, request: killed() if worker is host.started[0] else None), []
    start = host.start

    def shunned(spec: WorkerSpec) -> WorkerHandle:
        if len(host.started) == 1 and len(refused) < 2:
            refused.append(spec.index)
            raise NoDevice
        return start(spec)

    monkeypatch.setattr(host, "start", shunned)
    assert executor(host, []).workers == 1 and refused == [0, 0]
    refused.clear()
    host.started = host.started[:1]
    monkeypatch.setattr("regsearch.executors.worker_start._DEVICE_WITHIN", 0.0)
    with pytest.raises(UserError, match="there is no device for worker 1 to train on; see which machines are there"):
        executor(host, [])


def test_a_model_that_does_not_fit_at_all_is_said_to_the_user() -> None:
    with pytest.raises(UserError, match="do not fit into memory") as caught:
        executor(ScriptedHost(lambda worker, request: NO_MEMORY), [], workers=2)
    assert "search.workers" in str(caught.value)
