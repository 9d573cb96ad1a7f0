"""What a store lost of a study comes back: out of MLflow's trash, or from the outbox, and nothing twice."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.tracking._tracking_service import utils

from regsearch.tracking.log.commands import Commands
from regsearch.tracking.log.cursor import Status, read_cursor, write_cursor
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Artifact, Model, Record
from regsearch.tracking.mlflow import delivery_sqlite, writer
from regsearch.tracking.mlflow.delivered import lacks_runs
from regsearch.tracking.mlflow.writer_process import WriterHandle
from tests.tracking.conftest import Writers
from tests.tracking.readback import snapshot
from tests.tracking.studies import end, metrics, start, study
from tests.tracking.test_champion import package
from tests.tracking.test_lanes import client_lane, deliver

Lose = Callable[[MlflowClient, str], object]


def told(root: Path) -> Path:
    """An outbox with a file and a model in it."""
    path = root / "studies" / "digits" / "outbox.jsonl"
    out = path.parent / "finals"
    package(out / "champion", "regression")
    (out / "summary.json").write_text("{}")
    first, *rest, last = study(6, 3, finals=2)
    with Outbox(path) as outbox:
        for record in (first, *rest, Artifact("study", 0, str(out / "summary.json"), "finals")):
            outbox.append(record)
        outbox.append(Model(str(out / "champion"), "digits", "champion", "final", 1))
        outbox.append(last)
    return path


def run_writer(path: Path, uri: str, root: Path) -> Status:
    """Deliver in this process, which has MLflow loaded; it forgets what MLflow keeps by a run's id alone."""
    utils._artifact_repos_cache.clear()
    commands = Commands(())
    commands.draining = commands.flushing = True
    mine = writer.Writer(path, uri, root / "artifacts", commands)
    mine.run()
    mine.say("drained")
    utils._artifact_repos_cache.clear()
    return mine.status


def runs_of(client: MlflowClient, experiment: str, query: str) -> list[str]:
    return [run.info.run_id for run in client.search_runs([experiment], query)]


def delete_runs(query: str) -> Lose:
    def lose(client: MlflowClient, experiment: str) -> None:
        for run_id in runs_of(client, experiment, query):
            client.delete_run(run_id)

    return lose


def delete_for_good(client: MlflowClient, experiment: str) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    client.delete_experiment(experiment)
    SqlAlchemyStore(client.tracking_uri, "artifacts")._hard_delete_experiment(experiment)


def remove_artifacts(client: MlflowClient, experiment: str) -> None:
    shutil.rmtree(client.get_experiment(experiment).artifact_location)


LOSSES: dict[str, tuple[Lose, str]] = {
    "the experiment": (lambda client, number: client.delete_experiment(number), "in MLflow's trash and is restored"),
    "its name": (lambda client, number: client.rename_experiment(number, "mine"), "called mine and has its name"),
    "for good": (delete_for_good, "it lacks 9 of 9 runs"),
    "the parent run": (delete_runs("tags.`regsearch.kind` = 'study'"), "1 of the runs were in MLflow's trash"),
    "a trial": (delete_runs("tags.`mlflow.runName` = 'trial-004'"), "1 of the runs were in MLflow's trash"),
    "the registered model": (lambda client, number: client.delete_registered_model("digits"), "1 of the models"),
    "artifacts": (remove_artifacts, "1 of the files"),
}


