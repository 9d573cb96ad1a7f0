"""What a study tells its tracker: records, and the small protocol that takes them. Standard library only."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, Protocol, get_args

from regsearch.errors import UserError
from regsearch.system import schema
from regsearch.system.files import JsonMapping, JsonObject
from regsearch.trial import TrialState

RunKind = Literal["trial", "final"]
Owner = Literal["study", "trial", "final"]
EndStatus = Literal["COMPLETE", "PRUNED", "FAIL"]
END_STATUS: Mapping[TrialState, EndStatus] = {
    TrialState.COMPLETE: "COMPLETE",
    TrialState.PRUNED: "PRUNED",
    TrialState.FAIL: "FAIL",
}
"""How a trial that ended in a state is recorded."""
StudyState = Literal["RUNNING", "COMPLETE", "INTERRUPTED", "FAIL"]

# The tracker's word for each end: the contract between Optuna's states and MLflow's.
MLFLOW_STATUS: Mapping[str, str] = {
    "RUNNING": "RUNNING",
    "COMPLETE": "FINISHED",
    "PRUNED": "KILLED",
    "INTERRUPTED": "KILLED",
    "FAIL": "FAILED",
}


@dataclass(frozen=True, slots=True)
class Dataset:
    """The data a study learns from; `digest` is that of the split, `rows` counts training rows."""

    name: str
    source: str
    digest: str
    rows: int
    features: int


@dataclass(frozen=True, slots=True)
class StudyStart:
    """The study begins; `time_ms` (milliseconds since 1970) also tells two studies of one name apart."""

    type: ClassVar[str] = "study_start"
    name: str
    params: JsonMapping
    tags: Mapping[str, str]
    time_ms: int
    dataset: Dataset | None = None


@dataclass(frozen=True, slots=True)
class RunStart:
    """A trial or final begins. `name` is shown in the UI (`trial-017`)."""

    type: ClassVar[str] = "run_start"
    kind: RunKind
    number: int
    name: str
    params: JsonMapping
    tags: Mapping[str, str]
    time_ms: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """What one run (or the study itself, with number 0) measured at `epoch`, by metric name."""

    type: ClassVar[str] = "metrics"
    kind: Owner
    number: int
    epoch: int
    values: Mapping[str, float]
    time_ms: int


@dataclass(frozen=True, slots=True)
class RunStages:
    """A population changed what a trial trains with: its stages as JSON, see `regsearch.trial.Stage`, and changed tags.

    What the trial measured beyond the epoch of the last stage is void: it measures those epochs anew.
    """

    type: ClassVar[str] = "run_stages"
    kind: RunKind
    number: int
    stages: Sequence[JsonMapping]
    tags: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """A trial or final ended; `reason` says why where the status alone does not.

    `restored` is the epoch whose weights it kept, None for the last.
    """

    type: ClassVar[str] = "run_end"
    kind: RunKind
    number: int
    status: EndStatus
    reason: str | None
    time_ms: int
    restored: int | None = None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A local file to keep with a run under `artifact_path`; it must stay in place until it is delivered."""

    type: ClassVar[str] = "artifact"
    kind: Owner
    number: int
    path: str
    artifact_path: str = ""
    stamp: int = 0


@dataclass(frozen=True, slots=True)
class Note:
    """Tags of a run, by default the parent, and of the `experiment`, that change as the study goes on.

    `mlflow.note.content` is a description in Markdown. In the values of parent and experiment `{experiment}` stands for
    MLflow's number of the experiment, `{run:study:0}` and `{run:trial:17}` for the id of a run: only who delivers them
    knows these.
    """

    type: ClassVar[str] = "note"
    tags: Mapping[str, str]
    kind: Owner = "study"
    number: int = 0
    experiment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Model:
    """A packaged model to log with the run it came from and to register as `name` with `alias`.

    `folder` holds `model.pt2`, `manifest.json`, `columns.py` and `example.json`, sealed by
    `regsearch.tracking.mlflow.package.seal`, until it is delivered. With `name` empty the model is logged but not
    registered.
    """

    type: ClassVar[str] = "model"
    folder: str
    name: str
    alias: str
    kind: RunKind
    number: int
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class StudyEnd:
    """The study came to rest in `status`; a resumed study says RUNNING first and ends again."""

    type: ClassVar[str] = "study_end"
    status: StudyState
    time_ms: int


