"""A study over a grid tries each setting once, and has ended when there are no more."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from regsearch.driver.factory import bound_trials
from regsearch.study.study import Study
from tests.study.small import study_file
from tests.study.test_same_answer import answer, kill_at, start

SPACE = """
space:
  choose: one
  from:
    l2: {strength: {low: 0.0, high: 0.1, log: false}}
    elastic_net: {strength: {low: 1.0e-3, high: 0.1}, l1_ratio: 0.3}
"""


def grid_file(folder: Path, width: int, workers: int) -> Path:
    folder.mkdir(exist_ok=True)
    path = study_file(folder, width, workers)
    path.write_text(path.read_text().replace("parallel: 8", "parallel: 4, sampler: grid") + SPACE)
    return path


def settings(folder: Path) -> list[str]:
    """What the trials drew, by number."""
    lines = (folder / "mlruns" / "studies" / "small" / "outbox.jsonl").read_text().splitlines()
    starts = [row for row in map(json.loads, lines) if row["type"] == "run_start" and row["kind"] == "trial"]
    params = {row["number"]: {name: v for name, v in row["params"].items() if name != "seed"} for row in starts}
    return [json.dumps(params[number]) for number in sorted(params)]


def show(folder: Path, *words: str) -> Any:
    out, err = start(folder, *words).communicate(timeout=200)
    return json.loads(out), err


def undisturbed(one: Path) -> dict[str, Any]:
    """What a study of a grid says that runs in peace, its ten settings drawn once each."""
    plan, _ = show(one, "start", str(grid_file(one, 2, 1)), "--dry-run")
    line = "the grid has 10 settings, the baseline among them, and 24 trials were asked: the search ends after 10"
    assert plan["trials"] == 10 and plan["grid"] == line
    first = start(one, "start", str(one / "small.yaml"))
    out, err = first.communicate(timeout=200)
    assert first.returncode == 0 and err.count(line) == 1, err
    peace = {name: json.loads(out)[name] for name in ("trials", "best", "finals")}
    assert sum(peace["trials"].values()) == 10 and peace["finals"] is not None
    drawn = settings(one)
    assert drawn[0] == "{}" and len(set(drawn)) == len(drawn) == 10
    assert not any('"l2.strength": 0.0}' in setting for setting in drawn)
    return peace


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_grid_that_is_exhausted_ends_the_study(tmp_path: Path) -> None:
    undisturbed(tmp_path / "one")


@pytest.mark.slow
@pytest.mark.sweep
@pytest.mark.timeout(600)
def test_a_grid_is_exhausted_as_in_peace_whatever_disturbs_it(tmp_path: Path) -> None:
    one, two = tmp_path / "one", tmp_path / "two"
    peace = undisturbed(one)
    killed = start(two, "start", str(grid_file(two, 4, 2)))
    kill_at(killed, two, 40, within=60)
    assert killed.returncode == -signal.SIGKILL
    status, _ = show(two, "show", "small")
    assert not status["finished"] and sum(status["trials"].values()) == 10
    assert answer(start(two, "resume", "small")) == peace
    assert settings(two) == settings(one)
    again, _ = show(two, "resume", "small")
    assert {name: again[name] for name in peace} == peace


def test_only_a_grid_bounds_the_trials(tmp_path: Path) -> None:
    study = Study.from_file(grid_file(tmp_path, 2, 1))
    config, line = bound_trials(study.config, study.space)
    assert config.search.trials == 10 and line is not None
    assert bound_trials(config, study.space) == (config, None)
    search = study.config.search.model_copy(update={"sampler": "sobol"})
    even = study.config.model_copy(update={"search": search})
    assert bound_trials(even, study.space) == (even, None)
