"""Delivers a study's changes to any MLflow store through its public client: the general lane.

Everything here may be repeated: runs are found by (study, kind, number) before they are created, metrics carry their
own times, so a delivery that was cut off is simply made again.
"""

from __future__ import annotations

import getpass
import json
import re
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Dataset, DatasetInput, Experiment, InputTag, Metric, Param, Run, RunTag, ViewType
from mlflow.exceptions import MlflowException

from regsearch.errors import UserError
from regsearch.tracking.log import records
from regsearch.tracking.log.records import Artifact, RunStart, StudyStart
from regsearch.tracking.mlflow.changes import KIND_TAG, NUMBER_TAG, PARENT_TAG, START_TAG, STUDY, Change, RunKey
from regsearch.tracking.mlflow.delivered import Delivered, DeliveredRun, missing_runs
from regsearch.tracking.mlflow.moved import follow_experiment
from regsearch.tracking.mlflow.recovery import (
    is_in_place,
    missing_files,
    missing_models,
    own_experiment,
    retire_deleted,
)

PAGE = 1000
METRICS_PER_BATCH, TEXTS_PER_BATCH = 800, 100  # of MLflow's limits, 1,000 items and 100 of each kind of text
DIGEST_LENGTH = 36
_EXPERIMENT, _RUN = "{experiment}", re.compile(r"\{run:(\w+):(\d+)\}")


