"""Fetches a registered champion from an MLflow store, as the sealed package that it was made from."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import mlflow.artifacts
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException

from regsearch.errors import UserError
from regsearch.system.addresses import scrub
from regsearch.system.sums import SUMS
from regsearch.tracking.mlflow.changes import NUMBER_TAG, PARENT_TAG
from regsearch.tracking.mlflow.store import open_store

ALIAS = "champion"
ANSWER_TAG = "regsearch.answer"
_LOGGED = "models:/"
_FILES = ("model.pt2", "manifest.json", "columns.py", "example.json", SUMS)


@dataclass(frozen=True)
class Registered:
    """What a registry says of a champion: its version, the run that trained it, the study's answer, the trial's number.

    Args:
        sums: whether the sums of the package came with it.
    """

    version: str
    run_id: str
    sentence: str
    trial: str
    sums: bool


def fetch_champion(uri: str, name: str, out: Path) -> Registered:
    """Copy the files of the registered model `name` with the alias `champion` into the folder `out`, made here.

    Raises:
        UserError: the store cannot be used, or has no such model, or the model's files are gone.
    """
    path = open_store(uri, name)
    if path is not None and not path.exists():  # MLflow would make a store that is not there
        raise _none(uri, name)
    client = MlflowClient(uri, uri)
    version = _version(client, uri, name)
    run = client.get_run(str(version.run_id))
    parent = client.get_run(run.data.tags[PARENT_TAG]) if PARENT_TAG in run.data.tags else run
    with tempfile.TemporaryDirectory() as place:
        artifacts = _download(client, uri, version, Path(place)) / "artifacts"
        if not (artifacts / "model.pt2").exists():
            raise UserError("the registered model is not one of regsearch", key="NAME", value=name)
        out.mkdir(parents=True)
        for file in _FILES:
            if (artifacts / file).exists():
                shutil.copyfile(artifacts / file, out / file)
    return Registered(
        str(version.version),
        str(version.run_id),
        parent.data.tags.get(ANSWER_TAG, ""),
        version.tags.get(NUMBER_TAG, ""),
        (out / SUMS).exists(),
    )


def logged_model_id(version: ModelVersion) -> str | None:
    """Name the logged model that a version came from, None for one of elsewhere; a database keeps it in the version's
    source alone.
    """
    place = str(version.source or "")
    name = place.removeprefix(_LOGGED) if place.startswith(_LOGGED) else ""
    return version.model_id or (name if "/" not in name else "") or None


def _version(client: MlflowClient, uri: str, name: str) -> ModelVersion:
    try:
        return client.get_model_version_by_alias(name, ALIAS)
    except MlflowException as error:
        if error.error_code in ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE"):
            raise _none(uri, name) from None
        raise UserError(
            f"the MLflow store has trouble: {scrub(str(error), uri)}", key="tracking.uri", value=uri
        ) from None


def _none(uri: str, name: str) -> UserError:
    allowed = f"the store is {uri}; a champion is registered when a study's finals end"
    return UserError("no champion of this study is registered", key="NAME", value=name, allowed=allowed)


def _download(client: MlflowClient, uri: str, version: ModelVersion, place: Path) -> Path:
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    try:
        # By its own place: `models:/...` is looked up in the store of the whole process, whatever client asks.
        model_id = logged_model_id(version)
        location = client.get_logged_model(model_id).artifact_location if model_id else version.source
        return Path(mlflow.artifacts.download_artifacts(location, dst_path=str(place), tracking_uri=uri))
    except (MlflowException, OSError) as error:
        what = f"the files of the registered model cannot be fetched: {scrub(str(error), uri)}"
        raise UserError(what, key="tracking.uri", value=uri) from None


__all__ = ["Registered", "fetch_champion", "logged_model_id"]
