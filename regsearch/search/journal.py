"""Optuna's journal file, written a whole batch at a time.

The lines are those of `optuna.storages.journal.JournalFileBackend`, so Optuna and its dashboard read the file.
Nothing reaches the disk before `flush`, which writes and syncs the batch at once; a batch ends with the driver's
clock (a study attribute), and on opening everything behind the last clock is cut off. So the file holds whole turns,
whenever its writer was killed.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterable
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend

from regsearch.search.clock import CLOCK, check_journal, numbered, parse_turn, whole_turns
from regsearch.search.protocol import Clock
from regsearch.system.documents import damaged
from regsearch.system.files import JsonObject


class JournalFile:
    """Keeps a study's turns in the file at `path`; made where missing, cut back to its last whole turn.

    Raises:
        UserError: it is damaged, or a newer regsearch wrote it.
    """

    def __init__(self, path: Path) -> None:
        check_journal(path)
        self._backend = BatchJournal(path)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                self.optuna = JournalStorage(self._backend)
        except (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError) as error:
            raise damaged(path, f"Optuna cannot follow its steps ({type(error).__name__}: {error})") from None
        self._backend.cut()

    def commit(self, study: optuna.Study, clock: Clock) -> None:
        """Write what a turn changed and its clock in one go."""
        study.set_user_attr(CLOCK, numbered(clock))
        self._backend.flush()

    def keep(self) -> None:
        """Do nothing: the file stands in the study's folder."""

    def close(self) -> None:
        """Do nothing, since nothing is held."""


class BatchJournal(BaseJournalBackend):
    """A journal with one writer; the study's exclusive lock keeps others away.

    Args:
        path: the file, read up to its last clock; made where missing.

    Raises:
        DamagedFile: a line of it cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[str] = []
        whole = whole_turns(path)
        self._size = len(whole)
        self._logs = [parse_turn(line, path, number) for number, line in enumerate(whole.splitlines(), 1)]

    def cut(self) -> None:
        """Cut the file back to its last clock. Until then nothing is changed: a damaged journal stays as it is."""
        if self.path.exists() and self._size < self.path.stat().st_size:
            with open(self.path, "r+b") as file:
                file.truncate(self._size)
                os.fsync(file.fileno())

    def read_logs(self, log_number_from: int) -> Iterable[JsonObject]:
        """Read the logs from a number on."""
        return self._logs[log_number_from:]

    def append_logs(self, logs: list[JsonObject]) -> None:
        """Keep logs for the next commit."""
        for log in logs:
            line = json.dumps(log, separators=(",", ":"))
            self._pending.append(line)
            self._logs.append(json.loads(line))

    def flush(self) -> None:
        """Write what is pending and sync it to disk."""
        if not self._pending:
            return
        with open(self.path, "ab") as file:
            file.write(("\n".join(self._pending) + "\n").encode())
            file.flush()
            os.fsync(file.fileno())
        self._pending.clear()
