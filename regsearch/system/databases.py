"""Databases by address: the installed driver, timeouts, one clear line for what fails, one process at a time."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from regsearch.errors import UserError
from regsearch.system.addresses import expand, scrub

if TYPE_CHECKING:
    import sqlalchemy

CONNECT_SECONDS = 4
"""How long a database may take to answer; a name with two addresses takes twice as long."""
_LIVELY = {"keepalives_idle": 15, "keepalives_interval": 5, "keepalives_count": 3}
# The driver's machine may vanish: the server then ends the session, and frees its locks, within half a minute.
_SERVER_SIDE = " ".join(f"-c tcp_{name}={value}" for name, value in _LIVELY.items())
_POSTGRES = {**_LIVELY, "connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": 30_000, "options": _SERVER_SIDE}
_CONNECT: dict[str, dict[str, object]] = {
    "psycopg2": _POSTGRES,
    "psycopg": _POSTGRES,
    "pymysql": {"connect_timeout": CONNECT_SECONDS},
    "mysqldb": {"connect_timeout": CONNECT_SECONDS},
    "pysqlite": {"timeout": 20},
}
LOCK_SECONDS = 60


def database_url(address: str, key: str) -> sqlalchemy.URL:
    """Parse a database's address as SQLAlchemy knows it, with the driver that is installed where it names none.

    Raises:
        UserError: it is no address of a database, or its driver is missing.
    """
    import sqlalchemy

    allowed = "allowed are postgresql://USER:${PASSWORD}@HOST/DATABASE, mysql+pymysql://... and sqlite:///FILE"
    plain = expand(address, key)
    try:
        url = sqlalchemy.make_url(plain)
        dialect = url.get_dialect()
    except (sqlalchemy.exc.NoSuchModuleError, ImportError):
        raise UserError("a database of no known kind", key=key, value=address, allowed=allowed) from None
    except (sqlalchemy.exc.ArgumentError, ValueError):
        raise UserError("not an address of a database", key=key, value=address, allowed=allowed) from None
    if url.drivername == "postgresql" and find_spec("psycopg2"):
        url = url.set(drivername="postgresql+psycopg2")  # SQLAlchemy itself would take psycopg
        dialect = url.get_dialect()
    try:
        dialect.import_dbapi()
    except ImportError as error:
        extra = "pip install 'regsearch[postgres]'" if dialect.name == "postgresql" else f"pip install {error.name}"
        raise UserError(f"{error.name} is not installed", key=key, value=address, allowed=extra) from None
    return url


def connect_arguments(url: sqlalchemy.URL) -> dict[str, object]:
    """List what a connection is opened with: it gives up on a server that is not there, and notices one that goes."""
    known = dict(_CONNECT.get(url.get_dialect().driver, {}))
    if "options" in known and "options" in url.query:
        known["options"] = f"{known['options']} {url.query['options']}"
    return {name: value for name, value in known.items() if name == "options" or name not in url.query}


def reach_database(address: str, key: str) -> sqlalchemy.Engine:
    """Make an engine for a database that answered just now; nothing is made in it. It keeps no connection.

    Raises:
        UserError: it does not answer, or refuses the user or the password.
    """
    import sqlalchemy

    url = database_url(address, key)
    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.NullPool, connect_args=connect_arguments(url))
    if not is_there(engine):  # SQLite would make the file
        folder = Path(str(url.database)).parent
        if not os.access(folder, os.W_OK | os.X_OK):
            needed = f"it needs write access to {folder}" if folder.is_dir() else f"{folder} is no folder"
            raise UserError("the database cannot be made", key=key, value=address, allowed=needed)
        return engine
    try:
        with engine.connect() as connection:
            if engine.dialect.name == "sqlite":  # whose driver opens any file, and reads none
                connection.exec_driver_sql("PRAGMA schema_version")
    except sqlalchemy.exc.DBAPIError as error:
        raise UserError(
            f"the database cannot be used: {said(error, address, key)}",
            key=key,
            value=address,
            allowed="it must run, and user, password and name of the database must be right",
        ) from None
    return engine


def is_there(engine: sqlalchemy.Engine) -> bool:
    """Tell whether the database is there: a server's always, a file's where the file is."""
    return engine.dialect.name != "sqlite" or Path(str(engine.url.database)).exists()


def said(error: BaseException, address: str, key: str) -> str:
    """Quote what a database's driver said, in one line without secrets."""
    original = getattr(error, "orig", None) or error
    text = " ".join(str(original).split()) or type(original).__name__
    return scrub(text, expand(address, key))[:300]


def lock_number(*words: str) -> int:
    """Hash words to a number for a lock of the database."""
    return int.from_bytes(hashlib.blake2b("/".join(words).encode(), digest_size=8).digest(), "big", signed=True)


@contextlib.contextmanager
def alone(engine: sqlalchemy.Engine, what: str) -> Iterator[None]:
    """Lock a database for `what`, one process at a time: making tables in a fresh one, which its makers do not guard.

    Raises:
        sqlalchemy.exc.DBAPIError: the database does not answer.
    """
    from sqlalchemy import text

    if engine.dialect.name == "sqlite":
        path = Path(str(engine.url.database))
        with open(path.with_name(f"{path.name}.lock"), "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        return
    number = lock_number("regsearch", what)
    with engine.connect() as connection:
        if engine.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
        elif engine.dialect.name in ("mysql", "mariadb"):
            lock = text("SELECT GET_LOCK(:name, :wait)")
            while connection.scalar(lock, {"name": str(number), "wait": LOCK_SECONDS}) == 0:
                pass  # another process is still at it: 0 says that the wait is over, as PostgreSQL's never is
        yield  # the lock ends with the connection


__all__ = ["alone", "connect_arguments", "database_url", "is_there", "lock_number", "reach_database", "said"]
