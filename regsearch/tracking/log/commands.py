"""Follow what the driver asks of a process that delivers its outbox."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from multiprocessing.connection import Connection

from regsearch.system.forking import ORPHANED

FLUSH, DRAIN = "flush", "drain"


class Commands(threading.Thread):
    """Follow the driver's commands: `FLUSH` asks for a delivery at once, `DRAIN` for the rest and a normal end.

    Where they end without `DRAIN` the driver is gone, and this process ends.

    Args:
        commands: until there are no more.

    Attributes:
        draining: the outbox gets no more records.
        flushing: a delivery was asked for; set back by the one that makes it.
        woken: set by every command.
    """

    def __init__(self, commands: Iterable[str]) -> None:
        super().__init__(daemon=True, name="commands")
        self._commands = commands
        self.draining = False
        self.flushing = False
        self.woken = threading.Event()

    def run(self) -> None:
        """Follow them until there are no more."""
        for command in self._commands:
            self.draining |= command == DRAIN
            self.flushing = True
            self.woken.set()
        if not self.draining:
            os._exit(ORPHANED)


def receive(pipe: Connection) -> Iterator[str]:
    """Receive commands until the other end is closed."""
    with contextlib.suppress(EOFError):
        while True:
            yield pipe.recv()
