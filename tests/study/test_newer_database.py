"""A search in a database that a newer regsearch or Optuna went on with, or that is none: one line, before anything."""

from __future__ import annotations

import json
import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import optuna
import pytest
from sqlalchemy import create_engine

from regsearch.errors import UserError
from regsearch.search.database import DatabaseStorage
from regsearch.search.schema import open_tables
from regsearch.system import schema
from tests.fixtures import lay
from tests.search.turns import search, turn
from tests.study.refusals import change, refusal, regsearch
from tests.study.small import study_file

GOING_ON = ("study resume small", "study finalize small", "study finalize small --seeds 2")
OPENING = (
    *GOING_ON,
    "study delete small --yes",
    "study start small.yaml --replace",
    "study start small.yaml --dry-run",
)
HERE = optuna.__version__


@pytest.fixture
def file(root: Path) -> Path:
    """The database of a killed study, which holds a turn of it."""
    study, file = lay("0.1.0", "plain-killed", root), root / "optuna.db"
    (study / "search.journal").unlink()
    (study / "lock").touch()
    change(study / "study.json", lambda content: content["config"]["search"].update(storage=address(file)))
    text = study_file(root).read_text().replace("width: 2", f"storage: '{address(file)}', width: 2")
    (root / "small.yaml").write_text(text)
    begun = json.loads((study / "study.json").read_text())["created_ms"]
    storage = DatabaseStorage(address(file), "small", begun, print, study)
    turn(search(storage, name="small"))
    storage.close()
    return file


def address(file: Path) -> str:
    return f"sqlite:///{file}"


def execute(file: Path, *statements: str) -> None:
    with closing(sqlite3.connect(file)) as database, database:
        for statement in statements:
            database.execute(statement)


def clock(file: Path, text: str) -> None:
    execute(file, f"UPDATE study_user_attributes SET value_json = '{text}' WHERE key = 'regsearch:clock'")


def elsewhere(file: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The command that takes the study up where its folder is not."""
    monkeypatch.setenv("REGSEARCH_HOME", str(file.parent / "other"))
    return f"study resume small --storage {address(file)}"


def test_a_newer_regsearch_went_on_with_the_search(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    clock(file, '{"turn": 1, "schema": 7}')
    what = f"written by a newer regsearch (schema 7, this one reads up to {schema.SEARCH}); pip install -U regsearch"
    for words in GOING_ON:
        assert refusal(words) == f"{address(file)}: {what}"
    assert refusal(elsewhere(file, monkeypatch)) == f"{address(file)}: {what}"
    with pytest.raises(UserError, match="schema 7, this one reads up to"):
        DatabaseStorage(address(file), "small", began(file), print)


def began(file: Path) -> int:
    with closing(sqlite3.connect(file)) as database:
        query = "SELECT value_json FROM study_user_attributes WHERE key = 'regsearch:begun'"
        return int(database.execute(query).fetchone()[0])


@pytest.mark.parametrize("text", ["[1]", "3", "no json"])
def test_a_clock_that_is_none(file: Path, text: str) -> None:
    clock(file, text)
    for words in GOING_ON:
        assert refusal(words).startswith(f"{address(file)}: is damaged: the clock of the search is no object; ")


def test_another_study_of_the_name_is_met_before_anything_is_done(file: Path) -> None:
    execute(file, "UPDATE study_user_attributes SET value_json = '1' WHERE key = 'regsearch:begun'")
    for words in GOING_ON:
        assert "has a study of this name that is not this one" in refusal(words)


NEWER = "UPDATE alembic_version SET version_num = 'v9.0.0.a'"
TABLES: dict[str, tuple[tuple[str, ...], str]] = {
    "newer": (
        (NEWER, "UPDATE version_info SET library_version = '9.1.0'"),
        f"the tables are of a newer Optuna (Optuna 9.1.0, tables v9.0.0.a; this is Optuna {HERE}) (got 'ADDRESS'); "
        "pip install -U regsearch 'optuna>=9.1.0'",
    ),
    "newer, and nothing says which": (
        (NEWER, "DROP TABLE version_info"),
        f"the tables are of a newer Optuna (tables v9.0.0.a; this is Optuna {HERE}) (got 'ADDRESS'); "
        "pip install -U regsearch optuna",
    ),
    "older": (
        ("UPDATE alembic_version SET version_num = 'v2.6.0.a'",),
        f"the tables are of an older Optuna (this is Optuna {HERE}) (got 'ADDRESS'); "
        "`optuna storage upgrade --storage ADDRESS` brings them up to date; or name another database",
    ),
}


@pytest.mark.parametrize("how", TABLES)
def test_tables_of_another_optuna(file: Path, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    statements, line = TABLES[how]
    execute(file, *statements)
    said = f"search.storage: {line}".replace("got 'ADDRESS'", f"got '{address(file)}'")
    for words in OPENING:
        assert refusal(words).removeprefix("small.yaml: ") == said
    assert refusal(elsewhere(file, monkeypatch)) == said


def test_the_runs_of_a_study_stay_where_its_database_cannot_let_it_go(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deleted: list[str] = []
    monkeypatch.setattr("regsearch.tracking.mlflow.runs.delete_study", lambda uri, name: deleted.append(name))
    execute(file, NEWER)
    assert "the tables are of a newer Optuna" in refusal("study delete small --yes") and not deleted


def test_tables_that_optuna_numbered_by_no_revision(file: Path) -> None:
    """As its versions before 0.9 did; it fills in the least revision that it knows."""
    execute(file, "DELETE FROM alembic_version", "UPDATE version_info SET schema_version = 1")
    with pytest.raises(UserError, match="the tables are of an older Optuna"):
        open_tables(address(file))


def test_a_file_that_is_no_database(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file.write_bytes(b"this is no database" * 100)
    what = "search.storage: the database cannot be used: file is not a database (got "
    for words in OPENING:
        assert refusal(words).removeprefix("small.yaml: ").startswith(what), words
    assert refusal(elsewhere(file, monkeypatch)).startswith(what)


def test_what_is_whole_is_passed(file: Path) -> None:
    """Also a database that has gone meanwhile, which is made anew, and one with tables of others alone."""
    from regsearch.search.schema import check_study

    check_study(address(file), "small", began(file))
    check_study(address(file), "another", 1)
    begun = began(file)
    shutil.move(file, file.with_suffix(".aside"))
    check_study(address(file), "small", begun)
    assert not file.exists()
    with create_engine(address(file)).begin() as connection:
        connection.exec_driver_sql("CREATE TABLE others (number INTEGER)")
    check_study(address(file), "small", begun)


@pytest.mark.parametrize("words", ["study show small", "study report small --out page.html", "study list"])
def test_what_opens_no_database_asks_none(file: Path, words: str) -> None:
    execute(file, NEWER)
    assert regsearch(words).exit_code == 0
