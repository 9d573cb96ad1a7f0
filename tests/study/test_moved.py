"""A project that is moved goes on, and one whose MLflow store lost it is whole again before its test is opened."""

from __future__ import annotations

import io
import json
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mlflow import MlflowClient

from regsearch import Study
from regsearch.cli.compare import compared
from regsearch.cli.display import Display
from regsearch.data import openings
from regsearch.errors import UserError
from regsearch.export import export_study
from regsearch.publish.importance import importance_of
from regsearch.publish.report import report_study
from regsearch.study.runner import Interrupted
from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import Artifact, Model

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

FILE = """
name: moved
data: {source: 'csv:tables/rows.csv', target: y, task: classification}
model: {factory: 'nets:net'}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
space: {l2: search, dropout: search}
search: {trials: 6, parallel: 2, width: 2, workers: 1, pruner: none}
finalize: {seeds: 2}
tracking: {tensorboard: tb}
"""
NETS = """
from torch import nn


def net(inputs, outputs):
    return nn.Sequential(nn.Linear(inputs[0], 8), nn.ReLU(), nn.Linear(8, outputs))
"""


def project(folder: Path) -> Path:
    draw = np.random.default_rng(0)
    x = draw.normal(size=(160, 3))
    table = pd.DataFrame(x, columns=["a", "b", "c"]).assign(y=np.where(x[:, 0] + x[:, 1] > 0, "yes", "no"))
    (folder / "tables").mkdir(parents=True)
    table.to_csv(folder / "tables" / "rows.csv", index=False)
    (folder / "nets.py").write_text(NETS)
    (folder / "moved.yaml").write_text(FILE)
    return folder


class Lines(Display):
    """What a study says."""

    def __init__(self) -> None:
        super().__init__("moved", io.StringIO())
        self.lines: list[str] = []

    def say(self, message: str) -> None:
        self.lines.append(message)


def answer(found: Any) -> dict[str, Any]:
    told: dict[str, Any] = found.to_json()
    return {name: told[name] for name in ("trials", "best", "finals", "answer") if name in told}


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, dict[str, Any]]]:
    """A study that has ended where it began, and its answer."""
    folder = project(tmp_path_factory.mktemp("project") / "before")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        yield folder, answer(Study.from_file("moved.yaml").run())


def absolute(folder: Path, text: str) -> list[str]:
    """Files of a project's own state that hold a path of it."""
    own = [path for path in (folder / "mlruns" / "studies").rglob("*") if path.suffix in (".json", ".jsonl", ".cursor")]
    return [path.name for path in own if text in path.read_text()]


def move(folder: Path, to: Path, monkeypatch: pytest.MonkeyPatch, keep: bool = False) -> None:
    """Move a project, or copy it; where it was nothing can be made again."""
    shutil.copytree(folder, to)
    if not keep:
        shutil.rmtree(folder)
        folder.write_text("a file")
    monkeypatch.chdir(to)


