"""The benchmark of null behaviour: its statistics against exact values, and whole studies against their records."""

from __future__ import annotations

import copy
import json
import math
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib.image import imread

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = {path.stem for path in SCRIPTS.glob("*.py")}
KINDS = ["placebo", "shuffled-values"]


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts see one another by their bare names, as when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in NAMES & set(sys.modules):
        del sys.modules[name]


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    # With no success the bounds solve (1 - p)^n = 0.025; 4 of 10 is in Clopper and Pearson's chart.
    [(0, 100, 0.0, 1 - 0.025 ** (1 / 100)), (100, 100, 0.025 ** (1 / 100), 1.0), (4, 10, 0.1216, 0.7376)],
)
def test_intervals_are_exact(k: int, n: int, low: float, high: float) -> None:
    from null_page import Share

    assert Share(k, n).interval == pytest.approx((low, high), abs=1e-4)


def test_verdicts() -> None:
    from null_page import Share, enough_found, few_false

    assert few_false(Share(0, 100)) and few_false(Share(5, 100)) and few_false(Share(10, 100))
    assert not few_false(Share(11, 100)) and not few_false(Share(0, 0))
    assert enough_found(Share(38, 40)) and not enough_found(Share(37, 40)) and not enough_found(Share(0, 0))


def test_a_plain_test_counts_rows_that_differ() -> None:
    from null_page import plain_test

    truth = np.zeros(20, int)
    predicted = np.zeros((2, 20), int)
    predicted[1, :6] = 1
    assert plain_test(predicted, truth, counts=True) == (True, pytest.approx(2 * 0.5**6))
    assert plain_test(predicted[::-1], truth, counts=True) == (False, pytest.approx(2 * 0.5**6))
    assert plain_test(np.zeros((2, 20)), truth, counts=False) == (False, 1.0)


def record(arm: str, **changes: Any) -> dict[str, Any]:
    naive = {part: {"better": False, "p": 1.0, "loss": [0.75, 0.5]} for part in ("validation", "test")}
    found = {
        "arm": arm,
        "index": 0,
        "claim": False,
        "same": False,
        "p_better": 0.5,
        "gain": [0.01, -0.02, 0.04],
        "winner": "dropout",
        "decisions": 1,
        "finals": {"best": {"validation": 0.5, "test": 0.625}, "baseline": {"validation": 0.5, "test": 0.5}},
        "naive": {"same": False, "best": 0.25, "baseline": 0.5, **naive},
        "seconds": 1.0,
    }
    return copy.deepcopy(found | changes)


def test_figures_are_those_of_the_records() -> None:
    from null_page import result_of

    lucky = record("shuffled", claim=True, p_better=0.99)
    lucky["naive"]["test"] |= {"better": True, "p": 0.01}
    tie = record("shuffled", same=True, gain=[0.0, 0.0, 0.0])
    tie["naive"] |= {"same": True, "best": 0.5}
    planted = [record("planted", claim=True, p_better=1.0, truth={"gain": gain}) for gain in (0.03, 0.05)]
    result = result_of([record("shuffled"), lucky, tie, *planted])
    shuffled = result["arms"]["shuffled"]
    assert [shuffled["claims"][name]["k"] for name in ("regsearch", "naive", "validation", "better", "test")] == [
        1, 2, 0, 1, 1,
    ]  # fmt: skip
    assert shuffled["ties"] == shuffled["baseline_won"] == 1
    assert shuffled["p_better"] == [0, 0, 0, 0, 0, 1, 0, 0, 0, 1], "the tie has no say in it"
    assert shuffled["optimism"]["search"][0] == pytest.approx((0.5 + 0.5 + 0.25) / 3)
    assert [shuffled["optimism"][name][0] for name in ("best", "baseline")] == [0.125, 0.0]
    found = result["arms"]["planted"]
    assert (found["covered"]["k"], found["covered"]["n"], found["confirmed"]["k"]) == (1, 2, 2)
    assert result["verdicts"]["shuffled labels"]["k"] == 1 and result["verdicts"]["planted"]["holds"]
    assert result["opened_once"]
    assert not result_of([record("shuffled", decisions=2)])["opened_once"]


def test_rows_are_those_of_their_study() -> None:
    from null_arms import ARMS, rows, seed_of

    seeds = {seed_of(name, index) for name in ARMS for index in range(200)}
    assert len(seeds) == 200 * len(ARMS)
    arm = ARMS["planted-values"]
    (x, y), (again, _), (fresh, also) = (rows(arm, 7, stream, 4000) for stream in ("study", "study", "fresh"))
    assert (x == again).all() and not (x == fresh).any()
    for features, target in ((x, y), (fresh, also)):
        slopes, k = np.linalg.lstsq(features, target, rcond=None)[0], arm.informative
        r2 = 1 - np.var(target - features[:, :k] @ slopes[:k]) / np.var(target)
        assert r2 == pytest.approx(arm.explained, abs=0.02) and np.abs(slopes[k:]).max() < 0.05
        assert (np.sign(slopes[:k]) == np.sign(np.linalg.lstsq(x, y, rcond=None)[0][:k])).all(), "another world"
    x, y = rows(ARMS["shuffled"], 7, "study", 4000)
    assert abs(np.corrcoef(x[:, :5].T, y)[-1, :-1]).max() < 4 / math.sqrt(4000)


@pytest.mark.sweep
def test_the_script_runs_whole_studies_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    places = ["--records", "records.jsonl", "--out", "out"]
    command = [sys.executable, str(SCRIPTS / "null.py"), "--only", *KINDS, *places]
    for each in ("1", "2"):
        done = subprocess.run(
            [*command, "--studies", each], cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
        assert f"{len(KINDS)} of {len(KINDS)} studies" in done.stdout
    records = [json.loads(line) for line in (tmp_path / "records.jsonl").read_text().splitlines()]
    assert sorted((each["arm"], each["index"]) for each in records) == sorted((n, k) for n in KINDS for k in (0, 1))
    for each in records:
        assert each["decisions"] == 1 and each["claim"] == (each["gain"][1] > 0)
        assert each["naive"]["best"] <= each["naive"]["baseline"]
        placebo = each["arm"] == "placebo"
        assert (each["gain"][0] == 0) == (each["p_better"] == 0.5) == (placebo or each["same"])
        assert ("truth" in each) == (each["arm"] == "shuffled-values")
    from archive import latest

    file = latest(tmp_path / "out", "null")
    result = json.loads(file.read_text())
    assert [result["arms"][name]["claims"]["regsearch"]["n"] for name in result["arms"]] == [2] * len(KINDS)
    page = file.with_suffix(".md").read_text()
    assert f"ran {2 * len(KINDS)} whole studies" in page and "nan" not in page and "inf" not in page
    assert imread(file.with_suffix(".png")).std() > 0.01
