"""A whole study of a model whose first layer the author froze: the champion has the author's bits, exported too."""

from __future__ import annotations

from pathlib import Path

import mlflow
import pytest
import torch
from sklearn.datasets import load_wine

from regsearch import Study
from regsearch.errors import UserError
from tests.made_store import made_store

MODEL = """
import torch
from torch import nn


def build(inputs, outputs):
    first = nn.Linear(inputs[0], inputs[0])
    with torch.no_grad():
        nn.init.eye_(first.weight)
        first.bias.copy_(torch.linspace(-1, 1, inputs[0]))
    first.requires_grad_(False)
    return nn.Sequential(first, nn.Linear(inputs[0], 16), nn.ReLU(), nn.Linear(16, outputs))


def frozen(inputs, outputs):
    return build(inputs, outputs).requires_grad_(False)
"""
STUDY = """
name: frozen
data: {source: "sklearn:wine"}
model: {factory: "frozen_net:build"}
train: {epochs: 3, batch_size: 32, learning_rate: 1.0e-2, penalize_bias: true}
space:
  weight_decay: {strength: {low: 0.1, high: 1.0}}
  l2: {strength: {low: 0.01, high: 0.1, per: layer}}
  max_norm: search
  batch_norm: search
  ema: search
search: {trials: 4, parallel: 4, width: 2, workers: 1}
finalize: {seeds: 2}
"""


@pytest.fixture
def study_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("REGSEARCH_HOME", str(made_store(tmp_path / "mlruns")))
    (tmp_path / "frozen_net.py").write_text(MODEL)
    path = tmp_path / "frozen.yaml"
    path.write_text(STUDY)
    return path


@pytest.mark.slow
def test_the_champion_keeps_the_authors_bits(study_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study = Study.from_file(study_file)
    study.run()
    runs = study.frame()
    assert set(runs["state"]) <= {"COMPLETE", "PRUNED"}
    layers = {name.removeprefix("params.") for name in runs.columns if "l2.strength" in name}
    assert {"l2.strength.1", "l2.strength.3"} <= layers and not any(name.endswith(".0") for name in layers)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)
    loaded = mlflow.pyfunc.load_model("models:/frozen@champion")
    assert loaded.predict(load_wine(as_frame=True).data).shape == (178, 3)
    folder = Path(mlflow.artifacts.download_artifacts("models:/frozen@champion"))
    (program,) = folder.rglob("model.pt2")
    state = torch.export.load(program).state_dict
    first = [each for name, each in state.items() if name.endswith("0.weight")]
    assert len(first) == 1 and torch.equal(first[0], torch.eye(13))
    (shift,) = (each for name, each in state.items() if name.endswith("0.bias"))
    assert torch.equal(shift, torch.linspace(-1, 1, 13))


def test_a_model_that_is_frozen_whole_is_refused_in_one_line(study_file: Path) -> None:
    study_file.write_text(STUDY.replace("frozen_net:build", "frozen_net:frozen"))
    with pytest.raises(UserError, match="every parameter of the model is frozen") as caught:
        Study.from_file(study_file).check()
    assert "\n" not in str(caught.value)
