"""A worker, and where workers are started, as the executor sees them on whatever machine they are."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol, TypeVar

from regsearch.executors.messages import Calibrated, Failure, Reply, Request, StudyRefused, WorkerFailed, WorkerSpec

T = TypeVar("T", Reply, Calibrated)


class WorkerLost(Exception):
    """Say that a worker is gone.

    Args:
        why: in words that stand behind "the worker".
        memory: whether memory ran out.
        error: what it failed with, if it could say.
    """

    def __init__(self, why: str, *, memory: bool = False, error: Exception | None = None) -> None:
        super().__init__(why)
        self.why, self.memory, self.error = why, memory, error


class NoDevice(Exception):
    """Say that there is no device for another worker."""


def raise_failure(message: T | Failure) -> T:
    """Raise what a worker failed with, or pass on what else it says.

    Raises:
        UserError: it refuses the study.
        WorkerLost: it cannot go on.
    """
    if isinstance(message, StudyRefused):
        raise message.error
    if isinstance(message, WorkerFailed):
        if message.out_of_memory:
            raise WorkerLost("ran out of memory", memory=True)
        error = message.error
        raise WorkerLost(f"failed: {type(error).__name__}: {error}", error=error)
    return message


class WorkerHandle(Protocol):
    """Reach one worker: send it requests, and receive its replies in the same order."""

    def ready(self) -> Calibrated:
        """Wait until the worker has measured what was to be measured.

        Raises:
            UserError: it refuses the study.
            WorkerLost: it is gone.
        """
        ...

    def send(self, request: Request) -> None:
        """Send a request; that the worker is gone is said by `receive`."""
        ...

    def receive(self, seconds: float | None = None) -> Reply:
        """Wait for the reply to the oldest request without one.

        Raises:
            WorkerLost: the worker is gone, or gave no answer within this time and was ended. So says every later call.
        """
        ...

    def close(self) -> None:
        """End the worker."""
        ...


class WorkerHost(Protocol):
    """Start the workers of an executor, on this machine or on a cluster."""

    def room(self, wanted: int | None) -> int:
        """Count the workers that there is room for, of those that are wanted; None: of as many as there are devices."""
        ...

    def memory(self) -> int | None:
        """Measure the bytes that the packs of all workers may take; None where each worker measures its own."""
        ...

    def start(self, spec: WorkerSpec) -> WorkerHandle:
        """Start a worker; it is not waited for.

        Raises:
            NoDevice: there is nowhere to put it.
        """
        ...

    def arrivals(self, spec: WorkerSpec, wanted: int) -> list[WorkerHandle]:
        """Return the workers, `wanted` at most, that were started on devices that have come and are ready to begin."""
        ...

    def close(self, handles: Iterable[WorkerHandle]) -> None:
        """End these workers and whatever else was started here."""
        ...
