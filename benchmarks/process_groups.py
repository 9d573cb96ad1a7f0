"""Processes that measure together: one group for each way of using the machine, each a process per core or one for all.

A process keeps its variants as iterators over steps between measurements, so that variants can be measured in turn.
"""

from __future__ import annotations

import multiprocessing
import os
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import TracebackType
from typing import TYPE_CHECKING, Any

from regsearch.executors.local import MEMORY, end

if TYPE_CHECKING:
    from models import Case
    from packs import Packs
    from peers import Rows

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
GROUPS = {
    # Whether there is a process per core, or one with a thread per core; and the math library's mode, None: not set.
    "packs": (True, "AVX2"),
    "singles": (True, None),
    "threads": (False, None),
}
ROWS = 1024
_LEAST_STEPS = 2
_COMPILED = "compiled loops"


@dataclass(frozen=True)
class Variant:
    """One way of doing the work of a model: its name, the group that does it, and what is called to begin.

    Args:
        begin: called in each process with the process's `Bench` and `given`; gives the steps.
    """

    name: str
    group: str
    begin: Callable[..., Iterator[int]]
    given: tuple[Any, ...] = ()


class Bench:
    """What one process holds for the model under measurement."""

    def __init__(self) -> None:
        self.case: Case
        self.rows: Rows
        self.packs: dict[str, Packs] = {}
        self._steps: dict[str, Iterator[int]] = {}

    def model(self, name: str) -> None:
        """Forget everything, and begin with this model."""
        import torch
        from models import CASES

        self.packs, self._steps = {}, {}
        torch.manual_seed(0)
        self.case = CASES[name]
        self.rows = self.case.rows(ROWS)

    def begin(self, variant: Variant) -> str | None:
        """Make a variant and train two steps; None, or why it does not train."""
        steps = variant.begin(self, *variant.given)
        try:
            for _ in range(2):
                next(steps)
        except Exception as error:  # whatever a peer cannot do is one of its figures
            return (str(error).splitlines() or [type(error).__name__])[0]
        self._steps[variant.name] = steps
        return None

    def end(self, name: str) -> None:
        """Forget a variant."""
        del self._steps[name]

    def rate(self, name: str, seconds: float) -> float:
        """Work per second of wall time; the first step is not counted."""
        steps, work, count = self._steps[name], 0, 0
        next(steps)
        start = time.perf_counter()
        while count < _LEAST_STEPS or time.perf_counter() - start < seconds:
            work, count = work + next(steps), count + 1
        return work / (time.perf_counter() - start)

    def call(self, function: Callable[..., Any], *given: Any) -> Any:
        """What a function of this process says."""
        return function(self, *given)

    def profile(self, name: str, most: int = 5) -> dict[str, float]:
        """Shares of a step's time by operation, the largest first, then the others', then what none accounts for."""
        import torch

        steps = self._steps[name]
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profiler:
            start = time.perf_counter()
            for _ in range(5):
                next(steps)
            whole = 1e6 * (time.perf_counter() - start)
        spent: Counter[str] = Counter()
        for event in profiler.key_averages():
            operation = _COMPILED if event.key.startswith("## Call CompiledFxGraph") else event.key
            spent[operation] += event.self_cpu_time_total / whole
        largest = dict(spent.most_common(most))
        rest = {"other operations": spent.total() - sum(largest.values()), "Python": 1 - spent.total()}
        return {key: round(share, 4) for key, share in {**largest, **rest}.items()}


def _serve(pipe: Connection) -> None:
    # Plain vmap runs some operations trial by trial; that is part of what is measured.
    warnings.filterwarnings("ignore", "There is a performance drop")
    bench = Bench()
    while True:
        try:
            name, given = pipe.recv()
        except EOFError:
            return
        try:
            pipe.send((getattr(bench, name)(*given), None))
        except Exception:
            pipe.send((None, traceback.format_exc()))


class ProcessGroup:
    """The processes of one entry of `GROUPS` on so many cores; a context, which ends them."""

    def __init__(self, name: str, cores: int) -> None:
        self.name = name
        single, mode = GROUPS[name]
        count, threads = (cores, 1) if single else (1, cores)
        # Read when torch and its math library load.
        settings = {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads), "MKL_CBWR": mode}
        settings |= dict.fromkeys(MEMORY) if mode is None else MEMORY
        settings["KINETO_LOG_LEVEL"] = "99"  # torch's profiler would write of itself
        kept = dict(os.environ)
        for variable, value in settings.items():
            os.environ.pop(variable, None)
            if value is not None:
                os.environ[variable] = value
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        self._processes = []
        try:
            for _ in range(count):
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()
                self._pipes.append(ours)
                self._processes.append(process)
        finally:
            os.environ.clear()
            os.environ.update(kept)

    def ask(self, name: str, *given: Any) -> list[Any]:
        """What a method of `Bench` says in each process; they run at the same time.

        Raises:
            RuntimeError: one of them failed.
        """
        for pipe in self._pipes:
            pipe.send((name, given))
        answers = [pipe.recv() for pipe in self._pipes]
        failed = next((why for _, why in answers if why), None)
        if failed:
            raise RuntimeError(f"the group {self.name} failed:\n{failed}")
        return [answer for answer, _ in answers]

    def __enter__(self) -> ProcessGroup:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for pipe in self._pipes:
            pipe.close()
        end(self._processes)
