"""Gather what a study's page tells, from its folder or from an MLflow store, and write the page."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from regsearch.analysis.finals_summary import FinalsSummary
from regsearch.analysis.importance import Importance
from regsearch.config import StudyConfig
from regsearch.data import Manifest, Opened, opened, remarks
from regsearch.data.ledger import openings
from regsearch.pages import StudyRecord, study_page
from regsearch.space import Range
from regsearch.system import documents, schema
from regsearch.system.documents import concluded_anew
from regsearch.system.files import JsonMapping, JsonObject, unwritable, write_asked
from regsearch.tasks import TASKS
from regsearch.tracking.log.history import RunHistory, trials_frame
from regsearch.tracking.log.outbox import Outbox
from regsearch.tracking.log.records import Artifact
from regsearch.workspace.answer import Answer
from regsearch.workspace.folder import home
from regsearch.workspace.forms import check_versions, read_log
from regsearch.workspace.machine import recorded_machine
from regsearch.workspace.spec import StudySpec
from regsearch.workspace.stores import without_addresses

REPORT = "report.html"
_PACKAGES = ("regsearch", "optuna", "mlflow", "pandas")


def local_record(spec: StudySpec, *, sentence: str | None = None) -> StudyRecord:
    """Read what the folder of a study holds of it; one that has not ended tells how far it is.

    Args:
        sentence: the answer of a study that is just ending and has none on disk yet.
    """
    config, folder = spec.config, spec.folder
    answer = Answer.load(folder.answer) if folder.answer.exists() else None
    ended = sentence is not None or answer is not None
    manifest = Manifest.load(folder.data)
    runs = list(read_log(folder).runs.values())
    trials = trials_frame(runs)
    held = answer is not None and answer.finals is not None
    summary = _summary(folder.finals / "summary.json", held) if ended and config.finalize.seeds else None
    task = TASKS[manifest.task]
    higher = frozenset(f"{part}_{name}" for part in ("train", "val") for name in task.higher)
    known = opened(folder.ledger, manifest.test_digest)
    best = (answer and answer.best) or {}
    first = config.search.objectives[0]
    return StudyRecord(
        name=config.name,
        trials=trials,
        planned=config.search.trials,
        ended=ended,
        sentence=sentence or (answer.sentence if answer else _progress(config.name, trials, config.search.trials)),
        begun=_time(spec.created_ms),
        objectives=config.search.objectives,
        loss_words=task.loss_words,
        winner=summary.winner.number if summary else best.get("number", _best(trials, first, first in higher)),
        summary=summary,
        curves=_curves(runs, summary),
        opened=known.times + known.others,
        opened_words=str(known),
        openings=openings(folder.ledger, manifest.test_digest),
        data=_data(manifest),
        machine=_machine(recorded_machine(folder.path)),
        study_file=study_file(config),
        logs={of.name: of.log for of in spec.drawn_space(manifest).ranges() if isinstance(of, Range)},
        maximized=higher & set(config.search.objectives),
        front=_front(folder.finals / "front.json") if ended else (),
        importance=_importance(folder.finals / "importance.json") if ended else None,
        timing=answer.timing if answer else {},
    )


def stored_record(uri: str, name: str) -> StudyRecord:
    """Read what an MLflow store holds of a study, also one that ran elsewhere; ledger and machine stay where it ran.

    Raises:
        UserError: the store cannot be used, or has no such study.
    """
    from regsearch.tracking.mlflow.stored_study import ANSWER_TAG, read_study

    stored = read_study(uri, name)
    trials = trials_frame(stored.runs)
    summary = FinalsSummary.from_json(stored.summary) if stored.summary else None
    planned, times = int(stored.params.get("search.trials", 0)), int(stored.tags.get("regsearch.test_opened", 0))
    task = TASKS.get(stored.params.get("task", ""))
    shown = {"source": "data.source", "task": "task", "model": "model"}
    return StudyRecord(
        name=name,
        trials=trials,
        planned=planned,
        ended=stored.ended,
        sentence=stored.tags.get(ANSWER_TAG) or _progress(name, trials, planned),
        begun=_time(stored.begun_ms),
        loss_words=task.loss_words if task else "loss",
        winner=summary.winner.number if summary else _best(trials, "val_loss"),
        summary=summary,
        curves=_curves(stored.runs, summary),
        opened=times,
        opened_words=str(Opened(times)),
        data={name: stored.params[key] for name, key in shown.items() if key in stored.params},
    )


def write_page(record: StudyRecord, path: Path, option: str | None = None) -> Path:
    """Write the page of a record; where it is.

    Args:
        option: that named the place; None for the usual one.

    Raises:
        UserError: it cannot be written there.
    """
    write_asked(path, study_page(record), option)
    return path


def add_report(spec: StudySpec, outbox: Outbox, sentence: str, say: Callable[[str], None]) -> None:
    """Write the page of a study that is just ending into its folder, and log it with the parent run.

    A page that cannot be made costs the study nothing: `say` is told, and `study report` makes it later.
    """
    outbox.commit()
    out = spec.folder.finals / REPORT
    try:
        out.parent.mkdir(exist_ok=True)
        write_page(local_record(spec, sentence=sentence), out)
        outbox.append(Artifact("study", 0, str(out), "report"))
    except Exception as error:
        again = f"`regsearch study report {spec.name}` tries again"
        say(f"there is no report, {type(error).__name__}: {error}; {again}")


def report_study(name: str, out: Path | None, tracking_uri: str | None) -> Path:
    """Write the page of a study that ran here, or of one in an MLflow store; where it is.

    Raises:
        UserError: there is no such study, or the page cannot be written.
    """
    from regsearch.tracking.mlflow.store import tracking_uri as address

    if tracking_uri is None:
        spec = StudySpec.open(name)
        check_versions(spec.folder)
        record = local_record(spec)
        if out is not None:
            return write_page(record, out, "--out")
        try:
            spec.folder.finals.mkdir(exist_ok=True)
        except OSError as error:
            raise unwritable(spec.folder.path, error) from None
        return write_page(record, spec.folder.finals / REPORT)
    return write_page(stored_record(address(tracking_uri, home()), name), out or Path(f"{name}.html"), "--out")


def study_file(config: StudyConfig) -> str:
    """Render the study as a file that `study start` takes, its stores left out: every key with a value, defaults too.

    >>> text = "name: small\\ndata: {source: 'sklearn:iris'}\\nmodel: {name: mlp}"
    >>> study_file(StudyConfig.model_validate(yaml.safe_load(text))).splitlines()[0]
    'name: small'
    """
    sections = json.loads(without_addresses(config).to_json())
    sections.pop("folder")
    model = sections["model"]
    sections["model"] = {**{key: model[key] for key in ("name", "factory")}, **model["options"]}
    if config.data.split.kind == "column":
        for part in ("train", "validation", "test"):
            del sections["data"]["split"][part]
    return yaml.safe_dump(_given(sections), sort_keys=False, allow_unicode=True, width=100)


def _given(section: object) -> object:
    """Without the keys that hold nothing, which is what they say when they are left out."""
    if not isinstance(section, dict):
        return section
    given = {key: _given(value) for key, value in section.items() if value is not None}
    return {key: value for key, value in given.items() if value != {}}


def _progress(name: str, trials: pd.DataFrame, planned: int) -> str:
    ended = 0 if trials.empty else int(trials["state"].isin(("COMPLETE", "PRUNED", "FAIL")).sum())
    of = f" of {planned:,}" if planned else ""
    return f"No answer yet: {ended:,}{of} trials have ended; `regsearch study resume {name}` goes on."


def _best(trials: pd.DataFrame, objective: str, highest: bool = False) -> int | None:
    """The number of the complete trial of lowest objective, or `highest`, where there is one."""
    if trials.empty or objective not in trials:
        return None
    complete = trials[(trials["state"] == "COMPLETE") & trials[objective].notna()]
    ordered = complete.sort_values(objective, ascending=not highest, kind="stable")
    return None if ordered.empty else int(ordered["number"].iloc[0])


def _curves(runs: Sequence[RunHistory], summary: FinalsSummary | None) -> dict[str, JsonObject]:
    """Losses [S, E] of the finals of winner and baseline, NaN after an early end."""
    if summary is None:
        return {}
    curves = {}
    for who, number in (("winner", summary.winner.number), ("baseline", summary.baseline.number)):
        finals = [run for run in runs if _measured(run, number)]
        epochs = max((max(run.curve) for run in finals), default=0)
        if epochs:
            curves[who] = {
                name: np.array(
                    [[run.curve.get(e, {}).get(name, np.nan) for e in range(1, epochs + 1)] for run in finals]
                )
                for name in ("train_loss", "val_loss")
            }
    return curves


def _measured(run: RunHistory, number: int) -> bool:
    """Whether it is a final of this candidate on the study's own cut: other cuts and the refit say what they are."""
    other = {"split", "epochs"} & run.params.keys()
    return run.kind == "final" and run.params.get("candidate") == number and bool(run.curve) and not other


