"""A trial that is trained again agrees with the store to the last bit; a store that was altered is found out."""

from __future__ import annotations

import json
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from regsearch.study.study import Study
from tests import forked
from tests.study.small import study_file

SPACE = """
space:
  choose: one
  from:
    l2: {strength: {schedule: [linear, cosine], warmup: {high: 0.4}, per: layer}}
    weight_decay: search
  early_stopping: {patience: {low: 0, high: 2}, min_delta: {low: 0.01, high: 0.2}}
  dropout: search
  train: {learning_rate: search}
"""


def command(*words: str) -> subprocess.CompletedProcess[str]:
    return forked.run(["-m", "regsearch.cli", *words], Path.cwd())


@pytest.fixture
def studied(own_folder: Path) -> Study:
    file = study_file(own_folder, width=2, workers=1)
    text = file.read_text().replace("finalize: {seeds: 3}", "finalize: {seeds: 0}").replace("trials: 24", "trials: 10")
    file.write_text(text + SPACE)
    study = Study.from_file(file)
    study.run()
    return study


def alter(table: str, metric: str, trial: int, where: str = "") -> None:
    """Change one value of the store by one unit in the last place or so."""
    with closing(sqlite3.connect("mlruns/mlflow.db")) as database:
        run = "select run_uuid from tags where key = 'regsearch.trial' and value = ?"
        changed = database.execute(
            f"update {table} set value = value * (1 + 2e-16) + 1e-300 where key = ? and run_uuid in ({run}) {where}",
            (metric, str(trial)),
        ).rowcount
        database.commit()
    assert changed == 1


@pytest.mark.sweep
def test_every_kind_of_trial_agrees(studied: Study) -> None:
    frame = studied.frame()
    shaped = frame[frame["l2.strength.schedule"].notna()]
    assert len(shaped), "the study must have tried a schedule for this test to mean anything"
    stopped = frame[frame["early_stopping.patience"].notna()]
    for number in {0, int(shaped["number"].iloc[0]), *map(int, stopped["number"].head(1))}:
        found = studied.replay(number)
        assert found.agrees, found.sentence()
        assert found.values >= 9 * found.epochs
    alter("metrics", "val_loss", 3, "and step = 1")
    said: dict[str, Any] = json.loads(command("trial", "replay", "small", "3", "--json").stdout)
    first = said["first"]
    assert (said["agrees"], first["epoch"], first["metric"]) == (False, 1, "val_loss")
    assert first["stored"] != first["found"]
    assert first["stored"] == pytest.approx(first["found"], rel=1e-12)
    assert studied.replay(2).agrees, "other trials are as they were"
    alter("latest_metrics", "gap", 2)
    assert studied.replay(2).differences[0].metric == "gap (latest)"


@pytest.mark.slow
def test_replay_agrees_until_the_store_is_altered(studied: Study) -> None:
    done = command("trial", "replay", "small", "3")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("trial 3 of small agrees: ")
    assert done.stdout.count("\n") == 1

    alter("metrics", "val_loss", 3, "and step = 1")
    done = command("trial", "replay", "small", "3")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "trial 3 of small differs in 1 of " in done.stdout
    assert "first in epoch 1, val_loss: stored " in done.stdout

    done = command("trial", "replay", "small", "10")
    assert done.returncode == 2
    assert done.stderr == "regsearch: NUMBER: the study has no such trial (got 10); there are 0 to 9\n"
    done = command("trial", "replay", "smal", "0")
    assert done.returncode == 2
    assert "no such study" in done.stderr
