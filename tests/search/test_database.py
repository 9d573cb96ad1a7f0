"""A search in a real PostgreSQL database, and in SQLite: whole turns, one process at a time, outages."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import threading
import time
from pathlib import Path

import optuna
import psutil
import pytest
from sqlalchemy.exc import OperationalError

from regsearch.errors import UserError
from regsearch.search.database import DatabaseStorage
from regsearch.search.schema import check_database, delete_study, open_tables, read_state
from regsearch.search.storage import open_storage
from regsearch.system import schema
from tests.search.turns import BEGUN, content, opened, search, turn
from tests.servers import Server, execute, free_port, postgres

FORK = multiprocessing.get_context("fork")


def journal(folder: Path, turns: int, sampler: str = "tpe") -> list[object]:
    """What the same search comes to in the journal file, undisturbed."""
    (folder / "peace").mkdir()
    found = search(opened(None, folder / "peace"), sampler)
    for _ in range(turns):
        turn(found)
    return content(found.study)


def secret(uri: str) -> str:
    """The password of an address."""
    return uri.split(":")[2].split("@")[0]


def read(uri: str) -> optuna.Study:
    """The study as any Optuna user reads it."""
    return optuna.load_study(study_name="study", storage=uri.replace("postgresql:", "postgresql+psycopg2:"))


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "qmc", "grid"])
def test_a_search_in_a_database_is_the_one_in_the_journal(uri: str, tmp_path: Path, kind: str, sampler: str) -> None:
    address = uri if kind == "postgresql" else f"sqlite:///{tmp_path / 'optuna.db'}"
    for _ in range(4):  # opened anew for each few turns
        storage = opened(address, tmp_path)
        found = search(storage, sampler)
        for _ in range(3):
            turn(found)
        storage.close()
    peace = journal(tmp_path, 12, sampler)
    assert content(found.study) == peace
    theirs = read(address)
    assert content(theirs) == peace
    assert theirs.user_attrs["regsearch:clock"] == {"turn": 12, schema.KEY: schema.SEARCH}
    assert len(peace) == 12 and theirs.best_trial.value == min(t[2][0] for t in peace if t[2])  # type: ignore[index]


def test_what_was_not_committed_is_not_there(uri: str, tmp_path: Path) -> None:
    storage = opened(uri, tmp_path)
    found = search(storage)
    found.ask()
    storage.close()
    assert read_names(uri) == []  # not even the study, before its first turn
    storage = opened(uri, tmp_path)
    found = search(storage)
    turn(found)
    found.report(1, 2, 0.5)
    found.ask()
    storage.close()
    assert content(read(uri)) == journal(tmp_path, 1)


def read_names(uri: str) -> list[object]:
    return execute(uri, "SELECT study_name FROM studies")


def go_on(uri: str, folder: Path) -> None:
    found = search(opened(uri, folder))
    while True:
        turn(found)


def test_killed_in_the_middle_the_database_holds_whole_turns(uri: str, tmp_path: Path) -> None:
    pick = random.Random(0)
    for life in range(3):
        child = FORK.Process(target=go_on, args=(uri, tmp_path))
        child.start()
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if committed(uri) > 4 * life:
                break
            time.sleep(0.01)
        time.sleep(pick.uniform(0.0, 0.1))
        assert child.pid is not None
        os.kill(child.pid, signal.SIGKILL)
        child.join()
        child.close()
    storage = opened(uri, tmp_path)
    found = search(storage)
    turns = int((found.clock() or {})["turn"])
    assert turns > 8
    assert content(found.study) == journal(tmp_path, turns)
    storage.close()


def committed(uri: str) -> int:
    if execute(uri, "SELECT to_regclass('study_user_attributes')") == [(None,)]:
        return 0
    rows = execute(uri, "SELECT value_json FROM study_user_attributes WHERE key = 'regsearch:commit'")
    return int(rows[0][0].strip("[").split(",")[0]) if rows else 0


def test_a_second_process_is_refused_until_the_first_lets_go(uri: str, tmp_path: Path) -> None:
    first = opened(uri, tmp_path)
    turn(search(first))
    with pytest.raises(UserError, match="another process works on this study"):
        opened(uri, tmp_path)
    first.close()
    second = opened(uri, tmp_path)
    assert len(search(second).trials()) == 4
    second.close()


def test_a_process_that_was_overtaken_writes_nothing(uri: str, tmp_path: Path) -> None:
    first = opened(uri, tmp_path)
    ours = search(first)
    turn(ours)
    me = "pid = pg_backend_pid()"
    execute(
        uri, f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND NOT {me}"
    )
    second = opened(uri, tmp_path)
    theirs = search(second)
    turn(theirs)
    for _ in range(2):  # while the other works, and afterwards
        with pytest.raises(UserError, match="another process went on"):
            turn(ours)
        second.close()
    assert content(read(uri)) == content(theirs.study)
    first.close()


def test_a_study_of_the_same_name_is_left_alone(uri: str, tmp_path: Path) -> None:
    optuna.create_study(study_name="study", storage=uri.replace("postgresql:", "postgresql+psycopg2:"))
    for act in (lambda: opened(uri, tmp_path), lambda: check_database(uri, "study")):
        with pytest.raises(UserError, match="has a study of this name that is not this one"):
            act()
    delete_study(uri, "study", BEGUN)
    assert read_names(uri) == [("study",)]


def test_a_study_is_deleted_with_all_its_trials(uri: str, tmp_path: Path) -> None:
    storage = opened(uri, tmp_path)
    turn(search(storage))
    storage.close()
    delete_study(uri, "study", BEGUN + 1)
    assert len(read(uri).trials) == 4
    check_database(uri, "study", BEGUN)
    delete_study(uri, "study", BEGUN)
    delete_study(uri, "study", BEGUN)
    assert read_names(uri) == [] and execute(uri, "SELECT count(*) FROM trials") == [(0,)]


def test_a_lost_answer_to_a_commit_writes_no_turn_twice(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    storage = opened(uri, tmp_path, said)
    assert isinstance(storage, DatabaseStorage)
    found, write = search(storage), storage._write

    def lose(turn: object) -> None:
        write(turn)  # type: ignore[arg-type]
        monkeypatch.setattr(storage, "_write", write)
        raise OperationalError("COMMIT", {}, Exception("server closed the connection unexpectedly"))

    for _ in range(6):  # the study's first commit too
        monkeypatch.setattr(storage, "_write", lose)
        turn(found)
    storage.close()
    assert content(read(uri)) == journal(tmp_path, 6)
    assert len(said) == 12 and "server closed the connection" in said[0] and "goes on" in said[1]


def test_a_database_that_is_stopped_hard_is_waited_for(tmp_path: Path) -> None:
    said: list[str] = []
    with postgres() as server:
        storage = opened(server.uri, tmp_path, said)
        found = search(storage)
        for outage in range(3):
            turn(found)
            server.stop()
            back = threading.Timer(0.5 * outage, server.start)
            back.start()
            turn(found)
            back.join()
        storage.close()
        assert content(read(server.uri)) == journal(tmp_path, 6)
    assert [("waits" in line, "goes on" in line) for line in said] == [(True, False), (False, True)] * 3


def test_a_database_that_freezes_is_spoken_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its processes stop with the connection open: nothing fails, and nothing goes on."""
    monkeypatch.setattr("regsearch.search.patience.SILENT_SECONDS", 0.3)
    said: list[str] = []
    with postgres() as server:
        storage = opened(server.uri, tmp_path, said)
        found = search(storage)
        turn(found)
        frozen = psutil.Process(server.pid).children()
        for each in frozen:
            each.suspend()
        thawed = threading.Timer(1.0, lambda: [each.resume() for each in frozen])
        thawed.start()
        turn(found)
        thawed.join()
        storage.close()
        assert content(read(server.uri)) == journal(tmp_path, 2)
    assert [("no answer in" in line, "goes on" in line) for line in said] == [(True, False), (False, True)]


