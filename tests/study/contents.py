"""What a study left behind, in a form that two runs of the same study share to the last bit."""

from __future__ import annotations

import json
import sqlite3
import struct
import zipfile
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

# They name a process, a run or a moment, so two runs of one study differ in them.
VOLATILE = {"regsearch.study_start", "mlflow.parentRunId", "mlflow.user"}


def answer(home: Path, name: str) -> dict[str, Any]:
    """The whole answer, without the seconds it took."""
    found: dict[str, Any] = json.loads((home / "studies" / name / "answer.json").read_text())
    return {key: value for key, value in found.items() if key != "timing"}


def openings(home: Path) -> list[dict[str, Any]]:
    """Every opening of the sealed test in the ledger, without its time."""
    lines = [json.loads(line) for file in (home / "ledger").glob("*.jsonl") for line in file.read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "time"} for line in lines]


def store(home: Path, name: str) -> dict[str, Any]:
    """All that the MLflow store holds of a study: runs by kind and number, metrics as bits, models, files.

    Raises:
        AssertionError: something is there twice, is missing, or still runs.
    """
    with closing(sqlite3.connect(home / "mlflow.db")) as database:
        database.row_factory = sqlite3.Row
        return _Reader(database, home, name).read()


class _Reader:
    def __init__(self, database: sqlite3.Connection, home: Path, name: str) -> None:
        self.database, self.home, self.name = database, home, name
        self.begun = json.loads((home / "studies" / name / "study.json").read_text())["created_ms"]

    def rows(self, query: str, *values: Any) -> list[sqlite3.Row]:
        return self.database.execute(query, values).fetchall()

    def read(self) -> dict[str, Any]:
        experiments = [row["name"] for row in self.rows("select name from experiments where name != 'Default'")]
        assert experiments == [self.name], f"experiments {experiments}"
        keys: dict[str, str] = {}
        runs: dict[str, Any] = {}
        for row in self.rows("select * from runs where lifecycle_stage = 'active'"):
            tags = dict(self.rows("select key, value from tags where run_uuid = ?", row["run_uuid"]))  # type: ignore[arg-type]
            key = f"{tags['regsearch.kind']} {tags.get('regsearch.trial', 0)}"
            assert key not in runs, f"{key} stands twice"
            assert row["status"] != "RUNNING", f"{key} is RUNNING for ever"
            keys[row["run_uuid"]] = key
            runs[key] = self.run(row, tags)
        return {"runs": runs, "models": self.models(keys), "files": self.files(keys)}

    def run(self, row: sqlite3.Row, tags: dict[str, str]) -> dict[str, Any]:
        run = row["run_uuid"]
        curve = self.rows("select * from metrics where run_uuid = ?", run)
        steps = Counter((metric["key"], metric["step"]) for metric in curve)
        assert max(steps.values(), default=1) == 1, f"twice in {tags['regsearch.kind']}: {steps.most_common(1)}"
        latest = self.rows("select * from latest_metrics where run_uuid = ?", run)
        return {
            "status": row["status"],
            "name": row["name"],
            "time": (row["start_time"] - self.begun, row["end_time"] - self.begun),
            "tags": {key: value for key, value in tags.items() if key not in VOLATILE},
            "params": dict(sorted(map(tuple, self.rows("select key, value from params where run_uuid = ?", run)))),
            "metrics": dict(sorted(self.bits(metric) for metric in curve)),
            "latest": dict(sorted(self.bits(metric) for metric in latest)),
            "inputs": len(self.rows("select 1 from inputs where destination_id = ?", run)),
        }

    def bits(self, metric: sqlite3.Row) -> tuple[str, Any]:
        value = struct.pack("<d", metric["value"]).hex()
        return f"{metric['key']} {metric['step']}", (value, metric["is_nan"], metric["timestamp"] - self.begun)

    def models(self, keys: dict[str, str]) -> dict[str, Any]:
        """The registered versions, and the champion's weights by checksum."""
        logged = self.rows("select * from logged_models where lifecycle_stage = 'active'")
        versions = self.rows("select * from model_versions")
        names = [row["name"] for row in self.rows("select name from registered_models")]
        assert len(logged) == len(versions) == 1, f"{len(logged)} models logged, {len(versions)} registered"
        weights = Path(logged[0]["artifact_location"]) / "artifacts" / "model.pt2"
        with zipfile.ZipFile(weights) as package:
            sums = {each.filename: each.CRC for each in package.infolist() if "/data/weights/" in each.filename}
        return {
            "names": names,
            "aliases": list(map(tuple, self.rows("select name, alias, version from registered_model_aliases"))),
            "versions": [(row["name"], row["version"], keys[row["run_id"]]) for row in versions],
            "source": versions[0]["source"].endswith(logged[0]["model_id"]),
            "weights": sums,
        }

    def files(self, keys: dict[str, str]) -> dict[str, list[str]]:
        """The names of each run's artifacts."""
        root = self.home / "artifacts" / self.name
        folders = {path.name: path / "artifacts" for path in root.iterdir() if path.name != "models"}
        unknown = set(folders) - set(keys)
        assert not unknown, f"artifacts of no run: {unknown}"
        return {
            keys[run]: sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
            for run, folder in folders.items()
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
