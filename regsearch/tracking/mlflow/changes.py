"""Records merged into what one delivery does to each run: fewer, larger requests. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from regsearch.tracking.log.history import StudyHistory
from regsearch.tracking.log.records import (
    MLFLOW_STATUS,
    Artifact,
    Metrics,
    Model,
    Note,
    Record,
    RunEnd,
    RunStages,
    RunStart,
    StudyEnd,
    StudyStart,
)

RunKey = tuple[str, int]
STUDY: RunKey = ("study", 0)
NOTES: RunKey = ("notes", 0)  # where `merge` keeps what is noted of the study
KIND_TAG, NUMBER_TAG = "regsearch.kind", "regsearch.trial"
REASON_TAG, START_TAG, DIGEST_TAG = "regsearch.reason", "regsearch.study_start", "regsearch.data_digest"
RESTORED_TAG, STAGES_TAG = "regsearch.restored_epoch", "regsearch.stages"
SOURCE_TAG = "regsearch.source"
MEASURED_TAG = "regsearch.measured"
"""Of a run that a population set back, which MLflow's latest metrics do not know: the metrics of the `last` epoch that
counts and of the epoch that it `kept`, as JSON."""
PARENT_TAG, NAME_TAG = "mlflow.parentRunId", "mlflow.runName"

# MLflow refuses longer values or cuts them, by kind; cutting here makes every lane write the same.
PARAM_LENGTH, TAG_LENGTH, EXPERIMENT_TAG_LENGTH = 6000, 8000, 20_000


@dataclass
class Change:
    """What one delivery does to one run: create it if `start` is there and it is not, then the rest.

    `notes` and `experiment` are tags of the run and of its experiment that may name other runs: they come last.
    """

    key: RunKey
    start: StudyStart | RunStart | None = None
    params: dict[str, str] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)
    experiment: dict[str, str] = field(default_factory=dict)
    metrics: list[Metrics] = field(default_factory=list)
    status: str | None = None
    end_ms: int | None = None


Step = list[Change] | Artifact | Model


def merge(records: Iterable[Record], history: StudyHistory | None = None) -> list[Step]:
    """Merge the records into steps in order; what happens to one run between two files is one change, notes another.

    Args:
        history: of the runs that had not ended before these records; it goes on with them.
    """
    history = StudyHistory() if history is None else history
    steps: list[Step] = []
    changes: dict[RunKey, Change] = {}
    for record in records:
        if isinstance(record, Artifact | Model):
            if changes:
                steps.append(list(changes.values()))
                changes = {}
            steps.append(record)
        elif isinstance(record, Note) and record.kind == "study":
            # After the runs that it may name.
            note = changes[NOTES] = changes.pop(NOTES, Change(STUDY))
            note.notes.update(_texts(record.tags, TAG_LENGTH))
            note.experiment.update(_texts(record.experiment, EXPERIMENT_TAG_LENGTH))
        else:
            key = STUDY if isinstance(record, StudyStart | StudyEnd) else (record.kind, record.number)
            change = changes.setdefault(key, Change(key))
            _apply(record, change)
            if isinstance(record, RunStart | Metrics | RunStages | RunEnd):
                change.tags.update(_measured(record, history))
    if changes:
        steps.append(list(changes.values()))
    return steps


def _apply(record: StudyStart | RunStart | Metrics | RunStages | RunEnd | Note | StudyEnd, change: Change) -> None:
    if isinstance(record, Metrics):
        change.metrics.append(record)
    elif isinstance(record, Note):
        change.tags.update(_texts(record.tags, TAG_LENGTH))
    elif isinstance(record, RunStages):
        change.tags.update(_texts({**record.tags, STAGES_TAG: json.dumps(list(record.stages))}, TAG_LENGTH))
    elif isinstance(record, StudyStart | RunStart):
        change.start = record
        change.params.update(_texts(record.params, PARAM_LENGTH))
        change.tags.update(_texts(record.tags, TAG_LENGTH))
        change.tags[KIND_TAG] = change.key[0]
        if isinstance(record, RunStart):
            change.tags[NUMBER_TAG] = str(record.number)
        else:
            change.tags[START_TAG] = str(record.time_ms)
            if record.dataset is not None:
                change.tags[DIGEST_TAG] = record.dataset.digest
    else:
        change.status = MLFLOW_STATUS[record.status]
        change.end_ms = None if record.status == "RUNNING" else record.time_ms
        if isinstance(record, RunEnd):
            if record.reason:
                change.tags[REASON_TAG] = record.reason[:TAG_LENGTH]
            if record.restored is not None:
                change.tags[RESTORED_TAG] = str(record.restored)


def unended(records: Iterable[Record]) -> StudyHistory:
    """Fold the records of a log into the runs that have not ended."""
    history = StudyHistory()
    for record in records:
        if isinstance(record, RunStart | Metrics | RunStages | RunEnd):
            _measured(record, history)
    return history


def _measured(record: RunStart | Metrics | RunStages | RunEnd, history: StudyHistory) -> dict[str, str]:
    """Take in a record of a run, and give the tag that says what counts of it: of one that was set back, else none."""
    if record.kind == "study":
        return {}
    history.apply(record)
    key = record.kind, record.number
    run = history.runs.pop(key) if isinstance(record, RunEnd) else history.runs[key]
    if not run.stages:
        return {}
    measured = {"last": run.curve.get(run.last_epoch, {}), "kept": run.kept()}
    return _texts({MEASURED_TAG: json.dumps(measured)}, TAG_LENGTH)


def _texts(values: Mapping[str, object], length: int) -> dict[str, str]:
    return {str(name): str(value)[:length] for name, value in values.items()}
