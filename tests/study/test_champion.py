"""The champion of a study of each task, from the registry: raw columns in, the trained weights' predictions out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.datasets import load_diabetes, load_digits, load_iris

from regsearch import Study
from regsearch.core.build import build_program, load_data
from regsearch.core.pack import Load, Pack
from regsearch.core.trained_module import trained_module
from regsearch.data import Manifest
from regsearch.data.columns import Preprocessing
from tests.made_store import made_store

STUDY = """
name: small
data: {DATA}
model: {MODEL}
train: {epochs: 3, batch_size: 32, learning_rate: 5.0e-3}
search: {trials: 4, parallel: 4, width: 2, workers: 1}
finalize: {seeds: 3}
"""
Outputs = torch.Tensor


@dataclass(frozen=True)
class Case:
    """A study's data and model, its raw table, what the champion is asked, and how outputs become its answer."""

    data: str
    model: str
    table: Callable[[], pd.DataFrame]
    asked: tuple[str, ...]
    answer: Callable[[Outputs, Manifest], Outputs]


def series() -> pd.DataFrame:
    day = np.arange(160)
    draw = np.random.default_rng(0)
    sales = 20 + 5 * np.sin(day / 4) + draw.normal(size=160)
    return pd.DataFrame(
        {"day": day, "sales": sales, "weather": draw.normal(size=160), "kind": np.array(["a", "b"])[day % 2]}
    )


def ratings() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    user, item = draw.integers(12, size=400), draw.integers(9, size=400)
    stars = np.clip(np.round(3 + (user % 3 - 1) + (item % 2) + draw.normal(size=400) / 2), 1, 5)
    return pd.DataFrame({"user": user, "item": [f"film {each}" for each in item], "stars": stars})


def texts() -> pd.DataFrame:
    draw = np.random.default_rng(2)
    lines = [" ".join(draw.choice(["red", "green", "blue", "and", "or"], size=12)) for _ in range(120)]
    return pd.DataFrame({"line": lines})


def shares(out: Outputs, manifest: Manifest) -> Outputs:
    return torch.softmax(out, -1)


def values(out: Outputs, manifest: Manifest) -> Outputs:
    assert manifest.target_scale is not None and manifest.target_mean is not None
    return out * manifest.target_scale + manifest.target_mean


CASES = {
    "classification": Case(
        "source: 'sklearn:digits', split: {train: 96, validation: 96, test: 200}",
        "name: mlp, hidden: [16]",
        lambda: load_digits(as_frame=True).data,
        (),
        shares,
    ),
    "regression": Case(
        "source: 'sklearn:diabetes'",
        "name: mlp, hidden: [16]",
        lambda: load_diabetes(as_frame=True).data,
        (),
        values,
    ),
    "forecasting": Case(
        "source: 'csv:t.csv', task: forecasting, target: sales, window: 5, horizon: 2, split: {by: {time: day}}",
        "name: gru, hidden: 8",
        series,
        ("sales", "weather", "kind"),
        values,
    ),
    "recommendation": Case(
        "source: 'csv:t.csv', task: recommendation, target: stars, user: user, item: item",
        "name: matrix_factorization, factors: 4",
        ratings,
        ("user", "item"),
        values,
    ),
    "language modelling": Case(
        "source: 'csv:t.csv', task: language_modelling, text: {column: line, level: characters, length: 8}",
        "name: language_model, hidden: 8",
        texts,
        ("line",),
        lambda out, manifest: torch.softmax(out[:, -1], -1),
    ),
    "clustering": Case(
        "source: 'sklearn:iris', task: clustering, target: target",
        "name: autoencoder, hidden: [8], code: 2",
        lambda: load_iris(as_frame=True).data,
        (),
        lambda out, manifest: out[:, manifest.outputs :],
    ),
}


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=pytest.mark.slow if each == "classification" else pytest.mark.sweep) for each in CASES],
)
def test_predictions_equal_those_of_the_trained_weights(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = CASES[name]
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    table = case.table()
    table.to_csv(tmp_path / "t.csv", index=False)
    (tmp_path / "small.yaml").write_text(STUDY.replace("DATA", case.data).replace("MODEL", case.model))
    study = Study.from_file(tmp_path / "small.yaml")
    study.run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("small", "champion")
    run = client.get_run(version.run_id)
    assert run.data.tags["regsearch.kind"] == "final"

    # The final that the champion is, trained once more from its seed and knobs.
    manifest = Manifest.load(study.folder / "data")
    program = build_program(study.config, manifest, study.space)
    knobs = {key: float(value) for key, value in run.data.params.items() if key in program.knobs}
    pack = Pack(program, load_data(study.folder / "data"), 2)
    pack.load(0, Load(0, knobs, int(run.data.params["seed"])))
    reports = [pack.train_epoch([0])[0] for _ in range(study.config.train.epochs)]
    assert reports[-1].metrics["val_loss"] == run.data.metrics["val_loss"]

    asked = (table[list(case.asked)] if case.asked else table).iloc[:40]
    found = mlflow.pyfunc.load_model("models:/small@champion").predict(asked).to_numpy()
    assert manifest.preprocessing is not None
    rows = Preprocessing.from_json(manifest.preprocessing).apply(asked).astype(manifest.dtype)
    with torch.no_grad():
        out = trained_module(program, pack.weights(0), knobs)(torch.from_numpy(rows)).double()
    expected = case.answer(out, manifest).numpy()
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert found.shape[0] == (36 if name == "forecasting" else 40) and np.ptp(found) > 0.01


@pytest.mark.sweep
@pytest.mark.parametrize("seeds", [0, 2])
def test_the_models_that_are_asked_for_are_kept(seeds: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All complete trials and, where there are some, all finals; the champion of a search alone is its best trial."""
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    text = STUDY.replace("DATA", 'source: "sklearn:iris"').replace("MODEL", "name: mlp, hidden: [8]")
    text = text.replace("seeds: 3", f"seeds: {seeds}").replace("width: 2", "width: 2, pruner: none")
    (tmp_path / "small.yaml").write_text(text + "tracking: {models: all}\n")
    study = Study.from_file(tmp_path / "small.yaml")
    answer = study.run()
    assert answer.best is not None
    client = mlflow.MlflowClient(study.uri, study.uri)
    version = client.get_model_version_by_alias("small", "champion")
    tags = client.get_run(version.run_id).data.tags
    assert tags["regsearch.kind"] == ("final" if seeds else "trial")
    assert ("regsearch.unfinalized" in version.tags) == (not seeds)
    if not seeds:
        assert tags["regsearch.trial"] == str(answer.best["number"])
    experiment = client.get_experiment_by_name("small")
    assert experiment is not None
    runs = study.frame()
    kept = {model.source_run_id for model in client.search_logged_models([experiment.experiment_id])}
    assert kept == set(runs[runs["state"] == "COMPLETE"]["run_id"])
    for model in client.search_logged_models([experiment.experiment_id]):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)
        loaded = mlflow.pyfunc.load_model(model.model_uri)
        assert loaded.predict(load_iris(as_frame=True).data).shape == (150, 3)
