"""The client's lane and the bulk lane against each other, through MLflow's own client."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest
from mlflow import MlflowClient

from regsearch.errors import UserError
from regsearch.tracking.log.records import Metrics, Note, Record, RunEnd, RunStart, StudyStart
from regsearch.tracking.mlflow import delivery_sqlite
from regsearch.tracking.mlflow.changes import PARENT_TAG, Change, merge
from regsearch.tracking.mlflow.delivery import ClientLane
from regsearch.tracking.mlflow.delivery_sqlite import BulkLane
from tests.tracking.readback import snapshot
from tests.tracking.studies import BEGIN, NAMES, metrics, start, study


def client_lane(uri: str, begin: StudyStart | None = None, folder: Path | None = None) -> ClientLane:
    begin = begin or next(record for record in study(1, 1) if isinstance(record, StudyStart))
    return ClientLane(uri, begin, folder or Path(uri.removeprefix("sqlite:///")).parent / "artifacts")


def deliver(lane: ClientLane | BulkLane, told: list[Record], rounds: int) -> None:
    """Deliver the records in so many rounds."""
    size = -(-len(told) // rounds)
    for first in range(0, len(told), size):
        for step in merge(told[first : first + size]):
            assert isinstance(step, list)
            lane.apply(step)


@pytest.mark.parametrize("rounds", [1, 13])
def test_bulk_equals_client(template: Path, tmp_path: Path, rounds: int) -> None:
    told = list(study(14, 6, finals=3))
    seen = []
    for name in ("client", "bulk"):
        uri = f"sqlite:///{tmp_path / name}.db"
        shutil.copy(template, tmp_path / f"{name}.db")
        assert delivery_sqlite.fits(uri)
        lane = client_lane(uri)
        deliver(lane if name == "client" else BulkLane(lane), told, rounds)
        seen.append(snapshot(uri))
    assert seen[0] == seen[1]
    assert len(seen[0]) == 1 + 14 + 3
    assert {run["status"] for run in seen[0].values()} == {"FINISHED", "KILLED", "FAILED"}
    assert seen[0]["trial-005"]["tags"]["regsearch.reason"] == "loss is not finite after epoch 2"
    assert seen[0]["trial-005"]["tags"][PARENT_TAG] == "digits"
    assert [point[0] for point in seen[0]["trial-000"]["histories"]["val_loss"]] == [1, 2, 3, 4, 5, 6]
    assert seen[0]["digits"]["inputs"][0][0]["digest"] == "d" * 36
    assert {point[2] for point in seen[0]["trial-005"]["histories"]["gap"]} == {"nan", delivery_sqlite.LARGEST}


@pytest.mark.parametrize("lane", ["client", "bulk"])
def test_delivering_again_changes_nothing(uri: str, lane: str) -> None:
    told = list(study(6, 3, finals=1))
    first = client_lane(uri)
    deliver(first if lane == "client" else BulkLane(first), told, 3)
    once = snapshot(uri)
    again = client_lane(uri)  # a new process, which knows only what the store says
    for part in (told, told[5:9], told[-3:]):
        deliver(again if lane == "client" else BulkLane(again), part, 2)
    assert snapshot(uri) == once


def test_lanes_take_over_from_each_other(uri: str, template: Path, tmp_path: Path) -> None:
    told = list(study(8, 4))
    for place, name in enumerate(["client", "bulk", "client", "bulk"]):
        lane = client_lane(uri)
        part = told[place * len(told) // 4 : (place + 1) * len(told) // 4]
        deliver(lane if name == "client" else BulkLane(lane), part, 2)
    other = f"sqlite:///{tmp_path / 'other.db'}"
    shutil.copy(template, tmp_path / "other.db")
    deliver(client_lane(other), told, 1)
    assert snapshot(uri) == snapshot(other)


def test_mlflow_searches_what_the_bulk_lane_wrote(uri: str) -> None:
    deliver(BulkLane(client_lane(uri)), list(study(12, 4)), 1)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    text = "metrics.val_loss < 1.5 and tags.`regsearch.kind` = 'trial' and params.regularizers = 'l1'"
    found = client.search_runs([experiment.experiment_id], text, order_by=["metrics.val_loss DESC"])
    losses = [run.data.metrics["val_loss"] for run in found]
    everything = {name: run["latest"].get("val_loss", 9.0) for name, run in snapshot(uri).items()}
    assert losses == sorted((loss for loss in everything.values() if loss < 1.5), reverse=True)
    assert 0 < len(losses) < 12
    parent = client.search_runs([experiment.experiment_id], "tags.`regsearch.kind` = 'study'")[0]
    children = client.search_runs([experiment.experiment_id], f"tags.`{PARENT_TAG}` = '{parent.info.run_id}'")
    assert len(children) == 12


def test_more_than_mlflow_takes_at_once_is_split(uri: str) -> None:
    begin = next(iter(study(1, 1)))
    assert isinstance(begin, StudyStart)
    wide = RunStart("trial", 0, "trial-000", {f"knob.{n:03d}": n for n in range(250)}, {}, BEGIN)
    told: list[Record] = [begin, wide, *(metrics("trial", 0, epoch) for epoch in range(1, 251))]
    deliver(client_lane(uri), told, 1)
    run = snapshot(uri)["trial-000"]
    assert len(run["params"]) == 250
    assert sum(len(history) for history in run["histories"].values()) == 250 * len(NAMES)


def test_two_runs_that_a_lost_answer_made_of_one_are_reconciled(uri: str) -> None:
    lane = client_lane(uri)
    deliver(lane, [next(iter(study(1, 1)))], 1)
    [create] = merge([start("trial", 0)])
    assert isinstance(create, list)
    lane.apply(create)
    del lane.runs["trial", 0]  # as if the answer had been lost
    lane.apply(create)
    lane.reconcile()
    assert set(snapshot(uri)) == {"digits", "trial-000"}


def test_what_is_not_written_is_not_remembered(uri: str) -> None:
    lane = client_lane(uri)
    fast = BulkLane(lane)
    deliver(fast, [next(iter(study(1, 1)))], 1)
    change = Change(("trial", 0), start=start("trial", 0), params={"a": None})  # type: ignore[dict-item]
    with pytest.raises(Exception, match="NOT NULL"):
        fast.apply([change])
    assert ("trial", 0) not in lane.runs
    assert set(snapshot(uri)) == {"digits"}


def test_a_run_that_never_began_is_refused(uri: str) -> None:
    lane = client_lane(uri)
    deliver(lane, [next(iter(study(1, 1)))], 1)
    for writes in (lane, BulkLane(lane)):
        with pytest.raises(LookupError, match="trial 4 of study digits"):
            deliver(writes, [RunEnd("trial", 4, "COMPLETE", None, BEGIN)], 1)


def test_another_schema_gets_the_clients_lane(uri: str) -> None:
    assert (
        delivery_sqlite.fits(uri)
        and not delivery_sqlite.fits("http://127.0.0.1:1")
        and not delivery_sqlite.fits("sqlite:////no/such.db")
    )
    with sqlite3.connect(uri.removeprefix("sqlite:///")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'other'")
    assert not delivery_sqlite.fits(uri)


def test_an_experiment_in_the_trash_frees_its_name_and_stays_there(uri: str) -> None:
    told = list(study(2, 2))
    deliver(client_lane(uri), told, 1)
    client = MlflowClient(uri)
    old = client.get_experiment_by_name("digits")
    assert old is not None
    client.delete_experiment(old.experiment_id)
    begin = StudyStart("digits", {}, {}, BEGIN + 1)
    deliver(client_lane(uri, begin), [begin], 1)
    assert set(snapshot(uri)) == {"digits"}
    trashed = client.get_experiment(old.experiment_id)
    assert (trashed.lifecycle_stage, trashed.name) == ("deleted", f"digits.deleted-{old.experiment_id}")


def test_another_studys_experiment_is_not_taken_over(uri: str) -> None:
    deliver(client_lane(uri), list(study(2, 2)), 1)
    with pytest.raises(UserError, match="not this study's"):
        client_lane(uri, StudyStart("digits", {}, {}, BEGIN + 1))
    MlflowClient(uri).create_experiment("empty")
    client_lane(uri, StudyStart("empty", {}, {}, BEGIN))  # nothing in it: it may be used


def test_what_is_told_of_a_final_after_its_end(template: Path, tmp_path: Path) -> None:
    """Test scores and a role, when the test was opened; told again after a kill they are there once."""
    late: list[Record] = [
        Metrics("final", 1, 3, {"test_loss": 0.5, "optimism": -0.25}, BEGIN + 7),
        Note({"regsearch.role": "winner"}, "final", 1),
        Metrics("study", 0, 1, {"difference": 0.125}, BEGIN + 9),
    ]
    seen = []
    for name in ("client", "bulk"):
        uri = f"sqlite:///{tmp_path / name}.db"
        shutil.copy(template, tmp_path / f"{name}.db")
        for told in (list(study(2, 3, finals=2)), late, late):
            lane = client_lane(uri)  # another writer each time, as after a kill
            deliver(lane if name == "client" else BulkLane(lane), told, 1)
        seen.append(snapshot(uri))
        with sqlite3.connect(tmp_path / f"{name}.db") as store:
            count = "select count(*) from metrics where key in ('test_loss', 'optimism', 'difference')"
            assert store.execute(count).fetchone() == (3,)
        store.close()
    assert seen[0] == seen[1]
    final = seen[0]["final-001"]
    assert final["tags"]["regsearch.role"] == "winner" and "regsearch.role" not in seen[0]["final-000"]["tags"]
    assert final["status"] == "KILLED", "as it ended, whatever is told later"
