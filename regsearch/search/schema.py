"""Optuna's tables in a database: made once, whoever comes first, and what they say of a study by its name."""

from __future__ import annotations

import contextlib
import json
from importlib.metadata import version
from importlib.resources import files

import sqlalchemy
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from optuna.storages import RDBStorage
from sqlalchemy import column, delete, select, table

from regsearch.errors import UserError
from regsearch.search.clock import CLOCK, check_clock
from regsearch.search.study_backup import MANIFEST, STATE, STUDY, read_files
from regsearch.system.databases import alone, connect_arguments, database_url, is_there, reach_database, said

KEY = "search.storage"
OWNER = "regsearch:begun"
"""The study attribute that says when a study began: it tells two of one name apart."""
STUDIES = table("studies", column("study_id"), column("study_name"))
ATTRIBUTES = table("study_user_attributes", column("study_id"), column("key"), column("value_json"))
_VERSION = table("version_info", column("library_version"))


def open_tables(address: str) -> RDBStorage:
    """Open Optuna's storage in a database, its tables made where they are missing. It keeps no connection.

    Optuna's own creation fails where several processes open a fresh database at once; here one makes the tables and
    the others wait.

    Raises:
        UserError: the database cannot be used, or another version of Optuna made its tables.
    """
    engine = reach_tables(address)
    url = database_url(address, KEY)
    # Optuna formats the address.
    plain = url.render_as_string(hide_password=False).replace("{", "{{").replace("}", "}}")
    options = {"poolclass": sqlalchemy.NullPool, "connect_args": connect_arguments(url)}
    try:
        with alone(engine, "making Optuna's tables"):
            storage = RDBStorage(plain, engine_kwargs=options)
            STATE.metadata.create_all(storage.engine)
    except sqlalchemy.exc.SQLAlchemyError as error:
        what = f"Optuna's tables cannot be made: {said(error, address, KEY)}"
        raise UserError(what, key=KEY, value=address, allowed="the user must be allowed to make tables") from None
    except RuntimeError:  # Optuna numbered those of its first versions by no revision
        raise _earlier(address) from None
    if engine.dialect.name == "sqlite":
        _leave_transactions_to_sqlalchemy(storage.engine)
    return storage


def reach_tables(address: str) -> sqlalchemy.Engine:
    """Make an engine for a database that answered, and whose tables, if it has some, are of the installed Optuna.

    Nothing is made in it: Optuna itself adds to the tables before it looks at their version.

    Raises:
        UserError: it does not answer, or another version of Optuna made its tables.
    """
    engine = reach_database(address, KEY)
    if not is_there(engine):
        return engine
    with engine.connect() as connection:
        revision = MigrationContext.configure(connection).get_current_revision()
        if revision is None:
            return engine
        scripts = ScriptDirectory(str(files("optuna.storages._rdb").joinpath("alembic")))
        if revision == scripts.get_current_head():
            return engine
        if revision in {script.revision for script in scripts.walk_revisions()}:
            raise _earlier(address)
        has_version = sqlalchemy.inspect(connection).has_table(_VERSION.name)
        newer = connection.execute(select(_VERSION.c.library_version)).scalar() if has_version else None
    known = f"Optuna {newer}, tables {revision}" if newer else f"tables {revision}"
    what = f"the tables are of a newer Optuna ({known}; this is Optuna {version('optuna')})"
    wanted = f"'optuna>={newer}'" if newer else "optuna"
    raise UserError(what, key=KEY, value=address, allowed=f"pip install -U regsearch {wanted}")


def _earlier(address: str) -> UserError:
    what = f"the tables are of an older Optuna (this is Optuna {version('optuna')})"
    allowed = "`optuna storage upgrade --storage ADDRESS` brings them up to date; or name another database"
    return UserError(what, key=KEY, value=address, allowed=allowed)


