from __future__ import annotations

from regsearch.tracking.log.memory import MemoryTracker
from regsearch.tracking.log.records import Metrics, Tracker
from tests.tracking.studies import study


def test_it_keeps_what_it_is_told() -> None:
    memory = MemoryTracker()
    tracker: Tracker = memory
    told = list(study(3, 2))
    assert all(tracker.append(record) for record in told)
    assert (memory.records, memory.committed) == (told, 0)
    tracker.commit()
    assert memory.committed == len(told)
    assert {record.number for record in memory.of(Metrics)} == {0, 1, 2}
