"""What a store was given of a study, as its outbox and the cursor beside it say. Standard library only."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from regsearch.tracking.log.cursor import read_cursor, read_refused
from regsearch.tracking.log.outbox import read_from
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
from regsearch.tracking.mlflow.changes import STUDY, RunKey

_RUNNING = "RUNNING"


@dataclass
class DeliveredRun:
    """Describes one run as a store was given it.

    Args:
        status: in MLflow's words.
        epoch: the last that was measured, 0 before the first.
    """

    status: str = _RUNNING
    epoch: int = 0


@dataclass
class Delivered:
    """Describes all that a store was given of a study.

    Args:
        runs: by kind and number, the parent run included.
        files: of each run and folder of artifacts, the names of those that lie here still.
        models: those whose package lies here still and was not written over by a later one.
    """

    runs: dict[RunKey, DeliveredRun] = field(default_factory=dict)
    files: dict[tuple[RunKey, str], set[str]] = field(default_factory=dict)
    models: list[Model] = field(default_factory=list)


def read_delivered(outbox: Path, until: int, refused: Collection[RunKey] = ()) -> Delivered:
    """Read what the first `until` bytes of the outbox hold.

    Args:
        refused: the runs, and `("artifact of study", 0)` and the like, that the store would never take.
    """
    delivered = Delivered()
    for record, end in read_from(outbox) if outbox.exists() else ():
        if end > until:
            break
        _add(delivered, record, refused)
    last = {model.folder: model for model in latest_models(outbox).values()}
    delivered.models = [
        model
        for model in delivered.models
        if last[model.folder] == model and Path(model.folder).exists() and _key(model) in delivered.runs
    ]
    return delivered


def latest_models(outbox: Path) -> Mapping[str, Model]:
    """Map the folder of each package to the model that was written there last: the earlier ones are no more."""
    return {record.folder: record for record, _ in read_from(outbox) if isinstance(record, Model)}


def delivered_runs(outbox: Path) -> set[RunKey]:
    """List the runs that a store was given by kind and number, the parent run included."""
    until = read_cursor(outbox)
    begun = [record for record, end in read_from(outbox) if end <= until] if until else []
    starts = {_key(record) for record in begun if isinstance(record, RunStart)}
    return starts | ({STUDY} if begun else set())


def lacks_runs(outbox: Path, runs: Collection[RunKey]) -> int:
    """Count the runs that a store was given and that are not among its `runs`."""
    return len(delivered_runs(outbox) - read_refused(outbox) - set(runs))


def missing_runs(given: Delivered, held: dict[RunKey, DeliveredRun]) -> set[RunKey]:
    """List the runs that a store was given and has not, or has as they were before: older than the cursor says."""
    return {key for key, run in given.runs.items() if key not in held or _older(held[key], run)}


def _older(held: DeliveredRun, given: DeliveredRun) -> bool:
    return held.epoch < given.epoch or (held.status != given.status and given.status != "RUNNING")


def _add(delivered: Delivered, record: Record, refused: Collection[RunKey]) -> None:
    key = STUDY if isinstance(record, StudyStart | StudyEnd) else _key(record)
    if isinstance(record, StudyStart | RunStart):
        if key not in refused:
            delivered.runs[key] = DeliveredRun()
    elif key not in delivered.runs or (f"{record.type} of {key[0]}", key[1]) in refused:
        return
    elif isinstance(record, Metrics):
        delivered.runs[key].epoch = max(delivered.runs[key].epoch, record.epoch)
    elif isinstance(record, RunEnd | StudyEnd):
        delivered.runs[key].status = MLFLOW_STATUS[record.status]
    elif isinstance(record, Artifact):
        if Path(record.path).exists():
            delivered.files.setdefault((key, record.artifact_path), set()).add(Path(record.path).name)
    elif isinstance(record, Model):
        delivered.models.append(record)


def _key(record: RunStart | Metrics | RunStages | RunEnd | Artifact | Note | Model) -> RunKey:
    return (record.kind, record.number)


__all__ = [
    "Delivered",
    "DeliveredRun",
    "delivered_runs",
    "lacks_runs",
    "latest_models",
    "missing_runs",
    "read_delivered",
]
