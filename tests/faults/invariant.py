"""The invariant: nothing acknowledged is lost, exactly N trials ended, none twice, none RUNNING, the same answer."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from regsearch.system.databases import database_url
from regsearch.tracking.log.outbox import read_from
from regsearch.tracking.log.records import MLFLOW_STATUS, Metrics, RunEnd, RunStart
from tests.faults import contents
from tests.faults.contents import Contents, differences
from tests.faults.setups import Setup


@dataclass
class Ended:
    """A study that came to its end, read from outside."""

    folder: Path
    setup: Setup
    name: str
    answer: dict[str, Any]
    store: Contents
    trials: dict[int, tuple[str, float | None]]

    @property
    def home(self) -> Path:
        return self.folder / "mlruns"


def read(
    folder: Path, setup: Setup, name: str, database: str | None = None, artifacts: Path | None = None, search: str = ""
) -> Ended:
    """Read what a study left in its stores: those of its home, where no other is named.

    Args:
        database, artifacts: as of `contents.store`.
        search: the address of the Optuna storage.
    """
    home = folder / "mlruns"
    store = contents.store(database or f"sqlite:///{home / 'mlflow.db'}", artifacts or home / "artifacts", home, name)
    return Ended(folder, setup, name, contents.answer(home, name), store, _trials(home, name, search))


def _trials(home: Path, name: str, search: str) -> dict[int, tuple[str, float | None]]:
    """State and value of each trial, as Optuna itself reads them."""
    import warnings

    import optuna
    from optuna.storages import BaseStorage, JournalStorage, RDBStorage
    from optuna.storages.journal import JournalFileBackend

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        journal = str(home / "studies" / name / "search.journal")
        storage: BaseStorage = RDBStorage(_address(search)) if search else JournalStorage(JournalFileBackend(journal))
    study = optuna.load_study(study_name=name, storage=storage)
    return {
        trial.number: (trial.state.name, trial.values[0] if trial.values else None)
        for trial in study.get_trials(deepcopy=False)
    }


def _address(search: str) -> str:
    return database_url(search, "search.storage").render_as_string(hide_password=False)


@dataclass
class Verdict:
    """What of the invariant does not hold of one study."""

    lost: list[str] = field(default_factory=list)
    doubled: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)
    other: list[str] = field(default_factory=list)
    equal: bool = False

    def told(self) -> list[str]:
        parts = {"lost": self.lost, "doubled": self.doubled, "running": self.running}
        return [f"{word}: {each}" for word, all_of in parts.items() for each in all_of[:5]] + self.other[:20]


def judge(study: Ended, peace: Ended, fail: bool = False) -> Verdict:
    """Hold a study against the undisturbed run.

    Args:
        fail: trials may have failed that did not in peace; they alone may differ.
    """
    failed = {number for number, (state, _) in study.trials.items() if state == "FAIL"} if fail else set()
    verdict = Verdict(_lost(study), study.store.doubled, study.store.running)
    verdict.running += [f"Optuna's trial {n}" for n, (state, _) in study.trials.items() if state == "RUNNING"]
    numbers = sorted(study.trials)
    if numbers != list(range(study.setup.trials)):
        verdict.other.append(f"trials {numbers} instead of {study.setup.trials}")
    told = {key: study.answer["best"] for key in ("best",)} if fail else study.answer
    verdict.other += differences(told, {key: peace.answer[key] for key in told}, "answer")
    verdict.equal = not verdict.other
    ours, theirs = (_compared(each, failed, timeless=fail) for each in (study, peace))
    verdict.other += differences(ours, theirs, "store")
    return verdict


def _timeless(run: dict[str, Any]) -> dict[str, Any]:
    """A run but for the logical clock: trials begin earlier where others fail and free their lanes."""
    curves = {name: {step: bits[:2] for step, bits in run[name].items()} for name in ("metrics", "latest")}
    return {key: value for key, value in run.items() if key != "time"} | curves


def _compared(study: Ended, failed: set[int], timeless: bool) -> dict[str, Any]:
    """What must be the same in the stores; with failed trials the study's own words about them differ."""
    store = study.store
    left_out = {f"trial {number}" for number in failed} | ({"study 0"} if failed else set())
    runs = {key: run for key, run in store.runs.items() if key not in left_out}
    if timeless:
        runs = {key: _timeless(run) for key, run in runs.items()}
    trials = {str(number): each for number, each in study.trials.items() if number not in failed}
    told = {} if failed else {"description": store.description}
    return told | {"runs": runs, "models": store.models, "files": store.files, "optuna": trials}


def _lost(study: Ended) -> list[str]:
    """What was acknowledged and is not there: in the outbox, in the search's storage, in the MLflow store."""
    lost = []
    outbox = study.home / "studies" / study.name / "outbox.jsonl"
    whole = outbox.read_bytes()
    for note in _history(study.folder / "history" / "outbox"):
        data, start = base64.b64decode(note["data"]), note["offset"]
        if whole[start : start + len(data)] != data:
            lost.append(f"a commit of {len(data)} bytes at {start} of the outbox")
    for note in _history(study.folder / "history" / "ended"):
        found = study.trials.get(note["number"])
        if found is None or found[0] != note["state"]:
            lost.append(f"trial {note['number']} had ended {note['state']} and is {found}")
    for record, _ in read_from(outbox):
        if isinstance(record, RunStart | Metrics | RunEnd):
            lost += _missing(record, study.store.runs.get(f"{record.kind} {record.number}"))
    return lost


def _history(file: Path) -> Iterator[dict[str, Any]]:
    """The notes of a history; its client was killed now and then, and a torn one was not acknowledged to anyone."""
    lines = file.read_text().split("\n")[:-1] if file.exists() else []
    for line in lines:
        if line.startswith("{") and line.endswith("}"):
            yield json.loads(line)


def _missing(record: RunStart | Metrics | RunEnd, run: dict[str, Any] | None) -> list[str]:
    key = f"{record.kind} {record.number}"
    if run is None:
        return [f"{key} of the outbox is not in the store"]
    if isinstance(record, RunEnd):
        return [] if run["status"] == MLFLOW_STATUS[record.status] else [f"{key} ended {record.status}"]
    if isinstance(record, RunStart):
        gone = [name for name, value in record.params.items() if run["params"].get(name) != str(value)]
        return [f"{key}: {name}" for name in gone]
    # Compared as numbers: SQL knows no negative zero.
    stored = {name: run["metrics"].get(f"{name} {record.epoch}", ("",))[0] for name in record.values}
    there = {name: struct.unpack("<d", bytes.fromhex(bits))[0] for name, bits in stored.items() if bits}
    return [f"{key}: {name} of epoch {record.epoch}" for name, v in record.values.items() if there.get(name) != v]
