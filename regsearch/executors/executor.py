"""What the driver sees of the packs that train a study's trials, wherever they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from regsearch.executors.lane_table import COHORTS, LaneTable, cohort_of
from regsearch.executors.messages import (
    Done,
    GetUsage,
    GetWeights,
    LaneReports,
    SavedTrials,
    SaveTrials,
    TrialWeights,
    Usage,
    WorkerSpec,
)
from regsearch.executors.recovery import Recovery
from regsearch.executors.worker_handle import WorkerHost
from regsearch.executors.worker_pool import WorkerPool
from regsearch.space import SearchSpace

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from regsearch.core.pack import Saved, Start

__all__ = ["COHORTS", "Executor", "ExecutorSettings"]


@dataclass(frozen=True)
class ExecutorSettings:
    """Set what an executor trains, and with how much of its machines.

    Args:
        config: the study, as canonical JSON.
        data: the folder of the sealed data.
        space: what the study searches, which makes the program.
        lanes: how many trials are in flight at most.
        workers: how many there are at most; by default one per core that may be used, or per GPU.
        width: slots per pack; by default measured, and no wider than the free memory allows.
        compiled: run compiled, or operation by operation; by default compiled where that works and pays.
        memory: bytes that the packs may take; by default most of what is free.
        device: where the packs are, see `regsearch.core.device.devices`.
    """

    config: str
    data: str
    space: SearchSpace
    lanes: int
    workers: int | None = None
    width: int | None = None
    compiled: bool | None = None
    memory: int | None = None
    device: str = "cpu"

    @property
    def most_workers(self) -> int:
        """Count the workers that can be of use: each trains at least a lane of every cohort."""
        useful = max(1, -(-self.lanes // COHORTS))
        return min(self.workers, useful) if self.workers else useful


def _ignore(line: str) -> None:
    """Say nothing."""


def modules_of(names: Iterable[str]) -> tuple[str, ...]:
    """List the modules of the user that declare these regularizers, for workers to import.

    A script declares its own in `__main__`, which a worker imports by itself.
    """
    from regsearch.regularizers import all_regularizers
    from regsearch.regularizers.base import is_shipped

    rules = all_regularizers()
    modules = {rules[name].__module__ for name in names if name in rules and not is_shipped(rules[name])}
    return tuple(sorted(modules - {"__main__"}))


class Executor:
    """Train lanes on workers.

    Args:
        settings: what is trained, and with how much.
        host: where its workers are started; it is closed with the executor.
        say: is told in a line what a user should know of.

    Raises:
        UserError: the model or the data is refused, or `compiled` is asked for and does not work.
    """

    def __init__(self, settings: ExecutorSettings, host: WorkerHost, say: Callable[[str], None] = _ignore) -> None:
        self.lanes, self.say = settings.lanes, say
        count = min(host.room(settings.workers), settings.most_workers)
        memory = host.memory() if settings.memory is None else settings.memory
        spec = WorkerSpec(
            0,
            settings.config,
            settings.data,
            settings.space,
            -(-settings.lanes // (COHORTS * count)),
            settings.width,
            settings.compiled,
            None if memory is None else memory // count,
            settings.device,
            modules_of(settings.space.regularizers()),
        )
        self._table = LaneTable(settings.lanes)
        self.pool = WorkerPool(host, spec, self._table, settings.most_workers, say)
        self._recovery = Recovery(self.pool)
        try:
            self.pool.start(count)
            for cohort in range(COHORTS):
                self.pool.rebalance(cohort)
            self._recovery.run()
        except BaseException:
            self.close()
            raise

    @property
    def workers(self) -> int:
        """Count the workers there are now."""
        return len(self.pool.slots)

    @property
    def width(self) -> int:
        """Return the slots of a pack; 1 for one trial at a time."""
        return self.pool.width

    @property
    def compiled(self) -> bool:
        """Return whether the packs run compiled."""
        return self.pool.compiled

    @property
    def serial(self) -> str | None:
        """Return the operation that keeps the model from being packed, or None."""
        return self.pool.serial

    def cohort(self, lane: int) -> int:
        """Return the cohort that a lane belongs to."""
        return cohort_of(lane)

    def hold(self, lane: int, start: Start, epoch: int) -> None:
        """Place a trial, as it is after `epoch` epochs, in a lane of which nothing is under way."""
        self._table.hold(lane, start, epoch)

    def dispatch(
        self, cohort: int, loads: list[tuple[int, Start, int]], lanes: list[int], waited_for: bool = False
    ) -> None:
        """Dispatch an epoch of a cohort's `lanes`, after loading (lane, what it begins with, epoch that it is at).

        Args:
            waited_for: a worker that stood idle until now waited for this dispatch; else there was too little to train.
        """
        for lane, start, epoch in loads:
            self.hold(lane, start, epoch)
        self.pool.train(cohort, tuple(lanes), waited_for)

    def wait(self, cohort: int) -> LaneReports:
        """Wait for the reports of the cohort's last dispatch, each with its lane, in the order of the workers.

        Cohorts are waited for in the order of dispatch. Workers that have come meanwhile get their share of its lanes.
        """
        while owing := self._table.owing(cohort):
            if not all(self.pool.take_in(worker) for worker in owing):
                self._recovery.run()
        reports = self._table.collect(cohort)
        self.pool.add_arrivals()
        if not self._table.is_balanced(cohort):
            self.pool.rebalance(cohort)
            self._recovery.run()
        return reports

    def weights(self, lane: int) -> dict[str, npt.NDArray[np.generic]]:
        """Read the weights of the trial in `lane`, which did not fail and of which nothing is under way."""
        while True:
            request = GetWeights(lane, self._table.take_loads([lane]))
            answer = self.pool.ask(self._table.worker_of(lane), TrialWeights, request)
            if answer is not None:
                return answer.arrays
            self._recovery.run()

    def state(self, lane: int) -> Saved:
        """Copy the trial in `lane` as it stands, which did not fail and of which nothing is under way."""
        while True:
            request = SaveTrials((lane,), self._table.take_loads([lane]))
            answer = self.pool.ask(self._table.worker_of(lane), SavedTrials, request)
            if answer is not None:
                return answer.trials[lane]
            self._recovery.run()

    def measure_usage(self) -> Usage:
        """Sum what the workers spent up to this moment, what they did and waited since their last reply included."""
        for worker in self.pool.slots:
            self.pool.ask(worker, Done, GetUsage())
        self._recovery.run()
        return self.usage()

    def usage(self) -> Usage:
        """Sum what all workers spent by their last replies."""
        return self.pool.usage()

    def close(self) -> None:
        """End the workers."""
        self.pool.close()
