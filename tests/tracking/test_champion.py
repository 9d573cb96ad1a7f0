"""A packaged model through MLflow and back, against the trained program itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from mlflow import MlflowClient
from mlflow.pyfunc.scoring_server import invocations

from regsearch.tracking.log.records import Model, StudyStart
from regsearch.tracking.mlflow import champion
from regsearch.tracking.mlflow.delivery import ClientLane
from regsearch.tracking.mlflow.package import seal
from tests import forked
from tests.tracking.studies import study
from tests.tracking.test_lanes import client_lane, deliver

COLUMNS = """
import numpy as np
import pandas as pd


class Preprocessing:
    def __init__(self, mean, words):
        self.mean, self.words = mean, words

    @classmethod
    def from_json(cls, saved):
        return cls(saved["mean"], saved["words"])

    def apply(self, table):
        missing = [name for name in [*self.mean, "colour"] if name not in table.columns]
        if missing:
            raise ValueError(f"the table lacks the columns {missing}")
        numbers = [table[name].fillna(mean).to_numpy() - mean for name, mean in self.mean.items()]
        words = [(table["colour"] == word).to_numpy() for word in self.words]
        return np.stack([*numbers, *words], axis=1).astype(np.float32)
"""
MEAN, WORDS = {"age": 40.0, "height": 1.7}, ["red", "green"]
TABLE = pd.DataFrame({"age": [30.0, float("nan"), 55.0], "height": [1.6, 1.8, 1.75], "colour": ["red", "green", "red"]})
FEATURES = np.array([[-10, -0.1, 1, 0], [0, 0.1, 0, 1], [15, 0.05, 1, 0]], dtype=np.float32)


def package(folder: Path, task: str, array: bool = False) -> torch.nn.Module:
    """A package as finals write it, and the module whose weights it holds."""
    torch.manual_seed(0)
    folder.mkdir(parents=True)
    shape = (2, 2) if array else (4,)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, 8), torch.nn.ReLU())
    model.append(torch.nn.Linear(8, 3 if task == "classification" else 1)).eval()
    rows = torch.export.Dim("rows", min=2)
    torch.export.save(
        torch.export.export(model, (torch.zeros(8, *shape),), dynamic_shapes=({0: rows},)), folder / "model.pt2"
    )
    manifest: dict[str, Any] = {"task": task, "classes": None, "preprocessing": None}
    if task == "classification":
        manifest["classes"] = ["a", "b", 7]
    else:
        manifest |= {"target_mean": 152.0, "target_scale": 77.0, "target": "progression"}
    if array:
        example: dict[str, Any] = {"inputs": FEATURES.reshape(-1, 2, 2).tolist()}
    else:
        manifest["preprocessing"] = {"mean": MEAN, "words": WORDS}
        (folder / "columns.py").write_text(COLUMNS)
        example = {"columns": list(TABLE), "data": TABLE.iloc[[0, 2]].values.tolist()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "example.json").write_text(json.dumps(example))
    seal(folder)
    return model


def lane_with_finals(uri: str) -> ClientLane:
    lane = client_lane(uri)
    deliver(lane, list(study(1, 1, finals=2)), 1)
    return lane


def load(uri: str, name: str) -> Any:
    # Not by `set_tracking_uri`, which changes the environment for good.
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_TRACKING_URI", uri)
        patch.setenv("MLFLOW_REGISTRY_URI", uri)
        return mlflow.pyfunc.load_model(name)


def expected(model: torch.nn.Module, task: str) -> np.ndarray:
    with torch.no_grad():
        outputs = model(torch.from_numpy(FEATURES)).double()
    answer: np.ndarray = (outputs.softmax(1) if task == "classification" else outputs * 77.0 + 152.0).numpy()
    return answer


@pytest.mark.parametrize("task", ["classification", "regression"])
def test_the_champion_answers_as_the_trained_weights_do(
    tmp_path: Path, uri: str, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_ALLOW_PICKLE_DESERIALIZATION", "false")
    model = package(tmp_path / "package", task)
    lane = lane_with_finals(uri)
    champion.deliver_model(lane, Model(str(tmp_path / "package"), "digits", "champion", "final", 1, {"seed": "5"}))
    served = load(uri, "models:/digits@champion")
    answer = served.predict(TABLE)
    assert list(answer.columns) == (["a", "b", "7"] if task == "classification" else ["progression"])
    np.testing.assert_allclose(answer.to_numpy(), expected(model, task), rtol=1e-6)
    np.testing.assert_allclose(served.predict(TABLE[1:2]).to_numpy(), expected(model, task)[1:2], rtol=1e-5)
    assert len(served.predict(TABLE[:0])) == 0
    whole = TABLE.fillna({"age": 40.0}).astype({"age": "int64"})
    np.testing.assert_allclose(served.predict(whole).to_numpy(), expected(model, task), rtol=1e-6)
    assert len(served.predict(TABLE.assign(colour=pd.Series(["red", None, "green"])))) == 3
    rows = [[30, 1.6, "red"], [None, 1.8, "green"]]
    request = json.dumps({"dataframe_split": {"columns": list(TABLE), "data": rows}})
    schema = served.metadata.get_input_schema()
    answered = invocations(request, "application/json", served, schema)  # type: ignore[no-untyped-call]
    reply = json.loads(answered.response)["predictions"]
    np.testing.assert_allclose(pd.DataFrame(reply).to_numpy(), expected(model, task)[:2], rtol=1e-6)
    with pytest.raises(Exception, match="height"):
        served.predict(TABLE.drop(columns="height"))
    version = MlflowClient(uri).get_model_version_by_alias("digits", "champion")
    assert version.run_id == lane.runs["final", 1]
    assert version.tags["seed"] == "5"
    assert served.metadata.signature is not None and served.metadata.saved_input_example_info is not None


def test_arrays_are_taken_as_tensors(tmp_path: Path, uri: str) -> None:
    model = package(tmp_path / "package", "classification", array=True)
    champion.deliver_model(lane_with_finals(uri), Model(str(tmp_path / "package"), "digits", "champion", "final", 0))
    answer = load(uri, "models:/digits@champion").predict(FEATURES.reshape(-1, 2, 2))
    np.testing.assert_allclose(answer.to_numpy(), expected(model, "classification"), rtol=1e-6)


def test_it_is_loaded_without_regsearch_and_without_pickle(tmp_path: Path) -> None:
    package(tmp_path / "package", "classification")
    champion.save_model(tmp_path / "package", tmp_path / "model")
    assert not [file for file in (tmp_path / "model").rglob("*") if file.suffix in (".pkl", ".pickle")]
    code = (
        "import sys; sys.modules['regsearch'] = None;"
        "import mlflow, pandas as pd; model = mlflow.pyfunc.load_model('model');"
        "print(model.predict(pd.DataFrame({'age': [1.0], 'height': [1.0], 'colour': ['red']})).shape)"
    )
    environment = {
        **os.environ,
        "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
        "MLFLOW_TRACKING_URI": "sqlite:///x.db",
    }
    answer = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "(1, 3)"


def test_a_kill_between_any_two_steps_leaves_one_model_and_one_version(
    tmp_path: Path, uri: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    package(tmp_path / "package", "regression")
    record = Model(str(tmp_path / "package"), "digits", "champion", "final", 1)
    steps = (
        "create_logged_model",
        "log_outputs",
        "log_model_artifacts",
        "finalize_logged_model",
        "create_registered_model",
        "create_model_version",
        "set_registered_model_alias",
    )
    begin = lane_with_finals(uri).start
    for step in steps:
        lane = client_lane(uri, begin)
        real = getattr(lane.client, step)

        def cut(*given: Any, _real: Any = real, **named: Any) -> None:
            _real(*given, **named)
            raise KeyboardInterrupt  # the step is done, the answer never came

        monkeypatch.setattr(lane.client, step, cut)
        with pytest.raises(KeyboardInterrupt):
            champion.deliver_model(lane, record)
    champion.deliver_model(client_lane(uri, begin), record)
    client = MlflowClient(uri)
    assert len(client.search_model_versions("name = 'digits'")) == 1
    assert client.get_model_version_by_alias("digits", "champion").status == "READY"
    [model] = client.search_logged_models([lane.experiment_id])
    assert model.status == "READY"


def test_another_study_of_the_name_gets_its_own_version(tmp_path: Path, uri: str) -> None:
    from regsearch.tracking.mlflow.runs import delete_study

    package(tmp_path / "package", "regression")
    record = Model(str(tmp_path / "package"), "other", "champion", "final", 1)
    champion.deliver_model(lane_with_finals(uri), record)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("digits")
    assert experiment is not None
    client.delete_experiment(experiment.experiment_id)
    [begin, *rest] = study(1, 1, finals=2)
    assert isinstance(begin, StudyStart)
    later = StudyStart("digits", {}, {}, begin.time_ms + 1)
    lane = client_lane(uri, later)
    deliver(lane, [later, *rest], 1)
    champion.deliver_model(lane, record)
    assert len(client.search_model_versions("name = 'other'")) == 2
    assert client.get_model_version_by_alias("other", "champion").version in (2, "2")
    delete_study(uri, "digits")


def test_a_model_without_a_name_is_logged_only(tmp_path: Path, uri: str) -> None:
    package(tmp_path / "package", "regression")
    lane = lane_with_finals(uri)
    for _ in range(2):
        champion.deliver_model(lane, Model(str(tmp_path / "package"), "", "", "final", 0))
    client = MlflowClient(uri)
    assert len(client.search_logged_models([lane.experiment_id])) == 1
    assert not client.search_registered_models()


def test_it_is_fetched_from_the_store_that_is_named_not_from_the_process_own(tmp_path: Path, uri: str) -> None:
    package(tmp_path / "package", "regression")
    record = Model(str(tmp_path / "package"), "digits", "champion", "final", 1)
    champion.deliver_model(lane_with_finals(uri), record)
    code = (
        "import sys; from pathlib import Path; from regsearch.tracking.mlflow.registry import fetch_champion;"
        "print(fetch_champion(sys.argv[1], 'digits', Path('out')).version)"
    )
    here = tmp_path / "elsewhere"
    here.mkdir()
    known = {name: text for name, text in os.environ.items() if not name.startswith("MLFLOW_")}
    for environment in (known, {**known, "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path / 'another.db'}"}):
        done = forked.run(["-c", code, uri], here, environment)
        assert done.stdout.strip() == "1", done.stderr
        assert [path.name for path in here.iterdir()] == ["out"], "it leaves no store of its own"
        shutil.rmtree(here / "out")
    assert not (tmp_path / "another.db").exists()
