"""CONTRIBUTING's regularizer, added as it says there: declared in one file, found, searched, trained, tracked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from mlflow import MlflowClient

from regsearch.regularizers import all_regularizers
from tests.documents import ROOT, blocks, install, run, run_both, write_files
from tests.test_imports import LAYERS


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the package as `pip install .` leaves it: the module, and its entry points."""
    folder = tmp_path_factory.mktemp("site")
    install("CONTRIBUTING.md", folder)
    return folder


def test_the_example_is_fifteen_lines_and_no_rule_of_regsearch_itself() -> None:
    (example,) = (block.text for block in blocks("CONTRIBUTING.md") if block.language == "python")
    code = [line for line in example.splitlines() if line.strip() and not line.startswith("#")]
    assert len(code) <= 15
    assert "gaussian_dropout" not in all_regularizers(), "choose another example"


def test_the_registry_and_the_command_line_find_it(installed: Path, tmp_path: Path) -> None:
    code = "from regsearch.regularizers import all_regularizers as a; print(a()['gaussian_dropout'].site)"
    assert run(["python", "-c", code], tmp_path, installed) == "activations\n"
    assert "\n  gaussian_dropout " in run(["regsearch", "regularizers"], tmp_path, installed)
    page = run(["regsearch", "regularizers", "gaussian_dropout"], tmp_path, installed)
    for said in ("gaussian_dropout.sigma", "srivastava14a", "Multiply each unit by Gaussian noise", "noise level"):
        assert said in page
    code = "from regsearch.regularizers.page import PAGE, render; assert render() == PAGE.read_text(encoding='utf-8')"
    run(["python", "-c", code], tmp_path, installed)  # the page is that of regsearch's own rules


@pytest.mark.sweep
@pytest.mark.timeout(900)  # half a minute on an idle machine
def test_a_study_searches_trains_and_tracks_it(installed: Path, tmp_path: Path) -> None:
    write_files("CONTRIBUTING.md", tmp_path)
    (tmp_path / "my_rules.py").unlink()  # only the installed one is there
    answer, said = run_both(["regsearch", "study", "start", "mine.yaml", "--json"], tmp_path, installed)
    found = json.loads(answer)
    assert found["pack"]["width"] > 1 and "cannot be packed" not in said
    assert sum(found["trials"].values()) == 4 and found["trials"]["failed"] == 0
    assert found["finals"] is not None
    code = (
        "from regsearch import Study; runs = Study.open('mine').frame(); runs = runs[runs.kind == 'trial']; "
        "print(runs[['gaussian_dropout.sigma', 'train_loss']].to_json(orient='values'))"
    )
    rows = json.loads(run(["python", "-c", code], tmp_path, installed))
    (baseline, _), *others = rows
    assert baseline is None  # off: no parameter
    assert len(others) == 3
    assert all(0 < sigma <= 1 for sigma, _ in others)
    assert len({loss for _, loss in rows}) == 4
    client = MlflowClient(f"sqlite:///{tmp_path / 'mlruns' / 'mlflow.db'}")
    (experiment,) = (each.experiment_id for each in client.search_experiments() if each.name == "mine")
    runs = client.search_runs([experiment], "tags.`regsearch.kind` = 'trial'")
    assert len(runs) == 4
    tracked = [run.data.params["gaussian_dropout.sigma"] for run in runs if "gaussian_dropout.sigma" in run.data.params]
    assert sorted(map(float, tracked)) == pytest.approx(sorted(sigma for sigma, _ in others))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_it_passes_the_conformance_checks_and_a_broken_copy_does_not(installed: Path, tmp_path: Path) -> None:
    code = "from regsearch.regularizers import all_regularizers as a; from regsearch.testing import check_all; "
    run(["python", "-c", code + "check_all(a()['gaussian_dropout'])"], tmp_path, installed)
    broken = tmp_path / "broken"
    broken.mkdir()
    text = (installed / "my_rules.py").read_text()
    assert "h * (1 + self.sigma" in text
    (broken / "my_rules.py").write_text(text.replace("h * (1 + self.sigma", "h * (1.01 + self.sigma"))
    with pytest.raises(AssertionError, match="gaussian_dropout"):
        run(["python", "-c", "import my_rules; " + code + "check_all(my_rules.GaussianDropout)"], tmp_path, broken)


def test_the_layers_are_those_that_the_tests_hold() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    rows = [line.split("|")[2] for line in text.split("| layer | parts |")[1].split("\n\n")[0].splitlines()[2:]]
    shown = [set(row.replace("`", " ").replace(",", " ").split()) for row in rows]
    assert len(shown) == len(LAYERS)
    for parts, layer in zip(reversed(shown), LAYERS, strict=True):
        assert layer == parts
