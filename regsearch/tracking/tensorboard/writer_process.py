"""What a study holds of the process that writes TensorBoard's event files. TensorBoard is not imported here."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from regsearch.errors import UserError
from regsearch.system.processes import child_environment

KEY = "tracking.tensorboard"
DRAIN_SECONDS = 120.0
OURS = ".regsearch"
"""How the event files end that are regsearch's to remove."""


def check_tensorboard(folder: str | None) -> None:
    """Refuse a folder that cannot be written, and a machine without TensorBoard; nothing is made. None is no folder.

    Raises:
        UserError: the folder.
        ModuleNotFoundError: the package is missing.
    """
    if folder is None:
        return
    if importlib.util.find_spec("tensorboard") is None:
        raise ModuleNotFoundError("No module named 'tensorboard'", name="tensorboard")
    place = Path(folder)
    while not place.exists():
        place = place.parent
    if not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        needed = f"it needs write access to {place}" if place.is_dir() else f"{place} is a file, not a folder"
        raise UserError("TensorBoard's files cannot be written", key=KEY, value=folder, allowed=needed)


@contextlib.contextmanager
def event_files(outbox: Path, folder: Path | None, say: Callable[[str], None]) -> Iterator[None]:
    """Write what is appended to `outbox` to event files in `folder` while the block runs; after it, they are whole.

    Trouble with them is told by `say` and ends nothing else. Without a folder nothing happens.
    """
    if folder is None:
        yield
        return
    with tempfile.TemporaryFile() as log:
        process = _start(outbox, folder, log)
        try:
            yield
        finally:
            if not _drain(process):
                log.seek(0)
                lines = log.read().decode(errors="replace").strip().splitlines() or ["it took too long"]
                say(f"TensorBoard's files in {folder} are not whole: {lines[-1]}")


def remove_event_files(folder: Path | None) -> None:
    """Remove the event files of a study below `folder`, and the folders that are empty then; others' files stay."""
    if folder is None:
        return
    files = list(folder.glob(f"**/events.out.tfevents.*{OURS}"))
    for file in files:
        file.unlink()
    for place in sorted({folder, *(file.parent for file in files)}, reverse=True):
        with contextlib.suppress(OSError):
            place.rmdir()


def _start(outbox: Path, folder: Path, log: IO[bytes]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "regsearch.tracking.tensorboard.writer", str(os.getpid()), str(outbox), str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=log,
        env=child_environment(),
        start_new_session=True,  # Ctrl-C is the driver's to handle
    )


def _drain(process: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(OSError):
        if process.stdin is not None:
            process.stdin.write(b"drain\n")
            process.stdin.close()
    try:
        return process.wait(DRAIN_SECONDS) == 0
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
        return False


__all__ = ["check_tensorboard", "event_files", "remove_event_files"]
