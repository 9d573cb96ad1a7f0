"""A search whose workers answer at once, for what a study costs besides its training.

Everything but the training is regsearch's own: driver, Optuna's journal, outbox, crew. More workers and trials are
wanted than two cores can train, so `Light` workers answer at once with curves drawn from a formula.
"""

from __future__ import annotations

import math
import random
import time
from collections import deque
from pathlib import Path
from typing import Any

import psutil
import yaml
from bench import HERE

from regsearch.config.yaml12 import read_yaml
from regsearch.driver.plan import SearchPlan
from regsearch.driver.rounds import RoundDriver
from regsearch.executors.executor import COHORTS, Executor
from regsearch.executors.worker import Found, WorkerSpec
from regsearch.executors.worker_handle import Member
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
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


class Light:
    """A worker that answers at once. `spent` is what its answers took, which is not the driver's."""

    def __init__(self, width: int, metrics: int) -> None:
        self.spent = 0.0
        self._width, self._names = width, [*METRICS, *(f"metric_{k}" for k in range(metrics - len(METRICS)))]
        self._held: dict[int, tuple[int, int, int]] = {}
        self._due: deque[Any] = deque()

    def ready(self) -> Found:
        return Found(self._width, None, None)

    def settle_on(self, width: int, compiled: bool) -> None:
        pass

    def send(self, waited_for: bool, order: str, *given: Any) -> None:
        start = time.process_time()
        self._due.append(self._round(*given) if order == "round" else {})
        self.spent += time.process_time() - start

    def receive(self, seconds: float | None = None) -> tuple[str, Any, dict[str, float]]:
        return "answer", self._due.popleft(), {}

    def close(self) -> None:
        pass

    def _round(self, loads: list[Any], lanes: list[int]) -> list[tuple[int, Report]]:
        for lane, load, epoch in loads:
            self._held[lane] = load.number, load.seed, epoch
        reports = []
        for lane in lanes:
            number, seed, epoch = self._held[lane]
            self._held[lane] = number, seed, epoch + 1
            value = loss(seed, epoch + 1)
            reports.append((lane, Report(number, epoch + 1, dict.fromkeys(self._names, value))))
        return reports


class LightCrew(Executor):
    """regsearch's executor with light workers."""

    def __init__(self, workers: int, lanes: int, metrics: int) -> None:
        self._metrics = metrics
        super().__init__(WorkerSpec(0, "", "", (), 0, 2, False), lanes, workers)

    def hire(self, spec: WorkerSpec) -> Member:
        return Light(-(-self.lanes // COHORTS), self._metrics)

    def light_seconds(self) -> float:
        return sum(post.member.spent for post in self._crew.values() if isinstance(post.member, Light))


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
    executor = LightCrew(workers, lanes, metrics)
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
