"""Studies that Ray Tune searches: whole, the same in Tune, journal and MLflow, their curves to the last bit."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from regsearch.driver.executor import start_executor
from regsearch.driver.retrain import train_all
from regsearch.search.journal import JournalFile
from regsearch.search.optuna import OptunaSearch
from regsearch.study.study import Study
from regsearch.tracking.mlflow.changes import STAGES_TAG
from regsearch.trial import Trial, TrialState, derive_seed
from regsearch.workspace.folder import StudyFolder
from tests import forked
from tests.study.small import study_file
from tests.study.test_same_answer import answer, assert_whole, kill_at, start

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
STATUS = {TrialState.COMPLETE: "FINISHED", TrialState.PRUNED: "KILLED", TrialState.FAIL: "FAILED"}
LOSSES = ("train_loss", "val_loss")
STAGES = f"join tags s on s.run_uuid = r.run_uuid and s.key = '{STAGES_TAG}'"
TUNE = {TrialState.COMPLETE: "TERMINATED", TrialState.PRUNED: "TERMINATED", TrialState.FAIL: "ERROR"}


def tuned_file(folder: Path, search: str, epochs: int = 9, more: str = "") -> Path:
    folder.mkdir(exist_ok=True)
    path = study_file(folder, width=2, workers=2)
    text = path.read_text().replace("epochs: 6", f"epochs: {epochs}").replace("seeds: 3", "seeds: 2")
    path.write_text(text.replace("search: {", f"search: {{engine: ray_tune, {search}, ") + more)
    return path


def remembered(folder: Path) -> list[Any]:
    """The trials of the study's journal."""
    study = opened(folder)
    search = OptunaSearch(
        "small", study.space, study.config.search, JournalFile(study.folder / "search.journal"), ["minimize"], 9
    )
    return search.trials()


def opened(folder: Path) -> Study:
    study = Study.from_file(folder / "small.yaml")
    study.spec = replace(study.spec, folder=StudyFolder(folder / "mlruns", "small"))
    return study


def in_mlflow(folder: Path, what: str, joined: str = "") -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(folder / "mlruns" / "mlflow.db")) as database:
        tag = "join tags k on k.run_uuid = r.run_uuid and k.key = 'regsearch.kind' and k.value = 'trial'"
        number = "join tags n on n.run_uuid = r.run_uuid and n.key = 'regsearch.trial'"
        return database.execute(f"select cast(n.value as int), {what} from runs r {tag} {number} {joined}").fetchall()


def assert_one_state_everywhere(folder: Path) -> list[Any]:
    trials = remembered(folder)
    assert len(trials) == 24 and all(trial.state.ended for trial in trials)
    assert dict(in_mlflow(folder, "r.status")) == {trial.number: STATUS[trial.state] for trial in trials}
    assert_whole(folder)
    state = max((folder / "mlruns" / "studies" / "small" / "tune").glob("experiment_state-*.json"))
    found = [json.loads(one) for one, _ in json.loads(state.read_text())["trial_data"]]
    statuses = {int(each["trial_id"]): each["status"] for each in found}
    # Tune leaves PAUSED in its snapshot for some trials that end while they are paused: findings/ has it.
    said = {number for number, status in statuses.items() if status != "PAUSED"}
    assert said and statuses.keys() == {trial.number for trial in trials if trial.number}
    assert all(statuses[trial.number] == TUNE[trial.state] for trial in trials if trial.number in said)
    return trials


def replayed(folder: Path, number: int) -> str:
    line = forked.run(["-m", "regsearch.cli", "trial", "replay", "small", str(number)], folder)
    assert line.returncode == 0, line.stdout + line.stderr
    return line.stdout


def test_a_study_is_whole_and_its_curves_are_those_of_the_trials_alone(tmp_path: Path) -> None:
    """HyperBand pauses trials: their curves go on where they were, whatever lane they are in then."""
    found = answer(start(tmp_path, "start", str(tuned_file(tmp_path, "algorithm: optuna, scheduler: hyperband"))))
    trials = assert_one_state_everywhere(tmp_path)
    assert found["trials"]["pruned"] > 0 and found["finals"] is not None
    longest = [trial.number for trial in trials if trial.number and trial.state is TrialState.COMPLETE]
    replayed(tmp_path, longest[-1])


