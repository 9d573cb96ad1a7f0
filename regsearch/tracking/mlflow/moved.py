"""Artifacts of an MLflow database whose project was moved or copied: the places that it has of them follow.

MLflow writes the place of an experiment's artifacts into its database as an absolute path and has no call to change it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import sqlite3
from pathlib import Path

ARTIFACTS = "artifacts"
"""The folder of the artifacts, beside the local store."""
_PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
    ("model_versions", "source"),
)
_DEFAULT = "SELECT artifact_location FROM experiments WHERE experiment_id = 0"


def follow_store(path: Path) -> str | None:
    """Point a local store at the artifacts beside it, where it names those beside its former place.

    Returns:
        What was done, in a line; None where nothing had to be, or the store cannot be written.
    """
    new = path.parent / ARTIFACTS
    if _former(path, new) is None:
        return None
    with contextlib.suppress(OSError, sqlite3.OperationalError), open(path.with_name(f"{path.name}.lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        old = _former(path, new)  # another process may have been first
        if old is not None:
            changed = _rename(f"sqlite:///{path}", str(old), str(new))
            return _line(old, new) if changed > 1 else None  # MLflow's own "Default" is nobody's
    return None


def follow_experiment(uri: str, location: str, artifacts: Path) -> str | None:
    """Point a database that lies elsewhere at an experiment's artifacts in `artifacts`, where the study is now.

    Args:
        location: of the experiment's artifacts, as the database has it.

    Returns:
        What was done, in a line; None where nothing had to be.
    """
    old = _local(location)
    new = artifacts / old.name if old is not None else None
    if old is None or new is None or old == new or _same(old, new) or (old.exists() and not new.exists()):
        return None
    _rename(uri, str(old), str(new))
    return _line(old, new)


def _former(path: Path, new: Path) -> Path | None:
    """Where the store has its artifacts, None where that is beside it or is not to be touched."""
    try:
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=20)) as database:
            row = database.execute(_DEFAULT).fetchone()
    except sqlite3.OperationalError:
        return None
    place = _local(row[0]) if row and row[0] else None
    if place is None or place.parent.name != ARTIFACTS or place.parent == new or _same(place.parent, new):
        return None
    # A copy of the database alone keeps to the artifacts that it has.
    return place.parent if new.exists() or (path.parent / "studies").exists() else None


def _local(location: str) -> Path | None:
    path = location.removeprefix("file://")
    return Path(path) if path.startswith("/") else None


def _same(old: Path, new: Path) -> bool:
    return old.exists() and new.exists() and os.path.samefile(old, new)


def _rename(uri: str, old: str, new: str) -> int:
    """Put `new` in place of `old` at the beginning of every place that the database has; of how many experiments."""
    import sqlalchemy
    from sqlalchemy import String, func, literal

    engine = sqlalchemy.create_engine(uri, poolclass=sqlalchemy.NullPool)
    there = set(sqlalchemy.inspect(engine).get_table_names())
    experiments = 0
    with engine.begin() as connection:
        for name, place in ((name, place) for name, place in _PLACES if name in there):
            table = sqlalchemy.table(name, sqlalchemy.column(place, String))
            column = table.c[place]
            for before in (old, f"file://{old}"):
                rest = func.substr(column, len(before) + 1, type_=String)
                mine = (column == before) | (func.substr(column, 1, len(before) + 1) == f"{before}/")
                result = connection.execute(table.update().where(mine).values({place: literal(new, String) + rest}))
                experiments += result.rowcount if name == "experiments" else 0
    return experiments


def _line(old: Path, new: Path) -> str:
    return f"the study was moved: the MLflow store had its artifacts in {old}, they are in {new}"


__all__ = ["ARTIFACTS", "follow_experiment", "follow_store"]
