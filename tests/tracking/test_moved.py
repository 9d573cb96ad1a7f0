"""Where a moved store finds its artifacts, and where a moved outbox finds its files."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient

from regsearch.tracking.log.outbox import Outbox, read_from
from regsearch.tracking.log.records import Artifact, Model
from regsearch.tracking.mlflow.moved import follow_experiment, follow_store
from regsearch.tracking.mlflow.store import ensure_store, open_store
from tests.tracking.studies import study
from tests.tracking.test_champion import package
from tests.tracking.test_lanes import client_lane, deliver


def filled(home: Path) -> Path:
    """A home with a store that has a study with an artifact."""
    path = home / "mlflow.db"
    ensure_store(f"sqlite:///{path}")
    lane = client_lane(f"sqlite:///{path}")
    deliver(lane, list(study(2, 1)), 1)
    (home / "note.txt").write_text("x")
    lane.artifact(Artifact("study", 0, str(home / "note.txt"), "notes"))
    return path


def places(path: Path) -> str:
    with closing(sqlite3.connect(path)) as database:
        return "\n".join(database.iterdump())


def test_the_artifacts_of_a_moved_store_are_found_and_new_ones_lie_beside_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before, after = filled(tmp_path / "before"), tmp_path / "after" / "mlflow.db"
    assert follow_store(before) is None
    (tmp_path / "before").rename(tmp_path / "after")
    uri = f"sqlite:///{after}"
    capsys.readouterr()
    assert open_store(uri, "digits") == after
    assert capsys.readouterr().err.strip() == (
        f"the study was moved: the MLflow store had its artifacts in {tmp_path}/before/artifacts, "
        f"they are in {tmp_path}/after/artifacts"
    )
    assert ensure_store(uri) is None, "once is enough"
    assert f"{tmp_path}/before" not in places(after)
    client = MlflowClient(uri, uri)
    lane = client_lane(uri)
    run = client.get_run(lane.run_id(("study", 0)))
    assert run.info.artifact_uri == f"{tmp_path}/after/artifacts/digits/{run.info.run_id}/artifacts"
    assert (Path(run.info.artifact_uri) / "notes" / "note.txt").read_text() == "x"
    assert lane.experiment.artifact_location == f"{tmp_path}/after/artifacts/digits"
    assert not (tmp_path / "before").exists()


def test_a_neighbour_whose_name_begins_alike_is_left_alone(tmp_path: Path) -> None:
    path = filled(tmp_path / "home")
    with closing(sqlite3.connect(path)) as database:
        other = f"{tmp_path}/home/artifacts-of-others/x"
        database.execute("UPDATE runs SET artifact_uri = ? WHERE name = 'trial-001'", (other,))
        database.commit()
    (tmp_path / "home").rename(tmp_path / "there")
    assert follow_store(tmp_path / "there" / "mlflow.db") is not None
    assert other in places(tmp_path / "there" / "mlflow.db")


def test_a_copy_of_the_database_alone_keeps_to_the_artifacts_that_it_has(tmp_path: Path) -> None:
    path, backup = filled(tmp_path / "home"), tmp_path / "backup" / "mlflow.db"
    backup.parent.mkdir()
    shutil.copy(path, backup)
    assert follow_store(backup) is None
    assert places(backup) == places(path)


def test_a_home_reached_by_another_path_has_not_moved(tmp_path: Path) -> None:
    path = filled(tmp_path / "home")
    before = places(path)
    (tmp_path / "link").symlink_to(tmp_path / "home")
    assert follow_store(tmp_path / "link" / "mlflow.db") is None
    assert places(path) == before


def test_artifacts_of_a_shared_database_follow_their_own_study(tmp_path: Path, uri: str) -> None:
    for name in ("digits", "other"):
        [begin] = [each for each in study(1, 1, name=name)][:1]
        lane = client_lane(uri, begin, tmp_path / name / "artifacts")  # type: ignore[arg-type]
        deliver(lane, list(study(1, 1, name=name)), 1)
        Path(lane.experiment.artifact_location).mkdir(parents=True)
    assert client_lane(uri, None, tmp_path / "digits" / "artifacts").moved is None
    (tmp_path / "digits").rename(tmp_path / "now")
    lane = client_lane(uri, None, tmp_path / "now" / "artifacts")
    assert "the study was moved" in str(lane.moved)
    assert lane.experiment.artifact_location == f"{tmp_path}/now/artifacts/digits"
    assert f"{tmp_path}/digits/" not in places(tmp_path / "mlflow.db")
    assert f"{tmp_path}/other/artifacts/other/" in places(tmp_path / "mlflow.db")
    assert follow_experiment(uri, "s3://bucket/x", tmp_path) is None


def test_the_files_of_an_outbox_stand_in_it_by_their_place_in_the_folder(tmp_path: Path) -> None:
    before, after = tmp_path / "before" / "studies" / "digits", tmp_path / "after" / "studies" / "digits"
    package(before / "finals" / "champion", "regression")
    files = [before / "finals" / "summary.json", tmp_path / "elsewhere.txt"]
    for file in files:
        file.write_text("x")
    told = [Artifact("study", 0, str(file), "finals") for file in files]
    model = Model(str(before / "finals" / "champion"), "digits", "champion", "final", 1)
    with Outbox(before / "outbox.jsonl") as outbox:
        assert [outbox.append(record) for record in (next(iter(study(1, 1))), *told, model)] == [True] * 4
    text = (before / "outbox.jsonl").read_text()
    assert str(before) not in text and str(files[1]) in text
    # An earlier version wrote them as they were then.
    for line in (text, text.replace('"finals/', f'"{before}/finals/')):
        (before / "outbox.jsonl").write_text(line)
        shutil.copytree(before, after)
        records = [record for record, _ in read_from(after / "outbox.jsonl")][1:]
        assert [getattr(record, "path", None) or record.folder for record in records] == [  # type: ignore[union-attr]
            str(after / "finals" / "summary.json"),
            str(files[1]),
            str(after / "finals" / "champion"),
        ]
        with Outbox(after / "outbox.jsonl") as outbox:
            here = Model(str(after / "finals" / "champion"), "digits", "champion", "final", 1)
            assert not outbox.append(here) and outbox.conflicts == []
        shutil.rmtree(after)
