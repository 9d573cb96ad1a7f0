"""A study in a process of its own, watched from outside: by its lines on standard error and by its files."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil

from regsearch.tracking.log.cursor import read_cursor
from tests.faults.setups import Setup

ROOT = Path(__file__).parents[2]
LIMIT = 900.0
PHASES = ("sealing", "checking", "starting", "search", "finals", "registering", "delivering")
OBEYED = ("MLFLOW_TRACKING_URI", "REGSEARCH_HOME")


class Command:
    """`regsearch study ...` in a process of its own: its lines on standard error, when each phase began.

    Args:
        folder: where it works; its home is `mlruns` there, its history `history`.
        setup: what is studied.
        words: what stands behind `regsearch study`.
        env: more of its environment.
    """

    def __init__(self, folder: Path, setup: Setup, *words: str, env: dict[str, str] | None = None) -> None:
        self.folder, self.home, self.began = folder, folder / "mlruns", time.monotonic()
        self.lines: list[str] = []
        self.times: dict[str, float] = {}
        self.phase = ""
        self.code: int | None = None
        for name in ("tmp", "history"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        # By a short way: the server that processes are forked from listens on a file there.
        self.short = Path(tempfile.mkdtemp(prefix="faults-"))
        (self.short / "tmp").symlink_to(folder / "tmp")
        own = {"PYTHONPATH": str(ROOT), "REGSEARCH_HOME": str(self.home), "TMPDIR": str(self.short / "tmp")}
        own["FAULTS_HISTORY"] = str(folder / "history")
        own["FAULTS_LEASE"] = str(setup.lease or "")
        kept = {name: text for name, text in os.environ.items() if name not in OBEYED}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.client", "study", *words, *setup.options, "--json"],
            cwd=folder,
            env={**kept, **own, **(env or {})},
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
            if word in PHASES:
                self.phase = word
                self.times.setdefault(word, time.monotonic())

    def running(self) -> bool:
        return self.process.poll() is None

    def wait(self, until: Callable[[], bool]) -> bool:
        """Wait until something is so; False if the process ended before, or is late."""
        while not until():
            if not self.running() or time.monotonic() > self.began + LIMIT:
                return False
            time.sleep(0.002)
        return True

    def end(self) -> int:
        """Wait for the end, and give the exit code."""
        try:
            code = self.process.wait(max(1.0, self.began + LIMIT - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            code = self.process.wait()
            self.lines.append(f"took more than {LIMIT:.0f} s")
        self.reader.join(5)
        if self.process.stderr is not None and not self.reader.is_alive():
            self.process.stderr.close()
        self.code = code
        shutil.rmtree(self.short, ignore_errors=True)
        return code

    def workers(self) -> list[psutil.Process]:
        """Its pack workers on this machine, forked from its server."""
        return [each for each in self._forked() if each.name() == "regs-worker"]

    def writer(self) -> psutil.Process | None:
        return next((each for each in self._forked() if each.name() == "regs-writer"), None)

    def _forked(self) -> list[psutil.Process]:
        with suppress(psutil.Error):
            return psutil.Process(self.process.pid).children(recursive=True)
        return []

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

    def __init__(self, folder: Path, name: str, trials: int) -> None:
        self.home, self.trials = folder / "mlruns", trials
        self.folder = self.home / "studies" / name
        self.database, self.outbox = self.home / "mlflow.db", self.folder / "outbox.jsonl"
        self.journal = self.folder / "search.journal"

    def begun(self) -> bool:
        return (self.folder / "study.json").exists()

    def making_store(self) -> bool:
        return (self.home / "mlflow.db.lock").exists() and not self.database.exists()

    def writing_store(self) -> bool:
        """A transaction of the store is under way; while MLflow's tables are made it is another file's."""
        return self.database.with_name("mlflow.db-journal").exists()

    def searching(self) -> bool:
        """The first turn is on disk, and the last is not."""
        if not self.outbox.exists():
            return False
        told = self.outbox.read_text()
        return '"type":"metrics"' in told and told.count('"type":"run_end","kind":"trial"') < self.trials

    def undelivered(self) -> bool:
        return self.outbox.exists() and read_cursor(self.outbox) < self.outbox.stat().st_size

    def answered(self) -> bool:
        return (self.folder / "answer.json").exists()
