"""What a study holds of the process that writes TensorBoard's event files. TensorBoard is not imported here."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from regsearch.system.forking import describe_end, start
from regsearch.tracking.log.commands import DRAIN, receive

DRAIN_SECONDS = 120.0


@contextlib.contextmanager
def event_files(outbox: Path, folder: Path | None, say: Callable[[str], None]) -> Iterator[None]:
    """Write what is appended to `outbox` to event files in `folder` while the block runs; after it, they are whole.

    Trouble with them is told by `say` and ends nothing else. Without a folder nothing happens.
    """
    if folder is None:
        yield
        return
    with tempfile.TemporaryDirectory() as place:
        log = Path(place) / "log"
        log.touch()
        theirs, ours = multiprocessing.Pipe(duplex=False)
        process = start(_deliver, theirs, outbox, folder, daemon=True, output=log, name="regs-events")
        theirs.close()
        try:
            yield
        finally:
            if trouble := _drain(process, ours):
                lines = log.read_text(errors="replace").strip().splitlines() or [trouble]
                say(f"TensorBoard's files in {folder} are not whole: {lines[-1]}")


def _deliver(commands: Connection, outbox: Path, folder: Path) -> None:
    """Be the writer."""
    os.setsid()  # Ctrl-C is the driver's to handle
    from regsearch.tracking.tensorboard.writer import deliver

    try:
        deliver(outbox, folder, receive(commands))
    except (OSError, ValueError) as error:
        sys.exit(" ".join(str(error).split()))


def _drain(process: BaseProcess, commands: Connection) -> str:
    """Have it write the rest and end; what went wrong, if anything did."""
    with contextlib.suppress(OSError):  # it is gone
        commands.send(DRAIN)
    commands.close()
    process.join(DRAIN_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        return "writing them took too long"
    return "" if process.exitcode == 0 else f"the process that writes them {describe_end(process.exitcode)}"


__all__ = ["event_files"]