@pytest.mark.parametrize("lane", ["bulk", "client"])
@pytest.mark.parametrize("what", list(LOSSES))
def test_what_was_lost_is_there_again(
    tmp_path: Path, uri: str, what: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lane == "client":
        monkeypatch.setattr(delivery_sqlite, "fits", lambda uri: False)
    lose, line = LOSSES[what]
    path = told(tmp_path)
    assert run_writer(path, uri, tmp_path).notices == []
    before, client = snapshot(uri), MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("digits")
    lose(client, experiment.experiment_id)
    status = run_writer(path, uri, tmp_path)
    [notice] = status.notices
    assert line in notice
    assert (status.refused, status.state, status.error) == (0, "drained", "")
    assert snapshot(uri) == before
    version = client.get_model_version_by_alias("digits", "champion")
    now = client.get_experiment_by_name("digits").experiment_id
    assert [version.run_id] == runs_of(client, now, "tags.`mlflow.runName` = 'final-001'")
    [parent] = runs_of(client, now, "tags.`regsearch.kind` = 'study'")
    assert [file.path for file in client.list_artifacts(parent, "finals")] == ["finals/summary.json"]
    assert run_writer(path, uri, tmp_path).notices == [], "once is enough"


def test_a_store_that_is_gone_or_an_older_backup_gets_what_it_lacks(tmp_path: Path, uri: str, template: Path) -> None:
    store, path = tmp_path / "mlflow.db", tmp_path / "studies" / "digits" / "outbox.jsonl"
    everything: list[Record] = list(study(6, 3, finals=2))
    undisturbed = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    shutil.copy(template, tmp_path / "undisturbed.db")
    deliver(client_lane(undisturbed), everything, 1)
    # Four stages: trials run, some have ended, all have, finals too. Each backup is put beside the last cursor.
    backups = []
    with Outbox(path) as outbox:
        for stop in (9, 20, len(everything) - 4, len(everything)):
            for record in everything[:stop]:
                outbox.append(record)
            outbox.commit()
            assert run_writer(path, uri, tmp_path).notices == []
            backups.append(store.read_bytes())
    assert snapshot(uri) == snapshot(undisturbed)
    for number, backup in enumerate([template.read_bytes(), *backups[:-1]]):
        other = tmp_path / f"restored-{number}.db"  # of a new name, because MLflow keeps an engine for each address
        other.write_bytes(backup)
        [notice] = run_writer(path, f"sqlite:///{other}", tmp_path).notices
        assert "of 9 runs" in notice and "written anew" in notice
        assert snapshot(f"sqlite:///{other}") == snapshot(undisturbed)


def test_a_taken_name_is_refused_and_the_cursor_stays(tmp_path: Path, uri: str, writers: Writers) -> None:
    path = told(tmp_path)
    run_writer(path, uri, tmp_path)
    client = MlflowClient(uri, uri)
    client.rename_experiment(client.get_experiment_by_name("digits").experiment_id, "mine")
    client.create_run(client.create_experiment("digits"))
    handle = writers(path, uri)
    assert not handle.drain(60)
    assert handle.status().state == "refused"
    for words in ("another experiment of this name", "called mine", "`regsearch study resume digits`"):
        assert words in handle.status().error
    assert read_cursor(path) == path.stat().st_size


@pytest.mark.parametrize("lane", ["bulk", "client"])
def test_an_experiment_deleted_while_a_study_runs_loses_nothing(
    tmp_path: Path, uri: str, lane: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if lane == "client":
        monkeypatch.setattr(delivery_sqlite, "fits", lambda uri: False)
    everything: list[Record] = list(study(6, 3, finals=2))
    path = tmp_path / "studies" / "digits" / "outbox.jsonl"
    client = MlflowClient(uri, uri)
    with Outbox(path) as outbox:
        for record in everything[:20]:
            outbox.append(record)
        outbox.commit()
        commands = Commands(())
        commands.flushing = True
        mine = writer.Writer(path, uri, tmp_path / "artifacts", commands)
        mine._round()
        client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
        for record in everything[20:]:
            outbox.append(record)
        outbox.commit()
    commands.draining = True
    mine.run()
    assert mine.status.refused == 0
    assert "is restored" in "".join(mine.status.notices)
    other = f"sqlite:///{tmp_path / 'undisturbed.db'}"
    shutil.copy(tmp_path / "mlflow.db", tmp_path / "undisturbed.db")
    found = snapshot(other)
    assert len(found) == 9 and not [name for name, run in found.items() if run["status"] == "RUNNING"]


def test_what_the_store_would_not_take_is_not_missed(tmp_path: Path, uri: str) -> None:
    path = tmp_path / "studies" / "digits" / "outbox.jsonl"
    with Outbox(path) as outbox:
        for record in (next(iter(study(1, 1))), start("trial", 0), metrics("trial", 0, 1), end("trial", 0, 1)):
            outbox.append(record)
    status = run_writer(path, uri, tmp_path)
    assert status.notices == []
    write_cursor(path, read_cursor(path), {("trial", 0)})
    with closing(sqlite3.connect(tmp_path / "mlflow.db")) as database:
        database.execute("UPDATE runs SET lifecycle_stage = 'deleted' WHERE name = 'trial-000'")
        database.commit()
    assert run_writer(path, uri, tmp_path).notices == []
    assert lacks_runs(path, [("study", 0)]) == 0


def test_the_package_of_an_earlier_champion_is_no_more(tmp_path: Path, uri: str) -> None:
    """Two finals were held while the store was away: the folder holds the second champion alone."""
    path = told(tmp_path)
    with Outbox(path) as outbox:
        outbox.append(Model(str(path.parent / "finals" / "champion"), "digits", "champion", "final", 0))
    run_writer(path, uri, tmp_path)
    [version] = MlflowClient(uri, uri).search_model_versions("name = 'digits'")
    assert version.tags["regsearch.source"] == "final-0"
    assert run_writer(path, uri, tmp_path).notices == []


def test_the_driver_hears_of_it_once(tmp_path: Path, uri: str, writers: Writers) -> None:
    path = told(tmp_path)
    run_writer(path, uri, tmp_path)
    client = MlflowClient(uri, uri)
    client.delete_experiment(client.get_experiment_by_name("digits").experiment_id)
    handle: WriterHandle = writers(path, uri)
    handle.await_store(60)
    assert len(handle.news()) == 1 and handle.news() == []
    assert client.get_experiment_by_name("digits").lifecycle_stage == "active"
    assert handle.drain(60)
