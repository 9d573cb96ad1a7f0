"""A study as an MLflow store has it, also one that others ran: its trials, and what its parent run keeps."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from mlflow import MlflowClient
from mlflow.entities import Experiment, Run

from regsearch.errors import UserError
from regsearch.system import schema
from regsearch.system.files import JsonMapping
from regsearch.tracking.log.history import RunHistory
from regsearch.tracking.mlflow.changes import REASON_TAG, RESTORED_TAG, STUDY
from regsearch.tracking.mlflow.delivery import list_runs, run_key
from regsearch.tracking.mlflow.runs import STATES, find_experiment, kept_metrics, last_params
from regsearch.trial import kept_epoch

ANSWER_TAG = "regsearch.answer"
_SUMMARY = "finals/summary.json"
_CURVES = ("train_loss", "val_loss")


@dataclass(frozen=True)
class StoredStudy:
    """What a store has of a study.

    Args:
        begun_ms: when it began, milliseconds since 1970.
        ended: whether it has its answer.
        params, tags: of the parent run.
        summary: of the finals, as `FinalsSummary.to_json` gives it; None where there were none.
        runs: trials and finals; a trial's curve is the epoch whose weights it kept, the only one that is read.
    """

    begun_ms: int
    ended: bool
    params: Mapping[str, str]
    tags: Mapping[str, str]
    summary: JsonMapping | None = None
    runs: list[RunHistory] = field(default_factory=list)


def read_study(uri: str, study: str) -> StoredStudy:
    """Read the study of this name; the curves of the finals of winner and baseline are whole.

    Raises:
        UserError: the store cannot be used, or has no such study, or no run of regsearch in it, or the finals are of a
            newer regsearch.
    """
    client, experiment = find_experiment(uri, study, key="NAME")
    parent, runs = _sorted(client, experiment, study)
    summary = _summary(client, parent)
    metrics = kept_metrics(uri, client, experiment.experiment_id, runs)
    histories = [_recorded(run, metrics[run.info.run_id]) for run in runs]
    if summary is not None:
        wanted = {summary["winner"]["number"], summary["baseline"]["number"]}
        for run, recorded in zip(runs, histories, strict=True):
            if recorded.kind == "final" and recorded.params.get("candidate") in wanted:
                recorded.curve = _curve(client, run)
    ended = parent.data.tags.get(ANSWER_TAG) is not None and parent.info.status == "FINISHED"
    return StoredStudy(parent.info.start_time, ended, parent.data.params, parent.data.tags, summary, histories)


def _sorted(client: MlflowClient, experiment: Experiment, study: str) -> tuple[Run, list[Run]]:
    """The parent run, and all trials and finals."""
    parents, runs = [], []
    for run in list_runs(client, experiment.experiment_id):
        key = run_key(run)
        if key == STUDY:
            parents.append(run)
        elif key is not None:
            runs.append(run)
    if not parents:
        allowed = "a report needs an experiment that regsearch filled"
        raise UserError("the experiment of this name has no run of a study", key="NAME", value=study, allowed=allowed)
    return parents[-1], sorted(runs, key=lambda run: run_key(run) or ("", -1))


def _recorded(run: Run, metrics: dict[str, float]) -> RunHistory:
    kind, number = run_key(run) or ("trial", -1)
    restored = run.data.tags.get(RESTORED_TAG)
    history = RunHistory(
        "final" if kind == "final" else "trial",
        number,
        {name: _plain(str(value)) for name, value in last_params(run).items()},
        run.info.run_name or "",
        run.data.tags,
        run.info.start_time,
        run.info.end_time,
        STATES.get(run.info.status, run.info.status),
        run.data.tags.get(REASON_TAG),
        int(restored) if restored else None,
    )
    if metrics:
        history.curve[kept_epoch(1, history.restored)] = metrics
    return history


def _curve(client: MlflowClient, run: Run) -> dict[int, dict[str, float]]:
    by_epoch: dict[int, dict[str, float]] = {}
    for name in _CURVES:
        for point in client.get_metric_history(run.info.run_id, name):
            by_epoch.setdefault(point.step, {})[name] = point.value
    return dict(sorted(by_epoch.items()))


def _summary(client: MlflowClient, parent: Run) -> JsonMapping | None:
    folder, _, _ = _SUMMARY.partition("/")
    if _SUMMARY not in [each.path for each in client.list_artifacts(parent.info.run_id, folder)]:
        return None
    os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] = "false"
    with tempfile.TemporaryDirectory() as place:
        text = Path(client.download_artifacts(parent.info.run_id, _SUMMARY, place)).read_text()
    fields: JsonMapping = json.loads(text)
    schema.check_version(fields.get(schema.KEY), schema.FINALS, f"{_SUMMARY} of {parent.info.run_name}")
    return fields


def _plain(text: str) -> float | str:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text
