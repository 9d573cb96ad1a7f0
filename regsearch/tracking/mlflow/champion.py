"""Logs a packaged model with the run it came from, and registers it once under the study's name."""

from __future__ import annotations

import json
import tempfile
from importlib.metadata import version
from pathlib import Path

import mlflow
import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import LoggedModel, LoggedModelOutput
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import Model as MlflowModel
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema, TensorSpec
from mlflow.types.schema import AnyType

from regsearch.system.files import JsonObject
from regsearch.system.sums import SUMS
from regsearch.tracking.log.records import Model
from regsearch.tracking.mlflow.changes import SOURCE_TAG, START_TAG
from regsearch.tracking.mlflow.delivery import ClientLane
from regsearch.tracking.mlflow.package import PREDICT, check
from regsearch.tracking.mlflow.recovery import source_of
from regsearch.tracking.mlflow.registry import logged_model_id

MODEL_CODE = Path(__file__).with_name("model_code.py")
PACKAGES = ("mlflow", "torch", "numpy", "pandas")
FILES = {"model": "model.pt2", "manifest": "manifest.json", "columns": "columns.py", "example": "example.json"}
MODEL_NAME = "model"
VALUES = ("regression", "forecasting", "recommendation")


def deliver_model(study: ClientLane, record: Model) -> None:
    """Log the model in `record.folder` and, where it has a name, register it and give it the alias.

    Each step is looked for before it is taken, so a kill between any two of them leaves nothing twice.
    """
    # MLflow resolves a version's source `models:/ID` in the store of the whole process, whatever client asks.
    mlflow.set_tracking_uri(study.uri)
    mlflow.set_registry_uri(study.uri)
    tags = {**record.tags, SOURCE_TAG: source_of(record), START_TAG: str(study.start.time_ms)}
    if record.name:
        registered = _version(study, record.name, tags)
        if registered is None:
            model = _logged(study, record, tags)
            _register(study.client, record.name)
            run_id = study.run_id((record.kind, record.number))
            at = f"models:/{model.model_id}"
            # A server asks for the id besides the source that holds it.
            registered = study.client.create_model_version(record.name, at, run_id, tags=tags, model_id=model.model_id)
        if record.alias:
            study.client.set_registered_model_alias(record.name, record.alias, registered.version)
    else:
        _logged(study, record, tags)


def _version(study: ClientLane, name: str, tags: dict[str, str]) -> ModelVersion | None:
    """The version that this study registered from this run, of a model that is still logged with it."""
    for known in study.client.search_model_versions(f"name = '{name}'"):
        if all(known.tags.get(tag) == tags[tag] for tag in (SOURCE_TAG, START_TAG)) and _is_logged(study, known):
            return known
    return None


def _is_logged(study: ClientLane, version: ModelVersion) -> bool:
    model_id = logged_model_id(version)
    if model_id is None:
        return True
    try:
        return bool(study.client.get_logged_model(model_id).experiment_id == study.experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False


def _register(client: MlflowClient, name: str) -> None:
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _logged(study: ClientLane, record: Model, tags: dict[str, str]) -> LoggedModel:
    """The model as logged with its run; one that a kill left unfinished is removed and made again."""
    client, run_id = study.client, study.run_id((record.kind, record.number))
    for logged in client.search_logged_models([study.experiment_id], f"tags.`{SOURCE_TAG}` = '{tags[SOURCE_TAG]}'"):
        if logged.status == "READY":
            return logged
        client.delete_logged_model(logged.model_id)
    check(Path(record.folder))  # before anything is made that would stay
    model = client.create_logged_model(study.experiment_id, MODEL_NAME, run_id, tags)
    client.log_outputs(run_id, [LoggedModelOutput(model.model_id, 0)])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model"
        save_model(Path(record.folder), path, MlflowModel(model.artifact_location, run_id, model_id=model.model_id))
        client.log_model_artifacts(model.model_id, str(path))
    return client.finalize_logged_model(model.model_id, "READY")


def save_model(package: Path, path: Path, model: MlflowModel | None = None) -> None:
    """Write the packaged model as an MLflow model folder: code and data, no pickle.

    Raises:
        DamagedPackage: a file of the package is not as it was written, or its copy is another.
    """
    check(package)
    manifest = json.loads((package / FILES["manifest"]).read_text())
    example = read_example(package / "example.json", manifest.get("dtype") or "float32")
    # With the sums, so that what is fetched from the registry can be held against them as well.
    files = {name: package / file for name, file in {**FILES, "sums": SUMS}.items() if (package / file).exists()}
    artifacts = {**files, "predict": PREDICT}
    mlflow.pyfunc.save_model(
        str(path),
        python_model=str(MODEL_CODE),
        artifacts={name: path.absolute().as_uri() for name, path in artifacts.items()},
        signature=ModelSignature(inputs=_inputs(example), outputs=_outputs(manifest)),
        input_example=example,
        pip_requirements=[f"{name}=={version(name).split('+')[0]}" for name in PACKAGES],
        mlflow_model=model,
    )
    check(package, copies=path / "artifacts")


def read_example(path: Path, dtype: str = "float32") -> pd.DataFrame | np.ndarray:
    """Read an example: `{"columns": [...], "data": [[...]]}` for tables, `{"inputs": [[...]]}` for arrays [N, F...]."""
    saved: JsonObject = json.loads(path.read_text())
    if "inputs" in saved:
        return np.asarray(saved["inputs"], dtype=dtype)
    return pd.DataFrame(saved["data"], columns=saved["columns"])


def _inputs(example: pd.DataFrame | np.ndarray) -> Schema:
    if isinstance(example, np.ndarray):
        return Schema([TensorSpec(example.dtype, (-1, *example.shape[1:]))])
    # Types are left open: MLflow would refuse whole numbers where it expects `double`, gaps where it expects `long`,
    # and 1 where it expects the text "1", and a user's table has them all. The preprocessing checks them.
    return Schema([ColSpec(AnyType(), name, required=True) for name in example.columns])  # type: ignore[no-untyped-call]


def _outputs(manifest: JsonObject) -> Schema | None:
    """The columns of the answer, as `predict` names them; None where the model alone knows how many there are."""
    if manifest["task"] == "clustering":
        return None
    if manifest["task"] in VALUES:
        column, horizon = manifest.get("target") or "prediction", int(manifest.get("outputs") or 1)
        names = [column] if horizon == 1 else [f"{column}+{step}" for step in range(1, horizon + 1)]
        series = (manifest.get("preprocessing") or {}).get("series")
        first = [ColSpec(AnyType(), series)] if series else []  # type: ignore[no-untyped-call]
        return Schema([*first, *(ColSpec(DataType.double, name) for name in names)])
    classes = manifest["classes"] or range(int(manifest["outputs"]))
    return Schema([ColSpec(DataType.double, str(name)) for name in classes])
