"""Where MLflow keeps its runs: the local SQLite store, made once and whole, or a store elsewhere."""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path

from regsearch.errors import UserError

SCHEMES = ("sqlite", "http", "https", "postgresql", "mysql", "mssql", "databricks")
KEY = "tracking.uri"


def tracking_uri(explicit: str | None, root: Path) -> str:
    """The store's address: `explicit`, else MLFLOW_TRACKING_URI, else SQLite at `root/mlflow.db`."""
    return explicit or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{root.absolute() / 'mlflow.db'}"


def local_file(uri: str) -> Path | None:
    """The database file behind a `sqlite:///` address, None for a store elsewhere."""
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
    if "://" not in uri or uri.split(":", 1)[0].split("+", 1)[0] not in SCHEMES:
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
    """Refuse a name that an experiment in the local store has already; a store elsewhere is asked by the writer.

    Raises:
        UserError: names the experiment.
    """
    path = local_file(uri)
    if path is None or file_revision(path) is None:
        return
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
        query = "SELECT 1 FROM experiments WHERE name = ? AND lifecycle_stage = 'active'"
        taken = database.execute(query, (study,)).fetchone()
    if taken:
        raise UserError(
            "the MLflow store has an experiment of this name that is not this study's",
            key="name",
            value=study,
            allowed="give the study another name, or delete or rename that experiment in MLflow",
        )


def schema_revision(database: sqlite3.Connection) -> str | None:
    """The revision of MLflow's tables, None where there are none."""
    try:
        row = database.execute("SELECT version_num FROM alembic_version").fetchone()
    except sqlite3.OperationalError:
        return None
    return None if row is None else str(row[0])


def file_revision(path: Path) -> str | None:
    """The revision of MLflow's tables in the file at `path`, None where there are none."""
    if not path.exists():
        return None
    with contextlib.closing(sqlite3.connect(path, timeout=20)) as database:
        return schema_revision(database)


def ensure_store(uri: str) -> None:
    """Make the local store if there is none; a store elsewhere is left to its server.

    A new store is built beside its place and renamed once whole, under a lock, so that neither a kill nor several
    processes at once leave a file that never opens.

    Raises:
        UserError: the store cannot be made or written.
    """
    check_store(uri)
    path = local_file(uri)
    if path is None or _whole(path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with _lock(path.with_name(path.name + ".lock")):
            if not _whole(path):
                _build(path)
    except OSError as error:
        raise UserError(f"the MLflow store cannot be made ({error})", key=KEY, value=uri) from error


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
    store = SqlAlchemyStore(f"sqlite:///{new}", str(path.parent / "artifacts"))  # type: ignore[no-untyped-call]
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