class ClientLane:
    """One study's experiment and runs, written through `MlflowClient`.

    `mended` and `moved` say in a line what had to be done for the experiment, and for its artifacts, to be in their
    place, None where nothing had; `held` is how far the store's runs were when they were last listed.

    Args:
        uri: the store's address.
        start: how the study began; its time tells it from another study of the same name.
        artifacts: folder for the artifacts of a store that a database keeps; None leaves it to the server.

    Raises:
        UserError: an experiment of this name belongs to another study.
    """

    name = "client"

    def __init__(self, uri: str, start: StudyStart, artifacts: Path | None) -> None:
        self.uri, self.start, self.client = uri, start, MlflowClient(uri, uri)
        self.experiment, self.mended = _experiment(self.client, start, artifacts)
        place = self.experiment.artifact_location
        self.moved = None if artifacts is None else follow_experiment(uri, place, artifacts)
        if self.moved:
            self.experiment = self.client.get_experiment(self.experiment.experiment_id)
        self.experiment_id = str(self.experiment.experiment_id)
        self.runs: dict[RunKey, str] = {}
        self.held: dict[RunKey, DeliveredRun] = {}
        self.common_tags = {
            "mlflow.user": _user(),
            "mlflow.source.name": "regsearch",
            "mlflow.source.type": "LOCAL",
        }
        self.reconcile()

    def reconcile(self) -> None:
        """Ask the store which runs it has; of two that a lost answer made of one, the fuller stays."""
        runs = list_runs(self.client, self.experiment_id)
        # A request that waited in a stopped server makes its run late: that one is empty, and as old as the other.
        runs.sort(key=lambda run: (-_content(run), run.info.start_time, run.info.run_id))
        self.runs, self.held = {}, {}
        for run in runs:
            key = run_key(run)
            if key is None:
                continue
            if key in self.runs:
                self.client.delete_run(run.info.run_id)
            else:
                self.runs[key], self.held[key] = run.info.run_id, DeliveredRun(run.info.status, _last_epoch(run))

    def in_place(self) -> bool:
        """Tell whether the store has the study's experiment still, under its name and not deleted."""
        return is_in_place(self.client, self.experiment)

    def mend(self, given: Delivered) -> tuple[list[str], bool]:
        """Hold the store against what it was given, and take the runs that it lost out of MLflow's trash.

        Returns:
            What was found, in words, and whether all has to be delivered again.
        """
        lines, missing = [], missing_runs(given, self.held)
        if restored := self._restore(missing):
            self.reconcile()
            missing = missing_runs(given, self.held)
            lines.append(f"{restored} of the runs were in MLflow's trash and are restored")
        lost = [f"{len(missing)} of {len(given.runs)} runs"] if missing else []
        if not missing:
            if files := missing_files(self.client, given, self.runs):
                lost.append(f"{files} of the files")
            if models := missing_models(self.client, self.experiment_id, given, self.start.time_ms):
                lost.append(f"{len(models)} of the models")
        if lost:
            lines.append(f"it lacks {' and '.join(lost)} that it had been given: everything is written anew")
        return lines, bool(lost)

    def _restore(self, missing: set[RunKey]) -> int:
        """Take these runs out of MLflow's trash, of several of one trial the fullest; how many were there."""
        if not missing:
            return 0
        trash: dict[RunKey, Run] = {}
        for run in list_runs(self.client, self.experiment_id, ViewType.DELETED_ONLY):
            key = run_key(run)
            if key in missing and key not in self.runs:
                trash[key] = max(trash.get(key, run), run, key=_content)
        for run in trash.values():
            self.client.restore_run(run.info.run_id)
        return len(trash)

    def apply(self, changes: list[Change]) -> None:
        """Make these changes; parents come before their children. Those that are made are taken off the list."""
        while changes:
            change = changes[0]
            run_id = self.runs.get(change.key) or self._create(change)
            self._log(run_id, change)
            self.log_dataset(change)
            self.annotate(change)
            if change.status == "RUNNING":
                self.client.update_run(run_id, status="RUNNING")
            elif change.status is not None:
                self.client.set_terminated(run_id, change.status, change.end_ms)
            del changes[0]

    def log_dataset(self, change: Change) -> None:
        """Name the study's data set as the input of its parent run."""
        if isinstance(change.start, StudyStart) and change.start.dataset is not None:
            self.client.log_inputs(self.run_id(STUDY), [_dataset_input(change.start.dataset)])

    def annotate(self, change: Change) -> None:
        """Write the notes of a change, with MLflow's ids of what they name."""
        for name, text in change.experiment.items():
            self.client.set_experiment_tag(self.experiment_id, name, self._named(text))
        tags = [RunTag(name, self._named(text)) for name, text in change.notes.items()]
        if tags:
            self.client.log_batch(self.run_id(change.key), tags=tags)

    def _named(self, text: str) -> str:
        def run_id(match: re.Match[str]) -> str:
            return self.runs.get((match[1], int(match[2]))) or self.run_id(STUDY)

        return _RUN.sub(run_id, text.replace(_EXPERIMENT, self.experiment_id))

    def artifact(self, record: Artifact) -> None:
        """Copy a file to its run's artifacts, over an older one of that name."""
        self.client.log_artifact(self.run_id((record.kind, record.number)), record.path, record.artifact_path or None)

    def run_id(self, key: RunKey) -> str:
        """Find MLflow's name for a run.

        Raises:
            LookupError: the store has no such run.
        """
        if key not in self.runs:
            raise self._missing(key)
        return self.runs[key]

    def creation(self, change: Change) -> tuple[StudyStart | RunStart, dict[str, str]]:
        """Look up how a run begins, and all tags that it is created with.

        Raises:
            LookupError: the run is unknown and these changes do not say how it began.
        """
        if change.start is None:
            raise self._missing(change.key)
        tags = {**self.common_tags, **change.tags}
        if change.key != STUDY:
            tags[PARENT_TAG] = self.run_id(STUDY)
        return change.start, tags

    def _missing(self, key: RunKey) -> LookupError:
        return LookupError(f"the store has no run for {key[0]} {key[1]} of study {self.start.name}")

    def _create(self, change: Change) -> str:
        start, tags = self.creation(change)
        run = self.client.create_run(self.experiment_id, start.time_ms, tags, start.name)
        self.runs[change.key] = run.info.run_id
        return str(run.info.run_id)

    def _log(self, run_id: str, change: Change) -> None:
        metrics = [
            Metric(name, float(value), record.time_ms, record.epoch)
            for record in change.metrics
            for name, value in record.values.items()
        ]
        params = [Param(name, text) for name, text in change.params.items()]
        tags = [RunTag(name, text) for name, text in change.tags.items()]
        while metrics or params or tags:
            self.client.log_batch(
                run_id,
                metrics[:METRICS_PER_BATCH],
                params[:TEXTS_PER_BATCH],
                tags[:TEXTS_PER_BATCH],
            )
            del metrics[:METRICS_PER_BATCH], params[:TEXTS_PER_BATCH], tags[:TEXTS_PER_BATCH]


