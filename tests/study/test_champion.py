"""The champion of a whole study, from the registry: raw columns in, the predictions of the trained weights out."""

from __future__ import annotations

from pathlib import Path

import mlflow
import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits

from regsearch import Study
from regsearch.core.fit import build_program, load_data
from regsearch.core.pack import Load, Pack
from regsearch.data import Manifest
from tests.study.small import study_file


def test_predictions_equal_those_of_the_trained_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REGSEARCH_HOME", str(tmp_path / "mlruns"))
    study = Study.from_file(study_file(tmp_path), trials=6)
    study.run()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", study.uri)
    client = mlflow.MlflowClient()
    version = client.get_model_version_by_alias("small", "champion")
    run = client.get_run(version.run_id)
    assert run.data.tags["regsearch.kind"] == "final"

    # The final that the champion is, trained once more from its seed and knobs.
    names = study.space.regularizers()
    manifest = Manifest.load(study.folder / "data")
    program = build_program(study.config, manifest, names)
    knobs = {name: float(value) for name, value in run.data.params.items() if name in program.knobs}
    pack = Pack(program, load_data(study.folder / "data"), 2)
    pack.load(0, Load(0, knobs, int(run.data.params["seed"])))
    reports = [pack.train_epoch([0])[0] for _ in range(study.config.train.epochs)]
    assert reports[-1].metrics["val_loss"] == run.data.metrics["val_loss"]

    table = load_digits(as_frame=True).data.iloc[:40]
    found = mlflow.pyfunc.load_model("models:/small@champion").predict(table).to_numpy()
    rows = _prepared(manifest, table)
    with torch.no_grad():
        expected = torch.softmax(program.alone(pack.weights(0), knobs)(rows).double(), -1).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    assert found.shape == (40, 10) and np.ptp(found) > 0.5


def _prepared(manifest: Manifest, table: object) -> torch.Tensor:
    from regsearch.data.columns import Preprocessing

    assert manifest.preprocessing is not None
    return torch.from_numpy(np.asarray(Preprocessing.from_json(manifest.preprocessing).apply(table), dtype=np.float32))
