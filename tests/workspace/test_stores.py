"""Which MLflow store a study keeps to."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from regsearch.config import StartOptions, load_config
from regsearch.study.fetch import _at_home
from regsearch.workspace.folder import read_record, write_record
from regsearch.workspace.places import placed, portable
from regsearch.workspace.stores import at_store

STUDY = """
name: small
data: {source: "sklearn:digits"}
model: {name: mlp, hidden: [8]}
space: {l2: search}
"""
THERE, ELSEWHERE = "http://there:5000", "http://elsewhere:5000"


def test_the_store_of_the_environment_is_kept_unless_the_file_names_one(tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    assert at_store(load_config(file), THERE).tracking.uri == THERE
    assert at_store(load_config(file), None).tracking.uri is None
    assert at_store(load_config(file, StartOptions(tracking_uri=ELSEWHERE)), THERE).tracking.uri == ELSEWHERE


def test_a_study_of_another_machine_is_reached_as_this_one_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(STUDY)
    saved = json.loads(load_config(file, StartOptions(tracking_uri=THERE)).to_json())
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    assert _at_home(saved, "postgresql://db/x", None).tracking.uri == THERE
    monkeypatch.setenv("MLFLOW_TRACKING_URI", ELSEWHERE)
    assert _at_home(saved, "postgresql://db/x", None).tracking.uri == ELSEWHERE
    assert _at_home(saved, "postgresql://db/x", "http://given:5000").tracking.uri == "http://given:5000"


def test_what_lies_in_the_project_moves_with_it_and_the_rest_stays(tmp_path: Path) -> None:
    project, away = tmp_path / "before", tmp_path / "after"
    (project / "mlruns" / "studies" / "small").mkdir(parents=True)
    file = project / "small.yaml"
    text = STUDY.replace("sklearn:digits", f"csv:{project}/rows.csv").replace(
        'csv"}', 'csv", target: y, task: regression}'
    )
    file.write_text(
        text + f"search: {{storage: 'sqlite:///{project}/search.db'}}\ntracking: {{tensorboard: /var/tb}}\n"
    )
    config = load_config(file, StartOptions(tracking_uri=f"sqlite:///{project}/mlruns/other.db"))
    write_record(project / "mlruns" / "studies" / "small", config, 5)
    assert str(project) not in (project / "mlruns" / "studies" / "small" / "study.json").read_text()
    assert read_record(project / "mlruns" / "studies" / "small").config == config
    project.rename(away)
    found = json.loads(read_record(away / "mlruns" / "studies" / "small").config.to_json())
    assert found["folder"] == str(away)
    assert found["data"]["source"] == f"csv:{away}/rows.csv"
    assert found["search"]["storage"] == f"sqlite:///{away}/search.db"
    assert found["tracking"] == {
        **json.loads(config.to_json())["tracking"],
        "uri": f"sqlite:///{away}/mlruns/other.db",
        "tensorboard": "/var/tb",
    }


@pytest.mark.parametrize(
    ("folder", "home"), [("a/project", "a/project/state/mlruns"), ("a/project/files", "a/project/mlruns")]
)
def test_the_home_may_lie_deeper_or_beside(tmp_path: Path, folder: str, home: str) -> None:
    saved = portable({"folder": str(tmp_path / folder)}, tmp_path / home)
    assert str(tmp_path) not in saved["folder"]
    assert placed(saved, tmp_path / "b" / home)["folder"] == str(tmp_path / "b" / folder)


def test_a_project_reached_by_a_link_is_the_same(tmp_path: Path) -> None:
    (tmp_path / "real" / "mlruns").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert portable({"folder": str(tmp_path / "real")}, tmp_path / "link" / "mlruns") == {"folder": "{project}"}


def test_a_home_of_elsewhere_keeps_paths_as_they_are(tmp_path: Path) -> None:
    for home in (Path("/mlruns"), tmp_path / "state" / "mlruns"):
        assert portable({"folder": "/work/project"}, home) == {"folder": "/work/project"}


def test_paths_of_an_earlier_version_are_looked_for_in_the_project(tmp_path: Path) -> None:
    home = tmp_path / "now" / "mlruns"
    (tmp_path / "now" / "files").mkdir(parents=True)
    home.mkdir()
    (home / "mlflow.db").touch()
    (tmp_path / "now" / "shared.db").touch()
    there = {
        "tracking": {"uri": "sqlite:////gone/then/mlruns/mlflow.db", "tensorboard": "/gone/then/files/tb"},
        "search": {"storage": "sqlite:////gone/then/files/search.db"},
        "data": {"source": "csv:/gone/then/files/rows.csv"},
    }
    found = placed({"folder": "/gone/then/files", **there}, home)
    files = tmp_path / "now" / "files"
    assert found["folder"] == str(files)
    assert found["tracking"] == {"uri": f"sqlite:///{home}/mlflow.db", "tensorboard": f"{files}/tb"}
    assert found["search"]["storage"] == f"sqlite:///{files}/search.db"
    assert found["data"]["source"] == f"csv:{files}/rows.csv"
    assert placed({"folder": "/gone/then"}, home)["folder"] == str(tmp_path / "now")
    # A store of elsewhere that is away is not another of its name here.
    for address in ("sqlite:////gone/share/shared.db", "postgresql://there/mlflow", "http://there:5000"):
        assert placed({"folder": "/gone/then", "tracking": {"uri": address}}, home)["tracking"]["uri"] == address
