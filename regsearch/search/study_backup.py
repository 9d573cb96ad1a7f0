"""A study's small state beside its trials in the database, so that it goes on elsewhere when its machine is gone.

The outbox goes along a turn at a time, in the transaction of the turn: the database holds its records up to the clock.
The other files are kept as they are by then. What is large is left out: the data are cut again from their source.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy
from sqlalchemy import BigInteger, Column, LargeBinary, MetaData, String, Table, delete, insert, select

from regsearch.system.addresses import password

STUDY, OUTBOX, MANIFEST, ANSWER = "study.json", "outbox.jsonl", "data/manifest.json", "answer.json"
_WHOLE = (STUDY, "machine.json", MANIFEST, ANSWER, "outbox.cursor")
_LONGEST = 1 << 24

STATE = Table(
    "regsearch_state",
    MetaData(),
    Column("study", String(128), primary_key=True),
    Column("begun_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("file", String(64), primary_key=True),
    Column("part", BigInteger, primary_key=True, autoincrement=False),
    Column("content", LargeBinary(_LONGEST), nullable=False),
)
"""A file is its parts in order; `part` is the offset of the first byte."""


@dataclass(frozen=True)
class Part:
    """Bytes of a file from an offset on; a file that is kept whole has but one part."""

    file: str
    offset: int
    content: bytes


class StudyBackup:
    """What the database holds of one study's folder, and what is new there.

    Args:
        name, begun_ms: of the study.
        folder: of the study; None keeps nothing.
    """

    def __init__(self, name: str, begun_ms: int, folder: Path | None) -> None:
        self._name, self._begun, self._folder = name, begun_ms, folder
        self._whole: dict[str, bytes] = {}
        self._sent = 0

    def load(self, connection: sqlalchemy.Connection) -> None:
        """Learn what the database holds, and bring the folder's outbox back to it where that is not its beginning:
        another machine went on with the study.
        """
        held = read_files(connection, self._name, self._begun)
        outbox = held.pop(OUTBOX, b"")
        self._whole, self._sent = held, len(outbox)
        if self._folder is None or not self._sent:
            return
        path = self._folder / OUTBOX
        if not path.exists() or path.read_bytes()[: self._sent] != outbox:
            path.with_suffix(".cursor").unlink(missing_ok=True)  # everything is delivered again, which does no harm
            beside = path.with_suffix(".part")
            beside.write_bytes(outbox)
            beside.replace(path)

    def news(self) -> list[Part]:
        """List what the folder has and the database has not."""
        return [] if self._folder is None else list(self._news(self._folder))

    def _news(self, folder: Path) -> Iterator[Part]:
        for name in _WHOLE:
            content = _content(folder / name, name)
            if content is not None and content != self._whole.get(name):
                yield Part(name, 0, content)
        path = folder / OUTBOX
        if path.exists():
            with open(path, "rb") as file:
                file.seek(self._sent)
                content = file.read(_LONGEST)
            content = content[: content.rfind(b"\n") + 1]
            if content:
                yield Part(OUTBOX, self._sent, content)

    def write(self, connection: sqlalchemy.Connection, parts: list[Part]) -> None:
        """Put the parts in, within a transaction."""
        for part in parts:
            values = {"study": self._name, "begun_ms": self._begun, "file": part.file, "part": part.offset}
            if part.file != OUTBOX:
                connection.execute(delete(STATE).where(*(STATE.c[name] == each for name, each in values.items())))
            connection.execute(insert(STATE).values(**values, content=part.content))

    def written(self, parts: list[Part]) -> None:
        """Note that the parts are durable."""
        for part in parts:
            if part.file == OUTBOX:
                self._sent += len(part.content)
            else:
                self._whole[part.file] = part.content


def read_files(connection: sqlalchemy.Connection, name: str, begun_ms: int) -> dict[str, bytes]:
    """Read the files that the database holds of a study, by name."""
    contents: dict[str, bytes] = {}
    query = select(STATE.c.file, STATE.c.content).where(STATE.c.study == name, STATE.c.begun_ms == begun_ms)
    for file, content in connection.execute(query.order_by(STATE.c.file, STATE.c.part)):
        contents[file] = contents.get(file, b"") + bytes(content)
    return contents


def _content(path: Path, name: str) -> bytes | None:
    """A file's content; None where it is not there. A study's addresses stay away where they hold a password."""
    if not path.exists():
        return None
    content = path.read_bytes()
    if name != STUDY:
        return content
    saved = json.loads(content)
    saved["config"]["search"]["storage"] = None
    if password(saved["config"]["tracking"].get("uri") or ""):
        saved["config"]["tracking"]["uri"] = None
    return json.dumps(saved, indent=1).encode()