def run_key(run: Run) -> RunKey | None:
    """Read (kind, number) of a run that regsearch made, None for any other."""
    kind = run.data.tags.get(KIND_TAG)
    if kind == STUDY[0]:
        return STUDY
    number = run.data.tags.get(NUMBER_TAG, "")
    return (kind, int(number)) if kind and number.isdigit() else None


def list_runs(client: MlflowClient, experiment_id: str, view: int = ViewType.ACTIVE_ONLY) -> list[Run]:
    """List all runs of an experiment, by default the active ones, page by page."""
    runs: list[Run] = []
    token: str | None = None
    while True:
        page = client.search_runs([experiment_id], "", view, PAGE, ["start_time ASC"], token)
        runs.extend(page)
        token = page.token
        if not token:
            return runs


def _experiment(client: MlflowClient, start: StudyStart, artifacts: Path | None) -> tuple[Experiment, str | None]:
    """The study's experiment, made if need be, and what had to be done for it to be found."""
    experiment, done = own_experiment(client, start)
    if experiment is not None:
        return experiment, done
    experiment = client.get_experiment_by_name(start.name)
    if experiment is not None and experiment.lifecycle_stage == "deleted":
        retire_deleted(client, experiment)
        experiment = None
    if experiment is None:
        try:
            tags = {START_TAG: str(start.time_ms)}
            client.create_experiment(start.name, _artifact_location(start, artifacts), tags)
        except MlflowException as error:
            # Another writer, or this one before it lost the answer, may have made it: what is there decides.
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
        experiment = client.get_experiment_by_name(start.name)
    if experiment is None:
        raise LookupError(f"the experiment {start.name} vanished while it was made")
    owner = experiment.tags.get(START_TAG)
    if owner is None and not client.search_runs([experiment.experiment_id], max_results=1, run_view_type=ViewType.ALL):
        client.set_experiment_tag(experiment.experiment_id, START_TAG, str(start.time_ms))
    elif owner != str(start.time_ms):
        raise UserError(
            "the MLflow store has an experiment of this name that is not this study's",
            key="name",
            value=start.name,
            allowed="another name, or rename or delete that experiment in MLflow first",
        )
    return experiment, None


def _content(run: Run) -> int:
    return len(run.data.metrics) + len(run.data.params)


def _last_epoch(run: Run) -> int:
    # The public `metrics` have values alone; the epochs would be a request for each metric of each run.
    return max((metric.step for metric in run.data._metric_objs), default=0)


def _artifact_location(start: StudyStart, artifacts: Path | None) -> str | None:
    if artifacts is None:
        return None
    folder = artifacts / start.name
    # A folder that is there belongs to a study of this name in MLflow's trash.
    return str(folder if not folder.exists() else folder.with_name(f"{start.name}-{start.time_ms}"))


def _dataset_input(data: records.Dataset) -> DatasetInput:
    path = data.source.removeprefix("csv:").removeprefix("parquet:")
    kind = "local" if path != data.source else "code"
    source = {"uri": path} if kind == "local" else {"tags": {"mlflow.source.name": data.source}}
    profile = {"num_rows": data.rows, "num_elements": data.rows * data.features}
    dataset = Dataset(data.name, data.digest[:DIGEST_LENGTH], kind, json.dumps(source), profile=json.dumps(profile))
    return DatasetInput(dataset, [InputTag("mlflow.data.context", "training")])


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
