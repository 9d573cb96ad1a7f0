"""The benchmarks on Ray: both sides search one space with the same rungs, and the figures are what the runs gave."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
STUDY = SCRIPTS.parent / "studies" / "digits.yaml"
NAMES = {path.stem for path in SCRIPTS.glob("*.py")}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts see one another by their bare names; what they set in the environment goes with them."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    before = dict(os.environ)
    yield
    for name in NAMES & set(sys.modules):
        del sys.modules[name]
    for name in set(os.environ) - set(before):
        del os.environ[name]
    os.environ.update(before)


def test_the_peer_searches_the_space_of_the_study() -> None:
    from peer_ray_tune import draw

    from regsearch import Study
    from regsearch.search.samplers import always_drawn, distribution
    from regsearch.space import NONE

    space = Study.from_file(STUDY).space
    always = {of.name: distribution(of) for of in space.always}
    for chosen in (NONE, *space.members):
        own = {of.name: distribution(of) for of in space.members.get(chosen, ())}
        wanted = {**always, **own}
        values = {"regularizer": chosen, **{name: each.high for name, each in wanted.items()}}  # type: ignore[attr-defined]
        trial = optuna.trial.FixedTrial(values)
        draw(trial)  # type: ignore[arg-type]
        found = dict(trial.distributions)
        assert found.pop("regularizer") == always_drawn(space)["regularizer"]
        assert found == wanted


def test_the_peer_halves_at_the_rungs_of_the_study() -> None:
    from peer_ray_tune import REDUCTION, asha

    from regsearch.config import SearchConfig
    from regsearch.search.optuna import make_pruner

    pruner: Any = make_pruner(SearchConfig(), 30)
    rungs = [milestone for milestone, _ in asha(30)._brackets[0]._rungs]
    assert sorted(rungs) == [pruner._min_resource * REDUCTION**k for k in range(3)]
    assert pruner._reduction_factor == REDUCTION


def test_the_study_of_the_comparison_is_the_one_in_studies_without_finals() -> None:
    from argparse import Namespace

    from ray_tune import study

    from regsearch.config.yaml12 import read_yaml

    ours, theirs = (
        study(Namespace(epochs=30, trials=128, engine="optuna", scheduler="asha")),
        read_yaml(STUDY.read_text()),
    )
    assert all(ours[name] == theirs[name] for name in ("data", "model", "train", "space"))
    assert ours["search"]["trials"] == 128 and ours["finalize"] == {"seeds": 0}


def test_scaling_compares_runs_side_by_side() -> None:
    from scaling import figures

    def run(rate: float, start: float, seconds: float) -> dict[str, float]:
        return {"trial_steps_per_second": rate, "start": start, "seconds": seconds}

    runs = {
        "processes": {1: [run(100, 9, 50), run(50, 9, 60)], 2: [run(190, 9, 40), run(80, 10, 40)]},
        "ray": {1: [run(100, 12, 50), run(50, 12, 60)], 2: [run(180, 14, 48), run(90, 16, 47)]},
    }
    found = figures(runs, {"processes": [300.0, 310.0], "ray": [500.0, 800.0]})  # type: ignore[arg-type]
    assert found["scaling"]["processes"] == pytest.approx({"median": 1.75, "lowest": 1.6, "highest": 1.9})
    assert found["ray_seconds"] == pytest.approx({"median": 5.5, "lowest": 5, "highest": 6})
    assert [each["met"] for each in found["aims"]] == [True, True, True, True, False]


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_both_scripts_write_figures_that_fit_one_another(tmp_path: Path) -> None:
    few = {
        "ray_tune.py": ["--trials", "6", "--epochs", "3", "--repeats", "1"],
        "scaling.py": ["--trials", "8", "--epochs", "2", "--repeats", "1"],
    }
    for script, options in few.items():
        command = [sys.executable, str(SCRIPTS / script), *options, "--out", "out"]
        done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    from archive import latest

    files = {name: latest(tmp_path / "out", name) for name in ("ray-tune", "scaling")}
    result = json.loads(files["ray-tune"].read_text())
    rates = {side: runs[0]["rate"] for side, runs in result["runs"].items()}
    assert len(rates) == 3 and all(runs[0]["epochs"] <= 6 * 3 for runs in result["runs"].values())
    for side, times in result["times"]["rate"].items():
        assert times["median"] == pytest.approx(rates["regsearch"] / rates[side])
    assert "| regsearch | 1 |" in files["ray-tune"].with_suffix(".md").read_text()
    assert "| ray | 2 |" in files["scaling"].with_suffix(".md").read_text()
