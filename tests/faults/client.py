"""`python -m tests.faults.client ...` is `regsearch ...` with a history of what was acknowledged to it.

FAULTS_HISTORY names the folder of the history: `outbox` holds a line for each commit, with the bytes that are on disk
since; `ended` one for each trial that the search's storage has taken as ended. FAULTS_LEASE is the lease of workers.
"""

from __future__ import annotations

import base64
import functools
import json
import os
from pathlib import Path
from typing import Any


def keep(history: Path) -> None:
    """Have every acknowledgement of the outbox and of the search written down, after it was given."""
    from regsearch.search.optuna import OptunaSearch
    from regsearch.tracking.log.outbox import Outbox

    commit_outbox, commit_search = Outbox.commit, OptunaSearch.commit

    @functools.wraps(commit_outbox)
    def commit(self: Outbox) -> None:
        before = os.fstat(self._file).st_size
        commit_outbox(self)
        data = os.pread(self._file, os.fstat(self._file).st_size - before, before)
        if data:
            _note(history / "outbox", {"offset": before, "data": base64.b64encode(data).decode()})

    @functools.wraps(commit_search)
    def commit_turn(self: OptunaSearch, clock: Any) -> None:
        commit_search(self, clock)
        for trial in self.trials():
            if trial.state.ended and trial.number not in told:
                told.add(trial.number)
                _note(history / "ended", {"number": trial.number, "state": trial.state.value, "value": trial.value})

    told: set[int] = set()
    Outbox.commit = commit  # type: ignore[method-assign]
    OptunaSearch.commit = commit_turn  # type: ignore[method-assign]


def _note(file: Path, content: dict[str, Any]) -> None:
    with open(file, "a") as stream:
        stream.write("\n" + json.dumps(content) + "\n")  # what a kill tore before stays on a line of its own


def main() -> None:
    from regsearch.cli.app import main as regsearch

    if os.environ.get("FAULTS_LEASE"):
        from regsearch.executors.worker_pool import WorkerPool

        seconds = float(os.environ["FAULTS_LEASE"])
        WorkerPool.answer_within = lambda self: seconds  # type: ignore[method-assign]
    keep(Path(os.environ["FAULTS_HISTORY"]))
    regsearch()


if __name__ == "__main__":
    main()
