"""Packs on this machine: one worker process and one thread per core, the lanes shared out among them.

A lane is a place for one trial in flight. Lanes belong to two cohorts that take turns: while the driver decides over
one cohort's reports, the workers train the other. Which worker or slot a lane is in never changes an answer.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import multiprocessing.process
import os
from collections.abc import Iterable
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING, Any

from regsearch.errors import UserError
from regsearch.executors.worker import WorkerSpec, main
from regsearch.trial import Report

if TYPE_CHECKING:
    from regsearch.core.pack import Load

COHORTS = 2
# Read by the math library when torch loads: one thread, and products that are bitwise the same in every slot.
THREADS = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "MKL_CBWR": "AVX2"}
# Read by glibc when a process starts: memory that a step frees stays with the process. Else wide packs give it back and
# fetch it again, page by page, in every step; packs of 64 small models were a third slower for it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}


class LocalExecutor:
    """Trains lanes on worker processes.

    Args:
        config: the study, as canonical JSON.
        data: the folder of the sealed data.
        regularizers: the names that make the program.
        lanes: how many trials are in flight at most.
        workers: processes; by default one per core that this process may use.
        width: slots per pack; by default measured.
        compiled: run compiled, or operation by operation; by default compiled where that works and pays.

    Raises:
        UserError: the model or the data is refused, or `compiled` is asked for and does not work.
    """

    def __init__(
        self,
        config: str,
        data: str,
        regularizers: tuple[str, ...],
        lanes: int,
        workers: int | None = None,
        width: int | None = None,
        compiled: bool | None = None,
    ) -> None:
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
        self.lanes = lanes
        self.workers = max(1, min(workers or cores, -(-lanes // COHORTS)))
        self._spec = (config, data, regularizers)
        self._pipes: list[Connection] = []
        self._processes: list[Any] = []
        self._due: dict[int, list[int]] = {}
        self._spent: dict[int, dict[str, float]] = {}
        self._answers: dict[int, list[Any]] = {}
        self.width, self.compiled = width or 0, False
        self._start(width, compiled)

    def cohort(self, lane: int) -> int:
        return lane % COHORTS

    def _worker(self, lane: int) -> int:
        return (lane // COHORTS) % self.workers

    def _start(self, width: int | None, compiled: bool | None) -> None:
        context = multiprocessing.get_context("spawn")
        os.environ.update(THREADS | MEMORY)
        for index in range(self.workers):
            mine = [lane for lane in range(self.lanes) if self._worker(lane) == index]
            by_cohort = {c: tuple(lane for lane in mine if self.cohort(lane) == c) for c in range(COHORTS)}
            lanes = {c: part for c, part in by_cohort.items() if part}
            spec = WorkerSpec(index, *self._spec, lanes, width, compiled, os.getpid())
            ours, theirs = context.Pipe()
            process = context.Process(target=main, args=(spec, theirs), daemon=True)
            process.start()
            theirs.close()
            self._pipes.append(ours)
            self._processes.append(process)
        ready = [self._receive(index) for index in range(self.workers)]
        why = next((uncompiled for _, uncompiled, _ in ready if uncompiled), None)
        if compiled and why:
            self.close()
            raise UserError("the training step cannot be compiled", key="train.compile", value=True, allowed=why)
        self.width, self.compiled = max(found for found, _, _ in ready), why is None
        self.serial: str | None = ready[0][2]
        for pipe in self._pipes:
            pipe.send((self.width, self.compiled))

    def _receive(self, index: int) -> Any:
        try:
            answer = self._pipes[index].recv()
        except EOFError:
            self.close()
            raise RuntimeError(f"pack worker {index} ended without a word") from None
        if answer[0] == "refused":
            self.close()
            raise answer[1]
        if answer[0] == "failed":
            self.close()
            raise RuntimeError(f"pack worker {index} failed: {answer[1]}")
        if answer[0] == "ready":
            return answer[1:]
        self._spent[index] = answer[2]
        return answer[1]

    def dispatch(
        self, cohort: int, loads: list[tuple[int, Load, int]], lanes: list[int], waited_for: bool = False
    ) -> None:
        """Have `lanes` of a cohort train one epoch, after loading (lane, trial, epoch that it is at).

        Args:
            waited_for: a worker that stood idle until now waited for this order; else there was too little to train.
        """
        involved = sorted({self._worker(lane) for lane in lanes})
        self._due[cohort] = involved
        for index in involved:
            mine = [load for load in loads if self._worker(load[0]) == index]
            order = ("round", mine, [lane for lane in lanes if self._worker(lane) == index])
            self._pipes[index].send((waited_for, *order))

    def wait(self, cohort: int) -> list[tuple[int, Report]]:
        """The (lane, report) of the cohort's last dispatch. Cohorts are waited for in the order of dispatch."""
        found: list[tuple[int, Report]] = []
        for index in self._due.pop(cohort):
            found += self._receive(index)
        return found

    def weights(self, lane: int) -> dict[str, Any]:
        """The weights of the trial in `lane`; nothing may be under way."""
        index = self._worker(lane)
        self._pipes[index].send((False, "weights", lane))
        found: dict[str, Any] = self._receive(index)
        return found

    def settle(self) -> dict[str, float]:
        """`spent` up to this moment, what the workers did and waited since their last answer included."""
        for pipe in self._pipes:
            pipe.send((False, "settle"))
        for index in range(self.workers):
            self._receive(index)
        return self.spent()

    def spent(self) -> dict[str, float]:
        """CPU seconds in packs and in all, seconds waited for orders, seconds idle for want of trials, and trial-steps
        trained, over all workers so far.
        """
        names = ("pack", "cpu", "waited", "idle", "steps")
        return {name: sum(each.get(name, 0.0) for each in self._spent.values()) for name in names}

    def close(self) -> None:
        """End the workers."""
        for pipe in self._pipes:
            with contextlib.suppress(OSError, ValueError):
                pipe.send((False, "stop"))
            pipe.close()
        end(self._processes)
        self._pipes, self._processes = [], []


def end(processes: Iterable[multiprocessing.process.BaseProcess]) -> None:
    """Wait five seconds for each process that was told to stop, and kill what is left of it."""
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()
