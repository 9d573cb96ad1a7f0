"""Requests that arrived though their answer did not, and late requests: no run is there twice or emptied."""

from __future__ import annotations

import shutil
import threading
from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.mlflow import delivery_sqlite, writer
from tests.tracking.readback import snapshot
from tests.tracking.studies import study
from tests.tracking.test_lanes import client_lane, deliver


class Told:
    """A leash that asks for everything and a normal end."""

    draining = flushing = True

    def __init__(self) -> None:
        self.woken = threading.Event()


def lose_answers(monkeypatch: pytest.MonkeyPatch, name: str, each: int) -> list[int]:
    """Have a client's call do its work and then fail, now and then; the list counts the answers that were lost."""
    real, lost, calls = getattr(MlflowClient, name), [0], [0]

    def call(self: MlflowClient, *args: Any, **kwargs: Any) -> Any:
        answer = real(self, *args, **kwargs)
        calls[0] += 1
        if calls[0] % each == 0 and lost[0] < 4:
            lost[0] += 1
            raise MlflowException("API request failed: connection reset by peer")
        return answer

    monkeypatch.setattr(MlflowClient, name, call)
    return lost


def test_lost_answers_leave_nothing_twice(
    template: Path, uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = list(study(8, 3, finals=1))
    with Outbox(tmp_path / "outbox.jsonl") as outbox:
        for record in told:
            outbox.append(record)
    monkeypatch.setattr(delivery_sqlite, "fits", lambda uri: False)  # the lane that servers get
    monkeypatch.setattr(writer, "RETRY_SECONDS", (0.0,))
    lost = [lose_answers(monkeypatch, name, each) for name, each in (("create_run", 2), ("log_batch", 3))]
    mine = writer.Writer(outbox.path, uri, tmp_path / "artifacts", Told())  # type: ignore[arg-type]
    mine.run()
    assert lost == [[4], [4]]
    monkeypatch.undo()
    other = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(template, tmp_path / "other.db")
    deliver(client_lane(other), told, 1)
    assert snapshot(uri) == snapshot(other)


def test_of_two_runs_that_a_late_request_made_of_one_the_fuller_stays(uri: str) -> None:
    lane = client_lane(uri)
    deliver(lane, list(study(3, 2)), 1)
    whole = snapshot(uri)
    for key in [("trial", 1), ("trial", 2), ("study", 0)] * 3:  # which of the two has the smaller name is chance
        run = lane.client.get_run(lane.runs[key])
        lane.client.create_run(lane.experiment_id, run.info.start_time, run.data.tags, run.info.run_name)
        assert len(lane.client.search_runs([lane.experiment_id])) == 5
        again = client_lane(uri)
        assert again.runs == lane.runs
        assert snapshot(uri) == whole