def owner(engine: sqlalchemy.Engine, name: str) -> tuple[int, str | None] | None:
    """Find Optuna's number of the study of this name, and when it began as the study says; None where there is none."""
    if not is_there(engine) or not sqlalchemy.inspect(engine).has_table(STUDIES.name):
        return None
    where = (ATTRIBUTES.c.study_id == STUDIES.c.study_id) & (ATTRIBUTES.c.key == OWNER)
    query = select(STUDIES.c.study_id, ATTRIBUTES.c.value_json).select_from(STUDIES.outerjoin(ATTRIBUTES, where))
    with engine.connect() as connection:
        row = connection.execute(query.where(STUDIES.c.study_name == name)).one_or_none()
    return None if row is None else (int(row[0]), row[1])


def check_database(address: str, name: str, begun_ms: int | None = None) -> None:
    """Refuse a database that cannot be used for a new study of this name. Nothing is made in it.

    Args:
        begun_ms: when the study of this name began that the new one replaces.

    Raises:
        UserError: it does not answer, refuses user or password, or has a study of this name.
    """
    study = owner(reach_tables(address), name)
    if study is not None and study[1] != str(begun_ms):
        raise foreign(name)


def check_study(address: str, name: str, begun_ms: int) -> None:
    """Refuse a database whose search of this study cannot go on here. Nothing is made in it.

    Raises:
        UserError: it does not answer, a newer Optuna made its tables or a newer regsearch went on with the study, or it
            has another study of this name.
    """
    engine = reach_tables(address)
    study = owner(engine, name)
    if study is None:
        return
    if study[1] != str(begun_ms):
        raise foreign(name)
    with engine.connect() as connection:
        where = (ATTRIBUTES.c.study_id == study[0]) & (ATTRIBUTES.c.key == CLOCK)
        clock = connection.execute(select(ATTRIBUTES.c.value_json).where(where)).scalar()
    with contextlib.suppress(ValueError):  # what is no JSON is no clock
        clock = json.loads(clock or "null")
    check_clock(clock, address)


def delete_study(address: str, name: str, begun_ms: int) -> None:
    """Remove the study from its database; one of that name that began at another time stays.

    Raises:
        UserError: the database cannot be used.
    """
    study = owner(reach_tables(address), name)
    if study is not None and study[1] == str(begun_ms):
        tables = open_tables(address)
        with tables.engine.begin() as connection:
            connection.execute(delete(STATE).where(STATE.c.study == name, STATE.c.begun_ms == begun_ms))
        tables.delete_study(study[0])


def read_state(address: str, name: str) -> dict[str, bytes]:
    """Read the files that the database holds of the study of this name.

    Raises:
        UserError: the database cannot be used, or has no study of this name that can go on here.
    """
    engine = reach_tables(address)
    study = owner(engine, name)
    contents: dict[str, bytes] = {}
    if study is not None and study[1] is not None and sqlalchemy.inspect(engine).has_table(STATE.name):
        check_study(address, name, int(study[1]))
        with engine.connect() as connection:
            contents = read_files(connection, name, int(study[1]))
    if STUDY not in contents or MANIFEST not in contents:
        raise UserError("the database has no study of this name", key="NAME", value=name, allowed="see `--storage`")
    return contents


def foreign(name: str) -> UserError:
    """Refuse a database that has another study of this name."""
    return UserError(
        "the database of search.storage has a study of this name that is not this one",
        key="name",
        value=name,
        allowed="give the study another name, or delete that one with Optuna",
    )


def _leave_transactions_to_sqlalchemy(engine: sqlalchemy.Engine) -> None:
    """Python's SQLite driver begins none before a savepoint, whose release would then be a commit."""

    @sqlalchemy.event.listens_for(engine, "connect")
    def plain(connection: object, _: object) -> None:
        connection.isolation_level = None  # type: ignore[attr-defined]

    @sqlalchemy.event.listens_for(engine, "begin")
    def begin(connection: sqlalchemy.Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
