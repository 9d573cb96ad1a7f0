"""Packs on this machine: one worker process and one thread per core."""

from __future__ import annotations

import contextlib
import ctypes
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import psutil

from regsearch.executors.executor import COHORTS, Executor
from regsearch.executors.worker import Found, Worker, WorkerSpec, failure
from regsearch.executors.worker_handle import Lost, Member, told
from regsearch.system.garbage import end_quickly

# Read by the math library when torch loads: one thread, and products that are bitwise the same in every slot.
THREADS = {
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "MKL_CBWR": "AVX2",
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
}
# Read by glibc when a process starts: memory that a step frees stays with the process. Else wide packs give it back and
# fetch it again, page by page, in every step; packs of 64 small models were a third slower for it.
MEMORY = {"MALLOC_MMAP_THRESHOLD_": str(1 << 32), "MALLOC_TRIM_THRESHOLD_": str(1 << 33)}
_SHARE = 0.8
"""Of the memory that is free, for all workers together."""
_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


class LocalExecutor(Executor):
    """Trains lanes on worker processes.

    Args:
        config: the study, as canonical JSON.
        data: the folder of the sealed data.
        regularizers: the names that make the program.
        lanes: how many trials are in flight at most.
        workers: processes; by default one per core that this process may use, or per GPU.
        width: slots per pack; by default measured, and no wider than the free memory allows.
        compiled: run compiled, or operation by operation; by default compiled where that works and pays.
        say: is told in a line what a user should know of.
        memory: bytes that the packs may take; by default most of what is free.
        device: where the packs are, see `regsearch.core.device.devices`.

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
        say: Callable[[str], None] = lambda line: None,
        memory: int | None = None,
        device: str = "cpu",
    ) -> None:
        from regsearch.core.device import devices

        self._devices = devices(device)
        on_cpu = self._devices == ["cpu"]
        workers = max(1, min(workers or (cores() if on_cpu else len(self._devices)), -(-lanes // COHORTS)))
        free = int(_SHARE * free_memory()) if memory is None and on_cpu else memory
        each = None if free is None else free // workers
        super().__init__(WorkerSpec(0, config, data, regularizers, 0, width, compiled, each), lanes, workers, say)

    def hire(self, spec: WorkerSpec) -> Member:
        return _Process(replace(spec, device=self._devices[spec.index % len(self._devices)]))

    def close(self) -> None:
        crew = [post.member for post in self._crew.values() if isinstance(post.member, _Process)]
        for member in crew:
            member.dismiss()
        end(member.process for member in crew)
        super().close()


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Bytes that processes started here may still take: of the machine, and of the control group that they are in."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # there is no such group, or it has no limit
        group = Path("/sys/fs/cgroup")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


class _Process:
    """A worker in a process of its own, at the other end of a pipe."""

    def __init__(self, spec: WorkerSpec) -> None:
        context = multiprocessing.get_context("spawn")
        os.environ.update(THREADS | MEMORY)
        self._pipe, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(spec, theirs, os.getpid()), daemon=True)
        self._killed_before = _killed_for_memory()
        self.process.start()
        theirs.close()

    def ready(self) -> Found:
        found: Found = self._heard(None)
        return found

    def settle_on(self, width: int, compiled: bool) -> None:
        self._put((width, compiled))

    def send(self, waited_for: bool, order: str, *given: Any) -> None:
        self._put((waited_for, order, *given))

    def _put(self, message: tuple[Any, ...]) -> None:
        with contextlib.suppress(OSError):  # it is gone: `receive` says so
            self._pipe.send(message)

    def receive(self, seconds: float | None = None) -> tuple[str, Any, dict[str, float]]:
        found: tuple[str, Any, dict[str, float]] = self._heard(seconds)
        return found

    def _heard(self, seconds: float | None) -> Any:
        try:
            if not self._pipe.poll(seconds):
                self.process.kill()  # what it may still say must not be taken for the answer to something else
                raise Lost(f"gave no answer in {seconds:.0f} seconds")
            kind, said = self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None
        return told(kind, said)

    def _gone(self) -> Lost:
        self.process.join(5)
        code = self.process.exitcode
        if code == -signal.SIGKILL and _killed_for_memory() > self._killed_before:
            return Lost("was ended for want of memory", memory=True)
        if code is not None and code < 0:
            return Lost(f"was ended by {signal.Signals(-code).name}")
        return Lost(f"ended with exit code {code}")

    def dismiss(self) -> None:
        """Tell it to stop."""
        with contextlib.suppress(OSError, ValueError):
            self._pipe.send((False, "stop"))
        self._pipe.close()

    def close(self) -> None:
        self._pipe.close()
        self.process.kill()
        self.process.join()


def _killed_for_memory() -> int:
    """How many processes of this machine the kernel has ended for want of memory so far; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def end(processes: Iterable[multiprocessing.process.BaseProcess]) -> None:
    """Wait five seconds for each process that was told to stop, and kill what is left of it."""
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def main(spec: WorkerSpec, pipe: Connection, parent: int) -> None:
    """Serve orders until the pipe closes or says stop."""
    _die_with_parent(parent)
    end_quickly()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    try:
        worker = Worker(spec)
        pipe.send(("found", worker.found))
        worker.settle_on(*pipe.recv())
        while True:
            waited_for, order, *given = pipe.recv()
            if order == "stop":
                return
            pipe.send(("answer", worker.obey(waited_for, order, *given)))
    except (EOFError, ConnectionError):
        return
    except Exception as error:  # the driver must hear of it, whatever it is
        with contextlib.suppress(OSError):
            pipe.send(failure(error, begun="worker" in locals()))


def _die_with_parent(parent: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