Record = StudyStart | RunStart | Metrics | RunStages | RunEnd | Artifact | Note | Model | StudyEnd
RECORDS: Mapping[str, type] = {
    kind.type: kind for kind in (StudyStart, RunStart, Metrics, RunStages, RunEnd, Artifact, Note, Model, StudyEnd)
}

FIELDS: Mapping[str, tuple[str, ...]] = {
    name: tuple(field.name for field in dataclasses.fields(kind)) for name, kind in RECORDS.items()
}


_TYPES: Mapping[str, tuple[type, ...]] = {
    **dict.fromkeys(("kind", "name", "status", "path", "artifact_path", "folder", "alias"), (str,)),
    **dict.fromkeys(("number", "epoch", "time_ms", "stamp"), (int,)),
    **dict.fromkeys(("params", "tags", "values", "experiment"), (dict,)),
    "dataset": (dict, type(None)),
    "stages": (list,),
    "reason": (str, type(None)),
    "restored": (int, type(None)),
}
"""What stands in JSON for a field of a record, by its name."""
_NUMBERS = frozenset({int, float})
_OWNERS, _ENDS, _STATES = (frozenset(get_args(words)) for words in (Owner, EndStatus, StudyState))


class Tracker(Protocol):
    """Takes a study's records in order."""

    def append(self, record: Record) -> bool:
        """Take one record; False where it was known already (a resumed study repeats itself)."""
        ...

    def commit(self) -> None:
        """Make everything appended so far survive a kill: only then may anyone be told of it."""
        ...


def to_json(record: Record) -> JsonObject:
    """Encode the record as a JSON object, its type under `type`."""
    fields: JsonObject = {"type": record.type}
    fields.update((name, getattr(record, name)) for name in FIELDS[record.type])
    if isinstance(record, StudyStart) and record.dataset is not None:
        fields["dataset"] = dataclasses.asdict(record.dataset)
    return fields


def from_json(fields: JsonObject, file: str | Path | None = None) -> Record:
    """Read the record that `to_json` wrote; a field that it does not write is refused.

    Args:
        fields: the object; one that says a number of its form, under `schema`, says it of all that follow too.
        file: it stands in, named in what is refused.

    Raises:
        UserError: it has an unknown field, or a newer regsearch wrote it.
        ValueError: the object is no record.
    """
    if isinstance(fields, dict) and schema.KEY in fields:
        schema.check_version(fields[schema.KEY], schema.LOG, file)
    if not isinstance(fields, dict) or str(fields.get("type")) not in RECORDS:
        raise ValueError("not a record of the outbox: it says no type that is known")
    try:
        make: Callable[..., Record] = RECORDS[fields["type"]]
        known = {name: fields[name] for name in FIELDS[fields["type"]] if name in fields}
        if len(known) + 1 < len(fields):
            schema.check_fields(fields, ("type", *FIELDS[fields["type"]]), file, fields["type"])
        _check_types(fields["type"], known)
        if isinstance(known.get("dataset"), dict):
            known["dataset"] = Dataset(**known["dataset"])
        return make(**known)
    except UserError:
        raise
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(f"not a record of the outbox: {error!r}") from error


def _check_types(kind: str, known: JsonMapping) -> None:
    """Refuse a field that holds what no version writes there: whoever folds the records relies on it."""
    for name, value in known.items():
        if not isinstance(value, _TYPES[name]):
            raise ValueError(f"not a record of the outbox: {name} cannot be {value!r}")
    if known.get("kind", "study") not in _OWNERS:
        raise ValueError(f"not a record of the outbox: kind cannot be {known['kind']!r}")
    if "status" in known and known["status"] not in (_STATES if kind == StudyEnd.type else _ENDS):
        raise ValueError(f"not a record of the outbox: status cannot be {known['status']!r}")
    values = known.get("values", {})
    if not _NUMBERS.issuperset(map(type, values.values())):
        name = next(name for name, value in values.items() if type(value) not in _NUMBERS)
        raise ValueError(f"not a record of the outbox: values.{name} cannot be {values[name]!r}")


__all__ = [
    "MLFLOW_STATUS",
    "Artifact",
    "Dataset",
    "Metrics",
    "Model",
    "Note",
    "Record",
    "RunEnd",
    "RunStages",
    "RunStart",
    "StudyEnd",
    "StudyStart",
    "Tracker",
    "from_json",
    "to_json",
]
