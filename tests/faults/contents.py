"""What a study left behind, in a form that two runs of the same study share to the last bit, whatever store it has."""

from __future__ import annotations

import json
import re
import struct
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy

from regsearch.publish.notes import DESCRIPTION
from regsearch.system.databases import database_url

# They name a process, a run or a moment, so two runs of one study differ in them.
VOLATILE = {"regsearch.study_start", "mlflow.parentRunId", "mlflow.user"}
Row = Mapping[str, Any]


def answer(home: Path, name: str) -> dict[str, Any]:
    """The whole answer, without the seconds it took, the workers that it had, and its name."""
    found: dict[str, Any] = json.loads((home / "studies" / name / "answer.json").read_text())
    return {key: value for key, value in found.items() if key not in ("timing", "pack", "study")}


def openings(home: Path) -> list[dict[str, Any]]:
    """Every opening of the sealed test in the ledger, without its time."""
    lines = [json.loads(line) for file in (home / "ledger").glob("*.jsonl") for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in ("time", "study")} for line in lines]


@dataclass
class Contents:
    """What the MLflow store holds of a study.

    Args:
        runs: by kind and number (`trial 3`), metrics as bits.
        models: versions, aliases and the weights by checksum.
        files: names of each run's artifacts, where they are to be seen.
        description: what the experiment's page says.
        doubled, running: what is there twice, and what is RUNNING still, a few words each.
    """

    runs: dict[str, Any] = field(default_factory=dict)
    models: dict[str, Any] = field(default_factory=dict)
    files: dict[str, list[str]] = field(default_factory=dict)
    description: str = ""
    doubled: list[str] = field(default_factory=list)
    running: list[str] = field(default_factory=list)


def store(database: str, artifacts: Path, home: Path, name: str) -> Contents:
    """All that an MLflow store holds of a study.

    Args:
        database: the address of the tables, SQLite's or PostgreSQL's, not of a server before them.
        artifacts: the folder that `mlflow-artifacts:` stands for.
        home, name: of the study.
    """
    engine = sqlalchemy.create_engine(database_url(database, "database"))
    try:
        with engine.connect() as connection:
            return _Reader(connection, artifacts, home, name).read()
    finally:
        engine.dispose()


