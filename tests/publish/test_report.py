"""A study's page, from its folder and from the store: what the study says is what the page says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from typer.testing import CliRunner

from regsearch.cli.app import app
from regsearch.config import StartOptions, load_config
from regsearch.data import seal
from regsearch.publish.report import REPORT, local_record, report_study, stored_record, study_file
from regsearch.study.study import Study
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Metrics, RunEnd, RunStart
from regsearch.workspace.folder import write_record
from tests.conftest import ROOT
from tests.pages.records import read
from tests.study.small import study_file as small
from tests.tracking.set_back import CASES

STUDIES = sorted((ROOT / "studies").glob("*.yaml"))


@pytest.mark.parametrize("file", STUDIES, ids=lambda file: file.stem)
def test_the_study_file_of_a_page_is_the_study(file: Path, tmp_path: Path) -> None:
    config = load_config(file)
    again = tmp_path / file.name
    again.write_text(study_file(config))
    assert load_config(again).to_json() == config.model_copy(update={"folder": str(tmp_path)}).to_json()


def test_stores_and_folders_stay_out_of_the_page(tmp_path: Path) -> None:
    config = load_config(
        small(tmp_path), StartOptions(tracking_uri="postgresql://me:secret@there/mlflow", storage="sqlite:///s.db")
    )
    text = study_file(config)
    assert "secret" not in text and "there" not in text and "s.db" not in text and str(tmp_path) not in text
    assert yaml.safe_load(text)["name"] == "small"


@pytest.mark.parametrize("options", [[], ["--tracking-uri", "sqlite:///none.db"]], ids=["here", "in a store"])
def test_a_study_that_is_not_there_is_one_line(options: list[str], own_folder: Path) -> None:
    found = CliRunner().invoke(app, ["study", "report", "nothing", *options])
    assert found.exit_code == 2
    assert len(found.stderr.splitlines()) == 1 and "nothing" in found.stderr and "Traceback" not in found.output
    assert not list(own_folder.iterdir())


def begun(file: Path) -> Study:
    """A study whose data are sealed and that has no trial yet."""
    study = Study.from_file(file)
    study.folder.mkdir(parents=True)
    seal(study.config.data, study.config.folder, study.folder / "data")
    write_record(study.folder, study.config, 1_700_000_000_000)
    return study


def test_a_study_that_has_only_begun_says_so(own_folder: Path, tmp_path: Path) -> None:
    begun(small(tmp_path))
    root = read(report_study("small", None, None).read_text())
    assert "No answer yet: 0 of 24 trials have ended" in root.words()
    assert "96 train" in root.words() and "2023-11-14 22:13 UTC" in root.words()
    found = CliRunner().invoke(app, ["study", "report", "small", "--out", str(tmp_path / "no" / "page.html")])
    assert found.exit_code == 2 and "--out" in found.stderr


@pytest.mark.parametrize(("objective", "best"), [("val_loss", 0), ("val_accuracy", 1)])
def test_a_search_under_way_rings_its_best_trial(own_folder: Path, tmp_path: Path, objective: str, best: int) -> None:
    file = small(tmp_path)
    file.write_text(file.read_text().replace("search: {", f"search: {{objective: {objective}, "))
    study = begun(file)
    with Outbox(study.folder / "outbox.jsonl") as outbox:
        for number, (loss, accuracy) in enumerate([(0.5, 0.7), (0.6, 0.8)]):
            values = {"train_loss": 0.4, "val_loss": loss, "gap": loss - 0.4, "val_accuracy": accuracy}
            outbox.append(RunStart("trial", number, f"trial-{number:03d}", {"seed": number}, {}, 1))
            outbox.append(Metrics("trial", number, 1, values, 2))
            outbox.append(RunEnd("trial", number, "COMPLETE", None, 3))
        outbox.commit()
    record = local_record(study.spec)
    assert not record.ended and record.winner == best


def test_a_page_shows_what_counts_of_a_trial_that_was_set_back(own_folder: Path, tmp_path: Path) -> None:
    study, case = begun(small(tmp_path)), CASES["pruned soon after"]
    with Outbox(study.folder / "outbox.jsonl") as outbox:
        for record in case.records:
            outbox.append(record)
    (row,) = local_record(study.spec).trials.to_dict("records")
    assert (row["val_loss"], row["dropout.p"]) == (5.0, 0.25)


@pytest.mark.slow
def test_folder_and_store_tell_the_same(own_folder: Path, tmp_path: Path) -> None:
    study = Study.from_file(small(tmp_path), trials=8)
    answer = study.run()
    page = study.folder / "finals" / REPORT
    logged = page.read_text()
    assert answer.sentence in read(logged).words() and "there is no report" not in logged
    client = MlflowClient(study.uri, study.uri)
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    (parent,) = client.search_runs([experiment.experiment_id], "tags.`regsearch.kind` = 'study'")
    assert [each.path for each in client.list_artifacts(parent.info.run_id, "report")] == [f"report/{REPORT}"]
    assert Path(client.download_artifacts(parent.info.run_id, f"report/{REPORT}", str(tmp_path))).read_text() == logged

    here, there = local_record(study.spec), stored_record(study.uri, "small")
    assert here.sentence == there.sentence == answer.sentence and here.ended and there.ended
    assert here.summary == there.summary and here.winner == there.winner
    assert here.opened_words == there.opened_words == "test opened once"
    assert here.curves.keys() == there.curves.keys() == {"winner", "baseline"}
    for who, losses in here.curves.items():
        for name, values in losses.items():
            assert values.shape == (3, 6) and (values == there.curves[who][name]).all()
    numbers = ["number", "state", "regularizers", "val_loss", "gap"]
    assert here.trials[numbers].to_dict("list") == there.trials[numbers].to_dict("list")

    found = CliRunner().invoke(
        app, ["study", "report", "small", "--tracking-uri", study.uri, "--out", "page.html", "--json"]
    )
    assert found.exit_code == 0, found.output
    assert json.loads(found.stdout) == {"study": "small", "report": "page.html"}
    assert answer.sentence in read(Path("page.html").read_text()).words()
