"""A tracker that keeps its records in memory: for tests and for use as a library. Standard library only."""

from __future__ import annotations

from typing import TypeVar

from regsearch.tracking.log.records import Record

R = TypeVar("R")


class MemoryTracker:
    """Keeps what it is told in `records`; `committed` counts those that were acknowledged."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.committed = 0

    def append(self, record: Record) -> bool:
        """Take one record; always new, for nothing is resumed from memory."""
        self.records.append(record)
        return True

    def commit(self) -> None:
        """Count the commit."""
        self.committed = len(self.records)

    def of(self, kind: type[R]) -> list[R]:
        """List the records of one type, in order."""
        return [record for record in self.records if isinstance(record, kind)]