def test_a_database_that_stays_away_ends_the_wait_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("regsearch.search.patience.AWAY_SECONDS", 0.5)
    with postgres() as server:
        storage = opened(server.uri, tmp_path)
        found = search(storage)
        turn(found)
        server.stop()
        with pytest.raises(UserError, match="did not come back") as error:
            turn(found)
        assert "study resume study" in str(error.value) and server.uri.split(":")[2].split("@")[0] not in str(
            error.value
        )
        server.start()
        storage = opened(server.uri, tmp_path)
        found = search(storage)
        turn(found)
        storage.close()
        assert content(read(server.uri)) == journal(tmp_path, 2)


def make_tables(uri: str) -> None:
    open_tables(uri)


@pytest.mark.parametrize("kind", ["postgresql", "sqlite"])
def test_eight_processes_open_one_fresh_database(uri: str, tmp_path: Path, kind: str) -> None:
    address = uri if kind == "postgresql" else f"sqlite:///{tmp_path / 'optuna.db'}"
    children = [FORK.Process(target=make_tables, args=(address,)) for _ in range(8)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
    assert [child.exitcode for child in children] == [0] * 8
    storage = opened(address, tmp_path)
    turn(search(storage))
    storage.close()
    assert len(read(address).trials) == 4


def test_addresses_that_cannot_be_used_are_refused_in_a_line(server: Server, tmp_path: Path) -> None:
    place = server.uri.rpartition("@")[2]
    wrong = (
        (f"postgresql://regsearch:hush-hush@{place}", "password authentication failed"),
        (f"postgresql://regsearch:hush-hush@127.0.0.1:{free_port()}/x", "Connection refused"),
        (f"{server.uri.rpartition('/')[0]}/nowhere", '"nowhere" does not exist'),
        (f"postgresql://regsearch:${{NOT_SET}}@{place}", "NOT_SET is not in the environment"),
        ("redis://:hush-hush@127.0.0.1/1", "a database of no known kind"),
        ("hush-hush", "not an address of a database"),
        (f"sqlite:///{tmp_path}/no/where.db", "no/?.* is no folder"),
    )
    for address, words in wrong:
        begun = time.monotonic()
        with pytest.raises(UserError, match=words) as error:
            check_database(address, "study")
        line = str(error.value)
        assert line.startswith("search.storage: ") and "\n" not in line and secret(server.uri) not in line
        assert "hush-hush" not in line or address == "hush-hush"
        assert time.monotonic() - begun < 10


def test_the_small_state_goes_along_up_to_the_clock(uri: str, tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    (here / "data").mkdir(parents=True)
    there.mkdir()
    record = {"config": {"search": {"storage": uri}, "tracking": {"uri": "http://me:hush-hush@x"}}, "created_ms": BEGUN}
    (here / "study.json").write_text(json.dumps(record))
    (here / "data" / "manifest.json").write_text("{}")
    storage = opened(uri, here)
    found = search(storage)
    for line in range(3):
        with open(here / "outbox.jsonl", "a") as file:
            file.write(f"{line}\n")
        turn(found)
    with open(here / "outbox.jsonl", "a") as file:
        file.write("3\n4")  # not of a whole turn, and a torn line
    storage.close()
    files = read_state(uri, "study")
    assert files["outbox.jsonl"] == b"0\n1\n2\n" and files["data/manifest.json"] == b"{}"
    assert b"hush-hush" not in files["study.json"] and secret(uri).encode() not in files["study.json"]
    (there / "outbox.jsonl").write_text("0\n1\nanother\n")
    (there / "outbox.cursor").write_text("{}")
    storage = opened(uri, there)  # what is there is not what was decided
    assert (there / "outbox.jsonl").read_text() == "0\n1\n2\n" and not (there / "outbox.cursor").exists()
    (there / "answer.json").write_text("[]")
    storage.keep()
    storage.close()
    assert read_state(uri, "study")["answer.json"] == b"[]"
    storage = opened(uri, here)  # the beginning is the same, so what follows may stay
    assert (here / "outbox.jsonl").read_text() == "0\n1\n2\n3\n4"
    turn(search(storage))
    storage.close()
    assert read_state(uri, "study")["outbox.jsonl"] == b"0\n1\n2\n3\n"
    delete_study(uri, "study", BEGUN)
    assert execute(uri, "SELECT count(*) FROM regsearch_state") == [(0,)]


def test_looking_for_a_file_makes_none(tmp_path: Path) -> None:
    check_database(f"sqlite:///{tmp_path / 'optuna.db'}", "study")
    delete_study(f"sqlite:///{tmp_path / 'optuna.db'}", "study", BEGUN)
    assert list(tmp_path.iterdir()) == []


def test_a_password_may_come_from_the_environment(server: Server, uri: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_PASSWORD", secret(uri))
    check_database(f"postgresql://regsearch:${{DATABASE_PASSWORD}}@{uri.rpartition('@')[2]}", "study")
    monkeypatch.setenv("PGPASSWORD", os.environ["DATABASE_PASSWORD"])
    check_database(f"postgresql://regsearch@{uri.rpartition('@')[2]}", "study")


@pytest.mark.slow
def test_a_server_that_answers_nothing_is_refused_within_ten_seconds(tmp_path: Path) -> None:
    with postgres() as frozen:
        frozen.freeze()
        begun = time.monotonic()
        with pytest.raises(UserError, match="the database cannot be used"):
            open_storage(frozen.uri, tmp_path / "j", "study", BEGUN)
        assert time.monotonic() - begun < 10
        frozen.thaw()
