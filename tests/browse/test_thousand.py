"""A study of 1,000 trials: what is asked of it is answered within three seconds, and its pages open."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.browse.browser import OUTPUT, Browser, chromium, served

pytestmark = [pytest.mark.sweep, pytest.mark.timeout(900)]

STUDY = """
name: NAME
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: mlp, hidden: [8]}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
space: SPACE
search: {trials: TRIALS, sampler: random, pruner: none, width: 32, workers: 2}
finalize: {seeds: 3}
"""
TRIALS, SECONDS = 1000, 3.0
LINKS = '.ag-row a[href*="/runs/"]'
# A command's time without that of starting Python and of importing what it needs: those are imported first.
TIMED = """
import sys, time
from regsearch.cli.app import app
import mlflow.store.tracking.sqlalchemy_store, torch, scipy.stats, matplotlib.pyplot, regsearch.study.runner, optuna
start = time.perf_counter()
try:
    app(sys.argv[1:])
finally:
    print(f"seconds {time.perf_counter() - start}", file=sys.stderr)
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the study `big` and a second one on the same data are kept."""
    folder = tmp_path_factory.mktemp("thousand")
    for name, trials, space in (("big", TRIALS, "{l2: search, dropout: search}"), ("other", 32, "{l1: search}")):
        text = STUDY.replace("NAME", name).replace("TRIALS", str(trials)).replace("SPACE", space)
        (folder / f"{name}.yaml").write_text(text)
        begun = time.monotonic()
        regsearch(folder, "study", "start", f"{name}.yaml")
        print(f"{trials} trials with finals: {time.monotonic() - begun:.0f} s")
    return folder


def regsearch(folder: Path, *words: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    how = ["-m", "regsearch.cli"] if code is None else ["-c", code]
    environment = {**os.environ, "REGSEARCH_HOME": str(folder / "mlruns"), "COLUMNS": "100"}
    done = subprocess.run([sys.executable, *how, *words], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return done


def measured(folder: Path, *words: str) -> str:
    """What a command prints, which takes less than three seconds after start-up."""
    done = regsearch(folder, *words, code=TIMED)
    seconds = float(done.stderr.rpartition("seconds ")[2])
    print(f"{' '.join(words)}: {seconds:.2f} s after start-up")
    assert seconds < SECONDS
    return done.stdout


def test_show(home: Path) -> None:
    shown = measured(home, "study", "show", "big")
    assert f"big: {TRIALS} trials" in shown
    found = json.loads(measured(home, "study", "show", "big", "--json"))
    assert sum(found["trials"].values()) == TRIALS


def test_show_before_the_answer(home: Path) -> None:
    """As the study was before its answer: its folder without the file."""
    answer = home / "mlruns" / "studies" / "big" / "answer.json"
    aside = answer.rename(answer.with_suffix(".aside"))
    try:
        assert "1,000 of 1,000 trials ended" in measured(home, "study", "show", "big")
    finally:
        aside.rename(answer)


def test_report(home: Path) -> None:
    measured(home, "study", "report", "big", "--out", "big.html")
    assert "<html" in (home / "big.html").read_text()


def test_compare(home: Path) -> None:
    assert json.loads(measured(home, "study", "compare", "big", "other", "--json"))


def test_frame(home: Path) -> None:
    code = (
        "import time; import mlflow.store.tracking.sqlalchemy_store, regsearch.tracking.mlflow.runs;"
        "from regsearch import Study;"
        "study = Study.open('big'); start = time.perf_counter(); frame = study.frame();"
        "print(len(frame), time.perf_counter() - start)"
    )
    rows, seconds = regsearch(home, code=code).stdout.split()
    print(f"Study.frame(): {float(seconds):.2f} s")
    assert int(rows) > TRIALS
    assert float(seconds) < SECONDS


def test_its_pages_open(home: Path) -> None:
    with served(home / "mlruns") as address, chromium(OUTPUT / "thousand") as browser:
        browser.open(f"{address}/#/experiments")
        browser.click("a", "big")
        number = browser.wait("its number", lambda: number_in(browser.driver.current_url))
        runs = f"{address}/#/experiments/{number}/runs"
        timed("the run table", lambda: (browser.open(runs), browser.find(LINKS, "big")))
        study = browser.find(LINKS, "big").get_attribute("href")
        assert study is not None
        browser.open(f"{runs}?viewStateShareKey=trials")
        timed("the trials", lambda: browser.find(LINKS, "trial-"))
        browser.see("100 matching runs")
        browser.shoot("first-page")
        for more in ("200 matching runs", "300 matching runs"):
            browser.wait("the end of the table", lambda: end_of_table(browser))
            browser.click("//button[contains(., 'Load more')]")
            browser.see(more)
        browser.shoot("pages")
        timed("the study's page", lambda: (browser.open(study), browser.see("Show more")))
        browser.click("//*[text()='Show more']")
        browser.see("1,000 trials: ")
        browser.shoot("study")
        assert browser.complaints() == []


def number_in(address: str) -> str | None:
    """The experiment's number in the address of one of its pages."""
    after = address.partition("/experiments/")[2].partition("/")[0]
    return after if after.isdigit() else None


def end_of_table(browser: Browser) -> bool:
    """Scroll the run table, which draws only the rows in sight, to its last row; whether that offers more runs."""
    scroll = "for (const view of document.querySelectorAll('.ag-body-viewport')) view.scrollTop = view.scrollHeight"
    browser.driver.execute_script(scroll)
    return bool(browser.all("//button[contains(., 'Load more')]"))


def timed(what: str, look: Callable[[], Any]) -> None:
    start = time.monotonic()
    look()
    print(f"{what}: {time.monotonic() - start:.1f} s")
