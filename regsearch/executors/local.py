"""Packs on this machine: one worker process and one thread per core."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from dataclasses import replace
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import psutil

from regsearch.core.products import PRODUCT_SETTINGS
from regsearch.executors.executor import Executor, ExecutorSettings
from regsearch.executors.messages import Calibrated, Failure, Reply, Request, Stop, WorkerSpec
from regsearch.executors.server import start_server
from regsearch.executors.worker import Worker, WorkerServer, failure_of
from regsearch.executors.worker_handle import WorkerHandle, WorkerLost, raise_failure
from regsearch.system.forking import MEMORY, ONE_THREAD, describe_end, start

# Read by the math libraries when torch loads: one thread, and products that are bitwise the same in every slot.
THREADS = PRODUCT_SETTINGS | ONE_THREAD | {"CUBLAS_WORKSPACE_CONFIG": ":4096:8"}
_SHARE = 0.8
"""Of the memory that is free, for all workers together."""


class LocalExecutor(Executor):
    """Train lanes on worker processes of this machine; see `regsearch.executors.executor.Executor`."""

    def __init__(self, settings: ExecutorSettings, say: Callable[[str], None] = lambda line: None) -> None:
        super().__init__(settings, LocalHost(settings.device), say)


class LocalHost:
    """Start workers as processes of this machine, one for each of its cores or GPUs.

    Args:
        device: as in `ExecutorSettings`.
    """

    def __init__(self, device: str) -> None:
        from regsearch.core.device import devices

        self._devices = devices(device)
        self._on_cpu = self._devices == ["cpu"]

    def room(self, wanted: int | None) -> int:
        """Count the workers that are wanted, by default one per core that this process may use, or per GPU."""
        return wanted or (cores() if self._on_cpu else len(self._devices))

    def memory(self) -> int | None:
        """Measure most of the bytes that are free; None on GPUs."""
        return int(_SHARE * free_memory()) if self._on_cpu else None

    def start(self, spec: WorkerSpec) -> LocalWorker:
        """Start a worker process, on the devices in turn."""
        return LocalWorker(replace(spec, device=self._devices[spec.index % len(self._devices)]))

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        """Return no worker: no device comes to this machine."""
        return []

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        """Stop all workers at once, and wait for them."""
        workers = [handle for handle in handles if isinstance(handle, LocalWorker)]
        for worker in workers:
            worker.stop()
        end(worker.process for worker in workers)


def cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def free_memory() -> int:
    """Measure the bytes that processes started here may still take, of the machine and of their control group."""
    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # there is no such group, or it has no limit
        group = Path("/sys/fs/cgroup")
        free = min(free, int((group / "memory.max").read_text()) - int((group / "memory.current").read_text()))
    return free


class LocalWorker:
    """Reach a worker in a process of its own, at the other end of a pipe."""

    def __init__(self, spec: WorkerSpec) -> None:
        os.environ.update(THREADS | MEMORY)
        self._pipe, theirs = multiprocessing.Pipe()
        self._killed_before = _killed_for_memory()
        on_cpu = spec.device == "cpu"
        if on_cpu:
            start_server()
        # No process may use a GPU whose parent has as much as counted them.
        self.process = start(main, spec, theirs, name="regs-worker", daemon=True, fork=on_cpu)
        theirs.close()

    def ready(self) -> Calibrated:
        """Wait until the worker has measured what was to be measured."""
        calibrated: Calibrated | Failure = self._next(None)
        return raise_failure(calibrated)

    def send(self, request: Request) -> None:
        """Send a request through the pipe."""
        with contextlib.suppress(OSError):  # it is gone: `receive` says so
            self._pipe.send(request)

    def receive(self, seconds: float | None = None) -> Reply:
        """Wait for the next reply; without one in time the process is killed."""
        reply: Reply | Failure = self._next(seconds)
        return raise_failure(reply)

    def _next(self, seconds: float | None) -> Any:
        try:
            if not self._pipe.poll(seconds):
                self.process.kill()  # what it may still say must not be taken for the answer to something else
                raise WorkerLost(f"gave no answer in {seconds:.0f} seconds")
            return self._pipe.recv()
        except (EOFError, OSError):
            raise self._gone() from None

    def _gone(self) -> WorkerLost:
        self.process.join(5)
        code = self.process.exitcode
        if code == -signal.SIGKILL and _killed_for_memory() > self._killed_before:
            return WorkerLost("was ended for want of memory", memory=True)
        return WorkerLost(describe_end(code))

    def stop(self) -> None:
        """Tell the worker to end by itself, after what it is doing; it is not waited for."""
        with contextlib.suppress(OSError, ValueError):
            self._pipe.send(Stop())
        self._pipe.close()

    def close(self) -> None:
        """Kill the process."""
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


def end(processes: Iterable[BaseProcess]) -> None:
    """Wait five seconds for each process that is to stop by itself, and kill what is left of it."""
    for process in processes:
        process.join(5)
        if process.is_alive():
            process.kill()
            process.join()


def main(spec: WorkerSpec, pipe: Connection) -> None:
    """Serve requests until the pipe closes, one says stop, or the worker fails."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver decides what Ctrl-C means
    server = WorkerServer(lambda: Worker(spec))
    try:
        calibrated = server.start()
        pipe.send(calibrated)
        failed = not isinstance(calibrated, Calibrated)
        while not failed and not isinstance(request := pipe.recv(), Stop):
            reply = server.reply(request)
            pipe.send(reply)
            failed = not isinstance(reply, Reply)
    except (EOFError, ConnectionError):  # the executor is gone
        return
    except Exception as error:  # what is sent takes memory, too
        with contextlib.suppress(OSError):
            pipe.send(failure_of(error))
