"""A real study's champion elsewhere: as a folder without regsearch, as a server; and its curves in TensorBoard."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest

from regsearch import Study
from regsearch.data.columns import Preprocessing
from regsearch.export import export_study
from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.tensorboard.writer import scalar_tag
from tests.made_store import made_store
from tests.servers import model_server
from tests.tracking.test_events import points

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

STUDY = """
name: people
data: {source: 'csv:people.csv', target: group, task: classification}
model: {name: mlp, hidden: [16]}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
search: {trials: 4, parallel: 4, width: 2, workers: 1}
finalize: {seeds: 3}
tracking: {tensorboard: tb}
"""


def people(rows: int = 240) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    table = pd.DataFrame({"age": draw.normal(50, 12, rows), "visits": draw.integers(0, 9, rows)})
    table["colour"] = draw.choice(["red", "green", "blue"], rows)
    table["group"] = np.where(table["age"] + 4 * table["visits"] + draw.normal(0, 9, rows) > 66, "ill", "well")
    table.loc[::17, "age"] = np.nan
    table.loc[::23, "colour"] = None
    return table


@dataclass(frozen=True)
class Done:
    """A study that has ended, in a folder of its own, and raw rows to ask its champion."""

    root: Path
    study: Study
    rows: pd.DataFrame

    def trained(self) -> np.ndarray:
        """What the champion's weights say to the rows, by the program that the finals packaged and stock torch."""
        import torch

        package = self.study.folder / "finals" / "champion"
        manifest = json.loads((package / "manifest.json").read_text())
        x = Preprocessing.from_json(manifest["preprocessing"]).apply(self.rows)
        with torch.no_grad():
            scores = torch.export.load(package / "model.pt2").module()(torch.from_numpy(x)).double()
        answer: np.ndarray = scores.softmax(1).numpy()
        return answer


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    root = tmp_path_factory.mktemp("people")
    table = people()
    table.to_csv(root / "people.csv", index=False)
    (root / "study.yaml").write_text(STUDY)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setenv("REGSEARCH_HOME", str(made_store(root / "mlruns")))
        study = Study.from_file("study.yaml")
        study.run()
        yield Done(root, study, table.drop(columns="group").iloc[:40])


