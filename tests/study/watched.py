"""A study in a process of its own, watched from outside: by its lines on standard error and by its files."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path

import psutil

from regsearch.tracking.cursor import read_cursor

ROOT = Path(__file__).parents[2]
NAME, TRIALS = "small", 24
# The winner stopped early and is not the baseline: a resumed study must remember which epoch a trial kept.
TEXT = """
name: small
data: {source: "sklearn:digits", split: {train: 96, validation: 96, test: 200}}
model: {name: mlp, hidden: [16]}
train: {epochs: 10, batch_size: 16, learning_rate: 4.0e-2}
space: {choose: one, from: [l1, l2, weight_decay], dropout: search, early_stopping: {patience: {low: 1, high: 3}}}
search: {trials: 24, parallel: 8, width: 2, workers: 1}
finalize: {top: 3, seeds: 3}
"""
LIMIT = 240.0


class Command:
    """`regsearch study ...` in a process of its own: its lines on standard error, when each phase began."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.folder, self.home, self.began = folder, folder / "mlruns", time.monotonic()
        self.lines: list[str] = []
        self.times: dict[str, float] = {}
        self.phase = ""
        (folder / "tmp").mkdir(parents=True, exist_ok=True)
        (folder / "small.yaml").write_text(TEXT)
        env = {**os.environ, "PYTHONPATH": str(ROOT), "REGSEARCH_HOME": str(self.home), "TMPDIR": str(folder / "tmp")}
        env.pop("MLFLOW_TRACKING_URI", None)
        command = [sys.executable, "-m", "regsearch.cli", "study", *words, "--json"]
        self.process = subprocess.Popen(
            command,
            cwd=folder,
            env=env,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,  # so that Ctrl-C reaches all of its group, as from a terminal, and nothing else
        )
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(line.rstrip("\n"))
            word = line.partition(":")[0]
            if word in ("sealing", "starting", "search", "finals", "registering", "delivering"):
                self.phase = word
                self.times.setdefault(word, time.monotonic())

    def wait(self, until: Callable[[], bool]) -> bool:
        """Wait until something is so; False if the process ended before."""
        while not until():
            if self.process.poll() is not None:
                return False
            time.sleep(0.002)
        return True

    def end(self) -> int:
        """Wait for the end, and give the exit code."""
        try:
            code = self.process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
            self.lines.append(f"took more than {LIMIT:.0f} s")
        self.reader.join(5)
        if self.process.stderr is not None and not self.reader.is_alive():
            self.process.stderr.close()
        return code

    def left(self) -> list[int]:
        """Processes of this study that outlive its driver by more than two seconds."""
        until = time.monotonic() + 2
        while found := [pid for pid in psutil.pids() if self._ours(pid)]:
            if time.monotonic() > until:
                return found
            time.sleep(0.02)
        return []

    def _ours(self, pid: int) -> bool:
        with suppress(psutil.Error, OSError):
            process = psutil.Process(pid)
            ours = process.environ().get("REGSEARCH_HOME") == str(self.home)
            return ours and process.status() != psutil.STATUS_ZOMBIE
        return False


class Place:
    """What can be told of a study from its files."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "mlruns"
        self.folder = self.home / "studies" / NAME
        self.database, self.outbox = self.home / "mlflow.db", self.folder / "outbox.jsonl"

    def begun(self) -> bool:
        return (self.folder / "study.json").exists()

    def making_store(self) -> bool:
        return (self.home / "mlflow.db.lock").exists() and not self.database.exists()

    def writing_store(self) -> bool:
        """A transaction of the store is under way; while MLflow's tables are made it is another file's."""
        return self.database.with_name("mlflow.db-journal").exists()

    def searching(self) -> bool:
        journal = self.folder / "search.journal"
        if not journal.exists() or not journal.stat().st_size:
            return False
        return self.outbox.read_text().count('"type":"run_end","kind":"trial"') < TRIALS

    def undelivered(self) -> bool:
        return self.database.exists() and self.outbox.exists() and read_cursor(self.outbox) < self.outbox.stat().st_size

    def registered(self) -> bool:
        if not self.database.exists():
            return False
        with closing(sqlite3.connect(self.database, timeout=20)) as database:
            return bool(database.execute("select count(*) from registered_model_aliases").fetchone()[0])

    def answered(self) -> bool:
        return (self.folder / "answer.json").exists()
