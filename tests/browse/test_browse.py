"""A small study in MLflow's pages, as a person meets it: a real server, a real Chromium, pictures in tests/output/."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Artifact
from regsearch.tracking.mlflow.writer_process import start_writer
from tests import forked
from tests.browse.browser import OUTPUT, Browser, chromium, served
from tests.made_store import made_store
from tests.study.small import study_file

pytestmark = pytest.mark.slow

PAGE = "<!doctype html><title>page</title><h1>A page among the artifacts</h1>"
NAMES = '.ag-row a[href*="/runs/"]'


@dataclass
class Place:
    """The study's runs, where its pages are, and who looks at them."""

    browser: Browser
    address: str
    runs: dict[str, Run]
    experiment: str
    artifacts: list[str]

    def run_page(self, name: str, tab: str = "") -> str:
        return f"{self.address}/#/experiments/{self.experiment}/runs/{self.runs[name].info.run_id}{tab}"


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("browse")
    home, uri = folder / "mlruns", f"sqlite:///{folder / 'mlruns' / 'mlflow.db'}"
    start = ["-m", "regsearch.cli", "study", "start", str(study_file(folder)), "--trials", "12"]
    environment = {**os.environ, "REGSEARCH_HOME": str(made_store(home))}
    done = forked.run(start, folder, environment)
    assert done.returncode == 0, done.stderr
    add_page(home, uri, folder)
    client = MlflowClient(uri, uri)
    experiment = client.get_experiment_by_name("small").experiment_id
    runs = {run.info.run_name: run for run in client.search_runs([experiment], max_results=1000)}
    reports = client.list_artifacts(runs["small"].info.run_id, "report")
    with served(home) as address, chromium(OUTPUT) as browser:
        yield Place(browser, address, runs, experiment, [each.path for each in reports])


def add_page(home: Path, uri: str, folder: Path) -> None:
    """Keep a page with the parent run, as a study keeps its own."""
    page = folder / "page.html"
    page.write_text(PAGE)
    with Outbox(home / "studies" / "small" / "outbox.jsonl") as outbox:
        outbox.append(Artifact("study", 0, str(page), "report"))
    assert start_writer(outbox.path, uri, home / "artifacts").drain(60)


@pytest.fixture(autouse=True)
def nothing_severe(place: Place) -> Iterator[None]:
    yield
    assert place.browser.complaints() == []


def test_an_experiment_opens_on_its_runs(place: Place) -> None:
    """With "Model training" chosen, once and for all, at the upper left: MLflow opens on traces else."""
    browser = place.browser
    browser.open(f"{place.address}/#/experiments")
    browser.click("//*[text()='Model training']")
    sentence = place.runs["small"].data.tags["regsearch.answer"]
    browser.see(sentence[:20])
    browser.shoot("experiments")
    browser.click("a", "small")
    browser.find(NAMES, "small")
    browser.see(sentence[:60])
    assert "/runs" in browser.driver.current_url


def test_runs_lie_under_their_study(place: Place) -> None:
    browser = place.browser
    browser.open(f"{place.address}/#/experiments/{place.experiment}/runs")
    browser.find(NAMES, "small")
    assert browser.texts(NAMES) == ["small"]
    browser.click('.ag-row [col-id="attributes.`Run Name`"] button')
    browser.find(NAMES, "final-005")
    shown = set(browser.texts(NAMES))
    assert shown > {"small", "final-000", "trial-011"}
    assert shown <= place.runs.keys()
    browser.shoot("runs")


def test_the_views_are_offered_and_group_the_charts(place: Place) -> None:
    browser = place.browser
    browser.open(
        f"{place.address}/#/experiments/{place.experiment}/runs?viewStateShareKey=trials&compareRunsMode=CHART"
    )
    browser.find(".js-plotly-plot .main-svg")
    browser.see("Gap (3)")
    page = browser.text()
    assert page.index("Loss (2)") < page.index("Gap (3)") < page.index("Metrics (4)")
    best = min(
        (run for name, run in place.runs.items() if name.startswith("trial")),
        key=lambda run: run.data.metrics.get("val_loss", float("inf")),
    )
    assert next(name for name in browser.texts(NAMES) if name) == best.info.run_name
    browser.click("[data-testid=saved-views-trigger]")
    browser.see("Finals")
    browser.shoot("trials-curves")
    browser.open(f"{place.address}/#/experiments/{place.experiment}/runs?viewStateShareKey=finals")
    finals = [name for name in place.runs if name.startswith("final")]
    browser.see(f"{len(finals)} matching runs")
    columns = browser.wait("columns", lambda: [text for text in browser.texts(".ag-header-cell") if text])
    assert {"candidate", "val_loss", "gap"} <= set(columns)
    browser.shoot("finals")


def test_the_study_tells_its_answer(place: Place) -> None:
    browser, study = place.browser, place.runs["small"]
    browser.open(place.run_page("small"))
    browser.see(study.data.tags["regsearch.answer"])
    browser.click("//*[text()='Show more']")
    table = browser.find("table", "winner - baseline")
    assert "95 % interval" in table.text
    for words in ("Test opened once", "12 trials: ", "regsearch study resume small"):
        browser.see(words)
    browser.shoot("study")


def test_the_winner_has_its_charts(place: Place) -> None:
    browser = place.browser
    browser.open(place.run_page("small"))
    address = browser.find("a", "winner's curves").get_attribute("href")
    assert address is not None
    browser.open(address)
    browser.find(".js-plotly-plot .main-svg")
    browser.see("gap_accuracy")
    browser.find("input[placeholder='Search metric charts']").send_keys("loss")
    browser.wait("only what was searched", lambda: "gap_accuracy" not in browser.text())
    for name in ("train_loss", "val_loss"):
        browser.see(name)
    browser.shoot("winner")


def test_pages_and_pictures_among_the_artifacts_are_shown(place: Place) -> None:
    browser = place.browser
    assert "report/page.html" in place.artifacts
    for path in place.artifacts:
        browser.open(place.run_page("small", f"/artifacts/{path}"))
        frame = browser.find("iframe")
        browser.driver.switch_to.frame(frame)
        browser.find("h1", "A page among the artifacts" if path == "report/page.html" else "small")
        browser.driver.switch_to.default_content()
        browser.shoot(path.replace("/", "-"))
    browser.open(place.run_page("small", "/artifacts/pictures/learning_curves.png"))
    loaded = "return [...document.images].some(i => i.complete && i.naturalWidth > 300)"
    browser.wait("the picture", lambda: browser.driver.execute_script(loaded))
    browser.shoot("picture")


def test_the_champion_is_registered(place: Place) -> None:
    browser = place.browser
    browser.open(f"{place.address}/#/models/small/versions/1")
    for words in ("champion", "regsearch.claim", "Source Run"):
        browser.see(words)
    browser.shoot("champion")
