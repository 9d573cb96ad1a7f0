"""Reads a study's runs back from its store, and removes a study from it."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

import pandas as pd
from mlflow import MlflowClient
from mlflow.entities import Experiment, Run
from mlflow.exceptions import MlflowException

from regsearch.errors import UserError
from regsearch.tracking.mlflow.changes import (
    KIND_TAG,
    MEASURED_TAG,
    NUMBER_TAG,
    REASON_TAG,
    RESTORED_TAG,
    STAGES_TAG,
    START_TAG,
    STUDY,
)
from regsearch.tracking.mlflow.delivery import list_runs, run_key
from regsearch.tracking.mlflow.recovery import retire_deleted
from regsearch.tracking.mlflow.store import local_file, open_store, reach_store

LATEST = " (latest)"
STATES = {"FINISHED": "COMPLETE", "KILLED": "PRUNED", "FAILED": "FAIL"}
OF_RUNS = ("role", "roles", "regularizers")
"""Tags of trials and finals, `regsearch.<name>`, that `read_study` gives as columns."""
KEPT = ("train_loss", "val_loss")
"""What `read_study` reads at the epoch whose weights a run kept; the gap is their difference."""

CONNECTIONS = 8
"""Requests to a server at a time."""


@dataclass(frozen=True)
class StudyRuns:
    """A study as its store tells it; nothing else is needed to compare it with others.

    Args:
        name: of the study.
        params, tags: of the parent run; empty where the store has none.
        runs: as `read_runs` gives them, and with the columns of `OF_RUNS`, missing where a run has no such tag. Losses
            and gap are those of the epoch whose weights a run kept.
    """

    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]
    runs: pd.DataFrame


def read_study(uri: str, study: str) -> StudyRuns:
    """Read the study called `study` in the store at `uri`: its parent run, its trials and its finals.

    Raises:
        UserError: the store cannot be used, or has no study of this name.
    """
    client, experiment = find_experiment(uri, study)
    runs = list_runs(client, experiment.experiment_id)
    metrics = kept_metrics(uri, client, experiment.experiment_id, runs)
    parent, rows = None, []
    for run in runs:
        key = run_key(run)
        if key == STUDY:
            parent = run
        elif key is not None:
            tags = {name: run.data.tags.get(f"regsearch.{name}") for name in OF_RUNS}
            rows.append({**_row(run, metrics[run.info.run_id]), **tags})
    if parent is None:
        return StudyRuns(study, {}, {}, _frame(rows, OF_RUNS))
    return StudyRuns(study, dict(parent.data.params), dict(parent.data.tags), _frame(rows, OF_RUNS))


def kept_metrics(uri: str, client: MlflowClient, experiment_id: str, runs: list[Run]) -> dict[str, dict[str, float]]:
    """Read what each of these runs measured by the id of the run: its latest metrics, and losses and gap at the epoch
    whose weights it kept."""
    back = {run.info.run_id: int(tags[RESTORED_TAG]) for run in runs if RESTORED_TAG in (tags := run.data.tags)}
    losses = _losses(uri, client, experiment_id, back) if back else {}
    return {
        run.info.run_id: _measured(run, "kept", {**run.data.metrics, **losses.get(run.info.run_id, {})}) for run in runs
    }


def _measured(run: Run, epoch: str, other: dict[str, float]) -> dict[str, float]:
    """Read what a run that a population set back measured at its `last` epoch or the one it `kept`; of a run that never
    was it is `other`."""
    with contextlib.suppress(KeyError, ValueError):  # no tag, or one so long that it is cut
        return dict(json.loads(run.data.tags[MEASURED_TAG])[epoch])
    return other


def _losses(uri: str, client: MlflowClient, experiment_id: str, back: dict[str, int]) -> dict[str, dict[str, float]]:
    """Losses and gap of the runs that went back to an earlier epoch, at that epoch; `back` is the epoch of each run."""
    path = local_file(uri)
    if path is None:
        asked = [(run_id, name) for run_id in back for name in KEPT]
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            histories = pool.map(lambda ask: client.get_metric_history(*ask), asked)
            points = [
                (*ask, point.step, point.value)
                for ask, history in zip(asked, histories, strict=True)
                for point in sorted(history, key=lambda point: point.timestamp)  # what was measured last counts
            ]
    else:
        points = _points(path, experiment_id)
    by_run: dict[str, dict[str, float]] = {}
    for run_id, name, step, value in points:
        if step == back.get(run_id):
            by_run.setdefault(run_id, {})[name] = value
    whole = {run_id: losses for run_id, losses in by_run.items() if len(losses) == len(KEPT)}
    return {run_id: {**losses, "gap": losses["val_loss"] - losses["train_loss"]} for run_id, losses in whole.items()}


def _points(path: Path, experiment_id: str) -> list[tuple[str, str, int, float]]:
    """(run, metric, epoch, value) of the losses of every run that went back: one query, where MLflow's client has one
    for each run and metric, which takes seconds for a thousand trials."""
    query = (
        "SELECT m.run_uuid, m.key, m.step, m.value FROM metrics m JOIN runs r ON r.run_uuid = m.run_uuid "
        "JOIN tags t ON t.run_uuid = m.run_uuid AND t.key = ? AND t.value = CAST(m.step AS TEXT) "
        f"WHERE r.experiment_id = ? AND m.key IN ({', '.join('?' * len(KEPT))}) AND NOT m.is_nan "
        "ORDER BY m.timestamp"
    )
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
        return database.execute(query, (RESTORED_TAG, int(experiment_id), *KEPT)).fetchall()


def read_runs(uri: str, study: str) -> pd.DataFrame:
    """Read the study's trials and finals, one row each, sorted by kind and number.

    Columns: `kind`, `number`, `state` (Optuna's words), `reason`, `run_id`, `start`, `end`, then parameters and metrics
    of the last epoch by their flat names; what a run lacks is missing. The parent run is left out.

    Raises:
        UserError: the store has no study of this name.
    """
    client, experiment = find_experiment(uri, study)
    runs = [run for run in list_runs(client, experiment.experiment_id) if run.data.tags.get(NUMBER_TAG)]
    return _frame([_row(run, _measured(run, "last", run.data.metrics)) for run in runs])


def read_curve(uri: str, study: str, number: int) -> dict[tuple[int, str], float]:
    """Read what the store holds of one trial's curve: the value of each (epoch, metric), by epoch and name.

    MLflow keeps each metric's latest value apart from its history; it is there besides, under `<metric> (latest)`.

    Raises:
        UserError: the store has no study of this name, or the study no such trial.
    """
    client, experiment = find_experiment(uri, study)
    query = f"tags.`{KIND_TAG}` = 'trial' and tags.`{NUMBER_TAG}` = '{number}'"
    runs = client.search_runs([experiment.experiment_id], query, max_results=2)
    if not runs:
        raise UserError("the MLflow store has no such trial", key="NUMBER", value=number)
    values: dict[tuple[int, str], float] = {}
    for name, latest in runs[0].data.metrics.items():
        history = client.get_metric_history(runs[0].info.run_id, name)
        # A population may take a trial back to an earlier epoch: what was measured last counts.
        history.sort(key=lambda point: point.timestamp)
        values.update({(point.step, name): point.value for point in history})
        values[max(point.step for point in history), name + LATEST] = latest
    return dict(sorted(values.items()))


def delete_study(uri: str, study: str) -> None:
    """Remove the study's runs and models, so that its name is free again.

    In a local store they are gone for good, artifacts included; elsewhere the experiment lies in MLflow's trash under
    another name, where `mlflow gc` finds it. Deleting what is not there does nothing.

    Raises:
        UserError: a server or database that does not answer.
    """
    if local_file(uri) is None:
        reach_store(uri, study)
    try:
        client, experiment = find_experiment(uri, study, deleted_too=True)
    except UserError:
        return
    _delete_models(client, study, experiment)
    if experiment.lifecycle_stage == "deleted":
        retire_deleted(client, experiment)
    else:
        # Renamed first: a kill in between leaves the name free, not a study without its runs.
        client.rename_experiment(experiment.experiment_id, f"{study}.deleted-{experiment.experiment_id}")
        client.delete_experiment(experiment.experiment_id)
    if local_file(uri) is not None:
        _erase(uri, experiment)


def find_experiment(
    uri: str, study: str, deleted_too: bool = False, key: str = "name"
) -> tuple[MlflowClient, Experiment]:
    """Find the experiment of a study, and a client of its store; a local store that is not there is not made.

    Args:
        deleted_too: take one that lies in MLflow's trash.
        key: what the refusal names.

    Raises:
        UserError: the store cannot be used, or has no study of this name.
    """
    path = open_store(uri, study)
    if path is None or path.exists():  # MLflow would make a store that is not there
        client = MlflowClient(uri, uri)
        experiment = client.get_experiment_by_name(study)
        if experiment is not None and (deleted_too or experiment.lifecycle_stage == "active"):
            return client, experiment
    raise UserError("the MLflow store has no study of this name", key=key, value=study)


def _frame(rows: list[dict[str, object]], more: tuple[str, ...] = ()) -> pd.DataFrame:
    fixed = ["kind", "number", "state", "reason", "run_id", "start", "end", *more]
    frame = pd.DataFrame(rows, columns=list(dict.fromkeys([*fixed, *(name for row in rows for name in row)])))
    order = frame["kind"].map({"trial": 0, "final": 1})
    return frame.assign(_order=order).sort_values(["_order", "number"], ignore_index=True).drop(columns="_order")


def _row(run: Run, metrics: Mapping[str, float]) -> dict[str, object]:
    kind, number = run_key(run) or ("", -1)
    return {
        "kind": kind,
        "number": number,
        "state": STATES.get(run.info.status, run.info.status),
        "reason": run.data.tags.get(REASON_TAG),
        "run_id": run.info.run_id,
        "start": pd.Timestamp(run.info.start_time, unit="ms", tz="UTC"),
        "end": pd.Timestamp(run.info.end_time, unit="ms", tz="UTC") if run.info.end_time is not None else pd.NaT,
        **{name: _number(text) for name, text in last_params(run).items()},
        **metrics,
    }


def last_params(run: Run) -> dict[str, Any]:
    """Read a run's parameters; of a trial that a population changed those that it ended with, where MLflow has the
    first."""
    params = dict(run.data.params)
    with contextlib.suppress(ValueError):  # a tag so long that it is cut
        stages = json.loads(run.data.tags.get(STAGES_TAG, "[]"))
        return {**stages[-1]["params"], "seed": params["seed"]} if stages else params
    return params


def _number(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _delete_models(client: MlflowClient, study: str, experiment: Experiment) -> None:
    """Unregister the versions that came from this study, and the name when none is left."""
    versions = list(client.search_model_versions(f"name = '{study}'"))
    own = [one for one in versions if one.tags.get(START_TAG) == experiment.tags.get(START_TAG)]
    for version in own:
        client.delete_model_version(study, version.version)
    if own and len(own) == len(versions):
        with contextlib.suppress(MlflowException):
            client.delete_registered_model(study)


def _erase(uri: str, experiment: Experiment) -> None:
    """What `mlflow gc` does for one experiment, without starting it."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    path = local_file(uri)
    folder = Path(unquote(urlparse(experiment.artifact_location).path))
    if path is not None and folder.parent == path.parent / "artifacts":
        shutil.rmtree(folder, ignore_errors=True)
    store = SqlAlchemyStore(uri, str(folder))  # type: ignore[no-untyped-call]
    store._hard_delete_experiment(experiment.experiment_id)  # type: ignore[no-untyped-call]
