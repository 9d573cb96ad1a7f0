"""The same study gives the same answer: whatever the workers, the pack width, or the moment it was stopped."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from tests.forked import Forked
from tests.made_store import made_store
from tests.study.small import study_file

ROOT = str(Path(__file__).parents[2])


def start(folder: Path, *words: str) -> Forked:
    folder.mkdir(exist_ok=True)
    home = str(made_store(folder / "mlruns"))
    env = {**os.environ, "PYTHONPATH": ROOT, "REGSEARCH_HOME": home, "OMP_NUM_THREADS": "1"}
    return Forked(["-m", "regsearch.cli", "study", *words, "--json"], folder, env)


def answer(process: Forked) -> dict[str, Any]:
    out, err = process.communicate(200)
    assert process.returncode == 0, err
    found: dict[str, Any] = json.loads(out)
    return {name: found[name] for name in ("trials", "best", "finals")}


def kill_at(process: Forked, folder: Path, lines: int, within: float, alive: bool = False) -> None:
    """Kill a study once its journal has so many lines, or after so many seconds; `alive`: it must not have ended."""
    journal = folder / "mlruns" / "studies" / "small" / "search.journal"
    until = time.monotonic() + within
    while process.poll() is None and time.monotonic() < until:
        if journal.exists() and journal.read_bytes().count(b"\n") >= lines:
            break
        time.sleep(0.02)
    assert not alive or process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("undisturbed")
    found = answer(start(folder, "start", str(study_file(folder))))
    assert sum(found["trials"].values()) == 24 and found["finals"] is not None
    return found


@pytest.mark.sweep
def test_two_workers_and_another_width(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    assert answer(start(tmp_path, "start", str(study_file(tmp_path, width=4, workers=2)))) == undisturbed


@pytest.mark.sweep
def test_killed_and_resumed(undisturbed: dict[str, Any], tmp_path: Path) -> None:
    """Killed three times: while it starts, in the search, and later; each time all its processes end with it."""
    process = start(tmp_path, "start", str(study_file(tmp_path)))
    for lines in (1, 60, 150):
        kill_at(process, tmp_path, lines, within=60)
        process = start(tmp_path, "resume", "small")
    assert answer(process) == undisturbed
    assert_whole(tmp_path)


def assert_whole(folder: Path, trials: int = 24) -> None:
    """Nothing lost, nothing twice: every trial once in the store, every (trial, metric, epoch) once.

    But for copies in a population: they may train an epoch again, with other weights.
    """
    import sqlite3

    store = sqlite3.connect(folder / "mlruns" / "mlflow.db")
    tag = "select count(*), count(distinct b.value) from tags a join tags b on a.run_uuid = b.run_uuid"
    kind = "where a.key = 'regsearch.kind' and a.value = 'trial' and b.key = 'regsearch.trial'"
    assert store.execute(f"{tag} {kind}").fetchone() == (trials, trials)
    copies = "select run_uuid from tags where key = 'regsearch.stages'"
    once = f"from metrics where run_uuid not in ({copies}) group by run_uuid, key, step having count(*) > 1"
    assert store.execute(f"select run_uuid, key, step, count(*) {once}").fetchall() == []
    assert store.execute("select count(*) from runs where status = 'RUNNING'").fetchone() == (0,)
    store.close()


SHAPED = """
space:
  choose: any
  from:
    l2: {strength: {schedule: [constant, linear, cosine], warmup: {high: 0.5}, per: layer}}
    clip_by_norm: {max_norm: {schedule: [constant, cosine]}}
  dropout: {p: {warmup: search}}
  train: search
"""


def shaped_file(folder: Path, width: int, workers: int) -> Path:
    """The small study with strengths that follow schedules, those of layers, and training searched; no finals."""
    folder.mkdir(exist_ok=True)
    path = study_file(folder, width, workers)
    path.write_text(
        path.read_text().replace("seeds: 3", "seeds: 0").replace("5.0e-3}", "5.0e-3, warmup: 0.2}") + SHAPED
    )
    return path


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_schedules_layers_and_training_survive_a_kill_and_another_width(tmp_path: Path) -> None:
    peace = answer(start(tmp_path / "a", "start", str(shaped_file(tmp_path / "a", width=2, workers=1))))
    assert sum(peace["trials"].values()) == 24
    process = start(tmp_path / "b", "start", str(shaped_file(tmp_path / "b", width=4, workers=2)))
    kill_at(process, tmp_path / "b", 100, within=60)
    assert process.returncode == -signal.SIGKILL, "it must be killed before its end for this test to mean anything"
    assert answer(start(tmp_path / "b", "resume", "small")) == peace
    assert_whole(tmp_path / "b")
