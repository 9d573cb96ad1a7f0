"""Whole studies of several objectives, and under a constraint: what the answer says is what the store has."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import mlflow
import pytest
from typer.testing import CliRunner

from regsearch import Study
from regsearch.analysis.pareto import front
from regsearch.cli.app import app
from regsearch.study.runner import Interrupted
from regsearch.tracking.log.history import StudyHistory
from tests.made_store import made_store
from tests.study.small import study_file

SEARCH = "search: {trials: 24, parallel: 8, width: 2, workers: 1"


def written(folder: Path, search: str, *replaced: tuple[str, str]) -> Path:
    """The small study, uncompiled, with more said of its search."""
    path = study_file(folder)
    text = path.read_text()
    for old, new in (
        *replaced,
        (SEARCH, f"{SEARCH}, {search}"),
        ("batch_size: 32,", "batch_size: 32, compile: false,"),
    ):
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)
    return path


class StopsEarly:
    """A progress that stops the study once some trials are complete."""

    def __init__(self, study: Study, after: int) -> None:
        self.study, self.after, self.said = study, after, list[str]()

    def due(self) -> bool:
        return True

    def show(self, snapshot: Any) -> None:
        self.study.stop.requested |= snapshot.complete >= self.after

    def say(self, message: str) -> None:
        self.said.append(message)


def stopped_and_resumed(file: Path) -> tuple[Study, dict[str, Any]]:
    study = Study.from_file(file)
    progress = StopsEarly(study, after=6)
    with pytest.raises(Interrupted):
        study.run(progress=progress)
    study = Study.open("small")
    return study, study.resume().to_json()


def regsearch(*words: str) -> str:
    result = CliRunner().invoke(app, [*words], prog_name="regsearch")
    assert result.exit_code == 0, result.output
    return result.stdout


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    return written(tmp_path, "objective: [val_loss, gap, sparsity]", ("{seeds: 3}", "{seeds: 2, top: 3}"))


@pytest.mark.slow
def test_several_objectives_give_a_front(file: Path) -> None:
    study = Study.from_file(file)
    progress = StopsEarly(study, after=99)
    found = study.run(progress=progress).to_json()
    assert "several objectives: nothing is pruned" in progress.said
    frame = study.frame()
    trials = frame[frame["kind"] == "trial"].set_index("number")
    assert (trials["state"] == "COMPLETE").all() and len(trials) == 24
    names, directions = ["val_loss", "gap", "sparsity"], ("minimize", "minimize", "maximize")
    expected = [int(trials.index[row]) for row in front(trials[names].to_numpy().tolist(), directions)]
    assert [each["number"] for each in found["front"]] == expected
    assert found["best"]["number"] == expected[0] == trials["val_loss"].idxmin()
    for each in found["front"]:
        assert each["values"] == {name: trials.loc[each["number"], name] for name in names}
    finalists = set(frame[frame["kind"] == "final"]["candidate"])
    assert {0, *[number for number in expected if number][:3]} <= finalists
    for name in ("front.json", "pareto_front.png", "importance.json", "importance.svg"):
        assert (study.folder / "finals" / name).exists()
    client = mlflow.MlflowClient(study.uri)
    experiment = client.get_experiment_by_name("small")
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`regsearch.kind` = 'study'")
    assert parent.data.tags["regsearch.front"] == " ".join(map(str, expected))

    said = json.loads(regsearch("study", "importance", "small", "--json"))
    kept = json.loads((study.folder / "finals" / "importance.json").read_text())
    del kept["schema"]  # the form's number belongs to the file
    assert said == {"study": "small", **kept}
    assert said["trials"] == 24 and said["epoch"] is None
    elsewhere = json.loads(regsearch("study", "importance", "small", "--json", "--tracking-uri", study.uri))
    assert elsewhere["loss"] == said["loss"]
    table = regsearch("study", "importance", "small")
    assert "what mattered over 24 complete trials" in table and "dropout.p" in table
    shown = regsearch("study", "resume", "small")
    assert f"Pareto front: no trial beats these {len(expected)} in every objective" in shown


@pytest.mark.sweep
def test_a_resumed_study_gives_the_front_of_an_undisturbed_one(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, again = stopped_and_resumed(file)
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "peace"))
    peace = Study.from_file(file).run().to_json()
    for name in ("front", "best", "finals"):
        assert again[name] == peace[name]


@pytest.mark.sweep
def test_under_a_constraint_the_best_trial_is_the_best_that_keeps_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    search = "constraint: ['gap <= 0.5', 'epochs <= 10'], pruner: none"
    space = "finalize: {seeds: 0}\nspace: {dropout: search, l2: search, early_stopping: {patience: {low: 1, high: 3}}}"
    longer = ("epochs: 6, batch_size: 32, learning_rate: 5.0e-3", "epochs: 12, batch_size: 32, learning_rate: 5.0e-2")
    study = Study.from_file(written(tmp_path, search, ("finalize: {seeds: 3}", space), longer))
    found = study.run()
    values = {}
    for number, curve in StudyHistory.read(study.folder / "outbox.jsonl").reports().items():
        counts = next(each for each in curve if each.epoch == (curve[-1].restored or curve[-1].epoch)).metrics
        if counts["gap"] <= 0.5 and curve[-1].epoch <= 10:
            values[number] = counts["val_loss"]
    assert 0 < len(values) < 24
    assert found.constraints == {"asked": ["gap <= 0.5", "epochs <= 10"], "kept_by": len(values), "of": 24}
    best = min(values, key=values.__getitem__)
    assert found.best is not None and (found.best["number"], found.best["value"]) == (best, values[best])
    assert "front" not in found.to_json() and found.to_json()["constraints"]["of"] == 24
    assert {"epochs", "violation"} <= set(study.frame().columns)
