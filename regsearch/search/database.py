"""A study in a database, by Optuna's own `RDBStorage`: Optuna users and its dashboard read it there.

Samplers and pruners work on a copy in memory. `commit` writes what a turn changed in ONE transaction, the driver's
clock with it, so the database holds whole turns, whenever the driver was killed. Each commit exchanges the mark of the
one before for its own: a process that another one has overtaken writes nothing. A database that goes away is met in
`commit` alone, which waits and writes the same turn again, unless the mark says that it arrived; so the trials in
memory need no undoing.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.exceptions import DuplicatedStudyError, StorageInternalError
from optuna.storages import InMemoryStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial
from sqlalchemy import select, update
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError
from sqlalchemy.orm import scoped_session, sessionmaker

from regsearch.errors import UserError
from regsearch.search.bulk_tables import Tables
from regsearch.search.clock import CLOCK, check_clock, numbered
from regsearch.search.lease import Busy, take_lease
from regsearch.search.patience import Patience
from regsearch.search.protocol import Clock
from regsearch.search.schema import ATTRIBUTES, OWNER, foreign, open_tables, owner
from regsearch.search.study_backup import Part, StudyBackup

Attributes = dict[str, Any]
"""Attributes of a study by name, as Optuna keeps them."""
MARK = "regsearch:commit"
_AWAY = (OperationalError, InterfaceError, PendingRollbackError, StorageInternalError, Busy)


@dataclass
class _Turn:
    """What one commit writes: the trials and study attributes that changed, its mark, and what is new of the files."""

    directions: list[StudyDirection]
    trials: list[FrozenTrial]
    users: Attributes
    systems: Attributes
    mark: str
    files: list[Part]


class DatabaseStorage:
    """One study in the database at `address`; nobody else works on it until `close`.

    Args:
        name, begun_ms: of the study, and when it began.
        say: is told in a line that the database is away.
        folder: of the study; its small files go along, and its outbox is brought back to what the database holds.

    Raises:
        UserError: the database cannot be used, has another study of this name, another process works on this one, or a
            newer regsearch went on with it.
    """

    def __init__(
        self, address: str, name: str, begun_ms: int, say: Callable[[str], None], folder: Path | None = None
    ) -> None:
        self.address, self.name, self.begun, self.say = address, name, begun_ms, say
        self.optuna = InMemoryStorage()
        self._tables = open_tables(address)
        self._trials = Tables(self._tables.engine)
        self._backup = StudyBackup(name, begun_ms, folder)
        self._study: int | None = None
        self._mark = ""
        self._commits = 0
        self._rows: dict[int, int] = {}
        self._written: dict[int, FrozenTrial] = {}
        self._users: Attributes = {}
        self._systems: Attributes = {}
        self._connection: sqlalchemy.Connection | None = take_lease(self._tables.engine, name)
        try:
            self._load()
        except BaseException:
            self.close()
            raise

    def commit(self, study: optuna.Study, clock: Clock) -> None:
        """Write the turn and its clock; wait for a database that is away, ten minutes at most.

        Raises:
            UserError: it did not come back, or another process went on with the study.
        """
        study.set_user_attr(CLOCK, numbered(clock))
        self._put(self._turn(study))

    def keep(self) -> None:
        """Take along what the study's folder has got since the last commit.

        Raises:
            UserError: as `commit`.
        """
        if self._study is not None and self._backup.news():
            self._put(_Turn([], [], {}, {}, self._next_mark(), self._backup.news()))

    def _put(self, turn: _Turn) -> None:
        patience = Patience(self.address, self.name, self.say)
        while True:
            try:
                with patience.spoken_of():
                    self._write(turn)
                break
            except _AWAY as error:
                self.close()
                patience.wait(error)
        self._mark = turn.mark
        self._commits += 1
        self._written |= {each.number: each for each in turn.trials}
        self._users |= turn.users
        self._systems |= turn.systems
        self._backup.written(turn.files)
        patience.end()

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection is not None:
            with contextlib.suppress(sqlalchemy.exc.SQLAlchemyError):
                self._connection.close()
            self._connection = None

    def _load(self) -> None:
        """The study as of its last commit, into memory."""
        study = owner(self._tables.engine, self.name)
        if study is None:
            return
        self._study, begun = study
        self._users = self._tables.get_study_user_attrs(self._study)
        if begun != str(self.begun) or MARK not in self._users:
            raise foreign(self.name)
        check_clock(self._users.get(CLOCK), self.address)
        self._commits, _ = mark = self._users[MARK]
        self._mark = json.dumps(mark)
        self._systems = self._tables.get_study_system_attrs(self._study)
        if self._connection is not None:
            with self._connection.begin():
                self._backup.load(self._connection)
        copy = self.optuna.create_new_study(self._tables.get_study_directions(self._study), self.name)
        for name, value in self._users.items():
            self.optuna.set_study_user_attr(copy, name, value)
        for name, value in self._systems.items():
            self.optuna.set_study_system_attr(copy, name, value)
        trials = sorted(self._tables.get_all_trials(self._study, deepcopy=False), key=lambda trial: trial.number)
        self._rows = {trial.number: trial._trial_id for trial in trials}
        for trial in trials:
            self.optuna.create_new_trial(copy, trial)
        self._written = {each.number: each for each in self.optuna.get_all_trials(copy, deepcopy=False)}

    def _turn(self, study: optuna.Study) -> _Turn:
        """What changed since the last commit. Optuna's memory replaces a trial whenever it changes one."""
        users, systems = study.user_attrs, self.optuna.get_study_system_attrs(study._study_id)
        return _Turn(
            study.directions,
            [each for each in study.get_trials(deepcopy=False) if self._written.get(each.number) is not each],
            {name: value for name, value in users.items() if self._users.get(name) != value},
            {name: value for name, value in systems.items() if self._systems.get(name) != value},
            self._next_mark(),
            self._backup.news(),
        )

    def _next_mark(self) -> str:
        return json.dumps([self._commits + 1, secrets.token_hex(8)])

    def _write(self, turn: _Turn) -> None:
        """All of the turn, or nothing of it; nothing either where it is there already."""
        if self._connection is None:
            self._connection = self._reconnect(turn)
        rows, known = dict(self._rows), self._study
        try:
            with self._connection.begin():
                rows = self._write_in(self._connection, turn, rows)
        except BaseException:
            self._study = known
            raise
        self._rows = rows

    def _write_in(self, connection: sqlalchemy.Connection, turn: _Turn, rows: dict[int, int]) -> dict[int, int]:
        """The rows of the trials once the turn is written."""
        # Optuna's own commits are releases of savepoints within the transaction of this connection.
        sessions = sessionmaker(bind=connection, join_transaction_mode="create_savepoint")
        self._tables.scoped_session = scoped_session(sessions)
        study, fresh = self._exchange(connection, turn)
        if not fresh:
            return self._trials.rows(connection, study)
        for name, value in turn.users.items():
            self._tables.set_study_user_attr(study, name, value)
        for name, value in turn.systems.items():
            self._tables.set_study_system_attr(study, name, value)
        self._backup.write(connection, turn.files)
        return self._trials.write(connection, study, turn.trials, self._written, rows)

    def _exchange(self, connection: sqlalchemy.Connection, turn: _Turn) -> tuple[int, bool]:
        """Put the turn's mark in place of the last commit's. The study's number, and whether the turn is still to be
        written: False, where it was and only the answer was lost.

        Raises:
            UserError: another process wrote instead.
        """
        if self._study is None:
            try:
                self._study = self._tables.create_new_study(turn.directions, self.name)
            except DuplicatedStudyError:
                study = owner(self._tables.engine, self.name)
                if study is None or study[1] != str(self.begun):
                    raise foreign(self.name) from None
                self._study = study[0]
            else:
                self._tables.set_study_user_attr(self._study, OWNER, self.begun)
                self._tables.set_study_user_attr(self._study, MARK, json.loads(turn.mark))
                return self._study, True
        mine = (ATTRIBUTES.c.study_id == self._study) & (ATTRIBUTES.c.key == MARK)
        swap = update(ATTRIBUTES).where(mine, ATTRIBUTES.c.value_json == self._mark).values(value_json=turn.mark)
        if connection.execute(swap).rowcount == 1:
            return self._study, True
        if self._present(connection) != turn.mark:
            raise self._overtaken()
        return self._study, False

    def _present(self, connection: sqlalchemy.Connection) -> str | None:
        where = (ATTRIBUTES.c.study_id == self._study) & (ATTRIBUTES.c.key == MARK)
        return connection.execute(select(ATTRIBUTES.c.value_json).where(where)).scalar()

    def _overtaken(self) -> UserError:
        what = "another process went on with this study, or removed it from the database"
        return UserError(what, key="name", value=self.name, allowed="leave it to that one")

    def _reconnect(self, turn: _Turn) -> sqlalchemy.Connection:
        try:
            return take_lease(self._tables.engine, self.name, patience=0.0)
        except Busy:
            # Its own session of before, which the server still takes for alive; or a process that went on.
            with self._tables.engine.connect() as connection:
                if self._study is not None and self._present(connection) not in (self._mark, turn.mark):
                    raise self._overtaken() from None
            raise
