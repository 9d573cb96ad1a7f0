"""What the driver holds of the writer: start it, ask it, let it finish. MLflow is not imported here."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from regsearch.errors import UserError
from regsearch.system.forking import describe_end, start, was_killed
from regsearch.tracking.log.commands import DRAIN, FLUSH, receive
from regsearch.tracking.log.cursor import Status, read_cursor, read_status, status_path
from regsearch.tracking.mlflow.store import SCHEMES

LOOK_SECONDS = 0.02
AGAIN = 3
"""How often another writer is started at most."""
DRAIN_SECONDS = 120.0
"""How long the end of a study waits for its store."""
DATABASES = tuple(scheme for scheme in SCHEMES if scheme not in ("http", "https", "databricks"))


@dataclass
class WriterHandle:
    """Hold a running writer.

    Attributes:
        commands: to it.
        begin: starts the process, and gives it with the pipe to it.
    """

    outbox: Path
    process: BaseProcess
    commands: Connection
    begin: Callable[[], tuple[BaseProcess, Connection]]
    _heard: int = 0
    _begun_anew: int = 0

    def alive(self) -> bool:
        """Tell whether the writer is running."""
        return self.process.is_alive()

    def begin_anew(self) -> str:
        """Start another writer where something else ended this one, as the kernel does when memory is short, or whoever
        ends the server of forks; some times, not for ever. The line that says so; empty where nothing was to do.
        """
        code = self.process.exitcode
        if not was_killed(code) or self._begun_anew == AGAIN:
            return ""
        self.commands.close()
        self.process, self.commands = self.begin()
        self._heard, self._begun_anew = 0, self._begun_anew + 1
        return f"the process that writes to MLflow {describe_end(code)}: another one goes on"

    def status(self) -> Status:
        """Read the writer's latest status."""
        status, pid = read_status(status_path(self.outbox)), self.process.pid or 0
        return status if status.pid == pid else Status(pid=pid)

    def delivered(self) -> bool:
        """Tell whether everything in the outbox is at the store."""
        return read_cursor(self.outbox) >= self.outbox.stat().st_size

    def news(self) -> list[str]:
        """List what the store had lost and what was done about it, as far as it was not listed before."""
        notices = self.status().notices
        new, self._heard = notices[self._heard :], len(notices)
        return new

    def refuse(self) -> None:
        """Pass on the writer's refusal of a store that cannot take the study.

        Raises:
            UserError: the writer refused it.
        """
        status = self.status()
        if status.state == "refused":
            raise UserError(status.error)

    def await_store(self, timeout: float) -> None:
        """Wait until the store is open and has what it lost; a store that is away is not waited for.

        Raises:
            UserError: the writer refused the store.
        """
        self._ask(FLUSH)
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.begin_anew():
                self._ask(FLUSH)
            if not self.alive():
                break
            status = self.status()
            behind = status.notices and not self.delivered()
            if status.state == "retrying" or (status.state != "starting" and not behind):
                break
            time.sleep(LOOK_SECONDS)
        self.refuse()

    def flush(self, timeout: float) -> bool:
        """Flush the outbox to the store now; False if that took more than `timeout` seconds, or the writer ended."""
        self._ask(FLUSH)
        deadline = time.monotonic() + timeout
        while not self.delivered():
            if time.monotonic() > deadline or not self.alive():
                return self.delivered()
            time.sleep(LOOK_SECONDS)
        return True

    def no_more(self) -> None:
        """Say that the outbox gets no more records: the writer delivers the rest and ends, meanwhile."""
        self._ask(DRAIN)
        self.commands.close()

    def drain(self, timeout: float) -> bool:
        """Wait until the rest is delivered and the writer ends; False if it could not within `timeout` seconds.

        What is not delivered stays in the outbox for the next writer.
        """
        deadline = time.monotonic() + timeout
        self.no_more()
        self.process.join(timeout)
        while self.begin_anew():
            self.no_more()
            self.process.join(max(0.0, deadline - time.monotonic()))
        if self.alive():
            self.kill()
            return False
        return self.process.exitcode == 0 and self.delivered()

    def kill(self) -> None:
        """End the writer at once; nothing acknowledged is lost."""
        self.process.kill()
        self.process.join()
        self.commands.close()

    def _ask(self, command: str) -> None:
        with contextlib.suppress(OSError):  # it knows that there is no more, or is gone
            self.commands.send(command)


def bring_up_to_date(outbox: Path, uri: str, say: Callable[[str], None], timeout: float) -> None:
    """Bring a store up to the outbox of a study at rest, and write again what the store lost of it.

    Args:
        say: is told in a line what the store had lost.

    Raises:
        UserError: the store did not take everything.
    """
    writer = start_writer(outbox, uri)
    try:
        done = writer.drain(timeout)
    except BaseException:
        writer.kill()
        raise
    for line in writer.news():
        say(line)
    writer.refuse()
    if not done:
        raise not_taken(writer, uri)


def not_taken(writer: WriterHandle, uri: str) -> UserError:
    """Make the refusal of a store that did not take everything in time."""
    study = writer.outbox.parent.name
    return UserError(
        f"the MLflow store did not take everything: {writer.status().error or 'it does not answer'}",
        key="tracking.uri",
        value=uri,
        allowed=f"`regsearch study resume {study}` delivers the rest",
    )


def start_writer(outbox: str | Path, uri: str, artifacts: str | Path | None = None) -> WriterHandle:
    """Start the process that delivers `outbox` to the store at `uri`.

    Args:
        artifacts: where a store kept by a database puts files; by default `artifacts` two folders above the
            outbox's (`mlruns/studies/NAME/outbox.jsonl` gives `mlruns/artifacts`).

    What the writer has to say beyond its status goes to `outbox.log` beside the outbox.
    """
    path = Path(outbox).absolute()
    folder = Path(artifacts).absolute() if artifacts is not None else path.parents[2] / "artifacts"
    kept_by_database = uri.split(":", 1)[0].split("+", 1)[0] in DATABASES

    def begin() -> tuple[BaseProcess, Connection]:
        theirs, ours = multiprocessing.Pipe(duplex=False)
        given = path, uri, folder if kept_by_database else None
        log = path.with_suffix(".log")
        process = start(_deliver, theirs, *given, daemon=True, output=log, name="regs-writer")
        theirs.close()
        return process, ours

    return WriterHandle(path, *begin(), begin)


def _deliver(commands: Connection, outbox: Path, uri: str, artifacts: Path | None) -> None:
    """Be the writer."""
    os.setsid()  # Ctrl-C is the driver's to handle
    from regsearch.tracking.mlflow.writer import deliver

    sys.exit(deliver(outbox, uri, artifacts, receive(commands)))
