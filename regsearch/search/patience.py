"""Wait for a database that is away, and say so."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator

from regsearch.errors import UserError
from regsearch.search.schema import KEY
from regsearch.system.databases import said

AWAY_SECONDS = 600.0
SILENT_SECONDS = 30.0
"""After which a database that holds a connection without an answer is spoken of."""
RETRY_SECONDS = (0.2, 0.5, 1.0, 2.0, 5.0)


class Patience:
    """Wait for the database of a study while one turn is written, ten minutes at most.

    Args:
        address: of the database.
        name: of the study.
        say: is told in a line that the database is away, or back.
    """

    def __init__(self, address: str, name: str, say: Callable[[str], None]) -> None:
        self._address, self._name, self._say = address, name, say
        self._until, self._tries = time.monotonic() + AWAY_SECONDS, 0

    @contextlib.contextmanager
    def spoken_of(self) -> Iterator[None]:
        """Say so while a database neither answers nor lets go: nothing else would tell why the study stands still."""
        silent = threading.Event()

        def speak() -> None:
            silent.set()
            self._say(
                f"the database of {KEY} has given no answer in {SILENT_SECONDS:.0f} seconds, the study waits for it"
            )

        timer = threading.Timer(SILENT_SECONDS, speak)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
        if silent.is_set():
            self._say("the database answers again; the study goes on")

    def wait(self, error: Exception) -> None:
        """Wait a little after a failure.

        Raises:
            UserError: the database was away for too long.
        """
        why = said(error.__cause__ or error, self._address, KEY)
        if time.monotonic() > self._until:
            raise UserError(
                f"the database did not come back within {AWAY_SECONDS / 60:.0f} minutes: {why}",
                key=KEY,
                value=self._address,
                allowed=f"`regsearch study resume {self._name}` goes on from the last whole turn",
            ) from None
        if not self._tries:
            self._say(f"the database of {KEY} is away, the study waits for it: {why}")
        time.sleep(RETRY_SECONDS[min(self._tries, len(RETRY_SECONDS) - 1)])
        self._tries += 1

    def end(self) -> None:
        """Say that the database is back, where it was away."""
        if self._tries:
            self._say("the database is back; the study goes on")
