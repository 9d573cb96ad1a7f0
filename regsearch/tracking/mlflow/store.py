"""Where MLflow keeps its runs: the local SQLite store, made once and whole, or a store elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from regsearch.errors import UserError
from regsearch.system.addresses import expand
from regsearch.system.databases import alone, database_url, reach_database
from regsearch.tracking.mlflow.moved import ARTIFACTS, follow_store
from regsearch.tracking.mlflow.server import ask_server

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
DATABASES = ("postgresql", "mysql", "mssql")
KEY = "tracking.uri"


def tracking_uri(explicit: str | None, root: Path) -> str:
    """Resolve the store's address: `explicit`, else MLFLOW_TRACKING_URI, else SQLite at `root/mlflow.db`.

    `${NAME}` in it is the environment's NAME; a database gets the driver that is installed.

    Raises:
        UserError: the environment has no such name, or the driver is missing.
    """
    given = explicit or os.environ.get("MLFLOW_TRACKING_URI")
    if not given:
        return f"sqlite:///{root.absolute() / 'mlflow.db'}"
    if given.split("://", 1)[0] in DATABASES:
        return database_url(given, KEY).render_as_string(hide_password=False)
    return expand(given, KEY)


def local_file(uri: str) -> Path | None:
    """Resolve a `sqlite:///` address to its database file, None for a store elsewhere."""
    if not uri.startswith("sqlite"):
        return None
    path = uri.split("///", 1)[-1].split("?", 1)[0] if "///" in uri else ""
    if not path or path == ":memory:":
        raise UserError("a store needs a file", key=KEY, value=uri, allowed="sqlite:///PATH/mlflow.db")
    return Path(path).absolute()


def check_store(uri: str) -> None:
    """Refuse a store that cannot be used, without importing MLflow and without creating anything.

    Raises:
        UserError: an address of no known kind, a file that is no database, a place that cannot be written.
    """
    if "://" not in uri or _kind(uri) not in SCHEMES:
        raise UserError(
            "not an address of an MLflow store",
            key=KEY,
            value=uri,
            allowed="allowed are addresses like sqlite:///PATH/mlflow.db and http://HOST:PORT",
        )
    path = local_file(uri)
    if path is None:
        return
    if path.exists():
        _check_database(path, uri)
        return
    folder = path.parent
    while not folder.exists():
        folder = folder.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        needed = f"it needs write access to {folder}" if folder.is_dir() else f"{folder} is a file, not a folder"
        raise UserError("the MLflow store cannot be written", key=KEY, value=uri, allowed=needed)


def reach_store(uri: str, study: str) -> bool:
    """Refuse a store that cannot be used now, within ten seconds; whether a server has an experiment of this name.

    Raises:
        UserError: what `check_store` refuses; a server or database that does not answer, or refuses user or password.
    """
    check_store(uri)
    kind = _kind(uri)
    if kind in ("http", "https"):
        return ask_server(uri, study)
    if kind in DATABASES:
        reach_database(uri, KEY)
    return False


def _kind(uri: str) -> str:
    return uri.split(":", 1)[0].split("+", 1)[0]


def _check_database(path: Path, uri: str) -> None:
    if not path.is_file():
        allowed = "allowed is a file, like sqlite:///PATH/mlflow.db; it is made if it is not there"
        raise UserError("the MLflow store is a folder", key=KEY, value=uri, allowed=allowed)
    if not os.access(path, os.R_OK | os.W_OK) or not os.access(path.parent, os.W_OK | os.X_OK):
        raise UserError(
            "the MLflow store cannot be written", key=KEY, value=uri, allowed=f"it needs write access to {path}"
        )
    another = "name another file, or none that is there: a new store is made"
    try:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
            tables = database.execute("SELECT name FROM sqlite_master LIMIT 1").fetchall()
            revised = schema_revision(database)
    except sqlite3.DatabaseError as error:
        what = f"the MLflow store cannot be opened ({error})"
        raise UserError(what, key=KEY, value=uri, allowed=another) from error
    if tables and revised is None:
        raise UserError("a database of something else, not of MLflow", key=KEY, value=uri, allowed=another)


def check_free(uri: str, study: str) -> None:
    """Refuse a name that an experiment in the store has already; of a database elsewhere the writer asks.

    Raises:
        UserError: names the experiment.
    """
    path = local_file(uri)
    if path is None:
        taken = reach_store(uri, study)
    elif file_revision(path) is None:
        return
    else:
        with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
            query = "SELECT 1 FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
            taken = database.execute(query, (study,)).fetchone() is not None
    if taken:
        raise UserError(
            "the MLflow store has an experiment of this name that is not this study's",
            key="name",
            value=study,
            allowed="give the study another name, or delete or rename that experiment in MLflow",
        )


def schema_revision(database: sqlite3.Connection) -> str | None:
    """Read the revision of MLflow's tables, None where there are none."""
    try:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else str(row[0])


def file_revision(path: Path) -> str | None:
    """Read the revision of MLflow's tables in the file at `path`, None where there are none."""
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
        return schema_revision(database)


def ensure_store(uri: str) -> str | None:
    """Make the local store if there is none, or its tables in a database; other stores are left to their server.

    A new store is built beside its place and renamed once whole, under a lock, so that neither a kill nor several
    processes at once leave a file that never opens.

    Returns:
        What was done about a store that had been moved, in a line; None for any other.

    Raises:
        UserError: the store cannot be made or written.
    """
    check_store(uri)
    path = local_file(uri)
    if path is None and _kind(uri) in DATABASES:
        _make_tables(uri)
    if path is None:
        return None
    if _whole(path):
        return follow_store(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_name(path.name + ".lock")):
            if not _whole(path):
                _build(path)
    except OSError as error:
        raise UserError(f"the MLflow store cannot be made ({error})", key=KEY, value=uri) from error
    return None


def open_store(uri: str, study: str) -> Path | None:
    """Reach a store to read it, in its present place; of one that had been moved standard error is told.

    Returns:
        The file of a local store, None for one elsewhere.

    Raises:
        UserError: what `reach_store` refuses.
    """
    reach_store(uri, study)
    path = local_file(uri)
    if path is not None and path.exists() and (line := follow_store(path)):
        print(line, file=sys.stderr)
    return path


def _make_tables(uri: str) -> None:
    import sqlalchemy
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    with alone(engine, "making MLflow's tables"):
        SqlAlchemyStore(uri, "artifacts").engine.dispose()  # type: ignore[no-untyped-call]


def _whole(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _build(path: Path) -> None:
    import logging

    import alembic  # its loggers must exist before they can be quietened
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    logging.getLogger(alembic.__name__).setLevel(logging.WARNING)
    for left_over in path.parent.glob(path.name + ".new-*"):
        left_over.unlink(missing_ok=True)
    # The name is new each time, because MLflow caches one engine for each address.
    new = path.with_name(f"{path.name}.new-{os.getpid()}-{time.time_ns()}")
    store = SqlAlchemyStore(f"sqlite:///{new}", str(path.parent / ARTIFACTS))  # type: ignore[no-untyped-call]
    store.engine.dispose()
    with open(new, "rb+") as file:
        os.fsync(file.fileno())
    os.rename(new, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    with open(path, "w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
