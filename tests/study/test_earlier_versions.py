"""Studies that earlier versions left are shown, reported, exported, and gone on with to those versions' answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from regsearch.cli.app import app
from regsearch.export import export_study
from regsearch.system import schema
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.mlflow.predict import load
from regsearch.trial import TrialState
from tests.fixtures import STUDY, lay
from tests.study.test_ray_tune import assert_trained_alone, remembered
from tests.study.test_same_answer import answer, assert_whole, start

FINISHED = [("0.1.0", "plain-finished"), ("0.1.0", "tune-finished")]


@pytest.fixture(params=FINISHED, ids="-".join)
def finished(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The project's folder of a finished study."""
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "mlruns"))
    lay(*request.param, tmp_path)
    return tmp_path


def printed(folder: Path) -> dict[str, Any]:
    """What the version that wrote the study printed of it."""
    found: dict[str, Any] = json.loads((folder / "answer.out").read_text())
    return found


def regsearch(*words: str) -> Result:
    result = CliRunner().invoke(app, list(words), prog_name="regsearch")
    assert result.exit_code == 0, result.output
    return result


def test_a_finished_study_is_listed_and_gives_its_answer(finished: Path) -> None:
    [row] = json.loads(regsearch("study", "list", "--json").stdout)["studies"]
    assert (row["name"], row["trials"], row["source"], row["finished"]) == ("small", 24, "sklearn:digits", True)
    assert json.loads(regsearch("study", "show", "small", "--json").stdout) == printed(finished)
    assert printed(finished)["finals"]["sentence"] in " ".join(regsearch("study", "show", "small").stdout.split())


def test_a_finished_study_is_reported(finished: Path) -> None:
    regsearch("study", "report", "small", "--out", "page.html")
    regsearch("study", "report", "small", "--html", "again.html")
    page = Path("page.html").read_text()
    assert Path("again.html").read_text() == page
    assert printed(finished)["finals"]["sentence"] in page
    assert all(f"trial-{number:03d}" in page or f">{number}<" in page for number in range(24))
    assert "Nobody has opened" not in page and "Who opened the test" in page


def test_the_log_of_a_finished_study_has_all_of_it(finished: Path) -> None:
    history = StudyHistory.read(finished / STUDY / "outbox.jsonl")
    told = printed(finished)
    ends = [trial.state for trial in history.trials().values()]
    counts = {"complete": ends.count("COMPLETE"), "pruned": ends.count("PRUNED"), "failed": ends.count("FAIL")}
    assert counts == told["trials"] and history.status == "COMPLETE"
    assert history.trials()[told["best"]["number"]].kept()["val_loss"] == told["best"]["value"]


def test_the_champion_of_a_finished_study_predicts(finished: Path) -> None:
    """By the predict.py of today, in the study's folder and exported, and better than by chance."""
    from sklearn.datasets import load_digits

    export_study("small", "out", onnx=False)
    model = load("out")
    assert schema.KEY not in model.manifest, "it is of a version that gave no number"
    digits = load_digits(as_frame=True)
    answers = model(digits.data)
    assert np.allclose(answers.sum(axis=1), 1) and list(answers.columns) == [str(digit) for digit in range(10)]
    right = (answers.to_numpy().argmax(axis=1) == digits.target).mean()
    assert abs(right - printed(finished)["finals"]["winner"]["test_metric"]["value"]) < 0.1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_study_goes_on_to_the_answer_of_its_version(tmp_path: Path) -> None:
    lay("0.1.0", "plain-finished", tmp_path / "undisturbed")
    folder = lay("0.1.0", "plain-killed", tmp_path / "killed")
    before = {name: (folder / name).read_bytes() for name in ("outbox.jsonl", "search.journal")}
    told = printed(tmp_path / "undisturbed")
    assert answer(start(tmp_path / "killed", "resume", "small")) == {
        name: told[name] for name in ("trials", "best", "finals")
    }
    assert_whole(tmp_path / "killed")
    assert all((folder / name).read_bytes().startswith(text) for name, text in before.items()), "nothing is rewritten"
    numbers = [json.loads(line).get(schema.KEY) for line in (folder / "outbox.jsonl").read_bytes().splitlines()]
    first = before["outbox.jsonl"].count(b"\n")
    assert numbers == [None] * first + [schema.LOG] + [None] * (len(numbers) - first - 1)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize(
    ("version", "name"),
    [
        # A group that fitted nowhere was in no part: it is in none of this study.
        ("0.2.0", "groups-killed"),
        # Numbers that are written as texts were a category for each value.
        ("before-0.3.0", "texts-killed"),
    ],
)
def test_a_study_that_was_cut_otherwise_goes_on_with_the_rows_it_has(version: str, name: str, tmp_path: Path) -> None:
    """Its answer is that of its version."""
    folder = lay(version, name, tmp_path)
    manifest = (folder / "data" / "manifest.json").read_bytes()
    told = printed(tmp_path)
    assert answer(start(tmp_path, "resume", "small")) == {name: told[name] for name in ("trials", "best", "finals")}
    assert (folder / "data" / "manifest.json").read_bytes() == manifest
    assert_whole(tmp_path)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_a_killed_population_goes_on_to_the_answer_of_its_version(tmp_path: Path) -> None:
    """It waits for its members, copies from one alone and by one factor, so that nothing is left to the speed."""
    folder = lay("0.1.0", "population-killed", tmp_path)
    before = {name: (folder / name).read_bytes() for name in ("outbox.jsonl", "search.journal")}
    told = printed(tmp_path)
    assert answer(start(tmp_path, "resume", "small")) == {name: told[name] for name in ("trials", "best", "finals")}
    assert all((folder / name).read_bytes().startswith(text) for name, text in before.items()), "nothing is rewritten"
    trials = remembered(tmp_path)
    assert sum(len(trial.stages) > 1 for trial in trials) == 3, "three of the eight are copies"
    assert_whole(tmp_path, trials=8)
    assert_trained_alone(tmp_path, trials, 12)


@pytest.mark.sweep
@pytest.mark.timeout(1800)
def test_a_killed_population_goes_on(tmp_path: Path) -> None:
    """Which trials a population copies depends on the speed; what each trained is the same to the bit."""
    folder = lay("0.1.0", "tune-killed", tmp_path)
    before = (folder / "outbox.jsonl").read_bytes()
    known = StudyHistory.read(folder / "outbox.jsonl").trials()
    process = start(tmp_path, "resume", "small")
    out, said = process.communicate(timeout=1500)
    assert process.returncode == 0, said
    assert json.loads(out)["trials"] == {"complete": 24, "pruned": 0, "failed": 0}
    assert (folder / "outbox.jsonl").read_bytes().startswith(before)
    trials = remembered(tmp_path)
    assert [trial.state for trial in trials] == [TrialState.COMPLETE] * 24
    # A copy's first stage is that of the trial it was copied from; the others begin with what they were begun with.
    own = [trial for trial in trials if not trial.stages or trial.stages[0].trial == trial.number]
    first = {trial.number: (trial.stages[0].params if trial.stages else trial.params) for trial in own}
    begun = {
        number: {name: value for name, value in run.params.items() if name != "seed"}
        for number, run in known.items()
        if number in first and not run.stages
    }
    assert begun and all(first[number] == params for number, params in begun.items())
    assert_whole(tmp_path)
    assert_trained_alone(tmp_path, trials, 9)
