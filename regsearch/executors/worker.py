"""A pack worker: one thread and its share of the lanes; carries out requests and replies.

How requests reach it and replies go back is its host's affair: a pipe on this machine, an actor on a cluster.
"""

from __future__ import annotations

import contextlib
import importlib
import pickle
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

from regsearch.errors import UserError
from regsearch.executors.messages import (
    Answer,
    Begin,
    Calibrated,
    Done,
    Failure,
    GetUsage,
    GetWeights,
    LaneReports,
    LaneTrial,
    PlaceLanes,
    Reply,
    Request,
    RoundReports,
    SavedTrials,
    SaveTrials,
    StudyRefused,
    TrainRound,
    TrialWeights,
    Usage,
    WorkerFailed,
    WorkerSpec,
)
from regsearch.system.garbage import importing

if TYPE_CHECKING:
    from regsearch.core.calibration import Calibration
    from regsearch.core.pack import Data, Pack, Saved
    from regsearch.core.program import Program


class Worker:
    """Train lanes in packs.

    Attributes:
        calibrated: what was measured before it began.

    Raises:
        UserError: the model or the data is refused.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.data, self._calibration = _prepare(spec)
        measured = self._calibration
        self.calibrated = Calibrated(measured.width, measured.uncompiled, measured.serial)
        self._program: Program
        self._places: dict[int, tuple[Pack, int]] = {}
        self._width = 0
        self._steps = 0
        self._pack_cpu = self._waited = self._idle = 0.0
        self._since = time.perf_counter()

    def reply(self, request: Request) -> Reply:
        """Carry out a request, and account for the time since the last one."""
        seconds = time.perf_counter() - self._since
        if isinstance(request, TrainRound) and request.waited_for:
            self._waited += seconds
        else:
            self._idle += seconds
        answer = self._answer(request)
        self._since = time.perf_counter()
        return Reply(answer, self._usage())

    def _answer(self, request: Request) -> Answer:
        match request:
            case TrainRound():
                return RoundReports(self._train(request))
            case SaveTrials():
                self._load(request.loads)
                return SavedTrials(self._save(request.lanes))
            case GetWeights():
                self._load(request.loads)
                pack, slot = self._places[request.lane]
                return TrialWeights({name: value.cpu().numpy() for name, value in pack.weights(slot).items()})
            case PlaceLanes():
                self._place(request)
            case Begin():
                self._begin(request)
            case GetUsage():
                pass
            case _:
                assert_never(request)
        return Done()

    def _begin(self, request: Begin) -> None:
        self._width = request.width
        self._program = self._calibration.program(request.width)
        if not request.compiled:
            self._program.run_uncompiled()

    def _usage(self) -> Usage:
        steps = self._steps + sum(pack.trial_steps for pack in self._packs())
        return Usage(self._pack_cpu, time.process_time(), self._waited, self._idle, float(steps))

    def _packs(self) -> list[Pack]:
        return list({id(pack): pack for pack, _ in self._places.values()}.values())

    def _save(self, lanes: Iterable[int]) -> dict[int, Saved]:
        return {lane: self._places[lane][0].save(self._places[lane][1]) for lane in lanes}

    def _place(self, request: PlaceLanes) -> None:
        from regsearch.core.pack import Pack

        staying = [lane for lane, (pack, slot) in self._places.items() if pack.loads[slot] is not None]
        trials = {**self._save(staying), **request.saved}
        self._steps += sum(pack.trial_steps for pack in self._packs())
        self._places = {}
        for lanes in request.lanes.values():
            for start in range(0, len(lanes), self._width):
                part = lanes[start : start + self._width]
                pack = Pack(self._program, self.data, min(self._width, len(part)))
                for slot, lane in enumerate(part):
                    self._places[lane] = pack, slot
                    if lane in trials:
                        pack.put(slot, trials[lane])

    def _train(self, request: TrainRound) -> LaneReports:
        start = time.process_time()
        self._load(request.loads)
        reports: LaneReports = []
        for pack, lane_of in self._by_pack(request.lanes):
            slots = sorted(lane_of)
            reports += zip([lane_of[slot] for slot in slots], pack.train_epoch(slots), strict=True)
        self._pack_cpu += time.process_time() - start
        return sorted(reports, key=lambda pair: pair[0])

    def _load(self, loads: Mapping[int, LaneTrial]) -> None:
        """Put trials into their lanes, and train each up to its epoch."""
        from regsearch.core.pack import Load

        for lane, trial in loads.items():
            pack, slot = self._places[lane]
            pack.load(slot, trial.start) if isinstance(trial.start, Load) else pack.put(slot, trial.start)
        for pack, lane_of in self._by_pack(loads):
            while behind := [slot for slot, lane in lane_of.items() if pack.epochs[slot] < loads[lane].epoch]:
                pack.train_epoch(sorted(behind))

    def _by_pack(self, lanes: Iterable[int]) -> list[tuple[Pack, dict[int, int]]]:
        """Return the packs that these lanes are in, with the lane of each of their slots."""
        packs: dict[int, tuple[Pack, dict[int, int]]] = {}
        for lane in lanes:
            pack, slot = self._places[lane]
            packs.setdefault(id(pack), (pack, {}))[1][slot] = lane
        return list(packs.values())


def _prepare(spec: WorkerSpec) -> tuple[Data, Calibration]:
    """Load the rows that a worker trains on, and calibrate its program."""
    with importing():
        import torch

        from regsearch.config import StudyConfig
        from regsearch.core.build import build_program, load_data
        from regsearch.core.calibration import calibrate
        from regsearch.core.device import free_on, use
        from regsearch.data import Manifest
        from regsearch.system.guard import guard

    guard()
    for module in spec.modules:
        with contextlib.suppress(ImportError):  # what it would have declared is refused by name
            importlib.import_module(module)
    torch.set_num_threads(1)
    device = use(spec.device)
    folder = Path(spec.data)
    config = StudyConfig.from_json(spec.config)
    manifest = Manifest.load(folder)
    data = load_data(folder)
    return data, calibrate(
        lambda: build_program(config, manifest, spec.space),
        data,
        spec.most,
        config.search.trials,
        width=spec.width,
        compiled=spec.compiled,
        backwards=spec.index % 2 == 1,
        memory=free_on(device) if spec.memory is None else spec.memory,
    )


class WorkerServer:
    """Run a worker for its host: it raises nothing, what goes wrong is an answer too.

    Args:
        build: makes the worker.
    """

    def __init__(self, build: Callable[[], Worker]) -> None:
        self._build = build
        self._worker: Worker | None = None

    def start(self) -> Calibrated | Failure:
        """Build the worker, which measures what is to be measured."""
        try:
            self._worker = self._build()
        except Exception as error:  # the executor must hear of it, whatever it is
            failure = failure_of(error)
            # Before it begins, an error of the user's is one of the study, not of a trial.
            refused = isinstance(error, UserError) and not failure.out_of_memory
            return StudyRefused(failure.error) if refused else failure
        return self._worker.calibrated

    def reply(self, request: Request) -> Reply | Failure:
        """Carry out a request with the worker; after a failure it is of no more use."""
        assert self._worker is not None, "it is asked after it was started"
        try:
            return self._worker.reply(request)
        except Exception as error:  # as above
            return failure_of(error)


def failure_of(error: Exception) -> WorkerFailed:
    """Describe an error so that it can be sent, and say whether memory ran out."""
    from regsearch.core.footprint import out_of_memory

    return WorkerFailed(_sendable(error), out_of_memory(error))


def _sendable(error: Exception) -> Exception:
    """Note where an error was raised; one that cannot be sent becomes one that says as much."""
    error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # whatever a user's class does
        return RuntimeError(f"{type(error).__name__}: {error}\n{traceback.format_exc()}")
    return error