@pytest.mark.sweep
def test_a_study_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Twice, with trials paused; by Tuner.restore where Tune's state was saved by then.

    The second time one bit of each saved state is flipped: their trials are trained again from their seeds.
    """
    process = start(tmp_path, "start", str(tuned_file(tmp_path, "scheduler: hyperband", epochs=27)))
    for lines in (80, 350):
        kill_at(process, tmp_path, lines, within=120, alive=True)
        if lines == 350:
            saved = list((tmp_path / "mlruns" / "studies" / "small" / "snapshots").glob("*.pt"))
            assert saved
            for file in saved:
                content = bytearray(file.read_bytes())
                content[len(content) // 2] ^= 1
                file.write_bytes(content)
        process = start(tmp_path, "resume", "small")
    answer(process)
    trials = remembered(tmp_path)
    assert len(trials) == 24 and all(trial.state.ended for trial in trials)
    assert dict(in_mlflow(tmp_path, "r.status")) == {trial.number: STATUS[trial.state] for trial in trials}
    assert_whole(tmp_path)
    replayed(tmp_path, next(trial.number for trial in trials if trial.number and trial.state is TrialState.COMPLETE))


def assert_trained_alone(folder: Path, trials: list[Any], epochs: int) -> dict[int, Any]:
    """Every trial trains again alone, stage by stage, to the bits of the store; the copies among them by number."""
    copies = {known.number: known for known in trials if len(known.stages) > 1}
    assert copies and all(known.params == known.stages[-1].params for known in copies.values())
    told = {number: json.loads(text) for number, text in in_mlflow(folder, "s.value", STAGES)}
    assert told == {known.number: [stage.to_json() for stage in known.stages] for known in trials if known.stages}
    again = []
    for known in trials:
        again.append(Trial(known.number, dict(known.params), derive_seed(0, "trial", known.number)))
        again[-1].stages = known.stages
    executor = start_executor(opened(folder).spec, again=True)
    try:
        train_all(executor, again, epochs, lambda trial, weights: None)
    finally:
        executor.close()
    rows = in_mlflow(folder, "m.key, m.step, m.value, m.timestamp", "join metrics m on m.run_uuid = r.run_uuid")
    begun = {trial.number: trial.history()[-1].epoch for trial in again}
    latest = sorted(rows, key=lambda row: row[4])
    stored = {(n, key, epoch): value for n, key, epoch, value, _ in latest if epoch > begun[n] and key in LOSSES}
    alone = {(t.number, key, r.epoch): r.metrics[key] for t in again for r in t.reports for key in LOSSES}
    assert stored == {what: value for what, value in alone.items() if what[2] > begun[what[0]]}
    assert len(stored) == 2 * sum(epochs - epoch for epoch in begun.values())
    return copies


@pytest.mark.sweep
def test_a_population_that_is_killed_goes_on(tmp_path: Path) -> None:
    """Three times, so that Tune's saved state is older or newer than the study's memory."""
    file = tuned_file(tmp_path, "scheduler: {name: pbt, perturbation_interval: 2}", epochs=12)
    process = start(tmp_path, "start", str(file))
    for lines in (90, 240, 380):
        kill_at(process, tmp_path, lines, within=120, alive=True)
        process = start(tmp_path, "resume", "small")
    answer(process)
    trials = remembered(tmp_path)
    assert len(trials) == 24 and all(trial.state is TrialState.COMPLETE for trial in trials)
    assert dict(in_mlflow(tmp_path, "r.status")) == {trial.number: "FINISHED" for trial in trials}
    assert_whole(tmp_path)
    assert_trained_alone(tmp_path, trials, 12)


@pytest.mark.sweep
def test_a_population_copies_weights_and_changes_strengths(tmp_path: Path) -> None:
    """Every trial, copied or not, trains again alone to the bit, stage by stage; its stages and numbers are tracked."""
    found = answer(
        start(tmp_path, "start", str(tuned_file(tmp_path, "scheduler: {name: pbt, perturbation_interval: 3}")))
    )
    trials = assert_one_state_everywhere(tmp_path)
    assert found["trials"] == {"complete": 24, "pruned": 0, "failed": 0} and found["finals"] is not None
    rows = in_mlflow(tmp_path, "m.key, m.step, m.value", "join metrics m on m.run_uuid = r.run_uuid")
    copies = assert_trained_alone(tmp_path, trials, 9)
    schedule = {(n, key, epoch): value for n, key, epoch, value in rows if key.startswith("schedule.")}
    for known in copies.values():
        numbers = {f"schedule.{name}": value for name, value in known.params.items() if isinstance(value, float)}
        epoch = known.stages[-1].epoch + 1
        assert {key: schedule[known.number, key, epoch] for key in numbers} == numbers
    longest = max(copies.values(), key=lambda known: len(known.stages))
    assert "agrees" in (said := replayed(tmp_path, longest.number)) and ", copied from trial " in said
