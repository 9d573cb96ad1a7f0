"""Which trials lanes hold, and which of them a worker has yet to load."""

from __future__ import annotations

from regsearch.core.pack import Load
from regsearch.executors.lane_table import LaneTable


def test_a_trial_that_is_dropped_before_it_was_loaded_is_not_loaded() -> None:
    table = LaneTable(2)
    for lane in (0, 1):
        table.hold(lane, Load(lane, {}, 7), 0)
    table.drop(0)
    assert list(table.take_loads([0, 1])) == [1]
    assert table.loaded(1)
    table.unload([0, 1])
    assert list(table.take_loads([0, 1])) == [1]
