"""The one worker of null.py, in its own process: the graphs that it has traced are kept from study to study."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from pathlib import Path

import torch

from regsearch.config import StudyConfig
from regsearch.core.build import build_program, load_data, task_of
from regsearch.data import Manifest
from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.executors.messages import Begin, Calibrated, GetUsage, Reply, Request, WorkerSpec
from regsearch.executors.worker import Worker
from regsearch.executors.worker_handle import WorkerHandle


class Kept:
    """What all studies of one kind in this process have in common: a worker whose graphs are traced, and a program.

    Only the rows change from study to study, and with them the scale of a target of values.
    """

    def __init__(self, spec: WorkerSpec) -> None:
        self.worker = Worker(spec)
        # A default device, though it is the CPU, makes every operation pass through Python once more.
        torch.set_default_device(None)
        self.worker.reply(Begin(spec.width or 2, compiled=False))
        self.program = build_program(StudyConfig.from_json(spec.config), Manifest.load(Path(spec.data)), spec.space)

    def take(self, data: Path) -> None:
        """Go over to the rows of another study; nothing of the last one is left."""
        manifest, own = Manifest.load(data), self.worker
        own.data = load_data(data)
        for program in (own._program, self.program):
            program.task = program.evaluation.task = task_of(manifest)
            if manifest.target_scale is not None:
                program.evaluation._metrics.forget()  # its graph holds the scale


class _Here:
    """A worker in this process as its executor sees it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._due: deque[Request] = deque()

    def ready(self) -> Calibrated:
        return self._worker.calibrated

    def send(self, request: Request) -> None:
        self._due.append(request)

    def receive(self, seconds: float | None = None) -> Reply:
        request = self._due.popleft()
        # It has begun already: its graphs are traced.
        return self._worker.reply(GetUsage() if isinstance(request, Begin) else request)

    def close(self) -> None:
        """Nothing is held."""


class _Host:
    """The one worker of this process, for whichever executor needs it."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def room(self, wanted: int | None) -> int:
        return 1

    def memory(self) -> int | None:
        return None

    def start(self, spec: WorkerSpec) -> WorkerHandle:
        return _Here(self._worker)

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        return []

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        """Nothing is held."""


class InProcess(Executor):
    """regsearch's executor with its one worker in this process."""

    def __init__(self, kept: Kept, spec: WorkerSpec, lanes: int) -> None:
        kept.worker._places = {}
        settings = ExecutorSettings(spec.config, spec.data, spec.space, lanes, 1, spec.width, spec.compiled)
        super().__init__(settings, _Host(kept.worker))
