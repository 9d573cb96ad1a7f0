"""A search whose workers answer at once, for what a study costs besides its training.

Everything but the training is regsearch's own: driver, Optuna's journal, outbox, executor. More workers and trials are
wanted than two cores can train, so light workers answer at once with curves drawn from a formula.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil
import yaml
from bench import HERE

from regsearch.config.yaml12 import read_yaml
from regsearch.core.pack import Load
from regsearch.driver.plan import SearchPlan
from regsearch.driver.rounds import RoundDriver
from regsearch.executors.executor import COHORTS, Executor, ExecutorSettings
from regsearch.executors.messages import (
    Answer,
    Calibrated,
    Done,
    Reply,
    Request,
    RoundReports,
    TrainRound,
    Usage,
    WorkerSpec,
)
from regsearch.executors.worker_handle import WorkerHandle
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.space import SearchSpace
from regsearch.study.study import Study
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import StudyStart
from regsearch.trial import Report

EPOCHS = 30
METRICS = ("val_loss", "train_loss", "gap")


def study_of(folder: Path, **search: Any) -> Study:
    """The study of studies/digits.yaml with another search and without finals; written into `folder`."""
    found = read_yaml((HERE.parent / "studies" / "digits.yaml").read_text())
    found["search"] = {"seed": 0, **search}
    found["train"]["epochs"], found["finalize"] = EPOCHS, {"seeds": 0}
    (folder / "digits.yaml").write_text(yaml.safe_dump(found))
    return Study.from_file(folder / "digits.yaml")


def loss(seed: int, epoch: int) -> float:
    """A validation loss that falls from 2 towards a level of the trial's own; the order of trials stays."""
    level = random.Random(seed).random()
    return level + (2 - level) * math.exp(-epoch / 5)


class LightWorker:
    """A worker that answers at once. `spent` is what its answers took, which is not the driver's."""

    def __init__(self, width: int, metrics: int) -> None:
        self.spent = 0.0
        self._width, self._names = width, [*METRICS, *(f"metric_{k}" for k in range(metrics - len(METRICS)))]
        self._trials: dict[int, tuple[int, int, int]] = {}
        self._due: deque[Answer] = deque()

    def ready(self) -> Calibrated:
        return Calibrated(self._width, None, None)

    def send(self, request: Request) -> None:
        start = time.process_time()
        self._due.append(self._train(request) if isinstance(request, TrainRound) else Done())
        self.spent += time.process_time() - start

    def receive(self, seconds: float | None = None) -> Reply:
        return Reply(self._due.popleft(), Usage())

    def close(self) -> None:
        pass

    def _train(self, request: TrainRound) -> RoundReports:
        for lane, trial in request.loads.items():
            assert isinstance(trial.start, Load), "no trial of a search without populations goes on from another"
            self._trials[lane] = trial.start.number, trial.start.seed, trial.epoch
        reports = []
        for lane in request.lanes:
            number, seed, epoch = self._trials[lane]
            self._trials[lane] = number, seed, epoch + 1
            value = loss(seed, epoch + 1)
            reports.append((lane, Report(number, epoch + 1, dict.fromkeys(self._names, value))))
        return RoundReports(reports)


class LightHost:
    """Starts light workers."""

    def __init__(self, width: int, metrics: int) -> None:
        self._width, self._metrics = width, metrics
        self.workers: list[LightWorker] = []

    def room(self, wanted: int | None) -> int:
        return wanted or 1

    def memory(self) -> int | None:
        return None

    def start(self, spec: WorkerSpec) -> LightWorker:
        self.workers.append(LightWorker(self._width, self._metrics))
        return self.workers[-1]

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        return []

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        pass


class LightExecutor(Executor):
    """regsearch's executor with light workers."""

    def __init__(self, workers: int, lanes: int, metrics: int) -> None:
        self._host = LightHost(-(-lanes // COHORTS), metrics)
        super().__init__(ExecutorSettings("", "", SearchSpace(), lanes, workers, 2, compiled=False), self._host)

    def light_seconds(self) -> float:
        return sum(worker.spent for worker in self._host.workers)


def driven(
    folder: Path, trials: int, *, workers: int = 1, lanes: int = 32, metrics: int = 9, **search: Any
) -> dict[str, float]:
    """A whole search with light workers: the driver's seconds, without the light workers' own, and what it wrote."""
    study = study_of(folder, trials=trials, parallel=lanes, **search)
    own = OptunaSearch(
        "digits",
        study.space,
        study.config.search,
        JournalFile(folder / "search.journal"),
        ["minimize"],
        study.config.train.epochs,
    )
    executor = LightExecutor(workers, lanes, metrics)
    with Outbox(folder / "outbox.jsonl") as outbox:
        outbox.append(StudyStart("digits", {}, {}, 1_700_000_000_000))
        driver = RoundDriver(own, outbox, executor, SearchPlan(trials, EPOCHS, 0, ("val_loss",), start_ms=1))
        memory, cpu, start = psutil.Process().memory_info().rss, time.process_time(), time.perf_counter()
        driver.run()
        cpu, seconds = time.process_time() - cpu, time.perf_counter() - start
        memory = psutil.Process().memory_info().rss - memory
    light = executor.light_seconds()
    return {
        "seconds": seconds - light,
        "cpu": cpu - light,
        "turns": driver.turn,
        "trials": trials,
        "reports": sum(len(trial.reports) for trial in driver.trials.values()),
        "journal_bytes": (folder / "search.journal").stat().st_size,
        "outbox_bytes": (folder / "outbox.jsonl").stat().st_size,
        "memory_bytes": memory,
    }
