"""How far a study without an answer is, from its outbox as it grows."""

from __future__ import annotations

import fcntl
import json
import math
from pathlib import Path

import pytest
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.config import StudyConfig
from regsearch.system.locks import is_held
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, Note, Record, RunEnd, RunStages, RunStart
from regsearch.trial import Stage, TrialState
from regsearch.workspace.folder import write_record
from regsearch.workspace.status import read_status
from tests.study.small import study_file

STRENGTH = "l2.strength"


def begin(number: int) -> RunStart:
    params = {STRENGTH: 0.1 * number, "clip_by_norm.max_norm": math.inf, "seed": 1}
    return RunStart("trial", number, f"trial-{number:03d}", params, {}, 0)


def curve(number: int, *values: float) -> list[Record]:
    return [Metrics("trial", number, epoch, {"val_loss": each}, 0) for epoch, each in enumerate(values, 1)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Of a study of 24 trials, the lower the better, four of them begun."""
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path))
    folder = tmp_path / "studies" / "small"
    folder.mkdir(parents=True)
    write_record(folder, config(tmp_path), 0)
    with Outbox(folder / "outbox.jsonl") as outbox:
        for record in (
            *map(begin, range(4)),
            *curve(0, 1.0, 0.9, 0.8),
            *curve(1, 0.9, 0.5, 0.7),
            *curve(2, 0.1),
            *curve(3, 0.3),
            RunEnd("trial", 0, "COMPLETE", None, 0),
            RunEnd("trial", 1, "COMPLETE", None, 0, restored=2),
            RunEnd("trial", 2, "PRUNED", None, 0),
        ):
            outbox.append(record)
    return folder


def config(folder: Path) -> StudyConfig:
    from regsearch.config import load_config

    return load_config(study_file(folder))


def test_counts_and_the_best_so_far(folder: Path, tmp_path: Path) -> None:
    found = read_status(folder, config(tmp_path))
    assert found.counts() == {"complete": 2, "pruned": 1, "failed": 0, "running": 1, "waiting": 20}
    assert sum(found.states.values()) == found.total == 24
    assert found.best == {"number": 1, "value": 0.5, "params": {STRENGTH: 0.1}}, "of the epoch that it restored"
    assert found.baseline == 0.8
    assert found.running is False


def test_what_is_to_be_larger_is_ranked_so(folder: Path, tmp_path: Path) -> None:
    primary = "mlflow.experiment.primaryMetric"
    with Outbox(folder / "outbox.jsonl") as outbox:
        outbox.append(Note({}, experiment={f"{primary}.name": "val_loss", f"{primary}.greaterIsBetter": "true"}))
    best = read_status(folder, config(tmp_path)).best
    assert best is not None
    assert best["number"] == 0


def test_one_that_was_set_back_counts_as_it_is_now(folder: Path, tmp_path: Path) -> None:
    """Its fourth epoch was the best of all, and is void; early stopping goes back to an epoch after that."""
    stages = [Stage(0, {STRENGTH: 9.0}, 3, 1), Stage(2, {STRENGTH: 0.7}, 3, 1)]
    with Outbox(folder / "outbox.jsonl") as outbox:
        outbox.append(begin(4))
        for record in curve(4, 0.9, 0.8, 0.2, 0.1):
            outbox.append(record)
        outbox.append(RunStages("trial", 4, [stage.to_json() for stage in stages], {}))
        for epoch, value in ((3, 0.3), (4, 0.4)):
            outbox.append(Metrics("trial", 4, epoch, {"val_loss": value}, 0))
        outbox.append(RunEnd("trial", 4, "COMPLETE", None, 0, restored=3))
    best = read_status(folder, config(tmp_path)).best
    assert best == {"number": 4, "value": 0.3, "params": {STRENGTH: 0.7}}


def test_a_line_that_is_being_written_is_left(folder: Path, tmp_path: Path) -> None:
    with open(folder / "outbox.jsonl", "a") as file:
        file.write('{"type":"run_end","kind":"trial","nu')
    assert read_status(folder, config(tmp_path)).states[TrialState.RUNNING] == 1


def test_a_study_at_work_is_told_from_one_that_stopped(folder: Path) -> None:
    lock = folder / "lock"
    assert is_held(lock) is False
    shown = CliRunner().invoke(app, ["study", "show", "small"]).stdout
    assert "3 of 24 trials ended, not at work" in shown
    assert "1 begun, 20 waiting" in shown
    assert "best so far: trial 1, val_loss 0.5 (baseline 0.8): l2.strength 0.1\n" in shown
    assert "go on: regsearch study resume small" in shown
    with open(lock, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert is_held(lock)
        result = CliRunner().invoke(app, ["study", "show", "small", "--json"])
    found = json.loads(result.stdout)
    assert found["running"] is True
    assert found["finished"] is False
    assert found["resume"] == "regsearch study resume small"
