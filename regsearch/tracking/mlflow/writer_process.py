"""What the driver holds of the writer: start it, ask it, let it finish. MLflow is not imported here."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from regsearch.errors import UserError
from regsearch.system.processes import child_environment
from regsearch.tracking.log.cursor import URI, Status, read_cursor, read_status, status_path
from regsearch.tracking.mlflow.store import SCHEMES

LOOK_SECONDS = 0.02
DRAIN_SECONDS = 120.0
"""How long the end of a study waits for its store."""
DATABASES = tuple(scheme for scheme in SCHEMES if scheme not in ("http", "https", "databricks"))


@dataclass
class WriterHandle:
    """A running writer. It must be started from a thread that lives as long as the driver: it dies with that thread."""

    outbox: Path
    process: subprocess.Popen[bytes]
    _heard: int = 0

    def alive(self) -> bool:
        """Tell whether the writer is running."""
        return self.process.poll() is None

    def status(self) -> Status:
        """Read the writer's latest status."""
        status = read_status(status_path(self.outbox))
        return status if status.pid == self.process.pid else Status(pid=self.process.pid)

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
        self._say("flush")
        deadline = time.monotonic() + timeout
        while self.alive() and time.monotonic() < deadline:
            status = self.status()
            behind = status.notices and not self.delivered()
            if status.state == "retrying" or (status.state != "starting" and not behind):
                break
            time.sleep(LOOK_SECONDS)
        self.refuse()

    def flush(self, timeout: float) -> bool:
        """Flush the outbox to the store now; False if that took more than `timeout` seconds, or the writer ended."""
        self._say("flush")
        deadline = time.monotonic() + timeout
        while not self.delivered():
            if time.monotonic() > deadline or not self.alive():
                return self.delivered()
            time.sleep(LOOK_SECONDS)
        return True

    def no_more(self) -> None:
        """Say that the outbox gets no more records: the writer delivers the rest and ends, meanwhile."""
        self._say("drain")
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def drain(self, timeout: float) -> bool:
        """Wait until the rest is delivered and the writer ends; False if it could not within `timeout` seconds.

        What is not delivered stays in the outbox for the next writer.
        """
        self.no_more()
        try:
            ended = self.process.wait(timeout) == 0
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        return ended and self.delivered()

    def kill(self) -> None:
        """End the writer at once; nothing acknowledged is lost."""
        self.process.kill()
        self.process.wait()
        with contextlib.suppress(OSError):
            if self.process.stdin is not None:
                self.process.stdin.close()

    def _say(self, word: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self.process.stdin is not None:
                self.process.stdin.write(f"{word}\n".encode())
                self.process.stdin.flush()


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
    command = [sys.executable, "-m", "regsearch.tracking.mlflow.writer", str(os.getpid()), str(path)]
    if uri.split(":", 1)[0].split("+", 1)[0] in DATABASES:
        command.append(str(folder))
    with open(path.with_suffix(".log"), "ab") as log:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            # Everyone sees a command line, and an address may hold a password.
            env={**child_environment(), URI: uri},
            start_new_session=True,  # Ctrl-C is the driver's to handle
        )
    return WriterHandle(path, process)