class _Reader:
    def __init__(self, connection: sqlalchemy.Connection, artifacts: Path, home: Path, name: str) -> None:
        self.connection, self.artifacts, self.name, self.found = connection, artifacts, name, Contents()
        self.begun = json.loads((home / "studies" / name / "study.json").read_text())["created_ms"]

    def rows(self, query: str, **values: Any) -> list[Row]:
        return list(self.connection.execute(sqlalchemy.text(query), values).mappings())

    def read(self) -> Contents:
        found = self.found
        experiments = self.rows("select * from experiments where name = :name", name=self.name)
        found.doubled += ["the experiment"] * (len(experiments) - 1)
        if not experiments:
            return found
        experiment = experiments[0]["experiment_id"]
        keys: dict[str, str] = {}
        of_study = "select * from runs where lifecycle_stage = 'active' and experiment_id = :experiment"
        for row in self.rows(f"{of_study} order by start_time, run_uuid", experiment=experiment):
            tags = self.pairs("tags", row["run_uuid"])
            key = f"{tags['regsearch.kind']} {tags.get('regsearch.trial', 0)}"
            found.doubled += [key] * (key in found.runs)
            found.running += [key] * (row["status"] == "RUNNING")
            keys[row["run_uuid"]] = key
            found.runs[key] = self.run(key, row, tags)
        for told in found.runs.values():
            told["tags"] = {tag: self.without_names(text, experiment, keys) for tag, text in told["tags"].items()}
        of_experiment = "select key, value from experiment_tags where experiment_id = :experiment order by key"
        for tag in self.rows(of_experiment, experiment=experiment):
            if tag["key"] == DESCRIPTION:
                found.description = self.without_names(tag["value"], experiment, keys)
        found.models = self.models(experiment, keys)
        found.files = self.files(experiments[0], keys)
        return found

    def pairs(self, table: str, run: str) -> dict[str, str]:
        rows = self.rows(f"select key, value from {table} where run_uuid = :run order by key", run=run)
        return {row["key"]: row["value"] for row in rows}

    def without_names(self, text: str, experiment: int, keys: dict[str, str]) -> str:
        """The text without what names this study, its experiment and its runs, as links do."""
        for run, key in keys.items():
            text = text.replace(run, key)
        text = text.replace(f"/experiments/{experiment}/", "/experiments/0/")
        return re.sub(rf"\b{re.escape(self.name)}\b", "the study", text)

    def run(self, key: str, row: Row, tags: dict[str, str]) -> dict[str, Any]:
        run = row["run_uuid"]
        curve = self.rows("select * from metrics where run_uuid = :run", run=run)
        steps = Counter((metric["key"], metric["step"]) for metric in curve)
        self.found.doubled += [f"{key}: {name} of epoch {step}" for (name, step), n in steps.items() if n > 1]
        latest = self.rows("select * from latest_metrics where run_uuid = :run", run=run)
        end = row["end_time"]
        return {
            "status": row["status"],
            "name": "the study" if row["name"] == self.name else row["name"],
            "time": (row["start_time"] - self.begun, None if end is None else end - self.begun),
            "tags": {name: text for name, text in tags.items() if name not in VOLATILE and text != self.name},
            "params": self.pairs("params", run),
            "metrics": dict(sorted(self.bits(metric) for metric in curve)),
            "latest": dict(sorted(self.bits(metric) for metric in latest)),
            "inputs": len(self.rows("select 1 from inputs where destination_id = :run", run=run)),
        }

    def bits(self, metric: Row) -> tuple[str, Any]:
        value = struct.pack("<d", metric["value"]).hex()
        return f"{metric['key']} {metric['step']}", (value, bool(metric["is_nan"]), metric["timestamp"] - self.begun)

    def models(self, experiment: int, keys: dict[str, str]) -> dict[str, Any]:
        """The registered versions, and the champion's weights by checksum."""
        of_study = "select * from logged_models where lifecycle_stage = 'active' and experiment_id = :experiment"
        logged = self.rows(of_study, experiment=experiment)
        versions = self.rows("select * from model_versions where name = :name", name=self.name)
        self.found.doubled += ["the logged model"] * (len(logged) - 1) + ["the version"] * (len(versions) - 1)
        if not logged or not versions:
            return {"logged": len(logged), "registered": len(versions)}
        place = str(logged[0]["artifact_location"]).replace("mlflow-artifacts:", str(self.artifacts))
        with zipfile.ZipFile(Path(place) / "artifacts" / "model.pt2") as package:
            sums = {each.filename: each.CRC for each in package.infolist() if "/data/weights/" in each.filename}
        aliases = self.rows("select * from registered_model_aliases where name = :name", name=self.name)
        return {
            "aliases": [(row["alias"], row["version"]) for row in aliases],
            "versions": [(row["version"], keys.get(row["run_id"])) for row in versions],
            "source": versions[0]["source"].endswith(logged[0]["model_id"]),
            "weights": sums,
        }

    def files(self, experiment: Row, keys: dict[str, str]) -> dict[str, list[str]]:
        """The names of each run's artifacts."""
        root = Path(str(experiment["artifact_location"]).replace("mlflow-artifacts:", str(self.artifacts)))
        folders = [path for path in root.iterdir() if path.name in keys] if root.is_dir() else []
        return {
            keys[path.name]: sorted(
                str(each.relative_to(path / "artifacts")) for each in (path / "artifacts").rglob("*") if each.is_file()
            )
            for path in folders
        }


def differences(ours: Any, theirs: Any, place: str = "") -> list[str]:
    """Where two forms differ, a few words each."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        found = []
        for key in [*ours, *(key for key in theirs if key not in ours)]:
            if key not in ours or key not in theirs:
                found.append(f"{place}/{key} is {'missing' if key in theirs else 'too much'}")
            else:
                found += differences(ours[key], theirs[key], f"{place}/{key}")
        return found
    return [] if ours == theirs else [f"{place} is {str(ours)[:80]}, undisturbed {str(theirs)[:80]}"]
