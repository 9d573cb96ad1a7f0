"""Where a study's turns are kept: Optuna's journal file beside the study, or a database that others read too."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from optuna.storages import BaseStorage
from optuna.study import Study

from regsearch.search.protocol import Clock


class Storage(Protocol):
    """What samplers and pruners work on, and its durable form.

    Nothing that is written to `optuna` is durable before `commit`; then all of it is, together with the clock, or, if
    the process ends in between, none of it.
    """

    @property
    def optuna(self) -> BaseStorage:
        """Optuna's storage, as of the last commit when it is opened."""
        ...

    def commit(self, study: Study, clock: Clock) -> None:
        """Make everything since the last commit durable, as the study's attribute the clock with it."""
        ...

    def keep(self) -> None:
        """Make durable elsewhere what else the study's folder has got, where the storage takes it along."""
        ...

    def close(self) -> None:
        """Release what is held, so that another process may go on."""
        ...


def open_storage(
    address: str | None, journal: Path, name: str, begun_ms: int, say: Callable[[str], None] = lambda line: None
) -> Storage:
    """Open the storage of a study.

    Args:
        address: of a database; None for the journal file.
        journal: the file.
        name, begun_ms: of the study, and when it began, which tells it from another one of its name.
        say: is told in a line that the database is away.

    Raises:
        UserError: the database cannot be used, or another process works on the study.
    """
    if address is None:
        from regsearch.search.journal import JournalFile

        return JournalFile(journal)
    from regsearch.search.database import DatabaseStorage

    return DatabaseStorage(address, name, begun_ms, say, journal.parent)
