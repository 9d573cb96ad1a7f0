"""The outbox: a study's records on disk before anyone is told of them. Standard library only.

One JSON object a line; the first says the number of its form, under `schema`, and so does the first that a later
version adds to a log of an earlier form. A record is acknowledged once `commit` has returned: it then survives
`kill -9`. A kill in the middle of a write leaves a torn last line, which the next `Outbox` cuts off: it was never
acknowledged.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from regsearch.errors import UserError
from regsearch.system import schema
from regsearch.system.documents import FROM_A_COPY, damaged, unreadable
from regsearch.tracking.log.records import (
    Artifact,
    Metrics,
    Model,
    Note,
    Record,
    RunStages,
    StudyEnd,
    from_json,
    to_json,
)


def _plain(value: Any) -> object:
    """NumPy's scalars and paths as JSON knows them."""
    item = getattr(value, "item", None)
    return item() if callable(item) else os.fspath(value)


_NO_LIMIT = 1 << 62
_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False, default=_plain).encode


class Outbox:
    """Appends records to the file at `path`, each once however often it is appended.

    A record's identity is its type, owner and epoch, not its time: a resumed study may report again what it
    reported before the kill. The first record stays. `conflicts` lists the identities that came again with other
    content. Notes, artifacts, a trial's stages, who has an alias and the study's end are the exception: the latest
    counts, and `status` is that of the latest end, None before there is one. With other stages a trial begins another
    life, in which every epoch is new.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._folder = self.path.parent.absolute()
        self.conflicts: list[tuple[object, ...]] = []
        self._pending: list[str] = []
        self._seen: dict[tuple[object, ...], int] = {}
        self._notes: dict[tuple[str, int, str], str] = {}
        self._aliases: dict[str, tuple[str, int]] = {}
        self._lives: dict[tuple[str, int], int] = {}
        self.status: str | None = None
        self._numbered = False
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        self.repaired = self._repair()
        for record, _, number in _read(self.path, 0, _NO_LIMIT):
            self._numbered = self._numbered or number == schema.LOG
            self._know(_relative(record, self._folder))

    def append(self, record: Record) -> bool:
        """Take one record; False where it is in the outbox already."""
        if isinstance(record, Artifact):
            stat = os.stat(record.path)
            record = replace(record, stamp=stat.st_mtime_ns ^ stat.st_size)
        record = _relative(record, self._folder)
        if not self._know(record, remember_conflict=True):
            return False
        # A log of an earlier form may be gone on with: what follows is of this version's.
        number = {} if self._numbered else {schema.KEY: schema.LOG}
        self._numbered = True
        self._pending.append(_encode({**to_json(record), **number}))
        return True

    def commit(self) -> None:
        """Write what was appended as one group and wait until it is on disk.

        Raises:
            OSError: the disk is full or cannot be written; nothing of the group counts, and `commit` may be called
                again.
        """
        if not self._pending:
            return
        data = memoryview(("\n".join(self._pending) + "\n").encode())
        start = os.lseek(self._file, 0, os.SEEK_END)
        try:
            while data:
                data = data[os.write(self._file, data) :]
            os.fsync(self._file)
        except BaseException:  # Ctrl-C too must not leave half a group in the middle of the file
            os.ftruncate(self._file, start)
            raise
        self._pending.clear()

    def close(self) -> None:
        """Commit what is pending and close the file."""
        self.commit()
        os.close(self._file)

    def __enter__(self) -> Outbox:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _know(self, record: Record, remember_conflict: bool = False) -> bool:
        """Remember the record; False where it says nothing new."""
        if isinstance(record, Note):
            said: dict[tuple[str, int, str], str] = {
                (record.kind, record.number, name): text for name, text in record.tags.items()
            }
            said |= {("experiment", 0, name): text for name, text in record.experiment.items()}
            fresh = {key: text for key, text in said.items() if self._notes.get(key) != text}
            self._notes.update(fresh)
            return bool(fresh)
        if isinstance(record, StudyEnd):
            changed = record.status != self.status
            self.status = record.status
            return changed
        key, check = _key(record), _content(record)
        if isinstance(record, Metrics):
            key += (self._lives.get((record.kind, record.number), 0),)
        if isinstance(record, RunStages):
            owner, changed = (record.kind, record.number), self._seen.get(key) != check
            self._seen[key] = check
            self._lives[owner] = self._lives.get(owner, 0) + changed
            return changed
        if isinstance(record, Model) and record.alias:
            # An alias that went to another model and comes back has to be set again.
            moved = self._aliases.get(record.alias) not in (None, (record.kind, record.number))
            self._aliases[record.alias] = record.kind, record.number
            if moved:
                self._seen[key] = check
                return True
        if key not in self._seen:
            self._seen[key] = check
            return True
        if self._seen[key] != check and remember_conflict:
            self.conflicts.append(key)
        return False

    def _repair(self) -> bool:
        """Cut off a torn last line; True where there was one."""
        size = os.fstat(self._file).st_size
        end, step = size, 1 << 16
        while end > 0:
            start = max(0, end - step)
            newline = os.pread(self._file, end - start, start).rfind(b"\n")
            if newline >= 0:
                end = start + newline + 1
                break
            end = start
        if end != size:
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        return end != size


def read_from(path: str | Path, offset: int = 0, limit: int = _NO_LIMIT) -> Iterator[tuple[Record, int]]:
    """Read the records from byte `offset` on, each with the offset after it; a line still being written is left.

    Files in the study's folder stand in it by their place there, and are given by where they are now.

    Args:
        limit: stop after about this many bytes, at a line's end.

    Raises:
        UserError: a newer regsearch wrote it, or a record has a field that no version writes.
        DamagedFile: a whole line is no record (the file was edited or the disk is faulty), or there is no such file.
    """
    for record, until, _ in _read(path, offset, limit):
        yield record, until


def _read(path: str | Path, offset: int, limit: int) -> Iterator[tuple[Record, int, int | None]]:
    """The same, each record with the number of the form that it says, if it does."""
    folder = Path(path).parent.absolute()
    with _opened(path) as file:
        file.seek(offset)
        stop = offset + limit
        for line in file:
            if not line.endswith(b"\n"):
                return
            here, offset = offset, offset + len(line)
            try:
                fields = json.loads(line)
                record = from_json(fields, path)
            except UserError:
                raise
            except (ValueError, RecursionError) as error:
                raise damaged(path, f"unreadable record at byte {here}: {error}") from None
            yield _placed(record, folder), offset, fields.get(schema.KEY)
            if offset >= stop:
                return


def _opened(path: str | Path) -> IO[bytes]:
    try:
        return open(path, "rb")
    except OSError as error:
        raise unreadable(Path(path), error, FROM_A_COPY) from None


def check_log(path: Path) -> None:
    """Refuse a log that a newer regsearch wrote or went on with; of its records only those that say a number are read.

    Raises:
        DamagedFile: one of these cannot be read, or there is no such file.
        UserError: names both versions.
    """
    name = f'"{schema.KEY}"'.encode()
    with _opened(path) as file:
        for line in file:
            if name in line and line.endswith(b"\n"):
                try:
                    fields = json.loads(line)
                except ValueError as error:
                    raise damaged(path, str(error)) from None
                if isinstance(fields, dict):
                    schema.check_version(fields.get(schema.KEY), schema.LOG, path)


def fingerprint(path: str | Path) -> int | None:
    """Compute a number that tells one outbox from another: the CRC of its first line, None while it has none."""
    try:
        with open(path, "rb") as file:
            line = file.readline()
    except FileNotFoundError:
        return None
    return zlib.crc32(line) if line.endswith(b"\n") else None


def _relative(record: Record, folder: Path) -> Record:
    """The record with its file by the place in the study's folder, if it lies there: a study may be moved."""
    if isinstance(record, Artifact):
        return replace(record, path=_within(record.path, folder))
    return replace(record, folder=_within(record.folder, folder)) if isinstance(record, Model) else record