def _summary(file: Path, held: bool) -> FinalsSummary | None:
    """The summary of finals.

    Args:
        held: the answer says that there were some.
    """
    fields = _concluded(file, needed=held)
    return None if fields is None else FinalsSummary.from_json(fields, file, concluded_anew(file))


def _importance(file: Path) -> Importance | None:
    fields = _concluded(file)
    return None if fields is None else Importance.from_json(fields, file, concluded_anew(file))


@dataclass(frozen=True)
class _Row:
    number: int


@dataclass(frozen=True)
class _FrontForm:
    front: list[_Row]


def _front(file: Path) -> tuple[int, ...]:
    """The numbers of the trials on the front; none where the study has a single objective."""
    fields = _concluded(file, _FrontForm)
    return () if fields is None else tuple(row["number"] for row in fields["front"])


def _concluded(file: Path, shape: object = None, needed: bool = False) -> JsonObject | None:
    """A file of what a study concluded; None where there is none and none is needed."""
    if not (needed or file.exists()):
        return None
    return documents.read_object(file, schema.FINALS, concluded_anew(file), shape)


def _data(manifest: Manifest) -> dict[str, str]:
    sizes = ", ".join(f"{manifest.sizes[part]:,} {part}" for part in ("train", "validation", "test"))
    return {
        "source": manifest.source,
        "task": manifest.task.replace("_", " "),
        "target": str(manifest.target or ""),
        "rows": sizes,
        "shape of a row": " × ".join(str(size) for size in manifest.inputs),
        **remarks(manifest),
        "digest of the split": manifest.digest,
        "digest of the test": manifest.test_digest,
    }


def _machine(known: JsonMapping) -> dict[str, str]:
    words = {"width": "pack width", "compiled": "compiled"}
    shown = {words.get(name, name): {True: "yes", False: "no"}.get(value, str(value)) for name, value in known.items()}
    for package in _PACKAGES:
        try:
            shown.setdefault(f"{package}, of this page", version(package))
        except PackageNotFoundError:
            continue
    return shown


def _time(ms: int | None) -> str:
    return "" if ms is None else f"{datetime.fromtimestamp(ms / 1000, tz=UTC):%Y-%m-%d %H:%M} UTC"
