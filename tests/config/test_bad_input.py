"""Every kind of bad input through the real command: one line with file, key, value and what is allowed; no file."""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
import sqlite3
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from mlflow import MlflowClient
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.config import load_config
from regsearch.study.study import Study
from regsearch.tracking.mlflow.store import ensure_store
from tests.config.bad_input import CASES, FACTORIES, OWN, STUDY, Bad

QUICK = ("hidden state", "ragged lists", "a strange label")
ALL = [*CASES, *(bad if bad.what in QUICK else pytest.param(bad, marks=pytest.mark.sweep) for bad in OWN)]


def written(bad: Bad) -> None:
    """The study file, its table, its factories, a folder and a database of something else, in the working directory."""
    text = STUDY
    for old, new in ((bad.old, bad.new), *bad.more):
        assert old in text
        text = text.replace(old, new)
    Path("study.yaml").write_text(text)
    Path("t.csv").write_text(bad.table)
    Path("net.py").write_text(FACTORIES)
    Path("folder").mkdir()
    with closing(sqlite3.connect("other.db")) as database:
        database.execute("create table a (b)")


def refused(*options: str, start: str = "study.yaml") -> str:
    """The line on standard error of a `study start` that is refused, prints nothing and leaves nothing."""
    before = {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()}
    folders = sorted(path for path in Path.cwd().rglob("*") if path.is_dir())
    result = CliRunner().invoke(app, ["study", "start", start, *options], prog_name="regsearch")
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *progress, line = result.stderr.splitlines()
    assert all(each.startswith("sealing: ") for each in progress), result.stderr
    assert {path: path.stat().st_mtime_ns for path in Path.cwd().rglob("*") if path.is_file()} == before
    assert sorted(path for path in Path.cwd().rglob("*") if path.is_dir()) == folders
    assert line.startswith("regsearch: ")
    return line.removeprefix("regsearch: ")


@pytest.fixture(autouse=True)
def fresh_modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A factory found in one test's folder is not that of the next; nor is its compiled form written there."""
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    monkeypatch.setattr(sys, "path", list(sys.path))
    yield
    sys.modules.pop("net", None)


@pytest.mark.parametrize("bad", ALL, ids=[bad.what for bad in [*CASES, *OWN]])
def test_bad_input_is_one_line_and_nothing_is_written(bad: Bad) -> None:
    written(bad)
    line = refused(*bad.options, start=bad.file or "study.yaml")
    assert line.startswith(f"{bad.file}: {bad.key}".rstrip(": ") if bad.file else f"{bad.key}: ")
    for said in (bad.value, bad.allowed):
        assert said in line
    assert len(line) < 500


def test_a_dry_run_refuses_the_same() -> None:
    some = ("unknown knob", "log and 0", "trials < 1", "no activation", "class of two", "store a folder")
    for bad in (bad for bad in CASES if bad.what in some):
        written(bad)
        assert refused("--dry-run").startswith(f"study.yaml: {bad.key}: ")
        shutil.rmtree("folder")
        Path("other.db").unlink()


def test_a_home_that_cannot_be_written() -> None:
    written(Bad("fine"))
    Path("mlruns").write_text("a file in the way")
    line = refused("--tracking-uri", "sqlite:///folder/mlflow.db")
    assert line.startswith("mlruns: cannot be written")
    assert "must be a folder that can be written; REGSEARCH_HOME" in line


def test_two_studies_of_one_name() -> None:
    """Refused are the name of a study here, of one that is being started, and of an experiment of something else."""
    written(Bad("fine"))
    Path("mlruns/studies/small").mkdir(parents=True)
    record = json.dumps({"config": json.loads(load_config("study.yaml").to_json()), "created_ms": 1})
    Path("mlruns/studies/small/study.json").write_text(record)
    line = refused()
    assert line.startswith("study.yaml: name: a study of this name exists (got 'small')")
    assert "`regsearch study resume small` goes on, --replace starts anew" in line
    Path("mlruns/studies/small/study.json").unlink()
    aside = Path("mlruns/studies/.small.new")
    aside.mkdir()
    held = os.open(aside, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    assert "name: another process works on this study (got 'small'); wait for it" in refused()
    os.close(held)
    uri = f"sqlite:///{Path('mlruns/mlflow.db').absolute()}"
    ensure_store(uri)
    MlflowClient(uri, uri).create_experiment("small")
    aside.rmdir()
    line = refused()
    assert line.startswith("study.yaml: name: the MLflow store has an experiment of this name")
    assert "give the study another name" in line


@pytest.mark.sweep
def test_a_trial_that_diverges_fails_with_its_epoch_and_reason_and_the_study_goes_on() -> None:
    """Steps of up to 10 under plain gradient descent on a regression blow up; small ones do not."""
    text = STUDY.replace("csv:t.csv', target: y, task: classification", "sklearn:diabetes'")
    text = text.replace("epochs: 2, batch_size: 32", "epochs: 5, batch_size: 32, optimizer: sgd, learning_rate: 1e-3")
    text = text.replace("{dropout: search}", "{dropout: search, train: {learning_rate: {low: 1e-3, high: 10}}}")
    Path("study.yaml").write_text(text.replace("trials: 3", "trials: 12"))
    command = [sys.executable, "-m", "regsearch.cli", "study", "start", "study.yaml", "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=240)
    assert done.returncode == 0, done.stderr
    trials = json.loads(done.stdout)["trials"]
    assert sum(trials.values()) == 12
    assert 0 < trials["failed"] < 12
    assert json.loads(done.stdout)["finals"] is not None
    assert re.search(rf"^{trials['failed']} of 12 trials failed; trial \d+ diverged in epoch \d+: ", done.stderr, re.M)
    frame = Study.open("small").frame()
    failed = frame[(frame["kind"] == "trial") & (frame["state"] == "FAIL")]
    assert len(failed) == trials["failed"]
    assert failed["reason"].str.fullmatch(r"diverged in epoch \d+: \w+ is not finite").all()
    with closing(sqlite3.connect("mlruns/mlflow.db")) as database:
        statuses = Counter(row[0] for row in database.execute("select status from runs"))
    assert statuses["FAILED"] == trials["failed"]
    assert statuses["RUNNING"] == 0
