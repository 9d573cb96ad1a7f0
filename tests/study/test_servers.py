"""A whole study on real servers, which go away and come back: the same answer as with files, everything once."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from regsearch.errors import UserError
from regsearch.study.study import Study
from tests.faults.contents import differences
from tests.made_store import made_store
from tests.servers import Server, create_database, execute, free_port, mlflow_server, postgres
from tests.study.small import study_file
from tests.tracking.readback import snapshot

LIMIT = 240.0


def command(folder: Path, *words: str, **env: str) -> subprocess.Popen[str]:
    """`regsearch study ...`, its lines on standard error in the file `said`."""
    folder.mkdir(exist_ok=True)
    with open(folder / "said", "a") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "regsearch.cli", "study", *words, "--json"],
            cwd=folder,
            env={**os.environ, "REGSEARCH_HOME": str(made_store(folder / "mlruns")), **env},
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            start_new_session=True,
        )


def answer(folder: Path, process: subprocess.Popen[str]) -> dict[str, Any]:
    out, _ = process.communicate(timeout=LIMIT)
    assert process.returncode == 0, (folder / "said").read_text()[-3000:]
    found: dict[str, Any] = json.loads(out)
    return {name: found[name] for name in ("trials", "best", "finals")}


def wait(process: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not until():
        assert process.poll() is None, f"it ended with {process.returncode} before it could be disturbed"
        assert time.monotonic() < deadline
        time.sleep(0.02)


def turns(database: Server) -> int:
    """Turns that the database of the search holds."""
    if execute(database.uri, "SELECT to_regclass('study_user_attributes')") == [(None,)]:
        return 0
    rows = execute(database.uri, "SELECT value_json FROM study_user_attributes WHERE key = 'regsearch:clock'")
    return int(json.loads(rows[0][0])["turn"]) if rows else 0


def runs(uri: str) -> dict[str, Any]:
    """The study in MLflow, without what names a process or a moment."""
    found = snapshot(uri, "small")
    origin = found["small"]["times"][0]
    for run in found.values():
        run["times"] = [each - origin for each in run["times"]]
        run["tags"].pop("regsearch.study_start", None)
        run["histories"] = {
            name: [(step, when - origin, value) for step, when, value in history]
            for name, history in run["histories"].items()
        }
        assert run["status"] != "RUNNING"
        assert all(max(Counter(step for step, _, _ in each).values()) == 1 for each in run["histories"].values())
    return found


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_servers_that_go_away_change_no_answer(tmp_path: Path) -> None:
    peace = answer(tmp_path / "files", command(tmp_path / "files", "start", str(study_file(tmp_path))))
    folder = tmp_path / "servers"
    with postgres() as database, mlflow_server(create_database(database, "mlflow")) as tracking:
        secret = database.uri.split(":")[2].split("@")[0]
        address = database.uri.replace(secret, "${SECRET}")
        words = ("--storage", address, "--tracking-uri", tracking.uri)
        process = command(folder, "start", str(tmp_path / "small.yaml"), *words, SECRET=secret)
        wait(process, lambda: turns(database) > 3)
        database.stop()  # the MLflow server loses its database as well
        time.sleep(2)
        database.start()
        wait(process, lambda: turns(database) > 8)
        tracking.stop()
        wait(process, lambda: turns(database) > 12)  # the search does not wait for MLflow
        process.kill()
        process.communicate()
        process = command(folder, "resume", "small", SECRET=secret)
        wait(process, lambda: turns(database) > 15)
        tracking.start()
        assert answer(folder, process) == peace
        ours = runs(tracking.uri)
        assert differences(ours, runs(f"sqlite:///{tmp_path / 'files' / 'mlruns' / 'mlflow.db'}")) == []
        assert len(ours) == 1 + 24 + 6
        said = (folder / "said").read_text()
        assert "waits for it" in said and "goes on" in said and "Traceback" not in said
        assert [path for path in folder.rglob("*") if path.is_file() and secret.encode() in path.read_bytes()] == []
        assert_read_and_deleted(folder, tracking, secret)
        assert execute(database.uri, "SELECT count(*) FROM studies") == [(0,)]


@pytest.mark.sweep
@pytest.mark.timeout(900)
def test_a_study_whose_machine_is_gone_goes_on_elsewhere(tmp_path: Path) -> None:
    peace = answer(tmp_path / "files", command(tmp_path / "files", "start", str(study_file(tmp_path))))
    gone, here = tmp_path / "gone", tmp_path / "here"
    with postgres() as database, mlflow_server() as tracking:
        secret = database.uri.split(":")[2].split("@")[0]
        words = ("--storage", database.uri.replace(secret, "${SECRET}"), "--tracking-uri", tracking.uri)
        process = command(gone, "start", str(tmp_path / "small.yaml"), *words, SECRET=secret)
        wait(process, lambda: turns(database) > 8)
        process.kill()
        process.communicate()
        before = turns(database)
        shutil.rmtree(gone)
        process = command(here, "resume", "small", *words, SECRET=secret)
        wait(process, lambda: turns(database) > before + 2)
        process.kill()
        process.communicate()
        assert answer(here, command(here, "resume", "small", *words, SECRET=secret)) == peace
        there = tmp_path / "there"
        begun = len(runs(tracking.uri))
        assert answer(there, command(there, "resume", "small", *words, SECRET=secret)) == peace  # it is finished
        assert not (there / "mlruns" / "ledger").exists()
        ours = runs(tracking.uri)
        assert differences(ours, runs(f"sqlite:///{tmp_path / 'files' / 'mlruns' / 'mlflow.db'}")) == []
        assert len(ours) == begun == 1 + 24 + 6


def assert_read_and_deleted(folder: Path, tracking: Server, secret: str) -> None:
    """What else a study can do, on the servers: replay, resume what is finished, frame, delete."""
    env = {"SECRET": secret, "REGSEARCH_HOME": str(folder / "mlruns")}
    code = "from regsearch.cli.app import main; main()"
    replay = [sys.executable, "-c", code, "trial", "replay", "small", "3", "--json"]
    done = subprocess.run(replay, cwd=folder, env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["agrees"]
    answer(folder, command(folder, "resume", "small", SECRET=secret))
    look = "from regsearch import Study; f = Study.open('small').frame(); print(len(f), set(f.state))"
    done = subprocess.run([sys.executable, "-c", look], cwd=folder, env={**os.environ, **env}, capture_output=True)
    assert done.stdout.decode().startswith("30 "), done.stderr
    delete = [sys.executable, "-c", code, "study", "delete", "small", "--yes"]
    assert subprocess.run(delete, cwd=folder, env={**os.environ, **env}).returncode == 0
    assert not (folder / "mlruns" / "studies" / "small").exists()
    from mlflow import MlflowClient

    assert MlflowClient(tracking.uri, tracking.uri).get_experiment_by_name("small") is None


@pytest.fixture
def study_path(tmp_path: Path) -> Path:
    return study_file(tmp_path)


def refusal(path: Path, **given: Any) -> str:
    """The line that `study start` refuses with, within ten seconds and with nothing left behind."""
    begun = time.monotonic()
    with pytest.raises(UserError) as error:
        Study.from_file(path, **given).run()
    assert time.monotonic() - begun < 10
    assert not Path("mlruns").exists()
    assert "\n" not in str(error.value) and "hush-hush" not in str(error.value)
    return str(error.value)


def test_a_dead_server_is_refused(study_path: Path) -> None:
    dead = free_port()
    line = refusal(study_path, tracking_uri=f"http://me:hush-hush@127.0.0.1:{dead}")
    assert "tracking.uri: the MLflow server does not answer: " in line and "refused" in line and "me:***@" in line
    line = refusal(study_path, tracking_uri=f"postgresql://me:hush-hush@127.0.0.1:{dead}/mlflow")
    assert line.startswith("tracking.uri: the database cannot be used") and "refused" in line
    line = refusal(study_path, storage=f"postgresql://me:hush-hush@127.0.0.1:{dead}/optuna")
    assert line.startswith("search.storage: the database cannot be used") and "refused" in line
    assert "NOWHERE is not in the environment" in refusal(study_path, tracking_uri="http://me:${NOWHERE}@127.0.0.1:1")


def test_a_server_of_another_kind_or_a_silent_one_is_refused(study_path: Path, tmp_path: Path) -> None:
    import socket

    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    try:
        until = time.monotonic() + 20
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", port)).close()
                break
            except OSError:
                time.sleep(0.05)
        assert "no MLflow server (404)" in refusal(study_path, tracking_uri=f"http://127.0.0.1:{port}")
    finally:
        server.kill()
        server.wait()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}"
        assert "no answer in time" in refusal(study_path, tracking_uri=address)


@pytest.mark.slow
def test_wrong_credentials_are_refused_and_right_ones_work(
    study_path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "correct-horse-battery"
    (tmp_path / "auth.ini").write_text(
        "[mlflow]\ndefault_permission = READ\nadmin_username = me\n"
        f"admin_password = {secret}\ndatabase_uri = sqlite:///{tmp_path / 'auth.db'}\n"
        "authorization_function = mlflow.server.auth:authenticate_request_basic_auth\n"
    )
    env = {"MLFLOW_AUTH_CONFIG_PATH": str(tmp_path / "auth.ini"), "MLFLOW_FLASK_SERVER_SECRET_KEY": "x"}
    with mlflow_server(None, "--app-name", "basic-auth", **env) as server:
        place = server.uri.removeprefix("http://")
        for address in (f"http://{place}", f"http://me:hush-hush@{place}"):
            assert "tracking.uri: the MLflow server refuses user or password" in refusal(
                study_path, tracking_uri=address
            )
        Study.from_file(study_path, tracking_uri=f"http://me:{secret}@{place}").check()
        monkeypatch.setenv("SECRET", secret)
        Study.from_file(study_path, tracking_uri=f"http://me:${{SECRET}}@{place}").check()
        monkeypatch.setenv("MLFLOW_TRACKING_USERNAME", "me")
        monkeypatch.setenv("MLFLOW_TRACKING_PASSWORD", secret)
        Study.from_file(study_path, tracking_uri=f"http://{place}").check()