def test_a_study_moved_half_way_gives_the_same_answer(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, after = project(tmp_path / "before"), tmp_path / "deep" / "after"
    monkeypatch.chdir(before)
    with pytest.raises(Interrupted):
        Study.from_file("moved.yaml").run(timeout=0.0)
    assert absolute(before, str(before)) == []
    move(before, after, monkeypatch)
    monkeypatch.chdir(tmp_path)  # nothing is found only because it lies in the working directory
    monkeypatch.setenv("REGSEARCH_HOME", str(after / "mlruns"))
    progress = Lines()
    assert answer(Study.open("moved").resume(progress=progress)) == done[1]
    assert [line for line in progress.lines if line.startswith("the study was moved")]
    assert before.read_text() == "a file"
    study = Study.open("moved")
    client = MlflowClient(study.uri, study.uri)
    version = client.get_model_version_by_alias("moved", "champion")
    places = [client.get_run(version.run_id).info.artifact_uri, client.get_model_version_download_uri("moved", "1")]
    assert all(place.startswith(str(after)) for place in places), places
    [parent] = client.search_runs(["1"], "tags.`regsearch.kind` = 'study'")
    assert client.list_artifacts(parent.info.run_id, "report")
    assert (after / "tb" / "moved" / "trial-000").is_dir() and not (tmp_path / "tb").exists()


@pytest.mark.parametrize(
    "keep", [pytest.param(False, id="moved"), pytest.param(True, id="copied", marks=pytest.mark.sweep)]
)
def test_a_study_that_has_ended_is_whole_elsewhere(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keep: bool
) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    shutil.copytree(done[0], before)
    # As an earlier version left it: paths as they were then.
    study_file = before / "mlruns" / "studies" / "moved" / "study.json"
    study_file.write_text(study_file.read_text().replace("{project}", str(before)))
    outbox = study_file.with_name("outbox.jsonl")
    outbox.write_text(outbox.read_text().replace('"finals/', f'"{study_file.parent}/finals/'))
    monkeypatch.chdir(before)
    Study.open("moved").frame()
    move(before, after, monkeypatch, keep)
    study = Study.open("moved")
    assert study.config.folder == str(before if keep else after)
    assert answer(study.show()) == answer(study.resume()) == done[1]
    report_study("moved", None, None)
    assert (after / "mlruns/studies/moved/finals/report.html").exists()
    export_study("moved", after / "here", onnx=False)
    shutil.move(after / "mlruns/studies/moved/finals/champion", tmp_path / "champion")
    found = export_study("moved", after / "registered", onnx=False, tracking_uri=study.uri)
    assert "version 1 of the registered model" in found.origin
    shutil.move(tmp_path / "champion", after / "mlruns/studies/moved/finals/champion")
    report_study("moved", after / "stored.html", study.uri)
    assert str(before) not in (after / "stored.html").read_text()
    study.finalize(seeds=3)
    records = [record for record, _ in read_from(after / "mlruns/studies/moved/outbox.jsonl")]
    files = [record.path for record in records if isinstance(record, Artifact)]
    files += [record.folder for record in records if isinstance(record, Model)]
    assert files and all(Path(file).is_relative_to(after) and Path(file).exists() for file in files)
    assert keep or before.read_text() == "a file"
    with closing(sqlite3.connect(after / "mlruns" / "mlflow.db")) as database:
        assert str(before) + "/" not in "\n".join(database.iterdump())


def test_an_experiment_deleted_before_finals_is_whole_before_the_test_is_opened(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    shutil.copytree(done[0], here)
    monkeypatch.chdir(here)
    study = Study.open("moved")
    client = MlflowClient(study.uri, study.uri)
    experiment = client.get_experiment_by_name("moved").experiment_id
    client.delete_experiment(experiment)
    for reads in (lambda: compared(["moved", "moved2"]), lambda: study.replay(1)):
        with pytest.raises(UserError, match="`regsearch study resume moved` writes them anew"):
            reads()
    progress = Lines()
    study.finalize(seeds=3, progress=progress)
    assert [line for line in progress.lines if "in MLflow's trash and is restored" in line]
    assert not [line for line in progress.lines if "refused" in line]
    frame = Study.open("moved").frame()
    assert (frame["kind"] == "trial").sum() == 6 and (frame["kind"] == "final").sum() >= 6
    assert client.get_experiment(experiment).lifecycle_stage == "active"
    assert Study.open("moved").replay(1).agrees


def test_a_store_that_cannot_take_the_study_is_refused_before_the_test_is_opened(
    done: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = tmp_path / "here"
    shutil.copytree(done[0], here)
    monkeypatch.chdir(here)
    study = Study.open("moved")
    client = MlflowClient(study.uri, study.uri)
    client.rename_experiment(client.get_experiment_by_name("moved").experiment_id, "mine")
    client.create_run(client.create_experiment("moved"))
    [digest] = [path.stem for path in (here / "mlruns" / "ledger").glob("*.jsonl")]
    before = len(openings(here / "mlruns" / "ledger", digest))
    with pytest.raises(UserError, match="another experiment of this name"):
        study.finalize(seeds=3)
    assert len(openings(here / "mlruns" / "ledger", digest)) == before
    assert answer(Study.open("moved").show()) == done[1], "its answer stands"
    # Trials that are gone are not silently left out of what is read from the store.
    client.delete_experiment(client.get_experiment_by_name("moved").experiment_id)
    Study.open("moved").resume()
    for run in client.search_runs(["1"], "tags.`regsearch.kind` = 'trial'")[:2]:
        client.delete_run(run.info.run_id)
    with pytest.raises(UserError, match="lost 2 of this study's runs"):
        importance_of("moved")
    assert json.loads((here / "mlruns/studies/moved/study.json").read_text())["config"]["folder"] == "{project}"
