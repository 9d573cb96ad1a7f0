from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from regsearch.errors import UserError
from regsearch.tracking.log.records import Artifact, Model, StudyStart
from regsearch.tracking.mlflow.champion import deliver_model
from regsearch.tracking.mlflow.delivery_sqlite import BulkLane
from regsearch.tracking.mlflow.runs import delete_study, read_runs
from tests.tracking.readback import snapshot
from tests.tracking.studies import BEGIN, study
from tests.tracking.test_champion import package
from tests.tracking.test_lanes import client_lane, deliver


def test_runs_are_read_as_a_table(uri: str) -> None:
    deliver(BulkLane(client_lane(uri)), list(study(8, 4, finals=2)), 1)
    frame = read_runs(uri, "digits")
    assert list(frame["kind"]) == ["trial"] * 8 + ["final"] * 2
    assert list(frame["number"]) == [*range(8), 0, 1]
    assert dict(frame.loc[frame["kind"] == "trial", "state"].value_counts()) == {"COMPLETE": 4, "PRUNED": 3, "FAIL": 1}
    row = frame.iloc[2]
    assert (row["l1.strength"], row["val_loss"], row["regularizers"]) == (1e-2, pytest.approx(3 / 6), "l1")
    assert (row["start"].value, row["end"].value) == ((BEGIN + 2) * 10**6, (BEGIN + 4502) * 10**6)
    assert frame.iloc[5]["reason"].startswith("loss is not finite")


def test_a_study_that_is_not_there_is_named(uri: str, tmp_path: Path) -> None:
    for address in (uri, f"sqlite:///{tmp_path / 'none.db'}"):
        with pytest.raises(UserError, match="no study of this name"):
            read_runs(address, "absent")
        delete_study(address, "absent")
    assert not (tmp_path / "none.db").exists()


def test_a_deleted_study_leaves_nothing_and_its_name_free(uri: str, tmp_path: Path) -> None:
    told = list(study(6, 3, finals=1))
    other = StudyStart("other", {}, {}, BEGIN)
    deliver(client_lane(uri, other), [other], 1)
    lane = client_lane(uri)
    deliver(lane, told, 1)
    package(tmp_path / "package", "regression")
    deliver_model(lane, Model(str(tmp_path / "package"), "digits", "champion", "final", 0))
    (tmp_path / "plot.txt").write_text("x")
    lane.artifact(Artifact("study", 0, str(tmp_path / "plot.txt")))
    assert (tmp_path / "artifacts" / "digits").is_dir()
    first = snapshot(uri)

    delete_study(uri, "digits")
    client = MlflowClient(uri)
    assert client.get_experiment_by_name("digits") is None
    assert not client.search_registered_models()
    assert not (tmp_path / "artifacts" / "digits").exists()
    assert set(snapshot(uri, "other")) == {"other"}

    deliver(BulkLane(client_lane(uri)), told, 1)
    again = snapshot(uri)
    assert again.keys() == first.keys()
    assert again == first
    delete_study(uri, "digits")
    delete_study(uri, "digits")


def test_a_study_in_the_trash_can_be_deleted(uri: str) -> None:
    lane = client_lane(uri)
    deliver(lane, list(study(2, 2)), 1)
    lane.client.delete_experiment(lane.experiment_id)
    with pytest.raises(UserError):
        read_runs(uri, "digits")
    delete_study(uri, "digits")
    assert lane.client.get_experiment_by_name("digits") is None