@pytest.fixture
def served_here(done: Done, monkeypatch: pytest.MonkeyPatch) -> Done:
    monkeypatch.setenv("REGSEARCH_HOME", str(done.root / "mlruns"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", done.study.uri)
    return done


ALONE = """
import sys

for name in ("regsearch", "mlflow", "optuna", "ray", "sklearn", "scipy"):
    sys.modules[name] = None  # as if it were not installed
sys.path.insert(0, sys.argv[1])
import pandas as pd
from predict import load

load()(pd.read_csv(sys.argv[2])).to_json(sys.stdout, orient="values", double_precision=15)
"""


def test_the_folder_answers_alone_as_the_registered_model_does(served_here: Done, tmp_path: Path) -> None:
    done, out = served_here, tmp_path / "out"
    found = export_study("people", out)
    assert found.no_onnx is None and "model.onnx" in found.files
    done.rows.to_csv(tmp_path / "rows.csv", index=False)
    asked = [sys.executable, "-I", "-c", ALONE, str(out), str(tmp_path / "rows.csv")]
    alone = subprocess.run(asked, capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    registered = mlflow.pyfunc.load_model("models:/people@champion").predict(done.rows)
    np.testing.assert_allclose(json.loads(alone.stdout), registered, rtol=1e-6)
    np.testing.assert_allclose(registered, done.trained(), rtol=1e-6)
    assert np.ptp(registered["ill"]) > 0.01
    command = [sys.executable, "-I", str(out / "predict.py"), str(tmp_path / "rows.csv")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(printed.stdout)), registered)
    assert Study.open("people").show().sentence in (out / "README.md").read_text()


def test_the_registered_one_is_exported_where_the_study_is_not(served_here: Done, tmp_path: Path) -> None:
    done = served_here
    shutil.move(done.study.folder, tmp_path / "away")
    try:
        found = export_study("people", tmp_path / "there", onnx=False, tracking_uri=done.study.uri)
    finally:
        shutil.move(tmp_path / "away", done.study.folder)
    export_study("people", tmp_path / "here", onnx=False)
    assert found.origin.startswith("version 1 of the registered model people, from the MLflow run ")
    for name in sorted(set(found.files) - {"README.md", "SHA256SUMS"}):
        assert (tmp_path / "there" / name).read_bytes() == (tmp_path / "here" / name).read_bytes(), name
    one, other = ((tmp_path / each / "README.md").read_text().splitlines() for each in ("there", "here"))
    assert [line for line in one if line not in other] == [f"- the champion of {found.origin}"]


def test_tensorboard_shows_the_curves_of_the_study(done: Done) -> None:
    found = points(done.root / "tb" / "people")
    frame = done.study.frame()
    curves = StudyHistory.read(done.study.folder / "outbox.jsonl").reports()
    for number, curve in curves.items():
        for report in curve:
            for name, value in report.metrics.items():
                assert found[f"trial-{number:03d}", scalar_tag(name), report.epoch] == np.float32(value)
    names = [name for name in ("train_loss", "val_loss", "gap", "val_balanced_accuracy") if name in frame]
    assert len(names) == 4 and set(frame["kind"]) == {"trial", "final"}
    for row in frame.to_dict("records"):
        run = f"{row['kind']}-{row['number']:03d}"
        for name in names:
            tag = scalar_tag(str(name))
            last = max(epoch for each, other, epoch in found if (each, other) == (run, tag))
            assert found[run, tag, last] == np.float32(row[name])


@pytest.fixture(scope="module")
def url(done: Done) -> Iterator[str]:
    """The address of `mlflow models serve` with the registered champion."""
    with model_server("models:/people@champion", done.study.uri, done.root) as address:
        yield address


def ask(url: str, body: Any, kind: str = "application/json") -> tuple[int, str]:
    """Status and text of the answer to one request; a body that is no bytes goes as JSON, its NaN as null."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/invocations", data=data, headers={"Content-Type": kind})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def split(table: pd.DataFrame) -> dict[str, Any]:
    return {"dataframe_split": json.loads(table.to_json(orient="split", index=False, double_precision=15))}


def test_the_server_answers_as_the_trained_weights_do(done: Done, url: str) -> None:
    wanted = done.trained()
    records = {"dataframe_records": json.loads(done.rows.to_json(orient="records", double_precision=15))}
    for body in (split(done.rows), records):
        status, text = ask(url, body)
        assert status == 200, text
        np.testing.assert_allclose(pd.DataFrame(json.loads(text)["predictions"]).to_numpy(), wanted, rtol=1e-6)


def test_gaps_strangers_and_more_columns_are_answered(done: Done, url: str) -> None:
    row = done.rows[1:2]
    for table in (
        row.assign(more=1),
        row.assign(colour="violet"),
        row.assign(colour=None),
        row.assign(age=np.nan),
        row.assign(visits="3"),
        row[["visits", "colour", "age"]],
    ):
        status, text = ask(url, split(table))
        assert status == 200, text
        assert sum(json.loads(text)["predictions"][0].values()) == pytest.approx(1.0)


def test_what_cannot_be_answered_is_a_4xx_that_names_the_column(done: Done, url: str) -> None:
    row = done.rows[1:2]
    ragged = {"dataframe_split": {"columns": ["age", "visits", "colour"], "data": [[1, 2]]}}
    twice = {"dataframe_split": {"columns": ["age", "visits", "colour", "age"], "data": [[1, 2, "red", 3]]}}
    cases: list[tuple[Any, str, str]] = [
        (split(row.drop(columns="visits")), "visits", "a column that is missing"),
        (split(row.assign(visits="many")), "column visits must hold numbers", "a word for a number"),
        (split(row.assign(age=[{"years": 5}])), "column age must hold numbers", "an object for a number"),
        (split(row.assign(colour=3)), "column colour must hold what it held in training: row 1", "a number for a word"),
        (split(row.assign(colour=True)), "column colour must hold what it held in training: row 1", "a truth value"),
        (split(row.assign(visits=True)), "column visits must hold numbers", "a truth value for a number"),
        (twice, "age", "a column twice"),
        (ragged, "column", "a short row"),
        ({"dataframe_split": {}}, "", "no table"),
        ({"dataframe_records": 5}, "", "no records"),
        ({"inputs": [[1.0, 2.0, 3.0]]}, "", "an array"),
        ({"rows": []}, "dataframe_split", "no known key"),
        ({}, "dataframe_split", "an empty object"),
        (b"", "JSON", "an empty body"),
        (b"{", "JSON", "half a body"),
        (b"\xff\xfe", "JSON", "no text"),
        (b"[]", "list", "a list"),
    ]
    for body, named, what in cases:
        status, text = ask(url, body)
        assert 400 <= status < 500, f"{what}: {status} {text}"
        assert named in text, f"{what}: {text}"
    # MLflow reads CSV by the types of the columns, and numbers are left open for whole ones and gaps.
    assert ask(url, row.to_csv(index=False).encode(), "text/csv")[0] == 400
    assert ask(url, b"x", "image/png")[0] == 415
    assert ask(url, split(row))[0] == 200, "it still answers"