def _placed(record: Record, folder: Path) -> Record:
    """The record with its file where it is now."""
    if isinstance(record, Artifact):
        return replace(record, path=str(folder / _within(record.path, folder)))
    return replace(record, folder=str(folder / _within(record.folder, folder))) if isinstance(record, Model) else record


def _within(path: str, folder: Path) -> str:
    """A path as it stands in the outbox. Absolute ones are of elsewhere, or of an earlier version and maybe moved."""
    place = Path(path)
    if not place.is_absolute():
        return path
    if place.is_relative_to(folder):
        return str(place.relative_to(folder))
    former = f"/{folder.parent.name}/{folder.name}/"  # /studies/NAME/
    _, mark, rest = path.rpartition(former)
    return rest if mark and ((folder / rest).exists() or not place.exists()) else path


def _key(record: Record) -> tuple[object, ...]:
    if isinstance(record, Metrics):
        return (record.type, record.kind, record.number, record.epoch, *record.values)
    if isinstance(record, Artifact):
        name = os.path.basename(record.path)
        return (record.type, record.kind, record.number, record.artifact_path, name, record.stamp)
    alias = getattr(record, "alias", None)
    return (record.type, getattr(record, "kind", "study"), getattr(record, "number", 0), alias)


def _content(record: Record) -> int:
    if isinstance(record, Metrics):
        # repr, because NaN equals nothing, itself included; text hashes differ from process to process
        return zlib.crc32(repr(tuple(record.values.values())).encode())
    fields = to_json(record)
    fields.pop("time_ms", None)
    return zlib.crc32(_encode(fields).encode())
