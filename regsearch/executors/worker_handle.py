"""A worker as its executor sees it, on whatever machine it is."""

from __future__ import annotations

from typing import Any, Protocol

from regsearch.executors.worker import Found


class Lost(Exception):
    """A worker is gone.

    Args:
        why: in words that stand behind "the worker".
        memory: whether memory ran out.
        error: what it failed with, if it could say.
    """

    def __init__(self, why: str, *, memory: bool = False, error: Exception | None = None) -> None:
        super().__init__(why)
        self.why, self.memory, self.error = why, memory, error


class NoPlace(Exception):
    """There is no device for another worker."""


def told(kind: str, said: Any) -> Any:
    """What a worker said, unless it is one of the kinds of `regsearch.executors.worker.failure`.

    Raises:
        UserError: it refuses the study.
        Lost: it cannot go on.
    """
    if kind == "refused":
        raise said
    if kind == "memory":
        raise Lost("ran out of memory", memory=True)
    if kind == "failed":
        raise Lost(f"failed: {type(said).__name__}: {said}", error=said)
    return said


class Member(Protocol):
    """A worker as the executor sees it. Answers come in the order of the orders."""

    def ready(self) -> Found:
        """Wait until it has found out what was to be found out.

        Raises:
            UserError: it refuses the study.
            Lost: it is gone.
        """
        ...

    def settle_on(self, width: int, compiled: bool) -> None:
        """Let it begin."""
        ...

    def send(self, waited_for: bool, order: str, *given: Any) -> None:
        """Hand it an order; that it is gone is said by `receive`."""
        ...

    def receive(self, seconds: float | None = None) -> tuple[str, Any, dict[str, float]]:
        """The answer to the oldest order without one, see `Worker.obey`.

        Raises:
            Lost: it is gone, or gave no answer within this time and was ended. So says every later call.
        """
        ...

    def close(self) -> None:
        """End it."""
        ...
