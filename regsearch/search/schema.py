"""Optuna's tables in a database: made once, whoever comes first, and what they say of a study by its name."""

from __future__ import annotations

import sqlalchemy
from optuna.storages import RDBStorage
from sqlalchemy import column, delete, select, table

from regsearch.errors import UserError
from regsearch.search.study_backup import MANIFEST, STATE, STUDY, read_files
from regsearch.system.databases import alone, connect_arguments, database_url, is_there, reach_database, said

KEY = "search.storage"
OWNER = "regsearch:begun"
"""The study attribute that says when a study began: it tells two of one name apart."""
STUDIES = table("studies", column("study_id"), column("study_name"))
ATTRIBUTES = table("study_user_attributes", column("study_id"), column("key"), column("value_json"))


def open_tables(address: str) -> RDBStorage:
    """Open Optuna's storage in a database, its tables made where they are missing. It keeps no connection.

    Optuna's own creation fails where several processes open a fresh database at once; here one makes the tables and
    the others wait.

    Raises:
        UserError: the database cannot be used, or another version of Optuna made its tables.
    """
    engine = reach_database(address, KEY)
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
    except RuntimeError as error:
        raise UserError(
            f"another version of Optuna made the tables ({error})",
            key=KEY,
            value=address,
            allowed="`optuna storage upgrade` brings them up to date; or name another database",
        ) from None
    if engine.dialect.name == "sqlite":
        _leave_transactions_to_sqlalchemy(storage.engine)
    return storage


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
    engine = reach_database(address, KEY)
    study = owner(engine, name)
    if study is not None and study[1] != str(begun_ms):
        raise foreign(name)


def delete_study(address: str, name: str, begun_ms: int) -> None:
    """Remove the study from its database; one of that name that began at another time stays.

    Raises:
        UserError: the database cannot be used.
    """
    study = owner(reach_database(address, KEY), name)
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
    engine = reach_database(address, KEY)
    study = owner(engine, name)
    files: dict[str, bytes] = {}
    if study is not None and study[1] is not None and sqlalchemy.inspect(engine).has_table(STATE.name):
        with engine.connect() as connection:
            files = read_files(connection, name, int(study[1]))
    if STUDY not in files or MANIFEST not in files:
        raise UserError("the database has no study of this name", key="NAME", value=name, allowed="see `--storage`")
    return files


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
