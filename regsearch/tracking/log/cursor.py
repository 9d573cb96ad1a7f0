"""The files beside an outbox: how far it is delivered, what the writer says of itself. Standard library only."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from regsearch.tracking.log.outbox import fingerprint


@dataclass
class Status:
    """What a writer says of itself.

    Args:
        pid: its process.
        state: `starting`, `delivering`, `waiting` (for records), `retrying` (the store is away), `drained`, `refused`.
        lane: `bulk` or `client`, empty before the store is open.
        offset: bytes of the outbox that are delivered.
        records: records delivered by this process.
        rounds: deliveries made by this process.
        refused: changes that the store will never take; they stay in the outbox.
        notices: what the store had lost and what was done about it, a line each.
        error: the latest trouble in one line, empty when the last delivery went well.
        cpu: CPU seconds of this process by part: `import`, `store`, `delivery`, `models`, and `total`.
    """

    pid: int = 0
    state: str = "starting"
    lane: str = ""
    offset: int = 0
    records: int = 0
    rounds: int = 0
    refused: int = 0
    notices: list[str] = field(default_factory=list)
    error: str = ""
    cpu: dict[str, float] = field(default_factory=dict)

    @contextlib.contextmanager
    def clock(self, part: str) -> Iterator[None]:
        """Add the CPU seconds of a block to one part."""
        begin = time.process_time()
        try:
            yield
        finally:
            self.cpu[part] = self.cpu.get(part, 0.0) + time.process_time() - begin


def cursor_path(outbox: Path) -> Path:
    """Name the cursor of an outbox."""
    return outbox.with_suffix(".cursor")


def status_path(outbox: Path) -> Path:
    """Name the status file of an outbox."""
    return outbox.with_suffix(".status")


def read_cursor(outbox: Path) -> int:
    """Read how many bytes of the outbox are delivered; 0 where that is unknown, since delivering twice does no harm."""
    return _read(outbox)[0]


def read_refused(outbox: Path) -> set[tuple[str, int]]:
    """Read what of the delivered part the store would not take for what it holds, by kind and number."""
    return _read(outbox)[1]


def _read(outbox: Path) -> tuple[int, set[tuple[str, int]]]:
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
        saved = json.loads(cursor_path(outbox).read_text())
        offset = int(saved["offset"])
        if saved["outbox"] == fingerprint(outbox) and _at_line_start(outbox, offset):
            return offset, {(str(kind), int(number)) for kind, number in saved.get("refused", ())}
    return 0, set()


def all_delivered(outbox: Path) -> bool:
    """Tell whether the store has every record."""
    return outbox.exists() and read_cursor(outbox) >= outbox.stat().st_size


def write_cursor(outbox: Path, offset: int, refused: Iterable[tuple[str, int]] = ()) -> None:
    """Remember that `offset` bytes are delivered, all but what was `refused`, whatever happens next."""
    saved = {"offset": offset, "outbox": fingerprint(outbox), "refused": sorted(refused)}
    _replace(cursor_path(outbox), json.dumps(saved), durable=True)


def read_status(path: Path) -> Status:
    """Read the writer's latest word, a blank one where there is none."""
    try:
        saved = json.loads(path.read_text())
        return Status(**saved)
    except (OSError, ValueError, TypeError):
        return Status()


def write_status(path: Path, status: Status) -> None:
    """Write what a writer is doing."""
    # Only a hint for people and the driver: not worth waiting for the disk.
    with contextlib.suppress(OSError):
        _replace(path, json.dumps(asdict(status)), durable=False)


def _at_line_start(outbox: Path, offset: int) -> bool:
    if offset == 0:
        return True
    with open(outbox, "rb") as file:
        file.seek(offset - 1)
        return file.read(1) == b"\n"


def _replace(path: Path, text: str, durable: bool) -> None:
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    with open(beside, "w") as file:
        file.write(text)
        file.flush()
        if durable:
            os.fsync(file.fileno())
    os.replace(beside, path)
