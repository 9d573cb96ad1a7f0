"""One driver at a time on a study in a shared database."""

from __future__ import annotations

import time

import sqlalchemy
from sqlalchemy import text

from regsearch.errors import UserError
from regsearch.system.databases import lock_number

PATIENCE_SECONDS = 5.0
"""A killed driver's session may take a moment to end."""


class Busy(UserError):
    """Another process holds the study."""


def take_lease(engine: sqlalchemy.Engine, name: str, patience: float = PATIENCE_SECONDS) -> sqlalchemy.Connection:
    """Open a connection that holds the study's lock until it is closed or breaks, in PostgreSQL and MySQL.

    SQLite has no such lock; there the exchange of the clock alone keeps a second process from writing.

    Raises:
        Busy: another session holds it, for as long as `patience`, in seconds.
        sqlalchemy.exc.DBAPIError: the database does not answer.
    """
    number = lock_number("regsearch", "study", name)
    queries = {"postgresql": "SELECT pg_try_advisory_lock(:number)", "mysql": "SELECT GET_LOCK(:name, 0)"}
    queries["mariadb"] = queries["mysql"]
    query = queries.get(engine.dialect.name)
    connection = engine.connect()
    try:
        until = time.monotonic() + patience
        while query is not None:
            values = {"number": number} if "number" in query else {"name": str(number)}
            got = connection.execute(text(query), values).scalar()
            connection.commit()
            if got:
                break
            if time.monotonic() >= until:
                raise Busy(
                    "another process works on this study, by the same database",
                    key="name",
                    value=name,
                    allowed="wait for it, or stop it",
                )
            time.sleep(0.1)
    except BaseException:
        connection.close()
        raise
    return connection
