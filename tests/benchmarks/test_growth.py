"""The growth benchmark: its model against what can be said exactly, and its measurements against what they wrote."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

SCRIPTS = Path(__file__).resolve().parents[2] / "benchmarks"
NAMES = {path.stem for path in SCRIPTS.glob("*.py")}


@pytest.fixture(autouse=True)
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The scripts see one another by their bare names, as when they are run."""
    monkeypatch.syspath_prepend(str(SCRIPTS))
    yield
    for name in NAMES & set(sys.modules):
        del sys.modules[name]


def test_a_driver_that_costs_nothing_keeps_every_worker_busy() -> None:
    from growth_model import Costs, simulate

    found = simulate(Costs(), 4, 8, 4000, 1.0, spread=0.0)
    # A worker trains one cohort per second; each of its 4 slots a cohort gives a report then, but for the last trials.
    assert found["seconds"] == pytest.approx(found["reports"] / (4 * 4), rel=0.05)
    assert 0.95 < found["busy"] <= 1 and found["lag"] == 0
    assert found["spent"]["wait"] == pytest.approx(1)


def test_a_search_that_only_asks_takes_what_its_asks_take() -> None:
    from growth_model import Costs, simulate

    found = simulate(Costs(ask=2e-3, ask_seen=3e-6), 1, 32, 500, 0.0)
    assert found["seconds"] == pytest.approx(500 * 2e-3 + 3e-6 * sum(range(500)), rel=0.02)
    assert found["spent"]["ask"] == pytest.approx(1) and found["busy"] == 0


def test_a_writer_that_is_slower_than_the_search_falls_behind() -> None:
    from growth_model import Costs, simulate

    found = simulate(Costs(report=1e-3, deliver_report=3e-3), 1, 32, 500, 0.0)
    assert found["seconds"] + found["lag"] == pytest.approx(found["reports"] * 3e-3, rel=0.05)


def test_lengths_are_those_of_halving() -> None:
    from growth_model import lengths

    drawn = lengths(90_000, np.random.default_rng(1))
    counts = {int(n): int(count) for n, count in zip(*np.unique(drawn, return_counts=True), strict=True)}
    assert counts == {
        n: pytest.approx(90_000 * p, rel=0.05) for n, p in ((3, 2 / 3), (9, 2 / 9), (27, 2 / 27), (30, 1 / 27))
    }


def test_costs_are_found_again() -> None:
    from growth import between, deliver, line

    assert line([(n, 2e-3 + 3e-6 * n) for n in (100, 1000, 10_000)]) == pytest.approx((2e-3, 3e-6))
    assert line([(n, 3e-6 * n - 1e-6) for n in (100, 1000, 10_000)])[0] == 0, "no cost is below nothing"
    found = [{"seconds": 50 * 4e-3 + 400 * m * 1e-5, "trials": 50, "reports": 400, "metrics": m} for m in (3, 27)]
    assert deliver(found, "seconds", 9) == pytest.approx((4e-3, 9e-5))
    assert between({3: 1.0, 27: 5.0}, 9) == pytest.approx(2.0)


def test_a_search_with_light_workers_is_a_whole_one(tmp_path: Path) -> None:
    from growth_parts import EPOCHS, driven

    found = driven(tmp_path, 40, workers=3, lanes=12, metrics=5, sampler="random")
    records = [json.loads(line) for line in (tmp_path / "outbox.jsonl").read_text().splitlines()]
    metrics = [each for each in records if each["type"] == "metrics"]
    ends = [each for each in records if each["type"] == "run_end"]
    assert {each["number"] for each in ends} == set(range(40)) and len(ends) == 40
    assert {each["status"] for each in ends} == {"COMPLETE", "PRUNED"}
    assert len(metrics) == found["reports"] and all(len(each["values"]) == 5 for each in metrics)
    assert max(each["epoch"] for each in metrics) == EPOCHS
    assert found["outbox_bytes"] == (tmp_path / "outbox.jsonl").stat().st_size
    assert found["cpu"] > 0 and found["seconds"] > 0


def test_a_sampler_that_sees_the_last_trials_draws_the_same_while_these_are_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import growth_driver

    draws: dict[int | None, list[object]] = {}
    for window in (None, 200, 20):
        (tmp_path / str(window)).mkdir()
        search = growth_driver.Decisions(tmp_path / str(window), lanes=4)
        search.fill(60)
        monkeypatch.setattr(growth_driver, "WINDOW", window)
        variant = "tpe" if window is None else "tpe, last"
        search.cost(variant, 0.0)
        draws[window] = [dict(each.params) for each in search.search.study.get_trials()[-3:]]
        assert len(search.search.study.get_trials()) == 1 + 4 + 60 + 3, "it sees all trials again"
    assert draws[200] == draws[None] != draws[20]


def test_orders_reach_every_lane_once() -> None:
    from growth_parts import LightExecutor

    from regsearch.core.pack import Load

    executor = LightExecutor(5, 40, 3)
    lanes = [lane for lane in range(40) if executor.cohort(lane) == 0]
    executor.dispatch(0, [(lane, Load(lane, {}, lane), 0) for lane in lanes], lanes)
    first = executor.wait(0)
    executor.dispatch(0, [], lanes[::2])
    assert sorted(lane for lane, _ in first) == lanes
    assert sorted((lane, report.trial, report.epoch) for lane, report in executor.wait(0)) == [
        (n, n, 2) for n in lanes[::2]
    ]


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_the_script_writes_a_page_of_its_figures(tmp_path: Path) -> None:
    few = ["--seen", "50", "200", "--seconds", "0.1", "--delivered", "20", "4", "--driven", "40", "--out", "out"]
    command = [sys.executable, str(SCRIPTS / "growth.py"), *few]
    done = subprocess.run(command, cwd=tmp_path, env=dict(os.environ), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    from archive import latest

    file = latest(tmp_path / "out", "growth")
    result = json.loads(file.read_text())
    assert min(value for name, value in result["costs"].items() if name not in ("order", "wire")) >= 0
    study = result["validated"]["study"]
    assert 0.5 < study["model"] / study["measured"] < 2
    page = file.with_suffix(".md").read_text()
    for name, fleets in result["predicted"].items():
        busy = [each["busy"] for each in fleets.values()]
        assert min(busy) >= 0 and max(busy) <= 1 and f"| {name} | {busy[-1]:.2%} |" in page
    assert imread(file.with_suffix(".png")).std() > 0.01
