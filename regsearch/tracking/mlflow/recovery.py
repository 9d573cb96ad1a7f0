"""Finds what an MLflow store lost of a study that it had been given: takes it out of MLflow's trash, or names it."""

from __future__ import annotations

import logging
from collections.abc import Iterator

from mlflow import MlflowClient
from mlflow.entities import Experiment, ViewType
from mlflow.exceptions import MlflowException

from regsearch.errors import UserError
from regsearch.tracking.log.records import Model, StudyStart
from regsearch.tracking.mlflow.changes import KIND_TAG, SOURCE_TAG, START_TAG, STUDY, RunKey
from regsearch.tracking.mlflow.delivered import Delivered

READY = "READY"


def own_experiment(client: MlflowClient, start: StudyStart) -> tuple[Experiment | None, str | None]:
    """Find the experiment of a study, also in MLflow's trash or renamed, and put it back in its place.

    Returns:
        The experiment, None where the store has none, and in a line what was done, None where nothing had to be.

    Raises:
        UserError: it has another name now, and its own is taken.
    """
    named = client.get_experiment_by_name(start.name)
    own = named if named is not None and _begun(named) == start.time_ms else _renamed(client, start)
    if own is None:
        return None, None
    done = []
    if named is not None and named.experiment_id != own.experiment_id and named.lifecycle_stage == "active":
        resume = f"rename or delete that one in MLflow, then `regsearch study resume {start.name}` goes on"
        what = f"the MLflow store has another experiment of this name, and this study's is called {own.name} there"
        raise UserError(what, key="name", value=start.name, allowed=resume)
    if own.lifecycle_stage == "deleted":
        client.restore_experiment(own.experiment_id)
        done.append("the experiment was in MLflow's trash and is restored")
    if own.name != start.name:
        if named is not None:
            retire_deleted(client, named)
        client.rename_experiment(own.experiment_id, start.name)
        done.append(f"the experiment was called {own.name} and has its name again")
    return (client.get_experiment(own.experiment_id) if done else own), "; ".join(done) or None


def retire_deleted(client: MlflowClient, experiment: Experiment) -> None:
    """Free the name that an experiment in MLflow's trash still holds; it stays in the trash under another name."""
    client.restore_experiment(experiment.experiment_id)
    client.rename_experiment(experiment.experiment_id, f"{experiment.name}.deleted-{experiment.experiment_id}")
    client.delete_experiment(experiment.experiment_id)


def is_in_place(client: MlflowClient, experiment: Experiment) -> bool:
    """Tell whether the store has this experiment still, under its name and not deleted."""
    try:
        now = client.get_experiment(experiment.experiment_id)
    except MlflowException as error:
        if error.error_code != "RESOURCE_DOES_NOT_EXIST":
            raise
        return False
    return bool(now.lifecycle_stage == "active" and now.name == experiment.name)


def missing_files(client: MlflowClient, given: Delivered, runs: dict[RunKey, str]) -> int:
    """Count the files that a store was given and that are not among the artifacts of its runs."""
    count = 0
    for (key, folder), names in given.files.items():
        try:
            listed = client.list_artifacts(runs[key], folder or None)
        except Exception as error:  # each kind of store for artifacts has its own; this is no reason to stop
            logging.warning("the artifacts of %s %s cannot be listed: %s", *key, error)
            continue
        count += len(names - {file.path.rsplit("/", 1)[-1] for file in listed})
    return count


def missing_models(client: MlflowClient, experiment_id: str, given: Delivered, begun_ms: int) -> list[Model]:
    """List the models that a store was given and that are not logged with its runs, or not registered."""
    if not given.models:
        return []
    logged = set(_logged_sources(client, experiment_id))
    registered = {
        (name, version.tags.get(SOURCE_TAG))
        for name in {model.name for model in given.models if model.name}
        for version in client.search_model_versions(f"name = '{name}'")
        if version.tags.get(START_TAG) == str(begun_ms)
    }
    return [
        model
        for model in given.models
        if source_of(model) not in logged or (model.name and (model.name, source_of(model)) not in registered)
    ]


def source_of(model: Model) -> str:
    """Name the run that a model came from, as its tags do."""
    return f"{model.kind}-{model.number}"


def _begun(experiment: Experiment) -> int | None:
    text = experiment.tags.get(START_TAG, "")
    return int(text) if text.isdigit() else None


def _renamed(client: MlflowClient, start: StudyStart) -> Experiment | None:
    """The experiment that holds the study's parent run, whatever it is called now; the newest of several."""
    query = f"tags.`{START_TAG}` = '{start.time_ms}'"
    candidates = client.search_experiments(ViewType.ALL, filter_string=query, order_by=["creation_time DESC"])
    for experiment in candidates:
        parent = f"tags.`{KIND_TAG}` = '{STUDY[0]}'"
        runs = client.search_runs([experiment.experiment_id], parent, ViewType.ALL, max_results=1)
        # Two studies may have begun in one millisecond.
        if runs and runs[0].info.run_name == start.name:
            return experiment
    return None


def _logged_sources(client: MlflowClient, experiment_id: str) -> Iterator[str]:
    token: str | None = None
    while True:
        page = client.search_logged_models([experiment_id], page_token=token)
        yield from (model.tags.get(SOURCE_TAG, "") for model in page if model.status == READY)
        token = page.token
        if not token:
            return


__all__ = [
    "is_in_place",
    "missing_files",
    "missing_models",
    "own_experiment",
    "retire_deleted",
    "source_of",
]
